/*
 * Shrinkage and dimension, by cross-validation over groups: what was learned from some groups must order the pictures
 * of others, which nothing was learned from, better.
 *
 * The measure is the average precision at 10 of each picture of a group held out among all pictures held out. It is
 * smoother than R@1, so fewer groups are needed to see a difference. The default stays unless another is better by
 * more than its standard error over the folds: with few groups the differences are noise, and the default was found on
 * real products (docs/internals/learn.md).
 */
#include "learn/fit.h"

#include "learn/algebra.h"
#include "learn/measure.h"
#include "learn/space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOLDS 4
#define SAMPLE 3072u    /* pictures of groups that take part */
#define LOAD 512u
#define GROUPS_MIN 12   /* with fewer the defaults hold */
#define SHRINK_DEFAULT 2.0f

static const float shrinks[] = {0.5f, SHRINK_DEFAULT, 8};
static const uint32_t outs[] = {128, 256, LEARN_OUT_MAX};
#define SHRINKS (sizeof shrinks / sizeof shrinks[0])
#define OUTS (sizeof outs / sizeof outs[0])

struct sample {
    size_t n;
    float *z;       /* n × m: in the basis of the fit */
    int64_t *group; /* of each */
    uint8_t *fold;
};

struct fold {
    float *z;       /* the held-out or the learning rows of this fold */
    int64_t *group;
    size_t n;
};

static void sample_free(struct sample *s)
{
    free(s->z);
    free(s->group);
    free(s->fold);
}

/* Groups of the first kind that there is, evenly over all, up to SAMPLE pictures. */
static enum result take_sample(struct learn_fit *f, struct sample *s, struct err *err)
{
    size_t d = f->shape->dimension, m = f->m, next = 0, group_number = 0;
    uint8_t kind = f->groups[LEARN_PICTURE] >= GROUPS_MIN ? LEARN_PICTURE : LEARN_COPY;
    size_t pictures = f->freedom[kind] + f->groups[kind], stride = pictures / SAMPLE + 1;
    float *x = learn_alloc(LOAD * d, sizeof *x);
    s->z = learn_alloc((SAMPLE + LOAD) * m, sizeof *s->z);
    s->group = learn_alloc(SAMPLE + LOAD, sizeof *s->group);
    s->fold = learn_alloc(SAMPLE + LOAD, sizeof *s->fold);
    enum result r = x && s->z && s->group && s->fold ? ERR_OK : err_no_memory(err);
    for (size_t at = 0; r == ERR_OK && at < f->count && s->n < SAMPLE; at = next) {
        size_t n = learn_fit_take(f, at, 1, &next); /* one group */
        n = next - at < LOAD ? next - at : LOAD;
        if (n < 2 || f->members[at].kind != kind || group_number++ % stride != 0)
            continue;
        r = learn_fit_load(f, at, n, x, err);
        if (r == ERR_OK)
            learn_multiply(x, f->basis, n, d, m, s->z + s->n * m);
        for (size_t i = 0; r == ERR_OK && i < n; i++, s->n++) {
            s->group[s->n] = f->members[at].group;
            s->fold[s->n] = (uint8_t)(group_number / stride % FOLDS);
        }
    }
    free(x);
    return r;
}

static enum result split(const struct sample *s, size_t m, unsigned fold, bool held_out, struct fold *out)
{
    out->z = learn_alloc(s->n * m, sizeof *out->z);
    out->group = learn_alloc(s->n, sizeof *out->group);
    if (!out->z || !out->group)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < s->n; i++)
        if ((s->fold[i] == fold) == held_out) {
            memcpy(out->z + out->n * m, s->z + i * m, m * sizeof *out->z);
            out->group[out->n++] = s->group[i];
        }
    return ERR_OK;
}

static void fold_free(struct fold *f)
{
    free(f->z);
    free(f->group);
}

/* Covariances of the learning rows: of everything, and within groups (mean eigenvalue over all d of 1). */
static enum result covariances(
    const struct learn_fit *f, const struct fold *rows, float *total, float *within, struct err *err)
{
    size_t m = f->m, d = f->shape->dimension;
    float *x = learn_alloc(rows->n * m, sizeof *x);
    double *sum = calloc(m, sizeof *sum);
    if (!x || !sum) {
        free(x);
        free(sum);
        return err_no_memory(err);
    }
    memset(total, 0, m * m * sizeof *total);
    memset(within, 0, m * m * sizeof *within);
    for (size_t first = 0, end; first < rows->n; first = end) {
        for (end = first + 1; end < rows->n && rows->group[end] == rows->group[first];)
            end++;
        for (size_t k = 0; k < m; k++) {
            double mean = 0;
            for (size_t i = first; i < end; i++)
                mean += rows->z[i * m + k];
            sum[k] += mean;
            mean /= (double)(end - first);
            for (size_t i = first; i < end; i++)
                x[i * m + k] = rows->z[i * m + k] - (float)mean;
        }
    }
    learn_add_scatter(total, rows->z, rows->n, m);
    learn_add_scatter(within, x, rows->n, m);
    double n = (double)rows->n, trace = learn_trace(within, m), kept = learn_trace(f->covary, m);
    /* The basis keeps `kept` of the d that the trace of the whole would be. */
    double scale = trace > 0 ? fmin(kept, (double)d) / trace : 0;
    for (size_t i = 0; i < m; i++)
        for (size_t k = i; k < m; k++) {
            total[i * m + k] = (float)(total[i * m + k] / n - sum[i] / n * (sum[k] / n));
            within[i * m + k] = (float)(within[i * m + k] * scale);
        }
    learn_mirror(total, m);
    learn_mirror(within, m);
    free(x);
    free(sum);
    return ERR_OK;
}

/* How well `matrix` (m × out), cut to `cut` columns, orders the rows held out. */
static enum result judge(
    const struct fold *held, const float *matrix, size_t m, size_t out, size_t cut, double *map, struct err *err)
{
    float *y = learn_alloc(held->n * out, sizeof *y);
    struct learn_measure measured;
    if (!y)
        return err_no_memory(err);
    learn_multiply(held->z, matrix, held->n, m, out, y);
    for (size_t i = 0; i < held->n; i++)
        memmove(y + i * cut, y + i * out, cut * sizeof *y); /* forward only: cut ≤ out */
    for (size_t i = 0; i < held->n; i++)
        learn_unit(y + i * cut, cut);
    enum result r = learn_measure_group(y, held->group, held->n, cut, &measured, err);
    if (r == ERR_OK)
        *map = measured.map10;
    free(y);
    return r;
}

struct table {
    double map[SHRINKS][OUTS][FOLDS];
    uint32_t out[OUTS]; /* 0: not possible */
};

static enum result try_fold(struct learn_fit *f, const struct sample *s, unsigned fold, struct table *t, struct err *err)
{
    size_t m = f->m, most = 0;
    struct fold rows = {0}, held = {0};
    float *total = learn_alloc(m * m, sizeof *total), *within = learn_alloc(m * m, sizeof *within);
    float *values = learn_alloc(m, sizeof *values), *vectors = learn_alloc(m * m, sizeof *vectors);
    float *matrix = learn_alloc(m * m, sizeof *matrix);
    enum result r = total && within && values && vectors && matrix ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && (split(s, m, fold, false, &rows) || split(s, m, fold, true, &held)))
        r = err_no_memory(err);
    if (r == ERR_OK)
        r = covariances(f, &rows, total, within, err);
    if (r == ERR_OK)
        r = learn_eigen(within, m, m, values, vectors, err);
    for (size_t i = 0; i < OUTS; i++)
        most = t->out[i] > most ? t->out[i] : most;
    struct learn_whitening w = {f->m, values, vectors, total};
    for (size_t a = 0; r == ERR_OK && a < SHRINKS; a++) {
        r = learn_whiten(&w, shrinks[a], (uint32_t)most, matrix, err);
        for (size_t b = 0; r == ERR_OK && b < OUTS; b++)
            if (t->out[b])
                r = judge(&held, matrix, m, most, t->out[b], &t->map[a][b][fold], err);
    }
    fold_free(&rows);
    fold_free(&held);
    free(total);
    free(within);
    free(values);
    free(vectors);
    free(matrix);
    return r;
}

/* Mean of x − y over the folds, and the standard error of that mean. */
static double gain(const double *x, const double *y, double *error)
{
    double mean = 0, square = 0;
    for (int i = 0; i < FOLDS; i++)
        mean += (x[i] - y[i]) / FOLDS;
    for (int i = 0; i < FOLDS; i++)
        square += (x[i] - y[i] - mean) * (x[i] - y[i] - mean);
    *error = sqrt(square / (FOLDS - 1) / FOLDS);
    return mean;
}

/* The best that beats the default by more than its error; see the head of this file. */
static void decide(const struct table *t, struct learn_choice *out)
{
    size_t base_out = 0, best_shrink = 1, best_out;
    double best = 0, error;
    for (size_t b = 0; b < OUTS; b++)
        if (t->out[b])
            base_out = b; /* the largest possible */
    best_out = base_out;
    for (size_t a = 0; a < SHRINKS; a++)
        for (size_t b = 0; b < OUTS; b++) {
            if (!t->out[b])
                continue;
            double more = gain(t->map[a][b], t->map[1][base_out], &error);
            if (more > error && more > best) {
                best = more;
                best_shrink = a;
                best_out = b;
            }
        }
    out->shrink = shrinks[best_shrink];
    out->out = t->out[best_out];
}

enum result learn_choose(
    struct learn_fit *f, const struct learn_options *options, struct learn_choice *out, struct err *err)
{
    struct sample sample = {0};
    struct table *table = calloc(1, sizeof *table);
    enum result r = table ? ERR_OK : err_no_memory(err);
    uint32_t most = f->m < LEARN_OUT_MAX ? f->m : LEARN_OUT_MAX;
    bool wanted = options->shrink <= 0 || options->out == 0;
    size_t groups = f->groups[0] > f->groups[1] ? f->groups[0] : f->groups[1];
    *out = (struct learn_choice){SHRINK_DEFAULT, most};
    if (r == ERR_OK && wanted && groups >= GROUPS_MIN) {
        for (size_t b = 0; b < OUTS; b++)
            table->out[b] = b == OUTS - 1 ? most : outs[b] < most ? outs[b] : 0;
        r = take_sample(f, &sample, err);
        for (unsigned fold = 0; r == ERR_OK && fold < FOLDS; fold++) {
            r = try_fold(f, &sample, fold, table, err);
            if (r == ERR_OK)
                r = learn_fit_progress(f, 0.8 + 0.15 * (fold + 1) / FOLDS, err);
        }
        if (r == ERR_OK)
            decide(table, out);
    }
    if (options->shrink > 0)
        out->shrink = options->shrink;
    if (options->out)
        out->out = options->out < most ? options->out : most;
    sample_free(&sample);
    free(table);
    return r;
}
