#include "server/config.h"

#include "base/limits.h"
#include "base/parse.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

enum kind { TEXT, NUMBER, FLAG, LIST };

/* Every key, once. `number` fields are unsigned or uint32_t, which are the same here. */
static const struct key {
    const char *name;        /* flag without dashes, and key of the file */
    const char *environment; /* beside LOOKALIKE_<NAME>: the name of the Python service; NULL: none */
    const char *value;       /* what the help calls the value; NULL: a flag without value */
    const char *fallback;    /* default as text; NULL: none */
    enum kind kind;
    size_t offset;
    uint64_t max; /* of a number */
    const char *help;
} keys[] = {
#define AT(member) offsetof(struct config, member)
    {"data", NULL, "DIR", "data", TEXT, AT(data), 0, "folder of the store; made where absent"},
    {"listen", NULL, "ADDR:PORT", "127.0.0.1:5000", TEXT, AT(listen), 0, "address to listen on"},
    {"backend", NULL, "NAME", NULL, TEXT, AT(backend), 0, "embedded (default) or milvus"},
    {"model", NULL, "NAME", "efficientnet-lite2", TEXT, AT(model), 0, "a folder in the folder of models, or a path with a slash"},
    {"models", NULL, "DIR", NULL, TEXT, AT(models), 0, "folder of models; default: DATA/models, then beside the program"},
    {"mask-model", NULL, "NAME", "u2net", TEXT, AT(mask_model), 0, "the model that finds the subject, for collections with a background mode"},
    {"device", NULL, "NAME", "CPU", TEXT, AT(device), 0, "where the model runs: CPU, GPU (OpenVINO), CUDA:0 (ONNX Runtime), AUTO"},
    {"engine", NULL, "NAME", NULL, TEXT, AT(engine), 0, "openvino or onnxruntime; default: by the device"},
    {"precision", NULL, "NAME", NULL, TEXT, AT(precision), 0, "f32, bf16 or int8; default: the fastest that device and model have"},
    {"threads", NULL, "N", "0", NUMBER, AT(threads), 1024, "threads for inference; 0: one per CPU"},
    {"fetch-allow", NULL, "CIDR|HOST", NULL, LIST, AT(fetch_allow), 0, "let `url` reach this address range or host although it is private; repeatable"},
    {"cors", NULL, "ORIGIN", "*", TEXT, AT(cors), 0, "origins that browsers may call from, separated by commas; `*`: any, `none`: none"},
    {"metric", "METRIC_TYPE", "NAME", NULL, TEXT, AT(metric), 0, "distance of new collections: L2 (default), IP, COSINE"},
    {"thumbnails", NULL, "yes|no", "yes", FLAG, AT(thumbnails), 0, "keep a small picture of each record in new collections"},
    {"backup-dir", NULL, "DIR", NULL, TEXT, AT(backup_dir), 0, "folder into which clients may ask for backups, and restore from; default: none"},
    {"sandbox", NULL, "auto|yes|no", "auto", TEXT, AT(sandbox), 0, "decode pictures in processes that can do nothing else; auto: where the system can"},
    {"rate-per-key", NULL, "N", "0", NUMBER, AT(rate_per_key), 1000000, "requests a second with one API key; beyond: 429; 0: no limit"},
    {"rate-per-address", NULL, "N", "0", NUMBER, AT(rate_per_address), 1000000, "requests a second from one address; beyond: 429; 0: no limit"},
    {"trusted-proxy", NULL, "CIDR", NULL, TEXT, AT(trusted_proxy), 0, "reverse proxies, separated by commas, whose X-Forwarded-For says who a client is"},
    {"max-active", NULL, "N", "0", NUMBER, AT(max_active), 100000, "requests worked on or waiting at once; beyond: 503 at once; 0: 544"},
    {"log", NULL, "text|json", "text", TEXT, AT(log), 0, "form of the log lines on standard error"},
    {"access-log", NULL, "yes|no", "no", FLAG, AT(access_log), 0, "a log line for every request"},
    {"insecure", NULL, NULL, "no", FLAG, AT(insecure), 0, "listen beyond this machine although there are no API keys"},
    {"vector-dimension", "VECTOR_DIMENSION", "N", "0", NUMBER, AT(vector_dimension), LIMIT_DIMENSION, "the model must have this many dimensions; 0: any"},
    {"milvus-host", "MILVUS_HOST", "HOST", NULL, TEXT, AT(milvus_host), 0, "selects the Milvus backend"},
    {"milvus-port", "MILVUS_PORT", "N", "19530", NUMBER, AT(milvus_port), 65535, "port of Milvus"},
    {"milvus-uri", NULL, "URI", NULL, TEXT, AT(milvus_uri), 0, "http://HOST:PORT, or https:// for TLS; instead of host and port; selects the Milvus backend"},
    {"milvus-user", NULL, "NAME", NULL, TEXT, AT(milvus_user), 0, "user of Milvus"},
    {"milvus-password", NULL, "TEXT", NULL, TEXT, AT(milvus_password), 0, "password; better in the environment or the file, where other users do not see it"},
    {"milvus-token", NULL, "TEXT", NULL, TEXT, AT(milvus_token), 0, "API key for Milvus, instead of user and password"},
    {"milvus-db", NULL, "NAME", NULL, TEXT, AT(milvus_db), 0, "database of Milvus; default: its default one"},
    {"milvus-ca", NULL, "FILE", NULL, TEXT, AT(milvus_ca), 0, "PEM file of the authorities to believe; default: the system's"},
    {"milvus-cert", NULL, "FILE", NULL, TEXT, AT(milvus_cert), 0, "PEM file of our certificate, where Milvus asks for one"},
    {"milvus-key", NULL, "FILE", NULL, TEXT, AT(milvus_key), 0, "its key"},
    {"milvus-index", NULL, "KIND", "HNSW", TEXT, AT(milvus_index), 0, "index of new collections: HNSW, IVF_SQ8, IVF_FLAT, FLAT, AUTOINDEX"},
    {"milvus-ef", NULL, "N", "128", NUMBER, AT(milvus_ef), 32768, "effort of a search by an HNSW index"},
    {"milvus-nprobe", NULL, "N", "16", NUMBER, AT(milvus_nprobe), 65536, "effort of a search by an IVF index"},
    {"milvus-consistency", NULL, "LEVEL", "session", TEXT, AT(milvus_consistency), 0, "what a read sees: session, strong, bounded"},
    {"milvus-timeout", NULL, "MS", "10000", NUMBER, AT(milvus_timeout), 600000, "longest wait for one answer of Milvus, in milliseconds"},
    {"tls-cert", NULL, "FILE", NULL, TEXT, AT(tls_cert), 0, "certificate with its chain, PEM: serve HTTPS; read again on SIGHUP"},
    {"tls-key", NULL, "FILE", NULL, TEXT, AT(tls_key), 0, "key of the certificate, PEM"},
#undef AT
};
#define KEY_COUNT (sizeof keys / sizeof *keys)
#define FILE_MAX (256 * 1024)

static char **text_at(struct config *c, const struct key *key)
{
    return (char **)(void *)((char *)c + key->offset);
}

static const struct key *find_key(const char *name, size_t len)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strlen(keys[i].name) == len && memcmp(keys[i].name, name, len) == 0)
            return &keys[i];
    return NULL;
}

static bool parse_flag(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "yes", "true", "on"}, *const no[] = {"0", "no", "false", "off", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcasecmp(text, yes[i]) == 0)
            return *out = true, true;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (strcasecmp(text, no[i]) == 0)
            return *out = false, true;
    return false;
}

static enum result add_to_list(struct config *c, const char *value, const char *origin, struct err *err)
{
    /* In environment and file a list is separated by commas. */
    while (*value) {
        size_t n = strcspn(value, ", ");
        if (n) {
            if (c->fetch_allow_count == CONFIG_FETCH_ALLOW_MAX)
                return err_set(err, ERR_TOO_LARGE, "%s: more than %d entries", origin, CONFIG_FETCH_ALLOW_MAX);
            c->fetch_allow[c->fetch_allow_count] = strndup(value, n);
            if (!c->fetch_allow[c->fetch_allow_count])
                return err_no_memory(err);
            c->fetch_allow_count++;
        }
        value += n + (value[n] != '\0');
    }
    return ERR_OK;
}

/* `origin` says where the value stands: "--threads", "LOOKALIKE_THREADS", "FILE line 3". */
static enum result set_key(struct config *c, const struct key *key, const char *value, const char *origin, struct err *err)
{
    uint64_t number;
    bool flag;
    char *copy;
    switch (key->kind) {
    case TEXT:
        copy = strdup(value);
        if (!copy)
            return err_no_memory(err);
        free(*text_at(c, key));
        *text_at(c, key) = copy;
        return ERR_OK;
    case NUMBER:
        if (!parse_u64(value, strlen(value), key->max, &number))
            return err_set(err, ERR_INVALID, "%s: \"%.100s\" is not a number from 0 to %llu", origin, value,
                (unsigned long long)key->max);
        *(unsigned *)(void *)((char *)c + key->offset) = (unsigned)number;
        return ERR_OK;
    case FLAG:
        if (!parse_flag(value, &flag))
            return err_set(err, ERR_INVALID, "%s: \"%.100s\" is neither yes nor no", origin, value);
        *(bool *)((char *)c + key->offset) = flag;
        return ERR_OK;
    case LIST:
        return add_to_list(c, value, origin, err);
    }
    return err_set(err, ERR_INTERNAL, "%s has no kind", key->name);
}

/* --- file ----------------------------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        text[--n] = '\0';
    return text;
}

static enum result read_line(struct config *c, char *line, const char *path, unsigned number, struct err *err)
{
    char origin[320];
    snprintf(origin, sizeof origin, "%.200s line %u", path, number);
    char *key_text = trim(line);
    if (!*key_text || *key_text == '#')
        return ERR_OK;
    char *equals = strchr(key_text, '=');
    if (!equals)
        return err_set(err, ERR_INVALID, "%s: a line must be `key = value`", origin);
    *equals = '\0';
    char *value = trim(equals + 1);
    key_text = trim(key_text);
    const struct key *key = find_key(key_text, strlen(key_text));
    if (!key)
        return err_set(err, ERR_INVALID, "%s: there is no key \"%.100s\"", origin, key_text);
    return set_key(c, key, value, origin, err);
}

static enum result read_file(struct config *c, const char *path, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set_errno(err, errno, "cannot read the configuration %s", path);
    char *line = NULL;
    size_t size = 0, total = 0;
    unsigned number = 0;
    enum result r = ERR_OK;
    for (ssize_t n; r == ERR_OK && (n = getline(&line, &size, f)) >= 0;) {
        total += (size_t)n;
        if (total > FILE_MAX || strlen(line) != (size_t)n)
            r = err_set(err, ERR_INVALID, "%s is no configuration file", path);
        else
            r = read_line(c, line, path, ++number, err);
    }
    if (r == ERR_OK && ferror(f))
        r = err_set_errno(err, errno, "cannot read the configuration %s", path);
    free(line);
    fclose(f);
    return r;
}

/* --- environment and flags ------------------------------------------------------------------------------------ */

static enum result read_environment(struct config *c, struct err *err)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char name[64] = "LOOKALIKE_";
        size_t n = strlen(name);
        for (const char *p = keys[i].name; *p && n + 1 < sizeof name; p++)
            name[n++] = *p == '-' ? '_' : (char)(*p - (*p >= 'a' && *p <= 'z' ? 'a' - 'A' : 0));
        const char *value = getenv(name), *origin = name;
        if (!value && keys[i].environment)
            value = getenv(origin = keys[i].environment);
        if (!value || !*value)
            continue;
        enum result r = set_key(c, &keys[i], value, origin, err);
        if (r)
            return r;
    }
    return ERR_OK;
}

/* The key of "--name" or "--name=value", or NULL; `*value` is what follows the sign, or NULL. */
static const struct key *flag_key(const char *arg, const char **value)
{
    if (strncmp(arg, "--", 2) != 0)
        return NULL;
    size_t n = strcspn(arg + 2, "=");
    *value = arg[2 + n] ? arg + 3 + n : NULL;
    return find_key(arg + 2, n);
}

bool config_is_flag(const char *arg, bool *takes_value)
{
    const char *value;
    const struct key *key = flag_key(arg, &value);
    if (strcmp(arg, "--config") == 0 || strncmp(arg, "--config=", 9) == 0) {
        *takes_value = arg[8] == '\0';
        return true;
    }
    if (!key)
        return false;
    *takes_value = key->value && !value;
    return true;
}

/* Walk the flags. With `file_only`, just look for --config and put its value into *file. */
static enum result read_flags(struct config *c, int argc, char **argv, const char **file, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        bool is_config = strcmp(argv[i], "--config") == 0 || strncmp(argv[i], "--config=", 9) == 0;
        const char *value = is_config && argv[i][8] ? argv[i] + 9 : NULL;
        const struct key *key = is_config ? NULL : flag_key(argv[i], &value);
        const char *name = argv[i];
        if (!is_config && !key)
            return err_set(err, ERR_INVALID, "there is no flag %.100s; see `lookalike serve --help`", argv[i]);
        if (!value && (is_config || key->value)) {
            if (i + 1 >= argc)
                return err_set(err, ERR_INVALID, "%s needs a value", name);
            value = argv[++i];
        }
        if (is_config) {
            if (file)
                *file = value;
            continue;
        }
        if (file)
            continue;
        if (key->kind == LIST && !strchr(value, ',') && strlen(value) == 0)
            return err_set(err, ERR_INVALID, "%s needs a value", name);
        enum result r = set_key(c, key, value ? value : "yes", name, err);
        if (r)
            return r;
    }
    return ERR_OK;
}

/* A later source replaces a list of an earlier one. */
static void clear_list(struct config *c)
{
    for (size_t i = 0; i < c->fetch_allow_count; i++)
        free(c->fetch_allow[i]);
    c->fetch_allow_count = 0;
}

static bool mentions_list(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--fetch-allow", 13) == 0)
            return true;
    return false;
}

static enum result fall_back(char **text, const char *value, struct err *err)
{
    if (*text)
        return ERR_OK;
    *text = strdup(value);
    return *text ? ERR_OK : err_no_memory(err);
}

static enum result check_milvus(const struct config *c, struct err *err)
{
    static const char *const levels[] = {"session", "strong", "bounded"}, *const kinds[] = {"HNSW", "IVF_SQ8", "IVF_FLAT", "FLAT", "AUTOINDEX"};
    bool level = false, kind = false;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        level |= strcmp(levels[i], c->milvus_consistency) == 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        kind |= strcmp(kinds[i], c->milvus_index) == 0;
    if (!level)
        return err_set(err, ERR_INVALID, "--milvus-consistency: \"%.50s\" is none of session, strong and bounded", c->milvus_consistency);
    if (!kind)
        return err_set(err, ERR_INVALID, "--milvus-index: \"%.50s\" is none of HNSW, IVF_SQ8, IVF_FLAT, FLAT and AUTOINDEX", c->milvus_index);
    if (strcmp(c->backend, "milvus") == 0 && !c->milvus_uri && !c->milvus_host)
        return err_set(err, ERR_INVALID, "--backend milvus needs the address: set MILVUS_HOST (and MILVUS_PORT), or --milvus-uri http://HOST:PORT");
    return ERR_OK;
}

static enum result check(struct config *c, struct err *err)
{
    c->metric_given = c->metric != NULL;
    enum result r = fall_back(&c->backend, c->milvus_host || c->milvus_uri ? "milvus" : "embedded", err);
    if (r == ERR_OK)
        r = fall_back(&c->metric, "L2", err);
    if (r)
        return r;
    if (strcmp(c->backend, "embedded") != 0 && strcmp(c->backend, "milvus") != 0)
        return err_set(err, ERR_INVALID, "--backend: \"%.50s\" is neither embedded nor milvus", c->backend);
    if (strcmp(c->sandbox, "auto") != 0 && strcmp(c->sandbox, "yes") != 0 && strcmp(c->sandbox, "no") != 0)
        return err_set(err, ERR_INVALID, "--sandbox: \"%.50s\" is none of auto, yes and no", c->sandbox);
    if (strcmp(c->log, "text") != 0 && strcmp(c->log, "json") != 0)
        return err_set(err, ERR_INVALID, "--log: \"%.50s\" is neither text nor json", c->log);
    if (strcasecmp(c->metric, "L2") && strcasecmp(c->metric, "IP") && strcasecmp(c->metric, "COSINE"))
        return err_set(err, ERR_INVALID, "--metric (METRIC_TYPE): \"%.50s\" is none of L2, IP and COSINE", c->metric);
    return check_milvus(c, err);
}

enum result config_load(struct config *config, int argc, char **argv, struct err *err)
{
    struct config c = {0};
    const char *file = NULL;
    enum result r = ERR_OK;
    for (size_t i = 0; i < KEY_COUNT && r == ERR_OK; i++)
        if (keys[i].fallback)
            r = set_key(&c, &keys[i], keys[i].fallback, keys[i].name, err);
    if (r == ERR_OK)
        r = read_flags(&c, argc, argv, &file, err);
    if (r == ERR_OK && !file && getenv("LOOKALIKE_CONFIG") && *getenv("LOOKALIKE_CONFIG"))
        file = getenv("LOOKALIKE_CONFIG");
    if (r == ERR_OK && file)
        r = read_file(&c, file, err);
    const char *list = getenv("LOOKALIKE_FETCH_ALLOW");
    if (list && *list)
        clear_list(&c);
    if (r == ERR_OK)
        r = read_environment(&c, err);
    if (mentions_list(argc, argv))
        clear_list(&c);
    if (r == ERR_OK)
        r = read_flags(&c, argc, argv, NULL, err);
    if (r == ERR_OK)
        r = check(&c, err);
    if (r)
        config_free(&c);
    else
        *config = c;
    return r;
}

void config_free(struct config *c)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].kind != TEXT)
            continue;
        free(*text_at(c, &keys[i]));
        *text_at(c, &keys[i]) = NULL;
    }
    clear_list(c);
}

enum result config_help(struct buf *out)
{
    enum result r = ERR_OK;
    for (size_t i = 0; i < KEY_COUNT && r == ERR_OK; i++) {
        char flag[64];
        snprintf(flag, sizeof flag, "--%s %s", keys[i].name, keys[i].value ? keys[i].value : "");
        r = buf_appendf(out, "  %-26s %s", flag, keys[i].help);
        if (r == ERR_OK && keys[i].fallback && keys[i].kind != FLAG)
            r = buf_appendf(out, " [%s]", keys[i].fallback);
        if (r == ERR_OK)
            r = buf_append_str(out, "\n");
    }
    if (r == ERR_OK)
        r = buf_append_str(out, "  --config FILE              lines of `key = value`; the keys are the flags above\n");
    return r;
}
