/*
 * Who is inside. A search marks its place with the number of the epoch in which it began; whoever wants to
 * use a node again first makes it unreachable, then begins a new epoch and waits for all marks of the old
 * ones to go.
 *
 * The mark is an exchange, not a store: nothing that the search reads afterwards may be read before the mark
 * can be seen. Rejected: hazard pointers (a store and a fence for each node of a walk), and a read-write lock
 * around searches (a writer that waits would make searches wait).
 */
#include "index/internal.h"

#include <sched.h>
#include <time.h>

unsigned index_enter(struct index *ix)
{
    static _Thread_local unsigned last;
    for (unsigned i = last, tries = 1;; i = (i + 1) % INDEX_READERS, tries++) {
        uint64_t idle = 0;
        if (atomic_load_explicit(&ix->readers[i].epoch, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&ix->readers[i].epoch, &idle, UINT64_MAX)) {
            /* UINT64_MAX kept the place; the number must be read after it was taken, or it could be too new
             * to count. */
            atomic_exchange(&ix->readers[i].epoch, atomic_load(&ix->epoch));
            last = i;
            return i;
        }
        if (tries % INDEX_READERS == 0)
            sched_yield();
    }
}

void index_leave(struct index *ix, unsigned place)
{
    atomic_store_explicit(&ix->readers[place].epoch, 0, memory_order_release);
}

void index_quiet(struct index *ix)
{
    uint64_t old = atomic_fetch_add(&ix->epoch, 1);
    for (unsigned i = 0; i < INDEX_READERS; i++)
        for (unsigned tries = 0;; tries++) {
            uint64_t e = atomic_load(&ix->readers[i].epoch);
            /* A place that is being taken may have read the number already. */
            if (e == 0 || (e > old && e != UINT64_MAX))
                break;
            if (tries < 100)
                sched_yield();
            else
                nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
}
