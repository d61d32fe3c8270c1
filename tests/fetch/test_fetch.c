/* fetch_get() against a server that behaves in many ways. */
#include <pthread.h>
#include <sched.h>

#include "support.h"
#include "fake_net.h"

static struct test_server *server;
static struct fetch *plain; /* 127.0.0.1 and ::1 allowed by address; 64 KiB; 2 s */

#define PLAIN_MAX (64 * LIMIT_KIB)

static const char *const loopback[] = {"127.0.0.1", "::1"};

static int start(void **state)
{
    server = test_server_start();
    plain = fetch_allowing(loopback, 2, PLAIN_MAX, 2000);
    return 0;
}

static int stop(void **state)
{
    fetch_free(plain);
    test_server_stop(server);
    return 0;
}

/* The result of fetching `path`; what went into the buffer behind "before" has `len` bytes. */
static enum result get(struct fetch *f, const char *url, size_t *len, struct err *err)
{
    struct buf out;
    *err = (struct err){0};
    buf_init(&out, LIMIT_FETCH_BYTES);
    assert_int_equal(buf_append_str(&out, "before"), ERR_OK);
    enum result r = fetch_get(f, url, CLOCK_NO_DEADLINE, &out, err);
    assert_memory_equal(out.data, "before", 6);
    if (r) {
        assert_int_equal(out.len, 6);
        assert_int_equal(out.data[6], '\0');
        assert_int_equal(err->code, r);
        assert_string_equal(err->field, "url");
        assert_string_not_equal(err->message, "");
    }
    *len = out.len - 6;
    buf_free(&out);
    return r;
}

static void expect_result(const char *path, enum result want, const char *in_message)
{
    struct err err;
    size_t len;
    enum result r = get(plain, url_at(server, "127.0.0.1", path), &len, &err);
    if (r != want)
        fail_msg("%s gives %s: %s", path, err_name(r), err.message);
    if (!strstr(err.message, in_message) || !strstr(err.message, "127.0.0.1"))
        fail_msg("%s: %s", path, err.message);
}

static void expect_bytes(const char *host, const char *path, size_t want)
{
    struct err err;
    size_t len;
    if (get(plain, url_at(server, host, path), &len, &err))
        fail_msg("%s: %s", path, err.message);
    assert_int_equal(len, want);
}

static void test_good(void **state)
{
    expect_bytes("127.0.0.1", "/ok", strlen(TEST_SERVER_BODY));
    expect_bytes("[::1]", "/ok", strlen(TEST_SERVER_BODY));
    expect_bytes("[::ffff:127.0.0.1]", "/ok", strlen(TEST_SERVER_BODY));
    expect_bytes("localhost", "/ok", strlen(TEST_SERVER_BODY));
    expect_bytes("2130706433", "/ok", strlen(TEST_SERVER_BODY));
    expect_bytes(
        "mixed.test", "/ok", strlen(TEST_SERVER_BODY)); /* its first address is refused, the second not */
    expect_bytes("127.0.0.1", "/continue", strlen(TEST_SERVER_BODY));
    expect_bytes("127.0.0.1", "/empty", 0);
    expect_bytes("127.0.0.1", "/less", 7);
    expect_bytes("127.0.0.1", "/open/5000", 5000);
    expect_bytes("127.0.0.1", "/chunked/20000", 20000);
}

static void test_content(void **state)
{
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(fetch_get(plain, url_at(server, "127.0.0.1", "/ok"), 0, &out, NULL), ERR_OK);
    assert_string_equal(out.data, TEST_SERVER_BODY);
    buf_free(&out);
}

static void test_bad(void **state)
{
    expect_result("/status/404", ERR_UNAVAILABLE, "404");
    expect_result("/status/403", ERR_UNAVAILABLE, "403");
    expect_result("/status/500", ERR_UNAVAILABLE, "500");
    expect_result("/status/206", ERR_UNAVAILABLE, "206");
    expect_result("/status/204", ERR_UNAVAILABLE, "204");
    expect_result("/status/304", ERR_UNAVAILABLE, "304");
    expect_result("/short", ERR_UNAVAILABLE, "before the whole picture");
    expect_result("/garbage", ERR_UNAVAILABLE, "did not answer as a web server");
    expect_result("/gzip", ERR_UNSUPPORTED, "compressed");
    expect_result("/te-gzip", ERR_UNSUPPORTED, "compressed");
    expect_result("/nowhere", ERR_UNAVAILABLE, "without saying where to");
}

static void test_size(void **state)
{
    expect_bytes("127.0.0.1", "/size/65536", PLAIN_MAX);
    expect_bytes("127.0.0.1", "/open/65536", PLAIN_MAX);
    expect_bytes("127.0.0.1", "/chunked/65536", PLAIN_MAX);
    expect_result("/size/65537", ERR_TOO_LARGE, "65536 bytes");
    expect_result("/open/65537", ERR_TOO_LARGE, "65536 bytes");
    expect_result("/chunked/65537", ERR_TOO_LARGE, "65536 bytes");
    expect_result("/open/100000000", ERR_TOO_LARGE, "65536 bytes");
    expect_result("/claim/65537", ERR_TOO_LARGE, "65536 bytes"); /* before any byte of the body came */
    expect_result("/size/99999999999999999999999", ERR_TOO_LARGE, "65536 bytes");

    /* The room left in the caller's buffer counts as well. */
    struct buf out;
    buf_init(&out, 10);
    assert_int_equal(buf_append_str(&out, "1234"), ERR_OK);
    assert_int_equal(fetch_get(plain, url_at(server, "127.0.0.1", "/open/7"), 0, &out, NULL), ERR_TOO_LARGE);
    assert_string_equal(out.data, "1234");
    assert_int_equal(fetch_get(plain, url_at(server, "127.0.0.1", "/size/7"), 0, &out, NULL), ERR_TOO_LARGE);
    assert_int_equal(fetch_get(plain, url_at(server, "127.0.0.1", "/open/6"), 0, &out, NULL), ERR_OK);
    assert_int_equal(out.len, 10);
    assert_int_equal(fetch_get(plain, url_at(server, "127.0.0.1", "/empty"), 0, &out, NULL), ERR_OK);
    assert_int_equal(fetch_get(plain, url_at(server, "127.0.0.1", "/open/1"), 0, &out, NULL), ERR_TOO_LARGE);
    assert_int_equal(out.len, 10);
    buf_free(&out);
}

/* LIMIT_FETCH_BYTES is the default. */
static void test_default_size(void **state)
{
    struct fetch *f = fetch_allowing(loopback, 2, 0, 0);
    struct buf out;
    char path[64];
    buf_init(&out, (size_t)2 * LIMIT_FETCH_BYTES);
    snprintf(path, sizeof path, "/open/%d", LIMIT_FETCH_BYTES + 1);
    assert_int_equal(fetch_get(f, url_at(server, "127.0.0.1", path), 0, &out, NULL), ERR_TOO_LARGE);
    snprintf(path, sizeof path, "/open/%d", LIMIT_FETCH_BYTES);
    assert_int_equal(fetch_get(f, url_at(server, "127.0.0.1", path), 0, &out, NULL), ERR_OK);
    assert_int_equal(out.len, LIMIT_FETCH_BYTES);
    buf_free(&out);
    fetch_free(f);
}

static void test_headers(void **state)
{
    expect_bytes("127.0.0.1", "/headers/60000", strlen(TEST_SERVER_BODY));
    expect_result("/headers/70000", ERR_TOO_LARGE, "headers");
}

static void test_redirects(void **state)
{
    char path[64];
    snprintf(path, sizeof path, "/redirect/%d", LIMIT_FETCH_REDIRECTS);
    expect_bytes("127.0.0.1", path, strlen(TEST_SERVER_BODY));
    snprintf(path, sizeof path, "/redirect/%d", LIMIT_FETCH_REDIRECTS + 1);
    expect_result(path, ERR_UNAVAILABLE, "redirects more than 5 times");
    expect_result("/to?file:///etc/passwd", ERR_DENIED, "http://");
    expect_result("/to?gopher://127.0.0.1/x", ERR_DENIED, "http://");
    expect_result("/to?ftp://127.0.0.1/x", ERR_DENIED, "http://");
    expect_result("/to?data:image/png,x", ERR_DENIED, "redirects");
    expect_result("/to?http://", ERR_DENIED, "redirects");

    test_server_reset(server);
    expect_result("/loop", ERR_UNAVAILABLE, "redirects more than 5 times");
    /* A connection each: none is used again, or its address would be unchecked. */
    assert_int_equal(test_server_connections(server), LIMIT_FETCH_REDIRECTS + 1);

    /* The body of a redirect is not waited for. */
    int64_t begin = clock_now_ms();
    expect_bytes("127.0.0.1", "/open-redirect", strlen(TEST_SERVER_BODY));
    assert_true(clock_now_ms() - begin < 1000);
}

static void test_redirect_to_forbidden(void **state)
{
    char path[128];
    test_server_reset(server);
    snprintf(path, sizeof path, "/to?http://127.0.0.2:%u/ok", test_server_port(server));
    expect_result(path, ERR_DENIED, "--fetch-allow 127.0.0.2");
    expect_result(path, ERR_DENIED, "(a redirect from 127.0.0.1)");
    snprintf(path, sizeof path, "/to?//mapped.test:%u/redirect/1", test_server_port(server));
    expect_bytes(
        "127.0.0.1", path, strlen(TEST_SERVER_BODY)); /* 127.0.0.1 in another disguise, and allowed */
    expect_result("/to?http://169.254.169.254/", ERR_DENIED, "link-local");
    assert_int_equal(test_server_connections_at(server, AT_127_0_0_2), 0);
}

/* A name may be allowed; that says nothing of the next hop, nor of the addresses of other names. */
static void test_allowed_name(void **state)
{
    static const char *const allow[] = {"Loop4.test.", "b\xc3\xbc"
                                                       "cher.test"};
    struct fetch *f = fetch_allowing(allow, 2, 0, 2000);
    char path[128];
    struct err err;
    size_t len;
    assert_int_equal(get(f, url_at(server, "loop4.test", "/redirect/2"), &len, &err), ERR_OK);
    assert_int_equal(get(f, url_at(server, "LOOP4.TEST.", "/ok"), &len, &err), ERR_OK);
    assert_int_equal(get(f,
                         url_at(server,
                             "B\xc3\xbc"
                             "cher.test",
                             "/ok"),
                         &len, &err),
        ERR_OK);
    test_server_reset(server);
    assert_int_equal(get(f, url_at(server, "127.0.0.1", "/ok"), &len, &err), ERR_DENIED);
    assert_int_equal(get(f, url_at(server, "mapped.test", "/ok"), &len, &err), ERR_DENIED);
    assert_int_equal(test_server_connections(server), 0);
    snprintf(path, sizeof path, "/to?http://127.0.0.1:%u/ok", test_server_port(server));
    assert_int_equal(get(f, url_at(server, "loop4.test", path), &len, &err), ERR_DENIED);
    assert_int_equal(test_server_connections(server), 1);
    fetch_free(f);
}

/* The name of an allowed address is looked up again for the redirect, and then leads elsewhere. */
static void test_rebinding(void **state)
{
    struct err err;
    size_t len;
    test_server_reset(server);
    assert_int_equal(get(plain, url_at(server, "rebind.test", "/redirect/1"), &len, &err), ERR_DENIED);
    assert_int_equal(test_server_connections_at(server, AT_127_0_0_1), 1);
    assert_int_equal(test_server_connections_at(server, AT_127_0_0_2), 0);
}

static void last_request(char *out, size_t room)
{
    test_server_last_request(server, out, room);
}

static void test_request(void **state)
{
    char head[4096], path[256];
    expect_bytes("127.0.0.1", "/ok", strlen(TEST_SERVER_BODY));
    last_request(head, sizeof head);
    assert_non_null(strstr(head, "User-Agent: lookalike/0.1\r\n"));
    assert_null(strcasestr(head, "accept-encoding"));
    assert_null(strcasestr(head, "authorization"));
    assert_null(strcasestr(head, "cookie"));
    assert_null(strcasestr(head, "referer"));

    /* The user and password of the URL go to the URL, and to no redirect, not even on the same server. */
    expect_bytes("jo:s%20cret@127.0.0.1", "/ok", strlen(TEST_SERVER_BODY));
    last_request(head, sizeof head);
    assert_non_null(strstr(head, "Authorization: Basic am86cyBjcmV0\r\n"));
    expect_bytes("jo:secret@127.0.0.1", "/redirect/1", strlen(TEST_SERVER_BODY));
    last_request(head, sizeof head);
    assert_non_null(strstr(head, "GET /ok "));
    assert_null(strcasestr(head, "authorization"));
    snprintf(path, sizeof path, "/to?http://jo:secret@127.0.0.1:%u/ok", test_server_port(server));
    expect_bytes("127.0.0.1", path, strlen(TEST_SERVER_BODY));
    last_request(head, sizeof head);
    assert_non_null(strstr(head, "GET /ok "));
    assert_null(strcasestr(head, "authorization"));
    expect_result("/to?http://jo:secret@127.0.0.9/", ERR_DENIED, "127.0.0.9");
}

static void test_no_password_in_messages(void **state)
{
    static const char *const paths[] = {"/status/404", "/short", "/garbage", "/loop", "/gzip",
        "/size/99999999", "/to?http://127.0.0.2/", "/to?file:///x", "/nowhere"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct err err;
        size_t len;
        assert_int_not_equal(get(plain, url_at(server, "jo:secret@127.0.0.1", paths[i]), &len, &err), ERR_OK);
        assert_null(strstr(err.message, "secret"));
    }
}

/* Variables that the curl program and others obey. The proxy would be the test server itself. */
static void test_environment(void **state)
{
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"};
    char proxy[64];
    struct err err;
    size_t len;
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", test_server_port(server));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], proxy, 1);
    test_server_reset(server);
    assert_int_equal(get(plain, "http://127.0.0.2/ok", &len, &err), ERR_DENIED);
    assert_int_equal(get(plain, "http://public.test/ok", &len, &err), ERR_UNAVAILABLE);
    assert_int_equal(get(plain, "https://10.0.0.1/ok", &len, &err), ERR_DENIED);
    assert_int_equal(test_server_connections(server), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void test_unreachable(void **state)
{
    struct err err;
    size_t len;
    assert_int_equal(get(plain, "http://missing.test/a", &len, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "missing.test"));
    struct test_server *gone = test_server_start();
    unsigned port = test_server_port(gone);
    test_server_stop(gone);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", port);
    assert_int_equal(get(plain, url, &len, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "refuses the connection"));
    /* No TLS at the other end. */
    snprintf(url, sizeof url, "https://127.0.0.1:%u/ok", test_server_port(server));
    assert_int_equal(get(plain, url, &len, &err), ERR_UNAVAILABLE);
}

/* `f`'s own limit of 300 ms. */
static void expect_timeout(struct fetch *f, const char *host, const char *path)
{
    struct err err;
    size_t len;
    int64_t begin = clock_now_ms();
    enum result r = get(f, url_at(server, host, path), &len, &err);
    int64_t took = clock_now_ms() - begin;
    if (r != ERR_TIMEOUT)
        fail_msg("%s gives %s: %s", path, err_name(r), err.message);
    assert_non_null(strstr(err.message, host));
    if (took < 250 || took > 1000)
        fail_msg("%s took %d ms", path, (int)took);
}

static void test_time(void **state)
{
    struct fetch *f = fetch_allowing(loopback, 2, 0, 300);
    expect_timeout(f, "127.0.0.1", "/hang");
    expect_timeout(f, "127.0.0.1", "/hang-body");
    expect_timeout(f, "127.0.0.1", "/drip");
    expect_timeout(f, "slow.test", "/ok"); /* the look-up itself */
    fetch_free(f);
}

static void test_deadline_of_caller(void **state)
{
    struct buf out;
    struct err err;
    buf_init(&out, 100);
    int64_t begin = clock_now_ms();
    const char *url = url_at(server, "127.0.0.1", "/hang");
    assert_int_equal(fetch_get(plain, url, begin + 200, &out, &err), ERR_TIMEOUT);
    assert_true(clock_now_ms() - begin < 1000);
    test_server_reset(server);
    assert_int_equal(
        fetch_get(plain, url_at(server, "127.0.0.1", "/ok"), clock_now_ms() - 1, &out, &err), ERR_TIMEOUT);
    assert_int_equal(test_server_connections(server), 0);
    buf_free(&out);
}

struct job {
    struct fetch *fetch;
    const char *path;
    const char *host;
    int64_t deadline_ms;
    enum result result;
    struct err err;
};

static void *job_main(void *arg)
{
    struct job *job = arg;
    struct buf out;
    buf_init(&out, LIMIT_FETCH_BYTES);
    job->result =
        fetch_get(job->fetch, url_at(server, job->host, job->path), job->deadline_ms, &out, &job->err);
    buf_free(&out);
    return NULL;
}

/* Run `count` copies of `job` at once; how long it took in milliseconds. */
static int64_t run_jobs(struct job *jobs, size_t count, const struct job *job)
{
    pthread_t threads[128];
    assert_true(count <= 128);
    int64_t begin = clock_now_ms();
    for (size_t i = 0; i < count; i++) {
        jobs[i] = *job;
        assert_int_equal(pthread_create(&threads[i], NULL, job_main, &jobs[i]), 0);
    }
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return clock_now_ms() - begin;
}

static void test_parallel(void **state)
{
    struct job jobs[LIMIT_FETCH_PARALLEL];
    struct job job = {.fetch = plain, .host = "127.0.0.1", .path = "/slow/400"};
    test_server_reset(server);
    int64_t took = run_jobs(jobs, LIMIT_FETCH_PARALLEL, &job);
    for (size_t i = 0; i < LIMIT_FETCH_PARALLEL; i++)
        if (jobs[i].result)
            fail_msg("%s", jobs[i].err.message);
    assert_int_equal(test_server_peak(server), LIMIT_FETCH_PARALLEL);
    assert_true(took < 1600);
}

/* One more than fits waits for a slot; never are more than LIMIT_FETCH_PARALLEL under way. */
static void test_more_than_parallel(void **state)
{
    struct job jobs[LIMIT_FETCH_PARALLEL + 8];
    struct job job = {.fetch = plain, .host = "127.0.0.1", .path = "/slow/200"};
    test_server_reset(server);
    int64_t took = run_jobs(jobs, LIMIT_FETCH_PARALLEL + 8, &job);
    for (size_t i = 0; i < LIMIT_FETCH_PARALLEL + 8; i++)
        if (jobs[i].result)
            fail_msg("%s", jobs[i].err.message);
    assert_int_equal(test_server_peak(server), LIMIT_FETCH_PARALLEL);
    assert_true(took >= 400);
}

static void test_no_slot_until_deadline(void **state)
{
    struct fetch *f = fetch_allowing(loopback, 2, 0, 1000);
    struct job jobs[LIMIT_FETCH_PARALLEL + 2];
    pthread_t threads[LIMIT_FETCH_PARALLEL + 2];
    test_server_reset(server);
    for (size_t i = 0; i < LIMIT_FETCH_PARALLEL + 2; i++) {
        bool late = i >= LIMIT_FETCH_PARALLEL;
        for (int64_t begin = clock_now_ms(); late && test_server_peak(server) < LIMIT_FETCH_PARALLEL;)
            if (sched_yield() != 0 || clock_now_ms() - begin > 1000)
                break; /* and the messages below are not as expected */
        jobs[i] = (struct job){.fetch = f, .host = "127.0.0.1", .path = "/hang"};
        if (late)
            jobs[i].deadline_ms = clock_now_ms() + 100;
        assert_int_equal(pthread_create(&threads[i], NULL, job_main, &jobs[i]), 0);
    }
    for (size_t i = 0; i < LIMIT_FETCH_PARALLEL + 2; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < LIMIT_FETCH_PARALLEL + 2; i++) {
        assert_int_equal(jobs[i].result, ERR_TIMEOUT);
        assert_true(
            (strstr(jobs[i].err.message, "16 other pictures") != NULL) == (i >= LIMIT_FETCH_PARALLEL));
    }
    /* The slots are free again. */
    job_main(&jobs[0]);
    jobs[0].path = "/ok";
    job_main(&jobs[0]);
    assert_int_equal(jobs[0].result, ERR_OK);
    fetch_free(f);
}

/* Look-ups given up on are counted, so that they cannot pile up. */
static void test_lookups(void **state)
{
    struct fetch *f = fetch_allowing(loopback, 2, 0, 100);
    struct job jobs[LIMIT_FETCH_PARALLEL];
    struct job job = {.fetch = f, .host = "slow.test", .path = "/ok"};
    for (size_t done = 0; done < LIMIT_FETCH_LOOKUPS; done += LIMIT_FETCH_PARALLEL) {
        run_jobs(jobs, LIMIT_FETCH_PARALLEL, &job);
        for (size_t i = 0; i < LIMIT_FETCH_PARALLEL; i++) {
            assert_int_equal(jobs[i].result, ERR_TIMEOUT);
            assert_non_null(strstr(jobs[i].err.message, "looked up"));
        }
    }
    unsigned before = fake_net_lookups();
    struct err err;
    size_t len;
    assert_int_equal(get(f, url_at(server, "slow.test", "/ok"), &len, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "name service"));
    assert_int_equal(fake_net_lookups(), before);
    fetch_free(f);
}

static void test_free_null(void **state)
{
    fetch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_default_size),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_redirect_to_forbidden),
        cmocka_unit_test(test_allowed_name),
        cmocka_unit_test(test_rebinding),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_no_password_in_messages),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_deadline_of_caller),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_more_than_parallel),
        cmocka_unit_test(test_no_slot_until_deadline),
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_free_null),
    };
    return cmocka_run_group_tests_name("fetch", tests, start, stop);
}
