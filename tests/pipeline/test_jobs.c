/* The registry of long work: states, progress, cancelling, limits, and that nothing is left behind. */
#include "base/clock.h"
#include "base/limits.h"
#include "pipeline/jobs.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>
#include <cmocka.h>

struct plan {
    atomic_bool go;      /* the work waits for it, or for being cancelled */
    enum result end;
    atomic_int released;
};

static enum result work(struct job *job, void *user, struct buf *result, struct err *err)
{
    struct plan *plan = user;
    job_message(job, "waiting in %s", job_collection(job));
    while (!atomic_load(&plan->go)) {
        if (job_cancelled(job))
            return err_set(err, ERR_TIMEOUT, "stopped");
        usleep(1000);
    }
    for (uint64_t i = 0; i <= 10; i++)
        job_progress(job, i, 10);
    if (plan->end)
        return err_set(err, plan->end, "it went wrong");
    return buf_append_str(result, "{\"rows\":10}");
}

static void release(void *user)
{
    atomic_fetch_add(&((struct plan *)user)->released, 1);
}

static struct job_view wait_for_end(struct jobs *jobs, const char *id)
{
    struct job_view view;
    int64_t deadline = clock_now_ms() + 20000;
    for (uint64_t version = 0;; version = view.version) {
        assert_int_equal(jobs_wait(jobs, id, version, deadline, NULL), ERR_OK);
        assert_int_equal(jobs_get(jobs, id, &view, NULL), ERR_OK);
        if (view.state != JOB_RUNNING)
            return view;
        job_view_free(&view);
    }
}

static void a_job_runs_and_is_remembered(void **state)
{
    struct jobs *jobs;
    struct plan plan = {0};
    char id[JOB_ID_SIZE];
    struct job_view view;
    assert_int_equal(jobs_new(&jobs, NULL), ERR_OK);
    assert_int_equal(jobs_start(jobs, &(struct job_work){"tune", "shop", work, release, &plan}, id, NULL), ERR_OK);
    assert_int_equal(jobs_get(jobs, id, &view, NULL), ERR_OK);
    assert_int_equal(view.state, JOB_RUNNING);
    assert_true(view.started_ms > 0 && view.finished_ms == 0 && view.result == NULL);
    atomic_store(&plan.go, true);
    view = wait_for_end(jobs, id);
    assert_int_equal(view.state, JOB_DONE);
    assert_string_equal(view.kind, "tune");
    assert_string_equal(view.collection, "shop");
    assert_string_equal(view.message, "waiting in shop");
    assert_true(view.done == 10 && view.total == 10 && view.finished_ms >= view.started_ms);
    assert_string_equal(view.result, "{\"rows\":10}");
    assert_int_equal(atomic_load(&plan.released), 1);
    job_view_free(&view);
    assert_int_equal(jobs_cancel(jobs, id, NULL), ERR_OK); /* changes nothing */
    assert_int_equal(jobs_get(jobs, id, &view, NULL), ERR_OK);
    assert_int_equal(view.state, JOB_DONE);
    job_view_free(&view);
    struct err err = {0};
    assert_int_equal(jobs_get(jobs, "1-1", &view, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "1-1"));
    assert_int_equal(jobs_cancel(jobs, "nothing", NULL), ERR_NOT_FOUND);
    assert_int_equal(jobs_wait(jobs, "nothing", 0, CLOCK_NO_DEADLINE, NULL), ERR_NOT_FOUND);
    jobs_free(jobs);
}

static void failing_and_cancelling(void **state)
{
    struct jobs *jobs;
    struct plan fails = {.go = true, .end = ERR_IO}, hangs = {0};
    char id[JOB_ID_SIZE];
    assert_int_equal(jobs_new(&jobs, NULL), ERR_OK);
    assert_int_equal(jobs_start(jobs, &(struct job_work){"backup", NULL, work, release, &fails}, id, NULL), ERR_OK);
    struct job_view view = wait_for_end(jobs, id);
    assert_int_equal(view.state, JOB_FAILED);
    assert_string_equal(view.message, "it went wrong");
    assert_true(view.collection[0] == '\0' && view.result == NULL);
    assert_int_equal(jobs_start(jobs, &(struct job_work){"backup", NULL, work, release, &hangs}, id, NULL), ERR_OK);
    /* Nothing changes any more once the message is there: waiting ends by its deadline. */
    usleep(50000);
    assert_int_equal(jobs_get(jobs, id, &view, NULL), ERR_OK);
    assert_int_equal(jobs_wait(jobs, id, view.version, clock_now_ms() + 30, NULL), ERR_TIMEOUT);
    assert_int_equal(jobs_cancel(jobs, id, NULL), ERR_OK);
    view = wait_for_end(jobs, id);
    assert_int_equal(view.state, JOB_CANCELLED);
    assert_int_equal(atomic_load(&hangs.released), 1);
    jobs_free(jobs);
}

static void two_of_a_kind_and_too_many(void **state)
{
    struct jobs *jobs;
    struct plan plan = {0};
    struct err err = {0};
    char name[32], first[JOB_ID_SIZE];
    assert_int_equal(jobs_new(&jobs, NULL), ERR_OK);
    for (int i = 0; i < LIMIT_JOBS_RUNNING; i++) {
        snprintf(name, sizeof name, "c%d", i);
        assert_int_equal(jobs_start(jobs, &(struct job_work){"tune", name, work, release, &plan}, i ? NULL : first, NULL), ERR_OK);
        assert_int_equal(jobs_start(jobs, &(struct job_work){"tune", name, work, release, &plan}, NULL, &err), ERR_EXISTS);
        assert_non_null(strstr(err.message, name));
    }
    assert_int_equal(jobs_start(jobs, &(struct job_work){"reembed", "c0", work, release, &plan}, NULL, &err), ERR_BUSY);
    assert_int_equal(jobs_cancel(jobs, first, NULL), ERR_OK);
    wait_for_end(jobs, first);
    assert_int_equal(jobs_start(jobs, &(struct job_work){"reembed", "c0", work, release, &plan}, NULL, NULL), ERR_OK);
    /* What runs is stopped and waited for. */
    jobs_free(jobs);
    assert_int_equal(atomic_load(&plan.released), LIMIT_JOBS_RUNNING + 1);
}

static void newest_first_and_the_oldest_forgotten(void **state)
{
    enum { MORE = 5 };
    struct jobs *jobs;
    struct plan hangs = {0}, quick = {.go = true};
    char ids[LIMIT_JOBS_KEPT + MORE][JOB_ID_SIZE], running[JOB_ID_SIZE];
    struct job_view *views, view;
    size_t count;
    assert_int_equal(jobs_new(&jobs, NULL), ERR_OK);
    assert_int_equal(jobs_start(jobs, &(struct job_work){"old", NULL, work, release, &hangs}, running, NULL), ERR_OK);
    for (int i = 0; i < LIMIT_JOBS_KEPT + MORE; i++) {
        assert_int_equal(jobs_start(jobs, &(struct job_work){"tune", NULL, work, release, &quick}, ids[i], NULL), ERR_OK);
        view = wait_for_end(jobs, ids[i]);
        job_view_free(&view);
    }
    assert_int_equal(jobs_list(jobs, &views, &count, NULL), ERR_OK);
    assert_int_equal(count, LIMIT_JOBS_KEPT + 1);
    assert_string_equal(views[0].id, ids[LIMIT_JOBS_KEPT + MORE - 1]);
    assert_string_equal(views[count - 2].id, ids[MORE]);
    assert_string_equal(views[count - 1].id, running); /* one that runs is never forgotten */
    free(views);
    assert_int_equal(jobs_get(jobs, ids[MORE - 1], &view, NULL), ERR_NOT_FOUND);
    assert_int_equal(jobs_get(jobs, ids[MORE], &view, NULL), ERR_OK);
    job_view_free(&view);
    jobs_free(jobs);
    jobs_free(NULL);
}

static enum result talkative(struct job *job, void *user, struct buf *result, struct err *err)
{
    enum result r = buf_reserve(result, LIMIT_JOB_RESULT + 1);
    return r ? err_set(err, r, "the result is too large") : ERR_OK;
}

static void a_result_has_its_limit(void **state)
{
    struct jobs *jobs;
    char id[JOB_ID_SIZE];
    assert_int_equal(jobs_new(&jobs, NULL), ERR_OK);
    assert_int_equal(jobs_start(jobs, &(struct job_work){.kind = "export", .run = talkative}, id, NULL), ERR_OK);
    struct job_view view = wait_for_end(jobs, id);
    assert_int_equal(view.state, JOB_FAILED);
    assert_string_equal(view.message, "the result is too large");
    jobs_free(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_runs_and_is_remembered),
        cmocka_unit_test(failing_and_cancelling),
        cmocka_unit_test(two_of_a_kind_and_too_many),
        cmocka_unit_test(newest_first_and_the_oldest_forgotten),
        cmocka_unit_test(a_result_has_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
