/* AVX-512 F, BW, DQ and VL. Masked loads do the tail: a masked-out element is never touched in memory. */
#include "kernel/tables.h"

#include <immintrin.h>

#define ROUND (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

static inline __m512 load_f16(const uint16_t *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x));
}

static inline __m512 load_f16_tail(const uint16_t *x, __mmask16 m)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, x));
}

/* The first `left` (< 16) of 16. */
static inline __mmask16 tail(size_t left)
{
    return (__mmask16)((1u << left) - 1u);
}

static inline float sum(__m512 a, __m512 b, __m512 c, __m512 d)
{
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
}

static inline __m512 l2_step(__m512 q, __m512 x, __m512 s)
{
    __m512 d = _mm512_sub_ps(q, x);
    return _mm512_fmadd_ps(d, d, s);
}

static float l2sq_f16(const float *q, const uint16_t *x, size_t dim)
{
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 64 <= dim; i += 64) {
        a = l2_step(_mm512_loadu_ps(q + i), load_f16(x + i), a);
        b = l2_step(_mm512_loadu_ps(q + i + 16), load_f16(x + i + 16), b);
        c = l2_step(_mm512_loadu_ps(q + i + 32), load_f16(x + i + 32), c);
        d = l2_step(_mm512_loadu_ps(q + i + 48), load_f16(x + i + 48), d);
    }
    for (; i + 16 <= dim; i += 16)
        a = l2_step(_mm512_loadu_ps(q + i), load_f16(x + i), a);
    if (i < dim) {
        __mmask16 m = tail(dim - i);
        b = l2_step(_mm512_maskz_loadu_ps(m, q + i), load_f16_tail(x + i, m), b);
    }
    return sum(a, b, c, d);
}

static float dot_f16(const float *q, const uint16_t *x, size_t dim)
{
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 64 <= dim; i += 64) {
        a = _mm512_fmadd_ps(_mm512_loadu_ps(q + i), load_f16(x + i), a);
        b = _mm512_fmadd_ps(_mm512_loadu_ps(q + i + 16), load_f16(x + i + 16), b);
        c = _mm512_fmadd_ps(_mm512_loadu_ps(q + i + 32), load_f16(x + i + 32), c);
        d = _mm512_fmadd_ps(_mm512_loadu_ps(q + i + 48), load_f16(x + i + 48), d);
    }
    for (; i + 16 <= dim; i += 16)
        a = _mm512_fmadd_ps(_mm512_loadu_ps(q + i), load_f16(x + i), a);
    if (i < dim) {
        __mmask16 m = tail(dim - i);
        b = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, q + i), load_f16_tail(x + i, m), b);
    }
    return sum(a, b, c, d);
}

static float dot_f32(const float *p, const float *q, size_t dim)
{
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 64 <= dim; i += 64) {
        a = _mm512_fmadd_ps(_mm512_loadu_ps(p + i), _mm512_loadu_ps(q + i), a);
        b = _mm512_fmadd_ps(_mm512_loadu_ps(p + i + 16), _mm512_loadu_ps(q + i + 16), b);
        c = _mm512_fmadd_ps(_mm512_loadu_ps(p + i + 32), _mm512_loadu_ps(q + i + 32), c);
        d = _mm512_fmadd_ps(_mm512_loadu_ps(p + i + 48), _mm512_loadu_ps(q + i + 48), d);
    }
    for (; i + 16 <= dim; i += 16)
        a = _mm512_fmadd_ps(_mm512_loadu_ps(p + i), _mm512_loadu_ps(q + i), a);
    if (i < dim) {
        __mmask16 m = tail(dim - i);
        b = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, p + i), _mm512_maskz_loadu_ps(m, q + i), b);
    }
    return sum(a, b, c, d);
}

static void f32_to_f16(const float *from, uint16_t *to, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm512_cvtps_ph(_mm512_loadu_ps(from + i), ROUND));
    if (i < n) {
        __mmask16 m = tail(n - i);
        _mm256_mask_storeu_epi16(to + i, m, _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, from + i), ROUND));
    }
}

static void f16_to_f32(const uint16_t *from, float *to, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, load_f16(from + i));
    if (i < n) {
        __mmask16 m = tail(n - i);
        _mm512_mask_storeu_ps(to + i, m, load_f16_tail(from + i, m));
    }
}

const struct kernel kernel_avx512 = {
    .name = "avx512",
    .l2sq_f16 = l2sq_f16,
    .dot_f16 = dot_f16,
    .dot_f32 = dot_f32,
    .f32_to_f16 = f32_to_f16,
    .f16_to_f32 = f16_to_f32,
};
