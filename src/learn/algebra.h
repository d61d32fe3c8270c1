/*
 * The few operations on matrices that learning needs, on LAPACK and BLAS. Matrices are row-major, without
 * padding. For src/learn only.
 */
#ifndef LEARN_ALGEBRA_H
#define LEARN_ALGEBRA_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* s (d × d, only the upper triangle) += xᵀx, x of n × d. */
void learn_add_scatter(float *s, const float *x, size_t n, size_t d);
/* The lower triangle from the upper one. */
void learn_mirror(float *s, size_t d);
double learn_trace(const float *s, size_t d);
/* out (m × n) = a (m × k) · b (k × n). */
void learn_multiply(const float *a, const float *b, size_t m, size_t k, size_t n, float *out);
/* out (m × n) = a (m × k) · bᵀ, b of n × k. */
void learn_multiply_t(const float *a, const float *b, size_t m, size_t k, size_t n, float *out);
/* out (m × n) = aᵀ · b, a of k × m, b of k × n. */
void learn_multiply_ta(const float *a, const float *b, size_t m, size_t k, size_t n, float *out);
/*
 * The `m` largest eigenvalues of the symmetric s (d × d, which is destroyed), largest first, into `values`, and
 * their vectors into the columns of `vectors` (d × m). The sign of a vector is such that its largest component
 * is positive.
 */
enum result learn_eigen(
    float *s, size_t d, size_t m, float *values, float *vectors, struct err *err) ERR_MUST_USE;
/* count × size bytes, 64-byte aligned; NULL where that overflows or there is no memory. free() it. */
void *learn_alloc(size_t count, size_t size);

#endif
