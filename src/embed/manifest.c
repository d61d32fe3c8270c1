/*
 * model.json → struct manifest. Every member is looked up by its path ("input.width"), so that an error can
 * name it the way a person finds it in the file. A manifest is written by hand as often as by a tool, hence
 * the long sentences.
 */
#include "embed/manifest.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/parse.h"
#include "json/json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <sys/stat.h>

#define FORMAT 1

struct reader {
    struct json_object *root;
    const char *file; /* for sentences */
    struct err *err;
};

/* A word of the manifest and what it means here. */
struct choice {
    const char *word;
    int value;
};

static const struct choice resizes[] = {{"short-side-crop", IMAGE_SHORT_SIDE_CROP},
    {"fit-white", IMAGE_FIT_WHITE}, {"fit-black", IMAGE_FIT_BLACK}, {"stretch", IMAGE_STRETCH}, {NULL, 0}};
static const struct choice channels[] = {{"rgb", false}, {"bgr", true}, {NULL, 0}};
static const struct choice poolings[] = {
    {"none", MANIFEST_POOLING_NONE}, {"mean", MANIFEST_POOLING_MEAN}, {"first", MANIFEST_POOLING_FIRST}, {NULL, 0}};
static const struct choice normalisations[] = {{"none", false}, {"l2", true}, {NULL, 0}};
static const struct choice backgrounds[] = {{"none", IMAGE_BACKGROUND_NONE},
    {"subject", IMAGE_BACKGROUND_SUBJECT}, {"white", IMAGE_BACKGROUND_WHITE}, {"black", IMAGE_BACKGROUND_BLACK}, {NULL, 0}};
static const struct choice kinds[] = {{"embedding", MANIFEST_EMBEDDING}, {"mask", MANIFEST_MASK}, {NULL, 0}};
static const struct choice ranges[] = {{"byte", false}, {"maximum", true}, {NULL, 0}};
static const struct choice fills[] = {{"white", false}, {"black", true}, {NULL, 0}};

__attribute__((format(printf, 3, 4))) static enum result wrong(
    struct reader *r, const char *path, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return err_set_field(
        r->err, ERR_INVALID, path, "The manifest %s is wrong: \"%s\" %s.", r->file, path, what);
}

/* NULL where it, or an object on the way to it, is absent or null. */
static struct json_object *lookup(struct json_object *root, const char *path)
{
    struct json_object *at = root;
    char name[ERR_FIELD_MAX];
    for (const char *p = path; at && *p;) {
        size_t len = strcspn(p, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, p);
        at = json_object_is_type(at, json_type_object) ? json_member(at, name) : NULL;
        p += len + (p[len] == '.');
    }
    return at;
}

/* The member, which must be there and of that type. */
static enum result need(
    struct reader *r, const char *path, enum json_type type, const char *called, struct json_object **out)
{
    struct json_object *value = lookup(r->root, path);
    if (!value)
        return wrong(r, path, "is missing; it must be %s", called);
    bool fits = json_object_is_type(value, type) ||
                (type == json_type_double && json_object_is_type(value, json_type_int));
    if (!fits)
        return wrong(r, path, "must be %s", called);
    *out = value;
    return ERR_OK;
}

static enum result read_text(struct reader *r, const char *path, char *out, size_t size)
{
    struct json_object *value = NULL;
    enum result result = need(r, path, json_type_string, "a text", &value);
    if (result)
        return result;
    size_t len = (size_t)json_object_get_string_len(value);
    if (len == 0 || len >= size)
        return wrong(r, path, "must have between 1 and %zu bytes", size - 1);
    memcpy(out, json_object_get_string(value), len + 1);
    return ERR_OK;
}

static enum result read_number(struct reader *r, const char *path, uint32_t max, uint32_t *out)
{
    struct json_object *value = NULL;
    enum result result = need(r, path, json_type_int, "a whole number", &value);
    if (result)
        return result;
    int64_t number = json_object_get_int64(value);
    if (number < 1 || number > max)
        return wrong(r, path, "is %lld; it must be between 1 and %u", (long long)number, max);
    *out = (uint32_t)number;
    return ERR_OK;
}

static enum result read_choice(struct reader *r, const char *path, const struct choice *choices, int *out)
{
    char word[32], all[128] = "";
    enum result result = read_text(r, path, word, sizeof word);
    if (result)
        return result;
    for (const struct choice *c = choices; c->word; c++) {
        if (strcmp(word, c->word) == 0) {
            *out = c->value;
            return ERR_OK;
        }
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s\"%s\"", used ? " or " : "", c->word);
    }
    return wrong(r, path, "is \"%s\"; it must be %s", word, all);
}

/* `*out` keeps its value where the member is absent. */
static enum result read_optional_choice(
    struct reader *r, const char *path, const struct choice *choices, int *out)
{
    return lookup(r->root, path) ? read_choice(r, path, choices, out) : ERR_OK;
}

/* Three finite numbers, one a channel. */
static enum result read_per_channel(struct reader *r, const char *path, bool zero_allowed, float *out)
{
    struct json_object *array = NULL;
    float values[3];
    enum result result = need(r, path, json_type_array, "three numbers", &array);
    if (result)
        return result;
    if (json_object_array_length(array) != 3)
        return wrong(r, path, "has %zu numbers instead of three", json_object_array_length(array));
    for (size_t i = 0; i < 3; i++) {
        struct json_object *item = json_object_array_get_idx(array, i);
        if (!json_object_is_type(item, json_type_int) && !json_object_is_type(item, json_type_double))
            return wrong(r, path, "must be three numbers");
        values[i] = (float)json_object_get_double(item);
        if (!isfinite(values[i]) || (!zero_allowed && values[i] == 0))
            return wrong(r, path, "has a number that cannot be used there");
    }
    memcpy(out, values, sizeof values);
    return ERR_OK;
}

static enum result read_format(struct reader *r)
{
    uint32_t format = 0;
    enum result result = read_number(r, "format", UINT32_MAX, &format);
    if (result || format == FORMAT)
        return result;
    return wrong(r, "format", "is %u, and this program reads format %d", format, FORMAT);
}

static enum result read_sum(struct reader *r, const char *path, char *out)
{
    char text[65];
    enum result result = read_text(r, path, text, sizeof text);
    if (result)
        return result;
    if (strspn(text, "0123456789abcdef") != 64)
        return wrong(r, path, "must be 64 hexadecimal digits in lower case");
    memcpy(out, text, sizeof text);
    return ERR_OK;
}

static enum result check_there(struct reader *r, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return ERR_OK;
    return err_set_field(r->err, ERR_NOT_FOUND, "file",
        "The manifest %s names the file %s, which does not exist.", r->file, path);
}

/* The path of the companion of an OpenVINO IR; see manifest.h. */
bool manifest_weights_path(const char *file, char *out, size_t size)
{
    size_t len = strlen(file);
    if (len < 5 || len >= size || strcmp(file + len - 4, ".xml") != 0)
        return false;
    snprintf(out, size, "%.*s.bin", (int)(len - 4), file);
    return true;
}

static enum result read_file_name(struct reader *r, const char *path, const char *folder, char out[512])
{
    char name[256], weights[512];
    enum result result = read_text(r, path, name, sizeof name);
    if (result)
        return result;
    if (strchr(name, '/'))
        return wrong(r, path, "must be the name of a file in the same folder");
    if ((size_t)snprintf(out, 512, "%s/%s", folder, name) >= 512)
        return err_set_field(
            r->err, ERR_TOO_LARGE, "file", "The path of the model in %s is too long.", folder);
    result = check_there(r, out);
    if (result == ERR_OK && manifest_weights_path(out, weights, sizeof weights))
        result = check_there(r, weights);
    return result;
}

/* "onnx" or "int8": another file, or none. */
static enum result read_other_file(struct reader *r, const char *member, const char *folder, struct manifest_file *out)
{
    char path[32];
    if (!lookup(r->root, member))
        return ERR_OK;
    snprintf(path, sizeof path, "%s.sha256", member);
    enum result result = read_sum(r, path, out->sha256);
    snprintf(path, sizeof path, "%s.file", member);
    return result ? result : read_file_name(r, path, folder, out->file);
}

/* "crop" as the length that the short side is scaled to, rounded down as timm does it. */
static enum result read_crop(struct reader *r, struct manifest *m)
{
    struct json_object *value = NULL;
    if (!lookup(r->root, "input.crop"))
        return ERR_OK;
    enum result result = need(r, "input.crop", json_type_double, "a number", &value);
    if (result)
        return result;
    double crop = json_object_get_double(value);
    if (!(crop >= 0.5 && crop <= 1))
        return wrong(r, "input.crop", "is %g; it must be between 0.5 and 1", crop);
    if (m->resize != IMAGE_SHORT_SIDE_CROP || m->width != m->height)
        return wrong(r, "input.crop", "goes with a square input and the resize \"short-side-crop\" only");
    m->short_side = (uint32_t)(m->width / crop);
    return ERR_OK;
}

static enum result read_input(struct reader *r, struct manifest *m)
{
    int resize = 0, bgr = 0, range = 0;
    enum result result = read_text(r, "input.name", m->input_name, sizeof m->input_name);
    if (result == ERR_OK)
        result = read_number(r, "input.width", LIMIT_MODEL_SIDE, &m->width);
    if (result == ERR_OK)
        result = read_number(r, "input.height", LIMIT_MODEL_SIDE, &m->height);
    if (result == ERR_OK)
        result = read_choice(r, "input.resize", resizes, &resize);
    if (result == ERR_OK)
        result = read_choice(r, "input.channels", channels, &bgr);
    if (result == ERR_OK)
        result = read_per_channel(r, "input.mean", true, m->mean);
    if (result == ERR_OK)
        result = read_per_channel(r, "input.std", false, m->std);
    if (result == ERR_OK)
        result = read_optional_choice(r, "input.range", ranges, &range);
    m->resize = (enum image_resize)resize;
    m->bgr = bgr;
    m->range_maximum = range;
    return result ? result : read_crop(r, m);
}

static enum result read_canvas(struct reader *r, struct manifest *m)
{
    int fill = 0;
    m->canvas_side = MANIFEST_CANVAS_SIDE;
    if (!lookup(r->root, "canvas"))
        return ERR_OK;
    enum result result = read_number(r, "canvas.side", LIMIT_MODEL_SIDE, &m->canvas_side);
    if (result == ERR_OK)
        result = read_choice(r, "canvas.fill", fills, &fill);
    m->canvas_black = fill;
    return result;
}

/* "output.descriptor", where there is one. */
static enum result read_descriptor(struct reader *r, struct manifest *m)
{
    const char *path = "output.descriptor.blocks";
    struct json_object *blocks = NULL;
    if (!lookup(r->root, "output.descriptor"))
        return ERR_OK;
    enum result result = read_text(r, "output.descriptor.name", m->descriptor_name, sizeof m->descriptor_name);
    if (result == ERR_OK)
        result = need(r, path, json_type_array, "an array of lengths", &blocks);
    if (result)
        return result;
    if (m->pooling != MANIFEST_POOLING_NONE)
        return wrong(r, "output.descriptor", "needs the pooling \"none\"");
    size_t count = json_object_array_length(blocks);
    if (count < 1 || count > MANIFEST_BLOCKS_MAX)
        return wrong(r, path, "must have 1 to %d lengths", MANIFEST_BLOCKS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct json_object *item = json_object_array_get_idx(blocks, i);
        int64_t len = json_object_is_type(item, json_type_int) ? json_object_get_int64(item) : 0;
        if (len < 1 || len > LIMIT_DIMENSION - m->dimension - m->inner)
            return wrong(r, path, "must be positive integers; with the dimension they may be %d at most",
                LIMIT_DIMENSION);
        m->blocks[i] = (uint32_t)len;
        m->inner += (uint32_t)len;
    }
    m->block_count = (uint32_t)count;
    return ERR_OK;
}

static enum result read_output(struct reader *r, struct manifest *m)
{
    int pooling = 0, l2 = 0;
    enum result result = read_text(r, "output.name", m->output_name, sizeof m->output_name);
    if (result == ERR_OK && m->kind == MANIFEST_MASK) {
        m->dimension = m->width * m->height;
        return ERR_OK;
    }
    if (result == ERR_OK)
        result = read_choice(r, "output.pooling", poolings, &pooling);
    if (result == ERR_OK)
        result = read_choice(r, "output.normalisation", normalisations, &l2);
    if (result == ERR_OK)
        result = read_number(r, "output.dimension", LIMIT_DIMENSION, &m->dimension);
    m->pooling = (enum manifest_pooling)pooling;
    m->l2_normalise = l2;
    if (result == ERR_OK)
        result = read_descriptor(r, m);
    return result;
}

static enum result read_all(struct reader *r, const char *folder, struct manifest *m)
{
    int background = 0, kind = MANIFEST_EMBEDDING;
    if (!json_object_is_type(r->root, json_type_object))
        return err_set(r->err, ERR_INVALID, "The manifest %s is wrong: it must be a JSON object.", r->file);
    enum result result = read_format(r);
    if (result == ERR_OK)
        result = read_text(r, "name", m->name, sizeof m->name);
    if (result == ERR_OK)
        result = read_sum(r, "sha256", m->sha256);
    if (result == ERR_OK)
        result = read_optional_choice(r, "kind", kinds, &kind);
    m->kind = (enum manifest_kind)kind;
    if (result == ERR_OK)
        result = read_input(r, m);
    if (result == ERR_OK)
        result = read_output(r, m);
    if (result == ERR_OK)
        result = read_choice(r, "background", backgrounds, &background);
    m->background = (enum image_background)background;
    if (result == ERR_OK)
        result = read_canvas(r, m);
    if (result == ERR_OK)
        result = read_text(r, "licence", m->licence, sizeof m->licence);
    if (result == ERR_OK)
        result = read_file_name(r, "file", folder, m->file);
    if (result == ERR_OK)
        result = read_other_file(r, "onnx", folder, &m->onnx);
    if (result == ERR_OK)
        result = read_other_file(r, "int8", folder, &m->int8);
    return result;
}

static enum result open_manifest(const char *folder, const char *path, FILE **out, struct err *err)
{
    struct stat st;
    FILE *file = fopen(path, "re");
    if (file) {
        *out = file;
        return ERR_OK;
    }
    int reason = errno;
    if (reason != ENOENT && reason != ENOTDIR)
        return err_set_errno(err, reason, "Cannot read the manifest %s", path);
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_NOT_FOUND, "There is no model folder %s.", folder);
    return err_set(err, ERR_NOT_FOUND, "The folder %s is no model: it has no manifest model.json.", folder);
}

static enum result read_text_file(FILE *file, const char *path, struct buf *text, struct err *err)
{
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        enum result result = buf_append(text, chunk, n);
        if (result == ERR_TOO_LARGE)
            return err_set(
                err, result, "The manifest %s is larger than %d bytes.", path, LIMIT_MANIFEST_BYTES);
        if (result)
            return err_no_memory(err);
    }
    if (ferror(file))
        return err_set_errno(err, errno, "Cannot read the manifest %s", path);
    return ERR_OK;
}

static const char *word_of(const struct choice *choices, int value)
{
    while (choices->word && choices->value != value)
        choices++;
    return choices->word ? choices->word : "?";
}

void manifest_sight(const struct manifest *m, char out[MANIFEST_SIGHT_BYTES])
{
    char crop[24] = "";
    if (m->short_side)
        snprintf(crop, sizeof crop, " of %u", m->short_side);
    snprintf(out, MANIFEST_SIGHT_BYTES, "%ux%u %s%s %s%s mean %g %g %g std %g %g %g pooling %s %s", m->width, m->height,
        word_of(resizes, (int)m->resize), crop, word_of(channels, m->bgr), m->range_maximum ? " range maximum" : "", (double)m->mean[0],
        (double)m->mean[1], (double)m->mean[2], (double)m->std[0], (double)m->std[1], (double)m->std[2],
        word_of(poolings, (int)m->pooling), m->l2_normalise ? "l2" : "plain");
}

enum result manifest_read(const char *folder, struct manifest *out, struct err *err)
{
    struct manifest manifest = {0};
    struct reader reader = {.err = err};
    struct err inner = {0};
    struct buf text;
    FILE *file = NULL;
    char path[512];
    enum result result;

    buf_init(&text, LIMIT_MANIFEST_BYTES);
    if ((size_t)snprintf(path, sizeof path, "%s/model.json", folder) >= sizeof path) {
        result = err_set(
            err, ERR_TOO_LARGE, "The path of the model folder is longer than %zu bytes.", sizeof path);
        goto out;
    }
    reader.file = path;
    result = open_manifest(folder, path, &file, err);
    if (result)
        goto out;
    result = read_text_file(file, path, &text, err);
    if (result)
        goto out;
    result = json_parse(text.data ? text.data : "", text.len, &reader.root, &inner);
    if (result) {
        result = err_set(err, result, "The manifest %s is not JSON: %.300s", path, inner.message);
        goto out;
    }
    result = read_all(&reader, folder, &manifest);
    if (result == ERR_OK)
        *out = manifest;
out:
    json_object_put(reader.root);
    if (file)
        fclose(file);
    buf_free(&text);
    return result;
}
