/*
 * Batching without waiting for company.
 *
 * Waiting pictures stand in one list. `parallel` threads, as many as the engine runs calls at once, each take a share
 * of the list and run it as one batch. Nobody ever waits for a batch to fill: a lone picture is run at once, and under
 * load the list grows while the engine is busy, so the next batch is larger by itself.
 *
 * A thread takes ceil(waiting / threads that are idle, itself included), not all there is: with 4 waiting and two idle
 * threads, 2 + 2 finish sooner than 4 and 0.
 *
 * A job lives on the stack of the thread that waits for it. It belongs to the list while `state` is WAITING (its owner
 * may take it out, at its deadline), to the batcher's thread while TAKEN (the owner must wait), to its owner again
 * when DONE. All of it under one mutex; the engine runs without it.
 *
 * Rejected: a timer that waits a millisecond or two for more pictures. It adds its delay to every lone request, and
 * under load it gains nothing, because the queue is not empty then.
 */
#include "pipeline/batcher.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"

#include <stdbool.h>

enum job_state { JOB_WAITING, JOB_TAKEN, JOB_DONE };

struct job {
    struct job *next, *prev;
    const uint8_t *pixels;
    float *vector;
    pthread_cond_t done;
    enum job_state state;
    enum result result;
    struct err err;
};

struct batcher {
    struct embed *embed;
    uint32_t dimension;
    unsigned max_batch, thread_count, idle;
    pthread_mutex_t mutex;
    pthread_cond_t not_empty;
    struct job *first, *last;
    size_t waiting;
    bool closed;
    pthread_t threads[];
};

static void list_add(struct batcher *b, struct job *job)
{
    job->next = NULL;
    job->prev = b->last;
    if (b->last)
        b->last->next = job;
    else
        b->first = job;
    b->last = job;
    b->waiting++;
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_EMBED, 1);
}

static void list_remove(struct batcher *b, struct job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        b->first = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        b->last = job->prev;
    b->waiting--;
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_EMBED, -1);
}

/* Wait for work and take this thread's share; 0 when the batcher is closed. The mutex is held. */
static size_t take_share(struct batcher *b, struct job **jobs, size_t max)
{
    b->idle++;
    while (!b->first && !b->closed)
        pthread_cond_wait(&b->not_empty, &b->mutex);
    size_t n = (b->waiting + b->idle - 1) / b->idle;
    b->idle--;
    if (n > max)
        n = max;
    for (size_t i = 0; i < n; i++) {
        jobs[i] = b->first;
        list_remove(b, jobs[i]);
        jobs[i]->state = JOB_TAKEN;
    }
    return n;
}

/* What one thread works with: room for the largest batch. */
struct bench {
    struct job **jobs;
    const uint8_t **pixels;
    float *out;
};

static enum result run_batch(struct batcher *b, struct bench *bench, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        bench->pixels[i] = bench->jobs[i]->pixels;
    metrics_observe(METRIC_BATCH_PICTURES, 0, (int64_t)n);
    enum result r = embed_run(b->embed, bench->pixels, n, bench->out, err);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++)
        memcpy(bench->jobs[i]->vector, bench->out + i * b->dimension, b->dimension * sizeof *bench->out);
    return ERR_OK;
}

/* Give every job of the batch its outcome. The mutex is held. */
static void finish_batch(struct job **jobs, size_t n, enum result r, const struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        jobs[i]->result = r;
        jobs[i]->err = *err;
        jobs[i]->state = JOB_DONE;
        pthread_cond_signal(&jobs[i]->done);
    }
}

static void *batcher_thread(void *arg)
{
    struct batcher *b = arg;
    struct bench bench = {
        .jobs = calloc(b->max_batch, sizeof *bench.jobs),
        .pixels = calloc(b->max_batch, sizeof *bench.pixels),
        .out = calloc((size_t)b->max_batch * b->dimension, sizeof *bench.out),
    };
    bool ready = bench.jobs && bench.pixels && bench.out;
    struct err err = {0};
    enum result without_memory = ready ? ERR_OK : err_no_memory(&err);
    struct job *one;
    pthread_mutex_lock(&b->mutex);
    for (;;) {
        /* Without memory this thread goes on, one job at a time, so that nobody waits for ever. */
        size_t n = take_share(b, ready ? bench.jobs : &one, ready ? b->max_batch : 1);
        if (n == 0)
            break;
        pthread_mutex_unlock(&b->mutex);
        enum result r = ready ? run_batch(b, &bench, n, &err) : without_memory;
        pthread_mutex_lock(&b->mutex);
        finish_batch(ready ? bench.jobs : &one, n, r, &err);
    }
    pthread_mutex_unlock(&b->mutex);
    free(bench.out);
    free(bench.pixels);
    free(bench.jobs);
    return NULL;
}

enum result batcher_new(struct embed *embed, struct batcher **out, struct err *err)
{
    const struct embed_info *info = embed_describe(embed);
    unsigned want = info->parallel ? info->parallel : 1;
    struct batcher *b = calloc(1, sizeof *b + want * sizeof *b->threads);
    if (!b)
        return err_no_memory(err);
    b->embed = embed;
    b->dimension = manifest_descriptor(&info->manifest);
    b->max_batch = info->max_batch ? info->max_batch : 1;
    pthread_mutex_init(&b->mutex, NULL);
    if (clock_cond_init(&b->not_empty)) {
        pthread_mutex_destroy(&b->mutex);
        free(b);
        return err_no_memory(err);
    }
    for (; b->thread_count < want; b->thread_count++) {
        int rc = pthread_create(&b->threads[b->thread_count], NULL, batcher_thread, b);
        if (rc) {
            batcher_free(b);
            return err_set_errno(err, rc, "cannot start a thread for inference");
        }
    }
    *out = b;
    return ERR_OK;
}

void batcher_free(struct batcher *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->mutex);
    b->closed = true;
    pthread_cond_broadcast(&b->not_empty);
    pthread_mutex_unlock(&b->mutex);
    for (unsigned i = 0; i < b->thread_count; i++)
        pthread_join(b->threads[i], NULL);
    pthread_cond_destroy(&b->not_empty);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}

enum result batcher_run(
    struct batcher *b, const uint8_t *pixels, float *vector, int64_t deadline_ms, struct err *err)
{
    struct job job = {.pixels = pixels, .vector = vector};
    if (clock_cond_init(&job.done))
        return err_no_memory(err);
    enum result r = ERR_OK;
    pthread_mutex_lock(&b->mutex);
    if (b->waiting >= LIMIT_EMBED_QUEUE) {
        r = err_set(err, ERR_BUSY, "the server is busy: %d pictures are waiting already; try again in a moment",
            LIMIT_EMBED_QUEUE);
    } else {
        list_add(b, &job);
        pthread_cond_signal(&b->not_empty);
        while (job.state != JOB_DONE) {
            /* Once taken, the engine writes into our memory: no leaving before it is done. */
            bool in_time = clock_wait(&job.done, &b->mutex, job.state == JOB_TAKEN ? CLOCK_NO_DEADLINE : deadline_ms);
            if (!in_time && job.state == JOB_WAITING) {
                list_remove(b, &job);
                r = err_set(err, ERR_TIMEOUT, "the server is busy: the picture waited for the model until its deadline");
                break;
            }
        }
        if (job.state == JOB_DONE && job.result) {
            r = job.result;
            if (err)
                *err = job.err;
        }
    }
    pthread_mutex_unlock(&b->mutex);
    pthread_cond_destroy(&job.done);
    return r;
}
