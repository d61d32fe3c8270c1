#include "store/embedded/pictures.h"

#include <inttypes.h>
#include <xxhash.h>

enum result embedded_pictures_create(const char *path, struct err *err)
{
    sqlite3 *db = NULL;
    enum result r = embedded_sql_open(path, EMBEDDED_SQL_CREATE, &db, err);
    if (r)
        return r;
    /* The index lets a check walk the keys without reading the pictures. */
    r = embedded_sql_exec(db,
        "BEGIN;"
        "CREATE TABLE pictures(id INTEGER PRIMARY KEY, fileid INTEGER NOT NULL, hash INTEGER NOT NULL, bytes "
        "BLOB NOT NULL, original_hash INTEGER, original BLOB) STRICT;"
        "CREATE INDEX pictures_fileid ON pictures(fileid);"
        "COMMIT",
        err);
    sqlite3_close(db);
    return r;
}

static int count_frames(void *user, sqlite3 *db, const char *name, int frames)
{
    *(int *)user = frames;
    return SQLITE_OK;
}

static enum result remove_uncommitted(sqlite3 *db, uint64_t next, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum result r = embedded_sql_prepare(db, "DELETE FROM pictures WHERE id >= ?1", &stmt, err);
    if (!r) {
        sqlite3_bind_int64(stmt, 1, (sqlite3_int64)next);
        r = embedded_sql_run(db, stmt, err);
    }
    sqlite3_finalize(stmt);
    return r;
}

enum result embedded_pictures_open(
    const char *path, uint64_t next, bool originals, struct embedded_pictures *out, struct err *err)
{
    struct embedded_pictures p = {.originals = originals};
    snprintf(p.path, sizeof p.path, "%s", path);
    enum result r = embedded_sql_open(path, EMBEDDED_SQL_WRITE, &p.writer, err);
    if (!r)
        r = remove_uncommitted(p.writer, next, err);
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } all[] = {
        {&p.begin, "BEGIN IMMEDIATE"},
        {&p.commit, "COMMIT"},
        {&p.rollback, "ROLLBACK"},
        {&p.put, originals ? "INSERT OR REPLACE INTO pictures(id, fileid, hash, bytes, original_hash, original)"
                             " VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
                           : "INSERT OR REPLACE INTO pictures(id, fileid, hash, bytes) VALUES(?1, ?2, ?3, ?4)"},
        {&p.delete, "DELETE FROM pictures WHERE id = ?1"},
    };
    for (size_t i = 0; !r && i < sizeof all / sizeof *all; i++)
        r = embedded_sql_prepare(p.writer, all[i].sql, all[i].stmt, err);
    *out = p;
    if (r) {
        embedded_pictures_close(out);
        return r;
    }
    pthread_mutex_init(&out->mutex, NULL);
    sqlite3_wal_hook(out->writer, count_frames, &out->frames);
    return ERR_OK;
}

void embedded_pictures_close(struct embedded_pictures *p)
{
    sqlite3_stmt *all[] = {p->begin, p->commit, p->rollback, p->put, p->delete, p->get, p->get_original};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(p->reader);
    sqlite3_close(p->writer);
    *p = (struct embedded_pictures){0}; /* a mutex of no thread needs no destruction on Linux */
}

enum result embedded_pictures_begin(struct embedded_pictures *p, struct err *err)
{
    return embedded_sql_run(p->writer, p->begin, err);
}

enum result embedded_pictures_put(struct embedded_pictures *p, uint64_t id, int64_t fileid,
    const struct embedded_picture *picture, struct err *err)
{
    sqlite3_bind_int64(p->put, 1, (sqlite3_int64)id);
    sqlite3_bind_int64(p->put, 2, fileid);
    sqlite3_bind_int64(p->put, 3, (sqlite3_int64)XXH3_64bits(picture->thumbnail, picture->thumbnail_len));
    /* "" because no address would make it NULL */
    sqlite3_bind_blob64(p->put, 4, picture->thumbnail_len ? (const void *)picture->thumbnail : "", picture->thumbnail_len, SQLITE_STATIC);
    if (p->originals && picture->original_len) {
        sqlite3_bind_int64(p->put, 5, (sqlite3_int64)XXH3_64bits(picture->original, picture->original_len));
        sqlite3_bind_blob64(p->put, 6, picture->original, picture->original_len, SQLITE_STATIC);
    }
    enum result r = embedded_sql_run(p->writer, p->put, err);
    sqlite3_clear_bindings(p->put);
    return r;
}

enum result embedded_pictures_delete(struct embedded_pictures *p, uint64_t id, struct err *err)
{
    sqlite3_bind_int64(p->delete, 1, (sqlite3_int64)id);
    return embedded_sql_run(p->writer, p->delete, err);
}

enum result embedded_pictures_commit(struct embedded_pictures *p, struct err *err)
{
    enum result r = embedded_sql_run(p->writer, p->commit, err);
    if (r)
        embedded_pictures_rollback(p);
    return r;
}

void embedded_pictures_rollback(struct embedded_pictures *p)
{
    if (!p->writer || sqlite3_get_autocommit(p->writer))
        return;
    sqlite3_step(p->rollback);
    sqlite3_reset(p->rollback);
}

static enum result open_reader(struct embedded_pictures *p, struct err *err)
{
    if (p->get && (p->get_original || !p->originals))
        return ERR_OK;
    enum result r = p->reader ? ERR_OK : embedded_sql_open(p->path, EMBEDDED_SQL_READ, &p->reader, err);
    if (!r && !p->get)
        r = embedded_sql_prepare(p->reader, "SELECT bytes, hash FROM pictures WHERE id = ?1", &p->get, err);
    if (!r && p->originals && !p->get_original)
        r = embedded_sql_prepare(p->reader, "SELECT original, original_hash FROM pictures WHERE id = ?1", &p->get_original, err);
    return r;
}

enum result embedded_pictures_get(struct embedded_pictures *p, uint64_t id, bool original, struct buf *out, struct err *err)
{
    const char *what = original ? "original" : "thumbnail";
    bool row = false;
    pthread_mutex_lock(&p->mutex);
    enum result r = open_reader(p, err);
    sqlite3_stmt *get = original ? p->get_original : p->get;
    if (!r && !get)
        r = err_set(err, ERR_NOT_FOUND, "%s keeps no originals", p->path);
    if (r)
        goto out;
    sqlite3_bind_int64(get, 1, (sqlite3_int64)id);
    r = embedded_sql_row(p->reader, get, &row, err);
    if (r)
        goto out;
    size_t len = row ? (size_t)sqlite3_column_bytes(get, 0) : 0;
    if (len == 0) {
        r = err_set(err, ERR_NOT_FOUND, "the %s is not in %s", what, p->path);
    } else {
        const void *bytes = sqlite3_column_blob(get, 0);
        if (!bytes)
            r = err_no_memory(err);
        else if (XXH3_64bits(bytes, len) != (uint64_t)sqlite3_column_int64(get, 1))
            r = err_set(err, ERR_CORRUPT, "the %s of a picture in %s is damaged: add the picture again", what, p->path);
        else if ((r = buf_append(out, bytes, len)))
            r = err_set(err, r, "no room for the %s of %zu bytes", what, len);
    }
    sqlite3_reset(get);
out:
    pthread_mutex_unlock(&p->mutex);
    return r;
}
