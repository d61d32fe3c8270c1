/* The main() of a fuzzer that is run as an ordinary test: fuzz_NAME CORPUS COPIES, or with files: run those. */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGEST 65536

static const uint8_t *input; /* being run, so that a failure can be repeated */
static size_t input_len;

static void run(const uint8_t *data, size_t size)
{
    input = data;
    input_len = size;
    LLVMFuzzerTestOneInput(data, size);
}

/* The input in hexadecimal: `xxd -r -p` makes the file of it. Only what a signal handler may do. */
static void show_input(int number)
{
    static const char digits[] = "0123456789abcdef";
    (void)!write(STDERR_FILENO, "the input:\n", 11);
    for (size_t i = 0; i < input_len; i++) {
        char two[2] = {digits[input[i] >> 4], digits[input[i] & 15]};
        (void)!write(STDERR_FILENO, two, 2);
    }
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(number, SIG_DFL);
    raise(number);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static size_t change(uint8_t *text, size_t size, uint32_t *seed)
{
    for (uint32_t n = 1 + next_random(seed) % 4; n > 0 && size > 0; n--) {
        size_t at = next_random(seed) % size;
        switch (next_random(seed) % 4) {
        case 0:
            text[at] = (uint8_t)next_random(seed);
            break;
        case 1:
            text[at] ^= (uint8_t)(1u << next_random(seed) % 8);
            break;
        case 2:
            memmove(text + at, text + at + 1, size - at - 1);
            size--;
            break;
        default:
            if (size + 1 < LARGEST) {
                memmove(text + at + 1, text + at, size - at);
                size++;
            }
        }
    }
    return size;
}

static int run_file(const char *path, unsigned copies)
{
    static uint8_t text[LARGEST], copy[LARGEST];
    FILE *file = fopen(path, "rb");
    if (!file)
        return 1;
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    uint32_t seed = (uint32_t)size;
    run(text, size);
    for (unsigned i = 0; i < copies; i++) {
        memcpy(copy, text, size);
        size_t n = change(copy, size, &seed);
        run(copy, n);
    }
    return 0;
}

int main(int argc, char **argv)
{
    size_t files = 0;
    signal(SIGABRT, show_input);
    signal(SIGSEGV, show_input);
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    unsigned copies = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (!dir) {
        for (int i = 1; i < argc; i++)
            if (run_file(argv[i], 0))
                return 1;
        return argc > 1 ? 0 : 2;
    }
    for (const struct dirent *d; (d = readdir(dir));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], d->d_name);
        files += d->d_name[0] != '.' && !run_file(path, copies);
    }
    closedir(dir);
    printf("1..1\n%sok 1 - %zu files and %u changed copies of each\n", files ? "" : "not ", files, copies);
    return !files;
}
