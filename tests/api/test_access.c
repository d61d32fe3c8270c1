/*
 * A server with keys, by the table of routes: every route, without a key, with a wrong one, with too small a right, with
 * one for other collections. The gate must refuse before there is a body, and nothing may have been done.
 */
#include "api/api.h"
#include "base/clock.h"
#include "fake_embed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"};
#define METHODS (sizeof methods / sizeof *methods)

struct world {
    char folder[64];
    struct store *store;
    struct embed *embed;
    struct pipeline *pipeline;
    struct auth *auth;
    struct api *api;
    char keys[3][AUTH_KEY_LEN + 1]; /* search, write, admin */
    char bound[AUTH_KEY_LEN + 1];   /* all rights, for the collection "other" */
    unsigned status;
    char text[4096];
};

static void make_key(struct world *w, unsigned rights, const char *collection, char *text)
{
    struct auth_key *key = NULL;
    struct auth_new want = {"test", rights, collection ? &collection : NULL, collection ? 1 : 0};
    assert_int_equal(auth_create(w->auth, &want, text, &key, NULL), ERR_OK);
    auth_key_release(key);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct store_settings settings = {.dimension = 4, .model = "fake"};
    snprintf(w->folder, sizeof w->folder, "/tmp/lookalike-access-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->embed = fake_embed_new(&(struct fake_embed_plan){0});
    assert_int_equal(store_open_memory(&w->store, NULL), ERR_OK);
    assert_int_equal(store_create(w->store, "shop", &settings, 0, NULL), ERR_OK);
    assert_int_equal(store_create(w->store, "other", &settings, 0, NULL), ERR_OK);
    assert_int_equal(pipeline_new(&(struct pipeline_options){.store = w->store, .embed = w->embed}, &w->pipeline, NULL), ERR_OK);
    assert_int_equal(auth_open(w->folder, &w->auth, NULL), ERR_OK);
    make_key(w, AUTH_ADMIN, NULL, w->keys[2]);
    make_key(w, AUTH_SEARCH, NULL, w->keys[0]);
    make_key(w, AUTH_WRITE, NULL, w->keys[1]);
    make_key(w, AUTH_ADMIN, "other", w->bound);
    struct api_options options = {.pipeline = w->pipeline, .version = "test", .auth = w->auth};
    assert_int_equal(api_new(&options, &w->api, NULL), ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"keys.json", "keys.lock"};
    struct world *w = *state;
    api_free(w->api);
    auth_close(w->auth);
    pipeline_free(w->pipeline);
    embed_close(w->embed);
    store_close(w->store);
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", w->folder, files[i]);
        unlink(path);
    }
    rmdir(w->folder);
    free(w);
    return 0;
}

struct ask {
    const char *method, *path, *header, *value, *collection, *body;
};

/* The gate, and where it lets pass and `body` is given the handler. Returns the status. */
static unsigned ask(struct world *w, const struct ask *a)
{
    struct http_pair headers[2] = {{a->header, a->value, a->value ? strlen(a->value) : 0}, {"Content-Type", "application/json", 16}};
    struct http_pair query = {"collection", a->collection, a->collection ? strlen(a->collection) : 0};
    struct http_request request = {.method = a->method, .path = a->path,
        .headers = a->header ? headers : headers + 1, .header_count = a->header ? 2 : 1,
        .query = &query, .query_count = a->collection ? 1 : 0, .body = a->body ? a->body : "",
        .body_len = a->body ? strlen(a->body) : 0, .deadline_ms = clock_now_ms() + 10000};
    struct http_reply reply = {.status = 200};
    buf_init(&reply.body, 1 << 24);
    api_gate(w->api, &request, &reply);
    if (reply.status < 400 && a->body)
        api_handle(w->api, &request, &reply);
    w->status = reply.status;
    snprintf(w->text, sizeof w->text, "%s", reply.body.data ? reply.body.data : "");
    buf_free(&reply.body);
    return w->status;
}

static void fill_path(const char *pattern, char *path, size_t size)
{
    size_t n = 0;
    for (const char *p = pattern; *p; p++) {
        if (*p == '{') {
            n += (size_t)snprintf(path + n, size - n, "%s", strncmp(p, "{c}", 3) == 0 ? "shop" : "1");
            p += strcspn(p, "}");
        } else {
            n += (size_t)snprintf(path + n, size - n, "%c", *p);
        }
    }
}

static bool has_method(const char *list, const char *method)
{
    size_t n = strlen(method);
    for (const char *m = list; m; m = strchr(m, ' ')) {
        m += *m == ' ';
        if (strncmp(m, method, n) == 0 && (m[n] == ' ' || m[n] == '\0'))
            return true;
    }
    return false;
}

static void expect_family(struct world *w, const char *path)
{
    bool native = strncmp(path, "/v1/", 4) == 0; /* of others the family is the route's, where there is one */
    if (native ? !strstr(w->text, "\"detail\":") : !strstr(w->text, "\"code\":10100") && strncmp(path, "/milvus/", 8) == 0)
        fail_msg("%s: not an error of its family: %s", path, w->text);
}

/* Each route with each method there is, so that what is no method of it is not a way in either. */
static void nobody_gets_in_without_a_key(void **state)
{
    struct world *w = *state;
    const char *list, *pattern;
    static const char wrong[] = "lk_0123456789ab_000000000000000000000000000000000000000000000000";
    size_t closed = 0;
    for (size_t i = 0; api_route(i, &list, &pattern); i++) {
        char path[256];
        fill_path(pattern, path, sizeof path);
        for (size_t m = 0; m < METHODS; m++) {
            bool open = has_method(list, methods[m]) && api_route_right(i) == 0;
            const struct ask asks[] = {
                {methods[m], path, NULL, NULL, "shop", NULL},
                {methods[m], path, "Authorization", "Bearer", "shop", NULL},
                {methods[m], path, "Authorization", "Basic bGs6bGs=", "shop", NULL},
                {methods[m], path, "Authorization", wrong, "shop", NULL},
                {methods[m], path, "X-API-Key", wrong, "shop", NULL},
                {methods[m], path, "X-API-Key", "", "shop", NULL},
            };
            for (size_t k = 0; k < sizeof asks / sizeof *asks; k++) {
                unsigned status = ask(w, &asks[k]);
                if (open ? status != 200 : status != 401)
                    fail_msg("%s %s, case %zu: %u", methods[m], path, k, status);
                if (!open)
                    expect_family(w, path);
                closed += !open;
            }
        }
    }
    assert_true(closed > 500);
    assert_int_equal(ask(w, &(struct ask){.method = "GET", .path = "/nowhere"}), 401);
    assert_int_equal(ask(w, &(struct ask){.method = "GET", .path = "/nowhere", .header = "x-api-key", .value = w->keys[0]}), 404);
    assert_int_equal(ask(w, &(struct ask){.method = "GET", .path = "/"}), 200);
}

static void a_key_does_what_it_may_and_no_more(void **state)
{
    struct world *w = *state;
    static const unsigned rights[] = {AUTH_SEARCH, AUTH_WRITE, AUTH_ADMIN};
    const char *list, *pattern;
    size_t refused = 0, passed = 0;
    for (size_t i = 0; api_route(i, &list, &pattern); i++) {
        char path[256], bearer[AUTH_KEY_LEN + 8];
        unsigned needs = api_route_right(i);
        fill_path(pattern, path, sizeof path);
        for (size_t k = 0; k < 3; k++) {
            bool may = needs == 0 || rights[k] == needs || rights[k] == AUTH_ADMIN;
            snprintf(bearer, sizeof bearer, "bearer %s", w->keys[k]);
            for (size_t m = 0; m < METHODS; m++) {
                if (!has_method(list, methods[m]))
                    continue;
                unsigned status = ask(w, &(struct ask){methods[m], path, "authorization", bearer, "shop", NULL});
                if (may ? status != 200 : status != 403)
                    fail_msg("%s %s with right %u: %u %s", methods[m], path, rights[k], status, w->text);
                if (!may)
                    expect_family(w, path);
                passed += may;
                refused += !may;
            }
        }
    }
    assert_true(passed > 20 && refused > 20);
}

static void a_bound_key_stays_with_its_collections(void **state)
{
    struct world *w = *state;
    const char *list, *pattern;
    for (size_t i = 0; api_route(i, &list, &pattern); i++) {
        char path[256];
        fill_path(pattern, path, sizeof path);
        for (size_t m = 0; m < METHODS; m++) {
            if (!has_method(list, methods[m]) || api_route_right(i) == 0)
                continue;
            bool names = strstr(pattern, "{c}") || strncmp(pattern, "/milvus/", 8) == 0;
            bool whole = !names && api_route_right(i) == AUTH_ADMIN;
            unsigned status = ask(w, &(struct ask){methods[m], path, "X-API-Key", w->bound, names ? "shop" : NULL, NULL});
            if (names || whole ? status != 403 : status != 200)
                fail_msg("%s %s: %u %s", methods[m], path, status, w->text);
        }
    }
    /* In the body only the handler sees it. */
    static const char *const compatible[] = {"/milvus/collection/create", "/milvus/collection/drop", "/milvus/img/add",
        "/milvus/img/update", "/milvus/img/search", "/milvus/img/count", "/milvus/img/delete", "/milvus/img/get"};
    for (size_t i = 0; i < sizeof compatible / sizeof *compatible; i++) {
        struct ask a = {"POST", compatible[i], "X-API-Key", w->bound, NULL, "{\"collection\":\"shop\",\"fileid\":1}"};
        assert_int_equal(ask(w, &a), 403);
        assert_non_null(strstr(w->text, "\"code\":10100"));
        a.collection = "other"; /* an allowed one beside it does not help: the body wins */
        assert_int_equal(ask(w, &a), 403);
    }
    struct ask own = {"POST", "/milvus/img/count", "X-API-Key", w->bound, NULL, "{\"collection\":\"other\"}"};
    assert_int_equal(ask(w, &own), 200);
    assert_non_null(strstr(w->text, "\"data\":0"));
    struct ask lists = {"GET", "/v1/collections", "X-API-Key", w->bound, NULL, ""};
    assert_int_equal(ask(w, &lists), 200);
    assert_non_null(strstr(w->text, "\"other\""));
    assert_null(strstr(w->text, "\"shop\""));
    bool found = false;
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(store_list(w->store, &names, &count, NULL), ERR_OK);
    for (size_t i = 0; i < count; i++)
        found = found || strcmp(names[i], "shop") == 0;
    free(names);
    assert_true(found && count == 2); /* nothing was done by all of the above */
}

static void keys_over_http(void **state)
{
    struct world *w = *state;
    struct ask make = {"POST", "/v1/keys", "X-API-Key", w->keys[2], NULL,
        "{\"name\":\"web\",\"rights\":[\"search\",\"write\"],\"collections\":[\"shop\"]}"};
    assert_int_equal(ask(w, &make), 201);
    assert_non_null(strstr(w->text, "\"rights\":[\"search\",\"write\"],\"collections\":[\"shop\"],\"created\":\"20"));
    char key[AUTH_KEY_LEN + 1], path[64];
    const char *at = strstr(w->text, "\"key\":\"");
    assert_non_null(at);
    snprintf(key, sizeof key, "%.*s", AUTH_KEY_LEN, at + 7);
    struct ask stats = {"GET", "/v1/collections/shop", "X-API-Key", key, NULL, ""};
    assert_int_equal(ask(w, &stats), 200);
    struct ask lists = {"GET", "/v1/keys", "X-API-Key", w->keys[2], NULL, ""};
    assert_int_equal(ask(w, &lists), 200);
    assert_non_null(strstr(w->text, "\"name\":\"web\""));
    assert_null(strstr(w->text, key + 16)); /* the secret is never shown again */
    snprintf(path, sizeof path, "/v1/keys/%.*s", AUTH_ID_LEN, key + 3);
    struct ask revoke = {"DELETE", path, "X-API-Key", w->keys[2], NULL, ""};
    assert_int_equal(ask(w, &revoke), 204);
    assert_int_equal(ask(w, &stats), 401);
    assert_int_equal(ask(w, &revoke), 404);
    snprintf(path, sizeof path, "/v1/keys/%.*s", AUTH_ID_LEN, w->keys[2] + 3);
    assert_int_equal(ask(w, &revoke), 409); /* the last that manages */
    static const struct {
        const char *body, *field;
    } bad[] = {
        {"{}", "name"},
        {"", "name"},
        {"{\"name\":\"a\"}", "rights"},
        {"{\"name\":7,\"rights\":[\"search\"]}", "name"},
        {"{\"name\":\"a\\u0000b\",\"rights\":[\"search\"]}", ""},
        {"{\"name\":\"a\",\"rights\":\"search\"}", "rights"},
        {"{\"name\":\"a\",\"rights\":[\"root\"]}", "rights"},
        {"{\"name\":\"a\",\"rights\":[1]}", "rights"},
        {"{\"name\":\"a\",\"rights\":[\"search\"],\"collections\":[]}", "collections"},
        {"{\"name\":\"a\",\"rights\":[\"search\"],\"collections\":\"shop\"}", "collections"},
        {"{\"name\":\"a\",\"rights\":[\"search\"],\"collections\":[\"1\"]}", "collections"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make.body = bad[i].body;
        if (ask(w, &make) != 400 || !strstr(w->text, bad[i].field))
            fail_msg("%s: %u %s", bad[i].body, w->status, w->text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_gets_in_without_a_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_does_what_it_may_and_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bound_key_stays_with_its_collections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_over_http, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
