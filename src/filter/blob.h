/*
 * JSON values in few bytes, for what has no column of its own: arrays, and members beyond LIMIT_FILTER_PATHS.
 * For the files of filter/ alone; only what filter_blob_write() wrote may be read.
 */
#ifndef FILTER_BLOB_H
#define FILTER_BLOB_H

#include "base/buf.h"
#include "filter/tree.h"

#include <json-c/json.h>

enum filter_blob_kind {
    FILTER_BLOB_NULL,
    FILTER_BLOB_FALSE,
    FILTER_BLOB_TRUE,
    FILTER_BLOB_INT,
    FILTER_BLOB_FLOAT,
    FILTER_BLOB_STRING,
    FILTER_BLOB_ARRAY,
    FILTER_BLOB_OBJECT,
};

struct filter_blob {
    enum filter_blob_kind kind;
    int64_t i;
    double f;
    struct filter_bytes s; /* STRING; ARRAY and OBJECT: their elements, for filter_blob_next() */
    uint32_t count;        /* elements or members */
};

/* What a JSON number is here: an int where int64 holds it. */
bool filter_blob_number(struct json_object *number, int64_t *i, double *f);

enum result filter_blob_write(struct json_object *value, struct buf *out) ERR_MUST_USE;
/* An object of some members: begin, then key and value in turn, then end. `start` is for end. */
enum result filter_blob_begin(
    enum filter_blob_kind kind, uint32_t count, struct buf *out, size_t *start) ERR_MUST_USE;
enum result filter_blob_key(const char *key, size_t len, struct buf *out) ERR_MUST_USE;
void filter_blob_end(struct buf *out, size_t start);

/* The value at the start of `*rest`, which moves behind it. */
struct filter_blob filter_blob_next(struct filter_bytes *rest);

/* What `path` leads to from `value`; false where it leads nowhere. */
bool filter_blob_follow(struct filter_blob *value, const struct filter_bytes *path, size_t depth);

#endif
