/*
 * What a Milvus, or whatever listens in its place, may send. The first byte chooses the kind of reply and the columns that
 * were asked for, the second the dimension; the rest are bytes as they come over the wire.
 *
 * What has to hold: a reply is refused with a sentence, or everything in it can be read: records are valid JSON of
 * whole UTF-8, columns have the same length, and a schema that is accepted has a dimension within the limits.
 */
#include "base/parse.h"
#include "fuzz.h"
#include "json/json.h"
#include "store/milvus/convert.h"
#include "store/milvus/milvus.h"
#include "store/milvus/status.h"

#include <stdlib.h>
#include <string.h>

static void check_error(enum result r, const struct err *err)
{
    if (!r)
        return;
    MUST(err->code == r && err->message[0]);
    MUST(parse_is_utf8(err->message, strlen(err->message)) || strlen(err->message) + 8 > sizeof err->message);
}

static void check_json(const char *text, json_type type)
{
    struct json_object *value = NULL;
    MUST(strncmp(text, "\xef\xbb\xbf", 3) != 0); /* it will stand in the middle of a reply */
    MUST(json_parse(text, strlen(text), &value, NULL) == ERR_OK || strlen(text) > 1000); /* nesting may be too deep */
    MUST(!value || json_object_is_type(value, type));
    json_object_put(value);
}

static void read_rows(const struct milvus_columns *columns, unsigned fields)
{
    for (size_t i = 0; i < columns->count; i++) {
        struct store_record record = {0};
        struct err err = {0};
        enum result r = milvus_record_of(columns, i, &record, &err);
        check_error(r, &err);
        if (r)
            continue;
        MUST(!(fields & MILVUS_TAGS) == !record.tags && !(fields & MILVUS_BRIEF) == !record.brief &&
             !(fields & MILVUS_VECTORS) == !record.vector);
        if (record.tags)
            check_json(record.tags, json_type_array);
        if (record.brief)
            check_json(record.brief, json_type_object);
        free(record.tags);
        free(record.brief);
        free(record.vector);
    }
}

static void rows(const ProtobufCMessage *m, bool search, unsigned fields, uint32_t dimension)
{
    struct milvus_columns columns = {0};
    struct err err = {0};
    uint64_t count;
    const Mv__QueryReply *query = (const Mv__QueryReply *)(const void *)m;
    enum result r = search ? milvus_columns_of_search((const Mv__SearchReply *)(const void *)m, fields, dimension, &columns, &err)
                           : milvus_columns_of_query(query, fields | MILVUS_FILEID, dimension, &columns, &err);
    check_error(r, &err);
    if (!r)
        read_rows(&columns, fields);
    if (!search)
        check_error(milvus_count_of(query, &count, &err), &err);
}

static void schema(const ProtobufCMessage *m)
{
    struct milvus_collection c = {.name = "c"};
    struct err err = {0};
    enum result r = milvus_check_schema((const Mv__DescribeCollectionReply *)(const void *)m, &c, &err);
    check_error(r, &err);
    MUST(r || (c.settings.dimension >= 1 && c.settings.dimension <= LIMIT_DIMENSION));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const kinds[] = {&mv__query_reply__descriptor, &mv__search_reply__descriptor,
        &mv__describe_collection_reply__descriptor, &mv__describe_index_reply__descriptor};
    if (size < 2)
        return 0;
    unsigned kind = data[0] % 4, fields = data[0] / 4 % 32 & (unsigned)MILVUS_ALL;
    struct err err = {0};
    int code = 0;
    ProtobufCMessage *m = protobuf_c_message_unpack(kinds[kind], NULL, size - 2, data + 2);
    if (!m)
        return 0;
    check_error(milvus_status_error(milvus_status_of(m), &code, &err), &err);
    if (kind < 2)
        rows(m, kind == 1, fields, 1 + data[1] % 8u);
    else if (kind == 2)
        schema(m);
    protobuf_c_message_free_unpacked(m, NULL);
    return 0;
}
