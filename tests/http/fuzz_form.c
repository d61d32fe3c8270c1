/*
 * The form parser on arbitrary bytes. The first line of the input is the Content-Type, the rest the body.
 *
 * Under libFuzzer: clang -fsanitize=fuzzer,address,undefined -DFUZZ_NO_MAIN …
 * As an ordinary test: without arguments the seeds below, each also mutated a few thousand times in a
 * repeatable way; with arguments those files, for example what the fuzzer has found.
 */
#include "http/http.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_form(const struct http_form *form, const char *body, size_t len, bool multipart)
{
    check(form->count <= LIMIT_FORM_PARTS);
    for (size_t i = 0; i < form->count; i++) {
        const struct http_part *part = &form->parts[i];
        check(part->name != NULL);
        size_t sum = strlen(part->name) + part->len;
        if (multipart)
            check(part->data >= body && part->data + part->len <= body + len);
        else
            check(part->data[part->len] == '\0' && strlen(part->data) <= part->len);
        if (part->filename)
            sum += strlen(part->filename);
        if (part->content_type)
            sum += strlen(part->content_type);
        check(sum <= len); /* nothing comes out that did not go in */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    if (!line)
        return 0;
    size_t type_len = (size_t)(line - data), len = size - type_len - 1;
    char *type = malloc(type_len + 1),
         *body = malloc(len ? len : 1); /* exactly as long, so that ASan sees one over */
    check(type && body);
    memcpy(type, data, type_len);
    type[type_len] = '\0';
    memcpy(body, line + 1, len);
    struct http_form form;
    struct err err = {0};
    enum result r = http_form_parse(type, body, len, &form, &err);
    if (r == ERR_OK) {
        check_form(&form, body, len, strncasecmp(type + strspn(type, " \t"), "multipart", 9) == 0);
        http_form_free(&form);
    } else {
        check(err.message[0] != '\0' && err.code == r);
    }
    free(type);
    free(body);
    return 0;
}

#ifndef FUZZ_NO_MAIN

static const char *const seeds[] = {
    "application/x-www-form-urlencoded\na=1&b=%41+c&&d&=e",
    "multipart/form-data; boundary=B\n--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--B\r\n"
    "Content-Disposition: form-data; name=b; filename=\"f\\\"g\"; filename*=UTF-8''%41\r\nContent-Type: "
    "image/png\r\n"
    "Content-Transfer-Encoding: binary\r\n\r\n\r\n--\r\n--Bx\r\n--B  \r\nContent-Disposition: form-data; "
    "name=c\r\n\r\n--B--",
    ("multipart/form-data; boundary=\"a b\"; charset=x\npre\r\n--a "
    "b\r\ncontent-disposition:form-data;name=\r\n\r\n\r\n--a b--\r\n"),
    "multipart/form-data; x=\"\\\"; boundary=B\n--B--",
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void mutate(const char *seed, uint32_t number)
{
    static const char interesting[] = "\r\n-;:=\"\\%&+B' \t\0*";
    uint32_t random = number * 2654435761u + 1;
    uint8_t data[1024];
    size_t len = strlen(seed);
    memcpy(data, seed, len);
    for (uint32_t i = next_random(&random) % 6 + 1; i > 0 && len > 1; i--) {
        size_t at = next_random(&random) % len;
        uint8_t c = (uint8_t)interesting[next_random(&random) % (sizeof interesting - 1)];
        switch (next_random(&random) % 4) {
        case 0:
            data[at] = c;
            break;
        case 1:
            memmove(data + at, data + at + 1, --len - at);
            break;
        case 2:
            if (len < sizeof data) {
                memmove(data + at + 1, data + at, len++ - at);
                data[at] = c;
            }
            break;
        default:
            len = next_random(&random) % 8 == 0 ? at + 1 : len;
        }
    }
    LLVMFuzzerTestOneInput(data, len);
}

static int run_file(const char *name)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(name, "rb");
    if (!file) {
        perror(name);
        return 1;
    }
    size_t len = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, len);
    return 0;
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++)
        bad |= run_file(argv[i]);
    for (size_t i = 0; argc == 1 && i < sizeof seeds / sizeof *seeds; i++) {
        LLVMFuzzerTestOneInput((const uint8_t *)seeds[i], strlen(seeds[i]));
        for (uint32_t n = 0; n < 20000; n++)
            mutate(seeds[i], n);
    }
    printf("1..1\n%s 1 - the form parser on arbitrary bytes\n", bad ? "not ok" : "ok");
    return bad;
}

#endif
