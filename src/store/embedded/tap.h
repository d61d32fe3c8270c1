/*
 * The fileids that commits changed, for whoever makes a second edition of a collection (reembed.c) and has to look at
 * them again. Nothing is kept while nobody listens.
 */
#ifndef STORE_EMBEDDED_TAP_H
#define STORE_EMBEDDED_TAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embedded_tap {
    pthread_mutex_t mutex; /* of all that follows */
    bool open;
    bool lost; /* there was no memory for one: everything has to be looked at */
    int64_t *fileids;
    size_t count, room;
};

void embedded_tap_init(struct embedded_tap *tap);
void embedded_tap_free(struct embedded_tap *tap);
/* From here on changes are kept. False: somebody listens already. */
bool embedded_tap_open(struct embedded_tap *tap);
void embedded_tap_shut(struct embedded_tap *tap);
/* After a commit, which is then seen by readers. */
void embedded_tap_add(struct embedded_tap *tap, int64_t fileid);
/* What came since the last call, the caller's to free(); NULL where nothing did. *lost: more than these. */
int64_t *embedded_tap_take(struct embedded_tap *tap, size_t *count, bool *lost);

#endif
