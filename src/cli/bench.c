/*
 * `lookalike bench`: how fast searches of a collection are answered, by one client and by several at once.
 *
 * A client is a thread with a session of its own that sends its next search when the last one was answered, so that
 * "several at once" shows what the server can do, and the latencies are those of a full server. The first answers of
 * each run are not counted: connections are opened then, and what was swapped or never touched is brought in.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/parse.h"
#include "cli/progress.h"
#include "cli/source.h"
#include "cli/target.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>

#define CLIENTS_MAX 256
#define QUERIES_MAX 1000
#define QUERIES_BYTES (256u * LIMIT_MIB) /* of pictures, which are all held in memory */
#define SAMPLES_MAX (1u << 20)           /* latencies kept of each client; beyond: only counted */
#define WARM_US 500000                   /* not counted at the start of a run */
#define BUSY_US 20000                    /* a client that was refused waits, as a client should */

static const char help[] =
    "usage: lookalike bench COLLECTION [IMAGE|FOLDER…] [FLAG…]\n\n"
    "Searches a collection for some seconds by one client, then by several at once, and says how many searches a second\n"
    "were answered and how long they took. With pictures the whole way is measured: decoding, the model, the search.\n"
    "Without, records of the collection are searched by: the search alone. Nothing is written.\n\n"
    "  --clients N      how many at once [8]\n"
    "  --seconds N      of each of the two runs [5]\n"
    "  --limit N        hits of each search [10]\n"
    "  --filter EXPR    only records that fit, see docs/filter.md\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike bench shop ~/photos\n"
    "  lookalike bench shop photo.jpg --clients 32 --seconds 20 --json\n"
    "  lookalike bench shop --filter 'brief[\"price\"] < 100'\n\n"
    "Exit status: 0 measured, 1 some searches failed, 2 wrong usage, 3 not measured.\n";

struct query {
    char *data; /* a picture's bytes; NULL: `fileid` */
    size_t len;
    int64_t fileid;
};

struct bench {
    struct cli_args args;
    const char *collection, *filter;
    int64_t clients, seconds, limit;
    struct query *queries;
    size_t query_count, bytes;
    struct cli_target *target;
    struct cli_tally tally;
};

/* What the clients of one run found. */
struct figures {
    uint64_t answered, refused, failed;
    double seconds;
    int64_t *us; /* ascending */
    size_t samples;
    struct err first; /* failure; code ERR_OK: none */
};

struct client {
    pthread_t thread;
    struct bench *bench;
    struct cli_session *session;
    size_t at; /* its next query */
    int64_t warm_us, end_us;
    struct figures found;
};

/* --- queries -------------------------------------------------------------------------------------------- */

static enum result add_query(struct bench *b, const struct query *query, struct err *err)
{
    if (!b->queries) {
        b->queries = calloc(QUERIES_MAX, sizeof *b->queries);
        if (!b->queries)
            return err_no_memory(err);
    }
    b->queries[b->query_count++] = *query;
    b->bytes += query->len;
    return ERR_OK;
}

static bool enough(const struct bench *b)
{
    return b->query_count == QUERIES_MAX || b->bytes >= QUERIES_BYTES;
}

static enum result add_picture(struct bench *b, const char *name, struct err *err)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_BODY);
    enum result r = cli_read_picture(name, &bytes, err);
    if (r == ERR_OK)
        r = add_query(b, &(struct query){.data = bytes.data, .len = bytes.len}, err);
    if (r)
        buf_free(&bytes);
    return r;
}

static enum result add_folder(struct bench *b, const char *name, struct err *err)
{
    struct cli_source *source = NULL;
    const struct cli_source_options options = {.item_from = CLI_ITEM_NONE};
    enum result r = cli_source_open(name, &options, &source, err);
    size_t before = b->query_count;
    while (r == ERR_OK && !enough(b)) {
        struct cli_record *record = NULL;
        r = cli_source_next(source, &record, err);
        if (r || !record)
            break;
        if (record->path && !record->problem)
            r = add_picture(b, record->path, err);
        cli_record_free(record);
    }
    cli_source_close(source);
    if (r == ERR_OK && b->query_count == before && !enough(b))
        return err_set(err, ERR_NOT_FOUND, "there is no picture in %.300s", name);
    return r;
}

/* The first records of the collection, where no picture is given. */
static enum result add_records(struct bench *b, struct err *err)
{
    struct cli_session *session = NULL;
    int64_t ids[QUERIES_MAX];
    size_t n = 0;
    bool more = true;
    enum result r = cli_session_open(b->target, &session, err);
    while (r == ERR_OK && more && n < QUERIES_MAX) {
        size_t got = 0;
        r = cli_session_fileids(
            session, b->collection, n == 0, n ? ids[n - 1] : 0, ids + n, QUERIES_MAX - n, &got, err);
        more = got > 0;
        n += r ? 0 : got;
    }
    cli_session_close(session);
    if (r == ERR_OK && n == 0)
        return err_set(err, ERR_NOT_FOUND, "collection \"%s\" is empty; there is nothing to search by", b->collection);
    for (size_t i = 0; r == ERR_OK && i < n; i++)
        r = add_query(b, &(struct query){.fileid = ids[i]}, err);
    return r;
}

static enum result gather(struct bench *b, struct err *err)
{
    enum result r = ERR_OK;
    for (size_t i = 1; r == ERR_OK && i < b->args.positional_count && !enough(b); i++) {
        struct stat st;
        const char *name = b->args.positional[i];
        r = stat(name, &st) == 0 && S_ISDIR(st.st_mode) ? add_folder(b, name, err) : add_picture(b, name, err);
    }
    return r || b->query_count ? r : add_records(b, err);
}

/* --- a run ---------------------------------------------------------------------------------------------- */

static enum result search_once(struct client *c, struct err *err)
{
    struct bench *b = c->bench;
    const struct query *q = &b->queries[c->at++ % b->query_count];
    struct cli_query query = {.limit = (uint32_t)b->limit, .group = true, .filter = b->filter};
    struct cli_hits hits = {0};
    if (q->data) {
        query.picture.data = q->data;
        query.picture.len = q->len;
    } else {
        query.has_fileid = true;
        query.fileid = q->fileid;
    }
    enum result r = cli_session_search(c->session, b->collection, &query, &hits, err);
    cli_hits_free(&hits);
    return r;
}

static void *run_client(void *arg)
{
    struct client *c = arg;
    struct figures *f = &c->found;
    for (;;) {
        struct err err = {0};
        int64_t begin = clock_now_us();
        if (begin >= c->end_us)
            return NULL;
        enum result r = search_once(c, &err);
        int64_t end = clock_now_us();
        if (r == ERR_BUSY) {
            f->refused += begin >= c->warm_us;
            struct timespec wait = {.tv_nsec = BUSY_US * 1000};
            nanosleep(&wait, NULL);
        } else if (r) {
            if (f->failed++ == 0)
                f->first = err;
            if (cli_session_lost(c->session))
                return NULL; /* the server is gone: others will say so too */
        } else if (begin >= c->warm_us && end <= c->end_us) {
            if (f->samples < SAMPLES_MAX)
                f->us[f->samples++] = end - begin;
            f->answered++;
            atomic_fetch_add(&c->bench->tally.done, 1);
        }
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Adds the clients' figures up. out->us is the caller's to free. */
static enum result add_up(const struct client *clients, size_t n, struct figures *out, struct err *err)
{
    size_t samples = 0;
    for (size_t i = 0; i < n; i++)
        samples += clients[i].found.samples;
    out->us = malloc((samples + 1) * sizeof *out->us);
    if (!out->us)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct figures *f = &clients[i].found;
        memcpy(out->us + out->samples, f->us, f->samples * sizeof *f->us);
        out->samples += f->samples;
        out->answered += f->answered;
        out->refused += f->refused;
        out->failed += f->failed;
        if (f->failed && out->first.code == ERR_OK)
            out->first = f->first;
    }
    qsort(out->us, out->samples, sizeof *out->us, ascending);
    return ERR_OK;
}

static enum result prepare(struct bench *b, struct client *c, size_t which, struct err *err)
{
    c->bench = b;
    c->at = which * 7919; /* a prime: clients do not ask the same at the same time */
    c->found.us = malloc(SAMPLES_MAX * sizeof *c->found.us);
    return c->found.us ? cli_session_open(b->target, &c->session, err) : err_no_memory(err);
}

static enum result measure(struct bench *b, size_t n, struct figures *out, struct err *err)
{
    struct client *clients = calloc(n, sizeof *clients);
    size_t started = 0;
    enum result r = clients ? ERR_OK : err_no_memory(err);
    for (size_t i = 0; r == ERR_OK && i < n; i++)
        r = prepare(b, &clients[i], i, err);
    int64_t warm = clock_now_us() + WARM_US, end = warm + b->seconds * 1000000;
    for (; r == ERR_OK && started < n; started++) {
        clients[started].warm_us = warm;
        clients[started].end_us = end;
        if (pthread_create(&clients[started].thread, NULL, run_client, &clients[started])) {
            r = err_set(err, ERR_IO, "cannot start %zu threads", n);
            break;
        }
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(clients[i].thread, NULL);
    out->seconds = (double)b->seconds;
    if (r == ERR_OK)
        r = add_up(clients, n, out, err);
    for (size_t i = 0; clients && i < n; i++) {
        cli_session_close(clients[i].session);
        free(clients[i].found.us);
    }
    free(clients);
    return r;
}

/* --- output --------------------------------------------------------------------------------------------- */

static double ms_at(const struct figures *f, double share)
{
    return f->samples ? (double)f->us[(size_t)((double)(f->samples - 1) * share)] / 1000 : 0;
}

static void print_json(size_t clients, const struct figures *f)
{
    printf("{\"clients\":%zu,\"searches_per_second\":%.2f,\"answered\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"failed\":%" PRIu64
           ",\"ms\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f}}",
        clients, (double)f->answered / f->seconds, f->answered, f->refused, f->failed, ms_at(f, 0.5), ms_at(f, 0.95),
        ms_at(f, 0.99), ms_at(f, 1));
}

static void print_row(size_t clients, const struct figures *f)
{
    printf("%7zu  %10.1f  %8.2f  %8.2f  %8.2f  %8.2f", clients, (double)f->answered / f->seconds, ms_at(f, 0.5),
        ms_at(f, 0.95), ms_at(f, 0.99), ms_at(f, 1));
    if (f->refused)
        printf("   %" PRIu64 " refused (busy)", f->refused);
    if (f->failed)
        printf("   %" PRIu64 " failed: %s", f->failed, f->first.message);
    putchar('\n');
}

static void report(const struct bench *b, const struct figures *alone, const struct figures *many)
{
    const char *by = b->queries[0].data ? "pictures" : "records";
    if (b->args.json) {
        printf("{\"queries\":%zu,\"by\":\"%s\",\"limit\":%" PRId64 ",\"seconds\":%" PRId64 ",\"runs\":[", b->query_count, by,
            b->limit, b->seconds);
        print_json(1, alone);
        putchar(',');
        print_json((size_t)b->clients, many);
        puts("]}");
        return;
    }
    printf("%s of %s, %" PRId64 " s each, %zu %s in turn, limit %" PRId64 "\n", b->collection, cli_target_name(b->target),
        b->seconds, b->query_count, by, b->limit);
    printf("%7s  %10s  %8s  %8s  %8s  %8s\n", "clients", "searches/s", "p50 ms", "p95 ms", "p99 ms", "max ms");
    print_row(1, alone);
    print_row((size_t)b->clients, many);
}

/* --- the command ---------------------------------------------------------------------------------------- */

static enum result read_arguments(struct bench *b, int argc, char **argv, struct err *err)
{
    const char *clients = NULL, *seconds = NULL, *limit = NULL;
    const struct cli_flag flags[] = {{"--clients", &clients, NULL}, {"--seconds", &seconds, NULL}, {"--limit", &limit, NULL},
        {"--filter", &b->filter, NULL}};
    b->clients = 8;
    b->seconds = 5;
    b->limit = 10;
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &b->args, err);
    if (r || b->args.help)
        return r;
    r = cli_args_number("--clients", clients, 1, CLIENTS_MAX, &b->clients, err);
    if (r == ERR_OK)
        r = cli_args_number("--seconds", seconds, 1, 3600, &b->seconds, err);
    if (r == ERR_OK)
        r = cli_args_number("--limit", limit, 1, LIMIT_WINDOW, &b->limit, err);
    if (r)
        return r;
    if (b->args.positional_count < 1)
        return err_set(err, ERR_INVALID, "bench needs a collection");
    b->collection = b->args.positional[0];
    if (!parse_is_collection_name(b->collection))
        return err_set(err, ERR_INVALID, "\"%.100s\" is no name of a collection", b->collection);
    return ERR_OK;
}

static enum result run(struct bench *b, struct figures *alone, struct figures *many, struct err *err)
{
    struct cli_progress *progress = NULL;
    enum result r = cli_target_open(&b->args, true, &b->target, err);
    if (r == ERR_OK)
        r = gather(b, err);
    if (r == ERR_OK)
        r = cli_progress_start("searching", !b->args.quiet, &b->tally, &progress, err);
    if (r == ERR_OK)
        r = measure(b, 1, alone, err);
    if (r == ERR_OK && alone->failed && !alone->answered)
        r = err_set(err, alone->first.code, "%s", alone->first.message); /* many at once would fail as well */
    if (r == ERR_OK)
        r = measure(b, (size_t)b->clients, many, err);
    cli_progress_stop(progress);
    return r;
}

int cli_bench(int argc, char **argv)
{
    struct err err = {0};
    struct bench b = {0};
    struct figures alone = {0}, many = {0};
    if (read_arguments(&b, argc, argv, &err))
        return cli_usage("bench", &err);
    if (b.args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
        return CLI_DONE;
    }
    enum result r = run(&b, &alone, &many, &err);
    if (r == ERR_OK)
        report(&b, &alone, &many);
    for (size_t i = 0; i < b.query_count; i++)
        free(b.queries[i].data);
    free(b.queries);
    free(alone.us);
    free(many.us);
    cli_target_close(b.target);
    if (r)
        return cli_fail(CLI_NOTHING, &err);
    return alone.failed || many.failed ? CLI_SOME_FAILED : CLI_DONE;
}
