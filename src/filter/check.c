#include "filter/check.h"

/*
 * Milvus's rules for our four fields: fileid and itemid are INT64 and take only ints, tags is ARRAY<VARCHAR>,
 * brief is JSON and takes anything. A computed value (`fileid + 1`, `array_length(tags)`) can only be
 * compared with a constant. Where Milvus finds a mistake later than we do, the verdict is the same.
 */

static const char *field_name(const struct operand *o)
{
    static const char *const names[] = {"fileid", "itemid", "tags", "tags[…]", "brief"};
    return names[o->field.kind];
}

static bool is_int_field(const struct operand *o)
{
    return o->field.kind == FILTER_FILEID || o->field.kind == FILTER_ITEMID;
}

static bool is_number(const struct filter_value *v)
{
    return v->kind == FILTER_INT || v->kind == FILTER_FLOAT;
}

static bool all_strings(const struct filter_value *list)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (list->list.items[i].kind != FILTER_STRING)
            return false;
    return true;
}

static const char *quote(struct parse *p, const struct operand *o, char out[FILTER_QUOTE_MAX])
{
    return filter_quote(p, o->start, o->end, out);
}

struct filter_node *filter_node_new(struct parse *p, enum filter_node_kind kind)
{
    struct filter_node *node = filter_alloc(p->filter, sizeof *node);
    if (node) {
        memset(node, 0, sizeof *node);
        node->kind = kind;
    }
    return node;
}

/* *out becomes a test by `node`, from the start of `left` to the end of `right`. */
static enum result give(struct parse *p, struct filter_node *node, const struct operand *left,
    const struct operand *right, struct operand *out)
{
    if (!node)
        return err_no_memory(p->err);
    *out = (struct operand){.kind = OPERAND_TEST, .start = left->start, .end = right->end, .node = node};
    return ERR_OK;
}

static enum result negate(struct parse *p, struct operand *test)
{
    if (test->node->kind == FILTER_NOT) {
        test->node = test->node->children[0];
        return ERR_OK;
    }
    struct filter_node *node = filter_node_new(p, FILTER_NOT);
    struct filter_node **child = filter_alloc(p->filter, sizeof *child);
    if (!node || !child)
        return err_no_memory(p->err);
    *child = test->node;
    node->children = child;
    node->count = node->room = 1;
    test->node = node;
    return ERR_OK;
}

/* --- arithmetic
 * ------------------------------------------------------------------------------------------------- */

static enum result arith_field(struct parse *p, const struct operand *field)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, field, text);
    switch (field->kind) {
    case OPERAND_FIELD:
        if (field->field.kind == FILTER_TAGS || field->field.kind == FILTER_TAG)
            return filter_fail(
                p, field->start, "\"%s\" is no number, so nothing can be computed with it", text);
        return ERR_OK;
    case OPERAND_ARITH:
        return filter_fail(p, field->start,
            "\"%s\" is already computed; only one operation with a field is possible, as in fileid + 3 == 10",
            text);
    case OPERAND_LENGTH:
        return filter_fail(p, field->start,
            "an array_length can only be compared with an integer, as in array_length(tags) > 2");
    default:
        return filter_fail(
            p, field->start, "\"%s\" is a condition, so nothing can be computed with it", text);
    }
}

enum result filter_check_arith(
    struct parse *p, enum lex_kind op, struct operand *left, struct operand *right, struct operand *out)
{
    const char *why;
    char text[FILTER_QUOTE_MAX];
    if (left->kind == OPERAND_CONST && right->kind == OPERAND_CONST) {
        struct operand result = {.kind = OPERAND_CONST, .start = left->start, .end = right->end};
        if (filter_fold_arith(op, &left->value, &right->value, &result.value, &why))
            return filter_fail(
                p, left->start, "\"%s\": %s", filter_quote(p, left->start, right->end, text), why);
        *out = result;
        return ERR_OK;
    }
    struct operand *field = left->kind == OPERAND_CONST ? right : left, *value = field == left ? right : left;
    enum result r = arith_field(p, field);
    if (r)
        return r;
    if (value->kind != OPERAND_CONST)
        return filter_fail(
            p, value->start, "two fields cannot be computed with each other; one side must be a constant");
    if (op == LEX_POW)
        return filter_fail(p, field->start, "\"**\" is for constants only");
    if (field == right && op != LEX_ADD && op != LEX_MUL)
        return filter_fail(p, left->start, "the field must stand on the left of \"-\", \"/\" and \"%%\"");
    if (!is_number(&value->value))
        return filter_fail(p, value->start, "\"%s\" is no number", quote(p, value, text));
    if (value->value.kind == FILTER_FLOAT && (is_int_field(field) || op == LEX_MOD))
        return filter_fail(p, value->start, "%s takes an integer here, not %s",
            op == LEX_MOD ? "\"%\"" : field_name(field), quote(p, value, text));
    double zero = value->value.kind == FILTER_INT ? (double)value->value.i : value->value.f;
    if ((op == LEX_DIV || op == LEX_MOD) && zero == 0)
        return filter_fail(p, value->start, "a division by zero");
    *out = (struct operand){.kind = OPERAND_ARITH,
        .start = left->start,
        .end = right->end,
        .field = field->field,
        .value = value->value,
        .arith = (enum filter_arith)(op - LEX_ADD)};
    return ERR_OK;
}

static enum result not_a_condition(struct parse *p, size_t at, const struct operand *o)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, o, text);
    /* The token behind tells what the user believed `not` to cover. */
    if (p->token.kind == LEX_IN)
        return filter_fail(p, at, "\"not\" covers only \"%s\" here; write %s not in […]", text, text);
    if (p->token.kind >= LEX_LT && p->token.kind <= LEX_MOD)
        return filter_fail(p, at,
            "\"not\" covers only \"%s\" here; put the condition in brackets: not (%s %.*s …)", text, text,
            (int)p->token.len, p->lexer.text + p->token.start);
    if (o->kind == OPERAND_FIELD && o->field.kind == FILTER_BRIEF)
        return filter_fail(
            p, at, "\"not\" needs a condition, and \"%s\" is a field; write %s == false", text, text);
    return filter_fail(p, at, "\"not\" needs a condition, and \"%s\" is none", text);
}

enum result filter_check_unary(struct parse *p, enum lex_kind op, size_t at, struct operand *o)
{
    char text[FILTER_QUOTE_MAX];
    if (op == LEX_TILDE)
        return filter_fail(p, at, "\"~\" and the other operators on bits are not supported");
    if (op == LEX_NOT) {
        if (o->kind == OPERAND_CONST && o->value.kind == FILTER_BOOL) {
            o->value.b = !o->value.b;
            o->written = false;
        } else if (o->kind == OPERAND_TEST) {
            enum result r = negate(p, o);
            if (r)
                return r;
        } else {
            return not_a_condition(p, at, o);
        }
    } else if (op == LEX_SUB) {
        if (o->kind != OPERAND_CONST || !is_number(&o->value))
            return filter_fail(p, at, "\"-\" needs a constant number, not \"%s\"", quote(p, o, text));
        if (o->value.kind == FILTER_INT)
            o->value.i = (int64_t)(0 - (uint64_t)o->value.i);
        else
            o->value.f = -o->value.f;
    } else if (o->kind == OPERAND_FIELD && o->field.kind == FILTER_TAGS) {
        return filter_fail(p, at, "\"+\" needs a number, and tags is a list");
    }
    o->start = at;
    return ERR_OK;
}

/* --- comparison
 * ------------------------------------------------------------------------------------------------- */

static enum result compare_constants(struct parse *p, enum filter_op op, const struct operand *left,
    const struct operand *right, struct operand *out)
{
    char a[FILTER_QUOTE_MAX], b[FILTER_QUOTE_MAX];
    struct operand result = {.kind = OPERAND_CONST, .start = left->start, .end = right->end};
    result.value.kind = FILTER_BOOL;
    if (!filter_fold_compare(op, &left->value, &right->value, &result.value.b))
        return filter_fail(p, right->start, "\"%s\" and \"%s\" cannot be compared with \"%s\"",
            quote(p, left, a), quote(p, right, b), filter_op_name(op));
    *out = result;
    return ERR_OK;
}

/* A constant for fileid or itemid. */
static enum result int_constant(struct parse *p, const char *name, const struct operand *value)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, value, text);
    switch (value->value.kind) {
    case FILTER_INT:
        return ERR_OK;
    case FILTER_FLOAT:
        return filter_fail(p, value->start,
            "%s is an integer, and %s is not one; write it without a point or exponent", name, text);
    case FILTER_STRING:
        return filter_fail(
            p, value->start, "%s is an integer, and %s is text; write the number without quotes", name, text);
    case FILTER_LIST:
        return filter_fail(
            p, value->start, "%s is an integer, and %s is a list; write %s in %s", name, text, name, text);
    default:
        return filter_fail(p, value->start, "%s is an integer, and %s is not one", name, text);
    }
}

static enum result tags_constant(
    struct parse *p, enum filter_op op, const struct operand *field, const struct operand *value)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, value, text);
    if (value->value.kind == FILTER_STRING)
        return filter_fail(p, field->start,
            "tags is a list and cannot be compared with one string; write %sarray_contains(tags, %s)",
            op == FILTER_NE ? "not " : "", text);
    if (op != FILTER_EQ && op != FILTER_NE)
        return filter_fail(p, field->start,
            "tags is a list, which has no order; \"%s\" is possible for one of them: tags[0]",
            filter_op_name(op));
    if (value->value.kind != FILTER_LIST)
        return filter_fail(p, value->start, "tags is a list of strings and cannot be compared with %s", text);
    if (value->value.list.count == 0)
        return filter_fail(
            p, value->start, "tags cannot be compared with an empty list; write array_length(tags) == 0");
    if (!all_strings(&value->value))
        return filter_fail(p, value->start, "tags is a list of strings, and in %s not all are strings", text);
    return ERR_OK;
}

/* Whether `value` may be compared with `o`, which is a field or computed. It may become a float. */
static enum result comparable(
    struct parse *p, enum filter_op op, const struct operand *o, struct operand *value)
{
    char text[FILTER_QUOTE_MAX];
    if (o->kind == OPERAND_LENGTH)
        return int_constant(p, "array_length", value);
    if (o->kind == OPERAND_ARITH) {
        if (!is_number(&value->value))
            return filter_fail(p, value->start, "a computed value is a number and cannot be compared with %s",
                quote(p, value, text));
        if (o->value.kind == FILTER_INT)
            return int_constant(p, "what is computed from integers", value);
        if (value->value.kind == FILTER_INT)
            value->value = (struct filter_value){.kind = FILTER_FLOAT, .f = (double)value->value.i};
        return ERR_OK;
    }
    switch (o->field.kind) {
    case FILTER_FILEID:
    case FILTER_ITEMID:
        return int_constant(p, field_name(o), value);
    case FILTER_TAGS:
        return tags_constant(p, op, o, value);
    case FILTER_TAG:
        if (value->value.kind != FILTER_STRING)
            return filter_fail(p, value->start,
                "a tag is a string and cannot be compared with %s; strings are written in quotes",
                quote(p, value, text));
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

static enum result compare_fields(
    struct parse *p, enum filter_op op, struct operand *left, struct operand *right, struct operand *out)
{
    const struct operand *wrong = left->kind != OPERAND_FIELD    ? left
                                  : right->kind != OPERAND_FIELD ? right
                                                                 : NULL;
    char text[FILTER_QUOTE_MAX];
    if (wrong)
        return filter_fail(
            p, wrong->start, "\"%s\" can only be compared with a constant", quote(p, wrong, text));
    if (left->field.kind == FILTER_BRIEF || right->field.kind == FILTER_BRIEF) {
        wrong = left->field.kind == FILTER_BRIEF ? left : right;
        return filter_fail(p, wrong->start,
            "\"%s\" is JSON, which can be compared with constants but not with another field",
            quote(p, wrong, text));
    }
    bool same = is_int_field(left) ? is_int_field(right) : left->field.kind == right->field.kind;
    if (!same)
        return filter_fail(p, right->start, "%s and %s are of different types and cannot be compared",
            field_name(left), field_name(right));
    if (left->field.kind == FILTER_TAGS && op != FILTER_EQ && op != FILTER_NE)
        return filter_fail(p, left->start, "tags is a list, which has no order");
    struct filter_node *node = filter_node_new(p, FILTER_FIELDS);
    if (node) {
        node->op = op;
        node->field = left->field;
        node->other = right->field;
    }
    return give(p, node, left, right, out);
}

static enum result compare_test(struct parse *p, const struct operand *o)
{
    char text[FILTER_QUOTE_MAX];
    return filter_fail(
        p, o->start, "\"%s\" is a condition, true or false, and cannot be compared again", quote(p, o, text));
}

enum result filter_check_compare(
    struct parse *p, enum filter_op op, struct operand *left, struct operand *right, struct operand *out)
{
    if (left->kind == OPERAND_TEST)
        return compare_test(p, left);
    if (right->kind == OPERAND_TEST)
        return compare_test(p, right);
    if (left->kind == OPERAND_CONST && right->kind == OPERAND_CONST)
        return compare_constants(p, op, left, right, out);
    if (left->kind != OPERAND_CONST && right->kind != OPERAND_CONST)
        return compare_fields(p, op, left, right, out);

    struct operand *field = left, *value = right;
    if (left->kind == OPERAND_CONST) {
        static const enum filter_op reversed[] = {
            FILTER_GT, FILTER_GE, FILTER_LT, FILTER_LE, FILTER_EQ, FILTER_NE};
        field = right;
        value = left;
        op = reversed[op];
    }
    enum result r = comparable(p, op, field, value);
    if (r)
        return r;
    static const enum filter_node_kind kinds[] = {
        [OPERAND_FIELD] = FILTER_COMPARE, [OPERAND_ARITH] = FILTER_ARITH, [OPERAND_LENGTH] = FILTER_LENGTH};
    struct filter_node *node = filter_node_new(p, kinds[field->kind]);
    if (node) {
        node->op = op;
        node->field = field->field;
        node->value = value->value;
        if (field->kind == OPERAND_ARITH) {
            node->arith = field->arith;
            node->operand = field->value;
        }
    }
    return give(p, node, left, right, out);
}

/* --- ranges
 * ------------------------------------------------------------------------------------------------------ */

static enum result range_bound(struct parse *p, const struct operand *field, const struct operand *bound)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, bound, text);
    if (bound->kind != OPERAND_CONST)
        return filter_fail(p, bound->start, "the ends of a range must be constants, and \"%s\" is not", text);
    if (bound->value.kind == FILTER_BOOL || bound->value.kind == FILTER_LIST)
        return filter_fail(
            p, bound->start, "the ends of a range are numbers or strings, and %s is neither", text);
    if (is_int_field(field))
        return int_constant(p, field_name(field), bound);
    if (field->field.kind == FILTER_TAG && bound->value.kind != FILTER_STRING)
        return filter_fail(p, bound->start, "a tag is a string, and %s is not", text);
    return ERR_OK;
}

enum result filter_check_range(struct parse *p, const struct range_parts *parts, struct operand *out)
{
    bool rising = parts->op1 == FILTER_LT || parts->op1 == FILTER_LE;
    const struct operand *lower = rising ? &parts->first : &parts->last,
                         *upper = rising ? &parts->last : &parts->first;
    const struct operand *field = &parts->middle;
    if (field->field.kind == FILTER_TAGS)
        return filter_fail(p, field->start,
            "tags is a list, which has no order; a range is possible for one of them: tags[0]");
    enum result r = range_bound(p, field, &parts->first);
    if (!r)
        r = range_bound(p, field, &parts->last);
    if (r)
        return r;
    if (is_number(&lower->value) != is_number(&upper->value))
        return filter_fail(p, parts->last.start, "one end of the range is a number and the other a string");

    struct filter_node *node = filter_node_new(p, FILTER_RANGE);
    if (!node)
        return err_no_memory(p->err);
    node->lower_inclusive = (rising ? parts->op1 : parts->op2) == (rising ? FILTER_LE : FILTER_GE);
    node->upper_inclusive = (rising ? parts->op2 : parts->op1) == (rising ? FILTER_LE : FILTER_GE);
    bool both = node->lower_inclusive && node->upper_inclusive, crossed = true;
    if (!filter_fold_compare(both ? FILTER_GT : FILTER_GE, &lower->value, &upper->value, &crossed) ||
        crossed) {
        char a[FILTER_QUOTE_MAX], b[FILTER_QUOTE_MAX];
        return filter_fail(p, parts->first.start,
            "nothing lies in this range: its lower end %s is not below its upper end %s", quote(p, lower, a),
            quote(p, upper, b));
    }
    node->field = field->field;
    node->lower = lower->value;
    node->value = upper->value;
    return give(p, node, &parts->first, &parts->last, out);
}
