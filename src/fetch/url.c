/*
 * Text → a URL we are willing to connect to, apart from the address, which is checked when the socket is
 * opened.
 *
 * Everything is read by libcurl's own parser, and the parsed handle, not the text, is what the transfer gets:
 * two parsers that disagree about where the host ends are how such checks are passed by. The host is then
 * brought to one spelling (ASCII for international names, lower case, no dot at the end) and put back into
 * the handle, so that rules and resolver see the same. A host whose last part is a number must be a plain
 * address, as in the WHATWG URL standard: "1.2.3.4.5" or "4294967296" is not asked of a name server.
 */
#include "fetch/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <locale.h>
#include <pthread.h>

#include "base/limits.h"
#include "base/parse.h"

/* Blanks and non-ASCII bytes, common in the picture URLs of shops, are percent-encoded as browsers do it. */
#define URL_FLAGS (CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE | CURLU_ALLOW_SPACE)

/*
 * A request for a picture is also a few lines of text that a stranger partly chose, sent from our address.
 * Ports of other protocols are refused also on public and on allowed hosts: the "bad ports" of the WHATWG
 * fetch standard, and four databases that might trust our address.
 */
static const uint16_t refused_ports[] = {
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 3306,
    5432, 6379, 11211, /* MySQL, PostgreSQL, Redis, memcached */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;
static locale_t utf8; /* 0 where the system has none */

static void start_curl(void)
{
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
    utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

enum result fetch_curl_start(struct err *err)
{
    pthread_once(&curl_once, start_curl);
    if (curl_started)
        return err_set(err, ERR_INTERNAL, "libcurl does not start: %s", curl_easy_strerror(curl_started));
    return ERR_OK;
}

bool fetch_port_is_refused(unsigned long port)
{
    for (size_t i = 0; i < sizeof refused_ports / sizeof *refused_ports; i++)
        if (port == refused_ports[i])
            return true;
    return port > UINT16_MAX;
}

/* "0x7f" and "127" are numbers, "" and "7z" are not. */
static bool is_number(const char *text, size_t len)
{
    bool hex = len >= 2 && text[0] == '0' && (text[1] | 0x20) == 'x';
    size_t i = hex ? 2 : 0;
    if (len == 0)
        return false;
    for (; i < len; i++)
        if (hex ? !isxdigit((unsigned char)text[i]) : !isdigit((unsigned char)text[i]))
            return false;
    return true;
}

/* No empty part, only visible ASCII, and where it looks like an IPv4 address it is one. */
static bool is_name(const char *host)
{
    const char *part = host;
    for (;;) {
        size_t len = strcspn(part, ".");
        if (len == 0)
            return false;
        for (size_t i = 0; i < len; i++)
            if (part[i] <= 0x20 ||
                part[i] >= 0x7f) /* also what is not ASCII, whether char is signed or not */
                return false;
        if (part[len] == '\0') {
            struct in_addr ip;
            return !is_number(part, len) || inet_pton(AF_INET, host, &ip) == 1;
        }
        part += len + 1;
    }
}

/*
 * International names become ASCII in the handle. libcurl takes them to be in the charset of the thread's
 * locale, which in a server is often "C"; URLs are UTF-8 wherever it runs. By way of the whole URL, which
 * also lets libcurl bring an IPv4 address among such letters to its usual form (and because asking 7.88
 * to 8.14 for the host alone leaks memory where the name is not valid).
 */
static bool to_ascii(CURLU *handle)
{
    char *text = NULL;
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    bool good = curl_url_get(handle, CURLUPART_URL, &text, CURLU_PUNYCODE) == CURLUE_OK;
    if (before)
        uselocale(before);
    good = good && curl_url_set(handle, CURLUPART_URL, text, URL_FLAGS) == CURLUE_OK;
    curl_free(text);
    return good;
}

bool fetch_url_host(CURLU *handle, char out[FETCH_HOST_MAX + 1])
{
    char *host = NULL;
    bool good = false;
    if (!to_ascii(handle) || curl_url_get(handle, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return false;
    size_t len = strlen(host);
    bool v6 = host[0] == '[';
    const char *start = v6 ? host + 1 : host;
    if (v6 && host[len - 1] == ']')
        len -= 2;
    else if (!v6 && len > 0 && host[len - 1] == '.')
        len--;
    if (len == 0 || len > FETCH_HOST_MAX)
        goto out;
    char name[FETCH_HOST_MAX + 1];
    for (size_t i = 0; i < len; i++)
        name[i] = start[i] >= 'A' && start[i] <= 'Z' ? (char)(start[i] | 0x20) : start[i];
    name[len] = '\0';
    struct in6_addr ip;
    good = v6 ? inet_pton(AF_INET6, name, &ip) == 1 : is_name(name);
    if (good)
        memcpy(out, name, len + 1);
out:
    curl_free(host);
    return good;
}

static enum result check_scheme(CURLU *handle, struct err *err)
{
    char *scheme = NULL;
    bool good = curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    return good ? ERR_OK : err_set(err, ERR_INVALID, "the URL must begin with http:// or https://");
}

static enum result check_port(CURLU *handle, const char *host, struct err *err)
{
    char *text = NULL;
    uint64_t port = 0;
    bool good = curl_url_get(handle, CURLUPART_PORT, &text, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                parse_u64(text, strlen(text), UINT16_MAX, &port);
    curl_free(text);
    if (!good)
        return err_set(err, ERR_INVALID, "the URL has no valid port");
    if (fetch_port_is_refused((unsigned long)port))
        return err_set(err, ERR_DENIED,
            "pictures are not downloaded from port %u of %.100s: it is used by another protocol",
            (unsigned)port, host);
    return ERR_OK;
}

/* Move user and password from the handle to `out`; a redirect drops them there. */
static enum result take_credentials(struct fetch_url *out, struct err *err)
{
    CURLUcode user = curl_url_get(out->handle, CURLUPART_USER, &out->user, CURLU_URLDECODE);
    CURLUcode password = curl_url_get(out->handle, CURLUPART_PASSWORD, &out->password, CURLU_URLDECODE);
    if (user == CURLUE_OUT_OF_MEMORY || password == CURLUE_OUT_OF_MEMORY)
        return err_no_memory(err);
    if ((user && user != CURLUE_NO_USER) || (password && password != CURLUE_NO_PASSWORD))
        return err_set(err, ERR_INVALID, "the user name or password in the URL is not valid");
    if (curl_url_set(out->handle, CURLUPART_USER, NULL, 0) ||
        curl_url_set(out->handle, CURLUPART_PASSWORD, NULL, 0) ||
        curl_url_set(out->handle, CURLUPART_OPTIONS, NULL, 0))
        return err_no_memory(err);
    return ERR_OK;
}

/* The handle has been filled; it is owned by `out`. */
static enum result check(struct fetch_url *out, struct err *err)
{
    enum result r = check_scheme(out->handle, err);
    if (r)
        return r;
    r = take_credentials(out, err);
    if (r)
        return r;
    if (!fetch_url_host(out->handle, out->host))
        return err_set(err, ERR_INVALID, "the URL has no valid host name");
    /* IPv6 literals stay as they are: they may carry a zone, which this part does not include. */
    if (!strchr(out->host, ':') && curl_url_set(out->handle, CURLUPART_HOST, out->host, 0))
        return err_set(err, ERR_INVALID, "the URL has no valid host name");
    return check_port(out->handle, out->host, err);
}

static enum result from_curl(CURLUcode code, struct err *err)
{
    switch (code) {
    case CURLUE_OK:
        return ERR_OK;
    case CURLUE_OUT_OF_MEMORY:
        return err_no_memory(err);
    case CURLUE_BAD_SCHEME:
    case CURLUE_UNSUPPORTED_SCHEME:
        return err_set(err, ERR_INVALID, "the URL must begin with http:// or https://");
    default:
        return err_set(err, ERR_INVALID, "the URL is not valid: %s", curl_url_strerror(code));
    }
}

/* Blanks around a URL are what pasting and spreadsheets leave there. */
static enum result trimmed(const char *text, char **out, struct err *err)
{
    static const char blanks[] = " \t\r\n";
    text += strspn(text, blanks);
    size_t len = strnlen(text, LIMIT_URL_BYTES + 1);
    if (len > LIMIT_URL_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the URL is longer than %d bytes", LIMIT_URL_BYTES);
    while (len > 0 && strchr(blanks, text[len - 1]))
        len--;
    *out = strndup(text, len);
    return *out ? ERR_OK : err_no_memory(err);
}

static enum result parse(CURLU *base, const char *text, struct fetch_url *out, struct err *err)
{
    struct fetch_url url = {.handle = base ? curl_url_dup(base) : curl_url()};
    char *copy = NULL;
    enum result r = url.handle ? trimmed(text, &copy, err) : err_no_memory(err);
    if (r)
        goto out;
    r = from_curl(curl_url_set(url.handle, CURLUPART_URL, copy, URL_FLAGS), err);
    if (!r)
        r = check(&url, err);
out:
    free(copy);
    if (r)
        fetch_url_release(&url);
    else
        *out = url;
    return r;
}

enum result fetch_url_parse(const char *text, struct fetch_url *out, struct err *err)
{
    return parse(NULL, text, out, err);
}

enum result fetch_url_follow(
    const struct fetch_url *base, const char *location, struct fetch_url *out, struct err *err)
{
    struct err why = {0};
    struct fetch_url url = {0};
    enum result r = parse(base->handle, location, &url, &why);
    if (r == ERR_INVALID || r == ERR_TOO_LARGE)
        return err_set(
            err, ERR_DENIED, "%.100s redirects to where no picture can be: %.300s", base->host, why.message);
    if (r)
        return err_set(err, r, "%.100s redirects elsewhere: %.300s", base->host, why.message);
    curl_free(url.user);
    curl_free(url.password);
    url.user = url.password = NULL;
    *out = url;
    return ERR_OK;
}

void fetch_url_release(struct fetch_url *url)
{
    if (!url)
        return;
    curl_url_cleanup(url->handle);
    curl_free(url->user);
    curl_free(url->password);
    *url = (struct fetch_url){0};
}
