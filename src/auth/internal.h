/* Inside auth/: the file of keys. */
#ifndef AUTH_INTERNAL_H
#define AUTH_INTERNAL_H

#include "auth/auth.h"

#include <sys/stat.h>

struct auth_set {
    struct auth_key **keys; /* owned, one reference each */
    size_t count;
};

/* A key with one reference and room for `collections` names of `bytes` in all; NULL without memory. */
struct auth_key *auth_key_new(const char *const *collections, size_t count);
void auth_set_free(struct auth_set *set);

/* A file that is not there is an empty set, and `*stamp` zeroed. */
enum result auth_file_read(const char *path, struct auth_set *out, struct stat *stamp, struct err *err) ERR_MUST_USE;
/* Aside, fsync, rename, fsync of the folder: after a crash there is the old file or the new one. */
enum result auth_file_write(const char *folder, const char *path, const struct auth_set *set, struct err *err) ERR_MUST_USE;
/* A lock between processes; close(*fd) lets go. Makes `folder` where it is not there. */
enum result auth_file_lock(const char *folder, int *fd, struct err *err) ERR_MUST_USE;

#endif
