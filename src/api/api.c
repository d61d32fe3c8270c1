/*
 * The router. One table lists every route; api_gate() and api_handle() walk it, the documentation is tested against it.
 *
 * A route's function returns an error or fills the reply; here the error becomes a reply of the route's family:
 * HTTP 200 with code 10100 for the compatible routes, problem+json with a real status for the others.
 */
#include "api/route.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/parse.h"
#include "json/json.h"
#include "web/web.h"

#include <strings.h>

enum family { COMPATIBLE, NATIVE };

static const struct route {
    const char *methods; /* separated by blanks; HEAD goes with GET */
    const char *pattern; /* {…} is one segment of the path */
    enum family family;
    enum route_right right; /* of the key, where keys are on */
    route_fn fn;
} routes[] = {
    {"POST", "/milvus/collection/create", COMPATIBLE, ROUTE_ADMIN, compatible_create},
    {"POST", "/milvus/collection/drop", COMPATIBLE, ROUTE_ADMIN, compatible_drop},
    {"POST", "/milvus/img/add", COMPATIBLE, ROUTE_WRITE, compatible_add},
    {"POST", "/milvus/img/update", COMPATIBLE, ROUTE_WRITE, compatible_update},
    {"POST", "/milvus/img/search", COMPATIBLE, ROUTE_SEARCH, compatible_search},
    {"POST GET", "/milvus/img/count", COMPATIBLE, ROUTE_SEARCH, compatible_count},
    {"POST GET", "/milvus/img/delete", COMPATIBLE, ROUTE_WRITE, compatible_delete},
    {"POST GET", "/milvus/img/get", COMPATIBLE, ROUTE_SEARCH, compatible_get},
    {"GET", "/v1/collections", NATIVE, ROUTE_SEARCH, v1_collections_list},
    {"PUT", "/v1/collections/{c}", NATIVE, ROUTE_ADMIN, v1_collection_create},
    {"GET", "/v1/collections/{c}", NATIVE, ROUTE_SEARCH, v1_collection_stats},
    {"DELETE", "/v1/collections/{c}", NATIVE, ROUTE_ADMIN, v1_collection_drop},
    {"GET", "/v1/collections/{c}/images", NATIVE, ROUTE_SEARCH, v1_images_browse},
    {"POST", "/v1/collections/{c}/images", NATIVE, ROUTE_WRITE, v1_images_bulk},
    {"DELETE", "/v1/collections/{c}/images", NATIVE, ROUTE_WRITE, v1_images_delete},
    {"GET", "/v1/collections/{c}/count", NATIVE, ROUTE_SEARCH, v1_count},
    {"GET", "/v1/collections/{c}/facets", NATIVE, ROUTE_SEARCH, v1_facets},
    {"PUT", "/v1/collections/{c}/images/{fileid}", NATIVE, ROUTE_WRITE, v1_image_put},
    {"PATCH", "/v1/collections/{c}/images/{fileid}", NATIVE, ROUTE_WRITE, v1_image_patch},
    {"GET", "/v1/collections/{c}/images/{fileid}", NATIVE, ROUTE_SEARCH, v1_image_get},
    {"DELETE", "/v1/collections/{c}/images/{fileid}", NATIVE, ROUTE_WRITE, v1_image_delete},
    {"GET", "/v1/collections/{c}/images/{fileid}/thumbnail", NATIVE, ROUTE_SEARCH, v1_image_thumbnail},
    {"GET", "/v1/collections/{c}/images/{fileid}/original", NATIVE, ROUTE_SEARCH, v1_image_original},
    {"POST", "/v1/collections/{c}/search", NATIVE, ROUTE_SEARCH, v1_search},
    {"POST", "/v1/collections/{c}/tune", NATIVE, ROUTE_ADMIN, v1_tune},
    {"DELETE", "/v1/collections/{c}/tune", NATIVE, ROUTE_ADMIN, v1_untune},
    {"POST", "/v1/collections/{c}/eval", NATIVE, ROUTE_ADMIN, v1_eval},
    {"POST", "/v1/collections/{c}/reembed", NATIVE, ROUTE_ADMIN, v1_reembed},
    {"DELETE", "/v1/collections/{c}/reembed", NATIVE, ROUTE_ADMIN, v1_unreembed},
    {"POST", "/v1/embed", NATIVE, ROUTE_SEARCH, v1_embed},
    {"POST", "/v1/thumbnail", NATIVE, ROUTE_SEARCH, v1_thumbnail},
    {"POST", "/v1/mask", NATIVE, ROUTE_SEARCH, v1_mask},
    {"GET", "/v1/models", NATIVE, ROUTE_SEARCH, v1_models},
    {"POST", "/v1/backup", NATIVE, ROUTE_ADMIN, v1_backup},
    {"POST", "/v1/restore", NATIVE, ROUTE_ADMIN, v1_restore},
    {"POST", "/v1/export", NATIVE, ROUTE_ADMIN, v1_export},
    {"POST", "/v1/import", NATIVE, ROUTE_ADMIN, v1_import},
    {"GET", "/v1/jobs", NATIVE, ROUTE_WRITE, v1_jobs_list},
    {"GET", "/v1/jobs/{id}", NATIVE, ROUTE_WRITE, v1_job_get},
    {"DELETE", "/v1/jobs/{id}", NATIVE, ROUTE_ADMIN, v1_job_cancel},
    {"GET", "/v1/keys", NATIVE, ROUTE_ADMIN, v1_keys_list},
    {"POST", "/v1/keys", NATIVE, ROUTE_ADMIN, v1_key_create},
    {"DELETE", "/v1/keys/{id}", NATIVE, ROUTE_ADMIN, v1_key_revoke},
    {"GET", "/healthz", NATIVE, ROUTE_OPEN, v1_healthz},
    {"GET", "/readyz", NATIVE, ROUTE_OPEN, v1_readyz},
    {"GET", "/openapi.json", NATIVE, ROUTE_OPEN, v1_openapi},
    {"GET", "/metrics", NATIVE, ROUTE_SEARCH, v1_metrics},
};
#define ROUTE_COUNT (sizeof routes / sizeof *routes)

/* Whether a request of this route may cost a run of the model: see http/overload.h. */
static bool is_heavy(const struct route *route)
{
    static const route_fn heavy[] = {compatible_add, compatible_update, compatible_search, v1_image_put, v1_image_patch, v1_search, v1_embed,
        v1_thumbnail, v1_mask};
    for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++)
        if (route->fn == heavy[i])
            return true;
    return false;
}

bool api_route(size_t i, const char **methods, const char **pattern)
{
    if (i >= ROUTE_COUNT)
        return false;
    *methods = routes[i].methods;
    *pattern = routes[i].pattern;
    return true;
}

unsigned api_route_right(size_t i)
{
    static const unsigned bits[] = {
        [ROUTE_ADMIN] = AUTH_ADMIN, [ROUTE_SEARCH] = AUTH_SEARCH, [ROUTE_WRITE] = AUTH_WRITE, [ROUTE_OPEN] = 0};
    return i < ROUTE_COUNT ? bits[routes[i].right] : AUTH_ADMIN;
}

/* --- matching ------------------------------------------------------------------------------------------------- */

/* Whether the path has the pattern's form; segments in braces are copied to `call` where it is not NULL. */
static bool match(const char *pattern, const char *path, struct route_call *call)
{
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        bool is_collection = strncmp(pattern, "{c}", 3) == 0;
        size_t n = strcspn(path, "/");
        if (n == 0)
            return false;
        if (call && is_collection)
            snprintf(call->collection, sizeof call->collection, "%.*s", (int)(n < 4096 ? n : 4096), path);
        else if (call)
            snprintf(call->id, sizeof call->id, "%.*s", (int)(n < 4096 ? n : 4096), path);
        path += n;
        pattern += strcspn(pattern, "}") + 1;
    }
    return !*pattern && !*path;
}

static bool method_in(const char *methods, const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    size_t n = strlen(method);
    for (const char *m = methods; m; m = strchr(m, ' ')) {
        m += *m == ' ';
        if (strncmp(m, method, n) == 0 && (m[n] == '\0' || m[n] == ' '))
            return true;
    }
    return false;
}

/* The route, or NULL with the status (404 or 405) and the methods that the path does have. */
static const struct route *find_route(
    const struct http_request *request, struct route_call *call, unsigned *status, char *allow, size_t allow_size)
{
    *status = 404;
    size_t n = 0;
    allow[0] = '\0';
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!match(routes[i].pattern, request->path, NULL))
            continue;
        if (method_in(routes[i].methods, request->method)) {
            if (call)
                match(routes[i].pattern, request->path, call);
            return &routes[i];
        }
        *status = 405;
        for (const char *m = routes[i].methods; *m && n + 4 < allow_size;) {
            size_t len = strcspn(m, " ");
            n += (size_t)snprintf(allow + n, allow_size - n, "%s%.*s", n ? ", " : "", (int)len, m);
            m += len + (m[len] == ' ');
        }
    }
    return NULL;
}

size_t api_route_of(const struct http_request *head)
{
    unsigned status;
    char allow[128];
    const struct route *route = head->path ? find_route(head, NULL, &status, allow, sizeof allow) : NULL;
    return route ? (size_t)(route - routes) : ROUTE_COUNT;
}

/* --- errors --------------------------------------------------------------------------------------------------- */

unsigned route_status(const struct err *err, bool read)
{
    bool picture = read && (strcmp(err->field, "image") == 0 || strcmp(err->field, "url") == 0);
    switch (err->code) {
    case ERR_INVALID:
        return picture ? 422 : 400;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_EXISTS:
        return 409;
    case ERR_TOO_LARGE: /* a parameter over its limit is a wrong parameter */
        return err->field[0] && !picture && strcmp(err->field, "image") != 0 ? 400 : 413;
    case ERR_UNSUPPORTED:
        return picture || strcmp(err->field, "Content-Type") == 0 ? 415 : 400;
    case ERR_DENIED:
        return picture ? 422 : strcmp(err->field, "Authorization") == 0 ? 401 : 403;
    case ERR_BUSY:
        return 503;
    case ERR_TIMEOUT:
        return 504;
    case ERR_UNAVAILABLE:
        return picture ? 502 : 503;
    default:
        return 500;
    }
}

/* The statuses that API.md allows beside 200 on the compatible routes, where this error is one of them. */
static unsigned compatible_status(const struct err *err)
{
    bool picture = strcmp(err->field, "image") == 0 || strcmp(err->field, "url") == 0;
    if (err->code == ERR_BUSY || (!picture && (err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT)))
        return 503; /* the store; a picture that cannot be fetched is the client's matter */
    if (err->code == ERR_UNSUPPORTED && strcmp(err->field, "Content-Type") == 0)
        return 415;
    if (err->code == ERR_DENIED && strcmp(err->field, "Authorization") == 0)
        return 401;
    if (err->code == ERR_DENIED && strcmp(err->field, "key") == 0)
        return 403;
    return 200;
}

static const char *title(unsigned status)
{
    switch (status) {
    case 400: return "Bad request";
    case 401: return "Authentication needed";
    case 403: return "Forbidden";
    case 404: return "Not found";
    case 405: return "Method not allowed";
    case 408: return "Request timeout";
    case 409: return "Conflict";
    case 411: return "Length required";
    case 413: return "Too large";
    case 415: return "Unsupported media type";
    case 422: return "Not a usable picture";
    case 429: return "Too many requests";
    case 431: return "Request headers too large";
    case 500: return "Internal error";
    case 502: return "Download failed";
    case 503: return "Busy";
    case 504: return "Deadline passed";
    default: return "Error";
    }
}

/* Text may hold bytes of the request that are not UTF-8: those are replaced, since JSON cannot hold them. */
static enum result append_text(struct buf *out, const char *text)
{
    char clean[ERR_FIELD_MAX + ERR_MESSAGE_MAX + 4];
    snprintf(clean, sizeof clean, "%s", text);
    if (json_append_string(out, clean, strlen(clean)) == ERR_OK)
        return ERR_OK;
    for (char *p = clean; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_append_string(out, clean, strlen(clean));
}

enum result route_write_problem(struct buf *out, unsigned status, const struct err *err)
{
    enum result r = buf_appendf(out, "\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":", title(status), status);
    if (r == ERR_OK)
        r = append_text(out, err->message);
    if (r == ERR_OK && err->field[0])
        r = buf_append_str(out, ",\"field\":") ? ERR_NO_MEMORY : append_text(out, err->field);
    if (r == ERR_OK && err->column)
        r = buf_appendf(out, ",\"column\":%u", err->column);
    return r;
}

static void write_problem(struct http_reply *reply, unsigned status, const struct err *err)
{
    struct buf *b = &reply->body;
    reply->content_type = "application/problem+json";
    if (buf_append_str(b, "{") || route_write_problem(b, status, err) || buf_append_str(b, "}"))
        buf_clear(b);
}

static void write_failure(struct http_reply *reply, const char *field, const char *message)
{
    struct buf *b = &reply->body;
    char text[ERR_FIELD_MAX + ERR_MESSAGE_MAX + 4];
    /* The field is named, unless the sentence does it already. */
    if (field && *field && !strstr(message, field))
        snprintf(text, sizeof text, "%s: %s", field, message);
    else
        snprintf(text, sizeof text, "%s", message);
    reply->content_type = "application/json";
    if (buf_append_str(b, "{\"code\":10100,\"message\":") || append_text(b, text) || buf_append_str(b, "}"))
        buf_clear(b);
}

static void reply_error(enum family family, const struct route_call *call, const struct err *err, struct http_reply *reply)
{
    buf_clear(&reply->body);
    reply->header_count = 0;
    reply->status = family == COMPATIBLE ? compatible_status(err) : route_status(err, call->read);
    if (reply->status == 503 && http_reply_header(reply, "Retry-After", "1"))
        reply->header_count = 0;
    if (reply->status == 401 && http_reply_header(reply, "WWW-Authenticate", "Bearer realm=\"lookalike\""))
        reply->header_count = 0;
    if (family == COMPATIBLE)
        write_failure(reply, err->field, err->message);
    else
        write_problem(reply, reply->status, err);
}

void api_error_body(void *user, const char *path, unsigned status, const char *message, struct http_reply *reply)
{
    (void)user;
    buf_clear(&reply->body);
    reply->status = status;
    bool native = path && (strncmp(path, "/v1/", 4) == 0 || strcmp(path, "/v1") == 0);
    struct err err = {0};
    snprintf(err.message, sizeof err.message, "%s", message);
    if (native)
        write_problem(reply, status, &err);
    else
        write_failure(reply, "", message);
}

/* --- the page ------------------------------------------------------------------------------------------------- */

/* Whether an Accept-Encoding header takes gzip: named with a weight over 0 (RFC 9110, 12.5.3). "*" alone is not enough. */
static bool takes_gzip(const char *accept)
{
    for (const char *at = accept; at && *at; at = *at ? at + 1 : at) {
        at += strspn(at, " \t");
        size_t len = strcspn(at, ",");
        size_t name = strcspn(at, " \t;,");
        bool gzip = name == 4 && strncasecmp(at, "gzip", 4) == 0;
        const char *weight = gzip ? memmem(at, len, "q=", 2) : NULL;
        if (gzip)
            return !weight || strtod(weight + 2, NULL) > 0;
        at += len;
    }
    return false;
}

/* A file of the page, or false where the path names none. */
static bool reply_page(const struct http_request *request, struct http_reply *reply)
{
    bool get = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    const struct web_file *file = get ? web_find(request->path) : NULL;
    if (!file)
        return false;
    const char *known = http_header(request, "If-None-Match");
    bool unchanged = known && strstr(known, file->etag + strlen("W/"));
    bool small = !unchanged && file->gzip && takes_gzip(http_header(request, "Accept-Encoding"));
    reply->status = unchanged ? 304 : 200;
    reply->content_type = file->content_type;
    reply->static_body = unchanged ? "" : (const void *)(small ? file->gzip : file->data);
    reply->static_len = unchanged ? 0 : small ? file->gzip_len : file->len;
    /* The files change with the program only, but then at once: the browser asks, and mostly gets a 304. */
    if (http_reply_header(reply, "ETag", file->etag) || http_reply_header(reply, "Cache-Control", "no-cache") ||
        http_reply_header(reply, "Vary", "Accept-Encoding") || (small && http_reply_header(reply, "Content-Encoding", "gzip")) ||
        http_reply_header(reply, "Content-Security-Policy", web_csp) ||
        http_reply_header(reply, "Referrer-Policy", "no-referrer"))
        reply->status = 500;
    return true;
}

/* --- entry points --------------------------------------------------------------------------------------------- */

static void reply_no_route(void *user, const struct http_request *request, unsigned status, const char *allow, struct http_reply *reply)
{
    char text[256];
    if (status == 405)
        snprintf(text, sizeof text, "%.60s is not a method of this route; it has %s", request->method, allow);
    else
        snprintf(text, sizeof text, "there is no route %.180s", request->path);
    api_error_body(user, request->path, status, text, reply);
    if (status == 405 && http_reply_header(reply, "Allow", allow))
        reply->status = 500;
}

static bool is_page(const struct http_request *head)
{
    bool get = strcmp(head->method, "GET") == 0 || strcmp(head->method, "HEAD") == 0;
    return get && web_find(head->path);
}

/* The family that an error about this path belongs to, also where there is no such route. */
static enum family family_of(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0 || strcmp(path, "/v1") == 0 ? NATIVE : COMPATIBLE;
}

/* 429 where a key (or, with `key` NULL, an address) asks more often than it may. */
static bool too_fast(struct rate *rate, const struct http_request *head, const char *key, struct http_reply *reply)
{
    unsigned wait = 1;
    char text[128];
    if (!rate || (key ? rate_take(rate, key, &wait) : rate_take_address(rate, head->client, &wait)))
        return false;
    snprintf(text, sizeof text, "too many requests %s; try again in %u s", key ? "with this API key" : "from this address", wait);
    api_error_body(NULL, head->path, 429, text, reply);
    snprintf(text, sizeof text, "%u", wait);
    if (http_reply_header(reply, "Retry-After", text))
        reply->header_count = 0;
    return true;
}

/*
 * Who asks for what does not exist learns that only with a key, so that every answer without one is the same. The page
 * and the open routes are found before.
 */
void api_gate(void *user, const struct http_request *head, struct http_reply *reply)
{
    struct api *api = user;
    unsigned status;
    char allow[128];
    struct err err = {0};
    struct auth_key *grant = NULL;
    struct route_call call = {.api = api, .request = head, .reply = reply};
    if (is_page(head)) {
        reply->light = true;
        return;
    }
    const struct route *route = find_route(head, &call, &status, allow, sizeof allow);
    enum route_right right = route ? route->right : ROUTE_SEARCH;
    reply->light = route && (route->right == ROUTE_OPEN || route->fn == v1_metrics);
    reply->heavy = route && is_heavy(route);
    if (!reply->light && too_fast(api->address_rate, head, NULL, reply))
        return;
    enum result r = access_check(api->options.auth, head, right, call.collection, &grant, &err);
    if (r)
        metrics_add(METRIC_REFUSED, strcmp(err.field, "Authorization") == 0 ? REFUSED_NO_KEY : REFUSED_RIGHT, 1);
    bool fast = grant && !reply->light && too_fast(api->key_rate, head, grant->id, reply);
    auth_key_release(grant);
    if (fast)
        return;
    if (!route && (r == ERR_OK || strcmp(err.field, "Authorization") != 0)) {
        if (status == 404 && web_find(head->path)) {
            status = 405;
            snprintf(allow, sizeof allow, "GET");
        }
        reply_no_route(user, head, status, allow, reply);
    } else if (r) {
        reply_error(route ? route->family : family_of(head->path), &call, &err, reply);
    }
}

static enum result run_route(const struct route *route, struct route_call *call, struct err *err)
{
    if (call->collection[0] && !parse_is_collection_name(call->collection))
        return err_set_field(err, ERR_INVALID, "collection",
            "the path names no collection: letters, digits and _, not starting with a digit, at most %d characters",
            LIMIT_COLLECTION_NAME);
    return route->fn(call, err);
}

bool api_streams(void *user, const struct http_request *head)
{
    unsigned status;
    char allow[128];
    const struct route *route = find_route(head, NULL, &status, allow, sizeof allow);
    return route && route->fn == v1_images_bulk;
}

void api_handle(void *user, const struct http_request *request, struct http_reply *reply)
{
    struct api *api = user;
    if (is_page(request) && reply_page(request, reply))
        return;
    struct http_request granted = *request;
    struct route_call call = {.api = api, .pipeline = api->options.pipeline, .request = &granted, .reply = reply};
    unsigned status;
    char allow[128];
    const struct route *route = find_route(request, &call, &status, allow, sizeof allow);
    if (!route) {
        reply_no_route(user, request, status, allow, reply);
        return;
    }
    reply->content_type = "application/json";
    struct err err = {0};
    struct auth_key *grant = NULL;
    /* Again, after the gate: the body may have taken a minute, and the key may be gone by now. */
    enum result r = access_check(api->options.auth, request, route->right, call.collection, &grant, &err);
    granted.grant = grant;
    if (grant)
        snprintf(reply->user_text, sizeof reply->user_text, "%s", grant->id);
    int64_t began = clock_now_us();
    if (r == ERR_OK)
        r = run_route(route, &call, &err);
    metrics_observe(METRIC_STAGE_SECONDS, STAGE_REQUEST, clock_now_us() - began);
    if (r && err.code == ERR_OK) { /* a function that failed without a sentence: never leave the client without one */
        err.code = r;
        snprintf(err.message, sizeof err.message, "the request failed: %s", err_name(r));
    }
    if (err.code == ERR_INTERNAL || err.code == ERR_IO || err.code == ERR_CORRUPT || err.code == ERR_NO_MEMORY)
        log_line(LOG_ERROR, "%s %s: %s", request->method, request->path, err.message);
    if (r)
        reply_error(route->family, &call, &err, reply);
    auth_key_release(grant);
}

enum result api_new(const struct api_options *options, struct api **out, struct err *err)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        return err_no_memory(err);
    api->options = *options;
    api->counts = counts_new();
    enum result r = api->counts ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && options->rate_per_key)
        r = rate_new(options->rate_per_key, &api->key_rate, err);
    if (r == ERR_OK && options->rate_per_address)
        r = rate_new(options->rate_per_address, &api->address_rate, err);
    if (r) {
        api_free(api);
        return r;
    }
    *out = api;
    return ERR_OK;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    free(api->counts);
    rate_free(api->key_rate);
    rate_free(api->address_rate);
    free(api);
}
