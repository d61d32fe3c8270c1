/*
 * Queries and searches: what all of them share. The collection is loaded on the first one; a Milvus that says it is
 * not loaded (somebody released it, or Milvus was started anew) is told to load it again, once. A collection that is gone is
 * forgotten.
 */
#include "store/milvus/milvus.h"

#include "base/clock.h"
#include "filter/filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milvus's consistency levels. */
enum { STRONG = 0, SESSION = 1, BOUNDED = 2 };

#define KV(k, v) {PROTOBUF_C_MESSAGE_INIT(&mv__key_value__descriptor), (char *)(uintptr_t)(k), (char *)(uintptr_t)(v)}

static const struct name {
    unsigned bit;
    const char *name;
} names[] = {{MILVUS_COUNT, "count(*)"}, {MILVUS_FILEID, "fileid"}, {MILVUS_ITEMID, "itemid"}, {MILVUS_TAGS, "tags"},
    {MILVUS_BRIEF, "brief"}, {MILVUS_VECTORS, "vectors"}};
enum { NAMES = sizeof names / sizeof *names };

static size_t name_fields(unsigned fields, char *out[NAMES])
{
    size_t n = 0;
    for (size_t i = 0; i < NAMES; i++)
        if (fields & names[i].bit)
            out[n++] = (char *)(uintptr_t)names[i].name;
    return n;
}

enum result milvus_filter_text(const struct filter *filter, const char **out, struct err *err)
{
    if (filter_divides_by_minus_one(filter)) /* seen with 2.3.5: it dies of it where a row has the lowest int64 */
        return err_set_field(err, ERR_UNSUPPORTED, "filter",
            "a division by -1 can end a Milvus, so it is not passed on: multiply by -1 instead");
    *out = filter ? filter_text(filter, NULL) : "";
    return ERR_OK;
}

static void take_timestamp(void *user, const ProtobufCMessage *reply)
{
    *(uint64_t *)user = ((const Mv__TimestampReply *)(const void *)reply)->timestamp;
}

enum result milvus_clock(struct milvus *m, int64_t deadline_ms, uint64_t *out, struct err *err)
{
    Mv__Empty request = MV__EMPTY__INIT;
    struct milvus_call call = {.method = "AllocTimestamp",
        .request = &request.base,
        .reply = &mv__timestamp_reply__descriptor,
        .repeat = true,
        .deadline_ms = deadline_ms};
    return milvus_call_take(m->link, &call, take_timestamp, out, err);
}

/* What a read has to have seen. `writer` and `seen` as in struct milvus_query. */
static enum result consistency(struct milvus *m, struct milvus_collection *c, bool writer, uint64_t seen, int64_t deadline_ms,
    int32_t *level, uint64_t *timestamp, struct err *err)
{
    *timestamp = 0;
    *level = STRONG;
    if (!m->has_clock || (m->consistency == STORE_MILVUS_STRONG && !seen))
        return ERR_OK;
    *level = BOUNDED;
    if (m->consistency == STORE_MILVUS_BOUNDED && !writer)
        return ERR_OK;
    struct milvus_seen now = milvus_session_seen(&c->session);
    if (now.doubt) {
        uint64_t fresh = 0;
        enum result r = milvus_clock(m, deadline_ms, &fresh, err);
        if (r)
            return r;
        milvus_session_settle(&c->session, fresh);
        now.newest = seen = fresh;
    }
    *level = SESSION;
    *timestamp = seen ? seen : now.newest;
    return ERR_OK;
}

struct prepared {
    struct milvus_call call;
    bool from_user;
};

/* With loading before, and once more where Milvus does not have it loaded. */
static enum result send(struct milvus *m, struct milvus_collection *c, struct prepared *p, ProtobufCMessage **out, struct err *err)
{
    struct err local, *e = err ? err : &local;
    enum result r = ERR_OK;
    for (int round = 0; round < 2; round++) {
        if (!atomic_load(&c->loaded))
            r = milvus_load(m, c, p->call.deadline_ms, e);
        if (r)
            break;
        r = milvus_call(m->link, &p->call, out, e);
        if (r != ERR_INVALID || (p->call.code != MILVUS_CODE_NOT_LOADED && p->call.code != MILVUS_CODE_NOT_FULLY_LOADED))
            break;
        atomic_store(&c->loaded, false);
    }
    if (r == ERR_NOT_FOUND) {
        milvus_forget(m, c->name);
        return err_set_field(e, ERR_NOT_FOUND, "collection", "there is no collection \"%s\"", c->name);
    }
    if (r == ERR_INVALID && p->from_user && p->call.code > 0) {
        char text[ERR_MESSAGE_MAX];
        snprintf(text, sizeof text, "%s", e->message);
        return err_set_field(e, ERR_INVALID, "filter", "this Milvus does not take the filter: %.400s", text);
    }
    if (r == ERR_INVALID) /* what we believe of the collection may be old */
        milvus_forget(m, c->name);
    return r;
}

enum result milvus_ask(
    struct milvus *m, struct milvus_collection *c, const struct milvus_query *query, Mv__QueryReply **out, struct err *err)
{
    char *fields[NAMES], limit[16];
    /* Not "for best": 2.3.5 then ends a page with the last row of whichever segment ends first, as though there were no more. */
    Mv__KeyValue params[] = {KV("limit", limit), KV("iterator", "True"), KV("reduce_stop_for_best", "False")},
                 *pointers[] = {&params[0], &params[1], &params[2]};
    Mv__QueryRequest request = MV__QUERY_REQUEST__INIT;
    request.db_name = milvus_link_database(m->link);
    request.collection_name = c->name;
    request.expr = (char *)(uintptr_t)query->expr;
    request.output_fields = fields;
    request.n_output_fields = name_fields(query->fields, fields);
    if (query->limit) {
        snprintf(limit, sizeof limit, "%" PRIu32, query->limit);
        request.query_params = pointers;
        request.n_query_params = 3;
    }
    enum result r = consistency(m, c, query->writer, query->seen, query->deadline_ms, &request.consistency_level,
        &request.guarantee_timestamp, err);
    if (r)
        return r;
    struct prepared p = {.from_user = query->from_user,
        .call = {.method = "Query",
            .request = &request.base,
            .reply = &mv__query_reply__descriptor,
            .repeat = true,
            .deadline_ms = query->deadline_ms}};
    return send(m, c, &p, (ProtobufCMessage **)(void *)out, err);
}

/* The parameters of a search for a kind of index; unknown kinds find their own. */
static void search_params(const struct milvus *m, const struct milvus_collection *c, const struct milvus_search *s, char *out, size_t size)
{
    uint64_t ef = (uint64_t)m->ef * s->effort, nprobe = (uint64_t)m->nprobe * s->effort;
    if (strcmp(c->index, "HNSW") == 0)
        snprintf(out, size, "{\"ef\":%" PRIu64 "}", ef > s->k ? (ef < 32768 ? ef : 32768) : s->k);
    else if (strncmp(c->index, "IVF", 3) == 0)
        snprintf(out, size, "{\"nprobe\":%" PRIu64 "}", nprobe < 65536 ? nprobe : 65536);
    else
        snprintf(out, size, "{}");
}

static uint8_t *placeholder(struct milvus_collection *c, const float *vector, size_t *len)
{
    static char tag[] = "$0";
    ProtobufCBinaryData value = {
        .len = c->settings.dimension * sizeof(float), .data = (uint8_t *)(uintptr_t)vector}; /* little-endian, as every CPU we build for */
    Mv__PlaceholderValue one = MV__PLACEHOLDER_VALUE__INIT, *list[] = {&one};
    one.tag = tag;
    one.type = MILVUS_FLOAT_VECTOR;
    one.values = &value;
    one.n_values = 1;
    Mv__PlaceholderGroup group = MV__PLACEHOLDER_GROUP__INIT;
    group.placeholders = list;
    group.n_placeholders = 1;
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(&group.base));
    if (bytes)
        *len = protobuf_c_message_pack(&group.base, bytes);
    return bytes;
}

enum result milvus_find(
    struct milvus *m, struct milvus_collection *c, const struct milvus_search *s, Mv__SearchReply **out, struct err *err)
{
    static const char *const metrics[] = {[STORE_L2] = "L2", [STORE_IP] = "IP", [STORE_COSINE] = "COSINE"};
    char *fields[NAMES], topk[16], params_text[64];
    Mv__KeyValue params[] = {KV("anns_field", "vectors"), KV("topk", topk), KV("metric_type", metrics[c->settings.metric]),
                     KV("params", params_text), KV("round_decimal", "-1")},
                 *pointers[] = {&params[0], &params[1], &params[2], &params[3], &params[4]};
    Mv__SearchRequest request = MV__SEARCH_REQUEST__INIT;
    snprintf(topk, sizeof topk, "%" PRIu32, s->k);
    search_params(m, c, s, params_text, sizeof params_text);
    request.db_name = milvus_link_database(m->link);
    request.collection_name = c->name;
    request.dsl = (char *)(uintptr_t)s->expr;
    request.dsl_type = 1; /* a boolean expression */
    request.nq = 1;
    request.output_fields = fields;
    request.n_output_fields = name_fields(s->fields & ~(unsigned)MILVUS_FILEID, fields); /* that one comes as ids */
    request.search_params = pointers;
    request.n_search_params = sizeof params / sizeof *params;
    request.placeholder_group.data = placeholder(c, s->vector, &request.placeholder_group.len);
    if (!request.placeholder_group.data)
        return err_no_memory(err);
    enum result r = consistency(
        m, c, false, 0, s->deadline_ms, &request.consistency_level, &request.guarantee_timestamp, err);
    struct prepared p = {.from_user = s->from_user,
        .call = {.method = "Search",
            .request = &request.base,
            .reply = &mv__search_reply__descriptor,
            .repeat = true,
            .deadline_ms = s->deadline_ms}};
    if (!r)
        r = send(m, c, &p, (ProtobufCMessage **)(void *)out, err);
    free(request.placeholder_group.data);
    return r;
}
