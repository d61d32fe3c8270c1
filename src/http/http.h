/*
 * HTTP/1.1 over libmicrohttpd: bytes of a connection → a request and its reply. Knows no pictures and no JSON.
 *
 * A request is read whole (at most LIMIT_BODY bytes; all bodies together LIMIT_BODIES), then handed to a worker, which
 * calls the handler. The handler may block; it fills the reply and returns. `workers` handlers work at once: many, since
 * waiting is cheap and the CPU is shared out elsewhere (pipeline/). One that waits for another host does not count
 * (base/blocking.h). When LIMIT_REQUEST_QUEUE requests wait, further ones get 503 with Retry-After.
 *
 * Framing is strict, against request smuggling: duplicate Content-Length, Host or Transfer-Encoding, both
 * Content-Length and Transfer-Encoding, and any coding but "chunked" are refused with 400 and the connection is
 * closed. Slow clients meet deadlines (limits.h) and get 408. Errors found here have a body made by
 * `options.error_body`, so that they look like the API's own.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_pair {
    const char *name, *value; /* percent-decoded; NUL-terminated */
    size_t value_len;
};

struct http_stream; /* see below */

/* Read-only for the handler and valid until it returns. http_request_* work on a request built by a test as well. */
struct http_request {
    const char *method;  /* "GET", … as sent; but HEAD arrives as "GET", and only the head is sent back */
    const char *path;    /* without query, percent-decoded once: "/v1/collections/a" */
    const struct http_pair *query;
    size_t query_count;
    const struct http_pair *headers; /* names as sent */
    size_t header_count;
    const char *body;
    size_t body_len;
    char client[64];     /* address of the peer, or what a trusted proxy says, without port */
    int64_t deadline_ms; /* the reply is due */
    char id[LIMIT_REQUEST_ID + 1]; /* the client's X-Request-Id where it is sound, else a new one; the reply has it too */
    char trace_id[33];             /* of a sound W3C `traceparent`, else "" */
    struct http_stream *stream; /* of a streamed request: `body` is empty, http_stream_read() has it; else NULL */
    const void *grant;   /* the handler's own: what the request's API key may do; NULL from the server */
};

/*
 * A reply without an end that is known yet. `next` is called about ten times a second: it appends what there is, perhaps
 * nothing, and returns false after the last piece. It runs on a connection thread and must not block. `close` is
 * called once, when nothing more is asked for.
 */
struct http_poll {
    bool (*next)(void *user, struct buf *out); /* NULL: an ordinary reply */
    void (*close)(void *user);
    void *user;
};

/* Filled by the handler; zeroed before with status 200. */
struct http_reply {
    unsigned status;
    const char *content_type; /* constant string */
    struct buf body;          /* initialised by the server */
    const void *static_body;  /* where not NULL: sent instead of `body`, must live as long as the program */
    size_t static_len;
    struct {
        const char *name; /* constant string */
        char value[512];
    } headers[12];
    size_t header_count;
    char user_text[32]; /* for http_done: here the id of the key */
    bool light;         /* set by the gate: costs next to nothing; has workers of its own, and is not counted in `max_active` */
    bool heavy;         /* set by the gate: costs a run of the model, and is turned away where too many come; see overload.h */
    const char *origin; /* the server's own */
    struct http_poll poll; /* where `next` is set: sent after status and headers instead of a body */
};

typedef void (*http_handler)(void *user, const struct http_request *request, struct http_reply *reply);
/*
 * Called before the body is read. Fill the reply with a status of 400 or more to refuse, or leave it alone.
 * Runs on a connection thread: must not block.
 */
typedef void (*http_gate)(void *user, const struct http_request *head, struct http_reply *reply);
/* The body and content type of an error found by the server itself. `path` may be NULL. Must not block. */
typedef void (*http_error_body)(void *user, const char *path, unsigned status, const char *message, struct http_reply *reply);

/* A request whose reply was sent, or given up. */
struct http_done {
    const struct http_request *head; /* body already released; `path` may be NULL where the head was unsound */
    unsigned status;
    uint64_t received, sent;         /* bytes of the bodies */
    int64_t us;                      /* since the head was complete */
    char user_text[32];              /* what the handler or gate left in the reply's */
};
/* Runs on a connection thread: must not block. */
typedef void (*http_done_fn)(void *user, const struct http_done *done);

struct http_options {
    const char *listen;   /* "127.0.0.1:5000", "[::1]:5000"; port 0: any free one */
    unsigned io_threads;  /* 0: 2 */
    unsigned workers;     /* handlers that work at once, 0: 32; as many as thrice that may wait beside them, see base/blocking.h */
    size_t max_body;      /* 0: LIMIT_BODY */
    int64_t header_ms, body_ms, idle_ms, request_ms; /* 0: the values of limits.h */
    const char *cors_origin; /* "*", origins separated by commas, or NULL: no CORS headers */
    const char *tls_cert, *tls_key; /* files, PEM, the certificate with its chain; NULL: no TLS. At most one server has it */
    /*
     * Whether the word of this address about who asks counts: then the client is the last address in X-Forwarded-For that is not
     * trusted itself. NULL: nobody's; the client is the peer. `trusted` is given to it.
     */
    bool (*trusts)(const void *trusted, const char *address);
    const void *trusted;
    unsigned max_active;     /* requests that are read and not yet answered; 0: as many as workers and queue hold */
    http_handler handler;
    http_gate gate;             /* may be NULL */
    http_error_body error_body; /* may be NULL: plain text */
    http_done_fn done;          /* may be NULL */
    /*
     * Whether the body of this request, which passed the gate, is to be streamed: then it may have any length, the
     * handler runs on a thread of its own from the first byte on, and request->stream is set. At most LIMIT_STREAMS at
     * once. May be NULL: none. Must not block.
     */
    bool (*streams)(void *user, const struct http_request *head);
    void *user;                 /* given to all of them */
};

struct http_server;

/* ERR_INVALID: `listen` is no address. ERR_IO: cannot listen there (in use, forbidden), said with the address. */
enum result http_server_start(const struct http_options *options, struct http_server **out, struct err *err) ERR_MUST_USE;
/* Stop accepting, wait up to `grace_ms` for requests that run, then end. NULL is accepted. */
void http_server_stop(struct http_server *server, int64_t grace_ms);
/* Read certificate and key again; new connections get them. On failure those in use stay. */
enum result http_server_reload(struct http_server *server, struct err *err) ERR_MUST_USE;
unsigned http_server_port(const struct http_server *server);

/* Value of a header by its name in any case, or NULL. */
const char *http_header(const struct http_request *request, const char *name);
/* Value of a query parameter, or NULL. */
const struct http_pair *http_query(const struct http_request *request, const char *name);
enum result http_reply_header(struct http_reply *reply, const char *name, const char *value) ERR_MUST_USE;

/* --- streamed requests ---------------------------------------------------------------------------------------- */

/*
 * Wait for the next bytes of the body; *n is 0 at its end. ERR_UNAVAILABLE: the client has gone, or the server is being
 * stopped. ERR_TIMEOUT: it has sent nothing for body_ms.
 */
enum result http_stream_read(struct http_stream *stream, char *to, size_t size, size_t *n, struct err *err) ERR_MUST_USE;
/*
 * Append to the reply. The first call settles status, content type and headers by what `reply` has then; its body is not
 * looked at. A handler that never writes replies as usual. The client gets nothing before it has sent its whole body.
 * Waits while LIMIT_STREAM_OUT bytes are not taken; ERR_UNAVAILABLE and ERR_TIMEOUT as above.
 */
enum result http_stream_write(
    struct http_stream *stream, struct http_reply *reply, const void *data, size_t len, struct err *err) ERR_MUST_USE;

/* --- bodies of forms ------------------------------------------------------------------------------------------ */

struct http_part {
    char *name;          /* NUL-terminated */
    char *filename;      /* NULL where the part has none */
    char *content_type;  /* NULL where the part has none */
    const char *data;    /* NUL-terminated in the urlencoded case, a slice of the body in the multipart case */
    size_t len;
};
struct http_form {
    struct http_part parts[LIMIT_FORM_PARTS];
    size_t count;
    void *memory; /* behind the strings */
};

/*
 * application/x-www-form-urlencoded or multipart/form-data by `content_type`; ERR_UNSUPPORTED for any other.
 * ERR_INVALID where the body is not what the type says; ERR_TOO_LARGE over LIMIT_FORM_PARTS.
 * `body` must outlive the form. Release with http_form_free().
 */
enum result http_form_parse(
    const char *content_type, const char *body, size_t len, struct http_form *out, struct err *err) ERR_MUST_USE;
void http_form_free(struct http_form *form);

#endif
