/*
 * Log lines on standard error, as text or as JSON:
 *
 *   2026-01-31T12:00:00.123Z info  message
 *   {"time":"2026-01-31T12:00:00.123Z","level":"info","message":"…","request_id":"…","trace_id":"…"}
 *
 * One write(2) a line, so lines of several threads do not mix. Libraries never log: only server/, cli/ and the request
 * path in api/ call this. Lines of a thread that works on a request carry its id, see log_request().
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are dropped; LOG_INFO by default. Set before threads start. */
void log_set_level(enum log_level level);
/* Set before threads start. */
void log_set_json(bool json);
/* A control character in the text is written as \xNN (in JSON \u00NN): what a client sends cannot forge a line. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What this thread works on from now on; NULL: nothing. The strings stay the caller's. */
void log_request(const char *id, const char *trace_id);

/* One line about one request that was answered. */
struct log_access {
    const char *method, *path, *client, *key, *id, *trace_id; /* key: its id, or "" */
    unsigned status;
    uint64_t received, sent;
    int64_t us; /* from the first byte of the head to the end of the reply */
};
void log_access(const struct log_access *access);

#endif
