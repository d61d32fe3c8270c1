/*
 * May this request pass? Asked twice: in the gate, on an I/O thread and before a byte of the body is read, and again by
 * the handler. It looks at headers, path and query only. What a body says about a collection is checked where the body
 * is read, by params_collection().
 */
#include "api/route.h"

#include "base/parse.h"

#include <strings.h>

/* The key's text out of "Authorization: Bearer …" or "X-API-Key: …"; NULL where there is neither. */
static const char *key_of(const struct http_request *head)
{
    const char *value = http_header(head, "Authorization");
    if (value && strncasecmp(value, "Bearer ", 7) == 0)
        return value + 7 + strspn(value + 7, " ");
    return http_header(head, "X-API-Key");
}

bool access_reaches(const struct http_request *request, const char *collection)
{
    return !request->grant || auth_key_reaches(request->grant, collection);
}

static enum result not_this_collection(const char *collection, struct err *err)
{
    return err_set_field(err, ERR_DENIED, "key", "this API key is not for the collection \"%.100s\"",
        parse_is_utf8(collection, strlen(collection)) ? collection : "?");
}

enum result access_check(struct auth *auth, const struct http_request *head, enum route_right right,
    const char *collection, struct auth_key **grant, struct err *err)
{
    static const unsigned bits[] = {[ROUTE_ADMIN] = AUTH_ADMIN, [ROUTE_SEARCH] = AUTH_SEARCH, [ROUTE_WRITE] = AUTH_WRITE};
    if (!auth || right == ROUTE_OPEN || !auth_is_on(auth))
        return ERR_OK;
    const char *text = key_of(head);
    if (!text)
        return err_set_field(err, ERR_DENIED, "Authorization",
            "this server needs an API key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`");
    struct auth_key *key = auth_check(auth, text);
    if (!key)
        return err_set_field(
            err, ERR_DENIED, "Authorization", "the API key is not known here; it is mistyped, or it was revoked");
    enum result r = ERR_OK;
    const struct http_pair *named = http_query(head, "collection");
    if (!auth_key_may(key, bits[right]))
        r = err_set_field(err, ERR_DENIED, "key", "this API key lacks the right %s, which this route needs",
            auth_right_name(bits[right], 0));
    else if (*collection && !auth_key_reaches(key, collection))
        r = not_this_collection(collection, err);
    else if (!*collection && named && !auth_key_reaches(key, named->value))
        r = not_this_collection(named->value, err);
    else if (!*collection && right == ROUTE_ADMIN && key->collections && strncmp(head->path, "/milvus/", 8) != 0)
        r = err_set_field(err, ERR_DENIED, "key",
            "this API key is bound to collections, and this route concerns the whole server");
    if (r)
        auth_key_release(key);
    else
        *grant = key;
    return r;
}
