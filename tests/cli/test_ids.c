/* Numbers out of names, flags, texts for a terminal. */
#include "cli/cli.h"
#include "cli/ids.h"
#include "cli/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_hash(void **state)
{
    (void)state;
    /* Written down once: another number for the same name would import everything a second time. */
    assert_true(cli_id_hash("train/dress/a.jpg", 17) == 4097530393661910);
    assert_true(cli_id_hash("", 0) > 0);
    assert_int_not_equal(cli_id_hash("a", 1), cli_id_hash("b", 1));
    for (int i = 0; i < 10000; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "%d", i);
        int64_t id = cli_id_hash(name, (size_t)n);
        assert_true(id >= 1 && id <= CLI_ID_MAX);
        assert_true((int64_t)(double)id == id);
    }
}

static void test_name(void **state)
{
    (void)state;
    assert_true(cli_id_of_name("4711", 4) == 4711);
    assert_true(cli_id_of_name("0", 1) == 0);
    assert_true(cli_id_of_name("9223372036854775807", 19) == INT64_MAX);
    assert_true(cli_id_of_name("9223372036854775808", 19) == cli_id_hash("9223372036854775808", 19));
    assert_true(cli_id_of_name("-5", 2) == cli_id_hash("-5", 2));
    assert_true(cli_id_of_name("47a", 3) == cli_id_hash("47a", 3));
}

static int64_t folder_item(const char *path)
{
    return cli_item_of_path(CLI_ITEM_FOLDER, "root", path);
}

static int64_t name_item(const char *path)
{
    return cli_item_of_path(CLI_ITEM_NAME, "root", path);
}

static void test_item_of_folder(void **state)
{
    (void)state;
    assert_true(folder_item("shoes/1.jpg") == cli_id_hash("shoes", 5));
    assert_true(folder_item("a/b/shoes/1.jpg") == folder_item("shoes/2.jpg"));
    assert_true(folder_item("a/4711/1.jpg") == 4711);
    assert_true(folder_item("1.jpg") == cli_id_hash("root", 4));
    assert_true(folder_item("/x/shoes/1.jpg") == folder_item("shoes/1.jpg"));
}

static void test_item_of_name(void **state)
{
    (void)state;
    int64_t shoe = cli_id_hash("shoe", 4);
    static const char *const shoes[] = {"shoe.jpg", "shoe-1.jpg", "shoe-12.jpg", "shoe_3.png", "shoe(4).webp",
        "shoe (5).jpg", "shoe-999.jpg", "deep/er/shoe-1.jpg", "shoe"};
    for (size_t i = 0; i < sizeof shoes / sizeof *shoes; i++)
        if (name_item(shoes[i]) != shoe)
            fail_msg("%s", shoes[i]);
    static const char *const others[] = {"shoe-1234.jpg", "shoe-.jpg", "shoe1.jpg", "shoe-a.jpg",
        "shoe)1(.jpg", "shoe 1.jpg", "shoe-1-1.jpg", "shoe1).jpg", "shoe().jpg"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (name_item(others[i]) == shoe)
            fail_msg("%s", others[i]);
    assert_true(name_item("4711-2.jpg") == 4711);
    assert_true(name_item("4711.jpg") == 4711);
    assert_true(name_item("-1.jpg") == cli_id_hash("-1", 2)); /* nothing would remain */
    assert_true(name_item("(1).jpg") == cli_id_hash("(1)", 3));
    assert_true(name_item(".jpg") == cli_id_hash(".jpg", 4));
    assert_true(name_item("a.b-1.jpg") == cli_id_hash("a.b", 3));
    assert_true(name_item("IMG_20240131.jpg") != name_item("IMG_20240201.jpg"));
}

static void test_item_from(void **state)
{
    (void)state;
    enum cli_item_from from = CLI_ITEM_NONE;
    assert_int_equal(cli_item_from_parse("folder", &from, NULL), ERR_OK);
    assert_int_equal(from, CLI_ITEM_FOLDER);
    assert_int_equal(cli_item_from_parse("name", &from, NULL), ERR_OK);
    assert_int_equal(from, CLI_ITEM_NAME);
    assert_int_equal(cli_item_from_parse("moon", &from, NULL), ERR_INVALID);
    assert_int_equal(from, CLI_ITEM_NAME);
}

static void test_numbers_in_use(void **state)
{
    (void)state;
    struct cli_idmap *map = NULL;
    int64_t id = 0;
    assert_int_equal(cli_idmap_new(&map, NULL), ERR_OK);
    assert_int_equal(cli_idmap_take_near(map, 10, 1, &id, NULL), ERR_OK);
    assert_int_equal(id, 10);
    assert_int_equal(cli_idmap_take_near(map, 10, 1, &id, NULL), ERR_EXISTS); /* the same owner again */
    assert_int_equal(cli_idmap_take_near(map, 10, 2, &id, NULL), ERR_OK);     /* a collision */
    assert_int_equal(id, 11);
    assert_int_equal(cli_idmap_reserve(map, 12, 9, NULL), ERR_OK);
    assert_int_equal(
        cli_idmap_take_near(map, 11, 3, &id, NULL), ERR_OK); /* 12 is another's, from an earlier run */
    assert_int_equal(id, 13);
    assert_int_equal(cli_idmap_take_near(map, 12, 9, &id, NULL), ERR_OK); /* who gets it back */
    assert_int_equal(id, 12);
    assert_int_equal(cli_idmap_take_near(map, CLI_ID_MAX, 4, &id, NULL), ERR_OK);
    assert_int_equal(cli_idmap_take_near(map, CLI_ID_MAX, 5, &id, NULL), ERR_OK); /* goes on at 1 */
    assert_int_equal(id, 1);
    assert_int_equal(cli_idmap_take(map, -77, 6, NULL), ERR_OK);
    assert_int_equal(cli_idmap_take(map, -77, 6, NULL), ERR_EXISTS);
    assert_int_equal(cli_idmap_take(map, 10, 6, NULL), ERR_EXISTS);
    assert_int_equal(cli_idmap_reserve(map, 50, 7, NULL), ERR_OK);
    assert_int_equal(cli_idmap_take(map, 50, 8, NULL), ERR_OK); /* a number that is asked for by name wins */
    assert_true(cli_idmap_has(map, 50));
    assert_false(cli_idmap_has(map, 51));
    cli_idmap_free(map);
    cli_idmap_free(NULL);
}

static void test_many_numbers(void **state)
{
    (void)state;
    struct cli_idmap *map = NULL;
    int64_t id = 0;
    assert_int_equal(cli_idmap_new(&map, NULL), ERR_OK);
    for (uint64_t i = 0; i < 4000; i++) {
        assert_int_equal(cli_idmap_take_near(map, 1000 + (int64_t)(i % 1000), i, &id, NULL), ERR_OK);
        assert_true(id >= 1000 && id < 1000 + 4000);
    }
    for (int64_t i = 1000; i < 5000; i++)
        assert_true(cli_idmap_has(map, i));
    assert_false(cli_idmap_has(map, 5000));
    cli_idmap_free(map);
}

/* --- flags
 * ------------------------------------------------------------------------------------------------------ */

static enum result parse(struct cli_args *args, const char **jobs, bool *create, const char *const *words)
{
    static char *argv[CLI_ARGS_MAX + 3]; /* main() gets them without const; nobody writes to them */
    const struct cli_flag flags[] = {{"--jobs", jobs, NULL}, {"--create", NULL, create}};
    int argc = 0;
    struct err err = {0};
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    enum result r = cli_args_parse(argc, argv, flags, 2, args, &err);
    if (r)
        assert_true(strlen(err.message) > 5);
    return r;
}
#define ARGV(...) ((const char *const[]){"import", __VA_ARGS__, NULL})

static void test_flags(void **state)
{
    (void)state;
    struct cli_args *a = calloc(1, sizeof *a);
    const char *jobs = NULL;
    bool create = false;
    assert_non_null(a);
    unsetenv("LOOKALIKE_SERVER");
    assert_int_equal(
        parse(a, &jobs, &create, ARGV("shop", "--jobs", "4", "dir", "--create", "-", "--", "--json")),
        ERR_OK);
    assert_string_equal(jobs, "4");
    assert_true(create);
    assert_false(a->json);
    assert_int_equal(a->positional_count, 4);
    assert_string_equal(a->positional[2], "-");
    assert_string_equal(a->positional[3], "--json");
    assert_string_equal(a->server, "http://127.0.0.1:5000");
    assert_null(a->data);
    setenv("LOOKALIKE_SERVER", "http://there:1", 1);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--jobs=9", "--json", "-q")), ERR_OK);
    assert_string_equal(jobs, "9");
    assert_true(a->json && a->quiet);
    assert_string_equal(a->server, "http://there:1");
    assert_int_equal(parse(a, &jobs, &create, ARGV("--server", "http://here:2")), ERR_OK);
    assert_string_equal(a->server, "http://here:2");
    assert_int_equal(
        parse(a, &jobs, &create, ARGV("--data", "d", "--threads", "2", "--model=m", "x")), ERR_OK);
    assert_string_equal(a->data, "d");
    assert_int_equal(a->config_argc, 6);
    assert_string_equal(a->config_argv[5], "--model=m");
    assert_int_equal(a->positional_count, 1);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--data=e")), ERR_OK);
    assert_string_equal(a->data, "e");
    unsetenv("LOOKALIKE_SERVER");
    free(a);
}

static void test_wrong_flags(void **state)
{
    (void)state;
    struct cli_args *a = calloc(1, sizeof *a);
    const char *jobs = NULL;
    bool create = false;
    assert_non_null(a);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--nonsense")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("-x")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--jobs")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--create=yes")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--data", "d", "--server", "http://x")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--model", "m")), ERR_INVALID); /* a server has its own */
    assert_int_equal(parse(a, &jobs, &create, ARGV("--data")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--data=")), ERR_INVALID);
    assert_int_equal(parse(a, &jobs, &create, ARGV("--jobsx", "1")), ERR_INVALID);
    const char *many[CLI_ARGS_MAX + 3];
    for (size_t i = 0; i < CLI_ARGS_MAX + 2; i++)
        many[i] = "x";
    many[CLI_ARGS_MAX + 2] = NULL;
    assert_int_equal(parse(a, &jobs, &create, many), ERR_TOO_LARGE);
    many[CLI_ARGS_MAX + 1] = NULL;
    assert_int_equal(parse(a, &jobs, &create, many), ERR_OK);
    int64_t n = 5;
    assert_int_equal(cli_args_number("--n", NULL, 1, 9, &n, NULL), ERR_OK);
    assert_int_equal(cli_args_number("--n", "0", 1, 9, &n, NULL), ERR_INVALID);
    assert_int_equal(cli_args_number("--n", "10", 1, 9, &n, NULL), ERR_INVALID);
    assert_int_equal(cli_args_number("--n", "2x", 1, 9, &n, NULL), ERR_INVALID);
    assert_int_equal(n, 5);
    assert_int_equal(cli_args_number("--n", "9", 1, 9, &n, NULL), ERR_OK);
    assert_int_equal(n, 9);
    free(a);
}

static void test_plain_text(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(cli_append_plain(&out,
                         "gr\xc3\xb6\xc3\x9f"
                         "e \xe6\xbc\xa2",
                         11),
        ERR_OK);
    assert_string_equal(out.data,
        "gr\xc3\xb6\xc3\x9f"
        "e \xe6\xbc\xa2");
    buf_clear(&out);
    assert_int_equal(cli_append_plain(&out, "a\x1b[31m\n\x7f\xff\xc2\x9b\xe6", 11), ERR_OK);
    assert_null(strpbrk(out.data, "\x1b\n\x7f\xff\x9b"));
    assert_non_null(strstr(out.data, "[31m"));
    buf_free(&out);
}

static void test_duration(void **state)
{
    (void)state;
    char text[16];
    cli_progress_duration(0, text);
    assert_string_equal(text, "0:00");
    cli_progress_duration(61, text);
    assert_string_equal(text, "1:01");
    cli_progress_duration(3909, text);
    assert_string_equal(text, "1:05:09");
    cli_progress_duration(INT64_MAX, text);
    assert_string_equal(text, "999:59:59");
    cli_progress_duration(-5, text);
    assert_string_equal(text, "0:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_item_of_folder),
        cmocka_unit_test(test_item_of_name),
        cmocka_unit_test(test_item_from),
        cmocka_unit_test(test_numbers_in_use),
        cmocka_unit_test(test_many_numbers),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_wrong_flags),
        cmocka_unit_test(test_plain_text),
        cmocka_unit_test(test_duration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
