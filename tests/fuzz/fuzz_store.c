/*
 * Every file of a collection with changed bytes: meta.db, vectors.f16, pictures.db. The first byte chooses the file, the
 * rest are changes (fuzz_patch()).
 *
 * What has to hold: whatever can still be opened answers every call with a result or a sentence, never with a vector
 * whose checksum is wrong, and takes writes or refuses them; a repair ends. Nothing crashes, nothing is read beyond its
 * end.
 */
#include "fuzz.h"
#include "store/backup.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 8
#define RECORDS 12

static const char *const names[] = {"meta.db", "vectors.f16", "pictures.db"};
static struct {
    uint8_t *bytes;
    size_t len;
} files[3];
static char data_folder[200];

static const char *file_of(const char *name)
{
    char part[64];
    snprintf(part, sizeof part, "data/collections/c/%s", name);
    return fuzz_path(part);
}

static void vector_of(int64_t i, float *v)
{
    for (int k = 0; k < DIM; k++)
        v[k] = (float)((i * 3 + k) % 7);
}

static void make(void)
{
    struct store *store = NULL;
    snprintf(data_folder, sizeof data_folder, "%s", fuzz_path("data"));
    struct store_open_options options = {.data = data_folder};
    struct store_settings settings = {.model = "m", .dimension = DIM, .thumbnails = true};
    MUST(!store_open_embedded(&options, &store, NULL) && !store_create(store, "c", &settings, 0, NULL));
    for (int64_t i = 0; i < RECORDS; i++) {
        float v[DIM];
        vector_of(i, v);
        struct store_write w = {.kind = STORE_PUT, .fileid = i, .tags = "[\"a\"]", .brief = "{\"n\":1}", .vector = v,
            .thumbnail = (const uint8_t *)"thumbnail", .thumbnail_len = 9};
        MUST(!store_write(store, "c", &w, 1, 0, NULL));
    }
    store_close(store);
    for (int i = 0; i < 3; i++)
        files[i].bytes = fuzz_read(file_of(names[i]), &files[i].len);
    files[1].len = 4096 + 16 * 128; /* the rest is room for more */
}

static void check_vectors(const struct store_records *r)
{
    for (size_t i = 0; i < r->count; i++) {
        float want[DIM];
        vector_of(r->items[i].fileid, want);
        if (r->items[i].vector)
            MUST(!memcmp(want, r->items[i].vector, sizeof want));
    }
}

static void use(struct store *store)
{
    struct store_records r = {0};
    struct store_stats stats;
    struct buf b;
    float v[DIM];
    uint64_t count;
    vector_of(3, v);
    struct store_query q = {.vector = v, .limit = 20, .group = true};
    (void)!store_stats(store, "c", 0, &stats, NULL);
    (void)!store_count(store, "c", 0, &count, NULL);
    for (int64_t i = 0; i < RECORDS; i += 5) {
        if (!store_get_file(store, "c", i, 0, &r, NULL))
            check_vectors(&r);
        store_records_free(&r);
        buf_init(&b, 1 << 20);
        if (!store_thumbnail(store, "c", i, 0, &b, NULL))
            MUST(b.len == 9 && !memcmp(b.data, "thumbnail", 9));
        buf_free(&b);
    }
    (void)!store_search(store, "c", &q, 0, &r, NULL);
    store_records_free(&r);
    (void)!store_browse(store, "c", true, 0, 100, 0, &r, NULL);
    store_records_free(&r);
    struct store_write w = {.kind = STORE_PUT, .fileid = 3, .tags = "[]", .brief = "{}", .vector = v};
    (void)!store_write(store, "c", &w, 1, 0, NULL);
    w.kind = STORE_DELETE;
    (void)!store_write(store, "c", &w, 1, 0, NULL);
    (void)!store_check(store, NULL, NULL, NULL);
}

static void with_store(bool repair)
{
    struct store *store = NULL;
    struct store_open_options options = {.data = data_folder};
    MUST(!store_open_embedded(&options, &store, NULL));
    if (repair)
        (void)!store_repair(store, true, NULL, NULL, NULL);
    use(store);
    store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const leftovers[] = {"meta.db-wal", "meta.db-shm", "pictures.db-wal", "pictures.db-shm",
        "pictures.db.damaged", "pictures.db.damaged-wal", "pictures.db.damaged-shm"};
    if (size < 1 || size > 400)
        return 0;
    if (!files[0].bytes)
        make();
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++)
        unlink(file_of(leftovers[i]));
    for (int i = 0; i < 3; i++) {
        uint8_t *copy = malloc(files[i].len);
        MUST(copy != NULL);
        memcpy(copy, files[i].bytes, files[i].len);
        size_t len = files[i].len;
        if (data[0] % 3 == i) {
            fuzz_patch(copy, len, 1, data + 1, size - 1);
            if (data[0] & 0x40) /* cut off */
                len = len * (data[0] >> 3 & 7) / 8;
        }
        fuzz_write(file_of(names[i]), copy, len);
        free(copy);
    }
    with_store(data[0] & 0x80);
    return 0;
}
