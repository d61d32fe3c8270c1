/* A job of a server, waited for: /v1/backup, /v1/restore and whatever else answers with {"job": ID}. */
#ifndef CLI_JOB_H
#define CLI_JOB_H

#include "cli/cli.h"
#include "cli/progress.h"
#include "json/json.h"

/*
 * POST `body` (JSON) to `path`, and wait for the job; `tally` follows it in units of `unit`. *result is the job's
 * result, the caller's to release; NULL where it has none. The sentence of a failed job is in `err`. A program that
 * is ended meanwhile leaves the job running.
 */
enum result cli_job_run(const char *server, const char *path, const char *body, uint64_t unit,
    struct cli_tally *tally, struct json_object **result, struct err *err) ERR_MUST_USE;

/* DELETE of `path`; the sentence of a refusal is in `err`. */
enum result cli_job_delete(const char *server, const char *path, struct err *err) ERR_MUST_USE;

#endif
