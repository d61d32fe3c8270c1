/*
 * The request target. libmicrohttpd's own decoding is switched off: it decodes in place and forgets the
 * length, so an encoded NUL would cut a path short. Here everything is decoded exactly once, and what has no
 * good meaning (a lone %, an encoded NUL in path or name) is refused instead of passed on. An encoded NUL in a
 * value is passed on: its length travels with it, and who reads the value can say which field it is.
 */
#include "http/internal.h"

#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http_percent_decode(const char *text, size_t len, enum http_decode how, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '+' && how != HTTP_DECODE_PATH) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 1 < len ? hex_value(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' && how != HTTP_DECODE_VALUE)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    *out_len = n;
    return true;
}

/* One "name=value" at `text`; `*memory` moves on behind what was written. A pair never needs more than len
 * + 1. */
static bool parse_pair(const char *text, size_t len, char **memory, struct http_pair *out)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    size_t n = 0;
    char *name = *memory;
    if (!http_percent_decode(text, name_len, HTTP_DECODE_NAME, name, &n))
        return false;
    char *value = name + n; /* the name's own NUL, where there is no value */
    size_t value_len = 0;
    if (equals) {
        value++;
        if (!http_percent_decode(equals + 1, len - name_len - 1, HTTP_DECODE_VALUE, value, &value_len))
            return false;
    }
    *memory = value + value_len + 1;
    *out = (struct http_pair){.name = name, .value = value, .value_len = value_len};
    return true;
}

enum result http_pairs_parse(
    const char *text, size_t len, char *memory, struct http_pair *pairs, size_t max, size_t *count)
{
    const char *end = text + len;
    size_t n = 0;
    while (text < end) {
        const char *amp = memchr(text, '&', (size_t)(end - text));
        const char *stop = amp ? amp : end;
        if (stop > text) {
            if (n == max)
                return ERR_TOO_LARGE;
            if (!parse_pair(text, (size_t)(stop - text), &memory, &pairs[n]))
                return ERR_INVALID;
            n++;
        }
        text = stop + 1;
    }
    *count = n;
    return ERR_OK;
}

/* "http://host/path" → "/path": RFC 9112 section 3.2.2 wants servers to accept it. */
static const char *skip_origin(const char *raw)
{
    size_t scheme = 0;
    if (strncasecmp(raw, "http://", 7) == 0)
        scheme = 7;
    else if (strncasecmp(raw, "https://", 8) == 0)
        scheme = 8;
    if (!scheme)
        return raw;
    raw += scheme;
    raw += strcspn(raw, "/?");
    return *raw == '\0' ? "/" : raw;
}

enum result http_target_parse(const char *raw, struct http_target *out, struct err *err)
{
    for (const char *p = raw; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return err_set(err, ERR_INVALID,
                "The request line has a blank or control character in its path. Percent-encode it.");
    raw = skip_origin(raw);
    size_t path_len = strcspn(raw, "?");
    const char *query = raw[path_len] ? raw + path_len + 1 : raw + path_len;
    size_t query_len = strlen(query);
    if (*raw != '/' && *raw != '?' && strcmp(raw, "*") != 0)
        return err_set(err, ERR_INVALID, "The path of a request must begin with '/'.");

    struct http_target t = {0};
    size_t decoded = 0;
    char *memory = malloc(path_len + 2 + query_len + 1);
    if (!memory)
        return err_no_memory(err);
    t.memory = memory;
    t.path = memory;
    enum result r = ERR_OK;
    if (path_len == 0) {
        memcpy(memory, "/", 2); /* "http://host?query" */
        decoded = 1;
    } else if (!http_percent_decode(raw, path_len, HTTP_DECODE_PATH, memory, &decoded)) {
        r = err_set(err, ERR_INVALID,
            "The path has a '%%' that is not followed by two hexadecimal digits, or an encoded NUL.");
        goto out;
    }
    r = http_pairs_parse(query, query_len, memory + decoded + 1, t.query, LIMIT_PARAMETERS, &t.query_count);
    if (r == ERR_TOO_LARGE)
        r = err_set(err, r, "The query has more than %d parameters.", LIMIT_PARAMETERS);
    else if (r)
        r = err_set(err, r,
            "The query has a '%%' that is not followed by two hexadecimal digits, or an encoded NUL.");
out:
    if (r)
        free(memory);
    else
        *out = t;
    return r;
}

void http_target_free(struct http_target *target)
{
    if (!target)
        return;
    free(target->memory);
    *target = (struct http_target){0};
}
