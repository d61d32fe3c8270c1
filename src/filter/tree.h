/*
 * The checked tree of a filter. For the files of filter/ alone.
 *
 * What the parser guarantees, so that evaluators need not ask:
 *  1. FILTER_FILEID and FILTER_ITEMID meet only FILTER_INT constants, FILTER_TAG only FILTER_STRING,
 * FILTER_TAGS only lists of strings; FILTER_BRIEF meets any constant.
 *  2. An arithmetic node has one operand, never zero for DIV and MOD; on FILEID and ITEMID operand and value
 * are ints; on BRIEF they are both ints or both floats, and ints for MOD.
 *  3. The bounds of a range are both strings or both numbers, and lower ≤ upper.
 *  4. A list for BRIEF in IN never mixes ints and floats at its top level: ints were made floats.
 *  5. AND and OR have two or more children, NOT has one; the depth is below 4 × LIMIT_FILTER_DEPTH.
 */
#ifndef FILTER_TREE_H
#define FILTER_TREE_H

#include "filter/filter.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes, not always UTF-8: "\xff" is a string. */
struct filter_bytes {
    const char *data;
    size_t len;
};

enum filter_value_kind { FILTER_BOOL, FILTER_INT, FILTER_FLOAT, FILTER_STRING, FILTER_LIST };

struct filter_value {
    enum filter_value_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct filter_bytes s;
        struct {
            struct filter_value *items;
            size_t count;
        } list;
    };
};

enum filter_field_kind { FILTER_FILEID, FILTER_ITEMID, FILTER_TAGS, FILTER_TAG, FILTER_BRIEF };

struct filter_field {
    enum filter_field_kind kind;
    uint64_t index;            /* FILTER_TAG: which one, from 0 */
    struct filter_bytes *path; /* FILTER_BRIEF: a key each; decimal digits are also the index of an array */
    size_t depth;              /* of the path; 0: the whole of brief */
};

enum filter_op { FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE, FILTER_EQ, FILTER_NE };
enum filter_arith { FILTER_ADD, FILTER_SUB, FILTER_MUL, FILTER_DIV, FILTER_MOD };

enum filter_node_kind {
    FILTER_CONST,        /* value: a FILTER_BOOL */
    FILTER_AND,          /* children */
    FILTER_OR,           /* children */
    FILTER_NOT,          /* children[0] */
    FILTER_COMPARE,      /* field op value */
    FILTER_FIELDS,       /* field op other: FILEID, ITEMID, TAG or TAGS on both sides, of the same type */
    FILTER_RANGE,        /* lower … field … value, each side strict or not */
    FILTER_IN,           /* field in value, a list */
    FILTER_LIKE,         /* field like value, a pattern */
    FILTER_ARITH,        /* (field arith operand) op value */
    FILTER_LENGTH,       /* array_length(field) op value, an int */
    FILTER_CONTAINS,     /* field contains value, one element */
    FILTER_CONTAINS_ALL, /* field contains all of value, a list */
    FILTER_CONTAINS_ANY, /* field contains one of value, a list */
    FILTER_EXISTS,       /* field, a path of brief */
    FILTER_NULL,         /* field is null */
};

struct filter_node {
    enum filter_node_kind kind;
    enum filter_op op;
    enum filter_arith arith;
    bool lower_inclusive, upper_inclusive; /* RANGE */
    struct filter_field field;
    struct filter_field other;   /* FIELDS */
    struct filter_value value;   /* RANGE: the upper bound */
    struct filter_value lower;   /* RANGE */
    struct filter_value operand; /* ARITH */
    struct filter_node **children;
    size_t count, room;
};

struct filter_block;

struct filter {
    char *text;
    size_t len;
    struct filter_node *root;
    struct filter_block *blocks; /* everything the tree points at */
    size_t block_used, block_size;
};

/* Memory that lives as long as the filter; NULL when there is none. Aligned for any type, not cleared. */
void *filter_alloc(struct filter *filter, size_t size);
/* An array that was of `old` elements, now of `count`, the old ones copied. */
void *filter_grow(struct filter *filter, const void *array, size_t old, size_t count, size_t size);

/* Names as the language writes them. */
const char *filter_op_name(enum filter_op op);
const char *filter_arith_name(enum filter_arith op);

#endif
