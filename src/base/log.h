/*
 * Log lines on standard error: "2026-01-31T12:00:00.123Z info  message". One write(2) a line, so lines of
 * several threads do not mix. Libraries never log: only server/, cli/ and the request path in api/ call this.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are dropped; LOG_INFO by default. Set before threads start. */
void log_set_level(enum log_level level);
/* A control character in the text is written as \xNN: what a client sends cannot forge a line. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
