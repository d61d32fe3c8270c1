/*
 * A backup, as it lies on disk. For people with nothing but a shell as well:
 *
 *     DIR/MANIFEST                            what belongs to the backup; without it there is none
 *     DIR/LOCK                                flock()ed while one is being made
 *     DIR/collections/NAME/FILE.INDEX.HASH    pieces of FILE, 16 MiB each but the last; `cat FILE.*` gives FILE back
 *
 * FILE is meta.db, vectors.f16, pictures.db, projection or queries of the collection, as the store itself has them; INDEX counts
 * from 000000, HASH is XXH3-128 of the piece. MANIFEST is text, a line each:
 *
 *     lookalike-backup 2
 *     collection NAME ID CHANGE RECORDS       ID and CHANGE of its meta.db
 *     file FILE SIZE
 *     piece HASH SIZE                         in the order of INDEX
 *     end HASH                                XXH3-64 of all bytes before this line
 *
 * Pieces are named by what is in them, so a run writes only those that the run before did not have, and never
 * changes one that the old manifest names. The new manifest takes the old one's place by rename(); then
 * pieces that nothing names any more are removed. derived/ is not kept: it is rebuilt.
 */
#ifndef STORE_EMBEDDED_BACKUP_H
#define STORE_EMBEDDED_BACKUP_H

#include "base/limits.h"
#include "store/backup.h"
#include "store/embedded/sys.h"

#define BACKUP_FORMAT 2 /* 1 was without projection and queries, and is read as well */
#define BACKUP_FILES 5 /* of one collection */

struct backup_piece {
    uint64_t hash[2]; /* high, low */
    uint64_t size;
};

struct backup_file {
    char name[16];
    uint64_t size;
    struct backup_piece *pieces;
    size_t count, room;
};

struct backup_collection {
    char name[LIMIT_COLLECTION_NAME + 1];
    uint64_t id, change, records;
    struct backup_file files[BACKUP_FILES];
    size_t count;
};

struct backup_manifest {
    struct backup_collection *items;
    size_t count, room;
};

/* --- backup_manifest.c ---------------------------------------------------------------------------------- */

void backup_manifest_free(struct backup_manifest *m);
void backup_collection_free(struct backup_collection *c);
/* ERR_NOT_FOUND: there is no MANIFEST. ERR_CORRUPT, ERR_UNSUPPORTED: there is one that cannot be used. */
enum result backup_manifest_read(const char *folder, struct backup_manifest *out, struct err *err) ERR_MUST_USE;
/* In place of the one that is there, on disk when it returns. */
enum result backup_manifest_write(const struct store_sys *sys, const char *folder,
    const struct backup_manifest *m, struct err *err) ERR_MUST_USE;
const struct backup_collection *backup_manifest_find(const struct backup_manifest *m, const char *name);
/* A copy of `c` at the end; what it points at becomes the manifest's. */
enum result backup_manifest_add(
    struct backup_manifest *m, const struct backup_collection *c, struct err *err) ERR_MUST_USE;
enum result backup_file_add(
    struct backup_file *f, const struct backup_piece *piece, struct err *err) ERR_MUST_USE;
/* "DIR/collections/NAME/FILE.INDEX.HASH" */
enum result backup_piece_path(char *out, const char *folder, const struct backup_collection *c,
    const struct backup_file *f, size_t index, const struct backup_piece *piece, struct err *err) ERR_MUST_USE;
/* A whole piece into `bytes` of LIMIT_BACKUP_PIECE. ERR_CORRUPT where it is not what its name says. */
enum result backup_piece_read(const char *path, const struct backup_piece *piece, void *bytes,
    struct err *err) ERR_MUST_USE;
struct backup_piece backup_piece_of(const void *bytes, size_t len);
/* Sums of all pieces. */
void backup_manifest_sum(const struct backup_manifest *m, struct store_backup_report *out);

/* --- of the backend ------------------------------------------------------------------------------------- */

enum result embedded_backup(void *state, const char *folder, const struct store_backup_watch *watch,
    struct store_backup_report *out, struct err *err);
enum result embedded_restore(void *state, const struct store_restore *what,
    const struct store_backup_watch *watch, struct store_backup_report *out, struct err *err);
enum result embedded_repair(
    void *state, bool drop_damaged, store_check_fn report, void *user, struct err *err);

#endif
