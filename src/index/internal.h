/*
 * Inside of the index; for this folder alone.
 *
 * A row lives in a node. Nodes are numbered, and stand in chunks of INDEX_CHUNK that never move; slots are
 * mapped to nodes. A node is in exactly one of these states, and each change is made by the function beside
 * it:
 *
 *              take()            insert            claim             link             repair
 *      FREE ───────────▶ FILLING ──────▶ WAITING ─────────▶ LINKING ───────▶ LINKED ──────────▶ DOOMED ──▶ FREE
 *                                           │                  │                                  ▲
 *                                           └──────────────────┴── dead before it was linked ─────┘
 *
 *   N1  Code, head, slot and stamp of a node are written while it is FILLING and never change until it is
 *       FREE again; only the sketch may follow, before `sketched` is set.
 *   N2  A link names a node that is LINKED, or LINKING and about to be. Never one that is DOOMED when a pass
 *       of repair is over, and never the node itself.
 *   N3  DOOMED becomes FREE only when every search, save and linking that ran when the last link to it was
 *       cut has ended (epoch.c). So whoever has entered may follow any number it reads.
 *   N4  indegree(n) = number of links to n, but for what is under way.
 *   N5  Every node that waits or is being linked is at or beyond `watermark`, or in `stragglers`.
 *
 * Links are read without a lock: each number is an atomic of its own, and a list seen while it changes is a
 * mixture of the old and the new one, which is as good. They are written under the node's own lock.
 *
 * Locks, in the order they may be taken: repairing; pause (shared by writers and linkers, exclusive by
 * check and, for moments, where rows are moved); mutex; one node's lock. Searches and saves take none.
 */
#ifndef INDEX_INTERNAL_H
#define INDEX_INTERNAL_H

#include "base/limits.h"
#include "index/index.h"
#include "kernel/codes.h"
#include "kernel/kernel.h"

#include <pthread.h>
#include <stdatomic.h>

#define INDEX_CHUNK_SHIFT 13
#define INDEX_CHUNK (1u << INDEX_CHUNK_SHIFT)
#define INDEX_CHUNKS (2 * (LIMIT_RECORDS >> INDEX_CHUNK_SHIFT)) /* dead nodes need room, too */
#define INDEX_SLOT_SHIFT 16
#define INDEX_SLOT_SEGMENTS (LIMIT_RECORDS >> INDEX_SLOT_SHIFT)
#define INDEX_NONE UINT32_MAX

#define INDEX_LINKS 63  /* of one node at most: with their number 256 bytes, four cache lines */
#define INDEX_DEGREE 40 /* what pruning leaves */
#define INDEX_NEAR 32   /* of those, to what is near; the others rather to what is farther */
#define INDEX_ENTRIES 1024
#define INDEX_LONELY 1024
#define INDEX_STRAGGLERS 4096
#define INDEX_MOVES 64
#define INDEX_READERS 256
#define INDEX_IDLE 64
#define INDEX_LAG 1024 /* rows that may wait before writers help to link */

enum index_state { INDEX_FREE, INDEX_FILLING, INDEX_WAITING, INDEX_LINKING, INDEX_LINKED, INDEX_DOOMED };

/* Before the bits of a sketch, 32 bytes: what turns integer sums into distances. */
struct index_head {
    float scale;  /* x ≈ scale · code */
    float norm2;  /* |x|² */
    float error;  /* |x − scale · code| */
    float length; /* of the vector as given; x has unit length where the metric is the cosine */
    int32_t sum;  /* Σ code */
    float far2;   /* |x − centre|² */
    float factor; /* (x − centre)·y ≈ factor · Σ ±y */
    float doubt;  /* standard deviation of that for |y| = 1 */
};

struct index_links {
    _Atomic uint32_t count;
    _Atomic uint32_t to[INDEX_LINKS];
};

struct index_meta {
    _Atomic int64_t item;
    uint64_t stamp;
    uint32_t slot;
    _Atomic uint32_t indegree;
    _Atomic uint8_t state, dead, sketched, lock;
};

struct index_shape {
    uint32_t dimension, padded; /* padded to a multiple of KERNEL_CODES_STEP: also the stride of codes */
    uint32_t head_stride;
    size_t codes_at, heads_at, links_at, meta_at, chunk_bytes; /* in a chunk */
};

/* Of a chunk. One whose nodes are all free has given its memory back, and reads as zeros, which is what free nodes are. */
struct index_stock {
    uint32_t taken, free_from; /* nodes that are not FREE; none before this one is */
};

/* A row that has two nodes for a moment. */
struct index_move {
    uint32_t from, to;
};

struct index_reader {
    _Alignas(64) _Atomic uint64_t epoch; /* 0: nobody */
};
struct index_work;       /* pool.h */
struct index_projection; /* project.h */

struct index {
    struct index_settings settings;
    struct index_shape shape;
    const struct kernel *kernel;
    const struct kernel_codes *codes;
    float *flips;  /* 2 · padded signs of the fixed rotation */
    float *centre; /* padded, rotated; set once, before `graph` */
    _Atomic bool graph;

    _Atomic(uint8_t *) *chunks;          /* INDEX_CHUNKS */
    _Atomic(_Atomic(uint32_t) *) *slots; /* INDEX_SLOT_SEGMENTS, each of nodes + 1; 0: none */
    _Atomic uint32_t used;               /* nodes below were taken at least once */
    _Atomic uint32_t slots_end;
    _Atomic uint32_t watermark; /* N5 */
    _Atomic uint32_t straggler_count;
    _Atomic uint32_t stragglers[INDEX_STRAGGLERS];
    _Atomic uint32_t entry_count;
    _Atomic uint32_t entries[INDEX_ENTRIES];
    _Atomic uint32_t lonely_count;
    _Atomic uint32_t lonely[INDEX_LONELY]; /* nodes that had no room anywhere for a link to them (rescue.c); not in the file */
    _Atomic uint32_t live, dead, linked, waiting;
    _Atomic uint32_t rescued; /* how many were linked when it was last made sure that all can be reached */
    _Atomic bool unsure;      /* links were cut since */
    _Atomic uint64_t repairs;
    /* P1: every node that is LINKED is in both of them, as far as they are there; in what is being made, from `projected` on
     * those that were linked before it was begun are not yet. Replaced and freed like nodes are (N3). */
    _Atomic(struct index_projection *) projection, next_projection;
    uint32_t projected;                /* under `repairing` */
    _Atomic uint32_t projection_linked; /* rows when `projection` was begun; 0: there is none */
    _Atomic uint64_t projected_bytes;   /* of both */

    _Atomic uint64_t epoch;
    struct index_reader readers[INDEX_READERS];
    _Atomic(struct index_work *) idle[INDEX_IDLE]; /* working memory that nobody uses */

    pthread_rwlock_t pause;
    pthread_mutex_t repairing;
    /* Of rows that are being moved to other nodes; changed with `pause` held exclusively, by who holds `repairing`. */
    struct index_move moves[INDEX_MOVES];
    uint32_t move_count, move_next;
    _Atomic uint32_t moved;     /* since the last repair */
    _Atomic uint64_t compacted; /* repairs + 1 when there was last nothing left to be moved */

    pthread_mutex_t mutex; /* of what follows */
    struct index_stock *stocks; /* INDEX_CHUNKS */
    uint32_t free_count, free_from; /* nodes; no chunk before this one has any */
    _Atomic uint32_t standing;      /* chunks that are not all free; this and the next are read without the mutex */
    _Atomic uint32_t chunks_end;    /* behind the last of those */
    pthread_cond_t arrival;
    bool stopping;
    pthread_t *threads;
    unsigned thread_count;
};

/* All nodes from here on are free, or not there. Unlike `used` it goes back. */
static inline uint32_t index_top(const struct index *ix)
{
    uint32_t used = atomic_load_explicit(&ix->used, memory_order_acquire);
    uint64_t end = (uint64_t)atomic_load_explicit(&ix->chunks_end, memory_order_acquire) * INDEX_CHUNK;
    return used < end ? used : (uint32_t)end;
}

/* --- nodes
 * ---------------------------------------------------------------------------------------------------- */

static inline uint8_t *index_chunk(const struct index *ix, uint32_t node)
{
    return atomic_load_explicit(&ix->chunks[node >> INDEX_CHUNK_SHIFT], memory_order_acquire);
}

static inline int8_t *index_code(const struct index *ix, uint32_t node)
{
    uint8_t *chunk = index_chunk(ix, node) + ix->shape.codes_at;
    return (int8_t *)chunk + (size_t)(node & (INDEX_CHUNK - 1)) * ix->shape.padded;
}

static inline struct index_head *index_head(const struct index *ix, uint32_t node)
{
    uint8_t *chunk = index_chunk(ix, node) + ix->shape.heads_at;
    return (struct index_head *)(void *)(chunk + (size_t)(node & (INDEX_CHUNK - 1)) * ix->shape.head_stride);
}

static inline uint8_t *index_bits(struct index_head *head)
{
    return (uint8_t *)(head + 1);
}

static inline struct index_links *index_links(const struct index *ix, uint32_t node)
{
    uint8_t *chunk = index_chunk(ix, node) + ix->shape.links_at;
    return (struct index_links *)(void *)chunk + (node & (INDEX_CHUNK - 1));
}

static inline struct index_meta *index_meta(const struct index *ix, uint32_t node)
{
    uint8_t *chunk = index_chunk(ix, node) + ix->shape.meta_at;
    return (struct index_meta *)(void *)chunk + (node & (INDEX_CHUNK - 1));
}

static inline void index_prefetch(const void *p, size_t bytes)
{
    const char *c = p;
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(c + i);
}

static inline enum index_state index_state(const struct index_meta *m)
{
    return (enum index_state)atomic_load_explicit(&m->state, memory_order_acquire);
}

static inline uint32_t index_link(const struct index_links *l, uint32_t i)
{
    return atomic_load_explicit(&l->to[i], memory_order_acquire);
}

/* May be more than what is there when read while it changes: entries beyond are old links, still nodes (N3).
 */
static inline uint32_t index_link_count(const struct index_links *l)
{
    uint32_t n = atomic_load_explicit(&l->count, memory_order_acquire);
    return n < INDEX_LINKS ? n : INDEX_LINKS;
}

/* The node of a slot, or INDEX_NONE. */
uint32_t index_node_of(const struct index *ix, uint32_t slot);

/* --- nodes.c
 * -------------------------------------------------------------------------------------------------- */

void index_shape_init(struct index_shape *shape, uint32_t dimension);
enum result index_make(
    const struct index_settings *settings, struct index **out, struct err *err) ERR_MUST_USE;
enum result index_nodes_room(struct index *ix, uint32_t node, struct err *err) ERR_MUST_USE;
enum result index_slots_room(struct index *ix, uint32_t slot, struct err *err) ERR_MUST_USE;
/* A node to fill, its chunk in memory: the lowest that is free, else one more. */
enum result index_take(struct index *ix, uint32_t *node, struct err *err) ERR_MUST_USE;
/* A free one below `limit`; false: there is none. */
bool index_take_below(struct index *ix, uint32_t limit, uint32_t *node);
/* Of those below `used`. */
uint32_t index_nodes_in(uint32_t used, uint32_t chunk);
/* Before index_give(), after a file was read: all nodes are taken. */
void index_all_taken(struct index *ix);
/* DOOMED or never published → FREE. Memory of chunks that have nothing else goes back. */
void index_give(struct index *ix, const uint32_t *nodes, size_t count);
void index_map(struct index *ix, uint32_t slot, uint32_t node);
void index_lock_node(struct index_meta *m);
void index_unlock_node(struct index_meta *m);

/* --- epoch.c
 * -------------------------------------------------------------------------------------------------- */

/* Between these, nodes that can be reached stay what they are. Returns the place to leave. */
unsigned index_enter(struct index *ix);
void index_leave(struct index *ix, unsigned place);
/* The node waits no more, nor is it being linked (N5). */
void index_arrived(struct index *ix, uint32_t node);
/* Wait until all who were inside when this was called have left. The caller must not be inside. */
void index_quiet(struct index *ix);

/* --- walk.c
 * --------------------------------------------------------------------------------------------------- */

/*
 * Follow the graph towards the probe; the best end up in w->best. With w->around ready (max not 0) it is a walk under a
 * filter, see look_filtered(). *finished false: given up, because `budget` nodes were more than passed by, or far fewer of
 * them may be hits than the share `expect` of them.
 */
enum result index_walk(struct index *ix, struct index_work *w, const struct index_query *query,
    uint32_t budget, double expect, bool *finished, struct err *err) ERR_MUST_USE;
/* May this node be a hit? */
bool index_may_hit(const struct index *ix, const struct index_query *query, uint32_t node);
/* ERR_TIMEOUT: the query's deadline has passed. */
enum result index_in_time(const struct index_query *query, struct err *err) ERR_MUST_USE;
void index_offer_node(const struct index *ix, struct index_work *w, uint32_t node, float distance);

/* --- link.c
 * --------------------------------------------------------------------------------------------------- */

/* w->best becomes what is nearest to a node in the graph. */
enum result index_walk_from(
    struct index *ix, struct index_work *w, uint32_t node, struct err *err) ERR_MUST_USE;
/* Link one waiting row, if there is one; *did tells. */
enum result index_link_one(struct index *ix, struct index_work *w, bool *did, struct err *err) ERR_MUST_USE;
/* Choose the centre once there are enough rows. */
enum result index_start_graph(struct index *ix, struct err *err) ERR_MUST_USE;
struct index_near {
    float distance;
    uint32_t node;
};
/* Robust pruning: of `count` candidates, nearest first, keep at most INDEX_DEGREE, moved to the front. */
uint32_t index_prune(const struct index *ix, struct index_near *near, uint32_t count);
/* Replace the links of a node whose lock is held, and count. */
void index_set_links(struct index *ix, uint32_t node, const struct index_near *near, uint32_t count);
/* A link from `node` to `to` if there is room. */
bool index_append_link(struct index *ix, uint32_t node, uint32_t to);
/* A link from `node` to `to`, pruning where there is no room. */
void index_add_link(struct index *ix, uint32_t node, uint32_t to, float distance);
float index_between(const struct index *ix, uint32_t a, uint32_t b);
void index_sort_near(struct index_near *near, size_t count);

/* --- rescue.c
 * ------------------------------------------------------------------------------------------------- */

/*
 * Mark in `seen`, one byte a node, zeroed, all nodes below `used` that can be reached from where walks start
 * and from `node`, unless that is INDEX_NONE; `order` has room for all. Marks that are there stay and are not
 * followed. Returns how many were marked.
 */
uint32_t index_reach(const struct index *ix, uint32_t used, uint32_t node, uint8_t *seen, uint32_t *order);
/* Link to what cannot be reached. The caller holds `repairing`. */
enum result index_rescue(struct index *ix, struct err *err) ERR_MUST_USE;

/* --- compact.c
 * ------------------------------------------------------------------------------------------------- */

bool index_compaction_due(const struct index *ix);
/*
 * Move about `rows` rows down; `wait` for a repair that runs. False: there was nothing to move, or nowhere to move it to, or too many
 * rows wait, or others are at it.
 */
bool index_compact_some(struct index *ix, uint32_t rows, bool wait);

/* --- index.c
 * --------------------------------------------------------------------------------------------------- */

/* A node that is filled but for these becomes WAITING. */
void index_await_linking(struct index *ix, uint32_t node, uint32_t slot, uint64_t stamp, int64_t item);
/* The row of a node is replaced or deleted. `pause` is held. */
void index_dead_now(struct index *ix, uint32_t node);

/* --- repair.c
 * ------------------------------------------------------------------------------------------------- */

bool index_repair_due(const struct index *ix);
/* So many dead that writers must wait for the repair. */
bool index_repair_overdue(const struct index *ix);
/* One pass, and a rescue; `wait` for one that runs. */
enum result index_repair(struct index *ix, bool wait, struct err *err) ERR_MUST_USE;

enum result index_start_threads(struct index *ix, struct err *err) ERR_MUST_USE;

#endif
