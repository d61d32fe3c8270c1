/*
 * What a collection must look like, made by whomever: the five fields of the Python service, and an index on
 * `vectors`. The checks name the first difference, because the user can only act on one he knows.
 *
 * What a collection remembers beyond that (the model, whether thumbnails are kept) is in its properties, as
 * `lookalike.model` and so on. A collection without them was made by another program: it takes any model with the
 * right dimension. Properties and not the description, because that is the user's, and milvus-lite drops it.
 */
#include "store/milvus/milvus.h"
#include "store/milvus/status.h"

#include "base/clock.h"
#include "base/parse.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LOAD_STATE_LOADED 3
#define LOAD_POLL_FIRST_MS 10
#define LOAD_POLL_LAST_MS 250
#define SHARDS 1

static const char *const metrics[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};

/* --- the check -------------------------------------------------------------------------------------------------- */

static const struct wanted {
    const char *name, *type;
    int32_t data_type, element_type;
} wanted[] = {
    {"fileid", "INT64", MILVUS_INT64, 0},
    {"vectors", "FLOAT_VECTOR", MILVUS_FLOAT_VECTOR, 0},
    {"itemid", "INT64", MILVUS_INT64, 0},
    {"tags", "ARRAY of VARCHAR", MILVUS_ARRAY, MILVUS_VARCHAR},
    {"brief", "JSON", MILVUS_JSON, 0},
};
enum { WANTED = sizeof wanted / sizeof *wanted };

static const char *value_of(Mv__KeyValue *const *list, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i]->key, key) == 0)
            return list[i]->value;
    return NULL;
}

static enum result check_field(
    const char *collection, const struct wanted *w, const Mv__FieldSchema *f, uint32_t *dimension, struct err *err)
{
    uint64_t dim = 0;
    if (f->data_type != w->data_type || (w->element_type && f->element_type != w->element_type))
        return err_set(err, ERR_INVALID,
            "collection \"%.100s\" in Milvus: the field \"%s\" is not %s (its type there is %d), so this program cannot use it: "
            "choose another collection", collection, w->name, w->type, (int)f->data_type);
    bool primary = strcmp(w->name, "fileid") == 0;
    if (primary != (bool)f->is_primary_key || (primary && f->auto_id))
        return err_set(err, ERR_INVALID,
            "collection \"%.100s\" in Milvus: the primary key must be \"fileid\", given by the client and not by Milvus, so this "
            "program cannot use it: choose another collection", collection);
    if (w->data_type != MILVUS_FLOAT_VECTOR)
        return ERR_OK;
    const char *text = value_of(f->type_params, f->n_type_params, "dim");
    if (!text || !parse_u64(text, strlen(text), LIMIT_DIMENSION, &dim) || dim == 0)
        return err_set(err, ERR_INVALID, "collection \"%.100s\" in Milvus: \"vectors\" has no dimension from 1 to %d",
            collection, LIMIT_DIMENSION);
    *dimension = (uint32_t)dim;
    return ERR_OK;
}

static enum result check_extra(const char *collection, const Mv__FieldSchema *f, struct err *err)
{
    for (size_t i = 0; i < WANTED; i++)
        if (strcmp(wanted[i].name, f->name) == 0)
            return ERR_OK;
    return err_set(err, ERR_INVALID,
        "collection \"%.100s\" in Milvus has a field \"%.60s\" beside fileid, vectors, itemid, tags and brief, so this program "
        "cannot write to it: choose another collection", collection, f->name);
}

static enum result check_schema(const Mv__DescribeCollectionReply *reply, struct milvus_collection *out, struct err *err)
{
    const Mv__CollectionSchema *s = reply->schema;
    uint32_t dimension = 0;
    enum result r = ERR_OK;
    if (!s)
        return err_set(err, ERR_INVALID, "collection \"%.100s\" in Milvus has no schema", out->name);
    for (size_t i = 0; i < WANTED && !r; i++) {
        const Mv__FieldSchema *found = NULL;
        for (size_t j = 0; j < s->n_fields && !found; j++)
            if (strcmp(s->fields[j]->name, wanted[i].name) == 0)
                found = s->fields[j];
        if (!found)
            r = err_set(err, ERR_INVALID,
                "collection \"%.100s\" in Milvus has no field \"%s\" (%s), so this program cannot use it: choose another collection",
                out->name, wanted[i].name, wanted[i].type);
        else
            r = check_field(out->name, &wanted[i], found, &dimension, err);
    }
    for (size_t j = 0; j < s->n_fields && !r; j++)
        r = check_extra(out->name, s->fields[j], err);
    if (r)
        return r;
    out->settings = (struct store_settings){.dimension = dimension, .descriptor = dimension}; /* Milvus keeps the vector alone */
    const char *model = value_of(reply->properties, reply->n_properties, "lookalike.model"),
               *thumbnails = value_of(reply->properties, reply->n_properties, "lookalike.thumbnails");
    out->ours = model != NULL;
    if (model && (strlen(model) >= sizeof out->settings.model || !parse_is_utf8(model, strlen(model))))
        return err_set(err, ERR_INVALID, "collection \"%.100s\" in Milvus: the property lookalike.model is no model's name", out->name);
    snprintf(out->settings.model, sizeof out->settings.model, "%s", model ? model : "");
    out->settings.thumbnails = !model || (thumbnails && strcmp(thumbnails, "yes") == 0);
    const char *background = value_of(reply->properties, reply->n_properties, "lookalike.background");
    uint64_t number = 0;
    if (background && !parse_u64(background, strlen(background), UINT32_MAX, &number))
        return err_set(err, ERR_INVALID, "collection \"%.100s\" in Milvus: the property lookalike.background is no number", out->name);
    out->settings.background = (uint32_t)number;
    const char *input = value_of(reply->properties, reply->n_properties, "lookalike.input");
    if (input && (strlen(input) >= sizeof out->settings.input || !parse_is_utf8(input, strlen(input))))
        return err_set(err, ERR_INVALID, "collection \"%.100s\" in Milvus: the property lookalike.input is no text of ours", out->name);
    snprintf(out->settings.input, sizeof out->settings.input, "%s", input ? input : "");
    out->id = reply->collection_id;
    for (const char *p = out->name; reply->collection_id == 0 && *p; p++)
        out->id = (int64_t)((uint64_t)out->id * 31 + (uint8_t)*p);
    return ERR_OK;
}

enum result milvus_check_schema(const Mv__DescribeCollectionReply *reply, struct milvus_collection *out, struct err *err)
{
    enum result r = check_schema(reply, out, err);
    if (r && err)
        milvus_clean_text(err->message);
    return r;
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

static enum result call_collection(struct milvus *m, const char *method, const char *name,
    const ProtobufCMessageDescriptor *reply, int64_t deadline_ms, ProtobufCMessage **out, int *code, struct err *err)
{
    char copy[LIMIT_COLLECTION_NAME + 1];
    snprintf(copy, sizeof copy, "%s", name);
    Mv__CollectionRequest request = MV__COLLECTION_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    request.collection_name = copy;
    struct milvus_call call = {.method = method, .request = &request.base, .reply = reply, .repeat = true, .deadline_ms = deadline_ms};
    enum result r = milvus_call(m->link, &call, out, err);
    *code = call.code;
    return r;
}

static enum store_metric metric_of(const char *text, bool *known)
{
    *known = true;
    for (int i = STORE_L2; i <= STORE_COSINE; i++)
        if (text && strcasecmp(text, metrics[i]) == 0)
            return (enum store_metric)i;
    *known = false;
    return STORE_L2;
}

static enum result check_index(const struct milvus *m, const Mv__IndexDescription *index, struct milvus_collection *out, struct err *err)
{
    const char *type = value_of(index->params, index->n_params, "index_type"),
               *metric = value_of(index->params, index->n_params, "metric_type");
    bool known;
    out->settings.metric = metric_of(metric, &known);
    if (!known)
        return err_set(err, ERR_INVALID,
            "collection \"%.100s\" in Milvus: its index compares by %.20s; this program can use L2, IP and COSINE: drop the index "
            "on \"vectors\" and make one with one of these", out->name, metric ? metric : "no metric");
    if (*m->metric && strcasecmp(metric, m->metric) != 0)
        return err_set(err, ERR_INVALID,
            "collection \"%.100s\" in Milvus has an index with metric %s, but METRIC_TYPE (--metric) is %s: set it to %s or leave "
            "it away, or use another collection", out->name, metrics[out->settings.metric], m->metric, metrics[out->settings.metric]);
    snprintf(out->index, sizeof out->index, "%s", type ? type : "");
    return ERR_OK;
}

static enum result describe_index(struct milvus *m, int64_t deadline_ms, struct milvus_collection *out, struct err *err)
{
    ProtobufCMessage *message = NULL;
    int code = 0;
    enum result r = call_collection(
        m, "DescribeIndex", out->name, &mv__describe_index_reply__descriptor, deadline_ms, &message, &code, err);
    if (r == ERR_INVALID && (code == MILVUS_CODE_NO_INDEX || strstr(err->message, "index not")))
        return ERR_OK; /* none: `index` stays empty */
    if (r)
        return r;
    Mv__DescribeIndexReply *reply = (Mv__DescribeIndexReply *)(void *)message;
    for (size_t i = 0; i < reply->n_index_descriptions && !r; i++)
        if (strcmp(reply->index_descriptions[i]->field_name, "vectors") == 0)
            r = check_index(m, reply->index_descriptions[i], out, err);
    if (r && err)
        milvus_clean_text(err->message);
    MILVUS_FREE(reply);
    return r;
}

static enum result make_indexes(struct milvus *m, const char *name, enum store_metric metric, int64_t deadline_ms, struct err *err);

enum result milvus_describe(struct milvus *m, const char *name, bool any_index, int64_t deadline_ms,
    struct milvus_collection *out, struct err *err)
{
    struct err local, *e = err ? err : &local;
    ProtobufCMessage *message = NULL;
    int code = 0;
    snprintf(out->name, sizeof out->name, "%s", name);
    enum result r = call_collection(m, "DescribeCollection", name, &mv__describe_collection_reply__descriptor, deadline_ms,
        &message, &code, e);
    if (r == ERR_NOT_FOUND || (r == ERR_INVALID && (strstr(e->message, "can't find") || strstr(e->message, "not exist"))))
        return err_set_field(e, ERR_NOT_FOUND, "collection", "there is no collection \"%s\"", name);
    if (r)
        return r;
    Mv__DescribeCollectionReply *reply = (Mv__DescribeCollectionReply *)(void *)message;
    r = milvus_check_schema(reply, out, e);
    bool known = false;
    enum store_metric metric = metric_of(value_of(reply->properties, reply->n_properties, "lookalike.metric"), &known);
    MILVUS_FREE(reply);
    if (!m->thumbnails)
        out->settings.thumbnails = false;
    if (!r)
        r = describe_index(m, deadline_ms, out, e);
    if (r || *out->index || any_index)
        return r;
    if (out->ours && known) { /* whoever made it was stopped in between */
        r = make_indexes(m, name, metric, deadline_ms, e);
        return r ? r : describe_index(m, deadline_ms, out, e);
    }
    return err_set(e, ERR_INVALID,
        "collection \"%.100s\" in Milvus has no index on \"vectors\", without which Milvus does not search: make one, with pymilvus: "
        "create_index(\"vectors\", {\"index_type\": \"HNSW\", \"metric_type\": \"L2\", \"params\": {\"M\": 16, \"efConstruction\": 200}})", name);
}

/* --- making ----------------------------------------------------------------------------------------------------- */

#define KV(k, v) {PROTOBUF_C_MESSAGE_INIT(&mv__key_value__descriptor), (char *)(uintptr_t)(k), (char *)(uintptr_t)(v)}

/* Parameters of each kind of index that can be made here. */
static const struct kind {
    const char *name, *params;
} kinds[] = {
    {"HNSW", "{\"M\":16,\"efConstruction\":200}"},
    {"IVF_SQ8", "{\"nlist\":16384}"}, /* as the Python service makes it */
    {"IVF_FLAT", "{\"nlist\":16384}"},
    {"FLAT", "{}"},
    {"AUTOINDEX", "{}"},
};

static enum result create_index(struct milvus *m, const char *name, const char *field, Mv__KeyValue **params, size_t count,
    int64_t deadline_ms, struct err *err)
{
    char copy[LIMIT_COLLECTION_NAME + 1], field_copy[16];
    snprintf(copy, sizeof copy, "%s", name);
    snprintf(field_copy, sizeof field_copy, "%s", field);
    Mv__CreateIndexRequest request = MV__CREATE_INDEX_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    request.collection_name = copy;
    request.field_name = request.index_name = field_copy;
    request.extra_params = params;
    request.n_extra_params = count;
    struct milvus_call call = {.method = "CreateIndex",
        .request = &request.base,
        .reply = &mv__status__descriptor,
        .write = true,
        .repeat = true,
        .deadline_ms = deadline_ms};
    return milvus_call_take(m->link, &call, NULL, NULL, err);
}

static enum result make_indexes(struct milvus *m, const char *name, enum store_metric metric, int64_t deadline_ms, struct err *err)
{
    const struct kind *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !kind; i++)
        if (strcmp(kinds[i].name, m->index) == 0)
            kind = &kinds[i];
    if (!kind)
        return err_set(err, ERR_INVALID, "--milvus-index: \"%.30s\" is none of HNSW, IVF_SQ8, IVF_FLAT, FLAT and AUTOINDEX", m->index);
    Mv__KeyValue list[] = {KV("index_type", kind->name), KV("metric_type", metrics[metric]), KV("params", kind->params)},
                 *pointers[] = {&list[0], &list[1], &list[2]};
    enum result r = create_index(m, name, "vectors", pointers, 3, deadline_ms, err);
    if (r)
        return r;
    /* Scalar indexes have the name that suits in every release but milvus-lite, which wants one named. */
    Mv__KeyValue inverted = KV("index_type", "INVERTED"), *pointer[] = {&inverted};
    r = create_index(m, name, "itemid", NULL, 0, deadline_ms, err);
    return r == ERR_INVALID ? create_index(m, name, "itemid", pointer, 1, deadline_ms, err) : r;
}

static enum result create_collection(
    struct milvus *m, const char *name, const struct store_settings *settings, int64_t deadline_ms, struct err *err)
{
    char copy[LIMIT_COLLECTION_NAME + 1], dim[16], capacity[16], length[16];
    snprintf(copy, sizeof copy, "%s", name);
    snprintf(dim, sizeof dim, "%" PRIu32, settings->dimension);
    snprintf(capacity, sizeof capacity, "%d", LIMIT_TAGS);
    snprintf(length, sizeof length, "%d", LIMIT_TAG_BYTES);
    Mv__KeyValue params[] = {KV("dim", dim), KV("max_capacity", capacity), KV("max_length", length)},
                 *dim_params[] = {&params[0]}, *tag_params[] = {&params[1], &params[2]};
    Mv__FieldSchema fields[WANTED], *pointers[WANTED];
    for (size_t i = 0; i < WANTED; i++) {
        fields[i] = (Mv__FieldSchema)MV__FIELD_SCHEMA__INIT;
        fields[i].name = (char *)(uintptr_t)wanted[i].name;
        fields[i].data_type = wanted[i].data_type;
        fields[i].element_type = wanted[i].element_type;
        fields[i].is_primary_key = i == 0;
        pointers[i] = &fields[i];
    }
    fields[1].type_params = dim_params;
    fields[1].n_type_params = 1;
    fields[3].type_params = tag_params;
    fields[3].n_type_params = 2;
    Mv__CollectionSchema schema = MV__COLLECTION_SCHEMA__INIT;
    schema.name = copy;
    schema.fields = pointers;
    schema.n_fields = WANTED;
    char background[16];
    snprintf(background, sizeof background, "%" PRIu32, settings->background);
    Mv__KeyValue properties[] = {KV("lookalike.model", settings->model), KV("lookalike.metric", metrics[settings->metric]),
                     KV("lookalike.thumbnails", settings->thumbnails ? "yes" : "no"), KV("lookalike.background", background),
                     KV("lookalike.input", settings->input)},
                 *property[] = {&properties[0], &properties[1], &properties[2], &properties[3], &properties[4]};
    uint8_t bytes[2048];
    if (protobuf_c_message_get_packed_size(&schema.base) > sizeof bytes)
        return err_set(err, ERR_INTERNAL, "the schema has more than %zu bytes", sizeof bytes);
    Mv__CreateCollectionRequest request = MV__CREATE_COLLECTION_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    request.collection_name = copy;
    request.schema = (ProtobufCBinaryData){.len = protobuf_c_message_pack(&schema.base, bytes), .data = bytes};
    request.shards_num = SHARDS;
    request.consistency_level = 2; /* bounded, what a client without a wish gets */
    request.properties = property;
    request.n_properties = *settings->input ? 5 : 4;
    struct milvus_call call = {.method = "CreateCollection",
        .request = &request.base,
        .reply = &mv__status__descriptor,
        .write = true,
        .deadline_ms = deadline_ms};
    return milvus_call_take(m->link, &call, NULL, NULL, err);
}

enum result milvus_make(struct milvus *m, const char *name, const struct store_settings *settings, int64_t deadline_ms, struct err *err)
{
    ProtobufCMessage *message = NULL;
    int code = 0;
    struct err local = {0};
    enum result r = call_collection(
        m, "DescribeCollection", name, &mv__describe_collection_reply__descriptor, deadline_ms, &message, &code, &local);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    if (r == ERR_OK)
        return err_set_field(err, ERR_EXISTS, "collection", "collection \"%s\" exists already", name);
    if (r != ERR_NOT_FOUND && r != ERR_INVALID) {
        if (err)
            *err = local;
        return r;
    }
    milvus_forget(m, name);
    r = create_collection(m, name, settings, deadline_ms, err);
    /* What is half made is completed when it is first used, so a failure here loses nothing. */
    return r ? r : make_indexes(m, name, settings->metric, deadline_ms, err);
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

static void take_loaded(void *user, const ProtobufCMessage *reply)
{
    *(bool *)user = ((const Mv__GetLoadStateReply *)(const void *)reply)->state == LOAD_STATE_LOADED;
}

static enum result load_state(struct milvus *m, struct milvus_collection *c, int64_t deadline_ms, bool *loaded, struct err *err)
{
    Mv__GetLoadStateRequest request = MV__GET_LOAD_STATE_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    request.collection_name = c->name;
    struct milvus_call call = {.method = "GetLoadState",
        .request = &request.base,
        .reply = &mv__get_load_state_reply__descriptor,
        .repeat = true,
        .deadline_ms = deadline_ms};
    return milvus_call_take(m->link, &call, take_loaded, loaded, err);
}

static enum result start_loading(struct milvus *m, struct milvus_collection *c, int64_t deadline_ms, struct err *err)
{
    Mv__LoadCollectionRequest request = MV__LOAD_COLLECTION_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    request.collection_name = c->name;
    request.replica_number = 1;
    struct milvus_call call = {.method = "LoadCollection",
        .request = &request.base,
        .reply = &mv__status__descriptor,
        .write = true,
        .repeat = true,
        .deadline_ms = deadline_ms};
    return milvus_call_take(m->link, &call, NULL, NULL, err);
}

/* Several threads may load at once: Milvus takes the second request as the first, so nothing is locked here. */
enum result milvus_load(struct milvus *m, struct milvus_collection *c, int64_t deadline_ms, struct err *err)
{
    bool loaded = false;
    enum result r = load_state(m, c, deadline_ms, &loaded, err);
    if (r == ERR_OK && !loaded)
        r = start_loading(m, c, deadline_ms, err);
    for (int64_t wait = LOAD_POLL_FIRST_MS; r == ERR_OK && !loaded; wait *= 2) {
        if (wait > LOAD_POLL_LAST_MS)
            wait = LOAD_POLL_LAST_MS;
        if (clock_left_ms(deadline_ms) <= wait)
            return err_set(err, ERR_BUSY,
                "Milvus is still loading collection \"%.100s\" into its memory: try again in a moment", c->name);
        struct timespec t = {0, (long)wait * 1000000};
        nanosleep(&t, NULL);
        r = load_state(m, c, deadline_ms, &loaded, err);
    }
    if (r == ERR_OK)
        atomic_store(&c->loaded, true);
    return r;
}
