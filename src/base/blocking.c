#include "base/blocking.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

struct blocking {
    pthread_mutex_t mutex;
    pthread_cond_t turn;
    unsigned limit, working;
};

static _Thread_local struct blocking *mine;

enum result blocking_new(unsigned limit, struct blocking **out)
{
    if (limit == 0)
        return ERR_INVALID;
    struct blocking *b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NO_MEMORY;
    b->limit = limit;
    if (pthread_mutex_init(&b->mutex, NULL))
        goto fail_mutex;
    if (pthread_cond_init(&b->turn, NULL))
        goto fail_cond;
    *out = b;
    return ERR_OK;

fail_cond:
    pthread_mutex_destroy(&b->mutex);
fail_mutex:
    free(b);
    return ERR_NO_MEMORY;
}

void blocking_free(struct blocking *b)
{
    if (!b)
        return;
    pthread_cond_destroy(&b->turn);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}

static void wait_for_turn(struct blocking *b)
{
    while (b->working >= b->limit)
        pthread_cond_wait(&b->turn, &b->mutex);
    b->working++;
}

static void give_turn(struct blocking *b)
{
    if (--b->working < b->limit)
        pthread_cond_signal(&b->turn);
}

void blocking_enter(struct blocking *b)
{
    pthread_mutex_lock(&b->mutex);
    wait_for_turn(b);
    pthread_mutex_unlock(&b->mutex);
    mine = b;
}

void blocking_next(struct blocking *b)
{
    pthread_mutex_lock(&b->mutex);
    if (b->working > b->limit) {
        give_turn(b);
        wait_for_turn(b);
    }
    pthread_mutex_unlock(&b->mutex);
}

void blocking_leave(struct blocking *b)
{
    mine = NULL;
    pthread_mutex_lock(&b->mutex);
    give_turn(b);
    pthread_mutex_unlock(&b->mutex);
}

void blocking_close(struct blocking *b)
{
    pthread_mutex_lock(&b->mutex);
    b->limit = UINT32_MAX;
    pthread_cond_broadcast(&b->turn);
    pthread_mutex_unlock(&b->mutex);
}

void blocking_begin(void)
{
    if (!mine)
        return;
    pthread_mutex_lock(&mine->mutex);
    give_turn(mine);
    pthread_mutex_unlock(&mine->mutex);
}

void blocking_end(void)
{
    if (!mine)
        return;
    pthread_mutex_lock(&mine->mutex);
    mine->working++;
    pthread_mutex_unlock(&mine->mutex);
}
