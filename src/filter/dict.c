#include "filter/dict.h"

#include "base/limits.h"

/*
 * The strings lie one behind the other in an arena, each behind its length and code; a released one has no
 * code, and when more than half of the arena is released the rest is written anew: codes stay, offsets
 * change. The seed is random, so nobody can choose strings that collide.
 *
 * The table keeps the hash beside the code: another string is passed over, a place emptied and the table doubled without
 * a look at strings, each of which would be a miss of the cache.
 */

enum { HEAD = 2 * sizeof(uint32_t), SLACK = 8 };

void filter_dict_init(struct filter_dict *d, uint64_t seed, bool with_heads)
{
    *d = (struct filter_dict){.free_code = FILTER_NO_CODE, .seed = seed, .with_heads = with_heads};
}

void filter_dict_free(struct filter_dict *d)
{
    free(d->arena);
    free(d->offset);
    free(d->holders);
    free(d->heads);
    free(d->table);
    *d = (struct filter_dict){.free_code = FILTER_NO_CODE};
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash(const struct filter_dict *d, const char *data, size_t len)
{
    const uint64_t k = 0x9e3779b97f4a7c15u;
    uint64_t h = d->seed ^ len * k;
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, data, 8);
        h = mix(h ^ w, k ^ d->seed);
        data += 8;
        len -= 8;
    }
    uint64_t w = 0;
    if (len)
        memcpy(&w, data, len);
    return (uint32_t)(mix(h ^ w, k) >> 16);
}

struct filter_bytes filter_dict_get(const struct filter_dict *d, uint32_t code)
{
    const char *at = d->arena + (uint64_t)d->offset[code] * 4;
    uint32_t len;
    memcpy(&len, at, sizeof len);
    return (struct filter_bytes){at + HEAD, len};
}

static uint64_t stored_size(size_t len)
{
    return (HEAD + len + 3) / 4 * 4;
}

/* The place in the table where the string is, or where it would be. */
static uint32_t probe(const struct filter_dict *d, uint32_t h, const char *data, size_t len)
{
    uint32_t at = h & (d->table_size - 1);
    for (; d->table[at].code != FILTER_NO_CODE; at = (at + 1) & (d->table_size - 1)) {
        if (d->table[at].hash != h)
            continue;
        struct filter_bytes s = filter_dict_get(d, d->table[at].code);
        if (s.len == len && memcmp(s.data, data, len) == 0)
            break;
    }
    return at;
}

uint32_t filter_dict_find(const struct filter_dict *d, const void *data, size_t len)
{
    return d->table_size ? d->table[probe(d, hash(d, data, len), data, len)].code : FILTER_NO_CODE;
}

static enum result grow_table(struct filter_dict *d)
{
    uint32_t size = d->table_size ? d->table_size * 2 : 16;
    struct filter_dict_place *table = malloc(size * sizeof *table);
    if (!table)
        return ERR_NO_MEMORY;
    memset(table, 0xff, size * sizeof *table);
    for (uint32_t i = 0; i < d->table_size; i++) {
        struct filter_dict_place place = d->table[i];
        if (place.code == FILTER_NO_CODE)
            continue;
        uint32_t at = place.hash & (size - 1); /* all are different: the next free place will do */
        while (table[at].code != FILTER_NO_CODE)
            at = (at + 1) & (size - 1);
        table[at] = place;
    }
    free(d->table);
    d->table = table;
    d->table_size = size;
    return ERR_OK;
}

/* Grow by a half, by an eighth once that is a lot. */
static uint64_t more_room(uint64_t room, uint64_t need)
{
    room += room > 16 * (uint64_t)LIMIT_MIB ? room / 8 : room / 2;
    return room < need ? need : room;
}

static enum result grow_codes(struct filter_dict *d)
{
    uint32_t room = (uint32_t)more_room(d->code_room, 8 + (uint64_t)d->code_room);
    uint32_t *offset = realloc(d->offset, room * sizeof *offset);
    if (!offset)
        return ERR_NO_MEMORY;
    d->offset = offset;
    uint32_t *holders = realloc(d->holders, room * sizeof *holders);
    if (!holders)
        return ERR_NO_MEMORY;
    d->holders = holders;
    if (d->with_heads) {
        uint64_t *heads = realloc(d->heads, room * sizeof *heads);
        if (!heads)
            return ERR_NO_MEMORY;
        d->heads = heads;
    }
    d->code_room = room;
    return ERR_OK;
}

/* Write the strings anew without holes, with room for `more` bytes. */
static enum result compact(struct filter_dict *d, uint64_t more)
{
    uint64_t room = more_room(d->used - d->dead, d->used - d->dead + more + SLACK), used = 0;
    char *arena = calloc(room, 1);
    if (!arena)
        return ERR_NO_MEMORY;
    for (uint32_t code = 0; code < d->count; code++) {
        if (!filter_dict_live(d, code))
            continue;
        struct filter_bytes s = filter_dict_get(d, code);
        memcpy(arena + used, s.data - HEAD, HEAD + s.len);
        d->offset[code] = (uint32_t)(used / 4);
        used += stored_size(s.len);
    }
    free(d->arena);
    d->arena = arena;
    d->room = room;
    d->used = used;
    d->dead = 0;
    return ERR_OK;
}

static enum result reserve(struct filter_dict *d, uint64_t more)
{
    if (d->used + more + SLACK <= d->room)
        return ERR_OK;
    if (d->dead > d->used / 2)
        return compact(d, more);
    uint64_t room = more_room(d->room, d->used + more + 64 + SLACK);
    if (room / 4 > UINT32_MAX)
        return ERR_TOO_LARGE;
    char *arena = realloc(d->arena, room);
    if (!arena)
        return ERR_NO_MEMORY;
    memset(arena + d->room, 0, room - d->room);
    d->arena = arena;
    d->room = room;
    return ERR_OK;
}

enum result filter_dict_hold(struct filter_dict *d, const void *data, size_t len, uint32_t *out)
{
    enum result r = ERR_OK;
    if (d->live + 1 > d->table_size - d->table_size / 4)
        r = grow_table(d);
    if (!r && d->free_code == FILTER_NO_CODE && d->count == d->code_room)
        r = grow_codes(d);
    if (r)
        return r;
    uint32_t h = hash(d, data, len), at = probe(d, h, data, len), code = d->table[at].code;
    if (code != FILTER_NO_CODE) {
        d->holders[code]++;
        *out = code;
        return ERR_OK;
    }
    r = reserve(d, stored_size(len));
    if (r)
        return r;
    code = d->free_code;
    if (code != FILTER_NO_CODE)
        d->free_code = d->offset[code];
    else
        code = d->count++;
    const uint32_t head[2] = {(uint32_t)len, code};
    memcpy(d->arena + d->used, head, HEAD);
    if (len)
        memcpy(d->arena + d->used + HEAD, data, len);
    d->offset[code] = (uint32_t)(d->used / 4);
    d->used += stored_size(len);
    if (d->heads)
        d->heads[code] = filter_head(filter_dict_get(d, code));
    d->holders[code] = 1;
    d->table[at] = (struct filter_dict_place){code, h};
    d->live++;
    *out = code;
    return ERR_OK;
}

/* Empty a place of the table, and move back what had been pushed behind it. */
static void unlist(struct filter_dict *d, uint32_t hole)
{
    uint32_t mask = d->table_size - 1;
    for (uint32_t at = (hole + 1) & mask; d->table[at].code != FILTER_NO_CODE; at = (at + 1) & mask) {
        uint32_t home = d->table[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            d->table[hole] = d->table[at];
            hole = at;
        }
    }
    d->table[hole].code = FILTER_NO_CODE;
}

/* Where a code is listed that is. */
static uint32_t listed(const struct filter_dict *d, uint32_t code, struct filter_bytes s)
{
    uint32_t at = hash(d, s.data, s.len) & (d->table_size - 1);
    while (d->table[at].code != code)
        at = (at + 1) & (d->table_size - 1);
    return at;
}

void filter_dict_release(struct filter_dict *d, uint32_t code)
{
    if (--d->holders[code] > 0)
        return;
    struct filter_bytes s = filter_dict_get(d, code);
    unlist(d, listed(d, code, s));
    d->dead += stored_size(s.len);
    memcpy(d->arena + (uint64_t)d->offset[code] * 4 + sizeof(uint32_t), &(uint32_t){FILTER_NO_CODE},
        sizeof(uint32_t));
    d->offset[code] = d->free_code;
    d->free_code = code;
    d->live--;
}

/*
 * An entry begins where the offset of the code that stands there says so. Looking backwards costs a string's length at
 * most where strings are live; where they are dead `floor` keeps it from being walked over again and again.
 */
bool filter_dict_cover(const struct filter_dict *d, uint64_t place, uint64_t floor, struct filter_bytes *s, uint32_t *code)
{
    for (uint64_t at = place / 4 * 4;; at -= 4) {
        uint32_t head[2];
        memcpy(head, d->arena + at, sizeof head);
        if (head[1] < d->count && d->holders[head[1]] && d->offset[head[1]] == at / 4) {
            *s = (struct filter_bytes){d->arena + at + HEAD, head[0]};
            *code = head[1];
            return place < at + HEAD + head[0];
        }
        if (at < floor + 4)
            return false;
    }
}

size_t filter_dict_bytes(const struct filter_dict *d)
{
    return d->room + (size_t)d->code_room * (d->with_heads ? 16 : 8) + (size_t)d->table_size * sizeof *d->table;
}
