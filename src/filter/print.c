#include "filter/tree.h"

#include <inttypes.h>

/* One spelling for a tree; see filter.h. */

static enum result print_node(const struct filter_node *n, struct buf *out);

static enum result print_bytes(struct filter_bytes s, bool key, struct buf *out)
{
    enum result r = buf_append_str(out, "\"");
    for (size_t i = 0; !r && i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (key) /* nothing but \uXXXX is decoded in keys */
            r = c == '"' || c == '\\' || c < 0x20 ? buf_appendf(out, "\\u%04x", c)
                                                  : buf_append(out, &s.data[i], 1);
        else if (c == '"' || c == '\\')
            r = buf_appendf(out, "\\%c", c);
        else
            r = c < 0x20 || c >= 0x7f ? buf_appendf(out, "\\%03o", c) : buf_append(out, &s.data[i], 1);
    }
    return r ? r : buf_append_str(out, "\"");
}

static enum result print_value(const struct filter_value *v, struct buf *out)
{
    char number[40];
    enum result r;
    switch (v->kind) {
    case FILTER_BOOL:
        return buf_append_str(out, v->b ? "true" : "false");
    case FILTER_INT:
        return buf_appendf(out, "%" PRId64, v->i);
    case FILTER_FLOAT:
        snprintf(number, sizeof number, "%.17g", v->f);
        return buf_appendf(out, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
    case FILTER_STRING:
        return print_bytes(v->s, false, out);
    default:
        r = buf_append_str(out, "[");
        for (size_t i = 0; !r && i < v->list.count; i++) {
            r = i ? buf_append_str(out, ", ") : ERR_OK;
            if (!r)
                r = print_value(&v->list.items[i], out);
        }
        return r ? r : buf_append_str(out, "]");
    }
}

static bool is_index(struct filter_bytes key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] < '0' || key.data[i] > '9')
            return false;
    return key.len < 19 && (key.len == 1 || key.data[0] != '0');
}

static enum result print_field(const struct filter_field *f, struct buf *out)
{
    static const char *const names[] = {"fileid", "itemid", "tags", "tags", "brief"};
    enum result r = buf_append_str(out, names[f->kind]);
    if (!r && f->kind == FILTER_TAG)
        r = buf_appendf(out, "[%" PRIu64 "]", f->index);
    for (size_t i = 0; !r && i < f->depth; i++) {
        struct filter_bytes key = f->path[i];
        r = buf_append_str(out, "[");
        if (!r)
            r = is_index(key) ? buf_append(out, key.data, key.len) : print_bytes(key, true, out);
        if (!r)
            r = buf_append_str(out, "]");
    }
    return r;
}

static enum result print_children(const struct filter_node *n, struct buf *out)
{
    const char *word = n->kind == FILTER_AND ? " and " : n->kind == FILTER_OR ? " or " : "not ";
    enum result r = n->kind == FILTER_NOT ? buf_append_str(out, word) : ERR_OK;
    for (size_t i = 0; !r && i < n->count; i++) {
        if (i)
            r = buf_append_str(out, word);
        if (!r)
            r = buf_append_str(out, "(");
        if (!r)
            r = print_node(n->children[i], out);
        if (!r)
            r = buf_append_str(out, ")");
    }
    return r;
}

/* "name(field, value)", value where there is one */
static enum result print_call(const char *name, const struct filter_node *n, bool value, struct buf *out)
{
    enum result r = buf_appendf(out, "%s(", name);
    if (!r)
        r = print_field(&n->field, out);
    if (!r && value)
        r = buf_append_str(out, ", ");
    if (!r && value)
        r = print_value(&n->value, out);
    return r ? r : buf_append_str(out, ")");
}

/* "field word value" */
static enum result print_infix(const struct filter_node *n, const char *word, struct buf *out)
{
    enum result r =
        n->kind == FILTER_LENGTH ? print_call("array_length", n, false, out) : print_field(&n->field, out);
    if (!r && n->kind == FILTER_ARITH)
        r = buf_appendf(out, " %s ", filter_arith_name(n->arith));
    if (!r && n->kind == FILTER_ARITH)
        r = print_value(&n->operand, out);
    if (!r)
        r = buf_appendf(out, " %s ", word);
    if (r)
        return r;
    return n->kind == FILTER_FIELDS ? print_field(&n->other, out) : print_value(&n->value, out);
}

static enum result print_range(const struct filter_node *n, struct buf *out)
{
    enum result r = print_value(&n->lower, out);
    if (!r)
        r = buf_append_str(out, n->lower_inclusive ? " <= " : " < ");
    if (!r)
        r = print_field(&n->field, out);
    if (!r)
        r = buf_append_str(out, n->upper_inclusive ? " <= " : " < ");
    return r ? r : print_value(&n->value, out);
}

static enum result print_node(const struct filter_node *n, struct buf *out)
{
    enum result r;
    switch (n->kind) {
    case FILTER_CONST:
        return buf_append_str(out, n->value.b ? "1 == 1" : "1 == 0");
    case FILTER_AND:
    case FILTER_OR:
    case FILTER_NOT:
        return print_children(n, out);
    case FILTER_RANGE:
        return print_range(n, out);
    case FILTER_IN:
        return print_infix(n, "in", out);
    case FILTER_LIKE:
        return print_infix(n, "like", out);
    case FILTER_CONTAINS:
        return print_call("json_contains", n, true, out);
    case FILTER_CONTAINS_ALL:
        return print_call("json_contains_all", n, true, out);
    case FILTER_CONTAINS_ANY:
        return print_call("json_contains_any", n, true, out);
    case FILTER_EXISTS:
        r = buf_append_str(out, "exists ");
        return r ? r : print_field(&n->field, out);
    case FILTER_NULL:
        r = print_field(&n->field, out);
        return r ? r : buf_append_str(out, " is null");
    default: /* COMPARE, FIELDS, ARITH, LENGTH */
        return print_infix(n, filter_op_name(n->op), out);
    }
}

enum result filter_print(const struct filter *filter, struct buf *out)
{
    return print_node(filter->root, out);
}
