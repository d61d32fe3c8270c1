/*
 * Cutting out the dead (FreshDiskANN's consolidation, https://arxiv.org/abs/2105.09613): a deleted row stays
 * in the graph as a way to others until there are many of them. Then they are doomed together, each node that
 * links to one gets the neighbours of that one as candidates instead, and when nobody can stand on a doomed
 * node any more it is free.
 *
 * One pass at a time. Searches go on, and so do writers: what they link to while a pass runs was alive when
 * the pass had doomed its nodes and waited for the linkings of before.
 */
#include "index/pool.h"

#define DUE_AT_LEAST 256
#define DUE_SHARE 8 /* one of so many */
#define OVERDUE_SHARE 5
#define RESCUE_EARLY 1024
#define PER_DOOMED 12 /* of a doomed neighbour's links, which are more or less nearest first */
#define CANDIDATES 256

struct pass {
    struct index *ix;
    uint32_t *doomed;
    size_t count, room;
};

static bool too_many_dead(const struct index *ix, uint32_t share)
{
    uint32_t dead = atomic_load(&ix->dead);
    return dead > DUE_AT_LEAST && dead > atomic_load(&ix->live) / share;
}

bool index_repair_due(const struct index *ix)
{
    uint32_t rescued = atomic_load(&ix->rescued);
    bool moved = atomic_load(&ix->moved) && atomic_load(&ix->compacted) == atomic_load(&ix->repairs) + 1;
    return moved || too_many_dead(ix, DUE_SHARE) || atomic_load(&ix->linked) > rescued + rescued / 4 + RESCUE_EARLY;
}

bool index_repair_overdue(const struct index *ix)
{
    return too_many_dead(ix, OVERDUE_SHARE);
}

static enum result note(struct pass *pass, uint32_t node, struct err *err)
{
    if (pass->count == pass->room) {
        size_t room = pass->room ? pass->room * 2 : 1024;
        uint32_t *list = realloc(pass->doomed, room * sizeof *list);
        if (!list)
            return err_no_memory(err);
        pass->doomed = list;
        pass->room = room;
    }
    pass->doomed[pass->count++] = node;
    return ERR_OK;
}

static enum result doom(struct pass *pass, struct err *err)
{
    struct index *ix = pass->ix;
    uint32_t used = atomic_load(&ix->used);
    for (uint32_t node = 0; node < used; node++) {
        struct index_meta *m = index_meta(ix, node);
        enum index_state s = index_state(m);
        if (s != INDEX_DOOMED && !(s == INDEX_LINKED && atomic_load(&m->dead)))
            continue;
        enum result r = note(pass, node, err);
        if (r != ERR_OK)
            return r;
        if (s == INDEX_LINKED) {
            atomic_store(&m->state, INDEX_DOOMED);
            atomic_fetch_sub(&ix->linked, 1);
        }
    }
    return ERR_OK;
}

static bool is_doomed(const struct index *ix, uint32_t node)
{
    return index_state(index_meta(ix, node)) == INDEX_DOOMED;
}

/*
 * A living node for each doomed one among the points where walks start; fewer where there are none. Sought among all, and where rows
 * have become few also among the lowest, which is where those are that were moved.
 */
static void replace_entries(struct index *ix)
{
    pthread_mutex_lock(&ix->mutex);
    uint32_t count = atomic_load(&ix->entry_count), used = index_top(ix), kept = 0;
    uint64_t live = (uint64_t)atomic_load(&ix->live) + 1;
    uint32_t low = live < used ? (uint32_t)live : used;
    uint32_t random = 2463534242u;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = atomic_load(&ix->entries[i]);
        for (unsigned tries = 0; is_doomed(ix, node) || index_state(index_meta(ix, node)) != INDEX_LINKED;
             tries++) {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            /* When nearly all is dead, the next that lives. */
            node = tries <= 64 ? random % (tries % 2 ? used : low) : (node + 1) % used;
            if (tries > 64 + used) {
                node = INDEX_NONE;
                break;
            }
        }
        if (node != INDEX_NONE)
            atomic_store(&ix->entries[kept++], node);
    }
    atomic_store(&ix->entry_count, kept);
    pthread_mutex_unlock(&ix->mutex);
}

static void forget_lonely(struct index *ix)
{
    pthread_mutex_lock(&ix->mutex);
    uint32_t count = atomic_load(&ix->lonely_count), kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = atomic_load(&ix->lonely[i]);
        if (index_state(index_meta(ix, node)) == INDEX_LINKED)
            atomic_store(&ix->lonely[kept++], node);
    }
    atomic_store(&ix->lonely_count, kept);
    pthread_mutex_unlock(&ix->mutex);
}

static void add_candidate(
    struct index *ix, uint32_t node, uint32_t other, struct index_near *near, uint32_t *count)
{
    if (other == node || *count == CANDIDATES || index_state(index_meta(ix, other)) != INDEX_LINKED)
        return;
    for (uint32_t i = 0; i < *count; i++)
        if (near[i].node == other)
            return;
    near[(*count)++] = (struct index_near){index_between(ix, node, other), other};
}

/* The node's lock is held. */
static void relink(struct index *ix, uint32_t node)
{
    struct index_near near[CANDIDATES];
    struct index_links *l = index_links(ix, node);
    uint32_t n = index_link_count(l), count = 0;
    for (uint32_t i = 0; i < n; i++)
        add_candidate(ix, node, index_link(l, i), near, &count);
    uint32_t alive = count;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_doomed(ix, index_link(l, i)))
            continue;
        const struct index_links *d = index_links(ix, index_link(l, i));
        uint32_t take = index_link_count(d);
        for (uint32_t j = 0; j < take && j < PER_DOOMED; j++)
            add_candidate(ix, node, index_link(d, j), near, &count);
    }
    index_sort_near(near, count);
    uint32_t kept = index_prune(ix, near, count);
    /* Those that were linked and that nobody else links to stay. */
    for (uint32_t i = kept; i < count && alive && kept < INDEX_LINKS; i++) {
        bool mine = false;
        for (uint32_t j = 0; j < n; j++)
            mine |= index_link(l, j) == near[i].node;
        if (mine && atomic_load(&index_meta(ix, near[i].node)->indegree) <= 1) {
            struct index_near x = near[i];
            near[i] = near[kept];
            near[kept++] = x;
        }
    }
    index_set_links(ix, node, near, kept);
}

static void mend(struct index *ix, uint32_t node)
{
    struct index_meta *m = index_meta(ix, node);
    if (index_state(m) != INDEX_LINKED && index_state(m) != INDEX_LINKING)
        return;
    index_lock_node(m);
    const struct index_links *l = index_links(ix, node);
    bool hurt = false;
    for (uint32_t i = 0, n = index_link_count(l); i < n; i++)
        hurt |= is_doomed(ix, index_link(l, i));
    if (hurt)
        relink(ix, node);
    index_unlock_node(m);
}

/* A node that only doomed ones linked to gets a link from its own nearest, one with no links at all waits
 * anew. */
static void adopt(struct index *ix, uint32_t node)
{
    struct index_meta *m = index_meta(ix, node);
    if (index_state(m) != INDEX_LINKED || atomic_load(&m->indegree))
        return;
    const struct index_links *l = index_links(ix, node);
    for (uint32_t i = 0, n = index_link_count(l); i < n; i++) {
        uint32_t to = index_link(l, i);
        if (index_state(index_meta(ix, to)) == INDEX_LINKED)
            index_add_link(ix, to, node, index_between(ix, to, node));
    }
}

/* Doomed nodes count no more as those who link. */
static void forget_links(struct index *ix, uint32_t node)
{
    struct index_links *l = index_links(ix, node);
    for (uint32_t i = 0, n = index_link_count(l); i < n; i++)
        atomic_fetch_sub(&index_meta(ix, index_link(l, i))->indegree, 1);
    atomic_store(&l->count, 0);
}

static enum result run(struct pass *pass, struct err *err)
{
    struct index *ix = pass->ix;
    atomic_store(&ix->moved, 0);
    enum result r = doom(pass, err);
    atomic_store(&ix->unsure, true);
    replace_entries(ix);
    forget_lonely(ix);
    index_quiet(ix);
    uint32_t used = atomic_load(&ix->used);
    for (uint32_t node = 0; node < used; node++)
        mend(ix, node);
    index_quiet(ix);
    for (size_t i = 0; i < pass->count; i++)
        forget_links(ix, pass->doomed[i]);
    for (uint32_t node = 0; node < used; node++)
        adopt(ix, node);
    index_give(ix, pass->doomed, pass->count);
    atomic_fetch_sub(&ix->dead, (uint32_t)pass->count);
    atomic_fetch_add(&ix->repairs, 1);
    return r;
}

enum result index_repair(struct index *ix, bool wait, struct err *err)
{
    if (wait)
        pthread_mutex_lock(&ix->repairing);
    else if (pthread_mutex_trylock(&ix->repairing))
        return ERR_OK;
    struct pass pass = {.ix = ix};
    enum result r = atomic_load(&ix->dead) ? run(&pass, err) : ERR_OK;
    if (r == ERR_OK)
        r = index_rescue(ix, err);
    pthread_mutex_unlock(&ix->repairing);
    free(pass.doomed);
    return r;
}
