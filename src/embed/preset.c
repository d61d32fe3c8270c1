/*
 * The numbers come from the projects that trained the models: timm's default_cfg, the preprocessor_config.json of DINOv2,
 * CLIP and SigLIP, TensorFlow's efficientnet/lite, rembg for U2-Net. Means and deviations are in 0…255.
 *
 * The output is found by name, then by shape: a model is exported with many names, but a vector a picture is [n, d].
 */
#include "embed/preset.h"

#include "base/limits.h"
#include "json/json.h"

#define IMAGENET {123.675f, 116.28f, 103.53f}, {58.395f, 57.12f, 57.375f}

static const struct preset presets[] = {
    {"resnet50-timm", "ResNet50 as timm does it: short side 235, centre 224; unit length", MANIFEST_EMBEDDING, 224, 2048,
        "short-side-crop", "byte", 0.95, IMAGENET, true, "none", 0, {0}, "unknown"},
    {"reference", "the Python service: letter-boxed to 800, background black (U2-Net), ResNet50 as timm does it, not normalised",
        MANIFEST_EMBEDDING, 224, 2048, "short-side-crop", "byte", 0.95, IMAGENET, false, "black", 800, {0}, "unknown"},
    {"efficientnet-lite", "EfficientNet-Lite: short side and centre, −1 … 1", MANIFEST_EMBEDDING, 224, 0, "short-side-crop", "byte",
        0, {127, 127, 127}, {128, 128, 128}, true, "none", 0, {"embedding"}, "Apache-2.0"},
    {"dinov2", "DINOv2: short side 256, centre 224; the class token", MANIFEST_EMBEDDING, 224, 0, "short-side-crop", "byte", 0.875,
        IMAGENET, true, "none", 0, {"pooler_output", "last_hidden_state"}, "Apache-2.0"},
    {"clip-image", "the picture's half of CLIP", MANIFEST_EMBEDDING, 224, 0, "short-side-crop", "byte", 0,
        {122.7709383f, 116.7460125f, 104.0937362f}, {68.5005327f, 66.6322155f, 70.3231630f}, true, "none", 0,
        {"image_embeds", "image_features", "pooler_output"}, "unknown"},
    {"siglip-image", "the picture's half of SigLIP", MANIFEST_EMBEDDING, 224, 0, "stretch", "byte", 0, {127.5f, 127.5f, 127.5f},
        {127.5f, 127.5f, 127.5f}, true, "none", 0, {"image_embeds", "pooler_output"}, "unknown"},
    {"generic", "any other: short side and centre, ImageNet's mean and deviation", MANIFEST_EMBEDDING, 224, 0, "short-side-crop",
        "byte", 0, IMAGENET, true, "none", 0, {"embedding", "features", "pooler_output", "output"}, "unknown"},
    {"u2net", "U2-Net and IS-Net: the mask that the background modes need", MANIFEST_MASK, 320, 0, "stretch", "maximum", 0, IMAGENET,
        false, "none", 0, {0}, "unknown"},
};
#define PRESET_COUNT (sizeof presets / sizeof *presets)

const struct preset *preset_at(size_t i)
{
    return i < PRESET_COUNT ? &presets[i] : NULL;
}

const struct preset *preset_find(const char *name)
{
    for (size_t i = 0; i < PRESET_COUNT; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

/* "[n, 3, 224, 224]", with ? for what is open. */
static void shape_text(const struct embed_tensor *t, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, t->rank ? "[" : "[…");
    for (unsigned i = 0; i < t->rank && n < size; i++) {
        const char *comma = i ? ", " : "";
        n += (size_t)(t->shape[i] < 0 ? snprintf(out + n, size - n, "%s?", comma)
                                      : snprintf(out + n, size - n, "%s%lld", comma, (long long)t->shape[i]));
    }
    if (n < size)
        snprintf(out + n, size - n, "]");
}

/* What is chosen of a model. */
struct choice {
    const struct embed_tensor *input, *output;
    uint32_t width, height, dimension;
    const char *pooling;
};

static enum result choose_input(
    const struct embed_inspection *model, uint32_t side, struct choice *out, struct err *err)
{
    char shape[128];
    const struct embed_tensor *t = &model->inputs[0];
    if (model->input_count != 1)
        return err_set_field(err, ERR_INVALID, "input.name",
            "The model has %zu inputs and must have one, the picture. Export the part that takes pictures alone.", model->input_count);
    shape_text(t, shape, sizeof shape);
    bool first = t->rank == 4 && t->shape[1] == 3, last = t->rank == 4 && !first && t->shape[3] == 3;
    if (!first && !last)
        return err_set_field(err, ERR_INVALID, "input",
            "The input %s of the model is %s and must be that of pictures, [n, 3, height, width], with the 3 fixed.", t->name, shape);
    int64_t h = t->shape[first ? 2 : 1], w = t->shape[first ? 3 : 2];
    if ((side && ((h > 0 && h != side) || (w > 0 && w != side))) || h > LIMIT_MODEL_SIDE || w > LIMIT_MODEL_SIDE)
        return err_set_field(err, ERR_INVALID, "input", "The model takes pictures of %s, not of %u pixels (at most %d).", shape, side,
            LIMIT_MODEL_SIDE);
    out->input = t;
    out->height = h > 0 ? (uint32_t)h : side;
    out->width = w > 0 ? (uint32_t)w : side;
    return ERR_OK;
}

/* Whether `t` can be a vector a picture, and how. */
static bool is_vector(const struct preset *p, const struct embed_tensor *t, struct choice *out)
{
    int64_t d = 0;
    if (!t->is_number || !t->name[0])
        return false;
    out->pooling = "none";
    if (t->rank == 2) {
        d = t->shape[1];
    } else if (t->rank == 4) {
        d = t->shape[1];
        out->pooling = t->shape[2] == 1 && t->shape[3] == 1 ? "none" : "mean";
    } else if (t->rank == 3) {
        d = t->shape[2];
        out->pooling = "first";
    }
    if (d < 2 || d > LIMIT_DIMENSION || (p->dimension && d != p->dimension))
        return false;
    out->output = t;
    out->dimension = (uint32_t)d;
    return true;
}

static bool is_mask(const struct embed_tensor *t, struct choice *out)
{
    unsigned r = t->rank;
    if (!t->is_number || !t->name[0] || r < 3 || r > 4 || (r == 4 && t->shape[1] != 1))
        return false;
    out->output = t;
    return (t->shape[r - 2] < 0 || t->shape[r - 2] == out->height) && (t->shape[r - 1] < 0 || t->shape[r - 1] == out->width);
}

static bool fits(const struct preset *p, const struct embed_tensor *t, struct choice *out)
{
    return p->kind == MANIFEST_MASK ? is_mask(t, out) : is_vector(p, t, out);
}

static enum result no_output(const struct preset *p, const struct embed_inspection *model, struct err *err)
{
    char all[300] = "", shape[96];
    for (size_t i = 0; i < model->output_count && strlen(all) < 200; i++) {
        const struct embed_tensor *t = &model->outputs[i];
        size_t n = strlen(all);
        shape_text(t, shape, sizeof shape);
        snprintf(all + n, sizeof all - n, "%s%.40s %s%s", i ? ", " : "", t->name[0] ? t->name : "(no name)", shape,
            t->is_number ? "" : " of something else than numbers");
    }
    if (p->kind == MANIFEST_MASK)
        return err_set_field(err, ERR_INVALID, "output.name", "The model has no output that is a mask, [n, 1, height, width]; it gives %s.", all);
    if (p->dimension)
        return err_set_field(err, ERR_INVALID, "output.name",
            "The model has no output of %u numbers a picture, as the preset %s needs it; it gives %s.", p->dimension, p->name, all);
    return err_set_field(err, ERR_INVALID, "output.name", "The model has no output that is a vector of a picture, [n, d]; it gives %s.", all);
}

static enum result choose_output(
    const struct preset *p, const struct embed_inspection *model, struct choice *out, struct err *err)
{
    for (size_t k = 0; k < 4 && p->outputs[k]; k++)
        for (size_t i = 0; i < model->output_count; i++)
            if (strcmp(model->outputs[i].name, p->outputs[k]) == 0 && fits(p, &model->outputs[i], out))
                return ERR_OK;
    /* A vector is a better guess than something that has to be pooled. */
    for (size_t i = 0; i < model->output_count; i++)
        if (model->outputs[i].rank == 2 && fits(p, &model->outputs[i], out))
            return ERR_OK;
    for (size_t i = 0; i < model->output_count; i++)
        if (fits(p, &model->outputs[i], out))
            return ERR_OK;
    return no_output(p, model, err);
}

static enum result text(struct buf *out, const char *before, const char *value)
{
    enum result r = buf_append_str(out, before);
    return r ? r : json_append_string(out, value, strlen(value));
}

static enum result write_input(const struct preset *p, const struct choice *c, struct buf *out)
{
    enum result r = text(out, ",\n  \"input\": {\"name\": ", c->input->name);
    if (r == ERR_OK)
        r = buf_appendf(out, ", \"width\": %u, \"height\": %u,\n            \"resize\": \"%s\", \"range\": \"%s\", \"channels\": \"rgb\",\n",
            c->width, c->height, p->resize, p->range);
    if (r == ERR_OK && p->crop > 0 && c->width == c->height)
        r = buf_appendf(out, "            \"crop\": %g,\n", p->crop);
    if (r == ERR_OK)
        r = buf_appendf(out, "            \"mean\": [%g, %g, %g], \"std\": [%g, %g, %g]}", (double)p->mean[0], (double)p->mean[1],
            (double)p->mean[2], (double)p->std[0], (double)p->std[1], (double)p->std[2]);
    return r;
}

static enum result write_output(const struct preset *p, const struct choice *c, struct buf *out)
{
    enum result r = text(out, ",\n  \"output\": {\"name\": ", c->output->name);
    if (r == ERR_OK && p->kind == MANIFEST_EMBEDDING)
        r = buf_appendf(out, ", \"pooling\": \"%s\", \"normalisation\": \"%s\", \"dimension\": %u", c->pooling, p->l2 ? "l2" : "none",
            c->dimension);
    if (r == ERR_OK)
        r = buf_appendf(out, "},\n  \"background\": \"%s\"", p->background);
    if (r == ERR_OK && p->canvas_side)
        r = buf_appendf(out, ",\n  \"canvas\": {\"side\": %u, \"fill\": \"black\"}", p->canvas_side);
    return r;
}

enum result preset_manifest(const struct preset *p, const struct embed_inspection *model, const struct preset_facts *facts,
    struct buf *out, struct err *err)
{
    struct choice c = {0};
    enum result r = choose_input(model, facts->side, &c, err);
    if (r)
        return r;
    c.width = c.width ? c.width : p->side;
    c.height = c.height ? c.height : p->side;
    r = choose_output(p, model, &c, err);
    if (r)
        return r;
    r = text(out, "{\n  \"format\": 1,\n  \"name\": ", facts->name);
    if (r == ERR_OK && p->kind == MANIFEST_MASK)
        r = buf_append_str(out, ",\n  \"kind\": \"mask\"");
    if (r == ERR_OK)
        r = text(out, ",\n  \"file\": ", facts->file);
    if (r == ERR_OK)
        r = buf_appendf(out, ",\n  \"sha256\": \"%s\"", facts->sha256);
    if (r == ERR_OK)
        r = write_input(p, &c, out);
    if (r == ERR_OK)
        r = write_output(p, &c, out);
    if (r == ERR_OK)
        r = text(out, ",\n  \"licence\": ", facts->licence ? facts->licence : p->licence);
    if (r == ERR_OK)
        r = text(out, ",\n  \"source\": ", facts->source);
    if (r == ERR_OK)
        r = buf_append_str(out, "\n}\n");
    return r ? err_set(err, r, "The manifest is too large.") : ERR_OK;
}
