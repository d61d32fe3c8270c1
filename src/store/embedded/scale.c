#include "store/embedded/scale.h"

#include "base/clock.h"
#include "learn/adapt.h"
#include "store/embedded/collection.h"
#include "store/embedded/query.h"
#include "store/embedded/searchable.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC 0x31676b626b6c6c75u
#define SCAN_MAX 20000u   /* without an index a larger collection waits for it */
#define TRIES 16u         /* to find a slot that is filled */
#define SEARCH_MS 10000
#define CROWD_MS 60000    /* that long a measurement waits while many write at once */

struct scale_file {
    uint64_t magic, identity, version;
    struct store_scale value;
    uint64_t checksum;
};

struct sample {
    struct embedded_collection *c;
    float *past; /* descriptors of past queries; NULL: pictures of the collection */
    size_t past_count;
    uint64_t random;
    float near[EMBEDDED_SCALE_SAMPLE];
    size_t near_count;
    double far;
    size_t far_count;
};

static uint64_t next(struct sample *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

/* --- the file --------------------------------------------------------------------------------------------- */

static bool path_of(const struct embedded_collection *c, const char *name, char *out)
{
    char folder[EMBEDDED_PATH_MAX];
    return !embedded_path(folder, c->path, "derived", NULL) && !embedded_path(out, folder, name, NULL);
}

static void read_file(struct embedded_scale *b)
{
    char path[EMBEDDED_PATH_MAX];
    struct scale_file f;
    FILE *file = path_of(b->c, "scale", path) ? fopen(path, "re") : NULL;
    if (!file)
        return;
    if (fread(&f, sizeof f, 1, file) == 1 && f.magic == MAGIC && f.identity == b->c->meta.id &&
        f.version == embedded_searchable_version(b->c) && f.checksum == XXH3_64bits(&f, offsetof(struct scale_file, checksum)))
        b->now = f.value;
    fclose(file);
}

static void write_file(const struct embedded_scale *b, const struct store_scale *value)
{
    const struct store_sys *sys = b->c->sys;
    char folder[EMBEDDED_PATH_MAX], path[EMBEDDED_PATH_MAX], aside[EMBEDDED_PATH_MAX];
    struct scale_file f;
    if (embedded_path(folder, b->c->path, "derived", NULL) || !path_of(b->c, "scale", path) ||
        !path_of(b->c, "scale.new", aside) || (sys->mkdir(folder, 0777) && errno != EEXIST))
        return;
    memset(&f, 0, sizeof f);
    f.magic = MAGIC;
    f.identity = b->c->meta.id;
    f.version = embedded_searchable_version(b->c);
    f.value = *value;
    f.checksum = XXH3_64bits(&f, offsetof(struct scale_file, checksum));
    int fd = sys->open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = fd >= 0 && !embedded_write_at(sys, fd, &f, sizeof f, 0, NULL);
    if (fd >= 0)
        close(fd);
    if (!good || sys->rename(aside, path))
        sys->unlink(aside);
}

/* --- measuring -------------------------------------------------------------------------------------------- */

/* A slot that the snapshot sees, by chance; UINT32_MAX: none was hit. */
static uint32_t any_slot(struct sample *s, uint64_t seq)
{
    struct embedded_slots *slots = &s->c->slots;
    uint32_t used = atomic_load_explicit(&slots->used, memory_order_acquire);
    for (unsigned i = 0; used && i < TRIES; i++) {
        uint32_t slot = (uint32_t)(next(s) % used);
        if (embedded_slots_has(slots, slot) && embedded_slot_visible(embedded_slots_at(slots, slot), seq) &&
            embedded_collection_sound(s->c, slot))
            return slot;
    }
    return UINT32_MAX;
}

/* One thing to look for, into `descriptor`. *itemid: its own item, which is no other thing. */
static bool choose(struct sample *s, size_t i, float *descriptor, bool *has_item, int64_t *itemid)
{
    size_t d = s->c->meta.settings.descriptor;
    struct embedded_snapshot snapshot;
    *has_item = !s->past;
    if (s->past) {
        memcpy(descriptor, s->past + i * s->past_count / EMBEDDED_SCALE_SAMPLE * d, d * sizeof *descriptor);
        return true;
    }
    embedded_slots_enter(&s->c->slots, &snapshot);
    uint32_t slot = any_slot(s, snapshot.seq);
    if (slot != UINT32_MAX) {
        s->c->kernel->f16_to_f32((const uint16_t *)(const void *)embedded_vectors_at(&s->c->vectors, slot), descriptor, d);
        *itemid = atomic_load(&embedded_slots_at(&s->c->slots, slot)->itemid);
    }
    embedded_slots_leave(&s->c->slots, &snapshot);
    return slot != UINT32_MAX;
}

/* Smaller is nearer, 0 the same: of a distance as hits have it. */
static float spread_of(const struct embedded_collection *c, float distance)
{
    return c->meta.settings.metric == STORE_L2 ? distance : 1 - distance;
}

static void take_near(struct sample *s, const struct store_records *hits, bool has_item, int64_t itemid)
{
    size_t at = 0;
    if (has_item)
        while (at < hits->count && hits->items[at].itemid == itemid)
            at++;
    else
        at = 1;
    if (at < hits->count)
        s->near[s->near_count++] = spread_of(s->c, hits->items[at].distance);
}

static enum result take_far(struct sample *s, const struct store_query *query, struct err *err)
{
    struct embedded_collection *c = s->c;
    struct embedded_snapshot snapshot;
    float *vector = malloc(embedded_searchable_dimension(c) * sizeof *vector), distance;
    enum result r = vector ? embedded_query_vector(c, query, CLOCK_NO_DEADLINE, vector, err) : err_no_memory(err);
    embedded_slots_enter(&c->slots, &snapshot);
    for (int k = 0; !r && k < 4; k++) {
        uint32_t slot = any_slot(s, snapshot.seq);
        if (slot != UINT32_MAX && embedded_collection_distance(c, vector, slot, &distance)) {
            s->far += (double)spread_of(c, distance);
            s->far_count++;
        }
    }
    embedded_slots_leave(&c->slots, &snapshot);
    free(vector);
    return r;
}

static enum result take_one(struct sample *s, size_t i, float *descriptor, struct err *err)
{
    struct store_records hits = {0};
    bool has_item;
    int64_t itemid = 0;
    if (!choose(s, i, descriptor, &has_item, &itemid))
        return ERR_OK;
    struct store_query query = {
        .vector = descriptor, .dimension = s->c->meta.settings.descriptor, .limit = 2, .group = true};
    enum result r = embedded_collection_find(s->c, &query, clock_now_ms() + SEARCH_MS, &hits, err);
    if (!r)
        take_near(s, &hits, has_item, itemid);
    store_records_free(&hits);
    return r ? r : take_far(s, &query, err);
}

static int compare_floats(const void *x, const void *y)
{
    float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

static bool summarise(struct sample *s, struct store_scale *out)
{
    if (s->near_count < EMBEDDED_SCALE_LEAST / 2 || s->far_count == 0)
        return false;
    qsort(s->near, s->near_count, sizeof *s->near, compare_floats);
    out->near = (double)s->near[s->near_count / 2];
    out->far = s->far / (double)s->far_count;
    /* Where everything is the same picture, or nothing nearer than anything else, there is no scale in it. */
    return out->near > 0.02 * out->far && out->far > 1.01 * out->near;
}

static uint64_t last_count(const struct embedded_scale *b)
{
    return b->now.records ? b->now.records : b->tried;
}

/*
 * While many write at once the searches of a measurement would take a good part of the machine, for a count soon old. Only
 * where there is one already, and of fewer: else it is of no use any more.
 */
static bool can_wait(const struct embedded_scale *b, uint64_t count)
{
    uint64_t last = last_count(b);
    return last && count > last && embedded_collection_crowded(b->c) && clock_now_ms() < b->due_ms + CROWD_MS;
}

/* False: there are many now that write at once. */
static bool measure(struct embedded_scale *b, uint64_t count)
{
    struct embedded_collection *c = b->c;
    struct sample s = {.c = c, .random = 0x9e3779b97f4a7c15u};
    struct store_scale value = {.records = count};
    float *descriptor = malloc(c->meta.settings.descriptor * sizeof *descriptor);
    enum result r = descriptor ? ERR_OK : ERR_NO_MEMORY;
    s.past = embedded_past_copy(&c->past, &s.past_count);
    if (s.past_count < LEARN_QUERIES_MIN) {
        free(s.past);
        s.past = NULL;
    }
    bool waits = false;
    for (size_t i = 0; !r && i < EMBEDDED_SCALE_SAMPLE && !atomic_load(&b->kept.leaving); i++) {
        waits = can_wait(b, count);
        if (waits)
            break;
        r = take_one(&s, i, descriptor, NULL);
    }
    if (!waits)
        b->tried = count;
    if (!r && !waits && !atomic_load(&b->kept.leaving)) {
        if (!summarise(&s, &value))
            value = (struct store_scale){0};
        pthread_mutex_lock(&b->mutex);
        b->now = value;
        pthread_mutex_unlock(&b->mutex);
        write_file(b, &value);
    }
    free(s.past);
    free(descriptor);
    return !waits;
}

static bool due(const struct embedded_scale *b, uint64_t count)
{
    uint64_t last = last_count(b);
    bool other = last == 0 || count >= last + last / 2 || count <= last - last / 3;
    return count >= EMBEDDED_SCALE_LEAST && other;
}

/* Without an index a large collection is not searched for this. */
static bool searchable(const struct embedded_scale *b, uint64_t count)
{
    bool indexed = embedded_graph_enter(&b->c->graph) != NULL;
    if (indexed)
        embedded_graph_leave(&b->c->graph);
    return indexed || count <= SCAN_MAX;
}

static bool keep(struct embedded_kept *kept)
{
    struct embedded_scale *b = (struct embedded_scale *)kept;
    uint64_t count = atomic_load(&b->c->count);
    if (pthread_mutex_trylock(&b->measuring))
        return false;
    bool waits = false;
    if (!due(b, count)) {
        b->due_ms = 0;
    } else if (searchable(b, count)) {
        b->due_ms = b->due_ms ? b->due_ms : clock_now_ms();
        waits = can_wait(b, count) || !measure(b, count);
    }
    if (waits) /* before others get in, for they would sleep as well */
        embedded_collection_nap();
    pthread_mutex_unlock(&b->measuring);
    return waits;
}

/* --- for the collection ----------------------------------------------------------------------------------- */

void embedded_scale_init(
    struct embedded_scale *b, struct embedded_collection *c, struct embedded_keeper *keeper)
{
    *b = (struct embedded_scale){.kept.work = keep, .keeper = keeper, .c = c};
    pthread_mutex_init(&b->measuring, NULL);
    pthread_mutex_init(&b->mutex, NULL);
}

void embedded_scale_start(struct embedded_scale *b)
{
    read_file(b);
    if (b->keeper && b->c->meta.settings.metric != STORE_IP)
        embedded_keeper_join(b->keeper, &b->kept);
}

void embedded_scale_close(struct embedded_scale *b)
{
    if (b->keeper)
        embedded_keeper_leave(b->keeper, &b->kept);
    pthread_mutex_destroy(&b->measuring);
    pthread_mutex_destroy(&b->mutex);
}

void embedded_scale_get(struct embedded_scale *b, struct store_scale *out)
{
    pthread_mutex_lock(&b->mutex);
    *out = b->now;
    pthread_mutex_unlock(&b->mutex);
}
