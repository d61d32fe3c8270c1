/* Vectors as codes and sketches, and the distances by them; encode.c says what these are. For this folder alone. */
#ifndef INDEX_ENCODE_H
#define INDEX_ENCODE_H

#include "index/internal.h"

/* What is asked, in the forms the kernels want. */
struct index_probe {
    float *rotated;   /* padded floats of work */
    int8_t *code;     /* whole vector */
    int8_t *residual; /* vector − centre */
    float scale, norm2, error;
    int32_t sum;
    float residual_scale, residual_norm2, residual_norm;
    int32_t residual_sum;
};

void index_rotation_init(struct index *ix);
/* `padded` numbers to bytes: x ≈ scale · code. Returns the scale; *sum is Σ code. */
float index_to_code(const struct index *ix, const float *x, int8_t *code, int32_t *sum);
/* `vector` of `dimension`; normalised before when the metric is the cosine. */
void index_probe_query(const struct index *ix, const float *vector, struct index_probe *p);
/* The row in `node` as a query. */
void index_probe_node(const struct index *ix, uint32_t node, struct index_probe *p);
/* Code and head of a new row. `work` has room for 2 · padded floats. */
void index_encode(const struct index *ix, uint32_t node, const uint16_t *vector, float *work);
/* A row by its code, less the centre, which is known. */
void index_less_centre(const struct index *ix, uint32_t node, float *x);
/* Its sketch, from the code; the centre is known. */
void index_sketch(const struct index *ix, uint32_t node, float *work);

static inline float index_code_distance(const struct index *ix, const struct index_probe *p, uint32_t node)
{
    const struct index_head *h = index_head(ix, node);
    int32_t dot = ix->codes->dot(index_code(ix, node), p->code, p->sum, ix->shape.padded);
    return p->norm2 + h->norm2 - 2 * p->scale * h->scale * (float)dot;
}

/* So many standard deviations of a distance by the sketch. */
static inline float index_sketch_doubt(const struct index_probe *p, const struct index_head *h, float doubts)
{
    return 2 * doubts * h->doubt * p->residual_norm;
}

/* Squared distance by the sketch, less `doubts` standard deviations. */
static inline float index_sketch_distance(
    const struct index *ix, const struct index_probe *p, struct index_head *h, float doubts)
{
    int32_t sum = 2 * ix->codes->sum_where(index_bits(h), p->residual, ix->shape.padded) - p->residual_sum;
    return h->far2 + p->residual_norm2 - 2 * h->factor * p->residual_scale * (float)sum -
           index_sketch_doubt(p, h, doubts);
}

#endif
