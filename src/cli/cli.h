/*
 * What the commands share: exit statuses, flags, and the words for "not in this version".
 *
 * A command is a function `int cli_<name>(int argc, char **argv)`; argv[0] is its name and the result its
 * exit status. Results go to standard output; progress, warnings and errors to standard error.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CLI_DONE = 0,
    CLI_SOME_FAILED = 1, /* each named */
    CLI_USAGE = 2,
    CLI_NOTHING = 3,       /* nothing was done */
    CLI_INTERRUPTED = 130, /* Ctrl-C: 128 + SIGINT, as shells have it */
};

#define CLI_ARGS_MAX 1024 /* positional arguments, and flags kept for config_load() */

/* A flag of one command. Exactly one of `text` and `set` is given. */
struct cli_flag {
    const char *name;  /* "--jobs" */
    const char **text; /* where its value goes */
    bool *set;         /* set to true */
};

struct cli_args {
    const char *command;
    const char *server; /* never NULL after cli_args_parse() */
    const char *data;   /* --data; NULL: talk to the server */
    bool json, quiet, help;
    char *config_argv[CLI_ARGS_MAX + 2]; /* for config_load(); points into argv */
    int config_argc;
    const char *positional[CLI_ARGS_MAX];
    size_t positional_count;
};

/*
 * --server, --data, --json, --quiet, --help, with --data the flags of config_load(), and `flags`. "--name
 * value" and "--name=value"; "--" ends the flags, "-" is an argument. ERR_INVALID with a sentence.
 */
enum result cli_args_parse(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
    struct cli_args *out, struct err *err) ERR_MUST_USE;
/* A whole number from `min` to `max` out of a flag's value; `*out` keeps its value where `text` is NULL. */
enum result cli_args_number(
    const char *flag, const char *text, int64_t min, int64_t max, int64_t *out, struct err *err) ERR_MUST_USE;

/* "lookalike: message" on standard error; returns `status`. */
int cli_fail(int status, const struct err *err);
/* The same for wrong usage, with a hint at the help. */
int cli_usage(const char *command, const struct err *err);

/* Text for a terminal: control characters and what is not UTF-8 are replaced. Appended to `out`. */
enum result cli_append_plain(struct buf *out, const char *text, size_t len) ERR_MUST_USE;

/* The bytes of the file `name`, or of standard input for "-", appended to `out`, which sets the limit. ERR_TOO_LARGE,
   ERR_INVALID for an empty one, ERR_IO; the sentence names the file. */
enum result cli_read_picture(const char *name, struct buf *out, struct err *err) ERR_MUST_USE;

extern const char cli_common_help[]; /* the flags that every command takes */

int cli_import(int argc, char **argv);
int cli_search(int argc, char **argv);
int cli_collection(int argc, char **argv);
int cli_model(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_key(int argc, char **argv);
int cli_jobs(int argc, char **argv);
int cli_backup(int argc, char **argv);
int cli_tune(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_restore(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_migrate(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_reembed(int argc, char **argv);

#endif
