/* The sender where there is nobody to send to: what happens when a server is there is tested from outside. */
#include "cli/sender.h"

#include "base/clock.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <unistd.h>

static char folder[64];
static atomic_int failures;
static char reason[600];

static void on_failure(void *user, const struct cli_record *record, const char *why)
{
    (void)user;
    (void)record;
    atomic_fetch_add(&failures, 1);
    snprintf(reason, sizeof reason, "%s", why);
}

static struct cli_record *make_record(const char *file, off_t size)
{
    struct cli_record *r = calloc(1, sizeof *r);
    assert_non_null(r);
    assert_true(asprintf(&r->path, "%s/%s", folder, file) > 0);
    r->name = strdup(file);
    r->key = strdup(file);
    if (size >= 0) {
        FILE *f = fopen(r->path, "we");
        assert_non_null(f);
        assert_int_equal(ftruncate(fileno(f), size), 0);
        fclose(f);
    }
    return r;
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&failures, 0);
    snprintf(folder, sizeof folder, "/tmp/lookalike-sender-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

struct fixture {
    struct cli_args args;
    struct cli_target *target;
    struct cli_tally tally;
    atomic_bool stop;
    struct cli_sender_options options;
    struct cli_sender *sender;
};

/* A sender to a port where nobody listens. */
static struct fixture *start(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->args.server = "http://127.0.0.1:1/";
    assert_int_equal(cli_target_open(&f->args, true, &f->target, NULL), ERR_OK);
    assert_string_equal(cli_target_name(f->target), "http://127.0.0.1:1");
    f->options = (struct cli_sender_options){.target = f->target,
        .collection = "shop",
        .jobs = 3,
        .tally = &f->tally,
        .stop = &f->stop,
        .lost_ms = 300,
        .failed = on_failure};
    assert_int_equal(cli_sender_start(&f->options, &f->sender, NULL), ERR_OK);
    return f;
}

static struct cli_sender_end finish(struct fixture *f)
{
    struct cli_sender_end end;
    cli_sender_finish(f->sender, &end);
    cli_target_close(f->target);
    free(f);
    return end;
}

static void test_connection_lost(void **state)
{
    (void)state;
    struct fixture *f = start();
    int64_t begin = clock_now_ms();
    uint64_t taken = 0;
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.jpg", i);
        struct cli_record *r = make_record(name, 10);
        enum result result = cli_sender_push(f->sender, r, clock_now_ms() + 10000);
        if (result) {
            assert_int_equal(result, ERR_UNAVAILABLE);
            cli_record_free(r);
            break;
        }
        taken++;
    }
    assert_true(taken < 100);
    while (!cli_sender_stopped(f->sender))
        usleep(1000);
    assert_int_equal(atomic_load(&f->tally.done), 0);
    struct cli_sender_end end = finish(f);
    assert_true(clock_now_ms() - begin >= 300 && clock_now_ms() - begin < 15000);
    assert_true(end.lost);
    assert_non_null(strstr(end.why.message, "127.0.0.1:1"));
    assert_int_equal(
        end.not_tried, taken); /* nothing is counted as failed: nothing is known about any of them */
    assert_int_equal(atomic_load(&failures), 0);
}

static void test_stop(void **state)
{
    (void)state;
    struct fixture *f = start();
    f->options.lost_ms = 60000;
    for (int i = 0; i < 4; i++) {
        char name[16]; /* of its own: one that is written again while it is read is a failure */
        snprintf(name, sizeof name, "stop%d.jpg", i);
        assert_int_equal(cli_sender_push(f->sender, make_record(name, 10), clock_now_ms() + 5000), ERR_OK);
    }
    usleep(20000);
    int64_t begin = clock_now_ms();
    atomic_store(&f->stop, true);
    struct cli_record *r = make_record("b.jpg", 10);
    assert_int_equal(cli_sender_push(f->sender, r, clock_now_ms() + 5000), ERR_UNAVAILABLE);
    cli_record_free(r);
    struct cli_sender_end end = finish(f);
    assert_true(clock_now_ms() - begin < 5000);
    assert_false(end.lost);
    assert_int_equal(end.not_tried, 4);
}

static void check_refused(const char *name, off_t size, const char *word)
{
    struct fixture *f = start();
    int before = atomic_load(&failures);
    assert_int_equal(cli_sender_push(f->sender, make_record(name, size), clock_now_ms() + 5000), ERR_OK);
    struct cli_sender_end end = finish(f);
    assert_int_equal(atomic_load(&failures), before + 1);
    assert_int_equal(end.not_tried, 0);
    if (!strstr(reason, word))
        fail_msg("\"%s\" does not say \"%s\"", reason, word);
}

/* What cannot be a picture is refused before anything is sent. */
static void test_files_that_are_not_sent(void **state)
{
    (void)state;
    check_refused("empty.jpg", 0, "empty");
    check_refused("missing.jpg", -1, "No such file");
    check_refused("large.jpg", (off_t)LIMIT_BODY + 1, "32");
    check_refused("../../tmp", -1, "no file");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connection_lost), TEST(test_stop), TEST(test_files_that_are_not_sent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
