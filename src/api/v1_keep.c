/*
 * /v1/backup, /v1/restore, /v1/export and /v1/import: jobs, because they may take longer than a request.
 *
 * A request names a folder of the server's disk. It may lie in --backup-dir and below, nowhere else: otherwise
 * whoever can reach the API could write where the server's user can.
 */
#include "api/params.h"
#include "api/route.h"
#include "base/parse.h"
#include "json/json.h"
#include "pipeline/keep.h"

#include <inttypes.h>

#define NOTES_MAX (64 * LIMIT_KIB) /* of a job's result */

enum keep_what { BACKUP, RESTORE, EXPORT, IMPORT };
static const char *const kinds[] = {[BACKUP] = "backup", [RESTORE] = "restore", [EXPORT] = "export", [IMPORT] = "import"};

struct keep {
    struct store *store;
    const char *keys; /* the folder with the keys; NULL: there is none */
    struct job *job;
    enum keep_what what;
    bool replace;
    char folder[LIMIT_BACKUP_PATH + 1];
    char collection[LIMIT_COLLECTION_NAME + 1], as[LIMIT_COLLECTION_NAME + 1];
    struct buf notes; /* JSON strings, separated by commas */
};

/* --- the job ---------------------------------------------------------------------------------------------------- */

static bool on_progress(void *user, const char *collection, uint64_t done, uint64_t all)
{
    struct keep *k = user;
    job_progress(k->job, done, all);
    job_message(k->job, "%s %.200s", k->what == RESTORE ? "restoring" : "copying", collection);
    return !job_cancelled(k->job);
}

static void on_note(void *user, int severity, const char *collection, const char *text)
{
    struct keep *k = user;
    char line[ERR_MESSAGE_MAX + LIMIT_COLLECTION_NAME + 4];
    (void)severity;
    snprintf(line, sizeof line, "%s%s%s", collection, *collection ? ": " : "", text);
    struct buf one; /* so that a note that does not fit is left out whole */
    buf_init(&one, NOTES_MAX);
    if (buf_append_str(&one, k->notes.len ? "," : "") == ERR_OK &&
        json_append_string(&one, line, strlen(line)) == ERR_OK && buf_append(&k->notes, one.data, one.len)) {
        /* full: the first notes are enough to know */
    }
    buf_free(&one);
}

static bool on_records(void *user, uint64_t done, uint64_t all)
{
    struct keep *k = user;
    job_progress(k->job, done, all);
    return !job_cancelled(k->job);
}

static enum result run_carry(struct keep *k, struct buf *result, struct err *err)
{
    struct carry_report report = {0};
    struct carry_watch watch = {.progress = on_records, .user = k};
    enum result r = k->what == EXPORT
                        ? carry_export(k->store, k->collection, k->folder, k->replace, &watch, &report, err)
                        : carry_import(k->store, k->folder, k->as[0] ? k->as : NULL, &watch, &report, err);
    if (r)
        return r;
    r = buf_append_str(result, "{\"folder\":");
    if (r == ERR_OK)
        r = json_append_string(result, k->folder, strlen(k->folder));
    if (r == ERR_OK)
        r = buf_appendf(result, ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", report.records, report.bytes);
    return r ? err_set(err, r, "the result of the job is too large") : ERR_OK;
}

static enum result run(struct job *job, void *user, struct buf *result, struct err *err)
{
    struct keep *k = user;
    struct store_backup_report report;
    size_t keys = 0;
    struct store_backup_watch watch = {.progress = on_progress, .report = on_note, .user = k};
    struct store_restore what = {.folder = k->folder,
        .collection = k->collection[0] ? k->collection : NULL,
        .as = k->as[0] ? k->as : NULL,
        .replace = k->replace};
    k->job = job;
    if (k->what == EXPORT || k->what == IMPORT)
        return run_carry(k, result, err);
    enum result r = k->what == RESTORE ? store_restore(k->store, &what, &watch, &report, err)
                                       : store_backup(k->store, k->folder, &watch, &report, err);
    if (r == ERR_OK && k->what == BACKUP && k->keys)
        r = auth_backup(k->keys, k->folder, &keys, err);
    if (r)
        return r;
    r = buf_appendf(result, "{\"keys\":%zu,\"folder\":", keys);
    if (r == ERR_OK)
        r = json_append_string(result, k->folder, strlen(k->folder));
    if (r == ERR_OK)
        r = buf_appendf(result,
            ",\"collections\":%" PRIu64 ",\"records\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"files\":%" PRIu64
            ",\"bytes\":%" PRIu64 ",\"new_files\":%" PRIu64 ",\"written\":%" PRIu64 ",\"notes\":[%s]}",
            report.collections, report.records, report.damaged, report.files, report.bytes, report.new_files,
            report.written, k->notes.len ? k->notes.data : "");
    return r ? err_set(err, r, "the result of the job is too large") : ERR_OK;
}

static void release(void *user)
{
    struct keep *k = user;
    buf_free(&k->notes);
    free(k);
}

/* --- the request ------------------------------------------------------------------------------------------------ */

static bool has_parent_part(const char *path)
{
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return true;
    }
    return false;
}

static enum result set_folder(struct keep *k, const char *root, const char *given, struct err *err)
{
    size_t n = root ? strlen(root) : 0;
    if (!root)
        return err_set(err, ERR_DENIED,
            "this server makes no backups by request: start it with --backup-dir DIR, or stop it and use `lookalike "
            "backup DIR --data DATA`");
    while (n > 1 && root[n - 1] == '/')
        n--;
    bool absolute = given && given[0] == '/';
    bool inside = absolute && strncmp(given, root, n) == 0 && (given[n] == '/' || given[n] == '\0');
    if (given && (has_parent_part(given) || (absolute && !inside)))
        return err_set_field(err, ERR_DENIED, "folder",
            "%.150s is not in the folder that this server may use for backups, which is %.150s", given, root);
    int len = absolute ? snprintf(k->folder, sizeof k->folder, "%s", given)
                       : snprintf(k->folder, sizeof k->folder, "%.*s%s%s", (int)n, root, given && *given ? "/" : "",
                             given ? given : "");
    if (len < 0 || (size_t)len >= sizeof k->folder)
        return err_set_field(
            err, ERR_INVALID, "folder", "the path of a backup has at most %d bytes", LIMIT_BACKUP_PATH);
    return ERR_OK;
}

static enum result take_name(struct params *params, const char *name, char *out, size_t size, struct err *err)
{
    bool found = false;
    const char *text = NULL;
    enum result r = params_string(params, name, &found, &text, err);
    if (r || !found)
        return r;
    if (!parse_is_collection_name(text))
        return err_set_field(err, ERR_INVALID, name, "\"%.100s\" is no collection's name", text);
    snprintf(out, size, "%s", text);
    return ERR_OK;
}

static enum result read_request(struct route_call *call, struct keep *k, struct err *err)
{
    struct params params;
    bool found = false;
    const char *folder = NULL;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = params_string(&params, "folder", &found, &folder, err);
    if (r == ERR_OK)
        r = set_folder(k, pipeline_backup_folder(call->pipeline), found ? folder : NULL, err);
    if (r == ERR_OK && (k->what == RESTORE || k->what == EXPORT))
        r = take_name(&params, "collection", k->collection, sizeof k->collection, err);
    if (r == ERR_OK && k->what == EXPORT && !k->collection[0])
        r = err_set_field(err, ERR_INVALID, "collection", "say which collection is to be exported");
    if (r == ERR_OK && (k->what == RESTORE || k->what == IMPORT))
        r = take_name(&params, "as", k->as, sizeof k->as, err);
    if (r == ERR_OK && (k->what == RESTORE || k->what == EXPORT))
        r = params_bool(&params, "replace", &found, &k->replace, err);
    params_free(&params);
    return r;
}

static enum result start(struct route_call *call, enum keep_what what, struct err *err)
{
    struct keep *k = calloc(1, sizeof *k);
    if (!k)
        return err_no_memory(err);
    k->store = pipeline_store(call->pipeline);
    k->what = what;
    k->keys = call->api->options.auth ? auth_folder(call->api->options.auth) : NULL;
    buf_init(&k->notes, NOTES_MAX);
    struct job_work work = {.kind = kinds[what], .run = run, .release = release, .user = k};
    enum result r = read_request(call, k, err);
    if (r) {
        release(k);
        return r;
    }
    return v1_job_begin(call, &work, err);
}

enum result v1_backup(struct route_call *call, struct err *err)
{
    return start(call, BACKUP, err);
}

enum result v1_restore(struct route_call *call, struct err *err)
{
    return start(call, RESTORE, err);
}

enum result v1_export(struct route_call *call, struct err *err)
{
    return start(call, EXPORT, err);
}

enum result v1_import(struct route_call *call, struct err *err)
{
    return start(call, IMPORT, err);
}
