/* Everything against everything. Each number in a sentence is that of a node, but where it says slot. */
#include "index/project.h"

struct check {
    struct index *ix;
    index_check_fn report;
    void *user;
    uint32_t *in;  /* links that lead to each node */
    float *floats; /* padded */
    uint64_t problems;
    uint32_t live, dead, waiting, linked;
};

static void __attribute__((format(printf, 2, 3))) problem(struct check *c, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->problems++;
    if (c->report)
        c->report(c->user, text);
}

static void check_links(struct check *c, uint32_t node)
{
    const struct index_links *l = index_links(c->ix, node);
    uint32_t raw = atomic_load(&l->count), n = index_link_count(l), used = atomic_load(&c->ix->used);
    if (raw > INDEX_LINKS)
        problem(c, "Node %u has %u links; %d is the most.", node, raw, INDEX_LINKS);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = index_link(l, i);
        if (to >= used || to == node) {
            problem(c, "Node %u has a link to %u, which cannot be.", node, to);
            continue;
        }
        c->in[to]++;
        if (index_state(index_meta(c->ix, to)) != INDEX_LINKED)
            problem(c, "Node %u has a link to %u, which is not part of the graph.", node, to);
        for (uint32_t j = 0; j < i; j++)
            if (index_link(l, j) == to)
                problem(c, "Node %u has two links to %u.", node, to);
    }
}

static void check_code(struct check *c, uint32_t node)
{
    const struct index_head *h = index_head(c->ix, node);
    const int8_t *code = index_code(c->ix, node);
    int32_t sum = 0;
    bool low = false;
    for (uint32_t i = 0; i < c->ix->shape.padded; i++) {
        sum += code[i];
        low |= code[i] == INT8_MIN;
    }
    if (sum != h->sum || low || !(h->scale >= 0) || !(h->norm2 >= 0))
        problem(c, "The code of node %u is not what was written.", node);
}

static void check_node(struct check *c, uint32_t node)
{
    struct index *ix = c->ix;
    const struct index_meta *m = index_meta(ix, node);
    enum index_state s = index_state(m);
    bool dead = atomic_load(&m->dead);
    if (s == INDEX_FREE)
        return;
    if (s == INDEX_FILLING || s == INDEX_LINKING) {
        problem(c, "Node %u is being written, though nobody writes.", node);
        return;
    }
    check_code(c, node);
    c->linked += s == INDEX_LINKED;
    c->waiting += s == INDEX_WAITING;
    c->dead += dead;
    c->live += !dead;
    uint32_t mapped = index_node_of(ix, m->slot);
    if (!dead && mapped != node)
        problem(c, "Slot %u has node %u, but is mapped to %u.", m->slot, node, mapped);
    if (dead && mapped == node)
        problem(c, "Slot %u is mapped to node %u, which is dead.", m->slot, node);
    if (s == INDEX_LINKED && !atomic_load(&m->sketched))
        problem(c, "Node %u is part of the graph, but has no sketch.", node);
    if (s == INDEX_LINKED)
        check_links(c, node);
    const struct index_projection *p = atomic_load(&ix->projection), *next = atomic_load(&ix->next_projection);
    if (s == INDEX_LINKED && p && !index_projected_right(ix, p, node, c->floats))
        problem(c, "Node %u is part of the graph, but not of the projection.", node);
    if (s == INDEX_LINKED && next && node < ix->projected && !index_projected_right(ix, next, node, c->floats))
        problem(c, "Node %u is part of the graph, but not of the projection that is being made.", node);
}

static void check_maps(struct check *c)
{
    uint32_t end = atomic_load(&c->ix->slots_end), mapped = 0;
    for (uint32_t slot = 0; slot < end; slot++) {
        uint32_t node = index_node_of(c->ix, slot);
        if (node == INDEX_NONE)
            continue;
        mapped++;
        if (node >= atomic_load(&c->ix->used) || index_meta(c->ix, node)->slot != slot)
            problem(c, "Slot %u is mapped to node %u, which has another.", slot, node);
    }
    if (mapped != c->live)
        problem(c, "%u slots are mapped, but %u rows live.", mapped, c->live);
}

static void check_counts(struct check *c, uint8_t *seen, uint32_t *order)
{
    struct index *ix = c->ix;
    uint32_t used = atomic_load(&ix->used), lost = 0;
    if (c->live != atomic_load(&ix->live) || c->dead != atomic_load(&ix->dead) ||
        c->waiting != atomic_load(&ix->waiting) || c->linked != atomic_load(&ix->linked))
        problem(c, "The counts say %u live, %u dead, %u waiting, %u linked; there are %u, %u, %u, %u.",
            atomic_load(&ix->live), atomic_load(&ix->dead), atomic_load(&ix->waiting),
            atomic_load(&ix->linked), c->live, c->dead, c->waiting, c->linked);
    for (uint32_t node = 0; node < used; node++)
        if (c->in[node] != atomic_load(&index_meta(ix, node)->indegree))
            problem(c, "%u links lead to node %u, but its count says %u.", c->in[node], node,
                atomic_load(&index_meta(ix, node)->indegree));
    (void)index_reach(ix, used, INDEX_NONE, seen, order);
    for (uint32_t node = 0; node < used; node++) {
        const struct index_meta *m = index_meta(ix, node);
        lost += index_state(m) == INDEX_LINKED && !atomic_load(&m->dead) && !seen[node];
    }
    if (lost)
        problem(c, "%u rows of the graph cannot be reached.", lost);
}

static void check_stocks(struct check *c)
{
    struct index *ix = c->ix;
    uint32_t used = atomic_load(&ix->used), standing = 0, end = 0, free_count = 0;
    pthread_mutex_lock(&ix->mutex);
    for (uint32_t chunk = 0, n; (n = index_nodes_in(used, chunk)) != 0; chunk++) {
        uint32_t taken = 0;
        for (uint32_t i = 0; i < n; i++)
            taken += index_state(index_meta(ix, chunk * INDEX_CHUNK + i)) != INDEX_FREE;
        if (taken != ix->stocks[chunk].taken)
            problem(c, "Chunk %u has %u nodes that are not free, but counts %u.", chunk, taken, ix->stocks[chunk].taken);
        free_count += n - taken;
        standing += taken != 0;
        end = taken ? chunk + 1 : end;
    }
    if (free_count != ix->free_count || standing != atomic_load(&ix->standing) || end != atomic_load(&ix->chunks_end))
        problem(c, "There are %u free nodes, and %u chunks up to %u that have others; the counts say %u, %u, %u.", free_count, standing, end,
            ix->free_count, atomic_load(&ix->standing), atomic_load(&ix->chunks_end));
    pthread_mutex_unlock(&ix->mutex);
}

enum result index_check(struct index *ix, index_check_fn report, void *user, struct err *err)
{
    struct check c = {.ix = ix, .report = report, .user = user};
    pthread_mutex_lock(&ix->repairing);
    pthread_rwlock_wrlock(&ix->pause);
    /* That rows are lost between two rescues is no contradiction. */
    enum result r = atomic_load(&ix->unsure) ? index_rescue(ix, err) : ERR_OK;
    uint32_t used = atomic_load(&ix->used);
    c.in = calloc((size_t)used + 1, sizeof *c.in);
    c.floats = malloc(ix->shape.padded * sizeof *c.floats);
    uint32_t *order = calloc((size_t)used + 1, sizeof *order);
    uint8_t *seen = calloc((size_t)used + 1, 1);
    if (r == ERR_OK && !(c.in && c.floats && order && seen))
        r = err_no_memory(err);
    if (r == ERR_OK) {
        for (uint32_t node = 0; node < used; node++)
            check_node(&c, node);
        check_maps(&c);
        check_stocks(&c);
        check_counts(&c, seen, order);
    }
    pthread_rwlock_unlock(&ix->pause);
    pthread_mutex_unlock(&ix->repairing);
    free(c.in);
    free(c.floats);
    free(order);
    free(seen);
    if (r == ERR_OK && c.problems)
        return err_set(err, ERR_CORRUPT, "The index contradicts itself in %llu places; build it anew.",
            (unsigned long long)c.problems);
    return r;
}
