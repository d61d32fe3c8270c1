/* `lookalike search`. */
#include "cli/cli.h"

#include "base/limits.h"
#include "base/parse.h"
#include "cli/target.h"
#include "json/json.h"

#include <inttypes.h>
#include <strings.h>

static const char help[] =
    "usage: lookalike search COLLECTION IMAGE|URL [FLAG…]\n"
    "       lookalike search COLLECTION --fileid N [FLAG…]\n\n"
    "Shows the most similar pictures, the nearest first; of the pictures of one item only the nearest.\n"
    "IMAGE is a file, - is a picture on standard input.\n\n"
    "  --fileid N       what is like this record of the collection; it is the first hit itself\n"
    "  --limit N        how many [10]\n"
    "  --offset N       leave out the first N [0]\n"
    "  --all            every picture, not one for each item\n"
    "  --filter EXPR    only records that fit: 'brief[\"price\"] < 100', see docs/filter.md\n";
static const char examples[] =
    "\nexamples:\n"
    "  lookalike search shop photo.jpg\n"
    "  lookalike search shop https://example.org/photo.jpg --limit 3 --json\n"
    "  lookalike search shop photo.jpg --data ./data\n"
    "  lookalike search shop --fileid 42 --filter 'fileid != 42'\n\n"
    "Exit status: 0 searched, 2 wrong usage, 3 not searched.\n";

struct search {
    struct cli_args args;
    const char *collection, *picture, *fileid, *filter;
    bool all;
    int64_t limit, offset, record; /* record: of --fileid */
};

static bool is_url(const char *text)
{
    return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0;
}

/* --- output --------------------------------------------------------------------------------------------- */

static enum result append_json_hit(struct buf *out, const struct cli_hit *hit)
{
    enum result r = buf_appendf(out,
        "{\"fileid\":%" PRId64 ",\"itemid\":%" PRId64 ",\"tags\":%s,\"brief\":%s,\"distance\":", hit->fileid,
        hit->itemid, hit->tags, hit->brief);
    if (r == ERR_OK)
        r = json_append_float(out, hit->distance);
    return r ? r : buf_append_str(out, "}");
}

static enum result print_json(const struct cli_hits *hits, struct err *err)
{
    struct buf out;
    buf_init(&out, 2 * LIMIT_BRIEF_BYTES + LIMIT_MIB);
    fputs("{\"hits\":[", stdout);
    for (size_t i = 0; i < hits->count; i++) {
        buf_clear(&out);
        enum result r = append_json_hit(&out, &hits->items[i]);
        if (r) {
            buf_free(&out);
            return err_set(err, r, "a hit is too large to be shown");
        }
        printf("%s%s", i ? "," : "", out.data);
    }
    puts("]}");
    buf_free(&out);
    return ERR_OK;
}

/* What tells a person which picture this is: brief.path, else the tags and the start of brief. */
static enum result append_words(struct buf *out, const struct cli_hit *hit)
{
    struct json_object *brief = NULL;
    const char *path = NULL;
    size_t len = 0;
    bool found = false;
    enum result r = ERR_OK;
    if (json_parse(hit->brief, strlen(hit->brief), &brief, NULL) == ERR_OK &&
        json_get_string(brief, "path", &found, &path, &len, NULL) == ERR_OK && found) {
        r = cli_append_plain(out, path, len);
    } else {
        bool tags = strcmp(hit->tags, "[]") != 0, words = strcmp(hit->brief, "{}") != 0;
        size_t n = strlen(hit->brief), most = 80;
        while (n > most && ((unsigned char)hit->brief[most] & 0xc0) == 0x80)
            most--; /* not in the middle of a character */
        if (tags)
            r = cli_append_plain(out, hit->tags, strlen(hit->tags));
        if (r == ERR_OK && tags && words)
            r = buf_append_str(out, " ");
        if (r == ERR_OK && words)
            r = cli_append_plain(out, hit->brief, n < most ? n : most);
        if (r == ERR_OK && words && n > most)
            r = buf_append_str(out, "…");
    }
    json_object_put(brief);
    return r;
}

static int digits_of(int64_t v)
{
    return snprintf(NULL, 0, "%" PRId64, v);
}

static enum result print_table(const struct cli_hits *hits, int64_t offset, struct err *err)
{
    int file_width = 6, item_width = 6;
    struct buf words;
    buf_init(&words, LIMIT_MIB);
    for (size_t i = 0; i < hits->count; i++) {
        int f = digits_of(hits->items[i].fileid), n = digits_of(hits->items[i].itemid);
        file_width = f > file_width ? f : file_width;
        item_width = n > item_width ? n : item_width;
    }
    printf("%4s  %10s  %*s  %*s  %s\n", "rank", "distance", file_width, "fileid", item_width, "itemid",
        "picture");
    for (size_t i = 0; i < hits->count; i++) {
        const struct cli_hit *hit = &hits->items[i];
        buf_clear(&words);
        enum result r = append_words(&words, hit);
        if (r) {
            buf_free(&words);
            return err_set(err, r, "a hit is too large to be shown");
        }
        printf("%4" PRId64 "  %10.6f  %*" PRId64 "  %*" PRId64 "  %s\n", offset + (int64_t)i + 1,
            (double)hit->distance, file_width, hit->fileid, item_width, hit->itemid,
            words.data ? words.data : "");
    }
    buf_free(&words);
    return ERR_OK;
}

/* --- the command ---------------------------------------------------------------------------------------- */

static enum result read_arguments(struct search *s, int argc, char **argv, struct err *err)
{
    const char *limit = NULL, *offset = NULL;
    const struct cli_flag flags[] = {{"--limit", &limit, NULL}, {"--offset", &offset, NULL},
        {"--filter", &s->filter, NULL}, {"--fileid", &s->fileid, NULL}, {"--all", NULL, &s->all}};
    s->limit = 10;
    enum result r = cli_args_parse(argc, argv, flags, sizeof flags / sizeof *flags, &s->args, err);
    if (r || s->args.help)
        return r;
    r = cli_args_number("--fileid", s->fileid, INT64_MIN, INT64_MAX, &s->record, err);
    if (r == ERR_OK)
        r = cli_args_number("--limit", limit, 1, LIMIT_WINDOW, &s->limit, err);
    if (r == ERR_OK)
        r = cli_args_number("--offset", offset, 0, LIMIT_WINDOW - 1, &s->offset, err);
    if (r)
        return r;
    if (s->limit + s->offset > LIMIT_WINDOW)
        return err_set(err, ERR_INVALID, "--limit and --offset together must be at most %d", LIMIT_WINDOW);
    if (s->args.positional_count != (s->fileid ? 1u : 2u))
        return err_set(err, ERR_INVALID, s->fileid ? "search --fileid needs a collection and no picture"
                                                   : "search needs a collection and one picture, or --fileid");
    s->collection = s->args.positional[0];
    s->picture = s->fileid ? NULL : s->args.positional[1];
    if (!parse_is_collection_name(s->collection))
        return err_set(err, ERR_INVALID, "\"%.100s\" is no name of a collection", s->collection);
    return ERR_OK;
}

static enum result search(const struct search *s, struct cli_hits *hits, struct err *err)
{
    struct cli_target *target = NULL;
    struct cli_session *session = NULL;
    struct buf picture;
    buf_init(&picture, LIMIT_BODY);
    struct cli_query query = {
        .limit = (uint32_t)s->limit, .offset = (uint32_t)s->offset, .group = !s->all, .filter = s->filter};
    enum result r = ERR_OK;
    if (s->fileid) {
        query.has_fileid = true;
        query.fileid = s->record;
    } else if (is_url(s->picture)) {
        query.picture.url = s->picture;
    } else {
        r = cli_read_picture(s->picture, &picture, err);
        query.picture.data = picture.data;
        query.picture.len = picture.len;
    }
    if (r == ERR_OK)
        r = cli_target_open(&s->args, true, &target, err);
    if (r == ERR_OK)
        r = cli_session_open(target, &session, err);
    if (r == ERR_OK)
        r = cli_session_search(session, s->collection, &query, hits, err);
    cli_session_close(session);
    cli_target_close(target);
    buf_free(&picture);
    return r;
}

int cli_search(int argc, char **argv)
{
    struct err err = {0};
    struct search s = {0};
    struct cli_hits hits = {0};
    if (read_arguments(&s, argc, argv, &err))
        return cli_usage("search", &err);
    if (s.args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
        return CLI_DONE;
    }
    enum result r = search(&s, &hits, &err);
    if (r == ERR_OK)
        r = s.args.json ? print_json(&hits, &err) : print_table(&hits, s.offset, &err);
    cli_hits_free(&hits);
    return r ? cli_fail(CLI_NOTHING, &err) : CLI_DONE;
}
