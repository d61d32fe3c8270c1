#include "support.h"

#include "base/clock.h"

#include <ftw.h>
#include <json-c/json.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 * A RAM disk where there is one with room: what these tests prove does not depend on the disk, and fsync
 * takes time.
 */
static const char *base_folder(void)
{
    struct statvfs fs;
    const char *given = getenv("TMPDIR");
    if (given && *given)
        return given;
    if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &fs) == 0 &&
        fs.f_bavail * fs.f_frsize > 256u << 20)
        return "/dev/shm";
    return "/tmp";
}

char *test_folder(void)
{
    const char *base = base_folder();
    size_t size = strlen(base) + 32;
    char *folder = malloc(size);
    assert_non_null(folder);
    snprintf(folder, size, "%s/lookalike-test-XXXXXX", base);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

void test_folder_remove(char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

const char *test_path(const char *folder, const char *name)
{
    static _Thread_local char paths[8][1024];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

uint32_t test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

void test_small_vector(uint64_t *state, float *v, uint32_t dimension)
{
    for (uint32_t i = 0; i < dimension; i++)
        v[i] = (float)((int)(test_random(state) % 7) - 3);
}

void test_ok(enum result r, const struct err *err, const char *file, int line)
{
    if (r) {
        print_error("%s:%d: %s: %s\n", file, line, err_name(r), err->message);
        _fail(file, line);
    }
}

void test_refused(
    enum result r, enum result want, const struct err *err, const char *part, const char *file, int line)
{
    if (r != want || err->code != want || !strstr(err->message, part)) {
        print_error("%s:%d: %s, not %s; \"%s\" should have \"%s\" in it\n", file, line, err_name(r),
            err_name(want), err->message, part);
        _fail(file, line);
    }
}

const char *test_backend = "memory";

/* The address is given: who starts a Milvus for the tests is tests/store/milvus/. */
static void open_milvus(struct test_fixture *f)
{
    struct store_milvus_options options = {.uri = getenv("LOOKALIKE_TEST_MILVUS"), .data = f->folder, .timeout_ms = 120000};
    if (!options.uri) {
        print_error("LOOKALIKE_TEST_MILVUS is to be the address of a Milvus for tests: what is in it will be dropped\n");
        fail();
    }
    OK(store_open_milvus(&options, &f->store, err));
}

void test_open_store(struct test_fixture *f)
{
    struct store_open_options options = {.data = f->folder};
    if (!strcmp(test_backend, "memory"))
        OK(store_open_memory(&f->store, err));
    else if (!strcmp(test_backend, "milvus"))
        open_milvus(f);
    else
        OK(store_open_embedded(&options, &f->store, err));
}

/* A Milvus is one for all tests: what the last one left goes. */
static void drop_all(struct store *store)
{
    char **names = NULL;
    size_t count = 0;
    OK(store_list(store, &names, &count, err));
    for (size_t i = 0; i < count; i++)
        OK(store_drop(store, names[i], 0, err));
    free(names);
}

bool test_bytes_kept(void)
{
    return strcmp(test_backend, "milvus") != 0;
}

int64_t test_largest_fileid(void)
{
    return strcmp(test_backend, "milvus") ? INT64_MAX : INT64_MAX - 1;
}

void test_same_json(const char *a, const char *b)
{
    if (test_bytes_kept()) {
        assert_string_equal(a, b);
        return;
    }
    struct json_object *x = json_tokener_parse(a), *y = json_tokener_parse(b);
    assert_true(x && y && json_object_equal(x, y));
    json_object_put(x);
    json_object_put(y);
}

int test_setup(void **state)
{
    struct test_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = test_folder();
    test_open_store(f);
    if (!strcmp(test_backend, "milvus"))
        drop_all(f->store);
    *state = f;
    return 0;
}

int test_teardown(void **state)
{
    struct test_fixture *f = *state;
    store_close(f->store);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

struct store *test_store_of(void **state)
{
    struct test_fixture *f = *state;
    return f->store;
}

void test_create(struct store *store, const char *collection, uint32_t dimension, enum store_metric metric)
{
    struct store_settings settings = {
        .model = "some-model", .dimension = dimension, .metric = metric, .thumbnails = true};
    OK(store_create(store, collection, &settings, CLOCK_NO_DEADLINE, err));
}

enum result test_put(struct store *store, const char *collection, int64_t fileid, const int64_t *itemid,
    const float *vector, struct err *err)
{
    char brief[64];
    snprintf(brief, sizeof brief, "{\"n\":%lld}", (long long)fileid);
    struct store_write w = {.kind = STORE_PUT,
        .fileid = fileid,
        .has_itemid = itemid != NULL,
        .itemid = itemid ? *itemid : 0,
        .tags = "[]",
        .brief = brief,
        .vector = vector};
    return store_write(store, collection, &w, 1, CLOCK_NO_DEADLINE, err);
}

enum result test_delete(struct store *store, const char *collection, int64_t fileid, struct err *err)
{
    struct store_write w = {.kind = STORE_DELETE, .fileid = fileid};
    return store_write(store, collection, &w, 1, CLOCK_NO_DEADLINE, err);
}

uint64_t test_count(struct store *store, const char *collection)
{
    uint64_t n = UINT64_MAX;
    OK(store_count(store, collection, CLOCK_NO_DEADLINE, &n, err));
    return n;
}
