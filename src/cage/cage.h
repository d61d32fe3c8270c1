/*
 * image_decode() in another process, which can do nothing but compute: pictures come from strangers, and decoders are
 * where C programs get broken into.
 *
 * A cage has a few worker processes: this program again, started with a hidden argument. Each starts libvips and then
 * locks itself in: a seccomp filter that leaves it memory, time and one socket, and limits of memory, files and core
 * dumps. Bytes and pixels lie in memory that both share (memfd), so a picture crosses no pipe. What a worker answers is
 * checked like anything else from outside. One that dies or does not answer in time is replaced; only the picture that
 * did it is refused.
 *
 * cage_main() must be reached from the program's main() before any thread exists; see its comment.
 */
#ifndef CAGE_CAGE_H
#define CAGE_CAGE_H

#include "image/image.h"

#include <stdbool.h>
#include <stdint.h>

/* The first argument of a worker. */
#define CAGE_ARGUMENT "--decode-in-a-cage"

struct cage;

struct cage_options {
    unsigned workers;      /* pictures decoded at once; at least 1 */
    int64_t timeout_ms;    /* for one picture; 0: LIMIT_DECODE_MS */
    uint32_t pictures;     /* that a worker decodes before a fresh one takes its place; 0: LIMIT_DECODER_PICTURES */
    uint64_t memory_bytes; /* that a worker may take beyond what it starts with; 0: LIMIT_DECODE_BYTES */
};

/* Starts the workers and waits for the first to be locked in. ERR_UNAVAILABLE, with the reason, where it cannot be. */
enum result cage_open(const struct cage_options *options, struct cage **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void cage_close(struct cage *cage);

/*
 * As image_decode(), from any thread; waits for a worker until the deadline (ERR_TIMEOUT). ERR_INVALID also where the
 * picture ended its worker, or took longer than the time-out. ERR_BUSY where no worker can be started.
 */
enum result cage_decode(struct cage *cage, const void *data, size_t len, const struct image_want *want, int64_t deadline_ms,
    struct image *out, struct err *err) ERR_MUST_USE;

/* For tests: the process of the i-th worker, 0 where there is none. */
int cage_worker_pid(struct cage *cage, unsigned i);

/* The whole life of a worker; returns its exit status. For main(): `if (argc == 2 && !strcmp(argv[1], CAGE_ARGUMENT))`. */
int cage_main(void);

#endif
