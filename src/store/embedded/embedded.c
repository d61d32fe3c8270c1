/*
 * The folder of all collections: the lock, the registry, create and drop.
 *
 *     DATA/LOCK                    flock()ed while a process has the store open; holds its process id
 *     DATA/collections/NAME/       meta.db, vectors.f16, pictures.db
 *     DATA/collections/.new-N      a collection being made     } if a crash left them,
 *     DATA/collections/.trash-N    a collection being dropped  } removed at the next open
 *
 * No collection's name begins with a dot, and the names of both have a length of their own: NAME can have 255
 * bytes, so nothing could be put before it.
 *
 * A collection exists when its folder has its name: rename() makes and unmakes it in one step, and the
 * fsync() of the parent folder makes that durable.
 *
 * Collections are opened when they are first used, or behind a server's start (warm.c), and at most LIMIT_OPEN_COLLECTIONS at once: each takes
 * file descriptors and memory. The one that was not used for the longest time is closed for another. States
 * of an entry:
 *
 *     CREATING ──▶ CLOSED ──▶ OPENING ──▶ OPEN ──▶ CLOSING ──▶ CLOSED
 *     CLOSED or OPEN ──▶ DROPPING ──▶ gone
 *
 * Work on files happens with the mutex released, in a state that keeps others out; they wait for the
 * condition.
 */
#include "store/embedded/embedded.h"

#include "base/clock.h"
#include "base/parse.h"
#include "store/embedded/backup.h"
#include "store/embedded/collection.h"
#include "store/embedded/registry.h"
#include "store/embedded/tune.h"
#include "store/embedded/warm.h"
#include "store/store_backend.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room for "/collections/", a name and "/pictures.db-journal" under SQLite's own limit of 512. */
#define DATA_PATH_MAX 200
#define LOCK_POLL_MS 20

enum entry_state { CREATING, CLOSED, OPENING, OPEN, CLOSING, DROPPING };

struct entry {
    char name[LIMIT_COLLECTION_NAME + 1];
    enum entry_state state;
    unsigned users;
    bool leaving; /* it is to be closed once its users are gone: new ones wait */
    uint64_t used; /* by the clock of `uses` */
    struct embedded_collection *collection;
};

struct embedded {
    const struct store_sys *sys;
    char data[DATA_PATH_MAX + 1];
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

/* --- registry; the mutex is held ------------------------------------------------------------------------ */

/* Where the name is or would be. */
static size_t position(const struct embedded *e, const char *name)
{
    size_t lo = 0, hi = e->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (strcmp(e->entries[mid]->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct entry *find(const struct embedded *e, const char *name)
{
    size_t i = position(e, name);
    return i < e->count && !strcmp(e->entries[i]->name, name) ? e->entries[i] : NULL;
}

static enum result insert(
    struct embedded *e, const char *name, enum entry_state state, struct entry **out, struct err *err)
{
    if (e->count == e->room) {
        size_t room = e->room ? e->room * 2 : 16;
        struct entry **entries = realloc(e->entries, room * sizeof *entries);
        if (!entries)
            return err_no_memory(err);
        e->entries = entries;
        e->room = room;
    }
    struct entry *n = calloc(1, sizeof *n);
    if (!n)
        return err_no_memory(err);
    snprintf(n->name, sizeof n->name, "%s", name);
    n->state = state;
    size_t i = position(e, name);
    memmove(e->entries + i + 1, e->entries + i, (e->count - i) * sizeof *e->entries);
    e->entries[i] = n;
    e->count++;
    if (out)
        *out = n;
    return ERR_OK;
}

static void forget(struct embedded *e, struct entry *entry)
{
    size_t i = position(e, entry->name);
    assert(e->entries[i] == entry);
    e->count--;
    memmove(e->entries + i, e->entries + i + 1, (e->count - i) * sizeof *e->entries);
    free(entry);
}

static void change(struct embedded *e, struct entry *entry, enum entry_state state)
{
    entry->state = state;
    pthread_cond_broadcast(&e->cond);
}

static enum result wait(struct embedded *e, const char *name, int64_t deadline_ms, struct err *err)
{
    if (clock_wait(&e->cond, &e->mutex, deadline_ms) || !clock_passed(deadline_ms))
        return ERR_OK;
    return err_set(err, ERR_TIMEOUT, "collection \"%s\" did not become free in time", name);
}

static void close_one(struct embedded *e, struct entry *entry)
{
    struct embedded_collection *c = entry->collection;
    entry->collection = NULL;
    change(e, entry, CLOSING);
    pthread_mutex_unlock(&e->mutex);
    embedded_collection_close(c);
    pthread_mutex_lock(&e->mutex);
    e->open--;
    change(e, entry, CLOSED);
}

/*
 * True when there was nothing to do; otherwise the mutex was released meanwhile, and the caller looks again.
 */
static bool has_room(struct embedded *e)
{
    struct entry *oldest = NULL;
    if (e->open < LIMIT_OPEN_COLLECTIONS)
        return true;
    for (size_t i = 0; i < e->count; i++) {
        struct entry *n = e->entries[i];
        if (n->state == OPEN && n->users == 0 && (!oldest || n->used < oldest->used))
            oldest = n;
    }
    if (oldest)
        close_one(e, oldest);
    return false;
}

static enum result open_one(struct embedded *e, struct entry *entry, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    struct embedded_collection *c = NULL;
    change(e, entry, OPENING);
    e->open++;
    pthread_mutex_unlock(&e->mutex);
    enum result r = embedded_path(path, e->folder, entry->name, err);
    if (!r)
        r = embedded_collection_open(
            &(struct embedded_collection_place){e->sys, path, entry->name, e->keeper}, &c, err);
    pthread_mutex_lock(&e->mutex);
    if (r)
        e->open--;
    entry->collection = c;
    change(e, entry, r ? CLOSED : OPEN);
    return r;
}

static enum result not_found(const char *name, struct err *err)
{
    return err_set_field(err, ERR_NOT_FOUND, "collection", "there is no collection \"%s\"", name);
}

/* The collection, opened where needed, and not closed before release(). */
static enum result acquire(
    struct embedded *e, const char *name, int64_t deadline_ms, struct entry **out, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&e->mutex);
    for (;;) {
        struct entry *entry = find(e, name);
        if (!entry || entry->state == CREATING) {
            r = not_found(name, err);
            break;
        }
        if (entry->state == OPEN && !entry->leaving) {
            entry->users++;
            entry->used = ++e->uses;
            *out = entry;
            break;
        }
        if (entry->state == CLOSED) {
            if (has_room(e))
                r = open_one(e, entry, err);
            else if (e->open >= LIMIT_OPEN_COLLECTIONS)
                r = wait(e, name, deadline_ms, err);
        } else {
            r = wait(e, name, deadline_ms, err);
        }
        if (r)
            break;
    }
    pthread_mutex_unlock(&e->mutex);
    return r;
}

static void release(struct embedded *e, struct entry *entry)
{
    pthread_mutex_lock(&e->mutex);
    if (--entry->users == 0)
        pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->mutex);
}

enum result embedded_registry_take(struct embedded *e, const char *name, struct entry **entry,
    struct embedded_collection **out, struct err *err)
{
    enum result r = acquire(e, name, CLOCK_NO_DEADLINE, entry, err);
    if (!r)
        *out = (*entry)->collection;
    return r;
}

void embedded_registry_give(struct embedded *e, struct entry *entry)
{
    release(e, entry);
}

enum result embedded_registry_reopen(struct embedded *e, const char *name, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&e->mutex);
    for (;;) {
        struct entry *entry = find(e, name);
        if (!entry || entry->state == CLOSED || entry->state == DROPPING || entry->state == CREATING)
            break; /* whoever opens it next sees what is on disk */
        if (entry->state == OPEN && entry->users == 0) {
            close_one(e, entry);
            break;
        }
        if (entry->state == OPEN) {
            /* New calls wait for those that run: otherwise steady searches would keep it open for ever. */
            entry->leaving = true;
            pthread_cond_wait(&e->cond, &e->mutex);
        } else {
            r = wait(e, name, CLOCK_NO_DEADLINE, err);
        }
        if (r)
            break;
    }
    struct entry *entry = find(e, name);
    if (entry)
        entry->leaving = false;
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->mutex);
    return r;
}

bool embedded_registry_wanted(struct embedded *e, const struct entry *entry)
{
    pthread_mutex_lock(&e->mutex);
    bool wanted = entry->state == DROPPING;
    pthread_mutex_unlock(&e->mutex);
    return wanted;
}

void embedded_registry_folders(const struct embedded *e, const struct store_sys **sys, const char **collections)
{
    *sys = e->sys;
    *collections = e->folder;
}

/* --- create and drop ------------------------------------------------------------------------------------ */

static enum result temporary_path(struct embedded *e, const char *kind, char *out, struct err *err)
{
    char name[64];
    pthread_mutex_lock(&e->mutex);
    snprintf(name, sizeof name, ".%s-%" PRIu64, kind, e->temporary++);
    pthread_mutex_unlock(&e->mutex);
    return embedded_path(out, e->folder, name, err);
}

/* The files of a new collection, under its name, durably, or nothing. */
static enum result make_files(
    struct embedded *e, const char *name, embedded_make_fn make, void *user, struct err *err)
{
    char temporary[EMBEDDED_PATH_MAX], path[EMBEDDED_PATH_MAX];
    enum result r = temporary_path(e, "new", temporary, err);
    if (!r)
        r = embedded_path(path, e->folder, name, err);
    if (r)
        return r;
    r = make(user, e->sys, temporary, err);
    if (!r && e->sys->rename(temporary, path))
        r = err_set_errno(err, errno, "cannot make the folder %s", path);
    if (!r) {
        r = embedded_sync_folder(e->sys, e->folder, err);
        if (!r)
            return ERR_OK;
        /* Its name may or may not be on disk. The caller is told "no", so it must go. */
        if (e->sys->rename(path, temporary))
            embedded_discard_folder(e->sys, path);
    }
    embedded_discard_folder(e->sys, temporary);
    return r;
}

enum result embedded_registry_add(struct embedded *e, const char *name, embedded_make_fn make, void *user,
    int64_t deadline_ms, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = ERR_OK;
    pthread_mutex_lock(&e->mutex);
    while (!r && (entry = find(e, name)) && (entry->state == CREATING || entry->state == DROPPING))
        r = wait(e, name, deadline_ms, err);
    if (!r && entry)
        r = err_set_field(err, ERR_EXISTS, "collection", "collection \"%s\" exists already", name);
    if (!r && e->count >= LIMIT_COLLECTIONS)
        r = err_set(err, ERR_TOO_LARGE, "there are %d collections, as many as there can be: drop one first",
            LIMIT_COLLECTIONS);
    if (!r)
        r = insert(e, name, CREATING, &entry, err);
    pthread_mutex_unlock(&e->mutex);
    if (r)
        return r;
    r = make_files(e, name, make, user, err);
    pthread_mutex_lock(&e->mutex);
    if (r) {
        forget(e, entry);
        pthread_cond_broadcast(&e->cond);
    } else {
        change(e, entry, CLOSED);
    }
    pthread_mutex_unlock(&e->mutex);
    return r;
}

static enum result make_empty(void *user, const struct store_sys *sys, const char *path, struct err *err)
{
    return embedded_collection_create(sys, path, user, err);
}

static enum result embedded_create(void *state, const char *name, const struct store_settings *settings,
    int64_t deadline_ms, struct err *err)
{
    struct store_settings copy = *settings;
    return embedded_registry_add(state, name, make_empty, &copy, deadline_ms, err);
}

/* Durably out of sight, or still there. `trash` is where it went. */
static enum result unmake(struct embedded *e, const char *name, char *trash, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    enum result r = temporary_path(e, "trash", trash, err);
    if (!r)
        r = embedded_path(path, e->folder, name, err);
    if (r)
        return r;
    if (e->sys->rename(path, trash))
        return err_set_errno(err, errno, "cannot drop collection \"%s\"", name);
    r = embedded_sync_folder(e->sys, e->folder, err);
    /*
     * Not known to be durable: undo it, so that what we answer and what is there agree while this process
     * lives. If even that fails the collection is gone, and saying so is the truth.
     */
    if (r && e->sys->rename(trash, path))
        r = ERR_OK;
    return r;
}

static enum result embedded_drop(void *state, const char *name, int64_t deadline_ms, struct err *err)
{
    struct embedded *e = state;
    struct entry *entry = NULL;
    char trash[EMBEDDED_PATH_MAX];
    enum result r = ERR_OK;
    pthread_mutex_lock(&e->mutex);
    while (!r && (entry = find(e, name)) && entry->state != CREATING && entry->state != CLOSED &&
           entry->state != OPEN)
        r = wait(e, name, deadline_ms, err);
    if (!r && (!entry || entry->state == CREATING))
        r = not_found(name, err);
    if (r) {
        pthread_mutex_unlock(&e->mutex);
        return r;
    }
    bool was_open = entry->state == OPEN;
    change(e, entry, DROPPING); /* nobody new gets in; those inside finish */
    while (!r && entry->users > 0)
        r = wait(e, name, deadline_ms, err);
    if (r) {
        change(e, entry, OPEN);
        pthread_mutex_unlock(&e->mutex);
        return r;
    }
    struct embedded_collection *c = entry->collection;
    entry->collection = NULL;
    e->open -= was_open;
    pthread_mutex_unlock(&e->mutex);
    embedded_collection_close(c);
    r = unmake(e, name, trash, err);
    pthread_mutex_lock(&e->mutex);
    if (r)
        change(e, entry, CLOSED);
    else
        forget(e, entry);
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->mutex);
    if (!r)
        embedded_discard_folder(e->sys, trash);
    return r;
}

static enum result embedded_list(void *state, char ***names, size_t *count, struct err *err)
{
    struct embedded *e = state;
    size_t n = 0, bytes = 0;
    pthread_mutex_lock(&e->mutex);
    for (size_t i = 0; i < e->count; i++)
        bytes += strlen(e->entries[i]->name) + 1;
    /* The pointers, then the texts they point at. */
    char **list = malloc((e->count + 1) * sizeof *list + bytes);
    if (list) {
        char *text = (char *)(list + e->count + 1);
        for (size_t i = 0; i < e->count; i++) {
            if (e->entries[i]->state == CREATING)
                continue;
            size_t len = strlen(e->entries[i]->name) + 1;
            memcpy(text, e->entries[i]->name, len);
            list[n++] = text;
            text += len;
        }
    }
    pthread_mutex_unlock(&e->mutex);
    if (!list)
        return err_no_memory(err);
    *names = list;
    *count = n;
    return ERR_OK;
}

enum result embedded_registry_list(struct embedded *e, char ***names, size_t *count, struct err *err)
{
    return embedded_list(e, names, count, err);
}

enum result embedded_registry_drop(struct embedded *e, const char *name, struct err *err)
{
    return embedded_drop(e, name, CLOCK_NO_DEADLINE, err);
}

enum result embedded_registry_temporary(struct embedded *e, char *out, struct err *err)
{
    return temporary_path(e, "new", out, err);
}

/* --- calls that go to one collection -------------------------------------------------------------------- */

static enum result embedded_settings(
    void *state, const char *name, struct store_settings *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, CLOCK_NO_DEADLINE, &entry, err);
    if (r)
        return r;
    *out = entry->collection->meta.settings;
    release(state, entry);
    return ERR_OK;
}

static enum result embedded_stats(
    void *state, const char *name, int64_t deadline_ms, struct store_stats *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_stats(entry->collection, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_count(void *state, const char *name, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_count(entry->collection, filter, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_write(void *state, const char *name, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_write(entry->collection, writes, count, deadline_ms, err);
    release(state, entry);
    return r;
}

static enum result embedded_search(void *state, const char *name, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_search(entry->collection, query, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_get(void *state, const char *name, bool by_item, int64_t id, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_get(entry->collection, by_item, id, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_browse(void *state, const char *name, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_browse(entry->collection, browse, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_facets(void *state, const char *name, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_facets(entry->collection, query, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_scale(void *state, const char *name, struct store_scale *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, CLOCK_NO_DEADLINE, &entry, err);
    if (r)
        return r;
    embedded_scale_get(&entry->collection->scale, out);
    release(state, entry);
    return ERR_OK;
}

enum result store_embedded_save_index(struct store *store, const char *collection, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(store->state, collection, CLOCK_NO_DEADLINE, &entry, err);
    if (r)
        return r;
    r = embedded_graph_save(&entry->collection->graph, err);
    release(store->state, entry);
    return r;
}

static enum result embedded_thumbnail(
    void *state, const char *name, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = acquire(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_thumbnail(entry->collection, fileid, deadline_ms, out, err);
    release(state, entry);
    return r;
}

static enum result embedded_check(void *state, store_check_fn report, void *user, struct err *err)
{
    char **names = NULL;
    size_t count = 0;
    bool damage = false;
    enum result r = embedded_list(state, &names, &count, err);
    for (size_t i = 0; !r && i < count; i++) {
        struct entry *entry = NULL;
        struct err why = {0};
        r = acquire(state, names[i], CLOCK_NO_DEADLINE, &entry, &why);
        if (!r) {
            r = embedded_collection_check(entry->collection, report, user, &damage, &why);
            release(state, entry);
        }
        if (r == ERR_NOT_FOUND) { /* dropped meanwhile */
            r = ERR_OK;
        } else if (r) { /* it cannot be read; the others can */
            damage = true;
            if (report)
                report(user, 2, names[i], why.message);
            r = ERR_OK;
        }
    }
    free(names);
    if (!r && damage)
        r = err_set(err, ERR_CORRUPT, "the store is damaged; each damage is named above");
    return r;
}

/* --- open and close ------------------------------------------------------------------------------------- */

static void embedded_close(void *state)
{
    struct embedded *e = state;
    embedded_warm_stop(e->warm);
    for (size_t i = 0; i < e->count; i++) {
        assert(e->entries[i]->users == 0);
        embedded_collection_close(e->entries[i]->collection);
        free(e->entries[i]);
    }
    free(e->entries);
    embedded_keeper_free(e->keeper);
    if (e->lock >= 0)
        close(e->lock); /* which releases it */
    pthread_mutex_destroy(&e->mutex);
    pthread_cond_destroy(&e->cond);
    free(e);
}

static enum result locked_by_other(const struct embedded *e, struct err *err)
{
    char text[32] = "";
    uint64_t pid = 0;
    ssize_t n = pread(e->lock, text, sizeof text - 1, 0);
    size_t len = n > 0 ? strcspn(text, "\n") : 0;
    if (parse_u64(text, len, INT32_MAX, &pid))
        return err_set(
            err, ERR_BUSY, "%s is in use by process %" PRIu64 ": stop it, or use its server", e->data, pid);
    return err_set(err, ERR_BUSY, "%s is in use by another process: stop it, or use its server", e->data);
}

/* Without a deadline one try is made: a server that holds the lock will not let go by itself. */
static enum result take_lock(struct embedded *e, int64_t deadline_ms, struct err *err)
{
    char path[EMBEDDED_PATH_MAX], text[32];
    enum result r = embedded_path(path, e->data, "LOCK", err);
    if (r)
        return r;
    e->lock = e->sys->open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (e->lock < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    while (flock(e->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno(err, errno, "cannot lock %s", path);
        if (deadline_ms == CLOCK_NO_DEADLINE || clock_passed(deadline_ms))
            return locked_by_other(e, err);
        struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (e->sys->ftruncate(e->lock, 0) || embedded_write_at(e->sys, e->lock, text, (size_t)n, 0, NULL)) {
        /* The number is for the sentence above only; a lock without it is as good. */
    }
    return ERR_OK;
}

static enum result find_collections(struct embedded *e, struct err *err)
{
    enum result r = ERR_OK;
    struct dirent *d;
    DIR *dir = opendir(e->folder);
    if (!dir)
        return err_set_errno(err, errno, "cannot read the folder %s", e->folder);
    while (!r && (d = readdir(dir))) {
        char path[EMBEDDED_PATH_MAX];
        struct stat st;
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        r = embedded_path(path, e->folder, d->d_name, err);
        if (r || stat(path, &st) || !S_ISDIR(st.st_mode))
            continue;
        if (!strncmp(d->d_name, ".new-", 5) || !strncmp(d->d_name, ".trash-", 7))
            r = embedded_remove_folder(e->sys, path, err);
        else if (parse_is_collection_name(d->d_name))
            r = insert(e, d->d_name, CLOSED, NULL, err);
    }
    closedir(dir);
    return r;
}

static const struct store_backend backend = {
    .name = "embedded",
    .close = embedded_close,
    .create = embedded_create,
    .drop = embedded_drop,
    .settings = embedded_settings,
    .list = embedded_list,
    .stats = embedded_stats,
    .count = embedded_count,
    .write = embedded_write,
    .search = embedded_search,
    .get = embedded_get,
    .browse = embedded_browse,
    .facets = embedded_facets,
    .scale = embedded_scale,
    .thumbnail = embedded_thumbnail,
    .check = embedded_check,
    .backup = embedded_backup,
    .tune = embedded_tune,
    .untune = embedded_untune,
    .eval = embedded_eval,
    .restore = embedded_restore,
    .repair = embedded_repair,
};

/* The absolute path: SQLite wants it, and the working directory may change. */
static enum result set_data_path(struct embedded *e, const char *data, struct err *err)
{
    char *real = realpath(data, NULL);
    if (!real)
        return err_set_errno(err, errno, "cannot find the data folder %s", data);
    size_t n = strlen(real);
    if (n <= DATA_PATH_MAX)
        memcpy(e->data, real, n + 1);
    free(real);
    if (n > DATA_PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the data folder has %zu bytes, at most %d can be used",
            n, DATA_PATH_MAX);
    return embedded_path(e->folder, e->data, "collections", err);
}

enum result store_embedded_open_with(const struct store_open_options *options, const struct store_sys *sys,
    struct store **out, struct err *err)
{
    struct embedded *e = calloc(1, sizeof *e);
    struct store *store = calloc(1, sizeof *store);
    enum result r = e && store ? ERR_OK : err_no_memory(err);
    if (r)
        goto out;
    e->sys = sys;
    e->lock = -1;
    pthread_mutex_init(&e->mutex, NULL);
    clock_cond_init(&e->cond);
    r = embedded_make_folders(sys, options->data, err);
    if (!r)
        r = set_data_path(e, options->data, err);
    if (!r)
        r = take_lock(e, options->deadline_ms, err);
    if (!r)
        r = embedded_make_folders(sys, e->folder, err);
    if (!r)
        r = embedded_sync_folder(sys, e->data, err);
    if (!r)
        r = find_collections(e, err);
    if (!r && embedded_keeper_new(&e->keeper, NULL))
        e->keeper = NULL; /* all works without an index */
    if (r) {
        embedded_close(e);
        e = NULL;
        goto out;
    }
    e->warm = options->warm ? embedded_warm_start(e) : NULL;
    *store = (struct store){.backend = &backend, .state = e};
    *out = store;
    return ERR_OK;
out:
    free(e);
    free(store);
    return r;
}

enum result store_open_embedded(const struct store_open_options *options, struct store **out, struct err *err)
{
    return store_embedded_open_with(options, &store_sys_real, out, err);
}
