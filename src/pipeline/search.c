/*
 * What is looked for → one vector → hits.
 *
 * A single picture, record or vector is searched for as it is: a picture with its whole descriptor, of which the vector is
 * the beginning. Of several each vector is brought to length 1 (else a long one would count for more than its weight
 * says), they are added up by weight, and the sum is brought to the length that the model's vectors have: 1, or for a
 * model without normalisation the mean length of the parts, by weight. A negative weight leads away from what it stands
 * at. The store gets the parts as well: in a collection that was tuned it adds up what was learned of each.
 *
 * Limits of distance and similarity cut the end of a page off: hits are sorted, so that what comes behind a hit that
 * is too far is too far as well.
 */
#include "pipeline/internal.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "filter/filter.h"

#include <inttypes.h>
#include <math.h>

/* What a query is against. */
struct target {
    struct pipeline *pipeline;
    const char *collection;
    struct store_settings settings;
    struct pipeline_look look;
    int64_t deadline_ms;
};

static size_t room_for_descriptor(const struct target *t)
{
    uint32_t n = manifest_descriptor(&t->look.model->info->manifest);
    return (n > t->settings.dimension ? n : t->settings.dimension) * sizeof(float);
}

static enum result vector_of_record(const struct target *t, int64_t fileid, float *out, uint32_t *n, struct err *err)
{
    struct store_records records = {0};
    enum result r = store_get_file(pipeline_store(t->pipeline), t->collection, fileid, t->deadline_ms, &records, err);
    if (r == ERR_OK && records.count == 0)
        r = err_set_field(err, ERR_NOT_FOUND, "fileid", "collection \"%.64s\" has no picture with fileid %" PRId64, t->collection, fileid);
    else if (r == ERR_OK && (!records.items[0].vector || records.dimension != t->settings.dimension))
        r = err_set_field(err, ERR_CORRUPT, "fileid", "the vector of fileid %" PRId64 " cannot be read", fileid);
    if (r == ERR_OK) {
        memcpy(out, records.items[0].vector, records.dimension * sizeof *out);
        *n = records.dimension;
    }
    store_records_free(&records);
    return r;
}

static enum result vector_of_picture(
    const struct target *t, const struct pipeline_picture *picture, float *out, uint32_t *n, struct err *err)
{
    uint32_t made = manifest_descriptor(&t->look.model->info->manifest);
    *n = made < t->settings.descriptor ? made : t->settings.descriptor; /* without inner layers where the collection has none */
    return pipeline_embed(t->pipeline, &t->look, picture, t->deadline_ms, out, err);
}

/* `out` has room for a descriptor; *n is what is in it, at least the collection's dimension. */
static enum result vector_of_query(
    const struct target *t, const struct pipeline_query *q, float *out, uint32_t *n, struct err *err)
{
    if (q->has_fileid)
        return vector_of_record(t, q->fileid, out, n, err);
    if (!q->vector)
        return vector_of_picture(t, &q->picture, out, n, err);
    if (q->dimension != t->settings.dimension)
        return err_set_field(err, ERR_INVALID, "vector", "vector has %" PRIu32 " numbers; the vectors of collection \"%.64s\" have %" PRIu32,
            q->dimension, t->collection, t->settings.dimension);
    memcpy(out, q->vector, q->dimension * sizeof *out);
    *n = q->dimension;
    return ERR_OK;
}

static double length_of(const float *v, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

/* What one search looks for, as the store wants it. */
struct looked_for {
    float *vector; /* room for a descriptor */
    uint32_t dimension;
    float *descriptors; /* of the parts, one after the other, each with that room */
    struct store_query_part parts[LIMIT_QUERIES];
    uint32_t part_count;
};

/* Descriptors of all queries; the store is told of them as parts. */
static enum result take_parts(const struct target *t, const struct pipeline_search *s, struct looked_for *l, struct err *err)
{
    size_t room = room_for_descriptor(t) / sizeof(float);
    l->descriptors = malloc(s->query_count * room * sizeof(float));
    if (!l->descriptors)
        return err_no_memory(err);
    for (size_t i = 0; i < s->query_count; i++) {
        const struct pipeline_query *q = &s->queries[i];
        struct store_query_part *part = &l->parts[i];
        float *to = l->descriptors + i * room;
        *part = (struct store_query_part){.fileid = q->fileid, .weight = q->weight};
        enum result r = vector_of_query(t, q, to, &part->dimension, err);
        if (r)
            return r;
        if (!q->has_fileid)
            part->descriptor = to;
    }
    l->part_count = (uint32_t)s->query_count;
    return ERR_OK;
}

/* The sum of the parts' vectors into l->vector, with `sum` as room for it. */
static enum result combine(const struct target *t, const struct pipeline_search *s, double *sum, struct looked_for *l, struct err *err)
{
    uint32_t n = t->settings.dimension;
    size_t room = room_for_descriptor(t) / sizeof(float);
    double weights = 0, lengths = 0, total = 0;
    for (size_t i = 0; i < s->query_count; i++) {
        const float *part = l->descriptors + i * room;
        double weight = s->queries[i].weight, length = length_of(part, n);
        weights += fabs(weight);
        lengths += fabs(weight) * length;
        for (uint32_t k = 0; length > 0 && k < n; k++)
            sum[k] += weight * (double)part[k] / length;
    }
    for (uint32_t k = 0; k < n; k++)
        total += sum[k] * sum[k];
    if (!(total > 1e-12 * weights * weights))
        return err_set_field(err, ERR_INVALID, "queries", "queries: together they say nothing, as their weights cancel each other out");
    double want = t->look.model->info->manifest.l2_normalise ? 1 : lengths / weights;
    for (uint32_t k = 0; k < n; k++)
        l->vector[k] = (float)(sum[k] * want / sqrt(total));
    l->dimension = n;
    return ERR_OK;
}

static enum result find_out(const struct target *t, const struct pipeline_search *s, struct looked_for *l, struct err *err)
{
    l->vector = malloc(room_for_descriptor(t));
    if (!l->vector)
        return err_no_memory(err);
    if (s->query_count == 0)
        return vector_of_picture(t, &s->picture, l->vector, &l->dimension, err);
    if (s->query_count == 1 && !s->queries[0].has_fileid)
        return vector_of_query(t, &s->queries[0], l->vector, &l->dimension, err);
    enum result r = take_parts(t, s, l, err);
    if (r == ERR_OK && s->query_count == 1) { /* the vector of the record as it is */
        l->dimension = l->parts[0].dimension;
        memcpy(l->vector, l->descriptors, l->dimension * sizeof *l->vector);
        return ERR_OK;
    }
    double *sum = calloc(t->settings.dimension, sizeof *sum);
    if (r == ERR_OK)
        r = sum ? combine(t, s, sum, l, err) : err_no_memory(err);
    free(sum);
    return r;
}

static void cut_off(struct store_records *hits, size_t count)
{
    for (size_t i = count; i < hits->count; i++) {
        free(hits->items[i].tags);
        free(hits->items[i].brief);
        free(hits->items[i].vector);
    }
    hits->count = count;
}

static enum result leave_away(const struct target *t, const struct pipeline_search *s, struct store_records *hits, struct err *err)
{
    size_t kept = 0;
    bool less_is_more = t->settings.metric == STORE_L2;
    while (s->has_max_distance && kept < hits->count) {
        double d = (double)hits->items[kept].distance;
        if (less_is_more ? d > s->max_distance : d < s->max_distance)
            break;
        kept++;
    }
    if (s->has_max_distance)
        cut_off(hits, kept);
    if (!s->has_min_similarity || hits->count == 0)
        return ERR_OK;
    float *similarities = malloc(hits->count * sizeof *similarities);
    if (!similarities)
        return err_no_memory(err);
    enum result r = pipeline_similarities(t->pipeline, t->collection, hits, similarities, err);
    for (kept = 0; r == ERR_OK && kept < hits->count && similarities[kept] >= (float)s->min_similarity; kept++)
        ;
    if (r == ERR_OK)
        cut_off(hits, kept);
    free(similarities);
    return r;
}

static enum result run(const struct target *t, const struct pipeline_search *s, const struct filter *filter,
    struct store_records *out, struct err *err)
{
    struct store_records hits = {0};
    struct looked_for l = {0};
    enum result r = find_out(t, s, &l, err);
    if (r == ERR_OK) {
        struct store_query query = {.vector = l.vector,
            .edition = t->settings.edition,
            .dimension = l.dimension,
            .parts = l.parts,
            .part_count = l.part_count,
            .limit = s->limit,
            .offset = s->offset,
            .group = s->group,
            .exact = s->exact,
            .with_vectors = s->with_vectors,
            .filter = filter};
        int64_t began = clock_now_us();
        r = store_search(pipeline_store(t->pipeline), t->collection, &query, t->deadline_ms, &hits, err);
        metrics_observe(METRIC_STAGE_SECONDS, STAGE_SEARCH, clock_now_us() - began);
    }
    if (r == ERR_OK)
        r = leave_away(t, s, &hits, err);
    if (r == ERR_OK)
        *out = hits;
    else
        store_records_free(&hits);
    free(l.vector);
    free(l.descriptors);
    return r;
}

static enum result search_once(struct pipeline *p, const char *collection, const struct pipeline_search *search,
    int64_t deadline_ms, uint64_t *edition, struct store_records *out, struct err *err)
{
    struct target t = {.pipeline = p, .collection = collection, .deadline_ms = deadline_ms};
    struct filter *filter = NULL;
    enum result r = pipeline_open_collection(p, collection, deadline_ms, &t.settings, &t.look, err);
    if (r == ERR_OK && search->query_count > LIMIT_QUERIES)
        r = err_set_field(err, ERR_INVALID, "queries", "queries: there are %zu; at most %d are allowed", search->query_count, LIMIT_QUERIES);
    if (r == ERR_OK && search->filter)
        r = filter_parse(search->filter, strlen(search->filter), &filter, err);
    if (r == ERR_OK)
        r = run(&t, search, filter, out, err);
    filter_free(filter);
    *edition = t.settings.edition;
    return r;
}

enum result pipeline_search(struct pipeline *p, const char *collection, const struct pipeline_search *search,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    uint64_t edition = 0;
    enum result r = search_once(p, collection, search, deadline_ms, &edition, out, err);
    /* Re-embedded between the query's vector and the search: its vector is of the model before. */
    return pipeline_was_replaced(p, collection, r, edition) ? search_once(p, collection, search, deadline_ms, &edition, out, err) : r;
}
