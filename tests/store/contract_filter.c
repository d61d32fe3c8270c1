/*
 * What store.h promises of filters, run against every backend. The oracle is the interpreter of filter/, asked
 * record by record on a copy that the test keeps.
 */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "filter/filter.h"
#include "filter/random_filter.h"
#include "store/store_backend.h"


#define ROWS 300

struct row {
    bool there;
    int64_t fileid, itemid;
    char *tags, *brief;
};

static struct filter *parse(const char *text)
{
    struct filter *filter = NULL;
    OK(filter_parse(text, strlen(text), &filter, err));
    return filter;
}

static void put(struct store *s, int64_t fileid, int64_t itemid, const char *tags, const char *brief)
{
    float v[4] = {(float)(fileid % 100), 1, 2, 3};
    struct store_write w = {.kind = STORE_PUT,
        .fileid = fileid,
        .has_itemid = true,
        .itemid = itemid,
        .tags = tags,
        .brief = brief,
        .vector = v};
    OK(store_write(s, "c", &w, 1, 0, err));
}

static uint64_t count_where(struct store *s, const char *text)
{
    struct filter *filter = parse(text);
    uint64_t n = 0;
    OK(store_count_where(s, "c", filter, 0, &n, err));
    filter_free(filter);
    return n;
}

static void fill(struct store *s)
{
    test_create(s, "c", 4, STORE_L2);
    put(s, 1, 10, "[\"red\",\"new\"]", "{\"price\":5,\"name\":\"Stuhl\"}");
    put(s, 2, 10, "[\"red\"]", "{\"price\":7.5}");
    put(s, 3, 30, "[]", "{\"name\":\"Tisch\",\"in\":{\"stock\":true}}");
    put(s, 4, 40, "[\"blue\"]", "{}");
}

/* --- plain cases ---------------------------------------------------------------------------------------- */

static void test_counting(void **state)
{
    struct store *s = test_store_of(state);
    fill(s);
    assert_int_equal(count_where(s, "fileid >= 0"), 4);
    assert_int_equal(count_where(s, "array_contains(tags, \"red\")"), 2);
    assert_int_equal(count_where(s, "brief[\"price\"] > 5"), 1);
    assert_int_equal(count_where(s, "brief[\"in\"][\"stock\"] == true"), 1);
    assert_int_equal(count_where(s, "itemid == 10 and not array_contains(tags, \"new\")"), 1);
    assert_int_equal(count_where(s, "fileid < 0"), 0);
    uint64_t n = 0;
    OK(store_count_where(s, "c", NULL, 0, &n, err));
    assert_int_equal(n, 4);
    struct filter *filter = parse("fileid > 0");
    REFUSED(ERR_NOT_FOUND, "\"absent\"", store_count_where(s, "absent", filter, 0, &n, err));
    filter_free(filter);
}

/* A write that was acknowledged counts at once, whatever kind it is of. */
static void test_writes_are_seen(void **state)
{
    struct store *s = test_store_of(state);
    fill(s);
    assert_int_equal(count_where(s, "array_contains(tags, \"red\")"), 2);
    put(s, 2, 10, "[\"green\"]", "{\"price\":8}"); /* replaced */
    assert_int_equal(count_where(s, "array_contains(tags, \"red\")"), 1);
    struct store_write w = {.kind = STORE_UPDATE, .fileid = 4, .tags = "[\"red\",\"red\"]"};
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_int_equal(count_where(s, "array_contains(tags, \"red\")"), 2);
    assert_int_equal(count_where(s, "itemid == 40 and array_contains(tags, \"red\")"), 1);
    w = (struct store_write){.kind = STORE_UPDATE, .fileid = 4, .has_itemid = true, .itemid = 41};
    OK(store_write(s, "c", &w, 1, 0, err)); /* what is not given stays */
    assert_int_equal(count_where(s, "itemid == 41 and array_contains(tags, \"red\")"), 1);
    float v[4] = {9, 9, 9, 9};
    w = (struct store_write){.kind = STORE_UPDATE, .fileid = 1, .vector = v};
    OK(store_write(s, "c", &w, 1, 0, err));
    assert_int_equal(count_where(s, "brief[\"name\"] == \"Stuhl\" and array_contains(tags, \"new\")"), 1);
    OK(test_delete(s, "c", 1, err));
    assert_int_equal(count_where(s, "array_contains(tags, \"red\")"), 1);
    /* Several writes of one record in one call: the last one holds. */
    struct store_write many[4] = {
        {.kind = STORE_PUT, .fileid = 7, .tags = "[\"a\"]", .brief = "{}", .vector = v},
        {.kind = STORE_UPDATE, .fileid = 7, .tags = "[\"b\"]"},
        {.kind = STORE_PUT, .fileid = 7, .tags = "[\"c\"]", .brief = "{\"x\":1}", .vector = v},
        {.kind = STORE_UPDATE, .fileid = 7, .brief = "{\"x\":2}"},
    };
    OK(store_write(s, "c", many, 4, 0, err));
    assert_int_equal(count_where(s, "array_contains_any(tags, [\"a\", \"b\"])"), 0);
    assert_int_equal(count_where(s, "array_contains(tags, \"c\") and brief[\"x\"] == 2"), 1);
    struct store_write gone[2] = {{.kind = STORE_UPDATE, .fileid = 7, .tags = "[\"b\"]"},
        {.kind = STORE_DELETE, .fileid = 7}};
    OK(store_write(s, "c", gone, 2, 0, err));
    assert_int_equal(count_where(s, "array_contains_any(tags, [\"a\", \"b\", \"c\"])"), 0);
}

/* The store takes any text; one that is not JSON has nothing that a filter could be true of. */
static void test_text_that_is_not_json(void **state)
{
    struct store *s = test_store_of(state);
    if (!test_bytes_kept()) {
        print_message("skipped: Milvus has typed columns, so a text that is not JSON is refused (contract.c)\n");
        skip();
    }
    fill(s);
    put(s, 5, 50, "no list", "{\"price\":9}");
    put(s, 6, 60, "[\"red\"]", "no object");
    put(s, 7, 70, "nor", "this");
    assert_int_equal(count_where(s, "fileid >= 5"), 3);
    assert_int_equal(count_where(s, "brief[\"price\"] == 9"), 1);
    assert_int_equal(count_where(s, "array_contains(tags, \"red\")"), 3);
}

static void test_searching(void **state)
{
    struct store *s = test_store_of(state);
    float q[4] = {4, 1, 2, 3};
    fill(s);
    struct filter *filter = parse("array_contains(tags, \"red\")");
    for (int exact = 0; exact <= 1; exact++) {
        struct store_records r = {0};
        struct store_query query = {.vector = q, .limit = 10, .filter = filter, .exact = exact};
        OK(store_search(s, "c", &query, 0, &r, err));
        assert_int_equal(r.count, 2);
        assert_true(r.items[0].fileid == 2 && r.items[1].fileid == 1);
        store_records_free(&r);
        query.group = true; /* both are of one item */
        OK(store_search(s, "c", &query, 0, &r, err));
        assert_true(r.count == 1 && r.items[0].fileid == 2);
        store_records_free(&r);
        query.offset = 1;
        OK(store_search(s, "c", &query, 0, &r, err));
        assert_int_equal(r.count, 0);
        store_records_free(&r);
    }
    filter_free(filter);
}

static void test_browsing(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    put(s, INT64_MIN, 1, "[\"x\"]", "{}");
    put(s, test_largest_fileid(), 2, "[\"x\"]", "{}");
    for (int64_t i = 0; i < 50; i++)
        put(s, (i * 37) % 101 - 50, i, i % 2 ? "[\"x\"]" : "[]", "{}");
    struct filter *filter = parse("array_contains(tags, \"x\")");
    for (uint32_t limit = 1; limit < 40; limit += 6) {
        struct store_browse browse = {.from_start = true, .limit = limit, .filter = filter};
        int64_t last = 0;
        size_t n = 0;
        bool more = true;
        while (more) {
            struct store_records r = {0};
            OK(store_browse_where(s, "c", &browse, 0, &r, err));
            for (size_t i = 0; i < r.count; i++, n++) {
                assert_true(n == 0 || r.items[i].fileid > last);
                assert_string_equal(r.items[i].tags, "[\"x\"]");
                assert_null(r.items[i].vector);
                last = r.items[i].fileid;
            }
            assert_true(r.count == limit || !r.more);
            more = r.more;
            browse.from_start = false;
            browse.after = r.next;
            store_records_free(&r);
        }
        assert_int_equal(n, 27);
        assert_true(last == test_largest_fileid());
    }
    struct store_browse browse = {.from_start = true, .limit = 3, .filter = filter, .with_vectors = true};
    struct store_records r = {0};
    OK(store_browse_where(s, "c", &browse, 0, &r, err));
    assert_true(r.items[0].fileid == INT64_MIN && r.items[0].vector[3] == 3);
    store_records_free(&r);
    browse.limit = 0;
    REFUSED(ERR_INVALID, "limit", store_browse_where(s, "c", &browse, 0, &r, err));
    browse.limit = LIMIT_WINDOW + 1;
    REFUSED(ERR_INVALID, "limit", store_browse_where(s, "c", &browse, 0, &r, err));
    filter_free(filter);
}

static void test_deleting(void **state)
{
    struct store *s = test_store_of(state);
    uint64_t n = 7;
    fill(s);
    REFUSED(ERR_INVALID, "filter", store_delete_where(s, "c", NULL, 0, &n, err));
    assert_int_equal(n, 0);
    assert_int_equal(test_count(s, "c"), 4);
    struct filter *filter = parse("itemid == 10");
    OK(store_delete_where(s, "c", filter, 0, &n, err));
    assert_int_equal(n, 2);
    assert_int_equal(test_count(s, "c"), 2);
    OK(store_delete_where(s, "c", filter, 0, &n, err));
    assert_int_equal(n, 0);
    REFUSED(ERR_NOT_FOUND, "\"absent\"", store_delete_where(s, "absent", filter, 0, &n, err));
    filter_free(filter);
}

/* More than one step of a delete. */
static void test_deleting_many(void **state)
{
    struct store *s = test_store_of(state);
    float v[1] = {1};
    enum { MANY = LIMIT_WRITES + 100 };
    test_create(s, "c", 1, STORE_L2);
    struct store_write *w = calloc(MANY, sizeof *w);
    assert_non_null(w);
    for (int64_t i = 0; i < MANY; i++)
        w[i] = (struct store_write){.kind = STORE_PUT,
            .fileid = i,
            .tags = i % 100 ? "[\"x\"]" : "[]",
            .brief = "{}",
            .vector = v};
    OK(store_write(s, "c", w, LIMIT_WRITES, 0, err));
    OK(store_write(s, "c", w + LIMIT_WRITES, MANY - LIMIT_WRITES, 0, err));
    free(w);
    uint64_t n = 0;
    struct filter *filter = parse("fileid >= 0 and fileid != 5");
    OK(store_delete_where(s, "c", filter, 0, &n, err));
    assert_int_equal(n, MANY - 1);
    assert_int_equal(test_count(s, "c"), 1);
    filter_free(filter);
}

static struct store_facets facets_of(
    struct store *s, const char *field, uint32_t limit, const struct filter *filter)
{
    struct store_facets facets = {0};
    struct store_facet_query query = {.field = field, .limit = limit, .filter = filter};
    OK(store_facets(s, "c", &query, 0, &facets, err));
    return facets;
}

/* "field: value=count value=count … of distinct" for each field, in lines. */
static char *facets_text(const struct store_facets *facets)
{
    struct buf text;
    buf_init(&text, LIMIT_MIB);
    assert_int_equal(buf_append_str(&text, ""), ERR_OK);
    for (size_t i = 0; i < facets->count; i++) {
        const struct store_facet *f = &facets->items[i];
        assert_int_equal(buf_appendf(&text, "%s:", f->field), ERR_OK);
        for (size_t j = 0; j < f->count; j++)
            assert_int_equal(
                buf_appendf(&text, " %s=%d", f->values[j].json, (int)f->values[j].count), ERR_OK);
        assert_int_equal(buf_appendf(&text, " of %d\n", (int)f->distinct), ERR_OK);
    }
    return buf_take(&text, NULL);
}

static void check_facets(
    struct store *s, const char *field, uint32_t limit, const char *filter, const char *want)
{
    struct filter *parsed = filter ? parse(filter) : NULL;
    struct store_facets facets = facets_of(s, field, limit, parsed);
    char *text = facets_text(&facets);
    assert_string_equal(text, want);
    free(text);
    store_facets_free(&facets);
    filter_free(parsed);
}

static void test_facets(void **state)
{
    struct store *s = test_store_of(state);
    test_create(s, "c", 4, STORE_L2);
    put(s, 1, 1, "[\"red\",\"new\"]", "{\"price\":5,\"in\":{\"stock\":true},\"id\":\"a\",\"size\":[1,2]}");
    put(s, 2, 1, "[\"red\",\"red\"]", "{\"price\":5,\"in\":{\"stock\":false},\"id\":\"b\",\"size\":[1]}");
    put(s, 3, 3, "[]", "{\"price\":5.0,\"in\":{\"stock\":true},\"id\":\"c\",\"same\":null}");
    put(s, 4, 4, "[\"blue\"]", "{\"price\":\"5\",\"id\":\"d\\\"\\n\"}");
    check_facets(s, "tags", 10, NULL, "tags: \"red\"=2 \"blue\"=1 \"new\"=1 of 3\n");
    check_facets(s, "tags", 1, NULL, "tags: \"red\"=2 of 3\n");
    check_facets(s, "tags", 10, "fileid != 1", "tags: \"blue\"=1 \"red\"=1 of 2\n");
    check_facets(s, "tags", 10, "fileid > 9", "tags: of 0\n");
    check_facets(s, "brief['price']", 9, NULL, "brief[\"price\"]: 5=2 5.0=1 \"5\"=1 of 3\n");
    check_facets(s, "brief[\"in\"][\"stock\"]", 9, NULL, "brief[\"in\"][\"stock\"]: true=2 false=1 of 2\n");
    check_facets(s, "brief[\"size\"][0]", 9, NULL, "brief[\"size\"][0]: 1=2 of 1\n");
    check_facets(s, "brief[\"size\"][1]", 9, NULL, "brief[\"size\"][1]: 2=1 of 1\n");
    check_facets(s, "brief[\"size\"]", 9, NULL, "brief[\"size\"]: of 0\n"); /* lists are no values */
    check_facets(s, "brief[\"in\"]", 9, NULL, "brief[\"in\"]: of 0\n");
    check_facets(s, "brief[\"absent\"]", 9, NULL, "brief[\"absent\"]: of 0\n");
    check_facets(s, "brief[\"id\"]", 9, "fileid == 4", "brief[\"id\"]: \"d\\\"\\n\"=1 of 1\n");
    /* Without a field: what tells records apart, the most useful first; an id of each record is not. */
    check_facets(s, NULL, 2, NULL,
        "tags: \"red\"=2 \"blue\"=1 of 3\n"
        "brief[\"in\"][\"stock\"]: true=2 false=1 of 2\n"
        "brief[\"price\"]: 5=2 5.0=1 of 3\n");
    struct store_facets facets = {0};
    const char *bad[] = {"", "fileid", "itemid", "brief", "tags[0]", "brief[", "nonsense",
        "brief[\"a\"] == 1 or brief[\"b\"]", "brief[\"a\"] + 1", "not brief[\"a\"]", "1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_facet_query query = {.field = bad[i], .limit = 3};
        struct err err = {0};
        assert_int_equal(store_facets(s, "c", &query, 0, &facets, &err), ERR_INVALID);
        assert_string_equal(err.field, "field");
    }
    struct store_facet_query query = {.field = "tags", .limit = 0};
    REFUSED(ERR_INVALID, "limit", store_facets(s, "c", &query, 0, &facets, err));
    query.limit = LIMIT_FACET_VALUES + 1;
    REFUSED(ERR_INVALID, "limit", store_facets(s, "c", &query, 0, &facets, err));
    query.limit = LIMIT_FACET_VALUES;
    REFUSED(ERR_NOT_FOUND, "\"absent\"", store_facets(s, "absent", &query, 0, &facets, err));
}

/* At most LIMIT_FACET_FIELDS paths come back unasked. */
static void test_facets_of_many_fields(void **state)
{
    struct store *s = test_store_of(state);
    struct buf brief;
    test_create(s, "c", 4, STORE_L2);
    for (int64_t i = 0; i < 8; i++) {
        buf_init(&brief, LIMIT_BRIEF_TEXT);
        for (int k = 0; k < 20; k++)
            assert_int_equal(buf_appendf(&brief, "%c\"k%02d\":%d", k ? ',' : '{', k, (int)(i / 2)), ERR_OK);
        assert_int_equal(buf_append_str(&brief, "}"), ERR_OK);
        put(s, i, i, "[]", brief.data);
        buf_free(&brief);
    }
    struct store_facets facets = facets_of(s, NULL, 100, NULL);
    assert_int_equal(facets.count, 1 + LIMIT_FACET_FIELDS);
    assert_string_equal(facets.items[1].field, "brief[\"k00\"]"); /* equally good ones by name */
    assert_int_equal(facets.items[1].count, 4);
    store_facets_free(&facets);
}

static void test_deadlines(void **state)
{
    struct store *s = test_store_of(state);
    struct store_records r = {0};
    uint64_t n;
    fill(s);
    struct filter *filter = parse("fileid > 0");
    struct store_browse browse = {.from_start = true, .limit = 3, .filter = filter};
    int64_t past = clock_now_ms() - 1;
    assert_int_equal(store_count_where(s, "c", filter, past, &n, NULL), ERR_TIMEOUT);
    assert_int_equal(store_browse_where(s, "c", &browse, past, &r, NULL), ERR_TIMEOUT);
    assert_int_equal(store_delete_where(s, "c", filter, past, &n, NULL), ERR_TIMEOUT);
    assert_int_equal(test_count(s, "c"), 4);
    filter_free(filter);
}

/* --- random records and expressions against the interpreter --------------------------------------------- */

static void random_row(struct chance *c, struct row *row)
{
    struct buf tags, brief;
    buf_init(&tags, LIMIT_TAGS_TEXT);
    buf_init(&brief, LIMIT_BRIEF_TEXT);
    random_tags(c, &tags);
    random_brief(c, &brief);
    free(row->tags);
    free(row->brief);
    row->itemid = random_int(c);
    row->tags = buf_take(&tags, NULL);
    row->brief = buf_take(&brief, NULL);
    assert_true(row->tags && row->brief);
}

/* Put, change a part of, or delete some of the rows, in one call. */
static void change_rows(struct store *s, struct chance *c, struct row *rows, size_t count)
{
    struct store_write w[40];
    float v[40][4];
    assert_true(count <= 40);
    for (size_t i = 0; i < count; i++) {
        struct row *row = &rows[i];
        uint32_t what = row->there ? chance_below(c, 4) : 0;
        for (size_t j = 0; j < 4; j++)
            v[i][j] = (float)chance_below(c, 5);
        w[i] = (struct store_write){.fileid = row->fileid, .kind = STORE_UPDATE};
        if (what == 3) {
            w[i].kind = STORE_DELETE;
            row->there = false;
            continue;
        }
        char *old = what == 1 ? strdup(row->brief) : NULL;
        random_row(c, row);
        w[i].has_itemid = true;
        w[i].itemid = row->itemid;
        w[i].tags = row->tags;
        if (what == 0)
            w[i].kind = STORE_PUT;
        if (what == 1) { /* brief stays */
            free(row->brief);
            row->brief = old;
        } else {
            w[i].brief = row->brief;
        }
        if (what != 1)
            w[i].vector = v[i];
        row->there = true;
    }
    OK(store_write(s, "c", w, count, 0, err));
}

static bool expected(const struct filter *filter, const struct row *row)
{
    return row->there && store_filter_matches(filter, row->fileid, row->itemid, row->tags, row->brief);
}

static void check_filter(struct store *s, const struct row *rows, const struct filter *filter)
{
    uint64_t want = 0, n = 0;
    for (size_t i = 0; i < ROWS; i++)
        want += expected(filter, &rows[i]);
    OK(store_count_where(s, "c", filter, 0, &n, err));
    assert_int_equal(n, want);
    struct store_records r = {0};
    struct store_browse browse = {.from_start = true, .limit = ROWS, .filter = filter};
    OK(store_browse_where(s, "c", &browse, 0, &r, err));
    assert_int_equal(r.count, want);
    for (size_t i = 0, at = 0; i < ROWS; i++)
        if (expected(filter, &rows[i])) {
            assert_int_equal(r.items[at].fileid, rows[i].fileid);
            assert_string_equal(r.items[at++].brief, rows[i].brief);
        }
    store_records_free(&r);
    float q[4] = {1, 2, 3, 4};
    struct store_query query = {.vector = q, .limit = ROWS, .filter = filter};
    OK(store_search(s, "c", &query, 0, &r, err));
    assert_int_equal(r.count, want);
    for (size_t i = 0; i < r.count; i++) {
        assert_true(i == 0 || r.items[i].distance >= r.items[i - 1].distance);
        assert_true(expected(filter, &rows[r.items[i].fileid]));
    }
    store_records_free(&r);
}

static void test_random_filters(void **state)
{
    struct store *s = test_store_of(state);
    if (!test_bytes_kept()) {
        print_message("skipped: each release of Milvus has its own meaning of some expressions; tests/milvus/compare_filters.py says which\n");
        skip();
    }
    static struct row rows[ROWS];
    struct chance c = {.state = 20261124};
    test_create(s, "c", 4, STORE_L2);
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < ROWS; i++)
        rows[i].fileid = (int64_t)i;
    for (int round = 0; round < 12; round++) {
        for (int batch = 0; batch < 8; batch++)
            change_rows(s, &c, rows + chance_below(&c, ROWS - 40), 40);
        for (int i = 0; i < 30; i++) {
            struct buf text;
            struct filter *filter = NULL;
            buf_init(&text, LIMIT_FILTER_BYTES);
            random_expression(&c, 3, &text);
            if (!filter_parse(text.data, text.len, &filter, NULL))
                check_filter(s, rows, filter);
            filter_free(filter);
            buf_free(&text);
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        free(rows[i].tags);
        free(rows[i].brief);
    }
}

int main(int argc, char **argv)
{
    test_backend = argc > 1 ? argv[1] : "memory";
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)
        T(test_counting), T(test_writes_are_seen), T(test_text_that_is_not_json), T(test_searching),
        T(test_browsing), T(test_deleting), T(test_deleting_many), T(test_facets),
        T(test_facets_of_many_fields), T(test_deadlines), T(test_random_filters),
    };
    return _cmocka_run_group_tests(test_backend, tests, sizeof tests / sizeof *tests, NULL, NULL);
}
