/*
 * AVX2 with FMA and F16C. Four sums hide the latency of the fused multiply-add. A tail shorter than eight is
 * copied into zeroed blocks: zeros add nothing to any of the sums, and no load reaches beyond the vector.
 */
#include "kernel/tables.h"

#include <immintrin.h>
#include <string.h>

#define ROUND (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static inline __m256 load_f16(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
}

static inline float sum(__m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 s = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    h = _mm_add_ss(h, _mm_movehdup_ps(h));
    return _mm_cvtss_f32(h);
}

static inline __m256 l2_step(__m256 q, __m256 x, __m256 s)
{
    __m256 d = _mm256_sub_ps(q, x);
    return _mm256_fmadd_ps(d, d, s);
}

static float l2sq_f16(const float *q, const uint16_t *x, size_t dim)
{
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        a = l2_step(_mm256_loadu_ps(q + i), load_f16(x + i), a);
        b = l2_step(_mm256_loadu_ps(q + i + 8), load_f16(x + i + 8), b);
        c = l2_step(_mm256_loadu_ps(q + i + 16), load_f16(x + i + 16), c);
        d = l2_step(_mm256_loadu_ps(q + i + 24), load_f16(x + i + 24), d);
    }
    for (; i + 8 <= dim; i += 8)
        a = l2_step(_mm256_loadu_ps(q + i), load_f16(x + i), a);
    if (i < dim) {
        float qt[8] = {0};
        uint16_t xt[8] = {0};
        memcpy(qt, q + i, (dim - i) * sizeof *q);
        memcpy(xt, x + i, (dim - i) * sizeof *x);
        b = l2_step(_mm256_loadu_ps(qt), load_f16(xt), b);
    }
    return sum(a, b, c, d);
}

static float dot_f16(const float *q, const uint16_t *x, size_t dim)
{
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        a = _mm256_fmadd_ps(_mm256_loadu_ps(q + i), load_f16(x + i), a);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 8), load_f16(x + i + 8), b);
        c = _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 16), load_f16(x + i + 16), c);
        d = _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 24), load_f16(x + i + 24), d);
    }
    for (; i + 8 <= dim; i += 8)
        a = _mm256_fmadd_ps(_mm256_loadu_ps(q + i), load_f16(x + i), a);
    if (i < dim) {
        float qt[8] = {0};
        uint16_t xt[8] = {0};
        memcpy(qt, q + i, (dim - i) * sizeof *q);
        memcpy(xt, x + i, (dim - i) * sizeof *x);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(qt), load_f16(xt), b);
    }
    return sum(a, b, c, d);
}

static float dot_f32(const float *p, const float *q, size_t dim)
{
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        a = _mm256_fmadd_ps(_mm256_loadu_ps(p + i), _mm256_loadu_ps(q + i), a);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(p + i + 8), _mm256_loadu_ps(q + i + 8), b);
        c = _mm256_fmadd_ps(_mm256_loadu_ps(p + i + 16), _mm256_loadu_ps(q + i + 16), c);
        d = _mm256_fmadd_ps(_mm256_loadu_ps(p + i + 24), _mm256_loadu_ps(q + i + 24), d);
    }
    for (; i + 8 <= dim; i += 8)
        a = _mm256_fmadd_ps(_mm256_loadu_ps(p + i), _mm256_loadu_ps(q + i), a);
    if (i < dim) {
        float pt[8] = {0}, qt[8] = {0};
        memcpy(pt, p + i, (dim - i) * sizeof *p);
        memcpy(qt, q + i, (dim - i) * sizeof *q);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(pt), _mm256_loadu_ps(qt), b);
    }
    return sum(a, b, c, d);
}

static void f32_to_f16(const float *from, uint16_t *to, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), ROUND));
    if (i < n) {
        float f[8] = {0};
        uint16_t h[8];
        memcpy(f, from + i, (n - i) * sizeof *from);
        _mm_storeu_si128((__m128i *)(void *)h, _mm256_cvtps_ph(_mm256_loadu_ps(f), ROUND));
        memcpy(to + i, h, (n - i) * sizeof *to);
    }
}

static void f16_to_f32(const uint16_t *from, float *to, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, load_f16(from + i));
    if (i < n) {
        uint16_t h[8] = {0};
        float f[8];
        memcpy(h, from + i, (n - i) * sizeof *from);
        _mm256_storeu_ps(f, load_f16(h));
        memcpy(to + i, f, (n - i) * sizeof *to);
    }
}

const struct kernel kernel_avx2 = {
    .name = "avx2",
    .l2sq_f16 = l2sq_f16,
    .dot_f16 = dot_f16,
    .dot_f32 = dot_f32,
    .f32_to_f16 = f32_to_f16,
    .f16_to_f32 = f16_to_f32,
};
