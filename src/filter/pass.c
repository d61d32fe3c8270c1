#include "filter/pass.h"

/*
 * A string that is its own in every record is tested a million times, and reading all of them is what that costs. So
 * most tests look at the heads first, eight bytes of each string side by side, and at the string itself only where its
 * head leaves that open: what a string starts with, whether it is less, and patterns with "_" whose first piece says
 * something. What it contains or ends with is looked for in the whole arena at once, as if that were one text; a hit
 * counts where it lies within a string. The plain filter_leaf_string() does the rest, and is what these loops are
 * tested against.
 */

/* A constant, which may end where its memory does. */
static uint64_t constant_head(struct filter_bytes s)
{
    char copy[8] = {0};
    memcpy(copy, s.data, s.len < 8 ? s.len : 8);
    return filter_head((struct filter_bytes){copy, s.len});
}

static inline int order_of(struct filter_bytes s, struct filter_bytes c)
{
    int order = memcmp(s.data, c.data, s.len < c.len ? s.len : c.len);
    return order ? order : (s.len > c.len) - (s.len < c.len);
}

/*
 * Each loop below fills `table`, a byte a code, and returns how many passed. As far as a compiler knows such a byte may be
 * written over anything, so what loops read they keep in variables of their own.
 */
static struct filter_dict strings_of(const struct filter_dict *dict)
{
    return (struct filter_dict){.arena = dict->arena, .used = dict->used};
}

/* --- order
 * ------------------------------------------------------------------------------------------------------- */

struct bound {
    struct filter_bytes s;
    uint64_t head;
    bool there, inclusive;
};

static bool bounds_of(const struct filter_leaf *leaf, struct bound *low, struct bound *high)
{
    const struct filter_node *n = leaf->node;
    *low = *high = (struct bound){0};
    if ((n->kind != FILTER_COMPARE && n->kind != FILTER_RANGE) || n->value.kind != FILTER_STRING)
        return false;
    if (n->kind == FILTER_RANGE) {
        *low = (struct bound){n->lower.s, constant_head(n->lower.s), true, n->lower_inclusive};
        *high = (struct bound){n->value.s, constant_head(n->value.s), true, n->upper_inclusive};
        return true;
    }
    struct bound *only = leaf->op == FILTER_LT || leaf->op == FILTER_LE ? high : low;
    *only = (struct bound){
        n->value.s, constant_head(n->value.s), true, leaf->op == FILTER_LE || leaf->op == FILTER_GE};
    return leaf->op != FILTER_EQ;
}

static bool within(struct filter_bytes s, const struct bound *low, const struct bound *high)
{
    int above = low->there ? order_of(s, low->s) : 1, below = high->there ? order_of(s, high->s) : -1;
    return (above > 0 || (above == 0 && low->inclusive)) && (below < 0 || (below == 0 && high->inclusive));
}

/* Codes of the past may pass as well where only heads are compared: no row has them. */
static uint32_t pass_order(
    const struct filter_dict *dict, const struct bound *low, const struct bound *high, uint8_t *table)
{
    const uint64_t from = low->head, to = high->head, *heads = dict->heads;
    const bool no_from = !low->there, no_to = !high->there;
    uint32_t passed = 0;
    for (uint32_t code = 0, count = dict->count; code < count; code++) {
        uint64_t head = heads[code];
        bool passes = (no_from | (head > from)) & (no_to | (head < to));
        if ((!no_from & (head == from)) | (!no_to & (head == to)))
            passes = filter_dict_live(dict, code) && within(filter_dict_get(dict, code), low, high);
        table[code] = passes;
        passed += passes;
    }
    return passed;
}

/* --- like
 * ----------------------------------------------------------------------------------------------------------
 */

/* Where the head does not say no: `sure` or ask the pattern. */
static uint32_t pass_heads(const struct filter_dict *dict, const struct filter_pattern *pattern,
    const struct filter_pattern_head *want, uint8_t *table)
{
    const uint64_t bytes = want->bytes, mask = want->mask, wide = want->wide, *heads = dict->heads;
    const bool sure = want->sure;
    uint32_t passed = 0;
    for (uint32_t code = 0, count = dict->count; code < count; code++) {
        uint64_t head = heads[code];
        bool passes = (((head ^ bytes) & mask) == 0) | ((head & wide) != 0);
        if (passes && !sure)
            passes = filter_dict_live(dict, code) && filter_pattern_match(pattern, filter_dict_get(dict, code));
        table[code] = passes;
        passed += passes;
    }
    return passed;
}

/* By the end of the string, which is `want`; then the pattern is asked, unless that is all of it. */
static uint32_t pass_tails(const struct filter_dict *dict, const struct filter_pattern *pattern,
    struct filter_bytes want, bool sure, uint8_t *table)
{
    const struct filter_dict strings = strings_of(dict);
    struct filter_bytes s;
    uint32_t code, passed = 0;
    char copy[8] = {0};
    uint64_t tail, mask = 0;
    if (want.len <= 8) {
        memcpy(copy + 8 - want.len, want.data, want.len);
        mask = want.len == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * want.len) - 1;
    }
    memcpy(&tail, copy, sizeof tail);
    for (uint64_t at = 0; filter_dict_next(&strings, &at, &s, &code);) {
        bool same = s.len >= want.len;
        if (same && want.len <= 8 && s.len >= 8) {
            uint64_t own;
            memcpy(&own, s.data + s.len - 8, sizeof own);
            same = (be64toh(own ^ tail) & mask) == 0;
        } else if (same) {
            same = memcmp(s.data + s.len - want.len, want.data, want.len) == 0;
        }
        if (same && !sure)
            same = filter_pattern_match(pattern, s);
        table[code] = same;
        passed += same;
    }
    return passed;
}

typedef uint8_t lanes __attribute__((vector_size(16)));

/* The first place from `at` on where the two bytes stand, or `end`. */
static uint64_t find_pair(const char *text, uint64_t at, uint64_t end, const char pair[2])
{
    const uint8_t a = (uint8_t)pair[0], b = (uint8_t)pair[1];
    const lanes first = {a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a};
    const lanes second = {b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b};
    for (; end - at > 17; at += 16) {
        lanes x, y;
        uint64_t halves[2];
        memcpy(&x, text + at, sizeof x);
        memcpy(&y, text + at + 1, sizeof y);
        lanes both = (lanes)(x == first) & (lanes)(y == second);
        memcpy(halves, &both, sizeof halves);
        if (halves[0] | halves[1])
            break;
    }
    while (at + 1 < end && (text[at] != pair[0] || text[at + 1] != pair[1]))
        at++;
    return at + 1 < end ? at : end;
}

static uint64_t find(const char *text, uint64_t at, uint64_t end, struct filter_bytes want)
{
    if (want.len == 1) {
        const char *hit = at < end ? memchr(text + at, want.data[0], end - at) : NULL;
        return hit ? (uint64_t)(hit - text) : end;
    }
    for (; at < end; at++) {
        at = find_pair(text, at, end, want.data);
        if (end - at >= want.len && memcmp(text + at, want.data, want.len) == 0)
            return at;
    }
    return end;
}

enum { SAMPLE = 65536, RARE = 1024 };

/* Is it met so rarely that it is worth while to look for it in all of the text? */
static bool is_rare(const struct filter_dict *dict, struct filter_bytes want)
{
    uint64_t end = dict->used < SAMPLE ? dict->used : SAMPLE, hits = 0;
    for (uint64_t at = 0; (at = find(dict->arena, at, end, want)) < end; at++)
        hits++;
    return hits <= end / RARE;
}

/* Only strings that hold `want` can pass; they are found, and the pattern is asked. */
static uint32_t pass_holders(const struct filter_dict *dict, const struct filter_pattern *pattern,
    struct filter_bytes want, uint8_t *table)
{
    uint64_t at = 0, floor = 0;
    uint32_t passed = 0;
    while ((at = find(dict->arena, at, dict->used, want)) < dict->used) {
        struct filter_bytes s;
        uint32_t code;
        bool there = filter_dict_cover(dict, at, floor, &s, &code);
        uint64_t start = there ? (uint64_t)(s.data - dict->arena) : 0;
        if (!there || at < start || at + want.len > start + s.len) {
            floor = at > 2 * sizeof(uint32_t) ? at - 2 * sizeof(uint32_t) : 0; /* the head it may be in */
            at++;
            continue;
        }
        table[code] = filter_pattern_match(pattern, s);
        passed += table[code];
        at = floor = start + s.len;
    }
    return passed;
}

/* %text%, where the text is met often: the places where it stands and the strings are walked side by side. */
static uint32_t pass_infix(const struct filter_dict *dict, struct filter_bytes want, uint8_t *table)
{
    const struct filter_dict strings = strings_of(dict);
    struct filter_bytes s;
    uint32_t code, passed = 0;
    uint64_t hit = find(strings.arena, 0, strings.used, want);
    for (uint64_t at = 0; filter_dict_next(&strings, &at, &s, &code);) {
        uint64_t start = (uint64_t)(s.data - strings.arena);
        if (hit < start)
            hit = find(strings.arena, start, strings.used, want);
        table[code] = hit + want.len <= start + s.len;
        passed += table[code];
    }
    return passed;
}

static uint32_t pass_like(
    const struct filter_pattern *pattern, const struct filter_dict *dict, uint8_t *table)
{
    struct filter_pattern_head head;
    struct filter_bytes s;
    uint32_t code, passed = 0;
    bool sure;
    if (filter_pattern_head(pattern, &head))
        return pass_heads(dict, pattern, &head, table);
    if (filter_pattern_tail(pattern, &s, &sure))
        return pass_tails(dict, pattern, s, sure, table);
    if (filter_pattern_holds(pattern, &s, &sure)) {
        if (is_rare(dict, s))
            return pass_holders(dict, pattern, s, table);
        if (sure)
            return pass_infix(dict, s, table);
    }
    for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code); passed += table[code])
        table[code] = filter_pattern_match(pattern, s);
    return passed;
}

/* --- all
 * -------------------------------------------------------------------------------------------------------------
 */

static uint32_t pass_in(const struct filter_leaf *leaf, const struct filter_dict *dict, uint8_t *table)
{
    uint32_t passed = 0;
    for (size_t i = 0; i < leaf->string_count; i++) {
        uint32_t code = filter_dict_find(dict, leaf->strings[i].data, leaf->strings[i].len);
        if (code == FILTER_NO_CODE || table[code])
            continue;
        table[code] = 1;
        passed++;
    }
    return passed;
}

static bool only_one(const struct filter_leaf *leaf, struct filter_bytes *exact)
{
    const struct filter_node *n = leaf->node;
    *exact = n->value.s;
    if (n->kind == FILTER_LIKE)
        return filter_pattern_exact(leaf->pattern, exact);
    return n->kind == FILTER_COMPARE && leaf->op == FILTER_EQ && n->value.kind == FILTER_STRING;
}

/* Where only one has passed: which. */
static void find_last(struct filter_passed *out, const struct filter_dict *dict)
{
    const uint8_t *one = out->count == 1 ? memchr(out->table, 1, dict->count) : NULL;
    out->last = one ? (uint32_t)(one - out->table) : 0;
}

enum result filter_pass_strings(
    const struct filter_leaf *leaf, const struct filter_dict *dict, struct filter_passed *out)
{
    struct filter_bytes s;
    struct bound low, high;
    uint32_t code;
    *out = (struct filter_passed){0};
    if (only_one(leaf, &s)) {
        out->last = filter_dict_find(dict, s.data, s.len);
        out->count = out->last != FILTER_NO_CODE;
        return ERR_OK;
    }
    out->table = calloc((size_t)dict->count + 1, 1);
    if (!out->table)
        return ERR_NO_MEMORY;
    if (leaf->node->kind == FILTER_IN)
        out->count = pass_in(leaf, dict, out->table);
    else if (bounds_of(leaf, &low, &high))
        out->count = pass_order(dict, &low, &high, out->table);
    else if (leaf->node->kind == FILTER_LIKE)
        out->count = pass_like(leaf->pattern, dict, out->table);
    else
        for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code); out->count += out->table[code])
            out->table[code] = filter_leaf_string(leaf, s);
    find_last(out, dict);
    return ERR_OK;
}

enum result filter_pass_blobs(const struct filter_leaf *leaf, const struct filter_dict *dict,
    const struct filter_bytes *path, size_t depth, struct filter_passed *out)
{
    struct filter_bytes s;
    uint32_t code;
    *out = (struct filter_passed){.table = calloc((size_t)dict->count + 1, 1)};
    if (!out->table)
        return ERR_NO_MEMORY;
    for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code);) {
        struct filter_blob v = filter_blob_next(&s);
        out->table[code] = filter_blob_follow(&v, path, depth) && filter_leaf_value(leaf, &v);
        out->count += out->table[code];
    }
    find_last(out, dict);
    return ERR_OK;
}
