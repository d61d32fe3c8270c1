/*
 * Group commit: writers that arrive together share one transaction, and so its three fsyncs.
 *
 *     caller: prepare (round, encode, hash; own thread, no lock)
 *        │ nobody leads                                 │ somebody leads
 *        ▼                                              ▼
 *      LEAD ── takes what waits, up to a limit       QUEUED ── deadline ──▶ out, ERR_TIMEOUT
 *        │ commits it all (below)                       │  └── the leader before is through ──▶ LEAD
 *        ▼                                              ▼
 *      hands the lead to the first that waits        TAKEN ──▶ DONE, with a result
 *      and wakes TAKEN ones
 *
 * One commit: slots taken and written (place.h); BEGIN on meta.db; each caller's rows between a savepoint and its
 * release, so that a caller that fails takes only its own rows with it. Then, in this order, each a promise about
 * the disk:
 *
 *     fdatasync of vectors.f16 → COMMIT of pictures.db → COMMIT of meta.db → memory (graph.h,
 *     columns.h, slots.h) → answer
 *
 * The COMMIT of meta.db is the moment of truth (invariant V2 of vectors.c). A failure before it undoes
 * everything, for every caller of the group: these are failures of the disk. But where no room can be had for a vector,
 * only its caller fails, and where vectors cannot be written, callers that have some: deletes must go on, they may be what
 * makes room. Slots that rows of a failed commit named are held (S5); those that no row named are free at once.
 *
 * A leader waits a little for company before it starts, if the last commit had company: writers that were
 * woken together come back together, and without the pause they would split into two groups that take turns,
 * each at half size. A lone writer never waits.
 *
 * A caller whose deadline passes while it is TAKEN waits for the outcome: "timed out" must mean "not
 * written".
 *
 * What a group costs is, where the disk is fast, waking its writers, and their way from one write to the next. So each is
 * woken once and needs no lock then, and the leader once, when the last of them is back.
 *
 * Rejected: a writer thread of its own (one more hand-over for each write, and a thread for each open
 * collection); writing the vectors of one group while the one before is in meta.db (measured: as many writes a second,
 * because the groups are half as large); codes for the index made by each writer while it waits (no gain either).
 */
#include "store/embedded/place.h"

#include "base/clock.h"
#include "store/store_backend.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <time.h>

#define COMPANY_US 1000  /* longest pause before a commit */
#define CROWD 4          /* writers that share a commit … */
#define CROWD_MS 50      /* … and for how long they count as many, at least */
#define META_FRAMES 1000 /* pages in the log after which they are copied into the file */
#define PICTURES_FRAMES 4000
#define RESTART_FRAMES 32000 /* a log that long is emptied, even if readers must be waited for */
#define GARBAGE_STEP 256     /* pictures removed by one commit */
#define GARBAGE_MANY 1024    /* that many are removed although no picture is written */

enum request_state { QUEUED, LEAD, TAKEN, DONE };

/* What one write will have done once the commit is through. */
struct effect {
    struct embedded_request *request;
    size_t index;
    uint32_t shown, retired; /* slots */
    uint32_t moved;          /* slot whose itemid changes */
    uint32_t kept;           /* slot of an UPDATE without a vector */
    int64_t itemid;
    uint64_t picture; /* 0: none is written */
    int count;        /* −1, 0, 1 */
    bool changed, existed;
    enum result status;
};

struct group {
    struct embedded_collection *c;
    struct embedded_request *first; /* linked by `next` */
    struct effect *effects;
    size_t count, room;
    size_t pictures; /* to be written */
    uint64_t garbage[GARBAGE_STEP];
    size_t garbage_count, garbage_added;
};

/* --- before the queue ----------------------------------------------------------------------------------- */

struct encoder {
    struct embedded_collection *c;
    uint16_t *halves;
    float *floats;
};

static enum result encode(
    struct encoder *e, const struct store_write *w, uint64_t number, uint8_t *slot, struct err *err)
{
    char what[64];
    const struct kernel *kernel = e->c->kernel;
    uint32_t dim = e->c->meta.settings.descriptor, plain = e->c->meta.settings.dimension;
    snprintf(what, sizeof what, "the vector of fileid %" PRId64, w->fileid);
    enum result r = store_vector_to_f16(w->vector, w->dimension, dim, what, e->halves, err);
    if (r)
        return r;
    kernel->f16_to_f32(e->halves, e->floats, dim);
    float norm = sqrtf(kernel->dot_f32(e->floats, e->floats, plain));
    embedded_vectors_encode(&e->c->vectors, slot, e->halves, w->fileid, number, norm);
    return ERR_OK;
}

/* One that this collection keeps. */
static bool has_picture(const struct embedded_collection *c, const struct store_write *w)
{
    const struct store_settings *s = &c->meta.settings;
    return (s->thumbnails && w->thumbnail_len) || (s->originals && w->original_len);
}

static bool needs_slot(const struct store_write *w)
{
    return w->vector && w->kind != STORE_DELETE;
}

static enum result prepare(struct embedded_collection *c, struct embedded_request *q, struct err *err)
{
    uint32_t dim = c->meta.settings.descriptor, stride = c->vectors.stride;
    struct encoder e = {.c = c};
    size_t n = 0;
    enum result r = ERR_OK;
    for (size_t i = 0; i < q->count; i++)
        q->vectors += needs_slot(&q->writes[i]);
    q->number = atomic_fetch_add(&c->number, q->count);
    if (q->vectors == 0)
        return ERR_OK;
    q->slots = malloc(q->vectors * stride);
    q->places = malloc(q->vectors * sizeof *q->places);
    e.halves = malloc(dim * sizeof *e.halves);
    e.floats = malloc(dim * sizeof *e.floats);
    if (!q->slots || !q->places || !e.halves || !e.floats) {
        r = err_no_memory(err);
        goto out;
    }
    for (size_t i = 0; !r && i < q->count; i++)
        if (needs_slot(&q->writes[i]))
            r = encode(&e, &q->writes[i], q->number + i, q->slots + stride * n++, err);
out:
    free(e.halves);
    free(e.floats);
    return r;
}

/* --- the queue: c->mutex is held where nothing else is said ---------------------------------------------- */

static void append(struct embedded_collection *c, struct embedded_request *q)
{
    q->next = NULL;
    if (c->last)
        c->last->next = q;
    else
        c->first = q;
    c->last = q;
    c->waiting++;
    if (c->waiting == c->wanted)
        pthread_cond_signal(&c->arrival);
}

static struct embedded_request *take_first(struct embedded_collection *c)
{
    struct embedded_request *q = c->first;
    c->first = q->next;
    if (!c->first)
        c->last = NULL;
    q->next = NULL;
    c->waiting--;
    return q;
}

static void take_out(struct embedded_collection *c, struct embedded_request *q)
{
    struct embedded_request *before = NULL;
    for (struct embedded_request *p = c->first; p != q; p = p->next)
        before = p;
    if (before)
        before->next = q->next;
    else
        c->first = q->next;
    if (c->last == q)
        c->last = before;
    c->waiting--;
}

/* False: the deadline has passed, and it is in the queue no more. Takes c->mutex. */
static bool wait_for_turn(struct embedded_collection *c, struct embedded_request *q, int64_t deadline_ms)
{
    if (clock_wait_sem(&q->turn, deadline_ms))
        return true;
    pthread_mutex_lock(&c->mutex);
    bool out = atomic_load(&q->state) == QUEUED;
    if (out)
        take_out(c, q);
    pthread_mutex_unlock(&c->mutex);
    return !out && clock_wait_sem(&q->turn, CLOCK_NO_DEADLINE);
}

/* Until it is done or, *leads, has the lead; takes c->mutex. */
static enum result join(struct embedded_collection *c, struct embedded_request *q, int64_t deadline_ms, bool *leads,
    struct err *err)
{
    pthread_mutex_lock(&c->mutex);
    bool waits = c->leading;
    c->leading = true;
    if (waits)
        append(c, q);
    atomic_store(&q->state, waits ? QUEUED : LEAD);
    pthread_mutex_unlock(&c->mutex);
    if (waits && !wait_for_turn(c, q, deadline_ms))
        return err_set(err, ERR_TIMEOUT, "the write waited too long for those before it, and was not done");
    *leads = atomic_load(&q->state) == LEAD;
    return ERR_OK;
}

/* To the first that waits, whose turn is to be posted when c->mutex, held here, is not; or NULL. */
static struct embedded_request *hand_over(struct embedded_collection *c)
{
    c->leading = c->first != NULL;
    if (!c->first)
        return NULL;
    struct embedded_request *heir = take_first(c);
    atomic_store(&heir->state, LEAD);
    return heir;
}

/* Without c->mutex. */
static void let_lead(struct embedded_request *heir)
{
    if (heir)
        sem_post(&heir->turn);
}

/* A pause for those that were woken by the last commit. */
static void wait_for_company(struct embedded_collection *c)
{
    int64_t pause = c->commit_us / 2 < COMPANY_US ? c->commit_us / 2 : COMPANY_US;
    int64_t end = clock_now_us() + pause;
    struct timespec at = {.tv_sec = end / 1000000, .tv_nsec = end % 1000000 * 1000};
    c->wanted = c->company > 1 ? c->company - 1 : 0; /* woken for the last of them and not for each */
    while (c->waiting < c->wanted && clock_now_us() < end)
        if (pthread_cond_timedwait(&c->arrival, &c->mutex, &at))
            break;
    c->wanted = 0;
}

/*
 * Those that wait, in order, as far as the limit allows; linked behind the leader. Returns how many writers.
 */
static unsigned take_group(struct embedded_collection *c, struct embedded_request *leader)
{
    struct embedded_request *last = leader;
    size_t writes = leader->count;
    unsigned n = 1;
    while (c->first && !c->first->hold && writes + c->first->count <= LIMIT_COMMIT_WRITES) {
        last->next = take_first(c);
        last = last->next;
        atomic_store(&last->state, TAKEN);
        writes += last->count;
        n++;
    }
    return n;
}

/* --- one commit; the leader, without a lock ------------------------------------------------------------- */

static void set_aside(struct group *g, size_t from)
{
    for (size_t i = from; i < g->count; i++)
        if (g->effects[i].shown != EMBEDDED_NO_SLOT)
            embedded_slots_hold(&g->c->slots, g->effects[i].shown);
    g->count = from;
}

static enum result delete_row(
    struct group *g, struct effect *e, const struct embedded_row *old, struct err *err)
{
    enum result r = embedded_records_delete(&g->c->records, old->fileid, err);
    if (!r && old->picture) {
        g->garbage_added++;
        r = embedded_records_garbage_add(&g->c->records, old->picture, err);
    }
    e->retired = (uint32_t)old->slot;
    e->count = -1;
    e->changed = true;
    return r;
}

/* PUT, or UPDATE of a row that is there. `old` is NULL where there was none, `place` where there is no vector. */
static enum result write_row(
    struct group *g, struct effect *e, const struct embedded_row *old, uint32_t *place, struct err *err)
{
    const struct store_write *w = &e->request->writes[e->index];
    struct embedded_collection *c = g->c;
    struct embedded_row row = old ? *old : (struct embedded_row){.fileid = w->fileid, .itemid = w->fileid};
    enum result r = ERR_OK;
    if (w->has_itemid || w->kind == STORE_PUT)
        row.itemid = w->has_itemid ? w->itemid : w->fileid;
    if (place) {
        row.number = e->request->number + e->index;
        row.picture = 0;
        row.slot = e->shown = *place; /* from here on whoever undoes this write sets the slot aside */
        *place = EMBEDDED_NO_SLOT;
        embedded_slots_fill(&c->slots, e->shown, row.fileid, row.itemid, row.number);
        e->retired = old ? (uint32_t)old->slot : EMBEDDED_NO_SLOT;
    } else if (old) {
        e->kept = (uint32_t)old->slot;
        e->moved = row.itemid != old->itemid ? e->kept : EMBEDDED_NO_SLOT;
        e->itemid = row.itemid;
    }
    if (has_picture(c, w)) {
        /*
         * Taken now and not before the queue: it must not be below what an earlier commit wrote down as "the
         * next", or the open after a crash would not know that nothing names it.
         */
        row.picture = e->picture = atomic_fetch_add(&c->number, 1);
        g->pictures++;
    }
    if (old && old->picture && old->picture != row.picture) {
        g->garbage_added++;
        r = embedded_records_garbage_add(&c->records, old->picture, err);
    }
    e->count = !old;
    e->changed = true;
    if (r)
        return r;
    return old ? embedded_records_update(&c->records, &row, w->tags, w->brief, err)
               : embedded_records_put(&c->records, &row, w->tags, w->brief, err);
}

static enum result do_write(
    struct group *g, struct embedded_request *q, size_t index, uint32_t *place, struct err *err)
{
    const struct store_write *w = &q->writes[index];
    struct embedded_row old;
    bool found = false;
    enum result r = embedded_records_find(&g->c->records, w->fileid, &old, &found, err);
    if (r)
        return r;
    assert(g->count < g->room);
    struct effect *e = &g->effects[g->count++];
    *e = (struct effect){.request = q,
        .index = index,
        .existed = found,
        .shown = EMBEDDED_NO_SLOT,
        .retired = EMBEDDED_NO_SLOT,
        .moved = EMBEDDED_NO_SLOT,
        .kept = EMBEDDED_NO_SLOT};
    if (w->kind == STORE_DELETE) {
        r = found ? delete_row(g, e, &old, err) : ERR_OK;
    } else if (w->kind == STORE_UPDATE && !found) {
        e->status = ERR_NOT_FOUND;
    } else {
        r = write_row(g, e, found ? &old : NULL, place, err);
    }
    return r;
}

/* One caller's writes. False: the transaction is gone, and with it the group. */
static bool do_request(struct group *g, struct embedded_request *q)
{
    struct embedded_records *records = &g->c->records;
    uint32_t *places = q->places;
    size_t mark = g->count;
    enum result r = embedded_records_mark(records, &q->err);
    if (r) {
        q->result = r;
        return embedded_records_undo(records);
    }
    for (size_t i = 0; !r && i < q->count; i++) {
        bool has_place = needs_slot(&q->writes[i]);
        r = do_write(g, q, i, has_place ? places : NULL, &q->err);
        places += has_place;
    }
    if (!r)
        r = embedded_records_keep(records, &q->err);
    q->result = r;
    if (!r)
        return true;
    set_aside(g, mark);
    return embedded_records_undo(records);
}

static enum result put_picture(struct embedded_collection *c, uint64_t id, const struct store_write *w, struct err *err)
{
    struct embedded_picture picture = {.thumbnail = w->thumbnail, .original = w->original};
    picture.thumbnail_len = c->meta.settings.thumbnails ? w->thumbnail_len : 0;
    picture.original_len = c->meta.settings.originals ? w->original_len : 0;
    return embedded_pictures_put(&c->pictures, id, w->fileid, &picture, err);
}

static enum result write_pictures(struct group *g, struct err *err)
{
    struct embedded_pictures *p = &g->c->pictures;
    if (g->pictures == 0 && g->garbage_count == 0)
        return ERR_OK;
    enum result r = embedded_pictures_begin(p, err);
    for (size_t i = 0; !r && i < g->count; i++) {
        const struct effect *e = &g->effects[i];
        const struct store_write *w = &e->request->writes[e->index];
        if (e->picture)
            r = put_picture(g->c, e->picture, w, err);
    }
    for (size_t i = 0; !r && i < g->garbage_count; i++) {
        r = embedded_pictures_delete(p, g->garbage[i], err);
        if (!r)
            r = embedded_records_garbage_remove(&g->c->records, g->garbage[i], err);
    }
    if (!r)
        return embedded_pictures_commit(p, err);
    embedded_pictures_rollback(p);
    return r;
}

/* Pictures of a commit that failed afterwards: waste, so it does not matter if this fails as well. */
static void unwrite_pictures(struct group *g)
{
    struct embedded_pictures *p = &g->c->pictures;
    if (g->pictures == 0 || embedded_pictures_begin(p, NULL))
        return;
    enum result r = ERR_OK;
    for (size_t i = 0; !r && i < g->count; i++)
        if (g->effects[i].picture)
            r = embedded_pictures_delete(p, g->effects[i].picture, NULL);
    if (r || embedded_pictures_commit(p, NULL))
        embedded_pictures_rollback(p);
}

/*
 * Only garbage of earlier commits: what this one makes garbage is still named by a row until it has
 * committed.
 */
static enum result choose_garbage(struct group *g, struct err *err)
{
    struct embedded_collection *c = g->c;
    bool pictures = false;
    for (const struct embedded_request *q = g->first; q && !pictures; q = q->next)
        for (size_t i = 0; i < q->count && !pictures; i++)
            pictures = has_picture(c, &q->writes[i]);
    if (!embedded_keeps_pictures(&c->meta.settings) || c->garbage == 0 || (!pictures && c->garbage < GARBAGE_MANY))
        return ERR_OK;
    enum result r =
        embedded_records_garbage_list(&c->records, g->garbage, GARBAGE_STEP, &g->garbage_count, err);
    if (!r && g->garbage_count < GARBAGE_STEP)
        c->garbage = g->garbage_count;
    return r;
}

static enum result do_requests(struct group *g, struct err *err)
{
    enum result r = embedded_records_begin(&g->c->records, err);
    if (!r)
        r = choose_garbage(g, err);
    for (struct embedded_request *q = g->first; !r && q; q = q->next)
        if (!q->result && !do_request(g, q)) {
            r = q->result;
            if (err)
                *err = q->err;
        }
    return r;
}

/* An UPDATE gives only a part of the record: the columns want all of it, as meta.db has it now. */
static enum result put_updated(struct embedded_collection *c, uint32_t slot, int64_t fileid)
{
    struct embedded_texts texts;
    bool found = false;
    enum result r = embedded_records_texts(&c->records, fileid, &texts, &found, NULL);
    if (!r && found && texts.slot == slot) /* else a later write of this commit has a say */
        embedded_columns_put(&c->columns,
            &(struct filter_columns_row){.row = slot,
                .fileid = fileid,
                .itemid = texts.itemid,
                .tags = texts.tags,
                .tags_len = texts.tags_len,
                .brief = texts.brief,
                .brief_len = texts.brief_len});
    embedded_records_texts_end(&c->records);
    return r;
}

static enum result put_effect(struct embedded_collection *c, const struct effect *e)
{
    const struct store_write *w = &e->request->writes[e->index];
    uint32_t slot = e->shown != EMBEDDED_NO_SLOT ? e->shown : e->kept;
    if (slot == EMBEDDED_NO_SLOT)
        return ERR_OK;
    if (w->kind == STORE_UPDATE)
        return put_updated(c, slot, w->fileid);
    embedded_columns_put(&c->columns,
        &(struct filter_columns_row){.row = slot,
            .fileid = w->fileid,
            .itemid = w->has_itemid ? w->itemid : w->fileid,
            .tags = w->tags,
            .tags_len = strlen(w->tags),
            .brief = w->brief,
            .brief_len = strlen(w->brief)});
    return ERR_OK;
}

/* What is new, before it is seen; columns.h and graph.h say why in this order. */
static void put_derived(struct group *g)
{
    struct embedded_collection *c = g->c;
    for (size_t i = 0; i < g->count; i++)
        if (g->effects[i].shown != EMBEDDED_NO_SLOT)
            embedded_graph_put(&c->graph, g->effects[i].shown);
    embedded_columns_begin(&c->columns);
    if (!embedded_columns_wanted(&c->columns))
        return;
    for (size_t i = 0; i < g->count; i++)
        if (put_effect(c, &g->effects[i])) {
            embedded_columns_give_up(&c->columns);
            return;
        }
}

/* What is gone, when it is no longer seen. */
static void remove_derived(struct group *g)
{
    struct embedded_collection *c = g->c;
    for (size_t i = 0; i < g->count; i++)
        if (g->effects[i].retired != EMBEDDED_NO_SLOT)
            embedded_columns_remove(&c->columns, g->effects[i].retired);
    embedded_columns_end(&c->columns);
    embedded_slots_reclaim(&c->slots); /* which takes rows out of the index */
    embedded_graph_nudge(&c->graph);
}

static void move_items(struct group *g)
{
    struct embedded_collection *c = g->c;
    bool any = false;
    for (size_t i = 0; i < g->count && !any; i++)
        any = g->effects[i].moved != EMBEDDED_NO_SLOT;
    if (!any)
        return;
    embedded_graph_items_begin(&c->graph);
    for (size_t i = 0; i < g->count; i++) {
        const struct effect *e = &g->effects[i];
        if (e->moved == EMBEDDED_NO_SLOT)
            continue;
        atomic_store_explicit(
            &embedded_slots_at(&c->slots, e->moved)->itemid, e->itemid, memory_order_relaxed);
        embedded_graph_set_item(&c->graph, e->moved, e->itemid);
    }
    embedded_graph_items_end(&c->graph);
}

/* The commit has happened: let every search that starts from now on see it. */
static void apply(struct group *g)
{
    struct embedded_collection *c = g->c;
    move_items(g);
    for (size_t i = 0; i < g->count; i++) {
        const struct effect *e = &g->effects[i];
        struct store_write *w = &e->request->writes[e->index];
        if (e->shown != EMBEDDED_NO_SLOT)
            embedded_slots_show(&c->slots, e->shown);
        if (e->retired != EMBEDDED_NO_SLOT &&
            embedded_slots_retire(&c->slots, e->retired) == EMBEDDED_DAMAGED)
            atomic_fetch_sub(&c->damaged, 1);
        w->status = e->status;
        w->existed = e->existed;
    }
    embedded_slots_commit(&c->slots);
    for (size_t i = 0; i < g->count; i++)
        atomic_fetch_add(&c->count, (uint64_t)(int64_t)g->effects[i].count);
    c->garbage += g->garbage_added;
    c->garbage -= g->garbage_count < c->garbage ? g->garbage_count : c->garbage;
}

/* Whoever makes a second edition of this collection has to look at these records again. */
static void tell(struct group *g)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->effects[i].changed)
            embedded_tap_add(&g->c->tap, g->effects[i].request->writes[g->effects[i].index].fileid);
}

static enum result commit(struct group *g, struct err *err)
{
    struct embedded_collection *c = g->c;
    bool changed = false, shows = false;
    enum result r = embedded_place_vectors(c, g->first, err);
    if (!r)
        r = do_requests(g, err);
    if (r)
        goto out;
    for (size_t i = 0; i < g->count; i++) {
        changed |= g->effects[i].changed;
        shows |= g->effects[i].shown != EMBEDDED_NO_SLOT;
    }
    if (!changed) { /* only deletes of what was not there, and the like; or every caller failed by itself */
        embedded_records_rollback(&c->records);
        for (size_t i = 0; i < g->count; i++) {
            struct store_write *w = &g->effects[i].request->writes[g->effects[i].index];
            w->status = g->effects[i].status;
            w->existed = g->effects[i].existed;
        }
        return ERR_OK;
    }
    if (shows)
        r = embedded_vectors_sync(&c->vectors, err);
    if (!r)
        r = write_pictures(g, err);
    if (r)
        goto out;
    uint64_t seq = atomic_load(&c->slots.seq);
    atomic_store(&c->ahead, seq + 1);
    r = embedded_records_commit(&c->records, seq + 1, atomic_load(&c->number), err);
    if (r) {
        unwrite_pictures(g);
        atomic_store(&c->ahead, seq);
        goto out;
    }
    put_derived(g);
    apply(g);
    remove_derived(g);
    tell(g);
    return ERR_OK;
out:
    embedded_records_rollback(&c->records);
    set_aside(g, 0);
    return r;
}

static void run_group(struct embedded_collection *c, struct embedded_request *first)
{
    struct group g = {.c = c, .first = first};
    struct err err = {0};
    for (const struct embedded_request *q = first; q; q = q->next)
        g.room += q->count;
    g.effects = calloc(g.room + 1, sizeof *g.effects); /* a call may have no writes at all */
    enum result r = g.effects ? commit(&g, &err) : err_no_memory(&err);
    for (struct embedded_request *q = first; q; q = q->next) {
        embedded_place_release(c, q);
        if (r && !q->result) {
            q->result = r;
            q->err = err;
        }
    }
    free(g.effects);
}

static bool checkpoint_due(const struct embedded_collection *c)
{
    return c->records.frames >= META_FRAMES || c->pictures.frames >= PICTURES_FRAMES;
}

static void checkpoint(struct embedded_collection *c)
{
    if (c->records.frames >= META_FRAMES) {
        embedded_sql_checkpoint(c->records.db, c->records.frames >= RESTART_FRAMES);
        c->records.frames = 0;
    }
    if (c->pictures.frames >= PICTURES_FRAMES) {
        embedded_sql_checkpoint(c->pictures.writer, c->pictures.frames >= RESTART_FRAMES);
        c->pictures.frames = 0;
    }
}

/*
 * The lead is given away before anybody is woken, so that whoever comes back first has it at once, and not after one more
 * wake-up. A checkpoint belongs to the leader, but nobody waits for it to be answered.
 */
static void lead(struct embedded_collection *c, struct embedded_request *q)
{
    pthread_mutex_lock(&c->mutex);
    wait_for_company(c);
    unsigned n = take_group(c, q);
    pthread_mutex_unlock(&c->mutex);
    int64_t start = clock_now_us();
    run_group(c, q);
    int64_t took = clock_now_us() - start;
    bool due = checkpoint_due(c);
    pthread_mutex_lock(&c->mutex);
    c->commit_us = took;
    c->company = n + c->waiting;
    if (c->company >= CROWD)
        atomic_store(&c->crowded_until_ms, clock_now_ms() + CROWD_MS + 2 * took / 1000);
    struct embedded_request *heir = due ? NULL : hand_over(c);
    pthread_mutex_unlock(&c->mutex);
    let_lead(heir);
    for (struct embedded_request *p = q->next, *next; p; p = next) {
        next = p->next; /* read first: a request that is done is its caller's again */
        atomic_store(&p->state, DONE);
        sem_post(&p->turn);
    }
    if (due) {
        checkpoint(c);
        embedded_collection_resume(c);
    }
}

enum result embedded_collection_write(struct embedded_collection *c, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err)
{
    struct embedded_request q = {.writes = writes, .count = count};
    enum result r = ERR_OK;
    bool leads = false;
    for (size_t i = 0; !r && i < count; i++)
        r = embedded_collection_is(c, writes[i].edition, err);
    if (!r)
        r = prepare(c, &q, err);
    if (r)
        goto out;
    sem_init(&q.turn, 0, 0);
    r = join(c, &q, deadline_ms, &leads, err);
    if (leads)
        lead(c, &q);
    sem_destroy(&q.turn);
    if (!r && q.result) {
        r = q.result;
        if (err)
            *err = q.err;
    }
    if (!r)
        embedded_graph_relieve(&c->graph, count);
out:
    free(q.slots);
    free(q.places);
    return r;
}

enum result embedded_collection_hold(struct embedded_collection *c, int64_t deadline_ms, struct err *err)
{
    struct embedded_request q = {.hold = true};
    bool leads = false;
    sem_init(&q.turn, 0, 0);
    enum result r = join(c, &q, deadline_ms, &leads, err);
    assert(r || leads);
    sem_destroy(&q.turn);
    return r;
}

void embedded_collection_resume(struct embedded_collection *c)
{
    pthread_mutex_lock(&c->mutex);
    struct embedded_request *heir = hand_over(c);
    pthread_mutex_unlock(&c->mutex);
    let_lead(heir);
}
