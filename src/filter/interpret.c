#include "filter/interpret.h"

#include "filter/tree.h"

#include <math.h>

/*
 * The meaning, rule by rule (docs/filter.md has it for users):
 *
 *  - A column that is null makes every test of it UNKNOWN, except `is null`. UNKNOWN and FALSE is FALSE,
 * UNKNOWN or TRUE is TRUE, not UNKNOWN is UNKNOWN. The stores of this program never leave a column null.
 *  - A key that is missing, or whose value is of another type than what it is compared with, makes a test
 * FALSE, and
 *    `!=` TRUE: `!=` on brief is the opposite of `==`. So `not in` and `not (…)` are TRUE there as well.
 *  - A tag beyond the end makes a comparison FALSE, `!=` included. `not in` and `not (…)` are the opposites
 * all the same.
 *  - An int and an int are compared as they are; otherwise both become doubles. JSON integers beyond int64
 * are doubles.
 *  - Computing with ints wraps around, division truncates; with a double it is IEEE arithmetic, and % is
 * fmod().
 *
 * Written to be read beside that list, not to be fast. It shares no code with the columns.
 */

/* --- values
 * ------------------------------------------------------------------------------------------------------- */

struct number {
    bool is_int;
    int64_t i;
    double f; /* also set for an int */
};

static bool json_number(struct json_object *v, struct number *out)
{
    if (json_object_is_type(v, json_type_double)) {
        *out = (struct number){.f = json_object_get_double(v)};
        return true;
    }
    if (!json_object_is_type(v, json_type_int))
        return false;
    uint64_t u = json_object_get_uint64(v); /* 0 for a negative one */
    int64_t i = json_object_get_int64(v);
    *out = u > INT64_MAX ? (struct number){.f = (double)u}
                         : (struct number){.is_int = true, .i = i, .f = (double)i};
    return true;
}

static bool constant_number(const struct filter_value *v, struct number *out)
{
    if (v->kind == FILTER_INT)
        *out = (struct number){.is_int = true, .i = v->i, .f = (double)v->i};
    else
        *out = (struct number){.f = v->f};
    return v->kind == FILTER_INT || v->kind == FILTER_FLOAT;
}

static bool holds(enum filter_op op, bool less, bool equal, bool greater)
{
    switch (op) {
    case FILTER_LT:
        return less;
    case FILTER_LE:
        return less || equal;
    case FILTER_GT:
        return greater;
    case FILTER_GE:
        return greater || equal;
    case FILTER_EQ:
        return equal;
    default:
        return !equal;
    }
}

static bool compare_numbers(enum filter_op op, struct number a, struct number b)
{
    if (a.is_int && b.is_int)
        return holds(op, a.i<b.i, a.i == b.i, a.i> b.i);
    return holds(op, a.f<b.f, a.f == b.f, a.f> b.f);
}

static bool compare_strings(enum filter_op op, struct filter_bytes a, struct filter_bytes b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int c = memcmp(a.data, b.data, common);
    if (c == 0)
        c = a.len < b.len ? -1 : a.len > b.len;
    return holds(op, c<0, c == 0, c> 0);
}

static struct filter_bytes json_bytes(struct json_object *v)
{
    return (struct filter_bytes){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

/* Whether `v` is of the type of `c` and `v op c`; `op` is not !=. */
static bool compare_json(enum filter_op op, struct json_object *v, const struct filter_value *c)
{
    struct number a, b;
    switch (c->kind) {
    case FILTER_BOOL: {
        bool x = json_object_get_boolean(v);
        return json_object_is_type(v, json_type_boolean) && holds(op, x<c->b, x == c->b, x> c->b);
    }
    case FILTER_INT:
    case FILTER_FLOAT:
        return json_number(v, &a) && constant_number(c, &b) && compare_numbers(op, a, b);
    case FILTER_STRING:
        return json_object_is_type(v, json_type_string) && compare_strings(op, json_bytes(v), c->s);
    default:
        if (op != FILTER_EQ || !json_object_is_type(v, json_type_array) ||
            json_object_array_length(v) != c->list.count)
            return false;
        for (size_t i = 0; i < c->list.count; i++)
            if (!compare_json(FILTER_EQ, json_object_array_get_idx(v, i), &c->list.items[i]))
                return false;
        return true;
    }
}

/* --- fields
 * ------------------------------------------------------------------------------------------------------- */

/* An index as JSON pointers (RFC 6901) write it. */
static bool array_index(struct filter_bytes key, size_t *out)
{
    if (key.len == 0 || key.len > 9 || (key.data[0] == '0' && key.len > 1))
        return false;
    *out = 0;
    for (size_t i = 0; i < key.len; i++) {
        if (key.data[i] < '0' || key.data[i] > '9')
            return false;
        *out = *out * 10 + (size_t)(key.data[i] - '0');
    }
    return true;
}

/* What the path leads to; NULL where it leads nowhere, or to null. */
static struct json_object *follow(const struct filter_field *f, struct json_object *v)
{
    for (size_t i = 0; v && i < f->depth; i++) {
        struct filter_bytes key = f->path[i];
        struct json_object *next = NULL;
        size_t index;
        if (json_object_is_type(v, json_type_array)) {
            if (array_index(key, &index) && index < json_object_array_length(v))
                next = json_object_array_get_idx(v, index);
        } else if (json_object_is_type(v, json_type_object)) {
            json_object_object_foreach(v, name, member)
            {
                if (name[0] == key.data[0] && strlen(name) == key.len && memcmp(name, key.data, key.len) == 0)
                    next = member;
            }
        }
        v = next;
    }
    return v;
}

static bool column_is_null(const struct filter_field *f, const struct filter_record *r)
{
    if (f->kind == FILTER_TAGS || f->kind == FILTER_TAG)
        return !r->tags;
    return f->kind == FILTER_BRIEF && !r->brief;
}

/* The value of any field as JSON, which the caller releases; NULL where there is none. */
static struct json_object *field_value(const struct filter_field *f, const struct filter_record *r)
{
    switch (f->kind) {
    case FILTER_FILEID:
        return json_object_new_int64(r->fileid);
    case FILTER_ITEMID:
        return json_object_new_int64(r->itemid);
    case FILTER_TAGS:
        return json_object_get(r->tags);
    case FILTER_TAG:
        if (f->index >= json_object_array_length(r->tags))
            return NULL;
        return json_object_get(json_object_array_get_idx(r->tags, f->index));
    default:
        return json_object_get(follow(f, r->brief));
    }
}

/* --- tests
 * -------------------------------------------------------------------------------------------------------- */

static bool test_compare(const struct filter_node *n, struct json_object *v)
{
    if (n->op != FILTER_NE)
        return compare_json(n->op, v, &n->value);
    if (n->field.kind == FILTER_TAG && !v)
        return false;
    return !compare_json(FILTER_EQ, v, &n->value);
}

static bool test_fields(const struct filter_node *n, struct json_object *a, struct json_object *b)
{
    struct number x, y;
    if (!a || !b)
        return false;
    if (json_number(a, &x) && json_number(b, &y))
        return compare_numbers(n->op, x, y);
    if (n->field.kind == FILTER_TAG)
        return compare_strings(n->op, json_bytes(a), json_bytes(b));
    bool equal = json_object_array_length(a) == json_object_array_length(b);
    for (size_t i = 0; equal && i < json_object_array_length(a); i++)
        equal = compare_strings(FILTER_EQ, json_bytes(json_object_array_get_idx(a, i)),
            json_bytes(json_object_array_get_idx(b, i)));
    return equal == (n->op == FILTER_EQ);
}

static bool test_range(const struct filter_node *n, struct json_object *v)
{
    return compare_json(n->lower_inclusive ? FILTER_GE : FILTER_GT, v, &n->lower) &&
           compare_json(n->upper_inclusive ? FILTER_LE : FILTER_LT, v, &n->value);
}

static bool test_in(const struct filter_node *n, struct json_object *v)
{
    for (size_t i = 0; i < n->value.list.count; i++)
        if (compare_json(FILTER_EQ, v, &n->value.list.items[i]))
            return true;
    return false;
}

/*
 * Row by row of the matrix "the first i of the text match the first j of the pattern", by bytes; "_" takes
 * one character, that is, a byte that does not continue a character and those that continue it.
 */
static bool like(struct filter_bytes text, struct filter_bytes pattern)
{
    bool *now = calloc(text.len + 1, 1), *next = calloc(text.len + 1, 1), result = false;
    if (!now || !next)
        abort(); /* the reference has no way to say so */
    now[0] = true;
    for (size_t j = 0; j < pattern.len; j++) {
        char c = pattern.data[j];
        bool any = c == '%', one = c == '_';
        if (c == '\\' && j + 1 < pattern.len)
            c = pattern.data[++j];
        memset(next, 0, text.len + 1);
        for (size_t i = 0; i <= text.len; i++) {
            if (any)
                next[i] = now[i] || (i > 0 && next[i - 1]);
            else if (now[i] && i < text.len && one && ((unsigned char)text.data[i] & 0xc0) != 0x80) {
                size_t end = i + 1;
                while (end < text.len && ((unsigned char)text.data[end] & 0xc0) == 0x80)
                    end++;
                next[end] = true;
            } else if (now[i] && i < text.len && !one && text.data[i] == c)
                next[i + 1] = true;
        }
        bool *swap = now;
        now = next;
        next = swap;
    }
    result = now[text.len];
    free(now);
    free(next);
    return result;
}

static bool test_like(const struct filter_node *n, struct json_object *v)
{
    return json_object_is_type(v, json_type_string) && like(json_bytes(v), n->value.s);
}

static int64_t compute_ints(enum filter_arith op, int64_t a, int64_t b)
{
    __int128 wide = a;
    switch (op) {
    case FILTER_ADD:
        wide += b;
        break;
    case FILTER_SUB:
        wide -= b;
        break;
    case FILTER_MUL:
        wide *= b;
        break;
    case FILTER_DIV:
        wide /= b;
        break;
    default:
        wide %= b;
    }
    return (int64_t)(uint64_t)wide;
}

static double compute_floats(enum filter_arith op, double a, double b)
{
    switch (op) {
    case FILTER_ADD:
        return a + b;
    case FILTER_SUB:
        return a - b;
    case FILTER_MUL:
        return a * b;
    case FILTER_DIV:
        return a / b;
    default:
        return fmod(a, b);
    }
}

static bool test_arith(const struct filter_node *n, struct json_object *v)
{
    struct number a, b, c;
    bool equal = n->op == FILTER_NE;
    if (!json_number(v, &a) || !constant_number(&n->operand, &b) || !constant_number(&n->value, &c))
        return equal;
    if (a.is_int && b.is_int) {
        int64_t i = compute_ints(n->arith, a.i, b.i);
        return compare_numbers(n->op, (struct number){.is_int = true, .i = i, .f = (double)i}, c);
    }
    return compare_numbers(n->op, (struct number){.f = compute_floats(n->arith, a.f, b.f)}, c);
}

static bool test_length(const struct filter_node *n, struct json_object *v)
{
    if (!json_object_is_type(v, json_type_array))
        return n->op == FILTER_NE && (v || n->field.kind != FILTER_TAG);
    int64_t length = (int64_t)json_object_array_length(v);
    return holds(n->op, length<n->value.i, length == n->value.i, length> n->value.i);
}

static bool has(struct json_object *list, const struct filter_value *element)
{
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (compare_json(FILTER_EQ, json_object_array_get_idx(list, i), element))
            return true;
    return false;
}

static bool test_contains(const struct filter_node *n, struct json_object *v)
{
    if (!json_object_is_type(v, json_type_array))
        return false;
    if (n->kind == FILTER_CONTAINS)
        return has(v, &n->value);
    bool all = n->kind == FILTER_CONTAINS_ALL;
    for (size_t i = 0; i < n->value.list.count; i++)
        if (has(v, &n->value.list.items[i]) != all)
            return !all;
    return all;
}

static bool test(const struct filter_node *n, struct json_object *v)
{
    switch (n->kind) {
    case FILTER_COMPARE:
        return test_compare(n, v);
    case FILTER_RANGE:
        return test_range(n, v);
    case FILTER_IN:
        return test_in(n, v);
    case FILTER_LIKE:
        return test_like(n, v);
    case FILTER_ARITH:
        return test_arith(n, v);
    case FILTER_LENGTH:
        return test_length(n, v);
    case FILTER_EXISTS:
        return v != NULL;
    default:
        return test_contains(n, v);
    }
}

static enum filter_truth leaf(const struct filter_node *n, const struct filter_record *r)
{
    bool null = column_is_null(&n->field, r) || (n->kind == FILTER_FIELDS && column_is_null(&n->other, r));
    if (n->kind == FILTER_NULL)
        return null ? FILTER_TRUE : FILTER_FALSE;
    if (null)
        return FILTER_UNKNOWN;
    struct json_object *a = field_value(&n->field, r), *b = NULL;
    if (n->kind == FILTER_FIELDS)
        b = field_value(&n->other, r);
    bool result = n->kind == FILTER_FIELDS ? test_fields(n, a, b) : test(n, a);
    json_object_put(a);
    json_object_put(b);
    return result ? FILTER_TRUE : FILTER_FALSE;
}

static enum filter_truth evaluate(const struct filter_node *n, const struct filter_record *r)
{
    enum filter_truth first, result;
    switch (n->kind) {
    case FILTER_CONST:
        return n->value.b ? FILTER_TRUE : FILTER_FALSE;
    case FILTER_NOT:
        first = evaluate(n->children[0], r);
        return first == FILTER_UNKNOWN ? first : first == FILTER_TRUE ? FILTER_FALSE : FILTER_TRUE;
    case FILTER_AND:
    case FILTER_OR:
        /* `and` is FALSE once one is; `or` is TRUE once one is; else UNKNOWN if one is. */
        first = n->kind == FILTER_AND ? FILTER_FALSE : FILTER_TRUE;
        result = n->kind == FILTER_AND ? FILTER_TRUE : FILTER_FALSE;
        for (size_t i = 0; i < n->count; i++) {
            enum filter_truth t = evaluate(n->children[i], r);
            if (t == first)
                return first;
            if (t == FILTER_UNKNOWN)
                result = FILTER_UNKNOWN;
        }
        return result;
    default:
        return leaf(n, r);
    }
}

enum filter_truth filter_interpret(const struct filter *filter, const struct filter_record *record)
{
    return filter ? evaluate(filter->root, record) : FILTER_TRUE;
}
