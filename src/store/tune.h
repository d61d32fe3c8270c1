/*
 * Learning from a collection's own items what is the same product, and searching by it. For callers; as in store.h
 * every call is thread-safe and blocks its thread. ERR_UNSUPPORTED where the backend cannot.
 *
 * What is learned is derived from descriptors that stay as they are, so it can be undone and learned again. After
 * store_tune() rows that come later are searched by it as well.
 */
#ifndef STORE_TUNE_H
#define STORE_TUNE_H

#include "store/store.h"

/* Descriptors of changed copies of pictures. */
struct store_copies {
    const int64_t *fileids; /* n: which pictures */
    size_t n;
    uint32_t each; /* copies of each, the first of them unchanged */
    float *out;    /* n × each × descriptor, to be filled */
    bool *made;    /* n, to be filled; false: of that one there are none */
};

struct store_tune_options {
    const uint32_t *blocks; /* lengths of what follows the vector in a descriptor, as the model's manifest has them */
    uint32_t block_count;
    bool (*progress)(void *user, double done); /* 0…1; true: stop, with ERR_UNAVAILABLE. May be NULL */
    void *user;
    /*
     * Makes copies, for collections in which fewer than STORE_TUNE_ITEMS items have several pictures. Called once, with no
     * lock held. NULL: there are no copies.
     */
    enum result (*copies)(void *copier, const struct store_copies *wanted, struct err *err);
    void *copier;
};
#define STORE_TUNE_ITEMS 12

struct store_tune_report {
    uint64_t rows, items; /* learned from; items: those with several pictures. 0: centring only */
    uint32_t dimension;   /* of a search vector */
    float shrink;
    uint64_t queries; /* past queries that were used */
    uint64_t drawn;   /* pictures that they drew */
    uint64_t copied;  /* pictures of which changed copies were made to learn from */
};

/*
 * Learn, from items with several pictures or, where there are too few, from changed copies; write it down durably, and search by it from now on. Searches go on meanwhile; at the end the collection is
 * closed and opened anew, for which running calls are waited for. ERR_UNSUPPORTED for another metric than L2.
 */
enum result store_tune(struct store *store, const char *collection, const struct store_tune_options *options,
    struct store_tune_report *out, struct err *err) ERR_MUST_USE;
/* Back to searching by the vectors as they are. Not tuned is success. */
enum result store_untune(struct store *store, const char *collection, struct err *err) ERR_MUST_USE;

struct store_eval_figures {
    double value[3], low[3], high[3]; /* R@1, R@5, mAP@10, 0…1, with 95 % intervals */
};
struct store_eval_report {
    uint64_t queries, items; /* pictures of items with several pictures, those items */
    struct store_eval_figures plain, tuned;
};
/*
 * Each picture of an item with several is searched among the others (leave one out). `tuned` is what tune would give
 * to items that it did not learn from: half of the items are judged by what was learned from the other half, and the
 * other way round. At most 4,000 pictures take part. ERR_INVALID: fewer than 4 items with several pictures.
 */
enum result store_eval(struct store *store, const char *collection, const struct store_tune_options *options,
    struct store_eval_report *out, struct err *err) ERR_MUST_USE;

#endif
