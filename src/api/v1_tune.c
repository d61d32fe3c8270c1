/*
 * /v1/collections/{c}/tune and …/eval: learning from a collection's own items, and judging by them. Jobs, because they
 * take seconds to a minute; DELETE …/tune takes effect at once.
 */
#include "api/route.h"

#include "json/json.h"
#include "pipeline/jobs.h"
#include "pipeline/pipeline.h"

#include <inttypes.h>
#include <math.h>

struct tune {
    struct pipeline *pipeline;
    struct job *job;
    char collection[LIMIT_COLLECTION_NAME + 2];
    bool eval;
};

static bool on_progress(void *user, double done)
{
    struct tune *t = user;
    job_progress(t->job, (uint64_t)(done * 100), 100);
    return job_cancelled(t->job);
}

static enum result figures(struct buf *out, const char *name, const struct store_eval_figures *f)
{
    static const char *const names[] = {"r1", "r5", "map10"};
    enum result r = buf_appendf(out, ",\"%s\":{", name);
    for (int k = 0; !r && k < 3; k++)
        r = buf_appendf(out, "%s\"%s\":%.4f,\"%s_low\":%.4f,\"%s_high\":%.4f", k ? "," : "", names[k], f->value[k],
            names[k], f->low[k], names[k], f->high[k]);
    return r ? r : buf_append_str(out, "}");
}

static enum result run_eval(struct tune *t, const struct store_tune_options *options, struct buf *result, struct err *err)
{
    struct store_eval_report e;
    enum result r = store_eval(pipeline_store(t->pipeline), t->collection, options, &e, err);
    if (r)
        return r;
    r = buf_appendf(result, "{\"queries\":%" PRIu64 ",\"items\":%" PRIu64, e.queries, e.items);
    if (!r)
        r = figures(result, "plain", &e.plain);
    if (!r)
        r = figures(result, "tuned", &e.tuned);
    if (!r)
        r = buf_append_str(result, "}");
    return r ? err_set(err, r, "the result of the job is too large") : ERR_OK;
}

static enum result run(struct job *job, void *user, struct buf *result, struct err *err)
{
    struct tune *t = user;
    struct store_tune_options options = {.progress = on_progress, .user = t};
    struct store_tune_report report;
    struct pipeline_copier copier;
    t->job = job;
    enum result r = pipeline_tune_options(t->pipeline, t->collection, &copier, &options, err);
    if (!r && t->eval)
        return run_eval(t, &options, result, err);
    if (!r)
        r = store_tune(pipeline_store(t->pipeline), t->collection, &options, &report, err);
    if (r)
        return r;
    r = buf_appendf(result,
        "{\"rows\":%" PRIu64 ",\"items\":%" PRIu64 ",\"dimension\":%u,\"shrink\":%g,\"queries\":%" PRIu64
        ",\"drawn\":%" PRIu64 ",\"copied\":%" PRIu64 "}",
        report.rows, report.items, report.dimension, (double)report.shrink, report.queries, report.drawn, report.copied);
    return r ? err_set(err, r, "the result of the job is too large") : ERR_OK;
}

static enum result start(struct route_call *call, bool eval, struct err *err)
{
    struct store_settings settings;
    enum result r = store_settings(pipeline_store(call->pipeline), call->collection, &settings, err);
    if (r)
        return r;
    struct tune *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory(err);
    t->pipeline = call->pipeline;
    t->eval = eval;
    snprintf(t->collection, sizeof t->collection, "%s", call->collection);
    struct job_work work = {
        .kind = eval ? "eval" : "tune", .collection = t->collection, .run = run, .release = free, .user = t};
    return v1_job_begin(call, &work, err);
}

enum result v1_tune(struct route_call *call, struct err *err)
{
    return start(call, false, err);
}

enum result v1_eval(struct route_call *call, struct err *err)
{
    return start(call, true, err);
}

enum result v1_untune(struct route_call *call, struct err *err)
{
    enum result r = store_untune(pipeline_store(call->pipeline), call->collection, err);
    if (r == ERR_OK)
        call->reply->status = 204;
    return r;
}
