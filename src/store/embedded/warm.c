/*
 * One thread, one collection after the other, at a low priority: requests that come meanwhile open what they want
 * themselves. A collection is given back between two looks at it, so that a drop or a tune does not wait. Those beyond
 * LIMIT_OPEN_COLLECTIONS are left alone, for opening them would close others.
 *
 * The columns of filters are made for all, whether anybody filters or not: they take a twentieth of what the index takes,
 * and for a million records ten seconds, which nobody wants to wait for at the first filter.
 */
#include "store/embedded/warm.h"

#include "store/embedded/registry.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NICE 5
#define LOOK_MS 20

struct embedded_warm {
    struct embedded *store;
    pthread_t thread;
    _Atomic bool stop;
};

/* False: it is gone, or cannot be opened, which whoever uses it is told; or its columns are there or given up. */
static bool look(struct embedded_warm *w, const char *name, bool first)
{
    struct entry *entry = NULL;
    struct embedded_collection *c = NULL;
    bool more = false;
    if (embedded_registry_take(w->store, name, &entry, &c, NULL))
        return false;
    if (first)
        embedded_columns_start(c);
    more = embedded_columns_building(&c->columns);
    embedded_registry_give(w->store, entry);
    return more;
}

static void *warm(void *user)
{
    struct embedded_warm *w = user;
    char **names = NULL;
    size_t count = 0;
    (void)!setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* of this thread, and of those it starts */
    if (embedded_registry_list(w->store, &names, &count, NULL))
        return NULL;
    for (size_t i = 0; i < count && i < LIMIT_OPEN_COLLECTIONS && !atomic_load(&w->stop); i++)
        for (bool more = look(w, names[i], true); more && !atomic_load(&w->stop); more = look(w, names[i], false))
            nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    free(names);
    return NULL;
}

struct embedded_warm *embedded_warm_start(struct embedded *e)
{
    struct embedded_warm *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->store = e;
    if (pthread_create(&w->thread, NULL, warm, w)) {
        free(w);
        return NULL;
    }
    return w;
}

void embedded_warm_stop(struct embedded_warm *w)
{
    if (!w)
        return;
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    free(w);
}
