/*
 * pictures.db: thumbnails and, where they are kept, the files as they came, apart from meta.db so that its pages stay few.
 *
 *   pictures(id INTEGER PRIMARY KEY, fileid, hash, bytes, original_hash, original)
 *       bytes: the thumbnail, empty where there is none; original: NULL where it is not kept. The hashes are XXH3-64 of the
 *       bytes. Files made before originals were kept have the first four columns only, and never need the others.
 *
 * The key is a write number, never used twice, and the row in meta.db that names it is what makes a picture
 * exist. So pictures.db is committed before meta.db, and a picture that no row names, after a crash or a
 * failed commit, is only waste: keys at or above the next write number are removed at the next open, keys in
 * meta.db's table `garbage` together with a later commit.
 */
#ifndef STORE_EMBEDDED_PICTURES_H
#define STORE_EMBEDDED_PICTURES_H

#include "base/buf.h"
#include "store/embedded/sql.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct embedded_pictures {
    sqlite3 *writer; /* the leader's of a commit */
    sqlite3_stmt *begin, *commit, *rollback, *put, *delete;
    int frames;
    char path[512];
    pthread_mutex_t mutex; /* of what follows */
    sqlite3 *reader;       /* NULL until the first read */
    sqlite3_stmt *get, *get_original;
    bool originals; /* of the life of it */
};

/* Of one picture; a length of 0: there is none. */
struct embedded_picture {
    const uint8_t *thumbnail, *original;
    size_t thumbnail_len, original_len;
};

/* A new file, on disk when this returns. */
enum result embedded_pictures_create(const char *path, struct err *err) ERR_MUST_USE;
/* `next`: the next write number; what is at or above it was never committed and is removed. */
enum result embedded_pictures_open(const char *path, uint64_t next, bool originals, struct embedded_pictures *out,
    struct err *err) ERR_MUST_USE;
/* Accepts a zeroed one. */
void embedded_pictures_close(struct embedded_pictures *p);

enum result embedded_pictures_begin(struct embedded_pictures *p, struct err *err) ERR_MUST_USE;
enum result embedded_pictures_put(struct embedded_pictures *p, uint64_t id, int64_t fileid,
    const struct embedded_picture *picture, struct err *err) ERR_MUST_USE;
enum result embedded_pictures_delete(struct embedded_pictures *p, uint64_t id, struct err *err) ERR_MUST_USE;
/* After a failure it has been rolled back. */
enum result embedded_pictures_commit(struct embedded_pictures *p, struct err *err) ERR_MUST_USE;
void embedded_pictures_rollback(struct embedded_pictures *p);

/* Any thread. ERR_NOT_FOUND; ERR_CORRUPT where the bytes are not what was written. */
enum result embedded_pictures_get(
    struct embedded_pictures *p, uint64_t id, bool original, struct buf *out, struct err *err) ERR_MUST_USE;

#endif
