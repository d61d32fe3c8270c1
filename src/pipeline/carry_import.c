#include "base/clock.h"
#include "base/limits.h"
#include "base/parse.h"
#include "json/json.h"
#include "pipeline/carry.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define BATCH 256
#define BATCH_BYTES (16 * (size_t)LIMIT_MIB) /* of pictures in one write */
#define DESCRIPTION_MAX (64 * LIMIT_KIB)
#define PLAIN (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

struct import {
    struct store *store;
    const char *folder;
    const struct carry_watch *watch;
    char collection[LIMIT_COLLECTION_NAME + 2];
    struct store_settings settings;
    uint64_t all, bytes, line; /* line: of records.jsonl */
    FILE *records, *vectors, *thumbnails;
    FILE *originals; /* NULL: there are none */
    struct store_write writes[BATCH];
    char *tags[BATCH], *briefs[BATCH];
    uint8_t *thumbs[BATCH], *files[BATCH];
    float *rows; /* BATCH of them */
    size_t count, picture_bytes;
};

static int64_t deadline(void)
{
    return clock_now_ms() + LIMIT_REQUEST_MS;
}

/* --- collection.json ---------------------------------------------------------------------------------------------- */

static enum result damaged(const struct import *m, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%.300s is no export that can be read: %s", m->folder, what);
}

static enum result open_file(struct import *m, const char *name, struct json_object *sizes, FILE **out, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    bool found = false;
    int64_t size = 0;
    int n = snprintf(path, sizeof path, "%s/%s", m->folder, name);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (!f)
        return err_set_errno(err, errno, "cannot read %.300s/%s", m->folder, name);
    *out = f;
    if (!sizes)
        return ERR_OK;
    if (fstat(fileno(f), &st) || json_get_i64(sizes, name, &found, &size, NULL) || !found || size < 0)
        return damaged(m, CARRY_COLLECTION " does not say how large the files are", err);
    if ((int64_t)st.st_size != size)
        return err_set(err, ERR_CORRUPT, "%.300s/%s has %lld bytes, and " CARRY_COLLECTION " says %" PRId64, m->folder, name,
            (long long)st.st_size, size);
    m->bytes += (uint64_t)size;
    return ERR_OK;
}

static enum result read_number(
    const struct import *m, struct json_object *root, const char *name, int64_t least, int64_t most, int64_t *out, struct err *err)
{
    bool found = false;
    char what[96];
    if (json_get_i64(root, name, &found, out, NULL) == ERR_OK && found && *out >= least && *out <= most)
        return ERR_OK;
    snprintf(what, sizeof what, CARRY_COLLECTION " has no usable \"%s\"", name);
    return damaged(m, what, err);
}

static enum result read_settings(struct import *m, struct json_object *root, struct err *err)
{
    static const char *const metrics[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};
    struct store_settings *s = &m->settings;
    int64_t version = 0, dimension = 0, descriptor = 0, background = 0, all = 0;
    const char *model = NULL, *metric = NULL;
    bool found = false, thumbnails = false, originals = false;
    size_t len = 0;
    enum result r = read_number(m, root, "lookalike_export", 1, 1, &version, err);
    if (r == ERR_OK)
        r = read_number(m, root, "dimension", 1, LIMIT_DIMENSION, &dimension, err);
    if (r == ERR_OK)
        r = read_number(m, root, "descriptor", dimension, LIMIT_DIMENSION, &descriptor, err);
    if (r == ERR_OK)
        r = read_number(m, root, "background", 0, UINT32_MAX, &background, err);
    if (r == ERR_OK)
        r = read_number(m, root, "records", 0, LIMIT_RECORDS, &all, err);
    if (r)
        return r;
    if (json_get_string(root, "model", &found, &model, &len, NULL) || !found || len == 0 || len >= sizeof s->model || strlen(model) != len)
        return damaged(m, CARRY_COLLECTION " names no model", err);
    if (json_get_bool(root, "thumbnails", &found, &thumbnails, NULL) || !found)
        return damaged(m, CARRY_COLLECTION " has no usable \"thumbnails\"", err);
    if (json_get_bool(root, "originals", &found, &originals, NULL)) /* exports of older versions do not say */
        return damaged(m, CARRY_COLLECTION " has no usable \"originals\"", err);
    if (json_get_string(root, "metric", &found, &metric, &len, NULL) || !found)
        metric = "";
    size_t k = 0;
    while (k < 3 && strcmp(metric, metrics[k]) != 0)
        k++;
    if (k == 3)
        return damaged(m, CARRY_COLLECTION " has no usable \"metric\"", err);
    *s = (struct store_settings){.dimension = (uint32_t)dimension, .descriptor = (uint32_t)descriptor, .metric = (enum store_metric)k,
        .thumbnails = thumbnails, .originals = originals, .background = (uint32_t)background};
    snprintf(s->model, sizeof s->model, "%s", model);
    if (json_get_string(root, "input", &found, &model, &len, NULL) || (found && (len >= sizeof s->input || strlen(model) != len)))
        return damaged(m, CARRY_COLLECTION " has no usable \"input\"", err);
    if (found)
        snprintf(s->input, sizeof s->input, "%s", model);
    m->all = (uint64_t)all;
    return ERR_OK;
}

static enum result read_description(struct import *m, const char *as, struct err *err)
{
    char *text = malloc(DESCRIPTION_MAX);
    struct json_object *root = NULL;
    const char *name = NULL;
    bool found = false;
    size_t len = 0;
    FILE *f = NULL;
    enum result r = text ? open_file(m, CARRY_COLLECTION, NULL, &f, err) : err_no_memory(err);
    if (r == ERR_OK) {
        size_t n = fread(text, 1, DESCRIPTION_MAX, f);
        struct err why = {0};
        if (n == DESCRIPTION_MAX || json_parse(text, n, &root, &why) || !json_object_is_type(root, json_type_object))
            r = damaged(m, CARRY_COLLECTION " holds no JSON object of the expected size", err);
    }
    if (r == ERR_OK)
        r = read_settings(m, root, err);
    if (r == ERR_OK && !as && (json_get_string(root, "collection", &found, &name, &len, NULL) || !found || strlen(name) != len))
        r = damaged(m, CARRY_COLLECTION " names no collection", err);
    if (r == ERR_OK)
        snprintf(m->collection, sizeof m->collection, "%s", as ? as : name);
    struct json_object *sizes = json_member(root, "bytes");
    if (r == ERR_OK && !json_object_is_type(sizes, json_type_object))
        r = damaged(m, CARRY_COLLECTION " does not say how large the files are", err);
    if (r == ERR_OK)
        r = open_file(m, CARRY_RECORDS, sizes, &m->records, err);
    if (r == ERR_OK)
        r = open_file(m, CARRY_VECTORS, sizes, &m->vectors, err);
    if (r == ERR_OK)
        r = open_file(m, CARRY_THUMBNAILS, sizes, &m->thumbnails, err);
    if (r == ERR_OK && m->settings.originals)
        r = open_file(m, CARRY_ORIGINALS, sizes, &m->originals, err);
    if (f)
        fclose(f);
    json_object_put(root);
    free(text);
    return r;
}

/* --- records ------------------------------------------------------------------------------------------------------- */

static enum result bad_line(const struct import *m, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "line %" PRIu64 " of %.300s/" CARRY_RECORDS ": %s", m->line, m->folder, what);
}

static bool tags_are_right(struct json_object *tags)
{
    if (!json_object_is_type(tags, json_type_array) || json_object_array_length(tags) > LIMIT_TAGS)
        return false;
    for (size_t i = 0; i < json_object_array_length(tags); i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        if (!json_object_is_type(tag, json_type_string) || json_object_get_string_len(tag) > LIMIT_TAG_BYTES)
            return false;
    }
    return true;
}

/* A picture of the record that is being read, the caller's to free. */
static enum result read_picture(struct import *m, struct json_object *root, bool original, uint8_t **out, size_t *length, struct err *err)
{
    const char *name = original ? "original" : "thumbnail";
    FILE *file = original ? m->originals : m->thumbnails;
    int64_t most = original ? LIMIT_BODY : LIMIT_THUMBNAIL_BYTES;
    struct json_object *place = json_member(root, name);
    char what[64];
    if (!place || !file)
        return ERR_OK;
    bool two = json_object_is_type(place, json_type_array) && json_object_array_length(place) == 2;
    int64_t offset = two ? json_object_get_int64(json_object_array_get_idx(place, 0)) : -1;
    int64_t len = two ? json_object_get_int64(json_object_array_get_idx(place, 1)) : -1;
    snprintf(what, sizeof what, "\"%s\" must be an offset and a length", name);
    if (offset < 0 || len < 1 || len > most)
        return bad_line(m, what, err);
    uint8_t *bytes = malloc((size_t)len);
    if (!bytes)
        return err_no_memory(err);
    *out = bytes;
    *length = (size_t)len;
    m->picture_bytes += (size_t)len;
    snprintf(what, sizeof what, "the %s is not in %s", name, original ? CARRY_ORIGINALS : CARRY_THUMBNAILS);
    if (fseeko(file, (off_t)offset, SEEK_SET) || fread(bytes, 1, (size_t)len, file) != (size_t)len)
        return bad_line(m, what, err);
    return ERR_OK;
}

static enum result read_line(struct import *m, const char *text, size_t len, struct err *err)
{
    struct json_object *root = NULL;
    struct err why = {0};
    bool has_file = false, has_item = false;
    size_t i = m->count, d = m->settings.descriptor;
    struct store_write *w = &m->writes[i];
    *w = (struct store_write){.kind = STORE_PUT, .has_itemid = true, .vector = m->rows + i * d, .dimension = m->settings.descriptor, .edition = m->settings.edition};
    if (json_parse(text, len, &root, &why))
        return bad_line(m, why.message, err);
    m->count++; /* from here on release() frees what it has */
    struct json_object *tags = json_member(root, "tags"), *brief = json_member(root, "brief");
    enum result r = ERR_OK;
    if (!json_object_is_type(root, json_type_object) || json_get_i64(root, "fileid", &has_file, &w->fileid, NULL) ||
        json_get_i64(root, "itemid", &has_item, &w->itemid, NULL) || !has_file || !has_item)
        r = bad_line(m, "a record needs a fileid and an itemid, both integers", err);
    else if (!tags_are_right(tags))
        r = bad_line(m, "\"tags\" must be an array of at most 10 strings of at most 240 bytes", err);
    else if (!json_object_is_type(brief, json_type_object))
        r = bad_line(m, "\"brief\" must be an object", err);
    if (r == ERR_OK) {
        m->tags[i] = strdup(json_object_to_json_string_ext(tags, PLAIN));
        m->briefs[i] = strdup(json_object_to_json_string_ext(brief, PLAIN));
        r = m->tags[i] && m->briefs[i] ? ERR_OK : err_no_memory(err);
    }
    if (r == ERR_OK && strlen(m->briefs[i]) > LIMIT_BRIEF_BYTES)
        r = bad_line(m, "\"brief\" is larger than 64 KiB", err);
    w->tags = m->tags[i];
    w->brief = m->briefs[i];
    if (r == ERR_OK)
        r = read_picture(m, root, false, &m->thumbs[i], &w->thumbnail_len, err);
    w->thumbnail = m->thumbs[i];
    if (r == ERR_OK)
        r = read_picture(m, root, true, &m->files[i], &w->original_len, err);
    w->original = m->files[i];
    if (r == ERR_OK && fread(m->rows + i * d, sizeof(float), d, m->vectors) != d)
        r = bad_line(m, "there is no row for it in " CARRY_VECTORS, err);
    json_object_put(root);
    return r;
}

static void release(struct import *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->tags[i]);
        free(m->briefs[i]);
        free(m->thumbs[i]);
        free(m->files[i]);
        m->tags[i] = m->briefs[i] = NULL;
        m->thumbs[i] = m->files[i] = NULL;
    }
    m->count = m->picture_bytes = 0;
}

static enum result write_batch(struct import *m, struct err *err)
{
    enum result r = m->count ? store_write(m->store, m->collection, m->writes, m->count, deadline(), err) : ERR_OK;
    release(m);
    if (r == ERR_OK && m->watch->progress && !m->watch->progress(m->watch->user, m->line, m->all))
        r = err_set(err, ERR_UNAVAILABLE, "the import was stopped");
    return r;
}

/* The next line without its end. ERR_NOT_FOUND at the end of the file. */
static enum result next_line(struct import *m, struct buf *line, struct err *err)
{
    char piece[8192];
    buf_clear(line);
    m->line++;
    while (fgets(piece, sizeof piece, m->records)) {
        size_t n = strlen(piece);
        bool end = n && piece[n - 1] == '\n';
        if (buf_append(line, piece, n - end))
            return bad_line(m, "it is longer than 4 MiB", err);
        if (end)
            return ERR_OK;
    }
    if (ferror(m->records))
        return err_set_errno(err, errno, "cannot read %.300s/" CARRY_RECORDS, m->folder);
    return line->len ? ERR_OK : ERR_NOT_FOUND;
}

static enum result read_all(struct import *m, struct err *err)
{
    struct buf line;
    enum result r;
    buf_init(&line, LIMIT_IMPORT_LINE);
    while (!(r = next_line(m, &line, err))) {
        r = read_line(m, line.data ? line.data : "", line.len, err);
        if (r == ERR_OK && (m->count == BATCH || m->picture_bytes >= BATCH_BYTES))
            r = write_batch(m, err);
        if (r)
            break;
    }
    buf_free(&line);
    if (r == ERR_NOT_FOUND) {
        m->line--;
        r = write_batch(m, err);
    }
    uint64_t there = 0;
    if (r == ERR_OK)
        r = store_count(m->store, m->collection, deadline(), &there, err);
    if (r == ERR_OK && (m->line != m->all || there != m->all))
        r = err_set(err, ERR_CORRUPT, "%.300s has %" PRIu64 " records with %" PRIu64 " fileids, and " CARRY_COLLECTION " says %" PRIu64,
            m->folder, m->line, there, m->all);
    return r;
}

static enum result create_and_read(struct import *m, struct err *err)
{
    uint64_t expected = 0;
    if (__builtin_mul_overflow(m->all, (uint64_t)m->settings.descriptor * sizeof(float), &expected))
        return damaged(m, "it is too large", err);
    if (fseeko(m->vectors, 0, SEEK_END) || (uint64_t)ftello(m->vectors) != expected || fseeko(m->vectors, 0, SEEK_SET))
        return damaged(m, CARRY_VECTORS " has not a row for each record", err);
    m->rows = malloc(BATCH * (size_t)m->settings.descriptor * sizeof *m->rows);
    if (!m->rows)
        return err_no_memory(err);
    enum result r = store_create(m->store, m->collection, &m->settings, deadline(), err);
    if (r)
        return r;
    struct store_settings made;
    r = store_settings(m->store, m->collection, &made, err);
    if (r == ERR_OK) {
        m->settings.edition = made.edition; /* the vectors are of this, and of no other that may take its place */
        r = read_all(m, err);
    }
    if (r && store_drop(m->store, m->collection, deadline(), NULL)) { /* it stays, as far as it came: the first error says why */
    }
    return r;
}

enum result carry_import(struct store *store, const char *folder, const char *as, const struct carry_watch *watch,
    struct carry_report *out, struct err *err)
{
    struct import *m = calloc(1, sizeof *m);
    if (!m)
        return err_no_memory(err);
    m->store = store;
    m->folder = folder;
    m->watch = watch;
    enum result r = read_description(m, as, err);
    if (r == ERR_OK && !parse_is_collection_name(m->collection))
        r = err_set_field(err, ERR_INVALID, "as", "\"%.100s\" is no collection's name", m->collection);
    if (r == ERR_OK)
        r = create_and_read(m, err);
    release(m);
    if (r == ERR_OK)
        *out = (struct carry_report){.records = m->all, .bytes = m->bytes};
    FILE *const files[] = {m->records, m->vectors, m->thumbnails, m->originals};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i])
            fclose(files[i]);
    free(m->rows);
    free(m);
    return r;
}
