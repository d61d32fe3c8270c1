/*
 * The embedded store: the folder and its lock, and the calls that go to one collection (registry.h) each.
 *
 *     DATA/LOCK            flock()ed while a process has the store open; holds its process id
 *     DATA/collections/    registry.c
 */
#include "store/embedded/embedded.h"

#include "base/clock.h"
#include "base/parse.h"
#include "store/embedded/backup.h"
#include "store/embedded/collection.h"
#include "store/embedded/reembed.h"
#include "store/embedded/registry.h"
#include "store/embedded/tune.h"
#include "store/embedded/warm.h"
#include "store/store_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_POLL_MS 20

/* --- the registry's calls ------------------------------------------------------------------------------- */

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

static enum result embedded_drop(void *state, const char *name, int64_t deadline_ms, struct err *err)
{
    return embedded_registry_drop(state, name, deadline_ms, err);
}

static enum result embedded_list(void *state, char ***names, size_t *count, struct err *err)
{
    return embedded_registry_list(state, names, count, err);
}

/* --- calls that go to one collection -------------------------------------------------------------------- */

static enum result embedded_settings(
    void *state, const char *name, struct store_settings *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, CLOCK_NO_DEADLINE, &entry, err);
    if (r)
        return r;
    *out = entry->collection->meta.settings;
    out->edition = entry->collection->meta.id;
    embedded_registry_give(state, entry);
    return ERR_OK;
}

static enum result embedded_stats(
    void *state, const char *name, int64_t deadline_ms, struct store_stats *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_stats(entry->collection, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_count(void *state, const char *name, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_count(entry->collection, filter, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_write(void *state, const char *name, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_write(entry->collection, writes, count, deadline_ms, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_search(void *state, const char *name, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_search(entry->collection, query, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_get(void *state, const char *name, bool by_item, int64_t id, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_get(entry->collection, by_item, id, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_browse(void *state, const char *name, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_browse(entry->collection, browse, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_facets(void *state, const char *name, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_facets(entry->collection, query, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_scale(void *state, const char *name, struct store_scale *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, CLOCK_NO_DEADLINE, &entry, err);
    if (r)
        return r;
    embedded_scale_get(&entry->collection->scale, out);
    embedded_registry_give(state, entry);
    return ERR_OK;
}

enum result store_embedded_save_index(struct store *store, const char *collection, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(store->state, collection, CLOCK_NO_DEADLINE, &entry, err);
    if (r)
        return r;
    r = embedded_graph_save(&entry->collection->graph, err);
    embedded_registry_give(store->state, entry);
    return r;
}

static enum result embedded_thumbnail(
    void *state, const char *name, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_thumbnail(entry->collection, fileid, deadline_ms, out, err);
    embedded_registry_give(state, entry);
    return r;
}

static enum result embedded_original(
    void *state, const char *name, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct entry *entry = NULL;
    enum result r = embedded_registry_enter(state, name, deadline_ms, &entry, err);
    if (r)
        return r;
    r = embedded_collection_original(entry->collection, fileid, deadline_ms, out, err);
    embedded_registry_give(state, entry);
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
        r = embedded_registry_enter(state, names[i], CLOCK_NO_DEADLINE, &entry, &why);
        if (!r) {
            r = embedded_collection_check(entry->collection, report, user, &damage, &why);
            embedded_registry_give(state, entry);
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
    embedded_registry_free(e);
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
    .original = embedded_original,
    .check = embedded_check,
    .backup = embedded_backup,
    .tune = embedded_tune,
    .untune = embedded_untune,
    .eval = embedded_eval,
    .reembed = embedded_reembed,
    .unreembed = embedded_unreembed,
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
    if (n <= EMBEDDED_DATA_PATH_MAX)
        memcpy(e->data, real, n + 1);
    free(real);
    if (n > EMBEDDED_DATA_PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the data folder has %zu bytes, at most %d can be used",
            n, EMBEDDED_DATA_PATH_MAX);
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
        r = embedded_registry_load(e, err);
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
