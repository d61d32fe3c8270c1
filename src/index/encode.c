/*
 * Vectors to codes and sketches.
 *
 * A vector is first turned by a fixed rotation: signs flipped at random, a Walsh-Hadamard transform over the
 * first power of two of the components, and the same over the last. Distances stay what they are, but no
 * component stands out, so one scale a vector serves all its bytes, and the error of what follows looks like
 * noise.
 *
 * The code is the vector in signed bytes times a scale. The sketch is the sign of each component of (vector −
 * centre), with two numbers that make an unbiased estimate of inner products of it, and say how far off it
 * may be (RaBitQ, https://arxiv.org/abs/2405.12497). The centre is the mean of the rows that were there when
 * the graph began: it only makes sketches sharper, so it may grow old, and no index has to be trained.
 */
#include "index/encode.h"

#include <math.h>

static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t power_below(size_t n)
{
    size_t p = 1;
    while (2 * p <= n)
        p *= 2;
    return p;
}

/* The normalisation of the transforms is in the signs. Files depend on them: the seed is part of their
 * format. */
void index_rotation_init(struct index *ix)
{
    size_t n = ix->shape.padded, p = power_below(n);
    uint64_t state = 0x6c6f6f6b616c696bu;
    float unit = 1 / sqrtf((float)p);
    for (size_t i = 0; i < n; i++)
        ix->flips[i] = (mix(&state) >> 63 ? -1.0f : 1.0f) * (i < p ? unit : 1.0f);
    for (size_t i = 0; i < n; i++)
        ix->flips[n + i] = (mix(&state) >> 63 ? -1.0f : 1.0f) * (i >= n - p ? unit : 1.0f);
}

/* What follows is for each component on its own; `restrict` lets the compiler take several at a time. */

static void multiply(float *restrict x, const float *restrict by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= by[i];
}

static void subtract(float *restrict x, const float *restrict what, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] -= what[i];
}

static void scale_code(float *restrict x, const int8_t *restrict code, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (float)code[i];
}

static void rotate(const struct index *ix, float *x)
{
    size_t n = ix->shape.padded, p = power_below(n);
    multiply(x, ix->flips, n);
    ix->codes->hadamard(x, p);
    multiply(x, ix->flips + n, n);
    ix->codes->hadamard(x + n - p, p);
}

static float norm2(const struct index *ix, const float *x)
{
    return ix->kernel->dot_f32(x, x, ix->shape.padded);
}

float index_to_code(const struct index *ix, const float *x, int8_t *code, int32_t *sum)
{
    float max = ix->codes->max_abs(x, ix->shape.padded);
    *sum = ix->codes->encode(x, max > 0 ? 127 / max : 0, code, ix->shape.padded);
    return max / 127;
}

static float code_error(const float *restrict x, const int8_t *restrict code, float scale, size_t n)
{
    float lanes[8] = {0};
    for (size_t i = 0; i < n; i += 8)
        for (size_t j = 0; j < 8; j++) {
            float d = x[i + j] - scale * (float)code[i + j];
            lanes[j] += d * d;
        }
    return sqrtf(lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7]);
}

/* Makes unit length where the metric wants it; returns the length there was. */
static float prepare(const struct index *ix, float *x)
{
    float length = sqrtf(norm2(ix, x));
    for (size_t i = 0, n = ix->shape.dimension; ix->settings.metric == INDEX_COSINE && length > 0 && i < n; i++)
        x[i] /= length;
    return length;
}

static void probe_residual(const struct index *ix, struct index_probe *p)
{
    float *x = p->rotated;
    subtract(x, ix->centre, ix->shape.padded);
    p->residual_norm2 = norm2(ix, x);
    p->residual_norm = sqrtf(p->residual_norm2);
    p->residual_scale = index_to_code(ix, x, p->residual, &p->residual_sum);
}

void index_probe_query(const struct index *ix, const float *vector, struct index_probe *p)
{
    float *x = p->rotated;
    memcpy(x, vector, ix->shape.dimension * sizeof *x);
    memset(x + ix->shape.dimension, 0, (ix->shape.padded - ix->shape.dimension) * sizeof *x);
    prepare(ix, x);
    rotate(ix, x);
    p->norm2 = norm2(ix, x);
    p->scale = index_to_code(ix, x, p->code, &p->sum);
    p->error = code_error(x, p->code, p->scale, ix->shape.padded);
    if (atomic_load_explicit(&ix->graph, memory_order_acquire))
        probe_residual(ix, p);
}

static void decode(const struct index *ix, uint32_t node, float *x)
{
    scale_code(x, index_code(ix, node), index_head(ix, node)->scale, ix->shape.padded);
}

void index_less_centre(const struct index *ix, uint32_t node, float *x)
{
    decode(ix, node, x);
    subtract(x, ix->centre, ix->shape.padded);
}

void index_probe_node(const struct index *ix, uint32_t node, struct index_probe *p)
{
    const struct index_head *h = index_head(ix, node);
    memcpy(p->code, index_code(ix, node), ix->shape.padded);
    p->scale = h->scale;
    p->norm2 = h->norm2;
    p->error = h->error;
    p->sum = h->sum;
    decode(ix, node, p->rotated);
    probe_residual(ix, p);
}

void index_encode(const struct index *ix, uint32_t node, const uint16_t *vector, float *x)
{
    struct index_head *h = index_head(ix, node);
    ix->kernel->f16_to_f32(vector, x, ix->shape.dimension);
    memset(x + ix->shape.dimension, 0, (ix->shape.padded - ix->shape.dimension) * sizeof *x);
    h->length = prepare(ix, x);
    rotate(ix, x);
    h->norm2 = norm2(ix, x);
    h->scale = index_to_code(ix, x, index_code(ix, node), &h->sum);
    h->error = code_error(x, index_code(ix, node), h->scale, ix->shape.padded);
}

/* The signs of eight numbers, which become their absolute values. */
static uint8_t signs(float *restrict x)
{
    unsigned byte = 0;
    for (size_t j = 0; j < 8; j++) {
        byte |= (unsigned)(x[j] > 0) << j;
        x[j] = fabsf(x[j]);
    }
    return (uint8_t)byte;
}

void index_sketch(const struct index *ix, uint32_t node, float *x)
{
    struct index_head *h = index_head(ix, node);
    uint8_t *bits = index_bits(h);
    size_t n = ix->shape.padded;
    float sums[8] = {0}, sum = 0;
    index_less_centre(ix, node, x);
    float far2 = norm2(ix, x);
    for (size_t i = 0; i < n; i += 8) {
        bits[i / 8] = signs(x + i);
        for (size_t j = 0; j < 8; j++)
            sums[j] += x[i + j];
    }
    for (size_t j = 0; j < 8; j++)
        sum += sums[j];
    /* How well the signs point where the vector points, 0.8 for what looks like noise; see the paper. */
    float agree2 = far2 > 0 ? sum * sum / ((float)n * far2) : 1;
    h->far2 = far2;
    h->factor = sum > 0 ? far2 / sum : 0;
    h->doubt = agree2 < 1 ? sqrtf(far2 * (1 - agree2) / (agree2 * (float)(n - 1))) : 0;
    atomic_store_explicit(&index_meta(ix, node)->sketched, 1, memory_order_release);
}
