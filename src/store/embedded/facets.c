/*
 * Facets from the columns. The lock is taken for one field at a time, so that writers wait for one and not
 * for all: what is written meanwhile may be counted in one field and not in another.
 */
#include "store/embedded/collection.h"

#include "filter/facet.h"
#include "store/store_backend.h"

#define PATHS 64 /* the most frequent ones are looked at where no field is named */

struct source {
    struct embedded_collection *c;
    struct filter_rows *rows;
};

static enum result count_columns(void *user, struct filter_facet_counter *counter, struct err *err)
{
    struct source *s = user;
    return embedded_columns_facet(&s->c->columns, counter, s->rows, err);
}

static enum result find_paths(void *user, char ***fields, size_t *count, struct err *err)
{
    struct source *s = user;
    return embedded_columns_paths(&s->c->columns, PATHS, fields, count, err);
}

/* Rows that the snapshot does not see are in the columns while a commit is under way. */
static enum result leave_out_unseen(struct source *s, uint64_t seq, struct err *err)
{
    size_t count = 0;
    const uint64_t *words = filter_rows_direct(s->rows, &count);
    uint64_t *seen = calloc(count + 1, sizeof *seen);
    uint32_t used = atomic_load_explicit(&s->c->slots.used, memory_order_acquire);
    if (!seen)
        return err_no_memory(err);
    for (size_t i = 0; i < count; i++)
        for (uint64_t rows = words[i]; rows; rows &= rows - 1) {
            uint32_t slot = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(rows);
            if (slot < used && embedded_slot_visible(embedded_slots_at(&s->c->slots, slot), seq))
                seen[i] |= rows & -rows;
        }
    struct filter_rows *rows = NULL;
    if (filter_rows_of(seen, count, &rows)) {
        free(seen);
        return err_no_memory(err);
    }
    filter_rows_free(s->rows);
    s->rows = rows;
    return ERR_OK;
}

enum result embedded_collection_facets(struct embedded_collection *c, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err)
{
    struct embedded_selection selection;
    struct embedded_snapshot snapshot;
    enum result r = embedded_columns_select(c, query->filter, deadline_ms, &snapshot, &selection, err);
    if (r)
        return r;
    struct source s = {.c = c, .rows = selection.rows};
    if (!selection.exact)
        r = leave_out_unseen(&s, snapshot.seq, err);
    struct store_facet_source source = {.user = &s,
        .records = filter_rows_count(s.rows),
        .count = count_columns,
        .paths = find_paths};
    if (!r)
        r = store_facets_from(&source, query, out, err);
    embedded_slots_leave(&c->slots, &snapshot);
    filter_rows_free(s.rows);
    return r;
}
