#include "store/migrate.h"

#include "base/clock.h"
#include "base/limits.h"
#include "filter/filter.h"
#include "store/store_backend.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 1000
#define PAGE_BYTES (4 * LIMIT_MIB) /* of vectors */
#define SAMPLE_STEP 200            /* records compared at the end with one question to each store */
#define NOTES 5                    /* of one kind; the numbers say how many there are */

static void note(const struct store_migrate *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(const struct store_migrate *m, const char *format, ...)
{
    char text[512];
    va_list args;
    if (!m->note)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    m->note(m->user, text);
}

/* --- one record after the other --------------------------------------------------------------------------------- */

struct cursor {
    struct store *store;
    const char *collection;
    uint32_t rows;
    struct store_records page;
    size_t at;
    bool begun;
};

/* The next page. True in *end where there is none. */
static enum result turn(struct cursor *c, bool *end, struct err *err)
{
    struct store_browse browse = {.from_start = !c->begun, .after = c->page.next, .limit = c->rows, .with_vectors = true};
    struct store_records page = {0};
    *end = c->begun && !c->page.more;
    if (*end)
        return ERR_OK;
    enum result r = store_browse_where(c->store, c->collection, &browse, clock_now_ms() + LIMIT_REQUEST_MS, &page, err);
    if (r)
        return r;
    store_records_free(&c->page);
    c->page = page;
    c->begun = true;
    c->at = 0;
    *end = page.count == 0;
    return ERR_OK;
}

/* The record at the cursor, NULL behind the last one. */
static enum result peek(struct cursor *c, const struct store_record **out, struct err *err)
{
    bool end = false;
    enum result r = c->begun && c->at < c->page.count ? ERR_OK : turn(c, &end, err);
    if (!r)
        *out = end ? NULL : &c->page.items[c->at];
    return r;
}

/* --- the same? -------------------------------------------------------------------------------------------------- */

static bool same_json(const char *a, const char *b)
{
    if (strcmp(a, b) == 0)
        return true;
    struct json_object *x = json_tokener_parse(a), *y = json_tokener_parse(b);
    bool same = x && y && json_object_equal(x, y);
    json_object_put(x);
    json_object_put(y);
    return same;
}

struct pair {
    const struct store_migrate *m;
    uint32_t dimension;
    bool thumbnails;    /* both keep them */
    uint16_t *halves;   /* room for two vectors */
};

/* Vectors as both stores keep them: rounded to 16 bits. */
static bool same_vector(const struct pair *p, const float *a, const float *b)
{
    uint32_t n = p->dimension;
    struct err ignored;
    if (store_vector_to_f16(a, n, n, "", p->halves, &ignored) || store_vector_to_f16(b, n, n, "", p->halves + n, &ignored))
        return false;
    return memcmp(p->halves, p->halves + n, n * sizeof *p->halves) == 0;
}

/* What differs, as a word, or NULL. */
static const char *difference(const struct pair *p, const struct store_record *a, const struct store_record *b)
{
    if (a->itemid != b->itemid)
        return "itemid";
    if (!same_json(a->tags, b->tags))
        return "tags";
    if (!same_json(a->brief, b->brief))
        return "brief";
    if (!same_vector(p, a->vector, b->vector))
        return "vector";
    return p->thumbnails && a->has_thumbnail && !b->has_thumbnail ? "thumbnail" : NULL;
}

/* --- copying ---------------------------------------------------------------------------------------------------- */

struct batch {
    struct store_write *writes;
    struct buf *thumbnails;
    size_t count;
};

static enum result add_write(const struct pair *p, struct batch *b, const struct store_record *r, struct err *err)
{
    struct buf *thumbnail = &b->thumbnails[b->count];
    struct store_write *w = &b->writes[b->count];
    *w = (struct store_write){.kind = STORE_PUT,
        .fileid = r->fileid,
        .has_itemid = true,
        .itemid = r->itemid,
        .tags = r->tags,
        .brief = r->brief,
        .vector = r->vector,
        .dimension = p->dimension};
    buf_init(thumbnail, LIMIT_THUMBNAIL_BYTES);
    b->count++;
    if (!p->thumbnails || !r->has_thumbnail)
        return ERR_OK;
    enum result got = store_thumbnail(p->m->from, p->m->collection, r->fileid, 0, thumbnail, err);
    w->thumbnail = (const uint8_t *)thumbnail->data;
    w->thumbnail_len = thumbnail->len;
    return got == ERR_NOT_FOUND ? ERR_OK : got;
}

static enum result flush(const struct pair *p, struct batch *b, struct store_migrate_report *report, struct err *err)
{
    enum result r = ERR_OK;
    if (b->count && !p->m->only_compare)
        r = store_write(p->m->to, p->m->collection, b->writes, b->count, clock_now_ms() + LIMIT_REQUEST_MS, err);
    if (!r)
        report->written += b->count;
    for (size_t i = 0; i < b->count; i++)
        buf_free(&b->thumbnails[i]);
    b->count = 0;
    return r;
}

static void count_extra(const struct store_migrate *m, struct store_migrate_report *report, int64_t fileid)
{
    if (report->extra++ < NOTES)
        note(m, "fileid %" PRId64 " is in the target alone", fileid);
}

/* Of the target: everything before this record is extra; its own row, if it is there, is compared. */
static enum result look(const struct pair *p, struct cursor *to, const struct store_record *record, bool *same,
    struct store_migrate_report *report, struct err *err)
{
    const struct store_record *there = NULL;
    enum result r;
    while (!(r = peek(to, &there, err)) && there && there->fileid < record->fileid) {
        count_extra(p->m, report, there->fileid);
        to->at++;
    }
    if (r || !there || there->fileid != record->fileid)
        return r;
    const char *what = difference(p, record, there);
    *same = !what;
    if (what && p->m->only_compare && report->written < NOTES)
        note(p->m, "fileid %" PRId64 ": another %s", record->fileid, what);
    to->at++;
    return ERR_OK;
}

/* Numbers of the source, evenly drawn from all that were seen. */
struct sample {
    int64_t *fileids;
    uint64_t max, count, random;
};

static void draw(struct sample *s, uint64_t seen, int64_t fileid)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    uint64_t place = s->count < s->max ? s->count++ : s->random % (seen + 1);
    if (place < s->max)
        s->fileids[place] = fileid;
}

/* One page of the source. */
static enum result copy_page(const struct pair *p, struct cursor *from, struct cursor *to, struct batch *b,
    struct sample *sample, struct store_migrate_report *report, struct err *err)
{
    enum result r = ERR_OK;
    for (; from->at < from->page.count && !r; from->at++) {
        const struct store_record *record = &from->page.items[from->at];
        bool same = false;
        r = look(p, to, record, &same, report, err);
        if (!r && !same)
            r = add_write(p, b, record, err);
        if (!r)
            draw(sample, report->records++, record->fileid);
    }
    if (!r)
        return flush(p, b, report, err);
    for (size_t i = 0; i < b->count; i++)
        buf_free(&b->thumbnails[i]);
    b->count = 0;
    return r;
}

static enum result copy_all(const struct pair *p, struct cursor *from, struct cursor *to, struct sample *sample,
    struct store_migrate_report *report, struct err *err)
{
    const struct store_migrate *m = p->m;
    const struct store_record *record = NULL;
    struct batch b = {.writes = calloc(from->rows, sizeof *b.writes), .thumbnails = calloc(from->rows, sizeof *b.thumbnails)};
    enum result r = b.writes && b.thumbnails ? ERR_OK : err_no_memory(err);
    while (!r && !(r = peek(from, &record, err)) && record) {
        r = copy_page(p, from, to, &b, sample, report, err);
        if (!r && m->progress && !m->progress(m->user, report->records, report->source))
            r = err_set(err, ERR_UNAVAILABLE, "stopped; the same command goes on from here");
    }
    while (!r && !(r = peek(to, &record, err)) && record) {
        count_extra(m, report, record->fileid);
        to->at++;
    }
    free(b.writes);
    free(b.thumbnails);
    return r;
}

/* --- at the end ------------------------------------------------------------------------------------------------- */

static enum result same_thumbnail(const struct pair *p, int64_t fileid, bool *same, struct err *err)
{
    struct buf a, b;
    buf_init(&a, LIMIT_THUMBNAIL_BYTES);
    buf_init(&b, LIMIT_THUMBNAIL_BYTES);
    enum result r = store_thumbnail(p->m->from, p->m->collection, fileid, 0, &a, err);
    if (!r)
        r = store_thumbnail(p->m->to, p->m->collection, fileid, 0, &b, err);
    *same = !r && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
    buf_free(&a);
    buf_free(&b);
    return r == ERR_NOT_FOUND ? ERR_OK : r;
}

/* The records of a step of the sample in one store, in fileid order: one question, and not one for each. */
static enum result read_step(struct store *store, const struct store_migrate *m, const int64_t *fileids, size_t count,
    struct store_records *out, struct err *err)
{
    if (count == 1) /* also the lowest number, which Milvus cannot read in a filter */
        return store_get_file(store, m->collection, fileids[0], clock_now_ms() + LIMIT_REQUEST_MS, out, err);
    struct filter *filter = NULL;
    struct buf text;
    buf_init(&text, LIMIT_FILTER_BYTES);
    enum result r = ERR_OK;
    for (size_t i = 0; i < count && !r; i++)
        r = buf_appendf(&text, "%s%" PRId64, i ? "," : "fileid in [", fileids[i]);
    if (!r)
        r = buf_append_str(&text, "]");
    if (!r)
        r = filter_parse(text.data, text.len, &filter, err);
    struct store_browse browse = {.from_start = true, .limit = (uint32_t)count, .with_vectors = true, .filter = filter};
    if (!r)
        r = store_browse_where(store, m->collection, &browse, clock_now_ms() + LIMIT_REQUEST_MS, out, err);
    filter_free(filter);
    buf_free(&text);
    return r;
}

static enum result compare_step(const struct pair *p, const struct store_records *a, const struct store_records *b,
    struct store_migrate_report *report, struct err *err)
{
    enum result r = ERR_OK;
    for (size_t i = 0, at = 0; i < a->count && !r; i++) {
        const struct store_record *x = &a->items[i], *y = NULL;
        const char *what = "record: it is not there";
        bool same = true;
        while (at < b->count && b->items[at].fileid < x->fileid)
            at++;
        if (at < b->count && b->items[at].fileid == x->fileid)
            y = &b->items[at];
        if (y)
            what = difference(p, x, y);
        if (!what && p->thumbnails && x->has_thumbnail)
            r = same_thumbnail(p, x->fileid, &same, err);
        if (!same)
            what = "thumbnail";
        if (what && report->different++ < NOTES)
            note(p->m, "fileid %" PRId64 ": another %s", x->fileid, what);
    }
    report->sampled += a->count; /* one that was deleted from a Milvus meanwhile is none */
    return r;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum result check_end(const struct pair *p, const struct sample *sample, struct store_migrate_report *report, struct err *err)
{
    const struct store_migrate *m = p->m;
    enum result r = store_count(m->from, m->collection, 0, &report->source, err);
    if (!r)
        r = store_count(m->to, m->collection, 0, &report->target, err);
    qsort(sample->fileids, sample->count, sizeof *sample->fileids, compare_ids);
    for (size_t at = 0, n; at < sample->count && !r; at += n) {
        struct store_records a = {0}, b = {0};
        n = sample->count - at < SAMPLE_STEP ? sample->count - at : SAMPLE_STEP;
        if (sample->fileids[at] == INT64_MIN)
            n = 1;
        r = read_step(m->from, m, sample->fileids + at, n, &a, err);
        if (!r)
            r = read_step(m->to, m, sample->fileids + at, n, &b, err);
        if (!r)
            r = compare_step(p, &a, &b, report, err);
        store_records_free(&a);
        store_records_free(&b);
        if (!r && m->progress && !m->progress(m->user, report->records, report->source))
            r = err_set(err, ERR_UNAVAILABLE, "stopped while comparing; the same command does it again");
    }
    return r;
}

/* --- the collection --------------------------------------------------------------------------------------------- */

static enum result compare_settings(const struct store_migrate *m, const struct store_settings *a, const struct store_settings *b, struct err *err)
{
    static const char *const metrics[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};
    if (a->dimension != b->dimension)
        return err_set_field(err, ERR_INVALID, "collection",
            "the target has a collection \"%.100s\" with vectors of %" PRIu32 " dimensions; those of the source have %" PRIu32
            ": drop it, or migrate into another store", m->collection, b->dimension, a->dimension);
    if (a->metric != b->metric)
        return err_set_field(err, ERR_INVALID, "collection",
            "the target has a collection \"%.100s\" that compares by %s; that of the source compares by %s: drop it, or migrate into another store",
            m->collection, metrics[b->metric], metrics[a->metric]);
    if (*a->model && *b->model && strcmp(a->model, b->model) != 0)
        return err_set_field(err, ERR_INVALID, "collection",
            "the target has a collection \"%.60s\" of the model %.60s; that of the source is of %.60s: drop it, or migrate into another store",
            m->collection, b->model, a->model);
    return ERR_OK;
}

/* Both collections there and of one kind. */
static enum result prepare(struct pair *p, struct err *err)
{
    const struct store_migrate *m = p->m;
    struct store_settings from, to;
    enum result r = store_settings(m->from, m->collection, &from, err);
    if (r)
        return r;
    r = store_settings(m->to, m->collection, &to, err);
    if (r == ERR_NOT_FOUND && !m->only_compare) {
        struct store_settings fresh = from;
        if (!*fresh.model && m->model)
            snprintf(fresh.model, sizeof fresh.model, "%s", m->model);
        fresh.descriptor = fresh.dimension;
        r = store_create(m->to, m->collection, &fresh, 0, err);
        if (!r)
            r = store_settings(m->to, m->collection, &to, err);
    }
    if (!r)
        r = compare_settings(m, &from, &to, err);
    if (r)
        return r;
    if (from.descriptor > to.descriptor)
        note(m, "collection %.100s: of its descriptors the %" PRIu32 " numbers of the vector go along, and not what `tune` learns from",
            m->collection, from.dimension);
    if (from.thumbnails && !to.thumbnails)
        note(m, "collection %.100s: the target keeps no thumbnails", m->collection);
    if (from.originals)
        note(m, "collection %.100s: the files as they came stay behind; the target has no place for them", m->collection);
    p->dimension = from.dimension;
    p->thumbnails = from.thumbnails && to.thumbnails;
    return ERR_OK;
}

enum result store_migrate(const struct store_migrate *m, struct store_migrate_report *out, struct err *err)
{
    struct pair p = {.m = m};
    struct sample sample = {.max = m->sample, .random = 88172645463325252u, .fileids = calloc((size_t)m->sample + 1, sizeof *sample.fileids)};
    struct cursor from = {.store = m->from, .collection = m->collection}, to = {.store = m->to, .collection = m->collection};
    *out = (struct store_migrate_report){0};
    enum result r = sample.fileids ? prepare(&p, err) : err_no_memory(err);
    if (!r)
        r = store_count(m->from, m->collection, 0, &out->source, err);
    if (!r) {
        size_t rows = PAGE_BYTES / (p.dimension * sizeof(float)) + 1;
        from.rows = to.rows = rows < PAGE_ROWS ? (uint32_t)rows : PAGE_ROWS;
        p.halves = calloc(p.dimension, 2 * sizeof *p.halves);
        r = p.halves ? ERR_OK : err_no_memory(err);
    }
    if (!r)
        r = copy_all(&p, &from, &to, &sample, out, err);
    if (!r)
        r = check_end(&p, &sample, out, err);
    store_records_free(&from.page);
    store_records_free(&to.page);
    free(sample.fileids);
    free(p.halves);
    return r;
}
