/* Insert, replace, delete, churn and repair; and a checker that finds what is broken. */
#include "support.h"

#include "index/internal.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_THREAD__ /* fifty times slower */
#define SLOTS 2300
#define CHURN 800
#else
#define SLOTS 5000
#define CHURN 15000
#endif

static uint32_t nearest(struct world *w, struct index *ix, uint32_t slot, float *distance)
{
    float v[128];
    struct index_hit hit = {.slot = UINT32_MAX};
    uint32_t count = 0;
    kernel_get()->f16_to_f32(world_vector(w, slot), v, w->dimension);
    struct index_query q = world_ask(w, v, 1);
    assert_int_equal(index_search(ix, &q, &hit, &count, NULL, NULL), ERR_OK);
    *distance = hit.distance;
    return count ? hit.slot : UINT32_MAX;
}

static void test_found_at_once(void **state)
{
    struct world w;
    world_init(&w, 48, SLOTS / 2 + 1000);
    struct index *ix = world_index(&w, 0);
    memset(w.alive, 0, w.count);
    for (uint32_t i = 0; i < w.count; i++) {
        float d;
        world_insert(&w, ix, i);
        w.alive[i] = 1;
        /* X1, with the graph beginning on the way */
        assert_int_equal(nearest(&w, ix, i, &d), i);
        assert_true(d == 0);
        if (i % 5 == 0) {
            index_delete(ix, i);
            w.alive[i] = 0;
            assert_int_not_equal(nearest(&w, ix, i, &d), i);
        }
    }
    world_check(ix);
    index_free(ix);
    world_free(&w);
}

static void test_replace(void **state)
{
    struct world w;
    world_init(&w, 48, SLOTS / 2 + 200);
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    uint64_t stamp;
    int64_t item;
    for (uint32_t i = 0; i < w.count; i += 7) {
        float d;
        world_renew(&w, i);
        w.items[i] = -(int64_t)i;
        world_insert(&w, ix, i);
        assert_int_equal(nearest(&w, ix, i, &d), i);
        assert_true(index_find(ix, i, &stamp, &item));
        assert_true(stamp == i + 7u && item == -(int64_t)i);
    }
    index_set_item(ix, 14, 99);
    index_set_item(ix, 4000, 99);
    assert_true(index_find(ix, 14, NULL, &item));
    assert_int_equal(item, 99);
    assert_false(index_find(ix, 4000, NULL, NULL));
    assert_int_equal(index_slots(ix), w.count);
    struct index_stats st;
    index_stats(ix, &st);
    assert_int_equal(st.live, w.count);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 30) >= 0.98);
    world_check(ix);
    index_free(ix);
    world_free(&w);
}

/* One replacement, deletion or insertion, at random. */
static void churn_once(struct world *w, struct index *ix)
{
    uint32_t slot = world_random(w) % w->count;
    if (w->alive[slot] && world_random(w) % 2) {
        index_delete(ix, slot);
        w->alive[slot] = 0;
        return;
    }
    world_renew(w, slot);
    world_insert(w, ix, slot);
    w->alive[slot] = 1;
}

static void churn(uint32_t slots, uint32_t operations, unsigned threads)
{
    struct world w;
    struct index_stats st;
    world_init(&w, 48, slots);
    struct index *ix = world_index(&w, threads);
    world_insert_all(&w, ix);
    for (uint32_t i = 0; i < operations; i++)
        churn_once(&w, ix);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 60) >= 0.98);
    assert_int_equal(index_settle(ix, 2, NULL), ERR_OK);
    world_check(ix);
    index_stats(ix, &st);
    uint64_t live = 0;
    for (uint32_t i = 0; i < slots; i++)
        live += w.alive[i];
    assert_int_equal(st.live, live);
    assert_int_equal(st.dead, 0); /* settled: cut out */
    assert_int_equal(st.waiting, st.graph ? 0 : live);
    assert_true(st.repairs > 0);
    /* A node is used again: there are never many more than `slots` have needed at once, plus the dead not yet
       cut, for which writers wait when they are a fifth. */
    assert_true(st.bytes_links / sizeof(struct index_links) <= slots + slots / 4 + 600);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 60) >= 0.98);
    index_free(ix);
    world_free(&w);
}

static void test_churn(void **state)
{
    churn(SLOTS, CHURN, 0);
}

static void test_churn_small(void **state)
{
    churn(300, 5000, 0); /* never a graph */
}

static void test_churn_with_threads(void **state)
{
    churn(SLOTS, CHURN, 2);
}

/* Does a link lead out of the cluster? What is outside is three times as far. */
static bool leads_out(const struct index *ix, uint32_t node)
{
    const struct index_links *l = index_links(ix, node);
    float nearest = INFINITY, farthest = 0;
    for (uint32_t i = 0, n = index_link_count(l); i < n; i++) {
        float d = index_between(ix, node, index_link(l, i));
        nearest = fminf(nearest, d);
        farthest = fmaxf(farthest, d);
    }
    return farthest > 2 * nearest;
}

/* Rows of a cluster are as far from each other as from any of it: the links that lead out of it must not go with time. */
static void test_churn_of_tight_clusters(void **state)
{
    struct world w;
    uint32_t nodes = 0, without = 0;
    world_init(&w, 256, SLOTS + 1000);
    struct index *ix = world_index(&w, 2);
    world_insert_all(&w, ix);
    for (uint32_t i = 0; i < CHURN; i++)
        churn_once(&w, ix);
    assert_int_equal(index_settle(ix, 2, NULL), ERR_OK);
    for (uint32_t node = 0; node < atomic_load(&ix->used); node++) {
        if (index_state(index_meta(ix, node)) != INDEX_LINKED)
            continue;
        nodes++;
        without += !leads_out(ix, node);
    }
    assert_true(nodes > SLOTS / 3);
    assert_in_range(without, 0, nodes / 50);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 60) >= 0.98);
    index_free(ix);
    world_free(&w);
}

static void cut_links_to(struct index *ix, uint32_t to)
{
    for (uint32_t node = 0; node < atomic_load(&ix->used); node++) {
        const struct index_links *l = index_links(ix, node);
        struct index_near kept[INDEX_LINKS];
        uint32_t count = 0, n = index_link_count(l);
        for (uint32_t i = 0; i < n; i++)
            if (index_link(l, i) != to)
                kept[count++].node = index_link(l, i);
        if (count < n)
            index_set_links(ix, node, kept, count);
    }
    assert_int_equal(atomic_load(&index_meta(ix, to)->indegree), 0);
}

/* Nobody links to a row: it is lost, until it is rescued; or it is one of those that have no place anywhere. */
static void test_lonely(void **state)
{
    struct world w;
    float d;
    world_init(&w, 48, SLOTS / 2 + 1000);
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    assert_int_equal(index_settle(ix, 1, NULL), ERR_OK);
    uint32_t slot = w.count - 1, node = index_node_of(ix, slot); /* too late for the sample where walks start */
    cut_links_to(ix, node);
    assert_int_not_equal(nearest(&w, ix, slot, &d), slot);
    atomic_store(&ix->lonely[0], node);
    atomic_store(&ix->lonely_count, 1);
    assert_int_equal(nearest(&w, ix, slot, &d), slot);
    world_check(ix);
    atomic_store(&ix->lonely_count, 0);
    assert_int_not_equal(nearest(&w, ix, slot, &d), slot);
    assert_int_equal(index_repair(ix, true, NULL), ERR_OK);
    assert_int_equal(nearest(&w, ix, slot, &d), slot);
    assert_int_equal(atomic_load(&ix->lonely_count), 0); /* there was room */

    atomic_store(&ix->lonely[0], node);
    atomic_store(&ix->lonely_count, 1);
    index_delete(ix, slot);
    assert_int_equal(index_repair(ix, true, NULL), ERR_OK);
    assert_int_equal(atomic_load(&ix->lonely_count), 0);
    world_check(ix);
    index_free(ix);
    world_free(&w);
}

static void test_all_deleted(void **state)
{
    struct world w;
    struct index_stats st;
    world_init(&w, 32, 3000);
    struct index *ix = world_index(&w, 0);
    for (int round = 0; round < 2; round++) {
        memset(w.alive, 1, w.count);
        world_insert_all(&w, ix);
        for (uint32_t i = 0; i < w.count; i++)
            index_delete(ix, i);
        memset(w.alive, 0, w.count);
        assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 2) == 1);
    }
    assert_int_equal(index_settle(ix, 1, NULL), ERR_OK);
    index_stats(ix, &st);
    assert_int_equal(st.live + st.dead + st.waiting, 0);
    world_check(ix);
    memset(w.alive, 1, w.count);
    world_insert_all(&w, ix);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 30) >= 0.98);
    world_check(ix);
    index_free(ix);
    world_free(&w);
}

/* Inserts that do not wait are found, too, and settle() links them. */
static void test_deferred(void **state)
{
    struct world w;
    struct index_stats st;
    world_init(&w, 32, SLOTS);
    struct index *ix = world_index(&w, 0);
    for (uint32_t i = 0; i < w.count; i++) {
        struct index_row row = {
            .slot = i, .item = w.items[i], .stamp = 1, .vector = world_vector(&w, i), .defer = true};
        assert_int_equal(index_insert(ix, &row, NULL), ERR_OK);
    }
    index_stats(ix, &st);
    assert_int_equal(st.waiting, w.count);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 20) >= 0.98);
    assert_int_equal(index_settle(ix, 3, NULL), ERR_OK);
    index_stats(ix, &st);
    assert_int_equal(st.waiting, 0);
    assert_true(st.graph);
    world_check(ix);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 40) >= 0.98);
    index_free(ix);
    world_free(&w);
}

/* --- the checker
 * ---------------------------------------------------------------------------------------------- */

static char heard[256];

static void listen(void *user, const char *sentence)
{
    if (!heard[0])
        snprintf(heard, sizeof heard, "%s", sentence);
}

static void must_find(struct index *ix, const char *words)
{
    struct err err = {0};
    heard[0] = 0;
    assert_int_equal(index_check(ix, listen, NULL, &err), ERR_CORRUPT);
    if (!strstr(heard, words))
        fail_msg("heard \"%s\" instead of \"%s\"", heard, words);
}

static void test_checker(void **state)
{
    struct world w;
    world_init(&w, 32, 2500);
    struct index *ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    world_check(ix);
    struct index_links *l = index_links(ix, 100);
    uint32_t old = atomic_load(&l->to[0]), count = atomic_load(&l->count);
    atomic_store(&l->to[0], 100);
    must_find(ix, "link to 100, which cannot be");
    atomic_store(&l->to[0], 2500);
    must_find(ix, "link to 2500, which cannot be");
    atomic_store(&l->to[0], atomic_load(&l->to[1]));
    must_find(ix, "two links");
    atomic_store(&l->to[0], old);
    atomic_store(&l->count, INDEX_LINKS + 1);
    must_find(ix, "is the most");
    atomic_store(&l->count, count);
    struct index_meta *m = index_meta(ix, 100);
    atomic_fetch_add(&m->indegree, 1);
    must_find(ix, "links lead to node 100");
    atomic_fetch_sub(&m->indegree, 1);
    atomic_store(&m->state, INDEX_DOOMED);
    must_find(ix, "not part of the graph");
    atomic_store(&m->state, INDEX_LINKING);
    must_find(ix, "link to 100"); /* by the first node that leads there */
    atomic_store(&m->state, INDEX_LINKED);
    atomic_store(&m->sketched, 0);
    must_find(ix, "no sketch");
    atomic_store(&m->sketched, 1);
    atomic_store(&m->dead, 1);
    must_find(ix, "which is dead");
    atomic_store(&m->dead, 0);
    index_code(ix, 100)[5] ^= 1;
    must_find(ix, "The code of node 100");
    index_code(ix, 100)[5] ^= 1;
    m->slot = 101;
    must_find(ix, "mapped");
    m->slot = 100;
    atomic_fetch_add(&ix->live, 1);
    must_find(ix, "counts say");
    atomic_fetch_sub(&ix->live, 1);
    uint32_t entries = atomic_load(&ix->entry_count);
    atomic_store(&ix->entry_count, 0);
    must_find(ix, "cannot be reached");
    atomic_store(&ix->entry_count, entries);
    world_check(ix);
    index_free(ix);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_at_once),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_churn_small),
        cmocka_unit_test(test_churn_with_threads),
        cmocka_unit_test(test_churn_of_tight_clusters),
        cmocka_unit_test(test_lonely),
        cmocka_unit_test(test_all_deleted),
        cmocka_unit_test(test_deferred),
        cmocka_unit_test(test_checker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
