/* What of an output becomes the vector. For the engines alone. */
#ifndef EMBED_POOL_H
#define EMBED_POOL_H

#include "embed/manifest.h"

/* One picture's output of `area` × `dimension` numbers to `dimension`: copied where area is 1, else as manifest.h says. */
void embed_pool(enum manifest_pooling pooling, const float *from, size_t area, uint32_t dimension, float *out);

#endif
