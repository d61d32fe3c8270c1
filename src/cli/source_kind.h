/* What a kind of source has to offer; for source*.c only. The words are those of cli/source.h. */
#ifndef CLI_SOURCE_KIND_H
#define CLI_SOURCE_KIND_H

#include "cli/source.h"

struct cli_source_kind {
    void (*close)(void *state);
    uint64_t (*total)(const void *state);
    enum result (*next)(void *state, struct cli_record **out, struct err *err);
};

extern const struct cli_source_kind cli_source_folder, cli_source_table;

/* `path` is absolute, without a slash at its end. */
enum result cli_source_folder_open(const char *path, const struct cli_source_options *options,
    struct cli_source_counts *counts, void **out, struct err *err) ERR_MUST_USE;
/* CSV, or JSON lines; `path` is absolute, or "-" for JSON lines on standard input. */
enum result cli_source_table_open(const char *path, bool csv, const struct cli_source_options *options,
    void **out, struct err *err) ERR_MUST_USE;

#endif
