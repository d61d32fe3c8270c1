/*
 * The records of a collection by column, so that a filter becomes the set of its rows in milliseconds.
 *
 * A row is a number the caller chooses, below LIMIT_RECORDS, best the slot of the record: dense numbers cost
 * least. The columns are derived from the records and can be built anew from them at any time by putting
 * each.
 *
 * Life cycle: filter_columns_new() … filter_columns_put()/_remove()/_select() … filter_columns_free().
 *
 * LOCKING IS THE CALLER'S: filter_columns_put(), _remove() and _free() alone, _select(), _facet…() and
 * _stats() together with each other. What select gave lives on its own: it may be used and released at any
 * time by any thread, and stays what it was.
 *
 * A failed put has removed the row: ERR_NO_MEMORY, or ERR_INVALID for tags or a brief that are not what
 * store.h says. The columns then lack it, and the caller has to put it again, or to build them anew, before
 * it may rely on them.
 */
#ifndef FILTER_COLUMNS_H
#define FILTER_COLUMNS_H

#include "filter/filter.h"

#include <stdbool.h>
#include <stdint.h>

struct filter_columns;

struct filter_columns_options {
    uint32_t dense_from; /* rows of 65,536 that make a column dense there; 0: the best */
    uint32_t max_paths;  /* paths of JSON with columns of their own; 0: LIMIT_FILTER_PATHS */
};

/* `options` may be NULL. */
enum result filter_columns_new(
    const struct filter_columns_options *options, struct filter_columns **out, struct err *err) ERR_MUST_USE;
void filter_columns_free(struct filter_columns *columns);

struct filter_columns_row {
    uint32_t row;
    int64_t fileid, itemid;
    const char *tags; /* JSON array of at most LIMIT_TAGS strings; NULL: the column is null */
    size_t tags_len;
    const char *brief; /* JSON object; NULL: the column is null */
    size_t brief_len;
};
/* Replaces what the row held. */
enum result filter_columns_put(
    struct filter_columns *columns, const struct filter_columns_row *row, struct err *err) ERR_MUST_USE;
/* Nothing happens where there is no such row. */
void filter_columns_remove(struct filter_columns *columns, uint32_t row);

/* --- rows
 * -------------------------------------------------------------------------------------------------------- */

/* An immutable set of rows. */
struct filter_rows;

/*
 * The rows for which the filter is true; all rows for a filter that is NULL. Results are kept by the text of
 * the filter until the next put or remove, so asking again costs next to nothing. ERR_NO_MEMORY only.
 */
enum result filter_columns_select(struct filter_columns *columns, const struct filter *filter,
    struct filter_rows **out, struct err *err) ERR_MUST_USE;
/* NULL is accepted. */
void filter_rows_free(struct filter_rows *rows);
uint64_t filter_rows_count(const struct filter_rows *rows);
bool filter_rows_contain(const struct filter_rows *rows, uint32_t row);
/* Up to `max` rows, rising, after skipping the first `offset`. Returns how many. */
size_t filter_rows_list(const struct filter_rows *rows, uint64_t offset, uint32_t *out, size_t max);
/* Set bit r % 64 of words[r / 64] for each row r below 64 × count. Other bits are left alone. */
void filter_rows_words(const struct filter_rows *rows, uint64_t *words, size_t count);
/* A set of `count` words from malloc(), a multiple of 1,024 of them; they are its own on success. */
enum result filter_rows_of(uint64_t *words, size_t count, struct filter_rows **out) ERR_MUST_USE;
/* Bit r % 64 of word r / 64 for each row r; rows beyond are not in the set. As long as the rows. */
const uint64_t *filter_rows_direct(const struct filter_rows *rows, size_t *count);
struct roaring_bitmap_s;
/* For callers that compute with sets themselves; as long as the rows. */
const struct roaring_bitmap_s *filter_rows_bitmap(const struct filter_rows *rows);

/* --- what there is
 * --------------------------------------------------------------------------------------------------- */

struct filter_columns_stats {
    uint64_t rows;
    uint64_t paths; /* of JSON, with columns of their own */
    uint64_t bytes; /* all memory but the cache of results */
    uint64_t cache_hits, cache_misses;
};
void filter_columns_stats(struct filter_columns *columns, struct filter_columns_stats *out);

#endif
