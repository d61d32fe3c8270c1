#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

#if defined(__x86_64__)
/* Clang 14's __builtin_cpu_supports() does not know this one. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static unsigned detect(void)
{
    unsigned f = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        f |= CPU_AVX2;
    if ((f & CPU_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        f |= CPU_AVX512;
    if ((f & CPU_AVX512) && __builtin_cpu_supports("avx512vnni"))
        f |= CPU_VNNI;
#elif defined(__aarch64__)
    f |= CPU_NEON;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
        f |= CPU_DOTPROD;
#endif
    return f;
}

static unsigned mask_from_environment(void)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {
        {"avx2", CPU_AVX2}, {"avx512", CPU_AVX512}, {"vnni", CPU_VNNI}, {"neon", CPU_NEON}, {"dotprod", CPU_DOTPROD}};
    const char *text = getenv("LOOKALIKE_CPU_MASK");
    if (!text || !*text)
        return ~0u;
    unsigned mask = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strlen(names[i].name) == n && !memcmp(p, names[i].name, n))
                mask |= names[i].bit;
        p += n;
        p += *p == ',';
    }
    return mask;
}

static unsigned features;

static void find_features(void)
{
    features = detect() & mask_from_environment();
}

unsigned cpu_features(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_features);
    return features;
}

/* The CPU quota of a container (cgroup v2), rounded up; 0 where there is none. */
static unsigned cgroup_quota(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f)
        return 0;
    unsigned long quota = 0, period = 0;
    bool set = fscanf(f, "%lu %lu", &quota, &period) == 2 && quota > 0 && period > 0;
    fclose(f);
    return set ? (unsigned)((quota + period - 1) / period) : 0;
}

unsigned cpu_count(void)
{
    cpu_set_t set;
    unsigned n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        n = (unsigned)CPU_COUNT(&set);
    unsigned quota = cgroup_quota();
    return quota && quota < n ? quota : n;
}
