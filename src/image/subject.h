/*
 * What is done with a mask: pixels of decoded pictures in, pixels out. A mask is one byte a pixel, 255 where the subject
 * is; where it comes from (embed/) is not known here.
 *
 * All of it is pure arithmetic in the caller's thread. Pixels are RGB, rows without gaps.
 */
#ifndef IMAGE_SUBJECT_H
#define IMAGE_SUBJECT_H

#include "image/image.h"

#include <stdbool.h>

struct image_pixels {
    const uint8_t *pixels; /* height × width × 3 */
    uint32_t width, height;
};

struct image_box {
    uint32_t left, top, width, height;
};

/* A part of a picture, scaled as image_decode() would scale a file of those pixels. `to` has room for want->height ×
 * want->width × 3. ERR_NO_MEMORY. */
enum result image_refit(
    const struct image_pixels *from, const struct image_box *part, const struct image_want *want, uint8_t *to) ERR_MUST_USE;

/* Where a picture of that size lies on the canvas that IMAGE_FIT_WHITE or IMAGE_FIT_BLACK makes of it. */
void image_fit_box(uint32_t width, uint32_t height, const struct image_want *want, struct image_box *out);

/* Multiplied so that the brightest component becomes 255, in place; black stays as it is. */
void image_stretch_range(uint8_t *pixels, size_t n);

/* The scores of a network, smallest to 0, largest to 255; all 0 where they are all the same. */
void image_mask_of_scores(const float *scores, size_t n, uint8_t *mask);

/* ERR_NO_MEMORY. */
enum result image_mask_scale(const uint8_t *mask, uint32_t width, uint32_t height, uint32_t to_width, uint32_t to_height,
    uint8_t *to) ERR_MUST_USE;

/* The background replaced by `fill` (0 or 255), in place, softly where the mask is between. */
void image_mask_apply(uint8_t *pixels, size_t n, const uint8_t *mask, uint8_t fill);

/*
 * The square around the subject with a margin, inside `content`, as far as that allows. False, and `out` is `content`,
 * where the mask shows nothing that a crop would help with: it is empty, tiny or nearly everything.
 */
bool image_mask_box(const uint8_t *mask, uint32_t width, const struct image_box *content, struct image_box *out);

/*
 * As a JPEG file, for people to look at, or, `plain`, as a PPM or PGM file, without loss. The pixels of a mask are one byte
 * each. `*file` is the caller's to free().
 */
enum result image_pixels_save(const struct image_pixels *pixels, bool plain, uint8_t **file, size_t *len) ERR_MUST_USE;
enum result image_mask_save(const struct image_pixels *mask, bool plain, uint8_t **file, size_t *len) ERR_MUST_USE;

#endif
