/*
 * What an import remembers: which picture of a source has which fileid, and which were acknowledged.
 *
 * One file for each target, collection and source, in $XDG_STATE_HOME/lookalike/imports (~/.local/state/…)
 * and not beside the source, which may be read-only. Its name is a hash of the three, its first line says
 * them in words, and each further line is one event:
 *
 *     I <fileid> <key>                                    the key's fileid is not its hash
 *     A <fileid> <size> <mtime ns> <metadata hash> <key>  acknowledged, of this size and time
 *     F                                                   no acknowledgement above counts any more
 *
 * Lines are only ever appended, each with one write(2), so a program that is killed loses nothing; what power
 * loss takes from the end is only imported once more. A last line without its end is cut off when the file is
 * opened, and a line that cannot be read is skipped.
 *
 * The keys are not kept in memory, but 128 bits of hash of each. find, assign and forget are for one thread;
 * ack and sync may be called by any thread meanwhile.
 */
#ifndef CLI_MANIFEST_H
#define CLI_MANIFEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_manifest;

struct cli_manifest_place {
    const char *target, *collection;
    const char *source; /* absolute */
};

struct cli_manifest_entry {
    int64_t fileid;
    bool acknowledged; /* the members below count only then */
    uint64_t size, metadata;
    int64_t mtime_ns;
};

/* ERR_BUSY: another import of this source to this place is running. ERR_IO: the folder cannot be written. */
enum result cli_manifest_open(
    const struct cli_manifest_place *place, struct cli_manifest **out, struct err *err) ERR_MUST_USE;
/* Writes what is not yet on disk. NULL is accepted. */
void cli_manifest_close(struct cli_manifest *m);
const char *cli_manifest_path(const struct cli_manifest *m);

/* NULL where the key is unknown; valid until the next assign. */
const struct cli_manifest_entry *cli_manifest_find(const struct cli_manifest *m, const char *key);
size_t cli_manifest_acknowledged(const struct cli_manifest *m);
/* 64 bits that stand for the key of this source, for struct cli_idmap. */
uint64_t cli_manifest_owner(const char *source, const char *key);
/* Each entry with its owner, until the function returns another result than ERR_OK, which is returned. */
enum result cli_manifest_each(const struct cli_manifest *m,
    enum result (*visit)(void *user, const struct cli_manifest_entry *entry, uint64_t owner, struct err *err),
    void *user, struct err *err) ERR_MUST_USE;
enum result cli_manifest_assign(
    struct cli_manifest *m, const char *key, int64_t fileid, struct err *err) ERR_MUST_USE;
enum result cli_manifest_forget(struct cli_manifest *m, struct err *err) ERR_MUST_USE;

enum result cli_manifest_ack(struct cli_manifest *m, const char *key, const struct cli_manifest_entry *entry,
    struct err *err) ERR_MUST_USE;
enum result cli_manifest_sync(struct cli_manifest *m, struct err *err) ERR_MUST_USE;

#endif
