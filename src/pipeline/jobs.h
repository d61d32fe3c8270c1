/*
 * Long work: tuning, re-embedding, backups. A job runs on a thread of its own, tells how far it is, can be asked to
 * stop, and its end is remembered for a while, so that whoever started it can ask later what became of it.
 *
 * Bounded: LIMIT_JOBS_RUNNING run at once, LIMIT_JOBS_KEPT are remembered after their end (the oldest goes first),
 * a result has at most LIMIT_JOB_RESULT bytes. Nothing is kept across a restart: what must survive one, the work
 * itself has to write down.
 *
 * Every call is thread-safe. pipeline_jobs() gives the registry of a pipeline.
 */
#ifndef PIPELINE_JOBS_H
#define PIPELINE_JOBS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jobs;
struct job; /* one running job, as its own function sees it */

#define JOB_ID_SIZE 40
#define JOB_KIND_SIZE 32
#define JOB_MESSAGE_SIZE 256

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

/*
 * The work. It blocks as long as it needs, asks job_cancelled() at least every few hundred milliseconds, and then
 * returns soon, whatever it returns: the job counts as cancelled if it was asked to stop and did not succeed.
 * `result`: append one JSON value, or nothing.
 */
typedef enum result (*job_fn)(struct job *job, void *user, struct buf *result, struct err *err);

struct job_work {
    const char *kind;       /* "tune", "reembed", …: [a-z-] */
    const char *collection; /* NULL: of none */
    job_fn run;
    void (*release)(void *user); /* after `run`, on the job's thread; NULL: nothing to release */
    void *user;              /* the job's once jobs_start() has returned ERR_OK, until then the caller's */
};

enum result jobs_new(struct jobs **out, struct err *err) ERR_MUST_USE;
/* Asks every job to stop, and waits for them. No other call may run. NULL is accepted. */
void jobs_free(struct jobs *jobs);

/*
 * ERR_BUSY: too many run. ERR_EXISTS: one of this kind runs on this collection already; the sentence names it.
 * `id` may be NULL.
 */
enum result jobs_start(struct jobs *jobs, const struct job_work *work, char id[JOB_ID_SIZE], struct err *err) ERR_MUST_USE;

/* --- for the work itself ---------------------------------------------------------------------------------------- */

/* `total` 0: nobody knows. Cheap: may be called for every item. */
void job_progress(struct job *job, uint64_t done, uint64_t total);
/* What it is doing now, one short sentence; it replaces the last one. */
void job_message(struct job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool job_cancelled(const struct job *job);
/* "" where it has none. As long as the job. */
const char *job_collection(const struct job *job);

/* --- for whoever watches ---------------------------------------------------------------------------------------- */

struct job_view {
    char id[JOB_ID_SIZE], kind[JOB_KIND_SIZE];
    char collection[256]; /* "": of none */
    enum job_state state;
    uint64_t done, total;
    char message[JOB_MESSAGE_SIZE]; /* of a failed job: what went wrong */
    int64_t started_ms, finished_ms; /* since 1970; `finished_ms` 0 while it runs */
    uint64_t version;                /* grows with every change */
    char *result;                    /* JSON text or NULL */
};
/* "running", "done", "failed", "cancelled". */
const char *job_state_name(enum job_state state);

/* A snapshot; job_view_free() releases it. ERR_NOT_FOUND: no such job, or none any more. */
enum result jobs_get(struct jobs *jobs, const char *id, struct job_view *out, struct err *err) ERR_MUST_USE;
void job_view_free(struct job_view *view);
/* Newest first, without results; `*out` is one allocation: free() it. */
enum result jobs_list(struct jobs *jobs, struct job_view **out, size_t *count, struct err *err) ERR_MUST_USE;
/* Ask it to stop; it may still take a moment. ERR_NOT_FOUND. A job that has ended stays as it is. */
enum result jobs_cancel(struct jobs *jobs, const char *id, struct err *err) ERR_MUST_USE;
/* Until the job's version is above `version`, it has ended, or the deadline has passed. ERR_NOT_FOUND, ERR_TIMEOUT. */
enum result jobs_wait(
    struct jobs *jobs, const char *id, uint64_t version, int64_t deadline_ms, struct err *err) ERR_MUST_USE;

#endif
