/*
 * What this process wrote to one collection. For store/milvus/ only; thread-safe.
 *
 * Milvus's nodes read its log a moment behind the acknowledgement of a write; a read may name a timestamp that must
 * have been reached before it is answered. Naming "now" costs each read up to some 100 ms. Naming the timestamp of
 * one's own last write costs nothing as soon as that is a moment ago. So a session remembers `newest`, the highest
 * timestamp among its writes.
 *
 * Every write needs to know what was there before (store_write() reports it, and an update keeps what it does not
 * give). Asking with `newest` would wait after each write for the one before. So the session also remembers, for the
 * last LIMIT_MILVUS_RECENT fileids written, whether they exist; for others it is enough to have seen `forgotten`, the
 * highest timestamp of what it no longer remembers: usually long ago.
 *
 * Two writers of one fileid must not mix: milvus_session_lock() admits one per stripe, 64 stripes by fileid. Between
 * several processes Milvus has nothing for this: there the last one wins.
 */
#ifndef STORE_MILVUS_SESSION_H
#define STORE_MILVUS_SESSION_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct milvus_recent {
    int64_t fileid;
    uint64_t timestamp; /* 0: the place is free */
    bool exists;
};

struct milvus_session {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    uint64_t busy; /* stripes in use */
    uint64_t newest, forgotten;
    bool doubt; /* a write failed and may still arrive, or nothing is known yet: a new timestamp is needed */
    struct milvus_recent *recent;
};

enum result milvus_session_init(struct milvus_session *s, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void milvus_session_free(struct milvus_session *s);

uint64_t milvus_session_stripe(int64_t fileid);
/* All of `stripes` at once. ERR_TIMEOUT. */
enum result milvus_session_lock(
    struct milvus_session *s, uint64_t stripes, int64_t deadline_ms, struct err *err) ERR_MUST_USE;
void milvus_session_unlock(struct milvus_session *s, uint64_t stripes);

struct milvus_seen {
    uint64_t newest, forgotten;
    bool doubt;
};
struct milvus_seen milvus_session_seen(struct milvus_session *s);
/* Everything up to `timestamp` is now known to be enough; ends the doubt. */
void milvus_session_settle(struct milvus_session *s, uint64_t timestamp);
void milvus_session_doubt(struct milvus_session *s);

/* True, and *exists, where the fileid was written lately. */
bool milvus_session_recall(struct milvus_session *s, int64_t fileid, bool *exists);
void milvus_session_wrote(struct milvus_session *s, int64_t fileid, bool exists, uint64_t timestamp);

#endif
