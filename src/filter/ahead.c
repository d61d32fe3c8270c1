#include "filter/store.h"

/*
 * Asking for memory before it is needed. Replacing a record touches some fifty places of a hundred megabytes, each a miss
 * of the cache of a tenth of a microsecond; one after the other they take longer than everything else a write does. Reading
 * the new record's JSON takes microseconds too, so what the old one holds is fetched in the meantime, in three steps of
 * which each asks for what the one before has brought: the cells of the columns, those of the paths, and what the codes in
 * them stand for.
 *
 * Nothing here changes anything, and nothing depends on it.
 */

enum { PATHS = 64 }; /* of a record; one with more has other worries */

static void fetch(const void *at)
{
    __builtin_prefetch(at, 1);
}

void filter_ahead_cells(const struct filter_columns *c, uint32_t row)
{
    filter_ccol_prefetch(&c->fileid, row);
    filter_ccol_prefetch(&c->itemid, row);
    filter_ccol_prefetch(&c->shape, row);
    filter_ccol_prefetch(&c->tag_count, row);
    for (size_t i = 0; i < LIMIT_TAGS; i++)
        filter_ccol_prefetch(&c->tag_at[i], row);
}

/* The paths of the row; how many bytes they are. */
static struct filter_bytes paths_of(const struct filter_columns *c, uint32_t row)
{
    uint64_t shape;
    struct filter_bytes none = {0};
    if (!filter_ccol_get(&c->shape, row, &shape))
        return none;
    struct filter_bytes paths = filter_dict_get(&c->shapes, (uint32_t)shape);
    paths.len = paths.len < PATHS * sizeof(uint32_t) ? paths.len : PATHS * sizeof(uint32_t);
    return paths;
}

static const struct filter_path *path_at(
    const struct filter_columns *c, struct filter_bytes paths, size_t at)
{
    uint32_t path;
    memcpy(&path, paths.data + at, sizeof path);
    return &c->paths[path];
}

void filter_ahead_paths(const struct filter_columns *c, uint32_t row)
{
    uint64_t key;
    for (size_t i = 0; i < LIMIT_TAGS; i++)
        if (filter_ccol_get(&c->tag_at[i], row, &key) && key < c->posting_room)
            fetch(&c->postings[key]);
    struct filter_bytes paths = paths_of(c, row);
    for (size_t at = 0; at < paths.len; at += sizeof(uint32_t)) {
        const struct filter_path *p = path_at(c, paths, at);
        for (size_t kind = 0; kind < FILTER_KINDS; kind++)
            if (p->kinds[kind].count)
                filter_ccol_prefetch(&p->kinds[kind], row);
    }
}

static void fetch_code(const struct filter_ccol *col, const struct filter_dict *dict, uint32_t row)
{
    uint64_t code;
    if (!col->count || !filter_ccol_get(col, row, &code))
        return;
    fetch(&dict->holders[code]);
    fetch(&dict->offset[code]);
    if (dict->heads)
        fetch(&dict->heads[code]);
}

void filter_ahead_codes(const struct filter_columns *c, uint32_t row)
{
    struct filter_bytes paths = paths_of(c, row);
    for (size_t at = 0; at < paths.len; at += sizeof(uint32_t)) {
        const struct filter_path *p = path_at(c, paths, at);
        fetch_code(&p->kinds[FILTER_KIND_STRING], &p->strings, row);
        fetch_code(&p->kinds[FILTER_KIND_ARRAY], &p->blobs, row);
    }
}
