/* What the programs of this folder share. Included once by each, after its system headers. */
#ifndef TESTS_FETCH_SUPPORT_H
#define TESTS_FETCH_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h expects the four above. */
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "fetch/fetch.h"
#include "test_server.h"

/* `path` at `host` of the test server. */
static inline const char *url_at(struct test_server *s, const char *host, const char *path)
{
    static _Thread_local char url[2 * LIMIT_URL_BYTES];
    snprintf(url, sizeof url, "http://%s:%u%s", host, test_server_port(s), path);
    return url;
}

static inline struct fetch *fetch_allowing(
    const char *const *allow, size_t count, size_t max_bytes, int64_t timeout_ms)
{
    struct fetch_options options = {
        .allow = allow,
        .allow_count = count,
        .max_bytes = max_bytes,
        .timeout_ms = timeout_ms,
    };
    struct fetch *f = NULL;
    struct err err = {0};
    if (fetch_new(&options, &f, &err))
        fail_msg("%s", err.message);
    return f;
}

#endif
