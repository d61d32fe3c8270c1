/* Inside api/: what a route's function gets, and what all of them share. */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include "api/api.h"
#include "auth/rate.h"

struct api {
    struct api_options options;
    struct rate *key_rate, *address_rate; /* NULL: no limit */
    struct counts *counts; /* of requests by route and status; metrics.c */
};

/* metrics.c */
struct counts *counts_new(void);
void counts_add(struct counts *counts, size_t route, unsigned status); /* `route`: of the table, or past its end: none of it */
/* The index of the request's route in the table; past its end where there is none. */
size_t api_route_of(const struct http_request *head);

/* One call of one route. */
struct route_call {
    struct api *api;
    struct pipeline *pipeline;
    const struct http_request *request;
    struct http_reply *reply;
    char collection[LIMIT_COLLECTION_NAME + 2]; /* of the path, one longer than a name may be; "" where there is none */
    char id[64];                                /* {fileid} or {id} of the path, as text */
    bool read; /* the parameters are read: what is now wrong with `image` is the picture itself */
};

/*
 * The rights of the table, and of the key behind a request (access.c). A key that is bound to collections reaches only
 * those: where the path or a query parameter names another it is refused in the gate, and where the body does, in
 * params_collection(). A route that concerns no collection and needs ROUTE_ADMIN is refused to such a key.
 * ROUTE_ADMIN is 0, so that a row of the table without a right is not open by mistake.
 */
enum route_right { ROUTE_ADMIN, ROUTE_SEARCH, ROUTE_WRITE, ROUTE_OPEN };

/* May this request pass? `collection` is the path's, "" where it names none. The reply of a failure is 401 (ERR_DENIED
   with the field "Authorization") or 403 (ERR_DENIED). On success `*grant` is the key, to be released, or NULL. */
enum result access_check(struct auth *auth, const struct http_request *head, enum route_right right,
    const char *collection, struct auth_key **grant, struct err *err) ERR_MUST_USE;
/* Whether the key behind the request reaches this collection. */
bool access_reaches(const struct http_request *request, const char *collection);

/* The status of an error on /v1. `picture`: what is wrong with `image` or `url` is the picture, not how it was sent. */
unsigned route_status(const struct err *err, bool read);
/* The members of problem+json, without braces. */
enum result route_write_problem(struct buf *out, unsigned status, const struct err *err) ERR_MUST_USE;

/* openapi.json. */
extern const char api_openapi[];
extern const size_t api_openapi_len;

/* Fills the reply on success; on failure returns the error, which the caller turns into the reply of its family. */
typedef enum result (*route_fn)(struct route_call *call, struct err *err);

/* The compatible routes (compatible.c). */
enum result compatible_create(struct route_call *call, struct err *err);
enum result compatible_add(struct route_call *call, struct err *err);
enum result compatible_update(struct route_call *call, struct err *err);
enum result compatible_search(struct route_call *call, struct err *err);
enum result compatible_count(struct route_call *call, struct err *err);
enum result compatible_delete(struct route_call *call, struct err *err);
enum result compatible_drop(struct route_call *call, struct err *err);
enum result compatible_get(struct route_call *call, struct err *err);

/* /v1: each family in its file. */
enum result v1_collections_list(struct route_call *call, struct err *err);
enum result v1_collection_create(struct route_call *call, struct err *err);
enum result v1_collection_stats(struct route_call *call, struct err *err);
enum result v1_collection_drop(struct route_call *call, struct err *err);
enum result v1_image_put(struct route_call *call, struct err *err);
enum result v1_images_bulk(struct route_call *call, struct err *err);
enum result v1_image_patch(struct route_call *call, struct err *err);
enum result v1_image_get(struct route_call *call, struct err *err);
enum result v1_image_delete(struct route_call *call, struct err *err);
enum result v1_image_thumbnail(struct route_call *call, struct err *err);
enum result v1_image_original(struct route_call *call, struct err *err);
enum result v1_images_browse(struct route_call *call, struct err *err);
enum result v1_images_delete(struct route_call *call, struct err *err);
enum result v1_count(struct route_call *call, struct err *err);
enum result v1_facets(struct route_call *call, struct err *err);
enum result v1_search(struct route_call *call, struct err *err);
enum result v1_embed(struct route_call *call, struct err *err);
enum result v1_thumbnail(struct route_call *call, struct err *err);
enum result v1_mask(struct route_call *call, struct err *err);
enum result v1_keys_list(struct route_call *call, struct err *err);
enum result v1_key_create(struct route_call *call, struct err *err);
enum result v1_key_revoke(struct route_call *call, struct err *err);
enum result v1_models(struct route_call *call, struct err *err);
enum result v1_jobs_list(struct route_call *call, struct err *err);
/* Start a job and answer with its id, for the routes below. `work->user` is the job's, or has been released on an error. */
enum result v1_job_begin(struct route_call *call, const struct job_work *work, struct err *err);
/* v1_tune.c: learning by job. */
enum result v1_tune(struct route_call *call, struct err *err);
enum result v1_untune(struct route_call *call, struct err *err);
enum result v1_eval(struct route_call *call, struct err *err);
/* v1_reembed.c: another model for a collection, by job. */
enum result v1_reembed(struct route_call *call, struct err *err);
enum result v1_unreembed(struct route_call *call, struct err *err);
/* v1_keep.c: backups by job. */
enum result v1_backup(struct route_call *call, struct err *err);
enum result v1_restore(struct route_call *call, struct err *err);
enum result v1_export(struct route_call *call, struct err *err);
enum result v1_import(struct route_call *call, struct err *err);
enum result v1_job_get(struct route_call *call, struct err *err);
enum result v1_job_cancel(struct route_call *call, struct err *err);
enum result v1_openapi(struct route_call *call, struct err *err);
enum result v1_healthz(struct route_call *call, struct err *err);
enum result v1_metrics(struct route_call *call, struct err *err);
enum result v1_readyz(struct route_call *call, struct err *err);

#endif
