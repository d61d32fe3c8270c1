/*
 * What the sandbox costs: each picture of a folder is decoded in this process and in a worker, by turns, and the
 * difference of the two medians is printed.
 *
 *     build/bench/cage_bench FOLDER [PICTURES]
 */
#include "base/clock.h"
#include "cage/cage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST 2000

static int by_value(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

static uint8_t *read_file(const char *path, size_t *len)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    uint8_t *data = NULL;
    if (f && fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (data = malloc((size_t)st.st_size)))
        *len = fread(data, 1, (size_t)st.st_size, f);
    if (f)
        fclose(f);
    return data;
}

/* Milliseconds, or a negative number where the picture cannot be read. */
static double once(struct cage *cage, const uint8_t *data, size_t len)
{
    static const struct image_want want = {.width = 260, .height = 260, .resize = IMAGE_SHORT_SIDE_CROP, .thumbnail_side = 256};
    struct image image = {0};
    int64_t from = clock_now_us();
    enum result r = cage ? cage_decode(cage, data, len, &want, 0, &image, NULL) : image_decode(data, len, &want, &image, NULL);
    double ms = (double)(clock_now_us() - from) / 1000;
    image_free(&image);
    return r ? -1 : ms;
}

int main(int argc, char **argv)
{
    static double here[MOST], there[MOST], more[MOST];
    struct cage *cage = NULL;
    struct err err = {0};
    size_t n = 0, most = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 300;
    if (argc == 2 && strcmp(argv[1], CAGE_ARGUMENT) == 0)
        return cage_main();
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    if (!dir || cage_open(&(struct cage_options){.workers = 1}, &cage, &err) || image_init(&err)) {
        fprintf(stderr, "usage: %s FOLDER [PICTURES]\n%s\n", argv[0], err.message);
        return 2;
    }
    for (struct dirent *entry; n < most && n < MOST && (entry = readdir(dir));) {
        char path[4096];
        size_t len = 0;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        uint8_t *data = read_file(path, &len);
        if (data && once(NULL, data, len) > 0 && once(cage, data, len) > 0) { /* both warm */
            double a1 = once(NULL, data, len), b1 = once(cage, data, len), b2 = once(cage, data, len), a2 = once(NULL, data, len);
            here[n] = a1 < a2 ? a1 : a2;
            there[n] = b1 < b2 ? b1 : b2;
            more[n] = there[n] - here[n];
            n++;
        }
        free(data);
    }
    closedir(dir);
    qsort(here, n, sizeof *here, by_value);
    qsort(there, n, sizeof *there, by_value);
    qsort(more, n, sizeof *more, by_value);
    if (n)
        printf("%zu pictures, better of two: in this process median %.3f ms, in a worker %.3f ms; more per picture: median %.3f, p95 %.3f\n",
            n, here[n / 2], there[n / 2], more[n / 2], more[n * 95 / 100]);
    cage_close(cage);
    image_shutdown();
    return n ? 0 : 1;
}
