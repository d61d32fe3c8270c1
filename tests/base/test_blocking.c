/* Turns: how many work at once, and who works while others wait outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/blocking.h"

#define THREADS 12
#define LIMIT 3

static struct blocking *pool;
static atomic_int working, most, outside;
static sem_t release;

static void count_in(void)
{
    int now = atomic_fetch_add(&working, 1) + 1, seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
        ;
}

static void wait_for(atomic_int *n, int value)
{
    while (atomic_load(n) != value)
        usleep(1000);
}

static void *works(void *arg)
{
    blocking_enter(pool);
    for (int i = 0; i < 200; i++) {
        count_in();
        usleep(50);
        atomic_fetch_sub(&working, 1);
        blocking_next(pool);
    }
    blocking_leave(pool);
    return NULL;
}

static void start(pthread_t *threads, void *(*fn)(void *))
{
    atomic_store(&working, 0);
    atomic_store(&most, 0);
    atomic_store(&outside, 0);
    assert_int_equal(blocking_new(LIMIT, &pool), ERR_OK);
    sem_init(&release, 0, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, NULL), 0);
}

static void end(pthread_t *threads)
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    blocking_free(pool);
    sem_destroy(&release);
}

static void no_more_than_the_limit(void **state)
{
    pthread_t threads[THREADS];
    start(threads, works);
    end(threads);
    assert_true(atomic_load(&most) >= 1 && atomic_load(&most) <= LIMIT);
}

static void *waits_outside(void *arg)
{
    blocking_enter(pool);
    blocking_begin();
    atomic_fetch_add(&outside, 1);
    sem_wait(&release);
    blocking_end();
    blocking_next(pool); /* all come back at once; from here on they are few again */
    count_in();
    usleep(2000);
    atomic_fetch_sub(&working, 1);
    blocking_leave(pool);
    return NULL;
}

static void who_waits_outside_does_not_count(void **state)
{
    pthread_t threads[THREADS];
    start(threads, waits_outside);
    wait_for(&outside, THREADS); /* four times the limit */
    for (int i = 0; i < THREADS; i++)
        sem_post(&release);
    end(threads);
    assert_true(atomic_load(&most) >= 1 && atomic_load(&most) <= LIMIT);
}

static void *holds(void *arg)
{
    blocking_enter(pool);
    atomic_fetch_add(&outside, 1);
    sem_wait(&release);
    blocking_leave(pool);
    return NULL;
}

static void closed(void **state)
{
    pthread_t threads[THREADS];
    start(threads, holds);
    wait_for(&outside, LIMIT);
    usleep(20000);
    assert_int_equal(atomic_load(&outside), LIMIT);
    blocking_close(pool);
    wait_for(&outside, THREADS);
    for (int i = 0; i < THREADS; i++)
        sem_post(&release);
    end(threads);
}

static void of_no_pool(void **state)
{
    struct blocking *none = NULL;
    blocking_begin();
    blocking_end();
    assert_int_equal(blocking_new(0, &none), ERR_INVALID);
    assert_null(none);
    blocking_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_than_the_limit),
        cmocka_unit_test(who_waits_outside_does_not_count),
        cmocka_unit_test(closed),
        cmocka_unit_test(of_no_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
