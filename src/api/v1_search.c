/* /v1/collections/{c}/search and /v1/embed. */
#include "api/members.h"
#include "api/params.h"
#include "api/route.h"
#include "api/search_params.h"
#include "api/write_json.h"
#include "base/clock.h"

static enum result write_hits(
    struct buf *body, struct members_of *members, const struct store_records *hits, const float *similarities)
{
    enum result r = buf_append_str(body, "{\"hits\":[");
    members->dimension = hits->dimension;
    for (size_t i = 0; i < hits->count && r == ERR_OK; i++) {
        members->similarity = similarities[i];
        if (i)
            r = buf_append_str(body, ",");
        if (r == ERR_OK)
            r = write_members(body, members, &hits->items[i]);
    }
    return r ? r : buf_append_str(body, "]");
}

static enum result reply_hits(struct route_call *call, unsigned members, const struct store_records *hits, int64_t start, struct err *err)
{
    struct members_of m = {.members = members, .collection = call->collection};
    float *similarities = calloc(hits->count + 1, sizeof *similarities);
    enum result r = similarities ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && (members & MEMBER_SIMILARITY))
        r = pipeline_similarities(call->pipeline, call->collection, hits, similarities, err);
    if (r == ERR_OK) {
        r = write_hits(&call->reply->body, &m, hits, similarities);
        if (r == ERR_OK)
            r = buf_appendf(&call->reply->body, ",\"took_ms\":%.1f}", (double)(clock_now_us() - start) / 1000);
        if (r)
            err_set(err, r, "the reply is too large; ask for fewer hits at once");
    }
    free(similarities);
    return r;
}

enum result v1_search(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct search_params *ask = NULL;
    struct store_records hits = {0};
    int64_t start = clock_now_us();
    enum result r = params_parse(call->request, true, &params, err);
    if (r == ERR_OK)
        r = search_params_read(&params, &ask, err);
    call->read = r == ERR_OK;
    if (r == ERR_OK)
        r = pipeline_search(call->pipeline, call->collection, &ask->search, call->request->deadline_ms, &hits, err);
    if (r == ERR_OK)
        r = reply_hits(call, ask->members, &hits, start, err);
    store_records_free(&hits);
    search_params_free(ask);
    params_free(&params);
    return r;
}

static enum result write_vector(struct buf *body, const struct manifest *m, const float *vector)
{
    enum result r = buf_append_str(body, "{\"model\":");
    if (r == ERR_OK)
        r = json_append_string(body, m->name, strlen(m->name));
    if (r == ERR_OK)
        r = buf_appendf(body, ",\"dimension\":%u,\"vector\":", m->dimension);
    if (r == ERR_OK)
        r = write_json_vector(body, vector, m->dimension);
    return r ? r : buf_append_str(body, "}");
}

/* The picture and how it is to be looked at: model and background. */
static enum result read_look(struct route_call *call, struct params *params, struct pipeline_picture *picture,
    struct pipeline_look *look, struct err *err)
{
    const char *model = NULL, *background = NULL;
    bool found;
    enum result r = params_parse(call->request, true, params, err);
    if (r == ERR_OK)
        r = params_string(params, "model", &found, &model, err);
    if (r == ERR_OK)
        r = params_string(params, "background", &found, &background, err);
    if (r == ERR_OK)
        r = params_picture(params, picture, err);
    if (r == ERR_OK)
        r = pipeline_look(call->pipeline, model, background, call->request->deadline_ms, look, err);
    call->read = r == ERR_OK;
    return r;
}

enum result v1_embed(struct route_call *call, struct err *err)
{
    struct params params;
    struct pipeline_picture picture = {0};
    struct pipeline_look look = {0};
    float *vector = NULL;
    enum result r = read_look(call, &params, &picture, &look, err);
    if (r == ERR_OK) {
        vector = malloc(manifest_descriptor(&look.model->info->manifest) * sizeof *vector);
        r = vector ? pipeline_embed(call->pipeline, &look, &picture, call->request->deadline_ms, vector, err) : err_no_memory(err);
    }
    if (r == ERR_OK) {
        r = write_vector(&call->reply->body, &look.model->info->manifest, vector);
        if (r)
            err_set(err, r, "the reply is too large");
    }
    params_free(&params);
    free(vector);
    return r;
}

/* What a background mode sees: the mask as a JPEG file (format=pnm: PGM), or with show=input what the model gets of the
 * picture. */
enum result v1_mask(struct route_call *call, struct err *err)
{
    struct params params;
    struct pipeline_picture picture = {0};
    struct pipeline_look look = {0};
    struct pipeline_seen seen = {0};
    const char *show = "mask", *format = "jpeg";
    bool found;
    enum result r = read_look(call, &params, &picture, &look, err);
    if (r == ERR_OK)
        r = params_string(&params, "show", &found, &show, err);
    if (r == ERR_OK)
        r = params_string(&params, "format", &found, &format, err);
    if (r == ERR_OK && strcmp(format, "jpeg") != 0 && strcmp(format, "pnm") != 0)
        r = err_set_field(err, ERR_INVALID, "format", "format is jpeg, or pnm for PGM and PPM files without loss");
    seen.plain = strcmp(format, "pnm") == 0;
    bool input = r == ERR_OK && strcmp(show, "input") == 0;
    if (r == ERR_OK && !input && strcmp(show, "mask") != 0)
        r = err_set_field(err, ERR_INVALID, "show", "show is mask or input");
    if (look.background == IMAGE_BACKGROUND_NONE)
        look.background = IMAGE_BACKGROUND_SUBJECT;
    if (r == ERR_OK)
        r = pipeline_see(call->pipeline, &look, &picture, call->request->deadline_ms, &seen, err);
    if (r == ERR_OK) {
        call->reply->content_type = seen.plain ? "image/x-portable-anymap" : "image/jpeg";
        r = input ? buf_append(&call->reply->body, seen.input, seen.input_len)
                  : buf_append(&call->reply->body, seen.mask, seen.mask_len);
        if (r)
            err_set(err, r, "the reply is too large");
    }
    if (r == ERR_OK && look.background == IMAGE_BACKGROUND_SUBJECT)
        r = http_reply_header(call->reply, "X-Subject", seen.found ? "found" : "none");
    pipeline_seen_free(&seen);
    params_free(&params);
    return r;
}

enum result v1_thumbnail(struct route_call *call, struct err *err)
{
    struct params params;
    struct pipeline_picture picture = {0};
    enum result r = params_parse(call->request, true, &params, err);
    if (r == ERR_OK)
        r = params_picture(&params, &picture, err);
    call->read = r == ERR_OK;
    if (r == ERR_OK)
        r = pipeline_thumbnail(call->pipeline, &picture, call->request->deadline_ms, &call->reply->body, err);
    if (r == ERR_OK)
        call->reply->content_type = "image/jpeg";
    params_free(&params);
    return r;
}
