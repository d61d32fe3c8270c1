/* The pictures of tests/image/fixtures, for the tests of src/image. */
#ifndef TESTS_IMAGE_FIXTURES_H
#define TESTS_IMAGE_FIXTURES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/limits.h"
#include "image/image.h"

struct fixture {
    uint8_t *data;
    size_t len;
};

/* Fails the test where the file is not there. */
struct fixture fixture_read(const char *name);
void fixture_free(struct fixture *fixture);
/* The i-th name in the folder in no particular order, NULL past the last. */
const char *fixture_name(size_t i);

/* Pixels of width × height × 3, the whole picture stretched to that; fails the test where it cannot be
 * decoded. */
struct image fixture_decode(const char *name, uint32_t width, uint32_t height);
/* Mean of the absolute differences of n bytes. */
double fixture_difference(const uint8_t *a, const uint8_t *b, size_t n);

/* The picture most fixtures show: red, green, blue, yellow in reading order. `want` holds 4 × 3 bytes. */
extern const uint8_t fixture_colours[12];
/* Whether the centres of the quadrants are these colours, to `tolerance` a channel; prints what differs. */
int fixture_is(const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *want, int tolerance);

/* Group set-up: image_init(). */
int fixture_start(void **state);

#endif
