#include "base/buf.h"

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_free(struct buf *buf)
{
    if (!buf)
        return;
    free(buf->data);
    buf->data = NULL;
    buf->len = buf->cap = 0;
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

enum result buf_reserve(struct buf *buf, size_t more)
{
    if (more > buf->max - buf->len)
        return ERR_TOO_LARGE;
    size_t need = buf->len + more + 1; /* max is a body or file limit, far below SIZE_MAX */
    if (need <= buf->cap)
        return ERR_OK;
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need)
        cap += cap / 2;
    if (cap > buf->max + 1)
        cap = buf->max + 1;
    char *data = realloc(buf->data, cap);
    if (!data)
        return ERR_NO_MEMORY;
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return ERR_OK;
}

enum result buf_append(struct buf *buf, const void *bytes, size_t len)
{
    enum result r = buf_reserve(buf, len);
    if (r)
        return r;
    if (len)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return ERR_OK;
}

enum result buf_append_str(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

enum result buf_appendf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0)
        return ERR_INTERNAL;
    enum result r = buf_reserve(buf, (size_t)need);
    if (r)
        return r;
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)need + 1, format, args);
    va_end(args);
    buf->len += (size_t)need;
    return ERR_OK;
}

char *buf_take(struct buf *buf, size_t *len)
{
    char *data = buf->data;
    if (len)
        *len = buf->len;
    buf->data = NULL;
    buf->len = buf->cap = 0;
    return data;
}
