#include "store/milvus/session.h"

#include "base/clock.h"
#include "base/limits.h"

#include <stdlib.h>

#define WAYS 8
#define SETS (LIMIT_MILVUS_RECENT / WAYS)

enum result milvus_session_init(struct milvus_session *s, struct err *err)
{
    *s = (struct milvus_session){.doubt = true};
    s->recent = calloc(LIMIT_MILVUS_RECENT, sizeof *s->recent);
    if (!s->recent)
        return err_no_memory(err);
    pthread_mutex_init(&s->mutex, NULL);
    clock_cond_init(&s->cond);
    return ERR_OK;
}

void milvus_session_free(struct milvus_session *s)
{
    if (!s->recent)
        return;
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    free(s->recent);
    s->recent = NULL;
}

/* Fibonacci hashing: neighbours go to different places. */
static uint64_t mix(int64_t fileid)
{
    return (uint64_t)fileid * 0x9e3779b97f4a7c15u;
}

uint64_t milvus_session_stripe(int64_t fileid)
{
    return UINT64_C(1) << (mix(fileid) >> 58);
}

enum result milvus_session_lock(struct milvus_session *s, uint64_t stripes, int64_t deadline_ms, struct err *err)
{
    enum result r = ERR_OK;
    pthread_mutex_lock(&s->mutex);
    while ((s->busy & stripes) && !r)
        if (!clock_wait(&s->cond, &s->mutex, deadline_ms) && (s->busy & stripes))
            r = err_set(err, ERR_TIMEOUT, "another write of the same record did not end in time");
    if (!r)
        s->busy |= stripes;
    pthread_mutex_unlock(&s->mutex);
    return r;
}

void milvus_session_unlock(struct milvus_session *s, uint64_t stripes)
{
    pthread_mutex_lock(&s->mutex);
    s->busy &= ~stripes;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

struct milvus_seen milvus_session_seen(struct milvus_session *s)
{
    pthread_mutex_lock(&s->mutex);
    struct milvus_seen seen = {.newest = s->newest, .forgotten = s->forgotten, .doubt = s->doubt};
    pthread_mutex_unlock(&s->mutex);
    return seen;
}

void milvus_session_settle(struct milvus_session *s, uint64_t timestamp)
{
    pthread_mutex_lock(&s->mutex);
    if (timestamp > s->newest)
        s->newest = timestamp;
    if (timestamp > s->forgotten)
        s->forgotten = timestamp;
    s->doubt = false;
    pthread_mutex_unlock(&s->mutex);
}

void milvus_session_doubt(struct milvus_session *s)
{
    pthread_mutex_lock(&s->mutex);
    s->doubt = true;
    for (size_t i = 0; i < LIMIT_MILVUS_RECENT; i++) /* what was written is no longer sure */
        s->recent[i].timestamp = 0;
    pthread_mutex_unlock(&s->mutex);
}

bool milvus_session_recall(struct milvus_session *s, int64_t fileid, bool *exists)
{
    struct milvus_recent *set = s->recent + mix(fileid) % SETS * WAYS;
    bool known = false;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < WAYS && !known; i++)
        if (set[i].timestamp && set[i].fileid == fileid) {
            known = true;
            *exists = set[i].exists;
        }
    pthread_mutex_unlock(&s->mutex);
    return known;
}

void milvus_session_wrote(struct milvus_session *s, int64_t fileid, bool exists, uint64_t timestamp)
{
    struct milvus_recent *set = s->recent + mix(fileid) % SETS * WAYS, *to = set;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].timestamp && set[i].fileid == fileid) {
            to = &set[i];
            break;
        }
        if (set[i].timestamp < to->timestamp)
            to = &set[i];
    }
    if (to->timestamp && to->fileid != fileid && to->timestamp > s->forgotten)
        s->forgotten = to->timestamp;
    *to = (struct milvus_recent){.fileid = fileid, .exists = exists, .timestamp = timestamp};
    if (timestamp > s->newest)
        s->newest = timestamp;
    pthread_mutex_unlock(&s->mutex);
}
