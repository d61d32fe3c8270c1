/*
 * Make, open and close a collection.
 *
 * Opening reads the index records_item of meta.db, nothing of vectors.f16 but its header: a slot is verified
 * when a search first looks at it. Verifying all of them here would read the whole file, which is seconds for
 * a large collection on a cold disk; what the search needs is read anyway, and its hash costs little next to
 * that.
 */
#include "store/embedded/collection.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/random.h>

enum result embedded_collection_create(
    const struct store_sys *sys, const char *path, const struct store_settings *settings, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    struct embedded_meta meta = {.settings = *settings, .number = 1};
    if (getrandom(&meta.id, sizeof meta.id, 0) != (ssize_t)sizeof meta.id)
        return err_set_errno(err, errno, "the system gives no random numbers");
    meta.id >>= 1; /* SQLite's integers have a sign */
    if (sys->mkdir(path, 0755))
        return err_set_errno(err, errno, "cannot make the folder %s", path);
    enum result r = embedded_path(file, path, "vectors.f16", err);
    if (!r)
        r = embedded_vectors_create(sys, file, settings->descriptor, meta.id, err);
    if (!r && embedded_keeps_pictures(settings)) {
        r = embedded_path(file, path, "pictures.db", err);
        if (!r)
            r = embedded_pictures_create(file, err);
        if (!r)
            r = embedded_sync_file(sys, file, err);
    }
    if (!r)
        r = embedded_path(file, path, "meta.db", err);
    if (!r)
        r = embedded_records_create(file, &meta, err);
    if (!r)
        r = embedded_sync_file(sys, file, err);
    return r ? r : embedded_sync_folder(sys, path, err);
}

static enum result load_row(void *user, const struct embedded_row *row, struct err *err)
{
    struct embedded_collection *c = user;
    atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
    return embedded_slots_load(&c->slots, (uint32_t)row->slot, row->fileid, row->itemid, row->number, err);
}

static enum result load_slots(struct embedded_collection *c, struct err *err)
{
    uint64_t capacity = c->vectors.capacity;
    enum result r = embedded_slots_init(&c->slots, c->meta.change, err);
    if (!r)
        r = embedded_records_each(&c->records, load_row, c, err);
    if (!r)
        r = embedded_slots_loaded(&c->slots, capacity, err);
    return r ? r : embedded_vectors_cover(&c->vectors, c->slots.top, err);
}

enum result embedded_collection_open(
    const struct embedded_collection_place *place, struct embedded_collection **out, struct err *err)
{
    const char *path = place->path;
    char file[EMBEDDED_PATH_MAX];
    struct embedded_collection *c = calloc(1, sizeof *c);
    if (!c)
        return err_no_memory(err);
    c->sys = place->sys;
    c->kernel = kernel_get();
    snprintf(c->name, sizeof c->name, "%s", place->name);
    snprintf(c->path, sizeof c->path, "%s", path);
    pthread_mutex_init(&c->mutex, NULL);
    clock_cond_init(&c->arrival);
    embedded_columns_init(&c->columns);
    embedded_space_init(&c->space);
    embedded_tap_init(&c->tap);
    embedded_past_init(&c->past, c, place->keeper);
    embedded_graph_init(&c->graph, c, place->keeper);
    embedded_scale_init(&c->scale, c, place->keeper);

    enum result r = embedded_path(file, path, "meta.db", err);
    if (!r)
        r = embedded_records_open(file, &c->records, &c->meta, err);
    if (!r) {
        embedded_readers_init(&c->readers, file);
        atomic_store(&c->number, c->meta.number);
        atomic_store(&c->ahead, c->meta.change);
        r = embedded_path(file, path, "vectors.f16", err);
    }
    if (!r)
        r = embedded_vectors_open(c->sys, file, c->meta.settings.descriptor, c->meta.id, &c->vectors, err);
    if (!r)
        r = load_slots(c, err);
    if (!r && embedded_keeps_pictures(&c->meta.settings)) {
        r = embedded_path(file, path, "pictures.db", err);
        if (!r)
            r = embedded_pictures_open(file, c->meta.number, c->meta.settings.originals, &c->pictures, err);
        c->garbage = SIZE_MAX / 2; /* not known: let the first commit look */
    }
    if (r) {
        embedded_collection_close(c);
    } else {
        embedded_past_load(&c->past);
        embedded_space_load(c);
        embedded_graph_start(&c->graph);
        embedded_scale_start(&c->scale);
        *out = c;
    }
    return r;
}

enum result embedded_collection_is(const struct embedded_collection *c, uint64_t edition, struct err *err)
{
    if (edition == 0 || edition == c->meta.id)
        return ERR_OK;
    return err_set(err, ERR_BUSY, "collection \"%.64s\" was replaced by another of that name meanwhile: ask again", c->name);
}

void embedded_collection_close(struct embedded_collection *c)
{
    if (!c)
        return;
    embedded_scale_close(&c->scale); /* it searches */
    embedded_graph_close(&c->graph);
    embedded_past_close(&c->past);
    embedded_space_free(&c->space);
    embedded_tap_free(&c->tap);
    embedded_columns_free(&c->columns);
    embedded_readers_free(&c->readers);
    embedded_pictures_close(&c->pictures);
    embedded_records_close(&c->records);
    embedded_slots_free(&c->slots);
    embedded_vectors_close(&c->vectors);
    pthread_mutex_destroy(&c->mutex);
    pthread_cond_destroy(&c->arrival);
    free(c);
}
