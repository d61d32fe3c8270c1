/*
 * What store.h promises, run against every backend: `contract memory`, `contract embedded`. Nothing here may
 * know how a backend works; reopening is tested where the backend keeps anything. Searching is in
 * contract_search.c.
 */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"

#include <math.h>
#include <pthread.h>

static const float v1[4] = {1, 2, 3, 4}, v2[4] = {-1, 0.5f, 0, 2};

static struct store_records get(struct store *s, const char *collection, int64_t fileid)
{
    struct store_records records = {0};
    OK(store_get_file(s, collection, fileid, 0, &records, err));
    return records;
}

/* --- collections ---------------------------------------------------------------------------------------- */

static void test_collections(void **state)
{
    struct store *s = test_store_of(state);
    char **names = NULL;
    size_t count = 1;
    OK(store_list(s, &names, &count, err));
    assert_int_equal(count, 0);
    free(names);
    test_create(s, "b", 4, STORE_L2);
    test_create(s, "a_1", 4, STORE_IP);
    test_create(s, "Z", 7, STORE_COSINE);
    test_create(s, "_", 1, STORE_L2);
    struct store_settings again = {.model = "other", .dimension = 9};
    REFUSED(ERR_EXISTS, "\"b\"", store_create(s, "b", &again, 0, err));
    OK(store_list(s, &names, &count, err));
    assert_int_equal(count, 4);
    const char *want[] = {"Z", "_", "a_1", "b"}; /* by bytes */
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(names[i], want[i]);
    free(names);
    struct store_settings settings;
    OK(store_settings(s, "Z", &settings, err));
    assert_string_equal(settings.model, "some-model");
    assert_int_equal(settings.dimension, 7);
    assert_int_equal(settings.metric, STORE_COSINE);
    assert_true(settings.thumbnails);
    assert_string_equal(settings.input, "");
    struct store_settings sees = {.model = "m", .dimension = 4, .input = "320x320 stretch"};
    OK(store_create(s, "sees", &sees, 0, err));
    OK(store_settings(s, "sees", &settings, err));
    assert_string_equal(settings.input, "320x320 stretch");
    OK(store_drop(s, "sees", 0, err));
    OK(store_drop(s, "b", 0, err));
    REFUSED(ERR_NOT_FOUND, "\"b\"", store_drop(s, "b", 0, err));
    OK(store_list(s, &names, &count, err));
    assert_int_equal(count, 3);
    free(names);
    test_create(s, "b", 5, STORE_L2); /* a new one: nothing of the old is left */
    assert_int_equal(test_count(s, "b"), 0);
}

static void test_drop_removes_records(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    OK(test_put(s, "c", 1, NULL, v1, err));
    OK(store_drop(s, "c", 0, err));
    test_create(s, "c", 4, STORE_L2);
    assert_int_equal(test_count(s, "c"), 0);
    struct store_records r = get(s, "c", 1);
    assert_int_equal(r.count, 0);
    store_records_free(&r);
}

static void test_names(void **state)
{
    struct store *s = test_store_of(state);
    struct store_settings settings = {.model = "m", .dimension = 4};
    char longest[LIMIT_COLLECTION_NAME + 2];
    memset(longest, 'n', sizeof longest);
    longest[LIMIT_COLLECTION_NAME + 1] = '\0';
    const char *bad[] = {"", "1a", "a-b", "a b", "a/b", "..", ".", "a.b", "\xc3\xa4", "a\n", longest};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        assert_int_equal(store_create(s, bad[i], &settings, 0, &err), ERR_INVALID);
        assert_string_equal(err.field, "collection");
        assert_int_equal(store_drop(s, bad[i], 0, NULL), ERR_INVALID);
    }
    longest[LIMIT_COLLECTION_NAME] = '\0';
    OK(store_create(s, longest, &settings, 0, err));
    OK(test_put(s, longest, 1, NULL, v1, err));
    assert_int_equal(test_count(s, longest), 1);
    OK(store_drop(s, longest, 0, err));
    assert_int_equal(store_count(s, longest, 0, &(uint64_t){0}, NULL), ERR_NOT_FOUND);
}

static void test_settings_limits(void **state)
{
    struct store *s = test_store_of(state);
    struct store_settings settings = {.model = "m", .dimension = 0};
    REFUSED(ERR_INVALID, "32768", store_create(s, "c", &settings, 0, err));
    settings.dimension = LIMIT_DIMENSION + 1;
    REFUSED(ERR_INVALID, "32769", store_create(s, "c", &settings, 0, err));
    settings.dimension = LIMIT_DIMENSION;
    OK(store_create(s, "c", &settings, 0, err));
    float *v = calloc(LIMIT_DIMENSION, sizeof *v);
    assert_non_null(v);
    v[LIMIT_DIMENSION - 1] = 3;
    OK(test_put(s, "c", 1, NULL, v, err));
    struct store_records r = get(s, "c", 1);
    assert_true(r.items[0].vector[LIMIT_DIMENSION - 1] == 3);
    store_records_free(&r);
    free(v);
    memset(settings.model, 'x', sizeof settings.model);
    REFUSED(ERR_INVALID, "model", store_create(s, "d", &settings, 0, err));
}

static void test_absent_collection(void **state)
{
    struct store *s = test_store_of(state);
    struct store_records r = {0};
    struct store_query q = {.vector = v1, .limit = 1};
    struct store_settings settings;
    struct store_stats stats;
    struct buf b;
    uint64_t n;
    buf_init(&b, 100);
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_settings(s, "no", &settings, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_stats(s, "no", 0, &stats, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_count(s, "no", 0, &n, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", test_put(s, "no", 1, NULL, v1, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_search(s, "no", &q, 0, &r, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_get_file(s, "no", 1, 0, &r, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_get_item(s, "no", 1, 0, &r, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_browse(s, "no", true, 0, 1, 0, &r, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_thumbnail(s, "no", 1, 0, &b, err));
    REFUSED(ERR_NOT_FOUND, "\"no\"", store_drop(s, "no", 0, err));
}

/* --- writing -------------------------------------------------------------------------------------------- */

static void test_put_and_get(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    const char *tags = "[\"r\\u00f6t\",\"\xe7\xba\xa2\",\"quote \\\" and \\\\\"]",
               *brief = "{ \"b\" : [1, 2.50, null],\n\"a\":{}}";
    struct store_write w = {.kind = STORE_PUT,
        .fileid = 7,
        .has_itemid = true,
        .itemid = 70,
        .tags = tags,
        .brief = brief,
        .vector = v2,
        .dimension = 4,
        .existed = true,
        .status = ERR_INTERNAL};
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_false(w.existed);
    assert_int_equal(w.status, ERR_OK);
    struct store_records r = get(s, "c", 7);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.dimension, 4);
    assert_int_equal(r.items[0].fileid, 7);
    assert_int_equal(r.items[0].itemid, 70);
    test_same_json(r.items[0].tags, tags); /* byte for byte */
    test_same_json(r.items[0].brief, brief);
    assert_memory_equal(r.items[0].vector, v2, sizeof v2);
    assert_false(r.items[0].has_thumbnail);
    store_records_free(&r);
    /* A second PUT is a whole new record: without an itemid it is the fileid. */
    OK(test_put(s, "c", 7, NULL, v1, err));
    assert_int_equal(test_count(s, "c"), 1);
    r = get(s, "c", 7);
    assert_int_equal(r.items[0].itemid, 7);
    test_same_json(r.items[0].tags, "[]");
    test_same_json(r.items[0].brief, "{\"n\":7}");
    assert_memory_equal(r.items[0].vector, v1, sizeof v1);
    store_records_free(&r);
    w.itemid = 71;
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_true(w.existed);
    r = get(s, "c", 8);
    assert_int_equal(r.count, 0);
    store_records_free(&r);
}

static void test_update(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    int64_t item = 50;
    OK(test_put(s, "c", 5, &item, v1, err));
    struct store_write w = {.kind = STORE_UPDATE, .fileid = 5, .tags = "[\"new\"]"};
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_true(w.existed && w.status == ERR_OK);
    struct store_records r = get(s, "c", 5);
    test_same_json(r.items[0].tags, "[\"new\"]");
    test_same_json(r.items[0].brief, "{\"n\":5}");
    assert_int_equal(r.items[0].itemid, 50);
    assert_memory_equal(r.items[0].vector, v1, sizeof v1);
    store_records_free(&r);
    w = (struct store_write){
        .kind = STORE_UPDATE, .fileid = 5, .has_itemid = true, .itemid = -1, .brief = "{\"x\":1}"};
    OK(store_write(s, "c", &w, 1, 0, err));
    w = (struct store_write){.kind = STORE_UPDATE, .fileid = 5, .vector = v2};
    OK(store_write(s, "c", &w, 1, 0, err));
    w = (struct store_write){.kind = STORE_UPDATE, .fileid = 5}; /* nothing given: nothing changes */
    OK(store_write(s, "c", &w, 1, 0, err));
    r = get(s, "c", 5);
    test_same_json(r.items[0].tags, "[\"new\"]");
    test_same_json(r.items[0].brief, "{\"x\":1}");
    assert_int_equal(r.items[0].itemid, -1);
    assert_memory_equal(r.items[0].vector, v2, sizeof v2);
    store_records_free(&r);
    /* The item moved in the search as well. */
    OK(store_get_item(s, "c", -1, 0, &r, err));
    assert_int_equal(r.count, 1);
    store_records_free(&r);
    OK(store_get_item(s, "c", 50, 0, &r, err));
    assert_int_equal(r.count, 0);
    store_records_free(&r);
    w = (struct store_write){.kind = STORE_UPDATE, .fileid = 6, .tags = "[]", .vector = v1};
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_true(!w.existed && w.status == ERR_NOT_FOUND);
    assert_int_equal(test_count(s, "c"), 1);
}

static void test_delete_records(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    OK(test_put(s, "c", 1, NULL, v1, err));
    OK(test_put(s, "c", 2, NULL, v2, err));
    struct store_write w = {.kind = STORE_DELETE, .fileid = 1};
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_true(w.existed && w.status == ERR_OK);
    OK(store_write(s, "c", &w, 1, 0, err)); /* not there any more: success */
    assert_true(!w.existed && w.status == ERR_OK);
    assert_int_equal(test_count(s, "c"), 1);
    struct store_query q = {.vector = v1, .limit = 10};
    struct store_records r = {0};
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_int_equal(r.count, 1);
    assert_int_equal(r.items[0].fileid, 2);
    store_records_free(&r);
}

static void test_batches(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    /* In order, each seeing those before it. */
    struct store_write w[] = {
        {.kind = STORE_UPDATE, .fileid = 1, .tags = "[\"too early\"]"},
        {.kind = STORE_PUT, .fileid = 1, .tags = "[]", .brief = "{}", .vector = v1},
        {.kind = STORE_PUT, .fileid = 1, .tags = "[\"b\"]", .brief = "{}", .vector = v2},
        {.kind = STORE_UPDATE, .fileid = 1, .brief = "{\"c\":1}"},
        {.kind = STORE_PUT, .fileid = 2, .tags = "[]", .brief = "{}", .vector = v1},
        {.kind = STORE_DELETE, .fileid = 2},
        {.kind = STORE_PUT, .fileid = 3, .tags = "[]", .brief = "{}", .vector = v1},
        {.kind = STORE_DELETE, .fileid = 3},
        {.kind = STORE_PUT, .fileid = 3, .tags = "[]", .brief = "{}", .vector = v2},
    };
    OK(store_write(s, "c", w, sizeof w / sizeof *w, 0, err));
    assert_int_equal(w[0].status, ERR_NOT_FOUND);
    assert_false(w[1].existed);
    assert_true(w[2].existed && w[3].existed && w[5].existed && w[7].existed);
    assert_false(w[8].existed);
    assert_int_equal(test_count(s, "c"), 2);
    struct store_records r = get(s, "c", 1);
    test_same_json(r.items[0].tags, "[\"b\"]");
    test_same_json(r.items[0].brief, "{\"c\":1}");
    assert_memory_equal(r.items[0].vector, v2, sizeof v2);
    store_records_free(&r);
    struct store_query q = {.vector = v2, .limit = 10};
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_int_equal(r.count, 2);
    assert_int_equal(r.items[0].fileid, 1);
    assert_int_equal(r.items[1].fileid, 3);
    assert_true(r.items[0].distance == 0 && r.items[1].distance == 0);
    store_records_free(&r);
    /* All or nothing: a wrong one at the end undoes the rest. */
    const float bad[4] = {0, 0, NAN, 0};
    struct store_write x[] = {
        {.kind = STORE_DELETE, .fileid = 1},
        {.kind = STORE_PUT, .fileid = 9, .tags = "[]", .brief = "{}", .vector = v1},
        {.kind = STORE_PUT, .fileid = 10, .tags = "[]", .brief = "{}", .vector = bad},
    };
    REFUSED(ERR_INVALID, "fileid 10", store_write(s, "c", x, 3, 0, err));
    assert_int_equal(test_count(s, "c"), 2);
    r = get(s, "c", 9);
    assert_int_equal(r.count, 0);
    store_records_free(&r);
    OK(store_write(s, "c", NULL, 0, 0, err)); /* nothing to do */
}

static void test_bad_vectors(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    const float bad[] = {NAN, INFINITY, -INFINITY, 65520, -65520, 1e30f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float v[4] = {0, 0, 0, bad[i]};
        REFUSED(ERR_INVALID, "component 3", test_put(s, "c", 1, NULL, v, err));
        struct store_query q = {.vector = v, .limit = 1};
        struct store_records r = {0};
        REFUSED(ERR_INVALID, "component 3", store_search(s, "c", &q, 0, &r, err));
        struct store_write w = {.kind = STORE_UPDATE, .fileid = 1, .vector = v};
        REFUSED(ERR_INVALID, "component 3", store_write(s, "c", &w, 1, 0, err));
    }
    assert_int_equal(test_count(s, "c"), 0);
    const float edge[4] = {65504, -65504, 65519, 0x1p-24f};
    OK(test_put(s, "c", 1, NULL, edge, err));
    struct store_records r = get(s, "c", 1);
    assert_true(
        r.items[0].vector[0] == 65504 && r.items[0].vector[2] == 65504 && r.items[0].vector[3] == 0x1p-24f);
    store_records_free(&r);
    /* A stated dimension is compared. */
    struct store_write w = {
        .kind = STORE_PUT, .fileid = 2, .tags = "[]", .brief = "{}", .vector = v1, .dimension = 3};
    REFUSED(ERR_INVALID, "3 components", store_write(s, "c", &w, 1, 0, err));
    struct store_query q = {.vector = v1, .dimension = 5, .limit = 1};
    REFUSED(ERR_INVALID, "5 components", store_search(s, "c", &q, 0, &r, err));
}

static void test_bad_writes(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    struct store_write whole = {.kind = STORE_PUT, .fileid = 1, .tags = "[]", .brief = "{}", .vector = v1},
                       w = whole;
    w.vector = NULL;
    REFUSED(ERR_INVALID, "vector", store_write(s, "c", &w, 1, 0, err));
    w = whole;
    w.tags = NULL;
    REFUSED(ERR_INVALID, "tags", store_write(s, "c", &w, 1, 0, err));
    w = whole;
    w.brief = NULL;
    REFUSED(ERR_INVALID, "brief", store_write(s, "c", &w, 1, 0, err));
    w = whole;
    w.tags = "";
    REFUSED(ERR_INVALID, "tags", store_write(s, "c", &w, 1, 0, err));
    w = whole;
    w.thumbnail_len = 5;
    REFUSED(ERR_INVALID, "thumbnail", store_write(s, "c", &w, 1, 0, err));
    w = whole;
    w.kind = (enum store_write_kind)9;
    REFUSED(ERR_INVALID, "kind", store_write(s, "c", &w, 1, 0, err));
    assert_int_equal(test_count(s, "c"), 0);
}

static void check_text_limit(struct store *s, bool tags, size_t max)
{
    char *text = malloc(max + 2);
    assert_non_null(text);
    memset(text, ' ', max + 1);
    text[0] = tags ? '[' : '{';
    text[max] = tags ? ']' : '}';
    text[max + 1] = '\0';
    struct store_write w = {.kind = STORE_PUT,
        .fileid = 1,
        .tags = tags ? text : "[]",
        .brief = tags ? "{}" : text,
        .vector = v1};
    REFUSED(ERR_TOO_LARGE, tags ? "tags" : "brief", store_write(s, "c", &w, 1, 0, err));
    text[max - 1] = text[max];
    text[max] = '\0';
    OK(store_write(s, "c", &w, 1, 0, err));
    struct store_records r = get(s, "c", 1);
    test_same_json(tags ? r.items[0].tags : r.items[0].brief, text);
    store_records_free(&r);
    free(text);
}

static void test_write_limits(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    check_text_limit(s, true, LIMIT_TAGS_TEXT);
    check_text_limit(s, false, LIMIT_BRIEF_TEXT);
    uint8_t *picture = calloc(1, LIMIT_THUMBNAIL_BYTES + 1);
    assert_non_null(picture);
    struct store_write w = {.kind = STORE_PUT,
        .fileid = 1,
        .tags = "[]",
        .brief = "{}",
        .vector = v1,
        .thumbnail = picture,
        .thumbnail_len = LIMIT_THUMBNAIL_BYTES + 1};
    REFUSED(ERR_TOO_LARGE, "thumbnail", store_write(s, "c", &w, 1, 0, err));
    w.thumbnail_len--;
    OK(store_write(s, "c", &w, 1, 0, err));
    free(picture);
    struct store_write *many = calloc(LIMIT_WRITES + 1, sizeof *many);
    assert_non_null(many);
    for (size_t i = 0; i <= LIMIT_WRITES; i++)
        many[i] = (struct store_write){
            .kind = STORE_PUT, .fileid = (int64_t)i, .tags = "[]", .brief = "{}", .vector = v1};
    REFUSED(ERR_TOO_LARGE, "16384", store_write(s, "c", many, LIMIT_WRITES + 1, 0, err));
    assert_int_equal(test_count(s, "c"), 1);
    OK(store_write(s, "c", many, LIMIT_WRITES, 0, err));
    assert_int_equal(test_count(s, "c"), LIMIT_WRITES);
    free(many);
}

static void test_extreme_ids(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    const int64_t ids[] = {
        INT64_MIN, INT64_MIN + 1, -9007199254740993, -1, 0, 1, 9007199254740993, INT64_MAX - 1, INT64_MAX};
    size_t N = sizeof ids / sizeof *ids;
    if (!strcmp(test_backend, "milvus")) { /* it accepts this key, and never finds it again */
        REFUSED(ERR_UNSUPPORTED, "9223372036854775807", test_put(s, "c", INT64_MAX, NULL, v1, err));
        N--;
    }
    for (size_t i = 0; i < N; i++) {
        int64_t item = ids[N - 1 - i];
        OK(test_put(s, "c", ids[i], &item, v1, err));
    }
    assert_int_equal(test_count(s, "c"), N);
    struct store_records r = {0};
    for (size_t i = 0; i < N; i++) {
        r = get(s, "c", ids[i]);
        assert_true(r.count == 1 && r.items[0].fileid == ids[i] && r.items[0].itemid == ids[N - 1 - i]);
        store_records_free(&r);
        OK(store_get_item(s, "c", ids[i], 0, &r, err));
        assert_true(r.count == 1 && r.items[0].fileid == ids[N - 1 - i]);
        store_records_free(&r);
    }
    OK(store_browse(s, "c", true, 0, 100, 0, &r, err));
    assert_int_equal(r.count, N);
    for (size_t i = 0; i < N; i++)
        assert_true(r.items[i].fileid == ids[i]);
    store_records_free(&r);
    struct store_query q = {.vector = v1, .limit = 100}; /* all at the same distance: by fileid */
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_int_equal(r.count, N);
    for (size_t i = 0; i < N; i++)
        assert_true(r.items[i].fileid == ids[i]);
    store_records_free(&r);
    OK(test_delete(s, "c", INT64_MIN, err));
    OK(test_delete(s, "c", ids[N - 1], err));
    assert_int_equal(test_count(s, "c"), N - 2);
}

/* --- reading -------------------------------------------------------------------------------------------- */

static void test_get_item(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    const int64_t files[] = {30, -5, 12, 4};
    int64_t item = 9, other = 10;
    for (size_t i = 0; i < 4; i++)
        OK(test_put(s, "c", files[i], &item, i % 2 ? v1 : v2, err));
    OK(test_put(s, "c", 13, &other, v1, err));
    struct store_records r = {0};
    OK(store_get_item(s, "c", 9, 0, &r, err));
    const int64_t want[] = {-5, 4, 12, 30};
    assert_int_equal(r.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(r.items[i].fileid, want[i]);
        assert_memory_equal(r.items[i].vector, want[i] == -5 || want[i] == 4 ? v1 : v2, sizeof v1);
    }
    store_records_free(&r);
    OK(store_get_item(s, "c", 11, 0, &r, err));
    assert_int_equal(r.count, 0);
    store_records_free(&r);
}

static void test_browse(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    for (int64_t i = 0; i < 25; i++)
        OK(test_put(s, "c", i * 3 - 30, NULL, v1, err));
    struct store_records r = {0};
    int64_t expected = -30, after = 0;
    for (int page = 0; page < 4; page++) {
        OK(store_browse(s, "c", page == 0, after, 7, 0, &r, err));
        assert_int_equal(r.count, page < 3 ? 7 : 4);
        assert_int_equal(r.more, page < 3);
        for (size_t i = 0; i < r.count; i++, expected += 3) {
            assert_int_equal(r.items[i].fileid, expected);
            assert_null(r.items[i].vector);
        }
        assert_int_equal(r.next, expected - 3);
        after = r.next;
        store_records_free(&r);
    }
    OK(store_browse(s, "c", false, after, 7, 0, &r, err));
    assert_true(r.count == 0 && !r.more);
    store_records_free(&r);
    OK(store_browse(s, "c", true, 0, 25, 0, &r, err)); /* exactly all: no more */
    assert_true(r.count == 25 && !r.more);
    store_records_free(&r);
    OK(store_browse(s, "c", false, -4, 1, 0, &r, err)); /* after an id that is not there */
    assert_true(r.count == 1 && r.items[0].fileid == -3 && r.more);
    store_records_free(&r);
    OK(store_browse(s, "c", true, 0, LIMIT_WINDOW, 0, &r, err));
    store_records_free(&r);
    REFUSED(ERR_INVALID, "limit", store_browse(s, "c", true, 0, 0, 0, &r, err));
    REFUSED(ERR_INVALID, "limit", store_browse(s, "c", true, 0, LIMIT_WINDOW + 1, 0, &r, err));
}

static bool has_thumbnail(struct store *s, int64_t fileid, const char *want)
{
    struct buf b;
    struct err err = {0};
    buf_init(&b, 1000);
    enum result r = store_thumbnail(s, "c", fileid, 0, &b, &err);
    bool same = !r && b.len == strlen(want) && !memcmp(b.data, want, b.len);
    buf_free(&b);
    if (r)
        assert_int_equal(r, ERR_NOT_FOUND);
    struct store_records records = get(s, "c", fileid);
    if (records.count)
        assert_int_equal(records.items[0].has_thumbnail, !r);
    store_records_free(&records);
    return same;
}

static void write_thumbnail(
    struct store *s, enum store_write_kind kind, const float *vector, const char *thumbnail)
{
    struct store_write w = {.kind = kind,
        .fileid = 1,
        .tags = "[]",
        .brief = "{}",
        .vector = vector,
        .thumbnail = (const uint8_t *)thumbnail,
        .thumbnail_len = thumbnail ? strlen(thumbnail) : 0};
    OK(store_write(s, "c", &w, 1, 0, err));
}

static void test_thumbnails(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    assert_false(has_thumbnail(s, 1, ""));
    write_thumbnail(s, STORE_PUT, v1, "one");
    assert_true(has_thumbnail(s, 1, "one"));
    write_thumbnail(s, STORE_UPDATE, NULL, NULL); /* keeps it */
    assert_true(has_thumbnail(s, 1, "one"));
    write_thumbnail(s, STORE_UPDATE, NULL, "two"); /* another, of the same vector */
    assert_true(has_thumbnail(s, 1, "two"));
    write_thumbnail(s, STORE_UPDATE, v2, "three");
    assert_true(has_thumbnail(s, 1, "three"));
    write_thumbnail(s, STORE_UPDATE, v1, NULL); /* shows another picture than the vector: gone */
    assert_false(has_thumbnail(s, 1, "three"));
    write_thumbnail(s, STORE_PUT, v1, "four");
    assert_true(has_thumbnail(s, 1, "four"));
    write_thumbnail(s, STORE_PUT, v1, NULL); /* a whole new record */
    assert_false(has_thumbnail(s, 1, "four"));
    write_thumbnail(s, STORE_PUT, v1, "five");
    struct store_query q = {.vector = v1, .limit = 1};
    struct store_records r = {0};
    OK(store_search(s, "c", &q, 0, &r, err));
    assert_true(r.count == 1 && r.items[0].has_thumbnail);
    store_records_free(&r);
    OK(test_delete(s, "c", 1, err));
    assert_false(has_thumbnail(s, 1, "five"));
    OK(test_put(s, "c", 1, NULL, v1, err)); /* the old one does not come back */
    assert_false(has_thumbnail(s, 1, "five"));
    struct buf small;
    buf_init(&small, 2);
    write_thumbnail(s, STORE_PUT, v1, "six");
    REFUSED(ERR_TOO_LARGE, "3 bytes", store_thumbnail(s, "c", 1, 0, &small, err));
    buf_free(&small);
}

static void test_no_thumbnails(void **state)
{
    struct store *s = test_store_of(state);
    struct store_settings settings = {.model = "m", .dimension = 4, .thumbnails = false};
    OK(store_create(s, "c", &settings, 0, err));
    write_thumbnail(s, STORE_PUT, v1, "one"); /* not kept */
    assert_false(has_thumbnail(s, 1, "one"));
}

static void test_stats(void **state)
{
    struct store *s = test_store_of(state);
    struct store_stats stats;
    test_create(s, "c", 4, STORE_IP);
    OK(store_stats(s, "c", 0, &stats, err));
    assert_true(stats.records == 0 && stats.items == 0 && stats.damaged == 0);
    for (int64_t i = 0; i < 30; i++) {
        int64_t item = i / 4;
        OK(test_put(s, "c", i, &item, v1, err));
    }
    OK(store_stats(s, "c", 0, &stats, err));
    assert_int_equal(stats.records, 30);
    assert_int_equal(stats.items, 8);
    assert_int_equal(stats.damaged, 0);
    assert_int_equal(stats.settings.dimension, 4);
    assert_int_equal(stats.settings.metric, STORE_IP);
    assert_true(stats.bytes_memory > 0);
}

/* A longer descriptor: clients see the vector, its first part, and searches compare that alone. */
static void test_descriptor(void **state)
{
    if (!strcmp(test_backend, "milvus")) /* it keeps the vector alone */
        skip();
    struct test_fixture *f = *state;
    struct store_settings settings = {.model = "m", .dimension = 2, .descriptor = 4};
    static const float a[4] = {1, 0, 9, 9}, b[4] = {0, 1, -9, 3}, query[4] = {1, 0, -9, 3};
    struct store_settings narrow = {.model = "m", .dimension = 4, .descriptor = 2};
    REFUSED(ERR_INVALID, "descriptor", store_create(f->store, "d", &narrow, 0, err));
    OK(store_create(f->store, "c", &settings, 0, err));
    OK(test_put(f->store, "c", 1, NULL, a, err));
    OK(test_put(f->store, "c", 2, NULL, b, err));
    if (strcmp(test_backend, "embedded") == 0) {
        store_close(f->store);
        test_open_store(f);
    }
    OK(store_settings(f->store, "c", &settings, err));
    assert_int_equal(settings.dimension, 2);
    assert_int_equal(settings.descriptor, 4);
    for (uint32_t given = 2; given <= 4; given += 2) {
        struct store_records r = {0};
        struct store_query q = {.vector = query, .dimension = given, .limit = 2, .with_vectors = true};
        OK(store_search(f->store, "c", &q, 0, &r, err));
        assert_int_equal(r.count, 2);
        assert_int_equal(r.dimension, 2);
        assert_int_equal(r.items[0].fileid, 1);
        assert_true(r.items[0].distance == 0 && r.items[1].distance == 2);
        assert_memory_equal(r.items[1].vector, b, 2 * sizeof *b);
        store_records_free(&r);
    }
    struct store_query wrong = {.vector = query, .dimension = 3, .limit = 1};
    struct store_records r = {0};
    REFUSED(ERR_INVALID, "3 components", store_search(f->store, "c", &wrong, 0, &r, err));
}

/* --- the rest ------------------------------------------------------------------------------------------- */

static void test_deadline_passed(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    OK(test_put(s, "c", 1, NULL, v1, err));
    int64_t past = clock_now_ms() - 1;
    struct store_settings settings = {.model = "m", .dimension = 4};
    struct store_write w = {.kind = STORE_DELETE, .fileid = 1};
    struct store_query q = {.vector = v1, .limit = 1};
    struct store_records r = {0};
    struct store_stats stats;
    struct buf b;
    uint64_t n;
    buf_init(&b, 10);
    REFUSED(ERR_TIMEOUT, "", store_create(s, "d", &settings, past, err));
    REFUSED(ERR_TIMEOUT, "", store_drop(s, "c", past, err));
    REFUSED(ERR_TIMEOUT, "", store_write(s, "c", &w, 1, past, err));
    REFUSED(ERR_TIMEOUT, "", store_search(s, "c", &q, past, &r, err));
    REFUSED(ERR_TIMEOUT, "", store_get_file(s, "c", 1, past, &r, err));
    REFUSED(ERR_TIMEOUT, "", store_get_item(s, "c", 1, past, &r, err));
    REFUSED(ERR_TIMEOUT, "", store_browse(s, "c", true, 0, 1, past, &r, err));
    REFUSED(ERR_TIMEOUT, "", store_thumbnail(s, "c", 1, past, &b, err));
    REFUSED(ERR_TIMEOUT, "", store_stats(s, "c", past, &stats, err));
    REFUSED(ERR_TIMEOUT, "", store_count(s, "c", past, &n, err));
    assert_int_equal(test_count(s, "c"), 1);
    assert_int_equal(store_settings(s, "d", &settings, NULL), ERR_NOT_FOUND);
    OK(store_write(s, "c", &w, 1, clock_now_ms() + 60000, err)); /* time enough */
}

static void test_reopen(void **state)
{
    struct test_fixture *f = *state;
    test_create(f->store, "c", 4, STORE_COSINE);
    test_create(f->store, "gone", 4, STORE_L2);
    for (int64_t i = 0; i < 50; i++) {
        int64_t item = i / 2;
        OK(test_put(f->store, "c", i, &item, i % 2 ? v1 : v2, err));
    }
    write_thumbnail(f->store, STORE_UPDATE, NULL, "one");
    OK(test_delete(f->store, "c", 40, err));
    OK(store_drop(f->store, "gone", 0, err));
    for (int round = 0; round < 2; round++) {
        store_close(f->store);
        test_open_store(f);
        assert_int_equal(test_count(f->store, "c"), 49);
        struct store_settings settings;
        OK(store_settings(f->store, "c", &settings, err));
        assert_true(settings.metric == STORE_COSINE && settings.dimension == 4 && settings.thumbnails);
        assert_string_equal(settings.model, "some-model");
        assert_true(has_thumbnail(f->store, 1, "one"));
        struct store_records r = get(f->store, "c", 3);
        assert_true(r.count == 1 && r.items[0].itemid == 1 && !memcmp(r.items[0].vector, v1, sizeof v1));
        store_records_free(&r);
        struct store_query q = {.vector = v1, .limit = 100, .group = true};
        OK(store_search(f->store, "c", &q, 0, &r, err));
        assert_int_equal(r.count, 25);
        store_records_free(&r);
        assert_int_equal(store_count(f->store, "gone", 0, &(uint64_t){0}, NULL), ERR_NOT_FOUND);
        OK(store_check(f->store, NULL, NULL, err));
    }
}

static void *write_some(void *user)
{
    struct store *s = ((void **)user)[0];
    int64_t base = *(int64_t *)((void **)user)[1];
    for (int64_t i = 0; i < 20; i++) {
        struct err err;
        if (test_put(s, "c", base + i, NULL, v1, &err))
            return (void *)1;
        struct store_query q = {.vector = v1, .limit = 1000};
        struct store_records r = {0};
        if (store_search(s, "c", &q, 0, &r, &err))
            return (void *)1;
        bool found = false; /* what was acknowledged is seen by a search that starts later */
        for (size_t j = 0; j < r.count; j++)
            found |= r.items[j].fileid == base + i;
        store_records_free(&r);
        if (!found)
            return (void *)2;
    }
    return NULL;
}

static void test_own_writes_are_seen(void **state)
{
    struct store *s = test_store_of(state);
    pthread_t threads[4];
    int64_t bases[4];
    void *users[4][2];
    test_create(s, "c", 4, STORE_L2);
    for (int i = 0; i < 4; i++) {
        bases[i] = i * 1000;
        users[i][0] = s;
        users[i][1] = &bases[i];
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    assert_int_equal(test_count(s, "c"), 80);
}

static void count_line(void *user, int severity, const char *collection, const char *text)
{
    ((int *)user)[severity]++;
    assert_true(collection && *collection && text && *text);
}

static void test_check(void **state)
{
    struct store *s = test_store_of(state);
    int lines[3] = {0};
    test_create(s, "c", 4, STORE_L2);
    test_create(s, "d", 4, STORE_L2);
    write_thumbnail(s, STORE_PUT, v1, "one");
    write_thumbnail(s, STORE_PUT, v1, "two");
    OK(store_check(s, count_line, lines, err));
    assert_int_equal(lines[0], 2);
    assert_int_equal(lines[1], 0);
    assert_int_equal(lines[2], 0);
}

int main(int argc, char **argv)
{
    test_backend = argc > 1 ? argv[1] : "memory";
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)
        T(test_collections), T(test_drop_removes_records), T(test_names), T(test_settings_limits),
        T(test_absent_collection), T(test_put_and_get), T(test_update), T(test_delete_records),
        T(test_batches), T(test_bad_vectors), T(test_bad_writes), T(test_write_limits), T(test_extreme_ids),
        T(test_get_item), T(test_browse), T(test_thumbnails), T(test_no_thumbnails), T(test_stats), T(test_descriptor),
        T(test_deadline_passed), T(test_own_writes_are_seen), T(test_check),
        T(test_reopen), /* the last: memory keeps nothing, by design */
    };
    size_t count = sizeof tests / sizeof *tests - !strcmp(test_backend, "memory");
    return _cmocka_run_group_tests(test_backend, tests, count, NULL, NULL);
}
