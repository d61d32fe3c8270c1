/*
 * A bounded queue of pointers between threads. An item belongs to the queue from a successful push until the
 * pop that returns it, and to the caller before and after. After queue_close() pushes fail with ERR_UNAVAILABLE
 * and pops drain what is left, then return false.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

enum result queue_new(size_t capacity, struct queue **out) ERR_MUST_USE;
/* The queue must be empty, and no thread may be inside it. NULL is accepted. */
void queue_free(struct queue *q);
/* ERR_BUSY at once when the queue is full; the item is still the caller's. */
enum result queue_try_push(struct queue *q, void *item) ERR_MUST_USE;
/* Wait for room until the deadline (ERR_TIMEOUT). */
enum result queue_push(struct queue *q, void *item, int64_t deadline_ms) ERR_MUST_USE;
/* Wait for an item; false when the queue is closed and empty. */
bool queue_pop(struct queue *q, void **item);
/*
 * Wait for one item, then take as many more as are there, at most `max`. Returns the number taken, 0 when the
 * queue is closed and empty.
 */
size_t queue_pop_many(struct queue *q, void **items, size_t max);
void queue_close(struct queue *q);
size_t queue_len(struct queue *q);

#endif
