/*
 * Facets. Milvus groups and counts nothing, so tags and brief of all records the filter is true for come here and are
 * counted as texts. That is right and slow, so it ends at LIMIT_MILVUS_FACETS records: over them it is refused with
 * the number, before anything is read.
 */
#include "store/milvus/walk.h"

#include <inttypes.h>
#include <stdlib.h>

struct texts {
    struct store_record *records;
    size_t count, max;
};

static enum result add(void *user, const struct milvus_columns *columns, size_t i, struct err *err)
{
    struct texts *t = user;
    if (t->count == t->max) /* written since they were counted */
        return ERR_OK;
    enum result r = milvus_record_of(columns, i, &t->records[t->count], err);
    if (!r)
        t->count++;
    return r;
}

static enum result count_texts(
    const struct texts *t, const struct store_facet_query *query, struct store_facets *out, struct err *err)
{
    struct store_texts *views = calloc(t->count + 1, sizeof *views);
    if (!views)
        return err_no_memory(err);
    for (size_t i = 0; i < t->count; i++)
        views[i] = (struct store_texts){t->records[i].tags, t->records[i].brief};
    enum result r = store_facets_of_texts(views, t->count, query, out, err);
    free(views);
    return r;
}

static enum result read_texts(struct milvus *m, struct milvus_collection *c, const struct store_facet_query *query,
    int64_t deadline_ms, struct texts *t, struct err *err)
{
    const char *expr;
    uint64_t rows = 0;
    enum result r = milvus_filter_text(query->filter, &expr, err);
    if (!r)
        r = milvus_count_expr(m, c, expr, query->filter != NULL, deadline_ms, &rows, err);
    if (r)
        return r;
    if (rows > LIMIT_MILVUS_FACETS)
        return err_set_field(err, ERR_TOO_LARGE, "filter",
            "%" PRIu64 " records match; with the records in a Milvus the values of at most %d can be counted: narrow the filter",
            rows, LIMIT_MILVUS_FACETS);
    t->max = rows + 64;
    t->records = calloc(t->max, sizeof *t->records);
    if (!t->records)
        return err_no_memory(err);
    struct milvus_walk walk = {.expr = expr,
        .from_user = query->filter != NULL,
        .fields = MILVUS_TAGS | MILVUS_BRIEF,
        .from_start = true,
        .limit = t->max,
        .deadline_ms = deadline_ms,
        .row = add,
        .user = t};
    return milvus_walk(m, c, &walk, err);
}

enum result milvus_facets(void *state, const char *name, const struct store_facet_query *query, int64_t deadline_ms,
    struct store_facets *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    struct texts texts = {0};
    struct store_facets none = {0};
    struct store_facet_query check = {.field = query->field, .limit = 1};
    enum result r = store_facets_of_texts(NULL, 0, &check, &none, err); /* a wrong field is said before records are read */
    store_facets_free(&none);
    if (!r)
        r = milvus_acquire(m, name, deadline_ms, &c, err);
    if (!r)
        r = read_texts(m, c, query, deadline_ms, &texts, err);
    if (!r)
        r = count_texts(&texts, query, out, err);
    struct store_records owned = {.items = texts.records, .count = texts.count};
    store_records_free(&owned);
    milvus_release(m, c);
    return r;
}
