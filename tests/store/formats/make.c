/* Makes a store with the content of content.h by the code of today: formats/make.sh keeps it for later versions. */
#include "formats/content.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

static void must(enum result r, const struct err *err)
{
    if (r) {
        fprintf(stderr, "%s\n", err->message);
        exit(1);
    }
}

static void fill(struct store *store, const char *collection, bool thumbnails)
{
    struct err err;
    struct store_settings settings = {
        .model = "a model", .dimension = FORMAT_DIM, .metric = STORE_COSINE, .thumbnails = thumbnails};
    must(store_create(store, collection, &settings, 0, &err), &err);
    for (int i = 0; i < FORMAT_RECORDS; i++) {
        struct format_record r;
        format_record(i, &r);
        struct store_write w = {.kind = STORE_PUT,
            .fileid = r.fileid,
            .has_itemid = true,
            .itemid = r.itemid,
            .tags = r.tags,
            .brief = r.brief,
            .vector = r.vector,
            .thumbnail = (const uint8_t *)r.thumbnail,
            .thumbnail_len = strlen(r.thumbnail)};
        must(store_write(store, collection, &w, 1, 0, &err), &err);
    }
    for (int i = 0; i < FORMAT_RECORDS; i++) {
        struct format_record r;
        format_record(i, &r);
        struct store_write w = {.kind = STORE_DELETE, .fileid = r.fileid};
        if (format_is_deleted(i))
            must(store_write(store, collection, &w, 1, 0, &err), &err);
    }
}

int main(int argc, char **argv)
{
    struct store *store = NULL;
    struct err err;
    if (argc != 2) {
        fprintf(stderr, "usage: make_format FOLDER\n");
        return 2;
    }
    struct store_open_options options = {.data = argv[1]};
    must(store_open_embedded(&options, &store, &err), &err);
    fill(store, "pictures", true);
    fill(store, "vectors", false);
    store_close(store);
    return 0;
}
