/* A server without a socket for the tests of api/: requests go through gate and handler, over a fake engine and the store
   in memory. */
#ifndef TESTS_API_WORLD_H
#define TESTS_API_WORLD_H

#include "api/api.h"
#include "base/clock.h"
#include "fake_embed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* 1×1 PNGs, as base64. */
#define RED "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
#define BLUE "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYPgPAAEDAQAIicLsAAAAAElFTkSuQmCC"

struct world {
    struct store *store;
    struct embed *embed;
    struct pipeline *pipeline;
    struct api *api;
    struct buf body; /* of the last reply */
    unsigned status;
    const char *type;
};

static inline int set_up_with(void **state, const struct fake_embed_plan *plan)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->embed = fake_embed_new(plan);
    assert_int_equal(store_open_memory(&w->store, NULL), ERR_OK);
    struct pipeline_options options = {.store = w->store, .embed = w->embed, .thumbnail_side = 16};
    assert_int_equal(pipeline_new(&options, &w->pipeline, NULL), ERR_OK);
    assert_int_equal(api_new(&(struct api_options){.pipeline = w->pipeline, .version = "test"}, &w->api, NULL), ERR_OK);
    *state = w;
    return 0;
}

static inline int set_up(void **state)
{
    return set_up_with(state, &(struct fake_embed_plan){0});
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    buf_free(&w->body);
    api_free(w->api);
    pipeline_free(w->pipeline);
    embed_close(w->embed);
    store_close(w->store);
    free(w);
    return 0;
}

struct ask {
    const char *method, *path, *type, *body;
    struct http_pair query[4];
    size_t query_count;
};

/* Send through gate and handler, as the server does; the reply's text, valid until the next call. */
static inline const char *ask(struct world *w, const struct ask *a)
{
    struct http_pair header = {"content-type", a->type, a->type ? strlen(a->type) : 0};
    struct http_request request = {
        .method = a->method,
        .path = a->path,
        .query = a->query,
        .query_count = a->query_count,
        .headers = &header,
        .header_count = a->type ? 1 : 0,
        .body = a->body,
        .body_len = a->body ? strlen(a->body) : 0,
        .deadline_ms = clock_now_ms() + 10000,
    };
    struct http_reply reply = {.status = 200};
    buf_init(&reply.body, 1 << 24);
    api_gate(w->api, &request, &reply);
    if (reply.status < 400)
        api_handle(w->api, &request, &reply);
    buf_free(&w->body);
    w->body = reply.body;
    w->status = reply.status;
    w->type = reply.content_type;
    return w->body.data ? w->body.data : "";
}

static inline const char *post(struct world *w, const char *path, const char *json)
{
    return ask(w, &(struct ask){.method = "POST", .path = path, .type = "application/json", .body = json});
}

static inline const char *query(struct world *w, const char *method, const char *path, const char *name, const char *value)
{
    struct ask a = {.method = method, .path = path, .query = {{name, value, strlen(value)}}, .query_count = 1};
    return ask(w, &a);
}

#endif
