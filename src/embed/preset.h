/*
 * What is known of families of models, so that a file can be added without writing a manifest: how pictures are
 * scaled, the numbers they are normalised with, which output is the vector. What depends on the file (names, sizes, the
 * dimension) is read from it.
 */
#ifndef EMBED_PRESET_H
#define EMBED_PRESET_H

#include "base/buf.h"
#include "embed/embed.h"

struct preset {
    const char *name, *summary;
    enum manifest_kind kind;
    uint32_t side;      /* of the input, where the file leaves it open */
    uint32_t dimension; /* that the output must have; 0: any */
    const char *resize, *range;
    double crop;        /* 0: none */
    float mean[3], std[3];
    bool l2;
    const char *background;
    uint32_t canvas_side; /* 0: none; on black */
    const char *outputs[4]; /* names tried first, in this order */
    const char *licence;    /* where --licence says nothing */
};

/* NULL: there is none of that name. */
const struct preset *preset_find(const char *name);
/* The i-th, NULL past the last. */
const struct preset *preset_at(size_t i);

struct preset_facts {
    const char *name, *file; /* of the model; of its file in the folder */
    const char *sha256, *licence, *source; /* licence NULL: the preset's */
    uint32_t side;           /* 0: the file's, else the preset's */
};

/*
 * The text of a model.json, appended to `out`. ERR_INVALID: the model is not what the preset is for; the sentence says what
 * it has instead.
 */
enum result preset_manifest(const struct preset *preset, const struct embed_inspection *model,
    const struct preset_facts *facts, struct buf *out, struct err *err) ERR_MUST_USE;

#endif
