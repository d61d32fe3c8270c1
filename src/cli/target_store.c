/* A target that is a folder: the store is opened here, and pictures are embedded in this process. */
#include "cli/target_kind.h"

#include "base/clock.h"
#include "base/limits.h"
#include "server/config.h"
#include "server/wiring.h"

#include <limits.h>

struct store_target {
    struct config config;
    struct wiring *wiring;
};

static int64_t deadline(void)
{
    return clock_now_ms() + LIMIT_REQUEST_MS;
}

static void store_target_close(void *target)
{
    struct store_target *t = target;
    wiring_close(t->wiring);
    config_free(&t->config);
    free(t);
}

enum result cli_target_store_open(
    const struct cli_args *args, bool with_model, char *name, size_t size, void **out, struct err *err)
{
    struct store_target *t = calloc(1, sizeof *t);
    char absolute[PATH_MAX];
    char *argv[CLI_ARGS_MAX + 2];
    if (!t)
        return err_no_memory(err);
    memcpy(argv, args->config_argv, sizeof argv);
    enum result r = config_load(&t->config, args->config_argc, argv, err);
    if (r) {
        free(t);
        return r;
    }
    r = wiring_open(&t->config, with_model, &t->wiring, err);
    if (r) {
        config_free(&t->config);
        free(t);
        return r;
    }
    snprintf(name, size, "%s", realpath(args->data, absolute) ? absolute : args->data);
    *out = t;
    return ERR_OK;
}

static enum result store_session_open(void *target, void **session, struct err *err)
{
    (void)err;
    *session = target; /* all of it is thread-safe */
    return ERR_OK;
}

static void store_session_close(void *session)
{
    (void)session;
}

static bool store_lost(const void *session)
{
    (void)session;
    return false;
}

static struct store *store_of(void *session)
{
    return wiring_store(((struct store_target *)session)->wiring);
}

static enum result store_info(
    void *session, const char *collection, struct cli_collection_info *out, struct err *err)
{
    static const char *const states[] = {"none", "building", "ready"};
    static const char *const metrics[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};
    struct store_stats stats;
    enum result r = store_stats(store_of(session), collection, deadline(), &stats, err);
    if (r)
        return r;
    *out = (struct cli_collection_info){
        .dimension = stats.settings.dimension,
        .count = stats.records,
        .items = stats.items,
        .damaged = stats.damaged,
        .bytes_disk = stats.bytes_disk,
        .bytes_memory = stats.bytes_memory,
        .thumbnails = stats.settings.thumbnails,
        .originals = stats.settings.originals,
        .index_built = stats.index.built,
        .index_dead = stats.index.dead,
        .index_bytes = stats.index.bytes_memory,
        .columns_bytes = stats.bytes_columns,
    };
    snprintf(out->index, sizeof out->index, "%s", states[stats.index.state]);
    snprintf(out->name, sizeof out->name, "%s", collection);
    snprintf(out->model, sizeof out->model, "%s", stats.settings.model);
    snprintf(out->metric, sizeof out->metric, "%s", metrics[stats.settings.metric]);
    return ERR_OK;
}

static enum result store_list_all(
    void *session, struct cli_collection_info **out, size_t *count, struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    enum result r = store_list(store_of(session), &names, &n, err);
    if (r)
        return r;
    struct cli_collection_info *infos = calloc(n + 1, sizeof *infos);
    if (!infos)
        r = err_no_memory(err);
    for (size_t i = 0; i < n && r == ERR_OK; i++)
        r = store_info(session, names[i], &infos[i], err);
    free(names);
    if (r) {
        free(infos);
        return r;
    }
    *out = infos;
    *count = n;
    return ERR_OK;
}

/* NULL, and an error, where the target was opened without a model. */
static struct pipeline *pipeline_of(void *session, struct err *err)
{
    struct pipeline *p = wiring_pipeline(((struct store_target *)session)->wiring);
    if (!p)
        err_set(err, ERR_INTERNAL, "the model was not opened");
    return p;
}

static enum result store_create_collection(
    void *session, const char *collection, const struct cli_create *how, struct err *err)
{
    struct pipeline *p = pipeline_of(session, err);
    const struct pipeline_create options = {.model = how->model, .background = how->background, .originals = how->originals};
    return p ? pipeline_create(p, collection, &options, deadline(), err) : ERR_INTERNAL;
}

static enum result store_drop_collection(void *session, const char *collection, struct err *err)
{
    return store_drop(store_of(session), collection, deadline(), err);
}

static enum result store_fileids(void *session, const char *collection, bool from_start, int64_t after,
    int64_t *out, size_t max, size_t *count, struct err *err)
{
    struct store_records page = {0};
    enum result r = store_browse(store_of(session), collection, from_start, after,
        max < 1000 ? (uint32_t)max : 1000, deadline(), &page, err);
    if (r)
        return r;
    for (size_t i = 0; i < page.count; i++)
        out[i] = page.items[i].fileid;
    *count = page.count;
    store_records_free(&page);
    return ERR_OK;
}

static enum result store_put(
    void *session, const char *collection, const struct cli_put *put, struct err *err)
{
    struct pipeline *p = pipeline_of(session, err);
    if (!p)
        return ERR_INTERNAL;
    struct pipeline_record record = {
        .fileid = put->fileid,
        .has_itemid = put->has_itemid,
        .itemid = put->itemid,
        .tags = put->tags,
        .brief = put->brief,
        .picture = {.data = put->picture.data, .len = put->picture.len, .url = put->picture.url},
    };
    return pipeline_add(p, collection, &record, deadline(), err);
}

/* The records of the pipeline as hits, with copies of their texts. */
static enum result take_hits(struct store_records *records, struct cli_hits *out, struct err *err)
{
    struct cli_hits hits = {.items = calloc(records->count + 1, sizeof *hits.items)};
    if (!hits.items)
        return err_no_memory(err);
    for (size_t i = 0; i < records->count; i++) {
        struct store_record *r = &records->items[i];
        struct cli_hit *hit = &hits.items[hits.count++];
        *hit = (struct cli_hit){.fileid = r->fileid, .itemid = r->itemid, .distance = r->distance};
        hit->tags = strdup(r->tags ? r->tags : "[]");
        hit->brief = strdup(r->brief ? r->brief : "{}");
        if (!hit->tags || !hit->brief) {
            cli_hits_free(&hits);
            return err_no_memory(err);
        }
    }
    *out = hits;
    return ERR_OK;
}

static enum result store_search_pictures(void *session, const char *collection, const struct cli_query *query,
    struct cli_hits *out, struct err *err)
{
    struct pipeline *p = pipeline_of(session, err);
    struct store_records records = {0};
    if (!p)
        return ERR_INTERNAL;
    struct pipeline_search search = {
        .picture = {.data = query->picture.data, .len = query->picture.len, .url = query->picture.url},
        .limit = query->limit,
        .offset = query->offset,
        .group = query->group,
        .filter = query->filter,
    };
    const struct pipeline_query record = {.has_fileid = true, .fileid = query->fileid};
    if (query->has_fileid) {
        search.queries = &record;
        search.query_count = 1;
    }
    enum result r = pipeline_search(p, collection, &search, deadline(), &records, err);
    if (r == ERR_OK)
        r = take_hits(&records, out, err);
    store_records_free(&records);
    return r;
}

const struct cli_target_kind cli_target_store = {
    .close = store_target_close,
    .session_open = store_session_open,
    .session_close = store_session_close,
    .lost = store_lost,
    .list = store_list_all,
    .create = store_create_collection,
    .drop = store_drop_collection,
    .stats = store_info,
    .fileids = store_fileids,
    .put = store_put,
    .search = store_search_pictures,
};
