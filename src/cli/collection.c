/* `lookalike collection list|create|drop|stats`. */
#include "cli/cli.h"

#include "base/parse.h"
#include "cli/target.h"
#include "json/json.h"

#include <inttypes.h>
#include <unistd.h>

static const char help[] =
    "usage: lookalike collection list [FLAG…]\n"
    "       lookalike collection create NAME [--model MODEL] [--background none|subject|white|black] [--originals] [FLAG…]\n"
    "       lookalike collection stats NAME [FLAG…]\n"
    "       lookalike collection drop NAME [--yes] [FLAG…]\n\n"
    "  list             the collections and how many pictures each has\n"
    "  create           make an empty one\n"
    "  stats            what is in one, and what it takes\n"
    "  drop             delete one with all its pictures\n\n"
    "  --model          the model of a new one, which it keeps; `lookalike model list` names them\n"
    "  --background     what of its pictures is looked at; docs/models.md\n"
    "  --originals      keep the files as they come, not only thumbnails, so that another model can see them later\n"
    "  --yes            do not ask before dropping (asked on a terminal only)\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike collection create shop\n"
    "  lookalike collection list --json\n"
    "  lookalike collection drop shop --yes\n\n"
    "Exit status: 0 done, 2 wrong usage, 3 nothing done.\n";

struct collection {
    struct cli_args args;
    const char *verb, *name;
    struct cli_create how;
    bool yes;
};

/* --- output --------------------------------------------------------------------------------------------- */

static void print_json_text(const char *text)
{
    struct buf out;
    buf_init(&out, 8192);
    fputs(json_append_string(&out, text, strlen(text)) ? "null" : out.data, stdout);
    buf_free(&out);
}

static void print_json_info(const struct cli_collection_info *c, bool whole)
{
    printf("{\"name\":\"%s\",\"model\":", c->name);
    print_json_text(c->model);
    printf(",\"dimension\":%u,\"metric\":\"%s\",\"count\":%" PRIu64, c->dimension, c->metric, c->count);
    if (whole)
        printf(",\"items\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"thumbnails\":%s,\"originals\":%s,\"bytes\":{\"disk\":%" PRIu64
               ",\"memory\":%" PRIu64 "},\"index\":{\"state\":\"%s\",\"built\":%.4f,\"dead\":%" PRIu64
               ",\"bytes\":{\"memory\":%" PRIu64 "}},\"columns\":{\"bytes\":%" PRIu64 "}",
            c->items, c->damaged, c->thumbnails ? "true" : "false", c->originals ? "true" : "false", c->bytes_disk, c->bytes_memory, c->index,
            c->index_built, c->index_dead, c->index_bytes, c->columns_bytes);
    putchar('}');
}

static void print_bytes(const char *label, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t unit = 0;
    while (v >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        unit++;
    }
    printf("%-12s %.*f %s\n", label, unit ? 1 : 0, v, units[unit]);
}

static enum result list(const struct collection *c, struct cli_session *session, struct err *err)
{
    struct cli_collection_info *infos = NULL;
    size_t count = 0;
    int width = 4;
    enum result r = cli_session_list(session, &infos, &count, err);
    if (r)
        return r;
    if (c->args.json)
        fputs("{\"collections\":[", stdout);
    for (size_t i = 0; i < count; i++)
        width = (int)strlen(infos[i].name) > width ? (int)strlen(infos[i].name) : width;
    if (!c->args.json && count)
        printf("%-*s  %10s  %s\n", width, "name", "pictures", "model");
    for (size_t i = 0; i < count; i++) {
        if (c->args.json) {
            fputs(i ? "," : "", stdout);
            print_json_info(&infos[i], false);
        } else {
            printf("%-*s  %10" PRIu64 "  %s\n", width, infos[i].name, infos[i].count, infos[i].model);
        }
    }
    if (c->args.json)
        puts("]}");
    else if (!count && !c->args.quiet)
        fputs("There is no collection yet: `lookalike collection create NAME` makes one.\n", stderr);
    free(infos);
    return ERR_OK;
}

static enum result stats(const struct collection *c, struct cli_session *session, struct err *err)
{
    struct cli_collection_info info = {0};
    enum result r = cli_session_stats(session, c->name, &info, err);
    if (r)
        return r;
    if (c->args.json) {
        print_json_info(&info, true);
        putchar('\n');
        return ERR_OK;
    }
    printf("%-12s %s\n%-12s %s\n%-12s %u\n%-12s %s\n", "name", info.name, "model", info.model, "dimension",
        info.dimension, "metric", info.metric);
    printf("%-12s %" PRIu64 "\n%-12s %" PRIu64 "\n%-12s %" PRIu64 "\n%-12s %s\n%-12s %s\n", "pictures", info.count,
        "items", info.items, "damaged", info.damaged, "thumbnails", info.thumbnails ? "yes" : "no", "originals", info.originals ? "yes" : "no");
    print_bytes("on disk", info.bytes_disk);
    print_bytes("in memory", info.bytes_memory);
    if (info.index[0])
        printf("%-12s %s, %.0f %% linked, %" PRIu64 " dead rows\n", "index", info.index, 100 * info.index_built,
            info.index_dead);
    print_bytes("  of memory", info.index_bytes);
    print_bytes("for filters", info.columns_bytes);
    return ERR_OK;
}

/* --- create and drop ------------------------------------------------------------------------------------ */

static void done(const struct collection *c, const char *what)
{
    if (c->args.json)
        printf("{\"collection\":\"%s\",\"done\":\"%s\"}\n", c->name, what);
    else if (!c->args.quiet)
        printf("%s %s\n", what, c->name);
}

/* Ask on the terminal; dropping cannot be undone. Where there is none, nobody could answer: a script means
   it. */
static enum result confirm(const struct collection *c, struct cli_session *session, struct err *err)
{
    struct cli_collection_info info = {0};
    char answer[512] = "";
    enum result r = cli_session_stats(session, c->name, &info, err);
    if (r || c->yes || !isatty(STDIN_FILENO))
        return r;
    fprintf(stderr,
        "This deletes the collection %s with %" PRIu64 " pictures for good. Type its name to go on: ",
        c->name, info.count);
    if (!fgets(answer, sizeof answer, stdin))
        answer[0] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
    return strcmp(answer, c->name) == 0 ? ERR_OK : err_set(err, ERR_DENIED, "nothing was dropped");
}

static enum result work(const struct collection *c, struct cli_session *session, struct err *err)
{
    enum result r;
    if (strcmp(c->verb, "list") == 0)
        return list(c, session, err);
    if (strcmp(c->verb, "stats") == 0)
        return stats(c, session, err);
    if (strcmp(c->verb, "create") == 0) {
        r = cli_session_create(session, c->name, &c->how, err);
        if (r == ERR_OK)
            done(c, "created");
        return r;
    }
    r = confirm(c, session, err);
    if (r == ERR_OK)
        r = cli_session_drop(session, c->name, err);
    if (r == ERR_OK)
        done(c, "dropped");
    return r;
}

static enum result read_arguments(struct collection *c, int argc, char **argv, struct err *err)
{
    const struct cli_flag flags[] = {{"--yes", NULL, &c->yes}, {"--model", &c->how.model, NULL},
        {"--background", &c->how.background, NULL}, {"--originals", NULL, &c->how.originals}};
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &c->args, err);
    if (r || c->args.help)
        return r;
    c->verb = c->args.positional_count ? c->args.positional[0] : "";
    bool is_list = strcmp(c->verb, "list") == 0;
    if (!is_list && strcmp(c->verb, "create") != 0 && strcmp(c->verb, "drop") != 0 &&
        strcmp(c->verb, "stats") != 0)
        return err_set(err, ERR_INVALID, "collection needs one of list, create, drop and stats");
    if ((c->how.model || c->how.background || c->how.originals) && strcmp(c->verb, "create") != 0)
        return err_set(err, ERR_INVALID, "--model, --background and --originals belong to a new collection: collection create");
    if (c->args.positional_count != (is_list ? 1u : 2u))
        return err_set(err, ERR_INVALID,
            is_list ? "collection list takes no name" : "collection %s needs one name", c->verb);
    c->name = is_list ? NULL : c->args.positional[1];
    if (c->name && !parse_is_collection_name(c->name))
        return err_set(err, ERR_INVALID,
            "\"%.100s\" is no name of a collection: letters, digits and _ only, no digit in front", c->name);
    return ERR_OK;
}

int cli_collection(int argc, char **argv)
{
    struct err err = {0};
    struct collection c = {0};
    struct cli_target *target = NULL;
    struct cli_session *session = NULL;
    if (read_arguments(&c, argc, argv, &err))
        return cli_usage("collection", &err);
    if (c.args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
        return CLI_DONE;
    }
    /* Only a new collection has to know the model. */
    enum result r = cli_target_open(&c.args, strcmp(c.verb, "create") == 0, &target, &err);
    if (r == ERR_OK)
        r = cli_session_open(target, &session, &err);
    if (r == ERR_OK)
        r = work(&c, session, &err);
    cli_session_close(session);
    cli_target_close(target);
    return r ? cli_fail(CLI_NOTHING, &err) : CLI_DONE;
}
