#include "cli/job.h"

#include "base/limits.h"
#include "fetch/http_client.h"

#include <time.h>

#define POLL_MS 200
#define LOST_MAX 25 /* polls in a row without an answer: 5 s and the client's own patience */

/* One request with a JSON reply; `*out` is NULL where the body is empty. */
static enum result ask(struct http_client *client, const struct http_client_request *request,
    struct json_object **out, struct err *err)
{
    struct buf body;
    struct json_object *reply = NULL;
    const char *detail = NULL;
    size_t len;
    bool found = false;
    long status = 0;
    buf_init(&body, LIMIT_SERVER_REPLY);
    enum result r = http_client_send(client, request, &status, &body, err);
    if (!r && body.len && json_parse(body.data, body.len, &reply, NULL))
        reply = NULL;
    if (!r && (status < 200 || status >= 300)) {
        if (reply && !json_get_string(reply, "detail", &found, &detail, &len, NULL) && found)
            r = err_set(err, status == 409 ? ERR_EXISTS : status == 404 ? ERR_NOT_FOUND : ERR_INVALID, "%s", detail);
        else
            r = err_set(err, ERR_INVALID, "the server answered with status %ld and no explanation", status);
    }
    buf_free(&body);
    if (r)
        json_object_put(reply);
    else
        *out = reply;
    return r;
}

static void text_of(struct json_object *object, const char *name, char *out, size_t size)
{
    bool found = false;
    const char *text = NULL;
    size_t len;
    if (!json_get_string(object, name, &found, &text, &len, NULL) && found)
        snprintf(out, size, "%s", text);
}

static void follow(struct json_object *job, uint64_t unit, struct cli_tally *tally)
{
    bool found = false;
    int64_t done = 0, total = 0;
    if (!json_get_i64(job, "done", &found, &done, NULL))
        atomic_store(&tally->done, (unsigned long long)done / unit);
    if (!json_get_i64(job, "total", &found, &total, NULL))
        atomic_store(&tally->total, (unsigned long long)total / unit);
}

/* Ask until it has ended; *job is its last view. */
static enum result wait_for(struct http_client *client, const char *id, uint64_t unit, struct cli_tally *tally,
    struct json_object **job, struct err *err)
{
    char path[128], state[32];
    int lost = 0;
    snprintf(path, sizeof path, "/v1/jobs/%.64s", id);
    for (;;) {
        struct http_client_request request = {.method = "GET", .path = path, .timeout_ms = 10000};
        struct json_object *view = NULL;
        enum result r = ask(client, &request, &view, err);
        if (r == ERR_UNAVAILABLE && ++lost < LOST_MAX)
            r = ERR_OK;
        else if (!r)
            lost = 0;
        if (r)
            return r;
        state[0] = '\0';
        if (view) {
            text_of(view, "state", state, sizeof state);
            follow(view, unit, tally);
        }
        if (state[0] && strcmp(state, "running") != 0) {
            *job = view;
            return ERR_OK;
        }
        json_object_put(view);
        struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

enum result cli_job_run(const char *server, const char *path, const char *body, uint64_t unit,
    struct cli_tally *tally, struct json_object **result, struct err *err)
{
    struct http_client *client = NULL;
    struct json_object *reply = NULL, *job = NULL;
    char id[64] = "", state[32] = "", message[512] = "";
    enum result r = http_client_new(server, &client, err);
    if (r)
        return r;
    struct http_client_request request = {
        .method = "POST", .path = path, .content_type = "application/json", .body = body, .body_len = strlen(body)};
    r = ask(client, &request, &reply, err);
    if (!r && reply)
        text_of(reply, "job", id, sizeof id);
    if (!r && !id[0])
        r = err_set(err, ERR_INTERNAL, "%s started no job; is it a lookalike server of this version?", server);
    if (!r)
        r = wait_for(client, id, unit, tally, &job, err);
    if (!r) {
        text_of(job, "state", state, sizeof state);
        text_of(job, "message", message, sizeof message);
        if (strcmp(state, "done") != 0)
            r = err_set(err, ERR_INVALID, "%s", message[0] ? message : "the job was cancelled");
        else
            *result = json_object_get(json_member(job, "result"));
    }
    json_object_put(job);
    json_object_put(reply);
    http_client_free(client);
    return r;
}

enum result cli_job_delete(const char *server, const char *path, struct err *err)
{
    struct http_client *client = NULL;
    struct json_object *reply = NULL;
    enum result r = http_client_new(server, &client, err);
    struct http_client_request request = {.method = "DELETE", .path = path};
    if (!r)
        r = ask(client, &request, &reply, err);
    json_object_put(reply);
    http_client_free(client);
    return r;
}
