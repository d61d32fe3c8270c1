/* Bodies that are never whole in memory: their limits, and clients that hold, leave, or say nothing. */
#include "raw.h"

#include "base/clock.h"
#include "http/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (256 * LIMIT_KIB)
#define FLOOD (LIMIT_STREAM_OUT + 40 * (size_t)LIMIT_MIB)

struct streams {
    struct site site;
    atomic_int inside, ended;
    atomic_size_t got, wrote;
    atomic_int result; /* of the call that ended the handler */
};

static bool all_are_streamed(void *user, const struct http_request *head)
{
    (void)user;
    (void)head;
    return true;
}

static enum result take_all(struct streams *s, const struct http_request *request, struct http_reply *reply, bool echo)
{
    static _Thread_local char piece[65536];
    struct err err = {0};
    size_t n = 1;
    enum result r = ERR_OK;
    while (r == ERR_OK && n > 0) {
        r = http_stream_read(request->stream, piece, sizeof piece, &n, &err);
        if (r == ERR_OK)
            atomic_fetch_add(&s->got, n);
        if (r == ERR_OK && n && echo)
            r = http_stream_write(request->stream, reply, piece, n, &err);
    }
    return r;
}

/* Writes FLOOD bytes whether or not anybody takes them. */
static enum result flood(struct streams *s, const struct http_request *request, struct http_reply *reply)
{
    char *piece = calloc(1, PIECE);
    struct err err = {0};
    enum result r = piece ? ERR_OK : ERR_NO_MEMORY;
    while (r == ERR_OK && atomic_load(&s->wrote) < FLOOD) {
        r = http_stream_write(request->stream, reply, piece, PIECE, &err);
        if (r == ERR_OK)
            atomic_fetch_add(&s->wrote, PIECE);
    }
    free(piece);
    return r;
}

static void handle(void *user, const struct http_request *request, struct http_reply *reply)
{
    struct streams *s = user;
    enum result r = ERR_OK;
    atomic_fetch_add(&s->inside, 1);
    reply->content_type = "text/plain";
    if (strcmp(request->path, "/hold") == 0)
        sem_wait(&s->site.release);
    if (strcmp(request->path, "/early") == 0)
        reply->status = 422;
    else if (strcmp(request->path, "/flood") == 0)
        r = flood(s, request, reply);
    else
        r = take_all(s, request, reply, strcmp(request->path, "/echo") == 0);
    if (reply->status == 422 || strcmp(request->path, "/echo") != 0)
        r = buf_appendf(&reply->body, "%zu", atomic_load(&s->got)) ? ERR_NO_MEMORY : r;
    atomic_store(&s->result, r);
    atomic_fetch_add(&s->ended, 1);
}

static void start(struct streams *s, int64_t body_ms)
{
    struct err err = {0};
    struct http_options options = {.listen = "127.0.0.1:0", .handler = handle, .streams = all_are_streamed, .user = s, .workers = 2,
        .body_ms = body_ms};
    memset(s, 0, sizeof *s);
    sem_init(&s->site.release, 0, 0);
    if (http_server_start(&options, &s->site.server, &err))
        fail_msg("cannot start: %s", err.message);
}

static void stop(struct streams *s)
{
    http_server_stop(s->site.server, 2000);
    sem_destroy(&s->site.release);
}

static void wait_for(atomic_int *value, int wanted)
{
    for (int i = 0; i < 10000 && atomic_load(value) != wanted; i++)
        usleep(1000);
    assert_int_equal(atomic_load(value), wanted);
}

/* Read to the end of what comes; the number of bytes. */
static size_t drain(int fd)
{
    static char piece[65536];
    size_t all = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 10000) == 1) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0)
            break;
        all += (size_t)n;
    }
    return all;
}

/* A whole answer of a connection that the server closes: its status, and the bytes of its chunks, or of its plain body, in `body`. */
static int read_streamed(int fd, char *body, size_t size, size_t *len)
{
    char *text = malloc(2 * size + 65536);
    size_t all = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 10000) == 1) {
        ssize_t n = recv(fd, text + all, 2 * size + 65535 - all, 0);
        if (n <= 0)
            break;
        all += (size_t)n;
    }
    text[all] = '\0';
    char *at = strstr(text, "\r\n\r\n");
    assert_non_null(at);
    int status = (int)strtol(text + 9, NULL, 10);
    *at = '\0';
    bool chunked = strstr(text, "chunked") != NULL;
    at += 4;
    *len = 0;
    size_t n = chunked ? 1 : (size_t)(text + all - at);
    if (!chunked && n)
        memcpy(body, at, *len = n);
    while (chunked && (n = strtoul(at, &at, 16)) > 0) {
        at += 2;
        assert_true(at + n + 2 <= text + all && *len + n <= size);
        memcpy(body + *len, at, n);
        *len += n;
        at += n + 2;
    }
    free(text);
    return status;
}

/* Send until nothing is taken for 300 ms, or all is sent; the number of bytes. */
static size_t send_while_taken(int fd, size_t all)
{
    static char piece[65536];
    size_t sent = 0;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    while (sent < all && poll(&p, 1, 300) == 1) {
        size_t n = all - sent < sizeof piece ? all - sent : sizeof piece;
        ssize_t went = send(fd, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (went > 0)
            sent += (size_t)went;
    }
    return sent;
}

static void echo_of_any_length(void **state)
{
    static const size_t sizes[] = {0, 1, LIMIT_STREAM_RING - 1, LIMIT_STREAM_RING, LIMIT_STREAM_RING + 1, 3 * LIMIT_STREAM_RING + 7};
    struct streams s;
    start(&s, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *body = malloc(sizes[i] + 1), *back = malloc(sizes[i] + 1), head[128];
        size_t len = 0;
        for (size_t k = 0; k < sizes[i]; k++)
            body[k] = (char)(k * 31 + k / 977);
        int fd = raw_connect(&s.site);
        snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
        raw_send(fd, head);
        raw_send_n(fd, body, sizes[i]);
        assert_int_equal(read_streamed(fd, back, sizes[i], &len), 200);
        assert_int_equal(len, sizes[i]);
        if (len) /* of nothing nothing is written, and the reply is the handler's own */
            assert_memory_equal(back, body, len);
        close(fd);
        free(body);
        free(back);
    }
    stop(&s);
}

static void limit_streams(void **state)
{
    struct streams s;
    int fds[LIMIT_STREAMS];
    start(&s, 0);
    for (int i = 0; i < LIMIT_STREAMS; i++) {
        fds[i] = raw_connect(&s.site);
        SEND(fds[i], "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd");
    }
    wait_for(&s.inside, LIMIT_STREAMS);
    int fd = raw_connect(&s.site);
    SEND(fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd");
    struct raw_reply reply = raw_read(fd, false);
    assert_int_equal(reply.status, 503);
    assert_non_null(raw_header(&reply, "Retry-After"));
    raw_free(&reply);
    for (int i = 0; i < LIMIT_STREAMS; i++)
        sem_post(&s.site.release);
    for (int i = 0; i < LIMIT_STREAMS; i++) {
        reply = raw_read(fds[i], false);
        assert_int_equal(reply.status, 200);
        raw_free(&reply);
        close(fds[i]);
    }
    wait_for(&s.ended, LIMIT_STREAMS);
    /* And there is room again, on the connection that was refused. */
    sem_post(&s.site.release);
    int status = 503;
    for (int i = 0; i < 100 && status == 503; i++) { /* the last handler is counted until its thread is at its end */
        SEND(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
        reply = raw_read(fd, false);
        status = reply.status;
        raw_free(&reply);
        usleep(10000);
    }
    assert_int_equal(status, 200);
    close(fd);
    stop(&s);
}

static void limit_stream_ring(void **state)
{
    const size_t all = 48 * (size_t)LIMIT_MIB;
    struct streams s;
    char head[128];
    start(&s, 0);
    int fd = raw_connect(&s.site), small = 256 * LIMIT_KIB;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    snprintf(head, sizeof head, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", all);
    raw_send(fd, head);
    size_t sent = send_while_taken(fd, all);
    assert_true(sent < 16 * (size_t)LIMIT_MIB); /* the ring, and what the kernel keeps */
    assert_int_equal(atomic_load(&s.got), 0);
    sem_post(&s.site.release);
    while (sent < all) {
        size_t more = send_while_taken(fd, all - sent);
        assert_true(more > 0);
        sent += more;
    }
    struct raw_reply reply = raw_read(fd, false);
    assert_int_equal(reply.status, 200);
    assert_int_equal(atomic_load(&s.got), all);
    raw_free(&reply);
    close(fd);
    stop(&s);
}

static void limit_stream_out(void **state)
{
    struct streams s;
    start(&s, 0);
    int fd = raw_connect(&s.site), small = 64 * LIMIT_KIB;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    SEND(fd, "POST /flood HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab");
    size_t before = 0, now = 1;
    for (int i = 0; i < 300 && (before != now || now < LIMIT_STREAM_OUT); i++) { /* until the handler waits; a busy machine may hold it up earlier */
        before = atomic_load(&s.wrote);
        usleep(300 * 1000);
        now = atomic_load(&s.wrote);
    }
    assert_true(now >= LIMIT_STREAM_OUT);
    assert_true(now < LIMIT_STREAM_OUT + 8 * (size_t)LIMIT_MIB); /* and what the kernel keeps */
    assert_int_equal(atomic_load(&s.ended), 0);
    size_t got = drain(fd);
    assert_true(got > FLOOD); /* with the head and the frames of the chunks */
    assert_true(got < FLOOD + FLOOD / 100);
    wait_for(&s.ended, 1);
    assert_int_equal(atomic_load(&s.result), ERR_OK);
    close(fd);
    stop(&s);
}

static void a_client_that_leaves(void **state)
{
    struct streams s;
    start(&s, 0);
    for (int i = 1; i <= 2 * LIMIT_STREAMS; i++) {
        int fd = raw_connect(&s.site);
        SEND(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
        wait_for(&s.inside, i);
        close(fd);
        wait_for(&s.ended, i);
        assert_int_equal(atomic_load(&s.result), ERR_UNAVAILABLE);
        usleep(20000);
    }
    stop(&s);
}

static void a_client_that_says_nothing(void **state)
{
    struct streams s;
    start(&s, 300);
    int fd = raw_connect(&s.site);
    SEND(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    struct raw_reply reply = raw_read(fd, false);
    assert_int_equal(reply.status, 408);
    raw_free(&reply);
    wait_for(&s.ended, 1);
    assert_int_not_equal(atomic_load(&s.result), ERR_OK);
    close(fd);
    stop(&s);
}

/* The handler has seen enough: the client learns it when its body is sent, and the connection lives on. */
static void an_early_answer(void **state)
{
    struct streams s;
    start(&s, 0);
    int fd = raw_connect(&s.site);
    for (int i = 1; i <= 3; i++) {
        SEND(fd, "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
        wait_for(&s.ended, i);
        SEND(fd, "def");
        struct raw_reply reply = raw_read(fd, false);
        assert_int_equal(reply.status, 422);
        raw_free(&reply);
    }
    close(fd);
    stop(&s);
}

static void a_server_that_is_stopped(void **state)
{
    struct streams s;
    start(&s, 0);
    int fd = raw_connect(&s.site);
    SEND(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    wait_for(&s.inside, 1);
    int64_t began = clock_now_ms();
    http_server_stop(s.site.server, 200);
    assert_true(clock_now_ms() - began < 8000);
    assert_int_equal(atomic_load(&s.ended), 1);
    assert_int_equal(atomic_load(&s.result), ERR_UNAVAILABLE);
    sem_destroy(&s.site.release);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_of_any_length),
        cmocka_unit_test(limit_streams),
        cmocka_unit_test(limit_stream_ring),
        cmocka_unit_test(limit_stream_out),
        cmocka_unit_test(a_client_that_leaves),
        cmocka_unit_test(a_client_that_says_nothing),
        cmocka_unit_test(an_early_answer),
        cmocka_unit_test(a_server_that_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
