#include "filter/check.h"

#include "base/parse.h"

#include <stdarg.h>
#include <strings.h>

/* Sentences about what stands where it should not, and what the user probably meant. */

enum result filter_fail_as(struct parse *p, enum result code, size_t at, const char *format, ...)
{
    char why[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    unsigned column = filter_column(p->lexer.text, at);
    err_set_field(p->err, code, "filter", "the filter is wrong at column %u: %.440s", column, why);
    if (p->err)
        p->err->column = column;
    return code;
}

enum result filter_fail(struct parse *p, size_t at, const char *format, ...)
{
    char why[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return filter_fail_as(p, ERR_INVALID, at, "%s", why);
}

const char *filter_quote(const struct parse *p, size_t start, size_t end, char out[FILTER_QUOTE_MAX])
{
    const char *text = p->lexer.text + start;
    size_t len = end > start ? end - start : 0, n = len;
    if (n > FILTER_QUOTE_MAX - 4) {
        n = FILTER_QUOTE_MAX - 4;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
    memcpy(out + n, n < len ? "…" : "", n < len ? 4 : 1);
    return out;
}

static bool token_is(const struct parse *p, struct token t, const char *word)
{
    return t.len == strlen(word) && strncasecmp(p->lexer.text + t.start, word, t.len) == 0;
}

static bool text_at(const struct parse *p, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at <= p->lexer.len && p->lexer.len - at >= n && memcmp(p->lexer.text + at, what, n) == 0;
}

/* Words of SQL and of other languages, in any case, that are something else here. */
static const struct {
    const char *word, *advice;
} words[] = {
    {"and", "write \"and\" or \"AND\""},
    {"or", "write \"or\" or \"OR\""},
    {"not", "write \"not\" or \"NOT\""},
    {"in", "write \"in\" or \"IN\""},
    {"like", "write \"like\" or \"LIKE\""},
    {"exists", "write \"exists\" or \"EXISTS\""},
    {"true", "write true, True or TRUE"},
    {"false", "write false, False or FALSE"},
    {"is", "\"is null\" and \"is not null\" are written with exactly one blank, and all small or all capital "
           "letters"},
    {"null", "there is no null; write exists brief[\"key\"], or field is null"},
    {"none", "there is no null; write exists brief[\"key\"], or field is null"},
    {"nil", "there is no null; write exists brief[\"key\"], or field is null"},
    {"between", "write 1 <= field <= 9"},
    {"contains", "write array_contains(tags, \"x\") or field like \"%x%\""},
    {"ilike", "there is only \"like\", in which small and capital letters differ"},
    {"regexp", "there is only \"like\""},
    {"xor", "there are only \"and\", \"or\" and \"not\""},
};

static const char *word_advice(const struct parse *p, struct token t)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (token_is(p, t, words[i].word))
            return words[i].advice;
    return NULL;
}

static const struct {
    const char *found, *advice;
} characters[] = {
    {"=~", "there is only \"like\"; regular expressions are not supported"},
    {"=", "two values are compared with =="},
    {".", "a key of brief is written brief[\"key\"]"},
    {"，", "use the comma of ASCII: ,"},
    {"（", "use the brackets of ASCII: ( )"},
    {"）", "use the brackets of ASCII: ( )"},
    {"“", "use the quotes of ASCII: \"text\""},
    {"”", "use the quotes of ASCII: \"text\""},
    {"‘", "use the quotes of ASCII: 'text'"},
    {"’", "use the quotes of ASCII: 'text'"},
    {"＝", "use the sign of ASCII: =="},
    {"＞", "use the sign of ASCII: >"},
    {"＜", "use the sign of ASCII: <"},
    {"！", "use the sign of ASCII: !="},
    {"　", "use the blank of ASCII"},
    {"\xc2\xa0", "this is a no-break space; use an ordinary blank"},
    {"`", "names are written without quotes, text in \" or '"},
    {";", "a filter is one expression, without a \";\""},
};

static enum result bad_character(struct parse *p, struct token t, const char *expected)
{
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++)
        if (text_at(p, t.start, characters[i].found))
            return filter_fail(p, t.start, "found \"%s\"; %s", characters[i].found, characters[i].advice);
    unsigned char c = (unsigned char)p->lexer.text[t.start];
    if (c < 0x20 || c == 0x7f)
        return filter_fail(p, t.start, "found the control character 0x%02x, expected %s", c, expected);
    return filter_fail(
        p, t.start, "found \"%.*s\", expected %s", (int)t.len, p->lexer.text + t.start, expected);
}

static enum result bad_string(struct parse *p, struct token t)
{
    size_t wrong = t.start + t.len;
    if (wrong >= p->lexer.len)
        return filter_fail(p, t.start, "the text that starts here is not closed; a second %c is missing",
            p->lexer.text[t.start]);
    if (p->lexer.text[wrong] != '\\')
        return filter_fail(p, wrong, "a line ends inside of a text; a line break is written \\n");
    return filter_fail(
        p, wrong, "found \"\\\" and a character that is no escape; a backslash is written \\\\");
}

/* A "[" right behind a name, where no path could be read. */
static enum result bad_path(struct parse *p, struct token t)
{
    size_t next = t.start + 1, wrong = 0;
    char c = next < p->lexer.len ? p->lexer.text[next] : '\0';
    if (c == '"' || c == '\'') {
        size_t end = filter_lex_string(&p->lexer, next, &wrong);
        if (end == 0)
            return bad_string(p, (struct token){LEX_BADSTR, next, wrong - next});
        return filter_fail(p, end, "a \"]\" is missing behind the key");
    }
    if (c == ' ' || c == '\t')
        return filter_fail(p, next, "no blank may stand in brief[\"key\"]");
    if (c == '-')
        return filter_fail(p, next, "an index counts from 0 and is never negative");
    if (c == ']')
        return filter_fail(p, next, "found \"]\", expected a key in quotes or an index");
    if (c >= '0' && c <= '9')
        return filter_fail(
            p, next, "an index is written in decimal digits, without zeros in front, and closed with \"]\"");
    return filter_fail(p, next, "expected a key in quotes or an index, as in brief[\"key\"] or brief[0]");
}

enum result filter_unexpected(struct parse *p, struct token t, const char *expected)
{
    char text[FILTER_QUOTE_MAX];
    size_t end = t.start + t.len;
    const char *advice;
    filter_quote(p, t.start, end, text);
    switch (t.kind) {
    case LEX_END:
        return filter_fail(p, t.start, "the filter ends here, expected %s", expected);
    case LEX_BAD:
        return bad_character(p, t, expected);
    case LEX_BADSTR:
        return bad_string(p, t);
    case LEX_PREFIXED:
        return filter_fail(p, t.start, "text is written without a letter before its quotes");
    case LEX_LBRACE:
        return filter_fail_as(p, ERR_UNSUPPORTED, t.start,
            "templates such as {name} are not supported; write the value itself");
    case LEX_UNSUPPORTED:
        return filter_fail_as(p, ERR_UNSUPPORTED, t.start, "%s is not supported", text);
    case LEX_LBRACKET:
        if (t.start > 0 && (p->lexer.text[t.start - 1] == '_' || strchr("dsf", p->lexer.text[t.start - 1])))
            return bad_path(p, t);
        return filter_fail(p, t.start,
            "found \"[\", expected %s; a key stands directly behind its field: brief[\"key\"]", expected);
    case LEX_NULL:
    case LEX_NOTNULL:
        return filter_fail(p, t.start, "\"%s\" must stand directly behind a field", text);
    case LEX_EQ:
        return filter_fail(p, t.start, "found \"==\", expected %s", expected);
    case LEX_PATH:
        if (text_at(p, t.start, "in[") || text_at(p, t.start, "IN["))
            return filter_fail(
                p, t.start, "found \"%s\", which reads as one name; put a blank behind \"in\"", text);
        break;
    case LEX_NAME:
        advice = word_advice(p, t);
        if (advice)
            return filter_fail(p, t.start, "found \"%s\"; %s", text, advice);
        break;
    default:
        break;
    }
    return filter_fail(p, t.start, "found \"%s\", expected %s", text, expected);
}

enum result filter_unknown_name(struct parse *p, struct token t)
{
    static const char *const fields[] = {"fileid", "itemid", "tags", "brief"};
    static const char *const functions[] = {"json_contains", "json_contains_all", "json_contains_any",
        "array_contains", "array_contains_all", "array_contains_any", "array_length"};
    char text[FILTER_QUOTE_MAX];
    filter_quote(p, t.start, t.start + t.len, text);
    struct lexer ahead = {.text = p->lexer.text, .len = p->lexer.len, .pos = t.start + t.len};
    if (t.kind == LEX_NAME && filter_lex(&ahead).kind == LEX_LPAREN) {
        for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
            if (token_is(p, t, functions[i]))
                return filter_fail(p, t.start,
                    "the name of a function is all small or all capital letters: %s", functions[i]);
        return filter_fail(p, t.start,
            "there is no function \"%s\"; there are json_contains, array_contains (each also with _all, "
            "_any) and array_length",
            text);
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (token_is(p, t, fields[i]))
            return filter_fail(
                p, t.start, "\"%s\" is no field; names are written in small letters: %s", text, fields[i]);
    const char *advice = t.kind == LEX_NAME ? word_advice(p, t) : NULL;
    if (advice)
        return filter_fail(p, t.start, "found \"%s\"; %s", text, advice);
    if (t.kind == LEX_PATH)
        return filter_fail(
            p, t.start, "\"%s\" begins with no field; the fields are fileid, itemid, tags and brief", text);
    return filter_fail(p, t.start,
        "\"%s\" is no field; the fields are fileid, itemid, tags and brief, a key of brief is brief[\"%s\"], "
        "and text stands in quotes",
        text, text);
}
