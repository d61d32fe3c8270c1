/*
 * What this program adds to a Milvus, and what a Milvus adds to a search:
 *
 *   milvus_bench fill URI SET [ROWS]          puts the rows of a set of bench/ann/vectors.py into collection "bench" of a Milvus
 *   milvus_bench copy URI DATA                the same collection into an embedded store: lookalike migrate does it as well
 *   milvus_bench plain URI SET CLIENTS SECONDS     searches over gRPC alone: the request is made once, the reply is read
 *   milvus_bench server URL SET CLIENTS SECONDS    the same searches by POST /v1/collections/bench/search
 *   milvus_bench both URI URL SET SECONDS          both in turn, a search each, by one client: the difference is the overhead
 *
 * Searches ask for the 10 nearest rows with their texts, ungrouped, at HNSW's ef 128 and level Bounded (give the server
 * --milvus-consistency bounded). Recall is measured against an exact search of the first 200 queries. JSON lines.
 */
#include "base/clock.h"
#include "base/parse.h"
#include "fetch/http_client.h"
#include "json/json.h"
#include "kernel/kernel.h"
#include "store/migrate.h"
#include "store/milvus/milvus.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define K 10
#define EF "128"
#define CLIENTS_MAX 256
#define JUDGED 200
#define SAMPLES_MAX (1 << 20)

struct set {
    uint32_t dimension, base_count, query_count;
    const uint16_t *base;
    float *queries;
};

static void fail(const char *what)
{
    fprintf(stderr, "milvus_bench: %s\n", what);
    exit(1);
}

static void must(enum result r, const struct err *err)
{
    if (r)
        fail(err->message);
}

static const uint16_t *map(const char *folder, const char *name, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || (size_t)st.st_size < bytes)
        fail("SET is no set of bench/ann/vectors.py");
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        fail("no memory");
    return p;
}

static void read_set(const char *folder, struct set *s)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/shape.json", folder);
    FILE *f = fopen(path, "re");
    if (!f || fscanf(f, "{\"dimension\": %u, \"base\": %u, \"queries\": %u}", &s->dimension, &s->base_count, &s->query_count) != 3)
        fail("SET has no shape.json: make it with bench/ann/vectors.py");
    fclose(f);
    s->base = map(folder, "base.f16", (size_t)s->base_count * s->dimension * 2);
    const uint16_t *halves = map(folder, "queries.f16", (size_t)s->query_count * s->dimension * 2);
    s->queries = malloc((size_t)s->query_count * s->dimension * sizeof *s->queries);
    if (!s->queries)
        fail("no memory");
    kernel_get()->f16_to_f32(halves, s->queries, (size_t)s->query_count * s->dimension);
}

static const float *query(const struct set *s, uint64_t n)
{
    return s->queries + n % s->query_count * s->dimension;
}

/* --- filling ------------------------------------------------------------------------------------------------------------- */

static void fill(const char *uri, const struct set *s, uint64_t rows)
{
    enum { STEP = 800 };
    struct err err = {0};
    struct store *store = NULL;
    struct store_milvus_options options = {.uri = uri, .timeout_ms = 120000};
    struct store_settings settings = {.model = "efficientnet-lite0", .dimension = s->dimension};
    float *v = malloc((size_t)STEP * s->dimension * sizeof *v);
    struct store_write *w = calloc(STEP, sizeof *w);
    char (*brief)[96] = calloc(STEP, sizeof *brief);
    if (!v || !w || !brief)
        fail("no memory");
    must(store_open_milvus(&options, &store, &err), &err);
    must(store_create(store, "bench", &settings, 0, &err), &err);
    for (uint64_t at = 0; at < rows; at += STEP) {
        size_t n = rows - at < STEP ? rows - at : STEP;
        kernel_get()->f16_to_f32(s->base + at * s->dimension, v, n * s->dimension);
        for (size_t i = 0; i < n; i++) {
            snprintf(brief[i], sizeof *brief, "{\"name\":\"article %" PRIu64 "\",\"price\":%" PRIu64 "}", at + i, (at + i) % 1000);
            w[i] = (struct store_write){.kind = STORE_PUT, .fileid = (int64_t)(at + i), .tags = "[\"red\",\"new\"]", .brief = brief[i],
                .vector = v + i * s->dimension};
        }
        must(store_write(store, "bench", w, n, 0, &err), &err);
    }
    printf("{\"rows\":%" PRIu64 "}\n", rows);
    store_close(store);
    free(v);
    free(w);
    free(brief);
}

static void copy(const char *uri, const char *data)
{
    struct err err = {0};
    struct store *from = NULL, *to = NULL;
    struct store_milvus_options milvus = {.uri = uri, .timeout_ms = 120000};
    struct store_open_options embedded = {.data = data};
    struct store_migrate_report report;
    must(store_open_milvus(&milvus, &from, &err), &err);
    must(store_open_embedded(&embedded, &to, &err), &err);
    struct store_migrate m = {.from = from, .to = to, .collection = "bench", .sample = 1000};
    must(store_migrate(&m, &report, &err), &err);
    printf("{\"copied\":%" PRIu64 ",\"different\":%" PRIu64 "}\n", report.written, report.different);
    store_close(from);
    store_close(to);
}

/* --- clients ------------------------------------------------------------------------------------------------------------- */

struct bench {
    struct set *set;
    struct milvus_link *link; /* plain */
    const char *url;          /* server */
    char **bodies;            /* of the server's requests, one a query */
    int64_t end_ms;
    atomic_ullong next, count;
    float *samples; /* milliseconds */
    atomic_int failed;
};

static char *make_body(const float *v, uint32_t dimension)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    enum result r = buf_append_str(&b, "{\"limit\":10,\"group\":false,\"vector\":[");
    for (uint32_t i = 0; i < dimension && !r; i++) {
        r = i ? buf_append_str(&b, ",") : ERR_OK;
        if (!r)
            r = json_append_float(&b, v[i]);
    }
    if (r || buf_append_str(&b, "]}"))
        fail("no memory");
    return buf_take(&b, NULL);
}

#define KV(k, v) {PROTOBUF_C_MESSAGE_INIT(&mv__key_value__descriptor), (char *)(uintptr_t)(k), (char *)(uintptr_t)(v)}

static uint8_t *placeholder(const float *v, uint32_t dimension, size_t *len)
{
    ProtobufCBinaryData value = {.len = dimension * sizeof *v, .data = (uint8_t *)(uintptr_t)v};
    static char tag[] = "$0";
    Mv__PlaceholderValue one = MV__PLACEHOLDER_VALUE__INIT, *list[] = {&one};
    one.tag = tag;
    one.type = MILVUS_FLOAT_VECTOR;
    one.values = &value;
    one.n_values = 1;
    Mv__PlaceholderGroup group = MV__PLACEHOLDER_GROUP__INIT;
    group.placeholders = list;
    group.n_placeholders = 1;
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(&group.base));
    if (!bytes)
        fail("no memory");
    *len = protobuf_c_message_pack(&group.base, bytes);
    return bytes;
}

/* Fileids of the hits into `out`, which has room for K; their number. */
static size_t plain_search(struct bench *b, uint64_t n, int64_t *out)
{
    static char name[] = "bench", none[] = "", itemid[] = "itemid", tags[] = "tags", brief[] = "brief", *fields[] = {itemid, tags, brief};
    Mv__KeyValue params[] = {KV("anns_field", "vectors"), KV("topk", "10"), KV("metric_type", "L2"), KV("params", "{\"ef\":" EF "}"),
                     KV("round_decimal", "-1")},
                 *pointers[] = {&params[0], &params[1], &params[2], &params[3], &params[4]};
    Mv__SearchRequest request = MV__SEARCH_REQUEST__INIT;
    request.collection_name = name;
    request.dsl = none;
    request.dsl_type = 1;
    request.nq = 1;
    request.output_fields = fields;
    request.n_output_fields = 3;
    request.search_params = pointers;
    request.n_search_params = 5;
    request.consistency_level = 2; /* bounded */
    request.placeholder_group.data = placeholder(query(b->set, n), b->set->dimension, &request.placeholder_group.len);
    struct milvus_call call = {.method = "Search", .request = &request.base, .reply = &mv__search_reply__descriptor};
    ProtobufCMessage *reply = NULL;
    struct err err = {0};
    must(milvus_call(b->link, &call, &reply, &err), &err);
    const Mv__SearchReply *s = (const Mv__SearchReply *)(void *)reply;
    size_t count = s->results && s->results->ids && s->results->ids->int_id ? s->results->ids->int_id->n_data : 0;
    for (size_t i = 0; i < count && i < K; i++)
        out[i] = s->results->ids->int_id->data[i];
    free(request.placeholder_group.data);
    protobuf_c_message_free_unpacked(reply, NULL);
    return count < K ? count : K;
}

static size_t server_search(struct bench *b, struct http_client *client, uint64_t n, int64_t *out)
{
    const char *body = b->bodies[n % b->set->query_count];
    struct http_client_request request = {.method = "POST", .path = "/v1/collections/bench/search", .content_type = "application/json",
        .body = body, .body_len = strlen(body)};
    struct buf reply;
    struct err err = {0};
    long status = 0;
    size_t count = 0;
    buf_init(&reply, 1 << 22);
    must(http_client_send(client, &request, &status, &reply, &err), &err);
    if (status != 200)
        fail(reply.data);
    for (const char *p = reply.data; (p = strstr(p, "\"fileid\":")) && count < K; count++)
        out[count] = strtoll(p += 9, NULL, 10);
    buf_free(&reply);
    return count;
}

static void *client(void *user)
{
    struct bench *b = user;
    struct http_client *http = NULL;
    struct err err = {0};
    int64_t hits[K];
    if (b->url)
        must(http_client_new(b->url, &http, &err), &err);
    while (clock_now_ms() < b->end_ms) {
        uint64_t n = atomic_fetch_add(&b->next, 1);
        int64_t start = clock_now_us();
        size_t found = b->url ? server_search(b, http, n, hits) : plain_search(b, n, hits);
        uint64_t at = atomic_fetch_add(&b->count, 1);
        if (at < SAMPLES_MAX)
            b->samples[at] = (float)(clock_now_us() - start) / 1000;
        if (found < K)
            atomic_store(&b->failed, 1);
    }
    http_client_free(http);
    return NULL;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float percentile(const float *sorted, uint64_t n, double p)
{
    return n ? sorted[(uint64_t)((double)(n - 1) * p)] : 0;
}

/* --- recall -------------------------------------------------------------------------------------------------------------- */

static double recall(struct bench *b, uint64_t rows)
{
    struct http_client *http = NULL;
    struct err err = {0};
    const struct kernel *k = kernel_get();
    uint64_t right = 0, judged = b->set->query_count < JUDGED ? b->set->query_count : JUDGED;
    if (b->url)
        must(http_client_new(b->url, &http, &err), &err);
    for (uint64_t n = 0; n < judged; n++) {
        int64_t hits[K];
        size_t found = b->url ? server_search(b, http, n, hits) : plain_search(b, n, hits);
        float best[K];
        size_t have = 0;
        for (uint64_t i = 0; i < rows; i++) { /* the distance of the K-th nearest is enough to judge by */
            float d = k->l2sq_f16(query(b->set, n), b->set->base + i * b->set->dimension, b->set->dimension);
            if (have == K && d >= best[K - 1])
                continue;
            size_t at = have < K ? have++ : K - 1;
            for (; at && best[at - 1] > d; at--)
                best[at] = best[at - 1];
            best[at] = d;
        }
        for (size_t i = 0; i < found; i++)
            right += k->l2sq_f16(query(b->set, n), b->set->base + (uint64_t)hits[i] * b->set->dimension, b->set->dimension) <= best[K - 1] * 1.000001f;
    }
    http_client_free(http);
    return (double)right / (double)(judged * K);
}

/* --- runs ---------------------------------------------------------------------------------------------------------------- */

static void run(struct bench *b, unsigned clients, unsigned seconds)
{
    pthread_t threads[CLIENTS_MAX];
    int64_t hits[K];
    struct http_client *http = NULL;
    struct err err = {0};
    if (b->url)
        must(http_client_new(b->url, &http, &err), &err);
    for (uint64_t n = 0; n < 50; n++) /* warm */
        (void)(b->url ? server_search(b, http, n, hits) : plain_search(b, n, hits));
    http_client_free(http);
    int64_t start = clock_now_us();
    b->end_ms = clock_now_ms() + (int64_t)seconds * 1000;
    for (unsigned i = 0; i < clients; i++)
        if (pthread_create(&threads[i], NULL, client, b))
            fail("no thread");
    for (unsigned i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    double took = (double)(clock_now_us() - start) / 1e6;
    uint64_t n = atomic_load(&b->count) < SAMPLES_MAX ? atomic_load(&b->count) : SAMPLES_MAX;
    qsort(b->samples, n, sizeof *b->samples, compare_floats);
    printf("{\"what\":\"%s\",\"clients\":%u,\"per_second\":%.1f,\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,\"recall\":%.4f%s}\n",
        b->url ? b->url : "plain gRPC", clients, (double)n / took, (double)percentile(b->samples, n, 0.5), (double)percentile(b->samples, n, 0.95),
        (double)percentile(b->samples, n, 0.99), recall(b, b->set->base_count), atomic_load(&b->failed) ? ",\"too_few_hits\":true" : "");
}

/* A search each, in turn: what the machine does meanwhile meets both alike. */
static void run_both(struct bench *b, unsigned seconds)
{
    struct http_client *http = NULL;
    struct err err = {0};
    int64_t hits[K];
    float *plain = malloc(SAMPLES_MAX * sizeof *plain), *server = b->samples;
    uint64_t n = 0;
    if (!plain)
        fail("no memory");
    must(http_client_new(b->url, &http, &err), &err);
    int64_t end = clock_now_ms() + (int64_t)seconds * 1000;
    for (; clock_now_ms() < end && n < SAMPLES_MAX; n++) {
        for (int turn = 0; turn < 2; turn++) {
            bool first = (n + (uint64_t)turn) % 2 == 0;
            int64_t start = clock_now_us();
            (void)(first ? plain_search(b, n, hits) : server_search(b, http, n, hits));
            (first ? plain : server)[n] = (float)(clock_now_us() - start) / 1000;
        }
    }
    qsort(plain, n, sizeof *plain, compare_floats);
    qsort(server, n, sizeof *server, compare_floats);
    double p = (double)percentile(plain, n, 0.5), s = (double)percentile(server, n, 0.5);
    printf("{\"searches\":%" PRIu64 ",\"plain_p50_ms\":%.3f,\"server_p50_ms\":%.3f,\"overhead_ms\":%.3f}\n", n, p, s, s - p);
    free(plain);
    http_client_free(http);
}

static unsigned number(const char *text)
{
    uint64_t n = 0;
    if (!parse_u64(text, strlen(text), 1 << 30, &n))
        fail("a number is wrong");
    return (unsigned)n;
}

static struct milvus_link *connect_to(const char *uri)
{
    struct store_milvus_options options = {.uri = uri, .timeout_ms = 60000};
    struct milvus_link *link = NULL;
    struct err err = {0};
    must(milvus_link_open(&options, &link, &err), &err);
    return link;
}

int main(int argc, char **argv)
{
    struct set set = {0};
    const char *what = argc > 1 ? argv[1] : "";
    bool both = strcmp(what, "both") == 0, plain = strcmp(what, "plain") == 0, server = strcmp(what, "server") == 0;
    if (strcmp(what, "copy") == 0 && argc == 4)
        return copy(argv[2], argv[3]), 0;
    bool filling = strcmp(what, "fill") == 0 && (argc == 4 || argc == 5);
    if (!filling && !((both || plain || server) && argc == 6))
        return fputs("use: milvus_bench fill URI SET [ROWS] | copy URI DATA | plain URI SET CLIENTS SECONDS | server URL SET CLIENTS SECONDS | "
                     "both URI URL SET SECONDS\n", stderr), 2;
    read_set(argv[both ? 4 : 3], &set);
    if (filling)
        return fill(argv[2], &set, argc == 5 ? number(argv[4]) : set.base_count), 0;
    struct bench b = {.set = &set, .samples = malloc(SAMPLES_MAX * sizeof(float)), .bodies = calloc(set.query_count, sizeof(char *))};
    if (!b.samples || !b.bodies)
        fail("no memory");
    b.link = server ? NULL : connect_to(argv[2]);
    b.url = server ? argv[2] : both ? argv[3] : NULL;
    for (uint32_t i = 0; b.url && i < set.query_count; i++)
        b.bodies[i] = make_body(query(&set, i), set.dimension);
    if (both)
        run_both(&b, number(argv[5]));
    else
        run(&b, number(argv[4]) < CLIENTS_MAX ? number(argv[4]) : CLIENTS_MAX, number(argv[5]));
    milvus_link_close(b.link);
    return 0;
}
