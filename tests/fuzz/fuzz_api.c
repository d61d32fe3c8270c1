/*
 * Bodies of every route, JSON and forms and pictures, on a store in memory and a fake engine. Two bytes choose the route
 * and the type of the body; the rest is the body.
 *
 * What has to hold: every reply has a status that exists and a body that is JSON where it says so; the compatible routes
 * answer with code 10000 or 10100.
 */
#include "api/api.h"
#include "base/clock.h"
#include "fake_embed.h"
#include "fuzz.h"
#include "image/image.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEW 2000 /* what was added in so many runs is thrown away */

static struct {
    struct store *store;
    struct embed *embed;
    struct pipeline *pipeline;
    struct api *api;
} world;

static void add(int64_t fileid)
{
    float v[FAKE_DIMENSION] = {0.5f, 0.5f, 0.5f, 0.5f};
    struct store_write w = {.kind = STORE_PUT, .fileid = fileid, .tags = "[\"a\"]", .brief = "{\"n\":1}", .vector = v};
    MUST(!store_write(world.store, "c", &w, 1, 0, NULL));
}

/* Also at the end: a job that has not been waited for is a thread that leaks. */
static void throw_away(void)
{
    api_free(world.api);
    pipeline_free(world.pipeline);
    embed_close(world.embed);
    store_close(world.store);
    memset(&world, 0, sizeof world);
}

static void renew(void)
{
    struct store_settings settings = {.model = "fake", .dimension = FAKE_DIMENSION, .thumbnails = true};
    throw_away();
    world.embed = fake_embed_new(&(struct fake_embed_plan){0});
    MUST(!store_open_memory(&world.store, NULL) && !store_create(world.store, "c", &settings, 0, NULL));
    struct pipeline_options options = {.store = world.store, .embed = world.embed, .thumbnail_side = 16};
    MUST(!pipeline_new(&options, &world.pipeline, NULL));
    MUST(!api_new(&(struct api_options){.pipeline = world.pipeline, .version = "fuzz"}, &world.api, NULL));
    add(1);
    add(2);
}

/* "/v1/collections/{c}/images/{fileid}" → "/v1/collections/c/images/1" */
static void fill_in(const char *pattern, char *out)
{
    while (*pattern) {
        if (*pattern != '{') {
            *out++ = *pattern++;
            continue;
        }
        *out++ = strncmp(pattern, "{c}", 3) ? '1' : 'c';
        pattern += strcspn(pattern, "}") + 1;
    }
    *out = '\0';
}

static void check_reply(const struct http_reply *reply, const char *path)
{
    bool json = reply->content_type && strstr(reply->content_type, "json") && !strstr(reply->content_type, "ndjson");
    struct json_object *parsed = NULL;
    MUST(reply->status >= 200 && reply->status < 600);
    MUST(reply->status != 500);
    if (!json || reply->static_body || !reply->body.len)
        return;
    MUST(!json_parse(reply->body.data, reply->body.len, &parsed, NULL));
    if (strncmp(path, "/milvus/", 8) == 0) {
        bool found = false;
        int64_t code = 0;
        MUST(!json_get_i64(parsed, "code", &found, &code, NULL) && found && (code == 10000 || code == 10100));
    }
    json_object_put(parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"application/json", "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=X", "image/png", "application/x-ndjson", "application/octet-stream"};
    static unsigned runs;
    const char *methods = NULL, *pattern = NULL;
    char path[256], method[16];
    size_t routes = 0;
    if (size < 2)
        return 0;
    if (runs == 0)
        MUST(!image_init(NULL) && !atexit(throw_away));
    if (runs++ % RENEW == 0)
        renew();
    while (api_route(routes, &methods, &pattern))
        routes++;
    MUST(api_route(data[0] % routes, &methods, &pattern));
    fill_in(pattern, path);
    if (strcmp(path, "/v1/jobs/1") == 0 || strstr(path, "events"))
        return 0;
    size_t first = strcspn(methods, " ");
    snprintf(method, sizeof method, "%.*s", (int)first, methods);
    const char *type = types[data[1] % (sizeof types / sizeof *types)];
    if (strcmp(pattern, "/v1/collections/{c}/images") == 0 && strcmp(method, "POST") == 0 && strstr(type, "ndjson"))
        return 0; /* comes as a stream, which only a server of HTTP has */
    struct http_pair header = {"Content-Type", type, strlen(type)};
    struct http_pair query = {"collection", "c", 1};
    char *body = malloc(size - 2 ? size - 2 : 1);
    MUST(body != NULL);
    memcpy(body, data + 2, size - 2);
    struct http_request request = {.method = method,
        .path = path,
        .query = &query,
        .query_count = data[1] & 0x80 ? 1 : 0,
        .headers = &header,
        .header_count = 1,
        .body = body,
        .body_len = size - 2,
        .deadline_ms = clock_now_ms() + 30000};
    struct http_reply reply = {.status = 200};
    buf_init(&reply.body, 64 << 20);
    api_gate(world.api, &request, &reply);
    if (reply.status < 400)
        api_handle(world.api, &request, &reply);
    check_reply(&reply, path);
    buf_free(&reply.body);
    free(body);
    return 0;
}
