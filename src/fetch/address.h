/* Which addresses a download may be made from. Pure functions over addresses; no name is looked up here. */
#ifndef FETCH_ADDRESS_H
#define FETCH_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

/* An address, or with fewer `bits` than the address has, a network. IPv4 uses the first four bytes. */
struct fetch_network {
    uint8_t bytes[16];
    bool v6;
    unsigned bits; /* at most 32, for IPv6 128 */
};

/* NULL where the address is public, otherwise what it is: "a loopback address". */
const char *fetch_address_kind(const struct sockaddr *address);

/*
 * "10.0.0.0/8", "fd00::/8" or a single address, `len` bytes. False where it is none of these; an IPv6 network
 * of IPv4-mapped addresses becomes the IPv4 network. `exact` tells whether all bits after the prefix are
 * zero.
 */
bool fetch_network_parse(const char *text, struct fetch_network *out, bool *exact);
bool fetch_network_has(const struct fetch_network *network, const struct sockaddr *address);

#endif
