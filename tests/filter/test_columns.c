/* The columns as their callers see them: writes, results, the cache, limits, readers beside each other. */
#include "base/limits.h"
#include "filter/columns.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum result put(
    struct filter_columns *c, uint32_t row, const char *tags, const char *brief, struct err *err)
{
    const struct filter_columns_row r = {.row = row,
        .fileid = row,
        .itemid = row / 10,
        .tags = tags,
        .tags_len = tags ? strlen(tags) : 0,
        .brief = brief,
        .brief_len = brief ? strlen(brief) : 0};
    return filter_columns_put(c, &r, err);
}

static struct filter_rows *select_rows(struct filter_columns *c, const char *text)
{
    struct filter *filter = NULL;
    struct filter_rows *rows = NULL;
    struct err err;
    if (filter_parse(text, strlen(text), &filter, &err))
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(filter_columns_select(c, filter, &rows, NULL), ERR_OK);
    filter_free(filter);
    return rows;
}

static uint64_t count(struct filter_columns *c, const char *text)
{
    struct filter_rows *rows = select_rows(c, text);
    uint64_t n = filter_rows_count(rows);
    filter_rows_free(rows);
    return n;
}

static struct filter_columns *new_columns(void)
{
    struct filter_columns *c = NULL;
    assert_int_equal(filter_columns_new(NULL, &c, NULL), ERR_OK);
    return c;
}

static void nothing_matches_in_nothing(void **state)
{
    struct filter_columns *c = new_columns();
    struct filter_rows *rows = NULL;
    (void)state;
    assert_int_equal(count(c, "fileid != 1"), 0);
    assert_int_equal(count(c, "1 == 1"), 0);
    assert_int_equal(count(c, "brief[\"a\"] != 1 and not (tags[0] == \"a\")"), 0);
    assert_int_equal(filter_columns_select(c, NULL, &rows, NULL), ERR_OK);
    assert_int_equal(filter_rows_count(rows), 0);
    filter_rows_free(rows);
    filter_columns_remove(c, 7);
    filter_columns_free(c);
    filter_columns_free(NULL);
    filter_rows_free(NULL);
}

static void writes_are_seen_at_once(void **state)
{
    struct filter_columns *c = new_columns();
    struct filter_rows *rows = NULL;
    (void)state;
    assert_int_equal(put(c, 3, "[\"a\"]", "{\"k\": 1}", NULL), ERR_OK);
    assert_int_equal(put(c, 100000, "[\"a\", \"b\"]", "{\"k\": 2}", NULL), ERR_OK);
    assert_int_equal(count(c, "brief[\"k\"] == 1"), 1);
    assert_int_equal(count(c, "array_contains(tags, \"a\")"), 2);
    assert_int_equal(put(c, 3, "[\"b\"]", "{\"k\": \"text\"}", NULL), ERR_OK); /* another type */
    assert_int_equal(count(c, "brief[\"k\"] == 1"), 0);
    assert_int_equal(count(c, "brief[\"k\"] == \"text\""), 1);
    assert_int_equal(count(c, "array_contains(tags, \"a\")"), 1);
    assert_int_equal(count(c, "array_contains(tags, \"b\")"), 2);
    assert_int_equal(put(c, 3, "[]", "{}", NULL), ERR_OK); /* nothing of it is left */
    assert_int_equal(count(c, "exists brief[\"k\"]"), 1);
    assert_int_equal(count(c, "array_contains(tags, \"b\")"), 1);
    assert_int_equal(count(c, "array_length(tags) == 0"), 1);
    filter_columns_remove(c, 100000);
    assert_int_equal(count(c, "fileid >= 0"), 1);
    filter_columns_remove(c, 3);
    filter_columns_remove(c, 3);
    assert_int_equal(filter_columns_select(c, NULL, &rows, NULL), ERR_OK);
    assert_int_equal(filter_rows_count(rows), 0);
    filter_rows_free(rows);
    filter_columns_free(c);
}

static void rows_can_be_read_in_every_way(void **state)
{
    struct filter_columns *c = new_columns();
    uint64_t words[3000] = {0};
    uint32_t list[1000];
    (void)state;
    for (uint32_t i = 0; i < 150000; i += i < 5000 ? 1 : 70)
        assert_int_equal(put(c, i, "[]", "{}", NULL), ERR_OK);
    struct filter_rows *rows = select_rows(c, "fileid % 2 == 0");
    uint64_t n = 0, seen = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        bool there = i < 150000 && i % 2 == 0 && (i < 5000 || (i - 5000) % 70 == 0);
        assert_int_equal(filter_rows_contain(rows, i), there);
        n += there;
    }
    assert_int_equal(filter_rows_count(rows), n);
    filter_rows_words(rows, words, 3000);
    for (uint32_t i = 0; i < 192000; i++)
        assert_int_equal(words[i / 64] >> (i % 64) & 1, filter_rows_contain(rows, i));
    memset(words, 0, sizeof words);
    filter_rows_words(rows, words, 1); /* no further than asked */
    assert_true(words[0] == 0x5555555555555555u && words[1] == 0);
    for (uint32_t last = 0; seen < n;) {
        size_t got = filter_rows_list(rows, seen, list, 1000);
        assert_int_equal(got, n - seen < 1000 ? n - seen : 1000);
        for (size_t i = 0; i < got; i++) {
            assert_true(filter_rows_contain(rows, list[i]) && (list[i] > last || list[i] == 0));
            last = list[i];
        }
        seen += got;
    }
    assert_int_equal(filter_rows_list(rows, n, list, 10), 0);
    assert_non_null(filter_rows_bitmap(rows));
    filter_columns_free(c); /* rows outlive the columns */
    assert_int_equal(filter_rows_count(rows), n);
    filter_rows_free(rows);
}

static uint64_t hits(struct filter_columns *c)
{
    struct filter_columns_stats s;
    filter_columns_stats(c, &s);
    return s.cache_hits;
}

static void results_are_kept_until_a_write(void **state)
{
    struct filter_columns *c = new_columns();
    (void)state;
    assert_int_equal(put(c, 1, "[]", "{}", NULL), ERR_OK);
    assert_int_equal(count(c, "fileid == 1"), 1);
    assert_int_equal(hits(c), 0);
    assert_int_equal(count(c, "fileid == 1"), 1);
    assert_int_equal(hits(c), 1);
    struct filter_rows *old = select_rows(c, "fileid >= 1");
    assert_int_equal(put(c, 2, "[]", "{}", NULL), ERR_OK);
    assert_int_equal(count(c, "fileid >= 1"), 2);
    assert_int_equal(hits(c), 1);
    assert_int_equal(filter_rows_count(old), 1); /* what was given stays what it was */
    filter_rows_free(old);
    filter_columns_remove(c, 2);
    assert_int_equal(count(c, "fileid >= 1"), 1);
    assert_int_equal(hits(c), 1);
    filter_columns_remove(c, 2); /* no write */
    assert_int_equal(count(c, "fileid >= 1"), 1);
    assert_int_equal(hits(c), 2);
    filter_columns_free(c);
}

static void the_cache_is_limited(void **state)
{
    struct filter_columns *c = new_columns();
    char text[64];
    (void)state;
    assert_int_equal(put(c, 1, "[]", "{}", NULL), ERR_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i <= LIMIT_FILTER_CACHE; i++) {
            snprintf(text, sizeof text, "fileid != %d", i + 5);
            assert_int_equal(count(c, text), 1);
            assert_int_equal(count(c, "fileid == 1"), 1); /* used all the time, so it stays */
        }
    }
    assert_int_equal(hits(c), 2 * LIMIT_FILTER_CACHE + 1);
    filter_columns_free(c);
}

static void bad_records_are_refused_and_gone(void **state)
{
    static const char *const bad_tags[] = {"{}", "[1]", "[null]", "[\"a\"", "\"a\"",
        "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\"]"};
    static const char *const bad_briefs[] = {"[]", "1", "null", "{\"a\": 1", "{\"a\": 1, \"a\": 2}"};
    struct filter_columns *c = new_columns();
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof bad_tags / sizeof bad_tags[0]; i++) {
        assert_int_equal(put(c, 1, "[\"a\"]", "{\"a\": 1}", NULL), ERR_OK);
        assert_int_equal(put(c, 1, bad_tags[i], "{}", &err), ERR_INVALID);
        assert_int_equal(count(c, "fileid >= 0"), 0);
    }
    for (size_t i = 0; i < sizeof bad_briefs / sizeof bad_briefs[0]; i++) {
        assert_int_equal(put(c, 1, "[\"a\"]", bad_briefs[i], &err), ERR_INVALID);
        assert_int_equal(count(c, "fileid >= 0 or array_contains(tags, \"a\")"), 0);
    }
    assert_int_equal(put(c, LIMIT_RECORDS, "[]", "{}", &err), ERR_TOO_LARGE);
    assert_int_equal(
        put(c, 1, "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\"]", "{}", &err), ERR_OK);
    assert_int_equal(count(c, "tags[9] == \"10\" and array_length(tags) == 10"), 1);
    filter_columns_free(c);
}

/* More paths than may have columns, and keys too long for one: as correct, only slower. */
static void paths_are_limited(void **state)
{
    struct filter_columns *c = new_columns();
    struct filter_columns_stats stats;
    char brief[2048], text[2048], key[700];
    (void)state;
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(brief, sizeof brief, "{\"key%u\": %u, \"common\": {\"key%u\": \"v%u\"}}", i, i, i, i % 3);
        assert_int_equal(put(c, i, "[]", brief, NULL), ERR_OK);
    }
    filter_columns_stats(c, &stats);
    assert_int_equal(stats.paths, LIMIT_FILTER_PATHS);
    for (uint32_t i = 0; i < 5000; i += 499) {
        snprintf(text, sizeof text, "brief[\"key%u\"] == %u and brief[\"common\"][\"key%u\"] == \"v%u\"", i,
            i, i, i % 3);
        assert_int_equal(count(c, text), 1);
        snprintf(text, sizeof text, "exists brief[\"key%u\"]", i);
        assert_int_equal(count(c, text), 1);
        snprintf(text, sizeof text, "brief[\"key%u\"] != %u", i, i);
        assert_int_equal(count(c, text), 4999);
    }
    for (uint32_t i = 0; i < 5000; i++)
        filter_columns_remove(c, i);
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    snprintf(brief, sizeof brief, "{\"%s\": [1, {\"x\": 5}]}", key);
    assert_int_equal(put(c, 9, "[]", brief, NULL), ERR_OK);
    snprintf(
        text, sizeof text, "brief[\"%s\"][1][\"x\"] == 5 and array_length(brief[\"%s\"]) == 2", key, key);
    assert_int_equal(count(c, text), 1);
    filter_columns_free(c);
}

static void memory_is_given_back(void **state)
{
    struct filter_columns *c = new_columns();
    struct filter_columns_stats first, last;
    char brief[200], tags[200];
    (void)state;
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t i = 0; i < 2000; i++) {
            snprintf(brief, sizeof brief, "{\"name\": \"name %u of round %u\", \"list\": [%u, %u]}", i, round,
                i, round);
            snprintf(tags, sizeof tags, "[\"tag %u %u\"]", i, round);
            assert_int_equal(put(c, i, tags, brief, NULL), ERR_OK);
        }
        filter_columns_stats(c, round == 1 ? &first : &last);
    }
    assert_true(last.bytes < first.bytes * 2);
    assert_int_equal(count(c, "brief[\"name\"] like \"%round 7\""), 2000);
    assert_int_equal(count(c, "brief[\"name\"] like \"%round 6\""), 0);
    filter_columns_free(c);
}

/* Strings that are their own in each record: of few rows they are looked up, of more all are walked over. */
static void strings_of_few_rows_are_looked_up(void **state)
{
    enum { RECORDS = 6000 };
    static const uint32_t among[] = {1, 2, 63, 64, 65, 128, 200, 250, 251, 3000, RECORDS};
    struct filter_columns *c = new_columns();
    char text[200];
    (void)state;
    for (uint32_t i = 0; i < RECORDS; i++) {
        snprintf(text, sizeof text, "{\"n\": %u, \"name\": \"%s-%u\"}", i * 7919 % RECORDS, i % 3 ? "this" : "that", i);
        assert_int_equal(put(c, i, NULL, text, NULL), ERR_OK);
    }
    for (size_t k = 0; k < sizeof among / sizeof among[0]; k++) {
        uint64_t expected = 0;
        snprintf(text, sizeof text, "brief[\"n\"] < %u and brief[\"name\"] like \"%%hat%%5%%\"", among[k]);
        struct filter_rows *rows = select_rows(c, text);
        for (uint32_t i = 0; i < RECORDS; i++) {
            char number[16];
            snprintf(number, sizeof number, "%u", i);
            bool yes = i * 7919 % RECORDS < among[k] && i % 3 == 0 && strchr(number, '5');
            assert_int_equal(filter_rows_contain(rows, i), yes);
            expected += yes;
        }
        assert_int_equal(filter_rows_count(rows), expected);
        filter_rows_free(rows);
    }
    filter_columns_free(c);
}

/* --- threads
 * ----------------------------------------------------------------------------------------------------------
 */

struct shared {
    pthread_rwlock_t lock;
    struct filter_columns *columns;
};

static void *reader(void *user)
{
    struct shared *s = user;
    char text[64];
    for (int i = 0; i < 400; i++) {
        struct filter *filter = NULL;
        struct filter_rows *rows = NULL;
        snprintf(text, sizeof text, "fileid >= %d or brief[\"n\"] == %d", i % 7, i % 5);
        if (filter_parse(text, strlen(text), &filter, NULL))
            abort();
        pthread_rwlock_rdlock(&s->lock);
        if (filter_columns_select(s->columns, filter, &rows, NULL))
            abort();
        pthread_rwlock_unlock(&s->lock);
        if (filter_rows_count(rows) < 10)
            abort();
        filter_rows_free(rows);
        filter_free(filter);
    }
    return NULL;
}

static void readers_run_beside_each_other(void **state)
{
    struct shared s = {.columns = new_columns()};
    pthread_t threads[3];
    char brief[64];
    (void)state;
    assert_int_equal(pthread_rwlock_init(&s.lock, NULL), 0);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(put(s.columns, i, "[\"a\"]", "{\"n\": 1}", NULL), ERR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &s), 0);
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(brief, sizeof brief, "{\"n\": %u}", i % 5);
        pthread_rwlock_wrlock(&s.lock);
        assert_int_equal(put(s.columns, 50 + i, "[\"b\"]", brief, NULL), ERR_OK);
        pthread_rwlock_unlock(&s.lock);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count(s.columns, "array_contains(tags, \"b\")"), 200);
    pthread_rwlock_destroy(&s.lock);
    filter_columns_free(s.columns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_matches_in_nothing),
        cmocka_unit_test(writes_are_seen_at_once),
        cmocka_unit_test(rows_can_be_read_in_every_way),
        cmocka_unit_test(results_are_kept_until_a_write),
        cmocka_unit_test(the_cache_is_limited),
        cmocka_unit_test(bad_records_are_refused_and_gone),
        cmocka_unit_test(paths_are_limited),
        cmocka_unit_test(memory_is_given_back),
        cmocka_unit_test(strings_of_few_rows_are_looked_up),
        cmocka_unit_test(readers_run_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
