/* Decoded pixels → what was wanted of them. For src/image and its benchmark only. */
#ifndef IMAGE_RENDER_H
#define IMAGE_RENDER_H

#include "image/load.h"

/* Fills pixels and thumbnail of `out`; the thumbnail is released with free(), the pixels also. */
enum result image_render(const struct image_source *source, const struct image_want *want, struct image *out,
    struct err *err) ERR_MUST_USE;

#endif
