/*
 * Opens the parts named by a configuration in their order and puts them together: store, model, fetch, pipeline.
 * Used by `serve` and by the commands that open a store directly (--data).
 *
 * A model's name is looked for in: --models, DATA/models, and beside the program (models/, ../models/,
 * ../share/lookalike/models/).
 */
#ifndef SERVER_WIRING_H
#define SERVER_WIRING_H

#include "pipeline/pipeline.h"
#include "server/config.h"

struct wiring;

/* `with_model` false: only the store is opened, and wiring_pipeline() is NULL. */
enum result wiring_open(const struct config *config, bool with_model, struct wiring **out, struct err *err) ERR_MUST_USE;
void wiring_close(struct wiring *wiring);
struct pipeline *wiring_pipeline(struct wiring *wiring);
struct store *wiring_store(struct wiring *wiring);

/* A store alone, of the kind named ("embedded" or "milvus"): for commands that need two. store_close() it. */
enum result wiring_open_store(
    const struct config *config, const char *backend, struct store **out, struct err *err) ERR_MUST_USE;

#endif
