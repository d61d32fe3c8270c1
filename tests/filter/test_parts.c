/* What the columns are made of, each against the simplest thing that does the same. */
#include "filter/blob.h"
#include "filter/ccol.h"
#include "filter/dict.h"
#include "filter/pass.h"
#include "filter/store.h"
#include "random_filter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- columns
 * ---------------------------------------------------------------------------------------------------------
 */

enum { ROWS = 3 * 65536, WORDS = ROWS / 64 };

struct model {
    uint64_t key[ROWS];
    bool there[ROWS];
};

static bool words_have(const uint64_t *words, uint32_t row)
{
    return words[row / 64] >> (row % 64) & 1;
}

static uint64_t odd_block(const void *user, const uint64_t keys[64])
{
    (void)user;
    uint64_t mask = 0;
    for (int i = 0; i < 64; i++)
        mask |= (keys[i] & 1) << i;
    return mask;
}

static void check_range(const struct filter_ccol *col, const struct model *m, uint64_t low, uint64_t high)
{
    static uint64_t words[WORDS];
    memset(words, 0, sizeof words);
    filter_ccol_range(col, low, high, words);
    for (uint32_t i = 0; i < ROWS; i++)
        assert_int_equal(words_have(words, i), m->there[i] && low <= m->key[i] && m->key[i] <= high);
}

static void check_column(
    const struct filter_ccol *col, const struct model *m, struct chance *c, uint64_t base, uint64_t spread)
{
    static uint64_t words[WORDS], odd[WORDS];
    uint64_t key, keys[64];
    uint32_t count = 0;
    memset(words, 0, sizeof words);
    memset(odd, 0, sizeof odd);
    filter_ccol_present(col, words);
    filter_ccol_scan(col, odd_block, NULL, odd);
    for (uint32_t i = 0; i < ROWS; i++) {
        count += m->there[i];
        assert_int_equal(words_have(words, i), m->there[i]);
        assert_int_equal(words_have(odd, i), m->there[i] && (m->key[i] & 1));
        assert_int_equal(filter_ccol_get(col, i, &key), m->there[i]);
        if (m->there[i])
            assert_true(key == m->key[i]);
    }
    assert_int_equal(col->count, count);
    for (int k = 0; k < 6; k++) {
        uint64_t a = base + (spread ? chance_next(c) % spread : 0),
                 b = base + (spread ? chance_next(c) % spread : 0);
        check_range(col, m, a < b ? a : b, a < b ? b : a);
        check_range(col, m, a, a);
    }
    check_range(col, m, 0, UINT64_MAX);
    check_range(col, m, 0, base);
    check_range(col, m, base + spread / 2, UINT64_MAX);
    check_range(col, m, 5, 4);
    for (uint32_t block = 0; block < WORDS + 10; block += 37) {
        uint64_t mask = filter_ccol_block(col, block, keys);
        for (uint32_t i = 0; i < 64; i++) {
            bool there = block < WORDS && m->there[block * 64 + i];
            assert_int_equal(mask >> i & 1, there);
            if (there)
                assert_true(keys[i] == m->key[block * 64 + i]);
        }
    }
}

static void exercise_column(uint64_t base, uint64_t spread, uint32_t dense_from, uint32_t writes)
{
    static struct model m;
    struct filter_ccol col = {0};
    struct chance c = {base ^ spread ^ dense_from};
    memset(&m, 0, sizeof m);
    for (uint32_t k = 0; k < writes; k++) {
        uint32_t row = k % 5 ? k % ROWS : chance_below(&c, ROWS);
        uint64_t key = base + (spread ? chance_next(&c) % spread : 0);
        if (chance_below(&c, 8)) {
            assert_int_equal(filter_ccol_set(&col, row, key, dense_from), ERR_OK);
            m.there[row] = true;
            m.key[row] = key;
        } else {
            assert_int_equal(filter_ccol_clear(&col, row, &key), m.there[row]);
            if (m.there[row])
                assert_true(key == m.key[row]);
            m.there[row] = false;
        }
    }
    check_column(&col, &m, &c, base, spread);
    uint64_t key;
    for (uint32_t i = 0; i < ROWS; i++)
        assert_int_equal(filter_ccol_clear(&col, i, &key), m.there[i]);
    assert_int_equal(col.count, 0);
    assert_true(filter_ccol_bytes(&col) <= 3 * sizeof(void *));
    filter_ccol_free(&col);
}

static void column_agrees_with_an_array(void **state)
{
    static const struct {
        uint64_t base, spread;
    } keys[] = {{1000, 0}, {1000, 200}, {(uint64_t)1 << 63, 60000}, {((uint64_t)1 << 63) - 5, 70000},
        {12345, (uint64_t)1 << 33}, {0, UINT64_MAX}, {UINT64_MAX - 300, 300}, {0, 3}};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        exercise_column(keys[i].base, keys[i].spread, 16384, 30000);  /* sparse */
        exercise_column(keys[i].base, keys[i].spread, 2000, 60000);   /* becomes dense */
        exercise_column(keys[i].base, keys[i].spread, 16384, 200000); /* full */
    }
}

static void column_grows_in_any_direction(void **state)
{
    (void)state;
    for (int direction = 0; direction < 3; direction++) {
        struct filter_ccol col = {0};
        uint64_t key, at = (uint64_t)1 << 40;
        for (uint32_t i = 0; i < 65536; i++) {
            int64_t step = direction == 0   ? i
                           : direction == 1 ? -(int64_t)i
                           : i % 2          ? (int64_t)i
                                            : -(int64_t)i;
            assert_int_equal(filter_ccol_set(&col, i, at + (uint64_t)step, 100), ERR_OK);
        }
        for (uint32_t i = 0; i < 65536; i++) {
            int64_t step = direction == 0   ? i
                           : direction == 1 ? -(int64_t)i
                           : i % 2          ? (int64_t)i
                                            : -(int64_t)i;
            assert_true(filter_ccol_get(&col, i, &key) && key == at + (uint64_t)step);
        }
        assert_true(
            filter_ccol_bytes(&col) < (direction < 2 ? 150000 : 280000)); /* 2 bytes a key, or 4, not 8 */
        filter_ccol_free(&col);
    }
}

static void keys_are_ordered_as_values_are(void **state)
{
    static const double doubles[] = {
        -INFINITY, -1e300, -2.5, -1, -5e-324, 0, 5e-324, 1, 2.5, 9007199254740993.0, 1e300, INFINITY};
    static const int64_t ints[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    (void)state;
    for (size_t i = 0; i + 1 < sizeof doubles / sizeof doubles[0]; i++)
        assert_true(filter_key_double(doubles[i]) < filter_key_double(doubles[i + 1]));
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++)
        assert_true(filter_double_key(filter_key_double(doubles[i])) == doubles[i]);
    for (size_t i = 0; i + 1 < sizeof ints / sizeof ints[0]; i++)
        assert_true(filter_key_int(ints[i]) < filter_key_int(ints[i + 1]));
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++)
        assert_true(filter_int_key(filter_key_int(ints[i])) == ints[i]);
    assert_true(filter_key_double(-0.0) == filter_key_double(0.0));
}

/* --- dictionaries
 * ------------------------------------------------------------------------------------------------------ */

static size_t name_of(uint32_t n, char out[40])
{
    int len = snprintf(out, 40, "%u%s", n, n % 3 ? "" : "-some longer text");
    return n == 0 ? 0 : (size_t)len; /* the empty string is one, too */
}

/* Each place of the arena belongs to one live string or to none. */
static void dictionary_finds_what_covers(const struct filter_dict *d)
{
    struct filter_bytes s, found;
    uint32_t code, other;
    uint64_t before = 0;
    for (uint64_t at = 0; filter_dict_next(d, &at, &s, &code); before = at) {
        uint64_t start = (uint64_t)(s.data - d->arena);
        for (uint64_t place = start - 8; place < start + s.len; place++) {
            assert_true(filter_dict_cover(d, place, 0, &found, &other));
            assert_true(filter_dict_cover(d, place, start - 8, &found, &other));
            assert_ptr_equal(found.data, s.data);
            assert_int_equal(found.len, s.len);
            assert_int_equal(other, code);
        }
        for (uint64_t place = before; place < start - 8; place += 3) /* of the dead */
            assert_true(!filter_dict_cover(d, place, 0, &found, &other) || place < before + 4);
    }
}

static void dictionary_holds_and_releases(void **state)
{
    enum { NAMES = 3000 };
    static uint32_t holders[NAMES], codes[NAMES];
    struct filter_dict d;
    struct chance c = {7};
    char name[40];
    (void)state;
    memset(holders, 0, sizeof holders);
    filter_dict_init(&d, 99, true);
    assert_int_equal(filter_dict_find(&d, "x", 1), FILTER_NO_CODE);
    for (int k = 0; k < 200000; k++) {
        uint32_t n = chance_below(&c, NAMES), code;
        size_t len = name_of(n, name);
        if (chance_below(&c, 100) < (k / 20000 % 2 ? 40u : 60u)) { /* it grows, and shrinks */
            assert_int_equal(filter_dict_hold(&d, name, len, &code), ERR_OK);
            if (holders[n])
                assert_int_equal(code, codes[n]);
            codes[n] = code;
            holders[n]++;
        } else if (holders[n]) {
            filter_dict_release(&d, codes[n]);
            holders[n]--;
        }
    }
    uint32_t live = 0;
    for (uint32_t n = 0; n < NAMES; n++) {
        size_t len = name_of(n, name);
        uint32_t code = filter_dict_find(&d, name, len);
        live += holders[n] > 0;
        assert_int_equal(code, holders[n] ? codes[n] : FILTER_NO_CODE);
        if (!holders[n])
            continue;
        struct filter_bytes s = filter_dict_get(&d, code);
        assert_int_equal(s.len, len);
        assert_memory_equal(s.data, name, len);
        assert_true(filter_dict_live(&d, code));
        char padded[48] = {0};
        memcpy(padded, name, len);
        assert_true(d.heads[code] == filter_head((struct filter_bytes){padded, len}));
    }
    dictionary_finds_what_covers(&d);
    assert_int_equal(d.live, live);
    assert_true(d.count <= NAMES);               /* codes are used again */
    assert_true(filter_dict_bytes(&d) < 400000); /* and so is memory */
    filter_dict_free(&d);
}

/* --- postings
 * ----------------------------------------------------------------------------------------------------------
 */

static void posting_agrees_with_words(void **state)
{
    enum { SPAN = 4096 };
    (void)state;
    for (uint32_t range = 1; range <= SPAN; range *= 4) {
        struct filter_posting p = {0};
        struct chance c = {range};
        uint64_t expected[SPAN / 64] = {0}, words[SPAN / 64];
        for (int k = 0; k < 3000; k++) {
            uint32_t row = chance_below(&c, range);
            if (chance_below(&c, 5) < (k > 2000 ? 1u : 3u)) {
                assert_int_equal(filter_posting_add(&p, row), ERR_OK);
                expected[row / 64] |= (uint64_t)1 << (row % 64);
            } else {
                filter_posting_remove(&p, row);
                expected[row / 64] &= ~((uint64_t)1 << (row % 64));
            }
            if (k % 50)
                continue;
            memset(words, 0, sizeof words);
            filter_posting_words(&p, words);
            assert_memory_equal(words, expected, sizeof words);
        }
        filter_posting_free(&p);
    }
}

/* --- patterns
 * -----------------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *pattern, *text;
    bool match;
} likes[] = {
    {"", "", true}, {"", "a", false}, {"%", "", true}, {"%", "abc", true}, {"%%", "", true}, {"_", "", false},
    {"_", "a", true}, {"_", "日", true}, {"_", "😀", true}, {"_", "ab", false}, {"__", "日", false},
    {"%__", "日", false}, {"%__", "日本", true}, {"%___%", "日本", false}, {"_%_", "é", false},
    {"_%_", "éa", true}, {"abc", "abc", true}, {"abc", "ABC", false}, {"abc", "abcd", false},
    {"abc%", "abcd", true}, {"abc%", "ab", false}, {"%abc", "xxabc", true}, {"%abc", "abcx", false},
    {"%abc", "bc", false}, {"a%a", "a", false}, {"a%a", "aa", true}, {"%a%b%", "xxaxxbxx", true},
    {"%a%b%", "xxbxxaxx", false}, {"%ab%ab%", "ab", false}, {"%ab%ab%", "abab", true}, {"%aab", "aaab", true},
    {"%_b%_d", "abbbccd", true}, {"%_b%_d", "bd", false}, {"a_c", "abc", true}, {"a_c", "a\nc", true},
    {"a_c", "ac", false}, {"\\%", "%", true}, {"\\%", "a", false}, {"\\_", "_", true}, {"\\_", "a", false},
    {"\\\\", "\\", true}, {"\\a", "a", true}, {"a\\", "a\\", true}, {"8\\%-0%", "8%-0123", true},
    {"8\\%-0%", "80-0123", false}, {"8_\\_0%", "8x_0", true}, {"8_\\_0%", "8xx0", false},
    {"日%本", "日に本", true}, {"%\xe6", "日", false}, {"\xe6%", "日", true}, /* bytes are matched as bytes */
    {"\xe6_", "日", false}, /* but "_" never starts inside of a character */
};

static void patterns_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof likes / sizeof likes[0]; i++) {
        struct filter_pattern *p = NULL;
        assert_int_equal(
            filter_pattern_new((struct filter_bytes){likes[i].pattern, strlen(likes[i].pattern)}, &p),
            ERR_OK);
        bool match = filter_pattern_match(p, (struct filter_bytes){likes[i].text, strlen(likes[i].text)});
        if (match != likes[i].match)
            fail_msg("\"%s\" like \"%s\"", likes[i].text, likes[i].pattern);
        filter_pattern_free(p);
    }
}

/* Strings of records are UTF-8, which JSON is read as; patterns need not be. The last one is rare. */
static const char *const tokens[] = {"a", "b", "1", "-", "ab", "a1", "SKU-", "%", "_", "é", "日", "日本", "😀", "qzq"};
static const char *const pattern_tokens[] = {
    "%", "%", "%", "%", "_", "_", "\\%", "\\_", "a", "b", "1", "-", "ab", "a1", "SKU-", "é", "日", "\xe6", "\x80", "qzq"};
enum { STRINGS = 3000, PATTERNS = 1500 };

/* Up to 7 tokens mostly, which is fewer than a word has bits, and sometimes more than that; often with the same start. */
static size_t random_text(struct chance *c, char *out, size_t room)
{
    size_t len = 0, count = chance_below(c, chance_below(c, 8) ? 8 : 80);
    len += (size_t)snprintf(out, room, "%s", chance_below(c, 2) ? "SKU-" : "");
    for (size_t i = 0; i < count; i++) {
        uint32_t t = chance_below(c, sizeof tokens / sizeof tokens[0] - (chance_below(c, 500) > 0));
        len += (size_t)snprintf(out + len, room - len, "%s", tokens[t]);
    }
    return len;
}

/* Strings that are there, that are not any more, and that took the codes of those. */
static void fill_strings(struct chance *c, struct filter_dict *d)
{
    char text[512];
    filter_dict_init(d, 7, true);
    for (uint32_t i = 0, code; i < STRINGS; i++) {
        size_t len = random_text(c, text, sizeof text);
        assert_int_equal(filter_dict_hold(d, text, len, &code), ERR_OK);
        code = chance_below(c, d->count);
        while (chance_below(c, 5) == 0 && filter_dict_live(d, code))
            filter_dict_release(d, code);
    }
}

static void compare_passes(
    const struct filter_leaf *leaf, const struct filter_dict *d, const struct filter_passed *passed, const char *how)
{
    uint32_t yes = 0;
    for (uint32_t code = 0; code < d->count; code++) {
        if (!filter_dict_live(d, code))
            continue;
        struct filter_bytes s = filter_dict_get(d, code);
        bool expected = filter_leaf_string(leaf, s);
        yes += expected;
        if ((passed->table ? passed->table[code] != 0 : passed->count && passed->last == code) != expected)
            fail_msg("%s: \"%.*s\" like \"%s\" is %d", how, (int)s.len, s.data, leaf->node->value.s.data, expected);
    }
    assert_true(passed->count >= yes);
}

static void random_pattern(struct chance *c, char *out, size_t room)
{
    size_t len = 0;
    for (uint32_t k = 0, count = 1 + chance_below(c, 9); k < count; k++) {
        uint32_t t = chance_below(c, sizeof pattern_tokens / sizeof pattern_tokens[0]);
        len += (size_t)snprintf(out + len, room - len, "%s", pattern_tokens[t]);
    }
}

/* Each way to look for a pattern in a dictionary gives what each string says for itself. True where the walk is one. */
static bool check_pattern(const struct filter_dict *d, const char *text)
{
    struct filter_node n = {.kind = FILTER_LIKE, .value = {.kind = FILTER_STRING, .s = {text, strlen(text)}}};
    struct filter_leaf leaf;
    struct filter_passed passed;
    assert_int_equal(filter_leaf_init(&leaf, &n), ERR_OK);
    assert_int_equal(filter_pass_strings(&leaf, d, &passed), ERR_OK);
    compare_passes(&leaf, d, &passed, "passed");
    free(passed.table);
    passed.table = calloc(d->count, 1);
    assert_non_null(passed.table);
    bool walked = filter_pass_walk(d, leaf.pattern, passed.table, &passed.count);
    if (walked)
        compare_passes(&leaf, d, &passed, "walked");
    free(passed.table);
    filter_leaf_free(&leaf);
    return walked;
}

static void patterns_pass(void **state)
{
    struct chance c = {.state = 11};
    struct filter_dict d;
    uint32_t walked = 0;
    (void)state;
    fill_strings(&c, &d);
    for (uint32_t i = 0; i < PATTERNS; i++) {
        char text[128];
        random_pattern(&c, text, sizeof text);
        walked += check_pattern(&d, text);
    }
    assert_in_range(walked, PATTERNS / 2, PATTERNS - 1);
    filter_dict_free(&d);
}

/* What is rare in the strings that came first, and in all others. */
static void patterns_pass_what_becomes_frequent(void **state)
{
    static const char *const patterns[] = {"%q%", "%qq%", "%q%7", "%q%1%2%3%", "%q%1%2%3%4%5%", "%q_1%", "%x%"};
    struct filter_dict d;
    (void)state;
    filter_dict_init(&d, 7, true);
    for (uint32_t i = 0, code; i < 3 * STRINGS; i++) {
        char text[64];
        int len = snprintf(text, sizeof text, "%s-%u-%u-some more text", i < STRINGS ? "p" : "pqq", i, i * 7919);
        assert_int_equal(filter_dict_hold(&d, text, (size_t)len, &code), ERR_OK);
    }
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        check_pattern(&d, patterns[i]);
    filter_dict_free(&d);
}

/* --- blobs
 * --------------------------------------------------------------------------------------------------------------
 */

static void blobs_keep_values(void **state)
{
    static const char text[] =
        "{\"a\": [1, -1, 9223372036854775807, -9223372036854775808, 1.5, true, false, null, \"日本\", [], "
        "[[7]], {\"0\": {\"k\": \"v\"}}], \"b\": 18446744073709551615}";
    static const struct {
        const char *path[4];
        enum filter_blob_kind kind;
        int64_t i;
    } leads[] = {
        {{"a"}, FILTER_BLOB_ARRAY, 0},
        {{"a", "0"}, FILTER_BLOB_INT, 1},
        {{"a", "1"}, FILTER_BLOB_INT, -1},
        {{"a", "2"}, FILTER_BLOB_INT, INT64_MAX},
        {{"a", "3"}, FILTER_BLOB_INT, INT64_MIN},
        {{"a", "4"}, FILTER_BLOB_FLOAT, 0},
        {{"a", "5"}, FILTER_BLOB_TRUE, 0},
        {{"a", "6"}, FILTER_BLOB_FALSE, 0},
        {{"a", "7"}, FILTER_BLOB_NULL, 0},
        {{"a", "8"}, FILTER_BLOB_STRING, 0},
        {{"a", "9"}, FILTER_BLOB_ARRAY, 0},
        {{"a", "10", "0", "0"}, FILTER_BLOB_INT, 7},
        {{"a", "11", "0", "k"}, FILTER_BLOB_STRING, 0},
        {{"b"}, FILTER_BLOB_FLOAT, 0},
    };
    static const char *const nowhere[][4] = {{"c"}, {"a", "12"}, {"a", "01"}, {"a", "x"}, {"a", ""},
        {"a", "0", "0"}, {"a", "9", "0"}, {"a", "99999999999999999999"}, {"b", "0"}};
    struct json_object *json = json_tokener_parse(text);
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(filter_blob_write(json, &out), ERR_OK);
    for (size_t i = 0; i < sizeof leads / sizeof leads[0] + sizeof nowhere / sizeof nowhere[0]; i++) {
        bool leads_somewhere = i < sizeof leads / sizeof leads[0];
        const char *const *names =
            leads_somewhere ? leads[i].path : nowhere[i - sizeof leads / sizeof leads[0]];
        struct filter_bytes rest = {out.data, out.len}, path[4];
        size_t depth = 0;
        for (; depth < 4 && names[depth]; depth++)
            path[depth] = (struct filter_bytes){names[depth], strlen(names[depth])};
        struct filter_blob v = filter_blob_next(&rest);
        assert_int_equal(rest.len, 0);
        assert_int_equal(filter_blob_follow(&v, path, depth), leads_somewhere);
        if (leads_somewhere) {
            assert_int_equal(v.kind, leads[i].kind);
            assert_true(v.i == leads[i].i);
        }
    }
    buf_free(&out);
    json_object_put(json);
}

/* --- arithmetic
 * ---------------------------------------------------------------------------------------------------------
 */

static bool in_spans(const struct filter_key_span *spans, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++)
        if (spans[i].low <= key && key <= spans[i].high)
            return true;
    return false;
}

/* Every key of the column has to be in the spans exactly if the leaf is true for its value. */
static void check_spans(const struct filter_ccol *col, const struct filter_node *n, bool ints, uint32_t *ranges)
{
    struct filter_leaf leaf;
    struct filter_key_span spans[2];
    size_t count;
    assert_int_equal(filter_leaf_init(&leaf, n), ERR_OK);
    if (filter_leaf_arith_spans(&leaf, col, ints, spans, &count)) {
        *ranges += 1;
        for (uint32_t row = 0; row < col->count; row++) {
            uint64_t key;
            assert_true(filter_ccol_get(col, row, &key));
            bool expected = ints ? filter_leaf_int(&leaf, filter_int_key(key))
                                 : filter_leaf_double(&leaf, filter_double_key(key));
            if (in_spans(spans, count, key) != expected)
                fail_msg("arith %d, op %d, row %u, ints %d", n->arith, n->op, row, ints);
        }
    }
    filter_leaf_free(&leaf);
}

static const int64_t edges[] = {INT64_MIN, INT64_MIN + 1, INT64_MIN / 2, INT64_MIN / 7, -9007199254740993, -7, -3, -2, -1,
    0, 1, 2, 3, 7, 100, 9007199254740991, 9007199254740993, INT64_MAX / 7, INT64_MAX / 2, INT64_MAX - 1, INT64_MAX};
static const double edges_double[] = {
    -INFINITY, -1e308, -9007199254740993.0, -2.5, -1, -1e-308, -4.9e-324, 0, 4.9e-324, 1e-300, 0.1, 1, 3, 2.5, 1e16, 1e308, INFINITY};
enum { EDGES = sizeof edges / sizeof edges[0], EDGES_DOUBLE = sizeof edges_double / sizeof edges_double[0] };

/* All operations with operand and constant from the edges, ints or floats. */
static uint32_t check_all_spans(const struct filter_ccol *col, bool ints, bool float_constants)
{
    uint32_t ranges = 0;
    size_t some = float_constants ? EDGES_DOUBLE : EDGES;
    for (size_t k = 0; k < some; k++) {
        for (size_t c = 0; c < some; c++) {
            struct filter_node n = {.kind = FILTER_ARITH};
            n.operand.kind = n.value.kind = float_constants ? FILTER_FLOAT : FILTER_INT;
            if (float_constants) {
                n.operand.f = edges_double[k];
                n.value.f = edges_double[c];
            } else {
                n.operand.i = edges[k];
                n.value.i = edges[c];
            }
            bool zero = float_constants ? n.operand.f == 0 : n.operand.i == 0;
            for (n.arith = FILTER_ADD; n.arith <= (zero ? FILTER_MUL : FILTER_DIV); n.arith++)
                for (n.op = FILTER_LT; n.op <= FILTER_EQ; n.op++)
                    check_spans(col, &n, ints, &ranges);
        }
    }
    return ranges;
}

static void arithmetic_is_ranges(void **state)
{
    struct filter_ccol small = {0}, all = {0}, doubles = {0};
    (void)state;
    for (uint32_t i = 0; i < EDGES; i++)
        assert_int_equal(filter_ccol_set(&all, i, filter_key_int(edges[i]), 1000), ERR_OK);
    for (uint32_t i = 0; i < 200; i++) /* dense */
        assert_int_equal(filter_ccol_set(&small, i, filter_key_int((int64_t)i * 3 - 300), 2), ERR_OK);
    for (uint32_t i = 0; i < EDGES_DOUBLE; i++)
        assert_int_equal(filter_ccol_set(&doubles, i, filter_key_double(edges_double[i]), 1000), ERR_OK);
    /* 5 orders and 21 constants of ints; adding, subtracting and dividing always, products where none wraps. */
    uint32_t of_all = check_all_spans(&all, true, false), of_small = check_all_spans(&small, true, false);
    assert_in_range(of_all, 5 * EDGES * (3 * EDGES - 1), 5 * EDGES * (4 * EDGES - 2));
    assert_true(of_small > of_all);
    assert_true(check_all_spans(&all, true, true) > 0);
    assert_true(check_all_spans(&doubles, false, false) > 0);
    assert_true(check_all_spans(&doubles, false, true) > 0);
    filter_ccol_free(&small);
    filter_ccol_free(&all);
    filter_ccol_free(&doubles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(column_agrees_with_an_array),
        cmocka_unit_test(column_grows_in_any_direction),
        cmocka_unit_test(keys_are_ordered_as_values_are),
        cmocka_unit_test(dictionary_holds_and_releases),
        cmocka_unit_test(posting_agrees_with_words),
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(patterns_pass),
        cmocka_unit_test(patterns_pass_what_becomes_frequent),
        cmocka_unit_test(blobs_keep_values),
        cmocka_unit_test(arithmetic_is_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
