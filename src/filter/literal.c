#include "filter/literal.h"

#include <math.h>

/*
 * Strings are read twice in Milvus: the grammar decides which escapes there are, and Go's strconv.Unquote
 * what they say; Unquote is the stricter. So \? passes the first and fails the second, an octal escape has
 * three digits, and \x takes two and leaves the others. A string is bytes: "\367" is accepted, and equals
 * nothing that is UTF-8.
 *
 * Keys in paths are not unescaped, except for \uXXXX: brief["a\"b"] is the key a\"b with its backslash. A key
 * that holds a quote is written in the other kind of quotes.
 */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `digits` of them in base 16 or 8; -1 where one is missing. */
static int64_t number_at(const char *text, size_t len, int digits, int base)
{
    int64_t value = 0;
    for (int i = 0; i < digits; i++) {
        int d = (size_t)i < len ? hex_digit(text[i]) : -1;
        if (d < 0 || d >= base)
            return -1;
        value = value * base + d;
    }
    return value;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf0 << (4 - n) & 0xff) | c);
    return n;
}

static bool is_scalar(int64_t c)
{
    return c >= 0 && c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
}

/* One escape, from its backslash. Returns the bytes read, 0 where Unquote would refuse, and appends to `out`.
 */
static size_t unescape(const char *text, size_t len, char **out, const char **why)
{
    static const char letters[] = "abfnrtv\\'\"", meaning[] = "\a\b\f\n\r\t\v\\'\"";
    char c = text[1];
    const char *letter = strchr(letters, c);
    if (c && letter) {
        *(*out)++ = meaning[letter - letters];
        return 2;
    }
    if (c == 'x' || (c >= '0' && c <= '7')) {
        int64_t byte = c == 'x' ? number_at(text + 2, len - 2, 2, 16) : number_at(text + 1, len - 1, 3, 8);
        *why = c == 'x' ? "\\x needs two hexadecimal digits"
                        : "an octal escape has three digits, \\000 to \\377";
        if (byte < 0 || byte > 255)
            return 0;
        *(*out)++ = (char)byte;
        return 4;
    }
    if (c == 'u' || c == 'U') {
        size_t digits = c == 'u' ? 4 : 8;
        int64_t code = number_at(text + 2, len - 2, (int)digits, 16);
        *why = "this is not the number of a Unicode character";
        if (!is_scalar(code))
            return 0;
        *out += put_utf8(*out, (uint32_t)code);
        return 2 + digits;
    }
    *why = "this escape has no meaning; a backslash is written \\\\";
    return 0;
}

enum result filter_literal_string(struct filter *filter, struct filter_bytes token, struct filter_bytes *out,
    size_t *wrong, const char **why)
{
    char *text = filter_alloc(filter, token.len), *end = text; /* no escape is shorter than what it says */
    if (!text)
        return ERR_NO_MEMORY;
    for (size_t i = 1; i < token.len - 1;) {
        if (token.data[i] != '\\') {
            *end++ = token.data[i++];
            continue;
        }
        size_t read = unescape(token.data + i, token.len - 1 - i, &end, why);
        if (read == 0) {
            *wrong = i;
            return ERR_INVALID;
        }
        i += read;
    }
    *out = (struct filter_bytes){text, (size_t)(end - text)};
    return ERR_OK;
}

bool filter_literal_int(struct filter_bytes token, uint64_t *out)
{
    unsigned base = 10;
    size_t i = 0;
    if (token.len > 1 && token.data[0] == '0') {
        char c = (char)(token.data[1] | 0x20);
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        i = base == 8 ? 1 : 2;
    }
    uint64_t value = 0;
    const uint64_t max = (uint64_t)1 << 63;
    for (; i < token.len; i++) {
        unsigned d = (unsigned)hex_digit(token.data[i]);
        if (value > (max - d) / base)
            return false;
        value = value * base + d;
    }
    *out = value;
    return true;
}

enum result filter_literal_float(struct filter *filter, struct filter_bytes token, double *out)
{
    char *text = filter_alloc(filter, token.len + 1);
    if (!text)
        return ERR_NO_MEMORY;
    memcpy(text, token.data, token.len);
    text[token.len] = '\0';
    /* The program never calls setlocale(), so the decimal point is a point. */
    double value = strtod(text, NULL);
    if (isinf(value))
        return ERR_INVALID;
    *out = value;
    return ERR_OK;
}

/* The key between two quotes, with \uXXXX decoded and nothing else. */
static enum result path_key(struct filter *filter, struct filter_bytes raw, struct filter_bytes *out)
{
    char *text = filter_alloc(filter, raw.len + 1), *end = text;
    if (!text)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < raw.len;) {
        int64_t code = -1;
        if (raw.data[i] == '\\' && i + 1 < raw.len && raw.data[i + 1] == 'u')
            code = number_at(raw.data + i + 2, raw.len - i - 2, 4, 16);
        if (code < 0) {
            *end++ = raw.data[i++];
            continue;
        }
        end += put_utf8(end, is_scalar(code) ? (uint32_t)code : 0xfffd);
        i += 6;
    }
    *out = (struct filter_bytes){text, (size_t)(end - text)};
    return ERR_OK;
}

/* What Milvus could not take apart again, or means nothing. NULL: it is fine. */
static const char *key_fault(struct filter_bytes key, bool quoted)
{
    if (key.len == 0)
        return "a key must not be empty";
    for (size_t i = 0; i + 1 < key.len; i++)
        if (key.data[i] == ']' && key.data[i + 1] == '[')
            return "a key that holds \"][\" cannot be asked for";
    uint64_t index;
    if (!quoted && (!filter_literal_int(key, &index) || index > INT64_MAX))
        return "this index is too large";
    return NULL;
}

enum result filter_literal_path(struct filter *filter, struct filter_bytes token, struct filter_bytes **path,
    size_t *depth, bool *quoted, size_t *wrong, const char **why)
{
    struct filter_bytes *keys = NULL;
    size_t count = 0, room = 0;
    size_t pos = 0;
    while (token.data[pos] != '[')
        pos++;
    *quoted = false;
    while (pos < token.len) {
        size_t start = pos + 1, end = start;
        char quote = token.data[start];
        bool is_quoted = quote == '"' || quote == '\'';
        if (is_quoted) {
            for (end = ++start; token.data[end] != quote; end++)
                end += token.data[end] == '\\';
        } else {
            while (token.data[end] != ']')
                end++;
        }
        if (count == room) {
            size_t more = room ? room * 2 : 4;
            keys = filter_grow(filter, keys, room, more, sizeof *keys);
            room = more;
            if (!keys)
                return ERR_NO_MEMORY;
        }
        struct filter_bytes key;
        enum result r = path_key(filter, (struct filter_bytes){token.data + start, end - start}, &key);
        if (r)
            return r;
        *why = key_fault(key, is_quoted);
        if (*why) {
            *wrong = pos + 1;
            return ERR_INVALID;
        }
        keys[count++] = key;
        *quoted = *quoted || is_quoted;
        pos = end + (is_quoted ? 2 : 1);
    }
    *path = keys;
    *depth = count;
    return ERR_OK;
}
