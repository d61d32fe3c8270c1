/* Facets of records in memory, the plain way: every text is parsed, every value looked at. */
#ifndef STORE_MEMORY_FACETS_H
#define STORE_MEMORY_FACETS_H

#include "store/store.h"

struct memory_texts {
    const char *tags, *brief;
};

enum result memory_count_facets(const struct memory_texts *texts, size_t count,
    const struct store_facet_query *query, struct store_facets *out, struct err *err) ERR_MUST_USE;

#endif
