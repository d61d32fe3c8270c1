/*
 * What a store has to offer. For the folders store/<backend>/ and store.c only; everybody else includes
 * store.h, whose words bind each function here. store.c checks arguments (names, limits, what must be given)
 * before a call gets here, so that every backend refuses the same things with the same sentence. Vectors are
 * checked with store_vector_to_f16() by the backend, because only it knows the dimension of the collection it
 * is about to use.
 */
#ifndef STORE_STORE_BACKEND_H
#define STORE_STORE_BACKEND_H

#include "store/backup.h"
#include "store/reembed.h"
#include "store/tune.h"
#include "store/store.h"

struct store_backend {
    const char *name;
    void (*close)(void *state);
    /* NULL where nothing outside of this process is needed. */
    enum result (*ready)(void *state, int64_t deadline_ms, struct err *err);
    enum result (*create)(void *state, const char *collection, const struct store_settings *settings,
        int64_t deadline_ms, struct err *err);
    enum result (*drop)(void *state, const char *collection, int64_t deadline_ms, struct err *err);
    enum result (*settings)(void *state, const char *collection, struct store_settings *out, struct err *err);
    enum result (*list)(void *state, char ***names, size_t *count, struct err *err);
    enum result (*stats)(
        void *state, const char *collection, int64_t deadline_ms, struct store_stats *out, struct err *err);
    enum result (*count)(void *state, const char *collection, const struct filter *filter,
        int64_t deadline_ms, uint64_t *out, struct err *err);
    enum result (*write)(void *state, const char *collection, struct store_write *writes, size_t count,
        int64_t deadline_ms, struct err *err);
    enum result (*search)(void *state, const char *collection, const struct store_query *query,
        int64_t deadline_ms, struct store_records *out, struct err *err);
    enum result (*get)(void *state, const char *collection, bool by_item, int64_t id, int64_t deadline_ms,
        struct store_records *out, struct err *err);
    enum result (*browse)(void *state, const char *collection, const struct store_browse *browse,
        int64_t deadline_ms, struct store_records *out, struct err *err);
    /* NULL where the backend cannot. */
    enum result (*facets)(void *state, const char *collection, const struct store_facet_query *query,
        int64_t deadline_ms, struct store_facets *out, struct err *err);
    /* NULL where nothing is known. */
    enum result (*scale)(void *state, const char *collection, struct store_scale *out, struct err *err);
    enum result (*thumbnail)(void *state, const char *collection, int64_t fileid, int64_t deadline_ms,
        struct buf *out, struct err *err);
    /* NULL where originals are not kept. */
    enum result (*original)(void *state, const char *collection, int64_t fileid, int64_t deadline_ms,
        struct buf *out, struct err *err);
    enum result (*check)(void *state, store_check_fn report, void *user, struct err *err);
    /* store/backup.h; NULL where the backend cannot. */
    enum result (*backup)(void *state, const char *folder, const struct store_backup_watch *watch,
        struct store_backup_report *out, struct err *err);
    enum result (*restore)(void *state, const struct store_restore *what, const struct store_backup_watch *watch,
        struct store_backup_report *out, struct err *err);
    /* store/tune.h; NULL where the backend cannot. */
    enum result (*tune)(void *state, const char *collection, const struct store_tune_options *options,
        struct store_tune_report *out, struct err *err);
    enum result (*untune)(void *state, const char *collection, struct err *err);
    enum result (*eval)(void *state, const char *collection, const struct store_tune_options *options,
        struct store_eval_report *out, struct err *err);
    /* store/reembed.h; NULL where the backend cannot. */
    enum result (*reembed)(void *state, const char *collection, const struct store_reembed_options *options,
        struct store_reembed_report *out, struct err *err);
    enum result (*unreembed)(void *state, const char *collection, struct err *err);
    enum result (*repair)(
        void *state, bool drop_damaged, store_check_fn report, void *user, struct err *err);
};

struct store {
    const struct store_backend *backend;
    void *state;
};

/*
 * Of a query's vector the number of floats to look at: `given` where that is the dimension or 0, else the
 * dimension, where a whole descriptor was given.
 */
static inline uint32_t store_query_given(const struct store_settings *settings, uint32_t given)
{
    return given == settings->descriptor ? settings->dimension : given;
}

/*
 * Round a caller's vector to half floats. `given` is the dimension the caller stated (0: none), `dimension`
 * the collection's, `what` begins the sentence ("the vector of fileid 7"). ERR_INVALID, with field "vector",
 * for another dimension, a component that is not finite or one beyond ±65504.
 */
enum result store_vector_to_f16(const float *vector, uint32_t given, uint32_t dimension, const char *what,
    uint16_t *out, struct err *err) ERR_MUST_USE;

/*
 * Is the filter true of a record with these texts? NULL: of every one. A text that is not JSON counts as
 * absent: the store takes any. For stores without columns, and for looking again at what columns gave.
 */
bool store_filter_matches(
    const struct filter *filter, int64_t fileid, int64_t itemid, const char *tags, const char *brief);

/*
 * Facets, for backends that can hand their records or columns to a counter of filter/facet.h. `paths` gives
 * texts of fields, all of them the caller's to free.
 */
struct filter_facet_counter;
struct store_facet_source {
    void *user;
    uint64_t records; /* that the filter is true for */
    enum result (*count)(void *user, struct filter_facet_counter *counter, struct err *err);
    enum result (*paths)(void *user, char ***fields, size_t *count, struct err *err);
};
/* The field that was asked for, or tags and the paths that are worth most. */
enum result store_facets_from(const struct store_facet_source *source, const struct store_facet_query *query,
    struct store_facets *out, struct err *err) ERR_MUST_USE;
/* The same for backends without columns, of the texts of the records the filter is true for. */
struct store_texts {
    const char *tags, *brief;
};
enum result store_facets_of_texts(const struct store_texts *texts, size_t count,
    const struct store_facet_query *query, struct store_facets *out, struct err *err) ERR_MUST_USE;

#endif
