/*
 * Records and their nearest neighbours, whatever keeps them. For callers; a backend implements
 * store_backend.h.
 *
 * A store has collections, a collection has records. A record is: fileid (primary key), itemid, tags, brief,
 * a vector, and where kept a thumbnail. Tags and brief travel as JSON text that the caller has checked: a
 * store never parses it.
 *
 * Every call is thread-safe, blocks its thread, and takes a deadline (base/clock.h). What store_write()
 * acknowledged survives kill -9 and power loss, and is seen by every call that starts later. Collections are
 * named by string in each call; a name that does not exist is ERR_NOT_FOUND.
 *
 * Life cycle: store_open() … store_close(); no call may run during store_close().
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct filter; /* filter/filter.h; NULL wherever one is taken: no filter, everything matches */

enum store_metric { STORE_L2, STORE_IP, STORE_COSINE };

/* What a collection remembers from its creation on. */
struct store_settings {
    char model[128];
    uint32_t dimension;     /* of the vectors that clients see */
    uint32_t descriptor;    /* floats that are kept of a picture: the vector first; 0: the same as `dimension` */
    enum store_metric metric;
    bool thumbnails; /* keep them */
    bool originals;  /* keep the files as they came; a backend that cannot leaves them away */
    uint32_t background; /* what the pipeline does with it, a number that the store only keeps; 0: nothing */
    char input[192];     /* what the model was given, words that the store only keeps; "": made before it was written down */
    /* Out, of store_settings() only: which making of the collection this is, another one after it was dropped and made
       anew, or re-embedded. 0: the backend does not tell. */
    uint64_t edition;
};

struct store_open_options {
    const char *data;    /* folder of the embedded store; created where absent */
    int64_t deadline_ms; /* for taking the lock */
    bool warm;           /* open all collections behind this call, not each at its first use */
};

/* ERR_BUSY: another process has the folder open; the sentence names its process id where known. */
enum result store_open_embedded(
    const struct store_open_options *options, struct store **out, struct err *err) ERR_MUST_USE;

/* Defaults of what is 0 or NULL below. */
#define STORE_MILVUS_TIMEOUT_MS 10000
enum store_milvus_consistency {
    STORE_MILVUS_SESSION, /* a read sees what this process wrote, and what others wrote a moment ago */
    STORE_MILVUS_STRONG,  /* a read sees everything; Milvus waits for its clock, up to some 100 ms */
    STORE_MILVUS_BOUNDED, /* a read may miss the last seconds */
};
struct store_milvus_options {
    const char *uri;             /* "http://HOST:PORT", or "https://…" for TLS */
    const char *user, *password; /* NULL: none */
    const char *token;           /* an API key, or "user:password"; wins over `user` */
    const char *database;        /* NULL or "": Milvus's default one */
    const char *ca, *cert, *key; /* PEM files for TLS; NULL: the system's authorities, no client certificate */
    const char *index;           /* of new collections: HNSW (default), IVF_SQ8, IVF_FLAT, FLAT, AUTOINDEX */
    unsigned ef, nprobe;         /* effort of a search; 0: 128 and 16 */
    unsigned timeout_ms;         /* of one call, where its deadline is later */
    enum store_milvus_consistency consistency;
    const char *metric; /* "L2", "IP", "COSINE": a collection with another metric is refused; NULL: any */
    const char *data;   /* folder for thumbnails, made where absent; NULL: keep none */
    int64_t deadline_ms; /* for the first sign of life */
};
/*
 * Records and vectors in a Milvus, 2.3 or later (docs/internals/milvus.md). What a call promises is as below,
 * with these differences, all of them Milvus's: of a descriptor the vector alone is kept; a write is all or nothing up to some megabytes, larger ones are
 * sent in parts; search finds what Milvus's index finds; tags and brief come back as the same JSON values, not
 * as the same bytes.
 * ERR_UNAVAILABLE: nothing answers there, or it refuses the password; the sentence says what to do.
 */
enum result store_open_milvus(
    const struct store_milvus_options *options, struct store **out, struct err *err) ERR_MUST_USE;
/* Everything in memory and gone with it: for tests of what stands above the store. */
enum result store_open_memory(struct store **out, struct err *err) ERR_MUST_USE;
void store_close(struct store *store);
/* Whether it can serve now: ERR_OK, or why not. What is in this process always can. */
enum result store_ready(struct store *store, int64_t deadline_ms, struct err *err) ERR_MUST_USE;

/* --- collections ---------------------------------------------------------------------------------------- */

/* ERR_EXISTS; ERR_INVALID for a name that parse_is_collection_name() refuses or a dimension out of range. */
enum result store_create(struct store *store, const char *collection, const struct store_settings *settings,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
enum result store_drop(
    struct store *store, const char *collection, int64_t deadline_ms, struct err *err) ERR_MUST_USE;
enum result store_settings(
    struct store *store, const char *collection, struct store_settings *out, struct err *err) ERR_MUST_USE;
/* Names, sorted by bytes. `names` is one allocation: free() it. */
enum result store_list(struct store *store, char ***names, size_t *count, struct err *err) ERR_MUST_USE;

/* Of the index that searches use. A store that has none of its own, or has it elsewhere, leaves it zero. */
enum store_index_state {
    STORE_INDEX_NONE,     /* few rows, or a metric it is not for: searches are exact scans */
    STORE_INDEX_BUILDING, /* they are, until it is ready */
    STORE_INDEX_READY,
};
struct store_index_stats {
    enum store_index_state state;
    double built;        /* how much of it: rows that are linked, 0 to 1; the rest is scanned */
    uint64_t live, dead; /* rows; dead ones still stand in the graph */
    uint64_t waiting;    /* live ones that are not linked yet */
    uint64_t bytes_codes, bytes_sketches, bytes_links, bytes_rows, bytes_memory;
    uint64_t repairs, saves;
};

struct store_stats {
    struct store_settings settings;
    uint64_t records, items;
    bool tuned;         /* searched by what tune learned */
    bool items_unknown; /* too many to count them in time; `items` is 0 */
    uint64_t damaged; /* records whose vector on disk is not what was written */
    uint64_t bytes_disk, bytes_memory; /* all of it, with what follows */
    uint64_t bytes_columns;            /* of what filters need; 0 before the first filter or a warm open has made it */
    struct store_index_stats index;
};
enum result store_stats(struct store *store, const char *collection, int64_t deadline_ms,
    struct store_stats *out, struct err *err) ERR_MUST_USE;
/* Exact at once after a write. */
enum result store_count(struct store *store, const char *collection, int64_t deadline_ms, uint64_t *out,
    struct err *err) ERR_MUST_USE;
enum result store_count_where(struct store *store, const char *collection, const struct filter *filter,
    int64_t deadline_ms, uint64_t *out, struct err *err) ERR_MUST_USE;

/* --- writing -------------------------------------------------------------------------------------------- */

enum store_write_kind {
    STORE_PUT,    /* the whole record, with vector, tags and brief; replaces one with the same fileid */
    STORE_UPDATE, /* what is given; status ERR_NOT_FOUND where the fileid does not exist. A new vector
                     without a picture removes the old thumbnail and original: they no longer show what the vector says */
    STORE_DELETE, /* status ERR_OK also where there was nothing */
};

/* One write. Everything that is pointed at stays the caller's and must live until the call returns. */
struct store_write {
    enum store_write_kind kind;
    int64_t fileid;
    bool has_itemid; /* on PUT without it the itemid is the fileid */
    int64_t itemid;
    const char *tags;    /* JSON array of strings; NULL: not given */
    const char *brief;   /* JSON object; NULL: not given */
    const float *vector; /* `dimension` floats, a descriptor; NULL: not given */
    uint32_t dimension;  /* of `vector`, compared with the collection's descriptor; 0: the caller vouches for it */
    const uint8_t *thumbnail;
    size_t thumbnail_len; /* 0: not given */
    const uint8_t *original; /* the file as it came */
    size_t original_len;     /* 0: not given */
    /* The settings' edition that the vector was made for: another is refused with ERR_BUSY, and nothing is written, because
       a vector of another model can look like one that fits. 0: the caller vouches for it. */
    uint64_t edition;
    enum result status;   /* out: of this write, ERR_OK or ERR_NOT_FOUND */
    bool existed;         /* out: the fileid was there before */
};

/*
 * All or nothing, in order, durable when it returns ERR_OK. Calls of several threads share one commit.
 * ERR_INVALID: a vector with a component that is not finite or does not fit 16 bits. ERR_IO: nothing was
 * changed.
 */
enum result store_write(struct store *store, const char *collection, struct store_write *writes, size_t count,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;

/*
 * Delete every record the filter is true for, in steps: what is written meanwhile may or may not be seen. The
 * number of records deleted, also where a later step failed. ERR_INVALID for no filter: nobody means that.
 */
enum result store_delete_where(struct store *store, const char *collection, const struct filter *filter,
    int64_t deadline_ms, uint64_t *deleted, struct err *err) ERR_MUST_USE;

/* --- reading -------------------------------------------------------------------------------------------- */

struct store_record {
    int64_t fileid, itemid;
    char *tags, *brief; /* JSON text */
    float *vector;      /* `dimension` floats; NULL where not asked for */
    float distance;     /* in a search; else 0 */
    bool has_thumbnail;
};

/*
 * An array of records and all they point at, released with store_records_free(); zero it before the first
 * use.
 */
struct store_records {
    struct store_record *items;
    size_t count;
    uint32_t dimension;
    int64_t next; /* of store_browse(): give it as `after` for the next page */
    bool more;    /* of store_browse(), and of store_get_item() with over LIMIT_WINDOW records */
};
void store_records_free(struct store_records *records);

/* Something that is looked for, or away from: a descriptor, or the record `fileid`, whose descriptor the store has. */
struct store_query_part {
    const float *descriptor; /* NULL: the record */
    uint32_t dimension;      /* of `descriptor`: a vector or a descriptor */
    int64_t fileid;
    double weight;
};

struct store_query {
    const float *vector;    /* finite, and not beyond ±65504: it is rounded to 16 bits as the rows are */
    uint32_t dimension;     /* of `vector`: a vector or a descriptor; 0: a descriptor, for which the caller vouches */
    uint32_t limit, offset; /* 1 ≤ limit, limit + offset ≤ LIMIT_WINDOW */
    bool group;             /* one hit per item: the nearest of its records; limit and offset count items */
    bool with_vectors;
    uint64_t edition;            /* as in struct store_write */
    bool exact;                  /* the true nearest, whatever it costs; a backend may always do so */
    const struct filter *filter; /* only records it is true for are hits */
    /* What `vector` was put together from. A collection that was tuned goes by these, others by `vector` alone. */
    const struct store_query_part *parts;
    uint32_t part_count;
};
/*
 * Nearest first; equal distances by fileid, so that pages neither overlap nor skip while nothing is written.
 * If at least `limit` items match, `limit` come back. The distance is Σ(q−x)² for L2, the inner product for
 * IP and the cosine for COSINE (there, the largest first).
 */
enum result store_search(struct store *store, const char *collection, const struct store_query *query,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;

/*
 * How near pictures of this collection are that have nothing to do with each other, in the distances of its searches: of L2
 * the distance, else 1 less it, so that smaller is nearer. It changes as the collection grows. `records` 0: not known,
 * because there are too few, it was not measured yet, or the backend does not measure it.
 */
struct store_scale {
    uint64_t records; /* there were when it was measured */
    double near;      /* the nearest that is another thing: the median over what was looked for */
    double far;       /* of arbitrary pairs, on average */
};
enum result store_scale(struct store *store, const char *collection, struct store_scale *out,
    struct err *err) ERR_MUST_USE;

/* The records of one fileid or one itemid (in fileid order), with vectors. None is success. */
enum result store_get_file(struct store *store, const char *collection, int64_t fileid, int64_t deadline_ms,
    struct store_records *out, struct err *err) ERR_MUST_USE;
enum result store_get_item(struct store *store, const char *collection, int64_t itemid, int64_t deadline_ms,
    struct store_records *out, struct err *err) ERR_MUST_USE;
/* Up to `limit` records with fileid > `after` (all where `from_start`), in fileid order, without vectors. */
enum result store_browse(struct store *store, const char *collection, bool from_start, int64_t after,
    uint32_t limit, int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;
/* The same of the records a filter is true for. */
struct store_browse {
    bool from_start;
    int64_t after;
    uint32_t limit;
    bool with_vectors;
    bool descriptors; /* with vectors: the whole descriptors, as far as the store keeps them */
    const struct filter *filter;
};
enum result store_browse_where(struct store *store, const char *collection, const struct store_browse *browse,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;

/* How often each value of a field occurs among the records a filter is true for. */
struct store_facet_query {
    const char *field; /* "tags", or a path into brief as filters write it: brief["colour"]. NULL: tags and
                          up to LIMIT_FACET_FIELDS paths of brief, those that tell records apart best */
    uint32_t limit;    /* values a field, the most frequent first, equal ones by value; 1 to LIMIT_FACET_VALUES */
    const struct filter *filter;
};
struct store_facet_value {
    char *json; /* a JSON string, number, true or false */
    uint64_t count;
};
struct store_facet {
    char *field;
    struct store_facet_value *values;
    size_t count;
    uint64_t distinct; /* all values there are, also those beyond `limit` */
};
struct store_facets {
    struct store_facet *items;
    size_t count;
};
void store_facets_free(struct store_facets *facets);
enum result store_facets(struct store *store, const char *collection, const struct store_facet_query *query,
    int64_t deadline_ms, struct store_facets *out, struct err *err) ERR_MUST_USE;

/* The thumbnail, appended to `out`. ERR_NOT_FOUND: no such record, or none kept. */
enum result store_thumbnail(struct store *store, const char *collection, int64_t fileid, int64_t deadline_ms,
    struct buf *out, struct err *err) ERR_MUST_USE;
/* The file as it came, where the collection keeps originals; else the same. */
enum result store_original(struct store *store, const char *collection, int64_t fileid, int64_t deadline_ms,
    struct buf *out, struct err *err) ERR_MUST_USE;

/* --- checking ------------------------------------------------------------------------------------------- */

/* One line of a check: `severity` 0 a fact, 1 a warning, 2 damage. `text` lives during the call only. */
typedef void (*store_check_fn)(void *user, int severity, const char *collection, const char *text);
/*
 * Read everything and compare it: files, checksums, rows against vectors. ERR_CORRUPT where damage was found.
 */
enum result store_check(struct store *store, store_check_fn report, void *user, struct err *err) ERR_MUST_USE;

#endif
