/*
 * NEON, which every arm64 CPU has. Half floats are only converted, never calculated with: that needs no
 * extension.
 */
#include "kernel/tables.h"

#include <arm_neon.h>
#include <string.h>

static inline float32x4_t load_f16(const uint16_t *x)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x)));
}

static inline float sum(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d)
{
    return vaddvq_f32(vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d)));
}

static inline float32x4_t l2_step(float32x4_t q, float32x4_t x, float32x4_t s)
{
    float32x4_t d = vsubq_f32(q, x);
    return vfmaq_f32(s, d, d);
}

static float l2sq_f16(const float *q, const uint16_t *x, size_t dim)
{
    float32x4_t a = vdupq_n_f32(0), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        a = l2_step(vld1q_f32(q + i), load_f16(x + i), a);
        b = l2_step(vld1q_f32(q + i + 4), load_f16(x + i + 4), b);
        c = l2_step(vld1q_f32(q + i + 8), load_f16(x + i + 8), c);
        d = l2_step(vld1q_f32(q + i + 12), load_f16(x + i + 12), d);
    }
    for (; i + 4 <= dim; i += 4)
        a = l2_step(vld1q_f32(q + i), load_f16(x + i), a);
    if (i < dim) {
        float qt[4] = {0};
        uint16_t xt[4] = {0};
        memcpy(qt, q + i, (dim - i) * sizeof *q);
        memcpy(xt, x + i, (dim - i) * sizeof *x);
        b = l2_step(vld1q_f32(qt), load_f16(xt), b);
    }
    return sum(a, b, c, d);
}

static float dot_f16(const float *q, const uint16_t *x, size_t dim)
{
    float32x4_t a = vdupq_n_f32(0), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        a = vfmaq_f32(a, vld1q_f32(q + i), load_f16(x + i));
        b = vfmaq_f32(b, vld1q_f32(q + i + 4), load_f16(x + i + 4));
        c = vfmaq_f32(c, vld1q_f32(q + i + 8), load_f16(x + i + 8));
        d = vfmaq_f32(d, vld1q_f32(q + i + 12), load_f16(x + i + 12));
    }
    for (; i + 4 <= dim; i += 4)
        a = vfmaq_f32(a, vld1q_f32(q + i), load_f16(x + i));
    if (i < dim) {
        float qt[4] = {0};
        uint16_t xt[4] = {0};
        memcpy(qt, q + i, (dim - i) * sizeof *q);
        memcpy(xt, x + i, (dim - i) * sizeof *x);
        b = vfmaq_f32(b, vld1q_f32(qt), load_f16(xt));
    }
    return sum(a, b, c, d);
}

static float dot_f32(const float *p, const float *q, size_t dim)
{
    float32x4_t a = vdupq_n_f32(0), b = a, c = a, d = a;
    size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        a = vfmaq_f32(a, vld1q_f32(p + i), vld1q_f32(q + i));
        b = vfmaq_f32(b, vld1q_f32(p + i + 4), vld1q_f32(q + i + 4));
        c = vfmaq_f32(c, vld1q_f32(p + i + 8), vld1q_f32(q + i + 8));
        d = vfmaq_f32(d, vld1q_f32(p + i + 12), vld1q_f32(q + i + 12));
    }
    for (; i + 4 <= dim; i += 4)
        a = vfmaq_f32(a, vld1q_f32(p + i), vld1q_f32(q + i));
    if (i < dim) {
        float pt[4] = {0}, qt[4] = {0};
        memcpy(pt, p + i, (dim - i) * sizeof *p);
        memcpy(qt, q + i, (dim - i) * sizeof *q);
        b = vfmaq_f32(b, vld1q_f32(pt), vld1q_f32(qt));
    }
    return sum(a, b, c, d);
}

static void f32_to_f16(const float *from, uint16_t *to, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(to + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
    if (i < n) {
        float f[4] = {0};
        uint16_t h[4];
        memcpy(f, from + i, (n - i) * sizeof *from);
        vst1_u16(h, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(f))));
        memcpy(to + i, h, (n - i) * sizeof *to);
    }
}

static void f16_to_f32(const uint16_t *from, float *to, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(to + i, load_f16(from + i));
    if (i < n) {
        uint16_t h[4] = {0};
        float f[4];
        memcpy(h, from + i, (n - i) * sizeof *from);
        vst1q_f32(f, load_f16(h));
        memcpy(to + i, f, (n - i) * sizeof *to);
    }
}

const struct kernel kernel_neon = {
    .name = "neon",
    .l2sq_f16 = l2sq_f16,
    .dot_f16 = dot_f16,
    .dot_f32 = dot_f32,
    .f32_to_f16 = f32_to_f16,
    .f16_to_f32 = f16_to_f32,
};
