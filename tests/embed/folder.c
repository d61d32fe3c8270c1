#include "folder.h"

#include <stdarg.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <json-c/json.h>
#include <unistd.h>

static const char good[] =
    "{\"format\": 1, \"name\": \"test\", \"file\": \"model.onnx\","
    " \"sha256\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\","
    " \"input\": {\"name\": \"image\", \"width\": 260, \"height\": 200, \"resize\": \"fit-white\","
    "             \"channels\": \"bgr\", \"mean\": [1, 2.5, 3], \"std\": [4, 5, 6]},"
    " \"output\": {\"name\": \"embedding\", \"pooling\": \"mean\", \"normalisation\": \"l2\", \"dimension\": "
    "1280},"
    " \"background\": \"none\", \"licence\": \"Apache-2.0\", \"source\": \"a test\", \"unknown\": [true]}";

void folder_write(const char *path, const char *name, const void *bytes, size_t len)
{
    char file[FOLDER_PATH_MAX + 64];
    snprintf(file, sizeof file, "%s/%s", path, name);
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

void folder_make(char path[FOLDER_PATH_MAX])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(path, FOLDER_PATH_MAX, "%s/lookalike-embed-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    folder_write(path, "model.onnx", "", 0);
}

void folder_remove(const char *path)
{
    char file[FOLDER_PATH_MAX + 300];
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.')
            assert_int_equal(unlink(file), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

static void take_out(struct json_object *root, const char *at)
{
    struct json_object *parent = root;
    char where[128];
    const char *last = strrchr(at, '/');
    snprintf(where, sizeof where, "%.*s", (int)(last - at), at);
    if (where[0])
        assert_int_equal(json_pointer_get(root, where, &parent), 0);
    assert_true(json_object_object_get_ex(parent, last + 1, NULL));
    json_object_object_del(parent, last + 1);
}

void folder_manifest(const char *path, const char *base, const char *at, const char *to)
{
    struct json_object *root = json_tokener_parse(base ? base : good);
    assert_non_null(root);
    if (at && to)
        assert_int_equal(json_pointer_set(&root, at, json_tokener_parse(to)), 0);
    else if (at)
        take_out(root, at);
    const char *text = json_object_to_json_string(root);
    folder_write(path, "model.json", text, strlen(text));
    json_object_put(root);
}
