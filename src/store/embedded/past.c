#include "store/embedded/past.h"

#include "store/embedded/collection.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC 0x317473706b6c6c75u

struct past_header {
    uint64_t magic, identity, seen;
    uint32_t dimension, count;
    uint64_t checksum; /* XXH3-64 of the rows, seeded with the four before */
};

static size_t dimension_of(const struct embedded_past *p)
{
    return p->c->meta.settings.descriptor;
}

/* Enough came since the file was written. `mutex` is held. */
static bool due(const struct embedded_past *p)
{
    return p->seen >= EMBEDDED_PAST_FIRST && p->seen >= p->saved + p->saved / 2;
}

static bool keep(struct embedded_kept *kept)
{
    struct embedded_past *p = (struct embedded_past *)kept;
    pthread_mutex_lock(&p->mutex);
    bool wanted = due(p);
    pthread_mutex_unlock(&p->mutex);
    if (wanted)
        embedded_past_save(p);
    return false;
}

void embedded_past_init(struct embedded_past *p, struct embedded_collection *c, struct embedded_keeper *keeper)
{
    const char *wanted = getenv("LOOKALIKE_PAST_QUERIES");
    *p = (struct embedded_past){.kept.work = keep,
        .keeper = keeper,
        .c = c,
        .off = wanted && strcmp(wanted, "0") == 0,
        .random = 0x9e3779b97f4a7c15u};
    pthread_mutex_init(&p->saving, NULL);
    pthread_mutex_init(&p->mutex, NULL);
}

static uint64_t sum_of(const struct past_header *h, const uint16_t *rows)
{
    return XXH3_64bits_withSeed(rows, (size_t)h->count * h->dimension * sizeof *rows, h->seen ^ h->identity);
}

static void read_file(struct embedded_past *p, FILE *file)
{
    struct past_header h;
    bool good = fread(&h, sizeof h, 1, file) == 1 && h.magic == MAGIC && h.identity == p->c->meta.id &&
                h.dimension == dimension_of(p) && h.count <= LIMIT_PAST_QUERIES;
    uint16_t *rows = good ? malloc(LIMIT_PAST_QUERIES * dimension_of(p) * sizeof *rows) : NULL;
    good = rows && fread(rows, h.dimension * sizeof *rows, h.count, file) == h.count && sum_of(&h, rows) == h.checksum;
    if (!good) {
        free(rows);
        return;
    }
    p->rows = rows;
    p->count = h.count;
    p->seen = p->saved = h.seen;
    p->random ^= h.checksum | 1;
}

void embedded_past_load(struct embedded_past *p)
{
    char path[EMBEDDED_PATH_MAX];
    if (p->off || embedded_path(path, p->c->path, "queries", NULL))
        return;
    FILE *file = fopen(path, "re");
    if (file) {
        read_file(p, file);
        fclose(file);
    }
    if (p->keeper)
        embedded_keeper_join(p->keeper, &p->kept);
}

static bool write_file(struct embedded_past *p, struct past_header *h, const uint16_t *rows)
{
    const struct store_sys *sys = p->c->sys;
    char path[EMBEDDED_PATH_MAX], aside[EMBEDDED_PATH_MAX];
    if (embedded_path(path, p->c->path, "queries", NULL) || embedded_path(aside, p->c->path, "queries.new", NULL))
        return false;
    h->checksum = sum_of(h, rows);
    size_t bytes = (size_t)h->count * h->dimension * sizeof *rows;
    int fd = sys->open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = fd >= 0 && !embedded_write_at(sys, fd, h, sizeof *h, 0, NULL) &&
                !embedded_write_at(sys, fd, rows, bytes, sizeof *h, NULL) && !sys->fsync(fd);
    if (fd >= 0)
        close(fd);
    if (good && !sys->rename(aside, path))
        return true;
    sys->unlink(aside);
    return false;
}

void embedded_past_save(struct embedded_past *p)
{
    uint16_t *rows = NULL;
    pthread_mutex_lock(&p->saving);
    pthread_mutex_lock(&p->mutex);
    struct past_header h = {MAGIC, p->c->meta.id, p->seen, (uint32_t)dimension_of(p), p->count, 0};
    size_t bytes = (size_t)h.count * h.dimension * sizeof *rows;
    if (p->rows && p->seen != p->saved)
        rows = malloc(bytes + 1);
    if (rows)
        memcpy(rows, p->rows, bytes);
    pthread_mutex_unlock(&p->mutex);
    if (rows) {
        /* Whether it worked or not: a disk that is full is not asked again at every search. */
        (void)write_file(p, &h, rows);
        pthread_mutex_lock(&p->mutex);
        p->saved = h.seen;
        pthread_mutex_unlock(&p->mutex);
    }
    free(rows);
    pthread_mutex_unlock(&p->saving);
}

void embedded_past_close(struct embedded_past *p)
{
    if (p->keeper)
        embedded_keeper_leave(p->keeper, &p->kept);
    embedded_past_save(p);
    free(p->rows);
    p->rows = NULL;
    pthread_mutex_destroy(&p->mutex);
    pthread_mutex_destroy(&p->saving);
}

void embedded_past_add(struct embedded_past *p, const float *descriptor)
{
    size_t d = dimension_of(p);
    if (p->off)
        return;
    pthread_mutex_lock(&p->mutex);
    if (!p->rows)
        p->rows = malloc(LIMIT_PAST_QUERIES * d * sizeof *p->rows);
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    uint64_t at = p->seen < LIMIT_PAST_QUERIES ? p->seen : p->random % (p->seen + 1);
    if (p->rows && at < LIMIT_PAST_QUERIES) {
        p->c->kernel->f32_to_f16(descriptor, p->rows + at * d, d);
        p->count = p->seen < LIMIT_PAST_QUERIES ? (uint32_t)p->seen + 1 : LIMIT_PAST_QUERIES;
    }
    p->seen += p->rows != NULL;
    bool wake = p->keeper && due(p);
    pthread_mutex_unlock(&p->mutex);
    if (wake)
        embedded_keeper_wake(p->keeper);
}

float *embedded_past_copy(struct embedded_past *p, size_t *count)
{
    size_t d = dimension_of(p);
    float *out = NULL;
    *count = 0;
    pthread_mutex_lock(&p->mutex);
    if (p->count)
        out = malloc(p->count * d * sizeof *out);
    if (out) {
        p->c->kernel->f16_to_f32(p->rows, out, p->count * d);
        *count = p->count;
    }
    pthread_mutex_unlock(&p->mutex);
    return out;
}
