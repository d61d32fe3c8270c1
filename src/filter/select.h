/*
 * A set of rows while a filter is evaluated. For select.c and select_leaf.c alone.
 *
 * `yes` are the rows a test is true for, `unknown` those for which a null column leaves it open; the other
 * live rows are false. Both have `words` words. `unknown` is NULL where there are none, which is always so in
 * our stores.
 */
#ifndef FILTER_SELECT_H
#define FILTER_SELECT_H

#include "filter/leaf.h"
#include "filter/store.h"

struct filter_truths {
    uint64_t *yes, *unknown;
};

struct filter_select {
    const struct filter_columns *c;
    size_t words;
    /* Rows that matter, as many words; what is found for others is thrown away. NULL: all do. */
    const uint64_t *among;
};

/* Zeroed; NULL where there is no memory. */
uint64_t *filter_select_words(const struct filter_select *s);

/* The rows for which the prepared leaf is true, set in `yes`, with != taken as ==. Null columns have no rows.
 */
enum result filter_select_leaf(
    const struct filter_select *s, const struct filter_leaf *leaf, uint64_t *yes) ERR_MUST_USE;

#endif
