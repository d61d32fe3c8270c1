#include "test_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 16384

struct test_server {
    int listeners[AT_COUNT];
    unsigned port;
    pthread_t acceptor;
    atomic_bool stopping;
    atomic_uint accepted[AT_COUNT];
    atomic_int threads;
    atomic_int busy;
    atomic_int peak;
    pthread_mutex_t lock;
    char last[HEAD_MAX + 1];
};

struct connection {
    struct test_server *server;
    int fd;
    char head[HEAD_MAX + 1];
    size_t head_len; /* of the request, with its blank line */
    size_t filled;
    bool close;
};

static void nap(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static bool put(struct connection *c, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool putf(struct connection *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool putf(struct connection *c, const char *format, ...)
{
    static _Thread_local char text[HEAD_MAX + 512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return put(c, text, (size_t)len);
}

/* Until the client goes away or the server stops. */
static void hang(struct connection *c)
{
    while (!c->server->stopping) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        char byte;
        if (poll(&p, 1, 20) > 0 && recv(c->fd, &byte, 1, 0) <= 0)
            break;
    }
    c->close = true;
}

static void put_many(struct connection *c, size_t count, bool chunked)
{
    static const char block[8192] = {1};
    while (count > 0) {
        size_t n = count < sizeof block ? count : sizeof block;
        if (chunked && !putf(c, "%zx\r\n", n))
            return;
        if (!put(c, block, n) || (chunked && !putf(c, "\r\n")))
            return;
        count -= n;
    }
    if (chunked)
        putf(c, "0\r\n\r\n");
}

static void ok(struct connection *c)
{
    putf(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(TEST_SERVER_BODY), TEST_SERVER_BODY);
}

static void redirect(struct connection *c, const char *where)
{
    putf(c, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 4\r\n\r\ngone", where);
}

/* The number at the end of a path that begins with `prefix`. */
static bool match(const char *path, const char *prefix, unsigned long *number)
{
    size_t len = strlen(prefix);
    if (strncmp(path, prefix, len) != 0)
        return false;
    *number = strtoul(path + len, NULL, 10);
    return true;
}

static void drip(struct connection *c)
{
    putf(c, "HTTP/1.1 200 OK\r\n\r\n");
    while (!c->server->stopping && put(c, "x", 1))
        nap(20);
    c->close = true;
}

/* Make the body part of the head; more than HEAD_MAX is cut off. */
static void read_body(struct connection *c)
{
    const char *length = strcasestr(c->head, "\ncontent-length:");
    size_t want = c->head_len + (length ? strtoul(length + 16, NULL, 10) : 0);
    while (c->filled < want && c->filled < HEAD_MAX) {
        ssize_t n = recv(c->fd, c->head + c->filled, HEAD_MAX - c->filled, 0);
        if (n <= 0)
            break;
        c->filled += (size_t)n;
    }
    c->head_len = want < c->filled ? want : c->filled;
}

static void echo(struct connection *c)
{
    putf(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", c->head_len);
    put(c, c->head, c->head_len);
}

static void headers(struct connection *c, size_t bytes)
{
    putf(c, "HTTP/1.1 200 OK\r\n");
    for (size_t sent = 0; sent < bytes; sent += 1000)
        if (!putf(c, "X-Filler: %0*d\r\n", 988, 0))
            return;
    putf(c, "Content-Length: %zu\r\n\r\n%s", strlen(TEST_SERVER_BODY), TEST_SERVER_BODY);
}

/* Replies that are always the same text. The connection is closed after each. */
static const struct {
    const char *path;
    const char *reply;
} fixed[] = {
    {"/short", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789"},
    {"/less", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" TEST_SERVER_BODY},
    {"/nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"},
    {"/continue",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" TEST_SERVER_BODY},
    {"/garbage", "\x89PNG\r\n\x1a\n this is no reply of a web server\r\n\r\n"},
    {"/gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01"},
    {"/te-gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x01"},
    {"/close", "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" TEST_SERVER_BODY},
};

static void answer_sized(struct connection *c, const char *path)
{
    unsigned long n;
    if (match(path, "/size/", &n)) {
        putf(c, "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", n);
        put_many(c, n, false);
    } else if (match(path, "/open/", &n)) {
        putf(c, "HTTP/1.1 200 OK\r\n\r\n");
        put_many(c, n, false);
        c->close = true;
    } else if (match(path, "/chunked/", &n)) {
        putf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        put_many(c, n, true);
    } else if (match(path, "/claim/", &n)) {
        putf(c, "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", n);
        hang(c);
    } else if (match(path, "/status/", &n)) {
        putf(c, "HTTP/1.1 %lu Because\r\nContent-Length: 5\r\n\r\nsorry", n);
    } else if (match(path, "/headers/", &n)) {
        headers(c, n);
    } else if (match(path, "/slow/", &n)) {
        nap((int)n);
        ok(c);
    } else if (match(path, "/redirect/", &n)) {
        char where[64] = "/ok";
        if (n > 1)
            snprintf(where, sizeof where, "/redirect/%lu", n - 1);
        redirect(c, where);
    } else {
        putf(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
}

static void answer(struct connection *c, const char *path)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(path, fixed[i].path) == 0) {
            putf(c, "%s", fixed[i].reply);
            c->close = true;
            return;
        }
    if (strcmp(path, "/ok") == 0) {
        ok(c);
    } else if (strcmp(path, "/empty") == 0) {
        putf(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/loop") == 0) {
        redirect(c, path);
    } else if (strncmp(path, "/to?", 4) == 0) {
        redirect(c, path + 4);
    } else if (strcmp(path, "/open-redirect") == 0) {
        putf(c, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 4\r\n\r\n");
        hang(c);
    } else if (strcmp(path, "/hang") == 0) {
        hang(c);
    } else if (strcmp(path, "/hang-body") == 0) {
        putf(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        hang(c);
    } else if (strcmp(path, "/drip") == 0) {
        drip(c);
    } else if (strncmp(path, "/echo", 5) == 0) {
        echo(c);
    } else {
        answer_sized(c, path);
    }
}

/* Read up to the blank line; false when the client is gone. */
static bool read_head(struct connection *c)
{
    for (;;) {
        c->head[c->filled] = '\0';
        const char *end = strstr(c->head, "\r\n\r\n");
        if (end) {
            c->head_len = (size_t)(end - c->head) + 4;
            return true;
        }
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int ready = poll(&p, 1, 20);
        if (c->server->stopping || c->filled == HEAD_MAX)
            return false;
        if (ready <= 0)
            continue;
        ssize_t n = recv(c->fd, c->head + c->filled, HEAD_MAX - c->filled, 0);
        if (n <= 0)
            return false;
        c->filled += (size_t)n;
        if (c->head[0] == 0x16) /* the start of TLS, which is not spoken here */
            return false;
    }
}

static void serve_one(struct connection *c)
{
    struct test_server *s = c->server;
    char path[HEAD_MAX + 1] = "";
    const char *start = strchr(c->head, ' ');
    if (start)
        snprintf(path, sizeof path, "%.*s", (int)strcspn(start + 1, " \r"), start + 1);
    pthread_mutex_lock(&s->lock);
    memcpy(s->last, c->head, c->head_len);
    s->last[c->head_len] = '\0';
    pthread_mutex_unlock(&s->lock);

    read_body(c);
    int busy = atomic_fetch_add(&s->busy, 1) + 1;
    int peak = s->peak;
    while (busy > peak && !atomic_compare_exchange_weak(&s->peak, &peak, busy))
        ;
    answer(c, path);
    atomic_fetch_sub(&s->busy, 1);
}

static void *connection_main(void *arg)
{
    struct connection *c = arg;
    while (!c->close && read_head(c)) {
        serve_one(c);
        c->filled -= c->head_len;
        memmove(c->head, c->head + c->head_len, c->filled);
    }
    /* What the client still sends is read, or the close would be a reset that overtakes the reply. */
    shutdown(c->fd, SHUT_WR);
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    char rest[1024];
    while (poll(&p, 1, 200) > 0 && recv(c->fd, rest, sizeof rest, 0) > 0)
        ;
    close(c->fd);
    struct test_server *s = c->server;
    free(c);
    atomic_fetch_sub(&s->threads, 1);
    return NULL;
}

static void accept_one(struct test_server *s, int at)
{
    int fd = accept(s->listeners[at], NULL, NULL);
    if (fd < 0)
        return;
    atomic_fetch_add(&s->accepted[at], 1);
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->server = s;
    c->fd = fd;
    atomic_fetch_add(&s->threads, 1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, connection_main, c) != 0)
        abort();
    pthread_detach(thread);
}

static void *acceptor_main(void *arg)
{
    struct test_server *s = arg;
    while (!s->stopping) {
        struct pollfd p[AT_COUNT];
        for (int i = 0; i < AT_COUNT; i++)
            p[i] = (struct pollfd){.fd = s->listeners[i], .events = POLLIN};
        if (poll(p, AT_COUNT, 20) <= 0)
            continue;
        for (int i = 0; i < AT_COUNT; i++)
            if (p[i].revents)
                accept_one(s, i);
    }
    return NULL;
}

static int listen_at(const char *address, unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool v6 = inet_pton(AF_INET, address, &in.sin_addr) != 1;
    if (v6)
        inet_pton(AF_INET6, address, &in6.sin6_addr);
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *where = v6 ? (const struct sockaddr *)&in6 : (const struct sockaddr *)&in;
    if (fd >= 0 && (bind(fd, where, v6 ? sizeof in6 : sizeof in) != 0 || listen(fd, 128) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The same port at every address: the first picks it, and now and then another has it already. */
static bool listen_all(struct test_server *s)
{
    static const char *const addresses[AT_COUNT] = {"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"};
    s->port = 0;
    for (int i = 0; i < AT_COUNT; i++) {
        s->listeners[i] = listen_at(addresses[i], s->port);
        if (s->listeners[i] < 0) {
            while (i-- > 0)
                close(s->listeners[i]);
            return false;
        }
        struct sockaddr_in in;
        socklen_t len = sizeof in;
        if (i == 0 && getsockname(s->listeners[0], (struct sockaddr *)&in, &len) == 0)
            s->port = ntohs(in.sin_port);
    }
    return true;
}

struct test_server *test_server_start(void)
{
    struct test_server *s = calloc(1, sizeof *s);
    bool listening = false;
    for (int i = 0; s && !listening && i < 50; i++)
        listening = listen_all(s);
    if (!listening || pthread_mutex_init(&s->lock, NULL) != 0 ||
        pthread_create(&s->acceptor, NULL, acceptor_main, s) != 0) {
        fprintf(stderr, "the test server cannot listen on 127.0.0.1, 127.0.0.2, 127.1.2.3 and ::1\n");
        exit(1);
    }
    return s;
}

void test_server_stop(struct test_server *s)
{
    s->stopping = true;
    pthread_join(s->acceptor, NULL);
    while (s->threads > 0)
        nap(5);
    for (int i = 0; i < AT_COUNT; i++)
        close(s->listeners[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

unsigned test_server_port(const struct test_server *s)
{
    return s->port;
}

void test_server_reset(struct test_server *s)
{
    for (int i = 0; i < AT_COUNT; i++)
        s->accepted[i] = 0;
    s->peak = 0;
    pthread_mutex_lock(&s->lock);
    s->last[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}

unsigned test_server_connections_at(struct test_server *s, enum test_server_address at)
{
    return s->accepted[at];
}

unsigned test_server_connections(struct test_server *s)
{
    unsigned sum = 0;
    for (int i = 0; i < AT_COUNT; i++)
        sum += s->accepted[i];
    return sum;
}

unsigned test_server_peak(struct test_server *s)
{
    return (unsigned)s->peak;
}

void test_server_last_request(struct test_server *s, char *out, size_t room)
{
    pthread_mutex_lock(&s->lock);
    snprintf(out, room, "%s", s->last);
    pthread_mutex_unlock(&s->lock);
}
