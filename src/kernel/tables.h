/*
 * The tables of this folder, one per instruction set. For kernel.c only: a table may run only where the CPU
 * has it.
 */
#ifndef KERNEL_TABLES_H
#define KERNEL_TABLES_H

#include "kernel/kernel.h"

extern const struct kernel kernel_scalar;
#if defined(__x86_64__)
extern const struct kernel kernel_avx2;   /* CPU_AVX2 */
extern const struct kernel kernel_avx512; /* CPU_AVX512 */
#elif defined(__aarch64__)
extern const struct kernel kernel_neon; /* CPU_NEON */
#endif

#endif
