/*
 * Strict JSON (RFC 8259) over json-c, for what comes from outside.
 *
 * json-c keeps int64 and the digits of a floating point number, but on its own it takes the last of two equal
 * keys, clamps integers that are too large and cuts keys at NUL. json_parse() refuses all three.
 *
 * Objects are json-c's: `json_object_put()` releases what json_parse() gave. The getters below do not transfer
 * ownership, treat an explicit null as absent, and put the field's name into the error.
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Parse exactly one JSON value. ERR_INVALID with the byte position for: text that is not JSON, invalid UTF-8,
 * duplicate keys, nesting over LIMIT_JSON_DEPTH, integers outside of -2^63 … 2^64-1, NUL characters.
 */
enum result json_parse(const char *text, size_t len, struct json_object **out, struct err *err) ERR_MUST_USE;

/* An array of numbers beside the tree, as doubles: 1e999 is infinite. */
struct json_numbers {
    const char *name; /* of the member, set by the caller */
    double *values;   /* NULL: the tree has the member as it is, or there is none */
    size_t count;
};

/*
 * The same, but of long arrays of numbers that are members of the outermost object the digits are not kept: they read back as the
 * same numbers. For requests with vectors, which it reads in a quarter of the time. The one whose name `apart` says, where it is
 * such an array, is [] in the tree and has its numbers in `apart`; released with json_numbers_free(), and nothing to release after
 * an error. `apart` may be NULL.
 */
enum result json_parse_body(const char *text, size_t len, struct json_numbers *apart, struct json_object **out, struct err *err)
    ERR_MUST_USE;
void json_numbers_free(struct json_numbers *numbers);

/* The member, or NULL where it is absent or null. */
struct json_object *json_member(struct json_object *object, const char *name);

/* Each sets *found to false and leaves *out alone where the member is absent or null. */
enum result json_get_string(
    struct json_object *object, const char *name, bool *found, const char **out, size_t *len, struct err *err) ERR_MUST_USE;
/* A JSON integer, or a decimal string as the API allows. */
enum result json_get_i64(struct json_object *object, const char *name, bool *found, int64_t *out, struct err *err)
    ERR_MUST_USE;
enum result json_get_bool(struct json_object *object, const char *name, bool *found, bool *out, struct err *err)
    ERR_MUST_USE;
enum result json_get_double(struct json_object *object, const char *name, bool *found, double *out, struct err *err)
    ERR_MUST_USE;

/* Append `text` as a JSON string with its quotes. The text must be UTF-8. */
enum result json_append_string(struct buf *out, const char *text, size_t len) ERR_MUST_USE;
/* Append a finite number in the shortest form that reads back as the same float; null where it is not finite. */
enum result json_append_float(struct buf *out, float value) ERR_MUST_USE;

#endif
