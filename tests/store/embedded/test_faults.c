/*
 * Every system call of the store, and those SQLite lets be replaced, made to fail once: the n-th call of a
 * fixed piece of work, for every n there is. Whatever fails, the caller gets an error and nothing was
 * changed, or success and all was; what failed works when tried again; and what is there afterwards survives
 * a reopen and a full check. Of SQLite's calls a part is taken each time; `test_store_embedded_faults every`
 * takes them all.
 */
#include "support.h"

#include "base/clock.h"
#include "store/embedded/embedded.h"
#include "store/reembed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 40
#define FILES 12

/* --- the faulty system ---------------------------------------------------------------------------------- */

static int calls;   /* so far in this run */
static int fail_at; /* 0: never */
static int fail_errno;
static bool fail_short;    /* a pwrite writes half first */
static const char *failed; /* which call it was */
static int syncs, full_syncs;

static bool fails(const char *name)
{
    if (++calls != fail_at)
        return false;
    failed = name;
    errno = fail_errno;
    return true;
}

static int faulty_open(const char *path, int flags, mode_t mode)
{
    return fails("open") ? -1 : open(path, flags, mode);
}

static ssize_t faulty_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    static bool second; /* after a short write the rest fails */
    if (second) {
        second = false;
        errno = fail_errno;
        return -1;
    }
    if (!fails("pwrite"))
        return pwrite(fd, bytes, len, at);
    if (fail_short && len > 1) {
        second = true;
        return pwrite(fd, bytes, len / 2, at);
    }
    return -1;
}

static int faulty_start_sync(int fd)
{
    return fails("start_sync") ? -1 : store_sys_real.start_sync(fd);
}

static int faulty_fdatasync(int fd)
{
    syncs++;
    return fails("fdatasync") ? -1 : fdatasync(fd);
}

static int faulty_fsync(int fd)
{
    full_syncs++;
    return fails("fsync") ? -1 : fsync(fd);
}

static int faulty_ftruncate(int fd, off_t size)
{
    return fails("ftruncate") ? -1 : ftruncate(fd, size);
}

static int faulty_fallocate(int fd, int mode, off_t at, off_t len)
{
    return fails("fallocate") ? -1 : fallocate(fd, mode, at, len);
}

static int faulty_rename(const char *from, const char *to)
{
    return fails("rename") ? -1 : rename(from, to);
}

static int faulty_unlink(const char *path)
{
    return fails("unlink") ? -1 : unlink(path);
}

static int faulty_mkdir(const char *path, mode_t mode)
{
    return fails("mkdir") ? -1 : mkdir(path, mode);
}

static int faulty_rmdir(const char *path)
{
    return fails("rmdir") ? -1 : rmdir(path);
}

static const struct store_sys faulty = {
    .open = faulty_open,
    .pwrite = faulty_pwrite,
    .start_sync = faulty_start_sync,
    .fdatasync = faulty_fdatasync,
    .fsync = faulty_fsync,
    .ftruncate = faulty_ftruncate,
    .fallocate = faulty_fallocate,
    .rename = faulty_rename,
    .unlink = faulty_unlink,
    .mkdir = faulty_mkdir,
    .rmdir = faulty_rmdir,
};

/* SQLite's own calls, through the door it has for that. */
static ssize_t sqlite_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return fails("SQLite's pwrite") ? -1 : pwrite(fd, bytes, len, at);
}

static int sqlite_open(const char *path, int flags, int mode)
{
    return fails("SQLite's open") ? -1 : open(path, flags, (mode_t)mode);
}

static int sqlite_ftruncate(int fd, off_t size)
{
    return fails("SQLite's ftruncate") ? -1 : ftruncate(fd, size);
}

static void replace(const char *name, sqlite3_syscall_ptr call)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    assert_non_null(vfs);
    vfs->xSetSystemCall(vfs, name, call); /* pwrite64 is not everywhere */
}

static void replace_sqlite(bool faulty_ones)
{
    replace("pwrite", faulty_ones ? (sqlite3_syscall_ptr)(void (*)(void))sqlite_pwrite : NULL);
    replace("pwrite64", faulty_ones ? (sqlite3_syscall_ptr)(void (*)(void))sqlite_pwrite : NULL);
    replace("open", faulty_ones ? (sqlite3_syscall_ptr)(void (*)(void))sqlite_open : NULL);
    replace("ftruncate", faulty_ones ? (sqlite3_syscall_ptr)(void (*)(void))sqlite_ftruncate : NULL);
}

/* --- the work, and what must be there ------------------------------------------------------------------- */

static char *folder;
static struct store *store;
static int version[FILES]; /* what is stored under each fileid; 0: nothing */
static bool exists;        /* the collection */

static void vector_of(int64_t fileid, int n, float *v)
{
    for (int i = 0; i < DIM; i++)
        v[i] = (float)((fileid * 5 + i * 3 + n * 7) % 13) / 2;
}

static enum result write_some(const int *fileids, int count, int n, struct err *err)
{
    struct store_write w[FILES];
    static float v[FILES][DIM];
    static char brief[FILES][32];
    for (int i = 0; i < count; i++) {
        vector_of(fileids[i], n, v[i]);
        snprintf(brief[i], sizeof brief[i], "{\"v\":%d}", n);
        w[i] = (struct store_write){.kind = n ? STORE_PUT : STORE_DELETE,
            .fileid = fileids[i],
            .tags = "[]",
            .brief = brief[i],
            .vector = v[i],
            .thumbnail = (const uint8_t *)brief[i],
            .thumbnail_len = strlen(brief[i])};
    }
    enum result r = store_write(store, "c", w, (size_t)count, 0, err);
    if (!r)
        for (int i = 0; i < count; i++)
            version[fileids[i]] = n;
    return r;
}

/* Reading opens files too: it may be what fails, once. */
#define OK_TWICE(call)                                                                                       \
    do {                                                                                                     \
        struct err *err = NULL;                                                                              \
        enum result first_ = (call);                                                                         \
        if (first_) {                                                                                        \
            struct err again_ = {0};                                                                         \
            assert_non_null(failed);                                                                         \
            err = &again_;                                                                                   \
            test_ok((call), err, __FILE__, __LINE__);                                                        \
        }                                                                                                    \
    } while (0)

static void verify_file(int fileid)
{
    struct store_records r = {0};
    OK_TWICE(store_get_file(store, "c", fileid, 0, &r, err));
    assert_int_equal(r.count, version[fileid] != 0);
    if (r.count) {
        float v[DIM];
        char brief[32];
        struct buf b;
        buf_init(&b, 100);
        vector_of(fileid, version[fileid], v);
        snprintf(brief, sizeof brief, "{\"v\":%d}", version[fileid]);
        assert_memory_equal(r.items[0].vector, v, sizeof v);
        assert_string_equal(r.items[0].brief, brief);
        OK_TWICE(store_thumbnail(store, "c", fileid, 0, &b, err));
        assert_string_equal(b.data, brief);
        buf_free(&b);
    }
    store_records_free(&r);
}

static void verify(void)
{
    uint64_t count = 0, want = 0;
    float v[DIM];
    struct store_records r = {0};
    if (!exists) {
        assert_int_equal(store_count(store, "c", 0, &count, NULL), ERR_NOT_FOUND);
        return;
    }
    for (int i = 0; i < FILES; i++) {
        verify_file(i);
        want += version[i] != 0;
    }
    OK_TWICE(store_count(store, "c", 0, &count, err));
    assert_int_equal(count, want);
    vector_of(1, 1, v);
    struct store_query q = {.vector = v, .limit = 100};
    OK_TWICE(store_search(store, "c", &q, 0, &r, err));
    assert_int_equal(r.count, want);
    store_records_free(&r);
}

/* The same vectors by another model: what is stored can be told by verify(), and which edition it is by its settings. */
static enum result make_again(void *user, const struct store_reembed_batch *batch, struct err *err)
{
    for (size_t i = 0; i < batch->count; i++) {
        vector_of(batch->records[i].fileid, version[batch->records[i].fileid], batch->out + i * DIM);
        batch->made[i] = true;
    }
    return ERR_OK;
}

static enum result reembed(struct err *problem)
{
    const struct store_reembed_options options = {.settings = {.model = "n", .dimension = DIM}, .make = make_again};
    struct store_reembed_report report;
    struct store_settings settings;
    enum result r = store_reembed(store, "c", &options, &report, problem);
    OK_TWICE(store_settings(store, "c", &settings, err));
    assert_string_equal(settings.model, r ? "m" : "n"); /* what was answered is so */
    return r;
}

static int step; /* of the work that comes next */

/* One step; it is tried again until it works, which must be at the second time at the latest. */
static enum result do_step(struct err *err)
{
    static const int all[FILES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, few[] = {2, 5, 7}, more[] = {7, 11};
    struct store_settings settings = {.model = "m", .dimension = DIM, .metric = STORE_L2, .thumbnails = true};
    struct store_open_options options = {.data = folder};
    enum result r;
    switch (step) {
    case 0:
    case 6:
        return store ? ERR_OK : store_embedded_open_with(&options, &faulty, &store, err);
    case 1:
        r = store_create(store, "c", &settings, 0, err);
        exists |= !r;
        return r;
    case 2:
        return write_some(all, 8, 1, err);
    case 3:
        return write_some(few, 3, 2, err);
    case 4:
        return write_some(more, 1, 0, err);
    case 5:
        store_close(store);
        store = NULL;
        return ERR_OK;
    case 7:
        return write_some(more, 2, 3, err);
    case 8:
        return reembed(err);
    case 9:
        r = store_drop(store, "c", 0, err);
        exists &= r != ERR_OK;
        return r;
    case 10:
        r = store_create(store, "c", &settings, 0, err);
        if (!r)
            memset(version, 0, sizeof version);
        exists |= !r;
        return r;
    default:
        return write_some(all, FILES, 4, err);
    }
}

#define STEPS 12

static size_t hidden_folders(void)
{
    size_t n = 0;
    DIR *dir = opendir(test_path(folder, "collections"));
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        n += d->d_name[0] == '.' && d->d_name[1] != '.' && d->d_name[1] != '\0';
    closedir(dir);
    return n;
}

/* All of it with the n-th call failing. False: there was no n-th call. */
static bool run(int n)
{
    struct store_open_options options = {.data = folder};
    struct err why = {0};
    bool seen = false;
    calls = 0;
    fail_at = n;
    failed = NULL;
    memset(version, 0, sizeof version);
    exists = false;
    for (step = 0; step < STEPS; step++) {
        enum result r = do_step(&why);
        if (r) {
            assert_true(r == ERR_IO || r == ERR_NO_MEMORY || r == ERR_CORRUPT || r == ERR_BUSY);
            assert_true(why.message[0] != '\0');
            if (store)
                verify();
            r = do_step(&why);
            if (r) {
                print_error("step %d: after a failing %s (call %d), tried again: %s\n", step,
                    failed ? failed : "(none)", n, why.message);
                fail();
            }
        }
        /*
         * Twice in any case, so that opening for reading is among what can fail; else only after the failure.
         */
        if (store && (step == 2 || step == 7 || step == 8 || (failed && !seen)))
            verify();
        seen = failed != NULL;
    }
    bool happened = failed != NULL;
    store_close(store);
    fail_at = 0;
    /* As if the process had ended there. */
    OK(store_embedded_open_with(&options, &store_sys_real, &store, err));
    verify();
    OK(store_check(store, NULL, NULL, err));
    assert_int_equal(hidden_folders(), 0);
    store_close(store);
    store = NULL;
    return happened;
}

/* Every `stride`-th call; all of them take a while. */
static void run_all(int error, bool short_write, bool with_sqlite, int stride)
{
    fail_errno = error;
    fail_short = short_write;
    replace_sqlite(with_sqlite);
    int n = 1;
    for (bool more = true; more; n += stride) {
        folder = test_folder();
        more = run(n);
        test_folder_remove(folder);
    }
    replace_sqlite(false);
    assert_true(n > 60); /* the work does make calls, and they were counted */
}

static bool every; /* the program's argument: also every call of SQLite, which is minutes with a sanitizer */

static void test_io_errors(void **state)
{
    run_all(EIO, false, false, 1);
    run_all(EIO, false, true, every ? 1 : 5);
}

static void test_full_disk(void **state)
{
    run_all(ENOSPC, true, false, 1);
    run_all(ENOSPC, true, true, every ? 1 : 7);
}

/* --- in particular -------------------------------------------------------------------------------------- */

static void start(void)
{
    struct store_open_options options = {.data = folder = test_folder()};
    memset(version, 0, sizeof version);
    fail_at = 0;
    OK(store_embedded_open_with(&options, &faulty, &store, err));
    test_create(store, "c", DIM, STORE_L2);
    exists = true;
}

static void stop(void)
{
    store_close(store);
    store = NULL;
    test_folder_remove(folder);
}

static void check_failed_sync(int which, const char *name)
{
    const int files[] = {0, 1, 2};
    start();
    OK(write_some(files, 3, 1, err));
    fail_errno = EIO;
    calls = syncs = full_syncs = 0;
    fail_at = which;
    failed = NULL;
    REFUSED(ERR_IO, "vectors.f16", write_some(files, 1, 2, err));
    assert_string_equal(failed, name);
    verify();
    full_syncs = 0;
    OK(write_some(files, 1, 3, err));
    assert_int_equal(full_syncs, 1); /* the next one is a whole fsync() */
    verify();
    OK(write_some(files, 1, 4, err));
    assert_int_equal(full_syncs, 1);
    verify();
    stop();
}

/* A failed fdatasync(), or what began it, may not be followed by one that says "fine" about the same pages: vectors.c. */
static void test_failed_sync(void **state)
{
    check_failed_sync(2, "start_sync"); /* after the pwrite of one slot */
    check_failed_sync(3, "fdatasync");
}

/* Where the kernel or the file system does not know the call, all goes on without it. */
static void test_no_start_sync(void **state)
{
    const int files[] = {0, 1, 2};
    start();
    OK(write_some(files, 3, 1, err));
    fail_errno = ENOSYS;
    calls = full_syncs = 0;
    fail_at = 2;
    failed = NULL;
    OK(write_some(files, 1, 2, err));
    assert_string_equal(failed, "start_sync");
    OK(write_some(files, 1, 3, err));
    assert_int_equal(full_syncs, 0);
    verify();
    stop();
}

/*
 * A disk that stays full: every write is refused, reading goes on, and when there is room again so does
 * writing.
 */
static void test_disk_stays_full(void **state)
{
    const int files[] = {0, 1, 2};
    start();
    OK(write_some(files, 3, 1, err));
    fail_errno = ENOSPC;
    for (int i = 0; i < 20; i++) {
        fail_at = calls + 1;
        REFUSED(ERR_IO, "No space", write_some(files, 3, 2, err));
        verify();
    }
    OK(write_some(files, 3, 2, err));
    verify();
    OK(store_check(store, NULL, NULL, err));
    stop();
}

int main(int argc, char **argv)
{
    every = argc > 1 && !strcmp(argv[1], "every");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_errors),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_no_start_sync),
        cmocka_unit_test(test_disk_stays_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
