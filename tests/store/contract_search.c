/*
 * What store.h promises of a search, run against every backend. The oracle sorts everything and picks;
 * vectors of small whole numbers make sums exact in any order, and many distances equal, so that even ties
 * are compared.
 */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"

#include <math.h>

static const float v1[4] = {1, 2, 3, 4};

#define ROWS 400
#define DIM 6

struct row {
    int64_t fileid, itemid;
    float vector[DIM];
    float distance;
    bool there;
};

static enum store_metric oracle_metric;

static float oracle_distance(const float *q, const float *x)
{
    double l2 = 0, dot = 0, qq = 0, xx = 0;
    for (int i = 0; i < DIM; i++) {
        double a = (double)q[i], b = (double)x[i];
        l2 += (a - b) * (a - b);
        dot += a * b;
        qq += a * a;
        xx += b * b;
    }
    if (oracle_metric == STORE_L2)
        return (float)l2;
    if (oracle_metric == STORE_IP)
        return (float)dot;
    return qq > 0 && xx > 0 ? (float)(dot / sqrt(qq * xx)) : 0;
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->distance != y->distance)
        return (x->distance < y->distance) == (oracle_metric == STORE_L2) ? -1 : 1;
    return (x->fileid > y->fileid) - (x->fileid < y->fileid);
}

/* All that match, in order; the number of them. */
static size_t oracle(const struct row *rows, const float *q, bool group, struct row *out)
{
    struct row sorted[ROWS];
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].there) {
            sorted[n] = rows[i];
            sorted[n++].distance = oracle_distance(q, rows[i].vector);
        }
    qsort(sorted, n, sizeof *sorted, compare_rows);
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t j = 0; group && j < kept && !seen; j++)
            seen = out[j].itemid == sorted[i].itemid;
        if (!seen)
            out[kept++] = sorted[i];
    }
    return kept;
}

/* Every page of one size against the oracle: none overlaps, none skips, none is short. */
static void check_pages(struct store *s, const struct row *rows, const float *q, bool group, uint32_t limit)
{
    struct row want[ROWS];
    size_t n = oracle(rows, q, group, want), at = 0;
    for (uint32_t offset = 0;; offset += limit) {
        struct store_query query = {
            .vector = q, .limit = limit, .offset = offset, .group = group, .with_vectors = offset == 0};
        struct store_records r = {0};
        OK(store_search(s, "c", &query, 0, &r, err));
        size_t expected = offset >= n ? 0 : n - offset < limit ? n - offset : limit;
        assert_int_equal(r.count, expected);
        for (size_t i = 0; i < r.count; i++, at++) {
            assert_true(
                fabsf(r.items[i].distance - want[at].distance) <= 1e-6f * (1 + fabsf(want[at].distance)));
            if (oracle_metric != STORE_COSINE) /* where equal distances are equal in every order of summing */
                assert_int_equal(r.items[i].fileid, want[at].fileid);
            assert_int_equal(r.items[i].vector != NULL, query.with_vectors);
        }
        bool last = r.count == 0;
        store_records_free(&r);
        if (last)
            break;
    }
    assert_int_equal(at, n);
}

static struct store_write put_of(const struct row *row)
{
    return (struct store_write){.kind = STORE_PUT,
        .fileid = row->fileid,
        .has_itemid = true,
        .itemid = row->itemid,
        .tags = "[]",
        .brief = "{}",
        .vector = row->vector};
}

/* Random replaces, inserts and deletes. One row at most once in a call: its vector is pointed at. */
static void churn(struct store *s, struct row *rows, uint64_t *seed)
{
    for (int batch = 0; batch < 4; batch++) {
        struct store_write w[15];
        for (size_t i = 0; i < 15; i++) {
            struct row *row = &rows[i * (ROWS / 15) + test_random(seed) % (ROWS / 15)];
            row->there = test_random(seed) % 3 != 0;
            if (row->there) {
                row->itemid = test_random(seed) % 60;
                test_small_vector(seed, row->vector, DIM);
                w[i] = put_of(row);
            } else {
                w[i] = (struct store_write){.kind = STORE_DELETE, .fileid = row->fileid};
            }
        }
        OK(store_write(s, "c", w, 15, 0, err));
    }
}

static void check_search(struct store *s, enum store_metric metric, uint64_t seed)
{
    static struct row rows[ROWS];
    test_create(s, "c", DIM, metric);
    oracle_metric = metric;
    struct store_write w[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = (struct row){
            .fileid = (int64_t)((i * 7919) % 10007) - 5000, .itemid = test_random(&seed) % 60, .there = true};
        test_small_vector(&seed, rows[i].vector, DIM);
        w[i] = put_of(&rows[i]);
    }
    OK(store_write(s, "c", w, ROWS, 0, err));
    for (int round = 0; round < 4; round++) {
        float q[DIM];
        test_small_vector(&seed, q, DIM);
        check_pages(s, rows, q, true, 10);
        check_pages(s, rows, q, false, 37);
        check_pages(s, rows, q, true, 1);
        check_pages(s, rows, q, true, ROWS);
        check_pages(s, rows, rows[round].vector, round % 2, 5);
        churn(s, rows, &seed);
    }
    OK(store_drop(s, "c", 0, err));
}

static void test_search_l2(void **state)
{
    check_search(test_store_of(state), STORE_L2, 1234567);
}

static void test_search_ip(void **state)
{
    check_search(test_store_of(state), STORE_IP, 7654321);
}

static void test_search_cosine(void **state)
{
    check_search(test_store_of(state), STORE_COSINE, 424242);
}

/* A vector finds itself at 0 (1 for the cosine), whatever its digits. */
static void test_search_self(void **state)
{
    struct store *s = test_store_of(state);
    enum { N = 1280 };
    float v[N], w[N];
    uint64_t seed = 99;
    test_create(s, "l2", N, STORE_L2);
    test_create(s, "cos", N, STORE_COSINE);
    for (int i = 0; i < N; i++) {
        v[i] = (float)test_random(&seed) / 4294967296.0f / 30;
        w[i] = -v[i] / 3;
    }
    OK(test_put(s, "l2", 1, NULL, v, err));
    OK(test_put(s, "cos", 1, NULL, v, err));
    OK(test_put(s, "cos", 2, NULL, w, err));
    struct store_query q = {.vector = v, .limit = 5};
    struct store_records r = {0};
    OK(store_search(s, "l2", &q, 0, &r, err));
    assert_true(r.items[0].distance == 0 && !signbit(r.items[0].distance));
    store_records_free(&r);
    OK(store_search(s, "cos", &q, 0, &r, err));
    assert_true(r.items[0].fileid == 1 && r.items[0].distance <= 1 && r.items[0].distance > 0.99999f);
    assert_true(r.items[1].fileid == 2 && r.items[1].distance >= -1 && r.items[1].distance < -0.999f);
    store_records_free(&r);
}

static void test_search_limits(void **state)
{
    struct store *s = test_store_of(state);
    struct store_records r = {0};
    test_create(s, "c", 4, STORE_L2);
    struct store_query q = {.vector = v1, .limit = 0};
    REFUSED(ERR_INVALID, "limit", store_search(s, "c", &q, 0, &r, err));
    q.limit = LIMIT_WINDOW + 1;
    REFUSED(ERR_INVALID, "16384", store_search(s, "c", &q, 0, &r, err));
    q.limit = 1;
    q.offset = LIMIT_WINDOW;
    REFUSED(ERR_INVALID, "16384", store_search(s, "c", &q, 0, &r, err));
    q.offset = UINT32_MAX; /* the sum must not wrap */
    REFUSED(ERR_INVALID, "16384", store_search(s, "c", &q, 0, &r, err));
    q = (struct store_query){.limit = 1};
    REFUSED(ERR_INVALID, "vector", store_search(s, "c", &q, 0, &r, err));
    q = (struct store_query){.vector = v1, .limit = LIMIT_WINDOW, .group = true};
    OK(store_search(s, "c", &q, 0, &r, err)); /* an empty collection */
    assert_int_equal(r.count, 0);
    store_records_free(&r);
    OK(test_put(s, "c", 1, NULL, v1, err));
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_int_equal(r.count, 1);
    store_records_free(&r);
    q = (struct store_query){.vector = v1, .limit = 1, .offset = LIMIT_WINDOW - 1};
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_int_equal(r.count, 0);
    store_records_free(&r);
}

static void test_deep_page(void **state)
{
    struct store *s = test_store_of(state);
    enum { N = 16500 };
    test_create(s, "c", 1, STORE_L2);
    struct store_write *w = calloc(N, sizeof *w);
    float *v = calloc(N, sizeof *v);
    assert_true(w && v);
    for (int i = 0; i < N; i++) {
        v[i] = (float)(i / 2); /* beyond 2048 many are equal in 16 bits */
        w[i] = (struct store_write){.kind = STORE_PUT,
            .fileid = N - i,
            .has_itemid = true,
            .itemid = i,
            .tags = "[]",
            .brief = "{}",
            .vector = &v[i]};
    }
    OK(store_write(s, "c", w, LIMIT_WRITES, 0, err));
    OK(store_write(s, "c", w + LIMIT_WRITES, N - LIMIT_WRITES, 0, err));
    float zero = 0;
    struct store_records all = {0}, page = {0};
    struct store_query q = {.vector = &zero, .limit = LIMIT_WINDOW, .group = true};
    OK(store_search(s, "c", &q, 0, &all, err));
    assert_int_equal(all.count, LIMIT_WINDOW);
    for (size_t i = 1; i < all.count; i++)
        assert_true(all.items[i - 1].distance < all.items[i].distance ||
                    (all.items[i - 1].distance == all.items[i].distance &&
                        all.items[i - 1].fileid < all.items[i].fileid));
    q.limit = 100;
    q.offset = LIMIT_WINDOW - 100;
    OK(store_search(s, "c", &q, 0, &page, err));
    assert_int_equal(page.count, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(page.items[i].fileid, all.items[q.offset + i].fileid);
    store_records_free(&all);
    store_records_free(&page);
    free(w);
    free(v);
}

/* An item with more records than one answer can have. */
static void test_large_item(void **state)
{
    struct store *s = test_store_of(state);
    struct store_records r = {0};
    float v[4] = {1, 2, 3, 4};
    struct store_write *w = calloc(LIMIT_WINDOW + 1, sizeof *w);
    assert_non_null(w);
    test_create(s, "c", 4, STORE_L2);
    for (int i = 0; i <= LIMIT_WINDOW; i++) {
        w[i] = (struct store_write){.kind = STORE_PUT, .fileid = i, .has_itemid = true, .itemid = 5};
        w[i].tags = "[]";
        w[i].brief = "{}";
        w[i].vector = v;
    }
    OK(store_write(s, "c", w, LIMIT_WINDOW, 0, err));
    OK(store_get_item(s, "c", 5, 0, &r, err));
    assert_true(r.count == LIMIT_WINDOW && !r.more);
    store_records_free(&r);
    OK(store_write(s, "c", w + LIMIT_WINDOW, 1, 0, err));
    OK(store_get_item(s, "c", 5, 0, &r, err));
    assert_true(r.count == LIMIT_WINDOW && r.more);
    assert_int_equal(r.items[LIMIT_WINDOW - 1].fileid, LIMIT_WINDOW - 1);
    store_records_free(&r);
    struct store_query q = {.vector = v, .limit = 10, .group = true};
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_true(r.count == 1 && r.items[0].fileid == 0);
    store_records_free(&r);
    free(w);
}

int main(int argc, char **argv)
{
    test_backend = argc > 1 ? argv[1] : "memory";
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)
        T(test_search_l2),
        T(test_search_ip),
        T(test_search_cosine),
        T(test_search_self),
        T(test_search_limits),
        T(test_deep_page),
        T(test_large_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
