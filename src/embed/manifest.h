/*
 * A model is a folder with a manifest, `model.json`:
 *
 *   {"format": 1, "name": "efficientnet-lite2", "file": "model.xml", "sha256": "<64 hex digits>",
 *    "input": {"name": "image", "width": 260, "height": 260,
 *              "resize": "short-side-crop" | "fit-white" | "stretch",
 *              "channels": "rgb" | "bgr", "mean": [127, 127, 127], "std": [128, 128, 128]},
 *    "output": {"name": "embedding", "pooling": "none" | "mean", "normalisation": "l2" | "none",
 *               "dimension": 1280},
 *    "background": "none", "licence": "Apache-2.0", "source": "<where the weights came from>"}
 *
 * The value the network sees is (pixel − mean) / std, pixel in 0…255. "mean" pooling averages a [n, c, h, w]
 * output over h and w. Unknown members are ignored; a wrong or missing one is an error that names it.
 *
 * `file` is an ONNX model, or the .xml of an OpenVINO IR, whose weights are in the .bin of the same name. The
 * sum is that of the file, of an IR that of the .xml followed by the .bin.
 */
#ifndef EMBED_MANIFEST_H
#define EMBED_MANIFEST_H

#include "base/err.h"
#include "image/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum manifest_pooling { MANIFEST_POOLING_NONE, MANIFEST_POOLING_MEAN };

struct manifest {
    char name[128];
    char file[512]; /* absolute, or relative to where the folder was named from */
    char sha256[65];
    char input_name[128], output_name[128];
    uint32_t width, height;
    enum image_resize resize;
    bool bgr;
    float mean[3], std[3]; /* in the order of the channels */
    enum manifest_pooling pooling;
    bool l2_normalise;
    uint32_t dimension;
    char licence[128];
};

/* Reads FOLDER/model.json and checks that the model's file exists; the sum is checked when the model is
 * opened. */
enum result manifest_read(const char *folder, struct manifest *out, struct err *err) ERR_MUST_USE;

/* For an IR the path of its weights, and true; for any other file (or a path too long for `size`) false. */
bool manifest_weights_path(const char *file, char *out, size_t size) ERR_MUST_USE;

#endif
