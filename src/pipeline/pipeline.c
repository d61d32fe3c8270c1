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
#include "image/subject.h"
#include "pipeline/background.h"
#include "pipeline/batcher.h"
#include "pipeline/internal.h"
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

#define SHARE_THREADS 8u

void pipeline_share_out(void *(*work)(void *user), void *user, size_t most)
{
    pthread_t threads[SHARE_THREADS];
    unsigned want = 2 * cpu_count() < SHARE_THREADS ? 2 * cpu_count() : SHARE_THREADS, count = 0;
    while (count < want && count < most && pthread_create(&threads[count], NULL, work, user) == 0)
        count++;
    if (count == 0)
        work(user);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
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
    enum result r = p->options.cage ? cage_decode(p->options.cage, data, len, want, deadline_ms, out, err)
                                    : image_decode(data, len, want, out, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_DECODE, clock_now_us() - began);
    if (!p->options.cage) /* which counts its own, and why */
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

/* The bytes of a picture: `picture`'s own, or what its url gave, which `fetched` then holds. */
static enum result picture_bytes(struct pipeline *p, const struct pipeline_picture *picture, int64_t deadline_ms,
    struct buf *fetched, const void **data, size_t *len, struct err *err)
{
    *data = picture->data;
    *len = picture->len;
    if (!picture->data && picture->url) {
        enum result r = fetch_picture(p, picture->url, deadline_ms, fetched, err);
        if (r)
            return r;
        *data = fetched->data;
        *len = fetched->len;
    } else if (!picture->data || picture->len == 0) {
        return err_set_field(err, ERR_INVALID, "image", "a picture is needed: `image` or `url`");
    }
    return ERR_OK;
}

/* Longest side of pipeline_thumbnail() where no thumbnails are kept. */
#define THUMBNAIL_SIDE 384

/* The pixels that the model gets, and the thumbnail where `side` is not 0. `seen` may be NULL. */
static enum result see_picture(struct pipeline *p, const struct pipeline_look *look, const struct pipeline_picture *picture,
    uint32_t side, int64_t deadline_ms, struct image *out, struct background_seen *seen, struct err *err)
{
    const struct manifest *m = &look->model->info->manifest;
    struct background_job job = {.model = look->model, .mode = look->background, .deadline_ms = deadline_ms};
    struct image_want want = {.width = m->width,
        .height = m->height,
        .resize = m->resize,
        .short_side = m->short_side,
        .thumbnail_side = side};
    struct image decoded = {0};
    struct buf fetched;
    const void *data;
    size_t len;
    buf_init(&fetched, LIMIT_FETCH_BYTES);
    enum result r = picture_bytes(p, picture, deadline_ms, &fetched, &data, &len, err);
    if (r)
        goto out;
    if (look->background) {
        want = background_canvas(m, side);
        r = background_masks(p->models, p->options.mask_model, deadline_ms, &job.masks, err);
        if (r)
            goto out;
    }
    memcpy(want.region, picture->region, sizeof want.region);
    r = decode_limited(p, data, len, &want, deadline_ms, &decoded, err);
    if (r && err && r != ERR_TIMEOUT && !err->field[0])
        snprintf(err->field, sizeof err->field, "%s", !picture->data ? "url" : "image");
    if (r == ERR_OK && look->background)
        r = background_apply(&job, &decoded, seen, err);
    if (r)
        image_free(&decoded);
    else
        *out = decoded;
out:
    buf_free(&fetched);
    return r;
}

enum result pipeline_pixels(struct pipeline *p, const struct pipeline_look *look, const struct pipeline_picture *picture,
    int64_t deadline_ms, struct image *out, struct err *err)
{
    return see_picture(p, look, picture, 0, deadline_ms, out, NULL, err);
}

/* The picture's vector into `vector`, and its thumbnail into `image` where `side` is not 0. */
static enum result embed_picture(struct pipeline *p, const struct pipeline_look *look, const struct pipeline_picture *picture,
    uint32_t side, int64_t deadline_ms, float *vector, struct image *image, struct err *err)
{
    struct image decoded = {0};
    enum result r = see_picture(p, look, picture, side, deadline_ms, &decoded, NULL, err);
    if (r)
        return r;
    int64_t began = clock_now_us();
    r = batcher_run(look->model->batcher, decoded.pixels, vector, deadline_ms, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_EMBED, clock_now_us() - began);
    if (r)
        image_free(&decoded);
    else
        *image = decoded;
    return r;
}

static const char *const background_names[] = {[IMAGE_BACKGROUND_NONE] = "none",
    [IMAGE_BACKGROUND_SUBJECT] = "subject",
    [IMAGE_BACKGROUND_WHITE] = "white",
    [IMAGE_BACKGROUND_BLACK] = "black"};
#define BACKGROUND_COUNT (sizeof background_names / sizeof *background_names)

const char *pipeline_background_name(unsigned background)
{
    return background < BACKGROUND_COUNT ? background_names[background] : "unknown";
}

enum result pipeline_look(struct pipeline *p, const char *model, const char *background, int64_t deadline_ms,
    struct pipeline_look *out, struct err *err)
{
    const struct model *found = NULL, *masks = NULL;
    size_t mode = 0;
    while (background && mode < BACKGROUND_COUNT && strcmp(background, background_names[mode]) != 0)
        mode++;
    if (mode == BACKGROUND_COUNT)
        return err_set_field(
            err, ERR_INVALID, "background", "background is none, subject, white or black, not \"%.40s\"", background);
    enum result r = models_get(p->models, model, deadline_ms, &found, err);
    if (r)
        return r;
    const struct manifest *m = &found->info->manifest;
    if (m->kind != MANIFEST_EMBEDDING)
        return err_set_field(err, ERR_INVALID, "model", "the model %.60s makes masks, not vectors", m->name);
    if (!background)
        mode = m->background;
    if (mode != IMAGE_BACKGROUND_NONE)
        r = background_masks(p->models, p->options.mask_model, deadline_ms, &masks, err);
    if (r == ERR_OK)
        *out = (struct pipeline_look){.model = found, .background = (enum image_background)mode};
    return r;
}

enum result pipeline_embed(struct pipeline *p, const struct pipeline_look *look, const struct pipeline_picture *picture,
    int64_t deadline_ms, float *vector, struct err *err)
{
    struct image image = {0};
    struct pipeline_look usual;
    enum result r = ERR_OK;
    if (!look)
        r = pipeline_look(p, NULL, NULL, deadline_ms, &usual, err);
    if (r == ERR_OK)
        r = embed_picture(p, look ? look : &usual, picture, 0, deadline_ms, vector, &image, err);
    image_free(&image);
    return r;
}

enum result pipeline_thumbnail(
    struct pipeline *p, const struct pipeline_picture *picture, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct image image = {0};
    struct pipeline_look look;
    uint32_t side = p->options.thumbnail_side ? p->options.thumbnail_side : THUMBNAIL_SIDE;
    enum result r = pipeline_look(p, NULL, "none", deadline_ms, &look, err);
    if (r == ERR_OK)
        r = see_picture(p, &look, picture, side, deadline_ms, &image, NULL, err);
    if (r)
        return r;
    r = buf_append(out, image.thumbnail, image.thumbnail_len);
    if (r)
        err_set(err, r, "the thumbnail is too large");
    image_free(&image);
    return r;
}

enum result pipeline_original(struct pipeline *p, const char *collection, int64_t fileid, int64_t deadline_ms, struct buf *out,
    const char **type, struct err *err)
{
    enum result r = store_original(p->options.store, collection, fileid, deadline_ms, out, err);
    if (r)
        return r;
    *type = image_sniff(out->data, out->len);
    if (!*type) /* it was decoded once; whoever reads it now may know it */
        *type = "application/octet-stream";
    return ERR_OK;
}

enum result pipeline_see(struct pipeline *p, const struct pipeline_look *look, const struct pipeline_picture *picture,
    int64_t deadline_ms, struct pipeline_seen *out, struct err *err)
{
    struct image image = {0};
    struct background_seen seen = {0};
    struct pipeline_seen made = {0};
    const struct manifest *m = &look->model->info->manifest;
    enum result r = see_picture(p, look, picture, 0, deadline_ms, &image, &seen, err);
    if (r)
        return r;
    const struct image_pixels mask = {seen.mask, m->canvas_side, m->canvas_side}, input = {image.pixels, m->width, m->height};
    if (image_mask_save(&mask, out->plain, &made.mask, &made.mask_len) || image_pixels_save(&input, out->plain, &made.input, &made.input_len)) {
        r = err_no_memory(err);
        pipeline_seen_free(&made);
    } else {
        made.found = seen.found;
        *out = made;
    }
    free(seen.mask);
    image_free(&image);
    return r;
}

void pipeline_seen_free(struct pipeline_seen *seen)
{
    free(seen->mask);
    free(seen->input);
    *seen = (struct pipeline_seen){0};
}

void pipeline_name_model(const struct manifest *m, struct store_settings *settings)
{
    snprintf(settings->model, sizeof settings->model, "%s", m->name);
    _Static_assert(sizeof settings->input >= MANIFEST_SIGHT_BYTES, "what a model is given must fit");
    manifest_sight(m, settings->input);
}

enum result pipeline_create(struct pipeline *p, const char *collection, const struct pipeline_create *options,
    int64_t deadline_ms, struct err *err)
{
    static const struct pipeline_create usual;
    struct pipeline_look look;
    if (!options)
        options = &usual;
    enum result r = pipeline_look(p, options->model, options->background, deadline_ms, &look, err);
    if (r)
        return r;
    const struct manifest *m = &look.model->info->manifest;
    struct store_settings settings = {
        .dimension = m->dimension,
        .descriptor = manifest_descriptor(m),
        .metric = p->options.metric,
        .thumbnails = p->options.thumbnail_side > 0,
        .originals = options->originals,
        .background = look.background,
    };
    pipeline_name_model(m, &settings);
    return store_create(p->options.store, collection, &settings, deadline_ms, err);
}

enum result pipeline_open_collection(struct pipeline *p, const char *collection, int64_t deadline_ms,
    struct store_settings *settings, struct pipeline_look *look, struct err *err)
{
    struct err why = {0};
    enum result r = store_settings(p->options.store, collection, settings, err);
    if (r)
        return r;
    /* Another program's collection in Milvus does not say its model: the server's own is tried by its dimension. */
    r = models_get(p->models, *settings->model ? settings->model : NULL, deadline_ms, &look->model, &why);
    look->background = (enum image_background)settings->background;
    if (r == ERR_TIMEOUT)
        return err_set(err, r, "%s", why.message);
    if (r)
        return err_set_field(err, r, "model",
            "collection \"%.64s\" was made with the model %.60s (%u dimensions), which cannot be used: %.300s",
            collection, settings->model, settings->dimension, why.message);
    const struct manifest *m = &look->model->info->manifest;
    bool older = settings->descriptor == m->dimension; /* without the inner layers, which come last */
    if (settings->dimension != m->dimension || (settings->descriptor != manifest_descriptor(m) && !older) || m->kind != MANIFEST_EMBEDDING)
        return err_set_field(err, ERR_INVALID, "model",
            "collection \"%.64s\" has vectors of %u dimensions (%u with inner layers), but the model %.60s of this server makes %u (%u): put the model "
            "back that it was made with, or make a new collection",
            collection, settings->dimension, settings->descriptor, m->name, m->dimension, manifest_descriptor(m));
    char sight[MANIFEST_SIGHT_BYTES];
    manifest_sight(m, sight);
    if (*settings->input && strcmp(settings->input, sight) != 0)
        return err_set_field(err, ERR_INVALID, "model",
            "collection \"%.64s\" was filled by the model %.60s at another input (%.110s), and the model of that name is now given %.110s: vectors of the two "
            "cannot be compared. Put the model back as it was, let `lookalike reembed` compute all vectors anew, or fill a new collection",
            collection, m->name, settings->input, sight);
    return ERR_OK;
}

/* A collection that is written to. */
struct destination {
    const char *collection;
    struct store_settings settings;
    struct pipeline_look look;
};

/* Embed where a picture is given, then write. */
static enum result write_record(struct pipeline *p, const struct destination *to, const struct pipeline_record *record,
    int64_t deadline_ms, struct store_write *write, struct err *err)
{
    const struct store_settings *settings = &to->settings;
    float *vector = NULL;
    struct image image = {0};
    struct pipeline_picture picture = record->picture;
    struct buf fetched;
    enum result r = ERR_OK;
    buf_init(&fetched, LIMIT_FETCH_BYTES);
    if (picture.url && !picture.data && settings->originals) { /* its bytes are kept */
        r = picture_bytes(p, &picture, deadline_ms, &fetched, &picture.data, &picture.len, err);
        if (r)
            goto out;
    }
    if (picture.data || picture.url) {
        vector = malloc(manifest_descriptor(&to->look.model->info->manifest) * sizeof *vector);
        if (!vector) {
            r = err_no_memory(err);
            goto out;
        }
        uint32_t side = settings->thumbnails ? p->options.thumbnail_side : 0;
        r = embed_picture(p, &to->look, &picture, side, deadline_ms, vector, &image, err);
        if (r && err && fetched.len && !strcmp(err->field, "image"))
            snprintf(err->field, sizeof err->field, "url");
        if (r)
            goto out;
    }
    write->fileid = record->fileid;
    write->has_itemid = record->has_itemid;
    write->itemid = record->itemid;
    write->tags = record->tags;
    write->brief = record->brief;
    write->vector = vector;
    write->dimension = vector ? settings->descriptor : 0;
    write->thumbnail = image.thumbnail;
    write->thumbnail_len = image.thumbnail_len;
    write->original = settings->originals ? picture.data : NULL;
    write->original_len = settings->originals ? picture.len : 0;
    write->edition = vector ? settings->edition : 0;
    int64_t began = clock_now_us();
    r = store_write(p->options.store, to->collection, write, 1, deadline_ms, err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_WRITE, clock_now_us() - began);
out:
    image_free(&image);
    buf_free(&fetched);
    free(vector);
    return r;
}

bool pipeline_was_replaced(struct pipeline *p, const char *collection, enum result r, uint64_t edition)
{
    struct store_settings settings;
    return r == ERR_BUSY && edition && !store_settings(p->options.store, collection, &settings, NULL) && settings.edition != edition;
}

static enum result add_once(struct pipeline *p, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, uint64_t *edition, struct err *err)
{
    struct destination to = {.collection = collection};
    enum result r = pipeline_open_collection(p, collection, deadline_ms, &to.settings, &to.look, err);
    if (r)
        return r;
    if (!record->picture.data && !record->picture.url)
        return err_set_field(err, ERR_INVALID, "image", "a picture is needed: `image` (base64) or `url`");
    *edition = to.settings.edition;
    struct pipeline_record whole = *record;
    whole.tags = record->tags ? record->tags : "[]";
    whole.brief = record->brief ? record->brief : "{}";
    struct store_write write = {.kind = STORE_PUT};
    return write_record(p, &to, &whole, deadline_ms, &write, err);
}

/* Once more where another edition came between the vector and its write: the vector is of a model that is not the collection's any more. */
enum result pipeline_add(struct pipeline *p, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, struct err *err)
{
    uint64_t edition = 0;
    enum result r = add_once(p, collection, record, deadline_ms, &edition, err);
    return pipeline_was_replaced(p, collection, r, edition) ? add_once(p, collection, record, deadline_ms, &edition, err) : r;
}

static enum result update_once(struct pipeline *p, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, uint64_t *edition, bool *found, struct err *err)
{
    struct destination to = {.collection = collection};
    enum result r = pipeline_open_collection(p, collection, deadline_ms, &to.settings, &to.look, err);
    if (r)
        return r;
    *edition = to.settings.edition;
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

enum result pipeline_update(struct pipeline *p, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, bool *found, struct err *err)
{
    uint64_t edition = 0;
    enum result r = update_once(p, collection, record, deadline_ms, &edition, found, err);
    return pipeline_was_replaced(p, collection, r, edition) ? update_once(p, collection, record, deadline_ms, &edition, found, err) : r;
}
