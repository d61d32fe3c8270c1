/*
 * Distances between vectors, one table of functions per instruction set.
 *
 * A table is chosen once, from cpu_features(); callers keep the pointer. Rows are stored as IEEE 754 half floats
 * (16 bits), queries are 32-bit floats. Pointers need no alignment beyond that of their element. `dim` may be any
 * number from 1 to LIMIT_DIMENSION. Variants differ from the scalar one only by the order of their sums: relative
 * difference below 1e-5 for vectors of unit length.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <stddef.h>
#include <stdint.h>

struct kernel {
    const char *name; /* "scalar", "avx2", "avx512", "neon" */
    /* Σ (q − x)² */
    float (*l2sq_f16)(const float *q, const uint16_t *x, size_t dim);
    /* Σ q·x */
    float (*dot_f16)(const float *q, const uint16_t *x, size_t dim);
    /* Σ q·x of two 32-bit vectors */
    float (*dot_f32)(const float *a, const float *b, size_t dim);
    /* Round to nearest even; beyond ±65504 to infinity. */
    void (*f32_to_f16)(const float *from, uint16_t *to, size_t n);
    void (*f16_to_f32)(const uint16_t *from, float *to, size_t n);
};

/* The best table for this CPU. Never NULL; thread-safe. */
const struct kernel *kernel_get(void);

/* For tests and benchmarks: the i-th table that this CPU can run, the scalar one first; NULL past the last. */
const struct kernel *kernel_table(size_t i);

#endif
