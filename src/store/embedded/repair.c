/*
 * Repair: make a collection whole from what is left of it. It works on the closed files, before anything else has
 * opened them, because what it mends may keep them from being opened.
 *
 *   what is damaged            what is done
 *   meta.db                    indexes are built anew; a damaged table needs a backup
 *   header of vectors.f16      written anew: it follows from meta.db
 *   vectors.f16 missing        made anew, empty, so that the rest of the records can be read
 *   a vector                   the record is named; with `drop` it is removed. Nothing else can make a vector
 *   pictures.db                set aside as pictures.db.damaged, a new one made; the records lose their thumbnails and originals
 *   a thumbnail                the record loses it
 *
 * Rows change in one transaction, together with the change number, so that files that are derived from them, and
 * backups, know.
 */
#include "store/embedded/backup.h"

#include "base/clock.h"
#include "store/embedded/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>
#include <xxhash.h>

struct repair {
    const struct store_sys *sys;
    const char *name;
    char path[EMBEDDED_PATH_MAX];
    bool drop;
    store_check_fn report;
    void *user;
    bool left; /* damage that stays */
    /* The collection under repair. */
    struct embedded_meta meta;
    struct embedded_vectors vectors;
    sqlite3 *db; /* meta.db, in a transaction */
    uint64_t changes;
    int64_t *ids; /* fileids to do something about */
    size_t count, room;
};

static void say(struct repair *p, int severity, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say(struct repair *p, int severity, const char *format, ...)
{
    char text[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->left |= severity == 2;
    if (p->report)
        p->report(p->user, severity, p->name, text);
}

static enum result remember(struct repair *p, int64_t fileid, struct err *err)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 64;
        int64_t *ids = realloc(p->ids, room * sizeof *ids);
        if (!ids)
            return err_no_memory(err);
        p->ids = ids;
        p->room = room;
    }
    p->ids[p->count++] = fileid;
    return ERR_OK;
}

/* `sql` with each remembered fileid as ?1; they are forgotten. */
static enum result for_each(struct repair *p, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum result r = p->count ? embedded_sql_prepare(p->db, sql, &stmt, err) : ERR_OK;
    for (size_t i = 0; !r && i < p->count; i++) {
        sqlite3_bind_int64(stmt, 1, p->ids[i]);
        r = embedded_sql_run(p->db, stmt, err);
        p->changes++;
    }
    sqlite3_finalize(stmt);
    p->count = 0;
    return r;
}

/* --- vectors -------------------------------------------------------------------------------------------- */

static enum result open_vectors(struct repair *p, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    const char *mended = NULL;
    enum result r = embedded_path(file, p->path, "vectors.f16", err);
    if (!r)
        r = embedded_vectors_mend(p->sys, file, p->meta.settings.descriptor, p->meta.id, &mended, err);
    if (r)
        return r;
    if (mended)
        say(p, 1, "%s", mended);
    r = embedded_vectors_open(p->sys, file, p->meta.settings.descriptor, p->meta.id, &p->vectors, err);
    if (r)
        return r;
    uint64_t slots = p->vectors.capacity < LIMIT_RECORDS ? p->vectors.capacity : LIMIT_RECORDS;
    return embedded_vectors_cover(&p->vectors, slots, err);
}

/* NOT INDEXED: the table is the truth, an index may be what is damaged. */
static enum result mend_rows(struct repair *p, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    enum result r = embedded_sql_prepare(
        p->db, "SELECT fileid, slot, number FROM records NOT INDEXED ORDER BY fileid", &stmt, err);
    while (!r && !(r = embedded_sql_row(p->db, stmt, &row, err)) && row) {
        int64_t fileid = sqlite3_column_int64(stmt, 0);
        uint64_t slot = (uint64_t)sqlite3_column_int64(stmt, 1), number = (uint64_t)sqlite3_column_int64(stmt, 2);
        if (slot < p->vectors.capacity && slot < LIMIT_RECORDS &&
            embedded_vectors_verify(&p->vectors, slot, fileid, number))
            continue;
        if (p->drop)
            say(p, 1, "fileid %" PRId64 " is dropped: its vector was damaged", fileid);
        else
            say(p, 2, "the vector of fileid %" PRId64 " is damaged: add its picture again, or let it be dropped",
                fileid);
        r = remember(p, fileid, err);
    }
    sqlite3_finalize(stmt);
    if (!r && p->drop)
        return for_each(p, "DELETE FROM records WHERE fileid = ?1", err);
    p->count = 0;
    return r;
}

/* --- thumbnails ----------------------------------------------------------------------------------------- */

static void note_problem(void *user, const char *text)
{
    *(bool *)user = true;
}

static bool is_whole(const char *file)
{
    sqlite3 *db = NULL;
    bool damaged = false;
    enum result r = embedded_sql_open(file, EMBEDDED_SQL_WRITE, &db, NULL);
    if (!r)
        r = embedded_sql_exec(db, "SELECT id, fileid, hash, bytes FROM pictures LIMIT 0", NULL);
    if (!r)
        r = embedded_sql_integrity(db, note_problem, &damaged, NULL);
    sqlite3_close(db);
    return !r && !damaged;
}

static enum result renew_pictures(struct repair *p, const char *file, struct err *err)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char from[EMBEDDED_PATH_MAX + 8], to[EMBEDDED_PATH_MAX + 24];
    bool there = access(file, F_OK) == 0;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(from, sizeof from, "%s%s", file, suffixes[i]);
        snprintf(to, sizeof to, "%s.damaged%s", file, suffixes[i]);
        if (p->sys->rename(from, to) && errno != ENOENT)
            return err_set_errno(err, errno, "cannot set %s aside", from);
    }
    enum result r = embedded_pictures_create(file, err);
    if (!r)
        r = embedded_sync_file(p->sys, file, err);
    if (!r)
        r = embedded_sync_folder(p->sys, p->path, err);
    if (!r)
        r = embedded_sql_exec(p->db, "UPDATE records SET picture = NULL; DELETE FROM garbage;", err);
    if (r)
        return r;
    p->changes++;
    say(p, 1, "pictures.db was %s, and a new one is made: the records lost their thumbnails%s, which come back when their "
              "pictures are added again%s",
        there ? "damaged" : "missing", p->meta.settings.originals ? " and originals" : "", there ? ". The old file is kept as pictures.db.damaged" : "");
    return ERR_OK;
}

/* A hash, and behind it the bytes. */
static bool is_as_written(sqlite3_stmt *stmt, int column)
{
    const void *bytes = sqlite3_column_blob(stmt, column + 1);
    size_t len = (size_t)sqlite3_column_bytes(stmt, column + 1);
    return XXH3_64bits(bytes, len) == (uint64_t)sqlite3_column_int64(stmt, column);
}

static enum result mend_thumbnails(struct repair *p, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    enum result r = embedded_sql_prepare(p->db,
        p->meta.settings.originals
            ? "SELECT r.fileid, p.hash, p.bytes, p.original_hash, p.original FROM records r"
              " LEFT JOIN pics.pictures p ON p.id = r.picture WHERE r.picture IS NOT NULL ORDER BY r.fileid"
            : "SELECT r.fileid, p.hash, p.bytes, NULL, NULL FROM records r"
              " LEFT JOIN pics.pictures p ON p.id = r.picture WHERE r.picture IS NOT NULL ORDER BY r.fileid",
        &stmt, err);
    while (!r && !(r = embedded_sql_row(p->db, stmt, &row, err)) && row) {
        bool missing = sqlite3_column_type(stmt, 1) == SQLITE_NULL;
        if (!missing && is_as_written(stmt, 1) && (sqlite3_column_type(stmt, 3) == SQLITE_NULL || is_as_written(stmt, 3)))
            continue;
        say(p, 1, "fileid %lld lost its thumbnail%s, which was %s", (long long)sqlite3_column_int64(stmt, 0),
            p->meta.settings.originals ? " and its original" : "", missing ? "missing" : "damaged");
        r = remember(p, sqlite3_column_int64(stmt, 0), err);
    }
    sqlite3_finalize(stmt);
    if (!r)
        r = for_each(p, "UPDATE records SET picture = NULL WHERE fileid = ?1", err);
    if (!r)
        r = embedded_sql_exec(p->db,
            "DELETE FROM pics.pictures WHERE id NOT IN"
            " (SELECT picture FROM records WHERE picture IS NOT NULL UNION SELECT picture FROM garbage)",
            err);
    int orphans = r ? 0 : sqlite3_changes(p->db);
    if (orphans > 0)
        say(p, 0, "%d thumbnails that belonged to no record are removed", orphans);
    return r;
}

/* --- one collection ------------------------------------------------------------------------------------- */

static enum result count_change(struct repair *p, struct err *err)
{
    return p->changes ? embedded_sql_exec(p->db, "UPDATE settings SET value = value + 1 WHERE key = 'change'", err)
                      : ERR_OK;
}

static enum result attach(struct repair *p, const char *file, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum result r = embedded_sql_prepare(p->db, "ATTACH ?1 AS pics", &stmt, err);
    if (!r) {
        sqlite3_bind_text(stmt, 1, file, -1, SQLITE_STATIC);
        r = embedded_sql_run(p->db, stmt, err);
    }
    sqlite3_finalize(stmt);
    return r;
}

static void say_problem(void *user, const char *text)
{
    say(user, 2, "meta.db stays damaged (%s): restore the collection from a backup", text);
}

/* With `db` open: everything but what needs it to be reopened. */
static enum result mend_content(struct repair *p, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    bool pictures = embedded_keeps_pictures(&p->meta.settings), renew = false, damaged = false;
    enum result r = embedded_path(file, p->path, "pictures.db", err);
    if (!r && pictures) {
        renew = !is_whole(file);
        if (!renew)
            r = attach(p, file, err);
    }
    if (!r)
        r = embedded_sql_exec(p->db, "BEGIN IMMEDIATE", err);
    if (!r)
        r = mend_rows(p, err);
    if (!r && pictures)
        r = renew ? renew_pictures(p, file, err) : mend_thumbnails(p, err);
    if (!r)
        r = count_change(p, err);
    if (!r)
        r = embedded_sql_exec(p->db, "COMMIT", err);
    if (!r)
        r = embedded_sql_integrity(p->db, note_problem, &damaged, err);
    if (!r && damaged) {
        say(p, 1, "the indexes of meta.db are built anew");
        r = embedded_sql_exec(p->db, "REINDEX", err);
        if (!r)
            r = embedded_sql_integrity(p->db, say_problem, p, err);
    }
    return r;
}

static enum result mend(struct repair *p, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    struct embedded_records records = {0};
    enum result r = embedded_path(file, p->path, "meta.db", err);
    if (!r && access(file, F_OK))
        r = err_set(err, ERR_CORRUPT, "meta.db is missing: restore the collection from a backup");
    if (!r)
        r = embedded_records_open(file, &records, &p->meta, err);
    embedded_records_close(&records);
    if (!r)
        r = open_vectors(p, err);
    if (!r)
        r = embedded_sql_open(file, EMBEDDED_SQL_WRITE, &p->db, err);
    if (!r)
        r = mend_content(p, err);
    sqlite3_close(p->db); /* an open transaction is rolled back */
    embedded_vectors_close(&p->vectors);
    free(p->ids);
    return r;
}

enum result embedded_repair(void *state, bool drop_damaged, store_check_fn report, void *user, struct err *err)
{
    const struct store_sys *sys;
    const char *folder;
    char **names = NULL;
    size_t count = 0;
    bool left = false;
    embedded_registry_folders(state, &sys, &folder);
    enum result r = embedded_registry_list(state, &names, &count, err);
    for (size_t i = 0; !r && i < count; i++) {
        struct repair p = {.sys = sys, .name = names[i], .drop = drop_damaged, .report = report, .user = user};
        struct err why = {0};
        r = embedded_path(p.path, folder, names[i], err);
        if (!r && mend(&p, &why)) /* this one cannot be helped; the others may */
            say(&p, 2, "%s", why.message);
        left |= p.left;
    }
    free(names);
    if (!r && left)
        r = err_set(err, ERR_CORRUPT, "damage is left; each is named above");
    return r;
}
