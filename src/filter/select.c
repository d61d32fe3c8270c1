#include "filter/select.h"

/*
 * From a tree to rows. Each node becomes words with a bit a row (125 KB for a million rows, which stays in
 * the cache of a core), and `and`, `or` and `not` combine them. Only the result is made a compressed bitmap.
 *
 * Rejected: compressed bitmaps all the way. Results of scans are dense, and building one costs more than the
 * scan.
 */

static enum result evaluate(
    const struct filter_select *s, const struct filter_node *n, struct filter_truths *out);

uint64_t *filter_select_words(const struct filter_select *s)
{
    return calloc(s->words ? s->words : 1, sizeof(uint64_t));
}

static void truths_free(struct filter_truths *t)
{
    free(t->yes);
    free(t->unknown);
    *t = (struct filter_truths){0};
}

/* --- leaves
 * ----------------------------------------------------------------------------------------------------------
 */

/* The column of nulls of a field; NULL for one that never is. */
static const struct filter_ccol *nulls_of(const struct filter_columns *c, const struct filter_field *f)
{
    if (f->kind == FILTER_TAGS || f->kind == FILTER_TAG)
        return &c->null_tags;
    return f->kind == FILTER_BRIEF ? &c->null_brief : NULL;
}

static enum result add_nulls(
    const struct filter_select *s, const struct filter_field *f, struct filter_truths *t)
{
    const struct filter_ccol *nulls = nulls_of(s->c, f);
    if (!nulls || !nulls->count)
        return ERR_OK;
    if (!t->unknown)
        t->unknown = filter_select_words(s);
    if (!t->unknown)
        return ERR_NO_MEMORY;
    filter_ccol_present(nulls, t->unknown);
    return ERR_OK;
}

/* The rows for which != is possible: all, or those that have this tag. */
static void opposite(const struct filter_select *s, const struct filter_field *f, struct filter_truths *t)
{
    uint64_t *all = filter_select_words(s);
    if (!all) {
        free(t->yes);
        t->yes = NULL;
        return;
    }
    if (f->kind != FILTER_TAG)
        filter_ccol_present(&s->c->fileid, all);
    else if (f->index < LIMIT_TAGS)
        filter_ccol_present(&s->c->tag_at[f->index], all);
    for (size_t i = 0; i < s->words; i++)
        t->yes[i] = all[i] & ~t->yes[i] & ~(t->unknown ? t->unknown[i] : 0);
    free(all);
}

static enum result leaf(const struct filter_select *s, const struct filter_node *n, struct filter_truths *out)
{
    struct filter_leaf prepared;
    enum result r = filter_leaf_init(&prepared, n);
    if (r)
        return r;
    r = add_nulls(s, &n->field, out);
    if (!r)
        r = filter_select_leaf(s, &prepared, out->yes);
    bool compares = n->kind == FILTER_COMPARE || n->kind == FILTER_ARITH || n->kind == FILTER_LENGTH;
    if (!r && compares && n->op == FILTER_NE)
        opposite(s, &n->field, out);
    filter_leaf_free(&prepared);
    return r || out->yes ? r : ERR_NO_MEMORY;
}

static const struct filter_ccol *keys_of(const struct filter_columns *c, const struct filter_field *f)
{
    if (f->kind == FILTER_FILEID)
        return &c->fileid;
    if (f->kind == FILTER_ITEMID)
        return &c->itemid;
    return f->index < LIMIT_TAGS ? &c->tag_at[f->index] : NULL;
}

static int order_bytes(struct filter_bytes a, struct filter_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct named {
    struct filter_bytes name;
    uint32_t code;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return order_bytes(x->name, y->name);
}

enum { RANKED = 65536 };

/* The place of each tag among all, by code, so that codes can be compared. NULL where that is not worth it.
 */
static int32_t *rank_tags(const struct filter_dict *tags)
{
    if (tags->live > RANKED)
        return NULL;
    struct named *sorted = malloc(((size_t)tags->live + 1) * sizeof *sorted), tag;
    int32_t *rank = calloc((size_t)tags->count + 1, sizeof *rank), count = 0;
    for (uint64_t at = 0; sorted && rank && filter_dict_next(tags, &at, &tag.name, &tag.code);)
        sorted[count++] = tag;
    if (sorted && rank)
        qsort(sorted, (size_t)count, sizeof *sorted, by_name);
    for (int32_t i = 0; sorted && rank && i < count; i++)
        rank[sorted[i].code] = i;
    if (!sorted) {
        free(rank);
        rank = NULL;
    }
    free(sorted);
    return rank;
}

#define COMPARE(op)                                                                                          \
    for (int i = 0; i < 64; i++)                                                                             \
        flags[i] = a[i] op b[i];                                                                             \
    return filter_pack(flags)

/* Ranks and orders of tags are int32_t because four of them are compared where two keys would be. */
#define DEFINE_COMPARE(type)                                                                                 \
    FILTER_INLINED uint64_t compare_##type(enum filter_op op, const type a[64], const type b[64])            \
    {                                                                                                        \
        uint8_t flags[64];                                                                                   \
        switch (op) {                                                                                        \
        case FILTER_LT:                                                                                      \
            COMPARE(<);                                                                                      \
        case FILTER_LE:                                                                                      \
            COMPARE(<=);                                                                                     \
        case FILTER_GT:                                                                                      \
            COMPARE(>);                                                                                      \
        case FILTER_GE:                                                                                      \
            COMPARE(>=);                                                                                     \
        case FILTER_EQ:                                                                                      \
            COMPARE(==);                                                                                     \
        default:                                                                                             \
            COMPARE(!=);                                                                                     \
        }                                                                                                    \
    }
DEFINE_COMPARE(uint64_t)
DEFINE_COMPARE(int32_t)

/* The same for tags, of which keys are only codes. Rows that are not in `both` have none. */
FILTER_INLINED uint64_t compare_tags(const struct filter_select *s, enum filter_op op, const int32_t *rank,
    const uint64_t a[64], const uint64_t b[64], uint64_t both)
{
    int32_t x[64] = {0}, y[64] = {0};
    for (int i = 0; rank && both == UINT64_MAX && i < 64; i++) {
        x[i] = rank[a[i]];
        y[i] = rank[b[i]];
    }
    for (uint64_t left = rank && both == UINT64_MAX ? 0 : both; left; left &= left - 1) {
        int i = __builtin_ctzll(left);
        if (rank) {
            x[i] = rank[a[i]];
            y[i] = rank[b[i]];
        } else if (a[i] != b[i]) {
            x[i] = order_bytes(
                filter_dict_get(&s->c->tags, (uint32_t)a[i]), filter_dict_get(&s->c->tags, (uint32_t)b[i]));
        }
    }
    return compare_int32_t(op, x, y);
}

/* What the rows of one block say to `left op right`. */
FILTER_INLINED uint64_t compare_block(
    const struct filter_select *s, const struct filter_node *n, const int32_t *rank, uint32_t block)
{
    const struct filter_ccol *left = keys_of(s->c, &n->field), *right = keys_of(s->c, &n->other);
    uint64_t a[64] = {0}, b[64] = {0};
    uint64_t both = left && right ? filter_ccol_block(left, block, a) : 0;
    if (both)
        both &= filter_ccol_block(right, block, b);
    if (!both)
        return 0;
    bool tags = n->field.kind == FILTER_TAG;
    return (tags ? compare_tags(s, n->op, rank, a, b, both) : compare_uint64_t(n->op, a, b)) & both;
}

FILTER_INLINED void compare_blocks(
    const struct filter_select *s, const struct filter_node *n, const int32_t *rank, uint64_t *yes)
{
    for (uint32_t block = 0; block < s->words; block++)
        yes[block] = compare_block(s, n, rank, block);
}
FILTER_TWICE(void, compare_blocks,
    (const struct filter_select *s, const struct filter_node *n, const int32_t *rank, uint64_t *yes), (s, n, rank, yes))

/* Two columns beside each other: ints, or tags, whose codes say whether they are equal but not which is less.
 */
static enum result fields(
    const struct filter_select *s, const struct filter_node *n, struct filter_truths *out)
{
    enum result r = add_nulls(s, &n->field, out);
    if (r)
        return r;
    if (n->field.kind == FILTER_TAGS) { /* all of `tags`, with itself */
        if (n->op == FILTER_EQ)
            filter_ccol_present(&s->c->tag_count, out->yes);
        return ERR_OK;
    }
    int32_t *rank = n->field.kind == FILTER_TAG ? rank_tags(&s->c->tags) : NULL;
    compare_blocks_best()(s, n, rank, out->yes);
    free(rank);
    return ERR_OK;
}

/* --- logic
 * ------------------------------------------------------------------------------------------------------------
 */

/*
 * Kleene: `and` is true where both are, and open where neither is false and one is open; `or` is true where
 * one is, and open where neither is true and one is open. *into takes the result, *other is released.
 */
static enum result combine(
    const struct filter_select *s, bool is_and, struct filter_truths *into, struct filter_truths *other)
{
    if (into->unknown || other->unknown) {
        uint64_t **missing = into->unknown ? &other->unknown : &into->unknown;
        if (!*missing)
            *missing = filter_select_words(s);
        if (!*missing)
            return ERR_NO_MEMORY;
        for (size_t i = 0; i < s->words; i++) {
            uint64_t a = into->yes[i], b = other->yes[i], x = into->unknown[i], y = other->unknown[i];
            into->unknown[i] = is_and ? (a | x) & (b | y) & (x | y) : (x | y) & ~(a | b);
        }
    }
    for (size_t i = 0; i < s->words; i++)
        into->yes[i] = is_and ? into->yes[i] & other->yes[i] : into->yes[i] | other->yes[i];
    truths_free(other);
    return ERR_OK;
}

static bool none(const struct filter_select *s, const struct filter_truths *t)
{
    for (size_t i = 0; i < s->words; i++)
        if (t->yes[i])
            return false;
    return !t->unknown;
}

/* Does it walk a dictionary of strings, which can be as large as the collection? */
static bool is_slow(const struct filter_node *n)
{
    bool strings = n->kind == FILTER_LIKE ||
                   ((n->kind == FILTER_COMPARE || n->kind == FILTER_RANGE) && n->value.kind == FILTER_STRING);
    return strings && n->field.kind == FILTER_BRIEF && (n->kind != FILTER_COMPARE || n->op != FILTER_EQ);
}

static enum result add_child(const struct filter_select *s, const struct filter_node *parent,
    const struct filter_node *child, bool first, struct filter_truths *out)
{
    struct filter_truths next = {0};
    struct filter_select part = *s;
    bool is_and = parent->kind == FILTER_AND;
    if (first)
        return evaluate(s, child, out);
    if (is_and && none(s, out))
        return ERR_OK;
    if (is_and && !out->unknown)
        part.among = out->yes; /* the others are false already */
    enum result r = evaluate(&part, child, &next);
    if (!r)
        r = combine(s, is_and, out, &next);
    truths_free(&next);
    return r;
}

/* The slow ones last: what they are asked of may be few rows by then. */
static enum result logic(
    const struct filter_select *s, const struct filter_node *n, struct filter_truths *out)
{
    enum result r = ERR_OK;
    bool first = true;
    for (int slow = 0; slow <= 1; slow++)
        for (size_t i = 0; !r && i < n->count; i++)
            if (is_slow(n->children[i]) == (slow != 0)) {
                r = add_child(s, n, n->children[i], first, out);
                first = false;
            }
    return r;
}

static void negate(const struct filter_select *s, struct filter_truths *t, const uint64_t *live)
{
    for (size_t i = 0; i < s->words; i++)
        t->yes[i] = live[i] & ~t->yes[i] & ~(t->unknown ? t->unknown[i] : 0);
}

static enum result not(
    const struct filter_select *s, const struct filter_node *n, struct filter_truths *out) {
    uint64_t *live = filter_select_words(s);
    enum result r = live ? evaluate(s, n->children[0], out) : ERR_NO_MEMORY;
    if (!r){filter_ccol_present(&s->c->fileid, live); negate(s, out, live);}
free(live);
return r;
}

/* *out must be zero; on failure it is again. */
static enum result evaluate(
    const struct filter_select *s, const struct filter_node *n, struct filter_truths *out)
{
    enum result r = ERR_OK;
    const struct filter_ccol *nulls;
    if (n->kind == FILTER_AND || n->kind == FILTER_OR) {
        r = logic(s, n, out);
    } else if (n->kind == FILTER_NOT) {
        r = not(s, n, out);
    } else {
        out->yes = filter_select_words(s);
        if (!out->yes)
            return ERR_NO_MEMORY;
        switch (n->kind) {
        case FILTER_CONST:
            if (n->value.b)
                filter_ccol_present(&s->c->fileid, out->yes);
            break;
        case FILTER_NULL:
            nulls = nulls_of(s->c, &n->field);
            if (nulls)
                filter_ccol_present(nulls, out->yes);
            break;
        case FILTER_FIELDS:
            r = fields(s, n, out);
            break;
        default:
            r = leaf(s, n, out);
        }
    }
    if (r)
        truths_free(out);
    return r;
}

enum result filter_columns_select(
    struct filter_columns *c, const struct filter *filter, struct filter_rows **out, struct err *err)
{
    struct filter_select s = {.c = c, .words = (size_t)c->chunks * FILTER_CHUNK_WORDS};
    struct filter_truths truths = {0};
    struct filter_rows *rows = filter ? filter_cache_get(c, filter) : NULL;
    enum result r = ERR_OK;
    if (rows) {
        *out = rows;
        return ERR_OK;
    }
    if (filter) {
        r = evaluate(&s, filter->root, &truths);
    } else {
        truths.yes = filter_select_words(&s);
        if (truths.yes)
            filter_ccol_present(&c->fileid, truths.yes);
        else
            r = ERR_NO_MEMORY;
    }
    if (!r)
        r = filter_rows_new(truths.yes, s.words, &rows);
    if (!r)
        truths.yes = NULL; /* it is theirs */
    truths_free(&truths);
    if (r)
        return err_no_memory(err);
    if (filter)
        filter_cache_put(c, filter, rows);
    *out = rows;
    return ERR_OK;
}
