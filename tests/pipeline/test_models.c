/* The registry of models over a fake engine: opened once, at first use, and what is wrong with one is only its own. */
#include "base/clock.h"
#include "base/limits.h"
#include "fake_embed.h"
#include "pipeline/models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct place {
    char folder[64];
    struct embed *embed;
    struct models *models;
};

static void write_model(const struct place *p, const char *folder, const char *name, const char *kind)
{
    char path[256], text[1024];
    snprintf(path, sizeof path, "%s/%s", p->folder, folder);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/model.onnx", p->folder, folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fclose(f);
    snprintf(text, sizeof text,
        "{\"format\": 1, \"name\": \"%s\", \"kind\": \"%s\", \"file\": \"model.onnx\", \"sha256\": "
        "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\","
        "\"input\": {\"name\": \"i\", \"width\": 8, \"height\": 8, \"resize\": \"stretch\", \"channels\": \"rgb\","
        "\"mean\": [0,0,0], \"std\": [1,1,1]}, \"output\": {\"name\": \"o\", \"pooling\": \"none\","
        "\"normalisation\": \"l2\", \"dimension\": 4}, \"background\": \"none\", \"licence\": \"test\"}",
        name, kind);
    snprintf(path, sizeof path, "%s/%s/model.json", p->folder, folder);
    f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void remove_model(const struct place *p, const char *folder)
{
    static const char *const files[] = {"model.onnx", "model.json", ""};
    char path[256];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", p->folder, folder, files[i]);
        remove(path);
    }
}

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    snprintf(p->folder, sizeof p->folder, "/tmp/lookalike-models-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    p->embed = fake_embed_new(&(struct fake_embed_plan){0});
    const char *folders[] = {"/nonexistent/folder", p->folder};
    struct models_options options = {.embed = p->embed, .folders = folders, .folder_count = 2};
    assert_int_equal(models_new(&options, &p->models, NULL), ERR_OK);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    models_free(p->models);
    embed_close(p->embed);
    assert_int_equal(rmdir(p->folder), 0);
    free(p);
    return 0;
}

static const struct model *get(struct place *p, const char *name)
{
    const struct model *model = NULL;
    struct err err = {0};
    if (models_get(p->models, name, CLOCK_NO_DEADLINE, &model, &err))
        fail_msg("%s", err.message);
    return model;
}

static void refused(struct place *p, const char *name, enum result code, const char *word)
{
    const struct model *model = NULL;
    struct err err = {0};
    assert_int_equal(models_get(p->models, name, CLOCK_NO_DEADLINE, &model, &err), code);
    assert_null(model);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" does not say \"%s\"", err.message, word);
}

static void test_default(void **state)
{
    struct place *p = *state;
    assert_ptr_equal(get(p, NULL), models_default(p->models));
    assert_ptr_equal(get(p, ""), models_default(p->models));
    assert_ptr_equal(get(p, "fake"), models_default(p->models));
    assert_ptr_equal(models_default(p->models)->embed, p->embed);
}

static void test_opened_once(void **state)
{
    struct place *p = *state;
    write_model(p, "one", "one", "embedding");
    const struct model *one = get(p, "one");
    assert_string_equal(one->info->manifest.name, "one");
    remove_model(p, "one"); /* it is open: its folder is not needed any more */
    assert_ptr_equal(get(p, "one"), one);
}

struct getter {
    pthread_t thread;
    struct place *place;
    const struct model *model;
};

static void *get_one(void *arg)
{
    struct getter *g = arg;
    struct err err;
    if (models_get(g->place->models, "shared", CLOCK_NO_DEADLINE, &g->model, &err))
        g->model = NULL;
    return NULL;
}

static void test_shared_by_threads(void **state)
{
    struct place *p = *state;
    struct getter getters[16] = {0};
    write_model(p, "shared", "shared", "embedding");
    for (size_t i = 0; i < 16; i++) {
        getters[i].place = p;
        assert_int_equal(pthread_create(&getters[i].thread, NULL, get_one, &getters[i]), 0);
    }
    for (size_t i = 0; i < 16; i++)
        pthread_join(getters[i].thread, NULL);
    for (size_t i = 0; i < 16; i++)
        assert_ptr_equal(getters[i].model, get(p, "shared"));
    remove_model(p, "shared");
}

static void test_refused(void **state)
{
    static const char *const nowhere[] = {"none", "../one", ".", "..", "a/b", "/etc"};
    struct place *p = *state;
    char longest[200];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++)
        refused(p, nowhere[i], ERR_NOT_FOUND, nowhere[i]);
    refused(p, longest, ERR_INVALID, "name");
    write_model(p, "folder", "other", "embedding");
    refused(p, "folder", ERR_INVALID, "other");
    remove_model(p, "folder");
}

/* A failure is remembered for a moment, then the model is tried again. */
static void test_tried_again(void **state)
{
    struct place *p = *state;
    char path[256];
    write_model(p, "late", "late", "embedding");
    snprintf(path, sizeof path, "%s/late/model.onnx", p->folder);
    assert_int_equal(remove(path), 0);
    refused(p, "late", ERR_NOT_FOUND, "model.onnx");
    write_model(p, "late", "late", "embedding");
    refused(p, "late", ERR_NOT_FOUND, "model.onnx");
    usleep((MODELS_RETRY_MS + 100) * 1000);
    assert_string_equal(get(p, "late")->info->manifest.name, "late");
    remove_model(p, "late");
}

static void test_list(void **state)
{
    struct place *p = *state;
    struct models_entry *entries = NULL;
    size_t count = 0;
    write_model(p, "b", "b", "mask");
    write_model(p, "a", "a", "embedding");
    write_model(p, "c", "not c", "embedding");
    get(p, "a");
    assert_int_equal(models_list(p->models, &entries, &count, NULL), ERR_OK);
    assert_int_equal(count, 4);
    assert_string_equal(entries[0].manifest.name, "fake");
    assert_true(entries[0].is_default);
    assert_string_equal(entries[1].manifest.name, "a");
    assert_non_null(entries[1].info);
    assert_string_equal(entries[2].manifest.name, "b");
    assert_null(entries[2].info);
    assert_int_equal(entries[2].manifest.kind, MANIFEST_MASK);
    assert_string_equal(entries[3].manifest.name, "c");
    assert_non_null(strstr(entries[3].problem, "not c"));
    free(entries);
    remove_model(p, "a");
    remove_model(p, "b");
    remove_model(p, "c");
}

static void test_limit(void **state)
{
    struct place *p = *state;
    char name[16];
    for (int i = 1; i <= LIMIT_MODELS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        write_model(p, name, name, "embedding");
        if (i < LIMIT_MODELS)
            get(p, name);
    }
    refused(p, name, ERR_TOO_LARGE, "models are loaded");
    for (int i = 1; i <= LIMIT_MODELS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        remove_model(p, name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_opened_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared_by_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
