/*
 * Any bytes → image_decode(). As an ordinary program it runs over the files and folders it is given, which is
 * how the tests use it. With clang and a build with sanitizers the same file becomes a libFuzzer target:
 *
 *     CC=clang CFLAGS=-fsanitize=fuzzer-no-link meson setup fuzz -Db_sanitize=address,undefined
 * -Db_lundef=false ninja -C fuzz tests/image/fuzz_image_libfuzzer fuzz/tests/image/fuzz_image_libfuzzer
 * -max_len=65536 CORPUS tests/image/fixtures
 */
#include "image/image.h"

#include <ftw.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int started;
    static unsigned turn;
    struct err err = {0};
    if (!started && image_init(&err))
        abort();
    started = 1;
    struct image_want want = {
        .width = 32, .height = 24, .resize = (enum image_resize)(turn++ % 3), .thumbnail_side = 48};
    struct image image = {0};
    enum result result = image_decode(data, len, &want, &image, &err);
    if (result && (err.code != result || err.message[0] == 0 || image.pixels))
        abort();
    image_free(&image);
    return 0;
}

#ifndef IMAGE_LIBFUZZER
static unsigned count;

static int run_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type != FTW_F)
        return 0;
    FILE *file = fopen(path, "rb");
    uint8_t *data = file ? malloc((size_t)st->st_size + 1) : NULL;
    if (!data || fread(data, 1, (size_t)st->st_size, file) != (size_t)st->st_size) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, (size_t)st->st_size);
    free(data);
    count++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], run_file, 16, FTW_PHYS))
            return 1;
    }
    printf("%u files\n", count);
    return count ? 0 : 1;
}
#endif
