/*
 * The build reads the records page by page, beside readers and writers. No transaction spans it, because one
 * of seconds would keep SQLite from starting its log anew. What makes it right: a slot that a commit has put
 * or removed since the build began is marked in `touched`, and the build leaves it alone. Any other slot
 * holds the same record as when the build began, whenever it is read; and a commit marks its slots after it
 * has committed, so a page that was read before shows what is then replaced or removed, under the lock.
 *
 * A put takes some microseconds, and a commit can have 16,384 of them. So the lock is taken for each: a
 * search waits for one put, not for a commit. The order of a commit makes this right: slots that are new are
 * put before they become visible, slots that are retired are removed after that.
 *
 * Rejected: a file of the columns beside the index's. Building them from the records takes some ten
 * microseconds each, and a server does it behind its start.
 */
#include "store/embedded/columns.h"

#include "base/clock.h"
#include "filter/facet.h"
#include "store/embedded/collection.h"

#include <inttypes.h>
#include <stdlib.h>

#define PAGE 256 /* records read in one go */
#define SHORT 64 /* of them, put under one hold of the lock */

void embedded_columns_init(struct embedded_columns *f)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&f->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&f->mutex, NULL);
    clock_cond_init(&f->cond);
}

/* The write lock is held, or nobody else is left. */
static void drop(struct embedded_columns *f)
{
    filter_columns_free(f->columns);
    free(f->touched);
    f->columns = NULL;
    f->touched = NULL;
    f->state = EMBEDDED_COLUMNS_NONE;
}

void embedded_columns_free(struct embedded_columns *f)
{
    atomic_store(&f->stop, true);
    if (f->joinable)
        pthread_join(f->builder, NULL);
    drop(f);
    pthread_rwlock_destroy(&f->lock);
    pthread_mutex_destroy(&f->mutex);
    pthread_cond_destroy(&f->cond);
}

/* --- putting -------------------------------------------------------------------------------------------- */

/*
 * The store takes any text for tags and brief, and JSON is the business of those above it. Text that the
 * columns refuse counts as absent.
 */
static enum result put_any(struct filter_columns *columns, const struct filter_columns_row *row)
{
    struct filter_columns_row part = *row;
    enum result r = filter_columns_put(columns, row, NULL);
    if (r != ERR_INVALID)
        return r;
    part.tags = NULL;
    r = filter_columns_put(columns, &part, NULL);
    if (r != ERR_INVALID)
        return r;
    part = *row;
    part.brief = NULL;
    r = filter_columns_put(columns, &part, NULL);
    if (r != ERR_INVALID)
        return r;
    part.tags = NULL;
    return filter_columns_put(columns, &part, NULL);
}

static void touch(struct embedded_columns *f, uint32_t slot)
{
    if (f->state == EMBEDDED_COLUMNS_BUILDING)
        f->touched[slot / 64] |= (uint64_t)1 << slot % 64;
}

bool embedded_columns_wanted(struct embedded_columns *f)
{
    pthread_rwlock_rdlock(&f->lock);
    bool wanted = f->state != EMBEDDED_COLUMNS_NONE;
    pthread_rwlock_unlock(&f->lock);
    return wanted;
}

void embedded_columns_begin(struct embedded_columns *f)
{
    pthread_rwlock_wrlock(&f->lock);
    f->inexact = true;
    pthread_rwlock_unlock(&f->lock);
}

void embedded_columns_end(struct embedded_columns *f)
{
    pthread_rwlock_wrlock(&f->lock);
    f->inexact = false;
    pthread_rwlock_unlock(&f->lock);
}

void embedded_columns_give_up(struct embedded_columns *f)
{
    pthread_rwlock_wrlock(&f->lock);
    drop(f);
    pthread_rwlock_unlock(&f->lock);
}

void embedded_columns_put(struct embedded_columns *f, const struct filter_columns_row *row)
{
    pthread_rwlock_wrlock(&f->lock);
    if (f->state != EMBEDDED_COLUMNS_NONE) {
        touch(f, row->row);
        if (put_any(f->columns, row))
            drop(f);
    }
    pthread_rwlock_unlock(&f->lock);
}

void embedded_columns_remove(struct embedded_columns *f, uint32_t slot)
{
    pthread_rwlock_wrlock(&f->lock);
    if (f->state != EMBEDDED_COLUMNS_NONE) {
        touch(f, slot);
        filter_columns_remove(f->columns, slot);
    }
    pthread_rwlock_unlock(&f->lock);
}

/* --- the build ------------------------------------------------------------------------------------------ */

/* Some rows of a page that was read; an error also where a commit has given the columns up. */
static enum result put_rows(struct embedded_columns *f, const struct store_record *records,
    const uint32_t *slots, size_t count, struct err *err)
{
    enum result r = ERR_OK;
    pthread_rwlock_wrlock(&f->lock);
    if (f->state != EMBEDDED_COLUMNS_BUILDING)
        r = err_set(err, ERR_NO_MEMORY, "there was no memory for what filters need");
    for (size_t i = 0; !r && i < count; i++) {
        if (f->touched[slots[i] / 64] >> slots[i] % 64 & 1)
            continue;
        struct filter_columns_row row = {
            .row = slots[i],
            .fileid = records[i].fileid,
            .itemid = records[i].itemid,
            .tags = records[i].tags,
            .tags_len = strlen(records[i].tags),
            .brief = records[i].brief,
            .brief_len = strlen(records[i].brief),
        };
        r = put_any(f->columns, &row);
        if (r)
            r = err_no_memory(err);
    }
    pthread_rwlock_unlock(&f->lock);
    atomic_fetch_add(&f->read, count);
    return r;
}

struct page {
    struct embedded_reading reading;
    uint32_t slots[PAGE];
    bool started, ended;
    int64_t after;
};

static enum result read_page(struct embedded_collection *c, struct page *p, struct err *err)
{
    struct embedded_reader *reader = NULL;
    bool there = true;
    enum result r = embedded_readers_take(&c->readers, CLOCK_NO_DEADLINE, &reader, err);
    if (r)
        return r;
    sqlite3_stmt *stmt = p->started ? reader->browse : reader->browse_all;
    if (p->started)
        sqlite3_bind_int64(stmt, 1, p->after);
    sqlite3_bind_int64(stmt, 2, PAGE);
    while (!(r = embedded_sql_row(reader->db, stmt, &there, err)) && there) {
        struct embedded_row row;
        r = embedded_reader_row(stmt, &row, err);
        if (!r) {
            p->slots[p->reading.out.count] = (uint32_t)row.slot;
            r = embedded_collection_append(&p->reading, stmt, &row, err);
        }
        if (r)
            break;
        p->after = row.fileid;
    }
    sqlite3_reset(stmt);
    embedded_readers_give(&c->readers, reader);
    p->started = true;
    p->ended = p->reading.out.count < PAGE;
    return r;
}

static enum result begin_build(struct embedded_columns *f, struct err *err)
{
    struct filter_columns *columns = NULL;
    /* 32 MiB of addresses; pages of it that are never written never become memory. */
    uint64_t *touched = calloc(LIMIT_RECORDS / 64, sizeof *touched);
    enum result r = touched ? filter_columns_new(NULL, &columns, err) : err_no_memory(err);
    if (r) {
        free(touched);
        return r;
    }
    atomic_store(&f->read, 0);
    pthread_rwlock_wrlock(&f->lock);
    f->columns = columns;
    f->touched = touched;
    f->state = EMBEDDED_COLUMNS_BUILDING;
    pthread_rwlock_unlock(&f->lock);
    return ERR_OK;
}

static enum result read_all(struct embedded_collection *c, struct err *err)
{
    struct embedded_columns *f = &c->columns;
    struct page p = {.reading.c = c};
    enum result r = ERR_OK;
    while (!r && !p.ended) {
        r = atomic_load(&f->stop) ? err_set(err, ERR_BUSY, "collection \"%s\" is being closed", c->name)
                                  : read_page(c, &p, err);
        size_t n = p.reading.out.count;
        for (size_t i = 0; !r && i < n; i += SHORT)
            r = put_rows(f, p.reading.out.items + i, p.slots + i, n - i < SHORT ? n - i : SHORT, err);
        store_records_free(&p.reading.out);
        p.reading.room = 0;
    }
    return r;
}

static void *build(void *arg)
{
    struct embedded_collection *c = arg;
    struct embedded_columns *f = &c->columns;
    struct err why = {0};
    enum result r = begin_build(f, &why);
    if (!r)
        r = read_all(c, &why);
    pthread_rwlock_wrlock(&f->lock);
    if (!r && f->state == EMBEDDED_COLUMNS_NONE)
        r = err_no_memory(&why);
    if (r) {
        drop(f);
    } else {
        f->state = EMBEDDED_COLUMNS_READY;
        free(f->touched);
        f->touched = NULL;
    }
    pthread_rwlock_unlock(&f->lock);
    pthread_mutex_lock(&f->mutex);
    f->building = false;
    f->failed = r;
    f->why = why;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

/* Unless one runs, or has ended well a moment ago. The mutex is held. */
static enum result start(struct embedded_collection *c, struct err *err)
{
    struct embedded_columns *f = &c->columns;
    pthread_rwlock_rdlock(&f->lock);
    bool none = f->state == EMBEDDED_COLUMNS_NONE;
    pthread_rwlock_unlock(&f->lock);
    if (f->building || !none)
        return ERR_OK;
    if (f->joinable)
        pthread_join(f->builder, NULL); /* it has ended */
    int e = pthread_create(&f->builder, NULL, build, c);
    f->joinable = f->building = e == 0;
    return e ? err_set_errno(err, e, "cannot start a thread for filters") : ERR_OK;
}

void embedded_columns_start(struct embedded_collection *c)
{
    struct embedded_columns *f = &c->columns;
    pthread_mutex_lock(&f->mutex);
    if (start(c, NULL)) {
        /* The first filter says so. */
    }
    pthread_mutex_unlock(&f->mutex);
}

bool embedded_columns_building(struct embedded_columns *f)
{
    pthread_mutex_lock(&f->mutex);
    bool building = f->building;
    pthread_mutex_unlock(&f->mutex);
    return building;
}

/* Start a build, or join the one that runs, and wait for its end. */
static enum result wait_for_build(struct embedded_collection *c, int64_t deadline_ms, struct err *err)
{
    struct embedded_columns *f = &c->columns;
    pthread_mutex_lock(&f->mutex);
    enum result r = start(c, err);
    while (!r && f->building)
        if (!clock_wait(&f->cond, &f->mutex, deadline_ms) && f->building && clock_passed(deadline_ms))
            r = err_set(err, ERR_TIMEOUT,
                "the records of collection \"%s\" are being read for filters: %" PRIu64 " of %" PRIu64
                " so far; ask again in a moment",
                c->name, atomic_load(&f->read), atomic_load(&c->count));
    if (!r && f->failed) {
        r = f->failed;
        if (err)
            *err = f->why;
    }
    pthread_mutex_unlock(&f->mutex);
    return r;
}

/* --- reading -------------------------------------------------------------------------------------------- */

enum result embedded_columns_prepare(struct embedded_collection *c, int64_t deadline_ms, struct err *err)
{
    pthread_rwlock_rdlock(&c->columns.lock);
    bool ready = c->columns.state == EMBEDDED_COLUMNS_READY;
    pthread_rwlock_unlock(&c->columns.lock);
    return ready ? ERR_OK : wait_for_build(c, deadline_ms, err);
}

enum result embedded_columns_select(struct embedded_collection *c, const struct filter *filter,
    int64_t deadline_ms, struct embedded_snapshot *snapshot, struct embedded_selection *out, struct err *err)
{
    struct embedded_columns *f = &c->columns;
    for (;;) {
        pthread_rwlock_rdlock(&f->lock);
        if (f->state == EMBEDDED_COLUMNS_READY)
            break;
        pthread_rwlock_unlock(&f->lock);
        enum result r = wait_for_build(c, deadline_ms, err);
        if (r)
            return r;
    }
    enum result r = filter_columns_select(f->columns, filter, &out->rows, err);
    if (!r) {
        out->exact = !f->inexact;
        embedded_slots_enter(&c->slots, snapshot);
    }
    pthread_rwlock_unlock(&f->lock);
    return r;
}

uint64_t embedded_columns_bytes(struct embedded_columns *f)
{
    struct filter_columns_stats stats = {0};
    pthread_rwlock_rdlock(&f->lock);
    if (f->columns)
        filter_columns_stats(f->columns, &stats);
    pthread_rwlock_unlock(&f->lock);
    return stats.bytes;
}

static enum result gone(struct err *err)
{
    return err_set(err, ERR_BUSY, "what filters need is being made anew; ask again in a moment");
}

enum result embedded_columns_facet(struct embedded_columns *f, struct filter_facet_counter *counter,
    const struct filter_rows *rows, struct err *err)
{
    pthread_rwlock_rdlock(&f->lock);
    enum result r = f->state == EMBEDDED_COLUMNS_READY ? filter_facet_columns(counter, f->columns, rows, err)
                                                       : gone(err);
    pthread_rwlock_unlock(&f->lock);
    return r;
}

enum result embedded_columns_paths(
    struct embedded_columns *f, size_t max, char ***fields, size_t *count, struct err *err)
{
    pthread_rwlock_rdlock(&f->lock);
    enum result r = f->state == EMBEDDED_COLUMNS_READY
                        ? filter_facet_paths(f->columns, max, fields, count, err)
                        : gone(err);
    pthread_rwlock_unlock(&f->lock);
    return r;
}
