/* Which paths of brief there are, as texts of fields. */
#include "filter/facet.h"

#include "filter/store.h"

static bool is_index(const char *key, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (key[i] < '0' || key[i] > '9')
            return false;
    return len > 0;
}

enum result filter_facet_path_text(
    const char *const *keys, const size_t *lens, size_t depth, struct buf *out)
{
    enum result r = buf_append_str(out, "brief");
    for (size_t i = 0; !r && i < depth; i++) {
        bool index = is_index(keys[i], lens[i]) && lens[i] < 19 && (lens[i] == 1 || keys[i][0] != '0');
        r = buf_append_str(out, index ? "[" : "[\"");
        for (size_t j = 0; !r && j < lens[i]; j++) {
            unsigned char c = (unsigned char)keys[i][j];
            r = c == '"' || c == '\\' || c < 0x20 ? buf_appendf(out, "\\u%04x", c)
                                                  : buf_append(out, &keys[i][j], 1);
        }
        if (!r)
            r = buf_append_str(out, index ? "]" : "\"]");
    }
    return r;
}

static uint64_t values_of(const struct filter_path *p)
{
    return (uint64_t)p->kinds[FILTER_KIND_BOOL].count + p->kinds[FILTER_KIND_INT].count +
           p->kinds[FILTER_KIND_DOUBLE].count + p->kinds[FILTER_KIND_STRING].count;
}

struct ranked {
    uint32_t path;
    uint64_t values;
};

static int by_values(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->values != y->values)
        return x->values > y->values ? -1 : 1;
    return (x->path > y->path) - (x->path < y->path);
}

/* From the last key to the first: the name of a path is the number of its parent and its key. */
static char *text_of(const struct filter_columns *c, uint32_t path)
{
    const char *keys[LIMIT_JSON_DEPTH + 1];
    size_t lens[LIMIT_JSON_DEPTH + 1], from = LIMIT_JSON_DEPTH + 1;
    struct buf text;
    while (path && from) {
        struct filter_bytes name = filter_dict_get(&c->path_names, path - 1);
        keys[--from] = name.data + sizeof(uint32_t);
        lens[from] = name.len - sizeof(uint32_t);
        memcpy(&path, name.data, sizeof path);
    }
    buf_init(&text, LIMIT_FILTER_BYTES);
    enum result r =
        filter_facet_path_text(keys + from, lens + from, LIMIT_JSON_DEPTH + 1 - from, &text);
    char *out = r ? NULL : buf_take(&text, NULL);
    buf_free(&text);
    return out;
}

enum result filter_facet_paths(
    const struct filter_columns *c, size_t max, char ***fields, size_t *count, struct err *err)
{
    struct ranked *ranked = calloc((size_t)c->path_count + 1, sizeof *ranked);
    char **list = calloc(max + 1, sizeof *list);
    size_t n = 0, made = 0;
    bool fine = ranked && list;
    for (uint32_t i = 1; fine && i < c->path_count; i++)
        if (values_of(&c->paths[i]))
            ranked[n++] = (struct ranked){i, values_of(&c->paths[i])};
    if (fine && n)
        qsort(ranked, n, sizeof *ranked, by_values);
    for (size_t i = 0; fine && i < n && i < max; i++) {
        list[made] = text_of(c, ranked[i].path);
        fine = list[made] != NULL;
        made += fine;
    }
    free(ranked);
    if (fine) {
        *fields = list;
        *count = made;
        return ERR_OK;
    }
    for (size_t i = 0; i < made; i++)
        free(list[i]);
    free(list);
    return err_no_memory(err);
}
