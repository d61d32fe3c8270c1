/* Memory goes back when rows become fewer, and nobody misses a row that is moved for it. ThreadSanitizer runs this test. */
#include "support.h"

#include "index/internal.h"
#include "kernel/kernel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIMENSION 16
#define PROJECTED 128 /* as many as it takes for a projection */
#define ROWS (2 * INDEX_CHUNK + 500) /* as few as there is something to be given back of */
#define EF_BUILD 16 /* what is found by a walk is not what this is about */
#define STAYS(slot) ((slot) % 5 == 0)

static void fill(struct world *w, uint32_t rows, uint32_t dimension, unsigned threads, bool tended, struct index **out)
{
    struct index_settings settings = {
        .dimension = dimension, .metric = INDEX_L2, .threads = threads, .tended = tended, .ef_build = EF_BUILD};
    world_init(w, dimension, rows);
    assert_int_equal(index_new(&settings, out, NULL), ERR_OK);
    for (uint32_t slot = 0; slot < rows; slot++) {
        struct index_row row = {.slot = slot, .item = w->items[slot], .stamp = slot + 7u, .vector = world_vector(w, slot), .defer = true};
        assert_int_equal(index_insert(*out, &row, NULL), ERR_OK);
    }
}

static void make(struct world *w, uint32_t dimension, unsigned threads, bool tended, struct index **out)
{
    fill(w, ROWS, dimension, threads, tended, out);
    assert_int_equal(index_settle(*out, 2, NULL), ERR_OK);
}

/* Is the row of the slot found, by a search that cannot miss it? */
static bool exactly_found(struct world *w, struct index *ix, uint32_t slot)
{
    float v[DIMENSION];
    struct index_hit hit[2];
    uint32_t count = 0;
    kernel_get()->f16_to_f32(world_vector(w, slot), v, DIMENSION);
    struct index_query q = world_ask(w, v, 2);
    q.exact = true;
    if (index_search(ix, &q, hit, &count, NULL, NULL) != ERR_OK || count != 2)
        return false;
    return (hit[0].slot == slot && hit[0].distance == 0) || (hit[1].slot == slot && hit[1].distance == 0);
}

#ifndef __SANITIZE_THREAD__ /* one thread at a time: nothing for it to see */
/* The share of a chunk's pages that are in memory. */
static double pages_of(const struct index *ix, uint32_t chunk)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = ix->shape.chunk_bytes / page, in = 0;
    unsigned char *there = malloc(n);
    assert_non_null(there);
    assert_int_equal(mincore(atomic_load(&ix->chunks[chunk]), n * page, there), 0);
    for (size_t i = 0; i < n; i++)
        in += there[i] & 1;
    free(there);
    return (double)in / (double)n;
}

static void test_memory_goes_back(void **state)
{
    struct world w;
    struct index *ix = NULL, *fresh = NULL;
    struct index_stats before, after, compared;
    uint64_t stamp;
    int64_t item;
    make(&w, PROJECTED, 0, false, &ix);
    assert_non_null(atomic_load(&ix->projection));
    index_stats(ix, &before);
    for (uint32_t slot = 0; slot < ROWS; slot++)
        if (!STAYS(slot)) {
            index_delete(ix, slot);
            w.alive[slot] = 0;
        }
    assert_int_equal(index_settle(ix, 2, NULL), ERR_OK);
    assert_true(pages_of(ix, 2) < 0.25); /* but for those that were read since */
    assert_true(pages_of(ix, 0) > 0.9);
    world_check(ix);
    index_stats(ix, &after);
    assert_int_equal(after.live, (ROWS + 4) / 5);
    assert_int_equal(after.dead, 0);
    assert_int_equal(atomic_load(&ix->standing), 1);
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        assert_int_equal(index_find(ix, slot, &stamp, &item), STAYS(slot));
        if (STAYS(slot))
            assert_true(stamp == slot + 7u && item == w.items[slot]);
    }
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 30) >= 0.95);

    struct index_settings settings = {.dimension = PROJECTED, .metric = INDEX_L2, .ef_build = EF_BUILD};
    assert_int_equal(index_new(&settings, &fresh, NULL), ERR_OK);
    world_insert_all(&w, fresh);
    assert_int_equal(index_settle(fresh, 2, NULL), ERR_OK);
    index_stats(fresh, &compared);
    assert_true(after.bytes_memory - compared.bytes_memory < (before.bytes_memory - compared.bytes_memory) / 4);
    index_free(fresh);

    /* What went back can be had again. */
    for (uint32_t slot = 0; slot < ROWS; slot++)
        if (!STAYS(slot)) {
            world_insert(&w, ix, slot);
            w.alive[slot] = 1;
        }
    assert_int_equal(index_settle(ix, 2, NULL), ERR_OK);
    world_check(ix);
    index_stats(ix, &after);
    assert_int_equal(after.live, ROWS);
    assert_true(after.bytes_memory <= before.bytes_memory);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 30) >= 0.95);
    index_free(ix);
    world_free(&w);
}

/* A stretch without rows, longer than what is looked at in one go, is no reason to stop before what is behind it. */
static void test_behind_a_gap(void **state)
{
    struct world w;
    struct index *ix = NULL;
    fill(&w, 8 * INDEX_CHUNK, DIMENSION, 0, true, &ix);
    for (uint32_t slot = 0; slot < w.count; slot++)
        if ((slot >= INDEX_CHUNK && slot < 6 * INDEX_CHUNK) || slot % 8) {
            index_delete(ix, slot);
            w.alive[slot] = 0;
        }
    assert_int_equal(index_settle(ix, 2, NULL), ERR_OK);
    assert_int_equal(atomic_load(&ix->standing), 1);
    assert_int_equal(index_top(ix), INDEX_CHUNK);
    world_check(ix);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 30) >= 0.95);
    index_free(ix);
    world_free(&w);
}

static void *move(void *arg)
{
    return index_compact_some(arg, INDEX_MOVES, true) ? arg : NULL;
}

static uint32_t moving(struct index *ix)
{
    pthread_rwlock_rdlock(&ix->pause);
    uint32_t n = ix->move_count;
    pthread_rwlock_unlock(&ix->pause);
    return n;
}

/* A search that does not end keeps rows at two nodes each. */
static void test_written_while_moved(void **state)
{
    struct world w;
    struct index *ix = NULL;
    pthread_t thread;
    void *did = NULL;
    int64_t item;
    make(&w, DIMENSION, 0, true, &ix); /* nothing is done but what is done here */
    for (uint32_t slot = 0; slot < ROWS; slot++)
        if (!STAYS(slot)) {
            index_delete(ix, slot);
            w.alive[slot] = 0;
        }
    assert_int_equal(index_repair(ix, true, NULL), ERR_OK);
    unsigned place = index_enter(ix);
    assert_int_equal(pthread_create(&thread, NULL, move, ix), 0);
    for (int i = 0; i < 10000 && moving(ix) != INDEX_MOVES; i++)
        usleep(1000);
    assert_int_equal(moving(ix), INDEX_MOVES);
    uint32_t slots[4];
    for (uint32_t i = 0; i < 4; i++) {
        slots[i] = index_meta(ix, ix->moves[i].to)->slot;
        assert_int_equal(index_node_of(ix, slots[i]), ix->moves[i].to);
        assert_true(exactly_found(&w, ix, slots[i]));
    }
    index_delete(ix, slots[0]);
    w.alive[slots[0]] = 0;
    assert_false(exactly_found(&w, ix, slots[0]));
    memcpy(world_vector(&w, slots[1]), world_vector(&w, 1), DIMENSION * sizeof(uint16_t));
    world_insert(&w, ix, slots[1]);
    assert_true(exactly_found(&w, ix, slots[1]));
    index_set_item(ix, slots[2], 77);
    w.items[slots[2]] = 77;
    assert_int_equal(atomic_load(&index_meta(ix, ix->moves[2].from)->item), 77); /* either may be met first */
    index_leave(ix, place);
    pthread_join(thread, &did);
    assert_ptr_equal(did, ix);
    assert_false(exactly_found(&w, ix, slots[0]));
    assert_true(exactly_found(&w, ix, slots[1]));
    assert_true(index_find(ix, slots[2], NULL, &item) && item == 77);
    assert_true(exactly_found(&w, ix, slots[3]));
    world_check(ix);
    assert_int_equal(index_settle(ix, 2, NULL), ERR_OK);
    world_check(ix);
    assert_false(exactly_found(&w, ix, slots[0]));
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 30) >= 0.95);
    index_free(ix);
    world_free(&w);
}
#endif

struct scene {
    struct world w;
    struct index *ix;
    _Atomic bool done;
    _Atomic uint32_t missed, asked;
};

static void *searcher(void *arg)
{
    struct scene *s = arg;
    for (uint32_t i = 0; !atomic_load(&s->done); i++) {
        atomic_fetch_add(&s->missed, !exactly_found(&s->w, s->ix, i * 7919 * 5 % ROWS / 5 * 5));
        atomic_fetch_add(&s->asked, 1);
    }
    return NULL;
}

/* X1 and X2, while rows are moved under those who search, replace and delete. */
static void test_beside_searches_and_writes(void **state)
{
    struct scene s = {0};
    pthread_t threads[2];
    uint32_t seen_again = 0, lost = 0;
    uint64_t stamp, random = 88172645463325252u;
    make(&s.w, DIMENSION, 2, false, &s.ix);
    uint64_t standing = atomic_load(&s.ix->standing);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, searcher, &s), 0);
    /* First so many that rows are moved, then of those that are moved some, too. */
    for (uint32_t slot = 0; slot < ROWS; slot++)
        if (!STAYS(slot))
            index_delete(s.ix, slot);
    for (uint32_t i = 0; i < 1000 || (atomic_load(&s.ix->standing) == standing && i < 100000); i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint32_t slot = (uint32_t)(random >> 33) % ROWS / 5 * 5 + 1; /* deleted before, or written below */
        struct index_row row = {.slot = slot, .stamp = 1000000 + i, .vector = world_vector(&s.w, slot)};
        assert_int_equal(index_insert(s.ix, &row, NULL), ERR_OK);
        lost += !exactly_found(&s.w, s.ix, slot);
        lost += !index_find(s.ix, slot, &stamp, NULL) || stamp != row.stamp;
        if (i % 2 == 0) {
            index_delete(s.ix, slot);
            seen_again += exactly_found(&s.w, s.ix, slot);
        }
    }
    atomic_store(&s.done, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(lost, 0);
    assert_int_equal(seen_again, 0);
    assert_int_equal(atomic_load(&s.missed), 0);
    assert_true(atomic_load(&s.asked) > 10);
    assert_int_equal(index_settle(s.ix, 2, NULL), ERR_OK);
    world_check(s.ix);
    assert_in_range(atomic_load(&s.ix->standing), 1, 2); /* with 2 it need not begin */
    index_free(s.ix);
    world_free(&s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(test_memory_goes_back),
        cmocka_unit_test(test_behind_a_gap),
        cmocka_unit_test(test_written_while_moved),
#endif
        cmocka_unit_test(test_beside_searches_and_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
