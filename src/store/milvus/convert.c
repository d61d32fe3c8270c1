#include "store/milvus/convert.h"

#include "base/limits.h"
#include "base/parse.h"
#include "json/json.h"
#include "store/milvus/milvus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- columns ---------------------------------------------------------------------------------------------------- */

static enum result wrong(const char *field, struct err *err)
{
    return err_set(err, ERR_UNAVAILABLE, "Milvus sent another \"%s\" than was asked for", field);
}

static const Mv__FieldData *find(Mv__FieldData *const *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i]->field_name, name) == 0)
            return fields[i];
    return NULL;
}

static const Mv__ScalarField *scalars(const Mv__FieldData *f, Mv__ScalarField__DataCase kind)
{
    if (!f || f->field_case != MV__FIELD_DATA__FIELD_SCALARS || !f->scalars || f->scalars->data_case != kind)
        return NULL;
    return f->scalars;
}

/* A column of no rows may come without its inner message. */
static bool is_empty(const Mv__FieldData *f, size_t count)
{
    return count == 0 && f && (f->field_case != MV__FIELD_DATA__FIELD_SCALARS || !f->scalars ||
                                  f->scalars->data_case == MV__SCALAR_FIELD__DATA__NOT_SET);
}

static enum result take_int64(const Mv__FieldData *f, size_t count, const char *name, const int64_t **out, struct err *err)
{
    static const int64_t none;
    const Mv__ScalarField *s = scalars(f, MV__SCALAR_FIELD__DATA_LONG_DATA);
    *out = &none;
    if (is_empty(f, count))
        return ERR_OK;
    if (!s || !s->long_data || s->long_data->n_data != count)
        return wrong(name, err);
    if (count)
        *out = s->long_data->data;
    return ERR_OK;
}

static enum result take_tags(const Mv__FieldData *f, struct milvus_columns *out, struct err *err)
{
    static Mv__ScalarField *const none;
    const Mv__ScalarField *s = scalars(f, MV__SCALAR_FIELD__DATA_ARRAY_DATA);
    out->tags = &none;
    if (is_empty(f, out->count))
        return ERR_OK;
    if (!s || !s->array_data || s->array_data->n_data != out->count)
        return wrong("tags", err);
    if (out->count)
        out->tags = s->array_data->data;
    return ERR_OK;
}

static enum result take_brief(const Mv__FieldData *f, struct milvus_columns *out, struct err *err)
{
    static const ProtobufCBinaryData none;
    const Mv__ScalarField *s = scalars(f, MV__SCALAR_FIELD__DATA_JSON_DATA);
    out->brief = &none;
    if (is_empty(f, out->count))
        return ERR_OK;
    if (!s || !s->json_data || s->json_data->n_data != out->count)
        return wrong("brief", err);
    if (out->count)
        out->brief = s->json_data->data;
    return ERR_OK;
}

static enum result take_vectors(const Mv__FieldData *f, struct milvus_columns *out, struct err *err)
{
    static const float none;
    out->vectors = &none;
    if (out->count == 0 && f)
        return ERR_OK;
    if (!f || f->field_case != MV__FIELD_DATA__FIELD_VECTORS || !f->vectors ||
        f->vectors->data_case != MV__VECTOR_FIELD__DATA_FLOAT_VECTOR || !f->vectors->float_vector ||
        f->vectors->dim != out->dimension || f->vectors->float_vector->n_data / out->dimension != out->count ||
        f->vectors->float_vector->n_data % out->dimension != 0)
        return wrong("vectors", err);
    out->vectors = f->vectors->float_vector->data;
    return ERR_OK;
}

/* The columns of `fields` among the data, all of out->count rows. */
static enum result take(Mv__FieldData *const *data, size_t n, unsigned fields, struct milvus_columns *out, struct err *err)
{
    enum result r = ERR_OK;
    if (fields & MILVUS_FILEID)
        r = take_int64(find(data, n, "fileid"), out->count, "fileid", &out->fileid, err);
    if (!r && (fields & MILVUS_ITEMID))
        r = take_int64(find(data, n, "itemid"), out->count, "itemid", &out->itemid, err);
    if (!r && (fields & MILVUS_TAGS))
        r = take_tags(find(data, n, "tags"), out, err);
    if (!r && (fields & MILVUS_BRIEF))
        r = take_brief(find(data, n, "brief"), out, err);
    if (!r && (fields & MILVUS_VECTORS))
        r = take_vectors(find(data, n, "vectors"), out, err);
    return r;
}

enum result milvus_columns_of_query(
    const Mv__QueryReply *reply, unsigned fields, uint32_t dimension, struct milvus_columns *out, struct err *err)
{
    struct milvus_columns c = {.dimension = dimension};
    if (reply->n_fields_data) { /* the key is always asked for, and says how many rows there are */
        const Mv__ScalarField *s =
            scalars(find(reply->fields_data, reply->n_fields_data, "fileid"), MV__SCALAR_FIELD__DATA_LONG_DATA);
        c.count = s && s->long_data ? s->long_data->n_data : 0;
        enum result r = take(reply->fields_data, reply->n_fields_data, fields, &c, err);
        if (r)
            return r;
    }
    *out = c;
    return ERR_OK;
}

enum result milvus_columns_of_search(
    const Mv__SearchReply *reply, unsigned fields, uint32_t dimension, struct milvus_columns *out, struct err *err)
{
    struct milvus_columns c = {.dimension = dimension};
    const Mv__SearchResultData *d = reply->results;
    if (d && d->ids && d->ids->id_field_case == MV__IDS__ID_FIELD_INT_ID && d->ids->int_id && d->ids->int_id->n_data) {
        c.count = d->ids->int_id->n_data;
        c.fileid = d->ids->int_id->data;
        c.scores = d->scores;
        if (d->n_scores != c.count)
            return wrong("scores", err);
        enum result r = take(d->fields_data, d->n_fields_data, fields & ~(unsigned)MILVUS_FILEID, &c, err);
        if (r)
            return r;
    }
    *out = c;
    return ERR_OK;
}

enum result milvus_count_of(const Mv__QueryReply *reply, uint64_t *out, struct err *err)
{
    const Mv__ScalarField *s =
        scalars(find(reply->fields_data, reply->n_fields_data, "count(*)"), MV__SCALAR_FIELD__DATA_LONG_DATA);
    if (!s || !s->long_data || s->long_data->n_data != 1 || s->long_data->data[0] < 0)
        return wrong("count(*)", err);
    *out = (uint64_t)s->long_data->data[0];
    return ERR_OK;
}

/* --- records ---------------------------------------------------------------------------------------------------- */

static enum result tags_text(const Mv__ScalarField *field, char **out, struct err *err)
{
    struct buf b;
    buf_init(&b, LIMIT_MILVUS_PAGE);
    enum result r = buf_append_str(&b, "[");
    const Mv__StringArray *strings =
        field && field->data_case == MV__SCALAR_FIELD__DATA_STRING_DATA ? field->string_data : NULL;
    for (size_t i = 0; strings && i < strings->n_data && !r; i++) {
        size_t n = strlen(strings->data[i]);
        if (i)
            r = buf_append_str(&b, ",");
        if (!r)
            r = parse_is_utf8(strings->data[i], n) ? json_append_string(&b, strings->data[i], n) : buf_append_str(&b, "\"\"");
    }
    if (!r)
        r = buf_append_str(&b, "]");
    if (!r)
        *out = buf_take(&b, NULL);
    buf_free(&b);
    return r ? err_set(err, r, "no room for the tags of a record") : ERR_OK;
}

static bool is_object(const char *text, size_t len, struct json_object **out)
{
    *out = NULL;
    return json_parse(text, len, out, NULL) == ERR_OK && json_object_is_type(*out, json_type_object);
}

/* What is read alone may begin with a byte order mark; in the middle of a reply it would be no JSON. */
static const char *behind_mark(const char *text, size_t *len)
{
    size_t mark = parse_mark(text, *len);
    *len -= mark;
    return mark ? text + mark : text; /* which is NULL where there is nothing */
}

static enum result brief_text(const ProtobufCBinaryData *data, char **out, struct err *err)
{
    size_t len = data->len, string_len = 0;
    const char *text = behind_mark((const char *)data->data, &len), *string = NULL;
    struct json_object *value = NULL, *inner = NULL;
    struct buf b;
    enum result r;
    buf_init(&b, 2 * LIMIT_MILVUS_PAGE);
    bool object = is_object(text, len, &value);
    if (value && json_object_is_type(value, json_type_string)) {
        string_len = (size_t)json_object_get_string_len(value);
        string = behind_mark(json_object_get_string(value), &string_len);
    }
    if (len == 0) {
        r = buf_append_str(&b, "{}");
    } else if (object) {
        r = buf_append(&b, text, len);
    } else if (string && is_object(string, string_len, &inner)) {
        r = buf_append(&b, string, string_len);
    } else {
        r = buf_append_str(&b, "{\"brief\":");
        if (!r && value)
            r = buf_append(&b, text, len);
        else if (!r)
            r = parse_is_utf8(text, len) && !memchr(text, '\0', len) ? json_append_string(&b, text, len) : buf_append_str(&b, "null");
        if (!r)
            r = buf_append_str(&b, "}");
    }
    json_object_put(value);
    json_object_put(inner);
    if (!r)
        *out = buf_take(&b, NULL);
    buf_free(&b);
    return r ? err_set(err, r, "no room for the brief of a record") : ERR_OK;
}

enum result milvus_record_of(const struct milvus_columns *c, size_t i, struct store_record *out, struct err *err)
{
    struct store_record n = {.fileid = c->fileid ? c->fileid[i] : 0, .itemid = c->itemid ? c->itemid[i] : 0};
    enum result r = ERR_OK;
    if (c->tags)
        r = tags_text(c->tags[i], &n.tags, err);
    if (!r && c->brief)
        r = brief_text(&c->brief[i], &n.brief, err);
    if (!r && c->vectors) {
        n.vector = malloc(c->dimension * sizeof(float));
        if (n.vector)
            memcpy(n.vector, c->vectors + i * c->dimension, c->dimension * sizeof(float));
        else
            r = err_no_memory(err);
    }
    if (r) {
        free(n.tags);
        free(n.brief);
        return r;
    }
    *out = n;
    return ERR_OK;
}

/* --- of a write ------------------------------------------------------------------------------------------------- */

enum result milvus_parse_tags(const char *text, int64_t fileid, struct json_object **out, struct err *err)
{
    struct json_object *tags = NULL;
    if (json_parse(text, strlen(text), &tags, NULL) || !json_object_is_type(tags, json_type_array)) {
        json_object_put(tags);
        return err_set_field(err, ERR_INVALID, "tags", "tags of fileid %" PRId64 " are not a JSON array", fileid);
    }
    size_t n = json_object_array_length(tags);
    enum result r = ERR_OK;
    if (n > LIMIT_TAGS)
        r = err_set_field(err, ERR_INVALID, "tags", "fileid %" PRId64 " has %zu tags; at most %d", fileid, n, LIMIT_TAGS);
    for (size_t i = 0; i < n && !r; i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        if (!json_object_is_type(tag, json_type_string) || json_object_get_string_len(tag) > LIMIT_TAG_BYTES)
            r = err_set_field(err, ERR_INVALID, "tags",
                "tag %zu of fileid %" PRId64 " is not a string of at most %d bytes", i + 1, fileid, LIMIT_TAG_BYTES);
    }
    if (r)
        json_object_put(tags);
    else
        *out = tags;
    return r;
}

enum result milvus_parse_brief(
    const char *text, int64_t fileid, const char **out, struct json_object **owned, struct err *err)
{
    struct json_object *brief = NULL;
    *owned = NULL;
    if (json_parse(text, strlen(text), &brief, NULL) || !json_object_is_type(brief, json_type_object)) {
        json_object_put(brief);
        return err_set_field(err, ERR_INVALID, "brief", "brief of fileid %" PRId64 " is not a JSON object", fileid);
    }
    if (strlen(text) <= LIMIT_BRIEF_BYTES) {
        json_object_put(brief);
        *out = text;
        return ERR_OK;
    }
    const char *plain = json_object_to_json_string_ext(brief, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    if (!plain || strlen(plain) > LIMIT_BRIEF_BYTES) {
        json_object_put(brief);
        return err_set_field(err, ERR_TOO_LARGE, "brief", "brief of fileid %" PRId64 " has more than %d bytes", fileid,
            LIMIT_BRIEF_BYTES);
    }
    *out = plain;
    *owned = brief;
    return ERR_OK;
}
