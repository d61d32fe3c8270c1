#include "store/embedded/tap.h"

#include <stdlib.h>

void embedded_tap_init(struct embedded_tap *tap)
{
    *tap = (struct embedded_tap){0};
    pthread_mutex_init(&tap->mutex, NULL);
}

void embedded_tap_free(struct embedded_tap *tap)
{
    free(tap->fileids);
    tap->fileids = NULL;
    pthread_mutex_destroy(&tap->mutex);
}

bool embedded_tap_open(struct embedded_tap *tap)
{
    pthread_mutex_lock(&tap->mutex);
    bool free = !tap->open;
    tap->open = true;
    if (free) {
        tap->lost = false;
        tap->count = 0;
    }
    pthread_mutex_unlock(&tap->mutex);
    return free;
}

void embedded_tap_shut(struct embedded_tap *tap)
{
    pthread_mutex_lock(&tap->mutex);
    tap->open = false;
    free(tap->fileids);
    tap->fileids = NULL;
    tap->count = tap->room = 0;
    pthread_mutex_unlock(&tap->mutex);
}

static bool make_room(struct embedded_tap *tap)
{
    if (tap->count < tap->room)
        return true;
    size_t room = tap->room ? 2 * tap->room : 64;
    int64_t *fileids = realloc(tap->fileids, room * sizeof *fileids);
    if (!fileids)
        return false;
    tap->fileids = fileids;
    tap->room = room;
    return true;
}

void embedded_tap_add(struct embedded_tap *tap, int64_t fileid)
{
    pthread_mutex_lock(&tap->mutex);
    if (tap->open && make_room(tap))
        tap->fileids[tap->count++] = fileid;
    else if (tap->open)
        tap->lost = true;
    pthread_mutex_unlock(&tap->mutex);
}

int64_t *embedded_tap_take(struct embedded_tap *tap, size_t *count, bool *lost)
{
    pthread_mutex_lock(&tap->mutex);
    int64_t *fileids = tap->count ? tap->fileids : NULL;
    *count = tap->count;
    *lost = tap->lost;
    if (fileids) {
        tap->fileids = NULL;
        tap->count = tap->room = 0;
    }
    tap->lost = false;
    pthread_mutex_unlock(&tap->mutex);
    return fileids;
}
