/* Files that are cut off or damaged: refused with a sentence, in silence, and never a crash. */
#include "fixtures.h"

#include "base/clock.h"

#include <fcntl.h>
#include <unistd.h>

static const char *const whole_files[] = {"rgb.jpg", "subsampled.jpg", "grey.jpg", "progressive.jpg",
    "cmyk-adobe.jpg", "photo.jpg", "photo-large.jpg", "rgb.png", "16bit.png", "interlaced.png", "palette.png",
    "rgba.png", "lossy.webp", "lossless.webp", "animated.webp", "static.gif", "rgb.avif", "rgb.heic"};

/* Every length at which something of the last row may be lacking; 2 bytes less than the end mark of a GIF. */
static void cut_off(void **state)
{
    for (size_t i = 0; i < sizeof(whole_files) / sizeof(whole_files[0]); i++) {
        struct fixture file = fixture_read(whole_files[i]);
        const size_t cuts[] = {2, 3, 5, 8, 20, file.len / 10, file.len / 4, file.len / 2, file.len * 7 / 10};
        for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++) {
            struct image_want want = {.width = 32, .height = 32, .thumbnail_side = 24};
            struct image image = {.width = 7};
            struct err err = {0};
            enum result result = image_decode(file.data, file.len - cuts[k], &want, &image, &err);
            if (file.len - cuts[k] < 12 && result == ERR_UNSUPPORTED)
                continue; /* not even the magic bytes are left */
            if (result != ERR_INVALID || !strstr(err.message, "cut off"))
                fail_msg("%s without its last %zu bytes: %s %s", whole_files[i], cuts[k], err_name(result),
                    err.message);
            assert_int_equal(image.width, 7); /* untouched */
        }
        fixture_free(&file);
    }
}

/* What browsers show is read: bytes behind the end, and a GIF whose second frame is lacking. */
static void odd_but_whole(void **state)
{
    static const char *const names[] = {"rgb.jpg", "rgb.png", "lossy.webp", "static.gif"};
    struct image_want want = {.width = 32, .height = 32};
    struct image image;
    for (size_t i = 0; i < 4; i++) {
        struct fixture file = fixture_read(names[i]);
        uint8_t *longer = malloc(file.len + 100);
        assert_non_null(longer);
        memcpy(longer, file.data, file.len);
        memset(longer + file.len, 'x', 100);
        assert_int_equal(image_decode(longer, file.len + 100, &want, &image, NULL), ERR_OK);
        image_free(&image);
        free(longer);
        fixture_free(&file);
    }
    struct fixture file = fixture_read("animated.gif");
    assert_int_equal(image_decode(file.data, file.len - 60, &want, &image, NULL), ERR_OK);
    image_free(&image);
    fixture_free(&file);
}

static void damaged(void **state)
{
    struct fixture file = fixture_read("rgb.png");
    memset(file.data + 45, 0x55, 40); /* in the compressed data */
    struct image_want want = {.width = 32, .height = 32};
    struct image image;
    struct err err = {0};
    assert_int_equal(image_decode(file.data, file.len, &want, &image, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "PNG picture is damaged"));
    fixture_free(&file);
}

/* libvips warns on standard error by itself; nothing of that may come through. */
static void silence(void **state)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int saved = dup(2);
    fflush(stderr);
    dup2(fileno(file), 2);
    size_t i = 0;
    for (const char *name; (name = fixture_name(i)); i++) {
        struct fixture fixture = fixture_read(name);
        struct image_want want = {.width = 16, .height = 16};
        for (size_t len = fixture.len; len > 0; len = len / 2) {
            struct image image = {0};
            if (image_decode(fixture.data, len, &want, &image, NULL) == ERR_OK)
                image_free(&image);
        }
        fixture_free(&fixture);
    }
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    assert_int_equal(lseek(fileno(file), 0, SEEK_END), 0);
    fclose(file);
}

static uint32_t seed = 20;

static uint32_t next(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* 2,000 variants with flipped bits, exchanged bytes or a missing end. Each decodes or has a sentence. */
static void mutations(void **state)
{
    const char *names[256];
    size_t count = 0, decoded = 0, refused = 0;
    for (size_t i = 0; fixture_name(i); i++) {
        if (strncmp(fixture_name(i), "limit", 5) != 0) /* 50 megapixels take their time */
            names[count++] = fixture_name(i);
    }
    for (size_t round = 0; round < 2000; round++) {
        struct fixture file = fixture_read(names[round % count]);
        size_t len = file.len;
        for (uint32_t k = 1 + next(8); k > 0; k--) {
            uint32_t span = (uint32_t)(next(2)          ? file.len
                                       : file.len < 200 ? file.len
                                                        : 200); /* headers more often */
            uint8_t *byte = file.data + next(span);
            *byte = next(2) ? *byte ^ (uint8_t)(1 << next(8)) : (uint8_t)next(256);
        }
        if (next(4) == 0)
            len = 1 + next((uint32_t)len);
        struct image_want want = {
            .width = 40, .height = 40, .resize = (enum image_resize)next(3), .thumbnail_side = next(64)};
        struct image image = {0};
        struct err err = {0};
        enum result result = image_decode(file.data, len, &want, &image, &err);
        if (result == ERR_OK) {
            decoded++;
            assert_non_null(image.pixels);
            image_free(&image);
        } else {
            refused++;
            assert_true(result == ERR_INVALID || result == ERR_UNSUPPORTED || result == ERR_TOO_LARGE);
            assert_true(strlen(err.message) > 20);
        }
        fixture_free(&file);
    }
    print_message("# %zu decoded, %zu refused\n", decoded, refused);
    assert_true(decoded > 200 && refused > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_off),
        cmocka_unit_test(odd_but_whole),
        cmocka_unit_test(damaged),
        cmocka_unit_test(silence),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, fixture_start, NULL);
}
