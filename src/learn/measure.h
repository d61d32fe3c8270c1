/* How good search vectors are: each is a query among the others, and what is of its group is right. */
#ifndef LEARN_MEASURE_H
#define LEARN_MEASURE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct learn_measure {
    size_t queries;         /* that had something to find */
    double r1, r5, map10;   /* means over them, 0…1 */
    double low[3], high[3]; /* 95 % interval of r1, r5, map10, by bootstrap over groups */
};

/*
 * One judgement a query: `first` is the rank (0 the best) of the first right one, or a large number; `ap` the average
 * precision at 10; `group` what the query belongs to, which is what the bootstrap draws.
 */
struct learn_verdict {
    int64_t group;
    uint32_t first;
    float ap;
};
enum result learn_summarise(
    const struct learn_verdict *verdicts, size_t n, struct learn_measure *out, struct err *err) ERR_MUST_USE;

/*
 * The verdict on one query: `score` of n gallery rows (the larger the better), `group` of each, `self` the row that is the
 * query itself (n: none). ERR_NOT_FOUND: nothing in the gallery would be right.
 */
struct learn_ranking {
    const float *score;
    const int64_t *group;
    size_t n, self;
    int64_t wanted;
};
enum result learn_judge(const struct learn_ranking *ranking, struct learn_verdict *out) ERR_MUST_USE;

/* Leave one out: each of the n unit vectors (d each) against all others. Groups of one are gallery only. */
enum result learn_measure_group(const float *x, const int64_t *group, size_t n, size_t d,
    struct learn_measure *out, struct err *err) ERR_MUST_USE;

#endif
