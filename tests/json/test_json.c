/* What json_parse() accepts and refuses, what the getters make of it, and what the writers write. */
#include "json/json.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

struct text {
    const char *text;
    size_t len;
};
#define TEXT(s)                                                                                              \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }

/* A copy without a NUL behind it, so that a sanitizer sees every byte read too far. */
static enum result parse_exact(const char *text, size_t len, struct json_object **out, struct err *err)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len)
        memcpy(copy, text, len);
    enum result r = json_parse(copy, len, out, err);
    free(copy);
    return r;
}

static struct json_object *parse_good(const char *text)
{
    struct json_object *value = NULL;
    struct err err = {0};
    if (parse_exact(text, strlen(text), &value, &err))
        fail_msg("%s: %s", text, err.message);
    return value;
}

static const struct text good[] = {
    TEXT("{}"),
    TEXT("[]"),
    TEXT("null"),
    TEXT("true"),
    TEXT("false"),
    TEXT("0"),
    TEXT("-0"),
    TEXT("\"\""),
    TEXT(" \t\r\n1 \t\r\n"),
    TEXT("[1]"),
    TEXT("[1,2]"),
    TEXT("[ 1 , 2 ]"),
    TEXT("[[],{}]"),
    TEXT("{\"a\":1}"),
    TEXT("{ \"a\" : 1 , \"b\" : [ ] }"),
    TEXT("{\"\":1}"),
    TEXT("{\"a\":{\"a\":{\"a\":1}}}"),
    TEXT("[{\"a\":1},{\"a\":2}]"),
    TEXT("{\"a\":1,\"A\":2}"),
    TEXT("[null,true,false]"),
    TEXT("[0,1,-1,10,1234567890]"),
    TEXT("[0.5,-0.5,1e5,1E5,1e+5,1e-5,1.5e10,0e1,0E+1,0.0]"),
    TEXT("9223372036854775807"),
    TEXT("-9223372036854775808"),
    TEXT("9223372036854775808"),
    TEXT("18446744073709551615"),
    TEXT("1e999"),
    TEXT("123456789012345678901234567890.5"),
    TEXT("123456789012345678901234567890e0"),
    TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    TEXT("\"\\u0041\\u00e9\\u4E2D\\uD83D\\uDE00\""),
    TEXT("\"\x7f\""),
    TEXT("\"\xc3\xa9\""),
    TEXT("\"\xe4\xb8\xad\""),
    TEXT("\"\xf0\x9f\x98\x80\""),
    TEXT("\"\xf4\x8f\xbf\xbf\""),
    TEXT("\"\xef\xbf\xbf\""),
    TEXT("{\"\xe4\xb8\xad\":1}"),
    TEXT("\"{[:,]}//'#\""),
    TEXT("{\"a:b\":\"c:d\"}"),
    TEXT("\xef\xbb\xbf{\"a\":1}"),
    TEXT("\xef\xbb\xbf 1"),
    TEXT("\"12345678\""),
    TEXT("\"1234567\\\\\""),
    TEXT("\"1234567\\\"\""),
};

static const struct text bad[] = {
    TEXT(""),
    TEXT(" "),
    TEXT("\xef\xbb\xbf"),
    TEXT("\xef\xbb\xbf\xef\xbb\xbf{}"),
    TEXT("\xef\xbb"),
    TEXT("{}\xef\xbb\xbf"),
    /* brackets, commas, colons */
    TEXT("{"),
    TEXT("}"),
    TEXT("["),
    TEXT("]"),
    TEXT("[}"),
    TEXT("{]"),
    TEXT("[1"),
    TEXT("[1,"),
    TEXT("[1,]"),
    TEXT("[,1]"),
    TEXT("[,]"),
    TEXT("[1,,2]"),
    TEXT("[1 2]"),
    TEXT("{\"a\"}"),
    TEXT("{\"a\":}"),
    TEXT("{\"a\":1,}"),
    TEXT("{,}"),
    TEXT("{\"a\" 1}"),
    TEXT("{\"a\"::1}"),
    TEXT("{\"a\":1 \"b\":2}"),
    TEXT("{\"a\":1,,\"b\":2}"),
    TEXT("{\"a\":1"),
    TEXT("{\"a\":"),
    TEXT("{\"a\""),
    TEXT("{\"a"),
    TEXT("{a:1}"),
    TEXT("{1:1}"),
    TEXT("{null:1}"),
    TEXT("{'a':1}"),
    TEXT("['a']"),
    TEXT("'a'"),
    TEXT(":"),
    TEXT(","),
    TEXT("[1:2]"),
    TEXT("{\"a\",1}"),
    /* more than one value */
    TEXT("{}{}"),
    TEXT("{} x"),
    TEXT("[]]"),
    TEXT("{}}"),
    TEXT("1 2"),
    TEXT("null null"),
    TEXT("{},"),
    TEXT("\"a\"\"b\""),
    TEXT("{}\0"),
    TEXT("{}\x0c"),
    TEXT("\x0b{}"),
    TEXT("{}\xc2\xa0"),
    /* comments */
    TEXT("/* a */ 1"),
    TEXT("1 // a"),
    TEXT("[1/* */]"),
    TEXT("# a\n1"),
    TEXT("1/"),
    /* words */
    TEXT("nul"),
    TEXT("nulll"),
    TEXT("NULL"),
    TEXT("True"),
    TEXT("TRUE"),
    TEXT("fals"),
    TEXT("NaN"),
    TEXT("nan"),
    TEXT("-NaN"),
    TEXT("Infinity"),
    TEXT("-Infinity"),
    TEXT("inf"),
    TEXT("[Infinity]"),
    TEXT("undefined"),
    TEXT("tru\0"),
    TEXT("[nul]"),
    /* numbers */
    TEXT("01"),
    TEXT("-01"),
    TEXT("00"),
    TEXT("-"),
    TEXT("+1"),
    TEXT("1."),
    TEXT(".5"),
    TEXT("-.5"),
    TEXT("1.e5"),
    TEXT("1e"),
    TEXT("1e+"),
    TEXT("1e5.5"),
    TEXT("0x10"),
    TEXT("1_000"),
    TEXT("--1"),
    TEXT("1-2"),
    TEXT("[01]"),
    TEXT("1a"),
    TEXT("\xef\xbc\x91"),
    TEXT("- 1"),
    TEXT("18446744073709551616"),
    TEXT("-9223372036854775809"),
    TEXT("123456789012345678901234567890"),
    TEXT("[1,18446744073709551616]"),
    /* strings */
    TEXT("\""),
    TEXT("\"abc"),
    TEXT("\"abc\\"),
    TEXT("\"abc\\\""),
    TEXT("\"\\x41\""),
    TEXT("\"\\a\""),
    TEXT("\"\\u\""),
    TEXT("\"\\u00\""),
    TEXT("\"\\u00g0\""),
    TEXT("\"\\U0041\""),
    TEXT("\"\\'\""),
    TEXT("\"a\nb\""),
    TEXT("\"a\tb\""),
    TEXT("\"a\x01\""),
    TEXT("\"a\x1f\""),
    TEXT("\"\\\0\""),
    TEXT("\"1234567\n\""),
    TEXT("\"12345678\x1f\""),
    /* NUL */
    TEXT("\"a\0b\""),
    TEXT("\"a\\u0000b\""),
    TEXT("{\"a\\u0000b\":1}"),
    TEXT("{\"a\0b\":1}"),
    TEXT("\0"),
    TEXT("[1,\0]"),
    TEXT("1\0"),
    /* surrogates */
    TEXT("\"\\ud800\""),
    TEXT("\"\\udc00\""),
    TEXT("\"\\ud800x\""),
    TEXT("\"\\ud800\\n\""),
    TEXT("\"\\ud800\\u0041\""),
    TEXT("\"\\ud800\\ud800\""),
    TEXT("\"\\udc00\\ud800\""),
    TEXT("\"\\ud83d\\u"),
    TEXT("\"\\ud83d"),
    TEXT("\"\\ud83d\\"),
    /* UTF-8 */
    TEXT("\"\x80\""),
    TEXT("\"\xc3\""),
    TEXT("\"\xc3\x28\""),
    TEXT("\"\xc0\x80\""),
    TEXT("\"\xc0\xaf\""),
    TEXT("\"\xe0\x80\xaf\""),
    TEXT("\"\xed\xa0\x80\""),
    TEXT("\"\xf4\x90\x80\x80\""),
    TEXT("\"\xf8\x88\x80\x80\x80\""),
    TEXT("\"\xff\""),
    TEXT("{\"\xff\":1}"),
    TEXT("\"\xe4\xb8"),
    TEXT("\xe9"),
    TEXT("\"1234567\xff\""),
    TEXT("{\0\"\0a\0\"\0:\0001\0}\0"),
    /* duplicate keys */
    TEXT("{\"a\":1,\"a\":1}"),
    TEXT("{\"a\":1,\"b\":2,\"a\":3}"),
    TEXT("{\"a\":1,\"\\u0061\":2}"),
    TEXT("[{\"x\":{\"a\":1,\"a\":{}}}]"),
    TEXT("{\"\":1,\"\":2}"),
    TEXT("{\"a\":{\"b\":1},\"a\":{\"c\":{\"d\":1}}}"),
    TEXT("{\"a\":null,\"a\":1}"),
};

static void test_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct json_object *value = NULL;
        struct err err = {0};
        if (parse_exact(good[i].text, good[i].len, &value, &err))
            fail_msg("%zu: %s: %s", i, good[i].text, err.message);
        json_object_put(value);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json_object *untouched = (struct json_object *)&untouched, *value = untouched;
        struct err err = {0};
        if (parse_exact(bad[i].text, bad[i].len, &value, &err) != ERR_INVALID)
            fail_msg("%zu was accepted: %s", i, bad[i].text);
        assert_int_equal(err.code, ERR_INVALID);
        assert_true(strlen(err.message) > 10);
        assert_ptr_equal(value, untouched);
    }
}

static void test_names_the_byte(void **state)
{
    (void)state;
    struct json_object *value = NULL;
    struct err err = {0};
    assert_int_equal(json_parse("{\"a\": tru}", 10, &value, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "byte 7"));
    assert_int_equal(json_parse("[1,2,", 5, &value, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "after byte 5"));
    assert_int_equal(json_parse("[1, 99999999999999999999]", 25, &value, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "byte 5"));
    assert_int_equal(json_parse("nope", 4, &value, NULL), ERR_INVALID);
}

/* `n` times `open`, then `inner`, then `n` times `close`. */
static enum result parse_nested(int n, const char *open, const char *inner, const char *close)
{
    struct buf text;
    buf_init(&text, LIMIT_MIB);
    for (int i = 0; i < n; i++)
        assert_int_equal(buf_append_str(&text, open), ERR_OK);
    assert_int_equal(buf_append_str(&text, inner), ERR_OK);
    for (int i = 0; i < n; i++)
        assert_int_equal(buf_append_str(&text, close), ERR_OK);
    struct json_object *value = NULL;
    enum result r = parse_exact(text.data, text.len, &value, NULL);
    json_object_put(value);
    buf_free(&text);
    return r;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(parse_nested(LIMIT_JSON_DEPTH, "[", "1", "]"), ERR_OK);
    assert_int_equal(parse_nested(LIMIT_JSON_DEPTH, "[", "", "]"), ERR_OK);
    assert_int_equal(parse_nested(LIMIT_JSON_DEPTH + 1, "[", "", "]"), ERR_INVALID);
    assert_int_equal(parse_nested(LIMIT_JSON_DEPTH, "{\"a\":", "\"x\"", "}"), ERR_OK);
    assert_int_equal(parse_nested(LIMIT_JSON_DEPTH + 1, "{\"a\":", "1", "}"), ERR_INVALID);
    assert_int_equal(parse_nested(100000, "[", "", "]"), ERR_INVALID);
    assert_int_equal(parse_nested(100000, "[", "", ""), ERR_INVALID);
}

/* An array of `n` times `item`. */
static enum result parse_many(size_t n, const char *item)
{
    struct buf text;
    buf_init(&text, 16 * LIMIT_MIB);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(buf_append_str(&text, i ? "," : "["), ERR_OK);
        assert_int_equal(buf_append_str(&text, item), ERR_OK);
    }
    assert_int_equal(buf_append_str(&text, "]"), ERR_OK);
    struct json_object *value = NULL;
    enum result r = parse_exact(text.data, text.len, &value, NULL);
    json_object_put(value);
    buf_free(&text);
    return r;
}

static void test_counts(void **state)
{
    (void)state;
    assert_int_equal(parse_many(LIMIT_JSON_VALUES - 1, "1"), ERR_OK); /* and the array itself */
    assert_int_equal(parse_many(LIMIT_JSON_VALUES, "1"), ERR_TOO_LARGE);
    assert_int_equal(parse_many(LIMIT_JSON_CONTAINERS - 1, "{}"), ERR_OK);
    assert_int_equal(parse_many(LIMIT_JSON_CONTAINERS, "{}"), ERR_TOO_LARGE);
    assert_int_equal(parse_many(LIMIT_JSON_CONTAINERS, "[]"), ERR_TOO_LARGE);
}

static void test_too_long(void **state)
{
    (void)state;
    struct json_object *value = NULL;
    /* Refused by its length alone: the text is not looked at. */
    assert_int_equal(json_parse("{}", (size_t)INT32_MAX + 1, &value, NULL), ERR_TOO_LARGE);
}

/* Every prefix of a text that is good is bad, except where it happens to be one too. */
static void test_cut_off(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1.5e3,true,null,\"x\\u00e9\xc3\xa9\\ud83d\\ude00\"],\"b\":{\"c\":-12}}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct json_object *value = NULL;
        assert_int_equal(parse_exact(text, n, &value, NULL), ERR_INVALID);
    }
    json_object_put(parse_good(text));
}

static void test_long_string(void **state)
{
    (void)state;
    size_t n = LIMIT_MIB;
    struct buf text;
    buf_init(&text, 2 * LIMIT_MIB);
    assert_int_equal(buf_append_str(&text, "{\"image\":\""), ERR_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_append(&text, &"ABCDwxyz0189+/-_"[i % 16], 1), ERR_OK);
    assert_int_equal(buf_append_str(&text, "\"}"), ERR_OK);
    struct json_object *value = NULL;
    assert_int_equal(parse_exact(text.data, text.len, &value, NULL), ERR_OK);
    const char *image = NULL;
    size_t len = 0;
    bool found = false;
    assert_int_equal(json_get_string(value, "image", &found, &image, &len, NULL), ERR_OK);
    assert_true(found);
    assert_int_equal(len, n);
    assert_memory_equal(image, text.data + 10, n);
    json_object_put(value);
    /* One bad byte anywhere in it is seen: at every place of a word of eight. */
    for (size_t at = 1000; at < 1016; at++) {
        char kept = text.data[at];
        static const char wrong[] = {0, 1, 0x1f, '\n', (char)0x80, (char)0xff, '"', '\\'};
        for (size_t w = 0; w < sizeof wrong; w++) {
            text.data[at] = wrong[w];
            if (wrong[w] == '\\') /* "\A" and the like; some letters are escapes */
                text.data[at + 1] = 'A';
            assert_int_equal(parse_exact(text.data, text.len, &value, NULL), ERR_INVALID);
        }
        text.data[at] = kept;
        text.data[at + 1] = "ABCDwxyz0189+/-_"[(at + 1 - 10) % 16];
    }
    buf_free(&text);
}

static void test_keeps_values(void **state)
{
    (void)state;
    struct json_object *o = parse_good(
        "{\"n\":null,\"i\":-9223372036854775808,\"u\":18446744073709551615,"
        "\"d\":0.1000000000000000055511151231257827,\"s\":\"\\ud83d\\ude00\\/\\u00e9\"}");
    assert_null(json_member(o, "n"));
    assert_null(json_member(o, "nothing"));
    assert_true(json_object_object_get_ex(o, "n", NULL));
    assert_true(json_object_get_int64(json_member(o, "i")) == INT64_MIN);
    assert_true(json_object_get_uint64(json_member(o, "u")) == UINT64_MAX);
    assert_string_equal(json_object_get_string(json_member(o, "d")), "0.1000000000000000055511151231257827");
    assert_string_equal(json_object_get_string(json_member(o, "s")), "\xf0\x9f\x98\x80/\xc3\xa9");
    json_object_put(o);
    struct json_object *array = parse_good("[1]");
    assert_null(json_member(array, "a"));
    assert_null(json_member(NULL, "a"));
    json_object_put(array);
    struct json_object *nothing = (struct json_object *)&nothing;
    assert_int_equal(json_parse("null", 4, &nothing, NULL), ERR_OK);
    assert_null(nothing);
}

/* A number by its text, of every kind that there is. */
static void random_number(struct buf *out, uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    uint64_t r = *random >> 33;
    char text[64];
    switch (r % 10) {
    case 8: snprintf(text, sizeof text, "%u.%018" PRIu64 "%u", (unsigned)(r % 3), *random % UINT64_C(1000000000000000000), (unsigned)(r % 1000)); break;
    case 9: snprintf(text, sizeof text, "%" PRIu64 "e%d", *random >> r % 50, (int)(r / 64 % 52) - 26); break; /* about 2^53 and 10^22 */
    case 0: snprintf(text, sizeof text, "%" PRId64, (int64_t)(*random * 3)); break;
    case 1: snprintf(text, sizeof text, "%" PRIu64, *random | (uint64_t)1 << 63); break;
    case 2: snprintf(text, sizeof text, "%s", r & 8 ? "-0" : "0"); break;
    case 3: snprintf(text, sizeof text, "%.1e", (double)r); break;
    case 4: snprintf(text, sizeof text, "-%u.%uE-%u", (unsigned)(r % 10), (unsigned)(r % 1000), (unsigned)(r % 330)); break;
    case 5: snprintf(text, sizeof text, "%.17g", (double)r / 3e9); break;
    default: snprintf(text, sizeof text, "%.9g", (double)r / 2147483648.0 - 0.5); break;
    }
    assert_int_equal(buf_append_str(out, text), ERR_OK);
}

static unsigned apart_seen;

/* The array "vector" beside the tree, with the same numbers, where it is long and holds nothing else; all others in it. */
static void check_apart(const struct buf *text, struct json_object *plain)
{
    struct json_numbers apart = {.name = "vector"};
    struct json_object *body = NULL, *whole = json_member(plain, "vector"), *left;
    assert_int_equal(json_parse_body(text->data, text->len, &apart, &body, NULL), ERR_OK);
    left = json_member(body, "vector");
    if (apart.values) {
        assert_int_equal(json_object_array_length(left), 0);
        assert_true(apart.count >= 64 && apart.count == json_object_array_length(whole));
        for (size_t i = 0; i < apart.count; i++)
            assert_true(apart.values[i] == json_object_get_double(json_object_array_get_idx(whole, i)));
        apart_seen++;
        json_object_object_del(body, "vector");
        json_object_object_add(body, "vector", json_object_get(whole));
    }
    assert_true(json_object_equal(plain, body));
    json_object_put(body);
    json_numbers_free(&apart);
}

/* json_parse_body() against json_parse(): the same tree, number by number and kind by kind. */
static void test_bodies(void **state)
{
    static const char *const keys[] = {"vector", "v\\u0065c", "\xc3\xa9", "a long key that has more than sixty-four bytes, which is where the scan forgets it", ""};
    uint64_t random = 20261129;
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct buf text;
        buf_init(&text, LIMIT_BODY);
        assert_int_equal(buf_append_str(&text, round % 7 ? "{\"a\":[1,2]" : "\xef\xbb\xbf {\"a\":[1,2]"), ERR_OK);
        for (int array = 0; array <= round % 6; array++) {
            assert_int_equal(buf_appendf(&text, " , \"%s%.*s\" : [ ", keys[(round + array) % 5], array, "......"), ERR_OK);
            int count = (int[]){0, 1, 63, 64, 65, 700}[(round + 5 * array) % 6];
            for (int i = 0; i < count; i++) {
                if (i)
                    assert_int_equal(buf_append_str(&text, i % 5 ? "," : " ,\t\r\n "), ERR_OK);
                if (round % 5 == 4 && i == count - 1) /* one that is no number */
                    assert_int_equal(buf_append_str(&text, (const char *[]){"null", "\"x\"", "[1]", "{}", "true"}[round % 4]), ERR_OK);
                else
                    random_number(&text, &random);
            }
            assert_int_equal(buf_append_str(&text, "]"), ERR_OK);
        }
        assert_int_equal(buf_append_str(&text, ",\"z\":{\"vector\":[0.10]}}"), ERR_OK);
        struct json_object *plain = NULL, *body = NULL;
        assert_int_equal(json_parse(text.data, text.len, &plain, NULL), ERR_OK);
        assert_int_equal(json_parse_body(text.data, text.len, NULL, &body, NULL), ERR_OK);
        assert_true(json_object_equal(plain, body));
        check_apart(&text, plain);
        json_object_object_foreach(plain, key, member)
        {
            struct json_object *other = json_member(body, key);
            for (size_t i = 0; json_object_is_type(member, json_type_array) && i < json_object_array_length(member); i++) {
                struct json_object *a = json_object_array_get_idx(member, i), *b = json_object_array_get_idx(other, i);
                assert_int_equal(json_object_get_type(a), json_object_get_type(b));
                assert_true(json_object_get_double(a) == json_object_get_double(b) && json_object_get_uint64(a) == json_object_get_uint64(b));
            }
        }
        assert_string_equal(json_object_get_string(json_object_array_get_idx(json_member(json_member(body, "z"), "vector"), 0)), "0.10");
        json_object_put(plain);
        json_object_put(body);
        buf_free(&text);
    }
    assert_true(apart_seen > 3);
}

/* What is wrong is wrong also where it stands beside, or in, what is read apart. */
static void test_bodies_refused(void **state)
{
    static const char *const wrong[] = {"{\"v\":[%s],\"v\":[%s]}", "{\"v\":[%s],\"v\":1}", "{\"v\":[%s,]}", "{\"v\":[%s", "{\"v\":[%s]]", "{\"v\":[%s,01]}",
        "{\"v\":[%s,99999999999999999999]}", "{\"v\":[%s,+1]}", "{\"v\":[%s 1]}", "[%s", "{\"v\":[%s],\"x\":NaN}"};
    char numbers[512], text[2048];
    (void)state;
    for (int i = 0; i < 100; i++)
        memcpy(numbers + 4 * i, "0.5,", 4);
    numbers[399] = '\0';
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct json_object *value = NULL;
        struct err plain = {0}, body = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
        snprintf(text, sizeof text, wrong[i], numbers, numbers);
#pragma GCC diagnostic pop
        enum result r = json_parse(text, strlen(text), &value, &plain);
        assert_int_not_equal(r, ERR_OK);
        struct json_numbers apart = {.name = "v"};
        assert_int_equal(json_parse_body(text, strlen(text), i % 2 ? &apart : NULL, &value, &body), r);
        assert_null(apart.values);
        assert_string_equal(body.message, plain.message);
        assert_string_equal(body.field, plain.field);
        assert_null(value);
    }
}

static void check_i64(const char *member, bool good_one, int64_t expected)
{
    char text[100];
    snprintf(text, sizeof text, "{\"f\":%s}", member);
    struct json_object *o = parse_good(text);
    bool found = false;
    int64_t v = 77;
    struct err err = {0};
    enum result r = json_get_i64(o, "f", &found, &v, &err);
    if (good_one) {
        assert_int_equal(r, ERR_OK);
        assert_true(found);
        assert_true(v == expected);
    } else {
        assert_int_equal(r, ERR_INVALID);
        assert_string_equal(err.field, "f");
        assert_false(found);
        assert_true(v == 77);
    }
    json_object_put(o);
}

static void test_get_i64(void **state)
{
    (void)state;
    check_i64("0", true, 0);
    check_i64("-1", true, -1);
    check_i64("9007199254740993", true, 9007199254740993);
    check_i64("9223372036854775807", true, INT64_MAX);
    check_i64("-9223372036854775808", true, INT64_MIN);
    check_i64("\"9223372036854775807\"", true, INT64_MAX);
    check_i64("\"-12\"", true, -12);
    check_i64("9223372036854775808", false, 0);
    check_i64("18446744073709551615", false, 0);
    check_i64("\"9223372036854775808\"", false, 0);
    check_i64("1.0", false, 0);
    check_i64("1e3", false, 0);
    check_i64("true", false, 0);
    check_i64("[1]", false, 0);
    check_i64("{}", false, 0);
    check_i64("\"\"", false, 0);
    check_i64("\" 1\"", false, 0);
    check_i64("\"1 \"", false, 0);
    check_i64("\"0x1\"", false, 0);
    check_i64("\"1.0\"", false, 0);
}

static void test_getters(void **state)
{
    (void)state;
    struct json_object *o = parse_good(
        "{\"s\":\"x\",\"e\":\"\",\"t\":true,\"f\":false,\"d\":1.5,\"i\":3,"
        "\"n\":null,\"o\":{},\"big\":1e999}");
    bool found = true, b = false;
    const char *s = "kept";
    size_t len = 9;
    double d = 7;
    int64_t i = 5;
    struct err err = {0};
    assert_int_equal(json_get_string(o, "n", &found, &s, &len, &err), ERR_OK);
    assert_false(found);
    assert_string_equal(s, "kept");
    found = true;
    assert_int_equal(json_get_i64(o, "absent", &found, &i, &err), ERR_OK);
    assert_false(found);
    assert_int_equal(i, 5);
    assert_int_equal(json_get_string(o, "e", &found, &s, &len, &err), ERR_OK);
    assert_true(found);
    assert_int_equal(len, 0);
    assert_int_equal(json_get_string(o, "i", &found, &s, &len, &err), ERR_INVALID);
    assert_string_equal(err.field, "i");
    assert_int_equal(json_get_bool(o, "t", &found, &b, &err), ERR_OK);
    assert_true(found && b);
    assert_int_equal(json_get_bool(o, "f", &found, &b, &err), ERR_OK);
    assert_true(found && !b);
    assert_int_equal(json_get_bool(o, "s", &found, &b, &err), ERR_INVALID);
    assert_int_equal(json_get_bool(o, "i", &found, &b, &err), ERR_INVALID);
    assert_int_equal(json_get_double(o, "d", &found, &d, &err), ERR_OK);
    assert_true(found && d == 1.5);
    assert_int_equal(json_get_double(o, "i", &found, &d, &err), ERR_OK);
    assert_true(d == 3);
    assert_int_equal(json_get_double(o, "big", &found, &d, &err), ERR_INVALID);
    assert_int_equal(json_get_double(o, "s", &found, &d, &err), ERR_INVALID);
    assert_int_equal(json_get_double(o, "o", &found, &d, &err), ERR_INVALID);
    assert_true(d == 3);
    json_object_put(o);
}

static void test_append_string(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, LIMIT_MIB);
    char all[0x80];
    for (int i = 0; i < 0x80; i++)
        all[i] = (char)(i ? i : 'x');
    assert_int_equal(json_append_string(&out, all, sizeof all), ERR_OK);
    struct json_object *back = parse_good(out.data);
    assert_int_equal(json_object_get_string_len(back), sizeof all);
    assert_memory_equal(json_object_get_string(back), all, sizeof all);
    json_object_put(back);
    buf_clear(&out);
    assert_int_equal(json_append_string(&out, "a\"b\\c\n\t\r\b\f\v\x01/\xc3\xa9 long enough", 27), ERR_OK);
    assert_string_equal(out.data, "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u000b\\u0001/\xc3\xa9 long enough\"");
    buf_clear(&out);
    assert_int_equal(json_append_string(&out, "", 0), ERR_OK);
    assert_string_equal(out.data, "\"\"");
    buf_free(&out);

    buf_init(&out, 10); /* too small: the content stays as it was */
    assert_int_equal(buf_append_str(&out, "abc"), ERR_OK);
    assert_int_equal(json_append_string(&out, "12345\n", 6), ERR_TOO_LARGE);
    assert_string_equal(out.data, "abc");
    assert_int_equal(out.len, 3);
    buf_free(&out);
}

static const char *float_text(struct buf *out, float value)
{
    buf_clear(out);
    assert_int_equal(json_append_float(out, value), ERR_OK);
    return out->data;
}

static int count_digits(const char *text)
{
    int n = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text >= '1' && *text <= '9') {
            n += zeros + 1;
            zeros = 0;
        } else if (*text == '0' && n) {
            zeros++;
        }
    }
    return n;
}

static void check_float(struct buf *out, float v)
{
    const char *text = float_text(out, v);
    float back = strtof(text, NULL);
    if (memcmp(&back, &v, sizeof v) != 0)
        fail_msg("%s is not %.9g", text, (double)v);
    struct json_object *value = parse_good(text);
    json_object_put(value);
    char slow[40];
    for (int p = 1; p <= 9; p++) {
        snprintf(slow, sizeof slow, "%.*g", p, (double)v);
        if (strtof(slow, NULL) == v)
            break;
    }
    if (count_digits(text) > count_digits(slow))
        fail_msg("%s is longer than %s", text, slow);
}

static void test_append_float(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, LIMIT_KIB);
    assert_string_equal(float_text(&out, 0), "0");
    assert_string_equal(float_text(&out, -0.0f), "-0.0");
    assert_string_equal(float_text(&out, 1), "1");
    assert_string_equal(float_text(&out, -1.5f), "-1.5");
    assert_string_equal(float_text(&out, 0.1f), "0.1");
    assert_string_equal(float_text(&out, 0.05f), "0.05");
    assert_string_equal(float_text(&out, 0.001f), "0.001");
    assert_string_equal(float_text(&out, 1.25e-7f), "1.25e-7");
    assert_string_equal(float_text(&out, 100000), "100000");
    assert_string_equal(float_text(&out, 16777216), "16777216");
    assert_string_equal(float_text(&out, (float)NAN), "null");
    assert_string_equal(float_text(&out, (float)INFINITY), "null");
    assert_string_equal(float_text(&out, (float)-INFINITY), "null");
    static const float special[] = {FLT_MAX, -FLT_MAX, FLT_MIN, FLT_EPSILON, 1e-45f, 1e-12f, 9.99999e-13f,
        999999.94f, 1e6f, 0.33333334f, 0.99999994f, 1.00000012f, 8388608.5f, 4294967296.0f, 2.3509886e-38f};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        check_float(&out, special[i]);
    uint32_t x = 12345;
    for (int i = 0; i < 20000; i++) {
        x = x * 1664525u + 1013904223u;
        float any;
        memcpy(&any, &x, sizeof any);
        if (isfinite(any))
            check_float(&out, any);
        check_float(&out, (float)(int32_t)x / 2147483648.0f * 0.1f); /* like a component of a unit vector */
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_names_the_byte),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_long_string),
        cmocka_unit_test(test_keeps_values),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_bodies_refused),
        cmocka_unit_test(test_get_i64),
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_append_string),
        cmocka_unit_test(test_append_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
