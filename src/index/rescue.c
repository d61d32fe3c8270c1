/*
 * Whether all can be reached. Pruning never cuts the last link to a node, but two nodes that are linked by
 * nobody but each other are lost all the same; where many rows are alike it happens. So now and then
 * everything that can be reached from where walks start is marked, and what is not gets a link from its
 * nearest that can.
 */
#include "index/project.h"

static void mark(uint32_t used, uint32_t node, uint8_t *seen, uint32_t *order, uint32_t *count)
{
    if (node < used && !seen[node]) {
        seen[node] = 1;
        order[(*count)++] = node;
    }
}

uint32_t index_reach(const struct index *ix, uint32_t used, uint32_t node, uint8_t *seen, uint32_t *order)
{
    uint32_t count = 0;
    /* With a projection walks start at whatever is near of a sample, so that all must be reached from anywhere. */
    const struct index_projection *p = atomic_load(&ix->projection);
    uint32_t entries = atomic_load(&ix->entry_count);
    for (uint32_t i = 0; i < entries && (i == 0 || !p || !p->telling); i++)
        mark(used, atomic_load(&ix->entries[i]), seen, order, &count);
    for (uint32_t i = 0, n = atomic_load(&ix->lonely_count); i < n; i++)
        mark(used, atomic_load(&ix->lonely[i]), seen, order, &count);
    mark(used, node, seen, order, &count);
    for (uint32_t at = 0; at < count; at++) {
        const struct index_links *l = index_links(ix, order[at]);
        for (uint32_t i = 0, n = index_link_count(l); i < n; i++)
            mark(used, index_link(l, i), seen, order, &count);
    }
    return count;
}

static enum result link_to(struct index *ix, struct index_work *w, uint32_t node, const uint8_t *seen,
    uint32_t used, struct err *err)
{
    enum result r = index_walk_from(ix, w, node, err);
    if (r != ERR_OK)
        return r;
    index_best_sort(&w->best);
    for (uint32_t i = 0; i < w->best.count; i++) {
        uint32_t from = w->best.heap[i].node;
        if (from < used && seen[from] && from != node && index_append_link(ix, from, node))
            return ERR_OK;
    }
    /* Nowhere near is room. Walks look at it besides, if there is room for that; else it waits for better times. */
    pthread_mutex_lock(&ix->mutex);
    uint32_t count = atomic_load(&ix->lonely_count);
    if (count < INDEX_LONELY) {
        atomic_store_explicit(&ix->lonely[count], node, memory_order_release);
        atomic_store_explicit(&ix->lonely_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&ix->mutex);
    return ERR_OK;
}

static enum result rescue(struct index *ix, struct index_work *w, uint32_t used, struct err *err)
{
    uint8_t *seen = calloc((size_t)used + 1, 1);
    uint32_t *order = calloc((size_t)used + 1, sizeof *order);
    enum result r = seen && order ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK)
        (void)index_reach(ix, used, INDEX_NONE, seen, order);
    for (uint32_t node = 0; r == ERR_OK && node < used; node++) {
        if (seen[node] || index_state(index_meta(ix, node)) != INDEX_LINKED)
            continue;
        r = link_to(ix, w, node, seen, used, err);
        (void)index_reach(ix, used, node, seen, order);
    }
    free(seen);
    free(order);
    return r;
}

enum result index_rescue(struct index *ix, struct err *err)
{
    struct index_work *w = NULL;
    enum result r = index_work_take(ix, &w, err);
    if (r != ERR_OK)
        return r;
    atomic_store(&ix->rescued, atomic_load(&ix->linked));
    atomic_store(&ix->unsure, false);
    unsigned place = index_enter(ix);
    r = rescue(ix, w, atomic_load(&ix->used), err);
    index_leave(ix, place);
    index_work_give(ix, w);
    return r;
}
