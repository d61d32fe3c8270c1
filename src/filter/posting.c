#include "filter/store.h"

#include <roaring/roaring.h>

/*
 * The rows of a tag. Most tags of most catalogues are rare, so a posting starts as a number, becomes a list,
 * and only beyond that a compressed bitmap, which takes 200 bytes before its first row.
 */

enum { FEW = 48 };

static bool is_many(const struct filter_posting *p)
{
    return p->room == UINT32_MAX;
}

/* Where a row is among few, or would be. */
static uint32_t few_find(const struct filter_posting *p, uint32_t row)
{
    uint32_t at = p->count;
    while (at > 0 && p->few[at - 1] >= row)
        at--;
    return at;
}

static enum result to_many(struct filter_posting *p)
{
    roaring_bitmap_t *many = roaring_bitmap_of_ptr(p->count, p->few);
    if (!many)
        return ERR_NO_MEMORY;
    free(p->few);
    p->many = many;
    p->room = UINT32_MAX;
    return ERR_OK;
}

static enum result few_grow(struct filter_posting *p)
{
    uint32_t room = p->room ? p->room * 2 : 4;
    uint32_t *few = realloc(p->room ? p->few : NULL, (room > FEW ? FEW : room) * sizeof *few);
    if (!few)
        return ERR_NO_MEMORY;
    if (!p->room && p->count)
        few[0] = p->one;
    p->few = few;
    p->room = room > FEW ? FEW : room;
    return ERR_OK;
}

enum result filter_posting_add(struct filter_posting *p, uint32_t row)
{
    enum result r = ERR_OK;
    if (p->count == 0 && p->room == 0) {
        p->one = row;
        p->count = 1;
        return ERR_OK;
    }
    if (p->room == 0 && p->one == row)
        return ERR_OK;
    if (!is_many(p) && p->count == FEW)
        r = to_many(p);
    else if (!is_many(p) && (p->room == 0 || p->count == p->room))
        r = few_grow(p);
    if (r)
        return r;
    if (is_many(p)) {
        p->count += roaring_bitmap_add_checked(p->many, row);
        return ERR_OK;
    }
    uint32_t at = few_find(p, row);
    if (at < p->count && p->few[at] == row)
        return ERR_OK;
    memmove(p->few + at + 1, p->few + at, (p->count - at) * sizeof *p->few);
    p->few[at] = row;
    p->count++;
    return ERR_OK;
}

void filter_posting_remove(struct filter_posting *p, uint32_t row)
{
    if (is_many(p)) {
        p->count -= roaring_bitmap_remove_checked(p->many, row);
    } else if (p->room == 0) {
        p->count -= p->count && p->one == row;
    } else {
        uint32_t at = few_find(p, row);
        if (at < p->count && p->few[at] == row) {
            memmove(p->few + at, p->few + at + 1, (p->count - at - 1) * sizeof *p->few);
            p->count--;
        }
    }
    if (p->count == 0)
        filter_posting_free(p);
}

void filter_posting_free(struct filter_posting *p)
{
    if (is_many(p))
        roaring_bitmap_free(p->many);
    else if (p->room)
        free(p->few);
    *p = (struct filter_posting){0};
}

static bool set_bit(uint32_t row, void *words)
{
    ((uint64_t *)words)[row / 64] |= (uint64_t)1 << (row % 64);
    return true;
}

void filter_posting_words(const struct filter_posting *p, uint64_t *words)
{
    if (is_many(p)) {
        roaring_iterate(p->many, set_bit, words);
        return;
    }
    for (uint32_t i = 0; i < p->count; i++)
        set_bit(p->room ? p->few[i] : p->one, words);
}

size_t filter_posting_bytes(const struct filter_posting *p)
{
    if (is_many(p)) {
        roaring_statistics_t s;
        roaring_bitmap_statistics(p->many, &s);
        return sizeof *p + roaring_bitmap_size_in_bytes(p->many) + 64 + s.n_containers * 48;
    }
    return sizeof *p + p->room * sizeof(uint32_t);
}
