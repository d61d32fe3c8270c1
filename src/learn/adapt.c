/*
 * One pass over the rows in blocks: scores against all queries, r(g), and for each query the best row so far. Only rows
 * that are some query's best move, so what is left to do afterwards is bounded by the number of queries.
 *
 * Rejected: giving a query to several rows by weights (Sinkhorn), which needs all scores at once; drawing rows
 * repeatedly (three rounds were 1 to 3 points worse than one); moving the query instead of the row (worse than
 * nothing).
 */
#include "learn/adapt.h"

#include "learn/algebra.h"
#include "learn/space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 256u
#define TAKERS_MIN 3u /* queries without which a row stays where it is */

struct given {
    size_t row;
    float score;
    size_t query;
};

static float mean_of_best(const float *score, size_t n)
{
    float best[LEARN_NEAREST];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (count == LEARN_NEAREST && score[i] <= best[LEARN_NEAREST - 1])
            continue;
        size_t at = count < LEARN_NEAREST ? count++ : LEARN_NEAREST - 1;
        for (; at > 0 && best[at - 1] < score[i]; at--)
            best[at] = best[at - 1];
        best[at] = score[i];
    }
    float sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += best[i];
    return count ? sum / (float)count : 0;
}

/* `given` NULL: r(g) alone. */
static enum result pass(const struct learn_background *b, const float *rows, size_t n, float weight, float *r,
    struct given *given, struct err *err)
{
    float *score = learn_alloc(BLOCK * b->n, sizeof *score);
    if (!score)
        return err_no_memory(err);
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t step = n - at < BLOCK ? n - at : BLOCK;
        learn_multiply_t(rows + at * b->d, b->queries, step, b->d, b->n, score);
        for (size_t i = 0; i < step; i++) {
            const float *of_row = score + i * b->n;
            r[at + i] = mean_of_best(of_row, b->n);
            for (size_t k = 0; given && k < b->n; k++) {
                float normalised = 2 * of_row[k] - weight * r[at + i];
                if (normalised > given[k].score)
                    given[k] = (struct given){at + i, normalised, k};
            }
        }
    }
    free(score);
    return ERR_OK;
}

enum result learn_hubness(const struct learn_background *b, const float *rows, size_t n, float *r, struct err *err)
{
    return pass(b, rows, n, 0, r, NULL, err);
}

static int compare_given(const void *x, const void *y)
{
    const struct given *a = x, *b = y;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return (a->query > b->query) - (a->query < b->query);
}

/* Half way to the mean of the first `n` of `given`, all of one row. `room`: d floats. */
static void move(const struct learn_background *b, const struct given *given, size_t n, float *row, float *room)
{
    memset(room, 0, b->d * sizeof *room);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < b->d; k++)
            room[k] += b->queries[given[i].query * b->d + k];
    learn_unit(room, b->d);
    for (uint32_t k = 0; k < b->d; k++)
        row[k] = 0.5f * row[k] + 0.5f * room[k];
    learn_unit(row, b->d);
}

enum result learn_draw(const struct learn_background *b, struct learn_drawing *io, struct err *err)
{
    struct given *given = learn_alloc(b->n, sizeof *given);
    float *room = learn_alloc(b->d, sizeof *room);
    enum result r = given && room ? ERR_OK : err_no_memory(err);
    for (size_t k = 0; r == ERR_OK && k < b->n; k++)
        given[k] = (struct given){SIZE_MAX, -INFINITY, k};
    if (r == ERR_OK)
        r = pass(b, io->rows, io->n, io->weight, io->hubness, given, err);
    if (r == ERR_OK)
        qsort(given, b->n, sizeof *given, compare_given);
    for (size_t i = 0; io->moved && i < io->n; i++)
        io->moved[i] = false;
    for (size_t at = 0, end; r == ERR_OK && at < b->n && given[at].row != SIZE_MAX; at = end) {
        size_t row = given[at].row;
        for (end = at + 1; end < b->n && given[end].row == row;)
            end++;
        if (end - at < TAKERS_MIN || (io->may_move && !io->may_move[row]))
            continue;
        float *moving = io->rows + row * b->d;
        move(b, given + at, end - at < LEARN_DRAWN ? end - at : LEARN_DRAWN, moving, room);
        if (io->moved)
            io->moved[row] = true;
        r = pass(b, moving, 1, 0, &io->hubness[row], NULL, err);
    }
    free(given);
    free(room);
    return r;
}
