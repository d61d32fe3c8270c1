/*
 * The registry of collections: which there are, which are open, create and drop.
 *
 *     DATA/collections/NAME/       meta.db, vectors.f16, pictures.db
 *     DATA/collections/.new-N      a collection being made     } if a crash left them,
 *     DATA/collections/.trash-N    a collection being dropped  } removed at the next open
 *     DATA/collections/.second-H   a second edition of a collection (reembed.c) that stays until it is whole; H: of its name
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
 * A collection is replaced by another with its last user inside and `leaving` set, which keeps new ones out.
 *
 * Work on files happens with the mutex released, in a state that keeps others out; they wait for the
 * condition.
 */
#include "store/embedded/registry.h"

#include "base/clock.h"
#include "base/parse.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define SECOND ".second-"

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
    struct embedded *e, const char *name, enum embedded_entry_state state, struct entry **out, struct err *err)
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

static void change(struct embedded *e, struct entry *entry, enum embedded_entry_state state)
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

enum result embedded_registry_enter(
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

void embedded_registry_give(struct embedded *e, struct entry *entry)
{
    pthread_mutex_lock(&e->mutex);
    if (--entry->users == 0 || entry->leaving)
        pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->mutex);
}

enum result embedded_registry_take(struct embedded *e, const char *name, struct entry **entry,
    struct embedded_collection **out, struct err *err)
{
    enum result r = embedded_registry_enter(e, name, CLOCK_NO_DEADLINE, entry, err);
    if (!r)
        *out = (*entry)->collection;
    return r;
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

bool embedded_registry_leaving(struct embedded *e, const struct entry *entry)
{
    pthread_mutex_lock(&e->mutex);
    bool leaving = entry->leaving;
    pthread_mutex_unlock(&e->mutex);
    return leaving;
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

enum result embedded_registry_drop(struct embedded *e, const char *name, int64_t deadline_ms, struct err *err)
{
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
    if (!r) {
        char second[EMBEDDED_PATH_MAX];
        embedded_discard_folder(e->sys, trash);
        if (!embedded_registry_second(e, name, second, NULL))
            embedded_discard_folder(e->sys, second);
    }
    return r;
}

enum result embedded_registry_list(struct embedded *e, char ***names, size_t *count, struct err *err)
{
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

enum result embedded_registry_temporary(struct embedded *e, char *out, struct err *err)
{
    return temporary_path(e, "new", out, err);
}

/* --- one in the place of another --------------------------------------------------------------------------- */

/* What says, inside of a second edition, that it is whole and in whose place it goes. */
#define PLACE "place"

enum result embedded_registry_second(const struct embedded *e, const char *name, char out[EMBEDDED_PATH_MAX], struct err *err)
{
    char file[32];
    snprintf(file, sizeof file, SECOND "%016" PRIx64, (uint64_t)XXH3_64bits(name, strlen(name)));
    return embedded_path(out, e->folder, file, err);
}

static enum result write_place(struct embedded *e, const char *path, const char *name, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    enum result r = embedded_path(file, path, PLACE, err);
    if (r)
        return r;
    int fd = e->sys->open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot write %s", file);
    r = embedded_write_at(e->sys, fd, name, strlen(name), 0, err);
    if (!r && e->sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot write %s", file);
    close(fd);
    return r ? r : embedded_sync_folder(e->sys, path, err);
}

static void remove_place(struct embedded *e, const char *path)
{
    char file[EMBEDDED_PATH_MAX];
    if (!embedded_path(file, path, PLACE, NULL) && e->sys->unlink(file)) {
        /* It is only ever read in a folder that has not got its name yet. */
    }
}

/*
 * The files: the one out of sight, then the other under its name. Between the two a crash leaves no collection of that
 * name, but a second edition with its PLACE, which the next open brings to its name (settle()).
 */
static enum result exchange(struct embedded *e, const char *name, const char *path, char *trash, struct err *err)
{
    char home[EMBEDDED_PATH_MAX];
    enum result r = temporary_path(e, "trash", trash, err);
    if (!r)
        r = embedded_path(home, e->folder, name, err);
    if (!r)
        r = write_place(e, path, name, err);
    if (!r && e->sys->rename(home, trash))
        r = err_set_errno(err, errno, "cannot put the new edition of collection \"%s\" in its place", name);
    if (r) {
        remove_place(e, path);
        return r;
    }
    if (e->sys->rename(path, home)) {
        r = err_set_errno(err, errno, "cannot put the new edition of collection \"%s\" in its place", name);
    } else {
        r = embedded_sync_folder(e->sys, e->folder, err);
        /* Not known to be durable: the caller is told "no", so it must not be so. If even that fails it is done. */
        if (r && e->sys->rename(home, path))
            r = ERR_OK;
    }
    if (r && !e->sys->rename(trash, home))
        remove_place(e, path);
    if (!r)
        remove_place(e, home);
    return r;
}

enum result embedded_registry_replace(struct embedded *e, struct entry *entry, const char *path,
    enum result (*last)(void *user, struct err *err), void *user, struct err *err)
{
    char trash[EMBEDDED_PATH_MAX];
    enum result r = ERR_OK;
    pthread_mutex_lock(&e->mutex);
    entry->leaving = true;
    while (entry->users > 1 && entry->state == OPEN)
        pthread_cond_wait(&e->cond, &e->mutex);
    bool open = entry->state == OPEN;
    pthread_mutex_unlock(&e->mutex);
    if (open)
        r = last(user, err);
    pthread_mutex_lock(&e->mutex);
    open = open && entry->state == OPEN; /* else a drop came */
    if (r || !open) {
        entry->leaving = false;
        entry->users--;
        pthread_cond_broadcast(&e->cond);
        pthread_mutex_unlock(&e->mutex);
        return r ? r : not_found(entry->name, err);
    }
    struct embedded_collection *c = entry->collection;
    entry->collection = NULL;
    entry->users = 0;
    entry->leaving = false;
    change(e, entry, CLOSING);
    pthread_mutex_unlock(&e->mutex);
    embedded_collection_close(c);
    r = exchange(e, entry->name, path, trash, err);
    pthread_mutex_lock(&e->mutex);
    e->open--;
    change(e, entry, CLOSED);
    pthread_mutex_unlock(&e->mutex);
    if (!r)
        embedded_discard_folder(e->sys, trash);
    return r;
}

/* --- what is on disk ----------------------------------------------------------------------------------------- */

/* A second edition that was about to get its name gets it, where nothing else has it. */
static enum result settle(struct embedded *e, const char *path, struct err *err)
{
    char file[EMBEDDED_PATH_MAX], home[EMBEDDED_PATH_MAX], name[LIMIT_COLLECTION_NAME + 2];
    enum result r = embedded_path(file, path, PLACE, err);
    if (r)
        return r;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_OK; /* it is still being made: whoever goes on with it finds it */
    ssize_t n = read(fd, name, sizeof name - 1);
    close(fd);
    name[n > 0 ? n : 0] = '\0';
    struct stat st;
    if (!parse_is_collection_name(name) || embedded_path(home, e->folder, name, NULL))
        return ERR_OK;
    if (stat(home, &st) == 0) {
        remove_place(e, path);
        return ERR_OK;
    }
    if (e->sys->rename(path, home))
        return err_set_errno(err, errno, "cannot put the new edition of collection \"%s\" in its place", name);
    r = embedded_sync_folder(e->sys, e->folder, err);
    if (!r)
        remove_place(e, home);
    return r;
}

/* Every folder with its name; a result that is not ERR_OK ends it and is returned. */
static enum result each_folder(struct embedded *e, enum result (*each)(struct embedded *e, const char *path, const char *name, struct err *err), struct err *err)
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
        if (!r && !stat(path, &st) && S_ISDIR(st.st_mode))
            r = each(e, path, d->d_name, err);
    }
    closedir(dir);
    return r;
}

static enum result clear_folder(struct embedded *e, const char *path, const char *name, struct err *err)
{
    if (!strncmp(name, ".new-", 5) || !strncmp(name, ".trash-", 7))
        return embedded_remove_folder(e->sys, path, err);
    return strncmp(name, SECOND, strlen(SECOND)) ? ERR_OK : settle(e, path, err);
}

static enum result list_folder(struct embedded *e, const char *path, const char *name, struct err *err)
{
    return parse_is_collection_name(name) ? insert(e, name, CLOSED, NULL, err) : ERR_OK;
}

enum result embedded_registry_load(struct embedded *e, struct err *err)
{
    enum result r = each_folder(e, clear_folder, err);
    return r ? r : each_folder(e, list_folder, err);
}

void embedded_registry_free(struct embedded *e)
{
    for (size_t i = 0; i < e->count; i++) {
        assert(e->entries[i]->users == 0);
        embedded_collection_close(e->entries[i]->collection);
        free(e->entries[i]);
    }
    free(e->entries);
}
