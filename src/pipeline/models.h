/*
 * The models of a server, by name. For pipeline/ and what it hands out; thread-safe.
 *
 * The default model is open from the start. Others are folders that are looked for when a collection, or a request,
 * names them: FOLDER/NAME with a model.json, in the first of the folders that has one. They are opened at the first use,
 * by the thread that needs them (others that need the same one wait, nobody else does), and stay open: all
 * collections of a model share it. A model that cannot be opened is an error of those who want it and of nobody
 * else; it is tried again after MODELS_RETRY_MS, so a folder can be put right while the server runs.
 */
#ifndef PIPELINE_MODELS_H
#define PIPELINE_MODELS_H

#include "embed/embed.h"

struct models;
struct batcher;

#define MODELS_RETRY_MS 3000

struct models_options {
    struct embed *embed;         /* the default model; stays the caller's and outlives this */
    const char *const *folders;  /* copied */
    size_t folder_count;         /* at most LIMIT_MODEL_FOLDERS */
    struct embed_options open;   /* how others are opened; `folder` is not looked at. Its strings outlive this */
};

/* A model that is open. Lives as long as the struct models. */
struct model {
    const struct embed_info *info;
    struct embed *embed;
    struct batcher *batcher;
};

enum result models_new(const struct models_options *options, struct models **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void models_free(struct models *models);

const struct model *models_default(const struct models *models);

/*
 * `name` NULL or "": the default one. ERR_NOT_FOUND with field "model", and what to do: no folder has it. Else what
 * embed_open() says of it. ERR_TOO_LARGE: LIMIT_MODELS are open. ERR_TIMEOUT: another thread is still opening it.
 */
enum result models_get(struct models *models, const char *name, int64_t deadline_ms, const struct model **out,
    struct err *err) ERR_MUST_USE;

/* One line of a list. */
struct models_entry {
    struct manifest manifest; /* of one that cannot be read only `name`, that of its folder, is set */
    const struct embed_info *info; /* NULL: not open */
    bool is_default;
    char problem[ERR_MESSAGE_MAX]; /* why it cannot be used, as far as known; "" where nothing is */
};
/* The default one first, then all that are in the folders, by name. `*out` is one allocation: free() it. */
enum result models_list(struct models *models, struct models_entry **out, size_t *count, struct err *err) ERR_MUST_USE;

#endif
