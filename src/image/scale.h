/*
 * Scaling of 8-bit RGB pixels with a filter that is widened by the scale, as Pillow does it. For src/image
 * only.
 */
#ifndef IMAGE_SCALE_H
#define IMAGE_SCALE_H

#include "base/err.h"

#include <stdint.h>

enum image_filter {
    IMAGE_FILTER_TRIANGLE, /* "bilinear": half the work, a little softer */
    IMAGE_FILTER_CUBIC,    /* "bicubic": Catmull-Rom, a = −0.5 */
};

struct image_scale {
    const uint8_t *from; /* from_height × from_width × 3, rows without gaps */
    uint32_t from_width, from_height;
    /*
     * How far the picture reaches, in pixels of `from`. Not quite its size where a decoder that shrinks has
     * rounded: a picture 3,001 wide reaches 750.25, in 750 or 751 pixels.
     */
    double extent_x, extent_y;
    uint32_t whole_width, whole_height; /* of the whole picture when scaled; may be larger than any memory */
    uint32_t left, top, width, height;  /* the window of that which is computed */
    enum image_filter filter;
};

/* `to` has room for height × width × 3 bytes. ERR_NO_MEMORY is the only failure. */
enum result image_scale(const struct image_scale *scale, uint8_t *to) ERR_MUST_USE;

#endif
