/*
 * A picture or a query → what the API answers. The only place where the stages meet.
 *
 * The caller's thread decodes (at most one decode per CPU at a time, by a semaphore), then gives the pixels to the
 * batcher and waits. The batcher's threads take what waits, up to the model's largest batch, and run it: a lone
 * request does not wait for company, and under load batches fill by themselves because requests arrive while the
 * engine is busy. Admission: over `LIMIT_EMBED_QUEUE` waiting pictures are refused with ERR_BUSY.
 */
#ifndef PIPELINE_PIPELINE_H
#define PIPELINE_PIPELINE_H

#include "base/buf.h"
#include "base/err.h"
#include "cage/cage.h"
#include "embed/embed.h"
#include "fetch/fetch.h"
#include "image/image.h"
#include "pipeline/jobs.h"
#include "pipeline/models.h"
#include "store/reembed.h"
#include "store/store.h"
#include "store/tune.h"

struct pipeline;

struct pipeline_options {
    struct store *store; /* stays the caller's, outlives the pipeline */
    struct embed *embed; /* the same: the default model */
    const char *const *model_folders; /* where other models are looked for; see models.h */
    size_t model_folder_count;
    struct embed_options model_options; /* how those are opened; its strings outlive the pipeline */
    struct fetch *fetch; /* the same; NULL: `url` is refused */
    const char *mask_model; /* for the background modes; NULL: BACKGROUND_MODEL. As long as the pipeline */
    struct cage *cage;   /* the same: where pictures are decoded; NULL: in this process, and image_init() was called */
    unsigned decoders;   /* 0: one per CPU */
    enum store_metric metric;  /* of new collections */
    uint32_t thumbnail_side;   /* 0: keep none */
    const char *backup_folder; /* requests may back up into it and below; NULL: nowhere. Stays the caller's */
};

enum result pipeline_new(const struct pipeline_options *options, struct pipeline **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void pipeline_free(struct pipeline *pipeline);

struct store *pipeline_store(struct pipeline *pipeline);
/* Of the default model. */
const struct embed_info *pipeline_model(struct pipeline *pipeline);
/* Long work over this pipeline's parts; it is stopped, and waited for, by pipeline_free() before anything else. */
struct jobs *pipeline_jobs(struct pipeline *pipeline);
struct models *pipeline_models(struct pipeline *pipeline);

/* Where a picture comes from: `data`, else `url`. */
struct pipeline_picture {
    const void *data; /* bytes of the file; NULL: none */
    size_t len;
    const char *url;  /* NULL: none */
    float region[4];  /* of a query: the part that is meant, see struct image_want; all 0: the whole */
};

/* How a picture is looked at. */
struct pipeline_look {
    const struct model *model;        /* of pipeline_models() */
    enum image_background background; /* needs the mask model, pipeline_options.mask_model */
};
/* By the model's name (NULL: the default one) and "none", "subject", "white" or "black" (NULL: what its manifest says). */
enum result pipeline_look(struct pipeline *pipeline, const char *model, const char *background, int64_t deadline_ms,
    struct pipeline_look *out, struct err *err) ERR_MUST_USE;

/*
 * A small JPEG of the whole picture, as records get one, appended to `out`: for showing what a browser cannot read, or
 * must not fetch. No model is asked.
 */
enum result pipeline_thumbnail(struct pipeline *pipeline, const struct pipeline_picture *picture, int64_t deadline_ms,
    struct buf *out, struct err *err) ERR_MUST_USE;

/* The file of a record as it came, appended to `out`, and its type, "image/jpeg" …. ERR_NOT_FOUND as store_original(). */
enum result pipeline_original(struct pipeline *pipeline, const char *collection, int64_t fileid, int64_t deadline_ms, struct buf *out,
    const char **type, struct err *err) ERR_MUST_USE;

/* A descriptor into `vector`: manifest_descriptor() floats, of which the first `dimension` are the vector.
 * `look` NULL: the default model, as its manifest says. */
enum result pipeline_embed(struct pipeline *pipeline, const struct pipeline_look *look, const struct pipeline_picture *picture,
    int64_t deadline_ms, float *vector, struct err *err) ERR_MUST_USE;

/* What the background modes see in a picture. The members are JPEG files, or where `plain` was set before the call PGM and PPM
 * files; pipeline_seen_free() releases them. */
struct pipeline_seen {
    bool plain;
    uint8_t *mask, *input; /* the mask on its canvas; what the model gets of the picture */
    size_t mask_len, input_len;
    bool found; /* false: "subject" found nothing to crop to, and takes the whole picture */
};
/* look->background must not be NONE. */
enum result pipeline_see(struct pipeline *pipeline, const struct pipeline_look *look, const struct pipeline_picture *picture,
    int64_t deadline_ms, struct pipeline_seen *out, struct err *err) ERR_MUST_USE;
void pipeline_seen_free(struct pipeline_seen *seen);

/* What a new collection may choose; zeroed: all as the server has it. */
struct pipeline_create {
    const char *model;      /* name; NULL: the default one */
    const char *background; /* as in pipeline_look(); the mask model must be there where it is needed */
    bool originals;         /* keep the files as they come, where the store can */
};
const char *pipeline_background_name(unsigned background);
/* `options` may be NULL. ERR_NOT_FOUND and the others of models_get() for the model. */
enum result pipeline_create(struct pipeline *pipeline, const char *collection, const struct pipeline_create *options,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;

/* One write of API.md: vector and thumbnail are made here. See struct store_write for the members. */
struct pipeline_record {
    int64_t fileid;
    bool has_itemid;
    int64_t itemid;
    const char *tags, *brief;        /* JSON text; NULL: not given */
    struct pipeline_picture picture; /* of an update: may be empty */
};
/* The collection's own model is used. ERR_NOT_FOUND with field "model": it is not here; the sentence says what to do. */
enum result pipeline_add(struct pipeline *pipeline, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, struct err *err) ERR_MUST_USE;
/* `found` is false, and nothing is fetched or decoded, where the fileid does not exist. */
enum result pipeline_update(struct pipeline *pipeline, const char *collection, const struct pipeline_record *record,
    int64_t deadline_ms, bool *found, struct err *err) ERR_MUST_USE;

/*
 * Another model, or another background mode, for a collection: see store/reembed.h for what happens meanwhile and after
 * an interruption. Each picture is taken from its original, else downloaded from the address in its brief, else, where
 * that is wanted, from its thumbnail.
 */
struct pipeline_reembed {
    const char *model;      /* as in pipeline_look() */
    const char *background; /* the same; NULL: as the collection has it, or where that is none, as the model's manifest says */
    const char *url_field; /* member of brief that holds the address of the picture; NULL: none */
    bool thumbnails;       /* make do with them: they are smaller than most originals, which costs some accuracy */
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* true: stop */
    void *user;
};
/* What will be looked for in a picture, and whether it can be: for an answer before the work begins. */
enum result pipeline_reembed_look(struct pipeline *pipeline, const char *collection, const struct pipeline_reembed *what,
    struct pipeline_look *out, struct err *err) ERR_MUST_USE;
/* ERR_NOT_FOUND also where pictures of some records cannot be had; the sentence says of how many, and why not of the first. */
enum result pipeline_reembed(struct pipeline *pipeline, const char *collection, const struct pipeline_reembed *what,
    struct store_reembed_report *out, struct err *err) ERR_MUST_USE;

/*
 * For store/tune.h: the blocks of the collection's model, which live as long as the pipeline, and changed copies of the
 * thumbnails where there are some. `copier` is only room, which has to last until the store's call is over, and so has `collection`.
 */
struct pipeline_copier {
    struct pipeline *pipeline;
    const char *collection;
    struct pipeline_look look;
};
enum result pipeline_tune_options(struct pipeline *pipeline, const char *collection, struct pipeline_copier *copier,
    struct store_tune_options *options, struct err *err) ERR_MUST_USE;

/* What is looked for: exactly one of a picture, a record of the collection, a vector. */
struct pipeline_query {
    struct pipeline_picture picture;
    bool has_fileid;
    int64_t fileid;      /* its vector; the record itself is a hit as well, the nearest */
    const float *vector; /* taken as it is */
    uint32_t dimension;
    double weight;       /* of one among several; may be negative */
};

struct pipeline_search {
    struct pipeline_picture picture; /* what is looked for, where query_count is 0 */
    /* Else these. One is searched for as it is. Of several the unit vectors are added up by weight, and the sum is
       brought to unit length where the model's vectors have it. */
    const struct pipeline_query *queries;
    size_t query_count; /* at most LIMIT_QUERIES */
    uint32_t limit, offset;
    bool group;
    bool exact, with_vectors; /* as in struct store_query */
    const char *filter;       /* NULL or blank: none */
    /* Hits beyond these are left away, whatever `limit` says; pages stay the same. */
    bool has_max_distance;
    double max_distance; /* where a larger distance is more alike (IP, COSINE): the smallest that is still a hit */
    bool has_min_similarity;
    double min_similarity;
};
enum result pipeline_search(struct pipeline *pipeline, const char *collection, const struct pipeline_search *search,
    int64_t deadline_ms, struct store_records *out, struct err *err) ERR_MUST_USE;

/*
 * 0 to 100 for each hit of a search in this collection, in the same order, 100 for a distance of 0. `out` has room for
 * hits->count. Never smaller for a hit that is nearer.
 */
enum result pipeline_similarities(struct pipeline *pipeline, const char *collection, const struct store_records *hits,
    float *out, struct err *err) ERR_MUST_USE;

#endif
