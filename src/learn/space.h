/* From descriptors to the space that learning happens in. For src/learn only. */
#ifndef LEARN_SPACE_H
#define LEARN_SPACE_H

#include "learn/learn.h"

/* n descriptors, in place: blocks rooted, of unit length and weighted; the whole of unit length. */
void learn_balance(const struct learn_shape *shape, float plain_weight, float *x, size_t n);
/* In place: minus `mean`, then unit length. */
void learn_centre(float *x, const float *mean, size_t d);
/* To unit length; zero stays zero. */
void learn_unit(float *x, size_t d);

#endif
