/* Opening, the calls on whole collections, and the table of functions. */
#include "store/milvus/milvus.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_MS 10000 /* of calls that come without a deadline */
#define OPEN_REST_MS 250

static void milvus_close(void *state)
{
    struct milvus *m = state;
    milvus_collections_free(m);
    milvus_thumbnails_close(m->thumbnails);
    milvus_link_close(m->link);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static enum result milvus_ready(void *state, int64_t deadline_ms, struct err *err)
{
    return milvus_link_probe(((struct milvus *)state)->link, deadline_ms, err);
}

/* --- collections -------------------------------------------------------------------------------------------------------- */

static enum result milvus_create(
    void *state, const char *name, const struct store_settings *settings, int64_t deadline_ms, struct err *err)
{
    return milvus_make(state, name, settings, deadline_ms, err);
}

static enum result milvus_drop(void *state, const char *name, int64_t deadline_ms, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = calloc(1, sizeof *c);
    if (!c)
        return err_no_memory(err);
    enum result r = milvus_describe(m, name, true, deadline_ms, c, err); /* Milvus drops what is not there without a word */
    if (!r) {
        Mv__CollectionRequest request = MV__COLLECTION_REQUEST__INIT;
        request.db_name = milvus_link_database(m->link);
        request.collection_name = c->name;
        struct milvus_call call = {.method = "DropCollection",
            .request = &request.base,
            .reply = &mv__status__descriptor,
            .write = true,
            .repeat = true,
            .deadline_ms = deadline_ms};
        r = milvus_call_take(m->link, &call, NULL, NULL, err);
    }
    milvus_forget(m, name);
    struct err ignored;
    enum result left = ERR_OK; /* what cannot be removed is waste under a number that never comes again */
    if (!r && m->thumbnails)
        left = milvus_thumbnails_drop(m->thumbnails, c->id, &ignored);
    (void)left;
    free(c);
    return r;
}

static enum result milvus_settings(void *state, const char *name, struct store_settings *out, struct err *err)
{
    struct milvus *m = state;
    struct milvus_collection *c = NULL;
    enum result r = milvus_acquire(m, name, clock_now_ms() + SETTINGS_MS, &c, err);
    if (!r)
        *out = c->settings;
    milvus_release(m, c);
    return r;
}

static enum result show(struct milvus *m, int64_t deadline_ms, Mv__ShowCollectionsReply **out, struct err *err)
{
    Mv__ShowCollectionsRequest request = MV__SHOW_COLLECTIONS_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    struct milvus_call call = {.method = "ShowCollections",
        .request = &request.base,
        .reply = &mv__show_collections_reply__descriptor,
        .repeat = true,
        .deadline_ms = deadline_ms};
    return milvus_call(m->link, &call, (ProtobufCMessage **)(void *)out, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those that can be used here; what other programs keep in the same Milvus is left out. */
static enum result milvus_list(void *state, char ***names, size_t *count, struct err *err)
{
    struct milvus *m = state;
    int64_t deadline = clock_now_ms() + SETTINGS_MS;
    Mv__ShowCollectionsReply *reply = NULL;
    enum result r = show(m, deadline, &reply, err);
    if (r)
        return r;
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < reply->n_collection_names && !r; i++) {
        struct milvus_collection *c = NULL;
        r = milvus_acquire(m, reply->collection_names[i], deadline, &c, err);
        if (!r) {
            bytes += strlen(reply->collection_names[i]) + 1;
            char *swap = reply->collection_names[n];
            reply->collection_names[n++] = reply->collection_names[i];
            reply->collection_names[i] = swap;
        } else if (r == ERR_INVALID || r == ERR_NOT_FOUND) {
            r = ERR_OK;
        }
        milvus_release(m, c);
    }
    char **list = r ? NULL : malloc((n + 1) * sizeof *list + bytes), *text = list ? (char *)(list + n + 1) : NULL;
    if (!r && !list)
        r = err_no_memory(err);
    for (size_t i = 0; i < n && !r; i++) {
        size_t len = strlen(reply->collection_names[i]) + 1;
        list[i] = memcpy(text, reply->collection_names[i], len);
        text += len;
    }
    MILVUS_FREE(reply);
    if (r)
        return r;
    qsort(list, n, sizeof *list, compare_names);
    *names = list;
    *count = n;
    return ERR_OK;
}

static void check_one(struct milvus *m, const char *name, store_check_fn report, void *user)
{
    struct err why = {0};
    uint64_t count = 0;
    struct milvus_collection *c = NULL;
    int64_t deadline = clock_now_ms() + LIMIT_REQUEST_MS;
    enum result r = milvus_acquire(m, name, deadline, &c, &why);
    if (!r)
        r = milvus_count_expr(m, c, "", false, deadline, &count, &why);
    if (r) {
        report(user, r == ERR_INVALID ? 0 : 1, name, why.message); /* another program's is no fault */
    } else {
        char text[160];
        snprintf(text, sizeof text, "%" PRIu64 " records in Milvus on %.80s, index %.31s", count,
            milvus_link_name(m->link), c->index);
        report(user, 0, name, text);
    }
    milvus_release(m, c);
}

/* What is in Milvus is Milvus's to check; here it is said what can be used, and whether it answers. */
enum result milvus_check(void *state, store_check_fn report, void *user, struct err *err)
{
    struct milvus *m = state;
    Mv__ShowCollectionsReply *reply = NULL;
    enum result r = show(m, clock_now_ms() + SETTINGS_MS, &reply, err);
    for (size_t i = 0; !r && report && i < reply->n_collection_names; i++)
        check_one(m, reply->collection_names[i], report, user);
    MILVUS_FREE(reply);
    return r;
}

/* --- opening ------------------------------------------------------------------------------------------------------------ */

static const struct store_backend backend = {
    .name = "milvus",
    .close = milvus_close,
    .ready = milvus_ready,
    .create = milvus_create,
    .drop = milvus_drop,
    .settings = milvus_settings,
    .list = milvus_list,
    .stats = milvus_stats,
    .count = milvus_count,
    .write = milvus_write,
    .search = milvus_search,
    .get = milvus_get,
    .browse = milvus_browse,
    .facets = milvus_facets,
    .thumbnail = milvus_thumbnail,
    .check = milvus_check,
};

static void take_version(void *user, const ProtobufCMessage *reply)
{
    struct milvus *m = user;
    snprintf(m->version, sizeof m->version, "%s", ((const Mv__VersionReply *)(const void *)reply)->version);
}

static enum result get_version(struct milvus *m, int64_t deadline_ms, struct err *err)
{
    Mv__Empty request = MV__EMPTY__INIT;
    struct milvus_call call = {.method = "GetVersion",
        .request = &request.base,
        .reply = &mv__version_reply__descriptor,
        .repeat = true,
        .deadline_ms = deadline_ms};
    enum result r = milvus_call_take(m->link, &call, take_version, m, err);
    if (r)
        return r;
    const char *digits = m->version + (*m->version == 'v');
    if (strncmp(digits, "2.0", 3) == 0 || strncmp(digits, "2.1", 3) == 0 || strncmp(digits, "2.2", 3) == 0 || *digits == '1')
        return err_set(err, ERR_UNSUPPORTED, "Milvus on %.100s is release %.30s, which cannot keep arrays: use 2.3 or later",
            milvus_link_name(m->link), m->version);
    return ERR_OK;
}

/* Until it answers, or the deadline: it may be starting at the same time. What waiting does not change ends at once. */
static enum result first_contact(struct milvus *m, int64_t deadline_ms, struct err *err)
{
    struct err local, *e = err ? err : &local;
    enum result r;
    for (;;) {
        uint64_t now;
        Mv__ShowCollectionsReply *reply = NULL;
        r = get_version(m, deadline_ms, e);
        if (!r)
            r = show(m, deadline_ms, &reply, e);
        MILVUS_FREE(reply);
        if (r == ERR_INVALID && *milvus_link_database(m->link))
            return err_set(e, ERR_INVALID, "Milvus on %.100s does not open the database \"%.60s\": check --milvus-db",
                milvus_link_name(m->link), milvus_link_database(m->link));
        if (!r) {
            r = milvus_clock(m, deadline_ms, &now, e);
            m->has_clock = r == ERR_OK;
            if (r == ERR_UNSUPPORTED)
                return ERR_OK;
        }
        bool waiting_helps = r == ERR_BUSY || (r == ERR_UNAVAILABLE && !strstr(e->message, "refuses the user") &&
                                                  !strstr(e->message, "is no Milvus"));
        if (!waiting_helps || clock_left_ms(deadline_ms) <= OPEN_REST_MS)
            return r;
        struct timespec t = {0, OPEN_REST_MS * 1000000L};
        nanosleep(&t, NULL);
    }
}

enum result store_open_milvus(const struct store_milvus_options *options, struct store **out, struct err *err)
{
    struct milvus *m = calloc(1, sizeof *m);
    struct store *store = calloc(1, sizeof *store);
    if (!m || !store) {
        free(m);
        free(store);
        return err_no_memory(err);
    }
    pthread_mutex_init(&m->mutex, NULL);
    m->ef = options->ef ? options->ef : 128;
    m->nprobe = options->nprobe ? options->nprobe : 16;
    m->consistency = options->consistency;
    snprintf(m->index, sizeof m->index, "%s", options->index ? options->index : "HNSW");
    snprintf(m->metric, sizeof m->metric, "%s", options->metric ? options->metric : "");
    enum result r = milvus_link_open(options, &m->link, err);
    if (!r)
        r = first_contact(m, options->deadline_ms ? options->deadline_ms : clock_now_ms() + SETTINGS_MS, err);
    if (!r && options->data)
        r = milvus_thumbnails_open(options->data, &m->thumbnails, err);
    if (r) {
        milvus_close(m);
        free(store);
        return r;
    }
    *store = (struct store){.backend = &backend, .state = m};
    *out = store;
    return ERR_OK;
}
