/*
 * A column: row number → 64-bit key, for some of the rows. For the files of filter/ alone.
 *
 * Keys are unsigned and ordered as the values are, whatever these were, so that one kind of scan serves all:
 * ints and doubles are mapped by the functions below, codes of a dictionary stand for themselves.
 *
 * Rows come in chunks of 65,536. A chunk with few rows is a sorted list of (row, key); one with many is an
 * array of differences to a base in the least number of bytes that holds them, 0 to 8, with a bit a row for
 * presence. A column of prices takes 2 to 4 bytes a row, one of consecutive numbers 2, one where all keys are
 * equal ⅛.
 *
 * Sets of rows are arrays of words, bit r of word r / 64, with room for whole chunks. All functions that fill
 * one only ever set bits. Nothing is locked here.
 */
#ifndef FILTER_CCOL_H
#define FILTER_CCOL_H

#include "base/cpu.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FILTER_CHUNK_ROWS 65536u
#define FILTER_CHUNK_WORDS (FILTER_CHUNK_ROWS / 64)

struct filter_chunk;

struct filter_ccol {
    struct filter_chunk **chunks; /* NULL where there are no rows */
    uint32_t chunk_count;
    uint32_t count; /* rows that have a key */
};

void filter_ccol_free(struct filter_ccol *col);
/* `dense_from`: how many rows make a chunk dense. ERR_NO_MEMORY leaves the column as it was. */
enum result filter_ccol_set(
    struct filter_ccol *col, uint32_t row, uint64_t key, uint32_t dense_from) ERR_MUST_USE;
bool filter_ccol_get(const struct filter_ccol *col, uint32_t row, uint64_t *key);
/* False where the row had none. */
bool filter_ccol_clear(struct filter_ccol *col, uint32_t row, uint64_t *key);
/* Have the memory of the row fetched, for one of the above. */
void filter_ccol_prefetch(const struct filter_ccol *col, uint32_t row);
size_t filter_ccol_bytes(const struct filter_ccol *col);

/* Rows that have a key. */
void filter_ccol_present(const struct filter_ccol *col, uint64_t *words);
/* Are all keys in low … high? False also where finding that out would mean reading them. */
bool filter_ccol_within(const struct filter_ccol *col, uint64_t low, uint64_t high);
/* Rows whose key is in low … high, both included. */
void filter_ccol_range(const struct filter_ccol *col, uint64_t low, uint64_t high, uint64_t *words);
/* Bit i of the result says whether keys[i] is meant; all 64 may be read, and meaningless ones are ignored. */
typedef uint64_t (*filter_block_fn)(const void *user, const uint64_t keys[64]);
void filter_ccol_scan(const struct filter_ccol *col, filter_block_fn fn, const void *user, uint64_t *words);
/* Rows with table[key] != 0; the table must have room for every key of the column. */
void filter_ccol_table(const struct filter_ccol *col, const uint8_t *table, uint64_t *words);
/* The 64 rows from `block` × 64: their keys (undefined where absent), and a bit for each that is present. */
uint64_t filter_ccol_block(const struct filter_ccol *col, uint32_t block, uint64_t keys[64]);

/*
 * A loop that gains from AVX2 is an INLINED function of plain C, which FILTER_TWICE() puts into two others, one of
 * them WIDE; NAME_best() gives the one for this machine. Both compute the same: AVX2 alone lets no compiler fuse
 * products with sums.
 *
 *     FILTER_INLINED void add(int *a, int n) { … }
 *     FILTER_TWICE(void, add, (int *a, int n), (a, n))
 *     … add_best()(a, n);
 */
#define FILTER_INLINED static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define FILTER_WIDE __attribute__((target("avx2")))
#else
#define FILTER_WIDE
#endif
#define FILTER_TWICE(result, name, parameters, arguments)                                                    \
    static result name##_plain parameters                                                                    \
    {                                                                                                        \
        return name arguments;                                                                               \
    }                                                                                                        \
    FILTER_WIDE static result name##_wide parameters                                                         \
    {                                                                                                        \
        return name arguments;                                                                               \
    }                                                                                                        \
    static result(*name##_best(void)) parameters                                                             \
    {                                                                                                        \
        return cpu_features() & CPU_AVX2 ? name##_wide : name##_plain;                                       \
    }

static inline uint64_t filter_key_int(int64_t v)
{
    return (uint64_t)v ^ (uint64_t)1 << 63;
}

FILTER_INLINED int64_t filter_int_key(uint64_t key)
{
    return (int64_t)(key ^ (uint64_t)1 << 63);
}

/* Not for NaN. -0.0 and 0.0 have one key. */
static inline uint64_t filter_key_double(double v)
{
    uint64_t bits;
    v += 0.0; /* -0.0 becomes 0.0 */
    memcpy(&bits, &v, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

FILTER_INLINED double filter_double_key(uint64_t key)
{
    uint64_t bits = key >> 63 ? key & ~((uint64_t)1 << 63) : ~key;
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* 64 bytes that are 0 or 1, as bits. */
FILTER_INLINED uint64_t filter_pack(const uint8_t flags[64])
{
    uint64_t mask = 0;
    for (int i = 0; i < 8; i++) {
        uint64_t eight;
        memcpy(&eight, flags + 8 * i, sizeof eight);
        mask |= (eight * 0x0102040810204080u >> 56) << (8 * i);
    }
    return mask;
}

#endif
