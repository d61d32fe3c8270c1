#include "filter/check.h"

#include "base/limits.h"
#include "base/parse.h"
#include "filter/literal.h"

/*
 * Precedence climbing: parse_expression(min) reads one operand and then every operator that binds at least as
 * tightly as `min`. The table is the order of alternatives in Milvus's grammar, which surprises in one place:
 * `not`, like any prefix operator, binds tighter than comparisons, so `not a == 1` is `(not a) == 1` and
 * refused.
 *
 * A tree is checked while it is read (check.h): an operand is a constant, a field, something computed, or a
 * finished test. Only brackets and prefix operators nest, so their depth bounds the recursion; chains of
 * `and` and `or` of any length become one node.
 */

enum precedence {
    PREC_OR = 1,
    PREC_AND,
    PREC_BITS,
    PREC_EQUAL,
    PREC_ORDER,
    PREC_RANGE,
    PREC_IN,
    PREC_SHIFT,
    PREC_ADD,
    PREC_MUL,
    PREC_UNARY,
    PREC_POW,
    PREC_LIKE,
    PREC_EXISTS,
};

static enum result parse_expression(struct parse *p, int min, struct operand *out);

static void advance(struct parse *p)
{
    p->token = filter_lex(&p->lexer);
}

/* The token behind the current one. */
static struct token peek(const struct parse *p)
{
    struct lexer ahead = p->lexer;
    return filter_lex(&ahead);
}

static struct filter_bytes token_bytes(const struct parse *p, struct token t)
{
    return (struct filter_bytes){p->lexer.text + t.start, t.len};
}

static size_t token_end(struct token t)
{
    return t.start + t.len;
}

static enum result enter(struct parse *p, size_t at)
{
    if (p->depth == LIMIT_FILTER_DEPTH)
        return filter_fail_as(
            p, ERR_TOO_LARGE, at, "brackets are nested more than %d deep", LIMIT_FILTER_DEPTH);
    p->depth++;
    return ERR_OK;
}

static enum result expect(struct parse *p, enum lex_kind kind, const char *what)
{
    if (p->token.kind != kind)
        return filter_unexpected(p, p->token, what);
    advance(p);
    return ERR_OK;
}

/* --- operands
 * ------------------------------------------------------------------------------------------------------ */

/* 2^63 is the one number that only exists behind a minus; `min_allowed` says that one stands before it. */
static enum result parse_int(struct parse *p, bool min_allowed, struct operand *out)
{
    uint64_t value;
    bool fits = filter_literal_int(token_bytes(p, p->token), &value);
    if (!fits || value > (uint64_t)INT64_MAX + (min_allowed ? 1 : 0))
        return filter_fail(
            p, p->token.start, "this integer is too large; the largest is 9223372036854775807");
    out->value = (struct filter_value){.kind = FILTER_INT, .i = (int64_t)value};
    return ERR_OK;
}

static enum result parse_constant(struct parse *p, struct operand *out)
{
    struct filter_bytes token = token_bytes(p, p->token);
    out->kind = OPERAND_CONST;
    enum result r = ERR_OK;
    size_t wrong = 0;
    const char *why = "";
    switch (p->token.kind) {
    case LEX_INT:
        r = parse_int(p, false, out);
        break;
    case LEX_FLOAT:
        out->value.kind = FILTER_FLOAT;
        r = filter_literal_float(p->filter, token, &out->value.f);
        if (r == ERR_INVALID)
            r = filter_fail(p, p->token.start, "this number is too large");
        break;
    case LEX_STRING:
        out->value.kind = FILTER_STRING;
        r = filter_literal_string(p->filter, token, &out->value.s, &wrong, &why);
        if (r == ERR_INVALID)
            r = filter_fail(p, p->token.start + wrong, "%s", why);
        break;
    default: /* LEX_TRUE, LEX_FALSE */
        out->value = (struct filter_value){.kind = FILTER_BOOL, .b = p->token.kind == LEX_TRUE};
        out->written = true;
    }
    if (r == ERR_NO_MEMORY)
        return err_no_memory(p->err);
    if (!r)
        advance(p);
    return r;
}

/* brief[…], tags[…] */
static enum result path_field(struct parse *p, struct token t, struct filter_bytes name, struct operand *out)
{
    struct filter_field *f = &out->field;
    bool quoted;
    size_t wrong = 0, depth;
    const char *why = "";
    char text[FILTER_QUOTE_MAX];
    if (f->kind == FILTER_FILEID || f->kind == FILTER_ITEMID)
        return filter_fail(
            p, t.start + name.len, "%.*s is an integer and has no parts", (int)name.len, name.data);
    enum result r =
        filter_literal_path(p->filter, token_bytes(p, t), &f->path, &depth, &quoted, &wrong, &why);
    if (r == ERR_INVALID)
        return filter_fail(p, t.start + wrong, "%s", why);
    if (r)
        return err_no_memory(p->err);
    f->depth = depth;
    if (f->kind == FILTER_BRIEF)
        return ERR_OK;
    if (quoted)
        return filter_fail(p, t.start + name.len + 1,
            "tags is a list; a number without quotes is expected in %s",
            filter_quote(p, t.start, token_end(t), text));
    if (depth > 1)
        return filter_fail(p, t.start + name.len, "a tag is a string and has no parts");
    f->kind = FILTER_TAG;
    if (!filter_literal_int(f->path[0], &f->index))
        return filter_fail(p, t.start + name.len + 1, "this index is too large");
    f->path = NULL;
    f->depth = 0;
    return ERR_OK;
}

/* A LEX_NAME or LEX_PATH, without what follows it. */
static enum result parse_field(struct parse *p, struct token t, struct operand *out)
{
    static const struct {
        const char *name;
        enum filter_field_kind kind;
    } fields[] = {
        {"fileid", FILTER_FILEID}, {"itemid", FILTER_ITEMID}, {"tags", FILTER_TAGS}, {"brief", FILTER_BRIEF}};
    struct filter_bytes name = token_bytes(p, t);
    const char *bracket = memchr(name.data, '[', name.len);
    if (bracket)
        name.len = (size_t)(bracket - name.data);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strlen(fields[i].name) != name.len || memcmp(fields[i].name, name.data, name.len) != 0)
            continue;
        *out = (struct operand){.kind = OPERAND_FIELD, .start = t.start, .end = token_end(t)};
        out->field.kind = fields[i].kind;
        return bracket ? path_field(p, t, name, out) : ERR_OK;
    }
    return filter_unknown_name(p, t);
}

static enum result parse_name(struct parse *p, struct operand *out)
{
    enum result r = parse_field(p, p->token, out);
    if (r)
        return r;
    advance(p);
    if (p->token.kind == LEX_NULL || p->token.kind == LEX_NOTNULL) {
        struct operand field = *out;
        field.end = token_end(p->token);
        r = filter_check_null(p, p->token.kind == LEX_NOTNULL, &field, out);
        if (!r)
            advance(p);
    }
    return r;
}

static enum result list_append(
    struct parse *p, struct filter_value *list, size_t *room, const struct operand *element)
{
    char text[FILTER_QUOTE_MAX];
    if (element->kind != OPERAND_CONST)
        return filter_fail(p, element->start, "a list holds constants, and \"%s\" is none",
            filter_quote(p, element->start, element->end, text));
    if (list->list.count == LIMIT_FILTER_LIST)
        return filter_fail_as(
            p, ERR_TOO_LARGE, element->start, "a list has more than %d elements", LIMIT_FILTER_LIST);
    if (list->list.count == *room) {
        size_t more = *room ? *room * 2 : 8;
        struct filter_value *items = filter_grow(p->filter, list->list.items, *room, more, sizeof *items);
        if (!items)
            return err_no_memory(p->err);
        list->list.items = items;
        *room = more;
    }
    list->list.items[list->list.count++] = element->value;
    return ERR_OK;
}

/* From the opening bracket. */
static enum result parse_list(struct parse *p, struct operand *out)
{
    struct filter_value list = {.kind = FILTER_LIST};
    size_t room = 0, start = p->token.start;
    enum result r = enter(p, start);
    if (r)
        return r;
    advance(p);
    while (p->token.kind != LEX_RBRACKET) {
        struct operand element;
        r = parse_expression(p, PREC_OR, &element);
        if (!r)
            r = list_append(p, &list, &room, &element);
        if (!r && p->token.kind != LEX_RBRACKET)
            r = expect(p, LEX_COMMA, "\",\" or \"]\" in the list");
        if (r)
            return r;
    }
    *out = (struct operand){.kind = OPERAND_CONST, .start = start, .end = token_end(p->token), .value = list};
    advance(p);
    p->depth--;
    return ERR_OK;
}

static enum result parse_parentheses(struct parse *p, struct operand *out)
{
    size_t start = p->token.start;
    enum result r = enter(p, start);
    if (r)
        return r;
    advance(p);
    r = parse_expression(p, PREC_OR, out);
    size_t end = token_end(p->token);
    if (!r)
        r = expect(p, LEX_RPAREN, "an operator or \")\"");
    out->start = start;
    out->end = end;
    p->depth--;
    return r;
}

/* json_contains and the like, from the name. */
static enum result parse_contains(struct parse *p, struct operand *out)
{
    enum filter_node_kind kind = FILTER_CONTAINS + (p->token.kind - LEX_CONTAINS);
    size_t start = p->token.start;
    struct operand field, value;
    enum result r = enter(p, start);
    if (r)
        return r;
    advance(p);
    r = expect(p, LEX_LPAREN, "\"(\" behind the name of the function");
    if (!r)
        r = parse_expression(p, PREC_OR, &field);
    if (!r)
        r = expect(p, LEX_COMMA, "\",\" and what to look for");
    if (!r)
        r = parse_expression(p, PREC_OR, &value);
    size_t end = token_end(p->token);
    if (!r)
        r = expect(p, LEX_RPAREN, "\")\"");
    if (!r)
        r = filter_check_contains(p, kind, &field, &value, out);
    if (r)
        return r;
    out->start = start;
    out->end = end;
    p->depth--;
    return ERR_OK;
}

static enum result parse_length(struct parse *p, struct operand *out)
{
    size_t start = p->token.start;
    struct operand field = {0};
    advance(p);
    enum result r = expect(p, LEX_LPAREN, "\"(\" behind the name of the function");
    if (!r && p->token.kind != LEX_NAME && p->token.kind != LEX_PATH)
        r = filter_unexpected(p, p->token, "tags or a list in brief, such as brief[\"sizes\"],");
    if (!r)
        r = parse_field(p, p->token, &field);
    if (r)
        return r;
    advance(p);
    size_t end = token_end(p->token);
    r = expect(p, LEX_RPAREN, "\")\": array_length takes one field");
    if (!r)
        r = filter_check_length(p, &field, out);
    out->start = start;
    out->end = end;
    return r;
}

static enum result parse_exists(struct parse *p, struct operand *out)
{
    struct operand field;
    size_t start = p->token.start;
    enum result r = enter(p, start);
    if (r)
        return r;
    advance(p);
    r = parse_expression(p, PREC_EXISTS, &field);
    if (!r)
        r = filter_check_exists(p, &field, out);
    out->start = start;
    p->depth--;
    return r;
}

static enum result parse_primary(struct parse *p, struct operand *out)
{
    *out = (struct operand){.start = p->token.start, .end = token_end(p->token)};
    switch (p->token.kind) {
    case LEX_INT:
    case LEX_FLOAT:
    case LEX_STRING:
    case LEX_TRUE:
    case LEX_FALSE:
        return parse_constant(p, out);
    case LEX_NAME:
    case LEX_PATH:
        return parse_name(p, out);
    case LEX_LPAREN:
        return parse_parentheses(p, out);
    case LEX_LBRACKET:
        return parse_list(p, out);
    case LEX_EXISTS:
        return parse_exists(p, out);
    case LEX_LENGTH:
        return parse_length(p, out);
    case LEX_CONTAINS:
    case LEX_CONTAINS_ALL:
    case LEX_CONTAINS_ANY:
        return parse_contains(p, out);
    default:
        return filter_unexpected(p, p->token, "a field, a value or \"(\"");
    }
}

static bool is_prefix(enum lex_kind kind)
{
    return kind == LEX_ADD || kind == LEX_SUB || kind == LEX_NOT || kind == LEX_TILDE;
}

/* Prefix operators and their operand. Those in a row are applied from the inside, without recursion. */
static enum result parse_prefix(struct parse *p, struct operand *out)
{
    struct token ops[LIMIT_FILTER_DEPTH];
    size_t count = 0;
    while (is_prefix(p->token.kind)) {
        if (count == LIMIT_FILTER_DEPTH)
            return filter_fail_as(p, ERR_TOO_LARGE, p->token.start, "more than %d operators stand in a row",
                LIMIT_FILTER_DEPTH);
        ops[count++] = p->token;
        advance(p);
    }
    if (count == 0)
        return parse_primary(p, out);

    enum result r;
    struct token behind = peek(p);
    if (p->token.kind == LEX_INT && ops[count - 1].kind == LEX_SUB && behind.kind != LEX_POW) {
        *out = (struct operand){.kind = OPERAND_CONST, .start = p->token.start, .end = token_end(p->token)};
        r = parse_int(p, true, out);
        if (!r)
            advance(p);
    } else {
        r = parse_expression(p, PREC_UNARY, out);
    }
    while (!r && count-- > 0)
        r = filter_check_unary(p, ops[count].kind, ops[count].start, out);
    return r;
}

/* --- operators
 * ---------------------------------------------------------------------------------------------------------
 */

static enum filter_op compare_op(enum lex_kind kind)
{
    return (enum filter_op)(kind - LEX_LT);
}

/* At < <= > >=: whether "field < …" in the same direction follows, which makes it a range. */
static bool is_range(const struct parse *p)
{
    struct lexer ahead = p->lexer;
    struct token field = filter_lex(&ahead), op = filter_lex(&ahead);
    if (field.kind != LEX_NAME && field.kind != LEX_PATH)
        return false;
    bool rising = p->token.kind == LEX_LT || p->token.kind == LEX_LE;
    return rising ? op.kind == LEX_LT || op.kind == LEX_LE : op.kind == LEX_GT || op.kind == LEX_GE;
}

static int precedence(const struct parse *p)
{
    switch (p->token.kind) {
    case LEX_OR:
        return PREC_OR;
    case LEX_AND:
        return PREC_AND;
    case LEX_BIT:
        return PREC_BITS;
    case LEX_EQ:
    case LEX_NE:
        return PREC_EQUAL;
    case LEX_LT:
    case LEX_LE:
    case LEX_GT:
    case LEX_GE:
        return is_range(p) ? PREC_RANGE : PREC_ORDER;
    case LEX_NOT: /* not in */
    case LEX_IN:
        return PREC_IN;
    case LEX_ADD:
    case LEX_SUB:
        return PREC_ADD;
    case LEX_MUL:
    case LEX_DIV:
    case LEX_MOD:
        return PREC_MUL;
    case LEX_POW:
        return PREC_POW;
    case LEX_LIKE:
        return PREC_LIKE;
    default:
        return 0;
    }
}

/* At the first operator of a range. */
static enum result parse_range(struct parse *p, struct operand *left)
{
    struct range_parts parts = {.first = *left, .op1 = compare_op(p->token.kind)};
    advance(p);
    enum result r = parse_field(p, p->token, &parts.middle);
    if (r)
        return r;
    advance(p);
    parts.op2 = compare_op(p->token.kind);
    advance(p);
    r = parse_expression(p, PREC_RANGE + 1, &parts.last);
    return r ? r : filter_check_range(p, &parts, left);
}

static enum result parse_in(struct parse *p, struct operand *left)
{
    bool negated = p->token.kind == LEX_NOT;
    struct operand right;
    if (negated) {
        struct token not = p->token;
        advance(p);
        if (p->token.kind == LEX_LIKE)
            return filter_fail(p, not .start, "\"not\" stands before the field here: not field like \"…\"");
        if (p->token.kind != LEX_IN)
            return filter_unexpected(p, p->token, "\"in\" behind \"not\"");
    }
    advance(p);
    if (p->token.kind == LEX_LPAREN && left->kind == OPERAND_FIELD) {
        struct token first = peek(p);
        if (first.kind != LEX_LBRACKET && first.kind != LEX_LPAREN)
            return filter_fail(p, p->token.start, "a list is written in square brackets: in [1, 2, 3]");
    }
    enum result r = parse_expression(p, PREC_IN + 1, &right);
    return r ? r : filter_check_in(p, negated, left, &right, left);
}

/* The operator at the token, its right operand, and both checked; *left becomes the result. */
static enum result parse_binary(struct parse *p, int prec, struct operand *left)
{
    struct token op = p->token;
    if (prec == PREC_RANGE)
        return parse_range(p, left);
    if (prec == PREC_IN)
        return parse_in(p, left);
    if (op.kind == LEX_BIT)
        return filter_fail(p, op.start, "\"%.*s\" and the other operators on bits are not supported%s",
            (int)op.len, p->lexer.text + op.start,
            p->lexer.text[op.start] == '&'   ? "; did you mean \"and\"?"
            : p->lexer.text[op.start] == '|' ? "; did you mean \"or\"?"
                                             : "");
    advance(p);
    if (op.kind == LEX_LT && p->token.kind == LEX_GT && p->token.start == op.start + 1)
        return filter_fail(p, op.start, "there is no \"<>\"; write !=");
    struct operand right;
    enum result r = parse_expression(p, prec + 1, &right);
    if (r)
        return r;
    switch (op.kind) {
    case LEX_OR:
    case LEX_AND:
        return filter_check_logic(p, op.kind == LEX_AND, left, &right, left);
    case LEX_LIKE:
        return filter_check_like(p, left, &right, left);
    case LEX_ADD:
    case LEX_SUB:
    case LEX_MUL:
    case LEX_DIV:
    case LEX_MOD:
    case LEX_POW:
        return filter_check_arith(p, op.kind, left, &right, left);
    default:
        return filter_check_compare(p, compare_op(op.kind), left, &right, left);
    }
}

static enum result parse_expression(struct parse *p, int min, struct operand *out)
{
    enum result r = parse_prefix(p, out);
    while (!r) {
        int prec = precedence(p);
        /* Said here, before a rule of types complains about the half that was read. */
        if (p->token.kind == LEX_BAD || p->token.kind == LEX_BADSTR || p->token.kind == LEX_NAME)
            return filter_unexpected(p, p->token, "an operator such as ==, \"and\", \"or\", or the end");
        if (prec == 0 || prec < min)
            break;
        r = parse_binary(p, prec, out);
    }
    return r;
}

/* --- the whole
 * ------------------------------------------------------------------------------------------------------------
 */

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!memchr(" \t\r\n\v\f", text[i], 6))
            return false;
    return true;
}

/* The first byte that is not part of UTF-8, or `len`. */
static size_t first_bad_byte(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (n > len - i || !parse_is_utf8(text + i, n))
            return i;
        i += n;
    }
    return len;
}

static enum result parse_root(struct parse *p)
{
    size_t bad = first_bad_byte(p->lexer.text, p->lexer.len);
    if (bad < p->lexer.len)
        return filter_fail(p, bad, "a byte that is not UTF-8");
    struct operand whole;
    advance(p);
    enum result r = parse_expression(p, PREC_OR, &whole);
    if (!r && p->token.kind != LEX_END)
        r = filter_unexpected(p, p->token, "an operator such as ==, \"and\", \"or\", or the end");
    return r ? r : filter_check_root(p, &whole, &p->filter->root);
}

enum result filter_parse(const char *text, size_t len, struct filter **out, struct err *err)
{
    if (len > LIMIT_FILTER_BYTES) {
        unsigned column = filter_column(text, LIMIT_FILTER_BYTES);
        err_set_field(err, ERR_TOO_LARGE, "filter", "the filter is longer than %d bytes; it goes wrong at column %u",
            LIMIT_FILTER_BYTES, column);
        if (err)
            err->column = column;
        return ERR_TOO_LARGE;
    }
    if (is_blank(text, len)) {
        *out = NULL;
        return ERR_OK;
    }
    struct filter *filter = calloc(1, sizeof *filter);
    if (!filter)
        return err_no_memory(err);
    filter->len = len;
    filter->text = malloc(len + 1);
    enum result r = ERR_NO_MEMORY;
    if (!filter->text) {
        err_no_memory(err);
        goto out;
    }
    memcpy(filter->text, text, len);
    filter->text[len] = '\0';
    struct parse p = {.filter = filter, .lexer = {.text = filter->text, .len = len}, .err = err};
    r = parse_root(&p);
    if (!r) {
        *out = filter;
        filter = NULL;
    }
out:
    filter_free(filter);
    return r;
}
