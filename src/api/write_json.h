/* Inside api/: JSON of records and hits. Tags and brief are JSON text already and are put in as they are. */
#ifndef API_WRITE_JSON_H
#define API_WRITE_JSON_H

#include "base/buf.h"
#include "pipeline/pipeline.h"

/* `"fileid":1,"itemid":2,"tags":[],"brief":{}`, without braces. */
enum result write_json_record(struct buf *out, const struct store_record *record) ERR_MUST_USE;
/* `[0.1,…]` */
enum result write_json_vector(struct buf *out, const float *vector, uint32_t dimension) ERR_MUST_USE;
/* `"/v1/collections/c/images/1/thumbnail"` or `null`. */
enum result write_json_thumbnail(struct buf *out, const char *collection, const struct store_record *record) ERR_MUST_USE;

#endif
