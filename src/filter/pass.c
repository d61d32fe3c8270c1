#include "filter/pass.h"

#include <endian.h>

/*
 * A string that is its own in every record is tested a million times, so the common tests have loops of their
 * own that look at eight bytes at once and call nothing: what a string starts with, what it ends with,
 * whether it is less. What it contains is looked for in the whole arena at once, as if that were one text; a
 * hit counts where it lies within a string. The plain filter_leaf_string() does the rest, and is what these
 * loops are tested against.
 */

/* The first eight bytes as a number that is ordered as the strings are, zeros behind the end. */
static inline uint64_t head_of(struct filter_bytes s)
{
    uint64_t w;
    memcpy(&w, s.data, sizeof w);
    w = be64toh(w);
    return s.len >= 8 ? w : s.len ? w & ~(UINT64_MAX >> 8 * s.len) : 0;
}

/* A constant, which may end where its memory does. */
static uint64_t constant_head(struct filter_bytes s)
{
    char copy[8] = {0};
    memcpy(copy, s.data, s.len < 8 ? s.len : 8);
    return head_of((struct filter_bytes){copy, s.len});
}

static inline int order_of(struct filter_bytes s, struct filter_bytes c, uint64_t head)
{
    uint64_t own = head_of(s);
    if (own != head)
        return own < head ? -1 : 1;
    int order = memcmp(s.data, c.data, s.len < c.len ? s.len : c.len);
    return order ? order : (s.len > c.len) - (s.len < c.len);
}

static inline void pass(struct filter_passed *out, uint32_t code, bool passes)
{
    out->table[code] = passes;
    out->count += passes;
    out->last = passes ? code : out->last;
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

static void pass_order(const struct filter_dict *dict, const struct bound *low, const struct bound *high,
    struct filter_passed *out)
{
    struct filter_bytes s;
    uint32_t code;
    for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code);) {
        int above = low->there ? order_of(s, low->s, low->head) : 1;
        int below = high->there ? order_of(s, high->s, high->head) : -1;
        pass(out, code,
            (above > 0 || (above == 0 && low->inclusive)) && (below < 0 || (below == 0 && high->inclusive)));
    }
}

/* --- like
 * ----------------------------------------------------------------------------------------------------------
 */

static void pass_prefix(const struct filter_dict *dict, struct filter_bytes want, struct filter_passed *out)
{
    struct filter_bytes s;
    uint32_t code;
    const uint64_t head = constant_head(want),
                   mask = want.len >= 8 ? UINT64_MAX : ~(UINT64_MAX >> 8 * want.len);
    for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code);) {
        bool same = s.len >= want.len && ((head_of(s) ^ head) & mask) == 0;
        if (same && want.len > 8)
            same = memcmp(s.data + 8, want.data + 8, want.len - 8) == 0;
        pass(out, code, same);
    }
}

static void pass_suffix(const struct filter_dict *dict, struct filter_bytes want, struct filter_passed *out)
{
    struct filter_bytes s;
    uint32_t code;
    char copy[8] = {0};
    uint64_t tail, mask = 0;
    if (want.len <= 8) {
        memcpy(copy + 8 - want.len, want.data, want.len);
        mask = want.len == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * want.len) - 1;
    }
    memcpy(&tail, copy, sizeof tail);
    for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code);) {
        bool same = s.len >= want.len;
        if (same && want.len <= 8 && s.len >= 8) {
            uint64_t own;
            memcpy(&own, s.data + s.len - 8, sizeof own);
            same = (be64toh(own ^ tail) & mask) == 0;
        } else if (same) {
            same = memcmp(s.data + s.len - want.len, want.data, want.len) == 0;
        }
        pass(out, code, same);
    }
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

static void pass_infix(const struct filter_dict *dict, struct filter_bytes want, struct filter_passed *out)
{
    struct filter_bytes s;
    uint32_t code;
    uint64_t hit = find(dict->arena, 0, dict->used, want);
    for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code);) {
        uint64_t start = (uint64_t)(s.data - dict->arena);
        if (hit < start)
            hit = find(dict->arena, start, dict->used, want);
        pass(out, code, hit + want.len <= start + s.len);
    }
}

static void pass_like(
    const struct filter_pattern *pattern, const struct filter_dict *dict, struct filter_passed *out)
{
    struct filter_bytes want;
    bool open_start, open_end;
    uint32_t code;
    if (!filter_pattern_simple(pattern, &want, &open_start, &open_end))
        for (uint64_t at = 0; filter_dict_next(dict, &at, &want, &code);)
            pass(out, code, filter_pattern_match(pattern, want));
    else if (open_start && open_end)
        pass_infix(dict, want, out);
    else if (open_start)
        pass_suffix(dict, want, out);
    else
        pass_prefix(dict, want, out);
}

/* --- all
 * -------------------------------------------------------------------------------------------------------------
 */

static void pass_in(const struct filter_leaf *leaf, const struct filter_dict *dict, struct filter_passed *out)
{
    for (size_t i = 0; i < leaf->string_count; i++) {
        uint32_t code = filter_dict_find(dict, leaf->strings[i].data, leaf->strings[i].len);
        if (code != FILTER_NO_CODE && !out->table[code])
            pass(out, code, true);
    }
}

static bool only_one(const struct filter_leaf *leaf, struct filter_bytes *exact)
{
    const struct filter_node *n = leaf->node;
    *exact = n->value.s;
    if (n->kind == FILTER_LIKE)
        return filter_pattern_exact(leaf->pattern, exact);
    return n->kind == FILTER_COMPARE && leaf->op == FILTER_EQ && n->value.kind == FILTER_STRING;
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
        pass_in(leaf, dict, out);
    else if (bounds_of(leaf, &low, &high))
        pass_order(dict, &low, &high, out);
    else if (leaf->node->kind == FILTER_LIKE)
        pass_like(leaf->pattern, dict, out);
    else
        for (uint64_t at = 0; filter_dict_next(dict, &at, &s, &code);)
            pass(out, code, filter_leaf_string(leaf, s));
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
        pass(out, code, filter_blob_follow(&v, path, depth) && filter_leaf_value(leaf, &v));
    }
    return ERR_OK;
}
