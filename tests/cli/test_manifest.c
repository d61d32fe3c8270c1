#include "cli/manifest.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const struct cli_manifest_place place = {"http://127.0.0.1:5000", "shop", "/pictures"};

static struct cli_manifest *open_place(const struct cli_manifest_place *where)
{
    struct cli_manifest *m = NULL;
    struct err err = {0};
    if (cli_manifest_open(where, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static void ack(struct cli_manifest *m, const char *key, int64_t fileid, uint64_t size)
{
    struct cli_manifest_entry entry = {
        .fileid = fileid, .acknowledged = true, .size = size, .mtime_ns = -5, .metadata = UINT64_MAX};
    assert_int_equal(cli_manifest_ack(m, key, &entry, NULL), ERR_OK);
}

/* A state folder of its own for each test. */
static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lookalike-manifest-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    return setenv("XDG_STATE_HOME", folder, 1);
}

static int tear_down(void **state)
{
    (void)state;
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void test_remembers(void **state)
{
    (void)state;
    struct cli_manifest *m = open_place(&place);
    assert_null(cli_manifest_find(m, "a.jpg"));
    assert_int_equal(cli_manifest_acknowledged(m), 0);
    ack(m, "a.jpg", 11, 100);
    ack(m, "with space\nand \\ line.jpg", -12, 0);
    ack(m,
        "gr\xc3\xb6\xc3\x9f"
        "e/\xff.jpg",
        INT64_MAX, UINT64_MAX);
    assert_int_equal(cli_manifest_assign(m, "b.jpg", 77, NULL), ERR_OK);
    assert_non_null(
        cli_manifest_find(m, "b.jpg")); /* assigned ones at once, acknowledged ones from the next run on */
    cli_manifest_close(m);

    m = open_place(&place);
    assert_int_equal(cli_manifest_acknowledged(m), 3);
    const struct cli_manifest_entry *e = cli_manifest_find(m, "a.jpg");
    assert_non_null(e);
    assert_true(e->acknowledged && e->fileid == 11 && e->size == 100 && e->mtime_ns == -5 &&
                e->metadata == UINT64_MAX);
    e = cli_manifest_find(m, "with space\nand \\ line.jpg");
    assert_true(e && e->fileid == -12);
    e = cli_manifest_find(m,
        "gr\xc3\xb6\xc3\x9f"
        "e/\xff.jpg");
    assert_true(e && e->fileid == INT64_MAX && e->size == UINT64_MAX);
    e = cli_manifest_find(m, "b.jpg");
    assert_true(e && !e->acknowledged && e->fileid == 77);
    ack(m, "a.jpg", 11, 101); /* the last word counts */
    cli_manifest_close(m);

    m = open_place(&place);
    assert_int_equal(cli_manifest_acknowledged(m), 3);
    assert_int_equal(cli_manifest_find(m, "a.jpg")->size, 101);
    cli_manifest_close(m);
    cli_manifest_close(NULL);
}

static void test_places_are_apart(void **state)
{
    (void)state;
    struct cli_manifest *m = open_place(&place);
    ack(m, "a.jpg", 1, 1);
    cli_manifest_close(m);
    static const struct cli_manifest_place others[] = {{"http://127.0.0.1:5001", "shop", "/pictures"},
        {"http://127.0.0.1:5000", "shop2", "/pictures"}, {"http://127.0.0.1:5000", "shop", "/pictures2"}};
    for (size_t i = 0; i < 3; i++) {
        m = open_place(&others[i]);
        assert_null(cli_manifest_find(m, "a.jpg"));
        cli_manifest_close(m);
    }
}

static void test_locked(void **state)
{
    (void)state;
    struct cli_manifest *m = open_place(&place), *second = NULL;
    struct err err = {0};
    assert_int_equal(cli_manifest_open(&place, &second, &err), ERR_BUSY);
    assert_null(second);
    assert_non_null(strstr(err.message, "/pictures"));
    cli_manifest_close(m);
    cli_manifest_close(open_place(&place));
}

static void append_bytes(const char *path, const char *bytes, size_t len)
{
    FILE *f = fopen(path, "ae");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void test_cut_off(void **state)
{
    (void)state;
    char path[4096];
    struct cli_manifest *m = open_place(&place);
    snprintf(path, sizeof path, "%s", cli_manifest_path(m));
    ack(m, "a.jpg", 1, 1);
    cli_manifest_close(m);
    static const char rest[] = "A 2 5 5 5 pic1"; /* of "pic12.jpg" */
    append_bytes(path, rest, sizeof rest - 1);
    m = open_place(&place);
    assert_int_equal(cli_manifest_acknowledged(m), 1);
    assert_null(cli_manifest_find(m, "pic1"));
    ack(m, "c.jpg", 3, 1);
    cli_manifest_close(m);
    m = open_place(&place); /* the line after the cut is whole */
    assert_int_equal(cli_manifest_acknowledged(m), 2);
    assert_null(cli_manifest_find(m, "pic1"));
    assert_non_null(cli_manifest_find(m, "c.jpg"));
    cli_manifest_close(m);
}

static void test_every_cut(void **state)
{
    (void)state;
    char path[4096];
    struct stat st;
    struct cli_manifest *m = open_place(&place);
    snprintf(path, sizeof path, "%s", cli_manifest_path(m));
    ack(m, "a.jpg", 1, 1);
    ack(m, "b.jpg", 2, 1);
    cli_manifest_close(m);
    assert_int_equal(stat(path, &st), 0);
    for (off_t len = st.st_size - 1; len >= 0; len--) {
        assert_int_equal(truncate(path, len), 0);
        m = open_place(&place);
        assert_true(cli_manifest_acknowledged(m) < 2);
        assert_null(cli_manifest_find(m, "b.jpg"));
        cli_manifest_close(m);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    char path[4096];
    struct cli_manifest *m = open_place(&place);
    snprintf(path, sizeof path, "%s", cli_manifest_path(m));
    cli_manifest_close(m);
    static const char garbage[] =
        "\nA\nA \nA 1\nA 1 2 3 4\nA 1 2 3 4 \nA x 2 3 4 k\nA 1 -2 3 4 k\nB 1 k\nI k\nI 1 \n\0\0\0\n"
        "A 1 2 3 4 k\0x\nA 99999999999999999999 1 1 1 k\n\xff\xfe\nI 5 ok\n";
    append_bytes(path, garbage, sizeof garbage - 1);
    char *long_line = malloc(100001);
    assert_non_null(long_line);
    memset(long_line, 'x', 100000);
    memcpy(long_line, "A 1 2 3 4 ", 10);
    long_line[100000] = '\n';
    append_bytes(path, long_line, 100001);
    free(long_line);
    m = open_place(&place);
    assert_int_equal(cli_manifest_acknowledged(m), 0);
    assert_null(cli_manifest_find(m, "k"));
    assert_non_null(cli_manifest_find(m, "ok"));
    cli_manifest_close(m);
}

static void test_forget(void **state)
{
    (void)state;
    struct cli_manifest *m = open_place(&place);
    ack(m, "a.jpg", 1, 1);
    cli_manifest_close(m);
    m = open_place(&place);
    assert_int_equal(cli_manifest_forget(m, NULL), ERR_OK);
    assert_int_equal(cli_manifest_acknowledged(m), 0);
    assert_false(cli_manifest_find(m, "a.jpg")->acknowledged);
    ack(m, "b.jpg", 2, 1);
    cli_manifest_close(m);
    m = open_place(&place);
    assert_int_equal(cli_manifest_acknowledged(m), 1);
    assert_false(cli_manifest_find(m, "a.jpg")->acknowledged);
    assert_int_equal(cli_manifest_find(m, "a.jpg")->fileid, 1); /* the number stays its own */
    cli_manifest_close(m);
}

/* Many runs do not make the file grow without end, and nothing is lost when it is written anew. */
static void test_compacts(void **state)
{
    (void)state;
    struct stat st;
    struct cli_manifest *m = open_place(&place);
    ack(m, "forgotten \\ \n.jpg", 5, 5);
    ack(m, "back again.jpg", 6, 6);
    assert_int_equal(cli_manifest_forget(m, NULL), ERR_OK);
    assert_int_equal(cli_manifest_assign(m, "assigned.jpg", 7, NULL), ERR_OK);
    ack(m, "back again.jpg", 6, 60);
    for (int i = 0; i < 3000; i++) {
        char key[32];
        snprintf(key, sizeof key, "many %d.jpg", i % 10);
        ack(m, key, 100 + i % 10, (uint64_t)i);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s", cli_manifest_path(m));
    cli_manifest_close(m);
    for (int run = 0; run < 3; run++) {
        m = open_place(&place);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size < 2000);
        assert_int_equal(cli_manifest_acknowledged(m), 11);
        for (int i = 0; i < 10; i++) {
            char key[32];
            snprintf(key, sizeof key, "many %d.jpg", i);
            const struct cli_manifest_entry *e = cli_manifest_find(m, key);
            assert_true(e && e->acknowledged && e->fileid == 100 + i && e->size == 2990u + (unsigned)i);
        }
        const struct cli_manifest_entry *e = cli_manifest_find(m, "forgotten \\ \n.jpg");
        assert_true(e && !e->acknowledged && e->fileid == 5);
        e = cli_manifest_find(m, "assigned.jpg");
        assert_true(e && !e->acknowledged && e->fileid == 7);
        assert_int_equal(cli_manifest_find(m, "back again.jpg")->size, 60);
        struct cli_manifest *second = NULL;
        assert_int_equal(
            cli_manifest_open(&place, &second, NULL), ERR_BUSY); /* the new file is locked, too */
        cli_manifest_close(m);
    }
}

static void test_no_folder(void **state)
{
    (void)state;
    struct cli_manifest *m = NULL;
    struct err err = {0};
    char path[100];
    snprintf(path, sizeof path, "%s/file", folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fclose(f);
    setenv("XDG_STATE_HOME", path, 1);
    assert_int_equal(cli_manifest_open(&place, &m, &err), ERR_IO);
    assert_null(m);
    assert_non_null(strstr(err.message, path));
    setenv("XDG_STATE_HOME", "relative", 1); /* the standard wants it ignored */
    setenv("HOME", folder, 1);
    m = open_place(&place);
    assert_ptr_equal(strstr(cli_manifest_path(m), folder), cli_manifest_path(m));
    cli_manifest_close(m);
}

static enum result count_entry(
    void *user, const struct cli_manifest_entry *entry, uint64_t owner, struct err *err)
{
    (void)err;
    int64_t *sum = user;
    *sum += entry->fileid;
    if (entry->fileid == 3)
        assert_true(owner == cli_manifest_owner("/pictures", "3"));
    return *sum > 1000000 ? ERR_INVALID : ERR_OK;
}

static void test_each(void **state)
{
    (void)state;
    struct cli_manifest *m = open_place(&place);
    for (int i = 1; i <= 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(cli_manifest_assign(m, key, i, NULL), ERR_OK);
    }
    int64_t sum = 0;
    assert_int_equal(cli_manifest_each(m, count_entry, &sum, NULL), ERR_OK);
    assert_int_equal(sum, 500500);
    sum = 1000000;
    assert_int_equal(cli_manifest_each(m, count_entry, &sum, NULL), ERR_INVALID);
    cli_manifest_close(m);
    assert_int_not_equal(cli_manifest_owner("/a", "b"), cli_manifest_owner("/c", "b"));
}

static void *acknowledge(void *user)
{
    struct cli_manifest *m = user;
    static const char prefix[] = "thread";
    for (int i = 0; i < 200; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s %" PRIuPTR " %d", prefix, (uintptr_t)pthread_self(), i);
        ack(m, key, i, 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct cli_manifest *m = open_place(&place);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, acknowledge, m), 0);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "main %d", i);
        assert_int_equal(cli_manifest_assign(m, key, i, NULL), ERR_OK);
        assert_int_equal(cli_manifest_sync(m, NULL), ERR_OK);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cli_manifest_close(m);
    m = open_place(&place);
    assert_int_equal(cli_manifest_acknowledged(m), 800);
    assert_non_null(cli_manifest_find(m, "main 99"));
    cli_manifest_close(m);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_remembers), TEST(test_places_are_apart), TEST(test_locked),
        TEST(test_cut_off), TEST(test_every_cut), TEST(test_garbage), TEST(test_forget), TEST(test_compacts),
        TEST(test_no_folder), TEST(test_each), TEST(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
