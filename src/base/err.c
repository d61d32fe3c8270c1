#include "base/err.h"

#include "base/parse.h"

#include <errno.h>

/* A name from outside that "%.64s" or the end of the message cut in the middle of a character, or that never was UTF-8: replies are
 * JSON, which takes no halves. */
static void mend(char *text)
{
    for (size_t len = strlen(text), n; len; text += n, len -= n) {
        n = parse_character(text, len);
        if (!n) {
            *text = '?';
            n = 1;
        }
    }
}

__attribute__((format(printf, 4, 0), nonnull(4))) static void fill(
    struct err *err, enum result code, const char *field, const char *format, va_list args)
{
    err->code = code;
    err->column = 0;
    snprintf(err->field, sizeof err->field, "%s", field);
    vsnprintf(err->message, sizeof err->message, format, args);
    mend(err->field);
    mend(err->message);
}

enum result err_set(struct err *err, enum result code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, "", format, args);
        va_end(args);
    }
    return code;
}

enum result err_set_field(struct err *err, enum result code, const char *field, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, field, format, args);
        va_end(args);
    }
    return code;
}

enum result err_set_errno(struct err *err, int errno_value, const char *format, ...)
{
    enum result code = errno_value == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, "", format, args);
        va_end(args);
        size_t used = strlen(err->message);
        char text[128];
        /* The GNU strerror_r: thread-safe, and may return a constant instead of filling the buffer. */
        snprintf(err->message + used, sizeof err->message - used, ": %s",
            strerror_r(errno_value, text, sizeof text));
        mend(err->message); /* in the language of the environment, and cut where it is long */
    }
    return code;
}

enum result err_no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "out of memory");
}

const char *err_name(enum result code)
{
    static const char *const names[] = {
        [ERR_OK] = "ok",
        [ERR_INVALID] = "invalid",
        [ERR_NOT_FOUND] = "not-found",
        [ERR_EXISTS] = "exists",
        [ERR_TOO_LARGE] = "too-large",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_DENIED] = "denied",
        [ERR_BUSY] = "busy",
        [ERR_TIMEOUT] = "timeout",
        [ERR_UNAVAILABLE] = "unavailable",
        [ERR_IO] = "io",
        [ERR_CORRUPT] = "corrupt",
        [ERR_NO_MEMORY] = "no-memory",
        [ERR_INTERNAL] = "internal",
    };
    return (size_t)code < sizeof names / sizeof *names && names[code] ? names[code] : "unknown";
}
