/*
 * The addresses a URL of a stranger must not reach.
 *
 * The tables are IANA's special-purpose registries (RFC 6890 and its successors) and the multicast ranges.
 * Every entry is refused, also the few that the registries call globally reachable: they are anycast
 * addresses of services of the nearest network (PCP, TURN, AS112, AMT), where no picture is served but a
 * router may listen. Added are the addresses outside those ranges at which a cloud's host answers its own
 * guests.
 *
 * IPv6 is refused outside 2000::/3, the only space given out so far, so a range nobody thought of is refused
 * too. An IPv4 address inside an IPv6 one is judged where the system or a gateway would really connect to it
 * (mapped addresses, the well-known NAT64 prefix); the other disguises (compatible addresses, 6to4, Teredo,
 * local NAT64) are refused whatever they hide, since nobody serves pictures there.
 *
 * Rejected: asking the kernel for the route. It depends on the machine, and says nothing about what is behind
 * it.
 */
#include "fetch/address.h"
#include "fetch/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/parse.h"

struct v4_range {
    uint32_t first; /* host byte order */
    unsigned bits;
    const char *kind;
};

struct v6_range {
    uint16_t first[8];
    unsigned bits;
    const char *kind;
};

#define V4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* clang-format off */
static const struct v4_range v4_refused[] = {
    {V4(0, 0, 0, 0), 8, "an address of this host"},               /* RFC 791; connects to this machine */
    {V4(10, 0, 0, 0), 8, "a private address"},                    /* RFC 1918 */
    {V4(100, 64, 0, 0), 10, "a carrier's private address"},       /* RFC 6598 */
    {V4(127, 0, 0, 0), 8, "a loopback address"},                  /* RFC 1122 */
    {V4(168, 63, 129, 16), 32, "a cloud's service address"},      /* the host of a guest on Azure */
    {V4(169, 254, 0, 0), 16, "a link-local address"},             /* RFC 3927; also clouds' metadata */
    {V4(172, 16, 0, 0), 12, "a private address"},                 /* RFC 1918 */
    {V4(192, 0, 0, 0), 24, "a reserved address"},                 /* RFC 6890, with the anycast ones inside */
    {V4(192, 0, 2, 0), 24, "an address for documentation"},       /* RFC 5737 */
    {V4(192, 31, 196, 0), 24, "a reserved address"},              /* RFC 7535, AS112 */
    {V4(192, 52, 193, 0), 24, "a reserved address"},              /* RFC 7450, AMT */
    {V4(192, 88, 99, 0), 24, "a reserved address"},               /* RFC 7526, 6to4 relays */
    {V4(192, 168, 0, 0), 16, "a private address"},                /* RFC 1918 */
    {V4(192, 175, 48, 0), 24, "a reserved address"},              /* RFC 7534, AS112 */
    {V4(198, 18, 0, 0), 15, "an address for benchmarks"},         /* RFC 2544 */
    {V4(198, 51, 100, 0), 24, "an address for documentation"},    /* RFC 5737 */
    {V4(203, 0, 113, 0), 24, "an address for documentation"},     /* RFC 5737 */
    {V4(224, 0, 0, 0), 4, "a multicast address"},                 /* RFC 5771 */
    {V4(240, 0, 0, 0), 4, "a reserved address"},                  /* RFC 1112, with the broadcast address */
};

/* The first that matches decides. What is outside 2000::/3 and not named here is refused as reserved. */
static const struct v6_range v6_refused[] = {
    {{0}, 128, "an address of this host"},                        /* :: connects to this machine */
    {{0, 0, 0, 0, 0, 0, 0, 1}, 128, "a loopback address"},        /* RFC 4291 */
    {{0x2001, 0x0db8}, 32, "an address for documentation"},       /* RFC 3849 */
    {{0x2001}, 23, "a reserved address"},                         /* RFC 2928; Teredo and ORCHID are inside */
    {{0x2002}, 16, "a 6to4 address"},                             /* RFC 3056 */
    {{0x2620, 0x004f, 0x8000}, 48, "a reserved address"},         /* RFC 7534, AS112 */
    {{0x3fff}, 20, "an address for documentation"},               /* RFC 9637 */
    {{0xfc00}, 7, "a private address"},                           /* RFC 4193; also clouds' metadata */
    {{0xfe80}, 10, "a link-local address"},                       /* RFC 4291 */
    {{0xfec0}, 10, "a private address"},                          /* RFC 3879, site-local */
    {{0xff00}, 8, "a multicast address"},                         /* RFC 4291 */
};
/* clang-format on */

/* RFC 4291: what the system itself connects to over IPv4. */
static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};
/* RFC 6052: what a gateway connects to over IPv4. */
static const uint8_t nat64_prefix[12] = {0x00, 0x64, 0xff, 0x9b};

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    unsigned rest = bits % 8;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

static const char *v4_kind(const uint8_t *bytes)
{
    uint32_t address = V4(bytes[0], bytes[1], bytes[2], bytes[3]);
    for (size_t i = 0; i < sizeof v4_refused / sizeof *v4_refused; i++)
        if ((address ^ v4_refused[i].first) >> (32 - v4_refused[i].bits) == 0)
            return v4_refused[i].kind;
    return NULL;
}

static const char *v6_kind(const uint8_t *bytes)
{
    if (memcmp(bytes, nat64_prefix, sizeof nat64_prefix) == 0)
        return v4_kind(bytes + 12);
    for (size_t i = 0; i < sizeof v6_refused / sizeof *v6_refused; i++) {
        uint8_t first[16];
        for (size_t k = 0; k < 8; k++) {
            first[2 * k] = (uint8_t)(v6_refused[i].first[k] >> 8);
            first[2 * k + 1] = (uint8_t)v6_refused[i].first[k];
        }
        if (same_bits(bytes, first, v6_refused[i].bits))
            return v6_refused[i].kind;
    }
    return bytes[0] >> 5 == 1 ? NULL : "a reserved address";
}

/* A mapped address becomes the IPv4 address it stands for, so that every rule has one spelling to judge. */
static bool from_sockaddr(const struct sockaddr *address, struct fetch_network *out)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        *out = (struct fetch_network){.bits = 32};
        memcpy(out->bytes, &in.sin_addr, 4);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    bool mapped = memcmp(&in6.sin6_addr, mapped_prefix, sizeof mapped_prefix) == 0;
    *out = (struct fetch_network){.v6 = !mapped, .bits = mapped ? 32 : 128};
    memcpy(out->bytes, (const uint8_t *)&in6.sin6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    return true;
}

const char *fetch_address_kind(const struct sockaddr *address)
{
    struct fetch_network ip;
    if (!from_sockaddr(address, &ip))
        return "no internet address";
    return ip.v6 ? v6_kind(ip.bytes) : v4_kind(ip.bytes);
}

bool fetch_address_is_public(const struct sockaddr *address)
{
    return fetch_address_kind(address) == NULL;
}

bool fetch_network_parse(const char *text, struct fetch_network *out, bool *exact)
{
    char host[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';

    struct fetch_network n = {.v6 = strchr(host, ':') != NULL};
    if (inet_pton(n.v6 ? AF_INET6 : AF_INET, host, n.bytes) != 1)
        return false;
    unsigned width = n.v6 ? 128 : 32;
    n.bits = width;
    if (text[len] == '/') {
        uint64_t bits;
        const char *number = text + len + 1;
        if (!parse_u64(number, strlen(number), width, &bits))
            return false;
        n.bits = (unsigned)bits;
    }
    if (n.v6 && n.bits >= 96 && memcmp(n.bytes, mapped_prefix, sizeof mapped_prefix) == 0) {
        memmove(n.bytes, n.bytes + 12, 4);
        n.v6 = false;
        n.bits -= 96;
        width = 32;
    }
    bool zero = true;
    for (unsigned bit = n.bits; bit < width; bit++)
        zero = zero && !(n.bytes[bit / 8] & 0x80 >> bit % 8);
    *out = n;
    *exact = zero;
    return true;
}

bool fetch_network_has(const struct fetch_network *network, const struct sockaddr *address)
{
    struct fetch_network ip;
    return from_sockaddr(address, &ip) && ip.v6 == network->v6 &&
           same_bits(ip.bytes, network->bytes, network->bits);
}
