/*
 * Carrying a collection from one place to another as files that anything can read: export and import. A backup is faster
 * and is of one moment; an export is for other programs, and for stores of another kind. It works over every store.
 *
 *     DIR/collection.json   {"lookalike_export": 1, "collection": …, "model": …, "dimension": …, "descriptor": …, "metric": "L2",
 *                            "thumbnails": true, "originals": false, "background": 0, "input": "320x320 …",
 *                            "records": …, "bytes": {"records.jsonl": …, "vectors.f32": …, "thumbnails.bin": …}}
 *     DIR/records.jsonl     a line each, by fileid: {"fileid": …, "itemid": …, "tags": […], "brief": {…}, "thumbnail": [OFFSET, LENGTH],
 *                           "original": [OFFSET, LENGTH]}; the last two only where there is one
 *     DIR/vectors.f32       a row for each line, in their order: `descriptor` IEEE floats of 32 bits, little-endian, nothing else; the first
 *                           `dimension` of them are the vector, what follows is what `tune` learns from.
 *                           NumPy: fromfile("vectors.f32", "<f4").reshape(-1, descriptor)
 *     DIR/thumbnails.bin    the JPEG files one behind the other
 *     DIR/originals.bin     the files as they came, in the same way; where "originals" is true, and then in "bytes" as well
 *
 * collection.json is written last, in one step, when the others are on disk: without it there is no export. Records that are written
 * while an export runs are in it or not; the others are all in it.
 */
#ifndef PIPELINE_CARRY_H
#define PIPELINE_CARRY_H

#include "store/store.h"

#define CARRY_COLLECTION "collection.json"
#define CARRY_RECORDS "records.jsonl"
#define CARRY_VECTORS "vectors.f32"
#define CARRY_THUMBNAILS "thumbnails.bin"
#define CARRY_ORIGINALS "originals.bin"

struct carry_watch {
    bool (*progress)(void *user, uint64_t done, uint64_t all); /* records; false: stop, with ERR_UNAVAILABLE. May be NULL */
    void *user;
};

struct carry_report {
    uint64_t records, bytes; /* bytes of the files */
};

/*
 * One collection into `folder`, which is made where absent. ERR_EXISTS: there is an export in it, and not `replace`, or
 * something else. ERR_CORRUPT names a record whose vector is damaged.
 */
enum result carry_export(struct store *store, const char *collection, const char *folder, bool replace,
    const struct carry_watch *watch, struct carry_report *out, struct err *err) ERR_MUST_USE;

/*
 * The export in `folder` as a new collection (`as` NULL: under the name it had). ERR_EXISTS where there is one of that name. ERR_CORRUPT
 * for files that are not what collection.json says, or a line that is no record: its number is named. Where it fails the new collection
 * is dropped.
 */
enum result carry_import(struct store *store, const char *folder, const char *as, const struct carry_watch *watch,
    struct carry_report *out, struct err *err) ERR_MUST_USE;

#endif
