/* What filters mean, record by record: for the interpreter, and for the columns with the same records. */
#include "filter/columns.h"
#include "filter/interpret.h"
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BRIEF                                                                                                \
    "{\"i\": 5, \"n\": -7, \"d\": 5.0, \"h\": 2.5, \"s\": \"abc\", \"e\": \"\", \"t\": true, \"f\": false, " \
    "\"z\": null, \"u\": 18446744073709551615, "                                                             \
    "\"big\": 9007199254740993, \"min\": -9223372036854775808, \"max\": 9223372036854775807, \"arr\": [1, "  \
    "2.0, \"x\", [1, 2], null, true, {\"k\": 3}], "                                                          \
    "\"empty\": [], \"obj\": {\"a\": {\"b\": 1}, \"0\": \"zero\"}, \"none\": {}, \"pct\": \"8%-0\", "        \
    "\"字\": \"日本\"}"

/* All are asked of one record: fileid 10, itemid -3, tags ["a", "b", "abc", ""], brief as above. */
static const struct {
    const char *text;
    int truth;
} meanings[] = {
    /* ints */
    {"fileid == 10", 1},
    {"fileid != 10", 0},
    {"fileid > 9 and fileid < 11 and fileid >= 10 and fileid <= 10", 1},
    {"itemid in [1, -3]", 1},
    {"itemid not in [1, -3]", 0},
    {"fileid in []", 0},
    {"fileid not in []", 1},
    {"itemid < fileid", 1},
    {"itemid == fileid", 0},
    {"itemid != fileid", 1},
    {"10 <= fileid < 11", 1},
    {"10 < fileid < 12", 0},
    {"fileid is null", 0},
    {"fileid is not null", 1},
    {"1 == 1", 1},
    {"1 == 2", 0},
    /* arithmetic truncates and wraps */
    {"itemid / 2 == -1", 1},
    {"itemid % 2 == -1", 1},
    {"fileid % -3 == 1", 1},
    {"fileid * 2 == 20 and fileid - 11 == -1 and 5 + fileid == 15", 1},
    {"brief[\"max\"] + 1 == -9223372036854775808", 1},
    {"brief[\"min\"] - 1 == 9223372036854775807", 1},
    {"brief[\"min\"] / -1 == -9223372036854775808", 1},
    {"brief[\"min\"] % -1 == 0", 1},
    {"brief[\"n\"] / 2 == -3", 1},
    {"brief[\"n\"] / 2.0 == -3.5", 1},
    {"brief[\"d\"] / 2 == 2", 0}, /* a double divides as one: 2.5 */
    {"brief[\"d\"] / 2.0 == 2.5", 1},
    {"brief[\"h\"] % 2 == 0", 0}, /* 0.5 */
    {"brief[\"h\"] % 2 > 0", 1},
    {"brief[\"d\"] % 2 == 1", 1},
    {"brief[\"i\"] + 0.5 == 5.5", 1},
    {"brief[\"s\"] + 1 == 2", 0},
    {"brief[\"s\"] + 1 != 2", 1},
    {"brief[\"nothing\"] * 2 != 2", 1},
    {"brief[\"nothing\"] * 2 < 2", 0},
    /* ints and doubles */
    {"brief[\"i\"] == 5.0 and brief[\"d\"] == 5", 1},
    {"brief[\"d\"] in [5]", 1},
    {"brief[\"h\"] in [2]", 0},
    {"brief[\"h\"] > 2 and brief[\"h\"] < 3", 1},
    {"brief[\"big\"] == 9007199254740993", 1},
    {"brief[\"big\"] == 9007199254740992", 0},
    {"brief[\"big\"] == 9007199254740992.0", 1}, /* as doubles they are one */
    {"brief[\"big\"] in [9007199254740992, 1]", 0},
    {"brief[\"big\"] in [9007199254740992, 1.5]", 1}, /* the list became floats */
    {"brief[\"u\"] > 9223372036854775807", 1},
    {"brief[\"u\"] == 18446744073709551615.0", 1},
    {"brief[\"min\"] < 0 and brief[\"min\"] == -9223372036854775808", 1},
    {"4.5 < brief[\"i\"] <= 5", 1},
    /* strings and booleans */
    {"brief[\"s\"] == \"abc\" and brief[\"s\"] > \"ab\" and brief[\"s\"] < \"abd\" and brief[\"s\"] >= "
     "\"abc\"",
        1},
    {"brief[\"s\"] == \"ABC\"", 0},
    {"brief[\"e\"] == \"\"", 1},
    {"\"a\" < brief[\"s\"] < \"b\"", 1},
    {"brief[\"字\"] == \"日本\"", 1},
    {"brief[\"t\"] == true and brief[\"f\"] != true", 1},
    {"brief[\"t\"] > false", 1},
    {"brief[\"t\"] in [true, 1]", 1},
    {"brief[\"t\"] == 1", 0},
    {"brief[\"i\"] == \"5\"", 0},
    {"brief[\"i\"] == true", 0},
    /* missing keys, null, other types: all false but != and not */
    {"brief[\"nothing\"] == 1", 0},
    {"brief[\"nothing\"] != 1", 1},
    {"brief[\"nothing\"] < 1", 0},
    {"brief[\"nothing\"] in [1]", 0},
    {"brief[\"nothing\"] not in [1]", 1},
    {"not (brief[\"nothing\"] == 1)", 1},
    {"brief[\"nothing\"] like \"%\"", 0},
    {"0 < brief[\"nothing\"] < 5", 0},
    {"brief[\"z\"] == 1", 0},
    {"brief[\"z\"] != 1", 1},
    {"brief[\"s\"] < 1", 0},
    {"brief[\"s\"] != 1", 1},
    {"brief[\"s\"] in [1, 2]", 0},
    {"brief[\"i\"][\"deeper\"] == 1", 0},
    {"brief[\"i\"][\"deeper\"] != 1", 1},
    {"brief > 0", 0},
    {"brief != 0", 1},
    {"brief like \"%\"", 0},
    /* exists, is null */
    {"exists brief[\"i\"] and exists brief[\"arr\"] and exists brief[\"none\"] and exists brief[\"empty\"] "
     "and exists brief[\"f\"]",
        1},
    {"exists brief[\"nothing\"]", 0},
    {"exists brief[\"z\"]", 0},
    {"exists brief[\"obj\"][\"a\"][\"b\"]", 1},
    {"exists brief[\"obj\"][\"b\"]", 0},
    {"exists brief[\"arr\"][6]", 1},
    {"exists brief[\"arr\"][4]", 0},
    {"exists brief[\"arr\"][7]", 0},
    {"brief[\"z\"] is null and brief[\"nothing\"] is null and brief[\"i\"] is not null", 1},
    {"brief is null or tags is null", 0},
    /* paths */
    {"brief[\"obj\"][\"a\"][\"b\"] == 1", 1},
    {"brief[\"obj\"][0] == \"zero\" and brief[\"obj\"][\"0\"] == \"zero\"", 1},
    {"brief[\"arr\"][0] == 1 and brief[\"arr\"][\"0\"] == 1", 1},
    {"brief[\"arr\"][\"00\"] == 1", 0},
    {"brief[\"arr\"][6][\"k\"] == 3", 1},
    {"brief[\"arr\"][3][1] == 2", 1},
    {"brief[\"arr\"][9] == 1", 0},
    {"brief[\"arr\"][9] != 1", 1},
    /* lists */
    {"json_contains(brief[\"arr\"], 1)", 1},
    {"json_contains(brief[\"arr\"], 2)", 1},
    {"json_contains(brief[\"arr\"], 2.5)", 0},
    {"json_contains(brief[\"arr\"], \"x\")", 1},
    {"json_contains(brief[\"arr\"], true)", 1},
    {"json_contains(brief[\"arr\"], [1, 2])", 1},
    {"json_contains(brief[\"arr\"], [1])", 0},
    {"json_contains(brief[\"arr\"], [2, 1])", 0},
    {"json_contains(brief[\"arr\"][3], 2)", 1},
    {"json_contains(brief[\"i\"], 5)", 0},
    {"json_contains(brief, 5)", 0},
    {"json_contains(brief[\"nothing\"], 5)", 0},
    {"json_contains_all(brief[\"arr\"], [1, \"x\", [1, 2]])", 1},
    {"json_contains_all(brief[\"arr\"], [1, 9])", 0},
    {"json_contains_all(brief[\"arr\"], [])", 1},
    {"json_contains_all(brief[\"i\"], [])", 0},
    {"json_contains_any(brief[\"arr\"], [9, \"x\"])", 1},
    {"json_contains_any(brief[\"arr\"], [9, 8])", 0},
    {"json_contains_any(brief[\"arr\"], [])", 0},
    {"brief[\"arr\"][3] == [1, 2]", 1},
    {"brief[\"arr\"][3] == [1.0, 2]", 1},
    {"brief[\"arr\"][3] != [1, 2]", 0},
    {"brief[\"arr\"][3] in [[1, 2], 7]", 1},
    {"brief[\"arr\"][3] > [1]", 0},
    {"brief[\"empty\"] == []", 1},
    {"array_length(brief[\"arr\"]) == 7 and array_length(brief[\"empty\"]) == 0 and "
     "array_length(brief[\"arr\"][3]) > 1",
        1},
    {"array_length(brief[\"nothing\"]) == 0", 0},
    {"array_length(brief[\"nothing\"]) != 0", 1},
    {"array_length(brief[\"s\"]) >= 0", 0},
    {"array_length(brief) >= 0", 0},
    /* tags */
    {"array_contains(tags, \"b\")", 1},
    {"array_contains(tags, \"c\")", 0},
    {"array_contains(tags, \"\")", 1},
    {"array_contains_all(tags, [\"a\", \"abc\"])", 1},
    {"array_contains_all(tags, [\"a\", \"c\"])", 0},
    {"array_contains_all(tags, [])", 1},
    {"array_contains_any(tags, [\"c\", \"b\"])", 1},
    {"array_contains_any(tags, [])", 0},
    {"array_length(tags) == 4", 1},
    {"array_length(tags) != 4", 0},
    {"array_length(tags) > 9223372036854775806", 0},
    {"array_length(tags[1]) == 1 or array_length(tags[1]) < 9 or array_length(tags[1]) >= 0", 0}, /* a string */
    {"array_length(tags[3]) == 0 or array_length(tags[3]) <= 0 or array_length(tags[3]) > -1", 0},
    {"array_length(tags[1]) != 1 and array_length(tags[3]) != 0", 1},
    {"not (array_length(tags[1]) == 1)", 1},
    {"array_length(tags[4]) != 1 or array_length(tags[99999999999]) != 1", 0}, /* beyond the end */
    {"not (array_length(tags[4]) == 1)", 1},
    {"tags == [\"a\", \"b\", \"abc\", \"\"]", 1},
    {"tags == [\"a\", \"b\"]", 0},
    {"tags != [\"a\", \"b\"]", 1},
    {"tags in [[\"x\"], [\"a\", \"b\", \"abc\", \"\"]]", 1},
    {"tags not in [[\"x\"]]", 1},
    {"tags[0] == \"a\" and tags[1] > \"a\" and tags[2] like \"a_c\" and tags[3] == \"\"", 1},
    {"\"a\" <= tags[0] < \"b\"", 1},
    {"tags[0] < tags[1] and tags[2] > tags[0] and tags[0] != tags[1] and tags == tags", 1},
    {"tags[4] == \"a\"", 0},
    {"tags[4] != \"a\"", 0}, /* beyond the end */
    {"not (tags[4] == \"a\")", 1},
    {"tags[4] in [\"a\"]", 0},
    {"tags[4] not in [\"a\"]", 1},
    {"tags[4] == tags[4]", 0},
    {"tags[4] != tags[0]", 0},
    {"tags[99999999999] != \"a\"", 0},
    {"tags[4] like \"%\"", 0},
    /* like */
    {"brief[\"s\"] like \"a%\" and brief[\"s\"] like \"%c\" and brief[\"s\"] like \"%b%\" and brief[\"s\"] "
     "like \"a_c\"",
        1},
    {"brief[\"s\"] like \"abc\"", 1},
    {"brief[\"s\"] like \"ab\"", 0},
    {"brief[\"s\"] like \"\"", 0},
    {"brief[\"e\"] like \"\"", 1},
    {"brief[\"e\"] like \"%\"", 1},
    {"brief[\"e\"] like \"_\"", 0},
    {"brief[\"pct\"] like \"8\\\\%-0%\"", 1},
    {"brief[\"s\"] like \"8\\\\%-0%\"", 0},
    {"brief[\"字\"] like \"__\"", 1},
    {"brief[\"字\"] like \"_\"", 0},
    {"brief[\"字\"] like \"日%\"", 1},
    {"brief[\"i\"] like \"5\"", 0},
};

static enum filter_truth truth_of(const char *text, const struct filter_record *record)
{
    struct filter *filter = NULL;
    struct err err;
    if (filter_parse(text, strlen(text), &filter, &err))
        fail_msg("%s: %s", text, err.message);
    enum filter_truth truth = filter_interpret(filter, record);
    filter_free(filter);
    return truth;
}

static bool selected(const char *text, struct filter_columns *columns, uint32_t row)
{
    struct filter *filter = NULL;
    struct filter_rows *rows = NULL;
    assert_int_equal(filter_parse(text, strlen(text), &filter, NULL), ERR_OK);
    assert_int_equal(filter_columns_select(columns, filter, &rows, NULL), ERR_OK);
    bool yes = filter_rows_contain(rows, row);
    filter_rows_free(rows);
    filter_free(filter);
    return yes;
}

static const char tags[] = "[\"a\", \"b\", \"abc\", \"\"]";

static void filters_mean_what_they_should(void **state)
{
    struct filter_record record = {.fileid = 10, .itemid = -3};
    struct filter_columns *columns = NULL;
    int wrong = 0;
    (void)state;
    assert_int_equal(json_parse(tags, strlen(tags), &record.tags, NULL), ERR_OK);
    assert_int_equal(json_parse(BRIEF, strlen(BRIEF), &record.brief, NULL), ERR_OK);
    assert_int_equal(filter_columns_new(NULL, &columns, NULL), ERR_OK);
    const struct filter_columns_row row = {5, 10, -3, tags, strlen(tags), BRIEF, strlen(BRIEF)};
    assert_int_equal(filter_columns_put(columns, &row, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        bool plain = truth_of(meanings[i].text, &record) == FILTER_TRUE,
             fast = selected(meanings[i].text, columns, 5);
        if (plain == meanings[i].truth && fast == meanings[i].truth)
            continue;
        print_message("# %s: interpreter %d, columns %d\n", meanings[i].text, plain, fast);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    json_object_put(record.tags);
    json_object_put(record.brief);
    filter_columns_free(columns);
}

/* --- three-valued logic
 * --------------------------------------------------------------------------------------------- */

/* For a record whose tags and brief are null: a test of them is unknown. */
static const struct {
    const char *text;
    enum filter_truth truth;
} kleene[] = {
    {"fileid == 1", FILTER_TRUE},
    {"fileid == 2", FILTER_FALSE},
    {"brief[\"a\"] == 1", FILTER_UNKNOWN},
    {"brief[\"a\"] != 1", FILTER_UNKNOWN},
    {"brief[\"a\"] in [1]", FILTER_UNKNOWN},
    {"brief[\"a\"] not in [1]", FILTER_UNKNOWN},
    {"exists brief[\"a\"]", FILTER_UNKNOWN},
    {"tags[0] == \"a\"", FILTER_UNKNOWN},
    {"tags == [\"a\"]", FILTER_UNKNOWN},
    {"tags != [\"a\"]", FILTER_UNKNOWN},
    {"tags[0] == tags[1]", FILTER_UNKNOWN},
    {"array_contains(tags, \"a\")", FILTER_UNKNOWN},
    {"array_length(tags) != 3", FILTER_UNKNOWN},
    {"array_length(tags[0]) == 3", FILTER_UNKNOWN},
    {"array_length(tags[0]) != 3", FILTER_UNKNOWN},
    {"brief is null", FILTER_TRUE},
    {"tags is null", FILTER_TRUE},
    {"tags is not null", FILTER_FALSE},
    {"not (tags[0] == \"a\")", FILTER_UNKNOWN},
    {"not (not (tags[0] == \"a\"))", FILTER_UNKNOWN},
    {"tags[0] == \"a\" and fileid == 1", FILTER_UNKNOWN},
    {"tags[0] == \"a\" and fileid == 2", FILTER_FALSE},
    {"fileid == 2 and tags[0] == \"a\"", FILTER_FALSE},
    {"tags[0] == \"a\" and brief == 1", FILTER_UNKNOWN},
    {"tags[0] == \"a\" or fileid == 1", FILTER_TRUE},
    {"fileid == 1 or tags[0] == \"a\"", FILTER_TRUE},
    {"tags[0] == \"a\" or fileid == 2", FILTER_UNKNOWN},
    {"tags[0] == \"a\" or brief == 1", FILTER_UNKNOWN},
    {"not (tags[0] == \"a\" and fileid == 2)", FILTER_TRUE},
    {"not (tags[0] == \"a\" or fileid == 1)", FILTER_FALSE},
    {"not (tags[0] == \"a\" or fileid == 2)", FILTER_UNKNOWN},
    {"(tags[0] == \"a\" or fileid == 1) and (brief == 1 or fileid == 1)", FILTER_TRUE},
    {"fileid == 1 and not (brief[\"a\"] == 1)", FILTER_UNKNOWN},
};

static void nulls_are_unknown(void **state)
{
    const struct filter_record record = {.fileid = 1, .itemid = 1};
    struct filter_columns *columns = NULL;
    (void)state;
    assert_int_equal(filter_columns_new(NULL, &columns, NULL), ERR_OK);
    const struct filter_columns_row row = {70000, 1, 1, NULL, 0, NULL, 0};
    assert_int_equal(filter_columns_put(columns, &row, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof kleene / sizeof kleene[0]; i++) {
        if (truth_of(kleene[i].text, &record) != kleene[i].truth)
            fail_msg("%s", kleene[i].text);
        assert_int_equal(selected(kleene[i].text, columns, 70000), kleene[i].truth == FILTER_TRUE);
    }
    assert_int_equal(filter_interpret(NULL, &record), FILTER_TRUE);
    filter_columns_free(columns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_mean_what_they_should),
        cmocka_unit_test(nulls_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
