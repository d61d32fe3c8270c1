/*
 * Pixels → vectors. One struct embed is one loaded model on one device.
 *
 * embed_run() is thread-safe; up to info->parallel calls run at once, others wait. The pictures of one call
 * are one batch of at most info->max_batch. Vectors do not depend on what else is in the batch beyond
 * rounding.
 */
#ifndef EMBED_EMBED_H
#define EMBED_EMBED_H

#include "base/err.h"
#include "embed/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embed;

struct embed_options {
    const char *folder;    /* of the model, with its manifest */
    const char *engine;    /* "openvino", "onnxruntime"; NULL: by the device, CUDA is onnxruntime's */
    const char *device;    /* "CPU" (also where NULL), "GPU", "CUDA:0"; "AUTO": a GPU, else the CPU with a warning */
    unsigned threads;      /* 0: one per CPU */
    const char *precision; /* NULL: the best that device and model have; "f32", "bf16", "int8" */
};

struct embed_info {
    struct manifest manifest;
    const char *engine; /* "openvino", "onnxruntime" */
    char warning[256];  /* what whoever starts the server should know; "" for nothing */
    char engine_version[64];
    char device[64];
    char precision[16]; /* what inference runs in: "int8", "bf16", "f32" */
    unsigned threads;
    unsigned max_batch; /* most pictures in one embed_run() */
    unsigned parallel;  /* embed_run() calls that make progress at once */
};

/*
 * ERR_NOT_FOUND: no such folder or file. ERR_CORRUPT: the sha256 differs. ERR_INVALID: the manifest is wrong,
 * or the model has not the input, output or dimension it names. ERR_UNSUPPORTED: no such device.
 */
enum result embed_open(const struct embed_options *options, struct embed **out, struct err *err) ERR_MUST_USE;
const struct embed_info *embed_describe(const struct embed *embed);
/* Waits for calls that run. NULL is accepted. */
void embed_close(struct embed *embed);

/*
 * `pixels[i]` points at height × width × 3 bytes, RGB, as image_decode() makes them. `out` has room for n ×
 * manifest_descriptor() floats; row i is the vector of picture i, of unit length where the manifest says so, followed
 * by the blocks of inner layers, each of unit length. 1 ≤ n ≤
 * max_batch. After a failure what is in `out` means nothing.
 */
enum result embed_run(
    struct embed *embed, const uint8_t *const *pixels, size_t n, float *out, struct err *err) ERR_MUST_USE;

/* --- looking at a file that has no manifest yet ------------------------------------------------------------- */

#define EMBED_TENSORS_MAX 32
#define EMBED_RANK_MAX 8

struct embed_tensor {
    char name[128];
    unsigned rank;                 /* 0: unknown */
    int64_t shape[EMBED_RANK_MAX]; /* -1: left open */
    bool is_number;                /* floating point */
};

struct embed_inspection {
    struct embed_tensor inputs[EMBED_TENSORS_MAX], outputs[EMBED_TENSORS_MAX];
    size_t input_count, output_count; /* more than EMBED_TENSORS_MAX are not shown */
};

/* What an ONNX model or an OpenVINO IR takes and gives. ERR_INVALID: it cannot be read; the sentence says why. */
enum result embed_inspect(const char *file, struct embed_inspection *out, struct err *err) ERR_MUST_USE;
/* The sum that a manifest holds: of the file, of an IR that of the .xml followed by the .bin. */
enum result embed_sum(const char *file, char hex[65], struct err *err) ERR_MUST_USE;

#endif
