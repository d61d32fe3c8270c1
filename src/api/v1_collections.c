/* /v1/collections, /v1/models, /healthz and /readyz. */
#include "api/params.h"
#include "api/route.h"
#include "base/cpu.h"
#include "json/json.h"

#include <inttypes.h>

static const char *metric_name(enum store_metric metric)
{
    static const char *const names[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};
    return names[metric];
}

static enum result too_large(enum result r, struct err *err)
{
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}

/* `"name":…,"model":…,"dimension":…,"metric":…,"count":…` */
static enum result write_summary(struct buf *out, const char *name, const struct store_stats *s)
{
    enum result r = buf_appendf(out, "\"name\":\"%s\",\"model\":", name); /* a name needs no escaping */
    if (r == ERR_OK)
        r = json_append_string(out, s->settings.model, strlen(s->settings.model));
    if (r == ERR_OK)
        r = buf_appendf(out, ",\"dimension\":%u,\"metric\":\"%s\",\"count\":%" PRIu64, s->settings.dimension,
            metric_name(s->settings.metric), s->records);
    return r;
}

enum result v1_collections_list(struct route_call *call, struct err *err)
{
    struct store *store = pipeline_store(call->pipeline);
    struct buf *body = &call->reply->body;
    char **names = NULL;
    size_t count = 0, written = 0;
    enum result r = store_list(store, &names, &count, err);
    if (r)
        return r;
    r = too_large(buf_append_str(body, "{\"collections\":["), err);
    for (size_t i = 0; i < count && r == ERR_OK; i++) {
        struct store_stats stats;
        if (!access_reaches(call->request, names[i])) /* the key does not see it */
            continue;
        r = store_stats(store, names[i], call->request->deadline_ms, &stats, err);
        if (r == ERR_NOT_FOUND) { /* dropped since it was listed */
            r = ERR_OK;
            continue;
        }
        if (r == ERR_OK)
            r = too_large(buf_append_str(body, written++ ? ",{" : "{"), err);
        if (r == ERR_OK)
            r = too_large(write_summary(body, names[i], &stats), err);
        if (r == ERR_OK)
            r = too_large(buf_append_str(body, "}"), err);
    }
    free(names);
    return r ? r : too_large(buf_append_str(body, "]}"), err);
}

/* What it is made of, and how far it is; and the end of the object. */
static enum result write_index(struct buf *body, const struct store_stats *s)
{
    static const char *const states[] = {"none", "building", "ready"};
    const struct store_index_stats *x = &s->index;
    return buf_appendf(body,
        ",\"index\":{\"state\":\"%s\",\"built\":%.4f,\"live\":%" PRIu64 ",\"dead\":%" PRIu64 ",\"waiting\":%" PRIu64
        ",\"repairs\":%" PRIu64 ",\"saves\":%" PRIu64 ",\"bytes\":{\"codes\":%" PRIu64 ",\"sketches\":%" PRIu64
        ",\"links\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"memory\":%" PRIu64 "}},\"columns\":{\"bytes\":%" PRIu64 "}}",
        states[x->state], x->built, x->live, x->dead, x->waiting, x->repairs, x->saves, x->bytes_codes, x->bytes_sketches,
        x->bytes_links, x->bytes_rows, x->bytes_memory, s->bytes_columns);
}

enum result v1_collection_stats(struct route_call *call, struct err *err)
{
    struct store_stats s;
    struct store_scale scale;
    enum result r = store_stats(pipeline_store(call->pipeline), call->collection, call->request->deadline_ms, &s, err);
    if (!r)
        r = store_scale(pipeline_store(call->pipeline), call->collection, &scale, err);
    if (r)
        return r;
    struct buf *body = &call->reply->body;
    char items[24] = "null"; /* too many to count */
    if (!s.items_unknown)
        snprintf(items, sizeof items, "%" PRIu64, s.items);
    r = buf_append_str(body, "{");
    if (r == ERR_OK)
        r = write_summary(body, call->collection, &s);
    if (r == ERR_OK)
        r = buf_appendf(body,
            ",\"items\":%s,\"damaged\":%" PRIu64 ",\"thumbnails\":%s,\"originals\":%s,\"background\":\"%s\",\"tuned\":%s,"
            "\"bytes\":{\"disk\":%" PRIu64 ",\"memory\":%" PRIu64 "}",
            items, s.damaged, s.settings.thumbnails ? "true" : "false",
            s.settings.originals ? "true" : "false",
            pipeline_background_name(s.settings.background), s.tuned ? "true" : "false", s.bytes_disk, s.bytes_memory);
    if (r == ERR_OK)
        r = buf_append_str(body, ",\"input\":");
    if (r == ERR_OK)
        r = *s.settings.input ? json_append_string(body, s.settings.input, strlen(s.settings.input)) : buf_append_str(body, "null");
    if (r == ERR_OK && scale.records)
        r = buf_appendf(body, ",\"similarity\":{\"records\":%" PRIu64 ",\"near\":%.6g,\"far\":%.6g}", scale.records, scale.near, scale.far);
    if (r == ERR_OK)
        r = write_index(body, &s);
    return too_large(r, err);
}

enum result v1_collection_create(struct route_call *call, struct err *err)
{
    struct params params = {0};
    struct pipeline_create options = {0};
    bool found;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_string(&params, "model", &found, &options.model, err);
    if (r == ERR_OK)
        r = params_string(&params, "background", &found, &options.background, err);
    if (r == ERR_OK)
        r = params_bool(&params, "originals", &found, &options.originals, err);
    if (r == ERR_OK)
        r = pipeline_create(call->pipeline, call->collection, &options, call->request->deadline_ms, err);
    params_free(&params);
    if (r)
        return r;
    call->reply->status = 201;
    return v1_collection_stats(call, err);
}

enum result v1_collection_drop(struct route_call *call, struct err *err)
{
    enum result r = store_drop(pipeline_store(call->pipeline), call->collection, call->request->deadline_ms, err);
    if (r == ERR_OK)
        call->reply->status = 204;
    return r;
}

static enum result write_text_member(struct buf *out, const char *name, const char *value)
{
    enum result r = buf_appendf(out, ",\"%s\":", name);
    return r ? r : json_append_string(out, value, strlen(value));
}

static enum result write_loaded(struct buf *out, const struct embed_info *info)
{
    enum result r = buf_appendf(out, ",\"precision\":\"%s\",\"threads\":%u,\"engine\":\"%s\"", info->precision, info->threads, info->engine);
    if (r == ERR_OK)
        r = write_text_member(out, "engine_version", info->engine_version);
    return r ? r : write_text_member(out, "device", info->device);
}

static enum result write_model(struct buf *out, const struct models_entry *e)
{
    const struct manifest *m = &e->manifest;
    bool readable = m->width > 0; /* else nothing but the name is known */
    enum result r = buf_append_str(out, "{\"name\":");
    if (r == ERR_OK)
        r = json_append_string(out, m->name, strlen(m->name));
    if (r == ERR_OK)
        r = buf_appendf(out, ",\"default\":%s,\"loaded\":%s", e->is_default ? "true" : "false", e->info ? "true" : "false");
    if (r == ERR_OK && readable)
        r = buf_appendf(out, ",\"kind\":\"%s\",\"dimension\":%u,\"input\":[%u,%u]",
            m->kind == MANIFEST_MASK ? "mask" : "embedding", m->dimension, m->width, m->height);
    if (r == ERR_OK && readable)
        r = write_text_member(out, "licence", m->licence);
    if (r == ERR_OK && e->info)
        r = write_loaded(out, e->info);
    if (r == ERR_OK && e->problem[0])
        r = write_text_member(out, "problem", e->problem);
    return r ? r : buf_append_str(out, "}");
}

enum result v1_models(struct route_call *call, struct err *err)
{
    struct buf *body = &call->reply->body;
    struct models_entry *entries = NULL;
    size_t count = 0;
    enum result r = models_list(pipeline_models(call->pipeline), &entries, &count, err);
    if (r)
        return r;
    r = buf_append_str(body, "{\"models\":[");
    for (size_t i = 0; i < count && r == ERR_OK; i++) {
        if (i)
            r = buf_append_str(body, ",");
        if (r == ERR_OK)
            r = write_model(body, &entries[i]);
    }
    free(entries);
    return too_large(r ? r : buf_append_str(body, "]}"), err);
}

/* The document names the version of the project; a test keeps it so. */
enum result v1_openapi(struct route_call *call, struct err *err)
{
    call->reply->static_body = api_openapi;
    call->reply->static_len = api_openapi_len;
    return ERR_OK;
}

enum result v1_healthz(struct route_call *call, struct err *err)
{
    return too_large(
        buf_appendf(&call->reply->body, "{\"status\":\"ok\",\"version\":\"%s\"}", call->api->options.version), err);
}

/* The server listens only after store and model are open; what remains is whether the store still answers. */
enum result v1_readyz(struct route_call *call, struct err *err)
{
    struct err why = {0};
    enum result r = store_ready(pipeline_store(call->pipeline), call->request->deadline_ms, &why);
    if (r)
        return err_set(err, ERR_BUSY, "not ready: %.400s", why.message);
    return too_large(buf_append_str(&call->reply->body, "{\"status\":\"ready\"}"), err);
}
