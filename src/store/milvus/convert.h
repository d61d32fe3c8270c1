/*
 * Columns of Milvus ⇄ records. For store/milvus/ only. What Milvus sends is not trusted: each column asked for must be
 * there, of its type, and of one length with the others, before anything is read from it.
 */
#ifndef STORE_MILVUS_CONVERT_H
#define STORE_MILVUS_CONVERT_H

#include "store/milvus/proto.h"
#include "store/store.h"

#include <json-c/json.h>

/* Views into a reply; they live as long as it does. A column that was not asked for is NULL. */
struct milvus_columns {
    size_t count;
    uint32_t dimension;
    const int64_t *fileid, *itemid;
    Mv__ScalarField *const *tags;
    const ProtobufCBinaryData *brief;
    const float *vectors; /* count × dimension */
    const float *scores;  /* of a search */
};

/* `fields` as in milvus.h; `dimension` that of the collection. ERR_UNAVAILABLE: not what was asked for. */
enum result milvus_columns_of_query(const Mv__QueryReply *reply, unsigned fields, uint32_t dimension,
    struct milvus_columns *out, struct err *err) ERR_MUST_USE;
enum result milvus_columns_of_search(const Mv__SearchReply *reply, unsigned fields, uint32_t dimension,
    struct milvus_columns *out, struct err *err) ERR_MUST_USE;
enum result milvus_count_of(const Mv__QueryReply *reply, uint64_t *out, struct err *err) ERR_MUST_USE;

/*
 * Row `i` as a record of its own memory; columns that are NULL leave their members 0. Another program may have put
 * any JSON into `brief`: an object stays as it is, a string that holds an object becomes it, anything else becomes
 * the member "brief" of an object.
 */
enum result milvus_record_of(
    const struct milvus_columns *columns, size_t i, struct store_record *out, struct err *err) ERR_MUST_USE;

/* Tags of a write, checked: *out is an array of at most LIMIT_TAGS strings; json_object_put() it. */
enum result milvus_parse_tags(const char *text, int64_t fileid, struct json_object **out, struct err *err) ERR_MUST_USE;
/*
 * A brief as Milvus takes it: at most LIMIT_BRIEF_BYTES. *out is `text` itself, or where that is longer the same
 * object without escapes and blanks that are not needed, in *owned, to be put by json_object_put().
 */
enum result milvus_parse_brief(const char *text, int64_t fileid, const char **out, struct json_object **owned,
    struct err *err) ERR_MUST_USE;

#endif
