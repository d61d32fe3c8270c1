/*
 * What a collection is searched by: for each slot a vector of 16-bit floats, and the vector that a query
 * becomes. Everything that compares (the scan, the index) goes through here and knows no more.
 *
 * There are two sources: the vectors at the beginning of the descriptors of vectors.f16, as they are, and in a tuned
 * collection the rows that a learned projection has made of the whole descriptors (space.h), with a version of their
 * own, so that an index made of other rows is not taken for one of these.
 */
#ifndef STORE_EMBEDDED_SEARCHABLE_H
#define STORE_EMBEDDED_SEARCHABLE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct embedded_collection;

/* Components of a row and of a query. */
uint32_t embedded_searchable_dimension(const struct embedded_collection *c);
/* Of the rows: another number where any of them is another vector than before for the same write number. */
uint64_t embedded_searchable_version(const struct embedded_collection *c);
/* The row of a slot that the caller's snapshot can see; NULL where it is damaged. */
const uint16_t *embedded_searchable_row(struct embedded_collection *c, uint32_t slot);
/* Its Euclidean length. */
float embedded_searchable_norm(const struct embedded_collection *c, uint32_t slot);
/*
 * The query of a caller's vector (a descriptor of `given` components, 0 for as many as there should be), into
 * `out` of the searchable dimension. It is rounded as rows are, so that a vector finds itself at distance 0.
 */
enum result embedded_searchable_query(const struct embedded_collection *c, const float *vector,
    uint32_t given, float *out, struct err *err) ERR_MUST_USE;

/*
 * Is the picture of a sound slot the one that this vector is of? In a tuned collection rows and queries are projected
 * around different means, so even the same picture is not at 0; the search puts it there. Squared distance of unit
 * vectors: the same pixels differ by less than 1e-6 from run to run, a picture saved once more by over 1e-3.
 */
#define EMBEDDED_SAME 1e-5f
bool embedded_searchable_same(struct embedded_collection *c, uint32_t slot, const float *vector);

#endif
