/*
 * CSV and JSON lines as a source. A row of a CSV is turned into the JSON object that the same line would be,
 * all its values texts, and then both go the same way. A line that is wrong is a record with a problem, never
 * the end.
 */
#include "cli/source_kind.h"

#include "base/limits.h"
#include "base/parse.h"
#include "cli/csv.h"
#include "json/json.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <strings.h>
#include <unistd.h>

struct table {
    char folder[PATH_MAX]; /* that relative paths start from */
    char name[NAME_MAX + 1];
    const char *folder_name; /* last part of `folder` */
    const char *url_name;
    const struct cli_source_options *options;
    FILE *stream;
    struct cli_csv *csv; /* NULL: JSON lines */
    char **columns;      /* names of the CSV's columns; those we know in small letters */
    size_t column_count;
    struct buf text; /* of a JSON line */
    uint64_t line, total;
};

static const char *const known[] = {"fileid", "itemid", "path", "tags", "brief"};

static void table_close(void *state)
{
    struct table *t = state;
    cli_csv_free(t->csv);
    if (t->stream && t->stream != stdin)
        fclose(t->stream);
    for (size_t i = 0; i < t->column_count; i++)
        free(t->columns[i]);
    free(t->columns);
    buf_free(&t->text);
    free(t);
}

/* --- lines ---------------------------------------------------------------------------------------------- */

/* The next line that is not blank into t->text, without its end; ERR_TOO_LARGE goes on behind it. */
static enum result read_json_line(struct table *t, bool *end, struct err *err)
{
    enum result r;
    bool blank;
    int c;
    do {
        buf_clear(&t->text);
        r = ERR_OK;
        blank = true;
        t->line++;
        while ((c = getc_unlocked(t->stream)) != EOF && c != '\n') {
            char byte = (char)c;
            blank = blank && (byte == ' ' || byte == '\t' || byte == '\r');
            if (r == ERR_OK)
                r = buf_append(&t->text, &byte, 1);
        }
    } while (c != EOF && blank && r == ERR_OK);
    if (c == EOF && ferror(t->stream))
        return err_set_errno(err, errno, "cannot read on");
    *end = c == EOF && blank;
    return r ? err_set(err, r, "a line of more than %d MiB", LIMIT_IMPORT_LINE / LIMIT_MIB) : ERR_OK;
}

/* The fields of a row as an object of texts; empty ones of columns we know are left away. */
static enum result object_of_row(
    const struct table *t, const struct cli_csv_row *row, struct json_object **out, struct err *err)
{
    if (row->count != t->column_count)
        return err_set(
            err, ERR_INVALID, "it has %zu fields where the first line has %zu", row->count, t->column_count);
    struct json_object *object = json_object_new_object();
    if (!object)
        return err_no_memory(err);
    for (size_t i = 0; i < row->count; i++) {
        const struct cli_csv_field *field = &row->fields[i];
        if (memchr(field->text, '\0', field->len) || !parse_is_utf8(field->text, field->len)) {
            json_object_put(object);
            return err_set(err, ERR_INVALID, "its %.100s is not UTF-8 text", t->columns[i]);
        }
        struct json_object *text = json_object_new_string_len(field->text, (int)field->len);
        if (!text || json_object_object_add(object, t->columns[i], text)) {
            json_object_put(text);
            json_object_put(object);
            return err_no_memory(err);
        }
    }
    *out = object;
    return ERR_OK;
}

/* The next line as an object; *end where there is none. Other results than ERR_IO and ERR_NO_MEMORY are
   this line's. */
static enum result read_object(struct table *t, bool *end, struct json_object **out, struct err *err)
{
    if (t->csv) {
        struct cli_csv_row row = {0};
        enum result r = cli_csv_next(t->csv, &row, end, err);
        t->line = row.line;
        return r || *end ? r : object_of_row(t, &row, out, err);
    }
    enum result r = read_json_line(t, end, err);
    if (r || *end)
        return r;
    r = json_parse(t->text.data, t->text.len, out, err);
    if (r == ERR_OK && !json_object_is_type(*out, json_type_object)) {
        json_object_put(*out);
        *out = NULL;
        r = err_set(err, ERR_INVALID, "it is no JSON object");
    }
    return r;
}

/* --- from an object to a record ------------------------------------------------------------------------- */

/* A member that is there, not null and no empty text. */
static struct json_object *given(struct json_object *object, const char *name)
{
    struct json_object *value = json_member(object, name);
    bool empty =
        value && json_object_is_type(value, json_type_string) && json_object_get_string_len(value) == 0;
    return empty ? NULL : value;
}

static enum result take_id(
    struct json_object *object, const char *name, bool *found, int64_t *out, struct err *err)
{
    *found = false;
    return given(object, name) ? json_get_i64(object, name, found, out, err) : ERR_OK;
}

/* Whether a member has a meaning of its own. Beside a path a URL has none: it is just one more thing to
   remember. */
static bool is_known(const struct table *t, struct json_object *object, const char *name, bool has_path)
{
    if (strcmp(name, t->url_name) == 0)
        return !has_path || !given(object, name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

/* `brief` and, where it does not have them itself, the members we do not know. */
static enum result take_brief(
    const struct table *t, struct json_object *object, struct cli_record *record, struct err *err)
{
    struct json_object *brief = json_object_get(given(object, "brief"));
    enum result r = ERR_OK;
    if (brief && json_object_is_type(brief, json_type_string)) {
        struct json_object *parsed = NULL;
        struct err inner = {0};
        r = json_parse(
            json_object_get_string(brief), (size_t)json_object_get_string_len(brief), &parsed, &inner);
        json_object_put(brief);
        if (r)
            return err_set_field(err, ERR_INVALID, "brief", "its brief is no JSON: %.300s", inner.message);
        brief = parsed;
    }
    if (!brief)
        brief = json_object_new_object();
    if (!json_object_is_type(brief, json_type_object)) {
        json_object_put(brief);
        return err_set_field(err, ERR_INVALID, "brief", "its brief is no JSON object");
    }
    json_object_object_foreach(object, name, value)
    {
        if (is_known(t, object, name, record->path != NULL) || json_object_object_get_ex(brief, name, NULL))
            continue;
        if (json_object_object_add(brief, name, json_object_get(value))) {
            json_object_put(value);
            r = err_no_memory(err);
            break;
        }
    }
    if (r == ERR_OK && json_object_object_length(brief) > 0)
        r = cli_record_set_brief(record, brief, err);
    json_object_put(brief);
    return r;
}

static enum result take_url(struct cli_record *record, const char *url, size_t len, struct err *err)
{
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return err_set_field(err, ERR_INVALID, "url", "its url does not start with http:// or https://");
    if (len > LIMIT_URL_BYTES)
        return err_set_field(
            err, ERR_TOO_LARGE, "url", "its url has %zu bytes; at most %d are allowed", len, LIMIT_URL_BYTES);
    record->url = strdup(url);
    return record->url ? ERR_OK : err_no_memory(err);
}

/* Where the picture is, the name for people, and the number it would like to have. */
static enum result take_place(
    struct table *t, struct json_object *object, struct cli_record *record, struct err *err)
{
    bool found = false;
    const char *path = NULL, *url = NULL;
    size_t path_len = 0, url_len = 0;
    char *full = NULL;
    enum result r = json_get_string(object, "path", &found, &path, &path_len, err);
    if (r == ERR_OK)
        r = json_get_string(object, t->url_name, &found, &url, &url_len, err);
    if (r)
        return r;
    const char *what = path && path_len ? path : url && url_len ? url : NULL;
    if (!what)
        return err_set(err, ERR_INVALID, "it has neither path nor %.100s", t->url_name);
    free(record->name);
    if (asprintf(&record->name, "%s line %" PRIu64 ": %s", t->name, t->line, what) < 0) {
        record->name = NULL;
        return err_no_memory(err);
    }
    if (asprintf(&record->key, "%s:%s", what == path ? "path" : "url", what) < 0) {
        record->key = NULL;
        return err_no_memory(err);
    }
    if (what == url) {
        record->fileid = cli_id_hash(url, url_len);
        return take_url(record, url, url_len, err);
    }
    /* The number that the import of the folder itself would give to this file. */
    int n = asprintf(&full, "%s/%s", t->folder_name, path);
    if (n < 0)
        return err_no_memory(err);
    record->fileid = cli_id_hash(full, (size_t)n);
    free(full);
    n = *path == '/' ? asprintf(&record->path, "%s", path)
                     : asprintf(&record->path, "%s/%s", t->folder, path);
    if (n < 0) {
        record->path = NULL;
        return err_no_memory(err);
    }
    return ERR_OK;
}

static enum result fill(
    struct table *t, struct json_object *object, struct cli_record *record, struct err *err)
{
    int64_t fileid = 0;
    bool has_fileid = false;
    enum result r = take_place(t, object, record, err);
    if (r == ERR_OK)
        r = take_id(object, "fileid", &has_fileid, &fileid, err);
    if (r == ERR_OK)
        r = take_id(object, "itemid", &record->has_itemid, &record->itemid, err);
    if (r == ERR_OK)
        r = cli_record_set_tags(record, given(object, "tags"), err);
    if (r == ERR_OK)
        r = take_brief(t, object, record, err);
    if (r)
        return r;
    if (has_fileid) {
        record->has_fileid = true;
        record->fileid = fileid;
        free(record->key);
        if (asprintf(&record->key, "fileid:%" PRId64, fileid) < 0) {
            record->key = NULL;
            return err_no_memory(err);
        }
    }
    if (!record->has_itemid && record->path && t->options->item_from != CLI_ITEM_NONE) {
        record->has_itemid = true;
        record->itemid = cli_item_of_path(t->options->item_from, t->folder_name, record->path);
    }
    return cli_record_finish(record, err);
}

static enum result table_next(void *state, struct cli_record **out, struct err *err)
{
    struct table *t = state;
    struct json_object *object = NULL;
    struct err why = {0};
    bool end = false;
    enum result r = read_object(t, &end, &object, &why);
    if (end && r == ERR_OK) {
        *out = NULL;
        return ERR_OK;
    }
    if (r == ERR_IO)
        return err_set(err, ERR_IO, "%.200s line %" PRIu64 ": %.200s", t->name, t->line, why.message);
    struct cli_record *record = calloc(1, sizeof *record);
    if (!record || asprintf(&record->name, "%s line %" PRIu64, t->name, t->line) < 0) {
        if (record)
            record->name = NULL;
        r = ERR_NO_MEMORY;
    } else if (r == ERR_OK) {
        r = fill(t, object, record, &why);
    }
    json_object_put(object);
    if (r && r != ERR_NO_MEMORY)
        r = cli_record_fail(record, &why, err);
    if (r) {
        cli_record_free(record);
        return err_no_memory(err);
    }
    *out = record;
    return ERR_OK;
}

static uint64_t table_total(const void *state)
{
    return ((const struct table *)state)->total;
}

/* --- opening -------------------------------------------------------------------------------------------- */

/* The name of a column as we use it: without blanks around it, and one we know in small letters. */
static char *column_name(const struct table *t, const struct cli_csv_field *field)
{
    const char *text = field->text, *end = text + field->len;
    while (text < end && (*text == ' ' || *text == '\t'))
        text++;
    while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    char *name = strndup(text, (size_t)(end - text));
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcasecmp(name, known[i]) == 0)
            memcpy(name, known[i], strlen(known[i]));
    if (name && strcmp(t->url_name, "url") == 0 && strcasecmp(name, "url") == 0)
        memcpy(name, "url", 3);
    return name;
}

static enum result check_columns(const struct table *t, struct err *err)
{
    bool has_path = false, has_url = false;
    for (size_t i = 0; i < t->column_count; i++) {
        has_path = has_path || strcmp(t->columns[i], "path") == 0;
        has_url = has_url || strcmp(t->columns[i], t->url_name) == 0;
        if (!parse_is_utf8(t->columns[i], strlen(t->columns[i])))
            return err_set(err, ERR_INVALID, "%s: the name of column %zu is not UTF-8", t->name, i + 1);
        for (size_t j = 0; j < i; j++)
            if (strcmp(t->columns[i], t->columns[j]) == 0)
                return err_set(
                    err, ERR_INVALID, "%s: two columns have the name \"%.100s\"", t->name, t->columns[i]);
    }
    if (!has_url && strcmp(t->url_name, "url") != 0)
        return err_set(
            err, ERR_INVALID, "%s has no column \"%.100s\", which --url-column names", t->name, t->url_name);
    if (!has_path && !has_url)
        return err_set(err, ERR_INVALID,
            "%s has neither a column \"path\" nor a column \"url\" in its first line", t->name);
    return ERR_OK;
}

static enum result read_columns(struct table *t, struct err *err)
{
    struct cli_csv_row row = {0};
    struct err why = {0};
    bool end = false;
    enum result r = cli_csv_next(t->csv, &row, &end, &why);
    if (r)
        return err_set(err, r, "%s line 1: %.300s", t->name, why.message);
    if (end)
        return err_set(
            err, ERR_INVALID, "%s is empty: a first line with the names of the columns is needed", t->name);
    t->columns = calloc(row.count, sizeof *t->columns);
    if (!t->columns)
        return err_no_memory(err);
    for (; t->column_count < row.count; t->column_count++) {
        t->columns[t->column_count] = column_name(t, &row.fields[t->column_count]);
        if (!t->columns[t->column_count])
            return err_no_memory(err);
    }
    return check_columns(t, err);
}

/* Read everything once just to count; a pipe cannot be read twice. */
static enum result count_records(struct table *t, struct err *err)
{
    struct cli_csv_row row;
    struct err why = {0};
    bool end = false;
    enum result r = ERR_OK;
    if (fseek(t->stream, 0, SEEK_SET))
        return ERR_OK;
    if (t->csv) {
        cli_csv_free(t->csv);
        t->csv = NULL;
        r = cli_csv_new(t->stream, &t->csv, err);
        if (r)
            return r;
    }
    for (; !end && r != ERR_IO && r != ERR_NO_MEMORY; t->total += !end)
        r = t->csv ? cli_csv_next(t->csv, &row, &end, &why) : read_json_line(t, &end, &why);
    if (r == ERR_IO || r == ERR_NO_MEMORY)
        return err_set(err, r, "%s: %.300s", t->name, why.message);
    t->line = 0;
    clearerr(t->stream);
    if (fseek(t->stream, 0, SEEK_SET))
        return err_set_errno(err, errno, "cannot read %s again", t->name);
    if (!t->csv)
        return ERR_OK;
    t->total -= t->total > 0; /* the names of the columns */
    cli_csv_free(t->csv);
    t->csv = NULL;
    return cli_csv_new(t->stream, &t->csv, err);
}

static enum result open_table(struct table *t, const char *path, bool csv, struct err *err)
{
    if (strcmp(path, "-") == 0) {
        if (!getcwd(t->folder, sizeof t->folder))
            return err_set_errno(err, errno, "the current folder has no name");
        snprintf(t->name, sizeof t->name, "standard input");
        t->stream = stdin;
        return ERR_OK;
    }
    const char *slash = strrchr(path, '/');
    snprintf(t->folder, sizeof t->folder, "%.*s", (int)(slash - path), path);
    snprintf(t->name, sizeof t->name, "%s", slash + 1);
    t->stream = fopen(path, "re");
    if (!t->stream)
        return err_set_errno(err, errno, "cannot open %.300s", path);
    enum result r = csv ? cli_csv_new(t->stream, &t->csv, err) : ERR_OK;
    return r ? r : count_records(t, err);
}

enum result cli_source_table_open(
    const char *path, bool csv, const struct cli_source_options *options, void **out, struct err *err)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory(err);
    t->options = options;
    t->url_name = options->url_column ? options->url_column : "url";
    buf_init(&t->text, LIMIT_IMPORT_LINE);
    enum result r = open_table(t, path, csv, err);
    const char *slash = strrchr(t->folder, '/');
    t->folder_name = slash ? slash + 1 : t->folder;
    if (r == ERR_OK && csv)
        r = read_columns(t, err);
    if (r)
        table_close(t);
    else
        *out = t;
    return r;
}

const struct cli_source_kind cli_source_table = {table_close, table_total, table_next};
