/* What POST /v1/collections/{c}/search takes: a picture, a record, a vector, or several of them; limits; members. */
#ifndef API_SEARCH_PARAMS_H
#define API_SEARCH_PARAMS_H

#include "api/params.h"

struct search_params {
    struct pipeline_search search;
    unsigned members; /* of a hit, see members.h */
    struct pipeline_query queries[LIMIT_QUERIES];
    struct params parts[LIMIT_QUERIES]; /* behind the strings of the queries */
    float *vectors[LIMIT_QUERIES];      /* and behind their vectors */
    size_t count;
};

/* `*out` is released with search_params_free(), and lives no longer than `params`. */
enum result search_params_read(struct params *params, struct search_params **out, struct err *err) ERR_MUST_USE;
void search_params_free(struct search_params *params);

#endif
