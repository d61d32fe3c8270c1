#include "filter/store.h"

/*
 * Results of filters by their text. Readers run beside each other and all may add, so the cache has a lock of
 * its own, held for a look at no more than LIMIT_FILTER_CACHE texts. A write changes the version of the
 * columns, which makes every result too old; such results leave when they are met. The one unused for longest
 * makes room for a new one.
 */

struct filter_cached {
    char *text;
    size_t len, bytes;
    uint64_t version, used;
    struct filter_rows *rows;
};

static void drop(struct filter_columns *c, size_t at)
{
    struct filter_cached *e = &c->cache[at];
    filter_rows_free(e->rows);
    free(e->text);
    *e = c->cache[--c->cache_count];
}

struct filter_rows *filter_cache_get(struct filter_columns *c, const struct filter *filter)
{
    struct filter_rows *rows = NULL;
    pthread_mutex_lock(&c->cache_lock);
    for (size_t i = 0; i < c->cache_count;) {
        struct filter_cached *e = &c->cache[i];
        if (e->version != c->version) {
            drop(c, i);
            continue;
        }
        if (e->len == filter->len && memcmp(e->text, filter->text, e->len) == 0) {
            e->used = ++c->cache_clock;
            rows = filter_rows_share(e->rows);
            break;
        }
        i++;
    }
    *(rows ? &c->cache_hits : &c->cache_misses) += 1;
    pthread_mutex_unlock(&c->cache_lock);
    return rows;
}

/* Make room for one more of `bytes`; false where it is too large for the cache. */
static bool make_room(struct filter_columns *c, size_t bytes)
{
    if (bytes > LIMIT_FILTER_CACHE_BYTES / 4)
        return false;
    for (;;) {
        size_t held = 0, oldest = 0;
        for (size_t i = 0; i < c->cache_count; i++) {
            held += c->cache[i].bytes;
            if (c->cache[i].used < c->cache[oldest].used)
                oldest = i;
        }
        if (c->cache_count < LIMIT_FILTER_CACHE && held + bytes <= LIMIT_FILTER_CACHE_BYTES)
            return true;
        drop(c, oldest);
    }
}

void filter_cache_put(struct filter_columns *c, const struct filter *filter, struct filter_rows *rows)
{
    size_t bytes = filter_rows_bytes(rows) + filter->len;
    char *text = malloc(filter->len);
    if (!text)
        return;
    memcpy(text, filter->text, filter->len);
    pthread_mutex_lock(&c->cache_lock);
    if (!c->cache)
        c->cache = calloc(LIMIT_FILTER_CACHE, sizeof *c->cache);
    if (c->cache && make_room(c, bytes)) {
        c->cache[c->cache_count++] = (struct filter_cached){.text = text,
            .len = filter->len,
            .bytes = bytes,
            .version = c->version,
            .used = ++c->cache_clock,
            .rows = filter_rows_share(rows)};
        text = NULL;
    }
    pthread_mutex_unlock(&c->cache_lock);
    free(text);
}

void filter_cache_free(struct filter_columns *c)
{
    while (c->cache_count)
        drop(c, c->cache_count - 1);
    free(c->cache);
}
