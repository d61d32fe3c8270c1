/*
 * AVX-512 with VNNI. dpbusd wants its first factor unsigned: a + 128 is a with its top bit flipped, and what
 * that adds, 128 · Σ b, is taken away at the end.
 */
#include "kernel/codes_tables.h"

#include <immintrin.h>
#include <string.h>

static inline __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static int32_t dot(const int8_t *a, const int8_t *b, int32_t b_sum, size_t n)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i s = _mm512_setzero_si512(), t = s, u = s, v = s;
    size_t i = 0;
    for (; i + 256 <= n; i += 256) {
        s = _mm512_dpbusd_epi32(s, _mm512_xor_si512(load(a + i), flip), load(b + i));
        t = _mm512_dpbusd_epi32(t, _mm512_xor_si512(load(a + i + 64), flip), load(b + i + 64));
        u = _mm512_dpbusd_epi32(u, _mm512_xor_si512(load(a + i + 128), flip), load(b + i + 128));
        v = _mm512_dpbusd_epi32(v, _mm512_xor_si512(load(a + i + 192), flip), load(b + i + 192));
    }
    for (; i < n; i += 64)
        s = _mm512_dpbusd_epi32(s, _mm512_xor_si512(load(a + i), flip), load(b + i));
    s = _mm512_add_epi32(_mm512_add_epi32(s, t), _mm512_add_epi32(u, v));
    /* Wraps: the sum of a node comes from a file, and a wrong one must only give a wrong distance. */
    return (int32_t)((uint32_t)_mm512_reduce_add_epi32(s) - 128 * (uint32_t)b_sum);
}

static inline __m512i chosen(const uint8_t *bits, const int8_t *q)
{
    uint64_t mask;
    memcpy(&mask, bits, sizeof mask);
    return _mm512_maskz_mov_epi8(mask, load(q));
}

static int32_t sum_where(const uint8_t *bits, const int8_t *q, size_t n)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i s = _mm512_setzero_si512(), t = s;
    size_t i = 0;
    for (; i + 128 <= n; i += 128) {
        s = _mm512_dpbusd_epi32(s, ones, chosen(bits + i / 8, q + i));
        t = _mm512_dpbusd_epi32(t, ones, chosen(bits + i / 8 + 8, q + i + 64));
    }
    if (i < n)
        s = _mm512_dpbusd_epi32(s, ones, chosen(bits + i / 8, q + i));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(s, t));
}

static float max_abs(const float *x, size_t n)
{
    __m512 m = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16)
        m = _mm512_max_ps(m, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    return _mm512_reduce_max_ps(m);
}

static int32_t encode(const float *x, float inverse, int8_t *code, size_t n)
{
    __m512 v = _mm512_set1_ps(inverse), high = _mm512_set1_ps(127), low = _mm512_set1_ps(-127);
    __m512i s = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 16) {
        __m512 y = _mm512_mul_ps(_mm512_loadu_ps(x + i), v);
        __m512i c = _mm512_cvtps_epi32(_mm512_max_ps(_mm512_min_ps(y, high), low));
        s = _mm512_add_epi32(s, c);
        _mm_storeu_si128((__m128i *)(void *)(code + i), _mm512_cvtepi32_epi8(c));
    }
    return _mm512_reduce_add_epi32(s);
}

static void plain_steps(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

/* The first four steps, inside each sixteen numbers. */
static inline __m512 within_sixteen(__m512 v)
{
    v = _mm512_mask_sub_ps(
        _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1)), 0xaaaa, _mm512_permute_ps(v, 0xb1), v);
    v = _mm512_mask_sub_ps(
        _mm512_add_ps(v, _mm512_permute_ps(v, 0x4e)), 0xcccc, _mm512_permute_ps(v, 0x4e), v);
    __m512 w = _mm512_shuffle_f32x4(v, v, 0xb1);
    v = _mm512_mask_sub_ps(_mm512_add_ps(v, w), 0xf0f0, w, v);
    w = _mm512_shuffle_f32x4(v, v, 0x4e);
    return _mm512_mask_sub_ps(_mm512_add_ps(v, w), 0xff00, w, v);
}

static void hadamard(float *x, size_t n)
{
    if (n < 16) {
        plain_steps(x, n);
        return;
    }
    for (size_t i = 0; i < n; i += 16)
        _mm512_storeu_ps(x + i, within_sixteen(_mm512_loadu_ps(x + i)));
    for (size_t half = 16; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j += 16) {
                __m512 a = _mm512_loadu_ps(x + j), b = _mm512_loadu_ps(x + j + half);
                _mm512_storeu_ps(x + j, _mm512_add_ps(a, b));
                _mm512_storeu_ps(x + j + half, _mm512_sub_ps(a, b));
            }
}

/* Not by load(), which ThreadSanitizer watches. */
KERNEL_UNSYNCHRONIZED static uint32_t glance(const struct kernel_block *b, const struct kernel_glance *g, uint32_t rows, float *near)
{
    __m512i s = _mm512_setzero_si512(), t = s;
    for (size_t p = 0; p < KERNEL_PARTS; p += 2) {
        int32_t four[2];
        memcpy(four, g->q + 4 * p, sizeof four);
        s = _mm512_dpbusd_epi32(s, _mm512_loadu_si512(b->parts[p]), _mm512_set1_epi32(four[0]));
        t = _mm512_dpbusd_epi32(t, _mm512_loadu_si512(b->parts[p + 1]), _mm512_set1_epi32(four[1]));
    }
    __m512 base = _mm512_add_ps(_mm512_loadu_ps(b->base), _mm512_set1_ps(g->offset));
    __m512 n = _mm512_fnmadd_ps(_mm512_set1_ps(g->scale), _mm512_cvtepi32_ps(_mm512_add_epi32(s, t)), base);
    n = _mm512_mask_blend_ps((__mmask16)rows, _mm512_set1_ps(__builtin_inff()), n);
    _mm512_storeu_ps(near, n);
    return _mm512_cmp_ps_mask(n, _mm512_set1_ps(g->limit), _CMP_LT_OQ);
}

KERNEL_UNSYNCHRONIZED static uint32_t nearer(const float *near, const float *rest, float doubt, float limit)
{
    __m512 low = _mm512_fnmadd_ps(_mm512_set1_ps(doubt), _mm512_loadu_ps(rest), _mm512_loadu_ps(near));
    return _mm512_cmp_ps_mask(low, _mm512_set1_ps(limit), _CMP_LT_OQ);
}

const struct kernel_codes kernel_codes_vnni = {
    .name = "vnni",
    .dot = dot,
    .sum_where = sum_where,
    .max_abs = max_abs,
    .encode = encode,
    .hadamard = hadamard,
    .glance = glance,
    .nearer = nearer,
};
