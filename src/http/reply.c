/*
 * From struct http_reply to what goes over the wire: through libmicrohttpd where it takes a response, or as
 * text written on the socket where it does not (while a request is being read). Both send the same headers.
 */
#include "http/internal.h"

#include <strings.h>
#include <time.h>

/* Connection, Content-Type, Server, nosniff, two of CORS and the handler's own. */
#define HEADERS_MAX                                                                                          \
    (sizeof((struct http_reply *)0)->headers / sizeof(((struct http_reply *)0)->headers[0]) + 9)

struct header_list {
    struct {
        const char *name, *value;
    } items[21];
    size_t count;
};

static void list_add(struct header_list *list, const char *name, const char *value)
{
    _Static_assert(HEADERS_MAX <= 21, "room for every header");
    list->items[list->count].name = name;
    list->items[list->count++].value = value;
}

static bool has_content(unsigned status)
{
    return status >= 200 && status != 204 && status != 304;
}

static void collect(
    const struct http_server *server, const struct http_reply *reply, bool close, struct header_list *list)
{
    list->count = 0;
    if (close)
        list_add(list, "Connection", "close");
    list_add(list, "Server", "lookalike");
    if (has_content(reply->status))
        list_add(
            list, "Content-Type", reply->content_type ? reply->content_type : "application/octet-stream");
    list_add(list, "X-Content-Type-Options", "nosniff");
    bool any = server->cors_count == 1 && strcmp(server->cors[0], "*") == 0;
    if (server->cors_count && !any)
        list_add(list, "Vary", "Origin");
    /* One alone is always named: browsers compare it themselves. */
    const char *allowed = server->cors_count == 1 ? server->cors[0] : reply->origin;
    if (allowed) {
        list_add(list, "Access-Control-Allow-Origin", allowed);
        list_add(list, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After, Location");
    }
    for (size_t i = 0; i < reply->header_count; i++)
        list_add(list, reply->headers[i].name, reply->headers[i].value);
}

const char *http_cors_match(const struct http_server *server, const struct http_request *head)
{
    const char *origin = http_header(head, "Origin");
    for (size_t i = 0; origin && i < server->cors_count; i++)
        if (strcmp(server->cors[i], origin) == 0)
            return server->cors[i];
    return NULL;
}

/* scheme://host[:port], as browsers send it; a path or a slash at the end would never match. */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    if (strcmp(text, "*") == 0)
        return true;
    return host && host > text && host[3] && !strpbrk(host + 3, "/ ?#") && strspn(text, "abcdefghijklmnopqrstuvwxyz+.-0123456789") == (size_t)(host - text);
}

enum result http_cors_parse(struct http_server *server, const char *list, struct err *err)
{
    server->cors_memory = strdup(list);
    if (!server->cors_memory)
        return err_no_memory(err);
    char *rest = NULL;
    for (char *one = strtok_r(server->cors_memory, ", ", &rest); one; one = strtok_r(NULL, ", ", &rest)) {
        if (server->cors_count == LIMIT_CORS_ORIGINS)
            return err_set(err, ERR_TOO_LARGE, "There are more than %d origins for CORS.", LIMIT_CORS_ORIGINS);
        if (!is_origin(one))
            return err_set(err, ERR_INVALID, "\"%.100s\" is no origin for CORS: write https://shop.example, without a path", one);
        server->cors[server->cors_count++] = one;
    }
    for (size_t i = 0; i < server->cors_count; i++)
        if (server->cors_count > 1 && strcmp(server->cors[i], "*") == 0)
            return err_set(err, ERR_INVALID, "`*` among other origins for CORS: it means all of them; give it alone");
    return ERR_OK;
}

void http_reply_init(struct http_reply *reply)
{
    *reply = (struct http_reply){.status = 200};
    buf_init(&reply->body, LIMIT_HTTP_REPLY);
}

void http_reply_release(struct http_reply *reply)
{
    buf_free(&reply->body);
}

enum result http_reply_header(struct http_reply *reply, const char *name, const char *value)
{
    size_t len = strlen(value);
    if (reply->header_count == sizeof reply->headers / sizeof *reply->headers ||
        len >= sizeof reply->headers[0].value)
        return ERR_TOO_LARGE;
    if (!http_is_token(name))
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) /* a line break would let the value write headers of its own */
        if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
            return ERR_INVALID;
    reply->headers[reply->header_count].name = name;
    memcpy(reply->headers[reply->header_count].value, value, len + 1);
    reply->header_count++;
    return ERR_OK;
}

void http_reply_error(struct http_server *server, struct http_reply *reply, const char *path, unsigned status,
    const char *message)
{
    buf_free(&reply->body);
    http_reply_init(reply);
    if (server->options.error_body)
        server->options.error_body(server->options.user, path, status, message, reply);
    if (reply->body.len == 0 && !reply->static_body) {
        reply->content_type = "text/plain; charset=utf-8";
        reply->static_body = NULL;
        /* Out of memory here leaves an empty body, which is still a valid reply. */
        if (buf_appendf(&reply->body, "%s\n", message))
            buf_clear(&reply->body);
    }
    if (reply->status < 400)
        reply->status = status;
    bool told = false;
    for (size_t i = 0; i < reply->header_count; i++)
        told = told || strcasecmp(reply->headers[i].name, "Retry-After") == 0;
    /* No room for it, after twelve headers of an error body, is no reason to fail. */
    if (reply->status == 503 && !told && http_reply_header(reply, "Retry-After", "1"))
        return;
}

void http_reply_preflight(struct http_reply *reply, const struct http_request *head)
{
    const char *wanted = http_header(head, "Access-Control-Request-Headers");
    http_reply_init(reply);
    reply->status = 204;
    bool ok = !http_reply_header(
        reply, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    /* Echoed instead of '*', which browsers do not apply to Authorization. */
    if (!wanted || http_reply_header(reply, "Access-Control-Allow-Headers", wanted))
        ok = ok && !http_reply_header(reply, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    ok = ok && !http_reply_header(reply, "Access-Control-Max-Age", "86400");
    if (!ok)
        reply->status = 500;
}

bool http_reply_headers(
    struct http_server *server, const struct http_reply *reply, bool close, struct MHD_Response *response)
{
    struct header_list list;
    collect(server, reply, close, &list);
    for (size_t i = 0; i < list.count; i++) {
        if (MHD_add_response_header(response, list.items[i].name, list.items[i].value) != MHD_YES) {
            MHD_destroy_response(response);
            return false;
        }
    }
    return true;
}

struct MHD_Response *http_reply_response(struct http_server *server, struct http_reply *reply, bool close)
{
    struct MHD_Response *response = NULL;
    if (reply->static_body) {
        /* libmicrohttpd wants no const, and does not write. */
        union {
            const void *from;
            void *to;
        } body = {.from = reply->static_body};
        response = MHD_create_response_from_buffer(reply->static_len, body.to, MHD_RESPMEM_PERSISTENT);
    } else {
        size_t len = 0;
        char *data = buf_take(&reply->body, &len);
        response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
        if (!response)
            free(data);
    }
    return response && http_reply_headers(server, reply, close, response) ? response : NULL;
}

static enum result append_date(struct buf *out)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[64];
    if (!gmtime_r(&now, &tm) || strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        return ERR_OK; /* a reply without a date is better than none */
    return buf_appendf(out, "Date: %s\r\n", text);
}

enum result http_reply_text(
    struct http_server *server, struct http_reply *reply, bool with_body, struct buf *out)
{
    struct header_list list;
    const void *body = reply->static_body ? reply->static_body : reply->body.data;
    size_t len = reply->static_body ? reply->static_len : reply->body.len;
    collect(server, reply, true, &list);
    enum result r =
        buf_appendf(out, "HTTP/1.1 %u %s\r\n", reply->status, MHD_get_reason_phrase_for(reply->status));
    if (!r)
        r = append_date(out);
    for (size_t i = 0; !r && i < list.count; i++)
        r = buf_appendf(out, "%s: %s\r\n", list.items[i].name, list.items[i].value);
    if (!r)
        r = buf_appendf(out, "Content-Length: %zu\r\n\r\n", len);
    if (!r && with_body && len)
        r = buf_append(out, body, len);
    return r;
}
