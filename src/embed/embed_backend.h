/*
 * What an inference engine has to offer. For the folders embed/<engine>/ only; everybody else includes
 * embed.h. embed.c reads and checks the manifest and the sum of the model, and normalises; a backend maps
 * pixels to the raw output.
 */
#ifndef EMBED_EMBED_BACKEND_H
#define EMBED_EMBED_BACKEND_H

#include "embed/embed.h"

struct embed_backend {
    const char *name;
    /* Fills `state` and, in `info`, engine_version, device, precision, threads, max_batch and parallel. */
    enum result (*open)(
        const struct embed_options *options, struct embed_info *info, void **state, struct err *err);
    /*
     * `out` receives n rows of manifest_descriptor() floats: manifest_output(), already averaged over its last two axes
     * where the manifest's pooling is "mean", the first token where it is "first". Called from several threads at once.
     */
    enum result (*run)(void *state, const uint8_t *const *pixels, size_t n, float *out, struct err *err);
    void (*close)(void *state);
    /* As embed_inspect() promises it. NULL: this engine cannot. */
    enum result (*inspect)(const char *file, struct embed_inspection *out, struct err *err);
};

extern const struct embed_backend embed_backend_openvino;
#ifdef EMBED_ONNXRUNTIME
extern const struct embed_backend embed_backend_onnxruntime; /* with the build option onnxruntime */
#endif

#endif
