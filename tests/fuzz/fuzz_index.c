/*
 * The derived file of the index with changed bytes. With the first byte odd the sums of all parts are set right again, as
 * a program could that writes wrong files; then the rest of the reader is reached.
 *
 * What has to hold: the file is refused, or the index that comes out of it can be searched and written to.
 */
#include "base/limits.h"
#include "fuzz.h"
#include "index/file.h"

#include <stdlib.h>
#include <string.h>

#define DIM 16
#define ROWS (INDEX_GRAPH_FROM + 50)

static uint8_t *whole;
static size_t whole_len;
static const struct index_settings settings = {.dimension = DIM, .metric = INDEX_L2};
static struct index_shape shape;

static void vector_of(uint32_t i, uint16_t *v)
{
    for (uint32_t k = 0; k < DIM; k++)
        v[k] = (uint16_t)(0x3c00 + (i * 37 + k * 11) % 512);
}

static void make(void)
{
    struct index *ix = NULL;
    MUST(!index_new(&settings, &ix, NULL));
    for (uint32_t i = 0; i < ROWS; i++) {
        uint16_t v[DIM];
        vector_of(i, v);
        struct index_row row = {.slot = i, .item = i / 2, .stamp = i, .vector = v};
        MUST(!index_insert(ix, &row, NULL));
    }
    MUST(!index_save(ix, fuzz_path("index"), 1, 1, NULL));
    index_free(ix);
    whole = fuzz_read(fuzz_path("index"), &whole_len);
    index_shape_init(&shape, DIM);
}

static void set_sum(uint8_t *at, size_t len, uint64_t seed)
{
    uint64_t sum = index_file_checksum(at, len, seed);
    memcpy(at + len, &sum, sizeof sum);
}

static void set_sums(uint8_t *file, size_t len)
{
    struct index_file_header h;
    memcpy(&h, file, sizeof h);
    h.checksum = index_file_checksum(&h, offsetof(struct index_file_header, checksum), 0);
    memcpy(file, &h, sizeof h);
    size_t at = sizeof h, part = index_file_start_bytes(&shape);
    for (uint32_t number = 0; at + part + 8 <= len; number++) {
        set_sum(file + at, part, index_file_seed(&h, number));
        at += part + 8;
        part = index_file_block_bytes(&shape);
    }
}

static const uint16_t *read_vector(void *user, uint32_t slot)
{
    static _Thread_local uint16_t v[DIM];
    vector_of(slot, v);
    return v;
}

static void use(struct index *ix)
{
    uint16_t v[DIM];
    struct index_hit hits[32];
    float q[DIM];
    uint32_t count = 32;
    for (uint32_t k = 0; k < DIM; k++)
        q[k] = 1.0f + (float)k / 16;
    struct index_query query = {.vector = q, .k = 10, .group = true, .vector_of = read_vector};
    (void)!index_search(ix, &query, hits, &count, NULL, NULL);
    vector_of(7, v);
    struct index_row row = {.slot = ROWS + 1, .item = 1, .stamp = 9, .vector = v};
    (void)!index_insert(ix, &row, NULL);
    index_delete(ix, 3);
    (void)!index_check(ix, NULL, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index *ix = NULL;
    uint64_t generation;
    struct err err = {0};
    if (size < 1 || size > 400)
        return 0;
    if (!whole)
        make();
    uint8_t *copy = malloc(whole_len);
    MUST(copy != NULL);
    memcpy(copy, whole, whole_len);
    fuzz_patch(copy, whole_len, data[0] & 2 ? 1 : 13, data + 1, size - 1);
    if (data[0] & 1)
        set_sums(copy, whole_len);
    fuzz_write(fuzz_path("index"), copy, data[0] & 4 ? whole_len * (data[0] >> 3) / 32 : whole_len);
    enum result r = index_load(&settings, fuzz_path("index"), 1, &ix, &generation, &err);
    MUST(!r || err.message[0]);
    if (!r)
        use(ix);
    index_free(ix);
    free(copy);
    return 0;
}
