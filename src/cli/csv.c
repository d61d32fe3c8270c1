#include "cli/csv.h"

#include "base/limits.h"

#include <errno.h>

struct cli_csv {
    FILE *stream;
    char separator;
    bool started;
    uint64_t line;
    int pushed_back; /* a byte to be read again, or -1 */
    struct buf text; /* the fields of the row, a NUL behind each */
    size_t *starts;  /* of each field in `text` */
    struct cli_csv_field *fields;
    size_t count;
};

enum result cli_csv_new(FILE *stream, struct cli_csv **out, struct err *err)
{
    struct cli_csv *csv = calloc(1, sizeof *csv);
    if (!csv)
        return err_no_memory(err);
    csv->stream = stream;
    csv->line = 1;
    csv->pushed_back = -1;
    buf_init(&csv->text, LIMIT_IMPORT_LINE);
    csv->starts = calloc(LIMIT_IMPORT_COLUMNS, sizeof *csv->starts);
    csv->fields = calloc(LIMIT_IMPORT_COLUMNS, sizeof *csv->fields);
    if (!csv->starts || !csv->fields) {
        cli_csv_free(csv);
        return err_no_memory(err);
    }
    *out = csv;
    return ERR_OK;
}

void cli_csv_free(struct cli_csv *csv)
{
    if (!csv)
        return;
    buf_free(&csv->text);
    free(csv->starts);
    free(csv->fields);
    free(csv);
}

/* CRLF and a lone CR come as '\n', EOF as -1. */
static int next_byte(struct cli_csv *csv)
{
    int c = csv->pushed_back >= 0 ? csv->pushed_back : getc_unlocked(csv->stream);
    csv->pushed_back = -1;
    if (c == '\r') {
        int after = getc_unlocked(csv->stream);
        if (after != '\n' && after != EOF)
            csv->pushed_back = after;
        c = '\n';
    }
    csv->line += c == '\n';
    return c;
}

/* Skip a byte order mark, and look at the first line for what separates. */
static void start(struct cli_csv *csv)
{
    static const int mark[] = {0xef, 0xbb, 0xbf};
    char first[64 * 1024];
    long at = ftell(csv->stream);
    csv->started = true;
    csv->separator = ',';
    if (at < 0)
        return; /* no file: nothing can be read twice */
    size_t n = fread(first, 1, sizeof first, csv->stream);
    bool marked = n >= 3;
    for (size_t i = 0; i < 3 && marked; i++)
        marked = (unsigned char)first[i] == mark[i];
    size_t commas = 0, semicolons = 0, tabs = 0;
    bool quoted = false;
    for (size_t i = 0; i < n && (quoted || (first[i] != '\n' && first[i] != '\r')); i++) {
        if (first[i] == '"')
            quoted = !quoted;
        commas += !quoted && first[i] == ',';
        semicolons += !quoted && first[i] == ';';
        tabs += !quoted && first[i] == '\t';
    }
    if (!commas && (semicolons || tabs))
        csv->separator = semicolons >= tabs ? ';' : '\t';
    clearerr(csv->stream);
    (void)!fseek(csv->stream, at + (marked ? 3 : 0), SEEK_SET);
}

static enum result begin_field(struct cli_csv *csv, struct err *err)
{
    if (csv->count == LIMIT_IMPORT_COLUMNS)
        return err_set(err, ERR_TOO_LARGE, "more than %d columns", LIMIT_IMPORT_COLUMNS);
    csv->starts[csv->count++] = csv->text.len;
    return ERR_OK;
}

static enum result add_byte(struct cli_csv *csv, int c, struct err *err)
{
    char byte = (char)c;
    enum result r = buf_append(&csv->text, &byte, 1);
    return r ? err_set(err, r, "a row of more than %d MiB", LIMIT_IMPORT_LINE / LIMIT_MIB) : ERR_OK;
}

/* Behind the opening quote, to behind the closing one. */
static enum result read_quoted(struct cli_csv *csv, int *next, struct err *err)
{
    for (;;) {
        int c = next_byte(csv);
        if (c == EOF)
            return err_set(err, ERR_INVALID, "a quote is opened and never closed");
        if (c == '"') {
            *next = next_byte(csv);
            if (*next != '"')
                return ERR_OK;
        }
        enum result r = add_byte(csv, c, err);
        if (r)
            return r;
    }
}

/* One field with what ends it: the separator, '\n' or EOF. */
static enum result read_field(struct cli_csv *csv, int c, int *ended, struct err *err)
{
    enum result r = begin_field(csv, err);
    if (r == ERR_OK && c == '"') {
        r = read_quoted(csv, &c, err);
        if (r == ERR_OK && c != csv->separator && c != '\n' && c != EOF)
            r = err_set(err, ERR_INVALID, "characters follow on a closing quote");
    } else {
        while (r == ERR_OK && c != csv->separator && c != '\n' && c != EOF) {
            r = add_byte(csv, c, err);
            c = next_byte(csv);
        }
    }
    if (r == ERR_OK)
        r = add_byte(csv, '\0', err);
    *ended = c;
    return r;
}

/* A row that went wrong ends at its line's end; quotes do not count any more. */
static void skip_line(struct cli_csv *csv, int ended)
{
    while (ended != '\n' && ended != EOF)
        ended = next_byte(csv);
}

static enum result read_row(struct cli_csv *csv, int first, struct err *err)
{
    int ended = first;
    enum result r;
    csv->count = 0;
    buf_clear(&csv->text);
    for (;;) {
        r = read_field(csv, ended, &ended, err);
        if (r || ended != csv->separator)
            break;
        ended = next_byte(csv);
    }
    if (r)
        skip_line(csv, ended);
    return r;
}

enum result cli_csv_next(struct cli_csv *csv, struct cli_csv_row *row, bool *end, struct err *err)
{
    int c;
    if (!csv->started)
        start(csv);
    do
        c = next_byte(csv);
    while (c == '\n');
    if (c == EOF && ferror(csv->stream))
        return err_set_errno(err, errno, "cannot read on");
    *end = c == EOF;
    if (*end)
        return ERR_OK;
    row->line = csv->line;
    enum result r = read_row(csv, c, err);
    if (r)
        return r;
    if (ferror(csv->stream))
        return err_set_errno(err, errno, "cannot read on");
    for (size_t i = 0; i < csv->count; i++) {
        size_t stop = i + 1 < csv->count ? csv->starts[i + 1] : csv->text.len;
        csv->fields[i] = (struct cli_csv_field){csv->text.data + csv->starts[i], stop - csv->starts[i] - 1};
    }
    row->fields = csv->fields;
    row->count = csv->count;
    return ERR_OK;
}
