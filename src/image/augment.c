/*
 * The unit square is mapped to the four corners by a homography in closed form (Heckbert, "Fundamentals of texture mapping and
 * image warping", 1989, section 2.2.3), and the old picture is read bilinearly. Corners stay inside the picture or a little
 * outside, where its border is continued. libvips has no projective map, and its affine one would be three of its operations.
 */
#include "image/augment.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TURN 0.26f        /* at most, in radians: 15° */
#define CROP_LEAST 0.7f   /* of the sides */
#define SKEW 0.06f        /* of a corner, in sides of the crop */
#define LIGHT 0.3f
#define COLOUR 0.08f
#define CONTRAST 0.25f
#define BLUR_MOST 2

/* −1 … 1 */
static float chance(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (float)(*random >> 40) / (float)(1 << 23) - 1;
}

void image_change_draw(uint64_t *random, struct image_change *out)
{
    static const float square[8] = {-0.5f, -0.5f, 0.5f, -0.5f, 0.5f, 0.5f, -0.5f, 0.5f};
    float side = CROP_LEAST + (1 - CROP_LEAST) * (chance(random) + 1) / 2, turn = TURN * chance(random);
    float x = 0.5f + (1 - side) / 2 * chance(random), y = 0.5f + (1 - side) / 2 * chance(random);
    float mirror = chance(random) < 0 ? -1 : 1, light = 1 + LIGHT * chance(random);
    for (int i = 0; i < 4; i++) {
        float u = side * mirror * (square[2 * i] + SKEW * chance(random)), v = side * (square[2 * i + 1] + SKEW * chance(random));
        out->corner[2 * i] = x + u * cosf(turn) - v * sinf(turn);
        out->corner[2 * i + 1] = y + u * sinf(turn) + v * cosf(turn);
    }
    for (int i = 0; i < 3; i++)
        out->gain[i] = light * (1 + COLOUR * chance(random));
    out->contrast = 1 + CONTRAST * chance(random);
    out->blur = (uint32_t)fmaxf(0, chance(random) * (BLUR_MOST + 1));
}

/* x = (h0 u + h1 v + h2) / (h6 u + h7 v + 1), y alike with h3 … h5; false: the corners are no quadrilateral. */
static bool homography(const float *corner, float *h)
{
    const float *a = corner, *b = corner + 2, *c = corner + 4, *d = corner + 6;
    float dx1 = b[0] - c[0], dx2 = d[0] - c[0], sx = a[0] - b[0] + c[0] - d[0];
    float dy1 = b[1] - c[1], dy2 = d[1] - c[1], sy = a[1] - b[1] + c[1] - d[1];
    float det = dx1 * dy2 - dx2 * dy1;
    if (fabsf(det) < 1e-6f)
        return false;
    h[6] = (sx * dy2 - dx2 * sy) / det;
    h[7] = (dx1 * sy - sx * dy1) / det;
    h[0] = b[0] - a[0] + h[6] * b[0];
    h[1] = d[0] - a[0] + h[7] * d[0];
    h[2] = a[0];
    h[3] = b[1] - a[1] + h[6] * b[1];
    h[4] = d[1] - a[1] + h[7] * d[1];
    h[5] = a[1];
    return true;
}

static float clamp(float x, float most)
{
    return x < 0 ? 0 : x > most ? most : x;
}

struct picture {
    const uint8_t *pixels;
    uint32_t width, height;
};

/* Colours at x, y in pixels, between the four that are nearest. */
static void sample(const struct picture *p, float x, float y, float *out)
{
    const uint8_t *pixels = p->pixels;
    size_t width = p->width;
    x = clamp(x, (float)(p->width - 1));
    y = clamp(y, (float)(p->height - 1));
    size_t left = (size_t)x, top = (size_t)y;
    size_t right = left + (left + 1 < width), bottom = top + (top + 1 < p->height);
    float u = x - (float)left, v = y - (float)top;
    for (int i = 0; i < 3; i++) {
        float a = pixels[(top * width + left) * 3 + i], b = pixels[(top * width + right) * 3 + i];
        float c = pixels[(bottom * width + left) * 3 + i], d = pixels[(bottom * width + right) * 3 + i];
        out[i] = (a + u * (b - a)) * (1 - v) + (c + u * (d - c)) * v;
    }
}

/* `n` lines, `next` floats from one to the next, of `len` pixels `step` floats apart. */
struct lines {
    size_t n, next, len, step;
};

/* Means of 2·radius + 1 pixels along the lines. */
static void blur_lines(const struct lines *l, const float *from, float *to, uint32_t radius)
{
    for (size_t line = 0; line < l->n; line++)
        for (size_t i = 0; i < l->len; i++) {
            size_t first = i < radius ? 0 : i - radius, last = i + radius < l->len ? i + radius : l->len - 1;
            for (size_t k = 0; k < 3; k++) {
                float sum = 0;
                for (size_t at = first; at <= last; at++)
                    sum += from[line * l->next + at * l->step + k];
                to[line * l->next + i * l->step + k] = sum / (float)(last - first + 1);
            }
        }
}

enum result image_augment(const uint8_t *pixels, uint32_t width, uint32_t height, const struct image_change *change,
    uint8_t *out, struct err *err)
{
    size_t count = (size_t)width * height * 3;
    const struct picture from = {pixels, width, height};
    float h[8] = {0}, *made = malloc(count * sizeof *made), *room = malloc(count * sizeof *room);
    enum result r = made && room ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && !homography(change->corner, h))
        r = err_set(err, ERR_INVALID, "the corners of a changed picture lie on a line");
    for (uint32_t i = 0; r == ERR_OK && i < height; i++)
        for (uint32_t k = 0; k < width; k++) {
            float u = ((float)k + 0.5f) / (float)width, v = ((float)i + 0.5f) / (float)height;
            float w = h[6] * u + h[7] * v + 1;
            float x = (h[0] * u + h[1] * v + h[2]) / w, y = (h[3] * u + h[4] * v + h[5]) / w;
            sample(&from, x * (float)width - 0.5f, y * (float)height - 0.5f, made + ((size_t)i * width + k) * 3);
        }
    if (r == ERR_OK && change->blur) {
        size_t row = (size_t)width * 3;
        blur_lines(&(struct lines){height, row, width, 3}, made, room, change->blur);
        blur_lines(&(struct lines){width, 3, height, row}, room, made, change->blur);
    }
    for (size_t i = 0; r == ERR_OK && i < count; i++) {
        float value = (made[i] * change->gain[i % 3] - 127.5f) * change->contrast + 127.5f;
        out[i] = (uint8_t)(clamp(value, 255) + 0.5f);
    }
    free(made);
    free(room);
    return r;
}
