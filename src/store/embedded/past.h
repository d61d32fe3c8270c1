/*
 * A sample of the descriptors that came as queries: what tune takes means and hubs from. Vectors only, no pictures, and
 * LIMIT_PAST_QUERIES at most; each query that ever came is in it with the same chance (Vitter's reservoir). Kept in
 * derived/queries when the collection is closed; losing it loses a sample. LOOKALIKE_PAST_QUERIES=0 keeps none.
 */
#ifndef STORE_EMBEDDED_PAST_H
#define STORE_EMBEDDED_PAST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embedded_collection;

struct embedded_past {
    pthread_mutex_t mutex; /* of all that follows */
    bool off, changed;
    uint64_t seen, random;
    uint32_t count;
    uint16_t *rows; /* LIMIT_PAST_QUERIES × descriptor halves; NULL until the first */
};

void embedded_past_init(struct embedded_past *p);
void embedded_past_load(struct embedded_collection *c);
/* Writes the sample down; accepts one that was not loaded. */
void embedded_past_close(struct embedded_collection *c);
void embedded_past_add(struct embedded_collection *c, const float *descriptor);
/* A copy as floats, *count × descriptor; NULL where there are none or no memory. free() it. */
float *embedded_past_copy(struct embedded_collection *c, size_t *count);

#endif
