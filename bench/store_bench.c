/*
 * What the embedded store does by itself, vectors given: durable writes a second for 1 and 16 clients, rows
 * and bytes a second of the exact scan, time to open. Prints a table; removes what it made.
 *
 *     store_bench FOLDER [rows [dimension [writes]]]
 *
 * FOLDER must be on the disk that is meant: on a RAM disk an fsync costs nothing and the first table says
 * nothing.
 */
#include "base/clock.h"
#include "base/parse.h"
#include "store/store.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#define COLLECTION "bench"
#define MAX_CLIENTS 64
#define BATCH 256

struct bench {
    struct store *store;
    uint32_t dimension;
    atomic_llong next; /* fileid */
    long long end;
    atomic_int failed;
};

static void fill(float *v, uint32_t dimension, uint64_t seed)
{
    for (uint32_t i = 0; i < dimension; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        v[i] = (float)(seed >> 40) / 16777216.0f - 0.5f;
    }
}

static bool ok(enum result r, const struct err *err)
{
    if (r)
        fprintf(stderr, "store_bench: %s\n", err->message);
    return !r;
}

static void *client(void *user)
{
    struct bench *b = user;
    float *v = malloc(b->dimension * sizeof *v);
    long long id;
    while (v && (id = atomic_fetch_add(&b->next, 1)) < b->end) {
        struct err err;
        fill(v, b->dimension, (uint64_t)id);
        struct store_write w = {.kind = STORE_PUT,
            .fileid = id,
            .tags = "[\"a\",\"b\"]",
            .brief = "{\"name\":\"something\"}",
            .vector = v,
            .dimension = b->dimension};
        if (!ok(store_write(b->store, COLLECTION, &w, 1, CLOCK_NO_DEADLINE, &err), &err))
            atomic_store(&b->failed, 1);
    }
    free(v);
    return NULL;
}

static double writes_per_second(struct bench *b, int clients, long long writes)
{
    pthread_t threads[MAX_CLIENTS];
    int64_t start = clock_now_us();
    b->end = atomic_load(&b->next) + writes;
    for (int i = 0; i < clients; i++)
        if (pthread_create(&threads[i], NULL, client, b))
            exit(1);
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&b->next, b->end);
    return (double)writes * 1e6 / (double)(clock_now_us() - start);
}

static bool bulk(struct bench *b, long long rows)
{
    struct store_write *w = calloc(BATCH, sizeof *w);
    float *v = malloc(sizeof *v * BATCH * b->dimension);
    bool good = w && v;
    for (long long done = 0; good && done < rows;) {
        size_t n = 0;
        struct err err;
        for (; n < BATCH && done < rows; n++, done++) {
            long long id = atomic_fetch_add(&b->next, 1);
            fill(v + n * b->dimension, b->dimension, (uint64_t)id);
            w[n] = (struct store_write){.kind = STORE_PUT,
                .fileid = id,
                .has_itemid = true,
                .itemid = id / 3,
                .tags = "[]",
                .brief = "{}",
                .vector = v + n * b->dimension,
                .dimension = b->dimension};
        }
        good = ok(store_write(b->store, COLLECTION, w, n, CLOCK_NO_DEADLINE, &err), &err);
    }
    free(w);
    free(v);
    return good;
}

/* The best of some, in milliseconds. */
static double search_ms(struct bench *b, bool group, uint32_t limit, int times)
{
    double best = 1e30;
    float *v = malloc(sizeof *v * b->dimension);
    if (!v)
        return 0;
    for (int i = 0; i < times; i++) {
        struct store_records records = {0};
        struct err err;
        fill(v, b->dimension, (uint64_t)i + 999999);
        struct store_query q = {.vector = v, .dimension = b->dimension, .limit = limit, .group = group};
        int64_t start = clock_now_us();
        if (!ok(store_search(b->store, COLLECTION, &q, CLOCK_NO_DEADLINE, &records, &err), &err))
            break;
        double ms = (double)(clock_now_us() - start) / 1000;
        best = ms < best ? ms : best;
        store_records_free(&records);
    }
    free(v);
    return best;
}

static bool measure(
    struct bench *b, const struct store_open_options *options, long long rows, long long writes)
{
    struct err err;
    struct store_settings settings = {.model = "bench", .dimension = b->dimension, .metric = STORE_L2};
    uint64_t count = 0;
    if (!ok(store_create(b->store, COLLECTION, &settings, CLOCK_NO_DEADLINE, &err), &err))
        return false;
    double one = writes_per_second(b, 1, writes / 4), many = writes_per_second(b, 16, writes * 2);
    printf("durable writes, 1 client    %10.0f /s\n", one);
    printf("durable writes, 16 clients  %10.0f /s   %.1f times\n", many, many / one);
    int64_t start = clock_now_us();
    if (!bulk(b, rows))
        return false;
    printf("bulk writes, %d a call     %10.0f /s\n", BATCH,
        (double)rows * 1e6 / (double)(clock_now_us() - start));

    start = clock_now_us();
    store_close(b->store);
    b->store = NULL;
    printf("close                       %10.1f ms\n", (double)(clock_now_us() - start) / 1000);
    start = clock_now_us();
    if (!ok(store_open_embedded(options, &b->store, &err), &err) ||
        !ok(store_count(b->store, COLLECTION, CLOCK_NO_DEADLINE, &count, &err), &err))
        return false;
    printf("open, %8" PRIu64 " rows        %10.1f ms\n", count, (double)(clock_now_us() - start) / 1000);
    printf("first search, verifies      %10.1f ms\n", search_ms(b, true, 10, 1));
    const struct {
        const char *name;
        bool group;
        uint32_t limit;
    } kinds[] = {{"scan, best 10             ", false, 10}, {"scan, best 10 items       ", true, 10},
        {"scan, best 1000 items     ", true, 1000}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        double ms = search_ms(b, kinds[i].group, kinds[i].limit, 10);
        printf("%s  %10.1f ms   %.2f million rows/s   %.2f GB/s\n", kinds[i].name, ms,
            (double)count / ms / 1000, (double)count * b->dimension * 2 / ms / 1e6);
    }
    return ok(store_drop(b->store, COLLECTION, CLOCK_NO_DEADLINE, &err), &err);
}

int main(int argc, char **argv)
{
    uint64_t rows = 100000, dimension = 1280, writes = 4000;
    if (argc < 2 || argc > 5 || (argc > 2 && !parse_u64(argv[2], strlen(argv[2]), 100000000, &rows)) ||
        (argc > 3 && !parse_u64(argv[3], strlen(argv[3]), 32768, &dimension)) ||
        (argc > 4 && !parse_u64(argv[4], strlen(argv[4]), 100000000, &writes))) {
        fprintf(stderr, "usage: store_bench FOLDER [rows [dimension [writes]]]\n");
        return 2;
    }
    struct store_open_options options = {.data = argv[1]};
    struct bench b = {.dimension = (uint32_t)dimension};
    struct err err;
    if (!ok(store_open_embedded(&options, &b.store, &err), &err))
        return 1;
    bool good = measure(&b, &options, (long long)rows, (long long)writes);
    store_close(b.store);
    return good && !atomic_load(&b.failed) ? 0 : 1;
}
