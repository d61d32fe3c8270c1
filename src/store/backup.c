/* Backup, restore and repair: the checks that every backend shares. */
#include "base/limits.h"
#include "base/parse.h"
#include "store/store_backend.h"

static enum result cannot(const struct store *store, const char *what, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "the %s store has no %s of its own", store->backend->name, what);
}

static enum result check_folder(const char *folder, struct err *err)
{
    if (!folder || !*folder)
        return err_set_field(err, ERR_INVALID, "folder", "a backup needs a folder");
    if (strlen(folder) > LIMIT_BACKUP_PATH)
        return err_set_field(
            err, ERR_INVALID, "folder", "the path of a backup has at most %d bytes", LIMIT_BACKUP_PATH);
    return ERR_OK;
}

enum result store_backup(struct store *store, const char *folder, const struct store_backup_watch *watch,
    struct store_backup_report *out, struct err *err)
{
    const struct store_backup_watch nobody = {0};
    enum result r = check_folder(folder, err);
    if (r)
        return r;
    if (!store->backend->backup)
        return cannot(store, "backup", err);
    return store->backend->backup(store->state, folder, watch ? watch : &nobody, out, err);
}

enum result store_restore(struct store *store, const struct store_restore *what,
    const struct store_backup_watch *watch, struct store_backup_report *out, struct err *err)
{
    const struct store_backup_watch nobody = {0};
    const char *names[] = {what->collection, what->as};
    enum result r = check_folder(what->folder, err);
    if (r)
        return r;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i] && !parse_is_collection_name(names[i]))
            return err_set_field(
                err, ERR_INVALID, "collection", "\"%.100s\" is no collection's name", names[i]);
    if (what->as && !what->collection)
        return err_set_field(
            err, ERR_INVALID, "as", "another name can be given to one collection only: say which");
    if (!store->backend->restore)
        return cannot(store, "restore", err);
    return store->backend->restore(store->state, what, watch ? watch : &nobody, out, err);
}

enum result store_repair(
    struct store *store, bool drop_damaged, store_check_fn report, void *user, struct err *err)
{
    if (!store->backend->repair)
        return cannot(store, "repair", err);
    return store->backend->repair(store->state, drop_damaged, report, user, err);
}
