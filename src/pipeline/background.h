/*
 * A picture as the model gets it where a collection does something with the background: the picture is fitted onto a
 * square canvas, a mask model (U2-Net) says where the subject is, and the canvas is cropped or cut out by it. For
 * pipeline/ alone.
 */
#ifndef PIPELINE_BACKGROUND_H
#define PIPELINE_BACKGROUND_H

#include "image/image.h"
#include "pipeline/models.h"

#include <stdbool.h>

#define BACKGROUND_MODEL "u2net" /* the name of the mask model where the configuration names none */

struct background_job {
    const struct model *model, *masks; /* what the pixels are for; who makes the mask */
    enum image_background mode;        /* not NONE */
    int64_t deadline_ms;
};

/* The mask model, `name` NULL: BACKGROUND_MODEL. The sentence of an error says how to get one. */
enum result background_masks(struct models *models, const char *name, int64_t deadline_ms, const struct model **out,
    struct err *err) ERR_MUST_USE;

/* How the picture must be decoded first: the canvas. */
struct image_want background_canvas(const struct manifest *manifest, uint32_t thumbnail_side);

struct background_seen {
    uint8_t *mask; /* one byte a pixel of the canvas; the caller's to free() */
    bool found;    /* false: SUBJECT found nothing to crop to, and takes the whole picture */
};

/* `image` was decoded onto that canvas; its pixels are replaced by those for the model. `seen` may be NULL. */
enum result background_apply(
    const struct background_job *job, struct image *image, struct background_seen *seen, struct err *err) ERR_MUST_USE;

#endif
