#include "auth/rate.h"

#include "base/clock.h"
#include "base/limits.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define WAYS 8
#define SETS (LIMIT_RATE_BUCKETS / WAYS)
#define WHO_MAX 24
#define BURST_SECONDS 2

struct bucket {
    char who[WHO_MAX];
    int64_t used_us; /* 0: nobody's */
    double tokens;
};

struct rate {
    double per_second, most;
    uint64_t seed; /* so that nobody can choose addresses that meet in one set */
    pthread_mutex_t lock;
    struct bucket buckets[SETS][WAYS];
};

enum result rate_new(unsigned per_second, struct rate **out, struct err *err)
{
    struct rate *rate = calloc(1, sizeof *rate);
    if (!rate)
        return err_no_memory(err);
    rate->per_second = per_second;
    rate->most = (double)per_second * BURST_SECONDS;
    if (getrandom(&rate->seed, sizeof rate->seed, 0) != (ssize_t)sizeof rate->seed)
        rate->seed = (uint64_t)clock_now_us();
    pthread_mutex_init(&rate->lock, NULL);
    *out = rate;
    return ERR_OK;
}

void rate_free(struct rate *rate)
{
    if (!rate)
        return;
    pthread_mutex_destroy(&rate->lock);
    free(rate);
}

static size_t set_of(const struct rate *rate, const char *who)
{
    uint64_t h = rate->seed;
    for (; *who; who++) {
        h = (h ^ (unsigned char)*who) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return (size_t)(h % SETS);
}

static struct bucket *find(struct rate *rate, const char *who, int64_t now_us)
{
    struct bucket *set = rate->buckets[set_of(rate, who)], *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].used_us && strcmp(set[i].who, who) == 0)
            return &set[i];
        if (set[i].used_us < oldest->used_us)
            oldest = &set[i];
    }
    *oldest = (struct bucket){.used_us = now_us, .tokens = rate->most};
    snprintf(oldest->who, sizeof oldest->who, "%s", who);
    return oldest;
}

bool rate_take_at(struct rate *rate, const char *who, int64_t now_us, unsigned *wait_s)
{
    char cut[WHO_MAX];
    snprintf(cut, sizeof cut, "%s", who);
    pthread_mutex_lock(&rate->lock);
    struct bucket *b = find(rate, cut, now_us);
    if (now_us > b->used_us)
        b->tokens += (double)(now_us - b->used_us) / 1e6 * rate->per_second;
    b->tokens = b->tokens > rate->most ? rate->most : b->tokens;
    b->used_us = now_us > b->used_us ? now_us : b->used_us;
    bool ok = b->tokens >= 1;
    if (ok)
        b->tokens -= 1;
    else
        *wait_s = (unsigned)((1 - b->tokens) / rate->per_second) + 1;
    pthread_mutex_unlock(&rate->lock);
    return ok;
}

bool rate_take(struct rate *rate, const char *who, unsigned *wait_s)
{
    return rate_take_at(rate, who, clock_now_us(), wait_s);
}

bool rate_take_address(struct rate *rate, const char *address, unsigned *wait_s)
{
    struct in6_addr six;
    char who[WHO_MAX];
    if (inet_pton(AF_INET6, address, &six) != 1)
        return rate_take(rate, address, wait_s);
    char *p = who;
    for (size_t i = 0; i < 8; i++)
        p += snprintf(p, 3, "%02x", six.s6_addr[i]);
    return rate_take(rate, who, wait_s);
}
