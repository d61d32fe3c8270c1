/*
 * A small HTTP server for tests, on loopback only: 127.0.0.1, 127.0.0.2, 127.1.2.3 and ::1, all at one port.
 * Each connection has a thread. What it answers is chosen by the path:
 *
 *   /ok                 the 13 bytes "picture bytes"      /empty      200 without a body
 *   /size/N             N bytes, with Content-Length      /open/N     N bytes, ended by closing
 *   /chunked/N          N bytes, chunked                  /short      closes before Content-Length is reached
 *   /less               sends more than Content-Length    /status/N   that status, with a body
 *   /redirect/N         N redirects, then /ok             /loop       redirects to itself
 *   /to?URL             redirects to URL, as it is        /nowhere    302 without Location
 *   /open-redirect      to /ok, its body never comes      /continue   100, then as /ok
 *   /hang               never answers                     /hang-body  headers, then nothing
 *   /drip               a byte every 20 ms, forever       /slow/MS    /ok after MS milliseconds
 *   /garbage            not HTTP                          /gzip       Content-Encoding: gzip
 *   /te-gzip            Transfer-Encoding: gzip           /headers/N  N bytes of headers, then as /ok
 *   /claim/N            Content-Length N, then nothing
 *   /echo               the request as it came            /close      as /ok, then closes without saying so
 */
#ifndef TESTS_FETCH_TEST_SERVER_H
#define TESTS_FETCH_TEST_SERVER_H

#include <stddef.h>

enum test_server_address { AT_127_0_0_1, AT_127_0_0_2, AT_127_1_2_3, AT_IPV6, AT_COUNT };

#define TEST_SERVER_BODY "picture bytes"

struct test_server;

/* Ends the program where no port is to be had. */
struct test_server *test_server_start(void);
/* Waits for the threads. */
void test_server_stop(struct test_server *s);
unsigned test_server_port(const struct test_server *s);

/* Since the last reset. */
void test_server_reset(struct test_server *s);
unsigned test_server_connections(struct test_server *s);
unsigned test_server_connections_at(struct test_server *s, enum test_server_address at);
/* Most requests that were being answered at one time. */
unsigned test_server_peak(struct test_server *s);
/* The head of the last request. */
void test_server_last_request(struct test_server *s, char *out, size_t room);

#endif
