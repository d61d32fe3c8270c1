/* Searching: recall floors against brute force, filters, items, exactness, and the corners. */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 5000

/* One for the tests that only read. */
static struct world big;
static struct index *big_index;

static int set_up(void **state)
{
    world_init(&big, 128, ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        big.items[i] = i < 800 ? -7 : (int64_t)(i / 5); /* one item of many rows, many of five */
    big_index = world_index(&big, 0);
    world_insert_all(&big, big_index);
    return 0;
}

static int tear_down(void **state)
{
    index_free(big_index);
    world_free(&big);
    return 0;
}

static void test_small_is_exact(void **state)
{
    static const uint32_t dimensions[] = {1, 2, 3, 63, 64, 65, 100, 200, 1280};
    for (size_t i = 0; i < sizeof dimensions / sizeof *dimensions; i++) {
        struct world w;
        world_init(&w, dimensions[i], 120);
        struct index *ix = world_index(&w, 0);
        world_insert_all(&w, ix);
        static const uint32_t ks[] = {1, 10, 119, 120, 121, 500};
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++) {
            struct index_query q = world_ask(&w, NULL, ks[k]);
            /* One dimension and unit length: all rows are one of two points, and any of them is right. */
            assert_true(world_recalls(&w, ix, q, 3) > 0.999);
            q.exact = true;
            assert_true(world_recalls(&w, ix, q, 3) > 0.999);
        }
        world_check(ix);
        index_free(ix);
        world_free(&w);
    }
}

/* Both ways look at the clock, and give up as a search that found nothing out. */
static void test_deadline(void **state)
{
    float v[128];
    struct index_hit hits[10];
    uint32_t count = 77;
    struct err err = {0};
    world_query(&big, v);
    struct index_query q = world_ask(&big, v, 10);
    q.deadline_ms = clock_now_ms() + 100000;
    assert_int_equal(index_search(big_index, &q, hits, &count, NULL, &err), ERR_OK);
    assert_int_equal(count, 10);
    count = 77;
    q.deadline_ms = 1;
    q.exact = true;
    assert_int_equal(index_search(big_index, &q, hits, &count, NULL, &err), ERR_TIMEOUT);
    assert_string_equal(err.message, "The search of the index ran out of time.");
    q.exact = false;
    q.ef = 240; /* a walk yet, and long enough for a look */
    struct index_trace trace = {0};
    assert_int_equal(index_search(big_index, &q, hits, &count, &trace, &err), ERR_TIMEOUT);
    assert_true(trace.walked && !trace.scanned);
    assert_int_equal(count, 77);
}

static void test_nothing(void **state)
{
    struct world w;
    world_init(&w, 16, 3);
    struct index *ix = world_index(&w, 0);
    memset(w.alive, 0, w.count);
    for (int exact = 0; exact < 2; exact++) {
        struct index_query q = world_ask(&w, NULL, 10);
        q.exact = exact;
        assert_true(world_recalls(&w, ix, q, 1) == 1);
    }
    index_delete(ix, 2);
    index_delete(ix, 4000000000u);
    assert_false(index_find(ix, 2, NULL, NULL));
    struct index_stats st;
    index_stats(ix, &st);
    assert_int_equal(st.live + st.dead + st.waiting, 0);
    world_check(ix);
    index_free(ix);
    index_free(NULL);
    world_free(&w);
}

static void test_recall_floor(void **state)
{
    struct index_stats st;
    index_stats(big_index, &st);
    assert_true(st.graph);
    assert_int_equal(st.live, ROWS);
    struct index_query q = world_ask(&big, NULL, 10);
    assert_true(world_recalls(&big, big_index, q, 60) >= 0.98);
    q.recall = 0.999f;
    assert_true(world_recalls(&big, big_index, q, 60) >= 0.997);
    q.k = 1;
    assert_true(world_recalls(&big, big_index, q, 60) >= 0.98);
}

/* The walk is what is measured above, and it looks at few rows. */
static void test_walk_is_taken(void **state)
{
    float v[128];
    struct index_trace trace;
    world_query(&big, v);
    struct index_query q = world_ask(&big, v, 10);
    q.ef = 40;
    assert_true(world_recall(&big, big_index, &q, &trace) >= 0.5);
    assert_true(trace.walked && !trace.scanned);
    assert_true(trace.codes < ROWS / 5);
    assert_true(trace.vectors <= 60);
    q.exact = true;
    assert_true(world_recall(&big, big_index, &q, &trace) > 0.999);
    assert_true(trace.scanned && !trace.walked);
}

static void test_exact_and_deep(void **state)
{
    struct index_query q = world_ask(&big, NULL, 100);
    q.exact = true;
    assert_true(world_recalls(&big, big_index, q, 5) > 0.9999);
    /* A page as deep as the collection: no row is missing, and they are in order. */
    q.k = LIMIT_WINDOW;
    assert_true(world_recalls(&big, big_index, q, 1) > 0.9999);
    q.exact = false;
    assert_true(world_recalls(&big, big_index, q, 1) > 0.9999);
    q.k = 1000;
    assert_true(world_recalls(&big, big_index, q, 2) > 0.98);
}

static void fill_filter(struct world *w, const float *pivot, int kind, double rate, uint64_t *words)
{
    /* The share of rows on one side of a distance is found by a sample of the distances themselves. */
    float *d = malloc(w->count * sizeof *d);
    assert_non_null(d);
    for (uint32_t i = 0; i < w->count; i++)
        d[i] = kind == 0   ? (float)world_random(w)
               : kind == 1 ? world_distance(w, pivot, i)
                           : -world_distance(w, pivot, i);
    float low = -5, high = 4294967296.0f;
    for (int step = 0; step < 60; step++) {
        float middle = (low + high) / 2;
        uint32_t n = 0;
        for (uint32_t i = 0; i < w->count; i++)
            n += d[i] <= middle;
        *(n > rate * w->count ? &high : &low) = middle;
    }
    memset(words, 0, (w->count + 63) / 64 * sizeof *words);
    for (uint32_t i = 0; i < w->count; i++)
        if (d[i] <= low)
            words[i / 64] |= 1ull << (i % 64);
    free(d);
}

static void test_filters(void **state)
{
    static const double rates[] = {0.9, 0.5, 0.1, 0.01, 0.001, 0};
    uint64_t words[(ROWS + 63) / 64];
    float v[128];
    for (int kind = 0; kind < 3; kind++)
        for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
            for (int group = 0; group < 2; group++) {
                double recall = 0;
                for (int n = 0; n < 4; n++) {
                    world_query(&big, v);
                    fill_filter(&big, v, kind, rates[r], words);
                    struct index_query q = world_ask(&big, v, 10);
                    q.allowed = words;
                    q.allowed_words = sizeof words / sizeof *words;
                    q.group = group;
                    struct index_trace trace;
                    recall += world_recall(&big, big_index, &q, &trace) / 4;
                    /* The walk suffices where it meets allowed rows. */
                    if (rates[r] >= 0.5 && kind != 2)
                        assert_true(trace.walked && !trace.scanned);
                    q.exact = true;
                    assert_true(world_recall(&big, big_index, &q, NULL) > 0.9999);
                }
                assert_true(recall >= 0.95);
            }
    /* Slots beyond the words may not be hits. */
    struct index_query q = world_ask(&big, v, 10);
    memset(words, 0xff, sizeof words);
    q.allowed = words;
    q.allowed_words = 2;
    assert_true(world_recall(&big, big_index, &q, NULL) > 0.9999);
    q.allowed_words = 0;
    assert_true(world_recall(&big, big_index, &q, NULL) == 1);
}

/* What a filter costs and keeps ends with its search: the working memory serves the next one, which has none. */
static void test_filter_leaves_nothing(void **state)
{
    uint64_t words[(ROWS + 63) / 64];
    float v[128];
    struct index_trace before, filtered, after;
    world_query(&big, v);
    struct index_query q = world_ask(&big, v, 10);
    double recall = world_recall(&big, big_index, &q, &before);
    fill_filter(&big, v, 0, 0.5, words);
    q.allowed = words;
    q.allowed_words = sizeof words / sizeof *words;
    assert_true(world_recall(&big, big_index, &q, &filtered) >= 0.9);
    assert_true(filtered.walked && !filtered.scanned);
    /* Of rows that only show the way no code is read. */
    assert_true(filtered.codes < before.codes);
    q.allowed = NULL;
    assert_true(world_recall(&big, big_index, &q, &after) == recall);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_group(void **state)
{
    struct index_query q = world_ask(&big, NULL, 10);
    q.group = true;
    assert_true(world_recalls(&big, big_index, q, 40) >= 0.98);
    q.k = 200;
    assert_true(world_recalls(&big, big_index, q, 3) >= 0.98);
    /* More items than there are: all 1 + 840 of them. */
    q.k = 2000;
    assert_true(world_recalls(&big, big_index, q, 1) > 0.9999);
    /* Asked with pictures of the item of 800 rows, nine others are still found. */
    q.k = 10;
    float v[128];
    for (uint32_t slot = 0; slot < 10; slot++) {
        kernel_get()->f16_to_f32(world_vector(&big, slot), v, 128);
        q.vector = v;
        assert_true(world_recall(&big, big_index, &q, NULL) >= 0.9);
    }
}

static bool is_even(void *user, uint32_t slot)
{
    return slot % 2 == 0;
}

static const uint16_t *only_thirds(void *user, uint32_t slot)
{
    return slot % 3 ? NULL : world_vector(user, slot);
}

static int64_t backwards(void *user, uint32_t slot)
{
    return -(int64_t)slot;
}

static void test_callbacks(void **state)
{
    float v[128];
    struct index_hit hits[600];
    uint32_t count;
    world_query(&big, v);
    struct index_query q = world_ask(&big, v, 20);
    q.visible = is_even;
    assert_int_equal(index_search(big_index, &q, hits, &count, NULL, NULL), ERR_OK);
    assert_int_equal(count, 20);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(hits[i].slot % 2, 0);
    /* Rows whose vector cannot be had are left out, and as many others come. */
    q.vector_of = only_thirds;
    q.k = 600;
    assert_int_equal(index_search(big_index, &q, hits, &count, NULL, NULL), ERR_OK);
    assert_int_equal(count, 600);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(hits[i].slot % 6, 0);
    /* The nearest others: what a filter that leaves out the same rows would give. */
    uint64_t *sixths = calloc(big.count / 64 + 1, sizeof *sixths);
    struct index_hit *wanted = malloc(600 * sizeof *wanted);
    assert_true(sixths && wanted);
    for (uint32_t slot = 0; slot < big.count; slot += 6)
        sixths[slot / 64] |= 1ull << slot % 64;
    for (int group = 0; group < 2; group++)
        for (int exact = 0; exact < 2; exact++) {
            q.group = group;
            q.exact = exact;
            struct index_query same = world_ask(&big, v, q.k);
            same.group = group;
            same.exact = true;
            same.allowed = sixths;
            same.allowed_words = big.count / 64 + 1;
            uint32_t want;
            assert_int_equal(index_search(big_index, &same, wanted, &want, NULL, NULL), ERR_OK);
            assert_int_equal(index_search(big_index, &q, hits, &count, NULL, NULL), ERR_OK);
            assert_int_equal(count, want);
            for (uint32_t i = 0; i < count; i++)
                assert_int_equal(hits[i].slot, wanted[i].slot);
        }
    free(sixths);
    free(wanted);
    struct world w;
    world_init(&w, 8, 10);
    for (uint32_t i = 1; i < 10; i++)
        memcpy(world_vector(&w, i), world_vector(&w, 0), 16);
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    q = world_ask(&w, v, 4);
    q.tie = backwards;
    assert_int_equal(index_search(ix, &q, hits, &count, NULL, NULL), ERR_OK);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(hits[i].slot, 9 - i);
    index_free(ix);
    world_free(&w);
}

/* Thousands of one vector, among others: all are reached, and the others are not hidden. */
static void test_duplicates(void **state)
{
    struct world w;
    world_init(&w, 64, 4000);
    for (uint32_t i = 1; i < 4000; i += 2)
        memcpy(world_vector(&w, i), world_vector(&w, 1), 128);
    memset(world_vector(&w, 0), 0, 128); /* and a vector of zeros */
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    assert_int_equal(index_settle(ix, 1, NULL), ERR_OK);
    world_check(ix);
    float v[64];
    kernel_get()->f16_to_f32(world_vector(&w, 1), v, 64);
    static const uint32_t ks[] = {10, 500, 2001, 4000};
    for (size_t i = 0; i < 4; i++) {
        struct index_query q = world_ask(&w, v, ks[i]);
        assert_true(world_recall(&w, ix, &q, NULL) > 0.98);
    }
    struct index_query q = world_ask(&w, NULL, 10);
    assert_true(world_recalls(&w, ix, q, 30) >= 0.97);
    index_free(ix);
    world_free(&w);
}

/* Rows that come in the order of their clusters, as the pictures of a folder do. */
static int by_first(const void *a, const void *b)
{
    return memcmp(a, b, 2);
}

static void test_sorted_order(void **state)
{
    struct world w;
    world_init(&w, 32, 4000);
    qsort(w.vectors, w.count, 64, by_first);
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    assert_int_equal(index_settle(ix, 1, NULL), ERR_OK);
    world_check(ix);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 60) >= 0.97);
    index_free(ix);
    world_free(&w);
}

static void test_cosine(void **state)
{
    struct world w;
    world_init(&w, 96, 3000);
    w.metric = INDEX_COSINE;
    float v[96];
    for (uint32_t i = 0; i < w.count; i++) {
        kernel_get()->f16_to_f32(world_vector(&w, i), v, 96);
        for (int j = 0; j < 96; j++)
            v[j] *= 0.2f + (float)(i % 50);
        kernel_get()->f32_to_f16(v, world_vector(&w, i), 96);
    }
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    double recall = 0;
    for (int i = 0; i < 40; i++) {
        world_query(&w, v);
        for (int j = 0; j < 96; j++)
            v[j] *= 3.5f;
        struct index_query q = world_ask(&w, v, 10);
        recall += world_recall(&w, ix, &q, NULL) / 40;
    }
    assert_true(recall >= 0.98);
    index_free(ix);
    world_free(&w);
}

static void test_long_vectors(void **state)
{
    /* Not of unit length: squared distance must not be mistaken for an angle. */
    struct world w;
    world_init(&w, 48, 3000);
    float v[48];
    for (uint32_t i = 0; i < w.count; i++) {
        kernel_get()->f16_to_f32(world_vector(&w, i), v, 48);
        for (int j = 0; j < 48; j++)
            v[j] *= 1 + 0.5f * (float)(i % 7);
        kernel_get()->f32_to_f16(v, world_vector(&w, i), 48);
    }
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    double recall = 0;
    for (int i = 0; i < 40; i++) {
        world_query(&w, v);
        for (int j = 0; j < 48; j++)
            v[j] *= 2;
        struct index_query q = world_ask(&w, v, 10);
        q.recall = 0.999f;
        recall += world_recall(&w, ix, &q, NULL) / 40;
    }
    assert_true(recall >= 0.98);
    index_free(ix);
    world_free(&w);
}

static void test_limits(void **state)
{
    struct index *ix = NULL;
    struct err err = {0};
    struct index_settings s = {.dimension = 0};
    assert_int_equal(index_new(&s, &ix, &err), ERR_INVALID);
    s.dimension = LIMIT_DIMENSION + 1;
    assert_int_equal(index_new(&s, &ix, &err), ERR_INVALID);
    s.dimension = 8;
    s.threads = LIMIT_INDEX_THREADS + 1;
    assert_int_equal(index_new(&s, &ix, &err), ERR_INVALID);
    assert_null(ix);
    float v[128] = {1};
    struct index_hit hit;
    uint32_t count = 77;
    struct index_query q = world_ask(&big, v, 0);
    assert_int_equal(index_search(big_index, &q, &hit, &count, NULL, &err), ERR_INVALID);
    q.k = LIMIT_WINDOW + 1;
    assert_int_equal(index_search(big_index, &q, &hit, &count, NULL, &err), ERR_INVALID);
    q.k = 1;
    q.vector_of = NULL;
    assert_int_equal(index_search(big_index, &q, &hit, &count, NULL, &err), ERR_INVALID);
    assert_int_equal(count, 77);
    struct index_row row = {.slot = LIMIT_RECORDS, .vector = world_vector(&big, 0)};
    assert_int_equal(index_insert(big_index, &row, &err), ERR_TOO_LARGE);
    s = (struct index_settings){.dimension = LIMIT_DIMENSION, .ef_build = LIMIT_INDEX_EF_BUILD + 100};
    assert_int_equal(index_new(&s, &ix, &err), ERR_OK);
    index_free(ix);
    /* The largest ef_build there is links as well as any. */
    struct world w;
    world_init(&w, 16, 2300);
    s.dimension = 16;
    assert_int_equal(index_new(&s, &ix, &err), ERR_OK);
    world_insert_all(&w, ix);
    assert_int_equal(index_settle(ix, 1, NULL), ERR_OK);
    world_check(ix);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 10) >= 0.97);
    index_free(ix);
    world_free(&w);
}

static void test_ef(void **state)
{
    uint32_t last = 0;
    static const float recalls[] = {0.5f, 0.95f, 0.98f, 0.99f, 0.995f, 0.999f, 1.0f};
    for (size_t i = 0; i < sizeof recalls / sizeof *recalls; i++) {
        uint32_t ef = index_ef(10, recalls[i]);
        assert_true(ef >= 10 && ef >= last);
        last = ef;
    }
    assert_int_equal(index_ef(10, 0), index_ef(10, 0.99f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_is_exact),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_recall_floor),
        cmocka_unit_test(test_walk_is_taken),
        cmocka_unit_test(test_exact_and_deep),
        cmocka_unit_test(test_filter_leaves_nothing), /* the first search under a filter of all */
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_sorted_order),
        cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_long_vectors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ef),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
