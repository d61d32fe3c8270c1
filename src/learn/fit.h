/* The state of one learn_fit(). For src/learn only. */
#ifndef LEARN_FIT_H
#define LEARN_FIT_H

#include "learn/learn.h"

#define LEARN_KINDS 2

struct learn_member {
    int64_t group;
    size_t row;
    uint8_t kind;
};

struct learn_fit {
    const struct learn_shape *shape;
    const struct learn_set *set;
    float plain_weight;
    struct learn_member *members; /* sorted by kind, group and row */
    size_t count;
    size_t groups[LEARN_KINDS];  /* of at least two members */
    size_t freedom[LEARN_KINDS]; /* their members less one each */
    float *mean[LEARN_SIDES];
    float *total;               /* d × d: scatter, later the covariance, of centred rows */
    float *within[LEARN_KINDS]; /* d × d: scatter within groups; NULL where there are none */
    double *sum;                /* d: of the centred rows */
    size_t used;                /* rows that went in */

    uint32_t m;     /* dimensions that are kept for what follows */
    float *basis;   /* d × m: principal axes of everything */
    float *spread;  /* m: variance along them */
    float *covary;  /* m × m: covariance within groups in that basis, scaled to a mean eigenvalue (of all d) of 1 */
    double scale;   /* what it was multiplied by */
};

/* Whole groups from `first` on, as many as `room` rows hold (of a larger one its beginning); 0 at the end. */
size_t learn_fit_take(const struct learn_fit *f, size_t first, size_t room, size_t *next);
/* Members first … first + n, balanced and centred, into x. */
enum result learn_fit_load(struct learn_fit *f, size_t first, size_t n, float *x, struct err *err) ERR_MUST_USE;
enum result learn_fit_progress(const struct learn_fit *f, double done, struct err *err) ERR_MUST_USE;

/*
 * Whitening by `covary` with `shrink`, then the principal axes of `spread` (m × m, or its diagonal): m × out.
 * `values` and `vectors` are those of the covariance within groups.
 */
struct learn_whitening {
    uint32_t m;
    const float *values, *vectors; /* m; m × m */
    const float *total;            /* m × m: covariance of everything */
};
enum result learn_whiten(const struct learn_whitening *w, float shrink, uint32_t out, float *matrix,
    struct err *err) ERR_MUST_USE;

/* --- choose.c: shrinkage and dimension by cross-validation over groups ------------------------------------ */
struct learn_choice {
    float shrink;
    uint32_t out;
};
enum result learn_choose(
    struct learn_fit *f, const struct learn_options *options, struct learn_choice *out, struct err *err) ERR_MUST_USE;

#endif
