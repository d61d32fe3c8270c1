/*
 * vectors.f16, byte by byte. All numbers are little-endian.
 *
 *   header, one page of 4,096 bytes
 *        0   8  "LKALVEC1"
 *        8   4  format version, 1
 *       12   4  dimension
 *       16   4  stride: bytes from one slot to the next
 *       20   4  trailer: its offset in a slot
 *       24   8  id of the collection, a random number that meta.db has as well
 *       32      zero
 *     4088   8  XXH3-64 of the bytes 0…4087
 *
 *   slot i, at 4096 + i × stride; the stride is a multiple of 64
 *        0      dimension half floats (IEEE 754 binary16), then zeros up to `trailer`, a multiple of 8
 *        +0  8  fileid
 *        +8  8  write number: of all slots that a row ever named in this collection, only this one has it
 *       +16  4  Euclidean length of the vector, a 32-bit float
 *       +20  4  zero
 *       +24  8  XXH3-64 of the slot's bytes 0…trailer+23
 *               zeros up to the stride
 *
 * Invariants
 *   V1  A slot that a committed row names is not written, nor is one that a running search may still look at.
 *   V2  The bytes of a slot are on disk before the transaction that names the slot commits.
 *   V3  A row and the slot it names have the same fileid and the same write number.
 *   V4  The file is at least as long as the highest slot that is mapped and may be read.
 *   V5  A segment's mapping is made once and stays until the file is closed.
 *   V6  A free slot may hold anything. Free is what no row names; nothing in this file says so.
 *
 * When fdatasync() fails, Linux marks the pages clean although they never reached the disk: a second
 * fdatasync() that succeeds proves nothing about them. The pages in question are those written since the last
 * success, and by V2 no row names them yet. So the commit fails, slots that its rows named are set aside until another
 * commit has succeeded (slots.h), and a slot used again is written again, which makes its pages dirty again. A page
 * shared with a neighbouring slot that a row names is no danger: the neighbour's bytes did not change, and
 * are on disk from before. Because the file's length may be what failed, the next sync is a full fsync().
 *
 * Read through mappings of a fixed size (V5), so that a pointer to a vector stays good while the file grows,
 * and the page cache is the only cache. Rejected: reading all of it into the heap (twice the memory, a slow
 * start), one mapping that is moved (every search would need a lock). What it costs: a disk that cannot read
 * a page kills the process by SIGBUS.
 */
#include "store/embedded/vectors.h"

#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define HEADER 4096
#define HEADER_HASH (HEADER - 8)
#define VERSION 1
#define TRAILER 32
#define TRAILER_HASH 24
#define SEGMENT_BYTES (64 * LIMIT_MIB) /* at most; at least 64 slots, which makes it a multiple of a page */
#define GROW_MIN (256 * LIMIT_KIB)
#define GROW_MAX (64 * LIMIT_MIB)

static const char magic[8] = {'L', 'K', 'A', 'L', 'V', 'E', 'C', '1'};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files of the store are little-endian");
_Static_assert(sizeof(float) == 4, "a 32-bit float");

static uint32_t trailer_of(uint32_t dimension)
{
    return (dimension * 2 + 7) & ~7u;
}

uint32_t embedded_vectors_stride(uint32_t dimension)
{
    return (trailer_of(dimension) + TRAILER + 63) & ~63u;
}

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static void put64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void make_header(uint8_t *header, uint32_t dimension, uint64_t id)
{
    memset(header, 0, HEADER);
    memcpy(header, magic, sizeof magic);
    put32(header + 8, VERSION);
    put32(header + 12, dimension);
    put32(header + 16, embedded_vectors_stride(dimension));
    put32(header + 20, trailer_of(dimension));
    put64(header + 24, id);
    put64(header + HEADER_HASH, XXH3_64bits(header, HEADER_HASH));
}

enum result embedded_vectors_create(
    const struct store_sys *sys, const char *path, uint32_t dimension, uint64_t id, struct err *err)
{
    uint8_t header[HEADER];
    make_header(header, dimension, id);
    int fd = sys->open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot make %s", path);
    enum result r = embedded_write_at(sys, fd, header, sizeof header, 0, err);
    if (!r && sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot put %s on disk", path);
    close(fd);
    return r;
}

static enum result check_header(const struct embedded_vectors *v, uint64_t id, struct err *err)
{
    uint8_t found[HEADER], want[HEADER];
    ssize_t n = pread(v->fd, found, sizeof found, 0);
    if (n < 0)
        return err_set_errno(err, errno, "cannot read %s", v->path);
    if (n < HEADER)
        return err_set(err, ERR_CORRUPT,
            "%s is damaged: it has %zd bytes, not even its header; restore it from a backup", v->path, n);
    make_header(want, v->dimension, id);
    if (!memcmp(found, want, HEADER))
        return ERR_OK;
    uint32_t version;
    memcpy(&version, found + 8, sizeof version);
    bool whole = get64(found + HEADER_HASH) == XXH3_64bits(found, HEADER_HASH);
    if (whole && version > VERSION)
        return err_set(err, ERR_UNSUPPORTED,
            "%s was written by a newer version of lookalike (format %u, this one knows %u): update lookalike",
            v->path, version, VERSION);
    if (whole)
        return err_set(err, ERR_CORRUPT,
            "%s belongs to another collection: restore the collection's folder as a whole", v->path);
    return err_set(err, ERR_CORRUPT, "the header of %s is damaged: restore the file from a backup", v->path);
}

enum result embedded_vectors_open(const struct store_sys *sys, const char *path, uint32_t dimension,
    uint64_t id, struct embedded_vectors *out, struct err *err)
{
    struct embedded_vectors v = {.sys = sys, .fd = -1, .dimension = dimension};
    struct stat st;
    enum result r = ERR_OK;
    snprintf(v.path, sizeof v.path, "%s", path);
    v.trailer = trailer_of(dimension);
    v.stride = embedded_vectors_stride(dimension);
    v.shift = 6;
    while (((uint64_t)v.stride << (v.shift + 1)) <= SEGMENT_BYTES)
        v.shift++;
    v.fd = sys->open(path, O_RDWR | O_CLOEXEC, 0);
    if (v.fd < 0) {
        r = errno == ENOENT ? err_set(err, ERR_CORRUPT, "%s is missing: restore it from a backup", path)
                            : err_set_errno(err, errno, "cannot open %s", path);
        goto out;
    }
    r = check_header(&v, id, err);
    if (r)
        goto out;
    if (fstat(v.fd, &st)) {
        r = err_set_errno(err, errno, "cannot ask for the size of %s", path);
        goto out;
    }
    v.capacity = ((uint64_t)st.st_size - HEADER) / v.stride;
    /* Pages of it that are never used never become memory. */
    v.maps = calloc(((size_t)LIMIT_RECORDS >> v.shift) + 1, sizeof *v.maps);
    if (!v.maps)
        r = err_no_memory(err);
out:
    if (r)
        embedded_vectors_close(&v);
    else
        *out = v;
    return r;
}

void embedded_vectors_close(struct embedded_vectors *v)
{
    if (!v->sys)
        return;
    for (size_t i = 0; v->maps && i < v->map_end; i++)
        if (v->maps[i])
            munmap((void *)(uintptr_t)v->maps[i], (size_t)v->stride << v->shift);
    free(v->maps);
    if (v->fd >= 0)
        close(v->fd);
    *v = (struct embedded_vectors){.fd = -1};
}

enum result embedded_vectors_mend(const struct store_sys *sys, const char *path, uint32_t dimension,
    uint64_t id, const char **mended, struct err *err)
{
    uint8_t found[HEADER] = {0}, want[HEADER];
    struct embedded_vectors v = {0};
    *mended = NULL;
    if (access(path, F_OK) && errno == ENOENT) {
        *mended = "vectors.f16 was missing and is made anew, empty: every record lost its vector";
        return embedded_vectors_create(sys, path, dimension, id, err);
    }
    enum result r = embedded_vectors_open(sys, path, dimension, id, &v, err);
    if (r != ERR_CORRUPT) {
        embedded_vectors_close(&v);
        return r;
    }
    int fd = sys->open(path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    ssize_t n = pread(fd, found, HEADER, 0);
    make_header(want, dimension, id);
    if (n == HEADER && get64(found + HEADER_HASH) == XXH3_64bits(found, HEADER_HASH)) {
        close(fd);
        return r; /* whole, and of another collection */
    }
    *mended = "the header of vectors.f16 was damaged and is written anew";
    r = embedded_write_at(sys, fd, want, HEADER, 0, err);
    if (!r && sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot put %s on disk", path);
    close(fd);
    return r;
}

void embedded_vectors_encode(const struct embedded_vectors *v, uint8_t *slot, const uint16_t *halves,
    int64_t fileid, uint64_t number, float norm)
{
    memset(slot, 0, v->stride);
    memcpy(slot, halves, (size_t)v->dimension * sizeof *halves);
    uint8_t *t = slot + v->trailer;
    put64(t, (uint64_t)fileid);
    put64(t + 8, number);
    memcpy(t + 16, &norm, sizeof norm);
    put64(t + TRAILER_HASH, XXH3_64bits(slot, v->trailer + TRAILER_HASH));
}

/*
 * Space is allocated, not only promised, so that a full disk shows here and not when the kernel writes pages
 * back.
 */
static enum result grow(struct embedded_vectors *v, uint64_t slots, struct err *err)
{
    off_t from = (off_t)(HEADER + v->capacity * v->stride), to = (off_t)(HEADER + slots * v->stride);
    int rc = v->sys->fallocate(v->fd, 0, from, to - from);
    if (rc && (errno == EOPNOTSUPP || errno == ENOSYS))
        rc = v->sys->ftruncate(v->fd, to);
    if (rc)
        return err_set_errno(
            err, errno, "cannot make %s longer by %lld bytes", v->path, (long long)(to - from));
    v->capacity = slots;
    return ERR_OK;
}

static enum result map_segment(struct embedded_vectors *v, size_t segment, struct err *err)
{
    size_t bytes = (size_t)v->stride << v->shift;
    if (v->maps[segment])
        return ERR_OK;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, v->fd, (off_t)(HEADER + segment * bytes));
    if (map == MAP_FAILED)
        return err_set_errno(err, errno, "cannot map %s", v->path);
    v->maps[segment] = map;
    if (segment >= v->map_end)
        v->map_end = segment + 1;
    return ERR_OK;
}

enum result embedded_vectors_reserve(struct embedded_vectors *v, uint64_t i, struct err *err)
{
    assert(i < LIMIT_RECORDS);
    if (i >= v->capacity) {
        uint64_t step = v->capacity * v->stride / 8;
        step = step < GROW_MIN ? GROW_MIN : step > GROW_MAX ? GROW_MAX : step;
        uint64_t slots = v->capacity + step / v->stride;
        enum result r = grow(v, slots > i ? slots : i + 1, err);
        if (r)
            return r;
    }
    return map_segment(v, i >> v->shift, err);
}

enum result embedded_vectors_cover(struct embedded_vectors *v, uint64_t slots, struct err *err)
{
    assert(slots <= LIMIT_RECORDS);
    enum result r = ERR_OK;
    if (slots > v->capacity) {
        if (v->sys->ftruncate(v->fd, (off_t)(HEADER + slots * v->stride)))
            return err_set_errno(err, errno, "%s was cut off and cannot be made as long as it was", v->path);
        v->capacity = slots;
    }
    for (size_t segment = 0; !r && (uint64_t)segment << v->shift < slots; segment++)
        r = map_segment(v, segment, err);
    return r;
}

enum result embedded_vectors_write(
    struct embedded_vectors *v, uint64_t i, const uint8_t *slots, size_t n, struct err *err)
{
    assert(i + n <= v->capacity && v->maps[i >> v->shift] && v->maps[(i + n - 1) >> v->shift]); /* V4, V5 */
    struct err why;
    enum result r =
        embedded_write_at(v->sys, v->fd, slots, n * v->stride, (off_t)(HEADER + i * v->stride), &why);
    return r ? err_set(err, r, "%s: %s", v->path, why.message) : ERR_OK;
}

static bool is_not_offered(int e)
{
    return e == ENOSYS || e == EINVAL || e == ESPIPE || e == EOPNOTSUPP || e == EPERM;
}

enum result embedded_vectors_start_sync(struct embedded_vectors *v, struct err *err)
{
    if (!v->sys->start_sync(v->fd) || is_not_offered(errno))
        return ERR_OK;
    /* Pages it could not write may be clean now, and the error told to nobody else: as after a failed sync. */
    v->distrust = true;
    return err_set_errno(err, errno, "cannot put %s on disk", v->path);
}

enum result embedded_vectors_sync(struct embedded_vectors *v, struct err *err)
{
    int rc = v->distrust ? v->sys->fsync(v->fd) : v->sys->fdatasync(v->fd);
    v->distrust = rc != 0;
    return rc ? err_set_errno(err, errno, "cannot put %s on disk", v->path) : ERR_OK;
}

float embedded_vectors_norm(const struct embedded_vectors *v, uint64_t i)
{
    float norm;
    memcpy(&norm, embedded_vectors_at(v, i) + v->trailer + 16, sizeof norm);
    return norm;
}

bool embedded_vectors_verify(const struct embedded_vectors *v, uint64_t i, int64_t fileid, uint64_t number)
{
    const uint8_t *slot = embedded_vectors_at(v, i), *t = slot + v->trailer;
    return get64(t) == (uint64_t)fileid && get64(t + 8) == number &&
           get64(t + TRAILER_HASH) == XXH3_64bits(slot, v->trailer + TRAILER_HASH);
}
