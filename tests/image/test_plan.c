/* Sizes, windows and shrink factors: arithmetic only. */
#include "fixtures.h"

#include "image/plan.h"

static struct image_plan plan_of(uint32_t w, uint32_t h, int orientation, struct image_want want)
{
    struct image_plan plan;
    image_plan_make(w, h, orientation, &want, &plan);
    return plan;
}

static void short_side_and_centre(void **state)
{
    struct image_want want = {.width = 260, .height = 260};
    struct image_plan plan = plan_of(400, 533, 1, want);
    assert_int_equal(plan.scaled_width, 260);
    assert_int_equal(plan.scaled_height, 346); /* 346.45 */
    assert_int_equal(plan.left, 0);
    assert_int_equal(plan.top, 43);
    plan = plan_of(533, 401, 1, want);
    assert_int_equal(plan.scaled_width, 346); /* 345.59 */
    assert_int_equal(plan.left, 43);
    assert_int_equal(plan.width, 260);
    plan = plan_of(400, 399, 1, want); /* 260.65: an odd remainder is rounded down */
    assert_int_equal(plan.scaled_width, 261);
    assert_int_equal(plan.left, 0);
    plan = plan_of(100, 200, 1, (struct image_want){.width = 60, .height = 20});
    assert_int_equal(plan.scaled_width, 60);
    assert_int_equal(plan.scaled_height, 120);
    assert_int_equal(plan.top, 50);
}

static void fits_on_white(void **state)
{
    struct image_want want = {.width = 260, .height = 260, .resize = IMAGE_FIT_WHITE};
    struct image_plan plan = plan_of(400, 533, 1, want);
    assert_int_equal(plan.scaled_width, 195); /* 195.12 */
    assert_int_equal(plan.scaled_height, 260);
    assert_int_equal(plan.pad_left, 32);
    assert_int_equal(plan.pad_top, 0);
    plan = plan_of(10000, 1, 1, want);
    assert_int_equal(plan.scaled_width, 260);
    assert_int_equal(plan.scaled_height, 1);
    assert_int_equal(plan.pad_top, 129);
    plan = plan_of(400, 533, 6, want); /* upright 533 × 400 */
    assert_int_equal(plan.scaled_width, 195);
    assert_int_equal(plan.scaled_height, 260);
    assert_int_equal(plan.pad_left, 0);
    assert_int_equal(plan.pad_top, 32);
}

static void a_region_is_fitted_like_a_picture(void **state)
{
    /* The lower right quarter of 800 × 600 is 400 × 300: scaled to 346.67 × 260, the whole twice that. */
    struct image_want want = {.width = 260, .height = 260, .region = {0.5f, 0.5f, 0.5f, 0.5f}};
    struct image_plan plan = plan_of(800, 600, 1, want);
    assert_int_equal(plan.scaled_width, 694);
    assert_int_equal(plan.scaled_height, 520);
    assert_int_equal(plan.left, 347 + 43);
    assert_int_equal(plan.top, 260);
    /* A single pixel of the largest picture, in its last corner. */
    want = (struct image_want){.width = LIMIT_MODEL_SIDE, .height = LIMIT_MODEL_SIDE, .region = {1, 1, 1e-9f, 1e-9f}};
    plan = plan_of(LIMIT_PICTURE_SIDE, 1000, 6, want);
    assert_int_equal(plan.scaled_width, (uint32_t)LIMIT_MODEL_SIDE * LIMIT_PICTURE_SIDE);
    assert_int_equal(plan.width, LIMIT_MODEL_SIDE);
    assert_true(plan.left + plan.width <= plan.scaled_width && plan.top + plan.height <= plan.scaled_height);
    assert_int_equal(plan.shrink_x, 1);
}

/* The window, turned upright, is the same for every orientation: floor of the upright remainder from the
 * upright corner. */
static void window_does_not_depend_on_orientation(void **state)
{
    static const struct {
        uint32_t left, top; /* stored, of a picture whose upright scaled size is 263 × 260: upright 1, 0 */
    } want[9] = {{0, 0}, {1, 0}, {2, 0}, {2, 0}, {1, 0}, {0, 1}, {0, 2}, {0, 2}, {0, 1}};
    /* 5: x ↔ y. 6: upright x = h − 1 − y. 7: both. 8: upright x = y. */
    static const bool flipped[9] = {[2] = true, [3] = true, [6] = true, [7] = true};
    for (int n = 1; n <= 8; n++) {
        bool turned = n >= 5;
        struct image_plan plan = plan_of(
            turned ? 520 : 526, turned ? 526 : 520, n, (struct image_want){.width = 260, .height = 260});
        assert_int_equal(plan.scaled_width, turned ? 260 : 263);
        assert_int_equal(plan.left, want[n].left);
        assert_int_equal(plan.top, want[n].top);
        assert_int_equal(turned ? plan.top : plan.left, flipped[n] ? 2 : 1);
    }
}

static void thumbnail_is_never_enlarged(void **state)
{
    struct image_plan plan = plan_of(400, 533, 1, (struct image_want){.thumbnail_side = 256});
    assert_int_equal(plan.thumb_width, 192);
    assert_int_equal(plan.thumb_height, 256);
    assert_int_equal(plan.scaled_width, 0);
    plan = plan_of(100, 20, 1, (struct image_want){.thumbnail_side = 256});
    assert_int_equal(plan.thumb_width, 100);
    assert_int_equal(plan.thumb_height, 20);
    plan = plan_of(1, 10000, 1, (struct image_want){.thumbnail_side = 256});
    assert_int_equal(plan.thumb_width, 1);
    assert_int_equal(plan.thumb_height, 256);
}

/* The filter that follows always has a factor of 2 left, for the model and for the thumbnail. */
static void shrinking_leaves_a_factor(void **state)
{
    struct image_want want = {.width = 260, .height = 260};
    assert_int_equal(plan_of(400, 533, 1, want).shrink_x, 1);
    assert_int_equal(plan_of(1039, 1039, 1, want).shrink_x, 1);
    assert_int_equal(plan_of(1040, 1040, 1, want).shrink_x, 2);
    assert_int_equal(plan_of(4000, 3000, 1, want).shrink_x, 5);
    assert_int_equal(plan_of(4000, 3000, 6, want).shrink_x, 5);
    want.thumbnail_side = 1024;
    assert_int_equal(plan_of(4000, 3000, 1, want).shrink_x, 1);
    want = (struct image_want){.width = 260, .height = 260, .resize = IMAGE_STRETCH};
    struct image_plan plan = plan_of(10400, 520, 1, want);
    assert_int_equal(plan.shrink_x, 20);
    assert_int_equal(plan.shrink_y, 1);
    plan = plan_of(
        LIMIT_PICTURE_SIDE, 1, 1, (struct image_want){.width = LIMIT_MODEL_SIDE, .height = LIMIT_MODEL_SIDE});
    assert_int_equal(plan.scaled_width, LIMIT_PICTURE_SIDE * LIMIT_MODEL_SIDE);
    assert_int_equal(plan.shrink_x, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_side_and_centre),
        cmocka_unit_test(fits_on_white),
        cmocka_unit_test(a_region_is_fitted_like_a_picture),
        cmocka_unit_test(window_does_not_depend_on_orientation),
        cmocka_unit_test(thumbnail_is_never_enlarged),
        cmocka_unit_test(shrinking_leaves_a_factor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
