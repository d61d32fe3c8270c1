/* /v1/jobs: long work, how far it is, and how to stop it. */
#include "api/route.h"
#include "base/clock.h"
#include "json/json.h"
#include "pipeline/jobs.h"

#include <inttypes.h>
#include <time.h>

static enum result append_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms == 0 || !gmtime_r(&seconds, &tm))
        return buf_append_str(out, "null");
    return buf_appendf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
        tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

/* A message is cut at a byte count, which may be within a character; JSON has none of that. */
static enum result append_message(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    for (int back = 0; back < 4; back++)
        if (len >= (size_t)back && json_append_string(out, text, len - (size_t)back) == ERR_OK)
            return ERR_OK;
    return buf_append_str(out, "\"\"");
}

static enum result write_job(struct buf *out, const struct job_view *job)
{
    enum result r = buf_appendf(out, "{\"id\":\"%s\",\"kind\":\"%s\",\"collection\":", job->id, job->kind);
    if (r == ERR_OK && job->collection[0])
        r = json_append_string(out, job->collection, strlen(job->collection));
    else if (r == ERR_OK)
        r = buf_append_str(out, "null");
    if (r == ERR_OK)
        r = buf_appendf(out, ",\"state\":\"%s\",\"done\":%" PRIu64 ",\"total\":", job_state_name(job->state), job->done);
    if (r == ERR_OK)
        r = job->total ? buf_appendf(out, "%" PRIu64, job->total) : buf_append_str(out, "null");
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"message\":");
    if (r == ERR_OK)
        r = append_message(out, job->message);
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"started\":");
    if (r == ERR_OK)
        r = append_time(out, job->started_ms);
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"finished\":");
    if (r == ERR_OK)
        r = append_time(out, job->finished_ms);
    if (r == ERR_OK)
        r = buf_appendf(out, ",\"result\":%s}", job->result && *job->result ? job->result : "null");
    return r;
}

static enum result too_large(enum result r, struct err *err)
{
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}

/* A key that is bound to collections sees no work but theirs. */
static bool sees(const struct http_request *request, const struct job_view *job)
{
    return access_reaches(request, job->collection);
}

/* `request` NULL: of somebody who sees everything. */
static enum result write_list(struct buf *out, const struct http_request *request, const struct job_view *jobs, size_t count)
{
    enum result r = buf_append_str(out, "{\"jobs\":[");
    for (size_t i = 0, written = 0; i < count && r == ERR_OK; i++) {
        if (request && !sees(request, &jobs[i]))
            continue;
        if (written++)
            r = buf_append_str(out, ",");
        if (r == ERR_OK)
            r = write_job(out, &jobs[i]);
    }
    return r ? r : buf_append_str(out, "]}");
}

/* --- as events -------------------------------------------------------------------------------------------------- */

#define PING_MS 15000 /* a comment that keeps proxies from closing, and finds out who has gone */

/* A client that watches: one job, or with an empty id the list. */
struct watch {
    struct jobs *jobs;
    char id[JOB_ID_SIZE];
    uint64_t seen;     /* version of what was sent last, plus 1 */
    int64_t last_sent; /* of the monotonic clock */
};

/* The jobs now as one event; false where nothing more will come. */
static bool next_of_list(struct watch *w, struct buf *out)
{
    struct job_view *jobs = NULL;
    size_t count = 0;
    uint64_t version = 1;
    if (jobs_list(w->jobs, &jobs, &count, NULL))
        return true; /* no memory now; perhaps next time */
    for (size_t i = 0; i < count; i++)
        version += jobs[i].version + (i + 1) * 31 + (uint64_t)jobs[i].started_ms;
    bool ok = true;
    if (version != w->seen) {
        ok = buf_append_str(out, "event: jobs\ndata: ") == ERR_OK && write_list(out, NULL, jobs, count) == ERR_OK &&
             buf_append_str(out, "\n\n") == ERR_OK;
        w->seen = version;
        w->last_sent = clock_now_ms();
    }
    free(jobs);
    return ok;
}

static bool next_of_job(struct watch *w, struct buf *out)
{
    struct job_view job;
    if (jobs_get(w->jobs, w->id, &job, NULL))
        return false; /* forgotten meanwhile */
    bool ok = true;
    if (job.version + 1 != w->seen) {
        ok = buf_append_str(out, "event: job\ndata: ") == ERR_OK && write_job(out, &job) == ERR_OK &&
             buf_append_str(out, "\n\n") == ERR_OK;
        w->seen = job.version + 1;
        w->last_sent = clock_now_ms();
    }
    ok = ok && job.state == JOB_RUNNING;
    job_view_free(&job);
    return ok;
}

static bool next_event(void *user, struct buf *out)
{
    struct watch *w = user;
    bool more = w->id[0] ? next_of_job(w, out) : next_of_list(w, out);
    if (more && clock_now_ms() - w->last_sent >= PING_MS) {
        more = buf_append_str(out, ": still here\n\n") == ERR_OK;
        w->last_sent = clock_now_ms();
    }
    return more;
}

static bool wants_events(const struct http_request *request)
{
    const char *accept = http_header(request, "Accept");
    return accept && strstr(accept, "text/event-stream");
}

static enum result reply_events(struct route_call *call, struct err *err)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory(err);
    w->jobs = pipeline_jobs(call->pipeline);
    w->last_sent = clock_now_ms();
    snprintf(w->id, sizeof w->id, "%.*s", JOB_ID_SIZE - 1, call->id);
    call->reply->content_type = "text/event-stream";
    call->reply->poll = (struct http_poll){next_event, free, w};
    return http_reply_header(call->reply, "Cache-Control", "no-store");
}

/* --- the routes ------------------------------------------------------------------------------------------------- */

enum result v1_jobs_list(struct route_call *call, struct err *err)
{
    struct job_view *jobs = NULL;
    size_t count = 0;
    if (wants_events(call->request) && !access_reaches(call->request, ""))
        return err_set_field(err, ERR_DENIED, "key", "this API key is bound to collections; it can watch single jobs of theirs");
    if (wants_events(call->request))
        return reply_events(call, err);
    enum result r = jobs_list(pipeline_jobs(call->pipeline), &jobs, &count, err);
    if (r)
        return r;
    r = too_large(write_list(&call->reply->body, call->request, jobs, count), err);
    free(jobs);
    return r;
}

enum result v1_job_get(struct route_call *call, struct err *err)
{
    struct job_view job;
    enum result r = jobs_get(pipeline_jobs(call->pipeline), call->id, &job, err);
    if (r)
        return r;
    if (!sees(call->request, &job))
        r = err_set_field(err, ERR_NOT_FOUND, "id", "there is no job %.64s", call->id);
    else
        r = wants_events(call->request) ? reply_events(call, err) : too_large(write_job(&call->reply->body, &job), err);
    job_view_free(&job);
    return r;
}

/* 202 while it still runs; the reply is the job as it is then. */
enum result v1_job_cancel(struct route_call *call, struct err *err)
{
    struct job_view job;
    struct jobs *jobs = pipeline_jobs(call->pipeline);
    enum result r = jobs_cancel(jobs, call->id, err);
    if (r == ERR_OK)
        r = jobs_get(jobs, call->id, &job, err);
    if (r)
        return r;
    call->reply->status = job.state == JOB_RUNNING ? 202 : 200;
    r = too_large(write_job(&call->reply->body, &job), err);
    job_view_free(&job);
    return r;
}

enum result v1_job_begin(struct route_call *call, const struct job_work *work, struct err *err)
{
    char id[JOB_ID_SIZE];
    enum result r = jobs_start(pipeline_jobs(call->pipeline), work, id, err);
    if (r) {
        work->release(work->user);
        return r;
    }
    call->reply->status = 202;
    r = buf_appendf(&call->reply->body, "{\"job\":\"%s\"}", id);
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}
