/*
 * Threads that keep what is derived in order: build it, link what was written, cut out what is dead, save it.
 * One small pool for all collections of a store, so that no number of open collections makes more of them.
 *
 * A member is whoever has such work. The pool asks each in turn, and gives each only a slice, so that a
 * collection that is being built does not keep the others waiting.
 */
#ifndef STORE_EMBEDDED_KEEPER_H
#define STORE_EMBEDDED_KEEPER_H

#include "base/err.h"

#include <stdbool.h>

struct embedded_keeper;

struct embedded_kept {
    /*
     * Do a slice of work; true: there may be more. Called by several threads at once. It must come back soon
     * once `leaving` is set.
     */
    bool (*work)(struct embedded_kept *kept);
    _Atomic bool leaving;
    struct embedded_kept *next; /* the pool's */
    unsigned inside;
};

/* Without threads, where they cannot be had, nothing is kept: searches are exact scans. */
enum result embedded_keeper_new(struct embedded_keeper **out, struct err *err) ERR_MUST_USE;
/* All members have left. NULL is accepted. */
void embedded_keeper_free(struct embedded_keeper *k);
void embedded_keeper_join(struct embedded_keeper *k, struct embedded_kept *kept);
/* Nobody works for it any more when this returns. Fine where it never joined. */
void embedded_keeper_leave(struct embedded_keeper *k, struct embedded_kept *kept);
/* A member has work. */
void embedded_keeper_wake(struct embedded_keeper *k);

#endif
