/* What the operator allows beyond public addresses (`--fetch-allow`). Constant after init, so any thread may
 * ask. */
#ifndef FETCH_ALLOW_H
#define FETCH_ALLOW_H

#include "base/err.h"
#include "fetch/address.h"

#include <stdbool.h>
#include <stddef.h>

struct fetch_allow {
    struct fetch_network *networks;
    size_t network_count;
    char **hosts; /* spelled by fetch_url_host() */
    size_t host_count;
};

/* ERR_INVALID names the entry that is no network, address or host name; ERR_TOO_LARGE over LIMIT_FETCH_ALLOW.
 */
enum result fetch_allow_init(
    struct fetch_allow *allow, const char *const *entries, size_t count, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void fetch_allow_release(struct fetch_allow *allow);

/* This very name, not those below it; spelled by fetch_url_host(). */
bool fetch_allow_has_host(const struct fetch_allow *allow, const char *host);
bool fetch_allow_has_address(const struct fetch_allow *allow, const struct sockaddr *address);

#endif
