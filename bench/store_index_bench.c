/*
 * The embedded store with its index, as a server uses it:
 *
 *     store_index_bench FOLDER [RECORDS] [DIMENSION] [CHANGES]       a new folder; 100000, 256, 0
 *
 * - the build: records a second until all is linked
 * - searches one at a time: median, 99th percentile, worst; recall@10 of 200 of them against exact ones
 * - the same while two threads write, in calls of 1 and of 1,000 records, and while the index is saved
 * - CHANGES random replacements, deletes and inserts: recall and memory afterwards, against the start
 * - the restart: milliseconds to open, to the first answer, and until the index is ready
 *
 * Vectors are random ones in clumps, which is not what pictures give; bench/ann has those.
 */
#include "base/clock.h"
#include "base/parse.h"
#include "store/embedded/embedded.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLUMPS 2000
#define MANY 1000

static struct store *store;
static uint32_t dimension = 256;
static uint64_t rows = 100000;
static _Atomic bool stop;
static _Atomic uint64_t written;

static uint32_t chance(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return (uint32_t)(*s >> 32);
}

static void random_vector(uint64_t *seed, float *v)
{
    uint64_t clump = (chance(seed) % CLUMPS + 1) * 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < dimension; i++)
        v[i] = (float)(chance(&clump) % 2001) / 1000 - 1 + 0.8f * ((float)(chance(seed) % 2001) / 1000 - 1);
}

static void need(enum result r, const struct err *err)
{
    if (!r)
        return;
    fprintf(stderr, "store_index_bench: %s\n", err->message);
    exit(1);
}

static void put(uint64_t *seed, uint64_t first, size_t count, bool anywhere)
{
    struct err err = {0};
    struct store_write *w = calloc(count, sizeof *w);
    float *v = malloc(count * dimension * sizeof *v);
    if (!w || !v)
        exit(1);
    for (size_t i = 0; i < count; i++) {
        uint64_t id = anywhere ? chance(seed) % rows : first + i;
        bool delete = anywhere && chance(seed) % 4 == 0;
        random_vector(seed, v + i * dimension);
        w[i] = (struct store_write){.kind = delete ? STORE_DELETE : STORE_PUT,
            .fileid = (int64_t)id,
            .tags = "[]",
            .brief = "{}",
            .vector = v + i * dimension};
    }
    need(store_write(store, "c", w, count, 0, &err), &err);
    atomic_fetch_add(&written, count);
    free(w);
    free(v);
}

static struct store_stats stats_of(void)
{
    struct store_stats s;
    struct err err = {0};
    need(store_stats(store, "c", 0, &s, &err), &err);
    return s;
}

static void wait_linked(bool linked)
{
    for (struct store_stats s = stats_of();
         s.index.state != STORE_INDEX_READY || (linked && s.index.waiting); s = stats_of())
        usleep(linked ? 100000 : 1000);
}

/* Until nothing changes any more: the dead are cut out and memory is given back behind the writers. */
static struct store_stats at_rest(void)
{
    struct store_stats last = stats_of(), s = last;
    for (unsigned same = 0; same < 20; same++) {
        usleep(100000);
        s = stats_of();
        if (s.index.bytes_memory != last.index.bytes_memory || s.index.dead != last.index.dead || s.index.waiting)
            same = 0;
        last = s;
    }
    return s;
}

static double bytes_a_record(const struct store_stats *s)
{
    return (double)s->index.bytes_memory / (double)s->records;
}

/* --- searching ------------------------------------------------------------------------------------------ */

static int compare_us(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void search(const float *v, bool exact, struct store_records *out)
{
    struct err err = {0};
    struct store_query q = {.vector = v, .limit = 10, .exact = exact};
    need(store_search(store, "c", &q, 0, out, &err), &err);
}

static void measure(const char *what, int count)
{
    uint64_t seed = 12345;
    float *v = malloc(dimension * sizeof *v);
    int64_t *us = malloc((size_t)count * sizeof *us);
    if (!v || !us)
        exit(1);
    for (int i = 0; i < count; i++) {
        struct store_records r = {0};
        random_vector(&seed, v);
        int64_t start = clock_now_us();
        search(v, false, &r);
        us[i] = clock_now_us() - start;
        store_records_free(&r);
    }
    qsort(us, (size_t)count, sizeof *us, compare_us);
    printf("%-34s median %7.2f ms, p99 %7.2f ms, worst %7.2f ms\n", what, (double)us[count / 2] / 1000,
        (double)us[count - 1 - count / 100] / 1000, (double)us[count - 1] / 1000);
    fflush(stdout);
    free(v);
    free(us);
}

static double recall(void)
{
    uint64_t seed = 999;
    int good = 0, all = 0;
    float *v = malloc(dimension * sizeof *v);
    for (int i = 0; v && i < 200; i++) {
        struct store_records a = {0}, b = {0};
        random_vector(&seed, v);
        search(v, false, &a);
        search(v, true, &b);
        all += (int)b.count;
        for (size_t j = 0; j < b.count; j++)
            for (size_t k = 0; k < a.count; k++)
                good += a.items[k].fileid == b.items[j].fileid;
        store_records_free(&a);
        store_records_free(&b);
    }
    free(v);
    return (double)good / all;
}

/* --- beside ---------------------------------------------------------------------------------------------- */

static void *write_ones(void *user)
{
    uint64_t seed = 77;
    while (!atomic_load(&stop))
        put(&seed, 0, 1, true);
    return NULL;
}

static void *write_many(void *user)
{
    uint64_t seed = 78;
    while (!atomic_load(&stop)) {
        put(&seed, 0, MANY, true);
        usleep(200000);
    }
    return NULL;
}

static void *save(void *user)
{
    struct err err = {0};
    while (!atomic_load(&stop))
        need(store_embedded_save_index(store, "c", &err), &err);
    return NULL;
}

static void measure_beside(const char *what, void *(*beside)(void *), int count)
{
    pthread_t thread;
    atomic_store(&stop, false);
    if (pthread_create(&thread, NULL, beside, NULL))
        exit(1);
    measure(what, count);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

static void churn(uint64_t changes, double fresh)
{
    uint64_t seed = 5;
    int64_t start = clock_now_us();
    for (uint64_t i = 0; i < changes; i += MANY)
        put(&seed, 0, MANY, true);
    int64_t wrote = clock_now_us() - start;
    wait_linked(true);
    struct store_stats s = stats_of();
    printf("%" PRIu64 " changes: written in %.1f s, linked in %.1f s, recall@10 %.4f, %" PRIu64
           " records, %" PRIu64 " dead rows, %" PRIu64 " repairs\n",
        changes, (double)wrote / 1e6, (double)(clock_now_us() - start) / 1e6, recall(), s.records,
        s.index.dead, s.index.repairs);
    struct store_stats rest = at_rest();
    printf("at rest after %.1f s: recall@10 %.4f, %" PRIu64 " dead rows\n"
           "memory of the index a record: %.0f bytes fresh, %.0f after the changes, %.0f at rest\n",
        (double)(clock_now_us() - start) / 1e6, recall(), rest.index.dead, fresh, bytes_a_record(&s), bytes_a_record(&rest));
}

static void restart(const char *folder)
{
    struct store_open_options options = {.data = folder};
    struct store_records r = {0};
    struct err err = {0};
    uint64_t seed = 4;
    float *v = malloc(dimension * sizeof *v);
    if (!v)
        exit(1);
    random_vector(&seed, v);
    int64_t start = clock_now_us();
    store_close(store);
    int64_t closed = clock_now_us();
    need(store_open_embedded(&options, &store, &err), &err);
    int64_t opened = clock_now_us();
    search(v, false, &r);
    int64_t answered = clock_now_us();
    wait_linked(false);
    int64_t ready = clock_now_us();
    printf("restart: close %.0f ms, open %.0f, first answer %.0f, index ready %.0f\n",
        (double)(closed - start) / 1000, (double)(opened - closed) / 1000,
        (double)(answered - closed) / 1000, (double)(ready - closed) / 1000);
    store_records_free(&r);
    free(v);
}

int main(int argc, char **argv)
{
    uint64_t dim = dimension, changes = 0, seed = 1;
    struct err err = {0};
    if (argc < 2 || argc > 5 || (argc > 2 && !parse_u64(argv[2], strlen(argv[2]), 100000000, &rows)) ||
        (argc > 3 && !parse_u64(argv[3], strlen(argv[3]), 32768, &dim)) ||
        (argc > 4 && !parse_u64(argv[4], strlen(argv[4]), 100000000, &changes))) {
        fputs("usage: store_index_bench FOLDER [RECORDS] [DIMENSION] [CHANGES]\n", stderr);
        return 2;
    }
    dimension = (uint32_t)dim;
    struct store_open_options options = {.data = argv[1]};
    struct store_settings settings = {.model = "bench", .dimension = dimension, .metric = STORE_L2};
    need(store_open_embedded(&options, &store, &err), &err);
    need(store_create(store, "c", &settings, 0, &err), &err);
    int64_t start = clock_now_us();
    for (uint64_t i = 0; i < rows; i += MANY)
        put(&seed, i, rows - i < MANY ? (size_t)(rows - i) : MANY, false);
    double wrote = (double)(clock_now_us() - start) / 1e6;
    wait_linked(true);
    double built = (double)(clock_now_us() - start) / 1e6;
    struct store_stats s = stats_of();
    printf("%" PRIu64 " x %" PRIu32 ": written in %.1f s, linked in %.1f s (%.0f a second); index %.0f bytes a record\n",
        rows, dimension, wrote, built, (double)rows / built, bytes_a_record(&s));
    fflush(stdout);
    measure("searches alone", 2000);
    printf("recall@10 %.4f\n", recall());
    measure_beside("while single records are written", write_ones, 2000);
    measure_beside("while 1,000 at once are written", write_many, 2000);
    measure_beside("while the index is saved", save, 2000);
    if (changes)
        churn(changes, bytes_a_record(&s));
    restart(argv[1]);
    store_close(store);
    return 0;
}
