/* /v1/keys: API keys are listed, made and revoked. The key itself is in the reply that made it and nowhere else. */
#include "api/params.h"
#include "api/route.h"
#include "json/json.h"

static enum result check_auth(const struct route_call *call, struct err *err)
{
    return call->api->options.auth ? ERR_OK : err_set(err, ERR_UNSUPPORTED, "this server was started without a place for keys");
}

enum result v1_keys_list(struct route_call *call, struct err *err)
{
    struct buf *body = &call->reply->body;
    struct auth_key **keys = NULL;
    size_t count = 0;
    enum result r = check_auth(call, err);
    if (r == ERR_OK)
        r = auth_list(call->api->options.auth, &keys, &count, err);
    if (r)
        return r;
    r = buf_append_str(body, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        if (r == ERR_OK)
            r = buf_append_str(body, i ? ",{" : "{");
        if (r == ERR_OK)
            r = auth_key_append(body, keys[i]);
        if (r == ERR_OK)
            r = buf_append_str(body, "}");
        auth_key_release(keys[i]);
    }
    free(keys);
    if (r == ERR_OK)
        r = buf_append_str(body, "]}");
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}

/* A JSON array of strings into `out`; *found is false where the member is absent or null. */
static enum result read_list(
    struct json_object *body, const char *name, const char **out, size_t max, size_t *count, bool *found, struct err *err)
{
    struct json_object *array = json_member(body, name);
    *found = array != NULL;
    if (!array)
        return ERR_OK;
    if (!json_object_is_type(array, json_type_array) || json_object_array_length(array) > max)
        return err_set_field(err, ERR_INVALID, name, "must be an array of at most %zu strings", max);
    *count = json_object_array_length(array);
    for (size_t i = 0; i < *count; i++) {
        struct json_object *item = json_object_array_get_idx(array, i);
        if (!json_object_is_type(item, json_type_string))
            return err_set_field(err, ERR_INVALID, name, "must be an array of strings");
        out[i] = json_object_get_string(item);
    }
    return ERR_OK;
}

static enum result read_rights(struct json_object *body, unsigned *rights, struct err *err)
{
    const char *texts[8];
    size_t count = 0;
    bool found = false;
    enum result r = read_list(body, "rights", texts, 8, &count, &found, err);
    for (size_t i = 0; r == ERR_OK && i < count; i++) {
        unsigned right = auth_right(texts[i], strlen(texts[i]));
        *rights |= right;
        if (!right)
            r = err_set_field(err, ERR_INVALID, "rights", "\"%.40s\" is no right: there are search, write and admin",
                texts[i]);
    }
    return r;
}

static enum result read_new(struct json_object *body, struct auth_new *want, const char **names, struct err *err)
{
    size_t len = 0;
    bool found = false;
    enum result r = json_get_string(body, "name", &found, &want->name, &len, err);
    if (r == ERR_OK && found && strlen(want->name) != len)
        r = err_set_field(err, ERR_INVALID, "name", "the name of a key has a control character");
    if (r == ERR_OK)
        r = read_rights(body, &want->rights, err);
    if (r == ERR_OK)
        r = read_list(body, "collections", names, LIMIT_KEY_COLLECTIONS, &want->collection_count, &found, err);
    want->collections = r == ERR_OK && found ? names : NULL;
    return r;
}

static enum result reply_created(struct route_call *call, const struct auth_key *key, const char *text, struct err *err)
{
    struct buf *body = &call->reply->body;
    char place[64];
    enum result r = buf_append_str(body, "{");
    if (r == ERR_OK)
        r = auth_key_append(body, key);
    if (r == ERR_OK)
        r = buf_appendf(body, ",\"key\":\"%s\"}", text);
    snprintf(place, sizeof place, "/v1/keys/%s", key->id);
    if (r == ERR_OK)
        r = http_reply_header(call->reply, "Location", place);
    if (r == ERR_OK) /* it is a secret: nobody on the way shall keep it */
        r = http_reply_header(call->reply, "Cache-Control", "no-store");
    call->reply->status = 201;
    return r ? err_set(err, r, "the reply is too large") : ERR_OK;
}

enum result v1_key_create(struct route_call *call, struct err *err)
{
    const char *names[LIMIT_KEY_COLLECTIONS];
    char text[AUTH_KEY_LEN + 1];
    struct params params;
    struct auth_new want = {0};
    struct auth_key *key = NULL;
    enum result r = params_parse(call->request, false, &params, err);
    if (r == ERR_OK)
        r = check_auth(call, err);
    if (r == ERR_OK && !params.json)
        r = err_set_field(err, ERR_INVALID, "name", "send a JSON object with name, rights and, if wanted, collections");
    if (r == ERR_OK)
        r = read_new(params.json, &want, names, err);
    if (r == ERR_OK)
        r = auth_create(call->api->options.auth, &want, text, &key, err);
    if (r == ERR_OK)
        r = reply_created(call, key, text, err);
    auth_key_release(key);
    params_free(&params);
    return r;
}

enum result v1_key_revoke(struct route_call *call, struct err *err)
{
    enum result r = check_auth(call, err);
    if (r == ERR_OK)
        r = auth_revoke(call->api->options.auth, call->id, false, err);
    if (r == ERR_DENIED) { /* not a matter of the caller's rights: 409 */
        err->code = ERR_EXISTS;
        return ERR_EXISTS;
    }
    if (r == ERR_OK)
        call->reply->status = 204;
    return r;
}
