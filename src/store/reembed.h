/*
 * Another model for a collection: every record gets a new vector, made from its picture, in a second edition that is
 * filled beside the first and takes its place at the end. For callers; as in store.h every call is thread-safe and blocks
 * its thread. ERR_UNSUPPORTED where the backend cannot.
 *
 * Meanwhile the collection is searched and written to as ever, and what is written reaches the second edition as well.
 * What has been made stays if the work is stopped, fails or the process dies: the next call goes on there. The place is
 * taken in one step that survives a crash; searches and writes wait for it, for as long as the last few pictures take.
 *
 * Lost are what tune learned and the past queries, which are of the old model's making.
 */
#ifndef STORE_REEMBED_H
#define STORE_REEMBED_H

#include "store/store.h"

/* Some records whose pictures are to be looked at anew. */
struct store_reembed_batch {
    size_t count;
    const struct store_record *records; /* without vectors */
    float *out; /* count × descriptor of the new settings, to be filled */
    bool *made; /* count, to be filled; false: this one cannot be made */
    void *state; /* the store's */
};
/*
 * What is kept of the picture of records[i], appended to `out`: its original, or its thumbnail. ERR_NOT_FOUND. Any
 * thread may call it, during the call that got the batch. Other calls of the store must not be made there: at the end the
 * collection lets nobody else in.
 */
enum result store_reembed_picture(const struct store_reembed_batch *batch, size_t i, bool original, struct buf *out,
    struct err *err) ERR_MUST_USE;

struct store_reembed_options {
    struct store_settings settings; /* of the second edition; metric, thumbnails and originals stay as they are */
    /* Looks at the pictures of a batch. A result that is not ERR_OK ends the work and is returned. */
    enum result (*make)(void *user, const struct store_reembed_batch *batch, struct err *err);
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* true: stop, with ERR_UNAVAILABLE. May be NULL */
    void *user;
};

#define STORE_REEMBED_FAILED 20
struct store_reembed_report {
    uint64_t records; /* of the second edition */
    uint64_t made;    /* vectors that this call made; the others were there from an earlier one */
    uint64_t failed;  /* records that could not be made; then nothing took anything's place */
    int64_t fileids[STORE_REEMBED_FAILED]; /* the first of those */
};

/*
 * ERR_OK with `failed` 0: the collection has the new settings and vectors. ERR_OK with `failed` above 0: it is as it was.
 * More than LIMIT_REEMBED_FAILED failed ones end the work early. ERR_NOT_FOUND: it was dropped.
 */
enum result store_reembed(struct store *store, const char *collection, const struct store_reembed_options *options,
    struct store_reembed_report *out, struct err *err) ERR_MUST_USE;
/* Forget what an unfinished call has made. None is success. Not while store_reembed() runs for this collection. */
enum result store_unreembed(struct store *store, const char *collection, struct err *err) ERR_MUST_USE;

#endif
