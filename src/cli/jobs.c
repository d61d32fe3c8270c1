/* `lookalike jobs list|show|watch|cancel`: what a server is busy with. With --data there is no server, and no job. */
#include "cli/cli.h"

#include "base/limits.h"
#include "fetch/http_client.h"
#include "json/json.h"

#include <inttypes.h>
#include <unistd.h>

static const char help[] =
    "usage: lookalike jobs [list] [FLAG…]\n"
    "       lookalike jobs show|watch|cancel ID [FLAG…]\n\n"
    "  list             long work, the newest first\n"
    "  show             one job\n"
    "  watch            the same, until it ends\n"
    "  cancel           ask it to stop\n\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike jobs\n"
    "  lookalike jobs watch 1933a2b1c4d-3\n\n"
    "Exit status: 0 done (of watch: and so is the job), 1 the job failed or was cancelled, 2 wrong usage, 3 nothing done.\n";

struct jobs {
    struct cli_args args;
    const char *verb, *id;
};

#define WATCH_EVERY_US 500000

static enum result ask(struct http_client *client, const char *method, const char *id, struct buf *body,
    struct json_object **out, struct err *err)
{
    struct buf path;
    long status = 0;
    buf_init(&path, 4 * (size_t)LIMIT_KIB);
    enum result r = buf_append_str(&path, id ? "/v1/jobs/" : "/v1/jobs");
    if (r == ERR_OK && id)
        r = http_client_escape(&path, id, strlen(id));
    if (r)
        r = err_set(err, ERR_INVALID, "the id is too long");
    const struct http_client_request request = {.method = method, .path = path.data};
    buf_clear(body);
    if (r == ERR_OK)
        r = http_client_send(client, &request, &status, body, err);
    buf_free(&path);
    if (r == ERR_OK)
        r = json_parse(body->data ? body->data : "", body->len, out, err);
    if (r || status < 300)
        return r;
    bool found = false;
    const char *detail = NULL;
    size_t len;
    r = json_get_string(*out, "detail", &found, &detail, &len, NULL) == ERR_OK && found
            ? err_set(err, status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE, "%.400s", detail)
            : err_set(err, ERR_UNAVAILABLE, "the server answered with status %ld", status);
    json_object_put(*out);
    *out = NULL;
    return r;
}

static const char *text_of(struct json_object *job, const char *name)
{
    struct json_object *value = json_member(job, name);
    return value ? json_object_get_string(value) : "";
}

/* "ID  kind  collection  state  3/7  message" */
static void print_job(struct json_object *job)
{
    struct buf out;
    const char *total = text_of(job, "total");
    char line[1024];
    snprintf(line, sizeof line, "%-18s  %-8s  %-16s  %-9s  %s%s%s  %s", text_of(job, "id"), text_of(job, "kind"),
        text_of(job, "collection"), text_of(job, "state"), text_of(job, "done"), *total ? "/" : "", total, text_of(job, "message"));
    buf_init(&out, 8 * (size_t)LIMIT_KIB);
    if (cli_append_plain(&out, line, strlen(line)) == ERR_OK && out.data)
        puts(out.data);
    buf_free(&out);
}

static void print_list(const struct jobs *j, struct json_object *reply)
{
    struct json_object *list = json_member(reply, "jobs");
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    for (size_t i = 0; i < n; i++)
        print_job(json_object_array_get_idx(list, i));
    if (n == 0 && !j->args.quiet)
        fputs("There is no long work, and there was none since the server started.\n", stderr);
}

/* The last state of what was shown decides the exit status. */
static int show(const struct jobs *j, struct http_client *client, struct buf *body, struct err *err)
{
    int status = CLI_DONE;
    char last[1024] = "";
    for (bool more = true; more;) {
        struct json_object *reply = NULL;
        const char *method = strcmp(j->verb, "cancel") == 0 ? "DELETE" : "GET";
        if (ask(client, method, j->id, body, &reply, err))
            return CLI_NOTHING;
        const char *state = text_of(reply, "state");
        bool running = strcmp(state, "running") == 0, watching = strcmp(j->verb, "watch") == 0;
        if (strncmp(last, body->data, sizeof last - 1) != 0) { /* only what is new */
            if (j->args.json)
                puts(body->data);
            else if (j->id)
                print_job(reply);
            else
                print_list(j, reply);
            fflush(stdout);
        }
        snprintf(last, sizeof last, "%s", body->data);
        if (watching && !running)
            status = strcmp(state, "done") == 0 ? CLI_DONE : CLI_SOME_FAILED;
        json_object_put(reply);
        more = watching && running;
        if (more)
            usleep(WATCH_EVERY_US);
    }
    return status;
}

static enum result read_arguments(struct jobs *j, int argc, char **argv, struct err *err)
{
    enum result r = cli_args_parse(argc, argv, NULL, 0, &j->args, err);
    if (r || j->args.help)
        return r;
    if (j->args.data)
        return err_set(err, ERR_INVALID, "jobs are a server's: give --server, not --data");
    j->verb = j->args.positional_count ? j->args.positional[0] : "list";
    bool list = strcmp(j->verb, "list") == 0;
    if (!list && strcmp(j->verb, "show") != 0 && strcmp(j->verb, "watch") != 0 && strcmp(j->verb, "cancel") != 0)
        return err_set(err, ERR_INVALID, "jobs needs one of list, show, watch and cancel");
    if (list ? j->args.positional_count > 1 : j->args.positional_count != 2)
        return err_set(err, ERR_INVALID, list ? "jobs list takes no id" : "jobs %s needs the id of one job", j->verb);
    j->id = list ? NULL : j->args.positional[1];
    return ERR_OK;
}

int cli_jobs(int argc, char **argv)
{
    struct err err = {0};
    struct jobs j = {0};
    struct http_client *client = NULL;
    struct buf body;
    if (read_arguments(&j, argc, argv, &err))
        return cli_usage("jobs", &err);
    if (j.args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
        return CLI_DONE;
    }
    buf_init(&body, LIMIT_SERVER_REPLY);
    int status = http_client_new(j.args.server, &client, &err) ? CLI_NOTHING : show(&j, client, &body, &err);
    http_client_free(client);
    buf_free(&body);
    return status == CLI_NOTHING ? cli_fail(status, &err) : status;
}
