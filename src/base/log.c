#include "base/log.h"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

static enum log_level log_min = LOG_INFO;

void log_set_level(enum log_level level)
{
    log_min = level;
}

/* Copy `text` to `out`, control characters escaped; returns the length written, at most `size`. */
static size_t escape(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 4 <= size; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[*p >> 4];
            out[n++] = hex[*p & 15];
        } else {
            out[n++] = (char)*p;
        }
    }
    return n;
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"debug", "info ", "warn ", "error"};
    if (level < log_min)
        return;
    char text[2048], line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s ", now.tv_nsec / 1000000, names[level]);
    n += escape(line + n, sizeof line - n - 1, text);
    line[n++] = '\n';
    /* Nothing sensible can be done when the log itself cannot be written. */
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}
