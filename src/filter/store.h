/*
 * What the columns are made of. For the files of filter/ alone: put.c writes, select.c reads.
 *
 * Invariants:
 *  1. A row is live exactly if `fileid` has it.
 *  2. The paths that have anything for a row are those its shape lists; a row without a brief has no shape.
 *  3. Each code in a column of strings, arrays, rest or tags, and each shape, is held once by its dictionary
 * for it.
 *  4. A tag's posting lists the rows that have it in any position, each once.
 */
#ifndef FILTER_STORE_H
#define FILTER_STORE_H

#include "base/limits.h"
#include "filter/ccol.h"
#include "filter/columns.h"
#include "filter/dict.h"

#include <pthread.h>

/* What a value of JSON can be at one path. */
enum filter_kind {
    FILTER_KIND_INT,    /* filter_key_int() */
    FILTER_KIND_DOUBLE, /* filter_key_double() */
    FILTER_KIND_BOOL,   /* 0 or 1 */
    FILTER_KIND_NULL,   /* 0 */
    FILTER_KIND_OBJECT, /* 0; its members are paths of their own */
    FILTER_KIND_STRING, /* code in `strings` */
    FILTER_KIND_ARRAY,  /* code in `blobs` */
    FILTER_KIND_REST, /* code in `blobs`: an object of the members that could not have a path of their own */
    FILTER_KINDS,
};

struct filter_path {
    struct filter_ccol kinds[FILTER_KINDS];
    struct filter_dict strings, blobs;
};

struct filter_posting {
    uint32_t count, room; /* room 0: a single row in `one` */
    union {
        uint32_t one;
        uint32_t *few;                 /* rising, up to FILTER_POSTING_FEW */
        struct roaring_bitmap_s *many; /* room == UINT32_MAX */
    };
};

struct filter_cached;

struct filter_columns {
    uint32_t dense_from, max_paths;
    uint64_t version; /* one more with each write */
    uint32_t chunks;  /* of 65,536 rows: no row is beyond */

    struct filter_ccol fileid, itemid;
    struct filter_ccol null_tags, null_brief;

    struct filter_ccol tag_count, tag_at[LIMIT_TAGS]; /* codes of `tags` */
    struct filter_dict tags;
    struct filter_posting *postings; /* by code */
    uint32_t posting_room;

    struct filter_dict
        path_names; /* number of the parent and key → number of the path less 1; the root is 0 */
    struct filter_path *paths;
    uint32_t path_count, path_room;
    struct filter_dict shapes; /* numbers of paths */
    struct filter_ccol shape;

    pthread_mutex_t cache_lock; /* for what follows; readers share the columns otherwise */
    struct filter_cached *cache;
    size_t cache_count;
    uint64_t cache_clock, cache_hits, cache_misses;
};

#define FILTER_NO_PATH UINT32_MAX
/* The path of `key` below `parent`. */
uint32_t filter_path_find(const struct filter_columns *c, uint32_t parent, struct filter_bytes key);

/* ahead.c: fetch what removing the row will touch; each step asks for what the one before has brought. */
void filter_ahead_cells(const struct filter_columns *c, uint32_t row);
void filter_ahead_paths(const struct filter_columns *c, uint32_t row);
void filter_ahead_codes(const struct filter_columns *c, uint32_t row);

/* posting.c */
enum result filter_posting_add(struct filter_posting *posting, uint32_t row) ERR_MUST_USE;
void filter_posting_remove(struct filter_posting *posting, uint32_t row);
void filter_posting_free(struct filter_posting *posting);
void filter_posting_words(const struct filter_posting *posting, uint64_t *words);
size_t filter_posting_bytes(const struct filter_posting *posting);

/* rows.c: a set of rows from `count` words, which become its own on success; cache.c */
enum result filter_rows_new(uint64_t *words, size_t count, struct filter_rows **out) ERR_MUST_USE;
struct filter_rows *filter_rows_share(struct filter_rows *rows);
size_t filter_rows_bytes(const struct filter_rows *rows);
struct filter_rows *filter_cache_get(struct filter_columns *c, const struct filter *filter);
/* Remember, or not, where there is no memory for it. */
void filter_cache_put(struct filter_columns *c, const struct filter *filter, struct filter_rows *rows);
void filter_cache_free(struct filter_columns *c);

#endif
