/*
 * Where pictures come from: a folder, a .csv, a .jsonl, or - (JSON lines on standard input).
 *
 * A folder is walked as a whole when it is opened, so that its records come in the order of their names.
 * Files are pictures by their extension; the others are counted, as are hidden ones. Links are followed; a
 * folder is entered once, whatever links lead to it.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include "cli/ids.h"
#include "cli/record.h"

struct cli_source;

struct cli_source_options {
    enum cli_item_from item_from;
    const char *url_column; /* NULL: "url" */
};

struct cli_source_counts {
    uint64_t other;  /* files that are no pictures by their name */
    uint64_t hidden; /* names that start with a dot */
    uint64_t links;  /* links to folders that were entered already */
};

/* `options` must live as long as the source. ERR_NOT_FOUND, ERR_IO, ERR_UNSUPPORTED: of no kind that is
   read. */
enum result cli_source_open(const char *arg, const struct cli_source_options *options,
    struct cli_source **out, struct err *err) ERR_MUST_USE;
void cli_source_close(struct cli_source *source);
/* The absolute path; "-" for standard input. */
const char *cli_source_name(const struct cli_source *source);
/* How many records there will be; 0 where that cannot be known. */
uint64_t cli_source_total(const struct cli_source *source);
struct cli_source_counts cli_source_counts(const struct cli_source *source);
/*
 * The next record, the caller's; NULL at the end. A record that cannot be imported has its `problem` set.
 * ERR_IO: the source cannot be read on.
 */
enum result cli_source_next(struct cli_source *source, struct cli_record **out, struct err *err) ERR_MUST_USE;

/* Whether the name ends like a picture's. */
bool cli_source_is_picture(const char *name);

#endif
