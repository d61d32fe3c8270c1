/*
 * Managed blocking, as that of java.util.concurrent's ForkJoinPool: of the threads of a pool at most `limit` work at once, but
 * one that waits for something outside of this process does not count, and another works instead. So the pool may have many
 * threads without many of them being at the CPU, or at memory, together.
 *
 * After a wait a thread goes on at once: for a moment more than `limit` may work. They become fewer at the next
 * blocking_next(), where the wait for a turn is.
 */
#ifndef BASE_BLOCKING_H
#define BASE_BLOCKING_H

#include "base/err.h"

struct blocking;

enum result blocking_new(unsigned limit, struct blocking **out) ERR_MUST_USE;
/* No thread may be inside. NULL is accepted. */
void blocking_free(struct blocking *b);
/* The calling thread becomes one of the pool; waits for its turn to work. */
void blocking_enter(struct blocking *b);
/* Between two pieces of work, of a thread that is inside: waits where more work than may. */
void blocking_next(struct blocking *b);
void blocking_leave(struct blocking *b);
/* From now on nobody waits for a turn. */
void blocking_close(struct blocking *b);

/* Around a wait for something outside. On a thread of no pool they do nothing. They do not nest. */
void blocking_begin(void);
void blocking_end(void);

#endif
