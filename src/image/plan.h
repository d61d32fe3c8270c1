/*
 * The arithmetic of a picture's sizes, without a pixel: how far it may be shrunk while it is read, how large
 * it is scaled, which part of that the model gets, how large the thumbnail is. Pure functions; for src/image
 * only.
 *
 * "Upright" is the picture as people see it, "stored" as the file has it; EXIF orientation leads from the
 * second to the first. Scaling and cropping happen in the stored axes, where rows can be read in order, and
 * only the small results are turned; that is why everything below is in stored axes unless it says otherwise.
 */
#ifndef IMAGE_PLAN_H
#define IMAGE_PLAN_H

#include "image/image.h"

#include <stdbool.h>
#include <stdint.h>

/* A quality filter still has to reduce by at least this much after what the decoder or a box filter did. */
#define IMAGE_PLAN_KEEP 2

struct image_plan {
    uint32_t scaled_width,
        scaled_height; /* of the whole picture, as the model sees it; 0 where no pixels are wanted */
    uint32_t left, top, width, height;  /* the part of it that the model gets */
    uint32_t pad_left, pad_top;         /* upright: where that part begins on the model's white square */
    uint32_t thumb_width, thumb_height; /* 0: none is wanted */
    uint32_t shrink_x, shrink_y;        /* whole factors by which reading may shrink; at least 1 */
};

/* Whether EXIF orientation 1…8 exchanges width and height. */
bool image_plan_is_turned(int orientation);

/* `width` and `height` are stored, at least 1; sizes in `want` are within their limits. */
void image_plan_make(
    uint32_t width, uint32_t height, int orientation, const struct image_want *want, struct image_plan *plan);

#endif
