/* Time, size and number: every limit of the server, and what happens at it. */
#include "raw.h"

#include "base/clock.h"
#include "http/internal.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATE 300 /* the short deadlines of these tests, in ms */

/* Deadlines that a test must itself keep, in ms: a busy machine may hold it up for some hundred. */
#define ROOMY 1500

static void expect_refusal(int fd, int status)
{
    struct raw_reply reply = raw_read(fd, false);
    assert_int_equal(reply.status, status);
    assert_non_null(reply.body);
    assert_int_equal(reply.body[0], 'E');
    assert_string_equal(raw_header(&reply, "Connection"), "close");
    raw_free(&reply);
}

/* A byte now and then, so that the connection is never inactive. */
static void drip(int fd, int64_t ms)
{
    int64_t end = clock_now_ms() + ms;
    while (clock_now_ms() < end && raw_is_silent(fd, 20))
        raw_try_send(fd, "x", 1);
}

static void slow_headers(void **state)
{
    static const char *const beginnings[] = {"G", "GET /", "GET /info HTTP/1.1\r\nHost: x\r\nX: "};
    struct site site;
    raw_start(
        &site, (struct http_options){.header_ms = LATE, .body_ms = 20000, .idle_ms = 20000, .workers = 1});
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        int fd = raw_connect(&site);
        if (i == 1) { /* also on a connection that was good once */
            SEND(fd, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
            struct raw_reply reply = raw_read(fd, false);
            assert_int_equal(reply.status, 200);
            raw_free(&reply);
        }
        int64_t start = clock_now_ms();
        raw_send(fd, beginnings[i]);
        drip(fd, 5000);
        int64_t took = clock_now_ms() - start;
        if (took < LATE - 50 || took > 10 * LATE)
            fail_msg("refused after %d ms instead of %d", (int)took, LATE);
        expect_refusal(fd, 408);
        close(fd);
    }
    raw_stop(&site, 1000);
}

static void slow_body(void **state)
{
    struct site site;
    raw_start(
        &site, (struct http_options){.header_ms = 20000, .body_ms = ROOMY, .idle_ms = 20000, .workers = 1});
    int fd = raw_connect(&site);
    SEND(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    drip(fd, 5000);
    expect_refusal(fd, 408);
    raw_try_send(fd, "more", 4); /* goes nowhere, hurts nobody */
    assert_true(raw_is_closed(fd));
    close(fd);
    fd = raw_connect(&site);
    SEND(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    expect_refusal(fd, 408);
    close(fd);
    assert_int_equal(atomic_load(&site.calls), 0);
    raw_stop(&site, 1000);
}

static void idle(void **state)
{
    struct site site;
    raw_start(
        &site, (struct http_options){.header_ms = 20000, .body_ms = 20000, .idle_ms = ROOMY, .workers = 1});
    int silent = raw_connect(&site), fd = raw_connect(&site);
    int64_t start = 0;
    for (int i = 0; i < 2; i++) { /* longer than idle_ms: not idle while it is served */
        start = clock_now_ms();
        SEND(fd, "GET /sleep?ms=1600 HTTP/1.1\r\nHost: x\r\n\r\n");
        struct raw_reply reply = raw_read(fd, false);
        assert_int_equal(reply.status, 200);
        raw_free(&reply);
    }
    assert_true(raw_is_closed(silent)); /* without a reply: nothing was asked */
    assert_true(raw_is_closed(fd));
    assert_true(clock_now_ms() - start >= 1600 + ROOMY - 100);
    close(silent);
    close(fd);
    raw_stop(&site, 1000);
}

static void wait_until(atomic_int *value, int wanted)
{
    for (int i = 0; i < 5000 && atomic_load(value) != wanted; i++)
        usleep(1000);
    assert_int_equal(atomic_load(value), wanted);
}

/* Connections the server still has, after waiting up to 10 s for them to end. */
static size_t connections_left(struct http_server *server)
{
    size_t left = 1;
    for (int i = 0; i < 10000 && left; i++) {
        usleep(1000);
        pthread_mutex_lock(&server->lock);
        left = server->conn_count;
        pthread_mutex_unlock(&server->lock);
    }
    return left;
}

/* Who takes nothing of a reply is cut off; who is only slow is not. */
static void slow_reader(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.body_ms = LATE, .workers = 1});
    int fd = raw_connect(&site);
    SEND(fd, "GET /big?n=50000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&site.calls, 1);
    assert_int_equal(connections_left(site.server), 0);
    char scrap[65536];
    ssize_t n;
    size_t got = 0;
    while ((n = recv(fd, scrap, sizeof scrap, 0)) > 0)
        got += (size_t)n;
    assert_true(got < 50000000);
    close(fd);
    raw_stop(&site, 1000);
    raw_start(&site, (struct http_options){.body_ms = ROOMY, .workers = 1});
    fd = raw_connect(&site);
    SEND(fd, "GET /big?n=20000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 8; i++) { /* longer than body_ms in all */
        usleep(ROOMY * 1000 / 4);
        for (size_t part = 0; part < 2000000; part += (size_t)n) {
            n = recv(fd, scrap, sizeof scrap, 0);
            assert_true(n > 0);
        }
    }
    close(fd);
    raw_stop(&site, 1000);
}

static void fill(char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 7 + i / 1000);
}

static void send_body(int fd, const char *data, size_t len, bool chunked)
{
    char head[200];
    if (!chunked) {
        snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
        raw_send(fd, head);
        raw_try_send(fd, data, len);
        return;
    }
    raw_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    size_t sent = 0, piece = 1000003;
    while (sent < len) {
        size_t n = len - sent < piece ? len - sent : piece;
        int h = snprintf(head, sizeof head, "%zx\r\n", n);
        if (raw_try_send(fd, head, (size_t)h) < (size_t)h || raw_try_send(fd, data + sent, n) < n ||
            raw_try_send(fd, "\r\n", 2) < 2)
            return;
        sent += n;
    }
    raw_try_send(fd, "0\r\n\r\n", 5);
}

/* The most that is accepted goes both ways unharmed; one byte more is refused, and a client that sends all
 * before it reads still sees why. */
static void body_limit(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 2});
    size_t len = LIMIT_BODY;
    char *data = malloc(len + LIMIT_MIB);
    assert_non_null(data);
    fill(data, len + LIMIT_MIB);
    for (int chunked = 0; chunked < 2; chunked++) {
        int fd = raw_connect(&site);
        send_body(fd, data, len, chunked);
        struct raw_reply reply = raw_read(fd, false);
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.len, len);
        assert_memory_equal(reply.body, data, len);
        raw_free(&reply);
        for (size_t more = 1; more <= LIMIT_MIB; more += LIMIT_MIB - 1) {
            send_body(fd, data, len + more, chunked);
            expect_refusal(fd, 413);
            close(fd);
            fd = raw_connect(&site);
        }
        close(fd);
    }
    assert_int_equal(atomic_load(&site.calls), 2);
    assert_int_equal(atomic_load(&site.server->charged), 0);
    free(data);
    raw_stop(&site, 1000);
}

static void small_body_limit_keeps_the_connection(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 1, .max_body = 100});
    int fd = raw_connect(&site);
    for (int i = 0; i < 2; i++) {
        send_body(fd,
            "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
            "6789x",
            101, false);
        struct raw_reply reply = raw_read(fd, false);
        assert_int_equal(reply.status, 413);
        assert_null(raw_header(&reply, "Connection"));
        raw_free(&reply);
    }
    close(fd);
    raw_stop(&site, 1000);
}

static void all_bodies_limit(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 2});
    atomic_store(&site.server->budget, (size_t)3 * LIMIT_MIB);
    char *data = calloc(1, 2 * LIMIT_MIB);
    assert_non_null(data);
    int holder = raw_connect(&site);
    SEND(holder, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2000001\r\n\r\n");
    raw_send_n(holder, data, 2000000);
    while (atomic_load(&site.server->charged) < 2000000)
        usleep(1000);
    int fd = raw_connect(&site);
    send_body(fd, data, 2 * LIMIT_MIB, false);
    expect_refusal(fd, 503);
    close(fd);
    raw_send_n(holder, data, 1); /* who was there first is served */
    struct raw_reply reply = raw_read(holder, false);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, 2000001);
    raw_free(&reply);
    close(holder);
    while (atomic_load(&site.server->charged)) /* given back a moment after the reply */
        usleep(1000);
    fd = raw_connect(&site);
    send_body(fd, data, 2 * LIMIT_MIB, false);
    reply = raw_read(fd, false);
    assert_int_equal(reply.status, 200);
    raw_free(&reply);
    close(fd);
    free(data);
    raw_stop(&site, 1000);
}

static void header_limits(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 1});
    static char text[200 * 1000];
    static const struct {
        size_t bytes;
        bool in_target;
        int status;
    } cases[] = {{LIMIT_HEADER_BYTES - 100, false, 200}, {LIMIT_HEADER_BYTES - 100, true, 200},
        {LIMIT_HEADER_BYTES + 1, false, 431}, {LIMIT_HEADER_BYTES + 1, true, 431}, {190 * 1000, false, 431},
        {190 * 1000, true, 414}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *before = cases[i].in_target ? "GET /i?a=" : "GET /i HTTP/1.1\r\nHost: x\r\nX: ";
        const char *after = cases[i].in_target ? " HTTP/1.1\r\nHost: x\r\n\r\n" : "\r\n\r\n";
        size_t n = strlen(before);
        memcpy(text, before, n);
        memset(text + n, 'a', cases[i].bytes);
        memcpy(text + n + cases[i].bytes, after, strlen(after));
        int status = raw_status(&site, text, n + cases[i].bytes + strlen(after));
        if (status != cases[i].status)
            fail_msg("case %zu: %d instead of %d", i, status, cases[i].status);
    }
    raw_stop(&site, 1000);
}

/* One worker, held: LIMIT_REQUEST_QUEUE more may wait, the next is told to come back. */
static void full_queue(void **state)
{
    enum { COUNT = LIMIT_REQUEST_QUEUE + 1 };
    struct site site;
    static int fds[COUNT];
    if (!raw_want_descriptors(3 * COUNT))
        skip();
    raw_start(&site, (struct http_options){.workers = 1});
    fds[0] = raw_connect(&site);
    SEND(fds[0], "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&site.inside, 1);
    for (int i = 1; i < COUNT; i++) {
        fds[i] = raw_connect(&site);
        SEND(fds[i], "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    while (queue_len(site.server->lanes[HTTP_LANE_WORK].queue) < LIMIT_REQUEST_QUEUE)
        usleep(1000);
    int fd = raw_connect(&site);
    SEND(fd, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    struct raw_reply reply = raw_read(fd, false);
    assert_int_equal(reply.status, 503);
    assert_string_equal(raw_header(&reply, "Retry-After"), "1");
    raw_free(&reply);
    assert_int_equal(STATUS(&site, "GET /light HTTP/1.1\r\nHost: x\r\n\r\n"), 200); /* whoever watches the server reaches it */
    sem_post(&site.release);
    for (int i = 0; i < COUNT; i++) {
        reply = raw_read(fds[i], false);
        assert_int_equal(reply.status, 200);
        raw_free(&reply);
        close(fds[i]);
    }
    SEND(fd, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n"); /* the refused one may come back on its connection */
    reply = raw_read(fd, false);
    assert_int_equal(reply.status, 200);
    raw_free(&reply);
    close(fd);
    raw_stop(&site, 1000);
}

static void waited_too_long(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 1, .request_ms = LATE});
    int first = raw_connect(&site), second = raw_connect(&site);
    SEND(first, "GET /sleep?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&site.inside, 1);
    SEND(second, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    struct raw_reply reply = raw_read(second, false);
    assert_int_equal(reply.status, 503);
    raw_free(&reply);
    reply = raw_read(first, false);
    assert_int_equal(reply.status, 200);
    raw_free(&reply);
    assert_int_equal(atomic_load(&site.calls), 1);
    close(first);
    close(second);
    raw_stop(&site, 1000);
}

static void connection_limit(void **state)
{
    enum { COUNT = LIMIT_CONNECTIONS };
    struct site site;
    static int fds[COUNT];
    if (!raw_want_descriptors(2 * COUNT + 200))
        skip();
    raw_start(&site, (struct http_options){.workers = 1, .header_ms = 20000, .idle_ms = 20000});
    for (int i = 0; i < COUNT; i++) { /* half a request each: not idle, so none is ended to make room */
        fds[i] = raw_connect(&site);
        SEND(fds[i], "GET /static HTTP/1.1\r\n");
    }
    int fd = raw_connect(&site); /* waits in the kernel */
    SEND(fd, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(raw_is_silent(fd, 300));
    pthread_mutex_lock(&site.server->lock);
    assert_true(site.server->conn_count <= LIMIT_CONNECTIONS);
    pthread_mutex_unlock(&site.server->lock);
    for (int i = 0; i < COUNT; i++) {
        SEND(fds[i], "Host: x\r\n\r\n");
        struct raw_reply reply = raw_read(fds[i], false);
        assert_int_equal(reply.status, 200);
        raw_free(&reply);
        close(fds[i]);
    }
    struct raw_reply reply = raw_read(fd, false);
    assert_int_equal(reply.status, 200);
    raw_free(&reply);
    close(fd);
    raw_stop(&site, 1000);
}

/* Few places left: idle connections make room long before idle_ms. */
static void crowded(void **state)
{
    enum { COUNT = LIMIT_CONNECTIONS - LIMIT_CONNECTIONS / 8 };
    struct site site;
    static int fds[COUNT];
    if (!raw_want_descriptors(2 * COUNT + 200))
        skip();
    raw_start(&site, (struct http_options){.workers = 1, .idle_ms = 60000});
    for (int i = 0; i < COUNT; i++)
        fds[i] = raw_connect(&site);
    int64_t start = clock_now_ms();
    assert_true(raw_is_closed(fds[0]));
    assert_true(clock_now_ms() - start < 10000);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    raw_stop(&site, 1000);
}

struct client {
    struct site *site;
    atomic_int *bad;
    int number;
};

static void *run_client(void *arg)
{
    struct client *c = arg;
    char text[200];
    char body[32];
    int fd = raw_connect(c->site);
    for (int i = 0; i < 5; i++) {
        int len = snprintf(body, sizeof body, "%d/%d", c->number, i);
        snprintf(
            text, sizeof text, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len, body);
        raw_try_send(fd, text, strlen(text));
        struct raw_reply reply = raw_read(fd, false);
        if (reply.status != 200 || !reply.body || strcmp(reply.body, body) != 0)
            atomic_fetch_add(c->bad, 1);
        raw_free(&reply);
    }
    close(fd);
    return NULL;
}

static void two_hundred_at_once(void **state)
{
    enum { COUNT = 200 };
    struct site site;
    pthread_t threads[COUNT];
    struct client clients[COUNT];
    atomic_int bad = 0;
    raw_start(&site, (struct http_options){.workers = 8});
    for (int i = 0; i < COUNT; i++) {
        clients[i] = (struct client){.site = &site, .bad = &bad, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&bad), 0);
    assert_int_equal(atomic_load(&site.calls), 5 * COUNT);
    raw_stop(&site, 1000);
}

/* Clients that leave at every stage: nothing crashes, nothing stays behind. */
static void disconnects(void **state)
{
    static const char *const stages[] = {"", "GE", "GET / HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        "GET /sleep?ms=50 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /big?n=5000000 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nabc"};
    struct site site;
    raw_start(&site, (struct http_options){.workers = 4});
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
            int fd = raw_connect(&site);
            raw_send(fd, stages[i]);
            usleep((useconds_t)(round * 100));
            if (round % 2) { /* with a reset */
                struct linger now = {.l_onoff = 1};
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            }
            close(fd);
        }
    }
    assert_int_equal(connections_left(site.server), 0);
    assert_int_equal(site.server->active, 0);
    assert_int_equal(atomic_load(&site.server->charged), 0);
    raw_stop(&site, 1000);
}

static void *stop_soon(void *arg)
{
    raw_stop(arg, 10000);
    return NULL;
}

/* Who sends a request and closes its half, as `nc -N` does, gets the reply and soon the end of the
 * connection. */
static void half_closed(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 1});
    int64_t start = clock_now_ms();
    for (int i = 0; i < 10; i++) {
        int fd = raw_connect(&site);
        SEND(fd, "POST /sleep?ms=20 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        shutdown(fd, SHUT_WR);
        struct raw_reply reply = raw_read(fd, false);
        assert_int_equal(reply.status, 200);
        raw_free(&reply);
        if (i == 0)
            assert_true(raw_is_closed(fd));
        close(fd);
    }
    assert_true(clock_now_ms() - start < 5000);
    raw_stop(&site, 1000);
}

/* A running request ends within the grace; a connection that comes meanwhile is not served. */
static void stop_with_grace(void **state)
{
    struct site site;
    pthread_t stopper;
    raw_start(&site, (struct http_options){.workers = 2});
    int fd = raw_connect(&site), idle_fd = raw_connect(&site), kept = raw_connect(&site);
    SEND(kept, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    struct raw_reply reply = raw_read(kept, false);
    raw_free(&reply);
    SEND(fd, "GET /sleep?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&site.inside, 1);
    struct http_server *server = site.server;
    assert_int_equal(pthread_create(&stopper, NULL, stop_soon, &site), 0);
    while (!atomic_load(&server->stopping))
        usleep(1000);
    SEND(kept, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_refusal(kept, 503);
    reply = raw_read(fd, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(raw_header(&reply, "Connection"), "close");
    raw_free(&reply);
    pthread_join(stopper, NULL);
    assert_true(raw_is_closed(idle_fd));
    close(fd);
    close(idle_fd);
    close(kept);
}

/* After the grace, what waits gets 503; a handler that runs is waited for. */
static void stop_without_grace(void **state)
{
    struct site site;
    raw_start(&site, (struct http_options){.workers = 1});
    int running = raw_connect(&site), waiting = raw_connect(&site), half = raw_connect(&site);
    SEND(half, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    SEND(running, "GET /sleep?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&site.inside, 1);
    SEND(waiting, "GET /static HTTP/1.1\r\nHost: x\r\n\r\n");
    while (queue_len(site.server->lanes[HTTP_LANE_WORK].queue) < 1)
        usleep(1000);
    raw_stop(&site, 50);
    struct raw_reply reply = raw_read(running, false);
    assert_int_equal(reply.status, 200);
    raw_free(&reply);
    expect_refusal(waiting, 503);
    assert_int_equal(atomic_load(&site.calls), 1);
    close(running);
    close(waiting);
    close(half);
    http_server_stop(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_headers),
        cmocka_unit_test(slow_body),
        cmocka_unit_test(idle),
        cmocka_unit_test(slow_reader),
        cmocka_unit_test(body_limit),
        cmocka_unit_test(small_body_limit_keeps_the_connection),
        cmocka_unit_test(all_bodies_limit),
        cmocka_unit_test(header_limits),
        cmocka_unit_test(full_queue),
        cmocka_unit_test(waited_too_long),
        cmocka_unit_test(connection_limit),
        cmocka_unit_test(crowded),
        cmocka_unit_test(two_hundred_at_once),
        cmocka_unit_test(disconnects),
        cmocka_unit_test(half_closed),
        cmocka_unit_test(stop_with_grace),
        cmocka_unit_test(stop_without_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
