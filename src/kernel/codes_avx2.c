/*
 * AVX2. maddubs multiplies unsigned by signed bytes and adds pairs in 16 bits: with |a| and b·sign(a) a pair
 * is at most 2 · 127 · 127 = 32258, so it never saturates.
 */
#include "kernel/codes_tables.h"

#include <immintrin.h>
#include <string.h>

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

static inline int32_t sum32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static inline __m256i multiply(__m256i a, __m256i b)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static int32_t dot(const int8_t *a, const int8_t *b, int32_t b_sum, size_t n)
{
    __m256i s = _mm256_setzero_si256(), t = s;
    for (size_t i = 0; i < n; i += 64) {
        s = _mm256_add_epi32(s, multiply(load(a + i), load(b + i)));
        t = _mm256_add_epi32(t, multiply(load(a + i + 32), load(b + i + 32)));
    }
    return sum32(_mm256_add_epi32(s, t));
}

/* All ones in the bytes whose bit is set. */
static inline __m256i spread(const uint8_t *bits)
{
    const __m256i which = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    int32_t word;
    memcpy(&word, bits, sizeof word);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32(word), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

static int32_t sum_where(const uint8_t *bits, const int8_t *q, size_t n)
{
    const __m256i ones8 = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    __m256i s = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 64) {
        __m256i a = _mm256_and_si256(spread(bits + i / 8), load(q + i));
        __m256i b = _mm256_and_si256(spread(bits + i / 8 + 4), load(q + i + 32));
        __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(ones8, a), _mm256_maddubs_epi16(ones8, b));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(pairs, ones16));
    }
    return sum32(s);
}

static float max_abs(const float *x, size_t n)
{
    const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 m = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8)
        m = _mm256_max_ps(m, _mm256_and_ps(mask, _mm256_loadu_ps(x + i)));
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

static inline __m256i rounded(const float *x, __m256 inverse)
{
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), inverse);
    v = _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(127)), _mm256_set1_ps(-127));
    return _mm256_cvtps_epi32(v);
}

static int32_t encode(const float *x, float inverse, int8_t *code, size_t n)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256 v = _mm256_set1_ps(inverse);
    __m256i s = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 32) {
        __m256i a = rounded(x + i, v), b = rounded(x + i + 8, v), c = rounded(x + i + 16, v),
                d = rounded(x + i + 24, v);
        s = _mm256_add_epi32(s, _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d)));
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        _mm256_storeu_si256((__m256i *)(void *)(code + i), _mm256_permutevar8x32_epi32(bytes, order));
    }
    return sum32(s);
}

static void small_steps(float *x, size_t n, size_t until)
{
    for (size_t half = 1; half < until; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

/* The first three steps, inside each eight numbers. */
static inline __m256 within_eight(__m256 v)
{
    const __m256 s1 = _mm256_setr_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
    const __m256 s2 = _mm256_setr_ps(0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f);
    const __m256 s4 = _mm256_setr_ps(0.0f, 0.0f, 0.0f, 0.0f, -0.0f, -0.0f, -0.0f, -0.0f);
    v = _mm256_add_ps(_mm256_permute_ps(v, 0xb1), _mm256_xor_ps(v, s1));
    v = _mm256_add_ps(_mm256_permute_ps(v, 0x4e), _mm256_xor_ps(v, s2));
    return _mm256_add_ps(_mm256_permute2f128_ps(v, v, 1), _mm256_xor_ps(v, s4));
}

static void hadamard(float *x, size_t n)
{
    if (n < 8) {
        small_steps(x, n, n);
        return;
    }
    for (size_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(x + i, within_eight(_mm256_loadu_ps(x + i)));
    for (size_t half = 8; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j += 8) {
                __m256 a = _mm256_loadu_ps(x + j), b = _mm256_loadu_ps(x + j + half);
                _mm256_storeu_ps(x + j, _mm256_add_ps(a, b));
                _mm256_storeu_ps(x + j + half, _mm256_sub_ps(a, b));
            }
}

/*
 * Components are at most 127, so that maddubs cannot saturate here either. Not by load(), which ThreadSanitizer watches.
 */
KERNEL_UNSYNCHRONIZED static uint32_t glance(const struct kernel_block *b, const struct kernel_glance *g, uint32_t rows, float *near)
{
    const __m256i ones = _mm256_set1_epi16(1), bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    uint32_t below = 0;
    for (size_t half = 0; half < KERNEL_BLOCK; half += 8) {
        __m256i s = _mm256_setzero_si256();
        for (size_t p = 0; p < KERNEL_PARTS; p++) {
            int32_t four;
            memcpy(&four, g->q + 4 * p, sizeof four);
            __m256i pairs = _mm256_maddubs_epi16(_mm256_loadu_si256((const void *)&b->parts[p][half]), _mm256_set1_epi32(four));
            s = _mm256_add_epi32(s, _mm256_madd_epi16(pairs, ones));
        }
        __m256 base = _mm256_add_ps(_mm256_loadu_ps(b->base + half), _mm256_set1_ps(g->offset));
        __m256 n = _mm256_fnmadd_ps(_mm256_set1_ps(g->scale), _mm256_cvtepi32_ps(s), base);
        __m256i mine = _mm256_and_si256(_mm256_set1_epi32((int32_t)(rows >> half)), bits);
        n = _mm256_blendv_ps(_mm256_set1_ps(__builtin_inff()), n, _mm256_castsi256_ps(_mm256_cmpeq_epi32(mine, bits)));
        _mm256_storeu_ps(near + half, n);
        below |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(n, _mm256_set1_ps(g->limit), _CMP_LT_OQ)) << half;
    }
    return below;
}

KERNEL_UNSYNCHRONIZED static uint32_t nearer(const float *near, const float *rest, float doubt, float limit)
{
    uint32_t below = 0;
    for (size_t half = 0; half < KERNEL_BLOCK; half += 8) {
        __m256 low = _mm256_fnmadd_ps(_mm256_set1_ps(doubt), _mm256_loadu_ps(rest + half), _mm256_loadu_ps(near + half));
        below |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(low, _mm256_set1_ps(limit), _CMP_LT_OQ)) << half;
    }
    return below;
}

const struct kernel_codes kernel_codes_avx2 = {
    .name = "avx2",
    .dot = dot,
    .sum_where = sum_where,
    .max_abs = max_abs,
    .encode = encode,
    .hadamard = hadamard,
    .glance = glance,
    .nearer = nearer,
};
