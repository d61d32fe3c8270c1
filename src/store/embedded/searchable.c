#include "store/embedded/searchable.h"

#include "store/embedded/collection.h"
#include "store/store_backend.h"

uint32_t embedded_searchable_dimension(const struct embedded_collection *c)
{
    return c->meta.settings.dimension;
}

uint64_t embedded_searchable_version(const struct embedded_collection *c)
{
    return 0; /* descriptors do not change without a new write number */
}

const uint16_t *embedded_searchable_row(struct embedded_collection *c, uint32_t slot)
{
    if (!embedded_collection_sound(c, slot))
        return NULL;
    return (const uint16_t *)(const void *)embedded_vectors_at(&c->vectors, slot);
}

float embedded_searchable_norm(const struct embedded_collection *c, uint32_t slot)
{
    return embedded_vectors_norm(&c->vectors, slot);
}

enum result embedded_searchable_query(const struct embedded_collection *c, const float *vector,
    uint32_t given, float *out, struct err *err)
{
    uint32_t dim = c->meta.settings.dimension;
    uint16_t *halves = malloc(dim * sizeof *halves);
    enum result r =
        halves ? store_vector_to_f16(vector, store_query_given(&c->meta.settings, given), dim, "the vector to search for", halves, err)
               : err_no_memory(err);
    if (!r)
        c->kernel->f16_to_f32(halves, out, dim);
    free(halves);
    return r;
}
