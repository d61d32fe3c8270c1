/*
 * A counter holds entries, a value and a number each; the same value may have several until they are put in
 * order. The columns give an entry for each key of a column, so the number of entries is that of distinct
 * values; records give one for each value.
 */
#include "filter/facet.h"

#include "filter/blob.h"
#include "filter/facet_entries.h"
#include "filter/store.h"
#include "json/json.h"

#include <inttypes.h>
#include <math.h>

struct filter_facet_counter {
    struct filter *parsed; /* NULL: tags */
    const struct filter_field *field;
    struct facet_entries entries;
};

/* A condition on the field is parsed: whatever a filter can name, and nothing else, is a field. */
enum result filter_facet_new(const char *field, struct filter_facet_counter **out, struct err *err)
{
    struct filter_facet_counter *f = calloc(1, sizeof *f);
    struct buf text;
    enum result r = f ? ERR_OK : err_no_memory(err);
    buf_init(&text, LIMIT_FILTER_BYTES);
    if (!r && strcmp(field, "tags") != 0) {
        if (buf_appendf(&text, "%s == 1", field))
            r = err_set(err, ERR_TOO_LARGE, "the field is longer than %d bytes", LIMIT_FILTER_BYTES - 8);
        if (!r)
            r = filter_parse(text.data, text.len, &f->parsed, err);
        const struct filter_node *n = !r && f->parsed ? f->parsed->root : NULL;
        if (!r && (!n || n->kind != FILTER_COMPARE || n->field.kind != FILTER_BRIEF || !n->field.depth ||
                      n->value.kind != FILTER_INT || n->value.i != 1 || n->op != FILTER_EQ))
            r = err_set(err, ERR_INVALID,
                "a field whose values can be counted is tags or a path into brief, such as brief[\"colour\"]");
        if (r && err)
            snprintf(err->field, sizeof err->field, "field");
        f->field = n ? &n->field : NULL;
    }
    buf_free(&text);
    if (r)
        filter_facet_free(f);
    else
        *out = f;
    return r;
}

void filter_facet_free(struct filter_facet_counter *f)
{
    if (!f)
        return;
    facet_entries_free(&f->entries);
    filter_free(f->parsed);
    free(f);
}

/* --- records -------------------------------------------------------------------------------------------- */

static struct json_object *member_of(struct json_object *v, struct filter_bytes key)
{
    struct json_object *member = NULL;
    if (json_object_is_type(v, json_type_object)) {
        json_object_object_foreach(v, name, value) if (strlen(name) == key.len &&
                                                       !memcmp(name, key.data, key.len)) member = value;
    } else if (json_object_is_type(v, json_type_array) && key.len > 0 && key.len < 10) {
        size_t at = 0;
        for (size_t i = 0; i < key.len; i++) {
            if (key.data[i] < '0' || key.data[i] > '9' || (key.data[0] == '0' && key.len > 1))
                return NULL;
            at = at * 10 + (size_t)(key.data[i] - '0');
        }
        member = at < json_object_array_length(v) ? json_object_array_get_idx(v, at) : NULL;
    }
    return member;
}

static enum result add_json(struct facet_entries *entries, struct json_object *v)
{
    int64_t i;
    double d;
    switch (json_object_get_type(v)) {
    case json_type_boolean:
        return facet_add_number(entries, FACET_BOOL, json_object_get_boolean(v) ? 1 : 0, 0, 1);
    case json_type_int:
    case json_type_double:
        if (filter_blob_number(v, &i, &d))
            return facet_add_number(entries, FACET_INT, i, 0, 1);
        return facet_add_number(entries, FACET_DOUBLE, 0, d, 1);
    case json_type_string:
        return facet_add_string(
            entries, json_object_get_string(v), (size_t)json_object_get_string_len(v), 1);
    default:
        return ERR_OK;
    }
}

static enum result add_tags(struct facet_entries *entries, struct json_object *tags)
{
    enum result r = ERR_OK;
    size_t n = json_object_is_type(tags, json_type_array) ? json_object_array_length(tags) : 0;
    for (size_t i = 0; !r && i < n; i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        bool twice = false;
        for (size_t j = 0; j < i && !twice; j++)
            twice = json_object_equal(tag, json_object_array_get_idx(tags, j));
        if (!twice)
            r = add_json(entries, tag);
    }
    return r;
}

enum result filter_facet_record(
    struct filter_facet_counter *f, struct json_object *tags, struct json_object *brief, struct err *err)
{
    struct json_object *v = brief;
    if (!f->field)
        return add_tags(&f->entries, tags) ? err_no_memory(err) : ERR_OK;
    for (size_t i = 0; v && i < f->field->depth; i++)
        v = member_of(v, f->field->path[i]);
    return add_json(&f->entries, v) ? err_no_memory(err) : ERR_OK;
}

/* --- columns -------------------------------------------------------------------------------------------- */

/* How often each key occurs: open addressing, doubled when half full. */
struct tally {
    struct {
        uint64_t key, count; /* 0: empty */
    } *places;
    uint64_t mask, used;
};

static bool tally_grow(struct tally *t)
{
    struct tally bigger = {.mask = t->mask ? 2 * t->mask + 1 : 1023};
    bigger.places = calloc(bigger.mask + 1, sizeof *bigger.places);
    if (!bigger.places)
        return false;
    for (uint64_t i = 0; t->places && i <= t->mask; i++) {
        if (!t->places[i].count)
            continue;
        uint64_t at = t->places[i].key * 0x9e3779b97f4a7c15u >> 20 & bigger.mask;
        while (bigger.places[at].count)
            at = (at + 1) & bigger.mask;
        bigger.places[at].key = t->places[i].key;
        bigger.places[at].count = t->places[i].count;
    }
    bigger.used = t->used;
    free(t->places);
    *t = bigger;
    return true;
}

static bool tally_add(struct tally *t, uint64_t key)
{
    if (2 * t->used >= t->mask && !tally_grow(t))
        return false;
    uint64_t at = key * 0x9e3779b97f4a7c15u >> 20 & t->mask;
    while (t->places[at].count && t->places[at].key != key)
        at = (at + 1) & t->mask;
    t->places[at].key = key;
    t->used += t->places[at].count++ == 0;
    return true;
}

struct rows_words {
    const uint64_t *words;
    size_t count;
};

static enum result tally_column(struct tally *t, const struct filter_ccol *col, const struct rows_words *rows)
{
    uint64_t keys[64];
    for (size_t block = 0; col->count && block < rows->count; block++) {
        if (!rows->words[block])
            continue;
        uint64_t here = filter_ccol_block(col, (uint32_t)block, keys) & rows->words[block];
        for (; here; here &= here - 1)
            if (!tally_add(t, keys[__builtin_ctzll(here)]))
                return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum result add_key(struct facet_entries *entries, const struct filter_path *p, enum filter_kind kind,
    uint64_t key, uint64_t count)
{
    struct filter_bytes s;
    switch (kind) {
    case FILTER_KIND_BOOL:
        return facet_add_number(entries, FACET_BOOL, (int64_t)key, 0, count);
    case FILTER_KIND_INT:
        return facet_add_number(entries, FACET_INT, filter_int_key(key), 0, count);
    case FILTER_KIND_DOUBLE:
        return facet_add_number(entries, FACET_DOUBLE, 0, filter_double_key(key), count);
    default:
        s = filter_dict_get(&p->strings, (uint32_t)key);
        return facet_add_string(entries, s.data, s.len, count);
    }
}

static enum result count_values(
    struct facet_entries *entries, const struct filter_path *p, const struct rows_words *rows)
{
    static const enum filter_kind kinds[] = {
        FILTER_KIND_BOOL, FILTER_KIND_INT, FILTER_KIND_DOUBLE, FILTER_KIND_STRING};
    enum result r = ERR_OK;
    for (size_t k = 0; !r && k < sizeof kinds / sizeof *kinds; k++) {
        struct tally t = {0};
        r = tally_column(&t, &p->kinds[kinds[k]], rows);
        for (uint64_t i = 0; !r && t.places && i <= t.mask; i++)
            if (t.places[i].count)
                r = add_key(entries, p, kinds[k], t.places[i].key, t.places[i].count);
        free(t.places);
    }
    return r;
}

static enum result add_blob(struct facet_entries *entries, const struct filter_blob *v, uint64_t count)
{
    switch (v->kind) {
    case FILTER_BLOB_FALSE:
    case FILTER_BLOB_TRUE:
        return facet_add_number(entries, FACET_BOOL, v->kind == FILTER_BLOB_TRUE, 0, count);
    case FILTER_BLOB_INT:
        return facet_add_number(entries, FACET_INT, v->i, 0, count);
    case FILTER_BLOB_FLOAT:
        return facet_add_number(entries, FACET_DOUBLE, 0, v->f, count);
    case FILTER_BLOB_STRING:
        return facet_add_string(entries, v->s.data, v->s.len, count);
    default:
        return ERR_OK;
    }
}

/* What lies in lists, or in members that have no columns, behind the path so far. */
static enum result count_blobs(struct filter_facet_counter *f, const struct filter_path *p, size_t from,
    const struct rows_words *rows)
{
    static const enum filter_kind kinds[] = {FILTER_KIND_ARRAY, FILTER_KIND_REST};
    enum result r = ERR_OK;
    for (size_t k = 0; !r && k < 2; k++) {
        struct tally t = {0};
        r = tally_column(&t, &p->kinds[kinds[k]], rows);
        for (uint64_t i = 0; !r && t.places && i <= t.mask; i++) {
            if (!t.places[i].count)
                continue;
            struct filter_bytes bytes = filter_dict_get(&p->blobs, (uint32_t)t.places[i].key);
            struct filter_blob v = filter_blob_next(&bytes);
            if (filter_blob_follow(&v, f->field->path + from, f->field->depth - from))
                r = add_blob(&f->entries, &v, t.places[i].count);
        }
        free(t.places);
    }
    return r;
}

static enum result count_path(
    struct filter_facet_counter *f, const struct filter_columns *c, const struct rows_words *rows)
{
    uint32_t path = 0;
    if (!c->path_count)
        return ERR_OK;
    for (size_t i = 0; i < f->field->depth; i++) {
        enum result r = count_blobs(f, &c->paths[path], i, rows);
        if (r)
            return r;
        path = filter_path_find(c, path, f->field->path[i]);
        if (path == FILTER_NO_PATH)
            return ERR_OK;
    }
    return count_values(&f->entries, &c->paths[path], rows);
}

/* A tag that a row has twice counts once. */
static enum result count_tags(
    struct facet_entries *entries, const struct filter_columns *c, const struct rows_words *rows)
{
    uint64_t(*keys)[64] = malloc(LIMIT_TAGS * sizeof *keys), *counts = calloc((size_t)c->tags.count + 1, 8);
    enum result r = keys && counts ? ERR_OK : ERR_NO_MEMORY;
    for (size_t block = 0; !r && block < rows->count; block++) {
        uint64_t has[LIMIT_TAGS];
        for (size_t t = 0; rows->words[block] && t < LIMIT_TAGS; t++) {
            has[t] = c->tag_at[t].count ? filter_ccol_block(&c->tag_at[t], (uint32_t)block, keys[t]) : 0;
            for (uint64_t m = has[t] & rows->words[block]; m; m &= m - 1) {
                int row = __builtin_ctzll(m);
                bool twice = false;
                for (size_t u = 0; u < t && !twice; u++)
                    twice = (has[u] >> row & 1) && keys[u][row] == keys[t][row];
                counts[keys[t][row]] += !twice;
            }
        }
    }
    for (uint32_t code = 0; !r && code < c->tags.count; code++)
        if (counts[code]) {
            struct filter_bytes s = filter_dict_get(&c->tags, code);
            r = facet_add_string(entries, s.data, s.len, counts[code]);
        }
    free(keys);
    free(counts);
    return r;
}

enum result filter_facet_columns(struct filter_facet_counter *f, const struct filter_columns *columns,
    const struct filter_rows *rows, struct err *err)
{
    struct rows_words words = {0};
    words.words = filter_rows_direct(rows, &words.count);
    enum result r =
        f->field ? count_path(f, columns, &words) : count_tags(&f->entries, columns, &words);
    return r ? err_no_memory(err) : ERR_OK;
}

/* --- the end -------------------------------------------------------------------------------------------- */

double filter_facet_worth(struct filter_facet_counter *f, uint64_t records)
{
    double worth = 0;
    facet_entries_merge(&f->entries);
    for (size_t i = 0; i < f->entries.count; i++) {
        double part = (double)f->entries.items[i].count / (double)records;
        if (f->entries.items[i].count > 1 && part < 1)
            worth -= part * log(part);
    }
    return worth;
}

static char *field_text(const struct filter_facet_counter *f)
{
    struct buf text;
    const char *keys[LIMIT_JSON_DEPTH + 1];
    size_t lens[LIMIT_JSON_DEPTH + 1];
    buf_init(&text, 8 * LIMIT_FILTER_BYTES);
    enum result r = ERR_OK;
    if (!f->field) {
        r = buf_append_str(&text, "tags");
    } else if (f->field->depth > LIMIT_JSON_DEPTH) { /* longer than any record is deep */
        r = buf_append_str(&text, "brief");
    } else {
        for (size_t i = 0; i < f->field->depth; i++) {
            keys[i] = f->field->path[i].data;
            lens[i] = f->field->path[i].len;
        }
        r = filter_facet_path_text(keys, lens, f->field->depth, &text);
    }
    char *out = r ? NULL : buf_take(&text, NULL);
    buf_free(&text);
    return out;
}

enum result filter_facet_finish(
    struct filter_facet_counter *f, size_t limit, struct filter_facet *out, struct err *err)
{
    struct filter_facet facet = {0};
    facet_entries_merge(&f->entries);
    facet.distinct = f->entries.count;
    facet_entries_by_count(&f->entries);
    size_t n = f->entries.count < limit ? f->entries.count : limit;
    facet.field = field_text(f);
    facet.values = calloc(n + 1, sizeof *facet.values);
    bool fine = facet.field && facet.values;
    for (size_t i = 0; fine && i < n; i++) {
        facet.values[i].json = facet_entry_json(&f->entries.items[i]);
        facet.values[i].count = f->entries.items[i].count;
        facet.count = i + 1;
        fine = facet.values[i].json != NULL;
    }
    if (fine) {
        *out = facet;
        return ERR_OK;
    }
    for (size_t i = 0; i < facet.count; i++)
        free(facet.values[i].json);
    free(facet.values);
    free(facet.field);
    return err_no_memory(err);
}
