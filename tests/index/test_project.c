/* The projection: what it finds where a walk finds nothing, and that it stays right whatever is written. */
#include "support.h"

#include "index/project.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIMENSION 128
#ifdef __SANITIZE_THREAD__ /* fifty times slower: only what threads have a part in */
#define ROWS 4500
#else
#define ROWS 9000
#endif
#define ALLOWED (ROWS / 3) /* few enough to be elsewhere, too many to be scanned at once */
#define WORDS ((ROWS + 63) / 64)

static void build(const struct world *w, struct index **ix, unsigned threads)
{
    struct index_settings settings = {.dimension = DIMENSION, .threads = threads, .ef_build = 32};
    assert_int_equal(index_new(&settings, ix, NULL), ERR_OK);
    world_insert_all(w, *ix);
    assert_int_equal(index_settle(*ix, 1, NULL), ERR_OK);
}

static struct index_query ask_under(struct world *w, const float *v, const uint64_t *words)
{
    struct index_query q = world_ask(w, v, 5);
    q.allowed = words;
    q.allowed_words = WORDS;
    return q;
}

static void set_up(struct world *w, struct index **ix, unsigned threads)
{
    world_init(w, DIMENSION, ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        w->items[i] = (int64_t)(i / 3);
    build(w, ix, threads);
}

#ifndef __SANITIZE_THREAD__

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* A third of the rows: those that are nearest by `sign` times their distance to v. */
static void allow_third(struct world *w, const float *v, float sign, uint64_t *words)
{
    float *d = malloc(ROWS * sizeof *d), *sorted = malloc(ROWS * sizeof *sorted);
    assert_true(d && sorted);
    for (uint32_t i = 0; i < ROWS; i++)
        d[i] = sorted[i] = sign * world_distance(w, v, i);
    qsort(sorted, ROWS, sizeof *sorted, compare);
    memset(words, 0, WORDS * sizeof *words);
    for (uint32_t i = 0; i < ROWS; i++)
        if (d[i] < sorted[ALLOWED])
            words[i / 64] |= 1ull << (i % 64);
    free(d);
    free(sorted);
}

/* Those around a row that is far from what will be asked: other clusters than that of the query. */
static void allow_elsewhere(struct world *w, const float *query, uint64_t *words)
{
    float v[DIMENSION];
    uint32_t pivot = 0;
    for (int i = 0; i < 50; i++) {
        uint32_t slot = world_random(w) % ROWS;
        if (world_distance(w, query, slot) > world_distance(w, query, pivot))
            pivot = slot;
    }
    kernel_get()->f16_to_f32(world_vector(w, pivot), v, DIMENSION);
    allow_third(w, v, 1, words);
}

/* Of those searches whose walk was in vain. */
struct tally {
    unsigned glanced;
    double recall;
};

static struct tally ask(struct world *w, struct index *ix, struct index_query q, unsigned n)
{
    struct tally t = {0};
    uint64_t words[WORDS], codes = 0;
    float v[DIMENSION];
    for (unsigned i = 0; i < n; i++) {
        struct index_trace trace;
        world_query(w, v);
        allow_elsewhere(w, v, words);
        q.vector = v;
        q.allowed = words;
        q.allowed_words = WORDS;
        double recall = world_recall(w, ix, &q, &trace);
        if (!trace.glances)
            continue;
        t.glanced++;
        t.recall += recall;
        codes += trace.codes;
        assert_true(trace.walked && trace.scanned);
    }
    if (!t.glanced)
        return t;
    t.recall /= t.glanced;
    assert_true(codes / t.glanced < ALLOWED / 3); /* what a scan would read more than once */
    print_message("# recall %.4f of %u of %u searches, %llu codes each\n", t.recall, t.glanced, n, (unsigned long long)(codes / t.glanced));
    return t;
}

static void test_elsewhere(void **state)
{
    struct world w;
    struct index *ix;
    set_up(&w, &ix, 0);
    world_check(ix);
    struct index_query q = world_ask(&w, NULL, 5);
    struct tally t = ask(&w, ix, q, 40);
    assert_true(t.glanced >= 20 && t.recall >= 0.97);
    q.group = true;
    t = ask(&w, ix, q, 40);
    assert_true(t.glanced >= 20 && t.recall >= 0.97);
    q.ef = index_ef(5, 0.999f); /* as for a page that is to be complete */
    t = ask(&w, ix, q, 40);
    assert_true(t.glanced >= 10 && t.recall >= 0.99);
    q.group = false;
    t = ask(&w, ix, q, 40);
    assert_true(t.glanced >= 10 && t.recall >= 0.99);
    index_free(ix);
    world_free(&w);
}

/* Of what is near only a copy of what is asked, which no projection can tell from others of its kind. */
static void test_near_copy(void **state)
{
    struct world w;
    struct index *ix;
    uint64_t words[WORDS];
    float v[DIMENSION], copy[DIMENSION];
    unsigned glanced = 0;
    set_up(&w, &ix, 0);
    for (uint32_t i = 0; i < 40; i++) {
        struct index_hit hits[5];
        struct index_trace trace;
        uint32_t count, slot = world_random(&w) % ROWS;
        kernel_get()->f16_to_f32(world_vector(&w, slot), copy, DIMENSION);
        for (int j = 0; j < DIMENSION; j++)
            v[j] = copy[j] + 0.01f * world_gauss(&w);
        allow_elsewhere(&w, v, words);
        words[slot / 64] |= 1ull << (slot % 64);
        struct index_query q = ask_under(&w, v, words);
        q.ef = i % 2 ? index_ef(5, 0.999f) : 0;
        assert_int_equal(index_search(ix, &q, hits, &count, &trace, NULL), ERR_OK);
        assert_int_equal(count, 5);
        assert_int_equal(hits[0].slot, slot);
        glanced += trace.glances > 0;
    }
    assert_true(glanced >= 20);
    index_free(ix);
    world_free(&w);
}

/* Nothing near is allowed, which the sample tells before any walk. A near-copy that is allowed all the same is found. */
static void test_farthest(void **state)
{
    struct world w;
    struct index *ix;
    uint64_t words[WORDS];
    float v[DIMENSION];
    unsigned glanced = 0;
    double recall = 0;
    set_up(&w, &ix, 0);
    assert_true(atomic_load(&ix->projection)->telling);
    assert_true(world_recalls(&w, ix, world_ask(&w, NULL, 10), 60) >= 0.98); /* starts by the sample, too */
    for (uint32_t i = 0; i < 40; i++) {
        struct index_trace trace;
        struct index_hit hits[5];
        uint32_t count, slot = world_random(&w) % ROWS;
        kernel_get()->f16_to_f32(world_vector(&w, slot), v, DIMENSION);
        for (int j = 0; j < DIMENSION; j++)
            v[j] += 0.01f * world_gauss(&w);
        allow_third(&w, v, -1, words);
        struct index_query q = ask_under(&w, v, words);
        recall += world_recall(&w, ix, &q, &trace) / 40;
        assert_true(trace.scanned);
        glanced += trace.glances && !trace.walked;
        words[slot / 64] |= 1ull << (slot % 64);
        assert_int_equal(index_search(ix, &q, hits, &count, &trace, NULL), ERR_OK);
        assert_int_equal(count, 5);
        assert_int_equal(hits[0].slot, slot);
    }
    assert_true(glanced >= 30);
    assert_true(recall >= 0.95);
    index_free(ix);
    world_free(&w);
}

/* Rows that the bytes of components cannot say: of the directions there are, one has very few rows, and they are far out. */
static void test_outliers(void **state)
{
    struct world w;
    struct index *ix;
    world_init(&w, DIMENSION, ROWS);
    float v[DIMENSION];
    for (uint32_t i = 0; i < ROWS; i += 200) {
        for (int j = 0; j < DIMENSION; j++)
            v[j] = 0.02f * world_gauss(&w);
        v[7] = 1;
        kernel_get()->f32_to_f16(v, world_vector(&w, i), DIMENSION);
    }
    build(&w, &ix, 0);
    world_check(ix);
    uint64_t words[WORDS];
    double recall = 0;
    for (int i = 0; i < 20; i++) {
        /* From the other side of what is allowed, so that those far out are the nearest. */
        world_query(&w, v);
        allow_elsewhere(&w, v, words);
        for (uint32_t slot = 0; slot < ROWS; slot += 200)
            words[slot / 64] |= 1ull << (slot % 64);
        for (int j = 0; j < DIMENSION; j++)
            v[j] *= 0.5f;
        v[7] += 0.8f;
        struct index_query q = ask_under(&w, v, words);
        recall += world_recall(&w, ix, &q, NULL) / 20;
    }
    assert_true(recall >= 0.97);
    index_free(ix);
    world_free(&w);
}

/* Replaced, deleted, and as other slots where others were; some of it waits. */
static void test_writes(void **state)
{
    struct world w;
    struct index *ix;
    set_up(&w, &ix, 0);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < ROWS / 2; i++) {
            uint32_t slot = world_random(&w) % ROWS;
            if (world_random(&w) % 3 == 0) {
                index_delete(ix, slot);
                w.alive[slot] = 0;
            } else {
                world_renew(&w, slot);
                world_insert(&w, ix, slot);
                w.alive[slot] = 1;
            }
        }
        struct tally t = ask(&w, ix, world_ask(&w, NULL, 5), 30);
        assert_true(t.glanced >= 10 && t.recall >= 0.97);
        world_check(ix);
    }
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t slot = world_random(&w) % ROWS;
        struct index_row row = {.slot = slot, .item = w.items[slot], .vector = world_vector(&w, slot), .defer = true};
        world_renew(&w, slot);
        assert_int_equal(index_insert(ix, &row, NULL), ERR_OK);
        w.alive[slot] = 1;
    }
    struct index_stats st;
    index_stats(ix, &st);
    assert_true(st.waiting > 0);
    struct tally t = ask(&w, ix, world_ask(&w, NULL, 5), 40);
    assert_true(t.glanced >= 10 && t.recall >= 0.97);
    index_free(ix);
    world_free(&w);
}

/* Rows that nobody can get the vectors of, and none that may be seen. */
static const uint16_t *only_thirds(void *user, uint32_t slot)
{
    return slot % 3 ? NULL : world_vector(user, slot);
}

static bool never(void *user, uint32_t slot)
{
    return false;
}

static void test_callbacks(void **state)
{
    struct world w;
    struct index *ix;
    uint64_t words[WORDS];
    float v[DIMENSION];
    set_up(&w, &ix, 0);
    for (int i = 0; i < 10; i++) {
        struct index_hit hits[5], wanted[5];
        uint32_t count, want;
        world_query(&w, v);
        allow_elsewhere(&w, v, words);
        struct index_query q = ask_under(&w, v, words);
        q.recall = 1;
        q.vector_of = only_thirds;
        assert_int_equal(index_search(ix, &q, hits, &count, NULL, NULL), ERR_OK);
        q.exact = true;
        assert_int_equal(index_search(ix, &q, wanted, &want, NULL, NULL), ERR_OK);
        assert_int_equal(count, want);
        for (uint32_t j = 0; j < count; j++)
            assert_int_equal(hits[j].slot, wanted[j].slot);
        q.exact = false;
        q.visible = never;
        assert_int_equal(index_search(ix, &q, hits, &count, NULL, NULL), ERR_OK);
        assert_int_equal(count, 0);
    }
    index_free(ix);
    world_free(&w);
}

/* It is not in the file: who loads that makes one, a little at a time, and answers meanwhile. */
static void test_after_load(void **state)
{
    struct world w;
    struct index *ix, *again = NULL;
    char path[] = "/tmp/index-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    set_up(&w, &ix, 0);
    assert_int_equal(index_save(ix, path, 1, 1, NULL), ERR_OK);
    struct index_settings settings = {.dimension = DIMENSION, .tended = true};
    uint64_t generation;
    assert_int_equal(index_load(&settings, path, 1, &again, &generation, NULL), ERR_OK);
    unlink(path);
    bool did = true;
    unsigned steps = 0;
    struct index_stats before, after;
    index_stats(again, &before);
    for (; index_wants_tending(again) && steps < 1000; steps++) {
        assert_int_equal(ask(&w, again, world_ask(&w, NULL, 5), 10).glanced, 0);
        assert_int_equal(index_tend(again, 10, &did, NULL), ERR_OK);
        assert_true(did);
        world_check(again);
    }
    assert_true(steps >= 3 && steps < 1000);
    index_stats(again, &after);
    assert_true(after.bytes_sketches > before.bytes_sketches && after.bytes_memory > before.bytes_memory);
    struct tally t = ask(&w, again, world_ask(&w, NULL, 5), 40);
    assert_true(t.recall >= 0.97 && t.glanced >= 20);
    index_free(ix);
    index_free(again);
    world_free(&w);
}

#endif

/* --- while it is used
 * ------------------------------------------------------------------------------------------ */

struct scene {
    struct world w, asked; /* the same; each has a random state of its own */
    struct index *ix;
    _Atomic bool done;
    _Atomic int failures;
};

static void *searcher(void *arg)
{
    struct scene *s = arg;
    struct world own = s->asked;
    own.random = (uint64_t)(uintptr_t)&own | 1;
    uint64_t words[WORDS];
    float v[DIMENSION];
    while (!atomic_load(&s->done)) {
        struct index_hit hits[5];
        uint32_t count;
        world_query(&own, v);
        for (uint32_t i = 0; i < WORDS; i++)
            words[i] = i < WORDS / 2 ? 0 : ~0ull; /* the half that nobody writes to */
        struct index_query q = ask_under(&own, v, words);
        if (index_search(s->ix, &q, hits, &count, NULL, NULL) != ERR_OK || count != 5)
            atomic_fetch_add(&s->failures, 1);
    }
    return NULL;
}

static void test_made_anew_meanwhile(void **state)
{
    struct scene s = {.ix = NULL};
    set_up(&s.w, &s.ix, 2);
    s.asked = s.w;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, searcher, &s), 0);
    for (int round = 0; round < 5; round++) {
        assert_non_null(atomic_load(&s.ix->projection));
        /* As if there had been few rows when it was made. */
        atomic_store(&s.ix->projection_linked, 1);
        for (uint32_t i = 0; i < 300; i++) {
            uint32_t slot = world_random(&s.w) % (ROWS / 3);
            world_renew(&s.w, slot);
            world_insert(&s.w, s.ix, slot);
        }
        assert_int_equal(index_settle(s.ix, 1, NULL), ERR_OK);
        for (int i = 0; i < 2000 && index_wants_tending(s.ix); i++)
            usleep(5000);
        assert_false(index_wants_tending(s.ix));
        assert_int_not_equal(atomic_load(&s.ix->projection_linked), 1);
        world_check(s.ix);
    }
    atomic_store(&s.done, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&s.failures), 0);
    index_free(s.ix);
    world_free(&s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_near_copy),
        cmocka_unit_test(test_farthest),
        cmocka_unit_test(test_outliers),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_after_load),
#endif
        cmocka_unit_test(test_made_anew_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
