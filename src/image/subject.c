#include "image/subject.h"

#include "image/jpeg_save.h"
#include "image/plan.h"
#include "image/scale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_QUALITY 90
#define SUBJECT_LEVEL 128      /* a mask's value from which on a pixel is the subject's */
#define SUBJECT_TINY 0.005     /* part of the picture below which a subject is taken for noise */
#define SUBJECT_ALL 0.90       /* … and above which there is no background worth cutting off */
#define SUBJECT_MARGIN 0.08    /* of the box's longer side, added on every side */

enum result image_refit(
    const struct image_pixels *from, const struct image_box *part, const struct image_want *want, uint8_t *to)
{
    struct image_plan plan;
    uint8_t *cut = malloc((size_t)part->width * part->height * 3), *scaled = NULL;
    image_plan_make(part->width, part->height, 1, want, &plan);
    scaled = malloc((size_t)plan.width * plan.height * 3);
    enum result result = cut && scaled ? ERR_OK : ERR_NO_MEMORY;
    if (result)
        goto out;
    for (uint32_t y = 0; y < part->height; y++)
        memcpy(cut + (size_t)y * part->width * 3, from->pixels + ((size_t)(part->top + y) * from->width + part->left) * 3,
            (size_t)part->width * 3);
    const struct image_scale scale = {.from = cut,
        .from_width = part->width,
        .from_height = part->height,
        .extent_x = part->width,
        .extent_y = part->height,
        .whole_width = plan.scaled_width,
        .whole_height = plan.scaled_height,
        .left = plan.left,
        .top = plan.top,
        .width = plan.width,
        .height = plan.height,
        .filter = IMAGE_FILTER_CUBIC};
    result = image_scale(&scale, scaled);
    if (result)
        goto out;
    memset(to, want->resize == IMAGE_FIT_BLACK ? 0 : 255, (size_t)want->width * want->height * 3);
    for (uint32_t y = 0; y < plan.height; y++)
        memcpy(to + ((size_t)(plan.pad_top + y) * want->width + plan.pad_left) * 3, scaled + (size_t)y * plan.width * 3,
            (size_t)plan.width * 3);
out:
    free(cut);
    free(scaled);
    return result;
}

void image_fit_box(uint32_t width, uint32_t height, const struct image_want *want, struct image_box *out)
{
    struct image_plan plan;
    image_plan_make(width, height, 1, want, &plan);
    *out = (struct image_box){plan.pad_left, plan.pad_top, plan.width, plan.height};
}

void image_stretch_range(uint8_t *pixels, size_t n)
{
    unsigned most = 0;
    for (size_t i = 0; i < n; i++)
        most = pixels[i] > most ? pixels[i] : most;
    if (most == 0 || most == 255)
        return;
    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)((pixels[i] * 255u + most / 2) / most);
}

void image_mask_of_scores(const float *scores, size_t n, uint8_t *mask)
{
    float least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        least = fminf(least, scores[i]);
        most = fmaxf(most, scores[i]);
    }
    float scale = most > least ? 255 / (most - least) : 0;
    for (size_t i = 0; i < n; i++)
        mask[i] = (uint8_t)((scores[i] - least) * scale);
}

/* image_scale() takes three channels; the copies cost less than a second scaler would in the code. */
enum result image_mask_scale(
    const uint8_t *mask, uint32_t width, uint32_t height, uint32_t to_width, uint32_t to_height, uint8_t *to)
{
    size_t n = (size_t)width * height, m = (size_t)to_width * to_height;
    uint8_t *from = malloc(n * 3), *scaled = malloc(m * 3);
    enum result result = from && scaled ? ERR_OK : ERR_NO_MEMORY;
    for (size_t i = 0; i < n && !result; i++)
        memset(from + 3 * i, mask[i], 3);
    const struct image_scale scale = {.from = from,
        .from_width = width,
        .from_height = height,
        .extent_x = width,
        .extent_y = height,
        .whole_width = to_width,
        .whole_height = to_height,
        .width = to_width,
        .height = to_height,
        .filter = IMAGE_FILTER_CUBIC};
    if (!result)
        result = image_scale(&scale, scaled);
    for (size_t i = 0; i < m && !result; i++)
        to[i] = scaled[3 * i];
    free(from);
    free(scaled);
    return result;
}

void image_mask_apply(uint8_t *pixels, size_t n, const uint8_t *mask, uint8_t fill)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) {
            unsigned value = pixels[3 * i + c] * mask[i] + fill * (255u - mask[i]);
            pixels[3 * i + c] = (uint8_t)((value + 127) / 255);
        }
}

/* The interval [from, from + size) with `size` grown to `wanted` around its middle, kept in [begin, begin + length). */
static void grow(uint32_t *from, uint32_t *size, uint32_t wanted, uint32_t begin, uint32_t length)
{
    if (wanted > length)
        wanted = length;
    int64_t start = (int64_t)*from + *size / 2 - wanted / 2, last = (int64_t)begin + length - wanted;
    *from = (uint32_t)(start < begin ? begin : start > last ? last : start);
    *size = wanted;
}

bool image_mask_box(const uint8_t *mask, uint32_t width, const struct image_box *content, struct image_box *out)
{
    uint32_t right = 0, bottom = 0, left = UINT32_MAX, top = UINT32_MAX;
    size_t count = 0;
    for (uint32_t y = content->top; y < content->top + content->height; y++)
        for (uint32_t x = content->left; x < content->left + content->width; x++) {
            if (mask[(size_t)y * width + x] < SUBJECT_LEVEL)
                continue;
            count++;
            left = x < left ? x : left;
            right = x > right ? x : right;
            top = y < top ? y : top;
            bottom = y;
        }
    double part = (double)count / ((double)content->width * content->height);
    *out = *content;
    if (part < SUBJECT_TINY || part > SUBJECT_ALL)
        return false;
    struct image_box box = {left, top, right - left + 1, bottom - top + 1};
    uint32_t longer = box.width > box.height ? box.width : box.height;
    uint32_t side = longer + 2 * (uint32_t)lround(longer * SUBJECT_MARGIN);
    grow(&box.left, &box.width, side, content->left, content->width);
    grow(&box.top, &box.height, side, content->top, content->height);
    *out = box;
    return true;
}

/* "P6" with three bytes a pixel, "P5" with one. */
static enum result save_plain(const struct image_pixels *pixels, unsigned bands, uint8_t **file, size_t *len)
{
    char head[64];
    size_t n = (size_t)pixels->width * pixels->height * bands;
    size_t h = (size_t)snprintf(head, sizeof head, "P%d\n%u %u\n255\n", bands == 3 ? 6 : 5, pixels->width, pixels->height);
    uint8_t *out = malloc(h + n);
    if (!out)
        return ERR_NO_MEMORY;
    memcpy(out, head, h);
    memcpy(out + h, pixels->pixels, n);
    *file = out;
    *len = h + n;
    return ERR_OK;
}

enum result image_pixels_save(const struct image_pixels *pixels, bool plain, uint8_t **file, size_t *len)
{
    if (plain)
        return save_plain(pixels, 3, file, len);
    return image_jpeg_save(pixels->pixels, pixels->width, pixels->height, SEEN_QUALITY, file, len);
}

enum result image_mask_save(const struct image_pixels *mask, bool plain, uint8_t **file, size_t *len)
{
    if (plain)
        return save_plain(mask, 1, file, len);
    size_t n = (size_t)mask->width * mask->height;
    uint8_t *pixels = malloc(n * 3);
    if (!pixels)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        memset(pixels + 3 * i, mask->pixels[i], 3);
    enum result result = image_jpeg_save(pixels, mask->width, mask->height, SEEN_QUALITY, file, len);
    free(pixels);
    return result;
}
