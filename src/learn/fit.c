/*
 * Learning in closed form (the within-class whitening of Fukunaga, "Introduction to Statistical Pattern
 * Recognition", chapter 10; Mikolajczyk and Matas, "Improving descriptors for fast tree matching by optimal
 * linear projection", ICCV 2007), in three passes over the descriptors:
 *
 *   1  the mean of each side
 *   2  the scatter of everything, and of each picture about the mean of its group
 *   3  (choose.c) a sample, for cross-validation
 *
 * A pass goes in blocks of whole groups, so memory does not depend on how many rows there are: it is five to six
 * matrices of d × d and what LAPACK needs for one more.
 *
 * All that follows happens in the LEARN_REDUCED largest principal axes of everything, where an eigenproblem takes
 * a quarter of a second instead of ten, so that cross-validation can afford thirty of them. On 2,912 dimensions
 * that changed R@1 by less than 0.3 points. The shrinkage stays relative to the mean eigenvalue over all
 * dimensions, so its meaning does not depend on how many are kept.
 *
 * Pictures of items and made copies are two kinds of groups. Each kind's covariance is brought to a mean eigenvalue
 * of 1; their weights are their degrees of freedom (rows less groups), those of copies times COPY_WEIGHT: what
 * differs between two photos of an item is what we want to know, copies only imitate it.
 */
#include "learn/fit.h"

#include "base/limits.h"
#include "learn/algebra.h"
#include "learn/space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u            /* rows at once; also the most that count of one group */
#define LEARN_REDUCED 640u
#define PLAIN_WEIGHT 2.0f     /* docs/internals/learn.md has the figures */
#define PLAIN_ALONE 16.0f     /* without groups: the inner layers only help what was learned */
#define COPY_WEIGHT 0.25

static int compare_members(const void *x, const void *y)
{
    const struct learn_member *a = x, *b = y;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* Spreads groups evenly over 0 … 2⁶⁴, the same way every time (the end of SplitMix64). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static enum result list_members(struct learn_fit *f, struct err *err)
{
    const struct learn_set *set = f->set;
    uint64_t keep = UINT64_MAX;
    if (set->count > LIMIT_LEARN_ROWS)
        keep = (uint64_t)((double)LIMIT_LEARN_ROWS / (double)set->count * 18446744073709549568.0);
    f->members = learn_alloc(set->count, sizeof *f->members);
    if (!f->members)
        return err_no_memory(err);
    for (size_t i = 0; i < set->count; i++)
        if (keep == UINT64_MAX || mix((uint64_t)set->group[i] + 0x9e3779b97f4a7c15u) <= keep)
            f->members[f->count++] = (struct learn_member){
                .group = set->group[i], .row = i, .kind = set->kind ? set->kind[i] : LEARN_PICTURE};
    qsort(f->members, f->count, sizeof *f->members, compare_members);
    if (f->count < LEARN_ROWS_MIN)
        return err_set(err, ERR_INVALID, "To learn from, at least %d pictures are needed; there are %zu.",
            LEARN_ROWS_MIN, f->count);
    return ERR_OK;
}

static size_t group_end(const struct learn_fit *f, size_t first)
{
    const struct learn_member *m = f->members;
    size_t end = first + 1;
    while (end < f->count && m[end].group == m[first].group && m[end].kind == m[first].kind)
        end++;
    return end;
}

size_t learn_fit_take(const struct learn_fit *f, size_t first, size_t room, size_t *next)
{
    size_t n = 0;
    *next = first;
    while (*next < f->count) {
        size_t end = group_end(f, *next), size = end - *next;
        if (size > room) { /* too large even for an empty block: its beginning, and on to the next */
            if (n == 0) {
                *next = end;
                return room;
            }
            break;
        }
        if (n + size > room)
            break;
        n += size;
        *next = end;
    }
    return n;
}

static enum result load_balanced(struct learn_fit *f, size_t first, size_t n, float *x, struct err *err)
{
    size_t which[BLOCK];
    for (size_t i = 0; i < n; i++)
        which[i] = f->members[first + i].row;
    enum result r = f->set->read(f->set->user, which, n, x, err);
    if (r == ERR_OK)
        learn_balance(f->shape, f->plain_weight, x, n);
    return r;
}

static enum learn_side side_of(const struct learn_fit *f, size_t member)
{
    const uint8_t *side = f->set->side;
    return side && side[f->members[member].row] == LEARN_QUERY ? LEARN_QUERY : LEARN_ROW;
}

enum result learn_fit_load(struct learn_fit *f, size_t first, size_t n, float *x, struct err *err)
{
    enum result r = load_balanced(f, first, n, x, err);
    uint32_t d = f->shape->dimension;
    for (size_t i = 0; r == ERR_OK && i < n; i++)
        learn_centre(x + i * d, f->mean[side_of(f, first + i)], d);
    return r;
}

enum result learn_fit_progress(const struct learn_fit *f, double done, struct err *err)
{
    if (f->set->progress && f->set->progress(f->set->user, done))
        return err_set(err, ERR_UNAVAILABLE, "Learning was stopped.");
    return ERR_OK;
}

static void set_means(struct learn_fit *f, double *const sums[LEARN_SIDES], const size_t n[LEARN_SIDES])
{
    for (int side = 0; side < LEARN_SIDES; side++) {
        int from = n[side] ? side : 1 - side; /* a side without rows has the other's */
        for (uint32_t i = 0; i < f->shape->dimension; i++)
            f->mean[side][i] = (float)(sums[from][i] / (double)n[from]);
    }
}

static enum result pass_means(struct learn_fit *f, float *x, struct err *err)
{
    uint32_t d = f->shape->dimension;
    size_t n[LEARN_SIDES] = {0};
    double *both = calloc(2 * (size_t)d, sizeof *both), *sums[LEARN_SIDES] = {both, both ? both + d : NULL};
    enum result r = both ? ERR_OK : err_no_memory(err);
    for (size_t at = 0; r == ERR_OK && at < f->count; at += BLOCK) {
        size_t step = f->count - at < BLOCK ? f->count - at : BLOCK;
        r = load_balanced(f, at, step, x, err);
        for (size_t i = 0; r == ERR_OK && i < step; i++) {
            enum learn_side side = side_of(f, at + i);
            if (f->members[at + i].kind == LEARN_COPY && f->members[0].kind != LEARN_COPY)
                continue; /* pictures as they are say better where their middle is; they come first */
            n[side]++;
            for (uint32_t k = 0; k < d; k++)
                sums[side][k] += x[i * d + k];
        }
        if (r == ERR_OK)
            r = learn_fit_progress(f, 0.2 * (double)at / (double)f->count, err);
    }
    if (r == ERR_OK)
        set_means(f, sums, n);
    free(both);
    return r;
}

/* x (n × d) less the mean of its rows. */
static void subtract_mean(float *x, size_t n, size_t d, double *room)
{
    memset(room, 0, d * sizeof *room);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            room[k] += x[i * d + k];
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            x[i * d + k] -= (float)(room[k] / (double)n);
}

/*
 * A block in which all groups of at least two, less their means, were moved together at the front of x; what is left
 * of singles is overwritten.
 */
static size_t keep_differences(struct learn_fit *f, size_t first, size_t n, float *x, double *room)
{
    uint32_t d = f->shape->dimension;
    size_t kept = 0;
    for (size_t at = 0; at < n;) {
        size_t end = group_end(f, first + at) - first;
        size_t size = (end < n ? end : n) - at;
        uint8_t kind = f->members[first + at].kind;
        if (size > 1) {
            memmove(x + kept * d, x + at * d, size * d * sizeof *x);
            subtract_mean(x + kept * d, size, d, room);
            kept += size;
            f->groups[kind]++;
            f->freedom[kind] += size - 1;
        }
        at += size;
    }
    return kept;
}

/* Members of one kind. */
static enum result add_block(struct learn_fit *f, size_t first, size_t n, float *x, struct err *err)
{
    uint32_t d = f->shape->dimension;
    uint8_t kind = f->members[first].kind;
    double *room = learn_alloc(d, sizeof *room);
    enum result r = room ? learn_fit_load(f, first, n, x, err) : err_no_memory(err);
    if (r == ERR_OK) {
        for (size_t i = 0; i < n; i++)
            for (uint32_t k = 0; k < d; k++)
                f->sum[k] += x[i * d + k];
        learn_add_scatter(f->total, x, n, d);
        f->used += n;
        size_t kept = keep_differences(f, first, n, x, room);
        if (kept && !f->within[kind]) {
            f->within[kind] = learn_alloc((size_t)d * d, sizeof(float));
            if (f->within[kind])
                memset(f->within[kind], 0, (size_t)d * d * sizeof(float));
            else
                r = err_no_memory(err);
        }
        if (kept && r == ERR_OK)
            learn_add_scatter(f->within[kind], x, kept, d);
    }
    free(room);
    return r;
}

static enum result pass_scatter(struct learn_fit *f, float *x, struct err *err)
{
    uint32_t d = f->shape->dimension;
    enum result r = ERR_OK;
    size_t next = 0;
    memset(f->total, 0, (size_t)d * d * sizeof *f->total);
    for (size_t at = 0; r == ERR_OK && at < f->count; at = next) {
        size_t n = learn_fit_take(f, at, BLOCK, &next);
        size_t same = 1; /* a block holds one kind */
        while (same < n && f->members[at + same].kind == f->members[at].kind)
            same++;
        if (same < n)
            next = at + (n = same);
        r = add_block(f, at, n, x, err);
        if (r == ERR_OK)
            r = learn_fit_progress(f, 0.2 + 0.5 * (double)at / (double)f->count, err);
    }
    for (uint32_t i = 0; r == ERR_OK && i < d; i++)
        for (uint32_t k = i; k < d; k++) {
            double mean = f->sum[i] / (double)f->used * f->sum[k] / (double)f->used;
            f->total[(size_t)i * d + k] = (float)(f->total[(size_t)i * d + k] / (double)f->used - mean);
        }
    return r;
}

/* Both kinds' scatters, each scaled as the head of this file says, into the first of them that there is. */
static float *blend_within(struct learn_fit *f)
{
    size_t d = f->shape->dimension;
    float *out = f->within[LEARN_PICTURE] ? f->within[LEARN_PICTURE] : f->within[LEARN_COPY];
    double weight[LEARN_KINDS] = {(double)f->freedom[LEARN_PICTURE], COPY_WEIGHT * (double)f->freedom[LEARN_COPY]};
    double all = weight[0] + weight[1];
    float factor[LEARN_KINDS] = {0};
    for (int kind = 0; kind < LEARN_KINDS; kind++) {
        double trace = f->within[kind] ? learn_trace(f->within[kind], d) : 0;
        factor[kind] = trace > 0 ? (float)(weight[kind] / all * (double)d / trace) : 0;
    }
    for (size_t i = 0; i < d * d; i++) {
        float a = f->within[LEARN_PICTURE] ? factor[LEARN_PICTURE] * f->within[LEARN_PICTURE][i] : 0;
        float b = f->within[LEARN_COPY] ? factor[LEARN_COPY] * f->within[LEARN_COPY][i] : 0;
        out[i] = a + b;
    }
    return out;
}

/* The principal axes of everything, and the covariance within groups in them. */
static enum result reduce(struct learn_fit *f, struct err *err)
{
    size_t d = f->shape->dimension, m = d < LEARN_REDUCED ? d : LEARN_REDUCED;
    float *half = learn_alloc(m * d, sizeof *half);
    f->m = (uint32_t)m;
    f->basis = learn_alloc(d * m, sizeof *f->basis);
    f->spread = learn_alloc(m, sizeof *f->spread);
    f->covary = learn_alloc(m * m, sizeof *f->covary);
    enum result r = half && f->basis && f->spread && f->covary ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK)
        r = learn_eigen(f->total, d, m, f->spread, f->basis, err);
    if (r == ERR_OK && f->freedom[0] + f->freedom[1]) {
        float *within = blend_within(f);
        learn_mirror(within, d);
        learn_multiply_ta(f->basis, within, m, d, d, half);
        learn_multiply(half, f->basis, m, d, m, f->covary);
    }
    free(half);
    return r;
}

enum result learn_whiten(
    const struct learn_whitening *w, float shrink, uint32_t out, float *matrix, struct err *err)
{
    size_t m = w->m;
    float *white = learn_alloc(m * m, sizeof *white), *half = learn_alloc(m * m, sizeof *half);
    float *spread = learn_alloc(m * m, sizeof *spread), *values = learn_alloc(m, sizeof *values);
    float *axes = learn_alloc(m * out, sizeof *axes);
    enum result r = white && half && spread && values && axes ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK) {
        for (size_t i = 0; i < m; i++)
            for (size_t k = 0; k < m; k++)
                white[i * m + k] = w->vectors[i * m + k] / sqrtf(fmaxf(w->values[k], 0) + shrink);
        learn_multiply(w->total, white, m, m, m, half);
        learn_multiply_ta(white, half, m, m, m, spread);
        r = learn_eigen(spread, m, out, values, axes, err);
    }
    if (r == ERR_OK)
        learn_multiply(white, axes, m, m, out, matrix);
    free(white);
    free(half);
    free(spread);
    free(values);
    free(axes);
    return r;
}

/* The matrix m × out of the final projection. */
static enum result last_step(
    struct learn_fit *f, const struct learn_choice *choice, float *matrix, struct err *err)
{
    size_t m = f->m;
    float *total = calloc(m * m, sizeof *total), *values = learn_alloc(m, sizeof *values);
    float *vectors = learn_alloc(m * m, sizeof *vectors);
    enum result r = total && values && vectors ? ERR_OK : err_no_memory(err);
    for (size_t i = 0; r == ERR_OK && i < m; i++)
        total[i * m + i] = f->spread[i];
    if (r == ERR_OK)
        r = learn_eigen(f->covary, m, m, values, vectors, err);
    struct learn_whitening w = {f->m, values, vectors, total};
    if (r == ERR_OK)
        r = learn_whiten(&w, choice->shrink, choice->out, matrix, err);
    free(total);
    free(values);
    free(vectors);
    return r;
}

/* out × d: (basis · matrix)ᵀ. Without groups the basis itself. */
static enum result make_matrix(struct learn_fit *f, struct learn_choice *choice, float **out, struct err *err)
{
    size_t d = f->shape->dimension, m = f->m;
    float *matrix = learn_alloc(m * choice->out, sizeof *matrix);
    *out = learn_alloc(choice->out * d, sizeof **out);
    enum result r = matrix && *out ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && f->freedom[0] + f->freedom[1] == 0)
        for (size_t i = 0; i < m; i++)
            for (size_t k = 0; k < choice->out; k++)
                matrix[i * choice->out + k] = i == k;
    else if (r == ERR_OK)
        r = last_step(f, choice, matrix, err);
    for (size_t first = 0; r == ERR_OK && first < d; first += BLOCK) { /* column blocks, transposed */
        size_t n = d - first < BLOCK ? d - first : BLOCK;
        float *part = learn_alloc(n * choice->out, sizeof *part);
        if (!part)
            r = err_no_memory(err);
        else
            learn_multiply(f->basis + first * m, matrix, n, m, choice->out, part);
        for (size_t i = 0; r == ERR_OK && i < n; i++)
            for (size_t k = 0; k < choice->out; k++)
                (*out)[k * d + first + i] = part[i * choice->out + k];
        free(part);
    }
    free(matrix);
    return r;
}

static bool has_pairs(const struct learn_fit *f)
{
    for (size_t i = 1; i < f->count; i++)
        if (f->members[i].group == f->members[i - 1].group && f->members[i].kind == f->members[i - 1].kind)
            return true;
    return false;
}

static void fit_free(struct learn_fit *f)
{
    for (int i = 0; i < 2; i++) {
        free(f->mean[i]);
        free(f->within[i]);
    }
    free(f->members);
    free(f->total);
    free(f->sum);
    free(f->basis);
    free(f->spread);
    free(f->covary);
}

static enum result fit_all(struct learn_fit *f, const struct learn_options *options, struct learn_choice *choice,
    float **matrix, struct err *err)
{
    size_t d = f->shape->dimension;
    float *x = learn_alloc(BLOCK * d, sizeof *x);
    f->total = learn_alloc(d * d, sizeof *f->total);
    f->sum = calloc(d, sizeof *f->sum);
    f->mean[0] = learn_alloc(d, sizeof(float));
    f->mean[1] = learn_alloc(d, sizeof(float));
    enum result r = x && f->total && f->sum && f->mean[0] && f->mean[1] ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK)
        r = pass_means(f, x, err);
    if (r == ERR_OK)
        r = pass_scatter(f, x, err);
    free(x);
    if (r == ERR_OK)
        r = reduce(f, err);
    if (r == ERR_OK)
        r = learn_fit_progress(f, 0.8, err);
    if (r == ERR_OK)
        r = learn_choose(f, options, choice, err);
    if (r == ERR_OK)
        r = make_matrix(f, choice, matrix, err);
    return r;
}

enum result learn_fit(const struct learn_shape *shape, const struct learn_set *set,
    const struct learn_options *options, struct learn_projection *out, struct err *err)
{
    struct learn_fit f = {.shape = shape, .set = set, .plain_weight = options->plain_weight};
    struct learn_choice choice = {0};
    float *matrix = NULL;
    enum result r = list_members(&f, err);
    if (r == ERR_OK && f.plain_weight <= 0)
        f.plain_weight = shape->block_count == 1 ? 1 : has_pairs(&f) ? PLAIN_WEIGHT : PLAIN_ALONE;
    if (r == ERR_OK)
        r = fit_all(&f, options, &choice, &matrix, err);
    if (r == ERR_OK) {
        *out = (struct learn_projection){.shape = *shape, .plain_weight = f.plain_weight, .shrink = choice.shrink,
            .out = choice.out, .rows = f.used, .groups = f.groups[0] + f.groups[1], .copies = f.groups[LEARN_COPY],
            .mean = {f.mean[0], f.mean[1]}, .matrix = matrix};
        f.mean[0] = f.mean[1] = matrix = NULL;
    }
    free(matrix);
    fit_free(&f);
    return r;
}
