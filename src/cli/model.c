/*
 * `lookalike model list|add|quantize|bench`.
 *
 * Models are folders of this machine, so none of this talks to a server; one that runs finds a new folder by itself
 * when it is asked for that model.
 */
#include "cli/model.h"

#include "embed/preset.h"
#include "json/json.h"

#include <math.h>
#include <dirent.h>
#include <unistd.h>

static const char help_begin[] =
    "usage: lookalike model list [FLAG…]\n"
    "       lookalike model add NAME FILE|URL (--preset NAME | --manifest FILE) [FLAG…]\n"
    "       lookalike model quantize NAME --pictures DIR\n"
    "       lookalike model bench NAME [FLAG…]\n\n"
    "  list             the models that are found, and what is wrong with those that cannot be used\n"
    "  add              make a folder of a model file (ONNX, or the .xml of an OpenVINO IR with its .bin beside it), after\n"
    "                   it was checked and run once\n"
    "  quantize         add a file in int8, scaled by pictures, and measure what accuracy it costs (needs Python)\n"
    "  bench            measure a model: one picture alone, and as many as the machine does\n\n"
    "  --models DIR     the folder of models [$LOOKALIKE_MODELS, else the one beside the program]\n"
    "  --preset NAME    what kind of model the file is:\n";
static const char help_end[] =
    "  --manifest FILE  a model.json instead of a preset; name, file and sha256 in it are set by this command\n"
    "  --sha256 HEX     the sum the file must have; needed for a URL\n"
    "  --side PIXELS    of the input, where the file leaves it open\n"
    "  --licence TEXT   of the weights, kept in the manifest\n"
    "  --fetch-allow H  let the URL reach this private address or host\n"
    "  --replace        replace a model of that name\n"
    "  --device NAME, --engine NAME, --threads N, --precision NAME   as `lookalike serve` has them\n"
    "  --seconds N      of each measurement of bench [3]\n"
    "  --json, --quiet, --help\n\n"
    "examples:\n"
    "  lookalike model add shop-resnet resnet50.onnx --preset reference\n"
    "  lookalike model add dino https://models.example/dinov2.onnx --preset dinov2 --sha256 3f…\n"
    "  lookalike model list --json\n\n"
    "Exit status: 0 done, 1 some models cannot be used (list), 2 wrong usage, 3 nothing done.\n";

void cli_model_paint(uint8_t *pixels, uint32_t width, uint32_t height, unsigned seed)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (unsigned c = 0; c < 3; c++) {
                double v = sin(x * (0.02 + 0.013 * seed) + c) + cos(y * (0.03 + 0.007 * seed) - c * seed);
                pixels[((size_t)y * width + x) * 3 + c] = (uint8_t)(127.5 + 63 * v);
            }
}

void cli_model_print_json(const char *text)
{
    struct buf out;
    buf_init(&out, 8192);
    fputs(json_append_string(&out, text, strlen(text)) ? "null" : out.data, stdout);
    buf_free(&out);
}

/* --- list ------------------------------------------------------------------------------------------------------- */

struct found {
    char name[256], folder[PATH_MAX + 320];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

/* Every folder with a manifest, the first of each name. */
static enum result find_all(const struct places *places, struct found **out, size_t *count, struct err *err)
{
    struct found *all = NULL;
    size_t n = 0;
    char path[PATH_MAX + 400];
    for (size_t i = 0; i < places->count; i++) {
        DIR *dir = opendir(places->list[i]);
        for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
            bool known = e->d_name[0] == '.';
            for (size_t k = 0; k < n && !known; k++)
                known = strcmp(all[k].name, e->d_name) == 0;
            snprintf(path, sizeof path, "%s/%s/model.json", places->list[i], e->d_name);
            FILE *manifest = known ? NULL : fopen(path, "re");
            if (!manifest)
                continue;
            fclose(manifest);
            struct found *more = realloc(all, (n + 1) * sizeof *all);
            if (!more) {
                closedir(dir);
                free(all);
                return err_no_memory(err);
            }
            all = more;
            snprintf(all[n].name, sizeof all[n].name, "%s", e->d_name);
            snprintf(all[n].folder, sizeof all[n].folder, "%s/%s", places->list[i], e->d_name);
            n++;
        }
        if (dir)
            closedir(dir);
    }
    if (n)
        qsort(all, n, sizeof *all, by_name);
    *out = all;
    *count = n;
    return ERR_OK;
}

/* One line; true where the model can be used. */
static bool print_model(const struct cli_model *m, const struct found *f, bool first)
{
    struct manifest manifest = {0};
    struct err err = {0};
    char sum[65] = "";
    enum result r = manifest_read(f->folder, &manifest, &err);
    if (r == ERR_OK)
        r = embed_sum(manifest.file, sum, &err);
    if (r == ERR_OK && strcmp(sum, manifest.sha256) != 0)
        r = err_set(&err, ERR_CORRUPT, "its sum is %.16s… and the manifest says %.16s…", sum, manifest.sha256);
    if (r == ERR_OK && strcmp(manifest.name, f->name) != 0)
        r = err_set(&err, ERR_INVALID, "the folder holds the model \"%.60s\": rename one of them", manifest.name);
    if (m->args.json) {
        printf("%s{\"name\":", first ? "" : ",");
        cli_model_print_json(f->name);
        printf(",\"folder\":");
        cli_model_print_json(f->folder);
        if (manifest.width)
            printf(",\"kind\":\"%s\",\"dimension\":%u,\"input\":[%u,%u],\"sha256\":\"%s\",\"licence\":",
                manifest.kind == MANIFEST_MASK ? "mask" : "embedding", manifest.dimension, manifest.width, manifest.height, manifest.sha256);
        if (manifest.width)
            cli_model_print_json(manifest.licence);
        if (r)
            printf(",\"problem\":");
        if (r)
            cli_model_print_json(err.message);
        putchar('}');
    } else if (r) {
        printf("%-24s cannot be used: %s\n", f->name, err.message);
    } else if (manifest.kind == MANIFEST_MASK) {
        printf("%-24s %ux%u to a mask, %s\n", f->name, manifest.width, manifest.height, manifest.licence);
    } else {
        printf("%-24s %ux%u to %u numbers, %s\n", f->name, manifest.width, manifest.height, manifest.dimension, manifest.licence);
    }
    return r == ERR_OK;
}

static enum result list(const struct cli_model *m, bool *all_good, struct err *err)
{
    struct found *found = NULL;
    size_t count = 0;
    enum result r = find_all(&m->places, &found, &count, err);
    if (r)
        return r;
    if (m->args.json)
        fputs("{\"models\":[", stdout);
    for (size_t i = 0; i < count; i++)
        if (!print_model(m, &found[i], i == 0))
            *all_good = false;
    if (m->args.json)
        puts("]}");
    else if (!count)
        fprintf(stderr, "There is no model in %s.\n", m->places.list[0]);
    free(found);
    return ERR_OK;
}

/* --- quantize --------------------------------------------------------------------------------------------------- */

/* The work is Python's (NNCF), which is no part of the program: scripts/quantize takes this process's place. */
static enum result quantize(const struct cli_model *m, struct err *err)
{
    static const char *const places[] = {"../scripts/quantize", "../share/lookalike/scripts/quantize"};
    char folder[PATH_MAX * 2], program[PATH_MAX], script[PATH_MAX + 64];
    enum result r = places_model(&m->config, &m->places, m->name, folder, sizeof folder, err);
    if (r)
        return r;
    if (!m->pictures)
        return err_set(err, ERR_INVALID, "model quantize needs --pictures DIR: the scales are chosen from pictures like those to be searched");
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(script, sizeof script, "%s/%s", program, places[i]);
        if (access(script, X_OK) == 0) {
            fflush(stdout);
            execl(script, script, folder, m->pictures, (char *)NULL);
        }
    }
    return err_set(err, ERR_NOT_FOUND, "scripts/quantize is not beside the program: quantizing needs the project's folder (it is done once, anywhere)");
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

static enum result check_verb(struct cli_model *m, struct err *err)
{
    static const struct {
        const char *verb;
        size_t arguments;
        const char *wants;
    } verbs[] = {{"list", 1, "model list takes no name"}, {"add", 3, "model add needs a name and a file or URL"},
        {"quantize", 2, "model quantize needs the name of one model"}, {"bench", 2, "model bench needs the name of one model"}};
    m->verb = m->args.positional_count ? m->args.positional[0] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(m->verb, verbs[i].verb) != 0)
            continue;
        if (m->args.positional_count != verbs[i].arguments)
            return err_set(err, ERR_INVALID, "%s", verbs[i].wants);
        m->name = m->args.positional_count > 1 ? m->args.positional[1] : NULL;
        m->source = m->args.positional_count > 2 ? m->args.positional[2] : NULL;
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID, "model needs one of list, add, quantize and bench");
}

static enum result read_arguments(struct cli_model *m, int argc, char **argv, struct err *err)
{
    const struct cli_flag flags[] = {{"--models", &m->models, NULL}, {"--preset", &m->preset, NULL},
        {"--manifest", &m->manifest, NULL}, {"--sha256", &m->sha256, NULL}, {"--licence", &m->licence, NULL},
        {"--side", &m->side, NULL}, {"--fetch-allow", &m->fetch_allow, NULL}, {"--device", &m->device, NULL},
        {"--threads", &m->threads, NULL}, {"--precision", &m->precision, NULL}, {"--engine", &m->engine, NULL}, {"--seconds", &m->seconds, NULL},
        {"--pictures", &m->pictures, NULL},
        {"--replace", NULL, &m->replace}};
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &m->args, err);
    if (r || m->args.help)
        return r;
    return check_verb(m, err);
}

/* What is not given by a flag comes from environment and defaults, as for `serve`. */
static enum result find_places(struct cli_model *m, struct err *err)
{
    char *argv[] = {(char *)(uintptr_t)m->args.command, NULL};
    enum result r = config_load(&m->config, 1, argv, err);
    if (r)
        return r;
    const struct {
        const char *given;
        char **to;
    } texts[] = {{m->models, &m->config.models}, {m->args.data, &m->config.data}, {m->device, &m->config.device},
        {m->precision, &m->config.precision}, {m->engine, &m->config.engine}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!texts[i].given)
            continue;
        free(*texts[i].to);
        *texts[i].to = strdup(texts[i].given);
        if (!*texts[i].to)
            return err_no_memory(err);
    }
    int64_t threads = m->config.threads;
    r = cli_args_number("--threads", m->threads, 0, 1024, &threads, err);
    m->config.threads = (unsigned)threads;
    places_find(&m->config, &m->places);
    return r;
}

static void print_help(void)
{
    fputs(help_begin, stdout);
    for (size_t i = 0; preset_at(i); i++)
        printf("      %-18s %s\n", preset_at(i)->name, preset_at(i)->summary);
    fputs(help_end, stdout);
}

int cli_model(int argc, char **argv)
{
    struct err err = {0};
    struct cli_model m = {0};
    bool all_good = true;
    if (read_arguments(&m, argc, argv, &err))
        return cli_usage("model", &err);
    if (m.args.help) {
        print_help();
        return CLI_DONE;
    }
    enum result r = find_places(&m, &err);
    if (r == ERR_OK && strcmp(m.verb, "list") == 0)
        r = list(&m, &all_good, &err);
    else if (r == ERR_OK && strcmp(m.verb, "add") == 0)
        r = cli_model_add(&m, &err);
    else if (r == ERR_OK && strcmp(m.verb, "quantize") == 0)
        r = quantize(&m, &err);
    else if (r == ERR_OK)
        r = cli_model_bench(&m, &err);
    config_free(&m.config);
    if (r)
        return cli_fail(CLI_NOTHING, &err);
    return all_good ? CLI_DONE : CLI_SOME_FAILED;
}
