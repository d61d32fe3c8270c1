/*
 * Average precision at 10 is Σ precision at each right hit within the first ten, divided by how many there could be:
 * the smaller of 10 and the number of right ones.
 *
 * The intervals come from a bootstrap over groups, not over queries: thirty photos of one product are one piece of
 * evidence about products, not thirty (Sakai, "Laboratory experiments in information retrieval", chapter 4).
 */
#include "learn/measure.h"

#include "learn/algebra.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 10
#define ROUNDS 1000
#define BATCH 256u

enum result learn_judge(const struct learn_ranking *r, struct learn_verdict *out)
{
    size_t top[DEPTH], count = 0, right = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (i == r->self)
            continue;
        right += r->group[i] == r->wanted;
        if (count == DEPTH && r->score[i] <= r->score[top[DEPTH - 1]])
            continue;
        size_t at = count < DEPTH ? count++ : DEPTH - 1;
        for (; at > 0 && r->score[top[at - 1]] < r->score[i]; at--)
            top[at] = top[at - 1];
        top[at] = i;
    }
    if (right == 0)
        return ERR_NOT_FOUND;
    *out = (struct learn_verdict){.group = r->wanted, .first = UINT32_MAX};
    double sum = 0;
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        if (r->group[top[i]] == r->wanted) {
            if (found++ == 0)
                out->first = (uint32_t)i;
            sum += (double)found / (double)(i + 1);
        }
    out->ap = (float)(sum / (double)(right < DEPTH ? right : DEPTH));
    return ERR_OK;
}

struct tally {
    double value[3];
    size_t n;
};

static int compare_verdicts(const void *x, const void *y)
{
    const struct learn_verdict *a = x, *b = y;
    return (a->group > b->group) - (a->group < b->group);
}

static int compare_doubles(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void add(struct tally *to, const struct tally *from)
{
    for (int k = 0; k < 3; k++)
        to->value[k] += from->value[k];
    to->n += from->n;
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void bootstrap(const struct tally *groups, size_t n, double (*rounds)[ROUNDS], struct learn_measure *out)
{
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < ROUNDS; i++) {
        struct tally drawn = {0};
        for (size_t k = 0; k < n; k++)
            add(&drawn, &groups[next(&state) % n]);
        for (int k = 0; k < 3; k++)
            rounds[k][i] = drawn.value[k] / (double)drawn.n;
    }
    for (int k = 0; k < 3; k++) {
        qsort(rounds[k], ROUNDS, sizeof rounds[k][0], compare_doubles);
        out->low[k] = rounds[k][ROUNDS / 40];
        out->high[k] = rounds[k][ROUNDS - 1 - ROUNDS / 40];
    }
}

enum result learn_summarise(
    const struct learn_verdict *verdicts, size_t n, struct learn_measure *out, struct err *err)
{
    struct learn_measure made = {.queries = n};
    struct learn_verdict *sorted = learn_alloc(n, sizeof *sorted);
    struct tally *groups = calloc(n + 1, sizeof *groups), all = {0};
    double (*rounds)[ROUNDS] = malloc(3 * sizeof *rounds);
    size_t count = 0;
    enum result r = sorted && groups && rounds ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && n > 0) {
        memcpy(sorted, verdicts, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, compare_verdicts);
        for (size_t i = 0; i < n; i++) {
            count += i == 0 || sorted[i].group != sorted[i - 1].group;
            struct tally one = {{sorted[i].first == 0, sorted[i].first < 5, (double)sorted[i].ap}, 1};
            add(&groups[count - 1], &one);
            add(&all, &one);
        }
        made.r1 = all.value[0] / (double)n;
        made.r5 = all.value[1] / (double)n;
        made.map10 = all.value[2] / (double)n;
        bootstrap(groups, count, rounds, &made);
    }
    if (r == ERR_OK)
        *out = made;
    free(sorted);
    free(groups);
    free(rounds);
    return r;
}

enum result learn_measure_group(
    const float *x, const int64_t *group, size_t n, size_t d, struct learn_measure *out, struct err *err)
{
    float *score = learn_alloc(BATCH * n, sizeof *score);
    struct learn_verdict *verdicts = learn_alloc(n, sizeof *verdicts);
    size_t count = 0;
    enum result r = score && verdicts ? ERR_OK : err_no_memory(err);
    for (size_t at = 0; r == ERR_OK && at < n; at += BATCH) {
        size_t step = n - at < BATCH ? n - at : BATCH;
        learn_multiply_t(x + at * d, x, step, d, n, score);
        for (size_t i = 0; i < step; i++) {
            struct learn_ranking ranking = {score + i * n, group, n, at + i, group[at + i]};
            if (learn_judge(&ranking, &verdicts[count]) == ERR_OK)
                count++;
        }
    }
    if (r == ERR_OK)
        r = learn_summarise(verdicts, count, out, err);
    free(score);
    free(verdicts);
    return r;
}
