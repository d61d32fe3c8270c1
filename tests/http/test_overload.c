/*
 * Who is turned away: played through in made-up time. `cpus` servers that take SERVICE each answer what is inside, first come
 * first served; the requests come from clients that wait for their answers, or from a crowd that does not.
 */
#include "http/overload.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define CPUS 2
#define SERVICE 40000 /* µs; the capacity is 50 a second */
#define INSIDE 1024
#define MS 1000

struct play {
    struct overload o;
    int64_t now;
    struct overload_ticket inside[INSIDE];
    int64_t came[INSIDE], began[INSIDE]; /* began 0: waits */
    size_t count;
    uint64_t let_in, refused, answered, late; /* late: answered after twice the time of one that is alone */
    uint64_t random;
    int64_t service; /* µs */
};

static void begin(struct play *p)
{
    *p = (struct play){.now = 1000000, .random = 88172645463325252u, .service = SERVICE};
    overload_init(&p->o, CPUS);
}

static bool come(struct play *p)
{
    struct overload_ticket t = {0};
    if (!overload_enter(&p->o, p->now, &t)) {
        p->refused++;
        return false;
    }
    assert_true(p->count < INSIDE);
    p->came[p->count] = p->now;
    p->began[p->count] = 0;
    p->inside[p->count++] = t;
    p->let_in++;
    return true;
}

/* One millisecond. → how many were answered in it */
static unsigned step(struct play *p)
{
    unsigned done = 0;
    p->now += MS;
    for (size_t i = 0; i < p->count && i < CPUS;) {
        if (!p->began[i])
            p->began[i] = p->now;
        if (p->now - p->began[i] < p->service) {
            i++;
            continue;
        }
        overload_leave(&p->o, p->now, &p->inside[i]);
        p->answered++;
        p->late += p->now - p->came[i] > 2 * SERVICE + 2 * MS;
        for (size_t k = i; k + 1 < p->count; k++) {
            p->inside[k] = p->inside[k + 1];
            p->came[k] = p->came[k + 1];
            p->began[k] = p->began[k + 1];
        }
        p->count--;
        done++;
    }
    return done;
}

/* `clients` that ask again when they have their answer, for `ms`. */
static void closed_loop(struct play *p, unsigned clients, unsigned ms)
{
    for (unsigned i = 0; i < clients; i++)
        come(p);
    for (unsigned t = 0; t < ms; t++)
        for (unsigned done = step(p); done; done--)
            come(p);
}

/* Requests by themselves, `per_second` of them, at random moments. */
static void crowd(struct play *p, unsigned per_second, unsigned ms)
{
    for (unsigned t = 0; t < ms; t++) {
        p->random ^= p->random << 13;
        p->random ^= p->random >> 7;
        p->random ^= p->random << 17;
        if (p->random % 1000 < per_second)
            come(p);
        step(p);
    }
}

static void drain(struct play *p)
{
    while (p->count)
        step(p);
}

static void test_patient_with_clients_that_wait(void **state)
{
    static const unsigned clients[] = {1, 2, 16, 64, 200};
    (void)state;
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        struct play p;
        begin(&p);
        closed_loop(&p, 1, 1000);
        drain(&p);
        closed_loop(&p, clients[i], 20000);
        assert_int_equal(p.refused, 0);
        assert_false(overload_sheds(&p.o));
        overload_destroy(&p.o);
    }
}

/* Threads that are started one after the other, and a program that sends a hundred pictures within half a second. */
static void test_patient_with_a_burst(void **state)
{
    struct play p;
    (void)state;
    begin(&p);
    for (int k = 0; k < 32; k++)
        closed_loop(&p, 1, 60);
    closed_loop(&p, 0, 3000);
    drain(&p);
    crowd(&p, 200, 500);
    drain(&p);
    assert_int_equal(p.refused, 0);
    overload_destroy(&p.o);
}

static void test_patient_below_the_capacity(void **state)
{
    struct play p;
    (void)state;
    begin(&p);
    closed_loop(&p, 1, 1000);
    crowd(&p, 40, 120000);
    assert_int_equal(p.refused, 0);
    overload_destroy(&p.o);
}

static void test_twice_the_capacity(void **state)
{
    struct play p;
    (void)state;
    begin(&p);
    closed_loop(&p, 1, 2000);
    drain(&p);
    uint64_t before = p.let_in;
    crowd(&p, 100, 4000);
    assert_true(p.refused > 0);
    assert_true(p.let_in - before < 4 * 50 + 100); /* noticed after a second or two */
    uint64_t answered = p.answered;
    p.late = p.refused = 0;
    crowd(&p, 100, 60000);
    answered = p.answered - answered;
    assert_true(answered > 60 * 50 * 9 / 10); /* nobody is turned away for nothing */
    assert_true(p.late * 100 <= answered);
    assert_true(p.refused > 60 * 40);

    /* And when they have gone, it is as before. */
    drain(&p);
    p.now += (OVERLOAD_CALM_MS + 100) * MS;
    p.refused = 0;
    closed_loop(&p, 16, 2000);
    assert_int_equal(p.refused, 0);
    assert_false(overload_sheds(&p.o));
    overload_destroy(&p.o);
}

/*
 * A load of four fifths, and a machine that is half as fast for a while because something else runs on it: some are turned away then.
 * When it is as fast as before, nobody is, although the load never ceased.
 */
static void test_a_load_that_fits_is_let_in_again(void **state)
{
    static const unsigned seconds[] = {2, 20, 200};
    (void)state;
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        struct play p;
        begin(&p);
        closed_loop(&p, 1, 2000);
        crowd(&p, 40, 20000);
        assert_int_equal(p.refused, 0);
        p.service = 2 * SERVICE;
        crowd(&p, 40, seconds[i] * 1000);
        crowd(&p, 40, 2000); /* at least once it is noticed */
        assert_true(p.refused > 0);
        p.service = SERVICE;
        crowd(&p, 40, 6 * OVERLOAD_CALM_MS);
        p.refused = 0;
        crowd(&p, 40, 120000);
        assert_int_equal(p.refused, 0);
        assert_false(overload_sheds(&p.o));
        overload_destroy(&p.o);
    }
}

/* A little more than can be answered: the queue grows too slowly to be noticed, until the wait is too long. */
static void test_limit_wait(void **state)
{
    struct play p;
    (void)state;
    begin(&p);
    closed_loop(&p, 1, 1000);
    drain(&p);
    while (p.refused == 0 && p.now < 600 * 1000 * MS)
        crowd(&p, 58, 100);
    assert_true(p.refused > 0);
    assert_true(p.count * (SERVICE / CPUS) <= (LIMIT_WAIT_MS + 500) * MS);
    overload_destroy(&p.o);
}

/* Nothing is answered, for instance because a model is being loaded: waiting is all that can be done. */
static void test_standing_still_is_no_overload(void **state)
{
    struct overload o;
    struct overload_ticket t;
    int64_t now = 1000000;
    (void)state;
    overload_init(&o, CPUS);
    for (int i = 0; i < 200; i++, now += 20 * MS)
        assert_true(overload_enter(&o, now, &t));
    overload_destroy(&o);
}

/* A store that is away for 8 seconds, again and again: everybody waits for it, and nobody is turned away when it is back. */
static void test_a_stall_is_no_overload(void **state)
{
    struct play p;
    (void)state;
    begin(&p);
    closed_loop(&p, 1, 2000);
    drain(&p);
    closed_loop(&p, 32, 2000);
    for (int k = 0; k < 8; k++) {
        p.now += 8000 * MS;
        closed_loop(&p, 0, 300 + 100 * k);
    }
    closed_loop(&p, 0, 2000);
    assert_int_equal(p.refused, 0);
    assert_false(overload_sheds(&p.o));
    overload_destroy(&p.o);
}

/*
 * A store that is away for a minute, on a machine that takes 200 ms for one picture: 32 clients wait for it until their deadline, then
 * learn after a second each time that it is not back, and ask again at once. Nobody is told that there are too many, now or afterwards.
 */
static void test_a_store_that_is_away_is_no_overload(void **state)
{
    enum { CLIENTS = 32, ALONE = 200 * MS, DEADLINE = 8000 * MS, PROBE = 1000 * MS };
    struct overload o;
    struct overload_ticket t[CLIENTS];
    int64_t now = 1000000;
    (void)state;
    overload_init(&o, CPUS);
    for (int i = 0; i < 32; i++, now += ALONE) { /* one after the other, some of them slower */
        assert_true(overload_enter(&o, now, &t[0]));
        now += i % 3 ? 0 : ALONE / 2;
        overload_leave(&o, now + ALONE, &t[0]);
    }
    for (int k = 0; k < CLIENTS; k++)
        assert_true(overload_enter(&o, now, &t[k]));
    for (int i = 0; i < 5 * CLIENTS; i++) { /* all of them at once, each answered in its turn */
        now += ALONE / CPUS;
        overload_leave(&o, now, &t[i % CLIENTS]);
        assert_true(overload_enter(&o, now, &t[i % CLIENTS]));
    }
    for (int round = 0; round < 50; round++) {
        now += round == 0 ? DEADLINE : PROBE;
        for (int k = 0; k < CLIENTS; k++, now += MS) {
            t[k].failed = true;
            overload_leave(&o, now, &t[k]);
            assert_true(overload_enter(&o, now, &t[k]));
        }
    }
    assert_false(overload_sheds(&o));
    overload_destroy(&o);
}

/* Where nobody was ever alone there is a number to begin with, and it is never less than keeps all CPUs at work. */
static void test_without_a_measure(void **state)
{
    struct play p;
    (void)state;
    begin(&p);
    crowd(&p, 200, 4000);
    assert_true(p.refused > 0);
    uint64_t answered = p.answered;
    crowd(&p, 200, 20000);
    assert_true(p.answered - answered > 20 * 50 * 9 / 10);
    overload_destroy(&p.o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patient_with_clients_that_wait),
        cmocka_unit_test(test_patient_with_a_burst),
        cmocka_unit_test(test_patient_below_the_capacity),
        cmocka_unit_test(test_twice_the_capacity),
        cmocka_unit_test(test_a_load_that_fits_is_let_in_again),
        cmocka_unit_test(test_limit_wait),
        cmocka_unit_test(test_standing_still_is_no_overload),
        cmocka_unit_test(test_a_stall_is_no_overload),
        cmocka_unit_test(test_a_store_that_is_away_is_no_overload),
        cmocka_unit_test(test_without_a_measure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
