/* The parts of the embedded store that need no file: the best k, and the states of a slot. */
#include "support.h"

#include "base/limits.h"
#include "store/embedded/slots.h"
#include "store/embedded/topk.h"

#define MAX_OFFERS 3000

static int compare(const void *a, const void *b)
{
    const struct embedded_candidate *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->fileid > y->fileid) - (x->fileid < y->fileid);
}

/* Random offers, with few different keys and few groups, against sorting all of them. */
static void check_topk(uint64_t *seed, size_t offers, size_t max, bool grouped, uint32_t groups)
{
    static struct embedded_candidate all[MAX_OFFERS], want[MAX_OFFERS];
    struct embedded_topk t = {0};
    size_t kept = 0;
    OK(embedded_topk_init(&t, max, grouped, err));
    for (size_t i = 0; i < offers; i++) {
        all[i] = (struct embedded_candidate){.key = (float)(test_random(seed) % 50),
            .slot = (uint32_t)i,
            .fileid = (int64_t)(test_random(seed) % 4 ? i : 100000 - i),
            .group = (int64_t)(test_random(seed) % groups) * 0x100000001};
        if (embedded_topk_wants(&t, all[i].key))
            embedded_topk_offer(&t, &all[i]);
    }
    qsort(all, offers, sizeof *all, compare);
    for (size_t i = 0; i < offers && kept < max; i++) {
        bool seen = false;
        for (size_t j = 0; grouped && j < kept && !seen; j++)
            seen = want[j].group == all[i].group;
        if (!seen)
            want[kept++] = all[i];
    }
    embedded_topk_sort(&t);
    assert_int_equal(t.count, kept);
    for (size_t i = 0; i < kept; i++) {
        assert_int_equal(t.heap[i].fileid, want[i].fileid);
        assert_true(t.heap[i].key == want[i].key);
        assert_int_equal(t.heap[i].slot, want[i].slot);
    }
    embedded_topk_free(&t);
}

static void test_topk(void **state)
{
    uint64_t seed = 31;
    for (int i = 0; i < 60; i++) {
        size_t offers = test_random(&seed) % MAX_OFFERS, max = 1 + test_random(&seed) % 40;
        check_topk(&seed, offers, max, false, 1);
        check_topk(&seed, offers, max, true, 1 + test_random(&seed) % 300);
        check_topk(&seed, offers, max, true, MAX_OFFERS);
    }
    check_topk(&seed, MAX_OFFERS, MAX_OFFERS, true, 500);
    check_topk(&seed, MAX_OFFERS, 1, true, 2);
    check_topk(&seed, 0, 5, true, 1);
}

static uint32_t put(struct embedded_slots *s, int64_t fileid)
{
    uint32_t i = 0;
    OK(embedded_slots_alloc(s, &i, err));
    embedded_slots_fill(s, i, fileid, fileid, 1);
    embedded_slots_show(s, i);
    return i;
}

static void test_slots_visibility(void **state)
{
    struct embedded_slots s;
    struct embedded_snapshot before, between, after;
    OK(embedded_slots_init(&s, 10, err));
    embedded_slots_enter(&s, &before);
    uint32_t a = put(&s, 1);
    assert_false(embedded_slot_visible(embedded_slots_at(&s, a), before.seq));
    embedded_slots_commit(&s);
    embedded_slots_enter(&s, &between);
    assert_false(embedded_slot_visible(embedded_slots_at(&s, a), before.seq));
    assert_true(embedded_slot_visible(embedded_slots_at(&s, a), between.seq));
    uint32_t b = put(&s, 1); /* replaced in one commit: every snapshot sees one of the two */
    embedded_slots_retire(&s, a);
    embedded_slots_commit(&s);
    embedded_slots_enter(&s, &after);
    assert_true(embedded_slot_visible(embedded_slots_at(&s, a), between.seq));
    assert_false(embedded_slot_visible(embedded_slots_at(&s, b), between.seq));
    assert_false(embedded_slot_visible(embedded_slots_at(&s, a), after.seq));
    assert_true(embedded_slot_visible(embedded_slots_at(&s, b), after.seq));
    /* The slot that died is taken again only when nobody can look at it any more. */
    uint32_t c = put(&s, 2);
    assert_int_not_equal(c, a);
    embedded_slots_commit(&s);
    embedded_slots_leave(&s, &before);
    uint32_t d = put(&s, 3);
    assert_int_not_equal(d, a);
    embedded_slots_commit(&s);
    embedded_slots_leave(&s, &between);
    uint32_t e = put(&s, 4);
    assert_int_equal(e, a);
    assert_false(embedded_slot_visible(embedded_slots_at(&s, e), after.seq));
    embedded_slots_commit(&s);
    embedded_slots_leave(&s, &after);
    embedded_slots_free(&s);
}

static void test_slots_held(void **state)
{
    struct embedded_slots s;
    uint32_t a = 0, b = 0;
    OK(embedded_slots_init(&s, 0, err));
    OK(embedded_slots_alloc(&s, &a, err));
    embedded_slots_hold(&s, a); /* its commit failed */
    OK(embedded_slots_alloc(&s, &b, err));
    assert_int_not_equal(a, b);
    embedded_slots_commit(&s);
    OK(embedded_slots_alloc(&s, &b, err));
    assert_int_equal(a, b);
    embedded_slots_release(&s, b);
    OK(embedded_slots_alloc(&s, &a, err));
    assert_int_equal(a, b);
    embedded_slots_free(&s);
}

static void test_slots_load(void **state)
{
    struct embedded_slots s;
    uint32_t a = 0;
    OK(embedded_slots_init(&s, 5, err));
    OK(embedded_slots_load(&s, 3, 30, 300, 7, err));
    OK(embedded_slots_load(&s, 5 * EMBEDDED_SEGMENT + 7, 40, 300, 8, err));
    REFUSED(ERR_CORRUPT, "30 and 50", embedded_slots_load(&s, 3, 50, 0, 9, err));
    REFUSED(ERR_CORRUPT, "cannot be", embedded_slots_load(&s, LIMIT_RECORDS, 50, 0, 9, err));
    /* The file has room for two segments and a bit: the fourth and the fifth are no slots of it. */
    OK(embedded_slots_loaded(&s, 2 * EMBEDDED_SEGMENT + 100, err));
    for (uint32_t want = 0; want < 3 * EMBEDDED_SEGMENT; want++)
        if (want != 3) {
            OK(embedded_slots_alloc(&s, &a, err));
            assert_int_equal(a, want);
        }
    OK(embedded_slots_alloc(&s, &a, err));
    assert_int_equal(a, 5 * EMBEDDED_SEGMENT); /* the rest of a segment that is there */
    embedded_slots_free(&s);
}

static void test_slots_limit(void **state)
{
    struct embedded_slots s;
    uint32_t a = 0;
    OK(embedded_slots_init(&s, 0, err));
    s.top = LIMIT_RECORDS - 1; /* as if all before were taken */
    OK(embedded_slots_alloc(&s, &a, err));
    assert_int_equal(a, LIMIT_RECORDS - 1);
    REFUSED(ERR_TOO_LARGE, "268435456", embedded_slots_alloc(&s, &a, err));
    embedded_slots_release(&s, a);
    OK(embedded_slots_alloc(&s, &a, err)); /* one that came free can still be had */
    embedded_slots_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topk),
        cmocka_unit_test(test_slots_visibility),
        cmocka_unit_test(test_slots_held),
        cmocka_unit_test(test_slots_load),
        cmocka_unit_test(test_slots_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
