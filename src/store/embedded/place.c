#include "store/embedded/place.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

#define RUN_BYTES (256 * LIMIT_KIB) /* of vectors written by one call */

/* Slots that follow each other are written together: most of a small write's cost is that of the call. */
struct run {
    struct embedded_vectors *vectors;
    uint8_t *bytes; /* of `room` slots; with room for one or none nothing is gathered */
    uint32_t room, count, first;
};

static enum result write_run(struct run *run, struct err *err)
{
    uint32_t n = run->count;
    run->count = 0;
    return n ? embedded_vectors_write(run->vectors, run->first, run->bytes, n, err) : ERR_OK;
}

static enum result add_to_run(struct run *run, uint32_t at, const uint8_t *slot, struct err *err)
{
    enum result r = ERR_OK;
    if (run->room < 2)
        return embedded_vectors_write(run->vectors, at, slot, 1, err);
    if (run->count == run->room || at != run->first + run->count)
        r = write_run(run, err);
    if (run->count == 0)
        run->first = at;
    memcpy(run->bytes + (size_t)run->count * run->vectors->stride, slot, run->vectors->stride);
    run->count++;
    return r;
}

/* The last first, so that those taken first are the next to be taken, and follow each other. */
void embedded_place_release(struct embedded_collection *c, struct embedded_request *q)
{
    for (; q->placed; q->placed--)
        if (q->places[q->placed - 1] != EMBEDDED_NO_SLOT)
            embedded_slots_release(&c->slots, q->places[q->placed - 1]);
}

/* `q->result`: where there is no room for one of its vectors the caller fails alone, and what it had is free for the next. */
static enum result place(
    struct embedded_collection *c, struct embedded_request *q, struct run *run, struct err *err)
{
    enum result r = ERR_OK;
    while (!r && !q->result && q->placed < q->vectors) {
        const uint8_t *slot = q->slots + q->placed * c->vectors.stride;
        uint32_t *at = &q->places[q->placed];
        q->result = embedded_slots_alloc(&c->slots, at, &q->err);
        if (q->result)
            break;
        q->placed++;
        q->result = embedded_vectors_reserve(&c->vectors, *at, &q->err);
        if (!q->result)
            r = add_to_run(run, *at, slot, err);
    }
    if (q->result)
        embedded_place_release(c, q);
    return r;
}

static enum result place_all(
    struct embedded_collection *c, struct embedded_request *first, struct run *run, struct err *err)
{
    enum result r = ERR_OK;
    for (struct embedded_request *q = first; !r && q; q = q->next)
        r = place(c, q, run, err);
    return r ? r : write_run(run, err);
}

enum result embedded_place_vectors(struct embedded_collection *c, struct embedded_request *first, struct err *err)
{
    struct run run = {.vectors = &c->vectors};
    size_t vectors = 0, most = RUN_BYTES / c->vectors.stride;
    struct err why = {0};
    for (struct embedded_request *q = first; q; q = q->next)
        vectors += q->vectors;
    if (vectors == 0)
        return ERR_OK;
    run.room = (uint32_t)(vectors < most ? vectors : most);
    run.bytes = run.room > 1 ? malloc(run.room * c->vectors.stride) : NULL;
    if (!run.bytes)
        run.room = 0;
    enum result r = place_all(c, first, &run, &why);
    free(run.bytes);
    for (struct embedded_request *q = first; r && q; q = q->next)
        if (q->vectors && !q->result) {
            q->result = r;
            q->err = why;
            embedded_place_release(c, q);
        }
    return r ? ERR_OK : embedded_vectors_start_sync(&c->vectors, err);
}
