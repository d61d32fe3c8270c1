/* Small parsers of text whose length is known; the whole text must match, and nothing is skipped. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal, optional sign, no blanks: "-12". False on anything else and out of range. */
bool parse_i64(const char *text, size_t len, int64_t *out);
/* A non-negative decimal number up to `max`. */
bool parse_u64(const char *text, size_t len, uint64_t max, uint64_t *out);

/* [A-Za-z_][A-Za-z0-9_]{0,254}, as API.md demands of the name of a collection. */
bool parse_is_collection_name(const char *name);

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool parse_is_utf8(const char *text, size_t len);
/* Bytes of the character that `text` begins with, by the same rules; 0 where it begins with none. */
size_t parse_character(const char *text, size_t len);
/* Bytes of the byte order mark that a text in UTF-8 begins with: 3, or 0 where there is none. `text` may be NULL where `len` is 0. */
size_t parse_mark(const char *text, size_t len);

/*
 * Base64 of RFC 4648, standard and URL-safe alphabet (also mixed), padding optional, white space skipped.
 * `out` must have room for parse_base64_room(len) bytes. ERR_INVALID, with a sentence, for any other
 * character, a lone last character, non-zero trailing bits, or padding in the wrong place.
 */
size_t parse_base64_room(size_t len);
enum result parse_base64(const char *text, size_t len, uint8_t *out, size_t *out_len, struct err *err) ERR_MUST_USE;

#endif
