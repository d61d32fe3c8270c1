/*
 * The file is mapped, each part is checked and copied to where nodes live, and the mapping is given up.
 * Copying costs a tenth of a second for each half gigabyte; for that nodes stand in huge pages, a file that
 * another program cuts short later cannot kill the process, and what was checked is what is used. Rejected:
 * working in a private mapping.
 */
#include "index/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct source {
    const char *path;
    const char *bytes;
    size_t len;
    struct index_file_header header;
};

static enum result damaged(const struct source *s, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "The index file %s %s; it has to be built anew.", s->path, what);
}

static enum result map_file(struct source *s, struct err *err)
{
    struct stat st;
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "There is no index file %s.", s->path)
                               : err_set_errno(err, errno, "Cannot open the index file %s", s->path);
    enum result r = ERR_OK;
    if (fstat(fd, &st))
        r = err_set_errno(err, errno, "Cannot read the index file %s", s->path);
    else if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof s->header)
        r = damaged(s, "is too short", err);
    if (r == ERR_OK) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            r = err_set_errno(err, errno, "Cannot map the index file %s", s->path);
        } else {
            s->bytes = p;
            s->len = (size_t)st.st_size;
            (void)madvise(p, s->len, MADV_SEQUENTIAL);
        }
    }
    close(fd);
    return r;
}

static enum result check_header(
    struct source *s, const struct index_settings *settings, uint64_t identity, struct err *err)
{
    struct index_file_header *h = &s->header;
    struct index_shape shape;
    memcpy(h, s->bytes, sizeof *h);
    if (h->magic != INDEX_FILE_MAGIC || h->version != INDEX_FILE_VERSION || h->links != INDEX_LINKS)
        return damaged(s, "is of another version or no index file", err);
    if (h->checksum != index_file_checksum(h, offsetof(struct index_file_header, checksum), 0))
        return damaged(s, "is damaged in its header", err);
    if (h->identity != identity || h->dimension != settings->dimension ||
        h->metric != (uint32_t)settings->metric)
        return damaged(s, "belongs to another collection", err);
    index_shape_init(&shape, h->dimension);
    size_t blocks = ((size_t)h->used + INDEX_BLOCK - 1) / INDEX_BLOCK;
    size_t len = sizeof *h + index_file_start_bytes(&shape) + sizeof(uint64_t) +
                 blocks * (index_file_block_bytes(&shape) + sizeof(uint64_t));
    if (h->used > INDEX_CHUNKS * INDEX_CHUNK || h->entry_count > INDEX_ENTRIES || s->len != len)
        return damaged(s, "has not the length it should have", err);
    return ERR_OK;
}

/* The part at *at, checked; *at moves behind it. */
static enum result next_part(
    const struct source *s, size_t *at, size_t len, uint32_t number, const char **out, struct err *err)
{
    uint64_t sum;
    memcpy(&sum, s->bytes + *at + len, sizeof sum);
    if (sum != index_file_checksum(s->bytes + *at, len, index_file_seed(&s->header, number)))
        return damaged(s, "is damaged", err);
    *out = s->bytes + *at;
    *at += len + sizeof sum;
    return ERR_OK;
}

static enum result take_row(struct index *ix, const struct source *s, uint32_t node,
    const struct index_file_row *row, struct err *err)
{
    struct index_meta *m = index_meta(ix, node);
    if (row->state == INDEX_FREE)
        return ERR_OK;
    enum result r = index_slots_room(ix, row->slot, err);
    if (r != ERR_OK)
        return r;
    bool dead = row->dead;
    uint32_t old = index_node_of(ix, row->slot);
    if (!dead && old != INDEX_NONE) {
        /* A row was replaced while the file was written, and both are in it: the caller will miss the stamp.
         */
        atomic_store(&index_meta(ix, old)->dead, 1);
        atomic_fetch_sub(&ix->live, 1);
        atomic_fetch_add(&ix->dead, 1);
    }
    atomic_store(&m->item, row->item);
    m->stamp = row->stamp;
    m->slot = row->slot;
    atomic_store(&m->dead, dead);
    atomic_store(&m->sketched, row->sketched);
    atomic_store(&m->state, row->state == INDEX_LINKED && s->header.graph ? INDEX_LINKED : INDEX_WAITING);
    atomic_fetch_add(dead ? &ix->dead : &ix->live, 1);
    if (!dead)
        index_map(ix, row->slot, node);
    return ERR_OK;
}

static enum result take_block(
    struct index *ix, const struct source *s, uint32_t first, const char *part, struct err *err)
{
    const struct index_shape *shape = &ix->shape;
    const char *heads = part + (size_t)INDEX_BLOCK * shape->padded;
    const char *links = heads + (size_t)INDEX_BLOCK * shape->head_stride;
    const char *rows = links + INDEX_BLOCK * sizeof(struct index_links);
    for (uint32_t i = 0; i < INDEX_BLOCK && first + i < s->header.used; i++) {
        uint32_t node = first + i;
        struct index_file_row row;
        enum result r = index_nodes_room(ix, node, err);
        if (r != ERR_OK)
            return r;
        memcpy(index_code(ix, node), part + (size_t)i * shape->padded, shape->padded);
        memcpy(index_head(ix, node), heads + (size_t)i * shape->head_stride, shape->head_stride);
        memcpy(index_links(ix, node), links + i * sizeof(struct index_links), sizeof(struct index_links));
        memcpy(&row, rows + i * sizeof row, sizeof row);
        if ((r = take_row(ix, s, node, &row, err)) != ERR_OK)
            return r;
    }
    return ERR_OK;
}

/* Leave out links to what is not linked, and count. */
static void mend_links(struct index *ix, uint32_t node)
{
    struct index_links *l = index_links(ix, node);
    uint32_t n = index_link_count(l), kept = 0;
    if (index_state(index_meta(ix, node)) != INDEX_LINKED)
        n = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = index_link(l, i);
        bool twice = false;
        for (uint32_t j = 0; j < kept; j++)
            twice |= index_link(l, j) == to;
        if (twice || to == node || to >= atomic_load(&ix->used) ||
            index_state(index_meta(ix, to)) != INDEX_LINKED)
            continue;
        atomic_store(&l->to[kept++], to);
        atomic_fetch_add(&index_meta(ix, to)->indegree, 1);
    }
    atomic_store(&l->count, kept);
}

/* States, counts and lists that follow from the rows. */
static void settle_nodes(struct index *ix)
{
    uint32_t used = atomic_load(&ix->used), mark = used;
    index_all_taken(ix);
    for (uint32_t node = 0; node < used; node++) {
        struct index_meta *m = index_meta(ix, node);
        mend_links(ix, node);
        switch (index_state(m)) {
        case INDEX_LINKED:
            atomic_fetch_add(&ix->linked, 1);
            break;
        case INDEX_WAITING:
            if (atomic_load(&m->dead)) {
                atomic_store(&m->state, INDEX_DOOMED);
                break;
            }
            atomic_fetch_add(&ix->waiting, 1);
            mark = mark < node ? mark : node;
            break;
        default:
            index_give(ix, &node, 1);
        }
    }
    atomic_store(&ix->watermark, mark);
}

static void take_entries(struct index *ix, const struct source *s, const uint32_t *entries)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->header.entry_count; i++)
        if (entries[i] < s->header.used && index_state(index_meta(ix, entries[i])) == INDEX_LINKED)
            atomic_store(&ix->entries[kept++], entries[i]);
    /* All of them unlinked: any that is. */
    for (uint32_t node = 0; kept == 0 && node < s->header.used; node++)
        if (index_state(index_meta(ix, node)) == INDEX_LINKED)
            atomic_store(&ix->entries[kept++], node);
    atomic_store(&ix->entry_count, kept);
}

static enum result take_file(struct index *ix, const struct source *s, struct err *err)
{
    size_t at = sizeof s->header;
    const char *start = NULL, *part = NULL;
    enum result r = next_part(s, &at, index_file_start_bytes(&ix->shape), 0, &start, err);
    if (r != ERR_OK)
        return r;
    memcpy(ix->centre, start, ix->shape.padded * sizeof *ix->centre);
    atomic_store(&ix->used, s->header.used);
    for (uint32_t first = 0, number = 1; first < s->header.used; first += INDEX_BLOCK, number++) {
        r = next_part(s, &at, index_file_block_bytes(&ix->shape), number, &part, err);
        if (r == ERR_OK)
            r = take_block(ix, s, first, part, err);
        if (r != ERR_OK)
            return r;
    }
    uint32_t entries[INDEX_ENTRIES];
    memcpy(entries, start + ix->shape.padded * sizeof *ix->centre, sizeof entries);
    settle_nodes(ix);
    atomic_store(&ix->unsure, true);
    take_entries(ix, s, entries);
    atomic_store(&ix->graph, s->header.graph != 0);
    return ERR_OK;
}

enum result index_load(const struct index_settings *settings, const char *path, uint64_t identity,
    struct index **out, uint64_t *generation, struct err *err)
{
    struct source s = {.path = path};
    struct index *ix = NULL;
    enum result r = map_file(&s, err);
    if (r == ERR_OK)
        r = check_header(&s, settings, identity, err);
    if (r == ERR_OK)
        r = index_make(settings, &ix, err);
    if (r == ERR_OK)
        r = take_file(ix, &s, err);
    if (r == ERR_OK)
        r = index_start_threads(ix, err);
    if (s.bytes)
        munmap((void *)(uintptr_t)s.bytes, s.len);
    if (r != ERR_OK) {
        index_free(ix);
        return r;
    }
    *out = ix;
    *generation = s.header.generation;
    return ERR_OK;
}
