/*
 * The vector index on a set of vectors made by vectors.py:
 *
 *   ann_bench SET [--threads N] [--ef-build N] [--ef LIST] [--rounds N] [--filter] [--k N] [--out FILE] [--check]
 *
 * Builds the index with N threads, then asks all queries with one thread, once for each ef of LIST
 * ("20,40,80"), and prints recall among the k nearest (10), queries a second (the median of the rounds), and
 * what was looked at. With --filter the same under filters (rows at random, the nearest, the farthest, at random but few of the
 * nearest, those of the tags of SET/tags.u32 that are nearest and farthest), with the ef of LIST where it has one only, else with the index's
 * own, beside what the plain ways give: a comparison of all allowed vectors, and a search without the filter for so many that
 * enough of them are allowed; and beside the search without any filter, which answers another question. --out appends JSON
 * lines, for report.py. The true neighbours are found by brute force once and kept in SET/truth.u32, 100 for each query, where
 * peers.py finds them.
 */
#include "base/clock.h"
#include "index/index.h"
#include "kernel/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRUTH 100u
#define EFS_MAX 32
#define FILTERED 100u /* queries that are asked under filters … */
#define ENOUGH 0.95   /* of what is to be found under a filter */
#define AFTERWARDS_MAX 10240u
#define SCANNED 5u    /* … and those for which the allowed rows are compared one by one */
#define ROUNDS_MAX 31
#define TAGS_MAX 4096
#define NEARBY 0.02 /* of the rows */

struct set {
    const char *folder;
    uint32_t dimension, base_count, query_count;
    const uint16_t *base, *query_halves;
    float *queries;
    uint32_t *truth;      /* query_count · TRUTH */
    const uint32_t *tags; /* base_count, each below TAGS_MAX; NULL: the set has none */
};

struct options {
    unsigned threads, ef_build, rounds, k;
    unsigned efs[EFS_MAX], ef_count;
    bool filter, check;
    const char *out;
};

static void fail(const char *what)
{
    fprintf(stderr, "ann_bench: %s\n", what);
    exit(3);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const void *map(const char *folder, const char *name, size_t *bytes)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    *bytes = (size_t)st.st_size;
    return p == MAP_FAILED ? NULL : p;
}

/* shape.json is written by vectors.py in this form and no other. */
static void read_shape(struct set *s)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/shape.json", s->folder);
    FILE *f = fopen(path, "re");
    if (!f || fscanf(f, "{\"dimension\": %u, \"base\": %u, \"queries\": %u}", &s->dimension, &s->base_count,
                  &s->query_count) != 3)
        fail("SET has no shape.json: make it with vectors.py.");
    fclose(f);
}

static void find_truth_of(const struct set *s, const struct kernel *k, const float *q, uint32_t *out)
{
    float distance[TRUTH];
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->base_count; i++) {
        float d = k->l2sq_f16(q, s->base + (size_t)i * s->dimension, s->dimension);
        if (count == TRUTH && d >= distance[TRUTH - 1])
            continue;
        uint32_t at = count < TRUTH ? count++ : TRUTH - 1;
        for (; at > 0 && distance[at - 1] > d; at--) {
            distance[at] = distance[at - 1];
            out[at] = out[at - 1];
        }
        distance[at] = d;
        out[at] = i;
    }
}

static void load_truth(struct set *s)
{
    size_t bytes = 0, want = (size_t)s->query_count * TRUTH * sizeof(uint32_t);
    const void *known = map(s->folder, "truth.u32", &bytes);
    if (!(s->truth = malloc(want)))
        fail("out of memory");
    if (known && bytes == want) {
        memcpy(s->truth, known, want);
        return;
    }
    for (uint32_t q = 0; q < s->query_count; q++)
        find_truth_of(s, kernel_get(), s->queries + (size_t)q * s->dimension, s->truth + (size_t)q * TRUTH);
    char path[4096];
    snprintf(path, sizeof path, "%s/truth.u32", s->folder);
    FILE *f = fopen(path, "we");
    if (!f || fwrite(s->truth, 1, want, f) != want || fclose(f))
        fail("cannot write truth.u32");
}

static void load_set(struct set *s)
{
    size_t bytes = 0;
    read_shape(s);
    s->base = map(s->folder, "base.f16", &bytes);
    if (!s->base || bytes != (size_t)s->base_count * s->dimension * 2 || s->base_count < TRUTH)
        fail("base.f16 is not as long as shape.json says");
    s->query_halves = map(s->folder, "queries.f16", &bytes);
    if (!s->query_halves || bytes != (size_t)s->query_count * s->dimension * 2)
        fail("queries.f16 is not as long as shape.json says");
    s->queries = malloc((size_t)s->query_count * s->dimension * sizeof *s->queries);
    if (!s->queries)
        fail("out of memory");
    kernel_get()->f16_to_f32(s->query_halves, s->queries, (size_t)s->query_count * s->dimension);
    s->tags = map(s->folder, "tags.u32", &bytes);
    if (s->tags && bytes != s->base_count * sizeof *s->tags)
        fail("tags.u32 is not as long as shape.json says");
    for (uint32_t i = 0; s->tags && i < s->base_count; i++)
        if (s->tags[i] >= TAGS_MAX)
            fail("a tag of tags.u32 is too large");
    load_truth(s);
}

static const uint16_t *vector_of(void *user, uint32_t slot)
{
    const struct set *s = user;
    return s->base + (size_t)slot * s->dimension;
}

struct outcome {
    double recall, rate, glances, sketches, codes, vectors;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint32_t same(const struct index_hit *hits, uint32_t count, const uint32_t *truth, uint32_t k)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < k; j++)
            n += hits[i].slot == truth[j];
    return n;
}

/*
 * `template` says everything but the vector; where it has `allowed`, the first `allowed_words` of them are those of the
 * first query, and so on. `truth` has TRUTH for each query, `want[q]` of them count.
 */
static struct outcome ask(const struct set *s, struct index *ix, struct index_query template, unsigned rounds,
    const uint32_t *truth, const uint32_t *want)
{
    const uint64_t *allowed = template.allowed;
    struct outcome o = {0};
    double times[ROUNDS_MAX];
    struct index_hit *hits = malloc(template.k * sizeof *hits);
    uint64_t found = 0, wanted = 0;
    for (unsigned round = 0; hits && round < rounds; round++) {
        double start = cpu_seconds();
        for (uint32_t q = 0; q < s->query_count; q++) {
            struct index_trace trace;
            uint32_t count = 0;
            template.vector = s->queries + (size_t)q * s->dimension;
            if (allowed)
                template.allowed = allowed + q * template.allowed_words;
            if (index_search(ix, &template, hits, &count, &trace, NULL) != ERR_OK)
                fail("a search failed");
            if (round)
                continue;
            uint32_t k = want ? want[q] : template.k;
            found += same(hits, count, truth + (size_t)q * TRUTH, k);
            wanted += k;
            o.glances += trace.glances;
            o.sketches += trace.sketches;
            o.codes += trace.codes;
            o.vectors += trace.vectors;
        }
        times[round] = (cpu_seconds() - start) / s->query_count;
    }
    free(hits);
    qsort(times, rounds, sizeof *times, compare_doubles);
    o.recall = wanted ? (double)found / (double)wanted : 1;
    o.rate = 1 / times[rounds / 2];
    o.glances /= s->query_count;
    o.sketches /= s->query_count;
    o.codes /= s->query_count;
    o.vectors /= s->query_count;
    return o;
}

static struct index *build(const struct set *s, const struct options *o, double *seconds, double *cpu)
{
    struct index_settings settings = {.dimension = s->dimension, .metric = INDEX_L2, .ef_build = o->ef_build};
    struct index *ix = NULL;
    struct err err = {0};
    if (index_new(&settings, &ix, &err) != ERR_OK)
        fail(err.message);
    int64_t start = clock_now_us();
    double start_cpu = cpu_seconds();
    for (uint32_t i = 0; i < s->base_count; i++) {
        struct index_row row = {.slot = i,
            .item = (int64_t)i,
            .stamp = i,
            .vector = s->base + (size_t)i * s->dimension,
            .defer = true};
        if (index_insert(ix, &row, &err) != ERR_OK)
            fail(err.message);
    }
    if (index_settle(ix, o->threads, &err) != ERR_OK)
        fail(err.message);
    *seconds = (double)(clock_now_us() - start) / 1e6;
    *cpu = cpu_seconds() - start_cpu;
    return ix;
}

/* --- filters
 * -------------------------------------------------------------------------------------------------- */

static bool allowed(const uint64_t *words, uint32_t i)
{
    return words[i / 64] >> (i % 64) & 1;
}

/* The nearest allowed ones, among all rows: one query at a time, so for a few queries. */
static uint32_t truth_under(
    const struct set *s, const float *q, const uint64_t *words, uint32_t k, uint32_t *out)
{
    float distance[TRUTH];
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->base_count; i++) {
        if (!allowed(words, i))
            continue;
        float d = kernel_get()->l2sq_f16(q, s->base + (size_t)i * s->dimension, s->dimension);
        if (count == k && d >= distance[k - 1])
            continue;
        uint32_t at = count < k ? count++ : k - 1;
        for (; at > 0 && distance[at - 1] > d; at--) {
            distance[at] = distance[at - 1];
            out[at] = out[at - 1];
        }
        distance[at] = d;
        out[at] = i;
    }
    return count;
}

enum kind { RANDOM, NEAR, FAR, RARER, TAGS_NEAR, TAGS_FAR, KINDS };

static const char *const kinds[] = {"random", "near", "far", "rarer", "tags near", "tags far"};

/* A whole number below 2^24. */
static float next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (float)(*random >> 40);
}

static double mean(double sum, uint32_t count)
{
    return count ? sum / count : 0;
}

/* `d` has a distance for each row and gets the place of its tag, by the mean distance of the rows of a tag, with a fraction for the row. */
static void by_tags(const struct set *s, bool nearest_first, float *d)
{
    static double sums[TAGS_MAX];
    static uint32_t counts[TAGS_MAX];
    memset(sums, 0, sizeof sums);
    memset(counts, 0, sizeof counts);
    uint32_t tags = 0;
    for (uint32_t i = 0; i < s->base_count; i++) {
        sums[s->tags[i]] += d[i];
        counts[s->tags[i]]++;
        tags = s->tags[i] >= tags ? s->tags[i] + 1 : tags;
    }
    static uint32_t places[TAGS_MAX];
    for (uint32_t mine = 0; mine < tags; mine++) {
        places[mine] = 0;
        for (uint32_t tag = 0; tag < tags; tag++) {
            double x = mean(sums[tag], counts[tag]), y = mean(sums[mine], counts[mine]);
            places[mine] += nearest_first ? x < y : x > y;
        }
    }
    for (uint32_t i = 0; i < s->base_count; i++)
        d[i] = (float)places[s->tags[i]] + (float)i / (float)s->base_count;
}

/* The largest of the `share` that are least, nearly. */
static float least(const struct set *s, const float *d, double share)
{
    float low = d[0], high = d[0];
    for (uint32_t i = 0; i < s->base_count; i++) {
        low = fminf(low, d[i]);
        high = fmaxf(high, d[i]);
    }
    for (int step = 0; step < 40; step++) {
        float middle = (low + high) / 2;
        uint32_t n = 0;
        for (uint32_t i = 0; i < s->base_count; i++)
            n += d[i] <= middle;
        if (n > share * s->base_count)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* `d` has distances and gets numbers at random, of which fewer of the nearest are among the least. */
static void rarer(const struct set *s, float *d, double rate)
{
    float nearby = least(s, d, NEARBY);
    uint64_t random = 88172645463325252u;
    for (uint32_t i = 0; i < s->base_count; i++) {
        float x = next_random(&random) / (float)(1 << 24);
        /* A tenth of what is near stays as it is; the rest comes after all others. */
        d[i] = d[i] <= nearby && x > 0.1 * rate ? 1 + x : x;
    }
}

/*
 * NEAR and FAR: the rows nearest to a picture, and those farthest from it. RARER: at random, but ten times as rarely among
 * the NEARBY that are nearest. With TAGS the rows of the tags that are nearest or
 * farthest by the mean of their rows, whole tags but for the last: as people filter.
 */
static void make_filter(const struct set *s, const float *pivot, enum kind kind, double rate, uint64_t *words)
{
    memset(words, 0, (s->base_count + 63) / 64 * sizeof *words);
    uint64_t random = 88172645463325252u;
    float *d = malloc(s->base_count * sizeof *d);
    if (!d)
        fail("out of memory");
    for (uint32_t i = 0; i < s->base_count; i++) {
        float x = kind == RANDOM ? next_random(&random) : kernel_get()->l2sq_f16(pivot, s->base + (size_t)i * s->dimension, s->dimension);
        d[i] = kind == FAR ? -x : x;
    }
    if (kind == TAGS_NEAR || kind == TAGS_FAR)
        by_tags(s, kind == TAGS_NEAR, d);
    if (kind == RARER)
        rarer(s, d, rate);
    float high = least(s, d, rate);
    for (uint32_t i = 0; i < s->base_count; i++)
        if (d[i] <= high)
            words[i / 64] |= 1ull << (i % 64);
    free(d);
}

/* All allowed vectors compared, one after the other; queries a second. */
static double scan_rate(const struct set *s, const float *vector, const uint64_t *words, uint32_t k)
{
    uint32_t found[TRUTH];
    double times[3];
    for (int round = 0; round < 3; round++) {
        double start = cpu_seconds();
        (void)truth_under(s, vector, words, k, found);
        times[round] = cpu_seconds() - start;
    }
    qsort(times, 3, sizeof *times, compare_doubles);
    return 1 / (times[1] + 1e-9);
}

/*
 * The other way without an index that knows filters: search without one, for so many that enough of them are allowed. Queries a second with
 * the least number, in doublings, that finds ENOUGH of the truth; 0 where AFTERWARDS_MAX do not.
 */
static double afterwards_rate(const struct set *s, struct index *ix, const struct index_query *filtered, const uint32_t *truth,
    const uint32_t *want, uint32_t *asked)
{
    struct index_hit *hits = malloc(AFTERWARDS_MAX * sizeof *hits);
    if (!hits)
        fail("out of memory");
    double rate = 0;
    for (uint32_t k = filtered->k; rate <= 0 && k <= AFTERWARDS_MAX; k *= 2) {
        *asked = k;
        struct index_query plain = {.k = k, .vector_of = filtered->vector_of, .user = filtered->user};
        uint64_t found = 0, wanted = 0;
        double start = cpu_seconds();
        for (uint32_t q = 0; q < s->query_count; q++) {
            uint32_t count = 0, kept = 0;
            plain.vector = s->queries + (size_t)q * s->dimension;
            if (index_search(ix, &plain, hits, &count, NULL, NULL) != ERR_OK)
                fail("a search failed");
            for (uint32_t i = 0; i < count && kept < filtered->k; i++)
                if (allowed(filtered->allowed + q * filtered->allowed_words, hits[i].slot))
                    hits[kept++] = hits[i];
            found += same(hits, kept, truth + (size_t)q * TRUTH, want[q]);
            wanted += want[q];
        }
        if ((double)found >= ENOUGH * (double)wanted)
            rate = s->query_count / (cpu_seconds() - start);
    }
    free(hits);
    return rate;
}

static void filters(const struct set *s, struct index *ix, const struct options *o, FILE *out)
{
    static const double rates[] = {0.5, 0.1, 0.01, 0.001, 0.0001};
    struct set some = *s;
    some.query_count = s->query_count < FILTERED ? s->query_count : FILTERED;
    size_t words = (s->base_count + 63) / 64;
    uint32_t *truth = calloc((size_t)some.query_count * TRUTH, sizeof *truth), *want = calloc(some.query_count, sizeof *want);
    uint64_t *allow = calloc(some.query_count * words, sizeof *allow);
    if (!truth || !want || !allow)
        fail("out of memory");
    struct index_query plain = {
        .k = o->k, .ef = o->ef_count == 1 ? o->efs[0] : 0, .vector_of = vector_of, .user = (void *)(uintptr_t)s};
    for (enum kind kind = RANDOM; kind < (s->tags ? KINDS : TAGS_NEAR); kind++)
        for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
            double scan = 0;
            for (uint32_t q = 0; q < some.query_count; q++) {
                const float *vector = s->queries + (size_t)q * s->dimension;
                make_filter(s, vector, kind, rates[r], allow + q * words);
                want[q] = truth_under(s, vector, allow + q * words, o->k, truth + (size_t)q * TRUTH);
                scan += q < SCANNED ? 1 / scan_rate(s, vector, allow + q * words, o->k) / SCANNED : 0;
            }
            struct index_query query = plain;
            query.allowed = allow;
            query.allowed_words = words;
            /* In turn, so that a quiet or a busy minute meets both. */
            struct outcome x = ask(&some, ix, query, o->rounds, truth, want);
            struct outcome unfiltered = ask(&some, ix, plain, o->rounds, s->truth, NULL);
            uint32_t asked = 0;
            double afterwards = afterwards_rate(&some, ix, &query, truth, want, &asked);
            printf("filter %-9s %7.4f %%  recall %.4f  %8.0f a second, %5.2f of the better plain way, %5.2f of the better of scan and unfiltered  (scan "
                   "%.0f, filtered afterwards %.0f of %u, unfiltered %.0f; glances %.0f, sketches %.0f, codes %.0f, vectors %.0f)\n",
                kinds[kind], 100 * rates[r], x.recall, x.rate, x.rate / fmax(afterwards, 1 / scan), x.rate / fmax(unfiltered.rate, 1 / scan), 1 / scan,
                afterwards, asked, unfiltered.rate, x.glances, x.sketches, x.codes, x.vectors);
            if (out)
                fprintf(out,
                    "{\"what\": \"filter\", \"kind\": \"%s\", \"rate\": %g, \"recall\": %.5f, \"qps\": "
                    "%.1f, \"scan\": %.1f, \"afterwards\": %.1f, \"unfiltered\": %.1f}\n",
                    kinds[kind], rates[r], x.recall, x.rate, 1 / scan, afterwards, unfiltered.rate);
        }
    free(truth);
    free(want);
    free(allow);
}

/* --- the program
 * ---------------------------------------------------------------------------------------------- */

static unsigned number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || n > 1000000)
        fail("an option wants a number");
    return (unsigned)n;
}

static void parse_efs(struct options *o, const char *text)
{
    o->ef_count = 0;
    while (*text && o->ef_count < EFS_MAX) {
        o->efs[o->ef_count++] = number(text);
        text += strcspn(text, ",");
        text += *text == ',';
    }
}

static const char *parse(struct options *o, int argc, char **argv)
{
    const char *folder = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--threads"))
            o->threads = number(value), i++;
        else if (!strcmp(argv[i], "--ef-build"))
            o->ef_build = number(value), i++;
        else if (!strcmp(argv[i], "--rounds"))
            o->rounds = number(value), i++;
        else if (!strcmp(argv[i], "--k"))
            o->k = number(value), i++;
        else if (!strcmp(argv[i], "--ef"))
            parse_efs(o, value), i++;
        else if (!strcmp(argv[i], "--out"))
            o->out = value, i++;
        else if (!strcmp(argv[i], "--filter"))
            o->filter = true;
        else if (!strcmp(argv[i], "--check"))
            o->check = true;
        else
            folder = argv[i];
    }
    if (!folder || !o->rounds || o->rounds > ROUNDS_MAX || !o->k || o->k > TRUTH)
        fail("usage: ann_bench SET [--threads N] [--ef-build N] [--ef LIST] [--rounds 1…31] [--k 1…100] "
             "[--filter] "
             "[--check] [--out FILE]");
    return folder;
}

static void print_problem(void *user, const char *sentence)
{
    printf("%s\n", sentence);
}

int main(int argc, char **argv)
{
    struct options o = {.threads = 1,
        .rounds = 5,
        .k = 10,
        .efs = {10, 14, 20, 28, 40, 56, 80, 112, 160, 226, 320, 452},
        .ef_count = 12};
    struct set s = {.folder = parse(&o, argc, argv)};
    load_set(&s);
    FILE *out = o.out ? fopen(o.out, "ae") : NULL;
    double seconds, cpu;
    struct index *ix = build(&s, &o, &seconds, &cpu);
    struct index_stats st;
    index_stats(ix, &st);
    double mib = (double)(st.bytes_codes + st.bytes_sketches + st.bytes_links + st.bytes_rows) / 1048576;
    printf("%u × %u: built in %.1f s on %u threads (%.1f s of CPU), %.1f MiB (%.0f bytes a row), reserved "
           "%.1f MiB\n",
        s.base_count, s.dimension, seconds, o.threads, cpu, mib, mib * 1048576 / s.base_count,
        (double)st.bytes_memory / 1048576);
    if (out)
        fprintf(out,
            "{\"what\": \"build\", \"name\": \"lookalike\", \"seconds\": %.2f, \"cpu\": %.2f, \"threads\": "
            "%u, "
            "\"mib\": %.2f}\n",
            seconds, cpu, o.threads, mib);
    if (o.check && index_check(ix, print_problem, NULL, NULL) != ERR_OK)
        fail("the index contradicts itself");
    for (unsigned i = 0; i < o.ef_count; i++) {
        struct index_query query = {.k = o.k, .ef = o.efs[i], .vector_of = vector_of, .user = &s};
        struct outcome x = ask(&s, ix, query, o.rounds, s.truth, NULL);
        printf("ef %4u  recall@%u %.5f  %8.0f a second  (sketches %.0f, codes %.0f, vectors %.1f)\n",
            o.efs[i], o.k, x.recall, x.rate, x.sketches, x.codes, x.vectors);
        if (out)
            fprintf(out,
                "{\"what\": \"search\", \"name\": \"lookalike\", \"ef\": %u, \"recall\": %.5f, \"qps\": "
                "%.1f}\n",
                o.efs[i], x.recall, x.rate);
    }
    if (o.filter)
        filters(&s, ix, &o, out);
    if (out)
        fclose(out);
    index_free(ix);
    return 0;
}
