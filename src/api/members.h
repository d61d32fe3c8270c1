/* Which members a record has in a reply of /v1: the parameter `fields`, and the writing. */
#ifndef API_MEMBERS_H
#define API_MEMBERS_H

#include "api/params.h"

enum {
    MEMBER_FILEID = 1,
    MEMBER_ITEMID = 2,
    MEMBER_TAGS = 4,
    MEMBER_BRIEF = 8,
    MEMBER_DISTANCE = 16,
    MEMBER_SIMILARITY = 32,
    MEMBER_THUMBNAIL = 64,
    MEMBER_VECTOR = 128,
    MEMBER_VECTORS = 256, /* the same under the name it has on the compatible routes */
};
#define MEMBERS_OF_RECORD (MEMBER_FILEID | MEMBER_ITEMID | MEMBER_TAGS | MEMBER_BRIEF | MEMBER_THUMBNAIL)
#define MEMBERS_VECTOR (MEMBER_VECTOR | MEMBER_VECTORS)
#define MEMBERS_OF_HIT (MEMBERS_OF_RECORD | MEMBER_DISTANCE | MEMBER_SIMILARITY)

/*
 * `fields` as an array of names or "a,b"; `usual` where it is absent or empty. ERR_INVALID for a name that is none, or
 * that is not among `allowed`.
 */
enum result params_members(struct params *params, unsigned allowed, unsigned usual, unsigned *out, struct err *err)
    ERR_MUST_USE;

struct members_of {
    unsigned members;
    const char *collection;
    uint32_t dimension; /* of the vectors */
    float similarity;   /* of this record, in a search */
};
/* One JSON object. A vector that was not read is null. */
enum result write_members(struct buf *out, const struct members_of *m, const struct store_record *record) ERR_MUST_USE;

#endif
