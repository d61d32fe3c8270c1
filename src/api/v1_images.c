/* /v1/collections/{c}/images: single records, their thumbnails, browsing. */
#include "api/params.h"
#include "api/route.h"
#include "api/write_json.h"
#include "base/parse.h"

#include <inttypes.h>

#define BROWSE_LIMIT_DEFAULT 50
#define BROWSE_LIMIT_MAX 1000

static enum result path_fileid(const struct route_call *call, int64_t *out, struct err *err)
{
    if (!parse_i64(call->id, strlen(call->id), out))
        return err_set_field(err, ERR_INVALID, "fileid", "\"%s\" in the path is no fileid: an integer between -2^63 and 2^63-1 belongs there",
            call->id);
    return ERR_OK;
}

enum result v1_image_put(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct pipeline_record record = {0};
    enum result r = path_fileid(call, &record.fileid, err);
    if (r)
        return r;
    r = params_parse(call->request, true, &params, err);
    if (r == ERR_OK)
        r = params_i64(&params, "itemid", &record.has_itemid, &record.itemid, err);
    if (r == ERR_OK)
        r = params_tags(&params, &record.tags, err);
    if (r == ERR_OK)
        r = params_brief(&params, &record.brief, err);
    if (r == ERR_OK)
        r = params_picture(&params, &record.picture, err);
    call->read = r == ERR_OK;
    if (r == ERR_OK)
        r = pipeline_add(call->pipeline, call->collection, &record, call->request->deadline_ms, err);
    if (r == ERR_OK)
        r = buf_appendf(&call->reply->body, "{\"fileid\":%" PRId64 "}", record.fileid);
    params_free(&params);
    return r;
}

enum result v1_image_get(struct route_call *call, struct err *err)
{
    int64_t fileid;
    struct store_records records = {0};
    struct buf *body = &call->reply->body;
    enum result r = path_fileid(call, &fileid, err);
    if (r == ERR_OK)
        r = store_get_file(pipeline_store(call->pipeline), call->collection, fileid, call->request->deadline_ms, &records, err);
    if (r)
        return r;
    if (records.count == 0) {
        r = err_set_field(err, ERR_NOT_FOUND, "fileid", "collection \"%.64s\" has no picture with fileid %" PRId64, call->collection, fileid);
        goto out;
    }
    r = buf_append_str(body, "{");
    if (r == ERR_OK)
        r = write_json_record(body, &records.items[0]);
    if (r == ERR_OK)
        r = buf_append_str(body, ",\"thumbnail\":");
    if (r == ERR_OK)
        r = write_json_thumbnail(body, call->collection, &records.items[0]);
    if (r == ERR_OK)
        r = buf_append_str(body, ",\"vectors\":");
    if (r == ERR_OK)
        r = write_json_vector(body, records.items[0].vector, records.dimension);
    if (r == ERR_OK)
        r = buf_append_str(body, "}");
    if (r)
        err_set(err, r, "the reply is too large");
out:
    store_records_free(&records);
    return r;
}

enum result v1_image_delete(struct route_call *call, struct err *err)
{
    struct store_write write = {.kind = STORE_DELETE};
    enum result r = path_fileid(call, &write.fileid, err);
    if (r == ERR_OK)
        r = store_write(pipeline_store(call->pipeline), call->collection, &write, 1, call->request->deadline_ms, err);
    if (r == ERR_OK)
        call->reply->status = 204;
    return r;
}

enum result v1_image_thumbnail(struct route_call *call, struct err *err)
{
    int64_t fileid;
    enum result r = path_fileid(call, &fileid, err);
    if (r == ERR_OK)
        r = store_thumbnail(pipeline_store(call->pipeline), call->collection, fileid, call->request->deadline_ms,
            &call->reply->body, err);
    if (r)
        return r;
    call->reply->content_type = "image/jpeg";
    /* A record can be replaced under the same fileid, so a browser has to ask again after a while. */
    return http_reply_header(call->reply, "Cache-Control", "private, max-age=60");
}

/* The records, then where to go on. */
static enum result write_page(struct buf *body, const char *collection, const struct store_records *records)
{
    enum result r = buf_append_str(body, "{\"images\":[");
    for (size_t i = 0; i < records->count && r == ERR_OK; i++) {
        r = buf_append_str(body, i ? ",{" : "{");
        if (r == ERR_OK)
            r = write_json_record(body, &records->items[i]);
        if (r == ERR_OK)
            r = buf_append_str(body, ",\"thumbnail\":");
        if (r == ERR_OK)
            r = write_json_thumbnail(body, collection, &records->items[i]);
        if (r == ERR_OK)
            r = buf_append_str(body, "}");
    }
    if (r == ERR_OK && records->more)
        r = buf_appendf(body, "],\"next\":%" PRId64 "}", records->next);
    else if (r == ERR_OK)
        r = buf_append_str(body, "],\"next\":null}");
    return r;
}

enum result v1_images_browse(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct store_records records = {0};
    bool has_after = false, has_limit = false;
    int64_t after = 0, limit = BROWSE_LIMIT_DEFAULT;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_i64(&params, "after", &has_after, &after, err);
    if (r == ERR_OK)
        r = params_i64(&params, "limit", &has_limit, &limit, err);
    if (r == ERR_OK && (limit < 1 || limit > BROWSE_LIMIT_MAX))
        r = err_set_field(err, ERR_INVALID, "limit", "limit must be between 1 and %d", BROWSE_LIMIT_MAX);
    if (r == ERR_OK)
        r = store_browse(pipeline_store(call->pipeline), call->collection, !has_after, after, (uint32_t)limit,
            call->request->deadline_ms, &records, err);
    if (r == ERR_OK && write_page(&call->reply->body, call->collection, &records))
        r = err_set(err, ERR_TOO_LARGE, "the reply is too large; ask for fewer records at once");
    store_records_free(&records);
    params_free(&params);
    return r;
}
