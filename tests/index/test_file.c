/* The derived file: what is saved comes back, and what is not what was written is refused, whichever byte it
 * is. */
#include "support.h"

#include "index/file.h"
#include "kernel/kernel.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY 0x1234567890abcdefu

/* How many bytes of a file are damaged in turn: each near its ends, and every so many in between. */
#ifdef __SANITIZE_THREAD__ /* fifty times slower, and there is one thread */
#define EDGE_STEP 7
#define STEP 997
#define ROWS 2400 /* with a ninth deleted still enough for a graph */
#else
#define EDGE_STEP 1
#define STEP 61
#define ROWS 4000
#endif

static char folder[] = "/tmp/index-test-XXXXXX";
static char path[64];

static int set_up(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/graph", folder);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    return rmdir(folder); /* nothing was left beside it */
}

static enum result load(const struct world *w, unsigned threads, struct index **out, uint64_t *generation)
{
    struct index_settings s = {.dimension = w->dimension, .metric = w->metric, .threads = threads};
    struct err err = {0};
    enum result r = index_load(&s, path, IDENTITY, out, generation, &err);
    assert_true(r == ERR_OK || strlen(err.message) > 10);
    return r;
}

static void round_trip(uint32_t dimension, uint32_t count, bool settled)
{
    struct world w;
    world_init(&w, dimension, count);
    struct index *ix = world_index(&w, 0), *again = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct index_row row = {
            .slot = i, .item = w.items[i], .stamp = i + 7u, .vector = world_vector(&w, i), .defer = !settled};
        assert_int_equal(index_insert(ix, &row, NULL), ERR_OK);
    }
    for (uint32_t i = 0; i < count; i += 9) {
        index_delete(ix, i);
        w.alive[i] = 0;
    }
    uint64_t generation = 0, stamp;
    assert_int_equal(index_save(ix, path, IDENTITY, 42, NULL), ERR_OK);
    assert_int_equal(load(&w, 0, &again, &generation), ERR_OK);
    assert_int_equal(generation, 42);
    world_check(again);
    for (uint32_t i = 0; i < count; i++) {
        int64_t item;
        assert_int_equal(index_find(again, i, &stamp, &item), w.alive[i]);
        if (w.alive[i])
            assert_true(stamp == i + 7u && item == w.items[i]);
    }
    struct index_stats a, b;
    index_stats(ix, &a);
    index_stats(again, &b);
    assert_int_equal(a.live, b.live);
    assert_int_equal(a.waiting, b.waiting);
    assert_int_equal(a.graph, b.graph);
    if (count)
        assert_true(world_recalls(&w, again, world_ask(&w, NULL, 10), 30) >= 0.98);
    /* Life goes on. */
    for (uint32_t i = 0; i < count; i += 3) {
        world_renew(&w, i);
        world_insert(&w, again, i);
        w.alive[i] = 1;
    }
    assert_int_equal(index_settle(again, 2, NULL), ERR_OK);
    world_check(again);
    if (count)
        assert_true(world_recalls(&w, again, world_ask(&w, NULL, 10), 30) >= 0.98);
    index_free(ix);
    index_free(again);
    world_free(&w);
}

static void test_round_trip(void **state)
{
    round_trip(64, ROWS, true);
    round_trip(64, ROWS, false);
    round_trip(100, 257, true);
    round_trip(3, 1, true);
    round_trip(8, 0, true);
}

/* A walk gives the same hits before and after. */
static void test_same_answers(void **state)
{
    struct world w;
    world_init(&w, 64, ROWS);
    struct index *ix = world_index(&w, 0), *again = NULL;
    world_insert_all(&w, ix);
    uint64_t generation;
    assert_int_equal(index_settle(ix, 1, NULL), ERR_OK);
    assert_int_equal(index_save(ix, path, IDENTITY, 1, NULL), ERR_OK);
    assert_int_equal(load(&w, 2, &again, &generation), ERR_OK);
    for (int i = 0; i < 50; i++) {
        float v[64];
        struct index_hit a[20], b[20];
        uint32_t na, nb;
        world_query(&w, v);
        struct index_query q = world_ask(&w, v, 20);
        q.ef = 25;
        assert_int_equal(index_search(ix, &q, a, &na, NULL, NULL), ERR_OK);
        assert_int_equal(index_search(again, &q, b, &nb, NULL, NULL), ERR_OK);
        assert_true(na == 20 && nb == 20);
        for (int j = 0; j < 20; j++)
            assert_true(a[j].slot == b[j].slot && a[j].distance == b[j].distance);
    }
    index_free(ix);
    index_free(again);
    world_free(&w);
}

static char *read_file(size_t *len)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *bytes = malloc((size_t)st.st_size + 8);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *len = (size_t)st.st_size;
    return bytes;
}

static void write_file(const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static void test_damage(void **state)
{
    struct world w;
    struct index *ix = NULL, *none = NULL;
    uint64_t generation = 5;
    size_t len;
    world_init(&w, 8, 300); /* two blocks, the second one mostly empty */
    ix = world_index(&w, 0);
    world_insert_all(&w, ix);
    assert_int_equal(index_save(ix, path, IDENTITY, 1, NULL), ERR_OK);
    char *bytes = read_file(&len);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t i = 0; i < len; i += i < 200 || i + 200 > len ? EDGE_STEP : STEP) {
        char other = (char)(bytes[i] ^ (1 << (i % 8)));
        assert_int_equal(pwrite(fd, &other, 1, (off_t)i), 1);
        if (load(&w, 0, &none, &generation) != ERR_CORRUPT)
            fail_msg("byte %zu of %zu is not under a checksum", i, len);
        assert_int_equal(pwrite(fd, bytes + i, 1, (off_t)i), 1);
    }
    close(fd);
    static const size_t lens[] = {0, 1, 63, 64, 65, 1000, 5000};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        write_file(bytes, lens[i]);
        assert_int_equal(load(&w, 0, &none, &generation), ERR_CORRUPT);
    }
    write_file(bytes, len - 1);
    assert_int_equal(load(&w, 0, &none, &generation), ERR_CORRUPT);
    bytes[len] = 0;
    write_file(bytes, len + 1);
    assert_int_equal(load(&w, 0, &none, &generation), ERR_CORRUPT);
    /* Two blocks that changed places. */
    size_t block = index_file_block_bytes(&ix->shape) + 8;
    char *swapped = malloc(len);
    assert_non_null(swapped);
    memcpy(swapped, bytes, len);
    memcpy(swapped + len - block, bytes + len - 2 * block, block);
    memcpy(swapped + len - 2 * block, bytes + len - block, block);
    write_file(swapped, len);
    assert_int_equal(load(&w, 0, &none, &generation), ERR_CORRUPT);
    free(swapped);
    assert_null(none);
    assert_int_equal(generation, 5);
    write_file(bytes, len);
    assert_int_equal(load(&w, 0, &none, &generation), ERR_OK);
    index_free(none);
    free(bytes);
    index_free(ix);
    world_free(&w);
}

static void test_not_ours(void **state)
{
    struct world w;
    struct index *ix = NULL, *none = NULL;
    struct err err = {0};
    uint64_t generation;
    world_init(&w, 8, 10);
    unlink(path);
    assert_int_equal(load(&w, 0, &none, &generation), ERR_NOT_FOUND);
    ix = world_index(&w, 0);
    assert_int_equal(index_save(ix, path, IDENTITY, 1, NULL), ERR_OK);
    struct index_settings s = {.dimension = 8};
    assert_int_equal(index_load(&s, path, IDENTITY + 1, &none, &generation, &err), ERR_CORRUPT);
    s.dimension = 9;
    assert_int_equal(index_load(&s, path, IDENTITY, &none, &generation, &err), ERR_CORRUPT);
    s.dimension = 8;
    s.metric = INDEX_COSINE;
    assert_int_equal(index_load(&s, path, IDENTITY, &none, &generation, &err), ERR_CORRUPT);
    assert_int_equal(index_load(&s, folder, IDENTITY, &none, &generation, &err), ERR_CORRUPT);
    /* Saving where nothing can be saved leaves the old file as it was. */
    char nowhere[96];
    snprintf(nowhere, sizeof nowhere, "%s/none/graph", folder);
    assert_int_equal(index_save(ix, nowhere, IDENTITY, 2, &err), ERR_IO);
    char *name = malloc(5000);
    assert_non_null(name);
    memset(name, 'a', 4999);
    name[4999] = 0;
    assert_int_equal(index_save(ix, name, IDENTITY, 2, &err), ERR_INVALID);
    free(name);
    snprintf(nowhere, sizeof nowhere, "%s.new", path);
    assert_int_equal(mkdir(nowhere, 0700), 0);
    assert_int_equal(index_save(ix, path, IDENTITY, 2, &err), ERR_IO);
    assert_int_equal(rmdir(nowhere), 0);
    assert_int_equal(load(&w, 0, &none, &generation), ERR_OK);
    assert_int_equal(generation, 1);
    index_free(none);
    index_free(ix);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_answers),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_not_ours),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
