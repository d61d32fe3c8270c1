/*
 * Sends records to a collection with several threads, each with a session of its own.
 *
 * A record belongs to the sender from cli_sender_push() on. It ends in one of three ways: acknowledged (and
 * then written to its manifest), failed (reported), or not tried because the sender stopped. The sender stops
 * taking records when `stop` becomes true, or when the connection is lost and does not come back; what is
 * under way is finished either way.
 *
 * A busy server is asked again after a while, longer each time. Sending a record twice does no harm: it
 * replaces itself.
 */
#ifndef CLI_SENDER_H
#define CLI_SENDER_H

#include "cli/progress.h"
#include "cli/record.h"
#include "cli/target.h"

#include <stdatomic.h>

struct cli_sender;

struct cli_sender_options {
    struct cli_target *target;
    const char *collection;
    unsigned jobs;
    struct cli_tally *tally; /* done is counted here; failed by `failed` */
    const atomic_bool *stop;
    int64_t lost_ms; /* how long a lost connection is tried again; 0: 30 s */
    /* Called by any thread. */
    void (*failed)(void *user, const struct cli_record *record, const char *reason);
    void *user;
};

/* `options` must live as long as the sender. */
enum result cli_sender_start(
    const struct cli_sender_options *options, struct cli_sender **out, struct err *err) ERR_MUST_USE;
/* Waits for room until `deadline_ms`: ERR_TIMEOUT. ERR_UNAVAILABLE: the sender has stopped. On failure the
   record is still the caller's. */
enum result cli_sender_push(
    struct cli_sender *sender, struct cli_record *record, int64_t deadline_ms) ERR_MUST_USE;
bool cli_sender_stopped(const struct cli_sender *sender);

struct cli_sender_end {
    uint64_t not_tried;
    bool lost; /* the connection; `why` says how */
    struct err why;
    struct err manifest; /* code ERR_OK, or why acknowledgements could not be written down */
};
/* Waits for everything that was pushed. */
void cli_sender_finish(struct cli_sender *sender, struct cli_sender_end *out);

#endif
