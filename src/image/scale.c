/*
 * Two passes, across then down, as Pillow does it, to the bit: weights are computed in doubles and rounded to
 * 22 bits behind the point, sums are integers, and the result of the first pass is rounded to 8 bits as that
 * of the second. One row of the source is scaled across at a time, three channels in one vector register of
 * four, into a ring of the rows that the row of the result in the making needs; those are added up four at a
 * time (contiguous, so compilers vectorise it). Nothing but the window is computed, and no memory but the
 * ring, a row of sums and the weights is needed; the weights of an axis are at most four times the source's
 * length plus three times the window's, and the ring has at most as many rows as the source.
 *
 * Why to the bit: the models were trained and are measured on Pillow's pixels. Scaling down first in floats and
 * rounding once was more exact, and cost half a point of accuracy on photos of groceries.
 *
 * Why not vips_resize(): the numbers here become vectors that are stored for years, and must be the same with
 * libvips 8.14 and 8.16; a window in a picture that is nominally millions of pixels long must work; and its
 * horizontal pass in 8.14 is scalar.
 */
#include "image/scale.h"

#include "base/cpu.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

typedef int32_t int4 __attribute__((vector_size(16)));
typedef uint8_t byte4 __attribute__((vector_size(4)));

/* Rows, or pixels of a row, added at once. */
#define SWEEP 4

/* How far behind the last pixel of a row is read, at most: SWEEP - 1 pixels and to the end of a register. */
#define PADDING 16

/*
 * Bits behind the point of a weight: 8 of the pixel, 22 of the weight, and 2 because weights that overshoot add
 * up to more than 1 in amount, to 1.3 at most, fit into 32.
 */
#define PRECISION 22
#define HALF (1 << (PRECISION - 1))

/* For each pixel of the window along one axis: the first source pixel, how many, and their weights. */
struct axis {
    uint32_t *first, *count;
    int32_t *weights; /* `taps` a pixel, those past `count` are 0 */
    uint32_t taps;
};

/* One call of image_scale(). The rows of the source that the window needs are one span. */
struct work {
    const struct image_scale *scale;
    struct axis across, down;
    uint8_t *ring;      /* rows of the window's width and a byte: row y of the source, scaled, is y % ring_rows */
    uint32_t ring_rows; /* at most down.taps */
    uint8_t *padded;    /* a row of the source, and PADDING bytes more */
    int32_t *sum;       /* one row of the window */
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

/* The weights of `count` source pixels from `first` on, around `centre`. `value` has room for them. */
static void weigh(enum image_filter filter, uint32_t first, uint32_t count, double centre, double widened,
    double *value, int32_t *out)
{
    double sum = 0;
    for (uint32_t k = 0; k < count; k++) {
        double x = ((double)(first + k) - centre + 0.5) * (1 / widened);
        value[k] = filter == IMAGE_FILTER_CUBIC ? cubic(x) : triangle(x);
        sum += value[k];
    }
    for (uint32_t k = 0; k < count; k++) {
        double w = sum != 0 ? value[k] / sum : value[k];
        out[k] = (int32_t)(w * (1 << PRECISION) + (w < 0 ? -0.5 : 0.5));
    }
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
    double *value = calloc(axis->taps, sizeof(*value));
    if (!axis->first || !axis->count || !axis->weights || !value) {
        free(value);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < n; i++) {
        double centre = ((double)window[0] + i + 0.5) * ratio;
        double from = floor(centre - support + 0.5), to = floor(centre + support + 0.5);
        uint32_t first = from < 0 ? 0 : from > size - 1 ? size - 1 : (uint32_t)from;
        uint32_t end = to > size ? size : to < first + 1 ? first + 1 : (uint32_t)to;
        axis->first[i] = first;
        axis->count[i] = end - first;
        weigh(filter, first, end - first, centre, widened, value, axis->weights + (size_t)i * axis->taps);
    }
    free(value);
    return ERR_OK;
}

/* The inner loops are compiled twice on x86-64, see window_avx2(); one of them is written twice. */
#define INNER static inline __attribute__((always_inline))

INNER uint8_t to_byte(int32_t sum)
{
    int32_t value = sum >> PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* sum[i] (+)= Σ w[k] × rows[k][i], four rows at once so that the sum is read and written once for them. */
INNER void add_rows(int32_t *restrict sum, const uint8_t *const *rows, const int32_t *w, uint32_t n, bool begin)
{
    const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2], *restrict d = rows[3];
    const int32_t wa = w[0], wb = w[1], wc = w[2], wd = w[3];
    if (begin) {
        for (uint32_t i = 0; i < n; i++)
            sum[i] = HALF + wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
    } else {
        for (uint32_t i = 0; i < n; i++)
            sum[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
    }
}

/* One row of the result, from the rows of the ring. */
INNER void scale_down(const struct work *work, uint32_t y, uint8_t *restrict to)
{
    const struct axis *down = &work->down;
    size_t n = (size_t)work->scale->width * 3;
    const int32_t *weights = down->weights + (size_t)y * down->taps;
    for (uint32_t k = 0; k < down->count[y]; k += SWEEP) {
        const uint8_t *rows[SWEEP];
        for (uint32_t j = 0; j < SWEEP; j++) { /* past the last row the weight is 0, and any row will do */
            uint32_t row = down->first[y] + (k + j < down->count[y] ? k + j : 0);
            rows[j] = work->ring + row % work->ring_rows * (n + 1);
        }
        add_rows(work->sum, rows, weights + k, (uint32_t)n, k == 0);
    }
    for (size_t i = 0; i < n; i++)
        to[i] = to_byte(work->sum[i]);
}

/* 0…255 of each, as bytes. */
INNER byte4 to_bytes(int4 sum)
{
    int4 value = sum >> PRECISION, over = value > 255;
    value &= ~(value >> 31);
    value = (value & ~over) | (over & 255);
    return __builtin_convertvector(value, byte4);
}

INNER int4 weighted(const uint8_t *from, int32_t weight)
{
    byte4 pixel;
    memcpy(&pixel, from, sizeof(pixel));
    return __builtin_convertvector(pixel, int4) * weight;
}

/*
 * One row of the source. Three channels at a time in vectors of four; what the fourth reads and writes belongs to the
 * next pixel. Weights past `count` are 0, what they are multiplied with does not matter, but it must be there to
 * read: PADDING.
 */
INNER void scale_across(const struct work *work, const uint8_t *row, uint8_t *out)
{
    const struct axis *across = &work->across;
    const int32_t *w = across->weights;
    for (uint32_t x = 0; x < work->scale->width; x++, out += 3, w += across->taps) {
        const uint8_t *from = row + (size_t)across->first[x] * 3;
        int4 sum = {HALF, HALF, HALF, HALF}, more = {0};
        for (uint32_t k = 0; k < across->count[x]; k += SWEEP, from += (size_t)SWEEP * 3) {
            sum += weighted(from, w[k]) + weighted(from + 3, w[k + 1]);
            more += weighted(from + 6, w[k + 2]) + weighted(from + 9, w[k + 3]);
        }
        byte4 bytes = to_bytes(sum + more);
        memcpy(out, &bytes, sizeof(bytes));
    }
}

/* `across` is the one above or one like it. */
INNER void window(const struct work *work, uint8_t *to, void (*across)(const struct work *, const uint8_t *, uint8_t *))
{
    const struct image_scale *s = work->scale;
    size_t stride = (size_t)s->from_width * 3, n = (size_t)s->width * 3;
    uint32_t next = work->down.first[0];
    for (uint32_t y = 0; y < s->height; y++, to += n) {
        for (; next < work->down.first[y] + work->down.count[y]; next++) {
            const uint8_t *row = s->from + next * stride;
            if ((s->from_height - 1 - next) * stride < PADDING)
                row = memcpy(work->padded, row, stride);
            across(work, row, work->ring + next % work->ring_rows * (n + 1));
        }
        scale_down(work, y, to);
    }
}

static void window_plain(struct work *work, uint8_t *to)
{
    window(work, to, scale_across);
}

#ifdef __x86_64__

#define AVX2 __attribute__((target("avx2")))
#define LOW_BITS 11

/* Four weights become eight numbers of 16 bits in their place: w >> LOW_BITS of each, then the bits below. */
static void split_weights(struct axis *axis, uint32_t n)
{
    for (int32_t *w = axis->weights, *end = w + (size_t)n * axis->taps; w < end; w += SWEEP) {
        int16_t parts[2 * SWEEP];
        for (int k = 0; k < SWEEP; k++) {
            parts[k] = (int16_t)(w[k] >> LOW_BITS);
            parts[SWEEP + k] = (int16_t)(w[k] & ((1 << LOW_BITS) - 1));
        }
        memcpy(w, parts, sizeof(parts));
    }
}

/*
 * As scale_across(), two products and their sum per instruction and number: pixels 0 and 1 in the lower half of a
 * register, 2 and 3 in the upper one, each with the high and the low parts of the weights. The sums are exact, so the
 * numbers are the same.
 */
AVX2 static inline void scale_across_avx2(const struct work *work, const uint8_t *row, uint8_t *out)
{
    const char none = -128; /* a zero */
    const __m256i pairs = _mm256_setr_epi8(0, none, 3, none, 1, none, 4, none, 2, none, 5, none, none, none, none, none,
        6, none, 9, none, 7, none, 10, none, 8, none, 11, none, none, none, none, none);
    const __m256i high = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), low = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const struct axis *across = &work->across;
    const int32_t *w = across->weights;
    for (uint32_t x = 0; x < work->scale->width; x++, out += 3, w += across->taps) {
        const uint8_t *from = row + (size_t)across->first[x] * 3;
        __m256i sum_high = _mm256_setzero_si256(), sum_low = sum_high;
        for (uint32_t k = 0; k < across->count[x]; k += SWEEP, from += (size_t)SWEEP * 3) {
            __m256i pixels = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)from));
            __m256 parts = _mm256_broadcast_ps((const __m128 *)(const void *)(w + k));
            pixels = _mm256_shuffle_epi8(pixels, pairs);
            __m256i weights_high = _mm256_castps_si256(_mm256_permutevar_ps(parts, high));
            __m256i weights_low = _mm256_castps_si256(_mm256_permutevar_ps(parts, low));
            sum_high = _mm256_add_epi32(sum_high, _mm256_madd_epi16(pixels, weights_high));
            sum_low = _mm256_add_epi32(sum_low, _mm256_madd_epi16(pixels, weights_low));
        }
        __m256i both = _mm256_add_epi32(_mm256_slli_epi32(sum_high, LOW_BITS), sum_low);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(HALF)), PRECISION);
        sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
        int bytes = _mm_cvtsi128_si32(sum);
        memcpy(out, &bytes, sizeof(bytes));
    }
}

AVX2 static void window_avx2(struct work *work, uint8_t *to)
{
    split_weights(&work->across, work->scale->width);
    window(work, to, scale_across_avx2);
}

#endif

static void compute(struct work *work, uint8_t *to)
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
    size_t row = (size_t)scale->from_width * 3;
    work.ring_rows = work.down.taps < scale->from_height ? work.down.taps : scale->from_height;
    work.ring = calloc(work.ring_rows, (size_t)scale->width * 3 + 1);
    work.padded = calloc(1, row + PADDING);
    work.sum = calloc((size_t)scale->width * 3, sizeof(*work.sum));
    if (work.ring && work.padded && work.sum)
        compute(&work, to);
    else
        result = ERR_NO_MEMORY;
out:
    free(work.ring);
    free(work.padded);
    free(work.sum);
    axis_free(&work.across);
    axis_free(&work.down);
    return result;
}
