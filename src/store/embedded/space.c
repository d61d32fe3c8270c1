/*
 * The file projection, all numbers as in memory (little-endian):
 *
 *     header    struct space_header; its checksum is XXH3-64 of the header before it and of all that follows
 *     means     2 × dimension floats
 *     matrix    out × dimension floats
 *     queries   query_count × out floats
 *     drawn     drawn_count × struct embedded_drawn
 *     places    drawn_count × out floats
 *
 * Written aside, fsynced and renamed. It is not among what is derived, though it was made of the descriptors: the past
 * queries that took part are gone, and whoever removes derived/ does not want to lose what was learned. A file that is
 * not whole, byte for byte, or not of this collection is as good as none: the collection is searched untuned.
 */
#include "store/embedded/space.h"

#include "base/clock.h"
#include "learn/adapt.h"
#include "store/embedded/collection.h"
#include "store/store_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stddef.h>
#include <xxhash.h>

#define MAGIC 0x316a6f72706b6c6cu /* "llkproj1" */
#define SEGMENTS (LIMIT_RECORDS / EMBEDDED_SEGMENT)
#define FILE_MAX ((size_t)1 << 31)

struct space_header {
    uint64_t magic, identity, version;
    uint32_t dimension, out, query_count, drawn_count;
    float plain_weight, shrink, weight, floor;
    uint64_t rows, groups, copies;
    struct learn_shape shape;
    uint32_t reserved;
    uint64_t checksum;
};

struct embedded_space_segment {
    _Atomic uint64_t stamps[EMBEDDED_SEGMENT]; /* the write number that the row is of, plus 1 */
    uint16_t rows[];
};

void embedded_space_init(struct embedded_space *s)
{
    *s = (struct embedded_space){0};
    pthread_mutex_init(&s->making, NULL);
}

static void clear(struct embedded_space *s)
{
    learn_projection_free(&s->p);
    free(s->queries);
    free(s->drawn);
    free(s->places);
    s->queries = s->places = NULL;
    s->drawn = NULL;
    s->query_count = s->drawn_count = 0;
}

void embedded_space_free(struct embedded_space *s)
{
    for (size_t i = 0; s->segments && i < SEGMENTS; i++)
        free(atomic_load(&s->segments[i]));
    free(s->segments);
    s->segments = NULL;
    clear(s);
    pthread_mutex_destroy(&s->making);
}

enum result embedded_space_shape(const struct embedded_collection *c, const struct store_tune_options *options,
    struct learn_shape *out, struct err *err)
{
    const struct store_settings *settings = &c->meta.settings;
    *out = (struct learn_shape){.dimension = settings->dimension, .block_count = 1, .blocks = {settings->dimension}};
    if (settings->descriptor > settings->dimension && options->block_count < LEARN_BLOCKS_MAX)
        for (uint32_t i = 0; i < options->block_count; i++) {
            out->blocks[out->block_count++] = options->blocks[i];
            out->dimension += options->blocks[i];
        }
    if (out->dimension == settings->descriptor)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "the pictures of collection \"%s\" were described by another form of its model", c->name);
}

/* --- the file --------------------------------------------------------------------------------------------- */

struct part {
    void *bytes;
    size_t len;
};

static size_t list_parts(struct embedded_space *s, struct part parts[6])
{
    size_t d = s->p.shape.dimension, out = s->p.out;
    parts[0] = (struct part){s->p.mean[LEARN_ROW], d * sizeof(float)};
    parts[1] = (struct part){s->p.mean[LEARN_QUERY], d * sizeof(float)};
    parts[2] = (struct part){s->p.matrix, out * d * sizeof(float)};
    parts[3] = (struct part){s->queries, s->query_count * out * sizeof(float)};
    parts[4] = (struct part){s->drawn, s->drawn_count * sizeof *s->drawn};
    parts[5] = (struct part){s->places, s->drawn_count * out * sizeof(float)};
    return 6;
}

static uint64_t sum_of(const struct space_header *h, const struct part *parts, size_t n)
{
    XXH64_hash_t sum = XXH3_64bits(h, offsetof(struct space_header, checksum));
    for (size_t i = 0; i < n; i++)
        sum = XXH3_64bits_withSeed(parts[i].bytes ? parts[i].bytes : "", parts[i].len, sum);
    return sum;
}

static enum result write_parts(struct embedded_collection *c, int fd, const struct space_header *h,
    const struct part *parts, size_t n, struct err *err)
{
    off_t at = sizeof *h;
    enum result r = embedded_write_at(c->sys, fd, h, sizeof *h, 0, err);
    for (size_t i = 0; !r && i < n; i++) {
        if (parts[i].len)
            r = embedded_write_at(c->sys, fd, parts[i].bytes, parts[i].len, at, err);
        at += (off_t)parts[i].len;
    }
    if (!r && c->sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot write what was learned to disk");
    return r;
}

enum result embedded_space_save(struct embedded_collection *c, const struct embedded_space *given, struct err *err)
{
    char aside[EMBEDDED_PATH_MAX], path[EMBEDDED_PATH_MAX];
    struct embedded_space s = *given;
    struct part parts[6];
    size_t n = list_parts(&s, parts);
    struct space_header h;
    memset(&h, 0, sizeof h);
    h.magic = MAGIC;
    h.identity = c->meta.id;
    h.version = s.version;
    h.dimension = s.p.shape.dimension;
    h.out = s.p.out;
    h.query_count = s.query_count;
    h.drawn_count = s.drawn_count;
    h.plain_weight = s.p.plain_weight;
    h.shrink = s.p.shrink;
    h.weight = s.weight;
    h.floor = s.floor;
    h.rows = s.p.rows;
    h.groups = s.p.groups;
    h.copies = s.p.copies;
    h.shape = s.p.shape;
    h.checksum = sum_of(&h, parts, n);
    enum result r = embedded_path(path, c->path, "projection", err);
    if (!r)
        r = embedded_path(aside, c->path, "projection.new", err);
    if (r)
        return r;
    int fd = c->sys->open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot make the file %s", aside);
    r = write_parts(c, fd, &h, parts, n, err);
    close(fd);
    if (!r && c->sys->rename(aside, path))
        r = err_set_errno(err, errno, "cannot rename %s", aside);
    if (!r)
        r = embedded_sync_folder(c->sys, c->path, err);
    if (r)
        c->sys->unlink(aside);
    return r;
}

enum result embedded_space_remove(struct embedded_collection *c, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    enum result r = embedded_path(path, c->path, "projection", err);
    if (!r && c->sys->unlink(path) && errno != ENOENT)
        r = err_set_errno(err, errno, "cannot remove the file %s", path);
    return r;
}

static bool read_whole(int fd, void *to, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = read(fd, (char *)to + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static bool makes_sense(const struct embedded_collection *c, const struct space_header *h)
{
    const struct learn_shape *shape = &h->shape;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shape->block_count && i < LEARN_BLOCKS_MAX; i++)
        sum += shape->blocks[i];
    return h->magic == MAGIC && h->identity == c->meta.id && shape->block_count <= LEARN_BLOCKS_MAX &&
           sum == shape->dimension && h->dimension == shape->dimension &&
           shape->dimension == c->meta.settings.descriptor && h->out >= 1 && h->out <= LEARN_OUT_MAX &&
           h->query_count <= LIMIT_PAST_QUERIES && h->drawn_count <= LIMIT_PAST_QUERIES;
}

/* The space of a file that is open; false: not one of ours. */
static bool read_space(const struct embedded_collection *c, int fd, struct embedded_space *s)
{
    struct space_header h;
    struct part parts[6];
    if (!read_whole(fd, &h, sizeof h) || !makes_sense(c, &h))
        return false;
    size_t d = h.dimension, out = h.out;
    s->p = (struct learn_projection){.shape = h.shape, .plain_weight = h.plain_weight, .shrink = h.shrink, .out = h.out,
        .rows = h.rows, .groups = h.groups, .copies = h.copies};
    s->weight = h.weight;
    s->floor = h.floor;
    s->version = h.version;
    s->query_count = h.query_count;
    s->drawn_count = h.drawn_count;
    s->p.mean[0] = malloc(d * sizeof(float));
    s->p.mean[1] = malloc(d * sizeof(float));
    s->p.matrix = malloc(out * d * sizeof(float));
    s->queries = malloc((h.query_count + 1u) * out * sizeof(float));
    s->drawn = malloc((h.drawn_count + 1u) * sizeof *s->drawn);
    s->places = malloc((h.drawn_count + 1u) * out * sizeof(float));
    if (!s->p.mean[0] || !s->p.mean[1] || !s->p.matrix || !s->queries || !s->drawn || !s->places)
        return false;
    size_t n = list_parts(s, parts);
    for (size_t i = 0; i < n; i++)
        if (!read_whole(fd, parts[i].bytes, parts[i].len))
            return false;
    return sum_of(&h, parts, n) == h.checksum;
}

void embedded_space_load(struct embedded_collection *c)
{
    char path[EMBEDDED_PATH_MAX];
    struct embedded_space *s = &c->space;
    if (c->meta.settings.metric != STORE_L2 || embedded_path(path, c->path, "projection", NULL))
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool good = read_space(c, fd, s);
    close(fd);
    if (good)
        s->segments = calloc(SEGMENTS, sizeof *s->segments);
    if (!good || !s->segments)
        clear(s);
}

/* --- rows ------------------------------------------------------------------------------------------------- */

static struct embedded_space_segment *segment_of(struct embedded_space *s, uint32_t slot)
{
    _Atomic(struct embedded_space_segment *) *at = &s->segments[slot / EMBEDDED_SEGMENT];
    struct embedded_space_segment *there = atomic_load_explicit(at, memory_order_acquire);
    if (there)
        return there;
    size_t bytes = sizeof *there + (size_t)EMBEDDED_SEGMENT * (s->p.out + 1) * sizeof(uint16_t);
    struct embedded_space_segment *made = calloc(1, bytes);
    if (made && !atomic_compare_exchange_strong(at, &there, made)) {
        free(made);
        return there;
    }
    return made;
}

static const float *drawn_place(const struct embedded_space *s, int64_t fileid, uint64_t number)
{
    size_t lo = 0, hi = s->drawn_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->drawn[mid].fileid < fileid)
            lo = mid + 1;
        else
            hi = mid;
    }
    bool found = lo < s->drawn_count && s->drawn[lo].fileid == fileid && s->drawn[lo].number == number;
    return found ? s->places + lo * s->p.out : NULL;
}

/* The rows of n slots, from their descriptors. `making` is held. */
static enum result make_rows(struct embedded_collection *c, const uint32_t *slots, size_t n, struct err *err)
{
    struct embedded_space *s = &c->space;
    uint32_t d = s->p.shape.dimension, out = s->p.out;
    float *x = calloc(n * d, sizeof *x), *y = malloc(n * (out + 1) * sizeof *y), *hubs = calloc(n, sizeof *hubs);
    enum result r = x && y && hubs ? ERR_OK : err_no_memory(err);
    for (size_t i = 0; !r && i < n; i++)
        c->kernel->f16_to_f32(
            (const uint16_t *)(const void *)embedded_vectors_at(&c->vectors, slots[i]), x + i * d, d);
    if (!r)
        r = learn_project(&s->p, LEARN_ROW, x, n, y, err);
    for (size_t i = 0; !r && i < n; i++) {
        const struct embedded_slot *slot = embedded_slots_at(&c->slots, slots[i]);
        const float *place = drawn_place(s, slot->fileid, slot->number);
        if (place)
            memcpy(y + i * out, place, out * sizeof *y);
    }
    struct learn_background background = {s->queries, s->query_count, out};
    if (!r && s->query_count && s->weight > 0)
        r = learn_hubness(&background, y, n, hubs, err);
    for (size_t i = 0; !r && i < n; i++) {
        struct embedded_space_segment *segment = segment_of(s, slots[i]);
        size_t at = slots[i] % EMBEDDED_SEGMENT;
        if (!segment) {
            r = err_no_memory(err);
            break;
        }
        float z = s->query_count ? sqrtf(fmaxf(0, s->weight * (hubs[i] - s->floor))) : 0;
        uint16_t *row = segment->rows + at * (out + 1);
        c->kernel->f32_to_f16(y + i * out, row, out);
        c->kernel->f32_to_f16(&z, row + out, 1);
        atomic_store_explicit(&segment->stamps[at], embedded_slots_at(&c->slots, slots[i])->number + 1,
            memory_order_release);
    }
    free(x);
    free(y);
    free(hubs);
    return r;
}

const uint16_t *embedded_space_row(struct embedded_collection *c, uint32_t slot)
{
    struct embedded_space *s = &c->space;
    struct embedded_space_segment *segment = segment_of(s, slot);
    size_t at = slot % EMBEDDED_SEGMENT;
    uint64_t stamp = embedded_slots_at(&c->slots, slot)->number + 1;
    enum result r = ERR_OK;
    if (!segment)
        return NULL;
    if (atomic_load_explicit(&segment->stamps[at], memory_order_acquire) != stamp) {
        pthread_mutex_lock(&s->making);
        if (atomic_load_explicit(&segment->stamps[at], memory_order_acquire) != stamp)
            r = make_rows(c, &slot, 1, NULL);
        pthread_mutex_unlock(&s->making);
    }
    return r ? NULL : segment->rows + at * (s->p.out + 1);
}

static bool is_made(const struct embedded_collection *c, uint32_t slot)
{
    struct embedded_space_segment *segment =
        atomic_load_explicit(&c->space.segments[slot / EMBEDDED_SEGMENT], memory_order_acquire);
    uint64_t stamp = embedded_slots_at(&c->slots, slot)->number + 1;
    return segment && atomic_load_explicit(&segment->stamps[slot % EMBEDDED_SEGMENT], memory_order_acquire) == stamp;
}

/* `making` is held. */
static void make_missing(struct embedded_collection *c, const uint32_t *slots, size_t count)
{
    uint32_t missing[EMBEDDED_SPACE_SLICE];
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_made(c, slots[i]) && embedded_collection_sound(c, slots[i]))
            missing[n++] = slots[i];
    if (n && make_rows(c, missing, n, NULL))
        return; /* they are made when they are needed */
}

void embedded_space_make(struct embedded_collection *c, const uint32_t *slots, size_t count)
{
    pthread_mutex_lock(&c->space.making);
    make_missing(c, slots, count);
    pthread_mutex_unlock(&c->space.making);
}

bool embedded_space_fill(struct embedded_collection *c)
{
    uint32_t slots[EMBEDDED_SPACE_SLICE], used = atomic_load_explicit(&c->slots.used, memory_order_acquire);
    struct embedded_snapshot snapshot;
    size_t n = 0;
    if (atomic_load(&c->space.filled) >= used)
        return false;
    embedded_slots_enter(&c->slots, &snapshot);
    pthread_mutex_lock(&c->space.making);
    uint32_t i = atomic_load(&c->space.filled);
    for (; i < used && n < EMBEDDED_SPACE_SLICE; i++)
        if (embedded_slots_has(&c->slots, i) &&
            embedded_slot_visible(embedded_slots_at(&c->slots, i), snapshot.seq))
            slots[n++] = i;
    make_missing(c, slots, n);
    atomic_store(&c->space.filled, i);
    pthread_mutex_unlock(&c->space.making);
    embedded_slots_leave(&c->slots, &snapshot);
    return i < used;
}

enum result embedded_space_fill_all(struct embedded_collection *c, int64_t deadline_ms, struct err *err)
{
    while (embedded_space_fill(c))
        if (clock_passed(deadline_ms))
            return err_set(err, ERR_TIMEOUT,
                "what collection \"%s\" has learned is being applied to its records: %" PRIu32 " of %" PRIu32
                " so far; ask again in a moment",
                c->name, atomic_load(&c->space.filled), atomic_load(&c->slots.used));
    return ERR_OK;
}

enum result embedded_space_place(
    struct embedded_collection *c, const struct embedded_row *row, float *out, struct err *err)
{
    const struct embedded_space *s = &c->space;
    const float *place = drawn_place(s, row->fileid, row->number);
    if (place) {
        memcpy(out, place, s->p.out * sizeof *out);
        return ERR_OK;
    }
    float *descriptor = malloc(s->p.shape.dimension * sizeof *descriptor);
    if (!descriptor)
        return err_no_memory(err);
    c->kernel->f16_to_f32((const uint16_t *)(const void *)embedded_vectors_at(&c->vectors, row->slot), descriptor,
        s->p.shape.dimension);
    enum result r = learn_project(&s->p, LEARN_ROW, descriptor, 1, out, err);
    free(descriptor);
    return r;
}

void embedded_space_round(const struct embedded_collection *c, float *vector)
{
    uint16_t halves[LEARN_OUT_MAX];
    uint32_t out = c->space.p.out;
    c->kernel->f32_to_f16(vector, halves, out);
    c->kernel->f16_to_f32(halves, vector, out);
    vector[out] = 0;
}

enum result embedded_space_query(
    const struct embedded_collection *c, const float *vector, bool whole, float *out, struct err *err)
{
    const struct learn_projection *p = &c->space.p;
    enum result r = whole ? learn_project(p, LEARN_QUERY, vector, 1, out, err)
                          : learn_project_plain(p, LEARN_QUERY, vector, 1, out, err);
    if (!r)
        embedded_space_round(c, out);
    return r;
}
