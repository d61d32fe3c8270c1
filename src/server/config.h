/*
 * Configuration: flag, environment, file, default, in this order of precedence (API.md section 3).
 *
 * One table in config.c lists every key with its flag, environment name, default and help; the help text, the
 * environment look-up, the file parser and the test against the documentation all come from it.
 * The file has a line `key = value` each, `#` starts a comment; keys are the flags without dashes in front.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_FETCH_ALLOW_MAX 64

/* Strings live as long as the struct; config_free() releases them. */
struct config {
    char *data;    /* folder of the store; default "data" */
    char *listen;  /* default "127.0.0.1:5000" */
    char *backend; /* "embedded" or "milvus" */
    char *model;   /* name of a folder in `models`, or a path with a slash */
    char *models;  /* folder of models; NULL: looked for, see wiring.h */
    char *mask_model, *engine;
    char *device, *precision, *cors, *metric;
    char *sandbox; /* "auto", "yes" or "no" */
    char *log; /* "text" or "json" */
    char *tls_cert, *tls_key, *milvus_host;
    char *trusted_proxy; /* addresses and networks, separated by commas; NULL: none */
    char *backup_dir; /* NULL: no backups by request */
    char *milvus_uri, *milvus_user, *milvus_password, *milvus_token, *milvus_db, *milvus_ca, *milvus_cert, *milvus_key;
    char *milvus_index, *milvus_consistency;
    char *fetch_allow[CONFIG_FETCH_ALLOW_MAX];
    size_t fetch_allow_count;
    unsigned threads, milvus_port, milvus_ef, milvus_nprobe, milvus_timeout, rate_per_key, rate_per_address, max_active;
    uint32_t vector_dimension; /* 0: not given */
    bool insecure, thumbnails, access_log;
    bool metric_given; /* and not the default */
};

/* Defaults, then the file named by --config or LOOKALIKE_CONFIG, then the environment, then `argv`. argv[0] is skipped.
   ERR_INVALID names the flag, variable or line at fault. Positional arguments are an error. */
enum result config_load(struct config *config, int argc, char **argv, struct err *err) ERR_MUST_USE;
void config_free(struct config *config);
/* The flags with their help, one a line. */
enum result config_help(struct buf *out) ERR_MUST_USE;
/* Whether `arg` ("--model" or "--model=x") is a flag of config_load(), and whether it takes a value: for commands that
   accept these flags beside their own. */
bool config_is_flag(const char *arg, bool *takes_value);

#endif
