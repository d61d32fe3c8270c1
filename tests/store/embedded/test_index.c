/*
 * The index beside the embedded store: right answers while it is built and after, in step with writes, saved
 * and loaded, and never trusted when its file is not what was written. `long` as an argument: more of each.
 */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "filter/filter.h"
#include "store/embedded/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 24
#define K 10
#ifdef __SANITIZE_THREAD__ /* fifty times slower */
#define ROWS 2700 /* churn leaves five of six; INDEX_GRAPH_FROM is less */
#define DAMAGES 1
#define FAILURES_STEP 11 /* every eleventh system call fails in turn */
#define ONE_THREAD(test) /* what has nothing at once to show is left out */
#pragma GCC diagnostic ignored "-Wunused-function"
#else
#define ROWS 3000
#define DAMAGES 10
#define FAILURES_STEP 1
#define ONE_THREAD(test) cmocka_unit_test(test),
#endif

static bool longer;

struct world {
    char *folder;
    struct store *store;
    struct store_sys sys;
    enum store_metric metric;
    uint64_t seed;
    struct {
        bool there;
        int64_t itemid;
        float vector[DIM];
    } rows[ROWS];
};

/* Vectors in some hundred clumps, as those of pictures are. */
static void random_vector(uint64_t *seed, float *v)
{
    uint64_t clump = test_random(seed) % 300 + 1;
    for (int i = 0; i < DIM; i++) {
        float centre = (float)(test_random(&clump) % 2001) / 1000 - 1;
        v[i] = centre + 0.3f * ((float)(test_random(seed) % 2001) / 1000 - 1);
    }
}

static void open_store(struct world *w)
{
    struct store_open_options options = {.data = w->folder};
    OK(store_embedded_open_with(&options, &w->sys, &w->store, err));
}

static void write_rows(struct world *w, const uint32_t *which, size_t count)
{
    struct store_write *writes = calloc(count, sizeof *writes);
    assert_non_null(writes);
    for (size_t i = 0; i < count; i++) {
        writes[i] = (struct store_write){.fileid = which[i], .kind = STORE_DELETE};
        if (!w->rows[which[i]].there)
            continue;
        writes[i] = (struct store_write){.kind = STORE_PUT,
            .fileid = which[i],
            .has_itemid = true,
            .itemid = w->rows[which[i]].itemid,
            .tags = which[i] % 10 ? "[]" : "[\"tenth\"]",
            .brief = "{}",
            .vector = w->rows[which[i]].vector};
    }
    OK(store_write(w->store, "c", writes, count, 0, err));
    free(writes);
}

static void renew(struct world *w, uint32_t i)
{
    w->rows[i].there = true;
    w->rows[i].itemid = test_random(&w->seed) % (ROWS / 4);
    random_vector(&w->seed, w->rows[i].vector);
}

static void fill(struct world *w)
{
    uint32_t all[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        renew(w, i);
        all[i] = i;
    }
    write_rows(w, all, ROWS);
}

static struct world *new_world(enum store_metric metric)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->folder = test_folder();
    w->sys = store_sys_real;
    w->metric = metric;
    w->seed = 4711 + (uint64_t)metric;
    open_store(w);
    test_create(w->store, "c", DIM, metric);
    return w;
}

static void free_world(struct world *w)
{
    store_close(w->store);
    test_folder_remove(w->folder);
    free(w);
}

static struct store_index_stats index_of(struct world *w)
{
    struct store_stats stats;
    OK(store_stats(w->store, "c", 0, &stats, err));
    return stats.index;
}

/* Until the index is ready, and linked if wanted. */
static struct store_index_stats wait_ready(struct world *w, bool linked)
{
    struct store_index_stats s = index_of(w);
    for (int tries = 0; s.state != STORE_INDEX_READY || (linked && s.waiting); tries++) {
        assert_true(tries < 30000);
        usleep(10000);
        s = index_of(w);
    }
    return s;
}

/* What a server's start opens is there, with what filters need, before anybody asks; and a drop does not wait for it. */
static void test_opened_behind_the_start(void **state)
{
    struct world *w = new_world(STORE_L2);
    struct store_stats stats = {0};
    fill(w);
    wait_ready(w, true);
    test_create(w->store, "d", DIM, STORE_L2);
    store_close(w->store);
    struct store_open_options options = {.data = w->folder, .warm = true};
    OK(store_embedded_open_with(&options, &w->sys, &w->store, err));
    OK(store_drop(w->store, "d", 0, err));
    for (int tries = 0; stats.bytes_columns == 0; tries++) {
        assert_true(tries < 3000);
        usleep(10000);
        OK(store_stats(w->store, "c", 0, &stats, err));
    }
    assert_int_equal(stats.records, ROWS);
    store_close(w->store); /* at once after an open, too */
    OK(store_embedded_open_with(&options, &w->sys, &w->store, err));
    free_world(w);
}

/* --- the truth, row by row ------------------------------------------------------------------------------ */

struct near {
    double key;
    int64_t fileid, itemid;
};

static int compare_near(const void *a, const void *b)
{
    const struct near *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->fileid > y->fileid) - (x->fileid < y->fileid);
}

static double key_of(const struct world *w, const float *q, const float *x)
{
    double l2 = 0, dot = 0, qq = 0, xx = 0;
    for (int i = 0; i < DIM; i++) {
        l2 += ((double)q[i] - (double)x[i]) * ((double)q[i] - (double)x[i]);
        dot += (double)q[i] * (double)x[i];
        qq += (double)q[i] * (double)q[i];
        xx += (double)x[i] * (double)x[i];
    }
    return w->metric == STORE_L2 ? l2 : w->metric == STORE_IP ? -dot : -dot / sqrt(qq * xx);
}

/* All that match, in order; the number of them. `out` has room for ROWS. */
static size_t truth(const struct world *w, const float *q, const struct store_query *query, struct near *out)
{
    size_t n = 0, kept = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        if (w->rows[i].there && (!query->filter || i % 10 == 0))
            out[n++] = (struct near){key_of(w, q, w->rows[i].vector), i, w->rows[i].itemid};
    qsort(out, n, sizeof *out, compare_near);
    if (!query->group)
        return n;
    static bool seen[ROWS];
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < n; i++) {
        if (seen[out[i].itemid])
            continue;
        seen[out[i].itemid] = true;
        out[kept++] = out[i];
    }
    return kept;
}

/*
 * How many of the hits are among the true ones, which are added to *all; there must be as many. Distances must
 * be true and rise.
 */
static size_t compare_search(struct world *w, struct store_query query, size_t *all)
{
    static struct near want[ROWS];
    struct store_records r = {0};
    float q[DIM];
    random_vector(&w->seed, q);
    query.vector = q;
    size_t n = truth(w, q, &query, want), good = 0;
    OK(store_search(w->store, "c", &query, 0, &r, err));
    size_t expected = query.offset >= n                ? 0
                      : n - query.offset < query.limit ? n - query.offset
                                                       : query.limit;
    assert_int_equal(r.count, expected);
    *all += expected;
    double last = 0;
    for (size_t i = 0; i < r.count; i++) {
        assert_true(w->rows[r.items[i].fileid].there);
        assert_int_equal(r.items[i].itemid, w->rows[r.items[i].fileid].itemid);
        double key = key_of(w, q, w->rows[r.items[i].fileid].vector);
        double got = (double)r.items[i].distance * (w->metric == STORE_L2 ? 1 : -1);
        assert_true(fabs(got - key) < 0.02); /* rows are rounded to 16 bits */
        assert_true(i == 0 || got >= last);
        last = got;
        for (size_t j = 0; j < r.count; j++)
            good += want[query.offset + j].fileid == r.items[i].fileid;
    }
    store_records_free(&r);
    return good;
}

static void check_recall(struct world *w, struct store_query query, double least)
{
    size_t good = 0, all = 0, rounds = longer ? 400 : 12;
    for (size_t i = 0; i < rounds; i++)
        good += compare_search(w, query, &all);
    double recall = (double)good / (double)all;
    if (recall < least)
        fail_msg("recall is %.4f, not %.4f", recall, least);
}

static void check_searches(struct world *w)
{
    struct filter *filter = NULL;
    OK(filter_parse("array_contains(tags, \"tenth\")", 29, &filter, err));
    /* Rounding to 16 bits changes places of near-equal ones, so that even an exact search is not at 1. */
    check_recall(w, (struct store_query){.limit = K}, 0.98);
    check_recall(w, (struct store_query){.limit = K, .exact = true}, 0.98);
    check_recall(w, (struct store_query){.limit = K, .group = true}, 0.98);
    check_recall(w, (struct store_query){.limit = K, .offset = 500, .group = true}, 0.9);
    check_recall(w, (struct store_query){.limit = K, .filter = filter}, 0.98);
    size_t all = 0;
    assert_true(compare_search(w, (struct store_query){.limit = ROWS}, &all) == all);
    filter_free(filter);
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void test_right_answers(void **state)
{
    for (int metric = STORE_L2; metric <= STORE_COSINE; metric++) {
        struct world *w = new_world((enum store_metric)metric);
        fill(w);
        check_searches(w); /* whatever state it is in */
        if (metric != STORE_IP) {
            struct store_index_stats s = wait_ready(w, true);
            assert_int_equal(s.live, ROWS);
            assert_true(s.bytes_codes > 0 && s.bytes_links > 0 && s.bytes_memory >= s.bytes_codes);
            assert_true(s.built == 1);
        } else {
            assert_int_equal(index_of(w).state, STORE_INDEX_NONE);
        }
        check_searches(w);
        free_world(w);
    }
}

/* Pages put together are one list in order, whatever their size. */
static void test_pages(void **state)
{
    struct world *w = new_world(STORE_L2);
    float q[DIM];
    fill(w);
    wait_ready(w, true);
    for (int round = 0; round < (longer ? 40 : 6); round++) {
        static int64_t seen[ROWS];
        size_t n = 0;
        random_vector(&w->seed, q);
        uint32_t limit = 7 + test_random(&w->seed) % 90;
        struct store_query query = {.vector = q, .limit = limit, .group = round % 2};
        for (bool more = true; more; query.offset += limit) {
            struct store_records r = {0};
            OK(store_search(w->store, "c", &query, 0, &r, err));
            for (size_t i = 0; i < r.count; i++)
                seen[n++] = r.items[i].fileid;
            more = r.count == limit;
            store_records_free(&r);
        }
        query.offset = 0;
        query.limit = ROWS;
        query.exact = true;
        struct store_records all = {0};
        OK(store_search(w->store, "c", &query, 0, &all, err));
        assert_int_equal(all.count, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(all.items[i].fileid, seen[i]);
        store_records_free(&all);
    }
    free_world(w);
}

static void churn(struct world *w, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        uint32_t which[50];
        uint32_t step = ROWS / 50;
        for (uint32_t i = 0; i < 50; i++) {
            which[i] = i * step + test_random(&w->seed) % step;
            w->rows[which[i]].there = false;
            if (test_random(&w->seed) % 4)
                renew(w, which[i]);
        }
        write_rows(w, which, 50);
    }
}

static void test_churn(void **state)
{
    struct world *w = new_world(STORE_L2);
    fill(w);
    wait_ready(w, false);
    for (int i = 0; i < (longer ? 20 : 4); i++) {
        churn(w, 60);
        check_searches(w);
    }
    struct store_index_stats s = wait_ready(w, true);
    assert_int_equal(s.live, test_count(w->store, "c"));
    assert_true(s.repairs > 0 && s.dead < s.live / 4); /* cut out, and so used again */
    check_searches(w);
    free_world(w);
}

/* Replaced faster than the dead are cut out: writers wait for it, and memory stays what so many rows take. */
static void test_memory_is_bounded(void **state)
{
    enum { MANY = 16384, STEP = 1024 }; /* two chunks of nodes */
    struct world *w = new_world(STORE_L2);
    struct store_write *writes = calloc(STEP, sizeof *writes);
    float(*vectors)[DIM] = calloc(STEP, sizeof *vectors);
    assert_true(writes && vectors);
    uint64_t before = 0;
    for (int round = 0; round < (longer ? 30 : 8); round++) {
        for (int first = 0; first < MANY; first += STEP) {
            for (int i = 0; i < STEP; i++) {
                random_vector(&w->seed, vectors[i]);
                writes[i] = (struct store_write){.kind = STORE_PUT, .fileid = first + i, .tags = "[]", .brief = "{}", .vector = vectors[i]};
            }
            OK(store_write(w->store, "c", writes, STEP, 0, err));
        }
        if (round == 0)
            before = wait_ready(w, true).bytes_memory;
    }
    struct store_index_stats s = index_of(w);
    print_message("# %llu bytes of memory before, %llu after; %llu dead of %llu\n", (unsigned long long)before, (unsigned long long)s.bytes_memory,
        (unsigned long long)s.dead, (unsigned long long)s.live);
    assert_int_equal(s.live, MANY);
    assert_true(s.dead <= MANY / 5 + 2 * STEP);
    assert_true(s.bytes_memory < before * 8 / 5); /* one chunk more, where each holds a half */
    struct store_records r = {0};
    struct store_query q = {.vector = vectors[STEP - 1], .limit = 1};
    OK(store_search(w->store, "c", &q, 0, &r, err));
    assert_int_equal(r.items[0].fileid, MANY - 1);
    store_records_free(&r);
    free(writes);
    free(vectors);
    free_world(w);
}

/* Items change while rows stay: each is one hit, by its new item. */
static void test_items_change(void **state)
{
    struct world *w = new_world(STORE_L2);
    fill(w);
    wait_ready(w, true);
    for (int round = 0; round < 20; round++) {
        struct store_write writes[40];
        for (uint32_t i = 0; i < 40; i++) {
            uint32_t n = i * (ROWS / 40) + test_random(&w->seed) % (ROWS / 40);
            w->rows[n].itemid = test_random(&w->seed) % (ROWS / 4);
            writes[i] = (struct store_write){
                .kind = STORE_UPDATE, .fileid = n, .has_itemid = true, .itemid = w->rows[n].itemid};
        }
        OK(store_write(w->store, "c", writes, 40, 0, err));
    }
    check_searches(w);
    free_world(w);
}

/* --- the file ------------------------------------------------------------------------------------------- */

static const char *index_file(const struct world *w)
{
    return test_path(w->folder, "collections/c/derived/index");
}

static void reopen(struct world *w)
{
    store_close(w->store);
    open_store(w);
}

static void test_saved_and_loaded(void **state)
{
    struct world *w = new_world(STORE_L2);
    struct stat st;
    fill(w);
    wait_ready(w, true);
    reopen(w);
    assert_int_equal(stat(index_file(w), &st), 0);
    assert_true(st.st_size > ROWS * DIM);
    struct store_index_stats s = wait_ready(w, false);
    assert_int_equal(s.live, ROWS);
    assert_true(s.waiting < ROWS / 10); /* it was not built anew */
    check_searches(w);
    /* A few writes later it is still used, and caught up with: a close after so few does not save. */
    churn(w, 2);
    time_t before = st.st_mtime;
    reopen(w);
    assert_int_equal(stat(index_file(w), &st), 0);
    assert_int_equal(st.st_mtime, before);
    s = wait_ready(w, false);
    assert_int_equal(s.live, test_count(w->store, "c"));
    assert_true(s.waiting < ROWS / 4);
    check_searches(w);
    /* Without the file all is as before. */
    store_close(w->store);
    assert_int_equal(unlink(index_file(w)), 0);
    unlink(test_path(w->folder, "collections/c/derived/scale")); /* of similarities */
    assert_int_equal(rmdir(test_path(w->folder, "collections/c/derived")), 0);
    open_store(w);
    check_searches(w);
    wait_ready(w, true);
    check_searches(w);
    reopen(w);
    assert_int_equal(stat(index_file(w), &st), 0);
    free_world(w);
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x41;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* A byte in each region of the file: it is built anew, and no answer is other than right. */
static void test_damaged_file(void **state)
{
    struct world *w = new_world(STORE_L2);
    struct stat st;
    fill(w);
    wait_ready(w, true);
    store_close(w->store);
    assert_int_equal(stat(index_file(w), &st), 0);
    off_t places[16] = {0, 64 + DIM * 4 + 100, 12, 33, 8, 20, 45, 60, 70};
    int count = longer ? 16 : DAMAGES;
    for (int i = 9; i < count; i++)
        places[i] = (off_t)((uint64_t)st.st_size * (uint64_t)(i - 8) / (uint64_t)(count - 8)) - 3;
    for (int i = 0; i < count; i++) {
        flip(index_file(w), places[i]);
        open_store(w);
        struct store_index_stats s = wait_ready(w, false);
        assert_int_equal(s.live, ROWS);
        check_recall(w, (struct store_query){.limit = K}, 0.98);
        assert_int_equal(store_check(w->store, NULL, NULL, NULL), ERR_OK);
        wait_ready(w, true);
        store_close(w->store); /* saves it again */
    }
    assert_int_equal(truncate(index_file(w), st.st_size / 2), 0);
    open_store(w);
    wait_ready(w, false);
    check_recall(w, (struct store_query){.limit = K}, 0.98);
    free_world(w);
}

/* A file that an older or another collection wrote is not taken for this one's. */
static void test_foreign_file(void **state)
{
    struct world *w = new_world(STORE_L2);
    fill(w);
    wait_ready(w, true);
    store_close(w->store);
    assert_int_equal(rename(index_file(w), test_path(w->folder, "kept")), 0);
    open_store(w);
    OK(store_drop(w->store, "c", 0, err));
    test_create(w->store, "c", DIM, STORE_L2);
    fill(w);
    wait_ready(w, true);
    store_close(w->store);
    assert_int_equal(rename(test_path(w->folder, "kept"), index_file(w)), 0);
    open_store(w);
    struct store_index_stats s = wait_ready(w, false);
    assert_int_equal(s.live, ROWS);
    check_recall(w, (struct store_query){.limit = K}, 0.98);
    free_world(w);
}

/* --- saving when the disk does not want to --------------------------------------------------------------- */

static atomic_int countdown, calls;
static _Atomic bool in_derived;

static bool fails(void)
{
    atomic_fetch_add(&calls, 1);
    return atomic_fetch_sub(&countdown, 1) == 1;
}

static int failing_open(const char *path, int flags, mode_t mode)
{
    if (strstr(path, "/derived") && fails()) {
        errno = EIO;
        return -1;
    }
    return open(path, flags, mode);
}

static int failing_mkdir(const char *path, mode_t mode)
{
    if (strstr(path, "/derived") && fails()) {
        errno = ENOSPC;
        return -1;
    }
    return mkdir(path, mode);
}

static int failing_rename(const char *from, const char *to)
{
    if (strstr(to, "/derived") && fails()) {
        errno = EIO;
        return -1;
    }
    return rename(from, to);
}

static ssize_t failing_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (atomic_load(&in_derived) && fails()) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, bytes, len, at);
}

static int failing_fsync(int fd)
{
    if (atomic_load(&in_derived) && fails()) {
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

/* Each system call of a save fails once, at a close: the close is fine, and so is the next open. */
static void test_failing_saves(void **state)
{
    struct world *w = new_world(STORE_L2);
    fill(w);
    wait_ready(w, true);
    store_close(w->store);
    w->sys.open = failing_open;
    w->sys.mkdir = failing_mkdir;
    w->sys.rename = failing_rename;
    w->sys.pwrite = failing_pwrite;
    w->sys.fsync = failing_fsync;
    for (int n = 1;; n += FAILURES_STEP) {
        struct stat st;
        atomic_store(&countdown, 0);
        open_store(w);
        churn(w, 16); /* enough to be worth a save */
        wait_ready(w, false);
        atomic_store(&calls, 0);
        atomic_store(&countdown, n);
        atomic_store(&in_derived, true); /* nothing else is written while it closes */
        store_close(w->store);
        atomic_store(&in_derived, false);
        int made = atomic_load(&calls);
        atomic_store(&countdown, 0);
        open_store(w);
        struct store_index_stats s = wait_ready(w, false);
        assert_int_equal(s.live, test_count(w->store, "c"));
        check_recall(w, (struct store_query){.limit = K}, 0.98);
        store_close(w->store);
        assert_true(stat(test_path(w->folder, "collections/c/derived/index.new"), &st) != 0);
        if (n > made) { /* all went well */
            assert_true(made > 5);
            break;
        }
    }
    open_store(w);
    free_world(w);
}

/* --- threads -------------------------------------------------------------------------------------------- */

static struct world *shared;
static _Atomic bool stop;
static atomic_int problems;
static pthread_mutex_t rows_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Its own rows, each found at once after it was acknowledged, and not after it was deleted. */
static void *write_and_find(void *user)
{
    uint64_t seed = 99 + (uint64_t)(uintptr_t)user;
    for (int i = 0; i < (longer ? 2000 : 150); i++) {
        int64_t fileid = 100000 + (int64_t)(uintptr_t)user * 1000 + i % 20;
        float v[DIM];
        random_vector(&seed, v);
        v[0] = 40 + (float)(uintptr_t)user; /* far from all others */
        struct store_write w = {.kind = STORE_PUT,
            .fileid = fileid,
            .has_itemid = true,
            .itemid = 5,
            .tags = "[]",
            .brief = "{}",
            .vector = v};
        struct store_query q = {.vector = v, .limit = 1};
        struct store_records r = {0};
        if (store_write(shared->store, "c", &w, 1, 0, NULL) ||
            store_search(shared->store, "c", &q, 0, &r, NULL) || r.count != 1 || r.items[0].fileid != fileid ||
            r.items[0].distance > 1e-3f)
            atomic_fetch_add(&problems, 1);
        store_records_free(&r);
        if (i % 3)
            continue;
        if (test_delete(shared->store, "c", fileid, NULL) ||
            store_search(shared->store, "c", &q, 0, &r, NULL) || r.count != 1 || r.items[0].fileid == fileid)
            atomic_fetch_add(&problems, 1);
        store_records_free(&r);
    }
    return NULL;
}

static void *search_always(void *user)
{
    uint64_t seed = 7 + (uint64_t)(uintptr_t)user;
    while (!atomic_load(&stop)) {
        float v[DIM];
        random_vector(&seed, v);
        struct store_query q = {.vector = v, .limit = 50, .group = test_random(&seed) % 2};
        struct store_records r = {0};
        if (store_search(shared->store, "c", &q, 0, &r, NULL) || r.count != 50)
            atomic_fetch_add(&problems, 1);
        for (size_t i = 0; i < r.count; i++)
            for (size_t j = 0; j < i; j++)
                if (r.items[i].fileid == r.items[j].fileid ||
                    (q.group && r.items[i].itemid == r.items[j].itemid))
                    atomic_fetch_add(&problems, 1);
        store_records_free(&r);
    }
    return NULL;
}

static void *replace_always(void *user)
{
    while (!atomic_load(&stop)) {
        pthread_mutex_lock(&rows_mutex);
        churn(shared, 1);
        pthread_mutex_unlock(&rows_mutex);
    }
    return NULL;
}

/* Searches, writes, deletes, replacements, linking, repairs and saves, all at once, from the build on. */
static void test_all_at_once(void **state)
{
    pthread_t threads[8];
    shared = new_world(STORE_L2);
    fill(shared);
    atomic_store(&stop, false);
    atomic_store(&problems, 0);
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                             i < 4   ? write_and_find
                             : i < 7 ? search_always
                                     : replace_always,
                             (void *)i),
            0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop, true);
    for (int i = 4; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&problems), 0);
    struct store_index_stats s = wait_ready(shared, true);
    assert_int_equal(s.live, test_count(shared->store, "c"));
    free_world(shared);
}

/* More collections with an index than may be open: each is closed for another, and comes back. */
static void test_many_indexes(void **state)
{
    struct world *w = new_world(STORE_L2);
    fill(w);
    wait_ready(w, true);
    for (int i = 0; i < LIMIT_OPEN_COLLECTIONS + 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "other%d", i);
        test_create(w->store, name, DIM, STORE_L2);
        assert_int_equal(test_count(w->store, name), 0);
    }
    struct store_index_stats s = wait_ready(w, false); /* loaded from what the close has saved */
    assert_true(s.live == ROWS && s.waiting < ROWS / 10);
    check_recall(w, (struct store_query){.limit = K}, 0.98);
    free_world(w);
}

int main(int argc, char **argv)
{
    longer = argc > 1 && !strcmp(argv[1], "long");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_answers),
        ONE_THREAD(test_pages)
        cmocka_unit_test(test_churn),
        ONE_THREAD(test_memory_is_bounded)
        ONE_THREAD(test_items_change)
        cmocka_unit_test(test_saved_and_loaded),
        cmocka_unit_test(test_damaged_file),
        ONE_THREAD(test_foreign_file)
        cmocka_unit_test(test_failing_saves),
        cmocka_unit_test(test_all_at_once),
        ONE_THREAD(test_many_indexes)
        cmocka_unit_test(test_opened_behind_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
