/* Plain C: what every other table is compared with, and what a CPU without AVX2 or dot products runs. */
#include "kernel/codes_tables.h"

#include <math.h>

static int32_t dot(const int8_t *a, const int8_t *b, int32_t b_sum, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static int32_t sum_where(const uint8_t *bits, const int8_t *q, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i += 8)
        for (size_t j = 0; j < 8; j++)
            sum += q[i + j] & -((bits[i / 8] >> j) & 1);
    return sum;
}

static float max_abs(const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

static int32_t encode(const float *x, float inverse, int8_t *code, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * inverse;
        v = v > 127 ? 127 : v < -127 ? -127 : v;
        code[i] = (int8_t)lrintf(v);
        sum += code[i];
    }
    return sum;
}

static void hadamard(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

KERNEL_UNSYNCHRONIZED static uint32_t glance(const struct kernel_block *b, const struct kernel_glance *g, uint32_t rows, float *near)
{
    uint32_t below = 0;
    for (size_t r = 0; r < KERNEL_BLOCK; r++) {
        int32_t sum = 0;
        for (size_t p = 0; p < KERNEL_PARTS; p++) {
            const uint8_t *bytes = (const uint8_t *)&b->parts[p][r];
            for (size_t i = 0; i < 4; i++)
                sum += bytes[i] * g->q[4 * p + i];
        }
        near[r] = rows >> r & 1 ? b->base[r] + g->offset - g->scale * (float)sum : INFINITY;
        below |= (uint32_t)(near[r] < g->limit) << r;
    }
    return below;
}

KERNEL_UNSYNCHRONIZED static uint32_t nearer(const float *near, const float *rest, float doubt, float limit)
{
    uint32_t below = 0;
    for (size_t r = 0; r < KERNEL_BLOCK; r++)
        below |= (uint32_t)(near[r] - doubt * rest[r] < limit) << r;
    return below;
}

const struct kernel_codes kernel_codes_scalar = {
    .name = "scalar",
    .dot = dot,
    .sum_where = sum_where,
    .max_abs = max_abs,
    .encode = encode,
    .hadamard = hadamard,
    .glance = glance,
    .nearer = nearer,
};
