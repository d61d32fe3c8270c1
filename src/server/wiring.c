#include "server/wiring.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/log.h"
#include "server/places.h"

#include <limits.h>
#include <strings.h>

#define THUMBNAIL_SIDE 256
#define LOCK_WAIT_MS 3000 /* a server that was told to stop may need a moment to let go of the lock */

struct wiring {
    struct store *store;
    struct embed *embed;
    struct fetch *fetch;
    struct pipeline *pipeline;
    struct cage *cage;
    bool images;
};

/* --- opening -------------------------------------------------------------------------------------------------- */

static enum store_milvus_consistency consistency_of(const struct config *config)
{
    if (strcmp(config->milvus_consistency, "strong") == 0)
        return STORE_MILVUS_STRONG;
    return strcmp(config->milvus_consistency, "bounded") == 0 ? STORE_MILVUS_BOUNDED : STORE_MILVUS_SESSION;
}

static enum result open_milvus(const struct config *config, struct store **out, struct err *err)
{
    char uri[320];
    snprintf(uri, sizeof uri, "http://%s:%u", config->milvus_host ? config->milvus_host : "", config->milvus_port);
    struct store_milvus_options options = {
        .uri = config->milvus_uri ? config->milvus_uri : uri,
        .user = config->milvus_user,
        .password = config->milvus_password,
        .token = config->milvus_token,
        .database = config->milvus_db,
        .ca = config->milvus_ca,
        .cert = config->milvus_cert,
        .key = config->milvus_key,
        .index = config->milvus_index,
        .ef = config->milvus_ef,
        .nprobe = config->milvus_nprobe,
        .timeout_ms = config->milvus_timeout,
        .consistency = consistency_of(config),
        .metric = config->metric_given ? config->metric : NULL,
        .data = config->thumbnails ? config->data : NULL,
        .deadline_ms = clock_now_ms() + config->milvus_timeout,
    };
    return store_open_milvus(&options, out, err);
}

enum result wiring_open_store(const struct config *config, const char *backend, struct store **out, struct err *err)
{
    if (strcmp(backend, "milvus") == 0)
        return open_milvus(config, out, err);
    struct store_open_options options = {
        .data = config->data, .deadline_ms = clock_now_ms() + LOCK_WAIT_MS, .warm = true};
    return store_open_embedded(&options, out, err);
}

static enum result open_model(
    struct wiring *w, const struct config *config, const struct places *places, struct err *err)
{
    char folder[PATH_MAX * 2];
    enum result r = image_init(err);
    if (r)
        return r;
    w->images = true;
    r = places_model(config, places, config->model, folder, sizeof folder, err);
    if (r)
        return r;
    struct embed_options options = {
        .folder = folder, .engine = config->engine, .device = config->device, .threads = config->threads, .precision = config->precision};
    r = embed_open(&options, &w->embed, err);
    if (r)
        return r;
    const struct manifest *m = &embed_describe(w->embed)->manifest;
    if (config->vector_dimension && config->vector_dimension != m->dimension)
        return err_set(err, ERR_INVALID,
            "VECTOR_DIMENSION is %u, but the model %s has %u dimensions: set it to %u or leave it away, or choose another model",
            config->vector_dimension, m->name, m->dimension, m->dimension);
    return ERR_OK;
}

/* First of all, while this process is small and has no threads. */
static enum result open_cage(struct wiring *w, const struct config *config, struct err *err)
{
    struct err why = {0};
    if (strcmp(config->sandbox, "no") == 0)
        return ERR_OK;
    enum result r = cage_open(&(struct cage_options){.workers = cpu_count()}, &w->cage, &why);
    if (r && strcmp(config->sandbox, "yes") == 0)
        return err_set(err, r, "--sandbox yes: %.400s", why.message);
    if (r)
        log_line(LOG_WARN, "pictures are decoded without a sandbox: %s", why.message);
    return ERR_OK;
}

static enum store_metric metric_of(const struct config *config)
{
    if (strcasecmp(config->metric, "IP") == 0)
        return STORE_IP;
    return strcasecmp(config->metric, "COSINE") == 0 ? STORE_COSINE : STORE_L2;
}

static enum result open_parts(struct wiring *w, const struct config *config, bool with_model, struct err *err)
{
    enum result r = with_model ? open_cage(w, config, err) : ERR_OK; /* before anything that starts threads */
    if (r == ERR_OK)
        r = wiring_open_store(config, config->backend, &w->store, err);
    if (r || !with_model)
        return r;
    struct places places;
    places_find(config, &places);
    r = open_model(w, config, &places, err);
    if (r)
        return r;
    struct fetch_options fetch_options = {
        .allow = (const char *const *)config->fetch_allow, .allow_count = config->fetch_allow_count};
    r = fetch_new(&fetch_options, &w->fetch, err);
    if (r)
        return r;
    struct pipeline_options options = {
        .store = w->store,
        .embed = w->embed,
        .model_folders = places.list,
        .model_folder_count = places.count,
        .mask_model = config->mask_model,
        .model_options = {.engine = config->engine, .device = config->device, .threads = config->threads, .precision = config->precision},
        .fetch = w->fetch,
        .cage = w->cage,
        .metric = metric_of(config),
        .thumbnail_side = config->thumbnails ? THUMBNAIL_SIDE : 0,
        .backup_folder = config->backup_dir,
    };
    return pipeline_new(&options, &w->pipeline, err);
}

enum result wiring_open(const struct config *config, bool with_model, struct wiring **out, struct err *err)
{
    struct wiring *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory(err);
    enum result r = open_parts(w, config, with_model, err);
    if (r) {
        wiring_close(w);
        return r;
    }
    *out = w;
    return ERR_OK;
}

void wiring_close(struct wiring *w)
{
    if (!w)
        return;
    pipeline_free(w->pipeline);
    fetch_free(w->fetch);
    embed_close(w->embed);
    if (w->images)
        image_shutdown();
    cage_close(w->cage);
    store_close(w->store);
    free(w);
}

struct pipeline *wiring_pipeline(struct wiring *w)
{
    return w->pipeline;
}

struct store *wiring_store(struct wiring *w)
{
    return w->store;
}
