#include "filter/check.h"

#include <math.h>

/*
 * Constants are computed as Go does it: int64 wraps, division truncates, an int beside a float becomes one. A
 * result that is not finite is refused: no number of a record is like that.
 */

static bool is_number(const struct filter_value *v)
{
    return v->kind == FILTER_INT || v->kind == FILTER_FLOAT;
}

static double as_double(const struct filter_value *v)
{
    return v->kind == FILTER_INT ? (double)v->i : v->f;
}

/* a to the power of b ≥ 0, or false where it does not fit. */
static bool int_power(int64_t a, int64_t b, int64_t *out)
{
    int64_t result = 1;
    for (;;) {
        if ((b & 1) && __builtin_mul_overflow(result, a, &result))
            return false;
        b >>= 1;
        if (b == 0)
            break;
        if (__builtin_mul_overflow(a, a, &a))
            return false;
    }
    *out = result;
    return true;
}

static void fold_ints(enum lex_kind op, int64_t a, int64_t b, struct filter_value *out)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    out->kind = FILTER_INT;
    switch (op) {
    case LEX_ADD:
        out->i = (int64_t)(x + y);
        return;
    case LEX_SUB:
        out->i = (int64_t)(x - y);
        return;
    case LEX_MUL:
        out->i = (int64_t)(x * y);
        return;
    case LEX_DIV:
        out->i = b == -1 ? (int64_t)(0 - x) : a / b;
        return;
    case LEX_MOD:
        out->i = b == -1 ? 0 : a % b;
        return;
    default: /* LEX_POW */
        if (b >= 0 && int_power(a, b, &out->i))
            return;
        out->kind = FILTER_FLOAT;
        out->f = pow((double)a, (double)b);
    }
}

static double fold_floats(enum lex_kind op, double a, double b)
{
    switch (op) {
    case LEX_ADD:
        return a + b;
    case LEX_SUB:
        return a - b;
    case LEX_MUL:
        return a * b;
    case LEX_DIV:
        return a / b;
    default: /* LEX_POW */
        return pow(a, b);
    }
}

enum result filter_fold_arith(enum lex_kind op, const struct filter_value *a, const struct filter_value *b,
    struct filter_value *out, const char **why)
{
    bool ints = a->kind == FILTER_INT && b->kind == FILTER_INT;
    if (!is_number(a) || !is_number(b)) {
        *why = "only numbers can be computed with";
        return ERR_INVALID;
    }
    if (op == LEX_MOD && !ints) {
        *why = "\"%\" is for integers";
        return ERR_INVALID;
    }
    if ((op == LEX_DIV || op == LEX_MOD) && as_double(b) == 0) {
        *why = "a division by zero";
        return ERR_INVALID;
    }
    struct filter_value result = {0};
    if (ints) {
        fold_ints(op, a->i, b->i, &result);
    } else {
        result.kind = FILTER_FLOAT;
        result.f = fold_floats(op, as_double(a), as_double(b));
    }
    if (result.kind == FILTER_FLOAT && !isfinite(result.f)) {
        *why = "the result is not a number, or too large for one";
        return ERR_INVALID;
    }
    *out = result;
    return ERR_OK;
}

static int order_bytes(struct filter_bytes a, struct filter_bytes b)
{
    int c = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool filter_fold_compare(
    enum filter_op op, const struct filter_value *a, const struct filter_value *b, bool *out)
{
    int order;
    if (a->kind == FILTER_INT && b->kind == FILTER_INT)
        order = (a->i > b->i) - (a->i < b->i);
    else if (is_number(a) && is_number(b))
        order = (as_double(a) > as_double(b)) - (as_double(a) < as_double(b));
    else if (a->kind == FILTER_STRING && b->kind == FILTER_STRING)
        order = order_bytes(a->s, b->s);
    else if (a->kind == FILTER_BOOL && b->kind == FILTER_BOOL && (op == FILTER_EQ || op == FILTER_NE))
        order = a->b != b->b;
    else
        return false;
    const bool results[] = {order<0, order <= 0, order> 0, order >= 0, order == 0, order != 0};
    *out = results[op];
    return true;
}
