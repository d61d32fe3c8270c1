/* The routes of /v1 that are more than one record: filters, browsing, counting, deleting, facets. */
#include "world.h"

#include "image/image.h"

#include <inttypes.h>

static const char *get(struct world *w, const char *path, const char *n1, const char *v1, const char *n2, const char *v2)
{
    struct ask a = {.method = "GET", .path = path};
    if (n1)
        a.query[a.query_count++] = (struct http_pair){n1, v1, strlen(v1)};
    if (n2)
        a.query[a.query_count++] = (struct http_pair){n2, v2, strlen(v2)};
    return ask(w, &a);
}

static void expect(struct world *w, const char *reply, unsigned status, const char *part)
{
    if (w->status != status || !strstr(reply, part))
        fail_msg("expected %u with %s, got %u: %s", status, part, w->status, reply);
}

/* Records 1 to 6: itemid fileid / 2, tags t0 or t1, brief n = fileid. */
static void fill(struct world *w)
{
    char path[64], body[512];
    ask(w, &(struct ask){.method = "PUT", .path = "/v1/collections/shop"});
    for (int i = 1; i <= 6; i++) {
        snprintf(path, sizeof path, "/v1/collections/shop/images/%d", i);
        snprintf(body, sizeof body, "{\"image\":\"%s\",\"itemid\":%d,\"tags\":[\"t%d\"],\"brief\":{\"n\":%d}}", i % 2 ? RED : BLUE, i / 2, i % 2, i);
        expect(w, ask(w, &(struct ask){.method = "PUT", .path = path, .type = "application/json", .body = body}), 200, "fileid");
    }
}

static void counting_and_browsing_under_a_filter(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_string_equal(get(w, "/v1/collections/shop/count", NULL, NULL, NULL, NULL), "{\"count\":6}");
    assert_string_equal(get(w, "/v1/collections/shop/count", "filter", " ", NULL, NULL), "{\"count\":6}");
    assert_string_equal(get(w, "/v1/collections/shop/count", "filter", "brief[\"n\"] > 2", NULL, NULL), "{\"count\":4}");
    const char *page = get(w, "/v1/collections/shop/images", "filter", "array_contains(tags, \"t1\")", "limit", "2");
    expect(w, page, 200, "{\"images\":[{\"fileid\":1,\"itemid\":0,\"tags\":[\"t1\"],\"brief\":{\"n\":1},\"thumbnail\":\"/v1/collections/shop/images/1/thumbnail\"},{\"fileid\":3,");
    expect(w, page, 200, "}],\"next\":3}");
    struct ask next = {.method = "GET", .path = "/v1/collections/shop/images",
        .query = {{"filter", "array_contains(tags, \"t1\")", 26}, {"after", "3", 1}, {"fields", "fileid, vector", 14}}, .query_count = 3};
    expect(w, ask(w, &next), 200, "{\"images\":[{\"fileid\":5,\"vector\":[");
    expect(w, w->body.data, 200, "]}],\"next\":null}");
    expect(w, get(w, "/v1/collections/shop/images", "fields", "distance", NULL, NULL), 400, "\"field\":\"fields\"");
    expect(w, get(w, "/v1/collections/shop/images", "fields", "colour", NULL, NULL), 400, "colour");
    expect(w, get(w, "/v1/collections/shop/images/2", NULL, NULL, NULL, NULL), 200, "\"vectors\":[");
    assert_string_equal(get(w, "/v1/collections/shop/images/2", "fields", "brief,fileid", NULL, NULL), "{\"fileid\":2,\"brief\":{\"n\":2}}");
}

static void a_wrong_filter_says_where(void **state)
{
    static const char *const paths[] = {"/v1/collections/shop/count", "/v1/collections/shop/images", "/v1/collections/shop/facets"};
    struct world *w = *state;
    fill(w);
    for (size_t i = 0; i < 3; i++) {
        expect(w, get(w, paths[i], "filter", "fileid = 5", NULL, NULL), 400, "\"field\":\"filter\",\"column\":8}");
        assert_string_equal(w->type, "application/problem+json");
    }
    struct ask delete = {.method = "DELETE", .path = paths[1], .query = {{"filter", "nothing == 1", 12}}, .query_count = 1};
    expect(w, ask(w, &delete), 400, "\"field\":\"filter\",\"column\":1}");
    expect(w, post(w, "/v1/collections/shop/search", "{\"image\":\"" RED "\",\"filter\":\"fileid > 1 and\"}"), 400, "\"column\":15}");
    char *text = malloc(LIMIT_FILTER_BYTES + 2);
    memset(text, ' ', LIMIT_FILTER_BYTES + 1);
    text[LIMIT_FILTER_BYTES + 1] = '\0';
    expect(w, get(w, paths[0], "filter", text, NULL, NULL), 400, "\"column\":65537}");
    free(text);
    /* Nothing was done, and no column where there is none. */
    assert_string_equal(get(w, paths[0], NULL, NULL, NULL, NULL), "{\"count\":6}");
    expect(w, get(w, "/v1/collections/shop/images", "limit", "0", NULL, NULL), 400, "\"field\":\"limit\"}");
}

static void deleting_by_filter(void **state)
{
    struct world *w = *state;
    fill(w);
    struct ask delete = {.method = "DELETE", .path = "/v1/collections/shop/images"};
    for (int i = 0; i < 2; i++) {
        delete.query[0] = (struct http_pair){"filter", i ? "  " : "", i ? 2 : 0};
        delete.query_count = (size_t)i;
        expect(w, ask(w, &delete), 400, "\"field\":\"filter\"");
    }
    assert_string_equal(get(w, "/v1/collections/shop/count", NULL, NULL, NULL, NULL), "{\"count\":6}");
    delete.query[0] = (struct http_pair){"filter", "fileid in [2, 4, 100]", 21};
    delete.query_count = 1;
    assert_string_equal(ask(w, &delete), "{\"deleted\":2}");
    assert_string_equal(ask(w, &delete), "{\"deleted\":0}");
    assert_string_equal(get(w, "/v1/collections/shop/count", NULL, NULL, NULL, NULL), "{\"count\":4}");
    delete.path = "/v1/collections/other/images";
    expect(w, ask(w, &delete), 404, "other");
}

static const char *search(struct world *w, const char *body)
{
    return post(w, "/v1/collections/shop/search", body);
}

/* 1, 3, 5 are red, 2, 4, 6 blue; items 0 to 3. */
static void what_can_be_looked_for(void **state)
{
    struct world *w = *state;
    fill(w);
    const char *hits = search(w, "{\"image\":\"" RED "\",\"group\":false,\"fields\":[\"fileid\",\"distance\",\"similarity\"]}");
    expect(w, hits, 200, "{\"hits\":[{\"fileid\":1,\"distance\":0,\"similarity\":100},{\"fileid\":3,\"distance\":0,\"similarity\":100},");
    expect(w, search(w, "{\"fileid\":2,\"limit\":1}"), 200,
        "[{\"fileid\":2,\"itemid\":1,\"tags\":[\"t0\"],\"brief\":{\"n\":2},\"distance\":0,\"similarity\":100,\"thumbnail\":\"/v1/collections/shop/images/2/thumbnail\"}]");
    expect(w, search(w, "{\"fileid\":\"4\",\"limit\":1,\"filter\":\"fileid != 2 and fileid > 2\",\"fields\":\"fileid\"}"), 200, "[{\"fileid\":4}]");
    /* A vector is taken as it is; twice as long, it is not at distance 0. */
    char vector[256], body[1024];
    const char *got = strchr(get(w, "/v1/collections/shop/images/2", "fields", "vector", NULL, NULL), '[');
    assert_non_null(got);
    snprintf(vector, sizeof vector, "%.*s", (int)strcspn(got, "}"), got);
    snprintf(body, sizeof body, "{\"vector\":%s,\"limit\":1,\"fields\":[\"fileid\",\"vector\"]}", vector);
    char want[512];
    snprintf(want, sizeof want, "[{\"fileid\":2,\"vector\":%s}]", vector);
    expect(w, search(w, body), 200, want);
    /* One query is what stands alone, whatever its weight. */
    expect(w, search(w, "{\"queries\":[{\"fileid\":2,\"weight\":0.25}],\"limit\":1}"), 200, "\"fileid\":2,\"itemid\":1,\"tags\":[\"t0\"],\"brief\":{\"n\":2},\"distance\":0,");
    /* Red and a little blue is red; and less blue is further from blue still. */
    expect(w, search(w, "{\"queries\":[{\"image\":\"" RED "\",\"weight\":2},{\"fileid\":2}],\"limit\":1,\"fields\":[\"fileid\"]}"), 200, "[{\"fileid\":1}]");
    expect(w, search(w, "{\"queries\":[{\"fileid\":1},{\"fileid\":2,\"weight\":\"1.5\"}],\"limit\":1,\"fields\":[\"fileid\"]}"), 200, "[{\"fileid\":2}]");
    expect(w, search(w, "{\"queries\":[{\"fileid\":1},{\"fileid\":2,\"weight\":-1}],\"group\":false,\"limit\":3,\"fields\":[\"fileid\"]}"), 200,
        "[{\"fileid\":1},{\"fileid\":3},{\"fileid\":5}]");
}

static void limits_of_hits(void **state)
{
    struct world *w = *state;
    fill(w);
    expect(w, search(w, "{\"fileid\":1,\"group\":false,\"max_distance\":0.1,\"fields\":[\"fileid\"],\"exact\":true}"), 200,
        "[{\"fileid\":1},{\"fileid\":3},{\"fileid\":5}]");
    expect(w, search(w, "{\"fileid\":1,\"group\":false,\"min_similarity\":99,\"offset\":1,\"fields\":[\"fileid\"]}"), 200,
        "[{\"fileid\":3},{\"fileid\":5}]");
    expect(w, search(w, "{\"fileid\":1,\"group\":false,\"min_similarity\":0,\"fields\":[\"fileid\"]}"), 200, "{\"fileid\":6}]");
    expect(w, search(w, "{\"fileid\":1,\"max_distance\":-1}"), 200, "{\"hits\":[],");
}

static void wrong_searches(void **state)
{
    static const struct {
        const char *body;
        unsigned status;
        const char *field;
    } cases[] = {
        {"{}", 400, "image"},
        {"{\"fileid\":99}", 404, "fileid"},
        {"{\"fileid\":\"x\"}", 400, "fileid"},
        {"{\"fileid\":1,\"image\":\"" RED "\"}", 400, "image"},
        {"{\"vector\":[1,2,3]}", 400, "vector"},
        {"{\"vector\":[1,2,3,\"4\"]}", 400, "vector"},
        {"{\"vector\":[1,2,3,65505]}", 400, "vector"},
        {"{\"vector\":[]}", 400, "vector"},
        {"{\"vector\":{}}", 400, "vector"},
        {"{\"fileid\":1,\"region\":[0,0,1,1]}", 400, "region"},
        {"{\"image\":\"" RED "\",\"region\":[0,0,1]}", 400, "region"},
        {"{\"image\":\"" RED "\",\"region\":[0.5,0,0.6,1]}", 400, "region"},
        {"{\"image\":\"" RED "\",\"region\":[0,0,0,1]}", 400, "region"},
        {"{\"image\":\"" RED "\",\"region\":\"a\"}", 400, "region"},
        {"{\"queries\":[]}", 400, "queries"},
        {"{\"queries\":[1]}", 400, "queries"},
        {"{\"queries\":[{}]}", 400, "image"},
        {"{\"queries\":[{\"fileid\":1,\"weight\":\"heavy\"}]}", 400, "weight"},
        {"{\"queries\":[{\"fileid\":1},{\"fileid\":1,\"weight\":-1}]}", 400, "queries"},
        {"{\"queries\":[{\"fileid\":1}],\"fileid\":2}", 400, "queries"},
        {"{\"fileid\":1,\"min_similarity\":101}", 400, "min_similarity"},
        {"{\"fileid\":1,\"max_distance\":\"far\"}", 400, "max_distance"},
        {"{\"fileid\":1,\"exact\":3}", 400, "exact"},
        {"{\"fileid\":1,\"fields\":[\"colour\"]}", 400, "fields"},
        {"{\"fileid\":1,\"fields\":7}", 400, "fields"},
        {"{\"image\":\"aGVsbG8gd29ybGQ=\"}", 415, "image"},
    };
    struct world *w = *state;
    fill(w);
    char part[64], many[2048] = "{\"queries\":[{\"fileid\":1}";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(part, sizeof part, "\"field\":\"%s\"", cases[i].field);
        expect(w, search(w, cases[i].body), cases[i].status, part);
    }
    for (int more = 0; more < 2; more++) {
        size_t n = strlen("{\"queries\":[{\"fileid\":1}");
        for (int i = 1; i < LIMIT_QUERIES + more; i++)
            n += (size_t)snprintf(many + n, sizeof many - n, ",{\"fileid\":1}");
        snprintf(many + n, sizeof many - n, "]}");
        expect(w, search(w, many), more ? 400 : 200, more ? "\"field\":\"queries\"" : "\"hits\"");
    }
}

static void a_search_by_form_and_query(void **state)
{
    struct world *w = *state;
    fill(w);
    struct ask form = {.method = "POST", .path = "/v1/collections/shop/search", .type = "application/x-www-form-urlencoded",
        .body = "queries=%5B%7B%22fileid%22%3A2%7D%5D&limit=1&fields=fileid&max_distance=0.5"};
    expect(w, ask(w, &form), 200, "[{\"fileid\":2}]");
    form.body = "vector=1,0,0,1&limit=1&fields=fileid";
    expect(w, ask(w, &form), 200, "[{\"fileid\":");
    form.body = "image=" RED "&region=0,0,1,1&limit=1&fields=fileid,similarity";
    expect(w, ask(w, &form), 200, "[{\"fileid\":1,\"similarity\":100}]");
}

static void facets(void **state)
{
    struct world *w = *state;
    fill(w);
    if (strstr(get(w, "/v1/collections/shop/facets", "field", "tags", NULL, NULL), "does not count values"))
        return; /* the store in memory, until it does */
    assert_string_equal(get(w, "/v1/collections/shop/facets", "field", "tags", NULL, NULL),
        "{\"facets\":[{\"field\":\"tags\",\"distinct\":2,\"values\":[{\"value\":\"t0\",\"count\":3},{\"value\":\"t1\",\"count\":3}]}]}");
    assert_string_equal(get(w, "/v1/collections/shop/facets", "field", "brief[\"n\"]", "filter", "fileid < 3"),
        "{\"facets\":[{\"field\":\"brief[\\\"n\\\"]\",\"distinct\":2,\"values\":[{\"value\":1,\"count\":1},{\"value\":2,\"count\":1}]}]}");
    expect(w, get(w, "/v1/collections/shop/facets", "limit", "1", NULL, NULL), 200, "\"distinct\":2,\"values\":[{\"value\":\"t0\",\"count\":3}]}");
    expect(w, get(w, "/v1/collections/shop/facets", "limit", "0", NULL, NULL), 400, "\"field\":\"limit\"");
    expect(w, get(w, "/v1/collections/shop/facets", "limit", "1001", NULL, NULL), 400, "\"field\":\"limit\"");
    expect(w, get(w, "/v1/collections/shop/facets", "field", "itemid == 3", NULL, NULL), 400, "field");
}

static int set_up_rich(void **state)
{
    return set_up_with(state, &(struct fake_embed_plan){.inner = 3});
}

/*
 * A model with inner layers over a collection that keeps the vector alone: each one in a Milvus, and the older ones. A batch
 * of them goes into rows of the model's length, a picture into a record of the collection's.
 */
static void a_rich_model_over_a_collection_without_inner_layers(void **state)
{
    static const uint32_t descriptors[] = {FAKE_DIMENSION, FAKE_DIMENSION + 3};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++) {
        struct store_settings settings = {.model = "fake", .dimension = FAKE_DIMENSION, .descriptor = descriptors[i]};
        assert_int_equal(store_create(w->store, "shop", &settings, 0, NULL), ERR_OK);
        fill(w);
        expect(w, search(w, "{\"image\":\"" RED "\",\"limit\":1,\"fields\":[\"fileid\",\"similarity\"]}"), 200, "[{\"fileid\":1,\"similarity\":100}]");
        expect(w, search(w, "{\"queries\":[{\"image\":\"" BLUE "\"}],\"limit\":1,\"fields\":[\"fileid\"]}"), 200, "[{\"fileid\":2}]");
        expect(w, search(w, "{\"queries\":[{\"image\":\"" BLUE "\"},{\"fileid\":2}],\"limit\":1,\"fields\":[\"fileid\"]}"), 200, "[{\"fileid\":2}]");
        const char *reply = post(w, "/milvus/img/search", "{\"collection\":\"shop\",\"image\":\"" BLUE "\",\"limit\":1}");
        expect(w, reply, 200, "\"code\":10000");
        expect(w, reply, 200, "\"fileid\":2");
        assert_int_equal(store_drop(w->store, "shop", 0, NULL), ERR_OK);
    }
}

int main(void)
{
    if (image_init(NULL))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counting_and_browsing_under_a_filter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_filter_says_where, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deleting_by_filter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_can_be_looked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(facets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_of_hits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_searches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_search_by_form_and_query, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rich_model_over_a_collection_without_inner_layers, set_up_rich, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    image_shutdown();
    return failed;
}
