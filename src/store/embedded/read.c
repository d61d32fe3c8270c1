/*
 * Get, browse, thumbnail, statistics. Each takes a reading connection and, where it touches vectors, a
 * snapshot before its first SELECT: a slot that a row of the transaction names died after the snapshot or not
 * at all, so it is not reused while we copy from it.
 */
#include "store/embedded/collection.h"

#include "base/clock.h"
#include "store/store_backend.h"

#include <inttypes.h>
#include <sys/stat.h>

static char *copy_column(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    size_t n = (size_t)sqlite3_column_bytes(stmt, column);
    char *copy = malloc(n + 1);
    if (copy) {
        if (n)
            memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

/* The first `dim` floats of the descriptor. */
static enum result copy_vector(
    struct embedded_collection *c, const struct embedded_row *row, uint32_t dim, float **out, struct err *err)
{
    if (row->slot >= atomic_load_explicit(&c->slots.used, memory_order_acquire) ||
        !embedded_vectors_verify(&c->vectors, row->slot, row->fileid, row->number))
        return err_set(err, ERR_CORRUPT,
            "the vector of fileid %" PRId64 " in collection \"%s\" is damaged on disk: add its picture again",
            row->fileid, c->name);
    float *v = malloc(dim * sizeof *v);
    if (!v)
        return err_no_memory(err);
    c->kernel->f16_to_f32(
        (const uint16_t *)(const void *)embedded_vectors_at(&c->vectors, row->slot), v, dim);
    *out = v;
    return ERR_OK;
}

enum result embedded_collection_append(
    struct embedded_reading *g, sqlite3_stmt *stmt, const struct embedded_row *row, struct err *err)
{
    struct store_records *out = &g->out;
    if (out->count == g->room) {
        size_t more = g->room ? g->room * 2 : 16;
        struct store_record *items = realloc(out->items, more * sizeof *items);
        if (!items)
            return err_no_memory(err);
        out->items = items;
        g->room = more;
    }
    struct store_record *record = &out->items[out->count++]; /* from here on freed with the rest */
    *record = (struct store_record){.fileid = row->fileid, .itemid = row->itemid};
    record->has_thumbnail = row->picture != 0 && g->c->meta.settings.thumbnails;
    record->tags = copy_column(stmt, EMBEDDED_COL_TAGS);
    record->brief = copy_column(stmt, EMBEDDED_COL_BRIEF);
    if (!record->tags || !record->brief)
        return err_no_memory(err);
    const struct store_settings *s = &g->c->meta.settings;
    return g->with_vectors ? copy_vector(g->c, row, g->descriptors ? s->descriptor : s->dimension, &record->vector, err) : ERR_OK;
}

/* All rows of a bound statement, at most `max`; one more says that there are more. */
static enum result collect(struct embedded_reading *g, struct embedded_reader *reader, sqlite3_stmt *stmt,
    size_t max, struct err *err)
{
    bool there = false;
    enum result r;
    while (!(r = embedded_sql_row(reader->db, stmt, &there, err)) && there) {
        struct embedded_row row;
        if (g->out.count == max) {
            g->out.more = true;
            break;
        }
        r = embedded_reader_row(stmt, &row, err);
        if (!r)
            r = embedded_collection_append(g, stmt, &row, err);
        if (r)
            break;
        g->out.next = row.fileid;
    }
    sqlite3_reset(stmt);
    if (r)
        store_records_free(&g->out);
    return r;
}

enum result embedded_collection_get(struct embedded_collection *c, bool by_item, int64_t id,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct embedded_reading g = {.c = c, .with_vectors = true, .out.dimension = c->meta.settings.dimension};
    struct embedded_reader *reader = NULL;
    struct embedded_snapshot snapshot;
    enum result r = embedded_readers_take(&c->readers, deadline_ms, &reader, err);
    if (r)
        return r;
    sqlite3_stmt *stmt = by_item ? reader->by_item : reader->by_file;
    embedded_slots_enter(&c->slots, &snapshot);
    sqlite3_bind_int64(stmt, 1, id);
    if (by_item)
        sqlite3_bind_int64(stmt, 2, LIMIT_WINDOW + 1);
    r = collect(&g, reader, stmt, LIMIT_WINDOW, err);
    embedded_slots_leave(&c->slots, &snapshot);
    embedded_readers_give(&c->readers, reader);
    if (!r)
        *out = g.out;
    return r;
}

/* --- under a filter ------------------------------------------------------------------------------------- */

enum result embedded_collection_count(struct embedded_collection *c, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct embedded_selection selection;
    struct embedded_snapshot snapshot;
    if (!filter) {
        *out = atomic_load(&c->count);
        return ERR_OK;
    }
    enum result r = embedded_columns_select(c, filter, deadline_ms, &snapshot, &selection, err);
    if (r)
        return r;
    uint64_t n = filter_rows_count(selection.rows);
    uint32_t used = atomic_load_explicit(&c->slots.used, memory_order_acquire);
    size_t words = 0;
    const uint64_t *word = filter_rows_direct(selection.rows, &words);
    for (size_t i = 0; !selection.exact && i < words; i++)
        for (uint64_t rows = word[i]; rows; rows &= rows - 1) {
            uint32_t slot = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(rows);
            n -= slot >= used || !embedded_slot_visible(embedded_slots_at(&c->slots, slot), snapshot.seq);
        }
    embedded_slots_leave(&c->slots, &snapshot);
    filter_rows_free(selection.rows);
    *out = n;
    return ERR_OK;
}

/* The records with the smallest fileids of those that are offered. */
struct lowest {
    struct place {
        int64_t fileid;
        uint32_t slot;
    } *places; /* 2 · want */
    size_t count, want;
    int64_t highest; /* none beyond is wanted */
};

static int by_fileid(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->fileid > y->fileid) - (x->fileid < y->fileid);
}

static void cut(struct lowest *l)
{
    qsort(l->places, l->count, sizeof *l->places, by_fileid);
    if (l->count < l->want)
        return;
    l->count = l->want;
    l->highest = l->places[l->want - 1].fileid;
}

static void find_lowest(struct embedded_collection *c, const struct store_browse *browse,
    const struct filter_rows *rows, uint64_t seq, struct lowest *l)
{
    size_t words = 0;
    const uint64_t *word = filter_rows_direct(rows, &words);
    uint32_t used = atomic_load_explicit(&c->slots.used, memory_order_acquire);
    for (size_t i = 0; i < words; i++)
        for (uint64_t bits = word[i]; bits; bits &= bits - 1) {
            uint32_t n = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(bits);
            if (n >= used)
                break;
            const struct embedded_slot *slot = embedded_slots_at(&c->slots, n);
            if (!embedded_slot_visible(slot, seq) || slot->fileid > l->highest ||
                (!browse->from_start && slot->fileid <= browse->after))
                continue;
            l->places[l->count++] = (struct place){slot->fileid, n};
            if (l->count == 2 * l->want)
                cut(l);
        }
    cut(l);
}

static enum result append_place(
    struct embedded_reading *g, struct embedded_reader *reader, int64_t fileid, struct err *err)
{
    struct embedded_row row;
    bool found = false;
    sqlite3_bind_int64(reader->by_file, 1, fileid);
    enum result r = embedded_sql_row(reader->db, reader->by_file, &found, err);
    if (!r && found)
        r = embedded_reader_row(reader->by_file, &row, err);
    if (!r && found)
        r = embedded_collection_append(g, reader->by_file, &row, err);
    sqlite3_reset(reader->by_file);
    return r;
}

/* Records that were changed since they were found, and that the filter is no longer true for. */
static void drop_changed(struct store_records *records, const struct filter *filter)
{
    size_t kept = 0;
    for (size_t i = 0; i < records->count; i++) {
        struct store_record *n = &records->items[i];
        if (store_filter_matches(filter, n->fileid, n->itemid, n->tags, n->brief)) {
            records->items[kept++] = *n;
        } else {
            free(n->tags);
            free(n->brief);
            free(n->vector);
        }
    }
    records->count = kept;
}

static enum result fetch_places(struct embedded_reading *g, const struct store_browse *browse,
    const struct lowest *l, uint64_t seq, int64_t deadline_ms, struct err *err)
{
    struct embedded_reader *reader = NULL;
    size_t n = l->count < browse->limit ? l->count : browse->limit;
    enum result r = embedded_readers_take(&g->c->readers, deadline_ms, &reader, err);
    if (r)
        return r;
    r = embedded_reader_begin(reader, err);
    for (size_t i = 0; !r && i < n; i++)
        r = append_place(g, reader, l->places[i].fileid, err);
    embedded_reader_end(reader);
    embedded_readers_give(&g->c->readers, reader);
    if (!r && atomic_load(&g->c->ahead) != seq)
        drop_changed(&g->out, browse->filter);
    if (n)
        g->out.next = l->places[n - 1].fileid;
    g->out.more = l->count > browse->limit;
    return r;
}

static enum result browse_filtered(struct embedded_collection *c, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct embedded_reading g = {
        .c = c,
        .with_vectors = browse->with_vectors,
        .descriptors = browse->descriptors,
        .out = {.dimension = browse->descriptors ? c->meta.settings.descriptor : c->meta.settings.dimension,
            .next = browse->after},
    };
    struct lowest l = {.want = (size_t)browse->limit + 1, .highest = INT64_MAX};
    struct embedded_selection selection;
    struct embedded_snapshot snapshot;
    enum result r = embedded_columns_select(c, browse->filter, deadline_ms, &snapshot, &selection, err);
    if (r)
        return r;
    l.places = malloc(2 * l.want * sizeof *l.places);
    if (!l.places) {
        r = err_no_memory(err);
    } else {
        find_lowest(c, browse, selection.rows, snapshot.seq, &l);
        r = fetch_places(&g, browse, &l, snapshot.seq, deadline_ms, err);
    }
    embedded_slots_leave(&c->slots, &snapshot);
    filter_rows_free(selection.rows);
    free(l.places);
    if (r)
        store_records_free(&g.out);
    else
        *out = g.out;
    return r;
}

enum result embedded_collection_browse(struct embedded_collection *c, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct embedded_reading g = {
        .c = c,
        .with_vectors = browse->with_vectors,
        .descriptors = browse->descriptors,
        .out = {.dimension = browse->descriptors ? c->meta.settings.descriptor : c->meta.settings.dimension,
            .next = browse->after},
    };
    struct embedded_reader *reader = NULL;
    struct embedded_snapshot snapshot;
    if (browse->filter)
        return browse_filtered(c, browse, deadline_ms, out, err);
    enum result r = embedded_readers_take(&c->readers, deadline_ms, &reader, err);
    if (r)
        return r;
    sqlite3_stmt *stmt = browse->from_start ? reader->browse_all : reader->browse;
    embedded_slots_enter(&c->slots, &snapshot);
    if (!browse->from_start)
        sqlite3_bind_int64(stmt, 1, browse->after);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)browse->limit + 1);
    r = collect(&g, reader, stmt, browse->limit, err);
    embedded_slots_leave(&c->slots, &snapshot);
    embedded_readers_give(&c->readers, reader);
    if (!r)
        *out = g.out;
    return r;
}

static enum result find_picture(
    struct embedded_reader *reader, int64_t fileid, uint64_t *picture, struct err *err)
{
    bool found = false;
    struct embedded_row row = {0};
    sqlite3_bind_int64(reader->by_file, 1, fileid);
    enum result r = embedded_sql_row(reader->db, reader->by_file, &found, err);
    if (!r && found)
        r = embedded_reader_row(reader->by_file, &row, err);
    sqlite3_reset(reader->by_file);
    if (!r)
        *picture = row.picture;
    return r;
}

static enum result get_picture(struct embedded_collection *c, int64_t fileid, bool original, int64_t deadline_ms,
    struct buf *out, struct err *err)
{
    const char *what = original ? "original" : "thumbnail";
    struct embedded_reader *reader = NULL;
    uint64_t picture = 0, before = 0;
    enum result r = embedded_readers_take(&c->readers, deadline_ms, &reader, err);
    if (r)
        return r;
    do {
        before = picture;
        r = find_picture(reader, fileid, &picture, err);
        if (!r && !picture)
            r = err_set(err, ERR_NOT_FOUND,
                "there is no %s of fileid %" PRId64 " in collection \"%s\"", what, fileid, c->name);
        if (!r)
            r = embedded_pictures_get(&c->pictures, picture, original, out, err);
        else
            break;
        /* Replaced and cleaned away between the two reads: the row names another one now. */
    } while (r == ERR_NOT_FOUND && picture != before);
    embedded_readers_give(&c->readers, reader);
    return r;
}

enum result embedded_collection_thumbnail(
    struct embedded_collection *c, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    return get_picture(c, fileid, false, deadline_ms, out, err);
}

enum result embedded_collection_original(
    struct embedded_collection *c, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    return get_picture(c, fileid, true, deadline_ms, out, err);
}

static uint64_t size_of(const struct embedded_collection *c, const char *name)
{
    char path[EMBEDDED_PATH_MAX];
    struct stat st;
    if (embedded_path(path, c->path, name, NULL) || stat(path, &st))
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

/* Slots nobody has looked at yet are verified, so that `damaged` is the truth. */
static enum result verify_all(struct embedded_collection *c, int64_t deadline_ms, struct err *err)
{
    struct embedded_snapshot snapshot;
    enum result r = ERR_OK;
    embedded_slots_enter(&c->slots, &snapshot);
    uint32_t used = atomic_load_explicit(&c->slots.used, memory_order_acquire);
    for (uint32_t i = 0; !r && i < used; i++) {
        if (i % EMBEDDED_SEGMENT == 0 && clock_passed(deadline_ms))
            r = err_set(err, ERR_TIMEOUT, "verifying collection \"%s\" ran out of time", c->name);
        else if (embedded_slots_has(&c->slots, i) &&
                 embedded_slot_visible(embedded_slots_at(&c->slots, i), snapshot.seq))
            (void)embedded_collection_sound(c, i);
    }
    embedded_slots_leave(&c->slots, &snapshot);
    return r;
}

static enum result count_items(
    struct embedded_collection *c, int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct embedded_reader *reader = NULL;
    bool row = false;
    enum result r = embedded_readers_take(&c->readers, deadline_ms, &reader, err);
    if (r)
        return r;
    r = embedded_sql_row(reader->db, reader->items, &row, err);
    if (!r && row)
        *out = (uint64_t)sqlite3_column_int64(reader->items, 0);
    sqlite3_reset(reader->items);
    embedded_readers_give(&c->readers, reader);
    return r;
}

static void add_index(struct embedded_collection *c, struct store_index_stats *out)
{
    struct embedded_graph_stats s;
    embedded_graph_stats(&c->graph, &s);
    *out = (struct store_index_stats){
        .state = s.state == EMBEDDED_GRAPH_READY  ? STORE_INDEX_READY
                 : s.state == EMBEDDED_GRAPH_NONE ? STORE_INDEX_NONE
                                                  : STORE_INDEX_BUILDING,
        .built = s.built,
        .live = s.index.live,
        .dead = s.index.dead,
        .waiting = s.index.waiting,
        .bytes_codes = s.index.bytes_codes,
        .bytes_sketches = s.index.bytes_sketches,
        .bytes_links = s.index.bytes_links,
        .bytes_rows = s.index.bytes_rows,
        .bytes_memory = s.index.bytes_memory,
        .repairs = s.index.repairs,
        .saves = s.saves,
    };
}

enum result embedded_collection_stats(
    struct embedded_collection *c, int64_t deadline_ms, struct store_stats *out, struct err *err)
{
    static const char *const files[] = {
        "meta.db", "meta.db-wal", "vectors.f16", "pictures.db", "pictures.db-wal",
        "projection", "queries", "derived/index"};
    struct store_stats stats = {.settings = c->meta.settings};
    enum result r = verify_all(c, deadline_ms, err);
    if (!r)
        r = count_items(c, deadline_ms, &stats.items, err);
    if (r)
        return r;
    stats.records = atomic_load(&c->count);
    stats.damaged = atomic_load(&c->damaged);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        stats.bytes_disk += size_of(c, files[i]);
    add_index(c, &stats.index);
    stats.tuned = embedded_space_tuned(&c->space);
    stats.bytes_columns = embedded_columns_bytes(&c->columns);
    /* What the process holds for it; mapped vectors are the page cache's. */
    stats.bytes_memory = sizeof *c + c->slots.bytes + stats.bytes_columns + stats.index.bytes_memory;
    *out = stats;
    return ERR_OK;
}
