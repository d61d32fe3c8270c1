/*
 * `lookalike import`: sources → records → sender → summary.
 *
 * This thread reads the sources, gives numbers and feeds the sender (sender.c), whose threads read the files
 * and send them. Nothing is lost: a record is acknowledged, or named as failed, or counted as not tried with
 * a word on how to go on. See docs/internals/cli.md.
 */
#include "cli/carry.h"
#include "cli/cli.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/limits.h"
#include "base/parse.h"
#include "cli/ids.h"
#include "cli/manifest.h"
#include "cli/progress.h"
#include "cli/sender.h"
#include "cli/source.h"
#include "json/json.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct import {
    struct cli_args args;
    int argc;
    char **argv;
    const char *collection;
    struct cli_source_options source_options;
    bool create, resume;
    unsigned jobs;
    size_t source_count;
    struct cli_source **sources;
    struct cli_manifest **manifests; /* of each source; NULL where there is none */
    struct cli_target *target;
    struct cli_idmap *ids, *present; /* present: NULL, or what the collection has */
    struct cli_tally tally;
    struct cli_progress *progress;
    struct cli_sender *sender;
    struct cli_sender_end end;
    uint64_t unread; /* records of the sources that were not taken because of a stop; 0 where not known */
    pthread_mutex_t output;
    int64_t start_ms;
};

/* Set by the signal handler, which may do little else. */
static atomic_bool stop_asked;
static atomic_llong stop_asked_ms;

/*
 * The first Ctrl-C ends the import in an orderly way, a second one at once. Programs that run others often
 * pass one Ctrl-C on twice, so the second one counts only half a second later.
 */
static void on_signal(int number)
{
    (void)number;
    long long now = (long long)clock_now_ms();
    if (!atomic_exchange(&stop_asked, true))
        atomic_store(&stop_asked_ms, now);
    else if (now - atomic_load(&stop_asked_ms) > 500)
        _exit(CLI_INTERRUPTED);
}

static void catch_signals(void)
{
    /* Without SA_RESTART: waiting for standard input has to end. */
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static const char help[] =
    "usage: lookalike import COLLECTION SOURCE… [FLAG…]\n\n"
    "Puts pictures into a collection. SOURCE is\n"
    "  a folder     every picture in it and in the folders below (jpg, png, webp, gif, avif, heic)\n"
    "  a .csv       a first line with the names of the columns, then a picture a line\n"
    "  a .jsonl     a JSON object a line\n"
    "  -            the same on standard input\n"
    "  a folder that `lookalike export` has written: its records as they are; over a server it must be in the server's --backup-dir\n"
    "Columns and members: path (relative to the file) or url; and where wanted fileid, itemid, tags (a JSON list, or\n"
    "separated by ;) and brief (a JSON object). All others go into brief. What has no fileid gets one made of its name,\n"
    "the same in every run.\n\n"
    "  --create         make the collection where it does not exist\n"
    "  --resume         leave out what an earlier run has imported and what has not changed since\n"
    "  --item-from HOW  which pictures show the same item: folder (pictures of one folder), name (shoe-1.jpg, shoe-2.jpg),\n"
    "                   none [none]\n"
    "  --url-column N   the column or member with the URL [url]\n"
    "  --jobs N         pictures under way at once [depends on the CPUs]\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike import shop ~/pictures --create\n"
    "  lookalike import shop ~/pictures --resume                  after Ctrl-C, or to add what is new\n"
    "  lookalike import shop products.csv --url-column image_link\n"
    "  generate | lookalike import shop - --json\n\n"
    "Exit status: 0 all imported, 1 some failed (each is named), 2 wrong usage, 3 nothing imported, 130 interrupted.\n";

/* --- giving numbers ------------------------------------------------------------------------------------- */

static enum result reserve_entry(
    void *user, const struct cli_manifest_entry *entry, uint64_t owner, struct err *err)
{
    return cli_idmap_reserve(user, entry->fileid, owner, err);
}

/* The record's fileid: its own, the one of an earlier run, or a free one near the hash of its name. */
static enum result give_number(struct import *im, size_t source, struct cli_record *record, struct err *err)
{
    const struct cli_manifest_entry *known =
        record->manifest ? cli_manifest_find(record->manifest, record->key) : NULL;
    uint64_t owner = cli_manifest_owner(cli_source_name(im->sources[source]), record->key);
    int64_t id = record->fileid;
    if (record->has_fileid)
        return cli_idmap_take(im->ids, id, owner, err);
    enum result r = cli_idmap_take_near(im->ids, known ? known->fileid : id, owner, &id, err);
    if (r)
        return r;
    /* Written down before it is used, so that no later run gives it to somebody else. */
    if (record->manifest && id != (known ? known->fileid : record->fileid))
        r = cli_manifest_assign(record->manifest, record->key, id, err);
    record->fileid = id;
    return r;
}

static bool is_unchanged(const struct import *im, const struct cli_record *record)
{
    const struct cli_manifest_entry *known =
        record->manifest ? cli_manifest_find(record->manifest, record->key) : NULL;
    return known && known->acknowledged && known->fileid == record->fileid && known->size == record->size &&
           known->mtime_ns == record->mtime_ns && known->metadata == record->metadata &&
           (!im->present || cli_idmap_has(im->present, record->fileid));
}

/* --- what people and programs read ---------------------------------------------------------------------- */

/* {"event":"failed","name":…,"reason":…}, or a line for people. */
static void report_failure(void *user, const struct cli_record *record, const char *reason)
{
    struct import *im = user;
    struct buf line;
    buf_init(&line, LIMIT_MIB);
    atomic_fetch_add(&im->tally.failed, 1);
    enum result r;
    if (im->args.json) {
        r = buf_append_str(&line, "{\"event\":\"failed\",\"name\":");
        if (r == ERR_OK)
            r = json_append_string(&line, record->name, strlen(record->name));
        if (r == ERR_OK && !record->problem)
            r = buf_appendf(&line, ",\"fileid\":%" PRId64, record->fileid);
        if (r == ERR_OK)
            r = buf_append_str(&line, ",\"reason\":");
        if (r == ERR_OK)
            r = json_append_string(&line, reason, strlen(reason));
        if (r == ERR_OK)
            r = buf_append_str(&line, "}\n");
    } else {
        r = buf_append_str(&line, "failed: ");
        if (r == ERR_OK)
            r = cli_append_plain(&line, record->name, strlen(record->name));
        if (r == ERR_OK)
            r = buf_append_str(&line, ": ");
        if (r == ERR_OK)
            r = cli_append_plain(&line, reason, strlen(reason));
    }
    pthread_mutex_lock(&im->output);
    if (r)
        cli_progress_line(im->progress, "failed: a picture whose name is too long to be shown");
    else if (im->args.json)
        fwrite(line.data, 1, line.len, stdout);
    else
        cli_progress_line(im->progress, line.data);
    pthread_mutex_unlock(&im->output);
    buf_free(&line);
}

static struct cli_source_counts add_counts(const struct import *im)
{
    struct cli_source_counts sum = {0};
    for (size_t i = 0; i < im->source_count; i++) {
        struct cli_source_counts c = cli_source_counts(im->sources[i]);
        sum.other += c.other;
        sum.hidden += c.hidden;
        sum.links += c.links;
    }
    return sum;
}

static void print_json_summary(const struct import *im, uint64_t done, uint64_t failed, double seconds)
{
    struct cli_source_counts c = add_counts(im);
    printf("{\"event\":\"summary\",\"collection\":\"%s\",\"imported\":%" PRIu64 ",\"failed\":%" PRIu64
           ",\"unchanged\":%llu,"
           "\"not_tried\":%" PRIu64 ",\"other_files\":%" PRIu64 ",\"hidden_files\":%" PRIu64
           ",\"seconds\":%.3f,\"per_second\":%.3f,"
           "\"interrupted\":%s,\"connection_lost\":%s}\n",
        im->collection, done, failed, atomic_load(&im->tally.skipped), im->end.not_tried + im->unread,
        c.other, c.hidden, seconds, seconds > 0 ? (double)done / seconds : 0,
        atomic_load(&stop_asked) ? "true" : "false", im->end.lost ? "true" : "false");
}

static void print_summary(const struct import *im)
{
    uint64_t done = atomic_load(&im->tally.done), failed = atomic_load(&im->tally.failed);
    uint64_t unchanged = atomic_load(&im->tally.skipped);
    double seconds = (double)(clock_now_ms() - im->start_ms) / 1000;
    struct cli_source_counts c = add_counts(im);
    if (im->args.json) {
        print_json_summary(im, done, failed, seconds);
        return;
    }
    if (im->args.quiet)
        return;
    printf("imported %" PRIu64 ", failed %" PRIu64, done, failed);
    if (unchanged)
        printf(", unchanged since the last run %" PRIu64, unchanged);
    if (c.other || c.hidden)
        printf(", no pictures %" PRIu64, c.other + c.hidden);
    printf("; %.1f s, %.1f a second\n", seconds, seconds > 0 ? (double)done / seconds : 0);
}

/* One argument as a shell wants it. */
static void print_quoted(const char *arg)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=./:,@%";
    if (*arg && strspn(arg, plain) == strlen(arg)) {
        fprintf(stderr, " %s", arg);
        return;
    }
    fputs(" '", stderr);
    for (; *arg; arg++)
        fputs(*arg == '\'' ? "'\\''" : (char[]){*arg, '\0'}, stderr);
    fputs("'", stderr);
}

/* What to type to go on. */
static void print_how_to_resume(const struct import *im)
{
    fputs("To go on where it stopped:\n  lookalike", stderr);
    for (int i = 0; i < im->argc; i++)
        if (strcmp(im->argv[i], "--resume") != 0)
            print_quoted(im->argv[i]);
    fputs(" --resume\n", stderr);
}

/* --- opening -------------------------------------------------------------------------------------------- */

static enum result open_sources(struct import *im, struct err *err)
{
    uint64_t total = 0;
    bool known = true;
    im->source_count = im->args.positional_count - 1;
    im->sources = calloc(im->source_count, sizeof *im->sources);
    im->manifests = calloc(im->source_count, sizeof *im->manifests);
    if (!im->sources || !im->manifests)
        return err_no_memory(err);
    for (size_t i = 0; i < im->source_count; i++) {
        const char *arg = im->args.positional[i + 1];
        enum result r = cli_source_open(arg, &im->source_options, &im->sources[i], err);
        if (r)
            return r;
        const char *name = cli_source_name(im->sources[i]);
        for (size_t j = 0; j < i; j++)
            if (strcmp(name, cli_source_name(im->sources[j])) == 0)
                return err_set(err, ERR_INVALID, "%.300s is named twice", arg);
        known = known && strcmp(name, "-") != 0;
        total += cli_source_total(im->sources[i]);
    }
    if (known && total == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no picture in %.300s%s", im->args.positional[1],
            im->source_count > 1 ? " and the others" : "");
    atomic_store(&im->tally.total, known ? total : 0);
    return ERR_OK;
}

/* Manifests are a convenience: where the folder for them cannot be written, the import still works. */
static enum result open_manifests(struct import *im, struct err *err)
{
    for (size_t i = 0; i < im->source_count; i++) {
        const char *name = cli_source_name(im->sources[i]);
        struct cli_manifest_place place = {cli_target_name(im->target), im->collection, name};
        struct err why = {0};
        if (strcmp(name, "-") == 0)
            continue;
        enum result r = cli_manifest_open(&place, &im->manifests[i], &why);
        if (r == ERR_BUSY || (r && im->resume))
            return err_set(
                err, r, "%.400s%s", why.message, r == ERR_BUSY ? "" : "; --resume is not possible");
        if (r && !im->args.quiet)
            fprintf(stderr, "lookalike: warning: %s; this import cannot be resumed\n", why.message);
        if (r == ERR_OK)
            r = cli_manifest_each(im->manifests[i], reserve_entry, im->ids, err);
        else
            r = ERR_OK;
        if (r)
            return r;
    }
    return ERR_OK;
}

static enum result forget_acknowledged(struct import *im, struct err *err)
{
    for (size_t i = 0; i < im->source_count; i++) {
        enum result r = ERR_OK;
        if (im->manifests[i] && cli_manifest_acknowledged(im->manifests[i]) > 0)
            r = cli_manifest_forget(im->manifests[i], err);
        if (r)
            return r;
    }
    return ERR_OK;
}

/* What the collection really has: some of what was acknowledged once was deleted since. */
static enum result load_present(struct import *im, struct cli_session *session, struct err *err)
{
    int64_t page[1000], after = 0;
    size_t n = 1;
    enum result r = cli_idmap_new(&im->present, err);
    for (bool start = true; r == ERR_OK && n > 0; start = false) {
        r = cli_session_fileids(
            session, im->collection, start, after, page, sizeof page / sizeof *page, &n, err);
        for (size_t i = 0; r == ERR_OK && i < n; i++)
            r = cli_idmap_reserve(im->present, after = page[i], 0, err);
    }
    return r;
}

/* The collection exists afterwards, and what the manifests say about it is true. */
static enum result prepare_collection(struct import *im, struct cli_session *session, struct err *err)
{
    struct cli_collection_info info = {0};
    enum result r = cli_session_stats(session, im->collection, &info, err);
    if (r == ERR_NOT_FOUND && !im->create)
        return err_set(err, r, "there is no collection \"%s\" in %s; make it with --create", im->collection,
            cli_target_name(im->target));
    if (r == ERR_NOT_FOUND) {
        r = cli_session_create(session, im->collection, NULL, err);
        if (r == ERR_EXISTS)
            r = cli_session_stats(session, im->collection, &info, err);
    }
    if (r)
        return r;
    if (info.count == 0)
        return forget_acknowledged(im, err);
    uint64_t acknowledged = 0;
    for (size_t i = 0; i < im->source_count; i++)
        acknowledged += im->manifests[i] ? cli_manifest_acknowledged(im->manifests[i]) : 0;
    return im->resume && info.count < acknowledged ? load_present(im, session, err) : ERR_OK;
}

static enum result open_target(struct import *im, struct err *err)
{
    struct cli_session *session = NULL;
    enum result r = cli_target_open(&im->args, true, &im->target, err);
    if (r == ERR_OK)
        r = cli_idmap_new(&im->ids, err);
    if (r == ERR_OK)
        r = open_manifests(im, err);
    if (r == ERR_OK)
        r = cli_session_open(im->target, &session, err);
    if (r == ERR_OK)
        r = prepare_collection(im, session, err);
    cli_session_close(session);
    return r;
}

/* --- the way of a record -------------------------------------------------------------------------------- */

static void sync_manifests(struct import *im)
{
    for (size_t i = 0; i < im->source_count; i++)
        if (im->manifests[i])
            (void)!cli_manifest_sync(im->manifests[i], NULL); /* its writes report what is wrong with it */
}

/* The record changes hands or is finished. ERR_UNAVAILABLE: the sender has stopped. */
static enum result feed_record(struct import *im, size_t source, struct cli_record *record, struct err *err)
{
    struct err why = {0};
    enum result r;
    record->manifest = im->manifests[source];
    if (!record->problem) {
        r = give_number(im, source, record, &why);
        if (r == ERR_NO_MEMORY) {
            cli_record_free(record);
            return err_no_memory(err);
        }
        if (r && cli_record_fail(record, &why, err)) {
            cli_record_free(record);
            return ERR_NO_MEMORY;
        }
    }
    if (record->problem || (im->resume && is_unchanged(im, record))) {
        if (record->problem)
            report_failure(im, record, record->problem);
        else
            atomic_fetch_add(&im->tally.skipped, 1);
        cli_record_free(record);
        return ERR_OK;
    }
    while ((r = cli_sender_push(im->sender, record, clock_now_ms() + 200)) == ERR_TIMEOUT)
        ;
    if (r)
        cli_record_free(record);
    return r;
}

static enum result feed(struct import *im, struct err *err)
{
    int64_t next_sync = clock_now_ms() + 1000;
    for (size_t i = 0; i < im->source_count; i++) {
        for (;;) {
            struct cli_record *record = NULL;
            if (cli_sender_stopped(im->sender))
                return ERR_OK;
            enum result r = cli_source_next(im->sources[i], &record, err);
            if (r == ERR_OK && !record)
                break;
            if (r == ERR_OK)
                r = feed_record(im, i, record, err);
            if (r)
                return r == ERR_UNAVAILABLE || atomic_load(&stop_asked) ? ERR_OK : r;
            if (clock_passed(next_sync)) {
                sync_manifests(im);
                next_sync = clock_now_ms() + 1000;
            }
        }
    }
    return ERR_OK;
}

static enum result run(struct import *im, struct err *err)
{
    struct cli_sender_options options = {.target = im->target,
        .collection = im->collection,
        .jobs = im->jobs,
        .tally = &im->tally,
        .stop = &stop_asked,
        .failed = report_failure,
        .user = im};
    bool shown = !im->args.quiet && (!im->args.json || isatty(STDERR_FILENO));
    enum result r = cli_progress_start("imported", shown, &im->tally, &im->progress, err);
    if (r == ERR_OK)
        r = cli_sender_start(&options, &im->sender, err);
    if (r == ERR_OK) {
        r = feed(im, err);
        cli_sender_finish(im->sender, &im->end);
        sync_manifests(im);
    }
    uint64_t total = atomic_load(&im->tally.total),
             over = atomic_load(&im->tally.done) + atomic_load(&im->tally.failed) +
                    atomic_load(&im->tally.skipped) + im->end.not_tried;
    im->unread = total > over ? total - over : 0;
    cli_progress_stop(im->progress);
    im->progress = NULL;
    return r;
}

/* After run(): say how it went. `failed` is what ended the reading of the sources, or NULL. */
static int conclude(const struct import *im, const struct err *failed)
{
    uint64_t done = atomic_load(&im->tally.done) + atomic_load(&im->tally.skipped);
    bool interrupted = atomic_load(&stop_asked);
    print_summary(im);
    fflush(stdout);
    if (im->end.manifest.code && !im->args.quiet)
        fprintf(stderr, "lookalike: warning: %s; what --resume would leave out is not complete\n",
            im->end.manifest.message);
    if (failed)
        cli_fail(CLI_NOTHING, failed);
    if (im->end.lost)
        fprintf(stderr,
            "lookalike: the connection to %s was lost and did not come back (%s); %" PRIu64
            " pictures were not tried\n",
            cli_target_name(im->target), im->end.why.message, im->end.not_tried + im->unread);
    else if (interrupted)
        fprintf(stderr, "lookalike: interrupted; %" PRIu64 " pictures were not tried\n",
            im->end.not_tried + im->unread);
    if ((im->end.lost || interrupted) && !im->args.quiet)
        print_how_to_resume(im);
    if (interrupted)
        return CLI_INTERRUPTED;
    if (!failed && !im->end.lost && atomic_load(&im->tally.failed) == 0)
        return CLI_DONE;
    return done ? CLI_SOME_FAILED : CLI_NOTHING;
}

static void release(struct import *im)
{
    for (size_t i = 0; i < im->source_count; i++) {
        if (im->manifests)
            cli_manifest_close(im->manifests[i]);
        if (im->sources)
            cli_source_close(im->sources[i]);
    }
    free(im->manifests);
    free(im->sources);
    cli_idmap_free(im->ids);
    cli_idmap_free(im->present);
    cli_target_close(im->target);
    pthread_mutex_destroy(&im->output);
    free(im);
}

/* Flags and arguments; ERR_INVALID: wrong usage. */
static enum result read_arguments(struct import *im, int argc, char **argv, struct err *err)
{
    const char *item_from = NULL, *jobs_text = NULL;
    const struct cli_flag flags[] = {{"--create", NULL, &im->create}, {"--resume", NULL, &im->resume},
        {"--item-from", &item_from, NULL}, {"--url-column", &im->source_options.url_column, NULL},
        {"--jobs", &jobs_text, NULL}};
    int64_t jobs = 2 * (int64_t)cpu_count() + 12; /* enough that the engine's batches stay full */
    if (jobs > LIMIT_IMPORT_JOBS)
        jobs = LIMIT_IMPORT_JOBS;
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &im->args, err);
    if (r || im->args.help)
        return r;
    r = cli_args_number("--jobs", jobs_text, 1, LIMIT_IMPORT_JOBS, &jobs, err);
    if (r == ERR_OK && item_from)
        r = cli_item_from_parse(item_from, &im->source_options.item_from, err);
    if (r)
        return r;
    im->jobs = (unsigned)jobs;
    if (im->args.positional_count < 2)
        return err_set(err, ERR_INVALID, "import needs a collection and at least one source");
    im->collection = im->args.positional[0];
    if (!parse_is_collection_name(im->collection))
        return err_set(err, ERR_INVALID,
            "\"%.100s\" is no name of a collection: letters, digits and _ only, no digit in front",
            im->collection);
    if (im->args.positional_count > 2)
        for (size_t i = 1; i < im->args.positional_count; i++)
            if (cli_is_export(im->args.positional[i]))
                return err_set(err, ERR_INVALID, "%.300s is an export, which is imported by itself", im->args.positional[i]);
    for (size_t i = 1; im->resume && i < im->args.positional_count; i++)
        if (strcmp(im->args.positional[i], "-") == 0)
            return err_set(err, ERR_INVALID,
                "--resume is not possible for standard input: nothing tells two inputs apart");
    return ERR_OK;
}

int cli_import(int argc, char **argv)
{
    struct err err = {0};
    struct import *im = calloc(1, sizeof *im);
    if (!im) {
        err_no_memory(&err);
        return cli_fail(CLI_NOTHING, &err);
    }
    pthread_mutex_init(&im->output, NULL);
    im->argc = argc;
    im->argv = argv;
    im->start_ms = clock_now_ms();
    int status = CLI_DONE;
    enum result r = read_arguments(im, argc, argv, &err);
    if (r) {
        status = cli_usage("import", &err);
    } else if (im->args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
    } else if (im->args.positional_count == 2 && cli_is_export(im->args.positional[1])) {
        status = cli_import_export(&im->args, im->collection, im->args.positional[1], &err);
    } else {
        catch_signals();
        r = open_sources(im, &err);
        if (r == ERR_OK)
            r = open_target(im, &err);
        if (r) {
            status = cli_fail(CLI_NOTHING, &err);
        } else {
            im->start_ms = clock_now_ms();
            r = run(im, &err);
            status = conclude(im, r ? &err : NULL);
        }
    }
    release(im);
    return status;
}
