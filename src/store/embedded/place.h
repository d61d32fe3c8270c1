/*
 * What a writer asks of a commit (commit.c), and slots for the vectors of a group of them.
 */
#ifndef STORE_EMBEDDED_PLACE_H
#define STORE_EMBEDDED_PLACE_H

#include "store/embedded/collection.h"

#include <semaphore.h>

struct embedded_request {
    struct store_write *writes;
    size_t count;
    uint8_t *slots;   /* encoded, `stride` bytes for each write with a vector, in order; or NULL */
    uint32_t *places; /* the slot each was written to; EMBEDDED_NO_SLOT once an effect has it */
    size_t vectors;   /* there are */
    size_t placed;    /* of `places` */
    uint64_t number;  /* write i has number + i for its vector */
    bool hold;        /* wants the lead, not a commit */
    _Atomic int state; /* enum request_state of commit.c; its caller has it back when it is DONE */
    enum result result;
    struct err err;
    sem_t turn; /* posted once when it has become LEAD or DONE, if it had to wait */
    struct embedded_request *next;
};

/*
 * A slot for each vector of the requests from `first` on, written but not on disk yet; into `places`. `result` of a request:
 * there was no room for one of its vectors, or vectors could not be written, which those fail by that have some. What is
 * returned is an error of all. For the leader.
 */
enum result embedded_place_vectors(
    struct embedded_collection *c, struct embedded_request *first, struct err *err) ERR_MUST_USE;
/* Slots that no row has named are free. */
void embedded_place_release(struct embedded_collection *c, struct embedded_request *q);

#endif
