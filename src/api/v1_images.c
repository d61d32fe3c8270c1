/* /v1/collections/{c}/images: single records, their thumbnails, browsing. */
#include "api/members.h"
#include "api/route.h"
#include "base/parse.h"
#include "pipeline/filtered.h"

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

static enum result no_such_record(const struct route_call *call, int64_t fileid, struct err *err)
{
    return err_set_field(err, ERR_NOT_FOUND, "fileid", "collection \"%.64s\" has no picture with fileid %" PRId64, call->collection, fileid);
}

/* The whole record, or with `patch` what is given of it. */
static enum result write_image(struct route_call *call, bool patch, struct err *err)
{
    struct params params = {0};
    struct pipeline_record record = {0};
    bool found = true;
    int64_t deadline = call->request->deadline_ms;
    enum result r = path_fileid(call, &record.fileid, err);
    if (r == ERR_OK)
        r = params_parse(call->request, true, &params, err);
    if (r == ERR_OK)
        r = params_record(&params, &record, err);
    call->read = r == ERR_OK;
    if (r == ERR_OK)
        r = patch ? pipeline_update(call->pipeline, call->collection, &record, deadline, &found, err)
                  : pipeline_add(call->pipeline, call->collection, &record, deadline, err);
    if (r == ERR_OK && !found)
        r = no_such_record(call, record.fileid, err);
    if (r == ERR_OK)
        r = buf_appendf(&call->reply->body, "{\"fileid\":%" PRId64 "}", record.fileid);
    params_free(&params);
    return r;
}

enum result v1_image_put(struct route_call *call, struct err *err)
{
    return write_image(call, false, err);
}

enum result v1_image_patch(struct route_call *call, struct err *err)
{
    return write_image(call, true, err);
}

enum result v1_image_get(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct store_records records = {0};
    struct members_of members = {.collection = call->collection};
    int64_t fileid;
    enum result r = path_fileid(call, &fileid, err);
    if (r == ERR_OK)
        r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_members(&params, MEMBERS_OF_RECORD | MEMBERS_VECTOR, MEMBERS_OF_RECORD | MEMBER_VECTORS, &members.members, err);
    if (r == ERR_OK)
        r = store_get_file(pipeline_store(call->pipeline), call->collection, fileid, call->request->deadline_ms, &records, err);
    if (r == ERR_OK && records.count == 0)
        r = no_such_record(call, fileid, err);
    if (r == ERR_OK) {
        members.dimension = records.dimension;
        if (write_members(&call->reply->body, &members, &records.items[0]))
            r = err_set(err, ERR_TOO_LARGE, "the reply is too large");
    }
    store_records_free(&records);
    params_free(&params);
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

enum result v1_image_original(struct route_call *call, struct err *err)
{
    int64_t fileid;
    enum result r = path_fileid(call, &fileid, err);
    if (r == ERR_OK)
        r = pipeline_original(call->pipeline, call->collection, fileid, call->request->deadline_ms, &call->reply->body,
            &call->reply->content_type, err);
    if (r)
        return r;
    /* Strangers' bytes: whatever they are taken for, nothing in them runs. */
    r = http_reply_header(call->reply, "Content-Security-Policy", "default-src 'none'; sandbox");
    return r ? r : http_reply_header(call->reply, "Cache-Control", "private, max-age=60");
}

/* The records, then where to go on. */
static enum result write_page(struct buf *body, struct members_of *members, const struct store_records *records)
{
    enum result r = buf_append_str(body, "{\"images\":[");
    members->dimension = records->dimension;
    for (size_t i = 0; i < records->count && r == ERR_OK; i++) {
        if (i)
            r = buf_append_str(body, ",");
        if (r == ERR_OK)
            r = write_members(body, members, &records->items[i]);
    }
    if (r == ERR_OK && records->more)
        r = buf_appendf(body, "],\"next\":%" PRId64 "}", records->next);
    else if (r == ERR_OK)
        r = buf_append_str(body, "],\"next\":null}");
    return r;
}

static enum result read_browse(struct params *params, struct pipeline_browse *browse, unsigned *members, struct err *err)
{
    bool found, has_after = false;
    int64_t limit = BROWSE_LIMIT_DEFAULT;
    enum result r = params_i64(params, "after", &has_after, &browse->after, err);
    if (r == ERR_OK)
        r = params_i64(params, "limit", &found, &limit, err);
    if (r == ERR_OK && (limit < 1 || limit > BROWSE_LIMIT_MAX))
        r = err_set_field(err, ERR_INVALID, "limit", "limit must be between 1 and %d", BROWSE_LIMIT_MAX);
    if (r == ERR_OK)
        r = params_string(params, "filter", &found, &browse->filter, err);
    if (r == ERR_OK)
        r = params_members(params, MEMBERS_OF_RECORD | MEMBERS_VECTOR, MEMBERS_OF_RECORD, members, err);
    browse->from_start = !has_after;
    browse->limit = (uint32_t)limit;
    browse->with_vectors = *members & MEMBERS_VECTOR;
    return r;
}

enum result v1_images_browse(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct store_records records = {0};
    struct pipeline_browse browse = {0};
    struct members_of members = {.collection = call->collection};
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = read_browse(&params, &browse, &members.members, err);
    if (r == ERR_OK)
        r = pipeline_browse(call->pipeline, call->collection, &browse, call->request->deadline_ms, &records, err);
    if (r == ERR_OK && write_page(&call->reply->body, &members, &records))
        r = err_set(err, ERR_TOO_LARGE, "the reply is too large; ask for fewer records at once");
    store_records_free(&records);
    params_free(&params);
    return r;
}
