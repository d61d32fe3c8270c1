/* Buffers, errors, time, the log and the CPU. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_buf_limit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_null(b.data);
    assert_int_equal(buf_append(&b, "12345", 5), ERR_OK);
    assert_int_equal(buf_append(&b, "678901", 6), ERR_TOO_LARGE);
    assert_string_equal(b.data, "12345");
    assert_int_equal(buf_appendf(&b, "%d", 678901), ERR_TOO_LARGE);
    assert_string_equal(b.data, "12345");
    assert_int_equal(buf_reserve(&b, 6), ERR_TOO_LARGE);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_TOO_LARGE);
    assert_int_equal(buf_append_str(&b, "67890"), ERR_OK);
    assert_string_equal(b.data, "1234567890");
    assert_int_equal(b.len, 10);
    assert_int_equal(buf_append(&b, "", 0), ERR_OK);
    assert_int_equal(buf_append(&b, NULL, 0), ERR_OK);
    buf_free(&b);
    assert_int_equal(buf_append_str(&b, "again"), ERR_OK);
    buf_free(&b);
    struct buf zero = {0};
    buf_free(&zero);
    buf_free(NULL);
}

static void test_buf_grows(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_appendf(&b, "%04d.", i), ERR_OK);
    assert_int_equal(b.len, 50000);
    assert_int_equal(b.data[b.len], 0);
    assert_memory_equal(b.data + 5 * 1234, "1234.", 5);
    const char *before = b.data;
    buf_clear(&b);
    assert_ptr_equal(b.data, before);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    assert_int_equal(buf_append(&b, "a\0b", 3), ERR_OK);
    size_t len = 0;
    char *taken = buf_take(&b, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(taken, "a\0b", 4);
    free(taken);
    assert_null(buf_take(&b, NULL));
    buf_clear(&b);
    buf_free(&b);
}

static void test_err(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_set(&err, ERR_BUSY, "a %s", "b"), ERR_BUSY);
    assert_int_equal(err.code, ERR_BUSY);
    assert_string_equal(err.message, "a b");
    assert_string_equal(err.field, "");
    assert_int_equal(err_set_field(&err, ERR_INVALID, "limit", "bad"), ERR_INVALID);
    assert_string_equal(err.field, "limit");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
    assert_int_equal(err_set_errno(&err, ENOSPC, "cannot write x"), ERR_IO);
    assert_string_equal(err.message, "cannot write x: No space left on device");
    assert_string_equal(err.field, "");
    assert_int_equal(err_set_errno(&err, ENOMEM, "x"), ERR_NO_MEMORY);
    assert_int_equal(err_no_memory(&err), ERR_NO_MEMORY);
    char *name = malloc(2000);
    assert_non_null(name);
    memset(name, 'x', 1999);
    name[1999] = '\0';
    assert_int_equal(err_set_field(&err, ERR_INVALID, name, "%s", name), ERR_INVALID);
    assert_int_equal(strlen(err.message), ERR_MESSAGE_MAX - 1);
    assert_int_equal(strlen(err.field), ERR_FIELD_MAX - 1);
    assert_int_equal(err_set_errno(&err, EIO, "%s", name), ERR_IO);
    assert_int_equal(strlen(err.message), ERR_MESSAGE_MAX - 1);
    free(name);
    /* What is cut in the middle of a character, or is no UTF-8, is UTF-8 all the same. */
    (void)err_set(&err, ERR_INVALID, "no \"%.4s\", no \"%s\"", "abc\xe2\x82\xac", "\xff\xc3\xa9\xed\xa0\x80x\xf0\x9f");
    assert_string_equal(err.message, "no \"abc?\", no \"?\xc3\xa9???x??\"");
    (void)err_set_field(&err, ERR_INVALID, "\x80", "%s", "\xc3");
    assert_string_equal(err.field, "?");
    assert_string_equal(err.message, "?");
}

static void test_err_names(void **state)
{
    (void)state;
    for (int a = ERR_OK; a <= ERR_INTERNAL; a++) {
        assert_string_not_equal(err_name((enum result)a), "unknown");
        for (int b = ERR_OK; b < a; b++)
            assert_string_not_equal(err_name((enum result)a), err_name((enum result)b));
    }
    assert_string_equal(err_name((enum result)(ERR_INTERNAL + 1)), "unknown");
    assert_string_equal(err_name((enum result) - 1), "unknown");
}

static void test_clock(void **state)
{
    (void)state;
    int64_t a = clock_now_us();
    usleep(3000);
    assert_true(clock_now_us() - a >= 3000);
    assert_false(clock_passed(CLOCK_NO_DEADLINE));
    assert_true(clock_passed(clock_now_ms() - 1));
    assert_true(clock_passed(clock_now_ms()));
    assert_false(clock_passed(clock_now_ms() + 10000));
    assert_int_equal(clock_left_ms(CLOCK_NO_DEADLINE), INT32_MAX);
    assert_int_equal(clock_left_ms(clock_now_ms() - 5), 0);
    int64_t left = clock_left_ms(clock_now_ms() + 10000);
    assert_true(left > 9000 && left <= 10000);
}

static void test_clock_wait(void **state)
{
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    assert_int_equal(clock_cond_init(&cond), 0);
    pthread_mutex_lock(&mutex);
    int64_t start = clock_now_ms();
    while (clock_wait(&cond, &mutex, start + 20))
        ;
    assert_true(clock_now_ms() - start >= 19);
    assert_false(clock_wait(&cond, &mutex, start));
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
}

static void on_alarm(int signal)
{
}

static void test_clock_wait_sem(void **state)
{
    sem_t sem;
    struct itimerval soon = {.it_value = {.tv_usec = 10000}}, never = {0};
    assert_int_equal(sem_init(&sem, 0, 0), 0);
    int64_t start = clock_now_ms();
    assert_false(clock_wait_sem(&sem, start + 20));
    assert_true(clock_now_ms() - start >= 19);
    assert_false(clock_wait_sem(&sem, start));
    assert_int_equal(sem_post(&sem), 0);
    assert_true(clock_wait_sem(&sem, start)); /* posted, though the deadline has passed */
    assert_int_equal(sem_post(&sem), 0);
    assert_true(clock_wait_sem(&sem, CLOCK_NO_DEADLINE));
    /* A signal ends no wait. */
    struct sigaction action = {.sa_handler = on_alarm}, before;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    start = clock_now_ms();
    assert_false(clock_wait_sem(&sem, start + 60));
    assert_true(clock_now_ms() - start >= 59);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    sem_destroy(&sem);
}

/* What `body` writes to standard error; it may end with _exit(). */
static char *stderr_of(void (*body)(void))
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        body();
        _exit(0);
    }
    close(fds[1]);
    struct buf text;
    buf_init(&text, 100000);
    char piece[1000];
    ssize_t n;
    while ((n = read(fds[0], piece, sizeof piece)) > 0)
        assert_int_equal(buf_append(&text, piece, (size_t)n), ERR_OK);
    close(fds[0]);
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return buf_take(&text, NULL);
}

static void write_lines(void)
{
    log_line(LOG_DEBUG, "not seen");
    log_line(LOG_INFO, "one %d", 1);
    log_line(LOG_ERROR, "a\nb\tc\x7f\x1b[31m d");
    log_set_level(LOG_ERROR);
    log_line(LOG_WARN, "not seen");
    log_set_level(LOG_DEBUG);
    log_line(LOG_DEBUG, "two");
}

static void test_log(void **state)
{
    (void)state;
    char *text = stderr_of(write_lines);
    assert_non_null(text);
    assert_null(strstr(text, "not seen"));
    assert_non_null(strstr(text, "Z info  one 1\n"));
    assert_non_null(strstr(text, "Z error a\\x0ab\\x09c\\x7f\\x1b[31m d\n"));
    assert_non_null(strstr(text, "Z debug two\n"));
    int lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 3);
    assert_true(text[4] == '-' && text[10] == 'T' && text[23] == 'Z');
    free(text);
}

static void write_long_line(void)
{
    static char text[10000];
    memset(text, '\n', sizeof text - 1); /* each takes four characters */
    log_line(LOG_INFO, "%s", text);
}

static void test_log_long_line(void **state)
{
    (void)state;
    char *text = stderr_of(write_long_line);
    assert_non_null(text);
    size_t n = strlen(text);
    assert_true(n > 1000 && n <= 4096);
    assert_ptr_equal(strchr(text, '\n'), text + n - 1);
    free(text);
}

static void print_features(void)
{
    dprintf(STDERR_FILENO, "%u", cpu_features());
}

/* The environment is read once in a process, so each mask gets a process of its own. */
static unsigned features_with(const char *mask)
{
    if (mask)
        setenv("LOOKALIKE_CPU_MASK", mask, 1);
    else
        unsetenv("LOOKALIKE_CPU_MASK");
    char *text = stderr_of(print_features);
    assert_non_null(text);
    unsigned f = (unsigned)strtoul(text, NULL, 10);
    free(text);
    return f;
}

static void test_cpu(void **state)
{
    (void)state;
    unsigned all = features_with(NULL);
    assert_int_equal(features_with(""), all);
    assert_int_equal(features_with("none"), 0);
    assert_int_equal(features_with("avx2"), all & CPU_AVX2);
    assert_int_equal(features_with("avx2,vnni"), all & (CPU_AVX2 | CPU_VNNI));
    assert_int_equal(features_with("neon,,dotprod,unknown"), all & (CPU_NEON | CPU_DOTPROD));
    assert_int_equal(features_with("avx2,avx512,vnni,neon,dotprod"), all);
#if defined(__aarch64__)
    assert_true(all & CPU_NEON);
#endif
    assert_true(!(all & CPU_AVX512) || (all & CPU_AVX2));
    assert_true(cpu_count() >= 1 && cpu_count() <= (unsigned)sysconf(_SC_NPROCESSORS_CONF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_limit),
        cmocka_unit_test(test_buf_grows),
        cmocka_unit_test(test_err),
        cmocka_unit_test(test_err_names),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_clock_wait),
        cmocka_unit_test(test_clock_wait_sem),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_log_long_line),
        cmocka_unit_test(test_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
