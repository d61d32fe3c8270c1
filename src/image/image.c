/*
 * The way of a picture: sniff.c names its kind, load.c decodes it once, render.c makes of the pixels what was
 * wanted, by the arithmetic of plan.c. This file starts libvips and joins them.
 *
 * Threads: everything a call makes is its own, and all of it is computed in the calling thread (see
 * image_evaluate()). Only what must have the whole picture before its first row (an interlaced PNG) lets
 * libvips fill its own memory, with one thread, and waits.
 */
#include "image/image.h"

#include "base/limits.h"
#include "image/load.h"
#include "image/render.h"

/* libvips warns on standard error of every odd file; a library does not log. */
static void drop_message(const char *domain, GLogLevelFlags level, const char *message, void *user) {}

/* VIPS_CONCURRENCY, VIPS_TRACE, VIPSHOME and the rest must not change what this program does. */
static void forget_environment(void)
{
    char **names = g_listenv();
    for (char **name = names; name && *name; name++) {
        if (strncmp(*name, "VIPS", 4) == 0 || strncmp(*name, "IM_", 3) == 0)
            g_unsetenv(*name);
    }
    g_strfreev(names);
}

/* Nothing may be read but what is named here, and nothing written, whatever other code in the process asks
 * for. */
static void allow_only_what_is_used(void)
{
    static const char *const used[] = {"VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp",
        "VipsForeignLoadNsgif", "VipsForeignLoadHeif"};
    vips_block_untrusted_set(TRUE);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    vips_operation_block_set("VipsForeignSave", TRUE);
    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
        vips_operation_block_set(used[i], FALSE);
}

enum result image_init(struct err *err)
{
    forget_environment();
    g_log_set_handler("VIPS", G_LOG_LEVEL_MASK | G_LOG_FLAG_RECURSION, drop_message, NULL);
    if (VIPS_INIT("lookalike")) {
        vips_error_clear();
        return err_set(
            err, ERR_INTERNAL, "libvips %s, which reads pictures, does not start", vips_version_string());
    }
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    vips_cache_set_max_mem(0);
    vips_cache_set_max_files(0);
    allow_only_what_is_used();
    return ERR_OK;
}

void image_shutdown(void)
{
    vips_shutdown();
}

static enum result check_want(const struct image_want *want, struct err *err)
{
    if (want->width > LIMIT_MODEL_SIDE || want->height > LIMIT_MODEL_SIDE)
        return err_set(err, ERR_TOO_LARGE, "a model's input of %u × %u pixels is over the limit of %d a side",
            want->width, want->height, LIMIT_MODEL_SIDE);
    if (want->short_side > 2 * LIMIT_MODEL_SIDE ||
        (want->short_side && (want->short_side < want->width || want->short_side < want->height)))
        return err_set(err, ERR_INVALID, "a short side of %u pixels does not fit a model's input of %u × %u",
            want->short_side, want->width, want->height);
    if (want->thumbnail_side > LIMIT_THUMBNAIL_SIDE)
        return err_set(err, ERR_TOO_LARGE, "a thumbnail of %u pixels is over the limit of %d",
            want->thumbnail_side, LIMIT_THUMBNAIL_SIDE);
    const float *region = want->region;
    bool whole = region[0] == 0 && region[1] == 0 && region[2] == 0 && region[3] == 0;
    if (!whole && !(region[0] >= 0 && region[1] >= 0 && region[2] > 0 && region[3] > 0 && region[0] + region[2] <= 1.0001f &&
                      region[1] + region[3] <= 1.0001f))
        return err_set(err, ERR_INVALID, "a region must lie within the picture: left, top, width, height as fractions of 1");
    if (!want->width != !want->height)
        return err_set(
            err, ERR_INVALID, "a model's input of %u × %u pixels is empty", want->width, want->height);
    return ERR_OK;
}

enum result image_decode(
    const void *data, size_t len, const struct image_want *want, struct image *out, struct err *err)
{
    struct image made = {0};
    struct image_source source = {0};
    enum result result = check_want(want, err);
    if (result)
        return result;
    if (!data || len == 0)
        return err_set(err, ERR_INVALID, "the picture is empty: it has no bytes");
    result = image_source_load(data, len, want, &source, err);
    if (result)
        goto out;
    result = image_render(&source, want, &made, err);
    if (result)
        goto out;
    bool turned = image_plan_is_turned(source.orientation);
    made.width = turned ? source.height : source.width;
    made.height = turned ? source.width : source.height;
    made.format = image_kind_mime(source.kind);
    *out = made;
out:
    image_source_free(&source);
    return result;
}

void image_free(struct image *image)
{
    if (!image)
        return;
    free(image->pixels);
    free(image->thumbnail);
    *image = (struct image){0};
}
