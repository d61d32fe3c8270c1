/* RGB pixels → a JPEG file. For src/image only. */
#ifndef IMAGE_JPEG_SAVE_H
#define IMAGE_JPEG_SAVE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * `pixels`: height × width × 3, rows without gaps, both at most 65,500. No metadata is written; colour at
 * half resolution. The file is released with free(). ERR_NO_MEMORY is the only failure.
 */
enum result image_jpeg_save(const uint8_t *pixels, uint32_t width, uint32_t height, int quality,
    uint8_t **file, size_t *len) ERR_MUST_USE;

#endif
