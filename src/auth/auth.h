/*
 * API keys: who may do what.
 *
 * A key is "lk_<id>_<secret>": 12 hexadecimal digits that name it and 48 that nobody can guess (192 bits of the
 * system's randomness). It is shown once, when it is made. Kept is the SHA-256 of the whole text, in DATA/keys.json
 * (mode 0600), which is written aside, fsynced and renamed. No slow password hash: those protect what people can
 * guess, and would cost a search more than its answer.
 *
 * Keys are on as soon as there is one, and stay on while the program runs, also when the last is taken away. The
 * file may be changed by another process (`lookalike key`): auth_check() looks once a second whether it was, so a
 * key that was revoked there is refused after a second at most; a key it does not know makes it look at once, so a
 * new one works without waiting. Changes are made under a lock file, on what the file
 * holds at that moment, so that two processes lose none of each other's.
 *
 * All functions from any thread. auth_check() may be called where nothing may block: it asks for the times of one
 * small local file, and reads it when it has changed.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_ID_LEN 12
#define AUTH_KEY_LEN (3 + AUTH_ID_LEN + 1 + 48)
#define AUTH_HASH_LEN 32

/* Bits. AUTH_ADMIN implies the others. */
enum { AUTH_SEARCH = 1, AUTH_WRITE = 2, AUTH_ADMIN = 4 };

/* One key, shared and counted: read-only but for `last_used`. Release with auth_key_release(). */
struct auth_key {
    char id[AUTH_ID_LEN + 1];
    char name[LIMIT_KEY_NAME + 1]; /* UTF-8 without control characters */
    unsigned rights;
    char **collections; /* NULL: all */
    size_t collection_count;
    int64_t created; /* seconds since 1970 */
    _Atomic int64_t last_used; /* the same; 0: never */
    uint8_t hash[AUTH_HASH_LEN];
    atomic_uint refs;
};

struct auth;

/* `data` is the folder of the store; it need not exist. ERR_CORRUPT or ERR_IO where there is a file that cannot be read:
   starting without the keys that somebody has made would open the door. */
enum result auth_open(const char *data, struct auth **out, struct err *err) ERR_MUST_USE;
/* Writes the times of last use. NULL is accepted. */
void auth_close(struct auth *auth);

/* Whether requests need a key. */
bool auth_is_on(struct auth *auth);
/* The key of this text, or NULL. Takes the same time wherever a wrong text differs. */
struct auth_key *auth_check(struct auth *auth, const char *text);
void auth_key_release(struct auth_key *key); /* NULL is accepted */

/* `"id":…,"name":…,"rights":[…],"collections":[…]|null,"created":"…","last_used":"…"|null`: the members of a key that anybody may see. */
enum result auth_key_append(struct buf *out, const struct auth_key *key) ERR_MUST_USE;

bool auth_key_may(const struct auth_key *key, unsigned right);
bool auth_key_reaches(const struct auth_key *key, const char *collection);

struct auth_new {
    const char *name;
    unsigned rights;
    const char *const *collections; /* NULL: all */
    size_t collection_count;
};
/*
 * `text` gets the key, which nobody can see again. ERR_INVALID with the field: name, rights, collections; also where the
 * first key has no admin right, since with it nobody could make a second. ERR_TOO_LARGE: over LIMIT_KEYS.
 */
enum result auth_create(struct auth *auth, const struct auth_new *want, char text[AUTH_KEY_LEN + 1],
    struct auth_key **out, struct err *err) ERR_MUST_USE;
/* ERR_NOT_FOUND. ERR_DENIED: the last key that may manage keys, unless `even_last`. */
enum result auth_revoke(struct auth *auth, const char *id, bool even_last, struct err *err) ERR_MUST_USE;
/* All keys, oldest first. Release each, and free() the array. */
enum result auth_list(struct auth *auth, struct auth_key ***out, size_t *count, struct err *err) ERR_MUST_USE;

/* --- backups: `data` is the folder of the store, `folder` that of the backup --------------------------------------- */

/* DATA/keys.json as it is now into the backup, or its copy out of it where there is none; *count: how many keys. */
enum result auth_backup(const char *data, const char *folder, size_t *count, struct err *err) ERR_MUST_USE;
/* Whether what a backup has of keys can be read; none is fine. */
enum result auth_backup_check(const char *folder, size_t *count, struct err *err) ERR_MUST_USE;
/* The other way. ERR_EXISTS where there are keys: a key that was revoked since must not come back beside them. ERR_NOT_FOUND. */
enum result auth_restore(const char *folder, const char *data, size_t *count, struct err *err) ERR_MUST_USE;
/* The folder that auth_open() was given. */
const char *auth_folder(const struct auth *auth);

/* "search", "write" or "admin" → its bit; 0 for anything else. */
unsigned auth_right(const char *name, size_t len);
/* The bits' names: the i-th of them, or NULL past the last. */
const char *auth_right_name(unsigned rights, size_t i);
/* "2026-01-31T12:00:00Z" */
#define AUTH_TIME_LEN 20
void auth_time_text(int64_t seconds, char out[AUTH_TIME_LEN + 1]);

#endif
