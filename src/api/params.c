#include "api/params.h"

#include "api/route.h"
#include "base/parse.h"

#include <strings.h>

/* --- where parameters stand ----------------------------------------------------------------------------------- */

/* Whether the media type of `value` ("text/x; charset=…") is `type`. */
static bool media_type_is(const char *value, const char *type)
{
    size_t n = strlen(type);
    return value && strncasecmp(value, type, n) == 0 && (!value[n] || strchr("; \t", value[n]));
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!memchr(" \t\r\n", text[i], 4))
            return false;
    return true;
}

static bool starts_like_json(const char *body, size_t len)
{
    size_t i = 0;
    while (i < len && memchr(" \t\r\n", body[i], 4))
        i++;
    return i < len && body[i] == '{';
}

static enum result parse_json_body(struct params *p, struct err *err)
{
    p->vector.name = "vector";
    enum result r = json_parse_body(p->request->body, p->request->body_len, &p->vector, &p->json, err);
    if (r)
        return r;
    if (!json_object_is_type(p->json, json_type_object))
        return err_set(err, ERR_INVALID, "the JSON body must be an object, like {\"collection\": …}");
    return ERR_OK;
}

enum result params_parse(const struct http_request *request, bool allow_raw, struct params *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->request = request;
    const char *body = request->body;
    size_t len = request->body_len;
    if (!body || is_blank(body, len < 4096 ? len : 4096)) {
        if (len <= 4096)
            return ERR_OK;
    }
    const char *type = http_header(request, "Content-Type");
    bool form = media_type_is(type, "application/x-www-form-urlencoded");
    if (media_type_is(type, "multipart/form-data") || (form && !starts_like_json(body, len)))
        return http_form_parse(type, body, len, &out->form, err);
    /* curl -d sends JSON as a form: what starts like an object is one. So is a body whose type was not said. */
    if (media_type_is(type, "application/json") || form || (!type && (!allow_raw || starts_like_json(body, len))))
        return parse_json_body(out, err);
    bool bytes = !type || media_type_is(type, "application/octet-stream") || strncasecmp(type, "image/", 6) == 0;
    if (allow_raw && bytes) {
        out->raw = body;
        out->raw_len = len;
        return ERR_OK;
    }
    return err_set_field(err, ERR_UNSUPPORTED, "Content-Type",
        "a body of type %.100s is not read here; send application/json, application/x-www-form-urlencoded or "
        "multipart/form-data%s",
        type, allow_raw ? ", or a picture as image/*" : "");
}

void params_free(struct params *p)
{
    if (p->json)
        json_object_put(p->json);
    p->json = NULL;
    json_numbers_free(&p->vector);
    http_form_free(&p->form);
    for (size_t i = 0; i < p->text_count; i++)
        json_object_put(p->texts[i]);
    p->text_count = 0;
    for (size_t i = 0; i < p->owned_count; i++)
        free(p->owned[i]);
    p->owned_count = 0;
}

/* Keep `memory` until params_free(); it is freed at once where that fails. */
static enum result own(struct params *p, void *memory, struct err *err)
{
    if (!memory)
        return err_no_memory(err);
    if (p->owned_count == PARAMS_OWNED_MAX) {
        free(memory);
        return err_set(err, ERR_INTERNAL, "too many parameters are copied");
    }
    p->owned[p->owned_count++] = memory;
    return ERR_OK;
}

static const struct http_part *form_part(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->form.count; i++)
        if (strcmp(p->form.parts[i].name, name) == 0)
            return &p->form.parts[i];
    return NULL;
}

/* A parameter of form or query as text; false where it is in neither. Not yet checked, not NUL-terminated. */
static bool find_text(const struct params *p, const char *name, const char **text, size_t *len)
{
    const struct http_part *part = form_part(p, name);
    if (part) {
        *text = part->data;
        *len = part->len;
        return true;
    }
    const struct http_pair *pair = http_query(p->request, name);
    if (!pair)
        return false;
    *text = pair->value;
    *len = pair->value_len;
    return true;
}

bool params_has(const struct params *p, const char *name)
{
    const char *text;
    size_t len;
    struct json_object *member = p->json ? json_member(p->json, name) : NULL;
    if (member)
        return !json_object_is_type(member, json_type_string) || json_object_get_string_len(member) > 0;
    return find_text(p, name, &text, &len) && len > 0;
}

/* --- plain values --------------------------------------------------------------------------------------------- */

static enum result copy_text(
    struct params *p, const char *name, const char *text, size_t len, const char **out, struct err *err)
{
    if (memchr(text, '\0', len) || !parse_is_utf8(text, len))
        return err_set_field(err, ERR_INVALID, name, "%s must be UTF-8 text", name);
    char *copy = strndup(text, len);
    enum result r = own(p, copy, err);
    if (r == ERR_OK)
        *out = copy;
    return r;
}

enum result params_string(struct params *p, const char *name, bool *found, const char **out, struct err *err)
{
    *found = false;
    if (p->json) {
        size_t len;
        enum result r = json_get_string(p->json, name, found, out, &len, err);
        if (r || *found)
            return r;
    }
    const char *text;
    size_t len;
    if (!find_text(p, name, &text, &len))
        return ERR_OK;
    enum result r = copy_text(p, name, text, len, out, err);
    *found = r == ERR_OK;
    return r;
}

enum result params_i64(struct params *p, const char *name, bool *found, int64_t *out, struct err *err)
{
    *found = false;
    if (p->json) {
        enum result r = json_get_i64(p->json, name, found, out, err);
        if (r || *found)
            return r;
    }
    const char *text;
    size_t len;
    if (!find_text(p, name, &text, &len))
        return ERR_OK;
    if (!parse_i64(text, len, out))
        return err_set_field(err, ERR_INVALID, name, "%s must be an integer between -2^63 and 2^63-1", name);
    *found = true;
    return ERR_OK;
}

enum result params_bool(struct params *p, const char *name, bool *found, bool *out, struct err *err)
{
    *found = false;
    if (p->json) {
        enum result r = json_get_bool(p->json, name, found, out, err);
        if (r || *found)
            return r;
    }
    const char *text;
    size_t len;
    if (!find_text(p, name, &text, &len))
        return ERR_OK;
    if ((len == 4 && strncasecmp(text, "true", 4) == 0) || (len == 1 && *text == '1'))
        *out = true;
    else if ((len == 5 && strncasecmp(text, "false", 5) == 0) || (len == 1 && *text == '0'))
        *out = false;
    else
        return err_set_field(err, ERR_INVALID, name, "%s must be true or false", name);
    *found = true;
    return ERR_OK;
}

enum result params_double(struct params *p, const char *name, bool *found, double *out, struct err *err)
{
    *found = false;
    if (p->json && !json_object_is_type(json_member(p->json, name), json_type_string)) {
        enum result r = json_get_double(p->json, name, found, out, err);
        if (r || *found)
            return r;
    }
    const char *text = NULL;
    char *end = NULL;
    enum result r = params_string(p, name, found, &text, err);
    if (r || !*found)
        return r;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= -1e300 && value <= 1e300)) {
        *found = false;
        return err_set_field(err, ERR_INVALID, name, "%s must be a number", name);
    }
    *out = value;
    return ERR_OK;
}

enum result params_json(struct params *p, const char *name, struct json_object **out, struct err *err)
{
    struct json_object *member = p->json ? json_member(p->json, name) : NULL;
    if (member && !json_object_is_type(member, json_type_string)) {
        *out = member;
        return ERR_OK;
    }
    bool found;
    const char *text = NULL;
    enum result r = params_string(p, name, &found, &text, err);
    if (r || !found || is_blank(text, strlen(text)))
        return r;
    if (p->text_count == PARAMS_TEXTS_MAX)
        return err_set(err, ERR_INTERNAL, "too many parameters are JSON text");
    struct buf list;
    struct err inner = {0};
    buf_init(&list, LIMIT_BODY);
    bool bare = *text != '[' && *text != '{' && strchr(text, ',');
    r = bare ? buf_appendf(&list, "[%s]", text) : buf_append_str(&list, text);
    if (r == ERR_OK)
        r = json_parse(list.data, list.len, &p->texts[p->text_count], &inner);
    buf_free(&list);
    if (r)
        return err_set_field(err, r, name, "%s does not hold JSON: %.400s", name, inner.message);
    *out = p->texts[p->text_count++];
    return ERR_OK;
}

enum result params_collection(struct params *p, const char **out, struct err *err)
{
    bool found;
    const char *name = NULL;
    enum result r = params_string(p, "collection", &found, &name, err);
    if (r)
        return r;
    if (!found || !*name)
        return err_set_field(err, ERR_INVALID, "collection", "collection is missing");
    if (!parse_is_collection_name(name))
        return err_set_field(err, ERR_INVALID, "collection",
            "collection must be a name of letters, digits and _, not starting with a digit, at most %d characters",
            LIMIT_COLLECTION_NAME);
    if (!access_reaches(p->request, name))
        return err_set_field(err, ERR_DENIED, "key", "this API key is not for the collection \"%.100s\"", name);
    *out = name;
    return ERR_OK;
}

enum result params_fileid(struct params *p, int64_t *out, struct err *err)
{
    bool found;
    enum result r = params_i64(p, "fileid", &found, out, err);
    if (r == ERR_OK && !found)
        r = err_set_field(err, ERR_INVALID, "fileid", "fileid is missing");
    return r;
}

/* --- tags and brief ------------------------------------------------------------------------------------------- */

/* The value as compact JSON text that lives as long as the params. */
static enum result own_json_text(struct params *p, struct json_object *value, const char **out, struct err *err)
{
    const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    char *copy = text ? strdup(text) : NULL;
    enum result r = own(p, copy, err);
    if (r == ERR_OK)
        *out = copy;
    return r;
}

static enum result check_tags(struct json_object *tags, struct err *err)
{
    if (!json_object_is_type(tags, json_type_array))
        return err_set_field(err, ERR_INVALID, "tags", "tags must be an array of strings");
    size_t n = json_object_array_length(tags);
    if (n > LIMIT_TAGS)
        return err_set_field(err, ERR_INVALID, "tags", "there are %zu tags; at most %d are allowed", n, LIMIT_TAGS);
    for (size_t i = 0; i < n; i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        if (!json_object_is_type(tag, json_type_string))
            return err_set_field(err, ERR_INVALID, "tags", "tags must be an array of strings; number %zu is none", i + 1);
        if (json_object_get_string_len(tag) > LIMIT_TAG_BYTES)
            return err_set_field(err, ERR_INVALID, "tags", "tag number %zu has %d bytes; at most %d are allowed", i + 1,
                json_object_get_string_len(tag), LIMIT_TAG_BYTES);
    }
    return ERR_OK;
}

/* tags=a&tags=b, tags=a;b or tags=["a","b"] of a form or a query as a JSON array; NULL where there are none. */
static enum result tags_from_text(struct params *p, struct json_object **out, struct err *err)
{
    const char *text;
    size_t len;
    if (!find_text(p, "tags", &text, &len))
        return ERR_OK;
    if (len > LIMIT_BODY / 64)
        return err_set_field(err, ERR_TOO_LARGE, "tags", "tags are too long");
    if (len > 0 && text[0] == '[') {
        enum result r = json_parse(text, len, out, err);
        if (r && err)
            snprintf(err->field, sizeof err->field, "tags");
        return r;
    }
    struct json_object *array = json_object_new_array();
    if (!array)
        return err_no_memory(err);
    enum result r = ERR_OK;
    bool from_form = p->form.count > 0 && form_part(p, "tags");
    size_t count = from_form ? p->form.count : p->request->query_count;
    for (size_t i = 0; i < count && r == ERR_OK; i++) {
        const char *name = from_form ? p->form.parts[i].name : p->request->query[i].name;
        if (strcmp(name, "tags") != 0)
            continue;
        const char *t = from_form ? p->form.parts[i].data : p->request->query[i].value;
        size_t n = from_form ? p->form.parts[i].len : p->request->query[i].value_len;
        if (memchr(t, '\0', n) || !parse_is_utf8(t, n))
            r = err_set_field(err, ERR_INVALID, "tags", "tags must be UTF-8 text");
        for (const char *end = t + n; r == ERR_OK && t < end;) {
            const char *stop = memchr(t, ';', (size_t)(end - t));
            if (!stop)
                stop = end;
            if (stop > t && json_object_array_add(array, json_object_new_string_len(t, (int)(stop - t))))
                r = err_no_memory(err);
            t = stop + 1;
        }
    }
    if (r)
        json_object_put(array);
    else
        *out = array;
    return r;
}

enum result params_tags(struct params *p, const char **out, struct err *err)
{
    struct json_object *tags = p->json ? json_object_get(json_member(p->json, "tags")) : NULL;
    enum result r = ERR_OK;
    *out = NULL;
    if (!tags)
        r = tags_from_text(p, &tags, err);
    if (r == ERR_OK && tags)
        r = check_tags(tags, err);
    if (r == ERR_OK && tags)
        r = own_json_text(p, tags, out, err);
    json_object_put(tags);
    return r;
}

/* `brief` as a string of JSON: what it holds, or NULL where the string is blank. */
static enum result brief_from_text(const char *text, size_t len, struct json_object **out, struct err *err)
{
    if (is_blank(text, len))
        return ERR_OK;
    struct err inner = {0};
    enum result r = json_parse(text, len, out, &inner);
    if (r)
        return err_set_field(err, r, "brief", "brief does not hold JSON: %.400s", inner.message);
    if (!*out) /* json-c has no object for null */
        return err_set_field(err, ERR_INVALID, "brief", "brief must be an object, or a string that holds one");
    return ERR_OK;
}

enum result params_brief(struct params *p, const char **out, struct err *err)
{
    struct json_object *member = p->json ? json_member(p->json, "brief") : NULL;
    struct json_object *brief = NULL;
    const char *text;
    size_t len;
    enum result r = ERR_OK;
    *out = NULL;
    if (member && json_object_is_type(member, json_type_string))
        r = brief_from_text(json_object_get_string(member), (size_t)json_object_get_string_len(member), &brief, err);
    else if (member)
        brief = json_object_get(member);
    else if (find_text(p, "brief", &text, &len))
        r = brief_from_text(text, len, &brief, err);
    if (r == ERR_OK && brief && !json_object_is_type(brief, json_type_object))
        r = err_set_field(err, ERR_INVALID, "brief", "brief must be an object, or a string that holds one");
    if (r == ERR_OK && brief)
        r = own_json_text(p, brief, out, err);
    json_object_put(brief);
    if (r == ERR_OK && *out && strlen(*out) > LIMIT_BRIEF_BYTES) {
        r = err_set_field(err, ERR_INVALID, "brief", "brief has %zu bytes as JSON; at most %d are allowed", strlen(*out),
            LIMIT_BRIEF_BYTES);
        *out = NULL;
    }
    return r;
}

/* --- the picture ---------------------------------------------------------------------------------------------- */

/* Skip "data:image/png;base64," where it is there. */
static enum result skip_data_uri(const char **text, size_t *len, struct err *err)
{
    if (*len < 5 || strncasecmp(*text, "data:", 5) != 0)
        return ERR_OK;
    size_t look = *len < 512 ? *len : 512; /* types and parameters are short; the comma must be near */
    const char *comma = memchr(*text, ',', look);
    if (!comma || comma - *text < 7 || strncasecmp(comma - 7, ";base64", 7) != 0)
        return err_set_field(err, ERR_INVALID, "image", "image is a data: URI without \";base64,\"");
    *len -= (size_t)(comma + 1 - *text);
    *text = comma + 1;
    return ERR_OK;
}

/*
 * `plus_lost`: the text came through form decoding, where clients that forget to write %2B have their '+' turned into
 * a blank. No other blank belongs into one line of base64, so it is turned back.
 */
static enum result picture_from_text(
    struct params *p, const char *text, size_t len, bool plus_lost, struct pipeline_picture *out, struct err *err)
{
    if (is_blank(text, len))
        return ERR_OK;
    while (len && memchr(" \t\r\n", *text, 4)) {
        text++;
        len--;
    }
    enum result r = skip_data_uri(&text, &len, err);
    if (r)
        return r;
    if (plus_lost && memchr(text, ' ', len)) {
        char *mended = malloc(len);
        r = own(p, mended, err);
        if (r)
            return r;
        for (size_t i = 0; i < len; i++)
            mended[i] = text[i] == ' ' ? '+' : text[i];
        text = mended;
    }
    uint8_t *bytes = malloc(parse_base64_room(len));
    r = own(p, bytes, err);
    if (r)
        return r;
    struct err inner = {0};
    size_t n;
    r = parse_base64(text, len, bytes, &n, &inner);
    if (r)
        return err_set_field(err, r, "image", "image: %.450s", inner.message);
    if (n == 0)
        return err_set_field(err, ERR_INVALID, "image", "image is empty");
    out->data = bytes;
    out->len = n;
    return ERR_OK;
}

static enum result picture_from_image(struct params *p, struct pipeline_picture *out, struct err *err)
{
    if (p->raw) {
        out->data = p->raw;
        out->len = p->raw_len;
        return ERR_OK;
    }
    bool found = false;
    const char *text = NULL;
    size_t len = 0;
    if (p->json) {
        enum result r = json_get_string(p->json, "image", &found, &text, &len, err);
        if (r)
            return r;
        if (found)
            return picture_from_text(p, text, len, false, out, err);
    }
    const struct http_part *part = form_part(p, "image");
    if (part && (part->filename || (part->content_type && strncasecmp(part->content_type, "image/", 6) == 0))) {
        if (part->len) { /* a file field left empty by a browser counts as absent */
            out->data = part->data;
            out->len = part->len;
        }
        return ERR_OK;
    }
    if (find_text(p, "image", &text, &len))
        return picture_from_text(p, text, len, true, out, err);
    return ERR_OK;
}

enum result params_picture(struct params *p, struct pipeline_picture *out, struct err *err)
{
    struct pipeline_picture picture = {0};
    enum result r = picture_from_image(p, &picture, err);
    if (r)
        return r;
    if (!picture.data) {
        bool found;
        const char *url = NULL;
        r = params_string(p, "url", &found, &url, err);
        if (r)
            return r;
        if (found && !is_blank(url, strlen(url)))
            picture.url = url;
    }
    *out = picture;
    return ERR_OK;
}

enum result params_record(struct params *p, struct pipeline_record *out, struct err *err)
{
    enum result r = params_i64(p, "itemid", &out->has_itemid, &out->itemid, err);
    if (r == ERR_OK)
        r = params_tags(p, &out->tags, err);
    if (r == ERR_OK)
        r = params_brief(p, &out->brief, err);
    if (r == ERR_OK)
        r = params_picture(p, &out->picture, err);
    return r;
}

/* --- a search ------------------------------------------------------------------------------------------------- */

enum result params_window(struct params *p, struct pipeline_search *out, struct err *err)
{
    bool found;
    int64_t limit = 10, offset = 0;
    struct pipeline_search s = {.group = true};
    enum result r = params_i64(p, "limit", &found, &limit, err);
    if (r == ERR_OK)
        r = params_i64(p, "offset", &found, &offset, err);
    if (r == ERR_OK)
        r = params_bool(p, "group", &found, &s.group, err);
    if (r == ERR_OK)
        r = params_string(p, "filter", &found, &s.filter, err);
    if (r)
        return r;
    if (limit < 1 || limit > LIMIT_WINDOW)
        return err_set_field(err, ERR_INVALID, "limit", "limit must be between 1 and %d", LIMIT_WINDOW);
    if (offset < 0)
        return err_set_field(err, ERR_INVALID, "offset", "offset must not be negative");
    if (offset > LIMIT_WINDOW - limit)
        return err_set_field(err, ERR_INVALID, "offset", "limit + offset must be at most %d", LIMIT_WINDOW);
    s.limit = (uint32_t)limit;
    s.offset = (uint32_t)offset;
    *out = s;
    return ERR_OK;
}

enum result params_search(struct params *p, struct pipeline_search *out, struct err *err)
{
    struct pipeline_search s = {0};
    enum result r = params_window(p, &s, err);
    if (r == ERR_OK)
        r = params_picture(p, &s.picture, err);
    if (r)
        return r;
    if (!s.picture.data && !s.picture.url)
        return err_set_field(err, ERR_INVALID, "image", "a picture is needed: `image` or `url`");
    *out = s;
    return ERR_OK;
}
