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

int main(void)
{
    if (image_init(NULL))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counting_and_browsing_under_a_filter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_filter_says_where, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deleting_by_filter, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    image_shutdown();
    return failed;
}
