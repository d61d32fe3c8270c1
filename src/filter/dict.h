/*
 * A dictionary: distinct strings of bytes ↔ codes, small numbers that are used again when nobody holds them
 * any more. For the files of filter/ alone. About 32 bytes a string beside its own, and 8 more with heads.
 *
 * Reading eight bytes at the start of a string is always possible, also where it is shorter.
 */
#ifndef FILTER_DICT_H
#define FILTER_DICT_H

#include "base/err.h"
#include "filter/tree.h"

#include <endian.h>

#define FILTER_NO_CODE UINT32_MAX

struct filter_dict_place {
    uint32_t code, hash;
};

struct filter_dict {
    char *arena;
    uint64_t used, room, dead; /* bytes of the arena; `dead` of them belong to no string any more */
    uint32_t *offset;          /* of a code, in units of 4 bytes: its length, the code, then the bytes */
    uint32_t *holders;         /* of a code; 0: free, and `offset` is the next free code */
    uint64_t *heads;           /* of a code: filter_head(); stale where it is free. NULL: not wanted */
    uint32_t count, code_room; /* codes are below `count` */
    uint32_t free_code;        /* or FILTER_NO_CODE */
    struct filter_dict_place *table; /* codes by hash, linear probing */
    uint32_t table_size, live;
    uint64_t seed;
    bool with_heads;
};

/* With heads where strings are compared with others than the one that is looked up. */
void filter_dict_init(struct filter_dict *dict, uint64_t seed, bool with_heads);
void filter_dict_free(struct filter_dict *dict);
/* One more holder of the string, which is added where it is new. ERR_TOO_LARGE beyond 16 GiB. */
enum result filter_dict_hold(
    struct filter_dict *dict, const void *data, size_t len, uint32_t *code) ERR_MUST_USE;
void filter_dict_release(struct filter_dict *dict, uint32_t code);
/* FILTER_NO_CODE where it is not there. */
uint32_t filter_dict_find(const struct filter_dict *dict, const void *data, size_t len);
/* Valid until the next hold or release. */
struct filter_bytes filter_dict_get(const struct filter_dict *dict, uint32_t code);
static inline bool filter_dict_live(const struct filter_dict *dict, uint32_t code)
{
    return dict->holders[code] != 0;
}
size_t filter_dict_bytes(const struct filter_dict *dict);

/* The first eight bytes as a number that is ordered as the strings are, zeros behind the end. Eight can be read. */
static inline uint64_t filter_head(struct filter_bytes s)
{
    uint64_t w;
    memcpy(&w, s.data, sizeof w);
    w = be64toh(w);
    return s.len >= 8 ? w : s.len ? w & ~(UINT64_MAX >> 8 * s.len) : 0;
}

/* The live string, head and all, that covers this place of the arena, looked for down to `floor`; false: there is none. */
bool filter_dict_cover(const struct filter_dict *dict, uint64_t place, uint64_t floor, struct filter_bytes *s, uint32_t *code);

/* The next string in the order of memory, which is much faster than by code; start with *at == 0. False at
 * the end. */
static inline bool filter_dict_next(
    const struct filter_dict *dict, uint64_t *at, struct filter_bytes *s, uint32_t *code)
{
    while (*at < dict->used) {
        uint32_t head[2];
        memcpy(head, dict->arena + *at, sizeof head);
        *s = (struct filter_bytes){dict->arena + *at + sizeof head, head[0]};
        *code = head[1];
        *at += (sizeof head + head[0] + 3) / 4 * 4;
        if (head[1] != FILTER_NO_CODE)
            return true;
    }
    return false;
}

#endif
