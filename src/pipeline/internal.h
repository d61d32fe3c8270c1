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

#endif
