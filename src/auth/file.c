/*
 * DATA/keys.json:
 *
 *   {"version":1,"keys":[{"id":"0123456789ab","name":"shop","rights":["search"],"collections":null,
 *     "created":"2026-01-31T12:00:00Z","last_used":null,"sha256":"…64 hexadecimal digits…"}]}
 *
 * Read strictly: a member that is missing or of the wrong kind makes the file damaged, and a damaged file stops the
 * start. A key that was lost silently would be a right that was lost, or, with the last one, a door that stands open.
 */
#include "auth/internal.h"
#include "base/buf.h"
#include "base/parse.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* --- reading -------------------------------------------------------------------------------------------------- */

static enum result damaged(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "%s", what);
}

static bool parse_time(const char *text, int64_t *out)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (!end || *end)
        return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

static bool parse_hash(const char *text, size_t len, uint8_t out[AUTH_HASH_LEN])
{
    if (len != 2 * AUTH_HASH_LEN || strspn(text, "0123456789abcdef") != len)
        return false;
    for (size_t i = 0; i < AUTH_HASH_LEN; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* The texts of an array of strings into `out`; false where it is none or has more than `max`. */
static bool read_texts(struct json_object *array, const char **out, size_t max, size_t *count)
{
    if (!json_object_is_type(array, json_type_array) || json_object_array_length(array) > max)
        return false;
    *count = json_object_array_length(array);
    for (size_t i = 0; i < *count; i++) {
        struct json_object *item = json_object_array_get_idx(array, i);
        if (!json_object_is_type(item, json_type_string))
            return false;
        out[i] = json_object_get_string(item);
    }
    return true;
}

static bool read_rights(struct json_object *array, unsigned *out)
{
    const char *texts[8];
    size_t count = 0;
    unsigned rights = 0;
    if (!read_texts(array, texts, 8, &count) || count == 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        unsigned right = auth_right(texts[i], strlen(texts[i]));
        if (!right)
            return false;
        rights |= right;
    }
    *out = rights;
    return true;
}

/* The string member `name`, or NULL. */
static const char *text_of(struct json_object *object, const char *name, size_t *len)
{
    struct json_object *member = json_member(object, name);
    if (!json_object_is_type(member, json_type_string))
        return NULL;
    *len = (size_t)json_object_get_string_len(member);
    return json_object_get_string(member);
}

/* One member of "keys", into a key that has its collections already. */
static bool fill_key(struct json_object *object, struct auth_key *key)
{
    size_t id_len = 0, name_len = 0, hash_len = 0, ignored = 0;
    int64_t created = 0, used = 0;
    const char *id = text_of(object, "id", &id_len), *name = text_of(object, "name", &name_len);
    const char *hash = text_of(object, "sha256", &hash_len), *made = text_of(object, "created", &ignored);
    const char *last = text_of(object, "last_used", &ignored);
    if (!id || !name || !hash || !made || id_len != AUTH_ID_LEN || strspn(id, "0123456789abcdef") != AUTH_ID_LEN ||
        name_len == 0 || name_len > LIMIT_KEY_NAME || !parse_hash(hash, hash_len, key->hash) ||
        !read_rights(json_member(object, "rights"), &key->rights) || !parse_time(made, &created) ||
        (last && !parse_time(last, &used)))
        return false;
    memcpy(key->id, id, AUTH_ID_LEN);
    memcpy(key->name, name, name_len);
    key->created = created;
    atomic_store(&key->last_used, used);
    return true;
}

static enum result read_key(struct json_object *object, struct auth_set *set, struct err *err)
{
    const char **names = calloc(LIMIT_KEY_COLLECTIONS, sizeof *names);
    struct json_object *collections = json_member(object, "collections");
    struct auth_key *key = NULL;
    size_t count = 0;
    enum result r = names ? ERR_OK : err_no_memory(err);
    if (r == ERR_OK && collections && (!read_texts(collections, names, LIMIT_KEY_COLLECTIONS, &count) || count == 0))
        r = damaged(err, "the collections of a key are no list of names");
    if (r == ERR_OK) {
        key = auth_key_new(collections ? names : NULL, count);
        r = !key                     ? err_no_memory(err)
            : fill_key(object, key) ? ERR_OK
                                     : damaged(err, "a key lacks a member, or one is not what it must be");
    }
    if (r == ERR_OK)
        set->keys[set->count++] = key;
    else
        auth_key_release(key);
    free(names);
    return r;
}

static enum result read_keys(const char *text, size_t len, struct auth_set *out, struct err *err)
{
    struct json_object *root = NULL;
    struct auth_set set = {0};
    bool found = false;
    int64_t version = 0;
    enum result r = json_parse(text, len, &root, err);
    if (r)
        return r;
    struct json_object *keys = json_member(root, "keys");
    if (json_get_i64(root, "version", &found, &version, NULL) || !found || version != 1)
        r = damaged(err, "its version is not 1");
    else if (!json_object_is_type(keys, json_type_array) || json_object_array_length(keys) > LIMIT_KEYS)
        r = damaged(err, "it has no list of keys");
    size_t count = r ? 0 : json_object_array_length(keys);
    set.keys = calloc(count + 1, sizeof *set.keys);
    if (r == ERR_OK && !set.keys)
        r = err_no_memory(err);
    for (size_t i = 0; r == ERR_OK && i < count; i++)
        r = read_key(json_object_array_get_idx(keys, i), &set, err);
    json_object_put(root);
    if (r)
        auth_set_free(&set);
    else
        *out = set;
    return r;
}

static enum result read_all(int fd, struct buf *out, struct err *err)
{
    for (;;) {
        if (buf_reserve(out, 4096))
            return err_set(err, ERR_TOO_LARGE, "it is larger than %d bytes", LIMIT_KEYS_BYTES);
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1 < 4096 ? out->cap - out->len - 1 : 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "it cannot be read");
        if (n == 0)
            return ERR_OK;
        out->len += (size_t)n;
    }
}

enum result auth_file_read(const char *path, struct auth_set *out, struct stat *stamp, struct err *err)
{
    struct buf text;
    struct err why = {0};
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *out = (struct auth_set){0};
        *stamp = st;
        return ERR_OK;
    }
    if (fd < 0)
        return err_set_errno(err, errno, "cannot read the keys in %s", path);
    buf_init(&text, LIMIT_KEYS_BYTES);
    enum result r = fstat(fd, &st) ? err_set_errno(&why, errno, "it cannot be read") : read_all(fd, &text, &why);
    if (r == ERR_OK)
        r = read_keys(text.data ? text.data : "", text.len, out, &why);
    if (r == ERR_OK)
        *stamp = st;
    buf_free(&text);
    close(fd);
    if (r)
        return err_set(err, r == ERR_INVALID ? ERR_CORRUPT : r,
            "the keys in %.200s are damaged: %.150s; put back a copy, or take the file away and make new keys", path,
            why.message);
    return ERR_OK;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

enum result auth_key_append(struct buf *out, const struct auth_key *key)
{
    char created[AUTH_TIME_LEN + 1], used[AUTH_TIME_LEN + 1];
    int64_t last_used = atomic_load(&key->last_used);
    auth_time_text(key->created, created);
    auth_time_text(last_used, used);
    enum result r = buf_appendf(out, "\"id\":\"%s\",\"name\":", key->id);
    if (r == ERR_OK)
        r = json_append_string(out, key->name, strlen(key->name));
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"rights\":[");
    for (size_t i = 0; r == ERR_OK && auth_right_name(key->rights, i); i++)
        r = buf_appendf(out, "%s\"%s\"", i ? "," : "", auth_right_name(key->rights, i));
    if (r == ERR_OK)
        r = buf_append_str(out, key->collections ? "],\"collections\":[" : "],\"collections\":null");
    for (size_t i = 0; r == ERR_OK && i < key->collection_count; i++)
        r = buf_appendf(out, "%s\"%s\"", i ? "," : "", key->collections[i]);
    if (r == ERR_OK)
        r = buf_appendf(out, "%s,\"created\":\"%s\",\"last_used\":", key->collections ? "]" : "", created);
    if (r == ERR_OK)
        r = last_used ? buf_appendf(out, "\"%s\"", used) : buf_append_str(out, "null");
    return r;
}

static enum result write_key(struct buf *out, const struct auth_key *key)
{
    enum result r = buf_append_str(out, "{");
    if (r == ERR_OK)
        r = auth_key_append(out, key);
    if (r == ERR_OK)
        r = buf_append_str(out, ",\"sha256\":\"");
    for (size_t i = 0; r == ERR_OK && i < AUTH_HASH_LEN; i++)
        r = buf_appendf(out, "%02x", key->hash[i]);
    return r ? r : buf_append_str(out, "\"}");
}

static enum result write_keys(struct buf *out, const struct auth_set *set)
{
    enum result r = buf_append_str(out, "{\"version\":1,\"keys\":[\n");
    for (size_t i = 0; r == ERR_OK && i < set->count; i++) {
        r = write_key(out, set->keys[i]);
        if (r == ERR_OK)
            r = buf_append_str(out, i + 1 < set->count ? ",\n" : "\n");
    }
    return r ? r : buf_append_str(out, "]}\n");
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

enum result auth_file_write(const char *folder, const char *path, const struct auth_set *set, struct err *err)
{
    char aside[PATH_MAX + 32];
    struct buf text;
    buf_init(&text, LIMIT_KEYS_BYTES);
    enum result r = write_keys(&text, set);
    if (r) {
        buf_free(&text);
        return err_set(err, r, "the keys together are larger than %d bytes", LIMIT_KEYS_BYTES);
    }
    snprintf(aside, sizeof aside, "%s.new", path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, text.data, text.len) && fsync(fd) == 0;
    int e = errno;
    if (fd >= 0 && close(fd) && ok) {
        ok = false;
        e = errno;
    }
    if (ok && (rename(aside, path) || !sync_folder(folder))) {
        ok = false;
        e = errno;
    }
    if (!ok) {
        unlink(aside);
        r = err_set_errno(err, e, "cannot write the keys to %s", path);
    }
    buf_free(&text);
    return r;
}

enum result auth_file_lock(const char *folder, int *out, struct err *err)
{
    char path[PATH_MAX + 16];
    if (mkdir(folder, 0777) && errno != EEXIST)
        return err_set_errno(err, errno, "cannot make the folder %s", folder);
    snprintf(path, sizeof path, "%s/keys.lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    while (flock(fd, LOCK_EX)) {
        if (errno == EINTR)
            continue;
        int e = errno;
        close(fd);
        return err_set_errno(err, e, "cannot lock %s", path);
    }
    *out = fd;
    return ERR_OK;
}
