#include "store/tune.h"

#include "base/parse.h"
#include "store/store_backend.h"

static enum result check(struct store *store, const char *collection, struct err *err)
{
    if (!parse_is_collection_name(collection))
        return err_set_field(err, ERR_INVALID, "collection", "that is no name of a collection");
    if (!store->backend->tune)
        return err_set(err, ERR_UNSUPPORTED, "the %s backend cannot learn from its pictures", store->backend->name);
    return ERR_OK;
}

enum result store_tune(struct store *store, const char *collection, const struct store_tune_options *options,
    struct store_tune_report *out, struct err *err)
{
    const struct store_tune_options usual = {0};
    enum result r = check(store, collection, err);
    return r ? r : store->backend->tune(store->state, collection, options ? options : &usual, out, err);
}

enum result store_untune(struct store *store, const char *collection, struct err *err)
{
    enum result r = check(store, collection, err);
    return r ? r : store->backend->untune(store->state, collection, err);
}

enum result store_eval(struct store *store, const char *collection, const struct store_tune_options *options,
    struct store_eval_report *out, struct err *err)
{
    const struct store_tune_options usual = {0};
    enum result r = check(store, collection, err);
    return r ? r : store->backend->eval(store->state, collection, options ? options : &usual, out, err);
}
