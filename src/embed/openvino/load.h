/* From a manifest to OpenVINO models ready to run. For openvino.c only. */
#ifndef EMBED_OPENVINO_LOAD_H
#define EMBED_OPENVINO_LOAD_H

#include "embed/embed_backend.h"

#include <openvino/c/openvino.h>

/* One way to have the model compiled. */
struct openvino_plan {
    unsigned batch;   /* pictures in one inference */
    unsigned streams; /* inferences at once; each has threads / streams threads */
};

struct openvino_model {
    ov_core_t *core;
    ov_model_t *model; /* takes u8, NHWC, RGB */
    bool fixed_batch;  /* the file allows one picture at a time only */
    const struct manifest *manifest;
    const char *device; /* as OpenVINO names it: "CPU", "GPU" … */
    char hint[16];      /* precision to ask for; "" leaves it to the device */
    unsigned threads;
};

/* Reads and checks the model. On failure openvino_unload() is still the caller's to call. */
enum result openvino_load(const struct embed_options *options, const struct manifest *manifest,
    struct openvino_model *out, struct err *err) ERR_MUST_USE;
void openvino_unload(struct openvino_model *model);

enum result openvino_compile(struct openvino_model *model, const struct openvino_plan *plan,
    ov_compiled_model_t **out, struct err *err) ERR_MUST_USE;

/* For embed_inspect(). */
enum result openvino_inspect(const char *file, struct embed_inspection *out, struct err *err) ERR_MUST_USE;

/* "OpenVINO cannot <what> <whom>: <its reason>"; ERR_OK where `status` is OK. */
enum result openvino_check(ov_status_e status, const char *what, const char *whom, struct err *err);

#endif
