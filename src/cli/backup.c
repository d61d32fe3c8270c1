/*
 * `lookalike backup` and `lookalike restore`.
 *
 * Over a server both are jobs of it, and the folder is on its machine; with --data the store is opened here, with
 * the same functions behind it (store/backup.h).
 */
#include "cli/cli.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "cli/job.h"
#include "json/json.h"
#include "server/config.h"
#include "server/wiring.h"
#include "store/backup.h"

#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#define MIB ((uint64_t)1024 * 1024)

static const char backup_help[] =
    "usage: lookalike backup [DIR] [FLAG…]\n\n"
    "Copies every collection into DIR, each as it is at one moment; searches and writes go on. The next backup into\n"
    "the same DIR writes only what has changed since. Over a server DIR is on the server's machine, in the folder that\n"
    "`lookalike serve --backup-dir` names; without DIR it is that folder itself.\n\n"
    "  --verify         write nothing: read the backup in DIR and compare all of it with its sums\n";
static const char backup_examples[] =
    "\nexamples:\n"
    "  lookalike backup /var/backups/lookalike/daily\n"
    "  lookalike backup /mnt/disk/lookalike --data ./data\n"
    "  lookalike backup /mnt/disk/lookalike --verify\n\n"
    "Exit status: 0 done, 1 done, with damaged records (each is named), 2 wrong usage, 3 nothing done.\n";
static const char restore_help[] =
    "usage: lookalike restore DIR [COLLECTION] [FLAG…]\n\n"
    "Makes the collections of a backup, or one of them, anew in a store. Each is checked against its sums before it gets\n"
    "its name; other collections are left alone.\n\n"
    "  --as NAME        give the one collection another name\n"
    "  --replace        drop a collection of that name once the copy is complete; without it such a name is refused\n"
    "  --keys           with --data: the API keys as well, where the store has none\n";
static const char restore_examples[] =
    "\nexamples:\n"
    "  lookalike restore /mnt/disk/lookalike --data ./data\n"
    "  lookalike restore /var/backups/lookalike/daily shop --as shop_of_monday\n\n"
    "Exit status: 0 done, 2 wrong usage, 3 nothing done.\n";

struct keep {
    struct cli_args args;
    bool restore, verify, replace, with_keys;
    size_t keys;
    const char *folder, *collection, *as;
    struct cli_tally tally;
    struct cli_progress *progress;
    struct store_backup_report report;
};

/* --- with --data ------------------------------------------------------------------------------------------------ */

static bool on_progress(void *user, const char *collection, uint64_t done, uint64_t all)
{
    struct keep *k = user;
    (void)collection;
    atomic_store(&k->tally.done, done / MIB);
    atomic_store(&k->tally.total, all / MIB);
    return true;
}

static void print_note(struct keep *k, const char *text)
{
    struct buf out;
    buf_init(&out, 64 * 1024);
    if (k->args.json) {
        if (json_append_string(&out, text, strlen(text)) == ERR_OK)
            printf("{\"event\":\"note\",\"text\":%s}\n", out.data);
    } else if (cli_append_plain(&out, text, strlen(text)) == ERR_OK) {
        cli_progress_line(k->progress, out.data ? out.data : "");
    }
    buf_free(&out);
}

static void on_note(void *user, int severity, const char *collection, const char *text)
{
    char line[2048];
    (void)severity;
    snprintf(line, sizeof line, "%s%s%s", collection, *collection ? ": " : "", text);
    print_note(user, line);
}

/* Before anything is restored: keys that are there stay, and then nothing is done at all. */
static enum result check_no_keys(const char *data, struct err *err)
{
    size_t there = 0;
    enum result r = auth_backup_check(data, &there, err);
    if (r == ERR_OK && there)
        r = err_set(err, ERR_EXISTS, "%.300s has API keys already, and they stay as they are: restore without --keys", data);
    return r;
}

static enum result run_here(struct keep *k, struct err *err)
{
    struct config config = {0};
    struct wiring *wiring = NULL;
    struct store_backup_watch watch = {.progress = on_progress, .report = on_note, .user = k};
    if (k->verify) {
        enum result verified = store_backup_verify(k->folder, &watch, &k->report, err);
        return verified ? verified : auth_backup_check(k->folder, &k->keys, err);
    }
    enum result r = config_load(&config, k->args.config_argc, k->args.config_argv, err);
    if (r)
        return r;
    r = k->with_keys ? check_no_keys(config.data, err) : ERR_OK;
    if (!r)
        r = wiring_open(&config, false, &wiring, err);
    if (!r && k->restore) {
        struct store_restore what = {
            .folder = k->folder, .collection = k->collection, .as = k->as, .replace = k->replace};
        r = store_restore(wiring_store(wiring), &what, &watch, &k->report, err);
        if (!r && k->with_keys)
            r = auth_restore(k->folder, config.data, &k->keys, err);
    } else if (!r) {
        r = store_backup(wiring_store(wiring), k->folder, &watch, &k->report, err);
        if (!r)
            r = auth_backup(config.data, k->folder, &k->keys, err);
    }
    wiring_close(wiring);
    config_free(&config);
    return r;
}

/* --- over a server ---------------------------------------------------------------------------------------------- */

static enum result append_member(struct buf *b, const char *name, const char *text)
{
    if (!text)
        return ERR_OK;
    enum result r = buf_appendf(b, "%s\"%s\":", b->len > 1 ? "," : "", name);
    return r ? r : json_append_string(b, text, strlen(text));
}

/* A relative DIR means what it means for every command: from where the user stands. */
static const char *absolute(const char *path, char *out, size_t size)
{
    char here[PATH_MAX];
    if (!path || *path == '/' || !getcwd(here, sizeof here))
        return path;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    snprintf(out, size, "%s/%s", strcmp(here, "/") ? here : "", path);
    return out;
}

static uint64_t number_of(struct json_object *object, const char *name)
{
    bool found = false;
    int64_t v = 0;
    return !json_get_i64(object, name, &found, &v, NULL) && found && v > 0 ? (uint64_t)v : 0;
}

static void take_result(struct keep *k, struct json_object *result)
{
    k->keys = (size_t)number_of(result, "keys");
    const struct {
        const char *name;
        uint64_t *to;
    } all[] = {{"collections", &k->report.collections}, {"records", &k->report.records},
        {"damaged", &k->report.damaged}, {"files", &k->report.files}, {"bytes", &k->report.bytes},
        {"new_files", &k->report.new_files}, {"written", &k->report.written}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i].to = number_of(result, all[i].name);
    struct json_object *notes = json_member(result, "notes");
    for (size_t i = 0; json_object_is_type(notes, json_type_array) && i < json_object_array_length(notes); i++)
        print_note(k, json_object_get_string(json_object_array_get_idx(notes, i)));
}

static enum result run_there(struct keep *k, struct err *err)
{
    char path[2 * PATH_MAX];
    struct json_object *result = NULL;
    struct buf body;
    buf_init(&body, 64 * 1024);
    enum result r = buf_append_str(&body, "{");
    if (!r)
        r = append_member(&body, "folder", absolute(k->folder, path, sizeof path));
    if (!r)
        r = append_member(&body, "collection", k->collection);
    if (!r)
        r = append_member(&body, "as", k->as);
    if (!r && k->replace)
        r = buf_appendf(&body, "%s\"replace\":true", body.len > 1 ? "," : "");
    if (!r)
        r = buf_append_str(&body, "}");
    r = r ? err_set(err, ERR_INVALID, "a name is too long, or is no UTF-8")
          : cli_job_run(k->args.server, k->restore ? "/v1/restore" : "/v1/backup", body.data, MIB, &k->tally, &result, err);
    if (!r && result)
        take_result(k, result);
    json_object_put(result);
    buf_free(&body);
    return r;
}

/* --- the commands ----------------------------------------------------------------------------------------------- */

static void print_report(const struct keep *k)
{
    const struct store_backup_report *p = &k->report;
    if (k->args.json) {
        printf("{\"event\":\"summary\",\"collections\":%" PRIu64 ",\"records\":%" PRIu64 ",\"damaged\":%" PRIu64
               ",\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"new_files\":%" PRIu64 ",\"written\":%" PRIu64 ",\"keys\":%zu}\n",
            p->collections, p->records, p->damaged, p->files, p->bytes, p->new_files, p->written, k->keys);
        return;
    }
    if (k->args.quiet)
        return;
    printf("%" PRIu64 " collections, %" PRIu64 " records, %.1f MiB", p->collections, p->records,
        (double)p->bytes / (double)MIB);
    if (k->keys)
        printf(", %zu API keys", k->keys);
    if (k->verify)
        printf(": all as it was written\n");
    else if (k->restore)
        printf(" restored\n");
    else
        printf(" in %s; %" PRIu64 " of %" PRIu64 " files were new, %.1f MiB\n", k->folder ? k->folder : "the server's folder",
            p->new_files, p->files, (double)p->written / (double)MIB);
    if (p->damaged)
        printf("%" PRIu64 " records are damaged, in the store and so in the backup; see `lookalike doctor`\n", p->damaged);
}

static enum result check_arguments(struct keep *k, struct err *err)
{
    const struct cli_args *a = &k->args;
    if (a->positional_count > (k->restore ? 2u : 1u))
        return err_set(err, ERR_INVALID, "%s takes no more than %s", a->command, k->restore ? "DIR and COLLECTION" : "DIR");
    k->folder = a->positional_count ? a->positional[0] : NULL;
    k->collection = a->positional_count > 1 ? a->positional[1] : NULL;
    if (!k->folder && (k->restore || k->verify || a->data))
        return err_set(err, ERR_INVALID, "%s needs the folder of the backup", a->command);
    if (k->with_keys && (!a->data || k->collection))
        return err_set(err, ERR_INVALID, "--keys goes with --data and without a COLLECTION: keys are restored where nobody serves yet");
    if (k->as && !k->collection)
        return err_set(err, ERR_INVALID, "--as goes with one COLLECTION");
    return ERR_OK;
}

static int run(struct keep *k, struct err *err)
{
    enum result r = cli_progress_start("MiB copied:", !k->args.quiet && !k->args.json, &k->tally, &k->progress, err);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    r = k->args.data || k->verify ? run_here(k, err) : run_there(k, err);
    cli_progress_stop(k->progress);
    if (r)
        return cli_fail(CLI_NOTHING, err);
    print_report(k);
    return k->report.damaged ? CLI_SOME_FAILED : CLI_DONE;
}

static int keep_main(int argc, char **argv, bool restore)
{
    struct err err = {0};
    struct keep *k = calloc(1, sizeof *k);
    if (!k) {
        err_no_memory(&err);
        return cli_fail(CLI_NOTHING, &err);
    }
    k->restore = restore;
    const struct cli_flag backup_flags[] = {{"--verify", NULL, &k->verify}};
    const struct cli_flag restore_flags[] = {{"--as", &k->as, NULL}, {"--replace", NULL, &k->replace}, {"--keys", NULL, &k->with_keys}};
    int status = CLI_DONE;
    enum result r = cli_args_parse(
        argc, argv, restore ? restore_flags : backup_flags, restore ? 3 : 1, &k->args, &err);
    if (r == ERR_OK && !k->args.help)
        r = check_arguments(k, &err);
    if (r)
        status = cli_usage(argv[0], &err);
    else if (k->args.help)
        printf("%s%s%s", restore ? restore_help : backup_help, cli_common_help,
            restore ? restore_examples : backup_examples);
    else
        status = run(k, &err);
    free(k);
    return status;
}

int cli_backup(int argc, char **argv)
{
    return keep_main(argc, argv, false);
}

int cli_restore(int argc, char **argv)
{
    return keep_main(argc, argv, true);
}
