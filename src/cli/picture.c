/* The bytes of a picture that is named on the command line. */
#include "cli/cli.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static enum result read_all(int fd, struct buf *out, struct err *err)
{
    for (;;) {
        enum result r = buf_reserve(out, LIMIT_KIB);
        if (r == ERR_TOO_LARGE)
            return err_set(err, r, "it is larger than %d MiB", LIMIT_BODY / LIMIT_MIB);
        if (r)
            return err_no_memory(err);
        size_t room = out->cap - out->len - 1;
        ssize_t n = read(fd, out->data + out->len, room < out->max - out->len ? room : out->max - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "it cannot be read");
        if (n == 0)
            return out->len ? ERR_OK : err_set(err, ERR_INVALID, "it is empty");
        out->len += (size_t)n;
    }
}

enum result cli_read_picture(const char *name, struct buf *out, struct err *err)
{
    struct err why = {0};
    int fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    enum result r = fd < 0 ? err_set_errno(&why, errno, "it cannot be opened") : read_all(fd, out, &why);
    if (fd > STDIN_FILENO)
        close(fd);
    return r ? err_set(err, r, "%.200s: %.250s", name, why.message) : ERR_OK;
}
