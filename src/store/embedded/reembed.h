/* store/reembed.h for the embedded store; `state` is the store's. */
#ifndef STORE_EMBEDDED_REEMBED_H
#define STORE_EMBEDDED_REEMBED_H

#include "store/reembed.h"

enum result embedded_reembed(void *state, const char *collection, const struct store_reembed_options *options,
    struct store_reembed_report *out, struct err *err) ERR_MUST_USE;
enum result embedded_unreembed(void *state, const char *collection, struct err *err) ERR_MUST_USE;

#endif
