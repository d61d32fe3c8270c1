/* The reverse proxies whose word about a client's address counts: --trusted-proxy. Constant after init. */
#ifndef SERVER_PROXY_H
#define SERVER_PROXY_H

#include "base/err.h"
#include "base/limits.h"
#include "fetch/address.h"

#include <stdbool.h>
#include <stddef.h>

struct proxies {
    struct fetch_network networks[LIMIT_PROXIES];
    size_t count;
};

/* Addresses and networks, separated by commas; NULL: none. ERR_INVALID names the one that is neither. */
enum result proxies_init(struct proxies *proxies, const char *list, struct err *err) ERR_MUST_USE;
/* For http_options.trusts. */
bool proxies_trust(const void *proxies, const char *address);

#endif
