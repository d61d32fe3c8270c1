#include "base/metrics.h"

#include "base/clock.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };
#define LABELS_MAX 8
#define BUCKETS 16
#define HISTOGRAMS 2

/* Upper bounds: of microseconds, and of pictures. */
static const int64_t time_buckets[BUCKETS] = {500, 1000, 2000, 3000, 5000, 7500, 10000, 20000, 30000, 50000, 100000, 250000, 500000,
    1000000, 5000000, 20000000};
static const int64_t count_buckets[BUCKETS] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};

static const struct family {
    const char *name;
    enum kind kind;
    bool elsewhere; /* its numbers are written by api/ or read from the system */
    const char *label, *values[LABELS_MAX];
    const char *help;
} families[METRIC_COUNT] = {
    [METRIC_BUILD_INFO] = {"lookalike_build_info", GAUGE, true, "version", {0}, "version of the server; always 1"},
    [METRIC_HTTP_REQUESTS] = {"lookalike_http_requests_total", COUNTER, true, "method, route, status", {0}, "requests answered"},
    [METRIC_STAGE_SECONDS] = {"lookalike_stage_seconds", HISTOGRAM, false, "stage",
        {"queue", "fetch", "decode_wait", "decode", "embed", "search", "write", "request"}, "time in each stage of the work on a request"},
    [METRIC_BATCH_PICTURES] = {"lookalike_batch_pictures", HISTOGRAM, false, NULL, {0}, "pictures in one run of the model"},
    [METRIC_QUEUE_LENGTH] = {"lookalike_queue_length", GAUGE, false, "queue", {"requests", "decode", "embed"},
        "who waits: requests for a worker, pictures for a decoder, pictures for the model"},
    [METRIC_REFUSED] = {"lookalike_refused_total", COUNTER, false, "reason", {"no_key", "right", "rate", "busy", "late", "large"},
        "requests turned away before any work"},
    [METRIC_OVERLOAD] = {"lookalike_overload", GAUGE, false, NULL, {0}, "1 while more pictures come than can be answered, and some are turned away"},
    [METRIC_CONNECTIONS] = {"lookalike_connections", GAUGE, false, NULL, {0}, "open connections of clients"},
    [METRIC_BODY_BYTES] = {"lookalike_body_bytes", GAUGE, false, NULL, {0}, "memory that holds request bodies"},
    [METRIC_RECEIVED_BYTES] = {"lookalike_received_bytes_total", COUNTER, false, NULL, {0}, "bytes of request bodies"},
    [METRIC_SENT_BYTES] = {"lookalike_sent_bytes_total", COUNTER, false, NULL, {0}, "bytes of reply bodies"},
    [METRIC_FETCHES] = {"lookalike_fetches_total", COUNTER, false, "outcome", {"ok", "refused", "failed"}, "downloads of `url`"},
    [METRIC_FETCHED_BYTES] = {"lookalike_fetched_bytes_total", COUNTER, false, NULL, {0}, "bytes downloaded"},
    [METRIC_DECODES] = {"lookalike_decodes_total", COUNTER, false, "outcome", {"ok", "refused", "crashed", "timeout"}, "pictures decoded"},
    [METRIC_SANDBOX_WORKERS] = {"lookalike_sandbox_workers", GAUGE, false, NULL, {0}, "decoder processes that run; 0 without sandbox"},
    [METRIC_SANDBOX_RESTARTS] = {"lookalike_sandbox_restarts_total", COUNTER, false, NULL, {0}, "decoder processes that died and were replaced"},
    [METRIC_COLLECTIONS] = {"lookalike_collections", GAUGE, true, NULL, {0}, "collections in the store"},
    [METRIC_COLLECTION_RECORDS] = {"lookalike_collection_records", GAUGE, true, "collection", {0}, "records of a collection"},
    [METRIC_COLLECTION_ITEMS] = {"lookalike_collection_items", GAUGE, true, "collection", {0}, "items of a collection"},
    [METRIC_COLLECTION_DAMAGED] = {"lookalike_collection_damaged", GAUGE, true, "collection", {0}, "records whose vector is damaged on disk"},
    [METRIC_COLLECTION_DISK] = {"lookalike_collection_disk_bytes", GAUGE, true, "collection", {0}, "size on disk"},
    [METRIC_COLLECTION_MEMORY] = {"lookalike_collection_memory_bytes", GAUGE, true, "collection", {0}, "memory held for a collection"},
    [METRIC_INDEX_LIVE] = {"lookalike_collection_index_live", GAUGE, true, "collection", {0}, "records in a collection's index"},
    [METRIC_INDEX_WAITING] = {"lookalike_collection_index_waiting", GAUGE, true, "collection", {0}, "records that its index has not linked yet; searches scan them"},
    [METRIC_INDEX_DEAD] = {"lookalike_collection_index_dead", GAUGE, true, "collection", {0}, "deleted records that still stand in its index"},
    [METRIC_INDEX_MEMORY] = {"lookalike_collection_index_bytes", GAUGE, true, "collection", {0}, "memory of its index"},
    [METRIC_INDEX_REPAIRS] = {"lookalike_collection_index_repairs_total", COUNTER, true, "collection", {0}, "repairs of its index since it was opened"},
    [METRIC_INDEX_SAVES] = {"lookalike_collection_index_saves_total", COUNTER, true, "collection", {0}, "saves of its index since it was opened"},
    [METRIC_COLUMNS_MEMORY] = {"lookalike_collection_columns_bytes", GAUGE, true, "collection", {0}, "memory of the columns that filters need"},
    [METRIC_MEMORY] = {"process_resident_memory_bytes", GAUGE, true, NULL, {0}, "resident memory of the server"},
    [METRIC_CPU_SECONDS] = {"process_cpu_seconds_total", COUNTER, true, NULL, {0}, "CPU time of the server"},
    [METRIC_OPEN_FILES] = {"process_open_fds", GAUGE, true, NULL, {0}, "open file descriptors"},
    [METRIC_START_TIME] = {"process_start_time_seconds", GAUGE, true, NULL, {0}, "when the server was started, since 1970"},
};

struct histogram {
    atomic_uint_fast64_t buckets[BUCKETS + 1], sum;
};

static _Atomic int64_t numbers[METRIC_COUNT][LABELS_MAX];
static struct histogram histograms[HISTOGRAMS][LABELS_MAX];

void metrics_add(enum metric metric, unsigned label, uint64_t n)
{
    atomic_fetch_add_explicit(&numbers[metric][label], (int64_t)n, memory_order_relaxed);
}

void metrics_change(enum metric metric, unsigned label, int64_t by)
{
    atomic_fetch_add_explicit(&numbers[metric][label], by, memory_order_relaxed);
}

void metrics_set(enum metric metric, unsigned label, int64_t value)
{
    atomic_store_explicit(&numbers[metric][label], value, memory_order_relaxed);
}

static struct histogram *histogram_of(enum metric metric, unsigned label)
{
    return &histograms[metric == METRIC_STAGE_SECONDS ? 0 : 1][label];
}

void metrics_observe(enum metric metric, unsigned label, int64_t value)
{
    const int64_t *bounds = metric == METRIC_STAGE_SECONDS ? time_buckets : count_buckets;
    struct histogram *h = histogram_of(metric, label);
    size_t i = 0;
    value = value < 0 ? 0 : value;
    while (i < BUCKETS && value > bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, (uint64_t)value, memory_order_relaxed);
}

const char *metrics_name(enum metric metric)
{
    return families[metric].name;
}

enum result metrics_head(struct buf *out, enum metric metric)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    const struct family *f = &families[metric];
    return buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kinds[f->kind]);
}

static enum result write_histogram(struct buf *out, enum metric metric, unsigned label)
{
    const struct family *f = &families[metric];
    struct histogram *h = histogram_of(metric, label);
    bool time = metric == METRIC_STAGE_SECONDS;
    uint64_t count = 0;
    char with[64] = "", alone[64] = "";
    enum result r = ERR_OK;
    if (f->label) {
        snprintf(with, sizeof with, "%s=\"%s\",", f->label, f->values[label]);
        snprintf(alone, sizeof alone, "{%s=\"%s\"}", f->label, f->values[label]);
    }
    for (size_t i = 0; i <= BUCKETS && r == ERR_OK; i++) {
        count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        if (i == BUCKETS)
            r = buf_appendf(out, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", f->name, with, count);
        else if (time)
            r = buf_appendf(out, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", f->name, with, (double)time_buckets[i] / 1e6, count);
        else
            r = buf_appendf(out, "%s_bucket{%sle=\"%" PRId64 "\"} %" PRIu64 "\n", f->name, with, count_buckets[i], count);
    }
    double sum = (double)atomic_load_explicit(&h->sum, memory_order_relaxed) / (time ? 1e6 : 1);
    return r ? r : buf_appendf(out, "%s_sum%s %.6f\n%s_count%s %" PRIu64 "\n", f->name, alone, sum, f->name, alone, count);
}

static enum result write_family(struct buf *out, enum metric metric)
{
    const struct family *f = &families[metric];
    enum result r = metrics_head(out, metric);
    for (unsigned i = 0; i < LABELS_MAX && r == ERR_OK && (f->values[i] || i == 0); i++) {
        int64_t value = atomic_load_explicit(&numbers[metric][i], memory_order_relaxed);
        if (f->kind == HISTOGRAM)
            r = write_histogram(out, metric, i);
        else if (f->label)
            r = buf_appendf(out, "%s{%s=\"%s\"} %" PRId64 "\n", f->name, f->label, f->values[i], value);
        else
            r = buf_appendf(out, "%s %" PRId64 "\n", f->name, value);
    }
    return r;
}

/* --- of the process ------------------------------------------------------------------------------------------- */

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", "..", and the one that looks */
}

static double start_time(void)
{
    static _Atomic int64_t start; /* by the first call, which the server makes when it starts */
    int64_t none = 0, now = (int64_t)time(NULL);
    atomic_compare_exchange_strong(&start, &none, now);
    return (double)atomic_load(&start);
}

static enum result write_process(struct buf *out)
{
    struct rusage usage;
    double cpu = 0;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
              (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    const struct {
        enum metric metric;
        double value;
    } rows[] = {{METRIC_MEMORY, (double)resident_bytes()}, {METRIC_CPU_SECONDS, cpu}, {METRIC_OPEN_FILES, open_files()},
        {METRIC_START_TIME, start_time()}};
    enum result r = ERR_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && r == ERR_OK; i++) {
        r = metrics_head(out, rows[i].metric);
        if (r == ERR_OK)
            r = buf_appendf(out, "%s %.*f\n", metrics_name(rows[i].metric), rows[i].metric == METRIC_CPU_SECONDS ? 3 : 0, rows[i].value);
    }
    return r;
}

enum result metrics_write(struct buf *out)
{
    enum result r = ERR_OK;
    for (unsigned m = 0; m < METRIC_COUNT && r == ERR_OK; m++)
        if (!families[m].elsewhere)
            r = write_family(out, (enum metric)m);
    return r ? r : write_process(out);
}
