/*
 * Writing, and the threads behind it.
 *
 * A row that was inserted waits, and searches scan the rows that wait; linking it into the graph comes later,
 * by the index's own threads, or by the writers where it has none or where they are ahead by too much. So an
 * insert is seen at once whatever linking costs, a file that was lost is rebuilt while exact answers are
 * given, and there is one way for building and for adding. Rejected: linking inside the insert's own call
 * always, which makes a commit of a thousand rows wait for a second of linking.
 */
#include "index/project.h"

#include <time.h>

#define HELP 4         /* rows a writer links for each that it inserts */
#define SPARE_SHARE 16 /* one free node for so many rows is no reason to wait */
#define PROJECTED 1024 /* rows at a time */
#define MOVED 256

static void kill(struct index *ix, uint32_t node)
{
    struct index_meta *m = index_meta(ix, node);
    uint8_t waiting = INDEX_WAITING;
    atomic_fetch_sub(&ix->live, 1);
    atomic_fetch_add(&ix->dead, 1); /* before the mark: a repair that sees it takes it off again */
    atomic_store_explicit(&m->dead, 1, memory_order_release);
    if (atomic_compare_exchange_strong(&m->state, &waiting, INDEX_DOOMED)) {
        atomic_fetch_sub(&ix->waiting, 1);
        index_arrived(ix, node);
    }
}

void index_dead_now(struct index *ix, uint32_t node)
{
    kill(ix, node);
    for (uint32_t i = 0; i < ix->move_count; i++)
        if (ix->moves[i].to == node)
            kill(ix, ix->moves[i].from);
}

void index_await_linking(struct index *ix, uint32_t node, uint32_t slot, uint64_t stamp, int64_t item)
{
    struct index_meta *m = index_meta(ix, node);
    m->slot = slot;
    m->stamp = stamp;
    atomic_store(&m->item, item);
    atomic_store(&m->dead, 0);
    atomic_fetch_add(&ix->live, 1);
    atomic_fetch_add(&ix->waiting, 1);
    atomic_store_explicit(&m->state, INDEX_WAITING, memory_order_release);
}

/* Fill a node and make it known. */
static enum result publish(
    struct index *ix, struct index_work *w, const struct index_row *row, struct err *err)
{
    uint32_t node;
    enum result r = index_slots_room(ix, row->slot, err);
    if (r == ERR_OK)
        r = index_take(ix, &node, err);
    if (r != ERR_OK)
        return r;
    index_encode(ix, node, row->vector, w->floats);
    if (atomic_load(&ix->graph))
        index_sketch(ix, node, w->floats);
    index_await_linking(ix, node, row->slot, row->stamp, row->item);
    unsigned place = index_enter(ix); /* or the old node could be another row's between its mark and what follows */
    uint32_t old = index_node_of(ix, row->slot);
    index_map(ix, row->slot, node);
    if (old != INDEX_NONE)
        index_dead_now(ix, old);
    index_leave(ix, place);
    return ERR_OK;
}

static void wake(struct index *ix)
{
    pthread_mutex_lock(&ix->mutex);
    pthread_cond_signal(&ix->arrival);
    pthread_mutex_unlock(&ix->mutex);
}

/* What threads would do after a while, where there are none. Without memory for its lists a repair waits for the next write. */
static void cut_out(struct index *ix)
{
    if (index_repair_due(ix))
        (void)!index_repair(ix, false, NULL);
    if (index_compaction_due(ix))
        (void)index_compact_some(ix, MOVED, false);
}

/* A writer's share of the work that follows writes. Memory that is short leaves it for later. */
static void share(struct index *ix, struct index_work *w, bool defer)
{
    bool alone = ix->thread_count == 0, did = true;
    if (!alone)
        wake(ix);
    if (ix->settings.tended)
        return;
    /* Memory must stay bounded whatever the rate of replacements. */
    if (index_repair_overdue(ix) && index_repair(ix, true, NULL) != ERR_OK)
        return;
    if (!alone && (defer || atomic_load(&ix->waiting) < INDEX_LAG))
        return;
    if (index_start_graph(ix, NULL) != ERR_OK)
        return;
    for (unsigned i = 0; i < HELP && did && !defer; i++)
        if (index_link_one(ix, w, &did, NULL) != ERR_OK)
            return;
    if (alone)
        cut_out(ix);
    if (alone && index_projection_due(ix))
        (void)!index_project_some(ix, w, PROJECTED, false, &did, NULL);
}

enum result index_insert(struct index *ix, const struct index_row *row, struct err *err)
{
    struct index_work *w = NULL;
    enum result r = index_work_take(ix, &w, err);
    if (r != ERR_OK)
        return r;
    pthread_rwlock_rdlock(&ix->pause);
    r = publish(ix, w, row, err);
    pthread_rwlock_unlock(&ix->pause);
    if (r == ERR_OK)
        share(ix, w, row->defer);
    index_work_give(ix, w);
    return r;
}

void index_delete(struct index *ix, uint32_t slot)
{
    pthread_rwlock_rdlock(&ix->pause);
    unsigned place = index_enter(ix);
    uint32_t node = index_node_of(ix, slot);
    if (node != INDEX_NONE) {
        index_map(ix, slot, INDEX_NONE);
        index_dead_now(ix, node);
    }
    index_leave(ix, place);
    pthread_rwlock_unlock(&ix->pause);
    if (ix->settings.tended || !(index_repair_due(ix) || index_compaction_due(ix)))
        return;
    if (ix->thread_count)
        wake(ix);
    else
        cut_out(ix);
}

void index_set_item(struct index *ix, uint32_t slot, int64_t item)
{
    pthread_rwlock_rdlock(&ix->pause); /* or it may be moved just now */
    uint32_t node = index_node_of(ix, slot);
    if (node != INDEX_NONE)
        atomic_store(&index_meta(ix, node)->item, item);
    for (uint32_t i = 0; i < ix->move_count; i++)
        if (ix->moves[i].to == node)
            atomic_store(&index_meta(ix, ix->moves[i].from)->item, item);
    pthread_rwlock_unlock(&ix->pause);
}

bool index_find(const struct index *ix, uint32_t slot, uint64_t *stamp, int64_t *item)
{
    struct index *own = (struct index *)(uintptr_t)ix;
    unsigned place = index_enter(own); /* a row may be moved, and its node become another's */
    uint32_t node = index_node_of(ix, slot);
    if (node != INDEX_NONE) {
        const struct index_meta *m = index_meta(ix, node);
        if (stamp)
            *stamp = m->stamp;
        if (item)
            *item = atomic_load(&m->item);
    }
    index_leave(own, place);
    return node != INDEX_NONE;
}

uint32_t index_slots(const struct index *ix)
{
    return atomic_load(&ix->slots_end);
}

/* --- threads
 * -------------------------------------------------------------------------------------------------- */

static bool idle(const struct index *ix)
{
    bool link =
        atomic_load(&ix->waiting) && (atomic_load(&ix->graph) || atomic_load(&ix->live) >= INDEX_GRAPH_FROM);
    return !link && !index_repair_due(ix) && !index_compaction_due(ix) && !index_projection_due(ix);
}

bool index_wants_tending(const struct index *ix)
{
    return !idle(ix);
}

uint32_t index_waiting(const struct index *ix)
{
    return atomic_load(&ix->waiting);
}

enum result index_tend(struct index *ix, unsigned rows, bool *did, struct err *err)
{
    struct index_work *w = NULL;
    bool more = !index_repair_overdue(ix); /* else linking never ends while writers are at work */
    *did = false;
    if (idle(ix))
        return ERR_OK;
    enum result r = index_work_take(ix, &w, err);
    if (r == ERR_OK)
        r = index_start_graph(ix, err);
    for (unsigned i = 0; r == ERR_OK && more && i < rows; i++) {
        r = index_link_one(ix, w, &more, err);
        *did |= more;
    }
    uint64_t before = atomic_load(&ix->repairs);
    if (r == ERR_OK && !*did && index_repair_due(ix)) {
        r = index_repair(ix, false, err);
        *did = atomic_load(&ix->repairs) != before || !index_repair_due(ix);
    }
    if (r == ERR_OK && !*did && index_compaction_due(ix))
        *did = index_compact_some(ix, MOVED, false);
    if (r == ERR_OK && !*did && index_projection_due(ix))
        r = index_project_some(ix, w, PROJECTED, false, did, err);
    index_work_give(ix, w);
    return r;
}

/* There are free nodes, and soon no place for them among those that wait behind the watermark: rows would take new ones. */
static bool grows_needlessly(struct index *ix)
{
    if (atomic_load(&ix->waiting) < INDEX_STRAGGLERS / 2)
        return false;
    pthread_mutex_lock(&ix->mutex);
    bool spare = ix->free_count > atomic_load(&ix->live) / SPARE_SHARE;
    pthread_mutex_unlock(&ix->mutex);
    return spare;
}

enum result index_relieve(struct index *ix, size_t rows, struct err *err)
{
    struct index_work *w = NULL;
    bool did = true;
    enum result r = index_repair_overdue(ix) ? index_repair(ix, true, err) : ERR_OK;
    if (r != ERR_OK || !grows_needlessly(ix))
        return r;
    r = index_work_take(ix, &w, err);
    for (size_t i = 0; r == ERR_OK && did && i < HELP * rows; i++) {
        if (i % 64 == 0 && !grows_needlessly(ix))
            break;
        r = index_link_one(ix, w, &did, err);
    }
    index_work_give(ix, w);
    return r;
}

/* False: the index is being freed. */
static bool wait_for_work(struct index *ix)
{
    pthread_mutex_lock(&ix->mutex);
    while (!ix->stopping && idle(ix))
        pthread_cond_wait(&ix->arrival, &ix->mutex);
    bool go = !ix->stopping;
    pthread_mutex_unlock(&ix->mutex);
    return go;
}

static void *thread(void *arg)
{
    struct index *ix = arg;
    while (wait_for_work(ix)) {
        struct index_work *w = NULL;
        bool did = false;
        enum result r = index_work_take(ix, &w, NULL);
        if (r == ERR_OK)
            r = index_start_graph(ix, NULL);
        if (r == ERR_OK)
            r = index_link_one(ix, w, &did, NULL);
        if (r == ERR_OK && !did && index_repair_due(ix))
            r = index_repair(ix, false, NULL);
        else if (r == ERR_OK && !did && index_compaction_due(ix))
            did = index_compact_some(ix, MOVED, false);
        else if (r == ERR_OK && !did && index_projection_due(ix))
            r = index_project_some(ix, w, PROJECTED, false, &did, NULL);
        index_work_give(ix, w);
        /* Others do what is left, or memory is short: look again in a moment. */
        if (r != ERR_OK || !did)
            nanosleep(&(struct timespec){.tv_nsec = r == ERR_OK ? 200000 : 100000000}, NULL);
    }
    return NULL;
}

enum result index_start_threads(struct index *ix, struct err *err)
{
    unsigned want = ix->settings.threads;
    if (want > LIMIT_INDEX_THREADS)
        return err_set(
            err, ERR_INVALID, "An index cannot have %u threads; %d is the most.", want, LIMIT_INDEX_THREADS);
    if (!want)
        return ERR_OK;
    ix->threads = calloc(want, sizeof *ix->threads);
    if (!ix->threads)
        return err_no_memory(err);
    for (unsigned i = 0; i < want; i++) {
        int e = pthread_create(&ix->threads[i], NULL, thread, ix);
        if (e)
            return err_set_errno(err, e, "Cannot start a thread for the index");
        ix->thread_count++;
    }
    return ERR_OK;
}

enum result index_new(const struct index_settings *settings, struct index **out, struct err *err)
{
    struct index *ix = NULL;
    enum result r = index_make(settings, &ix, err);
    if (r == ERR_OK)
        r = index_start_threads(ix, err);
    if (r != ERR_OK) {
        index_free(ix);
        return r;
    }
    *out = ix;
    return ERR_OK;
}

static void *settle(void *arg)
{
    struct index *ix = arg;
    struct index_work *w = NULL;
    bool did = true;
    enum result r = index_work_take(ix, &w, NULL);
    while (r == ERR_OK && did)
        r = index_link_one(ix, w, &did, NULL);
    index_work_give(ix, w);
    return r == ERR_OK ? NULL : ix;
}

static enum result project_all(struct index *ix, struct err *err)
{
    struct index_work *w = NULL;
    enum result r = index_work_take(ix, &w, err);
    for (bool did = true; r == ERR_OK && did && index_projection_due(ix);)
        r = index_project_some(ix, w, PROJECTED, true, &did, err);
    index_work_give(ix, w);
    return r;
}

/* Each round moves what the repair of the one before has made room for. */
static enum result compact_all(struct index *ix, struct err *err)
{
    enum result r = ERR_OK;
    while (r == ERR_OK) {
        while (index_compact_some(ix, MOVED, true))
            if (settle(ix))
                return err_no_memory(err);
        if (!atomic_load(&ix->moved)) /* by whomever */
            break;
        r = settle(ix) ? err_no_memory(err) : index_repair(ix, true, err);
    }
    return r;
}

enum result index_settle(struct index *ix, unsigned threads, struct err *err)
{
    pthread_t helpers[LIMIT_INDEX_THREADS];
    unsigned n = 0;
    enum result r = index_start_graph(ix, err);
    if (r != ERR_OK)
        return r;
    while (n + 1 < threads && n < LIMIT_INDEX_THREADS && pthread_create(&helpers[n], NULL, settle, ix) == 0)
        n++;
    bool failed = settle(ix) != NULL;
    for (unsigned i = 0; i < n; i++) {
        void *result;
        pthread_join(helpers[i], &result);
        failed |= result != NULL;
    }
    if (failed)
        return err_no_memory(err);
    r = index_repair(ix, true, err);
    if (r == ERR_OK)
        r = compact_all(ix, err);
    return r == ERR_OK ? project_all(ix, err) : r;
}

void index_stats(const struct index *ix, struct index_stats *out)
{
    uint64_t chunks = atomic_load(&ix->standing), used = index_top(ix);
    used = used < chunks * INDEX_CHUNK ? used : chunks * INDEX_CHUNK;
    struct index_stats s = {
        .live = atomic_load(&ix->live),
        .dead = atomic_load(&ix->dead),
        .waiting = atomic_load(&ix->waiting),
        .graph = atomic_load(&ix->graph),
        .bytes_codes = used * ix->shape.padded,
        .bytes_sketches = used * ix->shape.head_stride,
        .bytes_links = used * sizeof(struct index_links),
        .bytes_rows = used * sizeof(struct index_meta) +
                      (uint64_t)atomic_load(&ix->slots_end) * sizeof(uint32_t),
        .repairs = atomic_load(&ix->repairs),
    };
    s.bytes_memory = chunks * ix->shape.chunk_bytes;
    for (uint32_t i = 0; i < INDEX_SLOT_SEGMENTS; i++)
        if (atomic_load(&ix->slots[i]))
            s.bytes_memory += sizeof(uint32_t) << INDEX_SLOT_SHIFT;
    uint64_t projections = atomic_load(&ix->projected_bytes);
    s.bytes_sketches += projections;
    s.bytes_memory += projections;
    *out = s;
}
