/*
 * The file is written from a living index, without stopping anybody: a search-like mark (epoch.c) keeps every
 * node that can be read from becoming another, and a list of links may be a mixture of two moments. So the
 * file is not of one moment, which its stamps make up for; see index_save() in index.h. Rejected: stopping
 * the writers for seconds, and a copy in memory.
 */
#include "index/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4096

static uint64_t rotl(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

uint64_t index_file_checksum(const void *bytes, size_t len, uint64_t seed)
{
    const uint64_t p = 0x9e3779b185ebca87u, q = 0xc2b2ae3d27d4eb4fu;
    uint64_t lane[4] = {seed + p, seed ^ q, seed, seed - p}, word[4];
    const char *at = bytes;
    for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
        memcpy(word, at, sizeof word);
        for (unsigned i = 0; i < 4; i++)
            lane[i] = rotl(lane[i] + word[i] * q, 31) * p;
    }
    uint64_t sum = rotl(lane[0], 1) + rotl(lane[1], 7) + rotl(lane[2], 12) + rotl(lane[3], 18);
    for (; len >= 8; at += 8, len -= 8) {
        memcpy(word, at, 8);
        sum = rotl(sum ^ word[0] * q, 27) * p + q;
    }
    sum = (sum ^ (sum >> 29)) * q;
    return sum ^ (sum >> 32);
}

/* A file while it is written. */
struct writing {
    const struct index_calls *calls;
    const _Atomic bool *stop;
    const char *path;
    int fd;
    off_t at;
};

static enum result write_all(struct writing *w, const void *bytes, size_t len, struct err *err)
{
    const char *p = bytes;
    while (len) {
        ssize_t n = w->calls->pwrite(w->fd, p, len, w->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : ENOSPC, "Cannot write the index file %s", w->path);
        p += n;
        w->at += n;
        len -= (size_t)n;
    }
    return ERR_OK;
}

static void copy_links(const struct index *ix, uint32_t node, uint32_t used, uint32_t *out)
{
    const struct index_links *l = index_links(ix, node);
    uint32_t n = index_link_count(l), count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = index_link(l, i);
        if (to < used)
            out[1 + count++] = to;
    }
    out[0] = count;
}

/* One block into `out`, which is zeroed. */
static void copy_block(const struct index *ix, uint32_t first, uint32_t used, char *out)
{
    const struct index_shape *s = &ix->shape;
    char *codes = out, *heads = codes + (size_t)INDEX_BLOCK * s->padded;
    char *links = heads + (size_t)INDEX_BLOCK * s->head_stride;
    struct index_file_row *rows =
        (struct index_file_row *)(void *)(links + INDEX_BLOCK * sizeof(struct index_links));
    for (uint32_t i = 0; i < INDEX_BLOCK && first + i < used; i++) {
        uint32_t node = first + i;
        const struct index_meta *m = index_meta(ix, node);
        enum index_state state = index_state(m);
        if (state < INDEX_WAITING || state == INDEX_DOOMED)
            continue;
        bool sketched = atomic_load_explicit(&m->sketched, memory_order_acquire);
        rows[i] = (struct index_file_row){.item = atomic_load(&m->item),
            .stamp = m->stamp,
            .slot = m->slot,
            .state = state == INDEX_LINKED ? INDEX_LINKED : INDEX_WAITING,
            .dead = atomic_load(&m->dead),
            .sketched = sketched};
        memcpy(codes + (size_t)i * s->padded, index_code(ix, node), s->padded);
        const struct index_head *h = index_head(ix, node);
        char *to = heads + (size_t)i * s->head_stride;
        /* Without a sketch only what the code's encoder wrote: the rest may be on its way. */
        memcpy(to, h, sketched ? sizeof *h + s->padded / 8 : offsetof(struct index_head, far2));
        if (state == INDEX_LINKED)
            copy_links(ix, node, used, (uint32_t *)(void *)(links + i * sizeof(struct index_links)));
    }
}

static enum result write_part(struct writing *w, char *part, size_t len, uint64_t seed, struct err *err)
{
    uint64_t sum = index_file_checksum(part, len, seed);
    memcpy(part + len, &sum, sizeof sum);
    if (w->stop && atomic_load(w->stop))
        return err_set(err, ERR_BUSY, "The index file %s was not finished.", w->path);
    return write_all(w, part, len + sizeof sum, err);
}

static enum result write_file(
    const struct index *ix, struct writing *w, struct index_file_header *h, struct err *err)
{
    size_t start = index_file_start_bytes(&ix->shape), block = index_file_block_bytes(&ix->shape);
    size_t room = (start > block ? start : block) + sizeof(uint64_t);
    char *part = calloc(1, room);
    if (!part)
        return err_no_memory(err);
    h->checksum = index_file_checksum(h, offsetof(struct index_file_header, checksum), 0);
    enum result r = write_all(w, h, sizeof *h, err);
    if (h->graph)
        memcpy(part, ix->centre, ix->shape.padded * sizeof *ix->centre);
    uint32_t *entries = (uint32_t *)(void *)(part + ix->shape.padded * sizeof *ix->centre);
    for (uint32_t i = 0; i < h->entry_count; i++)
        entries[i] = atomic_load(&ix->entries[i]);
    if (r == ERR_OK)
        r = write_part(w, part, start, index_file_seed(h, 0), err);
    for (uint32_t first = 0, number = 1; r == ERR_OK && first < h->used; first += INDEX_BLOCK, number++) {
        memset(part, 0, block);
        copy_block(ix, first, h->used, part);
        r = write_part(w, part, block, index_file_seed(h, number), err);
    }
    free(part);
    return r;
}

static enum result sync_folder(const struct index_saving *s, struct err *err)
{
    char folder[PATH_ROOM];
    const char *slash = strrchr(s->path, '/');
    int n = slash ? snprintf(folder, sizeof folder, "%.*s", (int)(slash - s->path) + 1, s->path)
                  : snprintf(folder, sizeof folder, ".");
    int fd = n > 0 && (size_t)n < sizeof folder
                 ? s->calls->open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
                 : -1;
    if (fd < 0)
        return err_set_errno(err, errno, "Cannot open the folder of the index file %s", s->path);
    int failed = s->calls->fsync(fd) ? errno : 0;
    close(fd);
    return failed ? err_set_errno(err, failed, "Cannot write the folder of the index file %s", s->path)
                  : ERR_OK;
}

enum result index_save_as(struct index *ix, const struct index_saving *s, struct err *err)
{
    char aside[PATH_ROOM];
    int n = snprintf(aside, sizeof aside, "%s.new", s->path);
    if (n < 0 || (size_t)n >= sizeof aside)
        return err_set(
            err, ERR_INVALID, "The name of the index file is longer than %zu bytes.", sizeof aside - 5);
    struct writing w = {.calls = s->calls, .stop = s->stop, .path = aside};
    w.fd = s->calls->open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w.fd < 0)
        return err_set_errno(err, errno, "Cannot make the index file %s", aside);
    unsigned place = index_enter(ix);
    struct index_file_header h = {.magic = INDEX_FILE_MAGIC,
        .version = INDEX_FILE_VERSION,
        .metric = (uint32_t)ix->settings.metric,
        .dimension = ix->shape.dimension,
        .graph = atomic_load(&ix->graph),
        .entry_count = atomic_load(&ix->entry_count),
        .identity = s->identity,
        .generation = s->generation,
        .links = INDEX_LINKS};
    h.used = index_top(ix);
    enum result r = write_file(ix, &w, &h, err);
    index_leave(ix, place);
    if (r == ERR_OK && s->calls->fsync(w.fd))
        r = err_set_errno(err, errno, "Cannot write the index file %s to disk", aside);
    if (close(w.fd) && r == ERR_OK)
        r = err_set_errno(err, errno, "Cannot write the index file %s", aside);
    if (r == ERR_OK && s->calls->rename(aside, s->path))
        r = err_set_errno(err, errno, "Cannot rename the index file %s", aside);
    if (r != ERR_OK && s->calls->unlink(aside)) {
        /* It is written over by the next save. */
    }
    return r == ERR_OK ? sync_folder(s, err) : r;
}

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

enum result index_save(
    struct index *ix, const char *path, uint64_t identity, uint64_t generation, struct err *err)
{
    static const struct index_calls real = {real_open, pwrite, fsync, rename, unlink};
    struct index_saving s = {.path = path, .identity = identity, .generation = generation, .calls = &real};
    return index_save_as(ix, &s, err);
}
