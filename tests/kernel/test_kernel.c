/*
 * Every table this CPU can run against the scalar one, and the scalar conversions against an independent
 * reading of IEEE 754 in double arithmetic. Vectors end where their memory ends, so that a load beyond them
 * is a crash (and a store beyond them is seen).
 */
#include "base/cpu.h"
#include "base/limits.h"
#include "kernel/kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_DIM 2100

static uint64_t random_state = 88172645463325252u;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static float random_float(void)
{
    return (float)random_u32() / 4294967296.0f * 2 - 1;
}

/* Memory whose last byte is followed by a page that must not be touched. */
struct fenced {
    char *base;
    size_t size;
};

static struct fenced fence(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (bytes + page - 1) / page * page;
    char *base = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + size, page, PROT_NONE), 0);
    return (struct fenced){base, size};
}

static void unfence(struct fenced f)
{
    munmap(f.base, f.size + (size_t)sysconf(_SC_PAGESIZE));
}

static double half_value(uint16_t h)
{
    int e = (h >> 10) & 31, m = h & 1023;
    double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

/* Round to nearest even by looking at both neighbours. */
static uint16_t half_of(float f)
{
    uint16_t sign = signbit(f) ? 0x8000 : 0;
    double a = fabs((double)f);
    if (a >= 65520)
        return sign | 0x7c00;
    uint16_t lo = 0, hi = 0x7bff;
    while (lo < hi) { /* the largest half that is not above a */
        uint16_t mid = (uint16_t)((lo + hi + 1) / 2);
        if (half_value(mid) <= a)
            lo = mid;
        else
            hi = (uint16_t)(mid - 1);
    }
    double below = a - half_value(lo), above = (lo == 0x7bff ? 65536 : half_value((uint16_t)(lo + 1))) - a;
    return (uint16_t)(sign | (below < above || (below == above && !(lo & 1)) ? lo : lo + 1));
}

static void check_to_half(const struct kernel *k, const float *from, size_t n)
{
    uint16_t *to = malloc(n * sizeof *to);
    assert_non_null(to);
    k->f32_to_f16(from, to, n);
    for (size_t i = 0; i < n; i++) {
        if (isnan(from[i]))
            assert_true((to[i] & 0x7c00) == 0x7c00 && (to[i] & 0x3ff));
        else if (to[i] != half_of(from[i]))
            fail_msg("%s: %a gives %04x, not %04x", k->name, (double)from[i], to[i], half_of(from[i]));
    }
    free(to);
}

static void test_every_half(void **state)
{
    uint16_t *from = malloc(65536 * sizeof *from);
    float *to = malloc(65536 * sizeof *to);
    assert_true(from && to);
    for (size_t i = 0; i < 65536; i++)
        from[i] = (uint16_t)i;
    for (size_t t = 0; kernel_table(t); t++) {
        kernel_table(t)->f16_to_f32(from, to, 65536);
        for (size_t i = 0; i < 65536; i++) {
            double want = half_value((uint16_t)i);
            if (isnan(want))
                assert_true(isnan(to[i]));
            else
                assert_true((double)to[i] == want && !signbit(to[i]) == !signbit(want));
        }
        check_to_half(kernel_table(t), to, 65536);
    }
    free(from);
    free(to);
}

static void test_rounding(void **state)
{
    /* All halfway points between two halves and their neighbours in 32 bits, both signs. */
    float *f = malloc(0x7c00 * 6 * sizeof *f);
    assert_non_null(f);
    size_t n = 0;
    for (unsigned h = 0; h < 0x7c00; h++) {
        double next = h == 0x7bff ? 65536 : half_value((uint16_t)(h + 1));
        float middle = (float)((half_value((uint16_t)h) + next) / 2);
        float v[3] = {nextafterf(middle, 0), middle, nextafterf(middle, INFINITY)};
        for (size_t i = 0; i < 3; i++) {
            f[n++] = v[i];
            f[n++] = -v[i];
        }
    }
    const float special[] = {0, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 0x1p-149f, -0x1p-149f, 0x1p-126f,
        3.4e38f, -3.4e38f, 65504, 65519.996f, 65520, -65520, 0x1p-24f, 0x1p-25f, 0x1.000002p-25f, 0x1p-14f,
        0x1.ffffp-15f};
    for (size_t t = 0; kernel_table(t); t++) {
        check_to_half(kernel_table(t), f, n);
        check_to_half(kernel_table(t), special, sizeof special / sizeof *special);
    }
    free(f);
}

static void test_random_bits(void **state)
{
    enum { N = 200000 };
    uint32_t *bits = malloc(N * sizeof *bits);
    float *f = malloc(N * sizeof *f);
    assert_true(bits && f);
    for (size_t i = 0; i < N; i++)
        bits[i] = random_u32();
    memcpy(f, bits, N * sizeof *f);
    for (size_t t = 0; kernel_table(t); t++)
        check_to_half(kernel_table(t), f, N);
    free(bits);
    free(f);
}

static void compare(const char *what, const struct kernel *k, double got, double want, double scale)
{
    if (!(fabs(got - want) <= 1e-5 * scale))
        fail_msg("%s of %s: %.9g, exactly %.9g", what, k->name, got, want);
}

/* One size: what each table says against sums in double. */
static void check_sums(const float *q, const float *p, const uint16_t *x, size_t dim)
{
    double l2 = 0, dot = 0, dot_abs = 0, f32 = 0, f32_abs = 0;
    for (size_t i = 0; i < dim; i++) {
        double v = half_value(x[i]), d = (double)q[i] - v;
        l2 += d * d;
        dot += (double)q[i] * v;
        dot_abs += fabs((double)q[i] * v);
        f32 += (double)q[i] * (double)p[i];
        f32_abs += fabs((double)q[i] * (double)p[i]);
    }
    for (size_t t = 0; kernel_table(t); t++) {
        const struct kernel *k = kernel_table(t);
        compare("l2sq_f16", k, (double)k->l2sq_f16(q, x, dim), l2, l2);
        compare("dot_f16", k, (double)k->dot_f16(q, x, dim), dot, dot_abs);
        compare("dot_f32", k, (double)k->dot_f32(q, p, dim), f32, f32_abs);
    }
}

static void check_size(struct fenced qf, struct fenced pf, struct fenced xf, size_t dim)
{
    /* Flush with the end of the memory, then one to three elements before it: every alignment comes up. */
    for (size_t back = 0; back < 4; back++) {
        float *q = (float *)(void *)(qf.base + qf.size) - dim - back;
        float *p = (float *)(void *)(pf.base + pf.size) - dim - back;
        uint16_t *x = (uint16_t *)(void *)(xf.base + xf.size) - dim - back;
        for (size_t i = 0; i < dim; i++) {
            q[i] = random_float();
            p[i] = random_float();
        }
        kernel_table(0)->f32_to_f16(p, x, dim);
        check_sums(q, p, x, dim);
        for (size_t t = 0; kernel_table(t); t++) {
            const struct kernel *k = kernel_table(t);
            uint16_t *halves = malloc((dim + 1) * sizeof *halves);
            float *floats = malloc((dim + 1) * sizeof *floats);
            assert_true(halves && floats);
            halves[dim] = 0xabcd;
            floats[dim] = 42;
            k->f32_to_f16(p, halves, dim);
            k->f16_to_f32(halves, floats, dim);
            assert_memory_equal(halves, x, dim * sizeof *x);
            assert_int_equal(halves[dim], 0xabcd);
            assert_true(floats[dim] == 42);
            assert_true(k->l2sq_f16(floats, halves, dim) == 0);
            free(halves);
            free(floats);
        }
    }
}

static void test_sizes(void **state)
{
    struct fenced q = fence((MAX_DIM + 4) * sizeof(float)), p = fence((MAX_DIM + 4) * sizeof(float));
    struct fenced x = fence((MAX_DIM + 4) * sizeof(uint16_t));
    for (size_t dim = 1; dim <= 130; dim++)
        check_size(q, p, x, dim);
    for (size_t i = 0; i < 60; i++)
        check_size(q, p, x, 1 + random_u32() % MAX_DIM);
    check_size(q, p, x, 1280);
    check_size(q, p, x, MAX_DIM);
    unfence(q);
    unfence(p);
    unfence(x);
}

/*
 * Variants against the scalar table, as the header promises it: unit length, the largest dimension there is.
 */
static void test_longest(void **state)
{
    float *q = malloc(LIMIT_DIMENSION * sizeof *q), *p = malloc(LIMIT_DIMENSION * sizeof *p);
    uint16_t *x = malloc(LIMIT_DIMENSION * sizeof *x);
    assert_true(q && p && x);
    for (size_t i = 0; i < LIMIT_DIMENSION; i++) {
        q[i] = random_float() / 104.5f;
        p[i] = random_float() / 104.5f;
    }
    kernel_table(0)->f32_to_f16(p, x, LIMIT_DIMENSION);
    float want = kernel_table(0)->l2sq_f16(q, x, LIMIT_DIMENSION);
    for (size_t t = 0; kernel_table(t); t++) {
        float got = kernel_table(t)->l2sq_f16(q, x, LIMIT_DIMENSION);
        assert_true(fabsf(got - want) <= 1e-5f * want);
    }
    free(q);
    free(p);
    free(x);
}

/* The mask decides; nothing it takes away comes back. */
static void test_choice(void **state)
{
    const char *mask = getenv("LOOKALIKE_CPU_MASK");
    unsigned f = cpu_features();
    size_t n = 0;
    while (kernel_table(n))
        n++;
    size_t want = 1 + !!(f & CPU_AVX2) + !!(f & CPU_AVX512) + !!(f & CPU_NEON);
    assert_int_equal(n, want);
    assert_string_equal(kernel_table(0)->name, "scalar");
    assert_null(kernel_table(n + 1));
    assert_null(kernel_table(1000));
    assert_ptr_equal(kernel_get(), kernel_table(n - 1));
    const char *best = f & CPU_AVX512 ? "avx512" : f & CPU_AVX2 ? "avx2" : f & CPU_NEON ? "neon" : "scalar";
    assert_string_equal(kernel_get()->name, best);
    if (mask && !strcmp(mask, "none"))
        assert_string_equal(kernel_get()->name, "scalar");
    if (mask && !strcmp(mask, "avx2"))
        assert_string_not_equal(kernel_get()->name, "avx512");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_random_bits),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
