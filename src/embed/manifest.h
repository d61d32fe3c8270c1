/*
 * A model is a folder with a manifest, `model.json`:
 *
 *   {"format": 1, "name": "efficientnet-lite2", "file": "model.xml", "sha256": "<64 hex digits>",
 *    "input": {"name": "image", "width": 260, "height": 260,
 *              "resize": "short-side-crop" | "fit-white" | "stretch",
 *              "channels": "rgb" | "bgr", "mean": [127, 127, 127], "std": [128, 128, 128]},
 *    "output": {"name": "embedding", "pooling": "none" | "mean" | "first", "normalisation": "l2" | "none",
 *               "dimension": 1280},
 *    "background": "none" | "subject" | "white" | "black",
 *    "licence": "Apache-2.0", "source": "<where the weights came from>"}
 *
 * The value the network sees is (pixel − mean) / std, pixel in 0…255. "mean" pooling averages a [n, c, h, w]
 * output over h and w, "first" takes the first of the tokens of [n, tokens, c]. `background` is what new collections of the model do with it (image/subject.h). Unknown
 * members are ignored; a wrong or missing one is an error that names it.
 *
 * Members that may be absent:
 *   "kind": "embedding"           or "mask": the output is one number a pixel of the input, large where the subject
 *                                 is. Such a model serves the background modes and no collection; its `dimension`,
 *                                 `pooling` and `normalisation` are not looked at
 *   "input.crop": 1               with "short-side-crop": the part of the short side that is kept. 0.95 with 224
 *                                 pixels: short side to 235, the 224 in the middle
 *   "input.range": "byte"         or "maximum": pixels are first multiplied so that the brightest becomes 255
 *   "output.descriptor": {"name": "descriptor", "blocks": [48, 48, 88, …]}
 *                                 a longer output of the model to take instead: the same `dimension` numbers, and behind
 *                                 them statistics of inner layers, in blocks of these lengths. What a client sees is
 *                                 the first `dimension`; `tune` learns from all. Only with the pooling "none"
 *   "onnx": {"file": "model.onnx", "sha256": "…"}     the same as `file`, an IR, for engines that read ONNX only
 *   "int8": {"file": "int8.xml", "sha256": "…"}        quantized; taken where the CPU is faster with it
 *   "canvas": {"side": 800, "fill": "white" | "black"}
 *                                 the square on which a background is removed
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

enum manifest_pooling { MANIFEST_POOLING_NONE, MANIFEST_POOLING_MEAN, MANIFEST_POOLING_FIRST };
enum manifest_kind { MANIFEST_EMBEDDING, MANIFEST_MASK };

#define MANIFEST_BLOCKS_MAX 31   /* of inner layers */
#define MANIFEST_CANVAS_SIDE 800 /* where the manifest says nothing, on white */

/* The same network in another file of the folder. */
struct manifest_file {
    char file[512];  /* "" where there is none */
    char sha256[65];
};

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
    enum manifest_kind kind;
    struct manifest_file onnx, int8;
    uint32_t short_side; /* as in struct image_want: 0 without "crop" */
    bool range_maximum;
    enum image_background background;
    uint32_t canvas_side;
    bool canvas_black;
    char descriptor_name[128]; /* "": the model has none */
    uint32_t block_count;
    uint32_t blocks[MANIFEST_BLOCKS_MAX];
    uint32_t inner; /* their sum: floats behind the vector */
};

/* Floats that embed_run() makes of a picture: the vector, then the statistics of inner layers. */
static inline uint32_t manifest_descriptor(const struct manifest *m)
{
    return m->dimension + m->inner;
}

/* The output that an engine is to read, of manifest_descriptor() floats. */
static inline const char *manifest_output(const struct manifest *m)
{
    return m->inner ? m->descriptor_name : m->output_name;
}

/* Reads FOLDER/model.json and checks that the model's file exists; the sum is checked when the model is
 * opened. */
enum result manifest_read(const char *folder, struct manifest *out, struct err *err) ERR_MUST_USE;

/* What the network is given and how its output is read, in words that are equal where vectors can be compared: "320x320
 * short-side-crop rgb mean 127 127 127 std 128 128 128 pooling none l2". A collection keeps them. Another file of the same name does
 * not show in them: converted anew its sum differs, and the vectors are the same. */
#define MANIFEST_SIGHT_BYTES 192
void manifest_sight(const struct manifest *manifest, char out[MANIFEST_SIGHT_BYTES]);

/* For an IR the path of its weights, and true; for any other file (or a path too long for `size`) false. */
bool manifest_weights_path(const char *file, char *out, size_t size) ERR_MUST_USE;

#endif
