/*
 * Shows how far something is: a bar on a terminal, redrawn ten times a second by a thread of its own, else a
 * line every ten seconds. All on standard error. Lines that are printed meanwhile go through
 * cli_progress_line(), so that the bar is not in their way.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cli_tally {
    atomic_ullong total; /* 0: not known */
    atomic_ullong done, failed, skipped;
};

struct cli_progress;

/* `shown` false: nothing is shown, but cli_progress_line() works. The tally must live as long. */
enum result cli_progress_start(const char *verb, bool shown, const struct cli_tally *tally,
    struct cli_progress **out, struct err *err) ERR_MUST_USE;
/* A line to standard error, from any thread. `text` has no line break at its end. */
void cli_progress_line(struct cli_progress *progress, const char *text);
/* Removes the bar, and waits for the thread. NULL is accepted. */
void cli_progress_stop(struct cli_progress *progress);

/* "1:05:09", "0:21"; at most 16 bytes with the NUL. Exposed for tests. */
void cli_progress_duration(int64_t seconds, char out[16]);

#endif
