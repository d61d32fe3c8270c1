#include "index/project.h"

#include <math.h>

#define FROM 4096    /* linked rows; fewer are scanned soon enough */
#define GROWN 8      /* so many times the rows are worth another look at what they have in common */
#define SMALLEST 128 /* dimensions; below that a code is hardly longer */
#define SAMPLE 2048
#define SAMPLE_FLOATS (4 * LIMIT_MIB) /* at most, so that few rows of many dimensions do not take half a gigabyte */
#define ROUNDS 5
#define SAMPLED 128 /* blocks, at most, that are looked at for where a walk starts */
#define ALL_ROWS ((1u << KERNEL_BLOCK) - 1)
#define BINS 128
#define NEARBY_SHARE 8 /* one of so many rows is near */
#define TELLING 0.25f /* of the variance; vectors of pictures have 0.4 to 0.55 in their components */
#define RANGE 5.0f /* standard deviations that a byte covers on either side */
#define ZERO 64
#define ALWAYS 1e15f       /* as what is left of a row that must be looked at */
#define ROUNDING 0.0625f    /* of |query − centre|², beside what its components leave: bytes are not exact either */
#define LEAST_SPREAD 0.005f /* where the sample leaves nothing, other rows may */
#define CHUNK_BYTES sizeof(struct index_projected)

bool index_projection_due(const struct index *ix)
{
    uint32_t linked = atomic_load(&ix->linked);
    if (atomic_load(&ix->next_projection))
        return true;
    return ix->shape.dimension >= SMALLEST && atomic_load(&ix->graph) && linked >= FROM &&
           linked / GROWN >= atomic_load(&ix->projection_linked);
}

void index_projection_free(struct index *ix, struct index_projection *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < INDEX_CHUNKS; i++)
        if (atomic_load(&p->chunks[i])) {
            free(atomic_load(&p->chunks[i]));
            atomic_fetch_sub(&ix->projected_bytes, CHUNK_BYTES);
        }
    free(p->basis);
    free(p->codes);
    free(p);
}

/* --- the rows
 * ------------------------------------------------------------------------------------------------- */

static struct index_projected *chunk_of(const struct index_projection *p, uint32_t node)
{
    return atomic_load_explicit(&p->chunks[node >> INDEX_CHUNK_SHIFT], memory_order_acquire);
}

static enum result room(struct index *ix, struct index_projection *p, uint32_t node, struct err *err)
{
    _Atomic(struct index_projected *) *place = &p->chunks[node >> INDEX_CHUNK_SHIFT];
    if (atomic_load_explicit(place, memory_order_acquire))
        return ERR_OK;
    struct index_projected *chunk = aligned_alloc(_Alignof(struct index_projected), CHUNK_BYTES), *none = NULL;
    if (!chunk)
        return err_no_memory(err);
    memset(chunk, 0, CHUNK_BYTES);
    if (atomic_compare_exchange_strong(place, &none, chunk))
        atomic_fetch_add(&ix->projected_bytes, CHUNK_BYTES);
    else
        free(chunk);
    return ERR_OK;
}

struct projected {
    uint8_t bytes[INDEX_COMPONENTS];
    float base, rest;
};

/* A component as a byte says it. *apart: it is beyond what a byte can say, and an estimate would be wrong by any amount. */
static float rounded(const struct index_projection *p, size_t j, float y, uint8_t *byte, bool *apart)
{
    float b = rintf(y / p->steps[j]) + ZERO, within = b < 0 ? 0 : b > 127 ? 127 : b;
    *apart |= within != b;
    *byte = (uint8_t)within;
    return (within - ZERO) * p->steps[j];
}

/* `x` becomes the row less the centre. */
static struct projected project(const struct index *ix, const struct index_projection *p, uint32_t node, float *x)
{
    struct projected out = {.base = index_head(ix, node)->far2};
    float rest2 = out.base;
    bool apart = false;
    index_less_centre(ix, node, x);
    for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
        float y = ix->kernel->dot_f32(p->basis + j * ix->shape.padded, x, ix->shape.padded);
        float there = rounded(p, j, y, &out.bytes[j], &apart);
        rest2 += there * (there - 2 * y);
    }
    out.rest = apart ? ALWAYS : rest2 > 0 ? sqrtf(rest2) : 0;
    return out;
}

/* Searches may be reading the block; see kernel/codes.h. */
static void store(uint32_t *to, const uint8_t *four)
{
    uint32_t word;
    memcpy(&word, four, sizeof word);
    __atomic_store_n(to, word, __ATOMIC_RELAXED);
}

static void store_float(float *to, float x)
{
    __atomic_store(to, &x, __ATOMIC_RELAXED);
}

/* The first row of a block chooses its home. */
static void settle_down(struct index_projected *c, uint32_t at, uint32_t slot)
{
    struct index_home *h = &c->homes[at / KERNEL_BLOCK];
    uint32_t first = 0, mine = slot / KERNEL_BLOCK * KERNEL_BLOCK + 1, bit = 1u << at % KERNEL_BLOCK;
    if (atomic_compare_exchange_strong(&h->first, &first, mine))
        first = mine;
    atomic_store_explicit(&c->slots[at], slot, memory_order_relaxed);
    if (first - 1 + at % KERNEL_BLOCK == slot)
        atomic_fetch_and(&h->apart, ~bit);
    else
        atomic_fetch_or(&h->apart, bit);
}

static enum result add(struct index *ix, struct index_projection *p, uint32_t node, float *work, struct err *err)
{
    enum result r = room(ix, p, node, err);
    if (r != ERR_OK)
        return r;
    struct index_projected *c = chunk_of(p, node);
    uint32_t at = node % INDEX_CHUNK;
    struct kernel_block *b = &c->rows[at / KERNEL_BLOCK];
    struct projected row = project(ix, p, node, work);
    for (size_t part = 0; part < KERNEL_PARTS; part++)
        store(&b->parts[part][at % KERNEL_BLOCK], row.bytes + 4 * part);
    store_float(&b->base[at % KERNEL_BLOCK], row.base);
    store_float(&c->rest[at], row.rest);
    settle_down(c, at, index_meta(ix, node)->slot);
    return ERR_OK;
}

/* In this order: what is being made takes the place of what there is, and then is no longer being made. */
enum result index_project_node(struct index *ix, uint32_t node, float *work, struct err *err)
{
    struct index_projection *next = atomic_load(&ix->next_projection), *p = atomic_load(&ix->projection);
    enum result r = next ? add(ix, next, node, work, err) : ERR_OK;
    return r == ERR_OK && p && p != next ? add(ix, p, node, work, err) : r;
}

bool index_projected_right(const struct index *ix, const struct index_projection *p, uint32_t node, float *work)
{
    const struct index_projected *c = chunk_of(p, node);
    uint32_t at = node % INDEX_CHUNK;
    struct projected row = project(ix, p, node, work);
    if (!c || atomic_load(&c->slots[at]) != index_meta(ix, node)->slot || c->rest[at] != row.rest)
        return false;
    const struct kernel_block *b = &c->rows[at / KERNEL_BLOCK];
    for (size_t part = 0; part < KERNEL_PARTS; part++)
        if (memcmp(&b->parts[part][at % KERNEL_BLOCK], row.bytes + 4 * part, 4) != 0)
            return false;
    return b->base[at % KERNEL_BLOCK] == row.base;
}

/* --- making one
 * ----------------------------------------------------------------------------------------------- */

/* A sample of `count` vectors of `n` numbers, and the same turned on its side. */
struct sample {
    float *rows, *columns, *scores; /* scores: components · count */
    size_t max, count, n;
};

static void free_sample(struct sample *s)
{
    free(s->rows);
    free(s->columns);
    free(s->scores);
}

static enum result take_sample(struct index *ix, struct sample *s, struct err *err)
{
    s->n = ix->shape.padded;
    s->max = SAMPLE_FLOATS / s->n < SAMPLE ? SAMPLE_FLOATS / s->n : SAMPLE;
    s->rows = malloc(s->max * s->n * sizeof *s->rows);
    s->columns = malloc(s->max * s->n * sizeof *s->columns);
    s->scores = malloc(s->max * INDEX_COMPONENTS * sizeof *s->scores);
    if (!s->rows || !s->columns || !s->scores)
        return err_no_memory(err);
    unsigned place = index_enter(ix);
    uint32_t used = index_top(ix), step = used / (uint32_t)s->max + 1;
    for (uint32_t start = 0; start < step && s->count < s->max; start++)
        for (uint32_t node = start; node < used && s->count < s->max; node += step) {
            if (index_state(index_meta(ix, node)) != INDEX_LINKED)
                continue;
            index_less_centre(ix, node, s->rows + s->count * s->n);
            s->count++;
        }
    index_leave(ix, place);
    for (size_t i = 0; i < s->n; i++)
        for (size_t r = 0; r < s->count; r++)
            s->columns[i * s->count + r] = s->rows[r * s->n + i];
    return ERR_OK;
}

/* Gram-Schmidt, twice. A row that depends on those before it becomes zero. */
static void make_orthonormal(const struct kernel *k, float *basis, size_t n)
{
    for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
        float *b = basis + j * n, before = sqrtf(k->dot_f32(b, b, n));
        for (size_t i = 0; i < 2 * j; i++) {
            const float *other = basis + i % j * n;
            float along = k->dot_f32(b, other, n);
            for (size_t d = 0; d < n; d++)
                b[d] -= along * other[d];
        }
        float length = sqrtf(k->dot_f32(b, b, n)), factor = length > 1e-4f * before ? 1 / length : 0;
        for (size_t d = 0; d < n; d++)
            b[d] = factor > 0 ? b[d] * factor : 0;
    }
}

static void score(const struct kernel *k, const struct sample *s, const float *basis)
{
    for (size_t j = 0; j < INDEX_COMPONENTS; j++)
        for (size_t r = 0; r < s->count; r++)
            s->scores[j * s->count + r] = k->dot_f32(s->rows + r * s->n, basis + j * s->n, s->n);
}

/* Of a query, by the squares of what its components leave and of all of it. */
static float left(float rest2, float norm2)
{
    return sqrtf(fmaxf(rest2, 0) + ROUNDING * norm2);
}

/*
 * How far off estimates are between rows of the sample, as cosines between what is left of the one as a query and of the other as
 * a row. The bytes' own errors are in it.
 */
static float spread_of(const struct kernel *k, const struct index_projection *p, const struct sample *s)
{
    double sum = 0;
    size_t count = 0;
    for (size_t r = 0; r < s->count; r++) {
        size_t other = (r + s->count / 2 + r % 7) % s->count;
        const float *q = s->rows + r * s->n, *x = s->rows + other * s->n;
        float qq = k->dot_f32(q, q, s->n), xx = k->dot_f32(x, x, s->n), error = k->dot_f32(q, x, s->n), qrest2 = qq, xrest2 = xx;
        bool apart = false;
        for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
            uint8_t byte;
            float a = s->scores[j * s->count + r], b = s->scores[j * s->count + other], there = rounded(p, j, b, &byte, &apart);
            qrest2 -= a * a;
            xrest2 += there * (there - 2 * b);
            error -= a * there;
        }
        if (other == r || apart || !(xrest2 > 0) || !(qq > 0))
            continue;
        double cosine = (double)error / ((double)left(qrest2, qq) * sqrt((double)xrest2));
        sum += cosine * cosine;
        count++;
    }
    return count ? (float)sqrt(sum / (double)count) : 0;
}

/* Subspace iteration: multiplied by the covariance again and again, any basis turns towards the directions of largest variance. */
static void train(const struct index *ix, struct index_projection *p, struct sample *s)
{
    const struct kernel *k = ix->kernel;
    uint32_t random = 2463534242u;
    for (size_t i = 0; i < INDEX_COMPONENTS * s->n; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        p->basis[i] = (float)random / 4294967296.0f - 0.5f;
    }
    make_orthonormal(k, p->basis, s->n);
    for (int round = 0; round < ROUNDS; round++) {
        score(k, s, p->basis);
        for (size_t j = 0; j < INDEX_COMPONENTS; j++)
            for (size_t d = 0; d < s->n; d++)
                p->basis[j * s->n + d] = k->dot_f32(s->columns + d * s->count, s->scores + j * s->count, s->count);
        make_orthonormal(k, p->basis, s->n);
    }
    score(k, s, p->basis);
    for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
        int32_t sum;
        p->scales[j] = index_to_code(ix, p->basis + j * s->n, p->codes + j * s->n, &sum);
        const float *scores = s->scores + j * s->count;
        float deviation = sqrtf(k->dot_f32(scores, scores, s->count) / (float)s->count);
        p->steps[j] = deviation > 1e-12f ? RANGE * deviation / ZERO : 1;
    }
    p->spread = fmaxf(spread_of(k, p, s), LEAST_SPREAD);
    float all = k->dot_f32(s->rows, s->rows, s->count * s->n), told = k->dot_f32(s->scores, s->scores, INDEX_COMPONENTS * s->count);
    p->telling = told > TELLING * all;
}

static enum result begin(struct index *ix, struct err *err)
{
    struct sample s = {0};
    uint32_t linked = atomic_load(&ix->linked);
    struct index_projection *p = calloc(1, sizeof *p);
    enum result r = p ? take_sample(ix, &s, err) : err_no_memory(err);
    if (r == ERR_OK && !((p->basis = malloc(INDEX_COMPONENTS * s.n * sizeof *p->basis)) && (p->codes = malloc(INDEX_COMPONENTS * s.n))))
        r = err_no_memory(err);
    if (r == ERR_OK && s.count == 0)
        r = err_set(err, ERR_BUSY, "No row of the index is linked any more.");
    if (r == ERR_OK) {
        train(ix, p, &s);
        p->linked = linked;
        ix->projected = 0;
        atomic_store(&ix->next_projection, p);
        index_quiet(ix); /* who links without knowing of it has ended */
    } else {
        index_projection_free(ix, p);
    }
    free_sample(&s);
    return r;
}

/* Some of the rows that were linked before it was known. */
static enum result go_on(struct index *ix, struct index_work *w, uint32_t rows, struct err *err)
{
    struct index_projection *p = atomic_load(&ix->next_projection);
    uint32_t used = atomic_load(&ix->used), end = used - ix->projected < rows ? used : ix->projected + rows;
    enum result r = ERR_OK;
    unsigned place = index_enter(ix);
    for (; r == ERR_OK && ix->projected < end; ix->projected += r == ERR_OK)
        if (index_state(index_meta(ix, ix->projected)) == INDEX_LINKED)
            r = add(ix, p, ix->projected, w->floats, err);
    index_leave(ix, place);
    if (r != ERR_OK || ix->projected < used)
        return r;
    struct index_projection *old = atomic_exchange(&ix->projection, p);
    atomic_store(&ix->unsure, true); /* what is an entry may have to be reached from elsewhere now */
    atomic_store(&ix->projection_linked, p->linked);
    atomic_store(&ix->next_projection, NULL);
    index_quiet(ix);
    index_projection_free(ix, old);
    return ERR_OK;
}

enum result index_project_some(struct index *ix, struct index_work *w, uint32_t rows, bool wait, bool *did, struct err *err)
{
    *did = false;
    if (wait)
        pthread_mutex_lock(&ix->repairing);
    else if (pthread_mutex_trylock(&ix->repairing))
        return ERR_OK;
    enum result r = ERR_OK;
    if (atomic_load(&ix->next_projection))
        r = go_on(ix, w, rows, err);
    else if (index_projection_due(ix))
        r = begin(ix, err);
    else
        goto out;
    *did = r == ERR_OK;
out:
    pthread_mutex_unlock(&ix->repairing);
    return r;
}

/* --- looking
 * -------------------------------------------------------------------------------------------------- */

static void set_components(const struct index_projection *p, const struct index_probe *probe, const float *y, struct index_glancing *g)
{
    float weights[INDEX_COMPONENTS], max = 0, rest2 = probe->residual_norm2;
    int32_t sum = 0;
    for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
        rest2 -= y[j] * y[j];
        weights[j] = y[j] * p->steps[j];
        max = fabsf(weights[j]) > max ? fabsf(weights[j]) : max;
    }
    for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
        g->kernel.q[j] = (int8_t)lrintf(max > 0 ? weights[j] * 127 / max : 0);
        sum += g->kernel.q[j];
    }
    g->rest = left(rest2, probe->residual_norm2);
    g->norm2 = probe->residual_norm2;
    g->kernel.scale = 2 * max / 127;
    g->kernel.offset = probe->residual_norm2 + g->kernel.scale * ZERO * (float)sum;
}

void index_glancing_init(const struct index *ix, const struct index_projection *p, const struct index_probe *probe, struct index_glancing *g)
{
    float y[INDEX_COMPONENTS];
    for (size_t j = 0; j < INDEX_COMPONENTS; j++)
        y[j] = ix->kernel->dot_f32(p->basis + j * ix->shape.padded, probe->rotated, ix->shape.padded);
    set_components(p, probe, y, g);
}

/* From codes on both sides: a tenth of the time, and near enough to tell where to start. */
static void init_roughly(const struct index *ix, const struct index_projection *p, const struct index_probe *probe, struct index_glancing *g)
{
    float y[INDEX_COMPONENTS];
    for (size_t j = 0; j < INDEX_COMPONENTS; j++) {
        int32_t dot = ix->codes->dot(p->codes + j * ix->shape.padded, probe->residual, probe->residual_sum, ix->shape.padded);
        y[j] = p->scales[j] * probe->residual_scale * (float)dot;
    }
    set_components(p, probe, y, g);
}

/* Of so many slots from this one on, in one word. */
static uint32_t allowed_from(const struct index_query *query, uint32_t slot, uint32_t count)
{
    uint64_t word = slot / 64 < query->allowed_words ? query->allowed[slot / 64] : 0;
    return (uint32_t)(word >> (slot % 64)) & ((1u << count) - 1);
}

/* Which of the rows of a block are allowed. */
static uint32_t allowed_of(const struct index_projected *c, uint32_t block, const struct index_query *query)
{
    uint32_t first = atomic_load_explicit(&c->homes[block].first, memory_order_relaxed);
    uint32_t apart = atomic_load_explicit(&c->homes[block].apart, memory_order_relaxed);
    uint32_t mask = first ? allowed_from(query, first - 1, KERNEL_BLOCK) & ~apart : 0;
    for (; apart; apart &= apart - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(apart);
        mask |= allowed_from(query, atomic_load_explicit(&c->slots[block * KERNEL_BLOCK + i], memory_order_relaxed), 1) << i;
    }
    return mask;
}

/* From one block of the sample to the next: more than a SAMPLEDth of all. */
static uint32_t sample_step(uint32_t used)
{
    return (used / (SAMPLED * KERNEL_BLOCK) + 1) * KERNEL_BLOCK;
}

uint32_t index_glance_sample(
    const struct index *ix, const struct index_projection *p, const struct index_probe *probe, struct index_near *near, uint32_t most)
{
    struct index_glancing g;
    float distances[KERNEL_BLOCK];
    uint32_t used = index_top(ix), count = 0;
    init_roughly(ix, p, probe, &g);
    for (uint32_t node = 0; node < used; node += sample_step(used)) {
        const struct index_projected *c = chunk_of(p, node);
        if (!c)
            continue;
        g.kernel.limit = count == most ? near[most - 1].distance : __builtin_inff();
        uint32_t hits = ix->codes->glance(&c->rows[node % INDEX_CHUNK / KERNEL_BLOCK], &g.kernel, ALL_ROWS, distances);
        for (; hits; hits &= hits - 1) {
            uint32_t i = (uint32_t)__builtin_ctz(hits);
            if (node + i < used && index_state(index_meta(ix, node + i)) == INDEX_LINKED)
                count = index_keep_near(near, count, most, (struct index_near){distances[i], node + i});
        }
    }
    return count;
}

/* Rows by their distance, in bins of equal width: how many there are in each, and how many of them are allowed. */
struct histogram {
    float least, width;
    uint32_t all[BINS], allowed[BINS];
};

static void count_in(struct histogram *h, float distance, bool allowed)
{
    float at = (distance - h->least) / h->width;
    uint32_t bin = at < BINS - 1 ? (uint32_t)at : BINS - 1;
    h->all[bin]++;
    h->allowed[bin] += allowed;
}

static bool rare_nearby(const struct histogram *h, uint32_t count, double expect)
{
    uint32_t all = 0, allowed = 0;
    for (uint32_t i = 0; i < BINS && all < count / NEARBY_SHARE; i++) {
        all += h->all[i];
        allowed += h->allowed[i];
    }
    return (allowed + 1) * 8.0 < expect * all;
}

bool index_glance_elsewhere(
    const struct index *ix, const struct index_projection *p, const struct index_probe *probe, const struct index_query *query, double expect)
{
    struct index_glancing g;
    float distances[SAMPLED * KERNEL_BLOCK], most = 0;
    uint16_t allowed[SAMPLED];
    uint32_t used = index_top(ix), blocks = 0;
    struct histogram h = {.least = __builtin_inff()};
    init_roughly(ix, p, probe, &g);
    g.kernel.limit = 0;
    for (uint32_t node = 0; node < used && blocks < SAMPLED; node += sample_step(used)) {
        const struct index_projected *c = chunk_of(p, node);
        uint32_t block = node % INDEX_CHUNK / KERNEL_BLOCK;
        float *near = distances + (size_t)blocks * KERNEL_BLOCK;
        if (!c || !atomic_load_explicit(&c->homes[block].first, memory_order_relaxed))
            continue;
        allowed[blocks++] = (uint16_t)allowed_of(c, block, query);
        (void)ix->codes->glance(&c->rows[block], &g.kernel, ALL_ROWS, near);
        for (uint32_t i = 0; i < KERNEL_BLOCK; i++) {
            h.least = near[i] < h.least ? near[i] : h.least;
            most = near[i] > most ? near[i] : most;
        }
    }
    h.width = (most - h.least) / BINS;
    if (!(h.width > 0))
        return false;
    for (uint32_t i = 0; i < blocks * KERNEL_BLOCK; i++)
        count_in(&h, distances[i], allowed[i / KERNEL_BLOCK] >> i % KERNEL_BLOCK & 1);
    return rare_nearby(&h, blocks * KERNEL_BLOCK, expect);
}

static enum result make_room(struct index_work *w, uint32_t nodes, struct err *err)
{
    uint32_t want = (nodes + KERNEL_BLOCK - 1) / KERNEL_BLOCK * KERNEL_BLOCK;
    if (want > w->glance_room) {
        free(w->glances);
        w->glance_room = 0;
        w->glances = malloc(want * sizeof *w->glances);
        if (!w->glances)
            return err_no_memory(err);
        w->glance_room = want;
    }
    w->glance_count = want;
    return ERR_OK;
}

static void offer(struct index_work *w, uint32_t node, float near)
{
    if (near < index_best_limit(&w->around))
        index_best_offer(&w->around, &(struct index_candidate){.distance = near, .node = node, .tie = node});
}

enum result index_glance_all(struct index *ix, const struct index_projection *p, struct index_work *w, const struct index_query *query,
    struct index_glancing *g, uint32_t count, struct err *err)
{
    enum result r = make_room(w, index_top(ix), err);
    if (r == ERR_OK)
        r = index_best_init(&w->around, count, false, err);
    for (uint32_t node = 0; r == ERR_OK && node < w->glance_count; node += KERNEL_BLOCK) {
        const struct index_projected *c = chunk_of(p, node);
        float *near = w->glances + node;
        uint32_t block = node % INDEX_CHUNK / KERNEL_BLOCK, allowed = c ? allowed_of(c, block, query) : 0, hits;
        if (node % INDEX_CHUNK == 0)
            r = index_in_time(query, err);
        if (!allowed) {
            for (uint32_t i = 0; i < KERNEL_BLOCK; i++)
                near[i] = __builtin_inff();
            continue;
        }
        g->kernel.limit = index_best_limit(&w->around);
        hits = ix->codes->glance(&c->rows[block], &g->kernel, allowed, near);
        w->glanced += KERNEL_BLOCK;
        for (; hits; hits &= hits - 1)
            offer(w, node + (uint32_t)__builtin_ctz(hits), near[__builtin_ctz(hits)]);
    }
    return r;
}

uint32_t index_glance_nearer(
    const struct index *ix, const struct index_projection *p, const struct index_work *w, const struct index_glancing *g, uint32_t node, float cosine,
    float limit)
{
    const struct index_projected *c = chunk_of(p, node);
    return c ? ix->codes->nearer(w->glances + node, c->rest + node % INDEX_CHUNK, 2 * cosine * g->rest, limit) : 0;
}

KERNEL_UNSYNCHRONIZED static float rest_of(const struct index_projected *c, uint32_t node)
{
    return c->rest[node % INDEX_CHUNK];
}

float index_glance_cosine(const struct index *ix, const struct index_projection *p, struct index_glancing *g, uint32_t node, float distance)
{
    const struct index_projected *c = chunk_of(p, node);
    float near[KERNEL_BLOCK], rest = c ? rest_of(c, node) * g->rest : 0;
    if (!(rest > 1e-6f * g->norm2))
        return 0;
    (void)ix->codes->glance(&c->rows[node % INDEX_CHUNK / KERNEL_BLOCK], &g->kernel, 1u << node % KERNEL_BLOCK, near);
    return (near[node % KERNEL_BLOCK] - distance) / (2 * rest);
}
