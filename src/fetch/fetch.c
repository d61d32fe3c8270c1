/*
 * The download of a URL that a stranger gave us: slots, redirects, deadline.
 *
 * At most LIMIT_FETCH_PARALLEL downloads run; more wait for a slot until their deadline. A slot is a libcurl
 * handle: handles are kept, because a fresh one reads the system's certificates anew for its first https URL
 * (tens of milliseconds), but nothing of one request is left to the next: see set_up() in transfer.c.
 *
 * Redirects are followed here and not by libcurl, so that every hop passes the same checks as the first URL,
 * without the user and password of the URL. From https to http is followed: nothing secret is sent, and http
 * URLs are taken anyway.
 *
 * Look-ups of names that were given up on run on in libcurl's threads until the system's resolver gives up
 * too. A ring of times keeps them below LIMIT_FETCH_LOOKUPS, so that URLs whose name servers never answer
 * cannot fill the process with threads.
 */
#include "fetch/fetch.h"
#include "fetch/transfer.h"

#include <pthread.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "base/limits.h"

/* glibc by default: 3 servers, 2 attempts of 5 s. */
#define LOOKUP_MS_MAX 30000

struct fetch {
    struct fetch_allow allow;
    size_t max_bytes;
    int64_t timeout_ms;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed;
    CURL *idle[LIMIT_FETCH_PARALLEL];
    size_t idle_count;
    int64_t abandoned[LIMIT_FETCH_LOOKUPS]; /* when; 0 for never */
    size_t next_abandoned;                  /* the oldest, and the next to be written */
};

static enum result create_handles(struct fetch *f, struct err *err)
{
    for (; f->idle_count < LIMIT_FETCH_PARALLEL; f->idle_count++) {
        f->idle[f->idle_count] = curl_easy_init();
        if (!f->idle[f->idle_count])
            return err_no_memory(err);
    }
    return ERR_OK;
}

static enum result check_curl(struct err *err)
{
    enum result r = fetch_curl_start(err);
    if (r)
        return r;
    if (!(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS))
        return err_set(err, ERR_UNSUPPORTED,
            "this libcurl looks names up without a time limit; one with a threaded resolver is needed");
    return ERR_OK;
}

enum result fetch_new(const struct fetch_options *options, struct fetch **out, struct err *err)
{
    enum result r = check_curl(err);
    if (r)
        return r;
    struct fetch *f = calloc(1, sizeof *f);
    if (!f)
        return err_no_memory(err);
    f->max_bytes = options->max_bytes ? options->max_bytes : LIMIT_FETCH_BYTES;
    f->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : LIMIT_FETCH_MS;
    if (f->timeout_ms > INT32_MAX)
        f->timeout_ms = INT32_MAX;
    if (pthread_mutex_init(&f->lock, NULL) != 0) {
        free(f);
        return err_no_memory(err);
    }
    if (clock_cond_init(&f->freed) != 0) {
        pthread_mutex_destroy(&f->lock);
        free(f);
        return err_no_memory(err);
    }
    r = fetch_allow_init(&f->allow, options->allow, options->allow_count, err);
    if (!r)
        r = create_handles(f, err);
    if (r)
        fetch_free(f);
    else
        *out = f;
    return r;
}

void fetch_free(struct fetch *fetch)
{
    if (!fetch)
        return;
    for (size_t i = 0; i < fetch->idle_count; i++)
        curl_easy_cleanup(fetch->idle[i]);
    fetch_allow_release(&fetch->allow);
    pthread_cond_destroy(&fetch->freed);
    pthread_mutex_destroy(&fetch->lock);
    free(fetch);
}

static enum result acquire(struct fetch *f, int64_t deadline_ms, CURL **out, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&f->lock);
    while (f->idle_count == 0 && !clock_passed(deadline_ms))
        clock_wait(&f->freed, &f->lock, deadline_ms);
    int64_t oldest = f->abandoned[f->next_abandoned];
    if (f->idle_count == 0)
        r = err_set(err, ERR_TIMEOUT,
            "%d other pictures were being downloaded until the deadline; try again in a moment",
            LIMIT_FETCH_PARALLEL);
    else if (oldest != 0 && clock_now_ms() - oldest < LOOKUP_MS_MAX)
        r = err_set(err, ERR_UNAVAILABLE,
            "the name service does not answer: %d look-ups are pending; try again later",
            LIMIT_FETCH_LOOKUPS);
    else
        *out = f->idle[--f->idle_count];
    pthread_mutex_unlock(&f->lock);
    return r;
}

static void release(struct fetch *f, CURL *easy, bool lookup_abandoned)
{
    pthread_mutex_lock(&f->lock);
    f->idle[f->idle_count++] = easy;
    if (lookup_abandoned) {
        f->abandoned[f->next_abandoned] = clock_now_ms();
        f->next_abandoned = (f->next_abandoned + 1) % LIMIT_FETCH_LOOKUPS;
    }
    pthread_cond_signal(&f->freed);
    pthread_mutex_unlock(&f->lock);
}

/* From `url`, which is replaced by each redirect, to the body. `t` has everything but the URL. */
static enum result follow(struct fetch_transfer *t, struct fetch_url *url, struct err *err)
{
    char first[FETCH_HOST_MAX + 1];
    memcpy(first, url->host, sizeof first);
    const struct fetch_transfer start = *t;
    for (int redirects = 0;; redirects++) {
        *t = start;
        t->url = url;
        t->from = redirects > 0 ? first : NULL;
        enum result r = fetch_transfer_run(t, err);
        if (r || !t->location)
            return r;
        if (redirects == LIMIT_FETCH_REDIRECTS) {
            free(t->location);
            return err_set(
                err, ERR_UNAVAILABLE, "%.100s redirects more than %d times", first, LIMIT_FETCH_REDIRECTS);
        }
        struct fetch_url next;
        r = fetch_url_follow(url, t->location, &next, err);
        free(t->location);
        if (r)
            return r;
        fetch_url_release(url);
        *url = next;
    }
}

enum result fetch_get(
    struct fetch *fetch, const char *url, int64_t deadline_ms, struct buf *out, struct err *err)
{
    struct fetch_url parsed = {0};
    size_t len = out->len;
    int64_t own = clock_now_ms() + fetch->timeout_ms;
    struct fetch_transfer t = {
        .allow = &fetch->allow,
        .deadline_ms = deadline_ms == CLOCK_NO_DEADLINE || own < deadline_ms ? own : deadline_ms,
        .max_bytes = fetch->max_bytes < out->max - len ? fetch->max_bytes : out->max - len,
        .out = out,
    };
    enum result r = fetch_url_parse(url, &parsed, err);
    blocking_begin();
    if (!r)
        r = acquire(fetch, t.deadline_ms, &t.easy, err);
    if (!r) {
        r = follow(&t, &parsed, err);
        release(fetch, t.easy, t.lookup_abandoned);
    }
    blocking_end();
    if (r && out->data) {
        out->len = len;
        out->data[len] = '\0';
    }
    if (r && err)
        snprintf(err->field, sizeof err->field, "url");
    fetch_url_release(&parsed);
    return r;
}
