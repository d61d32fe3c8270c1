/*
 * Where does this request end? A proxy in front of us and libmicrohttpd must give the same answer, or one
 * client can put a request into another's connection (request smuggling). libmicrohttpd takes the first of
 * two Content-Length headers, ignores it next to Transfer-Encoding, and joins folded lines to the header's
 * *name*. So we look at the list of headers as libmicrohttpd saw it, and refuse whatever two readers could
 * understand differently; RFC 9112 section 6.
 */
#include "http/internal.h"

#include "base/parse.h"

#include <strings.h>

static bool is_token_char(char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool http_is_token(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text; text++)
        if (!is_token_char(*text))
            return false;
    return true;
}

struct seen {
    const struct http_pair *length, *coding, *host, *expect;
};

/* Remember the one header of its kind; false for a second one. */
static bool keep_only(const struct http_pair **slot, const struct http_pair *header)
{
    if (*slot)
        return false;
    *slot = header;
    return true;
}

/* "Content-Lengthx": what libmicrohttpd makes of a folded line, and nothing an honest client sends. */
static bool is_mangled(const char *name)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(name, names[i], len) == 0 && name[len] != '\0')
            return true;
    }
    return false;
}

static const char *check_header(const struct http_pair *header, struct seen *seen)
{
    const char *name = header->name;
    if (!http_is_token(name) || is_mangled(name))
        return "A header of the request has a name with characters that names cannot have, or is folded over "
               "two lines.";
    for (const char *p = header->value; *p; p++)
        if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
            return "A header of the request has a control character in its value.";
    if (strcasecmp(name, "Content-Length") == 0 && !keep_only(&seen->length, header))
        return "The request has more than one Content-Length header; send exactly one.";
    if (strcasecmp(name, "Transfer-Encoding") == 0 && !keep_only(&seen->coding, header))
        return "The request has more than one Transfer-Encoding header; send exactly one.";
    if (strcasecmp(name, "Host") == 0 && !keep_only(&seen->host, header))
        return "The request has more than one Host header; send exactly one.";
    if (strcasecmp(name, "Expect") == 0)
        seen->expect = header;
    return NULL;
}

static const char *check_coding(const struct seen *seen, bool http_1_0)
{
    if (seen->length)
        return "The request has both Content-Length and Transfer-Encoding; send only one of them.";
    if (http_1_0)
        return "Transfer-Encoding does not exist in HTTP/1.0; send Content-Length.";
    if (strcasecmp(seen->coding->value, "chunked") != 0)
        return "The only Transfer-Encoding understood here is 'chunked'.";
    return NULL;
}

unsigned http_framing_check(
    const struct http_request *head, const char *version, struct http_framing *out, const char **message)
{
    struct seen seen = {0};
    struct http_framing f = {0};
    bool http_1_0 = strcmp(version, "HTTP/1.0") == 0;
    if (head->header_count > LIMIT_HEADERS) {
        *message = "The request has too many headers.";
        return 431;
    }
    *message = NULL;
    for (size_t i = 0; i < head->header_count && !*message; i++)
        *message = check_header(&head->headers[i], &seen);
    if (!*message && seen.coding)
        *message = check_coding(&seen, http_1_0);
    if (!*message && seen.length &&
        !parse_u64(seen.length->value, seen.length->value_len, INT64_MAX, &f.length))
        *message = "The Content-Length of the request is not a plain decimal number.";
    if (!*message && !seen.host && !http_1_0)
        *message = "The request has no Host header; HTTP/1.1 demands one.";
    if (*message)
        return 400;
    if (seen.expect && !http_1_0) {
        if (strcasecmp(seen.expect->value, "100-continue") != 0) {
            *message = "The only expectation understood here is 'Expect: 100-continue'.";
            return 417;
        }
        f.expect_continue = true;
    }
    f.has_length = seen.length != NULL;
    f.chunked = seen.coding != NULL;
    *out = f;
    return 0;
}
