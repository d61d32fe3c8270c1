/*
 * Stands between libcurl and the network: getaddrinfo() and connect() of the test program replace libc's.
 * Names are answered from a table, nothing is asked of a name server, and a connection to anything but
 * loopback is counted and refused. So nothing leaves the machine, whatever the code under test does.
 *
 *   loop4.test 127.0.0.1   loop6.test ::1   mapped.test ::ffff:127.0.0.1   meta.test 169.254.169.254
 *   public.test 8.8.8.8    mixed.test 127.0.0.2 and 127.0.0.1              slow.test 127.0.0.1 after 1.5 s
 *   rebind.test 127.0.0.1, and 127.0.0.2 every other time                  nat64.test 64:ff9b::7f00:1
 */
#ifndef TESTS_FETCH_FAKE_NET_H
#define TESTS_FETCH_FAKE_NET_H

/* Since the start of the program. */
unsigned fake_net_lookups(void);
/* Connections that would have left the machine. */
unsigned fake_net_escapes(void);

#endif
