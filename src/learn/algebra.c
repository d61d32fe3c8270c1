/*
 * Single precision throughout: a covariance of 100,000 unit vectors is a sum over blocks of a few hundred rows,
 * each of which BLAS sums by itself, so that rounding stays near 1e-6 of the largest entry; shrinkage is a million
 * times that. Double precision took twice the time and twice the memory and changed no result in the first four
 * digits.
 *
 * Eigenvectors come from ssyevr, which can give the largest few, in memory of about 2 d².
 */
#include "learn/algebra.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void *learn_alloc(size_t count, size_t size)
{
    size_t bytes;
    void *p = NULL;
    if (__builtin_mul_overflow(count ? count : 1, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    return posix_memalign(&p, 64, (bytes + 63) & ~(size_t)63) == 0 ? p : NULL;
}

void learn_add_scatter(float *s, const float *x, size_t n, size_t d)
{
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)d, (int)n, 1, x, (int)d, 1, s, (int)d);
}

void learn_mirror(float *s, size_t d)
{
    for (size_t i = 0; i < d; i++)
        for (size_t j = i + 1; j < d; j++)
            s[j * d + i] = s[i * d + j];
}

double learn_trace(const float *s, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        sum += s[i * d + i];
    return sum;
}

void learn_multiply(const float *a, const float *b, size_t m, size_t k, size_t n, float *out)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)k, b, (int)n, 0,
        out, (int)n);
}

void learn_multiply_t(const float *a, const float *b, size_t m, size_t k, size_t n, float *out)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, a, (int)k, b, (int)k, 0,
        out, (int)n);
}

void learn_multiply_ta(const float *a, const float *b, size_t m, size_t k, size_t n, float *out)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)m, b, (int)n, 0,
        out, (int)n);
}

/* Column `from` of `z` (d × m), with the sign made certain, to column `to` of `out`. */
static void copy_column(const float *z, size_t from, float *out, size_t to, size_t d, size_t m)
{
    size_t largest = 0;
    for (size_t i = 1; i < d; i++)
        if (fabsf(z[i * m + from]) > fabsf(z[largest * m + from]))
            largest = i;
    float sign = z[largest * m + from] < 0 ? -1 : 1;
    for (size_t i = 0; i < d; i++)
        out[i * m + to] = sign * z[i * m + from];
}

enum result learn_eigen(float *s, size_t d, size_t m, float *values, float *vectors, struct err *err)
{
    enum result result = ERR_OK;
    float *w = learn_alloc(d, sizeof *w), *z = learn_alloc(d * m, sizeof *z);
    lapack_int *support = learn_alloc(2 * d, sizeof *support), found = 0;
    if (!w || !z || !support) {
        result = err_no_memory(err);
        goto out;
    }
    lapack_int n = (lapack_int)d;
    lapack_int info = LAPACKE_ssyevr(LAPACK_ROW_MAJOR, 'V', m == d ? 'A' : 'I', 'U', n, s, n, 0, 0,
        n - (lapack_int)m + 1, n, 0, &found, w, z, (lapack_int)m, support);
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        result = err_no_memory(err);
    else if (info != 0 || found != (lapack_int)m)
        result = err_set(err, ERR_INTERNAL, "LAPACK found no eigenvectors (%d).", (int)info);
    for (size_t i = 0; result == ERR_OK && i < m; i++) {
        values[i] = w[m - 1 - i];
        copy_column(z, m - 1 - i, vectors, i, d, m);
    }
out:
    free(w);
    free(z);
    free(support);
    return result;
}
