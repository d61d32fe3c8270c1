/* Reading without a vector: walks in fileid order, and what is made of them. */
#include "store/milvus/walk.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- walking ------------------------------------------------------------------------------------------------------ */

enum result milvus_compare(struct buf *out, const char *field, const char *op, int64_t number)
{
    if (number != INT64_MIN)
        return buf_appendf(out, "%s %s %" PRId64, field, op, number);
    return strcmp(op, ">") == 0 ? buf_appendf(out, "%s >= -%" PRId64, field, INT64_MAX)
                                : buf_appendf(out, "%s < -%" PRId64, field, INT64_MAX);
}

/* Rows of a page: their vectors fill LIMIT_MILVUS_PAGE, texts are taken for 1 KiB; where that was wrong, Milvus says so. */
static uint32_t page_rows(const struct milvus_collection *c, unsigned fields)
{
    size_t row = 16;
    if (fields & MILVUS_VECTORS)
        row += c->settings.dimension * sizeof(float);
    if (fields & (MILVUS_TAGS | MILVUS_BRIEF))
        row += LIMIT_KIB;
    size_t n = LIMIT_MILVUS_PAGE / row;
    return n > LIMIT_WINDOW ? LIMIT_WINDOW : n < 1 ? 1 : (uint32_t)n;
}

static enum result page_expr(const struct milvus_walk *w, bool from_start, int64_t after, struct buf *out, struct err *err)
{
    buf_clear(out);
    enum result r = ERR_OK;
    if (*w->expr)
        r = from_start ? buf_appendf(out, "%s", w->expr) : buf_appendf(out, "(%s) and ", w->expr);
    if (!r && !from_start)
        r = milvus_compare(out, "fileid", ">", after);
    if (!r && out->len == 0)
        r = buf_append_str(out, "");
    return r ? err_set(err, r, "the filter is too long") : ERR_OK;
}

/* The rows of one reply; false through *sane where Milvus does not give them in order, which would never end. */
static enum result give(struct milvus_walk *w, const struct milvus_columns *columns, bool *sane, struct err *err)
{
    enum result r = ERR_OK;
    for (size_t i = 0; i < columns->count && !r; i++) {
        bool first = w->from_start && w->count == 0;
        if (!first && columns->fileid[i] <= w->last) {
            *sane = columns->fileid[i] == w->last; /* a key that another program inserted twice */
            if (!*sane)
                return err_set(err, ERR_UNAVAILABLE, "Milvus sent records out of order");
            continue;
        }
        if (w->count == w->limit) {
            w->more = true;
            return ERR_OK;
        }
        r = w->row(w->user, columns, i, err);
        w->last = columns->fileid[i];
        w->count++;
    }
    return r;
}

enum result milvus_walk(struct milvus *m, struct milvus_collection *c, struct milvus_walk *w, struct err *err)
{
    struct buf expr;
    buf_init(&expr, strlen(w->expr) + 128);
    uint32_t rows = page_rows(c, w->fields);
    unsigned fields = w->fields | MILVUS_FILEID;
    enum result r = ERR_OK;
    bool end = false, sane = true;
    w->count = 0;
    w->last = w->after;
    w->more = false;
    while (!r && !end && !w->more) {
        uint64_t left = w->limit - w->count + 1, before = w->count;
        Mv__QueryReply *reply = NULL;
        struct milvus_columns columns = {0};
        struct milvus_query query = {.fields = fields,
            .from_user = w->from_user,
            .limit = left < rows ? (uint32_t)left : rows,
            .deadline_ms = w->deadline_ms};
        r = page_expr(w, w->from_start && w->count == 0, w->last, &expr, err);
        query.expr = expr.data;
        if (!r)
            r = milvus_ask(m, c, &query, &reply, err);
        if (r == ERR_TOO_LARGE && query.limit > 1) {
            rows = query.limit / 4 + 1 < query.limit ? query.limit / 4 + 1 : 1;
            r = ERR_OK;
            continue;
        }
        if (!r)
            r = milvus_columns_of_query(reply, fields, c->settings.dimension, &columns, err);
        if (!r)
            r = give(w, &columns, &sane, err);
        /* Only a page with nothing new is the end. Milvus counts the rows it looks at and then drops those whose key it has given
           already, so that a page may be short without being the last where another program has inserted a key twice. */
        end = w->count == before || (w->enough && w->count == w->limit);
        MILVUS_FREE(reply);
    }
    buf_free(&expr);
    return r;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static enum result append(void *user, const struct milvus_columns *columns, size_t i, struct err *err)
{
    struct store_records *out = user;
    if ((out->count & (out->count - 1)) == 0) { /* full at each power of two */
        struct store_record *items = realloc(out->items, (2 * out->count + 1) * sizeof *items);
        if (!items)
            return err_no_memory(err);
        out->items = items;
    }
    enum result r = milvus_record_of(columns, i, &out->items[out->count], err);
    if (!r)
        out->count++;
    return r;
}

void milvus_mark_thumbnails(struct milvus *m, const struct milvus_collection *c, struct store_records *records)
{
    for (size_t i = 0; m->thumbnails && c->settings.thumbnails && i < records->count; i++)
        records->items[i].has_thumbnail = milvus_thumbnails_has(m->thumbnails, c->id, records->items[i].fileid);
}

static enum result collect(struct milvus *m, struct milvus_collection *c, struct milvus_walk *w, struct store_records *out, struct err *err)
{
    struct store_records records = {.dimension = c->settings.dimension};
    w->row = append;
    w->user = &records;
    enum result r = milvus_walk(m, c, w, err);
    if (r) {
        store_records_free(&records);
        return r;
    }
    records.next = w->last;
    records.more = w->more;
    milvus_mark_thumbnails(m, c, &records);
    *out = records;
    return ERR_OK;
}

enum result milvus_get(void *state, const char *name, bool by_item, int64_t id, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    struct buf expr;
    buf_init(&expr, 128);
    enum result r = milvus_acquire(m, name, deadline_ms, &c, err);
    if (!r)
        r = milvus_compare(&expr, by_item ? "itemid" : "fileid", "==", id);
    if (!r) {
        struct milvus_walk walk = {.expr = expr.data,
            .fields = MILVUS_ALL,
            .from_start = true,
            .limit = by_item ? LIMIT_WINDOW : 1,
            .enough = !by_item,
            .deadline_ms = deadline_ms};
        r = collect(m, c, &walk, out, err);
        if (!r && !by_item)
            out->more = false;
    }
    buf_free(&expr);
    milvus_release(m, c);
    return r;
}

enum result milvus_browse(void *state, const char *name, const struct store_browse *browse, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    const char *expr;
    enum result r = milvus_filter_text(browse->filter, &expr, err);
    if (!r)
        r = milvus_acquire(m, name, deadline_ms, &c, err);
    if (r)
        return r;
    struct milvus_walk walk = {.expr = expr,
        .from_user = browse->filter != NULL,
        .fields = browse->with_vectors ? MILVUS_ALL : MILVUS_ALL & ~MILVUS_VECTORS,
        .from_start = browse->from_start,
        .after = browse->after,
        .limit = browse->limit,
        .deadline_ms = deadline_ms};
    r = collect(m, c, &walk, out, err);
    milvus_release(m, c);
    return r;
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

enum result milvus_count_expr(struct milvus *m, struct milvus_collection *c, const char *expr, bool from_user,
    int64_t deadline_ms, uint64_t *out, struct err *err)
{
    Mv__QueryReply *reply = NULL;
    struct milvus_query query = {
        .expr = expr, .from_user = from_user, .fields = MILVUS_COUNT, .deadline_ms = deadline_ms};
    enum result r = milvus_ask(m, c, &query, &reply, err);
    if (!r)
        r = milvus_count_of(reply, out, err);
    MILVUS_FREE(reply);
    return r;
}

enum result milvus_count(void *state, const char *name, const struct filter *filter, int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    const char *expr;
    enum result r = milvus_filter_text(filter, &expr, err);
    if (!r)
        r = milvus_acquire(m, name, deadline_ms, &c, err);
    if (!r)
        r = milvus_count_expr(m, c, expr, filter != NULL, deadline_ms, out, err);
    milvus_release(m, c);
    return r;
}

struct items {
    int64_t *ids;
    size_t count, max;
};

static enum result add_item(void *user, const struct milvus_columns *columns, size_t i, struct err *err)
{
    struct items *items = user;
    if (items->count < items->max)
        items->ids[items->count++] = columns->itemid[i];
    return ERR_OK;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Milvus does not count what is distinct, so all itemids come here. */
static enum result count_items(struct milvus *m, struct milvus_collection *c, int64_t deadline_ms, struct store_stats *stats, struct err *err)
{
    struct items items = {.max = stats->records + 1024, .ids = malloc((stats->records + 1024) * sizeof *items.ids)};
    if (!items.ids)
        return err_no_memory(err);
    struct milvus_walk walk = {.expr = "",
        .fields = MILVUS_ITEMID,
        .from_start = true,
        .limit = items.max,
        .deadline_ms = deadline_ms,
        .row = add_item,
        .user = &items};
    enum result r = milvus_walk(m, c, &walk, err);
    if (!r) {
        qsort(items.ids, items.count, sizeof *items.ids, compare_ids);
        for (size_t i = 0; i < items.count; i++)
            stats->items += i == 0 || items.ids[i] != items.ids[i - 1];
    }
    free(items.ids);
    return r;
}

enum result milvus_stats(void *state, const char *name, int64_t deadline_ms, struct store_stats *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    enum result r = milvus_acquire(m, name, deadline_ms, &c, err);
    if (r)
        return r;
    struct store_stats stats = {.settings = c->settings,
        .bytes_memory = sizeof *c + LIMIT_MILVUS_RECENT * sizeof *c->session.recent}; /* here; Milvus's own is Milvus's */
    r = milvus_count_expr(m, c, "", false, deadline_ms, &stats.records, err);
    stats.items_unknown = stats.records > LIMIT_MILVUS_ITEMS;
    if (!r && !stats.items_unknown)
        r = count_items(m, c, deadline_ms, &stats, err);
    milvus_release(m, c);
    if (!r)
        *out = stats;
    return r;
}

enum result milvus_thumbnail(void *state, const char *name, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    enum result r = milvus_acquire(m, name, deadline_ms, &c, err);
    if (!r && (!m->thumbnails || !c->settings.thumbnails))
        r = err_set(err, ERR_NOT_FOUND, "there is no thumbnail of fileid %" PRId64 " in collection \"%s\"", fileid, name);
    if (!r)
        r = milvus_thumbnails_get(m->thumbnails, c->id, fileid, out, err);
    milvus_release(m, c);
    return r;
}
