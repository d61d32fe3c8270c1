/* store/tune.h for the embedded store; `state` is the store's. */
#ifndef STORE_EMBEDDED_TUNE_H
#define STORE_EMBEDDED_TUNE_H

#include "store/tune.h"

enum result embedded_tune(void *state, const char *collection, const struct store_tune_options *options,
    struct store_tune_report *out, struct err *err) ERR_MUST_USE;
enum result embedded_untune(void *state, const char *collection, struct err *err) ERR_MUST_USE;
enum result embedded_eval(void *state, const char *collection, const struct store_tune_options *options,
    struct store_eval_report *out, struct err *err) ERR_MUST_USE;

#endif
