/*
 * Plain C: what every other table is compared with, and what a CPU without AVX2 or NEON runs. Sums go to
 * eight partial sums, because one 32-bit sum over thousands of terms loses digits, and because compilers
 * vectorise it so.
 */
#include "kernel/tables.h"

#include <string.h>

#define LANES 8

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/*
 * The exponent is moved by a multiplication, which is exact and does subnormal numbers as well; only infinity
 * and NaN need a look of their own. A NaN comes out quiet, as the CPU's own conversion gives it.
 */
static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
    uint32_t bits = to_bits(from_bits(rest) * 0x1p112f);
    if (rest >= 0x0f800000u)
        bits = 0x7f800000u | (rest & 0x007fffffu) | (rest > 0x0f800000u ? 0x00400000u : 0u);
    return from_bits(bits | sign);
}

static uint16_t float_to_half(float f)
{
    uint32_t bits = to_bits(f);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t a = bits & 0x7fffffffu;
    if (a > 0x7f800000u) /* NaN, made quiet */
        return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    if (a >= 0x477ff000u) /* 65520, halfway to the number that would come after 65504 */
        return (uint16_t)(sign | 0x7c00u);
    if (a >= 0x38800000u) /* 2^-14: a normal number; a carry out of the mantissa belongs into the exponent */
        return (uint16_t)(sign | ((a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13));
    uint32_t shift = 126u - (a >> 23);
    if (shift > 24) /* below half of the smallest subnormal number */
        return sign;
    uint32_t mantissa = (a & 0x7fffffu) | 0x800000u;
    uint32_t kept = mantissa >> shift, lost = mantissa & ((1u << shift) - 1u), half = 1u << (shift - 1u);
    return (uint16_t)(sign | (kept + (lost > half || (lost == half && (kept & 1u)))));
}

static float sum_lanes(const float *s)
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static float l2sq_f16(const float *q, const uint16_t *x, size_t dim)
{
    float s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float d = q[i + j] - half_to_float(x[i + j]);
            s[j] += d * d;
        }
    for (; i < dim; i++) {
        float d = q[i] - half_to_float(x[i]);
        s[i % LANES] += d * d;
    }
    return sum_lanes(s);
}

static float dot_f16(const float *q, const uint16_t *x, size_t dim)
{
    float s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            s[j] += q[i + j] * half_to_float(x[i + j]);
    for (; i < dim; i++)
        s[i % LANES] += q[i] * half_to_float(x[i]);
    return sum_lanes(s);
}

static float dot_f32(const float *a, const float *b, size_t dim)
{
    float s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            s[j] += a[i + j] * b[i + j];
    for (; i < dim; i++)
        s[i % LANES] += a[i] * b[i];
    return sum_lanes(s);
}

static void f32_to_f16(const float *from, uint16_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = float_to_half(from[i]);
}

static void f16_to_f32(const uint16_t *from, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = half_to_float(from[i]);
}

const struct kernel kernel_scalar = {
    .name = "scalar",
    .l2sq_f16 = l2sq_f16,
    .dot_f16 = dot_f16,
    .dot_f32 = dot_f32,
    .f32_to_f16 = f32_to_f16,
    .f16_to_f32 = f16_to_f32,
};
