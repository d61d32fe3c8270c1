#include "filter/leaf.h"

#include "filter/ccol.h"

#include <math.h>

/*
 * How a value of each type meets a leaf. Comparisons of an int with a float constant go through double, as
 * (double)v is compared; because that rounds monotonically, the ints that are meant are a span, found by
 * halving.
 */

static int order_bytes(struct filter_bytes a, struct filter_bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int c = memcmp(a.data, b.data, shorter);
    return c != 0 ? c : a.len < b.len ? -1 : a.len > b.len;
}

static bool op_holds(enum filter_op op, int order)
{
    switch (op) {
    case FILTER_LT:
        return order < 0;
    case FILTER_LE:
        return order <= 0;
    case FILTER_GT:
        return order > 0;
    case FILTER_GE:
        return order >= 0;
    default:
        return order == 0;
    }
}

static bool is_number(const struct filter_value *v)
{
    return v->kind == FILTER_INT || v->kind == FILTER_FLOAT;
}

/* --- spans
 * ------------------------------------------------------------------------------------------------------------
 */

/* The least int whose double is ≥ c, or > c where `strict`; false where there is none. */
static bool first_int(double c, bool strict, int64_t *out)
{
    int64_t low = INT64_MIN, high = INT64_MAX;
    if (strict ? !((double)high > c) : !((double)high >= c))
        return false;
    while (low < high) {
        int64_t middle = low + (int64_t)(((uint64_t)high - (uint64_t)low) / 2);
        if (strict ? (double)middle > c : (double)middle >= c)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return true;
}

/* Cut the span down to the ints v with `v op c`; false where nothing is left. */
static bool cut_span(enum filter_op op, const struct filter_value *c, struct filter_span *s)
{
    int64_t first = c->i, beyond = c->i; /* of those that equal c, and of those above it */
    bool any_first = true, any_beyond = c->kind == FILTER_INT && c->i < INT64_MAX;
    if (c->kind == FILTER_INT) {
        beyond += any_beyond;
    } else {
        any_first = first_int(c->f, false, &first);
        any_beyond = first_int(c->f, true, &beyond);
    }
    bool from_first = op == FILTER_GE || op == FILTER_EQ, to_last = op == FILTER_LE || op == FILTER_EQ;
    if (from_first || op == FILTER_GT) {
        if (!(from_first ? any_first : any_beyond))
            return false;
        int64_t low = from_first ? first : beyond;
        s->low = low > s->low ? low : s->low;
    }
    if ((to_last && any_beyond) || (op == FILTER_LT && any_first)) {
        int64_t end = to_last ? beyond : first;
        if (end == INT64_MIN)
            return false;
        s->high = end - 1 < s->high ? end - 1 : s->high;
    }
    return s->low <= s->high;
}

bool filter_leaf_int_span(const struct filter_leaf *leaf, struct filter_span *out)
{
    const struct filter_node *n = leaf->node;
    *out = (struct filter_span){INT64_MIN, INT64_MAX};
    if (!is_number(&n->value))
        return false;
    if (n->kind == FILTER_RANGE)
        return cut_span(n->lower_inclusive ? FILTER_GE : FILTER_GT, &n->lower, out) &&
               cut_span(n->upper_inclusive ? FILTER_LE : FILTER_LT, &n->value, out);
    return n->kind == FILTER_COMPARE && cut_span(leaf->op, &n->value, out);
}

static void cut_keys(enum filter_op op, const struct filter_value *c, uint64_t *low, uint64_t *high)
{
    uint64_t key = filter_key_double(filter_constant_double(c));
    if (op == FILTER_GE || op == FILTER_EQ || op == FILTER_GT)
        *low = op == FILTER_GT ? key + 1 : key;
    if (op == FILTER_LE || op == FILTER_EQ || op == FILTER_LT)
        *high = op == FILTER_LT ? key - 1 : key;
}

bool filter_leaf_double_keys(const struct filter_leaf *leaf, uint64_t *low, uint64_t *high)
{
    const struct filter_node *n = leaf->node;
    *low = filter_key_double(-INFINITY);
    *high = filter_key_double(INFINITY);
    if (!is_number(&n->value))
        return false;
    if (n->kind == FILTER_RANGE) {
        cut_keys(n->lower_inclusive ? FILTER_GE : FILTER_GT, &n->lower, low, high);
        cut_keys(n->upper_inclusive ? FILTER_LE : FILTER_LT, &n->value, low, high);
    } else {
        cut_keys(leaf->op, &n->value, low, high);
    }
    return *low <= *high;
}

/* --- lists
 * ------------------------------------------------------------------------------------------------------------
 */

static int by_span(const void *a, const void *b)
{
    const struct filter_span *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

static int by_double(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int by_bytes(const void *a, const void *b)
{
    const struct filter_bytes *x = a, *y = b;
    return order_bytes(*x, *y);
}

static uint64_t spread(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return key ^ key >> 32;
}

static enum result keys_init(struct filter_keys *keys, size_t count)
{
    uint64_t size = 16;
    while (size < 4 * count)
        size *= 2;
    keys->table = calloc(size, sizeof *keys->table);
    keys->mask = size - 1;
    return keys->table ? ERR_OK : ERR_NO_MEMORY;
}

static void keys_add(struct filter_keys *keys, uint64_t key)
{
    uint64_t at = spread(key) & keys->mask;
    keys->zero = keys->zero || key == 0;
    while (keys->table[at] && keys->table[at] != key)
        at = (at + 1) & keys->mask;
    keys->table[at] = key;
}

static bool keys_have(const struct filter_keys *keys, uint64_t key)
{
    if (key == 0)
        return keys->zero;
    for (uint64_t at = spread(key) & keys->mask; keys->table[at]; at = (at + 1) & keys->mask)
        if (keys->table[at] == key)
            return true;
    return false;
}

static enum result hash_numbers(struct filter_leaf *leaf)
{
    bool single = true;
    for (size_t i = 0; i < leaf->span_count; i++)
        single = single && leaf->spans[i].low == leaf->spans[i].high;
    enum result r = keys_init(&leaf->double_keys, leaf->double_count);
    for (size_t i = 0; !r && i < leaf->double_count; i++)
        keys_add(&leaf->double_keys, filter_key_double(leaf->doubles[i]));
    if (!r && single)
        r = keys_init(&leaf->int_keys, leaf->span_count);
    for (size_t i = 0; !r && single && i < leaf->span_count; i++)
        keys_add(&leaf->int_keys, filter_key_int(leaf->spans[i].low));
    return r;
}

static enum result prepare_list(struct filter_leaf *leaf)
{
    const struct filter_value *list = &leaf->node->value;
    size_t room = list->list.count + 1;
    leaf->spans = malloc(room * sizeof *leaf->spans);
    leaf->doubles = malloc(room * sizeof *leaf->doubles);
    leaf->strings = malloc(room * sizeof *leaf->strings);
    if (!leaf->spans || !leaf->doubles || !leaf->strings)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < list->list.count; i++) {
        const struct filter_value *v = &list->list.items[i];
        struct filter_span span = {INT64_MIN, INT64_MAX};
        if (is_number(v)) {
            leaf->doubles[leaf->double_count++] = filter_constant_double(v);
            if (cut_span(FILTER_EQ, v, &span))
                leaf->spans[leaf->span_count++] = span;
        } else if (v->kind == FILTER_STRING) {
            leaf->strings[leaf->string_count++] = v->s;
        }
    }
    qsort(leaf->spans, leaf->span_count, sizeof *leaf->spans, by_span);
    qsort(leaf->doubles, leaf->double_count, sizeof *leaf->doubles, by_double);
    qsort(leaf->strings, leaf->string_count, sizeof *leaf->strings, by_bytes);
    return hash_numbers(leaf);
}

enum result filter_leaf_init(struct filter_leaf *leaf, const struct filter_node *node)
{
    *leaf = (struct filter_leaf){.node = node, .op = node->op == FILTER_NE ? FILTER_EQ : node->op};
    enum result r = ERR_OK;
    if (node->kind == FILTER_LIKE)
        r = filter_pattern_new(node->value.s, &leaf->pattern);
    else if (node->kind == FILTER_IN)
        r = prepare_list(leaf);
    if (r)
        filter_leaf_free(leaf);
    return r;
}

void filter_leaf_free(struct filter_leaf *leaf)
{
    filter_pattern_free(leaf->pattern);
    free(leaf->spans);
    free(leaf->doubles);
    free(leaf->strings);
    free(leaf->int_keys.table);
    free(leaf->double_keys.table);
    *leaf = (struct filter_leaf){.node = leaf->node};
}

static bool in_spans(const struct filter_leaf *leaf, int64_t v)
{
    size_t low = 0, high = leaf->span_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (leaf->spans[middle].high < v)
            low = middle + 1;
        else
            high = middle;
    }
    return low < leaf->span_count && leaf->spans[low].low <= v;
}

/* --- arithmetic
 * ----------------------------------------------------------------------------------------------------------
 */

/*
 * Division of numbers below 2^51 by way of double: the quotient is off by one at most, which the remainder
 * shows. It takes a third of the time of the instruction for int64.
 */
FILTER_INLINED bool divide_fast(bool remainder, int64_t k, const int64_t in[64], int64_t out[64])
{
    const int64_t limit = (int64_t)1 << 51;
    uint64_t beyond = 0;
    for (int i = 0; i < 64; i++)
        beyond |= (uint64_t)in[i] + (uint64_t)limit;
    if (beyond >= 2 * (uint64_t)limit || k >= limit || k <= -limit)
        return false;
    const int64_t m = k < 0 ? -k : k;
    const double inverse = 1.0 / (double)m;
    for (int i = 0; i < 64; i++) {
        int64_t sign = in[i] >> 63, a = (in[i] ^ sign) - sign;
        int64_t q = (int64_t)((double)a * inverse), r = a - q * m;
        int64_t low = r >> 63, high = -(int64_t)(r >= m);
        q += low - high;
        r += (low & m) - (high & m);
        out[i] = ((remainder ? r : k < 0 ? -q : q) ^ sign) - sign;
    }
    return true;
}

/*
 * Remainders of whole numbers below 2^31, given and returned as doubles. The quotient of such is further from the next
 * whole number than a double errs, so each step is exact. Compilers make vectors of
 * this, and not of the division of int64.
 */
FILTER_INLINED void remainders(double k, const double in[64], double out[64])
{
    for (int i = 0; i < 64; i++)
        out[i] = in[i] - (double)(int32_t)(in[i] / k) * k;
}

FILTER_INLINED bool remainders_of_ints(int64_t k, const int64_t in[64], int64_t out[64])
{
    const int64_t limit = INT32_MAX;
    uint64_t beyond = 0;
    double doubles[64];
    for (int i = 0; i < 64; i++)
        beyond |= ((uint64_t)in[i] + (uint64_t)limit) & ~(uint64_t)UINT32_MAX;
    if (beyond || k > limit || k < -limit)
        return false;
    for (int i = 0; i < 64; i++)
        doubles[i] = (int32_t)in[i];
    remainders((double)k, doubles, doubles);
    for (int i = 0; i < 64; i++)
        out[i] = (int32_t)doubles[i];
    return true;
}

FILTER_INLINED void arith_ints(enum filter_arith op, int64_t k, const int64_t in[64], int64_t out[64])
{
    bool divides = op == FILTER_DIV || op == FILTER_MOD;
    if (op == FILTER_MOD && remainders_of_ints(k, in, out))
        return;
    if (divides && divide_fast(op == FILTER_MOD, k, in, out))
        return;
    switch (op) {
    case FILTER_ADD:
        for (int i = 0; i < 64; i++)
            out[i] = (int64_t)((uint64_t)in[i] + (uint64_t)k);
        return;
    case FILTER_SUB:
        for (int i = 0; i < 64; i++)
            out[i] = (int64_t)((uint64_t)in[i] - (uint64_t)k);
        return;
    case FILTER_MUL:
        for (int i = 0; i < 64; i++)
            out[i] = (int64_t)((uint64_t)in[i] * (uint64_t)k);
        return;
    case FILTER_DIV:
        for (int i = 0; i < 64; i++)
            out[i] = k == -1 ? (int64_t)(0 - (uint64_t)in[i]) : in[i] / k;
        return;
    default:
        for (int i = 0; i < 64; i++)
            out[i] = k == -1 ? 0 : in[i] % k;
    }
}

/*
 * fmod(v, k) for an integer k, exactly: the remainder of the integer part and the fraction have the same
 * sign, and their sum is the remainder that fmod() gives, which a double holds. It is ten times as fast.
 */
static double remainder_of(double v, double k)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    if (!(fabs(v) < exact) || !(fabs(k) < exact))
        return fmod(v, k);
    int64_t whole = (int64_t)v;
    return (double)(whole % (int64_t)k) + (v - (double)whole);
}

FILTER_INLINED void remainders_of_doubles(double k, const double in[64], double out[64])
{
    const double limit = INT32_MAX;
    double whole[64];
    bool fits = fabs(k) <= limit;
    for (int i = 0; i < 64; i++)
        fits &= fabs(in[i]) <= limit; /* not so for what is not a number, which absent keys can be */
    if (!fits) {
        for (int i = 0; i < 64; i++)
            out[i] = remainder_of(in[i], k);
        return;
    }
    for (int i = 0; i < 64; i++)
        whole[i] = (double)(int32_t)in[i];
    remainders(k, whole, out);
    for (int i = 0; i < 64; i++)
        out[i] += in[i] - whole[i];
}

FILTER_INLINED void arith_doubles(enum filter_arith op, double k, const double in[64], double out[64])
{
    switch (op) {
    case FILTER_ADD:
        for (int i = 0; i < 64; i++)
            out[i] = in[i] + k;
        return;
    case FILTER_SUB:
        for (int i = 0; i < 64; i++)
            out[i] = in[i] - k;
        return;
    case FILTER_MUL:
        for (int i = 0; i < 64; i++)
            out[i] = in[i] * k;
        return;
    case FILTER_DIV:
        for (int i = 0; i < 64; i++)
            out[i] = in[i] / k;
        return;
    default:
        remainders_of_doubles(k, in, out);
    }
}

enum { FEW_DOUBLES = 8 }; /* compared one after the other, more are looked up */

#define MASK(op)                                                                                             \
    for (int i = 0; i < 64; i++)                                                                             \
        flags[i] = v[i] op c;                                                                                \
    return filter_pack(flags)

#define DEFINE_COMPARE(type)                                                                                 \
    FILTER_INLINED uint64_t compare_##type(enum filter_op op, const type v[64], type c)                      \
    {                                                                                                        \
        uint8_t flags[64];                                                                                   \
        switch (op) {                                                                                        \
        case FILTER_LT:                                                                                      \
            MASK(<);                                                                                         \
        case FILTER_LE:                                                                                      \
            MASK(<=);                                                                                        \
        case FILTER_GT:                                                                                      \
            MASK(>);                                                                                         \
        case FILTER_GE:                                                                                      \
            MASK(>=);                                                                                        \
        default:                                                                                             \
            MASK(==);                                                                                        \
        }                                                                                                    \
    }
DEFINE_COMPARE(int64_t)
DEFINE_COMPARE(double)

FILTER_INLINED uint64_t arith_double_block(const struct filter_leaf *leaf, const double in[64])
{
    double out[64];
    arith_doubles(leaf->node->arith, filter_constant_double(&leaf->node->operand), in, out);
    return compare_double(leaf->op, out, filter_constant_double(&leaf->node->value));
}

FILTER_INLINED uint64_t arith_int_block(const struct filter_leaf *leaf, const int64_t in[64])
{
    const struct filter_node *n = leaf->node;
    if (n->operand.kind == FILTER_INT) {
        int64_t out[64];
        arith_ints(n->arith, n->operand.i, in, out);
        return compare_int64_t(leaf->op, out, n->value.i);
    }
    double doubles[64];
    for (int i = 0; i < 64; i++)
        doubles[i] = (double)in[i];
    return arith_double_block(leaf, doubles);
}

FILTER_INLINED uint64_t int_block(const void *user, const uint64_t keys[64])
{
    const struct filter_leaf *leaf = user;
    uint64_t mask = 0;
    if (leaf->node->kind == FILTER_IN) {
        for (int i = 0; i < 64; i++)
            mask |= (uint64_t)(leaf->int_keys.table ? keys_have(&leaf->int_keys, keys[i])
                                                    : in_spans(leaf, filter_int_key(keys[i])))
                    << i;
        return mask;
    }
    int64_t ints[64];
    for (int i = 0; i < 64; i++)
        ints[i] = filter_int_key(keys[i]);
    return arith_int_block(leaf, ints);
}

FILTER_TWICE(uint64_t, int_block, (const void *user, const uint64_t keys[64]), (user, keys))

filter_block_fn filter_leaf_int_block(void)
{
    return int_block_best();
}

FILTER_INLINED uint64_t double_block(const void *user, const uint64_t keys[64])
{
    const struct filter_leaf *leaf = user;
    uint64_t mask = 0;
    if (leaf->node->kind == FILTER_ARITH) {
        double doubles[64];
        for (int i = 0; i < 64; i++)
            doubles[i] = filter_double_key(keys[i]);
        return arith_double_block(leaf, doubles);
    }
    if (leaf->double_count <= FEW_DOUBLES) {
        uint8_t flags[64] = {0};
        for (size_t d = 0; d < leaf->double_count; d++) {
            const uint64_t key = filter_key_double(leaf->doubles[d]);
            for (int i = 0; i < 64; i++)
                flags[i] |= keys[i] == key;
        }
        return filter_pack(flags);
    }
    for (int i = 0; i < 64; i++)
        mask |= (uint64_t)keys_have(&leaf->double_keys, keys[i]) << i;
    return mask;
}

FILTER_TWICE(uint64_t, double_block, (const void *user, const uint64_t keys[64]), (user, keys))

filter_block_fn filter_leaf_double_block(void)
{
    return double_block_best();
}

/* --- single values
 * ---------------------------------------------------------------------------------------------------------
 */

bool filter_leaf_int(const struct filter_leaf *leaf, int64_t v)
{
    struct filter_span span;
    int64_t ints[64] = {v};
    switch (leaf->node->kind) {
    case FILTER_COMPARE:
    case FILTER_RANGE:
        return filter_leaf_int_span(leaf, &span) && span.low <= v && v <= span.high;
    case FILTER_IN:
        return in_spans(leaf, v);
    case FILTER_ARITH:
        return arith_int_block(leaf, ints) & 1;
    default:
        return leaf->node->kind == FILTER_EXISTS;
    }
}

bool filter_leaf_double(const struct filter_leaf *leaf, double v)
{
    uint64_t low, high, key = filter_key_double(v);
    double doubles[64] = {v};
    switch (leaf->node->kind) {
    case FILTER_COMPARE:
    case FILTER_RANGE:
        return filter_leaf_double_keys(leaf, &low, &high) && low <= key && key <= high;
    case FILTER_IN:
        return bsearch(&v, leaf->doubles, leaf->double_count, sizeof v, by_double) != NULL;
    case FILTER_ARITH:
        return arith_double_block(leaf, doubles) & 1;
    default:
        return leaf->node->kind == FILTER_EXISTS;
    }
}

bool filter_leaf_string(const struct filter_leaf *leaf, struct filter_bytes v)
{
    const struct filter_node *n = leaf->node;
    switch (n->kind) {
    case FILTER_COMPARE:
        return n->value.kind == FILTER_STRING && op_holds(leaf->op, order_bytes(v, n->value.s));
    case FILTER_RANGE:
        return n->value.kind == FILTER_STRING &&
               op_holds(n->lower_inclusive ? FILTER_GE : FILTER_GT, order_bytes(v, n->lower.s)) &&
               op_holds(n->upper_inclusive ? FILTER_LE : FILTER_LT, order_bytes(v, n->value.s));
    case FILTER_IN:
        return bsearch(&v, leaf->strings, leaf->string_count, sizeof v, by_bytes) != NULL;
    case FILTER_LIKE:
        return filter_pattern_match(leaf->pattern, v);
    default:
        return n->kind == FILTER_EXISTS;
    }
}

bool filter_leaf_bool(const struct filter_leaf *leaf, bool v)
{
    const struct filter_node *n = leaf->node;
    if (n->kind == FILTER_COMPARE)
        return n->value.kind == FILTER_BOOL && op_holds(leaf->op, (int)v - (int)n->value.b);
    for (size_t i = 0; n->kind == FILTER_IN && i < n->value.list.count; i++)
        if (n->value.list.items[i].kind == FILTER_BOOL && n->value.list.items[i].b == v)
            return true;
    return n->kind == FILTER_EXISTS;
}

/* Whether a value equals a constant, of any kind. */
static bool equals(const struct filter_blob *v, const struct filter_value *c)
{
    struct filter_bytes rest = v->s;
    switch (v->kind) {
    case FILTER_BLOB_FALSE:
    case FILTER_BLOB_TRUE:
        return c->kind == FILTER_BOOL && c->b == (v->kind == FILTER_BLOB_TRUE);
    case FILTER_BLOB_INT:
        return c->kind == FILTER_INT ? v->i == c->i : c->kind == FILTER_FLOAT && (double)v->i == c->f;
    case FILTER_BLOB_FLOAT:
        return is_number(c) && v->f == filter_constant_double(c);
    case FILTER_BLOB_STRING:
        return c->kind == FILTER_STRING && order_bytes(v->s, c->s) == 0;
    case FILTER_BLOB_ARRAY:
        if (c->kind != FILTER_LIST || c->list.count != v->count)
            return false;
        for (uint32_t i = 0; i < v->count; i++) {
            struct filter_blob element = filter_blob_next(&rest);
            if (!equals(&element, &c->list.items[i]))
                return false;
        }
        return true;
    default:
        return false;
    }
}

static bool array_has(const struct filter_blob *array, const struct filter_value *c)
{
    struct filter_bytes rest = array->s;
    for (uint32_t i = 0; i < array->count; i++) {
        struct filter_blob element = filter_blob_next(&rest);
        if (equals(&element, c))
            return true;
    }
    return false;
}

static bool array_value(const struct filter_leaf *leaf, const struct filter_blob *v)
{
    const struct filter_node *n = leaf->node;
    const struct filter_value *list = &n->value;
    int64_t count = v->count;
    bool all = n->kind == FILTER_CONTAINS_ALL;
    switch (n->kind) {
    case FILTER_COMPARE:
        return leaf->op == FILTER_EQ && equals(v, list);
    case FILTER_IN:
        for (size_t i = 0; i < list->list.count; i++)
            if (equals(v, &list->list.items[i]))
                return true;
        return false;
    case FILTER_LENGTH:
        return op_holds(leaf->op, (count > n->value.i) - (count < n->value.i));
    case FILTER_CONTAINS:
        return array_has(v, &n->value);
    case FILTER_CONTAINS_ALL:
    case FILTER_CONTAINS_ANY:
        for (size_t i = 0; i < list->list.count; i++)
            if (array_has(v, &list->list.items[i]) != all)
                return !all;
        return all;
    default:
        return n->kind == FILTER_EXISTS;
    }
}

bool filter_leaf_value(const struct filter_leaf *leaf, const struct filter_blob *v)
{
    switch (v->kind) {
    case FILTER_BLOB_NULL:
        return false;
    case FILTER_BLOB_FALSE:
    case FILTER_BLOB_TRUE:
        return filter_leaf_bool(leaf, v->kind == FILTER_BLOB_TRUE);
    case FILTER_BLOB_INT:
        return filter_leaf_int(leaf, v->i);
    case FILTER_BLOB_FLOAT:
        return filter_leaf_double(leaf, v->f);
    case FILTER_BLOB_STRING:
        return filter_leaf_string(leaf, v->s);
    case FILTER_BLOB_ARRAY:
        return array_value(leaf, v);
    default:
        return leaf->node->kind == FILTER_EXISTS;
    }
}
