/*
 * Another model for a collection: what comes out, what goes on meanwhile, and what an interruption leaves. The "model" turns
 * the bytes of a picture into a vector, so that which picture a vector was made from can be
 * seen in it (numbers up to 2048 are exact in 16 bits).
 */
#include "support.h"

#include "store/backup.h"
#include "store/reembed.h"
#include "store/tune.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD 4
#define NEW 6
#define N 300

struct maker {
    int calls;
    int stop_at;      /* progress() says stop at this call; 0: never */
    int progress;
    int refuse;       /* fileid % this == 1 cannot be made; 0: all can */
    void (*meanwhile)(int call);
};

static char *folder;
static struct store *store;

static void put(int64_t fileid, const char *picture)
{
    float vector[OLD] = {(float)(fileid % 50), 1, 2, 3};
    char brief[64];
    snprintf(brief, sizeof brief, "{\"n\":%" PRId64 "}", fileid);
    struct store_write w = {.kind = STORE_PUT, .fileid = fileid, .has_itemid = true, .itemid = fileid / 2, .tags = "[\"a\"]", .brief = brief,
        .vector = vector, .dimension = OLD, .thumbnail = (const uint8_t *)"small", .thumbnail_len = 5,
        .original = (const uint8_t *)picture, .original_len = strlen(picture)};
    OK(store_write(store, "c", &w, 1, 0, err));
}

static void put_number(int64_t fileid, int number)
{
    char picture[32];
    snprintf(picture, sizeof picture, "picture %d", number);
    put(fileid, picture);
}

static void open_store(void)
{
    OK(store_open_embedded(&(struct store_open_options){.data = folder}, &store, err));
}

static int setup(void **unused)
{
    struct store_settings settings = {.model = "old", .dimension = OLD, .thumbnails = true, .originals = true};
    folder = test_folder();
    open_store();
    OK(store_create(store, "c", &settings, 0, err));
    for (int i = 0; i < N; i++)
        put_number(i, i);
    return 0;
}

static int teardown(void **unused)
{
    store_close(store);
    test_folder_remove(folder);
    return 0;
}

/* "picture 17" → 17, … */
static enum result make(void *user, const struct store_reembed_batch *batch, struct err *err)
{
    struct maker *m = user;
    m->calls++;
    if (m->meanwhile)
        m->meanwhile(m->calls);
    for (size_t i = 0; i < batch->count; i++) {
        struct buf bytes;
        float *v = batch->out + i * NEW;
        buf_init(&bytes, 1024);
        enum result r = store_reembed_picture(batch, i, true, &bytes, NULL);
        batch->made[i] = r == ERR_OK && !(m->refuse && batch->records[i].fileid % m->refuse == 1);
        memset(v, 0, NEW * sizeof *v);
        v[0] = r ? 0 : strtof(bytes.data + strlen("picture "), NULL);
        v[5] = 1;
        buf_free(&bytes);
    }
    return ERR_OK;
}

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct maker *m = user;
    assert_true(done <= total);
    return m->stop_at && ++m->progress >= m->stop_at;
}

static enum result reembed(struct maker *m, struct store_reembed_report *report, struct err *err)
{
    const struct store_reembed_options options = {.settings = {.model = "new", .dimension = NEW, .input = "6x6"},
        .make = make, .progress = on_progress, .user = m};
    return store_reembed(store, "c", &options, report, err);
}

/* Each record is as it was, but for its vector, which is of picture number_of(fileid). */
static int same(int64_t fileid)
{
    return (int)fileid;
}

static void check_record(int64_t fileid, int number)
{
    struct store_records r = {0};
    struct buf bytes;
    char picture[32];
    buf_init(&bytes, 1024);
    OK(store_get_file(store, "c", fileid, 0, &r, err));
    assert_int_equal(r.count, 1);
    assert_int_equal(r.dimension, NEW);
    assert_int_equal(r.items[0].itemid, fileid / 2);
    assert_true(r.items[0].has_thumbnail);
    assert_true(r.items[0].vector[0] == (float)number && r.items[0].vector[5] == 1);
    store_records_free(&r);
    OK(store_original(store, "c", fileid, 0, &bytes, err));
    snprintf(picture, sizeof picture, "picture %d", number);
    assert_int_equal(bytes.len, strlen(picture));
    assert_memory_equal(bytes.data, picture, bytes.len);
    buf_free(&bytes);
    OK(store_thumbnail(store, "c", fileid, 0, &bytes, err));
    assert_memory_equal(bytes.data, "small", 5);
    buf_free(&bytes);
}

static void check_all(int from, int to, int (*number_of)(int64_t fileid))
{
    struct store_settings settings;
    OK(store_settings(store, "c", &settings, err));
    assert_string_equal(settings.model, "new");
    assert_string_equal(settings.input, "6x6");
    assert_int_equal(settings.dimension, NEW);
    assert_true(settings.thumbnails && settings.originals);
    assert_int_equal(test_count(store, "c"), to - from);
    for (int i = from; i < to; i++)
        check_record(i, number_of(i));
    OK(store_check(store, NULL, NULL, err));
}

static bool second_is_there(void)
{
    char command[1024];
    snprintf(command, sizeof command, "ls -A '%s/collections' | grep -q '^\\.second-'", folder);
    return system(command) == 0;
}

static void test_new_vectors(void **unused)
{
    struct maker m = {0};
    struct store_reembed_report report;
    struct store_settings before, after;
    OK(store_settings(store, "c", &before, err));
    OK(reembed(&m, &report, err));
    assert_int_equal(report.records, N);
    assert_int_equal(report.made, N);
    assert_int_equal(report.failed, 0);
    OK(store_settings(store, "c", &after, err));
    assert_true(before.edition && after.edition && before.edition != after.edition);
    check_all(0, N, same);
    assert_false(second_is_there());
    store_close(store);
    open_store();
    check_all(0, N, same);

    /* A vector that was made for the edition before is not written, and not searched for. */
    float vector[NEW] = {0};
    struct store_write w = {.kind = STORE_PUT, .fileid = 1, .tags = "[]", .brief = "{}", .vector = vector, .edition = before.edition};
    struct store_query q = {.vector = vector, .limit = 1, .edition = before.edition};
    struct store_records hits = {0};
    REFUSED(ERR_BUSY, "was replaced", store_write(store, "c", &w, 1, 0, err));
    REFUSED(ERR_BUSY, "was replaced", store_search(store, "c", &q, 0, &hits, err));
    check_record(1, 1);
    w.edition = q.edition = after.edition;
    OK(store_write(store, "c", &w, 1, 0, err));
    OK(store_search(store, "c", &q, 0, &hits, err));
    store_records_free(&hits);
}

/* --- while it is written to --- */

static void change_things(int call)
{
    float vector[OLD] = {1, 2, 3, 4};
    struct store_records hits = {0};
    struct store_query q = {.vector = vector, .dimension = OLD, .limit = 5};
    OK(store_search(store, "c", &q, 0, &hits, err)); /* still by the old model */
    assert_int_equal(hits.count, 5);
    store_records_free(&hits);
    if (call == 2) {
        put_number(0, 1500);     /* was looked at already */
        put_number(N - 1, 1501); /* was not */
        put_number(N, 1502);     /* is new */
        OK(test_delete(store, "c", 1, err));
        OK(test_delete(store, "c", N - 2, err));
    } else if (call == 3) {
        struct store_write w = {.kind = STORE_UPDATE, .fileid = 2, .brief = "{\"changed\":true}"};
        OK(store_write(store, "c", &w, 1, 0, err));
        OK(test_delete(store, "c", 3, err));
        put_number(3, 1503); /* gone and there again */
    }
}

static void test_written_to_meanwhile(void **unused)
{
    struct maker m = {.meanwhile = change_things};
    struct store_reembed_report report;
    struct store_records r = {0};
    OK(reembed(&m, &report, err));
    assert_int_equal(report.records, N - 1);
    assert_int_equal(test_count(store, "c"), N - 1);
    check_record(0, 1500);
    check_record(N - 1, 1501);
    check_record(N, 1502);
    check_record(3, 1503);
    for (int i = 4; i < N - 2; i++)
        check_record(i, i);
    OK(store_get_file(store, "c", 1, 0, &r, err));
    assert_int_equal(r.count, 0);
    store_records_free(&r);
    OK(store_get_file(store, "c", 2, 0, &r, err));
    assert_string_equal(r.items[0].brief, "{\"changed\":true}");
    assert_true(r.items[0].vector[0] == 2);
    store_records_free(&r);
    OK(store_check(store, NULL, NULL, err));
}

static _Atomic bool stop_writing;
static _Atomic int64_t last_written, allowed; /* the writer waits where it has written as many as are allowed */

/* Its vectors are of the old dimension and no edition is named: those after the exchange are refused by their dimension, which
 * ends the writer's part. */
static void *write_until_replaced(void *most)
{
    for (int64_t i = 0; i < *(const int64_t *)most && !atomic_load(&stop_writing); i++) {
        while (i >= atomic_load(&allowed) && !atomic_load(&stop_writing))
            usleep(500);
        float vector[OLD] = {1, 1, 2, 3};
        char picture[32];
        struct err err = {0};
        snprintf(picture, sizeof picture, "picture %d", (int)(i % 2000));
        struct store_write w = {.kind = STORE_PUT, .fileid = 1000 + i, .has_itemid = true, .itemid = (1000 + i) / 2, .tags = "[]", .brief = "{}",
            .vector = vector, .dimension = OLD, .thumbnail = (const uint8_t *)"small", .thumbnail_len = 5,
            .original = (const uint8_t *)picture, .original_len = strlen(picture)};
        if (store_write(store, "c", &w, 1, 0, &err)) {
            assert_int_equal(err.code, ERR_INVALID);
            break;
        }
        atomic_store(&last_written, i);
    }
    return NULL;
}

/* Nothing that was acknowledged is missing, whichever edition took it. → how many were written meanwhile */
static int64_t reembed_beside_a_writer(struct maker *m, int64_t allowed_at_first, int64_t most)
{
    struct store_reembed_report report;
    pthread_t writer;
    atomic_store(&stop_writing, false);
    atomic_store(&last_written, -1);
    atomic_store(&allowed, allowed_at_first);
    assert_int_equal(pthread_create(&writer, NULL, write_until_replaced, &most), 0);
    OK(reembed(m, &report, err));
    atomic_store(&stop_writing, true);
    pthread_join(writer, NULL);
    int64_t n = atomic_load(&last_written) + 1;
    print_message("# %lld writes were acknowledged meanwhile\n", (long long)n);
    assert_int_equal(test_count(store, "c"), N + n);
    for (int64_t i = 0; i < n; i++)
        check_record(1000 + i, (int)(i % 2000));
    for (int i = 0; i < N; i++)
        check_record(i, i);
    OK(store_check(store, NULL, NULL, err));
    return n;
}

static void test_steady_writes(void **unused)
{
    struct maker m = {0};
    (void)reembed_beside_a_writer(&m, INT64_MAX, INT64_MAX);
}

/*
 * Who adds faster than records are made, with fileids ahead of those that are looked at, does not keep it from ending: while a
 * batch of 32 is made 40 more are written, unless the writer is held up.
 */
static void wait_for_more(int unused)
{
    int64_t wanted = atomic_load(&last_written) + 1 + 40;
    atomic_store(&allowed, wanted);
    for (int ms = 0; ms < 60 && atomic_load(&last_written) + 1 < wanted; ms++)
        usleep(1000);
}

static void test_overtaken(void **unused)
{
    struct maker m = {.meanwhile = wait_for_more};
    int64_t most = 6000, n = reembed_beside_a_writer(&m, 0, most);
    assert_true(n > N && n < most); /* it did not wait for the writer's end */
}

/* --- interrupted --- */

static void test_goes_on_where_it_was(void **unused)
{
    struct maker m = {.stop_at = 6};
    struct store_reembed_report report;
    struct store_settings settings;
    REFUSED(ERR_UNAVAILABLE, "was stopped", reembed(&m, &report, err));
    assert_true(m.calls > 0);
    OK(store_settings(store, "c", &settings, err));
    assert_string_equal(settings.model, "old");
    assert_true(second_is_there());
    put_number(5, 1905); /* after it was made, before it goes on */
    OK(test_delete(store, "c", 6, err));
    store_close(store);
    open_store();
    struct maker again = {0};
    OK(reembed(&again, &report, err));
    assert_int_equal(report.records, N - 1);
    assert_true(report.made < N && report.made > 0);
    check_record(5, 1905);
    for (int i = 7; i < N; i++)
        check_record(i, i);
    assert_false(second_is_there());
}

static void test_another_model_begins_anew(void **unused)
{
    struct maker m = {.stop_at = 6}, whole = {0};
    struct store_reembed_report report;
    REFUSED(ERR_UNAVAILABLE, "was stopped", reembed(&m, &report, err));
    struct store_reembed_options other = {.settings = {.model = "other", .dimension = NEW, .input = "6x6"}, .make = make, .user = &whole};
    OK(store_reembed(store, "c", &other, &report, err));
    assert_int_equal(report.made, N); /* nothing of what the first had made */
    check_record(17, 17);
}

static void test_forgotten(void **unused)
{
    struct maker m = {.stop_at = 6}, whole = {0};
    struct store_reembed_report report;
    REFUSED(ERR_UNAVAILABLE, "was stopped", reembed(&m, &report, err));
    OK(store_unreembed(store, "c", err));
    assert_false(second_is_there());
    OK(store_unreembed(store, "c", err));
    REFUSED(ERR_NOT_FOUND, "no collection", store_unreembed(store, "d", err));
    OK(reembed(&whole, &report, err));
    assert_int_equal(report.made, N);

    struct maker third = {.stop_at = 6};
    REFUSED(ERR_UNAVAILABLE, "was stopped", reembed(&third, &report, err));
    OK(store_drop(store, "c", 0, err)); /* with what was made for it */
    assert_false(second_is_there());
}

/* The process died between the two renames: there is no collection of that name, and a second edition with its place. */
static void test_died_between_the_renames(void **unused)
{
    struct maker m = {.stop_at = 14};
    struct store_reembed_report report;
    char command[4096];
    REFUSED(ERR_UNAVAILABLE, "was stopped", reembed(&m, &report, err));
    store_close(store);
    snprintf(command, sizeof command,
        "cd '%s/collections' && mv c .trash-0 && for d in .second-*; do printf c >$d/place; done", folder);
    assert_int_equal(system(command), 0);
    open_store();
    struct store_settings settings;
    OK(store_settings(store, "c", &settings, err));
    assert_string_equal(settings.model, "new");
    assert_true(test_count(store, "c") > 0);
    assert_false(second_is_there());
    OK(store_check(store, NULL, NULL, err));

    /* And before the first of them: the old one is whole, and it can be gone on with. */
    teardown(NULL);
    setup(NULL);
    struct maker again = {.stop_at = 14}, whole = {0};
    REFUSED(ERR_UNAVAILABLE, "was stopped", reembed(&again, &report, err));
    store_close(store);
    snprintf(command, sizeof command, "cd '%s/collections' && for d in .second-*; do printf c >$d/place; done", folder);
    assert_int_equal(system(command), 0);
    open_store();
    OK(store_settings(store, "c", &settings, err));
    assert_string_equal(settings.model, "old");
    assert_true(second_is_there());
    OK(reembed(&whole, &report, err));
    assert_true(report.made < N);
    check_all(0, N, same);
}

/* --- records that cannot be made --- */

static void change_one_that_fails(int call)
{
    if (call == 4)
        put_number(101, 101);
}

static void test_failed(void **unused)
{
    struct maker m = {.refuse = 100, .meanwhile = change_one_that_fails}, whole = {0};
    struct store_reembed_report report;
    struct store_settings settings;
    OK(reembed(&m, &report, err));
    assert_int_equal(report.failed, 3); /* each once */
    assert_int_equal(report.fileids[0], 1);
    assert_int_equal(report.fileids[2], 201);
    OK(store_settings(store, "c", &settings, err));
    assert_string_equal(settings.model, "old");
    OK(reembed(&whole, &report, err)); /* once they can: only these */
    assert_int_equal(report.made, 3);
    check_all(0, N, same);
}

static void test_no_pictures(void **unused)
{
    struct store_settings settings = {.model = "old", .dimension = OLD, .thumbnails = true};
    struct maker m = {0};
    struct store_reembed_report report;
    OK(store_drop(store, "c", 0, err));
    OK(store_create(store, "c", &settings, 0, err));
    for (int i = 0; i < 1200; i++)
        put_number(i, i);
    struct buf bytes;
    buf_init(&bytes, 1024);
    REFUSED(ERR_NOT_FOUND, "no original", store_original(store, "c", 5, 0, &bytes, err)); /* it was not asked to keep them */
    REFUSED(ERR_NOT_FOUND, "more than 1000 records", reembed(&m, &report, err));
    buf_free(&bytes);
}

/* --- others want the collection --- */

static pthread_t other;
static void *untune(void *unused)
{
    OK(store_untune(store, "c", err)); /* which closes and opens the collection */
    return NULL;
}

static void untune_meanwhile(int call)
{
    if (call == 2)
        assert_int_equal(pthread_create(&other, NULL, untune, NULL), 0);
    if (call == 2)
        usleep(100000);
}

static void test_is_opened_anew_meanwhile(void **unused)
{
    struct maker m = {.meanwhile = untune_meanwhile};
    struct store_reembed_report report;
    OK(reembed(&m, &report, err));
    pthread_join(other, NULL);
    check_all(0, N, same);
}

static void *drop(void *unused)
{
    OK(store_drop(store, "c", 0, err));
    return NULL;
}

static void drop_meanwhile(int call)
{
    if (call == 2)
        assert_int_equal(pthread_create(&other, NULL, drop, NULL), 0);
    if (call == 2)
        usleep(100000);
}

static void test_is_dropped_meanwhile(void **unused)
{
    struct maker m = {.meanwhile = drop_meanwhile};
    struct store_reembed_report report;
    REFUSED(ERR_NOT_FOUND, "dropped", reembed(&m, &report, err));
    pthread_join(other, NULL);
    REFUSED(ERR_NOT_FOUND, "no collection", store_count(store, "c", 0, &(uint64_t){0}, err));
    assert_false(second_is_there());
}

static void second_call_meanwhile(int call)
{
    struct maker m = {0};
    struct store_reembed_report report;
    if (call > 1)
        return;
    REFUSED(ERR_EXISTS, "already", reembed(&m, &report, err));
    REFUSED(ERR_EXISTS, "stop that first", store_unreembed(store, "c", err));
}

static void test_once_at_a_time(void **unused)
{
    struct maker m = {.meanwhile = second_call_meanwhile};
    struct store_reembed_report report;
    OK(reembed(&m, &report, err));
    check_all(0, N, same);
}

static void test_memory_cannot(void **unused)
{
    struct store *memory = NULL;
    struct store_reembed_options options = {.settings = {.model = "new", .dimension = NEW}, .make = make};
    struct store_reembed_report report;
    OK(store_open_memory(&memory, err));
    REFUSED(ERR_UNSUPPORTED, "memory backend", store_reembed(memory, "c", &options, &report, err));
    store_close(memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_vectors),
        TEST(test_written_to_meanwhile),
        TEST(test_steady_writes),
        TEST(test_overtaken),
        TEST(test_goes_on_where_it_was),
        TEST(test_another_model_begins_anew),
        TEST(test_forgotten),
        TEST(test_died_between_the_renames),
        TEST(test_failed),
        TEST(test_no_pictures),
        TEST(test_is_opened_anew_meanwhile),
        TEST(test_is_dropped_meanwhile),
        TEST(test_once_at_a_time),
        TEST(test_memory_cannot),
    };
    return cmocka_run_group_tests_name("store embedded, reembed", tests, NULL, NULL);
}
