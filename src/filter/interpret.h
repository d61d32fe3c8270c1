/*
 * The plain meaning of a filter: one record, one answer. The reference that columns.h is tested against, and
 * good enough for a store that has no columns. Nothing is prepared or remembered; thread-safe.
 */
#ifndef FILTER_INTERPRET_H
#define FILTER_INTERPRET_H

#include "filter/filter.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct filter_record {
    int64_t fileid, itemid;
    struct json_object *tags;  /* an array of strings; NULL: the column is null */
    struct json_object *brief; /* an object; NULL: the column is null */
};

/* Kleene's logic. A record is selected by a filter that is TRUE of it, and only then. */
enum filter_truth { FILTER_FALSE, FILTER_TRUE, FILTER_UNKNOWN };

/* A filter that is NULL is TRUE of everything. */
enum filter_truth filter_interpret(const struct filter *filter, const struct filter_record *record);

#endif
