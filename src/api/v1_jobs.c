/* /v1/jobs: long work, how far it is, and how to stop it. */
#include "api/route.h"
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
static bool sees(const struct route_call *call, const struct job_view *job)
{
    return access_reaches(call->request, job->collection);
}

enum result v1_jobs_list(struct route_call *call, struct err *err)
{
    struct job_view *jobs = NULL;
    size_t count = 0;
    struct buf *body = &call->reply->body;
    enum result r = jobs_list(pipeline_jobs(call->pipeline), &jobs, &count, err);
    if (r)
        return r;
    r = buf_append_str(body, "{\"jobs\":[");
    for (size_t i = 0, written = 0; i < count && r == ERR_OK; i++) {
        if (!sees(call, &jobs[i]))
            continue;
        if (written++)
            r = buf_append_str(body, ",");
        if (r == ERR_OK)
            r = write_job(body, &jobs[i]);
    }
    if (r == ERR_OK)
        r = buf_append_str(body, "]}");
    free(jobs);
    return too_large(r, err);
}

enum result v1_job_get(struct route_call *call, struct err *err)
{
    struct job_view job;
    enum result r = jobs_get(pipeline_jobs(call->pipeline), call->id, &job, err);
    if (r)
        return r;
    r = sees(call, &job) ? too_large(write_job(&call->reply->body, &job), err)
                         : err_set(err, ERR_NOT_FOUND, "there is no job %.64s", call->id);
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
