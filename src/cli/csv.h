/*
 * CSV as RFC 4180 describes it and spreadsheets write it: quotes, quotes doubled inside quotes, line breaks
 * inside quotes, CRLF, LF or CR, a byte order mark in front. Where the first line has no comma but semicolons
 * or tabs, those separate, as in countries where the comma is for decimals.
 */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>

struct cli_csv;

struct cli_csv_field {
    const char *text; /* NUL-terminated; the bytes may hold NUL as well */
    size_t len;
};

struct cli_csv_row {
    const struct cli_csv_field *fields; /* until the next call */
    size_t count;
    uint64_t line; /* where the row starts, from 1 */
};

/* The stream stays the caller's. */
enum result cli_csv_new(FILE *stream, struct cli_csv **out, struct err *err) ERR_MUST_USE;
void cli_csv_free(struct cli_csv *csv);
/*
 * The next row that is not blank; *end is true after the last, and `row` untouched. ERR_INVALID: this row is
 * wrong (characters behind a closing quote, a quote that is never closed); the next call goes on behind it.
 * ERR_TOO_LARGE: over LIMIT_IMPORT_LINE or LIMIT_IMPORT_COLUMNS, the same. ERR_IO: the file cannot be read
 * on. `row->line` is set in the first two cases as well.
 */
enum result cli_csv_next(
    struct cli_csv *csv, struct cli_csv_row *row, bool *end, struct err *err) ERR_MUST_USE;

#endif
