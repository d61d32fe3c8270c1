/* What a kind of target has to offer; for target*.c only. The words are those of cli/target.h. */
#ifndef CLI_TARGET_KIND_H
#define CLI_TARGET_KIND_H

#include "cli/target.h"

struct cli_target_kind {
    void (*close)(void *target);
    enum result (*session_open)(void *target, void **session, struct err *err);
    void (*session_close)(void *session);
    bool (*lost)(const void *session);
    enum result (*list)(void *session, struct cli_collection_info **out, size_t *count, struct err *err);
    enum result (*create)(void *session, const char *collection, const struct cli_create *how, struct err *err);
    enum result (*drop)(void *session, const char *collection, struct err *err);
    enum result (*stats)(
        void *session, const char *collection, struct cli_collection_info *out, struct err *err);
    enum result (*fileids)(void *session, const char *collection, bool from_start, int64_t after,
        int64_t *out, size_t max, size_t *count, struct err *err);
    enum result (*put)(void *session, const char *collection, const struct cli_put *put, struct err *err);
    enum result (*search)(void *session, const char *collection, const struct cli_query *query,
        struct cli_hits *out, struct err *err);
};

extern const struct cli_target_kind cli_target_http, cli_target_store;

/* The name is appended to `name`, whose room is `size`. */
enum result cli_target_http_open(
    const struct cli_args *args, char *name, size_t size, void **out, struct err *err) ERR_MUST_USE;
enum result cli_target_store_open(const struct cli_args *args, bool with_model, char *name, size_t size,
    void **out, struct err *err) ERR_MUST_USE;

#endif
