#include "server/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum result proxies_init(struct proxies *proxies, const char *list, struct err *err)
{
    *proxies = (struct proxies){0};
    while (list && *list) {
        char one[64];
        bool exact = false;
        size_t n = strcspn(list, ", ");
        if (n) {
            if (proxies->count == LIMIT_PROXIES)
                return err_set(err, ERR_TOO_LARGE, "--trusted-proxy: more than %d entries", LIMIT_PROXIES);
            snprintf(one, sizeof one, "%.*s", n < sizeof one ? (int)n : (int)sizeof one - 1, list);
            if (n >= sizeof one || !fetch_network_parse(one, &proxies->networks[proxies->count], &exact) || !exact)
                return err_set(err, ERR_INVALID,
                    "--trusted-proxy: \"%s\" is neither an address nor a network, such as 127.0.0.1 or 10.0.0.0/8", one);
            proxies->count++;
        }
        list += n + (list[n] != '\0');
    }
    return ERR_OK;
}

bool proxies_trust(const void *user, const char *address)
{
    const struct proxies *proxies = user;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    const struct sockaddr *a = (const struct sockaddr *)&v4;
    if (inet_pton(AF_INET, address, &v4.sin_addr) != 1) {
        if (inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
            return false;
        a = (const struct sockaddr *)&v6;
    }
    for (size_t i = 0; i < proxies->count; i++)
        if (fetch_network_has(&proxies->networks[i], a))
            return true;
    return false;
}
