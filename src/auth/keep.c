/* The keys in a backup: a copy of keys.json beside the collections, hashes as everywhere, mode 0600. */
#include "auth/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static enum result path_in(const char *folder, char *out, size_t size, struct err *err)
{
    int n = snprintf(out, size, "%s/keys.json", folder);
    return n > 0 && (size_t)n < size ? ERR_OK : err_set(err, ERR_INVALID, "the path of the folder is too long");
}

static enum result read_set(const char *folder, char *path, size_t size, struct auth_set *out, struct err *err)
{
    struct stat stamp;
    enum result r = path_in(folder, path, size, err);
    return r ? r : auth_file_read(path, out, &stamp, err);
}

enum result auth_backup(const char *data, const char *folder, size_t *count, struct err *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct auth_set set = {0};
    enum result r = read_set(data, from, sizeof from, &set, err);
    if (r == ERR_OK)
        r = path_in(folder, to, sizeof to, err);
    if (r == ERR_OK && set.count)
        r = auth_file_write(folder, to, &set, err);
    else if (r == ERR_OK && unlink(to) && errno != ENOENT) /* of an earlier backup: those keys are gone */
        r = err_set_errno(err, errno, "cannot take away %.300s", to);
    if (r == ERR_OK)
        *count = set.count;
    auth_set_free(&set);
    return r;
}

enum result auth_backup_check(const char *folder, size_t *count, struct err *err)
{
    char path[PATH_MAX];
    struct auth_set set = {0};
    enum result r = read_set(folder, path, sizeof path, &set, err);
    if (r == ERR_OK)
        *count = set.count;
    auth_set_free(&set);
    return r;
}

enum result auth_restore(const char *folder, const char *data, size_t *count, struct err *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct auth_set set = {0}, there = {0};
    int lock = -1;
    enum result r = read_set(folder, from, sizeof from, &set, err);
    if (r == ERR_OK && set.count == 0)
        r = err_set(err, ERR_NOT_FOUND, "there are no API keys in the backup in %.300s", folder);
    if (r == ERR_OK)
        r = auth_file_lock(data, &lock, err);
    if (r == ERR_OK)
        r = read_set(data, to, sizeof to, &there, err);
    if (r == ERR_OK && there.count)
        r = err_set(err, ERR_EXISTS, "%.300s has API keys already, and they stay as they are: revoke them before, or restore without --keys", data);
    if (r == ERR_OK)
        r = auth_file_write(data, to, &set, err);
    if (r == ERR_OK)
        *count = set.count;
    if (lock >= 0)
        close(lock);
    auth_set_free(&there);
    auth_set_free(&set);
    return r;
}
