#include "store/embedded/sql.h"

#define BUSY_MS 10000
#define RESTART_MS 50 /* a long reader, such as a check, must not hold up writers */

enum result embedded_sql_error(sqlite3 *db, int rc, struct err *err)
{
    const char *file = db ? sqlite3_db_filename(db, "main") : NULL;
    const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    if (!file || !*file)
        file = "the database";
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return err_no_memory(err);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* our statements are right: a table or column of theirs is missing */
        return err_set(err, ERR_CORRUPT, "%s is damaged (%s): restore it from a backup", file, text);
    case SQLITE_FULL:
        return err_set(err, ERR_IO, "%s: the disk is full", file);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_BUSY, "%s is in use by another program: close it and try again", file);
    case SQLITE_TOOBIG:
        return err_set(err, ERR_TOO_LARGE, "a record is too large for %s", file);
    default: {
        int system = db ? sqlite3_system_errno(db) : 0;
        char reason[128];
        if (system)
            return err_set(err, ERR_IO, "%s: %s (%s)", file, text, strerror_r(system, reason, sizeof reason));
        return err_set(err, ERR_IO, "%s: %s", file, text);
    }
    }
}

enum result embedded_sql_exec(sqlite3 *db, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc ? embedded_sql_error(db, rc, err) : ERR_OK;
}

enum result embedded_sql_open(const char *path, enum embedded_sql_mode mode, sqlite3 **out, struct err *err)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (mode == EMBEDDED_SQL_CREATE)
        flags |= SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(path, &db, flags, NULL);
    enum result r = ERR_OK;
    if (rc) {
        r = rc == SQLITE_CANTOPEN
                ? err_set(err, ERR_IO,
                      "cannot open %s: is it there, and may this user write to it and its folder?", path)
                : embedded_sql_error(db, rc, err);
        goto out;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    r = embedded_sql_exec(db,
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cell_size_check=1;"
        "PRAGMA trusted_schema=0; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=67108864;",
        err);
    if (!r && mode == EMBEDDED_SQL_READ)
        r = embedded_sql_exec(db, "PRAGMA query_only=1; PRAGMA cache_size=-1024;", err);
    if (!r && mode != EMBEDDED_SQL_READ)
        r = embedded_sql_exec(
            db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=-8192; BEGIN IMMEDIATE; ROLLBACK;", err);
    /*
     * SQLite goes on read-only, without a word and for the life of the connection, when it cannot open the
     * file or its log for writing. Asking for the write lock, and asking SQLite, makes that an error here,
     * where trying again may help.
     */
    if (!r && mode != EMBEDDED_SQL_READ && sqlite3_db_readonly(db, "main") != 0)
        r = err_set(err, ERR_IO,
            "cannot write to %s: is its disk mounted read-only, may this user write to it?", path);
out:
    if (r)
        sqlite3_close(db);
    else
        *out = db;
    return r;
}

enum result embedded_sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct err *err)
{
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc ? embedded_sql_error(db, rc, err) : ERR_OK;
}

enum result embedded_sql_run(sqlite3 *db, sqlite3_stmt *stmt, struct err *err)
{
    int rc = sqlite3_step(stmt);
    enum result r = rc == SQLITE_DONE ? ERR_OK : embedded_sql_error(db, rc, err);
    sqlite3_reset(stmt);
    return r;
}

enum result embedded_sql_row(sqlite3 *db, sqlite3_stmt *stmt, bool *row, struct err *err)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *row = true;
        return ERR_OK;
    }
    enum result r = rc == SQLITE_DONE ? ERR_OK : embedded_sql_error(db, rc, err);
    sqlite3_reset(stmt);
    if (!r)
        *row = false;
    return r;
}

void embedded_sql_checkpoint(sqlite3 *db, bool restart)
{
    /* A checkpoint that fails or cannot wait loses nothing: the log still has what it would have copied. */
    if (restart)
        sqlite3_busy_timeout(db, RESTART_MS);
    (void)sqlite3_wal_checkpoint_v2(
        db, NULL, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (restart)
        sqlite3_busy_timeout(db, BUSY_MS);
}

enum result embedded_sql_integrity(
    sqlite3 *db, void (*problem)(void *user, const char *text), void *user, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    enum result r = embedded_sql_prepare(db, "PRAGMA integrity_check(100)", &stmt, err);
    while (!r && !(r = embedded_sql_row(db, stmt, &row, err)) && row) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text && strcmp(text, "ok") != 0)
            problem(user, text);
    }
    sqlite3_finalize(stmt);
    return r;
}
