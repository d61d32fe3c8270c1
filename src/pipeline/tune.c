/*
 * What `tune` needs from the stages: the blocks of the model, and changed copies of pictures where nothing says which pictures show
 * the same. Copies are made of the thumbnails that the collection keeps, the only pixels that there are: they are decoded to the
 * model's input, changed (image/augment.h), and embedded. The first copy of each is the thumbnail as it is, so that what
 * differs between copies is what was changed, and not that a thumbnail is smaller than its picture was.
 *
 * A few threads of their own share the pictures; each waits for its inference, so that the batcher has several to put together, and
 * searches meanwhile get their turn.
 */
#include "pipeline/internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "image/augment.h"
#include "pipeline/batcher.h"
#include "store/tune.h"

#include <pthread.h>
#include <stdatomic.h>

#define PICTURE_MS 60000

struct copying {
    const struct pipeline_copier *copier;
    const struct store_copies *wanted;
    _Atomic size_t next;
};

/* Thumbnail → descriptors of its copies; false: there is none, or it cannot be used. */
static bool copy_picture(struct copying *g, size_t i)
{
    const struct pipeline_look *look = &g->copier->look;
    const struct manifest *m = &look->model->info->manifest;
    size_t d = manifest_descriptor(m);
    int64_t deadline = clock_now_ms() + PICTURE_MS;
    uint64_t random = (uint64_t)g->wanted->fileids[i] * 0x9e3779b97f4a7c15u | 1;
    struct image image = {0};
    struct buf thumbnail;
    buf_init(&thumbnail, LIMIT_BODY);
    uint8_t *pixels = malloc((size_t)m->width * m->height * 3);
    struct pipeline_picture picture = {0};
    bool good = pixels && store_thumbnail(pipeline_store(g->copier->pipeline), g->copier->collection, g->wanted->fileids[i], deadline,
                              &thumbnail, NULL) == ERR_OK;
    if (good) {
        picture.data = thumbnail.data;
        picture.len = thumbnail.len;
        good = pipeline_pixels(g->copier->pipeline, look, &picture, deadline, &image, NULL) == ERR_OK;
    }
    for (uint32_t k = 0; good && k < g->wanted->each; k++) {
        struct image_change change;
        image_change_draw(&random, &change);
        if (k > 0)
            good = image_augment(image.pixels, m->width, m->height, &change, pixels, NULL) == ERR_OK;
        float *to = g->wanted->out + (i * g->wanted->each + k) * d;
        good = good && batcher_run(look->model->batcher, k ? pixels : image.pixels, to, deadline, NULL) == ERR_OK;
    }
    free(pixels);
    image_free(&image);
    buf_free(&thumbnail);
    return good;
}

static void *work(void *user)
{
    struct copying *g = user;
    for (size_t i; (i = atomic_fetch_add(&g->next, 1)) < g->wanted->n;)
        g->wanted->made[i] = copy_picture(g, i);
    return NULL;
}

static enum result make_copies(void *copier, const struct store_copies *wanted, struct err *err)
{
    struct copying g = {.copier = copier, .wanted = wanted};
    pipeline_share_out(work, &g, wanted->n);
    return ERR_OK;
}

enum result pipeline_tune_options(struct pipeline *p, const char *collection, struct pipeline_copier *copier,
    struct store_tune_options *options, struct err *err)
{
    struct store_settings settings;
    *copier = (struct pipeline_copier){.pipeline = p, .collection = collection};
    enum result r = pipeline_open_collection(p, collection, CLOCK_NO_DEADLINE, &settings, &copier->look, err);
    if (r)
        return r;
    options->blocks = copier->look.model->info->manifest.blocks;
    options->block_count = copier->look.model->info->manifest.block_count;
    options->copier = copier;
    if (settings.thumbnails && manifest_descriptor(&copier->look.model->info->manifest) == settings.descriptor)
        options->copies = make_copies;
    return ERR_OK;
}
