/*
 * The system calls that decide whether data is safe, in a table, so that a test can make each of them fail,
 * and can count them. SQLite makes its own calls. Reading (open for reading, mmap, readdir) is not here: it
 * changes nothing.
 */
#ifndef STORE_EMBEDDED_SYS_H
#define STORE_EMBEDDED_SYS_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

struct store_sys {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*pwrite)(int fd, const void *bytes, size_t len, off_t at);
    int (*start_sync)(int fd); /* the kernel begins to write what is dirty: no promise, but errors are real ones */
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, int mode, off_t at, off_t len);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
};

extern const struct store_sys store_sys_real;

/* Longest path of a file of the store; SQLite's own limit is 512 with its suffixes. */
#define EMBEDDED_PATH_MAX 500

/* "<folder>/<name>" into `out` of EMBEDDED_PATH_MAX bytes. */
enum result embedded_path(char *out, const char *folder, const char *name, struct err *err) ERR_MUST_USE;
/* mkdir -p. */
enum result embedded_make_folders(
    const struct store_sys *sys, const char *path, struct err *err) ERR_MUST_USE;
/* What was made, renamed or removed in a folder is on disk after this. */
enum result embedded_sync_folder(const struct store_sys *sys, const char *path, struct err *err) ERR_MUST_USE;
/* fsync() of a file by name. */
enum result embedded_sync_file(const struct store_sys *sys, const char *path, struct err *err) ERR_MUST_USE;
/* The folder with all it holds. What is not there is not an error. */
enum result embedded_remove_folder(
    const struct store_sys *sys, const char *path, struct err *err) ERR_MUST_USE;
/* The same, where failing does no harm: a later open removes what is left. */
void embedded_discard_folder(const struct store_sys *sys, const char *path);
/* All of it, at `at`; short writes are continued. */
enum result embedded_write_at(const struct store_sys *sys, int fd, const void *bytes, size_t len, off_t at,
    struct err *err) ERR_MUST_USE;

#endif
