/*
 * The examples of docs/filter.md and its translation: each of "By example" is true of the record above it,
 * each of the left column of mistakes is refused, and what the right column says instead is accepted.
 */
#include "filter/interpret.h"
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { FILE_MAX = 1 << 16 };

static char *read_page(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FILTER_DOCS") ? getenv("FILTER_DOCS") : "docs", name);
    FILE *file = fopen(path, "r");
    char *text = calloc(1, FILE_MAX);
    if (!file || !text)
        fail_msg("%s cannot be read", path);
    assert_true(fread(text, 1, FILE_MAX - 1, file) > 1000);
    fclose(file);
    return text;
}

/* The next `code` in the line from *at on, "\|" undone; false where there is none. */
static bool next_code(const char **at, const char *end, char out[512])
{
    const char *open = memchr(*at, '`', (size_t)(end - *at));
    const char *close = open ? memchr(open + 1, '`', (size_t)(end - open - 1)) : NULL;
    if (!close || close - open > 500)
        return false;
    size_t n = 0;
    for (const char *p = open + 1; p < close; p++)
        if (*p != '\\' || p[1] != '|')
            out[n++] = *p;
    out[n] = '\0';
    *at = close + 1;
    return true;
}

static enum result parse(const char *text, struct filter **out, struct err *err)
{
    return filter_parse(text, strlen(text), out, err);
}

static void read_record(const char *page, struct json_object **whole, struct filter_record *record)
{
    const char *start = strstr(page, "```json\n"), *end = start ? strstr(start + 8, "```") : NULL;
    assert_non_null(end);
    assert_int_equal(json_parse(start + 8, (size_t)(end - start - 8), whole, NULL), ERR_OK);
    record->fileid = json_object_get_int64(json_member(*whole, "fileid"));
    record->itemid = json_object_get_int64(json_member(*whole, "itemid"));
    record->tags = json_member(*whole, "tags");
    record->brief = json_member(*whole, "brief");
}

/* The end of the column: the next " |" that is not escaped. */
static const char *cell_end(const char *at, const char *line_end)
{
    for (; at + 1 < line_end; at++)
        if (at[0] == ' ' && at[1] == '|')
            return at;
    return line_end;
}

static size_t check_example(const char *line, const char *end, const struct filter_record *record)
{
    const char *at = cell_end(line + 2, end);
    char text[512];
    struct filter *filter = NULL;
    struct err err;
    if (!next_code(&at, end, text))
        return 0;
    if (parse(text, &filter, &err))
        fail_msg("%s: %s", text, err.message);
    if (filter_interpret(filter, record) != FILTER_TRUE)
        fail_msg("%s is not true of the record", text);
    filter_free(filter);
    return 1;
}

static size_t check_mistake(const char *line, const char *end)
{
    const char *at = line + 2, *middle = cell_end(line + 2, end);
    char text[512];
    struct filter *filter = NULL;
    struct err err;
    size_t count = 0;
    for (; next_code(&at, middle, text); count++)
        if (!parse(text, &filter, &err))
            fail_msg("%s is accepted", text);
    for (at = middle; next_code(&at, end, text);) {
        if (!strpbrk(text, "=<") && !strstr(text, " in ") && !strstr(text, "contains(") &&
            !strstr(text, " is "))
            continue; /* only a part of a filter */
        if (parse(text, &filter, &err))
            fail_msg("%s: %s", text, err.message);
        filter_free(filter);
        filter = NULL;
    }
    return count;
}

static void check_page(const char *name)
{
    char *page = read_page(name);
    struct json_object *whole = NULL;
    struct filter_record record;
    size_t examples = 0, mistakes = 0;
    int section = 0;
    read_record(page, &whole, &record);
    for (const char *line = page; *line;) {
        const char *end = strchr(line, '\n');
        end = end ? end : line + strlen(line);
        section += strncmp(line, "## ", 3) == 0;
        if (line[0] == '|' && section == 2)
            examples += check_example(line, end, &record);
        if (line[0] == '|' && section == 3)
            mistakes += check_mistake(line, end);
        line = *end ? end + 1 : end;
    }
    assert_true(examples >= 20);
    assert_true(mistakes >= 10);
    json_object_put(whole);
    free(page);
}

static void english(void **state)
{
    (void)state;
    check_page("filter.md");
}

static void chinese(void **state)
{
    (void)state;
    check_page("filter.zh-CN.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(english),
        cmocka_unit_test(chinese),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
