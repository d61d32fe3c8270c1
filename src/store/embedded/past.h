/*
 * A sample of the descriptors that came as queries: what tune takes means and hubs from. Vectors only, no pictures, and
 * LIMIT_PAST_QUERIES at most; each query that ever came is in it with the same chance (Vitter's reservoir).
 *
 * Kept in the file queries, beside the records and not among what is derived: nothing can make it again. The keeper
 * writes it when there are EMBEDDED_PAST_FIRST and whenever there are half as many again; tune, a backup and the close
 * write it as well, so that a crash loses at most the last third of what came. LOOKALIKE_PAST_QUERIES=0 keeps none.
 */
#ifndef STORE_EMBEDDED_PAST_H
#define STORE_EMBEDDED_PAST_H

#include "store/embedded/keeper.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMBEDDED_PAST_FIRST 64u

struct embedded_collection;

struct embedded_past {
    struct embedded_kept kept; /* first: the keeper hands it back */
    struct embedded_keeper *keeper;
    struct embedded_collection *c;
    bool off;
    pthread_mutex_t saving; /* one at a time writes the file; taken before `mutex` */
    pthread_mutex_t mutex;  /* of all that follows */
    uint64_t seen, saved, random; /* saved: `seen` as of the file */
    uint32_t count;
    uint16_t *rows; /* LIMIT_PAST_QUERIES × descriptor halves; NULL until the first */
};

/* `keeper` may be NULL: then it is written by the others. */
void embedded_past_init(struct embedded_past *p, struct embedded_collection *c, struct embedded_keeper *keeper);
/* What the file has; from now on the keeper looks after it. */
void embedded_past_load(struct embedded_past *p);
/* Writes down what is new; that it may fail costs a part of the sample. */
void embedded_past_save(struct embedded_past *p);
/* Saves; accepts one that was not loaded. */
void embedded_past_close(struct embedded_past *p);
void embedded_past_add(struct embedded_past *p, const float *descriptor);
/* A copy as floats, *count × descriptor; NULL where there are none or no memory. free() it. */
float *embedded_past_copy(struct embedded_past *p, size_t *count);

#endif
