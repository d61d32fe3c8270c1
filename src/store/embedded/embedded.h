/* Inside of the embedded store, for its tests: the same store with other system calls. */
#ifndef STORE_EMBEDDED_EMBEDDED_H
#define STORE_EMBEDDED_EMBEDDED_H

#include "store/embedded/sys.h"
#include "store/store.h"

/* `sys` must outlive the store. */
enum result store_embedded_open_with(const struct store_open_options *options, const struct store_sys *sys,
    struct store **out, struct err *err) ERR_MUST_USE;

/* Save the index of a collection now. ERR_NOT_FOUND where it has none. */
enum result store_embedded_save_index(
    struct store *store, const char *collection, struct err *err) ERR_MUST_USE;

#endif
