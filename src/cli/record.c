#include "cli/record.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/parse.h"
#include "json/json.h"

#include <errno.h>
#include <sys/stat.h>
#include <xxhash.h>

#define PLAIN (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

void cli_record_free(struct cli_record *r)
{
    if (!r)
        return;
    free(r->name);
    free(r->path);
    free(r->url);
    free(r->key);
    free(r->tags);
    free(r->brief);
    free(r->problem);
    free(r);
}

enum result cli_record_fail(struct cli_record *record, const struct err *why, struct err *err)
{
    record->problem = strdup(why->message);
    return record->problem ? ERR_OK : err_no_memory(err);
}

char *cli_text_as_utf8(const char *text)
{
    struct buf out;
    size_t len = strlen(text);
    buf_init(&out, 3 * len + 1);
    enum result r = buf_append_str(&out, "");
    for (size_t i = 0; i < len && r == ERR_OK;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0xc0 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        bool good = i + n <= len && parse_is_utf8(text + i, n);
        r = good ? buf_append(&out, text + i, n) : buf_append_str(&out, "\xef\xbf\xbd");
        i += good ? n : 1;
    }
    if (r)
        buf_free(&out);
    return buf_take(&out, NULL);
}

/* --- tags ----------------------------------------------------------------------------------------------- */

static enum result check_tags(struct json_object *tags, struct err *err)
{
    if (!json_object_is_type(tags, json_type_array))
        return err_set_field(err, ERR_INVALID, "tags", "tags must be a list of texts");
    size_t n = json_object_array_length(tags);
    if (n > LIMIT_TAGS)
        return err_set_field(
            err, ERR_INVALID, "tags", "it has %zu tags; at most %d are allowed", n, LIMIT_TAGS);
    for (size_t i = 0; i < n; i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        if (!json_object_is_type(tag, json_type_string))
            return err_set_field(err, ERR_INVALID, "tags", "tag number %zu is no text", i + 1);
        if (json_object_get_string_len(tag) > LIMIT_TAG_BYTES)
            return err_set_field(err, ERR_INVALID, "tags",
                "tag number %zu has %d bytes; at most %d are allowed", i + 1, json_object_get_string_len(tag),
                LIMIT_TAG_BYTES);
    }
    return ERR_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* "a; b;c" as an array, or NULL without memory; empty ones count for nothing. */
static struct json_object *split_tags(const char *text, size_t len)
{
    struct json_object *array = json_object_new_array();
    const char *end = text + len;
    while (array && text < end) {
        const char *stop = memchr(text, ';', (size_t)(end - text));
        const char *next = stop ? stop + 1 : end;
        if (!stop)
            stop = end;
        while (text < stop && is_blank(*text))
            text++;
        while (stop > text && is_blank(stop[-1]))
            stop--;
        if (stop > text &&
            json_object_array_add(array, json_object_new_string_len(text, (int)(stop - text)))) {
            json_object_put(array);
            return NULL;
        }
        text = next;
    }
    return array;
}

enum result cli_record_set_tags(struct cli_record *record, struct json_object *tags, struct err *err)
{
    struct json_object *made = NULL;
    enum result r = ERR_OK;
    if (!tags)
        return ERR_OK;
    if (json_object_is_type(tags, json_type_string)) {
        const char *text = json_object_get_string(tags);
        size_t len = (size_t)json_object_get_string_len(tags);
        while (len && is_blank(*text))
            text++, len--;
        if (len && *text == '[') {
            struct err inner = {0};
            if (json_parse(text, len, &made, &inner))
                return err_set_field(
                    err, ERR_INVALID, "tags", "its tags start like a JSON list, but: %.300s", inner.message);
        } else {
            made = split_tags(text, len);
            if (!made)
                return err_no_memory(err);
        }
        tags = made;
    }
    r = check_tags(tags, err);
    if (r == ERR_OK && json_object_array_length(tags) > 0) {
        record->tags = strdup(json_object_to_json_string_ext(tags, PLAIN));
        r = record->tags ? ERR_OK : err_no_memory(err);
    }
    json_object_put(made);
    return r;
}

/* --- brief ---------------------------------------------------------------------------------------------- */

enum result cli_record_set_brief(struct cli_record *record, struct json_object *brief, struct err *err)
{
    struct json_object *made = NULL;
    enum result r = ERR_OK;
    if (!brief)
        return ERR_OK;
    if (json_object_is_type(brief, json_type_string)) {
        struct err inner = {0};
        if (json_parse(
                json_object_get_string(brief), (size_t)json_object_get_string_len(brief), &made, &inner))
            return err_set_field(err, ERR_INVALID, "brief", "its brief is no JSON: %.300s", inner.message);
        brief = made;
    }
    size_t len = 0;
    const char *text = json_object_to_json_string_length(brief, PLAIN, &len);
    if (!json_object_is_type(brief, json_type_object))
        r = err_set_field(err, ERR_INVALID, "brief", "its brief is no JSON object");
    else if (!text)
        r = err_no_memory(err);
    else if (len > LIMIT_BRIEF_BYTES)
        r = err_set_field(err, ERR_TOO_LARGE, "brief", "its brief has %zu bytes; at most %d are allowed", len,
            LIMIT_BRIEF_BYTES);
    else if (!(record->brief = strdup(text)))
        r = err_no_memory(err);
    json_object_put(made);
    return r;
}

/* --- the end -------------------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return text ? XXH3_64bits_withSeed(text, strlen(text), seed) : seed + 1;
}

enum result cli_record_finish(struct cli_record *record, struct err *err)
{
    struct stat st;
    uint64_t h = record->has_itemid ? XXH3_64bits(&record->itemid, sizeof record->itemid) : 0;
    h = hash_text(record->tags, h);
    h = hash_text(record->brief, h);
    h = hash_text(record->url, h);
    record->metadata = hash_text(record->path, h);
    if (!record->path)
        return ERR_OK;
    if (stat(record->path, &st))
        return err_set_errno(err, errno, "cannot be read");
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "is no file");
    record->size = (uint64_t)st.st_size;
    record->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return ERR_OK;
}
