#include "filter/lexer.h"

#include <string.h>

/*
 * Maximal munch, as ANTLR does it for the grammar this follows; where two rules match the same length, the
 * keyword wins over the name. Two consequences are worth knowing: a path is one token, so `in[1]` is a path
 * and not the operator `in` (while `in[1, 2]` is), and "is null" is one token with exactly one blank in it.
 */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_octal(int c)
{
    return c >= '0' && c <= '7';
}

static bool is_hex(int c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_name_start(int c)
{
    return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
}

static bool is_name(int c)
{
    return is_name_start(c) || is_digit(c);
}

/* The byte at a position, or -1. */
static int at(const struct lexer *l, size_t pos)
{
    return pos < l->len ? (unsigned char)l->text[pos] : -1;
}

static size_t run(const struct lexer *l, size_t pos, bool (*is)(int))
{
    while (is(at(l, pos)))
        pos++;
    return pos;
}

unsigned filter_column(const char *text, size_t pos)
{
    unsigned column = 1;
    for (size_t i = 0; i < pos; i++)
        column += ((unsigned char)text[i] & 0xc0) != 0x80;
    return column;
}

/* Behind an escape sequence whose backslash is at `pos`; 0 where there is none. */
static size_t lex_escape(const struct lexer *l, size_t pos)
{
    int c = at(l, ++pos);
    if (c < 0)
        return 0;
    if (is_octal(c)) {
        size_t end = pos + 1;
        while (end < pos + 3 && is_octal(at(l, end)))
            end++;
        return end;
    }
    if (c == 'x')
        return is_hex(at(l, pos + 1)) ? run(l, pos + 1, is_hex) : 0;
    if (c == 'u' || c == 'U') {
        size_t end = pos + 1 + (c == 'u' ? 4 : 8);
        for (size_t i = pos + 1; i < end; i++)
            if (!is_hex(at(l, i)))
                return 0;
        return end;
    }
    return c && strchr("'\"?abfnrtv\\", c) ? pos + 1 : 0;
}

size_t filter_lex_string(const struct lexer *l, size_t start, size_t *wrong)
{
    int quote = at(l, start);
    size_t pos = start + 1;
    while (at(l, pos) != quote) {
        int c = at(l, pos);
        size_t next = pos + 1;
        if (c == '\\')
            next = lex_escape(l, pos);
        if (c < 0 || c == '\n' || c == '\r' || next == 0) {
            *wrong = pos;
            return 0;
        }
        pos = next;
    }
    return pos + 1;
}

/* Behind the exponent at `pos`, which starts with `letter` in either case; `pos` itself where there is none.
 */
static size_t lex_exponent(const struct lexer *l, size_t pos, int letter)
{
    if ((at(l, pos) | 0x20) != letter)
        return pos;
    size_t digits = pos + 1;
    digits += at(l, digits) == '+' || at(l, digits) == '-';
    return is_digit(at(l, digits)) ? run(l, digits, is_digit) : pos;
}

/* After "0x". A float needs its exponent. */
static struct token lex_hex(const struct lexer *l, size_t start)
{
    size_t digits = start + 2, end = run(l, digits, is_hex), point = end;
    bool any = end > digits;
    if (at(l, point) == '.') {
        point = run(l, point + 1, is_hex);
        any = any || point > end + 1;
    }
    size_t exponent = any ? lex_exponent(l, point, 'p') : point;
    if (exponent > point)
        return (struct token){LEX_FLOAT, start, exponent - start};
    if (end > digits)
        return (struct token){LEX_INT, start, end - start};
    return (struct token){LEX_INT, start, 1}; /* "0", and then a name that starts with x */
}

static bool is_binary(int c)
{
    return c == '0' || c == '1';
}

/* At a digit, or at a point with a digit behind it. */
static struct token lex_number(const struct lexer *l, size_t start)
{
    int second = at(l, start) == '0' ? at(l, start + 1) | 0x20 : 0;
    if (second == 'x')
        return lex_hex(l, start);
    if (second == 'b' && is_binary(at(l, start + 2)))
        return (struct token){LEX_INT, start, run(l, start + 2, is_binary) - start};

    size_t digits = run(l, start, is_digit), end = digits;
    if (at(l, end) == '.')
        end = run(l, end + 1, is_digit);
    end = lex_exponent(l, end, 'e');
    if (end > digits)
        return (struct token){LEX_FLOAT, start, end - start};
    if (at(l, start) == '0')
        digits = run(l, start + 1, is_octal); /* 08 is a 0 and an 8 */
    return (struct token){LEX_INT, start, digits - start};
}

/* Behind as many "[…]" as make a path; `pos` where there is none. */
static size_t lex_path(const struct lexer *l, size_t pos)
{
    for (;;) {
        size_t end, wrong;
        int c = at(l, pos) == '[' ? at(l, pos + 1) : -1;
        if (c == '"' || c == '\'')
            end = filter_lex_string(l, pos + 1, &wrong);
        else if (c == '0')
            end = pos + 2;
        else if (is_digit(c))
            end = run(l, pos + 1, is_digit);
        else
            return pos;
        if (end == 0 || at(l, end) != ']')
            return pos;
        pos = end + 1;
    }
}

static const struct {
    const char *name;
    enum lex_kind kind;
} keywords[] = {
    {"and", LEX_AND},
    {"AND", LEX_AND},
    {"or", LEX_OR},
    {"OR", LEX_OR},
    {"not", LEX_NOT},
    {"NOT", LEX_NOT},
    {"in", LEX_IN},
    {"IN", LEX_IN},
    {"like", LEX_LIKE},
    {"LIKE", LEX_LIKE},
    {"exists", LEX_EXISTS},
    {"EXISTS", LEX_EXISTS},
    {"true", LEX_TRUE},
    {"True", LEX_TRUE},
    {"TRUE", LEX_TRUE},
    {"false", LEX_FALSE},
    {"False", LEX_FALSE},
    {"FALSE", LEX_FALSE},
    {"json_contains", LEX_CONTAINS},
    {"JSON_CONTAINS", LEX_CONTAINS},
    {"array_contains", LEX_CONTAINS},
    {"ARRAY_CONTAINS", LEX_CONTAINS},
    {"json_contains_all", LEX_CONTAINS_ALL},
    {"JSON_CONTAINS_ALL", LEX_CONTAINS_ALL},
    {"array_contains_all", LEX_CONTAINS_ALL},
    {"ARRAY_CONTAINS_ALL", LEX_CONTAINS_ALL},
    {"json_contains_any", LEX_CONTAINS_ANY},
    {"JSON_CONTAINS_ANY", LEX_CONTAINS_ANY},
    {"array_contains_any", LEX_CONTAINS_ANY},
    {"ARRAY_CONTAINS_ANY", LEX_CONTAINS_ANY},
    {"array_length", LEX_LENGTH},
    {"ARRAY_LENGTH", LEX_LENGTH},
    {"text_match", LEX_UNSUPPORTED},
    {"TEXT_MATCH", LEX_UNSUPPORTED},
    {"phrase_match", LEX_UNSUPPORTED},
    {"PHRASE_MATCH", LEX_UNSUPPORTED},
    {"random_sample", LEX_UNSUPPORTED},
    {"RANDOM_SAMPLE", LEX_UNSUPPORTED},
};

static bool starts(const struct lexer *l, size_t pos, const char *word)
{
    size_t n = strlen(word);
    return l->len - pos >= n && memcmp(l->text + pos, word, n) == 0;
}

/* At the start of a name. */
static struct token lex_name(const struct lexer *l, size_t start)
{
    size_t end = run(l, start, is_name), path = lex_path(l, end), wrong;
    if (path > end)
        return (struct token){LEX_PATH, start, path - start};

    struct token t = {LEX_NAME, start, end - start};
    if ((at(l, end) == '"' || at(l, end) == '\'') && t.len <= 2 && (t.len == 1 || starts(l, start, "u8")) &&
        strchr("uUL", l->text[start])) {
        size_t close = filter_lex_string(l, end, &wrong);
        if (close)
            return (struct token){LEX_PREFIXED, start, close - start};
    }
    if (t.len == 2 && (starts(l, start, "is null") || starts(l, start, "IS NULL")))
        return (struct token){LEX_NULL, start, strlen("is null")};
    if (t.len == 2 && (starts(l, start, "is not null") || starts(l, start, "IS NOT NULL")))
        return (struct token){LEX_NOTNULL, start, strlen("is not null")};
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (strlen(keywords[i].name) == t.len && starts(l, start, keywords[i].name))
            t.kind = keywords[i].kind;
    if (starts(l, start, "st_") || starts(l, start, "ST_"))
        t.kind = LEX_UNSUPPORTED;
    return t;
}

static const struct {
    const char *text;
    enum lex_kind kind;
} symbols[] = {
    /* the longer ones first */
    {"<=", LEX_LE},
    {">=", LEX_GE},
    {"==", LEX_EQ},
    {"!=", LEX_NE},
    {"**", LEX_POW},
    {"&&", LEX_AND},
    {"||", LEX_OR},
    {"<<", LEX_BIT},
    {">>", LEX_BIT},
    {"<", LEX_LT},
    {">", LEX_GT},
    {"+", LEX_ADD},
    {"-", LEX_SUB},
    {"*", LEX_MUL},
    {"/", LEX_DIV},
    {"%", LEX_MOD},
    {"&", LEX_BIT},
    {"|", LEX_BIT},
    {"^", LEX_BIT},
    {"~", LEX_TILDE},
    {"!", LEX_NOT},
    {"(", LEX_LPAREN},
    {")", LEX_RPAREN},
    {"[", LEX_LBRACKET},
    {"]", LEX_RBRACKET},
    {"{", LEX_LBRACE},
    {"}", LEX_RBRACE},
    {",", LEX_COMMA},
};

static struct token lex_symbol(const struct lexer *l, size_t start)
{
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        if (starts(l, start, symbols[i].text))
            return (struct token){symbols[i].kind, start, strlen(symbols[i].text)};
    size_t end = start + 1;
    while ((at(l, end) & 0xc0) == 0x80)
        end++;
    return (struct token){LEX_BAD, start, end - start};
}

struct token filter_lex(struct lexer *l)
{
    while (l->pos < l->len && memchr(" \t\r\n", l->text[l->pos], 4))
        l->pos++;
    int c = at(l, l->pos);
    struct token t = {LEX_END, l->pos, 0};
    if (c < 0)
        return t;
    if (is_name_start(c)) {
        t = lex_name(l, l->pos);
    } else if (is_digit(c) || (c == '.' && is_digit(at(l, l->pos + 1)))) {
        t = lex_number(l, l->pos);
    } else if (c == '"' || c == '\'') {
        size_t wrong = 0, end = filter_lex_string(l, l->pos, &wrong);
        t = end ? (struct token){LEX_STRING, l->pos, end - l->pos}
                : (struct token){LEX_BADSTR, l->pos, wrong - l->pos};
    } else {
        t = lex_symbol(l, l->pos);
    }
    l->pos = t.start + t.len;
    return t;
}
