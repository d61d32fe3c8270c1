/*
 * Bytes of a file → its pixels in memory, once, as small as the plan allows. For src/image and its benchmark
 * only.
 */
#ifndef IMAGE_LOAD_H
#define IMAGE_LOAD_H

#include "image/image.h"
#include "image/plan.h"
#include "image/sniff.h"

#include <vips/vips.h>

struct image_source {
    enum image_kind kind;
    uint32_t width, height; /* of the picture in the file, stored axes */
    int orientation;        /* EXIF, 1…8 */
    struct image_plan plan;
    uint8_t *pixels; /* RGB, rows without gaps; free() */
    uint32_t pixels_width, pixels_height;
    double extent_x, extent_y; /* how far the picture reaches in them, see struct image_scale */
    /*
     * The profile these pixels are still in; NULL where they are sRGB. It is applied to what is made of them,
     * which has fewer pixels.
     */
    void *profile;
    size_t profile_len;
};

/* On success `source` is released with image_source_free(). Errors as image_decode(). */
enum result image_source_load(const void *data, size_t len, const struct image_want *want,
    struct image_source *source, struct err *err) ERR_MUST_USE;
void image_source_free(struct image_source *source);

/* From the profile of an image to 8-bit sRGB. A profile that is broken, or not one for these pixels, is
 * ignored. */
void image_apply_profile(VipsImage **image);

/*
 * Compute all pixels of `image`, top to bottom, in the calling thread, into memory that free() releases.
 * vips_image_write_to_memory() does the same but hands the work to threads of libvips's and waits for them.
 * ERR_NO_MEMORY, or ERR_INVALID where a pixel cannot be computed.
 */
enum result image_evaluate(VipsImage *image, uint8_t **out) ERR_MUST_USE;

#endif
