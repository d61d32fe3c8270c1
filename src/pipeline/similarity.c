/*
 * From a distance to "how alike, from 0 to 100". The only place that knows.
 *
 *      100   the same picture: distance 0
 *       50   as near as the nearest of the pictures that have nothing to do with what is looked for
 *        0   as far as arbitrary pictures are from each other, or further
 *
 * and straight lines between. What the two lower distances are depends on the model, on how many pictures there are
 * and how alike they are among themselves, and on what `tune` learned; the store measures them in each collection
 * (store_scale()). So a value means the same in all of them: over 50 is better than chance gives there.
 *
 * Before a collection is large enough, or its backend measures nothing, the two are those that vectors of unit length have
 * among a few thousand photos. A model whose vectors have other lengths gives a distance without a scale; there it is
 * 100 / (1 + d) until there is one, which keeps the order and the ends.
 */
#include "pipeline/internal.h"

#include <math.h>

#define NEAR 1.0
#define FAR 1.7
#define SAME 2e-5 /* the same pixels differ by a tenth of it, in one batch and in another; a file saved once more by 50 times */

struct scale {
    bool known; /* or 100 / (1 + d) */
    double near, far;
};

static double similarity(const struct scale *s, double spread)
{
    if (!s->known)
        return spread > 0 ? 100 / (1 + spread) : 100;
    if (spread <= SAME * s->near)
        return 100;
    if (spread <= s->near)
        return 100 - 50 * spread / s->near;
    return spread < s->far ? 50 * (s->far - spread) / (s->far - s->near) : 0;
}

enum result pipeline_similarities(
    struct pipeline *p, const char *collection, const struct store_records *hits, float *out, struct err *err)
{
    struct store_settings settings;
    struct pipeline_look look = {0};
    struct store_scale measured;
    enum result r = pipeline_open_collection(p, collection, 0, &settings, &look, err);
    if (r == ERR_OK)
        r = store_scale(pipeline_store(p), collection, &measured, err);
    if (r)
        return r;
    bool unit = look.model->info->manifest.l2_normalise || settings.metric == STORE_COSINE;
    struct scale scale = {.known = unit || measured.records, .near = NEAR, .far = FAR};
    if (measured.records)
        scale = (struct scale){true, measured.near, measured.far};
    for (size_t i = 0; i < hits->count; i++) {
        double distance = (double)hits->items[i].distance;
        /* Rounded down, so that only what is at 0 says 100. */
        double s = similarity(&scale, settings.metric == STORE_L2 ? distance : 1 - distance);
        out[i] = (float)(floor(s * 100 + 1e-6) / 100);
    }
    return ERR_OK;
}
