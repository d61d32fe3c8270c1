/* Values and how often each occurs. For facet.c and facet_paths.c alone. */
#ifndef FILTER_FACET_ENTRIES_H
#define FILTER_FACET_ENTRIES_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* In the order in which values of equal frequency come. */
enum facet_kind { FACET_BOOL, FACET_INT, FACET_DOUBLE, FACET_STRING };

struct facet_entry {
    enum facet_kind kind;
    uint64_t count;
    int64_t i; /* BOOL, INT */
    double d;
    char *s;
    size_t len;
};

struct facet_entries {
    struct facet_entry *items;
    size_t count, room;
};

void facet_entries_free(struct facet_entries *e);
enum result facet_add_number(
    struct facet_entries *e, enum facet_kind kind, int64_t i, double d, uint64_t count) ERR_MUST_USE;
enum result facet_add_string(struct facet_entries *e, const char *s, size_t len, uint64_t count) ERR_MUST_USE;
/* One entry a value, in the order of values. */
void facet_entries_merge(struct facet_entries *e);
/* The most frequent first. */
void facet_entries_by_count(struct facet_entries *e);
/* The value as JSON; NULL: no memory. */
char *facet_entry_json(const struct facet_entry *entry);

#endif
