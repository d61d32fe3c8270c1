/*
 * The contract of embed.h on the real model in LOOKALIKE_MODELS/efficientnet-lite0, the smaller one. Skipped,
 * saying so, where it was not prepared; what needs no model runs always.
 */
#include "embed/embed.h"
#include "folder.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define PICTURES 8
#define CALLERS 8

static char model[512]; /* "" where there is none */
static struct embed *embed;
static uint8_t *pictures[PICTURES];
static float *expected; /* PICTURES vectors, made one at a time */

/* Floats of a row: the vector and the statistics of inner layers. */
static uint32_t width(void)
{
    return manifest_descriptor(&embed_describe(embed)->manifest);
}

/* LOOKALIKE_TEST_ENGINE: the engine under test. */
static const char *engine(void)
{
    const char *name = getenv("LOOKALIKE_TEST_ENGINE");
    return name && *name ? name : "openvino";
}

static bool is_openvino(void)
{
    return strcmp(engine(), "openvino") == 0;
}

static uint32_t dimension(void)
{
    return embed_describe(embed)->manifest.dimension;
}

/* Smooth blobs of colour: not photos, but far from each other and nowhere constant. */
static void paint(uint8_t *pixels, uint32_t width, uint32_t height, unsigned seed)
{
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            for (unsigned c = 0; c < 3; c++) {
                double v = sin(x * (0.02 + 0.013 * seed) + c) + cos(y * (0.03 + 0.007 * seed) - c * seed);
                pixels[(y * width + x) * 3 + c] = (uint8_t)(127.5 + 63 * v);
            }
        }
    }
}

static int open_model(void **state)
{
    const char *models = getenv("LOOKALIKE_MODELS");
    struct embed_options options = {.folder = model, .engine = engine(), .threads = 2};
    struct err err = {0};
    snprintf(model, sizeof model, "%s/efficientnet-lite0", models ? models : "models");
    if (access(model, F_OK) != 0) {
        print_message(
            "# no model in %s: tools/prepare_model.py makes it; the tests that need it are skipped\n", model);
        model[0] = 0;
        return 0;
    }
    if (embed_open(&options, &embed, &err) != ERR_OK) {
        print_message("# %s\n", err.message);
        return -1;
    }
    const struct manifest *m = &embed_describe(embed)->manifest;
    expected = calloc((size_t)PICTURES * manifest_descriptor(m), sizeof *expected);
    for (unsigned i = 0; i < PICTURES; i++) {
        pictures[i] = malloc((size_t)m->width * m->height * 3);
        paint(pictures[i], m->width, m->height, i);
        const uint8_t *one = pictures[i];
        if (embed_run(embed, &one, 1, expected + (size_t)i * manifest_descriptor(m), &err) != ERR_OK)
            return -1;
    }
    return 0;
}

static int close_model(void **state)
{
    embed_close(embed);
    for (unsigned i = 0; i < PICTURES; i++)
        free(pictures[i]);
    free(expected);
    return 0;
}

static void need_model(void)
{
    if (!model[0])
        skip();
}

static double squared_distance(const float *a, const float *b)
{
    double sum = 0;
    for (uint32_t i = 0; i < dimension(); i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

static void assert_same(const float *a, const float *b)
{
    double d = squared_distance(a, b);
    if (!(d < 1e-6))
        fail_msg("squared distance %g", d);
}

static void test_describe(void **state)
{
    need_model();
    const struct embed_info *info = embed_describe(embed);
    assert_string_equal(info->engine, engine());
    assert_string_equal(info->device, "CPU");
    assert_true(strcmp(info->precision, "bf16") == 0 || strcmp(info->precision, "f32") == 0);
    assert_true(strlen(info->engine_version) > 3);
    assert_int_equal(info->threads, 2);
    assert_int_equal(info->parallel, 2);
    assert_true(info->max_batch > 1);
    assert_int_equal(info->manifest.dimension, 1280);
}

static void test_unit_length_and_distinct(void **state)
{
    need_model();
    for (unsigned i = 0; i < PICTURES; i++) {
        const float *v = expected + (size_t)i * width();
        double length = 0;
        for (uint32_t k = 0; k < dimension(); k++)
            length += (double)v[k] * v[k];
        assert_true(fabs(length - 1) < 1e-5);
        const struct manifest *m = &embed_describe(embed)->manifest;
        const float *block = v + m->dimension;
        assert_true(m->block_count > 0);
        for (uint32_t b = 0; b < m->block_count; block += m->blocks[b++]) {
            length = 0;
            for (uint32_t k = 0; k < m->blocks[b]; k++)
                length += (double)block[k] * block[k];
            assert_true(fabs(length - 1) < 1e-5);
        }
        for (unsigned j = 0; j < i; j++)
            assert_true(squared_distance(v, expected + (size_t)j * width()) > 1e-3);
    }
}

static void test_same_twice(void **state)
{
    need_model();
    float *again = calloc(width(), sizeof *again);
    for (unsigned i = 0; i < PICTURES; i++) {
        const uint8_t *one = pictures[i];
        assert_int_equal(embed_run(embed, &one, 1, again, NULL), ERR_OK);
        assert_memory_equal(again, expected + (size_t)i * width(), dimension() * sizeof *again);
    }
    free(again);
}

static void test_batch_equals_singles(void **state)
{
    need_model();
    unsigned max = embed_describe(embed)->max_batch;
    float *out = calloc((size_t)max * width(), sizeof *out);
    for (unsigned n = 1; n <= max; n++) {
        const uint8_t *batch[64];
        assert_true(max <= 64);
        for (unsigned i = 0; i < n; i++)
            batch[i] = pictures[(i * 3 + n) % PICTURES];
        assert_int_equal(embed_run(embed, batch, n, out, NULL), ERR_OK);
        for (unsigned i = 0; i < n; i++)
            assert_same(
                out + (size_t)i * width(), expected + (size_t)((i * 3 + n) % PICTURES) * width());
    }
    free(out);
}

static void test_batch_size(void **state)
{
    need_model();
    struct err err = {0};
    const uint8_t *batch[65] = {0};
    float *out = calloc((size_t)65 * width(), sizeof *out);
    assert_int_equal(embed_run(embed, batch, 0, out, &err), ERR_INTERNAL);
    assert_int_equal(embed_run(embed, batch, embed_describe(embed)->max_batch + 1, out, &err), ERR_INTERNAL);
    free(out);
}

struct caller {
    pthread_t thread;
    unsigned number;
    double worst; /* squared distance to what is expected */
    atomic_bool failed;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    unsigned max = embed_describe(embed)->max_batch;
    float *out = calloc((size_t)max * width(), sizeof *out);
    for (unsigned round = 0; out && round < 12; round++) {
        const uint8_t *batch[64];
        unsigned n = 1 + (c->number + round) % max;
        for (unsigned i = 0; i < n; i++)
            batch[i] = pictures[(c->number + i) % PICTURES];
        if (embed_run(embed, batch, n, out, NULL) != ERR_OK)
            c->failed = true;
        for (unsigned i = 0; i < n; i++) {
            const float *want = expected + (size_t)((c->number + i) % PICTURES) * width();
            double d = squared_distance(out + (size_t)i * width(), want);
            c->worst = d > c->worst ? d : c->worst;
        }
    }
    c->failed = c->failed || !out;
    free(out);
    return NULL;
}

static void test_many_callers(void **state)
{
    need_model();
    struct caller callers[CALLERS] = {0};
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i].number = i;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(callers[i].thread, NULL);
    for (unsigned i = 0; i < CALLERS; i++) {
        assert_false(callers[i].failed);
        assert_true(callers[i].worst < 1e-6);
    }
}

static void expect_refused(
    const struct embed_options *options, enum result code, const char *field, const char *word)
{
    struct embed *none = NULL;
    struct err err = {0};
    assert_int_equal(embed_open(options, &none, &err), code);
    assert_null(none);
    assert_int_equal(err.code, code);
    assert_string_equal(err.field, field);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" does not say \"%s\"", err.message, word);
}

static void test_options(void **state)
{
    expect_refused(&(struct embed_options){.folder = NULL}, ERR_INVALID, "model", "folder");
    expect_refused(&(struct embed_options){.folder = "/nonexistent"}, ERR_NOT_FOUND, "", "/nonexistent");
    expect_refused(&(struct embed_options){.folder = "x", .precision = "f8"}, ERR_INVALID, "precision", "f8");
    need_model();
    expect_refused(
        &(struct embed_options){.folder = model, .engine = engine(), .device = "TPU"}, ERR_UNSUPPORTED, "device", "CPU");
}

/* No GPU here (or it is one that works): AUTO gets something that runs, and says when it is the CPU. */
static void test_auto(void **state)
{
    struct embed *other = NULL;
    struct err err = {0};
    need_model();
    if (embed_open(&(struct embed_options){.folder = model, .device = "AUTO", .threads = 1}, &other, &err))
        fail_msg("%s", err.message);
    const struct embed_info *info = embed_describe(other);
    assert_string_not_equal(info->device, "AUTO");
    assert_int_equal(strcmp(info->device, "CPU") == 0, info->warning[0] != 0);
    embed_close(other);
    assert_string_equal(embed_describe(embed)->warning, "");
}

static void test_engine_and_int8(void **state)
{
    expect_refused(&(struct embed_options){.folder = "x", .engine = "tensorflow"}, ERR_INVALID, "engine", "tensorflow");
    need_model();
    expect_refused(&(struct embed_options){.folder = model, .precision = "int8"}, ERR_UNSUPPORTED, "precision", "quantize");
    struct embed *other = NULL;
    struct err err = {0};
    if (embed_open(&(struct embed_options){.folder = model, .device = "CUDA:0"}, &other, &err) == ERR_OK) {
        embed_close(other); /* a machine with such a GPU */
        return;
    }
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "CUDA"));
}

static char *read_whole(const char *folder, const char *name, size_t *len)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(*len + 1, 1);
    assert_int_equal(fread(bytes, 1, *len, file), *len);
    fclose(file);
    return bytes;
}

/* A copy of the real model in a folder of its own, one member changed, the last `cut` bytes of the weights
 * missing. */
static void copy_model(const char *to, const char *at, const char *value, size_t cut)
{
    size_t len = 0;
    static const char *const names[] = {"model.xml", "model.bin", "model.onnx"};
    for (unsigned i = 0; i < 3; i++) {
        char *bytes = read_whole(model, names[i], &len);
        folder_write(to, names[i], bytes, len - (i == (is_openvino() ? 1 : 2) ? cut : 0));
        free(bytes);
    }
    char *manifest = read_whole(model, "model.json", &len);
    folder_manifest(to, manifest, at, value);
    free(manifest);
}

static void test_damaged(void **state)
{
    need_model();
    char folder[FOLDER_PATH_MAX];
    folder_make(folder);
    const struct embed_options options = {.folder = folder, .engine = engine()};
    copy_model(folder, NULL, NULL, 1);
    expect_refused(&options, ERR_CORRUPT, "sha256", "Prepare the model again");
    copy_model(folder, is_openvino() ? "/sha256" : "/onnx/sha256", "\"0000000000000000000000000000000000000000000000000000000000000000\"", 0);
    expect_refused(&options, ERR_CORRUPT, "sha256", "0000000000000000");
    /* An empty file with the sum of an empty file: what OpenVINO itself refuses. */
    folder_manifest(folder, NULL, NULL, NULL);
    folder_write(folder, "model.onnx", "", 0);
    expect_refused(&options, ERR_INVALID, "", "model.onnx");
    folder_remove(folder);
}

static void test_manifest_against_model(void **state)
{
    static const struct {
        const char *at, *to, *field;
    } cases[] = {
        {"/input/name", "\"pixels\"", "input.name"},
        {"/input/width", "300", "input"},
        {"/input/height", "112", "input"},
        {"/output/descriptor/name", "\"features\"", "output.name"},
        {"/output/dimension", "1000", "output.dimension"},
        {"/output/pooling", "\"mean\"", "output.descriptor"},
    };
    need_model();
    char folder[FOLDER_PATH_MAX];
    folder_make(folder);
    const struct embed_options options = {.folder = folder, .engine = engine()};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        copy_model(folder, cases[i].at, cases[i].to, 0);
        expect_refused(&options, ERR_INVALID, cases[i].field, folder);
    }
    folder_remove(folder);
}

static void run_first(const struct embed_options *options, float *out)
{
    struct embed *other = NULL;
    struct err err = {0};
    const uint8_t *one = pictures[1];
    if (embed_open(options, &other, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_int_equal(embed_run(other, &one, 1, out, &err), ERR_OK);
    embed_close(other);
}

/* Channel order and scaling are applied to the right channels: BGR with mirrored means is another vector than
 * RGB. */
static void test_channels_and_scaling(void **state)
{
    need_model();
    char folder[FOLDER_PATH_MAX];
    float *out = calloc(width(), sizeof *out);
    const float *rgb = expected + width();
    folder_make(folder);
    const struct embed_options options = {.folder = folder, .engine = engine()};
    copy_model(folder, "/input/channels", "\"bgr\"", 0);
    run_first(&options, out);
    assert_true(squared_distance(out, rgb) > 1e-3);
    const size_t pixels =
        (size_t)embed_describe(embed)->manifest.width * embed_describe(embed)->manifest.height;
    for (size_t i = 0; i < pixels; i++) { /* with the picture mirrored as well it is the same again */
        uint8_t *p = pictures[1] + 3 * i, red = p[0];
        p[0] = p[2];
        p[2] = red;
    }
    run_first(&options, out);
    assert_true(
        squared_distance(out, rgb) < 1e-3); /* not the same to the bit: bf16 rounds in another order */
    for (size_t i = 0; i < pixels; i++) {
        uint8_t *p = pictures[1] + 3 * i, red = p[0];
        p[0] = p[2];
        p[2] = red;
    }
    copy_model(folder, "/input/mean", "[100, 127, 127]", 0);
    run_first(&options, out);
    assert_true(squared_distance(out, rgb) > 1e-3);
    copy_model(folder, "/output/normalisation", "\"none\"", 0);
    run_first(&options, out);
    double length = 0;
    for (uint32_t i = 0; i < dimension(); i++)
        length += (double)out[i] * out[i];
    assert_true(fabs(length - 1) > 0.1);
    folder_remove(folder);
    free(out);
}

static void test_f32_close_to_default(void **state)
{
    need_model();
    float *out = calloc(width(), sizeof *out);
    const struct embed_options options = {.folder = model, .engine = engine(), .threads = 1, .precision = "f32"};
    run_first(&options, out);
    double d = squared_distance(out, expected + width());
    if (!(d < 2 * (1 - 0.995)))
        fail_msg("squared distance %g", d);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_engine_and_int8),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_unit_length_and_distinct),
        cmocka_unit_test(test_same_twice),
        cmocka_unit_test(test_batch_equals_singles),
        cmocka_unit_test(test_batch_size),
        cmocka_unit_test(test_many_callers),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_manifest_against_model),
        cmocka_unit_test(test_channels_and_scaling),
        cmocka_unit_test(test_f32_close_to_default),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
