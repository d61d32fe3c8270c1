#include "failing.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

static atomic_long count, wanted;
static atomic_bool happened;

void failing_at(long n)
{
    atomic_store(&wanted, 0);
    atomic_store(&happened, false);
    atomic_store(&count, 0);
    atomic_store(&wanted, n);
}

bool failing_happened(void)
{
    return atomic_load(&happened);
}

long failing_count(void)
{
    return atomic_load(&count);
}

static bool fails(void)
{
    long n = atomic_fetch_add(&count, 1) + 1;
    if (n != atomic_load(&wanted))
        return false;
    atomic_store(&happened, true);
    errno = ENOMEM;
    return true;
}

/* The names are the linker's. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = __wrap_malloc(len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}
