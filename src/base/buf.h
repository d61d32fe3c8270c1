/*
 * A growing byte buffer that knows its maximum from birth, so that no input can make it grow without bound.
 *
 * `struct buf b; buf_init(&b, max)` holds no memory. Every append either holds afterwards or fails and leaves
 * the content as it was: ERR_TOO_LARGE over the maximum, ERR_NO_MEMORY otherwise. After a successful append
 * `data[len]` is a NUL that is not counted in `len`. buf_free() accepts a buffer in any state, also zeroed.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL until something was appended */
    size_t len;
    size_t cap;
    size_t max; /* `len` never exceeds it */
};

void buf_init(struct buf *buf, size_t max);
void buf_free(struct buf *buf);
/* Forget the content, keep the memory. */
void buf_clear(struct buf *buf);
/* Make room for `more` bytes beyond `len` without changing the content. */
enum result buf_reserve(struct buf *buf, size_t more) ERR_MUST_USE;
enum result buf_append(struct buf *buf, const void *bytes, size_t len) ERR_MUST_USE;
enum result buf_append_str(struct buf *buf, const char *text) ERR_MUST_USE;
enum result buf_appendf(struct buf *buf, const char *format, ...) ERR_MUST_USE
    __attribute__((format(printf, 2, 3)));
/* The memory becomes the caller's (free()); the buffer is empty again. NULL where nothing was appended. */
char *buf_take(struct buf *buf, size_t *len);

#endif
