/*
 * The derived file, byte by byte. Numbers are little-endian, as in memory.
 *
 *   header   64 bytes: struct index_file_header
 *   start    centre: padded · f32;  entries: INDEX_ENTRIES · u32;  checksum u64
 *   blocks   of INDEX_BLOCK nodes, as many as `used` needs, the last one filled with zeros:
 *            codes · padded, heads with sketches · head_stride, links · 256, rows · struct index_file_row;
 *            checksum u64
 *
 * Every byte is under a checksum, and the length of the file follows from the header. The checksum of a part takes the
 * number of the part, the identity and the generation in, so that parts of two files do not make a third one.
 *
 * In the file a row is linked or waits; what was being linked when it was written waits. A link to a node that was not
 * linked then is left out when the file is loaded.
 */
#ifndef INDEX_FILE_H
#define INDEX_FILE_H

#include "index/internal.h"

#define INDEX_FILE_MAGIC 0x3178646e696b6c6cu /* "llkindx1" */
#define INDEX_FILE_VERSION 1
#define INDEX_BLOCK 256u

struct index_file_header {
    uint64_t magic;
    uint32_t version, metric, dimension, used;
    uint32_t graph, entry_count;
    uint64_t identity, generation;
    uint32_t links, reserved; /* INDEX_LINKS; 0 */
    uint64_t checksum;        /* of all before */
};
_Static_assert(sizeof(struct index_file_header) == 64, "the header has no holes");

struct index_file_row {
    int64_t item;
    uint64_t stamp;
    uint32_t slot;
    uint8_t state; /* INDEX_FREE, INDEX_WAITING or INDEX_LINKED */
    uint8_t dead, sketched, reserved;
};
_Static_assert(sizeof(struct index_file_row) == 24, "rows have no holes");

static inline size_t index_file_start_bytes(const struct index_shape *s)
{
    return (size_t)s->padded * sizeof(float) + INDEX_ENTRIES * sizeof(uint32_t);
}

static inline size_t index_file_block_bytes(const struct index_shape *s)
{
    return INDEX_BLOCK *
           ((size_t)s->padded + s->head_stride + sizeof(struct index_links) + sizeof(struct index_file_row));
}

static inline uint64_t index_file_seed(const struct index_file_header *h, uint32_t part)
{
    return h->identity ^ (h->generation * 0x9e3779b97f4a7c15u) ^ ((uint64_t)part << 32);
}

/* Finds every change of a single byte for certain, and any other but for one in 2⁶⁴. `len` is a multiple
 * of 8. */
uint64_t index_file_checksum(const void *bytes, size_t len, uint64_t seed);

#endif
