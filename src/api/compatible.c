/* The eight routes of the Python service; API.md section 1. Every reply has HTTP status 200 (api.c wraps errors). */
#include "api/params.h"
#include "api/route.h"
#include "api/write_json.h"

#include <inttypes.h>

#define SUCCESS "{\"code\":10000,\"message\":\"Successfully\""

static enum result reply_text(struct route_call *call, const char *text, struct err *err)
{
    enum result r = buf_append_str(&call->reply->body, text);
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}

static enum result reply_i64(struct route_call *call, int64_t value, struct err *err)
{
    enum result r = buf_appendf(&call->reply->body, SUCCESS ",\"data\":%" PRId64 "}", value);
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}

enum result compatible_create(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_collection(&params, &collection, err);
    if (r == ERR_OK)
        r = pipeline_create(call->pipeline, collection, NULL, call->request->deadline_ms, err);
    if (r == ERR_OK)
        r = reply_text(call, SUCCESS ",\"data\":null}", err);
    params_free(&params);
    return r;
}

enum result compatible_drop(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_collection(&params, &collection, err);
    if (r == ERR_OK)
        r = store_drop(pipeline_store(call->pipeline), collection, call->request->deadline_ms, err);
    if (r == ERR_OK)
        r = reply_text(call, SUCCESS "}", err);
    params_free(&params);
    return r;
}

/* What add and update have in common. Strings of `record` live as long as `params`. */
static enum result read_record(
    struct params *params, const char **collection, struct pipeline_record *record, struct err *err)
{
    enum result r = params_collection(params, collection, err);
    if (r == ERR_OK)
        r = params_fileid(params, &record->fileid, err);
    if (r == ERR_OK)
        r = params_record(params, record, err);
    return r;
}

enum result compatible_add(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection = NULL;
    struct pipeline_record record = {0};
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = read_record(&params, &collection, &record, err);
    if (r == ERR_OK)
        r = pipeline_add(call->pipeline, collection, &record, call->request->deadline_ms, err);
    if (r == ERR_OK)
        r = reply_i64(call, record.fileid, err);
    params_free(&params);
    return r;
}

enum result compatible_update(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection = NULL;
    struct pipeline_record record = {0};
    bool found = false;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = read_record(&params, &collection, &record, err);
    if (r == ERR_OK)
        r = pipeline_update(call->pipeline, collection, &record, call->request->deadline_ms, &found, err);
    if (r == ERR_OK)
        r = reply_i64(call, found ? record.fileid : 0, err);
    params_free(&params);
    return r;
}

/* [{…,"distance":d},…] or, with vectors, [{…,"vectors":[…]},…] */
static enum result reply_records(struct route_call *call, const struct store_records *records, bool vectors, struct err *err)
{
    struct buf *body = &call->reply->body;
    enum result r = buf_append_str(body, SUCCESS ",\"data\":[");
    for (size_t i = 0; i < records->count && r == ERR_OK; i++) {
        const struct store_record *record = &records->items[i];
        r = buf_append_str(body, i ? ",{" : "{");
        if (r == ERR_OK)
            r = write_json_record(body, record);
        if (r == ERR_OK)
            r = buf_append_str(body, vectors ? ",\"vectors\":" : ",\"distance\":");
        if (r == ERR_OK)
            r = vectors ? write_json_vector(body, record->vector, records->dimension) : json_append_float(body, record->distance);
        if (r == ERR_OK)
            r = buf_append_str(body, "}");
    }
    if (r == ERR_OK)
        r = buf_append_str(body, "]}");
    return r ? err_set(err, r, "the reply is too large; ask for fewer hits at once") : ERR_OK;
}

enum result compatible_search(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection = NULL;
    struct pipeline_search search = {0};
    struct store_records hits = {0};
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_collection(&params, &collection, err);
    if (r == ERR_OK)
        r = params_search(&params, &search, err);
    if (r == ERR_OK)
        r = pipeline_search(call->pipeline, collection, &search, call->request->deadline_ms, &hits, err);
    if (r == ERR_OK)
        r = reply_records(call, &hits, false, err);
    store_records_free(&hits);
    params_free(&params);
    return r;
}

enum result compatible_count(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection = NULL;
    uint64_t count = 0;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_collection(&params, &collection, err);
    if (r == ERR_OK)
        r = store_count(pipeline_store(call->pipeline), collection, call->request->deadline_ms, &count, err);
    if (r == ERR_OK)
        r = reply_i64(call, (int64_t)count, err);
    params_free(&params);
    return r;
}

enum result compatible_delete(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection = NULL;
    struct store_write write = {.kind = STORE_DELETE};
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_collection(&params, &collection, err);
    if (r == ERR_OK)
        r = params_fileid(&params, &write.fileid, err);
    if (r == ERR_OK)
        r = store_write(pipeline_store(call->pipeline), collection, &write, 1, call->request->deadline_ms, err);
    if (r == ERR_OK)
        r = reply_text(call, SUCCESS "}", err);
    params_free(&params);
    return r;
}

enum result compatible_get(struct route_call *call, struct err *err)
{
    struct params params;
    const char *collection = NULL;
    bool by_file = false, by_item = false;
    int64_t fileid = 0, itemid = 0;
    struct store_records records = {0};
    struct store *store = pipeline_store(call->pipeline);
    int64_t deadline = call->request->deadline_ms;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_collection(&params, &collection, err);
    if (r == ERR_OK)
        r = params_i64(&params, "fileid", &by_file, &fileid, err);
    if (r == ERR_OK)
        r = params_i64(&params, "itemid", &by_item, &itemid, err);
    if (r == ERR_OK && !by_file && !by_item)
        r = err_set_field(err, ERR_INVALID, "fileid", "fileid or itemid is needed");
    /* Both given: the primary key decides, as in the Python service. */
    if (r == ERR_OK)
        r = by_file ? store_get_file(store, collection, fileid, deadline, &records, err)
                    : store_get_item(store, collection, itemid, deadline, &records, err);
    if (r == ERR_OK)
        r = reply_records(call, &records, true, err);
    store_records_free(&records);
    params_free(&params);
    return r;
}
