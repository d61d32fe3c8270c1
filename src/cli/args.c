#include "cli/cli.h"

#include "base/parse.h"
#include "server/config.h"

#include <inttypes.h>

#define SERVER_DEFAULT "http://127.0.0.1:5000"

const char cli_common_help[] =
    "  --server URL     the server to talk to [$LOOKALIKE_SERVER, else " SERVER_DEFAULT "]\n"
    "  --key KEY        API key of that server [$LOOKALIKE_API_KEY, which other users of this machine cannot see]\n"
    "  --data DIR       open the store in DIR directly, without a server; the flags of `lookalike serve` for model and\n"
    "                   engine (--model, --models, --device, --threads …) may follow\n"
    "  --json           output for machines\n"
    "  --quiet          no progress and no summary; errors only\n"
    "  --help           this text\n";

int cli_fail(int status, const struct err *err)
{
    fflush(stdout);
    fprintf(stderr, "lookalike: %s\n", err->message);
    return status;
}

int cli_usage(const char *command, const struct err *err)
{
    fflush(stdout);
    fprintf(stderr, "lookalike: %s\nSee `lookalike %s --help`.\n", err->message, command);
    return CLI_USAGE;
}

enum result cli_append_plain(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = parse_character(text + i, len - i);
        /* C1 control characters, U+0080 to U+009F, would reach the terminal as well. */
        bool c1 = n == 2 && c == 0xc2 && (unsigned char)text[i + 1] < 0xa0;
        bool good = n && c >= 0x20 && c != 0x7f && !c1;
        enum result r = good ? buf_append(out, text + i, n) : buf_append_str(out, "\xef\xbf\xbd");
        if (r)
            return r;
        i += good ? n : 1;
    }
    return ERR_OK;
}

enum result cli_args_number(
    const char *flag, const char *text, int64_t min, int64_t max, int64_t *out, struct err *err)
{
    int64_t v;
    if (!text)
        return ERR_OK;
    if (!parse_i64(text, strlen(text), &v) || v < min || v > max)
        return err_set(err, ERR_INVALID, "%s: \"%.100s\" is not a number from %" PRId64 " to %" PRId64, flag,
            text, min, max);
    *out = v;
    return ERR_OK;
}

/* Whether `arg` is the flag `name` or "name=value"; then *value is what follows the sign, or NULL. */
static bool is_flag(const char *arg, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || (arg[n] != '\0' && arg[n] != '='))
        return false;
    *value = arg[n] ? arg + n + 1 : NULL;
    return true;
}

static const struct cli_flag *find_flag(
    const char *arg, const struct cli_flag *flags, size_t count, const char **value)
{
    for (size_t i = 0; i < count; i++)
        if (is_flag(arg, flags[i].name, value))
            return &flags[i];
    return NULL;
}

/* One of our own flags; *at moves on over its value. */
static enum result take_flag(
    const struct cli_flag *flag, const char *value, int argc, char **argv, int *at, struct err *err)
{
    if (flag->set) {
        if (value)
            return err_set(err, ERR_INVALID, "%s takes no value", flag->name);
        *flag->set = true;
        return ERR_OK;
    }
    if (!value) {
        if (*at + 1 >= argc)
            return err_set(err, ERR_INVALID, "%s needs a value", flag->name);
        value = argv[++*at];
    }
    *flag->text = value;
    return ERR_OK;
}

/* A flag of config_load(), kept for it. */
static enum result keep_config_flag(
    struct cli_args *args, int argc, char **argv, int *at, bool takes_value, struct err *err)
{
    if (args->config_argc + 2 > CLI_ARGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d arguments", CLI_ARGS_MAX);
    args->config_argv[args->config_argc++] = argv[*at];
    if (!takes_value)
        return ERR_OK;
    if (*at + 1 >= argc)
        return err_set(err, ERR_INVALID, "%s needs a value", argv[*at]);
    args->config_argv[args->config_argc++] = argv[++*at];
    return ERR_OK;
}

static enum result check_place(
    struct cli_args *args, bool server_given, const char *config_flag, struct err *err)
{
    if (args->data && !*args->data)
        return err_set(err, ERR_INVALID, "--data needs a folder");
    if (args->data && server_given)
        return err_set(err, ERR_INVALID, "--server and --data exclude each other: give one of them");
    if (config_flag && !args->data)
        return err_set(
            err, ERR_INVALID, "%.100s goes with --data only: a server that runs has its own", config_flag);
    if (!args->server)
        args->server = getenv("LOOKALIKE_SERVER");
    if (!args->server || !*args->server)
        args->server = SERVER_DEFAULT;
    return ERR_OK;
}

enum result cli_args_parse(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
    struct cli_args *out, struct err *err)
{
    const char *key = NULL;
    const struct cli_flag common[] = {{"--server", &out->server, NULL}, {"--key", &key, NULL}, {"--json", NULL, &out->json},
        {"--quiet", NULL, &out->quiet}, {"-q", NULL, &out->quiet}, {"--help", NULL, &out->help},
        {"-h", NULL, &out->help}};
    const char *config_flag = NULL, *value;
    bool only_arguments = false, takes_value;
    *out = (struct cli_args){.command = argv[0]};
    out->config_argv[out->config_argc++] = argv[0];
    for (int i = 1; i < argc; i++) {
        enum result r = ERR_OK;
        const struct cli_flag *flag = NULL;
        if (only_arguments || argv[i][0] != '-' || strcmp(argv[i], "-") == 0) {
            if (out->positional_count == CLI_ARGS_MAX)
                return err_set(err, ERR_TOO_LARGE, "more than %d arguments", CLI_ARGS_MAX);
            out->positional[out->positional_count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if ((flag = find_flag(argv[i], common, sizeof common / sizeof *common, &value)) ||
                   (flag = find_flag(argv[i], flags, flag_count, &value))) {
            r = take_flag(flag, value, argc, argv, &i, err);
        } else if (config_is_flag(argv[i], &takes_value)) {
            bool is_data = is_flag(argv[i], "--data", &value);
            if (is_data)
                out->data = value ? value : i + 1 < argc ? argv[i + 1] : NULL;
            else
                config_flag = argv[i];
            r = keep_config_flag(out, argc, argv, &i, takes_value, err);
        } else {
            r = err_set(err, ERR_INVALID, "there is no flag %.100s", argv[i]);
        }
        if (r)
            return r;
    }
    bool server_given = out->server != NULL;
    if (key && (!*key || strpbrk(key, "\r\n")))
        return err_set(err, ERR_INVALID, "--key is no API key");
    if (key && setenv("LOOKALIKE_API_KEY", key, 1)) /* where http_client_new() looks; there is one thread yet */
        return err_no_memory(err);
    return out->help ? ERR_OK : check_place(out, server_given, config_flag, err);
}
