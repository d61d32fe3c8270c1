#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_MS 100
#define LINE_MS 10000
#define BAR_WIDTH 24
#define RATE_SECONDS 8.0 /* the rate shown is the mean of about this time */

struct cli_progress {
    const char *verb;
    const struct cli_tally *tally;
    bool shown, terminal;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stopping, drawn; /* drawn: the bar stands in the last line */
    int64_t start_ms, last_ms;
    unsigned long long last_done;
    double rate; /* a second */
};

void cli_progress_duration(int64_t seconds, char out[16])
{
    if (seconds < 0)
        seconds = 0;
    if (seconds >= 3600000)
        seconds = 3599999;
    int hours = (int)(seconds / 3600), minutes = (int)(seconds / 60 % 60), rest = (int)(seconds % 60);
    if (hours)
        snprintf(out, 16, "%d:%02d:%02d", hours, minutes, rest);
    else
        snprintf(out, 16, "%d:%02d", minutes, rest);
}

static void measure(struct cli_progress *p, unsigned long long done)
{
    int64_t now = clock_now_ms();
    double seconds = (double)(now - p->last_ms) / 1000;
    if (seconds < 0.05)
        return;
    double current = (double)(done - p->last_done) / seconds;
    /* In the beginning the mean since the start, later mostly what is new. */
    double weight =
        seconds / ((double)(now - p->start_ms) / 1000 < RATE_SECONDS ? (double)(now - p->start_ms) / 1000
                                                                     : RATE_SECONDS);
    p->rate += (current - p->rate) * (weight < 1 ? weight : 1);
    p->last_ms = now;
    p->last_done = done;
}

/* "imported 120 of 2900 (4 %), 81.0 a second, 0:34 left, 1 failed" with a bar in front on a terminal. */
static void describe(struct cli_progress *p, char *out, size_t size)
{
    unsigned long long total = atomic_load(&p->tally->total), done = atomic_load(&p->tally->done);
    unsigned long long failed = atomic_load(&p->tally->failed), skipped = atomic_load(&p->tally->skipped);
    unsigned long long over = done + failed + skipped;
    size_t n = 0;
    measure(p, done + failed);
    unsigned percent = total ? (unsigned)(over * 100 / total) : 0;
    if (percent > 100)
        percent = 100;
    if (p->terminal && total) {
        unsigned full = percent * BAR_WIDTH / 100;
        n += (size_t)snprintf(out + n, size - n, "[%.*s%.*s] ", (int)full, "########################",
            (int)(BAR_WIDTH - full), "------------------------");
    }
    n += (size_t)snprintf(out + n, size - n, "%s %llu", p->verb, done);
    if (total)
        n += (size_t)snprintf(out + n, size - n, " of %llu (%u %%)", total - skipped, percent);
    n += (size_t)snprintf(out + n, size - n, ", %.1f a second", p->rate);
    if (total > over && p->rate > 0.01) {
        char left[16];
        cli_progress_duration((int64_t)((double)(total - over) / p->rate + 0.5), left);
        n += (size_t)snprintf(out + n, size - n, ", %s left", left);
    }
    if (failed)
        snprintf(out + n, size - n, ", %llu failed", failed);
}

/* The mutex is held by the caller of all below. */
static void clear_bar(struct cli_progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

static void draw(struct cli_progress *p)
{
    char text[256];
    struct winsize window;
    describe(p, text, sizeof text);
    if (!p->terminal) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    size_t width =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1u : 79;
    fprintf(stderr, "\r%.*s\033[K", (int)width, text);
    fflush(stderr);
    p->drawn = true;
}

static void *run(void *user)
{
    struct cli_progress *p = user;
    int64_t next = clock_now_ms() + (p->terminal ? BAR_MS : LINE_MS);
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        clock_wait(&p->wake, &p->mutex, next);
        if (p->stopping || !clock_passed(next))
            continue;
        draw(p);
        next = clock_now_ms() + (p->terminal ? BAR_MS : LINE_MS);
    }
    clear_bar(p);
    fflush(stderr);
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

enum result cli_progress_start(
    const char *verb, bool shown, const struct cli_tally *tally, struct cli_progress **out, struct err *err)
{
    struct cli_progress *p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory(err);
    p->verb = verb;
    p->tally = tally;
    p->shown = shown;
    const char *term = getenv("TERM");
    p->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    p->start_ms = p->last_ms = clock_now_ms();
    pthread_mutex_init(&p->mutex, NULL);
    if (clock_cond_init(&p->wake)) {
        pthread_mutex_destroy(&p->mutex);
        free(p);
        return err_no_memory(err);
    }
    /* Without the thread there is no bar, and nothing else is lost. Signals are for the first thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    p->has_thread = shown && pthread_create(&p->thread, NULL, run, p) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = p;
    return ERR_OK;
}

void cli_progress_line(struct cli_progress *p, const char *text)
{
    pthread_mutex_lock(&p->mutex);
    clear_bar(p);
    fprintf(stderr, "%s\n", text);
    pthread_mutex_unlock(&p->mutex);
}

void cli_progress_stop(struct cli_progress *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mutex);
    if (p->has_thread)
        pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}
