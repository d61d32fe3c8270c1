/*
 * Names for a request: X-Request-Id, with which a client or a proxy finds its request in our log, and the trace id of W3C
 * Trace Context. Both come from outside and go into logs and a reply header, so only plain characters are taken over.
 *
 * And the address of the client, behind proxies that are trusted.
 */
#include "http/internal.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <strings.h>
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

/* "1.2.3.4", "1.2.3.4:80", "::1" or "[::1]:80" out of `len` bytes, in the spelling of the system. False for anything else. */
static bool take_address(const char *text, size_t len, char out[INET6_ADDRSTRLEN])
{
    char one[80];
    uint8_t bytes[16];
    while (len && strchr(" \t", *text)) {
        text++;
        len--;
    }
    while (len && strchr(" \t", text[len - 1]))
        len--;
    if (len == 0 || len >= sizeof one)
        return false;
    memcpy(one, text, len);
    one[len] = '\0';
    char *start = one, *end = NULL;
    if (*one == '[') {
        start++;
        end = strchr(one, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
    } else if ((end = strchr(one, ':')) && strchr(end + 1, ':')) {
        end = NULL; /* more than one colon: IPv6 without a port */
    }
    if (end)
        *end = '\0';
    int family = strchr(start, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, start, bytes) == 1 && inet_ntop(family, bytes, out, INET6_ADDRSTRLEN);
}

/* Each proxy appends whom it was asked by, so what trusted ones wrote stands at the end, and before it what anybody may have written. */
void http_forwarded(const struct http_options *options, struct http_request *request)
{
    char address[INET6_ADDRSTRLEN];
    if (!options->trusts || !options->trusts(options->trusted, request->client))
        return;
    for (size_t i = request->header_count; i-- > 0;) {
        const struct http_pair *h = &request->headers[i];
        if (strcasecmp(h->name, "X-Forwarded-For") != 0)
            continue;
        for (size_t end = h->value_len, from; end > 0; end = from ? from - 1 : 0) {
            from = end;
            while (from > 0 && h->value[from - 1] != ',')
                from--;
            if (!take_address(h->value + from, end - from, address))
                return; /* the proxy that wrote this is at fault: what stands before it is worth nothing */
            snprintf(request->client, sizeof request->client, "%s", address);
            if (!options->trusts(options->trusted, address))
                return;
        }
    }
}
