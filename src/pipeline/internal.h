/* What the files of pipeline/ share; nobody else includes it. */
#ifndef PIPELINE_INTERNAL_H
#define PIPELINE_INTERNAL_H

#include "image/image.h"
#include "pipeline/pipeline.h"

/* The collection, and how its pictures are looked at. */
enum result pipeline_open_collection(struct pipeline *p, const char *collection, int64_t deadline_ms,
    struct store_settings *settings, struct pipeline_look *look, struct err *err) ERR_MUST_USE;
/* The pixels that the model gets; image_free(). */
enum result pipeline_pixels(struct pipeline *p, const struct pipeline_look *look, const struct pipeline_picture *picture,
    int64_t deadline_ms, struct image *out, struct err *err) ERR_MUST_USE;

/* Run `work` with `user` on a few threads, at most `most` of them, and wait for all; on this one where there are none to be had. It
   takes one picture after the other by itself, and waits for each inference: so the batcher has several to put together. */
void pipeline_share_out(void *(*work)(void *user), void *user, size_t most);
/* Write down in the settings of a collection which model it is of, and what that is given. */
void pipeline_name_model(const struct manifest *m, struct store_settings *settings);
/* Did a call end with `r` because the collection, opened as `edition`, was replaced by another? */
bool pipeline_was_replaced(struct pipeline *p, const char *collection, enum result r, uint64_t edition);

#endif
