/* Masks: from scores to a mask, a box, a picture without its background; and pixels refitted as a decoder would. */
#include "image/image.h"
#include "image/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SIDE 100

static uint8_t mask[SIDE * SIDE];

static void paint_mask(uint32_t left, uint32_t top, uint32_t width, uint32_t height)
{
    memset(mask, 0, sizeof mask);
    for (uint32_t y = top; y < top + height; y++)
        memset(mask + (size_t)y * SIDE + left, 255, width);
}

static void test_scores(void **state)
{
    const float scores[] = {-1, 0, 3, 1}, same[] = {2, 2, 2, 2};
    uint8_t out[4];
    image_mask_of_scores(scores, 4, out);
    assert_int_equal(out[0], 0);
    assert_int_equal(out[1], 63);
    assert_int_equal(out[2], 255);
    assert_int_equal(out[3], 127);
    image_mask_of_scores(same, 4, out);
    for (int i = 0; i < 4; i++)
        assert_int_equal(out[i], 0);
}

static void test_range(void **state)
{
    uint8_t dark[] = {0, 50, 100}, full[] = {0, 50, 255}, black[] = {0, 0, 0};
    image_stretch_range(dark, 3);
    assert_int_equal(dark[1], 128);
    assert_int_equal(dark[2], 255);
    image_stretch_range(full, 3);
    assert_int_equal(full[1], 50);
    image_stretch_range(black, 3);
    assert_int_equal(black[2], 0);
}

static void test_box(void **state)
{
    const struct image_box all = {0, 0, SIDE, SIDE}, part = {10, 0, 80, SIDE};
    struct image_box box;
    paint_mask(40, 30, 20, 40); /* 40 high: 46 with its margins, a square around the middle */
    assert_true(image_mask_box(mask, SIDE, &all, &box));
    assert_int_equal(box.width, 46);
    assert_int_equal(box.height, 46);
    assert_int_equal(box.left, 27);
    assert_int_equal(box.top, 27);
    paint_mask(0, 0, 20, 20); /* in a corner: the square stays inside */
    assert_true(image_mask_box(mask, SIDE, &all, &box));
    assert_int_equal(box.left, 0);
    assert_int_equal(box.top, 0);
    assert_int_equal(box.width, 24);
    paint_mask(10, 10, 79, 20); /* wider than the content allows for a margin */
    assert_true(image_mask_box(mask, SIDE, &part, &box));
    assert_int_equal(box.left, 10);
    assert_int_equal(box.width, 80);
    assert_true(box.top + box.height <= SIDE);
}

static void test_box_falls_back(void **state)
{
    const struct image_box content = {10, 20, 80, 60};
    struct image_box box;
    static const uint32_t cases[][4] = {{0, 0, 0, 0}, {50, 50, 4, 4}, {10, 20, 80, 58}, {0, 0, 10, SIDE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) { /* empty, tiny, nearly all, outside of the picture */
        paint_mask(cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
        assert_false(image_mask_box(mask, SIDE, &content, &box));
        assert_memory_equal(&box, &content, sizeof box);
    }
}

static void test_apply(void **state)
{
    uint8_t pixels[9] = {10, 20, 30, 10, 20, 30, 100, 200, 50}, white[9];
    const uint8_t soft[3] = {255, 0, 128};
    memcpy(white, pixels, sizeof white);
    image_mask_apply(pixels, 3, soft, 0);
    const uint8_t on_black[9] = {10, 20, 30, 0, 0, 0, 50, 100, 25};
    assert_memory_equal(pixels, on_black, 9);
    image_mask_apply(white, 3, soft, 255);
    const uint8_t on_white[9] = {10, 20, 30, 255, 255, 255, 177, 227, 152};
    assert_memory_equal(white, on_white, 9);
}

static void test_mask_scale(void **state)
{
    uint8_t *larger = malloc(4 * sizeof mask);
    paint_mask(0, 0, SIDE / 2, SIDE);
    assert_int_equal(image_mask_scale(mask, SIDE, SIDE, 2 * SIDE, 2 * SIDE, larger), ERR_OK);
    assert_int_equal(larger[10], 255);
    assert_int_equal(larger[2 * SIDE - 10], 0);
    free(larger);
}

/* A part of one colour stays that colour, and what is beside it does not come in; padding has the colour of the mode. */
static void test_refit(void **state)
{
    uint8_t *pixels = malloc((size_t)SIDE * SIDE * 3), to[20 * 20 * 3];
    struct image_pixels from = {pixels, SIDE, SIDE};
    const struct image_box part = {30, 10, 40, 20};
    memset(pixels, 255, (size_t)SIDE * SIDE * 3);
    for (uint32_t y = part.top; y < part.top + part.height; y++)
        memset(pixels + ((size_t)y * SIDE + part.left) * 3, 77, part.width * 3);
    struct image_want want = {.width = 20, .height = 20, .resize = IMAGE_SHORT_SIDE_CROP};
    assert_int_equal(image_refit(&from, &part, &want, to), ERR_OK);
    for (size_t i = 0; i < sizeof to; i++)
        assert_int_equal(to[i], 77);
    want.resize = IMAGE_FIT_BLACK;
    assert_int_equal(image_refit(&from, &part, &want, to), ERR_OK);
    assert_int_equal(to[0], 0);
    assert_int_equal(to[(10 * 20 + 10) * 3], 77);
    assert_int_equal(to[sizeof to - 1], 0);
    want.resize = IMAGE_FIT_WHITE;
    assert_int_equal(image_refit(&from, &part, &want, to), ERR_OK);
    assert_int_equal(to[0], 255);
    free(pixels);
}

static void test_short_side(void **state)
{
    uint8_t *pixels = malloc((size_t)SIDE * SIDE * 3), to[40 * 40 * 3];
    struct image_pixels from = {pixels, SIDE, SIDE};
    const struct image_box all = {0, 0, SIDE, SIDE};
    for (size_t i = 0; i < (size_t)SIDE * SIDE * 3; i++)
        pixels[i] = (uint8_t)(i / 3 % SIDE * 2); /* grows by two from left to right */
    struct image_want want = {.width = 40, .height = 40, .resize = IMAGE_SHORT_SIDE_CROP, .short_side = 50};
    assert_int_equal(image_refit(&from, &all, &want, to), ERR_OK);
    assert_in_range(to[0], 19, 23); /* a tenth is cut off on each side: column 10 or 11 of 100 */
    assert_in_range(to[39 * 3], 176, 180);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_box),
        cmocka_unit_test(test_box_falls_back),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_mask_scale),
        cmocka_unit_test(test_refit),
        cmocka_unit_test(test_short_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
