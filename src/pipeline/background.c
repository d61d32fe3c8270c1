#include "pipeline/background.h"

#include "image/subject.h"
#include "pipeline/batcher.h"

enum result background_masks(
    struct models *models, const char *name, int64_t deadline_ms, const struct model **out, struct err *err)
{
    const struct model *masks = NULL;
    struct err why = {0};
    enum result r = models_get(models, name ? name : BACKGROUND_MODEL, deadline_ms, &masks, &why);
    if (r)
        return err_set_field(err, r, "background",
            "the background modes need a mask model, which is not usable here (`scripts/get-u2net` gets one): %.330s", why.message);
    if (masks->info->manifest.kind != MANIFEST_MASK)
        return err_set_field(err, ERR_INVALID, "background", "the model %.60s makes no masks: its manifest must have \"kind\": \"mask\"",
            masks->info->manifest.name);
    *out = masks;
    return ERR_OK;
}

struct image_want background_canvas(const struct manifest *manifest, uint32_t thumbnail_side)
{
    return (struct image_want){.width = manifest->canvas_side,
        .height = manifest->canvas_side,
        .resize = manifest->canvas_black ? IMAGE_FIT_BLACK : IMAGE_FIT_WHITE,
        .thumbnail_side = thumbnail_side};
}

static struct image_want wanted_by(const struct manifest *m)
{
    return (struct image_want){.width = m->width, .height = m->height, .resize = m->resize, .short_side = m->short_side};
}

/* The mask of a canvas, one byte a pixel. */
static enum result find_mask(
    const struct background_job *job, const struct image_pixels *canvas, uint8_t *out, struct err *err)
{
    const struct manifest *m = &job->masks->info->manifest;
    const struct image_want want = wanted_by(m);
    const struct image_box all = {0, 0, canvas->width, canvas->height};
    size_t n = (size_t)m->width * m->height;
    uint8_t *pixels = malloc(n * 3), *small = malloc(n);
    float *scores = malloc(n * sizeof *scores);
    enum result r = pixels && small && scores ? image_refit(canvas, &all, &want, pixels) : ERR_NO_MEMORY;
    if (r) {
        r = err_no_memory(err);
        goto out;
    }
    if (m->range_maximum)
        image_stretch_range(pixels, n * 3);
    r = batcher_run(job->masks->batcher, pixels, scores, job->deadline_ms, err);
    if (r)
        goto out;
    image_mask_of_scores(scores, n, small);
    if (image_mask_scale(small, m->width, m->height, canvas->width, canvas->height, out))
        r = err_no_memory(err);
out:
    free(scores);
    free(small);
    free(pixels);
    return r;
}

enum result background_apply(
    const struct background_job *job, struct image *image, struct background_seen *seen, struct err *err)
{
    const struct manifest *m = &job->model->info->manifest;
    const struct image_want canvas_want = background_canvas(m, 0), want = wanted_by(m);
    const struct image_pixels canvas = {image->pixels, canvas_want.width, canvas_want.height};
    size_t n = (size_t)canvas.width * canvas.height;
    struct image_box part = {0, 0, canvas.width, canvas.height}, content;
    uint8_t *mask = malloc(n), *pixels = malloc((size_t)m->width * m->height * 3);
    bool found = true;
    enum result r = mask && pixels ? find_mask(job, &canvas, mask, err) : err_no_memory(err);
    if (r)
        goto out;
    if (job->mode == IMAGE_BACKGROUND_SUBJECT) {
        image_fit_box(image->width, image->height, &canvas_want, &content);
        found = image_mask_box(mask, canvas.width, &content, &part);
    } else {
        image_mask_apply(image->pixels, n, mask, job->mode == IMAGE_BACKGROUND_WHITE ? 255 : 0);
    }
    if (image_refit(&canvas, &part, &want, pixels)) {
        r = err_no_memory(err);
        goto out;
    }
    free(image->pixels);
    image->pixels = pixels;
    pixels = NULL;
    if (seen) {
        *seen = (struct background_seen){.mask = mask, .found = found};
        mask = NULL;
    }
out:
    free(pixels);
    free(mask);
    return r;
}
