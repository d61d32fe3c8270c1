/*
 * `lookalike tune` and `lookalike eval`: learning from a collection's own items, and judging by them. Over a server both
 * are jobs of it; with --data the store is opened here.
 */
#include "cli/cli.h"

#include "base/limits.h"
#include "cli/job.h"
#include "json/json.h"
#include "pipeline/pipeline.h"
#include "server/config.h"
#include "server/wiring.h"
#include "store/tune.h"

#include <inttypes.h>

static const char tune_help[] =
    "usage: lookalike tune COLLECTION [--off] [FLAG…]\n\n"
    "Learns from the items that have several pictures what makes two pictures the same product, and from the queries that\n"
    "came before what customers' photos look like. From then on the collection is searched by that. Nothing is lost:\n"
    "--off undoes it. Run it again when many products or queries have come. `lookalike eval` says what it is worth.\n\n"
    "  --off            search by the plain vectors again\n";
static const char eval_help[] =
    "usage: lookalike eval COLLECTION [FLAG…]\n\n"
    "Searches each picture of items with several pictures among the others, and says how often the right item comes\n"
    "first (R@1), among the first five (R@5), and mAP@10; without and with what tune learns. Items are judged by what was\n"
    "learned from other items. In brackets: 95 % confidence intervals.\n\n";

struct tuning {
    struct cli_args args;
    bool eval, off;
    const char *collection;
    struct cli_tally tally;
    struct cli_progress *progress;
    struct store_tune_report report;
    struct store_eval_report evaluation;
};

static bool on_progress(void *user, double done)
{
    struct tuning *t = user;
    atomic_store(&t->tally.done, (unsigned long long)(done * 100));
    atomic_store(&t->tally.total, 100);
    return false;
}

static enum result run_here(struct tuning *t, struct err *err)
{
    struct config config = {0};
    struct wiring *wiring = NULL;
    struct store_tune_options options = {.progress = on_progress, .user = t};
    struct pipeline_copier copier;
    enum result r = config_load(&config, t->args.config_argc, t->args.config_argv, err);
    if (r)
        return r;
    r = wiring_open(&config, !t->off, &wiring, err);
    if (!r && t->off) {
        r = store_untune(wiring_store(wiring), t->collection, err);
    } else if (!r) {
        r = pipeline_tune_options(wiring_pipeline(wiring), t->collection, &copier, &options, err);
        if (!r && t->eval)
            r = store_eval(wiring_store(wiring), t->collection, &options, &t->evaluation, err);
        else if (!r)
            r = store_tune(wiring_store(wiring), t->collection, &options, &t->report, err);
    }
    wiring_close(wiring);
    config_free(&config);
    return r;
}

static double number_of(struct json_object *object, const char *name)
{
    struct json_object *member = object ? json_member(object, name) : NULL;
    return member ? json_object_get_double(member) : 0;
}

static void take_figures(struct json_object *from, struct store_eval_figures *out)
{
    static const char *const names[] = {"r1", "r5", "map10"};
    char name[32];
    for (int k = 0; k < 3; k++) {
        out->value[k] = number_of(from, names[k]);
        snprintf(name, sizeof name, "%s_low", names[k]);
        out->low[k] = number_of(from, name);
        snprintf(name, sizeof name, "%s_high", names[k]);
        out->high[k] = number_of(from, name);
    }
}

static void take_result(struct tuning *t, struct json_object *result)
{
    t->report = (struct store_tune_report){.rows = (uint64_t)number_of(result, "rows"),
        .items = (uint64_t)number_of(result, "items"),
        .dimension = (uint32_t)number_of(result, "dimension"),
        .shrink = (float)number_of(result, "shrink"),
        .queries = (uint64_t)number_of(result, "queries"),
        .drawn = (uint64_t)number_of(result, "drawn"),
        .copied = (uint64_t)number_of(result, "copied")};
    t->evaluation.queries = (uint64_t)number_of(result, "queries");
    t->evaluation.items = (uint64_t)number_of(result, "items");
    take_figures(json_member(result, "plain"), &t->evaluation.plain);
    take_figures(json_member(result, "tuned"), &t->evaluation.tuned);
}

static enum result run_there(struct tuning *t, struct err *err)
{
    char path[LIMIT_COLLECTION_NAME + 64];
    struct json_object *result = NULL;
    snprintf(path, sizeof path, "/v1/collections/%s/%s", t->collection, t->eval ? "eval" : "tune");
    if (t->off)
        return cli_job_delete(t->args.server, path, err);
    enum result r = cli_job_run(t->args.server, path, "{}", 1, &t->tally, &result, err);
    if (!r && result)
        take_result(t, result);
    json_object_put(result);
    return r;
}

static void print_figures(const char *name, const struct store_eval_figures *f)
{
    printf("%-10s", name);
    for (int k = 0; k < 3; k++)
        printf("  %5.1f (%.1f to %.1f)", 100 * f->value[k], 100 * f->low[k], 100 * f->high[k]);
    printf("\n");
}

static void json_figures(const char *name, const struct store_eval_figures *f)
{
    printf(",\"%s\":{\"r1\":%.4f,\"r5\":%.4f,\"map10\":%.4f,\"r1_low\":%.4f,\"r1_high\":%.4f}", name, f->value[0], f->value[1],
        f->value[2], f->low[0], f->high[0]);
}

static const char *advice(const struct store_eval_report *e)
{
    if (e->tuned.value[0] > e->plain.value[0] + 0.01)
        return "tune finds the right item more often here: switch it on with `lookalike tune`.";
    if (e->tuned.value[0] < e->plain.value[0] - 0.01)
        return "tune finds the right item less often here: leave it off.";
    return "tune makes no difference that these pictures could show.";
}

static void print_eval(const struct tuning *t)
{
    const struct store_eval_report *e = &t->evaluation;
    if (t->args.json) {
        printf("{\"event\":\"summary\",\"queries\":%" PRIu64 ",\"items\":%" PRIu64, e->queries, e->items);
        json_figures("plain", &e->plain);
        json_figures("tuned", &e->tuned);
        printf("}\n");
        return;
    }
    printf("%" PRIu64 " pictures of %" PRIu64 " items, each searched among the others\n%-10s  %-21s  %-21s  %s\n", e->queries,
        e->items, "", "R@1", "R@5", "mAP@10");
    print_figures("untuned", &e->plain);
    print_figures("tuned", &e->tuned);
    printf("%s\n", advice(e));
}

static void print_tune(const struct tuning *t)
{
    const struct store_tune_report *p = &t->report;
    if (t->args.json) {
        printf("{\"event\":\"summary\",\"tuned\":%s,\"rows\":%" PRIu64 ",\"items\":%" PRIu64 ",\"dimension\":%u,\"queries\":%" PRIu64
               ",\"drawn\":%" PRIu64 ",\"copied\":%" PRIu64 "}\n",
            t->off ? "false" : "true", p->rows, p->items, p->dimension, p->queries, p->drawn, p->copied);
        return;
    }
    if (t->args.quiet)
        return;
    if (t->off) {
        printf("%s is searched by its plain vectors\n", t->collection);
        return;
    }
    printf("%s: learned from %" PRIu64 " pictures, %" PRIu64 " items with several; %u dimensions\n", t->collection, p->rows,
        p->items, p->dimension);
    if (p->copied)
        printf("few items have several pictures: changed copies of %" PRIu64 " pictures were learned from as well\n", p->copied);
    else if (!p->items)
        printf("no item has several pictures: only the common part of all pictures was taken away, which helps little\n");
    if (p->queries)
        printf("%" PRIu64 " past queries were used, and drew %" PRIu64 " pictures\n", p->queries, p->drawn);
    else
        printf("too few queries came so far to learn from; run it again later\n");
}

static int run(struct tuning *t, struct err *err)
{
    enum result r = cli_progress_start("percent learned:", !t->args.quiet && !t->args.json, &t->tally, &t->progress, err);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    r = t->args.data ? run_here(t, err) : run_there(t, err);
    cli_progress_stop(t->progress);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    if (t->eval)
        print_eval(t);
    else
        print_tune(t);
    return CLI_DONE;
}

static int tuning_main(int argc, char **argv, bool eval)
{
    struct err err = {0};
    struct tuning *t = calloc(1, sizeof *t);
    if (!t) {
        err_no_memory(&err);
        return cli_fail(CLI_NOTHING, &err);
    }
    t->eval = eval;
    const struct cli_flag flags[] = {{"--off", NULL, &t->off}};
    int status = CLI_DONE;
    enum result r = cli_args_parse(argc, argv, flags, eval ? 0 : 1, &t->args, &err);
    if (r == ERR_OK && !t->args.help && t->args.positional_count != 1)
        r = err_set(&err, ERR_INVALID, "%s needs the name of one collection", argv[0]);
    if (r) {
        status = cli_usage(argv[0], &err);
    } else if (t->args.help) {
        printf("%s%s", eval ? eval_help : tune_help, cli_common_help);
    } else {
        t->collection = t->args.positional[0];
        status = run(t, &err);
    }
    free(t);
    return status;
}

int cli_tune(int argc, char **argv)
{
    return tuning_main(argc, argv, false);
}

int cli_eval(int argc, char **argv)
{
    return tuning_main(argc, argv, true);
}
