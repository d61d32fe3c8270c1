/* Every kind of file, upright and in the right colours; sizes as Pillow makes them; limits; thumbnails. */
#include "fixtures.h"

#include "image/sniff.h"

#include <math.h>
#include <sys/resource.h>
#include <vips/vips.h>

#define WHITE 255, 255, 255

struct expectation {
    const char *name, *mime;
    int tolerance;
    uint8_t colours[12]; /* all 0: the usual ones */
};

static void check(const struct expectation *cases, size_t count)
{
    static const uint8_t none[12];
    for (size_t i = 0; i < count; i++) {
        struct image image = fixture_decode(cases[i].name, 64, 48);
        const uint8_t *want = memcmp(cases[i].colours, none, 12) ? cases[i].colours : fixture_colours;
        if (!fixture_is(image.pixels, 64, 48, want, cases[i].tolerance))
            fail_msg("%s", cases[i].name);
        assert_string_equal(image.format, cases[i].mime);
        assert_int_equal(image.width, 64);
        assert_int_equal(image.height, 48);
        assert_null(image.thumbnail);
        image_free(&image);
    }
}
#define CHECK(cases) check(cases, sizeof(cases) / sizeof((cases)[0]))

static void jpeg(void **state)
{
    static const struct expectation cases[] = {
        {"rgb.jpg", "image/jpeg", 4, {0}},
        {"subsampled.jpg", "image/jpeg", 6, {0}},
        {"progressive.jpg", "image/jpeg", 4, {0}},
        {"grey.jpg", "image/jpeg", 3, {30, 30, 30, 90, 90, 90, 160, 160, 160, 230, 230, 230}},
        {"cmyk-adobe.jpg", "image/jpeg", 6, {255, 0, 0, 0, 255, 0, 0, 0, 255, WHITE}},
        {"cmyk.jpg", "image/jpeg", 6, {255, 0, 0, 0, 255, 0, 0, 0, 255, WHITE}},
        {"odd-extraneous.jpg", "image/jpeg", 4, {0}},
    };
    CHECK(cases);
}

static void png(void **state)
{
    static const struct expectation cases[] = {
        {"rgb.png", "image/png", 0, {0}},
        {"16bit.png", "image/png", 1, {0}},
        {"interlaced.png", "image/png", 0, {0}},
        {"palette.png", "image/png", 0, {0}},
        {"palette-alpha.png", "image/png", 1, {220, 40, 30, WHITE, 147, 157, 227, 240, 210, 40}},
        {"rgba.png", "image/png", 1, {220, 40, 30, WHITE, 147, 157, 227, 240, 210, 40}},
        {"16bit-grey-alpha.png", "image/png", 1, {156, 156, 156, WHITE, 156, 156, 156, WHITE}},
        {"grey-1bit.png", "image/png", 0, {0, 0, 0, WHITE, 0, 0, 0, WHITE}},
        {"icc-grey.png", "image/png", 0, {30, 30, 30, 90, 90, 90, 160, 160, 160, 230, 230, 230}},
    };
    CHECK(cases);
}

static void webp_and_gif(void **state)
{
    static const struct expectation cases[] = {
        {"lossy.webp", "image/webp", 6, {0}},
        {"lossless.webp", "image/webp", 0, {0}},
        {"alpha.webp", "image/webp", 0, {220, 40, 30, WHITE, 40, 60, 200, 240, 210, 40}},
        {"animated.webp", "image/webp", 0, {0}}, /* the second frame is turned by 180 degrees */
        {"static.gif", "image/gif", 0, {0}},
        {"animated.gif", "image/gif", 0, {0}},
        {"odd-screen.gif", "image/gif", 0, {0}},
    };
    CHECK(cases);
}

static void heif(void **state)
{
    static const struct expectation cases[] = {
        {"rgb.avif", "image/avif", 6, {0}}, {"turned.avif", "image/avif", 6, {0}},
        {"alpha.avif", "image/avif", 6, {220, 40, 30, WHITE, 40, 60, 200, 240, 210, 40}},
        {"rgb.heic", "image/heic", 6, {0}}, {"10bit.heic", "image/heic", 6, {0}},
        {"two.heic", "image/heic", 6, {0}}, /* the primary one is not the first */
    };
    CHECK(cases);
}

static void profiles(void **state)
{
    static const struct expectation cases[] = {
        {"icc-swapped.jpg", "image/jpeg", 12, {30, 220, 40, 60, 40, 180, 200, 40, 60, 40, 240, 210}},
        {"icc-p3.jpg", "image/jpeg", 8, {242, 0, 0, 0, 184, 24, 29, 58, 208, 248, 210, 0}},
        {"icc-named-srgb.jpg", "image/jpeg", 4, {0}},
        {"icc-broken.jpg", "image/jpeg", 4, {0}},
    };
    CHECK(cases);
}

/* The same picture stored in eight ways gives the same pixels in every mode, also where a crop has an odd
 * remainder. */
static void orientations(void **state)
{
    static const struct image_want wants[] = {
        {.width = 64, .height = 48},
        {.width = 31, .height = 31},
        {.width = 40, .height = 17},
        {.width = 33, .height = 40, .resize = IMAGE_FIT_WHITE},
        {.width = 20, .height = 35, .resize = IMAGE_STRETCH},
        {.width = 31, .height = 31, .region = {0.25f, 0.1f, 0.5f, 0.6f}},
        {.width = 21, .height = 40, .resize = IMAGE_FIT_WHITE, .region = {0.6f, 0, 0.4f, 0.3f}},
    };
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        struct image first = {0};
        for (int n = 1; n <= 8; n++) {
            char name[32];
            struct image image = {0};
            snprintf(name, sizeof(name), "orientation-%d.jpg", n);
            struct fixture file = fixture_read(name);
            assert_int_equal(image_decode(file.data, file.len, &wants[i], &image, NULL), ERR_OK);
            fixture_free(&file);
            assert_int_equal(image.width, 64);
            assert_int_equal(image.height, 48);
            if (n == 1) {
                first = image;
                continue;
            }
            size_t bytes = (size_t)wants[i].width * wants[i].height * 3;
            for (size_t k = 0; k < bytes; k++) {
                if (abs(first.pixels[k] - image.pixels[k]) > 6)
                    fail_msg("orientation %d, want %zu: byte %zu is %d, not %d", n, i, k, image.pixels[k],
                        first.pixels[k]);
            }
            image_free(&image);
        }
        image_free(&first);
    }
}

/* Each quadrant alone, whatever the file's orientation, and what is no region. */
static void regions(void **state)
{
    static const float quadrants[4][4] = {{0, 0, 0.5f, 0.5f}, {0.5f, 0, 0.5f, 0.5f}, {0, 0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f, 0.5f}};
    static const char *const names[] = {"rgb.png", "orientation-6.jpg"};
    static const float wrong[][4] = {{0, 0, 0, 0.5f}, {0, 0, 1.1f, 1}, {-0.1f, 0, 1, 1}, {0.6f, 0, 0.5f, 1}, {NAN, 0, 1, 1}};
    for (size_t n = 0; n < 2; n++) {
        struct fixture file = fixture_read(names[n]);
        for (int q = 0; q < 4; q++) {
            struct image image = {0};
            struct image_want want = {.width = 16, .height = 16};
            memcpy(want.region, quadrants[q], sizeof want.region);
            assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_OK);
            for (int i = 0; i < 3; i++) /* the middle: the filter sees a little over the edge */
                assert_in_range(image.pixels[(8 * 16 + 8) * 3 + i] + 8, fixture_colours[q * 3 + i], fixture_colours[q * 3 + i] + 16);
            image_free(&image);
        }
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            struct image image;
            struct image_want want = {.width = 16, .height = 16};
            memcpy(want.region, wrong[i], sizeof want.region);
            assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_INVALID);
        }
        fixture_free(&file);
    }
}

/* Pillow's bicubic scaling of the full picture; the large one comes through shrink-on-load (8 times). */
static void agrees_with_pillow(void **state)
{
    static const struct {
        const char *source, *reference;
        enum image_resize resize;
    } cases[] = {
        {"photo.jpg", "photo.crop.png", IMAGE_SHORT_SIDE_CROP},
        {"photo.jpg", "photo.fit.png", IMAGE_FIT_WHITE},
        {"photo.jpg", "photo.stretch.png", IMAGE_STRETCH},
        {"photo-large.jpg", "photo-large.crop.png", IMAGE_SHORT_SIDE_CROP},
        {"photo-large.jpg", "photo-large.fit.png", IMAGE_FIT_WHITE},
        {"photo-large.jpg", "photo-large.stretch.png", IMAGE_STRETCH},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image reference = fixture_decode(cases[i].reference, 64, 64);
        for (uint32_t thumb = 0; thumb <= 32; thumb += 32) { /* with and without: two ways through the code */
            struct fixture file = fixture_read(cases[i].source);
            struct image_want want = {
                .width = 64, .height = 64, .resize = cases[i].resize, .thumbnail_side = thumb};
            struct image image;
            assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_OK);
            double difference = fixture_difference(image.pixels, reference.pixels, 64 * 64 * 3);
            print_message("# %s: %.3f levels\n", cases[i].reference, difference);
            assert_true(difference < 1.5);
            image_free(&image);
            fixture_free(&file);
        }
        image_free(&reference);
    }
}

static void limits_on_the_header(void **state)
{
    static const struct {
        const char *name;
        enum result result;
    } cases[] = {
        {"bomb.jpg", ERR_TOO_LARGE},
        {"bomb.png", ERR_TOO_LARGE},
        {"bomb.gif", ERR_TOO_LARGE},
        {"bomb.webp", ERR_TOO_LARGE},
        {"bomb.avif", ERR_TOO_LARGE},
        {"bomb-just.png", ERR_TOO_LARGE},
        {"bomb-side.png", ERR_TOO_LARGE},
        {"limit.png", ERR_OK},
        {"limit-side.png", ERR_OK},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture file = fixture_read(cases[i].name);
        struct image_want want = {.width = 32, .height = 32, .thumbnail_side = 32};
        struct image image = {0};
        struct err err = {0};
        if (image_decode(file.data, file.len, &want, &image, &err) != cases[i].result)
            fail_msg("%s: %s", cases[i].name, err.message);
        if (cases[i].result) {
            assert_non_null(strstr(err.message, "pixels"));
            assert_null(image.pixels);
        }
        image_free(&image);
        fixture_free(&file);
    }
}

static void limits_of_the_caller(void **state)
{
    struct fixture file = fixture_read("rgb.png");
    struct image image;
    struct image_want want = {.width = LIMIT_MODEL_SIDE, .height = 1, .thumbnail_side = LIMIT_THUMBNAIL_SIDE};
    assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_OK);
    image_free(&image);
    want.width++;
    assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_TOO_LARGE);
    want.width--;
    want.thumbnail_side++;
    assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_TOO_LARGE);
    want = (struct image_want){.width = 5};
    assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_INVALID);
    fixture_free(&file);
}

static long resident_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Long and narrow in every mode: right colours, and no memory for what is never looked at. */
static void extreme_shapes(void **state)
{
    static const char *const names[] = {"wide.png", "tall.png", "one.png", "limit-side.png"};
    long before = resident_kib();
    for (size_t i = 0; i < 4; i++) {
        struct fixture file = fixture_read(names[i]);
        for (int mode = IMAGE_SHORT_SIDE_CROP; mode <= IMAGE_STRETCH; mode++) {
            struct image_want want = {
                .width = 260, .height = 260, .resize = (enum image_resize)mode, .thumbnail_side = 256};
            struct image image = {0};
            assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_OK);
            const uint8_t *centre = image.pixels + (129 * 260 + 129) * 3;
            if (i < 2)
                assert_in_range(centre[1], 122, 133); /* both go from 0 to 255 */
            struct image thumb;
            want = (struct image_want){0};
            assert_int_equal(image_decode(image.thumbnail, image.thumbnail_len, &want, &thumb, NULL), ERR_OK);
            assert_int_equal(VIPS_MAX(thumb.width, thumb.height), i == 2 ? 1 : 256);
            assert_int_equal(VIPS_MIN(thumb.width, thumb.height), 1);
            image_free(&thumb);
            image_free(&image);
        }
        fixture_free(&file);
    }
    assert_true(resident_kib() - before < 64 * 1024);
}

static void thumbnail(void **state)
{
    static const struct {
        const char *name;
        uint32_t side, width, height;
    } cases[] = {
        {"rgb.jpg", 32, 32, 24},
        {"rgb.jpg", 256, 64, 48},
        {"orientation-6.jpg", 32, 32, 24},
        {"orientation-7.jpg", 256, 64, 48},
        {"palette.png", 32, 32, 24},
        {"icc-named-srgb.jpg", 32, 32, 24},
        {"turned.avif", 32, 32, 24},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (uint32_t side = 0; side <= 40; side += 20) { /* alone; beside a smaller and a larger input */
            struct fixture file = fixture_read(cases[i].name);
            struct image_want want = {.width = side, .height = side, .thumbnail_side = cases[i].side};
            struct image image, thumb;
            assert_int_equal(image_decode(file.data, file.len, &want, &image, NULL), ERR_OK);
            assert_int_equal(image.pixels == NULL, side == 0);
            assert_string_equal(image_sniff(image.thumbnail, image.thumbnail_len), "image/jpeg");
            assert_null(memmem(image.thumbnail, image.thumbnail_len, "Exif", 4));
            assert_null(memmem(image.thumbnail, image.thumbnail_len, "ICC_PROFILE", 11));
            want = (struct image_want){.width = cases[i].width, .height = cases[i].height};
            assert_int_equal(image_decode(image.thumbnail, image.thumbnail_len, &want, &thumb, NULL), ERR_OK);
            assert_int_equal(thumb.width, cases[i].width);
            assert_int_equal(thumb.height, cases[i].height);
            assert_true(fixture_is(thumb.pixels, thumb.width, thumb.height, fixture_colours, 16));
            image_free(&thumb);
            image_free(&image);
            fixture_free(&file);
        }
    }
}

/* What is not in the list is not read, whoever asks; and the environment has no say. */
static void nothing_else_is_read(void **state)
{
    static const char ppm[] = "P3 1 1 255 1 2 3 ";
    assert_null(vips_image_new_from_buffer(ppm, sizeof(ppm) - 1, "", NULL));
    struct fixture tiff = fixture_read("picture.tiff");
    assert_null(vips_image_new_from_buffer(tiff.data, tiff.len, "", NULL));
    fixture_free(&tiff);
    vips_error_clear();
    assert_null(getenv("VIPS_CONCURRENCY")); /* set by the build for this test */
    assert_null(getenv("VIPS_TRACE"));
    assert_int_equal(vips_concurrency_get(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extreme_shapes), /* first: it looks at the peak of memory */
        cmocka_unit_test(jpeg),
        cmocka_unit_test(png),
        cmocka_unit_test(webp_and_gif),
        cmocka_unit_test(heif),
        cmocka_unit_test(profiles),
        cmocka_unit_test(orientations),
        cmocka_unit_test(regions),
        cmocka_unit_test(agrees_with_pillow),
        cmocka_unit_test(limits_on_the_header),
        cmocka_unit_test(limits_of_the_caller),
        cmocka_unit_test(thumbnail),
        cmocka_unit_test(nothing_else_is_read),
    };
    return cmocka_run_group_tests(tests, fixture_start, NULL);
}
