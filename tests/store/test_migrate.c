/* store/migrate.h, from the embedded store into another one and back: `test_migrate memory`, `test_migrate milvus`. */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "store/migrate.h"

#include <inttypes.h>

#define DIM 64
#define ROWS 2300 /* more than two pages */

static char *folder, *back_folder;
static struct store *here, *back;
static struct test_fixture other;

static struct store *open_embedded(char *data)
{
    struct store *store = NULL;
    struct store_open_options options = {.data = data};
    OK(store_open_embedded(&options, &store, err));
    return store;
}

static int setup(void **state)
{
    void *fixture = NULL;
    folder = test_folder();
    back_folder = test_folder();
    here = open_embedded(folder);
    back = open_embedded(back_folder);
    assert_int_equal(test_setup(&fixture), 0); /* also drops what a Milvus has */
    other = *(struct test_fixture *)fixture;
    free(fixture);
    return 0;
}

static int teardown(void **state)
{
    store_close(here);
    store_close(back);
    store_close(other.store);
    test_folder_remove(folder);
    test_folder_remove(back_folder);
    test_folder_remove(other.folder);
    return 0;
}

static int64_t fileid_of(int i)
{
    return i == 0 ? INT64_MIN : i == 1 ? test_largest_fileid() : (int64_t)i * 1000003 - 1000000000;
}

static void put(struct store *store, int i, int version)
{
    static const char *const tags[] = {"[]", "[\"a\"]", "[\"日本\",\"\",\"x\\\"y\"]"};
    float v[DIM];
    char brief[160], thumbnail[32];
    for (int j = 0; j < DIM; j++)
        v[j] = (float)((i * 7 + j * 3 + version) % 11) / 3; /* not exact in 16 bits */
    snprintf(brief, sizeof brief, "{\"i\":%d,\"v\":%d,\"big\":9007199254740993,\"f\":0.1,\"deep\":{\"n\":null,\"l\":[1,\"é\",true]}}", i, version);
    snprintf(thumbnail, sizeof thumbnail, "picture %d of %d", i, version);
    struct store_write w = {.kind = STORE_PUT, .fileid = fileid_of(i), .has_itemid = true, .itemid = i / 3 - 5, .tags = tags[i % 3],
        .brief = brief, .vector = v, .thumbnail = (const uint8_t *)thumbnail, .thumbnail_len = i % 2 ? strlen(thumbnail) : 0};
    OK(store_write(store, "c", &w, 1, 0, err));
}

static void fill(void)
{
    test_create(here, "c", DIM, STORE_L2);
    for (int i = 0; i < ROWS; i++)
        put(here, i, 0);
}

static struct store_migrate_report migrate(struct store *from, struct store *to, bool only_compare)
{
    struct store_migrate_report report;
    struct store_migrate m = {.from = from, .to = to, .collection = "c", .sample = 300, .only_compare = only_compare};
    OK(store_migrate(&m, &report, err));
    return report;
}

static void test_there_and_back(void **state)
{
    fill();
    struct store_migrate_report r = migrate(here, other.store, false);
    assert_int_equal(r.records, ROWS);
    assert_int_equal(r.written, ROWS);
    assert_true(r.source == ROWS && r.target == ROWS && r.extra == 0 && r.sampled == 300 && r.different == 0);
    r = migrate(here, other.store, false); /* nothing is left to do */
    assert_true(r.records == ROWS && r.written == 0 && r.different == 0);
    r = migrate(other.store, back, false);
    assert_true(r.written == ROWS && r.source == ROWS && r.target == ROWS && r.different == 0);
    r = migrate(here, back, true); /* every record, not a sample */
    assert_true(r.records == ROWS && r.written == 0 && r.extra == 0);
    struct store_settings settings;
    OK(store_settings(back, "c", &settings, err));
    assert_string_equal(settings.model, "some-model");
    assert_true(settings.dimension == DIM && settings.metric == STORE_L2 && settings.thumbnails);
    for (int i = 1; i < ROWS; i += 500) {
        struct buf a, b;
        buf_init(&a, LIMIT_KIB);
        buf_init(&b, LIMIT_KIB);
        enum result want = store_thumbnail(here, "c", fileid_of(i), 0, &a, NULL);
        assert_int_equal(store_thumbnail(back, "c", fileid_of(i), 0, &b, NULL), want);
        assert_true(want || (a.len == b.len && memcmp(a.data, b.data, a.len) == 0));
        buf_free(&a);
        buf_free(&b);
    }
}

static bool stop_at_once(void *user, uint64_t done, uint64_t all)
{
    *(uint64_t *)user = done;
    assert_int_equal(all, ROWS);
    return false;
}

static void test_goes_on_where_it_was_stopped(void **state)
{
    fill();
    uint64_t done = 0;
    struct store_migrate_report r;
    struct store_migrate m = {
        .from = here, .to = other.store, .collection = "c", .sample = 10, .progress = stop_at_once, .user = &done};
    REFUSED(ERR_UNAVAILABLE, "goes on", store_migrate(&m, &r, err));
    assert_true(done > 0 && done < ROWS && r.written == done);
    assert_int_equal(test_count(other.store, "c"), done);
    m.progress = NULL;
    OK(store_migrate(&m, &r, err));
    assert_int_equal(r.written, ROWS - done);
    assert_true(r.target == ROWS && r.different == 0);
}

static unsigned notes;

static void count_notes(void *user, const char *text)
{
    assert_true(*text != '\0');
    notes++;
}

static void test_what_differs_is_seen_and_mended(void **state)
{
    fill();
    struct store_migrate_report r = migrate(here, other.store, false);
    struct store_write w = {.kind = STORE_UPDATE, .fileid = fileid_of(7), .tags = "[\"changed\"]"};
    OK(store_write(other.store, "c", &w, 1, 0, err));
    OK(test_delete(other.store, "c", fileid_of(8), err));
    put(other.store, 9, 1); /* another vector and brief */
    put(other.store, ROWS + 1, 0);
    put(other.store, ROWS + 2, 0); /* behind the last one of the source */
    struct store_migrate m = {.from = here, .to = other.store, .collection = "c", .only_compare = true, .note = count_notes};
    OK(store_migrate(&m, &r, err));
    assert_true(r.written == 3 && r.extra == 2 && r.source == ROWS && r.target == ROWS + 1);
    assert_int_equal(notes, 4);
    assert_int_equal(test_count(other.store, "c"), ROWS + 1); /* nothing was written */
    r = migrate(here, other.store, false);
    assert_true(r.written == 3 && r.extra == 2 && r.different == 0 && r.target == ROWS + 2);
}

static void test_another_collection_is_refused(void **state)
{
    struct store_migrate_report r;
    struct store_migrate m = {.from = here, .to = other.store, .collection = "c"};
    REFUSED(ERR_NOT_FOUND, "\"c\"", store_migrate(&m, &r, err));
    test_create(here, "c", 4, STORE_L2);
    test_create(other.store, "c", 5, STORE_L2);
    REFUSED(ERR_INVALID, "5 dimensions", store_migrate(&m, &r, err));
    OK(store_drop(other.store, "c", 0, err));
    test_create(other.store, "c", 4, STORE_IP);
    REFUSED(ERR_INVALID, "IP", store_migrate(&m, &r, err));
    OK(store_drop(other.store, "c", 0, err));
    struct store_settings settings = {.model = "another", .dimension = 4};
    OK(store_create(other.store, "c", &settings, 0, err));
    REFUSED(ERR_INVALID, "another", store_migrate(&m, &r, err));
    OK(store_drop(other.store, "c", 0, err));
    m.only_compare = true; /* makes nothing */
    REFUSED(ERR_NOT_FOUND, "\"c\"", store_migrate(&m, &r, err));
    assert_int_equal(store_count(other.store, "c", 0, &(uint64_t){0}, NULL), ERR_NOT_FOUND);
}

int main(int argc, char **argv)
{
    test_backend = argc > 1 ? argv[1] : "memory";
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_there_and_back), T(test_goes_on_where_it_was_stopped), T(test_what_differs_is_seen_and_mended),
        T(test_another_collection_is_refused),
    };
    return _cmocka_run_group_tests(test_backend, tests, sizeof tests / sizeof *tests, NULL, NULL);
}
