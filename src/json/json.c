#include "json/json.h"

#include "base/limits.h"
#include "base/parse.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>

/*
 * Two passes. scan_text() reads the text once, without memory of its own, and refuses everything that RFC
 * 8259 does not allow, and what it allows but we do not; it knows the byte at fault. json-c then only ever
 * builds the tree of a text that is known to be good, which keeps its leniency (comments, single quotes, NaN,
 * clamped integers, keys cut at NUL) out of the program. Duplicate keys are found by counting: json-c keeps
 * one member of two equal ones, so a tree with fewer members than the text had one.
 *
 * What RFC 8259 leaves open is decided so: one byte order mark in front is skipped; half of a surrogate pair
 * ("\ud800") is refused, because it has no UTF-8 and replacing it would keep something else than was sent;
 * NUL characters are refused, because SQLite and C strings end there; the number of values and containers is
 * limited, because 32 MiB of "[],[],…" would become gigabytes of tree.
 *
 * The scan passes over long plain strings eight bytes at a time: a picture in base64 is one string of
 * megabytes.
 *
 * A vector in the body of a request is a thousand numbers and more, of which json-c also keeps the digits: three allocations
 * each, and most of the time that a search by a vector takes outside of the store. Where nobody asks for the digits,
 * json_parse_body(), such arrays are left out of what json-c reads, and put into the tree by themselves. A thousand objects, made
 * and freed, still are a third of all that a server does for a search that a Milvus answers; so one array can be had apart.
 */

enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* after '[' */
    EXPECT_KEY,          /* after ',' in an object */
    EXPECT_KEY_OR_END,   /* after '{' */
    EXPECT_SEPARATOR,    /* after a value */
};

/* Numbers between brackets, so many that it pays to read them apart. */
#define NUMBERS_MIN 64u
#define NUMBERS_MAX 4u /* such arrays in a text; of further ones the tree is json-c's */

struct numbers {
    size_t key, key_len, begin, end; /* in the text; `begin` is behind the bracket, `end` at the other one */
    size_t count;
};

struct scan {
    const unsigned char *text;
    size_t len, pos;
    size_t members, values, containers;
    unsigned depth;
    bool is_object[LIMIT_JSON_DEPTH];
    size_t key, key_len; /* the member of the outermost object that the scan is in */
    bool numbers_wanted;
    bool plain;          /* the array that is that member, if it is one, has held numbers only */
    size_t array, length; /* where it begins, and what it has held */
    struct numbers numbers[NUMBERS_MAX];
    unsigned numbers_count;
    struct json_numbers *apart; /* may be NULL */
    struct err *err;
};

static enum result scan_fail(struct scan *s, const char *what)
{
    if (s->pos >= s->len)
        return err_set(s->err, ERR_INVALID, "the JSON text ends too early, after byte %zu: %s", s->len, what);
    return err_set(s->err, ERR_INVALID, "the JSON text is wrong at byte %zu: %s", s->pos + 1, what);
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* The byte at the position, or -1 at the end. */
static int peek(const struct scan *s)
{
    return s->pos < s->len ? s->text[s->pos] : -1;
}

/* Four hexadecimal digits, or -1. */
static int32_t scan_hex4(struct scan *s)
{
    int32_t v = 0;
    for (int i = 0; i < 4; i++, s->pos++) {
        int c = peek(s);
        if (is_digit(c))
            v = v << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v << 4 | ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* After "\u". */
static enum result scan_unicode_escape(struct scan *s)
{
    int32_t c = scan_hex4(s);
    if (c < 0)
        return scan_fail(s, "\\u needs four hexadecimal digits");
    if (c == 0)
        return scan_fail(s, "a string holds the character NUL (\\u0000), which is not accepted");
    if (c >= 0xdc00 && c <= 0xdfff)
        return scan_fail(s, "the second half of a surrogate pair stands alone");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (s->len - s->pos < 2 || s->text[s->pos] != '\\' || s->text[s->pos + 1] != 'u')
            return scan_fail(s, "the first half of a surrogate pair stands alone");
        s->pos += 2;
        c = scan_hex4(s);
        if (c < 0xdc00 || c > 0xdfff)
            return scan_fail(s, "the first half of a surrogate pair stands alone");
    }
    return ERR_OK;
}

/* Whether none of eight bytes is a control character, a quote, a backslash or beyond ASCII. */
static bool all_plain(const unsigned char *p)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t w;
    memcpy(&w, p, sizeof w);
    uint64_t quote = w ^ (ones * '"'), backslash = w ^ (ones * '\\');
    /* (x - n) & ~x has a byte's high bit set where that byte is below n, and maybe in bytes above such a one; all
       we need is whether there is any. */
    uint64_t odd =
        w | ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash);
    return (odd & high) == 0;
}

/* From the opening quote to behind the closing one. */
static enum result scan_string(struct scan *s)
{
    s->pos++;
    for (;;) {
        while (s->len - s->pos >= 8 && all_plain(s->text + s->pos))
            s->pos += 8;
        int c = peek(s);
        if (c == '"') {
            s->pos++;
            return ERR_OK;
        }
        if (c < 0)
            return scan_fail(s, "a string is not closed");
        if (c < 0x20)
            return scan_fail(s, "a control character in a string must be written as \\u and four digits");
        if (c == '\\') {
            s->pos++;
            c = peek(s);
            if (c < 0 || c == 0 || !strchr("\"\\/bfnrtu", c))
                return scan_fail(s, "an unknown escape in a string");
            s->pos++;
            enum result r = c == 'u' ? scan_unicode_escape(s) : ERR_OK;
            if (r)
                return r;
        } else if (c >= 0x80) {
            /* A sequence of UTF-8 consists of such bytes only, so a run of them is checked as a whole. */
            size_t end = s->pos;
            while (end < s->len && s->text[end] >= 0x80)
                end++;
            if (!parse_is_utf8((const char *)s->text + s->pos, end - s->pos))
                return scan_fail(s, "a string is not UTF-8");
            s->pos = end;
        } else {
            s->pos++;
        }
    }
}

static enum result scan_digits(struct scan *s)
{
    if (!is_digit(peek(s)))
        return scan_fail(s, "a number lacks a digit");
    while (is_digit(peek(s)))
        s->pos++;
    return ERR_OK;
}

static enum result scan_number(struct scan *s)
{
    size_t start = s->pos;
    bool integer = true, negative = peek(s) == '-';
    s->pos += negative;
    if (peek(s) == '0' && s->pos + 1 < s->len && is_digit(s->text[s->pos + 1]))
        return scan_fail(s, "a number starts with a zero");
    enum result r = scan_digits(s);
    if (!r && peek(s) == '.') {
        integer = false;
        s->pos++;
        r = scan_digits(s);
    }
    if (!r && (peek(s) == 'e' || peek(s) == 'E')) {
        integer = false;
        s->pos++;
        s->pos += peek(s) == '+' || peek(s) == '-';
        r = scan_digits(s);
    }
    if (r || !integer)
        return r;
    const char *digits = (const char *)s->text + start;
    int64_t i;
    uint64_t u;
    bool fits =
        negative ? parse_i64(digits, s->pos - start, &i) : parse_u64(digits, s->pos - start, UINT64_MAX, &u);
    if (!fits) {
        s->pos = start;
        enum result out_of_range = scan_fail(s, "an integer is outside of -2^63 to 2^64-1");
        /* The text is JSON, one member of it is wrong: this is the one error of the scan that has a field. */
        if (s->err)
            snprintf(s->err->field, sizeof s->err->field, "%.*s", (int)s->key_len, (const char *)s->text + s->key);
        return out_of_range;
    }
    return ERR_OK;
}

static enum result scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if (s->len - s->pos < n || memcmp(s->text + s->pos, word, n) != 0)
        return scan_fail(s, "a value was expected here");
    s->pos += n;
    return ERR_OK;
}

static enum result scan_open(struct scan *s, bool is_object)
{
    if (s->depth == LIMIT_JSON_DEPTH)
        return err_set(s->err, ERR_INVALID, "the JSON text is nested more than %d deep, at byte %zu",
            LIMIT_JSON_DEPTH, s->pos + 1);
    if (++s->containers > LIMIT_JSON_CONTAINERS)
        return err_set(s->err, ERR_TOO_LARGE, "the JSON text has more than %d objects and arrays",
            LIMIT_JSON_CONTAINERS);
    if (s->depth == 1) {
        s->plain = !is_object && s->is_object[0];
        s->array = s->pos + 1;
        s->length = 0;
    }
    s->plain = s->plain && s->depth == 1;
    s->is_object[s->depth++] = is_object;
    s->pos++;
    return ERR_OK;
}

/* At the bracket that ends the member of the outermost object. */
static void note_numbers(struct scan *s)
{
    if (!s->numbers_wanted || !s->plain || s->length < NUMBERS_MIN || s->numbers_count == NUMBERS_MAX || !s->key_len ||
        memchr(s->text + s->key, '\\', s->key_len))
        return;
    s->numbers[s->numbers_count++] =
        (struct numbers){.key = s->key, .key_len = s->key_len, .begin = s->array, .end = s->pos, .count = s->length};
}

/* A scalar, or the opening bracket of a container; sets what has to follow. */
static enum result scan_value(struct scan *s, enum expect *next)
{
    if (++s->values > LIMIT_JSON_VALUES)
        return err_set(s->err, ERR_TOO_LARGE, "the JSON text has more than %d values", LIMIT_JSON_VALUES);
    *next = EXPECT_SEPARATOR;
    int c = peek(s);
    s->length++;
    s->plain = s->plain && (c == '-' || is_digit(c));
    switch (c) {
    case '{':
        *next = EXPECT_KEY_OR_END;
        return scan_open(s, true);
    case '[':
        *next = EXPECT_VALUE_OR_END;
        return scan_open(s, false);
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        if (c == '-' || is_digit(c))
            return scan_number(s);
        return scan_fail(s, "a value was expected here");
    }
}

static void skip_blanks(struct scan *s)
{
    int c;
    while ((c = peek(s)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        s->pos++;
}

/* A key with its colon. */
static enum result scan_key(struct scan *s)
{
    if (peek(s) != '"')
        return scan_fail(s, "a key in double quotes was expected here");
    size_t start = s->pos + 1;
    enum result r = scan_string(s);
    if (r)
        return r;
    if (s->depth == 1) {
        s->key = start;
        s->key_len = s->pos - 1 - start < ERR_FIELD_MAX ? s->pos - 1 - start : 0;
    }
    skip_blanks(s);
    if (peek(s) != ':')
        return scan_fail(s, "a colon was expected here, after the key");
    s->pos++;
    s->members++;
    return ERR_OK;
}

/* A comma or a closing bracket. */
static enum result scan_separator(struct scan *s, enum expect *next)
{
    bool in_object = s->is_object[s->depth - 1];
    int c = peek(s);
    if (c == ',') {
        *next = in_object ? EXPECT_KEY : EXPECT_VALUE;
    } else if (c == (in_object ? '}' : ']')) {
        if (s->depth == 2 && !in_object)
            note_numbers(s);
        s->depth--;
        *next = EXPECT_SEPARATOR;
    } else {
        return scan_fail(s, in_object ? "a comma or } was expected here" : "a comma or ] was expected here");
    }
    s->pos++;
    return ERR_OK;
}

static enum result scan_text(struct scan *s)
{
    enum expect next = EXPECT_VALUE;
    enum result r = ERR_OK;
    while (!r) {
        skip_blanks(s);
        if (next == EXPECT_SEPARATOR && s->depth == 0)
            return s->pos == s->len ? ERR_OK : scan_fail(s, "something follows after the end of the value");
        bool empty_ends =
            (next == EXPECT_VALUE_OR_END && peek(s) == ']') || (next == EXPECT_KEY_OR_END && peek(s) == '}');
        if (next == EXPECT_SEPARATOR || empty_ends) {
            r = scan_separator(s, &next);
        } else if (next == EXPECT_KEY || next == EXPECT_KEY_OR_END) {
            r = scan_key(s);
            next = EXPECT_VALUE;
        } else {
            r = scan_value(s, &next);
        }
    }
    return r;
}

/* Members of all objects in the tree, whose depth the scan has limited. */
static size_t count_members(struct json_object *value)
{
    size_t n = 0;
    if (json_object_is_type(value, json_type_object)) {
        n = (size_t)json_object_object_length(value);
        json_object_object_foreach(value, key, member)
        {
            (void)key;
            n += count_members(member);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        size_t len = json_object_array_length(value);
        for (size_t i = 0; i < len; i++)
            n += count_members(json_object_array_get_idx(value, i));
    }
    return n;
}

static enum result parse_tree(const char *text, size_t len, struct json_object **out, struct err *err)
{
    /* json-c counts the scalars at the bottom as a level, and stops one before its maximum. */
    struct json_tokener *tokener = json_tokener_new_ex(LIMIT_JSON_DEPTH + 2);
    if (!tokener)
        return err_no_memory(err);
    /* Not JSON_TOKENER_STRICT, with which json-c 0.18 takes bytes beyond ASCII for control characters; the scan was strict. */
    struct json_object *value = json_tokener_parse_ex(tokener, text, (int)len);
    if (json_tokener_get_error(tokener) == json_tokener_continue)
        value = json_tokener_parse_ex(tokener, "", 1); /* a number has no end of its own */
    enum json_tokener_error failed = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    if (failed != json_tokener_success)
        return err_set(
            err, ERR_INVALID, "the JSON text could not be read: %s", json_tokener_error_desc(failed));
    *out = value;
    return ERR_OK;
}

/* The text without what was noted in `numbers`: "[]" is left of each. */
static enum result leave_out(const struct scan *s, size_t start, struct buf *out)
{
    const char *text = (const char *)s->text;
    enum result r = ERR_OK;
    for (unsigned i = 0; i < s->numbers_count && !r; i++) {
        r = buf_append(out, text + start, s->numbers[i].begin - start);
        start = s->numbers[i].end;
    }
    return r ? r : buf_append(out, text + start, s->len - start);
}

/*
 * The number m·10^e, where it comes out as strtod() would round it without the work: m and the power of ten are doubles
 * themselves (below 2^53, at most 10^22), so that one multiplication or division is one rounding (Clinger, "How to read floating
 * point numbers accurately", 1990). Vectors are of such numbers.
 */
static bool is_exact(uint64_t m, int e, double *out)
{
    static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
        1e19, 1e20, 1e21, 1e22};
    static const int most = sizeof tens / sizeof *tens - 1;
    if (FLT_EVAL_METHOD != 0 || m > UINT64_C(1) << 53 || e < -most || e > most)
        return false;
    *out = e < 0 ? (double)m / tens[-e] : (double)m * tens[e];
    return true;
}

struct number {
    enum json_type type;
    bool wide; /* an integer that only fits without a sign */
    double d;
    int64_t i;
    uint64_t u;
};

static struct json_object *number_object(const struct number *n)
{
    if (n->type == json_type_double)
        return json_object_new_double(n->d);
    return n->wide ? json_object_new_uint64(n->u) : json_object_new_int64(n->i);
}

/* As json_object_get_double() has it. */
static double number_double(const struct number *n)
{
    if (n->type == json_type_double)
        return n->d;
    return n->wide ? (double)n->u : (double)n->i;
}

static bool is_between(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next number of an array that the scan has passed. → where it ends */
static const char *next_number(const char *text, struct number *out)
{
    while (is_between(*text))
        text++;
    const char *p = text + (*text == '-');
    uint64_t m = 0; /* with more than MOST digits it means nothing */
    int digits = 0, e = 0;
    enum { MOST = 18 };
    for (; is_digit(*p); p++, digits++)
        m = 10 * m + (uint64_t)(*p - '0');
    bool whole = *p != '.' && *p != 'e' && *p != 'E';
    if (*p == '.')
        for (p++; is_digit(*p); p++, digits++, e--)
            m = 10 * m + (uint64_t)(*p - '0');
    if (*p == 'e' || *p == 'E') {
        int sign = *++p == '-' ? -1 : 1, power = 0;
        p += *p == '-' || *p == '+';
        for (; is_digit(*p); p++)
            power = power < 1000 ? 10 * power + (*p - '0') : power;
        e += sign * power;
    }
    size_t len = (size_t)(p - text);
    *out = (struct number){.type = whole ? json_type_int : json_type_double};
    if (!whole)
        out->d = digits > MOST || !is_exact(m, e, &out->d) ? strtod(text, NULL) : *text == '-' ? -out->d : out->d;
    else if (!parse_i64(text, len, &out->i))
        out->wide = parse_u64(text, len, UINT64_MAX, &out->u); /* the scan has let no others pass */
    return p;
}

static enum result put_in(const struct scan *s, const struct numbers *n, struct json_object *root, struct err *err)
{
    char key[ERR_FIELD_MAX + 1];
    memcpy(key, s->text + n->key, n->key_len);
    key[n->key_len] = '\0';
    struct json_object *array = json_member(root, key);
    const char *at = (const char *)s->text + n->begin;
    for (size_t i = 0; i < n->count; i++) {
        struct number number;
        at = next_number(at, &number);
        struct json_object *object = number_object(&number);
        if (!object || json_object_array_add(array, object)) {
            json_object_put(object);
            return err_no_memory(err);
        }
    }
    return ERR_OK;
}

static enum result put_apart(const struct scan *s, const struct numbers *n, struct err *err)
{
    struct json_numbers *apart = s->apart;
    apart->values = malloc(n->count * sizeof *apart->values);
    if (!apart->values)
        return err_no_memory(err);
    apart->count = n->count;
    const char *at = (const char *)s->text + n->begin;
    for (size_t i = 0; i < n->count; i++) {
        struct number number;
        at = next_number(at, &number);
        apart->values[i] = number_double(&number);
    }
    return ERR_OK;
}

static bool is_apart(const struct scan *s, const struct numbers *n)
{
    return s->apart && n->key_len == strlen(s->apart->name) && memcmp(s->text + n->key, s->apart->name, n->key_len) == 0;
}

static enum result build(const struct scan *s, size_t start, struct json_object **out, struct err *err)
{
    struct buf rest;
    struct json_object *value = NULL;
    enum result r;
    buf_init(&rest, s->len + 1);
    if (!s->numbers_count)
        r = parse_tree((const char *)s->text + start, s->len - start, &value, err);
    else if (leave_out(s, start, &rest))
        r = err_no_memory(err);
    else
        r = parse_tree(rest.data, rest.len, &value, err);
    buf_free(&rest);
    if (!r && count_members(value) != s->members)
        r = err_set(err, ERR_INVALID, "the JSON text has the same key twice in one object");
    for (unsigned i = 0; i < s->numbers_count && !r; i++)
        r = is_apart(s, &s->numbers[i]) ? put_apart(s, &s->numbers[i], err) : put_in(s, &s->numbers[i], value, err);
    if (!r) {
        *out = value;
        return ERR_OK;
    }
    json_object_put(value);
    if (s->apart)
        json_numbers_free(s->apart);
    return r;
}

static enum result parse(const char *text, size_t len, bool numbers, struct json_numbers *apart, struct json_object **out, struct err *err)
{
    if (len > INT32_MAX - 1) /* json-c counts with int */
        return err_set(err, ERR_TOO_LARGE, "the JSON text is longer than 2 GiB");
    struct scan scan = {.text = (const unsigned char *)text, .len = len, .numbers_wanted = numbers, .apart = apart, .err = err};
    size_t start = parse_mark(text, len);
    scan.pos = start;
    enum result r = scan_text(&scan);
    return r ? r : build(&scan, start, out, err);
}

enum result json_parse(const char *text, size_t len, struct json_object **out, struct err *err)
{
    return parse(text, len, false, NULL, out, err);
}

enum result json_parse_body(const char *text, size_t len, struct json_numbers *apart, struct json_object **out, struct err *err)
{
    if (apart)
        *apart = (struct json_numbers){.name = apart->name};
    return parse(text, len, true, apart, out, err);
}

void json_numbers_free(struct json_numbers *numbers)
{
    free(numbers->values);
    numbers->values = NULL;
    numbers->count = 0;
}

/* --- reading members ------------------------------------------------------------------------------------ */

struct json_object *json_member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, name, &value))
        return NULL;
    return value;
}

enum result json_get_string(
    struct json_object *object, const char *name, bool *found, const char **out, size_t *len, struct err *err)
{
    struct json_object *value = json_member(object, name);
    if (value && !json_object_is_type(value, json_type_string))
        return err_set_field(err, ERR_INVALID, name, "`%s` must be a string", name);
    *found = value != NULL;
    if (value) {
        *out = json_object_get_string(value);
        *len = (size_t)json_object_get_string_len(value);
    }
    return ERR_OK;
}

enum result json_get_i64(
    struct json_object *object, const char *name, bool *found, int64_t *out, struct err *err)
{
    struct json_object *value = json_member(object, name);
    int64_t v = 0;
    bool good = true;
    if (value && json_object_is_type(value, json_type_int)) {
        v = json_object_get_int64(value);
        /* json-c clamps what only fits without a sign. */
        good = v != INT64_MAX || json_object_get_uint64(value) == INT64_MAX;
    } else if (value && json_object_is_type(value, json_type_string)) {
        good = parse_i64(json_object_get_string(value), (size_t)json_object_get_string_len(value), &v);
    } else if (value) {
        good = false;
    }
    if (!good)
        return err_set_field(err, ERR_INVALID, name, "`%s` must be an integer of 64 bits", name);
    *found = value != NULL;
    if (value)
        *out = v;
    return ERR_OK;
}

enum result json_get_bool(
    struct json_object *object, const char *name, bool *found, bool *out, struct err *err)
{
    struct json_object *value = json_member(object, name);
    if (value && !json_object_is_type(value, json_type_boolean))
        return err_set_field(err, ERR_INVALID, name, "`%s` must be true or false", name);
    *found = value != NULL;
    if (value)
        *out = json_object_get_boolean(value);
    return ERR_OK;
}

enum result json_get_double(
    struct json_object *object, const char *name, bool *found, double *out, struct err *err)
{
    struct json_object *value = json_member(object, name);
    bool number = json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
    double v = number ? json_object_get_double(value) : 0;
    if (value && (!number || !isfinite(v))) /* 1e999 is a JSON number, but no double */
        return err_set_field(err, ERR_INVALID, name, "`%s` must be a number", name);
    *found = value != NULL;
    if (value)
        *out = v;
    return ERR_OK;
}

/* --- writing -------------------------------------------------------------------------------------------- */

enum result json_append_string(struct buf *out, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t before = out->len, done = 0;
    enum result r = buf_append(out, "\"", 1);
    for (size_t i = 0; !r && i < len;) {
        if (len - i >= 8 && all_plain(p + i)) {
            i += 8;
            continue;
        }
        if (p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
            i++;
            continue;
        }
        static const char names[] = "btn\0fr"; /* of 0x08 … 0x0d */
        char escape[8] = {'\\', (char)p[i]};
        if (p[i] >= 0x08 && p[i] <= 0x0d && p[i] != 0x0b)
            escape[1] = names[p[i] - 0x08];
        else if (p[i] < 0x20)
            snprintf(escape, sizeof escape, "\\u%04x", p[i]);
        r = buf_append(out, text + done, i - done);
        if (!r)
            r = buf_append_str(out, escape);
        done = ++i;
    }
    if (!r)
        r = buf_append(out, text + done, len - done);
    if (!r)
        r = buf_append(out, "\"", 1);
    if (r && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    return r;
}

/*
 * The decimal digits of a positive float with as few digits as read back the same: value = digits ·
 * 10^-scale.
 *
 * m / 10^k with m < 2^53 and k ≤ 22 is one correctly rounded division of exact doubles. Rounding that double
 * to a float gives what rounding the decimal number itself would, unless the double lies exactly halfway
 * between two floats (its low 29 bits are 1 followed by zeros); then, and outside of the range where k fits,
 * false: the caller takes the slow way.
 */
static bool shortest(float value, uint64_t *digits, int *scale)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13,
        1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (!(value >= 1e-12f && value < 1e6f))
        return false;
    int first = 5; /* decimal places for six digits; a float always keeps that many */
    for (; (double)value * powers[first] < 1e5; first++)
        ;
    for (; first > 0 && (double)value * powers[first] >= 1e6; first--)
        ;
    for (int k = first; k < first + 4; k++) {
        uint64_t m = (uint64_t)((double)value * powers[k] + 0.5);
        double back = (double)m / powers[k];
        uint64_t pattern;
        memcpy(&pattern, &back, sizeof pattern);
        if ((pattern & 0x1fffffff) == 0x10000000)
            return false;
        if ((float)back == value) {
            for (; k > 0 && m % 10 == 0; k--)
                m /= 10;
            *digits = m;
            *scale = k;
            return true;
        }
    }
    return false;
}

/* digits · 10^-scale, with 0 ≤ scale ≤ 22 and digits < 2^53; small ones with an exponent. */
static size_t format_digits(char *out, bool negative, uint64_t digits, int scale)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, digits);
    size_t at = 0;
    if (negative)
        out[at++] = '-';
    int point = n - scale; /* digits before the point */
    if (point < -3) {
        out[at++] = text[0];
        if (n > 1)
            out[at++] = '.';
        memcpy(out + at, text + 1, (size_t)(n - 1));
        at += (size_t)(n - 1);
        return at + (size_t)snprintf(out + at, 8, "e-%d", 1 - point);
    }
    if (point <= 0) {
        memcpy(out + at, "0.000", (size_t)(2 - point));
        at += (size_t)(2 - point);
        memcpy(out + at, text, (size_t)n);
        return at + (size_t)n;
    }
    memcpy(out + at, text, (size_t)point);
    at += (size_t)point;
    if (scale > 0) {
        out[at++] = '.';
        memcpy(out + at, text + point, (size_t)scale);
        at += (size_t)scale;
    }
    return at;
}

enum result json_append_float(struct buf *out, float value)
{
    char text[48];
    size_t len;
    uint64_t digits;
    int scale;
    if (!isfinite(value))
        return buf_append_str(out, "null");
    if (value == 0)
        return buf_append_str(out, signbit(value) ? "-0.0" : "0");
    if (shortest(fabsf(value), &digits, &scale)) {
        len = format_digits(text, value < 0, digits, scale);
        return buf_append(out, text, len);
    }
    for (int p = 1; p <= 9; p++) { /* nine digits tell any two floats apart */
        snprintf(text, sizeof text, "%.*g", p, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    char *comma = strchr(text, ','); /* of a locale that somebody has set */
    if (comma)
        *comma = '.';
    return buf_append_str(out, text);
}
