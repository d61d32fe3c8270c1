/*
 * store_write() on Milvus, which knows only two things: put whole rows in the place of those with the same keys, and
 * delete keys. So a batch is worked out here, and only what is left in the end is sent:
 *
 *   1. check and convert everything that is given; a wrong one stops here, before anything was sent
 *   2. sort the writes into one plan a fileid, in their order
 *   3. keep other writers of this process off these fileids (session.c)
 *   4. ask which of them exist, and for whole rows of those that are updated and not replaced
 *   5. go through each plan; its end is a row to put, a key to delete, or nothing
 *   6. send deletes and rows, in parts below the limit of a message
 *   7. remember timestamps, so that reads see it
 *
 * Milvus has no transactions. Up to one part (LIMIT_MILVUS_REQUEST) a batch is all or nothing; when a later part
 * fails, the sentence says how many records were written. All of it may be sent again: putting the same rows twice
 * changes nothing.
 */
#include "store/milvus/convert.h"
#include "store/milvus/milvus.h"

#include "base/clock.h"
#include "kernel/kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row as it will be. What it points at belongs to the write, or to `old`. */
struct row {
    int64_t itemid;
    struct json_object *tags;
    const char *brief;
    const float *vector;
};

struct given {
    struct json_object *tags, *brief_owner;
    const char *brief;
    const float *vector; /* rounded; in batch.vectors */
};

struct plan {
    int64_t fileid;
    size_t first, count; /* in batch.order */
    bool known, existed, exists, changed, needs_row;
    struct row row;
    struct store_record old;
    struct json_object *old_tags;
};

struct batch {
    struct milvus *m;
    struct milvus_collection *c;
    struct store_write *writes;
    size_t count;
    int64_t deadline_ms;
    struct given *given;
    float *vectors;
    uint32_t *order; /* writes by fileid, those of one in their order */
    struct plan *plans;
    size_t plan_count, written;
    uint64_t stripes;
};

static void batch_free(struct batch *b)
{
    for (size_t i = 0; b->given && i < b->count; i++) {
        json_object_put(b->given[i].tags);
        json_object_put(b->given[i].brief_owner);
    }
    for (size_t i = 0; b->plans && i < b->plan_count; i++) {
        free(b->plans[i].old.tags);
        free(b->plans[i].old.brief);
        free(b->plans[i].old.vector);
        json_object_put(b->plans[i].old_tags);
    }
    free(b->given);
    free(b->vectors);
    free(b->order);
    free(b->plans);
}

/* --- 1, 2: check, and sort ------------------------------------------------------------------------------------- */

static enum result take_vector(struct batch *b, size_t i, float *to, uint16_t *halves, struct err *err)
{
    const struct store_write *w = &b->writes[i];
    uint32_t dim = b->c->settings.dimension;
    char what[64];
    snprintf(what, sizeof what, "the vector of fileid %" PRId64, w->fileid);
    enum result r = store_vector_to_f16(w->vector, w->dimension, dim, what, halves, err);
    if (r)
        return r;
    kernel_get()->f16_to_f32(halves, to, dim);
    b->given[i].vector = to;
    return ERR_OK;
}

static enum result check_all(struct batch *b, struct err *err)
{
    uint32_t dim = b->c->settings.dimension;
    size_t vectors = 0;
    for (size_t i = 0; i < b->count; i++)
        vectors += b->writes[i].vector && b->writes[i].kind != STORE_DELETE;
    uint16_t *halves = malloc(dim * sizeof *halves);
    b->vectors = calloc(vectors + 1, dim * sizeof(float));
    b->given = calloc(b->count, sizeof *b->given);
    enum result r = halves && b->vectors && b->given ? ERR_OK : err_no_memory(err);
    float *to = b->vectors;
    for (size_t i = 0; i < b->count && !r; i++) {
        const struct store_write *w = &b->writes[i];
        struct given *g = &b->given[i];
        if (w->kind == STORE_DELETE)
            continue;
        if (w->fileid == INT64_MAX) { /* seen with 2.3.5: no expression finds this key again */
            r = err_set_field(err, ERR_UNSUPPORTED, "fileid",
                "Milvus cannot find the fileid %" PRId64 " again, the largest there is: choose a smaller one", w->fileid);
            continue;
        }
        if (w->vector) {
            r = take_vector(b, i, to, halves, err);
            to += dim;
        }
        if (!r && w->tags)
            r = milvus_parse_tags(w->tags, w->fileid, &g->tags, err);
        if (!r && w->brief)
            r = milvus_parse_brief(w->brief, w->fileid, &g->brief, &g->brief_owner, err);
    }
    free(halves);
    return r;
}

static int compare_order(const void *a, const void *b, void *user)
{
    const struct store_write *writes = user;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (writes[x].fileid != writes[y].fileid)
        return writes[x].fileid < writes[y].fileid ? -1 : 1;
    return (x > y) - (x < y);
}

static enum result make_plans(struct batch *b, struct err *err)
{
    b->order = malloc(b->count * sizeof *b->order);
    b->plans = calloc(b->count, sizeof *b->plans);
    if (!b->order || !b->plans)
        return err_no_memory(err);
    for (size_t i = 0; i < b->count; i++)
        b->order[i] = (uint32_t)i;
    qsort_r(b->order, b->count, sizeof *b->order, compare_order, b->writes);
    for (size_t i = 0; i < b->count; i++) {
        int64_t fileid = b->writes[b->order[i]].fileid;
        struct plan *last = b->plan_count ? &b->plans[b->plan_count - 1] : NULL;
        if (last && last->fileid == fileid) {
            last->count++;
            continue;
        }
        const struct store_write *w = &b->writes[b->order[i]];
        b->plans[b->plan_count++] = (struct plan){.fileid = fileid,
            .first = i,
            .count = 1,
            .needs_row = w->kind == STORE_UPDATE && !(w->vector && w->tags && w->brief && w->has_itemid)};
        b->stripes |= milvus_session_stripe(fileid);
    }
    return ERR_OK;
}

/* --- 4: what is there -------------------------------------------------------------------------------------------- */

/* `fileid in [...]` of the next plans for which `want` holds, from *at on, at most `max`; false: none are left. */
static bool expression(struct batch *b, bool (*want)(const struct plan *), size_t *at, size_t max, struct buf *out)
{
    size_t n = 0;
    bool lowest = false;
    enum result r = ERR_OK;
    buf_clear(out);
    for (; *at < b->plan_count && n < max && !r; ++*at) {
        if (!want(&b->plans[*at]))
            continue;
        if (b->plans[*at].fileid == INT64_MIN) /* Milvus cannot read this number: it reads the digits first, then the sign */
            lowest = true;
        else
            r = buf_appendf(out, "%s%" PRId64, out->len ? "," : "fileid in [", b->plans[*at].fileid);
        n++;
    }
    if (!r && out->len)
        r = buf_append_str(out, "]");
    if (!r && lowest)
        r = buf_appendf(out, "%sfileid < -%" PRId64, out->len ? " or " : "", INT64_MAX);
    return !r && n > 0;
}

static struct plan *plan_of(struct batch *b, int64_t fileid)
{
    size_t lo = 0, hi = b->plan_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (b->plans[mid].fileid < fileid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < b->plan_count && b->plans[lo].fileid == fileid ? &b->plans[lo] : NULL;
}

static enum result take_rows(struct batch *b, const Mv__QueryReply *reply, unsigned fields, struct err *err)
{
    struct milvus_columns columns;
    enum result r = milvus_columns_of_query(reply, fields, b->c->settings.dimension, &columns, err);
    for (size_t i = 0; !r && i < columns.count; i++) {
        struct plan *p = plan_of(b, columns.fileid[i]);
        if (!p || p->exists) /* not asked for, or twice: other programs may have inserted a key twice */
            continue;
        p->existed = p->exists = true;
        if (fields == MILVUS_FILEID)
            continue;
        r = milvus_record_of(&columns, i, &p->old, err);
        if (!r)
            r = milvus_parse_tags(p->old.tags, p->fileid, &p->old_tags, err);
        p->row = (struct row){
            .itemid = p->old.itemid, .tags = p->old_tags, .brief = p->old.brief, .vector = p->old.vector};
    }
    return r;
}

static bool wants_row(const struct plan *p)
{
    return p->needs_row;
}

static bool wants_to_know(const struct plan *p)
{
    return !p->needs_row && !p->known;
}

static enum result ask_all(struct batch *b, bool (*want)(const struct plan *), unsigned fields, uint64_t seen, struct err *err)
{
    struct buf expr;
    buf_init(&expr, (size_t)LIMIT_MILVUS_IDS * 24 + 64);
    size_t row = b->c->settings.dimension * sizeof(float) + 1024, max = LIMIT_MILVUS_IDS, at = 0;
    if (fields != MILVUS_FILEID && LIMIT_MILVUS_PAGE / row < max)
        max = LIMIT_MILVUS_PAGE / row;
    enum result r = ERR_OK;
    while (!r && expression(b, want, &at, max, &expr)) {
        Mv__QueryReply *reply = NULL;
        struct milvus_query query = {
            .expr = expr.data, .fields = fields, .writer = true, .seen = seen, .deadline_ms = b->deadline_ms};
        r = milvus_ask(b->m, b->c, &query, &reply, err);
        if (!r)
            r = take_rows(b, reply, fields, err);
        MILVUS_FREE(reply);
    }
    buf_free(&expr);
    return r;
}

static enum result look(struct batch *b, struct err *err)
{
    /* Before the memory is asked, so that what it forgets meanwhile is asked for with what it had then forgotten. */
    enum result r = ask_all(b, wants_row, MILVUS_ALL, 0, err);
    if (r)
        return r;
    for (size_t i = 0; i < b->plan_count; i++) {
        struct plan *p = &b->plans[i];
        if (!p->needs_row && milvus_session_recall(&b->c->session, p->fileid, &p->exists)) {
            p->existed = p->exists;
            p->known = true;
        }
    }
    struct milvus_seen seen = milvus_session_seen(&b->c->session);
    return ask_all(b, wants_to_know, MILVUS_FILEID, seen.doubt ? 0 : seen.forgotten, err);
}

/* --- 5: work it out ------------------------------------------------------------------------------------------------ */

static void apply(struct plan *p, struct store_write *w, const struct given *g)
{
    w->existed = p->exists;
    w->status = ERR_OK;
    if (w->kind == STORE_DELETE) {
        p->changed |= p->exists;
        p->exists = false;
        return;
    }
    if (w->kind == STORE_UPDATE && !p->exists) {
        w->status = ERR_NOT_FOUND;
        return;
    }
    if (w->kind == STORE_PUT)
        p->row = (struct row){.itemid = w->has_itemid ? w->itemid : w->fileid};
    else if (w->has_itemid)
        p->row.itemid = w->itemid;
    if (g->vector)
        p->row.vector = g->vector;
    if (g->tags)
        p->row.tags = g->tags;
    if (g->brief)
        p->row.brief = g->brief;
    p->exists = true;
    p->changed |= w->kind == STORE_PUT || w->has_itemid || g->vector || g->tags || g->brief;
}

/* --- 6: send -------------------------------------------------------------------------------------------------------- */

static enum result mutate(struct batch *b, const char *method, const ProtobufCMessage *request, uint64_t *timestamp, struct err *err)
{
    struct milvus_call call = {.method = method,
        .request = request,
        .reply = &mv__mutation_reply__descriptor,
        .write = true,
        .repeat = true,
        .deadline_ms = b->deadline_ms};
    ProtobufCMessage *message = NULL;
    enum result r = milvus_call(b->m->link, &call, &message, err);
    if (r == ERR_NOT_FOUND) {
        milvus_forget(b->m, b->c->name);
        return err_set_field(err, ERR_NOT_FOUND, "collection", "there is no collection \"%s\"", b->c->name);
    }
    if (r) {
        milvus_session_doubt(&b->c->session);
        if (r == ERR_INVALID)
            milvus_forget(b->m, b->c->name);
        return r;
    }
    *timestamp = ((Mv__MutationReply *)(void *)message)->timestamp;
    protobuf_c_message_free_unpacked(message, NULL);
    /* Until 2.4 a delete does not say when it was. */
    if (!*timestamp && b->m->has_clock && milvus_clock(b->m, b->deadline_ms, timestamp, NULL))
        milvus_session_doubt(&b->c->session);
    return ERR_OK;
}

static void remember(struct batch *b, size_t from, size_t to, bool exists, uint64_t timestamp)
{
    for (size_t i = from; i < to; i++) {
        struct plan *p = &b->plans[i];
        if (p->changed && p->exists == exists && (exists || p->existed)) {
            b->written++;
            if (timestamp)
                milvus_session_wrote(&b->c->session, p->fileid, exists, timestamp);
        }
    }
}

static bool wants_delete(const struct plan *p)
{
    return p->changed && !p->exists && p->existed;
}

static enum result send_deletes(struct batch *b, struct err *err)
{
    struct buf expr;
    buf_init(&expr, (size_t)LIMIT_MILVUS_IDS * 24 + 64);
    size_t at = 0, from = 0;
    enum result r = ERR_OK;
    while (!r && expression(b, wants_delete, &at, LIMIT_MILVUS_IDS, &expr)) {
        Mv__DeleteRequest request = MV__DELETE_REQUEST__INIT;
        uint64_t timestamp = 0;
        request.db_name = milvus_link_database(b->m->link);
        request.collection_name = b->c->name;
        request.expr = expr.data;
        r = mutate(b, "Delete", &request.base, &timestamp, err);
        if (!r)
            remember(b, from, at, false, timestamp);
        from = at;
    }
    buf_free(&expr);
    return r;
}

/* The columns of one request. One allocation each; strings stay where they are. */
struct columns {
    int64_t *fileid, *itemid;
    float *vectors;
    Mv__ScalarField *tags, **tag_pointers;
    Mv__StringArray *tag_arrays;
    char **strings;
    ProtobufCBinaryData *brief;
};

static void columns_free(struct columns *k)
{
    free(k->fileid);
    free(k->itemid);
    free(k->vectors);
    free(k->tags);
    free(k->tag_pointers);
    free(k->tag_arrays);
    free(k->strings);
    free(k->brief);
}

static bool columns_alloc(struct columns *k, size_t rows, uint32_t dimension)
{
    k->fileid = malloc(rows * sizeof *k->fileid);
    k->itemid = malloc(rows * sizeof *k->itemid);
    k->vectors = calloc(rows, dimension * sizeof *k->vectors);
    k->tags = malloc(rows * sizeof *k->tags);
    k->tag_pointers = malloc(rows * sizeof *k->tag_pointers);
    k->tag_arrays = malloc(rows * sizeof *k->tag_arrays);
    k->strings = malloc(rows * LIMIT_TAGS * sizeof *k->strings);
    k->brief = malloc(rows * sizeof *k->brief);
    return k->fileid && k->itemid && k->vectors && k->tags && k->tag_pointers && k->tag_arrays && k->strings && k->brief;
}

static void columns_add(struct columns *k, size_t i, const struct plan *p, uint32_t dimension)
{
    k->fileid[i] = p->fileid;
    k->itemid[i] = p->row.itemid;
    memcpy(k->vectors + i * dimension, p->row.vector, dimension * sizeof(float));
    size_t n = json_object_array_length(p->row.tags);
    char **strings = k->strings + i * LIMIT_TAGS;
    for (size_t j = 0; j < n; j++)
        strings[j] = (char *)(uintptr_t)json_object_get_string(json_object_array_get_idx(p->row.tags, j));
    k->tag_arrays[i] = (Mv__StringArray)MV__STRING_ARRAY__INIT;
    k->tag_arrays[i].n_data = n;
    k->tag_arrays[i].data = strings;
    k->tags[i] = (Mv__ScalarField)MV__SCALAR_FIELD__INIT;
    k->tags[i].data_case = MV__SCALAR_FIELD__DATA_STRING_DATA;
    k->tags[i].string_data = &k->tag_arrays[i];
    k->tag_pointers[i] = &k->tags[i];
    k->brief[i] = (ProtobufCBinaryData){.len = strlen(p->row.brief), .data = (uint8_t *)(uintptr_t)p->row.brief};
}

static Mv__FieldData scalar_field(const char *name, int32_t type, Mv__ScalarField *scalars)
{
    Mv__FieldData f = MV__FIELD_DATA__INIT;
    f.field_name = (char *)(uintptr_t)name;
    f.type = type;
    f.field_case = MV__FIELD_DATA__FIELD_SCALARS;
    f.scalars = scalars;
    return f;
}

static enum result send_columns(struct batch *b, struct columns *k, size_t rows, uint64_t *timestamp, struct err *err)
{
    Mv__LongArray ids = MV__LONG_ARRAY__INIT, items = MV__LONG_ARRAY__INIT;
    Mv__FloatArray floats = MV__FLOAT_ARRAY__INIT;
    Mv__ArrayArray arrays = MV__ARRAY_ARRAY__INIT;
    Mv__JsonArray briefs = MV__JSON_ARRAY__INIT;
    Mv__ScalarField s[4] = {
        MV__SCALAR_FIELD__INIT, MV__SCALAR_FIELD__INIT, MV__SCALAR_FIELD__INIT, MV__SCALAR_FIELD__INIT};
    Mv__VectorField vectors = MV__VECTOR_FIELD__INIT;
    ids.n_data = items.n_data = arrays.n_data = briefs.n_data = rows;
    ids.data = k->fileid;
    items.data = k->itemid;
    arrays.data = k->tag_pointers;
    arrays.element_type = MILVUS_VARCHAR;
    briefs.data = k->brief;
    s[0].data_case = s[1].data_case = MV__SCALAR_FIELD__DATA_LONG_DATA;
    s[0].long_data = &ids;
    s[1].long_data = &items;
    s[2].data_case = MV__SCALAR_FIELD__DATA_ARRAY_DATA;
    s[2].array_data = &arrays;
    s[3].data_case = MV__SCALAR_FIELD__DATA_JSON_DATA;
    s[3].json_data = &briefs;
    floats.n_data = rows * b->c->settings.dimension;
    floats.data = k->vectors;
    vectors.dim = b->c->settings.dimension;
    vectors.data_case = MV__VECTOR_FIELD__DATA_FLOAT_VECTOR;
    vectors.float_vector = &floats;
    Mv__FieldData fields[5] = {scalar_field("fileid", MILVUS_INT64, &s[0]), scalar_field("itemid", MILVUS_INT64, &s[1]),
                      scalar_field("tags", MILVUS_ARRAY, &s[2]), scalar_field("brief", MILVUS_JSON, &s[3])},
                  *pointers[5] = {&fields[0], &fields[1], &fields[2], &fields[3], &fields[4]};
    fields[4] = (Mv__FieldData)MV__FIELD_DATA__INIT;
    fields[4].field_name = (char *)(uintptr_t) "vectors";
    fields[4].type = MILVUS_FLOAT_VECTOR;
    fields[4].field_case = MV__FIELD_DATA__FIELD_VECTORS;
    fields[4].vectors = &vectors;
    Mv__UpsertRequest request = MV__UPSERT_REQUEST__INIT;
    request.db_name = milvus_link_database(b->m->link);
    request.collection_name = b->c->name;
    request.fields_data = pointers;
    request.n_fields_data = 5;
    request.num_rows = (uint32_t)rows;
    return mutate(b, "Upsert", &request.base, timestamp, err);
}

static bool wants_put(const struct plan *p)
{
    return p->changed && p->exists;
}

/* The number of plans from `from` on whose rows fit into one request, and of the rows among them. */
static size_t part(const struct batch *b, size_t from, size_t *rows)
{
    size_t bytes = 0, i = from;
    *rows = 0;
    for (; i < b->plan_count; i++) {
        const struct plan *p = &b->plans[i];
        if (!wants_put(p))
            continue;
        size_t row = b->c->settings.dimension * sizeof(float) + strlen(p->row.brief) + LIMIT_TAGS * 8 + 64;
        for (size_t j = 0; j < json_object_array_length(p->row.tags); j++)
            row += (size_t)json_object_get_string_len(json_object_array_get_idx(p->row.tags, j));
        if (*rows && bytes + row > LIMIT_MILVUS_REQUEST)
            break;
        bytes += row;
        ++*rows;
    }
    return i - from;
}

static enum result send_rows(struct batch *b, struct err *err)
{
    enum result r = ERR_OK;
    for (size_t from = 0, rows = 0, n; from < b->plan_count && !r; from += n) {
        n = part(b, from, &rows);
        if (!rows)
            break;
        struct columns k = {0};
        uint64_t timestamp = 0;
        if (!columns_alloc(&k, rows, b->c->settings.dimension))
            r = err_no_memory(err);
        for (size_t i = from, row = 0; i < from + n && !r; i++)
            if (wants_put(&b->plans[i]))
                columns_add(&k, row++, &b->plans[i], b->c->settings.dimension);
        if (!r)
            r = send_columns(b, &k, rows, &timestamp, err);
        columns_free(&k);
        if (!r)
            remember(b, from, from + n, true, timestamp);
    }
    return r;
}

/* --- thumbnails ----------------------------------------------------------------------------------------------------- */

/* Before the rows go, those that will show another picture than their vector; after them, the new ones. */
static void write_thumbnails(struct batch *b, bool before)
{
    if (!b->m->thumbnails || !b->c->settings.thumbnails)
        return;
    for (size_t i = 0; i < b->count; i++) {
        const struct store_write *w = &b->writes[i];
        struct err ignored; /* a record without its thumbnail is whole */
        bool stale = w->existed && (w->kind != STORE_UPDATE || w->vector);
        if (w->status || (before && !stale) || (!before && w->kind != STORE_DELETE && !w->thumbnail_len && !stale))
            continue;
        size_t len = before || w->kind == STORE_DELETE ? 0 : w->thumbnail_len;
        if (milvus_thumbnails_put(b->m->thumbnails, b->c->id, w->fileid, w->thumbnail, len, &ignored))
            return;
    }
}

static enum result run(struct batch *b, struct err *err)
{
    enum result r = look(b, err);
    if (r)
        return r;
    for (size_t i = 0; i < b->plan_count; i++)
        for (size_t j = 0; j < b->plans[i].count; j++) {
            uint32_t at = b->order[b->plans[i].first + j];
            apply(&b->plans[i], &b->writes[at], &b->given[at]);
        }
    write_thumbnails(b, true);
    r = send_deletes(b, err);
    if (!r)
        r = send_rows(b, err);
    if (!r)
        write_thumbnails(b, false);
    if (r && b->written && err) {
        char text[ERR_MESSAGE_MAX];
        snprintf(text, sizeof text, "%s", err->message);
        err_set(err, r, "%.360s; before that %zu of the %zu records were written, and writing them again does no harm", text,
            b->written, b->plan_count);
    }
    return r;
}

enum result milvus_write(
    void *state, const char *name, struct store_write *writes, size_t count, int64_t deadline_ms, struct err *err)
{
    struct batch b = {.m = state, .writes = writes, .count = count, .deadline_ms = deadline_ms};
    struct err local, *e = err ? err : &local;
    enum result r = milvus_acquire(b.m, name, deadline_ms, &b.c, e);
    if (r || count == 0)
        goto out;
    r = check_all(&b, e);
    if (!r)
        r = make_plans(&b, e);
    if (!r)
        r = milvus_session_lock(&b.c->session, b.stripes, deadline_ms, e);
    if (!r) {
        r = run(&b, e);
        milvus_session_unlock(&b.c->session, b.stripes);
    }
    batch_free(&b);
out:
    milvus_release(b.m, b.c);
    return r;
}
