#include "cli/csv.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Read `text` as a file, and write what was read as "field|field" and lines; "!" is a row that was refused.
 */
static char *read_text(const char *text, size_t len)
{
    struct buf out;
    struct cli_csv *csv = NULL;
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    rewind(f);
    buf_init(&out, 64 * LIMIT_MIB);
    assert_int_equal(buf_append_str(&out, ""), ERR_OK);
    assert_int_equal(cli_csv_new(f, &csv, NULL), ERR_OK);
    for (int rows = 0; rows < 100000; rows++) {
        struct cli_csv_row row = {0};
        struct err err = {0};
        bool end = false;
        enum result r = cli_csv_next(csv, &row, &end, &err);
        if (r == ERR_OK && end)
            break;
        assert_true(r == ERR_OK || r == ERR_INVALID || r == ERR_TOO_LARGE);
        if (r) {
            assert_true(strlen(err.message) > 5);
            assert_int_equal(buf_appendf(&out, "%d!\n", (int)row.line), ERR_OK);
            continue;
        }
        assert_int_equal(buf_appendf(&out, "%d:", (int)row.line), ERR_OK);
        for (size_t i = 0; i < row.count; i++) {
            assert_int_equal(row.fields[i].text[row.fields[i].len], '\0');
            assert_int_equal(buf_append_str(&out, i ? "|" : ""), ERR_OK);
            assert_int_equal(buf_append(&out, row.fields[i].text, row.fields[i].len), ERR_OK);
        }
        assert_int_equal(buf_append_str(&out, "\n"), ERR_OK);
    }
    cli_csv_free(csv);
    fclose(f);
    return buf_take(&out, NULL);
}

static void check(const char *text, const char *expected)
{
    char *got = read_text(text, strlen(text));
    assert_string_equal(got, expected);
    free(got);
}

static void test_plain(void **state)
{
    (void)state;
    check("", "");
    check("\n\n", "");
    check("a", "1:a\n");
    check("a,b\nc,d\n", "1:a|b\n2:c|d\n");
    check("a,b\r\nc,d\r\n", "1:a|b\n2:c|d\n");
    check("a,b\rc,d\r", "1:a|b\n2:c|d\n");
    check("a,b\r\rc,d", "1:a|b\n3:c|d\n");
    check("a,b\n\n\nc,d", "1:a|b\n4:c|d\n");
    check(",\n,,\n", "1:|\n2:||\n");
    check(" a , b ", "1: a | b \n");
    check("a,b,", "1:a|b|\n");
    check(
        "\xef\xbb\xbf"
        "a,b\nc,d",
        "1:a|b\n2:c|d\n");
    check(
        "gr\xc3\xb6\xc3\x9f"
        "e,\xe6\xbc\xa2",
        "1:gr\xc3\xb6\xc3\x9f"
        "e|\xe6\xbc\xa2\n");
}

static void test_quotes(void **state)
{
    (void)state;
    check("\"a\",\"b\"\n", "1:a|b\n");
    check("\"a,b\",c\n", "1:a,b|c\n");
    check("\"a\"\"b\",\"\"\"\"\n", "1:a\"b|\"\n");
    check("\"\",\"\"\n\"\"\n", "1:|\n2:\n");
    check("\"two\nlines\",x\nnext,y\n", "1:two\nlines|x\n3:next|y\n");
    check("\"two\r\nlines\",x\r\nnext,y\r\n", "1:two\nlines|x\n3:next|y\n");
    check("\xef\xbb\xbf\"a\",b\n", "1:a|b\n");
    check("a\"b,c\"\n", "1:a\"b|c\"\n"); /* a quote inside of a field is nothing special */
    check("{\"x\":1},y\n", "1:{\"x\":1}|y\n");
    check("\"{\"\"x\"\":1}\",y", "1:{\"x\":1}|y\n");
    check("a,\"b\"", "1:a|b\n");
}

static void test_wrong_rows(void **state)
{
    (void)state;
    check("\"a\"b,c\nd,e\n", "1!\n2:d|e\n");
    check("x,y\n\"a\" ,c\nd,e\n", "1:x|y\n2!\n3:d|e\n");
    check("x,y\n\"never closed,c\nd,e\n", "1:x|y\n2!\n");
    check("\"", "1!\n");
    check("\"a\"x", "1!\n");
    check("\"a\"x\r\nb\r\n", "1!\n2:b\n");
}

static void test_other_separators(void **state)
{
    (void)state;
    check("a;b\nc;d,e\n", "1:a|b\n2:c|d,e\n");
    check("a\tb\nc\td\n", "1:a|b\n2:c|d\n");
    check("\"a,b\";c\nd;e\n", "1:a,b|c\n2:d|e\n");
    check("a,b;c\nd;e,f\n", "1:a|b;c\n2:d;e|f\n"); /* a comma decides */
    check(
        "\xef\xbb\xbf"
        "a;b\r\nc;d",
        "1:a|b\n2:c|d\n");
}

static void test_nul_and_bytes(void **state)
{
    (void)state;
    char *got = read_text("a\0b,c\n", 6);
    assert_memory_equal(got, "1:a\0b|c\n", 8);
    free(got);
    check("\xff\xfe,\x80\n", "1:\xff\xfe|\x80\n"); /* what is not UTF-8 is the caller's to refuse */
}

static void test_limits(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 16 * LIMIT_MIB);
    for (int columns = LIMIT_IMPORT_COLUMNS; columns <= LIMIT_IMPORT_COLUMNS + 1; columns++) {
        buf_clear(&text);
        for (int i = 1; i < columns; i++)
            assert_int_equal(buf_append_str(&text, ","), ERR_OK);
        assert_int_equal(buf_append_str(&text, "\nx,y\n"), ERR_OK);
        char *got = read_text(text.data, text.len);
        assert_int_equal(strstr(got, "1!") != NULL, columns > LIMIT_IMPORT_COLUMNS);
        assert_non_null(strstr(got, "2:x|y\n"));
        free(got);
    }
    for (int more = 0; more < 2; more++) { /* the NUL behind a field counts */
        buf_clear(&text);
        assert_int_equal(buf_append_str(&text, "\""), ERR_OK);
        for (int i = 0; i < LIMIT_IMPORT_LINE - 1 + more; i++)
            assert_int_equal(buf_append(&text, i % 100 ? "x" : "\n", 1), ERR_OK);
        assert_int_equal(buf_append_str(&text, "\"\na,b\n"), ERR_OK);
        char *got = read_text(text.data, text.len);
        assert_int_equal(strncmp(got, "1!", 2) == 0, more);
        assert_non_null(strstr(got, ":a|b\n"));
        free(got);
    }
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_wrong_rows),
        cmocka_unit_test(test_other_separators),
        cmocka_unit_test(test_nul_and_bytes),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
