/* The program `lookalike`: finds the command and runs it. */
#include "cli/cli.h"

#include "cage/cage.h"
#include "server/serve.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"serve", serve_main, "answer the API and show the page"},
    {"import", cli_import, "put pictures into a collection: a folder, CSV, JSON lines"},
    {"search", cli_search, "find the pictures most similar to one"},
    {"collection", cli_collection, "list, create, drop collections, show what is in one"},
    {"key", cli_key, "make, list and revoke API keys"},
    {"model", cli_model, "list, add, measure the models"},
    {"jobs", cli_jobs, "long work of a server: list, watch, cancel"},
    {"tune", cli_tune, "learn from a collection's own items what is the same product"},
    {"eval", cli_eval, "how often the right product comes first, without and with tune"},
    {"reembed", cli_reembed, "another model for a collection, from the pictures that it keeps"},
    {"bench", cli_bench, "how fast searches are answered, one at a time and many at once"},
    {"backup", cli_backup, "copy every collection into a folder, while the server runs"},
    {"restore", cli_restore, "make collections anew from a backup"},
    {"migrate", cli_migrate, "copy collections from the embedded store into a Milvus, or back"},
    {"export", cli_export, "write a collection as JSON lines and vectors, for other programs and stores"},
    {"doctor", cli_doctor, "look for what is wrong with a store or a server, and mend it"},
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_help(FILE *to)
{
    fputs("usage: lookalike COMMAND [ARGUMENT…] [FLAG…]\n\nFinds similar pictures.\n\n", to);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs(
        "  help         this text; `lookalike help COMMAND` or `lookalike COMMAND --help`: more\n"
        "  --version    the version\n\n"
        "To begin with:\n"
        "  lookalike serve --data ./data                   then open http://127.0.0.1:5000/\n"
        "  lookalike import shop ~/pictures --create\n"
        "  lookalike search shop photo.jpg\n",
        to);
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run(int argc, char **argv)
{
    const struct command *command = find(argv[0]);
    if (!command) {
        fprintf(stderr, "lookalike: there is no command \"%s\". See `lookalike help`.\n", argv[0]);
        return CLI_USAGE;
    }
    return command->run(argc, argv);
}

int main(int argc, char **argv)
{
    static char flag[] = "--help";
    if (argc == 2 && strcmp(argv[1], CAGE_ARGUMENT) == 0)
        return cage_main();
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    int status = CLI_DONE;
    if (strcmp(argv[1], "--version") == 0) {
        puts("lookalike " LOOKALIKE_VERSION);
    } else if (strcmp(argv[1], "help") == 0 && argc > 2) {
        status = run(2, (char *[]){argv[2], flag, NULL});
    } else if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
    } else {
        status = run(argc - 1, argv + 1);
    }
    /* What was printed must have arrived: a full disk or a closed pipe behind us is no success. */
    if ((fflush(stdout) || ferror(stdout)) && status == CLI_DONE) {
        perror("lookalike: standard output");
        status = CLI_NOTHING;
    }
    return status;
}
