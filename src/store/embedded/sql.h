/* The little of SQLite that meta.db and pictures.db share. A connection is used by one thread at a time. */
#ifndef STORE_EMBEDDED_SQL_H
#define STORE_EMBEDDED_SQL_H

#include "base/err.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

enum embedded_sql_mode {
    EMBEDDED_SQL_CREATE, /* a new file */
    EMBEDDED_SQL_WRITE,
    EMBEDDED_SQL_READ, /* writing is refused; the file must exist */
};

/* A connection with our settings: WAL, synchronous=FULL, checkpoints only when asked for. */
enum result embedded_sql_open(
    const char *path, enum embedded_sql_mode mode, sqlite3 **out, struct err *err) ERR_MUST_USE;
enum result embedded_sql_exec(sqlite3 *db, const char *sql, struct err *err) ERR_MUST_USE;
/* Kept for the life of the connection; sqlite3_finalize() takes NULL. */
enum result embedded_sql_prepare(
    sqlite3 *db, const char *sql, sqlite3_stmt **out, struct err *err) ERR_MUST_USE;
/* What went wrong last on `db`, as a sentence with the file's name. Never ERR_OK. */
enum result embedded_sql_error(sqlite3 *db, int rc, struct err *err) ERR_MUST_USE;
/* Step a statement that returns no rows, and reset it. */
enum result embedded_sql_run(sqlite3 *db, sqlite3_stmt *stmt, struct err *err) ERR_MUST_USE;
/*
 * Step to a row: *row is false at the end, when the statement has been reset. After an error it has been
 * reset too.
 */
enum result embedded_sql_row(sqlite3 *db, sqlite3_stmt *stmt, bool *row, struct err *err) ERR_MUST_USE;
/*
 * Copy committed pages from the log into the file; `restart` also waits for readers, so that the log starts
 * again.
 */
void embedded_sql_checkpoint(sqlite3 *db, bool restart);
/* A whole check of the file's structure and indexes, one text a problem. */
enum result embedded_sql_integrity(
    sqlite3 *db, void (*problem)(void *user, const char *text), void *user, struct err *err) ERR_MUST_USE;

#endif
