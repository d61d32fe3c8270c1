#include "base/clock.h"
#include "base/limits.h"
#include "json/json.h"
#include "pipeline/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 256

struct export {
    struct store *store;
    const char *collection, *folder;
    const struct carry_watch *watch;
    struct store_settings settings;
    uint32_t descriptor; /* floats of a row, as the store gives them */
    FILE *records, *vectors, *thumbnails;
    FILE *originals; /* NULL: the collection keeps none */
    struct buf text; /* lines, then a picture */
    uint64_t count, all, record_bytes, thumbnail_bytes, original_bytes;
};

static int64_t deadline(void)
{
    return clock_now_ms() + LIMIT_REQUEST_MS;
}

static FILE *open_in(const struct export *x, const char *name, struct err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", x->folder, name);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "we") : NULL;
    if (!f)
        err_set_errno(err, errno, "cannot write %.300s/%s", x->folder, name);
    return f;
}

static enum result put(struct export *x, FILE *file, const void *bytes, size_t len, struct err *err)
{
    if (len && fwrite(bytes, 1, len, file) != len)
        return err_set_errno(err, errno, "cannot write to the export in %.300s", x->folder);
    return ERR_OK;
}

/* On disk, and closed in either case. */
static enum result finish(struct export *x, FILE **file, struct err *err)
{
    FILE *f = *file;
    if (!f)
        return ERR_OK;
    *file = NULL;
    bool ok = fflush(f) == 0 && fsync(fileno(f)) == 0;
    int e = errno;
    if (fclose(f) && ok) {
        ok = false;
        e = errno;
    }
    return ok ? ERR_OK : err_set_errno(err, e, "cannot write to the export in %.300s", x->folder);
}

static enum result put_picture(struct export *x, const struct store_record *record, bool original, struct buf *line, struct err *err)
{
    uint64_t *bytes = original ? &x->original_bytes : &x->thumbnail_bytes;
    buf_clear(&x->text);
    enum result r = (original ? store_original : store_thumbnail)(x->store, x->collection, record->fileid, deadline(), &x->text, err);
    if (r == ERR_NOT_FOUND) /* replaced or deleted since the page was read; or it came without */
        return ERR_OK;
    if (r == ERR_OK)
        r = put(x, original ? x->originals : x->thumbnails, x->text.data, x->text.len, err);
    if (r == ERR_OK)
        r = buf_appendf(line, ",\"%s\":[%" PRIu64 ",%zu]", original ? "original" : "thumbnail", *bytes, x->text.len);
    *bytes += x->text.len;
    return r;
}

static enum result put_record(struct export *x, const struct store_record *record, struct buf *line, struct err *err)
{
    buf_clear(line);
    enum result r = buf_appendf(line, "{\"fileid\":%" PRId64 ",\"itemid\":%" PRId64 ",\"tags\":", record->fileid, record->itemid);
    if (r == ERR_OK)
        r = buf_append_str(line, record->tags);
    if (r == ERR_OK)
        r = buf_append_str(line, ",\"brief\":");
    if (r == ERR_OK)
        r = buf_append_str(line, record->brief);
    if (r == ERR_OK && record->has_thumbnail)
        r = put_picture(x, record, false, line, err);
    if (r == ERR_OK && x->originals)
        r = put_picture(x, record, true, line, err);
    if (r == ERR_OK)
        r = buf_append_str(line, "}\n");
    if (r)
        return err_set(err, r, "the record %" PRId64 " cannot be written as a line", record->fileid);
    r = put(x, x->records, line->data, line->len, err);
    if (r == ERR_OK)
        r = put(x, x->vectors, record->vector, x->descriptor * sizeof *record->vector, err);
    x->record_bytes += line->len;
    x->count++;
    return r;
}

static enum result put_all(struct export *x, struct err *err)
{
    struct store_browse browse = {.from_start = true, .limit = PAGE, .with_vectors = true, .descriptors = true};
    struct buf line;
    bool more = true;
    enum result r = ERR_OK;
    buf_init(&line, LIMIT_IMPORT_LINE);
    while (r == ERR_OK && more) {
        struct store_records page = {0};
        r = store_browse_where(x->store, x->collection, &browse, deadline(), &page, err);
        if (r == ERR_OK && page.count)
            x->descriptor = page.dimension;
        for (size_t i = 0; r == ERR_OK && i < page.count; i++)
            r = put_record(x, &page.items[i], &line, err);
        if (r == ERR_OK && x->watch->progress && !x->watch->progress(x->watch->user, x->count, x->all))
            r = err_set(err, ERR_UNAVAILABLE, "the export was stopped");
        more = page.more;
        browse.from_start = false;
        browse.after = page.next;
        store_records_free(&page);
    }
    buf_free(&line);
    return r;
}

static enum result describe(struct export *x, struct buf *out)
{
    static const char *const metrics[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};
    const struct store_settings *s = &x->settings;
    enum result r = buf_appendf(out, "{\"lookalike_export\":1,\"collection\":\"%s\",\"model\":", x->collection);
    if (r == ERR_OK)
        r = json_append_string(out, s->model, strlen(s->model));
    if (r == ERR_OK && *s->input)
        r = buf_append_str(out, ",\"input\":");
    if (r == ERR_OK && *s->input)
        r = json_append_string(out, s->input, strlen(s->input));
    if (r == ERR_OK)
        r = buf_appendf(out,
            ",\"dimension\":%" PRIu32 ",\"descriptor\":%" PRIu32 ",\"metric\":\"%s\",\"thumbnails\":%s,\"originals\":%s,\"background\":%" PRIu32
            ",\"records\":%" PRIu64 ",\n \"bytes\":{\"" CARRY_RECORDS "\":%" PRIu64 ",\"" CARRY_VECTORS "\":%" PRIu64
            ",\"" CARRY_THUMBNAILS "\":%" PRIu64,
            s->dimension, x->descriptor, metrics[s->metric], s->thumbnails ? "true" : "false", s->originals ? "true" : "false", s->background,
            x->count, x->record_bytes, x->count * x->descriptor * sizeof(float), x->thumbnail_bytes);
    if (r == ERR_OK && s->originals)
        r = buf_appendf(out, ",\"" CARRY_ORIGINALS "\":%" PRIu64, x->original_bytes);
    return r ? r : buf_append_str(out, "}}\n");
}

static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* collection.json in one step: from here on there is an export. */
static enum result conclude(struct export *x, struct err *err)
{
    char aside[PATH_MAX], path[PATH_MAX];
    FILE *file = open_in(x, CARRY_COLLECTION ".new", err);
    if (!file)
        return err->code;
    buf_clear(&x->text);
    enum result r = describe(x, &x->text);
    if (r == ERR_OK)
        r = put(x, file, x->text.data, x->text.len, err);
    enum result closed = finish(x, &file, r ? NULL : err);
    if (r || closed)
        return r ? r : closed;
    snprintf(aside, sizeof aside, "%s/" CARRY_COLLECTION ".new", x->folder);
    snprintf(path, sizeof path, "%s/" CARRY_COLLECTION, x->folder);
    if (!sync_folder(x->folder) || rename(aside, path) || !sync_folder(x->folder))
        return err_set_errno(err, errno, "cannot complete the export in %.300s", x->folder);
    return ERR_OK;
}

/* Only what an export has; the old one ends here. */
static enum result make_room(const char *folder, bool replace, struct err *err)
{
    static const char *const names[] = {CARRY_COLLECTION, CARRY_RECORDS, CARRY_VECTORS, CARRY_THUMBNAILS, CARRY_ORIGINALS};
    char path[PATH_MAX];
    if (strlen(folder) > PATH_MAX - 64)
        return err_set(err, ERR_INVALID, "the path of the folder is too long");
    if (mkdir(folder, 0777) && errno != EEXIST)
        return err_set_errno(err, errno, "cannot make the folder %.300s", folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (i == 0 && !replace && lstat(path, &st) == 0)
            return err_set(err, ERR_EXISTS, "there is an export in %.300s already; choose another folder, or give --replace", folder);
        if (unlink(path) && errno != ENOENT)
            return err_set_errno(err, errno, "cannot take away %.300s", path);
    }
    return ERR_OK;
}

enum result carry_export(struct store *store, const char *collection, const char *folder, bool replace,
    const struct carry_watch *watch, struct carry_report *out, struct err *err)
{
    struct err mine = {0};
    struct export x = {.store = store, .collection = collection, .folder = folder, .watch = watch};
    err = err ? err : &mine;
    enum result r = store_settings(store, collection, &x.settings, err);
    if (r == ERR_OK)
        r = store_count(store, collection, deadline(), &x.all, err);
    if (r == ERR_OK)
        r = make_room(folder, replace, err);
    if (r)
        return r;
    x.descriptor = x.settings.dimension;
    buf_init(&x.text, LIMIT_BODY + LIMIT_KIB);
    if (!(x.records = open_in(&x, CARRY_RECORDS, err)) || !(x.vectors = open_in(&x, CARRY_VECTORS, err)) ||
        !(x.thumbnails = open_in(&x, CARRY_THUMBNAILS, err)))
        r = err->code;
    if (r == ERR_OK && x.settings.originals && !(x.originals = open_in(&x, CARRY_ORIGINALS, err)))
        r = err->code;
    if (r == ERR_OK)
        r = put_all(&x, err);
    FILE **files[] = {&x.records, &x.vectors, &x.thumbnails, &x.originals};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        enum result closed = finish(&x, files[i], r ? NULL : err);
        r = r ? r : closed;
    }
    if (r == ERR_OK)
        r = conclude(&x, err);
    buf_free(&x.text);
    if (r == ERR_OK)
        *out = (struct carry_report){.records = x.count, .bytes = x.record_bytes + x.thumbnail_bytes + x.original_bytes + x.count * x.descriptor * sizeof(float)};
    return r;
}
