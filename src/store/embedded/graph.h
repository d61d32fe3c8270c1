/*
 * The index of index/ for one collection: made when there are enough rows, kept in step with each commit,
 * saved to derived/index and loaded from there.
 *
 * A row of the index is a slot, its stamp the write number. Rows are put in before their slot becomes visible,
 * and taken out when the slot is reclaimed, which is when no search can see it any more: so the index has
 * every row that any running search may find, and `visible` picks those of its snapshot.
 *
 *             keeper, enough rows            keeper, all rows are in
 *     NONE ─────────────────────▶ BUILDING ─────────────────────────▶ READY
 *       ▲                            │                                  │
 *       └────────────────────────────┴──────────────────────────────────┘  no memory for a row
 *
 * Unless it is READY searches scan. Rows that wait to be linked do not matter for that: the index itself scans
 * those.
 *
 * A search holds `lock` as a reader and never waits for it: the only writer tries, and takes away an index that was
 * given up, when nobody is inside. So neither a build nor a save, which may hold it for seconds, makes anybody wait.
 *
 * Nothing here can fail a commit, an open or a close: what is derived can be made again.
 */
#ifndef STORE_EMBEDDED_GRAPH_H
#define STORE_EMBEDDED_GRAPH_H

#include "index/index.h"
#include "store/embedded/keeper.h"
#include "store/embedded/slots.h"
#include "store/store.h"

#include <pthread.h>

struct embedded_collection;

enum embedded_graph_state { EMBEDDED_GRAPH_NONE, EMBEDDED_GRAPH_BUILDING, EMBEDDED_GRAPH_READY };

struct embedded_graph {
    struct embedded_kept kept; /* first: the keeper hands it back */
    struct embedded_keeper *keeper;
    struct embedded_collection *c;

    pthread_rwlock_t lock;         /* held as a reader by whoever uses `index`; readers come first */
    _Atomic(struct index *) index; /* NULL: there is none */
    _Atomic(struct index *) parted; /* given up, and not freed before all readers have left */
    _Atomic int state;              /* enum embedded_graph_state */

    pthread_mutex_t rows; /* one change of a row at a time; taken with `lock` held as a reader */
    _Atomic uint64_t changes;        /* rows put in or taken out */
    _Atomic uint64_t items;          /* odd while itemids change, and another number after that */
    _Atomic uint64_t done, todo;     /* of the build that runs, in slots */
    _Atomic int64_t not_before_ms;   /* after a failure */

    pthread_mutex_t working; /* a build or a save runs; taken with trylock alone, but for the close */
    uint64_t saved_changes, saved_linked; /* when it was last saved; under `working` */
    _Atomic uint64_t saves;
    bool load_tried;
};

/* `keeper` may be NULL: then there is never an index. */
void embedded_graph_init(struct embedded_graph *g, struct embedded_collection *c, struct embedded_keeper *keeper);
/* When the collection is open: from now on the keeper looks after it. */
void embedded_graph_start(struct embedded_graph *g);
/* Saves what is worth saving. Accepts one that was not started. */
void embedded_graph_close(struct embedded_graph *g);

/* --- the leader of a commit ----------------------------------------------------------------------------- */

/* A slot that was filled and will be shown. */
void embedded_graph_put(struct embedded_graph *g, uint32_t slot);
/* A slot that was reclaimed; as struct embedded_slots wants it. */
void embedded_graph_remove(void *graph, uint32_t slot);
/* Around all changes of itemids of one commit. */
void embedded_graph_items_begin(struct embedded_graph *g);
void embedded_graph_set_item(struct embedded_graph *g, uint32_t slot, int64_t itemid);
void embedded_graph_items_end(struct embedded_graph *g);
/* The commit is over. */
void embedded_graph_nudge(struct embedded_graph *g);
/* For a writer whose commit of so many rows is over: where the keeper does not get round to all its work, it helps. */
void embedded_graph_relieve(struct embedded_graph *g, size_t rows);

/* --- searching ------------------------------------------------------------------------------------------ */

/* Not NULL: this may be searched until the leave, by every snapshot that is entered after this. */
struct index *embedded_graph_enter(struct embedded_graph *g);
void embedded_graph_leave(struct embedded_graph *g);

struct embedded_graph_query {
    struct index *index; /* of embedded_graph_enter() */
    int64_t deadline_ms;
    const float *vector; /* embedded_searchable_query() */
    uint32_t k;
    bool exact, group;
    uint64_t seq; /* of the snapshot */
    const uint64_t *allowed;
    size_t allowed_words;
};
/*
 * Nearest first, by distance and fileid. *stale: itemids changed meanwhile, so that groups may be wrong.
 * `distance` of a hit is the squared Euclidean one or, of COSINE, the cosine.
 */
enum result embedded_graph_search(struct embedded_graph *g, const struct embedded_graph_query *query,
    struct index_hit *hits, uint32_t *count, bool *stale, struct err *err) ERR_MUST_USE;

/* --- looking -------------------------------------------------------------------------------------------- */

struct embedded_graph_stats {
    enum embedded_graph_state state;
    double built; /* BUILDING, or READY with rows that wait: the part that is done, 0 to 1 */
    struct index_stats index;
    uint64_t saves;
};
void embedded_graph_stats(struct embedded_graph *g, struct embedded_graph_stats *out);
/* Save now, whether worth it or not; for tests and before a backup. ERR_NOT_FOUND: there is no index. */
enum result embedded_graph_save(struct embedded_graph *g, struct err *err) ERR_MUST_USE;

#endif
