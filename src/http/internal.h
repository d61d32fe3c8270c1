/*
 * What the files of this folder share; nobody else includes it.
 *
 * Three things live here, and each has one owner at any time:
 *
 *   http_conn      one TCP connection, in a list of the server. Made and freed by libmicrohttpd's
 * notify-connection callback. Its state, deadline and path are written under `server->lock` only.
 *   http_exchange  one request and its reply. Made by the URI callback, freed by the notify-completed
 * callback. It belongs to the connection's I/O thread, except between the push to the worker queue and
 *                  MHD_resume_connection(), when it belongs to a worker. While a worker has it the connection
 * is suspended, and libmicrohttpd completes no request of a suspended connection: so it cannot vanish.
 *   http_server    everything else; lives from http_server_start() to http_server_stop().
 */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "base/blocking.h"
#include "base/queue.h"
#include "http/http.h"
#include "http/overload.h"

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- target.c: the request target, and percent-encoding ------------------------------------------------- */

struct http_target {
    char *path; /* decoded; NUL-terminated */
    struct http_pair query[LIMIT_PARAMETERS];
    size_t query_count;
    void *memory; /* behind the strings */
};

/* Decode `len` bytes into `out` (room for len + 1). False for a bad % sequence or an encoded NUL. */
enum http_decode {
    HTTP_DECODE_PATH,  /* '+' is itself */
    HTTP_DECODE_NAME,  /* '+' is a blank */
    HTTP_DECODE_VALUE, /* the same, and an encoded NUL may stand in it */
};
bool http_percent_decode(const char *text, size_t len, enum http_decode how, char *out, size_t *out_len);
/* "a=1&b" into at most `max` pairs; `memory` needs room for len + 1 bytes. ERR_TOO_LARGE over `max`. */
enum result http_pairs_parse(const char *text, size_t len, char *memory, struct http_pair *pairs, size_t max,
    size_t *count) ERR_MUST_USE;
/* "/path?query" or "http://host/path?query" or "*". ERR_INVALID, ERR_TOO_LARGE (too many parameters). */
enum result http_target_parse(const char *raw, struct http_target *out, struct err *err) ERR_MUST_USE;
void http_target_free(struct http_target *target);

/* --- framing.c: where does this request end? ------------------------------------------------------------ */

struct http_framing {
    bool has_length, chunked;
    bool expect_continue;
    uint64_t length;
};
/* 0, or the status to refuse with; then `message` says why. `version` is "HTTP/1.1" and so on. */
unsigned http_framing_check(const struct http_request *head, const char *version, struct http_framing *out,
    const char **message) ERR_MUST_USE;
bool http_is_token(const char *text);

/* --- reply.c -------------------------------------------------------------------------------------------- */

struct http_server;

void http_reply_init(struct http_reply *reply);
/* An error found by the server itself; `path` may be NULL. */
void http_reply_error(struct http_server *server, struct http_reply *reply, const char *path, unsigned status,
    const char *message);
/* The allowed origin that a request names, or NULL. */
const char *http_cors_match(const struct http_server *server, const struct http_request *head);
/* "a, b" into server->cors. ERR_INVALID for what is no origin, ERR_TOO_LARGE. */
enum result http_cors_parse(struct http_server *server, const char *list, struct err *err) ERR_MUST_USE;
void http_reply_preflight(struct http_reply *reply, const struct http_request *head);
/* Both take the reply's body. `close`: say "Connection: close". NULL and ERR_NO_MEMORY when out of memory. */
struct MHD_Response *http_reply_response(struct http_server *server, struct http_reply *reply, bool close);
/* The same headers on a response with a body of another making, which is destroyed where that fails; then false. */
bool http_reply_headers(
    struct http_server *server, const struct http_reply *reply, bool close, struct MHD_Response *response);
enum result http_reply_text(
    struct http_server *server, struct http_reply *reply, bool with_body, struct buf *out) ERR_MUST_USE;
void http_reply_release(struct http_reply *reply);

/* --- conn.c: connections and their deadlines ------------------------------------------------------------ */

enum http_conn_state {
    HTTP_CONN_WAIT,   /* no byte of a request yet: idle_ms */
    HTTP_CONN_HEAD,   /* some bytes: header_ms to the end of the headers */
    HTTP_CONN_BODY,   /* headers complete: body_ms to the end of the body */
    HTTP_CONN_BUSY,   /* waits for a worker or is with one: no deadline here */
    HTTP_CONN_REPLY,  /* being sent: must make progress in every body_ms */
    HTTP_CONN_STREAM, /* the same, as far as there is something to send */
    HTTP_CONN_LINGER, /* we wrote an error past libmicrohttpd and closed our side; what still comes is thrown
                         away */
    HTTP_CONN_GONE,   /* shut down; libmicrohttpd will find out */
};

struct http_conn {
    struct http_conn *prev, *next;
    int fd;
    _Atomic int state; /* enum http_conn_state; changed under the lock, may be read without */
    int64_t deadline;
    int64_t since;        /* when the state was entered */
    int64_t closed_since; /* when the watcher saw first that the client has closed its side, or 0 */
    uint64_t received;    /* bytes the kernel had received for this connection when the last request ended */
    uint64_t acked;       /* bytes the client had acknowledged when the deadline was set */
    const char *path;     /* of the request in hand, or NULL */
    struct MHD_Connection *mhd;
    unsigned refused; /* status of an error written past libmicrohttpd, else 0 */
    struct http_stream *stream; /* under the lock: of the reply being sent, where it is streamed */
    bool in_headers;  /* between the request line and the first call */
    pthread_t thread; /* the I/O thread, where in_headers */
    char client[64];
};

void http_conn_opened(struct http_server *server, struct MHD_Connection *mhd, void **context);
void http_conn_closed(struct http_server *server, void **context);
/* The request moves on. False where the connection is past its deadline already: then the request is dead. */
bool http_conn_to(struct http_server *server, struct http_conn *conn, enum http_conn_state state);
/* The request line is complete; its headers come. */
void http_conn_headers(struct http_server *server, struct http_conn *conn);
/* What libmicrohttpd has to say; see conn.c. */
void http_conn_log(void *server, const char *format, va_list args);
/* The first call of a request: as http_conn_to(BODY), and counts the request as active. */
bool http_conn_begin(struct http_server *server, struct http_conn *conn, const char *path);
/* The end of a request. `counted`: http_conn_begin() was called for it and true. */
void http_conn_end(struct http_server *server, struct http_conn *conn, bool counted);
/* A streamed reply begins. */
void http_conn_stream(struct http_server *server, struct http_conn *conn, struct http_stream *stream);
/* Write an error on the socket at once, close our side, and throw away what the client still sends. */
void http_conn_refuse(
    struct http_server *server, struct http_conn *conn, struct http_reply *reply, bool with_body);
void *http_conn_watch(void *server); /* the thread that enforces the deadlines */

/* --- exchange.c: the life of one request ---------------------------------------------------------------- */

void *http_exchange_open(void *server, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_exchange_call(void *server, struct MHD_Connection *mhd, const char *url,
    const char *method, const char *version, const char *data, size_t *size, void **context);
void http_exchange_done(
    void *server, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code);
void *http_exchange_work(void *lane); /* the thread of a worker */

/* --- ident.c: which request is this? ------------------------------------------------------------------------------ */

/* Fills id and trace_id from the headers. */
void http_identify(struct http_request *request);
/* request->client, which is the peer, becomes what trusted proxies say. */
void http_forwarded(const struct http_options *options, struct http_request *request);

/* --- tls.c ---------------------------------------------------------------------------------------------- */

enum result http_tls_load(const char *cert, const char *key, struct err *err) ERR_MUST_USE;
/* When no connection is left. */
void http_tls_free(void);
/* gnutls_certificate_retrieve_function2 */
int http_tls_certificate(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
    const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key);
/* An error past libmicrohttpd. On the connection's own I/O thread only. */
void http_tls_write(struct MHD_Connection *mhd, const char *data, size_t len);

struct http_exchange;
void http_exchange_ref(struct http_exchange *x);
void http_exchange_unref(struct http_exchange *x);
const struct http_request *http_exchange_request(const struct http_exchange *x);

/* --- stream.c ------------------------------------------------------------------------------------------- */

enum http_stream_reply {
    HTTP_STREAM_WAIT,  /* nothing yet: the connection is suspended */
    HTTP_STREAM_READY, /* http_stream_response() has it */
    HTTP_STREAM_PLAIN, /* http_stream_head() is the whole reply */
};

/* NULL when out of memory. The exchange owns it. */
struct http_stream *http_stream_new(
    struct http_server *server, struct http_exchange *x, struct MHD_Connection *mhd);
void http_stream_free(struct http_stream *stream);
/* ERR_BUSY: LIMIT_STREAMS run. */
enum result http_stream_start(struct http_stream *stream) ERR_MUST_USE;
/* Make it a polled reply; takes reply->poll. */
void http_stream_poll(struct http_stream *stream, struct http_reply *reply);
/* A piece of the body; *size is what was not taken, and where that is something, the connection is suspended. False: nobody
 * wants it any more. */
bool http_stream_take(struct http_stream *stream, const char *data, size_t *size);
enum http_stream_reply http_stream_body_done(struct http_stream *stream);
struct http_reply *http_stream_head(struct http_stream *stream);
struct MHD_Response *http_stream_response(struct http_stream *stream);
/* The connection has ended, or is to end. */
void http_stream_gone(struct http_stream *stream);
/* Ask a polled reply again; `left`: the client has closed its side, and nobody half-closes to watch. */
void http_stream_poke(struct http_stream *stream, bool left);

/* --- multipart.c ---------------------------------------------------------------------------------------- */

/* The parts of a multipart/form-data body into `out`, which the caller releases in either case. */
enum result http_multipart_parse(
    const char *boundary, const char *body, size_t len, struct http_form *out, struct err *err) ERR_MUST_USE;
/* `size` bytes that live as long as the form, or NULL. */
char *http_form_alloc(struct http_form *form, size_t size);
/*
 * Take one "; name=value" of a header off `*text`: the name and the unquoted value go to `name` and `value`,
 * each with room for `end - *text` + 1 bytes. False where there is none left; `*bad` is set where it is
 * malformed.
 */
bool http_parameter_next(const char **text, const char *end, char *name, char *value, bool *bad);

/* --- listen.c ------------------------------------------------------------------------------------------- */

enum result http_listen(const char *address, int *out_fd, unsigned *out_port, struct err *err) ERR_MUST_USE;

/* --- server.c ------------------------------------------------------------------------------------------- */

/*
 * Requests that wait, and the workers that serve them. What is light has its own: whoever watches the server must reach it while
 * every other worker waits for a store, or for a host that a picture comes from.
 */
enum http_lane_name { HTTP_LANE_WORK, HTTP_LANE_LIGHT, HTTP_LANES };

struct http_lane {
    struct queue *queue; /* of struct http_exchange */
    struct blocking *turns;
    pthread_t *workers;
    unsigned worker_count; /* started */
};

struct http_server {
    struct http_options options; /* defaults filled in; strings are copies */
    char *cors_memory, *cors[LIMIT_CORS_ORIGINS]; /* "*" alone, or origins; see reply.c */
    size_t cors_count;
    bool tls;
    unsigned port;
    struct MHD_Daemon *daemon;
    struct http_lane lanes[HTTP_LANES];
    pthread_t watcher;
    bool watching;

    pthread_mutex_t lock;
    pthread_cond_t wake_watcher, request_ended;
    struct http_conn *conns; /* under lock */
    size_t conn_count;       /* under lock */
    size_t stream_count;     /* under lock: handlers of streamed requests */
    size_t poll_count;       /* under lock: polled replies */
    size_t active;           /* under lock: requests between their first call and their end */
    bool quit;               /* under lock: the watcher is to end */

    atomic_bool stopping;  /* no new connection, no new request */
    atomic_bool aborting;  /* requests that wait are answered with 503 */
    atomic_size_t charged; /* bytes of all bodies */
    atomic_uint working;   /* requests between their last call and their reply, but for light ones */
    atomic_size_t budget;  /* the most they may be: LIMIT_BODIES, less in tests */
    atomic_llong closed_ms; /* for libmicrohttpd to find out by itself that a client has gone: CLOSED_MS, less in fuzzers */
    struct overload overload; /* of heavy requests */
};

#endif
