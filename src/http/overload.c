#include "http/overload.h"

#include "base/limits.h"

/* Answers after which the interval between them is believed. */
#define ENOUGH 8
/* In units of the 95th percentile or so of a request that is alone: what one may take, by the estimate, in a full house. */
#define TARGET 1.3
/* Of what can be answered: a load below it is none to turn anybody away for. */
#define FITS 0.95

void overload_init(struct overload *o, unsigned cpus)
{
    *o = (struct overload){.cpus = cpus ? cpus : 1};
    pthread_mutex_init(&o->lock, NULL);
}

void overload_destroy(struct overload *o)
{
    pthread_mutex_destroy(&o->lock);
}

static void learn(double *mean, double value)
{
    *mean = *mean > 0 ? *mean + (value - *mean) / 16 : value;
}

/* What one takes that is alone, at the longest; 0: not yet known. */
static double alone_at_most(const struct overload *o)
{
    return o->alone_us + 2 * o->spread_us;
}

/*
 * The time between two answers, over stretches in which every CPU had work and nobody failed. A longer time than one alone takes
 * twice is not that of work: all of them waited for something else, a store that was away for a moment, and are no reason to turn
 * away whoever comes next.
 */
static void measure_interval(struct overload *o, int64_t now_us)
{
    if (o->inside < o->cpus) {
        o->busy_us = 0;
    } else if (!o->busy_us) {
        o->busy_us = now_us;
        o->busy_answered = o->answered;
    } else if (o->answered - o->busy_answered >= ENOUGH) {
        double one = (double)(now_us - o->busy_us) / (double)(o->answered - o->busy_answered);
        if (o->alone_us > 0 && one > 2 * alone_at_most(o))
            one = 2 * alone_at_most(o);
        o->interval_us = o->interval_us > 0 ? o->interval_us + (one - o->interval_us) / 4 : one;
        o->busy_us = now_us;
        o->busy_answered = o->answered;
    }
}

static void mark(struct overload *o, int64_t now_us)
{
    const int64_t step = OVERLOAD_STEP_MS * 1000;
    int64_t last = o->mark_count ? o->marks[o->mark_count - 1].us : now_us - step;
    if (now_us - last < step)
        return;
    if (now_us - last > 2 * step) /* a gap: what was before says nothing */
        o->mark_count = 0;
    if (o->mark_count == OVERLOAD_STEPS + 1) {
        for (unsigned i = 0; i < OVERLOAD_STEPS; i++)
            o->marks[i] = o->marks[i + 1];
        o->mark_count--;
    }
    o->marks[o->mark_count].us = now_us;
    o->marks[o->mark_count].inside = o->inside;
    o->marks[o->mark_count++].answered = o->answered;
}

/* In every step, by a quarter of what was answered in it; and by half of it over all. A burst grows in one step only. */
static bool grows(const struct overload *o)
{
    double growth = 0, answered = 0;
    if (o->mark_count < OVERLOAD_STEPS + 1)
        return false;
    for (unsigned i = 0; i < OVERLOAD_STEPS; i++) {
        double g = (double)o->marks[i + 1].inside - (double)o->marks[i].inside;
        double a = (double)(o->marks[i + 1].answered - o->marks[i].answered);
        if (a < 1 || g < 1 || g < a / 4) /* nothing answered: it stands still, for a model that is being loaded */
            return false;
        growth += g;
        answered += a;
    }
    return growth >= answered / 2 && o->marks[OVERLOAD_STEPS].inside > 4 * (size_t)o->cpus;
}

/* How many may be inside, so that the last of them has its answer in time. */
static size_t room(const struct overload *o)
{
    double alone = alone_at_most(o);
    if (o->interval_us <= 0 || o->alone_us <= 0)
        return 2 * (size_t)o->cpus;
    /* As many as are worked on at once, which is one where a single request takes every CPU, and one that waits, so that no CPU does. */
    size_t least = (size_t)(o->alone_us / o->interval_us + 0.5) + 1;
    double most = TARGET * alone / o->interval_us;
    return most < (double)least ? least : most > 64.0 * o->cpus ? 64 * (size_t)o->cpus : (size_t)most;
}

/* Of those that came while shedding, over OVERLOAD_CALM_MS: would all of them have been answered? Begins the next such time. */
static bool fits(struct overload *o, int64_t now_us)
{
    double us = (double)(now_us - o->came_since_us), work = (double)o->came * o->interval_us;
    if (us <= OVERLOAD_CALM_MS * 1000.0)
        return false;
    o->came_since_us = now_us;
    o->came = 0;
    return work > 0 && work < FITS * us;
}

static void consider(struct overload *o, int64_t now_us)
{
    bool too_long = o->interval_us * (double)o->inside > LIMIT_WAIT_MS * 1000.0;
    if (!o->shedding && (too_long || grows(o))) {
        o->shedding = true;
        o->refused_us = o->came_since_us = now_us;
        o->came = 0;
    } else if (o->shedding && (now_us - o->refused_us > OVERLOAD_CALM_MS * 1000 || fits(o, now_us))) {
        o->shedding = false;
        o->mark_count = 0;
    }
}

bool overload_enter(struct overload *o, int64_t now_us, struct overload_ticket *ticket)
{
    pthread_mutex_lock(&o->lock);
    measure_interval(o, now_us);
    mark(o, now_us);
    consider(o, now_us);
    o->came++;
    bool may = !o->shedding || o->inside < room(o);
    if (may) {
        *ticket = (struct overload_ticket){.us = now_us, .number = ++o->let_in, .alone = o->inside == 0};
        o->inside++;
    } else {
        o->refused_us = now_us;
    }
    pthread_mutex_unlock(&o->lock);
    return may;
}

void overload_leave(struct overload *o, int64_t now_us, const struct overload_ticket *ticket)
{
    pthread_mutex_lock(&o->lock);
    o->inside--;
    o->answered++;
    if (ticket->failed) {
        o->busy_us = now_us;
        o->busy_answered = o->answered;
    }
    measure_interval(o, now_us);
    mark(o, now_us);
    if (ticket->alone && !ticket->failed && o->let_in == ticket->number) { /* from its beginning to its end */
        double us = (double)(now_us - ticket->us), off = us - o->alone_us;
        if (o->alone_us > 0)
            learn(&o->spread_us, off < 0 ? -off : off);
        learn(&o->alone_us, us);
    }
    pthread_mutex_unlock(&o->lock);
}

bool overload_sheds(struct overload *o)
{
    pthread_mutex_lock(&o->lock);
    bool sheds = o->shedding;
    pthread_mutex_unlock(&o->lock);
    return sheds;
}
