#include "cli/sender.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/queue.h"
#include "cli/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS (5 * 60 * 1000) /* a server that is busy all the time */
#define LOST_MS 30000
#define WAIT_FIRST_MS 50
#define WAIT_LONGEST_MS 4000
#define TIMEOUT_TRIES 3

struct worker {
    struct cli_sender *sender;
    struct cli_session *session;
    pthread_t thread;
    bool started;
    uint8_t *data; /* the picture being sent */
    size_t room;
    unsigned random;
};

struct cli_sender {
    const struct cli_sender_options *options;
    struct queue *queue;
    atomic_bool given_up; /* the connection is lost for good */
    atomic_ullong not_tried;
    atomic_llong last_reply_ms; /* of any worker: the server was there */
    pthread_mutex_t mutex;      /* of `end` */
    struct cli_sender_end end;
    size_t worker_count;
    struct worker workers[];
};

bool cli_sender_stopped(const struct cli_sender *s)
{
    return atomic_load(s->options->stop) || atomic_load(&s->given_up);
}

/* --- one record ----------------------------------------------------------------------------------------- */

/* The whole file into w->data; the record then has the size and time of what was read. */
static enum result read_open_file(struct worker *w, int fd, struct cli_record *record, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return err_set_errno(err, errno, "cannot be read");
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "is no file");
    if (st.st_size == 0)
        return err_set(err, ERR_INVALID, "the file is empty");
    if (st.st_size > LIMIT_BODY)
        return err_set(err, ERR_TOO_LARGE, "the file has %lld MiB; at most %d are allowed",
            (long long)st.st_size / LIMIT_MIB + 1, LIMIT_BODY / LIMIT_MIB);
    size_t size = (size_t)st.st_size, n = 0;
    if (size > w->room) {
        uint8_t *data = realloc(w->data, size);
        if (!data)
            return err_no_memory(err);
        w->data = data;
        w->room = size;
    }
    while (n < size) {
        ssize_t got = read(fd, w->data + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, errno, "cannot be read");
        if (got == 0)
            return err_set(err, ERR_IO, "became shorter while it was read");
        n += (size_t)got;
    }
    record->size = size;
    record->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return ERR_OK;
}

static enum result read_picture(
    struct worker *w, struct cli_record *record, struct cli_picture *out, struct err *err)
{
    *out = (struct cli_picture){.url = record->url};
    if (!record->path)
        return ERR_OK;
    int fd =
        open(record->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe of that name must not hold us up */
    if (fd < 0)
        return err_set_errno(err, errno, "cannot be opened");
    enum result r = read_open_file(w, fd, record, err);
    close(fd);
    if (r == ERR_OK)
        *out = (struct cli_picture){.data = w->data, .len = record->size};
    return r;
}

/* Sleep a little longer each time, and a bit at random, so that the workers do not all come back at once. */
static void back_off(struct worker *w, unsigned attempt)
{
    int64_t wait = WAIT_FIRST_MS;
    for (; attempt > 0 && wait < WAIT_LONGEST_MS; attempt--)
        wait *= 2;
    w->random = w->random * 1664525u + 1013904223u;
    wait = wait * 3 / 4 + (int64_t)(w->random >> 8) % (wait / 2 + 1);
    int64_t until = clock_now_ms() + wait;
    while (!clock_passed(until) && !cli_sender_stopped(w->sender))
        usleep(20000);
}

/* The connection is lost, and the time for it to come back is over. */
static void give_up(struct cli_sender *s, const struct err *why)
{
    pthread_mutex_lock(&s->mutex);
    if (!s->end.lost)
        s->end.why = *why;
    s->end.lost = true;
    pthread_mutex_unlock(&s->mutex);
    atomic_store(&s->given_up, true);
}

/* Whether sending again may help; false also when the sender has stopped meanwhile. */
static bool may_try_again(
    struct worker *w, enum result r, int64_t first_ms, unsigned attempt, const struct err *why)
{
    struct cli_sender *s = w->sender;
    int64_t now = clock_now_ms();
    if (cli_session_lost(w->session)) {
        int64_t limit = s->options->lost_ms ? s->options->lost_ms : LOST_MS;
        int64_t seen = atomic_load(&s->last_reply_ms);
        if (now - (first_ms > seen ? first_ms : seen) < limit)
            return true;
        give_up(s, why);
        return false;
    }
    atomic_store(&s->last_reply_ms, now);
    if (r == ERR_BUSY)
        return now - first_ms < BUSY_MS;
    return r == ERR_TIMEOUT && attempt + 1 < TIMEOUT_TRIES;
}

/* ERR_OK: acknowledged. *not_tried: the sender stopped before there was an answer. */
static enum result send_record(struct worker *w, const struct cli_put *put, bool *not_tried, struct err *err)
{
    struct cli_sender *s = w->sender;
    int64_t first = clock_now_ms();
    for (unsigned attempt = 0;; attempt++) {
        enum result r = cli_session_put(w->session, s->options->collection, put, err);
        if (r == ERR_OK) {
            atomic_store(&s->last_reply_ms, clock_now_ms());
            return ERR_OK;
        }
        if (!may_try_again(w, r, first, attempt, err)) {
            *not_tried = cli_session_lost(w->session);
            return r;
        }
        back_off(w, attempt);
        if (cli_sender_stopped(s)) {
            *not_tried = true;
            return r;
        }
    }
}

static void remember(struct cli_sender *s, const struct cli_record *record)
{
    struct err err = {0};
    const struct cli_manifest_entry entry = {.fileid = record->fileid,
        .acknowledged = true,
        .size = record->size,
        .metadata = record->metadata,
        .mtime_ns = record->mtime_ns};
    if (!record->manifest || cli_manifest_ack(record->manifest, record->key, &entry, &err) == ERR_OK)
        return;
    pthread_mutex_lock(&s->mutex);
    s->end.manifest = err;
    pthread_mutex_unlock(&s->mutex);
}

static void process(struct worker *w, struct cli_record *record)
{
    struct cli_sender *s = w->sender;
    struct cli_put put = {.fileid = record->fileid,
        .itemid = record->itemid,
        .has_itemid = record->has_itemid,
        .tags = record->tags,
        .brief = record->brief};
    struct err err = {0};
    bool not_tried = cli_sender_stopped(s);
    enum result r = ERR_OK;
    if (!not_tried) {
        r = read_picture(w, record, &put.picture, &err);
        if (r == ERR_OK)
            r = send_record(w, &put, &not_tried, &err);
    }
    if (not_tried) {
        atomic_fetch_add(&s->not_tried, 1);
    } else if (r) {
        s->options->failed(s->options->user, record, err.message);
    } else {
        remember(s, record);
        atomic_fetch_add(&s->options->tally->done, 1);
    }
    cli_record_free(record);
}

static void *run(void *user)
{
    struct worker *w = user;
    void *item;
    while (queue_pop(w->sender->queue, &item))
        process(w, item);
    return NULL;
}

/* --- life cycle ----------------------------------------------------------------------------------------- */

/* Join the workers and release everything. */
static void end_workers(struct cli_sender *s)
{
    if (s->queue)
        queue_close(s->queue);
    for (size_t i = 0; i < s->worker_count; i++) {
        if (s->workers[i].started)
            pthread_join(s->workers[i].thread, NULL);
        cli_session_close(s->workers[i].session);
        free(s->workers[i].data);
    }
    queue_free(s->queue);
    s->queue = NULL;
}

/* Signals are for the first thread, whose reading they have to interrupt. */
static int start_thread(struct worker *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

enum result cli_sender_start(
    const struct cli_sender_options *options, struct cli_sender **out, struct err *err)
{
    struct cli_sender *s = calloc(1, sizeof *s + options->jobs * sizeof s->workers[0]);
    if (!s)
        return err_no_memory(err);
    s->options = options;
    pthread_mutex_init(&s->mutex, NULL);
    enum result r = queue_new(2 * (size_t)options->jobs, &s->queue);
    if (r)
        err_no_memory(err);
    for (; r == ERR_OK && s->worker_count < options->jobs; s->worker_count++) {
        struct worker *w = &s->workers[s->worker_count];
        w->sender = s;
        w->random = (unsigned)s->worker_count * 7919u + 1;
        r = cli_session_open(options->target, &w->session, err);
        if (r)
            break;
        int e = start_thread(w);
        if (e)
            r = err_set_errno(err, e, "cannot start a thread");
        w->started = e == 0;
    }
    if (r) {
        end_workers(s);
        pthread_mutex_destroy(&s->mutex);
        free(s);
        return r;
    }
    *out = s;
    return ERR_OK;
}

enum result cli_sender_push(struct cli_sender *s, struct cli_record *record, int64_t deadline_ms)
{
    if (cli_sender_stopped(s))
        return ERR_UNAVAILABLE;
    return queue_push(s->queue, record, deadline_ms);
}

void cli_sender_finish(struct cli_sender *s, struct cli_sender_end *out)
{
    end_workers(s);
    s->end.not_tried = atomic_load(&s->not_tried);
    *out = s->end;
    pthread_mutex_destroy(&s->mutex);
    free(s);
}
