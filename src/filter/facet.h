/*
 * How often each value of a field occurs: the counts beside a filter that users click on.
 *
 * A field is "tags", or a path into brief as filters write it: brief["colour"]. Its values are strings,
 * numbers, true and false; lists, objects and null are none, but a path may lead into them (brief["size"][0]).
 * An int and a floating point number are different values even where they are equal.
 *
 * One counter counts one field: filter_facet_new() … any number of counting calls … filter_facet_finish(),
 * filter_facet_free(). It is one thread's at a time.
 */
#ifndef FILTER_FACET_H
#define FILTER_FACET_H

#include "filter/columns.h"

#include <json-c/json.h>

struct filter_facet_counter;

/* ERR_INVALID, with the column, for a text that is no such field. The error's field is "field". */
enum result filter_facet_new(
    const char *field, struct filter_facet_counter **out, struct err *err) ERR_MUST_USE;
/* NULL is accepted. */
void filter_facet_free(struct filter_facet_counter *f);

/* One record; either may be NULL. A tag counts once a record. */
enum result filter_facet_record(struct filter_facet_counter *f, struct json_object *tags,
    struct json_object *brief, struct err *err) ERR_MUST_USE;
/* All of these rows of columns; the lock is as for filter_columns_select(). */
enum result filter_facet_columns(struct filter_facet_counter *f, const struct filter_columns *columns,
    const struct filter_rows *rows, struct err *err) ERR_MUST_USE;

/*
 * How well the field tells `records` records apart: the entropy of its values, but of those alone that occur
 * more than once. So what is the same everywhere is worth 0, and what is different everywhere as well.
 */
double filter_facet_worth(struct filter_facet_counter *f, uint64_t records);

struct filter_facet_value {
    char *json;
    uint64_t count;
};
struct filter_facet {
    char *field; /* in the spelling that filter_print() gives it */
    struct filter_facet_value *values;
    size_t count;
    uint64_t distinct; /* of all values, also those beyond the limit */
};
/*
 * The most frequent values, at most `limit`; of equal frequency: false, true, ints, floating point numbers,
 * strings by bytes. All memory is the caller's, each text its own.
 */
enum result filter_facet_finish(struct filter_facet_counter *f, size_t limit, struct filter_facet *out,
    struct err *err) ERR_MUST_USE;

/* Paths that have values worth counting, as texts of fields; in no order, at most `max`, the most frequent. */
enum result filter_facet_paths(const struct filter_columns *columns, size_t max, char ***fields,
    size_t *count, struct err *err) ERR_MUST_USE;
/* A path of keys as the text of a field, appended. */
enum result filter_facet_path_text(
    const char *const *keys, const size_t *lens, size_t depth, struct buf *out) ERR_MUST_USE;

#endif
