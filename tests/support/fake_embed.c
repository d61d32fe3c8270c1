#include "fake_embed.h"

#include <math.h>
#include <unistd.h>

struct embed {
    struct embed_info info;
    struct fake_embed_plan plan;
    struct fake_embed_log log;
};

struct embed *fake_embed_new(const struct fake_embed_plan *plan)
{
    struct embed *e = calloc(1, sizeof *e);
    if (!e)
        abort();
    e->plan = *plan;
    snprintf(e->info.manifest.name, sizeof e->info.manifest.name, "fake");
    e->info.manifest.width = e->info.manifest.height = FAKE_SIDE;
    e->info.manifest.dimension = FAKE_DIMENSION;
    e->info.manifest.inner = plan->inner;
    e->info.engine = "fake";
    e->info.max_batch = plan->max_batch ? plan->max_batch : 4;
    e->info.parallel = plan->parallel ? plan->parallel : 2;
    return e;
}

/* The folder's manifest is read and obeyed as far as the name goes; the vector has FAKE_DIMENSION numbers always. */
enum result embed_open(const struct embed_options *options, struct embed **out, struct err *err)
{
    struct manifest manifest;
    enum result r = manifest_read(options->folder, &manifest, err);
    if (r)
        return r;
    if (access(manifest.file, R_OK))
        return err_set(err, ERR_NOT_FOUND, "the model's file is missing");
    struct embed *e = fake_embed_new(&(struct fake_embed_plan){0});
    snprintf(e->info.manifest.name, sizeof e->info.manifest.name, "%s", manifest.name);
    e->info.manifest.kind = manifest.kind;
    *out = e;
    return ERR_OK;
}

struct fake_embed_log *fake_embed_log(struct embed *embed)
{
    return &embed->log;
}

const struct embed_info *embed_describe(const struct embed *embed)
{
    return &embed->info;
}

void embed_close(struct embed *embed)
{
    free(embed);
}

static void raise_to(atomic_uint *mark, unsigned value)
{
    unsigned old = atomic_load(mark);
    while (old < value && !atomic_compare_exchange_weak(mark, &old, value)) {
    }
}

static void mean_colour(const uint8_t *pixels, float *out)
{
    float sum[3] = {0}, square = 1;
    for (int i = 0; i < FAKE_SIDE * FAKE_SIDE; i++)
        for (int c = 0; c < 3; c++)
            sum[c] += pixels[i * 3 + c];
    for (int c = 0; c < 3; c++) {
        out[c] = sum[c] / (FAKE_SIDE * FAKE_SIDE * 255);
        square += out[c] * out[c];
    }
    out[3] = 1;
    for (int c = 0; c < 4; c++)
        out[c] /= sqrtf(square);
}

enum result embed_run(struct embed *e, const uint8_t *const *pixels, size_t n, float *out, struct err *err)
{
    unsigned running = atomic_fetch_add(&e->log.running, 1) + 1;
    raise_to(&e->log.most_running, running);
    raise_to(&e->log.largest, (unsigned)n);
    atomic_fetch_add(&e->log.runs, 1);
    atomic_fetch_add(&e->log.pictures, (unsigned)n);
    while (e->plan.hold && atomic_load(e->plan.hold))
        usleep(1000);
    if (e->plan.delay_ms)
        usleep(e->plan.delay_ms * 1000);
    if (!e->plan.fail)
        for (size_t i = 0; i < n; i++) {
            float *to = out + i * (FAKE_DIMENSION + e->plan.inner);
            mean_colour(pixels[i], to);
            for (unsigned k = 0; k < e->plan.inner; k++)
                to[FAKE_DIMENSION + k] = (float)(k + 1);
        }
    atomic_fetch_sub(&e->log.running, 1);
    return e->plan.fail ? err_set(err, ERR_UNAVAILABLE, "the engine failed as planned") : ERR_OK;
}
