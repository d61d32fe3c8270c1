/*
 * Gathers pictures of many threads into batches for the engine. For pipeline.c only.
 *
 * batcher_run() blocks its thread until the vector is there. One thread per concurrent run of the engine takes what
 * waits; see the essay in batcher.c for how much.
 */
#ifndef PIPELINE_BATCHER_H
#define PIPELINE_BATCHER_H

#include "embed/embed.h"

struct batcher;

/* `embed` stays the caller's and outlives the batcher. */
enum result batcher_new(struct embed *embed, struct batcher **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void batcher_free(struct batcher *batcher);

/*
 * `pixels` as for embed_run(), `vector` with room for the dimension. ERR_BUSY: LIMIT_EMBED_QUEUE pictures wait
 * already. ERR_TIMEOUT: the deadline passed before the engine took the picture; once taken, the call waits for it.
 */
enum result batcher_run(
    struct batcher *batcher, const uint8_t *pixels, float *vector, int64_t deadline_ms, struct err *err) ERR_MUST_USE;

#endif
