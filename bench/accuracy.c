/*
 * How often the right product comes first, before and after learning, on pictures in folders:
 *
 *   accuracy [--model FOLDER] [--cache FILE] LEARN [TEST]
 *
 * A folder has catalogue/ITEM.jpg, the shop's own pictures, and train/ITEM/… and test/ITEM/…, customers' photos. With
 * LEARN alone: learns on half of its items and tests on the other half, the mean of five random halves. With TEST: learns
 * on all items of LEARN and tests on those of TEST. In both cases the gallery of the catalogue has all items' pictures, and
 * the photos of train/, without their items, are the past queries.
 *
 *   photo → catalogue   each photo of test/ against the catalogue pictures
 *   photo → photo       each photo of test/ against the photos of train/ of the items tested
 *
 * Pictures go the product's own way: image_decode(), embed_run(), learn_fit(), learn_project(), learn_draw(). The cache
 * keeps the descriptors of the files named on the command line between runs.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "embed/embed.h"
#include "image/image.h"
#include "learn/adapt.h"
#include "learn/learn.h"
#include "learn/measure.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum part { CATALOGUE, TRAIN, TEST };

struct picture {
    char path[1024];
    char item[256];
    int64_t group; /* the item's number */
    enum part part;
    int folder; /* 0 LEARN, 1 TEST */
};

struct bench {
    struct picture *pictures;
    size_t count, room;
    struct embed *embed;
    const struct embed_info *info;
    uint32_t d;
    float *x; /* count × d */
    _Atomic size_t next;
    _Atomic bool failed;
};

static const char *const part_names[] = {"catalogue", "train", "test"};

static void stop(const char *what, const struct err *err)
{
    fprintf(stderr, "accuracy: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(3);
}

static void add(struct bench *b, const struct picture *picture)
{
    if (b->count == b->room) {
        b->room = b->room ? 2 * b->room : 1024;
        b->pictures = realloc(b->pictures, b->room * sizeof *b->pictures);
        if (!b->pictures)
            stop("no memory", NULL);
    }
    b->pictures[b->count++] = *picture;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The pictures of folder/part; `item` NULL: each file is one, named after it, or each folder is. */
static void list(struct bench *b, const char *path, enum part part, int folder, const char *item)
{
    struct dirent **names;
    int n = scandir(path, &names, visible, alphasort);
    if (n < 0)
        stop(path, &(struct err){.message = "cannot be read"});
    for (int i = 0; i < n; i++) {
        struct picture p = {.part = part, .folder = folder};
        if ((size_t)snprintf(p.path, sizeof p.path, "%s/%s", path, names[i]->d_name) >= sizeof p.path ||
            (size_t)snprintf(p.item, sizeof p.item, "%s", item ? item : names[i]->d_name) >= sizeof p.item)
            stop("a path is too long", NULL);
        char *dot = item ? NULL : strrchr(p.item, '.');
        if (dot)
            *dot = '\0';
        if (part != CATALOGUE && !item)
            list(b, p.path, part, folder, names[i]->d_name);
        else
            add(b, &p);
        free(names[i]);
    }
    free(names);
}

/* Items of the same name in one folder are the same; numbers in the order of the names. */
static int64_t number_items(struct bench *b)
{
    int64_t count = 0;
    for (size_t i = 0; i < b->count; i++) {
        b->pictures[i].group = -1;
        for (size_t k = 0; k < i && b->pictures[i].group < 0; k++)
            if (b->pictures[k].folder == b->pictures[i].folder && !strcmp(b->pictures[k].item, b->pictures[i].item))
                b->pictures[i].group = b->pictures[k].group;
        if (b->pictures[i].group < 0)
            b->pictures[i].group = count++;
    }
    return count;
}

static enum result describe(struct bench *b, size_t i, struct err *err)
{
    const struct manifest *m = &b->info->manifest;
    struct image_want want = {
        .width = m->width, .height = m->height, .resize = m->resize, .short_side = m->short_side};
    struct image image = {0};
    struct buf bytes;
    char chunk[65536];
    size_t n;
    buf_init(&bytes, LIMIT_BODY);
    FILE *file = fopen(b->pictures[i].path, "re");
    enum result r = file ? ERR_OK : err_set_errno(err, errno, "Cannot read %s", b->pictures[i].path);
    while (r == ERR_OK && (n = fread(chunk, 1, sizeof chunk, file)) > 0)
        r = buf_append(&bytes, chunk, n);
    if (file)
        fclose(file);
    if (r == ERR_OK)
        r = image_decode(bytes.data, bytes.len, &want, &image, err);
    const uint8_t *pixels = image.pixels;
    if (r == ERR_OK)
        r = embed_run(b->embed, &pixels, 1, b->x + i * b->d, err);
    image_free(&image);
    buf_free(&bytes);
    return r;
}

static void *work(void *user)
{
    struct bench *b = user;
    struct err err = {0};
    for (size_t i; !b->failed && (i = atomic_fetch_add(&b->next, 1)) < b->count;)
        if (describe(b, i, &err) != ERR_OK) {
            fprintf(stderr, "accuracy: %s\n", err.message);
            b->failed = true;
        }
    return NULL;
}

static void describe_all(struct bench *b, const char *cache)
{
    size_t bytes = b->count * b->d * sizeof *b->x, got = 0;
    b->x = malloc(bytes);
    FILE *file = cache ? fopen(cache, "re") : NULL;
    if (!b->x)
        stop("no memory", NULL);
    if (file) {
        got = fread(b->x, 1, bytes, file);
        bool more = fgetc(file) != EOF;
        fclose(file);
        if (got == bytes && !more)
            return;
    }
    pthread_t threads[64];
    unsigned count = b->info->parallel < 64 ? b->info->parallel : 64;
    int64_t start = clock_now_ms();
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, b))
            stop("no thread", NULL);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    if (b->failed)
        exit(3);
    fprintf(stderr, "%zu pictures in %.1f s\n", b->count, (double)(clock_now_ms() - start) / 1000);
    file = cache ? fopen(cache, "we") : NULL;
    if (file && (fwrite(b->x, 1, bytes, file) != bytes || fclose(file)))
        stop("cannot write the cache", NULL);
}

/* --- one division into items to learn from and items to test on ------------------------------------------- */

struct rows {
    size_t *which, n;
    float *y; /* search vectors, or plain ones */
    int64_t *group;
};

struct division {
    const struct bench *b;
    const bool *known; /* of each item */
};

static enum result read_rows(void *user, const size_t *which, size_t n, float *out, struct err *err)
{
    const struct bench *b = user;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * b->d, b->x + which[i] * b->d, b->d * sizeof *out);
    return ERR_OK;
}

/* Those of `part` whose item is known (1), not (0) or any (-1). */
static struct rows choose(const struct division *v, enum part part, int known)
{
    struct rows rows = {.which = malloc(v->b->count * sizeof(size_t)), .group = malloc(v->b->count * sizeof(int64_t))};
    for (size_t i = 0; i < v->b->count; i++) {
        const struct picture *p = &v->b->pictures[i];
        if (p->part == part && (known < 0 || v->known[p->group] == (known == 1))) {
            rows.which[rows.n] = i;
            rows.group[rows.n++] = p->group;
        }
    }
    return rows;
}

static void rows_free(struct rows *rows)
{
    free(rows->which);
    free(rows->y);
    free(rows->group);
}

static void project(const struct bench *b, const struct learn_projection *p, enum learn_side side, struct rows *rows)
{
    struct err err = {0};
    float *x = malloc(rows->n * b->d * sizeof *x);
    rows->y = malloc(rows->n * p->out * sizeof *x);
    if (!x || !rows->y || read_rows((void *)(uintptr_t)b, rows->which, rows->n, x, &err) ||
        learn_project(p, side, x, rows->n, rows->y, &err))
        stop("cannot project", &err);
    free(x);
}

static void keep_plain(const struct bench *b, struct rows *rows)
{
    uint32_t d = b->info->manifest.dimension;
    rows->y = malloc(rows->n * d * sizeof *rows->y);
    for (size_t i = 0; i < rows->n; i++)
        memcpy(rows->y + i * d, b->x + rows->which[i] * b->d, d * sizeof *rows->y);
}

/* R@1 and R@5 in %. `hubness` of the gallery, or NULL. */
static void judge(const struct rows *queries, const struct rows *gallery, uint32_t d, const float *hubness, double out[2])
{
    size_t right[2] = {0}, n = 0;
    float *score = malloc(gallery->n * sizeof *score);
    for (size_t i = 0; i < queries->n; i++) {
        struct learn_verdict verdict;
        for (size_t k = 0; k < gallery->n; k++) {
            double sum = 0;
            for (uint32_t c = 0; c < d; c++)
                sum += (double)queries->y[i * d + c] * (double)gallery->y[k * d + c];
            score[k] = (float)(2 * sum) - (hubness ? hubness[k] : 0);
        }
        struct learn_ranking ranking = {score, gallery->group, gallery->n, gallery->n, queries->group[i]};
        if (learn_judge(&ranking, &verdict) == ERR_OK) {
            n++;
            right[0] += verdict.first == 0;
            right[1] += verdict.first < 5;
        }
    }
    for (int k = 0; k < 2; k++)
        out[k] = n ? 100.0 * (double)right[k] / (double)n : 0;
    free(score);
}

enum { PLAIN_CATALOGUE, PLAIN_PHOTOS, PROJECTED_CATALOGUE, HUBS_CATALOGUE, DRAWN_CATALOGUE, TUNED_PHOTOS, FIGURES };
static const char *const figure_names[FIGURES] = {"photo → catalogue, untuned", "photo → photo, untuned",
    "photo → catalogue, projection alone", "photo → catalogue, hubs answered", "photo → catalogue, tuned",
    "photo → photo, tuned"};

static void learn(const struct division *v, struct learn_projection *p)
{
    struct err err = {0};
    const struct bench *b = v->b;
    struct rows photos = choose(v, TRAIN, 1), pictures = choose(v, CATALOGUE, 1);
    struct rows all_photos = choose(v, TRAIN, -1), all_pictures = choose(v, CATALOGUE, -1);
    size_t n = photos.n + pictures.n, unlabelled = 0;
    size_t total = all_photos.n + all_pictures.n;
    int64_t *group = malloc(total * sizeof *group);
    uint8_t *side = malloc(total);
    size_t *which = malloc(total * sizeof *which);
    for (size_t i = 0; i < b->count; i++) {
        const struct picture *q = &b->pictures[i];
        if (q->part == TEST)
            continue;
        /* What is not known is there for the means and the axes only: a group of its own. */
        group[unlabelled] = v->known[q->group] ? q->group : 1000000 + (int64_t)i;
        side[unlabelled] = q->part == CATALOGUE ? LEARN_ROW : LEARN_QUERY;
        which[unlabelled++] = i;
    }
    float *x = malloc(total * b->d * sizeof *x);
    for (size_t i = 0; i < total; i++)
        memcpy(x + i * b->d, b->x + which[i] * b->d, b->d * sizeof *x);
    struct bench copy = {.x = x, .d = b->d};
    struct learn_shape shape = {.dimension = b->d, .block_count = 1 + b->info->manifest.block_count};
    shape.blocks[0] = b->info->manifest.dimension;
    memcpy(shape.blocks + 1, b->info->manifest.blocks, b->info->manifest.block_count * sizeof *shape.blocks);
    struct learn_set set = {.count = total, .group = group, .side = side, .read = read_rows, .user = &copy};
    int64_t start = clock_now_ms();
    if (learn_fit(&shape, &set, &(struct learn_options){0}, p, &err) != ERR_OK)
        stop("cannot learn", &err);
    fprintf(stderr, "learned from %zu pictures with items of %zu in %.1f s: shrinkage %g, %u dimensions\n", n, total,
        (double)(clock_now_ms() - start) / 1000, (double)p->shrink, p->out);
    rows_free(&photos);
    rows_free(&pictures);
    rows_free(&all_photos);
    rows_free(&all_pictures);
    free(group);
    free(side);
    free(which);
    free(x);
}

static void measure(const struct division *v, double (*out)[2])
{
    struct err err = {0};
    struct learn_projection p = {0};
    uint32_t plain = v->b->info->manifest.dimension;
    struct rows queries = choose(v, TEST, 0), gallery = choose(v, CATALOGUE, -1), photos = choose(v, TRAIN, 0);
    struct rows past = choose(v, TRAIN, -1);
    keep_plain(v->b, &queries);
    keep_plain(v->b, &gallery);
    keep_plain(v->b, &photos);
    judge(&queries, &gallery, plain, NULL, out[PLAIN_CATALOGUE]);
    judge(&queries, &photos, plain, NULL, out[PLAIN_PHOTOS]);
    free(queries.y);
    free(gallery.y);
    free(photos.y);
    learn(v, &p);
    project(v->b, &p, LEARN_QUERY, &queries);
    project(v->b, &p, LEARN_ROW, &gallery);
    project(v->b, &p, LEARN_QUERY, &photos); /* photos are photos, wherever they stand */
    project(v->b, &p, LEARN_QUERY, &past);
    float *hubness = malloc(gallery.n * sizeof *hubness);
    struct learn_background background = {past.y, past.n, p.out};
    judge(&queries, &gallery, p.out, NULL, out[PROJECTED_CATALOGUE]);
    if (learn_hubness(&background, gallery.y, gallery.n, hubness, &err) != ERR_OK)
        stop("hubs", &err);
    judge(&queries, &gallery, p.out, hubness, out[HUBS_CATALOGUE]);
    struct learn_drawing drawing = {.rows = gallery.y, .n = gallery.n, .weight = 1, .hubness = hubness};
    if (learn_draw(&background, &drawing, &err) != ERR_OK)
        stop("drawing", &err);
    judge(&queries, &gallery, p.out, hubness, out[DRAWN_CATALOGUE]);
    judge(&queries, &photos, p.out, NULL, out[TUNED_PHOTOS]);
    free(hubness);
    learn_projection_free(&p);
    rows_free(&queries);
    rows_free(&gallery);
    rows_free(&photos);
    rows_free(&past);
}

static void show(const char *title, double (*sum)[2], int of)
{
    printf("%s\n%-40s %6s %6s\n", title, "", "R@1", "R@5");
    for (int k = 0; k < FIGURES; k++)
        printf("%-40s %6.1f %6.1f\n", figure_names[k], sum[k][0] / of, sum[k][1] / of);
}

static void halves(const struct bench *b, int64_t items)
{
    double sum[FIGURES][2] = {{0}}, one[FIGURES][2];
    bool *known = malloc((size_t)items);
    uint64_t state = 0x2545f4914f6cdd1d;
    for (int half = 0; half < 5; half++) {
        for (int64_t i = 0; i < items; i++)
            known[i] = i < items / 2;
        for (int64_t i = items - 1; i > 0; i--) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            int64_t k = (int64_t)((state >> 33) % (uint64_t)(i + 1));
            bool was = known[i];
            known[i] = known[k];
            known[k] = was;
        }
        measure(&(struct division){b, known}, one);
        for (int k = 0; k < FIGURES; k++)
            for (int c = 0; c < 2; c++)
                sum[k][c] += one[k][c];
    }
    show("learned on half of the items, tested on the other, mean of 5", sum, 5);
    free(known);
}

static void other(const struct bench *b, int64_t items)
{
    double sum[FIGURES][2];
    bool *known = calloc((size_t)items, 1);
    for (size_t i = 0; i < b->count; i++)
        known[b->pictures[i].group] = b->pictures[i].folder == 0;
    measure(&(struct division){b, known}, sum);
    show("learned on the first folder, tested on the second", sum, 1);
    free(known);
}

int main(int argc, char **argv)
{
    struct embed_options options = {.folder = "models/efficientnet-lite2"};
    struct bench b = {0};
    struct err err = {0};
    const char *cache = NULL;
    int at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--model") == 0)
            options.folder = argv[at + 1];
        else if (strcmp(argv[at], "--cache") == 0)
            cache = argv[at + 1];
        else
            break;
    }
    if (argc - at < 1 || argc - at > 2 || argv[at][0] == '-') {
        fprintf(stderr, "usage: accuracy [--model FOLDER] [--cache FILE] LEARN [TEST]\n");
        return 2;
    }
    for (int folder = 0; at + folder < argc; folder++)
        for (enum part part = CATALOGUE; part <= TEST; part++) {
            char path[900];
            snprintf(path, sizeof path, "%s/%s", argv[at + folder], part_names[part]);
            list(&b, path, part, folder, NULL);
        }
    if (image_init(&err) || embed_open(&options, &b.embed, &err))
        stop("cannot begin", &err);
    b.info = embed_describe(b.embed);
    b.d = manifest_descriptor(&b.info->manifest);
    int64_t items = number_items(&b);
    describe_all(&b, cache);
    printf("%s, %ux%u; %zu pictures of %lld items\n", b.info->manifest.name, b.info->manifest.width,
        b.info->manifest.height, b.count, (long long)items);
    if (argc - at == 1)
        halves(&b, items);
    else
        other(&b, items);
    embed_close(b.embed);
    image_shutdown();
    free(b.x);
    free(b.pictures);
    return 0;
}
