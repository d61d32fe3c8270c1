/* What every backend shares: the checks of arguments, and the memory of results. */
#include "store/store_backend.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/parse.h"
#include "filter/interpret.h"
#include "kernel/kernel.h"

#include <inttypes.h>

static enum result check_call(const char *collection, int64_t deadline_ms, struct err *err)
{
    if (!collection || !parse_is_collection_name(collection))
        return err_set_field(err, ERR_INVALID, "collection",
            "a collection's name has 1 to %d letters, digits and underscores, and does not begin with a "
            "digit",
            LIMIT_COLLECTION_NAME);
    if (clock_passed(deadline_ms))
        return err_set(err, ERR_TIMEOUT, "no time was left for collection \"%s\"", collection);
    return ERR_OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    store->backend->close(store->state);
    free(store);
}

enum result store_ready(struct store *store, int64_t deadline_ms, struct err *err)
{
    return store->backend->ready ? store->backend->ready(store->state, deadline_ms, err) : ERR_OK;
}

enum result store_create(struct store *store, const char *collection, const struct store_settings *settings,
    int64_t deadline_ms, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    if (r)
        return r;
    if (settings->dimension < 1 || settings->dimension > LIMIT_DIMENSION)
        return err_set_field(err, ERR_INVALID, "dimension", "a vector has 1 to %d components, not %" PRIu32,
            LIMIT_DIMENSION, settings->dimension);
    if (settings->descriptor && (settings->descriptor < settings->dimension || settings->descriptor > LIMIT_DIMENSION))
        return err_set_field(err, ERR_INVALID, "dimension",
            "a descriptor has at least the %" PRIu32 " components of its vector and at most %d, not %" PRIu32,
            settings->dimension, LIMIT_DIMENSION, settings->descriptor);
    struct store_settings whole = *settings;
    if (!whole.descriptor)
        whole.descriptor = whole.dimension;
    if (!memchr(settings->model, '\0', sizeof settings->model))
        return err_set_field(
            err, ERR_INVALID, "model", "a model's name has at most %zu bytes", sizeof settings->model - 1);
    if (settings->metric != STORE_L2 && settings->metric != STORE_IP && settings->metric != STORE_COSINE)
        return err_set_field(err, ERR_INVALID, "metric", "the metric is L2, IP or COSINE");
    return store->backend->create(store->state, collection, &whole, deadline_ms, err);
}

enum result store_drop(struct store *store, const char *collection, int64_t deadline_ms, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    return r ? r : store->backend->drop(store->state, collection, deadline_ms, err);
}

enum result store_settings(
    struct store *store, const char *collection, struct store_settings *out, struct err *err)
{
    enum result r = check_call(collection, CLOCK_NO_DEADLINE, err);
    return r ? r : store->backend->settings(store->state, collection, out, err);
}

enum result store_list(struct store *store, char ***names, size_t *count, struct err *err)
{
    return store->backend->list(store->state, names, count, err);
}

enum result store_stats(struct store *store, const char *collection, int64_t deadline_ms,
    struct store_stats *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    return r ? r : store->backend->stats(store->state, collection, deadline_ms, out, err);
}

enum result store_count(
    struct store *store, const char *collection, int64_t deadline_ms, uint64_t *out, struct err *err)
{
    return store_count_where(store, collection, NULL, deadline_ms, out, err);
}

enum result store_count_where(struct store *store, const char *collection, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    return r ? r : store->backend->count(store->state, collection, filter, deadline_ms, out, err);
}

static enum result check_text(
    const char *text, const char *field, size_t max, int64_t fileid, struct err *err)
{
    if (!text)
        return ERR_OK;
    size_t n = strnlen(text, max + 1);
    if (n == 0)
        return err_set_field(
            err, ERR_INVALID, field, "%s of fileid %" PRId64 " is empty, not JSON", field, fileid);
    if (n > max)
        return err_set_field(err, ERR_TOO_LARGE, field, "%s of fileid %" PRId64 " is longer than %zu bytes",
            field, fileid, max);
    return ERR_OK;
}

static enum result check_write(const struct store_write *w, struct err *err)
{
    if (w->kind != STORE_PUT && w->kind != STORE_UPDATE && w->kind != STORE_DELETE)
        return err_set(err, ERR_INVALID, "there is no such kind of write");
    if (w->kind == STORE_PUT && (!w->vector || !w->tags || !w->brief))
        return err_set(
            err, ERR_INVALID, "fileid %" PRId64 ": a whole record needs a vector, tags and brief", w->fileid);
    if (w->thumbnail_len > LIMIT_THUMBNAIL_BYTES)
        return err_set_field(err, ERR_TOO_LARGE, "thumbnail",
            "the thumbnail of fileid %" PRId64 " has more than %d bytes", w->fileid, LIMIT_THUMBNAIL_BYTES);
    if (w->thumbnail_len && !w->thumbnail)
        return err_set_field(err, ERR_INVALID, "thumbnail",
            "the thumbnail of fileid %" PRId64 " has a length and no bytes", w->fileid);
    if (w->original_len > LIMIT_BODY || (w->original_len && !w->original))
        return err_set_field(err, ERR_TOO_LARGE, "image", "the picture of fileid %" PRId64 " has more than %d bytes, or none",
            w->fileid, LIMIT_BODY);
    enum result r = check_text(w->tags, "tags", LIMIT_TAGS_TEXT, w->fileid, err);
    return r ? r : check_text(w->brief, "brief", LIMIT_BRIEF_TEXT, w->fileid, err);
}

enum result store_write(struct store *store, const char *collection, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    if (!r && count > LIMIT_WRITES)
        r = err_set(err, ERR_TOO_LARGE, "%zu records in one call; at most %d", count, LIMIT_WRITES);
    for (size_t i = 0; !r && i < count; i++)
        r = check_write(&writes[i], err);
    return r ? r : store->backend->write(store->state, collection, writes, count, deadline_ms, err);
}

enum result store_search(struct store *store, const char *collection, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    if (r)
        return r;
    if (!query->vector)
        return err_set_field(err, ERR_INVALID, "vector", "a search needs a vector");
    if (query->limit < 1 || (uint64_t)query->limit + query->offset > LIMIT_WINDOW)
        return err_set_field(
            err, ERR_INVALID, "limit", "limit is at least 1, and limit + offset at most %d", LIMIT_WINDOW);
    return store->backend->search(store->state, collection, query, deadline_ms, out, err);
}

enum result store_get_file(struct store *store, const char *collection, int64_t fileid, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    return r ? r : store->backend->get(store->state, collection, false, fileid, deadline_ms, out, err);
}

enum result store_get_item(struct store *store, const char *collection, int64_t itemid, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    return r ? r : store->backend->get(store->state, collection, true, itemid, deadline_ms, out, err);
}

enum result store_browse_where(struct store *store, const char *collection, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    if (!r && (browse->limit < 1 || browse->limit > LIMIT_WINDOW))
        r = err_set_field(err, ERR_INVALID, "limit", "limit is 1 to %d", LIMIT_WINDOW);
    return r ? r : store->backend->browse(store->state, collection, browse, deadline_ms, out, err);
}

enum result store_browse(struct store *store, const char *collection, bool from_start, int64_t after,
    uint32_t limit, int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct store_browse browse = {.from_start = from_start, .after = after, .limit = limit};
    return store_browse_where(store, collection, &browse, deadline_ms, out, err);
}

/* Delete these; how many of them were there is added to *deleted. */
static enum result delete_records(struct store *store, const char *collection, const struct store_records *records,
    int64_t deadline_ms, uint64_t *deleted, struct err *err)
{
    struct store_write *writes = calloc(records->count + 1, sizeof *writes);
    if (!writes)
        return err_no_memory(err);
    for (size_t i = 0; i < records->count; i++)
        writes[i] = (struct store_write){.kind = STORE_DELETE, .fileid = records->items[i].fileid};
    enum result r = store_write(store, collection, writes, records->count, deadline_ms, err);
    for (size_t i = 0; !r && i < records->count; i++)
        *deleted += writes[i].existed;
    free(writes);
    return r;
}

enum result store_delete_where(struct store *store, const char *collection, const struct filter *filter,
    int64_t deadline_ms, uint64_t *deleted, struct err *err)
{
    *deleted = 0;
    if (!filter)
        return err_set_field(err, ERR_INVALID, "filter",
            "deleting needs a filter that says what; to delete everything, drop the collection");
    struct store_browse browse = {.from_start = true, .limit = LIMIT_WRITES, .filter = filter};
    bool more = true;
    enum result r = ERR_OK;
    while (!r && more) {
        struct store_records page = {0};
        r = store_browse_where(store, collection, &browse, deadline_ms, &page, err);
        if (!r && page.count)
            r = delete_records(store, collection, &page, deadline_ms, deleted, err);
        more = page.more;
        browse.from_start = false;
        browse.after = page.next;
        store_records_free(&page);
    }
    return r;
}

enum result store_facets(struct store *store, const char *collection, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    if (!r && (query->limit < 1 || query->limit > LIMIT_FACET_VALUES))
        r = err_set_field(err, ERR_INVALID, "limit", "limit is 1 to %d", LIMIT_FACET_VALUES);
    if (!r && !store->backend->facets)
        r = err_set(err, ERR_UNSUPPORTED, "the store %s does not count values", store->backend->name);
    return r ? r : store->backend->facets(store->state, collection, query, deadline_ms, out, err);
}

void store_facets_free(struct store_facets *facets)
{
    for (size_t i = 0; i < facets->count; i++) {
        for (size_t j = 0; j < facets->items[i].count; j++)
            free(facets->items[i].values[j].json);
        free(facets->items[i].values);
        free(facets->items[i].field);
    }
    free(facets->items);
    *facets = (struct store_facets){0};
}

enum result store_scale(struct store *store, const char *collection, struct store_scale *out, struct err *err)
{
    *out = (struct store_scale){0};
    enum result r = check_call(collection, 0, err);
    return r || !store->backend->scale ? r : store->backend->scale(store->state, collection, out, err);
}

enum result store_thumbnail(struct store *store, const char *collection, int64_t fileid, int64_t deadline_ms,
    struct buf *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    return r ? r : store->backend->thumbnail(store->state, collection, fileid, deadline_ms, out, err);
}

enum result store_original(struct store *store, const char *collection, int64_t fileid, int64_t deadline_ms,
    struct buf *out, struct err *err)
{
    enum result r = check_call(collection, deadline_ms, err);
    if (!r && !store->backend->original)
        r = err_set(err, ERR_NOT_FOUND, "the %s backend keeps no originals", store->backend->name);
    return r ? r : store->backend->original(store->state, collection, fileid, deadline_ms, out, err);
}

enum result store_check(struct store *store, store_check_fn report, void *user, struct err *err)
{
    return store->backend->check(store->state, report, user, err);
}

bool store_filter_matches(
    const struct filter *filter, int64_t fileid, int64_t itemid, const char *tags, const char *brief)
{
    if (!filter)
        return true;
    struct filter_record record = {
        .fileid = fileid,
        .itemid = itemid,
        .tags = json_tokener_parse(tags),
        .brief = json_tokener_parse(brief),
    };
    bool yes = filter_interpret(filter, &record) == FILTER_TRUE;
    json_object_put(record.tags);
    json_object_put(record.brief);
    return yes;
}

void store_records_free(struct store_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        free(records->items[i].tags);
        free(records->items[i].brief);
        free(records->items[i].vector);
    }
    free(records->items);
    *records = (struct store_records){0};
}

enum result store_vector_to_f16(
    const float *vector, uint32_t given, uint32_t dimension, const char *what, uint16_t *out, struct err *err)
{
    if (given && given != dimension)
        return err_set_field(err, ERR_INVALID, "vector",
            "%s has %" PRIu32 " components; the collection's have %" PRIu32, what, given, dimension);
    kernel_get()->f32_to_f16(vector, out, dimension);
    for (uint32_t i = 0; i < dimension; i++)
        if ((out[i] & 0x7c00) == 0x7c00) /* infinity or NaN */
            return err_set_field(err, ERR_INVALID, "vector",
                "%s: component %" PRIu32 " is not a finite number between -65504 and 65504", what, i);
    return ERR_OK;
}
