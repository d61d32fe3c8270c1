/*
 * One hit an item, pages that neither overlap nor skip, and never fewer hits than there are: what Milvus does not do by
 * itself is done here.
 *
 * Grouping. Milvus before 2.4 has none, and later ones do not page over groups. So more rows than hits are asked for
 * (`widen`, which follows what the last searches needed), and doubled until enough items are among them.
 *
 * Ties. Of rows at the same distance Milvus returns any. A page is only as certain as the order at its end, so the last
 * hit must be nearer than the last row that came; otherwise more rows are asked for.
 *
 * Too few. An index that looks at a part of the rows (nprobe, ef, and most of all beside a filter) may return fewer than
 * there are. When that happens count(*) tells, and the rows are compared here, one by one, where they fit into
 * LIMIT_MILVUS_SCAN; where they do not, the search is repeated with more effort. The same scan answers `exact`, and what
 * lies beyond Milvus's limit of LIMIT_WINDOW rows.
 */
#include "store/milvus/walk.h"

#include "base/clock.h"
#include "kernel/kernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS_WITHIN 256  /* rows that come with their texts at once; a longer list is read first, then its page */
#define MORE_EFFORT 16
#define ROUNDS 3          /* a record that vanished between its hit and its text: search again */
#define WIDEN_FIRST 6     /* quarters */
#define SCAN_ROWS (1 << 20)

struct hit {
    float key; /* the smaller the nearer, whatever the metric */
    int64_t fileid, itemid;
    uint32_t row; /* in the reply */
};

struct looked {
    struct milvus *m;
    struct milvus_collection *c;
    const struct store_query *query;
    const char *expr;
    float *vector; /* rounded to 16 bits, as the rows are */
    int64_t deadline_ms;
    uint32_t need;
    struct hit *hits;
    size_t count, max;
    Mv__SearchReply *reply; /* of the hits, where their texts came along */
};

static int compare_hits(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->fileid > y->fileid) - (x->fileid < y->fileid);
}

static int compare_items(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->itemid != y->itemid)
        return x->itemid < y->itemid ? -1 : 1;
    return compare_hits(a, b);
}

static int compare_files(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->fileid != y->fileid)
        return x->fileid < y->fileid ? -1 : 1;
    return compare_hits(a, b);
}

/* One hit a fileid (another program may have inserted one twice) and, where wished, one an item; then by distance. */
static void reduce(struct looked *l)
{
    bool group = l->query->group;
    size_t kept = 0;
    qsort(l->hits, l->count, sizeof *l->hits, group ? compare_items : compare_files);
    for (size_t i = 0; i < l->count; i++) {
        const struct hit *last = kept ? &l->hits[kept - 1] : NULL;
        if (!last || (group ? last->itemid != l->hits[i].itemid : last->fileid != l->hits[i].fileid))
            l->hits[kept++] = l->hits[i];
    }
    l->count = kept;
    qsort(l->hits, l->count, sizeof *l->hits, compare_hits);
}

static bool add_hit(struct looked *l, float key, int64_t fileid, int64_t itemid, uint32_t row)
{
    if (l->count == l->max) {
        size_t max = l->max ? 2 * l->max : 1024;
        struct hit *grown = realloc(l->hits, max * sizeof *grown);
        if (!grown)
            return false;
        l->hits = grown;
        l->max = max;
    }
    l->hits[l->count++] = (struct hit){.key = key, .fileid = fileid, .itemid = itemid, .row = row};
    return true;
}

/* Milvus's score as a key. A distance that is not a number, of a vector without length, is the farthest. */
static float key_of(enum store_metric metric, float score)
{
    if (isnan(score))
        return metric == STORE_COSINE ? 0 : INFINITY;
    if (metric == STORE_L2)
        return score < 0 ? 0 : score;
    if (metric == STORE_COSINE)
        score = score > 1 ? 1 : score < -1 ? -1 : score;
    return 0 - score; /* not −score, which makes −0 of 0 */
}

/* --- asking Milvus ---------------------------------------------------------------------------------------------------- */

struct found {
    size_t rows; /* that came, before they were reduced */
    float last;  /* key of the farthest */
};

static enum result find(struct looked *l, uint32_t k, unsigned effort, struct found *found, struct err *err)
{
    unsigned fields = MILVUS_ITEMID;
    if (k <= TEXTS_WITHIN)
        fields |= MILVUS_TAGS | MILVUS_BRIEF | (l->query->with_vectors ? MILVUS_VECTORS : 0);
    struct milvus_search s = {.vector = l->vector,
        .expr = l->expr,
        .from_user = l->query->filter != NULL,
        .fields = fields,
        .k = k,
        .effort = effort,
        .deadline_ms = l->deadline_ms};
    struct milvus_columns columns;
    MILVUS_FREE(l->reply);
    enum result r = milvus_find(l->m, l->c, &s, &l->reply, err);
    if (r == ERR_TOO_LARGE && k <= TEXTS_WITHIN) { /* long texts: leave them for the page */
        s.fields = MILVUS_ITEMID;
        r = milvus_find(l->m, l->c, &s, &l->reply, err);
    }
    if (!r)
        r = milvus_columns_of_search(l->reply, s.fields, l->c->settings.dimension, &columns, err);
    if (r)
        return r;
    l->count = 0;
    *found = (struct found){.rows = columns.count, .last = -INFINITY};
    for (size_t i = 0; i < columns.count; i++) {
        float key = key_of(l->c->settings.metric, columns.scores[i]);
        if (!add_hit(l, key, columns.fileid[i], columns.itemid[i], (uint32_t)i))
            return err_no_memory(err);
        if (key > found->last)
            found->last = key;
    }
    if (s.fields == MILVUS_ITEMID)
        MILVUS_FREE(l->reply);
    reduce(l);
    return ERR_OK;
}

/* --- comparing here --------------------------------------------------------------------------------------------------- */

static float exact_key(const struct looked *l, const float *x)
{
    double l2 = 0, dot = 0, qq = 0, xx = 0;
    for (uint32_t i = 0; i < l->c->settings.dimension; i++) {
        double a = (double)l->vector[i], b = (double)x[i];
        l2 += (a - b) * (a - b);
        dot += a * b;
        qq += a * a;
        xx += b * b;
    }
    if (l->c->settings.metric == STORE_L2)
        return (float)l2;
    if (l->c->settings.metric == STORE_IP)
        return (float)(0 - dot);
    return qq > 0 && xx > 0 ? key_of(STORE_COSINE, (float)(dot / sqrt(qq * xx))) : 0;
}

static enum result scan_row(void *user, const struct milvus_columns *columns, size_t i, struct err *err)
{
    struct looked *l = user;
    float key = exact_key(l, columns->vectors + i * columns->dimension);
    return add_hit(l, key, columns->fileid[i], columns->itemid[i], 0) ? ERR_OK : err_no_memory(err);
}

static bool fits(const struct looked *l, uint64_t rows)
{
    return rows <= SCAN_ROWS && rows * l->c->settings.dimension * sizeof(float) <= LIMIT_MILVUS_SCAN;
}

static enum result scan(struct looked *l, struct err *err)
{
    struct milvus_walk walk = {.expr = l->expr,
        .from_user = l->query->filter != NULL,
        .fields = MILVUS_ITEMID | MILVUS_VECTORS,
        .from_start = true,
        .limit = SCAN_ROWS,
        .deadline_ms = l->deadline_ms,
        .row = scan_row,
        .user = l};
    MILVUS_FREE(l->reply);
    l->count = 0;
    enum result r = milvus_walk(l->m, l->c, &walk, err);
    if (!r)
        reduce(l);
    return r;
}

/* --- enough hits -------------------------------------------------------------------------------------------------------- */

static enum result count_all(struct looked *l, uint64_t *out, struct err *err)
{
    return milvus_count_expr(l->m, l->c, l->expr, l->query->filter != NULL, l->deadline_ms, out, err);
}

static uint32_t first_k(const struct looked *l)
{
    unsigned widen = atomic_load_explicit(&l->c->widen, memory_order_relaxed);
    uint64_t k = l->query->group ? (uint64_t)l->need * (widen ? widen : WIDEN_FIRST) / 4 + 2 : (uint64_t)l->need + 1;
    return k < LIMIT_WINDOW ? (uint32_t)k : LIMIT_WINDOW;
}

/* Towards what this search needed: at once where it was more, slowly where it was less. */
static void learn(struct looked *l, uint32_t k)
{
    if (!l->query->group || l->count < l->need || l->need == 0)
        return;
    uint64_t wanted = ((uint64_t)k * 4 + l->need - 1) / l->need, now = atomic_load_explicit(&l->c->widen, memory_order_relaxed);
    uint64_t spare = (uint64_t)l->count > (uint64_t)l->need + l->need / 2;
    if (wanted > now)
        now = wanted;
    else if (spare && now > 5)
        now--;
    atomic_store_explicit(&l->c->widen, now > 64 ? 64 : (unsigned)now, memory_order_relaxed);
}

/* All that came is too little, though Milvus was not asked for less: is there more? */
static enum result find_rest(struct looked *l, uint32_t k, size_t rows, struct err *err)
{
    uint64_t all = 0;
    struct found found;
    enum result r = count_all(l, &all, err);
    if (r || all <= rows)
        return r;
    if (fits(l, all))
        return scan(l, err);
    return find(l, k, MORE_EFFORT, &found, err);
}

static enum result look(struct looked *l, struct err *err)
{
    struct found found;
    uint64_t all = 0;
    uint32_t k = first_k(l);
    enum result r = ERR_OK;
    if (l->query->exact && !(r = count_all(l, &all, err)) && fits(l, all))
        return scan(l, err);
    for (; !r; k = k < LIMIT_WINDOW / 4 ? 4 * k : LIMIT_WINDOW) {
        r = find(l, k, l->query->exact ? MORE_EFFORT : 1, &found, err);
        if (r)
            return r;
        if (l->count >= l->need && (found.rows < k || l->hits[l->need - 1].key < found.last)) {
            learn(l, k);
            return ERR_OK;
        }
        if (found.rows < k)
            return find_rest(l, k, found.rows, err);
        if (k == LIMIT_WINDOW)
            break;
    }
    /* Milvus gives no more rows at once. */
    if (!r)
        r = count_all(l, &all, err);
    if (!r && all > found.rows && fits(l, all))
        r = scan(l, err);
    return r;
}

/* --- the page ------------------------------------------------------------------------------------------------------------ */

struct page {
    struct hit *hits; /* of the page */
    size_t count;
    struct store_record *records; /* beside them; tags NULL: not seen yet */
};

static enum result fill_row(void *user, const struct milvus_columns *columns, size_t i, struct err *err)
{
    struct page *p = user;
    for (size_t j = 0; j < p->count; j++) /* few: a page of ids at a time */
        if (p->hits[j].fileid == columns->fileid[i] && !p->records[j].tags)
            return milvus_record_of(columns, i, &p->records[j], err);
    return ERR_OK;
}

/* Texts of hits that came without, some hundred at a time. */
static enum result fill_texts(struct looked *l, struct page *all, struct err *err)
{
    enum { STEP = 512 };
    struct buf expr;
    buf_init(&expr, STEP * 24 + 128);
    enum result r = ERR_OK;
    for (size_t at = 0; at < all->count && !r; at += STEP) {
        struct page p = {.hits = all->hits + at, .records = all->records + at, .count = all->count - at};
        if (p.count > STEP)
            p.count = STEP;
        bool lowest = false;
        buf_clear(&expr);
        for (size_t i = 0; i < p.count && !r; i++) {
            if (p.hits[i].fileid == INT64_MIN)
                lowest = true;
            else
                r = buf_appendf(&expr, "%s%" PRId64, expr.len ? "," : "fileid in [", p.hits[i].fileid);
        }
        if (!r && expr.len)
            r = buf_append_str(&expr, lowest ? "] or " : "]");
        if (!r && lowest)
            r = milvus_compare(&expr, "fileid", "==", INT64_MIN);
        if (r) {
            err_set(err, r, "too many records for one expression");
            break;
        }
        struct milvus_walk walk = {.expr = expr.data,
            .fields = MILVUS_ITEMID | MILVUS_TAGS | MILVUS_BRIEF | (l->query->with_vectors ? MILVUS_VECTORS : 0),
            .from_start = true,
            .limit = p.count,
            .enough = true,
            .deadline_ms = l->deadline_ms,
            .row = fill_row,
            .user = &p};
        r = milvus_walk(l->m, l->c, &walk, err);
    }
    buf_free(&expr);
    return r;
}

static enum result fill_here(struct looked *l, struct page *p, struct err *err)
{
    struct milvus_columns columns;
    unsigned fields = MILVUS_ITEMID | MILVUS_TAGS | MILVUS_BRIEF | (l->query->with_vectors ? MILVUS_VECTORS : 0);
    enum result r = milvus_columns_of_search(l->reply, fields, l->c->settings.dimension, &columns, err);
    for (size_t i = 0; i < p->count && !r; i++)
        r = milvus_record_of(&columns, p->hits[i].row, &p->records[i], err);
    return r;
}

/* *again: a record was gone when its text was asked for. */
static enum result make_page(struct looked *l, bool *again, struct store_records *out, struct err *err)
{
    size_t offset = l->query->offset < l->count ? l->query->offset : l->count, left = l->count - offset;
    struct page p = {.hits = l->hits + offset, .count = left < l->query->limit ? left : l->query->limit};
    struct store_records records = {.dimension = l->c->settings.dimension};
    p.records = records.items = calloc(p.count + 1, sizeof *p.records);
    if (!p.records)
        return err_no_memory(err);
    enum result r = l->reply ? fill_here(l, &p, err) : fill_texts(l, &p, err);
    records.count = p.count;
    if (r) {
        store_records_free(&records);
        return r;
    }
    size_t kept = 0;
    for (size_t i = 0; i < p.count; i++) {
        if (!p.records[i].tags)
            continue;
        records.items[kept] = p.records[i];
        records.items[kept].fileid = p.hits[i].fileid;
        records.items[kept].distance = l->c->settings.metric == STORE_L2 ? p.hits[i].key : 0 - p.hits[i].key;
        kept++;
    }
    *again = kept < p.count;
    records.count = kept;
    milvus_mark_thumbnails(l->m, l->c, &records);
    *out = records;
    return ERR_OK;
}

static enum result round_vector(struct looked *l, struct err *err)
{
    uint32_t dim = l->c->settings.dimension;
    uint16_t *halves = malloc(dim * sizeof *halves);
    l->vector = malloc(dim * sizeof *l->vector);
    enum result r = halves && l->vector ? store_vector_to_f16(l->query->vector, l->query->dimension, dim,
                                              "the vector to search for", halves, err)
                                        : err_no_memory(err);
    if (!r)
        kernel_get()->f16_to_f32(halves, l->vector, dim);
    free(halves);
    return r;
}

enum result milvus_search(void *state, const char *name, const struct store_query *query, int64_t deadline_ms,
    struct store_records *out, struct err *err)
{
    struct looked l = {.m = state,
        .query = query,
        .deadline_ms = deadline_ms,
        .need = query->limit + query->offset};
    struct store_records records = {0};
    bool again = true;
    enum result r = milvus_filter_text(query->filter, &l.expr, err);
    if (!r)
        r = milvus_acquire(l.m, name, deadline_ms, &l.c, err);
    if (!r)
        r = round_vector(&l, err);
    for (int round = 0; round < ROUNDS && again && !r; round++) {
        store_records_free(&records);
        r = look(&l, err);
        if (!r)
            r = make_page(&l, &again, &records, err);
    }
    if (!r)
        *out = records;
    MILVUS_FREE(l.reply);
    free(l.hits);
    free(l.vector);
    milvus_release(l.m, l.c);
    return r;
}
