#include "filter/store.h"

#include <roaring/roaring.h>
#include <stdatomic.h>

/*
 * A set of rows is a CRoaring bitmap that several may hold. It is made from words by writing CRoaring's
 * portable format (RoaringFormatSpec, no run containers), which is an order of magnitude faster than adding
 * rows, and the same in every version of the library: 65,536 rows are a sorted list of 16-bit numbers, or a
 * bitmap from 4,097 rows on. The words themselves are kept beside it, for a search wants to ask for a row in
 * a single load.
 */

struct filter_rows {
    atomic_uint holders;
    uint64_t count;
    roaring_bitmap_t *bitmap;
    uint64_t *words;
    size_t word_count;
};

enum { COOKIE = 12346, LIST_MAX = 4096, BITMAP_BYTES = FILTER_CHUNK_ROWS / 8 };

static uint32_t count_words(const uint64_t *words)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FILTER_CHUNK_WORDS; i++)
        count += (uint32_t)__builtin_popcountll(words[i]);
    return count;
}

static uint32_t container_bytes(uint32_t count)
{
    return count > LIST_MAX ? BITMAP_BYTES : 2 * count;
}

static char *write_container(const uint64_t *words, uint32_t count, char *at)
{
    if (count > LIST_MAX) {
        memcpy(at, words, BITMAP_BYTES);
        return at + BITMAP_BYTES;
    }
    for (uint32_t i = 0; i < FILTER_CHUNK_WORDS; i++) {
        for (uint64_t w = words[i]; w; w &= w - 1) {
            uint16_t row = (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(w));
            memcpy(at, &row, sizeof row);
            at += sizeof row;
        }
    }
    return at;
}

/* The portable format of `chunks` chunks, whose counts are given. malloc()ed. */
static char *serialize(const uint64_t *words, const uint32_t *counts, size_t chunks, size_t *len)
{
    uint32_t used = 0, offset = 0;
    for (size_t i = 0; i < chunks; i++) {
        used += counts[i] > 0;
        offset += counts[i] ? container_bytes(counts[i]) : 0;
    }
    *len = 8 + used * 8 + offset;
    char *data = malloc(*len), *head = data + 8, *place = data + 8 + used * 4, *at = data + 8 + used * 8;
    if (!data)
        return NULL;
    memcpy(data, &(uint32_t){COOKIE}, 4);
    memcpy(data + 4, &used, 4);
    for (size_t i = 0; i < chunks; i++) {
        if (!counts[i])
            continue;
        uint16_t key[2] = {(uint16_t)i, (uint16_t)(counts[i] - 1)};
        offset = (uint32_t)(at - data);
        memcpy(head, key, sizeof key);
        memcpy(place, &offset, sizeof offset);
        head += sizeof key;
        place += sizeof offset;
        at = write_container(words + i * FILTER_CHUNK_WORDS, counts[i], at);
    }
    return data;
}

enum result filter_rows_new(uint64_t *words, size_t count, struct filter_rows **out)
{
    size_t chunks = count / FILTER_CHUNK_WORDS, len = 0;
    struct filter_rows *rows = calloc(1, sizeof *rows);
    uint32_t *counts = calloc(chunks + 1, sizeof *counts);
    char *data = NULL;
    if (!rows || !counts)
        goto out;
    for (size_t i = 0; i < chunks; i++) {
        counts[i] = count_words(words + i * FILTER_CHUNK_WORDS);
        rows->count += counts[i];
    }
    data = serialize(words, counts, chunks, &len);
    if (data)
        rows->bitmap = roaring_bitmap_portable_deserialize_safe(data, len);
out:
    free(counts);
    free(data);
    if (!rows || !rows->bitmap) {
        free(rows);
        return ERR_NO_MEMORY;
    }
    rows->words = words;
    rows->word_count = count;
    atomic_init(&rows->holders, 1);
    *out = rows;
    return ERR_OK;
}

enum result filter_rows_of(uint64_t *words, size_t count, struct filter_rows **out)
{
    return filter_rows_new(words, count, out);
}

struct filter_rows *filter_rows_share(struct filter_rows *rows)
{
    atomic_fetch_add_explicit(&rows->holders, 1, memory_order_relaxed);
    return rows;
}

void filter_rows_free(struct filter_rows *rows)
{
    if (!rows || atomic_fetch_sub_explicit(&rows->holders, 1, memory_order_acq_rel) > 1)
        return;
    roaring_bitmap_free(rows->bitmap);
    free(rows->words);
    free(rows);
}

uint64_t filter_rows_count(const struct filter_rows *rows)
{
    return rows->count;
}

bool filter_rows_contain(const struct filter_rows *rows, uint32_t row)
{
    return roaring_bitmap_contains(rows->bitmap, row);
}

size_t filter_rows_list(const struct filter_rows *rows, uint64_t offset, uint32_t *out, size_t max)
{
    if (offset >= rows->count)
        return 0;
    if (max > rows->count - offset)
        max = rows->count - offset;
    return roaring_bitmap_range_uint32_array(rows->bitmap, offset, max, out) ? max : 0;
}

struct word_span {
    uint64_t *words;
    size_t count;
};

static bool set_bit(uint32_t row, void *user)
{
    struct word_span *span = user;
    if (row / 64 >= span->count)
        return false;
    span->words[row / 64] |= (uint64_t)1 << (row % 64);
    return true;
}

void filter_rows_words(const struct filter_rows *rows, uint64_t *words, size_t count)
{
    struct word_span span = {words, count};
    roaring_iterate(rows->bitmap, set_bit, &span);
}

const uint64_t *filter_rows_direct(const struct filter_rows *rows, size_t *count)
{
    *count = rows->word_count;
    return rows->words;
}

const struct roaring_bitmap_s *filter_rows_bitmap(const struct filter_rows *rows)
{
    return rows->bitmap;
}

size_t filter_rows_bytes(const struct filter_rows *rows)
{
    return sizeof *rows + roaring_bitmap_size_in_bytes(rows->bitmap) + rows->word_count * sizeof *rows->words;
}
