#include "index/pool.h"

#define SET_MIN 4096
#define SET_LARGE 65536 /* to clear more than a quarter of a megabyte takes longer than to begin anew */
#define SET_PATIENCE 64 /* a search empties it twice, and between the two it may hold ten numbers */
#define GLANCES_LARGE (1 << 18) /* a megabyte; to look at more rows takes so long that this counts for little */
#define QUEUE_LARGE 65536 /* an exact search of a large collection has made it grow; it is not kept */

static enum result new_work(const struct index *ix, struct index_work **out, struct err *err)
{
    size_t padded = ix->shape.padded;
    struct index_work *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory(err);
    w->floats = aligned_alloc(64, 2 * padded * sizeof *w->floats);
    w->probe.rotated = aligned_alloc(64, padded * sizeof *w->probe.rotated);
    w->probe.code = aligned_alloc(64, padded);
    w->probe.residual = aligned_alloc(64, padded);
    if (!w->floats || !w->probe.rotated || !w->probe.code || !w->probe.residual) {
        index_work_free(w);
        return err_no_memory(err);
    }
    *out = w;
    return ERR_OK;
}

/*
 * Idle ones lie in places of which each is taken and filled by one atomic exchange: with a lock a search would wait for
 * a linking thread of a lower priority that was interrupted while it held it.
 */
static _Thread_local unsigned my_place; /* where this thread found or left one last */

enum result index_work_take(struct index *ix, struct index_work **out, struct err *err)
{
    struct index_work *w = NULL;
    for (unsigned i = 0, at = my_place; !w && i < INDEX_IDLE; i++, at = (at + 1) % INDEX_IDLE)
        if (atomic_load_explicit(&ix->idle[at], memory_order_relaxed)) {
            w = atomic_exchange(&ix->idle[at], NULL);
            my_place = at;
        }
    if (!w) {
        enum result r = new_work(ix, &w, err);
        if (r != ERR_OK)
            return r;
    }
    w->glanced = w->sketches = w->codes = w->vectors = 0;
    w->around.max = 0;
    *out = w;
    return ERR_OK;
}

void index_work_give(struct index *ix, struct index_work *w)
{
    if (!w)
        return;
    if (w->queue_room > QUEUE_LARGE) {
        free(w->queue);
        w->queue = NULL;
        w->queue_room = w->queue_count = 0;
    }
    if (w->glance_room > GLANCES_LARGE) {
        free(w->glances);
        w->glances = NULL;
        w->glance_room = w->glance_count = 0;
    }
    for (unsigned i = 0, at = my_place; i < INDEX_IDLE; i++, at = (at + 1) % INDEX_IDLE) {
        struct index_work *none = NULL;
        if (!atomic_load_explicit(&ix->idle[at], memory_order_relaxed) &&
            atomic_compare_exchange_strong(&ix->idle[at], &none, w))
            return;
    }
    index_work_free(w);
}

static void free_best(struct index_best *best)
{
    free(best->heap);
    free(best->places);
}

void index_work_free(struct index_work *w)
{
    if (!w)
        return;
    free(w->floats);
    free(w->probe.rotated);
    free(w->probe.code);
    free(w->probe.residual);
    free(w->seen.keys);
    free(w->queue);
    free_best(&w->best);
    free_best(&w->aside);
    free_best(&w->around);
    free_best(&w->final);
    free(w->near);
    free(w->glances);
    free(w);
}

/* --- the set
 * -------------------------------------------------------------------------------------------------- */

enum result index_set_clear(struct index_set *set, struct err *err)
{
    /* One that a large search has blown up is not worth clearing for the small ones that follow, once they are many. */
    bool small = set->keys && set->mask + 1 > SET_MIN && set->count < set->mask / 16;
    set->roomy = small ? set->roomy + 1 : 0;
    if (small && (set->roomy > SET_PATIENCE || set->mask + 1 > SET_LARGE)) {
        free(set->keys);
        set->keys = NULL;
        set->roomy = 0;
    }
    if (!set->keys) {
        set->keys = calloc(SET_MIN, sizeof *set->keys);
        if (!set->keys)
            return err_no_memory(err);
        set->mask = SET_MIN - 1;
    } else {
        memset(set->keys, 0, (set->mask + 1) * sizeof *set->keys);
    }
    set->count = 0;
    return ERR_OK;
}

enum result index_set_grow(struct index_set *set, struct err *err)
{
    uint32_t size = (set->mask + 1) * 2;
    struct index_set bigger = {.keys = calloc(size, sizeof *bigger.keys), .mask = size - 1};
    if (!bigger.keys)
        return err_no_memory(err);
    for (uint32_t i = 0; i <= set->mask; i++)
        if (set->keys[i])
            index_set_add(&bigger, set->keys[i] - 1);
    free(set->keys);
    *set = bigger;
    return ERR_OK;
}

/* --- the queue
 * ------------------------------------------------------------------------------------------------ */

enum result index_queue_push(struct index_work *w, struct index_near n, struct err *err)
{
    if (w->queue_count == w->queue_room) {
        uint32_t room = w->queue_room ? w->queue_room * 2 : 1024;
        struct index_near *queue = realloc(w->queue, room * sizeof *queue);
        if (!queue)
            return err_no_memory(err);
        w->queue = queue;
        w->queue_room = room;
    }
    uint32_t i = w->queue_count++;
    for (; i > 0 && w->queue[(i - 1) / 2].distance > n.distance; i = (i - 1) / 2)
        w->queue[i] = w->queue[(i - 1) / 2];
    w->queue[i] = n;
    return ERR_OK;
}

struct index_near index_queue_pop(struct index_work *w)
{
    struct index_near top = w->queue[0], last = w->queue[--w->queue_count];
    uint32_t i = 0, n = w->queue_count;
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && w->queue[child + 1].distance < w->queue[child].distance)
            child++;
        if (w->queue[child].distance >= last.distance)
            break;
        w->queue[i] = w->queue[child];
    }
    if (n)
        w->queue[i] = last;
    return top;
}

/* --- the best
 * ------------------------------------------------------------------------------------------------- */

enum result index_best_init(struct index_best *best, uint32_t max, bool grouped, struct err *err)
{
    if (max > best->room) {
        struct index_candidate *heap = realloc(best->heap, max * sizeof *heap);
        if (!heap)
            return err_no_memory(err);
        best->heap = heap;
        best->room = max;
    }
    if (grouped) {
        uint32_t size = 64;
        while (size < 2 * max)
            size *= 2;
        if (size > best->place_room) {
            uint32_t *places = realloc(best->places, size * sizeof *places);
            if (!places)
                return err_no_memory(err);
            best->places = places;
            best->place_room = size;
        }
        best->place_mask = size - 1;
        memset(best->places, 0, size * sizeof *best->places);
    }
    best->count = 0;
    best->max = max;
    best->grouped = grouped;
    return ERR_OK;
}

static bool before(const struct index_candidate *a, const struct index_candidate *b)
{
    return a->distance < b->distance || (a->distance == b->distance && a->tie < b->tie);
}

static uint32_t item_hash(const struct index_best *best, int64_t item)
{
    uint64_t h = (uint64_t)item * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32) & best->place_mask;
}

/* Where the item's place is, or the empty one where it would be. */
static uint32_t find_place(const struct index_best *best, int64_t item)
{
    uint32_t i = item_hash(best, item);
    while (best->places[i] && best->heap[best->places[i] - 1].item != item)
        i = (i + 1) & best->place_mask;
    return i;
}

/* Backward shift: no tombstones, so looking up stays short however many items came and went. */
static void forget(struct index_best *best, int64_t item)
{
    uint32_t hole = find_place(best, item);
    for (uint32_t i = (hole + 1) & best->place_mask; best->places[i]; i = (i + 1) & best->place_mask) {
        uint32_t home = item_hash(best, best->heap[best->places[i] - 1].item);
        if (((i - home) & best->place_mask) >= ((i - hole) & best->place_mask)) {
            best->places[hole] = best->places[i];
            hole = i;
        }
    }
    best->places[hole] = 0;
}

static void sift_down(struct index_best *best, uint32_t i)
{
    for (uint32_t child; (child = 2 * i + 1) < best->count; i = child) {
        if (child + 1 < best->count && before(&best->heap[child], &best->heap[child + 1]))
            child++;
        if (!before(&best->heap[i], &best->heap[child]))
            break;
        struct index_candidate a = best->heap[i], b = best->heap[child];
        if (best->grouped) {
            uint32_t pa = find_place(best, a.item), pb = find_place(best, b.item);
            best->places[pa] = child + 1;
            best->places[pb] = i + 1;
        }
        best->heap[i] = b;
        best->heap[child] = a;
    }
}

static void sift_up(struct index_best *best, uint32_t i)
{
    for (; i > 0 && before(&best->heap[(i - 1) / 2], &best->heap[i]); i = (i - 1) / 2) {
        uint32_t parent = (i - 1) / 2;
        struct index_candidate a = best->heap[i], b = best->heap[parent];
        if (best->grouped) {
            uint32_t pa = find_place(best, a.item), pb = find_place(best, b.item);
            best->places[pa] = parent + 1;
            best->places[pb] = i + 1;
        }
        best->heap[i] = b;
        best->heap[parent] = a;
    }
}

/* The item is among the best: keep the better of the two, and remember the other. */
static void merge(struct index_best *best, uint32_t i, const struct index_candidate *c)
{
    struct index_candidate *old = &best->heap[i];
    if (!before(c, old)) {
        if (c->node != old->node && c->distance < old->other_distance) {
            old->other = c->node;
            old->other_distance = c->distance;
        }
        return;
    }
    uint32_t other = old->node;
    float other_distance = old->distance;
    *old = *c;
    old->other = other;
    old->other_distance = other_distance;
    sift_down(best, i);
}

void index_best_offer(struct index_best *best, const struct index_candidate *c)
{
    uint32_t place = 0;
    if (best->grouped) {
        place = find_place(best, c->item);
        if (best->places[place]) {
            merge(best, best->places[place] - 1, c);
            return;
        }
    }
    if (best->count < best->max) {
        uint32_t i = best->count++;
        best->heap[i] = *c;
        if (best->grouped)
            best->places[place] = i + 1;
        sift_up(best, i);
        return;
    }
    if (!before(c, &best->heap[0]))
        return;
    if (best->grouped) {
        forget(best, best->heap[0].item);
        place = find_place(best, c->item);
        best->places[place] = 1;
    }
    best->heap[0] = *c;
    sift_down(best, 0);
}

static int compare(const void *a, const void *b)
{
    const struct index_candidate *p = a, *q = b;
    return before(p, q) ? -1 : before(q, p) ? 1 : 0;
}

void index_best_sort(struct index_best *best)
{
    if (best->count > 1)
        qsort(best->heap, best->count, sizeof *best->heap, compare);
}

enum result index_near_add(struct index_work *w, struct index_near n, struct err *err)
{
    if (w->near_count == w->near_room) {
        uint32_t room = w->near_room ? w->near_room * 2 : 1024;
        struct index_near *near = realloc(w->near, room * sizeof *near);
        if (!near)
            return err_no_memory(err);
        w->near = near;
        w->near_room = room;
    }
    w->near[w->near_count++] = n;
    return ERR_OK;
}
