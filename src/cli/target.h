/*
 * Where the commands work: a server over HTTP, or a store that is opened directly (--data). The commands are
 * written once over these functions.
 *
 * A target is the place, a session is one thread's way to it (over HTTP: a connection that stays open).
 * Sessions must be closed before their target. Every function but the sessions' is for the first thread only.
 */
#ifndef CLI_TARGET_H
#define CLI_TARGET_H

#include "cli/cli.h"

#include <stdbool.h>
#include <stdint.h>

struct cli_target;
struct cli_session;

/* `with_model`: pictures will be embedded; a store that is opened directly then needs its model. */
enum result cli_target_open(
    const struct cli_args *args, bool with_model, struct cli_target **out, struct err *err) ERR_MUST_USE;
void cli_target_close(struct cli_target *target);
/* "http://127.0.0.1:5000", or the absolute path of the folder. */
const char *cli_target_name(const struct cli_target *target);

enum result cli_session_open(
    struct cli_target *target, struct cli_session **out, struct err *err) ERR_MUST_USE;
void cli_session_close(struct cli_session *session);
/* Whether the last call failed because there was no reply: the server is away, and may come back. */
bool cli_session_lost(const struct cli_session *session);

struct cli_collection_info {
    char name[256], model[128], metric[16];
    uint32_t dimension;
    uint64_t count, items, damaged, bytes_disk,
        bytes_memory; /* beyond `count`: of cli_session_stats() only */
    bool thumbnails, originals;
    char index[16];                         /* "none", "building", "ready"; "" where it is not known */
    double index_built;                     /* 0 to 1 */
    uint64_t index_dead, index_bytes, columns_bytes;
};

/* `*out` is one allocation: free() it. */
enum result cli_session_list(struct cli_session *session, struct cli_collection_info **out, size_t *count,
    struct err *err) ERR_MUST_USE;
/* NULL members, and NULL for `how`: as the server makes one by itself. */
struct cli_create {
    const char *model, *background;
    bool originals;
};
enum result cli_session_create(struct cli_session *session, const char *collection, const struct cli_create *how,
    struct err *err) ERR_MUST_USE;
enum result cli_session_drop(
    struct cli_session *session, const char *collection, struct err *err) ERR_MUST_USE;
enum result cli_session_stats(struct cli_session *session, const char *collection,
    struct cli_collection_info *out, struct err *err) ERR_MUST_USE;
/* fileids after `after` (all where `from_start`), ascending, at most `max`; *count is 0 at the end. */
enum result cli_session_fileids(struct cli_session *session, const char *collection, bool from_start,
    int64_t after, int64_t *out, size_t max, size_t *count, struct err *err) ERR_MUST_USE;

struct cli_picture {
    const void *data; /* bytes of a file; NULL: `url` */
    size_t len;
    const char *url;
};

struct cli_put {
    int64_t fileid, itemid;
    bool has_itemid;
    const char *tags, *brief; /* JSON text that was checked; NULL: none */
    struct cli_picture picture;
};
/* ERR_BUSY: try again later. ERR_UNAVAILABLE with cli_session_lost(): no reply; without: the URL did not
   answer. */
enum result cli_session_put(struct cli_session *session, const char *collection, const struct cli_put *put,
    struct err *err) ERR_MUST_USE;

struct cli_query {
    struct cli_picture picture;
    bool has_fileid; /* what is like this record, instead of a picture */
    int64_t fileid;
    uint32_t limit, offset;
    bool group;
    const char *filter; /* NULL: none */
};
struct cli_hit {
    int64_t fileid, itemid;
    float distance;
    char *tags, *brief; /* JSON text */
};
struct cli_hits {
    struct cli_hit *items;
    size_t count;
};
enum result cli_session_search(struct cli_session *session, const char *collection,
    const struct cli_query *query, struct cli_hits *out, struct err *err) ERR_MUST_USE;
void cli_hits_free(struct cli_hits *hits);

#endif
