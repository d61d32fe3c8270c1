/*
 * Giving memory back. Nodes that become free are scattered, and memory goes back by chunks. Where rows are replaced the upper
 * chunks become empty by themselves, because new rows take the lowest free nodes; where they only become fewer, those that stand
 * too high are moved down.
 *
 * A row is moved as if it were replaced by itself: a copy of its node waits to be linked, and the old one dies. But at no moment
 * may a search miss it, though nobody has written it. So the old node dies only when every search has ended that began before
 * the copy was there. In between both are alive, and whoever replaces or deletes the row kills both (index_dead_now()).
 *
 * Rejected: lowering `used`, on which searches rely not to go back; and a new index beside the old one, which takes twice the
 * memory to save a third of it.
 */
#include "index/internal.h"

#include <time.h>

#define SLACK_SHARE 8 /* free nodes that are left, for so many rows: as many as may be dead before a repair */
#define WASTE_SHARE 16
#define TRIES 100
#define WAITING_MOST (INDEX_STRAGGLERS / 4)

static uint32_t chunks_needed(const struct index *ix)
{
    uint32_t live = atomic_load(&ix->live);
    return (uint32_t)(((uint64_t)live + live / SLACK_SHARE + INDEX_CHUNK - 1) / INDEX_CHUNK);
}

/* Without a graph nothing is LINKED, so that nothing could be moved. */
bool index_compaction_due(const struct index *ix)
{
    uint32_t needed = chunks_needed(ix);
    return atomic_load(&ix->graph) && atomic_load(&ix->standing) > needed + needed / WASTE_SHARE + 1 &&
           atomic_load(&ix->compacted) != atomic_load(&ix->repairs) + 1;
}

/* The copy waits like a new row, but is linked with the sketch it has. `pause` is held exclusively. */
static void copy_row(struct index *ix, uint32_t from, uint32_t to)
{
    const struct index_meta *old = index_meta(ix, from);
    memcpy(index_code(ix, to), index_code(ix, from), ix->shape.padded);
    memcpy(index_head(ix, to), index_head(ix, from), ix->shape.head_stride);
    atomic_store(&index_meta(ix, to)->sketched, 1);
    index_await_linking(ix, to, old->slot, old->stamp, atomic_load(&old->item));
    index_map(ix, old->slot, to);
}

/*
 * Those who wait for a lock exclusively keep out who would share it, here until the last linking has ended. So for a moment we only look
 * whether it can be had.
 */
static void pause_others(struct index *ix)
{
    for (unsigned tries = 0; tries < TRIES; tries++) {
        if (!pthread_rwlock_trywrlock(&ix->pause))
            return;
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    pthread_rwlock_wrlock(&ix->pause);
}

/* As many rows as there is room for, from ix->move_next on. *end: there are no more, or no free nodes. */
static void begin_moves(struct index *ix, uint32_t limit, bool *end)
{
    pause_others(ix);
    uint32_t top = index_top(ix), to;
    for (uint32_t looked = 0; ix->move_next < top && ix->move_count < INDEX_MOVES && looked < INDEX_CHUNK; ix->move_next++, looked++) {
        const struct index_meta *m = index_meta(ix, ix->move_next);
        if (index_state(m) != INDEX_LINKED || atomic_load(&m->dead))
            continue;
        if (!index_take_below(ix, limit, &to)) {
            *end = true;
            break;
        }
        copy_row(ix, ix->move_next, to);
        ix->moves[ix->move_count++] = (struct index_move){ix->move_next, to};
    }
    *end |= ix->move_next >= top;
    pthread_rwlock_unlock(&ix->pause);
}

static void end_moves(struct index *ix)
{
    pause_others(ix);
    uint32_t count = ix->move_count;
    ix->move_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!atomic_load(&index_meta(ix, ix->moves[i].from)->dead))
            index_dead_now(ix, ix->moves[i].from);
    atomic_fetch_add(&ix->moved, count);
    pthread_rwlock_unlock(&ix->pause);
}

static bool compact(struct index *ix, uint32_t rows)
{
    uint32_t limit = chunks_needed(ix) * INDEX_CHUNK;
    bool end = false, did = false;
    if (ix->move_next < limit)
        ix->move_next = limit;
    for (uint32_t count = 0; count < rows && !end;) {
        begin_moves(ix, limit, &end);
        if (!ix->move_count)
            continue;
        count += ix->move_count;
        did = true;
        index_quiet(ix);
        end_moves(ix);
    }
    if (end) {
        ix->move_next = 0;
        atomic_store(&ix->compacted, atomic_load(&ix->repairs) + 1);
    }
    return did;
}

bool index_compact_some(struct index *ix, uint32_t rows, bool wait)
{
    bool did = false;
    if (wait)
        pthread_mutex_lock(&ix->repairing);
    else if (pthread_mutex_trylock(&ix->repairing))
        return false;
    /* What was moved is to be linked first: only so many rows can wait behind the watermark. */
    if (index_compaction_due(ix) && atomic_load(&ix->waiting) < WAITING_MOST)
        did = compact(ix, rows);
    pthread_mutex_unlock(&ix->repairing);
    return did;
}
