/*
 * Where one or two bytes stand in a text, 64 places at once: what patterns are looked for with. For pass.c and walk.c
 * alone.
 */
#ifndef FILTER_PROBE_H
#define FILTER_PROBE_H

#include "filter/ccol.h"

#include <endian.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef uint8_t filter_lanes __attribute__((vector_size(16)));

struct filter_probe {
    const char *text;
    uint64_t end;
    char first, second;
    size_t apart; /* the second stands so far behind the first; 0: there is none */
    filter_lanes firsts, seconds;
};

static inline filter_lanes filter_lanes_of(char c)
{
    const uint8_t b = (uint8_t)c;
    return (filter_lanes){b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b};
}

static inline filter_lanes filter_lanes_at(const char *text)
{
    filter_lanes x;
    memcpy(&x, text, sizeof x);
    return x;
}

/* The highest bit of each byte. */
static inline uint64_t filter_lane_bits(filter_lanes x)
{
#if defined(__SSE2__)
    return (uint64_t)(uint32_t)_mm_movemask_epi8((__m128i)x);
#else
    uint64_t halves[2];
    memcpy(halves, &x, sizeof halves);
    for (int i = 0; i < 2; i++) /* bit 7 of byte k becomes bit 56 + k */
        halves[i] = ((le64toh(halves[i]) >> 7 & 0x0101010101010101u) * 0x0102040810204080u) >> 56;
    return halves[0] | halves[1] << 8;
#endif
}

static inline struct filter_probe filter_probe_new(
    const char *text, uint64_t end, char first, char second, size_t apart)
{
    return (struct filter_probe){text, end, first, second, apart, filter_lanes_of(first), filter_lanes_of(second)};
}

static inline uint64_t filter_probe_last(const struct filter_probe *p, uint64_t from)
{
    uint64_t bits = 0;
    for (uint64_t i = 0; i < 64 && from + i + p->apart < p->end; i++) {
        const char *at = p->text + from + i;
        bits |= (uint64_t)(at[0] == p->first && (!p->apart || at[p->apart] == p->second)) << i;
    }
    return bits;
}

/* Bit i: they stand at 64 × n + i. Nothing at or behind `end` is read, and nothing found there. */
static inline uint64_t filter_probe_block(const struct filter_probe *p, uint64_t n)
{
    const uint64_t from = 64 * n;
    uint64_t bits = 0;
    if (from + 64 + p->apart > p->end)
        return filter_probe_last(p, from);
    const char *text = p->text + from;
    for (int i = 0; i < 4; i++) {
        filter_lanes here = (filter_lanes)(filter_lanes_at(text + 16 * i) == p->firsts);
        if (p->apart)
            here &= (filter_lanes)(filter_lanes_at(text + 16 * i + p->apart) == p->seconds);
        bits |= filter_lane_bits(here) << 16 * i;
    }
    return bits;
}

#endif
