/*
 * `lookalike export`, and `lookalike import` where its source is an export.
 *
 * As with a backup: over a server both are jobs of it, and the folder is on its machine, in the one that --backup-dir
 * names; with --data the store is opened here. pipeline/carry.h says what the files are.
 */
#include "cli/carry.h"

#include "base/parse.h"
#include "cli/job.h"
#include "json/json.h"
#include "pipeline/carry.h"
#include "server/config.h"
#include "server/wiring.h"

#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

static const char help[] =
    "usage: lookalike export COLLECTION DIR [FLAG…]\n\n"
    "Writes a collection into DIR as files that any program can read: collection.json, records.jsonl (a record a line),\n"
    "vectors.f32 (a row for each line) and thumbnails.bin. `lookalike import NAME DIR` makes a collection of them, in a store\n"
    "of any kind, without the pictures and without the model. Over a server DIR is on the server's machine, in the folder that\n"
    "`lookalike serve --backup-dir` names.\n\n"
    "  --replace        take the place of an export that is in DIR\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike export shop /var/backups/lookalike/shop\n"
    "  lookalike export shop ./shop-export --data ./data\n"
    "  lookalike import shop2 ./shop-export --data ./data\n\n"
    "Exit status: 0 done, 2 wrong usage, 3 nothing done.\n";

struct carry {
    const struct cli_args *args;
    bool import, replace;
    const char *collection, *folder;
    struct cli_tally tally;
    struct carry_report report;
};

static bool on_progress(void *user, uint64_t done, uint64_t all)
{
    struct carry *c = user;
    atomic_store(&c->tally.done, done);
    atomic_store(&c->tally.total, all);
    return true;
}

static enum result run_here(struct carry *c, struct err *err)
{
    struct config config = {0};
    struct wiring *wiring = NULL;
    struct carry_watch watch = {.progress = on_progress, .user = c};
    char *argv[CLI_ARGS_MAX + 2];
    memcpy(argv, c->args->config_argv, sizeof argv);
    enum result r = config_load(&config, c->args->config_argc, argv, err);
    if (r)
        return r;
    r = wiring_open(&config, false, &wiring, err);
    if (!r && c->import)
        r = carry_import(wiring_store(wiring), c->folder, c->collection, &watch, &c->report, err);
    else if (!r)
        r = carry_export(wiring_store(wiring), c->collection, c->folder, c->replace, &watch, &c->report, err);
    wiring_close(wiring);
    config_free(&config);
    return r;
}

static uint64_t number_of(struct json_object *object, const char *name)
{
    bool found = false;
    int64_t v = 0;
    return !json_get_i64(object, name, &found, &v, NULL) && found && v > 0 ? (uint64_t)v : 0;
}

static enum result run_there(struct carry *c, struct err *err)
{
    char here[PATH_MAX], path[2 * PATH_MAX];
    const char *folder = c->folder;
    struct json_object *result = NULL;
    struct buf body;
    buf_init(&body, 64 * 1024);
    if (*folder != '/' && getcwd(here, sizeof here)) { /* from where the user stands */
        snprintf(path, sizeof path, "%s/%s", strcmp(here, "/") ? here : "", folder + (strncmp(folder, "./", 2) == 0 ? 2 : 0));
        folder = path;
    }
    enum result r = buf_appendf(&body, "{\"%s\":\"%s\",\"folder\":", c->import ? "as" : "collection", c->collection);
    if (!r)
        r = json_append_string(&body, folder, strlen(folder));
    if (!r)
        r = buf_append_str(&body, c->replace ? ",\"replace\":true}" : "}");
    r = r ? err_set(err, ERR_INVALID, "the folder's name is too long, or is no UTF-8")
          : cli_job_run(c->args->server, c->import ? "/v1/import" : "/v1/export", body.data, 1, &c->tally, &result, err);
    if (!r && result)
        c->report = (struct carry_report){.records = number_of(result, "records"), .bytes = number_of(result, "bytes")};
    json_object_put(result);
    buf_free(&body);
    return r;
}

static int run(struct carry *c, struct err *err)
{
    struct cli_progress *progress = NULL;
    enum result r = cli_progress_start(
        c->import ? "records imported:" : "records exported:", !c->args->quiet && !c->args->json, &c->tally, &progress, err);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    r = c->args->data ? run_here(c, err) : run_there(c, err);
    cli_progress_stop(progress);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    if (c->args->json)
        printf("{\"event\":\"summary\",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", c->report.records, c->report.bytes);
    else if (!c->args->quiet)
        printf("%" PRIu64 " records, %.1f MiB, %s %s\n", c->report.records, (double)c->report.bytes / (1024 * 1024),
            c->import ? "imported from" : "in", c->folder);
    return CLI_DONE;
}

bool cli_is_export(const char *folder)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" CARRY_COLLECTION, folder);
    if (n < 0 || (size_t)n >= sizeof path || access(path, R_OK))
        return false;
    n = snprintf(path, sizeof path, "%s/" CARRY_VECTORS, folder);
    return n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
}

int cli_import_export(const struct cli_args *args, const char *collection, const char *folder, struct err *err)
{
    struct carry c = {.args = args, .import = true, .collection = collection, .folder = folder};
    return run(&c, err);
}

int cli_export(int argc, char **argv)
{
    struct err err = {0};
    static struct cli_args args; /* too large for a stack, and there is one command a process */
    struct carry c = {.args = &args};
    const struct cli_flag flags[] = {{"--replace", NULL, &c.replace}};
    enum result r = cli_args_parse(argc, argv, flags, 1, &args, &err);
    if (r == ERR_OK && args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
        return CLI_DONE;
    }
    if (r == ERR_OK && args.positional_count != 2)
        r = err_set(&err, ERR_INVALID, "export needs a collection and a folder");
    if (r == ERR_OK && !parse_is_collection_name(args.positional[0]))
        r = err_set(&err, ERR_INVALID, "\"%.100s\" is no name of a collection", args.positional[0]);
    if (r)
        return cli_usage("export", &err);
    c.collection = args.positional[0];
    c.folder = args.positional[1];
    return run(&c, &err);
}
