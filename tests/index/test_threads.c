/*
 * Everything at once: threads that insert, replace and delete, threads that search, one that saves, loads and
 * checks. Every acknowledged write is seen by what starts later. ThreadSanitizer runs this test.
 */
#include "support.h"

#include "base/clock.h"
#include "kernel/kernel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIMENSION 32
#define WRITERS 3
#define SEARCHERS 4
#define FIRST 2300         /* rows that are there before, and stay */
#define RECORDS 300        /* of each writer, at most, alive at once */
#ifdef __SANITIZE_THREAD__ /* a hundred times slower */
#define WRITES 200
#else
#define WRITES 900 /* of each writer; each insert or replacement takes a new slot, as in the store */
#endif

struct scene {
    struct world w;
    struct index *ix;
    _Atomic bool done;
    _Atomic uint32_t failures;
    _Atomic uint8_t *state; /* of each slot: 0 never, 1 acknowledged, 2 about to be deleted or gone */
    char path[64];
};

struct actor {
    struct scene *scene;
    unsigned number;
    pthread_t thread;
};

/* Assertions of cmocka are for the main thread. */
static void expect(struct scene *s, bool good, const char *what)
{
    if (!good) {
        atomic_fetch_add(&s->failures, 1);
        fprintf(stderr, "# %s\n", what);
    }
}

static bool finds(struct scene *s, uint32_t slot)
{
    float v[DIMENSION];
    struct index_hit hits[5];
    uint32_t count = 0;
    kernel_get()->f16_to_f32(world_vector(&s->w, slot), v, DIMENSION);
    struct index_query q = world_ask(&s->w, v, 5);
    expect(s, index_search(s->ix, &q, hits, &count, NULL, NULL) == ERR_OK, "a search failed");
    for (uint32_t i = 0; i < count; i++)
        if (hits[i].slot == slot)
            return hits[i].distance == 0;
    return false;
}

static void *writer(void *arg)
{
    struct actor *a = arg;
    struct scene *s = a->scene;
    uint32_t current[RECORDS];
    uint64_t random = 0x9e3779b97f4a7c15u * (a->number + 1);
    memset(current, 0xff, sizeof current);
    for (uint32_t i = 0; i < WRITES; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint32_t record = (uint32_t)(random >> 33) % RECORDS, old = current[record],
                 slot = FIRST + a->number * WRITES + i;
        if (old != UINT32_MAX && random % 4 == 0) {
            atomic_store(&s->state[old], 2);
            index_delete(s->ix, old);
            current[record] = UINT32_MAX;
            expect(s, !finds(s, old), "a row that was deleted is found");
            continue;
        }
        struct index_row row = {
            .slot = slot, .item = (int64_t)record, .stamp = i, .vector = world_vector(&s->w, slot)};
        expect(s, index_insert(s->ix, &row, NULL) == ERR_OK, "an insert failed");
        atomic_store(&s->state[slot], 1);
        current[record] = slot;
        expect(s, finds(s, slot), "a row that was inserted is not found");
        if (old != UINT32_MAX) {
            atomic_store(&s->state[old], 2);
            index_delete(s->ix, old);
        }
        index_set_item(s->ix, slot, -(int64_t)record);
    }
    return NULL;
}

static void *searcher(void *arg)
{
    struct actor *a = arg;
    struct scene *s = a->scene;
    uint64_t random = 0xd1342543de82ef95u * (a->number + 1);
    while (!atomic_load(&s->done)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t slot = (uint32_t)(random >> 33) % s->w.count;
        uint8_t before = atomic_load(&s->state[slot]);
        bool found = finds(s, slot);
        uint8_t after = atomic_load(&s->state[slot]);
        /* A walk may miss a row; it does so less than once in a hundred here, which is counted and not
         * forgiven twice. */
        if (before == 1 && after == 1 && !found) {
            float v[DIMENSION];
            struct index_hit hit = {.distance = 1};
            uint32_t count = 0;
            kernel_get()->f16_to_f32(world_vector(&s->w, slot), v, DIMENSION);
            struct index_query q = world_ask(&s->w, v, 1);
            q.exact = true;
            expect(s, index_search(s->ix, &q, &hit, &count, NULL, NULL) == ERR_OK, "a search failed");
            expect(s, atomic_load(&s->state[slot]) == 2 || (count == 1 && hit.slot == slot), "a row is lost");
        }
        struct index_hit hits[50];
        uint32_t count;
        float v[DIMENSION];
        kernel_get()->f16_to_f32(world_vector(&s->w, slot), v, DIMENSION);
        struct index_query q = world_ask(&s->w, v, 50);
        q.group = random >> 63;
        q.exact = (random >> 40) % 16 == 0;
        expect(s, index_search(s->ix, &q, hits, &count, NULL, NULL) == ERR_OK, "a search failed");
        for (uint32_t i = 1; i < count; i++)
            expect(s, hits[i - 1].distance <= hits[i].distance, "hits are not in order");
        usleep(500);
    }
    return NULL;
}

static void tell(void *user, const char *sentence)
{
    fprintf(stderr, "# %s\n", sentence);
}

static void *keeper(void *arg)
{
    struct actor *a = arg;
    struct scene *s = a->scene;
    while (!atomic_load(&s->done)) {
        struct index *copy = NULL;
        uint64_t generation;
        struct index_settings settings = {.dimension = DIMENSION};
        expect(s, index_save(s->ix, s->path, 1, 2, NULL) == ERR_OK, "a save failed");
        expect(s, index_load(&settings, s->path, 1, &copy, &generation, NULL) == ERR_OK, "a load failed");
        expect(s, index_check(copy, tell, NULL, NULL) == ERR_OK, "what was loaded contradicts itself");
        index_free(copy);
        expect(s, index_check(s->ix, tell, NULL, NULL) == ERR_OK, "the index contradicts itself");
        struct index_stats st;
        index_stats(s->ix, &st);
        usleep(100000);
    }
    return NULL;
}

static void play(unsigned threads)
{
    struct scene s = {.path = ""};
    struct actor actors[WRITERS + SEARCHERS + 1];
    char folder[] = "/tmp/index-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(s.path, sizeof s.path, "%s/graph", folder);
    world_init(&s.w, DIMENSION, FIRST + WRITERS * WRITES);
    s.state = calloc(s.w.count, sizeof *s.state);
    assert_non_null(s.state);
    struct index_settings settings = {.dimension = DIMENSION, .threads = threads, .ef_build = 24};
    assert_int_equal(index_new(&settings, &s.ix, NULL), ERR_OK);
    for (uint32_t i = 0; i < FIRST; i++) {
        world_insert(&s.w, s.ix, i);
        s.state[i] = 1;
    }
    for (unsigned i = 0; i < WRITERS + SEARCHERS + 1; i++) {
        actors[i] = (struct actor){.scene = &s, .number = i};
        void *(*role)(void *) = i < WRITERS ? writer : i < WRITERS + SEARCHERS ? searcher : keeper;
        assert_int_equal(pthread_create(&actors[i].thread, NULL, role, &actors[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(actors[i].thread, NULL);
    atomic_store(&s.done, true);
    for (unsigned i = WRITERS; i < WRITERS + SEARCHERS + 1; i++)
        pthread_join(actors[i].thread, NULL);
    assert_int_equal(atomic_load(&s.failures), 0);
    assert_int_equal(index_settle(s.ix, 2, NULL), ERR_OK);
    world_check(s.ix);
    uint32_t live = 0;
    for (uint32_t i = 0; i < s.w.count; i++) {
        s.w.alive[i] = atomic_load(&s.state[i]) == 1;
        s.w.items[i] = i;
        live += s.w.alive[i];
    }
    struct index_stats st;
    index_stats(s.ix, &st);
    assert_int_equal(st.live, live);
    assert_int_equal(st.dead, 0);
    assert_true(world_recalls(&s.w, s.ix, world_ask(&s.w, NULL, 10), 40) >= 0.97);
    index_free(s.ix);
    free(s.state);
    world_free(&s.w);
    unlink(s.path);
    rmdir(folder);
}

static void test_writers_link(void **state)
{
    play(0);
}

static void test_threads_link(void **state)
{
    play(2);
}

/* Freed in the middle of its work. */
static void test_stop(void **state)
{
    struct world w;
    world_init(&w, DIMENSION, 4000);
    for (int i = 0; i < 3; i++) {
        struct index *ix = world_index(&w, 2);
        world_insert_all(&w, ix);
        index_free(ix);
    }
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writers_link),
        cmocka_unit_test(test_threads_link),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
