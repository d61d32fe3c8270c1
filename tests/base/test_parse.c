#include "base/parse.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_i64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0}, {"-0", 0}, {"+7", 7}, {"007", 7}, {"-12", -12}, {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN}, {"00000000000000000001", 1}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t v = 99;
        assert_true(parse_i64(good[i].text, strlen(good[i].text), &v));
        assert_true(v == good[i].value);
    }
    static const char *const bad[] = {"", "-", "+", "--1", "+-1", " 1", "1 ", "1.0", "1e3", "0x1",
        "9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999",
        "111111111111111111111", "١"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t v = 99;
        assert_false(parse_i64(bad[i], strlen(bad[i]), &v));
        assert_true(v == 99);
    }
    int64_t v = 99;
    assert_true(parse_i64("123456", 3, &v)); /* the length counts, not a NUL */
    assert_true(v == 123);
}

static void test_u64(void **state)
{
    (void)state;
    uint64_t v = 99;
    assert_true(parse_u64("18446744073709551615", 20, UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_true(parse_u64("65535", 5, 65535, &v));
    assert_false(parse_u64("65536", 5, 65535, &v));
    assert_false(parse_u64("18446744073709551616", 20, UINT64_MAX, &v));
    assert_false(parse_u64("+1", 2, 10, &v));
    assert_false(parse_u64("-0", 2, 10, &v));
    assert_false(parse_u64("", 0, 10, &v));
    assert_true(v == 65535);
}

static void test_collection_name(void **state)
{
    (void)state;
    char name[LIMIT_COLLECTION_NAME + 2];
    memset(name, 'a', sizeof name);
    name[LIMIT_COLLECTION_NAME] = '\0';
    assert_true(parse_is_collection_name(name));
    name[LIMIT_COLLECTION_NAME] = 'a';
    name[LIMIT_COLLECTION_NAME + 1] = '\0';
    assert_false(parse_is_collection_name(name));
    assert_true(parse_is_collection_name("a"));
    assert_true(parse_is_collection_name("_"));
    assert_true(parse_is_collection_name("Az_09"));
    static const char *const bad[] = {"", "0a", "a-b", "a b", "a.b", "../a", "a/b", "\xc3\xa9", "a\n", "a%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(parse_is_collection_name(bad[i]));
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"", "abc", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xa9z"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(parse_is_utf8(good[i], strlen(good[i])));
    static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41",
        "\xe0\x9f\xbf", "\xe0\xa0", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xfe", "\xe4\xb8\xad\xad", "ab\xe4\xb8"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(parse_is_utf8(bad[i], strlen(bad[i])));
    assert_true(parse_is_utf8("a\0b", 3)); /* NUL is UTF-8; who does not want it says so */
}

/* Decode from and to memory of the exact size, so that a sanitizer sees every byte too far. */
static enum result decode(const char *text, size_t len, uint8_t **out, size_t *out_len, struct err *err)
{
    char *in = malloc(len ? len : 1);
    *out = malloc(parse_base64_room(len));
    assert_non_null(in);
    assert_non_null(*out);
    if (len)
        memcpy(in, text, len);
    enum result r = parse_base64(in, len, *out, out_len, err);
    free(in);
    return r;
}

static void check_base64(const char *text, const char *expected, size_t expected_len)
{
    uint8_t *out;
    size_t n = 999;
    struct err err = {0};
    if (decode(text, strlen(text), &out, &n, &err))
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(n, expected_len);
    assert_memory_equal(out, expected, n);
    free(out);
}

static void test_base64_good(void **state)
{
    (void)state;
    check_base64("", "", 0);
    check_base64("  \r\n\t", "", 0);
    check_base64("Zg==", "f", 1);
    check_base64("Zg", "f", 1);
    check_base64("Zm8=", "fo", 2);
    check_base64("Zm8", "fo", 2);
    check_base64("Zm9v", "foo", 3);
    check_base64("Zm9vYg==", "foob", 4);
    check_base64("Zm9vYmFy", "foobar", 6);
    check_base64("Zm9vYmFyZm9vYmFy", "foobarfoobar", 12);
    check_base64("Z m\n9\tv\r\nYmFyZm9vYmF5", "foobarfoobay", 12);
    check_base64("Zg = \n=", "f", 1);
    check_base64("+/-_", "\xfb\xff\xbf", 3);
    check_base64("-_+/-_+/", "\xfb\xff\xbf\xfb\xff\xbf", 6);
    check_base64("AAAA", "\0\0\0", 3);
}

static void test_base64_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"A", "AAAAA", "Zg=", "Zg===", "Zm8==", "Zm9v=", "=",
        "====", "Zg==Zg==", "Zh==", "Zh", "Zm9=", "Zm9", "Zm9v!", "Zm9vYmFyZm9vYmF*", "Zm9vYm.yZm9vYmFy",
        "data:image/png;base64,AAAA", "AAAA\xc3\xa9", "AAA\x80", "AA=A"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t *out;
        size_t n = 999;
        struct err err = {0};
        if (decode(bad[i], strlen(bad[i]), &out, &n, &err) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(n, 999);
        assert_true(strlen(err.message) > 10);
        free(out);
    }
    uint8_t *out;
    size_t n;
    struct err err = {0};
    assert_int_equal(decode("AAAAAAAAAA!A", 12, &out, &n, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "byte 11"));
    free(out);
    assert_int_equal(decode("AAAA\0AAA", 8, &out, &n, NULL), ERR_INVALID);
    free(out);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Encode random bytes of every small length, with and without padding and line breaks, and read them back. */
static void test_base64_round_trip(void **state)
{
    (void)state;
    uint32_t x = 7;
    for (size_t len = 0; len < 200; len++) {
        uint8_t bytes[200];
        char text[600];
        size_t n = 0;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
        size_t line = len % 7 == 0 ? 76 : len % 7 == 1 ? 5 : 10000;
        for (size_t i = 0, column = 0; i < len; i += 3) {
            uint32_t group = (uint32_t)bytes[i] << 16 | (i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0) |
                             (i + 2 < len ? bytes[i + 2] : 0);
            size_t digits = len - i >= 3 ? 4 : len - i + 1;
            for (size_t d = 0; d < 4; d++) {
                if (d >= digits && len % 2)
                    break;
                text[n++] = (char)(d < digits ? alphabet[group >> (18 - 6 * d) & 63] : '=');
                if (++column % line == 0) {
                    text[n++] = '\r';
                    text[n++] = '\n';
                }
            }
        }
        uint8_t *out;
        size_t out_len = 0;
        assert_int_equal(decode(text, n, &out, &out_len, NULL), ERR_OK);
        assert_int_equal(out_len, len);
        assert_memory_equal(out, bytes, len);
        free(out);
    }
}

/* Each of the 256 characters, at each of eight places of a long text. */
static void test_base64_every_character(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool digit = c && strchr(alphabet, c), other = c == '-' || c == '_';
        bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        for (size_t at = 16; at < 24; at++) {
            char text[40];
            memset(text, 'A', sizeof text);
            text[at] = (char)c;
            uint8_t *out;
            size_t n = 0;
            enum result r = decode(text, sizeof text, &out, &n, NULL);
            if (digit || other) {
                assert_int_equal(r, ERR_OK);
                assert_int_equal(n, 30);
                uint32_t value = other ? (c == '-' ? 62 : 63) : (uint32_t)(strchr(alphabet, c) - alphabet);
                size_t group = at / 4 * 3;
                uint32_t bits = (uint32_t)out[group] << 16 | (uint32_t)out[group + 1] << 8 | out[group + 2];
                assert_int_equal(bits, value << (18 - 6 * (at % 4)));
            } else if (blank) {
                assert_int_equal(r, ERR_OK); /* 39 digits are 9 groups and 3 digits: 29 bytes */
                assert_int_equal(n, 29);
            } else {
                assert_int_equal(r, ERR_INVALID);
            }
            free(out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_i64),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_collection_name),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_base64_good),
        cmocka_unit_test(test_base64_bad),
        cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_base64_every_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
