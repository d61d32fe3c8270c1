/* Time. Deadlines are points of the monotonic clock in milliseconds; 0 means none. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NO_DEADLINE ((int64_t)0)

int64_t clock_now_ms(void);
int64_t clock_now_us(void);
/* Milliseconds left, never negative; INT32_MAX where there is no deadline. */
int64_t clock_left_ms(int64_t deadline_ms);
bool clock_passed(int64_t deadline_ms);

/* A condition variable that clock_wait() can wait on: pthread's default counts by the wall clock. */
int clock_cond_init(pthread_cond_t *cond);
/* Wait until signalled or until the deadline; false when the deadline has passed. Spurious wake-ups happen. */
bool clock_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ms);
/* Wait until it was posted (true) or until the deadline. */
bool clock_wait_sem(sem_t *sem, int64_t deadline_ms);

#endif
