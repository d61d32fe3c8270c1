/* /v1/collections/{c}: count, delete and count values of the records that a filter is true for. */
#include "api/params.h"
#include "api/route.h"
#include "pipeline/filtered.h"

#include <inttypes.h>

#define FACET_VALUES_DEFAULT 20

static enum result too_large(enum result r, struct err *err)
{
    return r ? err_set(err, ERR_TOO_LARGE, "the reply is too large; ask for less at once") : ERR_OK;
}

enum result v1_count(struct route_call *call, struct err *err)
{
    struct params params = {0};
    const char *filter = NULL;
    bool found;
    uint64_t count = 0;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_string(&params, "filter", &found, &filter, err);
    if (r == ERR_OK)
        r = pipeline_count(call->pipeline, call->collection, filter, call->request->deadline_ms, &count, err);
    if (r == ERR_OK)
        r = too_large(buf_appendf(&call->reply->body, "{\"count\":%" PRIu64 "}", count), err);
    params_free(&params);
    return r;
}

enum result v1_images_delete(struct route_call *call, struct err *err)
{
    struct params params = {0};
    const char *filter = NULL;
    bool found;
    uint64_t deleted = 0;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_string(&params, "filter", &found, &filter, err);
    if (r == ERR_OK)
        r = pipeline_delete_where(call->pipeline, call->collection, filter, call->request->deadline_ms, &deleted, err);
    if (r == ERR_OK)
        r = too_large(buf_appendf(&call->reply->body, "{\"deleted\":%" PRIu64 "}", deleted), err);
    else if (deleted > 0 && err) { /* a later step failed, which does not bring the records back */
        char why[ERR_MESSAGE_MAX];
        snprintf(why, sizeof why, "%s", err->message);
        snprintf(err->message, sizeof err->message, "%" PRIu64 " records were deleted, then: %.400s", deleted, why);
    }
    params_free(&params);
    return r;
}

static enum result write_facet(struct buf *out, const struct store_facet *facet)
{
    enum result r = buf_append_str(out, "{\"field\":");
    if (r == ERR_OK)
        r = json_append_string(out, facet->field, strlen(facet->field));
    if (r == ERR_OK)
        r = buf_appendf(out, ",\"distinct\":%" PRIu64 ",\"values\":[", facet->distinct);
    for (size_t i = 0; i < facet->count && r == ERR_OK; i++)
        r = buf_appendf(out, "%s{\"value\":%s,\"count\":%" PRIu64 "}", i ? "," : "", facet->values[i].json, facet->values[i].count);
    return r ? r : buf_append_str(out, "]}");
}

static enum result write_facets(struct buf *out, const struct store_facets *facets)
{
    enum result r = buf_append_str(out, "{\"facets\":[");
    for (size_t i = 0; i < facets->count && r == ERR_OK; i++) {
        if (i)
            r = buf_append_str(out, ",");
        if (r == ERR_OK)
            r = write_facet(out, &facets->items[i]);
    }
    return r ? r : buf_append_str(out, "]}");
}

enum result v1_facets(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct pipeline_facets ask = {0};
    struct store_facets facets = {0};
    bool found;
    int64_t limit = FACET_VALUES_DEFAULT;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_string(&params, "field", &found, &ask.field, err);
    if (r == ERR_OK && found && !*ask.field)
        ask.field = NULL;
    if (r == ERR_OK)
        r = params_string(&params, "filter", &found, &ask.filter, err);
    if (r == ERR_OK)
        r = params_i64(&params, "limit", &found, &limit, err);
    if (r == ERR_OK && (limit < 1 || limit > LIMIT_FACET_VALUES))
        r = err_set_field(err, ERR_INVALID, "limit", "limit must be between 1 and %d", LIMIT_FACET_VALUES);
    ask.limit = (uint32_t)limit;
    if (r == ERR_OK)
        r = pipeline_facets(call->pipeline, call->collection, &ask, call->request->deadline_ms, &facets, err);
    if (r == ERR_OK)
        r = too_large(write_facets(&call->reply->body, &facets), err);
    store_facets_free(&facets);
    params_free(&params);
    return r;
}
