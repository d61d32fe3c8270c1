/*
 * Picture in, answer out.
 *
 *   bytes (or url → fetch) → decode → batcher → store
 *
 * Threads: all of it on the caller's thread, except inference (batcher.c). Decoding is limited to one picture per CPU
 * by a semaphore: with 32 workers decoding at once nobody would finish earlier, and the engine's threads would be
 * pushed off the CPU. The semaphore counts; who comes first is not kept in order, as every holder needs only a few
 * milliseconds.
 *
 * Checks come before work: the collection must exist and have this model before anything is fetched or decoded.
 */
#include "pipeline/pipeline.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "filter/filter.h"
#include "image/image.h"
#include "pipeline/batcher.h"
#include "pipeline/keep.h"

struct pipeline {
    struct pipeline_options options;
    struct models *models;
    struct jobs *jobs;
    pthread_mutex_t mutex;
    pthread_cond_t decoder_free;
    unsigned decoders_free;
};

enum result pipeline_new(const struct pipeline_options *options, struct pipeline **out, struct err *err)
{
    struct pipeline *p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory(err);
    p->options = *options;
    p->decoders_free = options->decoders ? options->decoders : cpu_count();
    pthread_mutex_init(&p->mutex, NULL);
    if (clock_cond_init(&p->decoder_free)) {
        pthread_mutex_destroy(&p->mutex);
        free(p);
        return err_no_memory(err);
    }
    const struct models_options models = {.embed = options->embed,
        .folders = options->model_folders,
        .folder_count = options->model_folder_count,
        .open = options->model_options};
    enum result r = models_new(&models, &p->models, err);
    if (r == ERR_OK)
        r = jobs_new(&p->jobs, err);
    if (r) {
        pipeline_free(p);
        return r;
    }
    *out = p;
    return ERR_OK;
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    jobs_free(p->jobs);
    models_free(p->models);
    pthread_cond_destroy(&p->decoder_free);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

struct store *pipeline_store(struct pipeline *p)
{
    return p->options.store;
}

const struct embed_info *pipeline_model(struct pipeline *p)
{
    return models_default(p->models)->info;
}

struct models *pipeline_models(struct pipeline *p)
{
    return p->models;
}

const char *pipeline_backup_folder(const struct pipeline *p)
{
    return p->options.backup_folder;
}

struct jobs *pipeline_jobs(struct pipeline *p)
{
    return p->jobs;
}

static enum result decode_limited(struct pipeline *p, const void *data, size_t len, const struct image_want *want,
    int64_t deadline_ms, struct image *out, struct err *err)
{
    int64_t asked = clock_now_us();
    pthread_mutex_lock(&p->mutex);
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_DECODE, 1);
    while (p->decoders_free == 0) {
        if (!clock_wait(&p->decoder_free, &p->mutex, deadline_ms) && p->decoders_free == 0) {
            pthread_mutex_unlock(&p->mutex);
            metrics_change(METRIC_QUEUE_LENGTH, QUEUE_DECODE, -1);
            return err_set(err, ERR_TIMEOUT, "the server is busy: the picture waited to be decoded until its deadline");
        }
    }
    p->decoders_free--;
    pthread_mutex_unlock(&p->mutex);

    int64_t began = clock_now_us();
    metrics_change(METRIC_QUEUE_LENGTH, QUEUE_DECODE, -1);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_DECODE_WAIT, began - asked);
    enum result r = image_decode(data, len, want, out, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_DECODE, clock_now_us() - began);
    metrics_add(METRIC_DECODES, r ? DECODE_REFUSED : DECODE_OK, 1);

    pthread_mutex_lock(&p->mutex);
    p->decoders_free++;
    pthread_cond_signal(&p->decoder_free);
    pthread_mutex_unlock(&p->mutex);
    return r;
}

static enum result fetch_picture(
    struct pipeline *p, const char *url, int64_t deadline_ms, struct buf *out, struct err *err)
{
    if (!p->options.fetch)
        return err_set_field(err, ERR_UNSUPPORTED, "url", "this server does not download pictures; send `image` instead");
    int64_t began = clock_now_us();
    enum result r = fetch_get(p->options.fetch, url, deadline_ms, out, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_FETCH, clock_now_us() - began);
    metrics_add(METRIC_FETCHES, r == ERR_OK ? OUTCOME_OK : r == ERR_DENIED || r == ERR_INVALID ? OUTCOME_REFUSED : OUTCOME_FAILED, 1);
    metrics_add(METRIC_FETCHED_BYTES, 0, out->len);
    if (r == ERR_OK && out->len == 0)
        r = err_set(err, ERR_INVALID, "the URL answered with an empty body");
    if (r && err)
        snprintf(err->field, sizeof err->field, "url");
    return r;
}

/* The picture's vector into `vector`, and its thumbnail into `image` where `side` is not 0. */
static enum result embed_picture(struct pipeline *p, const struct model *model, const struct pipeline_picture *picture,
    uint32_t side, int64_t deadline_ms, float *vector, struct image *image, struct err *err)
{
    struct buf fetched;
    buf_init(&fetched, LIMIT_FETCH_BYTES);
    const void *data = picture->data;
    size_t len = picture->len;
    bool from_url = !data && picture->url;
    enum result r = ERR_OK;
    if (from_url) {
        r = fetch_picture(p, picture->url, deadline_ms, &fetched, err);
        if (r)
            goto out;
        data = fetched.data;
        len = fetched.len;
    } else if (!data || len == 0) {
        r = err_set_field(err, ERR_INVALID, "image", "a picture is needed: `image` or `url`");
        goto out;
    }
    const struct manifest *m = &model->info->manifest;
    struct image_want want = {.width = m->width,
        .height = m->height,
        .resize = m->resize,
        .short_side = m->short_side,
        .thumbnail_side = side};
    struct image decoded = {0};
    r = decode_limited(p, data, len, &want, deadline_ms, &decoded, err);
    if (r) {
        if (err && r != ERR_TIMEOUT && !err->field[0])
            snprintf(err->field, sizeof err->field, "%s", from_url ? "url" : "image");
        goto out;
    }
    int64_t began = clock_now_us();
    r = batcher_run(model->batcher, decoded.pixels, vector, deadline_ms, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_EMBED, clock_now_us() - began);
    if (r)
        image_free(&decoded);
    else
        *image = decoded;
out:
    buf_free(&fetched);
    return r;
}

enum result pipeline_embed(struct pipeline *p, const struct model *model, const struct pipeline_picture *picture,
    int64_t deadline_ms, float *vector, struct err *err)
{
    struct image image = {0};
    if (!model)
        model = models_default(p->models);
    enum result r = embed_picture(p, model, picture, 0, deadline_ms, vector, &image, err);
    image_free(&image);
    return r;
}

enum result pipeline_create(struct pipeline *p, const char *collection, const struct pipeline_create *options,
    int64_t deadline_ms, struct err *err)
{
    const struct model *model = NULL;
    enum result r = models_get(p->models, options ? options->model : NULL, deadline_ms, &model, err);
    if (r)
        return r;
    const struct manifest *m = &model->info->manifest;
    if (m->kind != MANIFEST_EMBEDDING)
        return err_set_field(err, ERR_INVALID, "model", "the model %.60s makes masks, not vectors: it is no model for a collection", m->name);
    struct store_settings settings = {
        .dimension = m->dimension,
        .metric = p->options.metric,
        .thumbnails = p->options.thumbnail_side > 0,
    };
    snprintf(settings.model, sizeof settings.model, "%s", m->name);
    return store_create(p->options.store, collection, &settings, deadline_ms, err);
}

/* The collection, and the model it was made with. */
static enum result open_collection(struct pipeline *p, const char *collection, int64_t deadline_ms,
    struct store_settings *settings, const struct model **model, struct err *err)
{
    struct err why = {0};
    enum result r = store_settings(p->options.store, collection, settings, err);
    if (r)
        return r;
    r = models_get(p->models, settings->model, deadline_ms, model, &why);
    if (r == ERR_TIMEOUT)
        return err_set(err, r, "%s", why.message);
    if (r)
        return err_set_field(err, r, "model",
            "collection \"%.64s\" was made with the model %.60s (%u dimensions), which cannot be used: %.300s",
            collection, settings->model, settings->dimension, why.message);
    const struct manifest *m = &(*model)->info->manifest;
    if (settings->dimension != m->dimension || m->kind != MANIFEST_EMBEDDING)
        return err_set_field(err, ERR_INVALID, "model",
            "collection \"%.64s\" has vectors of %u dimensions, but the model %.60s of this server makes %u: put the model "
            "back that it was made with, or make a new collection",
            collection, settings->dimension, m->name, m->dimension);
    return ERR_OK;
}

/* A collection that is written to. */
struct destination {
    const char *collection;
    struct store_settings settings;
    const struct model *model;
};

/* Embed where a picture is given, then write. */
static enum result write_record(struct pipeline *p, const struct destination *to, const struct pipeline_record *record,
    int64_t deadline_ms, struct store_write *write, struct err *err)
{
    const struct store_settings *settings = &to->settings;
    float *vector = NULL;
    struct image image = {0};
    enum result r = ERR_OK;
    if (record->picture.data || record->picture.url) {
        vector = malloc(settings->dimension * sizeof *vector);
        if (!vector)
            return err_no_memory(err);
        uint32_t side = settings->thumbnails ? p->options.thumbnail_side : 0;
        r = embed_picture(p, to->model, &record->picture, side, deadline_ms, vector, &image, err);
        if (r)
            goto out;
    }
    write->fileid = record->fileid;
    write->has_itemid = record->has_itemid;
    write->itemid = record->itemid;
    write->tags = record->tags;
    write->brief = record->brief;
    write->vector = vector;
    write->dimension = vector ? settings->dimension : 0;
    write->thumbnail = image.thumbnail;
    write->thumbnail_len = image.thumbnail_len;
    int64_t began = clock_now_us();
    r = store_write(p->options.store, to->collection, write, 1, deadline_ms, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_WRITE, clock_now_us() - began);
out:
    image_free(&image);
    free(vector);
    return r;
}

enum result pipeline_add(struct pipeline *p, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, struct err *err)
{
    struct destination to = {.collection = collection};
    enum result r = open_collection(p, collection, deadline_ms, &to.settings, &to.model, err);
    if (r)
        return r;
    if (!record->picture.data && !record->picture.url)
        return err_set_field(err, ERR_INVALID, "image", "a picture is needed: `image` (base64) or `url`");
    struct pipeline_record whole = *record;
    whole.tags = record->tags ? record->tags : "[]";
    whole.brief = record->brief ? record->brief : "{}";
    struct store_write write = {.kind = STORE_PUT};
    return write_record(p, &to, &whole, deadline_ms, &write, err);
}

enum result pipeline_update(struct pipeline *p, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, bool *found, struct err *err)
{
    struct destination to = {.collection = collection};
    enum result r = open_collection(p, collection, deadline_ms, &to.settings, &to.model, err);
    if (r)
        return r;
    struct store_records present = {0};
    r = store_get_file(p->options.store, collection, record->fileid, deadline_ms, &present, err);
    /* A record whose vector is damaged is there, and an update may be what mends it. */
    bool exists = r == ERR_CORRUPT || present.count > 0;
    store_records_free(&present);
    if (r && r != ERR_CORRUPT)
        return r;
    if (!exists) {
        *found = false;
        return ERR_OK;
    }
    struct store_write write = {.kind = STORE_UPDATE};
    r = write_record(p, &to, record, deadline_ms, &write, err);
    if (r)
        return r;
    *found = write.status == ERR_OK;
    return ERR_OK;
}

enum result pipeline_search(struct pipeline *p, const char *collection, const struct pipeline_search *search,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct store_settings settings;
    const struct model *model = NULL;
    enum result r = open_collection(p, collection, deadline_ms, &settings, &model, err);
    if (r)
        return r;
    struct filter *filter = NULL;
    if (search->filter) {
        r = filter_parse(search->filter, strlen(search->filter), &filter, err);
        if (r)
            return r;
    }
    float *vector = malloc(settings.dimension * sizeof *vector);
    r = vector ? pipeline_embed(p, model, &search->picture, deadline_ms, vector, err) : err_no_memory(err);
    if (r == ERR_OK) {
        struct store_query query = {.vector = vector,
            .dimension = settings.dimension,
            .limit = search->limit,
            .offset = search->offset,
            .group = search->group,
            .filter = filter};
        int64_t began = clock_now_us();
        r = store_search(p->options.store, collection, &query, deadline_ms, out, err);
        metrics_observe(METRIC_STAGE_SECONDS, STAGE_SEARCH, clock_now_us() - began);
    }
    free(vector);
    filter_free(filter);
    return r;
}
