/*
 * Descriptors and their items → a projection, in which pictures of one item lie close together.
 *
 * A *descriptor* is what the model gives: the plain vector that clients see, followed by blocks of statistics of
 * the model's inner layers. A *search vector* is what a projection makes of it: `out` floats of unit length, the
 * inner product of two of which says how alike they are.
 *
 *   balance   each block: signed square root, unit length, the plain one times `plain_weight`; then unit length
 *   centre    minus the mean of its side (rows and queries have one each), then unit length
 *   project   times a matrix: whitening by the covariance within groups, shrunk, and then the principal axes
 *             of what is left; then unit length
 *
 * A *group* is the pictures of one item, or the made copies of one picture: what should be taken for the same.
 *
 * Everything is closed form and deterministic: the same input gives the same projection, up to rounding.
 * learn_project() may be called from any threads at once; the rest is one call, one thread (OpenBLAS uses more
 * by itself).
 */
#ifndef LEARN_LEARN_H
#define LEARN_LEARN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEARN_BLOCKS_MAX 32

struct learn_shape {
    uint32_t dimension; /* floats of a descriptor: the sum of `blocks` */
    uint32_t block_count;
    uint32_t blocks[LEARN_BLOCKS_MAX]; /* lengths; the first is the plain vector */
};

enum learn_side { LEARN_ROW, LEARN_QUERY, LEARN_SIDES };

struct learn_projection {
    struct learn_shape shape;
    float plain_weight;       /* of the first block against 1 of each other */
    float shrink;             /* added to the eigenvalues within groups, of which the mean is 1 */
    uint32_t out;             /* floats of a search vector */
    uint64_t rows, groups;    /* what it was learned from; 0 groups: centring and principal axes only */
    uint64_t copies;          /* of the groups, how many are made copies of one picture */
    float *mean[LEARN_SIDES]; /* shape.dimension each, in the balanced space */
    float *matrix;            /* out × shape.dimension */
};

/* Accepts a zeroed one. Zeroes it. */
void learn_projection_free(struct learn_projection *p);

/*
 * n descriptors, one after the other, to n search vectors. A descriptor of which nothing is left (all zero)
 * becomes a zero vector.
 */
enum result learn_project(const struct learn_projection *p, enum learn_side side, const float *descriptors,
    size_t n, float *out, struct err *err) ERR_MUST_USE;

/*
 * The same of plain vectors alone, shape.blocks[0] floats each: what the inner layers would say is taken to be their mean.
 * Such a search vector tells less.
 */
enum result learn_project_plain(const struct learn_projection *p, enum learn_side side, const float *vectors,
    size_t n, float *out, struct err *err) ERR_MUST_USE;

/* --- fit.c ---------------------------------------------------------------------------------------------- */

enum learn_kind { LEARN_PICTURE, LEARN_COPY }; /* of an item; made from one picture */

struct learn_set {
    size_t count;
    const int64_t *group; /* pictures with the same group and kind belong together */
    const uint8_t *kind;  /* enum learn_kind; NULL: all LEARN_PICTURE */
    const uint8_t *side;  /* enum learn_side, for the means; NULL: all LEARN_ROW */
    /* The descriptors of the rows which[0 … n), into `out`. Called from one thread. */
    enum result (*read)(void *user, const size_t *which, size_t n, float *out, struct err *err);
    void *user;
    /* Called between steps with 0…1; true stops the work with ERR_UNAVAILABLE. May be NULL. */
    bool (*progress)(void *user, double done);
};

struct learn_options {
    float plain_weight; /* 0: the default */
    float shrink;       /* 0: chosen by cross-validation over groups */
    uint32_t out;       /* 0: chosen, at most LEARN_OUT_MAX */
};

#define LEARN_OUT_MAX 512

/*
 * ERR_INVALID: fewer than LEARN_ROWS_MIN rows. Without any group of two the result is centring and principal axes only
 * (`groups` 0). Past LIMIT_LEARN_ROWS rows whole groups are left out, by chance that is the same every time.
 */
#define LEARN_ROWS_MIN 16
enum result learn_fit(const struct learn_shape *shape, const struct learn_set *set,
    const struct learn_options *options, struct learn_projection *out, struct err *err) ERR_MUST_USE;

#endif
