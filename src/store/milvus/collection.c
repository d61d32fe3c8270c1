/*
 * The registry. A collection is looked at when first named, and again when MILVUS_CHECK_MS have passed or Milvus said
 * something that does not fit (no such collection). One that became another (dropped and made again by somebody
 * else) gets a new entry; calls that run keep the old one until they are done. Milvus is asked outside of the mutex:
 * two threads may ask at once, and the later answer stays.
 */
#include "store/milvus/milvus.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static size_t place_of(const struct milvus *m, const char *name)
{
    size_t i = 0;
    while (i < m->count && strcmp(m->collections[i]->name, name) != 0)
        i++;
    return i;
}

static void collection_free(struct milvus_collection *c)
{
    milvus_session_free(&c->session);
    free(c);
}

/* Out of the registry; under the mutex. */
static void unlist(struct milvus *m, size_t i)
{
    struct milvus_collection *c = m->collections[i];
    m->collections[i] = m->collections[--m->count];
    c->listed = false;
    if (c->users == 0)
        collection_free(c);
}

static bool same(const struct milvus_collection *a, const struct milvus_collection *b)
{
    return a->id == b->id && a->settings.dimension == b->settings.dimension &&
           a->settings.metric == b->settings.metric && strcmp(a->settings.model, b->settings.model) == 0 &&
           strcmp(a->index, b->index) == 0;
}

/* Under the mutex: the entry of what `fresh` describes, which it may become. NULL: `fresh` is to be freed as well. */
static struct milvus_collection *enlist(struct milvus *m, struct milvus_collection *fresh)
{
    size_t i = place_of(m, fresh->name);
    if (i < m->count && same(m->collections[i], fresh)) {
        m->collections[i]->checked_ms = fresh->checked_ms;
        return m->collections[i];
    }
    if (i < m->count)
        unlist(m, i);
    struct milvus_collection **grown = realloc(m->collections, (m->count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    m->collections = grown;
    grown[m->count++] = fresh;
    fresh->listed = true;
    return fresh;
}

enum result milvus_acquire(
    struct milvus *m, const char *name, int64_t deadline_ms, struct milvus_collection **out, struct err *err)
{
    int64_t now = clock_now_ms();
    pthread_mutex_lock(&m->mutex);
    size_t i = place_of(m, name);
    if (i < m->count && m->collections[i]->checked_ms && now - m->collections[i]->checked_ms < MILVUS_CHECK_MS) {
        (*out = m->collections[i])->users++;
        pthread_mutex_unlock(&m->mutex);
        return ERR_OK;
    }
    pthread_mutex_unlock(&m->mutex);
    struct milvus_collection *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory(err);
    enum result r = milvus_session_init(&fresh->session, err);
    if (!r)
        r = milvus_describe(m, name, false, deadline_ms, fresh, err);
    if (r == ERR_NOT_FOUND || r == ERR_INVALID)
        milvus_forget(m, name);
    if (r) {
        collection_free(fresh);
        return r;
    }
    fresh->checked_ms = now;
    pthread_mutex_lock(&m->mutex);
    struct milvus_collection *c = enlist(m, fresh);
    if (c)
        c->users++;
    pthread_mutex_unlock(&m->mutex);
    if (c != fresh)
        collection_free(fresh);
    if (!c)
        return err_no_memory(err);
    *out = c;
    return ERR_OK;
}

void milvus_release(struct milvus *m, struct milvus_collection *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&m->mutex);
    bool last = --c->users == 0 && !c->listed;
    pthread_mutex_unlock(&m->mutex);
    if (last)
        collection_free(c);
}

void milvus_forget(struct milvus *m, const char *name)
{
    pthread_mutex_lock(&m->mutex);
    size_t i = place_of(m, name);
    if (i < m->count)
        unlist(m, i);
    pthread_mutex_unlock(&m->mutex);
}

void milvus_collections_free(struct milvus *m)
{
    while (m->count)
        unlist(m, m->count - 1);
    free(m->collections);
}
