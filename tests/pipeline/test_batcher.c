/* The batcher against a fake engine: nobody waits for company, batches fill under load, limits and deadlines hold. */
#include "base/clock.h"
#include "base/limits.h"
#include "fake_embed.h"
#include "pipeline/batcher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

struct caller {
    pthread_t thread;
    struct batcher *batcher;
    int64_t deadline;
    uint8_t pixels[FAKE_SIDE * FAKE_SIDE * 3];
    float vector[FAKE_DIMENSION];
    enum result result;
    struct err err;
};

static atomic_int refused, calling;

static void *call(void *arg)
{
    struct caller *c = arg;
    atomic_fetch_add(&calling, 1);
    c->result = batcher_run(c->batcher, c->pixels, c->vector, c->deadline, &c->err);
    if (c->result == ERR_BUSY)
        atomic_fetch_add(&refused, 1);
    return NULL;
}

static void start(struct caller *c, struct batcher *batcher, int value, int64_t deadline)
{
    memset(c, 0, sizeof *c);
    c->batcher = batcher;
    c->deadline = deadline;
    memset(c->pixels, value, sizeof c->pixels);
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void lone_picture_is_run_at_once(void **state)
{
    struct embed *embed = fake_embed_new(&(struct fake_embed_plan){.max_batch = 8});
    struct batcher *batcher;
    assert_int_equal(batcher_new(embed, &batcher, NULL), ERR_OK);
    uint8_t pixels[FAKE_SIDE * FAKE_SIDE * 3] = {0};
    float vector[FAKE_DIMENSION] = {9, 9, 9, 9};
    assert_int_equal(batcher_run(batcher, pixels, vector, CLOCK_NO_DEADLINE, NULL), ERR_OK);
    assert_true(vector[0] == 0 && vector[3] == 1);
    assert_int_equal(atomic_load(&fake_embed_log(embed)->runs), 1);
    batcher_free(batcher);
    embed_close(embed);
}

static void batches_fill_under_load_and_everybody_gets_his_own(void **state)
{
    enum { N = 64 };
    static atomic_bool hold = true;
    struct embed *embed =
        fake_embed_new(&(struct fake_embed_plan){.max_batch = 4, .parallel = 2, .delay_ms = 5, .hold = &hold});
    struct batcher *batcher;
    assert_int_equal(batcher_new(embed, &batcher, NULL), ERR_OK);
    static struct caller callers[N];
    atomic_store(&calling, 0);
    for (int i = 0; i < N; i++)
        start(&callers[i], batcher, i * 4, CLOCK_NO_DEADLINE);
    /* Both runs are held until the others wait, so that a machine too busy to start threads fills batches as well. */
    while (atomic_load(&fake_embed_log(embed)->running) < 2 || atomic_load(&calling) < N)
        usleep(1000);
    usleep(100000);
    atomic_store(&hold, false);
    for (int i = 0; i < N; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].result, ERR_OK);
        float expected = (float)(i * 4) / 255;
        float got = callers[i].vector[0] / callers[i].vector[3]; /* undo the unit length */
        assert_true(got > expected - 0.001f && got < expected + 0.001f);
    }
    struct fake_embed_log *log = fake_embed_log(embed);
    assert_int_equal(atomic_load(&log->pictures), N);
    assert_int_equal(atomic_load(&log->largest), 4);
    assert_int_equal(atomic_load(&log->most_running), 2);
    assert_true(atomic_load(&log->runs) < N);
    batcher_free(batcher);
    embed_close(embed);
}

static void deadline_passes_while_waiting(void **state)
{
    static atomic_bool hold = true;
    struct embed *embed = fake_embed_new(&(struct fake_embed_plan){.max_batch = 1, .parallel = 1, .hold = &hold});
    struct batcher *batcher;
    assert_int_equal(batcher_new(embed, &batcher, NULL), ERR_OK);
    struct caller first, second;
    start(&first, batcher, 1, CLOCK_NO_DEADLINE);
    while (atomic_load(&fake_embed_log(embed)->running) == 0)
        usleep(1000);
    start(&second, batcher, 2, clock_now_ms() + 20);
    pthread_join(second.thread, NULL);
    assert_int_equal(second.result, ERR_TIMEOUT);
    assert_non_null(strstr(second.err.message, "deadline"));
    atomic_store(&hold, false);
    pthread_join(first.thread, NULL);
    assert_int_equal(first.result, ERR_OK);
    batcher_free(batcher);
    embed_close(embed);
}

static void failure_reaches_everybody_in_the_batch(void **state)
{
    struct embed *embed = fake_embed_new(&(struct fake_embed_plan){.fail = true});
    struct batcher *batcher;
    assert_int_equal(batcher_new(embed, &batcher, NULL), ERR_OK);
    static struct caller callers[8];
    for (int i = 0; i < 8; i++)
        start(&callers[i], batcher, i, CLOCK_NO_DEADLINE);
    for (int i = 0; i < 8; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].result, ERR_UNAVAILABLE);
        assert_string_equal(callers[i].err.message, "the engine failed as planned");
    }
    batcher_free(batcher);
    embed_close(embed);
}

/* Ten more than the limit, while the engine holds the first one: exactly ten are refused, without waiting. */
static void full_queue_refuses_at_once(void **state)
{
    enum { OVER = 10, N = 1 + LIMIT_EMBED_QUEUE + OVER };
    static atomic_bool hold = true;
    struct embed *embed = fake_embed_new(&(struct fake_embed_plan){.max_batch = 64, .parallel = 1, .hold = &hold});
    struct batcher *batcher;
    assert_int_equal(batcher_new(embed, &batcher, NULL), ERR_OK);
    struct caller *callers = calloc(N, sizeof *callers);
    assert_non_null(callers);
    start(&callers[0], batcher, 0, CLOCK_NO_DEADLINE);
    while (atomic_load(&fake_embed_log(embed)->running) == 0)
        usleep(1000);
    for (int i = 1; i < N; i++)
        start(&callers[i], batcher, 0, CLOCK_NO_DEADLINE);
    while (atomic_load(&refused) < OVER)
        usleep(1000);
    atomic_store(&hold, false);
    int busy = 0;
    for (int i = 0; i < N; i++) {
        pthread_join(callers[i].thread, NULL);
        if (callers[i].result == ERR_BUSY) {
            busy++;
            assert_non_null(strstr(callers[i].err.message, "busy"));
        } else {
            assert_int_equal(callers[i].result, ERR_OK);
        }
    }
    assert_int_equal(busy, OVER);
    free(callers);
    batcher_free(batcher);
    embed_close(embed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_picture_is_run_at_once),
        cmocka_unit_test(batches_fill_under_load_and_everybody_gets_his_own),
        cmocka_unit_test(deadline_passes_while_waiting),
        cmocka_unit_test(failure_reaches_everybody_in_the_batch),
        cmocka_unit_test(full_queue_refuses_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
