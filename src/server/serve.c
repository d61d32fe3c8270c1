/*
 * `lookalike serve`.
 *
 * SIGINT and SIGTERM are blocked in every thread and taken by sigwait() in the first one, so no code runs in a signal
 * handler. On a signal the server stops accepting, lets running requests finish, and closes the store.
 */
#include "server/serve.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/notify.h"
#include "server/proxy.h"
#include "server/wiring.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <strings.h>
#include <sys/resource.h>

#ifndef LOOKALIKE_VERSION
#define LOOKALIKE_VERSION "unknown"
#endif

#define STOP_GRACE_MS 20000
#define TRIM_S 60

enum { EXIT_USAGE = 2, EXIT_NOTHING = 3 };

static int print_help(void)
{
    struct buf help;
    buf_init(&help, 64 * 1024);
    if (config_help(&help)) {
        buf_free(&help);
        return EXIT_NOTHING;
    }
    printf("usage: lookalike serve [FLAG…]\n\nServes the API and the page until SIGINT or SIGTERM.\n\n%s\n"
           "Each flag can also be given as LOOKALIKE_<FLAG> in the environment (LOOKALIKE_LISTEN).\n"
           "METRIC_TYPE, VECTOR_DIMENSION, MILVUS_HOST and MILVUS_PORT work as in the Python service.\n",
        help.data);
    buf_free(&help);
    return 0;
}

/* Whether the address can be reached from this machine only. */
static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 || strncmp(listen, "localhost:", 10) == 0;
}

static enum result check_exposure(const struct config *config, struct auth *auth, struct err *err)
{
    if (!config->tls_cert != !config->tls_key)
        return err_set(err, ERR_INVALID, "--tls-cert and --tls-key go together: %s is missing",
            config->tls_cert ? "--tls-key" : "--tls-cert");
    if (is_loopback(config->listen) || config->insecure || auth_is_on(auth))
        return ERR_OK;
    return err_set(err, ERR_DENIED,
        "refusing to listen on %.100s: everyone who reaches it could read and change everything, as there are no API keys. "
        "Make one with `lookalike key create NAME --rights admin --data %.100s`, or listen on 127.0.0.1, or give --insecure "
        "(LOOKALIKE_INSECURE=1) when the network in front protects it",
        config->listen, config->data);
}

static void log_start(const struct config *config, struct wiring *wiring, unsigned port, int64_t started_us)
{
    const struct embed_info *info = pipeline_model(wiring_pipeline(wiring));
    const char *colon = strrchr(config->listen, ':');
    int host = (int)(colon ? colon - config->listen : (int)strlen(config->listen));
    log_line(LOG_INFO, "lookalike %s, model %s (%u dimensions, %s on %s, %u threads, %s %s), data in %s", LOOKALIKE_VERSION,
        info->manifest.name, info->manifest.dimension, info->precision, info->device, info->threads, info->engine,
        info->engine_version, config->data);
    if (info->warning[0])
        log_line(LOG_WARN, "%s", info->warning);
    log_line(LOG_INFO, "ready after %.1f s: %s://%.*s:%u/", (double)(clock_now_us() - started_us) / 1e6,
        config->tls_cert ? "https" : "http", host,
        config->listen, port);
}

/*
 * Connections and open collections need about 2,500 descriptors together; the usual soft limit is 1,024. Where the
 * hard limit is below that, connections beyond it are refused by the HTTP server, one by one.
 */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            log_line(LOG_WARN, "cannot raise the limit of open files: %s", strerror(errno));
    }
}

/*
 * What a crowd or a large request left free in the heaps goes back to the system. free() gives back the top of a heap alone, so
 * without this a server's memory stays at the highest that it ever needed.
 */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* SIGHUP: the certificate is read again. Returns the signal that ends the server. */
static int wait_for_end(const sigset_t *signals, struct http_server *http)
{
    const struct timespec minute = {.tv_sec = TRIM_S};
    for (;;) {
        struct err err = {0};
        int number = sigtimedwait(signals, NULL, &minute);
        if (number < 0) { /* EAGAIN: a minute has passed */
            give_memory_back();
            continue;
        }
        if (number != SIGHUP)
            return number;
        if (http_server_reload(http, &err))
            log_line(LOG_ERROR, "SIGHUP: %s; the one in use stays", err.message);
        else
            log_line(LOG_INFO, "SIGHUP: the certificate was read again");
    }
}

static enum result serve(const struct config *config, const sigset_t *signals, struct err *err)
{
    struct wiring *wiring = NULL;
    struct api *api = NULL;
    struct http_server *http = NULL;
    int64_t started = clock_now_us();
    struct auth *auth = NULL;
    struct proxies proxies;
    enum result r = proxies_init(&proxies, config->trusted_proxy, err);
    if (r == ERR_OK)
        r = auth_open(config->data, &auth, err);
    if (r == ERR_OK)
        r = check_exposure(config, auth, err);
    if (r == ERR_OK)
        r = wiring_open(config, true, &wiring, err);
    if (r)
        goto out;
    struct api_options api_options = {.pipeline = wiring_pipeline(wiring), .version = LOOKALIKE_VERSION, .auth = auth,
        .rate_per_key = config->rate_per_key, .rate_per_address = config->rate_per_address, .access_log = config->access_log};
    r = api_new(&api_options, &api, err);
    if (r)
        goto out;
    struct http_options http_options = {
        .listen = config->listen,
        .cors_origin = strcasecmp(config->cors, "none") == 0 ? NULL : config->cors,
        .tls_cert = config->tls_cert,
        .tls_key = config->tls_key,
        .max_active = config->max_active,
        .trusts = proxies.count ? proxies_trust : NULL,
        .trusted = &proxies,
        .handler = api_handle,
        .gate = api_gate,
        .streams = api_streams,
        .error_body = api_error_body,
        .done = api_done,
        .user = api,
    };
    r = http_server_start(&http_options, &http, err);
    if (r)
        goto out;
    if (!auth_is_on(auth) && !is_loopback(config->listen))
        log_line(LOG_WARN, "no API keys and --insecure: everyone who reaches %s can read and change everything", config->listen);
    log_start(config, wiring, http_server_port(http), started);
    notify_service_manager("READY=1");
    int signal_number = wait_for_end(signals, http);
    notify_service_manager("STOPPING=1");
    log_line(LOG_INFO, "%s: stopping", signal_number == SIGINT ? "SIGINT" : "SIGTERM");
out:
    http_server_stop(http, STOP_GRACE_MS);
    api_free(api);
    wiring_close(wiring);
    auth_close(auth);
    return r;
}

int serve_main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help();
    /* Before any thread exists: threads inherit the mask. A client that hangs up must not end the program. */
    raise_descriptor_limit();
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    struct config config;
    struct err err = {0};
    if (config_load(&config, argc, argv, &err)) {
        fprintf(stderr, "lookalike serve: %s\n", err.message);
        return EXIT_USAGE;
    }
    log_set_json(strcmp(config.log, "json") == 0);
    enum result r = serve(&config, &signals, &err);
    if (r)
        log_line(LOG_ERROR, "%s", err.message);
    else
        log_line(LOG_INFO, "stopped");
    config_free(&config);
    return r ? EXIT_NOTHING : 0;
}
