#include "filter/check.h"

/* The rules of in, like, contains, exists, is null, and, or, and of the filter as a whole. */

static const char *quote(struct parse *p, const struct operand *o, char out[FILTER_QUOTE_MAX])
{
    return filter_quote(p, o->start, o->end, out);
}

static enum result give(struct parse *p, struct filter_node *node, const struct operand *left,
    const struct operand *right, struct operand *out)
{
    if (!node)
        return err_no_memory(p->err);
    *out = (struct operand){.kind = OPERAND_TEST, .start = left->start, .end = right->end, .node = node};
    return ERR_OK;
}

/* --- in
 * ----------------------------------------------------------------------------------------------------------
 */

static enum result in_left(struct parse *p, const struct operand *left, const struct operand *right)
{
    char a[FILTER_QUOTE_MAX], b[FILTER_QUOTE_MAX];
    if (left->kind == OPERAND_FIELD)
        return ERR_OK;
    quote(p, left, a);
    quote(p, right, b);
    if (left->kind == OPERAND_CONST && right->kind == OPERAND_FIELD)
        return filter_fail(p, left->start,
            "a field stands on the left of \"in\"; to look into a list write %s(%s, %s)",
            right->field.kind == FILTER_BRIEF ? "json_contains" : "array_contains", b, a);
    return filter_fail(p, left->start, "a field must stand on the left of \"in\", and \"%s\" is not one", a);
}

/* Whether an element may be compared with the field; NULL: yes. */
static const char *element_fault(const struct filter_field *field, const struct filter_value *value)
{
    switch (field->kind) {
    case FILTER_FILEID:
    case FILTER_ITEMID:
        return value->kind == FILTER_INT ? NULL : "takes integers only";
    case FILTER_TAG:
        return value->kind == FILTER_STRING ? NULL : "takes strings only";
    case FILTER_TAGS:
        if (value->kind != FILTER_LIST)
            return "is a list itself";
        for (size_t i = 0; i < value->list.count; i++)
            if (value->list.items[i].kind != FILTER_STRING)
                return "is a list of strings";
        return NULL;
    default:
        return NULL;
    }
}

static enum result in_list(struct parse *p, const struct operand *left, const struct operand *right)
{
    char a[FILTER_QUOTE_MAX], b[FILTER_QUOTE_MAX];
    quote(p, left, a);
    quote(p, right, b);
    if (right->kind != OPERAND_CONST || right->value.kind != FILTER_LIST)
        return filter_fail(p, right->start,
            "a list of constants in square brackets must stand on the right of \"in\", not \"%s\"", b);
    bool ints = false, floats = false;
    for (size_t i = 0; i < right->value.list.count; i++) {
        const struct filter_value *v = &right->value.list.items[i];
        const char *fault = element_fault(&left->field, v);
        if (fault && left->field.kind == FILTER_TAGS && v->kind == FILTER_STRING)
            return filter_fail(
                p, left->start, "tags is a list itself; write array_contains_any(tags, %s)", b);
        if (fault)
            return filter_fail(p, right->start, "element %zu of %s does not fit: %s %s", i + 1, b, a, fault);
        ints = ints || v->kind == FILTER_INT;
        floats = floats || v->kind == FILTER_FLOAT;
    }
    if (ints && floats) {
        for (size_t i = 0; i < right->value.list.count; i++) {
            struct filter_value *v = &right->value.list.items[i];
            if (v->kind == FILTER_INT)
                *v = (struct filter_value){.kind = FILTER_FLOAT, .f = (double)v->i};
        }
    }
    return ERR_OK;
}

enum result filter_check_in(
    struct parse *p, bool negated, struct operand *left, struct operand *right, struct operand *out)
{
    enum result r = in_left(p, left, right);
    if (!r)
        r = in_list(p, left, right);
    if (r)
        return r;
    struct filter_node *node = filter_node_new(p, FILTER_IN);
    if (node) {
        node->field = left->field;
        node->value = right->value;
    }
    r = give(p, node, left, right, out);
    return r || !negated ? r : filter_check_unary(p, LEX_NOT, out->start, out);
}

/* --- like, contains, array_length, exists, is null
 * ------------------------------------------------------------------ */

enum result filter_check_like(
    struct parse *p, struct operand *left, struct operand *right, struct operand *out)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, left, text);
    if (left->kind != OPERAND_FIELD)
        return filter_fail(
            p, left->start, "a field must stand on the left of \"like\", and \"%s\" is not one", text);
    if (left->field.kind == FILTER_TAGS)
        return filter_fail(
            p, left->start, "tags is a list; \"like\" is possible for one of them: tags[0] like …");
    if (left->field.kind == FILTER_FILEID || left->field.kind == FILTER_ITEMID)
        return filter_fail(p, left->start, "\"like\" is for strings, and %s is an integer", text);
    if (right->kind != OPERAND_CONST || right->value.kind != FILTER_STRING)
        return filter_fail(p, right->start,
            "a pattern in quotes must stand on the right of \"like\", not \"%s\"", quote(p, right, text));
    struct filter_node *node = filter_node_new(p, FILTER_LIKE);
    if (node) {
        node->field = left->field;
        node->value = right->value;
    }
    return give(p, node, left, right, out);
}

static enum result contains_value(
    struct parse *p, enum filter_node_kind kind, const struct operand *field, const struct operand *value)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, value, text);
    if (value->kind != OPERAND_CONST)
        return filter_fail(p, value->start, "what is looked for must be a constant, and \"%s\" is not", text);
    bool list = value->value.kind == FILTER_LIST;
    if (kind != FILTER_CONTAINS && !list)
        return filter_fail(p, value->start, "a list is expected here: write [%s]", text);
    if (field->field.kind == FILTER_BRIEF)
        return ERR_OK;
    if (kind == FILTER_CONTAINS && list)
        return filter_fail(p, value->start,
            "one tag is expected here, not a list; write array_contains_any(tags, %s) or array_contains_all",
            text);
    if (kind == FILTER_CONTAINS && value->value.kind != FILTER_STRING)
        return filter_fail(
            p, value->start, "tags are strings, and %s is not; strings are written in quotes", text);
    for (size_t i = 0; list && i < value->value.list.count; i++)
        if (value->value.list.items[i].kind != FILTER_STRING)
            return filter_fail(p, value->start,
                "tags are strings, and element %zu of %s is not; strings are written in quotes", i + 1, text);
    return ERR_OK;
}

enum result filter_check_contains(struct parse *p, enum filter_node_kind kind, struct operand *field,
    struct operand *value, struct operand *out)
{
    char text[FILTER_QUOTE_MAX];
    if (field->kind != OPERAND_FIELD ||
        (field->field.kind != FILTER_TAGS && field->field.kind != FILTER_BRIEF))
        return filter_fail(p, field->start,
            "tags or a list in brief, as in brief[\"sizes\"], must come first here, not \"%s\"",
            quote(p, field, text));
    enum result r = contains_value(p, kind, field, value);
    if (r)
        return r;
    struct filter_node *node = filter_node_new(p, kind);
    if (node) {
        node->field = field->field;
        node->value = value->value;
    }
    return give(p, node, field, value, out);
}

enum result filter_check_length(struct parse *p, struct operand *field, struct operand *out)
{
    char text[FILTER_QUOTE_MAX];
    if (field->field.kind == FILTER_FILEID || field->field.kind == FILTER_ITEMID)
        return filter_fail(p, field->start, "array_length takes tags or a list in brief, and %s is no list",
            quote(p, field, text));
    *out = (struct operand){
        .kind = OPERAND_LENGTH, .start = field->start, .end = field->end, .field = field->field};
    return ERR_OK;
}

enum result filter_check_exists(struct parse *p, struct operand *field, struct operand *out)
{
    char text[FILTER_QUOTE_MAX];
    if (field->kind != OPERAND_FIELD || field->field.kind != FILTER_BRIEF || field->field.depth == 0)
        return filter_fail(p, field->start,
            "\"exists\" asks for a key of brief, as in exists brief[\"colour\"], and \"%s\" is none",
            quote(p, field, text));
    struct filter_node *node = filter_node_new(p, FILTER_EXISTS);
    if (node)
        node->field = field->field;
    return give(p, node, field, field, out);
}

enum result filter_check_null(struct parse *p, bool negated, struct operand *field, struct operand *out)
{
    if (field->field.kind == FILTER_TAG)
        return filter_fail(p, field->start,
            "whether there is such a tag is asked with array_length(tags) > %llu",
            (unsigned long long)field->field.index);
    /* A path of JSON is null where it does not exist. */
    bool path = field->field.kind == FILTER_BRIEF && field->field.depth > 0;
    struct filter_node *node = filter_node_new(p, path ? FILTER_EXISTS : FILTER_NULL);
    if (node)
        node->field = field->field;
    enum result r = give(p, node, field, field, out);
    return r || negated == path ? r : filter_check_unary(p, LEX_NOT, out->start, out);
}

/* --- and, or, the whole
 * ----------------------------------------------------------------------------------------------- */

static enum result no_condition(struct parse *p, const struct operand *o, const char *where)
{
    char text[FILTER_QUOTE_MAX];
    quote(p, o, text);
    if (o->kind == OPERAND_FIELD && o->field.kind == FILTER_BRIEF)
        return filter_fail(p, o->start,
            "%s must be a condition, and \"%s\" is a field; for a boolean write %s == true", where, text,
            text);
    if (o->kind == OPERAND_FIELD)
        return filter_fail(p, o->start,
            "%s must be a condition, and \"%s\" is a field; compare it, as in fileid == 5", where, text);
    if (o->kind == OPERAND_ARITH || o->kind == OPERAND_LENGTH)
        return filter_fail(
            p, o->start, "%s must be a condition, and \"%s\" is a number; compare it with one", where, text);
    return filter_fail(p, o->start, "%s must be a condition, and \"%s\" is a constant", where, text);
}

enum result filter_check_logic(
    struct parse *p, bool is_and, struct operand *left, struct operand *right, struct operand *out)
{
    const char *where = is_and ? "each side of \"and\"" : "each side of \"or\"";
    bool constant = left->kind == OPERAND_CONST && left->value.kind == FILTER_BOOL;
    if (constant && right->kind == OPERAND_CONST && right->value.kind == FILTER_BOOL) {
        left->value.b = is_and ? left->value.b && right->value.b : left->value.b || right->value.b;
        left->written = false;
        left->end = right->end;
        *out = *left;
        return ERR_OK;
    }
    if (left->kind != OPERAND_TEST)
        return no_condition(p, left, where);
    if (right->kind != OPERAND_TEST)
        return no_condition(p, right, where);

    enum filter_node_kind kind = is_and ? FILTER_AND : FILTER_OR;
    struct filter_node *node = left->node;
    if (node->kind != kind) {
        node = filter_node_new(p, kind);
        struct filter_node **children = filter_alloc(p->filter, 2 * sizeof(struct filter_node *));
        if (!node || !children)
            return err_no_memory(p->err);
        node->children = children;
        node->room = 2;
        node->children[node->count++] = left->node;
    }
    if (node->count == node->room) {
        node->children =
            filter_grow(p->filter, node->children, node->count, node->room * 2, sizeof(struct filter_node *));
        node->room *= 2;
        if (!node->children)
            return err_no_memory(p->err);
    }
    node->children[node->count++] = right->node;
    return give(p, node, left, right, out);
}

enum result filter_check_root(struct parse *p, struct operand *o, struct filter_node **out)
{
    struct filter_node *node = o->node;
    if (o->kind == OPERAND_CONST && o->value.kind == FILTER_BOOL && !o->written) {
        node = filter_node_new(p, FILTER_CONST);
        if (!node)
            return err_no_memory(p->err);
        node->value = o->value;
    } else if (o->kind != OPERAND_TEST) {
        return no_condition(p, o, "a filter");
    }
    *out = node;
    return ERR_OK;
}
