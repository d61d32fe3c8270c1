/*
 * Names for a request: X-Request-Id, with which a client or a proxy finds its request in our log, and the trace id of W3C
 * Trace Context. Both come from outside and go into logs and a reply header, so only plain characters are taken over.
 */
#include "http/internal.h"

#include <inttypes.h>
#include <sys/random.h>

static bool is_plain(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+=-";
    size_t len = strnlen(text, LIMIT_REQUEST_ID + 1);
    return len > 0 && len <= LIMIT_REQUEST_ID && strspn(text, plain) == len;
}

/* "00-<32 hex>-<16 hex>-<2 hex>", lower case; version ff and all zeros are invalid. */
static bool is_trace(const char *text)
{
    static const int dashes[] = {2, 35, 52};
    static const char hex[] = "0123456789abcdef";
    if (strnlen(text, 56) < 55 || strncmp(text, "ff", 2) == 0 || strspn(text + 3, "0") >= 32 || strspn(text + 36, "0") >= 16)
        return false;
    for (int i = 0, d = 0; i < 55; i++) {
        if (d < 3 && i == dashes[d]) {
            d++;
            if (text[i] != '-')
                return false;
        } else if (!text[i] || !strchr(hex, text[i])) {
            return false;
        }
    }
    return true;
}

void http_identify(struct http_request *request)
{
    const char *given = http_header(request, "X-Request-Id"), *trace = http_header(request, "traceparent");
    uint64_t random = 0;
    if (given && is_plain(given)) {
        snprintf(request->id, sizeof request->id, "%s", given);
    } else {
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
            random = (uint64_t)(uintptr_t)request; /* a poor name is better than none */
        snprintf(request->id, sizeof request->id, "%016" PRIx64, random);
    }
    if (trace && is_trace(trace))
        snprintf(request->trace_id, sizeof request->trace_id, "%.32s", trace + 3);
}
