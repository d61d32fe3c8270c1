#include "filter/store.h"

#include "filter/blob.h"
#include "json/json.h"

#include <sys/random.h>

/*
 * Writing. A record is taken apart into its leaves; each path of objects (brief["a"]["b"]) has a struct
 * filter_path with a column for each type its values have had. Arrays stay whole, as blobs in a dictionary:
 * their elements have no paths, because their number has no bound that an index could live with. When there
 * are LIMIT_FILTER_PATHS paths, further members are kept together in a blob beside the object they belong to:
 * slower to search, as correct.
 *
 * Rejected: a column a path and array index (one record of 10,000 elements would make 10,000 columns); a
 * bitmap for each value (a number that is different in every record takes 200 bytes each, a scan of it half a
 * millisecond).
 *
 * The shape of a row, the list of its paths, is what makes removing it cheap.
 */

enum { KEY_MAX = 256, DENSE_FROM = 16384 };

/* What one put is about. */
struct put {
    struct filter_columns *c;
    uint32_t row;
    struct buf shape, scratch;
};

enum result filter_columns_new(
    const struct filter_columns_options *options, struct filter_columns **out, struct err *err)
{
    struct filter_columns *c = calloc(1, sizeof *c);
    uint64_t seed = 0;
    if (!c || pthread_mutex_init(&c->cache_lock, NULL)) {
        free(c);
        return err_no_memory(err);
    }
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed ^= (uint64_t)(uintptr_t)c;
    c->dense_from = options && options->dense_from ? options->dense_from : DENSE_FROM;
    c->max_paths = options && options->max_paths ? options->max_paths : LIMIT_FILTER_PATHS;
    filter_dict_init(&c->tags, seed, true);
    filter_dict_init(&c->path_names, seed, false);
    filter_dict_init(&c->shapes, seed, false);
    *out = c;
    return ERR_OK;
}

void filter_columns_free(struct filter_columns *c)
{
    if (!c)
        return;
    struct filter_ccol *const columns[] = {
        &c->fileid, &c->itemid, &c->null_tags, &c->null_brief, &c->tag_count, &c->shape};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        filter_ccol_free(columns[i]);
    for (size_t i = 0; i < LIMIT_TAGS; i++)
        filter_ccol_free(&c->tag_at[i]);
    for (uint32_t i = 0; i < c->posting_room; i++)
        filter_posting_free(&c->postings[i]);
    for (uint32_t i = 0; i < c->path_count; i++) {
        for (size_t k = 0; k < FILTER_KINDS; k++)
            filter_ccol_free(&c->paths[i].kinds[k]);
        filter_dict_free(&c->paths[i].strings);
        filter_dict_free(&c->paths[i].blobs);
    }
    free(c->postings);
    free(c->paths);
    filter_dict_free(&c->tags);
    filter_dict_free(&c->path_names);
    filter_dict_free(&c->shapes);
    filter_cache_free(c);
    pthread_mutex_destroy(&c->cache_lock);
    free(c);
}

/* --- paths
 * ------------------------------------------------------------------------------------------------------- */

static size_t path_name(uint32_t parent, struct filter_bytes key, char out[sizeof(uint32_t) + KEY_MAX])
{
    memcpy(out, &parent, sizeof parent);
    memcpy(out + sizeof parent, key.data, key.len);
    return sizeof parent + key.len;
}

uint32_t filter_path_find(const struct filter_columns *c, uint32_t parent, struct filter_bytes key)
{
    char name[sizeof(uint32_t) + KEY_MAX];
    if (key.len > KEY_MAX)
        return FILTER_NO_PATH;
    uint32_t code = filter_dict_find(&c->path_names, name, path_name(parent, key, name));
    return code == FILTER_NO_CODE ? FILTER_NO_PATH : code + 1;
}

static enum result path_add(struct filter_columns *c)
{
    if (c->path_count == c->path_room) {
        uint32_t room = c->path_room ? c->path_room * 2 : 16;
        struct filter_path *paths = realloc(c->paths, room * sizeof *paths);
        if (!paths)
            return ERR_NO_MEMORY;
        c->paths = paths;
        c->path_room = room;
    }
    struct filter_path *path = &c->paths[c->path_count++];
    memset(path, 0, sizeof *path);
    filter_dict_init(&path->strings, c->tags.seed, true);
    filter_dict_init(&path->blobs, c->tags.seed, false);
    return ERR_OK;
}

/* The path of a member, made where it is new; FILTER_NO_PATH where there can be no more. */
static enum result path_make(
    struct filter_columns *c, uint32_t parent, struct filter_bytes key, uint32_t *out)
{
    char name[sizeof(uint32_t) + KEY_MAX];
    uint32_t code;
    *out = filter_path_find(c, parent, key);
    if (*out != FILTER_NO_PATH || key.len > KEY_MAX || c->path_count >= c->max_paths)
        return ERR_OK;
    enum result r = path_add(c);
    if (!r) {
        r = filter_dict_hold(&c->path_names, name, path_name(parent, key, name), &code);
        if (r)
            c->path_count--;
        else
            *out = code + 1; /* nothing is ever released there, so codes count up with the paths */
    }
    return r;
}

/* --- values
 * ------------------------------------------------------------------------------------------------------- */

static enum result put_value(struct put *p, uint32_t path, struct json_object *v);

static enum result set(struct put *p, struct filter_ccol *col, uint64_t key)
{
    return filter_ccol_set(col, p->row, key, p->c->dense_from);
}

/* A code that is held, in a column of the row; released where that fails. */
static enum result set_held(struct put *p, struct filter_ccol *col, struct filter_dict *dict, uint32_t code)
{
    enum result r = set(p, col, code);
    if (r)
        filter_dict_release(dict, code);
    return r;
}

/* A code for bytes, in a column of the row. */
static enum result set_code(
    struct put *p, struct filter_ccol *col, struct filter_dict *dict, struct filter_bytes s)
{
    uint32_t code;
    enum result r = filter_dict_hold(dict, s.data, s.len, &code);
    return r ? r : set_held(p, col, dict, code);
}

static enum result put_blob(struct put *p, uint32_t path, enum filter_kind kind)
{
    struct filter_path *at = &p->c->paths[path];
    struct filter_bytes blob = {p->scratch.data, p->scratch.len};
    return set_code(p, &at->kinds[kind], &at->blobs, blob);
}

static enum result put_array(struct put *p, uint32_t path, struct json_object *v)
{
    buf_clear(&p->scratch);
    enum result r = filter_blob_write(v, &p->scratch);
    return r ? r : put_blob(p, path, FILTER_KIND_ARRAY);
}

/* The members of an object that have no path. */
static enum result put_rest(struct put *p, uint32_t path, struct json_object *v, uint32_t count)
{
    size_t start;
    buf_clear(&p->scratch);
    enum result r = filter_blob_begin(FILTER_BLOB_OBJECT, count, &p->scratch, &start);
    json_object_object_foreach(v, name, member)
    {
        struct filter_bytes key = {name, strlen(name)};
        if (filter_path_find(p->c, path, key) != FILTER_NO_PATH)
            continue;
        if (!r)
            r = filter_blob_key(key.data, key.len, &p->scratch);
        if (!r)
            r = filter_blob_write(member, &p->scratch);
    }
    if (r)
        return r;
    filter_blob_end(&p->scratch, start);
    return put_blob(p, path, FILTER_KIND_REST);
}

static enum result put_object(struct put *p, uint32_t path, struct json_object *v)
{
    uint32_t without = 0;
    enum result r = set(p, &p->c->paths[path].kinds[FILTER_KIND_OBJECT], 0);
    json_object_object_foreach(v, name, member)
    {
        uint32_t child = FILTER_NO_PATH;
        if (!r)
            r = path_make(p->c, path, (struct filter_bytes){name, strlen(name)}, &child);
        if (!r && child != FILTER_NO_PATH)
            r = put_value(p, child, member);
        without += child == FILTER_NO_PATH;
    }
    return r || !without ? r : put_rest(p, path, v, without);
}

static enum result put_number(struct put *p, uint32_t path, struct json_object *v)
{
    int64_t i;
    double f;
    struct filter_ccol *kinds = p->c->paths[path].kinds;
    if (filter_blob_number(v, &i, &f))
        return set(p, &kinds[FILTER_KIND_INT], filter_key_int(i));
    return set(p, &kinds[FILTER_KIND_DOUBLE], filter_key_double(f));
}

/* c->paths may move while members are added, so nothing here keeps a pointer into it. */
static enum result put_value(struct put *p, uint32_t path, struct json_object *v)
{
    enum result r = buf_append(&p->shape, &path, sizeof path);
    if (r)
        return r;
    struct filter_path *at = &p->c->paths[path];
    switch (json_object_get_type(v)) {
    case json_type_boolean:
        return set(p, &at->kinds[FILTER_KIND_BOOL], json_object_get_boolean(v) ? 1 : 0);
    case json_type_int:
    case json_type_double:
        return put_number(p, path, v);
    case json_type_string:
        return set_code(p, &at->kinds[FILTER_KIND_STRING], &at->strings,
            (struct filter_bytes){json_object_get_string(v), (size_t)json_object_get_string_len(v)});
    case json_type_array:
        return put_array(p, path, v);
    case json_type_object:
        return put_object(p, path, v);
    default:
        return set(p, &at->kinds[FILTER_KIND_NULL], 0);
    }
}

static enum result put_brief(struct put *p, struct json_object *brief)
{
    if (!brief)
        return set(p, &p->c->null_brief, 0);
    enum result r = p->c->path_count ? ERR_OK : path_add(p->c);
    if (!r)
        r = put_value(p, 0, brief);
    return r;
}

/* --- tags
 * ----------------------------------------------------------------------------------------------------------
 */

static enum result posting_of(struct filter_columns *c, uint32_t code)
{
    if (code < c->posting_room)
        return ERR_OK;
    uint32_t room = code + code / 4 + 16;
    struct filter_posting *postings = realloc(c->postings, room * sizeof *postings);
    if (!postings)
        return ERR_NO_MEMORY;
    memset(postings + c->posting_room, 0, (room - c->posting_room) * sizeof *postings);
    c->postings = postings;
    c->posting_room = room;
    return ERR_OK;
}

static enum result put_tags(struct put *p, struct json_object *tags)
{
    struct filter_columns *c = p->c;
    if (!tags)
        return set(p, &c->null_tags, 0);
    size_t count = json_object_array_length(tags);
    enum result r = set(p, &c->tag_count, count);
    for (size_t i = 0; !r && i < count; i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        uint32_t code = 0;
        r = filter_dict_hold(&c->tags, json_object_get_string(tag), (size_t)json_object_get_string_len(tag), &code);
        if (!r)
            r = set_held(p, &c->tag_at[i], &c->tags, code);
        if (!r)
            r = posting_of(c, code);
        if (!r)
            r = filter_posting_add(&c->postings[code], p->row);
    }
    return r;
}

/* --- records
 * ---------------------------------------------------------------------------------------------------------
 */

static void remove_tags(struct filter_columns *c, uint32_t row)
{
    uint64_t key;
    filter_ccol_clear(&c->null_tags, row, &key);
    filter_ccol_clear(&c->tag_count, row, &key);
    for (size_t i = 0; i < LIMIT_TAGS; i++) {
        if (!filter_ccol_clear(&c->tag_at[i], row, &key))
            continue;
        if (key < c->posting_room)
            filter_posting_remove(&c->postings[key], row);
        filter_dict_release(&c->tags, (uint32_t)key);
    }
}

static void remove_path(struct filter_columns *c, uint32_t path, uint32_t row)
{
    struct filter_path *p = &c->paths[path];
    for (size_t kind = 0; kind < FILTER_KINDS; kind++) {
        uint64_t key;
        if (!p->kinds[kind].count || !filter_ccol_clear(&p->kinds[kind], row, &key))
            continue;
        if (kind == FILTER_KIND_STRING)
            filter_dict_release(&p->strings, (uint32_t)key);
        else if (kind == FILTER_KIND_ARRAY || kind == FILTER_KIND_REST)
            filter_dict_release(&p->blobs, (uint32_t)key);
    }
}

static void remove_paths(struct filter_columns *c, struct filter_bytes shape, uint32_t row)
{
    for (size_t i = 0; i < shape.len; i += sizeof(uint32_t)) {
        uint32_t path;
        memcpy(&path, shape.data + i, sizeof path);
        remove_path(c, path, row);
    }
}

void filter_columns_remove(struct filter_columns *c, uint32_t row)
{
    uint64_t key;
    if (!filter_ccol_clear(&c->fileid, row, &key))
        return;
    c->version++;
    filter_ccol_clear(&c->itemid, row, &key);
    filter_ccol_clear(&c->null_brief, row, &key);
    remove_tags(c, row);
    if (filter_ccol_clear(&c->shape, row, &key)) {
        remove_paths(c, filter_dict_get(&c->shapes, (uint32_t)key), row);
        filter_dict_release(&c->shapes, (uint32_t)key);
    }
}

static enum result check_tags(struct json_object *tags, struct err *err)
{
    bool fine = json_object_is_type(tags, json_type_array) && json_object_array_length(tags) <= LIMIT_TAGS;
    for (size_t i = 0; fine && i < json_object_array_length(tags); i++)
        fine = json_object_is_type(json_object_array_get_idx(tags, i), json_type_string);
    return fine ? ERR_OK
                : err_set_field(
                      err, ERR_INVALID, "tags", "tags must be a list of at most %d strings", LIMIT_TAGS);
}

static enum result put_parsed(
    struct put *p, const struct filter_columns_row *row, struct json_object *tags, struct json_object *brief)
{
    struct filter_columns *c = p->c;
    enum result r = set(p, &c->fileid, filter_key_int(row->fileid));
    if (r)
        return r;
    r = set(p, &c->itemid, filter_key_int(row->itemid));
    if (!r)
        r = put_tags(p, tags);
    if (!r)
        r = put_brief(p, brief);
    if (!r && brief)
        r = set_code(p, &c->shape, &c->shapes, (struct filter_bytes){p->shape.data, p->shape.len});
    if (r) {
        remove_paths(c, (struct filter_bytes){p->shape.data, p->shape.len}, p->row);
        filter_columns_remove(c, p->row);
    }
    return r;
}

enum result filter_columns_put(
    struct filter_columns *c, const struct filter_columns_row *row, struct err *err)
{
    struct json_object *tags = NULL, *brief = NULL;
    struct put p = {.c = c, .row = row->row};
    enum result r = ERR_OK;
    buf_init(&p.shape, LIMIT_JSON_VALUES * sizeof(uint32_t));
    buf_init(&p.scratch, 4 * LIMIT_BRIEF_TEXT);
    filter_ahead_cells(c, row->row);
    if (row->row >= LIMIT_RECORDS)
        r = err_set(err, ERR_TOO_LARGE, "there can be no more than %d records", LIMIT_RECORDS);
    if (!r && row->tags)
        r = json_parse(row->tags, row->tags_len, &tags, err);
    if (!r && row->tags)
        r = check_tags(tags, err);
    filter_ahead_paths(c, row->row);
    if (!r && row->brief)
        r = json_parse(row->brief, row->brief_len, &brief, err);
    if (!r && row->brief && !json_object_is_type(brief, json_type_object))
        r = err_set_field(err, ERR_INVALID, "brief", "brief must be a JSON object");
    filter_ahead_codes(c, row->row);
    filter_columns_remove(c, row->row);
    c->version++;
    if (r)
        goto out;
    if (row->row / FILTER_CHUNK_ROWS >= c->chunks)
        c->chunks = row->row / FILTER_CHUNK_ROWS + 1;
    r = put_parsed(&p, row, tags, brief);
    if (r)
        err_set(err, r, "the columns of record %lld cannot be kept: %s", (long long)row->fileid, err_name(r));
out:
    json_object_put(tags);
    json_object_put(brief);
    buf_free(&p.shape);
    buf_free(&p.scratch);
    return r;
}

void filter_columns_stats(struct filter_columns *c, struct filter_columns_stats *out)
{
    struct filter_ccol *const columns[] = {
        &c->fileid, &c->itemid, &c->null_tags, &c->null_brief, &c->tag_count, &c->shape};
    struct filter_columns_stats s = {.rows = c->fileid.count, .paths = c->path_count};
    s.bytes = sizeof *c + filter_dict_bytes(&c->tags) + filter_dict_bytes(&c->path_names) +
              filter_dict_bytes(&c->shapes) + c->path_room * sizeof *c->paths;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        s.bytes += filter_ccol_bytes(columns[i]);
    for (size_t i = 0; i < LIMIT_TAGS; i++)
        s.bytes += filter_ccol_bytes(&c->tag_at[i]);
    for (uint32_t i = 0; i < c->posting_room; i++)
        s.bytes += filter_posting_bytes(&c->postings[i]);
    for (uint32_t i = 0; i < c->path_count; i++) {
        for (size_t k = 0; k < FILTER_KINDS; k++)
            s.bytes += filter_ccol_bytes(&c->paths[i].kinds[k]);
        s.bytes += filter_dict_bytes(&c->paths[i].strings) + filter_dict_bytes(&c->paths[i].blobs);
    }
    pthread_mutex_lock(&c->cache_lock);
    s.cache_hits = c->cache_hits;
    s.cache_misses = c->cache_misses;
    pthread_mutex_unlock(&c->cache_lock);
    *out = s;
}
