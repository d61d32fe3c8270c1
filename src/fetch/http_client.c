/*
 * The command line's side of a conversation with a `lookalike` server: one libcurl handle, whose connection
 * stays open between requests (libcurl sends a request again by itself where the server had closed an idle
 * one). Proxies of the environment are not used: the server is usually on this machine, and is named by the
 * user in any case.
 */
#include "fetch/http_client.h"
#include "fetch/url.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/limits.h"

#define TIMEOUT_MS_DEFAULT 60000

struct http_client {
    CURL *easy;
    char *base; /* of every URL: scheme, host, port and path, no slash at the end */
    char *user; /* decoded, NULL where the URL has none */
    char *password;
    struct curl_slist *headers; /* of the request being sent */
};

/* What the callbacks of one request need. */
struct reply {
    struct buf *body; /* NULL: not wanted */
    enum result failed;
};

/* The URL without user and password, which then may be shown. */
static enum result set_base(struct http_client *c, const char *server, struct err *err)
{
    char *text = NULL;
    CURLU *u = curl_url();
    enum result r = ERR_INVALID;
    if (!u)
        return err_no_memory(err);
    if (curl_url_set(u, CURLUPART_URL, server, 0) != CURLUE_OK)
        goto out;
    curl_url_get(u, CURLUPART_USER, &c->user, CURLU_URLDECODE);
    curl_url_get(u, CURLUPART_PASSWORD, &c->password, CURLU_URLDECODE);
    if (curl_url_get(u, CURLUPART_QUERY, &text, 0) == CURLUE_OK ||
        curl_url_get(u, CURLUPART_FRAGMENT, &text, 0) == CURLUE_OK)
        goto out;
    curl_url_set(u, CURLUPART_USER, NULL, 0);
    curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
    if (curl_url_get(u, CURLUPART_URL, &text, 0) != CURLUE_OK)
        goto out;
    if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
        goto out;
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/')
        len--;
    c->base = strndup(text, len);
    r = c->base ? ERR_OK : ERR_NO_MEMORY;
out:
    curl_free(text);
    curl_url_cleanup(u);
    if (r == ERR_NO_MEMORY)
        return err_no_memory(err);
    if (r)
        return err_set(err, r, "the server must be given as http://HOST:PORT or https://HOST:PORT");
    return ERR_OK;
}

enum result http_client_new(const char *server, struct http_client **out, struct err *err)
{
    enum result r = fetch_curl_start(err);
    if (r)
        return r;
    if (strnlen(server, LIMIT_URL_BYTES + 1) > LIMIT_URL_BYTES)
        return err_set(err, ERR_INVALID, "the URL of the server is longer than %d bytes", LIMIT_URL_BYTES);
    struct http_client *c = calloc(1, sizeof *c);
    if (!c)
        return err_no_memory(err);
    c->easy = curl_easy_init();
    r = c->easy ? set_base(c, server, err) : err_no_memory(err);
    if (r)
        http_client_free(c);
    else
        *out = c;
    return r;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->easy);
    curl_slist_free_all(client->headers);
    curl_free(client->user);
    curl_free(client->password);
    free(client->base);
    free(client);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct reply *reply = user;
    size_t len = size * count;
    if (reply->body)
        reply->failed = buf_append(reply->body, bytes, len);
    return reply->failed ? 0 : len;
}

static bool add_header(struct http_client *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    if (longer)
        c->headers = longer;
    return longer != NULL;
}

static enum result set_headers(
    struct http_client *c, const struct http_client_request *request, struct err *err)
{
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    char type[256] = "Content-Type:"; /* without a value: libcurl's own guess is not sent */
    if (request->content_type) {
        size_t len = strlen(request->content_type);
        if (len > 200 || strpbrk(request->content_type, "\r\n"))
            return err_set(err, ERR_INVALID, "the content type is not valid");
        snprintf(type, sizeof type, "Content-Type: %s", request->content_type);
    }
    const char *key = getenv("LOOKALIKE_API_KEY");
    char bearer[512];
    if (key && *key) {
        if (strpbrk(key, "\r\n") || snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", key) >= (int)sizeof bearer)
            return err_set(err, ERR_INVALID, "LOOKALIKE_API_KEY is no API key");
        if (!add_header(c, bearer))
            return err_no_memory(err);
    }
    /* "Expect: 100-continue" would cost a round trip for every picture. */
    if (!add_header(c, type) || !add_header(c, "Expect:"))
        return err_no_memory(err);
    return ERR_OK;
}

static enum result set_method(
    struct http_client *c, const struct http_client_request *request, struct err *err)
{
    const char *method = request->method;
    if (!*method || strlen(method) > 16)
        return err_set(err, ERR_INVALID, "the HTTP method is not valid");
    for (const char *p = method; *p; p++)
        if (!isupper((unsigned char)*p))
            return err_set(err, ERR_INVALID, "the HTTP method is not valid");
    bool sends = request->body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
                 strcmp(method, "PATCH") == 0;
    if (sends) {
        curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(
            c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(request->body ? request->body_len : 0));
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    }
    if (curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method))
        return err_no_memory(err);
    return ERR_OK;
}

static enum result set_url(struct http_client *c, const char *path, struct err *err)
{
    if (path[0] != '/')
        return err_set(err, ERR_INVALID, "the path of a request must begin with a slash");
    for (const char *p = path; *p; p++)
        if (!isgraph((unsigned char)*p))
            return err_set(err, ERR_INVALID, "the path of a request must be percent-encoded");
    struct buf url;
    buf_init(&url, 2 * LIMIT_URL_BYTES);
    enum result r = buf_append_str(&url, c->base);
    if (!r)
        r = buf_append_str(&url, path);
    if (!r && curl_easy_setopt(c->easy, CURLOPT_URL, url.data))
        r = ERR_NO_MEMORY;
    buf_free(&url);
    if (r == ERR_TOO_LARGE)
        return err_set(err, r, "the path of the request is longer than %d bytes", LIMIT_URL_BYTES);
    return r ? err_no_memory(err) : ERR_OK;
}

static enum result set_up(
    struct http_client *c, const struct http_client_request *request, struct reply *reply, struct err *err)
{
    CURL *e = c->easy;
    curl_easy_reset(e); /* the connection stays */
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(
        e, CURLOPT_TIMEOUT_MS, (long)(request->timeout_ms > 0 ? request->timeout_ms : TIMEOUT_MS_DEFAULT));
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, reply);
    if (curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") || curl_easy_setopt(e, CURLOPT_PROXY, "") ||
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*") || curl_easy_setopt(e, CURLOPT_USERAGENT, "lookalike/0.1"))
        return err_no_memory(err);
    if (c->user || c->password) {
        if (curl_easy_setopt(e, CURLOPT_USERNAME, c->user ? c->user : "") ||
            curl_easy_setopt(e, CURLOPT_PASSWORD, c->password ? c->password : ""))
            return err_no_memory(err);
    }
    enum result r = set_url(c, request->path, err);
    if (!r)
        r = set_method(c, request, err);
    if (!r)
        r = set_headers(c, request, err);
    if (!r)
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    return r;
}

static enum result on_failure(const struct http_client *c, CURLcode code, const struct reply *reply,
    int64_t timeout_ms, struct err *err)
{
    if (reply->failed == ERR_TOO_LARGE)
        return err_set(
            err, ERR_TOO_LARGE, "the reply of %.200s is larger than %zu bytes", c->base, reply->body->max);
    if (reply->failed || code == CURLE_OUT_OF_MEMORY)
        return err_no_memory(err);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return err_set(err, ERR_UNAVAILABLE,
            "no server answers at %.200s: start one with `lookalike serve`, or name another with --server "
            "URL",
            c->base);
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(
            err, ERR_UNAVAILABLE, "there is no host of the name in %.200s: check --server", c->base);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(
            err, ERR_UNAVAILABLE, "%.200s did not answer within %" PRId64 " ms", c->base, timeout_ms);
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(err, ERR_UNAVAILABLE, "the certificate of %.200s is not valid", c->base);
    default:
        return err_set(err, ERR_UNAVAILABLE, "no complete reply came from %.200s: %s", c->base,
            curl_easy_strerror(code));
    }
}

enum result http_client_send(struct http_client *client, const struct http_client_request *request,
    long *status, struct buf *body, struct err *err)
{
    struct reply reply = {.body = body};
    size_t len = body ? body->len : 0;
    enum result r = set_up(client, request, &reply, err);
    if (r)
        return r;
    CURLcode code = curl_easy_perform(client->easy);
    long answer = 0;
    if (!code)
        code = curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &answer);
    if (!code) {
        *status = answer;
        return ERR_OK;
    }
    if (body && body->data) {
        body->len = len;
        body->data[len] = '\0';
    }
    return on_failure(
        client, code, &reply, request->timeout_ms > 0 ? request->timeout_ms : TIMEOUT_MS_DEFAULT, err);
}

enum result http_client_escape(struct buf *out, const char *text, size_t len)
{
    size_t before = out->len;
    enum result r = buf_reserve(out, 0);
    for (size_t i = 0; !r && i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80 && (isalnum(c) || strchr("-._~", c)) && c != '\0')
            r = buf_append(out, &text[i], 1);
        else
            r = buf_appendf(out, "%%%02X", c);
    }
    if (r && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    return r;
}
