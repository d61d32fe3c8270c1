/*
 * `lookalike model add`: a model file becomes a folder, or nothing is changed.
 *
 * The folder is made aside (".NAME.new"), with the file, its manifest and the file's sum in it; then it is opened as a
 * server would open it and two pictures are run through it; only what came through all of that gets its name. A model
 * that gives the same vector for two very different pictures, or numbers that are none, is refused: no search could be
 * made with it.
 */
#include "cli/model.h"

#include "base/clock.h"
#include "base/limits.h"
#include "embed/preset.h"
#include "fetch/fetch.h"
#include "image/image.h"
#include "json/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOWNLOAD_MS (60 * 60 * 1000)
#define SIDE_TRIED_MAX LIMIT_MODEL_SIDE

struct addition {
    const struct cli_model *m;
    const struct preset *preset; /* NULL: --manifest */
    char parent[PATH_MAX + 64];
    char folder[PATH_MAX + 400], aside[PATH_MAX + 400], old[PATH_MAX + 400];
    char file[PATH_MAX + 500]; /* in `aside` */
    const char *file_name;
    char sha256[65];
};

static bool is_url(const char *text)
{
    return strncasecmp(text, "https://", 8) == 0 || strncasecmp(text, "http://", 7) == 0;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), k = strlen(suffix);
    return n > k && strcasecmp(text + n - k, suffix) == 0;
}

static enum result join(char *out, size_t size, const char *folder, const char *name, struct err *err)
{
    int n = snprintf(out, size, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= size)
        return err_set(err, ERR_TOO_LARGE, "the path of the folder of models is too long");
    return ERR_OK;
}

/* --- checks before anything is done -------------------------------------------------------------------------- */

static enum result check_name(const char *name, struct err *err)
{
    bool good = *name && *name != '.' && *name != '-' && strlen(name) < 100;
    for (const char *p = name; *p && good; p++)
        good = isalnum((unsigned char)*p) || strchr("-_.", *p);
    return good ? ERR_OK
                : err_set(err, ERR_INVALID,
                      "\"%.100s\" is no name for a model: letters, digits, - _ and . only, fewer than 100, not beginning with . or -", name);
}

static enum result check_source(const struct cli_model *m, struct err *err)
{
    if (m->sha256 && (strlen(m->sha256) != 64 || strspn(m->sha256, "0123456789abcdefABCDEF") != 64))
        return err_set(err, ERR_INVALID, "--sha256 needs 64 hexadecimal digits");
    if (!is_url(m->source))
        return ERR_OK;
    if (!m->sha256)
        return err_set(err, ERR_INVALID, "a model from a URL needs --sha256: without it nobody knows whose numbers are run here");
    if (strncasecmp(m->source, "http://", 7) == 0 && !m->fetch_allow)
        return err_set(err, ERR_INVALID, "a model is downloaded by https only (by http from a host that --fetch-allow names)");
    return ERR_OK;
}

static enum result choose_preset(struct addition *a, struct err *err)
{
    const struct cli_model *m = a->m;
    if (!m->preset == !m->manifest)
        return err_set(err, ERR_INVALID, "model add needs one of --preset NAME and --manifest FILE; `lookalike model --help` lists the presets");
    if (!m->preset)
        return ERR_OK;
    a->preset = preset_find(m->preset);
    return a->preset ? ERR_OK
                     : err_set(err, ERR_INVALID, "there is no preset \"%.60s\"; `lookalike model --help` lists them", m->preset);
}

/* The first folder of models that is there, or the one that was asked for. */
static enum result choose_parent(struct addition *a, struct err *err)
{
    struct stat st;
    for (size_t i = 0; i < a->m->places.count; i++) {
        const char *folder = a->m->places.list[i];
        bool asked = i == 0 && a->m->config.models;
        if (asked && mkdir(folder, 0755) && errno != EEXIST)
            return err_set_errno(err, errno, "cannot make the folder of models %.300s", folder);
        if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode)) {
            snprintf(a->parent, sizeof a->parent, "%s", folder);
            return ERR_OK;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "there is no folder of models yet: name one with --models DIR");
}

static enum result check_free(struct addition *a, struct err *err)
{
    struct stat st;
    char name[160];
    enum result r = join(a->folder, sizeof a->folder, a->parent, a->m->name, err);
    snprintf(name, sizeof name, ".%s.new", a->m->name);
    if (r == ERR_OK)
        r = join(a->aside, sizeof a->aside, a->parent, name, err);
    snprintf(name, sizeof name, ".%s.old", a->m->name);
    if (r == ERR_OK)
        r = join(a->old, sizeof a->old, a->parent, name, err);
    if (r == ERR_OK && stat(a->folder, &st) == 0 && !a->m->replace)
        r = err_set(err, ERR_EXISTS, "there is a model %s in %.300s already; --replace replaces it", a->m->name, a->parent);
    return r;
}

/* --- files --------------------------------------------------------------------------------------------------- */

/* The files that a model's folder may have; nothing else is ever removed. */
static void remove_folder(const char *folder)
{
    static const char *const names[] = {"model.onnx", "model.xml", "model.bin", "model.json", "int8.xml", "int8.bin"};
    char path[PATH_MAX + 500];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static enum result write_file(const char *path, const void *bytes, size_t len, struct err *err)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set_errno(err, errno, "cannot write %.400s", path);
    bool good = fwrite(bytes, 1, len, f) == len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int reason = errno;
    if (fclose(f) && good) {
        good = false;
        reason = errno;
    }
    return good ? ERR_OK : err_set_errno(err, reason, "cannot write %.400s", path);
}

static enum result copy_file(const char *from, const char *to, struct err *err)
{
    enum result r = ERR_OK;
    uint8_t *chunk = malloc(LIMIT_MIB);
    FILE *in = fopen(from, "re"), *out = NULL;
    size_t n;
    if (!in) {
        r = err_set_errno(err, errno, "cannot read %.400s", from);
        goto out;
    }
    out = fopen(to, "we");
    if (!chunk || !out) {
        r = chunk ? err_set_errno(err, errno, "cannot write %.400s", to) : err_no_memory(err);
        goto out;
    }
    while ((n = fread(chunk, 1, LIMIT_MIB, in)) > 0)
        if (fwrite(chunk, 1, n, out) != n)
            break;
    if (ferror(in))
        r = err_set_errno(err, errno, "cannot read %.400s", from);
    else if (ferror(out) || fflush(out) || fsync(fileno(out)))
        r = err_set_errno(err, errno, "cannot write %.400s", to);
out:
    if (in)
        fclose(in);
    if (out && fclose(out) && r == ERR_OK)
        r = err_set_errno(err, errno, "cannot write %.400s", to);
    free(chunk);
    return r;
}

static enum result download(struct addition *a, struct err *err)
{
    struct fetch *fetch = NULL;
    struct buf bytes;
    const char *allow[] = {a->m->fetch_allow};
    struct fetch_options options = {
        .allow = allow, .allow_count = a->m->fetch_allow ? 1 : 0, .max_bytes = LIMIT_MODEL_BYTES, .timeout_ms = DOWNLOAD_MS};
    buf_init(&bytes, LIMIT_MODEL_BYTES);
    enum result r = fetch_new(&options, &fetch, err);
    if (r == ERR_OK)
        r = fetch_get(fetch, a->m->source, clock_now_ms() + DOWNLOAD_MS, &bytes, err);
    if (r == ERR_OK)
        r = write_file(a->file, bytes.data, bytes.len, err);
    fetch_free(fetch);
    buf_free(&bytes);
    return r;
}

/* The file, and of an IR its weights, into the folder aside; and its sum. */
static enum result get_file(struct addition *a, struct err *err)
{
    const char *source = a->m->source;
    char weights[512], to[PATH_MAX + 500];
    bool ir = !is_url(source) && has_suffix(source, ".xml");
    a->file_name = ir ? "model.xml" : "model.onnx";
    enum result r = join(a->file, sizeof a->file, a->aside, a->file_name, err);
    if (r == ERR_OK)
        r = is_url(source) ? download(a, err) : copy_file(source, a->file, err);
    if (r == ERR_OK && ir) {
        r = join(to, sizeof to, a->aside, "model.bin", err);
        if (r == ERR_OK && !manifest_weights_path(source, weights, sizeof weights))
            r = err_set(err, ERR_INVALID, "the name of an OpenVINO IR ends with .xml, in lower case; %.300s does not", source);
        if (r == ERR_OK)
            r = copy_file(weights, to, err);
    }
    if (r == ERR_OK)
        r = embed_sum(a->file, a->sha256, err);
    if (r == ERR_OK && a->m->sha256 && strcasecmp(a->sha256, a->m->sha256) != 0)
        r = err_set_field(err, ERR_CORRUPT, "sha256", "%.200s is not the file that was asked for: its sum is %s and --sha256 says %s", source,
            a->sha256, a->m->sha256);
    return r;
}

/* --- manifest ------------------------------------------------------------------------------------------------ */

static enum result manifest_by_preset(const struct addition *a, struct buf *out, struct err *err)
{
    struct embed_inspection *model = calloc(1, sizeof *model);
    int64_t side = 0;
    if (!model)
        return err_no_memory(err);
    enum result r = cli_args_number("--side", a->m->side, 16, SIDE_TRIED_MAX, &side, err);
    if (r == ERR_OK)
        r = embed_inspect(a->file, model, err);
    const char *base = strrchr(a->m->source, '/');
    struct preset_facts facts = {.name = a->m->name,
        .file = a->file_name,
        .sha256 = a->sha256,
        .licence = a->m->licence,
        .source = is_url(a->m->source) ? a->m->source : base ? base + 1 : a->m->source,
        .side = (uint32_t)side};
    if (r == ERR_OK)
        r = preset_manifest(a->preset, model, &facts, out, err);
    free(model);
    return r;
}

static enum result read_whole(const char *path, struct buf *out, struct err *err)
{
    char chunk[4096];
    size_t n;
    FILE *f = fopen(path, "re");
    enum result r = f ? ERR_OK : err_set_errno(err, errno, "cannot read the manifest %.300s", path);
    while (r == ERR_OK && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
        if (buf_append(out, chunk, n))
            r = err_set(err, ERR_TOO_LARGE, "the manifest %.300s is larger than %d bytes", path, LIMIT_MANIFEST_BYTES);
    if (f)
        fclose(f);
    return r;
}

/* The manifest that was given, with what belongs to this file and name. */
static enum result manifest_by_file(const struct addition *a, struct buf *out, struct err *err)
{
    struct buf text;
    struct json_object *root = NULL;
    buf_init(&text, LIMIT_MANIFEST_BYTES);
    enum result r = read_whole(a->m->manifest, &text, err);
    if (r == ERR_OK)
        r = json_parse(text.data ? text.data : "", text.len, &root, err);
    if (r == ERR_OK && !json_object_is_type(root, json_type_object))
        r = err_set(err, ERR_INVALID, "the manifest %.300s must be a JSON object", a->m->manifest);
    if (r == ERR_OK) {
        json_object_object_add(root, "name", json_object_new_string(a->m->name));
        json_object_object_add(root, "file", json_object_new_string(a->file_name));
        json_object_object_add(root, "sha256", json_object_new_string(a->sha256));
        if (a->m->licence)
            json_object_object_add(root, "licence", json_object_new_string(a->m->licence));
        const char *all = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
        r = all ? buf_append_str(out, all) : ERR_NO_MEMORY;
        if (r == ERR_OK)
            r = buf_append_str(out, "\n");
        if (r)
            err_set(err, r, "the manifest %.300s is too large", a->m->manifest);
    }
    json_object_put(root);
    buf_free(&text);
    return r;
}

/* --- trying it ----------------------------------------------------------------------------------------------- */

static enum result run_two(struct embed *embed, struct err *err)
{
    const struct manifest *f = &embed_describe(embed)->manifest;
    size_t bytes = (size_t)f->width * f->height * 3;
    uint8_t *pixels = malloc(2 * bytes);
    float *rows = malloc(2 * sizeof *rows * manifest_descriptor(f));
    enum result r = pixels && rows ? ERR_OK : err_no_memory(err);
    double difference = 0, size = 0;
    for (unsigned i = 0; i < 2 && r == ERR_OK; i++) {
        const uint8_t *one = pixels + i * bytes;
        cli_model_paint(pixels + i * bytes, f->width, f->height, i + 1);
        r = embed_run(embed, &one, 1, rows + (size_t)i * manifest_descriptor(f), err);
    }
    for (uint32_t i = 0; i < f->dimension && r == ERR_OK; i++) {
        double a = rows[i], b = rows[manifest_descriptor(f) + i];
        difference += (a - b) * (a - b);
        size += a * a + b * b;
    }
    if (r == ERR_OK && !(difference > 1e-12 * size) && f->kind == MANIFEST_EMBEDDING)
        r = err_set(err, ERR_INVALID,
            "the model gives the same vector for two different pictures: the output \"%.60s\" does not depend on the picture, or the mean and std of the "
            "manifest are not those of the model",
            f->output_name);
    free(rows);
    free(pixels);
    return r;
}

static enum result try_model(const struct addition *a, struct embed_info *info, struct err *err)
{
    struct embed *embed = NULL;
    struct embed_options options = {.folder = a->aside,
        .engine = a->m->config.engine,
        .device = a->m->config.device,
        .threads = a->m->config.threads,
        .precision = a->m->config.precision};
    enum result r = embed_open(&options, &embed, err);
    if (r == ERR_OK)
        r = run_two(embed, err);
    if (r == ERR_OK)
        *info = *embed_describe(embed);
    embed_close(embed);
    return r;
}

/* Give the folder its name; with --replace the one before it goes. */
static enum result give_name(const struct addition *a, struct err *err)
{
    if (a->m->replace) {
        remove_folder(a->old);
        if (rename(a->folder, a->old) && errno != ENOENT)
            return err_set_errno(err, errno, "cannot replace %.400s", a->folder);
    }
    if (rename(a->aside, a->folder)) {
        int reason = errno;
        (void)!rename(a->old, a->folder);
        return err_set_errno(err, reason, "cannot make %.400s", a->folder);
    }
    remove_folder(a->old);
    return ERR_OK;
}

static void report(const struct addition *a, const struct embed_info *info)
{
    const struct manifest *f = &info->manifest;
    if (a->m->args.json) {
        printf("{\"name\":");
        cli_model_print_json(f->name);
        printf(",\"folder\":");
        cli_model_print_json(a->folder);
        printf(",\"kind\":\"%s\",\"dimension\":%u,\"input\":[%u,%u],\"sha256\":\"%s\",\"precision\":\"%s\"}\n",
            f->kind == MANIFEST_MASK ? "mask" : "embedding", f->dimension, f->width, f->height, f->sha256, info->precision);
    } else if (!a->m->args.quiet) {
        printf("added %s: %ux%u pixels to ", f->name, f->width, f->height);
        if (f->kind == MANIFEST_MASK)
            printf("a mask");
        else
            printf("%u numbers, %s", f->dimension, f->l2_normalise ? "unit length" : "not normalised");
        printf(" (%s on %s)\n%s\nsha256 %s\n", info->precision, info->device, a->folder, f->sha256);
    }
}

enum result cli_model_add(const struct cli_model *m, struct err *err)
{
    struct addition *a = calloc(1, sizeof *a);
    struct embed_info info;
    struct buf text;
    char path[PATH_MAX + 500];
    bool made = false;
    if (!a)
        return err_no_memory(err);
    a->m = m;
    buf_init(&text, LIMIT_MANIFEST_BYTES);
    enum result r = check_name(m->name, err);
    if (r == ERR_OK)
        r = check_source(m, err);
    if (r == ERR_OK)
        r = choose_preset(a, err);
    if (r == ERR_OK)
        r = choose_parent(a, err);
    if (r == ERR_OK)
        r = check_free(a, err);
    if (r)
        goto out;
    remove_folder(a->aside); /* of an attempt that was interrupted */
    if (mkdir(a->aside, 0755)) {
        r = err_set_errno(err, errno, "cannot make a folder in %.300s", a->parent);
        goto out;
    }
    made = true;
    r = get_file(a, err);
    if (r == ERR_OK)
        r = a->preset ? manifest_by_preset(a, &text, err) : manifest_by_file(a, &text, err);
    if (r == ERR_OK)
        r = join(path, sizeof path, a->aside, "model.json", err);
    if (r == ERR_OK)
        r = write_file(path, text.data, text.len, err);
    if (r == ERR_OK)
        r = try_model(a, &info, err);
    if (r == ERR_OK)
        r = give_name(a, err);
    if (r == ERR_OK)
        report(a, &info);
out:
    if (r && made)
        remove_folder(a->aside);
    buf_free(&text);
    free(a);
    return r;
}
