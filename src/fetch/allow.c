#include "fetch/allow.h"
#include "fetch/url.h"

#include "base/limits.h"

#include <arpa/inet.h>

/* Host names go through the URL parser, so that the list and the URLs cannot be spelled differently. */
static enum result add_host(struct fetch_allow *allow, const char *entry, struct err *err)
{
    char host[FETCH_HOST_MAX + 1];
    struct in_addr ip;
    CURLU *handle = curl_url();
    if (!handle)
        return err_no_memory(err);
    bool good = entry[0] != '\0' && !strpbrk(entry, "/:@?#[]%") &&
                curl_url_set(handle, CURLUPART_SCHEME, "http", 0) == CURLUE_OK &&
                curl_url_set(handle, CURLUPART_HOST, entry, 0) == CURLUE_OK && fetch_url_host(handle, host) &&
                inet_pton(AF_INET, host, &ip) != 1; /* "0x7f.1", which the parser turns into an address */
    curl_url_cleanup(handle);
    if (!good)
        return err_set(err, ERR_INVALID,
            "\"%.200s\" is neither a network (10.0.0.0/8), nor an address, nor a host name: --fetch-allow "
            "takes one of these",
            entry);
    char *copy = strdup(host);
    if (!copy)
        return err_no_memory(err);
    allow->hosts[allow->host_count++] = copy;
    return ERR_OK;
}

static enum result add(struct fetch_allow *allow, const char *entry, struct err *err)
{
    struct fetch_network network;
    bool exact;
    if (!fetch_network_parse(entry, &network, &exact))
        return add_host(allow, entry, err);
    if (!exact)
        return err_set(err, ERR_INVALID,
            "--fetch-allow %s: the address has bits set after the prefix; leave \"/\" and the number away to "
            "allow this one "
            "address, or write the first address of the network",
            entry);
    allow->networks[allow->network_count++] = network;
    return ERR_OK;
}

enum result fetch_allow_init(
    struct fetch_allow *allow, const char *const *entries, size_t count, struct err *err)
{
    if (count > LIMIT_FETCH_ALLOW)
        return err_set(err, ERR_TOO_LARGE, "--fetch-allow is given more than %d times", LIMIT_FETCH_ALLOW);
    struct fetch_allow a = {
        .networks = calloc(count + 1, sizeof *a.networks),
        .hosts = calloc(count + 1, sizeof *a.hosts),
    };
    enum result r = a.networks && a.hosts ? ERR_OK : err_no_memory(err);
    for (size_t i = 0; !r && i < count; i++)
        r = add(&a, entries[i], err);
    if (r)
        fetch_allow_release(&a);
    else
        *allow = a;
    return r;
}

void fetch_allow_release(struct fetch_allow *allow)
{
    for (size_t i = 0; i < allow->host_count; i++)
        free(allow->hosts[i]);
    free(allow->hosts);
    free(allow->networks);
    *allow = (struct fetch_allow){0};
}

bool fetch_allow_has_host(const struct fetch_allow *allow, const char *host)
{
    for (size_t i = 0; i < allow->host_count; i++)
        if (strcmp(allow->hosts[i], host) == 0)
            return true;
    return false;
}

bool fetch_allow_has_address(const struct fetch_allow *allow, const struct sockaddr *address)
{
    for (size_t i = 0; i < allow->network_count; i++)
        if (fetch_network_has(&allow->networks[i], address))
            return true;
    return false;
}
