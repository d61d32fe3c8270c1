/*
 * The test of one leaf of a tree, prepared for many values. For the files of filter/ alone.
 *
 * A leaf is never a `!=` here: the columns evaluate the `==` and take the opposite, which is what it means
 * on brief, on fileid and on itemid. On a tag they take the opposite among the records that have this tag.
 */
#ifndef FILTER_LEAF_H
#define FILTER_LEAF_H

#include "filter/blob.h"
#include "filter/ccol.h"
#include "filter/tree.h"

struct filter_pattern;

struct filter_span {
    int64_t low, high; /* both included */
};

struct filter_leaf {
    const struct filter_node *node;
    enum filter_op op;              /* of the node, == for != */
    struct filter_pattern *pattern; /* LIKE */
    /* IN: what its numbers mean among ints and among doubles, its strings, each sorted */
    struct filter_span *spans;
    double *doubles;
    struct filter_bytes *strings;
    size_t span_count, double_count, string_count;
    struct filter_keys {
        uint64_t *table; /* of the keys (ccol.h), 0 for an empty place; NULL: there is no table */
        uint64_t mask;
        bool zero;           /* the key 0, which the table cannot hold */
    } int_keys, double_keys; /* int_keys only where each span is one int */
};

enum result filter_leaf_init(struct filter_leaf *leaf, const struct filter_node *node) ERR_MUST_USE;
void filter_leaf_free(struct filter_leaf *leaf);

/* A constant that is a number, as it is compared with doubles. */
static inline double filter_constant_double(const struct filter_value *v)
{
    return v->kind == FILTER_INT ? (double)v->i : v->f;
}

/* Each is false for a leaf that has nothing to do with the type. */
bool filter_leaf_int(const struct filter_leaf *leaf, int64_t v);
bool filter_leaf_double(const struct filter_leaf *leaf, double v);
bool filter_leaf_string(const struct filter_leaf *leaf, struct filter_bytes v);
bool filter_leaf_bool(const struct filter_leaf *leaf, bool v);
/* Any value of JSON. */
bool filter_leaf_value(const struct filter_leaf *leaf, const struct filter_blob *v);

/* COMPARE and RANGE: the ints that are meant, or the keys (ccol.h) of the doubles; false where there are
 * none. */
bool filter_leaf_int_span(const struct filter_leaf *leaf, struct filter_span *out);
bool filter_leaf_double_keys(const struct filter_leaf *leaf, uint64_t *low, uint64_t *high);
/*
 * ARITH: the same as up to two spans of the keys of a column of ints or of doubles. False where it is no such thing, and
 * filter_leaf_int_block() or filter_leaf_double_block() must be asked of each.
 */
struct filter_key_span {
    uint64_t low, high; /* both included */
};
bool filter_leaf_arith_spans(const struct filter_leaf *leaf, const struct filter_ccol *col, bool ints,
    struct filter_key_span out[2], size_t *count);
/* ARITH and IN: 64 keys of a column of ints or of doubles at once, as filter_ccol_scan() wants it, for a leaf. */
filter_block_fn filter_leaf_int_block(void);
filter_block_fn filter_leaf_double_block(void);

/* like.c */
enum result filter_pattern_new(struct filter_bytes text, struct filter_pattern **out) ERR_MUST_USE;
void filter_pattern_free(struct filter_pattern *pattern);
bool filter_pattern_match(const struct filter_pattern *pattern, struct filter_bytes text);
/* The whole string that the pattern means, where it means only one. */
bool filter_pattern_exact(const struct filter_pattern *pattern, struct filter_bytes *out);
/*
 * What filter_head() of a text that matches has: `bytes` where `mask` is, unless a bit of `wide` is set, which is a
 * character of several bytes where the pattern has "_". `sure`: and that is all there is to it. False: nothing.
 */
struct filter_pattern_head {
    uint64_t bytes, mask, wide;
    bool sure;
};
bool filter_pattern_head(const struct filter_pattern *pattern, struct filter_pattern_head *out);
/* The bytes that a text must end with to match, where that is all there is to it. */
bool filter_pattern_tail(const struct filter_pattern *pattern, struct filter_bytes *out);
/* The pieces that "%" cuts it into, one more than there are "%"; 0: more than `most`. */
struct filter_piece {
    const char *bytes;
    const bool *is_any; /* of each byte: it is a "_" */
    size_t len;
};
size_t filter_pattern_pieces(const struct filter_pattern *pattern, struct filter_piece *out, size_t most);
/* The longest run that every text that matches holds. False: there is none. */
bool filter_pattern_holds(const struct filter_pattern *pattern, struct filter_bytes *out);

#endif
