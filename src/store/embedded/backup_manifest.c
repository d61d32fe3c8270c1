/* MANIFEST of a backup: reading it strictly, writing it whole; and its pieces. */
#include "store/embedded/backup.h"

#include "base/buf.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MANIFEST_MAX (256 * LIMIT_MIB)

static const char *const file_names[BACKUP_FILES] = {
    "meta.db", "vectors.f16", "pictures.db", "projection", "queries"};

/* --- memory --------------------------------------------------------------------------------------------- */

void backup_collection_free(struct backup_collection *c)
{
    for (size_t i = 0; i < BACKUP_FILES; i++)
        free(c->files[i].pieces);
    *c = (struct backup_collection){0};
}

void backup_manifest_free(struct backup_manifest *m)
{
    for (size_t i = 0; i < m->count; i++)
        backup_collection_free(&m->items[i]);
    free(m->items);
    *m = (struct backup_manifest){0};
}

enum result backup_manifest_add(
    struct backup_manifest *m, const struct backup_collection *c, struct err *err)
{
    if (m->count == m->room) {
        size_t room = m->room ? m->room * 2 : 8;
        struct backup_collection *items = realloc(m->items, room * sizeof *items);
        if (!items)
            return err_no_memory(err);
        m->items = items;
        m->room = room;
    }
    m->items[m->count++] = *c;
    return ERR_OK;
}

enum result backup_file_add(struct backup_file *f, const struct backup_piece *piece, struct err *err)
{
    if (f->count == f->room) {
        size_t room = f->room ? f->room * 2 : 8;
        struct backup_piece *pieces = realloc(f->pieces, room * sizeof *pieces);
        if (!pieces)
            return err_no_memory(err);
        f->pieces = pieces;
        f->room = room;
    }
    f->pieces[f->count++] = *piece;
    return ERR_OK;
}

const struct backup_collection *backup_manifest_find(const struct backup_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (!strcmp(m->items[i].name, name))
            return &m->items[i];
    return NULL;
}

void backup_manifest_sum(const struct backup_manifest *m, struct store_backup_report *out)
{
    out->collections = m->count;
    out->records = out->files = out->bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        out->records += m->items[i].records;
        for (size_t k = 0; k < m->items[i].count; k++) {
            out->files += m->items[i].files[k].count;
            out->bytes += m->items[i].files[k].size;
        }
    }
}

/* --- reading -------------------------------------------------------------------------------------------- */

static enum result wrong(size_t line, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "line %zu of the backup's MANIFEST is damaged: %s", line, what);
}

/* The next word, ended by a blank or the end of the line; NULL where there is none. */
static char *word(char **at)
{
    char *start = *at;
    if (!*start)
        return NULL;
    size_t n = strcspn(start, " ");
    *at = start + n + (start[n] == ' ');
    start[n] = '\0';
    return n ? start : NULL;
}

static bool number(char **at, uint64_t *out)
{
    const char *text = word(at);
    return text && parse_u64(text, strlen(text), INT64_MAX, out);
}

static bool hash(char **at, uint64_t *out, int parts)
{
    const char *text = word(at);
    if (!text || strlen(text) != (size_t)parts * 16 || strspn(text, "0123456789abcdef") != strlen(text))
        return false;
    for (int i = 0; i < parts; i++) {
        char part[17];
        snprintf(part, sizeof part, "%.16s", text + i * 16);
        out[i] = strtoull(part, NULL, 16);
    }
    return true;
}

/* What the lines so far have said. */
struct reading {
    struct backup_manifest *m;
    struct backup_collection *c; /* the last one */
    struct backup_file *f;       /* its last one */
};

static enum result read_collection(struct reading *g, char *rest, size_t line, struct err *err)
{
    struct backup_collection c = {0};
    const char *name = word(&rest);
    if (!name || !parse_is_collection_name(name) || backup_manifest_find(g->m, name))
        return wrong(line, "it names no collection, or one twice", err);
    snprintf(c.name, sizeof c.name, "%s", name);
    if (!number(&rest, &c.id) || !number(&rest, &c.change) || !number(&rest, &c.records) || *rest)
        return wrong(line, "a collection has three numbers", err);
    enum result r = backup_manifest_add(g->m, &c, err);
    g->c = r ? NULL : &g->m->items[g->m->count - 1];
    g->f = NULL;
    return r;
}

static enum result read_file(struct reading *g, char *rest, size_t line, struct err *err)
{
    const char *name = word(&rest);
    size_t k = 0;
    while (name && k < BACKUP_FILES && strcmp(name, file_names[k]) != 0)
        k++;
    if (!g->c || !name || k == BACKUP_FILES || g->c->count == BACKUP_FILES)
        return wrong(line, "there is no such file in a collection", err);
    for (size_t i = 0; i < g->c->count; i++)
        if (!strcmp(g->c->files[i].name, name))
            return wrong(line, "it names a file twice", err);
    g->f = &g->c->files[g->c->count++];
    snprintf(g->f->name, sizeof g->f->name, "%s", name);
    return number(&rest, &g->f->size) && !*rest ? ERR_OK : wrong(line, "a file has a size", err);
}

static enum result read_piece(struct reading *g, char *rest, size_t line, struct err *err)
{
    struct backup_piece piece;
    if (!g->f || !hash(&rest, piece.hash, 2) || !number(&rest, &piece.size) || *rest ||
        piece.size > LIMIT_BACKUP_PIECE || piece.size == 0)
        return wrong(line, "a piece has a sum and a size", err);
    return backup_file_add(g->f, &piece, err);
}

static enum result read_line(struct reading *g, char *line, size_t n, struct err *err)
{
    const char *first = word(&line);
    if (first && !strcmp(first, "collection"))
        return read_collection(g, line, n, err);
    if (first && !strcmp(first, "file"))
        return read_file(g, line, n, err);
    if (first && !strcmp(first, "piece"))
        return read_piece(g, line, n, err);
    return wrong(n, "it begins with an unknown word", err);
}

/* Sizes add up, so that nothing later needs to doubt them. */
static enum result check_sizes(const struct backup_manifest *m, struct err *err)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct backup_collection *c = &m->items[i];
        for (size_t k = 0; k < c->count; k++) {
            uint64_t sum = 0;
            for (size_t p = 0; p < c->files[k].count; p++)
                sum += c->files[k].pieces[p].size;
            if (sum != c->files[k].size)
                return err_set(err, ERR_CORRUPT,
                    "the backup's MANIFEST is damaged: the pieces of %s of %s are not as long as it", c->files[k].name,
                    c->name);
        }
        if (c->count < 2 || strcmp(c->files[0].name, "meta.db") || strcmp(c->files[1].name, "vectors.f16"))
            return err_set(err, ERR_CORRUPT, "the backup's MANIFEST is damaged: %s lacks files", c->name);
    }
    return ERR_OK;
}

static enum result read_text(char *text, size_t len, struct backup_manifest *m, struct err *err)
{
    static const char head[] = "lookalike-backup ";
    uint64_t format = 0, want, found;
    if (strncmp(text, head, sizeof head - 1) != 0)
        return err_set(err, ERR_CORRUPT, "MANIFEST is not that of a backup of lookalike");
    size_t digits = strcspn(text + sizeof head - 1, "\n");
    if (!parse_u64(text + sizeof head - 1, digits, UINT32_MAX, &format))
        return wrong(1, "it names no format", err);
    if (format > BACKUP_FORMAT)
        return err_set(err, ERR_UNSUPPORTED,
            "the backup was made by a newer version of lookalike (format %" PRIu64 ", this one knows %d): update "
            "lookalike",
            format, BACKUP_FORMAT);
    /* The last line is "end HASH\n", 21 bytes. */
    char *end = len >= 21 ? text + len - 21 : NULL;
    if (!end || strncmp(end, "end ", 4) != 0 || text[len - 1] != '\n' || end[-1] != '\n')
        return err_set(err, ERR_CORRUPT, "the backup's MANIFEST is cut off");
    want = XXH3_64bits(text, len - 21);
    text[len - 1] = '\0';
    char *rest = end + 4;
    if (!hash(&rest, &found, 1) || found != want)
        return err_set(err, ERR_CORRUPT, "the backup's MANIFEST is not what was written");
    *end = '\0';
    struct reading g = {.m = m};
    size_t n = 2;
    enum result r = ERR_OK;
    for (char *line = strchr(text, '\n') + 1; !r && *line; n++) {
        char *next = strchr(line, '\n');
        if (next)
            *next = '\0';
        char *following = next ? next + 1 : line + strlen(line);
        r = read_line(&g, line, n, err);
        line = following;
    }
    return r ? r : check_sizes(m, err);
}

enum result backup_manifest_read(const char *folder, struct backup_manifest *out, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    struct backup_manifest m = {0};
    struct stat st;
    char *text = NULL;
    enum result r = embedded_path(path, folder, "MANIFEST", err);
    if (r)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(err, ERR_NOT_FOUND, "%s holds no backup: there is no MANIFEST in it", folder)
                   : err_set_errno(err, errno, "cannot read %s", path);
    if (fstat(fd, &st) || st.st_size > MANIFEST_MAX) {
        r = err_set(err, ERR_CORRUPT, "%s is no manifest of a backup", path);
        goto out;
    }
    text = malloc((size_t)st.st_size + 1);
    if (!text) {
        r = err_no_memory(err);
        goto out;
    }
    ssize_t n = pread(fd, text, (size_t)st.st_size, 0);
    if (n != st.st_size) {
        r = err_set_errno(err, n < 0 ? errno : EIO, "cannot read %s", path);
        goto out;
    }
    text[n] = '\0';
    r = strlen(text) == (size_t)n ? read_text(text, (size_t)n, &m, err)
                                  : err_set(err, ERR_CORRUPT, "%s is no manifest of a backup", path);
    if (!r) {
        *out = m;
        m = (struct backup_manifest){0};
    }
out:
    backup_manifest_free(&m);
    free(text);
    close(fd);
    return r;
}

/* --- writing -------------------------------------------------------------------------------------------- */

static enum result append_file(struct buf *b, const struct backup_file *f)
{
    enum result r = buf_appendf(b, "file %s %" PRIu64 "\n", f->name, f->size);
    for (size_t p = 0; !r && p < f->count; p++)
        r = buf_appendf(b, "piece %016" PRIx64 "%016" PRIx64 " %" PRIu64 "\n", f->pieces[p].hash[0],
            f->pieces[p].hash[1], f->pieces[p].size);
    return r;
}

static enum result append_all(struct buf *b, const struct backup_manifest *m)
{
    enum result r = buf_appendf(b, "lookalike-backup %d\n", BACKUP_FORMAT);
    for (size_t i = 0; !r && i < m->count; i++) {
        const struct backup_collection *c = &m->items[i];
        r = buf_appendf(b, "collection %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", c->name, c->id, c->change,
            c->records);
        for (size_t k = 0; !r && k < c->count; k++)
            r = append_file(b, &c->files[k]);
    }
    return r ? r : buf_appendf(b, "end %016" PRIx64 "\n", (uint64_t)XXH3_64bits(b->data, b->len));
}

enum result backup_manifest_write(
    const struct store_sys *sys, const char *folder, const struct backup_manifest *m, struct err *err)
{
    char path[EMBEDDED_PATH_MAX], aside[EMBEDDED_PATH_MAX];
    struct buf text;
    int fd = -1;
    buf_init(&text, MANIFEST_MAX);
    enum result r = append_all(&text, m);
    if (r)
        r = err_set(err, r, "the manifest of the backup does not fit memory");
    if (!r)
        r = embedded_path(path, folder, "MANIFEST", err);
    if (!r)
        r = embedded_path(aside, folder, "MANIFEST.new", err);
    if (r)
        goto out;
    fd = sys->open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        r = err_set_errno(err, errno, "cannot make %s", aside);
        goto out;
    }
    r = embedded_write_at(sys, fd, text.data, text.len, 0, err);
    if (!r && sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot put %s on disk", aside);
    if (!r && sys->rename(aside, path))
        r = err_set_errno(err, errno, "cannot put %s in its place", path);
    if (!r)
        r = embedded_sync_folder(sys, folder, err);
out:
    if (fd >= 0)
        close(fd);
    buf_free(&text);
    return r;
}

/* --- pieces --------------------------------------------------------------------------------------------- */

enum result backup_piece_path(char *out, const char *folder, const struct backup_collection *c,
    const struct backup_file *f, size_t index, const struct backup_piece *piece, struct err *err)
{
    char name[LIMIT_COLLECTION_NAME + 128];
    snprintf(name, sizeof name, "collections/%s/%s.%06zu.%016" PRIx64 "%016" PRIx64, c->name, f->name, index,
        piece->hash[0], piece->hash[1]);
    return embedded_path(out, folder, name, err);
}

struct backup_piece backup_piece_of(const void *bytes, size_t len)
{
    XXH128_hash_t h = XXH3_128bits(bytes, len);
    return (struct backup_piece){.hash = {h.high64, h.low64}, .size = len};
}

enum result backup_piece_read(
    const char *path, const struct backup_piece *piece, void *bytes, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_CORRUPT, "%s is missing from the backup", path)
                               : err_set_errno(err, errno, "cannot read %s", path);
    size_t got = 0;
    ssize_t n = 1;
    while (got < piece->size && (n = read(fd, (char *)bytes + got, piece->size - got)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        got += n > 0 ? (size_t)n : 0;
    }
    int problem = errno;
    close(fd);
    if (n < 0)
        return err_set_errno(err, problem, "cannot read %s", path);
    struct backup_piece found = backup_piece_of(bytes, got);
    if (got != piece->size || found.hash[0] != piece->hash[0] || found.hash[1] != piece->hash[1])
        return err_set(err, ERR_CORRUPT, "%s is damaged: it is not what was written", path);
    return ERR_OK;
}
