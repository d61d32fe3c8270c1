/*
 * The registry of collections (registry.c says how it works): for embedded.c, which has the calls of a store, and for
 * backup.c, restore.c, repair.c, tune.c, reembed.c and warm.c, which work on one collection after the other.
 */
#ifndef STORE_EMBEDDED_REGISTRY_H
#define STORE_EMBEDDED_REGISTRY_H

#include "store/embedded/collection.h"

/* Room for "/collections/", a name and "/pictures.db-journal" under SQLite's own limit of 512. */
#define EMBEDDED_DATA_PATH_MAX 200

struct embedded_warm;

enum embedded_entry_state { CREATING, CLOSED, OPENING, OPEN, CLOSING, DROPPING };

struct entry {
    char name[LIMIT_COLLECTION_NAME + 1];
    enum embedded_entry_state state;
    unsigned users;
    bool leaving;  /* it is to be closed once its users are gone: new ones wait */
    uint64_t used; /* by the clock of `uses` */
    struct embedded_collection *collection;
};

struct embedded {
    const struct store_sys *sys;
    char data[EMBEDDED_DATA_PATH_MAX + 1];
    char folder[EMBEDDED_PATH_MAX]; /* DATA/collections */
    int lock;
    struct embedded_keeper *keeper; /* NULL where there are no threads to be had */
    struct embedded_warm *warm;
    pthread_mutex_t mutex;          /* of all that follows */
    pthread_cond_t cond;
    struct entry **entries; /* sorted by name */
    size_t count, room;
    size_t open; /* OPENING, OPEN or CLOSING */
    uint64_t uses;
    uint64_t temporary; /* N of the next .new-N or .trash-N */
};

/* Makes the files of a collection in a folder that does not exist yet; on disk when it returns. */
typedef enum result (*embedded_make_fn)(
    void *user, const struct store_sys *sys, const char *path, struct err *err);

/* What is in `folder`; what a crash left half made or half dropped is cleared away or brought to its end. */
enum result embedded_registry_load(struct embedded *e, struct err *err) ERR_MUST_USE;
/* Closes all collections; none is in use. */
void embedded_registry_free(struct embedded *e);

/* A new collection whose files `make` makes: under its name and on disk, or not there at all. ERR_EXISTS. */
enum result embedded_registry_add(struct embedded *e, const char *name, embedded_make_fn make, void *user,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* The collection, opened where needed, which stays open until it is given back. */
enum result embedded_registry_enter(struct embedded *e, const char *name, int64_t deadline_ms,
    struct entry **entry, struct err *err) ERR_MUST_USE;
/* The same without a deadline. */
enum result embedded_registry_take(struct embedded *e, const char *name, struct entry **entry,
    struct embedded_collection **out, struct err *err) ERR_MUST_USE;
void embedded_registry_give(struct embedded *e, struct entry *entry);
/* Close it when nobody uses it, so that the next use opens it anew. */
enum result embedded_registry_reopen(struct embedded *e, const char *name, struct err *err) ERR_MUST_USE;
/* Does a drop wait for this one to be given back? */
bool embedded_registry_wanted(struct embedded *e, const struct entry *entry);
/* Does a closing (embedded_registry_reopen()) wait for it, which keeps new calls waiting as well? */
bool embedded_registry_leaving(struct embedded *e, const struct entry *entry);

/*
 * Put the collection in the folder `path` in the place of one that the caller has taken: new calls wait, those that run
 * are waited for, then `last` is called, with nobody else inside, and may still say no. Afterwards the entry has been
 * given back, whatever the result; only on ERR_OK the name stands for what was in `path`, durably. `last` closes what is
 * open in `path`. ERR_NOT_FOUND: it is being dropped.
 */
enum result embedded_registry_replace(struct embedded *e, struct entry *entry, const char *path,
    enum result (*last)(void *user, struct err *err), void *user, struct err *err) ERR_MUST_USE;
/* Where a second edition of a collection is made, which stays over a restart: for embedded_registry_replace(). */
enum result embedded_registry_second(
    const struct embedded *e, const char *name, char out[EMBEDDED_PATH_MAX], struct err *err) ERR_MUST_USE;

/* Names of all collections, in one allocation. */
enum result embedded_registry_list(
    struct embedded *e, char ***names, size_t *count, struct err *err) ERR_MUST_USE;
enum result embedded_registry_drop(
    struct embedded *e, const char *name, int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* The path of a folder that does not exist, and that an open removes if a crash leaves it behind. */
enum result embedded_registry_temporary(struct embedded *e, char *out, struct err *err) ERR_MUST_USE;
/* The table of system calls, and DATA/collections. */
void embedded_registry_folders(const struct embedded *e, const struct store_sys **sys, const char **collections);

#endif
