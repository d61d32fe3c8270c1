#include "store/embedded/topk.h"

enum result embedded_topk_init(struct embedded_topk *t, size_t max, bool grouped, struct err *err)
{
    *t = (struct embedded_topk){.max = max, .grouped = grouped};
    t->heap = malloc((max + 1) * sizeof *t->heap);
    if (grouped) {
        size_t size = 16;
        while (size < 2 * max)
            size *= 2;
        t->mask = size - 1;
        t->places = calloc(size, sizeof *t->places);
    }
    if (t->heap && (t->places || !grouped))
        return ERR_OK;
    embedded_topk_free(t);
    return err_no_memory(err);
}

void embedded_topk_free(struct embedded_topk *t)
{
    free(t->heap);
    free(t->places);
    *t = (struct embedded_topk){0};
}

static bool worse(const struct embedded_candidate *a, const struct embedded_candidate *b)
{
    return a->key != b->key ? a->key > b->key : a->fileid > b->fileid;
}

/* Multiplication by 2^64 / φ spreads neighbouring ids. */
static size_t hash(const struct embedded_topk *t, int64_t group)
{
    return (size_t)(((uint64_t)group * 0x9e3779b97f4a7c15u) >> 32) & t->mask;
}

/* Where the group is, or the empty place where it would be. */
static size_t find(const struct embedded_topk *t, int64_t group)
{
    size_t p = hash(t, group);
    while (t->places[p] && t->heap[t->places[p] - 1].group != group)
        p = (p + 1) & t->mask;
    return p;
}

/*
 * Linear probing without tombstones: what follows moves up if its way from its own place leads over the hole.
 */
static void forget(struct embedded_topk *t, int64_t group)
{
    size_t hole = find(t, group), p = hole;
    for (;;) {
        p = (p + 1) & t->mask;
        if (!t->places[p])
            break;
        size_t home = hash(t, t->heap[t->places[p] - 1].group);
        if (((p - home) & t->mask) >= ((p - hole) & t->mask)) {
            t->places[hole] = t->places[p];
            hole = p;
        }
    }
    t->places[hole] = 0;
}

/*
 * Put `c` at `i`. The group table is found by walking it, which needs the heap's old content to be
 * comparable: so the place is looked up before anything is overwritten.
 */
static void place(struct embedded_topk *t, size_t i, const struct embedded_candidate *c)
{
    if (t->grouped)
        t->places[find(t, c->group)] = (uint32_t)i + 1;
    t->heap[i] = *c;
}

static void swap(struct embedded_topk *t, size_t i, size_t j)
{
    struct embedded_candidate a = t->heap[i], b = t->heap[j];
    if (t->grouped) {
        size_t pa = find(t, a.group), pb = find(t, b.group);
        t->places[pa] = (uint32_t)j + 1;
        t->places[pb] = (uint32_t)i + 1;
    }
    t->heap[i] = b;
    t->heap[j] = a;
}

static void sift_down(struct embedded_topk *t, size_t i)
{
    for (;;) {
        size_t worst = i, left = 2 * i + 1;
        if (left < t->count && worse(&t->heap[left], &t->heap[worst]))
            worst = left;
        if (left + 1 < t->count && worse(&t->heap[left + 1], &t->heap[worst]))
            worst = left + 1;
        if (worst == i)
            return;
        swap(t, i, worst);
        i = worst;
    }
}

static void sift_up(struct embedded_topk *t, size_t i)
{
    while (i > 0 && worse(&t->heap[i], &t->heap[(i - 1) / 2])) {
        swap(t, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

void embedded_topk_offer(struct embedded_topk *t, const struct embedded_candidate *candidate)
{
    if (t->count == t->max && !worse(&t->heap[0], candidate))
        return;
    if (t->grouped) {
        uint32_t at = t->places[find(t, candidate->group)];
        if (at) {
            if (worse(&t->heap[at - 1], candidate)) {
                t->heap[at - 1] = *candidate; /* the same group: the table stays right */
                sift_down(t, at - 1);
            }
            return;
        }
    }
    if (t->count < t->max) {
        place(t, t->count, candidate);
        t->count++;
        sift_up(t, t->count - 1);
        return;
    }
    if (t->grouped)
        forget(t, t->heap[0].group);
    place(t, 0, candidate);
    sift_down(t, 0);
}

void embedded_topk_sort(struct embedded_topk *t)
{
    size_t n = t->count;
    t->grouped = false; /* the table is not needed any more */
    while (t->count > 1) {
        t->count--;
        swap(t, 0, t->count);
        sift_down(t, 0);
    }
    t->count = n;
}
