/*
 * What is the same for every engine: the manifest, the sum of the model's file, who may run when, and unit
 * length.
 *
 * embed_run() lets `parallel` calls through to the backend and makes the others wait here, so that a backend
 * needs no more state than `parallel` runs do. The order among those that wait is the system's; the pipeline,
 * which has a queue of its own, never makes any wait.
 */
#include "embed/embed.h"

#include "base/cpu.h"
#include "base/limits.h"
#include "embed/embed_backend.h"

#include <math.h>
#include <pthread.h>

struct embed {
    struct embed_info info;
    const struct embed_backend *backend;
    void *state;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned running; /* calls inside the backend */
    unsigned callers; /* calls of embed_run(), those that wait included */
};

static enum result check_sum(const struct manifest *manifest, struct err *err)
{
    char hex[65];
    enum result result = embed_sum(manifest->file, hex, err);
    if (result)
        return result;
    if (strcmp(hex, manifest->sha256) == 0)
        return ERR_OK;
    return err_set_field(err, ERR_CORRUPT, "sha256",
        "The model %s is damaged or not the one its manifest was written for: its sum is %.16s… instead of "
        "%.16s…. "
        "Prepare the model again.",
        manifest->file, hex, manifest->sha256);
}

static enum result check_options(const struct embed_options *options, struct err *err)
{
    const char *p = options->precision;
    if (!options->folder || !*options->folder)
        return err_set_field(err, ERR_INVALID, "model", "No model folder was given.");
    if (p && strcmp(p, "f32") != 0 && strcmp(p, "bf16") != 0 && strcmp(p, "int8") != 0)
        return err_set_field(err, ERR_INVALID, "precision", "The precision is f32, bf16 or int8, not %.32s.", p);
    return ERR_OK;
}

static enum result choose_backend(const struct embed_options *options, const struct embed_backend **out, struct err *err)
{
    const char *engine = options->engine, *device = options->device ? options->device : "CPU";
    if (!engine || !*engine)
        engine = strncmp(device, "CUDA", 4) == 0 ? "onnxruntime" : "openvino";
    if (strcmp(engine, "openvino") == 0) {
        *out = &embed_backend_openvino;
        return ERR_OK;
    }
    if (strcmp(engine, "onnxruntime") != 0)
        return err_set_field(err, ERR_INVALID, "engine", "The engine is openvino or onnxruntime, not %.32s.", engine);
#ifdef EMBED_ONNXRUNTIME
    *out = &embed_backend_onnxruntime;
    return ERR_OK;
#else
    return err_set_field(err, ERR_UNSUPPORTED, "engine",
        "This program was built without ONNX Runtime, which %s needs: build it with -Donnxruntime=DIR (docs/models.md).",
        strncmp(device, "CUDA", 4) == 0 ? "the device CUDA" : "the engine onnxruntime");
#endif
}

static void take_file(struct manifest *manifest, const struct manifest_file *other)
{
    memcpy(manifest->file, other->file, sizeof manifest->file);
    memcpy(manifest->sha256, other->sha256, sizeof manifest->sha256);
}

/* Which of the folder's files is run, and whether it is the one in int8. */
static enum result choose_file(struct embed *embed, const struct embed_options *options, bool *int8, struct err *err)
{
    struct manifest *m = &embed->info.manifest;
    bool openvino = embed->backend == &embed_backend_openvino;
    bool cpu = !options->device || strcmp(options->device, "CPU") == 0;
    bool wanted = options->precision && strcmp(options->precision, "int8") == 0;
    char weights[512];
    if (wanted && (!m->int8.file[0] || !openvino))
        return err_set_field(err, ERR_UNSUPPORTED, "precision",
            openvino ? "The model %s has no int8 file: `lookalike model quantize` makes one." : "The model %s runs in int8 with the engine openvino only.",
            m->name);
    *int8 = wanted || (!options->precision && openvino && cpu && m->int8.file[0] && (cpu_features() & CPU_VNNI));
    if (*int8)
        take_file(m, &m->int8);
    if (openvino || !manifest_weights_path(m->file, weights, sizeof weights))
        return ERR_OK;
    if (!m->onnx.file[0])
        return err_set_field(err, ERR_UNSUPPORTED, "engine",
            "The model %s is an OpenVINO IR and its manifest names no \"onnx\" beside it, which the engine onnxruntime needs.", m->name);
    take_file(m, &m->onnx);
    return ERR_OK;
}

/* On one device, which is not AUTO. */
static enum result open_on(const struct embed_options *options, struct embed **out, struct err *err)
{
    bool mutex = false, changed = false, int8 = false;
    const struct embed_backend *backend = NULL;
    struct embed_options plain = *options;
    enum result result = choose_backend(options, &backend, err);
    if (result)
        return result;
    struct embed *embed = calloc(1, sizeof *embed);
    if (!embed)
        return err_no_memory(err);
    embed->backend = backend;
    embed->info.engine = embed->backend->name;
    mutex = pthread_mutex_init(&embed->mutex, NULL) == 0;
    changed = pthread_cond_init(&embed->changed, NULL) == 0;
    if (!mutex || !changed) {
        result = err_no_memory(err);
        goto out;
    }
    result = manifest_read(options->folder, &embed->info.manifest, err);
    if (result == ERR_OK)
        result = choose_file(embed, options, &int8, err);
    if (result == ERR_OK)
        result = check_sum(&embed->info.manifest, err);
    if (int8)
        plain.precision = "f32"; /* of what is not quantized */
    if (result == ERR_OK)
        result = embed->backend->open(&plain, &embed->info, &embed->state, err);
    if (result == ERR_OK && int8)
        snprintf(embed->info.precision, sizeof embed->info.precision, "int8");
out:
    if (result == ERR_OK) {
        *out = embed;
        return ERR_OK;
    }
    if (changed)
        pthread_cond_destroy(&embed->changed);
    if (mutex)
        pthread_mutex_destroy(&embed->mutex);
    free(embed);
    return result;
}

/* AUTO: the first that opens. A GPU that is there but does not work is as good as none, and the warning says so. */
static enum result open_auto(const struct embed_options *options, struct embed **out, struct err *err)
{
    struct embed_options one = *options;
    struct err gpu = {0}, cuda = {0};
    one.engine = NULL;
    one.device = "GPU";
    if (open_on(&one, out, &gpu) == ERR_OK)
        return ERR_OK;
    one.device = "CUDA:0";
    if (gpu.code == ERR_UNSUPPORTED && open_on(&one, out, &cuda) == ERR_OK)
        return ERR_OK;
    one.device = "CPU";
    enum result result = open_on(&one, out, err);
    if (result == ERR_OK)
        snprintf((*out)->info.warning, sizeof (*out)->info.warning, "device AUTO: no GPU is usable, the CPU is used. %.180s", gpu.message);
    return result;
}

enum result embed_open(const struct embed_options *options, struct embed **out, struct err *err)
{
    enum result result = check_options(options, err);
    if (result)
        return result;
    bool automatic = options->device && strcmp(options->device, "AUTO") == 0;
    return automatic ? open_auto(options, out, err) : open_on(options, out, err);
}

enum result embed_inspect(const char *file, struct embed_inspection *out, struct err *err)
{
    return embed_backend_openvino.inspect(file, out, err);
}

const struct embed_info *embed_describe(const struct embed *embed)
{
    return &embed->info;
}

void embed_close(struct embed *embed)
{
    if (!embed)
        return;
    pthread_mutex_lock(&embed->mutex);
    while (embed->callers > 0)
        pthread_cond_wait(&embed->changed, &embed->mutex);
    pthread_mutex_unlock(&embed->mutex);
    embed->backend->close(embed->state);
    pthread_cond_destroy(&embed->changed);
    pthread_mutex_destroy(&embed->mutex);
    free(embed);
}

/* The blocks of inner layers, each of unit length: an engine's precision may not make one of them count more. */
static bool finish_blocks(const struct manifest *manifest, float *v)
{
    for (uint32_t b = 0; b < manifest->block_count; b++) {
        double sum = 0;
        for (uint32_t i = 0; i < manifest->blocks[b]; i++)
            sum += (double)v[i] * v[i];
        if (!isfinite(sum))
            return false;
        float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
        for (uint32_t i = 0; i < manifest->blocks[b]; i++)
            v[i] *= scale;
        v += manifest->blocks[b];
    }
    return true;
}

/* Each row checked for numbers that are none, and brought to unit length where the manifest says so. */
static enum result finish(const struct manifest *manifest, size_t n, float *out, struct err *err)
{
    for (size_t row = 0; row < n; row++) {
        float *v = out + row * manifest_descriptor(manifest);
        double sum = 0;
        for (uint32_t i = 0; i < manifest->dimension; i++)
            sum += (double)v[i] * v[i];
        bool finite = isfinite(sum) && finish_blocks(manifest, v + manifest->dimension);
        if (!finite || (manifest->l2_normalise && sum <= 0))
            return err_set(err, ERR_INTERNAL,
                "The model %s gave no usable vector for this picture: it is %s.", manifest->name,
                finite ? "zero" : "not finite");
        float scale = manifest->l2_normalise ? (float)(1 / sqrt(sum)) : 1;
        for (uint32_t i = 0; i < manifest->dimension; i++)
            v[i] *= scale;
    }
    return ERR_OK;
}

static void enter(struct embed *embed)
{
    pthread_mutex_lock(&embed->mutex);
    embed->callers++;
    while (embed->running >= embed->info.parallel)
        pthread_cond_wait(&embed->changed, &embed->mutex);
    embed->running++;
    pthread_mutex_unlock(&embed->mutex);
}

static void leave(struct embed *embed)
{
    pthread_mutex_lock(&embed->mutex);
    embed->running--;
    embed->callers--;
    /* Both the next call and embed_close() may be waiting. */
    pthread_cond_broadcast(&embed->changed);
    pthread_mutex_unlock(&embed->mutex);
}

enum result embed_run(
    struct embed *embed, const uint8_t *const *pixels, size_t n, float *out, struct err *err)
{
    if (n < 1 || n > embed->info.max_batch)
        return err_set(err, ERR_INTERNAL, "A batch has 1 to %u pictures, not %zu.", embed->info.max_batch, n);
    enter(embed);
    enum result result = embed->backend->run(embed->state, pixels, n, out, err);
    if (result == ERR_OK)
        result = finish(&embed->info.manifest, n, out, err);
    leave(embed);
    return result;
}
