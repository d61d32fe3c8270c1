/*
 * multipart/form-data; RFC 7578 on top of RFC 2046.
 *
 *      preamble (ignored)
 *      --boundary CRLF
 *      header lines, each with CRLF, then an empty line
 *      data                                   ◀── part.data is this slice of the body, nothing is copied
 *      CRLF --boundary CRLF …                 the next part
 *      CRLF --boundary-- epilogue (ignored)
 *
 * Strict where leniency would guess: lines end in CRLF, a truncated body is an error (a picture must not be
 * stored by half), so are nested multiparts and transfer encodings that change bytes. Lenient where clients
 * differ: quoting of names, blanks after a boundary, unknown headers, `filename*` of RFC 5987 (Java),
 * 7bit/8bit/binary.
 */
#include "http/internal.h"

#include <strings.h>

#define PART_HEADER_BYTES (8 * LIMIT_KIB)

struct reader {
    const char *p, *end;
    char delimiter[2 + 2 + 70 + 1]; /* CRLF "--" boundary */
    size_t delimiter_len;
    struct http_form *form;
    struct err *err;
};

static enum result malformed(struct reader *in, const char *what)
{
    return err_set(in->err, ERR_INVALID, "The multipart form is malformed: %s.", what);
}

enum after { AFTER_NONE, AFTER_PART, AFTER_END };

/* What follows the delimiter at `p`? Moves `*next` behind it. AFTER_NONE: it only looked like one. */
static enum after classify(const char *p, const char *end, const char **next)
{
    if (end - p >= 2 && p[0] == '-' && p[1] == '-') {
        *next = p + 2;
        return AFTER_END;
    }
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return AFTER_NONE;
    *next = p + 2;
    return AFTER_PART;
}

/* The next delimiter from in->p: `*data_end` is where the data before it ends. */
static enum after find_delimiter(struct reader *in, const char **data_end)
{
    const char *from = in->p;
    for (;;) {
        const char *hit = memmem(from, (size_t)(in->end - from), in->delimiter, in->delimiter_len);
        if (!hit)
            return AFTER_NONE;
        enum after what = classify(hit + in->delimiter_len, in->end, &in->p);
        if (what != AFTER_NONE) {
            *data_end = hit;
            return what;
        }
        from = hit + 2;
    }
}

/* The first delimiter may be at the very start, without the CRLF before it. */
static enum after find_first(struct reader *in)
{
    const char *ignored;
    size_t len = in->delimiter_len - 2;
    if ((size_t)(in->end - in->p) >= len && memcmp(in->p, in->delimiter + 2, len) == 0) {
        enum after what = classify(in->p + len, in->end, &in->p);
        if (what != AFTER_NONE)
            return what;
    }
    return find_delimiter(in, &ignored);
}

/* "UTF-8''na%C3%AFve.jpg", RFC 5987; other character sets than UTF-8 are left to the plain `filename`. */
static bool decode_extended(char *value)
{
    char *language = strchr(value, '\'');
    char *text = language ? strchr(language + 1, '\'') : NULL;
    size_t n = 0;
    if (!text || strncasecmp(value, "UTF-8", 5) != 0 || language != value + 5)
        return false;
    text++;
    return http_percent_decode(
        text, strlen(text), HTTP_DECODE_PATH, value, &n); /* in place: never ahead of what it reads */
}

/* Keep one parameter of Content-Disposition; `text` is scratch. */
static enum result keep_parameter(
    struct reader *in, const char *name, char *text, struct http_part *part, bool *extended)
{
    bool star = strcasecmp(name, "filename*") == 0;
    char **slot = NULL;
    if (strcasecmp(name, "name") == 0 && !part->name)
        slot = &part->name;
    else if ((star && decode_extended(text)) || (strcasecmp(name, "filename") == 0 && !*extended))
        slot = &part->filename;
    if (!slot)
        return ERR_OK;
    size_t size = strlen(text) + 1;
    char *copy = http_form_alloc(in->form, size);
    if (!copy)
        return err_no_memory(in->err);
    memcpy(copy, text, size);
    *slot = copy;
    *extended = *extended || star;
    return ERR_OK;
}

static enum result read_disposition(
    struct reader *in, const char *value, const char *end, struct http_part *part)
{
    static const char kind[] = "form-data";
    size_t room = (size_t)(end - value) + 1;
    bool bad = false, extended = false;
    if (room <= sizeof kind - 1 || strncasecmp(value, kind, sizeof kind - 1) != 0)
        return malformed(in, "a part is not 'form-data'");
    value += sizeof kind - 1;
    if (part->name)
        return malformed(in, "a part has two Content-Disposition headers");
    char *name = malloc(2 * room);
    if (!name)
        return err_no_memory(in->err);
    char *text = name + room;
    enum result r = ERR_OK;
    while (!r && http_parameter_next(&value, end, name, text, &bad))
        r = keep_parameter(in, name, text, part, &extended);
    if (!r && (bad || !part->name))
        r = malformed(in, "a part has no name or its Content-Disposition cannot be understood");
    free(name);
    return r;
}

static enum result read_type(struct reader *in, const char *value, const char *end, struct http_part *part)
{
    size_t len = (size_t)(end - value);
    if (len >= 10 && strncasecmp(value, "multipart/", 10) == 0)
        return malformed(in, "a part is itself multipart, which is not supported");
    char *text = http_form_alloc(in->form, len + 1);
    if (!text)
        return err_no_memory(in->err);
    memcpy(text, value, len);
    text[len] = '\0';
    part->content_type = text;
    return ERR_OK;
}

static enum result check_encoding(struct reader *in, const char *value, const char *end)
{
    static const char *const harmless[] = {"7bit", "8bit", "binary"};
    size_t len = (size_t)(end - value);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (len == strlen(harmless[i]) && strncasecmp(value, harmless[i], len) == 0)
            return ERR_OK;
    return malformed(in, "a part has a Content-Transfer-Encoding other than binary");
}

static bool name_is(const char *line, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(line, name, len) == 0;
}

static enum result read_header(struct reader *in, const char *line, const char *end, struct http_part *part)
{
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon || colon == line || *line == ' ' || *line == '\t')
        return malformed(in, "a part has a header line without a name");
    if (memchr(line, '\0', (size_t)(end - line)))
        return malformed(in, "a part has a NUL in its headers");
    size_t name_len = (size_t)(colon - line);
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (name_is(line, name_len, "Content-Disposition"))
        return read_disposition(in, value, end, part);
    if (name_is(line, name_len, "Content-Type"))
        return read_type(in, value, end, part);
    if (name_is(line, name_len, "Content-Transfer-Encoding"))
        return check_encoding(in, value, end);
    return ERR_OK;
}

static enum result read_headers(struct reader *in, struct http_part *part)
{
    const char *start = in->p;
    for (;;) {
        size_t left = (size_t)(in->end - in->p);
        size_t window = left < PART_HEADER_BYTES ? left : PART_HEADER_BYTES;
        const char *eol = memmem(in->p, window, "\r\n", 2);
        if (!eol || eol - start > PART_HEADER_BYTES)
            return malformed(in, "the headers of a part do not end, or are too long");
        const char *line = in->p;
        in->p = eol + 2;
        if (eol == line)
            break;
        enum result r = read_header(in, line, eol, part);
        if (r)
            return r;
    }
    return part->name ? ERR_OK : malformed(in, "a part has no Content-Disposition header");
}

/* One part, from behind the delimiter before it to behind the one after it. */
static enum result read_part(struct reader *in, enum after *what)
{
    struct http_part part = {0};
    const char *data_end = NULL;
    if (in->form->count == LIMIT_FORM_PARTS)
        return err_set(in->err, ERR_TOO_LARGE, "The form has more than %d fields.", LIMIT_FORM_PARTS);
    enum result r = read_headers(in, &part);
    if (r)
        return r;
    part.data = in->p;
    /* The CRLF that ends the headers is also the one of the delimiter where a part has no data at all. */
    in->p -= 2;
    *what = find_delimiter(in, &data_end);
    if (*what == AFTER_NONE)
        return malformed(in, "it ends before its last boundary, so it was cut off");
    part.len = data_end > part.data ? (size_t)(data_end - part.data) : 0;
    in->form->parts[in->form->count++] = part;
    return ERR_OK;
}

enum result http_multipart_parse(
    const char *boundary, const char *body, size_t len, struct http_form *out, struct err *err)
{
    struct reader in = {.p = body, .end = body + len, .form = out, .err = err};
    int n = snprintf(in.delimiter, sizeof in.delimiter, "\r\n--%s", boundary);
    if (n < 5 || (size_t)n >= sizeof in.delimiter)
        return malformed(&in, "its boundary must have 1 to 70 characters");
    in.delimiter_len = (size_t)n;
    enum after what = find_first(&in);
    if (what == AFTER_NONE)
        return malformed(&in, "its boundary does not occur in the body");
    while (what == AFTER_PART) {
        enum result r = read_part(&in, &what);
        if (r)
            return r;
    }
    return ERR_OK;
}
