/* The command line's client against the same server. */
#include "support.h"
#include "fetch/http_client.h"

static struct test_server *server;

static int start(void **state)
{
    server = test_server_start();
    return 0;
}

static int stop(void **state)
{
    test_server_stop(server);
    return 0;
}

static struct http_client *client_at(const char *base)
{
    struct http_client *c = NULL;
    struct err err = {0};
    if (http_client_new(base, &c, &err))
        fail_msg("%s", err.message);
    return c;
}

static long send_to(struct http_client *c, const struct http_client_request *request, struct buf *body)
{
    struct err err = {0};
    long status = 0;
    if (http_client_send(c, request, &status, body, &err))
        fail_msg("%s: %s", request->path, err.message);
    return status;
}

static void test_any_status(void **state)
{
    struct http_client *c = client_at(url_at(server, "127.0.0.1", "/"));
    struct buf body;
    buf_init(&body, LIMIT_MIB);
    assert_int_equal(send_to(c, &(struct http_client_request){.method = "GET", .path = "/ok"}, &body), 200);
    assert_string_equal(body.data, TEST_SERVER_BODY);
    assert_int_equal(
        send_to(c, &(struct http_client_request){.method = "GET", .path = "/status/404"}, &body), 404);
    assert_string_equal(body.data, TEST_SERVER_BODY "sorry"); /* appended */
    assert_int_equal(
        send_to(c, &(struct http_client_request){.method = "GET", .path = "/status/503"}, &body), 503);
    assert_int_equal(send_to(c, &(struct http_client_request){.method = "GET", .path = "/loop"}, &body), 302);
    assert_int_equal(send_to(c, &(struct http_client_request){.method = "GET", .path = "/empty"}, NULL), 200);
    buf_free(&body);
    http_client_free(c);
}

static void test_keep_alive(void **state)
{
    struct http_client *c = client_at(url_at(server, "[::1]", ""));
    struct buf body;
    buf_init(&body, LIMIT_MIB);
    test_server_reset(server);
    for (int i = 0; i < 20; i++)
        assert_int_equal(
            send_to(c, &(struct http_client_request){.method = "GET", .path = "/ok"}, &body), 200);
    assert_int_equal(test_server_connections(server), 1);
    /* A server that closes in between is not noticed by the caller. */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(
            send_to(c, &(struct http_client_request){.method = "GET", .path = "/close"}, &body), 200);
        assert_int_equal(
            send_to(c,
                &(struct http_client_request){.method = "POST", .path = "/echo", .body = "x", .body_len = 1},
                &body),
            200);
    }
    assert_int_equal(test_server_connections(server), 6);
    buf_free(&body);
    http_client_free(c);
}

static void test_methods(void **state)
{
    static const struct {
        const char *method, *body, *type, *line, *length;
    } cases[] = {
        {"GET", NULL, NULL, "GET /base/echo?a=%20 HTTP/1.1\r\n", NULL},
        {"POST", "hello", "text/plain", "POST /base/echo?a=%20 HTTP/1.1\r\n", "Content-Length: 5\r\n"},
        {"POST", NULL, NULL, "POST /base/echo?a=%20 HTTP/1.1\r\n", "Content-Length: 0\r\n"},
        {"PUT", "{}", "application/json", "PUT /base/echo?a=%20 HTTP/1.1\r\n", "Content-Length: 2\r\n"},
        {"PATCH", "", NULL, "PATCH /base/echo?a=%20 HTTP/1.1\r\n", "Content-Length: 0\r\n"},
        {"DELETE", NULL, NULL, "DELETE /base/echo?a=%20 HTTP/1.1\r\n", NULL},
    };
    struct http_client *c = client_at(url_at(server, "jo:secret@127.0.0.1", "/base//"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf body;
        char head[1024];
        buf_init(&body, LIMIT_MIB);
        struct http_client_request request = {
            .method = cases[i].method,
            .path = "/echo?a=%20",
            .content_type = cases[i].type,
            .body = cases[i].body,
            .body_len = cases[i].body ? strlen(cases[i].body) : 0,
        };
        assert_int_equal(send_to(c, &request, &body), 404); /* the server knows /echo, not /base/echo */
        test_server_last_request(server, head, sizeof head);
        assert_memory_equal(head, cases[i].line, strlen(cases[i].line));
        assert_true(
            cases[i].length ? strstr(head, cases[i].length) != NULL : strstr(head, "Content-Length") == NULL);
        if (cases[i].type)
            assert_non_null(strstr(head, cases[i].type));
        else
            assert_null(strstr(head, "Content-Type"));
        assert_null(strstr(head, "Expect"));
        assert_non_null(strstr(head, "Authorization: Basic am86c2VjcmV0\r\n"));
        buf_free(&body);
    }
    http_client_free(c);
}

/* Bytes of all kinds arrive as they were. */
static void test_body(void **state)
{
    struct http_client *c = client_at(url_at(server, "127.0.0.1", ""));
    struct buf body;
    char bytes[8000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    buf_init(&body, LIMIT_MIB);
    struct http_client_request request = {.method = "POST",
        .path = "/echo",
        .content_type = "image/jpeg",
        .body = bytes,
        .body_len = sizeof bytes};
    assert_int_equal(send_to(c, &request, &body), 200);
    assert_true(body.len > sizeof bytes);
    assert_memory_equal(body.data + body.len - sizeof bytes, bytes, sizeof bytes);
    buf_free(&body);
    http_client_free(c);
}

/* The result of a request that must fail; `body` and `status` are untouched. */
static enum result failure(
    struct http_client *c, const char *method, const char *path, size_t max, struct err *err)
{
    struct buf body;
    long status = 77;
    *err = (struct err){0};
    buf_init(&body, max);
    assert_int_equal(buf_append_str(&body, "before"), ERR_OK);
    struct http_client_request request = {.method = method, .path = path, .timeout_ms = 300};
    enum result r = http_client_send(c, &request, &status, &body, err);
    if (!r)
        fail_msg("%s succeeds", path);
    assert_string_equal(body.data, "before");
    assert_int_equal(body.len, 6);
    assert_int_equal(status, 77);
    assert_null(strstr(err->message, "secret"));
    buf_free(&body);
    return r;
}

static void test_failures(void **state)
{
    struct http_client *c = client_at(url_at(server, "jo:secret@127.0.0.1", ""));
    struct err err;
    char base[64];
    snprintf(base, sizeof base, "http://127.0.0.1:%u", test_server_port(server));
    static const char *const paths[] = {"/hang", "/hang-body", "/drip", "/short", "/garbage"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(failure(c, "GET", paths[i], LIMIT_MIB, &err), ERR_UNAVAILABLE);
        assert_non_null(strstr(err.message, base));
    }
    assert_int_equal(failure(c, "GET", "/size/1000", 1005, &err), ERR_TOO_LARGE);
    assert_int_equal(failure(c, "GET", "/open/1000", 1005, &err), ERR_TOO_LARGE);
    assert_int_equal(failure(c, "GET", "ok", 100, &err), ERR_INVALID);
    assert_int_equal(failure(c, "GET", "/a b", 100, &err), ERR_INVALID);
    assert_int_equal(failure(c, "GET", "/a\r\nX: y", 100, &err), ERR_INVALID);
    assert_int_equal(failure(c, "GET /x", "/a", 100, &err), ERR_INVALID);
    assert_int_equal(failure(c, "", "/a", 100, &err), ERR_INVALID);
    /* And the client still works. */
    struct buf body;
    buf_init(&body, 100);
    assert_int_equal(send_to(c, &(struct http_client_request){.method = "GET", .path = "/ok"}, &body), 200);
    buf_free(&body);
    http_client_free(c);
}

static void test_no_server(void **state)
{
    struct test_server *gone = test_server_start();
    char base[64];
    struct err err;
    snprintf(base, sizeof base, "http://127.0.0.1:%u", test_server_port(gone));
    test_server_stop(gone);
    struct http_client *c = client_at(base);
    assert_int_equal(failure(c, "GET", "/ok", 100, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, base));
    assert_non_null(strstr(err.message, "lookalike serve"));
    http_client_free(c);
    c = client_at("http://missing.test:5000");
    assert_int_equal(failure(c, "GET", "/ok", 100, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "missing.test"));
    http_client_free(c);
    http_client_free(NULL);
}

static void test_environment(void **state)
{
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.2:%u", test_server_port(server));
    setenv("http_proxy", proxy, 1);
    struct http_client *c = client_at(url_at(server, "127.0.0.1", ""));
    test_server_reset(server);
    assert_int_equal(send_to(c, &(struct http_client_request){.method = "GET", .path = "/ok"}, NULL), 200);
    assert_int_equal(test_server_connections_at(server, AT_127_0_0_2), 0);
    unsetenv("http_proxy");
    http_client_free(c);
}

static void test_wrong_server(void **state)
{
    static const char *const wrong[] = {"", "127.0.0.1:5000", "ftp://a", "file:///x", "http://", "http://a b",
        "http://a:99999", "http://a?x", "http://a/#f", "http://jo:secret@a b/"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct http_client *c = NULL;
        struct err err = {0};
        if (http_client_new(wrong[i], &c, &err) != ERR_INVALID)
            fail_msg("\"%s\" was accepted", wrong[i]);
        assert_null(c);
        assert_non_null(strstr(err.message, "http://"));
        assert_null(strstr(err.message, "secret"));
    }
    static char longest[LIMIT_URL_BYTES + 2];
    struct http_client *c = NULL;
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest, "http://", 7);
    assert_int_equal(http_client_new(longest, &c, NULL), ERR_INVALID);
}

static void test_escape(void **state)
{
    struct buf out;
    buf_init(&out, 64);
    assert_int_equal(http_client_escape(&out, "aZ09-._~", 8), ERR_OK);
    assert_int_equal(http_client_escape(&out, "/ ?&=%\0\xc3\xbc", 9), ERR_OK);
    assert_string_equal(out.data, "aZ09-._~%2F%20%3F%26%3D%25%00%C3%BC");
    size_t len = out.len;
    assert_int_equal(http_client_escape(&out, "aaaaaaaaaaaaaaaaaaaa//////////", 30), ERR_TOO_LARGE);
    assert_int_equal(out.len, len);
    buf_free(&out);
    buf_init(&out, 64);
    assert_int_equal(http_client_escape(&out, "", 0), ERR_OK);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_status),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_wrong_server),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests_name("http client", tests, start, stop);
}
