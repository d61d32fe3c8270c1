/* The table of the page's files: every file is found by its path, and nothing else is found. */
#include "web/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_file_is_found(void **state)
{
    assert_true(web_file_count > 10);
    for (size_t i = 0; i < web_file_count; i++) {
        const struct web_file *file = &web_files[i];
        assert_ptr_equal(web_find(file->path), file);
        assert_true(file->len > 0);
        assert_int_equal(strlen(file->etag), 34);
        assert_true(file->etag[0] == '"' && file->etag[33] == '"');
    }
}

static void the_table_is_sorted_and_has_no_path_twice(void **state)
{
    for (size_t i = 1; i < web_file_count; i++) {
        assert_true(strcmp(web_files[i - 1].path, web_files[i].path) < 0);
    }
}

static void content_is_what_it_says(void **state)
{
    const struct web_file *page = web_find("/");
    assert_non_null(page);
    assert_string_equal(page->content_type, "text/html; charset=utf-8");
    assert_memory_equal(page->data, "<!doctype html>", 15);
    assert_int_equal(page->data[page->len - 1], '\n');
    assert_string_equal(web_find("/js/main.js")->content_type, "text/javascript; charset=utf-8");
    assert_string_equal(web_find("/css/base.css")->content_type, "text/css; charset=utf-8");
    assert_string_equal(web_find("/favicon.svg")->content_type, "image/svg+xml");
}

static void nothing_else_is_found(void **state)
{
    static const char *const strangers[] = {
        "", "//", "/index.html", "index.html", "/js", "/js/", "/js/main.js/", "/js/main.jsx", "/js/../index.html",
        "/../web.h", "/web.h", "/meson.build", "/JS/MAIN.JS", "/v1/collections",
    };
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        assert_null(web_find(strangers[i]));
    }
}

/*
 * index.html names each module, so that the browser fetches them at once and not level by level; but for the
 * administration, which is loaded when somebody opens it.
 */
static void the_page_names_every_script_and_style(void **state)
{
    const struct web_file *page = web_find("/");
    for (size_t i = 0; i < web_file_count; i++) {
        const char *path = web_files[i].path;
        if (strncmp(path, "/js/manage/", 11) == 0 || strcmp(path, "/css/manage.css") == 0)
            continue;
        if (strncmp(path, "/js/", 4) == 0 || strncmp(path, "/css/", 5) == 0) {
            if (!memmem(page->data, page->len, path, strlen(path))) {
                fail_msg("index.html does not name %s", path);
            }
        }
    }
}

static void the_policy_allows_nothing_inline(void **state)
{
    assert_non_null(strstr(WEB_CSP, "default-src 'none'"));
    assert_null(strstr(WEB_CSP, "unsafe"));
    assert_null(memmem(web_find("/")->data, web_find("/")->len, "<style", 6));
    assert_null(memmem(web_find("/")->data, web_find("/")->len, " style=", 7));
    assert_null(memmem(web_find("/")->data, web_find("/")->len, " onclick", 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_found),
        cmocka_unit_test(the_table_is_sorted_and_has_no_path_twice),
        cmocka_unit_test(content_is_what_it_says),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(the_page_names_every_script_and_style),
        cmocka_unit_test(the_policy_allows_nothing_inline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
