/*
 * A target over HTTP: the /v1 routes.
 *
 * A picture travels as the raw body of its PUT, its metadata in the query, so that nothing is encoded or
 * copied. Only metadata too long for a request line makes it a form.
 */
#include "cli/target_kind.h"

#include "base/limits.h"
#include "fetch/http_client.h"
#include "image/image.h"
#include "json/json.h"

#include <inttypes.h>

#define TIMEOUT_MS (LIMIT_REQUEST_MS + 30000) /* the server gives up first, and says why */
#define QUERY_MAX 6000 /* the server takes LIMIT_HEADER_BYTES, a proxy in between less */
#define PAGE 500       /* hits or records in one reply */
#define BOUNDARY "lookalike-7d1f3b9a52c84e06-boundary-e4a86b1c90f2d357" /* in no picture, by its length */

struct http_target {
    char server[1024];
};

struct http_session {
    struct http_target *target;
    struct http_client *client;
    struct buf path, body, reply;
    bool lost;
};

enum result cli_target_http_open(
    const struct cli_args *args, char *name, size_t size, void **out, struct err *err)
{
    struct http_target *t = calloc(1, sizeof *t);
    struct http_client *probe = NULL;
    if (!t)
        return err_no_memory(err);
    size_t n = strlen(args->server);
    while (n && args->server[n - 1] == '/')
        n--;
    if (n >= sizeof t->server) {
        free(t);
        return err_set(err, ERR_INVALID, "the URL of the server is longer than %zu bytes", sizeof t->server);
    }
    memcpy(t->server, args->server, n);
    /* The first client, while there is one thread: it prepares libcurl, and checks the URL. */
    enum result r = http_client_new(t->server, &probe, err);
    http_client_free(probe);
    if (r) {
        free(t);
        return r;
    }
    snprintf(name, size, "%s", t->server);
    *out = t;
    return ERR_OK;
}

static void http_close(void *target)
{
    free(target);
}

static void http_session_close(void *session)
{
    struct http_session *s = session;
    http_client_free(s->client);
    buf_free(&s->path);
    buf_free(&s->body);
    buf_free(&s->reply);
    free(s);
}

static enum result http_session_open(void *target, void **session, struct err *err)
{
    struct http_session *s = calloc(1, sizeof *s);
    if (!s)
        return err_no_memory(err);
    s->target = target;
    buf_init(&s->path, LIMIT_MIB);
    buf_init(&s->body, LIMIT_BODY + LIMIT_MIB);
    buf_init(&s->reply, LIMIT_SERVER_REPLY);
    enum result r = http_client_new(s->target->server, &s->client, err);
    if (r)
        http_session_close(s);
    else
        *session = s;
    return r;
}

static bool http_lost(const void *session)
{
    return ((const struct http_session *)session)->lost;
}

/* --- one request ---------------------------------------------------------------------------------------- */

static enum result result_of_status(long status)
{
    switch (status) {
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_EXISTS;
    case 413:
        return ERR_TOO_LARGE;
    case 415:
    case 501:
        return ERR_UNSUPPORTED;
    case 429:
    case 503:
        return ERR_BUSY;
    case 408:
    case 504:
        return ERR_TIMEOUT;
    case 502:
        return ERR_UNAVAILABLE;
    case 507:
        return ERR_IO;
    default:
        return status >= 500 ? ERR_INTERNAL : ERR_INVALID;
    }
}

/* The sentence of an RFC 9457 reply, or one about a server that does not answer like ours. */
static enum result fail_of_reply(struct http_session *s, long status, struct err *err)
{
    struct json_object *problem = NULL;
    const char *detail = NULL;
    size_t len;
    bool found = false;
    enum result code = result_of_status(status);
    if (s->reply.len && !json_parse(s->reply.data, s->reply.len, &problem, NULL) &&
        !json_get_string(problem, "detail", &found, &detail, &len, NULL) && found)
        err_set(err, code, "%s", detail);
    else
        err_set(err, code, "%s answered with status %ld and no explanation; is it a lookalike server?",
            s->target->server, status);
    json_object_put(problem);
    return code;
}

/* s->path is where to; the reply is in s->reply. Any 2xx is success. */
static enum result send(struct http_session *s, struct http_client_request *request, struct err *err)
{
    long status = 0;
    request->path = s->path.data;
    request->timeout_ms = TIMEOUT_MS;
    buf_clear(&s->reply);
    enum result r = http_client_send(s->client, request, &status, &s->reply, err);
    s->lost = r == ERR_UNAVAILABLE || r == ERR_TIMEOUT;
    if (r)
        return r;
    return status >= 200 && status < 300 ? ERR_OK : fail_of_reply(s, status, err);
}

static enum result send_for_json(
    struct http_session *s, struct http_client_request *request, struct json_object **out, struct err *err)
{
    struct err why = {0};
    enum result r = send(s, request, err);
    if (r)
        return r;
    r = json_parse(s->reply.data ? s->reply.data : "", s->reply.len, out, &why);
    if (r)
        return err_set(err, ERR_INTERNAL,
            "%s sent a reply that cannot be read (%s); is it a lookalike server?", s->target->server,
            why.message);
    return ERR_OK;
}

/* "/v1/collections/NAME" and `rest`. */
static enum result start_path(
    struct http_session *s, const char *collection, const char *rest, struct err *err)
{
    buf_clear(&s->path);
    s->lost = false;
    enum result r = buf_append_str(&s->path, "/v1/collections/");
    if (r == ERR_OK)
        r = http_client_escape(&s->path, collection, strlen(collection));
    if (r == ERR_OK)
        r = buf_append_str(&s->path, rest);
    return r ? err_set(err, r, "the name of the collection is too long") : ERR_OK;
}

/* --- collections ---------------------------------------------------------------------------------------- */

static void copy_text(struct json_object *object, const char *name, char *out, size_t size)
{
    bool found;
    const char *text;
    size_t len;
    if (!json_get_string(object, name, &found, &text, &len, NULL) && found)
        snprintf(out, size, "%s", text);
}

static uint64_t number_of(struct json_object *object, const char *name)
{
    bool found;
    int64_t v = 0;
    return !json_get_i64(object, name, &found, &v, NULL) && v > 0 ? (uint64_t)v : 0;
}

static void read_info(struct json_object *object, struct cli_collection_info *out)
{
    bool found;
    struct json_object *bytes = json_member(object, "bytes");
    *out = (struct cli_collection_info){0};
    copy_text(object, "name", out->name, sizeof out->name);
    copy_text(object, "model", out->model, sizeof out->model);
    copy_text(object, "metric", out->metric, sizeof out->metric);
    out->dimension = (uint32_t)number_of(object, "dimension");
    out->count = number_of(object, "count");
    out->items = number_of(object, "items");
    out->damaged = number_of(object, "damaged");
    out->bytes_disk = number_of(bytes, "disk");
    out->bytes_memory = number_of(bytes, "memory");
    struct json_object *index = json_member(object, "index");
    copy_text(index, "state", out->index, sizeof out->index);
    if (json_get_double(index, "built", &found, &out->index_built, NULL))
        out->index_built = 0;
    out->index_dead = number_of(index, "dead");
    out->index_bytes = number_of(json_member(index, "bytes"), "memory");
    out->columns_bytes = number_of(json_member(object, "columns"), "bytes");
    if (json_get_bool(object, "thumbnails", &found, &out->thumbnails, NULL))
        out->thumbnails = false;
    if (json_get_bool(object, "originals", &found, &out->originals, NULL))
        out->originals = false;
}

static enum result http_list(void *session, struct cli_collection_info **out, size_t *count, struct err *err)
{
    struct http_session *s = session;
    struct json_object *reply = NULL;
    buf_clear(&s->path);
    enum result r = buf_append_str(&s->path, "/v1/collections");
    if (r)
        return err_no_memory(err);
    r = send_for_json(s, &(struct http_client_request){.method = "GET"}, &reply, err);
    if (r)
        return r;
    struct json_object *array = json_member(reply, "collections");
    size_t n = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
    struct cli_collection_info *infos = calloc(n + 1, sizeof *infos);
    if (!infos) {
        json_object_put(reply);
        return err_no_memory(err);
    }
    for (size_t i = 0; i < n; i++)
        read_info(json_object_array_get_idx(array, i), &infos[i]);
    json_object_put(reply);
    *out = infos;
    *count = n;
    return ERR_OK;
}

static enum result http_create(void *session, const char *collection, const struct cli_create *how, struct err *err)
{
    struct http_session *s = session;
    const struct {
        const char *name, *value;
    } given[] = {{"model", how->model}, {"background", how->background}, {"originals", how->originals ? "true" : NULL}};
    enum result r = start_path(s, collection, "", err);
    for (size_t i = 0, n = 0; r == ERR_OK && i < sizeof given / sizeof *given; i++) {
        if (!given[i].value)
            continue;
        r = buf_appendf(&s->path, "%s%s=", n++ ? "&" : "?", given[i].name);
        if (r == ERR_OK)
            r = http_client_escape(&s->path, given[i].value, strlen(given[i].value));
        if (r)
            return err_set(err, r, "the %s is too long a name", given[i].name);
    }
    return r ? r : send(s, &(struct http_client_request){.method = "PUT"}, err);
}

static enum result http_drop(void *session, const char *collection, struct err *err)
{
    struct http_session *s = session;
    enum result r = start_path(s, collection, "", err);
    return r ? r : send(s, &(struct http_client_request){.method = "DELETE"}, err);
}

static enum result http_stats(
    void *session, const char *collection, struct cli_collection_info *out, struct err *err)
{
    struct http_session *s = session;
    struct json_object *reply = NULL;
    enum result r = start_path(s, collection, "", err);
    if (r == ERR_OK)
        r = send_for_json(s, &(struct http_client_request){.method = "GET"}, &reply, err);
    if (r)
        return r;
    read_info(reply, out);
    json_object_put(reply);
    return ERR_OK;
}

static enum result http_fileids(void *session, const char *collection, bool from_start, int64_t after,
    int64_t *out, size_t max, size_t *count, struct err *err)
{
    struct http_session *s = session;
    struct json_object *reply = NULL;
    enum result r = start_path(s, collection, "/images?limit=", err);
    if (r == ERR_OK)
        r = buf_appendf(&s->path, "%zu", max < PAGE ? max : (size_t)PAGE);
    if (r == ERR_OK && !from_start)
        r = buf_appendf(&s->path, "&after=%" PRId64, after);
    if (r)
        return err_no_memory(err);
    r = send_for_json(s, &(struct http_client_request){.method = "GET"}, &reply, err);
    if (r)
        return r;
    struct json_object *images = json_member(reply, "images");
    size_t n = json_object_is_type(images, json_type_array) ? json_object_array_length(images) : 0;
    for (size_t i = 0; i < n && i < max && r == ERR_OK; i++) {
        bool found = false;
        r = json_get_i64(json_object_array_get_idx(images, i), "fileid", &found, &out[i], err);
        if (r == ERR_OK && !found)
            r = err_set(err, ERR_INTERNAL, "%s sent a record without fileid", s->target->server);
    }
    json_object_put(reply);
    if (r == ERR_OK)
        *count = n < max ? n : max;
    return r;
}

/* --- writing a picture ---------------------------------------------------------------------------------- */

/* Append "&name=value", or "?name=value" for the first. */
static enum result append_query(struct buf *path, const char *name, const char *value)
{
    enum result r = buf_append_str(path, memchr(path->data, '?', path->len) ? "&" : "?");
    if (r == ERR_OK)
        r = buf_append_str(path, name);
    if (r == ERR_OK)
        r = buf_append_str(path, "=");
    return r ? r : http_client_escape(path, value, strlen(value));
}

static enum result append_metadata_query(struct buf *path, const struct cli_put *put)
{
    char itemid[32];
    snprintf(itemid, sizeof itemid, "%" PRId64, put->itemid);
    enum result r = put->has_itemid ? append_query(path, "itemid", itemid) : ERR_OK;
    if (r == ERR_OK && put->tags)
        r = append_query(path, "tags", put->tags);
    if (r == ERR_OK && put->brief)
        r = append_query(path, "brief", put->brief);
    return r;
}

/* {"url":…,"itemid":…,"tags":…,"brief":…} */
static enum result json_body(struct buf *body, const struct cli_put *put)
{
    enum result r = buf_append_str(body, "{\"url\":");
    if (r == ERR_OK)
        r = json_append_string(body, put->picture.url, strlen(put->picture.url));
    if (r == ERR_OK && put->has_itemid)
        r = buf_appendf(body, ",\"itemid\":%" PRId64, put->itemid);
    if (r == ERR_OK && put->tags)
        r = buf_appendf(body, ",\"tags\":%s", put->tags);
    if (r == ERR_OK && put->brief)
        r = buf_appendf(body, ",\"brief\":%s", put->brief);
    return r ? r : buf_append_str(body, "}");
}

static enum result append_part(struct buf *body, const char *name, const char *value)
{
    return buf_appendf(
        body, "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", name, value);
}

static enum result form_body(struct buf *body, const struct cli_put *put, const char *type)
{
    char itemid[32];
    snprintf(itemid, sizeof itemid, "%" PRId64, put->itemid);
    enum result r = put->has_itemid ? append_part(body, "itemid", itemid) : ERR_OK;
    if (r == ERR_OK && put->tags)
        r = append_part(body, "tags", put->tags);
    if (r == ERR_OK && put->brief)
        r = append_part(body, "brief", put->brief);
    if (r == ERR_OK)
        r = buf_appendf(body,
            "--" BOUNDARY
            "\r\nContent-Disposition: form-data; name=\"image\"; filename=\"image\"\r\n"
            "Content-Type: %s\r\n\r\n",
            type);
    if (r == ERR_OK)
        r = buf_append(body, put->picture.data, put->picture.len);
    return r ? r : buf_append_str(body, "\r\n--" BOUNDARY "--\r\n");
}

/* What the server decides by is the content; the header only has to say that this is a picture. */
static const char *type_of(const struct cli_picture *picture)
{
    const char *type = image_sniff(picture->data, picture->len);
    return type ? type : "image/x-unknown";
}

static enum result http_put(void *session, const char *collection, const struct cli_put *put, struct err *err)
{
    struct http_session *s = session;
    struct http_client_request request = {.method = "PUT"};
    buf_clear(&s->body);
    enum result r = start_path(s, collection, "/images/", err);
    if (r)
        return r;
    r = buf_appendf(&s->path, "%" PRId64, put->fileid);
    size_t bare = s->path.len;
    bool short_enough = false;
    if (r == ERR_OK && put->picture.data) {
        r = append_metadata_query(&s->path, put);
        short_enough = r == ERR_OK && s->path.len - bare <= QUERY_MAX;
    }
    if (r == ERR_OK && short_enough) {
        request.content_type = type_of(&put->picture);
        request.body = put->picture.data;
        request.body_len = put->picture.len;
    } else if (r == ERR_OK) {
        s->path.len = bare;
        s->path.data[bare] = '\0';
        r = put->picture.data ? form_body(&s->body, put, type_of(&put->picture)) : json_body(&s->body, put);
        request.content_type =
            put->picture.data ? "multipart/form-data; boundary=" BOUNDARY : "application/json";
        request.body = s->body.data;
        request.body_len = s->body.len;
    }
    if (r)
        return err_set(err, r, "the record is too large to be sent");
    return send(s, &request, err);
}

/* --- searching ------------------------------------------------------------------------------------------ */

static char *json_copy(struct json_object *value, const char *absent)
{
    return strdup(
        value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
              : absent);
}

static enum result read_hit(struct json_object *object, struct cli_hit *hit, struct err *err)
{
    bool has_fileid = false, has_itemid = false, has_distance = false;
    double distance = 0;
    enum result r = json_get_i64(object, "fileid", &has_fileid, &hit->fileid, err);
    if (r == ERR_OK)
        r = json_get_i64(object, "itemid", &has_itemid, &hit->itemid, err);
    if (r == ERR_OK)
        r = json_get_double(object, "distance", &has_distance, &distance, err);
    if (r == ERR_OK && !(has_fileid && has_itemid && has_distance))
        r = err_set(err, ERR_INTERNAL, "the server sent a hit without fileid, itemid or distance");
    if (r)
        return r;
    hit->distance = (float)distance;
    hit->tags = json_copy(json_member(object, "tags"), "[]");
    hit->brief = json_copy(json_member(object, "brief"), "{}");
    return hit->tags && hit->brief ? ERR_OK : err_no_memory(err);
}

static enum result search_page(struct http_session *s, const char *collection, const struct cli_query *query,
    uint32_t offset, uint32_t limit, struct json_object **reply, struct err *err)
{
    struct http_client_request request = {.method = "POST"};
    buf_clear(&s->body);
    enum result r = start_path(s, collection, "/search", err);
    if (r)
        return r;
    r = buf_appendf(&s->path, "?limit=%u&offset=%u&group=%s", limit, offset, query->group ? "true" : "false");
    if (r == ERR_OK && query->filter)
        r = append_query(&s->path, "filter", query->filter);
    if (r == ERR_OK && query->has_fileid) {
        r = buf_appendf(&s->path, "&fileid=%" PRId64, query->fileid);
    } else if (r == ERR_OK && query->picture.data) {
        request.content_type = type_of(&query->picture);
        request.body = query->picture.data;
        request.body_len = query->picture.len;
    } else if (r == ERR_OK) {
        r = json_body(&s->body, &(struct cli_put){.picture = query->picture});
        request.content_type = "application/json";
        request.body = s->body.data;
        request.body_len = s->body.len;
    }
    if (r)
        return err_set(err, r, "the query is too large to be sent");
    return send_for_json(s, &request, reply, err);
}

static enum result http_search(void *session, const char *collection, const struct cli_query *query,
    struct cli_hits *out, struct err *err)
{
    struct http_session *s = session;
    struct cli_hits hits = {.items = calloc(query->limit, sizeof *hits.items)};
    enum result r = hits.items ? ERR_OK : err_no_memory(err);
    for (bool more = true; r == ERR_OK && more && hits.count < query->limit;) {
        struct json_object *reply = NULL;
        uint32_t want = query->limit - (uint32_t)hits.count;
        want = want < PAGE ? want : PAGE;
        r = search_page(s, collection, query, query->offset + (uint32_t)hits.count, want, &reply, err);
        if (r)
            break;
        struct json_object *array = json_member(reply, "hits");
        size_t n = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
        for (size_t i = 0; i < n && i < want && r == ERR_OK; i++)
            r = read_hit(json_object_array_get_idx(array, i), &hits.items[hits.count++], err);
        more = n == want;
        json_object_put(reply);
    }
    if (r)
        cli_hits_free(&hits);
    else
        *out = hits;
    return r;
}

const struct cli_target_kind cli_target_http = {
    .close = http_close,
    .session_open = http_session_open,
    .session_close = http_session_close,
    .lost = http_lost,
    .list = http_list,
    .create = http_create,
    .drop = http_drop,
    .stats = http_stats,
    .fileids = http_fileids,
    .put = http_put,
    .search = http_search,
};
