/*
 * Reading a file. The header is read first (no pixel is decoded) and held against the limits; then the pixels
 * are decoded exactly once, into memory, shrunk on the way as far as the plan allows: by the decoder itself
 * where it can (JPEG by powers of two in its transform, WebP by any factor), by a box filter row by row where
 * it cannot. So a 50-megapixel PNG never stands in memory as a whole, except where its decoder needs that
 * (interlaced PNG, WebP, GIF, HEIF).
 *
 * Always all rows are decoded, also those a crop throws away: a file that is cut off below the crop must be
 * refused.
 *
 * A JPEG or PNG without its end mark is refused before that: shrinking can round the last row away, and then
 * the decoder does not notice. A GIF needs none (some writers leave it out), and is only read to the end of
 * its first frame.
 *
 * fail_on is TRUNCATED. At that level libvips refuses what ends too early and lets pass what decoders merely
 * warn of (bytes before a marker, a wrong component id), as browsers do. Its error buffer belongs to the
 * process, not to the thread: two pictures that fail at once mix their texts in it. So it is only ever
 * cleared, and the sentences here are made from what we know ourselves.
 */
#include "image/load.h"

#include "base/limits.h"

/* Rows computed at a time. Few enough that the rows of all steps stay in a core's cache. */
#define STRIP_ROWS 32

static enum result refuse_damaged(enum image_kind kind, const void *data, size_t len, struct err *err)
{
    vips_error_clear();
    const char *name = image_kind_name(kind);
    if (image_kind_is_cut_off(kind, data, len))
        return err_set(err, ERR_INVALID,
            "the %s picture is cut off: its %zu bytes end before the picture does; send the whole file", name,
            len);
    return err_set(err, ERR_INVALID,
        "the %s picture is damaged: its pixels cannot be decoded; open it in a viewer and save it again, or "
        "send "
        "another copy",
        name);
}

/* Only the header is read here; pixels are decoded when they are asked for, in order. */
static VipsImage *open_file(enum image_kind kind, const void *data, size_t len, uint32_t shrink)
{
    VipsImage *image = NULL;
    void *bytes = (void *)(uintptr_t)data; /* libvips does not write to it */
    int failed = -1;
    switch (kind) {
    case IMAGE_JPEG:
        failed = vips_jpegload_buffer(bytes, len, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
            VIPS_FAIL_ON_TRUNCATED, "shrink", (int)shrink, NULL);
        break;
    case IMAGE_PNG:
        failed = vips_pngload_buffer(
            bytes, len, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL);
        break;
    case IMAGE_WEBP:
        failed = vips_webpload_buffer(bytes, len, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
            VIPS_FAIL_ON_TRUNCATED, "scale", 1.0 / shrink, NULL);
        break;
    case IMAGE_GIF:
        failed = vips_gifload_buffer(
            bytes, len, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL);
        break;
    case IMAGE_HEIC:
    case IMAGE_AVIF:
    case IMAGE_HEIF:
        failed = vips_heifload_buffer(
            bytes, len, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_TRUNCATED, NULL);
        break;
    case IMAGE_NONE:
        break;
    }
    if (failed && image) {
        g_object_unref(image);
        image = NULL;
    }
    return image;
}

static enum result check_size(const VipsImage *image, struct err *err)
{
    long long w = vips_image_get_width(image), h = vips_image_get_height(image);
    if (w > LIMIT_PICTURE_SIDE || h > LIMIT_PICTURE_SIDE)
        return err_set(err, ERR_TOO_LARGE,
            "the picture has %lld × %lld pixels, and a side may have at most %d; send a smaller version", w,
            h, LIMIT_PICTURE_SIDE);
    if (w * h > LIMIT_PIXELS)
        return err_set(err, ERR_TOO_LARGE,
            "the picture has %lld × %lld pixels, which is more than %d megapixels; send a smaller version", w,
            h, LIMIT_PIXELS / 1000000);
    return ERR_OK;
}

/* The largest factor up to `most` by which the decoder itself shrinks. */
static uint32_t decoder_shrink(enum image_kind kind, uint32_t most)
{
    if (kind == IMAGE_WEBP)
        return most;
    if (kind != IMAGE_JPEG)
        return 1;
    return most >= 8 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1;
}

/*
 * The name in the profile's `desc` tag begins with "sRGB" (ICC.1 sections 7.3, 9.2.41: text of version 2, or
 * UTF-16 of version 4). By far most profiles in the wild are sRGB itself, and a transform costs more than the
 * rest of the work on a small picture.
 */
static bool is_srgb(const uint8_t *profile, size_t len)
{
#define BE32(at)                                                                                             \
    ((uint32_t)profile[at] << 24 | profile[(at) + 1] << 16 | profile[(at) + 2] << 8 | profile[(at) + 3])
    if (len < 132 || memcmp(profile + 16, "RGB ", 4) != 0)
        return false;
    uint32_t tags = BE32(128);
    for (uint32_t i = 0; i < tags && 132 + (size_t)(i + 1) * 12 <= len; i++) {
        size_t at = 132 + (size_t)i * 12, from = BE32(at + 4);
        if (memcmp(profile + at, "desc", 4) != 0)
            continue;
        if (from > len || len - from < 40)
            return false;
        if (memcmp(profile + from, "desc", 4) == 0)
            return memcmp(profile + from + 12, "sRGB", 4) == 0;
        size_t text = BE32(from + 24);
        return memcmp(profile + from, "mluc", 4) == 0 && text <= len - from - 8 &&
               memcmp(profile + from + text, "\0s\0R\0G\0B", 8) == 0;
    }
    return false;
#undef BE32
}

/* Replace *image by *next, what an operation of libvips made of it, or leave it where that failed. */
static int step(VipsImage **image, int failed, VipsImage **next)
{
    if (failed) {
        if (*next)
            g_object_unref(*next);
        return failed;
    }
    g_object_unref(*image);
    *image = *next;
    return 0;
}

static int put_on_white(VipsImage **image)
{
    VipsImage *next = NULL;
    if (!vips_image_hasalpha(*image))
        return 0;
    double white = vips_image_get_format(*image) == VIPS_FORMAT_USHORT ? 65535 : 255;
    VipsArrayDouble *background = vips_array_double_newv(1, white);
    int failed = vips_flatten(*image, &next, "background", background, "max_alpha", white, NULL);
    vips_area_unref(VIPS_AREA(background));
    return step(image, failed, &next);
}

static int shrink_by_box(VipsImage **image, uint32_t x, uint32_t y)
{
    VipsImage *next = NULL;
    if (x < 2 && y < 2)
        return 0;
    return step(image, vips_shrink(*image, &next, x, y, NULL), &next);
}

static bool is_rgb8(const VipsImage *image)
{
    return image->Bands == 3 && image->BandFmt == VIPS_FORMAT_UCHAR &&
           image->Type == VIPS_INTERPRETATION_sRGB;
}

void image_apply_profile(VipsImage **image)
{
    VipsImage *next = NULL;
    if (step(image, vips_icc_transform(*image, &next, "srgb", "embedded", TRUE, "depth", 8, NULL), &next))
        vips_error_clear();
}

/*
 * CMYK without a profile: light = (1 - ink) x (1 - black), as browsers and Pillow show it. libvips would take a
 * printer's profile instead, whose colours are duller than what everybody else sees in such a file.
 */
static int plain_cmyk_to_rgb(VipsImage **image)
{
    VipsImage *light = NULL, *colours = NULL, *black = NULL, *product = NULL, *bytes = NULL, *next = NULL;
    int failed = vips_invert(*image, &light, NULL) || vips_extract_band(light, &colours, 0, "n", 3, NULL) ||
                 vips_extract_band(light, &black, 3, NULL) || vips_multiply(colours, black, &product, NULL) ||
                 vips_linear1(product, &bytes, 1.0 / 255, 0.5, "uchar", TRUE, NULL) ||
                 vips_copy(bytes, &next, "interpretation", VIPS_INTERPRETATION_sRGB, NULL);
    VipsImage *const made[] = {light, colours, black, product, bytes};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (made[i])
            g_object_unref(made[i]);
    return step(image, failed, &next);
}

/*
 * Grey, CMYK and 16 bits are brought to sRGB here, by their profile where they have one. Plain RGB keeps its
 * numbers, and its profile goes along with them.
 */
static int to_rgb8(struct image_source *source, VipsImage **image)
{
    VipsImage *next = NULL;
    const void *profile = NULL;
    size_t len = 0;
    if (vips_image_get_typeof(*image, VIPS_META_ICC_NAME) &&
        vips_image_get_blob(*image, VIPS_META_ICC_NAME, &profile, &len))
        profile = NULL;
    if (is_rgb8(*image)) {
        if (profile && !is_srgb(profile, len)) {
            source->profile = g_memdup2(profile, len);
            source->profile_len = len;
        }
        return 0;
    }
    if (profile)
        image_apply_profile(image);
    bool plain_cmyk = (*image)->Type == VIPS_INTERPRETATION_CMYK && (*image)->Bands == 4 &&
                      (*image)->BandFmt == VIPS_FORMAT_UCHAR;
    if (plain_cmyk && plain_cmyk_to_rgb(image))
        return -1;
    if (!is_rgb8(*image) &&
        step(image, vips_colourspace(*image, &next, VIPS_INTERPRETATION_sRGB, NULL), &next))
        return -1;
    return is_rgb8(*image) ? 0 : -1;
}

enum result image_evaluate(VipsImage *image, uint8_t **out)
{
    size_t line = VIPS_IMAGE_SIZEOF_LINE(image);
    int width = image->Xsize, height = image->Ysize;
    enum result result = ERR_NO_MEMORY;
    VipsRegion *region = vips_region_new(image);
    uint8_t *memory = malloc((size_t)height * line);
    if (!region || !memory)
        goto out;
    for (int top = 0; top < height; top += STRIP_ROWS) {
        VipsRect strip = {0, top, width, VIPS_MIN(STRIP_ROWS, height - top)};
        if (vips_region_prepare(region, &strip)) {
            result = ERR_INVALID;
            goto out;
        }
        for (int y = top; y < top + strip.height; y++)
            memcpy(memory + (size_t)y * line, VIPS_REGION_ADDR(region, 0, y), line);
    }
    *out = memory;
    memory = NULL;
    result = ERR_OK;
out:
    free(memory);
    if (region)
        g_object_unref(region);
    return result;
}

/* `shrunk`: by how much the decoder shrinks by itself. ERR_INVALID and ERR_NO_MEMORY, without a sentence. */
static enum result decode(struct image_source *source, VipsImage **image, uint32_t shrunk)
{
    uint32_t box_x = VIPS_MAX(1, source->plan.shrink_x / shrunk),
             box_y = VIPS_MAX(1, source->plan.shrink_y / shrunk);
    if (put_on_white(image) || shrink_by_box(image, box_x, box_y) || to_rgb8(source, image))
        return ERR_INVALID;
    source->pixels_width = (uint32_t)(*image)->Xsize;
    source->pixels_height = (uint32_t)(*image)->Ysize;
    source->extent_x = (double)source->width / (shrunk * box_x);
    source->extent_y = (double)source->height / (shrunk * box_y);
    return image_evaluate(*image, &source->pixels);
}

/* The header: limits, size, orientation, and what follows from them. */
static enum result read_header(
    VipsImage *image, const struct image_want *want, struct image_source *source, struct err *err)
{
    enum result result = check_size(image, err);
    if (result)
        return result;
    source->width = (uint32_t)image->Xsize;
    source->height = (uint32_t)image->Ysize;
    source->orientation = vips_image_get_orientation(image);
    image_plan_make(source->width, source->height, source->orientation, want, &source->plan);
    return ERR_OK;
}

enum result image_source_load(
    const void *data, size_t len, const struct image_want *want, struct image_source *source, struct err *err)
{
    struct image_source made = {.kind = image_kind_of(data, len)};
    if (made.kind == IMAGE_NONE)
        return image_kind_refuse(data, len, err);

    VipsImage *image = open_file(made.kind, data, len, 1);
    if (!image)
        return refuse_damaged(made.kind, data, len, err);
    enum result result = read_header(image, want, &made, err);
    if (result)
        goto out;
    if ((made.kind == IMAGE_JPEG || made.kind == IMAGE_PNG) && image_kind_is_cut_off(made.kind, data, len)) {
        result = refuse_damaged(made.kind, data, len, err);
        goto out;
    }
    uint32_t shrink = decoder_shrink(made.kind, VIPS_MIN(made.plan.shrink_x, made.plan.shrink_y));
    if (shrink > 1) {
        g_object_unref(image);
        image = open_file(made.kind, data, len, shrink);
    }
    result = image ? decode(&made, &image, shrink) : ERR_INVALID;
    if (result == ERR_NO_MEMORY)
        err_no_memory(err);
    else if (result)
        result = refuse_damaged(made.kind, data, len, err);
    if (result)
        goto out;
    *source = made;
    made = (struct image_source){0};
out:
    if (image)
        g_object_unref(image);
    image_source_free(&made);
    return result;
}

void image_source_free(struct image_source *source)
{
    free(source->pixels);
    g_free(source->profile);
    *source = (struct image_source){0};
}
