/*
 * When more comes than can be answered: who is turned away, and how soon.
 *
 * Two ways to be busy look alike at any one moment. A hundred pictures that a program sends at once, or sixteen clients
 * that each ask again as soon as they have their answer, make a queue that does not grow: everybody gets an answer, and
 * waiting is what they want. Requests of many people who do not wait for each other make one that grows for as long as they
 * come, until nobody's answer is of use any more. Told apart are the two by what the queue does in time:
 *
 *   PATIENT   everything is let in. Where the queue has grown in each third of a second (OVERLOAD_STEP_MS) of the last one, by half
 *             of what was answered in it altogether, or where a request would have to wait LIMIT_WAIT_MS, becomes
 *   SHEDDING  let in are only as many as are answered within about the time that one has when it is alone; the others
 *             learn at once that they must come again. PATIENT again when nobody was turned away for OVERLOAD_CALM_MS, or when in
 *             such a time no more came than can be answered: few may wait then, so that also of a load that fits some are turned
 *             away for their random moments, and a server that was slow for a minute would refuse them forever.
 *
 * How long one takes that is alone, and how fast they are answered when there are many, is measured all the time, so that
 * nothing is to be set for a machine or a model.
 *
 * Rejected: a fixed number of requests (right for one machine and one model, and it refuses the program with a hundred
 * pictures); CoDel as it is for packets (a queue that stands for a tenth of a second is a fault of the network; here it is an import).
 *
 * For requests that cost a run of the model; others are neither counted nor refused. Every function from any thread.
 */
#ifndef HTTP_OVERLOAD_H
#define HTTP_OVERLOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVERLOAD_STEP_MS 333
#define OVERLOAD_STEPS 3
#define OVERLOAD_CALM_MS 5000

struct overload {
    pthread_mutex_t lock;
    unsigned cpus;
    size_t inside;          /* let in and not yet answered */
    uint64_t let_in, answered;
    struct {
        int64_t us;
        size_t inside;
        uint64_t answered;
    } marks[OVERLOAD_STEPS + 1]; /* the newest last */
    unsigned mark_count;
    int64_t busy_us;        /* since when no CPU was without work, or 0; */
    uint64_t busy_answered; /* and what `answered` was then */
    double interval_us;     /* between two answers while busy; 0: not yet known */
    double alone_us, spread_us; /* time of a request that is alone, and its mean deviation; 0: not yet known */
    bool shedding;
    int64_t refused_us;     /* when somebody was turned away last */
    int64_t came_since_us;  /* while shedding: the beginning of the stretch, */
    uint64_t came;          /* and how many have come in it */
};

/* What a request remembers from its entrance to its answer. */
struct overload_ticket {
    int64_t us;
    uint64_t number;
    bool alone;  /* nobody else was inside */
    bool failed; /* set before it leaves: it waited for what did not come, a store that is away. Its time is no measure of work */
};

void overload_init(struct overload *o, unsigned cpus);
void overload_destroy(struct overload *o);
/* False: turn it away. `now_us` is clock_now_us(). */
bool overload_enter(struct overload *o, int64_t now_us, struct overload_ticket *ticket);
void overload_leave(struct overload *o, int64_t now_us, const struct overload_ticket *ticket);
bool overload_sheds(struct overload *o);

#endif
