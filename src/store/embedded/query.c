/*
 * In a tuned collection a query is projected as rows are, around the mean of queries. Of several parts each is projected
 * and brought to unit length before they are added up: the projection is not linear (it takes roots), and a sum of
 * descriptors is no descriptor. A record that is asked for by its fileid lies somewhere already, and that is taken.
 */
#include "store/embedded/query.h"

#include "store/embedded/collection.h"
#include "store/embedded/searchable.h"

#include <math.h>

/*
 * Where a record lies, without the hubs' number. *found false: it is gone, or its vector is damaged. Goes by the row of
 * meta.db alone, as a get does: memory may still say something else of its slot.
 */
static enum result place_of_record(
    struct embedded_collection *c, int64_t fileid, int64_t deadline_ms, float *out, bool *found, struct err *err)
{
    struct embedded_reader *reader = NULL;
    struct embedded_snapshot snapshot;
    struct embedded_row row;
    bool there = false;
    enum result r = embedded_readers_take(&c->readers, deadline_ms, &reader, err);
    if (r)
        return r;
    embedded_slots_enter(&c->slots, &snapshot); /* before the SELECT, so that the slot is not used again */
    sqlite3_bind_int64(reader->by_file, 1, fileid);
    r = embedded_sql_row(reader->db, reader->by_file, &there, err);
    if (!r && there)
        r = embedded_reader_row(reader->by_file, &row, err);
    sqlite3_reset(reader->by_file);
    *found = !r && there && row.slot < atomic_load_explicit(&c->slots.used, memory_order_acquire) &&
             embedded_vectors_verify(&c->vectors, row.slot, row.fileid, row.number);
    if (*found)
        r = embedded_space_place(c, &row, out, err);
    embedded_slots_leave(&c->slots, &snapshot);
    embedded_readers_give(&c->readers, reader);
    return r;
}

static enum result part_vector(struct embedded_collection *c, const struct store_query_part *part, int64_t deadline_ms,
    float *out, bool *found, struct err *err)
{
    const struct store_settings *settings = &c->meta.settings;
    *found = true;
    if (!part->descriptor)
        return place_of_record(c, part->fileid, deadline_ms, out, found, err);
    if (part->dimension == settings->descriptor)
        return learn_project(&c->space.p, LEARN_QUERY, part->descriptor, 1, out, err);
    if (part->dimension == settings->dimension)
        return learn_project_plain(&c->space.p, LEARN_QUERY, part->descriptor, 1, out, err);
    *found = false;
    return ERR_OK;
}

/* *used false: there are none, one is gone, or together they say nothing; then the vector alone counts. */
static enum result add_up(struct embedded_collection *c, const struct store_query *query, int64_t deadline_ms, float *out,
    bool *used, struct err *err)
{
    uint32_t n = c->space.p.out;
    float part[LEARN_OUT_MAX];
    double total = 0, weights = 0;
    *used = query->part_count > 0;
    memset(out, 0, n * sizeof *out);
    for (uint32_t i = 0; *used && i < query->part_count; i++) {
        enum result r = part_vector(c, &query->parts[i], deadline_ms, part, used, err);
        if (r)
            return r;
        double weight = query->part_count == 1 ? 1 : query->parts[i].weight;
        weights += fabs(weight);
        for (uint32_t k = 0; *used && k < n; k++)
            out[k] += (float)weight * part[k];
    }
    for (uint32_t k = 0; k < n; k++)
        total += (double)out[k] * (double)out[k];
    *used = *used && total > 1e-12 * weights * weights;
    for (uint32_t k = 0; *used && k < n; k++)
        out[k] = (float)((double)out[k] / sqrt(total));
    return ERR_OK;
}

enum result embedded_query_vector(struct embedded_collection *c, const struct store_query *query, int64_t deadline_ms,
    float *out, struct err *err)
{
    bool used = false;
    enum result r = ERR_OK;
    if (embedded_space_tuned(&c->space))
        r = add_up(c, query, deadline_ms, out, &used, err);
    if (!r && used)
        embedded_space_round(c, out);
    if (!r && !used)
        r = embedded_searchable_query(c, query->vector, query->dimension, out, err);
    return r;
}
