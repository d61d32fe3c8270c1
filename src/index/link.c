/*
 * A row becomes a node of the graph: walk to it, prune what was found on the way to diverse neighbours
 * (robust pruning, algorithm 2 of Vamana), link to them, and link them back.
 *
 * A list has room for more links than pruning leaves, so that a node is pruned once in twenty links it gets
 * and not at each. Pruning never cuts the only link that leads to a node: all can be reached.
 */
#include "index/project.h"

#include <math.h>

#define ALPHA2 1.21f /* 1.1, squared as the distances are */
#define CENTRE_SAMPLE 8192
#define BYPASSED 64 /* nodes on the way of a walk, the first ones */
#define HAND_DOWN 64
#define ENTRIES_EARLY 256

float index_between(const struct index *ix, uint32_t a, uint32_t b)
{
    const struct index_head *p = index_head(ix, a), *q = index_head(ix, b);
    int32_t dot = ix->codes->dot(index_code(ix, a), index_code(ix, b), q->sum, ix->shape.padded);
    return p->norm2 + q->norm2 - 2 * p->scale * q->scale * (float)dot;
}

static int compare_near(const void *a, const void *b)
{
    const struct index_near *p = a, *q = b;
    if (p->distance != q->distance)
        return p->distance < q->distance ? -1 : 1;
    return p->node < q->node ? -1 : p->node > q->node;
}

void index_sort_near(struct index_near *near, size_t count)
{
    if (count > 1)
        qsort(near, count, sizeof *near, compare_near);
}

static bool hidden(const struct index *ix, const struct index_near *kept, uint32_t count, struct index_near c)
{
    for (uint32_t i = 0; i < count; i++)
        if (ALPHA2 * index_between(ix, c.node, kept[i].node) <= c.distance)
            return true;
    return false;
}

/* Candidates of a node: those that are kept, in front, and those that are not. */
struct pruning {
    const struct index *ix;
    struct index_near *kept;
    uint32_t kept_count, rest_count;
    struct index_near rest[LIMIT_INDEX_EF_BUILD + BYPASSED];
};

static void consider(struct pruning *p, struct index_near c, uint32_t most)
{
    if (p->kept_count < most && !hidden(p->ix, p->kept, p->kept_count, c))
        p->kept[p->kept_count++] = c;
    else
        p->rest[p->rest_count++] = c;
}

/*
 * Where more rows are alike than a node has links, and as far from each other as from it, none hides another: its links would
 * all stay among them, and what leads to them from elsewhere would go with time. So a node that has INDEX_NEAR links to what is
 * near prefers what is clearly farther for the others; any of that, because the nearest of it would be the same few for all.
 */
static void consider_far(struct pruning *p, struct index_near *near, uint32_t count)
{
    float limit = ALPHA2 * p->kept[p->kept_count - 1].distance;
    uint32_t random = p->kept[0].node, first = 0;
    while (first < count && near[first].distance <= limit)
        first++;
    for (uint32_t i = first; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        uint32_t other = i + (random >> 8) % (count - i);
        struct index_near c = near[other];
        near[other] = near[i];
        consider(p, c, INDEX_DEGREE);
    }
    for (uint32_t i = 0; i < first; i++)
        consider(p, near[i], INDEX_DEGREE);
    index_sort_near(p->kept, p->kept_count);
}

uint32_t index_prune(const struct index *ix, struct index_near *near, uint32_t count)
{
    struct index_near later[LIMIT_INDEX_EF_BUILD + BYPASSED];
    struct pruning p; /* not all of it: rest is large */
    uint32_t i = 0;
    p.ix = ix;
    p.kept = near;
    p.kept_count = p.rest_count = 0;
    for (; i < count && p.kept_count < INDEX_NEAR; i++)
        consider(&p, near[i], INDEX_NEAR);
    memcpy(later, near + i, (count - i) * sizeof *later);
    if (i < count)
        consider_far(&p, later, count - i);
    memcpy(near + p.kept_count, p.rest, p.rest_count * sizeof *near);
    return p.kept_count;
}

void index_set_links(struct index *ix, uint32_t node, const struct index_near *near, uint32_t count)
{
    struct index_links *l = index_links(ix, node);
    uint32_t old[INDEX_LINKS], old_count = index_link_count(l);
    for (uint32_t i = 0; i < old_count; i++)
        old[i] = index_link(l, i);
    /* Up before down, so that nobody sees a 0 that is not meant. */
    for (uint32_t i = 0; i < count; i++) {
        atomic_fetch_add(&index_meta(ix, near[i].node)->indegree, 1);
        atomic_store_explicit(&l->to[i], near[i].node, memory_order_release);
    }
    atomic_store_explicit(&l->count, count, memory_order_release);
    for (uint32_t i = 0; i < old_count; i++)
        atomic_fetch_sub(&index_meta(ix, old[i])->indegree, 1);
}

/*
 * After a pruning: those behind `kept` that nobody else links to move up as well. *left is one for which
 * there was no room, INDEX_NONE where there was.
 */
static uint32_t keep_orphans(const struct index *ix, struct index_near *near, uint32_t kept, uint32_t count,
    uint32_t to, uint32_t *left)
{
    *left = INDEX_NONE;
    for (uint32_t i = kept; i < count; i++) {
        uint32_t others = atomic_load(&index_meta(ix, near[i].node)->indegree) - (near[i].node != to);
        if (others != 0)
            continue;
        if (kept == INDEX_LINKS) {
            *left = near[i].node;
            break;
        }
        struct index_near n = near[i];
        near[i] = near[kept];
        near[kept++] = n;
    }
    return kept;
}

/* The node's lock is held. Returns a node that lost its only link, or INDEX_NONE. */
static uint32_t add_pruning(struct index *ix, uint32_t node, uint32_t to, float distance)
{
    struct index_links *l = index_links(ix, node);
    struct index_near near[INDEX_LINKS + 1];
    uint32_t count = 0, left;
    near[count++] = (struct index_near){distance, to};
    for (uint32_t i = 0, n = index_link_count(l); i < n; i++)
        near[count++] = (struct index_near){index_between(ix, node, index_link(l, i)), index_link(l, i)};
    index_sort_near(near, count);
    uint32_t kept = index_prune(ix, near, count);
    atomic_store(&ix->unsure, true);
    index_set_links(ix, node, near, keep_orphans(ix, near, kept, count, to, &left));
    return left;
}

static bool has_link(const struct index_links *l, uint32_t to)
{
    for (uint32_t i = 0, n = index_link_count(l); i < n; i++)
        if (index_link(l, i) == to)
            return true;
    return false;
}

/* The node's lock is held, and there is room. */
static void append(struct index *ix, struct index_links *l, uint32_t to)
{
    uint32_t n = index_link_count(l);
    atomic_fetch_add(&index_meta(ix, to)->indegree, 1);
    atomic_store_explicit(&l->to[n], to, memory_order_release);
    atomic_store_explicit(&l->count, n + 1, memory_order_release);
}

bool index_append_link(struct index *ix, uint32_t node, uint32_t to)
{
    struct index_meta *m = index_meta(ix, node);
    struct index_links *l = index_links(ix, node);
    index_lock_node(m);
    bool there = has_link(l, to), room = index_link_count(l) < INDEX_LINKS;
    if (!there && room)
        append(ix, l, to);
    index_unlock_node(m);
    return there || room;
}

static uint32_t add_once(struct index *ix, uint32_t node, uint32_t to, float distance)
{
    struct index_meta *m = index_meta(ix, node);
    struct index_links *l = index_links(ix, node);
    uint32_t left = INDEX_NONE;
    index_lock_node(m);
    bool there = has_link(l, to), room = index_link_count(l) < INDEX_LINKS;
    if (!there && room)
        append(ix, l, to);
    else if (!there)
        left = add_pruning(ix, node, to, distance);
    index_unlock_node(m);
    return left;
}

/*
 * Where many rows are the same, or nearly, one node can be the only way to more of them than it has room for.
 * Those it cannot keep it hands down to one of its neighbours, so that they hang on it like a tree.
 */
void index_add_link(struct index *ix, uint32_t node, uint32_t to, float distance)
{
    uint32_t left = add_once(ix, node, to, distance), random = node ^ to;
    for (unsigned tries = 0; left != INDEX_NONE && tries < HAND_DOWN; tries++) {
        const struct index_links *l = index_links(ix, node);
        uint32_t n = index_link_count(l),
                 next = n ? index_link(l, (random = random * 1664525u + 1013904223u) / 7 % n) : left;
        if (next == left || index_state(index_meta(ix, next)) != INDEX_LINKED)
            continue;
        node = next;
        left = add_once(ix, node, left, index_between(ix, node, left));
    }
}

/*
 * The sample where walks start grows with the square root of the rows, and so is spread over all of them;
 * faster at first, because few rows can be as far apart as many.
 */
static void maybe_enter(struct index *ix, uint32_t node)
{
    uint32_t count = atomic_load(&ix->entry_count);
    float n = (float)atomic_load(&ix->linked) + 1, few = n / 8 < ENTRIES_EARLY ? n / 8 : ENTRIES_EARLY;
    float want = fmaxf(sqrtf(n), few);
    if (count >= INDEX_ENTRIES || (float)count >= want)
        return;
    pthread_mutex_lock(&ix->mutex);
    count = atomic_load(&ix->entry_count);
    if (count < INDEX_ENTRIES && (float)count < want) {
        atomic_store_explicit(&ix->entries[count], node, memory_order_release);
        atomic_store_explicit(&ix->entry_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&ix->mutex);
}

/* --- which row is next
 * ---------------------------------------------------------------------------------------- */

static bool claim(struct index *ix, uint32_t node)
{
    uint8_t waiting = INDEX_WAITING;
    return atomic_compare_exchange_strong(&index_meta(ix, node)->state, &waiting, INDEX_LINKING);
}

static uint32_t next_waiting(struct index *ix)
{
    uint32_t count = atomic_load(&ix->straggler_count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = atomic_load(&ix->stragglers[i]) - 1;
        if (node != INDEX_NONE && claim(ix, node))
            return node;
    }
    uint32_t used = atomic_load(&ix->used);
    for (uint32_t node = atomic_load(&ix->watermark); node < used; node++)
        if (claim(ix, node))
            return node;
    return INDEX_NONE;
}

void index_arrived(struct index *ix, uint32_t node)
{
    pthread_mutex_lock(&ix->mutex);
    uint32_t count = atomic_load(&ix->straggler_count);
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load(&ix->stragglers[i]) == node + 1)
            atomic_store(&ix->stragglers[i], 0);
    while (count && atomic_load(&ix->stragglers[count - 1]) == 0)
        count--;
    atomic_store(&ix->straggler_count, count);
    uint32_t mark = atomic_load(&ix->watermark), used = atomic_load(&ix->used);
    for (; mark < used; mark++) {
        enum index_state s = index_state(index_meta(ix, mark));
        if (s == INDEX_FILLING || s == INDEX_WAITING || s == INDEX_LINKING)
            break;
    }
    atomic_store(&ix->watermark, mark);
    pthread_mutex_unlock(&ix->mutex);
}

/* --- linking
 * -------------------------------------------------------------------------------------------------- */

/*
 * The candidates in w->near: what the walk found, and the nodes it came by, which are farther and make the
 * long links that hold clusters together. Without the node itself, nearest first.
 */
static enum result gather(const struct index *ix, struct index_work *w, uint32_t node, struct err *err)
{
    float limit = index_best_limit(&w->best);
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->near_count; i++)
        if (w->near[i].distance > limit && index_may_hit(ix, NULL, w->near[i].node))
            w->near[n++] = w->near[i];
    w->near_count = n < BYPASSED ? n : BYPASSED;
    for (uint32_t i = 0; i < w->best.count; i++) {
        const struct index_candidate *c = &w->best.heap[i];
        enum result r =
            c->node == node ? ERR_OK : index_near_add(w, (struct index_near){c->distance, c->node}, err);
        if (r != ERR_OK)
            return r;
    }
    index_sort_near(w->near, w->near_count);
    return ERR_OK;
}

enum result index_walk_from(struct index *ix, struct index_work *w, uint32_t node, struct err *err)
{
    bool finished;
    index_probe_node(ix, node, &w->probe);
    enum result r = index_best_init(&w->best, ix->settings.ef_build, false, err);
    if (r == ERR_OK)
        r = index_set_clear(&w->seen, err);
    return r == ERR_OK ? index_walk(ix, w, NULL, UINT32_MAX, 0, &finished, err) : r;
}

static enum result link_node(struct index *ix, struct index_work *w, uint32_t node, struct err *err)
{
    struct index_meta *m = index_meta(ix, node);
    if (!atomic_load(&m->sketched))
        index_sketch(ix, node, w->floats);
    enum result r = index_walk_from(ix, w, node, err);
    if (r == ERR_OK)
        r = gather(ix, w, node, err);
    if (r == ERR_OK)
        r = index_project_node(ix, node, w->floats, err);
    if (r != ERR_OK)
        return r;
    uint32_t count = index_prune(ix, w->near, w->near_count);
    index_lock_node(m);
    index_set_links(ix, node, w->near, count);
    index_unlock_node(m);
    for (uint32_t i = 0; i < count; i++)
        index_add_link(ix, w->near[i].node, node, w->near[i].distance);
    return ERR_OK;
}

enum result index_link_one(struct index *ix, struct index_work *w, bool *did, struct err *err)
{
    *did = false;
    if (!atomic_load(&ix->waiting) || !atomic_load(&ix->graph))
        return ERR_OK;
    enum result r = ERR_OK;
    pthread_rwlock_rdlock(&ix->pause);
    unsigned place = index_enter(ix);
    uint32_t node = next_waiting(ix);
    if (node != INDEX_NONE) {
        struct index_meta *m = index_meta(ix, node);
        *did = true;
        atomic_fetch_sub(&ix->waiting, 1);
        if (atomic_load(&m->dead)) {
            atomic_store(&m->state, INDEX_DOOMED);
            index_arrived(ix, node);
        } else if ((r = link_node(ix, w, node, err)) == ERR_OK) {
            maybe_enter(ix, node);
            atomic_fetch_add(&ix->linked, 1);
            atomic_store(&m->state, INDEX_LINKED);
            index_arrived(ix, node);
        } else {
            atomic_fetch_add(&ix->waiting, 1);
            atomic_store(&m->state, INDEX_WAITING);
        }
    }
    index_leave(ix, place);
    pthread_rwlock_unlock(&ix->pause);
    return r;
}

/* The mean of what is there. */
static enum result choose_centre(struct index *ix, struct err *err)
{
    size_t n = ix->shape.padded;
    double *sum = calloc(n, sizeof *sum);
    if (!sum)
        return err_no_memory(err);
    uint32_t used = atomic_load(&ix->used), count = 0;
    unsigned place = index_enter(ix);
    for (uint32_t node = 0; node < used && count < CENTRE_SAMPLE; node++) {
        const struct index_meta *m = index_meta(ix, node);
        if (index_state(m) != INDEX_WAITING || atomic_load(&m->dead))
            continue;
        const int8_t *code = index_code(ix, node);
        double scale = index_head(ix, node)->scale;
        for (size_t i = 0; i < n; i++)
            sum[i] += scale * code[i];
        count++;
    }
    index_leave(ix, place);
    for (size_t i = 0; i < n && count; i++)
        ix->centre[i] = (float)(sum[i] / count);
    free(sum);
    return ERR_OK;
}

enum result index_start_graph(struct index *ix, struct err *err)
{
    if (atomic_load(&ix->graph) || atomic_load(&ix->live) < INDEX_GRAPH_FROM)
        return ERR_OK;
    pthread_mutex_lock(&ix->repairing);
    enum result r = atomic_load(&ix->graph) ? ERR_OK : choose_centre(ix, err);
    if (r == ERR_OK)
        atomic_store(&ix->graph, true);
    pthread_mutex_unlock(&ix->repairing);
    return r;
}
