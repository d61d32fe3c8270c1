/* A folder of its own for a test, with a model.json made from a good one by changing one member. */
#ifndef TESTS_EMBED_FOLDER_H
#define TESTS_EMBED_FOLDER_H

#include <stddef.h>

#define FOLDER_PATH_MAX 256

/* The folder and an empty file model.onnx in it. */
void folder_make(char path[FOLDER_PATH_MAX]);
void folder_remove(const char *path);
void folder_write(const char *path, const char *name, const void *bytes, size_t len);
/*
 * Writes model.json: the text `base`, or a good manifest for model.onnx where it is NULL, with the member at
 * the JSON pointer `at` ("/input/width") set to the JSON value `to`, or taken out where `to` is NULL. `at`
 * NULL: nothing changed.
 */
void folder_manifest(const char *path, const char *base, const char *at, const char *to);

#endif
