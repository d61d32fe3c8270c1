/*
 * One Milvus over gRPC: calls with a deadline, and what is known about whether it answers. For store/milvus/ only.
 *
 * Any thread may call; the calling thread waits, and does the waiting itself (gRPC's completion queues to be
 * plucked from), so that there is no thread of ours and no hand-over on the way.
 *
 * Connections: searches and queries go over MILVUS_READ_CHANNELS connections in turn, writes over others, so that
 * a small search does not queue behind megabytes of vectors.
 *
 * When Milvus does not answer, the link is down, and each call first asks for a sign of life (one probe, shared
 * by all who wait, PROBE_MS at most) before it is sent. So an outage costs a request about a second instead of its
 * whole deadline, nothing piles up, and the first request after the outage works: there is no interval to wait for
 * and no thread that looks.
 */
#ifndef STORE_MILVUS_CHANNEL_H
#define STORE_MILVUS_CHANNEL_H

#include "base/err.h"
#include "store/store.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct milvus_link;

/* The texts are copied. ERR_INVALID for an address that is none, a certificate that cannot be read. */
enum result milvus_link_open(
    const struct store_milvus_options *options, struct milvus_link **out, struct err *err) ERR_MUST_USE;
/* No call may run. NULL is accepted. */
void milvus_link_close(struct milvus_link *link);

/* "127.0.0.1:19530", for sentences. */
const char *milvus_link_name(const struct milvus_link *link);
/* The database to name in requests; "" is Milvus's default. Never NULL; not to be changed. */
char *milvus_link_database(const struct milvus_link *link);

struct milvus_call {
    const char *method; /* "Search" */
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *reply;
    bool write;  /* goes over a connection for writes */
    bool repeat; /* asked twice it does no harm: may be sent again when it is not known whether it arrived */
    int64_t deadline_ms;
    int code; /* out: Milvus's own code of a refusal (MILVUS_CODE_…), 0: none */
};

/* Those of Milvus's codes that are told apart. */
enum {
    MILVUS_CODE_NO_COLLECTION = 100,
    MILVUS_CODE_NOT_LOADED = 101,
    MILVUS_CODE_NOT_FULLY_LOADED = 103,
    MILVUS_CODE_NO_INDEX = 700,
    MILVUS_CODE_UNIMPLEMENTED = -2, /* the server does not know this call at all */
};

/*
 * Call and wait. On ERR_OK *out is the reply, to be freed with protobuf_c_message_free_unpacked(), and the status in
 * it is success. Otherwise:
 *   ERR_UNAVAILABLE  Milvus does not answer, refuses the password, is starting; the sentence says what to do
 *   ERR_BUSY         it limits its rate or its memory
 *   ERR_NOT_FOUND    no such collection
 *   ERR_TOO_LARGE    request or reply over the limit of a message
 *   ERR_TIMEOUT      the deadline was passed before anything was sent
 *   ERR_INVALID      it refused for another reason: `code` and the sentence have it
 */
enum result milvus_call(struct milvus_link *link, struct milvus_call *call, ProtobufCMessage **out, struct err *err) ERR_MUST_USE;

/* The same; `take` reads what is wanted of the reply, which is then freed. NULL: nothing is. */
typedef void (*milvus_take_fn)(void *user, const ProtobufCMessage *reply);
enum result milvus_call_take(
    struct milvus_link *link, struct milvus_call *call, milvus_take_fn take, void *user, struct err *err) ERR_MUST_USE;

/* A sign of life, at most PROBE_MS old when this returns ERR_OK. */
enum result milvus_link_probe(struct milvus_link *link, int64_t deadline_ms, struct err *err) ERR_MUST_USE;

#endif
