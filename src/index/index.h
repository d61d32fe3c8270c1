/*
 * Nearest neighbours of a vector among many rows, in memory: a navigable graph over 8-bit codes.
 *
 * A row is a slot number (the caller's, below LIMIT_RECORDS), an item, a stamp, and a vector of 16-bit
 * floats. The vector itself stays the caller's: the index keeps a code of one byte a component and a sketch
 * of one bit, and asks for the vector of a slot, through a callback, when it must tell close candidates
 * apart. So distances that come back are exact; only which rows are looked at is approximate, unless `exact`
 * is asked for.
 *
 * Invariants
 *   X1  A row whose insert has returned takes part in every search that starts later, linked into the graph
 *       or not.
 *   X2  A row whose delete has returned is in no result of a search that starts later.
 *   X3  A search takes no lock and waits for nothing: not for a write, a repair or a save.
 *   X4  Fewer than k hits means that there are no more (allowed) rows, or items where hits are grouped.
 *
 * Threads: every function may be called from any thread at any time, but for index_free(), which must be the
 * last; and two writes that name the same slot must not run at once. Life cycle: index_new() or index_load()
 * … index_free().
 *
 * Vectors must be finite. The distance is the squared Euclidean one; where rows and queries have unit length
 * it orders like the inner product. INDEX_COSINE gives 2 − 2·cosine, whatever the lengths.
 */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct index;

enum index_metric { INDEX_L2, INDEX_COSINE };

struct index_settings {
    uint32_t dimension; /* 1 to LIMIT_DIMENSION */
    enum index_metric metric;
    /*
     * Threads of the index's own that link rows into the graph, cut dead ones out, give memory back, and make the
     * projection (project.h). With 0 the writers do it themselves: an insert then costs the linking, some tenths of a
     * millisecond, and now and then a repair or a part of a projection.
     */
    unsigned threads;
    bool tended;       /* neither: the caller's threads do it, by index_tend() */
    unsigned ef_build; /* candidates looked at when a row is linked; 0: INDEX_EF_BUILD */
};

#define INDEX_EF_BUILD 160
#define INDEX_GRAPH_FROM 2048 /* with fewer rows than this there is no graph, and every search is a scan */

enum result index_new(
    const struct index_settings *settings, struct index **out, struct err *err) ERR_MUST_USE;
/* Stops its threads. NULL is accepted. */
void index_free(struct index *ix);

/* --- writing
 * -------------------------------------------------------------------------------------------------- */

struct index_row {
    uint32_t slot;
    int64_t item;
    uint64_t stamp; /* whatever identifies what is in the slot, such as its write number; index_find() gives
                       it back */
    const uint16_t *vector; /* `dimension` 16-bit floats, read during the call only */
    bool defer; /* return at once even when the index's threads lag behind: for loading many rows */
};

/* A slot that has a row gets the new one; at no moment it has none. ERR_NO_MEMORY: nothing was changed. */
enum result index_insert(struct index *ix, const struct index_row *row, struct err *err) ERR_MUST_USE;
/* A slot without a row is fine. */
void index_delete(struct index *ix, uint32_t slot);
void index_set_item(struct index *ix, uint32_t slot, int64_t item);
/* What the index knows of a slot; false: it has no row there. */
bool index_find(const struct index *ix, uint32_t slot, uint64_t *stamp, int64_t *item);
/* One more than the largest slot that ever had a row. */
uint32_t index_slots(const struct index *ix);

/*
 * Bring the graph up to date, with that many threads: link every row that waits, cut out the dead, give back memory, make the projection. For
 * building at once, for tests and benchmarks. Searches and writes may go on.
 */
enum result index_settle(struct index *ix, unsigned threads, struct err *err) ERR_MUST_USE;

/*
 * For an index that is `tended`: link up to `rows` of the rows that wait, or else cut out the dead where there
 * are too many, or else move rows so that memory can go back, or else do a part of a projection. Any number of threads at once. *did is false where there was nothing to do, or others do it.
 */
enum result index_tend(struct index *ix, unsigned rows, bool *did, struct err *err) ERR_MUST_USE;
/*
 * For a writer of such an index, after its `rows` rows: memory must stay bounded whatever the rate of replacements. Where more
 * than a fifth of the rows are dead ones that still stand in the graph, it waits until they are cut out, or does that. Where so
 * many rows wait that those that were cut out cannot be used again, it links some. Else it comes back at once.
 */
enum result index_relieve(struct index *ix, size_t rows, struct err *err) ERR_MUST_USE;
/* Is there anything for index_tend() to do? */
bool index_wants_tending(const struct index *ix);
/* Rows that are not linked yet, which every search scans. */
uint32_t index_waiting(const struct index *ix);

/* --- searching
 * ------------------------------------------------------------------------------------------------ */

struct index_hit {
    uint32_t slot;
    float distance; /* exact */
    int64_t tie;    /* what `tie` gave, else the slot */
};

struct index_query {
    const float *vector; /* `dimension` floats */
    uint32_t k;          /* 1 to LIMIT_WINDOW */
    uint32_t ef;         /* candidates kept during the walk; 0: index_ef(k, recall) */
    float recall;        /* wanted, when ef is 0; 0: 0.99 */
    bool exact;          /* the true k nearest, in order: all rows are looked at */
    bool group;          /* one hit per item, the nearest of its rows; k counts items */

    /* Bit slot % 64 of word slot / 64 set: the row may be a hit. NULL: all may. Slots beyond the words may
     * not. */
    const uint64_t *allowed;
    size_t allowed_words;

    /* The 16-bit vector of a slot, valid until the search returns; NULL: leave that row out. */
    const uint16_t *(*vector_of)(void *user, uint32_t slot);
    /* May this slot be a hit? Called for rows that are candidates. NULL: all may. */
    bool (*visible)(void *user, uint32_t slot);
    /* Orders hits of equal distance, the smallest first. NULL: by slot. */
    int64_t (*tie)(void *user, uint32_t slot);
    void *user;
    int64_t deadline_ms; /* base/clock.h; 0: none */
};

/* How a search went; for tuning and tests. */
struct index_trace {
    uint32_t glances, sketches, codes, vectors; /* rows looked at through each, but for those that tell where a walk starts by glances */
    bool walked, scanned;
};

/*
 * Nearest first, `*count` ≤ k of them in `hits` (room for k). `trace` may be NULL. ERR_INVALID: k, or no
 * vector_of. ERR_TIMEOUT: the deadline passed, which is looked at now and then; nothing was found out.
 */
enum result index_search(struct index *ix, const struct index_query *query, struct index_hit *hits,
    uint32_t *count, struct index_trace *trace, struct err *err) ERR_MUST_USE;

/* The ef that gave at least this recall among the k nearest on the vectors of bench/ann. */
uint32_t index_ef(uint32_t k, float recall);

/* --- what it is made of
 * --------------------------------------------------------------------------------------- */

struct index_stats {
    uint64_t live, dead; /* rows; dead ones still stand in the graph */
    uint64_t waiting;    /* live rows not linked yet: searches scan them */
    bool graph;
    uint64_t bytes_codes, bytes_sketches, bytes_links,
        bytes_rows;        /* in use; rows: items, stamps, slots, states */
    uint64_t bytes_memory; /* all that is reserved */
    uint64_t repairs;
};
void index_stats(const struct index *ix, struct index_stats *out);

/*
 * Compare everything with everything: links, counts, maps, codes. Each problem is reported with a sentence,
 * which lives during the call only; ERR_CORRUPT where there was one. Writers wait meanwhile, searches do not.
 */
typedef void (*index_check_fn)(void *user, const char *sentence);
enum result index_check(struct index *ix, index_check_fn report, void *user, struct err *err) ERR_MUST_USE;

/* --- the derived file
 * ----------------------------------------------------------------------------------------- */

/*
 * Written aside, synced, renamed. Searches and writes go on: the file then holds some of the rows written
 * meanwhile and not others, so whoever loads it compares stamps (index_find()) with the truth, and inserts
 * and deletes what differs. `identity` names the collection, `generation` is the caller's; both come back
 * from a load.
 */
enum result index_save(
    struct index *ix, const char *path, uint64_t identity, uint64_t generation, struct err *err) ERR_MUST_USE;
/* The same through other system calls, for those who make each of them fail. All are given. */
struct index_calls {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*pwrite)(int fd, const void *bytes, size_t len, off_t at);
    int (*fsync)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
};
struct index_saving {
    const char *path;
    uint64_t identity, generation;
    const struct index_calls *calls;
    const _Atomic bool *stop; /* true: leave it, ERR_BUSY; may be NULL */
};
enum result index_save_as(struct index *ix, const struct index_saving *saving, struct err *err) ERR_MUST_USE;
/*
 * ERR_NOT_FOUND: no such file. ERR_CORRUPT: not what was written, byte for byte, or of another identity,
 * dimension or metric, or of another version: build a new index.
 */
enum result index_load(const struct index_settings *settings, const char *path, uint64_t identity,
    struct index **out, uint64_t *generation, struct err *err) ERR_MUST_USE;

#endif
