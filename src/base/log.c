#include "base/log.h"

#include "base/parse.h"

#include <inttypes.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096 /* PIPE_BUF: a pipe takes so much in one piece */

static enum log_level log_min = LOG_INFO;
static bool log_json;
static _Thread_local const char *request_id, *request_trace;

void log_set_level(enum log_level level)
{
    log_min = level;
}

void log_set_json(bool json)
{
    log_json = json;
}

void log_request(const char *id, const char *trace_id)
{
    request_id = id;
    request_trace = trace_id;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *l, const char *text)
{
    size_t n = strlen(text), room = sizeof l->text - 2 - l->len; /* the end of the line always fits */
    n = n < room ? n : room;
    memcpy(l->text + l->len, text, n);
    l->len += n;
}

static void putf(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void putf(struct line *l, const char *format, ...)
{
    char part[512];
    va_list args;
    va_start(args, format);
    vsnprintf(part, sizeof part, format, args);
    va_end(args);
    put(l, part);
}

/* How many bytes the UTF-8 character at `p` has; 0 where it is none. */
static size_t utf8_len(const unsigned char *p)
{
    size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    return strnlen((const char *)p, n) == n && parse_is_utf8((const char *)p, n) ? n : 0;
}

/* Control characters escaped; for JSON also quotes, backslashes, and bytes that are no UTF-8. */
static void put_escaped(struct line *l, const char *text, size_t max)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = l->len, limit = sizeof l->text - 256 < n + max ? sizeof l->text - 256 : n + max; /* room for what follows */
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 6 <= limit; p++) {
        size_t wide = log_json && *p >= 0x80 ? utf8_len(p) : 0;
        if (wide) {
            memcpy(l->text + n, p, wide);
            n += wide;
            p += wide - 1;
        } else if (*p < 0x20 || *p == 0x7f || (log_json && *p >= 0x80)) {
            const char *start = log_json ? "\\u00" : "\\x";
            size_t len = strlen(start);
            memcpy(l->text + n, start, len);
            n += len;
            l->text[n++] = hex[*p >> 4];
            l->text[n++] = hex[*p & 15];
        } else {
            if (log_json && (*p == '"' || *p == '\\'))
                l->text[n++] = '\\';
            l->text[n++] = (char)*p;
        }
    }
    l->len = n;
}

static void put_member(struct line *l, const char *name, const char *value, size_t max)
{
    if (!value || !*value)
        return;
    putf(l, ",\"%s\":\"", name);
    put_escaped(l, value, max);
    put(l, "\"");
}

static void start(struct line *l, enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char stamp[40] = "";
    struct timespec now;
    struct tm tm;
    l->len = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    if (log_json)
        putf(l, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"message\":\"", stamp, now.tv_nsec / 1000000, names[level]);
    else
        putf(l, "%s.%03ldZ %-5s ", stamp, now.tv_nsec / 1000000, names[level]);
}

static void finish(struct line *l)
{
    if (log_json)
        put(l, "}");
    l->text[l->len++] = '\n';
    /* Nothing sensible can be done when the log itself cannot be written. */
    ssize_t ignored = write(STDERR_FILENO, l->text, l->len);
    (void)ignored;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level < log_min)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct line l;
    start(&l, level);
    put_escaped(&l, text, sizeof l.text);
    if (log_json) {
        put(&l, "\"");
        put_member(&l, "request_id", request_id, 128);
        put_member(&l, "trace_id", request_trace, 64);
    } else if (request_id) {
        putf(&l, " [%.64s]", request_id);
    }
    finish(&l);
}

void log_access(const struct log_access *a)
{
    struct line l;
    if (LOG_INFO < log_min)
        return;
    start(&l, LOG_INFO);
    if (log_json) {
        put(&l, "request\"");
        put_member(&l, "method", a->method, 64);
        put_member(&l, "path", a->path, 1024);
        putf(&l, ",\"status\":%u,\"ms\":%.3f,\"received\":%" PRIu64 ",\"sent\":%" PRIu64, a->status, (double)a->us / 1000,
            a->received, a->sent);
        put_member(&l, "client", a->client, 128);
        put_member(&l, "key", a->key, 64);
        put_member(&l, "request_id", a->id, 128);
        put_member(&l, "trace_id", a->trace_id, 64);
    } else {
        put_escaped(&l, a->method, 64);
        put(&l, " ");
        put_escaped(&l, a->path, 1024);
        putf(&l, " %u %.1f ms, %" PRIu64 " in, %" PRIu64 " out, %.63s%s%.12s [%.64s]", a->status, (double)a->us / 1000, a->received,
            a->sent, a->client, *a->key ? " key " : "", a->key, a->id);
    }
    finish(&l);
}
