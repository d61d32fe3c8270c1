/*
 * `lookalike model bench`: what a model costs on this machine, pixels in, vectors out.
 *
 * alone: one thread, one picture at a time, which is what a lone search waits for. load: as many threads as the
 * engine takes calls at once, each with full batches, which is what an import gets.
 */
#include "cli/model.h"

#include "base/clock.h"

#include <pthread.h>

#define PICTURES 8
#define SAMPLES_MAX 100000

struct load {
    struct embed *embed;
    const uint8_t *pictures[PICTURES];
    int64_t end_us;
    unsigned batch;
};

struct runner {
    pthread_t thread;
    const struct load *load;
    size_t done;
    enum result result;
    struct err err;
};

static void *run(void *arg)
{
    struct runner *r = arg;
    const struct embed_info *info = embed_describe(r->load->embed);
    const uint8_t *batch[256];
    float *out = malloc((size_t)r->load->batch * manifest_descriptor(&info->manifest) * sizeof *out);
    r->result = out ? ERR_OK : err_no_memory(&r->err);
    for (unsigned i = 0; i < r->load->batch; i++)
        batch[i] = r->load->pictures[i % PICTURES];
    while (r->result == ERR_OK && clock_now_us() < r->load->end_us) {
        r->result = embed_run(r->load->embed, batch, r->load->batch, out, &r->err);
        r->done += r->load->batch;
    }
    free(out);
    return NULL;
}

/* Pictures a second under load. */
static enum result measure_load(struct load *load, double seconds, double *out, struct err *err)
{
    const struct embed_info *info = embed_describe(load->embed);
    struct runner runners[64] = {0};
    unsigned n = info->parallel < 64 ? info->parallel : 64, started = 0;
    load->batch = info->max_batch < 256 ? info->max_batch : 256;
    int64_t begin = clock_now_us();
    load->end_us = begin + (int64_t)(seconds * 1e6);
    for (; started < n; started++) {
        runners[started].load = load;
        int rc = pthread_create(&runners[started].thread, NULL, run, &runners[started]);
        if (rc)
            break;
    }
    size_t done = 0;
    enum result r = started ? ERR_OK : err_set(err, ERR_IO, "cannot start a thread");
    for (unsigned i = 0; i < started; i++) {
        pthread_join(runners[i].thread, NULL);
        done += runners[i].done;
        if (runners[i].result && r == ERR_OK) {
            r = runners[i].result;
            if (err)
                *err = runners[i].err;
        }
    }
    *out = (double)done / ((double)(clock_now_us() - begin) / 1e6);
    return r;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Median and 99th percentile of one picture alone, in milliseconds. */
static enum result measure_alone(struct load *load, double seconds, double out[2], struct err *err)
{
    int64_t *times = malloc(SAMPLES_MAX * sizeof *times);
    float *vector = malloc(manifest_descriptor(&embed_describe(load->embed)->manifest) * sizeof *vector);
    enum result r = times && vector ? ERR_OK : err_no_memory(err);
    int64_t end = clock_now_us() + (int64_t)(seconds * 1e6);
    size_t n = 0;
    while (r == ERR_OK && n < SAMPLES_MAX && (n == 0 || clock_now_us() < end)) {
        int64_t begin = clock_now_us();
        r = embed_run(load->embed, &load->pictures[n % PICTURES], 1, vector, err);
        times[n++] = clock_now_us() - begin;
    }
    if (r == ERR_OK) {
        qsort(times, n, sizeof *times, ascending);
        out[0] = (double)times[n / 2] / 1000;
        out[1] = (double)times[n * 99 / 100] / 1000;
    }
    free(times);
    free(vector);
    return r;
}

static void report(const struct cli_model *m, const struct embed_info *info, const double alone[2], double rate)
{
    if (m->args.json) {
        printf("{\"name\":");
        cli_model_print_json(info->manifest.name);
        printf(",\"engine\":\"%s\",\"device\":", info->engine);
        cli_model_print_json(info->device);
        printf(",\"precision\":\"%s\",\"threads\":%u,\"batch\":%u,\"alone_ms\":{\"p50\":%.2f,\"p99\":%.2f},\"pictures_per_second\":%.1f}\n",
            info->precision, info->threads, info->max_batch, alone[0], alone[1], rate);
        return;
    }
    printf("%s: %s %s, %s on %s, %u threads\n", info->manifest.name, info->engine, info->engine_version, info->precision, info->device,
        info->threads);
    printf("  one picture alone    %.2f ms (p50), %.2f ms (p99)\n", alone[0], alone[1]);
    printf("  as many as possible  %.1f pictures a second (%u calls at once, up to %u pictures each)\n", rate, info->parallel, info->max_batch);
}

enum result cli_model_bench(const struct cli_model *m, struct err *err)
{
    struct load load = {0};
    char folder[PATH_MAX * 2];
    int64_t seconds = 3;
    uint8_t *pixels = NULL;
    double alone[2] = {0}, rate = 0;
    enum result r = cli_args_number("--seconds", m->seconds, 1, 3600, &seconds, err);
    if (r == ERR_OK)
        r = places_model(&m->config, &m->places, m->name, folder, sizeof folder, err);
    if (r)
        return r;
    struct embed_options options = {
        .folder = folder, .engine = m->config.engine, .device = m->config.device, .threads = m->config.threads, .precision = m->config.precision};
    r = embed_open(&options, &load.embed, err);
    if (r)
        return r;
    const struct manifest *f = &embed_describe(load.embed)->manifest;
    size_t bytes = (size_t)f->width * f->height * 3;
    pixels = malloc(PICTURES * bytes);
    r = pixels ? ERR_OK : err_no_memory(err);
    for (unsigned i = 0; i < PICTURES && r == ERR_OK; i++) {
        cli_model_paint(pixels + i * bytes, f->width, f->height, i);
        load.pictures[i] = pixels + i * bytes;
    }
    if (r == ERR_OK)
        r = measure_alone(&load, (double)seconds, alone, err);
    if (r == ERR_OK)
        r = measure_load(&load, (double)seconds, &rate, err);
    if (r == ERR_OK)
        report(m, embed_describe(load.embed), alone, rate);
    embed_close(load.embed);
    free(pixels);
    return r;
}
