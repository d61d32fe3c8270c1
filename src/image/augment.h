/*
 * Pixels → pixels as another photo of the same thing might have them: what `tune` learns from where nothing says which
 * pictures show the same. One change is a turn, a crop, a perspective, a mirror, other light and colour, and a blur, all
 * moderate and each by chance.
 */
#ifndef IMAGE_AUGMENT_H
#define IMAGE_AUGMENT_H

#include "base/err.h"

#include <stdint.h>

struct image_change {
    float corner[8]; /* where the four corners of the new picture lie in the old, x and y in 0…1: left top, right top, right bottom, left bottom */
    float gain[3];   /* of red, green and blue */
    float contrast;  /* about the middle grey */
    uint32_t blur;   /* radius in pixels; 0: none */
};

/* *random: any number but 0; the same number gives the same change. */
void image_change_draw(uint64_t *random, struct image_change *out);
/* width × height × 3 pixels, rows without gaps, into `out` of the same size. */
enum result image_augment(const uint8_t *pixels, uint32_t width, uint32_t height, const struct image_change *change,
    uint8_t *out, struct err *err) ERR_MUST_USE;

#endif
