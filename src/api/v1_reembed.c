/* /v1/collections/{c}/reembed: another model for a collection. A job, because every picture is looked at again. */
#include "api/params.h"
#include "api/route.h"

#include "json/json.h"
#include "pipeline/jobs.h"
#include "pipeline/pipeline.h"

#include <inttypes.h>

struct reembed {
    struct pipeline *pipeline;
    struct job *job;
    struct pipeline_reembed what;
    char collection[LIMIT_COLLECTION_NAME + 2];
    char *model, *background, *url_field;
};

static void release(void *user)
{
    struct reembed *t = user;
    free(t->model);
    free(t->background);
    free(t->url_field);
    free(t);
}

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct reembed *t = user;
    job_progress(t->job, done, total);
    return job_cancelled(t->job);
}

static enum result run(struct job *job, void *user, struct buf *result, struct err *err)
{
    struct reembed *t = user;
    struct store_reembed_report report;
    t->job = job;
    enum result r = pipeline_reembed(t->pipeline, t->collection, &t->what, &report, err);
    if (r)
        return r;
    r = buf_appendf(result, "{\"records\":%" PRIu64 ",\"made\":%" PRIu64 "}", report.records, report.made);
    return r ? err_set(err, r, "the result of the job is too large") : ERR_OK;
}

/* A copy of a parameter, which goes with the request. */
static enum result copy_string(struct params *params, const char *name, char **out, struct err *err)
{
    const char *text = NULL;
    bool found = false;
    enum result r = params_string(params, name, &found, &text, err);
    if (!r && found && text && !(*out = strdup(text)))
        r = err_no_memory(err);
    return r;
}

static enum result read_what(struct route_call *call, struct reembed *t, struct err *err)
{
    struct params params = {0};
    bool found = false;
    enum result r = params_parse(call->request, false, &params, err);
    if (!r)
        r = copy_string(&params, "model", &t->model, err);
    if (!r)
        r = copy_string(&params, "background", &t->background, err);
    if (!r)
        r = copy_string(&params, "url_field", &t->url_field, err);
    if (!r)
        r = params_bool(&params, "thumbnails", &found, &t->what.thumbnails, err);
    params_free(&params);
    t->what.model = t->model;
    t->what.background = t->background;
    t->what.url_field = t->url_field;
    return r;
}

enum result v1_reembed(struct route_call *call, struct err *err)
{
    struct pipeline_look look;
    struct reembed *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory(err);
    t->pipeline = call->pipeline;
    snprintf(t->collection, sizeof t->collection, "%s", call->collection);
    t->what.progress = on_progress;
    t->what.user = t;
    enum result r = read_what(call, t, err);
    if (!r)
        r = pipeline_reembed_look(t->pipeline, t->collection, &t->what, &look, err);
    if (r) {
        release(t);
        return r;
    }
    struct job_work work = {.kind = "reembed", .collection = t->collection, .run = run, .release = release, .user = t};
    return v1_job_begin(call, &work, err);
}

enum result v1_unreembed(struct route_call *call, struct err *err)
{
    enum result r = store_unreembed(pipeline_store(call->pipeline), call->collection, err);
    if (r == ERR_OK)
        call->reply->status = 204;
    return r;
}
