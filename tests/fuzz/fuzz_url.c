/*
 * URLs and address rules: what fetch/ makes of a text. The first byte chooses what the rest is.
 *
 * What has to hold: an address that is literally in an accepted URL is refused by fetch_address_kind() exactly if the
 * operating system would connect to a place that is not public, in whatever spelling; a host has one spelling; an
 * allowed network contains its own addresses.
 */
#include "fetch/address.h"
#include "fetch/allow.h"
#include "fetch/url.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The address as one that a socket takes; false where the text is none. */
static bool to_socket(const char *host, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        return true;
    }
    return false;
}

static void check_host(const struct fetch_url *url)
{
    struct sockaddr_storage address;
    struct in_addr old;
    MUST(strlen(url->host) <= FETCH_HOST_MAX);
    for (const char *p = url->host; *p; p++)
        MUST((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f && !(*p >= 'A' && *p <= 'Z'));
    /* Decimal, octal and short spellings: what inet_aton() takes must have become four numbers. */
    if (inet_aton(url->host, &old) && !strchr(url->host, ':'))
        MUST(to_socket(url->host, &address));
    if (to_socket(url->host, &address) && address.ss_family == AF_INET) {
        uint32_t v4 = ntohl(((struct sockaddr_in *)(void *)&address)->sin_addr.s_addr);
        bool inside = v4 >> 24 == 127 || v4 >> 24 == 10 || v4 >> 24 == 0 || v4 >> 16 == 0xc0a8 || v4 >> 16 == 0xa9fe ||
                      v4 >> 20 == 0xac1;
        if (inside)
            MUST(fetch_address_kind((const struct sockaddr *)&address) != NULL);
    }
}

static void url(const char *text, const char *location)
{
    struct fetch_url first = {0}, second = {0};
    struct err err = {0};
    enum result r = fetch_url_parse(text, &first, &err);
    if (r) {
        MUST(err.code == r && err.message[0]);
        return;
    }
    check_host(&first);
    if (!fetch_url_follow(&first, location, &second, NULL)) {
        check_host(&second);
        MUST(!second.user && !second.password);
    }
    fetch_url_release(&first);
    fetch_url_release(&second);
}

static void network(const char *text)
{
    struct fetch_network n;
    bool exact = false;
    struct sockaddr_storage address = {0};
    if (fetch_network_parse(text, &n, &exact)) {
        MUST(n.bits <= (n.v6 ? 128u : 32u));
        if (n.v6) {
            address.ss_family = AF_INET6;
            memcpy(&((struct sockaddr_in6 *)(void *)&address)->sin6_addr, n.bytes, 16);
        } else {
            address.ss_family = AF_INET;
            memcpy(&((struct sockaddr_in *)(void *)&address)->sin_addr, n.bytes, 4);
        }
        if (exact)
            MUST(fetch_network_has(&n, (const struct sockaddr *)&address));
    }
    struct fetch_allow allow = {0};
    const char *entries[] = {text};
    if (!fetch_allow_init(&allow, entries, 1, NULL))
        fetch_allow_release(&allow);
}

/* Every 128 bits are an address, and public or not; IPv4 in IPv6 is judged as the IPv4 in it. */
static void bytes(const uint8_t *data, size_t size)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (size < 16)
        return;
    memcpy(&v4.sin_addr, data, 4);
    memcpy(&v6.sin6_addr, data, 16);
    const char *kind = fetch_address_kind((const struct sockaddr *)&v6);
    if ((data[0] & 0xe0) != 0x20 && !(data[0] == 0 && data[1] == 0x64) && !(data[0] == 0 && data[10] == 0xff))
        MUST(kind != NULL);
    memset(&v6.sin6_addr, 0, 10);
    memset((uint8_t *)&v6.sin6_addr + 10, 0xff, 2);
    memcpy((uint8_t *)&v6.sin6_addr + 12, data, 4);
    MUST(!fetch_address_kind((const struct sockaddr *)&v4) == !fetch_address_kind((const struct sockaddr *)&v6));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *text = malloc(size);
    MUST(text != NULL && !fetch_curl_start(NULL));
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    char *line = strchr(text, '\n');
    switch (data[0] % 3) {
    case 0:
        if (line)
            *line++ = '\0';
        url(text, line ? line : "/");
        break;
    case 1:
        network(text);
        break;
    default:
        bytes(data + 1, size - 1);
    }
    free(text);
    return 0;
}
