/*
 * The rules of types: operands and operators to tree nodes. For the files of filter/ alone.
 *
 * The parser calls one function here for each operator it has read, at once, so that a mistake is reported
 * with what was written, and constants are folded on the way. Each returns ERR_OK with *out (which may be
 * `left`) or has called filter_fail().
 */
#ifndef FILTER_CHECK_H
#define FILTER_CHECK_H

#include "filter/lexer.h"
#include "filter/tree.h"

struct parse {
    struct filter *filter;
    struct lexer lexer;
    struct token token; /* the one to be looked at next */
    unsigned depth;
    struct err *err;
};

enum operand_kind {
    OPERAND_CONST,  /* value */
    OPERAND_FIELD,  /* field */
    OPERAND_ARITH,  /* field arith value */
    OPERAND_LENGTH, /* array_length(field) */
    OPERAND_TEST,   /* node: something that is true or false for a record */
};

struct operand {
    enum operand_kind kind;
    bool written;      /* CONST: `true` or `false` as such, which is no condition, unlike 1 == 1 */
    bool negated;      /* TEST: made by `not` */
    size_t start, end; /* bytes of the text, for messages */
    struct filter_value value;
    struct filter_field field;
    enum filter_arith arith;
    struct filter_node *node;
};

struct range_parts {
    struct operand first, middle, last; /* as written */
    enum filter_op op1, op2;
};

/* "the filter is wrong at column N: …" with the column of the byte `at`. Returns ERR_INVALID. */
enum result filter_fail(struct parse *p, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with another code. */
enum result filter_fail_as(struct parse *p, enum result code, size_t at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define FILTER_QUOTE_MAX 64
/* What the user wrote between two bytes, shortened, without line breaks: for sentences. Returns `out`. */
const char *filter_quote(const struct parse *p, size_t start, size_t end, char out[FILTER_QUOTE_MAX]);

/* `op` is LEX_ADD … LEX_POW. */
enum result filter_check_arith(struct parse *p, enum lex_kind op, struct operand *left, struct operand *right,
    struct operand *out) ERR_MUST_USE;
/* `op` is LEX_NOT, LEX_ADD, LEX_SUB or LEX_TILDE, at byte `at`. */
enum result filter_check_unary(
    struct parse *p, enum lex_kind op, size_t at, struct operand *operand) ERR_MUST_USE;
enum result filter_check_compare(struct parse *p, enum filter_op op, struct operand *left,
    struct operand *right, struct operand *out) ERR_MUST_USE;
enum result filter_check_range(
    struct parse *p, const struct range_parts *parts, struct operand *out) ERR_MUST_USE;
enum result filter_check_in(struct parse *p, bool negated, struct operand *left, struct operand *right,
    struct operand *out) ERR_MUST_USE;
enum result filter_check_like(
    struct parse *p, struct operand *left, struct operand *right, struct operand *out) ERR_MUST_USE;
enum result filter_check_logic(struct parse *p, bool is_and, struct operand *left, struct operand *right,
    struct operand *out) ERR_MUST_USE;
enum result filter_check_contains(struct parse *p, enum filter_node_kind kind, struct operand *field,
    struct operand *value, struct operand *out) ERR_MUST_USE;
enum result filter_check_length(struct parse *p, struct operand *field, struct operand *out) ERR_MUST_USE;
enum result filter_check_exists(struct parse *p, struct operand *field, struct operand *out) ERR_MUST_USE;
enum result filter_check_null(
    struct parse *p, bool negated, struct operand *field, struct operand *out) ERR_MUST_USE;
/* The whole filter. */
enum result filter_check_root(
    struct parse *p, struct operand *operand, struct filter_node **out) ERR_MUST_USE;

/* Constants; fold.c. `why` is the sentence where there is no result. */
enum result filter_fold_arith(enum lex_kind op, const struct filter_value *a, const struct filter_value *b,
    struct filter_value *out, const char **why) ERR_MUST_USE;
/* False where the two cannot be compared in this way. */
bool filter_fold_compare(
    enum filter_op op, const struct filter_value *a, const struct filter_value *b, bool *out) ERR_MUST_USE;

/* A node whose members are all zero, or NULL. */
struct filter_node *filter_node_new(struct parse *p, enum filter_node_kind kind);

/* slips.c: the sentence about `token`, where `expected` was; both where a user often goes wrong. */
enum result filter_unexpected(struct parse *p, struct token token, const char *expected);
/* A name that is no field. */
enum result filter_unknown_name(struct parse *p, struct token token);

#endif
