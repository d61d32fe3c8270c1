#include "filter/tree.h"

#include "base/limits.h"

/* Memory of a tree comes in blocks that are released together: a tree is built once and never changed. */

struct filter_block {
    struct filter_block *next;
    max_align_t data[];
};

enum { FIRST_BLOCK = 2 * LIMIT_KIB };

void *filter_alloc(struct filter *filter, size_t size)
{
    const size_t align = sizeof(max_align_t);
    size = (size + align - 1) / align * align;
    if (!filter->blocks || filter->block_size - filter->block_used < size) {
        size_t want = filter->block_size ? filter->block_size * 2 : FIRST_BLOCK;
        if (want > 256 * LIMIT_KIB)
            want = 256 * LIMIT_KIB;
        if (want < size)
            want = size;
        struct filter_block *block = malloc(sizeof *block + want);
        if (!block)
            return NULL;
        block->next = filter->blocks;
        filter->blocks = block;
        filter->block_used = 0;
        filter->block_size = want;
    }
    void *memory = (char *)filter->blocks->data + filter->block_used;
    filter->block_used += size;
    return memory;
}

void *filter_grow(struct filter *filter, const void *array, size_t old, size_t count, size_t size)
{
    char *more = filter_alloc(filter, count * size);
    if (more && old)
        memcpy(more, array, old * size);
    return more;
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    for (struct filter_block *block = filter->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(filter->text);
    free(filter);
}

const char *filter_text(const struct filter *filter, size_t *len)
{
    if (len)
        *len = filter->len;
    return filter->text;
}

const char *filter_op_name(enum filter_op op)
{
    static const char *const names[] = {"<", "<=", ">", ">=", "==", "!="};
    return names[op];
}

const char *filter_arith_name(enum filter_arith op)
{
    static const char *const names[] = {"+", "-", "*", "/", "%"};
    return names[op];
}

static bool divides_by_minus_one(const struct filter_node *n)
{
    bool found = n->kind == FILTER_ARITH && (n->arith == FILTER_DIV || n->arith == FILTER_MOD) &&
                 n->operand.kind == FILTER_INT && n->operand.i == -1;
    for (size_t i = 0; i < n->count && !found; i++)
        found = divides_by_minus_one(n->children[i]);
    return found;
}

bool filter_divides_by_minus_one(const struct filter *filter)
{
    return filter && divides_by_minus_one(filter->root);
}
