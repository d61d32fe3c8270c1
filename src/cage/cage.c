/*
 * The side of the server. A worker is FREE, BUSY (one thread has it, and nobody else touches it), or DEAD. Who takes a
 * dead one starts it anew; who ends one starts its successor at once, without waiting for it, so that the next picture
 * finds it ready. `started` says whether the first reply of the process, about its start, was read.
 *
 * posix_spawn() in a program with threads is safe: the child runs nothing of ours before exec. A worker gets three
 * descriptors and no signal mask but that of SIGINT and SIGTERM, which are sent to whole process groups and are the
 * server's to answer; it ends when its socket does, also after kill -9 of the server.
 *
 * Nothing of a worker is trusted: its reply is copied off the socket and checked there, the lengths must be those that
 * were asked for, and the memory is sealed, so that it cannot be cut off under us.
 */
#include "cage/cage.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/sanitized.h"
#include "cage/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 20000           /* for a worker to load its libraries, on a machine that is busy */
#define START_TRIES 3
#define KEEP_BYTES (LIMIT_MIB)   /* of shared memory that stays after a picture; larger ones give theirs back */

enum state { FREE, BUSY, DEAD };

struct worker {
    enum state state; /* under the lock */
    _Atomic pid_t pid;
    int fd, memory;
    uint8_t *shared;
    bool started;
    uint32_t pictures; /* that this process was given */
};

struct cage {
    struct cage_options options;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    unsigned count;
    struct worker workers[];
};

/* --- processes ------------------------------------------------------------------------------------------------ */

static void end_worker(struct worker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    pid_t pid = w->pid;
    if (pid > 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        metrics_change(METRIC_SANDBOX_WORKERS, 0, -1);
    }
    w->pid = 0;
    w->started = false;
}

static int prepare_spawn(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int fd, int memory)
{
    sigset_t blocked, all;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigfillset(&all);
    int e = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!e)
        e = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    if (!e && !SANITIZED) /* a worker that was taken over must not write into our log */
        e = posix_spawn_file_actions_addopen(actions, 2, "/dev/null", O_WRONLY, 0);
    if (!e)
        e = posix_spawn_file_actions_adddup2(actions, fd, CAGE_SOCKET);
    if (!e)
        e = posix_spawn_file_actions_adddup2(actions, memory, CAGE_MEMORY);
    if (!e)
        e = posix_spawn_file_actions_addclosefrom_np(actions, CAGE_MEMORY + 1);
    if (!e)
        e = posix_spawnattr_setsigmask(attributes, &blocked);
    if (!e)
        e = posix_spawnattr_setsigdefault(attributes, &all);
    return e ? e : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* `fd` and `memory` are above the numbers that they get in the child: see open_high(). */
static int spawn(int fd, int memory, pid_t *pid)
{
    static char name[] = "lookalike", argument[] = CAGE_ARGUMENT;
    char *argv[] = {name, argument, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int e = posix_spawn_file_actions_init(&actions);
    if (e)
        return e;
    e = posix_spawnattr_init(&attributes);
    if (!e) {
        e = prepare_spawn(&actions, &attributes, fd, memory);
        if (!e)
            e = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return e;
}

/* The same file under a number that no dup2() of the child takes away. */
static int open_high(int fd)
{
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CAGE_MEMORY + 1);
    if (fd >= 0)
        close(fd);
    return high;
}

static enum result open_memory(struct worker *w, struct err *err)
{
    if (w->shared)
        return ERR_OK;
    int fd = open_high(memfd_create("lookalike-picture", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0 || ftruncate(fd, (off_t)CAGE_SHARED_BYTES) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set_errno(err, e, "cannot make memory to share with the decoder");
    }
    void *shared = mmap(NULL, CAGE_SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
        close(fd);
        return err_no_memory(err);
    }
    w->shared = shared;
    w->memory = fd;
    return ERR_OK;
}

/* Starts the process; its first reply is not waited for. */
static enum result start_worker(struct cage *cage, struct worker *w, struct err *err)
{
    int pair[2];
    pid_t pid = 0;
    struct cage_request first = {.memory_bytes = cage->options.memory_bytes};
    enum result r = open_memory(w, err);
    if (r)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return err_set_errno(err, errno, "cannot start a process for decoding");
    int theirs = open_high(pair[1]);
    int e = theirs < 0 ? errno : spawn(theirs, w->memory, &pid);
    if (theirs >= 0)
        close(theirs);
    if (e) {
        close(pair[0]);
        return err_set(err, ERR_UNAVAILABLE, "cannot start a process for decoding: %s", strerror(e));
    }
    w->fd = pair[0];
    w->pid = pid;
    w->started = false;
    w->pictures = 0;
    metrics_change(METRIC_SANDBOX_WORKERS, 0, 1);
    if (send(w->fd, &first, sizeof first, MSG_NOSIGNAL) != (ssize_t)sizeof first) {
        end_worker(w);
        return err_set(err, ERR_UNAVAILABLE, "the process for decoding ended at once");
    }
    return ERR_OK;
}

/* Its successor starts at once, and is not waited for. */
static void replace_worker(struct cage *cage, struct worker *w)
{
    end_worker(w);
    enum result r = start_worker(cage, w, NULL);
    (void)r; /* the next picture tries once more, and says so if it fails */
}

enum reading { READ_OK, READ_GONE, READ_LATE };

static enum reading read_reply(struct worker *w, int64_t deadline_ms, struct cage_reply *out)
{
    for (;;) {
        struct pollfd ready = {.fd = w->fd, .events = POLLIN};
        int n = poll(&ready, 1, (int)clock_left_ms(deadline_ms));
        if (n == 0 && clock_passed(deadline_ms))
            return READ_LATE;
        if (n <= 0)
            continue; /* EINTR */
        ssize_t got = recv(w->fd, out, sizeof *out, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got != (ssize_t)sizeof *out)
            return READ_GONE;
        out->err.message[sizeof out->err.message - 1] = '\0';
        out->err.field[sizeof out->err.field - 1] = '\0';
        return READ_OK;
    }
}

/* One try to make the worker ready for a picture. `*gone`: it ended before it said why. */
static enum result try_ready(struct cage *cage, struct worker *w, bool *gone, struct err *err)
{
    struct cage_reply hello;
    if (w->pid <= 0) {
        enum result r = start_worker(cage, w, err);
        if (r)
            return r;
    }
    if (w->started)
        return ERR_OK;
    enum reading got = read_reply(w, clock_now_ms() + START_MS, &hello);
    if (got == READ_OK && hello.result == ERR_OK) {
        w->started = true;
        return ERR_OK;
    }
    end_worker(w);
    *gone = got == READ_GONE;
    if (got == READ_OK)
        return err_set(err, ERR_UNAVAILABLE, "%s", hello.err.message);
    return err_set(err, ERR_UNAVAILABLE, "the process for decoding %s", got == READ_LATE ? "does not start" : "ended while it started");
}

/* Somebody may end workers from outside, the kernel when memory is short: that is no reason to refuse a picture. */
static enum result ready_worker(struct cage *cage, struct worker *w, struct err *err)
{
    bool gone = false;
    enum result r = try_ready(cage, w, &gone, err);
    for (int again = 0; r && gone && again < START_TRIES; again++) {
        gone = false;
        r = try_ready(cage, w, &gone, err);
    }
    return r;
}

/* --- one picture ---------------------------------------------------------------------------------------------- */

/* How soon a worker could begin with a picture: 0 is not at all. Under the lock. */
static int readiness(const struct worker *w)
{
    if (w->state == BUSY)
        return 0;
    return w->state == DEAD ? 1 : w->started ? 3 : 2;
}

static struct worker *take(struct cage *cage, int64_t deadline_ms)
{
    struct worker *taken = NULL;
    pthread_mutex_lock(&cage->lock);
    for (;;) {
        for (unsigned i = 0; i < cage->count; i++)
            if (readiness(&cage->workers[i]) > (taken ? readiness(taken) : 0))
                taken = &cage->workers[i];
        if (taken || !clock_wait(&cage->freed, &cage->lock, deadline_ms))
            break;
    }
    if (taken)
        taken->state = BUSY;
    pthread_mutex_unlock(&cage->lock);
    return taken;
}

static void give_back(struct cage *cage, struct worker *w)
{
    pthread_mutex_lock(&cage->lock);
    w->state = w->pid > 0 ? FREE : DEAD;
    pthread_cond_signal(&cage->freed);
    pthread_mutex_unlock(&cage->lock);
}

/*
 * A process that has decoded so many gives way to a fresh one, which starts while the others work: the libraries lose a little memory with
 * damaged pictures, some 150 bytes of each of a mixed lot, which is nothing until a million have come. Not all of them at once.
 */
static void retire(struct cage *cage, struct worker *w)
{
    uint32_t most = cage->options.pictures + (uint32_t)(w - cage->workers) * (cage->options.pictures / 8);
    if (w->pid > 0 && w->pictures >= most)
        replace_worker(cage, w);
}

/* Pages of a large picture go back to the system. */
static void clean_up(struct worker *w, size_t input, const struct cage_reply *reply)
{
    if (input > KEEP_BYTES && fallocate(w->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, KEEP_BYTES, (off_t)(CAGE_INPUT_MAX - KEEP_BYTES)))
        return; /* it stays then, and is used again */
    if (reply->pixels_len > KEEP_BYTES &&
        fallocate(w->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)CAGE_PIXELS_AT, (off_t)CAGE_PIXELS_MAX))
        return;
}

/* The reply of a process that a stranger may have taken over: nothing in it is used before it was compared. */
static enum result read_result(const struct worker *w, const struct cage_reply *reply, const struct image_want *want,
    struct image *out, struct err *err)
{
    uint64_t pixels = (uint64_t)want->width * want->height * 3;
    if (reply->result > ERR_OK && reply->result <= ERR_INTERNAL)
        return err_set(err, (enum result)reply->result, "%s", reply->err.message);
    bool sound = reply->result == ERR_OK && reply->pixels_len == pixels && reply->width > 0 && reply->height > 0 &&
                 reply->width <= LIMIT_PICTURE_SIDE && reply->height <= LIMIT_PICTURE_SIDE &&
                 reply->thumbnail_len <= LIMIT_THUMBNAIL_BYTES && (want->thumbnail_side || reply->thumbnail_len == 0);
    if (!sound)
        return err_set(err, ERR_INTERNAL, "the decoder's process gave an answer that cannot be true");
    struct image made = {.width = reply->width, .height = reply->height, .thumbnail_len = reply->thumbnail_len};
    made.pixels = pixels ? malloc(pixels) : NULL;
    made.thumbnail = reply->thumbnail_len ? malloc(reply->thumbnail_len) : NULL;
    if ((pixels && !made.pixels) || (reply->thumbnail_len && !made.thumbnail)) {
        image_free(&made);
        return err_no_memory(err);
    }
    if (made.pixels)
        memcpy(made.pixels, w->shared + CAGE_PIXELS_AT, pixels);
    if (made.thumbnail)
        memcpy(made.thumbnail, w->shared + CAGE_THUMBNAIL_AT, made.thumbnail_len);
    *out = made;
    return ERR_OK;
}

static enum result lost_worker(struct cage *cage, struct worker *w, enum reading how, bool own_deadline, struct err *err)
{
    metrics_add(METRIC_DECODES, how == READ_LATE ? DECODE_TIMEOUT : DECODE_CRASHED, 1);
    metrics_add(METRIC_SANDBOX_RESTARTS, 0, 1);
    replace_worker(cage, w);
    if (how == READ_GONE)
        return err_set(err, ERR_INVALID, "the picture cannot be decoded: it is damaged in a way that ended the decoder");
    if (own_deadline)
        return err_set(err, ERR_INVALID, "the picture cannot be decoded within %lld ms", (long long)cage->options.timeout_ms);
    return err_set(err, ERR_TIMEOUT, "the picture was not decoded before the deadline of its request");
}

static enum result decode_with(struct cage *cage, struct worker *w, const void *data, size_t len, const struct image_want *want,
    int64_t deadline_ms, struct image *out, struct err *err)
{
    struct cage_request request = {.len = len, .want = *want};
    struct cage_reply reply = {0};
    memcpy(w->shared, data, len);
    if (send(w->fd, &request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request) {
        /* It ended while nobody used it, which is not this picture's fault. */
        metrics_add(METRIC_SANDBOX_RESTARTS, 0, 1);
        end_worker(w);
        enum result ready = ready_worker(cage, w, err);
        if (ready)
            return ready;
        if (send(w->fd, &request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request)
            return err_set(err, ERR_UNAVAILABLE, "the process for decoding ends again and again");
    }
    int64_t own = clock_now_ms() + cage->options.timeout_ms;
    bool own_deadline = deadline_ms == CLOCK_NO_DEADLINE || own <= deadline_ms;
    enum reading got = read_reply(w, own_deadline ? own : deadline_ms, &reply);
    if (got != READ_OK)
        return lost_worker(cage, w, got, own_deadline, err);
    enum result r = read_result(w, &reply, want, out, err);
    if (r == ERR_INTERNAL) /* it is not what it should be */
        end_worker(w);
    else
        clean_up(w, len, &reply);
    if (r == ERR_OK)
        out->format = image_sniff(data, len);
    metrics_add(METRIC_DECODES, r ? DECODE_REFUSED : DECODE_OK, 1);
    return r;
}

enum result cage_decode(struct cage *cage, const void *data, size_t len, const struct image_want *want, int64_t deadline_ms,
    struct image *out, struct err *err)
{
    if (!data || len == 0)
        return err_set(err, ERR_INVALID, "the picture is empty: it has no bytes");
    if (len > CAGE_INPUT_MAX)
        return err_set(err, ERR_TOO_LARGE, "the picture has more than %zu bytes", CAGE_INPUT_MAX);
    if (want->width > LIMIT_MODEL_SIDE || want->height > LIMIT_MODEL_SIDE)
        return err_set(err, ERR_TOO_LARGE, "a model's input of %u × %u pixels is over the limit of %d a side", want->width,
            want->height, LIMIT_MODEL_SIDE);
    struct worker *w = take(cage, deadline_ms);
    if (!w)
        return err_set(err, ERR_TIMEOUT, "the server is busy: the picture waited to be decoded until its deadline");
    enum result r = ready_worker(cage, w, err);
    if (r == ERR_OK)
        r = decode_with(cage, w, data, len, want, deadline_ms, out, err);
    w->pictures++;
    retire(cage, w);
    give_back(cage, w);
    if (r == ERR_UNAVAILABLE) { /* the machine's fault, and perhaps over in a moment */
        r = ERR_BUSY;
        if (err)
            err->code = r;
    }
    return r;
}

/* --- the cage ------------------------------------------------------------------------------------------------- */

int cage_worker_pid(struct cage *cage, unsigned i)
{
    return i < cage->count ? (int)cage->workers[i].pid : 0;
}

enum result cage_open(const struct cage_options *options, struct cage **out, struct err *err)
{
    unsigned count = options->workers ? options->workers : 1;
    struct cage *cage = calloc(1, sizeof *cage + count * sizeof *cage->workers);
    if (!cage)
        return err_no_memory(err);
    cage->options = *options;
    cage->options.timeout_ms = options->timeout_ms ? options->timeout_ms : LIMIT_DECODE_MS;
    cage->options.pictures = options->pictures ? options->pictures : LIMIT_DECODER_PICTURES;
    cage->options.memory_bytes = options->memory_bytes ? options->memory_bytes : LIMIT_DECODE_BYTES;
    cage->count = count;
    for (unsigned i = 0; i < count; i++)
        cage->workers[i] = (struct worker){.state = DEAD, .fd = -1, .memory = -1};
    pthread_mutex_init(&cage->lock, NULL);
    if (clock_cond_init(&cage->freed)) {
        pthread_mutex_destroy(&cage->lock);
        free(cage);
        return err_no_memory(err);
    }
    enum result r = ERR_OK;
    for (unsigned i = 0; i < count && r == ERR_OK; i++) {
        r = start_worker(cage, &cage->workers[i], err);
        cage->workers[i].state = r ? DEAD : FREE;
    }
    if (r == ERR_OK)
        r = ready_worker(cage, &cage->workers[0], err);
    if (r)
        cage_close(cage);
    else
        *out = cage;
    return r;
}

void cage_close(struct cage *cage)
{
    if (!cage)
        return;
    for (unsigned i = 0; i < cage->count; i++) {
        struct worker *w = &cage->workers[i];
        end_worker(w);
        if (w->shared)
            munmap(w->shared, CAGE_SHARED_BYTES);
        if (w->memory >= 0)
            close(w->memory);
    }
    pthread_cond_destroy(&cage->freed);
    pthread_mutex_destroy(&cage->lock);
    free(cage);
}
