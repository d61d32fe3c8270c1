#include "store/milvus/thumbnails.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define WAIT_MS 5000 /* for another process that writes */

enum statement { PUT, DELETE, DROP, HAS, GET, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    [PUT] = "INSERT OR REPLACE INTO thumbnails VALUES (?1, ?2, ?3)",
    [DELETE] = "DELETE FROM thumbnails WHERE collection = ?1 AND fileid = ?2",
    [DROP] = "DELETE FROM thumbnails WHERE collection = ?1",
    [HAS] = "SELECT 1 FROM thumbnails WHERE collection = ?1 AND fileid = ?2",
    [GET] = "SELECT bytes FROM thumbnails WHERE collection = ?1 AND fileid = ?2",
};

struct milvus_thumbnails {
    pthread_mutex_t mutex;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
};

static enum result failed(struct milvus_thumbnails *t, struct err *err)
{
    return err_set(err, ERR_IO, "the file of thumbnails: %s", sqlite3_errmsg(t->db));
}

enum result milvus_thumbnails_open(const char *data, struct milvus_thumbnails **out, struct err *err)
{
    char path[PATH_MAX];
    if (mkdir(data, 0777) && errno != EEXIST)
        return err_set_errno(err, errno, "cannot make the folder %.200s", data);
    int n = snprintf(path, sizeof path, "%s/thumbnails.db", data);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_INVALID, "the path of the data folder is too long");
    struct milvus_thumbnails *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory(err);
    pthread_mutex_init(&t->mutex, NULL);
    enum result r = ERR_OK;
    if (sqlite3_open_v2(path, &t->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(t->db, WAIT_MS) != SQLITE_OK ||
        sqlite3_exec(t->db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE IF NOT EXISTS thumbnails (collection INTEGER, fileid INTEGER, bytes BLOB NOT NULL,"
            " PRIMARY KEY (collection, fileid))",
            NULL, NULL, NULL) != SQLITE_OK)
        r = failed(t, err);
    for (int i = 0; i < STATEMENTS && !r; i++)
        if (sqlite3_prepare_v3(t->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &t->statements[i], NULL) != SQLITE_OK)
            r = failed(t, err);
    if (r)
        milvus_thumbnails_close(t);
    else
        *out = t;
    return r;
}

void milvus_thumbnails_close(struct milvus_thumbnails *t)
{
    if (!t)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(t->statements[i]);
    sqlite3_close(t->db);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* Locked, with both keys bound; done() ends it. */
static sqlite3_stmt *begin(struct milvus_thumbnails *t, enum statement which, int64_t collection, int64_t fileid)
{
    pthread_mutex_lock(&t->mutex);
    sqlite3_stmt *s = t->statements[which];
    sqlite3_bind_int64(s, 1, collection);
    if (which != DROP)
        sqlite3_bind_int64(s, 2, fileid);
    return s;
}

static void done(struct milvus_thumbnails *t, sqlite3_stmt *s)
{
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    pthread_mutex_unlock(&t->mutex);
}

enum result milvus_thumbnails_put(struct milvus_thumbnails *t, int64_t collection, int64_t fileid, const uint8_t *bytes,
    size_t len, struct err *err)
{
    sqlite3_stmt *s = begin(t, len ? PUT : DELETE, collection, fileid);
    if (len)
        sqlite3_bind_blob64(s, 3, bytes, len, SQLITE_STATIC);
    enum result r = sqlite3_step(s) == SQLITE_DONE ? ERR_OK : failed(t, err);
    done(t, s);
    return r;
}

enum result milvus_thumbnails_drop(struct milvus_thumbnails *t, int64_t collection, struct err *err)
{
    sqlite3_stmt *s = begin(t, DROP, collection, 0);
    enum result r = sqlite3_step(s) == SQLITE_DONE ? ERR_OK : failed(t, err);
    done(t, s);
    return r;
}

bool milvus_thumbnails_has(struct milvus_thumbnails *t, int64_t collection, int64_t fileid)
{
    sqlite3_stmt *s = begin(t, HAS, collection, fileid);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    done(t, s);
    return found;
}

enum result milvus_thumbnails_get(
    struct milvus_thumbnails *t, int64_t collection, int64_t fileid, struct buf *out, struct err *err)
{
    sqlite3_stmt *s = begin(t, GET, collection, fileid);
    int step = sqlite3_step(s);
    enum result r = ERR_OK;
    if (step == SQLITE_DONE)
        r = err_set(err, ERR_NOT_FOUND, "there is no thumbnail of fileid %" PRId64, fileid);
    else if (step != SQLITE_ROW)
        r = failed(t, err);
    else if ((r = buf_append(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0))))
        r = err_set(err, r, "no room for a thumbnail of %d bytes", sqlite3_column_bytes(s, 0));
    done(t, s);
    return r;
}
