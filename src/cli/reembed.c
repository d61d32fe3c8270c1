/*
 * `lookalike reembed`: another model for a collection. Over a server it is a job of it; with --data the store is opened
 * here. Both can be stopped at any time, and go on where they were.
 */
#include "cli/cli.h"

#include "base/limits.h"
#include "base/parse.h"
#include "cli/job.h"
#include "json/json.h"
#include "pipeline/pipeline.h"
#include "server/config.h"
#include "server/wiring.h"

#include <inttypes.h>

static const char help[] =
    "usage: lookalike reembed COLLECTION [--model MODEL] [FLAG…]\n\n"
    "Computes the vector of every picture again, with another model, from the originals that the collection keeps. It is\n"
    "searched and written to meanwhile; when all is ready the new vectors take the place of the old ones in one step. What\n"
    "has been made stays when it is interrupted: the same command goes on from there. What tune learned and the past\n"
    "queries belong to the old model and are forgotten: run `lookalike tune` again.\n\n"
    "  --model          the new model; default: the one of the server. `lookalike model list` names them\n"
    "  --background     none, subject, white, black; default: as the collection has it\n"
    "  --url-field NAME where no original is kept: the member of brief with the address of the picture\n"
    "  --thumbnails     where nothing better is to be had, make do with the thumbnails, which costs some accuracy\n"
    "  --forget         forget what an unfinished run has made, and free its space\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike collection create shop --originals       pictures that are added from now on are kept as they come\n"
    "  lookalike reembed shop --model efficientnet-lite0\n"
    "  lookalike reembed shop --model resnet50 --thumbnails --server http://127.0.0.1:5000\n\n"
    "Exit status: 0 done, 2 wrong usage, 3 nothing done: the collection is as it was.\n";

struct reembedding {
    struct cli_args args;
    const char *collection, *model, *background, *url_field;
    bool thumbnails, forget;
    struct cli_tally tally;
    struct cli_progress *progress;
    struct store_reembed_report report;
};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct reembedding *t = user;
    atomic_store(&t->tally.done, (unsigned long long)done);
    atomic_store(&t->tally.total, (unsigned long long)total);
    return false;
}

static enum result work_here(struct reembedding *t, struct wiring *wiring, struct err *err)
{
    const struct pipeline_reembed what = {.model = t->model, .background = t->background, .url_field = t->url_field,
        .thumbnails = t->thumbnails, .progress = on_progress, .user = t};
    if (t->forget)
        return store_unreembed(wiring_store(wiring), t->collection, err);
    return pipeline_reembed(wiring_pipeline(wiring), t->collection, &what, &t->report, err);
}

static enum result run_here(struct reembedding *t, struct err *err)
{
    struct config config = {0};
    struct wiring *wiring = NULL;
    enum result r = config_load(&config, t->args.config_argc, t->args.config_argv, err);
    if (r)
        return r;
    r = wiring_open(&config, !t->forget, &wiring, err);
    if (!r)
        r = work_here(t, wiring, err);
    wiring_close(wiring);
    config_free(&config);
    return r;
}

static enum result member(struct buf *body, const char *name, const char *value)
{
    if (!value)
        return ERR_OK;
    enum result r = buf_appendf(body, ",\"%s\":", name);
    return r ? r : json_append_string(body, value, strlen(value));
}

static uint64_t number_of(struct json_object *object, const char *name)
{
    bool found = false;
    int64_t value = 0;
    return object && !json_get_i64(object, name, &found, &value, NULL) && found && value > 0 ? (uint64_t)value : 0;
}

static enum result run_there(struct reembedding *t, struct err *err)
{
    char path[LIMIT_COLLECTION_NAME + 64];
    struct json_object *result = NULL;
    struct buf body;
    snprintf(path, sizeof path, "/v1/collections/%s/reembed", t->collection);
    if (t->forget)
        return cli_job_delete(t->args.server, path, err);
    buf_init(&body, LIMIT_BRIEF_BYTES);
    enum result r = buf_appendf(&body, "{\"thumbnails\":%s", t->thumbnails ? "true" : "false");
    if (!r)
        r = member(&body, "model", t->model);
    if (!r)
        r = member(&body, "background", t->background);
    if (!r)
        r = member(&body, "url_field", t->url_field);
    if (!r)
        r = buf_append_str(&body, "}");
    if (r)
        err_set(err, r, "the arguments are too long");
    else
        r = cli_job_run(t->args.server, path, body.data, 1, &t->tally, &result, err);
    t->report.records = number_of(result, "records");
    t->report.made = number_of(result, "made");
    json_object_put(result);
    buf_free(&body);
    return r;
}

static void print(const struct reembedding *t)
{
    if (t->args.json && t->forget)
        printf("{\"event\":\"summary\",\"forgotten\":true}\n");
    else if (t->args.json)
        printf("{\"event\":\"summary\",\"records\":%" PRIu64 ",\"made\":%" PRIu64 "}\n", t->report.records, t->report.made);
    else if (!t->args.quiet && t->forget)
        printf("%s: nothing is left of an unfinished re-embedding\n", t->collection);
    else if (!t->args.quiet)
        printf("%s: %" PRIu64 " pictures have new vectors, %" PRIu64 " of them made now. Run `lookalike tune %s` where it was tuned.\n",
            t->collection, t->report.records, t->report.made, t->collection);
}

static enum result read_arguments(struct reembedding *t, int argc, char **argv, struct err *err)
{
    const struct cli_flag flags[] = {{"--model", &t->model, NULL}, {"--background", &t->background, NULL},
        {"--url-field", &t->url_field, NULL}, {"--thumbnails", NULL, &t->thumbnails}, {"--forget", NULL, &t->forget}};
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &t->args, err);
    if (r || t->args.help)
        return r;
    if (t->args.positional_count != 1)
        return err_set(err, ERR_INVALID, "reembed needs the name of one collection");
    t->collection = t->args.positional[0];
    if (!parse_is_collection_name(t->collection))
        return err_set(err, ERR_INVALID, "\"%.100s\" is no name of a collection: letters, digits and _ only, no digit in front", t->collection);
    if (t->forget && (t->model || t->background || t->url_field || t->thumbnails))
        return err_set(err, ERR_INVALID, "--forget stands alone");
    return ERR_OK;
}

static int run(struct reembedding *t, struct err *err)
{
    enum result r = cli_progress_start("re-embedded:", !t->args.quiet && !t->args.json && !t->forget, &t->tally, &t->progress, err);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    r = t->args.data ? run_here(t, err) : run_there(t, err);
    cli_progress_stop(t->progress);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    print(t);
    return CLI_DONE;
}

int cli_reembed(int argc, char **argv)
{
    struct err err = {0};
    int status = CLI_DONE;
    struct reembedding *t = calloc(1, sizeof *t);
    if (!t) {
        err_no_memory(&err);
        return cli_fail(CLI_NOTHING, &err);
    }
    if (read_arguments(t, argc, argv, &err))
        status = cli_usage("reembed", &err);
    else if (t->args.help)
        printf("%s%s%s", help, cli_common_help, examples);
    else
        status = run(t, &err);
    free(t);
    return status;
}
