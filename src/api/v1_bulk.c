/*
 * POST /v1/collections/{c}/images with NDJSON: any number of records, one a line, in one request.
 *
 * The thread of the request cuts the body into lines as it arrives and hands them to BULK_THREADS threads, so that
 * batches fill and decoding goes on meanwhile: the throughput is the engine's. A window of BULK_WINDOW lines is under
 * way at once, in a ring; results leave it in the order of the lines. Back-pressure follows from that: a full
 * window stops the reading, a full ring of the stream stops the client.
 *
 * What is shared is under the lock. A slot belongs to the reader while FREE or DONE, and to a worker while BUSY.
 */
#include "api/params.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/parse.h"

#include <inttypes.h>
#include <strings.h>

#define BULK_THREADS 16
#define BULK_WINDOW 64
#define BULK_PIECE (64 * (size_t)LIMIT_KIB)

struct slot {
    enum { FREE, WAITING, BUSY, DONE } state;
    char *text;
    size_t len;
    uint64_t line;
    struct buf result;
};

struct bulk {
    struct pipeline *pipeline;
    const char *collection;
    struct route_call *call;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot slots[BULK_WINDOW]; /* of the n-th line: n modulo the window */
    uint64_t taken, started, written; /* lines: put into a slot, begun by a worker, result written */
    size_t bytes;                   /* of the texts in the slots */
    bool closing;
    pthread_t threads[BULK_THREADS];
    unsigned thread_count;
    uint64_t line; /* the reader's: number of the line being read */
    bool skipping; /* the reader's: the line is too long, its rest is thrown away */
};

/* --- one line --------------------------------------------------------------------------------------------------- */

static enum result add_line(struct bulk *b, const struct slot *slot, int64_t *fileid, bool *has_fileid, bool *read, struct err *err)
{
    static const struct http_request nothing; /* the parameters stand in the line alone */
    struct params params = {.request = &nothing};
    struct pipeline_record record = {0};
    enum result r = json_parse_body(slot->text, slot->len, NULL, &params.json, err);
    if (r == ERR_OK && !json_object_is_type(params.json, json_type_object))
        r = err_set(err, ERR_INVALID, "a line must be a JSON object, like {\"fileid\": 1, \"url\": …}");
    if (r == ERR_OK)
        r = params_fileid(&params, &record.fileid, err);
    if (r == ERR_OK) {
        *fileid = record.fileid;
        *has_fileid = true;
        r = params_record(&params, &record, err);
    }
    *read = r == ERR_OK;
    if (r == ERR_OK)
        r = pipeline_add(b->pipeline, b->collection, &record, clock_now_ms() + LIMIT_REQUEST_MS, err);
    params_free(&params);
    return r;
}

static enum result write_result(struct slot *slot, bool has_fileid, int64_t fileid, unsigned status, const struct err *err)
{
    struct buf *out = &slot->result;
    enum result r = buf_appendf(out, "{\"line\":%" PRIu64 ",\"fileid\":", slot->line);
    if (r == ERR_OK)
        r = has_fileid ? buf_appendf(out, "%" PRId64, fileid) : buf_append_str(out, "null");
    if (r == ERR_OK && err)
        r = buf_append_str(out, ",") ? ERR_NO_MEMORY : route_write_problem(out, status, err);
    else if (r == ERR_OK)
        r = buf_appendf(out, ",\"status\":%u", status);
    return r ? r : buf_append_str(out, "}\n");
}

static void run_line(struct bulk *b, struct slot *slot)
{
    struct err err = {0};
    int64_t fileid = 0;
    bool has_fileid = false, read = false;
    enum result r = add_line(b, slot, &fileid, &has_fileid, &read, &err);
    if (r && err.code == ERR_OK)
        err_set(&err, r, "the record was not added: %s", err_name(r));
    unsigned status = r ? route_status(&err, read) : 200;
    buf_init(&slot->result, 8 * (size_t)LIMIT_KIB);
    if (write_result(slot, has_fileid, fileid, status, r ? &err : NULL))
        buf_clear(&slot->result);
}

static void *work(void *arg)
{
    struct bulk *b = arg;
    pthread_mutex_lock(&b->lock);
    for (;;) {
        while (b->started == b->taken && !b->closing)
            clock_wait(&b->changed, &b->lock, CLOCK_NO_DEADLINE);
        if (b->started == b->taken)
            break;
        struct slot *slot = &b->slots[b->started++ % BULK_WINDOW];
        bool ready = slot->state == DONE; /* a line that was too long has its result already */
        if (!ready)
            slot->state = BUSY;
        pthread_mutex_unlock(&b->lock);
        if (!ready)
            run_line(b, slot);
        pthread_mutex_lock(&b->lock);
        b->bytes -= slot->len;
        free(slot->text);
        slot->text = NULL;
        slot->len = 0;
        slot->state = DONE;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* --- the reader ------------------------------------------------------------------------------------------------- */

/* Write what is ready, in order. Where `all`, wait for it. With the lock, which is let go of while writing. */
static enum result flush(struct bulk *b, bool all, struct err *err)
{
    enum result r = ERR_OK;
    while (b->written < b->taken) {
        struct slot *slot = &b->slots[b->written % BULK_WINDOW];
        if (slot->state != DONE || b->started <= b->written) {
            if (!all)
                break;
            clock_wait(&b->changed, &b->lock, CLOCK_NO_DEADLINE);
            continue;
        }
        struct buf result = slot->result;
        slot->result = (struct buf){0};
        slot->state = FREE;
        b->written++;
        pthread_mutex_unlock(&b->lock);
        if (r == ERR_OK) /* after a failure nobody reads any more, but the lines under way still end */
            r = http_stream_write(b->call->request->stream, b->call->reply, result.data, result.len, err);
        buf_free(&result);
        pthread_mutex_lock(&b->lock);
    }
    return r;
}

/* Put a line into its slot as soon as there is one. `text` becomes the slot's; NULL: it was too long. */
static enum result submit(struct bulk *b, char *text, size_t len, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&b->lock);
    r = flush(b, false, err);
    while (r == ERR_OK && (b->taken - b->written == BULK_WINDOW || (b->bytes && b->bytes + len > LIMIT_BULK_BYTES))) {
        clock_wait(&b->changed, &b->lock, CLOCK_NO_DEADLINE);
        r = flush(b, false, err);
    }
    if (r == ERR_OK) {
        struct slot *slot = &b->slots[b->taken++ % BULK_WINDOW];
        *slot = (struct slot){.state = text ? WAITING : DONE, .text = text, .len = len, .line = b->line};
        b->bytes += len;
        if (!text) {
            struct err why = {0};
            err_set(&why, ERR_TOO_LARGE, "the line is longer than %d bytes, the most accepted here", LIMIT_BULK_LINE);
            buf_init(&slot->result, 8 * (size_t)LIMIT_KIB);
            if (write_result(slot, false, 0, 413, &why))
                buf_clear(&slot->result);
        }
        pthread_cond_broadcast(&b->changed);
    } else {
        free(text);
    }
    pthread_mutex_unlock(&b->lock);
    return r;
}

static bool is_blank_line(const char *text, size_t len)
{
    while (len && memchr(" \t\r", text[len - 1], 3))
        len--;
    return len == 0;
}

/* The line in `line` is complete. */
static enum result end_line(struct bulk *b, struct buf *line, struct err *err)
{
    enum result r = ERR_OK;
    b->line++;
    size_t skip = b->line == 1 ? parse_mark(line->data, line->len) : 0;
    if (b->skipping) {
        b->skipping = false;
        r = submit(b, NULL, 0, err);
    } else if (line->len > skip && !is_blank_line(line->data + skip, line->len - skip)) {
        char *text = malloc(line->len - skip);
        if (!text)
            return err_no_memory(err);
        memcpy(text, line->data + skip, line->len - skip);
        r = submit(b, text, line->len - skip, err);
    }
    if (line->cap > LIMIT_MIB) /* one long line does not hold its memory for the rest */
        buf_free(line);
    else
        buf_clear(line);
    return r;
}

static enum result take_piece(struct bulk *b, struct buf *line, const char *piece, size_t n, struct err *err)
{
    enum result r = ERR_OK;
    while (r == ERR_OK && n > 0) {
        const char *end = memchr(piece, '\n', n);
        size_t len = end ? (size_t)(end - piece) : n;
        if (!b->skipping && buf_append(line, piece, len)) {
            b->skipping = true;
            buf_free(line);
        }
        if (end)
            r = end_line(b, line, err);
        piece += len + (end != NULL);
        n -= len + (end != NULL);
    }
    return r;
}

static enum result read_lines(struct bulk *b, struct err *err)
{
    struct buf line;
    buf_init(&line, LIMIT_BULK_LINE);
    char *piece = malloc(BULK_PIECE);
    enum result r = piece ? ERR_OK : err_no_memory(err);
    for (size_t n = 1; r == ERR_OK && n > 0;) {
        r = http_stream_read(b->call->request->stream, piece, BULK_PIECE, &n, err);
        if (r == ERR_OK)
            r = take_piece(b, &line, piece, n, err);
    }
    if (r == ERR_OK && (line.len || b->skipping)) /* the last line need not end */
        r = end_line(b, &line, err);
    free(piece);
    buf_free(&line);
    return r;
}

static enum result run(struct bulk *b, struct err *err)
{
    while (b->thread_count < BULK_THREADS && pthread_create(&b->threads[b->thread_count], NULL, work, b) == 0)
        b->thread_count++;
    enum result r = b->thread_count ? read_lines(b, err) : err_set(err, ERR_BUSY, "no thread can be started at the moment");
    struct err late = {0};
    pthread_mutex_lock(&b->lock);
    enum result rest = b->thread_count ? flush(b, true, &late) : ERR_OK;
    b->closing = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->thread_count; i++)
        pthread_join(b->threads[i], NULL);
    if (r == ERR_OK && rest)
        r = err_set(err, rest, "%s", late.message);
    return r;
}

static bool is_ndjson(const char *type)
{
    static const char *const types[] = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
        "application/json-lines"};
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++) {
        size_t n = strlen(types[i]);
        if (strncasecmp(type, types[i], n) == 0 && (!type[n] || strchr("; \t", type[n])))
            return true;
    }
    return false;
}

enum result v1_images_bulk(struct route_call *call, struct err *err)
{
    struct store_settings settings;
    if (!is_ndjson(http_header(call->request, "Content-Type")))
        return err_set_field(err, ERR_UNSUPPORTED, "Content-Type", "records are added in bulk as application/x-ndjson, one JSON object a line");
    enum result r = store_settings(pipeline_store(call->pipeline), call->collection, &settings, err);
    if (r)
        return r;
    if (!call->request->stream)
        return err_set(err, ERR_INTERNAL, "the request is not streamed");
    struct bulk *b = calloc(1, sizeof *b);
    if (!b || clock_cond_init(&b->changed)) {
        free(b);
        return err_no_memory(err);
    }
    pthread_mutex_init(&b->lock, NULL);
    b->pipeline = call->pipeline;
    b->collection = call->collection;
    b->call = call;
    call->reply->content_type = "application/x-ndjson";
    r = run(b, err);
    /* Where nothing was written yet the reply can still say what went wrong; else it has said it line by line. */
    if (b->written > 0)
        r = ERR_OK;
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    free(b);
    return r;
}
