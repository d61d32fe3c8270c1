/* Facets of records that are texts, the plain way: every text is parsed, every value looked at. */
#include "store/store_backend.h"

#include "base/limits.h"
#include "filter/facet.h"

#include <stdlib.h>

struct records {
    struct {
        struct json_object *tags, *brief;
    } *items;
    size_t count;
};

static enum result count_records(void *user, struct filter_facet_counter *counter, struct err *err)
{
    const struct records *n = user;
    enum result r = ERR_OK;
    for (size_t i = 0; !r && i < n->count; i++)
        r = filter_facet_record(counter, n->items[i].tags, n->items[i].brief, err);
    return r;
}

struct paths {
    char **fields;
    size_t count;
    const char *keys[LIMIT_JSON_DEPTH + 1];
    size_t lens[LIMIT_JSON_DEPTH + 1];
};

static enum result add_path(struct paths *p, size_t depth)
{
    struct buf text;
    buf_init(&text, LIMIT_FILTER_BYTES);
    enum result r = filter_facet_path_text(p->keys, p->lens, depth, &text);
    bool known = false;
    for (size_t i = 0; !r && i < p->count && !known; i++)
        known = !strcmp(p->fields[i], text.data);
    known = known || p->count == LIMIT_FACET_PATHS;
    char **more = r || known ? NULL : realloc(p->fields, (p->count + 1) * sizeof *more);
    if (more) {
        p->fields = more;
        p->fields[p->count++] = buf_take(&text, NULL);
    } else if (!known) {
        r = ERR_NO_MEMORY;
    }
    buf_free(&text);
    return r;
}

/* Every path of objects that ends at a value. */
static enum result walk(struct paths *p, struct json_object *v, size_t depth)
{
    enum json_type type = json_object_get_type(v);
    enum result r = ERR_OK;
    if (type != json_type_object)
        return depth && type != json_type_null && type != json_type_array ? add_path(p, depth) : ERR_OK;
    if (depth == LIMIT_JSON_DEPTH)
        return ERR_OK;
    json_object_object_foreach(v, name, member)
    {
        p->keys[depth] = name;
        p->lens[depth] = strlen(name);
        r = r ? r : walk(p, member, depth + 1);
    }
    return r;
}

static enum result find_paths(void *user, char ***fields, size_t *count, struct err *err)
{
    const struct records *n = user;
    struct paths p = {0};
    enum result r = ERR_OK;
    for (size_t i = 0; !r && i < n->count; i++)
        r = walk(&p, n->items[i].brief, 0);
    if (r) {
        for (size_t i = 0; i < p.count; i++)
            free(p.fields[i]);
        free(p.fields);
        return err_no_memory(err);
    }
    *fields = p.fields;
    *count = p.count;
    return ERR_OK;
}

enum result store_facets_of_texts(const struct store_texts *texts, size_t count,
    const struct store_facet_query *query, struct store_facets *out, struct err *err)
{
    struct records n = {.items = calloc(count + 1, sizeof *n.items), .count = count};
    struct store_facet_source source = {
        .user = &n, .records = count, .count = count_records, .paths = find_paths};
    if (!n.items)
        return err_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        n.items[i].tags = json_tokener_parse(texts[i].tags);
        n.items[i].brief = json_tokener_parse(texts[i].brief);
    }
    enum result r = store_facets_from(&source, query, out, err);
    for (size_t i = 0; i < count; i++) {
        json_object_put(n.items[i].tags);
        json_object_put(n.items[i].brief);
    }
    free(n.items);
    return r;
}
