/*
 * What the fuzzers of this folder share. Each is one file with an LLVMFuzzerTestOneInput(). In a build with
 * -Dfuzz=true libFuzzer brings the main(); otherwise driver.c does, and it is an ordinary test that runs its corpus and
 * changed copies of it, the same way every time. A broken promise ends the program by abort().
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* abort(), with the place. */
#define MUST(condition) fuzz_must((condition), #condition, __FILE__, __LINE__)
void fuzz_must(bool holds, const char *what, const char *file, int line);

/* A folder of this process, on a RAM disk where there is one; removed at exit. */
const char *fuzz_folder(void);
/* "<fuzz_folder()>/<name>", valid until the eighth call after it. */
const char *fuzz_path(const char *name);
void fuzz_write(const char *path, const void *bytes, size_t len);
/* The whole file; free() it. */
uint8_t *fuzz_read(const char *path, size_t *len);

/*
 * Changes of a file, taken from the input: three bytes each, an offset (16 bits, little-endian, times `step`) and a value
 * to combine by exclusive or, so that an empty input is the file as it is.
 */
void fuzz_patch(uint8_t *bytes, size_t len, size_t step, const uint8_t *data, size_t size);

#endif
