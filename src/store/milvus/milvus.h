/*
 * The parts of the Milvus store, by phase; for store/milvus/ only. docs/internals/milvus.md explains the design.
 *
 *   channel.c     calls over gRPC, and whether Milvus answers
 *   status.c      its errors as ours
 *   session.c     what this process wrote, so that it reads its own writes; who may write which fileid
 *   collection.c  the registry of collections: find, check, forget
 *   schema.c      what a collection must look like; make one; load one
 *   request.c     queries and searches with what all of them share
 *   convert.c     columns of Milvus ⇄ records
 *   write.c, search.c, read.c, facets.c   the store's calls
 *   thumbnails.c  thumbnails in the local folder
 *   milvus.c      open, close, and the table of functions
 */
#ifndef STORE_MILVUS_MILVUS_H
#define STORE_MILVUS_MILVUS_H

#include "base/limits.h"
#include "store/milvus/channel.h"
#include "store/milvus/proto.h"
#include "store/milvus/session.h"
#include "store/milvus/thumbnails.h"
#include "store/store_backend.h"

#include <pthread.h>
#include <stdatomic.h>

/* Milvus's numbers of types. */
enum { MILVUS_INT64 = 5, MILVUS_VARCHAR = 21, MILVUS_ARRAY = 22, MILVUS_JSON = 23, MILVUS_FLOAT_VECTOR = 101 };

#define MILVUS_INDEX_NAME 32
#define MILVUS_CHECK_MS 30000 /* what a collection looks like is believed for so long */

struct milvus_collection {
    char name[LIMIT_COLLECTION_NAME + 1];
    int64_t id; /* Milvus's, of this name's present owner; milvus-lite has none and says 0 */
    struct store_settings settings;
    bool ours; /* made by this program: it says which model */
    char index[MILVUS_INDEX_NAME];
    struct milvus_session session;
    atomic_bool loaded;
    atomic_uint widen; /* rows asked for per item wanted, in quarters; follows what was needed */
    /* Under the mutex of struct milvus. */
    unsigned users;
    bool listed; /* in the registry; the last user frees one that is not */
    int64_t checked_ms;
};

struct milvus {
    struct milvus_link *link;
    struct milvus_thumbnails *thumbnails; /* NULL: none are kept */
    char index[MILVUS_INDEX_NAME], metric[16], version[64];
    unsigned ef, nprobe;
    enum store_milvus_consistency consistency;
    bool has_clock; /* Milvus hands out timestamps; milvus-lite does not, and needs none */
    pthread_mutex_t mutex; /* of what follows */
    struct milvus_collection **collections;
    size_t count;
};

/* --- collection.c --------------------------------------------------------------------------------------------- */

/* Found, checked, and not freed before milvus_release(). ERR_INVALID where it is not one that can be used. */
enum result milvus_acquire(struct milvus *m, const char *name, int64_t deadline_ms, struct milvus_collection **out,
    struct err *err) ERR_MUST_USE;
void milvus_release(struct milvus *m, struct milvus_collection *c);
/* Look again next time: it was dropped, or is another by now. */
void milvus_forget(struct milvus *m, const char *name);
void milvus_collections_free(struct milvus *m);

/* --- schema.c ------------------------------------------------------------------------------------------------- */

/* Ask Milvus and fill name, id, settings, ours, index. `any_index`: also without an index. ERR_NOT_FOUND. */
enum result milvus_describe(struct milvus *m, const char *name, bool any_index, int64_t deadline_ms,
    struct milvus_collection *out, struct err *err) ERR_MUST_USE;
/* The check alone, for tests and fuzzing: what is wrong with a reply, naming the difference. */
enum result milvus_check_schema(
    const Mv__DescribeCollectionReply *reply, struct milvus_collection *out, struct err *err) ERR_MUST_USE;
enum result milvus_make(struct milvus *m, const char *name, const struct store_settings *settings,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* Into Milvus's memory, once; waits for it. */
enum result milvus_load(
    struct milvus *m, struct milvus_collection *c, int64_t deadline_ms, struct err *err) ERR_MUST_USE;

/* --- request.c ------------------------------------------------------------------------------------------------ */

enum { MILVUS_FILEID = 1, MILVUS_ITEMID = 2, MILVUS_TAGS = 4, MILVUS_BRIEF = 8, MILVUS_VECTORS = 16, MILVUS_COUNT = 32 };
#define MILVUS_ALL (MILVUS_FILEID | MILVUS_ITEMID | MILVUS_TAGS | MILVUS_BRIEF | MILVUS_VECTORS)

struct milvus_query {
    const char *expr;
    unsigned fields;   /* MILVUS_FILEID | … */
    uint32_t limit;    /* with it the answer is in fileid order; 0: none */
    bool from_user;    /* a filter of the user is in `expr`: a refusal is about it */
    bool writer;       /* asked by a write: must see this process's writes whatever is configured */
    uint64_t seen;     /* of a writer: this timestamp is enough; 0: everything this process wrote */
    int64_t deadline_ms;
};
enum result milvus_ask(struct milvus *m, struct milvus_collection *c, const struct milvus_query *query,
    Mv__QueryReply **out, struct err *err) ERR_MUST_USE;

struct milvus_search {
    const float *vector;
    const char *expr; /* "" for none */
    bool from_user;
    unsigned fields;
    uint32_t k;
    unsigned effort; /* 1, or more: times the configured */
    int64_t deadline_ms;
};
enum result milvus_find(struct milvus *m, struct milvus_collection *c, const struct milvus_search *search,
    Mv__SearchReply **out, struct err *err) ERR_MUST_USE;

/* The filter as Milvus gets it; "" for none. ERR_UNSUPPORTED for one that would end Milvus. */
enum result milvus_filter_text(const struct filter *filter, const char **out, struct err *err) ERR_MUST_USE;

/* A timestamp of Milvus that is after everything it has acknowledged. */
enum result milvus_clock(struct milvus *m, int64_t deadline_ms, uint64_t *out, struct err *err) ERR_MUST_USE;

#define MILVUS_FREE(reply)                                                                                   \
    do {                                                                                                     \
        if (reply)                                                                                           \
            protobuf_c_message_free_unpacked(&(reply)->base, NULL);                                          \
        (reply) = NULL;                                                                                      \
    } while (0)

/* --- the store's calls ------------------------------------------------------------------------------------------ */

enum result milvus_write(void *state, const char *name, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
enum result milvus_search(void *state, const char *name, const struct store_query *query, int64_t deadline_ms,
    struct store_records *out, struct err *err) ERR_MUST_USE;
enum result milvus_get(void *state, const char *name, bool by_item, int64_t id, int64_t deadline_ms,
    struct store_records *out, struct err *err) ERR_MUST_USE;
enum result milvus_browse(void *state, const char *name, const struct store_browse *browse, int64_t deadline_ms,
    struct store_records *out, struct err *err) ERR_MUST_USE;
enum result milvus_count(void *state, const char *name, const struct filter *filter, int64_t deadline_ms,
    uint64_t *out, struct err *err) ERR_MUST_USE;
enum result milvus_stats(
    void *state, const char *name, int64_t deadline_ms, struct store_stats *out, struct err *err) ERR_MUST_USE;
enum result milvus_facets(void *state, const char *name, const struct store_facet_query *query, int64_t deadline_ms,
    struct store_facets *out, struct err *err) ERR_MUST_USE;
enum result milvus_thumbnail(void *state, const char *name, int64_t fileid, int64_t deadline_ms, struct buf *out,
    struct err *err) ERR_MUST_USE;
enum result milvus_check(void *state, store_check_fn report, void *user, struct err *err) ERR_MUST_USE;
/* has_thumbnail of each record. */
void milvus_mark_thumbnails(struct milvus *m, const struct milvus_collection *c, struct store_records *records);
/* Count what `expr` is true for. */
enum result milvus_count_expr(struct milvus *m, struct milvus_collection *c, const char *expr, bool from_user,
    int64_t deadline_ms, uint64_t *out, struct err *err) ERR_MUST_USE;

#endif
