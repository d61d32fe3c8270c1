/* Kinds by their first bytes, and the sentences for what is refused. */
#include "fixtures.h"

#include "image/sniff.h"

#define BYTES(text) text, sizeof(text) - 1

static void kinds_that_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *mime;
    } cases[] = {
        {BYTES("\xff\xd8\xff\xe0"), "image/jpeg"},
        {BYTES("\xff\xd8\xff\xdb"), "image/jpeg"},
        {BYTES("\x89PNG\r\n\x1a\n...."), "image/png"},
        {BYTES("GIF87a"), "image/gif"},
        {BYTES("GIF89a"), "image/gif"},
        {BYTES("RIFF\x10\0\0\0WEBPVP8 "), "image/webp"},
        {BYTES("\0\0\0\x18"
               "ftypheic\0\0\0\0mif1heic"),
            "image/heic"},
        {BYTES("\0\0\0\x18"
               "ftypavif\0\0\0\0mif1avif"),
            "image/avif"},
        {BYTES("\0\0\0\x18"
               "ftypmif1\0\0\0\0mif1avif"),
            "image/avif"},
        {BYTES("\0\0\0\x18"
               "ftypmif1\0\0\0\0mif1heix"),
            "image/heic"},
        {BYTES("\0\0\0\x14"
               "ftypmif1\0\0\0\0mif1heix"),
            "image/heif"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(image_sniff(cases[i].bytes, cases[i].len), cases[i].mime);
}

static void beginnings_are_not_enough(void **state)
{
    assert_null(image_sniff(NULL, 0));
    assert_null(image_sniff(BYTES("\xff\xd8")));
    assert_null(image_sniff(BYTES("\x89PNG")));
    assert_null(image_sniff(BYTES("GIF88a")));
    assert_null(image_sniff(BYTES("RIFF\x10\0\0\0WAVE")));
    assert_null(image_sniff(BYTES("\0\0\0\x18"
                                  "ftypisom\0\0\0\0mp42")));
    assert_null(image_sniff(BYTES("\0\0\0\x18"
                                  "ftyphei")));
}

static void refusals_name_the_thing(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *word;
    } cases[] = {
        {BYTES("%PDF-1.7\n"), "PDF"},
        {BYTES("II*\0\x08\0\0\0"), "TIFF"},
        {BYTES("MM\0*\0\0\0\x08"), "TIFF"},
        {BYTES("BM\x36\0\0\0"), "BMP"},
        {BYTES("<?xml version=\"1.0\"?>\n<svg xmlns="), "SVG"},
        {BYTES("<svg>"), "SVG"},
        {BYTES("\n <!DOCTYPE HTML><title>404"), "HTML"},
        {BYTES("<html lang=de>"), "HTML"},
        {BYTES("{\"error\": 1}"), "JSON"},
        {BYTES("data:image/png;base64,iVBO"), "data:"},
        {BYTES("Not Found"), "a text"},
        {BYTES("Gr\xc3\xbc\xc3\x9f"
               "e"),
            "a text"},
        {BYTES("PK\3\4\x14\0"), "ZIP"},
        {BYTES("\0\0\0\x18"
               "ftypisom\0\0\0\0mp42"),
            "video"},
        {BYTES("\0\0\1\0\1\0"), "icon"},
        {BYTES("\1\2\3\4\xfe\xff\xfd"), "unknown"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        struct image image;
        struct image_want want = {.width = 8, .height = 8};
        assert_int_equal(image_decode(cases[i].bytes, cases[i].len, &want, &image, &err), ERR_UNSUPPORTED);
        assert_int_equal(err.code, ERR_UNSUPPORTED);
        if (!strstr(err.message, cases[i].word) || !strstr(err.message, "JPEG, PNG, WebP, GIF, AVIF or HEIC"))
            fail_msg("%s", err.message);
    }
}

static void empty_is_said(void **state)
{
    struct err err = {0};
    struct image image;
    struct image_want want = {.width = 8, .height = 8};
    assert_int_equal(image_decode("", 0, &want, &image, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "empty"));
    assert_int_equal(image_decode(NULL, 5, &want, &image, NULL), ERR_INVALID);
}

/* A preview inside a segment has an end of its own; it must not be taken for the file's. */
static void end_of_a_jpeg_is_found(void **state)
{
    static const uint8_t preview[] = {
        0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 0, 2, 7, 7};
    static const uint8_t trailing[] = {0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 7, 0xff, 0xd9, 'x', 'y', 'z'};
    assert_true(image_kind_is_cut_off(IMAGE_JPEG, preview, sizeof(preview)));
    assert_false(image_kind_is_cut_off(IMAGE_JPEG, trailing, sizeof(trailing)));
    for (size_t n = 3; n < 10; n++)
        assert_true(image_kind_is_cut_off(IMAGE_JPEG, trailing, n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_that_are_read),
        cmocka_unit_test(beginnings_are_not_enough),
        cmocka_unit_test(refusals_name_the_thing),
        cmocka_unit_test(empty_is_said),
        cmocka_unit_test(end_of_a_jpeg_is_found),
    };
    return cmocka_run_group_tests(tests, fixture_start, NULL);
}
