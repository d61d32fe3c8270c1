#include "embed/pool.h"

#include <string.h>

void embed_pool(enum manifest_pooling pooling, const float *from, size_t area, uint32_t dimension, float *out)
{
    if (area == 1 || pooling != MANIFEST_POOLING_MEAN) {
        memcpy(out, from, dimension * sizeof *out);
        return;
    }
    for (uint32_t i = 0; i < dimension; i++) {
        double sum = 0;
        for (size_t k = 0; k < area; k++)
            sum += from[i * area + k];
        out[i] = (float)(sum / (double)area);
    }
}
