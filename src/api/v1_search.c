/* /v1/collections/{c}/search and /v1/embed. */
#include "api/params.h"
#include "api/route.h"
#include "api/write_json.h"
#include "base/clock.h"

static enum result write_hits(struct buf *body, const char *collection, const struct store_records *hits)
{
    enum result r = buf_append_str(body, "{\"hits\":[");
    for (size_t i = 0; i < hits->count && r == ERR_OK; i++) {
        r = buf_append_str(body, i ? ",{" : "{");
        if (r == ERR_OK)
            r = write_json_record(body, &hits->items[i]);
        if (r == ERR_OK)
            r = buf_append_str(body, ",\"distance\":");
        if (r == ERR_OK)
            r = json_append_float(body, hits->items[i].distance);
        if (r == ERR_OK)
            r = buf_append_str(body, ",\"thumbnail\":");
        if (r == ERR_OK)
            r = write_json_thumbnail(body, collection, &hits->items[i]);
        if (r == ERR_OK)
            r = buf_append_str(body, "}");
    }
    return r ? r : buf_append_str(body, "]");
}

enum result v1_search(struct route_call *call, struct err *err)
{
    struct params params;
    struct pipeline_search search = {0};
    struct store_records hits = {0};
    int64_t start = clock_now_us();
    enum result r = params_parse(call->request, true, &params, err);
    if (r == ERR_OK)
        r = params_search(&params, &search, err);
    call->read = r == ERR_OK;
    if (r == ERR_OK)
        r = pipeline_search(call->pipeline, call->collection, &search, call->request->deadline_ms, &hits, err);
    if (r == ERR_OK) {
        r = write_hits(&call->reply->body, call->collection, &hits);
        if (r == ERR_OK)
            r = buf_appendf(&call->reply->body, ",\"took_ms\":%.1f}", (double)(clock_now_us() - start) / 1000);
        if (r)
            err_set(err, r, "the reply is too large; ask for fewer hits at once");
    }
    store_records_free(&hits);
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
