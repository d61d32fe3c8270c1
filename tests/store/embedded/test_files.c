/* The files of the embedded store: the lock, leftovers, newer versions, and damage anywhere. */
#include "support.h"

#include "base/clock.h"
#include "base/limits.h"
#include "store/embedded/records.h"
#include "store/embedded/vectors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIM 40

static char *folder;
static struct store *store;

static void open_store(void)
{
    struct store_open_options options = {.data = folder};
    OK(store_open_embedded(&options, &store, err));
}

static void reopen(void)
{
    store_close(store);
    open_store();
}

static int setup(void **state)
{
    folder = test_folder();
    open_store();
    return 0;
}

static int teardown(void **state)
{
    store_close(store);
    test_folder_remove(folder);
    return 0;
}

static const char *file_of(const char *collection, const char *name)
{
    char part[400];
    snprintf(part, sizeof part, "collections/%s/%s", collection, name);
    return test_path(folder, part);
}

static void vector_of(int64_t fileid, float *v)
{
    for (int i = 0; i < DIM; i++)
        v[i] = (float)((fileid * 7 + i * 3) % 11) / 4;
}

/* Records 0…n−1 with thumbnails, in slots 0…n−1. */
static void fill(const char *collection, int n)
{
    struct store_write *w = calloc((size_t)n, sizeof *w);
    float *v = calloc((size_t)n * DIM, sizeof *v);
    assert_true(w && v);
    for (int i = 0; i < n; i++) {
        vector_of(i, v + i * DIM);
        w[i] = (struct store_write){.kind = STORE_PUT,
            .fileid = i,
            .tags = "[]",
            .brief = "{}",
            .vector = v + i * DIM,
            .thumbnail = (const uint8_t *)"a picture",
            .thumbnail_len = 9};
    }
    OK(store_write(store, collection, w, (size_t)n, 0, err));
    free(w);
    free(v);
}

static size_t search_all(const char *collection, int64_t without)
{
    float v[DIM];
    vector_of(0, v);
    struct store_query q = {.vector = v, .limit = 1000};
    struct store_records r = {0};
    OK(store_search(store, collection, &q, 0, &r, err));
    size_t n = r.count;
    for (size_t i = 0; i < n; i++)
        assert_true(r.items[i].fileid != without);
    store_records_free(&r);
    return n;
}

static void flip(const char *path, off_t at, uint8_t bits)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static char check_text[20000];
static int check_damages;

static void collect(void *user, int severity, const char *collection, const char *text)
{
    size_t n = strlen(check_text);
    check_damages += severity == 2;
    snprintf(check_text + n, sizeof check_text - n, "%d %s: %s\n", severity, collection, text);
}

static enum result check(struct err *err)
{
    check_text[0] = '\0';
    check_damages = 0;
    return store_check(store, collect, NULL, err);
}

static uint64_t damaged(const char *collection)
{
    struct store_stats stats;
    OK(store_stats(store, collection, 0, &stats, err));
    return stats.damaged;
}

/* --- the lock ------------------------------------------------------------------------------------------- */

static void test_lock(void **state)
{
    struct store_open_options options = {.data = folder};
    struct store *second = NULL;
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    REFUSED(ERR_BUSY, pid, store_open_embedded(&options, &second, err));
    assert_null(second);
    options.deadline_ms = clock_now_ms() + 60;
    int64_t start = clock_now_ms();
    REFUSED(ERR_BUSY, pid, store_open_embedded(&options, &second, err));
    assert_true(clock_now_ms() - start >= 50);
    /* Another process as well; and it lets go when it dies. */
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    store_close(store);
    pid_t child = fork();
    if (child == 0) {
        struct store_open_options mine = {.data = folder};
        char result = (char)store_open_embedded(&mine, &second, NULL);
        if (write(ready[1], &result, 1) != 1)
            _exit(1);
        pause();
    }
    char result = 1;
    assert_int_equal(read(ready[0], &result, 1), 1);
    assert_int_equal(result, 0);
    snprintf(pid, sizeof pid, "process %ld", (long)child);
    options.deadline_ms = 0;
    REFUSED(ERR_BUSY, pid, store_open_embedded(&options, &store, err));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    open_store();
}

static void test_data_folder(void **state)
{
    struct store *other = NULL;
    char deep[400];
    snprintf(deep, sizeof deep, "%s/a/b/c", folder);
    struct store_open_options options = {.data = deep};
    OK(store_open_embedded(&options, &other, err)); /* parents are made as well */
    store_close(other);
    memset(deep, 'x', sizeof deep);
    snprintf(deep, sizeof deep, "%s/%0210d", folder, 1);
    REFUSED(ERR_INVALID, "path", store_open_embedded(&options, &other, err));
    int fd = open(test_path(folder, "plain"), O_CREAT | O_WRONLY, 0644);
    close(fd);
    options.data = test_path(folder, "plain");
    REFUSED(ERR_IO, "plain", store_open_embedded(&options, &other, err));
    options.data = "";
    REFUSED(ERR_INVALID, "path", store_open_embedded(&options, &other, err));
}

static size_t entries(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static void test_leftovers(void **state)
{
    test_create(store, "kept", DIM, STORE_L2);
    store_close(store);
    mkdir(test_path(folder, "collections/.new-7"), 0755);
    mkdir(test_path(folder, "collections/.trash-3"), 0755);
    mkdir(test_path(folder, "collections/.trash-3/derived"), 0755);
    mkdir(test_path(folder, "collections/not a name"), 0755);
    const char *files[] = {"collections/.new-7/meta.db", "collections/.trash-3/vectors.f16",
        "collections/.trash-3/derived/graph"};
    for (size_t i = 0; i < 3; i++)
        close(open(test_path(folder, files[i]), O_CREAT | O_WRONLY, 0644));
    open_store();
    assert_int_equal(entries(test_path(folder, "collections")), 2); /* what is not ours is left alone */
    char **names = NULL;
    size_t count = 0;
    OK(store_list(store, &names, &count, err));
    assert_int_equal(count, 1);
    free(names);
    OK(store_drop(store, "kept", 0, err));
    assert_int_equal(entries(test_path(folder, "collections")), 1); /* a drop removes its files at once */
}

/* --- versions, missing files ---------------------------------------------------------------------------- */

static void sql(const char *path, const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_newer_format(void **state)
{
    uint64_t n;
    test_create(store, "c", DIM, STORE_L2);
    store_close(store);
    sql(file_of("c", "meta.db"), "UPDATE settings SET value = 2 WHERE key = 'format'");
    open_store();
    REFUSED(ERR_UNSUPPORTED, "update lookalike", store_count(store, "c", 0, &n, err));
    test_create(store, "d", DIM, STORE_L2); /* the others are not concerned */
    assert_int_equal(test_count(store, "d"), 0);
}

/* Written before there were descriptors: the vector is all there is. */
static void test_without_descriptor(void **state)
{
    struct store_settings settings;
    test_create(store, "c", DIM, STORE_L2);
    store_close(store);
    sql(file_of("c", "meta.db"), "DELETE FROM settings WHERE key = 'descriptor'");
    open_store();
    OK(store_settings(store, "c", &settings, err));
    assert_true(settings.dimension == DIM && settings.descriptor == DIM);
}

static void test_missing_files(void **state)
{
    const char *names[] = {"meta.db", "vectors.f16", "pictures.db"};
    const char *collections[] = {"a", "b", "c"};
    uint64_t n;
    for (size_t i = 0; i < 3; i++) {
        test_create(store, collections[i], DIM, STORE_L2);
        fill(collections[i], 3);
    }
    store_close(store);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(unlink(file_of(collections[i], names[i])), 0);
    open_store();
    for (size_t i = 0; i < 3; i++) {
        struct err err;
        enum result r = store_count(store, collections[i], 0, &n, &err);
        assert_true(r == ERR_IO || r == ERR_CORRUPT);
        assert_non_null(strstr(err.message, names[i]));
    }
    assert_int_equal(check(NULL), ERR_CORRUPT);
    assert_int_equal(check_damages, 3);
}

static void test_swapped_files(void **state)
{
    uint64_t n;
    test_create(store, "a", DIM, STORE_L2);
    test_create(store, "b", DIM, STORE_L2);
    store_close(store);
    assert_int_equal(rename(file_of("a", "vectors.f16"), file_of("b", "vectors.f16")), 0);
    open_store();
    REFUSED(ERR_CORRUPT, "another collection", store_count(store, "b", 0, &n, err));
}

/* --- damage --------------------------------------------------------------------------------------------- */

static void test_damaged_header(void **state)
{
    static const off_t at[] = {0, 7, 8, 12, 16, 20, 24, 31, 32, 2000, 4087, 4088, 4095};
    uint64_t n;
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 5);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        store_close(store);
        flip(file_of("c", "vectors.f16"), at[i], 0x10);
        open_store();
        REFUSED(ERR_CORRUPT, "vectors.f16", store_count(store, "c", 0, &n, err));
        flip(file_of("c", "vectors.f16"), at[i], 0x10);
        assert_int_equal(test_count(store, "c"), 5); /* repaired by hand: opened without a restart */
    }
}

static void check_one_damaged(int64_t fileid)
{
    struct store_records r = {0};
    char name[32];
    snprintf(name, sizeof name, "fileid %d", (int)fileid);
    assert_int_equal(search_all("c", fileid), 9); /* the others are found */
    assert_int_equal(damaged("c"), 1);
    REFUSED(ERR_CORRUPT, name, store_get_file(store, "c", fileid, 0, &r, err));
    OK(store_get_file(store, "c", fileid + 1, 0, &r, err));
    assert_int_equal(r.count, 1);
    store_records_free(&r);
    OK(store_browse(store, "c", true, 0, 100, 0, &r, err)); /* its texts are as they were */
    assert_int_equal(r.count, 10);
    store_records_free(&r);
    REFUSED(ERR_CORRUPT, "damaged", check(err));
    assert_int_equal(check_damages, 1);
    assert_non_null(strstr(check_text, name));
}

static void test_damaged_slot(void **state)
{
    uint32_t stride = embedded_vectors_stride(DIM);
    /* The vector, the padding before the trailer's end, each field of the trailer. */
    static const off_t in_slot[] = {0, 1, 41, 79, 80, 87, 88, 95, 96, 99, 100, 103, 104, 111};
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 10);
    assert_int_equal(stride, 128);
    for (size_t i = 0; i < sizeof in_slot / sizeof *in_slot; i++) {
        int64_t fileid = (int64_t)i % 9;
        off_t at = 4096 + (off_t)stride * fileid + in_slot[i];
        store_close(store);
        flip(file_of("c", "vectors.f16"), at, 0x01);
        open_store();
        check_one_damaged(fileid);
        store_close(store);
        flip(file_of("c", "vectors.f16"), at, 0x01);
        open_store();
        assert_int_equal(search_all("c", -1), 10);
        assert_int_equal(damaged("c"), 0);
        OK(check(err));
    }
}

static void test_damage_repaired_by_adding_again(void **state)
{
    float v[DIM];
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 10);
    store_close(store);
    flip(file_of("c", "vectors.f16"), 4096 + 128 * 4 + 5, 0x40);
    flip(file_of("c", "vectors.f16"), 4096 + 128 * 6 + 5, 0x40);
    open_store();
    assert_int_equal(damaged("c"), 2);
    vector_of(4, v);
    OK(test_put(store, "c", 4, NULL, v, err));
    assert_int_equal(damaged("c"), 1);
    OK(test_delete(store, "c", 6, err));
    assert_int_equal(damaged("c"), 0);
    assert_int_equal(search_all("c", 6), 9);
    OK(check(err));
    reopen();
    assert_int_equal(search_all("c", 6), 9);
    OK(check(err));
}

static void test_slot_of_another_record(void **state)
{
    /* A whole slot over another: each checksum is right, but it is not the record's. */
    char slot[128];
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 10);
    store_close(store);
    int fd = open(file_of("c", "vectors.f16"), O_RDWR);
    assert_int_equal(pread(fd, slot, 128, 4096 + 128 * 2), 128);
    assert_int_equal(pwrite(fd, slot, 128, 4096 + 128 * 7), 128);
    close(fd);
    open_store();
    check_one_damaged(7);
}

static void test_truncated_vectors(void **state)
{
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 10);
    store_close(store);
    assert_int_equal(truncate(file_of("c", "vectors.f16"), 4096 + 128 * 6 + 50), 0);
    open_store();
    assert_int_equal(search_all("c", 6), 6);
    assert_int_equal(damaged("c"), 4);
    REFUSED(ERR_CORRUPT, "damaged", check(err));
    assert_int_equal(check_damages, 4);
    float v[DIM];
    vector_of(3, v);
    for (int64_t i = 5; i < 30; i++) /* over the damage, and beyond where the file ended */
        OK(test_put(store, "c", i, NULL, v, err));
    assert_int_equal(damaged("c"), 0);
    assert_int_equal(search_all("c", -1), 30);
    OK(check(err));
    store_close(store);
    assert_int_equal(truncate(file_of("c", "vectors.f16"), 4000), 0); /* not even a header */
    open_store();
    uint64_t n;
    REFUSED(ERR_CORRUPT, "vectors.f16", store_count(store, "c", 0, &n, err));
}

static void test_garbage_meta(void **state)
{
    char noise[8192];
    uint64_t seed = 5, n;
    test_create(store, "c", DIM, STORE_L2);
    test_create(store, "fine", DIM, STORE_L2);
    fill("c", 10);
    fill("fine", 10);
    store_close(store);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)test_random(&seed);
    int fd = open(file_of("c", "meta.db"), O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, noise, sizeof noise), (ssize_t)sizeof noise);
    close(fd);
    open_store();
    REFUSED(ERR_CORRUPT, "meta.db", store_count(store, "c", 0, &n, err));
    REFUSED(ERR_CORRUPT, "damaged", check(err));
    assert_non_null(strstr(check_text, "2 c: "));
    assert_int_equal(search_all("fine", -1), 10);
    store_close(store);
    assert_int_equal(truncate(file_of("c", "meta.db"), 0), 0); /* an empty database is none of ours */
    open_store();
    REFUSED(ERR_CORRUPT, "meta.db", store_count(store, "c", 0, &n, err));
    OK(store_drop(store, "c", 0, err)); /* what cannot be opened can be dropped */
}

/* Every page of meta.db flipped somewhere: an error, or right answers; never a crash or a wrong vector. */
static void test_flipped_meta(void **state)
{
    struct stat st;
    uint64_t seed = 17;
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 200);
    store_close(store);
    assert_int_equal(stat(file_of("c", "meta.db"), &st), 0);
    for (off_t page = 0; page < st.st_size; page += 4096)
        for (int i = 0; i < 6; i++) {
            off_t at = page + (off_t)(i < 3 ? test_random(&seed) % 100 : test_random(&seed) % 4096);
            uint8_t bits = (uint8_t)(1 + test_random(&seed) % 255);
            flip(file_of("c", "meta.db"), at, bits);
            open_store();
            float v[DIM];
            vector_of(1, v);
            struct store_query q = {.vector = v, .limit = 300, .with_vectors = true};
            struct store_records r = {0};
            if (!store_search(store, "c", &q, 0, &r, NULL))
                for (size_t j = 0; j < r.count; j++) {
                    float want[DIM];
                    vector_of(r.items[j].fileid, want);
                    assert_memory_equal(want, r.items[j].vector, sizeof want);
                }
            store_records_free(&r);
            (void)!check(NULL);
            store_close(store);
            flip(file_of("c", "meta.db"), at, bits);
            unlink(file_of("c", "meta.db-wal")); /* what a damaged one may have left */
            unlink(file_of("c", "meta.db-shm"));
        }
    open_store();
    assert_int_equal(test_count(store, "c"), 200);
    OK(check(err));
}

static void test_absurd_slot(void **state)
{
    uint64_t n;
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 3);
    store_close(store);
    sql(file_of("c", "meta.db"), "UPDATE records SET slot = 1000000000000 WHERE fileid = 1");
    open_store();
    REFUSED(ERR_CORRUPT, "fileid 1 ", store_count(store, "c", 0, &n, err));
    store_close(store);
    /* A slot that could be, but is not there. */
    sql(file_of("c", "meta.db"), "UPDATE records SET slot = 200000000 WHERE fileid = 1");
    open_store();
    assert_int_equal(search_all("c", 1), 2);
    assert_int_equal(damaged("c"), 1);
    fill("c", 20);
    assert_int_equal(search_all("c", -1), 20);
    OK(check(err));
}

static void test_damaged_thumbnail(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 3);
    store_close(store);
    sql(file_of("c", "pictures.db"),
        "UPDATE pictures SET bytes = x'414243' WHERE fileid = 1; DELETE FROM pictures WHERE fileid = 2;"
        "INSERT INTO pictures(id, fileid, hash, bytes) VALUES(1, 77, 0, x'00')");
    open_store();
    REFUSED(ERR_CORRUPT, "thumbnail", store_thumbnail(store, "c", 1, 0, &b, err));
    REFUSED(ERR_NOT_FOUND, "thumbnail", store_thumbnail(store, "c", 2, 0, &b, err));
    OK(store_thumbnail(store, "c", 0, 0, &b, err));
    assert_int_equal(b.len, 9);
    buf_free(&b);
    REFUSED(ERR_CORRUPT, "damaged", check(err));
    assert_non_null(strstr(check_text, "2 c: the thumbnail of fileid 2 is missing"));
    assert_non_null(strstr(check_text, "1 c: a thumbnail of fileid 77 belongs to no record"));
}

static void test_check_texts(void **state)
{
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 3);
    store_close(store);
    sql(file_of("c", "meta.db"),
        "UPDATE records SET tags = '' WHERE fileid = 1; UPDATE records SET brief = '' WHERE fileid = 2");
    open_store();
    REFUSED(ERR_CORRUPT, "damaged", check(err));
    assert_int_equal(check_damages, 2);
    assert_non_null(strstr(check_text, "fileid 1 has no tags"));
    assert_non_null(strstr(check_text, "fileid 2 has no brief"));
}

/* --- housekeeping --------------------------------------------------------------------------------------- */

static int64_t picture_rows(const char *collection)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(file_of(collection, "pictures.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM pictures", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void test_old_thumbnails_go(void **state)
{
    test_create(store, "c", DIM, STORE_L2);
    for (int i = 0; i < 10; i++)
        fill("c", 40);
    assert_true(picture_rows("c") <= 80); /* the last 40, and the 40 the next commit would remove */
    reopen();
    fill("c", 40);
    assert_true(picture_rows("c") <= 80);
    OK(check(err));
    assert_null(strstr(check_text, "belongs to no record"));
}

static void test_slots_are_reused(void **state)
{
    struct stat before, after;
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 1500);
    fill("c", 1500);
    assert_int_equal(stat(file_of("c", "vectors.f16"), &before), 0);
    for (int i = 0; i < 10; i++) {
        fill("c", 1500);
        if (i == 5)
            reopen();
    }
    assert_int_equal(stat(file_of("c", "vectors.f16"), &after), 0);
    /* A search behind the scenes (scale.c) keeps what it sees from being reused, so that one more lot may be needed; without
       reuse there would be ten. */
    assert_true(after.st_size <= 2 * before.st_size);
    assert_int_equal(search_all("c", -1), 1000);
    OK(check(err));
}

/* An update of what is not there had a slot for its vector, which no row ever named. */
static void test_vain_updates_take_no_slots(void **state)
{
    enum { MANY = 1000 };
    struct stat before, after;
    struct store_write w[MANY];
    float v[DIM];
    test_create(store, "c", DIM, STORE_L2);
    fill("c", 10);
    vector_of(1, v);
    assert_int_equal(stat(file_of("c", "vectors.f16"), &before), 0);
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < MANY; j++)
            w[j] = (struct store_write){.kind = STORE_UPDATE, .fileid = 100 + j, .vector = v};
        OK(store_write(store, "c", w, MANY, 0, err));
        for (int j = 0; j < MANY; j++)
            assert_int_equal(w[j].status, ERR_NOT_FOUND);
    }
    fill("c", 20);
    assert_int_equal(stat(file_of("c", "vectors.f16"), &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(search_all("c", -1), 20);
    OK(check(err));
}

/* More vectors than are written by one call, into slots that follow each other and slots that do not. */
static void test_runs_of_slots(void **state)
{
    enum { WIDE = 4096, N = 100, LATER = 60 };
    struct store_write w[N + LATER], gone[N];
    float *v = calloc((size_t)(N + LATER) * WIDE, sizeof *v);
    assert_non_null(v);
    test_create(store, "wide", WIDE, STORE_L2);
    for (int i = 0; i < N + LATER; i++) {
        v[(size_t)i * WIDE + (size_t)i] = 1;
        w[i] = (struct store_write){
            .kind = STORE_PUT, .fileid = i, .tags = "[]", .brief = "{}", .vector = v + (size_t)i * WIDE};
    }
    OK(store_write(store, "wide", w, N, 0, err));
    size_t n = 0;
    for (int i = 0; i < N; i += i % 5 ? 1 : 3)
        gone[n++] = (struct store_write){.kind = STORE_DELETE, .fileid = i};
    OK(store_write(store, "wide", gone, n, 0, err));
    OK(store_write(store, "wide", w + N, LATER, 0, err));
    reopen();
    for (int i = N; i < N + LATER; i++) {
        struct store_query q = {.vector = v + (size_t)i * WIDE, .limit = 1};
        struct store_records r = {0};
        OK(store_search(store, "wide", &q, 0, &r, err));
        assert_int_equal(r.count, 1);
        assert_int_equal(r.items[0].fileid, i);
        assert_true(r.items[0].distance == 0);
        store_records_free(&r);
    }
    OK(check(err));
    free(v);
}

static size_t open_files(void)
{
    return entries("/proc/self/fd");
}

/* More collections than may be open at once, used in turn: all answer, and the files stay few. */
static void test_many_collections(void **state)
{
    enum { N = LIMIT_OPEN_COLLECTIONS + 8 };
    size_t most = open_files() + LIMIT_OPEN_COLLECTIONS * 13;
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        test_create(store, name, DIM, STORE_L2);
        fill(name, 1 + i % 5);
        assert_true(open_files() <= most);
    }
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", (i * 7) % N);
        assert_int_equal(search_all(name, -1), 1 + (i * 7) % N % 5);
        assert_true(open_files() <= most);
    }
}

/* A fifth reader waits for one of the four, and not for ever. */
static void test_reader_limit(void **state)
{
    struct embedded_readers pool;
    struct embedded_reader *readers[LIMIT_STORE_READERS], *more = NULL;
    test_create(store, "c", DIM, STORE_L2);
    embedded_readers_init(&pool, file_of("c", "meta.db"));
    for (size_t i = 0; i < LIMIT_STORE_READERS; i++)
        OK(embedded_readers_take(&pool, 0, &readers[i], err));
    REFUSED(ERR_TIMEOUT, "busy", embedded_readers_take(&pool, clock_now_ms() + 30, &more, err));
    embedded_readers_give(&pool, readers[2]);
    OK(embedded_readers_take(&pool, clock_now_ms() + 30, &more, err));
    assert_ptr_equal(more, readers[2]);
    for (size_t i = 0; i < LIMIT_STORE_READERS; i++)
        embedded_readers_give(&pool, readers[i]);
    embedded_readers_free(&pool);
}

static void test_collection_limit(void **state)
{
    /* Folders are enough: a collection that is not used is not opened. */
    store_close(store);
    for (int i = 0; i < LIMIT_COLLECTIONS - 1; i++) {
        char name[32];
        snprintf(name, sizeof name, "collections/c%d", i);
        assert_int_equal(mkdir(test_path(folder, name), 0755), 0);
    }
    open_store();
    test_create(store, "last", DIM, STORE_L2);
    struct store_settings settings = {.model = "m", .dimension = 4};
    REFUSED(ERR_TOO_LARGE, "4096", store_create(store, "over", &settings, 0, err));
    OK(store_drop(store, "c7", 0, err));
    OK(store_create(store, "over", &settings, 0, err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_lock),
        T(test_data_folder),
        T(test_leftovers),
        T(test_newer_format), T(test_without_descriptor),
        T(test_missing_files),
        T(test_swapped_files),
        T(test_damaged_header),
        T(test_damaged_slot),
        T(test_damage_repaired_by_adding_again),
        T(test_slot_of_another_record),
        T(test_truncated_vectors),
        T(test_garbage_meta),
        T(test_flipped_meta),
        T(test_absurd_slot),
        T(test_damaged_thumbnail),
        T(test_check_texts),
        T(test_old_thumbnails_go),
        T(test_slots_are_reused),
        T(test_vain_updates_take_no_slots),
        T(test_runs_of_slots),
        T(test_many_collections),
        T(test_reader_limit),
        T(test_collection_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
