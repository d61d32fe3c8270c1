/* A server under test and a client of raw sockets, so that a test decides on every byte and when it is sent.
 */
#ifndef TESTS_HTTP_RAW_H
#define TESTS_HTTP_RAW_H

#include "http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

struct site {
    struct http_server *server;
    atomic_int calls;  /* of the handler */
    atomic_int inside; /* handlers running now */
    atomic_int gated;  /* calls of the gate */
    sem_t release;     /* "/block" waits for it */
};

/*
 * Paths: "/echo" the body; "/info" what arrived, as lines; "/block" waits for site->release; "/sleep?ms=N";
 * "/big?n=N" N bytes; "/static"; "/bad" a status of 7; "/deny" is refused by the gate with 401; "/light" is light, says the
 * gate. Errors have the body "E<status> <message>".
 */
void raw_start(struct site *site, struct http_options options);
void raw_stop(struct site *site, int64_t grace_ms);

int raw_connect(const struct site *site);
void raw_send(int fd, const char *text);
void raw_send_n(int fd, const void *data, size_t len);
/* As raw_send_n(), but a refusal by the other side is no failure: the bytes that went. */
size_t raw_try_send(int fd, const void *data, size_t len);
/* Nothing arrives for `ms`. */
bool raw_is_silent(int fd, int ms);
/* The other side closes, without further bytes, within 5 s. A reset counts only where `reset_too`. */
bool raw_is_closed(int fd);

struct raw_reply {
    int status; /* 0: closed before a reply; -1: reset or silence */
    char head[8192];
    char *body;
    size_t len;
};
/* One reply, within 10 s. `no_body`: to HEAD. Release with raw_free(). */
struct raw_reply raw_read(int fd, bool no_body);
void raw_free(struct raw_reply *reply);
/* Value of a header, or NULL; valid until the next call in this thread. */
const char *raw_header(const struct raw_reply *reply, const char *name);
/* Send, read one reply, close; the status. */
int raw_status(const struct site *site, const char *text, size_t len);
/* Room for many descriptors; false where the system does not allow it. */
bool raw_want_descriptors(unsigned count);

#define SEND(fd, literal) raw_send_n(fd, literal, sizeof(literal) - 1)
#define STATUS(site, literal) raw_status(site, literal, sizeof(literal) - 1)

#endif
