#include "cli/target.h"

#include "cli/target_kind.h"

#include <limits.h>

struct cli_target {
    const struct cli_target_kind *kind;
    void *state;
    char name[PATH_MAX + 1];
};

struct cli_session {
    const struct cli_target_kind *kind;
    void *state;
};

enum result cli_target_open(
    const struct cli_args *args, bool with_model, struct cli_target **out, struct err *err)
{
    struct cli_target *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory(err);
    t->kind = args->data ? &cli_target_store : &cli_target_http;
    enum result r = args->data
                        ? cli_target_store_open(args, with_model, t->name, sizeof t->name, &t->state, err)
                        : cli_target_http_open(args, t->name, sizeof t->name, &t->state, err);
    if (r)
        free(t);
    else
        *out = t;
    return r;
}

void cli_target_close(struct cli_target *t)
{
    if (!t)
        return;
    t->kind->close(t->state);
    free(t);
}

const char *cli_target_name(const struct cli_target *t)
{
    return t->name;
}

enum result cli_session_open(struct cli_target *t, struct cli_session **out, struct err *err)
{
    struct cli_session *s = calloc(1, sizeof *s);
    if (!s)
        return err_no_memory(err);
    s->kind = t->kind;
    enum result r = t->kind->session_open(t->state, &s->state, err);
    if (r)
        free(s);
    else
        *out = s;
    return r;
}

void cli_session_close(struct cli_session *s)
{
    if (!s)
        return;
    s->kind->session_close(s->state);
    free(s);
}

bool cli_session_lost(const struct cli_session *s)
{
    return s->kind->lost(s->state);
}

enum result cli_session_list(
    struct cli_session *s, struct cli_collection_info **out, size_t *count, struct err *err)
{
    return s->kind->list(s->state, out, count, err);
}

enum result cli_session_create(
    struct cli_session *s, const char *collection, const struct cli_create *how, struct err *err)
{
    static const struct cli_create usual;
    return s->kind->create(s->state, collection, how ? how : &usual, err);
}

enum result cli_session_drop(struct cli_session *s, const char *collection, struct err *err)
{
    return s->kind->drop(s->state, collection, err);
}

enum result cli_session_stats(
    struct cli_session *s, const char *collection, struct cli_collection_info *out, struct err *err)
{
    return s->kind->stats(s->state, collection, out, err);
}

enum result cli_session_fileids(struct cli_session *s, const char *collection, bool from_start, int64_t after,
    int64_t *out, size_t max, size_t *count, struct err *err)
{
    return s->kind->fileids(s->state, collection, from_start, after, out, max, count, err);
}

enum result cli_session_put(
    struct cli_session *s, const char *collection, const struct cli_put *put, struct err *err)
{
    return s->kind->put(s->state, collection, put, err);
}

enum result cli_session_search(struct cli_session *s, const char *collection, const struct cli_query *query,
    struct cli_hits *out, struct err *err)
{
    return s->kind->search(s->state, collection, query, out, err);
}

void cli_hits_free(struct cli_hits *hits)
{
    for (size_t i = 0; i < hits->count; i++) {
        free(hits->items[i].tags);
        free(hits->items[i].brief);
    }
    free(hits->items);
    *hits = (struct cli_hits){0};
}
