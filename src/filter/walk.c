#include "filter/pass.h"
#include "filter/probe.h"

/*
 * A pattern over all strings of a dictionary, whatever they hold and however often. Looking into each string takes
 * longest where a processor cannot foretell what it will find, as in "%1%" of numbers. So nothing here depends on that:
 * for each piece between two "%" the places of two of its bytes are found 64 at a time, side by side with the walk from
 * string to string, and what is asked of a string is the lowest bit of a word, from the end of the piece before on.
 *
 * A "_" is one byte as long as there are only ASCII characters. Strings with others, if the pattern has "_", and those
 * that are longer than a word has bits are left to filter_pattern_match(), which is what this is tested against.
 */

enum { MIDDLE = 4, SHORT = 63, EIGHT = sizeof(uint64_t) };

/* Bytes that must stand at one place, "_" aside. */
struct part {
    struct filter_piece piece;
    uint64_t word, mask; /* the first eight, and which of them count */
};

/* A piece between two "%". */
struct middle {
    struct part part;
    struct filter_probe probe;
    size_t lead; /* how many "_" it begins with; all of it: there is no probe */
    size_t rest; /* from its first other byte, which the probe is for, to its end */
    bool sure;   /* the probe says all there is to it */
};

struct walk {
    struct filter_dict strings;
    struct part first, last;
    struct middle middle[MIDDLE];
    size_t count;    /* of them */
    size_t shortest; /* as many bytes has what matches, or more */
    bool exact;      /* without "%": the first is all */
    bool any;        /* there is a "_" */
};

/* The block of 64 bytes that the last string began in, and the one behind it. */
struct blocks {
    uint64_t n;
    uint64_t bits[MIDDLE], next[MIDDLE]; /* places of each piece */
    uint64_t high, next_high;            /* bytes that are not ASCII, where that matters */
};

static uint64_t eight_at(const void *bytes)
{
    uint64_t w;
    memcpy(&w, bytes, sizeof w);
    return le64toh(w);
}

static struct part part_of(struct filter_piece piece)
{
    struct part part = {.piece = piece};
    for (size_t i = 0; i < piece.len && i < EIGHT; i++) {
        part.word |= (uint64_t)(unsigned char)piece.bytes[i] << 8 * i;
        part.mask |= (uint64_t)(piece.is_any[i] ? 0 : 0xff) << 8 * i;
    }
    part.word &= part.mask;
    return part;
}

/* Of what stands behind a string eight bytes can be read. */
static inline bool stands_at(const struct part *part, const char *text)
{
    if ((eight_at(text) & part->mask) != part->word)
        return false;
    for (size_t i = EIGHT; i < part->piece.len; i++)
        if (!part->piece.is_any[i] && text[i] != part->piece.bytes[i])
            return false;
    return true;
}

static void middle_init(struct middle *m, struct filter_piece piece, const struct filter_dict *strings)
{
    size_t lead = 0, apart = 0, others = 0;
    while (lead < piece.len && piece.is_any[lead])
        lead++;
    for (size_t i = lead + 1; i < piece.len; i++) {
        if (piece.is_any[i])
            continue;
        if (++others == 1)
            apart = i - lead;
    }
    *m = (struct middle){.part = part_of(piece), .lead = lead, .rest = piece.len - lead, .sure = others <= 1};
    if (m->rest)
        m->probe = filter_probe_new(
            strings->arena, strings->used, piece.bytes[lead], piece.bytes[lead + apart], apart);
}

static bool walk_init(struct walk *w, const struct filter_dict *dict, const struct filter_pattern *pattern)
{
    struct filter_piece pieces[MIDDLE + 2];
    size_t count = filter_pattern_pieces(pattern, pieces, MIDDLE + 2);
    if (!count)
        return false;
    *w = (struct walk){.strings = {.arena = dict->arena, .used = dict->used}, .exact = count == 1};
    w->first = part_of(pieces[0]);
    if (count > 1)
        w->last = part_of(pieces[count - 1]);
    for (size_t i = 0; i < count; i++) {
        w->shortest += pieces[i].len;
        for (size_t k = 0; k < pieces[i].len; k++)
            w->any = w->any || pieces[i].is_any[k];
        if (i > 0 && i + 1 < count && pieces[i].len)
            middle_init(&w->middle[w->count++], pieces[i], &w->strings);
    }
    return true;
}

static uint64_t high_block(const struct filter_dict *strings, uint64_t n)
{
    uint64_t from = 64 * n, bits = 0;
    if (from + 64 > strings->used) {
        for (uint64_t i = 0; from + i < strings->used; i++)
            bits |= (uint64_t)((unsigned char)strings->arena[from + i] >> 7) << i;
        return bits;
    }
    for (int i = 0; i < 4; i++)
        bits |= filter_lane_bits(filter_lanes_at(strings->arena + from + 16 * i)) << 16 * i;
    return bits;
}

static __attribute__((noinline)) uint64_t far_block(const struct middle *m, uint64_t n)
{
    return filter_probe_block(&m->probe, n);
}

/* To the block n, which mostly is the next. */
FILTER_INLINED void go_to(const struct walk *w, struct blocks *b, size_t count, bool any, uint64_t n)
{
    const bool on = n == b->n + 1;
    for (size_t k = 0; k < count; k++) {
        const struct middle *m = &w->middle[k];
        if (!m->rest)
            continue;
        b->bits[k] = on ? b->next[k] : far_block(m, n);
        b->next[k] = filter_probe_block(&m->probe, n + 1);
    }
    if (any) {
        b->high = on ? b->next_high : high_block(&w->strings, n);
        b->next_high = high_block(&w->strings, n + 1);
    }
    b->n = n;
}

/* 64 bits from the place `shift` of the first word on. */
static inline uint64_t window(uint64_t bits, uint64_t next, unsigned shift)
{
    return bits >> shift | next << 1 << (63 - shift);
}

/*
 * Behind the first match of the piece from `at` on; more than SHORT where there is none that ends by `limit`. `places`:
 * of its probe, from the start of the string on.
 */
FILTER_INLINED size_t match_from(
    const struct middle *m, uint64_t places, struct filter_bytes s, size_t at, size_t limit)
{
    size_t from = at + m->lead;
    if (!m->rest)
        return from;
    places &= UINT64_MAX << (from < SHORT ? from : SHORT);
    while (!m->sure && places) {
        size_t place = (size_t)__builtin_ctzll(places);
        if (place + m->rest > limit || stands_at(&m->part, s.data + place - m->lead))
            break;
        places &= places - 1;
    }
    return (size_t)__builtin_ctzll(places | (uint64_t)1 << SHORT) + m->rest;
}

/* Does a string of SHORT bytes at most match, all of which are ASCII if that matters? */
FILTER_INLINED bool short_matches(
    const struct walk *w, const struct blocks *b, size_t count, bool bare, struct filter_bytes s, unsigned shift)
{
    size_t at = 0, limit = s.len;
    if (!bare) {
        if (s.len < w->shortest || !stands_at(&w->first, s.data))
            return false;
        at = w->first.piece.len;
        limit -= w->last.piece.len;
    }
    for (size_t k = 0; k < count; k++)
        at = match_from(&w->middle[k], window(b->bits[k], b->next[k], shift), s, at, limit);
    if (bare)
        return at <= limit;
    return (w->exact ? at == s.len : at <= limit) & stands_at(&w->last, s.data + limit);
}

/* `bare`: it begins and ends with "%". */
FILTER_INLINED uint32_t walk(const struct walk *w, size_t count, bool any, bool bare,
    const struct filter_pattern *pattern, uint8_t *table)
{
    const struct filter_dict strings = w->strings;
    struct blocks blocks = {.n = UINT64_MAX - 1};
    struct filter_bytes s;
    uint32_t code, passed = 0;
    for (uint64_t at = 0; filter_dict_next(&strings, &at, &s, &code);) {
        const uint64_t start = (uint64_t)(s.data - strings.arena);
        const unsigned shift = start % 64;
        bool passes;
        if (start / 64 != blocks.n)
            go_to(w, &blocks, count, any, start / 64);
        if (s.len > SHORT || (any && window(blocks.high, blocks.next_high, shift) & (((uint64_t)1 << s.len) - 1)))
            passes = filter_pattern_match(pattern, s);
        else
            passes = short_matches(w, &blocks, count, bare, s, shift);
        table[code] = passes;
        passed += passes;
    }
    return passed;
}

bool filter_pass_walk(
    const struct filter_dict *dict, const struct filter_pattern *pattern, uint8_t *table, uint32_t *passed)
{
    struct walk w;
    if (!walk_init(&w, dict, pattern))
        return false;
    bool bare = !w.exact && !w.first.piece.len && !w.last.piece.len;
    /* Constants take a quarter off the time of the most frequent ones, "%text%" first of all. */
    if (w.count == 1 && bare && !w.any)
        *passed = walk(&w, 1, false, true, pattern, table);
    else if (w.count == 1 && !w.any)
        *passed = walk(&w, 1, false, false, pattern, table);
    else if (w.count == 1)
        *passed = walk(&w, 1, true, false, pattern, table);
    else
        *passed = walk(&w, w.count, w.any, false, pattern, table);
    return true;
}
