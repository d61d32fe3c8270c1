/*
 * The routes without a socket: requests built here, a fake engine, the store in memory. What the HTTP server adds is
 * tested in tests/http, the whole with the real model in tests/acceptance.
 */
#include "world.h"

#include "base/parse.h"
#include "image/image.h"
#include "json/json.h"

#include <unistd.h>

#define SUCCESS_START "{\"code\":10000,\"message\":\"Successfully\""

static void expect_failure(struct world *w, const char *reply, const char *part)
{
    assert_int_equal(w->status, 200);
    if (!strstr(reply, "\"code\":10100") || !strstr(reply, part))
        fail_msg("expected a failure with \"%s\", got %s", part, reply);
}

static void make(struct world *w)
{
    assert_string_equal(query(w, "POST", "/milvus/collection/create", "collection", "shop"), SUCCESS_START ",\"data\":null}");
}

static void the_eight_routes(void **state)
{
    struct world *w = *state;
    make(w);
    expect_failure(w, query(w, "POST", "/milvus/collection/create", "collection", "shop"), "shop");
    assert_string_equal(post(w, "/milvus/img/add",
        "{\"collection\":\"shop\",\"fileid\":9007199254740993,\"itemid\":\"7\",\"image\":\"" RED "\",\"tags\":[\"a\"],\"brief\":{\"p\":1.10}}"),
        SUCCESS_START ",\"data\":9007199254740993}");
    assert_string_equal(post(w, "/milvus/img/add", "{\"collection\":\"shop\",\"fileid\":2,\"image\":\"data:image/png;base64," BLUE "\"}"),
        SUCCESS_START ",\"data\":2}");
    assert_string_equal(query(w, "GET", "/milvus/img/count", "collection", "shop"), SUCCESS_START ",\"data\":2}");
    const char *hits = post(w, "/milvus/img/search", "{\"collection\":\"shop\",\"image\":\"" RED "\"}");
    const char *first = "[{\"fileid\":9007199254740993,\"itemid\":7,\"tags\":[\"a\"],\"brief\":{\"p\":1.10},\"distance\":";
    if (!strstr(hits, first))
        fail_msg("%s", hits);
    assert_string_equal(post(w, "/milvus/img/update", "{\"collection\":\"shop\",\"fileid\":2,\"tags\":[\"x\",\"y\"]}"), SUCCESS_START ",\"data\":2}");
    assert_string_equal(post(w, "/milvus/img/update", "{\"collection\":\"shop\",\"fileid\":3,\"tags\":[]}"), SUCCESS_START ",\"data\":0}");
    const char *got = post(w, "/milvus/img/get", "{\"collection\":\"shop\",\"itemid\":2}");
    assert_non_null(strstr(got, "\"tags\":[\"x\",\"y\"],\"brief\":{},\"vectors\":["));
    assert_string_equal(post(w, "/milvus/img/delete", "{\"collection\":\"shop\",\"fileid\":2}"), SUCCESS_START "}");
    assert_string_equal(post(w, "/milvus/img/get", "{\"collection\":\"shop\",\"fileid\":2}"), SUCCESS_START ",\"data\":[]}");
    assert_string_equal(query(w, "POST", "/milvus/collection/drop", "collection", "shop"), SUCCESS_START "}");
    expect_failure(w, query(w, "POST", "/milvus/collection/drop", "collection", "shop"), "shop");
}

static void failures_name_the_field_and_change_nothing(void **state)
{
    static const struct {
        const char *body, *part;
    } cases[] = {
        {"{\"fileid\":1,\"image\":\"" RED "\"}", "collection"},
        {"{\"collection\":5,\"fileid\":1,\"image\":\"" RED "\"}", "collection"},
        {"{\"collection\":\"1a\",\"fileid\":1,\"image\":\"" RED "\"}", "collection"},
        {"{\"collection\":\"other\",\"fileid\":1,\"image\":\"" RED "\"}", "other"},
        {"{\"collection\":\"shop\",\"image\":\"" RED "\"}", "fileid"},
        {"{\"collection\":\"shop\",\"fileid\":1.5,\"image\":\"" RED "\"}", "fileid"},
        {"{\"collection\":\"shop\",\"fileid\":true,\"image\":\"" RED "\"}", "fileid"},
        {"{\"collection\":\"shop\",\"fileid\":9223372036854775808,\"image\":\"" RED "\"}", "fileid"},
        {"{\"collection\":\"shop\",\"fileid\":1}", "image"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"\",\"url\":\" \"}", "image"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"####\"}", "image"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"aGVsbG8gd29ybGQ=\"}", "image"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"data:image/png,x\"}", "image"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"url\":\"http://127.0.0.1/\"}", "url"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"" RED "\",\"tags\":\"a\"}", "tags"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"" RED "\",\"tags\":[1]}", "tags"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"" RED "\",\"tags\":[0,1,2,3,4,5,6,7,8,9,10]}", "tags"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"" RED "\",\"brief\":[]}", "brief"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"image\":\"" RED "\",\"brief\":\"{\"}", "brief"},
        {"{\"collection\":\"shop\",\"fileid\":1,\"fileid\":2,\"image\":\"" RED "\"}", "twice"},
        {"[]", "object"},
        {"{", "JSON"},
    };
    struct world *w = *state;
    make(w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_failure(w, post(w, "/milvus/img/add", cases[i].body), cases[i].part);
    assert_string_equal(query(w, "GET", "/milvus/img/count", "collection", "shop"), SUCCESS_START ",\"data\":0}");
}

static void search_limits(void **state)
{
    static const struct {
        const char *more, *part;
    } cases[] = {
        {"\"limit\":0", "limit"},
        {"\"limit\":16385", "limit"},
        {"\"limit\":\"ten\"", "limit"},
        {"\"offset\":-1", "offset"},
        {"\"limit\":10,\"offset\":16375", "offset"},
        {"\"group\":5", "group"},
        {"\"filter\":\"fileid = 1\"", "filter"},
        {"\"filter\":7", "filter"},
    };
    struct world *w = *state;
    make(w);
    char body[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(body, sizeof body, "{\"collection\":\"shop\",\"image\":\"" RED "\",%s}", cases[i].more);
        expect_failure(w, post(w, "/milvus/img/search", body), cases[i].part);
    }
    const char *fine[] = {"\"limit\":\"16384\"", "\"limit\":10,\"offset\":16374", "\"filter\":\"  \"", "\"filter\":null,\"limit\":null"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        snprintf(body, sizeof body, "{\"collection\":\"shop\",\"image\":\"" RED "\",%s}", fine[i]);
        assert_string_equal(post(w, "/milvus/img/search", body), SUCCESS_START ",\"data\":[]}");
    }
}

static void limits_of_tags_and_brief(void **state)
{
    struct world *w = *state;
    make(w);
    char *body = malloc(1 << 18), *fill = malloc(1 << 17);
    assert_true(body && fill);
    static const struct {
        const char *before, *after;
        int size;
        bool ok;
    } cases[] = {
        {"\"tags\":[\"", "\"]", LIMIT_TAG_BYTES, true},
        {"\"tags\":[\"", "\"]", LIMIT_TAG_BYTES + 1, false},
        {"\"brief\":{\"a\":\"", "\"}", LIMIT_BRIEF_BYTES - 8, true},
        {"\"brief\":{\"a\":\"", "\"}", LIMIT_BRIEF_BYTES - 7, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(fill, 'x', (size_t)cases[i].size);
        fill[cases[i].size] = '\0';
        snprintf(body, 1 << 18, "{\"collection\":\"shop\",\"fileid\":1,\"image\":\"" RED "\",%s%s%s}", cases[i].before, fill,
            cases[i].after);
        const char *reply = post(w, "/milvus/img/add", body);
        if (cases[i].ok)
            assert_string_equal(reply, SUCCESS_START ",\"data\":1}");
        else
            expect_failure(w, reply, "at most");
    }
    free(fill);
    free(body);
}

static void parameters_stand_anywhere(void **state)
{
    struct world *w = *state;
    make(w);
    struct ask form = {.method = "POST", .path = "/milvus/img/add", .type = "application/x-www-form-urlencoded; charset=utf-8",
        .body = "collection=shop&fileid=5&tags=%5B%22a%22%5D&brief=%7B%22k%22%3A1%7D&image=" RED};
    assert_string_equal(ask(w, &form), SUCCESS_START ",\"data\":5}");
    struct ask mixed = {.method = "POST", .path = "/milvus/img/update", .type = "application/json", .body = "{\"tags\":[\"z\"]}",
        .query = {{"collection", "shop", 4}, {"fileid", "5", 1}}, .query_count = 2};
    assert_string_equal(ask(w, &mixed), SUCCESS_START ",\"data\":5}");
    const char *got = post(w, "/milvus/img/get", "{\"collection\":\"shop\",\"fileid\":\"5\"}");
    assert_non_null(strstr(got, "\"tags\":[\"z\"],\"brief\":{\"k\":1}"));
    /* The body wins. */
    struct ask both = {.method = "POST", .path = "/milvus/img/count", .type = "application/json", .body = "{\"collection\":\"shop\"}",
        .query = {{"collection", "other", 5}}, .query_count = 1};
    assert_string_equal(ask(w, &both), SUCCESS_START ",\"data\":1}");
}

static void routes_and_methods(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.method = "GET", .path = "/milvus/img/add"});
    assert_int_equal(w->status, 405);
    assert_non_null(strstr(w->body.data, "\"code\":10100"));
    ask(w, &(struct ask){.method = "GET", .path = "/nowhere"});
    assert_int_equal(w->status, 404);
    ask(w, &(struct ask){.method = "PATCH", .path = "/v1/collections"});
    assert_int_equal(w->status, 405);
    assert_string_equal(w->type, "application/problem+json");
    ask(w, &(struct ask){.method = "POST", .path = "/milvus/img/count", .type = "application/xml", .body = "<a/>"});
    assert_int_equal(w->status, 415);
    ask(w, &(struct ask){.method = "GET", .path = "/v1/collections/none"});
    assert_int_equal(w->status, 404);
    ask(w, &(struct ask){.method = "PUT", .path = "/v1/collections/1bad"});
    assert_int_equal(w->status, 400);
    ask(w, &(struct ask){.method = "PUT", .path = "/v1/collections/good"});
    assert_int_equal(w->status, 201);
    ask(w, &(struct ask){.method = "PUT", .path = "/v1/collections/good"});
    assert_int_equal(w->status, 409);
    ask(w, &(struct ask){.method = "GET", .path = "/v1/collections/good/images/abc"});
    assert_int_equal(w->status, 400);
    ask(w, &(struct ask){.method = "PUT", .path = "/v1/collections/good/images/-3", .type = "application/json", .body = "{\"image\":\"" RED "\"}"});
    assert_int_equal(w->status, 200);
    ask(w, &(struct ask){.method = "GET", .path = "/v1/collections/good/images/-3/thumbnail"});
    assert_int_equal(w->status, 200);
    assert_string_equal(w->type, "image/jpeg");
    assert_memory_equal(w->body.data, "\xff\xd8\xff", 3);
    ask(w, &(struct ask){.method = "PUT", .path = "/v1/collections/good/images/4", .type = "image/png", .body = "no picture"});
    assert_true(w->status == 415 || w->status == 422);
    ask(w, &(struct ask){.method = "HEAD", .path = "/healthz"});
    assert_int_equal(w->status, 200);
    ask(w, &(struct ask){.method = "GET", .path = "/"});
    assert_int_equal(w->status, 200);
    ask(w, &(struct ask){.method = "POST", .path = "/"});
    assert_int_equal(w->status, 405);
}

static enum result long_work(struct job *job, void *user, struct buf *result, struct err *err)
{
    job_progress(job, 3, 7);
    job_message(job, "a \"message\"");
    while (!job_cancelled(job))
        usleep(1000);
    return buf_append_str(result, "[1,2]");
}

static void jobs_are_listed_shown_and_cancelled(void **state)
{
    struct world *w = *state;
    char id[JOB_ID_SIZE], path[64];
    assert_string_equal(ask(w, &(struct ask){.method = "GET", .path = "/v1/jobs"}), "{\"jobs\":[]}");
    struct job_work work = {.kind = "tune", .collection = "shop", .run = long_work};
    assert_int_equal(jobs_start(pipeline_jobs(w->pipeline), &work, id, NULL), ERR_OK);
    snprintf(path, sizeof path, "/v1/jobs/%s", id);
    const char *text;
    do
        text = ask(w, &(struct ask){.method = "GET", .path = path});
    while (!strstr(text, "message\\\""));
    assert_int_equal(w->status, 200);
    assert_non_null(strstr(text, "\"kind\":\"tune\",\"collection\":\"shop\",\"state\":\"running\",\"done\":3,\"total\":7,"));
    assert_non_null(strstr(text, "\"finished\":null,\"result\":null}"));
    assert_non_null(strstr(ask(w, &(struct ask){.method = "GET", .path = "/v1/jobs"}), id));
    ask(w, &(struct ask){.method = "DELETE", .path = path});
    assert_true(w->status == 202 || w->status == 200);
    do
        text = ask(w, &(struct ask){.method = "GET", .path = path});
    while (strstr(text, "\"running\""));
    assert_non_null(strstr(text, "\"state\":\"done\""));
    assert_non_null(strstr(text, "Z\",\"result\":[1,2]}"));
    ask(w, &(struct ask){.method = "DELETE", .path = path});
    assert_int_equal(w->status, 200);
    ask(w, &(struct ask){.method = "GET", .path = "/v1/jobs/nothing"});
    assert_int_equal(w->status, 404);
    ask(w, &(struct ask){.method = "DELETE", .path = "/v1/jobs/nothing"});
    assert_int_equal(w->status, 404);
}

/* A row of the table that no request above can reach would be dead; each pattern must be found through the gate. */
static void every_route_is_reachable(void **state)
{
    struct world *w = *state;
    const char *methods, *pattern;
    size_t n = 0;
    for (; api_route(n, &methods, &pattern); n++) {
        char path[256] = "", method[16];
        for (const char *p = pattern; *p; p++) {
            size_t len = strlen(path);
            if (*p == '{') {
                snprintf(path + len, sizeof path - len, "%s", strncmp(p, "{c}", 3) == 0 ? "shop" : "1");
                p += strcspn(p, "}");
            } else {
                snprintf(path + len, sizeof path - len, "%c", *p);
            }
        }
        snprintf(method, sizeof method, "%.*s", (int)strcspn(methods, " "), methods);
        struct http_request head = {.method = method, .path = path};
        struct http_reply reply = {.status = 200};
        buf_init(&reply.body, 1 << 16);
        api_gate(w->api, &head, &reply);
        buf_free(&reply.body);
        assert_int_equal(reply.status, 200);
    }
    assert_true(n > 8);
}

static void backups_by_request(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.method = "POST", .path = "/v1/backup"});
    assert_int_equal(w->status, 403);
    pipeline_free(w->pipeline);
    struct pipeline_options options = {
        .store = w->store, .embed = w->embed, .thumbnail_side = 16, .backup_folder = "/nowhere/kept"};
    assert_int_equal(pipeline_new(&options, &w->pipeline, NULL), ERR_OK);
    api_free(w->api);
    assert_int_equal(api_new(&(struct api_options){.pipeline = w->pipeline, .version = "test"}, &w->api, NULL), ERR_OK);
    static const char *const outside[] = {"/etc", "/nowhere/keptother", "../x", "a/../../x", "/nowhere/kept/../x"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"folder\":\"%s\"}", outside[i]);
        ask(w, &(struct ask){.method = "POST", .path = "/v1/backup", .type = "application/json", .body = body});
        assert_int_equal(w->status, 403);
    }
    ask(w, &(struct ask){.method = "POST", .path = "/v1/restore", .type = "application/json",
               .body = "{\"folder\":\"a\",\"collection\":\"../x\"}"});
    assert_int_equal(w->status, 400);
    /* A job starts, and says that this store cannot. */
    const char *reply = ask(w, &(struct ask){.method = "POST", .path = "/v1/backup"});
    assert_int_equal(w->status, 202);
    char path[100] = "/v1/jobs/";
    assert_int_equal(sscanf(reply, "{\"job\":\"%39[^\"]", path + strlen(path)), 1);
    for (int i = 0; i < 500; i++) {
        reply = ask(w, &(struct ask){.method = "GET", .path = path});
        assert_int_equal(w->status, 200);
        if (!strstr(reply, "\"running\""))
            break;
        usleep(10000);
    }
    assert_non_null(strstr(reply, "\"failed\""));
    assert_non_null(strstr(reply, "no backup of its own"));
}

/* The table and the document name the same routes and methods, and the document the program's version. */
static void openapi_names_every_route_and_no_other(void **state)
{
    struct world *w = *state;
    struct ask a = {.method = "GET", .path = "/openapi.json"};
    struct http_request request = {.method = a.method, .path = a.path, .deadline_ms = clock_now_ms() + 10000};
    struct http_reply reply = {.status = 200};
    buf_init(&reply.body, 1 << 16);
    api_handle(w->api, &request, &reply);
    struct json_object *doc = NULL, *paths, *version;
    struct err err = {0};
    if (json_parse(reply.static_body, reply.static_len, &doc, &err))
        fail_msg("%s", err.message);
    assert_string_equal(json_object_get_string(json_member(doc, "openapi")), "3.1.0");
    assert_true(json_object_object_get_ex(json_member(doc, "info"), "version", &version));
    assert_string_equal(json_object_get_string(version), PROJECT_VERSION);
    assert_true(json_object_object_get_ex(doc, "paths", &paths));
    size_t in_table = 0, in_document = 0;
    const char *methods, *pattern;
    for (size_t i = 0; api_route(i, &methods, &pattern); i++) {
        struct json_object *path = json_member(paths, pattern);
        if (!path)
            fail_msg("%s is not in openapi.json", pattern);
        for (const char *m = methods; *m; m += strcspn(m, " "), m += *m == ' ') {
            char lower[16] = "";
            for (size_t n = 0; n < 15 && m[n] && m[n] != ' '; n++)
                lower[n] = (char)(m[n] | 0x20);
            if (!json_member(path, lower))
                fail_msg("%s of %s is not in openapi.json", lower, pattern);
            in_table++;
        }
    }
    json_object_object_foreach(paths, name, path)
    {
        (void)name;
        in_document += (size_t)json_object_object_length(path);
    }
    assert_int_equal(in_table, in_document);
    json_object_put(doc);
    buf_free(&reply.body);
}

int main(void)
{
    if (image_init(NULL))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_eight_routes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_name_the_field_and_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(search_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_of_tags_and_brief, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parameters_stand_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(routes_and_methods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(jobs_are_listed_shown_and_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(backups_by_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(openapi_names_every_route_and_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_route_is_reachable, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    image_shutdown();
    return failed;
}
