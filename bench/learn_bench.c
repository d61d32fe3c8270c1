/*
 * How long learning takes and what it needs, on made descriptors:
 *
 *   learn_bench [ROWS (100000)] [PICTURES OF AN ITEM (4)]
 *
 * Descriptors have the form of EfficientNet-Lite2's, 2,912 floats in eleven blocks. Goals: 100,000 in at most 60 s on two cores,
 * with less than 1.5 GB. The descriptors are made when they are read, so that they take no memory of their own: what is
 * measured is what `tune` needs beside the mapped file. The time to make them is measured apart and taken off.
 */
#include "base/clock.h"
#include "learn/learn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const struct learn_shape shape = {.dimension = 2912,
    .block_count = 11,
    .blocks = {1280, 48, 48, 88, 88, 120, 120, 208, 208, 352, 352}};

struct made {
    size_t each;
    int64_t us; /* spent making */
};

static float next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (float)(*state >> 40) / (float)(1 << 24);
}

/* Not negative, like a layer behind a ReLU: what the item has, and as much of the picture's own. */
static enum result make(void *user, const size_t *which, size_t n, float *out, struct err *err)
{
    struct made *m = user;
    int64_t began = clock_now_us();
    for (size_t i = 0; i < n; i++) {
        uint64_t item = (which[i] / m->each + 1) * 0x9e3779b97f4a7c15u, own = (which[i] + 1) * 0xbf58476d1ce4e5b9u;
        for (uint32_t k = 0; k < shape.dimension; k++)
            out[i * shape.dimension + k] = fmaxf(0, next(&item) + next(&own) - 0.7f);
    }
    m->us += clock_now_us() - began;
    return ERR_OK;
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000, each = argc > 2 ? strtoul(argv[2], NULL, 10) : 4;
    struct made made = {.each = each ? each : 1};
    struct learn_projection p = {0};
    struct err err = {0};
    struct rusage usage;
    int64_t *group = malloc((rows + 1) * sizeof *group);
    if (!group)
        return 3;
    for (size_t i = 0; i < rows; i++)
        group[i] = (int64_t)(i / made.each);
    struct learn_set set = {.count = rows, .group = group, .read = make, .user = &made};
    int64_t began = clock_now_us();
    if (learn_fit(&shape, &set, &(struct learn_options){0}, &p, &err) != ERR_OK) {
        fprintf(stderr, "learn_bench: %s\n", err.message);
        return 3;
    }
    double whole = (double)(clock_now_us() - began) / 1e6, making = (double)made.us / 1e6;
    getrusage(RUSAGE_SELF, &usage);
    printf("%zu descriptors of %u, items of %zu: learned in %.1f s (and %.1f s to make them), peak memory %.0f MB; shrinkage %g, %u dimensions\n",
        rows, shape.dimension, made.each, whole - making, making, (double)usage.ru_maxrss / 1024, (double)p.shrink, p.out);
    learn_projection_free(&p);
    free(group);
    return 0;
}
