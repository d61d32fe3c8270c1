/*
 * Prints the vectors of pictures as JSON lines, for the comparison with a reference in Python:
 *
 *   embed_dump [--raw] [--precision f32|bf16] MODEL_FOLDER FILE…
 *
 * With --raw a FILE holds height × width × 3 bytes of RGB, of the size the model wants; otherwise it is a
 * picture. A line is {"file": …, "precision": …, "vector": […]}.
 */
#include "base/buf.h"
#include "base/limits.h"
#include "embed/embed.h"
#include "image/image.h"
#include "json/json.h"

#include <errno.h>

struct dump {
    struct embed *embed;
    const struct embed_info *info;
    bool raw;
};

static enum result read_file(const char *path, struct buf *out, struct err *err)
{
    char chunk[65536];
    size_t n;
    FILE *file = fopen(path, "re");
    if (!file)
        return err_set_errno(err, errno, "Cannot read %s", path);
    enum result result = ERR_OK;
    while (result == ERR_OK && (n = fread(chunk, 1, sizeof chunk, file)) > 0)
        result = buf_append(out, chunk, n);
    fclose(file);
    return result ? err_set(err, result, "%s is too large.", path) : ERR_OK;
}

static enum result pixels_of(
    const struct dump *dump, const char *path, const struct buf *bytes, struct image *image, struct err *err)
{
    const struct manifest *m = &dump->info->manifest;
    struct image_want want = {.width = m->width, .height = m->height, .resize = m->resize};
    size_t size = (size_t)m->width * m->height * 3;
    if (!dump->raw)
        return image_decode(bytes->data, bytes->len, &want, image, err);
    if (bytes->len != size)
        return err_set(err, ERR_INVALID, "%s has %zu bytes instead of %zu.", path, bytes->len, size);
    image->pixels = malloc(size);
    if (!image->pixels)
        return err_no_memory(err);
    memcpy(image->pixels, bytes->data, size);
    return ERR_OK;
}

static enum result line_of(const struct dump *dump, const char *path, const float *vector, struct buf *line)
{
    enum result r = buf_append_str(line, "{\"file\": ");
    if (r == ERR_OK)
        r = json_append_string(line, path, strlen(path));
    if (r == ERR_OK)
        r = buf_appendf(line, ", \"precision\": \"%s\", \"vector\": [", dump->info->precision);
    for (uint32_t i = 0; r == ERR_OK && i < dump->info->manifest.dimension; i++) {
        r = i ? buf_append_str(line, ", ") : ERR_OK;
        if (r == ERR_OK)
            r = json_append_float(line, vector[i]);
    }
    return r ? r : buf_append_str(line, "]}\n");
}

static enum result dump_file(const struct dump *dump, const char *path, struct err *err)
{
    struct buf bytes, line;
    struct image image = {0};
    buf_init(&bytes, LIMIT_BODY);
    buf_init(&line, (size_t)LIMIT_DIMENSION * 32);
    float *vector = calloc(manifest_descriptor(&dump->info->manifest), sizeof *vector);
    enum result r = vector ? read_file(path, &bytes, err) : err_no_memory(err);
    if (r == ERR_OK)
        r = pixels_of(dump, path, &bytes, &image, err);
    const uint8_t *pixels = image.pixels;
    if (r == ERR_OK)
        r = embed_run(dump->embed, &pixels, 1, vector, err);
    if (r == ERR_OK && line_of(dump, path, vector, &line) != ERR_OK)
        r = err_no_memory(err);
    if (r == ERR_OK)
        fwrite(line.data, 1, line.len, stdout);
    free(vector);
    image_free(&image);
    buf_free(&line);
    buf_free(&bytes);
    return r;
}

int main(int argc, char **argv)
{
    struct embed_options options = {0};
    struct dump dump = {0};
    struct err err = {0};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--raw") == 0)
            dump.raw = true;
        else if (strcmp(argv[i], "--precision") == 0 && i + 1 < argc)
            options.precision = argv[++i];
    }
    if (i + 1 >= argc) {
        fprintf(stderr, "usage: embed_dump [--raw] [--precision f32|bf16] MODEL_FOLDER FILE...\n");
        return 2;
    }
    options.folder = argv[i++];
    enum result r = image_init(&err);
    if (r == ERR_OK)
        r = embed_open(&options, &dump.embed, &err);
    if (r == ERR_OK)
        dump.info = embed_describe(dump.embed);
    for (; r == ERR_OK && i < argc; i++)
        r = dump_file(&dump, argv[i], &err);
    if (r)
        fprintf(stderr, "embed_dump: %s\n", err.message);
    embed_close(dump.embed);
    image_shutdown();
    return r ? 1 : 0;
}
