/*
 * Filter expressions: `fileid > 10 and brief["colour"] == "red"`. docs/filter.md explains the language by
 * example.
 *
 * A text becomes a checked tree once; the tree is then read-only, may be used by any number of threads, and
 * needs neither the text nor anything else to live on. Every rule of the language (types, limits, constants
 * that fold) is enforced here, so what evaluates a tree never fails because of what the user wrote.
 *
 * Two things evaluate a tree and share nothing but it: columns.h, fast, over all rows; interpret.h, plain,
 * over one record, the reference that the first is tested against.
 */
#ifndef FILTER_FILTER_H
#define FILTER_FILTER_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct filter;

/*
 * *out is NULL, with ERR_OK, for a text that is empty or blank: no filter, everything matches.
 *
 * ERR_INVALID: a text that is not of the language; ERR_TOO_LARGE: over LIMIT_FILTER_BYTES, LIMIT_FILTER_DEPTH
 * or LIMIT_FILTER_LIST; ERR_UNSUPPORTED: a part of the language that this program does not have. The sentence
 * names the column (1-based, in characters), what was found there, what was expected, and for common slips
 * what to write; the field is "filter".
 */
enum result filter_parse(const char *text, size_t len, struct filter **out, struct err *err) ERR_MUST_USE;
/* NULL is accepted. */
void filter_free(struct filter *filter);

/* What was parsed, valid as long as the filter; NUL-terminated. */
const char *filter_text(const struct filter *filter, size_t *len);

/*
 * Whether it divides by -1 somewhere, as `fileid / -1 == 2` and `brief["a"] % -1 == 0` do. Here that is a number like
 * another; a machine instruction it is not for the lowest int64, and a Milvus that meets one ends.
 */
bool filter_divides_by_minus_one(const struct filter *filter);

/*
 * Append the tree as text in one spelling: fully bracketed, constants folded, the field on the left. Parsing
 * it gives the same tree (unless brackets make it too deep). For tests and for looking at what was
 * understood.
 */
enum result filter_print(const struct filter *filter, struct buf *out) ERR_MUST_USE;

#endif
