/*
 * Making a backup; backup.h has its layout.
 *
 * A collection's moment is fixed while no commit runs: a snapshot of the slots, a read transaction on each
 * database. From then on commits go on, and the copy takes its time: slots visible in the snapshot are not
 * reused (S4), SQLite keeps the pages of the transactions in its log. What is copied of slots that nobody
 * sees may be half written; no row of the copy names them (V6).
 *
 * The databases are copied by SQLite's backup functions into one file, which is then cut in pieces: needs room
 * for the largest database once more in the backup's folder, and works whatever SQLite's log holds.
 *
 * A drop does not wait for the copy: it is given up, as if the drop had come first.
 */
#include "store/embedded/backup.h"

#include "base/clock.h"
#include "store/embedded/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_PAGES 2048 /* of a database in one step */
#define VECTORS_HEADER 4096

struct run {
    struct embedded *e;
    const struct store_sys *sys;
    const char *folder;
    const struct store_backup_watch *watch;
    struct backup_manifest old, new;
    struct store_backup_report report;
    uint8_t *bytes; /* one piece */
    int lock;
    /* The collection being copied. */
    struct entry *entry;
    struct embedded_collection *c;
    uint64_t done, all;
};

/* What is read at one moment. */
struct moment {
    struct embedded_snapshot snapshot;
    sqlite3 *meta, *pictures;
    uint64_t change;
    uint32_t top; /* slots from here on were never used */
};

static void say(struct run *run, int severity, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say(struct run *run, int severity, const char *format, ...)
{
    char text[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (run->watch->report)
        run->watch->report(run->watch->user, severity, run->c->name, text);
}

/* ERR_NOT_FOUND: a drop waits. */
static enum result go_on(struct run *run, uint64_t bytes, struct err *err)
{
    run->done += bytes;
    if (embedded_registry_wanted(run->e, run->entry))
        return err_set(err, ERR_NOT_FOUND, "the collection is being dropped");
    if (run->watch->progress && !run->watch->progress(run->watch->user, run->c->name, run->done, run->all))
        return err_set(err, ERR_UNAVAILABLE, "the backup was stopped; the one before it is still whole");
    return ERR_OK;
}

/* --- one moment ----------------------------------------------------------------------------------------- */

static void moment_end(struct run *run, struct moment *m)
{
    embedded_slots_leave(&run->c->slots, &m->snapshot);
    sqlite3_close(m->meta);
    sqlite3_close(m->pictures);
}

static enum result moment_begin(struct run *run, struct moment *m, struct err *err)
{
    struct embedded_collection *c = run->c;
    char path[EMBEDDED_PATH_MAX];
    bool pictures = embedded_keeps_pictures(&c->meta.settings);
    *m = (struct moment){0};
    /* Opened before the hold: opening takes longer than the moment itself. */
    enum result r = embedded_sql_open(c->readers.path, EMBEDDED_SQL_READ, &m->meta, err);
    if (!r && pictures)
        r = embedded_path(path, c->path, "pictures.db", err);
    if (!r && pictures)
        r = embedded_sql_open(path, EMBEDDED_SQL_READ, &m->pictures, err);
    if (!r)
        r = embedded_collection_hold(c, CLOCK_NO_DEADLINE, err);
    if (r)
        goto out;
    embedded_slots_enter(&c->slots, &m->snapshot);
    m->change = m->snapshot.seq;
    /* A slot that the file could not be made long enough for is among those that were ever taken. */
    m->top = c->slots.top < c->vectors.capacity ? c->slots.top : (uint32_t)c->vectors.capacity;
    r = embedded_sql_exec(m->meta, "BEGIN; SELECT count(*) FROM settings;", err);
    if (!r && pictures)
        r = embedded_sql_exec(m->pictures, "BEGIN; SELECT 1 FROM pictures LIMIT 1;", err);
    embedded_collection_resume(c);
    if (!r)
        return ERR_OK;
    embedded_slots_leave(&c->slots, &m->snapshot);
out:
    sqlite3_close(m->meta);
    sqlite3_close(m->pictures);
    return r;
}

/* --- pieces --------------------------------------------------------------------------------------------- */

/* Is this very piece there from the run before, as far as its size tells? */
static bool is_there(const struct run *run, const struct backup_file *f, size_t index,
    const struct backup_piece *piece, const char *path)
{
    const struct backup_collection *old = backup_manifest_find(&run->old, run->c->name);
    struct stat st;
    for (size_t k = 0; old && k < old->count; k++) {
        const struct backup_file *g = &old->files[k];
        if (!strcmp(g->name, f->name) && index < g->count && g->pieces[index].size == piece->size &&
            g->pieces[index].hash[0] == piece->hash[0] && g->pieces[index].hash[1] == piece->hash[1])
            return stat(path, &st) == 0 && (uint64_t)st.st_size == piece->size;
    }
    return false;
}

static enum result write_piece(struct run *run, const char *path, size_t len, struct err *err)
{
    int fd = run->sys->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot make %s", path);
    struct err why;
    enum result r = embedded_write_at(run->sys, fd, run->bytes, len, 0, &why);
    if (r)
        err_set(err, r, "%s: %s", path, why.message);
    else if (run->sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot put %s on disk", path);
    close(fd);
    run->report.new_files++;
    run->report.written += len;
    return r;
}

/* `size` bytes of `fd`, cut in pieces, as file `name` of `to`. */
static enum result copy_file(
    struct run *run, struct backup_collection *to, const char *name, int fd, uint64_t size, struct err *err)
{
    struct backup_file *f = &to->files[to->count++];
    enum result r = ERR_OK;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->size = size;
    for (uint64_t at = 0; !r && at < size;) {
        char path[EMBEDDED_PATH_MAX];
        size_t want = size - at < LIMIT_BACKUP_PIECE ? (size_t)(size - at) : LIMIT_BACKUP_PIECE, got = 0;
        while (got < want) {
            ssize_t n = pread(fd, run->bytes + got, want - got, (off_t)(at + got));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return err_set_errno(err, n < 0 ? errno : EIO, "cannot read %s of %s", name, to->name);
            got += (size_t)n;
        }
        struct backup_piece piece = backup_piece_of(run->bytes, want);
        r = backup_piece_path(path, run->folder, to, f, f->count, &piece, err);
        if (!r && !is_there(run, f, f->count, &piece, path))
            r = write_piece(run, path, want, err);
        if (!r)
            r = backup_file_add(f, &piece, err);
        at += want;
        if (!r)
            r = go_on(run, want, err);
    }
    return r;
}

/* --- databases ------------------------------------------------------------------------------------------ */

static uint64_t database_bytes(sqlite3 *db)
{
    static const char *const pragmas[] = {"PRAGMA page_count", "PRAGMA page_size"};
    uint64_t product = 1;
    for (size_t i = 0; i < 2; i++) {
        sqlite3_stmt *stmt = NULL;
        bool row = false;
        if (!embedded_sql_prepare(db, pragmas[i], &stmt, NULL) && !embedded_sql_row(db, stmt, &row, NULL) && row)
            product *= (uint64_t)sqlite3_column_int64(stmt, 0);
        sqlite3_finalize(stmt);
    }
    return product;
}

/* All pages, as the transaction of `from` sees them, into a new file. */
static enum result copy_pages(struct run *run, sqlite3 *from, const char *path, struct err *err)
{
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    enum result r = rc ? embedded_sql_error(to, rc, err)
                       : embedded_sql_exec(to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", err);
    sqlite3_backup *b = r ? NULL : sqlite3_backup_init(to, "main", from, "main");
    if (!r && !b)
        r = embedded_sql_error(to, sqlite3_errcode(to), err);
    while (!r && (rc = sqlite3_backup_step(b, COPY_PAGES)) == SQLITE_OK)
        r = go_on(run, 0, err);
    if (b) {
        sqlite3_backup_finish(b);
        if (!r && rc != SQLITE_DONE)
            r = embedded_sql_error(to, rc, err);
    }
    sqlite3_close(to);
    return r;
}

static enum result copy_database(
    struct run *run, struct backup_collection *to, const char *name, sqlite3 *db, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    struct stat st;
    int fd = -1;
    enum result r = embedded_path(path, run->folder, ".copy.db", err);
    if (r)
        return r;
    if (run->sys->unlink(path) && errno != ENOENT)
        return err_set_errno(err, errno, "cannot remove %s", path);
    r = copy_pages(run, db, path, err);
    if (!r) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st))
            r = err_set_errno(err, errno, "cannot read %s", path);
    }
    if (!r)
        r = copy_file(run, to, name, fd, (uint64_t)st.st_size, err);
    if (fd >= 0)
        close(fd);
    (void)!run->sys->unlink(path);
    return r;
}

/* --- one collection ------------------------------------------------------------------------------------- */

/* Every vector against its sum: what is damaged is copied as it is, and named. */
static enum result verify_rows(struct run *run, const struct moment *m, uint64_t *rows, struct err *err)
{
    struct embedded_vectors *v = &run->c->vectors;
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    enum result r = embedded_sql_prepare(m->meta, "SELECT fileid, slot, number FROM records", &stmt, err);
    while (!r && !(r = embedded_sql_row(m->meta, stmt, &row, err)) && row) {
        int64_t fileid = sqlite3_column_int64(stmt, 0);
        uint64_t slot = (uint64_t)sqlite3_column_int64(stmt, 1);
        ++*rows;
        if (slot >= m->top ||
            !embedded_vectors_verify(v, slot, fileid, (uint64_t)sqlite3_column_int64(stmt, 2))) {
            run->report.damaged++;
            say(run, 2, "the vector of fileid %" PRId64 " is damaged on disk, and so in the backup", fileid);
        }
        if (*rows % 65536 == 0)
            r = go_on(run, 0, err);
    }
    sqlite3_finalize(stmt);
    return r;
}

/*
 * What tune learned and the past queries. Each file is whole at any time, and neither has a part in the change number,
 * so they are copied whether records changed or not.
 */
static enum result copy_learned(struct run *run, struct backup_collection *to, struct err *err)
{
    static const char *const names[] = {"projection", "queries"};
    enum result r = ERR_OK;
    embedded_past_save(&run->c->past);
    for (size_t i = 0; !r && i < sizeof names / sizeof *names; i++) {
        char path[EMBEDDED_PATH_MAX];
        struct stat st;
        r = embedded_path(path, run->c->path, names[i], err);
        int fd = r ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (!r && fd < 0 && errno != ENOENT)
            r = err_set_errno(err, errno, "cannot read %s", path);
        if (!r && fd >= 0 && fstat(fd, &st))
            r = err_set_errno(err, errno, "cannot read %s", path);
        if (!r && fd >= 0)
            r = copy_file(run, to, names[i], fd, (uint64_t)st.st_size, err);
        if (fd >= 0)
            close(fd);
    }
    return r;
}

static enum result copy_collection(
    struct run *run, const struct moment *m, struct backup_collection *to, struct err *err)
{
    char path[EMBEDDED_PATH_MAX], name[LIMIT_COLLECTION_NAME + 16];
    uint64_t vectors = VECTORS_HEADER + (uint64_t)m->top * run->c->vectors.stride;
    snprintf(name, sizeof name, "collections/%s", to->name);
    run->done = 0;
    run->all = vectors + database_bytes(m->meta) + (m->pictures ? database_bytes(m->pictures) : 0);
    enum result r = embedded_path(path, run->folder, name, err);
    if (!r)
        r = embedded_make_folders(run->sys, path, err);
    if (!r)
        r = verify_rows(run, m, &to->records, err);
    if (!r)
        r = copy_database(run, to, "meta.db", m->meta, err);
    if (!r)
        r = copy_file(run, to, "vectors.f16", run->c->vectors.fd, vectors, err);
    if (!r && m->pictures)
        r = copy_database(run, to, "pictures.db", m->pictures, err);
    if (!r)
        r = copy_learned(run, to, err);
    return r ? r : embedded_sync_folder(run->sys, path, err);
}

static bool is_learned(const struct backup_file *f)
{
    return strcmp(f->name, "projection") == 0 || strcmp(f->name, "queries") == 0;
}

static enum result copy_list(
    struct run *run, struct backup_collection *to, const struct backup_collection *old, struct err *err)
{
    char path[EMBEDDED_PATH_MAX], name[LIMIT_COLLECTION_NAME + 16];
    enum result r = ERR_OK;
    to->records = old->records;
    for (size_t k = 0; !r && k < old->count; k++) {
        if (is_learned(&old->files[k]))
            continue;
        struct backup_file *f = &to->files[to->count++];
        snprintf(f->name, sizeof f->name, "%s", old->files[k].name);
        f->size = old->files[k].size;
        for (size_t p = 0; !r && p < old->files[k].count; p++)
            r = backup_file_add(f, &old->files[k].pieces[p], err);
    }
    snprintf(name, sizeof name, "collections/%s", to->name);
    if (!r)
        r = copy_learned(run, to, err);
    if (!r)
        r = embedded_path(path, run->folder, name, err);
    return r ? r : embedded_sync_folder(run->sys, path, err);
}

/* Did nothing change since the run before, and is all of that still there? */
static bool unchanged(const struct run *run, const struct backup_collection *now, const struct backup_collection *old)
{
    char path[EMBEDDED_PATH_MAX];
    struct stat st;
    if (!old || old->id != now->id || old->change != now->change)
        return false;
    for (size_t k = 0; k < old->count; k++)
        for (size_t p = 0; p < old->files[k].count; p++)
            if (backup_piece_path(path, run->folder, old, &old->files[k], p, &old->files[k].pieces[p], NULL) ||
                stat(path, &st) || (uint64_t)st.st_size != old->files[k].pieces[p].size)
                return false;
    return true;
}

static enum result back_up_taken(struct run *run, struct backup_collection *to, struct err *err)
{
    struct moment m;
    const struct backup_collection *old = backup_manifest_find(&run->old, to->name);
    enum result r = moment_begin(run, &m, err);
    if (r)
        return r;
    to->id = run->c->meta.id;
    to->change = m.change;
    r = unchanged(run, to, old) ? copy_list(run, to, old, err) : copy_collection(run, &m, to, err);
    moment_end(run, &m);
    return r;
}

static enum result back_up_one(struct run *run, const char *name, struct err *err)
{
    for (;;) {
        struct backup_collection to = {0};
        snprintf(to.name, sizeof to.name, "%s", name);
        enum result r = embedded_registry_take(run->e, name, &run->entry, &run->c, err);
        if (r == ERR_NOT_FOUND) /* dropped meanwhile */
            return ERR_OK;
        if (r)
            return r;
        r = back_up_taken(run, &to, err);
        embedded_registry_give(run->e, run->entry);
        if (!r)
            r = backup_manifest_add(&run->new, &to, err);
        if (!r)
            return ERR_OK;
        backup_collection_free(&to);
        if (r != ERR_NOT_FOUND)
            return r;
        /* A drop waited. If it succeeds there is nothing to copy; if not, the copy begins anew. */
    }
}

/* --- the folder ----------------------------------------------------------------------------------------- */

static enum result lock_folder(struct run *run, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    enum result r = embedded_path(path, run->folder, "LOCK", err);
    if (r)
        return r;
    run->lock = run->sys->open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (run->lock < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    if (flock(run->lock, LOCK_EX | LOCK_NB))
        return err_set(err, ERR_BUSY, "another backup into %s is under way", run->folder);
    return ERR_OK;
}

/* An existing backup, or an empty folder, which becomes an empty backup. */
static enum result begin_folder(struct run *run, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    bool empty = true;
    struct err why = {0};
    enum result r = embedded_make_folders(run->sys, run->folder, err);
    if (r)
        return r;
    r = backup_manifest_read(run->folder, &run->old, &why);
    if (r == ERR_NOT_FOUND) {
        DIR *dir = opendir(run->folder);
        if (!dir)
            return err_set_errno(err, errno, "cannot read the folder %s", run->folder);
        for (const struct dirent *d; (d = readdir(dir));)
            if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && strcmp(d->d_name, "LOCK") &&
                strcmp(d->d_name, "MANIFEST.new"))
                empty = false;
        closedir(dir);
        if (!empty)
            return err_set(err, ERR_EXISTS,
                "%s is not empty and holds no backup: name another folder, nothing was changed", run->folder);
    } else if (r == ERR_CORRUPT) { /* a new one replaces it; what of it is whole is used again */
        if (run->watch->report)
            run->watch->report(run->watch->user, 1, "", why.message);
    } else if (r) {
        if (err)
            *err = why;
        return r;
    }
    r = lock_folder(run, err);
    /* The manifest before anything else but the lock: a crash in between must not leave a folder that looks like somebody else's. */
    if (!r && empty && !run->old.count)
        r = backup_manifest_write(run->sys, run->folder, &run->old, err);
    if (!r)
        r = embedded_path(path, run->folder, "collections", err);
    if (!r)
        r = embedded_make_folders(run->sys, path, err);
    return r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether DIR/collections/NAME/`file` is a piece that `c` names. `names` are sorted. */
static void sweep_folder(struct run *run, const char *path, char **names, size_t count)
{
    DIR *dir = opendir(path);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        char inner[EMBEDDED_PATH_MAX];
        const char *name = d->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..") ||
            (count && bsearch(&name, names, count, sizeof *names, compare_names)))
            continue;
        if (!embedded_path(inner, path, name, NULL))
            (void)!run->sys->unlink(inner);
    }
    if (dir)
        closedir(dir);
    if (!count)
        (void)!run->sys->rmdir(path);
}

static void sweep_collection(struct run *run, const char *folder, const char *name)
{
    const struct backup_collection *c = backup_manifest_find(&run->new, name);
    char path[EMBEDDED_PATH_MAX], piece[EMBEDDED_PATH_MAX];
    size_t count = 0, n = 0;
    bool complete = true;
    for (size_t k = 0; c && k < c->count; k++)
        count += c->files[k].count;
    char **names = calloc(count + 1, sizeof *names);
    if (!names || embedded_path(path, folder, name, NULL)) {
        free(names);
        return;
    }
    for (size_t k = 0; c && k < c->count; k++)
        for (size_t p = 0; p < c->files[k].count; p++) {
            bool known =
                !backup_piece_path(piece, run->folder, c, &c->files[k], p, &c->files[k].pieces[p], NULL);
            names[n] = known ? strdup(strrchr(piece, '/') + 1) : NULL;
            complete &= names[n] != NULL;
            n += names[n] != NULL;
        }
    if (complete) { /* otherwise there was no memory for all the names: waste is better than loss */
        qsort(names, n, sizeof *names, compare_names);
        sweep_folder(run, path, names, n);
    }
    while (n > 0)
        free(names[--n]);
    free(names);
}

/* What no line of the new manifest names. That it may fail only costs space. */
static void sweep(struct run *run)
{
    char folder[EMBEDDED_PATH_MAX];
    DIR *dir = embedded_path(folder, run->folder, "collections", NULL) ? NULL : opendir(folder);
    for (const struct dirent *d; dir && (d = readdir(dir));)
        if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
            sweep_collection(run, folder, d->d_name);
    if (dir)
        closedir(dir);
}

enum result embedded_backup(void *state, const char *folder, const struct store_backup_watch *watch,
    struct store_backup_report *out, struct err *err)
{
    struct run run = {.e = state, .folder = folder, .watch = watch, .lock = -1};
    const char *collections;
    char **names = NULL;
    size_t count = 0;
    embedded_registry_folders(state, &run.sys, &collections);
    run.bytes = malloc(LIMIT_BACKUP_PIECE);
    enum result r = run.bytes ? begin_folder(&run, err) : err_no_memory(err);
    if (!r)
        r = embedded_registry_list(state, &names, &count, err);
    for (size_t i = 0; !r && i < count; i++)
        r = back_up_one(&run, names[i], err);
    if (!r)
        r = backup_manifest_write(run.sys, folder, &run.new, err);
    if (!r) {
        sweep(&run);
        backup_manifest_sum(&run.new, &run.report);
        *out = run.report;
    }
    free(names);
    free(run.bytes);
    backup_manifest_free(&run.old);
    backup_manifest_free(&run.new);
    if (run.lock >= 0)
        close(run.lock);
    return r;
}
