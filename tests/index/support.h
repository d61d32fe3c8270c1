/* Vectors made up, and the truth about them, for the tests of the index. */
#ifndef TESTS_INDEX_SUPPORT_H
#define TESTS_INDEX_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "index/index.h"

/* Slots 0 … count − 1; `alive` says which have a row. */
struct world {
    uint32_t dimension, count;
    enum index_metric metric;
    uint16_t *vectors;
    int64_t *items;
    uint8_t *alive;
    uint64_t random;
};

uint32_t world_random(struct world *w);
float world_gauss(struct world *w);
/* Unit length, in clusters. All alive, each its own item. */
void world_init(struct world *w, uint32_t dimension, uint32_t count);
void world_free(struct world *w);
/* A new vector for a slot, near the centre of a cluster. */
void world_renew(struct world *w, uint32_t slot);
uint16_t *world_vector(const struct world *w, uint32_t slot);
void world_query(struct world *w, float *out);
float world_distance(const struct world *w, const float *query, uint32_t slot);

struct index *world_index(const struct world *w, unsigned threads);
void world_insert(const struct world *w, struct index *ix, uint32_t slot);
void world_insert_all(const struct world *w, struct index *ix);
/* Ready to be asked: k, vector and callbacks. */
struct index_query world_ask(struct world *w, const float *vector, uint32_t k);

/*
 * Ask, compare with the truth under the query's filter and grouping: the number of hits, their order, their
 * distances, no hit that may not be, one an item. Returns the share of hits that are as near as the true
 * ones.
 */
double world_recall(
    struct world *w, struct index *ix, const struct index_query *query, struct index_trace *trace);
/* The same for `n` random queries, the mean. */
double world_recalls(struct world *w, struct index *ix, struct index_query query, unsigned n);
/* index_check(), and each sentence printed. */
void world_check(struct index *ix);

#endif
