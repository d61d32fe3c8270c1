/* Random records and random well-typed expressions that fit them, for tests and benchmarks of the filter. */
#ifndef TESTS_FILTER_RANDOM_FILTER_H
#define TESTS_FILTER_RANDOM_FILTER_H

#include "base/buf.h"

#include <stdint.h>

struct chance {
    uint64_t state;
};

uint64_t chance_next(struct chance *c);
/* 0 … n - 1 */
uint32_t chance_below(struct chance *c, uint32_t n);

/* An interesting int64: small ones, extremes, where doubles lose digits. */
int64_t random_int(struct chance *c);
/* Appended as JSON text: an array of up to ten strings; an object. */
void random_tags(struct chance *c, struct buf *out);
void random_brief(struct chance *c, struct buf *out);
/* Appended as text of the language; of the types it should be, but ranges may be empty, which is refused. */
void random_expression(struct chance *c, unsigned depth, struct buf *out);

#endif
