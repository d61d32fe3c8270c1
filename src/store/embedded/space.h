/*
 * What a tuned collection is searched by: rows that a learned projection makes of the descriptors, with one number
 * more that answers hubs (learn/adapt.h). space.c describes the file projection.
 *
 * A space does not change while its collection is open: tune and untune write or remove the file, and the collection is
 * opened anew. Rows are made behind the open, a slice at a time (graph.c), and before that at their first use: a walk of
 * an index that was loaded wants a dozen of them, and only a scan wants all. A row belongs to a slot and a write number.
 */
#ifndef STORE_EMBEDDED_SPACE_H
#define STORE_EMBEDDED_SPACE_H

#include "learn/learn.h"
#include "store/embedded/slots.h"
#include "store/tune.h"

#include <pthread.h>

struct embedded_collection;
struct embedded_row;
struct embedded_space_segment;

/* A row that past queries drew to another place; see learn/adapt.h. */
struct embedded_drawn {
    int64_t fileid;
    uint64_t number;
};

struct embedded_space {
    struct learn_projection p; /* `out` 0: the collection is not tuned */
    float weight, floor;       /* of the hubs' number: z² = weight · (r − floor) */
    uint32_t query_count, drawn_count;
    float *queries;               /* query_count × out: past queries */
    struct embedded_drawn *drawn; /* drawn_count, sorted by fileid */
    float *places;                /* drawn_count × out */
    uint64_t version;             /* another one with each tune */

    _Atomic(struct embedded_space_segment *) *segments; /* of EMBEDDED_SEGMENT rows */
    pthread_mutex_t making;                             /* one slice at a time is made */
    _Atomic uint32_t filled;                            /* slots below had their rows made, or had no use for one */
};

void embedded_space_init(struct embedded_space *s);
void embedded_space_free(struct embedded_space *s);

/* The file projection of the collection. Absent, damaged or of another collection: not tuned. */
void embedded_space_load(struct embedded_collection *c);
enum result embedded_space_save(
    struct embedded_collection *c, const struct embedded_space *s, struct err *err) ERR_MUST_USE;
enum result embedded_space_remove(struct embedded_collection *c, struct err *err) ERR_MUST_USE;
/* The next slice of rows that are not there yet. False: there is none left. */
bool embedded_space_fill(struct embedded_collection *c);
/* All that are left, for a scan. ERR_TIMEOUT: the deadline has passed; some were made. */
enum result embedded_space_fill_all(struct embedded_collection *c, int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* Rows of at most EMBEDDED_SPACE_SLICE slots that the caller's snapshot sees, at once; what fails is made when it is needed. */
#define EMBEDDED_SPACE_SLICE 64u
void embedded_space_make(struct embedded_collection *c, const uint32_t *slots, size_t count);

static inline bool embedded_space_tuned(const struct embedded_space *s)
{
    return s->p.out > 0;
}

/* out + 1 halves, of a sound slot that the caller's snapshot sees. NULL: no memory. */
const uint16_t *embedded_space_row(struct embedded_collection *c, uint32_t slot);
/* The first out floats of a record's row, from its slot, whose vector is sound and which nobody uses again meanwhile. */
enum result embedded_space_place(
    struct embedded_collection *c, const struct embedded_row *row, float *out, struct err *err) ERR_MUST_USE;
/* out floats of unit length rounded as rows are, with a 0 behind them. */
void embedded_space_round(const struct embedded_collection *c, float *vector);
/* The search vector of a descriptor, or of a vector alone (not `whole`), of out + 1 floats, as embedded_space_round() leaves it. */
enum result embedded_space_query(
    const struct embedded_collection *c, const float *vector, bool whole, float *out, struct err *err) ERR_MUST_USE;
/* How the descriptors are made up. ERR_INVALID: the blocks are not those of this collection's. */
enum result embedded_space_shape(const struct embedded_collection *c, const struct store_tune_options *options,
    struct learn_shape *out, struct err *err) ERR_MUST_USE;

#endif
