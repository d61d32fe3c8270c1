#include "filter/blob.h"

/*
 * A value is its kind in one byte, then: nothing; zigzag varint; eight bytes; varint length and bytes; or,
 * for arrays and objects, the length of what follows in four bytes, the number of elements as varint, and the
 * elements. The members of an object are their key, written as a string without its kind, and their value.
 */

bool filter_blob_number(struct json_object *v, int64_t *i, double *f)
{
    if (json_object_is_type(v, json_type_double)) {
        *f = json_object_get_double(v);
        return false;
    }
    uint64_t u = json_object_get_uint64(v);
    *i = json_object_get_int64(v);
    *f = (double)u;
    return u <= INT64_MAX; /* a negative int is given as 0 here */
}

static enum result write_varint(uint64_t v, struct buf *out)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    return buf_append(out, bytes, n);
}

static uint64_t read_varint(struct filter_bytes *rest)
{
    uint64_t v = 0;
    size_t n = 0;
    do {
        v |= (uint64_t)((uint8_t)rest->data[n] & 0x7f) << (7 * n);
    } while ((uint8_t)rest->data[n++] & 0x80);
    rest->data += n;
    rest->len -= n;
    return v;
}

static struct filter_bytes read_bytes(struct filter_bytes *rest, size_t len)
{
    struct filter_bytes s = {rest->data, len};
    rest->data += len;
    rest->len -= len;
    return s;
}

enum result filter_blob_begin(enum filter_blob_kind kind, uint32_t count, struct buf *out, size_t *start)
{
    const char head[5] = {(char)kind};
    enum result r = buf_append(out, head, sizeof head);
    *start = out->len;
    return r ? r : write_varint(count, out);
}

enum result filter_blob_key(const char *key, size_t len, struct buf *out)
{
    enum result r = write_varint(len, out);
    return r ? r : buf_append(out, key, len);
}

void filter_blob_end(struct buf *out, size_t start)
{
    uint32_t len = (uint32_t)(out->len - start);
    memcpy(out->data + start - sizeof len, &len, sizeof len);
}

static enum result write_number(struct json_object *v, struct buf *out)
{
    int64_t i;
    double f;
    bool is_int = filter_blob_number(v, &i, &f);
    char kind = is_int ? FILTER_BLOB_INT : FILTER_BLOB_FLOAT;
    enum result r = buf_append(out, &kind, 1);
    if (r)
        return r;
    return is_int ? write_varint((uint64_t)i << 1 ^ (uint64_t)(i >> 63), out) : buf_append(out, &f, sizeof f);
}

static enum result write_container(struct json_object *v, bool is_array, struct buf *out)
{
    size_t start, count = is_array ? json_object_array_length(v) : (size_t)json_object_object_length(v);
    enum result r =
        filter_blob_begin(is_array ? FILTER_BLOB_ARRAY : FILTER_BLOB_OBJECT, (uint32_t)count, out, &start);
    for (size_t i = 0; is_array && !r && i < count; i++)
        r = filter_blob_write(json_object_array_get_idx(v, i), out);
    if (!is_array) {
        json_object_object_foreach(v, key, member)
        {
            if (!r)
                r = filter_blob_key(key, strlen(key), out);
            if (!r)
                r = filter_blob_write(member, out);
        }
    }
    if (!r)
        filter_blob_end(out, start);
    return r;
}

enum result filter_blob_write(struct json_object *v, struct buf *out)
{
    char kind;
    enum result r;
    switch (json_object_get_type(v)) {
    case json_type_boolean:
        kind = json_object_get_boolean(v) ? FILTER_BLOB_TRUE : FILTER_BLOB_FALSE;
        return buf_append(out, &kind, 1);
    case json_type_int:
    case json_type_double:
        return write_number(v, out);
    case json_type_string:
        kind = FILTER_BLOB_STRING;
        r = buf_append(out, &kind, 1);
        return r ? r : filter_blob_key(json_object_get_string(v), (size_t)json_object_get_string_len(v), out);
    case json_type_array:
        return write_container(v, true, out);
    case json_type_object:
        return write_container(v, false, out);
    default:
        kind = FILTER_BLOB_NULL;
        return buf_append(out, &kind, 1);
    }
}

struct filter_blob filter_blob_next(struct filter_bytes *rest)
{
    struct filter_blob v = {.kind = (enum filter_blob_kind)read_bytes(rest, 1).data[0]};
    uint64_t u;
    uint32_t len;
    switch (v.kind) {
    case FILTER_BLOB_INT:
        u = read_varint(rest);
        v.i = (int64_t)(u >> 1 ^ (0 - (u & 1)));
        break;
    case FILTER_BLOB_FLOAT:
        memcpy(&v.f, read_bytes(rest, sizeof v.f).data, sizeof v.f);
        break;
    case FILTER_BLOB_STRING:
        u = read_varint(rest);
        v.s = read_bytes(rest, u);
        break;
    case FILTER_BLOB_ARRAY:
    case FILTER_BLOB_OBJECT:
        memcpy(&len, read_bytes(rest, sizeof len).data, sizeof len);
        v.s = read_bytes(rest, len);
        v.count = (uint32_t)read_varint(&v.s);
        break;
    default:
        break;
    }
    return v;
}

/* The number that a key is as an index, or `count` where it is none below. */
static uint32_t index_of(struct filter_bytes key, uint32_t count)
{
    uint64_t index = 0;
    if (key.len == 0 || key.len > 9 || (key.data[0] == '0' && key.len > 1))
        return count;
    for (size_t i = 0; i < key.len; i++) {
        if (key.data[i] < '0' || key.data[i] > '9')
            return count;
        index = index * 10 + (uint64_t)(key.data[i] - '0');
    }
    return index < count ? (uint32_t)index : count;
}

bool filter_blob_follow(struct filter_blob *v, const struct filter_bytes *path, size_t depth)
{
    for (size_t d = 0; d < depth; d++) {
        struct filter_bytes rest = v->s;
        uint32_t count = v->count;
        bool found = false;
        if (v->kind == FILTER_BLOB_ARRAY) {
            uint32_t index = index_of(path[d], count);
            found = index < count;
            for (uint32_t i = 0; found && i <= index; i++)
                *v = filter_blob_next(&rest);
        } else if (v->kind == FILTER_BLOB_OBJECT) {
            for (uint32_t i = 0; !found && i < count; i++) {
                uint64_t len = read_varint(&rest);
                struct filter_bytes key = read_bytes(&rest, len);
                *v = filter_blob_next(&rest);
                found = key.len == path[d].len && memcmp(key.data, path[d].data, key.len) == 0;
            }
        }
        if (!found)
            return false;
    }
    return true;
}
