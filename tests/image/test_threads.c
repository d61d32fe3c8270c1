/* Four threads decode everything at once and get what one thread gets; sentences are not mixed up between
 * them. */
#include "fixtures.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS 3
#define FILES 7

static const char *const names[FILES] = {
    "rgb.jpg", "icc-p3.jpg", "cmyk-adobe.jpg", "interlaced.png", "animated.webp", "static.gif", "rgb.avif"};
static struct fixture files[FILES];
static struct image alone[FILES];

/* cmocka's assertions are for the main thread: a thread only says what went wrong. */
static const char *decode_all(void)
{
    static const struct image_want want = {.width = 40, .height = 40, .thumbnail_side = 32};
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < FILES; i++) {
            struct image image = {0};
            struct err err = {0};
            if (image_decode(files[i].data, files[i].len, &want, &image, NULL))
                return "a picture could not be decoded";
            int same = memcmp(image.pixels, alone[i].pixels, 40 * 40 * 3) == 0 &&
                       image.thumbnail_len == alone[i].thumbnail_len &&
                       memcmp(image.thumbnail, alone[i].thumbnail, image.thumbnail_len) == 0;
            image_free(&image);
            if (!same)
                return "pixels differ from those of one thread";
            enum result result = image_decode(files[i].data, files[i].len / 2, &want, &image, &err);
            const char *kind = i < 3 ? "JPEG" : i == 3 ? "PNG" : i == 4 ? "WebP" : i == 5 ? "GIF" : "AVIF";
            if (result != ERR_INVALID || !strstr(err.message, kind))
                return "the sentence is another file's";
        }
    }
    return NULL;
}

static void *thread(void *wrong)
{
    *(const char **)wrong = decode_all();
    return NULL;
}

static void many_at_once(void **state)
{
    static const struct image_want want = {.width = 40, .height = 40, .thumbnail_side = 32};
    pthread_t threads[THREADS];
    const char *wrong[THREADS] = {0};
    for (size_t i = 0; i < FILES; i++) {
        files[i] = fixture_read(names[i]);
        assert_int_equal(image_decode(files[i].data, files[i].len, &want, &alone[i], NULL), ERR_OK);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread, &wrong[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        if (wrong[i])
            fail_msg("%s", wrong[i]);
    }
    for (size_t i = 0; i < FILES; i++) {
        fixture_free(&files[i]);
        image_free(&alone[i]);
    }
}

static int stop(void **state)
{
    image_shutdown();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_at_once)};
    return cmocka_run_group_tests(tests, fixture_start, stop);
}
