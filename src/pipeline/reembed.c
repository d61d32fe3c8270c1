/*
 * What `reembed` needs from the stages: pictures looked at anew by another model.
 *
 * A few threads of their own share the pictures of a batch; each waits for its inference, so that the batcher has several
 * to put together, and searches meanwhile get their turn.
 */
#include "pipeline/internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdatomic.h>

#define PICTURE_MS 60000

struct work {
    struct pipeline *pipeline;
    const struct pipeline_reembed *what;
    struct pipeline_look look;
    const struct store_reembed_batch *batch;
    _Atomic size_t next;
    pthread_mutex_t mutex; /* of `why` */
    char why[ERR_MESSAGE_MAX]; /* the first that failed, did; "" for none */
};

/* The address that a record has of its picture, into `out`. */
static enum result address_of(const struct work *w, const struct store_record *record, struct buf *out, struct err *err)
{
    struct json_object *brief = NULL;
    const char *url = NULL;
    bool found = false;
    size_t len = 0;
    enum result r = json_parse(record->brief, strlen(record->brief), &brief, err);
    if (!r && (json_get_string(brief, w->what->url_field, &found, &url, &len, NULL) || !found || len == 0))
        r = err_set(err, ERR_NOT_FOUND, "fileid %" PRId64 ": brief has no \"%s\" with the address of its picture", record->fileid,
            w->what->url_field);
    if (!r)
        r = buf_append(out, url, len + 1);
    json_object_put(brief);
    return r;
}

/* What there is of a picture, best first. `bytes` holds what `picture` points at. */
static enum result find_picture(const struct work *w, size_t i, struct buf *bytes, struct pipeline_picture *picture, struct err *err)
{
    const struct store_record *record = &w->batch->records[i];
    enum result r = store_reembed_picture(w->batch, i, true, bytes, err);
    if (r == ERR_NOT_FOUND && w->what->url_field) {
        r = address_of(w, record, bytes, err);
        if (!r) {
            picture->url = bytes->data;
            return ERR_OK;
        }
    } else if (r == ERR_NOT_FOUND) {
        err_set(err, r, "fileid %" PRId64 ": its original is not kept", record->fileid);
    }
    if (r == ERR_NOT_FOUND && w->what->thumbnails) {
        r = store_reembed_picture(w->batch, i, false, bytes, err);
        if (r == ERR_NOT_FOUND)
            err_set(err, r, "fileid %" PRId64 ": neither its original nor a thumbnail is kept", record->fileid);
    }
    picture->data = bytes->data;
    picture->len = bytes->len;
    return r;
}

static void look_at(struct work *w, size_t i)
{
    uint32_t n = manifest_descriptor(&w->look.model->info->manifest);
    struct pipeline_picture picture = {0};
    struct err why = {0};
    struct buf bytes;
    buf_init(&bytes, LIMIT_BODY);
    enum result r = find_picture(w, i, &bytes, &picture, &why);
    if (!r)
        r = pipeline_embed(w->pipeline, &w->look, &picture, clock_now_ms() + PICTURE_MS, w->batch->out + i * n, &why);
    w->batch->made[i] = r == ERR_OK;
    if (r) {
        pthread_mutex_lock(&w->mutex);
        if (!w->why[0])
            snprintf(w->why, sizeof w->why, "%s", why.message);
        pthread_mutex_unlock(&w->mutex);
    }
    buf_free(&bytes);
}

static void *take_turns(void *user)
{
    struct work *w = user;
    for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->batch->count;)
        look_at(w, i);
    return NULL;
}

static enum result make(void *user, const struct store_reembed_batch *batch, struct err *err)
{
    struct work *w = user;
    w->batch = batch;
    atomic_store(&w->next, 0);
    w->why[0] = '\0'; /* those that failed before are tried again at the end */
    pipeline_share_out(take_turns, w, batch->count);
    return ERR_OK;
}

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    const struct work *w = user;
    return w->what->progress && w->what->progress(w->what->user, done, total);
}

enum result pipeline_reembed_look(struct pipeline *p, const char *collection, const struct pipeline_reembed *what,
    struct pipeline_look *out, struct err *err)
{
    struct store_settings settings;
    enum result r = store_settings(pipeline_store(p), collection, &settings, err);
    const char *background = what->background;
    if (r)
        return r;
    if (!background && settings.background)
        background = pipeline_background_name(settings.background);
    return pipeline_look(p, what->model, background, CLOCK_NO_DEADLINE, out, err);
}

enum result pipeline_reembed(struct pipeline *p, const char *collection, const struct pipeline_reembed *what,
    struct store_reembed_report *out, struct err *err)
{
    struct work w = {.pipeline = p, .what = what};
    struct store_reembed_options options = {.make = make, .progress = on_progress, .user = &w};
    enum result r = pipeline_reembed_look(p, collection, what, &w.look, err);
    if (r)
        return r;
    const struct manifest *m = &w.look.model->info->manifest;
    options.settings = (struct store_settings){.dimension = m->dimension, .descriptor = manifest_descriptor(m), .background = w.look.background};
    pipeline_name_model(m, &options.settings);
    pthread_mutex_init(&w.mutex, NULL);
    r = store_reembed(pipeline_store(p), collection, &options, out, err);
    pthread_mutex_destroy(&w.mutex);
    if (!r && out->failed)
        return err_set(err, ERR_NOT_FOUND,
            "no usable picture of %" PRIu64 " record%s, so the collection stays as it was (%.100s). Add or delete them and start again: "
            "the others are kept",
            out->failed, out->failed == 1 ? "" : "s", w.why);
    return r;
}
