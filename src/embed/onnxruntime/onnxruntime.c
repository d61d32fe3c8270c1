/*
 * Inference with ONNX Runtime's C API: the second engine, for NVIDIA GPUs through its CUDA provider.
 *
 * The library is no part of Debian 12 and large, so it is loaded at run time (dlopen), from where the build was told that it
 * is (-Donnxruntime=DIR) or from $LOOKALIKE_ONNXRUNTIME; a program without it works, with OpenVINO. Everything is
 * called through the one table that OrtGetApiBase() hands out for the version of the header.
 *
 * Scaling, channel order and layout are done here, per call, into memory of the call: unlike OpenVINO this engine has no
 * preprocessing that could be fused into the model. A session may be run by many threads at once, so nothing is shared
 * between calls.
 *
 * The CPU provider runs the same tests as OpenVINO. The CUDA provider was never run by us, for want of such a GPU: what
 * is tested is that a missing one gives a clear error.
 */
#include "base/cpu.h"
#include "base/limits.h"
#include "embed/embed_backend.h"
#include "embed/pool.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdlib.h>

#define BATCH_CPU 4u
#define BATCH_CUDA 16u
#define CALLS_CUDA 2u
#define CALLS_MAX 8u

struct runtime {
    const struct manifest *manifest;
    const char *file;
    void *library;
    const OrtApi *api;
    OrtEnv *env;
    OrtSession *session;
    OrtMemoryInfo *memory;
    bool planes;      /* NCHW; else NHWC */
    bool fixed_batch; /* one picture at a time only */
    size_t pixels;    /* of a picture */
};

/* Releases the status. ERR_OK where there is none. */
static enum result check(const struct runtime *t, OrtStatus *status, const char *what, struct err *err)
{
    if (!status)
        return ERR_OK;
    enum result result =
        err_set(err, ERR_INVALID, "ONNX Runtime cannot %s %s: %.240s", what, t->file, t->api->GetErrorMessage(status));
    t->api->ReleaseStatus(status);
    return result;
}

/* --- the library ------------------------------------------------------------------------------------------------ */

static enum result load_library(struct runtime *t, struct err *err)
{
    const char *path = getenv("LOOKALIKE_ONNXRUNTIME");
    if (!path || !*path)
        path = EMBED_ONNXRUNTIME "/libonnxruntime.so";
    t->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!t->library)
        return err_set_field(err, ERR_UNAVAILABLE, "engine",
            "ONNX Runtime's library cannot be loaded (%.300s); LOOKALIKE_ONNXRUNTIME names another place", dlerror());
    const OrtApiBase *(*base)(void) = NULL;
    *(void **)&base = dlsym(t->library, "OrtGetApiBase");
    t->api = base ? base()->GetApi(ORT_API_VERSION) : NULL;
    if (!t->api)
        return err_set_field(err, ERR_UNSUPPORTED, "engine",
            "%.300s is no ONNX Runtime, or older than 1.%d, which this program was built for", path, ORT_API_VERSION);
    return ERR_OK;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

/* "CUDA" or "CUDA:1" → the number. */
static bool cuda_number(const char *device, char *out, size_t size)
{
    if (strncmp(device, "CUDA", 4) != 0 || (device[4] && device[4] != ':'))
        return false;
    const char *number = device[4] ? device + 5 : "0";
    snprintf(out, size, "%s", number);
    return *number && strspn(number, "0123456789") == strlen(number) && strlen(number) < 4;
}

static enum result add_cuda(const struct runtime *t, OrtSessionOptions *options, const char *number, struct err *err)
{
    const char *const keys[] = {"device_id"}, *const values[] = {number};
    OrtCUDAProviderOptionsV2 *cuda = NULL;
    OrtStatus *status = t->api->CreateCUDAProviderOptions(&cuda);
    if (!status)
        status = t->api->UpdateCUDAProviderOptions(cuda, keys, values, 1);
    if (!status)
        status = t->api->SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda);
    if (cuda)
        t->api->ReleaseCUDAProviderOptions(cuda);
    if (!status)
        return ERR_OK;
    enum result result = err_set_field(err, ERR_UNSUPPORTED, "device",
        "There is no usable NVIDIA GPU CUDA:%s here (an ONNX Runtime with its CUDA provider, the driver and the GPU are needed): %.200s",
        number, t->api->GetErrorMessage(status));
    t->api->ReleaseStatus(status);
    return result;
}

static enum result make_session(struct runtime *t, const char *device, unsigned threads, struct err *err)
{
    char number[8];
    OrtSessionOptions *options = NULL;
    bool cuda = cuda_number(device, number, sizeof number);
    if (!cuda && strcmp(device, "CPU") != 0)
        return err_set_field(err, ERR_UNSUPPORTED, "device", "ONNX Runtime has the devices CPU and CUDA:0, CUDA:1 …, not %.32s.", device);
    enum result result = check(t, t->api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "lookalike", &t->env), "start for", err);
    if (result == ERR_OK)
        result = check(t, t->api->CreateSessionOptions(&options), "start for", err);
    if (result == ERR_OK)
        result = check(t, t->api->SetIntraOpNumThreads(options, (int)threads), "set threads for", err);
    if (result == ERR_OK)
        result = check(t, t->api->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL), "optimise", err);
    if (result == ERR_OK && cuda)
        result = add_cuda(t, options, number, err);
    if (result == ERR_OK)
        result = check(t, t->api->CreateSession(t->env, t->file, options, &t->session), "read the model", err);
    if (result == ERR_OK)
        result = check(t, t->api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &t->memory), "get memory for", err);
    if (options)
        t->api->ReleaseSessionOptions(options);
    return result;
}

struct tensor {
    char name[128];
    int64_t shape[EMBED_RANK_MAX];
    size_t rank;
    ONNXTensorElementDataType type;
};

/* Name, shape and type of an input or an output. False where one of the calls fails or it is no tensor. */
static bool describe(const struct runtime *t, bool input, size_t i, struct tensor *out)
{
    OrtAllocator *allocator = NULL;
    OrtTypeInfo *info = NULL;
    const OrtTensorTypeAndShapeInfo *shape = NULL;
    char *name = NULL;
    OrtStatus *status = t->api->GetAllocatorWithDefaultOptions(&allocator);
    if (!status)
        status = input ? t->api->SessionGetInputName(t->session, i, allocator, &name)
                       : t->api->SessionGetOutputName(t->session, i, allocator, &name);
    if (!status)
        status = input ? t->api->SessionGetInputTypeInfo(t->session, i, &info) : t->api->SessionGetOutputTypeInfo(t->session, i, &info);
    if (!status)
        status = t->api->CastTypeInfoToTensorInfo(info, &shape);
    if (!status && shape)
        status = t->api->GetTensorElementType(shape, &out->type);
    if (!status && shape)
        status = t->api->GetDimensionsCount(shape, &out->rank);
    bool good = !status && shape && out->rank <= EMBED_RANK_MAX;
    if (good)
        status = t->api->GetDimensions(shape, out->shape, out->rank);
    snprintf(out->name, sizeof out->name, "%s", name ? name : "");
    if (name && t->api->AllocatorFree(allocator, name))
        good = false;
    if (info)
        t->api->ReleaseTypeInfo(info);
    good = good && !status;
    if (status)
        t->api->ReleaseStatus(status);
    return good;
}

static bool fits(int64_t dimension, uint32_t wanted)
{
    return dimension < 0 || dimension == (int64_t)wanted;
}

static enum result check_input(struct runtime *t, struct err *err)
{
    const struct manifest *f = t->manifest;
    struct tensor in = {0};
    size_t count = 0;
    enum result result = check(t, t->api->SessionGetInputCount(t->session, &count), "inspect", err);
    if (result)
        return result;
    if (count != 1 || !describe(t, true, 0, &in) || strcmp(in.name, f->input_name) != 0)
        return err_set_field(err, ERR_INVALID, "input.name",
            count == 1 ? "The model %s has no input named %s." : "The model %s has other inputs than %s.", t->file, f->input_name);
    const int64_t *d = in.shape;
    t->planes = in.rank == 4 && d[1] == 3 && fits(d[2], f->height) && fits(d[3], f->width);
    bool pixels = in.rank == 4 && d[3] == 3 && fits(d[1], f->height) && fits(d[2], f->width);
    if ((!t->planes && !pixels) || in.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
        return err_set_field(err, ERR_INVALID, "input",
            "The model %s does not take pictures of %ux%u pixels in three channels of floats, as its manifest says.", t->file, f->width,
            f->height);
    if (d[0] > 1)
        return err_set_field(err, ERR_INVALID, "input",
            "The model %s takes %lld pictures at once and never one; export it with a free batch size.", t->file, (long long)d[0]);
    t->fixed_batch = d[0] == 1;
    return ERR_OK;
}

static enum result check_output(const struct runtime *t, struct err *err)
{
    struct tensor out = {0};
    size_t count = 0;
    enum result result = check(t, t->api->SessionGetOutputCount(t->session, &count), "inspect", err);
    if (result)
        return result;
    for (size_t i = 0; i < count; i++) {
        if (!describe(t, false, i, &out) || strcmp(out.name, manifest_output(t->manifest)) != 0)
            continue;
        if (out.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
            return ERR_OK;
        return err_set_field(err, ERR_INVALID, "output.name",
            "The output %s of the model %s is not of floating-point numbers: it is no vector of a picture.", out.name, t->file);
    }
    return err_set_field(
        err, ERR_INVALID, "output.name", "The model %s has no output named %s.", t->file, manifest_output(t->manifest));
}

/* --- running ---------------------------------------------------------------------------------------------------- */

/* u8 RGB → what the network sees. */
static void scale(const struct runtime *t, const uint8_t *pixels, float *out)
{
    const struct manifest *f = t->manifest;
    for (unsigned c = 0; c < 3; c++) {
        unsigned from = f->bgr ? 2 - c : c;
        float mean = f->mean[c], factor = 1 / f->std[c];
        size_t step = t->planes ? 1 : 3;
        float *to = t->planes ? out + c * t->pixels : out + c;
        for (size_t i = 0; i < t->pixels; i++)
            to[i * step] = ((float)pixels[3 * i + from] - mean) * factor;
    }
}

/* The output's numbers into `out`, after a look at how many there are. */
static enum result take_rows(const struct runtime *t, OrtValue *value, size_t n, float *out, struct err *err)
{
    const struct manifest *f = t->manifest;
    const uint32_t dimension = manifest_descriptor(f);
    OrtTensorTypeAndShapeInfo *info = NULL;
    int64_t d[EMBED_RANK_MAX] = {0};
    size_t rank = 0, numbers = 0;
    void *data = NULL;
    OrtStatus *status = t->api->GetTensorTypeAndShape(value, &info);
    if (!status)
        status = t->api->GetDimensionsCount(info, &rank);
    if (!status && rank <= EMBED_RANK_MAX)
        status = t->api->GetDimensions(info, d, rank);
    if (!status)
        status = t->api->GetTensorShapeElementCount(info, &numbers);
    if (!status)
        status = t->api->GetTensorMutableData(value, &data);
    if (info)
        t->api->ReleaseTensorTypeAndShapeInfo(info);
    enum result result = check(t, status, "read what came out of", err);
    if (result)
        return result;
    bool good = rank >= 2 && rank <= EMBED_RANK_MAX && d[0] == (int64_t)n && numbers > 0;
    if (good && f->pooling == MANIFEST_POOLING_MEAN)
        good = rank == 4 && d[1] == (int64_t)dimension;
    else if (good && f->pooling == MANIFEST_POOLING_FIRST)
        good = rank == 3 && d[2] == (int64_t)dimension;
    else if (good)
        good = numbers == n * dimension;
    if (!good)
        return err_set_field(err, ERR_INVALID, "output.dimension",
            "The output %s of %s gives %zu numbers for %zu pictures, which is not what its manifest says: %u each.", manifest_output(f),
            t->file, numbers, n, dimension);
    size_t area = numbers / n / dimension;
    for (size_t i = 0; i < n; i++)
        embed_pool(f->pooling, (float *)data + i * area * dimension, area, dimension, out + i * dimension);
    return ERR_OK;
}

static enum result run_batch(
    const struct runtime *t, const uint8_t *const *pixels, size_t n, float *out, struct err *err)
{
    const struct manifest *f = t->manifest;
    size_t each = t->pixels * 3;
    int64_t planes[] = {(int64_t)n, 3, f->height, f->width}, rows[] = {(int64_t)n, f->height, f->width, 3};
    const char *inputs[] = {f->input_name}, *outputs[] = {manifest_output(f)};
    OrtValue *in = NULL, *result_value = NULL;
    float *numbers = malloc(n * each * sizeof *numbers);
    if (!numbers)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i++)
        scale(t, pixels[i], numbers + i * each);
    OrtStatus *status = t->api->CreateTensorWithDataAsOrtValue(t->memory, numbers, n * each * sizeof *numbers, t->planes ? planes : rows, 4,
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &in);
    if (!status)
        status = t->api->Run(t->session, NULL, inputs, (const OrtValue *const *)&in, 1, outputs, 1, &result_value);
    enum result result = check(t, status, "run", err);
    if (result == ERR_OK)
        result = take_rows(t, result_value, n, out, err);
    if (result_value)
        t->api->ReleaseValue(result_value);
    if (in)
        t->api->ReleaseValue(in);
    free(numbers);
    return result;
}

static enum result onnxruntime_run(void *state, const uint8_t *const *pixels, size_t n, float *out, struct err *err)
{
    const struct runtime *t = state;
    enum result result = ERR_OK;
    size_t step = t->fixed_batch ? 1 : n;
    for (size_t done = 0; done < n && result == ERR_OK; done += step)
        result = run_batch(t, pixels + done, step, out + done * manifest_descriptor(t->manifest), err);
    return result;
}

static void onnxruntime_close(void *state)
{
    struct runtime *t = state;
    if (t->memory)
        t->api->ReleaseMemoryInfo(t->memory);
    if (t->session)
        t->api->ReleaseSession(t->session);
    if (t->env)
        t->api->ReleaseEnv(t->env);
    /* The library stays: threads of its own may still be ending, and another model will want it again. */
    free(t);
}

/* One run on grey: allocates now what the first search would wait for, and shows that the output is as promised. */
static enum result warm_up(struct runtime *t, struct err *err)
{
    uint8_t *grey = malloc(t->pixels * 3);
    float *out = malloc(manifest_descriptor(t->manifest) * sizeof *out);
    enum result result = grey && out ? ERR_OK : err_no_memory(err);
    if (result == ERR_OK) {
        const uint8_t *one = grey;
        memset(grey, 128, t->pixels * 3);
        result = run_batch(t, &one, 1, out, err);
    }
    free(out);
    free(grey);
    return result;
}

static enum result onnxruntime_open(
    const struct embed_options *options, struct embed_info *info, void **state, struct err *err)
{
    const char *device = options->device ? options->device : "CPU";
    unsigned threads = options->threads ? options->threads : cpu_count();
    bool cpu = strcmp(device, "CPU") == 0;
    struct runtime *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory(err);
    t->manifest = &info->manifest;
    t->file = info->manifest.file;
    t->pixels = (size_t)info->manifest.width * info->manifest.height;
    enum result result = ERR_OK;
    if (options->precision && strcmp(options->precision, "f32") != 0)
        result = err_set_field(err, ERR_UNSUPPORTED, "precision", "ONNX Runtime computes in f32 here, not in %.16s.", options->precision);
    if (result == ERR_OK)
        result = load_library(t, err);
    if (result == ERR_OK)
        result = make_session(t, device, threads, err);
    if (result == ERR_OK)
        result = check_input(t, err);
    if (result == ERR_OK)
        result = check_output(t, err);
    if (result == ERR_OK)
        result = warm_up(t, err);
    if (result) {
        onnxruntime_close(t);
        return result;
    }
    const OrtApiBase *(*base)(void) = NULL;
    *(void **)&base = dlsym(t->library, "OrtGetApiBase");
    snprintf(info->engine_version, sizeof info->engine_version, "%s", base ? base()->GetVersionString() : "unknown");
    snprintf(info->device, sizeof info->device, "%s", device);
    snprintf(info->precision, sizeof info->precision, "f32");
    info->threads = threads;
    info->max_batch = t->fixed_batch ? 1 : cpu ? BATCH_CPU : BATCH_CUDA;
    info->parallel = !cpu ? CALLS_CUDA : threads < CALLS_MAX ? threads : CALLS_MAX;
    *state = t;
    return ERR_OK;
}

const struct embed_backend embed_backend_onnxruntime = {
    .name = "onnxruntime",
    .open = onnxruntime_open,
    .run = onnxruntime_run,
    .close = onnxruntime_close,
};
