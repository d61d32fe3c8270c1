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

void embedded_past_init(struct embedded_past *p)
{
    const char *wanted = getenv("LOOKALIKE_PAST_QUERIES");
    *p = (struct embedded_past){.off = wanted && strcmp(wanted, "0") == 0, .random = 0x9e3779b97f4a7c15u};
    pthread_mutex_init(&p->mutex, NULL);
}

static uint64_t sum_of(const struct past_header *h, const uint16_t *rows)
{
    return XXH3_64bits_withSeed(rows, (size_t)h->count * h->dimension * sizeof *rows, h->seen ^ h->identity);
}

static bool path_of(const struct embedded_collection *c, const char *name, char *out)
{
    char folder[EMBEDDED_PATH_MAX];
    if (embedded_path(folder, c->path, "derived", NULL))
        return false;
    c->sys->mkdir(folder, 0777);
    return !embedded_path(out, folder, name, NULL);
}

static size_t bytes_of(const struct embedded_collection *c)
{
    return (size_t)LIMIT_PAST_QUERIES * c->meta.settings.descriptor * sizeof(uint16_t);
}

void embedded_past_load(struct embedded_collection *c)
{
    char path[EMBEDDED_PATH_MAX];
    struct past_header h;
    struct embedded_past *p = &c->past;
    FILE *file = !p->off && path_of(c, "queries", path) ? fopen(path, "re") : NULL;
    if (!file)
        return;
    bool good = fread(&h, sizeof h, 1, file) == 1 && h.magic == MAGIC && h.identity == c->meta.id &&
                h.dimension == c->meta.settings.descriptor && h.count <= LIMIT_PAST_QUERIES;
    uint16_t *rows = good ? malloc(bytes_of(c)) : NULL;
    good = rows && fread(rows, h.dimension * sizeof *rows, h.count, file) == h.count && sum_of(&h, rows) == h.checksum;
    fclose(file);
    if (!good) {
        free(rows);
        return;
    }
    p->rows = rows;
    p->count = h.count;
    p->seen = h.seen;
    p->random ^= h.checksum | 1;
}

void embedded_past_close(struct embedded_collection *c)
{
    char path[EMBEDDED_PATH_MAX], aside[EMBEDDED_PATH_MAX];
    struct embedded_past *p = &c->past;
    if (p->changed && path_of(c, "queries", path) && path_of(c, "queries.new", aside)) {
        struct past_header h = {MAGIC, c->meta.id, p->seen, c->meta.settings.descriptor, p->count, 0};
        size_t bytes = (size_t)h.count * h.dimension * sizeof *p->rows;
        h.checksum = sum_of(&h, p->rows);
        int fd = c->sys->open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        bool good = fd >= 0 && !embedded_write_at(c->sys, fd, &h, sizeof h, 0, NULL) &&
                    !embedded_write_at(c->sys, fd, p->rows, bytes, sizeof h, NULL) && !c->sys->fsync(fd);
        if (fd >= 0)
            close(fd);
        if (!good || c->sys->rename(aside, path))
            c->sys->unlink(aside);
    }
    free(p->rows);
    p->rows = NULL;
    pthread_mutex_destroy(&p->mutex);
}

void embedded_past_add(struct embedded_collection *c, const float *descriptor)
{
    struct embedded_past *p = &c->past;
    uint32_t d = c->meta.settings.descriptor;
    if (p->off)
        return;
    pthread_mutex_lock(&p->mutex);
    if (!p->rows)
        p->rows = malloc(bytes_of(c));
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    uint64_t at = p->seen < LIMIT_PAST_QUERIES ? p->seen : p->random % (p->seen + 1);
    if (p->rows && at < LIMIT_PAST_QUERIES) {
        c->kernel->f32_to_f16(descriptor, p->rows + at * d, d);
        p->count = p->seen < LIMIT_PAST_QUERIES ? (uint32_t)p->seen + 1 : LIMIT_PAST_QUERIES;
        p->changed = true;
    }
    p->seen += p->rows != NULL;
    pthread_mutex_unlock(&p->mutex);
}

float *embedded_past_copy(struct embedded_collection *c, size_t *count)
{
    struct embedded_past *p = &c->past;
    size_t d = c->meta.settings.descriptor;
    float *out = NULL;
    *count = 0;
    pthread_mutex_lock(&p->mutex);
    if (p->count)
        out = malloc(p->count * d * sizeof *out);
    if (out) {
        c->kernel->f16_to_f32(p->rows, out, p->count * d);
        *count = p->count;
    }
    pthread_mutex_unlock(&p->mutex);
    return out;
}
