/*
 * What a picture costs before the model sees it: milliseconds a picture, one thread, by stage.
 *
 *     image_bench FOLDER [PICTURES [SIDE [THUMBNAIL]]]
 *
 * FOLDER is read with its subfolders, at most PICTURES (500) files in the order of their names, all into
 * memory first. SIDE (260) is the model's input, THUMBNAIL (256) the longest side of the thumbnail. Stages
 * are timed with the module's own inner functions.
 */
#include "base/clock.h"
#include "image/image.h"
#include "image/load.h"
#include "image/render.h"

#include <ftw.h>

#define FILES_MAX 100000

struct file {
    char *path;
    char *data;
    size_t len;
};

static struct file *files;
static size_t count;

static int note_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type != FTW_F || count == FILES_MAX)
        return 0;
    struct file *grown = realloc(files, (count + 1) * sizeof(*files));
    if (!grown)
        return -1;
    files = grown;
    files[count++] = (struct file){.path = g_strdup(path)};
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* At most `most` files, spread evenly over the folder, with their bytes. */
static void read_files(const char *folder, size_t most)
{
    if (nftw(folder, note_file, 16, FTW_PHYS))
        count = 0;
    qsort(files, count, sizeof(*files), by_path);
    size_t stride = count > most ? count / most : 1, kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct file *file = &files[i];
        if (i % stride == 0 && kept < most && g_file_get_contents(file->path, &file->data, &file->len, NULL))
            files[kept++] = *file;
        else
            g_free(file->path);
    }
    count = kept;
}

enum stage { CALL_PIXELS, CALL_BOTH, CALL_THUMB, STAGE_LOAD, STAGE_PIXELS, STAGE_BOTH, STAGES };
static const char *const stage_names[STAGES] = {
    [CALL_PIXELS] = "image_decode, pixels only",
    [CALL_BOTH] = "image_decode, pixels and thumbnail",
    [CALL_THUMB] = "image_decode, thumbnail only",
    [STAGE_LOAD] = "  stage: header and decode",
    [STAGE_PIXELS] = "  stage: scale, crop, colour",
    [STAGE_BOTH] = "  stage: the same and the thumbnail",
};

/* Time of the CPU, not of the clock: other work on the machine does not count. */
static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double clock_ms(void)
{
    return (double)clock_now_us() / 1e3;
}

struct took {
    double clock, cpu;
};

static enum result run(
    enum stage stage, const struct file *file, uint32_t side, uint32_t thumb, struct took *took)
{
    struct image_want want = {.width = side, .height = side, .thumbnail_side = thumb};
    struct image image = {0};
    struct image_source source = {0};
    enum result result;
    if (stage == CALL_PIXELS || stage == STAGE_PIXELS)
        want.thumbnail_side = 0;
    if (stage == CALL_THUMB)
        want.width = want.height = 0;
    struct took from = {clock_ms(), cpu_ms()};
    if (stage < STAGE_LOAD) {
        result = image_decode(file->data, file->len, &want, &image, NULL);
    } else {
        result = image_source_load(file->data, file->len, &want, &source, NULL);
        if (!result && stage != STAGE_LOAD) {
            from = (struct took){clock_ms(), cpu_ms()};
            result = image_render(&source, &want, &image, NULL);
        }
    }
    *took = (struct took){clock_ms() - from.clock, cpu_ms() - from.cpu};
    image_source_free(&source);
    image_free(&image);
    return result;
}

static void measure(enum stage stage, uint32_t side, uint32_t thumb, double *ms)
{
    size_t n = 0;
    struct took sum = {0};
    for (size_t i = 0; i < count; i++) {
        struct took took;
        if (run(stage, &files[i], side, thumb, &took))
            continue;
        ms[n++] = took.clock;
        sum.clock += took.clock;
        sum.cpu += took.cpu;
    }
    if (n == 0) {
        printf("%-38s no picture could be read\n", stage_names[stage]);
        return;
    }
    qsort(ms, n, sizeof(*ms), by_value);
    printf("%-38s CPU %7.3f ms   clock mean %7.3f   median %7.3f   p95 %7.3f\n", stage_names[stage],
        sum.cpu / (double)n, sum.clock / (double)n, ms[n / 2], ms[n * 95 / 100]);
}

static uint32_t number(int argc, char **argv, int i, uint32_t otherwise)
{
    return i < argc ? (uint32_t)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER [PICTURES [SIDE [THUMBNAIL]]]\n", argv[0]);
        return 2;
    }
    if (image_init(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    read_files(argv[1], number(argc, argv, 2, 500));
    uint32_t side = number(argc, argv, 3, 260), thumb = number(argc, argv, 4, 256);
    double *ms = calloc(count ? count : 1, sizeof(*ms));
    struct took took;
    for (size_t i = 0; ms && i < count && i < 20; i++) { /* first calls initialise codecs */
        if (run(CALL_BOTH, &files[i], side, thumb, &took))
            fprintf(stderr, "%s cannot be read\n", files[i].path);
    }
    printf("%zu files, input %u × %u, thumbnail %u, one thread, libvips %s\n", count, side, side, thumb,
        vips_version_string());
    for (enum stage stage = 0; ms && stage < STAGES; stage++)
        measure(stage, side, thumb, ms);
    free(ms);
    for (size_t i = 0; i < count; i++) {
        g_free(files[i].path);
        g_free(files[i].data);
    }
    free(files);
    return 0;
}
