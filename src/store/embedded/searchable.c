#include "store/embedded/searchable.h"

#include "store/embedded/collection.h"
#include "store/store_backend.h"

uint32_t embedded_searchable_dimension(const struct embedded_collection *c)
{
    return embedded_space_tuned(&c->space) ? c->space.p.out + 1 : c->meta.settings.dimension;
}

uint64_t embedded_searchable_version(const struct embedded_collection *c)
{
    /* Descriptors do not change without a new write number, and are version 0. */
    return embedded_space_tuned(&c->space) ? c->space.version : 0;
}

const uint16_t *embedded_searchable_row(struct embedded_collection *c, uint32_t slot)
{
    if (!embedded_collection_sound(c, slot))
        return NULL;
    if (embedded_space_tuned(&c->space))
        return embedded_space_row(c, slot);
    return (const uint16_t *)(const void *)embedded_vectors_at(&c->vectors, slot);
}

float embedded_searchable_norm(const struct embedded_collection *c, uint32_t slot)
{
    return embedded_vectors_norm(&c->vectors, slot);
}

enum result embedded_searchable_query(const struct embedded_collection *c, const float *vector,
    uint32_t given, float *out, struct err *err)
{
    const struct store_settings *settings = &c->meta.settings;
    uint32_t dim = settings->dimension, whole = settings->descriptor;
    bool tuned = embedded_space_tuned(&c->space), complete = given != dim || whole == dim;
    if (tuned && complete)
        dim = whole;
    uint16_t *halves = malloc(dim * sizeof *halves);
    float *floats = malloc(dim * sizeof *floats);
    enum result r = halves && floats ? store_vector_to_f16(vector, tuned ? given : store_query_given(settings, given),
                                           dim, "the vector to search for", halves, err)
                                     : err_no_memory(err);
    if (!r)
        c->kernel->f16_to_f32(halves, tuned ? floats : out, dim);
    if (!r && tuned)
        r = embedded_space_query(c, floats, complete, out, err);
    free(halves);
    free(floats);
    return r;
}

bool embedded_searchable_same(struct embedded_collection *c, uint32_t slot, const float *vector)
{
    return c->kernel->l2sq_f16(vector, (const uint16_t *)(const void *)embedded_vectors_at(&c->vectors, slot),
               c->meta.settings.dimension) < EMBEDDED_SAME;
}
