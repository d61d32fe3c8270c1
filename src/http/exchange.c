/*
 * The life of one request.
 *
 * libmicrohttpd calls http_exchange_call() several times: once when the headers are complete (the body is
 * still outside), once for each piece of the body, once at its end, and once more when a worker has resumed
 * the connection.
 *
 *      NEW ──checks pass──▶ READING ──end of body──▶ QUEUED ──a worker──▶ READY ──▶ reply is queued
 *       │                      │ too large
 *       ├─ refused, and a      ▼
 *       │  body is coming ──▶ DEAD      the error was written on the socket; the rest is thrown away
 *       └─ refused, no or a
 *          small body ──────▶ SWALLOW   read the body, then reply as usual: the connection lives on
 *
 * A refusal must be *seen*. Most clients send the whole body before they read, and libmicrohttpd accepts a
 * reply only before the first or after the last byte of the body; replying before makes it close the socket,
 * and the client gets a reset instead of our 413. Hence DEAD, see conn.c. Only who sends `Expect:
 * 100-continue` waits for our word: there the refusal is queued in the first call, and no "100 Continue" is
 * sent.
 *
 * The handler runs on a worker while libmicrohttpd has the connection suspended, so that neither a slow
 * handler nor a slow client holds an I/O thread. A client that goes away meanwhile is noticed when the reply
 * is written.
 */
#include "http/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <strings.h>

/* Refused bodies up to this are read to their end, which saves the connection. */
#define SMALL_BODY (64 * LIMIT_KIB)

enum phase { PHASE_NEW, PHASE_READING, PHASE_STREAMING, PHASE_SWALLOW, PHASE_QUEUED, PHASE_READY, PHASE_DEAD };

struct http_exchange {
    struct http_server *server;
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    enum phase phase;
    bool counted; /* among server->active */
    bool head_only;
    bool light;   /* says the gate */
    bool working; /* counted in server->working */
    bool heavy;   /* says the gate */
    bool inside;  /* in server->overload */
    struct overload_ticket ticket;
    char *raw_target;
    struct http_target target;
    void *header_memory;
    struct http_request request;
    struct http_framing framing;
    struct buf body;
    size_t charged; /* what server->charged holds for it */
    uint64_t thrown_away;
    struct MHD_Response *response; /* READY and SWALLOW */
    unsigned status;
    int64_t began_us;  /* when the head was complete */
    int64_t queued_us; /* when it was handed to the workers */
    uint64_t received, sent;
    char user_text[32];
    atomic_int refs; /* libmicrohttpd's, a streamed handler's, a streamed response's */
    struct http_stream *stream; /* a streamed request or a polled reply; NULL: neither */
    bool polled;                /* among server->poll_count */
};

/* --- making and freeing --------------------------------------------------------------------------------- */

void *http_exchange_open(void *arg, const char *target, struct MHD_Connection *mhd)
{
    struct http_server *server = arg;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_conn *conn = info ? info->socket_context : NULL;
    struct http_exchange *x = conn ? calloc(1, sizeof *x) : NULL;
    if (!x)
        return NULL; /* the first call closes the connection */
    x->server = server;
    x->conn = conn;
    x->mhd = mhd;
    atomic_init(&x->refs, 1);
    x->raw_target = strdup(target ? target : "");
    buf_init(&x->body, server->options.max_body);
    http_conn_headers(server, conn);
    return x;
}

static void release_body(struct http_exchange *x)
{
    buf_free(&x->body);
    if (x->charged)
        atomic_fetch_sub(&x->server->charged, x->charged);
    metrics_change(METRIC_BODY_BYTES, 0, -(int64_t)x->charged);
    x->charged = 0;
}

/* It is answered, or given up: what is left is the client's to take. */
static void leave(struct http_exchange *x)
{
    if (x->working)
        atomic_fetch_sub(&x->server->working, 1);
    if (x->inside)
        overload_leave(&x->server->overload, clock_now_us(), &x->ticket);
    x->working = x->inside = false;
}

/* The status is that of an error written past libmicrohttpd where there was one: a 408, most often. */
static void tell_done(struct http_exchange *x)
{
    struct http_server *server = x->server;
    if (!x->began_us || !server->options.done)
        return;
    pthread_mutex_lock(&server->lock); /* the watcher may be refusing it right now */
    unsigned refused = x->conn->refused;
    pthread_mutex_unlock(&server->lock);
    struct http_done done = {.head = &x->request,
        .status = refused ? refused : x->status,
        .received = x->received + x->thrown_away,
        .sent = x->sent,
        .us = clock_now_us() - x->began_us};
    memcpy(done.user_text, x->user_text, sizeof done.user_text);
    if (done.status) /* 0: the client left before there was an answer */
        server->options.done(server->options.user, &done);
}

void http_exchange_done(
    void *server, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
    struct http_exchange *x = *context;
    *context = NULL;
    if (!x)
        return;
    leave(x);
    tell_done(x);
    http_conn_end(x->server, x->conn, x->counted);
    if (x->polled) {
        pthread_mutex_lock(&x->server->lock);
        x->server->poll_count--;
        pthread_mutex_unlock(&x->server->lock);
    }
    if (x->stream)
        http_stream_gone(x->stream);
    if (x->response)
        MHD_destroy_response(x->response);
    x->response = NULL;
    http_exchange_unref(x);
}

void http_exchange_ref(struct http_exchange *x)
{
    atomic_fetch_add(&x->refs, 1);
}

void http_exchange_unref(struct http_exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) > 1)
        return;
    http_stream_free(x->stream);
    release_body(x);
    http_target_free(&x->target);
    free(x->header_memory);
    free(x->raw_target);
    free(x);
}

const struct http_request *http_exchange_request(const struct http_exchange *x)
{
    return &x->request;
}

/* --- the head ------------------------------------------------------------------------------------------- */

struct header_copy {
    struct http_pair *pairs;
    char *memory;
    size_t count, bytes;
};

static enum MHD_Result count_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
    struct header_copy *copy = arg;
    copy->count++;
    copy->bytes += name_len + value_len + 2;
    return MHD_YES;
}

static enum MHD_Result copy_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
    struct header_copy *copy = arg;
    char *to = copy->memory;
    memcpy(to, name, name_len);
    to[name_len] = '\0';
    char *to_value = to + name_len + 1;
    if (value_len)
        memcpy(to_value, value, value_len);
    to_value[value_len] = '\0';
    copy->pairs[copy->count++] = (struct http_pair){.name = to, .value = to_value, .value_len = value_len};
    copy->memory = to_value + value_len + 1;
    return MHD_YES;
}

static enum result copy_headers(struct http_exchange *x)
{
    struct header_copy copy = {0};
    MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, count_header, &copy);
    void *memory = malloc(copy.count * sizeof *copy.pairs + copy.bytes + 1);
    if (!memory)
        return ERR_NO_MEMORY;
    copy.pairs = memory;
    copy.memory = (char *)memory + copy.count * sizeof *copy.pairs;
    copy.count = 0;
    MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, copy_header, &copy);
    x->header_memory = memory;
    x->request.headers = copy.pairs;
    x->request.header_count = copy.count;
    return ERR_OK;
}

/* After the framing was checked, which must see what libmicrohttpd saw: blanks at the end are no part of a
 * value. */
static void trim_headers(struct http_exchange *x)
{
    struct http_pair *pairs = x->header_memory;
    for (size_t i = 0; i < x->request.header_count; i++) {
        struct http_pair *p = &pairs[i];
        char *value = (char *)x->header_memory + (p->value - (const char *)x->header_memory);
        while (p->value_len && (value[p->value_len - 1] == ' ' || value[p->value_len - 1] == '\t'))
            value[--p->value_len] = '\0';
    }
}

/*
 * "METHOD SP target SP version", nothing else: libmicrohttpd skips further blanks and stops reading at a NUL.
 * The three strings lie in its buffer one behind the other, which shows both. Where they do not, there is
 * nothing to see.
 */
static bool line_is_plain(const char *method, const char *url, const char *version, size_t target_len)
{
    uintptr_t m = (uintptr_t)method, u = (uintptr_t)url, v = (uintptr_t)version;
    if (u > m && u - m < 2 * LIMIT_HEADER_BYTES && u - m != strlen(method) + 1)
        return false;
    return !(v > u && v - u < 2 * LIMIT_HEADER_BYTES && v - u != target_len + 1);
}

static unsigned check_head(
    struct http_exchange *x, const char *url, const char *version, const char **message)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info && info->header_size > LIMIT_HEADER_BYTES) {
        *message = "The headers of the request are too large.";
        return 431;
    }
    if (!http_is_token(x->request.method) || strpbrk(x->raw_target, " \t") ||
        !line_is_plain(x->request.method, url, version, strlen(x->raw_target))) {
        *message = "The request line must be a method, one blank, a path, one blank and the HTTP version.";
        return 400;
    }
    return http_framing_check(&x->request, version, &x->framing, message);
}

static enum result fill_head(struct http_exchange *x, const char *method)
{
    if (!x->raw_target || copy_headers(x))
        return ERR_NO_MEMORY;
    x->began_us = clock_now_us();
    http_identify(&x->request);
    x->head_only = strcmp(method, "HEAD") == 0;
    x->request.method = x->head_only ? "GET" : method;
    memcpy(x->request.client, x->conn->client, sizeof x->request.client);
    http_forwarded(&x->server->options, &x->request);
    return ERR_OK;
}

static enum result fill_target(struct http_exchange *x, struct err *err)
{
    enum result r = http_target_parse(x->raw_target, &x->target, err);
    if (r)
        return r;
    if (x->target.path[0] == '*' && strcmp(x->request.method, "OPTIONS") != 0) /* RFC 9112 section 3.2.4 */
        return err_set(err, ERR_INVALID, "The path * is for OPTIONS alone; the path of this request must begin with '/'.");
    x->request.path = x->target.path;
    x->request.query = x->target.query;
    x->request.query_count = x->target.query_count;
    return ERR_OK;
}

/* --- replies -------------------------------------------------------------------------------------------- */

static enum MHD_Result send_response(struct http_exchange *x)
{
    if (!x->response || !http_conn_to(x->server, x->conn, HTTP_CONN_REPLY))
        return MHD_NO;
    if (x->stream)
        http_conn_stream(x->server, x->conn, x->stream);
    enum MHD_Result queued = MHD_queue_response(x->mhd, x->status, x->response);
    MHD_destroy_response(x->response);
    x->response = NULL;
    return queued;
}

/* What every reply to this request has, whichever way it goes. */
static void sign(struct http_exchange *x, struct http_reply *reply)
{
    reply->origin = http_cors_match(x->server, &x->request);
    x->status = reply->status;
    x->sent = reply->static_body ? reply->static_len : reply->body.len;
    memcpy(x->user_text, reply->user_text, sizeof x->user_text);
    /* After twelve headers of the handler's own there is no room for it, and the reply goes without. */
    if (http_reply_header(reply, "X-Request-Id", x->request.id))
        return;
}

/* A reply that is polled becomes one that says why not, where there are too many of them. */
static bool admit_poll(struct http_exchange *x)
{
    struct http_server *server = x->server;
    pthread_mutex_lock(&server->lock);
    x->polled = server->poll_count < LIMIT_POLLS;
    server->poll_count += x->polled;
    pthread_mutex_unlock(&server->lock);
    x->stream = x->polled ? http_stream_new(server, x, x->mhd) : NULL;
    return x->stream != NULL;
}

static void make_streamed_response(struct http_exchange *x, struct http_reply *head)
{
    sign(x, head);
    x->response = http_stream_response(x->stream);
    if (x->response && !http_reply_headers(x->server, head, atomic_load(&x->server->stopping), x->response))
        x->response = NULL;
}

static void make_response(struct http_exchange *x, struct http_reply *reply, bool close)
{
    if (reply->poll.next && admit_poll(x)) {
        http_stream_poll(x->stream, reply);
        make_streamed_response(x, reply);
        return;
    }
    if (reply->poll.next) {
        if (reply->poll.close)
            reply->poll.close(reply->poll.user);
        reply->poll = (struct http_poll){0};
        http_reply_error(x->server, reply, x->request.path, 503, "Too many clients are watching. Try again in a moment.");
    }
    sign(x, reply);
    x->response = http_reply_response(x->server, reply, close || atomic_load(&x->server->stopping));
}

/* Answer `reply` instead of reading the body. Releases the reply. */
static enum MHD_Result refuse(struct http_exchange *x, struct http_reply *reply, bool framing_is_sound)
{
    bool waits = http_header(&x->request, "Expect") != NULL;
    bool small = !x->framing.chunked && x->framing.length <= SMALL_BODY;
    enum MHD_Result result = MHD_YES;
    if (waits) {
        make_response(x, reply, true);
        x->phase = PHASE_DEAD;
        result = send_response(x);
    } else if (framing_is_sound && small) {
        make_response(x, reply, false);
        x->phase = PHASE_SWALLOW;
    } else {
        sign(x, reply);
        http_conn_refuse(x->server, x->conn, reply, !x->head_only);
        x->phase = PHASE_DEAD;
    }
    http_reply_release(reply);
    return result;
}

static enum MHD_Result refuse_with(struct http_exchange *x, unsigned status, const char *message, bool sound)
{
    struct http_reply reply;
    http_reply_init(&reply);
    /* Of a target that cannot be read its beginning still tells whose error it is. */
    http_reply_error(x->server, &reply, x->request.path ? x->request.path : x->raw_target, status, message);
    return refuse(x, &reply, sound);
}

/* --- the calls ------------------------------------------------------------------------------------------ */

static bool is_preflight(const struct http_exchange *x)
{
    return x->server->cors_count && strcmp(x->request.method, "OPTIONS") == 0 &&
           http_header(&x->request, "Origin") && http_header(&x->request, "Access-Control-Request-Method");
}

static enum MHD_Result start_stream(struct http_exchange *x)
{
    x->stream = http_stream_new(x->server, x, x->mhd);
    x->request.stream = x->stream;
    x->request.body = "";
    x->request.deadline_ms = CLOCK_NO_DEADLINE;
    if (!x->stream || http_stream_start(x->stream)) {
        http_stream_free(x->stream);
        x->stream = NULL;
        return refuse_with(x, 503, "Too many requests of this kind are running. Try again in a moment.", true);
    }
    x->phase = PHASE_STREAMING;
    return MHD_YES;
}

/* The request is sound; does anybody want it? */
static enum MHD_Result admit(struct http_exchange *x)
{
    struct http_server *server = x->server;
    struct http_reply reply;
    if (atomic_load(&server->stopping))
        return refuse_with(x, 503, "The server is being stopped. Try again in a moment.", true);
    http_reply_init(&reply);
    if (is_preflight(x)) {
        http_reply_preflight(&reply, &x->request);
        return refuse(x, &reply, true);
    }
    bool streamed = server->options.streams && server->options.streams(server->options.user, &x->request);
    if (!streamed && x->framing.length > server->options.max_body) {
        char message[128];
        snprintf(message, sizeof message,
            "The body of the request is larger than %zu bytes, the most accepted here.",
            server->options.max_body);
        return refuse_with(x, 413, message, true);
    }
    if (server->options.gate)
        server->options.gate(server->options.user, &x->request, &reply);
    if (reply.status >= 400)
        return refuse(x, &reply, true);
    x->light = reply.light;
    x->heavy = reply.heavy;
    http_reply_release(&reply);
    x->phase = PHASE_READING;
    return streamed ? start_stream(x) : MHD_YES;
}

static enum MHD_Result first_call(
    struct http_exchange *x, const char *url, const char *method, const char *version)
{
    struct err err = {0};
    const char *message = NULL;
    if (fill_head(x, method))
        return MHD_NO;
    unsigned status = check_head(x, url, version, &message);
    bool sound = status == 0;
    if (!status && fill_target(x, &err)) {
        status = err.code == ERR_NO_MEMORY ? 503 : 400;
        message = err.message;
    }
    if (!http_conn_begin(x->server, x->conn, x->request.path)) {
        x->phase = PHASE_DEAD;
        return MHD_YES;
    }
    x->counted = true;
    if (status)
        return refuse_with(x, status, message, sound);
    trim_headers(x);
    return admit(x);
}

static enum MHD_Result throw_away(struct http_exchange *x, size_t *size)
{
    x->thrown_away += *size;
    *size = 0;
    return x->thrown_away > 2 * (uint64_t)x->server->options.max_body + SMALL_BODY ? MHD_NO : MHD_YES;
}

/* Memory is taken as bytes arrive, never by what Content-Length promises. */
static enum MHD_Result take_body(struct http_exchange *x, const char *data, size_t *size)
{
    struct http_server *server = x->server;
    int state = atomic_load_explicit(&x->conn->state, memory_order_acquire);
    if (state == HTTP_CONN_LINGER || state == HTTP_CONN_GONE) { /* the watcher has sent a 408 */
        x->phase = PHASE_DEAD;
        return throw_away(x, size);
    }
    unsigned status = 0;
    const char *message = NULL;
    size_t before = x->body.cap;
    x->received += *size;
    enum result r = buf_append(&x->body, data, *size);
    size_t grown = x->body.cap - before;
    size_t all = atomic_fetch_add(&server->charged, grown) + grown;
    x->charged += grown;
    metrics_change(METRIC_BODY_BYTES, 0, (int64_t)grown);
    if (r == ERR_TOO_LARGE) {
        status = 413;
        message = "The body of the request is larger than is accepted here.";
    } else if (r || all > atomic_load(&server->budget)) {
        status = 503;
        message = "The server is receiving too much data at the moment. Try again in a moment.";
    }
    if (!status) {
        *size = 0;
        return MHD_YES;
    }
    release_body(x);
    struct http_reply reply;
    http_reply_init(&reply);
    http_reply_error(server, &reply, x->request.path, status, message);
    sign(x, &reply);
    http_conn_refuse(server, x->conn, &reply, true);
    http_reply_release(&reply);
    x->phase = PHASE_DEAD;
    return throw_away(x, size);
}

/* Whether there is room for one more. What is light is not counted: who watches the server must reach it when it is busy. */
static bool enter(struct http_exchange *x)
{
    struct http_server *server = x->server;
    unsigned most = server->options.max_active;
    if (!x->light && most) {
        if (atomic_fetch_add(&server->working, 1) >= most) {
            atomic_fetch_sub(&server->working, 1);
            return false;
        }
        x->working = true;
    }
    if (!x->heavy)
        return true;
    x->inside = overload_enter(&server->overload, clock_now_us(), &x->ticket);
    metrics_set(METRIC_OVERLOAD, 0, overload_sheds(&server->overload));
    return x->inside;
}

/* As long as something comes, the body has time. */
static enum MHD_Result take_stream(struct http_exchange *x, const char *data, size_t *size)
{
    int state = atomic_load_explicit(&x->conn->state, memory_order_acquire);
    if (state == HTTP_CONN_LINGER || state == HTTP_CONN_GONE) {
        x->phase = PHASE_DEAD;
        http_stream_gone(x->stream);
        return throw_away(x, size);
    }
    size_t before = *size;
    if (!http_conn_to(x->server, x->conn, HTTP_CONN_BODY))
        return MHD_NO;
    if (!http_stream_take(x->stream, data, size))
        return throw_away(x, size);
    x->received += before - *size;
    /* Something is left: suspended, which is not the client's fault. It may have been resumed already; the next call, on
       this thread, puts the state right. */
    return *size == 0 || http_conn_to(x->server, x->conn, HTTP_CONN_BUSY) ? MHD_YES : MHD_NO;
}

static enum MHD_Result reply_stream(struct http_exchange *x)
{
    if (!http_conn_to(x->server, x->conn, HTTP_CONN_BUSY))
        return MHD_NO;
    enum http_stream_reply state = http_stream_body_done(x->stream);
    if (state == HTTP_STREAM_WAIT)
        return MHD_YES;
    if (state == HTTP_STREAM_PLAIN)
        make_response(x, http_stream_head(x->stream), false);
    else
        make_streamed_response(x, http_stream_head(x->stream));
    x->phase = PHASE_READY;
    return send_response(x);
}

/* The whole request is here: hand it to the workers. */
static enum MHD_Result last_call(struct http_exchange *x)
{
    struct http_server *server = x->server;
    if (!http_conn_to(server, x->conn, HTTP_CONN_BUSY))
        return MHD_NO;
    x->request.body = x->body.data ? x->body.data : "";
    x->request.body_len = x->body.len;
    x->request.deadline_ms = clock_now_ms() + server->options.request_ms;
    x->phase = PHASE_QUEUED;
    x->queued_us = clock_now_us();
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_REQUESTS, 1);
    /* Suspended first: a worker may resume it before queue_try_push() returns. */
    MHD_suspend_connection(x->mhd);
    struct http_lane *lane = &server->lanes[x->light ? HTTP_LANE_LIGHT : HTTP_LANE_WORK];
    if (enter(x) && queue_try_push(lane->queue, x) == ERR_OK)
        return MHD_YES;
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_REQUESTS, -1);
    leave(x);
    struct http_reply reply;
    http_reply_init(&reply);
    http_reply_error(
        server, &reply, x->request.path, 503, "Too many requests are waiting. Try again in a moment.");
    release_body(x);
    make_response(x, &reply, false);
    http_reply_release(&reply);
    x->phase = PHASE_READY;
    MHD_resume_connection(x->mhd);
    return MHD_YES;
}

enum MHD_Result http_exchange_call(void *server, struct MHD_Connection *mhd, const char *url,
    const char *method, const char *version, const char *data, size_t *size, void **context)
{
    struct http_exchange *x = *context;
    if (!x)
        return MHD_NO;
    switch (x->phase) {
    case PHASE_NEW:
        return first_call(x, url, method, version);
    case PHASE_READING:
        return *size ? take_body(x, data, size) : last_call(x);
    case PHASE_STREAMING:
        return *size ? take_stream(x, data, size) : reply_stream(x);
    case PHASE_SWALLOW:
        if (*size)
            return throw_away(x, size);
        if (!http_conn_to(
                x->server, x->conn, HTTP_CONN_BUSY)) /* counts the bytes received, for the next request */
            return MHD_NO;
        return send_response(x);
    case PHASE_READY:
        return send_response(x);
    case PHASE_DEAD:
        return *size ? throw_away(x, size) : MHD_NO;
    case PHASE_QUEUED:
        break; /* suspended: cannot be called */
    }
    return MHD_NO;
}

/* --- the workers ---------------------------------------------------------------------------------------- */

static void serve(struct http_exchange *x)
{
    struct http_server *server = x->server;
    struct http_reply reply;
    http_reply_init(&reply);
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_REQUESTS, -1);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_QUEUE, clock_now_us() - x->queued_us);
    log_request(x->request.id, x->request.trace_id);
    if (atomic_load(&server->aborting))
        http_reply_error(
            server, &reply, x->request.path, 503, "The server is being stopped. Try again in a moment.");
    else if (clock_passed(x->request.deadline_ms))
        http_reply_error(server, &reply, x->request.path, 503,
            "The request has waited too long for its turn. Try again in a moment.");
    else
        server->options.handler(server->options.user, &x->request, &reply);
    if (reply.status < 200 || reply.status > 599)
        http_reply_error(
            server, &reply, x->request.path, 500, "The server made a reply without a valid status.");
    log_request(NULL, NULL);
    x->ticket.failed = reply.status >= 500;
    leave(x);
    release_body(x);
    make_response(x, &reply, false);
    http_reply_release(&reply);
    x->phase = PHASE_READY;
    MHD_resume_connection(x->mhd); /* from here on it is the I/O thread's again */
}

void *http_exchange_work(void *arg)
{
    struct http_lane *lane = arg;
    void *item = NULL;
    blocking_enter(lane->turns);
    while (queue_pop(lane->queue, &item)) {
        serve(item);
        blocking_next(lane->turns);
    }
    blocking_leave(lane->turns);
    return NULL;
}
