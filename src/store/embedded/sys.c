#include "store/embedded/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* open(2) is variadic; a table needs one shape. */
static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int real_start_sync(int fd)
{
    return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

const struct store_sys store_sys_real = {
    .open = real_open,
    .pwrite = pwrite,
    .start_sync = real_start_sync,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .rename = rename,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
};

enum result embedded_path(char *out, const char *folder, const char *name, struct err *err)
{
    int n = snprintf(out, EMBEDDED_PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= EMBEDDED_PATH_MAX)
        return err_set(
            err, ERR_INVALID, "the path %s/%s is longer than %d bytes", folder, name, EMBEDDED_PATH_MAX - 1);
    return ERR_OK;
}

enum result embedded_make_folders(const struct store_sys *sys, const char *path, struct err *err)
{
    char part[EMBEDDED_PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return err_set(
            err, ERR_INVALID, "the data folder's path must have 1 to %d bytes", EMBEDDED_PATH_MAX - 1);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (sys->mkdir(part, 0755) == 0 || errno == EEXIST)
            continue;
        /*
         * A parent that exists may refuse mkdir for another reason (read-only, no right); only the end
         * decides.
         */
        int problem = errno;
        struct stat st;
        if (stat(part, &st) == 0 && S_ISDIR(st.st_mode))
            continue;
        return err_set_errno(err, problem, "cannot make the folder %s", part);
    }
    return ERR_OK;
}

static enum result sync_path(const struct store_sys *sys, const char *path, int flags, struct err *err)
{
    int fd = sys->open(path, flags | O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s to put it on disk", path);
    enum result r = ERR_OK;
    if (sys->fsync(fd))
        r = err_set_errno(err, errno, "cannot put %s on disk", path);
    close(fd);
    return r;
}

enum result embedded_sync_folder(const struct store_sys *sys, const char *path, struct err *err)
{
    return sync_path(sys, path, O_DIRECTORY, err);
}

enum result embedded_sync_file(const struct store_sys *sys, const char *path, struct err *err)
{
    return sync_path(sys, path, 0, err);
}

/* A collection's folder holds files and one level of folders (derived/); deeper is not ours. */
static enum result remove_tree(const struct store_sys *sys, const char *path, int depth, struct err *err)
{
    enum result r = ERR_OK;
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? ERR_OK : err_set_errno(err, errno, "cannot read the folder %s", path);
    struct dirent *e;
    while (!r && (e = readdir(dir))) {
        char inner[EMBEDDED_PATH_MAX];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        r = embedded_path(inner, path, e->d_name, err);
        if (r)
            break;
        if (depth > 0 && lstat(inner, &st) == 0 && S_ISDIR(st.st_mode))
            r = remove_tree(sys, inner, depth - 1, err);
        else if (sys->unlink(inner) && errno != ENOENT)
            r = err_set_errno(err, errno, "cannot remove %s", inner);
    }
    closedir(dir);
    if (!r && sys->rmdir(path) && errno != ENOENT)
        r = err_set_errno(err, errno, "cannot remove the folder %s", path);
    return r;
}

enum result embedded_remove_folder(const struct store_sys *sys, const char *path, struct err *err)
{
    return remove_tree(sys, path, 2, err);
}

void embedded_discard_folder(const struct store_sys *sys, const char *path)
{
    if (embedded_remove_folder(sys, path, NULL))
        return;
}

enum result embedded_write_at(
    const struct store_sys *sys, int fd, const void *bytes, size_t len, off_t at, struct err *err)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = sys->pwrite(fd, p, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : ENOSPC, "cannot write");
        p += n;
        at += n;
        len -= (size_t)n;
    }
    return ERR_OK;
}
