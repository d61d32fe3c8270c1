#include "store/embedded/records.h"

#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>

#define FORMAT 1

/*
 * records_item also holds slot and number: the load at open reads this index only, not the rows with their
 * texts.
 */
static const char schema[] =
    "BEGIN;"
    "CREATE TABLE settings(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE records(fileid INTEGER PRIMARY KEY, itemid INTEGER NOT NULL, slot INTEGER NOT NULL UNIQUE,"
    " number INTEGER NOT NULL, picture INTEGER, tags TEXT NOT NULL, brief TEXT NOT NULL) STRICT;"
    "CREATE INDEX records_item ON records(itemid, slot, number);"
    "CREATE TABLE garbage(picture INTEGER PRIMARY KEY) STRICT;";

static enum result set_int(sqlite3_stmt *stmt, sqlite3 *db, const char *key, uint64_t value, struct err *err)
{
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)value);
    return embedded_sql_run(db, stmt, err);
}

static enum result set_text(sqlite3_stmt *stmt, sqlite3 *db, const char *key, const char *value, struct err *err)
{
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
    return embedded_sql_run(db, stmt, err);
}

enum result embedded_records_create(const char *path, const struct embedded_meta *meta, struct err *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    enum result r = embedded_sql_open(path, EMBEDDED_SQL_CREATE, &db, err);
    if (!r)
        r = embedded_sql_exec(db, schema, err);
    if (!r)
        r = embedded_sql_prepare(db, "INSERT INTO settings VALUES(?1, ?2)", &stmt, err);
    const struct {
        const char *key;
        uint64_t value;
    } ints[] = {{"format", FORMAT}, {"id", meta->id}, {"dimension", meta->settings.dimension},
        {"descriptor", meta->settings.descriptor},
        {"metric", (uint64_t)meta->settings.metric}, {"thumbnails", meta->settings.thumbnails}, {"background", meta->settings.background},
        {"originals", meta->settings.originals},
        {"change", meta->change}, {"number", meta->number}};
    for (size_t i = 0; !r && i < sizeof ints / sizeof *ints; i++)
        r = set_int(stmt, db, ints[i].key, ints[i].value, err);
    if (!r)
        r = set_text(stmt, db, "model", meta->settings.model, err);
    if (!r && *meta->settings.input)
        r = set_text(stmt, db, "input", meta->settings.input, err);
    if (!r)
        r = embedded_sql_exec(db, "COMMIT", err);
    sqlite3_finalize(stmt);
    sqlite3_close(db); /* the last connection: the log is copied into the file and removed */
    return r;
}

static enum result get_int(sqlite3 *db, sqlite3_stmt *stmt, const char *key, uint64_t *out, struct err *err)
{
    bool row = false;
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    enum result r = embedded_sql_row(db, stmt, &row, err);
    if (!r && (!row || sqlite3_column_type(stmt, 0) != SQLITE_INTEGER))
        r = err_set(err, ERR_CORRUPT, "%s is damaged: the setting \"%s\" is missing",
            sqlite3_db_filename(db, "main"), key);
    if (!r)
        *out = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return r;
}

/* A setting that older folders do not have: `*out` keeps its value then. */
static enum result get_later_int(sqlite3 *db, sqlite3_stmt *stmt, const char *key, uint64_t *out, struct err *err)
{
    bool row = false;
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    enum result r = embedded_sql_row(db, stmt, &row, err);
    if (!r && row)
        *out = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return r;
}

/* "" where there is none, which is right for what older folders do not have. */
static enum result get_text(sqlite3 *db, sqlite3_stmt *stmt, const char *key, char *out, size_t size, struct err *err)
{
    bool row = false;
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    enum result r = embedded_sql_row(db, stmt, &row, err);
    const char *text = !r && row ? (const char *)sqlite3_column_text(stmt, 0) : "";
    if (!r && (!text || strlen(text) >= size))
        r = err_set(err, ERR_CORRUPT, "%s is damaged: the setting \"%s\" is too long", sqlite3_db_filename(db, "main"), key);
    if (!r)
        snprintf(out, size, "%s", text);
    sqlite3_reset(stmt);
    return r;
}

static enum result get_texts(sqlite3 *db, sqlite3_stmt *stmt, struct store_settings *out, struct err *err)
{
    enum result r = get_text(db, stmt, "model", out->model, sizeof out->model, err);
    if (!r && !*out->model)
        r = err_set(err, ERR_CORRUPT, "%s is damaged: the setting \"model\" is missing", sqlite3_db_filename(db, "main"));
    if (!r)
        r = get_text(db, stmt, "input", out->input, sizeof out->input, err);
    return r;
}

static enum result load_meta(sqlite3 *db, struct embedded_meta *out, struct err *err)
{
    struct embedded_meta meta = {0};
    sqlite3_stmt *stmt = NULL;
    uint64_t format = 0, dimension = 0, descriptor = 0, metric = 0, thumbnails = 0, background = 0, originals = 0;
    const char *file = sqlite3_db_filename(db, "main");
    enum result r = embedded_sql_prepare(db, "SELECT value FROM settings WHERE key = ?1", &stmt, err);
    if (!r)
        r = get_int(db, stmt, "format", &format, err);
    if (!r && format > FORMAT)
        r = err_set(err, ERR_UNSUPPORTED,
            "%s was written by a newer version of lookalike (format %" PRIu64
            ", this one knows %d): update lookalike",
            file, format, FORMAT);
    const struct {
        const char *key;
        uint64_t *value;
    } ints[] = {{"id", &meta.id}, {"dimension", &dimension}, {"metric", &metric}, {"thumbnails", &thumbnails},
        {"change", &meta.change}, {"number", &meta.number}};
    for (size_t i = 0; !r && i < sizeof ints / sizeof *ints; i++)
        r = get_int(db, stmt, ints[i].key, ints[i].value, err);
    if (!r)
        r = get_later_int(db, stmt, "descriptor", &descriptor, err);
    if (!r && !descriptor)
        descriptor = dimension;
    if (!r)
        r = get_later_int(db, stmt, "background", &background, err);
    if (!r)
        r = get_later_int(db, stmt, "originals", &originals, err);
    if (!r)
        r = get_texts(db, stmt, &meta.settings, err);
    if (!r && (dimension < 1 || descriptor < dimension || descriptor > LIMIT_DIMENSION || metric > STORE_COSINE))
        r = err_set(err, ERR_CORRUPT, "%s is damaged: its settings make no sense", file);
    sqlite3_finalize(stmt);
    if (r)
        return r;
    meta.settings.dimension = (uint32_t)dimension;
    meta.settings.descriptor = (uint32_t)descriptor;
    meta.settings.metric = (enum store_metric)metric;
    meta.settings.thumbnails = thumbnails != 0;
    meta.settings.background = (uint32_t)background;
    meta.settings.originals = originals != 0;
    *out = meta;
    return ERR_OK;
}

static int count_frames(void *user, sqlite3 *db, const char *name, int frames)
{
    *(int *)user = frames;
    return SQLITE_OK;
}

enum result embedded_records_open(
    const char *path, struct embedded_records *out, struct embedded_meta *meta, struct err *err)
{
    struct embedded_records w = {0};
    enum result r = embedded_sql_open(path, EMBEDDED_SQL_WRITE, &w.db, err);
    if (!r)
        r = load_meta(w.db, meta, err);
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } all[] = {
        {&w.begin, "BEGIN IMMEDIATE"},
        {&w.commit, "COMMIT"},
        {&w.rollback, "ROLLBACK"},
        {&w.savepoint, "SAVEPOINT one"},
        {&w.release, "RELEASE one"},
        {&w.rollback_to, "ROLLBACK TO one"},
        {&w.find, "SELECT fileid, itemid, slot, number, picture FROM records WHERE fileid = ?1"},
        {&w.texts,
            "SELECT fileid, itemid, slot, number, picture, tags, brief FROM records WHERE fileid = ?1"},
        {&w.put, "INSERT INTO records(fileid, itemid, slot, number, picture, tags, brief)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(fileid) DO UPDATE SET"
                 " itemid = ?2, slot = ?3, number = ?4, picture = ?5, tags = ?6, brief = ?7"},
        {&w.update, "UPDATE records SET itemid = ?2, slot = ?3, number = ?4, picture = ?5,"
                    " tags = coalesce(?6, tags), brief = coalesce(?7, brief) WHERE fileid = ?1"},
        {&w.delete, "DELETE FROM records WHERE fileid = ?1"},
        {&w.numbers, "UPDATE settings SET value = CASE key WHEN 'change' THEN ?1 ELSE ?2 END"
                     " WHERE key IN ('change', 'number')"},
        {&w.garbage_add, "INSERT OR IGNORE INTO garbage VALUES(?1)"},
        {&w.garbage_list, "SELECT picture FROM garbage LIMIT ?1"},
        {&w.garbage_remove, "DELETE FROM garbage WHERE picture = ?1"},
    };
    for (size_t i = 0; !r && i < sizeof all / sizeof *all; i++)
        r = embedded_sql_prepare(w.db, all[i].sql, all[i].stmt, err);
    *out = w;
    if (r) {
        embedded_records_close(out);
        return r;
    }
    sqlite3_wal_hook(out->db, count_frames, &out->frames);
    return ERR_OK;
}

void embedded_records_close(struct embedded_records *r)
{
    sqlite3_stmt *all[] = {r->begin, r->commit, r->rollback, r->savepoint, r->release, r->rollback_to,
        r->find, r->texts, r->put, r->update, r->delete, r->numbers, r->garbage_add, r->garbage_list,
        r->garbage_remove};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(r->db);
    *r = (struct embedded_records){0};
}

enum result embedded_reader_row(sqlite3_stmt *stmt, struct embedded_row *row, struct err *err)
{
    struct embedded_row found = {
        .fileid = sqlite3_column_int64(stmt, EMBEDDED_COL_FILEID),
        .itemid = sqlite3_column_int64(stmt, EMBEDDED_COL_ITEMID),
        .slot = (uint64_t)sqlite3_column_int64(stmt, EMBEDDED_COL_SLOT),
        .number = (uint64_t)sqlite3_column_int64(stmt, EMBEDDED_COL_NUMBER),
        .picture = (uint64_t)sqlite3_column_int64(stmt, EMBEDDED_COL_PICTURE),
    };
    if (found.slot >= LIMIT_RECORDS)
        return err_set(err, ERR_CORRUPT,
            "the record of fileid %" PRId64 " is damaged: it names a slot that cannot be", found.fileid);
    *row = found;
    return ERR_OK;
}

enum result embedded_records_each(
    struct embedded_records *w, embedded_each_fn each, void *user, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool more = false;
    enum result r = embedded_sql_prepare(
        w->db, "SELECT fileid, itemid, slot, number, 0 FROM records INDEXED BY records_item", &stmt, err);
    while (!r && !(r = embedded_sql_row(w->db, stmt, &more, err)) && more) {
        struct embedded_row row;
        r = embedded_reader_row(stmt, &row, err);
        if (!r)
            r = each(user, &row, err);
    }
    sqlite3_finalize(stmt);
    return r;
}

/* --- transactions --------------------------------------------------------------------------------------- */

enum result embedded_records_begin(struct embedded_records *w, struct err *err)
{
    return embedded_sql_run(w->db, w->begin, err);
}

enum result embedded_records_commit(
    struct embedded_records *w, uint64_t change, uint64_t number, struct err *err)
{
    sqlite3_bind_int64(w->numbers, 1, (sqlite3_int64)change);
    sqlite3_bind_int64(w->numbers, 2, (sqlite3_int64)number);
    enum result r = embedded_sql_run(w->db, w->numbers, err);
    if (!r)
        r = embedded_sql_run(w->db, w->commit, err);
    if (r)
        embedded_records_rollback(w);
    return r;
}

void embedded_records_rollback(struct embedded_records *w)
{
    if (sqlite3_get_autocommit(w->db))
        return;
    sqlite3_step(w->rollback);
    sqlite3_reset(w->rollback);
}

enum result embedded_records_mark(struct embedded_records *w, struct err *err)
{
    return embedded_sql_run(w->db, w->savepoint, err);
}

enum result embedded_records_keep(struct embedded_records *w, struct err *err)
{
    return embedded_sql_run(w->db, w->release, err);
}

bool embedded_records_undo(struct embedded_records *w)
{
    if (sqlite3_get_autocommit(w->db))
        return false;
    return !embedded_sql_run(w->db, w->rollback_to, NULL) && !embedded_sql_run(w->db, w->release, NULL);
}

/* --- rows ----------------------------------------------------------------------------------------------- */

enum result embedded_records_find(
    struct embedded_records *w, int64_t fileid, struct embedded_row *row, bool *found, struct err *err)
{
    bool there = false;
    sqlite3_bind_int64(w->find, 1, fileid);
    enum result r = embedded_sql_row(w->db, w->find, &there, err);
    if (!r && there)
        r = embedded_reader_row(w->find, row, err);
    sqlite3_reset(w->find);
    if (!r)
        *found = there;
    return r;
}

enum result embedded_records_texts(struct embedded_records *w, int64_t fileid, struct embedded_texts *out,
    bool *found, struct err *err)
{
    struct embedded_row row = {0};
    bool there = false;
    sqlite3_bind_int64(w->texts, 1, fileid);
    enum result r = embedded_sql_row(w->db, w->texts, &there, err);
    if (!r && there)
        r = embedded_reader_row(w->texts, &row, err);
    *found = !r && there;
    if (!*found)
        return r;
    *out = (struct embedded_texts){
        .itemid = row.itemid,
        .slot = row.slot,
        .tags = (const char *)sqlite3_column_text(w->texts, EMBEDDED_COL_TAGS),
        .brief = (const char *)sqlite3_column_text(w->texts, EMBEDDED_COL_BRIEF),
        .tags_len = (size_t)sqlite3_column_bytes(w->texts, EMBEDDED_COL_TAGS),
        .brief_len = (size_t)sqlite3_column_bytes(w->texts, EMBEDDED_COL_BRIEF),
    };
    return out->tags && out->brief ? ERR_OK : err_no_memory(err);
}

void embedded_records_texts_end(struct embedded_records *w)
{
    sqlite3_reset(w->texts);
}

static enum result write_row(struct embedded_records *w, sqlite3_stmt *stmt, const struct embedded_row *row,
    const char *tags, const char *brief, struct err *err)
{
    sqlite3_bind_int64(stmt, 1, row->fileid);
    sqlite3_bind_int64(stmt, 2, row->itemid);
    sqlite3_bind_int64(stmt, 3, (sqlite3_int64)row->slot);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)row->number);
    if (row->picture)
        sqlite3_bind_int64(stmt, 5, (sqlite3_int64)row->picture);
    else
        sqlite3_bind_null(stmt, 5);
    sqlite3_bind_text(stmt, 6, tags, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 7, brief, -1, SQLITE_STATIC);
    enum result r = embedded_sql_run(w->db, stmt, err);
    sqlite3_clear_bindings(stmt); /* the texts are the caller's */
    return r;
}

enum result embedded_records_put(struct embedded_records *w, const struct embedded_row *row, const char *tags,
    const char *brief, struct err *err)
{
    assert(row->slot < LIMIT_RECORDS);
    return write_row(w, w->put, row, tags, brief, err);
}

enum result embedded_records_update(struct embedded_records *w, const struct embedded_row *row,
    const char *tags, const char *brief, struct err *err)
{
    assert(row->slot < LIMIT_RECORDS);
    return write_row(w, w->update, row, tags, brief, err);
}

static enum result run_with(struct embedded_records *w, sqlite3_stmt *stmt, int64_t value, struct err *err)
{
    sqlite3_bind_int64(stmt, 1, value);
    return embedded_sql_run(w->db, stmt, err);
}

enum result embedded_records_delete(struct embedded_records *w, int64_t fileid, struct err *err)
{
    return run_with(w, w->delete, fileid, err);
}

enum result embedded_records_garbage_add(struct embedded_records *w, uint64_t picture, struct err *err)
{
    return run_with(w, w->garbage_add, (int64_t)picture, err);
}

enum result embedded_records_garbage_remove(struct embedded_records *w, uint64_t picture, struct err *err)
{
    return run_with(w, w->garbage_remove, (int64_t)picture, err);
}

enum result embedded_records_garbage_list(
    struct embedded_records *w, uint64_t *pictures, size_t max, size_t *count, struct err *err)
{
    size_t n = 0;
    bool row = false;
    sqlite3_bind_int64(w->garbage_list, 1, (sqlite3_int64)max);
    enum result r;
    while (!(r = embedded_sql_row(w->db, w->garbage_list, &row, err)) && row)
        pictures[n++] = (uint64_t)sqlite3_column_int64(w->garbage_list, 0);
    if (!r)
        *count = n;
    return r;
}

/* --- readers -------------------------------------------------------------------------------------------- */

static void reader_close(struct embedded_reader *r)
{
    sqlite3_stmt *all[] = {r->begin, r->end, r->by_file, r->by_item, r->browse, r->browse_all, r->items};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(r->db);
    free(r);
}

static enum result reader_open(const char *path, struct embedded_reader **out, struct err *err)
{
#define COLUMNS "SELECT fileid, itemid, slot, number, picture, tags, brief FROM records "
    struct embedded_reader *n = calloc(1, sizeof *n);
    if (!n)
        return err_no_memory(err);
    enum result r = embedded_sql_open(path, EMBEDDED_SQL_READ, &n->db, err);
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } all[] = {
        {&n->begin, "BEGIN"},
        {&n->end, "COMMIT"},
        {&n->by_file, COLUMNS "WHERE fileid = ?1"},
        {&n->by_item, COLUMNS "WHERE itemid = ?1 ORDER BY fileid LIMIT ?2"},
        {&n->browse, COLUMNS "WHERE fileid > ?1 ORDER BY fileid LIMIT ?2"},
        {&n->browse_all, COLUMNS "ORDER BY fileid LIMIT ?2"},
        {&n->items, "SELECT count(DISTINCT itemid) FROM records"},
    };
    for (size_t i = 0; !r && i < sizeof all / sizeof *all; i++)
        r = embedded_sql_prepare(n->db, all[i].sql, all[i].stmt, err);
    if (r)
        reader_close(n);
    else
        *out = n;
    return r;
#undef COLUMNS
}

void embedded_readers_init(struct embedded_readers *pool, const char *path)
{
    *pool = (struct embedded_readers){0};
    snprintf(pool->path, sizeof pool->path, "%s", path);
    pthread_mutex_init(&pool->mutex, NULL);
    clock_cond_init(&pool->cond);
}

void embedded_readers_free(struct embedded_readers *pool)
{
    if (!pool->path[0])
        return;
    while (pool->idle) {
        struct embedded_reader *r = pool->idle;
        pool->idle = r->next;
        reader_close(r);
        pool->opened--;
    }
    assert(pool->opened == 0);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->cond);
    pool->path[0] = '\0';
}

enum result embedded_readers_take(
    struct embedded_readers *pool, int64_t deadline_ms, struct embedded_reader **out, struct err *err)
{
    enum result r = ERR_OK;
    struct embedded_reader *reader = NULL;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->idle && pool->opened >= LIMIT_STORE_READERS)
        if (!clock_wait(&pool->cond, &pool->mutex, deadline_ms) && !pool->idle) {
            pthread_mutex_unlock(&pool->mutex);
            return err_set(err, ERR_TIMEOUT, "the store is busy: no reading connection came free in time");
        }
    reader = pool->idle;
    if (reader)
        pool->idle = reader->next;
    else
        pool->opened++;
    pthread_mutex_unlock(&pool->mutex);
    if (!reader) {
        r = reader_open(pool->path, &reader, err);
        if (r) {
            pthread_mutex_lock(&pool->mutex);
            pool->opened--;
            pthread_cond_signal(&pool->cond);
            pthread_mutex_unlock(&pool->mutex);
            return r;
        }
    }
    *out = reader;
    return ERR_OK;
}

void embedded_readers_give(struct embedded_readers *pool, struct embedded_reader *reader)
{
    if (!reader)
        return;
    pthread_mutex_lock(&pool->mutex);
    reader->next = pool->idle;
    pool->idle = reader;
    pthread_cond_signal(&pool->cond);
    pthread_mutex_unlock(&pool->mutex);
}

enum result embedded_reader_begin(struct embedded_reader *reader, struct err *err)
{
    return embedded_sql_run(reader->db, reader->begin, err);
}

void embedded_reader_end(struct embedded_reader *reader)
{
    if (!sqlite3_get_autocommit(reader->db)) {
        sqlite3_step(reader->end);
        sqlite3_reset(reader->end);
    }
}
