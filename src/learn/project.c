/*
 * A projection at work. What happens to one descriptor is written once, here; fit.c uses the same functions to
 * come to what it learns from.
 *
 * The square root evens the few large components of a pooled layer out (Jégou and Chum, "Negative evidences and
 * co-occurences in image retrieval", ECCV 2012, call it power-law normalisation). Each block gets unit length, so
 * that a layer with many or large numbers does not decide by that alone.
 *
 * One descriptor is multiplied row by row with the kernel's dot product: 512 × 2,912 numbers are read once, and no
 * thread of BLAS is woken for a search. Many are multiplied by BLAS.
 */
#include "learn/algebra.h"
#include "learn/space.h"

#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEW 4        /* up to so many descriptors one by one */
#define AT_ONCE 256u /* descriptors in one multiplication */

void learn_projection_free(struct learn_projection *p)
{
    for (int side = 0; side < LEARN_SIDES; side++)
        free(p->mean[side]);
    free(p->matrix);
    *p = (struct learn_projection){0};
}

void learn_unit(float *x, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        sum += (double)x[i] * x[i];
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (size_t i = 0; i < d; i++)
        x[i] *= scale;
}

void learn_balance(const struct learn_shape *shape, float plain_weight, float *x, size_t n)
{
    for (size_t row = 0; row < n; row++) {
        float *all = x + row * shape->dimension, *at = all;
        for (uint32_t b = 0; b < shape->block_count; b++) {
            uint32_t len = shape->blocks[b];
            for (uint32_t i = 0; i < len; i++)
                at[i] = copysignf(sqrtf(fabsf(at[i])), at[i]);
            learn_unit(at, len);
            for (uint32_t i = 0; b == 0 && i < len; i++)
                at[i] *= plain_weight;
            at += len;
        }
        learn_unit(all, shape->dimension);
    }
}

void learn_centre(float *x, const float *mean, size_t d)
{
    for (size_t i = 0; i < d; i++)
        x[i] -= mean[i];
    learn_unit(x, d);
}

static void project_each(const struct learn_projection *p, const float *x, size_t n, float *out)
{
    const struct kernel *kernel = kernel_get();
    uint32_t d = p->shape.dimension;
    for (size_t row = 0; row < n; row++)
        for (uint32_t i = 0; i < p->out; i++)
            out[row * p->out + i] = kernel->dot_f32(x + row * d, p->matrix + (size_t)i * d, d);
}

enum result learn_project(const struct learn_projection *p, enum learn_side side, const float *descriptors,
    size_t n, float *out, struct err *err)
{
    uint32_t d = p->shape.dimension;
    size_t room = n < AT_ONCE ? n : AT_ONCE;
    float *x = learn_alloc(room * d, sizeof *x);
    if (!x)
        return err_no_memory(err);
    for (size_t done = 0; done < n; done += room) {
        size_t step = n - done < room ? n - done : room;
        float *to = out + done * p->out;
        memcpy(x, descriptors + done * d, step * d * sizeof *x);
        learn_balance(&p->shape, p->plain_weight, x, step);
        for (size_t i = 0; i < step; i++)
            learn_centre(x + i * d, p->mean[side], d);
        if (step <= FEW)
            project_each(p, x, step, to);
        else
            learn_multiply_t(x, p->matrix, step, d, p->out, to);
        for (size_t i = 0; i < step; i++)
            learn_unit(to + i * p->out, p->out);
    }
    free(x);
    return ERR_OK;
}

enum result learn_project_plain(const struct learn_projection *p, enum learn_side side, const float *vectors,
    size_t n, float *out, struct err *err)
{
    uint32_t d = p->shape.dimension, plain = p->shape.blocks[0];
    float *x = learn_alloc(d, sizeof *x);
    if (!x)
        return err_no_memory(err);
    struct learn_shape first = {.dimension = plain, .block_count = 1, .blocks = {plain}};
    /* As long as the block of a whole descriptor is. */
    float scale = p->plain_weight / sqrtf(p->plain_weight * p->plain_weight + (float)(p->shape.block_count - 1));
    for (size_t row = 0; row < n; row++) {
        memset(x, 0, d * sizeof *x);
        memcpy(x, vectors + row * plain, plain * sizeof *x);
        learn_balance(&first, 1, x, 1);
        for (uint32_t i = 0; i < plain; i++)
            x[i] = scale * x[i] - p->mean[side][i];
        learn_unit(x, plain);
        project_each(p, x, 1, out + row * p->out);
        learn_unit(out + row * p->out, p->out);
    }
    free(x);
    return ERR_OK;
}
