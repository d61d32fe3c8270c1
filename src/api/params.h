/*
 * Parameters of a request, wherever they stand: members of a JSON body, fields of a form, the query string.
 * Where one is given twice, the body wins. null in JSON counts as absent.
 *
 * Getters leave their out-parameter alone and set *found to false where the parameter is absent; an error names the
 * parameter as its field. Strings live as long as the struct params.
 */
#ifndef API_PARAMS_H
#define API_PARAMS_H

#include "http/http.h"
#include "json/json.h"
#include "pipeline/pipeline.h"

#define PARAMS_OWNED_MAX 16
#define PARAMS_TEXTS_MAX 4

struct params {
    const struct http_request *request;
    struct json_object *json; /* NULL: the body is no JSON */
    struct json_numbers vector; /* the member "vector" where it is long; [] is left of it in `json` */
    struct http_form form;
    const char *raw;          /* a body that is the picture itself; NULL: none */
    size_t raw_len;
    struct json_object *texts[PARAMS_TEXTS_MAX]; /* parsed from text */
    size_t text_count;
    void *owned[PARAMS_OWNED_MAX]; /* copies behind the strings given out */
    size_t owned_count;
};

/*
 * `allow_raw`: a body of any type but JSON and forms is taken as the picture. ERR_UNSUPPORTED with field
 * "Content-Type" for a body of a type that is not read here. `out` is released with params_free() in any case.
 */
enum result params_parse(const struct http_request *request, bool allow_raw, struct params *out, struct err *err)
    ERR_MUST_USE;
void params_free(struct params *params);

/* UTF-8, NUL-terminated. */
enum result params_string(struct params *params, const char *name, bool *found, const char **out, struct err *err)
    ERR_MUST_USE;
enum result params_i64(struct params *params, const char *name, bool *found, int64_t *out, struct err *err) ERR_MUST_USE;
enum result params_bool(struct params *params, const char *name, bool *found, bool *out, struct err *err) ERR_MUST_USE;

/* `collection`: there, and a name as API.md demands it; whether it exists is the store's to say. */
enum result params_collection(struct params *params, const char **out, struct err *err) ERR_MUST_USE;
/* `fileid`: there. */
enum result params_fileid(struct params *params, int64_t *out, struct err *err) ERR_MUST_USE;
/* As compact JSON text within the limits; NULL where absent. */
enum result params_tags(struct params *params, const char **out, struct err *err) ERR_MUST_USE;
enum result params_brief(struct params *params, const char **out, struct err *err) ERR_MUST_USE;
/* itemid, tags, brief and the picture, each only where it is given. */
enum result params_record(struct params *params, struct pipeline_record *out, struct err *err) ERR_MUST_USE;
/* `image` (decoded from base64 where it is text) or `url`; both members NULL where there is neither. */
enum result params_picture(struct params *params, struct pipeline_picture *out, struct err *err) ERR_MUST_USE;
/* Whether it is given at all, however wrong; an empty text is not. */
bool params_has(const struct params *params, const char *name);
enum result params_double(struct params *params, const char *name, bool *found, double *out, struct err *err) ERR_MUST_USE;
/* A member of a JSON body, or JSON text of a form or a query, where "1,2" stands for [1,2]. It lives as long as the params. */
enum result params_json(struct params *params, const char *name, struct json_object **out, struct err *err) ERR_MUST_USE;
/* limit, offset, group and filter with their defaults and limits. */
enum result params_window(struct params *params, struct pipeline_search *out, struct err *err) ERR_MUST_USE;
/* The same, and the picture, which must be there. */
enum result params_search(struct params *params, struct pipeline_search *out, struct err *err) ERR_MUST_USE;

#endif
