/* Backup, restore and repair of the embedded store, under writes, interruptions and damage. */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "store/backup.h"
#include "store/embedded/vectors.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 1280 /* so that a few thousand records are more than one piece */

static char *folder, *kept;
static struct store *store;

static void open_store(void)
{
    struct store_open_options options = {.data = folder};
    OK(store_open_embedded(&options, &store, err));
}

static int setup(void **state)
{
    folder = test_folder();
    kept = test_folder();
    open_store();
    return 0;
}

static int teardown(void **state)
{
    store_close(store);
    test_folder_remove(folder);
    test_folder_remove(kept);
    return 0;
}

/* What record `fileid` is in its `version`. */
static void put(const char *collection, int64_t fileid, int version)
{
    float v[DIM];
    char brief[64], thumbnail[64];
    for (int i = 0; i < DIM; i++)
        v[i] = (float)((fileid * 7 + i * 3 + version) % 11) / 4;
    snprintf(brief, sizeof brief, "{\"version\":%d}", version);
    snprintf(thumbnail, sizeof thumbnail, "picture %lld of %d", (long long)fileid, version);
    struct store_write w = {.kind = STORE_PUT,
        .fileid = fileid,
        .tags = "[\"a\"]",
        .brief = brief,
        .vector = v,
        .thumbnail = (const uint8_t *)thumbnail,
        .thumbnail_len = strlen(thumbnail)};
    OK(store_write(store, collection, &w, 1, 0, err));
}

/* The version, after everything of the record was compared with what that version has; −1: no such record. */
static int version_of(struct store *from, const char *collection, int64_t fileid)
{
    struct store_records r = {0};
    struct buf picture;
    int version = -1;
    buf_init(&picture, 1000);
    OK(store_get_file(from, collection, fileid, 0, &r, err));
    if (r.count) {
        char want[64];
        assert_int_equal(sscanf(r.items[0].brief, "{\"version\":%d}", &version), 1);
        for (int i = 0; i < DIM; i++)
            assert_true(r.items[0].vector[i] == (float)((fileid * 7 + i * 3 + version) % 11) / 4);
        OK(store_thumbnail(from, collection, fileid, 0, &picture, err));
        snprintf(want, sizeof want, "picture %lld of %d", (long long)fileid, version);
        assert_string_equal(picture.data, want);
    }
    buf_free(&picture);
    store_records_free(&r);
    return version;
}

static struct store_backup_report back_up(void)
{
    struct store_backup_report report;
    OK(store_backup(store, kept, NULL, &report, err));
    struct store_backup_report read;
    OK(store_backup_verify(kept, NULL, &read, err));
    assert_int_equal(read.files, report.files);
    assert_int_equal(read.bytes, report.bytes);
    assert_int_equal(read.records, report.records);
    return report;
}

/* A store made of the backup alone; the caller closes it. */
static struct store *restored(char **place)
{
    struct store *s = NULL;
    struct store_backup_report report;
    *place = test_folder();
    struct store_open_options options = {.data = *place};
    struct store_restore what = {.folder = kept};
    OK(store_open_embedded(&options, &s, err));
    OK(store_restore(s, &what, NULL, &report, err));
    OK(store_check(s, NULL, NULL, err));
    return s;
}

static char said[8000];
static int damages;

static void collect(void *user, int severity, const char *collection, const char *text)
{
    size_t n = strlen(said);
    damages += severity == 2;
    snprintf(said + n, sizeof said - n, "%d %s: %s\n", severity, collection, text);
}

static void listen(void)
{
    said[0] = '\0';
    damages = 0;
}

static void flip(const char *path, off_t at)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static const char *file_of(const char *collection, const char *name)
{
    char part[400];
    snprintf(part, sizeof part, "collections/%s/%s", collection, name);
    return test_path(folder, part);
}

/* The first piece of `file` in the backup. */
static const char *piece_of(const char *collection, const char *file)
{
    char part[300], found[600] = "";
    snprintf(part, sizeof part, "collections/%s", collection);
    DIR *dir = opendir(test_path(kept, part));
    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir));)
        if (!strncmp(d->d_name, file, strlen(file)) && strstr(d->d_name, ".000000."))
            snprintf(found, sizeof found, "%s/%s", part, d->d_name);
    closedir(dir);
    assert_true(found[0]);
    return test_path(kept, found);
}

/* --- backup and restore --------------------------------------------------------------------------------- */

static void test_there_and_back(void **state)
{
    char *place;
    test_create(store, "shop", DIM, STORE_COSINE);
    test_create(store, "empty", 8, STORE_L2);
    for (int i = 0; i < 50; i++)
        put("shop", i, i % 3);
    OK(test_delete(store, "shop", 7, err));
    struct store_backup_report report = back_up();
    assert_int_equal(report.collections, 2);
    assert_int_equal(report.records, 49);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(report.files, report.new_files);

    struct store *copy = restored(&place);
    struct store_stats stats;
    OK(store_stats(copy, "shop", 0, &stats, err));
    assert_int_equal(stats.records, 49);
    assert_int_equal(stats.settings.metric, STORE_COSINE);
    assert_int_equal(stats.settings.dimension, DIM);
    for (int i = 0; i < 50; i++)
        assert_int_equal(version_of(copy, "shop", i), i == 7 ? -1 : i % 3);
    OK(store_stats(copy, "empty", 0, &stats, err));
    assert_int_equal(stats.records, 0);
    /* A restored collection is one like any other. */
    struct store *mine = store;
    store = copy;
    put("shop", 7, 9);
    assert_int_equal(version_of(copy, "shop", 7), 9);
    store = mine;
    store_close(copy);
    test_folder_remove(place);
}

static void test_incremental(void **state)
{
    test_create(store, "big", DIM, STORE_L2);
    test_create(store, "small", DIM, STORE_L2);
    put("small", 1, 1);
    /* Three pieces of vectors and a bit: 2,624 bytes a slot. */
    for (int i = 0; i < 6500; i++)
        put("big", i, 1);
    struct store_backup_report first = back_up(), again = back_up();
    assert_int_equal(first.new_files, first.files);
    assert_int_equal(again.new_files, 0);
    assert_int_equal(again.written, 0);
    assert_int_equal(again.files, first.files);
    put("big", 6499, 2);
    struct store_backup_report third = back_up();
    assert_int_equal(version_of(store, "big", 6499), 2);
    /* One piece of vectors, meta.db and pictures.db; nothing of `small`. */
    assert_in_range(third.new_files, 1, 3);
    assert_true(third.written < first.written / 2);
    /* Pieces that nothing names are gone: as many files as the manifest says. */
    unsigned files = 0;
    const char *const names[] = {"collections/big", "collections/small"};
    for (size_t i = 0; i < 2; i++) {
        DIR *dir = opendir(test_path(kept, names[i]));
        assert_non_null(dir);
        for (const struct dirent *d; (d = readdir(dir));)
            files += d->d_name[0] != '.';
        closedir(dir);
    }
    assert_int_equal(files, third.files);
    char *place;
    struct store *copy = restored(&place);
    assert_int_equal(version_of(copy, "big", 6499), 2);
    assert_int_equal(version_of(copy, "big", 6498), 1);
    store_close(copy);
    test_folder_remove(place);
    /* A dropped collection leaves the next backup. */
    OK(store_drop(store, "small", 0, err));
    assert_int_equal(back_up().collections, 1);
    assert_int_equal(access(test_path(kept, "collections/small"), F_OK), -1);
}

static atomic_bool writing;

/* Records 0…99 all at one version, then all at the next: each call changes all of them at once. */
static void *write_versions(void *user)
{
    static float v[100][DIM];
    static char brief[100][32], thumbnail[100][48];
    struct store_write w[100];
    for (int version = 1; atomic_load(&writing); version++) {
        for (int k = 0; k < 100; k++) {
            for (int i = 0; i < DIM; i++)
                v[k][i] = (float)((k * 7 + i * 3 + version) % 11) / 4;
            snprintf(brief[k], sizeof brief[k], "{\"version\":%d}", version);
            snprintf(thumbnail[k], sizeof thumbnail[k], "picture %d of %d", k, version);
            w[k] = (struct store_write){.kind = STORE_PUT,
                .fileid = k,
                .tags = "[]",
                .brief = brief[k],
                .vector = v[k],
                .thumbnail = (const uint8_t *)thumbnail[k],
                .thumbnail_len = strlen(thumbnail[k])};
        }
        OK(store_write(store, "live", w, 100, 0, err));
    }
    return NULL;
}

static void test_one_moment(void **state)
{
    pthread_t thread;
    test_create(store, "live", DIM, STORE_L2);
    for (int k = 0; k < 100; k++)
        put("live", k, 0);
    atomic_store(&writing, true);
    assert_int_equal(pthread_create(&thread, NULL, write_versions, NULL), 0);
    int different = 0, last = -1;
    for (int round = 0; round < 12; round++) {
        char *place;
        back_up();
        struct store *copy = restored(&place);
        int version = version_of(copy, "live", 0);
        for (int k = 1; k < 100; k++)
            assert_int_equal(version_of(copy, "live", k), version);
        different += version != last;
        last = version;
        store_close(copy);
        test_folder_remove(place);
    }
    atomic_store(&writing, false);
    pthread_join(thread, NULL);
    assert_true(different > 1); /* it was written meanwhile */
}

static bool stop_at_once(void *user, const char *collection, uint64_t done, uint64_t all)
{
    return false;
}

static void test_stopped(void **state)
{
    char *place;
    struct store_backup_report report;
    struct store_backup_watch stop = {.progress = stop_at_once};
    test_create(store, "shop", DIM, STORE_L2);
    put("shop", 1, 1);
    REFUSED(ERR_UNAVAILABLE, "stopped", store_backup(store, kept, &stop, &report, err));
    back_up();
    put("shop", 1, 2);
    REFUSED(ERR_UNAVAILABLE, "still whole", store_backup(store, kept, &stop, &report, err));
    struct store *copy = restored(&place);
    assert_int_equal(version_of(copy, "shop", 1), 1);
    store_close(copy);
    test_folder_remove(place);
}

static atomic_bool dropped;

static void *drop(void *user)
{
    OK(store_drop(store, "going", clock_now_ms() + 20000, err));
    atomic_store(&dropped, true);
    return NULL;
}

static bool wait_for_drop(void *user, const char *collection, uint64_t done, uint64_t all)
{
    static pthread_t thread;
    if (strcmp(collection, "going") != 0)
        return true;
    if (!*(bool *)user) {
        assert_int_equal(pthread_create(&thread, NULL, drop, NULL), 0);
        pthread_detach(thread);
        *(bool *)user = true;
    }
    /* Until the drop waits: then nobody new gets in. */
    uint64_t count;
    for (int i = 0; i < 2000 && !store_count(store, "going", clock_now_ms() + 10, &count, NULL); i++)
        usleep(1000);
    return true;
}

static void test_drop_does_not_wait(void **state)
{
    bool started = false;
    struct store_backup_report report;
    struct store_backup_watch watch = {.progress = wait_for_drop, .user = &started};
    test_create(store, "going", DIM, STORE_L2);
    test_create(store, "staying", DIM, STORE_L2);
    put("going", 1, 1);
    put("staying", 1, 1);
    OK(store_backup(store, kept, &watch, &report, err));
    assert_int_equal(report.collections, 1);
    while (!atomic_load(&dropped))
        usleep(1000);
}

static void test_damaged_backup(void **state)
{
    struct store_backup_report report;
    struct store_restore what = {.folder = kept, .collection = "shop", .as = "again"};
    test_create(store, "shop", DIM, STORE_L2);
    put("shop", 1, 1);
    back_up();
    const char *const files[] = {"meta.db", "vectors.f16", "pictures.db"};
    for (size_t i = 0; i < 3; i++) {
        flip(piece_of("shop", files[i]), 77);
        REFUSED(ERR_CORRUPT, files[i], store_backup_verify(kept, NULL, &report, err));
        REFUSED(ERR_CORRUPT, files[i], store_restore(store, &what, NULL, &report, err));
        flip(piece_of("shop", files[i]), 77);
    }
    /* Nothing is left of the attempts, and the name is free. */
    OK(store_restore(store, &what, NULL, &report, err));
    assert_int_equal(version_of(store, "again", 1), 1);

    char path[600];
    snprintf(path, sizeof path, "%s", test_path(kept, "MANIFEST"));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (off_t at = 0; at < st.st_size; at++) {
        flip(path, at);
        struct err why = {0};
        enum result r = store_backup_verify(kept, NULL, &report, &why);
        assert_true(r == ERR_CORRUPT || r == ERR_UNSUPPORTED);
        assert_true(why.message[0]);
        flip(path, at);
    }
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    REFUSED(ERR_CORRUPT, "MANIFEST", store_backup_verify(kept, NULL, &report, err));
    /* A damaged manifest does not keep the next backup from being made. */
    back_up();
}

static void test_refusals(void **state)
{
    struct store_backup_report report;
    struct store_restore what = {.folder = kept};
    test_create(store, "shop", DIM, STORE_L2);
    put("shop", 1, 1);
    REFUSED(ERR_NOT_FOUND, "no backup", store_restore(store, &what, NULL, &report, err));
    int fd = open(test_path(kept, "somebody's"), O_CREAT | O_WRONLY, 0644);
    close(fd);
    REFUSED(ERR_EXISTS, "not empty", store_backup(store, kept, NULL, &report, err));
    assert_int_equal(access(test_path(kept, "MANIFEST"), F_OK), -1);
    assert_int_equal(unlink(test_path(kept, "somebody's")), 0);
    back_up();
    REFUSED(ERR_EXISTS, "exists already", store_restore(store, &what, NULL, &report, err));
    what.collection = "nothing";
    REFUSED(ERR_NOT_FOUND, "nothing", store_restore(store, &what, NULL, &report, err));
    what.collection = "shop";
    what.as = "../shop";
    REFUSED(ERR_INVALID, "no collection's name", store_restore(store, &what, NULL, &report, err));
    what = (struct store_restore){.folder = kept, .as = "other"};
    REFUSED(ERR_INVALID, "one collection only", store_restore(store, &what, NULL, &report, err));
    char long_path[LIMIT_BACKUP_PATH + 2];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    REFUSED(ERR_INVALID, "at most", store_backup(store, long_path, NULL, &report, err));
    /* Replacing. */
    put("shop", 1, 5);
    what = (struct store_restore){.folder = kept, .replace = true};
    OK(store_restore(store, &what, NULL, &report, err));
    assert_int_equal(version_of(store, "shop", 1), 1);
    struct store *memory = NULL;
    OK(store_open_memory(&memory, err));
    REFUSED(ERR_UNSUPPORTED, "memory", store_backup(memory, kept, NULL, &report, err));
    store_close(memory);
}

static void test_damage_is_named(void **state)
{
    struct store_backup_report report;
    struct store_backup_watch watch = {.report = collect};
    test_create(store, "shop", DIM, STORE_L2);
    for (int i = 0; i < 3; i++)
        put("shop", i, 1);
    store_close(store);
    flip(file_of("shop", "vectors.f16"), 4096 + embedded_vectors_stride(DIM) + 10);
    open_store();
    listen();
    OK(store_backup(store, kept, &watch, &report, err));
    assert_int_equal(report.damaged, 1);
    assert_non_null(strstr(said, "fileid 1 "));
}

/* --- repair --------------------------------------------------------------------------------------------- */

static void sql(const char *file, const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(file_of("shop", file), &db), SQLITE_OK);
    char *problem = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &problem))
        fail_msg("%s: %s", text, problem);
    sqlite3_close(db);
}

static void closed_shop(void)
{
    test_create(store, "shop", DIM, STORE_L2);
    for (int i = 0; i < 5; i++)
        put("shop", i, 1);
    store_close(store);
    store = NULL;
}

static enum result repair(bool drop_damaged, struct err *err)
{
    open_store();
    listen();
    return store_repair(store, drop_damaged, collect, NULL, err);
}

static void test_repair_nothing(void **state)
{
    closed_shop();
    OK(repair(false, err));
    assert_string_equal(said, "");
    OK(store_check(store, NULL, NULL, err));
}

static void test_repair_vectors(void **state)
{
    closed_shop();
    flip(file_of("shop", "vectors.f16"), 4096 + 2 * embedded_vectors_stride(DIM) + 10);
    flip(file_of("shop", "vectors.f16"), 13); /* of the header */
    REFUSED(ERR_CORRUPT, "left", repair(false, err));
    assert_non_null(strstr(said, "1 shop: the header of vectors.f16 was damaged"));
    assert_non_null(strstr(said, "2 shop: the vector of fileid 2 "));
    assert_int_equal(damages, 1);
    struct err why;
    assert_int_equal(test_count(store, "shop"), 5); /* named, not dropped */
    assert_int_equal(store_check(store, NULL, NULL, &why), ERR_CORRUPT);
    store_close(store);
    OK(repair(true, err));
    assert_non_null(strstr(said, "fileid 2 is dropped"));
    OK(store_check(store, NULL, NULL, err));
    assert_int_equal(test_count(store, "shop"), 4);
    assert_int_equal(version_of(store, "shop", 3), 1);
    put("shop", 2, 8);
    assert_int_equal(version_of(store, "shop", 2), 8);
}

static void test_repair_missing_vectors(void **state)
{
    closed_shop();
    assert_int_equal(unlink(file_of("shop", "vectors.f16")), 0);
    REFUSED(ERR_CORRUPT, "left", repair(false, err));
    assert_int_equal(damages, 5);
    put("shop", 0, 3); /* adding the picture again heals the record */
    assert_int_equal(version_of(store, "shop", 0), 3);
}

static void test_repair_foreign_vectors(void **state)
{
    test_create(store, "other", DIM, STORE_L2);
    closed_shop();
    assert_int_equal(rename(file_of("other", "vectors.f16"), file_of("shop", "vectors.f16")), 0);
    REFUSED(ERR_CORRUPT, "left", repair(true, err));
    assert_non_null(strstr(said, "another collection"));
}

static void test_repair_thumbnails(void **state)
{
    closed_shop();
    sql("pictures.db", "DELETE FROM pictures WHERE fileid = 1; UPDATE pictures SET bytes = x'00' WHERE fileid = 2;"
                       "INSERT INTO pictures(id, fileid, hash, bytes) VALUES(3, 77, 0, x'00')");
    OK(repair(false, err));
    assert_non_null(strstr(said, "fileid 1 lost its thumbnail, which was missing"));
    assert_non_null(strstr(said, "fileid 2 lost its thumbnail, which was damaged"));
    struct buf b;
    buf_init(&b, 1000);
    REFUSED(ERR_NOT_FOUND, "", store_thumbnail(store, "shop", 2, 0, &b, err));
    buf_free(&b);
    assert_int_equal(version_of(store, "shop", 3), 1);
    listen();
    OK(store_check(store, collect, NULL, err));
    assert_null(strstr(said, "belongs to no record"));
}

static void test_repair_pictures(void **state)
{
    for (int way = 0; way < 2; way++) {
        closed_shop();
        if (way == 0)
            assert_int_equal(unlink(file_of("shop", "pictures.db")), 0);
        else
            for (off_t at = 0; at < 4096; at += 7)
                flip(file_of("shop", "pictures.db"), at);
        OK(repair(false, err));
        assert_non_null(strstr(said, "lost their thumbnails"));
        assert_int_equal(access(file_of("shop", "pictures.db.damaged"), F_OK), way == 0 ? -1 : 0);
        OK(store_check(store, NULL, NULL, err));
        put("shop", 1, 4);
        assert_int_equal(version_of(store, "shop", 1), 4);
        OK(store_drop(store, "shop", 0, err));
    }
}

static void test_repair_index(void **state)
{
    closed_shop();
    /* An index that lacks its rows: taken out of the schema, rows changed, put back. */
    sql("meta.db", "PRAGMA writable_schema=1; CREATE TABLE keep AS SELECT * FROM sqlite_schema WHERE name='records_item';"
                   "DELETE FROM sqlite_schema WHERE name='records_item'");
    sql("meta.db", "UPDATE records SET itemid = itemid + 1000 WHERE fileid = 3");
    sql("meta.db", "PRAGMA writable_schema=1; INSERT INTO sqlite_schema SELECT * FROM keep");
    sql("meta.db", "DROP TABLE keep");
    OK(repair(false, err));
    assert_non_null(strstr(said, "built anew"));
    OK(store_check(store, NULL, NULL, err));
    struct store_records r = {0};
    OK(store_get_item(store, "shop", 1003, 0, &r, err));
    assert_int_equal(r.count, 1);
    store_records_free(&r);
}

static void test_repair_without_meta(void **state)
{
    test_create(store, "well", DIM, STORE_L2);
    put("well", 1, 1);
    closed_shop();
    assert_int_equal(unlink(file_of("shop", "meta.db")), 0);
    REFUSED(ERR_CORRUPT, "left", repair(true, err));
    assert_non_null(strstr(said, "restore the collection from a backup"));
    assert_int_equal(version_of(store, "well", 1), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_there_and_back), T(test_incremental), T(test_one_moment), T(test_stopped),
        T(test_drop_does_not_wait), T(test_damaged_backup), T(test_refusals), T(test_damage_is_named),
        T(test_repair_nothing), T(test_repair_vectors), T(test_repair_missing_vectors), T(test_repair_foreign_vectors),
        T(test_repair_thumbnails), T(test_repair_pictures), T(test_repair_index), T(test_repair_without_meta)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
