/* What a query becomes before it is compared with rows. For store/embedded only. */
#ifndef STORE_EMBEDDED_QUERY_H
#define STORE_EMBEDDED_QUERY_H

#include "store/store.h"

struct embedded_collection;

/*
 * The query's vector into `out`, of embedded_searchable_dimension() floats. In a tuned collection: of its parts where it
 * has some, each projected and added up by weight; else of its descriptor; of a plain vector what there is of it. ERR_INVALID:
 * a vector of another length, or one that cannot be rounded.
 */
enum result embedded_query_vector(struct embedded_collection *c, const struct store_query *query, int64_t deadline_ms,
    float *out, struct err *err) ERR_MUST_USE;

#endif
