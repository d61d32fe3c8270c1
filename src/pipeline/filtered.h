/*
 * Counting, browsing, deleting and counting values under a filter that is still text. What store.h says of the same
 * functions holds; here the text is parsed first.
 *
 * `filter` NULL, empty or blank: none. One that is wrong is ERR_INVALID with the field "filter" and err->column.
 */
#ifndef PIPELINE_FILTERED_H
#define PIPELINE_FILTERED_H

#include "pipeline/pipeline.h"

enum result pipeline_count(struct pipeline *pipeline, const char *collection, const char *filter, int64_t deadline_ms,
    uint64_t *out, struct err *err) ERR_MUST_USE;

struct pipeline_browse {
    const char *filter;
    bool from_start; /* else after the fileid `after` */
    int64_t after;
    uint32_t limit;
    bool with_vectors;
};
enum result pipeline_browse(struct pipeline *pipeline, const char *collection, const struct pipeline_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;

/* ERR_INVALID where there is no filter. */
enum result pipeline_delete_where(struct pipeline *pipeline, const char *collection, const char *filter, int64_t deadline_ms,
    uint64_t *deleted, struct err *err) ERR_MUST_USE;

struct pipeline_facets {
    const char *field; /* as in struct store_facet_query */
    const char *filter;
    uint32_t limit;
};
enum result pipeline_facets(struct pipeline *pipeline, const char *collection, const struct pipeline_facets *facets,
    int64_t deadline_ms, struct store_facets *out, struct err *err) ERR_MUST_USE;

#endif
