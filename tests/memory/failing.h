/* Allocations that fail: the linker sends those of our own code here (-Wl,--wrap), and one of them gets NULL. */
#ifndef TESTS_MEMORY_FAILING_H
#define TESTS_MEMORY_FAILING_H

#include <stdbool.h>

/* The n-th allocation from now on, of any thread, fails; 0: none does. */
void failing_at(long n);
/* Whether one has failed since. */
bool failing_happened(void);
long failing_count(void); /* allocations since failing_at() */

#endif
