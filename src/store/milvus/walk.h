/* All records an expression is true for, in fileid order, a page at a time. For store/milvus/ only. */
#ifndef STORE_MILVUS_WALK_H
#define STORE_MILVUS_WALK_H

#include "store/milvus/convert.h"
#include "store/milvus/milvus.h"

struct milvus_walk {
    const char *expr; /* "" for all */
    bool from_user;
    unsigned fields; /* MILVUS_FILEID is always there */
    bool from_start;
    int64_t after;
    uint64_t limit; /* rows at most */
    bool enough;    /* there are no more than `limit`, or `more` is not of interest: it ends with that row */
    int64_t deadline_ms;
    /* Called for each row; the columns live during the call only. */
    enum result (*row)(void *user, const struct milvus_columns *columns, size_t i, struct err *err);
    void *user;
    uint64_t count; /* out: rows given */
    int64_t last;   /* out: fileid of the last one */
    bool more;      /* out: there are rows beyond `limit` */
};
enum result milvus_walk(
    struct milvus *m, struct milvus_collection *c, struct milvus_walk *walk, struct err *err) ERR_MUST_USE;

/* `field op number` where the number may be the lowest there is, which Milvus cannot read; op is "==" or ">". */
enum result milvus_compare(struct buf *out, const char *field, const char *op, int64_t number) ERR_MUST_USE;

#endif
