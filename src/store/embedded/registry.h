/* What backup.c, restore.c and repair.c need of the registry of collections (embedded.c). */
#ifndef STORE_EMBEDDED_REGISTRY_H
#define STORE_EMBEDDED_REGISTRY_H

#include "store/embedded/collection.h"

struct embedded;
struct entry;

/* Makes the files of a collection in a folder that does not exist yet; on disk when it returns. */
typedef enum result (*embedded_make_fn)(
    void *user, const struct store_sys *sys, const char *path, struct err *err);

/* A new collection whose files `make` makes: under its name and on disk, or not there at all. ERR_EXISTS. */
enum result embedded_registry_add(struct embedded *e, const char *name, embedded_make_fn make, void *user,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* The open collection, which stays open until it is given back. */
enum result embedded_registry_take(struct embedded *e, const char *name, struct entry **entry,
    struct embedded_collection **out, struct err *err) ERR_MUST_USE;
void embedded_registry_give(struct embedded *e, struct entry *entry);
/* Close it when nobody uses it, so that the next use opens it anew. */
enum result embedded_registry_reopen(struct embedded *e, const char *name, struct err *err) ERR_MUST_USE;
/* Does a drop wait for this one to be given back? */
bool embedded_registry_wanted(struct embedded *e, const struct entry *entry);
/* Names of all collections, in one allocation. */
enum result embedded_registry_list(
    struct embedded *e, char ***names, size_t *count, struct err *err) ERR_MUST_USE;
enum result embedded_registry_drop(struct embedded *e, const char *name, struct err *err) ERR_MUST_USE;
/* The path of a folder that does not exist, and that an open removes if a crash leaves it behind. */
enum result embedded_registry_temporary(struct embedded *e, char *out, struct err *err) ERR_MUST_USE;
/* The table of system calls, and DATA/collections. */
void embedded_registry_folders(const struct embedded *e, const struct store_sys **sys, const char **collections);

#endif
