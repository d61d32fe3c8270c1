/*
 * What a literal token says. For the files of filter/ alone. The text must be what the lexer found; the
 * memory is the filter's. On ERR_INVALID *wrong is the byte of the token at fault, and *why what is wrong
 * there, a constant.
 */
#ifndef FILTER_LITERAL_H
#define FILTER_LITERAL_H

#include "filter/tree.h"

/* With the quotes. */
enum result filter_literal_string(struct filter *filter, struct filter_bytes token, struct filter_bytes *out,
    size_t *wrong, const char **why) ERR_MUST_USE;

/* Up to 2^63: that one has no int64, and is allowed behind a minus. False beyond. */
bool filter_literal_int(struct filter_bytes token, uint64_t *out) ERR_MUST_USE;

/* ERR_INVALID where it is beyond the range of a double. */
enum result filter_literal_float(struct filter *filter, struct filter_bytes token, double *out) ERR_MUST_USE;

/* The parts of "name[…][…]", the name not among them. */
enum result filter_literal_path(struct filter *filter, struct filter_bytes token, struct filter_bytes **path,
    size_t *depth, bool *quoted, size_t *wrong, const char **why) ERR_MUST_USE;

#endif
