/*
 * What a Milvus makes of filters, beside what filter/interpret.h does: compare_filters SEED RECORDS EXPRESSIONS, for
 * the Milvus at LOOKALIKE_TEST_MILVUS. It prints JSON lines; tests/milvus/compare_filters.py starts it and explains
 * what differs.
 *
 *   {"record": 7, "itemid": 9, "tags": […], "brief": {…}}
 *   {"text": "…", "parts": [3, 4], "how": "and", "ours": [rows], "theirs": [rows], "refused": "why"}
 *
 * An expression is a single condition, or two earlier ones joined (`parts` are their numbers), so that a difference
 * in a joined one can be led back to its conditions.
 */
#include "support.h"

#include "base/limits.h"
#include "base/parse.h"
#include "filter/filter.h"
#include "filter/random_filter.h"
#include "json/json.h"
#include "store/store_backend.h"

#include <inttypes.h>

struct row {
    int64_t itemid;
    char *tags, *brief;
};

static void make_row(struct chance *c, struct row *row)
{
    struct buf tags, brief;
    buf_init(&tags, LIMIT_TAGS_TEXT);
    buf_init(&brief, LIMIT_BRIEF_TEXT);
    random_tags(c, &tags);
    random_brief(c, &brief);
    row->itemid = random_int(c);
    row->tags = buf_take(&tags, NULL);
    row->brief = buf_take(&brief, NULL);
}

static enum result fill(struct store *s, struct chance *c, struct row *rows, size_t count, struct err *err)
{
    struct store_settings settings = {.model = "m", .dimension = 1};
    float v[1] = {1};
    enum result r = store_drop(s, "filters", 0, err);
    r = store_create(s, "filters", &settings, 0, err);
    for (size_t i = 0; i < count && !r; i++) {
        make_row(c, &rows[i]);
        struct store_write w = {.kind = STORE_PUT, .fileid = (int64_t)i, .has_itemid = true, .itemid = rows[i].itemid,
            .tags = rows[i].tags, .brief = rows[i].brief, .vector = v};
        r = store_write(s, "filters", &w, 1, 0, err);
        printf("{\"record\": %zu, \"itemid\": %" PRId64 ", \"tags\": %s, \"brief\": %s}\n", i, rows[i].itemid, rows[i].tags, rows[i].brief);
    }
    return r;
}

static void print_string(const char *name, const char *text)
{
    struct buf b;
    buf_init(&b, LIMIT_MIB);
    enum result r = json_append_string(&b, text, strlen(text));
    printf("\"%s\": %s", name, r ? "\"\"" : b.data);
    buf_free(&b);
}

/* One line of output; false where Milvus is gone. */
static bool compare(struct store *s, const struct row *rows, size_t count, const struct filter *filter, const char *text,
    const char *joined, bool *refused)
{
    struct err err = {0};
    struct store_records found = {0};
    struct store_browse browse = {.from_start = true, .limit = (uint32_t)count, .filter = filter};
    enum result r = store_browse_where(s, "filters", &browse, 0, &found, &err);
    printf("{");
    print_string("text", text);
    printf("%s, \"ours\": [", joined);
    const char *comma = "";
    for (size_t i = 0; i < count; i++)
        if (store_filter_matches(filter, (int64_t)i, rows[i].itemid, rows[i].tags, rows[i].brief)) {
            printf("%s%zu", comma, i);
            comma = ",";
        }
    printf("], \"theirs\": [");
    for (size_t i = 0; i < found.count; i++)
        printf("%s%" PRId64, i ? "," : "", found.items[i].fileid);
    printf("]");
    if (r) {
        printf(", ");
        print_string("refused", err.message);
    }
    puts("}");
    store_records_free(&found);
    *refused = r != ERR_OK;
    return r != ERR_UNAVAILABLE;
}

/* A single condition of the language; what the generator makes is, but for ranges that are empty. */
static char *make_condition(struct chance *c, struct filter **filter)
{
    struct buf text;
    buf_init(&text, LIMIT_FILTER_BYTES);
    do {
        buf_clear(&text);
        random_expression(c, 0, &text);
    } while (filter_parse(text.data, text.len, filter, NULL));
    return buf_take(&text, NULL);
}

static char *join(struct chance *c, char *const *accepted, size_t count, char *joined, size_t size)
{
    static const char *const before[] = {"(", "(", "not (", "("}, *const between[] = {") and (", ") or (", "", ") and not ("},
                            *const names[] = {"and", "or", "not", "and not"};
    size_t a = chance_below(c, (uint32_t)count), b = chance_below(c, (uint32_t)count), form = chance_below(c, 4);
    struct buf text;
    buf_init(&text, LIMIT_FILTER_BYTES);
    snprintf(joined, size, ", \"parts\": [%zu, %zu], \"how\": \"%s\"", a, b, names[form]);
    if (buf_appendf(&text, "%s%s%s%s)", before[form], accepted[a], between[form], form == 2 ? "" : accepted[b]))
        abort();
    return buf_take(&text, NULL);
}

int main(int argc, char **argv)
{
    struct test_fixture f = {.folder = test_folder()};
    uint64_t seed = 1, records = 0, expressions = 0;
    struct err err = {0};
    if (argc != 4 || !parse_u64(argv[1], strlen(argv[1]), UINT64_MAX, &seed) ||
        !parse_u64(argv[2], strlen(argv[2]), LIMIT_WINDOW, &records) || !parse_u64(argv[3], strlen(argv[3]), 100000, &expressions) || !records)
        return fputs("use: compare_filters SEED RECORDS EXPRESSIONS\n", stderr), 2;
    struct chance c = {.state = seed};
    struct row *rows = calloc(records, sizeof *rows);
    char **accepted = calloc(expressions + 1, sizeof *accepted);
    test_backend = "milvus";
    test_open_store(&f);
    bool alive = rows && accepted && !fill(f.store, &c, rows, records, &err);
    for (size_t n = 0; n < expressions && alive;) {
        char joined[96] = "";
        struct filter *filter = NULL;
        bool single = n < (expressions + 1) / 2, refused = true;
        char *text = single ? make_condition(&c, &filter) : join(&c, accepted, (expressions + 1) / 2, joined, sizeof joined);
        if (single || !filter_parse(text, strlen(text), &filter, NULL))
            alive = compare(f.store, rows, records, filter, text, joined, &refused);
        filter_free(filter);
        if (refused)
            free(text);
        else
            accepted[n++] = text;
    }
    if (!alive)
        fprintf(stderr, "compare_filters: Milvus is gone, or never was there: %s\n", err.message);
    store_close(f.store);
    test_folder_remove(f.folder);
    for (size_t i = 0; i < expressions && accepted; i++)
        free(accepted[i]);
    for (size_t i = 0; i < records && rows; i++) {
        free(rows[i].tags);
        free(rows[i].brief);
    }
    free(rows);
    free(accepted);
    return alive ? 0 : 1;
}
