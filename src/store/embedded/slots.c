#include "store/embedded/slots.h"

#include "base/limits.h"

#include <assert.h>

enum result embedded_slots_init(struct embedded_slots *s, uint64_t seq, struct err *err)
{
    *s = (struct embedded_slots){
        .free = EMBEDDED_NO_SLOT,
        .held = EMBEDDED_NO_SLOT,
        .retired_first = EMBEDDED_NO_SLOT,
        .retired_last = EMBEDDED_NO_SLOT,
    };
    atomic_init(&s->seq, seq);
    /* 512 KiB of addresses; pages of it that are never used never become memory. */
    s->segments = calloc(LIMIT_RECORDS / EMBEDDED_SEGMENT + 1, sizeof *s->segments);
    if (!s->segments)
        return err_no_memory(err);
    pthread_mutex_init(&s->mutex, NULL);
    return ERR_OK;
}

void embedded_slots_free(struct embedded_slots *s)
{
    if (!s->segments)
        return;
    assert(!s->snapshots);
    for (size_t i = 0; i < s->top; i += EMBEDDED_SEGMENT)
        free(s->segments[i / EMBEDDED_SEGMENT]);
    free(s->segments);
    s->segments = NULL;
    pthread_mutex_destroy(&s->mutex);
}

static enum result need_segment(struct embedded_slots *s, uint32_t i, struct err *err)
{
    struct embedded_slot **segment = &s->segments[i / EMBEDDED_SEGMENT];
    if (*segment)
        return ERR_OK;
    struct embedded_slot *slots = calloc(EMBEDDED_SEGMENT, sizeof *slots);
    if (!slots)
        return err_no_memory(err);
    for (size_t j = 0; j < EMBEDDED_SEGMENT; j++) {
        atomic_init(&slots[j].born, EMBEDDED_NEVER);
        atomic_init(&slots[j].died, EMBEDDED_NEVER);
    }
    *segment = slots;
    s->bytes += EMBEDDED_SEGMENT * sizeof *slots;
    return ERR_OK;
}

static void push(struct embedded_slots *s, uint32_t *list, uint32_t i)
{
    embedded_slots_at(s, i)->next = *list;
    *list = i;
}

/* S4: what died before every running search began is free. `died` rises along the list. */
void embedded_slots_reclaim(struct embedded_slots *s)
{
    uint64_t oldest = atomic_load_explicit(&s->seq, memory_order_relaxed);
    pthread_mutex_lock(&s->mutex);
    for (const struct embedded_snapshot *p = s->snapshots; p; p = p->next)
        if (p->seq < oldest)
            oldest = p->seq;
    pthread_mutex_unlock(&s->mutex);
    while (s->retired_first != EMBEDDED_NO_SLOT) {
        uint32_t i = s->retired_first;
        struct embedded_slot *slot = embedded_slots_at(s, i);
        if (atomic_load_explicit(&slot->died, memory_order_relaxed) > oldest)
            break;
        s->retired_first = slot->next;
        if (s->reclaimed)
            s->reclaimed(s->user, i);
        push(s, &s->free, i);
    }
    if (s->retired_first == EMBEDDED_NO_SLOT)
        s->retired_last = EMBEDDED_NO_SLOT;
}

enum result embedded_slots_alloc(struct embedded_slots *s, uint32_t *out, struct err *err)
{
    if (s->free == EMBEDDED_NO_SLOT)
        embedded_slots_reclaim(s);
    if (s->free != EMBEDDED_NO_SLOT) {
        *out = s->free;
        s->free = embedded_slots_at(s, *out)->next;
        return ERR_OK;
    }
    if (s->top >= LIMIT_RECORDS)
        return err_set(
            err, ERR_TOO_LARGE, "the collection is full: it holds at most %d records", LIMIT_RECORDS);
    enum result r = need_segment(s, s->top, err);
    if (r)
        return r;
    *out = s->top++;
    return ERR_OK;
}

void embedded_slots_fill(
    struct embedded_slots *s, uint32_t i, int64_t fileid, int64_t itemid, uint64_t number)
{
    struct embedded_slot *slot = embedded_slots_at(s, i);
    atomic_store_explicit(&slot->born, EMBEDDED_NEVER, memory_order_release); /* S3 */
    slot->fileid = fileid;
    slot->number = number;
    atomic_store_explicit(&slot->itemid, itemid, memory_order_relaxed);
    /* Written by this process: what the page cache holds is what was meant. */
    atomic_store_explicit(&slot->state, EMBEDDED_VERIFIED, memory_order_relaxed);
    atomic_store_explicit(&slot->died, EMBEDDED_NEVER, memory_order_release);
    if (i >= atomic_load_explicit(&s->used, memory_order_relaxed))
        atomic_store_explicit(&s->used, i + 1, memory_order_release);
}

void embedded_slots_release(struct embedded_slots *s, uint32_t i)
{
    push(s, &s->free, i);
}

void embedded_slots_hold(struct embedded_slots *s, uint32_t i)
{
    push(s, &s->held, i);
}

void embedded_slots_show(struct embedded_slots *s, uint32_t i)
{
    uint64_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed) + 1;
    atomic_store_explicit(&embedded_slots_at(s, i)->born, seq, memory_order_release);
}

enum embedded_slot_state embedded_slots_retire(struct embedded_slots *s, uint32_t i)
{
    struct embedded_slot *slot = embedded_slots_at(s, i);
    uint64_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed) + 1;
    atomic_store_explicit(&slot->died, seq, memory_order_release);
    slot->next = EMBEDDED_NO_SLOT;
    if (s->retired_last == EMBEDDED_NO_SLOT)
        s->retired_first = i;
    else
        embedded_slots_at(s, s->retired_last)->next = i;
    s->retired_last = i;
    return (enum embedded_slot_state)atomic_exchange(&slot->state, EMBEDDED_LEAVING);
}

void embedded_slots_commit(struct embedded_slots *s)
{
    atomic_fetch_add_explicit(&s->seq, 1, memory_order_acq_rel);
    while (s->held != EMBEDDED_NO_SLOT) { /* S5 */
        uint32_t i = s->held;
        s->held = embedded_slots_at(s, i)->next;
        push(s, &s->free, i);
    }
}

enum result embedded_slots_load(
    struct embedded_slots *s, uint32_t i, int64_t fileid, int64_t itemid, uint64_t number, struct err *err)
{
    if (i >= LIMIT_RECORDS)
        return err_set(err, ERR_CORRUPT, "the record of fileid %lld names slot %u, which cannot be",
            (long long)fileid, i);
    enum result r = need_segment(s, i, err);
    if (r)
        return r;
    struct embedded_slot *slot = embedded_slots_at(s, i);
    if (atomic_load_explicit(&slot->born, memory_order_relaxed) != EMBEDDED_NEVER)
        return err_set(err, ERR_CORRUPT, "the records of fileid %lld and %lld name the same slot",
            (long long)slot->fileid, (long long)fileid);
    embedded_slots_fill(s, i, fileid, itemid, number);
    atomic_store_explicit(&slot->state, EMBEDDED_UNVERIFIED, memory_order_relaxed);
    atomic_store_explicit(&slot->born, 0, memory_order_relaxed);
    if (i >= s->top)
        s->top = i + 1;
    return ERR_OK;
}

enum result embedded_slots_loaded(struct embedded_slots *s, uint64_t capacity, struct err *err)
{
    /*
     * Downwards, so that the lowest is taken first. Where the file was cut off, or a damaged row names an
     * absurd slot, gaps beyond the file stay as they are: filling them could take any amount of memory.
     */
    for (uint32_t i = s->top; i-- > 0;) {
        uint32_t first = i - i % EMBEDDED_SEGMENT; /* of its segment */
        if (!embedded_slots_has(s, i) && first >= capacity) {
            i = first;
            continue;
        }
        enum result r = need_segment(s, i, err);
        if (r)
            return r;
        if (atomic_load_explicit(&embedded_slots_at(s, i)->born, memory_order_relaxed) == EMBEDDED_NEVER)
            push(s, &s->free, i);
    }
    return ERR_OK;
}

void embedded_slots_enter(struct embedded_slots *s, struct embedded_snapshot *snapshot)
{
    pthread_mutex_lock(&s->mutex);
    snapshot->seq = atomic_load_explicit(&s->seq, memory_order_acquire);
    snapshot->prev = NULL;
    snapshot->next = s->snapshots;
    if (s->snapshots)
        s->snapshots->prev = snapshot;
    s->snapshots = snapshot;
    pthread_mutex_unlock(&s->mutex);
}

void embedded_slots_leave(struct embedded_slots *s, struct embedded_snapshot *snapshot)
{
    pthread_mutex_lock(&s->mutex);
    if (snapshot->prev)
        snapshot->prev->next = snapshot->next;
    else
        s->snapshots = snapshot->next;
    if (snapshot->next)
        snapshot->next->prev = snapshot->prev;
    pthread_mutex_unlock(&s->mutex);
}
