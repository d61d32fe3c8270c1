/*
 * The filter language under random bytes. With -fsanitize=fuzzer and -DFUZZ_ENGINE the fuzzer brings its own
 * main(); otherwise this is an ordinary test that runs the files it is given, and changed copies of them, the
 * same way every time.
 *
 * What has to hold besides not crashing: a refusal names a column within the text; what is accepted prints as
 * text that is accepted and prints the same; and the columns give the rows that the interpreter gives.
 */
#include "base/limits.h"
#include "filter/columns.h"
#include "filter/interpret.h"
#include "json/json.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    int64_t fileid, itemid;
    const char *tags, *brief;
} records[] = {
    {1, 1, "[]", "{}"},
    {2, -7, "[\"a\"]", "{\"a\": 1, \"b\": 2.5, \"s\": \"abc\", \"flag\": true}"},
    {INT64_MAX, INT64_MIN, "[\"a\", \"b\", \"\", \"日本\"]",
        "{\"a\": \"1\", \"A\": 5, \"arr\": [1, 2.0, \"x\", [1, 2], null], \"0\": null}"},
    {-1, 0, "[\"b\", \"b\"]",
        "{\"a\": {\"b\": {\"c\": -1}}, \"s\": \"a%c\", \"n\": 18446744073709551615, \"arr\": []}"},
    {0, 9007199254740993, "[\"abc\"]",
        "{\"a\": 9007199254740993, \"b\": -0.0, \"f\": 1e300, \"s\": \"日本\", \"flag\": false}"},
    {100, 100, NULL, NULL},
};
enum { RECORDS = sizeof records / sizeof records[0] };

/*
 * The records twice: side by side, which is quick because a set of rows is 8 KiB, and four chunks of them, which one
 * input in sixteen is asked of.
 */
enum { CLOSE, FAR, WORLDS };
static const uint32_t step[WORLDS] = {[CLOSE] = 13, [FAR] = 40000};

static struct filter_record parsed[RECORDS];
static struct filter_columns *columns[WORLDS];

static void start_columns(int world)
{
    if (filter_columns_new(NULL, &columns[world], NULL))
        abort();
    for (uint32_t i = 0; i < RECORDS; i++) {
        const struct filter_columns_row row = {.row = i * step[world],
            .fileid = records[i].fileid,
            .itemid = records[i].itemid,
            .tags = records[i].tags,
            .tags_len = records[i].tags ? strlen(records[i].tags) : 0,
            .brief = records[i].brief,
            .brief_len = records[i].brief ? strlen(records[i].brief) : 0};
        if (filter_columns_put(columns[world], &row, NULL))
            abort();
    }
}

static void start(void)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        const char *tags = records[i].tags, *brief = records[i].brief;
        parsed[i] = (struct filter_record){.fileid = records[i].fileid, .itemid = records[i].itemid};
        if ((tags && json_parse(tags, strlen(tags), &parsed[i].tags, NULL)) ||
            (brief && json_parse(brief, strlen(brief), &parsed[i].brief, NULL)))
            abort();
    }
    start_columns(CLOSE);
    start_columns(FAR);
}

static void check_evaluation(const struct filter *filter, int world)
{
    struct filter_rows *rows = NULL;
    uint64_t count = 0;
    if (filter_columns_select(columns[world], filter, &rows, NULL))
        abort();
    for (uint32_t i = 0; i < RECORDS; i++) {
        bool expected = filter_interpret(filter, &parsed[i]) == FILTER_TRUE;
        if (filter_rows_contain(rows, i * step[world]) != expected)
            abort();
        count += expected;
    }
    if (filter_rows_count(rows) != count)
        abort();
    filter_rows_free(rows);
}

/* The tree as text, NUL-terminated; NULL where it is larger than a filter may be. */
static char *print(const struct filter *filter, size_t *len)
{
    struct buf out;
    buf_init(&out, 8 * LIMIT_FILTER_BYTES);
    char *text = NULL;
    if (!filter_print(filter, &out) && out.len <= LIMIT_FILTER_BYTES)
        text = buf_take(&out, len);
    buf_free(&out);
    return text;
}

static void check_printing(const struct filter *filter)
{
    size_t len = 0, len_again = 0;
    char *text = print(filter, &len), *again = NULL;
    struct filter *second = NULL;
    enum result r = text ? filter_parse(text, len, &second, NULL) : ERR_TOO_LARGE;
    if (!r && second) {
        again = print(second, &len_again);
        if (!again || len != len_again || memcmp(text, again, len) != 0)
            abort();
    } else if (r != ERR_TOO_LARGE) {
        abort();
    }
    filter_free(second);
    free(text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1); /* a sanitizer sees every byte read beyond it */
    struct filter *filter = NULL;
    struct err err = {0};
    if (!exact)
        abort();
    if (!columns[CLOSE])
        start();
    if (size)
        memcpy(exact, data, size);
    if (filter_parse(exact, size, &filter, &err)) {
        unsigned column = 0;
        const char *at = strstr(err.message, "column ");
        if (!at || sscanf(at, "column %u", &column) != 1 || column < 1 || column > size + 1)
            abort();
    } else if (filter) {
        check_evaluation(filter, data[size / 2] % 16 == 0 ? FAR : CLOSE);
        check_printing(filter);
    }
    filter_free(filter);
    free(exact);
    return 0;
}

#ifndef FUZZ_ENGINE
static void stop(void)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        json_object_put(parsed[i].tags);
        json_object_put(parsed[i].brief);
    }
    for (int world = 0; world < WORLDS; world++) {
        filter_columns_free(columns[world]);
        columns[world] = NULL;
    }
}

enum { LARGEST = 4096, CHANGES = 300 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* The text, and copies in which a few bytes were changed, left out, doubled, or taken from the words of the
 * language. */
static void run_changed(const uint8_t *text, size_t size, uint32_t seed)
{
    static const char *const words[] = {"and ", " or ", "not ", "(", ")", "[", "]", "==", "!=", "<",
        "brief[\"a\"]", "tags", "fileid", "exists ", " like ", " in ", "\"", "'", "\\", "9223372036854775808",
        "1.5", "-", "**", "%", "is null", "\xff", "日"};
    uint8_t changed[LARGEST + 64];
    LLVMFuzzerTestOneInput(text, size);
    for (int k = 0; k < CHANGES; k++) {
        size_t n = size;
        memcpy(changed, text, size);
        for (uint32_t c = 1 + next_random(&seed) % 3; c > 0 && n > 0; c--) {
            size_t at = next_random(&seed) % n;
            const char *word = words[next_random(&seed) % (sizeof words / sizeof words[0])];
            switch (next_random(&seed) % 3) {
            case 0:
                changed[at] = (uint8_t)next_random(&seed);
                break;
            case 1:
                memmove(changed + at, changed + at + 1, n - at - 1);
                n--;
                break;
            default:
                if (n + strlen(word) > sizeof changed)
                    break;
                memmove(changed + at + strlen(word), changed + at, n - at);
                memcpy(changed + at, word, strlen(word));
                n += strlen(word);
            }
        }
        LLVMFuzzerTestOneInput(changed, n);
    }
}

/* fuzz_filter FOLDER */
int main(int argc, char **argv)
{
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    uint8_t text[LARGEST];
    size_t files = 0;
    if (!folder) {
        fprintf(stderr, "give the folder of the corpus\n");
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file)
            continue;
        size_t size = fread(text, 1, sizeof text, file);
        fclose(file);
        run_changed(text, size, (uint32_t)size);
        files++;
    }
    closedir(folder);
    if (columns[CLOSE])
        stop();
    printf(
        "1..1\n# %zu files\n%sok 1 - the corpus and its changed copies\n", files, files > 50 ? "" : "not ");
    return files > 50 ? 0 : 1;
}
#endif
