/*
 * Connections and their deadlines.
 *
 * libmicrohttpd knows one time-out, of inactivity: a client that sends a byte a second keeps a connection for
 * ever, and one that meets it is cut off without a word. So a thread of ours, the watcher, looks at every
 * connection a few times a second and ends what is late, with a 408 where a request is half-read.
 *
 *      opened ──▶ WAIT ──first byte──▶ HEAD ──first call──▶ BODY ──last call──▶ BUSY ──▶ REPLY
 *                  ▲ │                   │                    │                            │
 *                  │ └─ idle_ms ─▶ GONE  └──── late: 408 ─────┴───▶ LINGER ─▶ GONE         │
 *                  └───────────────────────────── sent ────────────────────────────────────┘
 *
 * libmicrohttpd does not tell when the first byte of a request comes, only when the request line is complete.
 * The kernel does: TCP_INFO counts the bytes received. We compare with the count at the end of the previous
 * request. Bytes of a pipelined request that were there already by then go unseen, so such a connection is
 * bounded by idle_ms instead.
 *
 * The 408 is written on the socket directly, past libmicrohttpd: it takes no response while it reads. That is
 * safe because (1) it writes nothing itself in HEAD and BODY, but for its own errors and "100 Continue", and
 * either way the connection ends; (2) every state change is under `server->lock`, so a request that has just
 * become complete is not refused, and one that was refused never reaches the handler; (3) the notify-closed
 * callback takes the same lock before libmicrohttpd closes the descriptor, so a descriptor in the list is
 * never another connection's.
 *
 * After the error our side is shut down and the state is LINGER: libmicrohttpd goes on reading what the
 * client still sends, and we throw it away. Closing at once would make the kernel answer that data with a
 * reset, on which the client's kernel drops the error before the client has read it. LINGER ends when the
 * client closes, or by a deadline.
 *
 * Rejected: closing from this thread (libmicrohttpd owns the descriptor); a timer per connection (1,024
 * connections looked at ten times a second cost less than 0.1 % of a CPU).
 */
#include "http/internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/parse.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LINGER_LATE_MS 1000  /* for a client that was too slow anyway */
#define LINGER_MS 30000      /* for one that is busy sending what we refused */
#define CROWDED_IDLE_MS 1000 /* idle_ms while few connections are left */
#define CROWDED (LIMIT_CONNECTIONS - LIMIT_CONNECTIONS / 8)
#define REPLY_PROGRESS (64 * LIMIT_KIB) /* a client must take this much of a reply in body_ms */

/* What the kernel knows of a connection. */
struct tcp_view {
    uint64_t received, acked;
    bool peer_closed; /* the client will send nothing more, and all it sent was read */
};

/* The peer's FIN or RST has come: TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING of the kernel's
 * tcp_states.h. */
static bool is_closed_state(unsigned state)
{
    return state == 6 || state == 7 || state == 8 || state == 9 || state == 11;
}

static struct tcp_view view_tcp(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
        return (struct tcp_view){0};
    struct tcp_view view = {.received = info.tcpi_bytes_received, .acked = info.tcpi_bytes_acked};
    view.peer_closed = is_closed_state(info.tcpi_state) && ioctl(fd, FIONREAD, &unread) == 0 && unread == 0;
    return view;
}

static void set_state(struct http_conn *conn, enum http_conn_state state, int64_t now, int64_t ms)
{
    atomic_store_explicit(&conn->state, (int)state, memory_order_release);
    conn->since = now;
    conn->closed_since = 0;
    conn->deadline = ms > 0 ? now + ms : CLOCK_NO_DEADLINE;
}

static enum http_conn_state get_state(const struct http_conn *conn)
{
    return (enum http_conn_state)atomic_load_explicit(&conn->state, memory_order_acquire);
}

static void name_client(struct MHD_Connection *mhd, char *out, size_t size)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const char *text = NULL;
    if (address && address->sa_family == AF_INET) {
        text = inet_ntop(
            AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out, (socklen_t)size);
    } else if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(a))
            text = inet_ntop(AF_INET, &a->s6_addr[12], out, (socklen_t)size);
        else
            text = inet_ntop(AF_INET6, a, out, (socklen_t)size);
    }
    if (!text)
        snprintf(out, size, "?");
}

void http_conn_opened(struct http_server *server, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *conn = info ? calloc(1, sizeof *conn) : NULL;
    *context = conn;
    if (!conn)
        return; /* the request of a connection without context is refused by closing it */
    conn->fd = info->connect_fd;
    conn->mhd = mhd;
    name_client(mhd, conn->client, sizeof conn->client);
    pthread_mutex_lock(&server->lock);
    set_state(conn, HTTP_CONN_WAIT, clock_now_ms(), server->options.idle_ms);
    conn->next = server->conns;
    if (conn->next)
        conn->next->prev = conn;
    server->conns = conn;
    server->conn_count++;
    metrics_change(METRIC_CONNECTIONS, 0, 1);
    pthread_mutex_unlock(&server->lock);
}

/* What has arrived and was not read would turn the coming close(2) into a reset. */
static void drain(int fd)
{
    char scrap[16 * 1024];
    for (int i = 0; i < 16; i++)
        if (recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) <= 0)
            break;
}

void http_conn_closed(struct http_server *server, void **context)
{
    struct http_conn *conn = *context;
    *context = NULL;
    if (!conn)
        return;
    pthread_mutex_lock(&server->lock);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    server->conn_count--;
    metrics_change(METRIC_CONNECTIONS, 0, -1);
    pthread_mutex_unlock(&server->lock);
    drain(conn->fd);
    free(conn);
}

static bool is_over(const struct http_conn *conn)
{
    enum http_conn_state state = get_state(conn);
    return state == HTTP_CONN_LINGER || state == HTTP_CONN_GONE;
}

static bool to_locked(struct http_server *server, struct http_conn *conn, enum http_conn_state state)
{
    if (is_over(conn))
        return false;
    int64_t ms = 0;
    switch (state) {
    case HTTP_CONN_WAIT:
        ms = server->options.idle_ms;
        break;
    case HTTP_CONN_HEAD:
        if (get_state(conn) == HTTP_CONN_HEAD)
            return true; /* the first byte was seen before the request line was complete: its deadline stays
                          */
        ms = server->options.header_ms;
        break;
    case HTTP_CONN_REPLY:
    case HTTP_CONN_STREAM:
        conn->acked = view_tcp(conn->fd).acked;
        ms = server->options.body_ms;
        break;
    case HTTP_CONN_BODY:
        ms = server->options.body_ms;
        break;
    case HTTP_CONN_BUSY:
        conn->received = view_tcp(conn->fd).received;
        break;
    case HTTP_CONN_LINGER:
    case HTTP_CONN_GONE:
        break;
    }
    set_state(conn, state, clock_now_ms(), ms);
    return true;
}

bool http_conn_to(struct http_server *server, struct http_conn *conn, enum http_conn_state state)
{
    pthread_mutex_lock(&server->lock);
    bool ok = to_locked(server, conn, state);
    pthread_mutex_unlock(&server->lock);
    return ok;
}

void http_conn_headers(struct http_server *server, struct http_conn *conn)
{
    pthread_mutex_lock(&server->lock);
    if (to_locked(server, conn, HTTP_CONN_HEAD)) {
        conn->in_headers = true;
        conn->thread = pthread_self();
    }
    pthread_mutex_unlock(&server->lock);
}

bool http_conn_begin(struct http_server *server, struct http_conn *conn, const char *path)
{
    pthread_mutex_lock(&server->lock);
    bool ok = to_locked(server, conn, HTTP_CONN_BODY);
    conn->in_headers = false;
    if (ok) {
        conn->path = path;
        server->active++;
    }
    pthread_mutex_unlock(&server->lock);
    return ok;
}

void http_conn_end(struct http_server *server, struct http_conn *conn, bool counted)
{
    pthread_mutex_lock(&server->lock);
    conn->path = NULL;
    conn->stream = NULL;
    conn->in_headers = false;
    to_locked(server, conn, HTTP_CONN_WAIT);
    if (counted && --server->active == 0)
        pthread_cond_broadcast(&server->request_ended);
    pthread_mutex_unlock(&server->lock);
}

void http_conn_stream(struct http_server *server, struct http_conn *conn, struct http_stream *stream)
{
    pthread_mutex_lock(&server->lock);
    if (to_locked(server, conn, HTTP_CONN_STREAM))
        conn->stream = stream;
    pthread_mutex_unlock(&server->lock);
}

static void refuse_locked(struct http_server *server, struct http_conn *conn, struct http_reply *reply,
    bool with_body, int64_t linger)
{
    struct buf text;
    buf_init(&text, LIMIT_HTTP_REPLY);
    if (is_over(conn))
        return;
    /* The socket's buffer is empty, so a short reply fits. Where it does not, a cut-off reply is all there can be. */
    if (server->tls) {
        /* The session belongs to its I/O thread; the watcher may not touch it, and ends the connection without a word. */
        if (pthread_equal(pthread_self(), server->watcher)) {
            conn->refused = reply->status;
            shutdown(conn->fd, SHUT_RDWR);
            set_state(conn, HTTP_CONN_GONE, clock_now_ms(), 0);
            return;
        }
        if (!http_reply_text(server, reply, with_body, &text))
            http_tls_write(conn->mhd, text.data, text.len);
    } else if (!http_reply_text(server, reply, with_body, &text) &&
        send(conn->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        linger = 1;
    conn->refused = reply->status;
    shutdown(conn->fd, SHUT_WR);
    set_state(conn, HTTP_CONN_LINGER, clock_now_ms(), linger);
    buf_free(&text);
}

void http_conn_refuse(
    struct http_server *server, struct http_conn *conn, struct http_reply *reply, bool with_body)
{
    int64_t linger = server->options.body_ms < LINGER_MS ? server->options.body_ms : LINGER_MS;
    pthread_mutex_lock(&server->lock);
    refuse_locked(server, conn, reply, with_body, linger);
    pthread_mutex_unlock(&server->lock);
}

/* For http_conn_log(): does this header list have a Content-Length that libmicrohttpd does not understand? */
static enum MHD_Result find_bad_length(
    void *bad, enum MHD_ValueKind kind, const char *name, const char *value)
{
    uint64_t length;
    if (strcasecmp(name, "Content-Length") == 0 && value &&
        !parse_u64(value, strlen(value), UINT64_MAX, &length))
        *(bool *)bad = true;
    return MHD_YES;
}

/*
 * libmicrohttpd answers a Content-Length that is no number by itself, before our first call, and 0.9.75 then
 * sends its header twice. It says so to its logger, though, on the I/O thread and before it sends: so the
 * connection is one of this thread whose headers are being read and hold such a value, and gets our error
 * first. Should two of them be in that state at once, both deserve it. Everything else said here is dropped:
 * libraries do not log.
 */
void http_conn_log(void *arg, const char *format, va_list args)
{
    struct http_server *server = arg;
    if (!strstr(format, "Content-Length"))
        return;
    struct http_reply reply;
    http_reply_init(&reply);
    http_reply_error(
        server, &reply, NULL, 400, "The Content-Length of the request is not a plain decimal number.");
    pthread_mutex_lock(&server->lock);
    for (struct http_conn *conn = server->conns; conn; conn = conn->next) {
        bool bad = false;
        if (conn->in_headers && pthread_equal(conn->thread, pthread_self()))
            MHD_get_connection_values(conn->mhd, MHD_HEADER_KIND, find_bad_length, &bad);
        if (bad)
            refuse_locked(server, conn, &reply, true, LINGER_LATE_MS);
    }
    pthread_mutex_unlock(&server->lock);
    http_reply_release(&reply);
}

static void refuse_late(struct http_server *server, struct http_conn *conn, const char *message)
{
    struct http_reply reply;
    http_reply_init(&reply);
    http_reply_error(server, &reply, conn->path, 408, message);
    refuse_locked(server, conn, &reply, true, LINGER_LATE_MS);
    http_reply_release(&reply);
}

static void end_connection(struct http_conn *conn, int64_t now)
{
    shutdown(conn->fd, SHUT_RDWR); /* wakes libmicrohttpd, which closes */
    set_state(conn, HTTP_CONN_GONE, now, 0);
}

/*
 * Has the client gone without libmicrohttpd noticing? Where data and the end of the stream arrive together,
 * 0.9.75 reads the data, takes a short read for "no more", and waits for an edge of epoll that has already
 * been.
 */
static bool has_left(struct http_conn *conn, const struct tcp_view *tcp, int64_t now, int64_t closed_ms)
{
    if (!tcp->peer_closed)
        conn->closed_since = 0;
    else if (conn->closed_since == 0)
        conn->closed_since = now;
    return conn->closed_since && now - conn->closed_since >= closed_ms;
}

/* Time runs only while there is something that the client does not take. */
static void look_at_stream(
    struct http_server *server, struct http_conn *conn, const struct tcp_view *tcp, bool left, int64_t now)
{
    int unsent = 0;
    bool idle = ioctl(conn->fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
    bool late = conn->deadline != CLOCK_NO_DEADLINE && now >= conn->deadline;
    if (idle || (late && tcp->acked - conn->acked >= REPLY_PROGRESS)) {
        conn->deadline = now + server->options.body_ms;
        conn->acked = tcp->acked;
    } else if (late) {
        end_connection(conn, now);
        http_stream_gone(conn->stream);
        return;
    }
    http_stream_poke(conn->stream, left);
}

static void look_at(struct http_server *server, struct http_conn *conn, int64_t now)
{
    enum http_conn_state state = get_state(conn);
    if (state == HTTP_CONN_BUSY || state == HTTP_CONN_GONE)
        return;
    bool late = conn->deadline != CLOCK_NO_DEADLINE && now >= conn->deadline;
    struct tcp_view tcp = view_tcp(conn->fd);
    bool left = has_left(conn, &tcp, now, atomic_load(&server->closed_ms));
    if (state != HTTP_CONN_REPLY && state != HTTP_CONN_STREAM && left) {
        end_connection(conn, now);
        return;
    }
    switch (state) {
    case HTTP_CONN_WAIT:
        if (tcp.received != conn->received && !tcp.peer_closed) /* the end of the stream counts as a byte */
            set_state(conn, HTTP_CONN_HEAD, now, server->options.header_ms);
        else if (late || (server->conn_count >= CROWDED && now - conn->since >= CROWDED_IDLE_MS))
            end_connection(conn, now);
        break;
    case HTTP_CONN_HEAD:
        if (late)
            refuse_late(server, conn, "The headers of the request did not arrive in time.");
        break;
    case HTTP_CONN_BODY:
        if (late)
            refuse_late(server, conn, "The body of the request did not arrive in time.");
        break;
    case HTTP_CONN_STREAM:
        look_at_stream(server, conn, &tcp, left, now);
        break;
    case HTTP_CONN_REPLY:
        if (late) {
            if (tcp.acked - conn->acked >= REPLY_PROGRESS)
                conn->deadline = now + server->options.body_ms;
            else
                end_connection(conn, now);
            conn->acked = tcp.acked;
        }
        break;
    case HTTP_CONN_LINGER:
        if (late)
            end_connection(conn, now);
        break;
    case HTTP_CONN_BUSY:
    case HTTP_CONN_GONE:
        break;
    }
}

static int64_t tick_ms(const struct http_options *o)
{
    int64_t shortest = o->header_ms < o->body_ms ? o->header_ms : o->body_ms;
    shortest = shortest < o->idle_ms ? shortest : o->idle_ms;
    int64_t tick = shortest / 4;
    return tick < 10 ? 10 : tick > 100 ? 100 : tick;
}

void *http_conn_watch(void *arg)
{
    struct http_server *server = arg;
    int64_t tick = tick_ms(&server->options);
    pthread_mutex_lock(&server->lock);
    while (!server->quit) {
        clock_wait(&server->wake_watcher, &server->lock, clock_now_ms() + tick);
        int64_t now = clock_now_ms();
        for (struct http_conn *conn = server->conns; conn && !server->quit; conn = conn->next)
            look_at(server, conn, now);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}
