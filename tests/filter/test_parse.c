/* What the language accepts, what it makes of it, and what it says where it does not. */
#include "base/limits.h"
#include "filter/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

/* --- what is understood: text, and the tree in its one spelling
 * ---------------------------------------------------- */

static const struct {
    const char *text, *tree;
} accepted[] = {
    /* literals */
    {"fileid == 0", "fileid == 0"},
    {"fileid == 017", "fileid == 15"},
    {"fileid == 00", "fileid == 0"},
    {"fileid == 0x1F", "fileid == 31"},
    {"fileid == 0XfF", "fileid == 255"},
    {"fileid == 0b101", "fileid == 5"},
    {"fileid == 9223372036854775807", "fileid == 9223372036854775807"},
    {"fileid == -9223372036854775808", "fileid == -9223372036854775808"},
    {"fileid == - 9223372036854775808", "fileid == -9223372036854775808"},
    {"fileid == --5", "fileid == 5"},
    {"fileid == +5", "fileid == 5"},
    {"brief == 1.5", "brief == 1.5"},
    {"brief == .5", "brief == 0.5"},
    {"brief == 5.", "brief == 5.0"},
    {"brief == 08.5", "brief == 8.5"},
    {"brief == 1e3", "brief == 1000.0"},
    {"brief == 1.e2", "brief == 100.0"},
    {"brief == 1.5E-2", "brief == 0.014999999999999999"},
    {"brief == 0x1.8p3", "brief == 12.0"},
    {"brief == 0x1p4", "brief == 16.0"},
    {"brief == 1e-400", "brief == 0.0"},
    {"brief == \"\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"\"",
        "brief == \"\\007\\010\\014\\012\\015\\011\\013\\\\'\\\"\""},
    {"brief == \"\\101\\x41\\u0041\\U00000041\"", "brief == \"AAAA\""},
    {"brief == \"\\x41BC\"", "brief == \"ABC\""},
    {"brief == \"\\367\"", "brief == \"\\367\""},
    {"brief == '\"'", "brief == \"\\\"\""},
    {"brief == ''", "brief == \"\""},
    {"brief == \"日\"", "brief == \"\\346\\227\\245\""},
    {"brief == \"tab\tinside\"", "brief == \"tab\\011inside\""},
    {"brief == True or brief == FALSE", "(brief == true) or (brief == false)"},
    {"brief == [1, 'a', [], [ ], [true,],]", "brief == [1, \"a\", [], [], [true]]"},
    /* paths */
    {"brief[\"a\"]['b'][0] == 1", "brief[\"a\"][\"b\"][0] == 1"},
    {"brief[\"0\"] == 1", "brief[0] == 1"},
    {"brief[\"01\"] == 1", "brief[\"01\"] == 1"},
    {"brief['a\"b'] == 1", "brief[\"a\\u0022b\"] == 1"},
    {"brief[\"a\\\"b\"] == 1", "brief[\"a\\u005c\\u0022b\"] == 1"},
    {"brief[\"\\u5e74\"] == 1", "brief[\"年\"] == 1"},
    {"brief[\"a[\"] == 1", "brief[\"a[\"] == 1"},
    {"tags[3] == \"a\"", "tags[3] == \"a\""},
    /* blanks, spellings */
    {"\t fileid\n==\r\n5 ", "fileid == 5"},
    {"fileid==5&&itemid==6||fileid==7", "((fileid == 5) and (itemid == 6)) or (fileid == 7)"},
    {"NOT (fileid == 5) AND !(itemid == 6)", "(not (fileid == 5)) and (not (itemid == 6))"},
    {"fileid IN [1,2] OR fileid NOT IN [3]", "(fileid in [1, 2]) or (not (fileid in [3]))"},
    {"fileid not in []", "not (fileid in [])"},
    {"fileid ! in [1]", "not (fileid in [1])"},
    {"tags[0] LIKE 'a%'", "tags[0] like \"a%\""},
    {"EXISTS brief['a']", "exists brief[\"a\"]"},
    {"fileid IS NULL or brief is not null", "(fileid is null) or (not (brief is null))"},
    {"brief['a'] is null", "not (exists brief[\"a\"])"},
    {"brief['a'] is not null", "exists brief[\"a\"]"},
    {"ARRAY_CONTAINS(tags, 'a') and JSON_CONTAINS(brief, 1)",
        "(json_contains(tags, \"a\")) and (json_contains(brief, 1))"},
    {"json_contains_all(tags, ['a',]) or array_contains_any(brief['b'], [])",
        "(json_contains_all(tags, [\"a\"])) or (json_contains_any(brief[\"b\"], []))"},
    {"ARRAY_LENGTH(brief) != 0", "array_length(brief) != 0"},
    {"2 < array_length(tags[10])", "array_length(tags[10]) > 2"},
    /* precedence and association */
    {"fileid == 2**3**2", "fileid == 64"},
    {"fileid == -2 ** 2", "fileid == -4"},
    {"brief == 2 ** -1", "brief == 0.5"},
    {"fileid == 1 + 2 * 3 - 4 / 2", "fileid == 5"},
    {"fileid == 10 - 3 - 2", "fileid == 5"},
    {"fileid == 100 / 10 / 2", "fileid == 5"},
    {"fileid == 7 % 4 * 2", "fileid == 6"},
    {"fileid > 1 and fileid < 3 or itemid == 1 and itemid == 2",
        "((fileid > 1) and (fileid < 3)) or ((itemid == 1) and (itemid == 2))"},
    {"fileid == 1 or fileid == 2 or fileid == 3", "(fileid == 1) or (fileid == 2) or (fileid == 3)"},
    {"not tags[0] like \"x%\"", "not (tags[0] like \"x%\")"},
    {"not exists brief[\"p\"]", "not (exists brief[\"p\"])"},
    {"not array_contains(tags, 'a')", "not (json_contains(tags, \"a\"))"},
    {"not fileid is null", "not (fileid is null)"},
    {"not not (fileid == 1)", "fileid == 1"},
    {"not not not (fileid == 1)", "not (fileid == 1)"},
    {"exists (brief[\"a\"])", "exists brief[\"a\"]"},
    {"(fileid) in [1]", "fileid in [1]"},
    {"fileid in ([1, 2])", "fileid in [1, 2]"},
    {"tags[0] like ('a')", "tags[0] like \"a\""},
    {"+fileid == 5", "fileid == 5"},
    /* the constant goes to the right */
    {"5 < fileid", "fileid > 5"},
    {"5 >= brief", "brief <= 5"},
    {"\"a\" != tags[0]", "tags[0] != \"a\""},
    {"100 - 5 < brief[\"a\"]", "brief[\"a\"] > 95"},
    /* ranges */
    {"1 < fileid < 10", "1 < fileid < 10"},
    {"10 >= fileid > 1", "1 < fileid <= 10"},
    {"1 <= fileid <= 1", "1 <= fileid <= 1"},
    {"1 < brief[\"a\"] < 2.5", "1 < brief[\"a\"] < 2.5"},
    {"5 + 1 < fileid < 10 + 3", "6 < fileid < 13"},
    {"1 < fileid < 10 and 'a' < tags[0] <= 'b'", "(1 < fileid < 10) and (\"a\" < tags[0] <= \"b\")"},
    /* folding */
    {"1 == 1", "1 == 1"},
    {"1 == 1.0", "1 == 1"},
    {"1 > 2", "1 == 0"},
    {"'a' < 'b'", "1 == 1"},
    {"true == true", "1 == 1"},
    {"not true", "1 == 0"},
    {"true and false", "1 == 0"},
    {"(1 == 1) or false", "1 == 1"},
    {"brief == (1 == 2)", "brief == false"},
    {"fileid == 9223372036854775807 + 1", "fileid == -9223372036854775808"},
    {"fileid == -9223372036854775808 / -1", "fileid == -9223372036854775808"},
    {"fileid == -7 / 2", "fileid == -3"},
    {"fileid == -7 % 3", "fileid == -1"},
    {"brief == 7 / 2.0", "brief == 3.5"},
    {"fileid in [1+2, -3, 2**4]", "fileid in [3, -3, 16]"},
    {"brief in [1, 2.5]", "brief in [1.0, 2.5]"},
    {"brief in [1, 'a']", "brief in [1, \"a\"]"},
    /* arithmetic with a field */
    {"fileid + 1 < 2", "fileid + 1 < 2"},
    {"1 + fileid < 2", "fileid + 1 < 2"},
    {"3 * brief['a'] == 9", "brief[\"a\"] * 3 == 9"},
    {"10 > fileid % 7", "fileid % 7 < 10"},
    {"brief['a'] + 1.5 == 3", "brief[\"a\"] + 1.5 == 3.0"},
    {"brief / 2.5 != 1", "brief / 2.5 != 1.0"},
    {"fileid + -5 == 1", "fileid + -5 == 1"},
    /* fields beside fields, whole lists */
    {"fileid < itemid", "fileid < itemid"},
    {"tags[0] == tags[1]", "tags[0] == tags[1]"},
    {"tags == tags", "tags == tags"},
    {"tags == ['a', 'b']", "tags == [\"a\", \"b\"]"},
    {"['a'] != tags", "tags != [\"a\"]"},
    {"tags in [['a'], []]", "tags in [[\"a\"], []]"},
    {"brief['a'] == [1, [2]]", "brief[\"a\"] == [1, [2]]"},
    {"brief['a'] > [1]", "brief[\"a\"] > [1]"},
    {"brief['a'] > true", "brief[\"a\"] > true"},
    {"json_contains(brief['a'], [1,2,3])", "json_contains(brief[\"a\"], [1, 2, 3])"},
    {"brief like 'a'", "brief like \"a\""},
};

/* --- what is refused: text, column, and a part of the sentence
 * ------------------------------------------------------- */

static const struct {
    const char *text;
    unsigned column;
    const char *says;
} refused[] = {
    /* common slips */
    {"fileid = 5", 8, "two values are compared with =="},
    {"fileid <> 5", 8, "there is no \"<>\"; write !="},
    {"fileid =~ 5", 8, "regular expressions are not supported"},
    {"not fileid in [1]", 1, "write fileid not in […]"},
    {"not fileid == 1", 1, "not (fileid == …)"},
    {"fileid == 1 and not itemid > 1", 17, "not (itemid > …)"},
    {"not brief[\"flag\"]", 1, "write brief[\"flag\"] == false"},
    {"tags == \"x\"", 1, "write array_contains(tags, \"x\")"},
    {"tags != 'x'", 1, "write not array_contains(tags, 'x')"},
    {"tags in [\"a\"]", 1, "write array_contains_any(tags, [\"a\"])"},
    {"tags == []", 9, "write array_length(tags) == 0"},
    {"\"a\" in tags", 1, "write array_contains(tags, \"a\")"},
    {"\"a\" in brief[\"t\"]", 1, "write json_contains(brief[\"t\"], \"a\")"},
    {"fileid == 2.1", 11, "fileid is an integer"},
    {"fileid == 1e3", 11, "without a point or exponent"},
    {"fileid == \"5\"", 11, "write the number without quotes"},
    {"fileid == [1, 2]", 11, "write fileid in [1, 2]"},
    {"fileid in (1, 2)", 11, "square brackets"},
    {"fileid in[1]", 8, "put a blank behind \"in\""},
    {"fileid in 1", 11, "a list of constants"},
    {"colour == \"red\"", 1, "a key of brief is brief[\"colour\"]"},
    {"brief.colour == \"red\"", 6, "brief[\"key\"]"},
    {"brief[colour] == 1", 7, "expected a key in quotes"},
    {"brief[-1] == 1", 7, "never negative"},
    {"brief[ 0] == 1", 7, "no blank"},
    {"brief [0] == 1", 7, "directly behind its field"},
    {"brief[01] == 1", 7, "without zeros in front"},
    {"FileID == 1", 1, "small letters: fileid"},
    {"fileid == 1 And itemid == 1", 13, "write \"and\" or \"AND\""},
    {"fileid In [1]", 8, "write \"in\" or \"IN\""},
    {"fileid Is Null", 8, "exactly one blank"},
    {"fileid is  null", 8, "exactly one blank"},
    {"fileid between 1 and 2", 8, "1 <= field <= 9"},
    {"brief[\"a\"] == null", 15, "there is no null"},
    {"brief[\"flag\"]", 1, "write brief[\"flag\"] == true"},
    {"fileid", 1, "compare it"},
    {"Json_Contains(brief, 1)", 1, "json_contains"},
    {"startswith(tags, 'a')", 1, "there is no function"},
    {"exists brief", 8, "asks for a key of brief"},
    {"tags[0] is null", 1, "array_length(tags) > 0"},
    {"tags[0] not like 'a'", 9, "stands before the field"},
    {"fileid & 1 == 1", 8, "did you mean \"and\"?"},
    {"fileid == 1 | itemid == 1", 13, "did you mean \"or\"?"},
    {"fileid == 1; drop", 12, "without a \";\""},
    {"`fileid` == 1", 1, "without quotes"},
    {"brief[\"a\"] == “red”", 15, "quotes of ASCII"},
    {"fileid in [1，2]", 13, "comma of ASCII"},
    {"json_contains_any(tags, 'a')", 25, "write ['a']"},
    {"array_contains(tags, ['a'])", 22, "array_contains_any"},
    {"brief[\"价格\"] > 5 and brief[\"颜色\"] = 1", 33, "=="}, /* columns count characters */
    /* not supported */
    {"fileid == {id}", 11, "templates"},
    {"text_match(brief, 'a')", 1, "not supported"},
    {"PHRASE_MATCH(tags, 'a')", 1, "not supported"},
    {"fileid > 1 and random_sample(0.1)", 16, "not supported"},
    {"st_within(tags, 'a')", 1, "not supported"},
    {"~fileid == 1", 1, "not supported"},
    {"fileid << 2 == 4", 8, "not supported"},
    {"(fileid ^ 1) == 1", 9, "not supported"},
    {"brief['a'] == r\"x\"", 15, "no field"},
    {"brief['a'] == u8\"x\"", 15, "without a letter"},
    /* literals */
    {"fileid == 9223372036854775808", 11, "too large"},
    {"fileid == -(9223372036854775808)", 13, "too large"},
    {"fileid == -9223372036854775808 ** 2", 12, "too large"},
    {"fileid == 0xFFFFFFFFFFFFFFFFF", 11, "too large"},
    {"fileid == 08", 12, "found \"8\""},
    {"fileid == 0x", 12, "found \"x\""},
    {"fileid == 1_000", 12, "found \"_000\""},
    {"brief == 1e999", 10, "too large"},
    {"brief == 2.0 ** 9999", 10, "not a number, or too large"},
    {"brief == 1 / 0", 10, "division by zero"},
    {"brief == 1.5 % 2", 10, "for integers"},
    {"brief == 'a' + 'b'", 10, "only numbers"},
    {"brief == \"abc", 10, "not closed"},
    {"brief == 'abc\"", 10, "not closed"},
    {"brief == \"a\nb\"", 12, "a line ends"},
    {"brief == \"a\\qb\"", 12, "no escape"},
    {"brief == \"\\?\"", 11, "no meaning"},
    {"brief == \"\\7\"", 11, "three digits"},
    {"brief == \"\\400\"", 11, "three digits"},
    {"brief == \"\\x4\"", 11, "two hexadecimal digits"},
    {"brief == \"\\ud800\"", 11, "not the number of a Unicode character"},
    {"brief == \"\\U00110000\"", 11, "not the number of a Unicode character"},
    {"brief[\"\"] == 1", 7, "must not be empty"},
    {"brief[\"a][b\"] == 1", 7, "cannot be asked for"},
    {"brief[99999999999999999999] == 1", 7, "too large"},
    {"brief[] == 1", 7, "expected a key"},
    {"brief[\"a\" == 1", 10, "\"]\" is missing"},
    {"tags[\"0\"] == 'a'", 6, "without quotes"},
    {"tags[0][0] == 'a'", 5, "no parts"},
    {"fileid[0] == 1", 7, "no parts"},
    /* syntax */
    {"fileid ==", 10, "the filter ends here"},
    {"(fileid == 1", 13, "the filter ends here"},
    {"fileid == 1)", 12, "found \")\""},
    {"fileid == 1 itemid == 2", 13, "found \"itemid\""},
    {"== 1", 1, "found \"==\""},
    {"fileid == == 1", 11, "found \"==\""},
    {"and fileid == 1", 1, "found \"and\""},
    {"fileid in [1 2]", 14, "\",\" or \"]\""},
    {"fileid in [,]", 12, "found \",\""},
    {"fileid in [1", 13, "the filter ends here"},
    {"(fileid) is null", 10, "directly behind a field"},
    {"json_contains brief, 1", 15, "\"(\""},
    {"json_contains(brief 1)", 21, "\",\""},
    {"array_length((tags)) == 1", 14, "found \"(\""},
    {"array_length(tags, brief) == 1", 18, "takes one field"},
    {"fileid == 1 and", 16, "the filter ends here"},
    {"fileid not 1", 12, "\"in\" behind \"not\""},
    {"fileid == @", 11, "found \"@\""},
    {"$meta == 1", 1, "found \"$\""},
    /* types */
    {"true", 1, "constant"},
    {"+true", 1, "constant"},
    {"(false)", 1, "constant"},
    {"1", 1, "constant"},
    {"fileid < 100 or false", 17, "constant"},
    {"1 == 1 and fileid == 1", 1, "constant"},
    {"fileid and itemid == 1", 1, "field"},
    {"fileid == 1 or brief['a']", 16, "brief['a'] == true"},
    {"fileid + 1", 1, "number"},
    {"fileid + 1.5 == 2", 10, "integer"},
    {"fileid % 2.0 == 1", 10, "integer"},
    {"brief['a'] % 2.0 == 1", 14, "integer"},
    {"brief['a'] + 5 == 10.5", 19, "integer"},
    {"brief['a'] + 'x' == 'y'", 14, "no number"},
    {"brief['a'] / 0.0 == 1", 14, "division by zero"},
    {"fileid - itemid == 1", 10, "two fields"},
    {"fileid * 2 + 1 == 3", 1, "only one operation"},
    {"10 - fileid == 3", 1, "on the left"},
    {"10 / fileid == 3", 1, "on the left"},
    {"fileid + 1 == itemid", 1, "compared with a constant"},
    {"fileid ** 2 == 4", 1, "constants only"},
    {"(fileid == 1) == true", 1, "condition"},
    {"exists brief['a'] > 10", 1, "condition"},
    {"1 < fileid == true", 1, "condition"},
    {"fileid == 'a' + 1", 11, "only numbers"},
    {"fileid == true", 11, "integer"},
    {"tags > ['a']", 1, "no order"},
    {"tags == ['a', 1]", 9, "not all are strings"},
    {"tags == 5", 9, "list of strings"},
    {"tags[0] == 5", 12, "in quotes"},
    {"tags[0] == ['a']", 12, "string"},
    {"tags + 1 == 2", 1, "no number"},
    {"tags like 'a'", 1, "tags[0] like"},
    {"fileid like '1%'", 1, "integer"},
    {"tags[0] like 5", 14, "pattern"},
    {"tags[0] like tags[1]", 14, "pattern"},
    {"'a' like 'a'", 1, "field"},
    {"fileid == brief['a']", 11, "JSON"},
    {"brief['a'] == brief['b']", 1, "JSON"},
    {"fileid == tags[0]", 11, "different types"},
    {"tags == tags[0]", 9, "different types"},
    {"fileid in [1, 'a']", 11, "element 2"},
    {"fileid in [1.0]", 11, "element 1"},
    {"fileid + 1 in [1]", 1, "field"},
    {"array_length(tags) in [1]", 1, "field"},
    {"fileid in itemid", 11, "list of constants"},
    {"fileid in [fileid]", 12, "constants"},
    {"array_length(fileid) == 1", 14, "no list"},
    {"array_length(itemid) == 1", 14, "no list"},
    {"array_length(tags[0]) == 'a'", 26, "integer"},
    {"array_length(tags[0]) + 1 == 2", 1, "array_length"},
    {"array_length(tags) == 2.2", 23, "integer"},
    {"array_length(tags) + 1 == 2", 1, "array_length"},
    {"0 < array_length(tags) < 5", 1, "condition"},
    {"json_contains(fileid, 1)", 15, "list in brief"},
    {"json_contains(tags[0], 'a')", 15, "list in brief"},
    {"json_contains(tags, 1)", 21, "strings"},
    {"json_contains_all(tags, ['a', 1])", 25, "element 2"},
    {"json_contains(brief, brief['a'])", 22, "constant"},
    {"5 < fileid < 1", 1, "nothing lies in this range"},
    {"1 < fileid < 1", 1, "nothing lies in this range"},
    {"1 < fileid <= 1", 1, "nothing lies in this range"},
    {"1 > fileid > 5", 1, "nothing lies in this range"},
    {"1 < fileid > 0", 1, "condition"},
    {"1.0 < fileid < 5", 1, "integer"},
    {"'a' < brief['a'] < 5", 20, "a number and the other a string"},
    {"true < brief['a'] < false", 1, "neither"},
    {"1 < tags < 3", 5, "no order"},
    {"1 < fileid < itemid", 14, "constants"},
    {"-brief['a'] == 1", 1, "constant number"},
    {"-true == 1", 1, "constant number"},
    {"not 5", 1, "condition"},
    {"+tags == ['a']", 1, "list"},
};

static char *printed(const struct filter *filter)
{
    struct buf out;
    buf_init(&out, LIMIT_MIB);
    assert_int_equal(filter_print(filter, &out), ERR_OK);
    return buf_take(&out, NULL);
}

static void trees_are_as_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        struct filter *filter = NULL, *again = NULL;
        struct err err;
        if (filter_parse(accepted[i].text, strlen(accepted[i].text), &filter, &err))
            fail_msg("%s: %s", accepted[i].text, err.message);
        char *tree = printed(filter);
        assert_string_equal(tree, accepted[i].tree);
        if (filter_parse(tree, strlen(tree), &again, &err))
            fail_msg("%s: %s", tree, err.message);
        char *second = printed(again);
        assert_string_equal(second, tree);
        assert_string_equal(filter_text(filter, NULL), accepted[i].text);
        free(tree);
        free(second);
        filter_free(filter);
        filter_free(again);
    }
}

static unsigned column_of(const struct err *err)
{
    unsigned column = 0;
    assert_int_equal(sscanf(err->message, "the filter is wrong at column %u:", &column), 1);
    return column;
}

static void sentences_name_column_and_remedy(void **state)
{
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct filter *filter = NULL;
        struct err err = {0};
        if (!filter_parse(refused[i].text, strlen(refused[i].text), &filter, &err))
            fail_msg("%s is accepted", refused[i].text);
        assert_null(filter);
        assert_string_equal(err.field, "filter");
        if (column_of(&err) != refused[i].column || !strstr(err.message, refused[i].says))
            print_message("# %s: %s\n", refused[i].text, err.message);
        wrong += column_of(&err) != refused[i].column || !strstr(err.message, refused[i].says);
    }
    assert_int_equal(wrong, 0);
}

static void whole_sentences(void **state)
{
    static const char *const pairs[][2] = {
        {"fileid = 5", "the filter is wrong at column 8: found \"=\"; two values are compared with =="},
        {"tags == \"x\"", "the filter is wrong at column 1: tags is a list and cannot be compared with one "
                          "string; write array_contains(tags, "
                          "\"x\")"},
        {"not fileid in [1]",
            "the filter is wrong at column 1: \"not\" covers only \"fileid\" here; write fileid not in […]"},
        {"fileid == 2.1", "the filter is wrong at column 11: fileid is an integer, and 2.1 is not one; write "
                          "it without a point or exponent"},
        {"price > 5", "the filter is wrong at column 1: \"price\" is no field; the fields are fileid, "
                      "itemid, tags and brief, a key of brief "
                      "is brief[\"price\"], and text stands in quotes"},
        {"fileid ==",
            "the filter is wrong at column 10: the filter ends here, expected a field, a value or \"(\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct filter *filter = NULL;
        struct err err = {0};
        assert_int_equal(filter_parse(pairs[i][0], strlen(pairs[i][0]), &filter, &err), ERR_INVALID);
        assert_string_equal(err.message, pairs[i][1]);
    }
}

static void blank_is_no_filter(void **state)
{
    static const char *const blanks[] = {"", " ", "\t\r\n ", "\v\f"};
    (void)state;
    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
        struct filter *filter = (struct filter *)(uintptr_t)8;
        assert_int_equal(filter_parse(blanks[i], strlen(blanks[i]), &filter, NULL), ERR_OK);
        assert_null(filter);
    }
}

static void bytes_that_are_no_text(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        unsigned column;
    } texts[] = {
        {"fileid == 1\0", 12, 12},
        {"\0fileid == 1", 12, 1},
        {"brief == \"a\xff\"", 12, 12},
        {"brief == \"日\xe6\x97\"", 15, 12},
        {"\xc0\x80 == 1", 7, 1},
        {"fileid == 1 \x80", 13, 13},
        {"fileid\v== 1", 11, 7},
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct filter *filter = NULL;
        struct err err = {0};
        assert_int_equal(filter_parse(texts[i].text, texts[i].len, &filter, &err), ERR_INVALID);
        if (column_of(&err) != texts[i].column)
            fail_msg("text %zu: %s", i, err.message);
    }
}

/* --- limits
 * ------------------------------------------------------------------------------------------------------------
 */

/* `open` n times, `middle`, `close` n times. */
static enum result nested(size_t n, const char *open, const char *middle, const char *close, struct err *err)
{
    struct buf text;
    struct filter *filter = NULL;
    buf_init(&text, LIMIT_MIB);
    enum result r = ERR_OK;
    for (size_t i = 0; !r && i < n; i++)
        r = buf_append_str(&text, open);
    if (!r)
        r = buf_append_str(&text, middle);
    for (size_t i = 0; !r && i < n; i++)
        r = buf_append_str(&text, close);
    assert_int_equal(r, ERR_OK);
    r = filter_parse(text.data, text.len, &filter, err);
    filter_free(filter);
    buf_free(&text);
    return r;
}

static void depth_is_limited(void **state)
{
    struct err err;
    (void)state;
    static const char *const shapes[][3] = {{"(", "fileid == 1", ")"}, {"not (", "fileid == 1", ")"},
        {"not ", "(fileid == 1)", ""}, {"fileid == 1 or (", "fileid == 1", ")"}, {"(1 + ", "1", ")"},
        {"exists (", "brief['a']", ")"}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(nested(100, shapes[i][0], shapes[i][1], shapes[i][2], &err), ERR_OK);
        assert_int_equal(
            nested(LIMIT_FILTER_DEPTH - 1, shapes[i][0], shapes[i][1], shapes[i][2], &err), ERR_OK);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(
            nested(LIMIT_FILTER_DEPTH + 1, shapes[i][0], shapes[i][1], shapes[i][2], &err), ERR_TOO_LARGE);
        assert_true(column_of(&err) > 100);
    }
    assert_int_equal(nested(10000, "(", "fileid == 1", ")", &err), ERR_TOO_LARGE);
    assert_int_equal(nested(10000, "(", "", "", &err), ERR_TOO_LARGE);
    assert_int_equal(nested(10000, "not ", "(fileid == 1)", "", &err), ERR_TOO_LARGE);
    assert_int_equal(nested(10000, "-", "1", "", &err), ERR_TOO_LARGE);
    assert_int_equal(nested(10000, "[", "1", "]", &err), ERR_TOO_LARGE);
    assert_int_equal(nested(5000, "exists ", "brief['a']", "", &err), ERR_TOO_LARGE);
    assert_int_equal(nested(3000, "json_contains(", "brief", ",1)", &err), ERR_TOO_LARGE);
    /* What is long but not deep is fine. */
    assert_int_equal(nested(5000, "fileid==1 or ", "fileid == 1", "", &err), ERR_OK);
    assert_int_equal(nested(10000, "1 + ", "1 == 10001", "", &err), ERR_OK);
}

static void length_is_limited(void **state)
{
    struct err err;
    char *text = malloc(LIMIT_FILTER_BYTES + 1);
    struct filter *filter = NULL;
    (void)state;
    assert_non_null(text);
    memset(text, ' ', LIMIT_FILTER_BYTES + 1);
    memcpy(text, "fileid == 1", 11);
    assert_int_equal(filter_parse(text, LIMIT_FILTER_BYTES, &filter, &err), ERR_OK);
    filter_free(filter);
    filter = NULL;
    assert_int_equal(filter_parse(text, LIMIT_FILTER_BYTES + 1, &filter, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.message, "column"));
    free(text);
}

static void lists_are_limited(void **state)
{
    struct buf text;
    struct err err;
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct filter *filter = NULL;
        buf_init(&text, LIMIT_MIB);
        assert_int_equal(buf_append_str(&text, "fileid in ["), ERR_OK);
        for (int i = 0; i < LIMIT_FILTER_LIST + more; i++)
            assert_int_equal(buf_append_str(&text, "1,"), ERR_OK);
        assert_int_equal(buf_append_str(&text, "]"), ERR_OK);
        assert_int_equal(filter_parse(text.data, text.len, &filter, &err), more ? ERR_TOO_LARGE : ERR_OK);
        filter_free(filter);
        buf_free(&text);
    }
    assert_non_null(strstr(err.message, "elements"));
}

/* --- the expressions of a peer
 * ------------------------------------------------------------------------------------------ */

static void peer_expressions(const char *name, bool valid)
{
    char path[4096], line[4096];
    const char *folder = getenv("FILTER_EXPRESSIONS");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "", name);
    FILE *file = folder ? fopen(path, "r") : NULL;
    size_t count = 0, wrong = 0;
    if (!file) {
        print_message("# %s is not there, so its expressions are not tried\n", name);
        skip();
    }
    while (fgets(line, sizeof line, file)) {
        struct filter *filter = NULL;
        struct err err = {0};
        line[strcspn(line, "\n")] = '\0';
        bool fine = filter_parse(line, strlen(line), &filter, &err) == ERR_OK;
        if (fine != valid) {
            print_message("# %s %s: %s\n", line, fine ? "is accepted" : "is refused", err.message);
            wrong++;
        }
        if (!fine)
            assert_true(column_of(&err) > 0);
        filter_free(filter);
        count++;
    }
    fclose(file);
    assert_true(count > 100);
    assert_int_equal(wrong, 0);
}

static void valid_ones_are_accepted(void **state)
{
    (void)state;
    peer_expressions("valid.txt", true);
}

static void invalid_ones_are_refused(void **state)
{
    (void)state;
    peer_expressions("invalid.txt", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_are_as_expected),
        cmocka_unit_test(sentences_name_column_and_remedy),
        cmocka_unit_test(whole_sentences),
        cmocka_unit_test(blank_is_no_filter),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(length_is_limited),
        cmocka_unit_test(lists_are_limited),
        cmocka_unit_test(valid_ones_are_accepted),
        cmocka_unit_test(invalid_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
