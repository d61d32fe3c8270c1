/*
 * Reading a backup: verify it, or make collections of it.
 *
 * A collection is put together in a folder beside the others, every piece compared with its sum, opened once
 * to see that this program can read it, and renamed. With `replace` the old one is dropped between the last two
 * steps: what can fail has succeeded by then. A crash in just that moment leaves neither; the backup is still
 * there.
 */
#include "store/embedded/backup.h"

#include "base/clock.h"
#include "store/embedded/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct restore {
    struct embedded *e;
    const struct store_sys *sys;
    const struct store_restore *what;
    const struct store_backup_watch *watch;
    struct backup_manifest manifest;
    struct store_backup_report report;
    uint8_t *bytes;
    char made[EMBEDDED_PATH_MAX]; /* a finished collection that has no name yet */
};

static enum result go_on(
    const struct store_backup_watch *watch, const struct backup_collection *c, uint64_t done, struct err *err)
{
    uint64_t all = 0;
    for (size_t k = 0; k < c->count; k++)
        all += c->files[k].size;
    if (watch->progress && !watch->progress(watch->user, c->name, done, all))
        return err_set(err, ERR_UNAVAILABLE, "it was stopped");
    return ERR_OK;
}

/* --- verify --------------------------------------------------------------------------------------------- */

static enum result verify_collection(const char *folder, const struct backup_collection *c, uint8_t *bytes,
    const struct store_backup_watch *watch, struct err *err)
{
    uint64_t done = 0;
    enum result r = ERR_OK;
    for (size_t k = 0; k < c->count; k++)
        for (size_t p = 0; !r && p < c->files[k].count; p++) {
            char path[EMBEDDED_PATH_MAX];
            const struct backup_piece *piece = &c->files[k].pieces[p];
            r = backup_piece_path(path, folder, c, &c->files[k], p, piece, err);
            if (!r)
                r = backup_piece_read(path, piece, bytes, err);
            done += piece->size;
            if (!r)
                r = go_on(watch, c, done, err);
        }
    return r;
}

enum result store_backup_verify(const char *folder, const struct store_backup_watch *watch,
    struct store_backup_report *out, struct err *err)
{
    const struct store_backup_watch nobody = {0};
    struct backup_manifest m = {0};
    enum result r = backup_manifest_read(folder, &m, err);
    uint8_t *bytes = r ? NULL : malloc(LIMIT_BACKUP_PIECE);
    if (!r && !bytes)
        r = err_no_memory(err);
    for (size_t i = 0; !r && i < m.count; i++)
        r = verify_collection(folder, &m.items[i], bytes, watch ? watch : &nobody, err);
    if (!r) {
        *out = (struct store_backup_report){0};
        backup_manifest_sum(&m, out);
    }
    backup_manifest_free(&m);
    free(bytes);
    return r;
}

/* --- restore -------------------------------------------------------------------------------------------- */

static enum result make_file(struct restore *g, const struct backup_collection *c, const struct backup_file *f,
    const char *path, uint64_t *done, struct err *err)
{
    int fd = g->sys->open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot make %s", path);
    enum result r = ERR_OK;
    uint64_t at = 0;
    for (size_t p = 0; !r && p < f->count; p++) {
        char piece[EMBEDDED_PATH_MAX];
        r = backup_piece_path(piece, g->what->folder, c, f, p, &f->pieces[p], err);
        if (!r)
            r = backup_piece_read(piece, &f->pieces[p], g->bytes, err);
        if (!r)
            r = embedded_write_at(g->sys, fd, g->bytes, f->pieces[p].size, (off_t)at, err);
        at += f->pieces[p].size;
        if (!r)
            r = go_on(g->watch, c, *done + at, err);
    }
    *done += at;
    if (!r && g->sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot put %s on disk", path);
    close(fd);
    return r;
}

/* The folder g->made: whole, on disk, and readable by this program; or removed again. */
static enum result make(struct restore *g, const struct backup_collection *c, const char *name, struct err *err)
{
    struct embedded_collection *opened = NULL;
    uint64_t done = 0;
    enum result r = embedded_registry_temporary(g->e, g->made, err);
    if (r)
        return r;
    if (g->sys->mkdir(g->made, 0755))
        return err_set_errno(err, errno, "cannot make the folder %s", g->made);
    for (size_t k = 0; !r && k < c->count; k++) {
        char path[EMBEDDED_PATH_MAX];
        r = embedded_path(path, g->made, c->files[k].name, err);
        if (!r)
            r = make_file(g, c, &c->files[k], path, &done, err);
    }
    if (!r)
        r = embedded_sync_folder(g->sys, g->made, err);
    if (!r)
        r = embedded_collection_open(
            &(struct embedded_collection_place){.sys = g->sys, .path = g->made, .name = name}, &opened, err);
    embedded_collection_close(opened);
    if (r)
        embedded_discard_folder(g->sys, g->made);
    return r;
}

static enum result take_made(void *user, const struct store_sys *sys, const char *path, struct err *err)
{
    const struct restore *g = user;
    return sys->rename(g->made, path) ? err_set_errno(err, errno, "cannot rename %s", g->made) : ERR_OK;
}

static enum result restore_one(struct restore *g, const struct backup_collection *c, struct err *err)
{
    const char *name = g->what->as ? g->what->as : c->name;
    enum result r = make(g, c, name, err);
    if (r)
        return r;
    if (g->what->replace) {
        r = embedded_registry_drop(g->e, name, CLOCK_NO_DEADLINE, err);
        if (r == ERR_NOT_FOUND)
            r = ERR_OK;
    }
    if (!r)
        r = embedded_registry_add(g->e, name, take_made, g, CLOCK_NO_DEADLINE, err);
    if (r) {
        embedded_discard_folder(g->sys, g->made);
        return r;
    }
    g->report.collections++;
    g->report.records += c->records;
    for (size_t k = 0; k < c->count; k++) {
        g->report.files++;
        g->report.new_files++;
        g->report.bytes += c->files[k].size;
        g->report.written += c->files[k].size;
    }
    return ERR_OK;
}

static bool wanted(const struct restore *g, const struct backup_collection *c)
{
    return !g->what->collection || !strcmp(g->what->collection, c->name);
}

static enum result check_names(struct restore *g, struct err *err)
{
    char **names = NULL;
    size_t count = 0, chosen = 0;
    enum result r = embedded_registry_list(g->e, &names, &count, err);
    for (size_t i = 0; !r && i < g->manifest.count; i++) {
        const struct backup_collection *c = &g->manifest.items[i];
        const char *name = g->what->as ? g->what->as : c->name;
        if (!wanted(g, c))
            continue;
        chosen++;
        for (size_t k = 0; !r && !g->what->replace && k < count; k++)
            if (!strcmp(names[k], name))
                r = err_set_field(err, ERR_EXISTS, "collection",
                    "collection \"%s\" exists already: restore it under another name, or let it be replaced; nothing "
                    "was changed",
                    name);
    }
    free(names);
    if (!r && !chosen && g->what->collection)
        r = err_set_field(err, ERR_NOT_FOUND, "collection", "there is no collection \"%s\" in the backup %s",
            g->what->collection, g->what->folder);
    return r;
}

enum result embedded_restore(void *state, const struct store_restore *what,
    const struct store_backup_watch *watch, struct store_backup_report *out, struct err *err)
{
    struct restore *g = calloc(1, sizeof *g);
    const char *collections;
    if (!g)
        return err_no_memory(err);
    g->e = state;
    g->what = what;
    g->watch = watch;
    embedded_registry_folders(state, &g->sys, &collections);
    g->bytes = malloc(LIMIT_BACKUP_PIECE);
    enum result r = g->bytes ? backup_manifest_read(what->folder, &g->manifest, err) : err_no_memory(err);
    if (!r)
        r = check_names(g, err);
    for (size_t i = 0; !r && i < g->manifest.count; i++)
        if (wanted(g, &g->manifest.items[i]))
            r = restore_one(g, &g->manifest.items[i], err);
    if (!r)
        *out = g->report;
    backup_manifest_free(&g->manifest);
    free(g->bytes);
    free(g);
    return r;
}
