/*
 * Keeping what a store holds: backup, restore, repair. For callers; as in store.h every call is thread-safe
 * and blocks its thread. ERR_UNSUPPORTED where the backend cannot (Milvus has its own tools).
 *
 * A backup is a folder. store/embedded/backup.h describes it byte by byte.
 */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include "store/store.h"

struct store_backup_report {
    uint64_t collections, records;
    uint64_t damaged;            /* records whose vector is not what was written; each was reported */
    uint64_t files, bytes;       /* of the whole backup */
    uint64_t new_files, written; /* what this run had to write; the rest was there from the run before */
};

/* How a long call tells what it does, from the caller's thread; all of it may be NULL. */
struct store_backup_watch {
    /* Now and then, and at the end of each collection. False: stop, with ERR_UNAVAILABLE. */
    bool (*progress)(void *user, const char *collection, uint64_t done_bytes, uint64_t all_bytes);
    store_check_fn report; /* severity 1: something the user should know; 2: damage, named */
    void *user;
};

/*
 * Every collection, each as it was at one moment of the run, into `folder`, which is made where absent. While
 * it runs, searches and writes go on; writes wait for the few milliseconds in which a collection's moment is
 * fixed. What an earlier backup in the same folder has already is not written again. The backup that was
 * there before stays whole until the new one is complete on disk, also through a crash.
 *
 * ERR_EXISTS: the folder holds something else, and was left alone.
 */
enum result store_backup(struct store *store, const char *folder, const struct store_backup_watch *watch,
    struct store_backup_report *out, struct err *err) ERR_MUST_USE;

/* Read all of a backup and compare it with its sums. ERR_CORRUPT names the first file that is wrong. */
enum result store_backup_verify(const char *folder, const struct store_backup_watch *watch,
    struct store_backup_report *out, struct err *err) ERR_MUST_USE;

struct store_restore {
    const char *folder;     /* of the backup */
    const char *collection; /* NULL: all of them */
    const char *as;         /* under this name; NULL: its own. Only with `collection` */
    bool replace;           /* a collection of that name is dropped once the copy is complete */
};

/*
 * Collections out of a backup into an open store, each checked against its sums before it gets its name.
 * ERR_EXISTS without `replace` where the name is taken: looked at for all of them before the first is made.
 */
enum result store_restore(struct store *store, const struct store_restore *what,
    const struct store_backup_watch *watch, struct store_backup_report *out, struct err *err) ERR_MUST_USE;

/*
 * Make whole what can be made whole from what is left, collection by collection: headers, indexes, lost
 * thumbnails, files that only save time. Nothing is removed without a line of `report`; damaged records are
 * named, and removed only with `drop_damaged`. It is the first call after the open, and no other may run: files
 * are mended before they are opened. ERR_CORRUPT where damage is left.
 */
enum result store_repair(struct store *store, bool drop_damaged, store_check_fn report, void *user,
    struct err *err) ERR_MUST_USE;

#endif
