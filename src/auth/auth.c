/*
 * The keys in memory. One lock for all of it: what is done under it takes microseconds, but for the reading of the
 * file after somebody changed it. Who changes the file holds the lock file first and this lock inside it.
 */
#include "auth/auth.h"

#include "auth/internal.h"
#include "base/clock.h"
#include "base/parse.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_MS 1000
#define SECRET_BYTES 24

struct auth {
    char folder[PATH_MAX], path[PATH_MAX + 16];
    pthread_mutex_t lock;
    struct auth_set set; /* under lock, as the rest */
    struct stat stamp;   /* of the file that `set` was read from */
    int64_t looked_ms;
    bool on;   /* there was a key */
    bool used; /* some last_used is newer than the file */
};

/* --- keys ----------------------------------------------------------------------------------------------------- */

struct auth_key *auth_key_new(const char *const *collections, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(collections[i]) + 1;
    struct auth_key *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    atomic_init(&key->refs, 1);
    if (!collections)
        return key;
    key->collections = malloc(count * sizeof *key->collections + bytes + 1);
    if (!key->collections) {
        free(key);
        return NULL;
    }
    char *to = (char *)(key->collections + count);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(collections[i]) + 1;
        key->collections[i] = memcpy(to, collections[i], len);
        to += len;
    }
    key->collection_count = count;
    return key;
}

void auth_key_release(struct auth_key *key)
{
    if (!key || atomic_fetch_sub(&key->refs, 1) != 1)
        return;
    free(key->collections);
    free(key);
}

static struct auth_key *hold(struct auth_key *key)
{
    atomic_fetch_add(&key->refs, 1);
    return key;
}

void auth_set_free(struct auth_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        auth_key_release(set->keys[i]);
    free(set->keys);
    *set = (struct auth_set){0};
}

bool auth_key_may(const struct auth_key *key, unsigned right)
{
    return (key->rights & (right | AUTH_ADMIN)) != 0;
}

bool auth_key_reaches(const struct auth_key *key, const char *collection)
{
    if (!key->collections)
        return true;
    for (size_t i = 0; i < key->collection_count; i++)
        if (strcmp(key->collections[i], collection) == 0)
            return true;
    return false;
}

static const struct {
    const char *name;
    unsigned bit;
} rights[] = {{"search", AUTH_SEARCH}, {"write", AUTH_WRITE}, {"admin", AUTH_ADMIN}};
#define RIGHT_COUNT (sizeof rights / sizeof *rights)

unsigned auth_right(const char *name, size_t len)
{
    for (size_t i = 0; i < RIGHT_COUNT; i++)
        if (strlen(rights[i].name) == len && memcmp(rights[i].name, name, len) == 0)
            return rights[i].bit;
    return 0;
}

const char *auth_right_name(unsigned bits, size_t i)
{
    for (size_t k = 0; k < RIGHT_COUNT; k++)
        if ((bits & rights[k].bit) && i-- == 0)
            return rights[k].name;
    return NULL;
}

void auth_time_text(int64_t seconds, char out[AUTH_TIME_LEN + 1])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, AUTH_TIME_LEN + 1, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, AUTH_TIME_LEN + 1, "1970-01-01T00:00:00Z");
}

static bool hash_text(const char *text, size_t len, uint8_t out[AUTH_HASH_LEN])
{
    return EVP_Digest(text, len, out, NULL, EVP_sha256(), NULL) == 1;
}

/* --- the file ------------------------------------------------------------------------------------------------- */

static struct auth_key *find(const struct auth_set *set, const char *id, size_t len)
{
    for (size_t i = 0; len == AUTH_ID_LEN && i < set->count; i++)
        if (memcmp(set->keys[i]->id, id, AUTH_ID_LEN) == 0)
            return set->keys[i];
    return NULL;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Takes over what the file holds; the times of use that are newer here stay. */
static enum result read_locked(struct auth *auth, struct err *err)
{
    struct auth_set set = {0};
    struct stat stamp;
    enum result r = auth_file_read(auth->path, &set, &stamp, err);
    if (r)
        return r;
    for (size_t i = 0; i < set.count; i++) {
        struct auth_key *known = find(&auth->set, set.keys[i]->id, AUTH_ID_LEN);
        int64_t used = known ? atomic_load(&known->last_used) : 0;
        if (used > atomic_load(&set.keys[i]->last_used))
            atomic_store(&set.keys[i]->last_used, used);
    }
    auth_set_free(&auth->set);
    auth->set = set;
    auth->stamp = stamp;
    auth->on = auth->on || set.count > 0;
    return ERR_OK;
}

/* Another process may have changed the file. One that cannot be read changes nothing: the keys known so far stay. */
static void look_locked(struct auth *auth, int64_t every_ms)
{
    int64_t now = clock_now_ms();
    struct stat stamp = {0};
    if (now - auth->looked_ms < every_ms)
        return;
    auth->looked_ms = now;
    if (stat(auth->path, &stamp))
        stamp = (struct stat){0};
    if (same_file(&stamp, &auth->stamp))
        return;
    if (read_locked(auth, NULL))
        auth->stamp = stamp; /* do not read it again until it changes once more */
}

enum result auth_open(const char *data, struct auth **out, struct err *err)
{
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth)
        return err_no_memory(err);
    pthread_mutex_init(&auth->lock, NULL);
    enum result r = ERR_OK;
    if ((size_t)snprintf(auth->folder, sizeof auth->folder, "%s", data) >= sizeof auth->folder)
        r = err_set(err, ERR_INVALID, "the path of the data folder is too long");
    snprintf(auth->path, sizeof auth->path, "%s/keys.json", auth->folder);
    if (r == ERR_OK)
        r = read_locked(auth, err);
    auth->looked_ms = clock_now_ms();
    if (r) {
        pthread_mutex_destroy(&auth->lock);
        free(auth);
        return r;
    }
    *out = auth;
    return ERR_OK;
}

/* `set` is what the file holds; what was known before is left in it. */
static void take_over(struct auth *auth, struct auth_set *set)
{
    pthread_mutex_lock(&auth->lock);
    struct auth_set old = auth->set;
    auth->set = *set;
    *set = old;
    auth->on = auth->on || auth->set.count > 0;
    auth->used = false;
    if (stat(auth->path, &auth->stamp))
        auth->stamp = (struct stat){0};
    pthread_mutex_unlock(&auth->lock);
}

/* `change` on what the file holds now, then write it. */
static enum result change_file(struct auth *auth, enum result (*change)(struct auth_set *set, void *arg, struct err *err),
    void *arg, struct err *err)
{
    int lock = -1;
    enum result r = auth_file_lock(auth->folder, &lock, err);
    if (r)
        return r;
    pthread_mutex_lock(&auth->lock);
    r = read_locked(auth, err);
    struct auth_set set = {.keys = calloc(auth->set.count + 1, sizeof *set.keys)};
    if (r == ERR_OK && !set.keys)
        r = err_no_memory(err);
    for (size_t i = 0; r == ERR_OK && i < auth->set.count; i++)
        set.keys[set.count++] = hold(auth->set.keys[i]);
    pthread_mutex_unlock(&auth->lock);
    if (r == ERR_OK)
        r = change(&set, arg, err);
    /* Without our lock: a disk may take its time, and auth_check() must not wait for it. */
    if (r == ERR_OK)
        r = auth_file_write(auth->folder, auth->path, &set, err);
    if (r == ERR_OK)
        take_over(auth, &set);
    auth_set_free(&set);
    close(lock);
    return r;
}

static enum result change_nothing(struct auth_set *set, void *arg, struct err *err)
{
    return ERR_OK;
}

void auth_close(struct auth *auth)
{
    if (!auth)
        return;
    /* The times of use are for people to look at; a full disk at the end of the program loses them. */
    if (auth->used && change_file(auth, change_nothing, NULL, NULL))
        auth->used = false;
    auth_set_free(&auth->set);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

/* --- asking --------------------------------------------------------------------------------------------------- */

const char *auth_folder(const struct auth *auth)
{
    return auth->folder;
}

bool auth_is_on(struct auth *auth)
{
    pthread_mutex_lock(&auth->lock);
    look_locked(auth, LOOK_EVERY_MS);
    bool on = auth->on;
    pthread_mutex_unlock(&auth->lock);
    return on;
}

struct auth_key *auth_check(struct auth *auth, const char *text)
{
    static const uint8_t nobody[AUTH_HASH_LEN];
    uint8_t hash[AUTH_HASH_LEN];
    size_t len = strnlen(text, AUTH_KEY_LEN + 1);
    bool formed = len == AUTH_KEY_LEN && strncmp(text, "lk_", 3) == 0;
    if (!hash_text(text, len, hash))
        return NULL;
    pthread_mutex_lock(&auth->lock);
    look_locked(auth, LOOK_EVERY_MS);
    /* The id is no secret: it stands in lists and logs. The hash is compared in constant time, also where there is none. */
    struct auth_key *key = formed ? find(&auth->set, text + 3, AUTH_ID_LEN) : NULL;
    if (formed && !key) { /* made a moment ago, perhaps: whoever was just handed a key uses it at once */
        look_locked(auth, 0);
        key = find(&auth->set, text + 3, AUTH_ID_LEN);
    }
    bool same = CRYPTO_memcmp(hash, key ? key->hash : nobody, sizeof hash) == 0;
    if (key && same) {
        int64_t now = (int64_t)time(NULL);
        if (atomic_exchange(&key->last_used, now) != now)
            auth->used = true;
        hold(key);
    } else {
        key = NULL;
    }
    pthread_mutex_unlock(&auth->lock);
    return key;
}

enum result auth_list(struct auth *auth, struct auth_key ***out, size_t *count, struct err *err)
{
    pthread_mutex_lock(&auth->lock);
    look_locked(auth, LOOK_EVERY_MS);
    struct auth_key **keys = calloc(auth->set.count + 1, sizeof *keys);
    size_t n = auth->set.count;
    for (size_t i = 0; keys && i < n; i++)
        keys[i] = hold(auth->set.keys[i]);
    pthread_mutex_unlock(&auth->lock);
    if (!keys)
        return err_no_memory(err);
    *out = keys;
    *count = n;
    return ERR_OK;
}

/* --- changing ------------------------------------------------------------------------------------------------- */

static enum result check_new(const struct auth_new *want, struct err *err)
{
    size_t len = want->name ? strnlen(want->name, LIMIT_KEY_NAME + 1) : 0;
    if (len == 0 || len > LIMIT_KEY_NAME || !parse_is_utf8(want->name, len))
        return err_set_field(err, ERR_INVALID, "name", "a key needs a name of 1 to %d bytes of UTF-8", LIMIT_KEY_NAME);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)want->name[i] < ' ' || want->name[i] == 0x7f)
            return err_set_field(err, ERR_INVALID, "name", "the name of a key has a control character");
    if (!want->rights)
        return err_set_field(err, ERR_INVALID, "rights", "a key needs at least one of the rights search, write and admin");
    if (want->collections && want->collection_count == 0)
        return err_set_field(err, ERR_INVALID, "collections",
            "the list of collections is empty; name some, or leave it away for all");
    if (want->collection_count > LIMIT_KEY_COLLECTIONS)
        return err_set_field(err, ERR_TOO_LARGE, "collections", "a key can be bound to at most %d collections",
            LIMIT_KEY_COLLECTIONS);
    for (size_t i = 0; i < want->collection_count; i++)
        if (!parse_is_collection_name(want->collections[i]))
            return err_set_field(err, ERR_INVALID, "collections", "\"%.100s\" is no name of a collection",
                want->collections[i]);
    return ERR_OK;
}

static bool manages(const struct auth_key *key)
{
    return (key->rights & AUTH_ADMIN) && !key->collections;
}

static enum result random_hex(char *out, size_t bytes, struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[SECRET_BYTES];
    if (getrandom(raw, bytes, 0) != (ssize_t)bytes)
        return err_set(err, ERR_INTERNAL, "the system gives no random numbers");
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[2 * bytes] = '\0';
    OPENSSL_cleanse(raw, sizeof raw);
    return ERR_OK;
}

static enum result append_key(struct auth_set *set, void *arg, struct err *err)
{
    struct auth_key *key = arg;
    if (set->count >= LIMIT_KEYS)
        return err_set(err, ERR_TOO_LARGE, "there are %d keys already; revoke some first", LIMIT_KEYS);
    if (set->count == 0 && !manages(key))
        return err_set_field(err, ERR_INVALID, "rights",
            "the first key must have the right admin for all collections: with it keys are on, and nobody else could "
            "make the next one");
    if (find(set, key->id, AUTH_ID_LEN))
        return err_set(err, ERR_INTERNAL, "two keys got the same id");
    set->keys[set->count++] = hold(key); /* change_file() left room for one */
    return ERR_OK;
}

enum result auth_create(struct auth *auth, const struct auth_new *want, char text[AUTH_KEY_LEN + 1],
    struct auth_key **out, struct err *err)
{
    char secret[2 * SECRET_BYTES + 1], made[AUTH_KEY_LEN + 1];
    enum result r = check_new(want, err);
    if (r)
        return r;
    struct auth_key *key = auth_key_new(want->collections, want->collection_count);
    if (!key)
        return err_no_memory(err);
    snprintf(key->name, sizeof key->name, "%s", want->name);
    key->rights = want->rights;
    key->created = (int64_t)time(NULL);
    r = random_hex(key->id, AUTH_ID_LEN / 2, err);
    if (r == ERR_OK)
        r = random_hex(secret, SECRET_BYTES, err);
    if (r == ERR_OK) {
        snprintf(made, sizeof made, "lk_%s_%s", key->id, secret);
        if (!hash_text(made, AUTH_KEY_LEN, key->hash))
            r = err_set(err, ERR_INTERNAL, "SHA-256 is not available");
    }
    if (r == ERR_OK)
        r = change_file(auth, append_key, key, err);
    if (r == ERR_OK) {
        memcpy(text, made, sizeof made);
        *out = key;
    } else {
        auth_key_release(key);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(made, sizeof made);
    return r;
}

struct revocation {
    const char *id;
    bool even_last;
};

static enum result remove_key(struct auth_set *set, void *arg, struct err *err)
{
    const struct revocation *what = arg;
    struct auth_key *key = find(set, what->id, strnlen(what->id, AUTH_ID_LEN + 1));
    size_t managers = 0;
    if (!key)
        return err_set(err, ERR_NOT_FOUND, "there is no key with the id %.40s", what->id);
    for (size_t i = 0; i < set->count; i++)
        managers += manages(set->keys[i]);
    if (manages(key) && managers == 1 && !what->even_last)
        return err_set(err, ERR_DENIED,
            "%s is the last key with the right admin for all collections; make another one first, or revoke it on the "
            "server's machine with `lookalike key revoke %s --data DIR`",
            key->id, key->id);
    for (size_t i = 0, to = 0, n = set->count; i < n; i++) {
        if (set->keys[i] == key)
            set->count--;
        else
            set->keys[to++] = set->keys[i];
    }
    auth_key_release(key);
    return ERR_OK;
}

enum result auth_revoke(struct auth *auth, const char *id, bool even_last, struct err *err)
{
    struct revocation what = {id, even_last};
    return change_file(auth, remove_key, &what, err);
}
