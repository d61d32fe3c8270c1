/*
 * Every table of kernel/codes.h that this CPU can run against the scalar one, and the scalar one against sums
 * written another way. Arrays end where their memory ends, so that a load beyond them is a crash.
 */
#include "base/cpu.h"
#include "base/limits.h"
#include "kernel/codes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE_MAX_TESTED 4096

static uint64_t random_state = 88172645463325252u;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

/* The last byte is followed by a page that must not be touched. */
static char *fence(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (bytes + page - 1) / page * page;
    char *base = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + size, page, PROT_NONE), 0);
    return base + size;
}

static char *ends[4];

static void check_integers(const int8_t *a, const int8_t *b, const uint8_t *bits, size_t n)
{
    int64_t dot = 0, where = 0;
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        dot += a[i] * b[i];
        sum += b[i];
        if (bits[i / 8] & (1 << (i % 8)))
            where += b[i];
    }
    for (size_t t = 0; kernel_codes_table(t); t++) {
        assert_int_equal(kernel_codes_table(t)->dot(a, b, sum, n), dot);
        assert_int_equal(kernel_codes_table(t)->sum_where(bits, b, n), where);
    }
}

static void test_integers(void **state)
{
    for (size_t n = 64; n <= SIZE_MAX_TESTED; n += 64) {
        int8_t *a = (int8_t *)(ends[0] - n), *b = (int8_t *)(ends[1] - n);
        uint8_t *bits = (uint8_t *)(ends[2] - n / 8);
        for (size_t i = 0; i < n; i++) {
            a[i] = (int8_t)((int)(random_u32() % 255) - 127);
            b[i] = (int8_t)((int)(random_u32() % 255) - 127);
        }
        for (size_t i = 0; i < n / 8; i++)
            bits[i] = (uint8_t)random_u32();
        check_integers(a, b, bits, n);
    }
}

/* The largest sums there can be, of all signs. */
static void test_extremes(void **state)
{
    static const int8_t values[] = {127, -127, 0, 1};
    int8_t *a = malloc(LIMIT_DIMENSION), *b = malloc(LIMIT_DIMENSION);
    uint8_t *bits = malloc(LIMIT_DIMENSION / 8);
    assert_true(a && b && bits);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++) {
            memset(a, values[i], LIMIT_DIMENSION);
            memset(b, values[j], LIMIT_DIMENSION);
            memset(bits, i % 2 ? 0xff : 0, LIMIT_DIMENSION / 8);
            check_integers(a, b, bits, LIMIT_DIMENSION);
        }
    free(a);
    free(b);
    free(bits);
}

static void test_encode(void **state)
{
    for (size_t n = 64; n <= SIZE_MAX_TESTED / 4; n += 64) {
        float *x = (float *)(void *)(ends[0] - n * sizeof(float));
        int8_t *code = (int8_t *)(ends[1] - n), want[SIZE_MAX_TESTED / 4];
        float max = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)random_u32() / 4294967296.0f * 2 - 1;
            max = fmaxf(max, fabsf(x[i]));
        }
        x[random_u32() % n] = 2.5f / 127;          /* a half, to be rounded to even */
        float inverse = n % 128 ? 127 / max : 300; /* also what must be limited */
        int32_t sum = kernel_codes_table(0)->encode(x, inverse, want, n), added = 0;
        for (size_t i = 0; i < n; i++) {
            double v = fmax(-127, fmin(127, (double)(x[i] * inverse)));
            assert_true(fabs(v - want[i]) <= 0.5);
            added += want[i];
        }
        assert_int_equal(sum, added);
        for (size_t t = 0; kernel_codes_table(t); t++) {
            memset(code, 99, n);
            assert_int_equal(kernel_codes_table(t)->encode(x, inverse, code, n), sum);
            assert_memory_equal(code, want, n);
            assert_true(kernel_codes_table(t)->max_abs(x, n) == kernel_codes_table(0)->max_abs(x, n));
        }
    }
}

static void test_hadamard(void **state)
{
    for (size_t n = 1; n <= SIZE_MAX_TESTED / 4; n *= 2) {
        float *x = (float *)(void *)(ends[0] - n * sizeof(float)), from[SIZE_MAX_TESTED / 4];
        for (size_t i = 0; i < n; i++)
            from[i] = (float)random_u32() / 4294967296.0f * 2 - 1;
        for (size_t t = 0; kernel_codes_table(t); t++) {
            memcpy(x, from, n * sizeof *x);
            kernel_codes_table(t)->hadamard(x, n);
            for (size_t k = 0; k < 3; k++) {
                size_t row = random_u32() % n;
                double want = 0;
                for (size_t i = 0; i < n; i++)
                    want += __builtin_popcountll(row & i) % 2 ? -from[i] : from[i];
                assert_true(fabs(want - x[row]) < 1e-4 * sqrt((double)n));
            }
            /* Twice is n times the vector. */
            kernel_codes_table(t)->hadamard(x, n);
            for (size_t i = 0; i < n; i++)
                assert_true(fabsf(x[i] / (float)n - from[i]) < 1e-5f);
        }
    }
}

static void check_glance(const struct kernel_block *b, const struct kernel_glance *g, uint32_t rows)
{
    float want[KERNEL_BLOCK], near[KERNEL_BLOCK];
    (void)kernel_codes_table(0)->glance(b, g, rows, want);
    for (uint32_t r = 0; r < KERNEL_BLOCK; r++) {
        int32_t sum = 0;
        for (uint32_t c = 0; c < 4 * KERNEL_PARTS; c++)
            sum += ((const uint8_t *)&b->parts[c / 4][r])[c % 4] * g->q[c];
        if (rows >> r & 1)
            assert_true(fabs((double)b->base[r] + g->offset - (double)g->scale * sum - want[r]) <= 1e-6 * (fabsf(b->base[r]) + fabs((double)g->scale * sum) + 1));
        else
            assert_true(isinf(want[r]) && want[r] > 0);
    }
    for (size_t t = 0; kernel_codes_table(t); t++) {
        memset(near, 0xff, sizeof near);
        uint32_t below = kernel_codes_table(t)->glance(b, g, rows, near);
        for (uint32_t r = 0; r < KERNEL_BLOCK; r++) {
            assert_true(near[r] == want[r] || fabsf(near[r] - want[r]) <= 1e-5f * (fabsf(want[r]) + 1));
            assert_int_equal(below >> r & 1, near[r] < g->limit);
        }
        assert_int_equal(below >> KERNEL_BLOCK, 0);
    }
}

static void test_glance(void **state)
{
    struct kernel_block *b = (struct kernel_block *)(void *)(ends[0] - sizeof *b);
    struct kernel_glance g;
    for (int n = 0; n < 2000; n++) {
        /* At first the largest sums there can be, of both signs. */
        for (size_t i = 0; i < sizeof b->parts; i++)
            ((uint8_t *)b->parts)[i] = n < 4 ? 127 * (n % 2) : (uint8_t)(random_u32() % 128);
        for (size_t i = 0; i < sizeof g.q; i++)
            g.q[i] = n < 4 ? (n < 2 ? 127 : -127) : (int8_t)((int)(random_u32() % 255) - 127);
        for (size_t r = 0; r < KERNEL_BLOCK; r++)
            b->base[r] = (float)random_u32() / 4294967296.0f;
        g.offset = (float)random_u32() / 4294967296.0f;
        g.scale = 1e-4f * (float)(random_u32() % 1000) / 1000;
        g.limit = n % 7 == 0 ? INFINITY : g.offset + (float)random_u32() / 4294967296.0f;
        check_glance(b, &g, n % 5 == 0 ? (1u << KERNEL_BLOCK) - 1 : random_u32() & ((1u << KERNEL_BLOCK) - 1));
    }
}

static void test_nearer(void **state)
{
    float *near = (float *)(void *)(ends[0] - KERNEL_BLOCK * sizeof *near), *rest = (float *)(void *)(ends[1] - KERNEL_BLOCK * sizeof *rest);
    for (int n = 0; n < 2000; n++) {
        float doubt = n % 9 ? (float)random_u32() / 4294967296.0f : 0, limit = n % 11 ? 0.5f : INFINITY;
        uint32_t want = 0;
        for (uint32_t r = 0; r < KERNEL_BLOCK; r++) {
            near[r] = random_u32() % 5 ? (float)random_u32() / 4294967296.0f : INFINITY;
            rest[r] = (float)random_u32() / 4294967296.0f;
            if (fabsf(near[r] - doubt * rest[r] - limit) < 1e-5f)
                near[r] = 0;
            want |= (uint32_t)((double)near[r] - (double)doubt * rest[r] < limit) << r;
        }
        for (size_t t = 0; kernel_codes_table(t); t++)
            assert_int_equal(kernel_codes_table(t)->nearer(near, rest, doubt, limit), want);
    }
}

static void test_choice(void **state)
{
    unsigned f = cpu_features();
    size_t n = 0;
    while (kernel_codes_table(n))
        n++;
    assert_string_equal(kernel_codes_table(0)->name, "scalar");
    assert_int_equal(n, 1 + !!(f & CPU_AVX2) + ((f & CPU_AVX512) && (f & CPU_VNNI)) + !!(f & CPU_DOTPROD));
    assert_null(kernel_codes_table(1000));
    assert_ptr_equal(kernel_codes_get(), kernel_codes_table(n - 1));
    const char *mask = getenv("LOOKALIKE_CPU_MASK");
    if (mask && !strcmp(mask, "none"))
        assert_string_equal(kernel_codes_get()->name, "scalar");
    if (mask && !strcmp(mask, "avx2,avx512"))
        assert_string_not_equal(kernel_codes_get()->name, "vnni");
}

int main(void)
{
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        ends[i] = fence(SIZE_MAX_TESTED * sizeof(float));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_hadamard),
        cmocka_unit_test(test_glance),
        cmocka_unit_test(test_nearer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
