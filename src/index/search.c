/*
 * Searching: which way, and the end of every way.
 *
 * There are four ways. The walk follows the graph. The scan looks at every row that may be a hit, by sketch,
 * then by code, then by vector, as far as the errors of sketch and code leave it possible; it is taken where
 * that is less work: few rows, few allowed ones, a deep page. The scan by glances has the projection (project.h)
 * choose the rows to be looked at; it is taken where a walk found out, or a sample tells, that the allowed rows are elsewhere. The
 * exact scan has no use for sketches, and takes errors as they can be at worst.
 *
 * A walk under a filter goes as far as one without, and on until it has k allowed rows and a few to spare: where one row
 * in ten is allowed and they are spread evenly, those are the best of ten times as many, which the walk has seen from all
 * sides, so it need not keep `ef` of them. It hardly finds any if they lie elsewhere. A sample may tell before; for the others a walk has a
 * budget, and when that is spent, or earlier where hits are far rarer on the way than they should be, the scan is made.
 * Whatever the rows are like, the search costs little more than twice the better way.
 *
 * The walk's candidates are put in order by their vectors, nearest first, until no further one can be among
 * the k by the error that codes have. Hits are grouped by item in the walk already: the heap of the best
 * holds one candidate an item, and beside it the second-best, because two near-copies can change places when
 * the vectors are compared.
 */
#include "base/clock.h"
#include "index/project.h"

#include <math.h>

#define SCAN_DOUBTS 2.5f
#define BATCH 32
#define BATCHES 128 /* between two looks at the clock */
#define BLIND 8     /* where sketches spare less than one code of so many, so many batches do without them */
#define FLYING 8    /* codes on their way from memory while one is used */
#define ERRORS 4.0f     /* standard deviations of a code's error that are given to a candidate */
#define WALK_BASE 600.0 /* what a walk costs, in sketches looked at, at ef = 0 … */
#define WALK_EF 18.0    /* … and for each of ef more */
#define CODE_COST 4.0   /* a code against a sketch */
#define SPARE 2         /* allowed candidates beyond k that a walk keeps at least, for the order by codes is not the true one */

/* Of the scan by glances. */
#define GLANCED 22       /* rows beyond k whose codes are read first, those that the projection thinks nearest */
#define GLANCED_K 1000   /* a deeper page reads so many codes that the projection spares few */
#define GLANCES_BASE 1000.0 /* what it costs, in sketches looked at … */
#define GLANCES_ROWS 33.0   /* … and one more for so many rows that there are */
#define COSINES 2.5f     /* so many standard deviations of the cosine between what the projection leaves of two rows, … */
#define COSINES_STRICT 4.5f
#define WIDER 1.5f  /* … then so many times more, … */
#define BEYOND 0.1f /* … while a larger share of the hits is beyond that; where all of the k are wanted, while any is */

enum result index_in_time(const struct index_query *query, struct err *err)
{
    if (!clock_passed(query->deadline_ms))
        return ERR_OK;
    return err_set(err, ERR_TIMEOUT, "The search of the index ran out of time.");
}

struct search {
    struct index *ix;
    struct index_work *w;
    const struct index_query *q;
    uint32_t ef;
    uint32_t keep;     /* candidates that may be hits, at most; ef without a filter */
    uint64_t possible; /* rows that may be hits, at most */
    bool graph;
    bool strict;   /* all of the k are wanted, not nearly all */
    bool complete; /* every row was looked at: w->final has the hits */
};

uint32_t index_ef(uint32_t k, float recall)
{
    static const struct {
        float recall, factor;
        uint32_t more;
    } steps[] = {
        {0.95f, 1.0f, 8}, {0.98f, 1.2f, 16}, {0.99f, 1.4f, 24}, {0.995f, 1.7f, 40}, {0.999f, 2.5f, 100}};
    size_t i = 0, last = sizeof steps / sizeof *steps - 1;
    while (i < last && steps[i].recall < (recall > 0 ? recall : 0.99f) - 1e-6f)
        i++;
    float ef = (float)k * steps[i].factor + (float)steps[i].more;
    return recall > 0.9995f ? (uint32_t)ef * 3 : (uint32_t)ef;
}

/* --- candidates put in order by their vectors
 * ----------------------------------------------------------------- */

static float exact_distance(const struct search *s, const uint16_t *vector, uint32_t node)
{
    size_t n = s->ix->shape.dimension;
    if (s->ix->settings.metric == INDEX_L2)
        return s->ix->kernel->l2sq_f16(s->q->vector, vector, n);
    float length = index_head(s->ix, node)->length;
    float query = sqrtf(s->ix->kernel->dot_f32(s->q->vector, s->q->vector, n));
    float cosine =
        length > 0 && query > 0 ? s->ix->kernel->dot_f16(s->q->vector, vector, n) / (length * query) : 0;
    return 2 - 2 * (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
}

/* Replaced rows can be met twice, as the old node and the new one, with one vector. */
static enum result rank(const struct search *s, uint32_t node, struct err *err)
{
    struct index_work *w = s->w;
    const struct index_meta *m = index_meta(s->ix, node);
    const uint16_t *vector = s->q->vector_of(s->q->user, m->slot);
    if (!vector)
        return ERR_OK;
    if (!index_set_roomy(&w->seen, 1)) {
        enum result r = index_set_grow(&w->seen, err);
        if (r != ERR_OK)
            return r;
    }
    if (!index_set_add(&w->seen, m->slot))
        return ERR_OK;
    w->vectors++;
    struct index_candidate c = {.distance = exact_distance(s, vector, node),
        .node = node,
        .item = atomic_load_explicit(&m->item, memory_order_relaxed),
        .other = INDEX_NONE,
        .other_distance = __builtin_inff()};
    if (c.distance > index_best_limit(&w->final))
        return ERR_OK;
    c.tie = s->q->tie ? s->q->tie(s->q->user, m->slot) : (int64_t)m->slot;
    index_best_offer(&w->final, &c);
    return ERR_OK;
}

/* A distance by codes that is larger than this much above the truth is not to be expected. */
static float code_doubt(const struct search *s, uint32_t node)
{
    const struct index_probe *p = &s->w->probe;
    const struct index_head *h = index_head(s->ix, node);
    /* The error of a code points anywhere: against one direction it counts by 1/√n. Both vectors have one. */
    float e2 = (p->norm2 * h->error * h->error + h->norm2 * p->error * p->error) / (float)s->ix->shape.padded;
    return ERRORS * 2 * sqrtf(e2) + 1e-6f * (p->norm2 + h->norm2);
}

static void prefetch_vector(const struct search *s, uint32_t node)
{
    const uint16_t *vector = s->q->vector_of(s->q->user, index_meta(s->ix, node)->slot);
    if (vector)
        index_prefetch(vector, s->ix->shape.dimension * sizeof *vector);
}

static enum result rank_all(const struct search *s, struct err *err)
{
    struct index_work *w = s->w;
    index_best_sort(&w->best);
    enum result r = index_set_clear(&w->seen, err);
    for (uint32_t i = 0; r == ERR_OK && i < w->best.count; i++) {
        const struct index_candidate *c = &w->best.heap[i];
        float doubt = code_doubt(s, c->node);
        if (c->distance - doubt > index_best_limit(&w->final))
            break;
        if (i + 1 < w->best.count && i + 1 < s->q->k)
            prefetch_vector(s, c[1].node);
        r = rank(s, c->node, err);
        if (r == ERR_OK && c->other != INDEX_NONE && c->other_distance - doubt <= c->distance + doubt)
            r = rank(s, c->other, err);
    }
    return r;
}

/* --- the scan
 * ------------------------------------------------------------------------------------------------- */

enum depth {
    AHEAD,  /* rows that wait, by their codes, into w->best */
    LIKELY, /* by sketch and code: what errors as they are expected leave possible */
    EXACT,  /* by code: what errors as they can be at worst leave possible */
};

/* No true distance to the row is smaller; see code_doubt() for what is likely instead of certain. */
static float worst_doubt(const struct search *s, uint32_t node)
{
    const struct index_probe *p = &s->w->probe;
    const struct index_head *h = index_head(s->ix, node);
    float query = sqrtf(p->norm2), row = sqrtf(h->norm2) + h->error;
    return 2 * (query * h->error + row * p->error + 1e-5f * query * row);
}

/* By its sketch, where that is enough to tell. */
static bool hopeless(const struct search *s, uint32_t node, float limit)
{
    if (!atomic_load_explicit(&index_meta(s->ix, node)->sketched, memory_order_acquire))
        return false;
    s->w->sketches++;
    return index_sketch_distance(s->ix, &s->w->probe, index_head(s->ix, node), SCAN_DOUBTS) > limit;
}

/*
 * Ahead of a walk w->best has distances by codes. A scan that is to be complete collects what may be a hit, and has there the
 * most that the distances of the best can be: a row that must be farther than the last of those is none of the k.
 */
static enum result look(const struct search *s, uint32_t node, enum depth depth, struct err *err)
{
    struct index_work *w = s->w;
    float limit = index_best_limit(&w->best);
    w->codes++;
    float d = index_code_distance(s->ix, &w->probe, node);
    if (depth == AHEAD) {
        if (d <= limit)
            index_offer_node(s->ix, w, node, d);
        return ERR_OK;
    }
    float doubt = depth == EXACT ? worst_doubt(s, node) : code_doubt(s, node);
    if (d - doubt > limit)
        return ERR_OK;
    index_offer_node(s->ix, w, node, d + doubt);
    return index_queue_push(w, (struct index_near){d - doubt, node}, err);
}

struct batch {
    uint32_t nodes[2 * BATCH];
    uint32_t count, flushed;
    uint32_t blind; /* batches more that do without sketches, for of the last one they told nothing */
    enum depth depth;
};

/* The first `count` of a batch. What is needed of memory is on its way before it is used: heads since add(), codes from here. */
static enum result flush_some(const struct search *s, struct batch *b, uint32_t count, struct err *err)
{
    enum result r = b->flushed++ % BATCHES == BATCHES - 1 ? index_in_time(s->q, err) : ERR_OK;
    float limit = b->depth == EXACT ? __builtin_inff() : index_best_limit(&s->w->best);
    bool asks = s->graph && limit < __builtin_inff() && !b->blind;
    uint32_t kept = 0, told = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!index_may_hit(s->ix, s->q, b->nodes[i]))
            continue;
        if (asks && hopeless(s, b->nodes[i], limit)) {
            told++;
            continue;
        }
        if (kept < FLYING)
            index_prefetch(index_code(s->ix, b->nodes[i]), s->ix->shape.padded);
        b->nodes[kept++] = b->nodes[i];
    }
    if (b->blind)
        b->blind--;
    else if (asks && told < count / BLIND)
        b->blind = BLIND;
    for (uint32_t i = 0; r == ERR_OK && i < kept; i++) {
        if (i + FLYING < kept)
            index_prefetch(index_code(s->ix, b->nodes[i + FLYING]), s->ix->shape.padded);
        r = look(s, b->nodes[i], b->depth, err);
    }
    b->count -= count;
    memmove(b->nodes, b->nodes + count, b->count * sizeof *b->nodes);
    return r;
}

static enum result flush(const struct search *s, struct batch *b, struct err *err)
{
    enum result r = ERR_OK;
    while (r == ERR_OK && b->count)
        r = flush_some(s, b, b->count < BATCH ? b->count : BATCH, err);
    return r;
}

static enum result add(const struct search *s, struct batch *b, uint32_t node, struct err *err)
{
    __builtin_prefetch(index_meta(s->ix, node));
    index_prefetch(index_head(s->ix, node), b->blind ? sizeof(struct index_head) : s->ix->shape.head_stride);
    b->nodes[b->count++] = node;
    return b->count == 2 * BATCH ? flush_some(s, b, BATCH, err) : ERR_OK;
}

/* Every row that may be a hit, through the allowed slots or through the nodes. */
static enum result scan(const struct search *s, enum depth depth, struct err *err)
{
    struct batch b = {.depth = depth};
    enum result r = ERR_OK;
    const struct index_query *q = s->q;
    uint32_t used = index_top(s->ix);
    for (uint32_t node = 0; !q->allowed && r == ERR_OK && node < used; node++)
        r = add(s, &b, node, err);
    for (size_t i = 0; q->allowed && r == ERR_OK && i < q->allowed_words && i < LIMIT_RECORDS / 64; i++)
        for (uint64_t word = q->allowed[i]; word && r == ERR_OK; word &= word - 1) {
            uint32_t node = index_node_of(s->ix, (uint32_t)(i * 64 + (size_t)__builtin_ctzll(word)));
            if (node != INDEX_NONE)
                r = add(s, &b, node, err);
        }
    return r == ERR_OK ? flush(s, &b, err) : r;
}

static enum result begin_best(const struct search *s, struct err *err)
{
    uint64_t max = s->keep < s->possible ? s->keep : s->possible;
    enum result r = index_best_init(&s->w->best, max ? (uint32_t)max : 1, s->q->group, err);
    return r == ERR_OK ? index_set_clear(&s->w->seen, err) : r;
}

/*
 * Rows that the graph does not lead to yet. Before the walk: one that is linked meanwhile the walk finds.
 * They are put aside until it is over, for a walk that begins with near ones would not set out from far ones.
 */
static enum result look_at_waiting(const struct search *s, enum depth depth, struct err *err)
{
    const struct index *ix = s->ix;
    struct batch b = {.depth = depth};
    enum result r = ERR_OK;
    uint32_t count = atomic_load(&ix->straggler_count);
    uint32_t mark = atomic_load(&ix->watermark), used = atomic_load(&ix->used); /* in this order: neither goes back */
    for (uint32_t i = 0; r == ERR_OK && i < count + (used - mark); i++) {
        uint32_t node = i < count ? atomic_load(&ix->stragglers[i]) - 1 : mark + (i - count);
        if (node == INDEX_NONE)
            continue;
        enum index_state state = index_state(index_meta(ix, node));
        if (state != INDEX_WAITING && state != INDEX_LINKING)
            continue;
        if (!index_set_roomy(&s->w->seen, 1))
            r = index_set_grow(&s->w->seen, err);
        if (r == ERR_OK && index_set_add(&s->w->seen, node))
            r = add(s, &b, node, err);
    }
    return r == ERR_OK ? flush(s, &b, err) : r;
}

static enum result scan_waiting(const struct search *s, struct err *err)
{
    enum result r = look_at_waiting(s, AHEAD, err);
    if (r != ERR_OK || !s->w->seen.count)
        return r;
    struct index_best aside = s->w->best;
    s->w->best = s->w->aside;
    s->w->aside = aside;
    return begin_best(s, err);
}

static void add_aside(const struct search *s)
{
    for (uint32_t i = 0; i < s->w->aside.count; i++) {
        struct index_candidate c = s->w->aside.heap[i], other = c;
        index_best_offer(&s->w->best, &c);
        if (c.other == INDEX_NONE)
            continue;
        other.node = c.other;
        other.tie = c.other;
        other.distance = c.other_distance;
        other.other = INDEX_NONE;
        other.other_distance = __builtin_inff();
        index_best_offer(&s->w->best, &other);
    }
}

/* --- which way
 * ------------------------------------------------------------------------------------------------ */

static uint64_t count_allowed(const struct index_query *q)
{
    uint64_t n = 0;
    for (size_t i = 0; i < q->allowed_words; i++)
        n += (uint64_t)__builtin_popcountll(q->allowed[i]);
    return n;
}

/* What the scan collected, by vectors, those first that may be nearest. */
static enum result rank_collected(const struct search *s, struct err *err)
{
    struct index_work *w = s->w;
    enum result r = index_in_time(s->q, err);
    while (r == ERR_OK && w->queue_count) {
        struct index_near near = index_queue_pop(w);
        if (near.distance > index_best_limit(&w->final))
            break;
        if (w->queue_count && w->queue[0].distance <= index_best_limit(&w->final))
            prefetch_vector(s, w->queue[0].node);
        r = w->vectors % (BATCH * BATCHES) == BATCH * BATCHES - 1 ? index_in_time(s->q, err) : ERR_OK;
        if (r == ERR_OK)
            r = rank(s, near.node, err);
    }
    return r;
}

/* `room` for what codes say of the best, which gives the limit, and `most` hits. */
static enum result begin_scan(const struct search *s, uint32_t room, uint32_t most, struct err *err)
{
    struct index_work *w = s->w;
    enum result r = index_best_init(&w->best, room, s->q->group, err);
    if (r == ERR_OK)
        r = index_best_init(&w->final, most, s->q->group, err);
    w->queue_count = 0;
    return r == ERR_OK ? index_set_clear(&w->seen, err) : r;
}

/*
 * Afterwards w->final has the hits. All codes are read before the first vector: in the order of the rows the limit comes down
 * slowly, and up to six times as many vectors would be compared as are in doubt at the end.
 *
 * A vector that cannot be had, or a row met twice, makes the limit of the codes lower than it should be. The hits tell: then it
 * is done again with room for more.
 */
static enum result scan_all(struct search *s, enum depth depth, struct index_trace *trace, struct err *err)
{
    struct index_work *w = s->w;
    uint64_t most = s->q->k < s->possible ? s->q->k : s->possible;
    trace->scanned = s->complete = true;
    for (uint64_t room = most ? most : 1;; room *= 2) {
        enum result r = begin_scan(s, (uint32_t)room, most ? (uint32_t)most : 1, err);
        if (r == ERR_OK)
            r = scan(s, depth, err);
        if (r == ERR_OK)
            r = rank_collected(s, err);
        if (r != ERR_OK || index_best_limit(&w->final) <= index_best_limit(&w->best))
            return r;
    }
}

/* --- the scan by glances
 * --------------------------------------------------------------------------------------- */

/* Into w->near, because what holds them is needed for something else. */
static enum result keep_found(const struct search *s, struct err *err)
{
    struct index_work *w = s->w;
    enum result r = ERR_OK;
    w->near_count = 0;
    for (uint32_t i = 0; r == ERR_OK && i < w->best.count; i++) {
        const struct index_candidate *c = &w->best.heap[i];
        r = index_near_add(w, (struct index_near){c->distance, c->node}, err);
        if (r == ERR_OK && c->other != INDEX_NONE)
            r = index_near_add(w, (struct index_near){c->other_distance, c->other}, err);
    }
    return r;
}

/* In place of estimates that count no more: of rows that were looked at, and of those the projection does not know. */
#define LOOKED_AT __builtin_inff()
#define UNKNOWN __builtin_nanf("")

static enum result add_glanced(const struct search *s, struct batch *b, uint32_t node, struct err *err)
{
    if (node < s->w->glance_count)
        s->w->glances[node] = LOOKED_AT;
    return add(s, b, node, err);
}

/*
 * Estimates of all rows but those that are in no projection yet. These are looked at before the projection is chosen, so that a
 * row that is linked meanwhile is in it, or was met; or both, and then its estimate, or that of who had its node before, is no use.
 */
static enum result estimate(const struct search *s, const struct index_projection **p, struct index_glancing *g, struct err *err)
{
    struct index_work *w = s->w;
    enum result r = look_at_waiting(s, LIKELY, err);
    *p = atomic_load(&s->ix->projection);
    index_glancing_init(s->ix, *p, &w->probe, g);
    if (r == ERR_OK)
        r = index_glance_all(s->ix, *p, w, s->q, g, s->q->k + GLANCED, err);
    for (uint32_t i = 0; r == ERR_OK && w->seen.count && i <= w->seen.mask; i++)
        if (w->seen.keys[i] && w->seen.keys[i] - 1 < w->glance_count)
            w->glances[w->seen.keys[i] - 1] = UNKNOWN;
    return r;
}

/*
 * Ahead of all others: what the walk came by, which may be near-copies, and those that the projection thinks nearest, because
 * their codes bring the limit down.
 */
static enum result look_at_first(const struct search *s, struct err *err)
{
    struct index_work *w = s->w;
    struct batch b = {.depth = LIKELY};
    enum result r = ERR_OK;
    for (uint32_t i = 0; r == ERR_OK && i < w->around.count; i++)
        r = index_near_add(w, (struct index_near){0, w->around.heap[i].node}, err);
    for (uint32_t i = 0; r == ERR_OK && i < w->near_count; i++) {
        if (!index_set_roomy(&w->seen, 1))
            r = index_set_grow(&w->seen, err);
        if (r == ERR_OK && index_set_add(&w->seen, w->near[i].node))
            r = add_glanced(s, &b, w->near[i].node, err);
    }
    return r == ERR_OK ? flush(s, &b, err) : r;
}

/* All others that may be among the k, if no cosine of what the projection leaves is larger. */
static enum result look_at_nearer(
    const struct search *s, const struct index_projection *p, const struct index_glancing *g, float cosine, struct err *err)
{
    struct index_work *w = s->w;
    struct batch b = {.depth = LIKELY};
    enum result r = ERR_OK;
    for (uint32_t node = 0; r == ERR_OK && node < w->glance_count; node += KERNEL_BLOCK) {
        uint32_t which = index_glance_nearer(s->ix, p, w, g, node, cosine, index_best_limit(&w->best));
        for (; r == ERR_OK && which; which &= which - 1)
            r = add_glanced(s, &b, node + (uint32_t)__builtin_ctz(which), err);
    }
    return r == ERR_OK ? flush(s, &b, err) : r;
}

/*
 * The hits tell how near to each other what is left of two rows can be here; also those that the walk has met, because where a few
 * of what is near are allowed, others are that it has not met.
 */
static bool trusted(const struct search *s, const struct index_projection *p, struct index_glancing *g, float cosine)
{
    const struct index_work *w = s->w;
    uint32_t beyond = 0;
    for (uint32_t i = 0; i < w->final.count; i++) {
        uint32_t node = w->final.heap[i].node;
        if (node < w->glance_count && !isnan(w->glances[node]))
            beyond += index_glance_cosine(s->ix, p, g, node, w->final.heap[i].distance) > cosine;
    }
    return beyond <= (uint32_t)(s->strict ? 0 : BEYOND * (float)s->q->k);
}

static float first_cosine(const struct search *s, const struct index_projection *p)
{
    return (s->strict ? COSINES_STRICT : COSINES) * p->spread;
}

/*
 * Instead of scan_all() where a walk was in vain: allowed rows are elsewhere, and of those the projection tells which are
 * nearest. Near-copies of what was asked, for which it does not tell how near, are among the first, and a walk that was made has met
 * them. Where the hits say that
 * it cannot be relied on, every row is looked at in the end. As in scan_all(), the hits also tell when vectors could not be had.
 */
static enum result scan_by_glances(struct search *s, struct index_trace *trace, struct err *err)
{
    struct index_work *w = s->w;
    struct index_glancing g;
    const struct index_projection *p = NULL;
    enum result r = keep_found(s, err);
    if (r == ERR_OK)
        r = begin_scan(s, s->q->k, s->q->k, err);
    if (r == ERR_OK)
        r = estimate(s, &p, &g, err);
    if (r == ERR_OK)
        r = look_at_first(s, err);
    if (r == ERR_OK)
        r = index_set_clear(&w->seen, err);
    trace->scanned = s->complete = true;
    for (float cosine = r == ERR_OK ? first_cosine(s, p) : 0; r == ERR_OK; cosine *= WIDER) {
        bool all = cosine >= 1;
        r = look_at_nearer(s, p, &g, all ? INDEX_ALL_COSINES : cosine, err);
        if (r == ERR_OK)
            r = rank_collected(s, err);
        if (r == ERR_OK && index_best_limit(&w->final) > index_best_limit(&w->best))
            return scan_all(s, LIKELY, trace, err);
        if (all || index_best_limit(&w->best) == __builtin_inff() || trusted(s, p, &g, cosine))
            break;
    }
    return r;
}

/* Is a scan by glances less work than one of all allowed rows? */
static bool glances_pay(const struct search *s)
{
    const struct index_projection *p = atomic_load(&s->ix->projection);
    return p && s->q->allowed && s->q->k <= GLANCED_K && first_cosine(s, p) < 1 &&
           (double)s->possible > GLANCES_BASE + atomic_load(&s->ix->used) / GLANCES_ROWS;
}

static bool in_vain(const struct search *s, double expect)
{
    const struct index_projection *p = atomic_load(&s->ix->projection);
    return p && p->telling && glances_pay(s) && index_glance_elsewhere(s->ix, p, &s->w->probe, s->q, expect);
}

static enum result find(struct search *s, struct index_trace *trace, struct err *err)
{
    uint64_t live = atomic_load(&s->ix->live), linked = atomic_load(&s->ix->linked);
    double spread = s->keep * (double)(live + 1) / (double)(s->possible + 1);
    double walk = WALK_BASE + WALK_EF * (spread > s->ef ? spread : s->ef);
    if (!s->graph || !linked || (double)s->possible <= walk)
        return scan_all(s, LIKELY, trace, err);
    bool finished = false;
    double budget = s->q->allowed ? (double)s->possible / CODE_COST : (double)UINT32_MAX;
    double expect = s->q->allowed ? (double)s->possible / (double)(live + 1) : 0;
    s->w->aside.count = 0;
    enum result r = begin_best(s, err);
    if (r == ERR_OK && s->q->allowed)
        r = index_best_init(&s->w->around, s->ef, false, err);
    if (r == ERR_OK && s->q->allowed && in_vain(s, expect))
        return scan_by_glances(s, trace, err);
    trace->walked = true;
    if (r == ERR_OK)
        r = scan_waiting(s, err);
    if (r == ERR_OK)
        r = index_walk(s->ix, s->w, s->q, (uint32_t)budget, expect, &finished, err);
    if (r == ERR_OK)
        add_aside(s);
    if (r == ERR_OK && (!finished || s->w->best.count < s->q->k))
        r = !finished && glances_pay(s) ? scan_by_glances(s, trace, err) : scan_all(s, LIKELY, trace, err);
    return r;
}

static enum result search(struct search *s, struct index_trace *trace, struct err *err)
{
    if (s->q->exact)
        return scan_all(s, EXACT, trace, err);
    enum result r = find(s, trace, err);
    if (r != ERR_OK || s->complete)
        return r;
    r = index_best_init(&s->w->final, s->q->k, s->q->group, err);
    if (r == ERR_OK)
        r = rank_all(s, err);
    /* Fewer than asked for though there may be more: vectors could not be had. */
    return r == ERR_OK && s->w->final.count < s->q->k ? scan_all(s, LIKELY, trace, err) : r;
}

enum result index_search(struct index *ix, const struct index_query *query, struct index_hit *hits,
    uint32_t *count, struct index_trace *trace, struct err *err)
{
    struct index_trace unused, *t = trace ? trace : &unused;
    if (query->k < 1 || query->k > LIMIT_WINDOW)
        return err_set(err, ERR_INVALID, "A search for %u neighbours cannot be: it must be from 1 to %d.",
            query->k, LIMIT_WINDOW);
    if (!query->vector || !query->vector_of)
        return err_set(
            err, ERR_INVALID, "A search of the index needs a vector and a way to the vectors of rows.");
    struct search s = {.ix = ix, .q = query};
    enum result r = index_work_take(ix, &s.w, err);
    if (r != ERR_OK)
        return r;
    *t = (struct index_trace){0};
    unsigned place = index_enter(ix);
    s.graph = atomic_load_explicit(&ix->graph, memory_order_acquire);
    s.ef = query->ef ? query->ef : index_ef(query->k, query->recall);
    if (s.ef < query->k)
        s.ef = query->k;
    s.keep = s.ef;
    s.strict = s.ef >= index_ef(query->k, 0.999f);
    /* Rows may come while we look; room for a few more costs nothing. */
    s.possible = (uint64_t)atomic_load(&ix->live) + atomic_load(&ix->dead);
    if (query->allowed) {
        uint64_t allowed = count_allowed(query);
        s.possible = allowed < s.possible ? allowed : s.possible;
        double more = (double)(s.ef - query->k) * (double)s.possible / (double)(atomic_load(&ix->live) + 1);
        s.keep = query->k + (more > SPARE ? (uint32_t)more : SPARE);
    }
    index_probe_query(ix, query->vector, &s.w->probe);
    r = search(&s, t, err);
    if (r == ERR_OK) {
        index_best_sort(&s.w->final);
        for (uint32_t i = 0; i < s.w->final.count; i++) {
            const struct index_candidate *c = &s.w->final.heap[i];
            hits[i] = (struct index_hit){index_meta(ix, c->node)->slot, c->distance, c->tie};
        }
        *count = s.w->final.count;
    }
    index_leave(ix, place);
    t->glances = s.w->glanced;
    t->sketches = s.w->sketches;
    t->codes = s.w->codes;
    t->vectors = s.w->vectors;
    index_work_give(ix, s.w);
    return r;
}
