#include "api/members.h"

#include "api/write_json.h"
#include "json/json.h"

#include <inttypes.h>

static const struct {
    const char *name;
    unsigned bit;
} names[] = {
    {"fileid", MEMBER_FILEID},
    {"itemid", MEMBER_ITEMID},
    {"tags", MEMBER_TAGS},
    {"brief", MEMBER_BRIEF},
    {"distance", MEMBER_DISTANCE},
    {"similarity", MEMBER_SIMILARITY},
    {"thumbnail", MEMBER_THUMBNAIL},
    {"vector", MEMBER_VECTOR},
    {"vectors", MEMBER_VECTORS},
};
#define NAME_COUNT (sizeof names / sizeof *names)

static enum result add_name(const char *text, size_t len, unsigned *members, struct err *err)
{
    for (size_t i = 0; i < NAME_COUNT; i++)
        if (strlen(names[i].name) == len && memcmp(names[i].name, text, len) == 0) {
            *members |= names[i].bit;
            return ERR_OK;
        }
    return err_set_field(err, ERR_INVALID, "fields",
        "fields: there is no \"%.*s\"; there are fileid, itemid, tags, brief, distance, similarity, thumbnail and vector",
        (int)(len < 60 ? len : 60), text);
}

/* "a,b" */
static enum result add_text(const char *text, unsigned *members, struct err *err)
{
    enum result r = ERR_OK;
    while (r == ERR_OK && *text) {
        text += strspn(text, ", ");
        size_t len = strcspn(text, ", ");
        if (len)
            r = add_name(text, len, members, err);
        text += len;
    }
    return r;
}

enum result params_members(struct params *params, unsigned allowed, unsigned usual, unsigned *out, struct err *err)
{
    unsigned members = 0;
    bool found = false;
    enum result r = ERR_OK;
    struct json_object *list = params->json ? json_member(params->json, "fields") : NULL;
    if (json_object_is_type(list, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(list) && r == ERR_OK; i++) {
            struct json_object *name = json_object_array_get_idx(list, i);
            if (!json_object_is_type(name, json_type_string))
                r = err_set_field(err, ERR_INVALID, "fields", "fields must be an array of names");
            else
                r = add_name(json_object_get_string(name), (size_t)json_object_get_string_len(name), &members, err);
        }
        found = true;
    } else if (list && !json_object_is_type(list, json_type_string)) {
        r = err_set_field(err, ERR_INVALID, "fields", "fields must be an array of names");
    } else {
        const char *text = NULL;
        r = params_string(params, "fields", &found, &text, err);
        if (r == ERR_OK && found)
            r = add_text(text, &members, err);
    }
    if (r == ERR_OK && (members & ~allowed))
        r = err_set_field(err, ERR_INVALID, "fields", "fields: distance and similarity are members of a hit, not of a record");
    if (r == ERR_OK)
        *out = found && members ? members : usual;
    return r;
}

static enum result start(struct buf *out, bool *first, const char *name)
{
    enum result r = buf_appendf(out, "%s\"%s\":", *first ? "{" : ",", name);
    *first = false;
    return r;
}

enum result write_members(struct buf *out, const struct members_of *m, const struct store_record *record)
{
    bool first = true;
    enum result r = ERR_OK;
    for (size_t i = 0; i < NAME_COUNT && r == ERR_OK; i++) {
        if (!(m->members & names[i].bit))
            continue;
        r = start(out, &first, names[i].name);
        if (r)
            break;
        switch (names[i].bit) {
        case MEMBER_FILEID:
            r = buf_appendf(out, "%" PRId64, record->fileid);
            break;
        case MEMBER_ITEMID:
            r = buf_appendf(out, "%" PRId64, record->itemid);
            break;
        case MEMBER_TAGS:
            r = buf_append_str(out, record->tags);
            break;
        case MEMBER_BRIEF:
            r = buf_append_str(out, record->brief);
            break;
        case MEMBER_DISTANCE:
            r = json_append_float(out, record->distance);
            break;
        case MEMBER_SIMILARITY:
            r = json_append_float(out, m->similarity);
            break;
        case MEMBER_THUMBNAIL:
            r = write_json_thumbnail(out, m->collection, record);
            break;
        default:
            r = record->vector ? write_json_vector(out, record->vector, m->dimension) : buf_append_str(out, "null");
        }
    }
    return r ? r : buf_append_str(out, first ? "{}" : "}");
}
