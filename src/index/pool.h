/*
 * Working memory of one walk: who was seen, who comes next, who is best so far. Kept and used again, so that
 * a search allocates nothing once the first of its kind has run. One thread at a time.
 */
#ifndef INDEX_POOL_H
#define INDEX_POOL_H

#include "index/encode.h"

/* A set of numbers, emptied in the time of what it held. */
struct index_set {
    uint32_t *keys; /* number + 1; 0: empty */
    uint32_t mask, count;
    uint32_t roomy; /* how often in turn it was far larger than needed when it was emptied */
};

struct index_candidate {
    float distance;
    uint32_t node;
    int64_t tie;
    int64_t item;
    uint32_t other; /* grouped: the second-best node of the item, INDEX_NONE for none */
    float other_distance;
};

/* The `max` nearest by (distance, tie); the farthest is on top. Grouped: one an item. */
struct index_best {
    struct index_candidate *heap;
    uint32_t *places; /* grouped: item → index in the heap + 1 */
    uint32_t place_mask, place_room;
    uint32_t count, max, room;
    bool grouped;
};

struct index_work {
    struct index_probe probe;
    struct index_set seen;
    struct index_near *queue; /* to be expanded, a heap with the nearest on top */
    uint32_t queue_count, queue_room;
    struct index_best best, aside, final;
    struct index_best around; /* under a filter: the nearest nodes of all, hits or not; max 0: none */
    struct index_near *near; /* for link.c: candidates; for a scan by glances: what is to be looked at first */
    uint32_t near_count, near_room;
    float *glances; /* project.h: an estimate for each node, infinite where there is none, or none any more */
    uint32_t glance_count, glance_room;
    uint32_t glanced, sketches, codes, vectors; /* rows looked at by each */
    uint32_t passed, offered; /* of this walk: nodes that might be wanted by their sketches; those that were, and may be hits */
    float *floats; /* 2 · padded */
};

/* One from the idle ones, or a new one. */
enum result index_work_take(struct index *ix, struct index_work **out, struct err *err) ERR_MUST_USE;
void index_work_give(struct index *ix, struct index_work *w);
void index_work_free(struct index_work *w);

enum result index_set_clear(struct index_set *set, struct err *err) ERR_MUST_USE;
/* *added: it was not in it. */
enum result index_set_grow(struct index_set *set, struct err *err) ERR_MUST_USE;
static inline uint32_t index_hash(uint32_t key)
{
    return (key * 0x9e3779b1u) ^ (key >> 15);
}
/* True when it was not in it. There must be room: index_set_roomy(). */
static inline bool index_set_add(struct index_set *set, uint32_t key)
{
    uint32_t i = index_hash(key) & set->mask;
    while (set->keys[i]) {
        if (set->keys[i] == key + 1)
            return false;
        i = (i + 1) & set->mask;
    }
    set->keys[i] = key + 1;
    set->count++;
    return true;
}
static inline bool index_set_roomy(const struct index_set *set, uint32_t more)
{
    return set->count + more <= set->mask / 2;
}

enum result index_queue_push(struct index_work *w, struct index_near n, struct err *err) ERR_MUST_USE;
struct index_near index_queue_pop(struct index_work *w);

enum result index_best_init(
    struct index_best *best, uint32_t max, bool grouped, struct err *err) ERR_MUST_USE;
void index_best_offer(struct index_best *best, const struct index_candidate *c);
/* Above this no candidate is wanted. */
static inline float index_best_limit(const struct index_best *best)
{
    return best->count < best->max ? __builtin_inff() : best->heap[0].distance;
}
/* Nearest first; no offers after this. */
void index_best_sort(struct index_best *best);

/* Into `most` nearest ones, nearest first, of which there are `count`. Returns how many there are now. */
static inline uint32_t index_keep_near(struct index_near *near, uint32_t count, uint32_t most, struct index_near n)
{
    if (count == most && n.distance >= near[most - 1].distance)
        return count;
    uint32_t at = count < most ? count++ : most - 1;
    for (; at > 0 && near[at - 1].distance > n.distance; at--)
        near[at] = near[at - 1];
    near[at] = n;
    return count;
}
enum result index_near_add(struct index_work *w, struct index_near n, struct err *err) ERR_MUST_USE;

#endif
