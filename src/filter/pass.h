/*
 * Which strings or blobs of a dictionary pass a leaf. For select_leaf.c and pass.c alone.
 */
#ifndef FILTER_PASS_H
#define FILTER_PASS_H

#include "filter/dict.h"
#include "filter/leaf.h"

struct filter_passed {
    uint8_t *table; /* by code; NULL where count ≤ 1 is known without; free() it */
    uint32_t count; /* how many passed */
    uint32_t last;  /* the one, where count is 1 */
};

enum result filter_pass_strings(
    const struct filter_leaf *leaf, const struct filter_dict *dict, struct filter_passed *out) ERR_MUST_USE;
/* walk.c: a pattern over all strings, how many pass in `passed`. False where it has too many pieces. */
bool filter_pass_walk(const struct filter_dict *dict, const struct filter_pattern *pattern, uint8_t *table,
    uint32_t *passed) ERR_MUST_USE;
/* Tests what `path` leads to in each blob. */
enum result filter_pass_blobs(const struct filter_leaf *leaf, const struct filter_dict *dict,
    const struct filter_bytes *path, size_t depth, struct filter_passed *out) ERR_MUST_USE;

#endif
