#include "api/write_json.h"

#include "json/json.h"

#include <inttypes.h>

enum result write_json_record(struct buf *out, const struct store_record *record)
{
    enum result r = buf_appendf(out, "\"fileid\":%" PRId64 ",\"itemid\":%" PRId64 ",\"tags\":", record->fileid, record->itemid);
    if (r == ERR_OK)
        r = buf_append_str(out, record->tags);
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"brief\":");
    if (r == ERR_OK)
        r = buf_append_str(out, record->brief);
    return r;
}

enum result write_json_vector(struct buf *out, const float *vector, uint32_t dimension)
{
    enum result r = buf_append_str(out, "[");
    for (uint32_t i = 0; i < dimension && r == ERR_OK; i++) {
        if (i)
            r = buf_append_str(out, ",");
        if (r == ERR_OK)
            r = json_append_float(out, vector[i]);
    }
    return r ? r : buf_append_str(out, "]");
}

enum result write_json_thumbnail(struct buf *out, const char *collection, const struct store_record *record)
{
    if (!record->has_thumbnail)
        return buf_append_str(out, "null");
    /* The name of a collection has no character that would need escaping. */
    return buf_appendf(out, "\"/v1/collections/%s/images/%" PRId64 "/thumbnail\"", collection, record->fileid);
}
