/*
 * Stores of every released format open, hold what they held, take writes, and can be backed up and restored. Each
 * formats/NAME.tar.gz was made by the program of its time (make.sh); NAME are the arguments.
 */
#include "formats/content.h"
#include "support.h"

#include "base/clock.h"
#include "store/backup.h"

#include <stdlib.h>

static const char *source, *name; /* folder of the archives, and which */
static char *folder, *kept;
static struct store *store;

static int setup(void **state)
{
    char command[1200];
    folder = test_folder();
    kept = test_folder();
    snprintf(command, sizeof command, "tar -C '%s' -xzf '%s/%s.tar.gz'", folder, source, name);
    assert_int_equal(system(command), 0);
    struct store_open_options options = {.data = test_path(folder, "data")};
    OK(store_open_embedded(&options, &store, err));
    return 0;
}

static int teardown(void **state)
{
    store_close(store);
    test_folder_remove(folder);
    test_folder_remove(kept);
    return 0;
}

static void compare(struct store *from, const char *collection, int i, bool thumbnails)
{
    struct format_record want;
    struct store_records r = {0};
    format_record(i, &want);
    OK(store_get_file(from, collection, want.fileid, 0, &r, err));
    assert_int_equal(r.count, !format_is_deleted(i));
    if (r.count) {
        assert_int_equal(r.items[0].fileid, want.fileid);
        assert_int_equal(r.items[0].itemid, want.itemid);
        assert_string_equal(r.items[0].tags, want.tags);
        assert_string_equal(r.items[0].brief, want.brief);
        assert_memory_equal(r.items[0].vector, want.vector, sizeof want.vector);
        struct buf picture;
        buf_init(&picture, 1000);
        if (thumbnails) {
            OK(store_thumbnail(from, collection, want.fileid, 0, &picture, err));
            assert_string_equal(picture.data, want.thumbnail);
        } else {
            REFUSED(ERR_NOT_FOUND, "", store_thumbnail(from, collection, want.fileid, 0, &picture, err));
        }
        buf_free(&picture);
    }
    store_records_free(&r);
}

static void compare_all(struct store *from)
{
    struct store_settings settings;
    for (int which = 0; which < 2; which++) {
        const char *collection = which ? "vectors" : "pictures";
        OK(store_settings(from, collection, &settings, err));
        assert_string_equal(settings.model, "a model");
        assert_int_equal(settings.dimension, FORMAT_DIM);
        assert_int_equal(settings.metric, STORE_COSINE);
        assert_int_equal(settings.thumbnails, which == 0);
        for (int i = 0; i < FORMAT_RECORDS; i++)
            compare(from, collection, i, which == 0);
        assert_int_equal(test_count(from, collection), FORMAT_RECORDS - 3);
    }
}

static void test_reads(void **state)
{
    compare_all(store);
    OK(store_check(store, NULL, NULL, err));
    OK(store_repair(store, false, NULL, NULL, err));
}

static void test_finds(void **state)
{
    struct format_record r;
    struct store_records hits = {0};
    format_record(4, &r);
    struct store_query q = {.vector = r.vector, .limit = 3};
    OK(store_search(store, "pictures", &q, 0, &hits, err));
    assert_int_equal(hits.count, 3);
    assert_true(hits.items[0].distance > 0.999f);
    store_records_free(&hits);
}

static void test_takes_writes(void **state)
{
    struct format_record r;
    format_record(9, &r); /* one that was deleted */
    struct store_write w = {.kind = STORE_PUT, .fileid = 9, .tags = "[]", .brief = "{}", .vector = r.vector};
    OK(store_write(store, "pictures", &w, 1, 0, err));
    store_close(store);
    struct store_open_options options = {.data = test_path(folder, "data")};
    OK(store_open_embedded(&options, &store, err));
    assert_int_equal(test_count(store, "pictures"), FORMAT_RECORDS - 2);
    OK(store_check(store, NULL, NULL, err));
}

static void test_backup(void **state)
{
    struct store_backup_report report;
    struct store *copy = NULL;
    struct store_restore what = {.folder = kept};
    OK(store_backup(store, kept, NULL, &report, err));
    struct store_open_options options = {.data = test_path(folder, "copy")};
    OK(store_open_embedded(&options, &copy, err));
    OK(store_restore(copy, &what, NULL, &report, err));
    compare_all(copy);
    store_close(copy);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_reads), T(test_finds), T(test_takes_writes), T(test_backup)};
    if (argc != 3)
        return 2;
    source = argv[1];
    name = argv[2];
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
