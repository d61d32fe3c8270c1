/*
 * gRPC's C core. A call is one batch of operations on a completion queue of its own; the calling thread plucks its
 * one event and thereby drives the connection itself. The alternative, one queue and threads that hand results
 * over, costs two context switches a call.
 *
 * Deadlines are gRPC's: an operation that is not over by then ends with DEADLINE_EXCEEDED, so a pluck never waits
 * longer, whatever the other side does.
 *
 * Memory: `struct attempt` owns what gRPC writes into, until the event has come; nothing is cancelled and left behind.
 */
#include "store/milvus/channel.h"

#include "base/blocking.h"
#include "base/clock.h"
#include "base/limits.h"
#include "store/milvus/proto.h"
#include "store/milvus/status.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE "/milvus.proto.milvus.MilvusService/"
#define READ_CHANNELS 4
#define WRITE_CHANNELS 2
#define PROBE_MS 1000     /* how long a sign of life may take */
#define PROBE_REST_MS 100 /* after a probe that failed, others fail with it for so long */
#define BACKOFF_FIRST_MS 200
#define BACKOFF_LAST_MS 2000
#define KEEPALIVE_MS 55000 /* as pymilvus; a server may end connections that ask more often */
#define RETRIES 4

struct milvus_link {
    char name[320], database[256];
    char *authorization; /* value of the header, or NULL */
    unsigned timeout_ms;
    grpc_channel *read[READ_CHANNELS], *write[WRITE_CHANNELS];
    atomic_uint next_read, next_write;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t cond;   /* a probe has ended */
    bool down, probing;
    uint64_t probes;        /* ended */
    int64_t failed_ms;      /* when the last probe failed */
    struct err why;         /* of being down */
};

/* --- one attempt -------------------------------------------------------------------------------------------- */

struct attempt {
    grpc_completion_queue *queue;
    grpc_call *call;
    grpc_byte_buffer *request, *reply;
    grpc_metadata_array head, tail;
    grpc_metadata sent[1];
    grpc_status_code status;
    grpc_slice details;
};

static void attempt_clear(struct attempt *a)
{
    if (a->call)
        grpc_call_unref(a->call);
    if (a->queue) {
        grpc_completion_queue_shutdown(a->queue);
        grpc_completion_queue_destroy(a->queue);
    }
    grpc_byte_buffer_destroy(a->request);
    grpc_byte_buffer_destroy(a->reply);
    grpc_metadata_array_destroy(&a->head);
    grpc_metadata_array_destroy(&a->tail);
    grpc_slice_unref(a->details);
}

static gpr_timespec grpc_deadline(int64_t deadline_ms)
{
    return gpr_time_add(
        gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(clock_left_ms(deadline_ms), GPR_TIMESPAN));
}

static grpc_byte_buffer *pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static bool run_batch(struct milvus_link *link, struct attempt *a, bool wait_for_ready)
{
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
    };
    if (wait_for_ready)
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    if (link->authorization) {
        a->sent[0].key = grpc_slice_from_static_string("authorization");
        a->sent[0].value = grpc_slice_from_static_string(link->authorization);
        ops[0].data.send_initial_metadata.metadata = a->sent;
        ops[0].data.send_initial_metadata.count = 1;
    }
    ops[1].data.send_message.send_message = a->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &a->head;
    ops[4].data.recv_message.recv_message = &a->reply;
    ops[5].data.recv_status_on_client.trailing_metadata = &a->tail;
    ops[5].data.recv_status_on_client.status = &a->status;
    ops[5].data.recv_status_on_client.status_details = &a->details;
    if (grpc_call_start_batch(a->call, ops, sizeof ops / sizeof *ops, a, NULL) != GRPC_CALL_OK)
        return false;
    blocking_begin();
    grpc_completion_queue_pluck(a->queue, a, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    blocking_end();
    return true;
}

static enum result unpack(
    const ProtobufCMessageDescriptor *descriptor, grpc_byte_buffer *bytes, ProtobufCMessage **out, struct err *err)
{
    grpc_byte_buffer_reader reader;
    if (!bytes || !grpc_byte_buffer_reader_init(&reader, bytes))
        return err_set(err, ERR_UNAVAILABLE, "Milvus sent an empty reply");
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    ProtobufCMessage *m =
        protobuf_c_message_unpack(descriptor, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);
    if (!m)
        return err_set(err, ERR_UNAVAILABLE, "Milvus sent a reply that is not of its protocol");
    *out = m;
    return ERR_OK;
}

struct path {
    grpc_channel *channel;
    bool wait_for_ready;
    int64_t deadline_ms;
};

/* Once over the wire. *status is gRPC's; with GRPC_STATUS_OK the result is that of reading the reply. */
static enum result attempt(struct milvus_link *link, const struct path *path, const struct milvus_call *call,
    grpc_status_code *status, ProtobufCMessage **out, struct err *err)
{
    char method[96];
    snprintf(method, sizeof method, SERVICE "%s", call->method);
    struct attempt a = {.details = grpc_empty_slice(), .status = GRPC_STATUS_INTERNAL};
    grpc_metadata_array_init(&a.head);
    grpc_metadata_array_init(&a.tail);
    a.queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_slice name = grpc_slice_from_copied_string(method);
    a.call = grpc_channel_create_call(path->channel, NULL, GRPC_PROPAGATE_DEFAULTS, a.queue, name, NULL,
        grpc_deadline(path->deadline_ms), NULL);
    grpc_slice_unref(name);
    a.request = pack(call->request);
    enum result r = ERR_OK;
    *status = GRPC_STATUS_INTERNAL;
    if (!run_batch(link, &a, path->wait_for_ready)) {
        r = err_set(err, ERR_INTERNAL, "gRPC does not take the call %s", call->method);
    } else if (a.status != GRPC_STATUS_OK) {
        char details[200];
        snprintf(details, sizeof details, "%.*s", (int)GRPC_SLICE_LENGTH(a.details),
            (const char *)GRPC_SLICE_START_PTR(a.details));
        *status = a.status;
        r = milvus_grpc_error((int)a.status, details, link->name, err);
    } else {
        *status = GRPC_STATUS_OK;
        r = unpack(call->reply, a.reply, out, err);
    }
    attempt_clear(&a);
    return r;
}

/* --- up and down -------------------------------------------------------------------------------------------- */

static void set_up(struct milvus_link *link)
{
    pthread_mutex_lock(&link->mutex);
    link->down = false;
    link->why.code = ERR_OK;
    pthread_mutex_unlock(&link->mutex);
}

static void set_down(struct milvus_link *link, const struct err *why)
{
    pthread_mutex_lock(&link->mutex);
    link->down = true;
    link->why = *why;
    pthread_mutex_unlock(&link->mutex);
}

static bool is_down(struct milvus_link *link)
{
    pthread_mutex_lock(&link->mutex);
    bool down = link->down;
    pthread_mutex_unlock(&link->mutex);
    return down;
}

/* The probe itself. gRPC waits longer and longer between its attempts to connect; here somebody is waiting. *late: only time passed. */
static enum result send_probe(struct milvus_link *link, int64_t deadline_ms, bool *late, struct err *err)
{
    Mv__Empty nothing = MV__EMPTY__INIT;
    struct milvus_call call = {
        .method = "GetVersion", .request = &nothing.base, .reply = &mv__version_reply__descriptor};
    struct path path = {.channel = link->read[0], .wait_for_ready = true, .deadline_ms = deadline_ms};
    ProtobufCMessage *reply = NULL;
    grpc_status_code status;
    for (size_t i = 0; i < READ_CHANNELS; i++)
        grpc_channel_reset_connect_backoff(link->read[i]);
    for (size_t i = 0; i < WRITE_CHANNELS; i++)
        grpc_channel_reset_connect_backoff(link->write[i]);
    enum result r = attempt(link, &path, &call, &status, &reply, err);
    *late = r && status == GRPC_STATUS_DEADLINE_EXCEEDED;
    if (r && status == GRPC_STATUS_UNIMPLEMENTED) /* not Milvus, or before 2.3; something answers */
        r = err_set(err, ERR_UNAVAILABLE,
            "what listens on %s is no Milvus (2.3 or later): set --milvus-uri, or MILVUS_HOST and MILVUS_PORT", link->name);
    if (reply)
        protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

enum result milvus_link_probe(struct milvus_link *link, int64_t deadline_ms, struct err *err)
{
    enum result r = ERR_OK;
    int64_t until = clock_now_ms() + PROBE_MS;
    if (deadline_ms && deadline_ms < until)
        until = deadline_ms;
    pthread_mutex_lock(&link->mutex);
    uint64_t seen = link->probes;
    if (link->probing) {
        while (link->probes == seen && clock_wait(&link->cond, &link->mutex, until + PROBE_REST_MS))
            ;
        r = link->down || link->probes == seen ? ERR_UNAVAILABLE : ERR_OK;
    } else if (link->down && clock_now_ms() - link->failed_ms < PROBE_REST_MS) {
        r = ERR_UNAVAILABLE;
    } else {
        struct err why = {0};
        bool late = false;
        link->probing = true;
        pthread_mutex_unlock(&link->mutex);
        r = send_probe(link, until, &late, &why);
        pthread_mutex_lock(&link->mutex);
        link->probing = false;
        link->probes++;
        link->down = r != ERR_OK;
        if (!r) {
            link->why.code = ERR_OK;
        } else {
            if (!late || !link->why.code) /* that nobody listens there says more than that time passed */
                link->why = why;
            link->failed_ms = clock_now_ms();
        }
        pthread_cond_broadcast(&link->cond);
    }
    if (r && err)
        *err = link->why;
    if (r)
        r = link->why.code ? link->why.code : ERR_UNAVAILABLE;
    pthread_mutex_unlock(&link->mutex);
    return r;
}

/* --- calls ---------------------------------------------------------------------------------------------------- */

static grpc_channel *pick(struct milvus_link *link, bool write)
{
    if (write)
        return link->write[atomic_fetch_add_explicit(&link->next_write, 1, memory_order_relaxed) % WRITE_CHANNELS];
    return link->read[atomic_fetch_add_explicit(&link->next_read, 1, memory_order_relaxed) % READ_CHANNELS];
}

static void rest(unsigned tried, int64_t deadline_ms)
{
    int64_t ms = BACKOFF_FIRST_MS << tried, left = clock_left_ms(deadline_ms);
    if (ms > BACKOFF_LAST_MS)
        ms = BACKOFF_LAST_MS;
    if (ms > left)
        ms = left;
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* One attempt with what it says about the link, and Milvus's own status. *again: it may be tried again. */
static enum result call_once(struct milvus_link *link, struct milvus_call *call, int64_t deadline_ms, bool *again,
    ProtobufCMessage **out, struct err *err)
{
    grpc_status_code status;
    ProtobufCMessage *reply = NULL;
    struct path path = {.channel = pick(link, call->write), .deadline_ms = deadline_ms};
    *again = false;
    enum result r = attempt(link, &path, call, &status, &reply, err);
    if (status == GRPC_STATUS_UNIMPLEMENTED)
        call->code = MILVUS_CODE_UNIMPLEMENTED;
    if (status == GRPC_STATUS_UNAVAILABLE || status == GRPC_STATUS_DEADLINE_EXCEEDED) {
        set_down(link, err);
        *again = call->repeat && status == GRPC_STATUS_UNAVAILABLE;
        return r;
    }
    set_up(link);
    if (r)
        return r;
    r = milvus_status_error(milvus_status_of(reply), &call->code, err);
    *again = r == ERR_BUSY || (r == ERR_UNAVAILABLE && call->repeat);
    if (r)
        protobuf_c_message_free_unpacked(reply, NULL);
    else
        *out = reply;
    return r;
}

enum result milvus_call(struct milvus_link *link, struct milvus_call *call, ProtobufCMessage **out, struct err *err)
{
    struct err local, *e = err ? err : &local;
    int64_t until = clock_now_ms() + link->timeout_ms;
    if (call->deadline_ms && call->deadline_ms < until)
        until = call->deadline_ms;
    if (clock_passed(call->deadline_ms))
        return err_set(e, ERR_TIMEOUT, "no time was left to ask Milvus (%s)", call->method);
    enum result r = ERR_OK;
    for (unsigned tried = 0;; tried++) {
        bool again = false;
        call->code = 0;
        if (is_down(link) && (r = milvus_link_probe(link, until, e)))
            return r;
        r = call_once(link, call, until, &again, out, e);
        if (!again || tried >= RETRIES || clock_passed(until))
            return r;
        if (!is_down(link)) /* it answered that it cannot now */
            rest(tried, until);
    }
}

enum result milvus_call_take(
    struct milvus_link *link, struct milvus_call *call, milvus_take_fn take, void *user, struct err *err)
{
    ProtobufCMessage *reply = NULL;
    enum result r = milvus_call(link, call, &reply, err);
    if (r)
        return r;
    if (take)
        take(user, reply);
    protobuf_c_message_free_unpacked(reply, NULL);
    return ERR_OK;
}

/* --- opening -------------------------------------------------------------------------------------------------- */

/* "http://host:port", "https://host:port", "host:port", "host" → target and whether TLS. */
static enum result parse_uri(const char *uri, char *target, size_t size, bool *tls, struct err *err)
{
    const char *p = uri;
    *tls = false;
    if (strncmp(p, "https://", 8) == 0) {
        *tls = true;
        p += 8;
    } else if (strncmp(p, "http://", 7) == 0 || strncmp(p, "tcp://", 6) == 0) {
        p = strstr(p, "://") + 3;
    }
    size_t n = strcspn(p, "/?#");
    const char *rest_of = p + n;
    if (strcmp(rest_of, "/") == 0)
        rest_of = "";
    if (n == 0 || n > 256 || *rest_of || memchr(p, '@', n) || memchr(p, ' ', n))
        return err_set(err, ERR_INVALID,
            "--milvus-uri: \"%.100s\" is no address of a Milvus; write http://HOST:PORT, or https://HOST:PORT for TLS", uri);
    const char *colon = memchr(p, ':', n), *bracket = memchr(p, ']', n);
    bool has_port = bracket ? bracket + 1 < p + n && bracket[1] == ':' : colon != NULL;
    snprintf(target, size, has_port ? "%.*s" : "%.*s:19530", (int)n, p);
    return ERR_OK;
}

/* The header that carries user and password, or an API key: base64, as Milvus wants both. */
static enum result make_authorization(const struct store_milvus_options *o, char **out, struct err *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[1024];
    if (!o->user && !o->token)
        return ERR_OK;
    if (o->user && strchr(o->user, ':'))
        return err_set(err, ERR_INVALID, "--milvus-user: a name has no colon");
    int n = o->token ? snprintf(text, sizeof text, "%s", o->token)
                     : snprintf(text, sizeof text, "%s:%s", o->user, o->password ? o->password : "");
    if (n < 0 || (size_t)n >= sizeof text - 2)
        return err_set(err, ERR_INVALID, "the API key, or user and password, for Milvus is longer than %zu bytes", sizeof text - 3);
    char *to = calloc(1, (size_t)n / 3 * 4 + 5), *p = to;
    if (!to)
        return err_no_memory(err);
    text[n + 1] = text[n] = '\0';
    for (int i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)text[i] << 16 | (uint32_t)(uint8_t)(i + 1 < n ? text[i + 1] : 0) << 8 |
                     (uint8_t)(i + 2 < n ? text[i + 2] : 0);
        *p++ = digits[v >> 18];
        *p++ = digits[v >> 12 & 63];
        *p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *p++ = i + 2 < n ? digits[v & 63] : '=';
    }
    *out = to;
    return ERR_OK;
}

static enum result read_pem(const char *path, const char *flag, char **out, struct err *err)
{
    if (!path)
        return ERR_OK;
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set_errno(err, errno, "%s: cannot read %.200s", flag, path);
    char *text = calloc(1, LIMIT_MILVUS_PEM + 1);
    size_t n = text ? fread(text, 1, LIMIT_MILVUS_PEM, f) : 0;
    fclose(f);
    if (!text)
        return err_no_memory(err);
    if (!strstr(text, "-----BEGIN") || n == LIMIT_MILVUS_PEM) {
        free(text);
        return err_set(err, ERR_INVALID, "%s: %.200s is no PEM file", flag, path);
    }
    *out = text;
    return ERR_OK;
}

static enum result make_credentials(
    const struct store_milvus_options *o, bool tls, grpc_channel_credentials **out, struct err *err)
{
    char *ca = NULL, *cert = NULL, *key = NULL;
    enum result r = ERR_OK;
    if (!tls && (o->ca || o->cert || o->key))
        return err_set(err, ERR_INVALID, "certificates for Milvus are given, but its address is not https://: write --milvus-uri https://HOST:PORT");
    if (tls && !o->cert != !o->key)
        return err_set(err, ERR_INVALID, "--milvus-cert and --milvus-key belong together");
    if (!tls) {
        *out = grpc_insecure_credentials_create();
        return ERR_OK;
    }
    r = read_pem(o->ca, "--milvus-ca", &ca, err);
    if (!r)
        r = read_pem(o->cert, "--milvus-cert", &cert, err);
    if (!r)
        r = read_pem(o->key, "--milvus-key", &key, err);
    if (!r) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = cert};
        *out = grpc_ssl_credentials_create(ca, cert ? &pair : NULL, NULL, NULL);
        if (!*out)
            r = err_set(err, ERR_INVALID, "gRPC does not accept these certificates for Milvus");
    }
    free(ca);
    free(cert);
    free(key);
    return r;
}

static void make_channels(struct milvus_link *link, const char *target, grpc_channel_credentials *credentials)
{
#define INT(k, v) {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(k), .value.integer = (v)}
    grpc_arg list[] = {
        INT(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), /* or all channels would share one connection */
        INT(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, LIMIT_MILVUS_REPLY),
        INT(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        INT(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_FIRST_MS),
        INT(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, BACKOFF_LAST_MS),
        INT(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_LAST_MS),
        INT(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        INT(GRPC_ARG_ENABLE_RETRIES, 0), /* what may be repeated is decided here */
        INT(GRPC_ARG_ENABLE_HTTP_PROXY, 0), /* http_proxy in the environment is not meant for this */
    };
#undef INT
    const grpc_channel_args args = {.num_args = sizeof list / sizeof *list, .args = list};
    for (size_t i = 0; i < READ_CHANNELS; i++)
        link->read[i] = grpc_channel_create(target, credentials, &args);
    for (size_t i = 0; i < WRITE_CHANNELS; i++)
        link->write[i] = grpc_channel_create(target, credentials, &args);
}

/* What gRPC would print to standard error is in the sentences as well. */
static void say_nothing(gpr_log_func_args *args)
{
    (void)args;
}

enum result milvus_link_open(const struct store_milvus_options *options, struct milvus_link **out, struct err *err)
{
    bool tls = false;
    grpc_channel_credentials *credentials = NULL;
    struct milvus_link *link = calloc(1, sizeof *link);
    if (!link)
        return err_no_memory(err);
    pthread_mutex_init(&link->mutex, NULL);
    clock_cond_init(&link->cond);
    gpr_set_log_function(say_nothing);
    grpc_init();
    link->timeout_ms = options->timeout_ms ? options->timeout_ms : STORE_MILVUS_TIMEOUT_MS;
    snprintf(link->database, sizeof link->database, "%s", options->database ? options->database : "");
    enum result r = parse_uri(options->uri, link->name, sizeof link->name, &tls, err);
    if (!r)
        r = make_authorization(options, &link->authorization, err);
    if (!r)
        r = make_credentials(options, tls, &credentials, err);
    if (!r) {
        make_channels(link, link->name, credentials);
        grpc_channel_credentials_release(credentials);
        *out = link;
    } else {
        milvus_link_close(link);
    }
    return r;
}

void milvus_link_close(struct milvus_link *link)
{
    if (!link)
        return;
    for (size_t i = 0; i < READ_CHANNELS; i++)
        if (link->read[i])
            grpc_channel_destroy(link->read[i]);
    for (size_t i = 0; i < WRITE_CHANNELS; i++)
        if (link->write[i])
            grpc_channel_destroy(link->write[i]);
    grpc_shutdown_blocking();
    pthread_cond_destroy(&link->cond);
    pthread_mutex_destroy(&link->mutex);
    free(link->authorization);
    free(link);
}

const char *milvus_link_name(const struct milvus_link *link)
{
    return link->name;
}

char *milvus_link_database(const struct milvus_link *link)
{
    return (char *)(uintptr_t)link->database;
}
