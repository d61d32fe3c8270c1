#include "filter/pass.h"
#include "filter/probe.h"

/*
 * A string that is its own in every record is tested a million times, and reading all of them is what that costs. So
 * most tests look at the heads first, eight bytes of each string side by side, and at the string itself only where its
 * head leaves that open: what a string starts with, whether it is less, and patterns whose first piece few have. What
 * it must hold and what is rare is looked for in the whole arena at once, as if that were one text; a hit counts where
 * it lies within a string. Other patterns walk from string to string (walk.c). The plain filter_leaf_string() does the
 * rest, and is what these loops are tested against.
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

/* Of HEADS strings one in COMMON; of SAMPLE bytes of text one in RARE. */
enum { HEADS = 1024, COMMON = 4, SAMPLE = 65536, RARE = 4096, TOGETHER = 1024 };

/* Which strings match, of codes whose heads do not say no? They are fetched side by side; `codes` is spent then. */
static uint32_t pass_some(const struct filter_dict *dict, const struct filter_pattern *pattern, uint32_t *codes,
    uint32_t count, uint8_t *table)
{
    uint32_t live = 0, passed = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!filter_dict_live(dict, codes[i]))
            continue;
        __builtin_prefetch(dict->arena + (uint64_t)dict->offset[codes[i]] * 4);
        codes[live++] = codes[i];
    }
    for (uint32_t i = 0; i < live; i++) {
        bool passes = filter_pattern_match(pattern, filter_dict_get(dict, codes[i]));
        table[codes[i]] = passes;
        passed += passes;
    }
    return passed;
}

/* Where the head does not say no: `sure` or ask the pattern. */
static uint32_t pass_heads(const struct filter_dict *dict, const struct filter_pattern *pattern,
    const struct filter_pattern_head *want, uint8_t *table)
{
    const uint64_t bytes = want->bytes, mask = want->mask, wide = want->wide, *heads = dict->heads;
    const uint32_t count = dict->count;
    uint32_t passed = 0, some[TOGETHER], n = 0;
    for (uint32_t code = 0; want->sure && code < count; code++) {
        table[code] = ((heads[code] ^ bytes) & mask) == 0;
        passed += table[code];
    }
    for (uint32_t from = 0; !want->sure && from < count; from += TOGETHER, n = 0) {
        for (uint32_t code = from; code < count && code < from + TOGETHER; code++) {
            some[n] = code;
            n += (((heads[code] ^ bytes) & mask) == 0) | ((heads[code] & wide) != 0);
        }
        passed += pass_some(dict, pattern, some, n, table);
    }
    return passed;
}

/* Do so many have such a head that it says little? Asked of some of them. */
static bool is_common(const struct filter_dict *dict, const struct filter_pattern_head *want)
{
    uint32_t step = dict->count / HEADS + 1, asked = 0, passed = 0;
    for (uint32_t code = 0; code < dict->count; code += step, asked++)
        passed += ((dict->heads[code] ^ want->bytes) & want->mask) == 0 || (dict->heads[code] & want->wide);
    return passed > asked / COMMON;
}

/* By the end of the string. */
static uint32_t pass_tails(const struct filter_dict *dict, struct filter_bytes want, uint8_t *table)
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
        table[code] = same;
        passed += same;
    }
    return passed;
}

static struct filter_probe probe_of(const char *text, uint64_t end, struct filter_bytes want)
{
    return filter_probe_new(text, end, want.data[0], want.data[want.len > 1], want.len > 1);
}

/* The first place from `at` on, or the end of the text. */
static uint64_t find(const struct filter_probe *p, uint64_t at, struct filter_bytes want)
{
    uint64_t above = UINT64_MAX << at % 64;
    for (uint64_t n = at / 64; 64 * n < p->end; n++, above = UINT64_MAX) {
        for (uint64_t bits = filter_probe_block(p, n) & above; bits; bits &= bits - 1) {
            at = 64 * n + (uint64_t)__builtin_ctzll(bits);
            if (p->end - at >= want.len && memcmp(p->text + at, want.data, want.len) == 0)
                return at;
        }
    }
    return p->end;
}

/* Is it met so rarely that it is worth while to look for it in all of the text? */
static bool is_rare(const struct filter_dict *dict, struct filter_bytes want)
{
    uint64_t end = dict->used < SAMPLE ? dict->used : SAMPLE, hits = 0;
    struct filter_probe probe = probe_of(dict->arena, end, want);
    for (uint64_t at = 0; (at = find(&probe, at, want)) < end; at++)
        hits++;
    return hits <= end / RARE;
}

/*
 * Only strings that hold `want` can pass; they are found, and the pattern is asked. False where it is met often after
 * all, as in strings that came later than the sample; then the table says nothing.
 */
static bool pass_holders(const struct filter_dict *dict, const struct filter_pattern *pattern,
    struct filter_bytes want, uint8_t *table, uint32_t *passed)
{
    const struct filter_probe probe = probe_of(dict->arena, dict->used, want);
    uint64_t at = 0, floor = 0, left = HEADS + 2 * dict->used / RARE;
    *passed = 0;
    while ((at = find(&probe, at, want)) < dict->used) {
        struct filter_bytes s;
        uint32_t code;
        if (left-- == 0)
            return false;
        bool there = filter_dict_cover(dict, at, floor, &s, &code);
        uint64_t start = there ? (uint64_t)(s.data - dict->arena) : 0;
        if (!there || at < start || at + want.len > start + s.len) {
            floor = at > 2 * sizeof(uint32_t) ? at - 2 * sizeof(uint32_t) : 0; /* the head it may be in */
            at++;
            continue;
        }
        table[code] = filter_pattern_match(pattern, s);
        *passed += table[code];
        at = floor = start + s.len;
    }
    return true;
}

static uint32_t pass_like(
    const struct filter_pattern *pattern, const struct filter_dict *dict, uint8_t *table)
{
    struct filter_pattern_head head;
    struct filter_bytes s;
    uint32_t code, passed = 0;
    if (filter_pattern_head(pattern, &head) && (head.sure || !is_common(dict, &head)))
        return pass_heads(dict, pattern, &head, table);
    if (filter_pattern_tail(pattern, &s))
        return pass_tails(dict, s, table);
    if (filter_pattern_holds(pattern, &s) && is_rare(dict, s) && pass_holders(dict, pattern, s, table, &passed))
        return passed;
    if (filter_pass_walk(dict, pattern, table, &passed))
        return passed;
    passed = 0;
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
