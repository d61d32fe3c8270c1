#include "fake_net.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int connect_fn(int, const struct sockaddr *, socklen_t);

static atomic_uint lookups, escapes, rebinds;

static const struct {
    const char *name;
    const char *addresses[2];
} names[] = {
    {"loop4.test", {"127.0.0.1"}},
    {"loop6.test", {"::1"}},
    {"mapped.test", {"::ffff:127.0.0.1"}},
    {"meta.test", {"169.254.169.254"}},
    {"public.test", {"8.8.8.8"}},
    {"mixed.test", {"127.0.0.2", "127.0.0.1"}},
    {"slow.test", {"127.0.0.1"}},
    {"nat64.test", {"64:ff9b::7f00:1"}},
    {"xn--bcher-kva.test", {"127.0.0.1"}},
};

unsigned fake_net_lookups(void)
{
    return lookups;
}

unsigned fake_net_escapes(void)
{
    return escapes;
}

static int numeric(const char *address, const char *port, struct addrinfo **out)
{
    getaddrinfo_fn *real = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    return real(address, port, &hints, out);
}

static int from_table(const char *const addresses[2], const char *port, struct addrinfo **out)
{
    int rc = numeric(addresses[0], port, out);
    if (rc == 0 && addresses[1])
        rc = numeric(addresses[1], port, &(*out)->ai_next); /* glibc frees a list node by node */
    return rc;
}

EXPORT int getaddrinfo(
    const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    struct in_addr ip;
    if (inet_aton(name, &ip) || strchr(name, ':')) /* what glibc takes for a number, "0x7f.1" too */
        return numeric(name, port, out);
    lookups++;
    if (strcasecmp(name, "rebind.test") == 0)
        return numeric(rebinds++ % 2 == 0 ? "127.0.0.1" : "127.0.0.2", port, out);
    if (strcasecmp(name, "slow.test") == 0)
        nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i].name) == 0)
            return from_table(names[i].addresses, port, out);
    return EAI_NONAME;
}

static bool is_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127);
    }
    return address->sa_family == AF_UNIX;
}

EXPORT int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    const struct sockaddr *address = to.__sockaddr__;
    if (!is_local(address)) {
        escapes++;
        errno = ENETUNREACH;
        return -1;
    }
    connect_fn *real = (connect_fn *)dlsym(RTLD_NEXT, "connect");
    return real(fd, address, len);
}
