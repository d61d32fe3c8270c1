/*
 * Starting and stopping. Threads: libmicrohttpd's I/O threads (one epoll each), our workers that run the
 * handler, and the watcher of conn.c. None of them takes signals; those are for the program's main thread.
 *
 * Stopping goes in steps, because libmicrohttpd aborts the program when it is stopped with suspended
 * connections: new connections and requests are turned away; requests in hand get `grace_ms`; then those that
 * wait for a worker are answered with 503; the workers end (a handler cannot be killed, so this waits for it:
 * handlers know their deadline); now nothing is suspended, and libmicrohttpd ends. New connections are turned
 * away by the accept policy and not by MHD_quiesce_daemon(), which in 0.9.75 aborts when it meets an I/O
 * thread that is just full.
 */
#include "http/internal.h"

#include "base/clock.h"
#include "base/cpu.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* Room for the headers, libmicrohttpd's records about them, and the headers of the reply. */
#define CONNECTION_MEMORY ((size_t)3 * LIMIT_HEADER_BYTES)
#define CLOSED_MS 500 /* see conn.c */
#define LIGHT_WORKERS 4
#define THREADS_A_TURN 4 /* three of four may wait for a store or a host elsewhere, and as many as ever work */
#define FLUSH_MS 200 /* for the replies of the last requests, after the grace */

static enum MHD_Result on_accept(void *arg, const struct sockaddr *address, socklen_t len)
{
    struct http_server *server = arg;
    return atomic_load(&server->stopping) ? MHD_NO : MHD_YES;
}

static void on_connection(
    void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        http_conn_opened(arg, mhd, context);
    else
        http_conn_closed(arg, context);
}

/* Decoding is ours, see target.c. */
static size_t on_unescape(void *arg, struct MHD_Connection *mhd, char *text)
{
    return strlen(text);
}

static enum result start_daemon(struct http_server *server, int fd, struct err *err)
{
    static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    struct MHD_OptionItem pool[] = {
        {MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)server->options.io_threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (server->options.io_threads < 2)
        pool[0].option = MHD_OPTION_END; /* a pool of one is refused; without a pool there is one thread */
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)http_tls_certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    if (!server->tls)
        tls[0].option = MHD_OPTION_END;
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                           (server->tls ? MHD_USE_TLS : 0);
    /* clang-format off */
    server->daemon = MHD_start_daemon(flags, 0, on_accept, server, http_exchange_call, server,
        MHD_OPTION_EXTERNAL_LOGGER, http_conn_log, server, /* first: hears all complaints */
        MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_ARRAY, pool,
        MHD_OPTION_ARRAY, tls,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)LIMIT_CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, 0U, /* conn.c has better ones */
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_NOTIFY_COMPLETED, http_exchange_done, server,
        MHD_OPTION_URI_LOG_CALLBACK, http_exchange_open, server,
        MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, server,
#if MHD_VERSION >= 0x01000000
        /* No folded lines, bare LF, blanks in targets. That of 0.9.75 closes where we can reply. */
        MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#endif
        MHD_OPTION_END);
    /* clang-format on */
    if (!server->daemon)
        return err_set(err, ERR_IO, "The HTTP server could not be started on %s.", server->options.listen);
    return ERR_OK;
}

static enum result start_lane(struct http_lane *lane, unsigned at_once, struct err *err)
{
    unsigned workers = at_once * THREADS_A_TURN;
    lane->workers = calloc(workers, sizeof *lane->workers);
    if (!lane->workers || blocking_new(at_once, &lane->turns))
        return err_no_memory(err);
    while (lane->worker_count < workers) {
        int e = pthread_create(&lane->workers[lane->worker_count], NULL, http_exchange_work, lane);
        if (e)
            return err_set_errno(err, e, "Cannot start the threads of the HTTP server");
        lane->worker_count++;
    }
    return ERR_OK;
}

static enum result start_threads(struct http_server *server, struct err *err)
{
    enum result r = start_lane(&server->lanes[HTTP_LANE_WORK], server->options.workers, err);
    if (r == ERR_OK)
        r = start_lane(&server->lanes[HTTP_LANE_LIGHT], LIGHT_WORKERS, err);
    if (r)
        return r;
    int e = pthread_create(&server->watcher, NULL, http_conn_watch, server);
    if (e)
        return err_set_errno(err, e, "Cannot start the threads of the HTTP server");
    server->watching = true;
    return ERR_OK;
}

static void fill_defaults(struct http_options *o)
{
    o->io_threads = o->io_threads ? o->io_threads : 2;
    o->workers = o->workers ? o->workers : 32;
    o->max_body = o->max_body ? o->max_body : LIMIT_BODY;
    o->header_ms = o->header_ms ? o->header_ms : LIMIT_HEADER_MS;
    o->body_ms = o->body_ms ? o->body_ms : LIMIT_BODY_MS;
    o->idle_ms = o->idle_ms ? o->idle_ms : LIMIT_IDLE_MS;
    o->request_ms = o->request_ms ? o->request_ms : LIMIT_REQUEST_MS;
}

static enum result init(struct http_server *server, const struct http_options *options, struct err *err)
{
    server->options = *options;
    fill_defaults(&server->options);
    overload_init(&server->overload, cpu_count());
    server->options.listen = NULL;
    atomic_store(&server->budget, (size_t)LIMIT_BODIES);
    atomic_store(&server->closed_ms, CLOSED_MS);
    if (pthread_mutex_init(&server->lock, NULL) || clock_cond_init(&server->wake_watcher) ||
        clock_cond_init(&server->request_ended))
        return err_no_memory(err);
    for (size_t i = 0; i < HTTP_LANES; i++)
        if (queue_new(LIMIT_REQUEST_QUEUE, &server->lanes[i].queue))
            return err_no_memory(err);
    server->options.listen = strdup(options->listen);
    server->options.cors_origin = NULL; /* from here on it is server->cors */
    if (!server->options.listen)
        return err_no_memory(err);
    server->tls = options->tls_cert != NULL;
    server->options.tls_cert = server->options.tls_key = NULL;
    if (server->tls) {
        server->options.tls_cert = strdup(options->tls_cert);
        server->options.tls_key = strdup(options->tls_key);
        enum result r = server->options.tls_cert && server->options.tls_key ? http_server_reload(server, err) : err_no_memory(err);
        if (r)
            return r;
    }
    return options->cors_origin ? http_cors_parse(server, options->cors_origin, err) : ERR_OK;
}

enum result http_server_start(const struct http_options *options, struct http_server **out, struct err *err)
{
    int fd = -1;
    sigset_t all, before;
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return err_no_memory(err);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the threads inherit it */
    enum result r = init(server, options, err);
    if (!r)
        r = http_listen(options->listen, &fd, &server->port, err);
    if (!r)
        r = start_threads(server, err);
    if (!r)
        r = start_daemon(server, fd, err);
    if (!r || server->watching) /* libmicrohttpd was called: the socket is its own, also where it failed */
        fd = -1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!r) {
        *out = server;
        return ERR_OK;
    }
    if (fd >= 0)
        close(fd);
    http_server_stop(server, 0);
    return r;
}

/* Until no request is in hand or the deadline has passed. */
static void wait_for_requests(struct http_server *server, int64_t ms)
{
    int64_t deadline = clock_now_ms() + ms;
    pthread_mutex_lock(&server->lock);
    while (server->active > 0 && clock_wait(&server->request_ended, &server->lock, deadline))
        ;
    pthread_mutex_unlock(&server->lock);
}

/* Their handlers notice `aborting` by themselves; a handler cannot be killed. */
static void wait_for_streams(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->stream_count > 0)
        clock_wait(&server->request_ended, &server->lock, CLOCK_NO_DEADLINE);
    pthread_mutex_unlock(&server->lock);
}

static void join_watcher(struct http_server *server)
{
    if (!server->watching)
        return;
    pthread_mutex_lock(&server->lock);
    server->quit = true;
    pthread_cond_signal(&server->wake_watcher);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->watcher, NULL);
}

static void end_lane(struct http_lane *lane)
{
    if (lane->queue)
        queue_close(lane->queue);
    if (lane->turns)
        blocking_close(lane->turns);
    for (unsigned i = 0; i < lane->worker_count; i++)
        pthread_join(lane->workers[i], NULL);
}

void http_server_stop(struct http_server *server, int64_t grace_ms)
{
    if (!server)
        return;
    atomic_store(&server->stopping, true);
    if (server->daemon && grace_ms > 0)
        wait_for_requests(server, grace_ms);
    atomic_store(&server->aborting, true);
    wait_for_streams(server);
    for (size_t i = 0; i < HTTP_LANES; i++)
        end_lane(&server->lanes[i]);
    if (server->daemon)
        wait_for_requests(server, FLUSH_MS);
    join_watcher(server);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    for (size_t i = 0; i < HTTP_LANES; i++) {
        queue_free(server->lanes[i].queue);
        blocking_free(server->lanes[i].turns);
        free(server->lanes[i].workers);
    }
    overload_destroy(&server->overload);
    pthread_cond_destroy(&server->request_ended);
    pthread_cond_destroy(&server->wake_watcher);
    pthread_mutex_destroy(&server->lock);
    free(server->cors_memory);
    if (server->tls)
        http_tls_free();
    const char *const copies[] = {server->options.listen, server->options.tls_cert, server->options.tls_key};
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        union {
            const char *from;
            char *to;
        } copy = {.from = copies[i]};
        free(copy.to);
    }
    free(server);
}

enum result http_server_reload(struct http_server *server, struct err *err)
{
    return server->tls ? http_tls_load(server->options.tls_cert, server->options.tls_key, err) : ERR_OK;
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}
