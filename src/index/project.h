/*
 * Rough distances to very many rows at once: each row as its 32 principal components, a byte each.
 *
 * For where walks start, and for a search whose walk is in vain because the allowed rows are elsewhere: what would be a scan of all sketches looks at
 * sixteen rows in the time of less than one, and sketches and codes are read of one row in a hundred or so.
 *
 * Its directions are found in the background, of a sample of the rows, and then never change; another projection takes its place
 * when there are many times as many rows. It is not part of the file. For this folder alone.
 */
#ifndef INDEX_PROJECT_H
#define INDEX_PROJECT_H

#include "index/pool.h"

#define INDEX_COMPONENTS (4 * KERNEL_PARTS)
#define INDEX_BLOCKS (INDEX_CHUNK / KERNEL_BLOCK) /* in a chunk */

/*
 * Nodes mostly get slots in order. So a block has a home, sixteen slots that stand in one word of a filter's bits, and says which
 * of its rows are `apart`: have another slot than their place at home.
 */
struct index_home {
    _Atomic uint32_t first, apart; /* first: slot + 1; 0: no row was ever here */
};

/* Of as many nodes as a chunk has; each part in one piece, for they are read one after the other. */
struct index_projected {
    struct kernel_block rows[INDEX_BLOCKS]; /* base: |x − centre|² */
    float rest[INDEX_CHUNK];                /* length of what the components do not tell */
    _Atomic uint32_t slots[INDEX_CHUNK];
    struct index_home homes[INDEX_BLOCKS];
};

struct index_projection {
    float *basis; /* INDEX_COMPONENTS · padded, of rotated vectors; rows of unit length, at right angles, or zero */
    int8_t *codes; /* the same in bytes, for what need not be exact; times scales[] */
    float scales[INDEX_COMPONENTS];
    float steps[INDEX_COMPONENTS]; /* of one in a byte; 64 is zero */
    bool telling;                  /* what there is of rows is mostly in the components, not in what they leave */
    float spread;                  /* of estimates, as the cosine between what is left of query and row: one standard deviation */
    uint32_t linked;               /* rows when it was begun */
    _Atomic(struct index_projected *) chunks[INDEX_CHUNKS];
};

/* What is asked, by components. */
struct index_glancing {
    struct kernel_glance kernel; /* the limit is whatever the last look left there */
    float rest, norm2;
};

bool index_projection_due(const struct index *ix);
/* A part of the work, `rows` rows or the beginning; `wait` for others who do one. *did is false where there is nothing to do, or others do it. */
enum result index_project_some(
    struct index *ix, struct index_work *w, uint32_t rows, bool wait, bool *did, struct err *err) ERR_MUST_USE;
/* The row of a node that is about to be LINKED, into what there is and what is being made. The caller has entered. */
enum result index_project_node(struct index *ix, uint32_t node, float *work, struct err *err) ERR_MUST_USE;
void index_projection_free(struct index *ix, struct index_projection *p);
/* Does it say of the node what it should? For check.c, while nobody writes. */
bool index_projected_right(const struct index *ix, const struct index_projection *p, uint32_t node, float *work);

/*
 * For a walk: the `most` nearest of a sample that is spread over all rows, by their components, nearest first. Returns how many. All
 * were LINKED.
 */
uint32_t index_glance_sample(
    const struct index *ix, const struct index_projection *p, const struct index_probe *probe, struct index_near *near, uint32_t most);

/*
 * Are far fewer of the rows that are near allowed than the share `expect`, an eighth of it at most? By the same sample: then a walk
 * would be in vain.
 */
bool index_glance_elsewhere(
    const struct index *ix, const struct index_projection *p, const struct index_probe *probe, const struct index_query *query, double expect);

#define INDEX_ALL_COSINES 1e6f /* as `cosine`: every row that has an estimate */
/* The probe was made by index_probe_query(). */
void index_glancing_init(const struct index *ix, const struct index_projection *p, const struct index_probe *probe, struct index_glancing *g);
/*
 * Estimates for all nodes into w->glances: one for each that is LINKED and whose row is allowed; others may have one, too. The
 * `count` nearest are in w->around afterwards.
 */
enum result index_glance_all(struct index *ix, const struct index_projection *p, struct index_work *w, const struct index_query *query,
    struct index_glancing *g, uint32_t count, struct err *err) ERR_MUST_USE;
/*
 * Which of the KERNEL_BLOCK nodes from this one on may be nearer than the limit, if the cosine between what is left of the query and
 * of a row is at most `cosine`. w->glances says how long one may go on.
 */
uint32_t index_glance_nearer(
    const struct index *ix, const struct index_projection *p, const struct index_work *w, const struct index_glancing *g, uint32_t node, float cosine,
    float limit);
/* That cosine, by the true distance; 0 where it cannot be told. */
float index_glance_cosine(
    const struct index *ix, const struct index_projection *p, struct index_glancing *g, uint32_t node, float distance);

#endif
