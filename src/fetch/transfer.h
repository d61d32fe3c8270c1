/* One request and its reply: what fetch_get() does once for the URL and once for each redirect. */
#ifndef FETCH_TRANSFER_H
#define FETCH_TRANSFER_H

#include "base/buf.h"
#include "fetch/allow.h"
#include "fetch/url.h"

#include <stdint.h>

struct fetch_transfer {
    /* Set by the caller. */
    CURL *easy; /* any state; used by one thread at a time */
    const struct fetch_allow *allow;
    const struct fetch_url *url;
    const char *from;    /* host of the first URL where this is a redirect, else NULL */
    int64_t deadline_ms; /* never 0 */
    size_t max_bytes;
    struct buf *out;

    /* Set by the transfer. */
    char *location; /* where the reply redirects to; the caller's to free. NULL: the body is in `out` */
    bool lookup_abandoned; /* failed while the name was still looked up; that thread may go on for a while */

    /* Of the callbacks. */
    bool host_allowed;
    bool answered; /* the headers of the final reply were read */
    long status;
    size_t header_bytes;
    unsigned opened;  /* sockets */
    const char *kind; /* of the last address refused, or NULL */
    int stop;         /* why a callback ended the transfer: enum stop in transfer.c */
};

/* Results as fetch_get(). On failure bytes may have been appended to `out`. */
enum result fetch_transfer_run(struct fetch_transfer *t, struct err *err) ERR_MUST_USE;

#endif
