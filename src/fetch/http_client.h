/*
 * A small HTTP client for the command line, which talks to a `lookalike` server. No address rules: the user
 * names the server. One struct http_client belongs to one thread and keeps its connection open between calls.
 */
#ifndef FETCH_HTTP_CLIENT_H
#define FETCH_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>

struct http_client;

struct http_client_request {
    const char *method; /* "GET", "POST", … */
    const char *path;   /* with query, percent-encoded: "/v1/collections" */
    const char *content_type; /* NULL: none */
    const void *body;
    size_t body_len;
    int64_t timeout_ms; /* 0: 60 s */
};

/*
 * Where the environment has LOOKALIKE_API_KEY, every request carries it as a bearer token; no redirect is followed, so
 * nobody but the server gets it. `server` is "http://host:port"; a trailing slash is accepted. ERR_INVALID where it is
 * no http(s) URL.
 */
enum result http_client_new(const char *server, struct http_client **out, struct err *err) ERR_MUST_USE;
void http_client_free(struct http_client *client);

/*
 * Send and read the whole reply; any HTTP status is success here and put into `status`. ERR_UNAVAILABLE where
 * no reply came, with a sentence that names the server.
 */
enum result http_client_send(struct http_client *client, const struct http_client_request *request, long *status,
    struct buf *body, struct err *err) ERR_MUST_USE;

/* Percent-encode for a path segment or a query value. */
enum result http_client_escape(struct buf *out, const char *text, size_t len) ERR_MUST_USE;

#endif
