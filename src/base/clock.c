#include "base/clock.h"

#include <errno.h>
#include <time.h>

int64_t clock_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

int64_t clock_left_ms(int64_t deadline_ms)
{
    if (deadline_ms == CLOCK_NO_DEADLINE)
        return INT32_MAX;
    int64_t left = deadline_ms - clock_now_ms();
    return left > 0 ? left : 0;
}

bool clock_passed(int64_t deadline_ms)
{
    return deadline_ms != CLOCK_NO_DEADLINE && clock_now_ms() >= deadline_ms;
}

int clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc)
        return rc;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!rc)
        rc = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return rc;
}

static struct timespec point(int64_t deadline_ms)
{
    return (struct timespec){.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
}

bool clock_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ms)
{
    if (deadline_ms == CLOCK_NO_DEADLINE) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
    struct timespec at = point(deadline_ms);
    return pthread_cond_timedwait(cond, mutex, &at) != ETIMEDOUT;
}

bool clock_wait_sem(sem_t *sem, int64_t deadline_ms)
{
    struct timespec at = point(deadline_ms);
    int rc;
    do
        rc = deadline_ms == CLOCK_NO_DEADLINE ? sem_wait(sem) : sem_clockwait(sem, CLOCK_MONOTONIC, &at);
    while (rc && errno == EINTR);
    return rc == 0;
}
