/*
 * Search, by the index (graph.h) where there is one, else by a scan: every visible slot is compared with the
 * query, in file order, which the memory prefetcher likes.
 *
 * Pages must not overlap or skip, so only a first page is a walk of the graph, with a wide margin; what lies
 * behind it, or is long, comes from a scan of the index's codes, which is exact.
 *
 * A search registers a snapshot (slots.h) and scans without a lock. Only then it fetches the texts of its
 * page from meta.db, in one short read transaction: one that began before the scan would keep SQLite from
 * ever starting its log anew under steady load. Between the two a record can change. A row that is not what
 * the scan saw (deleted, another write number, another item) means that the answer is out of date, and the
 * search starts again; leaving the row out would give fewer hits than there are. After a few such rounds it
 * asks the writers to pause, and is sure to finish.
 *
 * A filter is turned into rows at the same moment as the snapshot is taken (columns.h). A record whose tags
 * or brief change keeps its slot; so where a commit was made meanwhile, the texts of the page are asked again.
 *
 * The query is rounded to 16 bits as the rows are, so that a vector finds itself at distance 0 exactly.
 */
#include "store/embedded/collection.h"

#include "base/clock.h"
#include "store/embedded/query.h"
#include "store/embedded/searchable.h"
#include "store/embedded/topk.h"
#include "store/store_backend.h"

#include <math.h>

#define SAME_ROOM 64       /* nearest hits more that are looked at for the picture itself */
#define ROUNDS 3           /* before the writers are asked to pause */
#define DEADLINE_ROWS 4096 /* rows between two looks at the clock */
#define WALK_LIMIT 256     /* a page that is longer is exact */

struct scan {
    struct embedded_collection *c;
    struct embedded_selection selection; /* of this round; rows NULL: no filter */
    struct index *index;                 /* of this round; NULL: all rows are compared */
    const struct store_query *query;
    float *vector; /* the query, rounded */
    float norm;    /* its length */
    int64_t deadline_ms;
};

bool embedded_collection_sound(struct embedded_collection *c, uint32_t i)
{
    struct embedded_slot *slot = embedded_slots_at(&c->slots, i);
    uint8_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);
    if (state == EMBEDDED_VERIFIED)
        return true;
    if (state == EMBEDDED_DAMAGED)
        return false;
    bool sound = embedded_vectors_verify(&c->vectors, i, slot->fileid, slot->number);
    uint8_t expected = EMBEDDED_UNVERIFIED;
    if (atomic_compare_exchange_strong(
            &slot->state, &expected, sound ? EMBEDDED_VERIFIED : EMBEDDED_DAMAGED) &&
        !sound)
        atomic_fetch_add(&c->damaged, 1);
    return sound;
}

/* The smaller the better, whatever the metric. */
static float key_of(const struct scan *s, uint32_t i, const uint16_t *x)
{
    const struct embedded_collection *c = s->c;
    uint32_t dim = embedded_searchable_dimension(c);
    if (c->meta.settings.metric == STORE_L2)
        return c->kernel->l2sq_f16(s->vector, x, dim);
    float dot = c->kernel->dot_f16(s->vector, x, dim);
    if (c->meta.settings.metric == STORE_IP)
        return -dot;
    float norms = s->norm * embedded_searchable_norm(c, i);
    float cosine = norms > 0 ? dot / norms : 0;
    return -fmaxf(-1, fminf(1, cosine));
}

static float distance_of(const struct embedded_collection *c, float key)
{
    return c->meta.settings.metric == STORE_L2 ? key : 0 - key; /* never −0 */
}

static void look(const struct scan *s, uint32_t i, uint64_t seq, struct embedded_topk *top)
{
    const struct embedded_slot *slot = embedded_slots_at(&s->c->slots, i);
    const uint16_t *row = embedded_slot_visible(slot, seq) ? embedded_searchable_row(s->c, i) : NULL;
    if (!row)
        return;
    float key = key_of(s, i, row);
    if (!embedded_topk_wants(top, key))
        return;
    int64_t itemid = atomic_load_explicit(&slot->itemid, memory_order_relaxed);
    struct embedded_candidate candidate = {
        .key = key, .slot = i, .fileid = slot->fileid, .number = slot->number, .group = itemid};
    embedded_topk_offer(top, &candidate);
}

/* The rows of the segment that a filter leaves, a bit each, or all of them. */
static uint64_t rows_of(const uint64_t *words, size_t count, uint32_t word)
{
    if (!words)
        return UINT64_MAX;
    return word < count ? words[word] : 0;
}

static enum result scan(const struct scan *s, uint64_t seq, struct embedded_topk *top, struct err *err)
{
    const struct embedded_slots *slots = &s->c->slots;
    size_t count = 0;
    if (embedded_space_tuned(&s->c->space)) { /* many rows at once cost far less than one by one */
        enum result r = embedded_space_fill_all(s->c, s->deadline_ms, err);
        if (r)
            return r;
    }
    const uint64_t *words = s->selection.rows ? filter_rows_direct(s->selection.rows, &count) : NULL;
    uint32_t used = atomic_load_explicit(&slots->used, memory_order_acquire);
    for (uint32_t i = 0; i < used; i += 64) {
        if (i % DEADLINE_ROWS == 0 && clock_passed(s->deadline_ms))
            return err_set(err, ERR_TIMEOUT, "the search of collection \"%s\" ran out of time", s->c->name);
        if (!embedded_slots_has(slots, i))
            continue;
        for (uint64_t rows = rows_of(words, count, i / 64); rows; rows &= rows - 1) {
            uint32_t slot = i + (uint32_t)__builtin_ctzll(rows);
            if (slot < used)
                look(s, slot, seq, top);
        }
    }
    return ERR_OK;
}

/*
 * A record may have changed in its slot since the filter was asked; where no commit was made, none has. An
 * answer that is out of date is `stale`.
 */
static void ask_again(const struct scan *s, uint64_t seq, struct embedded_reading *g)
{
    if (!s->query->filter || atomic_load(&s->c->ahead) == seq)
        return;
    for (size_t i = 0; i < g->out.count && !g->stale; i++) {
        const struct store_record *n = &g->out.items[i];
        g->stale = !store_filter_matches(s->query->filter, n->fileid, n->itemid, n->tags, n->brief);
    }
}

/* The texts of one page, or `stale`. */
static enum result fetch(const struct scan *s, const struct embedded_topk *top,
    struct embedded_reader *reader, struct embedded_reading *g, struct err *err)
{
    size_t end = (size_t)s->query->offset + s->query->limit;
    enum result r = embedded_reader_begin(reader, err);
    if (end > top->count)
        end = top->count;
    for (size_t i = s->query->offset; !r && !g->stale && i < end; i++) {
        const struct embedded_candidate *hit = &top->heap[i];
        struct embedded_row row;
        bool found = false;
        sqlite3_bind_int64(reader->by_file, 1, hit->fileid);
        r = embedded_sql_row(reader->db, reader->by_file, &found, err);
        if (!r && found)
            r = embedded_reader_row(reader->by_file, &row, err);
        if (!r)
            g->stale = !found || row.number != hit->number || row.itemid != hit->group;
        if (!r && !g->stale) {
            r = embedded_collection_append(g, reader->by_file, &row, err);
            if (!r)
                g->out.items[g->out.count - 1].distance = distance_of(s->c, hit->key);
        }
        sqlite3_reset(reader->by_file);
    }
    embedded_reader_end(reader);
    return r;
}

/* --- the index ------------------------------------------------------------------------------------------ */

/* What a scan would have found, from the index; in order. */
static enum result ask_graph(
    const struct scan *s, uint64_t seq, struct embedded_topk *top, bool *stale, struct err *err)
{
    struct embedded_collection *c = s->c;
    const struct store_query *query = s->query;
    struct embedded_graph_query q = {.index = s->index,
        .deadline_ms = s->deadline_ms,
        .vector = s->vector,
        .k = (uint32_t)top->max,
        .exact = query->exact || query->offset > 0 || query->limit > WALK_LIMIT,
        .group = query->group,
        .seq = seq};
    if (s->selection.rows)
        q.allowed = filter_rows_direct(s->selection.rows, &q.allowed_words);
    struct index_hit *hits = malloc(top->max * sizeof *hits);
    uint32_t count = 0;
    enum result r = hits ? embedded_graph_search(&c->graph, &q, hits, &count, stale, err) : err_no_memory(err);
    for (uint32_t i = 0; !r && i < count; i++) {
        const struct embedded_slot *slot = embedded_slots_at(&c->slots, hits[i].slot);
        top->heap[i] = (struct embedded_candidate){
            .key = c->meta.settings.metric == STORE_L2 ? hits[i].distance : -hits[i].distance,
            .slot = hits[i].slot,
            .fileid = slot->fileid,
            .number = slot->number,
            .group = atomic_load_explicit(&slot->itemid, memory_order_relaxed)};
    }
    if (!r)
        top->count = count;
    free(hits);
    return r;
}

/* --- one round ------------------------------------------------------------------------------------------ */

/* The moment that the search is of; where s->index is set, the index has been entered for it. */
static enum result enter(struct scan *s, struct embedded_snapshot *snapshot, struct err *err)
{
    struct embedded_collection *c = s->c;
    enum result r = ERR_OK;
    s->selection = (struct embedded_selection){0};
    if (s->query->filter) /* before the index is entered: it can take a while */
        r = embedded_columns_prepare(c, s->deadline_ms, err);
    if (r)
        return r;
    s->index = embedded_graph_enter(&c->graph);
    if (s->query->filter)
        r = embedded_columns_select(c, s->query->filter, s->deadline_ms, snapshot, &s->selection, err);
    else
        embedded_slots_enter(&c->slots, snapshot);
    if (r && s->index)
        embedded_graph_leave(&c->graph);
    return r;
}

/* Of a tuned collection: the picture itself, where it is among the nearest, to distance 0 and the front. */
static void same_first(const struct scan *s, struct embedded_topk *top)
{
    size_t front = 0;
    for (size_t i = 0; i < top->count; i++) {
        struct embedded_candidate hit = top->heap[i];
        if (!embedded_searchable_same(s->c, hit.slot, s->query->vector))
            continue;
        hit.key = 0;
        memmove(top->heap + front + 1, top->heap + front, (i - front) * sizeof hit);
        top->heap[front++] = hit;
    }
}

static enum result find_and_fetch(struct scan *s, struct embedded_reading *g, struct err *err)
{
    struct embedded_topk top = {0};
    struct embedded_snapshot snapshot;
    struct embedded_reader *reader = NULL;
    size_t window = (size_t)s->query->limit + s->query->offset;
    enum result r = enter(s, &snapshot, err);
    if (r)
        return r;
    uint32_t used = atomic_load_explicit(&s->c->slots.used, memory_order_acquire);
    if (embedded_space_tuned(&s->c->space))
        window += SAME_ROOM;
    r = embedded_topk_init(&top, window < used ? window : used + 1, s->query->group, err);
    if (!r)
        r = s->index ? ask_graph(s, snapshot.seq, &top, &g->stale, err) : scan(s, snapshot.seq, &top, err);
    if (s->index)
        embedded_graph_leave(&s->c->graph);
    if (!r && !s->index)
        embedded_topk_sort(&top);
    if (!r && embedded_space_tuned(&s->c->space))
        same_first(s, &top);
    if (!r)
        r = embedded_readers_take(&s->c->readers, s->deadline_ms, &reader, err);
    if (!r && !g->stale)
        r = fetch(s, &top, reader, g, err);
    if (!r && !g->stale)
        ask_again(s, snapshot.seq, g);
    embedded_readers_give(&s->c->readers, reader);
    embedded_slots_leave(&s->c->slots, &snapshot);
    filter_rows_free(s->selection.rows);
    embedded_topk_free(&top);
    return r;
}

static enum result try_rounds(struct scan *s, struct store_records *out, struct err *err)
{
    for (int round = 0;; round++) {
        struct embedded_reading g = {.c = s->c, .with_vectors = s->query->with_vectors};
        bool hold = round >= ROUNDS;
        g.out.dimension = s->c->meta.settings.dimension;
        enum result r = hold ? embedded_collection_hold(s->c, s->deadline_ms, err) : ERR_OK;
        if (r)
            return r;
        r = find_and_fetch(s, &g, err);
        if (hold)
            embedded_collection_resume(s->c);
        if (!r && !g.stale) {
            *out = g.out;
            return ERR_OK;
        }
        store_records_free(&g.out);
        if (r)
            return r;
        if (hold)
            return err_set(err, ERR_CORRUPT,
                "collection \"%s\": its records in memory and in meta.db differ; restart the server",
                s->c->name);
    }
}

enum result embedded_collection_find(struct embedded_collection *c, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    uint32_t dim = embedded_searchable_dimension(c);
    struct scan s = {.c = c, .query = query, .deadline_ms = deadline_ms};
    s.vector = malloc(dim * sizeof *s.vector);
    enum result r = s.vector ? embedded_query_vector(c, query, deadline_ms, s.vector, err) : err_no_memory(err);
    if (!r) {
        s.norm = sqrtf(c->kernel->dot_f32(s.vector, s.vector, dim));
        r = try_rounds(&s, out, err);
    }
    free(s.vector);
    return r;
}

enum result embedded_collection_search(struct embedded_collection *c, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    enum result r = embedded_collection_is(c, query->edition, err);
    if (!r)
        r = embedded_collection_find(c, query, deadline_ms, out, err);
    if (!r && query->part_count == 0 && (query->dimension == 0 || query->dimension == c->meta.settings.descriptor))
        embedded_past_add(&c->past, query->vector);
    return r;
}

bool embedded_collection_distance(struct embedded_collection *c, float *vector, uint32_t slot, float *out)
{
    uint32_t dim = embedded_searchable_dimension(c);
    struct scan s = {.c = c, .vector = vector, .norm = sqrtf(c->kernel->dot_f32(vector, vector, dim))};
    const uint16_t *row = embedded_searchable_row(c, slot);
    if (row)
        *out = distance_of(c, key_of(&s, slot, row));
    return row != NULL;
}
