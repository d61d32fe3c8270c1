/* Tuned collections: what a search promises there, what survives, and that it can be undone. */
#include "support.h"

#include "base/clock.h"
#include "store/backup.h"
#include "store/embedded/collection.h"
#include "store/tune.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 16
#define WHOLE 24 /* a descriptor: the vector and one block of 8 */
#define ITEMS 30
#define EACH 5
#define N (ITEMS * EACH)

static const uint32_t blocks[] = {WHOLE - DIM};
static const struct store_tune_options options = {.blocks = blocks, .block_count = 1};
static float pictures[N][WHOLE];
static char *folder;
static struct store *store;

static float noise(uint64_t *state)
{
    return ((float)(test_random(state) >> 8) / (float)(1 << 24) - 0.5f) * 2;
}

/* The first four numbers tell items apart, the next four differ between pictures of one. */
static void make_pictures(void)
{
    uint64_t state = 5;
    for (int i = 0; i < ITEMS; i++) {
        float item[4];
        for (int k = 0; k < 4; k++)
            item[k] = noise(&state);
        for (int j = 0; j < EACH; j++) {
            float *x = pictures[i * EACH + j], length = 0;
            for (int k = 0; k < WHOLE; k++)
                x[k] = 1 + (k < 4 ? item[k] : k < 8 ? noise(&state) : 0.05f * noise(&state));
            for (int k = 0; k < DIM; k++)
                length += x[k] * x[k];
            for (int k = 0; k < DIM; k++)
                x[k] /= sqrtf(length);
        }
    }
}

static void put(int i)
{
    int64_t item = 1000 + i / EACH;
    struct store_write w = {.kind = STORE_PUT, .fileid = i, .has_itemid = true, .itemid = item, .tags = "[]", .brief = "{}",
        .vector = pictures[i], .dimension = WHOLE};
    OK(store_write(store, "c", &w, 1, 0, err));
}

static void open_store(void)
{
    struct store_open_options where = {.data = folder};
    OK(store_open_embedded(&where, &store, err));
}

static int setup(void **unused)
{
    struct store_settings settings = {.model = "m", .dimension = DIM, .descriptor = WHOLE};
    folder = test_folder();
    open_store();
    make_pictures();
    OK(store_create(store, "c", &settings, 0, err));
    for (int i = 0; i < N - EACH; i++)
        put(i);
    return 0;
}

static int teardown(void **unused)
{
    store_close(store);
    test_folder_remove(folder);
    return 0;
}

static struct store_records search(const float *vector, uint32_t limit, uint32_t offset, bool group)
{
    struct store_records r = {0};
    struct store_query q = {.vector = vector, .dimension = WHOLE, .limit = limit, .offset = offset, .group = group};
    OK(store_search(store, "c", &q, 0, &r, err));
    return r;
}

/* The picture itself first and at 0, the others in order of their distance, none below 0. */
static void check_search(int picture)
{
    struct store_records r = search(pictures[picture], 50, 0, false);
    assert_int_equal(r.count, 50);
    assert_int_equal(r.items[0].fileid, picture);
    assert_true(r.items[0].distance == 0);
    for (size_t i = 1; i < r.count; i++)
        assert_true(r.items[i].distance >= 0 && r.items[i].distance >= r.items[i - 1].distance);
    assert_int_equal(r.dimension, DIM);
    struct store_records first = search(pictures[picture], 20, 0, false), second = search(pictures[picture], 30, 20, false);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(r.items[i].fileid, i < 20 ? first.items[i].fileid : second.items[i - 20].fileid);
    store_records_free(&r);
    store_records_free(&first);
    store_records_free(&second);
}

/* How many of the four others of its item are among the first four behind the picture. */
static int right_behind(void)
{
    int right = 0;
    for (int i = 0; i < N - EACH; i++) {
        struct store_records r = search(pictures[i], EACH, 0, false);
        for (size_t k = 1; k < r.count; k++)
            right += r.items[k].itemid == 1000 + i / EACH;
        store_records_free(&r);
    }
    return right;
}

static void test_tuned(void **unused)
{
    struct store_tune_report report;
    int before = right_behind();
    OK(store_tune(store, "c", &options, &report, err));
    assert_int_equal(report.items, ITEMS - 1);
    assert_int_equal(report.rows, N - EACH + report.queries);
    int after = right_behind();
    print_message("# of their item behind each picture: %d untuned, %d tuned, of %d\n", before, after, (N - EACH) * (EACH - 1));
    assert_true(after > before + 50);
    for (int i = 0; i < N - EACH; i += 13)
        check_search(i);
    for (int i = N - EACH; i < N; i++)
        put(i); /* later rows are searched by it as well */
    check_search(N - 1);
    store_close(store);
    open_store();
    check_search(3);
    check_search(N - 2);
    struct store_records plain = {0};
    struct store_query q = {.vector = pictures[0], .dimension = DIM, .limit = 1};
    /* A vector without the rest of a descriptor is compared with vectors. */
    OK(store_search(store, "c", &q, 0, &plain, err));
    assert_true(plain.items[0].fileid == 0 && plain.items[0].distance < 1e-6f);
    store_records_free(&plain);
    OK(store_untune(store, "c", err));
    OK(store_untune(store, "c", err));
    OK(store_search(store, "c", &q, 0, &plain, err));
    assert_true(plain.items[0].fileid == 0 && plain.items[0].distance < 1e-6f);
    store_records_free(&plain);
    assert_true(abs(right_behind() - before) < 30);
}

static void test_damaged_file(void **unused)
{
    struct store_tune_report report;
    OK(store_tune(store, "c", &options, &report, err));
    store_close(store);
    FILE *file = fopen(test_path(folder, "collections/c/projection"), "r+e");
    assert_non_null(file);
    assert_int_equal(fseek(file, 600, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 600, SEEK_SET), 0);
    assert_true(byte != EOF && fputc(byte ^ 1, file) != EOF);
    fclose(file);
    open_store();
    struct store_records plain = search(pictures[0], 2, 0, false), by_vector = {0};
    struct store_query q = {.vector = pictures[0], .dimension = DIM, .limit = 2};
    OK(store_search(store, "c", &q, 0, &by_vector, err));
    assert_true(plain.items[1].distance == by_vector.items[1].distance); /* not tuned */
    store_records_free(&plain);
    store_records_free(&by_vector);
}

/* Copies as the pipeline would make them: the picture again, with what differs between photos changed. */
static enum result copy(void *copier, const struct store_copies *wanted, struct err *problem)
{
    uint64_t state = 77;
    *(size_t *)copier += wanted->n;
    for (size_t i = 0; i < wanted->n; i++)
        for (uint32_t k = 0; k < wanted->each; k++) {
            float *x = wanted->out + (i * wanted->each + k) * WHOLE;
            memcpy(x, pictures[wanted->fileids[i] % N], WHOLE * sizeof *x);
            for (int j = 4; j < 8; j++)
                x[j] = fabsf(x[j] + 0.3f * noise(&state));
            wanted->made[i] = i % 10 != 0; /* of every tenth there is no thumbnail */
        }
    return ERR_OK;
}

static enum result cannot_copy(void *copier, const struct store_copies *wanted, struct err *problem)
{
    return err_set(problem, ERR_UNAVAILABLE, "no room for copies");
}

static void test_copies(void **unused)
{
    struct store_settings settings = {.model = "m", .dimension = DIM, .descriptor = WHOLE};
    struct store_tune_report report;
    size_t asked = 0;
    struct store_tune_options copying = options;
    copying.copies = copy;
    copying.copier = &asked;
    OK(store_tune(store, "c", &copying, &report, err)); /* enough items have several pictures */
    assert_int_equal(asked, 0);
    OK(store_create(store, "alone", &settings, 0, err));
    for (int i = 0; i < 100; i++) {
        struct store_write w = {.kind = STORE_PUT, .fileid = i, .has_itemid = true, .itemid = i, .tags = "[]", .brief = "{}",
            .vector = pictures[i], .dimension = WHOLE};
        OK(store_write(store, "alone", &w, 1, 0, err));
    }
    OK(store_tune(store, "alone", &copying, &report, err));
    assert_int_equal(asked, 100);
    assert_int_equal(report.copied, 90);
    assert_int_equal(report.items, 0);
    assert_int_equal(report.rows, 100 + 4 * 90);
    copying.copies = cannot_copy;
    REFUSED(ERR_UNAVAILABLE, "no room", store_tune(store, "alone", &copying, &report, err));
    OK(store_drop(store, "alone", 0, err));
}

static bool is_tuned(struct store *where)
{
    struct store_records whole = {0}, alone = {0};
    struct store_query q = {.vector = pictures[0], .dimension = WHOLE, .limit = 2};
    OK(store_search(where, "c", &q, 0, &whole, err));
    q.dimension = DIM;
    OK(store_search(where, "c", &q, 0, &alone, err));
    bool tuned = whole.items[1].distance != alone.items[1].distance;
    store_records_free(&whole);
    store_records_free(&alone);
    return tuned;
}

/* What was learned, and the past queries, are in a backup; also in one that is made where only they changed. */
static void test_backup(void **unused)
{
    struct store_tune_report report;
    struct store_backup_report copied;
    char *other = test_folder(), place[512];
    struct store *restored;
    snprintf(place, sizeof place, "%s/backup", other);
    OK(store_untune(store, "c", err));
    for (int i = 0; i < 60; i++) {
        struct store_records r = search(pictures[i], 1, 0, false);
        store_records_free(&r);
    }
    OK(store_backup(store, place, NULL, &copied, err));
    OK(store_tune(store, "c", &options, &report, err));
    OK(store_backup(store, place, NULL, &copied, err));
    assert_int_equal(copied.new_files, 1); /* what was learned and nothing else */
    OK(store_backup(store, place, NULL, &copied, err));
    assert_int_equal(copied.new_files, 0);
    OK(store_backup_verify(place, NULL, &copied, err));
    struct store_open_options where = {.data = test_path(other, "data")};
    OK(store_open_embedded(&where, &restored, err));
    struct store_restore what = {.folder = place};
    OK(store_restore(restored, &what, NULL, &copied, err));
    assert_true(is_tuned(restored));
    OK(store_tune(restored, "c", &options, &report, err));
    assert_true(report.queries > 0);
    store_close(restored);
    test_folder_remove(other);
}

/* Past queries are on disk long before the server is closed in order. */
static void test_past_on_disk(void **unused)
{
    struct stat st = {0};
    const char *path = test_path(folder, "collections/c/queries");
    OK(store_untune(store, "c", err));
    for (int i = 0; i < 600; i++) {
        struct store_records r = search(pictures[i % N], 1, 0, false);
        store_records_free(&r);
    }
    for (int i = 0; i < 1000 && (stat(path, &st) || (size_t)st.st_size < 300 * WHOLE * 2); i++)
        usleep(10000);
    assert_true((size_t)st.st_size >= 300 * WHOLE * 2);
    /* What is derived may be removed; they are not. */
    store_close(store);
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", test_path(folder, "collections/c/derived"));
    assert_int_equal(system(command), 0);
    open_store();
    struct store_tune_report report;
    OK(store_tune(store, "c", &options, &report, err));
    assert_true(report.queries >= 600);
}

/* Measured by itself, and again while the collection grew: waited for until it rests. */
static struct store_scale scale_of(const char *collection)
{
    struct store_scale scale = {0}, last;
    for (int i = 0, same = 0; i < 3000 && same < 30; i++) {
        last = scale;
        OK(store_scale(store, collection, &scale, err));
        same = scale.records && scale.records == last.records ? same + 1 : 0;
        usleep(10000);
    }
    return scale;
}

static void test_scale(void **unused)
{
    struct store_tune_report report;
    struct store_scale before = scale_of("c"), after, again;
    assert_in_range(before.records, 32, N);
    assert_true(before.near > 0 && before.near < before.far);
    store_close(store);
    open_store();
    OK(store_scale(store, "c", &again, err)); /* kept: there at once */
    assert_memory_equal(&again, &before, sizeof again);
    OK(store_tune(store, "c", &options, &report, err));
    after = scale_of("c");
    assert_true(after.near > 0 && after.near < after.far);
    assert_true(after.near != before.near && after.far != before.far); /* another space, another scale */
    REFUSED(ERR_NOT_FOUND, "nothere", store_scale(store, "nothere", &after, err));
    struct store_settings settings = {.model = "m", .dimension = DIM, .descriptor = WHOLE};
    OK(store_create(store, "few", &settings, 0, err));
    OK(store_scale(store, "few", &after, err));
    assert_int_equal(after.records, 0);
    OK(store_drop(store, "few", 0, err));
}

static void put_rows(struct embedded_collection *c, int n, uint64_t *seed)
{
    for (int i = 0; i < n; i++) {
        float v[DIM];
        struct store_write w = {.kind = STORE_PUT, .fileid = (int64_t)atomic_load(&c->count), .tags = "[]",
            .brief = "{}", .vector = v, .dimension = DIM};
        for (int k = 0; k < DIM; k++)
            v[k] = noise(seed);
        OK(embedded_collection_write(c, &w, 1, 0, err));
    }
}

/*
 * What was measured last. `want` 0: after a while; else when it is of so many records at least. Without a keeper nobody wakes
 * it: it must not have forgotten what it left.
 */
static uint64_t measured(struct embedded_collection *c, struct embedded_keeper *keeper, uint64_t want)
{
    struct store_scale scale = {0};
    for (int i = 0; i < (want ? 3000 : 30) && (want == 0 || scale.records < want); i++) {
        if (keeper)
            embedded_keeper_wake(keeper);
        usleep(10000);
        embedded_scale_get(&c->scale, &scale);
    }
    return scale.records;
}

/* While many write at once a measurement waits, for a minute, and only where there are more records than at the last. */
static void test_scale_beside_a_crowd(void **unused)
{
    const struct store_settings settings = {.model = "m", .dimension = DIM, .descriptor = DIM};
    struct embedded_keeper *keeper = NULL;
    struct embedded_collection *c = NULL;
    uint64_t seed = 9;
    OK(embedded_keeper_new(&keeper, err));
    OK(embedded_collection_create(&store_sys_real, test_path(folder, "alone"), &settings, err));
    const struct embedded_collection_place place = {
        .sys = &store_sys_real, .path = test_path(folder, "alone"), .name = "alone", .keeper = keeper};
    OK(embedded_collection_open(&place, &c, err));
    put_rows(c, 40, &seed);
    uint64_t first = measured(c, keeper, EMBEDDED_SCALE_LEAST);
    assert_in_range(first, EMBEDDED_SCALE_LEAST, 40);
    atomic_store(&c->crowded_until_ms, clock_now_ms() + 600000);
    put_rows(c, 100, &seed); /* a crowd of writers is not needed for what follows, only its mark */
    assert_int_equal(measured(c, keeper, 0), first);
    pthread_mutex_lock(&c->scale.measuring);
    c->scale.due_ms -= 60000;
    pthread_mutex_unlock(&c->scale.measuring);
    assert_int_equal(measured(c, keeper, 140), 140);
    put_rows(c, 100, &seed);
    assert_int_equal(measured(c, keeper, 0), 140);
    atomic_store(&c->crowded_until_ms, 0);
    assert_int_equal(measured(c, NULL, 240), 240);
    atomic_store(&c->crowded_until_ms, clock_now_ms() + 600000);
    for (int64_t i = 0; i < 100; i++)
        OK(embedded_collection_write(
            c, &(struct store_write){.kind = STORE_DELETE, .fileid = i}, 1, 0, err));
    for (int i = 0; i < 60 && measured(c, keeper, 0) == 240; i++) /* 18 s */
        ;
    assert_in_range(measured(c, keeper, 0), 140, 160); /* there are fewer: that does not wait */
    embedded_collection_close(c);
    embedded_keeper_free(keeper);
}

static void test_eval(void **unused)
{
    struct store_eval_report e;
    OK(store_eval(store, "c", &options, &e, err));
    assert_int_equal(e.items, ITEMS - 1);
    assert_int_equal(e.queries, N - EACH);
    print_message("# mAP@10 %.3f untuned, %.3f tuned\n", e.plain.value[2], e.tuned.value[2]);
    assert_true(e.tuned.value[2] > e.plain.value[2]);
    for (int k = 0; k < 3; k++)
        assert_true(e.tuned.low[k] <= e.tuned.value[k] && e.tuned.value[k] <= e.tuned.high[k]);
}

static bool stop(void *user, double done)
{
    return true;
}

static void test_refusals(void **unused)
{
    struct store_tune_report report;
    struct store_eval_report evaluation;
    struct store_settings settings = {.model = "m", .dimension = DIM, .descriptor = WHOLE, .metric = STORE_COSINE};
    OK(store_create(store, "cosine", &settings, 0, err));
    REFUSED(ERR_UNSUPPORTED, "L2", store_tune(store, "cosine", &options, &report, err));
    settings.metric = STORE_L2;
    OK(store_create(store, "empty", &settings, 0, err));
    REFUSED(ERR_INVALID, "pictures", store_tune(store, "empty", &options, &report, err));
    REFUSED(ERR_INVALID, "", store_eval(store, "empty", &options, &evaluation, err));
    REFUSED(ERR_NOT_FOUND, "nothere", store_tune(store, "nothere", &options, &report, err));
    REFUSED(ERR_INVALID, "another form", store_tune(store, "c", NULL, &report, err));
    struct store_tune_options stopped = options;
    stopped.progress = stop;
    REFUSED(ERR_UNAVAILABLE, "stopped", store_tune(store, "c", &stopped, &report, err));
    struct store *memory = NULL;
    OK(store_open_memory(&memory, err));
    REFUSED(ERR_UNSUPPORTED, "memory", store_tune(memory, "c", &options, &report, err));
    store_close(memory);
}

/* Past queries are kept over a restart, at most so many, and give a second mean. */
static void test_past_queries(void **unused)
{
    struct store_tune_report report;
    for (int i = 0; i < 60; i++) {
        struct store_records r = search(pictures[i], 1, 0, false);
        store_records_free(&r);
    }
    store_close(store);
    open_store();
    OK(store_tune(store, "c", &options, &report, err));
    assert_int_equal(report.queries, 60);
    check_search(7);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_tuned), T(test_damaged_file), T(test_eval), T(test_refusals), T(test_past_queries),
        T(test_backup), T(test_past_on_disk), T(test_copies), T(test_scale), T(test_scale_beside_a_crowd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
