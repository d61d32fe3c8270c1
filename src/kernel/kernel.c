/*
 * Which table this CPU gets. The list is written once, before the first caller sees it, and never changes;
 * the last table is the fastest. Asking the CPU at every distance was measured elsewhere to cost more than
 * short distances do.
 */
#include "kernel/tables.h"

#include "base/cpu.h"

#include <pthread.h>

#define MAX_TABLES 4

static const struct kernel *tables[MAX_TABLES + 1]; /* NULL-terminated */

static void find_tables(void)
{
    size_t n = 0;
    tables[n++] = &kernel_scalar;
#if defined(__x86_64__)
    unsigned f = cpu_features();
    if (f & CPU_AVX2)
        tables[n++] = &kernel_avx2;
    if (f & CPU_AVX512)
        tables[n++] = &kernel_avx512;
#elif defined(__aarch64__)
    if (cpu_features() & CPU_NEON)
        tables[n++] = &kernel_neon;
#endif
}

const struct kernel *kernel_table(size_t i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_tables);
    return i < MAX_TABLES ? tables[i] : NULL;
}

const struct kernel *kernel_get(void)
{
    const struct kernel *best = NULL;
    for (size_t i = 0; kernel_table(i); i++)
        best = kernel_table(i);
    return best;
}
