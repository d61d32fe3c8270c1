/*
 * vectors.f16: the descriptors of one collection, in fixed slots. vectors.c describes the file byte by byte.
 *
 * Threads: the leader of a commit (commit.c) is the only one that reserves, writes and syncs. Readers look at
 * slots that slots.h says are visible to them; a mapping, once made, neither moves nor goes away before the
 * close.
 */
#ifndef STORE_EMBEDDED_VECTORS_H
#define STORE_EMBEDDED_VECTORS_H

#include "base/err.h"
#include "store/embedded/sys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embedded_vectors {
    const struct store_sys *sys;
    char path[EMBEDDED_PATH_MAX];
    int fd;
    uint32_t dimension;
    uint32_t trailer;     /* offset of the trailer in a slot */
    uint32_t stride;      /* bytes of a slot */
    unsigned shift;       /* log2 of the slots in a segment, the unit of mapping */
    uint64_t capacity;    /* slots the file has room for */
    const uint8_t **maps; /* one per segment, NULL until needed */
    size_t map_end;       /* maps from here on are NULL */
    bool distrust;        /* the last fdatasync() failed */
};

/* Bytes of a slot for `dimension`: the encoding below needs them. */
uint32_t embedded_vectors_stride(uint32_t dimension);

/* A new file with a header, on disk when this returns. */
enum result embedded_vectors_create(const struct store_sys *sys, const char *path, uint32_t dimension,
    uint64_t id, struct err *err) ERR_MUST_USE;
/* ERR_CORRUPT where the header is not that of this collection. */
enum result embedded_vectors_open(const struct store_sys *sys, const char *path, uint32_t dimension,
    uint64_t id, struct embedded_vectors *out, struct err *err) ERR_MUST_USE;
/*
 * For a repair: the header follows from what meta.db says, so a damaged one is written anew, and a file that is
 * missing is made, empty. ERR_CORRUPT where the header is whole and of another collection: that is not ours to
 * change. *mended says what was done, NULL for nothing.
 */
enum result embedded_vectors_mend(const struct store_sys *sys, const char *path, uint32_t dimension,
    uint64_t id, const char **mended, struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one and one that is closed. */
void embedded_vectors_close(struct embedded_vectors *v);

/* The bytes of a slot, into `slot` of `stride` bytes. Any thread. */
void embedded_vectors_encode(const struct embedded_vectors *v, uint8_t *slot, const uint16_t *halves,
    int64_t fileid, uint64_t number, float norm);

/* Make the file long enough for slot `i` and map its segment. */
enum result embedded_vectors_reserve(struct embedded_vectors *v, uint64_t i, struct err *err) ERR_MUST_USE;
/*
 * At open: map the slots below `slots`. A file that is too short for them was cut off; it is made long enough
 * (with a hole, which needs no space), so that a lost slot is like any damaged one: there, but not what was
 * written.
 */
enum result embedded_vectors_cover(struct embedded_vectors *v, uint64_t slots, struct err *err) ERR_MUST_USE;
/* `n` slots from slot `i` on, which embedded_vectors_reserve() was called for. */
enum result embedded_vectors_write(
    struct embedded_vectors *v, uint64_t i, const uint8_t *slots, size_t n, struct err *err) ERR_MUST_USE;
/*
 * Let the disk begin with what was written, which saves time where work comes before the sync. It promises nothing, but an
 * error is one of the sync.
 */
enum result embedded_vectors_start_sync(struct embedded_vectors *v, struct err *err) ERR_MUST_USE;
/* What was written is on disk; after a failure it must be taken as lost, see vectors.c. */
enum result embedded_vectors_sync(struct embedded_vectors *v, struct err *err) ERR_MUST_USE;

static inline const uint8_t *embedded_vectors_at(const struct embedded_vectors *v, uint64_t i)
{
    return v->maps[i >> v->shift] + (i & ((1u << v->shift) - 1)) * v->stride;
}

/* Euclidean length of the vector in a mapped slot. */
float embedded_vectors_norm(const struct embedded_vectors *v, uint64_t i);
/* Are the bytes those that were written for this record? */
bool embedded_vectors_verify(const struct embedded_vectors *v, uint64_t i, int64_t fileid, uint64_t number);

#endif
