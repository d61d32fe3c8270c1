/*
 * Two passes, down then across, row by row: one row of the result needs a few rows of the source, which are
 * added up into one row of floats (contiguous, so compilers vectorise it), and that row is then scaled
 * across, three channels at a time in one vector register of four. Nothing but the window is computed, and no
 * memory but a row and the weights is needed; the weights of an axis are at most four times the source's
 * length plus three times the window's.
 *
 * Why not vips_resize(): the numbers here become vectors that are stored for years, and must be the same with
 * libvips 8.14 and 8.16 and agree with what models were trained on (Pillow); a window in a picture that is
 * nominally millions of pixels long must work; and its horizontal pass in 8.14 is scalar: 2.1 ms where this
 * takes 0.6, for a picture of 400 × 534 that decodes in 1.0 (bench/image_bench).
 *
 * The weights are those of Pillow: the filter is sampled at the centres of source pixels, clipped at the
 * borders and normalised to 1. Sums are floats and rounded once at the end, where Pillow rounds to 8 bits
 * between the passes.
 */
#include "image/scale.h"

#include "base/cpu.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef float float4 __attribute__((vector_size(16)));

/* Rows added per sweep over the sum. */
#define SWEEP 4

/* For each pixel of the window along one axis: the first source pixel, how many, and their weights. */
struct axis {
    uint32_t *first, *count;
    float *weights; /* `taps` a pixel, those past `count` are 0 */
    uint32_t taps;
};

/* One call of image_scale(). The columns of the source that the window needs are one span. */
struct work {
    const struct image_scale *scale;
    struct axis across, down;
    uint32_t column0, columns;
    float *sum;    /* one row of those columns, and one float more */
    float *scaled; /* one row of the window, and one float more */
};

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys, "Cubic convolution interpolation for digital image processing", 1981. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static void axis_free(struct axis *axis)
{
    free(axis->first);
    free(axis->count);
    free(axis->weights);
}

static enum result axis_make(
    struct axis *axis, enum image_filter filter, uint32_t size, double ratio, const uint32_t window[2])
{
    double widened = ratio > 1 ? ratio : 1;
    double support = (filter == IMAGE_FILTER_CUBIC ? 2 : 1) * widened;
    uint32_t n = window[1],
             taps = (uint32_t)floor(2 * support) + 1; /* most integers in a span of 2 × support */
    axis->taps = (taps + SWEEP - 1) / SWEEP * SWEEP;
    axis->first = calloc(n, sizeof(*axis->first));
    axis->count = calloc(n, sizeof(*axis->count));
    axis->weights = calloc((size_t)n * axis->taps, sizeof(*axis->weights));
    if (!axis->first || !axis->count || !axis->weights)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        double centre = ((double)window[0] + i + 0.5) * ratio, sum = 0;
        double from = floor(centre - support + 0.5), to = floor(centre + support + 0.5);
        uint32_t first = from < 0 ? 0 : from > size - 1 ? size - 1 : (uint32_t)from;
        uint32_t end = to > size ? size : to < first + 1 ? first + 1 : (uint32_t)to;
        float *w = axis->weights + (size_t)i * axis->taps;
        for (uint32_t k = 0; k < end - first; k++) {
            double x = (first + k + 0.5 - centre) / widened;
            double value = filter == IMAGE_FILTER_CUBIC ? cubic(x) : triangle(x);
            w[k] = (float)value;
            sum += value;
        }
        for (uint32_t k = 0; k < end - first && sum != 0; k++)
            w[k] = (float)(w[k] / sum);
        axis->first[i] = first;
        axis->count[i] = end - first;
    }
    return ERR_OK;
}

/* The inner loops are compiled twice on x86-64, see window_avx2(). */
#define INNER static inline __attribute__((always_inline))

/* sum[i] (+)= Σ w[k] × rows[k][i], four rows at once so that the sum is read and written once for them. */
INNER void add_rows(float *restrict sum, const uint8_t *const *rows, const float *w, uint32_t n, bool begin)
{
    const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2], *restrict d = rows[3];
    const float wa = w[0], wb = w[1], wc = w[2], wd = w[3];
    if (begin) {
        for (uint32_t i = 0; i < n; i++)
            sum[i] = wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
    } else {
        for (uint32_t i = 0; i < n; i++)
            sum[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
    }
}

/* One row of the result, not yet scaled across: `columns` columns of the source from column0 on. */
INNER void scale_down(const struct work *work, uint32_t y)
{
    const struct axis *down = &work->down;
    size_t stride = (size_t)work->scale->from_width * 3;
    const uint8_t *first = work->scale->from + down->first[y] * stride + (size_t)work->column0 * 3;
    const float *weights = down->weights + (size_t)y * down->taps;
    for (uint32_t k = 0; k < down->count[y]; k += SWEEP) {
        const uint8_t *rows[SWEEP];
        for (uint32_t j = 0; j < SWEEP; j++) /* past the last row the weight is 0, and any row will do */
            rows[j] = first + (k + j < down->count[y] ? k + j : 0) * stride;
        add_rows(work->sum, rows, weights + k, work->columns * 3, k == 0);
    }
}

/* Three channels at a time in vectors of four; the fourth is overwritten by the next pixel. */
INNER void scale_across(const struct work *work)
{
    const struct axis *across = &work->across;
    const float *w = across->weights;
    float *out = work->scaled;
    for (uint32_t x = 0; x < work->scale->width; x++, out += 3, w += across->taps) {
        const float *from = work->sum + (size_t)(across->first[x] - work->column0) * 3;
        float4 sum = {0};
        for (uint32_t k = 0; k < across->count[x]; k++, from += 3) {
            float4 pixel;
            memcpy(&pixel, from, sizeof(pixel));
            sum += pixel * (float4){w[k], w[k], w[k], w[k]};
        }
        memcpy(out, &sum, sizeof(sum));
    }
}

INNER void to_bytes(const float *restrict from, uint32_t n, uint8_t *restrict to)
{
    for (uint32_t i = 0; i < n; i++) {
        float value = from[i] + 0.5f;
        value = value < 0 ? 0 : value;
        value = value > 255 ? 255 : value;
        to[i] = (uint8_t)(int)value;
    }
}

INNER void window(const struct work *work, uint8_t *to)
{
    uint32_t n = work->scale->width * 3;
    for (uint32_t y = 0; y < work->scale->height; y++, to += n) {
        scale_down(work, y);
        scale_across(work);
        to_bytes(work->scaled, n, to);
    }
}

static void window_plain(const struct work *work, uint8_t *to)
{
    window(work, to);
}

#ifdef __x86_64__
/* Wider registers, but no fused multiply-add: the numbers are the same with and without. */
__attribute__((target("avx2"))) static void window_avx2(const struct work *work, uint8_t *to)
{
    window(work, to);
}
#endif

static void compute(const struct work *work, uint8_t *to)
{
#ifdef __x86_64__
    if (cpu_features() & CPU_AVX2) {
        window_avx2(work, to);
        return;
    }
#endif
    window_plain(work, to);
}

enum result image_scale(const struct image_scale *scale, uint8_t *to)
{
    struct work work = {.scale = scale};
    enum result result = axis_make(&work.across, scale->filter, scale->from_width,
        scale->extent_x / scale->whole_width, (const uint32_t[]){scale->left, scale->width});
    if (!result)
        result = axis_make(&work.down, scale->filter, scale->from_height,
            scale->extent_y / scale->whole_height, (const uint32_t[]){scale->top, scale->height});
    if (result)
        goto out;
    uint32_t last = scale->width - 1;
    work.column0 = work.across.first[0];
    work.columns = work.across.first[last] + work.across.count[last] - work.column0;
    work.sum = calloc((size_t)work.columns * 3 + 1, sizeof(*work.sum));
    work.scaled = calloc((size_t)scale->width * 3 + 1, sizeof(*work.scaled));
    if (work.sum && work.scaled)
        compute(&work, to);
    else
        result = ERR_NO_MEMORY;
out:
    free(work.sum);
    free(work.scaled);
    axis_free(&work.across);
    axis_free(&work.down);
    return result;
}
