/*
 * The columns of filter/ for one collection: made from the records when a filter is first asked for or behind a
 * server's start (warm.c), and from then on kept in step with each commit.
 *
 * A row of the columns is a slot. What select gives belongs to the snapshot that it enters in the same
 * moment, in this sense: a slot visible to the snapshot is in the selection exactly if the filter is true for
 * its record. Slots that are not visible may be in it too, so whoever uses a selection asks slots.h for each;
 * where `exact` is true there are none.
 *
 * A record whose tags, brief or itemid change keeps its slot, and a selection may see it changed a moment
 * before the commit that changes it is acknowledged. Whoever reads texts afterwards must look again, where
 * commits have been made meanwhile.
 *
 * States, all under `lock`:
 *
 *                first select              all rows read
 *     NONE ───────────────────▶ BUILDING ───────────────▶ READY
 *       ▲                           │                       │
 *       └───────────────────────────┴───────────────────────┘  no memory, or a record that cannot be read
 */
#ifndef STORE_EMBEDDED_COLUMNS_H
#define STORE_EMBEDDED_COLUMNS_H

#include "filter/columns.h"
#include "store/embedded/slots.h"

#include <pthread.h>

struct embedded_collection;

enum embedded_columns_state { EMBEDDED_COLUMNS_NONE, EMBEDDED_COLUMNS_BUILDING, EMBEDDED_COLUMNS_READY };

struct embedded_columns {
    pthread_rwlock_t lock; /* of what follows: writers are preferred, and hold it for moments only */
    enum embedded_columns_state state;
    struct filter_columns *columns; /* NULL while there are NONE */
    uint64_t *touched; /* BUILDING: a bit for each slot that a commit has put or removed meanwhile */
    bool inexact;      /* a commit is between its first put and its last remove */

    pthread_mutex_t mutex; /* of what follows; never taken with `lock` held */
    pthread_cond_t cond;   /* the build has ended */
    bool building, joinable;
    pthread_t builder;
    enum result failed; /* how the last build ended */
    struct err why;
    _Atomic bool stop;
    _Atomic uint64_t read; /* records, by the build that runs */
};

void embedded_columns_init(struct embedded_columns *f);
/* Ends a build that runs. */
void embedded_columns_free(struct embedded_columns *f);

struct embedded_selection {
    struct filter_rows *rows;
    bool exact;
};

/* Begin a build where one is needed; where it cannot be, the first filter tries again. */
void embedded_columns_start(struct embedded_collection *c);
/* Does one run? */
bool embedded_columns_building(struct embedded_columns *f);
/* Waits for the build where one is needed, until the deadline. */
enum result embedded_columns_prepare(
    struct embedded_collection *c, int64_t deadline_ms, struct err *err) ERR_MUST_USE;

/*
 * The same, where it was not done or has to be done again. On success the snapshot has been entered, and
 * the rows are the caller's to free.
 */
enum result embedded_columns_select(struct embedded_collection *c, const struct filter *filter,
    int64_t deadline_ms, struct embedded_snapshot *snapshot, struct embedded_selection *out,
    struct err *err) ERR_MUST_USE;

/* For facets.c: one field of these rows; ERR_BUSY where the columns are no longer there. */
struct filter_facet_counter;
enum result embedded_columns_facet(struct embedded_columns *f, struct filter_facet_counter *counter,
    const struct filter_rows *rows, struct err *err) ERR_MUST_USE;
enum result embedded_columns_paths(
    struct embedded_columns *f, size_t max, char ***fields, size_t *count, struct err *err) ERR_MUST_USE;

/* Of memory. */
uint64_t embedded_columns_bytes(struct embedded_columns *f);

/* --- the leader of a commit, when meta.db has committed ------------------------------------------------- */

/* Before the first put and after the last remove of a commit. */
void embedded_columns_begin(struct embedded_columns *f);
void embedded_columns_end(struct embedded_columns *f);
/* False: nothing needs to be put. */
bool embedded_columns_wanted(struct embedded_columns *f);
/* Where it fails the columns are given up, to be built anew when they are next asked for. */
void embedded_columns_put(struct embedded_columns *f, const struct filter_columns_row *row);
void embedded_columns_remove(struct embedded_columns *f, uint32_t slot);
/* Something could not be read that should have been put. */
void embedded_columns_give_up(struct embedded_columns *f);

#endif
