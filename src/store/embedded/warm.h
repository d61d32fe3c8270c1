/*
 * Collections opened behind the start of a server, with what filters need, so that not the first search pays for it.
 */
#ifndef STORE_EMBEDDED_WARM_H
#define STORE_EMBEDDED_WARM_H

struct embedded;
struct embedded_warm;

/* NULL where there is no thread to be had: then each is opened when it is first used. */
struct embedded_warm *embedded_warm_start(struct embedded *e);
/* Waits for the one that is being opened. NULL is accepted. */
void embedded_warm_stop(struct embedded_warm *w);

#endif
