#include "raw.h"

#include "base/clock.h"
#include "base/parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void must(enum result r)
{
    if (r)
        abort();
}

static uint64_t number(const struct http_request *request, const char *name)
{
    const struct http_pair *pair = http_query(request, name);
    uint64_t n = 0;
    if (!pair || !parse_u64(pair->value, pair->value_len, 1u << 30, &n))
        abort();
    return n;
}

static void info(const struct http_request *q, struct http_reply *p)
{
    must(buf_appendf(&p->body, "%s %s from %s body %zu headers %zu\n", q->method, q->path, q->client,
        q->body_len, q->header_count));
    for (size_t i = 0; i < q->query_count; i++)
        must(buf_appendf(
            &p->body, "%s=%s(%zu)\n", q->query[i].name, q->query[i].value, q->query[i].value_len));
    const char *x = http_header(q, "x-test");
    if (x)
        must(buf_appendf(&p->body, "x-test:[%s]\n", x));
}

static void nap(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void handle(void *user, const struct http_request *q, struct http_reply *p)
{
    struct site *site = user;
    atomic_fetch_add(&site->calls, 1);
    atomic_fetch_add(&site->inside, 1);
    p->content_type = "text/plain";
    if (strcmp(q->path, "/echo") == 0) {
        must(buf_append(&p->body, q->body, q->body_len));
    } else if (strcmp(q->path, "/block") == 0) {
        while (sem_wait(&site->release) && errno == EINTR)
            ;
        must(buf_append_str(&p->body, "released"));
    } else if (strcmp(q->path, "/sleep") == 0) {
        nap(number(q, "ms"));
    } else if (strcmp(q->path, "/big") == 0) {
        size_t n = (size_t)number(q, "n");
        must(buf_reserve(&p->body, n));
        for (size_t i = 0; i < n; i++)
            p->body.data[i] = (char)('a' + i % 23);
        p->body.len = n;
    } else if (strcmp(q->path, "/static") == 0) {
        p->static_body = "constant";
        p->static_len = 8;
        must(http_reply_header(p, "ETag", "\"1\""));
    } else if (strcmp(q->path, "/bad") == 0) {
        p->status = 7;
    } else {
        info(q, p);
    }
    atomic_fetch_sub(&site->inside, 1);
}

static void gate(void *user, const struct http_request *head, struct http_reply *reply)
{
    struct site *site = user;
    atomic_fetch_add(&site->gated, 1);
    if (head->body_len)
        abort(); /* the gate is asked before the body */
    reply->light = strcmp(head->path, "/light") == 0;
    if (strcmp(head->path, "/deny") == 0) {
        reply->status = 401;
        reply->content_type = "text/plain";
        must(buf_append_str(&reply->body, "who are you?"));
    }
}

static void error_body(
    void *user, const char *path, unsigned status, const char *message, struct http_reply *reply)
{
    reply->content_type = "text/x-error";
    must(buf_appendf(&reply->body, "E%u %s", status, message));
}

void raw_start(struct site *site, struct http_options options)
{
    struct err err = {0};
    atomic_store(&site->calls, 0);
    atomic_store(&site->inside, 0);
    atomic_store(&site->gated, 0);
    sem_init(&site->release, 0, 0);
    options.listen = options.listen ? options.listen : "127.0.0.1:0";
    options.handler = handle;
    options.gate = gate;
    options.error_body = error_body;
    options.user = site;
    site->server = NULL;
    if (http_server_start(&options, &site->server, &err))
        fail_msg("cannot start: %s", err.message);
}

void raw_stop(struct site *site, int64_t grace_ms)
{
    http_server_stop(site->server, grace_ms);
    site->server = NULL;
    sem_destroy(&site->release);
}

int raw_connect(const struct site *site)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(site->server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to))
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

size_t raw_try_send(int fd, const void *data, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    return sent;
}

void raw_send_n(int fd, const void *data, size_t len)
{
    size_t sent = raw_try_send(fd, data, len);
    if (sent != len)
        fail_msg("only %zu of %zu bytes could be sent: %s", sent, len, strerror(errno));
}

void raw_send(int fd, const char *text)
{
    raw_send_n(fd, text, strlen(text));
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

bool raw_is_silent(int fd, int ms)
{
    return !readable(fd, ms);
}

bool raw_is_closed(int fd)
{
    char c;
    return readable(fd, 5000) && recv(fd, &c, 1, 0) == 0;
}

/* Read until `*len` holds an empty line; false at the end of the stream. One byte at a time, to take no more.
 */
static int read_head(int fd, char *head, size_t room)
{
    size_t len = 0;
    head[0] = '\0';
    while (len + 1 < room) {
        if (!readable(fd, 10000))
            return -1;
        ssize_t n = recv(fd, head + len, 1, 0);
        if (n == 0)
            return len ? -1 : 0;
        if (n < 0)
            return -1;
        head[++len] = '\0';
        if (len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0)
            return 1;
    }
    return -1;
}

struct raw_reply raw_read(int fd, bool no_body)
{
    struct raw_reply reply = {0};
    int r = read_head(fd, reply.head, sizeof reply.head);
    uint64_t status = 0, length = 0;
    if (r <= 0) {
        reply.status = r;
        return reply;
    }
    if (strncmp(reply.head, "HTTP/1.1 ", 9) != 0 || !parse_u64(reply.head + 9, 3, 999, &status))
        fail_msg("no reply: %s", reply.head);
    reply.status = (int)status;
    const char *text = raw_header(&reply, "Content-Length");
    if (no_body || !text || !parse_u64(text, strlen(text), 1u << 30, &length))
        return reply;
    reply.body = malloc((size_t)length + 1);
    assert_non_null(reply.body);
    while (reply.len < length) {
        ssize_t n =
            readable(fd, 10000) ? recv(fd, reply.body + reply.len, (size_t)length - reply.len, 0) : -1;
        if (n <= 0)
            fail_msg("the body of the reply ends after %zu of %zu bytes", reply.len, (size_t)length);
        reply.len += (size_t)n;
    }
    reply.body[reply.len] = '\0';
    return reply;
}

void raw_free(struct raw_reply *reply)
{
    free(reply->body);
    *reply = (struct raw_reply){0};
}

const char *raw_header(const struct raw_reply *reply, const char *name)
{
    static _Thread_local char value[1024];
    size_t len = strlen(name);
    for (const char *p = strstr(reply->head, "\r\n"); p; p = strstr(p, "\r\n")) {
        p += 2;
        if (strncasecmp(p, name, len) == 0 && p[len] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(p + len + 2, "\r"), p + len + 2);
            return value;
        }
    }
    return NULL;
}

int raw_status(const struct site *site, const char *text, size_t len)
{
    int fd = raw_connect(site);
    raw_try_send(fd, text, len);
    struct raw_reply reply = raw_read(fd, false);
    int status = reply.status;
    raw_free(&reply);
    close(fd);
    return status;
}

bool raw_want_descriptors(unsigned count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max < count)
        return false;
    if (limit.rlim_cur >= count)
        return true;
    limit.rlim_cur = count;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}
