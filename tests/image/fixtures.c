#include "fixtures.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

const uint8_t fixture_colours[12] = {220, 40, 30, 40, 180, 60, 40, 60, 200, 240, 210, 40};

static const char *folder(void)
{
    const char *name = getenv("FIXTURES");
    assert_non_null(name);
    return name;
}

struct fixture fixture_read(const char *name)
{
    char path[4096];
    struct fixture made = {0};
    snprintf(path, sizeof(path), "%s/%s", folder(), name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s cannot be read", path);
    /* Exactly as long as the file, so that a read behind its end is seen. */
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    made.len = (size_t)ftell(file);
    assert_true(made.len > 0 && made.len < 1 << 20);
    rewind(file);
    made.data = malloc(made.len);
    assert_non_null(made.data);
    assert_int_equal(fread(made.data, 1, made.len, file), made.len);
    fclose(file);
    return made;
}

void fixture_free(struct fixture *fixture)
{
    free(fixture->data);
    *fixture = (struct fixture){0};
}

const char *fixture_name(size_t i)
{
    static char names[256][64];
    static size_t count;
    if (count == 0) {
        DIR *dir = opendir(folder());
        assert_non_null(dir);
        for (struct dirent *entry; (entry = readdir(dir)) && count < 256;) {
            if (entry->d_name[0] != '.' && strlen(entry->d_name) < sizeof(names[0]))
                snprintf(names[count++], sizeof(names[0]), "%.63s", entry->d_name);
        }
        closedir(dir);
        assert_true(count > 40);
    }
    return i < count ? names[i] : NULL;
}

struct image fixture_decode(const char *name, uint32_t width, uint32_t height)
{
    struct fixture file = fixture_read(name);
    struct image_want want = {.width = width, .height = height, .resize = IMAGE_STRETCH};
    struct image image = {0};
    struct err err = {0};
    if (image_decode(file.data, file.len, &want, &image, &err))
        fail_msg("%s: %s", name, err.message);
    fixture_free(&file);
    return image;
}

double fixture_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)a[i] - b[i]);
    return sum / (double)n;
}

int fixture_is(const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *want, int tolerance)
{
    int right = 1;
    for (int i = 0; i < 4; i++) {
        uint32_t x = width / 4 + (i % 2 ? width / 2 : 0), y = height / 4 + (i / 2 ? height / 2 : 0);
        const uint8_t *p = pixels + ((size_t)y * width + x) * 3, *w = want + (ptrdiff_t)i * 3;
        if (abs(p[0] - w[0]) <= tolerance && abs(p[1] - w[1]) <= tolerance && abs(p[2] - w[2]) <= tolerance)
            continue;
        print_message("# quadrant %d is %d %d %d, not %d %d %d\n", i, p[0], p[1], p[2], w[0], w[1], w[2]);
        right = 0;
    }
    return right;
}

int fixture_start(void **state)
{
    struct err err = {0};
    if (image_init(&err))
        fail_msg("%s", err.message);
    return 0;
}
