/*
 * Bodies that are never whole in memory, in both directions.
 *
 * A streamed request has a handler on a thread of its own, because it lasts as long as its client sends. Between the
 * I/O thread and the handler are two buffers:
 *
 *   client ─▶ I/O thread ─▶ ring (LIMIT_STREAM_RING) ─▶ http_stream_read()    the handler
 *   client ◀─ I/O thread ◀─ out (LIMIT_STREAM_OUT)   ◀─ http_stream_write()   the same
 *
 * A full ring suspends the connection: libmicrohttpd stops reading, the kernel's buffers fill, the client waits. A full
 * `out` makes the handler wait. libmicrohttpd takes a reply only before the first or after the last byte of the body, so
 * what is written earlier waits in `out`. Most clients do not read before they have sent everything anyway; `out` is
 * so large that the handler does not wait for those, or both would wait for ever.
 *
 * A polled reply (struct http_poll) needs no thread: the watcher wakes its connection ten times a second, and the I/O
 * thread asks for what is new.
 *
 * Who may touch what: everything in struct http_stream is under its lock, except that `x` belongs to the exchange. The
 * exchange lives until both libmicrohttpd and the handler have let go of it. A connection is resumed with the lock
 * held and only while `suspended`, and a suspended connection is never completed: so it cannot have gone. The server's
 * lock is taken before this one, never after.
 */
#include "http/internal.h"

#include "base/clock.h"

struct http_stream {
    struct http_server *server;
    struct http_exchange *x;
    struct MHD_Connection *mhd;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* something of the below has changed */
    char *ring;
    size_t start, len;    /* of what waits in the ring */
    bool body_done;       /* the body is complete */
    bool gone;            /* the client has left, or its time is up */
    bool suspended;
    struct buf out;
    size_t sent;          /* of `out` */
    bool started;         /* the handler has written: the head of the reply stands */
    bool ended;           /* the handler has returned */
    struct http_reply reply;
    struct http_poll poll; /* `next` NULL: it has a handler */
};

struct http_stream *http_stream_new(struct http_server *server, struct http_exchange *x, struct MHD_Connection *mhd)
{
    struct http_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->ring = malloc(LIMIT_STREAM_RING);
    if (!s->ring || clock_cond_init(&s->moved)) {
        free(s->ring);
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->server = server;
    s->x = x;
    s->mhd = mhd;
    buf_init(&s->out, (size_t)2 * LIMIT_STREAM_OUT);
    http_reply_init(&s->reply);
    return s;
}

void http_stream_free(struct http_stream *s)
{
    if (!s)
        return;
    if (s->poll.close)
        s->poll.close(s->poll.user);
    http_reply_release(&s->reply);
    buf_free(&s->out);
    pthread_cond_destroy(&s->moved);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}

/* Something has changed: wake the other side, be it a thread or a suspended connection. With the lock. */
static void wake(struct http_stream *s)
{
    pthread_cond_broadcast(&s->moved);
    if (s->suspended) {
        s->suspended = false;
        MHD_resume_connection(s->mhd);
    }
}

/* --- the I/O thread --------------------------------------------------------------------------------------------- */

/* With the lock. */
static void suspend(struct http_stream *s)
{
    s->suspended = true;
    MHD_suspend_connection(s->mhd);
}

bool http_stream_take(struct http_stream *s, const char *data, size_t *size)
{
    pthread_mutex_lock(&s->lock);
    bool wanted = !s->ended;
    size_t room = LIMIT_STREAM_RING - s->len, n = *size < room ? *size : room;
    for (size_t done = 0; wanted && done < n;) {
        size_t at = (s->start + s->len) % LIMIT_STREAM_RING;
        size_t part = LIMIT_STREAM_RING - at < n - done ? LIMIT_STREAM_RING - at : n - done;
        memcpy(s->ring + at, data + done, part);
        s->len += part;
        done += part;
    }
    if (wanted) {
        *size -= n;
        pthread_cond_broadcast(&s->moved);
        if (*size > 0) /* also where a part was taken: libmicrohttpd calls again for the rest when more arrives, and it may be the last */
            suspend(s);
    }
    pthread_mutex_unlock(&s->lock);
    return wanted;
}

enum http_stream_reply http_stream_body_done(struct http_stream *s)
{
    enum http_stream_reply state = HTTP_STREAM_WAIT;
    pthread_mutex_lock(&s->lock);
    s->body_done = true;
    pthread_cond_broadcast(&s->moved);
    if (s->ended && !s->started)
        state = HTTP_STREAM_PLAIN;
    else if (s->started)
        state = HTTP_STREAM_READY;
    else
        suspend(s);
    pthread_mutex_unlock(&s->lock);
    return state;
}

struct http_reply *http_stream_head(struct http_stream *s)
{
    return &s->reply;
}

void http_stream_gone(struct http_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->gone = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

void http_stream_poke(struct http_stream *s, bool left)
{
    pthread_mutex_lock(&s->lock);
    if (s->poll.next) {
        s->gone = s->gone || left;
        wake(s);
    }
    pthread_mutex_unlock(&s->lock);
}

void http_stream_poll(struct http_stream *s, struct http_reply *reply)
{
    s->poll = reply->poll;
    reply->poll = (struct http_poll){0};
    s->started = true;
}

/* What a polled reply has to say now. With the lock. */
static bool refill(struct http_stream *s)
{
    if (!s->poll.next || s->ended)
        return !s->ended;
    s->ended = !s->poll.next(s->poll.user, &s->out) || atomic_load(&s->server->stopping);
    return !s->ended;
}

/* libmicrohttpd asks for the next piece of a reply. */
static ssize_t next_piece(void *arg, uint64_t at, char *to, size_t max)
{
    struct http_stream *s = arg;
    ssize_t result = 0;
    pthread_mutex_lock(&s->lock);
    bool more = true;
    if (!s->gone && s->sent == s->out.len)
        more = refill(s);
    size_t n = s->out.len - s->sent;
    if (s->gone) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (n > 0) {
        n = n < max ? n : max;
        memcpy(to, s->out.data + s->sent, n);
        s->sent += n;
        if (s->sent == s->out.len) {
            buf_clear(&s->out);
            s->sent = 0;
        }
        pthread_cond_broadcast(&s->moved);
        result = (ssize_t)n;
    } else if (!more) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        suspend(s);
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

static void response_gone(void *arg)
{
    http_exchange_unref(((struct http_stream *)arg)->x);
}

struct MHD_Response *http_stream_response(struct http_stream *s)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 * (size_t)LIMIT_KIB, next_piece, s, response_gone);
    if (response)
        http_exchange_ref(s->x);
    return response;
}

/* --- the handler ------------------------------------------------------------------------------------------------ */

#define LOOK_EVERY_MS 200 /* at whether the server is being stopped */

/* Wait for a change; false at the deadline or where nothing will come any more. With the lock. */
static enum result wait_moved(struct http_stream *s, int64_t deadline, struct err *err)
{
    if (s->gone)
        return err_set(err, ERR_UNAVAILABLE, "the client has gone");
    if (atomic_load(&s->server->aborting))
        return err_set(err, ERR_UNAVAILABLE, "the server is being stopped");
    if (clock_passed(deadline))
        return err_set(err, ERR_TIMEOUT, "the client has sent or taken nothing for too long");
    clock_wait(&s->moved, &s->lock, clock_now_ms() + LOOK_EVERY_MS);
    return ERR_OK;
}

enum result http_stream_read(struct http_stream *s, char *to, size_t size, size_t *n, struct err *err)
{
    enum result r = ERR_OK;
    int64_t deadline = clock_now_ms() + s->server->options.body_ms;
    pthread_mutex_lock(&s->lock);
    while (r == ERR_OK && s->len == 0 && !s->body_done)
        r = wait_moved(s, deadline, err);
    if (r == ERR_OK) {
        size_t part = LIMIT_STREAM_RING - s->start;
        part = part < s->len ? part : s->len;
        part = part < size ? part : size;
        memcpy(to, s->ring + s->start, part);
        s->start = (s->start + part) % LIMIT_STREAM_RING;
        s->len -= part;
        *n = part;
        if (!s->body_done)
            wake(s);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

enum result http_stream_write(struct http_stream *s, struct http_reply *reply, const void *data, size_t len, struct err *err)
{
    enum result r = ERR_OK;
    int64_t deadline = clock_now_ms() + s->server->options.body_ms;
    pthread_mutex_lock(&s->lock);
    while (r == ERR_OK && s->out.len - s->sent > LIMIT_STREAM_OUT)
        r = wait_moved(s, deadline, err);
    if (r == ERR_OK && s->gone)
        r = err_set(err, ERR_UNAVAILABLE, "the client has gone");
    if (r == ERR_OK && buf_append(&s->out, data, len))
        r = err_set(err, ERR_TOO_LARGE, "the client takes too little of the reply");
    if (r == ERR_OK && !s->started) {
        s->started = true;
        s->reply.status = reply->status;
        s->reply.content_type = reply->content_type;
        memcpy(s->reply.headers, reply->headers, sizeof s->reply.headers);
        s->reply.header_count = reply->header_count;
        memcpy(s->reply.user_text, reply->user_text, sizeof s->reply.user_text);
    }
    /* While the body comes the connection is suspended for its sake alone. */
    if (r == ERR_OK && s->body_done)
        wake(s);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* The thread of a streamed request. */
static void *run_handler(void *arg)
{
    struct http_stream *s = arg;
    struct http_server *server = s->server;
    struct http_reply reply;
    http_reply_init(&reply);
    server->options.handler(server->options.user, http_exchange_request(s->x), &reply);
    pthread_mutex_lock(&s->lock);
    if (!s->started) {
        http_reply_release(&s->reply);
        s->reply = reply;
        http_reply_init(&reply);
    }
    s->ended = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    http_reply_release(&reply);
    http_exchange_unref(s->x);
    pthread_mutex_lock(&server->lock);
    server->stream_count--;
    pthread_cond_broadcast(&server->request_ended);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

enum result http_stream_start(struct http_stream *s)
{
    struct http_server *server = s->server;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_mutex_lock(&server->lock);
    bool room = server->stream_count < LIMIT_STREAMS;
    server->stream_count += room;
    pthread_mutex_unlock(&server->lock);
    if (!room)
        return ERR_BUSY;
    http_exchange_ref(s->x);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int e = pthread_create(&thread, &attr, run_handler, s);
    pthread_attr_destroy(&attr);
    if (e == 0)
        return ERR_OK;
    http_exchange_unref(s->x);
    pthread_mutex_lock(&server->lock);
    server->stream_count--;
    pthread_mutex_unlock(&server->lock);
    return ERR_BUSY;
}
