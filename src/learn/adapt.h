/*
 * What past queries say about rows, without anybody saying what was in them.
 *
 * Two things. *Hubs*: a few rows are near every query; a row's score is lessened by how well it does among past
 * queries anyway, r(g), the mean of its LEARN_NEAREST best scores (2·q·g − r(g); Conneau et al., "Word translation
 * without parallel data", ICLR 2018, call it CSLS). *Drawing*: of the past queries for which a row is the best, the
 * LEARN_DRAWN best pull it half way to their mean, so that a shop's picture comes to lie where customers' photos of the
 * product lie (database-side augmentation; Turcot and Lowe, 2009; here the neighbours are queries).
 *
 * r(g) is one number a row, and an index of squared distances carries it as one dimension more:
 * |(q, 0) − (g, z)|² = 2 − 2 q·g + z², with z² = λ (r(g) − floor) ≥ 0.
 */
#ifndef LEARN_ADAPT_H
#define LEARN_ADAPT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEARN_NEAREST 10u
#define LEARN_DRAWN 20u
#define LEARN_QUERIES_MIN 50u /* with fewer past queries nothing is done */

struct learn_background {
    const float *queries; /* n × d, of unit length */
    size_t n;
    uint32_t d;
};

/* r(g) of each of the n rows. */
enum result learn_hubness(const struct learn_background *b, const float *rows, size_t n, float *r, struct err *err)
    ERR_MUST_USE;

struct learn_drawing {
    float *rows;          /* n × d, of unit length; drawn ones are changed */
    size_t n;
    const bool *may_move; /* of each; NULL: all */
    float weight;         /* λ: of r(g) while queries are given to rows */
    bool *moved;          /* out, of each; NULL: not wanted */
    float *hubness;       /* out: r(g) of each, of the rows as they are then */
};
enum result learn_draw(const struct learn_background *b, struct learn_drawing *io, struct err *err) ERR_MUST_USE;

#endif
