/* A checked http(s) URL. Who else includes this: allow.c, for the spelling of host names, and transfer.c. */
#ifndef FETCH_URL_H
#define FETCH_URL_H

#include "base/err.h"

#include <curl/curl.h>
#include <stdbool.h>

#define FETCH_HOST_MAX 253 /* bytes of a name in DNS, RFC 1035 */

struct fetch_url {
    CURLU *handle;                 /* without user and password */
    char host[FETCH_HOST_MAX + 1]; /* ASCII, lower case, no brackets, no dot at the end: fit for a message */
    char *user;                    /* decoded; NULL where the URL has none */
    char *password;
};

/* libcurl's start-up, once for the process, whatever thread comes first. */
enum result fetch_curl_start(struct err *err) ERR_MUST_USE;

/*
 * ERR_INVALID: no http(s) URL; ERR_TOO_LARGE: over LIMIT_URL_BYTES; ERR_DENIED: a port of another protocol.
 * No sentence repeats the text. On success `out` is the caller's to release.
 */
enum result fetch_url_parse(const char *text, struct fetch_url *out, struct err *err) ERR_MUST_USE;
/* Where `location`, which may be relative, leads from `base`. User and password are dropped: they were for
 * `base`. */
enum result fetch_url_follow(
    const struct fetch_url *base, const char *location, struct fetch_url *out, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void fetch_url_release(struct fetch_url *url);

/*
 * The one spelling of a host name or address that the rest compares; the handle gets an international one in
 * ASCII. False where it can be neither.
 */
bool fetch_url_host(CURLU *handle, char out[FETCH_HOST_MAX + 1]);

/* Whether another protocol is spoken at this port; 0 is. */
bool fetch_port_is_refused(unsigned long port);

#endif
