/* The table of the page's files: every file is found by its path, and nothing else is found. */
#include "web/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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
        assert_int_equal(strlen(file->etag), 36);
        assert_memory_equal(file->etag, "W/\"", 3);
        assert_int_equal(file->etag[35], '"');
        assert_true(!file->gzip || (file->gzip_len < file->len && memcmp(file->gzip, "\x1f\x8b", 2) == 0));
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

static bool is_inline(const char *path)
{
    static const char *const files[] = {"/css/tokens.css", "/css/base.css", "/css/intake.css", "/js/early.js"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (strcmp(path, files[i]) == 0)
            return true;
    }
    return false;
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
        if (strncmp(path, "/js/manage/", 11) == 0 || strcmp(path, "/css/manage.css") == 0 || is_inline(path))
            continue;
        if (strncmp(path, "/js/", 4) == 0 || strncmp(path, "/css/", 5) == 0) {
            if (!memmem(page->data, page->len, path, strlen(path))) {
                fail_msg("index.html does not name %s", path);
            }
        }
    }
}

static size_t times(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        count++;
    return count;
}

/* Chromium refuses what does not match its hash, so that the tests in a browser show that the hashes are right. */
static void inline_is_only_what_the_policy_names(void **state)
{
    char page[256 * 1024];
    const struct web_file *file = web_find("/");
    assert_true(file->len < sizeof page);
    memcpy(page, file->data, file->len);
    page[file->len] = '\0';
    assert_non_null(strstr(web_csp, "default-src 'none'"));
    assert_null(strstr(web_csp, "unsafe"));
    assert_int_equal(times(web_csp, "'sha256-"), 2);
    assert_int_equal(times(page, "<style"), 1);
    assert_int_equal(times(page, "<script>"), 1);
    assert_int_equal(times(page, " style="), 0);
    assert_int_equal(times(page, " onclick"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_found),
        cmocka_unit_test(the_table_is_sorted_and_has_no_path_twice),
        cmocka_unit_test(content_is_what_it_says),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(the_page_names_every_script_and_style),
        cmocka_unit_test(inline_is_only_what_the_policy_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
