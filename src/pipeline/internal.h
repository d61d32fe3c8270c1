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

/* Write down in the settings of a collection which model it is of, and what that is given. */
void pipeline_name_model(const struct manifest *m, struct store_settings *settings);
/* Did a call end with `r` because the collection, opened as `edition`, was replaced by another? */
bool pipeline_was_replaced(struct pipeline *p, const char *collection, enum result r, uint64_t edition);

#endif
