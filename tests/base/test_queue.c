#include "base/queue.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <unistd.h>

static int items[100];

static void test_order_and_limit(void **state)
{
    (void)state;
    struct queue *q = NULL;
    void *got = NULL, *many[10];
    assert_int_equal(queue_new(0, &q), ERR_INVALID);
    assert_int_equal(queue_new(SIZE_MAX, &q), ERR_INVALID);
    assert_null(q);
    assert_int_equal(queue_new(3, &q), ERR_OK);
    for (int round = 0; round < 5; round++) { /* so that the ring wraps */
        for (int i = 0; i < 3; i++)
            assert_int_equal(queue_try_push(q, &items[i]), ERR_OK);
        assert_int_equal(queue_try_push(q, &items[3]), ERR_BUSY);
        assert_int_equal(queue_len(q), 3);
        assert_true(queue_pop(q, &got));
        assert_ptr_equal(got, &items[0]);
        assert_int_equal(queue_try_push(q, &items[3]), ERR_OK);
        assert_int_equal(queue_pop_many(q, many, 2), 2);
        assert_ptr_equal(many[0], &items[1]);
        assert_ptr_equal(many[1], &items[2]);
        assert_int_equal(queue_pop_many(q, many, 10), 1);
        assert_ptr_equal(many[0], &items[3]);
        assert_int_equal(queue_len(q), 0);
    }
    queue_free(q);
    queue_free(NULL);
}

static void test_deadline(void **state)
{
    (void)state;
    struct queue *q = NULL;
    assert_int_equal(queue_new(1, &q), ERR_OK);
    assert_int_equal(queue_push(q, &items[0], CLOCK_NO_DEADLINE), ERR_OK);
    int64_t start = clock_now_ms();
    assert_int_equal(queue_push(q, &items[1], start + 20), ERR_TIMEOUT);
    assert_true(clock_now_ms() - start >= 19);
    assert_int_equal(queue_len(q), 1);
    void *got;
    assert_true(queue_pop(q, &got));
    queue_free(q);
}

static void test_close(void **state)
{
    (void)state;
    struct queue *q = NULL;
    void *got = NULL;
    assert_int_equal(queue_new(4, &q), ERR_OK);
    assert_int_equal(queue_try_push(q, &items[0]), ERR_OK);
    queue_close(q);
    queue_close(q);
    assert_int_equal(queue_try_push(q, &items[1]), ERR_UNAVAILABLE);
    assert_int_equal(queue_push(q, &items[1], clock_now_ms() + 1000), ERR_UNAVAILABLE);
    assert_true(queue_pop(q, &got)); /* what is left is drained */
    assert_ptr_equal(got, &items[0]);
    got = &items[5];
    assert_false(queue_pop(q, &got));
    assert_ptr_equal(got, &items[5]);
    assert_int_equal(queue_pop_many(q, &got, 1), 0);
    queue_free(q);
}

struct shared {
    struct queue *q;
    atomic_ulong sum, count;
};

static void *consume(void *user)
{
    struct shared *s = user;
    void *many[7];
    size_t n;
    while ((n = queue_pop_many(s->q, many, 7)) > 0) {
        for (size_t i = 0; i < n; i++)
            atomic_fetch_add(&s->sum, (unsigned long)(uintptr_t)many[i]);
        atomic_fetch_add(&s->count, n);
    }
    return NULL;
}

enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 3000 };

static void *produce(void *user)
{
    struct shared *s = user;
    for (uintptr_t i = 1; i <= EACH; i++)
        if (queue_push(s->q, (void *)i, CLOCK_NO_DEADLINE))
            return s;
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct shared s = {0};
    assert_int_equal(queue_new(5, &s.q), ERR_OK);
    pthread_t producers[PRODUCERS], consumers[CONSUMERS];
    for (int i = 0; i < CONSUMERS; i++)
        assert_int_equal(pthread_create(&consumers[i], NULL, consume, &s), 0);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&producers[i], NULL, produce, &s), 0);
    for (int i = 0; i < PRODUCERS; i++) {
        void *failed = &s;
        pthread_join(producers[i], &failed);
        assert_null(failed);
    }
    queue_close(s.q);
    for (int i = 0; i < CONSUMERS; i++)
        pthread_join(consumers[i], NULL);
    assert_int_equal(atomic_load(&s.count), PRODUCERS * EACH);
    assert_int_equal(atomic_load(&s.sum), (unsigned long)PRODUCERS * EACH * (EACH + 1) / 2);
    queue_free(s.q);
}

static void *push_blocked(void *user)
{
    struct shared *s = user;
    return queue_push(s->q, &items[1], CLOCK_NO_DEADLINE) == ERR_UNAVAILABLE ? s : NULL;
}

static void test_close_wakes(void **state)
{
    (void)state;
    struct shared s = {0};
    assert_int_equal(queue_new(1, &s.q), ERR_OK);
    assert_int_equal(queue_try_push(s.q, (void *)(uintptr_t)1), ERR_OK);
    pthread_t pusher, popper;
    void *result = NULL;
    assert_int_equal(pthread_create(&pusher, NULL, push_blocked, &s), 0);
    usleep(20000);
    queue_close(s.q);
    pthread_join(pusher, &result);
    assert_ptr_equal(result, &s);
    assert_int_equal(pthread_create(&popper, NULL, consume, &s), 0);
    pthread_join(popper, NULL);
    assert_int_equal(atomic_load(&s.count), 1);
    queue_free(s.q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_limit),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_close_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
