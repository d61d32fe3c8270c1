/*
 * One request through libcurl, told to do as little as possible by itself.
 *
 * The address check is open_socket(): libcurl calls it after the name was looked up, with the address it is
 * about to connect to, for every address it tries. Nothing lies between the check and connect(), so a DNS
 * answer that changes is checked as it is used. This holds as long as each request opens its own connection,
 * which is why connections are neither reused nor kept.
 *
 * A reply is judged when its headers are complete and given up on at once unless it is a 200 of a size and
 * encoding we take: bodies of redirects and error pages are not downloaded. No compression is asked for and
 * none accepted, so no small reply can become a large one.
 *
 * The time left covers the name look-up too. libcurl looks names up in a thread that nobody can stop; with
 * CURLOPT_QUICK_EXIT it is left behind at the deadline instead of waited for, and frees its memory when the
 * look-up ends. fetch.c counts those.
 */
#include "fetch/transfer.h"

#include <sys/socket.h>
#include <strings.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/parse.h"

enum stop {
    STOP_NOT,
    STOP_STATUS, /* not a 200: the headers are all we want */
    STOP_HEADERS,
    STOP_ENCODED,
    STOP_TOO_LARGE,
    STOP_MEMORY,
};

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch_transfer *t = user;
    const char *kind = fetch_address_kind(&address->addr);
    if (kind && !t->host_allowed && !fetch_allow_has_address(t->allow, &address->addr)) {
        t->kind = kind;
        return CURL_SOCKET_BAD;
    }
    t->opened++;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Whether every header of this name has the value `good`, or is absent. */
static bool header_is_only(CURL *easy, const char *name, const char *good)
{
    struct curl_header *header;
    for (size_t i = 0; curl_easy_header(easy, name, i, CURLH_HEADER, -1, &header) == CURLHE_OK; i++)
        if (strcasecmp(header->value, good) != 0)
            return false;
    return true;
}

static bool length_fits(CURL *easy, size_t max)
{
    struct curl_header *header;
    uint64_t length;
    for (size_t i = 0; curl_easy_header(easy, "Content-Length", i, CURLH_HEADER, -1, &header) == CURLHE_OK;
         i++)
        if (!parse_u64(header->value, strlen(header->value), max, &length))
            return false;
    return true;
}

static enum stop judge(const struct fetch_transfer *t)
{
    if (t->status != 200)
        return STOP_STATUS;
    if (!header_is_only(t->easy, "Content-Encoding", "identity") ||
        !header_is_only(t->easy, "Transfer-Encoding", "chunked"))
        return STOP_ENCODED;
    return length_fits(t->easy, t->max_bytes) ? STOP_NOT : STOP_TOO_LARGE;
}

/* One line of the headers at a time; a blank one ends them. Anything but `len` returned ends the transfer. */
static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    struct fetch_transfer *t = user;
    size_t len = size * count;
    if (len > LIMIT_FETCH_HEADER_BYTES - t->header_bytes) {
        t->stop = STOP_HEADERS;
        return 0;
    }
    t->header_bytes += len;
    bool blank = len > 0 && (line[0] == '\r' || line[0] == '\n');
    if (!blank || t->answered)
        return len;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) /* "100 Continue" and its like: the reply is still to come */
        return len;
    t->answered = true;
    t->status = status;
    t->stop = judge(t);
    return t->stop == STOP_NOT ? len : 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct fetch_transfer *t = user;
    size_t len = size * count;
    enum result r = len > t->max_bytes ? ERR_TOO_LARGE : buf_append(t->out, bytes, len);
    if (r) {
        t->stop = r == ERR_TOO_LARGE ? STOP_TOO_LARGE : STOP_MEMORY;
        return 0;
    }
    t->max_bytes -= len;
    return len;
}

/* All options are pointers and small numbers: of these, only the copies of strings can fail. */
static CURLcode set_up(struct fetch_transfer *t, int64_t left_ms)
{
    CURL *e = t->easy;
    curl_easy_reset(e);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(left_ms < INT32_MAX ? left_ms : INT32_MAX));
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    CURLcode c = curl_easy_setopt(e, CURLOPT_CURLU, t->url->handle);
    if (!c)
        c = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    if (!c)
        c = curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    if (!c)
        c = curl_easy_setopt(e, CURLOPT_PROXY, "");
    if (!c)
        c = curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
    if (!c &&
        curl_version_info(CURLVERSION_NOW)->cainfo) /* certificates are kept only where one file has all */
        c = curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    if (!c)
        c = curl_easy_setopt(e, CURLOPT_USERAGENT, "lookalike/0.1");
    if (!c && (t->url->user || t->url->password)) {
        curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        c = curl_easy_setopt(e, CURLOPT_USERNAME, t->url->user ? t->url->user : "");
        if (!c)
            c = curl_easy_setopt(e, CURLOPT_PASSWORD, t->url->password ? t->url->password : "");
    }
    return c;
}

/* How messages call the server: its host, and for a redirect how we came there. */
static void name_server(const struct fetch_transfer *t, char *out, size_t room)
{
    if (t->from)
        snprintf(out, room, "%.100s (a redirect from %.100s)", t->url->host, t->from);
    else
        snprintf(out, room, "%.100s", t->url->host);
}

/* A reply that is not a picture. Fills `location` where it says where to go instead. */
static enum result on_status(struct fetch_transfer *t, const char *server, struct err *err)
{
    bool redirect =
        t->status == 301 || t->status == 302 || t->status == 303 || t->status == 307 || t->status == 308;
    if (!redirect)
        return err_set(err, ERR_UNAVAILABLE, "%s answers with HTTP status %ld instead of a picture%s", server,
            t->status,
            t->status == 404 || t->status == 410   ? ": it has nothing under this URL"
            : t->status == 401 || t->status == 403 ? ": it does not let us read it"
                                                   : "");
    struct curl_header *header;
    if (curl_easy_header(t->easy, "Location", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return err_set(err, ERR_UNAVAILABLE, "%s redirects (HTTP status %ld) without saying where to", server,
            t->status);
    t->location = strdup(header->value);
    return t->location ? ERR_OK : err_no_memory(err);
}

static enum result compressed(const char *server, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "%s sends the picture compressed, which it was not asked to", server);
}

static enum result on_stop(struct fetch_transfer *t, const char *server, size_t max, struct err *err)
{
    switch ((enum stop)t->stop) {
    case STOP_STATUS:
        return on_status(t, server, err);
    case STOP_HEADERS:
        return err_set(err, ERR_TOO_LARGE, "%s answers with more than %d KiB of headers", server,
            LIMIT_FETCH_HEADER_BYTES / LIMIT_KIB);
    case STOP_ENCODED:
        return compressed(server, err);
    case STOP_TOO_LARGE:
        return err_set(
            err, ERR_TOO_LARGE, "the picture at %s is larger than the %zu bytes allowed", server, max);
    case STOP_MEMORY:
        return err_no_memory(err);
    case STOP_NOT:
        break;
    }
    return err_set(err, ERR_INTERNAL, "the download from %s ended without a reason", server);
}

static enum result no_connection(const struct fetch_transfer *t, const char *server, struct err *err)
{
    if (t->kind && t->opened == 0)
        return err_set(err, ERR_DENIED,
            "%s leads to %s, from which pictures are not downloaded; if this server may, start it with "
            "--fetch-allow %s",
            server, t->kind, t->url->host);
    return err_set(err, ERR_UNAVAILABLE, "%s refuses the connection or cannot be reached", server);
}

static enum result on_failure(struct fetch_transfer *t, CURLcode code, const char *server, struct err *err)
{
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return err_no_memory(err);
    case CURLE_OPERATION_TIMEDOUT:
        t->lookup_abandoned = t->opened == 0 && !t->kind;
        return err_set(err, ERR_TIMEOUT,
            t->lookup_abandoned ? "the name %s could not be looked up in the time allowed"
                                : "%s did not send the picture in the time allowed",
            server);
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(
            err, ERR_UNAVAILABLE, "there is no host called %s, or the name service does not answer", server);
    case CURLE_COULDNT_CONNECT:
        return no_connection(t, server, err);
    case CURLE_BAD_CONTENT_ENCODING: /* a Transfer-Encoding, which libcurl 8 refuses before it shows us the header */
        return compressed(server, err);
    case CURLE_PARTIAL_FILE:
        return err_set(
            err, ERR_UNAVAILABLE, "%s closed the connection before the whole picture was sent", server);
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(err, ERR_UNAVAILABLE, "the certificate of %s is not valid", server);
    default:
        return err_set(err, ERR_UNAVAILABLE, "%s did not answer as a web server does: %s", server,
            curl_easy_strerror(code));
    }
}

enum result fetch_transfer_run(struct fetch_transfer *t, struct err *err)
{
    char server[256];
    size_t max = t->max_bytes;
    name_server(t, server, sizeof server);
    t->host_allowed = fetch_allow_has_host(t->allow, t->url->host);
    int64_t left_ms = clock_left_ms(t->deadline_ms);
    if (left_ms == 0) /* which libcurl would take for no limit */
        return err_set(err, ERR_TIMEOUT, "no time was left to download the picture from %s", server);
    CURLcode code = set_up(t, left_ms);
    if (code && code != CURLE_OUT_OF_MEMORY)
        return err_set(err, ERR_INTERNAL, "libcurl refuses an option: %s", curl_easy_strerror(code));
    if (!code)
        code = curl_easy_perform(t->easy);
    if (t->stop)
        return on_stop(t, server, max, err);
    if (code)
        return on_failure(t, code, server, err);
    if (t->status != 200)
        return err_set(err, ERR_UNAVAILABLE, "%s did not answer as a web server does", server);
    return ERR_OK;
}
