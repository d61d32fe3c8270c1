/* Where nodes and slots live, and which nodes are free. */
#include "index/project.h"

#include <sched.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 * LIMIT_MIB)
#define AT_ONCE 512 /* nodes that become free while the mutex is held */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

void index_shape_init(struct index_shape *s, uint32_t dimension)
{
    s->dimension = dimension;
    s->padded = (uint32_t)round_up(dimension, KERNEL_CODES_STEP);
    s->head_stride = (uint32_t)round_up(sizeof(struct index_head) + s->padded / 8, 64);
    s->codes_at = 0;
    s->heads_at = round_up((size_t)s->padded * INDEX_CHUNK, 4096);
    s->links_at = s->heads_at + round_up((size_t)s->head_stride * INDEX_CHUNK, 4096);
    s->meta_at = s->links_at + round_up(sizeof(struct index_links) * INDEX_CHUNK, 4096);
    s->chunk_bytes = s->meta_at + round_up(sizeof(struct index_meta) * INDEX_CHUNK, 4096);
}

/*
 * Zeroed pages, in huge ones where the system offers them: a walk touches a page a step, and there are only
 * so many entries in a TLB. The first chunk is left out, so that a small collection does not take 2 MiB for
 * each of its parts.
 */
static uint8_t *new_chunk(const struct index_shape *s, bool huge)
{
    size_t slack = huge ? HUGE_PAGE : 0;
    uint8_t *p = mmap(NULL, s->chunk_bytes + slack, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (!huge)
        return p;
    size_t before = round_up((size_t)(uintptr_t)p, HUGE_PAGE) - (size_t)(uintptr_t)p;
    if (before)
        munmap(p, before);
    if (before < slack)
        munmap(p + before + s->chunk_bytes, slack - before);
    (void)madvise(p + before, s->chunk_bytes, MADV_HUGEPAGE);
    return p + before;
}

/* Under the mutex, or before any other thread knows of the index. */
enum result index_nodes_room(struct index *ix, uint32_t node, struct err *err)
{
    uint32_t c = node >> INDEX_CHUNK_SHIFT;
    if (c >= INDEX_CHUNKS)
        return err_set(err, ERR_TOO_LARGE, "The index is full: it holds %u rows, dead ones with them.", node);
    if (atomic_load(&ix->chunks[c]))
        return ERR_OK;
    uint8_t *chunk = new_chunk(&ix->shape, c > 0);
    if (!chunk)
        return err_no_memory(err);
    atomic_store(&ix->chunks[c], chunk);
    return ERR_OK;
}

enum result index_slots_room(struct index *ix, uint32_t slot, struct err *err)
{
    if (slot >= LIMIT_RECORDS)
        return err_set(
            err, ERR_TOO_LARGE, "Slot %u is beyond the %d rows an index may have.", slot, LIMIT_RECORDS);
    _Atomic(_Atomic(uint32_t) *) *place = &ix->slots[slot >> INDEX_SLOT_SHIFT];
    if (atomic_load(place))
        return ERR_OK;
    enum result r = ERR_OK;
    pthread_mutex_lock(&ix->mutex);
    if (!atomic_load(place)) {
        _Atomic(uint32_t) *segment = calloc((size_t)1 << INDEX_SLOT_SHIFT, sizeof *segment);
        if (segment)
            atomic_store(place, segment);
        else
            r = err_no_memory(err);
    }
    pthread_mutex_unlock(&ix->mutex);
    return r;
}

uint32_t index_node_of(const struct index *ix, uint32_t slot)
{
    if (slot >= atomic_load_explicit(&ix->slots_end, memory_order_acquire))
        return INDEX_NONE;
    _Atomic(uint32_t) *segment =
        atomic_load_explicit(&ix->slots[slot >> INDEX_SLOT_SHIFT], memory_order_acquire);
    if (!segment)
        return INDEX_NONE;
    /* 0, nothing, becomes INDEX_NONE by itself. */
    return atomic_load_explicit(&segment[slot & ((1u << INDEX_SLOT_SHIFT) - 1)], memory_order_acquire) - 1;
}

void index_map(struct index *ix, uint32_t slot, uint32_t node)
{
    _Atomic(uint32_t) *segment = atomic_load(&ix->slots[slot >> INDEX_SLOT_SHIFT]);
    atomic_store_explicit(&segment[slot & ((1u << INDEX_SLOT_SHIFT) - 1)], node + 1, memory_order_release);
    uint32_t end = atomic_load(&ix->slots_end);
    while (end <= slot && !atomic_compare_exchange_weak(&ix->slots_end, &end, slot + 1))
        ;
}

/* A place among the stragglers; under the mutex. */
static bool straggle(struct index *ix, uint32_t node)
{
    uint32_t count = atomic_load(&ix->straggler_count);
    for (uint32_t i = 0; i < INDEX_STRAGGLERS; i++)
        if (atomic_load(&ix->stragglers[i]) == 0) {
            atomic_store(&ix->stragglers[i], node + 1);
            if (i >= count)
                atomic_store(&ix->straggler_count, i + 1);
            return true;
        }
    return false;
}

uint32_t index_nodes_in(uint32_t used, uint32_t chunk)
{
    uint32_t first = chunk * INDEX_CHUNK;
    return used <= first ? 0 : used - first < INDEX_CHUNK ? used - first : INDEX_CHUNK;
}

/* The lowest free node; there is one. Under the mutex. */
static uint32_t lowest_free(struct index *ix)
{
    uint32_t used = atomic_load(&ix->used), c = ix->free_from;
    while (ix->stocks[c].taken == index_nodes_in(used, c))
        c++;
    ix->free_from = c;
    uint32_t i = ix->stocks[c].free_from;
    while (index_state(index_meta(ix, c * INDEX_CHUNK + i)) != INDEX_FREE)
        i++;
    ix->stocks[c].free_from = i;
    return c * INDEX_CHUNK + i;
}

/* Under the mutex. */
static void count_taken(struct index *ix, uint32_t node)
{
    uint32_t c = node >> INDEX_CHUNK_SHIFT;
    if (ix->stocks[c].taken++ == 0)
        atomic_fetch_add(&ix->standing, 1);
    if (c >= atomic_load(&ix->chunks_end))
        atomic_store(&ix->chunks_end, c + 1);
    atomic_store(&index_meta(ix, node)->state, INDEX_FILLING);
}

/* A free node behind the watermark needs a place among the stragglers. Under the mutex. */
static bool take_free(struct index *ix, uint32_t limit, uint32_t *node)
{
    uint32_t n = ix->free_count ? lowest_free(ix) : limit;
    if (n >= limit || !straggle(ix, n))
        return false;
    ix->free_count--;
    count_taken(ix, n);
    *node = n;
    return true;
}

bool index_take_below(struct index *ix, uint32_t limit, uint32_t *node)
{
    pthread_mutex_lock(&ix->mutex);
    bool took = take_free(ix, limit, node);
    pthread_mutex_unlock(&ix->mutex);
    return took;
}

enum result index_take(struct index *ix, uint32_t *node, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&ix->mutex);
    uint32_t n = atomic_load(&ix->used);
    if (!take_free(ix, n, node) && (r = index_nodes_room(ix, n, err)) == ERR_OK) {
        count_taken(ix, n);
        atomic_store(&ix->used, n + 1);
        *node = n;
    }
    pthread_mutex_unlock(&ix->mutex);
    return r;
}

void index_all_taken(struct index *ix)
{
    uint32_t used = atomic_load(&ix->used), n;
    for (uint32_t c = 0; (n = index_nodes_in(used, c)) != 0; c++) {
        ix->stocks[c].taken = n;
        atomic_fetch_add(&ix->standing, 1);
        atomic_store(&ix->chunks_end, c + 1);
    }
}

static void free_now(struct index *ix, uint32_t node)
{
    uint32_t c = node >> INDEX_CHUNK_SHIFT, i = node & (INDEX_CHUNK - 1);
    struct index_stock *stock = &ix->stocks[c];
    atomic_store(&index_meta(ix, node)->state, INDEX_FREE);
    ix->free_count++;
    ix->free_from = c < ix->free_from ? c : ix->free_from;
    stock->free_from = i < stock->free_from ? i : stock->free_from;
    if (--stock->taken)
        return;
    (void)madvise(index_chunk(ix, node), ix->shape.chunk_bytes, MADV_DONTNEED);
    atomic_fetch_sub(&ix->standing, 1);
    uint32_t end = atomic_load(&ix->chunks_end);
    while (end && ix->stocks[end - 1].taken == 0)
        end--;
    atomic_store(&ix->chunks_end, end);
}

void index_give(struct index *ix, const uint32_t *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) { /* nobody else knows of them; writers need not wait for this */
        struct index_meta *m = index_meta(ix, nodes[i]);
        atomic_store(&m->indegree, 0);
        atomic_store(&m->dead, 0);
        atomic_store(&m->sketched, 0);
        atomic_store(&index_links(ix, nodes[i])->count, 0);
    }
    for (size_t i = 0; i < count;) {
        pthread_mutex_lock(&ix->mutex); /* writers need it for each row */
        for (size_t end = i + AT_ONCE; i < count && i < end; i++)
            free_now(ix, nodes[i]);
        pthread_mutex_unlock(&ix->mutex);
    }
}

void index_lock_node(struct index_meta *m)
{
    for (unsigned tries = 1; atomic_exchange_explicit(&m->lock, 1, memory_order_acquire); tries++)
        if (tries % 64 == 0)
            sched_yield();
}

void index_unlock_node(struct index_meta *m)
{
    atomic_store_explicit(&m->lock, 0, memory_order_release);
}

enum result index_make(const struct index_settings *settings, struct index **out, struct err *err)
{
    if (settings->dimension < 1 || settings->dimension > LIMIT_DIMENSION)
        return err_set(err, ERR_INVALID, "An index of dimension %u cannot be: it must be from 1 to %d.",
            settings->dimension, LIMIT_DIMENSION);
    struct index *ix = aligned_alloc(64, round_up(sizeof *ix, 64));
    if (!ix)
        return err_no_memory(err);
    memset(ix, 0, sizeof *ix);
    ix->settings = *settings;
    if (!ix->settings.ef_build)
        ix->settings.ef_build = INDEX_EF_BUILD;
    if (ix->settings.ef_build > LIMIT_INDEX_EF_BUILD)
        ix->settings.ef_build = LIMIT_INDEX_EF_BUILD;
    index_shape_init(&ix->shape, settings->dimension);
    ix->kernel = kernel_get();
    ix->codes = kernel_codes_get();
    atomic_store(&ix->epoch, 1);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
    /* Otherwise a steady stream of writers would keep a check out for ever. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    pthread_rwlock_init(&ix->pause, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&ix->repairing, NULL);
    pthread_mutex_init(&ix->mutex, NULL);
    pthread_cond_init(&ix->arrival, NULL);
    size_t floats = round_up(2 * (size_t)ix->shape.padded * sizeof(float), 64);
    ix->chunks = calloc(INDEX_CHUNKS, sizeof *ix->chunks);
    ix->slots = calloc(INDEX_SLOT_SEGMENTS, sizeof *ix->slots);
    ix->stocks = calloc(INDEX_CHUNKS, sizeof *ix->stocks);
    ix->flips = aligned_alloc(64, floats);
    ix->centre = aligned_alloc(64, floats / 2);
    if (!ix->chunks || !ix->slots || !ix->stocks || !ix->flips || !ix->centre) {
        index_free(ix);
        return err_no_memory(err);
    }
    memset(ix->centre, 0, floats / 2);
    index_rotation_init(ix);
    *out = ix;
    return ERR_OK;
}

void index_free(struct index *ix)
{
    if (!ix)
        return;
    pthread_mutex_lock(&ix->mutex);
    ix->stopping = true;
    pthread_cond_broadcast(&ix->arrival);
    pthread_mutex_unlock(&ix->mutex);
    for (unsigned i = 0; i < ix->thread_count; i++)
        pthread_join(ix->threads[i], NULL);
    for (unsigned i = 0; i < INDEX_IDLE; i++)
        index_work_free(atomic_load(&ix->idle[i]));
    for (uint32_t i = 0; ix->chunks && i < INDEX_CHUNKS; i++)
        if (atomic_load(&ix->chunks[i]))
            munmap(atomic_load(&ix->chunks[i]), ix->shape.chunk_bytes);
    for (uint32_t i = 0; ix->slots && i < INDEX_SLOT_SEGMENTS; i++)
        free(atomic_load(&ix->slots[i]));
    index_projection_free(ix, atomic_load(&ix->projection));
    index_projection_free(ix, atomic_load(&ix->next_projection));
    pthread_rwlock_destroy(&ix->pause);
    pthread_mutex_destroy(&ix->repairing);
    pthread_mutex_destroy(&ix->mutex);
    pthread_cond_destroy(&ix->arrival);
    free(ix->chunks);
    free(ix->slots);
    free(ix->flips);
    free(ix->centre);
    free(ix->stocks);
    free(ix->threads);
    free(ix);
}
