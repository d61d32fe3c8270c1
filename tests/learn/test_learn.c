/* Learning on made descriptors: items that differ in few directions, pictures of one item in others. */
#include "learn/adapt.h"
#include "learn/learn.h"
#include "learn/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define D 48u
#define ITEMS 40
#define EACH 8
#define N (ITEMS * EACH)

static uint64_t state = 1;

static float noise(void)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sum += (float)(state >> 40) / (float)(1 << 24) - 0.5f;
    }
    return sum;
}

struct rows {
    float x[N][D];
    int64_t group[N];
};

/* The first 8 numbers say which item it is, softly; the next 8 differ between pictures, loudly. */
static struct rows *make_rows(void)
{
    struct rows *rows = calloc(1, sizeof *rows);
    assert_non_null(rows);
    state = 7;
    for (int i = 0; i < ITEMS; i++) {
        float item[8];
        for (int k = 0; k < 8; k++)
            item[k] = noise();
        for (int j = 0; j < EACH; j++) {
            float *x = rows->x[i * EACH + j];
            for (uint32_t k = 0; k < D; k++)
                x[k] = 2 + (k < 8 ? item[k] + 0.05f * noise() : k < 16 ? noise() : 0.05f * noise());
            rows->group[i * EACH + j] = i * 1000;
        }
    }
    return rows;
}

static enum result read_rows(void *user, const size_t *which, size_t n, float *out, struct err *err)
{
    struct rows *rows = user;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * D, rows->x[which[i]], sizeof rows->x[0]);
    return ERR_OK;
}

static const struct learn_shape one_block = {.dimension = D, .block_count = 1, .blocks = {D}};

static double map_of(const struct learn_projection *p, const struct rows *rows)
{
    struct err err = {0};
    struct learn_measure m;
    float *y = calloc((size_t)N * p->out, sizeof *y);
    assert_int_equal(learn_project(p, LEARN_ROW, rows->x[0], N, y, &err), ERR_OK);
    for (uint32_t i = 0; i < N; i++) {
        double length = 0;
        for (uint32_t k = 0; k < p->out; k++)
            length += (double)y[i * p->out + k] * y[i * p->out + k];
        assert_true(fabs(length - 1) < 1e-4);
    }
    assert_int_equal(learn_measure_group(y, rows->group, N, p->out, &m, &err), ERR_OK);
    assert_int_equal(m.queries, N);
    assert_true(m.low[2] <= m.map10 && m.map10 <= m.high[2]);
    free(y);
    return m.map10;
}

static void test_learns(void **unused)
{
    struct rows *rows = make_rows();
    struct learn_projection p = {0}, none = {0};
    struct err err = {0};
    struct learn_set set = {.count = N, .group = rows->group, .read = read_rows, .user = rows};
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){0}, &p, &err), ERR_OK);
    assert_int_equal(p.groups, ITEMS);
    assert_int_equal(p.rows, N);
    int64_t apart[N];
    for (int i = 0; i < N; i++)
        apart[i] = i;
    set.group = apart;
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){0}, &none, &err), ERR_OK);
    assert_int_equal(none.groups, 0);
    double before = map_of(&none, rows), after = map_of(&p, rows);
    print_message("# mAP@10 %.3f without groups, %.3f with\n", before, after);
    assert_true(after > 0.7 && before < after - 0.2);
    learn_projection_free(&p);
    learn_projection_free(&none);
    free(rows);
}

/* One descriptor goes another way through the code than many; both give the same. */
static void test_one_and_many(void **unused)
{
    struct rows *rows = make_rows();
    struct learn_projection p = {0};
    struct err err = {0};
    struct learn_set set = {.count = N, .group = rows->group, .read = read_rows, .user = rows};
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){.out = 16}, &p, &err), ERR_OK);
    assert_int_equal(p.out, 16);
    float many[N * 16], one[16];
    assert_int_equal(learn_project(&p, LEARN_QUERY, rows->x[0], N, many, &err), ERR_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(learn_project(&p, LEARN_QUERY, rows->x[i], 1, one, &err), ERR_OK);
        for (int k = 0; k < 16; k++)
            assert_true(fabsf(one[k] - many[i * 16 + k]) < 1e-4f);
    }
    learn_projection_free(&p);
    free(rows);
}

/* A vector without its inner layers: the same where there are none, and near it where they say little. */
static void test_plain_alone(void **unused)
{
    static const struct learn_shape two_blocks = {.dimension = D, .block_count = 2, .blocks = {D - 16, 16}};
    struct rows *rows = make_rows();
    struct err err = {0};
    struct learn_set set = {.count = N, .group = rows->group, .read = read_rows, .user = rows};
    for (int i = 0; i < 2; i++) {
        struct learn_projection p = {0};
        assert_int_equal(learn_fit(i ? &two_blocks : &one_block, &set, &(struct learn_options){.out = 16}, &p, &err), ERR_OK);
        for (int k = 0; k < N; k += 7) {
            float whole[16], alone[16], dot = 0;
            assert_int_equal(learn_project(&p, LEARN_QUERY, rows->x[k], 1, whole, &err), ERR_OK);
            assert_int_equal(learn_project_plain(&p, LEARN_QUERY, rows->x[k], 1, alone, &err), ERR_OK);
            for (int j = 0; j < 16; j++)
                dot += whole[j] * alone[j];
            assert_true(dot > (i ? 0.8f : 0.9999f));
        }
        learn_projection_free(&p);
    }
    free(rows);
}

/* Copies of one picture teach what groups would, and do not move the mean of pictures. */
static void test_copies(void **unused)
{
    struct rows *rows = make_rows();
    struct learn_projection with = {0}, without = {0};
    struct err err = {0};
    int64_t group[N];
    uint8_t kind[N];
    for (int i = 0; i < N; i++) { /* half of the rows are pictures of nobody knows what, half are copies */
        kind[i] = i % 2 ? LEARN_COPY : LEARN_PICTURE;
        group[i] = i % 2 ? rows->group[i] : i;
    }
    struct learn_set set = {.count = N, .group = group, .kind = kind, .read = read_rows, .user = rows};
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){0}, &with, &err), ERR_OK);
    assert_int_equal(with.groups, ITEMS);
    assert_int_equal(with.copies, ITEMS);
    for (int i = 1; i < N; i += 2)
        group[i] = i;
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){0}, &without, &err), ERR_OK);
    assert_int_equal(without.groups, 0);
    assert_true(map_of(&with, rows) > map_of(&without, rows) + 0.2);
    for (uint32_t k = 0; k < D; k++)
        assert_true(fabsf(with.mean[LEARN_ROW][k] - without.mean[LEARN_ROW][k]) < 1e-6f);
    learn_projection_free(&with);
    learn_projection_free(&without);
    free(rows);
}

static bool stop(void *user, double done)
{
    assert_true(done >= 0 && done <= 1);
    return true;
}

static void test_refusals(void **unused)
{
    struct rows *rows = make_rows();
    struct learn_projection p = {0};
    struct err err = {0};
    struct learn_set set = {.count = LEARN_ROWS_MIN - 1, .group = rows->group, .read = read_rows, .user = rows};
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){0}, &p, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "15"));
    set.count = N;
    set.progress = stop;
    assert_int_equal(learn_fit(&one_block, &set, &(struct learn_options){0}, &p, &err), ERR_UNAVAILABLE);
    assert_null(p.matrix);
    free(rows);
}

static void test_judge(void **unused)
{
    const float score[] = {0.9f, 0.8f, 0.7f, 0.6f};
    const int64_t group[] = {5, 1, 5, 2};
    struct learn_verdict v;
    struct learn_ranking ranking = {score, group, 4, 0, 5};
    assert_int_equal(learn_judge(&ranking, &v), ERR_OK);
    assert_int_equal(v.first, 1); /* itself is left out */
    assert_true(fabsf(v.ap - 0.5f) < 1e-6f);
    ranking.self = 4;
    assert_int_equal(learn_judge(&ranking, &v), ERR_OK);
    assert_true(v.first == 0 && fabsf(v.ap - (1 + 2.0f / 3) / 2) < 1e-6f);
    ranking.wanted = 9;
    assert_int_equal(learn_judge(&ranking, &v), ERR_NOT_FOUND);
}

/* Row 0 is a hub of little score; row 1 is where the queries are not, until they draw it. */
static void test_adapt(void **unused)
{
    enum { Q = 60, R = 3 };
    float queries[Q][3], rows[R][3] = {{0.6f, 0.8f, 0}, {0.8f, 0, 0.6f}, {0, 0, 1}}, hub[R];
    struct err err = {0};
    state = 3;
    for (int i = 0; i < Q; i++) {
        float x[3] = {1 + 0.1f * noise(), 0.1f * noise(), 0.1f * noise()};
        float length = sqrtf(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
        for (int k = 0; k < 3; k++)
            queries[i][k] = x[k] / length;
    }
    struct learn_background b = {queries[0], Q, 3};
    assert_int_equal(learn_hubness(&b, rows[0], R, hub, &err), ERR_OK);
    assert_true(hub[1] > hub[0] && hub[0] > hub[2]);
    bool moved[R];
    float before = rows[1][0];
    struct learn_drawing drawing = {.rows = rows[0], .n = R, .moved = moved, .hubness = hub};
    assert_int_equal(learn_draw(&b, &drawing, &err), ERR_OK);
    assert_true(moved[1] && !moved[0] && !moved[2]);
    assert_true(rows[1][0] > before);
    float again[R];
    assert_int_equal(learn_hubness(&b, rows[0], R, again, &err), ERR_OK);
    for (int i = 0; i < R; i++)
        assert_true(fabsf(again[i] - hub[i]) < 1e-5f);
    bool still[R] = {false, false, false};
    drawing.may_move = still;
    assert_int_equal(learn_draw(&b, &drawing, &err), ERR_OK);
    assert_false(moved[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_learns), cmocka_unit_test(test_one_and_many),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_judge), cmocka_unit_test(test_plain_alone),
        cmocka_unit_test(test_copies), cmocka_unit_test(test_adapt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
