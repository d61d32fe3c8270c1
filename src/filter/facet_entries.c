#include "filter/facet_entries.h"

#include "base/limits.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void facet_entries_free(struct facet_entries *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->items[i].s);
    free(e->items);
    *e = (struct facet_entries){0};
}

static struct facet_entry *add(struct facet_entries *e)
{
    if (e->count == e->room) {
        size_t room = e->room ? 2 * e->room : 64;
        struct facet_entry *items = realloc(e->items, room * sizeof *items);
        if (!items)
            return NULL;
        e->items = items;
        e->room = room;
    }
    return &e->items[e->count];
}

enum result facet_add_number(
    struct facet_entries *e, enum facet_kind kind, int64_t i, double d, uint64_t count)
{
    struct facet_entry *entry = add(e);
    if (!entry)
        return ERR_NO_MEMORY;
    *entry = (struct facet_entry){.kind = kind, .count = count, .i = i, .d = d + 0.0}; /* −0 becomes 0 */
    e->count++;
    return ERR_OK;
}

enum result facet_add_string(struct facet_entries *e, const char *s, size_t len, uint64_t count)
{
    struct facet_entry *entry = add(e);
    char *copy = entry ? malloc(len + 1) : NULL;
    if (!copy)
        return ERR_NO_MEMORY;
    if (len)
        memcpy(copy, s, len);
    copy[len] = '\0';
    *entry = (struct facet_entry){.kind = FACET_STRING, .count = count, .s = copy, .len = len};
    e->count++;
    return ERR_OK;
}

static int by_value(const void *a, const void *b)
{
    const struct facet_entry *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->kind == FACET_DOUBLE)
        return (x->d > y->d) - (x->d < y->d);
    if (x->kind != FACET_STRING)
        return (x->i > y->i) - (x->i < y->i);
    int order = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static int by_count(const void *a, const void *b)
{
    const struct facet_entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return by_value(a, b);
}

void facet_entries_merge(struct facet_entries *e)
{
    size_t kept = 0;
    if (e->count)
        qsort(e->items, e->count, sizeof *e->items, by_value);
    for (size_t i = 0; i < e->count; i++) {
        if (kept && !by_value(&e->items[kept - 1], &e->items[i])) {
            e->items[kept - 1].count += e->items[i].count;
            free(e->items[i].s);
        } else {
            e->items[kept++] = e->items[i];
        }
    }
    e->count = kept;
}

void facet_entries_by_count(struct facet_entries *e)
{
    if (e->count)
        qsort(e->items, e->count, sizeof *e->items, by_count);
}

/* The shortest that reads back as the same number, and looks like a floating point number. */
static enum result write_double(double d, struct buf *out)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        double back = strtod(text, NULL);
        if (!(back < d) && !(back > d))
            break;
    }
    return buf_appendf(out, "%s%s", text, strpbrk(text, ".en") ? "" : ".0");
}

char *facet_entry_json(const struct facet_entry *entry)
{
    struct buf out;
    enum result r;
    buf_init(&out, 6 * LIMIT_BRIEF_TEXT);
    if (entry->kind == FACET_BOOL)
        r = buf_append_str(&out, entry->i ? "true" : "false");
    else if (entry->kind == FACET_INT)
        r = buf_appendf(&out, "%" PRId64, entry->i);
    else if (entry->kind == FACET_DOUBLE)
        r = write_double(entry->d, &out);
    else
        r = json_append_string(&out, entry->s, entry->len);
    char *json = r ? NULL : buf_take(&out, NULL);
    buf_free(&out);
    return json;
}
