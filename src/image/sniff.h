/* Which kind of file some bytes are, by what they begin with. For src/image only. */
#ifndef IMAGE_SNIFF_H
#define IMAGE_SNIFF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_kind {
    IMAGE_NONE,
    IMAGE_JPEG,
    IMAGE_PNG,
    IMAGE_WEBP,
    IMAGE_GIF,
    IMAGE_HEIC,
    IMAGE_AVIF,
    IMAGE_HEIF
};

enum image_kind image_kind_of(const uint8_t *data, size_t len);
/* "image/jpeg" …; NULL for IMAGE_NONE. */
const char *image_kind_mime(enum image_kind kind);
/* "JPEG" …, for sentences; "file" for IMAGE_NONE. */
const char *image_kind_name(enum image_kind kind);
/* The sentence for bytes that are no kind we read: what is read, and what this seems to be. ERR_UNSUPPORTED.
 */
enum result image_kind_refuse(const uint8_t *data, size_t len, struct err *err);
/*
 * Whether the file ends before its own structure says so: no end mark (JPEG, PNG, GIF), or less than the
 * length it names (WebP, HEIF). `len` is that of a file of this kind, so not less than its magic bytes.
 */
bool image_kind_is_cut_off(enum image_kind kind, const uint8_t *data, size_t len);

#endif
