/*
 * Learns from a file and writes what the projection makes of its rows, for the comparison with NumPy:
 *
 *   learn_dump SHRINK OUT PLAIN_WEIGHT BLOCK,BLOCK,… < rows > vectors
 *
 * The input is uint64 n, then n int64 groups, then n × dimension floats; the output n × out floats. SHRINK and OUT 0
 * let cross-validation choose; what it chose goes to stderr.
 */
#include "learn/learn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rows {
    const float *x;
    uint32_t d;
};

static enum result read_rows(void *user, const size_t *which, size_t n, float *out, struct err *err)
{
    const struct rows *rows = user;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * rows->d, rows->x + which[i] * rows->d, rows->d * sizeof *out);
    return ERR_OK;
}

static struct learn_shape parse_shape(const char *text)
{
    struct learn_shape shape = {0};
    for (const char *at = text; *at && shape.block_count < LEARN_BLOCKS_MAX;) {
        char *end;
        shape.blocks[shape.block_count] = (uint32_t)strtoul(at, &end, 10);
        shape.dimension += shape.blocks[shape.block_count++];
        at = *end ? end + 1 : end;
    }
    return shape;
}

int main(int argc, char **argv)
{
    struct learn_projection p = {0};
    struct err err = {0};
    uint64_t n = 0;
    if (argc != 5 || fread(&n, sizeof n, 1, stdin) != 1)
        return 2;
    struct learn_shape shape = parse_shape(argv[4]);
    int64_t *group = malloc(n * sizeof *group);
    float *x = malloc(n * shape.dimension * sizeof *x);
    if (!group || !x || fread(group, sizeof *group, n, stdin) != n ||
        fread(x, sizeof *x * shape.dimension, n, stdin) != n)
        return 2;
    struct rows rows = {x, shape.dimension};
    struct learn_set set = {.count = n, .group = group, .read = read_rows, .user = &rows};
    struct learn_options options = {.shrink = strtof(argv[1], NULL),
        .out = (uint32_t)strtoul(argv[2], NULL, 10),
        .plain_weight = strtof(argv[3], NULL)};
    enum result r = learn_fit(&shape, &set, &options, &p, &err);
    float *y = r ? NULL : malloc(n * p.out * sizeof *y);
    if (r == ERR_OK)
        r = y ? learn_project(&p, LEARN_ROW, x, n, y, &err) : ERR_NO_MEMORY;
    if (r == ERR_OK && fwrite(y, sizeof *y * p.out, n, stdout) != n)
        r = ERR_IO;
    if (r)
        fprintf(stderr, "%s\n", err.message);
    else
        fprintf(stderr, "shrink %g out %u rows %llu groups %llu\n", (double)p.shrink, p.out,
            (unsigned long long)p.rows, (unsigned long long)p.groups);
    learn_projection_free(&p);
    free(group);
    free(x);
    free(y);
    return r ? 1 : 0;
}
