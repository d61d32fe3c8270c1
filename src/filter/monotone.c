#include "filter/ccol.h"
#include "filter/leaf.h"

#include <math.h>

/*
 * `field + 5 > 100` and the like as ranges of the field. Adding, multiplying and dividing keep the order of numbers or
 * turn it around, rounding included, so the numbers that are meant are those from one to another, which are found by
 * halving; comparing the column with two numbers takes a tenth of the time of computing with all of it. Where ints wrap
 * around, their order breaks at one place: there are two parts then, each ordered in itself. Products wrap in many
 * places; they are only dealt with here where the column holds nothing that wraps.
 *
 * Remainders are not ordered, and infinity times zero is no number: the scan computes those.
 */

struct steps {
    const struct filter_leaf *leaf;
    bool ints; /* keys of ints, else of doubles */
};

static int order_ints(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int64_t compute_int(enum filter_arith op, int64_t v, int64_t k)
{
    switch (op) {
    case FILTER_ADD:
        return (int64_t)((uint64_t)v + (uint64_t)k);
    case FILTER_SUB:
        return (int64_t)((uint64_t)v - (uint64_t)k);
    case FILTER_MUL:
        return (int64_t)((uint64_t)v * (uint64_t)k);
    default:
        return k == -1 ? (int64_t)(0 - (uint64_t)v) : v / k;
    }
}

static double compute_double(enum filter_arith op, double v, double k)
{
    switch (op) {
    case FILTER_ADD:
        return v + k;
    case FILTER_SUB:
        return v - k;
    case FILTER_MUL:
        return v * k;
    default:
        return v / k;
    }
}

/* Is what is computed from the key below the constant (-1), equal or above? */
static int order_at(const struct steps *s, uint64_t key)
{
    const struct filter_node *n = s->leaf->node;
    if (s->ints && n->operand.kind == FILTER_INT)
        return order_ints(compute_int(n->arith, filter_int_key(key), n->operand.i), n->value.i);
    double v = s->ints ? (double)filter_int_key(key) : filter_double_key(key), c = filter_constant_double(&n->value);
    v = compute_double(n->arith, v, filter_constant_double(&n->operand));
    return (v > c) - (v < c);
}

/* The first key of the part whose order, times `sign`, is at least `least`; false where there is none. */
static bool first_key(
    const struct steps *s, struct filter_key_span part, int sign, int least, uint64_t *out)
{
    uint64_t low = part.low, high = part.high;
    if (sign * order_at(s, high) < least)
        return false;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (sign * order_at(s, middle) >= least)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return true;
}

static enum filter_op mirrored(enum filter_op op)
{
    static const enum filter_op other[] = {[FILTER_LT] = FILTER_GT,
        [FILTER_LE] = FILTER_GE,
        [FILTER_GT] = FILTER_LT,
        [FILTER_GE] = FILTER_LE,
        [FILTER_EQ] = FILTER_EQ};
    return other[op];
}

/* The keys of a part, ordered in itself, that are meant; false where there are none. */
static bool cut(const struct steps *s, struct filter_key_span part, struct filter_key_span *out)
{
    int sign = order_at(s, part.low) > order_at(s, part.high) ? -1 : 1;
    enum filter_op op = sign < 0 ? mirrored(s->leaf->op) : s->leaf->op;
    uint64_t equal = 0, above = 0; /* the first that is at least, and that is more than the constant */
    bool any_equal = first_key(s, part, sign, 0, &equal), any_above = first_key(s, part, sign, 1, &above);
    *out = part;
    if (op == FILTER_GT || op == FILTER_GE || op == FILTER_EQ) {
        if (!(op == FILTER_GT ? any_above : any_equal))
            return false;
        out->low = op == FILTER_GT ? above : equal;
    }
    if ((op == FILTER_LT && any_equal) || ((op == FILTER_LE || op == FILTER_EQ) && any_above)) {
        uint64_t end = op == FILTER_LT ? equal : above;
        if (end == out->low)
            return false;
        out->high = end - 1;
    }
    return true;
}

/* The ints whose product with k is an int64, as keys. */
static struct filter_key_span products(int64_t k)
{
    int64_t low = INT64_MIN, high = INT64_MAX;
    if (k > 0) {
        low = INT64_MIN / k;
        high = INT64_MAX / k;
    } else if (k < 0) {
        low = INT64_MAX / k;
        high = k == -1 ? INT64_MAX : INT64_MIN / k;
    }
    return (struct filter_key_span){filter_key_int(low), filter_key_int(high)};
}

/* The parts in which the operation keeps the order of the ints of a column; 0 where there is no such split. */
static size_t parts_of_ints(
    const struct filter_node *n, const struct filter_ccol *col, struct filter_key_span parts[2])
{
    uint64_t k = n->operand.kind == FILTER_INT ? (uint64_t)n->operand.i : 0, wraps = 0;
    parts[0] = (struct filter_key_span){0, UINT64_MAX};
    if (n->operand.kind != FILTER_INT)
        return 1;
    if (n->arith == FILTER_MUL) {
        parts[0] = products(n->operand.i);
        return filter_ccol_within(col, parts[0].low, parts[0].high) ? 1 : 0;
    }
    if (n->arith == FILTER_DIV)
        wraps = n->operand.i == -1; /* the least int is its own opposite */
    else
        wraps = n->arith == FILTER_ADD ? 0 - k : k; /* keys are added up as their ints are */
    if (!wraps)
        return 1;
    parts[0].high = wraps - 1;
    parts[1] = (struct filter_key_span){wraps, UINT64_MAX};
    return 2;
}

bool filter_leaf_arith_spans(const struct filter_leaf *leaf, const struct filter_ccol *col, bool ints,
    struct filter_key_span out[2], size_t *count)
{
    const struct filter_node *n = leaf->node;
    const struct steps s = {leaf, ints};
    struct filter_key_span parts[2] = {{filter_key_double(-INFINITY), filter_key_double(INFINITY)}};
    double k = filter_constant_double(&n->operand);
    if (n->arith == FILTER_MOD || !isfinite(k) || !isfinite(filter_constant_double(&n->value)))
        return false;
    if (!ints && n->arith == FILTER_MUL && k == 0)
        return false;
    size_t some = ints ? parts_of_ints(n, col, parts) : 1;
    *count = 0;
    for (size_t i = 0; i < some; i++)
        *count += cut(&s, parts[i], &out[*count]);
    return some > 0;
}
