/*
 * Bodies of forms: which kind, the urlencoded kind, and the parameters of headers that both kinds need. The
 * multipart kind is in multipart.c. Strings are kept in blocks that hang on `form->memory`, one per part, so
 * that no pointer moves while the form grows.
 */
#include "http/internal.h"

#include <strings.h>

struct block {
    struct block *next;
    char bytes[];
};

char *http_form_alloc(struct http_form *form, size_t size)
{
    struct block *block = malloc(sizeof *block + size);
    if (!block)
        return NULL;
    block->next = form->memory;
    form->memory = block;
    return block->bytes;
}

void http_form_free(struct http_form *form)
{
    if (!form)
        return;
    struct block *block = form->memory;
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    form->memory = NULL;
    form->count = 0;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p;
}

/* The text between quotes, from behind the first; NULL where the second is missing. `\"` and `\\` are the
 * only escapes: old browsers send Windows paths with plain backslashes. */
static const char *unquote(const char *p, const char *end, char *out)
{
    while (p < end && *p != '"') {
        if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
            p++;
        if (*p == '\0')
            return NULL;
        *out++ = *p++;
    }
    *out = '\0';
    return p < end ? p + 1 : NULL;
}

bool http_parameter_next(const char **text, const char *end, char *name, char *value, bool *bad)
{
    const char *p = skip_blanks(*text, end);
    while (p < end && *p == ';')
        p = skip_blanks(p + 1, end);
    if (p == end)
        return false;
    *bad = true;
    size_t n = 0;
    while (p < end && *p != '=' && *p != ';' && *p != ' ' && *p != '\t' && *p != '\0')
        name[n++] = *p++;
    name[n] = '\0';
    p = skip_blanks(p, end);
    if (!http_is_token(name) || p == end || *p != '=')
        return false;
    p = skip_blanks(p + 1, end);
    if (p < end && *p == '"') {
        p = unquote(p + 1, end, value);
        if (!p)
            return false;
    } else {
        n = 0;
        while (p < end && *p != ';' && *p != ' ' && *p != '\t' && *p != '\0')
            value[n++] = *p++;
        value[n] = '\0';
    }
    p = skip_blanks(p, end);
    if (p < end && *p != ';')
        return false;
    *bad = false;
    *text = p;
    return true;
}

static enum result parse_urlencoded(const char *body, size_t len, struct http_form *form, struct err *err)
{
    struct http_pair pairs[LIMIT_FORM_PARTS];
    size_t count = 0;
    char *memory = http_form_alloc(form, len + 1);
    if (!memory)
        return err_no_memory(err);
    while (len && (body[len - 1] == '\n' || body[len - 1] == '\r')) /* as some command-line tools add */
        len--;
    enum result r = http_pairs_parse(body, len, memory, pairs, LIMIT_FORM_PARTS, &count);
    if (r == ERR_TOO_LARGE)
        return err_set(err, r, "The form has more than %d fields.", LIMIT_FORM_PARTS);
    if (r)
        return err_set(
            err, r, "The form has a '%%' that is not followed by two hexadecimal digits, or an encoded NUL.");
    for (size_t i = 0; i < count; i++) {
        /* The pairs point into memory of this form, which is ours to hand out. */
        char *name = memory + (pairs[i].name - memory);
        form->parts[i] = (struct http_part){.name = name, .data = pairs[i].value, .len = pairs[i].value_len};
    }
    form->count = count;
    return ERR_OK;
}

static enum result find_boundary(const char *parameters, struct http_form *form, char **out, struct err *err)
{
    const char *end = parameters + strlen(parameters);
    size_t room = (size_t)(end - parameters) + 1;
    char *name = http_form_alloc(form, room);
    char *value = http_form_alloc(form, room);
    bool bad = false;
    if (!name || !value)
        return err_no_memory(err);
    while (http_parameter_next(&parameters, end, name, value, &bad)) {
        size_t len = strlen(value);
        if (strcasecmp(name, "boundary") != 0)
            continue;
        /* RFC 2046 section 5.1.1 */
        if (len == 0 || len > 70 || value[len - 1] == ' ')
            return err_set(err, ERR_INVALID, "The boundary of the form must have 1 to 70 characters.");
        *out = value;
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID,
        bad ? "The Content-Type of the form is malformed." : "The Content-Type of the form has no boundary.");
}

enum result http_form_parse(
    const char *content_type, const char *body, size_t len, struct http_form *out, struct err *err)
{
    enum result r = ERR_OK;
    struct http_form form = {0};
    if (!content_type)
        content_type = "";
    const char *type = content_type + strspn(content_type, " \t");
    size_t type_len = strcspn(type, "; \t");
    const char *parameters = type + type_len;
    if (type_len == 33 && strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0) {
        r = parse_urlencoded(body, len, &form, err);
    } else if (type_len == 19 && strncasecmp(type, "multipart/form-data", 19) == 0) {
        char *boundary = NULL;
        r = find_boundary(parameters, &form, &boundary, err);
        if (!r)
            r = http_multipart_parse(boundary, body, len, &form, err);
    } else {
        r = err_set(err, ERR_UNSUPPORTED,
            "The body is no form: its Content-Type must be multipart/form-data or "
            "application/x-www-form-urlencoded.");
    }
    if (r)
        http_form_free(&form);
    else
        *out = form;
    return r;
}
