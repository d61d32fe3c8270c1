/* Folders, CSV and JSON lines as sources of records. */
#include "cli/source.h"

#include "base/buf.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static struct cli_source_options options;

static int set_up(void **state)
{
    (void)state;
    options = (struct cli_source_options){0};
    snprintf(folder, sizeof folder, "/tmp/lookalike-source-XXXXXX");
    return mkdtemp(folder) ? chdir(folder) : 1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[200];
    snprintf(command, sizeof command, "chmod -R u+rwx '%s'; rm -rf '%s'", folder, folder);
    return chdir("/") || system(command);
}

/* Make a file below the folder, and the folders on its way. */
static void put(const char *path, const char *text)
{
    char part[256];
    for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        mkdir(part, 0700);
    }
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct cli_source *open_source(const char *arg)
{
    struct cli_source *s = NULL;
    struct err err = {0};
    if (cli_source_open(arg, &options, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

static struct cli_record *next(struct cli_source *s)
{
    struct cli_record *record = NULL;
    struct err err = {0};
    if (cli_source_next(s, &record, &err))
        fail_msg("%s", err.message);
    return record;
}

static enum result open_fails(const char *arg, const char *word)
{
    struct cli_source *s = NULL;
    struct err err = {0};
    enum result r = cli_source_open(arg, &options, &s, &err);
    assert_int_not_equal(r, ERR_OK);
    assert_null(s);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" does not say \"%s\"", err.message, word);
    return r;
}

/* The names of all records, a line each; "!" in front of those with a problem. */
static char *names_of(struct cli_source *s)
{
    struct buf out;
    struct cli_record *record;
    buf_init(&out, LIMIT_MIB);
    assert_int_equal(buf_append_str(&out, ""), ERR_OK);
    while ((record = next(s))) {
        assert_int_equal(buf_appendf(&out, "%s%s\n", record->problem ? "!" : "", record->name), ERR_OK);
        cli_record_free(record);
    }
    return buf_take(&out, NULL);
}

static void check_names(const char *arg, const char *expected)
{
    struct cli_source *s = open_source(arg);
    char *names = names_of(s);
    assert_string_equal(names, expected);
    free(names);
    cli_source_close(s);
}

/* --- folders
 * ---------------------------------------------------------------------------------------------------- */

static void test_folder(void **state)
{
    (void)state;
    put("top/b.jpg", "12345");
    put("top/a.PNG", "x");
    put("top/sub/c.webp", "x");
    put("top/sub/deep/d.Jpeg", "x");
    put("top/sub-other/e.avif", "x");
    put("top/notes.txt", "x");
    put("top/.hidden.jpg", "x");
    put("top/.git/x.jpg", "x");
    put("top/noending", "x");
    put("top/jpg", "x");
    struct cli_source *s = open_source("top");
    assert_int_equal(cli_source_total(s), 5);
    char *names = names_of(s);
    assert_string_equal(names, "a.PNG\nb.jpg\nsub-other/e.avif\nsub/c.webp\nsub/deep/d.Jpeg\n");
    free(names);
    assert_int_equal(cli_source_counts(s).other, 3);
    assert_int_equal(cli_source_counts(s).hidden, 2);
    cli_source_close(s);
    check_names("top/sub/", "c.webp\ndeep/d.Jpeg\n");
    check_names("./top/../top/sub/deep", "d.Jpeg\n");
}

static void test_folder_record(void **state)
{
    (void)state;
    put("top/sub/gr\xc3\xb6\xc3\x9f"
        "e \"1\".jpg",
        "12345");
    struct cli_source *s = open_source("top");
    struct cli_record *r = next(s);
    assert_null(r->problem);
    assert_string_equal(r->key,
        "sub/gr\xc3\xb6\xc3\x9f"
        "e \"1\".jpg");
    assert_string_equal(r->brief,
        "{\"path\":\"sub/gr\xc3\xb6\xc3\x9f"
        "e \\\"1\\\".jpg\"}");
    assert_null(r->tags);
    assert_false(r->has_fileid || r->has_itemid);
    assert_true(r->fileid == cli_id_hash("top/sub/gr\xc3\xb6\xc3\x9f"
                                         "e \"1\".jpg",
                                 strlen("top/sub/gr....e .1..jpg")));
    assert_int_equal(r->size, 5);
    assert_true(r->mtime_ns > 0);
    uint64_t metadata = r->metadata;
    cli_record_free(r);
    assert_null(next(s));
    cli_source_close(s);
    options.item_from = CLI_ITEM_FOLDER;
    s = open_source("top");
    r = next(s);
    assert_true(r->has_itemid && r->itemid == cli_id_hash("sub", 3));
    assert_true(r->metadata != metadata); /* another item is a change */
    cli_record_free(r);
    cli_source_close(s);
}

static void test_names_that_are_not_utf8(void **state)
{
    (void)state;
    put("top/\xff\xe4.jpg", "x");
    struct cli_source *s = open_source("top");
    struct cli_record *r = next(s);
    assert_null(r->problem);
    assert_string_equal(r->name, "\xef\xbf\xbd\xef\xbf\xbd.jpg");
    assert_string_equal(r->key, "\xff\xe4.jpg"); /* the true name is what counts */
    assert_int_equal(r->size, 1);
    cli_record_free(r);
    cli_source_close(s);
}

static void test_links(void **state)
{
    (void)state;
    put("top/a/1.jpg", "x");
    put("outside/2.jpg", "x");
    assert_int_equal(symlink("..", "top/a/up"), 0);
    assert_int_equal(symlink("a", "top/again"), 0);
    assert_int_equal(symlink("../outside", "top/out"), 0);
    assert_int_equal(symlink("../outside/2.jpg", "top/link.jpg"), 0);
    assert_int_equal(symlink("nowhere", "top/dead.jpg"), 0);
    assert_int_equal(symlink("nowhere", "top/dead"), 0);
    assert_int_equal(symlink("self.jpg", "top/self.jpg"), 0);
    assert_int_equal(mkfifo("top/pipe.jpg", 0600), 0);
    struct cli_source *s = open_source("top");
    char *names = names_of(s);
    assert_non_null(strstr(names, "!dead.jpg\n"));
    assert_non_null(strstr(names, "!self.jpg\n"));
    assert_non_null(strstr(names, "link.jpg\n"));
    assert_non_null(strstr(names, "out/2.jpg\n"));
    assert_null(strstr(names, "pipe.jpg"));
    /* Which of the two names of a folder is met first is the file system's; one of them is. */
    assert_int_equal((strstr(names, "a/1.jpg\n") != NULL) + (strstr(names, "again/1.jpg\n") != NULL), 1);
    assert_int_equal(cli_source_counts(s).links, 2);
    free(names);
    cli_source_close(s);
}

/* A picture in as many folders as are allowed, and one a folder deeper. */
static void test_deep_folders(void **state)
{
    (void)state;
    struct buf path;
    buf_init(&path, 1000);
    assert_int_equal(buf_append_str(&path, "top"), ERR_OK);
    for (int i = 0; i < LIMIT_IMPORT_DEPTH; i++)
        assert_int_equal(buf_append_str(&path, "/d"), ERR_OK);
    size_t deepest = path.len;
    assert_int_equal(buf_append_str(&path, "/in.jpg"), ERR_OK);
    put(path.data, "x");
    path.len = deepest;
    assert_int_equal(buf_append_str(&path, "/e/out.jpg"), ERR_OK);
    put(path.data, "x");
    struct cli_source *s = open_source("top");
    char *names = names_of(s);
    assert_non_null(strstr(names, "/in.jpg\n"));
    assert_non_null(strstr(names, "/e\n"));
    assert_null(strstr(names, "out.jpg"));
    assert_int_equal(names[0], '!');
    free(names);
    cli_source_close(s);
    buf_free(&path);
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    put("top/ok.jpg", "x");
    put("top/closed/1.jpg", "x");
    assert_int_equal(chmod("top/closed", 0), 0);
    if (access("top/closed", R_OK) == 0) {
        print_message("# the user root may read everything\n");
        return;
    }
    check_names("top", "!closed\nok.jpg\n");
    assert_int_equal(open_fails("top/closed", "closed"), ERR_IO);
}

static void test_no_source(void **state)
{
    (void)state;
    put("one.jpg", "x");
    put("list.txt", "x");
    assert_int_equal(open_fails("missing", "missing"), ERR_NOT_FOUND);
    assert_int_equal(open_fails("missing.csv", "missing.csv"), ERR_NOT_FOUND);
    assert_int_equal(open_fails("one.jpg", "folder"), ERR_UNSUPPORTED);
    assert_int_equal(open_fails("list.txt", "list.txt"), ERR_UNSUPPORTED);
    mkdir("empty", 0700);
    struct cli_source *s = open_source("empty");
    assert_int_equal(cli_source_total(s), 0);
    assert_null(next(s));
    cli_source_close(s);
}

/* --- tables
 * ----------------------------------------------------------------------------------------------------- */

static void test_csv(void **state)
{
    (void)state;
    put("shop/pics/1.jpg", "12345");
    put("shop/list.csv",
        "\xef\xbb\xbf"
        "FileID,itemid, path ,url,TAGS,brief,Price,note\r\n"
        "9007199254740993,5,pics/1.jpg,,\"a; b;;c\",\"{\"\"x\"\":1,\"\"Price\"\":2}\",3,\r\n"
        ",,pics/1.jpg,http://x/y,\"[\"\"a;b\"\"]\",,,n\r\n"
        "7,-1,,https://example.org/1.jpg,,,,\r\n");
    struct cli_source *s = open_source("shop/list.csv");
    assert_int_equal(cli_source_total(s), 3);
    struct cli_record *r = next(s);
    assert_null(r->problem);
    assert_true(r->has_fileid && r->fileid == 9007199254740993);
    assert_true(r->has_itemid && r->itemid == 5);
    assert_string_equal(r->tags, "[\"a\",\"b\",\"c\"]");
    assert_string_equal(r->brief, "{\"x\":1,\"Price\":2,\"note\":\"\"}"); /* what brief says itself wins */
    assert_non_null(strstr(r->path, "/shop/pics/1.jpg"));
    assert_string_equal(r->name, "list.csv line 2: pics/1.jpg");
    assert_int_equal(r->size, 5);
    cli_record_free(r);
    r = next(s);
    assert_null(r->problem);
    assert_false(r->has_fileid || r->has_itemid);
    assert_true(r->fileid == cli_id_hash("shop/pics/1.jpg", 15)); /* as the import of the folder would */
    assert_null(r->url);
    assert_string_equal(r->tags, "[\"a;b\"]");
    assert_string_equal(r->brief, "{\"url\":\"http://x/y\",\"Price\":\"\",\"note\":\"n\"}");
    cli_record_free(r);
    r = next(s);
    assert_null(r->problem);
    assert_null(r->path);
    assert_string_equal(r->url, "https://example.org/1.jpg");
    assert_true(r->fileid == 7 && r->itemid == -1);
    assert_null(r->tags);
    cli_record_free(r);
    assert_null(next(s));
    cli_source_close(s);
}

static void test_csv_wrong_rows(void **state)
{
    (void)state;
    char brief[LIMIT_BRIEF_BYTES + 100], text[LIMIT_BRIEF_BYTES + 4000];
    memset(brief, 'x', sizeof brief);
    brief[sizeof brief - 1] = '\0';
    put("ok.jpg", "x");
    snprintf(text, sizeof text,
        "fileid,path,tags,brief,itemid\n"
        "1,ok.jpg,,,\nx,ok.jpg,,,\n1.5,ok.jpg,,,\n2,missing.jpg,,,\n3,,,,\n4,ok.jpg,,{,\n5,ok.jpg,,[],\n6,ok."
        "jpg,[1],,\n"
        "7,ok.jpg,\"[\",,\n8,ok.jpg,a;b;c;d;e;f;g;h;i;j;k,,\n9,ok.jpg,\xff,,\n10,ok.jpg\n11,ok.jpg,,,,\n12,.,"
        ",,\n13,ok.jpg,,,y\n"
        "\"a\"b,ok.jpg,,,\n14,ok.jpg,,{\"a\":\"%s\"},\n99,ok.jpg,,,\n",
        brief);
    put("list.csv", text);
    struct cli_source *s = open_source("list.csv");
    assert_int_equal(cli_source_total(s), 18);
    int good = 0, wrong = 0;
    for (struct cli_record *r; (r = next(s)); cli_record_free(r)) {
        char line[32];
        snprintf(line, sizeof line, "list.csv line %d", 2 + good + wrong);
        assert_ptr_equal(strstr(r->name, line), r->name);
        if (r->problem)
            wrong++;
        else
            good++;
        assert_true(r->problem || r->fileid == 1 || r->fileid == 99);
    }
    assert_int_equal(good, 2);
    assert_int_equal(wrong, 16);
    cli_source_close(s);
}

static void test_csv_columns(void **state)
{
    (void)state;
    put("none.csv", "fileid,name\n1,x\n");
    assert_int_equal(open_fails("none.csv", "path"), ERR_INVALID);
    put("empty.csv", "");
    assert_int_equal(open_fails("empty.csv", "empty"), ERR_INVALID);
    put("twice.csv", "path,a,Path\n1,x,2\n");
    assert_int_equal(open_fails("twice.csv", "path"), ERR_INVALID);
    put("bytes.csv", "path,\xff\n1,x\n");
    assert_int_equal(open_fails("bytes.csv", "UTF-8"), ERR_INVALID);
    put("link.csv", "fileid;image_link;url\n1;http://x/1.jpg;http://shop/1\n");
    options.url_column = "image_link";
    struct cli_source *s = open_source("link.csv");
    struct cli_record *r = next(s);
    assert_null(r->problem);
    assert_string_equal(r->url, "http://x/1.jpg");
    assert_string_equal(r->brief, "{\"url\":\"http://shop/1\"}");
    cli_record_free(r);
    cli_source_close(s);
    options.url_column = "picture";
    assert_int_equal(open_fails("link.csv", "picture"), ERR_INVALID);
}

static void test_json_lines(void **state)
{
    (void)state;
    put("a.jpg", "x");
    put("list.jsonl",
        "\xef\xbb\xbf{\"fileid\":1,\"path\":\"a.jpg\",\"tags\":[\"x\"],\"brief\":{\"k\":[1.50]}"
        ",\"stock\":12,\"no\":null}\r\n"
        "\n  \n"
        "{\"fileid\":\"-9223372036854775808\",\"path\":\"a.jpg\",\"tags\":\"a;b\",\"brief\":\"{"
        "\\\"z\\\":1}\"}\n"
        "{\"fileid\":\n"
        "[1]\n"
        "{\"path\":7}\n"
        "{\"fileid\":2,\"fileid\":3,\"path\":\"a.jpg\"}\n"
        "{\"url\":\"ftp://x/y\"}\n"
        "{\"url\":\"http://x/y\"}");
    struct cli_source *s = open_source("list.jsonl");
    assert_int_equal(cli_source_total(s), 8);
    struct cli_record *r = next(s);
    assert_null(r->problem);
    assert_string_equal(r->brief, "{\"k\":[1.50],\"stock\":12,\"no\":null}");
    assert_string_equal(r->tags, "[\"x\"]");
    cli_record_free(r);
    r = next(s);
    assert_null(r->problem);
    assert_true(r->fileid == INT64_MIN && r->has_fileid);
    assert_string_equal(r->brief, "{\"z\":1}");
    assert_string_equal(r->tags, "[\"a\",\"b\"]");
    cli_record_free(r);
    for (int line = 5; line <= 9; line++) {
        char name[32];
        snprintf(name, sizeof name, "list.jsonl line %d", line);
        r = next(s);
        assert_non_null(r->problem);
        assert_ptr_equal(strstr(r->name, name), r->name);
        cli_record_free(r);
    }
    r = next(s);
    assert_null(r->problem);
    assert_string_equal(r->url, "http://x/y");
    cli_record_free(r);
    assert_null(next(s));
    cli_source_close(s);
}

static void test_long_json_line(void **state)
{
    (void)state;
    put("a.jpg", "x");
    FILE *f = fopen("list.jsonl", "we");
    assert_non_null(f);
    fputs("{\"path\":\"a.jpg\"}\n", f);
    for (int i = 0; i <= LIMIT_IMPORT_LINE; i++)
        fputc('{', f);
    fputs("\n{\"path\":\"a.jpg\",\"fileid\":3}\n", f);
    assert_int_equal(fclose(f), 0);
    check_names("list.jsonl", "list.jsonl line 1: a.jpg\n!list.jsonl line 2\nlist.jsonl line 3: a.jpg\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_folder), TEST(test_folder_record),
        TEST(test_names_that_are_not_utf8), TEST(test_links), TEST(test_deep_folders),
        TEST(test_what_cannot_be_read), TEST(test_no_source), TEST(test_csv), TEST(test_csv_wrong_rows),
        TEST(test_csv_columns), TEST(test_json_lines), TEST(test_long_json_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
