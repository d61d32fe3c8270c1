/*
 * Bytes of a picture file → pixels of the size a model wants, and a thumbnail. The only user of libvips.
 *
 * JPEG, PNG (palette, 16 bits, alpha), WebP, GIF (first frame), AVIF and HEIC. The kind is decided by the first
 * bytes, never by a name. Everything is turned upright by its EXIF orientation, brought to 8-bit sRGB (also from
 * CMYK, grey and embedded profiles), and alpha is put on white. Limits are checked on the header, before a pixel
 * is decoded. A file that is cut off is refused, not filled up with grey.
 *
 * image_init() once before threads start; image_decode() from any thread, one picture costs one thread.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum image_resize {
    IMAGE_SHORT_SIDE_CROP, /* short side to the target, then the centre */
    IMAGE_FIT_WHITE,       /* the whole picture, centred on white */
    IMAGE_FIT_BLACK,       /* the same on black */
    IMAGE_STRETCH,         /* both sides to the target, aspect ratio lost */
};

/* What is done with the background; subject.h does it. */
enum image_background {
    IMAGE_BACKGROUND_NONE,    /* nothing */
    IMAGE_BACKGROUND_SUBJECT, /* crop to the subject, background kept */
    IMAGE_BACKGROUND_WHITE,   /* white instead of the background */
    IMAGE_BACKGROUND_BLACK,   /* the same in black */
};

struct image_want {
    uint32_t width, height; /* of the model's input; 0×0: no pixels wanted */
    enum image_resize resize;
    /* Of IMAGE_SHORT_SIDE_CROP: what the short side is scaled to, at least the longer of width and height where it is
       not 0, which means just enough to fill them. */
    uint32_t short_side;
    uint32_t thumbnail_side; /* longest side of the thumbnail; 0: none. Never enlarged */
    /* The part of the upright picture that the pixels are made of, as fractions of its sides: left, top, width, height.
       All 0: the whole. It is rounded to whole pixels of the source, at least one. The thumbnail is always of the whole. */
    float region[4];
};

struct image {
    uint8_t *pixels;      /* height × width × 3, RGB, rows without gaps; NULL where none were wanted */
    uint8_t *thumbnail;   /* a JPEG file; NULL where none was wanted */
    size_t thumbnail_len;
    uint32_t width, height; /* of the upright source */
    const char *format;     /* MIME type of the source, a constant: "image/jpeg" … */
};

enum result image_init(struct err *err) ERR_MUST_USE;
void image_shutdown(void);

/*
 * `data` stays the caller's and must live until the call returns. On success `out` is released with image_free().
 * ERR_UNSUPPORTED: no picture of a kind we read. ERR_TOO_LARGE: over LIMIT_PIXELS or LIMIT_PICTURE_SIDE.
 * ERR_INVALID: empty, damaged or cut off.
 */
enum result image_decode(
    const void *data, size_t len, const struct image_want *want, struct image *out, struct err *err) ERR_MUST_USE;
void image_free(struct image *image);

/* The MIME type by the first bytes, or NULL where it is no kind we read. */
const char *image_sniff(const void *data, size_t len);

#endif
