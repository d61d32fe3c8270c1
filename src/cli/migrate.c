/*
 * `lookalike migrate`: collections from the embedded store into a Milvus, or back. The copying is store/migrate.h's;
 * here are the words. Both stores are opened by this process, so the server of the data folder must be stopped.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "cli/progress.h"
#include "json/json.h"
#include "server/config.h"
#include "server/wiring.h"
#include "store/migrate.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#define SAMPLE_DEFAULT 1000
#define SAMPLE_MAX 1000000

static const char help[] =
    "usage: lookalike migrate [COLLECTION…] --to milvus|embedded --data DIR --milvus-uri URI [FLAG…]\n\n"
    "Copies collections from the embedded store in DIR into a Milvus, or from there into DIR; all of them where none is\n"
    "named. Nothing is taken away from where they are. Stop the server of DIR first. A run that was interrupted goes on\n"
    "when it is started again: what is there already, in the same words, is left alone. In the end the numbers of records\n"
    "are compared, and a sample of them field by field.\n\n"
    "  --to WHERE       milvus or embedded\n"
    "  --sample N       records compared at the end [1000]\n"
    "  --verify         write nothing: compare every record\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike migrate --to milvus --data ./data --milvus-uri http://10.0.0.7:19530\n"
    "  lookalike migrate shop --to embedded --data ./data --milvus-uri http://10.0.0.7:19530\n"
    "  lookalike migrate shop --to milvus --data ./data --milvus-uri http://10.0.0.7:19530 --verify\n\n"
    "Exit status: 0 all there and equal, 1 something differs (it is named), 2 wrong usage, 3 not done, 130 interrupted.\n";

struct migrate {
    struct cli_args args;
    const char *to, *sample_text;
    bool verify;
    int64_t sample;
    struct cli_tally tally;
    struct cli_progress *progress;
    uint64_t before; /* records of the collections that are done */
    const char *collection;
    bool differs;
};

/* Set by the signal handler, which may do little else; looked at after each page. */
static atomic_bool stop_asked;

static void on_signal(int number)
{
    (void)number;
    if (atomic_exchange(&stop_asked, true))
        _exit(CLI_INTERRUPTED);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool on_progress(void *user, uint64_t done, uint64_t all)
{
    struct migrate *m = user;
    atomic_store(&m->tally.done, m->before + done);
    atomic_store(&m->tally.total, m->before + (all > done ? all : done));
    return !atomic_load(&stop_asked);
}

static void on_note(void *user, const char *text)
{
    struct migrate *m = user;
    struct buf out;
    buf_init(&out, 64 * 1024);
    if (m->args.json) {
        if (json_append_string(&out, text, strlen(text)) == ERR_OK)
            printf("{\"event\":\"note\",\"collection\":\"%s\",\"text\":%s}\n", m->collection, out.data);
    } else if (!m->args.quiet && cli_append_plain(&out, text, strlen(text)) == ERR_OK) {
        cli_progress_line(m->progress, out.data ? out.data : "");
    }
    buf_free(&out);
}

static void print_report(struct migrate *m, const struct store_migrate_report *p)
{
    bool equal = p->source == p->target && !p->extra && !p->different && !(m->verify && p->written);
    m->differs |= !equal;
    if (m->args.json) {
        printf("{\"event\":\"collection\",\"collection\":\"%s\",\"records\":%" PRIu64 ",\"written\":%" PRIu64 ",\"source\":%" PRIu64
               ",\"target\":%" PRIu64 ",\"extra\":%" PRIu64 ",\"sampled\":%" PRIu64 ",\"different\":%" PRIu64 ",\"equal\":%s}\n",
            m->collection, p->records, m->verify ? 0 : p->written, p->source, p->target, p->extra, p->sampled,
            m->verify ? p->written : p->different, equal ? "true" : "false");
        return;
    }
    if (m->args.quiet && equal)
        return;
    printf("%s: %" PRIu64 " records", m->collection, p->records);
    if (m->verify)
        printf(" compared, %" PRIu64 " of them missing or different in the target", p->written);
    else
        printf(", %" PRIu64 " written, %" PRIu64 " were there; %" PRIu64 " compared field by field, %" PRIu64 " differ", p->written,
            p->records - p->written, p->sampled, p->different);
    printf("; %" PRIu64 " here, %" PRIu64 " there", p->source, p->target);
    if (p->extra)
        printf(", %" PRIu64 " of them only there", p->extra);
    printf("%s\n", equal ? ": all equal" : "");
}

static enum result migrate_one(struct migrate *m, const struct config *config, struct store *from, struct store *to, struct err *err)
{
    struct store_migrate_report report;
    struct store_migrate what = {.from = from,
        .to = to,
        .collection = m->collection,
        .model = config->model,
        .sample = m->verify ? 0 : (uint32_t)m->sample,
        .only_compare = m->verify,
        .progress = on_progress,
        .note = on_note,
        .user = m};
    enum result r = store_migrate(&what, &report, err);
    m->before += report.records;
    if (!r)
        print_report(m, &report);
    return r;
}

static enum result migrate_all(struct migrate *m, const struct config *config, struct store *from, struct store *to, struct err *err)
{
    char **names = NULL;
    size_t count = m->args.positional_count;
    const char *const *list = m->args.positional;
    enum result r = ERR_OK;
    if (!count) {
        r = store_list(from, &names, &count, err);
        list = (const char *const *)names;
    }
    for (size_t i = 0; i < count && !r; i++) {
        m->collection = list[i];
        r = migrate_one(m, config, from, to, err);
    }
    free(names);
    return r;
}

static enum result run(struct migrate *m, struct err *err)
{
    struct config config = {0};
    struct store *embedded = NULL, *milvus = NULL;
    bool to_milvus = strcmp(m->to, "milvus") == 0;
    enum result r = config_load(&config, m->args.config_argc, m->args.config_argv, err);
    if (!r && !config.milvus_uri && !config.milvus_host)
        r = err_set(err, ERR_INVALID, "which Milvus? Give --milvus-uri http://HOST:PORT, or set MILVUS_HOST (and MILVUS_PORT)");
    if (!r)
        r = wiring_open_store(&config, "embedded", &embedded, err);
    if (!r)
        r = wiring_open_store(&config, "milvus", &milvus, err);
    if (!r)
        r = migrate_all(m, &config, to_milvus ? embedded : milvus, to_milvus ? milvus : embedded, err);
    store_close(embedded);
    store_close(milvus);
    config_free(&config);
    return r;
}

static enum result check_arguments(struct migrate *m, struct err *err)
{
    m->sample = SAMPLE_DEFAULT;
    if (!m->to || (strcmp(m->to, "milvus") != 0 && strcmp(m->to, "embedded") != 0))
        return err_set(err, ERR_INVALID, "migrate: say where to: --to milvus, or --to embedded");
    if (!m->args.data)
        return err_set(err, ERR_INVALID, "migrate needs --data DIR, the folder of the embedded store");
    return cli_args_number("--sample", m->sample_text, 0, SAMPLE_MAX, &m->sample, err);
}

int cli_migrate(int argc, char **argv)
{
    struct err err = {0};
    struct migrate *m = calloc(1, sizeof *m);
    if (!m) {
        err_no_memory(&err);
        return cli_fail(CLI_NOTHING, &err);
    }
    const struct cli_flag flags[] = {{"--to", &m->to, NULL}, {"--sample", &m->sample_text, NULL}, {"--verify", NULL, &m->verify}};
    int status = CLI_DONE;
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &m->args, &err);
    if (!r && !m->args.help)
        r = check_arguments(m, &err);
    if (r || m->args.help) {
        if (r)
            status = cli_usage(argv[0], &err);
        else
            printf("%s%s%s", help, cli_common_help, examples);
        free(m);
        return status;
    }
    catch_signals();
    r = cli_progress_start("records:", !m->args.quiet && !m->args.json, &m->tally, &m->progress, &err);
    if (!r)
        r = run(m, &err);
    cli_progress_stop(m->progress);
    if (r)
        status = cli_fail(atomic_load(&stop_asked) ? CLI_INTERRUPTED : CLI_NOTHING, &err);
    else if (m->differs)
        status = CLI_SOME_FAILED;
    free(m);
    return status;
}
