/*
 * A collection from one store into another, whatever keeps them: embedded → Milvus and back.
 *
 * Both are read in fileid order, side by side. A record that the target has in the same words is left alone, any other
 * is written whole. So a copy that was stopped goes on when it is started again, without a note of its own, and one
 * that is complete says so. Records of the target that the source does not have are counted, never deleted.
 *
 * Then the numbers of records are compared, and a sample of them field by field, thumbnail included.
 */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include "store/store.h"

struct store_migrate {
    struct store *from, *to; /* the target's collection is made where it does not exist */
    const char *collection;
    const char *model; /* of a new collection whose source does not say which; a Milvus of other programs does not */
    uint32_t sample;   /* records compared at the end */
    bool only_compare; /* write nothing: say what differs */
    /* After each page; false: stop, with ERR_UNAVAILABLE. May be NULL. */
    bool (*progress)(void *user, uint64_t done, uint64_t all);
    /* A line for the user: a record that differs, what does not come along. May be NULL. */
    void (*note)(void *user, const char *text);
    void *user;
};

struct store_migrate_report {
    uint64_t records; /* of the source that were looked at */
    uint64_t written; /* with only_compare: that would be */
    uint64_t extra;   /* of the target alone */
    uint64_t source, target; /* counts at the end */
    uint64_t sampled, different; /* `different` of those sampled */
};

/*
 * ERR_NOT_FOUND: no such collection in the source. ERR_INVALID: the target has one of this name with another dimension,
 * metric or model. Any other result: stopped in between; *out says how far it came, and the same call goes on from there.
 */
enum result store_migrate(const struct store_migrate *m, struct store_migrate_report *out, struct err *err) ERR_MUST_USE;

#endif
