#include "store/embedded/keeper.h"

#include "base/clock.h"
#include "base/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS_MAX 4
#define NICE 5 /* so that searches come first where there are too few cores */

struct embedded_keeper {
    pthread_mutex_t mutex; /* of all that follows */
    pthread_cond_t cond;   /* there may be work */
    pthread_cond_t left;   /* a thread has come out of a member */
    struct embedded_kept *members;
    uint64_t wakes;
    bool stop;
    unsigned count;
    pthread_t threads[THREADS_MAX];
};

/* One slice for each member. True where any of them may have more. The mutex is held, but for the slices. */
static bool round_of_work(struct embedded_keeper *k)
{
    bool more = false;
    for (struct embedded_kept *m = k->members; m;) {
        if (!atomic_load(&m->leaving)) {
            m->inside++;
            pthread_mutex_unlock(&k->mutex);
            more |= m->work(m);
            pthread_mutex_lock(&k->mutex);
            m->inside--;
            pthread_cond_broadcast(&k->left);
        }
        m = m->next; /* it is still a member: who leaves waits for this mutex, and for `inside` */
    }
    return more;
}

static void *keep(void *arg)
{
    struct embedded_keeper *k = arg;
    (void)!setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* on Linux, of this thread */
    pthread_mutex_lock(&k->mutex);
    while (!k->stop) {
        uint64_t seen = k->wakes;
        if (round_of_work(k))
            continue;
        while (!k->stop && seen == k->wakes)
            pthread_cond_wait(&k->cond, &k->mutex);
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

enum result embedded_keeper_new(struct embedded_keeper **out, struct err *err)
{
    struct embedded_keeper *k = calloc(1, sizeof *k);
    if (!k)
        return err_no_memory(err);
    pthread_mutex_init(&k->mutex, NULL);
    clock_cond_init(&k->cond);
    clock_cond_init(&k->left);
    unsigned want = cpu_count() < THREADS_MAX ? cpu_count() : THREADS_MAX;
    while (k->count < want) {
        int e = pthread_create(&k->threads[k->count], NULL, keep, k);
        if (e && k->count == 0) {
            embedded_keeper_free(k);
            return err_set_errno(err, e, "cannot start a thread for the index");
        }
        if (e)
            break;
        k->count++;
    }
    *out = k;
    return ERR_OK;
}

void embedded_keeper_free(struct embedded_keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->mutex);
    k->stop = true;
    pthread_cond_broadcast(&k->cond);
    pthread_mutex_unlock(&k->mutex);
    for (unsigned i = 0; i < k->count; i++)
        pthread_join(k->threads[i], NULL);
    pthread_mutex_destroy(&k->mutex);
    pthread_cond_destroy(&k->cond);
    pthread_cond_destroy(&k->left);
    free(k);
}

void embedded_keeper_join(struct embedded_keeper *k, struct embedded_kept *kept)
{
    pthread_mutex_lock(&k->mutex);
    kept->next = k->members;
    k->members = kept;
    k->wakes++;
    pthread_cond_broadcast(&k->cond);
    pthread_mutex_unlock(&k->mutex);
}

void embedded_keeper_leave(struct embedded_keeper *k, struct embedded_kept *kept)
{
    pthread_mutex_lock(&k->mutex);
    atomic_store(&kept->leaving, true);
    while (kept->inside)
        pthread_cond_wait(&k->left, &k->mutex);
    for (struct embedded_kept **p = &k->members; *p; p = &(*p)->next)
        if (*p == kept) {
            *p = kept->next;
            break;
        }
    pthread_mutex_unlock(&k->mutex);
}

void embedded_keeper_wake(struct embedded_keeper *k)
{
    pthread_mutex_lock(&k->mutex);
    k->wakes++;
    pthread_cond_broadcast(&k->cond);
    pthread_mutex_unlock(&k->mutex);
}
