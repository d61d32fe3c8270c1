/*
 * Compare everything of a collection with everything: SQLite's own check of both databases and their indexes,
 * each row with the slot it names, pictures with the rows that name them. Commits pause for the moment in
 * which the read transaction begins, so that both databases and the slots are seen at one point in time; then
 * they go on.
 */
#include "store/embedded/collection.h"

#include "base/clock.h"

#include <inttypes.h>

struct check {
    struct embedded_collection *c;
    sqlite3 *db; /* meta.db, with pictures.db attached as `pics` */
    store_check_fn report;
    void *user;
    bool damage;
    uint64_t rows;
};

static void say(struct check *k, int severity, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say(struct check *k, int severity, const char *format, ...)
{
    char text[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    k->damage |= severity == 2;
    if (k->report)
        k->report(k->user, severity, k->c->name, text);
}

static void say_problem(void *user, const char *text)
{
    say(user, 2, "the database says: %s", text);
}

static enum result begin(struct check *k, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    sqlite3_stmt *attach = NULL;
    enum result r = embedded_sql_open(k->c->readers.path, EMBEDDED_SQL_READ, &k->db, err);
    if (!r && embedded_keeps_pictures(&k->c->meta.settings)) {
        r = embedded_path(path, k->c->path, "pictures.db", err);
        if (!r)
            r = embedded_sql_prepare(k->db, "ATTACH ?1 AS pics", &attach, err);
        if (!r) {
            sqlite3_bind_text(attach, 1, path, -1, SQLITE_STATIC);
            r = embedded_sql_run(k->db, attach, err);
        }
        sqlite3_finalize(attach);
    }
    if (!r) /* the first SELECT is what takes the snapshot */
        r = embedded_sql_exec(k->db, "BEGIN; SELECT count(*) FROM settings;", err);
    if (!r && embedded_keeps_pictures(&k->c->meta.settings))
        r = embedded_sql_exec(k->db, "SELECT 1 FROM pics.pictures LIMIT 1", err);
    return r;
}

static void check_row(struct check *k, sqlite3_stmt *stmt, uint8_t *seen, uint32_t used)
{
    struct embedded_row row;
    struct err err;
    k->rows++;
    if (embedded_reader_row(stmt, &row, &err)) {
        say(k, 2, "%s", err.message);
        return;
    }
    if (sqlite3_column_bytes(stmt, EMBEDDED_COL_TAGS) == 0)
        say(k, 2, "fileid %" PRId64 " has no tags, not even an empty list", row.fileid);
    if (sqlite3_column_bytes(stmt, EMBEDDED_COL_BRIEF) == 0)
        say(k, 2, "fileid %" PRId64 " has no brief, not even an empty object", row.fileid);
    if (row.slot >= used) {
        say(k, 2, "fileid %" PRId64 " names slot %" PRIu64 ", which is not there", row.fileid, row.slot);
        return;
    }
    if (seen[row.slot / 8] >> row.slot % 8 & 1)
        say(k, 2, "fileid %" PRId64 " names slot %" PRIu64 ", and so does another record", row.fileid,
            row.slot);
    seen[row.slot / 8] |= (uint8_t)(1u << row.slot % 8);
    if (!embedded_vectors_verify(&k->c->vectors, row.slot, row.fileid, row.number))
        say(k, 2, "the vector of fileid %" PRId64 " is damaged on disk: add its picture again", row.fileid);
}

static enum result check_rows(struct check *k, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    uint32_t used = atomic_load_explicit(&k->c->slots.used, memory_order_acquire);
    uint8_t *seen = calloc(used / 8 + 1, 1);
    enum result r = seen ? ERR_OK : err_no_memory(err);
    if (!r)
        r = embedded_sql_prepare(
            k->db, "SELECT fileid, itemid, slot, number, picture, tags, brief FROM records", &stmt, err);
    while (!r && !(r = embedded_sql_row(k->db, stmt, &row, err)) && row)
        check_row(k, stmt, seen, used);
    sqlite3_finalize(stmt);
    free(seen);
    return r;
}

/* One line for each fileid that `sql` gives, at most a hundred. */
static enum result list(struct check *k, const char *sql, int severity, const char *format_before,
    const char *after, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    int n = 0;
    enum result r = embedded_sql_prepare(k->db, sql, &stmt, err);
    while (!r && n < 100 && !(r = embedded_sql_row(k->db, stmt, &row, err)) && row) {
        say(k, severity, "%s %lld %s", format_before, (long long)sqlite3_column_int64(stmt, 0), after);
        n++;
    }
    sqlite3_finalize(stmt);
    return r;
}

static enum result check_pictures(struct check *k, struct err *err)
{
    enum result r = list(k,
        "SELECT fileid FROM records r WHERE picture IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM pics.pictures p WHERE p.id = r.picture)",
        2, "the thumbnail of fileid", "is missing", err);
    if (r)
        return r;
    return list(k,
        "SELECT fileid FROM pics.pictures p WHERE NOT EXISTS"
        " (SELECT 1 FROM records r WHERE r.fileid = p.fileid AND r.picture = p.id)"
        " AND p.id NOT IN (SELECT picture FROM garbage)",
        1, "a thumbnail of fileid", "belongs to no record; it only takes space", err);
}

/* What is derived can be wrong without any record being damaged; it is made anew by removing derived/. */
static void say_index(void *user, const char *text)
{
    say(user, 1, "the index: %s Stop the server and remove the folder derived of this collection.", text);
}

static void check_index(struct check *k)
{
    struct index *ix = embedded_graph_enter(&k->c->graph);
    if (!ix)
        return;
    if (index_check(ix, say_index, k, NULL) == ERR_NO_MEMORY)
        say(k, 1, "there was no memory to check the index");
    embedded_graph_leave(&k->c->graph);
}

enum result embedded_collection_check(
    struct embedded_collection *c, store_check_fn report, void *user, bool *damage, struct err *err)
{
    struct check k = {.c = c, .report = report, .user = user};
    struct embedded_snapshot snapshot;
    struct err why = {0};
    enum result r = embedded_collection_hold(c, CLOCK_NO_DEADLINE, err);
    if (r)
        return r;
    embedded_slots_enter(&c->slots, &snapshot);
    r = begin(&k, &why);
    embedded_collection_resume(c);
    if (!r)
        r = embedded_sql_integrity(k.db, say_problem, &k, &why);
    if (!r)
        r = check_rows(&k, &why);
    if (!r && embedded_keeps_pictures(&c->meta.settings))
        r = check_pictures(&k, &why);
    embedded_slots_leave(&c->slots, &snapshot);
    if (!r)
        check_index(&k);
    sqlite3_close(k.db);
    if (r == ERR_CORRUPT) {
        say(&k, 2, "%s", why.message);
        r = ERR_OK;
    }
    if (r) {
        if (err)
            *err = why;
        return r;
    }
    say(&k, 0, "%" PRIu64 " records%s", k.rows, k.damage ? "" : ", all as they were written");
    *damage |= k.damage;
    return ERR_OK;
}
