#include "base/queue.h"

#include "base/clock.h"

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty, not_full;
    size_t capacity, head, len;
    bool closed;
    void *items[];
};

enum result queue_new(size_t capacity, struct queue **out)
{
    size_t bytes;
    if (capacity == 0 || __builtin_mul_overflow(capacity, sizeof(void *), &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct queue), &bytes))
        return ERR_INVALID;
    struct queue *q = calloc(1, bytes);
    if (!q)
        return ERR_NO_MEMORY;
    q->capacity = capacity;
    if (pthread_mutex_init(&q->mutex, NULL))
        goto fail_mutex;
    if (clock_cond_init(&q->not_empty))
        goto fail_empty;
    if (clock_cond_init(&q->not_full))
        goto fail_full;
    *out = q;
    return ERR_OK;

fail_full:
    pthread_cond_destroy(&q->not_empty);
fail_empty:
    pthread_mutex_destroy(&q->mutex);
fail_mutex:
    free(q);
    return ERR_NO_MEMORY;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    pthread_cond_destroy(&q->not_full);
    pthread_cond_destroy(&q->not_empty);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

static enum result push_locked(struct queue *q, void *item)
{
    if (q->closed)
        return ERR_UNAVAILABLE;
    if (q->len == q->capacity)
        return ERR_BUSY;
    q->items[(q->head + q->len++) % q->capacity] = item;
    pthread_cond_signal(&q->not_empty);
    return ERR_OK;
}

enum result queue_try_push(struct queue *q, void *item)
{
    pthread_mutex_lock(&q->mutex);
    enum result r = push_locked(q, item);
    pthread_mutex_unlock(&q->mutex);
    return r;
}

enum result queue_push(struct queue *q, void *item, int64_t deadline_ms)
{
    pthread_mutex_lock(&q->mutex);
    enum result r;
    while ((r = push_locked(q, item)) == ERR_BUSY) {
        if (!clock_wait(&q->not_full, &q->mutex, deadline_ms)) {
            r = push_locked(q, item);
            if (r == ERR_BUSY)
                r = ERR_TIMEOUT;
            break;
        }
    }
    pthread_mutex_unlock(&q->mutex);
    return r;
}

size_t queue_pop_many(struct queue *q, void **items, size_t max)
{
    pthread_mutex_lock(&q->mutex);
    while (q->len == 0 && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    size_t n = q->len < max ? q->len : max;
    for (size_t i = 0; i < n; i++) {
        items[i] = q->items[q->head];
        q->head = (q->head + 1) % q->capacity;
    }
    q->len -= n;
    if (n)
        pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->mutex);
    return n;
}

bool queue_pop(struct queue *q, void **item)
{
    return queue_pop_many(q, item, 1) == 1;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->not_empty);
    pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->mutex);
}

size_t queue_len(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    size_t n = q->len;
    pthread_mutex_unlock(&q->mutex);
    return n;
}
