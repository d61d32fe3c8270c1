/*
 * Routes and JSON: an HTTP request → calls of the pipeline → a reply. API.md is the contract.
 *
 * The three functions below are the callbacks of struct http_options; `user` is the struct api. They also work on
 * requests that a test has built: there is no socket here.
 */
#ifndef API_API_H
#define API_API_H

#include "auth/auth.h"
#include "http/http.h"
#include "pipeline/pipeline.h"

struct api;

struct api_options {
    struct pipeline *pipeline; /* stays the caller's, outlives the api */
    const char *version;       /* constant string */
    struct auth *auth;         /* the same; NULL: no keys, everything is allowed */
    unsigned rate_per_key, rate_per_address; /* requests a second; 0: no limit */
    bool access_log;           /* a line for every request */
};

enum result api_new(const struct api_options *options, struct api **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void api_free(struct api *api);

void api_handle(void *api, const struct http_request *request, struct http_reply *reply);
/*
 * Refuses, before a body is read: routes and methods that do not exist, and, where keys are on, requests without a key
 * (401) or with one that lacks the route's right or is bound to other collections (403).
 */
void api_gate(void *api, const struct http_request *head, struct http_reply *reply);
/* Whether the body of a request is streamed: the bulk route's alone. */
bool api_streams(void *api, const struct http_request *head);
/* The body of an error that the HTTP server found: the compatible shape, or problem+json below /v1. */
void api_error_body(void *api, const char *path, unsigned status, const char *message, struct http_reply *reply);

/* Counts the request, and logs it where that is wanted. */
void api_done(void *api, const struct http_done *done);

/* The i-th route, for the test that compares the table with the documentation; false past the last. */
bool api_route(size_t i, const char **methods, const char **pattern);
/* What the i-th route needs: a bit of auth.h, 0 where it is open to everybody. */
unsigned api_route_right(size_t i);

#endif
