/*
 * Where fileid and itemid come from when the source does not name them.
 *
 * A hash of 53 bits, so that it survives every JSON reader that keeps numbers as doubles, and never 0. It
 * depends on names only, so another run, and another machine, gives the same picture the same number.
 */
#ifndef CLI_IDS_H
#define CLI_IDS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_ID_MAX (((int64_t)1 << 53) - 1)

/* 1 … CLI_ID_MAX. */
int64_t cli_id_hash(const char *text, size_t len);
/* The number itself where the text is a decimal number of 64 bits without sign, else its hash. */
int64_t cli_id_of_name(const char *text, size_t len);

enum cli_item_from { CLI_ITEM_NONE, CLI_ITEM_FOLDER, CLI_ITEM_NAME };
enum result cli_item_from_parse(const char *text, enum cli_item_from *out, struct err *err) ERR_MUST_USE;
/*
 * The itemid of the picture at `path` ("shoes/4711-2.jpg"). FOLDER: of the name of the folder it is in,
 * `root` where there is none in the path. NAME: of the file's name without extension and without a trailing
 * -N, _N or (N) of up to three digits: more are no count of pictures ("IMG_20240131").
 */
int64_t cli_item_of_path(enum cli_item_from from, const char *root, const char *path);

/*
 * Numbers in use, each with its owner (any 64-bit hash of what it belongs to). cli_idmap_reserve() notes what
 * earlier runs gave away; the take functions are for this run, in which every number is taken at most once.
 */
struct cli_idmap;
enum result cli_idmap_new(struct cli_idmap **out, struct err *err) ERR_MUST_USE;
void cli_idmap_free(struct cli_idmap *map);
enum result cli_idmap_reserve(
    struct cli_idmap *map, int64_t id, uint64_t owner, struct err *err) ERR_MUST_USE;
/* Whether it was reserved or taken. */
bool cli_idmap_has(const struct cli_idmap *map, int64_t id);
/* Take exactly `id`, whoever had reserved it. ERR_EXISTS: taken in this run already. */
enum result cli_idmap_take(struct cli_idmap *map, int64_t id, uint64_t owner, struct err *err) ERR_MUST_USE;
/* Take `wanted`, or where it belongs to somebody else the next free number. ERR_EXISTS: this owner took it
   already. */
enum result cli_idmap_take_near(
    struct cli_idmap *map, int64_t wanted, uint64_t owner, int64_t *out, struct err *err) ERR_MUST_USE;

#endif
