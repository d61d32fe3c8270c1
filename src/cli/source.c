#include "cli/source.h"

#include "cli/source_kind.h"

#include <errno.h>
#include <limits.h>
#include <strings.h>
#include <sys/stat.h>

struct cli_source {
    const struct cli_source_kind *kind;
    void *state;
    char name[PATH_MAX];
    struct cli_source_counts counts;
};

static bool has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), e = strlen(ending);
    return n > e && strcasecmp(name + n - e, ending) == 0;
}

bool cli_source_is_picture(const char *name)
{
    static const char *const endings[] = {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".avif", ".heic", ".heif"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (has_ending(name, endings[i]))
            return true;
    return false;
}

static enum result open_kind(
    struct cli_source *s, const char *arg, const struct cli_source_options *options, struct err *err)
{
    struct stat st;
    if (strcmp(arg, "-") == 0) {
        snprintf(s->name, sizeof s->name, "-");
        s->kind = &cli_source_table;
        return cli_source_table_open("-", false, options, &s->state, err);
    }
    if (!realpath(arg, s->name) || stat(s->name, &st)) {
        int e = errno;
        err_set_errno(err, e, "cannot open %.300s", arg);
        return e == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    if (S_ISDIR(st.st_mode)) {
        s->kind = &cli_source_folder;
        return cli_source_folder_open(s->name, options, &s->counts, &s->state, err);
    }
    bool csv = has_ending(arg, ".csv");
    if (csv || has_ending(arg, ".jsonl") || has_ending(arg, ".ndjson")) {
        s->kind = &cli_source_table;
        return cli_source_table_open(s->name, csv, options, &s->state, err);
    }
    return err_set(err, ERR_UNSUPPORTED,
        "%.300s is no source: give a folder, a .csv, a .jsonl, or - for JSON lines on standard input%s", arg,
        cli_source_is_picture(arg) ? " (to import single pictures, put them into a folder)" : "");
}

enum result cli_source_open(
    const char *arg, const struct cli_source_options *options, struct cli_source **out, struct err *err)
{
    struct cli_source *s = calloc(1, sizeof *s);
    if (!s)
        return err_no_memory(err);
    enum result r = open_kind(s, arg, options, err);
    if (r)
        free(s);
    else
        *out = s;
    return r;
}

void cli_source_close(struct cli_source *s)
{
    if (!s)
        return;
    s->kind->close(s->state);
    free(s);
}

const char *cli_source_name(const struct cli_source *s)
{
    return s->name;
}

uint64_t cli_source_total(const struct cli_source *s)
{
    return s->kind->total(s->state);
}

struct cli_source_counts cli_source_counts(const struct cli_source *s)
{
    return s->counts;
}

enum result cli_source_next(struct cli_source *s, struct cli_record **out, struct err *err)
{
    return s->kind->next(s->state, out, err);
}
