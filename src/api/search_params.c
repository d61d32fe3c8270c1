#include "api/search_params.h"

#include "api/members.h"

#include <math.h>

/* --- numbers in arrays ------------------------------------------------------------------------------------------ */

static enum result no_number(const char *name, size_t i, struct err *err)
{
    return err_set_field(err, ERR_INVALID, name, "%s must be an array of numbers; element %zu is none", name, i + 1);
}

static enum result read_numbers(struct json_object *list, const char *name, double *out, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct json_object *n = json_object_array_get_idx(list, i);
        bool number = json_object_is_type(n, json_type_double) || json_object_is_type(n, json_type_int);
        double value = number ? json_object_get_double(n) : NAN;
        if (!isfinite(value))
            return no_number(name, i, err);
        out[i] = value;
    }
    return ERR_OK;
}

static enum result copy_numbers(const struct json_numbers *from, const char *name, double *out, struct err *err)
{
    for (size_t i = 0; i < from->count; i++) {
        if (!isfinite(from->values[i]))
            return no_number(name, i, err);
        out[i] = from->values[i];
    }
    return ERR_OK;
}

/* [x, y, w, h] in 0…1. */
static enum result read_region(struct params *p, struct pipeline_picture *picture, bool *found, struct err *err)
{
    struct json_object *list = NULL;
    double v[4];
    *found = false;
    enum result r = params_json(p, "region", &list, err);
    if (r || !list)
        return r;
    if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) != 4)
        return err_set_field(err, ERR_INVALID, "region", "region must be [x, y, width, height], each between 0 and 1");
    r = read_numbers(list, "region", v, 4, err);
    if (r)
        return r;
    if (v[0] < 0 || v[1] < 0 || v[2] <= 0 || v[3] <= 0 || v[0] + v[2] > 1 + 1e-6 || v[1] + v[3] > 1 + 1e-6)
        return err_set_field(err, ERR_INVALID, "region",
            "region [x, y, width, height] must lie within the picture, whose sides are 1 long, and must not be empty");
    for (int i = 0; i < 4; i++)
        picture->region[i] = (float)v[i];
    *found = true;
    return ERR_OK;
}

static enum result read_vector(struct params *p, struct search_params *s, struct pipeline_query *q, struct err *err)
{
    struct json_object *list = NULL;
    enum result r = params_json(p, "vector", &list, err);
    if (r || !list)
        return r;
    size_t n = p->vector.values ? p->vector.count : json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (n < 1 || n > LIMIT_DIMENSION)
        return err_set_field(err, ERR_INVALID, "vector", "vector must be an array of numbers, as many as the model has dimensions");
    double *numbers = malloc(n * sizeof *numbers);
    float *vector = malloc(n * sizeof *vector);
    if (!numbers || !vector)
        r = err_no_memory(err);
    else if (p->vector.values)
        r = copy_numbers(&p->vector, "vector", numbers, err);
    else
        r = read_numbers(list, "vector", numbers, n, err);
    for (size_t i = 0; r == ERR_OK && i < n; i++) {
        vector[i] = (float)numbers[i];
        if (fabs(numbers[i]) > 65504)
            r = err_set_field(err, ERR_INVALID, "vector", "vector: element %zu is not between -65504 and 65504", i + 1);
    }
    free(numbers);
    if (r) {
        free(vector);
        return r;
    }
    s->vectors[s->count] = vector;
    q->vector = vector;
    q->dimension = (uint32_t)n;
    return ERR_OK;
}

/* --- what is looked for ----------------------------------------------------------------------------------------- */

/* One query of `p`, put at the end. */
static enum result add_query(struct params *p, struct search_params *s, struct err *err)
{
    struct pipeline_query *q = &s->queries[s->count];
    bool region, found;
    q->weight = 1;
    enum result r = params_picture(p, &q->picture, err);
    if (r == ERR_OK)
        r = params_i64(p, "fileid", &q->has_fileid, &q->fileid, err);
    if (r == ERR_OK)
        r = read_region(p, &q->picture, &region, err);
    if (r == ERR_OK)
        r = params_double(p, "weight", &found, &q->weight, err);
    if (r == ERR_OK && fabs(q->weight) > 1e6)
        r = err_set_field(err, ERR_INVALID, "weight", "weight must be between -1000000 and 1000000");
    if (r == ERR_OK)
        r = read_vector(p, s, q, err);
    if (r)
        return r;
    bool picture = q->picture.data || q->picture.url;
    int given = picture + q->has_fileid + (q->vector != NULL);
    s->count++;
    if (given == 0)
        return err_set_field(err, ERR_INVALID, "image", "nothing to look for: give `image`, `url`, `fileid`, `vector` or `queries`");
    if (given > 1)
        return err_set_field(err, ERR_INVALID, picture ? "image" : "fileid",
            "a picture, `fileid` and `vector` exclude one another; give one, or several as `queries`");
    if (region && !picture)
        return err_set_field(err, ERR_INVALID, "region", "region is a part of a picture; `fileid` and `vector` have none");
    return ERR_OK;
}

static enum result add_queries(struct json_object *list, struct search_params *s, struct err *err)
{
    static const struct http_request nothing; /* an element's parameters stand in it alone */
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (n < 1 || n > LIMIT_QUERIES)
        return err_set_field(err, ERR_INVALID, "queries", "queries must be an array of 1 to %d objects like {\"image\": …, \"weight\": 1.0}",
            LIMIT_QUERIES);
    for (size_t i = 0; i < n; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_object))
            return err_set_field(err, ERR_INVALID, "queries", "queries must be an array of objects; element %zu is none", i + 1);
        s->parts[s->count] = (struct params){.request = &nothing, .json = json_object_get(item)};
        struct params *part = &s->parts[s->count];
        enum result r = add_query(part, s, err);
        if (r)
            return r;
    }
    return ERR_OK;
}

static enum result read_queries(struct params *p, struct search_params *s, struct err *err)
{
    struct json_object *list = NULL;
    enum result r = params_json(p, "queries", &list, err);
    if (r)
        return r;
    if (!list) {
        r = add_query(p, s, err);
    } else {
        static const char *const others[] = {"image", "url", "fileid", "vector", "region"};
        bool found = p->raw != NULL;
        for (size_t i = 0; i < sizeof others / sizeof *others && !found; i++)
            found = params_has(p, others[i]);
        if (found)
            return err_set_field(err, ERR_INVALID, "queries", "queries cannot stand beside image, url, fileid, vector or region: put them into it");
        r = add_queries(list, s, err);
    }
    s->search.queries = s->queries;
    s->search.query_count = s->count;
    return r;
}

/* --- limits ----------------------------------------------------------------------------------------------------- */

static enum result read_limits(struct params *p, struct search_params *s, struct err *err)
{
    bool found;
    struct pipeline_search *search = &s->search;
    enum result r = params_window(p, search, err);
    if (r == ERR_OK)
        r = params_bool(p, "exact", &found, &search->exact, err);
    if (r == ERR_OK)
        r = params_double(p, "max_distance", &search->has_max_distance, &search->max_distance, err);
    if (r == ERR_OK)
        r = params_double(p, "min_similarity", &search->has_min_similarity, &search->min_similarity, err);
    if (r == ERR_OK && search->has_min_similarity && (search->min_similarity < 0 || search->min_similarity > 100))
        r = err_set_field(err, ERR_INVALID, "min_similarity", "min_similarity must be between 0 and 100");
    if (r == ERR_OK)
        r = params_members(p, ~0u, MEMBERS_OF_HIT, &s->members, err);
    search->with_vectors = s->members & MEMBERS_VECTOR;
    return r;
}

enum result search_params_read(struct params *params, struct search_params **out, struct err *err)
{
    struct search_params *s = calloc(1, sizeof *s);
    if (!s)
        return err_no_memory(err);
    enum result r = read_limits(params, s, err);
    if (r == ERR_OK)
        r = read_queries(params, s, err);
    if (r)
        search_params_free(s);
    else
        *out = s;
    return r;
}

void search_params_free(struct search_params *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < LIMIT_QUERIES; i++) {
        free(s->vectors[i]);
        params_free(&s->parts[i]);
    }
    free(s);
}
