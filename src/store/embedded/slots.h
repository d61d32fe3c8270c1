/*
 * Which slot of vectors.f16 holds which record, in memory, and who may look at it.
 *
 * Every commit has a sequence number (the change number of meta.db). A slot is visible to a search that
 * started at sequence S when born ≤ S < died. So a search needs no lock while it scans, a writer waits for no
 * search, and a replaced record is seen once: in its old slot or in its new one.
 *
 *          alloc         fill           show           retire            reclaim
 *     free ──────▶ taken ─────▶ written ─────▶ visible ───────▶ retired ─────────▶ free
 *      ▲ ▲           │             │                                     (no search from before is running)
 *      │ └───────────┘ release     │ hold: its commit failed
 *      └────────── commit ◀────── held
 *
 * Invariants
 *   S1  A slot is in exactly one of the states above; the lists are threaded through the slots, so that no
 *       change of state can fail for want of memory.
 *   S2  fileid and number of a slot change only while it is visible to nobody; itemid may change at any time.
 *   S3  born is UINT64_MAX whenever a slot that was visible gets its new died = UINT64_MAX: a reader loads
 *       died first, then born, and so never takes a slot that is being filled for its predecessor.
 *   S4  A slot is reused only when every running search has started at or after its `died`.
 *   S5  Held slots wait for a commit that succeeds: a failed COMMIT may have left its frames in SQLite's log,
 *       and they would name these slots after a crash. The next commit overwrites those frames.
 *
 * Threads: one writer (the leader of a commit) calls everything but the readers' part.
 */
#ifndef STORE_EMBEDDED_SLOTS_H
#define STORE_EMBEDDED_SLOTS_H

#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMBEDDED_NO_SLOT UINT32_MAX
#define EMBEDDED_SEGMENT 4096u
#define EMBEDDED_NEVER UINT64_MAX

/*
 *   UNVERIFIED ──▶ VERIFIED or DAMAGED, by whichever reader looks first
 *        └──────────────┴──────▶ LEAVING, by the commit that retires the slot: what a look finds is no longer
 *                                 remembered, so that a damaged record that is gone cannot be counted late
 */
enum embedded_slot_state { EMBEDDED_UNVERIFIED, EMBEDDED_VERIFIED, EMBEDDED_DAMAGED, EMBEDDED_LEAVING };

struct embedded_slot {
    int64_t fileid;
    _Atomic int64_t itemid;
    uint64_t number;       /* write number, vectors.c */
    _Atomic uint64_t born; /* EMBEDDED_NEVER: not yet */
    _Atomic uint64_t died; /* EMBEDDED_NEVER: not yet */
    uint32_t next;         /* in the list of its state */
    _Atomic uint8_t state; /* enum embedded_slot_state */
};

/* A search while it runs; lives on its stack. */
struct embedded_snapshot {
    uint64_t seq;
    struct embedded_snapshot *prev, *next;
};

struct embedded_slots {
    struct embedded_slot **segments; /* of EMBEDDED_SEGMENT slots each; they never move */
    _Atomic uint32_t used;           /* slots below it may be looked at */
    _Atomic uint64_t seq;            /* of the last commit that is visible */
    uint32_t top;                    /* slots from here on were never allocated */
    uint32_t free, held, retired_first, retired_last;
    uint64_t bytes;        /* of memory */
    pthread_mutex_t mutex; /* of the list of snapshots */
    struct embedded_snapshot *snapshots;
    /* Called for each slot that becomes free because nobody can see any more what was in it. NULL: nobody. */
    void (*reclaimed)(void *user, uint32_t slot);
    void *user;
};

enum result embedded_slots_init(struct embedded_slots *s, uint64_t seq, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void embedded_slots_free(struct embedded_slots *s);

static inline struct embedded_slot *embedded_slots_at(const struct embedded_slots *s, uint32_t i)
{
    return &s->segments[i / EMBEDDED_SEGMENT][i % EMBEDDED_SEGMENT];
}

/* Is there such an entry? A damaged file can leave gaps below `used`; see slots.c. */
static inline bool embedded_slots_has(const struct embedded_slots *s, uint32_t i)
{
    return s->segments[i / EMBEDDED_SEGMENT] != NULL;
}

/* --- the writer ----------------------------------------------------------------------------------------- */

/* A free slot. ERR_TOO_LARGE over LIMIT_RECORDS. */
enum result embedded_slots_alloc(struct embedded_slots *s, uint32_t *out, struct err *err) ERR_MUST_USE;
/* Who will be seen in it; not visible before embedded_slots_show(). */
void embedded_slots_fill(
    struct embedded_slots *s, uint32_t i, int64_t fileid, int64_t itemid, uint64_t number);
/* Taken or written, back to free at once. */
void embedded_slots_release(struct embedded_slots *s, uint32_t i);
void embedded_slots_hold(struct embedded_slots *s, uint32_t i);
/* Parts of a commit, all at sequence seq + 1; embedded_slots_commit() makes them visible together. */
void embedded_slots_show(struct embedded_slots *s, uint32_t i);
/* Returns the state it had. */
enum embedded_slot_state embedded_slots_retire(struct embedded_slots *s, uint32_t i);
void embedded_slots_commit(struct embedded_slots *s);
/* Free what no running search can see (S4). */
void embedded_slots_reclaim(struct embedded_slots *s);

/*
 * At open, single-threaded: slot `i` holds this record; embedded_slots_loaded() ends it: what no record names
 * is free, of the first `capacity` slots, which the file really had. ERR_CORRUPT where the slot is taken or
 * out of range.
 */
enum result embedded_slots_load(struct embedded_slots *s, uint32_t i, int64_t fileid, int64_t itemid,
    uint64_t number, struct err *err) ERR_MUST_USE;
enum result embedded_slots_loaded(struct embedded_slots *s, uint64_t capacity, struct err *err) ERR_MUST_USE;

/* --- readers -------------------------------------------------------------------------------------------- */

/* Slots visible at this moment are neither written nor reused before the leave. */
void embedded_slots_enter(struct embedded_slots *s, struct embedded_snapshot *snapshot);
void embedded_slots_leave(struct embedded_slots *s, struct embedded_snapshot *snapshot);

static inline bool embedded_slot_visible(const struct embedded_slot *slot, uint64_t seq)
{
    /* S3: died first. */
    return atomic_load_explicit(&slot->died, memory_order_acquire) > seq &&
           atomic_load_explicit(&slot->born, memory_order_acquire) <= seq;
}

#endif
