/* Facets: which fields, and their counts handed on; the counting is filter/facet.c's. */
#include "store/store_backend.h"

#include "base/limits.h"
#include "filter/facet.h"

#include <stdlib.h>


struct candidate {
    struct filter_facet_counter *counter;
    const char *field;
    double worth;
};

static int by_worth(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->worth > y->worth || x->worth < y->worth)
        return x->worth > y->worth ? -1 : 1;
    return strcmp(x->field, y->field);
}

static enum result append(
    struct store_facets *out, struct filter_facet_counter *counter, uint32_t limit, struct err *err)
{
    struct filter_facet facet = {0};
    enum result r = filter_facet_finish(counter, limit, &facet, err);
    if (r)
        return r;
    struct store_facet *to = &out->items[out->count];
    to->field = facet.field;
    to->count = facet.count;
    to->distinct = facet.distinct;
    to->values = calloc(facet.count + 1, sizeof *to->values);
    for (size_t i = 0; i < facet.count; i++) {
        if (to->values)
            to->values[i] = (struct store_facet_value){facet.values[i].json, facet.values[i].count};
        else
            free(facet.values[i].json);
    }
    free(facet.values);
    out->count++;
    if (to->values)
        return ERR_OK;
    to->count = 0;
    return err_no_memory(err);
}

static enum result count_field(const struct store_facet_source *source, const char *field,
    struct filter_facet_counter **out, struct err *err)
{
    enum result r = filter_facet_new(field, out, err);
    return r ? r : source->count(source->user, *out, err);
}

/* The paths that are worth most, behind tags. */
static enum result add_best(
    const struct store_facet_source *source, uint32_t limit, struct store_facets *out, struct err *err)
{
    char **fields = NULL;
    size_t count = 0, n = 0;
    enum result r = source->paths(source->user, &fields, &count, err);
    struct candidate *all = r ? NULL : calloc(count + 1, sizeof *all);
    if (!r && !all)
        r = err_no_memory(err);
    for (; !r && n < count; n++) {
        all[n].field = fields[n];
        r = count_field(source, fields[n], &all[n].counter, err);
        if (!r)
            all[n].worth = filter_facet_worth(all[n].counter, source->records ? source->records : 1);
    }
    if (!r && n)
        qsort(all, n, sizeof *all, by_worth);
    for (size_t i = 0; !r && i < n && i < LIMIT_FACET_FIELDS && all[i].worth > 0; i++)
        r = append(out, all[i].counter, limit, err);
    for (size_t i = 0; i < n; i++)
        filter_facet_free(all[i].counter);
    for (size_t i = 0; i < count; i++)
        free(fields[i]);
    free(fields);
    free(all);
    return r;
}

enum result store_facets_from(const struct store_facet_source *source, const struct store_facet_query *query,
    struct store_facets *out, struct err *err)
{
    struct store_facets facets = {.items = calloc(LIMIT_FACET_FIELDS + 1, sizeof *facets.items)};
    struct filter_facet_counter *counter = NULL;
    enum result r = facets.items ? count_field(source, query->field ? query->field : "tags", &counter, err)
                                 : err_no_memory(err);
    if (!r)
        r = append(&facets, counter, query->limit, err);
    filter_facet_free(counter);
    if (!r && !query->field)
        r = add_best(source, query->limit, &facets, err);
    if (r)
        store_facets_free(&facets);
    else
        *out = facets;
    return r;
}
