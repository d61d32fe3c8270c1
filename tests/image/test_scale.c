/*
 * Scaling against a slow, plain implementation of the same filter, over random sizes, windows and extents: the same
 * bytes.
 * Run with all the CPU offers, and again without (LOOKALIKE_CPU_MASK).
 */
#include "fixtures.h"

#include "image/scale.h"

#include <math.h>

static uint32_t seed = 1;

static uint32_t next(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static double weight(enum image_filter filter, double x)
{
    x = fabs(x);
    if (filter == IMAGE_FILTER_TRIANGLE)
        return x < 1 ? 1 - x : 0;
    if (x < 1)
        return 1.5 * x * x * x - 2.5 * x * x + 1;
    return x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* A byte of a sum of weighted bytes, the weights rounded to 22 bits behind the point as Pillow does. */
static uint8_t weighed(const struct image_scale *s, double centre, double ratio, uint32_t n, const uint8_t *bytes, size_t step)
{
    double wide = ratio > 1 ? ratio : 1, sum = 0;
    int64_t total = 1 << 21;
    for (uint32_t i = 0; i < n; i++)
        sum += weight(s->filter, (i + 0.5 - centre) / wide);
    for (uint32_t i = 0; i < n; i++)
        total += llround(weight(s->filter, (i + 0.5 - centre) / wide) / sum * (1 << 22)) * bytes[i * step];
    total >>= 22;
    return (uint8_t)(total < 0 ? 0 : total > 255 ? 255 : total);
}

/* One pixel of the result by the definition: across, rounded to bytes, then down. */
static void by_definition(const struct image_scale *s, uint32_t x, uint32_t y, uint8_t *rgb)
{
    double rx = s->extent_x / s->whole_width, ry = s->extent_y / s->whole_height;
    double cx = (s->left + x + 0.5) * rx, cy = (s->top + y + 0.5) * ry;
    uint8_t column[90];
    for (size_t c = 0; c < 3; c++) {
        for (uint32_t j = 0; j < s->from_height; j++)
            column[j] = weighed(s, cx, rx, s->from_width, s->from + (size_t)j * s->from_width * 3 + c, 3);
        rgb[c] = weighed(s, cy, ry, s->from_height, column, 1);
    }
}

static void compare(const struct image_scale *s)
{
    size_t n = (size_t)s->width * s->height * 3;
    uint8_t *got = malloc(n); /* exactly: a write behind it is seen by the sanitizer */
    assert_non_null(got);
    assert_int_equal(image_scale(s, got), ERR_OK);
    for (int i = 0; i < 40; i++) {
        uint32_t x = i == 0 ? 0 : i == 1 ? s->width - 1 : next(s->width);
        uint32_t y = i == 0 ? 0 : i == 1 ? s->height - 1 : next(s->height);
        uint8_t want[3];
        by_definition(s, x, y, want);
        for (int c = 0; c < 3; c++) {
            int is = got[((size_t)y * s->width + x) * 3 + (size_t)c];
            if (is != want[c])
                fail_msg("%u × %u → window %u,%u of %u × %u at %u,%u: %d instead of %d", s->from_width,
                    s->from_height, x, y, s->whole_width, s->whole_height, s->left, s->top, is, want[c]);
        }
    }
    free(got);
}

static void random_sizes_agree_with_the_definition(void **state)
{
    for (int round = 0; round < 150; round++) {
        uint32_t w = 1 + next(90), h = 1 + next(90);
        uint8_t *from = malloc((size_t)w * h * 3);
        assert_non_null(from);
        for (size_t i = 0; i < (size_t)w * h * 3; i++)
            from[i] = (uint8_t)next(256);
        struct image_scale s = {.from = from,
            .from_width = w,
            .from_height = h,
            .whole_width = 1 + next(120),
            .whole_height = 1 + next(120),
            .filter = round % 2 ? IMAGE_FILTER_CUBIC : IMAGE_FILTER_TRIANGLE};
        s.extent_x = w - (round % 3 == 0 && w > 1 ? 0.75 : round % 3 == 1 ? -0.25 : 0);
        s.extent_y = h - (round % 5 == 0 && h > 1 ? 0.25 : 0);
        s.left = next(s.whole_width);
        s.top = next(s.whole_height);
        s.width = 1 + next(s.whole_width - s.left);
        s.height = 1 + next(s.whole_height - s.top);
        compare(&s);
        free(from);
    }
}

static void same_size_is_the_same_picture(void **state)
{
    uint8_t from[7 * 5 * 3], to[7 * 5 * 3];
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)next(256);
    for (int filter = IMAGE_FILTER_TRIANGLE; filter <= IMAGE_FILTER_CUBIC; filter++) {
        struct image_scale s = {.from = from,
            .from_width = 7,
            .from_height = 5,
            .extent_x = 7,
            .extent_y = 5,
            .whole_width = 7,
            .whole_height = 5,
            .width = 7,
            .height = 5,
            .filter = (enum image_filter)filter};
        assert_int_equal(image_scale(&s, to), ERR_OK);
        assert_memory_equal(from, to, sizeof(from));
    }
}

/* White stays white, also at the borders and where the filter overshoots. */
static void white_stays_white(void **state)
{
    static uint8_t from[50 * 40 * 3], to[33 * 21 * 3];
    memset(from, 255, sizeof(from));
    struct image_scale s = {.from = from,
        .from_width = 50,
        .from_height = 40,
        .extent_x = 50,
        .extent_y = 40,
        .whole_width = 33,
        .whole_height = 21,
        .width = 33,
        .height = 21,
        .filter = IMAGE_FILTER_CUBIC};
    assert_int_equal(image_scale(&s, to), ERR_OK);
    for (size_t i = 0; i < sizeof(to); i++)
        assert_int_equal(to[i], 255);
}

/* A window in a picture that is nominally 67 million pixels wide. */
static void window_of_the_largest_scale(void **state)
{
    uint32_t n = LIMIT_PICTURE_SIDE, side = 16;
    uint8_t *from = malloc((size_t)n * 3), *to = malloc((size_t)side * side * 3);
    assert_non_null(from);
    assert_non_null(to);
    for (uint32_t i = 0; i < n * 3; i++)
        from[i] = (uint8_t)(i / 3 / 129);
    struct image_scale s = {.from = from,
        .from_width = n,
        .from_height = 1,
        .extent_x = n,
        .extent_y = 1,
        .whole_width = n * LIMIT_MODEL_SIDE,
        .whole_height = LIMIT_MODEL_SIDE,
        .left = n / 2 * LIMIT_MODEL_SIDE,
        .top = 100,
        .width = side,
        .height = side,
        .filter = IMAGE_FILTER_CUBIC};
    assert_int_equal(image_scale(&s, to), ERR_OK);
    for (uint32_t i = 0; i < side * side * 3; i++)
        assert_int_equal(to[i], n / 2 / 129);
    free(from);
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sizes_agree_with_the_definition),
        cmocka_unit_test(same_size_is_the_same_picture),
        cmocka_unit_test(white_stays_white),
        cmocka_unit_test(window_of_the_largest_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
