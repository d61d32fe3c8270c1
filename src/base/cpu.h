/*
 * What this CPU can do, asked once. LOOKALIKE_CPU_MASK (a comma-separated list of the names below, or "none")
 * takes away what is not in the list, so that every kernel can be tested on one machine.
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

enum cpu_feature {
    CPU_AVX2 = 1 << 0,    /* "avx2": AVX2, FMA and F16C */
    CPU_AVX512 = 1 << 1,  /* "avx512": F, BW, DQ and VL */
    CPU_VNNI = 1 << 2,    /* "vnni": AVX-512 VNNI */
    CPU_NEON = 1 << 3,    /* "neon": always there on arm64 */
    CPU_DOTPROD = 1 << 4, /* "dotprod": SDOT and UDOT */
};

/* A set of enum cpu_feature. The first call reads the environment; call it before threads start. */
unsigned cpu_features(void);
/* Number of CPUs this process may run on, at least 1: the affinity mask and a cgroup quota are respected. */
unsigned cpu_count(void);

#endif
