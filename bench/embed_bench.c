/*
 * What the engine does on its own, without decoding, storing or HTTP:
 *
 *   embed_bench [--model FOLDER] [--seconds N] [--threads N] [--batch N] [--precision P] [--json]
 *
 * Rounds of one lone caller and of 2, 4, 8 … concurrent callers take turns, so that a change of the machine's
 * mood hits all of them. A caller hands over --batch pictures at a time (default 1); as in the server, a
 * batch is never larger than the engine's own maximum. The last line, "as the server", is a queue emptied by
 * as many threads as the engine runs calls at once, full batches each: the rate to compare a bulk import
 * with.
 *
 * Pictures are noise: the time of a network of this kind does not depend on what is in them.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "embed/embed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUNDS 5
#define CALLERS_MAX 16
#define PICTURES 16

struct options {
    struct embed_options embed;
    double seconds; /* of each case, all rounds together */
    unsigned batch;
    bool json;
};

struct bench_case {
    const char *name;
    unsigned callers, batch;
    double rate[ROUNDS]; /* pictures a second */
};

struct load {
    struct embed *embed;
    const uint8_t *pictures[PICTURES];
    unsigned batch;
    int64_t until_us;
    atomic_ulong done;
    atomic_bool failed;
};

static void *caller(void *arg)
{
    struct load *load = arg;
    const struct embed_info *info = embed_describe(load->embed);
    struct err err = {0};
    float *out = calloc((size_t)info->max_batch * manifest_descriptor(&info->manifest), sizeof *out);
    while (out && !load->failed && clock_now_us() < load->until_us) {
        if (embed_run(load->embed, load->pictures, load->batch, out, &err) != ERR_OK) {
            load->failed = true;
            fprintf(stderr, "embed_bench: %s\n", err.message);
        }
        load->done += load->batch;
    }
    free(out);
    return NULL;
}

static bool run_round(struct load *load, const struct bench_case *c, double seconds, double *rate)
{
    pthread_t threads[CALLERS_MAX];
    unsigned started = 0;
    int64_t begin = clock_now_us();
    load->batch = c->batch;
    load->done = 0;
    load->until_us = begin + (int64_t)(seconds * 1e6);
    while (started < c->callers && pthread_create(&threads[started], NULL, caller, load) == 0)
        started++;
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    *rate = (double)load->done * 1e6 / (double)(clock_now_us() - begin);
    return started == c->callers && !load->failed;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_case(struct bench_case *c, bool json, bool first)
{
    qsort(c->rate, ROUNDS, sizeof *c->rate, compare);
    double median = c->rate[ROUNDS / 2], low = c->rate[0], high = c->rate[ROUNDS - 1];
    if (json)
        printf("%s{\"name\": \"%s\", \"callers\": %u, \"batch\": %u, \"per_second\": %.2f, \"min\": %.2f, "
               "\"max\": %.2f}",
            first ? "" : ", ", c->name, c->callers, c->batch, median, low, high);
    else
        printf("%-14s %7u %5u   %8.1f (%.1f to %.1f)   %8.2f ms\n", c->name, c->callers, c->batch, median,
            low, high, 1000 * c->callers * c->batch / median);
}

static void print_head(const struct embed_info *info, double load_ms, bool json)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (json)
        printf("{\"model\": \"%s\", \"precision\": \"%s\", \"threads\": %u, \"max_batch\": %u, \"parallel\": "
               "%u, "
               "\"load_ms\": %.0f, \"peak_mb\": %ld, \"cases\": [",
            info->manifest.name, info->precision, info->threads, info->max_batch, info->parallel, load_ms,
            usage.ru_maxrss / 1024);
    else
        printf("%s %ux%u, %s %s, %s, %u threads, batches up to %u, %u at once\n"
               "loaded in %.0f ms; at most %ld MB of memory\n\n"
               "case           callers batch   pictures a second (min to max)   a call takes\n",
            info->manifest.name, info->manifest.width, info->manifest.height, info->engine,
            info->engine_version, info->precision, info->threads, info->max_batch, info->parallel, load_ms,
            usage.ru_maxrss / 1024);
}

static bool measure(const struct options *options, struct load *load, double load_ms)
{
    const struct embed_info *info = embed_describe(load->embed);
    unsigned parallel = info->parallel < CALLERS_MAX ? info->parallel : CALLERS_MAX;
    unsigned batch = options->batch < info->max_batch ? options->batch : info->max_batch;
    struct bench_case cases[] = {
        {.name = "lone", .callers = 1, .batch = 1},
        {.name = "2 callers", .callers = 2, .batch = batch},
        {.name = "4 callers", .callers = 4, .batch = batch},
        {.name = "8 callers", .callers = 8, .batch = batch},
        {.name = "as the server", .callers = parallel, .batch = info->max_batch},
    };
    const size_t n = sizeof cases / sizeof *cases;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < n; i++) {
            if (!run_round(load, &cases[i], options->seconds / ROUNDS, &cases[i].rate[round]))
                return false;
        }
    }
    print_head(info, load_ms, options->json);
    for (size_t i = 0; i < n; i++)
        print_case(&cases[i], options->json, i == 0);
    if (options->json)
        printf("]}\n");
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.embed = {.folder = "models/efficientnet-lite2"}, .seconds = 5, .batch = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
            continue;
        }
        if (!value)
            return false;
        if (strcmp(argv[i], "--model") == 0)
            o->embed.folder = value;
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = strtod(value, NULL);
        else if (strcmp(argv[i], "--threads") == 0)
            o->embed.threads = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--batch") == 0)
            o->batch = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--precision") == 0)
            o->embed.precision = value;
        else
            return false;
        i++;
    }
    return o->seconds > 0 && o->batch > 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct load load = {0};
    struct err err = {0};
    uint8_t *noise = NULL;
    bool good = false;
    if (!parse(argc, argv, &options)) {
        fprintf(stderr, "usage: embed_bench [--model FOLDER] [--seconds N] [--threads N] [--batch N] "
                        "[--precision f32|bf16] [--json]\n");
        return 2;
    }
    int64_t begin = clock_now_us();
    if (embed_open(&options.embed, &load.embed, &err) != ERR_OK) {
        fprintf(stderr, "embed_bench: %s\n", err.message);
        return 1;
    }
    double load_ms = (double)(clock_now_us() - begin) / 1000;
    const struct manifest *m = &embed_describe(load.embed)->manifest;
    size_t size = (size_t)m->width * m->height * 3;
    noise = malloc(PICTURES * size);
    if (noise) {
        for (size_t i = 0; i < PICTURES * size; i++)
            noise[i] = (uint8_t)(i * 2654435761u >> 13);
        for (size_t i = 0; i < PICTURES; i++)
            load.pictures[i] = noise + i * size;
        good = measure(&options, &load, load_ms);
    }
    embed_close(load.embed);
    free(noise);
    return good ? 0 : 1;
}
