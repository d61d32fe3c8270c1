/*
 * A second edition of a collection, under other settings.
 *
 *     DATA/collections/.second-H/    a collection like any other, and besides:
 *         origin.db                  origin(fileid, number): the write number of the vector in the first edition when the
 *                                    second's was made; about(id): which first edition that was
 *
 * Whether a record has to be made anew is asked of the two rows alone: it must be where `origin` does not name the number
 * that the first edition's row has now. So it does not matter in which order records are looked at, nor how often, nor
 * what a crash left: a row of `origin` is committed after the record it speaks of, and one that is missing only costs a
 * picture seen twice.
 *
 *     tap open ──▶ every record of both is compared ──▶ what came through the tap, until little comes (where that does not
 *     come to an end, writers are slowed down) ──▶ nobody else inside (registry.h) ──▶ the last of the tap ──▶ in the place of the first
 *
 * Whatever is committed after the tap was opened comes through it (tap.h), and whatever was before is seen by the
 * comparison, which leaves younger vectors to the tap: so it ends, however fast others add. Where the first edition has to be closed in between, as tune does, the tap is lost, and all is compared
 * again, which costs reading.
 */
#include "store/embedded/reembed.h"

#include "base/clock.h"
#include "store/embedded/registry.h"

#include <inttypes.h>
#include <sys/stat.h>

#define BATCH 32 /* pictures that are looked at together */
#define PAGE 256
#define WRITE_BYTES (16 * (size_t)LIMIT_MIB) /* of pictures in one write */
#define FEW 8    /* changes that are left for when nobody else is inside */

struct edition {
    struct embedded *e;
    const char *name;
    const struct store_reembed_options *options;
    struct store_settings settings;
    struct store_reembed_report *report;

    struct entry *entry;
    struct embedded_collection *first, *second;
    char path[EMBEDDED_PATH_MAX]; /* of the second */
    sqlite3 *db;                  /* origin.db */
    sqlite3_stmt *origin, *set_origin, *begin, *commit;

    struct store_record records[BATCH]; /* to be made; tags and brief are owned */
    uint64_t numbers[BATCH], pictures[BATCH];
    size_t count;
    float *vectors;
    bool made[BATCH];

    int64_t *failed;
    size_t failed_count;
    uint64_t done, total;
    uint64_t until; /* vectors with this write number or a later one are left to the tap */
    bool again;  /* the first is to be closed: give it back, and begin with comparing */
    bool alone;  /* nobody else is inside */
};

/* --- the second edition's folder --------------------------------------------------------------------------- */

static void close_second(struct edition *x)
{
    sqlite3_stmt *all[] = {x->origin, x->set_origin, x->begin, x->commit};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(x->db);
    embedded_collection_close(x->second);
    x->origin = x->set_origin = x->begin = x->commit = NULL;
    x->db = NULL;
    x->second = NULL;
}

static enum result prepare(struct edition *x, struct err *err)
{
    const struct {
        sqlite3_stmt **stmt;
        const char *sql;
    } all[] = {
        {&x->origin, "SELECT number FROM origin WHERE fileid = ?1"},
        {&x->set_origin, "INSERT OR REPLACE INTO origin VALUES(?1, ?2)"},
        {&x->begin, "BEGIN IMMEDIATE"},
        {&x->commit, "COMMIT"},
    };
    enum result r = ERR_OK;
    for (size_t i = 0; !r && i < sizeof all / sizeof *all; i++)
        r = embedded_sql_prepare(x->db, all[i].sql, all[i].stmt, err);
    return r;
}

static enum result make_second(struct edition *x, struct err *err)
{
    const struct store_sys *sys = x->e->sys;
    char file[EMBEDDED_PATH_MAX], sql[256];
    enum result r = embedded_collection_create(sys, x->path, &x->settings, err);
    if (!r)
        r = embedded_path(file, x->path, "origin.db", err);
    if (!r)
        r = embedded_sql_open(file, EMBEDDED_SQL_CREATE, &x->db, err);
    snprintf(sql, sizeof sql,
        "BEGIN; CREATE TABLE origin(fileid INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT;"
        "CREATE TABLE about(id INTEGER NOT NULL) STRICT; INSERT INTO about VALUES(%" PRId64 "); COMMIT",
        (int64_t)x->first->meta.id);
    if (!r)
        r = embedded_sql_exec(x->db, sql, err);
    sqlite3_close(x->db);
    x->db = NULL;
    return r ? r : embedded_sync_folder(sys, x->path, err);
}

static bool is_same(const struct store_settings *a, const struct store_settings *b)
{
    return !strcmp(a->model, b->model) && !strcmp(a->input, b->input) && a->dimension == b->dimension &&
           a->descriptor == b->descriptor && a->metric == b->metric && a->thumbnails == b->thumbnails &&
           a->originals == b->originals && a->background == b->background;
}

/* Open what is there; *usable false: it is of another collection of this name, or under way to something else. */
static enum result open_second(struct edition *x, bool *usable, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    sqlite3_stmt *about = NULL;
    bool row = false;
    enum result r = embedded_path(file, x->path, "origin.db", err);
    if (!r)
        r = embedded_sql_open(file, EMBEDDED_SQL_WRITE, &x->db, err);
    if (!r)
        r = prepare(x, err);
    if (!r)
        r = embedded_sql_prepare(x->db, "SELECT id FROM about", &about, err);
    if (!r)
        r = embedded_sql_row(x->db, about, &row, err);
    bool mine = !r && row && (uint64_t)sqlite3_column_int64(about, 0) == x->first->meta.id;
    sqlite3_finalize(about);
    if (!r)
        r = embedded_collection_open(
            &(struct embedded_collection_place){x->e->sys, x->path, x->name, x->e->keeper}, &x->second, err);
    *usable = !r && mine && is_same(&x->second->meta.settings, &x->settings);
    return r;
}

/*
 * What an earlier call left. Only what is known to be of no use goes: an error that may pass must not cost what took hours.
 */
static enum result reopen_second(struct edition *x, bool *usable, struct err *err)
{
    char file[EMBEDDED_PATH_MAX];
    struct stat st;
    enum result r = embedded_path(file, x->path, "origin.db", err);
    if (r || stat(x->path, &st))
        return r;
    if (stat(file, &st) == 0) /* else a crash came while it was made */
        r = open_second(x, usable, err);
    if (*usable || (r && r != ERR_CORRUPT && r != ERR_UNSUPPORTED))
        return r;
    close_second(x);
    return embedded_remove_folder(x->e->sys, x->path, err);
}

/* Goes on with what an earlier call left, where that is of use. */
static enum result find_second(struct edition *x, struct err *err)
{
    bool usable = false;
    enum result r = embedded_registry_second(x->e, x->name, x->path, err);
    if (!r)
        r = reopen_second(x, &usable, err);
    if (r || usable)
        return r;
    r = make_second(x, err);
    if (!r)
        r = open_second(x, &usable, err);
    return r;
}

/* --- one record ------------------------------------------------------------------------------------------------ */

struct seen {
    bool there;
    struct embedded_row row;
    char *tags, *brief;
};

static void forget(struct seen *s)
{
    free(s->tags);
    free(s->brief);
    *s = (struct seen){0};
}

static enum result look(struct embedded_collection *c, int64_t fileid, struct seen *out, struct err *err)
{
    struct embedded_reader *reader = NULL;
    enum result r = embedded_readers_take(&c->readers, CLOCK_NO_DEADLINE, &reader, err);
    if (r)
        return r;
    sqlite3_stmt *stmt = reader->by_file;
    sqlite3_bind_int64(stmt, 1, fileid);
    r = embedded_sql_row(reader->db, stmt, &out->there, err);
    if (!r && out->there)
        r = embedded_reader_row(stmt, &out->row, err);
    if (!r && out->there) {
        const unsigned char *tags = sqlite3_column_text(stmt, EMBEDDED_COL_TAGS), *brief = sqlite3_column_text(stmt, EMBEDDED_COL_BRIEF);
        out->tags = tags ? strdup((const char *)tags) : NULL;
        out->brief = brief ? strdup((const char *)brief) : NULL;
        if (!out->tags || !out->brief)
            r = err_no_memory(err);
    }
    sqlite3_reset(stmt);
    embedded_readers_give(&c->readers, reader);
    return r;
}

static enum result made_from(struct edition *x, int64_t fileid, uint64_t number, bool *out, struct err *err)
{
    bool row = false;
    sqlite3_bind_int64(x->origin, 1, fileid);
    enum result r = embedded_sql_row(x->db, x->origin, &row, err);
    if (!r)
        *out = row && (uint64_t)sqlite3_column_int64(x->origin, 0) == number;
    sqlite3_reset(x->origin);
    return r;
}

static enum result write_one(struct edition *x, struct store_write *write, struct err *err)
{
    return embedded_collection_write(x->second, write, 1, CLOCK_NO_DEADLINE, err);
}

/* One that is changed while it fails is looked at again, and fails again: it is one. */
static enum result note_failed(struct edition *x, int64_t fileid, struct err *err)
{
    for (size_t i = 0; i < x->failed_count; i++)
        if (x->failed[i] == fileid)
            return ERR_OK;
    if (x->failed_count == LIMIT_REEMBED_FAILED)
        return err_set(err, ERR_NOT_FOUND,
            "more than %d records of collection \"%.64s\" cannot be made anew, the first is fileid %" PRId64
            ": there is no picture of them that can be used",
            LIMIT_REEMBED_FAILED, x->name, x->failed[0]);
    x->failed[x->failed_count++] = fileid;
    return ERR_OK;
}

/* What is kept of a picture, where it is kept. */
static enum result keep(struct edition *x, size_t i, bool original, struct buf *out, struct err *err)
{
    const struct store_settings *s = &x->settings;
    if (!x->pictures[i] || !(original ? s->originals : s->thumbnails))
        return ERR_OK;
    struct err why = {0};
    enum result r = embedded_pictures_get(&x->first->pictures, x->pictures[i], original, out, &why);
    if (r == ERR_NOT_FOUND || r == ERR_CORRUPT) /* it was not there before either */
        return ERR_OK;
    if (r && err)
        *err = why;
    return r;
}

enum result store_reembed_picture(
    const struct store_reembed_batch *batch, size_t i, bool original, struct buf *out, struct err *err)
{
    struct edition *x = batch->state;
    if (!x->pictures[i])
        return err_set(err, ERR_NOT_FOUND, "no picture of fileid %" PRId64 " is kept", batch->records[i].fileid);
    return embedded_pictures_get(&x->first->pictures, x->pictures[i], original, out, err);
}

/* The records [from, to) that were made, then what they were made from. */
static enum result write_made(struct edition *x, size_t from, size_t to, struct store_write *writes, struct err *err)
{
    size_t n = 0;
    for (size_t i = from; i < to; i++)
        if (x->made[i])
            writes[n++] = writes[i];
    if (n == 0)
        return ERR_OK;
    enum result r = embedded_collection_write(x->second, writes, n, CLOCK_NO_DEADLINE, err);
    if (!r)
        r = embedded_sql_run(x->db, x->begin, err);
    for (size_t i = from; !r && i < to; i++) {
        if (!x->made[i])
            continue;
        sqlite3_bind_int64(x->set_origin, 1, x->records[i].fileid);
        sqlite3_bind_int64(x->set_origin, 2, (sqlite3_int64)x->numbers[i]);
        r = embedded_sql_run(x->db, x->set_origin, err);
    }
    if (!r)
        r = embedded_sql_run(x->db, x->commit, err);
    if (!r)
        x->report->made += n;
    return r;
}

static enum result write_batch(struct edition *x, struct err *err)
{
    struct store_write writes[BATCH] = {0};
    struct buf thumbnails[BATCH], originals[BATCH];
    size_t from = 0, bytes = 0;
    enum result r = ERR_OK;
    for (size_t i = 0; i < BATCH; i++) {
        buf_init(&thumbnails[i], LIMIT_THUMBNAIL_BYTES);
        buf_init(&originals[i], LIMIT_BODY);
    }
    for (size_t i = 0; !r && i < x->count; i++) {
        const struct store_record *record = &x->records[i];
        if (!x->made[i]) {
            r = note_failed(x, record->fileid, err);
            continue;
        }
        r = keep(x, i, false, &thumbnails[i], err);
        if (!r)
            r = keep(x, i, true, &originals[i], err);
        writes[i] = (struct store_write){.kind = STORE_PUT, .fileid = record->fileid, .has_itemid = true,
            .itemid = record->itemid, .tags = record->tags, .brief = record->brief,
            .vector = x->vectors + i * x->settings.descriptor, .dimension = x->settings.descriptor,
            .thumbnail = (const uint8_t *)thumbnails[i].data, .thumbnail_len = thumbnails[i].len,
            .original = (const uint8_t *)originals[i].data, .original_len = originals[i].len};
        bytes += thumbnails[i].len + originals[i].len;
        if (r || bytes < WRITE_BYTES)
            continue;
        r = write_made(x, from, i + 1, writes, err);
        for (; from <= i; from++) {
            buf_free(&thumbnails[from]);
            buf_free(&originals[from]);
        }
        bytes = 0;
    }
    if (!r)
        r = write_made(x, from, x->count, writes, err);
    for (size_t i = 0; i < BATCH; i++) {
        buf_free(&thumbnails[i]);
        buf_free(&originals[i]);
    }
    return r;
}

static enum result go_on(struct edition *x, struct err *err)
{
    if (x->options->progress && x->options->progress(x->options->user, x->done, x->total))
        return err_set(err, ERR_UNAVAILABLE, "re-embedding was stopped; what has been made stays, and the next time goes on from there");
    if (embedded_registry_wanted(x->e, x->entry))
        return err_set(err, ERR_NOT_FOUND, "the collection is being dropped");
    if (!x->alone && embedded_registry_leaving(x->e, x->entry)) {
        x->again = true;
        return err_set(err, ERR_BUSY, "the collection is being opened anew");
    }
    return ERR_OK;
}

static void empty_batch(struct edition *x)
{
    for (size_t i = 0; i < x->count; i++) {
        free(x->records[i].tags);
        free(x->records[i].brief);
    }
    x->count = 0;
}

static enum result flush(struct edition *x, struct err *err)
{
    struct store_reembed_batch batch = {.count = x->count, .records = x->records, .out = x->vectors, .made = x->made, .state = x};
    if (x->count == 0)
        return ERR_OK;
    enum result r = go_on(x, err);
    if (!r)
        r = x->options->make(x->options->user, &batch, err);
    if (!r)
        r = write_batch(x, err);
    empty_batch(x);
    return r;
}

static enum result put_off(struct edition *x, struct seen *seen, struct err *err)
{
    size_t i = x->count++;
    x->records[i] = (struct store_record){.fileid = seen->row.fileid, .itemid = seen->row.itemid,
        .tags = seen->tags, .brief = seen->brief, .has_thumbnail = seen->row.picture && x->settings.thumbnails};
    x->numbers[i] = seen->row.number;
    x->pictures[i] = seen->row.picture;
    x->made[i] = false;
    *seen = (struct seen){0};
    return x->count == BATCH ? flush(x, err) : ERR_OK;
}

/* Bring what the second edition has of a fileid to what the first has. What needs a vector waits for a whole batch. */
static enum result consider(struct edition *x, int64_t fileid, struct err *err)
{
    struct seen now = {0}, then = {0};
    bool same = false;
    enum result r = look(x->first, fileid, &now, err);
    if (!r && now.there && now.row.number >= x->until)
        goto out;
    if (!r)
        r = look(x->second, fileid, &then, err);
    if (!r && now.there && then.there)
        r = made_from(x, fileid, now.row.number, &same, err);
    if (r)
        goto out;
    if (!now.there && then.there) {
        r = write_one(x, &(struct store_write){.kind = STORE_DELETE, .fileid = fileid}, err);
    } else if (now.there && !same) {
        r = put_off(x, &now, err);
    } else if (now.there && (now.row.itemid != then.row.itemid || strcmp(now.tags, then.tags) || strcmp(now.brief, then.brief))) {
        r = write_one(x, &(struct store_write){.kind = STORE_UPDATE, .fileid = fileid, .has_itemid = true,
            .itemid = now.row.itemid, .tags = now.tags, .brief = now.brief}, err);
    }
out:
    forget(&now);
    forget(&then);
    return r;
}

/* --- all records ----------------------------------------------------------------------------------------------- */

/* Fileids behind `after`, in order. */
static enum result page(struct embedded_collection *c, bool from_start, int64_t after, int64_t *out, size_t *count, struct err *err)
{
    struct embedded_reader *reader = NULL;
    bool row = false;
    size_t n = 0;
    enum result r = embedded_readers_take(&c->readers, CLOCK_NO_DEADLINE, &reader, err);
    if (r)
        return r;
    sqlite3_stmt *stmt = from_start ? reader->browse_all : reader->browse;
    if (!from_start)
        sqlite3_bind_int64(stmt, 1, after);
    sqlite3_bind_int64(stmt, 2, PAGE);
    while (!(r = embedded_sql_row(reader->db, stmt, &row, err)) && row && n < PAGE)
        out[n++] = sqlite3_column_int64(stmt, EMBEDDED_COL_FILEID);
    sqlite3_reset(stmt);
    embedded_readers_give(&c->readers, reader);
    *count = n;
    return r;
}

/* Every fileid that is in `c`. */
static enum result compare(struct edition *x, struct embedded_collection *c, bool counts, struct err *err)
{
    int64_t fileids[PAGE], after = 0;
    size_t n = 0;
    bool from_start = true;
    enum result r;
    while (!(r = go_on(x, err)) && !(r = page(c, from_start, after, fileids, &n, err)) && n > 0) {
        for (size_t i = 0; !r && i < n; i++) {
            if (counts && x->done < x->total)
                x->done++;
            r = consider(x, fileids[i], err);
        }
        if (r)
            return r;
        after = fileids[n - 1];
        from_start = false;
    }
    return r ? r : flush(x, err);
}

/* What is written meanwhile comes through the tap. To make it here would be to run after a writer that adds as fast as records
 * are made, and whose fileids lie ahead. */
static enum result compare_all(struct edition *x, struct err *err)
{
    x->done = 0;
    x->total = atomic_load(&x->first->count);
    x->until = atomic_load(&x->first->number);
    enum result r = compare(x, x->first, true, err);
    if (!r)
        r = compare(x, x->second, false, err);
    x->until = UINT64_MAX;
    return r;
}

/* What came through the tap. *count: how many. */
static enum result take_tap(struct edition *x, size_t *count, struct err *err)
{
    bool lost = false;
    enum result r = ERR_OK;
    int64_t *fileids = embedded_tap_take(&x->first->tap, count, &lost);
    for (size_t i = 0; !r && i < *count; i++)
        r = consider(x, fileids[i], err);
    free(fileids);
    if (!r)
        r = flush(x, err);
    return !r && lost ? compare_all(x, err) : r;
}

/* Fileids that came through the tap and wait. */
struct waiting {
    int64_t *fileids;
    size_t from, to, room;
};

/* *came: how many more wait now. */
static enum result add_waiting(struct edition *x, struct waiting *w, size_t *came, struct err *err)
{
    bool lost = false;
    int64_t *fileids = embedded_tap_take(&x->first->tap, came, &lost);
    if (*came && w->room - w->to < *came) {
        size_t left = w->to - w->from, room = 2 * (left + *came);
        int64_t *grown = malloc(room * sizeof *grown);
        if (!grown) {
            free(fileids);
            return err_no_memory(err);
        }
        if (left)
            memcpy(grown, w->fileids + w->from, left * sizeof *grown);
        free(w->fileids);
        *w = (struct waiting){.fileids = grown, .to = left, .room = room};
    }
    if (*came)
        memcpy(w->fileids + w->to, fileids, *came * sizeof *fileids);
    w->to += *came;
    free(fileids);
    return lost ? compare_all(x, err) : ERR_OK;
}

/* So many of those that wait; `held`: while writers wait as well. */
static enum result make_some(struct edition *x, struct waiting *w, size_t count, bool held, struct err *err)
{
    enum result r = held ? embedded_collection_hold(x->first, CLOCK_NO_DEADLINE, err) : ERR_OK;
    if (r)
        return r;
    for (size_t i = 0; !r && i < count && w->from < w->to; i++)
        r = consider(x, w->fileids[w->from++], err);
    if (!r)
        r = flush(x, err);
    if (held)
        embedded_collection_resume(x->first);
    return r;
}

/*
 * Until little is left. Where during a stretch more came than half of what was made, writers are held up for the next one, which
 * is twice as long as what came: so they are slowed down as far as is needed, and less and less is left, whoever writes. Searches
 * never wait.
 */
static enum result catch_up(struct edition *x, struct err *err)
{
    struct waiting w = {0};
    size_t came = 0, made = BATCH;
    enum result r = add_waiting(x, &w, &came, err);
    came = 0;
    while (!r && w.to - w.from > FEW) {
        bool held = 2 * came > made;
        made = held && 2 * came > BATCH ? 2 * came : BATCH;
        r = make_some(x, &w, made, held, err);
        if (!r)
            r = add_waiting(x, &w, &came, err);
    }
    if (!r)
        r = make_some(x, &w, FEW, false, err);
    free(w.fileids);
    return r;
}

/* Those that failed may have been changed under our hands: each is looked at once more. */
static enum result try_failed(struct edition *x, struct err *err)
{
    size_t n = x->failed_count;
    int64_t *failed = malloc((n + 1) * sizeof *failed);
    if (!failed)
        return err_no_memory(err);
    memcpy(failed, x->failed, n * sizeof *failed);
    x->failed_count = 0;
    enum result r = ERR_OK;
    for (size_t i = 0; !r && i < n; i++)
        r = consider(x, failed[i], err);
    free(failed);
    return r ? r : flush(x, err);
}

static enum result follow(struct edition *x, struct err *err)
{
    enum result r = compare_all(x, err);
    if (!r)
        r = catch_up(x, err);
    return r ? r : try_failed(x, err);
}

static enum result last(void *user, struct err *err)
{
    struct edition *x = user;
    size_t n;
    x->alone = true;
    enum result r = take_tap(x, &n, err);
    if (!r && x->failed_count > 0)
        r = err_set(err, ERR_NOT_FOUND, "%zu records cannot be made anew", x->failed_count);
    x->report->records = atomic_load(&x->second->count);
    embedded_tap_shut(&x->first->tap); /* while the first is still ours */
    if (!r)
        close_second(x);
    return r;
}

/* With the tap open. */
static enum result run(struct edition *x, struct err *err)
{
    enum result r = find_second(x, err);
    if (!r)
        r = follow(x, err);
    if (!r && x->failed_count == 0) {
        r = embedded_registry_replace(x->e, x->entry, x->path, last, x, err);
        x->entry = NULL; /* given back in any case */
    }
    empty_batch(x);
    close_second(x);
    return r;
}

static enum result take_first(struct edition *x, struct err *err)
{
    enum result r = embedded_registry_take(x->e, x->name, &x->entry, &x->first, err);
    if (r)
        return r;
    const struct store_settings *s = &x->first->meta.settings;
    x->settings = x->options->settings;
    x->settings.metric = s->metric;
    x->settings.thumbnails = s->thumbnails;
    x->settings.originals = s->originals;
    if (embedded_tap_open(&x->first->tap))
        return ERR_OK;
    embedded_registry_give(x->e, x->entry);
    x->entry = NULL;
    return err_set(err, ERR_EXISTS, "collection \"%.64s\" is being re-embedded already", x->name);
}

/* As often as the first has to be closed in between. */
static enum result run_all(struct edition *x, struct err *err)
{
    enum result r;
    do {
        x->again = x->alone = false;
        x->until = UINT64_MAX;
        x->failed_count = 0;
        r = take_first(x, err);
        if (!r)
            r = run(x, err);
        if (x->entry) {
            embedded_tap_shut(&x->first->tap);
            embedded_registry_give(x->e, x->entry);
            x->entry = NULL;
        }
    } while (r && x->again);
    return r;
}

enum result embedded_reembed(void *state, const char *collection, const struct store_reembed_options *options,
    struct store_reembed_report *out, struct err *err)
{
    struct store_reembed_report report = {0};
    struct err why = {0};
    struct edition *x = calloc(1, sizeof *x);
    if (!x)
        return err_no_memory(err);
    *x = (struct edition){.e = state, .name = collection, .options = options, .report = &report};
    x->vectors = malloc(BATCH * (size_t)options->settings.descriptor * sizeof *x->vectors);
    x->failed = malloc(LIMIT_REEMBED_FAILED * sizeof *x->failed);
    enum result r = x->vectors && x->failed ? run_all(x, &why) : err_no_memory(&why);
    if (r == ERR_NOT_FOUND && x->alone && x->failed_count > 0)
        r = ERR_OK; /* what the report says */
    report.failed = x->failed_count;
    for (size_t i = 0; i < x->failed_count && i < STORE_REEMBED_FAILED; i++)
        report.fileids[i] = x->failed[i];
    free(x->vectors);
    free(x->failed);
    free(x);
    if (!r)
        *out = report;
    else if (err)
        *err = why;
    return r;
}

enum result embedded_unreembed(void *state, const char *collection, struct err *err)
{
    char path[EMBEDDED_PATH_MAX];
    struct edition x = {.e = state, .name = collection};
    enum result r = embedded_registry_take(x.e, x.name, &x.entry, &x.first, err);
    if (r)
        return r;
    if (!embedded_tap_open(&x.first->tap)) {
        r = err_set(err, ERR_EXISTS, "collection \"%.64s\" is being re-embedded: stop that first", x.name);
    } else {
        r = embedded_registry_second(x.e, x.name, path, err);
        if (!r)
            r = embedded_remove_folder(x.e->sys, path, err);
        embedded_tap_shut(&x.first->tap);
    }
    embedded_registry_give(x.e, x.entry);
    return r;
}
