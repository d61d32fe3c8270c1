#include "cli/manifest.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define KEY_MAX (4 * PATH_MAX) /* escaped */
#define COMPACT_AFTER 1000     /* lines too many */

struct slot {
    XXH128_hash_t key;
    uint64_t owner;
    struct cli_manifest_entry entry;
    off_t line; /* where the last line that speaks of it starts; only while reading */
    bool used;
};

struct cli_manifest {
    char path[PATH_MAX];
    char *source;
    int fd;
    struct slot *slots; /* open addressing, at most half full; size is a power of two */
    size_t size, count, acknowledged;
    pthread_mutex_t mutex; /* of what is below, and of writing */
    bool dirty;
    char line[KEY_MAX + 256];
};

/* --- entries in memory ---------------------------------------------------------------------------------- */

uint64_t cli_manifest_owner(const char *source, const char *key)
{
    uint64_t seed = XXH3_64bits(source, strlen(source));
    return XXH3_64bits_withSeed(key, strlen(key), seed);
}

static struct slot *find_slot(struct slot *slots, size_t size, XXH128_hash_t key)
{
    size_t at = (size_t)key.low64 & (size - 1);
    while (slots[at].used && !XXH128_isEqual(slots[at].key, key))
        at = (at + 1) & (size - 1);
    return &slots[at];
}

static enum result get_slot(struct cli_manifest *m, const char *key, struct slot **out, struct err *err)
{
    XXH128_hash_t hash = XXH3_128bits(key, strlen(key));
    struct slot *slot = find_slot(m->slots, m->size, hash);
    if (!slot->used && m->count + 1 > m->size / 2) {
        size_t size = m->size * 2;
        struct slot *slots = calloc(size, sizeof *slots);
        if (!slots)
            return err_no_memory(err);
        for (size_t i = 0; i < m->size; i++)
            if (m->slots[i].used)
                *find_slot(slots, size, m->slots[i].key) = m->slots[i];
        free(m->slots);
        m->slots = slots;
        m->size = size;
        slot = find_slot(slots, size, hash);
    }
    if (!slot->used) {
        *slot = (struct slot){.key = hash, .used = true, .owner = cli_manifest_owner(m->source, key)};
        m->count++;
    }
    *out = slot;
    return ERR_OK;
}

const struct cli_manifest_entry *cli_manifest_find(const struct cli_manifest *m, const char *key)
{
    const struct slot *slot = find_slot(m->slots, m->size, XXH3_128bits(key, strlen(key)));
    return slot->used ? &slot->entry : NULL;
}

size_t cli_manifest_acknowledged(const struct cli_manifest *m)
{
    return m->acknowledged;
}

const char *cli_manifest_path(const struct cli_manifest *m)
{
    return m->path;
}

enum result cli_manifest_each(const struct cli_manifest *m,
    enum result (*visit)(void *user, const struct cli_manifest_entry *entry, uint64_t owner, struct err *err),
    void *user, struct err *err)
{
    for (size_t i = 0; i < m->size; i++) {
        enum result r = m->slots[i].used ? visit(user, &m->slots[i].entry, m->slots[i].owner, err) : ERR_OK;
        if (r)
            return r;
    }
    return ERR_OK;
}

static void forget_all(struct cli_manifest *m)
{
    for (size_t i = 0; i < m->size; i++)
        m->slots[i].entry.acknowledged = false;
    m->acknowledged = 0;
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* Undo append_key(), in place. */
static void unescape(char *text)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        if (*p == '\\' && p[1]) {
            p++;
            *out++ = *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

/* Cut the next word off; NULL where there is none. */
static char *next_word(char **rest)
{
    char *word = *rest, *space = strchr(word, ' ');
    if (!space || space == word)
        return NULL;
    *space = '\0';
    *rest = space + 1;
    return word;
}

static bool word_i64(char **rest, int64_t *out)
{
    const char *word = next_word(rest);
    return word && parse_i64(word, strlen(word), out);
}

static bool word_u64(char **rest, uint64_t *out)
{
    const char *word = next_word(rest);
    return word && parse_u64(word, strlen(word), UINT64_MAX, out);
}

/* A line without its end. What cannot be read is as if it were not there. */
static enum result take_line(struct cli_manifest *m, char *line, off_t at, struct err *err)
{
    struct cli_manifest_entry read = {0};
    struct slot *slot = NULL;
    if (strcmp(line, "F") == 0) {
        forget_all(m);
        return ERR_OK;
    }
    char *rest = line;
    const char *kind = next_word(&rest);
    if (!kind || (strcmp(kind, "I") != 0 && strcmp(kind, "A") != 0) || !word_i64(&rest, &read.fileid))
        return ERR_OK;
    read.acknowledged = *kind == 'A';
    if (read.acknowledged &&
        !(word_u64(&rest, &read.size) && word_i64(&rest, &read.mtime_ns) && word_u64(&rest, &read.metadata)))
        return ERR_OK;
    if (!*rest)
        return ERR_OK;
    unescape(rest);
    enum result r = get_slot(m, rest, &slot, err);
    if (r)
        return r;
    m->acknowledged = m->acknowledged - slot->entry.acknowledged + read.acknowledged;
    slot->entry = read;
    slot->line = at;
    return ERR_OK;
}

/* A stream of its own on the file, from its start; closing it leaves the file open. */
static enum result open_stream(struct cli_manifest *m, FILE **out, struct err *err)
{
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    if (!f) {
        err_set_errno(err, errno, "cannot read %s", m->path);
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    *out = f;
    return ERR_OK;
}

/* Read all lines, and cut off what is behind the last line's end. */
static enum result read_lines(struct cli_manifest *m, size_t *lines, struct err *err)
{
    FILE *f = NULL;
    char *line = NULL;
    size_t room = 0;
    off_t good = 0;
    ssize_t n;
    enum result r = open_stream(m, &f, err);
    if (r)
        return r;
    *lines = 0;
    for (; r == ERR_OK && (n = getline(&line, &room, f)) > 0 && line[n - 1] == '\n'; good += n, ++*lines) {
        line[n - 1] = '\0';
        if (strlen(line) == (size_t)n - 1 && n < KEY_MAX + 256)
            r = take_line(m, line, good, err);
    }
    if (r == ERR_OK && ferror(f))
        r = err_set_errno(err, errno, "cannot read %s", m->path);
    else if (r == ERR_OK && ftruncate(m->fd, good))
        r = err_set_errno(err, errno, "cannot write %s", m->path);
    free(line);
    fclose(f);
    return r;
}

/* The key in a line of read_lines(), still escaped; NULL where it has none. `line` is changed. */
static char *key_of(char *line)
{
    char *rest = line;
    for (int words = line[0] == 'A' ? 5 : 2; words > 0; words--)
        if (!next_word(&rest))
            return NULL;
    return *rest ? rest : NULL;
}

/*
 * Copy the lines that still say something: the first, and the last one of each key. What an F took back is
 * written as I, for there is no F in the new file.
 */
static enum result copy_lines(struct cli_manifest *m, FILE *from, FILE *to, struct err *err)
{
    char *line = NULL;
    size_t room = 0;
    off_t at = 0;
    ssize_t n;
    struct slot *slot = NULL;
    enum result r = ERR_OK;
    for (; r == ERR_OK && (n = getline(&line, &room, from)) > 0; at += n) {
        line[n - 1] = '\0';
        if (at == 0) {
            fprintf(to, "%s\n", line);
            continue;
        }
        char *copy = strdup(line), *key = copy ? key_of(copy) : NULL;
        const char *escaped = key ? line + (key - copy) : NULL;
        if (!copy)
            r = err_no_memory(err);
        if (key) {
            unescape(key);
            r = get_slot(m, key, &slot, err);
        }
        if (key && r == ERR_OK && slot->line == at) {
            if (line[0] == 'A' && !slot->entry.acknowledged)
                fprintf(to, "I %" PRId64 " %s\n", slot->entry.fileid, escaped);
            else
                fprintf(to, "%s\n", line);
        }
        free(copy);
    }
    free(line);
    return r || !ferror(to) ? r : err_set_errno(err, errno, "cannot write beside %s", m->path);
}

/* Write the file anew without what later lines replaced. The new one is locked before it takes the old
   one's place. */
static enum result compact(struct cli_manifest *m, struct err *err)
{
    char path[PATH_MAX + 8];
    FILE *from = NULL, *to = NULL;
    snprintf(path, sizeof path, "%s.new", m->path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600), copy = -1;
    enum result r = fd < 0 ? err_set_errno(err, errno, "cannot write %s", path) : open_stream(m, &from, err);
    if (r)
        goto out;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    to = copy < 0 ? NULL : fdopen(copy, "a");
    if (!to || flock(fd, LOCK_EX | LOCK_NB)) {
        r = err_set_errno(err, errno, "cannot write %s", path);
        goto out;
    }
    r = copy_lines(m, from, to, err);
    if (r == ERR_OK && (fflush(to) || fsync(fd) || rename(path, m->path)))
        r = err_set_errno(err, errno, "cannot write %s", path);
    if (r == ERR_OK) {
        close(m->fd);
        m->fd = fd;
        fd = -1;
    }
out:
    if (from)
        fclose(from);
    if (to)
        fclose(to);
    else if (copy >= 0)
        close(copy);
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
    return r;
}

/* --- writing -------------------------------------------------------------------------------------------- */

/* `key` without line breaks; the room is KEY_MAX and more. False where it does not fit. */
static bool append_key(char *out, size_t size, const char *key)
{
    size_t n = 0;
    for (; *key; key++) {
        if (n + 3 > size)
            return false;
        if (*key == '\n' || *key == '\r' || *key == '\\')
            out[n++] = '\\';
        out[n++] = *key == '\n' ? 'n' : *key == '\r' ? 'r' : *key;
    }
    out[n] = '\0';
    return true;
}

/* m->line holds the start of a line; the key and the line's end follow. The mutex is held. */
static enum result write_line(struct cli_manifest *m, const char *key, struct err *err)
{
    size_t n = strlen(m->line);
    if (!append_key(m->line + n, sizeof m->line - n - 1, key))
        return err_set(err, ERR_TOO_LARGE, "a name is too long to be remembered");
    n = strlen(m->line);
    m->line[n++] = '\n';
    for (size_t done = 0; done < n;) {
        ssize_t w = write(m->fd, m->line + done, n - done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return err_set_errno(err, errno, "cannot write %s", m->path);
        done += (size_t)w;
    }
    m->dirty = true;
    return ERR_OK;
}

enum result cli_manifest_ack(
    struct cli_manifest *m, const char *key, const struct cli_manifest_entry *entry, struct err *err)
{
    pthread_mutex_lock(&m->mutex);
    snprintf(m->line, sizeof m->line, "A %" PRId64 " %" PRIu64 " %" PRId64 " %" PRIu64 " ", entry->fileid,
        entry->size, entry->mtime_ns, entry->metadata);
    enum result r = write_line(m, key, err);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

enum result cli_manifest_assign(struct cli_manifest *m, const char *key, int64_t fileid, struct err *err)
{
    struct slot *slot = NULL;
    enum result r = get_slot(m, key, &slot, err);
    if (r)
        return r;
    slot->entry = (struct cli_manifest_entry){.fileid = fileid};
    pthread_mutex_lock(&m->mutex);
    snprintf(m->line, sizeof m->line, "I %" PRId64 " ", fileid);
    r = write_line(m, key, err);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

enum result cli_manifest_forget(struct cli_manifest *m, struct err *err)
{
    forget_all(m);
    pthread_mutex_lock(&m->mutex);
    snprintf(m->line, sizeof m->line, "F");
    enum result r = write_line(m, "", err);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

enum result cli_manifest_sync(struct cli_manifest *m, struct err *err)
{
    pthread_mutex_lock(&m->mutex);
    bool dirty = m->dirty;
    m->dirty = false;
    pthread_mutex_unlock(&m->mutex);
    if (dirty && fdatasync(m->fd))
        return err_set_errno(err, errno, "cannot write %s", m->path);
    return ERR_OK;
}

/* --- opening -------------------------------------------------------------------------------------------- */

/* mkdir -p; `path` is changed meanwhile. */
static enum result make_folders(char *path, struct err *err)
{
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        bool failed = mkdir(path, 0700) && errno != EEXIST;
        *p = kept;
        if (failed)
            return err_set_errno(err, errno, "cannot make the folder %s", path);
        if (!kept)
            return ERR_OK;
    }
}

static enum result find_path(const struct cli_manifest_place *place, char *out, size_t size, struct err *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char folder[PATH_MAX - 64];
    int n;
    if (state && state[0] == '/') /* the standard wants relative ones ignored */
        n = snprintf(folder, sizeof folder, "%s/lookalike/imports", state);
    else if (home && home[0] == '/')
        n = snprintf(folder, sizeof folder, "%s/.local/state/lookalike/imports", home);
    else
        return err_set(err, ERR_IO, "neither XDG_STATE_HOME nor HOME names a folder");
    if (n < 0 || (size_t)n >= sizeof folder)
        return err_set(err, ERR_IO, "the name of the state folder is too long");
    enum result r = make_folders(folder, err);
    if (r)
        return r;
    struct buf name;
    buf_init(&name, LIMIT_MIB);
    r = buf_appendf(&name, "%s\n%s\n%s", place->target, place->collection, place->source);
    if (r == ERR_OK) {
        XXH128_hash_t hash = XXH3_128bits(name.data, name.len);
        snprintf(
            out, size, "%s/%016" PRIx64 "%016" PRIx64, folder, (uint64_t)hash.high64, (uint64_t)hash.low64);
    }
    buf_free(&name);
    return r ? err_no_memory(err) : ERR_OK;
}

static enum result open_file(struct cli_manifest *m, const struct cli_manifest_place *place, struct err *err)
{
    size_t lines = 0;
    enum result r = find_path(place, m->path, sizeof m->path, err);
    if (r)
        return r;
    m->fd = open(m->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (m->fd < 0)
        return err_set_errno(err, errno, "cannot open %s", m->path);
    if (flock(m->fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK
                   ? err_set(err, ERR_BUSY, "another import of %.300s into \"%.64s\" is running",
                         place->source, place->collection)
                   : err_set_errno(err, errno, "cannot lock %s", m->path);
    r = read_lines(m, &lines, err);
    if (r == ERR_OK && lines > 2 * m->count + COMPACT_AFTER)
        r = compact(m, err);
    if (r || lines > 0)
        return r;
    char what[sizeof m->line];
    snprintf(what, sizeof what, "%s %s %s", place->target, place->collection, place->source);
    snprintf(m->line, sizeof m->line, "lookalike import 1: ");
    return write_line(m, what, err);
}

enum result cli_manifest_open(
    const struct cli_manifest_place *place, struct cli_manifest **out, struct err *err)
{
    struct cli_manifest *m = calloc(1, sizeof *m);
    if (!m)
        return err_no_memory(err);
    m->fd = -1;
    m->size = 1024;
    pthread_mutex_init(&m->mutex, NULL);
    m->slots = calloc(m->size, sizeof *m->slots);
    m->source = strdup(place->source);
    enum result r = m->slots && m->source ? open_file(m, place, err) : err_no_memory(err);
    if (r)
        cli_manifest_close(m);
    else
        *out = m;
    return r;
}

void cli_manifest_close(struct cli_manifest *m)
{
    if (!m)
        return;
    if (m->fd >= 0) {
        (void)!cli_manifest_sync(m, NULL);
        close(m->fd);
    }
    pthread_mutex_destroy(&m->mutex);
    free(m->slots);
    free(m->source);
    free(m);
}
