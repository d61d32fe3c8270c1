#include "filter/pass.h"
#include "filter/select.h"

/*
 * One leaf over all rows. Numbers are scanned in their columns; strings and arrays are tested once each in
 * their dictionary, and then the codes are scanned for those that passed; tags come from their postings.
 */

/* Up to so many numbers of a list are scanned for one after the other, more at once in a table. */
enum { FEW = 12, FEW_DOUBLES = 2 };

/* --- dictionaries
 * -------------------------------------------------------------------------------------------------- */

/* The rows whose code passed. */
static void passed_rows(const struct filter_ccol *codes, struct filter_passed *p, uint64_t *yes)
{
    if (p->count == 1)
        filter_ccol_range(codes, p->last, p->last, yes);
    else if (p->count)
        filter_ccol_table(codes, p->table, yes);
}

/* --- numbers
 * ------------------------------------------------------------------------------------------------------- */

/* False where the column has to be scanned. */
static bool arith_rows(const struct filter_ccol *col, const struct filter_leaf *leaf, bool ints, uint64_t *yes)
{
    struct filter_key_span spans[2];
    size_t count;
    if (!filter_leaf_arith_spans(leaf, col, ints, spans, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        filter_ccol_range(col, spans[i].low, spans[i].high, yes);
    return true;
}

static void int_rows(const struct filter_ccol *col, const struct filter_leaf *leaf, uint64_t *yes)
{
    struct filter_span span;
    enum filter_node_kind kind = leaf->node->kind;
    if (kind == FILTER_COMPARE || kind == FILTER_RANGE) {
        if (filter_leaf_int_span(leaf, &span))
            filter_ccol_range(col, filter_key_int(span.low), filter_key_int(span.high), yes);
    } else if (kind == FILTER_IN && leaf->span_count <= FEW) {
        for (size_t i = 0; i < leaf->span_count; i++)
            filter_ccol_range(
                col, filter_key_int(leaf->spans[i].low), filter_key_int(leaf->spans[i].high), yes);
    } else if (kind == FILTER_IN || (kind == FILTER_ARITH && !arith_rows(col, leaf, true, yes))) {
        filter_ccol_scan(col, filter_leaf_int_block(), leaf, yes);
    }
}

static void double_rows(const struct filter_ccol *col, const struct filter_leaf *leaf, uint64_t *yes)
{
    uint64_t low, high;
    enum filter_node_kind kind = leaf->node->kind;
    if (kind == FILTER_COMPARE || kind == FILTER_RANGE) {
        if (filter_leaf_double_keys(leaf, &low, &high))
            filter_ccol_range(col, low, high, yes);
    } else if (kind == FILTER_IN && leaf->double_count <= FEW_DOUBLES) {
        for (size_t i = 0; i < leaf->double_count; i++)
            filter_ccol_range(
                col, filter_key_double(leaf->doubles[i]), filter_key_double(leaf->doubles[i]), yes);
    } else if (kind == FILTER_IN || (kind == FILTER_ARITH && !arith_rows(col, leaf, false, yes))) {
        filter_ccol_scan(col, filter_leaf_double_block(), leaf, yes);
    }
}

/* --- JSON
 * -----------------------------------------------------------------------------------------------------------
 */

/* A string that is looked up costs as much as so many that are met in the order of memory. */
enum { LOOK_UP = 24 };

static bool few_rows(const struct filter_select *s, const struct filter_dict *strings)
{
    uint64_t count = 0, most = strings->live / LOOK_UP;
    for (size_t i = 0; i < s->words && count <= most; i++)
        count += (uint64_t)__builtin_popcountll(s->among[i]);
    return count <= most;
}

/* Rows and the codes of their strings, looked at together. */
struct batch {
    uint32_t rows[64], codes[64], count;
};

/* Each of them is two misses of the cache, which take less time side by side than one after the other. */
static void test_batch(
    const struct filter_dict *strings, const struct filter_leaf *leaf, struct batch *b, uint64_t *yes)
{
    for (uint32_t i = 0; i < b->count; i++)
        __builtin_prefetch(&strings->offset[b->codes[i]]);
    for (uint32_t i = 0; i < b->count; i++)
        __builtin_prefetch(strings->arena + (uint64_t)strings->offset[b->codes[i]] * 4);
    for (uint32_t i = 0; i < b->count; i++)
        if (filter_leaf_string(leaf, filter_dict_get(strings, b->codes[i])))
            yes[b->rows[i] / 64] |= (uint64_t)1 << b->rows[i] % 64;
    b->count = 0;
}

static void test_rows(const struct filter_select *s, const struct filter_path *p,
    const struct filter_leaf *leaf, uint64_t *yes)
{
    uint64_t codes[64];
    struct batch batch = {.count = 0};
    for (uint32_t block = 0; block < s->words; block++) {
        if (!s->among[block])
            continue;
        uint64_t here =
            filter_ccol_block(&p->kinds[FILTER_KIND_STRING], block, codes) & s->among[block];
        for (; here; here &= here - 1) {
            uint32_t row = (uint32_t)__builtin_ctzll(here);
            batch.rows[batch.count] = 64 * block + row;
            batch.codes[batch.count++] = (uint32_t)codes[row];
            if (batch.count == 64)
                test_batch(&p->strings, leaf, &batch, yes);
        }
    }
    test_batch(&p->strings, leaf, &batch, yes);
}

static enum result string_rows(const struct filter_select *s, const struct filter_path *p,
    const struct filter_leaf *leaf, uint64_t *yes)
{
    struct filter_passed passed;
    if (!p->kinds[FILTER_KIND_STRING].count)
        return ERR_OK;
    if (s->among && few_rows(s, &p->strings)) {
        test_rows(s, p, leaf, yes);
        return ERR_OK;
    }
    enum result r = filter_pass_strings(leaf, &p->strings, &passed);
    if (r)
        return r;
    passed_rows(&p->kinds[FILTER_KIND_STRING], &passed, yes);
    free(passed.table);
    return ERR_OK;
}

/* Rows where the rest of the path lies in a blob at `p`. */
static enum result blob_rows(
    const struct filter_path *p, const struct filter_leaf *leaf, size_t from, uint64_t *yes)
{
    const struct filter_field *f = &leaf->node->field;
    const struct filter_ccol *arrays = &p->kinds[FILTER_KIND_ARRAY], *rest = &p->kinds[FILTER_KIND_REST];
    struct filter_passed passed;
    /* An array itself is tested at the end of the path; a rest only where the path goes on. */
    if (!arrays->count && (!rest->count || from == f->depth))
        return ERR_OK;
    enum result r = filter_pass_blobs(leaf, &p->blobs, f->path + from, f->depth - from, &passed);
    if (r)
        return r;
    passed_rows(arrays, &passed, yes);
    if (from < f->depth)
        passed_rows(rest, &passed, yes);
    free(passed.table);
    return ERR_OK;
}

/* Rows where the path ends at `p`. */
static enum result path_rows(const struct filter_select *s, const struct filter_path *p,
    const struct filter_leaf *leaf, uint64_t *yes)
{
    enum filter_node_kind kind = leaf->node->kind;
    if (kind == FILTER_EXISTS) {
        for (size_t i = 0; i < FILTER_KINDS; i++)
            if (i != FILTER_KIND_NULL && i != FILTER_KIND_REST)
                filter_ccol_present(&p->kinds[i], yes);
        return ERR_OK;
    }
    int_rows(&p->kinds[FILTER_KIND_INT], leaf, yes);
    double_rows(&p->kinds[FILTER_KIND_DOUBLE], leaf, yes);
    for (uint64_t b = 0; b <= 1; b++)
        if (filter_leaf_bool(leaf, b != 0))
            filter_ccol_range(&p->kinds[FILTER_KIND_BOOL], b, b, yes);
    bool strings = kind == FILTER_COMPARE || kind == FILTER_RANGE
                       ? leaf->node->value.kind == FILTER_STRING
                       : kind == FILTER_LIKE || leaf->string_count > 0;
    enum result r = strings ? string_rows(s, p, leaf, yes) : ERR_OK;
    bool arrays = kind == FILTER_COMPARE ? leaf->node->value.kind == FILTER_LIST
                                         : kind >= FILTER_LENGTH || kind == FILTER_IN;
    return r || !arrays ? r : blob_rows(p, leaf, leaf->node->field.depth, yes);
}

static enum result brief_rows(const struct filter_select *s, const struct filter_leaf *leaf, uint64_t *yes)
{
    const struct filter_field *f = &leaf->node->field;
    uint32_t path = 0;
    if (!s->c->path_count)
        return ERR_OK;
    for (size_t i = 0; i < f->depth; i++) {
        enum result r = blob_rows(&s->c->paths[path], leaf, i, yes);
        if (r)
            return r;
        path = filter_path_find(s->c, path, f->path[i]);
        if (path == FILTER_NO_PATH)
            return ERR_OK;
    }
    return path_rows(s, &s->c->paths[path], leaf, yes);
}

/* --- tags
 * -----------------------------------------------------------------------------------------------------------
 */

static enum result tag_rows(const struct filter_select *s, const struct filter_leaf *leaf, uint64_t *yes)
{
    struct filter_passed passed;
    if (leaf->node->field.index >= LIMIT_TAGS || leaf->node->kind == FILTER_LENGTH) /* a tag is no list */
        return ERR_OK;
    enum result r = filter_pass_strings(leaf, &s->c->tags, &passed);
    if (r)
        return r;
    passed_rows(&s->c->tag_at[leaf->node->field.index], &passed, yes);
    free(passed.table);
    return ERR_OK;
}

static void tag_posting(const struct filter_select *s, struct filter_bytes tag, uint64_t *yes)
{
    uint32_t code = filter_dict_find(&s->c->tags, tag.data, tag.len);
    if (code != FILTER_NO_CODE && code < s->c->posting_room)
        filter_posting_words(&s->c->postings[code], yes);
}

/* Rows whose tags are exactly the list, or contain all of it: those of each element, cut with each other. */
static enum result tags_all(
    const struct filter_select *s, const struct filter_value *list, bool exactly, uint64_t *yes)
{
    uint64_t *all = filter_select_words(s), *one = filter_select_words(s);
    enum result r = all && one ? ERR_OK : ERR_NO_MEMORY;
    if (exactly && list->list.count > LIMIT_TAGS)
        goto out;
    if (r)
        goto out;
    filter_ccol_range(
        &s->c->tag_count, exactly ? list->list.count : 0, exactly ? list->list.count : LIMIT_TAGS, all);
    for (size_t i = 0; i < list->list.count; i++) {
        struct filter_bytes tag = list->list.items[i].s;
        memset(one, 0, s->words * sizeof *one);
        if (exactly) {
            uint32_t code = filter_dict_find(&s->c->tags, tag.data, tag.len);
            if (code != FILTER_NO_CODE)
                filter_ccol_range(&s->c->tag_at[i], code, code, one);
        } else {
            tag_posting(s, tag, one);
        }
        for (size_t w = 0; w < s->words; w++)
            all[w] &= one[w];
    }
    for (size_t w = 0; w < s->words; w++)
        yes[w] |= all[w];
out:
    free(all);
    free(one);
    return r;
}

static enum result tags_rows(const struct filter_select *s, const struct filter_leaf *leaf, uint64_t *yes)
{
    const struct filter_node *n = leaf->node;
    enum result r = ERR_OK;
    switch (n->kind) {
    case FILTER_COMPARE:
        return tags_all(s, &n->value, true, yes);
    case FILTER_IN:
        for (size_t i = 0; !r && i < n->value.list.count; i++)
            r = tags_all(s, &n->value.list.items[i], true, yes);
        return r;
    case FILTER_CONTAINS:
        tag_posting(s, n->value.s, yes);
        return ERR_OK;
    case FILTER_CONTAINS_ANY:
        for (size_t i = 0; i < n->value.list.count; i++)
            tag_posting(s, n->value.list.items[i].s, yes);
        return ERR_OK;
    case FILTER_CONTAINS_ALL:
        return tags_all(s, &n->value, false, yes);
    default: /* FILTER_LENGTH */
        for (uint32_t count = 0; count <= LIMIT_TAGS; count++) {
            const struct filter_blob tags = {.kind = FILTER_BLOB_ARRAY, .count = count};
            if (filter_leaf_value(leaf, &tags))
                filter_ccol_range(&s->c->tag_count, count, count, yes);
        }
        return ERR_OK;
    }
}

enum result filter_select_leaf(const struct filter_select *s, const struct filter_leaf *leaf, uint64_t *yes)
{
    switch (leaf->node->field.kind) {
    case FILTER_FILEID:
        int_rows(&s->c->fileid, leaf, yes);
        return ERR_OK;
    case FILTER_ITEMID:
        int_rows(&s->c->itemid, leaf, yes);
        return ERR_OK;
    case FILTER_TAG:
        return tag_rows(s, leaf, yes);
    case FILTER_TAGS:
        return tags_rows(s, leaf, yes);
    default:
        return brief_rows(s, leaf, yes);
    }
}
