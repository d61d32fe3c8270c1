/*
 * One open collection: its three files and what is kept of them in memory. The files of this folder by phase:
 * collection.c make, open, close; commit.c write; search.c scan and fetch; read.c get, browse, thumbnail,
 * statistics; check.c compare everything.
 *
 * Locks, in the order they may be taken: the registry's (embedded.c) is never held here. `mutex` guards the
 * queue of writers. graph.working, then graph.lock, then columns.lock or graph.rows may be held when
 * slots.mutex is taken. slots.mutex, readers.mutex, pictures.mutex, tap.mutex and columns.mutex are leaves. While `leading` is true one
 * thread, the leader, owns records, vectors' writing half, pictures' writing half and slots' writing half
 * without any lock.
 */
#ifndef STORE_EMBEDDED_COLLECTION_H
#define STORE_EMBEDDED_COLLECTION_H

#include "base/clock.h"
#include "kernel/kernel.h"
#include "store/embedded/scale.h"
#include "store/embedded/columns.h"
#include "store/embedded/graph.h"
#include "store/embedded/pictures.h"
#include "store/embedded/records.h"
#include "store/embedded/past.h"
#include "store/embedded/slots.h"
#include "store/embedded/space.h"
#include "store/embedded/tap.h"
#include "store/embedded/vectors.h"
#include "store/store.h"

#include <time.h>

struct embedded_request; /* place.h */

struct embedded_collection {
    const struct store_sys *sys;
    const struct kernel *kernel;
    char name[LIMIT_COLLECTION_NAME + 1];
    char path[EMBEDDED_PATH_MAX];
    struct embedded_meta meta; /* as of the open: slots.seq and number below go on from change and number */

    struct embedded_records records;
    struct embedded_readers readers;
    struct embedded_vectors vectors;
    struct embedded_slots slots;
    struct embedded_pictures pictures; /* where embedded_keeps_pictures() */

    struct embedded_columns columns;
    struct embedded_graph graph;

    _Atomic uint64_t ahead;  /* of slots.seq while a commit may be in meta.db and not yet in memory */
    struct embedded_tap tap;
    struct embedded_space space;
    struct embedded_past past;
    struct embedded_scale scale;

    _Atomic uint64_t number; /* the next write number */
    _Atomic uint64_t count;
    _Atomic uint64_t damaged; /* visible slots found damaged */

    pthread_mutex_t mutex;
    pthread_cond_t arrival; /* of the last one that the leader waits for */
    struct embedded_request *first, *last; /* waiting writers */
    unsigned waiting;                      /* how many */
    unsigned wanted;                       /* as many as the leader waits for, or 0 */
    unsigned company;                      /* writers that were in the last commit or waited behind it */
    int64_t commit_us;                     /* how long it took */
    _Atomic int64_t crowded_until_ms;      /* embedded_collection_crowded() */
    bool leading;
    size_t garbage; /* the leader's: rows in the table of that name, roughly */
};

/* Many write at once: work that can wait leaves them the machine, and naps between two looks at whether they still do. */
static inline bool embedded_collection_crowded(const struct embedded_collection *c)
{
    return clock_now_ms() < atomic_load(&c->crowded_until_ms);
}

static inline void embedded_collection_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Is there a pictures.db? */
static inline bool embedded_keeps_pictures(const struct store_settings *s)
{
    return s->thumbnails || s->originals;
}

/* In a folder that does not exist yet; on disk, but for the folder's own entry, when this returns. */
enum result embedded_collection_create(const struct store_sys *sys, const char *path,
    const struct store_settings *settings, struct err *err) ERR_MUST_USE;
struct embedded_collection_place {
    const struct store_sys *sys;
    const char *path, *name;
    struct embedded_keeper *keeper; /* may be NULL */
};
enum result embedded_collection_open(const struct embedded_collection_place *place,
    struct embedded_collection **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void embedded_collection_close(struct embedded_collection *c);

/* Is it this edition (struct store_settings)? 0 is any. ERR_BUSY: it was put in the other's place. */
enum result embedded_collection_is(const struct embedded_collection *c, uint64_t edition, struct err *err) ERR_MUST_USE;

/* --- commit.c ------------------------------------------------------------------------------------------- */
enum result embedded_collection_write(struct embedded_collection *c, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* Between these no commit runs. */
enum result embedded_collection_hold(
    struct embedded_collection *c, int64_t deadline_ms, struct err *err) ERR_MUST_USE;
void embedded_collection_resume(struct embedded_collection *c);

/* --- search.c ------------------------------------------------------------------------------------------- */
enum result embedded_collection_search(struct embedded_collection *c, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;
/* The same, leaving no trace among the past queries. */
enum result embedded_collection_find(struct embedded_collection *c, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;
/* From what embedded_query_vector() made to a sound slot that the caller's snapshot sees; false: no memory. */
bool embedded_collection_distance(struct embedded_collection *c, float *vector, uint32_t slot, float *out);
/* May the vector of a visible slot be used? Reads it the first time. The caller is inside a snapshot. */
bool embedded_collection_sound(struct embedded_collection *c, uint32_t slot);

/* --- read.c --------------------------------------------------------------------------------------------- */
enum result embedded_collection_get(struct embedded_collection *c, bool by_item, int64_t id,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;
enum result embedded_collection_count(struct embedded_collection *c, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err) ERR_MUST_USE;
enum result embedded_collection_browse(struct embedded_collection *c, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;
enum result embedded_collection_facets(struct embedded_collection *c, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err) ERR_MUST_USE; /* facets.c */
enum result embedded_collection_thumbnail(struct embedded_collection *c, int64_t fileid, int64_t deadline_ms,
    struct buf *out, struct err *err) ERR_MUST_USE;
/* The file as it came. */
enum result embedded_collection_original(struct embedded_collection *c, int64_t fileid, int64_t deadline_ms,
    struct buf *out, struct err *err) ERR_MUST_USE;
enum result embedded_collection_stats(struct embedded_collection *c, int64_t deadline_ms,
    struct store_stats *out, struct err *err) ERR_MUST_USE;
/* Rows being read into an array of records. */
struct embedded_reading {
    struct embedded_collection *c;
    bool with_vectors;
    bool descriptors; /* with vectors: all of them, see struct store_browse */
    bool stale;  /* a search: a row is not what the scan saw */
    size_t room; /* records `out.items` has room for */
    struct store_records out;
};
/* The row `stmt` is at, appended to `out`. After an error `out` is still to be freed. */
enum result embedded_collection_append(struct embedded_reading *g, sqlite3_stmt *stmt,
    const struct embedded_row *row, struct err *err) ERR_MUST_USE;

/* --- check.c -------------------------------------------------------------------------------------------- */
enum result embedded_collection_check(struct embedded_collection *c, store_check_fn report, void *user,
    bool *damage, struct err *err) ERR_MUST_USE;

#endif
