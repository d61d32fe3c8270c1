/* Token buckets by a clock of the test's own. */
#include "auth/rate.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND 1000000

static unsigned takes(struct rate *rate, const char *who, int64_t now, unsigned tries)
{
    unsigned got = 0, wait = 0;
    for (unsigned i = 0; i < tries; i++)
        got += rate_take_at(rate, who, now, &wait);
    return got;
}

static void two_seconds_at_once_then_the_rate(void **state)
{
    struct rate *rate = NULL;
    unsigned wait = 0;
    assert_int_equal(rate_new(10, &rate, NULL), ERR_OK);
    assert_int_equal(takes(rate, "a", SECOND, 100), 20);
    assert_false(rate_take_at(rate, "a", SECOND, &wait));
    assert_int_equal(wait, 1);
    assert_int_equal(takes(rate, "b", SECOND, 100), 20); /* its own bucket */
    assert_int_equal(takes(rate, "a", SECOND + SECOND / 2, 100), 5);
    assert_int_equal(takes(rate, "a", 100 * SECOND, 100), 20); /* never more than it holds */
    assert_int_equal(takes(rate, "a", 50 * SECOND, 100), 0); /* a clock that goes back gives nothing */
    rate_free(rate);
}

static void slow_rates_say_how_long(void **state)
{
    struct rate *rate = NULL;
    unsigned wait = 0;
    assert_int_equal(rate_new(1, &rate, NULL), ERR_OK);
    assert_int_equal(takes(rate, "a", SECOND, 10), 2);
    assert_false(rate_take_at(rate, "a", SECOND, &wait));
    assert_int_equal(wait, 2);
    assert_true(rate_take_at(rate, "a", SECOND + 2 * SECOND, &wait));
    rate_free(rate);
}

static void addresses(void **state)
{
    struct rate *rate = NULL;
    unsigned wait = 0, got = 0;
    assert_int_equal(rate_new(1, &rate, NULL), ERR_OK);
    for (int i = 0; i < 5; i++)
        got += rate_take_address(rate, i % 2 ? "2001:db8:1:2::1" : "2001:db8:1:2:ffff::9", &wait);
    assert_int_equal(got, 2); /* one network */
    assert_true(rate_take_address(rate, "2001:db8:1:3::1", &wait));
    assert_true(rate_take_address(rate, "192.0.2.1", &wait));
    rate_free(rate);
}

/* More strangers than there are buckets: none is refused for another's sake, and nothing grows. */
static void many_strangers(void **state)
{
    struct rate *rate = NULL;
    char who[32];
    unsigned wait = 0;
    assert_int_equal(rate_new(1, &rate, NULL), ERR_OK);
    for (int i = 0; i < 3 * LIMIT_RATE_BUCKETS; i++) {
        snprintf(who, sizeof who, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_true(rate_take_at(rate, who, SECOND + i, &wait));
    }
    rate_free(rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_seconds_at_once_then_the_rate),
        cmocka_unit_test(slow_rates_say_how_long),
        cmocka_unit_test(addresses),
        cmocka_unit_test(many_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
