/*
 * tune: the slots of one moment are listed, a projection is learned from their descriptors where they lie, past queries
 * give the second mean, the hubs' numbers and the places they draw rows to, and all of it is written to the file
 * projection. Then the collection is opened anew, which is what makes it count.
 *
 * While it learns it holds a snapshot, so that no slot is used for another record meanwhile; searches and writes go on.
 *
 * Only pictures that stand alone for their item are drawn and lose score as hubs. Of an item with many photos one is near
 * any query's photo anyway, and lessening its score took a point from photo → photo, where it gave 20 to shop pictures.
 * The weight of the hubs' number is therefore the part of the items that have one picture.
 *
 * eval: two halves of the items, by a hash of the itemid; each is judged by what was learned from the other.
 */
#include "store/embedded/tune.h"

#include "base/clock.h"
#include "learn/adapt.h"
#include "learn/measure.h"
#include "store/embedded/registry.h"
#include "store/store_backend.h"

#include <inttypes.h>
#include <math.h>

#define EVAL_ROWS 4000u
#define EVAL_ITEMS_MIN 4u
#define COPIES 4u        /* of one picture, the first of them as it is */
#define COPIED_MAX 400u  /* pictures */
#define PAST_GROUP INT64_MIN /* groups of past queries: one each, from here on */

struct row {
    int64_t itemid, fileid;
    uint64_t number;
    uint32_t slot;
};

struct tune {
    struct embedded_collection *c;
    const struct store_tune_options *options;
    struct row *rows; /* sorted by item and fileid */
    size_t count;
    float *past; /* descriptors of past queries */
    size_t past_count, past_used; /* used: learned from; none of too few */
    float *copies; /* descriptors of changed copies of `copied` pictures, COPIES each */
    size_t copied;
    double from, to; /* of the progress */
};

static int compare_rows(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    if (a->itemid != b->itemid)
        return a->itemid < b->itemid ? -1 : 1;
    return (a->fileid > b->fileid) - (a->fileid < b->fileid);
}

static enum result list_rows(struct tune *t, uint64_t seq, struct err *err)
{
    struct embedded_slots *slots = &t->c->slots;
    uint32_t used = atomic_load_explicit(&slots->used, memory_order_acquire);
    t->rows = malloc((used + 1u) * sizeof *t->rows);
    if (!t->rows)
        return err_no_memory(err);
    for (uint32_t i = 0; i < used; i++) {
        if (!embedded_slots_has(slots, i))
            continue;
        struct embedded_slot *slot = embedded_slots_at(slots, i);
        if (embedded_slot_visible(slot, seq) && embedded_collection_sound(t->c, i))
            t->rows[t->count++] = (struct row){atomic_load(&slot->itemid), slot->fileid, slot->number, i};
    }
    qsort(t->rows, t->count, sizeof *t->rows, compare_rows);
    return ERR_OK;
}

/* The descriptors of rows, behind them of past queries, and then of copies; as struct learn_set wants it. */
static enum result read_rows(void *user, const size_t *which, size_t n, float *out, struct err *err)
{
    const struct tune *t = user;
    size_t d = t->c->meta.settings.descriptor;
    for (size_t i = 0; i < n; i++) {
        if (which[i] >= t->count + t->past_used)
            memcpy(out + i * d, t->copies + (which[i] - t->count - t->past_used) * d, d * sizeof *out);
        else if (which[i] >= t->count)
            memcpy(out + i * d, t->past + (which[i] - t->count) * d, d * sizeof *out);
        else
            t->c->kernel->f16_to_f32(
                (const uint16_t *)(const void *)embedded_vectors_at(&t->c->vectors, t->rows[which[i]].slot),
                out + i * d, d);
    }
    return ERR_OK;
}

static bool on_progress(void *user, double done)
{
    const struct tune *t = user;
    return t->options->progress && t->options->progress(t->options->user, t->from + (t->to - t->from) * done);
}

static uint64_t mix(int64_t item)
{
    uint64_t x = (uint64_t)item * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 27);
}

/* `half` 0 or 1: only the items of that half count as items; -1: all do. */
static enum result fit(struct tune *t, int half, struct learn_projection *p, struct err *err)
{
    struct learn_shape shape;
    t->past_used = t->past_count >= LEARN_QUERIES_MIN ? t->past_count : 0;
    size_t real = t->count + t->past_used, n = real + t->copied * COPIES;
    int64_t *group = malloc((n + 1) * sizeof *group);
    uint8_t *side = calloc(n + 1, 1), *kind = calloc(n + 1, 1);
    enum result r = group && side && kind ? embedded_space_shape(t->c, t->options, &shape, err) : err_no_memory(err);
    for (size_t i = 0; !r && i < n; i++) {
        bool counts = i < t->count && (half < 0 || (mix(t->rows[i].itemid) & 1) == (uint64_t)half);
        group[i] = counts ? t->rows[i].itemid : i < real ? PAST_GROUP + (int64_t)i : (int64_t)((i - real) / COPIES);
        side[i] = i < t->count || i >= real ? LEARN_ROW : LEARN_QUERY;
        kind[i] = i < real ? LEARN_PICTURE : LEARN_COPY;
    }
    struct learn_set set = {
        .count = n, .group = group, .kind = kind, .side = side, .read = read_rows, .user = t, .progress = on_progress};
    if (!r)
        r = learn_fit(&shape, &set, &(struct learn_options){0}, p, err);
    free(group);
    free(side);
    free(kind);
    return r;
}

/* --- changed copies --------------------------------------------------------------------------------------- */

/* Which pictures to copy, evenly over all of them: none where enough items have several. */
static size_t choose_pictures(const struct tune *t, int64_t *fileids)
{
    size_t several = 0, n = t->count < COPIED_MAX ? t->count : COPIED_MAX;
    for (size_t i = 1; i < t->count; i++)
        several += t->rows[i].itemid == t->rows[i - 1].itemid && (i < 2 || t->rows[i].itemid != t->rows[i - 2].itemid);
    if (several >= STORE_TUNE_ITEMS || t->count < LEARN_ROWS_MIN)
        return 0;
    for (size_t i = 0; i < n; i++)
        fileids[i] = t->rows[i * t->count / n].fileid;
    return n;
}

/* The collection is given back while copies are made: that uses it, and takes its time. */
static enum result make_copies(struct tune *t, void *state, const char *collection, struct err *err)
{
    struct entry *entry = NULL;
    struct embedded_snapshot snapshot;
    int64_t fileids[COPIED_MAX];
    bool made[COPIED_MAX] = {false};
    enum result r = embedded_registry_take(state, collection, &entry, &t->c, err);
    if (r)
        return r;
    size_t d = t->c->meta.settings.descriptor, n = 0, kept = 0;
    embedded_slots_enter(&t->c->slots, &snapshot);
    r = list_rows(t, snapshot.seq, err);
    embedded_slots_leave(&t->c->slots, &snapshot);
    if (!r)
        n = choose_pictures(t, fileids);
    embedded_registry_give(state, entry);
    free(t->rows);
    t->rows = NULL;
    t->count = 0;
    if (!r && n)
        t->copies = malloc(n * COPIES * d * sizeof *t->copies);
    if (!r && n)
        r = t->copies ? t->options->copies(
                            t->options->copier, &(struct store_copies){fileids, n, COPIES, t->copies, made}, err)
                      : err_no_memory(err);
    for (size_t i = 0; !r && i < n; i++)
        if (made[i])
            memmove(t->copies + kept++ * COPIES * d, t->copies + i * COPIES * d, COPIES * d * sizeof *t->copies);
    t->copied = r ? 0 : kept;
    t->from = n ? 0.5 : 0;
    return r;
}

/* --- past queries ----------------------------------------------------------------------------------------- */

struct drawing {
    float *places; /* of the rows that stand alone for their item */
    size_t *of;    /* which rows those are */
    size_t n;
};

static enum result project_singles(
    struct tune *t, const struct learn_projection *p, struct drawing *g, struct err *err)
{
    size_t d = p->shape.dimension, items = 0;
    float *x = malloc(256 * d * sizeof *x);
    g->of = malloc((t->count + 1) * sizeof *g->of);
    for (size_t i = 0, end; g->of && i < t->count; i = end) {
        for (end = i + 1; end < t->count && t->rows[end].itemid == t->rows[i].itemid;)
            end++;
        items++;
        if (end - i == 1)
            g->of[g->n++] = i;
    }
    g->places = malloc((g->n + 1) * p->out * sizeof *g->places);
    enum result r = x && g->of && g->places ? ERR_OK : err_no_memory(err);
    for (size_t at = 0; !r && at < g->n; at += 256) {
        size_t step = g->n - at < 256 ? g->n - at : 256;
        r = read_rows(t, g->of + at, step, x, err);
        if (!r)
            r = learn_project(p, LEARN_ROW, x, step, g->places + at * p->out, err);
    }
    free(x);
    return r;
}

static int compare_drawn(const void *x, const void *y)
{
    const struct embedded_drawn *a = x, *b = y;
    return (a->fileid > b->fileid) - (a->fileid < b->fileid);
}

/* What moved, in the order of fileids. */
static enum result keep_drawn(
    struct tune *t, struct embedded_space *s, const struct drawing *g, const bool *moved, struct err *err)
{
    size_t out = s->p.out, n = 0;
    struct from {
        struct embedded_drawn drawn;
        size_t at;
    } *list = malloc((g->n + 1) * sizeof *list);
    for (size_t i = 0; list && i < g->n; i++) {
        const struct row *row = &t->rows[g->of[i]];
        if (moved[i])
            list[n++] = (struct from){{row->fileid, row->number}, i};
    }
    s->drawn = malloc((n + 1) * sizeof *s->drawn);
    s->places = malloc((n + 1) * out * sizeof *s->places);
    enum result r = list && s->drawn && s->places ? ERR_OK : err_no_memory(err);
    if (!r)
        qsort(list, n, sizeof *list, compare_drawn); /* the drawn come first in it */
    for (size_t i = 0; !r && i < n; i++) {
        s->drawn[i] = list[i].drawn;
        memcpy(s->places + i * out, g->places + list[i].at * out, out * sizeof *s->places);
    }
    s->drawn_count = r ? 0 : (uint32_t)n;
    free(list);
    return r;
}

static enum result use_past(struct tune *t, struct embedded_space *s, struct err *err)
{
    struct drawing g = {0};
    size_t out = s->p.out, items = 0;
    if (t->past_count < LEARN_QUERIES_MIN)
        return ERR_OK;
    for (size_t i = 0; i < t->count; i++)
        items += i == 0 || t->rows[i].itemid != t->rows[i - 1].itemid;
    s->queries = malloc(t->past_count * out * sizeof *s->queries);
    enum result r = s->queries ? learn_project(&s->p, LEARN_QUERY, t->past, t->past_count, s->queries, err)
                               : err_no_memory(err);
    if (!r)
        r = project_singles(t, &s->p, &g, err);
    bool *moved = calloc(g.n + 1, sizeof *moved);
    float *hubs = calloc(g.n + 1, sizeof *hubs);
    if (!r && (!moved || !hubs))
        r = err_no_memory(err);
    s->query_count = (uint32_t)t->past_count;
    s->weight = items ? (float)g.n / (float)items : 0;
    struct learn_background background = {s->queries, t->past_count, s->p.out};
    struct learn_drawing drawing = {
        .rows = g.places, .n = g.n, .weight = s->weight, .moved = moved, .hubness = hubs};
    if (!r && g.n)
        r = learn_draw(&background, &drawing, err);
    if (!r)
        r = keep_drawn(t, s, &g, moved, err);
    s->floor = g.n && !r ? INFINITY : 0;
    for (size_t i = 0; !r && i < g.n; i++)
        s->floor = fminf(s->floor, hubs[i]);
    free(g.places);
    free(g.of);
    free(moved);
    free(hubs);
    return r;
}

/* --- the calls -------------------------------------------------------------------------------------------- */

static enum result learn_and_save(struct tune *t, struct store_tune_report *out, struct err *err)
{
    struct embedded_space space;
    struct embedded_snapshot snapshot;
    embedded_space_init(&space);
    embedded_past_save(&t->c->past);
    embedded_slots_enter(&t->c->slots, &snapshot);
    t->past = embedded_past_copy(&t->c->past, &t->past_count);
    enum result r = list_rows(t, snapshot.seq, err);
    if (!r)
        r = fit(t, -1, &space.p, err);
    if (!r)
        r = use_past(t, &space, err);
    space.version = ((uint64_t)clock_now_us() ^ mix((int64_t)t->c->space.version)) | 1; /* another one each time */
    if (!r)
        r = embedded_space_save(t->c, &space, err);
    embedded_slots_leave(&t->c->slots, &snapshot);
    if (!r)
        *out = (struct store_tune_report){.rows = space.p.rows, .items = space.p.groups - space.p.copies, .dimension = space.p.out,
            .shrink = space.p.shrink, .queries = space.query_count, .drawn = space.drawn_count, .copied = t->copied};
    embedded_space_free(&space);
    free(t->rows);
    free(t->past);
    return r;
}

enum result embedded_tune(void *state, const char *collection, const struct store_tune_options *options,
    struct store_tune_report *out, struct err *err)
{
    struct tune t = {.options = options, .to = 1};
    struct entry *entry = NULL;
    enum result r = options->copies ? make_copies(&t, state, collection, err) : ERR_OK;
    if (!r)
        r = embedded_registry_take(state, collection, &entry, &t.c, err);
    if (r)
        goto out;
    if (t.c->meta.settings.metric != STORE_L2)
        r = err_set(err, ERR_UNSUPPORTED,
            "collection \"%s\" compares by another metric than L2, and learning needs L2: make one with METRIC_TYPE=L2",
            collection);
    else
        r = learn_and_save(&t, out, err);
    embedded_registry_give(state, entry);
    if (!r)
        r = embedded_registry_reopen(state, collection, err);
out:
    free(t.copies);
    return r;
}

enum result embedded_untune(void *state, const char *collection, struct err *err)
{
    struct embedded_collection *c = NULL;
    struct entry *entry = NULL;
    enum result r = embedded_registry_take(state, collection, &entry, &c, err);
    if (r)
        return r;
    r = embedded_space_remove(c, err);
    embedded_registry_give(state, entry);
    return r ? r : embedded_registry_reopen(state, collection, err);
}

/* --- eval ------------------------------------------------------------------------------------------------- */

struct judging {
    size_t *which; /* rows of items with several pictures */
    int64_t *group;
    size_t n;
    struct learn_verdict *verdicts[2]; /* plain, tuned */
    size_t count[2];
};

/* The rows of items with several pictures of one half, at most EVAL_ROWS / 2 of them. */
static void choose_half(const struct tune *t, uint64_t half, struct judging *j, size_t *items)
{
    j->n = 0;
    for (size_t i = 0, end; i < t->count; i = end) {
        for (end = i + 1; end < t->count && t->rows[end].itemid == t->rows[i].itemid;)
            end++;
        if (end - i < 2 || (mix(t->rows[i].itemid) & 1) != half || j->n + (end - i) > EVAL_ROWS / 2)
            continue;
        ++*items;
        for (size_t k = i; k < end; k++) {
            j->which[j->n] = k;
            j->group[j->n++] = t->rows[k].itemid;
        }
    }
}

/* Leave one out among the chosen rows, x of n × d unit vectors. */
static enum result judge(struct judging *j, int kind, const float *x, size_t d, struct err *err)
{
    float *score = malloc((j->n + 1) * sizeof *score);
    const struct kernel *kernel = kernel_get();
    if (!score)
        return err_no_memory(err);
    for (size_t i = 0; i < j->n; i++) {
        for (size_t k = 0; k < j->n; k++)
            score[k] = kernel->dot_f32(x + i * d, x + k * d, d);
        struct learn_ranking ranking = {score, j->group, j->n, i, j->group[i]};
        if (learn_judge(&ranking, &j->verdicts[kind][j->count[kind]]) == ERR_OK)
            j->count[kind]++;
    }
    free(score);
    return ERR_OK;
}

static enum result eval_half(struct tune *t, uint64_t half, struct judging *j, size_t *items, struct err *err)
{
    struct learn_projection p = {0};
    size_t d = t->c->meta.settings.descriptor, plain = t->c->meta.settings.dimension;
    choose_half(t, half, j, items);
    float *x = malloc((j->n + 1) * d * sizeof *x), *y = malloc((j->n + 1) * LEARN_OUT_MAX * sizeof *y);
    enum result r = x && y ? ERR_OK : err_no_memory(err);
    if (!r)
        r = fit(t, (int)(1 - half), &p, err);
    if (!r)
        r = read_rows(t, j->which, j->n, x, err);
    if (!r)
        r = learn_project(&p, LEARN_ROW, x, j->n, y, err);
    if (!r)
        r = judge(j, 1, y, p.out, err);
    for (size_t i = 0; !r && i < j->n; i++)
        memmove(x + i * plain, x + i * d, plain * sizeof *x);
    if (!r)
        r = judge(j, 0, x, plain, err);
    learn_projection_free(&p);
    free(x);
    free(y);
    return r;
}

static enum result summarise(const struct judging *j, int kind, struct store_eval_figures *out, struct err *err)
{
    struct learn_measure m = {0};
    enum result r = learn_summarise(j->verdicts[kind], j->count[kind], &m, err);
    if (r)
        return r;
    *out = (struct store_eval_figures){.value = {m.r1, m.r5, m.map10}};
    memcpy(out->low, m.low, sizeof m.low);
    memcpy(out->high, m.high, sizeof m.high);
    return ERR_OK;
}

static enum result eval_both(struct tune *t, struct judging *j, struct store_eval_report *out, struct err *err)
{
    struct store_eval_report made = {0};
    size_t items = 0;
    enum result r = ERR_OK;
    for (uint64_t half = 0; !r && half < 2; half++) {
        t->from = (double)half / 2;
        t->to = t->from + 0.5;
        r = eval_half(t, half, j, &items, err);
    }
    if (!r && items < EVAL_ITEMS_MIN)
        r = err_set(err, ERR_INVALID,
            "there are %zu items with several pictures, too few to judge by; at least %u are needed", items, EVAL_ITEMS_MIN);
    if (!r)
        r = summarise(j, 0, &made.plain, err);
    if (!r)
        r = summarise(j, 1, &made.tuned, err);
    made.items = items;
    made.queries = j->count[1];
    if (!r)
        *out = made;
    return r;
}

enum result embedded_eval(void *state, const char *collection, const struct store_tune_options *options,
    struct store_eval_report *out, struct err *err)
{
    struct tune t = {.options = options};
    struct judging j = {0};
    struct entry *entry = NULL;
    struct embedded_snapshot snapshot;
    enum result r = embedded_registry_take(state, collection, &entry, &t.c, err);
    if (r)
        return r;
    embedded_slots_enter(&t.c->slots, &snapshot);
    r = list_rows(&t, snapshot.seq, err);
    j.which = malloc(EVAL_ROWS * sizeof *j.which);
    j.group = malloc(EVAL_ROWS * sizeof *j.group);
    j.verdicts[0] = malloc(EVAL_ROWS * sizeof **j.verdicts);
    j.verdicts[1] = malloc(EVAL_ROWS * sizeof **j.verdicts);
    if (!r && (!j.which || !j.group || !j.verdicts[0] || !j.verdicts[1]))
        r = err_no_memory(err);
    if (!r)
        r = eval_both(&t, &j, out, err);
    embedded_slots_leave(&t.c->slots, &snapshot);
    embedded_registry_give(state, entry);
    free(j.which);
    free(j.group);
    free(j.verdicts[0]);
    free(j.verdicts[1]);
    free(t.rows);
    return r;
}
