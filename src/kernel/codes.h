/*
 * Arithmetic on the 8-bit codes and sign bits of the vector index, one table of functions per instruction
 * set.
 *
 * Codes are signed bytes from −127 to 127: −128 never occurs, which lets AVX2 multiply them by way of their
 * absolute values without its 16-bit sums overflowing. Every length `n` is a multiple of KERNEL_CODES_STEP;
 * callers pad with zeros. Pointers need no alignment. Integer results are the same in every table; hadamard()
 * differs from the scalar one only by rounding, and max_abs() and encode() not at all.
 */
#ifndef KERNEL_CODES_H
#define KERNEL_CODES_H

#include <stddef.h>
#include <stdint.h>

#define KERNEL_CODES_STEP 64
#define KERNEL_BLOCK 16 /* rows side by side, so that one instruction serves all of them … */
#define KERNEL_PARTS 8  /* … of 4 · 8 components each */

/*
 * Few components of each of 16 rows, and what turns their inner products with a query into distances. Component 4p + i of
 * row r is byte i, in memory, of parts[p][r], from 0 to 127.
 *
 * A row may be written, in 32-bit atomic stores, while the others are looked at: what comes out for it then is worth nothing,
 * and its reader must know better. So the functions that read a block are left out of ThreadSanitizer.
 */
struct kernel_block {
    _Alignas(64) uint32_t parts[KERNEL_PARTS][KERNEL_BLOCK];
    float base[KERNEL_BLOCK];
};
struct kernel_glance {
    int8_t q[4 * KERNEL_PARTS];
    float offset, scale, limit;
};
#define KERNEL_UNSYNCHRONIZED __attribute__((no_sanitize("thread")))

struct kernel_codes {
    const char *name; /* "scalar", "avx2", "vnni", "dotprod" */
    /* Σ a·b. `b_sum` is Σ b, which the caller knows: instructions that want one factor unsigned need it. */
    int32_t (*dot)(const int8_t *a, const int8_t *b, int32_t b_sum, size_t n);
    /* Σ of those q[i] whose bit i is set; bit i is bit i % 8 of bits[i / 8]. */
    int32_t (*sum_where)(const uint8_t *bits, const int8_t *q, size_t n);
    /* Largest |x|. */
    float (*max_abs)(const float *x, size_t n);
    /* code[i] = x[i] · inverse, rounded to nearest (even), limited to ±127. Returns Σ code. */
    int32_t (*encode)(const float *x, float inverse, int8_t *code, size_t n);
    /* The Walsh-Hadamard transform in place, not normalised; n is a power of two. */
    void (*hadamard)(float *x, size_t n);
    /*
     * near[r] = base[r] + offset − scale · Σ component · q for each row r of the block whose bit is set in `rows`, infinite for
     * the others. Bit r of what is returned: that is below the limit. Floats differ from the scalar table by rounding.
     */
    uint32_t (*glance)(const struct kernel_block *block, const struct kernel_glance *g, uint32_t rows, float *near);
    /* Bit r, for each row of a block: near[r] − doubt · rest[r] is below the limit. */
    uint32_t (*nearer)(const float *near, const float *rest, float doubt, float limit);
};

/* The best table for this CPU. Never NULL; thread-safe. */
const struct kernel_codes *kernel_codes_get(void);

/* For tests and benchmarks: the i-th table that this CPU can run, the scalar one first; NULL past the last.
 */
const struct kernel_codes *kernel_codes_table(size_t i);

#endif
