/* Every member of a manifest: read when right, named by the error when missing or wrong. */
#include "base/limits.h"
#include "embed/manifest.h"
#include "folder.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static char folder[FOLDER_PATH_MAX];

static int make(void **state)
{
    folder_make(folder);
    return 0;
}

static int clear(void **state)
{
    folder_remove(folder);
    return 0;
}

static void test_good(void **state)
{
    struct manifest m;
    struct err err = {0};
    char file[FOLDER_PATH_MAX + 16];
    folder_manifest(folder, NULL, NULL, NULL);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_OK);
    snprintf(file, sizeof file, "%s/model.onnx", folder);
    assert_string_equal(m.file, file);
    assert_string_equal(m.name, "test");
    assert_string_equal(m.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(m.input_name, "image");
    assert_string_equal(m.output_name, "embedding");
    assert_string_equal(m.licence, "Apache-2.0");
    assert_int_equal(m.width, 260);
    assert_int_equal(m.height, 200);
    assert_int_equal(m.resize, IMAGE_FIT_WHITE);
    assert_true(m.bgr);
    assert_int_equal(m.pooling, MANIFEST_POOLING_MEAN);
    assert_true(m.l2_normalise);
    assert_int_equal(m.dimension, 1280);
    assert_float_equal(m.mean[1], 2.5, 0);
    assert_float_equal(m.std[2], 6, 0);
}

struct change {
    const char *at, *to; /* `to` NULL: the member is taken out */
    const char *field;
};

static const struct change wrong[] = {
    {"/format", NULL, "format"},
    {"/format", "2", "format"},
    {"/format", "\"1\"", "format"},
    {"/name", NULL, "name"},
    {"/name", "\"\"", "name"},
    {"/name", "5", "name"},
    {"/file", NULL, "file"},
    {"/file", "\"../model.onnx\"", "file"},
    {"/file", "\"/etc/passwd\"", "file"},
    {"/file", "\"other.onnx\"", "file"},
    {"/sha256", NULL, "sha256"},
    {"/sha256", "\"e3b0\"", "sha256"},
    {"/sha256", "\"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\"", "sha256"},
    {"/input", NULL, "input.name"},
    {"/input", "[]", "input.name"},
    {"/input/name", NULL, "input.name"},
    {"/input/width", NULL, "input.width"},
    {"/input/width", "0", "input.width"},
    {"/input/width", "2049", "input.width"},
    {"/input/width", "260.5", "input.width"},
    {"/input/width", "9223372036854775807", "input.width"},
    {"/input/height", NULL, "input.height"},
    {"/input/height", "-1", "input.height"},
    {"/input/resize", NULL, "input.resize"},
    {"/input/resize", "\"squash\"", "input.resize"},
    {"/input/channels", NULL, "input.channels"},
    {"/input/channels", "\"RGB\"", "input.channels"},
    {"/input/mean", NULL, "input.mean"},
    {"/input/mean", "127", "input.mean"},
    {"/input/mean", "[1, 2]", "input.mean"},
    {"/input/mean", "[1, 2, \"3\"]", "input.mean"},
    {"/input/mean", "[1, 2, 1e300]", "input.mean"},
    {"/input/std", NULL, "input.std"},
    {"/input/std", "[1, 0, 1]", "input.std"},
    {"/output", NULL, "output.name"},
    {"/output/name", NULL, "output.name"},
    {"/output/pooling", NULL, "output.pooling"},
    {"/output/pooling", "\"max\"", "output.pooling"},
    {"/output/normalisation", NULL, "output.normalisation"},
    {"/output/normalisation", "true", "output.normalisation"},
    {"/output/dimension", NULL, "output.dimension"},
    {"/output/dimension", "32769", "output.dimension"},
    {"/output/descriptor", "{}", "output.descriptor.name"},
    /* Not with the "mean" pooling of this manifest. */
    {"/output/descriptor", "{\"name\": \"d\", \"blocks\": [8]}", "output.descriptor"},
    {"/background", NULL, "background"},
    {"/background", "\"grey\"", "background"},
    {"/kind", "\"classifier\"", "kind"},
    {"/input/crop", "1.5", "input.crop"},
    {"/input/crop", "0.9", "input.crop"}, /* the manifest's resize is fit-white */
    {"/input/range", "\"wide\"", "input.range"},
    {"/canvas", "{}", "canvas.side"},
    {"/canvas", "{\"side\": 4096, \"fill\": \"white\"}", "canvas.side"},
    {"/canvas", "{\"side\": 800, \"fill\": \"grey\"}", "canvas.fill"},
    {"/licence", NULL, "licence"},
};

static void test_wrong(void **state)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct manifest m, before;
        struct err err = {0};
        memset(&m, 0x5a, sizeof m);
        memset(&before, 0x5a, sizeof before);
        folder_manifest(folder, NULL, wrong[i].at, wrong[i].to);
        print_message("# %s = %s\n", wrong[i].at, wrong[i].to ? wrong[i].to : "(absent)");
        bool absent_file = wrong[i].to && strcmp(wrong[i].to, "\"other.onnx\"") == 0;
        assert_int_equal(manifest_read(folder, &m, &err), absent_file ? ERR_NOT_FOUND : ERR_INVALID);
        assert_string_equal(err.field, wrong[i].field);
        assert_non_null(strstr(err.message, absent_file ? "other.onnx" : wrong[i].field));
        assert_non_null(strstr(err.message, folder));
        assert_memory_equal(&m, &before, sizeof m);
    }
}

/* What stands in the manifest of a model with inner layers. */
static void test_descriptor(void **state)
{
    static const char *const refused[] = {"null", "[]", "[8, 0]", "[8, \"8\"]", "[40000]",
        "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"};
    char text[1024];
    struct manifest m;
    struct err err = {0};
    const char *base = "{\"format\": 1, \"name\": \"m\", \"file\": \"model.onnx\", \"sha256\": "
                       "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", \"input\": {\"name\": "
                       "\"image\", \"width\": 8, \"height\": 8, \"resize\": \"stretch\", \"channels\": \"rgb\", "
                       "\"mean\": [0, 0, 0], \"std\": [1, 1, 1]}, \"output\": {\"name\": \"e\", \"pooling\": \"none\", "
                       "\"normalisation\": \"l2\", \"dimension\": 10, \"descriptor\": {\"name\": \"d\", \"blocks\": [4, "
                       "4, 6]}}, \"background\": \"none\", \"licence\": \"none\"}";
    snprintf(text, sizeof text, "%s", base);
    folder_manifest(folder, text, NULL, NULL);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_OK);
    assert_int_equal(manifest_descriptor(&m), 24);
    assert_int_equal(m.block_count, 3);
    assert_int_equal(m.blocks[2], 6);
    assert_string_equal(manifest_output(&m), "d");
    char sight[MANIFEST_SIGHT_BYTES];
    manifest_sight(&m, sight);
    assert_string_equal(sight, "8x8 stretch rgb mean 0 0 0 std 1 1 1 pooling none l2");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        folder_manifest(folder, text, "/output/descriptor/blocks", refused[i]);
        assert_int_equal(manifest_read(folder, &m, &err), ERR_INVALID);
        assert_string_equal(err.field, "output.descriptor.blocks");
    }
}

static void test_no_folder(void **state)
{
    struct manifest m;
    struct err err = {0};
    assert_int_equal(manifest_read("/nonexistent/model", &m, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/model"));
    assert_int_equal(manifest_read(folder, &m, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "model.json"));
}

static void test_not_json(void **state)
{
    static char big[LIMIT_MANIFEST_BYTES + 1];
    struct manifest m;
    struct err err = {0};
    folder_write(folder, "model.json", "{\"format\": 1,", 13);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_INVALID);
    folder_write(folder, "model.json", "", 0);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_INVALID);
    folder_write(folder, "model.json", "[1]", 3);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_INVALID);
    memset(big, ' ', sizeof big);
    folder_write(folder, "model.json", big, sizeof big);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_TOO_LARGE);
}

static void test_ir_needs_weights(void **state)
{
    struct manifest m;
    struct err err = {0};
    char weights[512];
    folder_manifest(folder, NULL, "/file", "\"model.xml\"");
    folder_write(folder, "model.xml", "<x/>", 4);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "model.bin"));
    folder_write(folder, "model.bin", "", 0);
    assert_int_equal(manifest_read(folder, &m, &err), ERR_OK);
    assert_true(manifest_weights_path(m.file, weights, sizeof weights));
    assert_string_equal(weights + strlen(weights) - 10, "/model.bin");
    assert_false(manifest_weights_path("a/model.onnx", weights, sizeof weights));
    assert_false(manifest_weights_path("a/model.xml", weights, 5));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_good), TEST(test_wrong), TEST(test_descriptor), TEST(test_no_folder),
        TEST(test_not_json), TEST(test_ir_needs_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
