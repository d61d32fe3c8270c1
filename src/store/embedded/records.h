/*
 * meta.db: the truth about a collection. What a committed row says is so; whatever else is on disk and no row
 * names does not exist.
 *
 *   settings(key, value)
 *       format, id, model, input, dimension, descriptor, metric, thumbnails, originals, background, and two that every commit writes: change (how many
 *       commits there were) and number (the next write number)
 *   records(fileid, itemid, slot, number, picture, tags, brief)
 *       slot and number: where in vectors.f16 the vector is, and what must be written there; picture: the key
 *       in pictures.db, NULL for none
 *   garbage(picture)
 *       keys in pictures.db that no row names any more
 *
 * One connection writes; it belongs to the leader of a commit (commit.c). Readers come from a pool, because a
 * connection waits for itself: a search must not stand behind a commit's fsync.
 */
#ifndef STORE_EMBEDDED_RECORDS_H
#define STORE_EMBEDDED_RECORDS_H

#include "base/limits.h"
#include "store/embedded/sql.h"
#include "store/store.h"

#include <pthread.h>
#include <stdint.h>

struct embedded_meta {
    struct store_settings settings;
    uint64_t id;     /* of the collection, random */
    uint64_t change; /* commits so far */
    uint64_t number; /* the next write number */
};

struct embedded_row {
    int64_t fileid, itemid;
    uint64_t slot, number;
    uint64_t picture; /* 0: none */
};

/* --- the writer ----------------------------------------------------------------------------------------- */

struct embedded_records {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
    sqlite3_stmt *find, *texts, *put, *update, *delete, *numbers, *garbage_add, *garbage_list, *garbage_remove;
    int frames; /* in the log after the last commit */
};

/* A new file; on disk when this returns. */
enum result embedded_records_create(
    const char *path, const struct embedded_meta *meta, struct err *err) ERR_MUST_USE;
/* ERR_UNSUPPORTED: written by a newer version. */
enum result embedded_records_open(
    const char *path, struct embedded_records *out, struct embedded_meta *meta, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void embedded_records_close(struct embedded_records *r);

/* Every record, in no particular order; a result that is not ERR_OK ends it and is returned. */
typedef enum result (*embedded_each_fn)(void *user, const struct embedded_row *row, struct err *err);
enum result embedded_records_each(
    struct embedded_records *r, embedded_each_fn each, void *user, struct err *err) ERR_MUST_USE;

enum result embedded_records_begin(struct embedded_records *r, struct err *err) ERR_MUST_USE;
/* After a failure the transaction has been rolled back. */
enum result embedded_records_commit(
    struct embedded_records *r, uint64_t change, uint64_t number, struct err *err) ERR_MUST_USE;
/* Also where SQLite has rolled back by itself. */
void embedded_records_rollback(struct embedded_records *r);
/* Inside a transaction: what follows can be undone alone. */
enum result embedded_records_mark(struct embedded_records *r, struct err *err) ERR_MUST_USE;
enum result embedded_records_keep(struct embedded_records *r, struct err *err) ERR_MUST_USE;
/* False: the whole transaction is gone. */
bool embedded_records_undo(struct embedded_records *r);

enum result embedded_records_find(struct embedded_records *r, int64_t fileid, struct embedded_row *row,
    bool *found, struct err *err) ERR_MUST_USE;
/* What the columns want of a record; the texts live until embedded_records_texts_end(). */
struct embedded_texts {
    int64_t itemid;
    uint64_t slot;
    const char *tags, *brief;
    size_t tags_len, brief_len;
};
enum result embedded_records_texts(struct embedded_records *r, int64_t fileid, struct embedded_texts *out,
    bool *found, struct err *err) ERR_MUST_USE;
void embedded_records_texts_end(struct embedded_records *r);
enum result embedded_records_put(struct embedded_records *r, const struct embedded_row *row, const char *tags,
    const char *brief, struct err *err) ERR_MUST_USE;
/* tags, brief: NULL keeps them. */
enum result embedded_records_update(struct embedded_records *r, const struct embedded_row *row,
    const char *tags, const char *brief, struct err *err) ERR_MUST_USE;
enum result embedded_records_delete(struct embedded_records *r, int64_t fileid, struct err *err) ERR_MUST_USE;

enum result embedded_records_garbage_add(
    struct embedded_records *r, uint64_t picture, struct err *err) ERR_MUST_USE;
enum result embedded_records_garbage_remove(
    struct embedded_records *r, uint64_t picture, struct err *err) ERR_MUST_USE;
/* Up to `max` of them. */
enum result embedded_records_garbage_list(
    struct embedded_records *r, uint64_t *pictures, size_t max, size_t *count, struct err *err) ERR_MUST_USE;

/* --- readers -------------------------------------------------------------------------------------------- */

struct embedded_reader {
    sqlite3 *db;
    sqlite3_stmt *begin, *end, *by_file, *by_item, *browse, *browse_all, *items;
    struct embedded_reader *next; /* in the pool */
};

struct embedded_readers {
    char path[512];
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct embedded_reader *idle;
    unsigned opened;
};

void embedded_readers_init(struct embedded_readers *pool, const char *path);
/* All must have been given back. Accepts a zeroed one. */
void embedded_readers_free(struct embedded_readers *pool);
/* Waits for one, at most LIMIT_STORE_READERS at once, until the deadline (ERR_TIMEOUT). */
enum result embedded_readers_take(struct embedded_readers *pool, int64_t deadline_ms,
    struct embedded_reader **out, struct err *err) ERR_MUST_USE;
void embedded_readers_give(struct embedded_readers *pool, struct embedded_reader *reader);

/* All rows read before the end are of one moment, the begin. */
enum result embedded_reader_begin(struct embedded_reader *reader, struct err *err) ERR_MUST_USE;
void embedded_reader_end(struct embedded_reader *reader);

/*
 * by_file(fileid), by_item(itemid, limit), browse(after, limit), browse_all(-, limit) give these, in fileid
 * order.
 */
enum {
    EMBEDDED_COL_FILEID,
    EMBEDDED_COL_ITEMID,
    EMBEDDED_COL_SLOT,
    EMBEDDED_COL_NUMBER,
    EMBEDDED_COL_PICTURE,
    EMBEDDED_COL_TAGS,
    EMBEDDED_COL_BRIEF
};

/* The row the statement is at. ERR_CORRUPT where it holds what no row can. */
enum result embedded_reader_row(sqlite3_stmt *stmt, struct embedded_row *row, struct err *err) ERR_MUST_USE;

#endif
