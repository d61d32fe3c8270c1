/*
 * What the program counts about itself, for GET /metrics (the text form of Prometheus).
 *
 * One table in metrics.c names every metric with its kind, labels and help; docs/operations/monitoring.md has the same
 * list, and a test compares them. Numbers are global atomics: counting costs a few nanoseconds from any thread, and who
 * counts needs no handle. Two kinds have text as labels (route and status, collection): their numbers are kept by api/,
 * which writes them with metrics_head().
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric {
    METRIC_BUILD_INFO,    /* written by api/ */
    METRIC_HTTP_REQUESTS, /* written by api/ */
    METRIC_STAGE_SECONDS,
    METRIC_BATCH_PICTURES,
    METRIC_QUEUE_LENGTH,
    METRIC_REFUSED,
    METRIC_OVERLOAD,
    METRIC_CONNECTIONS,
    METRIC_BODY_BYTES,
    METRIC_RECEIVED_BYTES,
    METRIC_SENT_BYTES,
    METRIC_FETCHES,
    METRIC_FETCHED_BYTES,
    METRIC_DECODES,
    METRIC_SANDBOX_WORKERS,
    METRIC_SANDBOX_RESTARTS,
    METRIC_COLLECTIONS,        /* these are written by api/ when they are asked for */
    METRIC_COLLECTION_RECORDS,
    METRIC_COLLECTION_ITEMS,
    METRIC_COLLECTION_DAMAGED,
    METRIC_COLLECTION_DISK,
    METRIC_COLLECTION_MEMORY,
    METRIC_INDEX_LIVE,
    METRIC_INDEX_WAITING,
    METRIC_INDEX_DEAD,
    METRIC_INDEX_MEMORY,
    METRIC_INDEX_REPAIRS,
    METRIC_INDEX_SAVES,
    METRIC_COLUMNS_MEMORY,
    METRIC_MEMORY,
    METRIC_CPU_SECONDS,
    METRIC_OPEN_FILES,
    METRIC_START_TIME,
    METRIC_COUNT
};

/* Labels, in the order of the table. */
enum metric_stage { STAGE_QUEUE, STAGE_FETCH, STAGE_DECODE_WAIT, STAGE_DECODE, STAGE_EMBED, STAGE_SEARCH, STAGE_WRITE, STAGE_REQUEST };
enum metric_queue { QUEUE_REQUESTS, QUEUE_DECODE, QUEUE_EMBED };
enum metric_refused { REFUSED_NO_KEY, REFUSED_RIGHT, REFUSED_RATE, REFUSED_BUSY, REFUSED_LATE, REFUSED_LARGE };
enum metric_outcome { OUTCOME_OK, OUTCOME_REFUSED, OUTCOME_FAILED }; /* of fetches */
enum metric_decode { DECODE_OK, DECODE_REFUSED, DECODE_CRASHED, DECODE_TIMEOUT };

/* `label` is 0 where the metric has none. */
void metrics_add(enum metric metric, unsigned label, uint64_t n);
void metrics_set(enum metric metric, unsigned label, int64_t value);
void metrics_change(enum metric metric, unsigned label, int64_t by);
/* One observation of a histogram: microseconds for …_SECONDS, else the number itself. */
void metrics_observe(enum metric metric, unsigned label, int64_t value);

/* "# HELP" and "# TYPE" of one metric, for whoever writes its numbers. */
enum result metrics_head(struct buf *out, enum metric metric) ERR_MUST_USE;
const char *metrics_name(enum metric metric);
/* All but those of api/. */
enum result metrics_write(struct buf *out) ERR_MUST_USE;

#endif
