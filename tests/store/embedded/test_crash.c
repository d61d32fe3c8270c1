/*
 * kill -9 at a random moment, again and again on the same folder: `test_store_embedded_crash [rounds]`.
 *
 * A child opens the store and writes from several threads: batches of puts, updates and deletes, and a
 * collection that is made and dropped; there are enough records for an index, which it saves all the time. Through a pipe it tells what it is about to do, and what was
 * acknowledged. The parent kills it, opens the store and compares: what was acknowledged is there, what was
 * not even begun is not, and what was under way is there as a whole or not at all.
 */
#include "support.h"

#include "base/clock.h"
#include "store/embedded/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIM 24
#define WRITERS 3
#define FILES 24 /* of one writer */
#define BATCH 4
#define STEADY 2200 /* records that nobody changes, so that there is an index */
#define FIRST_STEADY 10000

/* What the child says; short enough that a write to the pipe is never split. */
struct message {
    int32_t writer; /* WRITERS: the one that makes and drops */
    int32_t done;   /* 0 about to, 1 acknowledged, 2 failed */
    int32_t count;
    int32_t fileid[BATCH];
    int32_t version[BATCH]; /* 0: deleted */
    int32_t picture[BATCH]; /* version of the thumbnail, 0: none */
};

struct state {
    int32_t version, picture;
};

static int rounds = 30;
static char *folder;
static struct state states[WRITERS * FILES];
static struct message under_way[WRITERS + 1];
static bool is_under_way[WRITERS + 1];
static bool made; /* the collection "t" */

static void vector_of(int64_t fileid, int32_t version, float *v)
{
    for (int i = 0; i < DIM; i++)
        v[i] = (float)((fileid * 5 + i * 3 + version * 7) % 23) / 4;
}

/* --- the child ------------------------------------------------------------------------------------------ */

static struct store *store;
static int out;
static _Atomic int32_t next_version;

static void tell(const struct message *m)
{
    if (write(out, m, sizeof *m) != (ssize_t)sizeof *m)
        _exit(3);
}

static void *write_batches(void *user)
{
    int writer = (int)(intptr_t)user;
    uint64_t seed = (uint64_t)clock_now_us() * 2654435761u + (uint64_t)writer + 1;
    struct state mine[FILES];
    memcpy(mine, states + writer * FILES, sizeof mine); /* as the parent knows them */
    for (;;) {
        struct message m = {.writer = writer, .count = (int32_t)(1 + test_random(&seed) % BATCH)};
        struct store_write w[BATCH];
        float v[BATCH][DIM];
        char text[BATCH][32], picture[BATCH][32];
        for (int i = 0; i < m.count; i++) {
            int f = (int)(test_random(&seed) % (FILES / BATCH)) * BATCH + i;
            uint32_t what = test_random(&seed) % 8;
            bool update = what == 1 && mine[f].version;
            int32_t version = what == 0 ? 0 : atomic_fetch_add(&next_version, 1);
            m.fileid[i] = writer * FILES + f;
            m.version[i] = version;
            m.picture[i] = version && what < 6 ? version : 0;
            vector_of(m.fileid[i], version, v[i]);
            snprintf(text[i], sizeof text[i], "{\"v\":%d}", version);
            snprintf(picture[i], sizeof picture[i], "picture %d", version);
            w[i] = (struct store_write){.kind = !version ? STORE_DELETE
                                                : update ? STORE_UPDATE
                                                         : STORE_PUT,
                .fileid = m.fileid[i],
                .has_itemid = true,
                .itemid = version % 7,
                .tags = "[]",
                .brief = text[i],
                .vector = v[i],
                .thumbnail = (const uint8_t *)picture[i],
                .thumbnail_len = m.picture[i] ? strlen(picture[i]) : 0};
        }
        tell(&m);
        enum result r = store_write(store, "c", w, (size_t)m.count, 0, NULL);
        m.done = r ? 2 : 1;
        tell(&m);
        if (r)
            _exit(4);
        for (int i = 0; i < m.count; i++)
            mine[m.fileid[i] - writer * FILES] = (struct state){m.version[i], m.picture[i]};
    }
    return NULL;
}

static void *make_and_drop(void *user)
{
    bool there = made;
    for (;;) {
        struct message m = {.writer = WRITERS, .count = 1, .version = {!there}};
        struct store_settings settings = {.model = "m", .dimension = DIM, .thumbnails = true};
        tell(&m);
        enum result r =
            there ? store_drop(store, "t", 0, NULL) : store_create(store, "t", &settings, 0, NULL);
        m.done = 1;
        tell(&m);
        if (r)
            _exit(5);
        there = !there;
        if (there) {
            float v[DIM];
            vector_of(1, 1, v);
            if (test_put(store, "t", 1, NULL, v, NULL))
                _exit(6);
        }
    }
    return NULL;
}

/* The index is linked, cut and saved beside the writers; it may not be there yet. */
static void *save_always(void *user)
{
    for (;;)
        if (store_embedded_save_index(store, "c", NULL))
            usleep(500);
    return NULL;
}

static void child(int pipe_end, int32_t first_version)
{
    pthread_t threads[WRITERS + 2];
    struct store_open_options options = {.data = folder};
    struct message ready = {.writer = -1};
    out = pipe_end;
    atomic_store(&next_version, first_version);
    if (store_open_embedded(&options, &store, NULL))
        _exit(1);
    tell(&ready);
    for (int i = 0; i < WRITERS; i++)
        if (pthread_create(&threads[i], NULL, write_batches, (void *)(intptr_t)i))
            _exit(2);
    if (pthread_create(&threads[WRITERS], NULL, make_and_drop, NULL) ||
        pthread_create(&threads[WRITERS + 1], NULL, save_always, NULL))
        _exit(2);
    pthread_join(threads[0], NULL);
    _exit(2);
}

/* --- the parent ----------------------------------------------------------------------------------------- */

static int32_t highest; /* version seen */
static uint64_t acknowledged;

static void note(const struct message *m)
{
    assert_true(m->writer >= 0 && m->writer <= WRITERS && m->done != 2);
    is_under_way[m->writer] = !m->done;
    under_way[m->writer] = *m;
    if (m->writer == WRITERS) {
        if (m->done)
            made = m->version[0];
        return;
    }
    for (int i = 0; i < m->count; i++) {
        if (m->version[i] > highest)
            highest = m->version[i];
        if (m->done)
            states[m->fileid[i]] = (struct state){m->version[i], m->picture[i]};
    }
    acknowledged += m->done != 0;
}

static bool read_message(int fd, struct message *m)
{
    ssize_t n;
    do
        n = read(fd, m, sizeof *m);
    while (n < 0 && errno == EINTR);
    assert_true(n == 0 || n == (ssize_t)sizeof *m);
    return n > 0;
}

static void one_life(uint64_t *seed)
{
    int fds[2], status = 0;
    struct message m;
    memset(is_under_way, 0, sizeof is_under_way);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        child(fds[1], highest + 1);
    }
    close(fds[1]);
    assert_true(read_message(fds[0], &m) && m.writer == -1); /* the store is open */
    /* Some messages, whatever time the disk takes for them, and then a moment more. */
    for (uint32_t left = test_random(seed) % 80; left > 0; left--) {
        assert_true(read_message(fds[0], &m)); /* else it ended by itself: an error there */
        note(&m);
    }
    usleep(test_random(seed) % 3000);
    kill(pid, SIGKILL);
    while (read_message(fds[0], &m))
        note(&m);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool is_there(int32_t fileid, struct state want)
{
    struct store_records r = {0};
    struct buf b;
    OK(store_get_file(store, "c", fileid, 0, &r, err));
    bool same = r.count == (want.version != 0);
    if (same && r.count) {
        float v[DIM];
        char text[32], picture[32];
        vector_of(fileid, want.version, v);
        snprintf(text, sizeof text, "{\"v\":%d}", want.version);
        snprintf(picture, sizeof picture, "picture %d", want.picture);
        same = !strcmp(r.items[0].brief, text);
        if (same) { /* that version, then all of it */
            assert_memory_equal(r.items[0].vector, v, sizeof v);
            assert_int_equal(r.items[0].itemid, want.version % 7);
            assert_int_equal(r.items[0].has_thumbnail, want.picture != 0);
            buf_init(&b, 100);
            if (want.picture) {
                OK(store_thumbnail(store, "c", fileid, 0, &b, err));
                assert_string_equal(b.data, picture);
            }
            buf_free(&b);
        }
    }
    store_records_free(&r);
    return same;
}

/* A batch that was under way: all of it or nothing; which of the two is now known. */
static void settle(const struct message *m)
{
    bool all = true, none = true;
    for (int i = 0; i < m->count; i++) {
        struct state next = {m->version[i], m->picture[i]};
        struct state before = states[m->fileid[i]];
        if (!next.version && !before.version) /* deleted what was not there: looks the same */
            continue;
        bool happened = is_there(m->fileid[i], next);
        all &= happened;
        none &= !happened && is_there(m->fileid[i], before);
    }
    assert_true(all || none);
    for (int i = 0; all && i < m->count; i++)
        states[m->fileid[i]] = (struct state){m->version[i], m->picture[i]};
}

static void settle_collection(void)
{
    uint64_t n;
    enum result r = store_count(store, "t", 0, &n, NULL);
    assert_true(r == ERR_OK || r == ERR_NOT_FOUND);
    if (is_under_way[WRITERS])
        made = r == ERR_OK;
    assert_int_equal(made, r == ERR_OK);
}

static void report(void *user, int severity, const char *collection, const char *text)
{
    if (severity) {
        print_error("%s: %s\n", collection, text);
        ++*(int *)user;
    }
}

static uint64_t loaded; /* lives after which the saved index was of use */

static void wait_for_index(bool linked)
{
    struct store_stats stats = {0};
    for (int tries = 0; stats.index.state != STORE_INDEX_READY || (linked && stats.index.waiting); tries++) {
        assert_true(tries < 120000); /* a build for ThreadSanitizer on a busy machine takes its time */
        OK(store_stats(store, "c", 0, &stats, err));
        usleep(1000);
    }
    loaded += !linked && stats.index.waiting < STEADY / 2;
}

static void compare(void)
{
    uint64_t want = STEADY, n = 0;
    int problems = 0;
    struct store_open_options options = {.data = folder};
    OK(store_open_embedded(&options, &store, err));
    settle_collection();
    for (int i = 0; i < WRITERS; i++)
        if (is_under_way[i])
            settle(&under_way[i]);
    for (int32_t f = 0; f < WRITERS * FILES; f++) {
        assert_true(is_there(f, states[f]));
        want += states[f].version != 0;
    }
    OK(store_count(store, "c", 0, &n, err));
    assert_int_equal(n, want);
    float v[DIM];
    vector_of(0, 0, v);
    struct store_query q = {.vector = v, .limit = STEADY + WRITERS * FILES};
    wait_for_index(false);
    struct store_records r = {0};
    OK(store_search(store, "c", &q, 0, &r, err));
    assert_int_equal(r.count, want);
    store_records_free(&r);
    OK(store_check(store, report, &problems, err));
    assert_int_equal(problems, 0);
    store_close(store);
}

static void put_steady(void)
{
    static float v[STEADY][DIM];
    static struct store_write w[STEADY];
    uint64_t seed = 11;
    for (int i = 0; i < STEADY; i++) {
        for (int j = 0; j < DIM; j++)
            v[i][j] = (float)(test_random(&seed) % 1000) / 100;
        w[i] = (struct store_write){.kind = STORE_PUT,
            .fileid = FIRST_STEADY + i,
            .tags = "[]",
            .brief = "{}",
            .vector = v[i]};
    }
    OK(store_write(store, "c", w, STEADY, 0, err));
    wait_for_index(true); /* what is linked is saved at the close */
}

static void test_kill(void **state)
{
    uint64_t seed = (uint64_t)clock_now_us() | 1;
    struct store_open_options options = {.data = folder = test_folder()};
    OK(store_open_embedded(&options, &store, err));
    test_create(store, "c", DIM, STORE_L2);
    put_steady();
    store_close(store);
    for (int i = 0; i < rounds; i++) {
        one_life(&seed);
        compare();
    }
    print_message(
        "# %d lives, %llu batches acknowledged, none lost\n", rounds, (unsigned long long)acknowledged);
    assert_true(acknowledged > (uint64_t)rounds); /* it did write */
    print_message("# after %llu of them a saved index was of use\n", (unsigned long long)loaded);
    assert_true(loaded > 0);
    test_folder_remove(folder);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = (int)strtol(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
