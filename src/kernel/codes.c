/* Which table of codes.h this CPU gets; see kernel.c, which does the same for kernel.h. */
#include "kernel/codes_tables.h"

#include "base/cpu.h"

#include <pthread.h>

#define MAX_TABLES 4

static const struct kernel_codes *tables[MAX_TABLES + 1]; /* NULL-terminated */

static void find_tables(void)
{
    size_t n = 0;
    tables[n++] = &kernel_codes_scalar;
#if defined(__x86_64__)
    unsigned f = cpu_features();
    if (f & CPU_AVX2)
        tables[n++] = &kernel_codes_avx2;
    if ((f & CPU_AVX512) && (f & CPU_VNNI))
        tables[n++] = &kernel_codes_vnni;
#elif defined(__aarch64__)
    if (cpu_features() & CPU_DOTPROD)
        tables[n++] = &kernel_codes_dotprod;
#endif
}

const struct kernel_codes *kernel_codes_table(size_t i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_tables);
    return i < MAX_TABLES ? tables[i] : NULL;
}

const struct kernel_codes *kernel_codes_get(void)
{
    const struct kernel_codes *best = NULL;
    for (size_t i = 0; kernel_codes_table(i); i++)
        best = kernel_codes_table(i);
    return best;
}
