/*
 * GET /metrics, the requests by route and status, and the access log.
 *
 * The label `route` is the pattern of the table and never the path: what clients can make up must not make new time
 * series. For the same reason a store with more collections than LIMIT_OPEN_COLLECTIONS gets numbers of the first so
 * many only: asking for more would also open and close their files at every scrape.
 */
#include "api/route.h"
#include "base/log.h"
#include "base/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>

#define ROUTES_MAX 128
static const unsigned statuses[] = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 422, 429, 431,
    500, 501, 502, 503, 504, 507, 0 /* any other */};
#define STATUSES (sizeof statuses / sizeof *statuses)

struct counts {
    atomic_uint_fast64_t by[ROUTES_MAX][STATUSES];
};

struct counts *counts_new(void)
{
    return calloc(1, sizeof(struct counts));
}

void counts_add(struct counts *counts, size_t route, unsigned status)
{
    size_t s = 0;
    while (statuses[s] && statuses[s] != status)
        s++;
    atomic_fetch_add_explicit(&counts->by[route < ROUTES_MAX ? route : ROUTES_MAX - 1][s], 1, memory_order_relaxed);
}

static void count_refusal(unsigned status)
{
    switch (status) {
    case 429: metrics_add(METRIC_REFUSED, REFUSED_RATE, 1); break;
    case 503: metrics_add(METRIC_REFUSED, REFUSED_BUSY, 1); break;
    case 408: metrics_add(METRIC_REFUSED, REFUSED_LATE, 1); break;
    case 413: metrics_add(METRIC_REFUSED, REFUSED_LARGE, 1); break;
    default: break;
    }
}

void api_done(void *user, const struct http_done *done)
{
    struct api *api = user;
    const struct http_request *head = done->head;
    counts_add(api->counts, api_route_of(head), done->status);
    count_refusal(done->status);
    metrics_add(METRIC_RECEIVED_BYTES, 0, done->received);
    metrics_add(METRIC_SENT_BYTES, 0, done->sent);
    if (!api->options.access_log)
        return;
    log_access(&(struct log_access){.method = head->method ? head->method : "?", .path = head->path ? head->path : "?",
        .client = head->client, .key = done->user_text, .id = head->id, .trace_id = head->trace_id, .status = done->status,
        .received = done->received, .sent = done->sent, .us = done->us});
}

/* --- the reply ------------------------------------------------------------------------------------------------ */

static enum result write_requests(struct api *api, struct buf *out)
{
    enum result r = metrics_head(out, METRIC_HTTP_REQUESTS);
    for (size_t i = 0; i < ROUTES_MAX && r == ERR_OK; i++) {
        const char *methods = "", *pattern = NULL;
        if (!api_route(i, &methods, &pattern))
            pattern = "none"; /* the page, and what is no route */
        for (size_t s = 0; s < STATUSES && r == ERR_OK; s++) {
            uint64_t n = atomic_load_explicit(&api->counts->by[i][s], memory_order_relaxed);
            if (n)
                r = buf_appendf(out, "%s{method=\"%s\",route=\"%s\",status=\"%u\"} %" PRIu64 "\n", metrics_name(METRIC_HTTP_REQUESTS),
                    methods, pattern, statuses[s], n);
        }
    }
    return r;
}

static uint64_t number_of(const struct store_stats *s, enum metric metric)
{
    switch (metric) {
    case METRIC_COLLECTION_RECORDS: return s->records;
    case METRIC_COLLECTION_ITEMS: return s->items;
    case METRIC_COLLECTION_DAMAGED: return s->damaged;
    case METRIC_COLLECTION_DISK: return s->bytes_disk;
    case METRIC_INDEX_LIVE: return s->index.live;
    case METRIC_INDEX_WAITING: return s->index.waiting;
    case METRIC_INDEX_DEAD: return s->index.dead;
    case METRIC_INDEX_MEMORY: return s->index.bytes_memory;
    case METRIC_INDEX_REPAIRS: return s->index.repairs;
    case METRIC_INDEX_SAVES: return s->index.saves;
    case METRIC_COLUMNS_MEMORY: return s->bytes_columns;
    default: return s->bytes_memory;
    }
}

/* `stats` has an entry for each of `names`; one that could not be had is skipped. */
static enum result write_collections(struct buf *out, char **names, const struct store_stats *stats, const bool *have, size_t count)
{
    enum result r = ERR_OK;
    for (int m = METRIC_COLLECTION_RECORDS; m <= METRIC_COLUMNS_MEMORY && r == ERR_OK; m++) {
        r = metrics_head(out, (enum metric)m);
        for (size_t i = 0; i < count && r == ERR_OK; i++)
            if (have[i]) /* a name needs no escaping */
                r = buf_appendf(out, "%s{collection=\"%s\"} %" PRIu64 "\n", metrics_name((enum metric)m), names[i],
                    number_of(&stats[i], (enum metric)m));
    }
    return r;
}

static enum result write_store(struct route_call *call, struct buf *out)
{
    struct store *store = pipeline_store(call->pipeline);
    struct store_stats *stats = calloc(LIMIT_OPEN_COLLECTIONS, sizeof *stats);
    bool have[LIMIT_OPEN_COLLECTIONS] = {0};
    char **names = NULL;
    size_t count = 0;
    enum result r = ERR_OK;
    /* A store that does not answer is what /readyz tells; the other numbers are wanted all the more then. */
    bool answers = stats && store_list(store, &names, &count, NULL) == ERR_OK;
    size_t shown = count < LIMIT_OPEN_COLLECTIONS ? count : LIMIT_OPEN_COLLECTIONS;
    for (size_t i = 0; answers && i < shown; i++)
        have[i] = access_reaches(call->request, names[i]) &&
                  store_stats(store, names[i], call->request->deadline_ms, &stats[i], NULL) == ERR_OK;
    if (answers)
        r = metrics_head(out, METRIC_COLLECTIONS);
    if (answers && r == ERR_OK)
        r = buf_appendf(out, "%s %zu\n", metrics_name(METRIC_COLLECTIONS), count);
    if (answers && r == ERR_OK)
        r = write_collections(out, names, stats, have, shown);
    free(names);
    free(stats);
    return r;
}

enum result v1_metrics(struct route_call *call, struct err *err)
{
    struct buf *body = &call->reply->body;
    call->reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    enum result r = metrics_head(body, METRIC_BUILD_INFO);
    if (r == ERR_OK)
        r = buf_appendf(body, "%s{version=\"%s\"} 1\n", metrics_name(METRIC_BUILD_INFO), call->api->options.version);
    if (r == ERR_OK)
        r = write_requests(call->api, body);
    if (r == ERR_OK)
        r = metrics_write(body);
    if (r == ERR_OK)
        r = write_store(call, body);
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}
