/*
 * The registry of long work.
 *
 * A job lives in one list, newest first, from jobs_start() until it is pushed out by later ones. Its numbers
 * (done, total) and its flag are atomics, because the work writes them often and from where it pleases; everything
 * else is under the lock of the registry. The thread of a job touches it under the lock for the last time; then it
 * only needs to be joined, which the next call that takes the lock for changing the list does.
 *
 * Rejected: a pool of threads with a queue. Jobs are few and run for minutes; one that waits in a queue looks like
 * one that hangs.
 */
#include "pipeline/jobs.h"

#include "base/clock.h"
#include "base/limits.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

struct job {
    struct job *next;
    struct jobs *jobs;
    struct job_work work;
    struct job_view view; /* under the lock; the three below are newer while it runs */
    _Atomic uint64_t done, total, version;
    atomic_bool cancel;
    pthread_t thread;
    bool joined; /* under the lock: the thread is gone */
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *newest;
    size_t running;
    uint64_t born; /* in the ids, so that one of before a restart names no new job */
    unsigned count;
};

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *job_state_name(enum job_state state)
{
    static const char *const names[] = {"running", "done", "failed", "cancelled"};
    return names[state];
}

enum result jobs_new(struct jobs **out, struct err *err)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    if (!jobs)
        return err_no_memory(err);
    if (clock_cond_init(&jobs->changed)) {
        free(jobs);
        return err_no_memory(err);
    }
    pthread_mutex_init(&jobs->lock, NULL);
    jobs->born = (uint64_t)wall_ms();
    *out = jobs;
    return ERR_OK;
}

static void free_job(struct job *job)
{
    free(job->view.result);
    free(job);
}

/* Join what has ended, and forget the oldest beyond the limit. With the lock. */
static void tidy(struct jobs *jobs)
{
    size_t kept = 0;
    for (struct job **at = &jobs->newest; *at;) {
        struct job *job = *at;
        if (job->view.state != JOB_RUNNING && !job->joined) {
            pthread_join(job->thread, NULL); /* it has nothing left to do but to let go of the lock */
            job->joined = true;
        }
        if (job->joined && ++kept > LIMIT_JOBS_KEPT) {
            *at = job->next;
            free_job(job);
            continue;
        }
        at = &job->next;
    }
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    for (struct job *job = jobs->newest; job; job = job->next)
        atomic_store(&job->cancel, true);
    while (jobs->running > 0)
        clock_wait(&jobs->changed, &jobs->lock, CLOCK_NO_DEADLINE);
    tidy(jobs);
    pthread_mutex_unlock(&jobs->lock);
    while (jobs->newest) {
        struct job *job = jobs->newest;
        jobs->newest = job->next;
        free_job(job);
    }
    pthread_cond_destroy(&jobs->changed);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

/* --- the thread of a job ---------------------------------------------------------------------------------------- */

static void finish(struct job *job, enum result r, const struct err *err, struct buf *result)
{
    struct job_view *view = &job->view;
    if (r == ERR_OK) {
        view->state = JOB_DONE;
        view->result = buf_take(result, NULL);
    } else if (atomic_load(&job->cancel)) {
        view->state = JOB_CANCELLED;
        snprintf(view->message, sizeof view->message, "cancelled");
    } else {
        view->state = JOB_FAILED;
        snprintf(view->message, sizeof view->message, "%.*s", JOB_MESSAGE_SIZE - 1,
            err->message[0] ? err->message : err_name(r));
    }
    view->finished_ms = wall_ms();
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    struct jobs *jobs = job->jobs;
    struct buf result;
    struct err err = {0};
    buf_init(&result, LIMIT_JOB_RESULT);
    enum result r = job->work.run(job, job->work.user, &result, &err);
    if (job->work.release)
        job->work.release(job->work.user);
    pthread_mutex_lock(&jobs->lock);
    finish(job, r, &err, &result);
    atomic_fetch_add(&job->version, 1);
    jobs->running--;
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    buf_free(&result);
    return NULL;
}

void job_progress(struct job *job, uint64_t done, uint64_t total)
{
    atomic_store_explicit(&job->done, done, memory_order_relaxed);
    atomic_store_explicit(&job->total, total, memory_order_relaxed);
    atomic_fetch_add(&job->version, 1);
}

void job_message(struct job *job, const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&job->jobs->lock);
    va_start(args, format);
    vsnprintf(job->view.message, sizeof job->view.message, format, args);
    va_end(args);
    atomic_fetch_add(&job->version, 1);
    pthread_cond_broadcast(&job->jobs->changed);
    pthread_mutex_unlock(&job->jobs->lock);
}

bool job_cancelled(const struct job *job)
{
    return atomic_load(&job->cancel);
}

const char *job_collection(const struct job *job)
{
    return job->view.collection;
}

/* --- starting --------------------------------------------------------------------------------------------------- */

static enum result check_room(struct jobs *jobs, const struct job_work *work, struct err *err)
{
    const char *collection = work->collection ? work->collection : "";
    for (struct job *job = jobs->newest; job; job = job->next)
        if (job->view.state == JOB_RUNNING && strcmp(job->view.kind, work->kind) == 0 &&
            strcmp(job->view.collection, collection) == 0)
            return err_set(err, ERR_EXISTS, "a job of the kind %s runs already%s%.64s: %s; wait for it, or cancel it", work->kind,
                *collection ? " for collection " : "", collection, job->view.id);
    if (jobs->running >= LIMIT_JOBS_RUNNING)
        return err_set(err, ERR_BUSY, "%d jobs run already, the most at once; try again when one has ended", LIMIT_JOBS_RUNNING);
    return ERR_OK;
}

static int start_thread(struct job *job)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's first thread */
    int e = pthread_create(&job->thread, NULL, run_job, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

enum result jobs_start(struct jobs *jobs, const struct job_work *work, char id[JOB_ID_SIZE], struct err *err)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return err_no_memory(err);
    job->jobs = jobs;
    job->work = *work;
    job->work.kind = job->work.collection = NULL; /* the caller's; the view has copies */
    snprintf(job->view.kind, sizeof job->view.kind, "%s", work->kind);
    snprintf(job->view.collection, sizeof job->view.collection, "%s", work->collection ? work->collection : "");
    job->view.started_ms = wall_ms();

    pthread_mutex_lock(&jobs->lock);
    tidy(jobs);
    enum result r = check_room(jobs, work, err);
    if (r == ERR_OK) {
        snprintf(job->view.id, sizeof job->view.id, "%" PRIx64 "-%u", jobs->born, ++jobs->count);
        int e = start_thread(job); /* it may run at once, but ends only with the lock */
        if (e)
            r = err_set_errno(err, e, "cannot start a thread for the job");
    }
    if (r == ERR_OK) {
        if (id)
            snprintf(id, JOB_ID_SIZE, "%s", job->view.id);
        job->next = jobs->newest;
        jobs->newest = job;
        jobs->running++;
    }
    pthread_mutex_unlock(&jobs->lock);
    if (r)
        free_job(job);
    return r;
}

/* --- watching --------------------------------------------------------------------------------------------------- */

static struct job *find(struct jobs *jobs, const char *id)
{
    struct job *job = jobs->newest;
    while (job && strcmp(job->view.id, id) != 0)
        job = job->next;
    return job;
}

static enum result no_such_job(const char *id, struct err *err)
{
    return err_set_field(err, ERR_NOT_FOUND, "id",
        "there is no job \"%.*s\": it never was, or it ended before the last %d that did, or before the last restart", JOB_ID_SIZE, id,
        LIMIT_JOBS_KEPT);
}

/* Without the result. */
static void look(const struct job *job, struct job_view *out)
{
    *out = job->view;
    out->version = atomic_load(&job->version);
    out->done = atomic_load_explicit(&job->done, memory_order_relaxed);
    out->total = atomic_load_explicit(&job->total, memory_order_relaxed);
    out->result = NULL;
}

enum result jobs_get(struct jobs *jobs, const char *id, struct job_view *out, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&jobs->lock);
    const struct job *job = find(jobs, id);
    char *result = job && job->view.result ? strdup(job->view.result) : NULL;
    if (!job)
        r = no_such_job(id, err);
    else if (job->view.result && !result)
        r = err_no_memory(err);
    else {
        look(job, out);
        out->result = result;
    }
    pthread_mutex_unlock(&jobs->lock);
    return r;
}

void job_view_free(struct job_view *view)
{
    free(view->result);
    view->result = NULL;
}

enum result jobs_list(struct jobs *jobs, struct job_view **out, size_t *count, struct err *err)
{
    size_t n = 0, i = 0;
    pthread_mutex_lock(&jobs->lock);
    tidy(jobs);
    for (const struct job *job = jobs->newest; job; job = job->next)
        n++;
    struct job_view *views = malloc((n + 1) * sizeof *views);
    for (const struct job *job = jobs->newest; views && job; job = job->next)
        look(job, &views[i++]);
    pthread_mutex_unlock(&jobs->lock);
    if (!views)
        return err_no_memory(err);
    *out = views;
    *count = n;
    return ERR_OK;
}

enum result jobs_cancel(struct jobs *jobs, const char *id, struct err *err)
{
    pthread_mutex_lock(&jobs->lock);
    struct job *job = find(jobs, id);
    if (job && job->view.state == JOB_RUNNING) {
        atomic_store(&job->cancel, true);
        atomic_fetch_add(&job->version, 1);
        pthread_cond_broadcast(&jobs->changed);
    }
    pthread_mutex_unlock(&jobs->lock);
    return job ? ERR_OK : no_such_job(id, err);
}

/* How long a change of the numbers may go unseen: job_progress() wakes nobody, to be cheap. */
#define LOOK_EVERY_MS 100

enum result jobs_wait(struct jobs *jobs, const char *id, uint64_t version, int64_t deadline_ms, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        const struct job *job = find(jobs, id); /* anew: it may have been forgotten meanwhile */
        if (!job)
            r = no_such_job(id, err);
        else if (job->view.state == JOB_RUNNING && atomic_load(&job->version) <= version && clock_passed(deadline_ms))
            r = err_set(err, ERR_TIMEOUT, "the job has not changed before the deadline");
        else if (job->view.state == JOB_RUNNING && atomic_load(&job->version) <= version) {
            int64_t wake = clock_now_ms() + LOOK_EVERY_MS;
            clock_wait(&jobs->changed, &jobs->lock, deadline_ms && deadline_ms < wake ? deadline_ms : wake);
            continue;
        }
        break;
    }
    pthread_mutex_unlock(&jobs->lock);
    return r;
}
