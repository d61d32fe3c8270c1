/*
 * From a distance to "how alike, from 0 to 100". The only place that knows.
 *
 * The cosine of the two vectors times 100, nothing below 0, to two decimals. Vectors of unit length have it in their
 * squared distance: d = 2 − 2·cos. A model whose vectors have other lengths gives a distance without a scale; there it is
 * 100 / (1 + d), which keeps the order and the ends.
 */
#include "pipeline/internal.h"

#include <math.h>

static double plain(enum store_metric metric, bool unit, double distance)
{
    if (metric == STORE_L2 && !unit)
        return 100 / (1 + (distance > 0 ? distance : 0));
    return 100 * (metric == STORE_L2 ? 1 - distance / 2 : distance);
}

enum result pipeline_similarities(
    struct pipeline *p, const char *collection, const struct store_records *hits, float *out, struct err *err)
{
    struct store_settings settings;
    struct pipeline_look look = {0};
    enum result r = pipeline_open_collection(p, collection, 0, &settings, &look, err);
    if (r)
        return r;
    for (size_t i = 0; i < hits->count; i++) {
        double s = plain(settings.metric, look.model->info->manifest.l2_normalise, (double)hits->items[i].distance);
        out[i] = (float)(round(fmin(fmax(s, 0), 100) * 100) / 100);
    }
    return ERR_OK;
}
