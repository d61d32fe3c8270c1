/*
 * Rate limits: a token bucket for each API key or client address.
 *
 * A bucket holds two seconds' worth of requests and fills at the rate. The table has a fixed size (LIMIT_RATE_BUCKETS);
 * where it is full the bucket that was used longest ago is taken, so that many strangers cost no memory: at worst one who
 * was away gets a full bucket early. From any thread; never blocks.
 */
#ifndef AUTH_RATE_H
#define AUTH_RATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct rate;

/* `per_second` at least 1. */
enum result rate_new(unsigned per_second, struct rate **out, struct err *err) ERR_MUST_USE;
void rate_free(struct rate *rate); /* NULL is accepted */

/* Takes a token of `who` (the id of a key). False where there is none; then `*wait_s` is how long until there is one. */
bool rate_take(struct rate *rate, const char *who, unsigned *wait_s);
/* The same for an address as text. An IPv6 network of 64 bits counts as one: that is what one customer has. */
bool rate_take_address(struct rate *rate, const char *address, unsigned *wait_s);

/* For tests: the clock is `now_us`, not the system's. */
bool rate_take_at(struct rate *rate, const char *who, int64_t now_us, unsigned *wait_s);

#endif
