/*
 * The build, by a thread of the keeper:
 *
 *     load derived/index, or begin an empty one               nobody else knows of it yet
 *     writers held: slots compared with stamps,               some ten milliseconds for a million rows
 *       what is stale taken out, what is missing noted,
 *       the index published as BUILDING
 *     what is missing put in                                  beside commits, which put in theirs
 *     READY                                                   linking goes on, a slice at a time
 *
 * From the moment it is published each commit keeps it in step, so nothing has to be caught up with twice.
 * `rows` keeps the build and a commit from changing one slot at a time. The build puts in only what its own
 * snapshot sees, which nobody reclaims before the snapshot is left.
 *
 * A file is worth loading as long as it is of this collection: what differs is put right by its stamps. Only a
 * file from the future, of a collection that was put back to an older state, is not, because write numbers
 * have been used again since.
 *
 * A save happens when much has changed since the last one, and at close, and not more often: it writes all of
 * the index, and what it spares is only the linking of what was written since.
 */
#include "store/embedded/graph.h"

#include "base/clock.h"
#include "store/embedded/collection.h"
#include "store/embedded/searchable.h"

#include <errno.h>
#include <sys/stat.h>

#define SLICE 32          /* rows linked before others have their turn */
#define WAITING_MAX 32768 /* rows not linked, as long as many write at once; a search scans so many in some ms */
#define PUT_STEP 256      /* rows put in under one snapshot */
#define RETRY_MS 30000    /* after there was no memory */
#define SAVE_SHARE 4      /* saved when one row of so many has changed … */
#define SAVE_LEAST 8192   /* … and at least so many */
#define CLOSE_SHARE 64    /* the same at close */
#define CLOSE_LEAST 256
#define RECALL 1.0f       /* of index_ef(): what a first page misses, the next shows twice */

static bool keeps(const struct embedded_collection *c)
{
    return c->meta.settings.metric != STORE_IP; /* the inner product is no distance */
}

static bool wanted(const struct embedded_graph *g)
{
    return keeps(g->c) && !atomic_load(&g->parted) && atomic_load(&g->c->count) >= INDEX_GRAPH_FROM &&
           clock_now_ms() >= atomic_load(&g->not_before_ms);
}

static uint64_t identity(const struct embedded_collection *c)
{
    return c->meta.id ^ (embedded_searchable_version(c) * 0x9e3779b97f4a7c15u);
}

static enum result file_path(const struct embedded_collection *c, bool folder, char *out, struct err *err)
{
    return embedded_path(out, c->path, folder ? "derived" : "derived/index", err);
}

/* The index goes, at the latest with the collection; a search is an exact scan from now on. */
static void give_up(struct embedded_graph *g)
{
    atomic_store(&g->not_before_ms, clock_now_ms() + RETRY_MS);
    atomic_store(&g->state, EMBEDDED_GRAPH_NONE);
    struct index *ix = atomic_exchange(&g->index, NULL);
    if (ix)
        atomic_store(&g->parted, ix); /* there is no other one: see wanted() */
}

/* `working` is held. Whoever was inside when it was given up has left, or it is done another time. */
static void free_parted(struct embedded_graph *g)
{
    struct index *ix = atomic_load(&g->parted);
    if (!ix || pthread_rwlock_trywrlock(&g->lock))
        return;
    pthread_rwlock_unlock(&g->lock);
    atomic_store(&g->parted, NULL);
    index_free(ix);
}

static uint64_t linked_rows(const struct index *ix)
{
    struct index_stats stats;
    index_stats(ix, &stats);
    return stats.live > stats.waiting ? stats.live - stats.waiting : 0;
}

/* --- rows ----------------------------------------------------------------------------------------------- */

/* `rows` is held. A row that is damaged is in no index: the scan leaves it out as well. */
static enum result put_row(struct embedded_graph *g, struct index *ix, uint32_t slot)
{
    const struct embedded_slot *s = embedded_slots_at(&g->c->slots, slot);
    struct index_row row = {
        .slot = slot,
        .item = atomic_load_explicit(&s->itemid, memory_order_relaxed),
        .stamp = s->number,
        .vector = embedded_searchable_row(g->c, slot),
        .defer = true,
    };
    atomic_fetch_add(&g->changes, 1);
    if (row.vector)
        return index_insert(ix, &row, NULL);
    index_delete(ix, slot);
    return ERR_OK;
}

void embedded_graph_put(struct embedded_graph *g, uint32_t slot)
{
    enum result r = ERR_OK;
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (ix) {
        pthread_mutex_lock(&g->rows);
        r = put_row(g, ix, slot);
        pthread_mutex_unlock(&g->rows);
    }
    pthread_rwlock_unlock(&g->lock);
    if (r)
        give_up(g);
}

void embedded_graph_remove(void *graph, uint32_t slot)
{
    struct embedded_graph *g = graph;
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (ix) {
        pthread_mutex_lock(&g->rows);
        index_delete(ix, slot);
        atomic_fetch_add(&g->changes, 1);
        pthread_mutex_unlock(&g->rows);
    }
    pthread_rwlock_unlock(&g->lock);
}

void embedded_graph_items_begin(struct embedded_graph *g)
{
    atomic_fetch_add(&g->items, 1);
}

void embedded_graph_set_item(struct embedded_graph *g, uint32_t slot, int64_t itemid)
{
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (ix) {
        pthread_mutex_lock(&g->rows);
        index_set_item(ix, slot, itemid);
        atomic_fetch_add(&g->changes, 1);
        pthread_mutex_unlock(&g->rows);
    }
    pthread_rwlock_unlock(&g->lock);
}

void embedded_graph_items_end(struct embedded_graph *g)
{
    atomic_fetch_add(&g->items, 1);
}

void embedded_graph_nudge(struct embedded_graph *g)
{
    if (g->keeper && keeps(g->c))
        embedded_keeper_wake(g->keeper);
}

void embedded_graph_relieve(struct embedded_graph *g, size_t rows)
{
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (ix && index_relieve(ix, rows, NULL)) {
        /* Without memory for its lists a repair waits for the next write. */
    }
    bool more = ix && index_wants_tending(ix);
    pthread_rwlock_unlock(&g->lock);
    if (more) /* the keeper may have found the repair taken, and gone to sleep over the rest */
        embedded_graph_nudge(g);
}

/* --- building ------------------------------------------------------------------------------------------- */

static struct index_settings settings_of(const struct embedded_collection *c)
{
    return (struct index_settings){
        .dimension = embedded_searchable_dimension(c),
        .metric = c->meta.settings.metric == STORE_COSINE ? INDEX_COSINE : INDEX_L2,
        .tended = true,
    };
}

/* From the file where there is one that can be used; what cannot is overwritten by the next save. */
static enum result begin_index(struct embedded_graph *g, struct index **out, struct err *err)
{
    struct index_settings settings = settings_of(g->c);
    char path[EMBEDDED_PATH_MAX];
    uint64_t generation = 0;
    struct index *ix = NULL;
    bool try = !g->load_tried && !file_path(g->c, false, path, NULL);
    g->load_tried = true;
    if (try && !index_load(&settings, path, identity(g->c), &ix, &generation, NULL) &&
        generation > g->c->meta.change) {
        index_free(ix);
        ix = NULL;
        (void)!g->c->sys->unlink(path);
    }
    if (!ix)
        return index_new(&settings, out, err);
    *out = ix;
    return ERR_OK;
}

struct missing {
    uint32_t *slots;
    size_t count, room;
};

static enum result note(struct missing *m, uint32_t slot)
{
    if (m->count == m->room) {
        size_t room = m->room ? 2 * m->room : 1024;
        uint32_t *slots = realloc(m->slots, room * sizeof *slots);
        if (!slots)
            return ERR_NO_MEMORY;
        m->slots = slots;
        m->room = room;
    }
    m->slots[m->count++] = slot;
    return ERR_OK;
}

/* No commit runs, and nobody else knows of the index. */
static enum result compare(struct embedded_graph *g, struct index *ix, uint64_t seq, struct missing *m)
{
    struct embedded_slots *slots = &g->c->slots;
    uint32_t used = atomic_load_explicit(&slots->used, memory_order_acquire), known = index_slots(ix);
    enum result r = ERR_OK;
    for (uint32_t i = 0; !r && (i < used || i < known); i++) {
        uint64_t stamp = 0;
        int64_t item = 0;
        bool has = index_find(ix, i, &stamp, &item);
        const struct embedded_slot *slot =
            i < used && embedded_slots_has(slots, i) ? embedded_slots_at(slots, i) : NULL;
        if (!slot || !embedded_slot_visible(slot, seq)) {
            if (has)
                index_delete(ix, i);
        } else if (!has || stamp != slot->number) {
            r = note(m, i);
        } else if (item != atomic_load_explicit(&slot->itemid, memory_order_relaxed)) {
            index_set_item(ix, i, atomic_load_explicit(&slot->itemid, memory_order_relaxed));
        }
    }
    return r;
}

/* The rows of a tuned collection, many at once. */
static void make_rows(struct embedded_collection *c, const uint32_t *slots, size_t count, uint64_t seq)
{
    uint32_t seen[EMBEDDED_SPACE_SLICE];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (embedded_slot_visible(embedded_slots_at(&c->slots, slots[i]), seq))
            seen[n++] = slots[i];
        if (n == EMBEDDED_SPACE_SLICE || (n && i + 1 == count)) {
            embedded_space_make(c, seen, n);
            n = 0;
        }
    }
}

/* Some of what is missing, unless a commit has put it in or it is gone. */
static enum result put_missing(struct embedded_graph *g, const uint32_t *slots, size_t count)
{
    struct embedded_snapshot snapshot;
    enum result r = ERR_OK;
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (!ix) {
        pthread_rwlock_unlock(&g->lock);
        return ERR_NO_MEMORY; /* a commit has given it up */
    }
    embedded_slots_enter(&g->c->slots, &snapshot);
    if (embedded_space_tuned(&g->c->space))
        make_rows(g->c, slots, count, snapshot.seq);
    for (size_t i = 0; !r && i < count; i++) {
        const struct embedded_slot *slot = embedded_slots_at(&g->c->slots, slots[i]);
        uint64_t stamp = 0;
        if (!embedded_slot_visible(slot, snapshot.seq))
            continue;
        pthread_mutex_lock(&g->rows);
        if (!index_find(ix, slots[i], &stamp, NULL) || stamp != slot->number)
            r = put_row(g, ix, slots[i]);
        pthread_mutex_unlock(&g->rows);
    }
    embedded_slots_leave(&g->c->slots, &snapshot);
    pthread_rwlock_unlock(&g->lock);
    atomic_fetch_add(&g->done, count);
    return r;
}

static enum result publish(struct embedded_graph *g, struct index *ix, struct missing *m, struct err *err)
{
    struct embedded_snapshot snapshot;
    enum result r = embedded_collection_hold(g->c, CLOCK_NO_DEADLINE, err);
    if (r)
        return r;
    embedded_slots_enter(&g->c->slots, &snapshot);
    r = compare(g, ix, snapshot.seq, m);
    if (!r) {
        atomic_store(&g->done, 0);
        atomic_store(&g->todo, m->count);
        atomic_store(&g->index, ix);
        atomic_store(&g->state, EMBEDDED_GRAPH_BUILDING);
    }
    embedded_slots_leave(&g->c->slots, &snapshot);
    embedded_collection_resume(g->c);
    return r ? err_no_memory(err) : ERR_OK;
}

/* `working` is held. */
static void build(struct embedded_graph *g)
{
    struct missing m = {0};
    struct index *ix = NULL;
    uint64_t linked = 0;
    enum result r = begin_index(g, &ix, NULL);
    if (!r)
        linked = linked_rows(ix);
    if (!r)
        r = publish(g, ix, &m, NULL);
    if (r) {
        index_free(ix);
        atomic_store(&g->not_before_ms, clock_now_ms() + RETRY_MS);
        goto out;
    }
    g->saved_changes = atomic_load(&g->changes);
    g->saved_linked = linked; /* of the file, or none */
    for (size_t i = 0; !r && i < m.count && !atomic_load(&g->kept.leaving); i += PUT_STEP)
        r = put_missing(g, m.slots + i, m.count - i < PUT_STEP ? m.count - i : PUT_STEP);
    int building = EMBEDDED_GRAPH_BUILDING;
    if (r)
        give_up(g);
    else if (!atomic_load(&g->kept.leaving)) /* unless a commit has given it up */
        (void)atomic_compare_exchange_strong(&g->state, &building, EMBEDDED_GRAPH_READY);
out:
    free(m.slots);
}

/* --- saving --------------------------------------------------------------------------------------------- */

/* `working` is held. */
static enum result save(struct embedded_graph *g, bool may_stop, struct err *err)
{
    const struct store_sys *sys = g->c->sys;
    const struct index_calls calls = {sys->open, sys->pwrite, sys->fsync, sys->rename, sys->unlink};
    char folder[EMBEDDED_PATH_MAX], path[EMBEDDED_PATH_MAX];
    uint64_t changes = atomic_load(&g->changes), linked = 0;
    enum result r = file_path(g->c, true, folder, err);
    if (!r)
        r = file_path(g->c, false, path, err);
    if (!r && sys->mkdir(folder, 0755) && errno != EEXIST)
        r = err_set_errno(err, errno, "cannot make the folder %s", folder);
    if (r)
        return r;
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (ix) {
        struct index_saving saving = {.path = path,
            .identity = identity(g->c),
            .generation = atomic_load(&g->c->slots.seq),
            .calls = &calls,
            .stop = may_stop ? &g->kept.leaving : NULL};
        linked = linked_rows(ix);
        r = index_save_as(ix, &saving, err);
    } else {
        r = err_set(err, ERR_NOT_FOUND, "collection \"%s\" has no index yet", g->c->name);
    }
    pthread_rwlock_unlock(&g->lock);
    /* Also after a failure: the next try is made when as much has changed again. */
    g->saved_changes = changes;
    g->saved_linked = linked;
    if (!r)
        atomic_fetch_add(&g->saves, 1);
    return r;
}

enum result embedded_graph_save(struct embedded_graph *g, struct err *err)
{
    pthread_mutex_lock(&g->working);
    enum result r = save(g, false, err);
    pthread_mutex_unlock(&g->working);
    return r;
}

/* Has so much changed, or been linked, since the last save? `working` is held. */
static bool worth_saving(struct embedded_graph *g, uint64_t share, uint64_t least)
{
    uint64_t linked = 0;
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    bool there = ix && atomic_load(&g->state) == EMBEDDED_GRAPH_READY;
    if (there)
        linked = linked_rows(ix);
    pthread_rwlock_unlock(&g->lock);
    uint64_t changed = atomic_load(&g->changes) - g->saved_changes;
    uint64_t grown = linked > g->saved_linked ? linked - g->saved_linked : 0;
    uint64_t much = atomic_load(&g->c->count) / share + least;
    return there && (changed > much || grown > much);
}

/* --- the keeper ----------------------------------------------------------------------------------------- */

/*
 * Linking takes far more of the machine than writing, and rows that wait are found all the same. So while many write at
 * once it leaves them the machine, up to the number of rows at which searches would feel it.
 */
static bool writers_first(const struct embedded_graph *g, const struct index *ix)
{
    return index_waiting(ix) < WAITING_MAX && embedded_collection_crowded(g->c) &&
           !atomic_load(&g->kept.leaving);
}

static bool tend(struct embedded_graph *g)
{
    bool did = false;
    enum result r = ERR_OK;
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->index);
    if (ix && index_wants_tending(ix) && writers_first(g, ix)) {
        pthread_rwlock_unlock(&g->lock);
        embedded_collection_nap();
        return true;
    }
    if (ix)
        r = index_tend(ix, SLICE, &did, NULL);
    pthread_rwlock_unlock(&g->lock);
    return did && !r;
}

/* Rows of a tuned collection that nobody has asked for yet, when there is no index to be made. */
static bool fill(struct embedded_graph *g)
{
    return embedded_space_tuned(&g->c->space) && embedded_space_fill(g->c);
}

static bool work(struct embedded_kept *kept)
{
    struct embedded_graph *g = (struct embedded_graph *)(void *)kept;
    bool more = false;
    if (!pthread_mutex_trylock(&g->working)) {
        free_parted(g);
        if (atomic_load(&g->state) == EMBEDDED_GRAPH_NONE && wanted(g)) {
            build(g);
            more = true;
        } else if (worth_saving(g, SAVE_SHARE, SAVE_LEAST)) {
            (void)!save(g, true, NULL);
        }
        more |= fill(g);
        pthread_mutex_unlock(&g->working);
    }
    return tend(g) || more;
}

void embedded_graph_init(struct embedded_graph *g, struct embedded_collection *c, struct embedded_keeper *keeper)
{
    *g = (struct embedded_graph){.kept.work = work, .c = c, .keeper = keeper};
    pthread_rwlock_init(&g->lock, NULL); /* readers come first */
    pthread_mutex_init(&g->rows, NULL);
    pthread_mutex_init(&g->working, NULL);
}

void embedded_graph_start(struct embedded_graph *g)
{
    g->c->slots.reclaimed = embedded_graph_remove;
    g->c->slots.user = g;
    if (g->keeper && keeps(g->c))
        embedded_keeper_join(g->keeper, &g->kept);
}

void embedded_graph_close(struct embedded_graph *g)
{
    if (g->keeper)
        embedded_keeper_leave(g->keeper, &g->kept);
    if (worth_saving(g, CLOSE_SHARE, CLOSE_LEAST))
        (void)!save(g, false, NULL);
    index_free(atomic_exchange(&g->index, NULL));
    index_free(atomic_exchange(&g->parted, NULL));
    pthread_rwlock_destroy(&g->lock);
    pthread_mutex_destroy(&g->rows);
    pthread_mutex_destroy(&g->working);
}

/* --- searching ------------------------------------------------------------------------------------------ */

struct index *embedded_graph_enter(struct embedded_graph *g)
{
    pthread_rwlock_rdlock(&g->lock);
    struct index *ix = atomic_load(&g->state) == EMBEDDED_GRAPH_READY ? atomic_load(&g->index) : NULL;
    if (!ix)
        pthread_rwlock_unlock(&g->lock);
    return ix;
}

void embedded_graph_leave(struct embedded_graph *g)
{
    pthread_rwlock_unlock(&g->lock);
}

struct asking {
    struct embedded_collection *c;
    uint64_t seq;
};

static const uint16_t *vector_of(void *user, uint32_t slot)
{
    struct asking *a = user;
    return embedded_searchable_row(a->c, slot);
}

static bool visible(void *user, uint32_t slot)
{
    struct asking *a = user;
    return embedded_slot_visible(embedded_slots_at(&a->c->slots, slot), a->seq);
}

static int64_t tie(void *user, uint32_t slot)
{
    struct asking *a = user;
    return embedded_slots_at(&a->c->slots, slot)->fileid;
}

enum result embedded_graph_search(struct embedded_graph *g, const struct embedded_graph_query *query,
    struct index_hit *hits, uint32_t *count, bool *stale, struct err *err)
{
    struct asking asking = {.c = g->c, .seq = query->seq};
    struct index_query q = {.vector = query->vector,
        .k = query->k,
        .recall = RECALL,
        .exact = query->exact,
        .group = query->group,
        .allowed = query->allowed,
        .allowed_words = query->allowed_words,
        .vector_of = vector_of,
        .visible = visible,
        .tie = tie,
        .user = &asking,
        .deadline_ms = query->deadline_ms};
    uint64_t before = atomic_load(&g->items);
    enum result r = index_search(query->index, &q, hits, count, NULL, err);
    *stale = query->group && (before % 2 || before != atomic_load(&g->items));
    for (uint32_t i = 0; !r && i < *count && g->c->meta.settings.metric == STORE_COSINE; i++)
        hits[i].distance = 1 - hits[i].distance / 2;
    return r;
}

/* --- looking -------------------------------------------------------------------------------------------- */

void embedded_graph_stats(struct embedded_graph *g, struct embedded_graph_stats *out)
{
    struct embedded_graph_stats s = {.saves = atomic_load(&g->saves), .built = 1};
    pthread_rwlock_rdlock(&g->lock);
    s.state = (enum embedded_graph_state)atomic_load(&g->state);
    const struct index *ix = atomic_load(&g->index);
    if (ix)
        index_stats(ix, &s.index);
    pthread_rwlock_unlock(&g->lock);
    double rows = (double)atomic_load(&g->c->count);
    if (s.index.live > (uint64_t)rows) { /* retired, and still there for searches from before */
        s.index.dead += s.index.live - (uint64_t)rows;
        s.index.live = (uint64_t)rows;
    }
    double linked = (double)(s.index.live > s.index.waiting ? s.index.live - s.index.waiting : 0);
    if (s.state == EMBEDDED_GRAPH_NONE)
        s.built = 0;
    else if (rows > 0)
        s.built = linked < rows ? linked / rows : 1;
    *out = s;
}
