/* Inside cage/: what the two sides say to each other. */
#ifndef CAGE_PROTOCOL_H
#define CAGE_PROTOCOL_H

#include "base/limits.h"
#include "cage/cage.h"

#define CAGE_SOCKET 3
#define CAGE_MEMORY 4

/* Shared memory: the file from 0, then pixels, then the thumbnail. Untouched pages cost nothing. */
#define CAGE_INPUT_MAX ((size_t)(LIMIT_BODY > LIMIT_FETCH_BYTES ? LIMIT_BODY : LIMIT_FETCH_BYTES))
#define CAGE_PIXELS_AT CAGE_INPUT_MAX
#define CAGE_PIXELS_MAX ((size_t)LIMIT_MODEL_SIDE * LIMIT_MODEL_SIDE * 3)
#define CAGE_THUMBNAIL_AT (CAGE_PIXELS_AT + CAGE_PIXELS_MAX)
#define CAGE_SHARED_BYTES (CAGE_THUMBNAIL_AT + (size_t)LIMIT_THUMBNAIL_BYTES)

/* Both by SOCK_SEQPACKET, whole or not at all. The first of a worker is a reply about its start. */
struct cage_request {
    uint64_t len;
    uint64_t memory_bytes; /* of the first request: how much more it may take */
    struct image_want want;
};
struct cage_reply {
    int32_t result; /* enum result */
    uint32_t width, height;
    uint64_t pixels_len, thumbnail_len;
    struct err err;
};

/* Take everything away that decoding does not need. ERR_UNAVAILABLE where the kernel does not do it. */
enum result cage_lock_in(uint64_t memory_bytes, struct err *err) ERR_MUST_USE;

#endif
