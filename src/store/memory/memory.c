/*
 * Everything in memory, for tests of what stands above the store, and as a second opinion on the embedded
 * one: so it is written the plain way (sort all, then pick) and shares none of the other's code. One mutex
 * for the whole store.
 */
#include "store/store_backend.h"

#include "base/limits.h"
#include "kernel/kernel.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>

struct record {
    int64_t fileid, itemid;
    char *tags, *brief;
    float *vector; /* rounded to 16 bits and back */
    uint8_t *thumbnail;
    size_t thumbnail_len;
};

struct collection {
    char name[LIMIT_COLLECTION_NAME + 1];
    struct store_settings settings;
    struct record *records; /* sorted by fileid */
    size_t count;
};

struct memory {
    pthread_mutex_t mutex;
    struct collection *collections; /* sorted by name */
    size_t count;
};

static void record_clear(struct record *r)
{
    free(r->tags);
    free(r->brief);
    free(r->vector);
    free(r->thumbnail);
}

static void records_clear(struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        record_clear(&records[i]);
    free(records);
}

static void *copy(const void *bytes, size_t len)
{
    void *p = malloc(len + 1);
    if (p)
        memcpy(p, bytes, len);
    return p;
}

static bool record_copy(struct record *to, const struct record *from, uint32_t dimension)
{
    *to =
        (struct record){.fileid = from->fileid, .itemid = from->itemid, .thumbnail_len = from->thumbnail_len};
    to->tags = strdup(from->tags);
    to->brief = strdup(from->brief);
    to->vector = copy(from->vector, dimension * sizeof(float));
    to->thumbnail = from->thumbnail ? copy(from->thumbnail, from->thumbnail_len) : NULL;
    return to->tags && to->brief && to->vector && (to->thumbnail || !from->thumbnail);
}

static size_t find_record(const struct record *records, size_t count, int64_t fileid)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (records[mid].fileid < fileid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t find_place(const struct memory *m, const char *name)
{
    size_t i = 0;
    while (i < m->count && strcmp(m->collections[i].name, name) < 0)
        i++;
    return i;
}

/* Locks; the caller unlocks on success. */
static enum result find(struct memory *m, const char *name, struct collection **out, struct err *err)
{
    pthread_mutex_lock(&m->mutex);
    size_t i = find_place(m, name);
    if (i < m->count && !strcmp(m->collections[i].name, name)) {
        *out = &m->collections[i];
        return ERR_OK;
    }
    pthread_mutex_unlock(&m->mutex);
    return err_set_field(err, ERR_NOT_FOUND, "collection", "there is no collection \"%s\"", name);
}

static void memory_close(void *state)
{
    struct memory *m = state;
    for (size_t i = 0; i < m->count; i++)
        records_clear(m->collections[i].records, m->collections[i].count);
    free(m->collections);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static enum result memory_create(void *state, const char *name, const struct store_settings *settings,
    int64_t deadline_ms, struct err *err)
{
    struct memory *m = state;
    enum result r = ERR_OK;
    pthread_mutex_lock(&m->mutex);
    size_t i = find_place(m, name);
    struct collection *grown = NULL;
    if (i < m->count && !strcmp(m->collections[i].name, name))
        r = err_set_field(err, ERR_EXISTS, "collection", "collection \"%s\" exists already", name);
    else if (m->count >= LIMIT_COLLECTIONS)
        r = err_set(err, ERR_TOO_LARGE, "there are %d collections, as many as there can be: drop one first",
            LIMIT_COLLECTIONS);
    else if (!(grown = realloc(m->collections, (m->count + 1) * sizeof *grown)))
        r = err_no_memory(err);
    if (!r) {
        m->collections = grown;
        memmove(grown + i + 1, grown + i, (m->count - i) * sizeof *grown);
        grown[i] = (struct collection){.settings = *settings};
        snprintf(grown[i].name, sizeof grown[i].name, "%s", name);
        m->count++;
    }
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static enum result memory_drop(void *state, const char *name, int64_t deadline_ms, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    records_clear(c->records, c->count);
    m->count--;
    memmove(c, c + 1, (size_t)(m->collections + m->count - c) * sizeof *c);
    pthread_mutex_unlock(&m->mutex);
    return ERR_OK;
}

static enum result memory_settings(void *state, const char *name, struct store_settings *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    *out = c->settings;
    pthread_mutex_unlock(&m->mutex);
    return ERR_OK;
}

static enum result memory_list(void *state, char ***names, size_t *count, struct err *err)
{
    struct memory *m = state;
    size_t bytes = 0;
    pthread_mutex_lock(&m->mutex);
    for (size_t i = 0; i < m->count; i++)
        bytes += strlen(m->collections[i].name) + 1;
    char **list = malloc((m->count + 1) * sizeof *list + bytes);
    char *text = list ? (char *)(list + m->count + 1) : NULL;
    for (size_t i = 0; list && i < m->count; i++) {
        size_t len = strlen(m->collections[i].name) + 1;
        list[i] = memcpy(text, m->collections[i].name, len);
        text += len;
    }
    if (list) {
        *names = list;
        *count = m->count;
    }
    pthread_mutex_unlock(&m->mutex);
    return list ? ERR_OK : err_no_memory(err);
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum result memory_stats(
    void *state, const char *name, int64_t deadline_ms, struct store_stats *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    int64_t *items = malloc((c->count + 1) * sizeof *items);
    if (!items) {
        r = err_no_memory(err);
        goto out;
    }
    struct store_stats stats = {.settings = c->settings, .records = c->count};
    stats.bytes_memory = sizeof *c;
    for (size_t i = 0; i < c->count; i++) {
        const struct record *n = &c->records[i];
        items[i] = n->itemid;
        stats.bytes_memory += sizeof *n + strlen(n->tags) + strlen(n->brief) + 2 + n->thumbnail_len +
                              c->settings.descriptor * sizeof(float);
    }
    qsort(items, c->count, sizeof *items, compare_ids);
    for (size_t i = 0; i < c->count; i++)
        stats.items += i == 0 || items[i] != items[i - 1];
    free(items);
    *out = stats;
out:
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static bool matches(const struct filter *filter, const struct record *n)
{
    return store_filter_matches(filter, n->fileid, n->itemid, n->tags, n->brief);
}

static enum result memory_count(void *state, const char *name, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    *out = 0;
    for (size_t i = 0; i < c->count; i++)
        *out += matches(filter, &c->records[i]);
    pthread_mutex_unlock(&m->mutex);
    return ERR_OK;
}

/* --- writing: a whole copy is changed, and takes the place of the old one when all went well ------------ */

static enum result set_text(char **to, const char *text, struct err *err)
{
    char *n = strdup(text);
    if (!n)
        return err_no_memory(err);
    free(*to);
    *to = n;
    return ERR_OK;
}

static enum result set_vector(
    const struct collection *c, struct record *n, const struct store_write *w, struct err *err)
{
    char what[64];
    uint32_t dim = c->settings.descriptor;
    uint16_t *halves = malloc(dim * sizeof *halves);
    float *vector = malloc(dim * sizeof *vector);
    snprintf(what, sizeof what, "the vector of fileid %" PRId64, w->fileid);
    enum result r = halves && vector ? store_vector_to_f16(w->vector, w->dimension, dim, what, halves, err)
                                     : err_no_memory(err);
    if (r) {
        free(vector);
    } else {
        kernel_get()->f16_to_f32(halves, vector, dim);
        free(n->vector);
        n->vector = vector;
    }
    free(halves);
    return r;
}

static enum result fill(
    const struct collection *c, struct record *n, const struct store_write *w, struct err *err)
{
    enum result r = ERR_OK;
    if (w->kind == STORE_PUT)
        n->itemid = w->has_itemid ? w->itemid : w->fileid;
    else if (w->has_itemid)
        n->itemid = w->itemid;
    if (w->vector) {
        r = set_vector(c, n, w, err);
        free(n->thumbnail);
        n->thumbnail = NULL;
        n->thumbnail_len = 0;
    }
    if (!r && w->tags)
        r = set_text(&n->tags, w->tags, err);
    if (!r && w->brief)
        r = set_text(&n->brief, w->brief, err);
    if (!r && w->thumbnail_len && c->settings.thumbnails) {
        uint8_t *bytes = copy(w->thumbnail, w->thumbnail_len);
        if (!bytes)
            return err_no_memory(err);
        free(n->thumbnail);
        n->thumbnail = bytes;
        n->thumbnail_len = w->thumbnail_len;
    }
    return r;
}

static enum result do_write(
    const struct collection *c, struct record *records, size_t *count, struct store_write *w, struct err *err)
{
    size_t i = find_record(records, *count, w->fileid);
    bool there = i < *count && records[i].fileid == w->fileid;
    w->existed = there;
    w->status = ERR_OK;
    if (w->kind == STORE_DELETE && there) {
        record_clear(&records[i]);
        (*count)--;
        memmove(records + i, records + i + 1, (*count - i) * sizeof *records);
    }
    if (w->kind == STORE_DELETE)
        return ERR_OK;
    if (!there && w->kind == STORE_UPDATE) {
        struct record nobody = {0}; /* a vector that cannot be is refused whether it is needed or not */
        enum result r = w->vector ? set_vector(c, &nobody, w, err) : ERR_OK;
        free(nobody.vector);
        w->status = ERR_NOT_FOUND;
        return r;
    }
    if (!there) {
        memmove(records + i + 1, records + i, (*count - i) * sizeof *records);
        records[i] = (struct record){.fileid = w->fileid};
        (*count)++;
    }
    return fill(c, &records[i], w, err);
}

static enum result memory_write(void *state, const char *name, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    struct record *records = calloc(c->count + count + 1, sizeof *records);
    size_t n = 0;
    if (!records) {
        r = err_no_memory(err);
        goto out;
    }
    for (n = 0; !r && n < c->count; n++)
        if (!record_copy(&records[n], &c->records[n], c->settings.descriptor))
            r = err_no_memory(err);
    for (size_t i = 0; !r && i < count; i++)
        r = do_write(c, records, &n, &writes[i], err);
    if (r) {
        records_clear(records, n);
        goto out;
    }
    records_clear(c->records, c->count);
    c->records = records;
    c->count = n;
out:
    pthread_mutex_unlock(&m->mutex);
    return r;
}

/* --- reading -------------------------------------------------------------------------------------------- */

static enum result append(const struct collection *c, struct store_records *out, const struct record *n,
    bool with_vector, struct err *err)
{
    if ((out->count & (out->count - 1)) == 0) { /* full at each power of two */
        struct store_record *items = realloc(out->items, (2 * out->count + 1) * sizeof *items);
        if (!items)
            return err_no_memory(err);
        out->items = items;
    }
    struct store_record *to = &out->items[out->count++];
    *to = (struct store_record){
        .fileid = n->fileid, .itemid = n->itemid, .has_thumbnail = n->thumbnail != NULL};
    to->tags = strdup(n->tags);
    to->brief = strdup(n->brief);
    to->vector = with_vector ? copy(n->vector, c->settings.dimension * sizeof(float)) : NULL;
    out->dimension = c->settings.dimension;
    return to->tags && to->brief && (to->vector || !with_vector) ? ERR_OK : err_no_memory(err);
}

struct hit {
    float key;
    const struct record *record;
};

static int compare_hits(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->record->fileid > y->record->fileid) - (x->record->fileid < y->record->fileid);
}

static float key_of(const struct collection *c, const float *q, const float *x)
{
    double l2 = 0, dot = 0, qq = 0, xx = 0;
    for (uint32_t i = 0; i < c->settings.dimension; i++) {
        double a = (double)q[i], b = (double)x[i];
        l2 += (a - b) * (a - b);
        dot += a * b;
        qq += a * a;
        xx += b * b;
    }
    if (c->settings.metric == STORE_L2)
        return (float)l2;
    if (c->settings.metric == STORE_IP)
        return (float)-dot;
    return qq > 0 && xx > 0 ? (float)(-dot / sqrt(qq * xx)) : 0;
}

/* By item first: then the best of each item stands at its head. */
static int compare_items(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->record->itemid != y->record->itemid)
        return x->record->itemid < y->record->itemid ? -1 : 1;
    return compare_hits(a, b);
}

static size_t best_of_each(struct hit *hits, size_t count)
{
    size_t kept = 0;
    qsort(hits, count, sizeof *hits, compare_items);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || hits[i].record->itemid != hits[kept - 1].record->itemid)
            hits[kept++] = hits[i];
    return kept;
}

static enum result pick(const struct collection *c, struct hit *hits, size_t count,
    const struct store_query *query, struct store_records *out, struct err *err)
{
    enum result r = ERR_OK;
    size_t n = query->group ? best_of_each(hits, count) : count,
           end = (size_t)query->offset + query->limit;
    qsort(hits, n, sizeof *hits, compare_hits);
    for (size_t i = query->offset; !r && i < n && i < end; i++) {
        r = append(c, out, hits[i].record, query->with_vectors, err);
        if (!r)
            /* 0 − x, because −x makes −0 of 0 */
            out->items[out->count - 1].distance =
                c->settings.metric == STORE_L2 ? hits[i].key : 0 - hits[i].key;
    }
    return r;
}

static enum result memory_search(void *state, const char *name, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    struct store_records records = {0};
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    uint32_t dim = c->settings.dimension;
    uint16_t *halves = malloc(dim * sizeof *halves);
    float *q = malloc(dim * sizeof *q);
    struct hit *hits = malloc((c->count + 1) * sizeof *hits);
    r = halves && q && hits ? store_vector_to_f16(query->vector, store_query_given(&c->settings, query->dimension), dim,
                                  "the vector to search for", halves, err)
                            : err_no_memory(err);
    if (r)
        goto out;
    kernel_get()->f16_to_f32(halves, q, dim);
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++)
        if (matches(query->filter, &c->records[i]))
            hits[count++] = (struct hit){key_of(c, q, c->records[i].vector), &c->records[i]};
    records.dimension = dim;
    r = pick(c, hits, count, query, &records, err);
    if (r)
        store_records_free(&records);
    else
        *out = records;
out:
    free(halves);
    free(q);
    free(hits);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static enum result memory_get(void *state, const char *name, bool by_item, int64_t id, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    struct store_records records = {0};
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    records.dimension = c->settings.dimension;
    for (size_t i = 0; !r && i < c->count; i++) {
        const struct record *n = &c->records[i];
        if ((by_item ? n->itemid : n->fileid) != id)
            continue;
        if (records.count == LIMIT_WINDOW) {
            records.more = true;
            break;
        }
        r = append(c, &records, n, true, err);
        records.next = n->fileid;
    }
    if (r)
        store_records_free(&records);
    else
        *out = records;
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static enum result memory_browse(void *state, const char *name, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    struct store_records records = {.next = browse->after};
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    records.dimension = c->settings.dimension;
    size_t i = browse->from_start ? 0 : find_record(c->records, c->count, browse->after);
    if (!browse->from_start && i < c->count && c->records[i].fileid == browse->after)
        i++;
    for (; !r && i < c->count && !records.more; i++) {
        if (!matches(browse->filter, &c->records[i]))
            continue;
        if (records.count == browse->limit) {
            records.more = true;
            break;
        }
        r = append(c, &records, &c->records[i], browse->with_vectors, err);
        records.next = c->records[i].fileid;
    }
    if (r)
        store_records_free(&records);
    else
        *out = records;
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static enum result memory_facets(void *state, const char *name, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    struct store_texts *texts = calloc(c->count + 1, sizeof *texts);
    size_t count = 0;
    for (size_t i = 0; texts && i < c->count; i++)
        if (matches(query->filter, &c->records[i]))
            texts[count++] = (struct store_texts){c->records[i].tags, c->records[i].brief};
    r = texts ? store_facets_of_texts(texts, count, query, out, err) : err_no_memory(err);
    free(texts);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

static enum result memory_thumbnail(
    void *state, const char *name, int64_t fileid, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct memory *m = state;
    struct collection *c = NULL;
    enum result r = find(m, name, &c, err);
    if (r)
        return r;
    size_t i = find_record(c->records, c->count, fileid);
    if (i == c->count || c->records[i].fileid != fileid || !c->records[i].thumbnail)
        r = err_set(err, ERR_NOT_FOUND, "there is no thumbnail of fileid %" PRId64 " in collection \"%s\"",
            fileid, name);
    else if ((r = buf_append(out, c->records[i].thumbnail, c->records[i].thumbnail_len)))
        r = err_set(err, r, "no room for a thumbnail of %zu bytes", c->records[i].thumbnail_len);
    pthread_mutex_unlock(&m->mutex);
    return r;
}

/* Nothing is on disk, so nothing can differ from it. */
static enum result memory_check(void *state, store_check_fn report, void *user, struct err *err)
{
    struct memory *m = state;
    pthread_mutex_lock(&m->mutex);
    for (size_t i = 0; report && i < m->count; i++) {
        char text[64];
        snprintf(text, sizeof text, "%zu records, in memory only", m->collections[i].count);
        report(user, 0, m->collections[i].name, text);
    }
    pthread_mutex_unlock(&m->mutex);
    return ERR_OK;
}

static const struct store_backend backend = {
    .name = "memory",
    .close = memory_close,
    .create = memory_create,
    .drop = memory_drop,
    .settings = memory_settings,
    .list = memory_list,
    .stats = memory_stats,
    .count = memory_count,
    .write = memory_write,
    .search = memory_search,
    .get = memory_get,
    .browse = memory_browse,
    .facets = memory_facets,
    .thumbnail = memory_thumbnail,
    .check = memory_check,
};

enum result store_open_memory(struct store **out, struct err *err)
{
    struct memory *m = calloc(1, sizeof *m);
    struct store *store = calloc(1, sizeof *store);
    if (!m || !store) {
        free(m);
        free(store);
        return err_no_memory(err);
    }
    pthread_mutex_init(&m->mutex, NULL);
    *store = (struct store){.backend = &backend, .state = m};
    *out = store;
    return ERR_OK;
}
