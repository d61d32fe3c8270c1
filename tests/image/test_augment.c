/* Changed copies: what they are made of, that they differ, and that no change reads beside the picture. */
#include "image/augment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define W 37
#define H 23

static const struct image_change nothing = {.corner = {0, 0, 1, 0, 1, 1, 0, 1}, .gain = {1, 1, 1}, .contrast = 1};

static void fill(uint8_t *pixels)
{
    for (int i = 0; i < W * H * 3; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 11);
}

static void test_no_change(void **unused)
{
    uint8_t from[W * H * 3], to[W * H * 3];
    struct err err = {0};
    fill(from);
    assert_int_equal(image_augment(from, W, H, &nothing, to, &err), ERR_OK);
    for (int i = 0; i < W * H * 3; i++)
        assert_true(abs(from[i] - to[i]) <= 1);
}

static void test_mirror_and_light(void **unused)
{
    uint8_t from[W * H * 3], to[W * H * 3];
    struct image_change change = nothing;
    const float mirrored[8] = {1, 0, 0, 0, 0, 1, 1, 1};
    struct err err = {0};
    fill(from);
    memcpy(change.corner, mirrored, sizeof mirrored);
    assert_int_equal(image_augment(from, W, H, &change, to, &err), ERR_OK);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            assert_true(abs(from[(y * W + x) * 3] - to[(y * W + W - 1 - x) * 3]) <= 1);
    change = nothing;
    change.gain[1] = 0;
    assert_int_equal(image_augment(from, W, H, &change, to, &err), ERR_OK);
    for (int i = 0; i < W * H; i++)
        assert_true(to[i * 3 + 1] == 0 && abs(to[i * 3] - from[i * 3]) <= 1);
    memset(from, 255, sizeof from);
    change.gain[0] = 9; /* over white is white */
    change.blur = 3;
    assert_int_equal(image_augment(from, W, H, &change, to, &err), ERR_OK);
    for (int i = 0; i < W * H; i++)
        assert_true(to[i * 3] == 255);
}

static void test_drawn(void **unused)
{
    uint64_t random = 1, again = 1;
    uint8_t from[W * H * 3], to[W * H * 3];
    struct err err = {0};
    int mirrored = 0, blurred = 0;
    fill(from);
    for (int i = 0; i < 500; i++) {
        struct image_change a, b;
        image_change_draw(&random, &a);
        image_change_draw(&again, &b);
        assert_memory_equal(&a, &b, sizeof a);
        for (int k = 0; k < 8; k++)
            assert_true(a.corner[k] > -0.5f && a.corner[k] < 1.5f);
        mirrored += a.corner[0] > a.corner[2];
        blurred += a.blur > 0;
        assert_int_equal(image_augment(from, W, H, &a, to, &err), ERR_OK); /* under AddressSanitizer: nothing beside */
        assert_memory_not_equal(from, to, sizeof to);
        uint8_t one[3] = {9, 99, 199}, out[3];
        assert_int_equal(image_augment(one, 1, 1, &a, out, &err), ERR_OK);
    }
    assert_in_range(mirrored, 150, 350);
    assert_in_range(blurred, 50, 350);
}

static void test_on_a_line(void **unused)
{
    uint8_t from[W * H * 3], to[W * H * 3];
    struct image_change change = nothing;
    struct err err = {0};
    memset(change.corner, 0, sizeof change.corner);
    fill(from);
    assert_int_equal(image_augment(from, W, H, &change, to, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "line"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_change), cmocka_unit_test(test_mirror_and_light),
        cmocka_unit_test(test_drawn), cmocka_unit_test(test_on_a_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
