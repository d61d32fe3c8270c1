#include "support.h"

#include "base/limits.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTERS 60

uint32_t world_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)(w->random >> 32);
}

float world_gauss(struct world *w)
{
    float sum = 0;
    for (int i = 0; i < 6; i++)
        sum += (float)world_random(w) / 4294967296.0f - 0.5f;
    return sum * 1.414f;
}

uint16_t *world_vector(const struct world *w, uint32_t slot)
{
    return w->vectors + (size_t)slot * w->dimension;
}

/* Cluster c's centre is drawn from c alone. */
static void near_centre(struct world *w, uint32_t cluster, float noise, float *out)
{
    struct world own = {.random = 88172645463325252u + cluster * 0x9e3779b97f4a7c15u};
    float norm2 = 0;
    for (int i = 0; i < 8; i++)
        world_random(&own);
    for (uint32_t i = 0; i < w->dimension; i++) {
        out[i] = world_gauss(&own) + 0.4f + noise * world_gauss(w);
        norm2 += out[i] * out[i];
    }
    float scale = norm2 > 0 ? 1 / sqrtf(norm2) : 0;
    for (uint32_t i = 0; i < w->dimension; i++)
        out[i] *= scale;
}

void world_renew(struct world *w, uint32_t slot)
{
    float *v = malloc(w->dimension * sizeof *v);
    assert_non_null(v);
    near_centre(w, world_random(w) % CLUSTERS, 0.7f, v);
    kernel_get()->f32_to_f16(v, world_vector(w, slot), w->dimension);
    free(v);
}

void world_query(struct world *w, float *out)
{
    near_centre(w, world_random(w) % CLUSTERS, 0.7f, out);
}

void world_init(struct world *w, uint32_t dimension, uint32_t count)
{
    *w = (struct world){.dimension = dimension, .count = count, .random = 2463534242u + dimension};
    w->vectors = malloc((size_t)count * dimension * sizeof *w->vectors);
    w->items = malloc(count * sizeof *w->items);
    w->alive = malloc(count);
    assert_true(w->vectors && w->items && w->alive);
    for (uint32_t i = 0; i < count; i++) {
        world_renew(w, i);
        w->items[i] = (int64_t)i * 1000003 - 5000;
        w->alive[i] = 1;
    }
}

void world_free(struct world *w)
{
    free(w->vectors);
    free(w->items);
    free(w->alive);
}

float world_distance(const struct world *w, const float *query, uint32_t slot)
{
    double sum = 0, qq = 0, xx = 0, qx = 0;
    float *x = malloc(w->dimension * sizeof *x);
    assert_non_null(x);
    kernel_get()->f16_to_f32(world_vector(w, slot), x, w->dimension);
    for (uint32_t i = 0; i < w->dimension; i++) {
        double q = query[i], v = x[i];
        sum += (q - v) * (q - v);
        qq += q * q;
        xx += v * v;
        qx += q * v;
    }
    free(x);
    return (float)(w->metric == INDEX_L2 ? sum : 2 - 2 * qx / sqrt(qq * xx));
}

#ifdef __SANITIZE_THREAD__ /* fifty times slower */
#define EF_BUILD 64
#else
#define EF_BUILD 0
#endif

struct index *world_index(const struct world *w, unsigned threads)
{
    struct index_settings settings = {
        .dimension = w->dimension, .metric = w->metric, .threads = threads, .ef_build = EF_BUILD};
    struct index *ix = NULL;
    assert_int_equal(index_new(&settings, &ix, NULL), ERR_OK);
    return ix;
}

void world_insert(const struct world *w, struct index *ix, uint32_t slot)
{
    struct index_row row = {
        .slot = slot, .item = w->items[slot], .stamp = slot + 7u, .vector = world_vector(w, slot)};
    assert_int_equal(index_insert(ix, &row, NULL), ERR_OK);
}

void world_insert_all(const struct world *w, struct index *ix)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (w->alive[i])
            world_insert(w, ix, i);
}

static const uint16_t *vector_of(void *user, uint32_t slot)
{
    const struct world *w = user;
    return world_vector(w, slot);
}

struct index_query world_ask(struct world *w, const float *vector, uint32_t k)
{
    return (struct index_query){.vector = vector, .k = k, .vector_of = vector_of, .user = w};
}

struct truth {
    float distance;
    uint32_t slot;
};

static int compare(const void *a, const void *b)
{
    const struct truth *p = a, *q = b;
    if (p->distance != q->distance)
        return p->distance < q->distance ? -1 : 1;
    return p->slot < q->slot ? -1 : p->slot > q->slot;
}

static bool may(const struct world *w, const struct index_query *q, uint32_t slot)
{
    return w->alive[slot] &&
           (!q->allowed || (slot / 64 < q->allowed_words && (q->allowed[slot / 64] >> (slot % 64) & 1)));
}

static bool item_among(const struct world *w, const struct truth *t, uint32_t count, uint32_t slot)
{
    for (uint32_t i = 0; i < count; i++)
        if (w->items[t[i].slot] == w->items[slot])
            return true;
    return false;
}

/* The first `most` true hits, at the front. */
static uint32_t find_truth(const struct world *w, const struct index_query *q, struct truth *t, uint32_t most)
{
    uint32_t n = 0, kept = 0;
    for (uint32_t i = 0; i < w->count; i++)
        if (may(w, q, i))
            t[n++] = (struct truth){world_distance(w, q->vector, i), i};
    qsort(t, n, sizeof *t, compare);
    for (uint32_t i = 0; i < n && kept < most; i++)
        if (!q->group || !item_among(w, t, kept, t[i].slot))
            t[kept++] = t[i];
    return kept;
}

static void check_hit(
    const struct world *w, const struct index_query *q, const struct index_hit *hits, uint32_t i)
{
    uint32_t slot = hits[i].slot;
    assert_true(slot < w->count && may(w, q, slot));
    assert_true(fabsf(hits[i].distance - world_distance(w, q->vector, slot)) < 2e-5f);
    if (i > 0)
        assert_true(hits[i - 1].distance < hits[i].distance ||
                    (hits[i - 1].distance == hits[i].distance && hits[i - 1].tie < hits[i].tie));
    for (uint32_t j = 0; j < i; j++) {
        assert_int_not_equal(hits[j].slot, slot);
        if (q->group)
            assert_true(w->items[hits[j].slot] != w->items[slot]);
    }
}

double world_recall(
    struct world *w, struct index *ix, const struct index_query *query, struct index_trace *trace)
{
    struct truth *t = malloc((w->count + 1) * sizeof *t);
    struct index_hit *hits = malloc(query->k * sizeof *hits);
    assert_true(t && hits);
    uint32_t want = find_truth(w, query, t, query->k), count = 0, good = 0;
    struct err err = {0};
    assert_int_equal(index_search(ix, query, hits, &count, trace, &err), ERR_OK);
    assert_int_equal(count, want);
    for (uint32_t i = 0; i < count; i++) {
        check_hit(w, query, hits, i);
        good += hits[i].distance <= t[want - 1].distance + 2e-5f;
        if (query->exact)
            assert_true(fabsf(hits[i].distance - t[i].distance) < 2e-5f);
    }
    free(t);
    free(hits);
    return want ? (double)good / want : 1;
}

double world_recalls(struct world *w, struct index *ix, struct index_query query, unsigned n)
{
    float *v = malloc(w->dimension * sizeof *v);
    assert_non_null(v);
    double sum = 0;
    for (unsigned i = 0; i < n; i++) {
        world_query(w, v);
        query.vector = v;
        sum += world_recall(w, ix, &query, NULL);
    }
    free(v);
    return sum / n;
}

static void print(void *user, const char *sentence)
{
    print_message("# %s\n", sentence);
}

void world_check(struct index *ix)
{
    assert_int_equal(index_check(ix, print, NULL, NULL), ERR_OK);
}
