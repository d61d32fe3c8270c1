/*
 * A URL → bytes, and never from where it must not.
 *
 * Only http and https. The address is checked after name resolution, in the moment the socket is opened, so a DNS
 * answer that changes does not help an attacker. Refused unless allowed: private, loopback, link-local, multicast
 * and reserved addresses, IPv4 and IPv6, also where an IPv4 address hides in an IPv6 one (mapped, NAT64, 6to4,
 * Teredo). Redirects are followed by us, at most LIMIT_FETCH_REDIRECTS, each checked like the first URL. Proxies
 * from the environment are ignored. Size and time are limited as a whole.
 *
 * One struct fetch serves any number of threads; fetch_get() blocks its thread.
 */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct fetch;

struct fetch_options {
    const char *const *allow; /* CIDR ("10.0.0.0/8", "::1/128", a single address) or host name each */
    size_t allow_count;
    size_t max_bytes;         /* 0: LIMIT_FETCH_BYTES */
    int64_t timeout_ms;       /* 0: LIMIT_FETCH_MS */
};

/* ERR_INVALID names an `allow` entry that is neither. Call once before threads start (it initialises libcurl). */
enum result fetch_new(const struct fetch_options *options, struct fetch **out, struct err *err) ERR_MUST_USE;
void fetch_free(struct fetch *fetch);

/*
 * Append the body of `url` to `out`, whose maximum counts as well. `deadline_ms` is a point of base/clock.h.
 * ERR_INVALID: no http(s) URL. ERR_DENIED: a forbidden address. ERR_TOO_LARGE, ERR_TIMEOUT.
 * ERR_UNAVAILABLE: name not found, connection refused, a status other than 200, too many redirects.
 * The sentence never repeats a password in the URL.
 */
enum result fetch_get(struct fetch *fetch, const char *url, int64_t deadline_ms, struct buf *out, struct err *err)
    ERR_MUST_USE;

struct sockaddr;
/* Whether the address is public; exposed for tests and the fuzzer. */
bool fetch_address_is_public(const struct sockaddr *address);

#endif
