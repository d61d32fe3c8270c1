/*
 * How near pictures are that have nothing to do with each other, in this collection as it is searched now: what a
 * similarity is measured by (store_scale() in store.h).
 *
 * Measured by EMBEDDED_SCALE_SAMPLE real searches: by past queries where there are LEARN_QUERIES_MIN, else by pictures of
 * the collection. `near` is the median of the nearest that is another thing: of a past query, which nobody says
 * the answer to, the second item; of a picture of the collection the nearest of another item. `far` is the mean distance of
 * arbitrary pairs.
 *
 * The keeper does it when there are EMBEDDED_SCALE_LEAST pictures, and again when there are half as many more or a third
 * fewer, and after each tune. While many write at once it leaves them the machine for a minute, if there is a result. The result
 * is kept in derived/scale, so that a restart changes no similarity.
 */
#ifndef STORE_EMBEDDED_SCALE_H
#define STORE_EMBEDDED_SCALE_H

#include "store/embedded/keeper.h"
#include "store/store.h"

#include <pthread.h>

#define EMBEDDED_SCALE_SAMPLE 128u
#define EMBEDDED_SCALE_LEAST 32u

struct embedded_collection;

struct embedded_scale {
    struct embedded_kept kept; /* first: the keeper hands it back */
    struct embedded_keeper *keeper;
    struct embedded_collection *c;
    pthread_mutex_t measuring; /* trylock: one thread measures */
    pthread_mutex_t mutex;     /* of `now` */
    struct store_scale now;
    uint64_t tried; /* records at the last attempt; under `measuring` */
    int64_t due_ms; /* since when a measurement is due, 0: none is; under `measuring` */
};

/* `keeper` may be NULL: then nothing is measured. */
void embedded_scale_init(
    struct embedded_scale *b, struct embedded_collection *c, struct embedded_keeper *keeper);
void embedded_scale_start(struct embedded_scale *b);
/* Accepts one that was not started. */
void embedded_scale_close(struct embedded_scale *b);
/* `records` 0: nothing is known yet. */
void embedded_scale_get(struct embedded_scale *b, struct store_scale *out);

#endif
