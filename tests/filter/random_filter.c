#include "random_filter.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>

/*
 * Few keys, few values, many types: so that expressions meet what they look for, and also the same key with
 * another type, null, or nothing. Values include what a fast path could get wrong: integers that doubles
 * cannot tell apart, both zeros, integers beyond int64, empty strings and lists, wildcards as text,
 * characters of one to four bytes.
 */

uint64_t chance_next(struct chance *c)
{
    uint64_t z = (c->state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t chance_below(struct chance *c, uint32_t n)
{
    return (uint32_t)((chance_next(c) >> 32) * n >> 32);
}

static void say(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct buf *out, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text || buf_append(out, text, (size_t)n))
        abort();
}

#define PICK(c, list) ((list)[chance_below(c, sizeof(list) / sizeof((list)[0]))])

static const char *const keys[] = {"a", "b", "c", "s", "n", "arr", "obj", "年份", "0"};
/* As they stand between quotes in JSON and in the language alike. */
static const char *const strings[] = {"", "a", "b", "ab", "abc", "abd", "aXc", "a%c", "%", "_", "100%", "x_y",
    "日本", "日本語", "é", "😀", "a😀c", "\\\\", "a\\\\c", "\\n", "0", "1", "red", "blue", "redblue",
    "bluered"};
static const char *const patterns[] = {"%", "a%", "%c", "a%c", "%b%", "_", "__", "a_c", "%_", "_%", "%\\\\%",
    "a\\\\%c", "%_\\\\_%", "日%", "%本", "日__", "_本%", "%red%", "red", "", "%%", "a%%c", "%d%e%",
    "\\\\\\\\", "%\\\\\\\\%", "\\xe6%", "%a_%", "_😀_", "a\\\\"};

int64_t random_int(struct chance *c)
{
    static const int64_t special[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1, 9007199254740992,
        9007199254740993, -9007199254740993, 4611686018427387904, 4294967296, 65536, 255, 256, -128};
    switch (chance_below(c, 8)) {
    case 0:
        return PICK(c, special);
    case 1:
        return (int64_t)chance_next(c);
    case 2:
        return (int64_t)chance_below(c, 100000) - 50000;
    default:
        return (int64_t)chance_below(c, 12) - 3;
    }
}

static void say_double(struct chance *c, struct buf *out)
{
    static const char *const special[] = {"0.0", "-0.0", "1.0", "2.0", "-1.0", "1.5", "2.5", "-2.5", "0.1",
        "1e300", "-1e300", "5e-324", "9007199254740992.0", "9007199254740994.0", "9223372036854775808.0",
        "-9223372036854775808.0", "1e19", "3.0", "5.0", "1e-10"};
    if (chance_below(c, 5))
        say(out, "%s", PICK(c, special));
    else
        say(out, "%.2f", (double)chance_below(c, 2000) / 100 - 10);
}

static void say_string(struct chance *c, struct buf *out)
{
    say(out, "\"%s\"", PICK(c, strings));
}

static void random_object(struct chance *c, unsigned depth, struct buf *out);

static void random_value(struct chance *c, unsigned depth, struct buf *out)
{
    uint32_t kind = chance_below(c, depth ? 20 : 15);
    if (kind < 5) {
        say(out, "%" PRId64, random_int(c));
    } else if (kind < 8) {
        say_double(c, out);
    } else if (kind < 12) {
        say_string(c, out);
    } else if (kind < 13) {
        say(out, "%s", chance_below(c, 2) ? "true" : "false");
    } else if (kind < 14) {
        say(out, "null");
    } else if (kind < 15) {
        say(out, "%s", chance_below(c, 2) ? "18446744073709551615" : "9223372036854775808");
    } else if (kind < 18) {
        uint32_t count = chance_below(c, 4);
        say(out, "[");
        for (uint32_t i = 0; i < count; i++) {
            say(out, i ? ", " : "");
            random_value(c, depth - 1, out);
        }
        say(out, "]");
    } else {
        random_object(c, depth - 1, out);
    }
}

static void random_object(struct chance *c, unsigned depth, struct buf *out)
{
    bool first = true;
    say(out, "{");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (chance_below(c, 10) >= 6)
            continue;
        say(out, "%s\"%s\": ", first ? "" : ", ", keys[i]);
        first = false;
        random_value(c, depth, out);
    }
    say(out, "}");
}

void random_brief(struct chance *c, struct buf *out)
{
    random_object(c, 3, out);
}

void random_tags(struct chance *c, struct buf *out)
{
    uint32_t count = chance_below(c, 4) ? chance_below(c, 5) : chance_below(c, 11);
    say(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        say(out, i ? ", " : "");
        say_string(c, out);
    }
    say(out, "]");
}

/* --- expressions
 * ---------------------------------------------------------------------------------------------------- */

static const char *const orders[] = {"<", "<=", ">", ">=", "==", "!=", "==", "!="};

static void say_path(struct chance *c, struct buf *out)
{
    uint32_t depth = chance_below(c, 12) ? 1 + (chance_below(c, 3) == 0) + (chance_below(c, 6) == 0) : 0;
    say(out, "brief");
    for (uint32_t i = 0; i < depth; i++) {
        if (chance_below(c, 6) == 0)
            say(out, "[%u]", chance_below(c, 3));
        else
            say(out, chance_below(c, 4) ? "[\"%s\"]" : "['%s']", PICK(c, keys));
    }
}

static void say_int(struct chance *c, struct buf *out)
{
    say(out, "%" PRId64, random_int(c));
}

static void say_number(struct chance *c, struct buf *out)
{
    if (chance_below(c, 3))
        say_int(c, out);
    else
        say_double(c, out);
}

static void say_list(
    struct chance *c, unsigned depth, void (*element)(struct chance *, struct buf *), struct buf *out);

static void say_scalar(struct chance *c, struct buf *out)
{
    uint32_t kind = chance_below(c, 10);
    if (kind < 5)
        say_number(c, out);
    else if (kind < 9)
        say_string(c, out);
    else
        say(out, "%s", chance_below(c, 2) ? "true" : "false");
}

static void say_constant(struct chance *c, struct buf *out)
{
    if (chance_below(c, 8))
        say_scalar(c, out);
    else
        say_list(c, 4, chance_below(c, 4) ? say_scalar : say_constant, out);
}

static void say_list(
    struct chance *c, unsigned most, void (*element)(struct chance *, struct buf *), struct buf *out)
{
    uint32_t count = chance_below(c, most);
    say(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        say(out, i ? ", " : "");
        element(c, out);
    }
    say(out, count && chance_below(c, 8) == 0 ? ",]" : "]");
}

static const char *some_id(struct chance *c)
{
    return chance_below(c, 2) ? "fileid" : "itemid";
}

static void say_compare(struct chance *c, struct buf *out)
{
    const char *op = PICK(c, orders);
    switch (chance_below(c, 7)) {
    case 0:
        say(out, "%s %s ", some_id(c), op);
        say_int(c, out);
        return;
    case 3:
        say(out, "tags %s ", chance_below(c, 2) ? "==" : "!=");
        say_list(c, 4, say_string, out);
        return;
    case 1:
        say(out, "tags[%u] %s ", chance_below(c, 12), op);
        say_string(c, out);
        return;
    case 2:
        say_constant(c, out);
        say(out, " %s ", op);
        say_path(c, out);
        return;
    default:
        say_path(c, out);
        say(out, " %s ", op);
        say_constant(c, out);
    }
}

static void say_fields(struct chance *c, struct buf *out)
{
    const char *op = PICK(c, orders);
    switch (chance_below(c, 4)) {
    case 0:
        say(out, "tags[%u] %s tags[%u]", chance_below(c, 4), op, chance_below(c, 4));
        return;
    case 1:
        say(out, "tags %s tags", chance_below(c, 2) ? "==" : "!=");
        return;
    default:
        say(out, "%s %s %s", some_id(c), op, some_id(c));
    }
}

static void say_range(struct chance *c, struct buf *out)
{
    bool rising = chance_below(c, 2), strings_too = chance_below(c, 3) == 0;
    const char *ops[2];
    for (int i = 0; i < 2; i++)
        ops[i] = rising ? chance_below(c, 2) ? "<" : "<=" : chance_below(c, 2) ? ">" : ">=";
    uint32_t field = chance_below(c, 5);
    void (*end)(struct chance *, struct buf *) = field == 0                  ? say_int
                                                 : field == 1 || strings_too ? say_string
                                                                             : say_number;
    end(c, out);
    say(out, " %s ", ops[0]);
    if (field == 0)
        say(out, "%s", some_id(c));
    else if (field == 1)
        say(out, "tags[%u]", chance_below(c, 3));
    else
        say_path(c, out);
    say(out, " %s ", ops[1]);
    end(c, out);
}

static void say_tag_list(struct chance *c, struct buf *out)
{
    say_list(c, 4, say_string, out);
}

static void say_in(struct chance *c, struct buf *out)
{
    const char *op = chance_below(c, 3) ? "in" : "not in";
    switch (chance_below(c, 5)) {
    case 0:
        say(out, "%s %s ", some_id(c), op);
        say_list(c, chance_below(c, 4) ? 5 : 30, say_int, out);
        return;
    case 1:
        say(out, "tags[%u] %s ", chance_below(c, 3), op);
        say_list(c, 6, say_string, out);
        return;
    case 2:
        say(out, "tags %s ", op);
        say_list(c, 5, say_tag_list, out);
        return;
    default:
        say_path(c, out);
        say(out, " %s ", op);
        say_list(c, chance_below(c, 4) ? 6 : 30, chance_below(c, 2) ? say_number : say_constant, out);
    }
}

static void say_like(struct chance *c, struct buf *out)
{
    if (chance_below(c, 3) == 0)
        say(out, "tags[%u]", chance_below(c, 3));
    else
        say_path(c, out);
    say(out, " like \"%s\"", PICK(c, patterns));
}

static void say_arith(struct chance *c, struct buf *out)
{
    static const char *const ops[] = {"+", "-", "*", "/", "%"};
    static const char *const divisors[] = {"2", "3", "-1", "7", "10", "-4", "9223372036854775807"};
    const char *op = PICK(c, ops);
    bool divides = *op == '/' || *op == '%';
    bool on_id = chance_below(c, 3) == 0, ints = on_id || *op == '%' || chance_below(c, 2);
    if (on_id)
        say(out, "%s", some_id(c));
    else
        say_path(c, out);
    say(out, " %s ", op);
    if (divides)
        say(out, "%s%s", PICK(c, divisors), ints ? "" : ".5");
    else if (ints)
        say_int(c, out);
    else
        say_double(c, out);
    say(out, " %s ", PICK(c, orders));
    if (ints)
        say_int(c, out);
    else
        say_number(c, out);
}

static void say_length(struct chance *c, struct buf *out)
{
    say(out, "array_length(");
    uint32_t field = chance_below(c, 12);
    if (field == 0)
        say(out, "tags[%u]", chance_below(c, 12));
    else if (field < 6)
        say(out, "tags");
    else
        say_path(c, out);
    say(out, ") %s %d", PICK(c, orders), (int)chance_below(c, 6) - 1);
}

static void say_contains(struct chance *c, struct buf *out)
{
    static const char *const suffixes[] = {"", "_all", "_any"};
    const char *suffix = PICK(c, suffixes);
    say(out, "%s_contains%s(", chance_below(c, 2) ? "json" : "array", suffix);
    bool tags = chance_below(c, 2);
    if (tags)
        say(out, "tags, ");
    else
        say_path(c, out);
    say(out, tags ? "" : ", ");
    if (*suffix)
        say_list(c, 4, tags ? say_string : say_constant, out);
    else if (tags)
        say_string(c, out);
    else
        say_constant(c, out);
    say(out, ")");
}

static void say_exists(struct chance *c, struct buf *out)
{
    static const char *const others[] = {"fileid is null", "tags is null", "brief is not null",
        "itemid is not null", "fileid % 1 != 0", "1 < fileid < 9223372036854775807"};
    switch (chance_below(c, 8)) {
    case 0:
        say(out, "%s", PICK(c, others));
        return;
    case 1:
    case 2:
        say(out, "brief[\"%s\"] is %snull", PICK(c, keys), chance_below(c, 2) ? "not " : "");
        return;
    default:
        say(out, "exists brief[\"%s\"]%s", PICK(c, keys), chance_below(c, 3) ? "" : "[\"a\"]");
    }
}

static void say_leaf(struct chance *c, struct buf *out)
{
    switch (chance_below(c, 13)) {
    case 0:
        say_fields(c, out);
        return;
    case 1:
    case 2:
        say_range(c, out);
        return;
    case 3:
    case 4:
        say_in(c, out);
        return;
    case 5:
        say_like(c, out);
        return;
    case 6:
    case 7:
        say_arith(c, out);
        return;
    case 8:
        say_length(c, out);
        return;
    case 9:
        say_contains(c, out);
        return;
    case 10:
        say_exists(c, out);
        return;
    default:
        say_compare(c, out);
    }
}

void random_expression(struct chance *c, unsigned depth, struct buf *out)
{
    uint32_t kind = depth ? chance_below(c, 6) : 5;
    if (kind == 0) {
        say(out, chance_below(c, 2) ? "not (" : "!(");
        random_expression(c, depth - 1, out);
        say(out, ")");
    } else if (kind < 4) {
        uint32_t count = 2 + (chance_below(c, 4) == 0);
        const char *op = chance_below(c, 2) ? " and " : " || ";
        for (uint32_t i = 0; i < count; i++) {
            say(out, i ? "%s(" : "%s(", i ? op : "");
            random_expression(c, depth - 1, out);
            say(out, ")");
        }
    } else {
        say_leaf(c, out);
    }
}
