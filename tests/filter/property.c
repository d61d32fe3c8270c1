/*
 * Random expressions over random records: the columns must give the rows the plain interpreter gives, every
 * time.
 *
 *     tests/filter/property [--count N] [--seed S]      5,000 expressions by default
 *
 * Rounds differ in how the columns store things (sparse or dense early, few paths, null columns), and records
 * are replaced, removed and put back all the time, so that what is tested is what writes left behind.
 */
#include "filter/columns.h"
#include "filter/interpret.h"
#include "json/json.h"
#include "random_filter.h"

#include <inttypes.h>

enum { RECORDS = 2000, ROUND = 500, WRITE_EVERY = 20 };

struct world {
    struct chance chance;
    struct filter_columns *columns;
    bool nulls;
    bool there[RECORDS];
    struct filter_record records[RECORDS];
};

static void die(const char *what, const char *text, uint32_t record)
{
    printf("not ok - %s\n# expression: %s\n# record %u\n", what, text, record);
    exit(1);
}

/* Rows in the middle and at the edges of two chunks, with holes. */
static uint32_t row_of(uint32_t record)
{
    return record < RECORDS / 2 ? record * 3 : 65536 - 500 + record - RECORDS / 2;
}

static void forget(struct world *w, uint32_t i)
{
    json_object_put(w->records[i].tags);
    json_object_put(w->records[i].brief);
    w->records[i] = (struct filter_record){0};
    w->there[i] = false;
}

static void put(struct world *w, uint32_t i)
{
    struct chance *c = &w->chance;
    struct filter_record *r = &w->records[i];
    struct buf tags, brief;
    buf_init(&tags, 1 << 16);
    buf_init(&brief, 1 << 18);
    random_tags(c, &tags);
    random_brief(c, &brief);
    bool with_tags = !w->nulls || chance_below(c, 4), with_brief = !w->nulls || chance_below(c, 4);
    forget(w, i);
    r->fileid = chance_below(c, 2) ? (int64_t)i : random_int(c);
    r->itemid = chance_below(c, 4) ? r->fileid : random_int(c);
    if ((with_tags && json_parse(tags.data, tags.len, &r->tags, NULL)) ||
        (with_brief && json_parse(brief.data, brief.len, &r->brief, NULL)))
        die("a record is not JSON", brief.data, i);
    struct filter_columns_row row = {.row = row_of(i),
        .fileid = r->fileid,
        .itemid = r->itemid,
        .tags = with_tags ? tags.data : NULL,
        .tags_len = tags.len,
        .brief = with_brief ? brief.data : NULL,
        .brief_len = brief.len};
    struct err err;
    if (filter_columns_put(w->columns, &row, &err))
        die(err.message, brief.data, i);
    w->there[i] = true;
    buf_free(&tags);
    buf_free(&brief);
}

static void open_round(struct world *w, uint64_t round)
{
    static const struct filter_columns_options options[] = {{0, 0}, {64, 0}, {100, 7}, {8, 30}, {0, 1}};
    for (uint32_t i = 0; i < RECORDS; i++)
        forget(w, i);
    filter_columns_free(w->columns);
    w->columns = NULL;
    w->nulls = round % 4 == 3;
    if (filter_columns_new(&options[round % 5], &w->columns, NULL))
        die("no columns", "", 0);
    for (uint32_t i = 0; i < RECORDS; i++)
        put(w, i);
}

static void write_some(struct world *w)
{
    for (int k = 0; k < 6; k++) {
        uint32_t i = chance_below(&w->chance, RECORDS);
        if (chance_below(&w->chance, 3)) {
            put(w, i);
        } else {
            filter_columns_remove(w->columns, row_of(i));
            forget(w, i);
        }
    }
}

static uint64_t compare(struct world *w, const char *text, const struct filter *filter)
{
    struct filter_rows *rows = NULL;
    uint64_t count = 0;
    if (filter_columns_select(w->columns, filter, &rows, NULL))
        die("the columns failed", text, 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        bool expected = w->there[i] && filter_interpret(filter, &w->records[i]) == FILTER_TRUE;
        if (filter_rows_contain(rows, row_of(i)) != expected) {
            printf("# the interpreter says %s\n# fileid %" PRId64 " itemid %" PRId64
                   " there %d\n# tags %s\n# brief %s\n",
                expected ? "yes" : "no", w->records[i].fileid, w->records[i].itemid, w->there[i],
                json_object_to_json_string(w->records[i].tags),
                json_object_to_json_string(w->records[i].brief));
            die("the columns and the interpreter differ", text, i);
        }
        count += expected;
    }
    if (count != filter_rows_count(rows))
        die("the columns give rows that are no records", text, 0);
    filter_rows_free(rows);
    return count;
}

/* One expression; false where it was refused, which happens to ranges that are empty. */
static bool one(struct world *w, uint64_t *selective)
{
    struct buf text;
    struct filter *filter = NULL;
    struct err err;
    buf_init(&text, 1 << 16);
    random_expression(&w->chance, chance_below(&w->chance, 4), &text);
    bool fine = filter_parse(text.data, text.len, &filter, &err) == ERR_OK;
    if (!fine && !strstr(err.message, "nothing lies in this range") &&
        !strstr(err.message, "one end of the range") && !strstr(err.message, "empty list"))
        die(err.message, text.data, 0);
    if (fine) {
        uint64_t yes = compare(w, text.data, filter);
        *selective += yes > 0 && yes < RECORDS / 2;
    }
    filter_free(filter);
    buf_free(&text);
    return fine;
}

int main(int argc, char **argv)
{
    static struct world w;
    uint64_t count = 5000, seed = 1, done = 0, selective = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--count"))
            count = strtoull(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 10);
    }
    w.chance.state = seed;
    for (uint64_t tried = 0; done < count; tried++) {
        if (tried % ROUND == 0)
            open_round(&w, tried / ROUND);
        else if (tried % WRITE_EVERY == 0)
            write_some(&w);
        done += one(&w, &selective);
        if (tried > 2 * count + 100)
            die("too many expressions are refused", "", 0);
    }
    for (uint32_t i = 0; i < RECORDS; i++)
        forget(&w, i);
    filter_columns_free(w.columns);
    printf("1..1\n# %" PRIu64 " expressions, %" PRIu64
           " of them true for some but fewer than half of the records, seed %" PRIu64 "\n",
        done, selective, seed);
    printf("%sok 1 - the columns give the rows the interpreter gives\n", selective * 4 < done ? "not " : "");
    return selective * 4 < done;
}
