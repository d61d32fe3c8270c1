/*
 * `lookalike doctor`: looks at everything that has to be right, and says what is not.
 *
 * Every finding is a line. Good ones are facts, warnings do not count, problems make the exit status 1.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/limits.h"
#include "cli/target.h"
#include "fetch/http_client.h"
#include "json/json.h"
#include "pipeline/pipeline.h"
#include "server/config.h"
#include "server/wiring.h"
#include "store/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPACE_LOW (1024ull * LIMIT_MIB) /* bytes free on the disk that are worth a warning */

static const char help[] =
    "usage: lookalike doctor [FLAG…]\n\n"
    "With --data DIR: the folder, the disk, the model, the port of `serve`, and every record of the store against its\n"
    "checksum. The server must not run meanwhile. With --server URL (the default): whether it answers and is ready, and\n"
    "its collections.\n\n"
    "  --repair         with --data: mend what can be made whole from what is left (indexes, headers, lost thumbnails);\n"
    "                   damaged records are named and stay\n"
    "  --drop-damaged   with --repair: remove the records whose vector is damaged, naming each\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike doctor\n"
    "  lookalike doctor --data ./data --json\n"
    "  lookalike doctor --data ./data --repair\n\n"
    "Exit status: 0 healthy, 1 problems, 2 wrong usage.\n";

enum severity { FACT, WARNING, PROBLEM };

struct doctor {
    struct cli_args args;
    bool repair, drop_damaged;
    unsigned problems, warnings;
};

static void finding(struct doctor *d, enum severity severity, const char *topic, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void finding(struct doctor *d, enum severity severity, const char *topic, const char *format, ...)
{
    static const char *const words[] = {"ok", "warning", "problem"};
    char text[1024];
    struct buf out;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    d->problems += severity == PROBLEM;
    d->warnings += severity == WARNING;
    if (d->args.quiet && !d->args.json && severity != PROBLEM)
        return;
    buf_init(&out, 16 * LIMIT_KIB);
    if (d->args.json) {
        enum result r = json_append_string(&out, text, strlen(text));
        printf("{\"topic\":\"%s\",\"severity\":\"%s\",\"text\":%s}\n", topic, words[severity],
            r ? "null" : out.data);
    } else {
        enum result r = cli_append_plain(&out, text, strlen(text));
        printf("%-8s %-12s %s\n", words[severity], topic, r ? text : out.data);
    }
    fflush(stdout);
    buf_free(&out);
}

/* --- this machine --------------------------------------------------------------------------------------- */

static void check_cpu(struct doctor *d)
{
    static const struct {
        unsigned bit;
        const char *name;
    } features[] = {{CPU_AVX2, "avx2"}, {CPU_AVX512, "avx512"}, {CPU_VNNI, "vnni"}, {CPU_NEON, "neon"},
        {CPU_DOTPROD, "dotprod"}};
    char text[128] = "";
    size_t n = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (cpu_features() & features[i].bit)
            n += (size_t)snprintf(text + n, sizeof text - n, " %s", features[i].name);
    finding(d, FACT, "cpu", "%u CPUs,%s", cpu_count(), n ? text : " no vector instructions that we use");
}

/* Whether a server could listen there. A port that is taken is no problem: it may be our own server. */
static void check_port(struct doctor *d, const struct config *config)
{
    char host[256];
    const char *colon = strrchr(config->listen, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    if (!colon) {
        finding(d, PROBLEM, "port", "--listen %s is no ADDR:PORT", config->listen);
        return;
    }
    bool bracket = config->listen[0] == '[' && colon > config->listen && colon[-1] == ']';
    snprintf(
        host, sizeof host, "%.*s", (int)(colon - config->listen) - 2 * bracket, config->listen + bracket);
    int e = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
    if (e) {
        finding(d, PROBLEM, "port", "%s: %s", config->listen, gai_strerror(e));
        return;
    }
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    int on = 1;
    if (fd >= 0)
        (void)!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0)
        finding(d, FACT, "port", "%s is free", config->listen);
    else
        finding(
            d, errno == EADDRINUSE ? WARNING : PROBLEM, "port", "%s: %s", config->listen, strerror(errno));
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
}

/* False where the store cannot be opened at all. */
static bool check_folder(struct doctor *d, const char *path)
{
    struct stat st;
    struct statvfs disk;
    if (stat(path, &st)) {
        finding(d, PROBLEM, "folder", "%s: %s", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        finding(d, PROBLEM, "folder", "%s is no folder", path);
        return false;
    }
    if (access(path, R_OK | W_OK | X_OK)) {
        finding(
            d, PROBLEM, "folder", "%s cannot be read and written by this user: %s", path, strerror(errno));
        return false;
    }
    finding(d, FACT, "folder", "%s can be read and written", path);
    if (st.st_mode & S_IWOTH)
        finding(d, WARNING, "folder", "%s can be written by every user of this machine", path);
    if (statvfs(path, &disk)) {
        finding(d, WARNING, "disk", "%s: %s", path, strerror(errno));
        return true;
    }
    unsigned long long space = (unsigned long long)disk.f_bavail * disk.f_frsize;
    finding(
        d, space < SPACE_LOW ? WARNING : FACT, "disk", "%.1f GiB free", (double)space / (1024.0 * LIMIT_MIB));
    return true;
}

/* --- a store -------------------------------------------------------------------------------------------- */

static void on_check(void *user, int severity, const char *collection, const char *text)
{
    enum severity s = severity <= 0 ? FACT : severity == 1 ? WARNING : PROBLEM;
    if (collection && *collection)
        finding(user, s, "store", "%s: %s", collection, text);
    else
        finding(user, s, "store", "%s", text);
}

/* Before anything else opens a collection. What is left is found again by check_store(), so it is not counted here. */
static void repair_store(struct doctor *d, const struct config *config)
{
    struct wiring *wiring = NULL;
    struct err err = {0};
    if (wiring_open(config, false, &wiring, &err)) /* check_store() will say why */
        return;
    unsigned problems = d->problems;
    enum result r = store_repair(wiring_store(wiring), d->drop_damaged, on_check, d, &err);
    d->problems = problems;
    if (r && r != ERR_CORRUPT)
        finding(d, PROBLEM, "repair", "%s", err.message);
    else
        finding(d, FACT, "repair", r ? "what could be mended is mended; what is left follows" : "all is whole");
    wiring_close(wiring);
}

static void check_store(struct doctor *d, const struct config *config)
{
    struct wiring *wiring = NULL;
    struct err err = {0};
    enum result r = wiring_open(config, false, &wiring, &err);
    if (r) {
        finding(d, PROBLEM, "store", "%s%s", err.message,
            r == ERR_BUSY ? "; stop it first, or ask it: lookalike doctor --server URL" : "");
        return;
    }
    unsigned before = d->problems;
    r = store_check(wiring_store(wiring), on_check, d, &err);
    if (r && d->problems == before)
        finding(d, PROBLEM, "store", "%s", err.message);
    else if (!r)
        finding(d, FACT, "store", "every record was read and is what was written");
    wiring_close(wiring);
}

static void check_model(struct doctor *d, const struct config *config)
{
    struct wiring *wiring = NULL;
    struct err err = {0};
    enum result r = wiring_open(config, true, &wiring, &err);
    if (r) {
        finding(d, PROBLEM, "model", "%s", err.message);
        return;
    }
    const struct embed_info *info = pipeline_model(wiring_pipeline(wiring));
    finding(d, FACT, "model", "%s, %u dimensions, %s on %s by %s %s; %s has the right sha256 %.12s…",
        info->manifest.name, info->manifest.dimension, info->precision, info->device, info->engine,
        info->engine_version, info->manifest.file, info->manifest.sha256);
    wiring_close(wiring);
}

static void check_data(struct doctor *d)
{
    struct config config = {0};
    struct err err = {0};
    if (config_load(&config, d->args.config_argc, d->args.config_argv, &err)) {
        finding(d, PROBLEM, "config", "%s", err.message);
        return;
    }
    check_cpu(d);
    check_port(d, &config);
    if (check_folder(d, config.data)) {
        unsigned before = d->problems;
        if (d->repair)
            repair_store(d, &config);
        check_store(d, &config);
        if (d->problems == before)
            check_model(d, &config);
        else
            finding(d, WARNING, "model", "not looked at, as the store has problems");
    }
    config_free(&config);
}

/* --- a server ------------------------------------------------------------------------------------------- */

/* GET `path`; false where there was no reply, which is then a finding. */
static bool get(
    struct doctor *d, struct http_client *client, const char *path, long *status, struct buf *body)
{
    struct err err = {0};
    struct http_client_request request = {.method = "GET", .path = path, .timeout_ms = 10000};
    buf_clear(body);
    if (http_client_send(client, &request, status, body, &err) == ERR_OK)
        return true;
    finding(d, PROBLEM, "server", "%s", err.message);
    return false;
}

static void copy_member(struct json_object *object, const char *name, char *out, size_t size)
{
    bool found = false;
    const char *text = NULL;
    size_t len;
    if (json_get_string(object, name, &found, &text, &len, NULL) == ERR_OK && found)
        snprintf(out, size, "%s", text);
}

static bool check_health(struct doctor *d, struct http_client *client)
{
    struct buf body;
    struct json_object *reply = NULL;
    char version[64] = "of unknown version", detail[512] = "";
    long status = 0;
    buf_init(&body, LIMIT_MIB);
    bool answers = get(d, client, "/healthz", &status, &body);
    if (answers && status != 200) {
        finding(d, PROBLEM, "server", "%s answers /healthz with status %ld; is it a lookalike server?",
            d->args.server, status);
        answers = false;
    }
    if (!answers)
        goto out;
    if (body.len && json_parse(body.data, body.len, &reply, NULL) == ERR_OK)
        copy_member(reply, "version", version, sizeof version);
    finding(d, FACT, "server", "%s is alive, lookalike %s; this program is %s", d->args.server, version,
        LOOKALIKE_VERSION);
    if (strcmp(version, LOOKALIKE_VERSION) != 0)
        finding(d, WARNING, "server", "server and program are of different versions");
    json_object_put(reply);
    reply = NULL;
    answers = get(d, client, "/readyz", &status, &body);
    if (answers && status == 200) {
        finding(d, FACT, "server", "ready");
    } else if (answers) {
        if (body.len && json_parse(body.data, body.len, &reply, NULL) == ERR_OK)
            copy_member(reply, "detail", detail, sizeof detail);
        finding(d, PROBLEM, "server", "not ready (status %ld) %s", status, detail);
    }
out:
    json_object_put(reply);
    buf_free(&body);
    return answers;
}

static void check_served_model(struct doctor *d, struct http_client *client, char *name, size_t size)
{
    struct buf body;
    struct json_object *reply = NULL;
    long status = 0;
    char engine[64] = "", precision[32] = "", device[64] = "";
    buf_init(&body, LIMIT_MIB);
    if (get(d, client, "/v1/models", &status, &body) && status == 200 && body.len &&
        json_parse(body.data, body.len, &reply, NULL) == ERR_OK) {
        struct json_object *models = json_member(reply, "models");
        struct json_object *model =
            json_object_is_type(models, json_type_array) && json_object_array_length(models) > 0
                ? json_object_array_get_idx(models, 0)
                : NULL;
        copy_member(model, "name", name, size);
        copy_member(model, "engine", engine, sizeof engine);
        copy_member(model, "precision", precision, sizeof precision);
        copy_member(model, "device", device, sizeof device);
    }
    if (*name)
        finding(d, FACT, "model", "%s, %s on %s by %s", name, precision, device, engine);
    else
        finding(d, PROBLEM, "model", "the server names no model (status %ld)", status);
    json_object_put(reply);
    buf_free(&body);
}

static void check_collections(struct doctor *d, const char *model)
{
    struct cli_target *target = NULL;
    struct cli_session *session = NULL;
    struct cli_collection_info *infos = NULL;
    struct err err = {0};
    size_t count = 0;
    enum result r = cli_target_open(&d->args, false, &target, &err);
    if (r == ERR_OK)
        r = cli_session_open(target, &session, &err);
    if (r == ERR_OK)
        r = cli_session_list(session, &infos, &count, &err);
    if (r)
        finding(d, PROBLEM, "collections", "%s", err.message);
    for (size_t i = 0; i < count; i++) {
        struct cli_collection_info c = {0};
        if (cli_session_stats(session, infos[i].name, &c, &err)) {
            finding(d, PROBLEM, "collections", "%s: %s", infos[i].name, err.message);
            continue;
        }
        if (c.damaged)
            finding(d, PROBLEM, "collections",
                "%s: %" PRIu64 " of %" PRIu64 " records are damaged; import their pictures again", c.name,
                c.damaged, c.count);
        else
            finding(d, FACT, "collections", "%s: %" PRIu64 " pictures of %" PRIu64 " items", c.name, c.count,
                c.items);
        if (*model && strcmp(c.model, model) != 0)
            finding(d, WARNING, "collections",
                "%s was made with the model %s, which is not loaded: it cannot be searched", c.name, c.model);
    }
    if (!r && !count)
        finding(d, FACT, "collections", "none yet");
    free(infos);
    cli_session_close(session);
    cli_target_close(target);
}

static void check_server(struct doctor *d)
{
    struct http_client *client = NULL;
    struct err err = {0};
    char model[128] = "";
    if (http_client_new(d->args.server, &client, &err)) {
        finding(d, PROBLEM, "server", "%s", err.message);
        return;
    }
    if (check_health(d, client)) {
        check_served_model(d, client, model, sizeof model);
        check_collections(d, model);
    }
    http_client_free(client);
}

int cli_doctor(int argc, char **argv)
{
    struct err err = {0};
    struct doctor *d = calloc(1, sizeof *d);
    if (!d) {
        err_no_memory(&err);
        return cli_fail(CLI_NOTHING, &err);
    }
    int status = CLI_DONE;
    const struct cli_flag flags[] = {{"--repair", NULL, &d->repair}, {"--drop-damaged", NULL, &d->drop_damaged}};
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &d->args, &err);
    if (r == ERR_OK && !d->args.help && d->args.positional_count)
        r = err_set(&err, ERR_INVALID, "doctor takes no arguments");
    if (r == ERR_OK && !d->args.help && d->repair && !d->args.data)
        r = err_set(&err, ERR_INVALID, "--repair works on the files: stop the server and give --data DIR");
    if (r == ERR_OK && !d->args.help && d->drop_damaged && !d->repair)
        r = err_set(&err, ERR_INVALID, "--drop-damaged goes with --repair");
    if (r) {
        status = cli_usage("doctor", &err);
    } else if (d->args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
    } else {
        if (d->args.data)
            check_data(d);
        else
            check_server(d);
        if (!d->args.json && !d->args.quiet)
            printf("%s\n", d->problems   ? "There are problems."
                           : d->warnings ? "Healthy, with warnings."
                                         : "Healthy.");
        status = d->problems ? CLI_SOME_FAILED : CLI_DONE;
    }
    free(d);
    return status;
}
