#include "pipeline/filtered.h"

#include "filter/filter.h"

static enum result parse(const char *text, struct filter **out, struct err *err)
{
    *out = NULL;
    return text ? filter_parse(text, strlen(text), out, err) : ERR_OK;
}

enum result pipeline_count(
    struct pipeline *p, const char *collection, const char *filter, int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct filter *f = NULL;
    enum result r = parse(filter, &f, err);
    if (r == ERR_OK)
        r = store_count_where(pipeline_store(p), collection, f, deadline_ms, out, err);
    filter_free(f);
    return r;
}

enum result pipeline_browse(struct pipeline *p, const char *collection, const struct pipeline_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct filter *f = NULL;
    enum result r = parse(browse->filter, &f, err);
    if (r == ERR_OK) {
        struct store_browse b = {.from_start = browse->from_start,
            .after = browse->after,
            .limit = browse->limit,
            .with_vectors = browse->with_vectors,
            .filter = f};
        r = store_browse_where(pipeline_store(p), collection, &b, deadline_ms, out, err);
    }
    filter_free(f);
    return r;
}

enum result pipeline_delete_where(struct pipeline *p, const char *collection, const char *filter, int64_t deadline_ms,
    uint64_t *deleted, struct err *err)
{
    struct filter *f = NULL;
    enum result r = parse(filter, &f, err);
    if (r == ERR_OK)
        r = store_delete_where(pipeline_store(p), collection, f, deadline_ms, deleted, err);
    filter_free(f);
    return r;
}

enum result pipeline_facets(struct pipeline *p, const char *collection, const struct pipeline_facets *facets,
    int64_t deadline_ms, struct store_facets *out, struct err *err)
{
    struct filter *f = NULL;
    enum result r = parse(facets->filter, &f, err);
    if (r == ERR_OK) {
        struct store_facet_query query = {.field = facets->field, .limit = facets->limit, .filter = f};
        r = store_facets(pipeline_store(p), collection, &query, deadline_ms, out, err);
    }
    filter_free(f);
    return r;
}
