#include "store/reembed.h"

#include "base/parse.h"
#include "store/store_backend.h"

static enum result check(struct store *store, const char *collection, struct err *err)
{
    if (!parse_is_collection_name(collection))
        return err_set_field(err, ERR_INVALID, "collection", "that is no name of a collection");
    if (!store->backend->reembed)
        return err_set(err, ERR_UNSUPPORTED, "the %s backend cannot compute a collection again; import it anew under another name",
            store->backend->name);
    return ERR_OK;
}

enum result store_reembed(struct store *store, const char *collection, const struct store_reembed_options *options,
    struct store_reembed_report *out, struct err *err)
{
    enum result r = check(store, collection, err);
    if (r)
        return r;
    struct store_reembed_options whole = *options;
    if (!whole.settings.descriptor)
        whole.settings.descriptor = whole.settings.dimension;
    return store->backend->reembed(store->state, collection, &whole, out, err);
}

enum result store_unreembed(struct store *store, const char *collection, struct err *err)
{
    enum result r = check(store, collection, err);
    return r ? r : store->backend->unreembed(store->state, collection, err);
}
