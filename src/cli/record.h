/* One picture on its way from a source to a collection. */
#ifndef CLI_RECORD_H
#define CLI_RECORD_H

#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct cli_manifest;

struct cli_record {
    char *name; /* for people: "shoes/1.jpg", "shop.csv line 12: 1.jpg" */
    char *path; /* of the file; NULL: `url` */
    char *url;
    char *key;          /* in the manifest; unique in a source */
    char *tags, *brief; /* JSON text; NULL: none */
    bool has_fileid, has_itemid;
    int64_t fileid, itemid; /* without has_fileid: where to look for a free one */
    uint64_t size;          /* of the file, for --resume */
    int64_t mtime_ns;
    uint64_t metadata;             /* hash of everything but the picture */
    struct cli_manifest *manifest; /* NULL: nothing is remembered */
    char *problem; /* why this record cannot be imported; then only `name` is sure to be set */
};

void cli_record_free(struct cli_record *record);

/* Set `problem`, which must be NULL. */
enum result cli_record_fail(struct cli_record *record, const struct err *why, struct err *err) ERR_MUST_USE;
/*
 * Check and take over tags (an array of strings, or a string separated by ';'; NULL: none) and brief (an
 * object, or a string that holds one; NULL: none) as the API wants them. The objects stay the caller's.
 */
enum result cli_record_set_tags(
    struct cli_record *record, struct json_object *tags, struct err *err) ERR_MUST_USE;
enum result cli_record_set_brief(
    struct cli_record *record, struct json_object *brief, struct err *err) ERR_MUST_USE;
/* After all the others: `metadata`, and size and time of the file where there is one. */
enum result cli_record_finish(struct cli_record *record, struct err *err) ERR_MUST_USE;

/* `text` with U+FFFD for what is not UTF-8; free() it. NULL without memory. */
char *cli_text_as_utf8(const char *text);

#endif
