/*
 * The walk: best-first search of the graph (algorithm 1 of Vamana, https://papers.nips.cc/paper/9527;
 * algorithm 2 of HNSW, https://arxiv.org/abs/1603.09320), in one flat graph. Instead of layers there is a
 * sample of rows that are all looked at first, so that the walk begins near its end: up to 2,048 by their
 * principal components (project.h), sixteen in the time of one sketch; where there are none yet, or they say
 * little of the rows, √n by their sketches.
 *
 * What costs is memory traffic, 1,280 bytes for a code. So each neighbour is first judged by its sketch, 192
 * bytes with all it needs, and only where the sketch, given the benefit of the doubt, might be among the
 * best, its code is read. Nine of ten are not. The sketches of all neighbours of a node are asked for before
 * the first is used, and of codes the next few, so that their ways through memory overlap.
 */
#include "index/project.h"

#define DOUBTS 1.25f
#define STARTS 4
#define AHEAD 16
#define FLYING 4     /* codes on their way from memory while one is used */
#define CLOCK 128  /* nodes between two looks at the clock */
#define STEPS 12   /* to where what was asked is */
#define ENOUGH 100 /* codes, to tell whether hits are where the walk is */

bool index_may_hit(const struct index *ix, const struct index_query *query, uint32_t node)
{
    const struct index_meta *m = index_meta(ix, node);
    enum index_state state = index_state(m);
    if (state < INDEX_WAITING || state == INDEX_DOOMED ||
        atomic_load_explicit(&m->dead, memory_order_acquire))
        return false;
    if (!query)
        return state == INDEX_LINKED;
    uint32_t slot = m->slot;
    if (query->allowed &&
        (slot / 64 >= query->allowed_words || !(query->allowed[slot / 64] >> (slot % 64) & 1)))
        return false;
    return !query->visible || query->visible(query->user, slot);
}

void index_offer_node(const struct index *ix, struct index_work *w, uint32_t node, float distance)
{
    struct index_candidate c = {.distance = distance,
        .node = node,
        .tie = node,
        .other = INDEX_NONE,
        .other_distance = __builtin_inff()};
    if (w->best.grouped)
        c.item = atomic_load_explicit(&index_meta(ix, node)->item, memory_order_relaxed);
    index_best_offer(&w->best, &c);
}

/* The few of a list that are nearest by their sketches. */
static uint32_t nearest_of(
    const struct index *ix, struct index_work *w, const _Atomic uint32_t *list, uint32_t count, struct index_near *near)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = atomic_load_explicit(&list[i], memory_order_acquire);
        if (i + AHEAD < count)
            index_prefetch(index_head(ix, atomic_load_explicit(&list[i + AHEAD], memory_order_relaxed)), ix->shape.head_stride);
        float d = index_sketch_distance(ix, &w->probe, index_head(ix, node), 0);
        n = index_keep_near(near, n, STARTS, (struct index_near){d, node});
    }
    w->sketches += count;
    return n;
}

static uint32_t add_starts(struct index_work *w, const struct index_near *near, uint32_t count, uint32_t *out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (index_set_add(&w->seen, near[i].node))
            out[kept++] = near[i].node;
    return kept;
}

/* Where walks start; `out` has room for 2 · STARTS. Nodes that nobody links to are looked at besides. */
static uint32_t starts(const struct index *ix, struct index_work *w, uint32_t *out)
{
    struct index_near near[STARTS];
    const struct index_projection *p = atomic_load_explicit(&ix->projection, memory_order_acquire);
    uint32_t lonely = atomic_load_explicit(&ix->lonely_count, memory_order_acquire);
    uint32_t n = p && p->telling ? index_glance_sample(ix, p, &w->probe, near, STARTS) : 0;
    if (!n)
        n = nearest_of(ix, w, ix->entries, atomic_load_explicit(&ix->entry_count, memory_order_acquire), near);
    n = add_starts(w, near, n, out);
    return lonely ? n + add_starts(w, near, nearest_of(ix, w, ix->lonely, lonely, near), out + n) : n;
}

/*
 * Above this no node is worth a step. Under a filter the way leads through rows that may not be hits: it ends when the
 * allowed ones are found, but not before a search without a filter would have ended.
 */
static float wanted(const struct index_work *w)
{
    float best = index_best_limit(&w->best);
    if (!w->around.max)
        return best;
    float around = index_best_limit(&w->around);
    return best > around ? best : around;
}

/* A node by its sketch: its distance, and the least that is likely. */
struct sketched {
    float near, low;
    uint32_t node;
};

/* Those that may be wanted, the likeliest first. */
static uint32_t sort_sketched(
    const struct index *ix, struct index_work *w, const uint32_t *nodes, uint32_t count, struct sketched *out)
{
    float limit = wanted(w);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct index_head *head = index_head(ix, nodes[i]);
        struct sketched n = {.near = index_sketch_distance(ix, &w->probe, head, 0), .node = nodes[i]};
        n.low = n.near - index_sketch_doubt(&w->probe, head, DOUBTS);
        if (n.low >= limit)
            continue;
        __builtin_prefetch(index_meta(ix, n.node));
        uint32_t at = kept++;
        for (; at > 0 && out[at - 1].low > n.low; at--)
            out[at] = out[at - 1];
        out[at] = n;
    }
    w->sketches += count;
    w->passed += kept;
    return kept;
}

/* The code of the first of those that are set, on its way from memory. */
static void prefetch_first(const struct index *ix, const struct sketched *nodes, uint64_t *which)
{
    if (*which)
        index_prefetch(index_code(ix, nodes[__builtin_ctzll(*which)].node), ix->shape.padded);
    *which &= *which - 1;
}

/*
 * Look at nodes that were not seen before: first at all sketches, then at the codes of those that may be wanted, the likeliest
 * first, for the first codes tell that others are not wanted.
 *
 * Under a filter the row of a node that may not be a hit only shows the way, and for that its sketch is good enough; nine of ten
 * codes need not be read where one row in ten is allowed.
 */
static enum result look(const struct index *ix, struct index_work *w, const struct index_query *query,
    const uint32_t *nodes, uint32_t count, struct err *err)
{
    _Static_assert(INDEX_LINKS < 64 && 2 * STARTS <= INDEX_LINKS, "a bit for each node");
    struct sketched sorted[INDEX_LINKS];
    bool filtered = w->around.max != 0;
    uint32_t kept = sort_sketched(ix, w, nodes, count, sorted);
    uint64_t codes = filtered ? 0 : (1ull << kept) - 1;
    for (uint32_t i = 0; filtered && i < kept; i++)
        codes |= (uint64_t)index_may_hit(ix, query, sorted[i].node) << i;
    uint64_t ahead = codes;
    for (uint32_t i = 0; i < FLYING; i++)
        prefetch_first(ix, sorted, &ahead);
    for (uint32_t i = 0; i < kept && sorted[i].low < wanted(w); i++) {
        bool code = codes >> i & 1;
        uint32_t node = sorted[i].node;
        if (code)
            prefetch_first(ix, sorted, &ahead);
        float d = code ? index_code_distance(ix, &w->probe, node) : sorted[i].near;
        w->codes += code;
        if (d >= wanted(w))
            continue;
        enum result r = index_queue_push(w, (struct index_near){d, node}, err);
        if (r != ERR_OK)
            return r;
        if (filtered)
            index_best_offer(&w->around, &(struct index_candidate){.distance = d, .node = node, .tie = node});
        if (filtered ? code : index_may_hit(ix, query, node)) {
            index_offer_node(ix, w, node, d);
            w->offered++;
        }
    }
    return ERR_OK;
}

/* The neighbours of a node that were not seen before. */
static uint32_t unseen(const struct index *ix, struct index_work *w, uint32_t node, uint32_t *out)
{
    const struct index_links *l = index_links(ix, node);
    uint32_t n = index_link_count(l), count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = index_link(l, i);
        if (index_set_add(&w->seen, to)) {
            index_prefetch(index_head(ix, to), ix->shape.head_stride);
            out[count++] = to;
        }
    }
    return count;
}

/*
 * `w->best` is ready, and may hold rows already; `w->seen` has what must not be looked at again. Without a
 * query, for link.c, `w->near` gets every node that was on the way.
 */
enum result index_walk(struct index *ix, struct index_work *w, const struct index_query *query,
    uint32_t budget, double expect, bool *finished, struct err *err)
{
    uint32_t nodes[INDEX_LINKS];
    enum result r = ERR_OK;
    *finished = false;
    w->queue_count = w->near_count = w->offered = w->passed = 0;
    if (!index_set_roomy(&w->seen, 2 * STARTS) && (r = index_set_grow(&w->seen, err)) != ERR_OK)
        return r;
    uint32_t steps = 0;
    r = look(ix, w, query, nodes, starts(ix, w, nodes), err);
    while (r == ERR_OK && w->queue_count) {
        struct index_near near = index_queue_pop(w);
        if (near.distance > wanted(w))
            break;
        if (!query && (r = index_near_add(w, near, err)) != ERR_OK)
            return r;
        if (++steps % CLOCK == 0 && query && (r = index_in_time(query, err)) != ERR_OK)
            return r;
        if (w->passed > budget || (steps > STEPS && w->passed > ENOUGH && (w->offered + 1) * 8.0 < expect * w->passed))
            return ERR_OK;
        if (!index_set_roomy(&w->seen, INDEX_LINKS) && (r = index_set_grow(&w->seen, err)) != ERR_OK)
            return r;
        if (w->queue_count)
            index_prefetch(index_links(ix, w->queue[0].node), sizeof(struct index_links));
        r = look(ix, w, query, nodes, unseen(ix, w, near.node, nodes), err);
    }
    *finished = r == ERR_OK;
    return r;
}
