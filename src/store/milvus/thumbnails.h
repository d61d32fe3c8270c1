/*
 * Thumbnails beside a Milvus, in one SQLite file of the local data folder. For store/milvus/ only; thread-safe.
 *
 *   thumbnails(collection, fileid, bytes; PRIMARY KEY (collection, fileid))
 *
 * `collection` is Milvus's number of it, so what was dropped and made again does not show the old pictures. Nothing
 * else is kept here and all of it can be lost without harm: a record without its thumbnail is whole. So a commit does not
 * wait for the disk (synchronous=NORMAL), and a failure to write one is not a failure of the record.
 */
#ifndef STORE_MILVUS_THUMBNAILS_H
#define STORE_MILVUS_THUMBNAILS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct milvus_thumbnails;

/* DATA/thumbnails.db; the folder is made where absent. */
enum result milvus_thumbnails_open(const char *data, struct milvus_thumbnails **out, struct err *err) ERR_MUST_USE;
/* NULL is accepted. */
void milvus_thumbnails_close(struct milvus_thumbnails *t);

/* `len` 0 removes it. */
enum result milvus_thumbnails_put(struct milvus_thumbnails *t, int64_t collection, int64_t fileid, const uint8_t *bytes,
    size_t len, struct err *err) ERR_MUST_USE;
enum result milvus_thumbnails_drop(struct milvus_thumbnails *t, int64_t collection, struct err *err) ERR_MUST_USE;
bool milvus_thumbnails_has(struct milvus_thumbnails *t, int64_t collection, int64_t fileid);
/* Appended to `out`. ERR_NOT_FOUND. */
enum result milvus_thumbnails_get(
    struct milvus_thumbnails *t, int64_t collection, int64_t fileid, struct buf *out, struct err *err) ERR_MUST_USE;

#endif
