/*
 * The listening socket. We make it ourselves, because libmicrohttpd only says that it failed, not why.
 */
#include "http/internal.h"

#include "base/parse.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

struct address {
    char host[256];
    char port[8];
};

static enum result split(const char *text, struct address *out, struct err *err)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    uint64_t port = 0;
    bool bracketed = host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']';
    if (bracketed) {
        host++;
        host_len -= 2;
    }
    if (!colon || host_len == 0 || host_len >= sizeof out->host ||
        (!bracketed && memchr(host, ':', host_len)) || !parse_u64(colon + 1, strlen(colon + 1), 65535, &port))
        return err_set(err, ERR_INVALID,
            "'%s' is no address to listen on; write ADDRESS:PORT, for example 127.0.0.1:5000 or [::1]:5000.",
            text);
    memcpy(out->host, host, host_len);
    out->host[host_len] = '\0';
    snprintf(out->port, sizeof out->port, "%u", (unsigned)port);
    return ERR_OK;
}

static enum result bound_port(int fd, unsigned *port)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len))
        return ERR_IO;
    if (address.ss_family == AF_INET6)
        *port = ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    else
        *port = ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
    return ERR_OK;
}

enum result http_listen(const char *address, int *out_fd, unsigned *out_port, struct err *err)
{
    struct address a;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    int fd = -1;
    unsigned port = 0;
    enum result r = split(address, &a, err);
    if (r)
        return r;
    int gai = getaddrinfo(a.host, a.port, &hints, &found);
    if (gai) {
        r = err_set(err, ERR_INVALID, "'%s' is no address of this machine: %s.", a.host, gai_strerror(gai));
        goto out;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        r = err_set_errno(err, errno, "Cannot listen on %s", address);
        goto out;
    }
    int one = 1, zero = 0;
    /* A restart must not wait for old connections to time out; "[::]" means IPv4 as well. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (found->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, LIMIT_CONNECTIONS) ||
        bound_port(fd, &port)) {
        r = err_set_errno(err, errno, "Cannot listen on %s", address);
        goto out;
    }
    *out_fd = fd;
    *out_port = port;
    fd = -1;
out:
    if (found)
        freeaddrinfo(found);
    if (fd >= 0)
        close(fd);
    return r;
}
