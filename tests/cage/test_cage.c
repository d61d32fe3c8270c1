/*
 * Decoding in worker processes: the same answers as in this process for every fixture, workers that are locked in, and
 * workers that crash, take too much memory or too long: one picture is refused and the next one is decoded.
 */
#include "cage/cage.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/sanitized.h"
#include "fixtures.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct image_want want = {.width = 64, .height = 48, .resize = IMAGE_SHORT_SIDE_CROP, .thumbnail_side = 32};

static struct cage *must_open(unsigned workers, int64_t timeout_ms, uint64_t memory)
{
    struct cage *cage = NULL;
    struct err err = {0};
    struct cage_options options = {.workers = workers, .timeout_ms = timeout_ms, .memory_bytes = memory};
    if (cage_open(&options, &cage, &err))
        fail_msg("%s", err.message);
    return cage;
}

static void must_decode(struct cage *cage, const char *name)
{
    struct fixture f = fixture_read(name);
    struct image image = {0};
    struct err err = {0};
    if (cage_decode(cage, f.data, f.len, &want, 0, &image, &err))
        fail_msg("%s: %s", name, err.message);
    image_free(&image);
    fixture_free(&f);
}

static void the_same_answers_as_without(void **state)
{
    struct cage *cage = must_open(1, 60000, 0);
    int pid = cage_worker_pid(cage, 0), good = 0, bad = 0;
    for (size_t i = 0; fixture_name(i); i++) {
        struct fixture f = fixture_read(fixture_name(i));
        struct image here = {0}, there = {0};
        struct err err = {0}, err_there = {0};
        enum result r = image_decode(f.data, f.len, &want, &here, &err);
        assert_int_equal(cage_decode(cage, f.data, f.len, &want, 0, &there, &err_there), r);
        assert_string_equal(err_there.message, err.message);
        if (r == ERR_OK) {
            assert_memory_equal(there.pixels, here.pixels, 64 * 48 * 3);
            assert_int_equal(there.thumbnail_len, here.thumbnail_len);
            assert_memory_equal(there.thumbnail, here.thumbnail, here.thumbnail_len);
            assert_int_equal(there.width, here.width);
            assert_int_equal(there.height, here.height);
            assert_string_equal(there.format, here.format);
            good++;
        } else {
            bad++;
        }
        image_free(&here);
        image_free(&there);
        fixture_free(&f);
    }
    assert_true(good > 30 && bad > 3);
    assert_int_equal(cage_worker_pid(cage, 0), pid); /* none of them ended the worker */
    struct image none = {0};
    assert_int_equal(cage_decode(cage, "", 0, &want, 0, &none, NULL), ERR_INVALID);
    assert_int_equal(cage_decode(cage, "x", 1, &(struct image_want){.width = LIMIT_MODEL_SIDE + 1, .height = 1}, 0, &none, NULL), ERR_TOO_LARGE);
    assert_int_equal(cage_decode(cage, "x", (size_t)LIMIT_BODY + 1, &want, 0, &none, NULL), ERR_TOO_LARGE);
    cage_close(cage);
}

#if !SANITIZED /* there is neither filter nor limit of memory then, see lock.c */
static bool status_has(int pid, const char *line)
{
    static char text[8192];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    assert_true(n > 0);
    text[n] = '\0';
    return strstr(text, line) != NULL;
}

static void workers_are_locked_in(void **state)
{
    struct cage *cage = must_open(1, 0, 0);
    must_decode(cage, "rgb.png");
    int pid = cage_worker_pid(cage, 0);
    assert_true(status_has(pid, "\nSeccomp:\t2\n"));
    assert_true(status_has(pid, "\nNoNewPrivs:\t1\n"));
    char path[64], other[64];
    for (int fd = 0; fd < 64; fd++) { /* nothing of ours is open there but the socket and the memory */
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
        ssize_t n = readlink(path, other, sizeof other - 1);
        if (fd > 4)
            assert_int_equal(n, -1);
    }
    cage_close(cage);
    assert_int_equal(kill(pid, 0), -1); /* gone with it */
}
#endif

struct victim {
    struct cage *cage;
    enum result result;
    struct err err;
};

static void *decode_slowly(void *arg)
{
    struct victim *v = arg;
    struct fixture f = fixture_read("limit.png");
    struct image image = {0};
    v->result = cage_decode(v->cage, f.data, f.len, &want, 0, &image, &v->err);
    image_free(&image);
    fixture_free(&f);
    return NULL;
}

static void a_crash_costs_one_picture(void **state)
{
    static const int signals[] = {SIGSEGV, SIGABRT, SIGKILL, SIGBUS};
    struct cage *cage = must_open(1, 60000, 0);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct victim v = {.cage = cage};
        pthread_t thread;
        must_decode(cage, "rgb.jpg");
        int pid = cage_worker_pid(cage, 0);
        kill(pid, SIGSTOP); /* so that it cannot be done before it dies, however long this thread is held up */
        assert_int_equal(pthread_create(&thread, NULL, decode_slowly, &v), 0);
        usleep(300 * 1000);
        kill(pid, signals[i]);
        kill(pid, SIGCONT);
        pthread_join(thread, NULL);
        assert_int_equal(v.result, ERR_INVALID);
        assert_non_null(strstr(v.err.message, "ended the decoder"));
        must_decode(cage, "rgb.jpg");
        assert_int_not_equal(cage_worker_pid(cage, 0), pid);
    }
    /* One that dies while nobody uses it is found out by the next picture. */
    kill(cage_worker_pid(cage, 0), SIGKILL);
    usleep(50 * 1000);
    must_decode(cage, "rgb.jpg");
    cage_close(cage);
}

static void too_long(void **state)
{
    struct cage *cage = must_open(1, 5, 0);
    struct victim v = {.cage = cage};
    decode_slowly(&v);
    assert_int_equal(v.result, ERR_INVALID);
    assert_non_null(strstr(v.err.message, "within 5 ms"));
    cage_close(cage);
    /* The deadline of the request instead: not the picture's fault. */
    cage = must_open(1, 60000, 0);
    struct fixture f = fixture_read("limit.png");
    struct image image = {0};
    assert_int_equal(cage_decode(cage, f.data, f.len, &want, clock_now_ms() + 10, &image, NULL), ERR_TIMEOUT);
    fixture_free(&f);
    must_decode(cage, "rgb.jpg");
    cage_close(cage);
}

#if !SANITIZED
static void too_much_memory(void **state)
{
    struct cage *cage = must_open(1, 60000, 24 * 1024 * 1024);
    struct fixture f = fixture_read("photo-large.jpg");
    struct image image = {0};
    /* A model's input of the largest size needs more than that alone. */
    const struct image_want huge = {.width = LIMIT_MODEL_SIDE, .height = LIMIT_MODEL_SIDE, .resize = IMAGE_STRETCH};
    enum result r = cage_decode(cage, f.data, f.len, &huge, 0, &image, NULL);
    assert_true(r == ERR_INVALID || r == ERR_NO_MEMORY);
    fixture_free(&f);
    must_decode(cage, "rgb.jpg");
    cage_close(cage);
}

#endif

/* A process gives way to a fresh one after so many, and nobody notices. */
static void none_grows_old(void **state)
{
    struct cage *cage = NULL;
    const struct cage_options options = {.workers = 2, .timeout_ms = 60000, .pictures = 8};
    assert_int_equal(cage_open(&options, &cage, NULL), ERR_OK);
    int seen[12], count = 0;
    for (int i = 0; i < 50; i++) {
        must_decode(cage, "one.png");
        for (unsigned k = 0; k < 2; k++) {
            int pid = cage_worker_pid(cage, k);
            bool known = false;
            for (int j = 0; j < count; j++)
                known |= seen[j] == pid;
            if (!known && count < 12)
                seen[count++] = pid;
        }
    }
    /* 50 pictures by processes that do 8 (the second place: 9): at least 5 have ended, and no more than that were started. */
    assert_in_range(count, 2 + 5, 2 + 6);
    cage_close(cage);
    (void)state;
}

static void *decode_many(void *arg)
{
    for (int i = 0; i < 40; i++) {
        struct victim *v = arg;
        struct fixture f = fixture_read(i % 2 ? "photo.jpg" : "rgba.png");
        struct image image = {0};
        struct err err = {0};
        enum result r = cage_decode(v->cage, f.data, f.len, &want, 0, &image, &err);
        if (r && r != ERR_INVALID)
            v->result = r;
        image_free(&image);
        fixture_free(&f);
    }
    return NULL;
}

static void many_threads_while_workers_die(void **state)
{
    struct victim v = {.cage = must_open(2, 0, 0)};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode_many, &v), 0);
    for (unsigned i = 0; i < 4; i++) {
        usleep(30 * 1000);
        int pid = cage_worker_pid(v.cage, i % 2);
        if (pid > 0)
            kill(pid, SIGSEGV);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(v.result, ERR_OK);
    must_decode(v.cage, "rgb.jpg");
    cage_close(v.cage);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], CAGE_ARGUMENT) == 0)
        return cage_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_answers_as_without),
#if !SANITIZED
        cmocka_unit_test(workers_are_locked_in),
        cmocka_unit_test(too_much_memory),
#endif
        cmocka_unit_test(a_crash_costs_one_picture),
        cmocka_unit_test(too_long),
        cmocka_unit_test(none_grows_old),
        cmocka_unit_test(many_threads_while_workers_die),
    };
    return cmocka_run_group_tests(tests, fixture_start, NULL);
}
