/* The tables of codes.h, one per instruction set. For codes.c only: a table may run only where the CPU has
 * it. */
#ifndef KERNEL_CODES_TABLES_H
#define KERNEL_CODES_TABLES_H

#include "kernel/codes.h"

extern const struct kernel_codes kernel_codes_scalar;
#if defined(__x86_64__)
extern const struct kernel_codes kernel_codes_avx2; /* CPU_AVX2 */
extern const struct kernel_codes kernel_codes_vnni; /* CPU_AVX512 and CPU_VNNI */
#elif defined(__aarch64__)
extern const struct kernel_codes kernel_codes_dotprod; /* CPU_DOTPROD */
#endif

#endif
