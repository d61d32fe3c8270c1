/*
 * The best k of what a scan offers: a binary heap with the worst at the root. With `group`, the best k
 * groups, each by its best member; a hash table says where in the heap a group is.
 *
 * Why a group that was pushed out needs no memory: when a group's best member is offered and refused, k other
 * groups have members at least as good, and those only get better.
 */
#ifndef STORE_EMBEDDED_TOPK_H
#define STORE_EMBEDDED_TOPK_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embedded_candidate {
    float key; /* the smaller the better; never NaN */
    uint32_t slot;
    int64_t fileid; /* decides between equal keys: the smaller is the better */
    int64_t group;
    uint64_t number; /* write number of the record seen */
};

struct embedded_topk {
    struct embedded_candidate *heap;
    size_t count, max;
    bool grouped;
    uint32_t *places; /* hash table: index in the heap + 1, or 0 */
    size_t mask;
};

enum result embedded_topk_init(
    struct embedded_topk *t, size_t max, bool grouped, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void embedded_topk_free(struct embedded_topk *t);

/* Could a candidate with this key get in? Cheap: asked for every row. */
static inline bool embedded_topk_wants(const struct embedded_topk *t, float key)
{
    return t->count < t->max || key <= t->heap[0].key;
}

void embedded_topk_offer(struct embedded_topk *t, const struct embedded_candidate *candidate);
/* Best first, in heap[0…count−1]; the heap is no heap after it. */
void embedded_topk_sort(struct embedded_topk *t);

#endif
