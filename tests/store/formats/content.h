/* What the stores in this folder hold; make.c makes them, test_formats.c opens those of every released format. */
#ifndef TESTS_STORE_FORMATS_CONTENT_H
#define TESTS_STORE_FORMATS_CONTENT_H

#include <stdint.h>
#include <stdio.h>

#define FORMAT_DIM 12
#define FORMAT_RECORDS 30

struct format_record {
    int64_t fileid, itemid;
    char tags[64], brief[96], thumbnail[32];
    float vector[FORMAT_DIM];
};

/* Record 0…FORMAT_RECORDS−1; 64-bit numbers, and texts that are not ASCII, are among them. */
static inline void format_record(int i, struct format_record *r)
{
    r->fileid = i == 0 ? INT64_MIN : i == 1 ? INT64_MAX : i;
    r->itemid = i / 3;
    snprintf(r->tags, sizeof r->tags, i % 4 ? "[\"shoe\",\"n%d\"]" : "[]", i);
    snprintf(r->brief, sizeof r->brief, "{\"name\":\"鞋 %d\",\"price\":%d.5}", i, i);
    snprintf(r->thumbnail, sizeof r->thumbnail, "thumbnail %d", i);
    for (int k = 0; k < FORMAT_DIM; k++)
        r->vector[k] = (float)((i * 5 + k * 3) % 17 - 8) / 8;
}

/* Deleted after it was added, so that free slots and garbage are part of the file. */
static inline int format_is_deleted(int i)
{
    return i % 10 == 9;
}

#endif
