/* Many threads at once: shared commits, searches while writers replace everything, deadlines in the queue. */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "filter/filter.h"
#include "store/backup.h"
#include "store/embedded/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define DIM 16

static char *folder;
static struct store *store;
static atomic_int syncs;

/* A disk that takes its time, or none at all while `gate` is closed. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool closed, waiting;

static int slow_fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    usleep(1000);
    pthread_mutex_lock(&mutex);
    while (closed) {
        waiting = true;
        pthread_cond_broadcast(&cond);
        pthread_cond_wait(&cond, &mutex);
    }
    waiting = false;
    pthread_mutex_unlock(&mutex);
    return fdatasync(fd);
}

static void set_gate(bool shut)
{
    pthread_mutex_lock(&mutex);
    closed = shut;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
}

static void wait_for_sync(void)
{
    pthread_mutex_lock(&mutex);
    while (!waiting)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
}

/* The next pwrite() fails; there is no more room. */
static atomic_bool broken, full;

static ssize_t breaking_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (!atomic_exchange(&broken, false))
        return pwrite(fd, bytes, len, at);
    errno = EIO;
    return -1;
}

static int full_fallocate(int fd, int mode, off_t at, off_t len)
{
    if (!atomic_load(&full))
        return fallocate(fd, mode, at, len);
    errno = ENOSPC;
    return -1;
}

static struct store_sys sys;

static int setup(void **state)
{
    struct store_open_options options = {.data = folder = test_folder()};
    sys = store_sys_real;
    sys.fdatasync = slow_fdatasync;
    sys.pwrite = breaking_pwrite;
    sys.fallocate = full_fallocate;
    OK(store_embedded_open_with(&options, &sys, &store, err));
    test_create(store, "c", DIM, STORE_L2);
    return 0;
}

static int teardown(void **state)
{
    store_close(store);
    test_folder_remove(folder);
    return 0;
}

static void vector_of(int64_t n, float *v)
{
    for (int i = 0; i < DIM; i++)
        v[i] = (float)((n * 7 + i * 3) % 17);
}

struct job {
    int64_t base;
    int count;
    uint64_t seed;
    pthread_t thread;
    atomic_int problems;
    enum result *results;
};

static void *put_many(void *user)
{
    struct job *job = user;
    for (int i = 0; i < job->count; i++) {
        float v[DIM];
        vector_of(job->base + i, v);
        if (test_put(store, "c", job->base + i, NULL, v, NULL))
            atomic_fetch_add(&job->problems, 1);
    }
    return NULL;
}

static void start(struct job *job, void *(*what)(void *))
{
    assert_int_equal(pthread_create(&job->thread, NULL, what, job), 0);
}

static void finish(struct job *job)
{
    pthread_join(job->thread, NULL);
    assert_int_equal(atomic_load(&job->problems), 0);
}

static void test_commits_are_shared(void **state)
{
    enum { THREADS = 16, EACH = 40 };
    struct job jobs[THREADS] = {0};
    atomic_store(&syncs, 0);
    for (int i = 0; i < THREADS; i++) {
        jobs[i].base = i * 1000;
        jobs[i].count = EACH;
        start(&jobs[i], put_many);
    }
    for (int i = 0; i < THREADS; i++)
        finish(&jobs[i]);
    assert_int_equal(test_count(store, "c"), THREADS * EACH);
    assert_true(atomic_load(&syncs) <= THREADS * EACH / 4);
    /* One writer alone does not wait for company: one sync a write, as it must be. */
    struct job alone = {.base = 100000, .count = 20};
    atomic_store(&syncs, 0);
    start(&alone, put_many);
    finish(&alone);
    assert_int_equal(atomic_load(&syncs), 20);
}

/* Writers that give up while the lead, or their own turn, is on its way to them: a write that timed out was not done. */
static void *put_impatiently(void *user)
{
    struct job *job = user;
    for (int i = 0; i < job->count; i++) {
        float v[DIM];
        struct store_write w = {
            .kind = STORE_PUT, .fileid = job->base + i, .tags = "[]", .brief = "{}", .vector = v};
        vector_of(job->base + i, v);
        enum result r = store_write(
            store, "c", &w, 1, clock_now_ms() + (int64_t)(test_random(&job->seed) % 5), NULL);
        atomic_fetch_add(&job->problems, r != ERR_OK && r != ERR_TIMEOUT);
        job->results[i] = r;
    }
    return NULL;
}

static void test_giving_up(void **state)
{
    enum { THREADS = 12, EACH = 150 };
    static enum result results[THREADS][EACH];
    struct job jobs[THREADS] = {0};
    int done = 0;
    for (int i = 0; i < THREADS; i++) {
        jobs[i].base = i * 1000;
        jobs[i].count = EACH;
        jobs[i].seed = (uint64_t)i + 1;
        jobs[i].results = results[i];
        start(&jobs[i], put_impatiently);
    }
    for (int i = 0; i < THREADS; i++)
        finish(&jobs[i]);
    for (int i = 0; i < THREADS * EACH; i++) {
        struct store_records r = {0};
        bool put = results[i / EACH][i % EACH] == ERR_OK;
        OK(store_get_file(store, "c", i / EACH * 1000 + i % EACH, 0, &r, err));
        assert_int_equal(r.count, put);
        store_records_free(&r);
        done += put;
    }
    assert_true(done > 0 && done < THREADS * EACH); /* both happen */
    assert_int_equal(test_count(store, "c"), done);
    OK(store_check(store, NULL, NULL, err));
}

/* --- one of a group that fails --------------------------------------------------------------------------- */

static void *write_one(void *user)
{
    struct job *job = user;
    float v[DIM];
    struct store_write w = {.kind = job->count ? STORE_PUT : STORE_DELETE,
        .fileid = job->base,
        .tags = "[]",
        .brief = "{}",
        .vector = v};
    vector_of(job->base, v);
    *job->results = store_write(store, "c", &w, 1, 0, NULL);
    return NULL;
}

/* One that cannot be written takes those with it that have a vector as well, but no delete. */
static void test_unwritten_vectors(void **state)
{
    enum { THREADS = 3 };
    enum result results[THREADS] = {ERR_OK};
    struct job before = {.base = 0, .count = 10}, first = {.base = 100, .count = 1}, jobs[THREADS] = {
        {.base = 200, .count = 1}, {.base = 3}, {.base = 201, .count = 1}};
    start(&before, put_many);
    finish(&before);
    set_gate(true);
    start(&first, put_many);
    wait_for_sync(); /* all others queue up behind it */
    for (int i = 0; i < THREADS; i++) {
        jobs[i].results = &results[i];
        start(&jobs[i], write_one);
    }
    usleep(100000);
    atomic_store(&broken, true);
    set_gate(false);
    finish(&first);
    for (int i = 0; i < THREADS; i++)
        finish(&jobs[i]);
    assert_int_equal(results[0], ERR_IO);
    assert_int_equal(results[1], ERR_OK);
    assert_int_equal(results[2], ERR_IO);
    assert_int_equal(test_count(store, "c"), 10);
    struct job again = {.base = 200, .count = 2};
    start(&again, put_many);
    finish(&again);
    assert_int_equal(test_count(store, "c"), 12);
    OK(store_check(store, NULL, NULL, err));
}

static enum result put_some(const char *collection, int64_t base, size_t n, struct err *error)
{
    struct store_write *w = calloc(n, sizeof *w);
    float v[DIM];
    vector_of(base, v);
    assert_non_null(w);
    for (size_t i = 0; i < n; i++)
        w[i] = (struct store_write){
            .kind = STORE_PUT, .fileid = base + (int64_t)i, .tags = "[]", .brief = "{}", .vector = v};
    enum result r = store_write(store, collection, w, n, 0, error);
    free(w);
    return r;
}

static void *put_beside(void *user)
{
    struct job *job = user;
    *job->results = put_some("ip", job->base, (size_t)job->count, NULL);
    return NULL;
}

/* Slots that are free in the file can be used, also after one wanted more of them than there are, or beside it. */
static void test_no_room_for_one(void **state)
{
    enum { BATCH = 500, FREE = 20 };
    int64_t n = 0;
    struct store_write gone[FREE];
    test_create(store, "ip", DIM, STORE_IP); /* nothing looks at it behind the scenes, and keeps slots from being free */
    OK(put_some("ip", 0, 1, err));
    atomic_store(&full, true);
    for (n = 1; !put_some("ip", n, BATCH, NULL); n += BATCH)
        ;
    while (!put_some("ip", n, 1, NULL))
        n++;
    REFUSED(ERR_IO, "No space", put_some("ip", n, 1, err));
    for (int i = 0; i < FREE; i++)
        gone[i] = (struct store_write){.kind = STORE_DELETE, .fileid = i};
    OK(store_write(store, "ip", gone, FREE, 0, err));
    REFUSED(ERR_IO, "longer", put_some("ip", n, FREE + 1, err));
    enum result results[3] = {ERR_OK};
    struct job jobs[3] = {{.base = n, .count = 1}, {.base = n + 1000, .count = FREE}, {.base = n + 1, .count = 1}};
    set_gate(true);
    for (int i = 0; i < 3; i++) {
        jobs[i].results = &results[i];
        start(&jobs[i], put_beside);
        if (i == 0)
            wait_for_sync();
        usleep(100000); /* in this order */
    }
    set_gate(false);
    for (int i = 0; i < 3; i++)
        finish(&jobs[i]);
    assert_int_equal(results[0], ERR_OK);
    assert_int_equal(results[1], ERR_IO);
    assert_int_equal(results[2], ERR_OK);
    for (int i = 2; i < FREE; i++)
        OK(put_some("ip", n + i, 1, err));
    REFUSED(ERR_IO, "longer", put_some("ip", n + FREE, 1, err));
    /* A backup does not look for the slots that the file could not be made long enough for. */
    struct store_backup_report report;
    char *kept = test_folder();
    OK(store_backup(store, kept, NULL, &report, err));
    OK(store_backup_verify(kept, NULL, &report, err));
    assert_int_equal(report.records, n);
    test_folder_remove(kept);
    atomic_store(&full, false);
    OK(put_some("ip", n + FREE, 1, err));
    assert_int_equal(test_count(store, "ip"), n + 1);
    OK(store_check(store, NULL, NULL, err));
}

/* A commit takes no more than LIMIT_COMMIT_WRITES records of others; a call alone may have LIMIT_WRITES. */
static void *put_batch(void *user)
{
    struct job *job = user;
    if (put_some("c", job->base, (size_t)job->count, NULL))
        atomic_fetch_add(&job->problems, 1);
    return NULL;
}

static void test_commit_limit(void **state)
{
    enum { THREADS = 8, EACH = LIMIT_COMMIT_WRITES / 2 };
    struct job first = {.base = 1, .count = 1}, jobs[THREADS] = {0};
    set_gate(true);
    start(&first, put_many);
    wait_for_sync(); /* all others queue up behind it */
    for (int i = 0; i < THREADS; i++) {
        jobs[i].base = 10000 * (i + 1);
        jobs[i].count = EACH;
        start(&jobs[i], put_batch);
    }
    usleep(100000);
    atomic_store(&syncs, 0);
    set_gate(false);
    finish(&first);
    for (int i = 0; i < THREADS; i++)
        finish(&jobs[i]);
    assert_int_equal(test_count(store, "c"), 1 + THREADS * EACH);
    assert_true(atomic_load(&syncs) >= THREADS / 2); /* two at a time */
}

/* --- nothing blocks a search, and a write in the queue may give up -------------------------------------- */

static void test_sync_blocks_no_reader(void **state)
{
    struct job before = {.base = 0, .count = 10}, stuck = {.base = 100, .count = 1};
    start(&before, put_many);
    finish(&before);
    set_gate(true);
    start(&stuck, put_many);
    wait_for_sync();
    float v[DIM];
    vector_of(3, v);
    struct store_query q = {.vector = v, .limit = 100};
    struct store_records r = {0};
    OK(store_search(store, "c", &q, clock_now_ms() + 10000, &r, err));
    assert_int_equal(r.count, 10); /* what is not acknowledged is not seen */
    store_records_free(&r);
    OK(store_get_file(store, "c", 100, clock_now_ms() + 10000, &r, err));
    assert_int_equal(r.count, 0);
    store_records_free(&r);
    assert_int_equal(test_count(store, "c"), 10);
    /* A second writer waits for its turn, and may stop waiting: then it was not done. */
    struct store_write w = {.kind = STORE_DELETE, .fileid = 3};
    REFUSED(ERR_TIMEOUT, "not done", store_write(store, "c", &w, 1, clock_now_ms() + 50, err));
    REFUSED(ERR_TIMEOUT, "\"c\"", store_drop(store, "c", clock_now_ms() + 50, err));
    assert_int_equal(test_count(store, "c"), 10); /* the drop that gave up left no trace */
    set_gate(false);
    finish(&stuck);
    assert_int_equal(test_count(store, "c"), 11);
    OK(store_get_file(store, "c", 3, 0, &r, err));
    assert_int_equal(r.count, 1);
    store_records_free(&r);
    OK(store_drop(store, "c", clock_now_ms() + 10000, err));
}

/* --- readers see a whole collection at every moment ----------------------------------------------------- */

#define ROWS 60
static atomic_bool stop;

/* Every record is replaced, moved between items or updated all the time, and always there. */
static void *replace_all(void *user)
{
    struct job *job = user;
    for (int n = 0; n < job->count; n++) {
        float v[2][DIM];
        struct store_write w[2];
        for (int i = 0; i < 2; i++) {
            int64_t fileid = (int64_t)(test_random(&job->seed) % (ROWS / 2)) * 2 + i;
            vector_of((int64_t)test_random(&job->seed), v[i]);
            w[i] = (struct store_write){.kind = test_random(&job->seed) % 3 ? STORE_PUT : STORE_UPDATE,
                .fileid = fileid,
                .has_itemid = true,
                .itemid = fileid / 3,
                .tags = "[]",
                .brief = "{}",
                .vector = v[i]};
            if (w[i].kind == STORE_UPDATE && test_random(&job->seed) % 2)
                w[i].vector = NULL;
        }
        if (store_write(store, "c", w, 2, 0, NULL))
            atomic_fetch_add(&job->problems, 1);
    }
    return NULL;
}

static void *search_all(void *user)
{
    struct job *job = user;
    for (int n = 0; n < job->count && !atomic_load(&stop); n++) {
        float v[DIM];
        bool group = n % 2;
        struct store_records r = {0};
        vector_of((int64_t)test_random(&job->seed), v);
        struct store_query q = {.vector = v, .limit = 100, .group = group, .with_vectors = true};
        if (store_search(store, "c", &q, 0, &r, NULL)) {
            atomic_fetch_add(&job->problems, 1);
            continue;
        }
        if (r.count != (group ? ROWS / 3 : ROWS))
            atomic_fetch_add(&job->problems, 1);
        for (size_t i = 0; i < r.count; i++) {
            double d = 0;
            for (int j = 0; j < DIM; j++)
                d += (double)((v[j] - r.items[i].vector[j]) * (v[j] - r.items[i].vector[j]));
            if (d != (double)r.items[i].distance || (i && r.items[i - 1].distance > r.items[i].distance))
                atomic_fetch_add(&job->problems, 1);
            for (size_t j = 0; j < i; j++)
                if (group ? r.items[i].itemid == r.items[j].itemid : r.items[i].fileid == r.items[j].fileid)
                    atomic_fetch_add(&job->problems, 1);
        }
        store_records_free(&r);
    }
    return NULL;
}

static void *read_all(void *user)
{
    struct job *job = user;
    while (!atomic_load(&stop)) {
        struct store_records r = {0};
        struct store_stats stats;
        if (store_get_item(store, "c", (int64_t)(test_random(&job->seed) % (ROWS / 3)), 0, &r, NULL) ||
            r.count != 3)
            atomic_fetch_add(&job->problems, 1);
        store_records_free(&r);
        if (store_browse(store, "c", true, 0, 100, 0, &r, NULL) || r.count != ROWS)
            atomic_fetch_add(&job->problems, 1);
        store_records_free(&r);
        if (store_stats(store, "c", 0, &stats, NULL) || stats.records != ROWS || stats.items != ROWS / 3 ||
            stats.damaged)
            atomic_fetch_add(&job->problems, 1);
        if (test_random(&job->seed) % 8 == 0 && store_check(store, NULL, NULL, NULL))
            atomic_fetch_add(&job->problems, 1);
    }
    return NULL;
}

static void test_readers_and_writers(void **state)
{
    struct job jobs[8] = {0};
    struct store_write w[ROWS];
    float v[ROWS][DIM];
    sys.fdatasync = fdatasync;
    for (int i = 0; i < ROWS; i++) {
        vector_of(i, v[i]);
        w[i] = (struct store_write){.kind = STORE_PUT,
            .fileid = i,
            .has_itemid = true,
            .itemid = i / 3,
            .tags = "[]",
            .brief = "{}",
            .vector = v[i]};
    }
    OK(store_write(store, "c", w, ROWS, 0, err));
    atomic_store(&stop, false);
    for (int i = 0; i < 8; i++) {
        jobs[i].seed = 1000 + (uint64_t)i;
        jobs[i].count = 150;
        start(&jobs[i], i < 4 ? replace_all : i < 7 ? search_all : read_all);
    }
    for (int i = 0; i < 4; i++)
        finish(&jobs[i]);
    atomic_store(&stop, true);
    for (int i = 4; i < 8; i++)
        finish(&jobs[i]);
    OK(store_check(store, NULL, NULL, err));
}

/* --- filters beside writers ----------------------------------------------------------------------------- */

static struct filter *parse(const char *text)
{
    struct filter *filter = NULL;
    OK(filter_parse(text, strlen(text), &filter, err));
    return filter;
}

static enum result put_tagged(int64_t fileid, const char *tags, bool whole)
{
    float v[DIM];
    vector_of(fileid, v);
    struct store_write w = {
        .kind = whole ? STORE_PUT : STORE_UPDATE, .fileid = fileid, .tags = tags, .brief = "{\"n\":1}"};
    w.vector = whole ? v : NULL;
    return store_write(store, "c", &w, 1, 0, NULL);
}

/* Each change of tags is seen by the next count, by this thread at least. */
static void *change_tags(void *user)
{
    struct job *job = user;
    char text[96];
    snprintf(text, sizeof text, "fileid == %d and array_contains(tags, \"even\")", (int)job->base);
    struct filter *filter = parse(text);
    for (int i = 0; i < job->count; i++) {
        bool even = i % 2 == 0;
        uint64_t n = 9;
        if (put_tagged(job->base, even ? "[\"even\"]" : "[\"odd\"]", i % 3 == 0) ||
            store_count_where(store, "c", filter, 0, &n, NULL) || n != even)
            atomic_fetch_add(&job->problems, 1);
    }
    filter_free(filter);
    return NULL;
}

#define STEADY 30 /* records that nobody changes */

/* Never a record that the filter is not true for, never fewer than there are for sure. */
static void *search_tags(void *user)
{
    struct job *job = user;
    struct filter *filter = parse("array_contains(tags, \"even\")");
    float v[DIM];
    vector_of(3, v);
    while (!atomic_load(&stop)) {
        struct store_records r = {0};
        uint64_t n = 0;
        struct store_query q = {.vector = v, .limit = STEADY, .filter = filter};
        struct store_browse browse = {.from_start = true, .limit = 1000, .filter = filter};
        bool bad = store_search(store, "c", &q, 0, &r, NULL) || r.count != STEADY;
        for (size_t i = 0; i < r.count; i++)
            bad |= !strstr(r.items[i].tags, "even");
        store_records_free(&r);
        bad |= store_count_where(store, "c", filter, 0, &n, NULL) || n < STEADY || n > STEADY + 4;
        bad |= store_browse_where(store, "c", &browse, 0, &r, NULL) || r.count < STEADY;
        for (size_t i = 0; i < r.count; i++)
            bad |= !strstr(r.items[i].tags, "even");
        store_records_free(&r);
        if (bad)
            atomic_fetch_add(&job->problems, 1);
    }
    filter_free(filter);
    return NULL;
}

static void test_filters_beside_writers(void **state)
{
    struct job writers[4] = {0}, searchers[2] = {0};
    sys.fdatasync = fdatasync;
    for (int64_t i = 0; i < STEADY; i++)
        assert_int_equal(put_tagged(1000 + i, "[\"even\"]", true), ERR_OK);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        start(&searchers[i], search_tags);
    for (int i = 0; i < 4; i++) {
        writers[i] = (struct job){.base = i, .count = 200};
        assert_int_equal(put_tagged(i, "[]", true), ERR_OK);
        start(&writers[i], change_tags);
    }
    for (int i = 0; i < 4; i++)
        finish(&writers[i]);
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        finish(&searchers[i]);
}

/* --- more collections than may be open, used, made and dropped by all at once --------------------------- */

static void *use_collections(void *user)
{
    struct job *job = user;
    float v[DIM];
    vector_of(1, v);
    for (int i = 0; i < job->count; i++) {
        char name[32], mine[32];
        snprintf(name, sizeof name, "many%u", test_random(&job->seed) % (LIMIT_OPEN_COLLECTIONS + 4));
        snprintf(mine, sizeof mine, "mine%d", (int)job->base);
        struct store_settings settings = {.model = "m", .dimension = DIM};
        if (test_put(store, name, job->base * 1000 + i, NULL, v, NULL))
            atomic_fetch_add(&job->problems, 1);
        if (i % 8 == 0 && (store_create(store, mine, &settings, 0, NULL) ||
                              test_put(store, mine, 1, NULL, v, NULL) || store_drop(store, mine, 0, NULL)))
            atomic_fetch_add(&job->problems, 1);
    }
    return NULL;
}

static void test_many_collections(void **state)
{
    struct job jobs[4] = {0};
    uint64_t total = 0;
    sys.fdatasync = fdatasync;
    for (int i = 0; i < LIMIT_OPEN_COLLECTIONS + 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%d", i);
        struct store_settings settings = {.model = "m", .dimension = DIM};
        OK(store_create(store, name, &settings, 0, err));
    }
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){.base = i + 1, .count = 40, .seed = 77 + (uint64_t)i};
        start(&jobs[i], use_collections);
    }
    for (int i = 0; i < 4; i++)
        finish(&jobs[i]);
    for (int i = 0; i < LIMIT_OPEN_COLLECTIONS + 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "many%d", i);
        total += test_count(store, name);
    }
    assert_int_equal(total, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_commits_are_shared),
        T(test_giving_up),
        T(test_unwritten_vectors),
        T(test_no_room_for_one),
        T(test_commit_limit),
        T(test_sync_blocks_no_reader),
        T(test_readers_and_writers),
        T(test_filters_beside_writers),
        T(test_many_collections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
