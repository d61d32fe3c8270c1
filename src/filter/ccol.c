#include "filter/ccol.h"

struct filter_chunk {
    uint32_t count;
    uint32_t room; /* sparse: entries there is memory for */
    bool dense;
    uint8_t width;     /* dense: bytes of a difference; 0: all keys are `base` */
    uint64_t base;     /* dense: a key is base + difference */
    uint16_t *rows;    /* sparse, rising */
    uint64_t *keys;    /* sparse */
    uint64_t *present; /* dense */
    void *deltas;      /* dense */
};

static void chunk_free(struct filter_chunk *c)
{
    if (!c)
        return;
    free(c->rows);
    free(c->keys);
    free(c->present);
    free(c->deltas);
    free(c);
}

void filter_ccol_free(struct filter_ccol *col)
{
    for (uint32_t i = 0; i < col->chunk_count; i++)
        chunk_free(col->chunks[i]);
    free(col->chunks);
    *col = (struct filter_ccol){0};
}

static uint64_t max_delta(unsigned width)
{
    return width == 0 ? 0 : width == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * width)) - 1;
}

static uint64_t delta_get(const struct filter_chunk *c, uint32_t i)
{
    switch (c->width) {
    case 0:
        return 0;
    case 1:
        return ((const uint8_t *)c->deltas)[i];
    case 2:
        return ((const uint16_t *)c->deltas)[i];
    case 4:
        return ((const uint32_t *)c->deltas)[i];
    default:
        return ((const uint64_t *)c->deltas)[i];
    }
}

static void delta_set(void *deltas, unsigned width, uint32_t i, uint64_t delta)
{
    switch (width) {
    case 0:
        return;
    case 1:
        ((uint8_t *)deltas)[i] = (uint8_t)delta;
        return;
    case 2:
        ((uint16_t *)deltas)[i] = (uint16_t)delta;
        return;
    case 4:
        ((uint32_t *)deltas)[i] = (uint32_t)delta;
        return;
    default:
        ((uint64_t *)deltas)[i] = delta;
    }
}

static bool is_present(const struct filter_chunk *c, uint32_t i)
{
    return c->present[i / 64] >> (i % 64) & 1;
}

/* The first sparse entry whose row is not below `i`. */
static uint32_t sparse_find(const struct filter_chunk *c, uint32_t i)
{
    uint32_t low = 0, high = c->count;
    if (high && c->rows[high - 1] < i)
        return high; /* rows mostly come in order */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c->rows[middle] < i)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * Width and base for keys from `low` to `high`. A quarter of what is to spare goes below, the rest above, so
 * that a column that grows in either direction is not encoded again for each new key, but a few times a
 * width.
 */
static unsigned choose_width(uint64_t low, uint64_t high, uint64_t *base)
{
    unsigned width = low == high ? 0 : 1;
    while (max_delta(width) < high - low)
        width *= 2;
    uint64_t below = (max_delta(width) - (high - low)) / 4;
    *base = width == 8 ? 0 : low < below ? 0 : low - below;
    return width;
}

/* The keys of a chunk and one more, least and greatest. */
static void key_extremes(const struct filter_chunk *c, uint64_t *low, uint64_t *high)
{
    for (uint32_t i = 0; !c->dense && i < c->count; i++) {
        *low = c->keys[i] < *low ? c->keys[i] : *low;
        *high = c->keys[i] > *high ? c->keys[i] : *high;
    }
    for (uint32_t i = 0; c->dense && i < FILTER_CHUNK_ROWS; i++) {
        uint64_t key = c->base + delta_get(c, i);
        if (!is_present(c, i))
            continue;
        *low = key < *low ? key : *low;
        *high = key > *high ? key : *high;
    }
}

/* Make the chunk dense, or dense with another width or base, with room for `key`. */
static enum result chunk_encode(struct filter_chunk *c, uint64_t key)
{
    uint64_t low = key, high = key, base;
    key_extremes(c, &low, &high);
    unsigned width = choose_width(low, high, &base);
    void *deltas = width ? calloc(FILTER_CHUNK_ROWS, width) : NULL;
    uint64_t *present = c->dense ? c->present : calloc(FILTER_CHUNK_WORDS, sizeof *present);
    if ((width && !deltas) || !present) {
        free(deltas);
        if (!c->dense)
            free(present);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; !c->dense && i < c->count; i++) {
        present[c->rows[i] / 64] |= (uint64_t)1 << (c->rows[i] % 64);
        delta_set(deltas, width, c->rows[i], c->keys[i] - base);
    }
    for (uint32_t i = 0; c->dense && i < FILTER_CHUNK_ROWS; i++)
        if (is_present(c, i))
            delta_set(deltas, width, i, c->base + delta_get(c, i) - base);
    free(c->deltas);
    free(c->rows);
    free(c->keys);
    c->rows = NULL;
    c->keys = NULL;
    c->room = 0;
    c->dense = true;
    c->present = present;
    c->deltas = deltas;
    c->base = base;
    c->width = (uint8_t)width;
    return ERR_OK;
}

static enum result dense_set(struct filter_chunk *c, uint32_t i, uint64_t key)
{
    if (key < c->base || key - c->base > max_delta(c->width)) {
        enum result r = chunk_encode(c, key);
        if (r)
            return r;
    }
    delta_set(c->deltas, c->width, i, key - c->base);
    c->count += !is_present(c, i);
    c->present[i / 64] |= (uint64_t)1 << (i % 64);
    return ERR_OK;
}

static enum result sparse_set(struct filter_chunk *c, uint32_t i, uint64_t key)
{
    uint32_t at = sparse_find(c, i);
    if (at < c->count && c->rows[at] == i) {
        c->keys[at] = key;
        return ERR_OK;
    }
    if (c->count == c->room) {
        uint32_t room = c->room ? c->room + c->room / 2 + 1 : 4;
        uint16_t *rows = realloc(c->rows, room * sizeof *rows);
        if (!rows)
            return ERR_NO_MEMORY;
        c->rows = rows;
        uint64_t *keys = realloc(c->keys, room * sizeof *keys);
        if (!keys)
            return ERR_NO_MEMORY;
        c->keys = keys;
        c->room = room;
    }
    memmove(c->rows + at + 1, c->rows + at, (c->count - at) * sizeof *c->rows);
    memmove(c->keys + at + 1, c->keys + at, (c->count - at) * sizeof *c->keys);
    c->rows[at] = (uint16_t)i;
    c->keys[at] = key;
    c->count++;
    return ERR_OK;
}

/* The chunk of a row, made where there is none. */
static struct filter_chunk *chunk_make(struct filter_ccol *col, uint32_t row)
{
    uint32_t at = row / FILTER_CHUNK_ROWS;
    if (at >= col->chunk_count) {
        struct filter_chunk **chunks = realloc(col->chunks, (at + 1) * sizeof(struct filter_chunk *));
        if (!chunks)
            return NULL;
        memset(chunks + col->chunk_count, 0, (at + 1 - col->chunk_count) * sizeof(struct filter_chunk *));
        col->chunks = chunks;
        col->chunk_count = at + 1;
    }
    if (!col->chunks[at])
        col->chunks[at] = calloc(1, sizeof(struct filter_chunk));
    return col->chunks[at];
}

enum result filter_ccol_set(struct filter_ccol *col, uint32_t row, uint64_t key, uint32_t dense_from)
{
    struct filter_chunk *c = chunk_make(col, row);
    if (!c)
        return ERR_NO_MEMORY;
    if (!c->dense && c->count >= dense_from) {
        enum result r = chunk_encode(c, key);
        if (r)
            return r;
    }
    uint32_t before = c->count, i = row % FILTER_CHUNK_ROWS;
    enum result r = c->dense ? dense_set(c, i, key) : sparse_set(c, i, key);
    col->count += c->count - before;
    return r;
}

static struct filter_chunk *chunk_of(const struct filter_ccol *col, uint32_t row)
{
    uint32_t at = row / FILTER_CHUNK_ROWS;
    return at < col->chunk_count ? col->chunks[at] : NULL;
}

bool filter_ccol_get(const struct filter_ccol *col, uint32_t row, uint64_t *key)
{
    const struct filter_chunk *c = chunk_of(col, row);
    uint32_t i = row % FILTER_CHUNK_ROWS;
    if (!c)
        return false;
    if (c->dense) {
        *key = c->base + delta_get(c, i);
        return is_present(c, i);
    }
    uint32_t at = sparse_find(c, i);
    if (at == c->count || c->rows[at] != i)
        return false;
    *key = c->keys[at];
    return true;
}

bool filter_ccol_clear(struct filter_ccol *col, uint32_t row, uint64_t *key)
{
    struct filter_chunk *c = chunk_of(col, row);
    uint32_t i = row % FILTER_CHUNK_ROWS;
    if (!c || !filter_ccol_get(col, row, key))
        return false;
    if (c->dense) {
        c->present[i / 64] &= ~((uint64_t)1 << (i % 64));
    } else {
        uint32_t at = sparse_find(c, i);
        memmove(c->rows + at, c->rows + at + 1, (c->count - at - 1) * sizeof *c->rows);
        memmove(c->keys + at, c->keys + at + 1, (c->count - at - 1) * sizeof *c->keys);
    }
    c->count--;
    col->count--;
    if (c->count == 0) {
        chunk_free(c);
        col->chunks[row / FILTER_CHUNK_ROWS] = NULL;
    }
    return true;
}

void filter_ccol_prefetch(const struct filter_ccol *col, uint32_t row)
{
    const struct filter_chunk *c = chunk_of(col, row);
    uint32_t i = row % FILTER_CHUNK_ROWS;
    if (!c || !c->dense)
        return;
    __builtin_prefetch(&c->present[i / 64], 1);
    if (c->width)
        __builtin_prefetch((const char *)c->deltas + (size_t)i * c->width, 1);
}

size_t filter_ccol_bytes(const struct filter_ccol *col)
{
    size_t bytes = col->chunk_count * sizeof(struct filter_chunk *);
    for (uint32_t i = 0; i < col->chunk_count; i++) {
        const struct filter_chunk *c = col->chunks[i];
        if (c)
            bytes += sizeof *c + c->room * (sizeof *c->rows + sizeof *c->keys) +
                     (c->dense ? FILTER_CHUNK_ROWS / 8 + (size_t)FILTER_CHUNK_ROWS * c->width : 0);
    }
    return bytes;
}

/* --- scans
 * ----------------------------------------------------------------------------------------------------------
 */

void filter_ccol_present(const struct filter_ccol *col, uint64_t *words)
{
    for (uint32_t n = 0; n < col->chunk_count; n++, words += FILTER_CHUNK_WORDS) {
        const struct filter_chunk *c = col->chunks[n];
        for (uint32_t i = 0; c && !c->dense && i < c->count; i++)
            words[c->rows[i] / 64] |= (uint64_t)1 << (c->rows[i] % 64);
        for (uint32_t i = 0; c && c->dense && i < FILTER_CHUNK_WORDS; i++)
            words[i] |= c->present[i];
    }
}

/* Differences in low … low + span. The comparison of unsigned distances is one the compiler makes vectors of.
 */
#define DEFINE_RANGE(type)                                                                                   \
    FILTER_INLINED void range_##type(                                                                        \
        const struct filter_chunk *c, uint64_t low, uint64_t span, uint64_t *words)                          \
    {                                                                                                        \
        const type *deltas = c->deltas;                                                                      \
        const type from = (type)low, width = (type)span;                                                     \
        for (uint32_t i = 0; i < FILTER_CHUNK_WORDS; i++, deltas += 64) {                                    \
            uint8_t flags[64];                                                                               \
            if (!c->present[i])                                                                              \
                continue;                                                                                    \
            for (int j = 0; j < 64; j++)                                                                     \
                flags[j] = (type)(deltas[j] - from) <= width;                                                \
            words[i] |= filter_pack(flags) & c->present[i];                                                  \
        }                                                                                                    \
    }                                                                                                        \
    FILTER_TWICE(void, range_##type,                                                                         \
        (const struct filter_chunk *c, uint64_t low, uint64_t span, uint64_t *words), (c, low, span, words))
DEFINE_RANGE(uint8_t)
DEFINE_RANGE(uint16_t)
DEFINE_RANGE(uint32_t)
DEFINE_RANGE(uint64_t)

static void range_dense(const struct filter_chunk *c, uint64_t low, uint64_t high, uint64_t *words)
{
    uint64_t max = max_delta(c->width);
    if (high < c->base || (low > c->base && low - c->base > max))
        return;
    low = low > c->base ? low - c->base : 0;
    high = high - c->base < max ? high - c->base : max;
    switch (c->width) {
    case 0:
        for (uint32_t i = 0; i < FILTER_CHUNK_WORDS; i++)
            words[i] |= c->present[i];
        return;
    case 1:
        range_uint8_t_best()(c, low, high - low, words);
        return;
    case 2:
        range_uint16_t_best()(c, low, high - low, words);
        return;
    case 4:
        range_uint32_t_best()(c, low, high - low, words);
        return;
    default:
        range_uint64_t_best()(c, low, high - low, words);
    }
}

void filter_ccol_range(const struct filter_ccol *col, uint64_t low, uint64_t high, uint64_t *words)
{
    if (low > high)
        return;
    for (uint32_t n = 0; n < col->chunk_count; n++, words += FILTER_CHUNK_WORDS) {
        const struct filter_chunk *c = col->chunks[n];
        if (c && c->dense)
            range_dense(c, low, high, words);
        for (uint32_t i = 0; c && !c->dense && i < c->count; i++)
            if (c->keys[i] - low <= high - low)
                words[c->rows[i] / 64] |= (uint64_t)1 << (c->rows[i] % 64);
    }
}

bool filter_ccol_within(const struct filter_ccol *col, uint64_t low, uint64_t high)
{
    for (uint32_t n = 0; n < col->chunk_count; n++) {
        const struct filter_chunk *c = col->chunks[n];
        if (c && c->dense) {
            uint64_t room = UINT64_MAX - c->base, max = max_delta(c->width);
            if (c->base < low || c->base > high || (max < room ? max : room) > high - c->base)
                return false;
        }
        for (uint32_t i = 0; c && !c->dense && i < c->count; i++)
            if (c->keys[i] < low || c->keys[i] > high)
                return false;
    }
    return true;
}

/* 64 keys of a dense chunk. */
static void decode(const struct filter_chunk *c, uint32_t block, uint64_t keys[64])
{
    uint32_t first = block * 64;
    switch (c->width) {
    case 0:
        for (int j = 0; j < 64; j++)
            keys[j] = c->base;
        return;
    case 1:
        for (int j = 0; j < 64; j++)
            keys[j] = c->base + ((const uint8_t *)c->deltas)[first + j];
        return;
    case 2:
        for (int j = 0; j < 64; j++)
            keys[j] = c->base + ((const uint16_t *)c->deltas)[first + j];
        return;
    case 4:
        for (int j = 0; j < 64; j++)
            keys[j] = c->base + ((const uint32_t *)c->deltas)[first + j];
        return;
    default:
        for (int j = 0; j < 64; j++)
            keys[j] = c->base + ((const uint64_t *)c->deltas)[first + j];
    }
}

void filter_ccol_scan(const struct filter_ccol *col, filter_block_fn fn, const void *user, uint64_t *words)
{
    uint64_t keys[64] = {0};
    for (uint32_t n = 0; n < col->chunk_count; n++, words += FILTER_CHUNK_WORDS) {
        const struct filter_chunk *c = col->chunks[n];
        for (uint32_t i = 0; c && c->dense && i < FILTER_CHUNK_WORDS; i++) {
            if (!c->present[i])
                continue;
            decode(c, i, keys);
            words[i] |= fn(user, keys) & c->present[i];
        }
        for (uint32_t i = 0; c && !c->dense && i < c->count; i += 64) {
            uint32_t some = c->count - i < 64 ? c->count - i : 64;
            memcpy(keys, c->keys + i, some * sizeof *keys);
            uint64_t mask = fn(user, keys);
            for (uint32_t j = 0; j < some; j++)
                if (mask >> j & 1)
                    words[c->rows[i + j] / 64] |= (uint64_t)1 << (c->rows[i + j] % 64);
        }
    }
}

#define DEFINE_TABLE(type)                                                                                   \
    static void table_##type(const struct filter_chunk *c, const uint8_t *table, uint64_t *words)            \
    {                                                                                                        \
        const type *deltas = c->deltas;                                                                      \
        table += c->base;                                                                                    \
        for (uint32_t i = 0; i < FILTER_CHUNK_WORDS; i++, deltas += 64) {                                    \
            uint8_t flags[64];                                                                               \
            uint64_t left = c->present[i];                                                                   \
            if (left == UINT64_MAX) {                                                                        \
                for (int j = 0; j < 64; j++)                                                                 \
                    flags[j] = table[deltas[j]] != 0;                                                        \
                words[i] |= filter_pack(flags);                                                              \
                continue;                                                                                    \
            }                                                                                                \
            for (; left; left &= left - 1) { /* what stands where nothing is may be no key */                \
                int j = __builtin_ctzll(left);                                                               \
                words[i] |= (uint64_t)(table[deltas[j]] != 0) << j;                                          \
            }                                                                                                \
        }                                                                                                    \
    }
DEFINE_TABLE(uint8_t)
DEFINE_TABLE(uint16_t)
DEFINE_TABLE(uint32_t)

static void table_dense(const struct filter_chunk *c, const uint8_t *table, uint64_t *words)
{
    switch (c->width) {
    case 1:
        table_uint8_t(c, table, words);
        return;
    case 2:
        table_uint16_t(c, table, words);
        return;
    case 4:
        table_uint32_t(c, table, words);
        return;
    default: /* 0: all keys are the base; 8: there is no such code */
        for (uint32_t i = 0; c->width == 0 && table[c->base] && i < FILTER_CHUNK_WORDS; i++)
            words[i] |= c->present[i];
    }
}

void filter_ccol_table(const struct filter_ccol *col, const uint8_t *table, uint64_t *words)
{
    for (uint32_t n = 0; n < col->chunk_count; n++, words += FILTER_CHUNK_WORDS) {
        const struct filter_chunk *c = col->chunks[n];
        if (c && c->dense)
            table_dense(c, table, words);
        for (uint32_t i = 0; c && !c->dense && i < c->count; i++)
            if (table[c->keys[i]])
                words[c->rows[i] / 64] |= (uint64_t)1 << (c->rows[i] % 64);
    }
}

uint64_t filter_ccol_block(const struct filter_ccol *col, uint32_t block, uint64_t keys[64])
{
    uint32_t n = block / FILTER_CHUNK_WORDS, i = block % FILTER_CHUNK_WORDS;
    const struct filter_chunk *c = n < col->chunk_count ? col->chunks[n] : NULL;
    if (!c)
        return 0;
    if (c->dense) {
        if (c->present[i])
            decode(c, i, keys);
        return c->present[i];
    }
    uint64_t mask = 0;
    for (uint32_t at = sparse_find(c, i * 64); at < c->count && c->rows[at] / 64 == i; at++) {
        keys[c->rows[at] % 64] = c->keys[at];
        mask |= (uint64_t)1 << (c->rows[at] % 64);
    }
    return mask;
}
