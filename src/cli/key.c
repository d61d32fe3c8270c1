/*
 * `lookalike key create|list|revoke`: on the server's machine with --data, where it also works beside a server that
 * runs (DATA/keys.json has a lock of its own, and a server sees the change within a second), or over HTTP with a key
 * that has the right admin.
 */
#include "cli/cli.h"

#include "auth/auth.h"
#include "fetch/http_client.h"
#include "json/json.h"

static const char help[] =
    "usage: lookalike key create NAME --rights RIGHT[,RIGHT…] [--collections NAME[,NAME…]] [FLAG…]\n"
    "       lookalike key list [FLAG…]\n"
    "       lookalike key revoke ID [FLAG…]\n\n"
    "  create           make an API key and print it: it cannot be shown again\n"
    "  list             the keys, without what is secret in them\n"
    "  revoke           take one away; requests with it are refused from then on\n\n"
    "  --rights LIST      search, write, admin (which includes the others); the first key needs admin\n"
    "  --collections LIST the key is for these only [all]\n";
static const char examples[] =
    "\nWith the first key a server asks for one in every request. --data needs no key: who can write that folder\n"
    "can do everything anyway. It works while a server runs on the folder.\n\n"
    "examples:\n"
    "  lookalike key create operator --rights admin --data ./data\n"
    "  lookalike key create website --rights search --collections shop --data ./data\n"
    "  LOOKALIKE_API_KEY=lk_… lookalike key list --server http://127.0.0.1:5000\n\n"
    "Exit status: 0 done, 2 wrong usage, 3 nothing done.\n";

#define LIST_MAX 64

struct key_command {
    struct cli_args args;
    const char *verb, *name; /* name: NAME or ID */
    const char *rights, *collections;
};

/* Splits a copy of `text` at commas; the copy is released by the caller. */
static enum result split(const char *text, const char *flag, char **copy, const char **out, size_t *count, struct err *err)
{
    *count = 0;
    *copy = text ? strdup(text) : NULL;
    if (!text)
        return ERR_OK;
    if (!*copy)
        return err_no_memory(err);
    for (char *p = *copy; p;) {
        char *comma = strchr(p, ',');
        if (comma)
            *comma = '\0';
        if (*count == LIST_MAX)
            return err_set(err, ERR_TOO_LARGE, "%s takes at most %d names", flag, LIST_MAX);
        out[(*count)++] = p;
        p = comma ? comma + 1 : NULL;
    }
    return ERR_OK;
}

/* --- output --------------------------------------------------------------------------------------------------- */

static void print_json_text(const char *text)
{
    struct buf out;
    buf_init(&out, 8192);
    fputs(json_append_string(&out, text, strlen(text)) ? "null" : out.data, stdout);
    buf_free(&out);
}

static void print_json_key(const struct auth_key *key, const char *text)
{
    char when[AUTH_TIME_LEN + 1];
    printf("{\"id\":\"%s\",\"name\":", key->id);
    print_json_text(key->name);
    fputs(",\"rights\":[", stdout);
    for (size_t i = 0; auth_right_name(key->rights, i); i++)
        printf("%s\"%s\"", i ? "," : "", auth_right_name(key->rights, i));
    fputs(key->collections ? "],\"collections\":[" : "],\"collections\":null", stdout);
    for (size_t i = 0; i < key->collection_count; i++)
        printf("%s\"%s\"", i ? "," : "", key->collections[i]);
    auth_time_text(key->created, when);
    printf("%s,\"created\":\"%s\",\"last_used\":", key->collections ? "]" : "", when);
    int64_t used = atomic_load(&key->last_used);
    auth_time_text(used, when);
    printf(used ? "\"%s\"" : "null", when);
    if (text)
        printf(",\"key\":\"%s\"", text);
    putchar('}');
}

static void print_plain(const char *text)
{
    struct buf out;
    buf_init(&out, 8192);
    fputs(cli_append_plain(&out, text, strlen(text)) || !out.data ? "" : out.data, stdout);
    buf_free(&out);
}

static void print_key_line(const struct auth_key *key)
{
    char made[AUTH_TIME_LEN + 1], used[AUTH_TIME_LEN + 1] = "never";
    int64_t last = atomic_load(&key->last_used);
    auth_time_text(key->created, made);
    if (last)
        auth_time_text(last, used);
    printf("%s  made %.10s  used %-10.10s  ", key->id, made, used);
    for (size_t i = 0; auth_right_name(key->rights, i); i++)
        printf("%s%s", i ? "," : "", auth_right_name(key->rights, i));
    if (key->collections)
        fputs(" on ", stdout);
    for (size_t i = 0; i < key->collection_count; i++)
        printf("%s%s", i ? "," : "", key->collections[i]);
    fputs("  ", stdout);
    print_plain(key->name);
    putchar('\n');
}

static void say_created(const struct key_command *c)
{
    if (!c->args.quiet)
        fputs("This is the key. It cannot be shown again.\n", stderr);
}

/* --- in the folder -------------------------------------------------------------------------------------------- */

static enum result create_here(const struct key_command *c, struct auth *auth, struct err *err)
{
    const char *rights[LIST_MAX], *names[LIST_MAX];
    char *rights_copy = NULL, *names_copy = NULL, text[AUTH_KEY_LEN + 1];
    size_t right_count = 0, name_count = 0;
    struct auth_key *key = NULL;
    struct auth_new want = {.name = c->name};
    enum result r = split(c->rights, "--rights", &rights_copy, rights, &right_count, err);
    if (r == ERR_OK)
        r = split(c->collections, "--collections", &names_copy, names, &name_count, err);
    for (size_t i = 0; r == ERR_OK && i < right_count; i++) {
        unsigned right = auth_right(rights[i], strlen(rights[i]));
        want.rights |= right;
        if (!right)
            r = err_set(err, ERR_INVALID, "--rights: \"%.40s\" is no right: there are search, write and admin", rights[i]);
    }
    want.collections = c->collections ? names : NULL;
    want.collection_count = name_count;
    if (r == ERR_OK)
        r = auth_create(auth, &want, text, &key, err);
    if (r == ERR_OK && c->args.json) {
        print_json_key(key, text);
        putchar('\n');
    } else if (r == ERR_OK) {
        say_created(c);
        puts(text);
    }
    auth_key_release(key);
    free(rights_copy);
    free(names_copy);
    return r;
}

static enum result list_here(const struct key_command *c, struct auth *auth, struct err *err)
{
    struct auth_key **keys = NULL;
    size_t count = 0;
    enum result r = auth_list(auth, &keys, &count, err);
    if (r)
        return r;
    if (c->args.json)
        fputs("{\"keys\":[", stdout);
    for (size_t i = 0; i < count; i++) {
        if (c->args.json && i)
            putchar(',');
        if (c->args.json)
            print_json_key(keys[i], NULL);
        else
            print_key_line(keys[i]);
        auth_key_release(keys[i]);
    }
    if (c->args.json)
        puts("]}");
    else if (!count && !c->args.quiet)
        fputs("There are no keys: requests need none.\n", stderr);
    free(keys);
    return ERR_OK;
}

static void say_revoked(const struct key_command *c)
{
    if (c->args.json)
        printf("{\"id\":\"%s\",\"done\":\"revoked\"}\n", c->name);
    else if (!c->args.quiet)
        printf("revoked %s\n", c->name);
}

static enum result work_here(const struct key_command *c, struct err *err)
{
    struct auth *auth = NULL;
    enum result r = auth_open(c->args.data, &auth, err);
    if (r)
        return r;
    if (strcmp(c->verb, "create") == 0) {
        r = create_here(c, auth, err);
    } else if (strcmp(c->verb, "list") == 0) {
        r = list_here(c, auth, err);
    } else {
        r = auth_revoke(auth, c->name, true, err);
        if (r == ERR_OK)
            say_revoked(c);
    }
    auth_close(auth);
    return r;
}

/* --- over HTTP ------------------------------------------------------------------------------------------------ */

static enum result append_list(struct buf *out, const char *list)
{
    enum result r = buf_append_str(out, "[");
    for (const char *p = list; r == ERR_OK && p;) {
        size_t n = strcspn(p, ",");
        if (p != list)
            r = buf_append_str(out, ",");
        if (r == ERR_OK)
            r = json_append_string(out, p, n);
        p = p[n] ? p + n + 1 : NULL;
    }
    return r ? r : buf_append_str(out, "]");
}

static enum result create_body(const struct key_command *c, struct buf *out, struct err *err)
{
    enum result r = buf_append_str(out, "{\"name\":");
    if (r == ERR_OK)
        r = json_append_string(out, c->name, strlen(c->name));
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"rights\":");
    if (r == ERR_OK)
        r = append_list(out, c->rights);
    if (r == ERR_OK && c->collections)
        r = buf_append_str(out, ",\"collections\":");
    if (r == ERR_OK && c->collections)
        r = append_list(out, c->collections);
    if (r == ERR_OK)
        r = buf_append_str(out, "}");
    return r ? err_set(err, r, "the names must be UTF-8") : ERR_OK;
}

static enum result fail_of_reply(const struct key_command *c, long status, const struct buf *reply, struct err *err)
{
    struct json_object *problem = NULL;
    const char *detail = NULL;
    size_t len = 0;
    bool found = false;
    if (reply->len && json_parse(reply->data, reply->len, &problem, NULL) == ERR_OK &&
        json_get_string(problem, "detail", &found, &detail, &len, NULL) == ERR_OK && found)
        err_set(err, ERR_DENIED, "%s", detail);
    else
        err_set(err, ERR_UNAVAILABLE, "%.200s answered with status %ld; is it a lookalike server?", c->args.server, status);
    json_object_put(problem);
    return err->code;
}

static void print_reply_key(struct json_object *key)
{
    static const char *const members[] = {"id", "created", "last_used", "name"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *text = json_object_get_string(json_member(key, members[i]));
        print_plain(text ? text : "never");
        fputs("  ", stdout);
    }
    print_plain(json_object_to_json_string_ext(json_member(key, "rights"), JSON_C_TO_STRING_PLAIN));
    if (json_member(key, "collections"))
        print_plain(json_object_to_json_string_ext(json_member(key, "collections"), JSON_C_TO_STRING_PLAIN));
    putchar('\n');
}

static enum result print_reply(const struct key_command *c, const struct buf *reply, struct err *err)
{
    struct json_object *root = NULL;
    if (strcmp(c->verb, "revoke") == 0) {
        say_revoked(c);
        return ERR_OK;
    }
    if (json_parse(reply->data ? reply->data : "", reply->len, &root, NULL))
        return err_set(err, ERR_INTERNAL, "%.200s sent a reply that cannot be read", c->args.server);
    struct json_object *keys = json_member(root, "keys");
    if (c->args.json) {
        printf("%s\n", reply->data);
    } else if (strcmp(c->verb, "create") == 0) {
        const char *text = json_object_get_string(json_member(root, "key"));
        say_created(c);
        puts(text ? text : "");
    } else if (json_object_is_type(keys, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(keys); i++)
            print_reply_key(json_object_array_get_idx(keys, i));
    }
    json_object_put(root);
    return ERR_OK;
}

static enum result work_there(const struct key_command *c, struct err *err)
{
    struct http_client *client = NULL;
    struct buf body, reply, path;
    long status = 0;
    bool create = strcmp(c->verb, "create") == 0, revoke = strcmp(c->verb, "revoke") == 0;
    buf_init(&body, LIMIT_MIB);
    buf_init(&reply, LIMIT_SERVER_REPLY);
    buf_init(&path, 4096);
    enum result r = http_client_new(c->args.server, &client, err);
    if (r == ERR_OK && create)
        r = create_body(c, &body, err);
    if (r == ERR_OK && (buf_append_str(&path, revoke ? "/v1/keys/" : "/v1/keys") ||
                           (revoke && http_client_escape(&path, c->name, strlen(c->name)))))
        r = err_set(err, ERR_INVALID, "the id is too long");
    if (r == ERR_OK) {
        struct http_client_request request = {.method = create ? "POST" : revoke ? "DELETE" : "GET",
            .path = path.data, .content_type = create ? "application/json" : NULL, .body = body.data, .body_len = body.len};
        r = http_client_send(client, &request, &status, &reply, err);
    }
    if (r == ERR_OK)
        r = status >= 200 && status < 300 ? print_reply(c, &reply, err) : fail_of_reply(c, status, &reply, err);
    http_client_free(client);
    buf_free(&body);
    buf_free(&reply);
    buf_free(&path);
    return r;
}

/* --- the command ---------------------------------------------------------------------------------------------- */

static enum result read_arguments(struct key_command *c, int argc, char **argv, struct err *err)
{
    const struct cli_flag flags[] = {{"--rights", &c->rights, NULL}, {"--collections", &c->collections, NULL}};
    enum result r = cli_args_parse(argc, argv, flags, 2, &c->args, err);
    if (r || c->args.help)
        return r;
    c->verb = c->args.positional_count ? c->args.positional[0] : "";
    bool list = strcmp(c->verb, "list") == 0, create = strcmp(c->verb, "create") == 0;
    if (!list && !create && strcmp(c->verb, "revoke") != 0)
        return err_set(err, ERR_INVALID, "key needs one of create, list and revoke");
    if (c->args.positional_count != (list ? 1u : 2u))
        return err_set(err, ERR_INVALID, list ? "key list takes no name" : "key %s needs one %s", c->verb,
            create ? "name" : "id");
    if (create != (c->rights != NULL))
        return err_set(err, ERR_INVALID, create ? "key create needs --rights" : "--rights goes with create only");
    if (c->collections && !create)
        return err_set(err, ERR_INVALID, "--collections goes with create only");
    c->name = list ? NULL : c->args.positional[1];
    return ERR_OK;
}

int cli_key(int argc, char **argv)
{
    struct err err = {0};
    struct key_command c = {0};
    if (read_arguments(&c, argc, argv, &err))
        return cli_usage("key", &err);
    if (c.args.help) {
        printf("%s%s%s", help, cli_common_help, examples);
        return CLI_DONE;
    }
    enum result r = c.args.data ? work_here(&c, &err) : work_there(&c, &err);
    return r ? cli_fail(CLI_NOTHING, &err) : CLI_DONE;
}
