/* A folder as a source: every picture below it is a record, its path is its name. */
#include "cli/source_kind.h"

#include "base/limits.h"
#include "json/json.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <xxhash.h>

/* A picture, or something that could not be read. */
struct found {
    char *path;    /* relative to the folder */
    char *problem; /* NULL: a picture */
};

struct folder {
    char path[PATH_MAX]; /* absolute */
    const char *name;    /* its last part, in `path` */
    const struct cli_source_options *options;
    struct cli_source_counts *counts;
    struct found *found;
    size_t count, room, next;
    struct cli_idmap *entered; /* folders, by a hash of device and inode */
};

static void folder_close(void *state)
{
    struct folder *f = state;
    for (size_t i = 0; i < f->count; i++) {
        free(f->found[i].path);
        free(f->found[i].problem);
    }
    free(f->found);
    cli_idmap_free(f->entered);
    free(f);
}

/* --- walking -------------------------------------------------------------------------------------------- */

/* Note a path; `problem` may be NULL. */
static enum result add_found(struct folder *f, const char *relative, const char *problem, struct err *err)
{
    if (f->count == f->room) {
        size_t room = f->room ? f->room * 2 : 1024;
        struct found *found = reallocarray(f->found, room, sizeof *found);
        if (!found)
            return err_no_memory(err);
        f->found = found;
        f->room = room;
    }
    struct found item = {.path = strdup(relative), .problem = problem ? strdup(problem) : NULL};
    if (!item.path || (problem && !item.problem)) {
        free(item.path);
        free(item.problem);
        return err_no_memory(err);
    }
    f->found[f->count++] = item;
    return ERR_OK;
}

/* Enter a folder for the first time; *again where it was entered before, through a link. */
static enum result enter(struct folder *f, const struct stat *st, bool *again, struct err *err)
{
    const uint64_t which[2] = {(uint64_t)st->st_dev, (uint64_t)st->st_ino};
    enum result r = cli_idmap_take(f->entered, (int64_t)XXH3_64bits(which, sizeof which), 0, err);
    *again = r == ERR_EXISTS;
    return *again ? ERR_OK : r;
}

static enum result add_unreadable(struct folder *f, const char *relative, int e, struct err *err)
{
    struct err why;
    err_set_errno(&why, e, "cannot be read");
    return add_found(f, relative, why.message, err);
}

static enum result walk(struct folder *f, const char *relative, unsigned depth, struct err *err);

/* One entry of a folder; `relative` is its path. */
static enum result visit(
    struct folder *f, const char *relative, const char *name, unsigned depth, struct err *err)
{
    char full[PATH_MAX];
    struct stat st;
    int n = snprintf(full, sizeof full, "%s/%s", f->path, relative);
    if (n < 0 || (size_t)n >= sizeof full)
        return add_unreadable(f, relative, ENAMETOOLONG, err);
    if (stat(full, &st)) /* a link to nowhere with the name of a picture is one that cannot be read */
        return cli_source_is_picture(name) ? add_unreadable(f, relative, errno, err)
                                           : (f->counts->other++, ERR_OK);
    if (S_ISDIR(st.st_mode))
        return walk(f, relative, depth + 1, err);
    if (!cli_source_is_picture(name) || !S_ISREG(st.st_mode)) {
        f->counts->other++;
        return ERR_OK;
    }
    return add_found(f, relative, NULL, err);
}

/* The folder at `relative` ("" for the first), and all below it. */
static enum result walk(struct folder *f, const char *relative, unsigned depth, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    bool again = false;
    if (depth > LIMIT_IMPORT_DEPTH)
        return add_found(f, relative, "is nested too deep in folders", err);
    int length = snprintf(path, sizeof path, "%s/%s", f->path, relative);
    if (length < 0 || (size_t)length >= sizeof path)
        return add_unreadable(f, relative, ENAMETOOLONG, err);
    DIR *dir = opendir(path);
    if (!dir || fstat(dirfd(dir), &st)) {
        int e = errno;
        if (dir)
            closedir(dir);
        return add_unreadable(f, relative, e, err);
    }
    enum result r = enter(f, &st, &again, err);
    f->counts->links += again;
    while (r == ERR_OK && !again) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                r = add_unreadable(f, relative, errno, err);
            break;
        }
        if (entry->d_name[0] == '.') {
            f->counts->hidden += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
            continue;
        }
        int n = snprintf(path, sizeof path, "%s%s%s", relative, *relative ? "/" : "", entry->d_name);
        r = n > 0 && (size_t)n < sizeof path ? visit(f, path, entry->d_name, depth, err)
                                             : add_unreadable(f, relative, ENAMETOOLONG, err);
    }
    closedir(dir);
    return r;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

enum result cli_source_folder_open(const char *path, const struct cli_source_options *options,
    struct cli_source_counts *counts, void **out, struct err *err)
{
    struct folder *f = calloc(1, sizeof *f);
    if (!f)
        return err_no_memory(err);
    snprintf(f->path, sizeof f->path, "%s", path);
    const char *slash = strrchr(f->path, '/');
    f->name = slash ? slash + 1 : f->path;
    f->options = options;
    f->counts = counts;
    enum result r = cli_idmap_new(&f->entered, err);
    if (r == ERR_OK)
        r = walk(f, "", 0, err);
    if (r) {
        folder_close(f);
        return r;
    }
    if (f->count == 1 && !f->found[0].path[0]) { /* the folder itself */
        r = err_set(err, ERR_IO, "%.300s %s", path, f->found[0].problem);
        folder_close(f);
        return r;
    }
    if (f->count)
        qsort(f->found, f->count, sizeof *f->found, by_path);
    *out = f;
    return ERR_OK;
}

/* --- records -------------------------------------------------------------------------------------------- */

static uint64_t folder_total(const void *state)
{
    return ((const struct folder *)state)->count;
}

/* {"path": relative path} */
static enum result set_path_brief(struct cli_record *record, struct err *err)
{
    struct json_object *brief = json_object_new_object(), *path = json_object_new_string(record->name);
    if (!brief || !path || json_object_object_add(brief, "path", path)) {
        json_object_put(brief);
        json_object_put(path);
        return err_no_memory(err);
    }
    enum result r = cli_record_set_brief(record, brief, err);
    json_object_put(brief);
    return r;
}

static enum result fill(
    struct folder *f, const struct found *found, struct cli_record *record, struct err *err)
{
    struct err why = {0};
    record->name = cli_text_as_utf8(found->path);
    record->key = strdup(found->path);
    if (!record->name || !record->key)
        return err_no_memory(err);
    if (found->problem) {
        err_set(&why, ERR_IO, "%s", found->problem);
        return cli_record_fail(record, &why, err);
    }
    char *full = NULL;
    if (asprintf(&record->path, "%s/%s", f->path, found->path) < 0) {
        record->path = NULL;
        return err_no_memory(err);
    }
    int n = asprintf(&full, "%s/%s", f->name, found->path);
    if (n < 0)
        return err_no_memory(err);
    record->fileid = cli_id_hash(full, (size_t)n);
    free(full);
    record->has_itemid = f->options->item_from != CLI_ITEM_NONE;
    if (record->has_itemid)
        record->itemid = cli_item_of_path(f->options->item_from, f->name, found->path);
    enum result r = set_path_brief(record, &why);
    if (r == ERR_OK)
        r = cli_record_finish(record, &why);
    return r ? cli_record_fail(record, &why, err) : ERR_OK;
}

static enum result folder_next(void *state, struct cli_record **out, struct err *err)
{
    struct folder *f = state;
    if (f->next == f->count) {
        *out = NULL;
        return ERR_OK;
    }
    struct cli_record *record = calloc(1, sizeof *record);
    enum result r = record ? fill(f, &f->found[f->next++], record, err) : err_no_memory(err);
    if (r)
        cli_record_free(record);
    else
        *out = record;
    return r;
}

const struct cli_source_kind cli_source_folder = {folder_close, folder_total, folder_next};
