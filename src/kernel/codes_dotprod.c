/* arm64 with SDOT. */
#include "kernel/codes_tables.h"

#include <arm_neon.h>
#include <string.h>

static int32_t dot(const int8_t *a, const int8_t *b, int32_t b_sum, size_t n)
{
    int32x4_t s = vdupq_n_s32(0), t = s, u = s, v = s;
    for (size_t i = 0; i < n; i += 64) {
        s = vdotq_s32(s, vld1q_s8(a + i), vld1q_s8(b + i));
        t = vdotq_s32(t, vld1q_s8(a + i + 16), vld1q_s8(b + i + 16));
        u = vdotq_s32(u, vld1q_s8(a + i + 32), vld1q_s8(b + i + 32));
        v = vdotq_s32(v, vld1q_s8(a + i + 48), vld1q_s8(b + i + 48));
    }
    return vaddvq_s32(vaddq_s32(vaddq_s32(s, t), vaddq_s32(u, v)));
}

/* All ones in the bytes whose bit is set. */
static inline int8x16_t spread(const uint8_t *bits)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t v = vcombine_u8(vdup_n_u8(bits[0]), vdup_n_u8(bits[1]));
    return vreinterpretq_s8_u8(vtstq_u8(v, vld1q_u8(bit)));
}

static int32_t sum_where(const uint8_t *bits, const int8_t *q, size_t n)
{
    int32x4_t s = vdupq_n_s32(0), t = s;
    const int8x16_t ones = vdupq_n_s8(1);
    for (size_t i = 0; i < n; i += 32) {
        s = vdotq_s32(s, ones, vandq_s8(spread(bits + i / 8), vld1q_s8(q + i)));
        t = vdotq_s32(t, ones, vandq_s8(spread(bits + i / 8 + 2), vld1q_s8(q + i + 16)));
    }
    return vaddvq_s32(vaddq_s32(s, t));
}

static float max_abs(const float *x, size_t n)
{
    float32x4_t m = vdupq_n_f32(0);
    for (size_t i = 0; i < n; i += 4)
        m = vmaxq_f32(m, vabsq_f32(vld1q_f32(x + i)));
    return vmaxvq_f32(m);
}

static inline int16x4_t rounded(const float *x, float inverse)
{
    float32x4_t v = vmulq_n_f32(vld1q_f32(x), inverse);
    v = vmaxq_f32(vminq_f32(v, vdupq_n_f32(127)), vdupq_n_f32(-127));
    return vmovn_s32(vcvtnq_s32_f32(v));
}

static int32_t encode(const float *x, float inverse, int8_t *code, size_t n)
{
    int32x4_t s = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i += 8) {
        int16x8_t c = vcombine_s16(rounded(x + i, inverse), rounded(x + i + 4, inverse));
        s = vpadalq_s16(s, c);
        vst1_s8(code + i, vmovn_s16(c));
    }
    return vaddvq_s32(s);
}

static void hadamard(float *x, size_t n)
{
    size_t half = 1;
    for (; half < n && half < 4; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
    for (; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j += 4) {
                float32x4_t a = vld1q_f32(x + j), b = vld1q_f32(x + j + half);
                vst1q_f32(x + j, vaddq_f32(a, b));
                vst1q_f32(x + j + half, vsubq_f32(a, b));
            }
}

KERNEL_UNSYNCHRONIZED static uint32_t glance(const struct kernel_block *b, const struct kernel_glance *g, uint32_t rows, float *near)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    uint32_t below = 0;
    for (size_t r = 0; r < KERNEL_BLOCK; r += 4) {
        int32x4_t s = vdupq_n_s32(0);
        for (size_t p = 0; p < KERNEL_PARTS; p++) {
            int32_t four;
            memcpy(&four, g->q + 4 * p, sizeof four);
            s = vdotq_s32(s, vreinterpretq_s8_u32(vld1q_u32(&b->parts[p][r])), vreinterpretq_s8_s32(vdupq_n_s32(four)));
        }
        float32x4_t base = vaddq_f32(vld1q_f32(b->base + r), vdupq_n_f32(g->offset));
        float32x4_t n = vfmsq_n_f32(base, vcvtq_f32_s32(s), g->scale);
        n = vbslq_f32(vtstq_u32(vdupq_n_u32(rows >> r), vld1q_u32(bit)), n, vdupq_n_f32(__builtin_inff()));
        vst1q_f32(near + r, n);
        below |= vaddvq_u32(vandq_u32(vcltq_f32(n, vdupq_n_f32(g->limit)), vld1q_u32(bit))) << r;
    }
    return below;
}

KERNEL_UNSYNCHRONIZED static uint32_t nearer(const float *near, const float *rest, float doubt, float limit)
{
    static const uint32_t bit[4] = {1, 2, 4, 8};
    uint32_t below = 0;
    for (size_t r = 0; r < KERNEL_BLOCK; r += 4) {
        float32x4_t low = vfmsq_n_f32(vld1q_f32(near + r), vld1q_f32(rest + r), doubt);
        below |= vaddvq_u32(vandq_u32(vcltq_f32(low, vdupq_n_f32(limit)), vld1q_u32(bit))) << r;
    }
    return below;
}

const struct kernel_codes kernel_codes_dotprod = {
    .name = "dotprod",
    .dot = dot,
    .sum_where = sum_where,
    .max_abs = max_abs,
    .encode = encode,
    .hadamard = hadamard,
    .glance = glance,
    .nearer = nearer,
};
