/*
 * Every allocation of a fixed piece of work made to fail once: the first, then the second, until none is left. Whatever fails, nothing crashes or
 * leaks (AddressSanitizer looks), the caller gets an error with a sentence or the work is done all the same, and what was acknowledged is there.
 *
 * The work: the store, written and read in every way; filters; API keys; requests through the HTTP server, its forms and targets; JSON.
 * Of libraries (SQLite, libmicrohttpd, json-c) no allocation fails here: they are linked as they are.
 */
#include "failing.h"

#include "auth/auth.h"
#include "filter/filter.h"
#include "http/internal.h"
#include "json/json.h"
#include "../store/support.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Runs `work` until none of its allocations fails any more; `after` is told whether the run succeeded. */
static void each(const char *what, enum result (*work)(struct err *err), void (*after)(enum result r))
{
    long n = 1;
    for (;; n++) {
        struct err err = {0};
        failing_at(n);
        enum result r = work(&err);
        bool happened = failing_happened();
        failing_at(0);
        if (r && !err.message[0])
            fail_msg("%s: allocation %ld: an error without a sentence", what, n);
        if (r && !happened)
            fail_msg("%s: failed without a failed allocation: %s", what, err.message);
        if (after)
            after(r);
        if (!happened)
            break;
    }
    assert_true(n > 3); /* the work does allocate, and it was counted */
}

/* --- the store -------------------------------------------------------------------------------------------------------- */

#define DIM 16
#define RECORDS 20

static char *folder;
static int acknowledged; /* writes of the run */

static enum result put(struct store *store, int64_t fileid, struct err *err)
{
    float v[DIM];
    char tags[64], brief[64];
    const uint8_t picture[] = {0xff, 0xd8, 1, 2, 3};
    for (int i = 0; i < DIM; i++)
        v[i] = (float)((fileid * 7 + i) % 11) - 5;
    snprintf(tags, sizeof tags, "[\"t%d\",\"all\"]", (int)fileid % 3);
    snprintf(brief, sizeof brief, "{\"n\":%d,\"colour\":\"c%d\"}", (int)fileid, (int)fileid % 4);
    struct store_write w = {.kind = STORE_PUT, .fileid = fileid, .has_itemid = true, .itemid = fileid / 2, .tags = tags, .brief = brief,
        .vector = v, .dimension = DIM, .thumbnail = picture, .thumbnail_len = sizeof picture};
    return store_write(store, "c", &w, 1, 0, err);
}

static enum result filtered(struct store *store, const char *text, struct err *err)
{
    struct filter *filter = NULL;
    struct store_records page = {0};
    uint64_t n = 0;
    float v[DIM] = {1};
    enum result r = filter_parse(text, strlen(text), &filter, err);
    if (r)
        return r;
    r = store_count_where(store, "c", filter, 0, &n, err);
    struct store_query query = {.vector = v, .dimension = DIM, .limit = 5, .group = true, .with_vectors = true, .filter = filter};
    if (r == ERR_OK)
        r = store_search(store, "c", &query, 0, &page, err);
    store_records_free(&page);
    struct store_browse browse = {.from_start = true, .limit = 7, .with_vectors = true, .descriptors = true, .filter = filter};
    page = (struct store_records){0};
    if (r == ERR_OK)
        r = store_browse_where(store, "c", &browse, 0, &page, err);
    store_records_free(&page);
    filter_free(filter);
    return r;
}

static enum result read_in_every_way(struct store *store, struct err *err)
{
    struct store_records page = {0};
    struct store_stats stats;
    struct store_facets facets = {0};
    struct buf picture;
    char **names = NULL;
    size_t count = 0;
    buf_init(&picture, 1000);
    enum result r = filtered(store, "array_contains(tags, \"t1\") and brief[\"n\"] < 15 or fileid in [3, 4, 5]", err);
    if (r == ERR_OK)
        r = filtered(store, "brief[\"colour\"] like \"c%\" and not (itemid == 3)", err);
    if (r == ERR_OK)
        r = store_get_item(store, "c", 3, 0, &page, err);
    store_records_free(&page);
    page = (struct store_records){0};
    if (r == ERR_OK)
        r = store_browse(store, "c", false, 4, 3, 0, &page, err);
    store_records_free(&page);
    if (r == ERR_OK)
        r = store_stats(store, "c", 0, &stats, err);
    const struct store_facet_query query = {.limit = 5};
    if (r == ERR_OK)
        r = store_facets(store, "c", &query, 0, &facets, err);
    store_facets_free(&facets);
    if (r == ERR_OK)
        r = store_thumbnail(store, "c", 2, 0, &picture, err);
    buf_free(&picture);
    if (r == ERR_OK)
        r = store_list(store, &names, &count, err);
    free(names);
    return r;
}

static enum result use_store(struct err *err)
{
    struct store_open_options options = {.data = folder};
    struct store_settings settings = {.model = "m", .dimension = DIM, .thumbnails = true};
    struct store *store = NULL;
    acknowledged = 0;
    enum result r = store_open_embedded(&options, &store, err);
    if (r)
        return r;
    r = store_create(store, "c", &settings, 0, err);
    for (int i = 1; r == ERR_OK && i <= RECORDS; i++) {
        r = put(store, i, err);
        acknowledged += r == ERR_OK;
    }
    if (r == ERR_OK)
        r = read_in_every_way(store, err);
    struct store_write gone = {.kind = STORE_DELETE, .fileid = 1};
    if (r == ERR_OK) {
        r = store_write(store, "c", &gone, 1, 0, err);
        acknowledged -= r == ERR_OK;
    }
    if (r == ERR_OK)
        r = store_check(store, NULL, NULL, err);
    store_close(store);
    return r;
}

/* What was acknowledged is there, and nothing is damaged. */
static void look_again(enum result r)
{
    struct store_open_options options = {.data = folder};
    struct store *store = NULL;
    uint64_t n = 0;
    OK(store_open_embedded(&options, &store, err));
    enum result counted = store_count(store, "c", 0, &n, NULL);
    assert_true(counted == ERR_OK || acknowledged == 0);
    if (n != (uint64_t)acknowledged)
        fail_msg("%d records were acknowledged, %d are there", acknowledged, (int)n);
    OK(store_check(store, NULL, NULL, err));
    store_close(store);
    test_folder_remove(folder);
    folder = test_folder();
}

static void store_and_filters(void **state)
{
    folder = test_folder();
    each("store", use_store, look_again);
    test_folder_remove(folder);
}

/* --- filters ---------------------------------------------------------------------------------------------------------- */

static enum result parse_filters(struct err *err)
{
    static const char *const texts[] = {
        "fileid > 10 and brief[\"a\"][\"b\"] in [1, 2, \"x\"] or not (tags[0] like \"a%\")",
        "array_contains_any(tags, [\"a\", \"b\"]) && itemid % 7 == 3",
        "((((1 < fileid < 20))))",
    };
    enum result r = ERR_OK;
    for (size_t i = 0; r == ERR_OK && i < sizeof texts / sizeof *texts; i++) {
        struct filter *filter = NULL;
        struct buf out;
        buf_init(&out, 4096);
        r = filter_parse(texts[i], strlen(texts[i]), &filter, err);
        if (r == ERR_OK && filter_print(filter, &out))
            r = err_no_memory(err);
        filter_free(filter);
        buf_free(&out);
    }
    return r;
}

static void filters(void **state)
{
    each("filters", parse_filters, NULL);
}

/* --- keys ------------------------------------------------------------------------------------------------------------- */

static enum result use_keys(struct err *err)
{
    static const char *const collections[] = {"a", "b"};
    const struct auth_new admin = {"operator", AUTH_ADMIN, NULL, 0}, bound = {"shop", AUTH_SEARCH, collections, 2};
    char text[AUTH_KEY_LEN + 1], other[AUTH_KEY_LEN + 1];
    struct auth *auth = NULL;
    struct auth_key *key = NULL, **keys = NULL;
    size_t count = 0;
    enum result r = auth_open(folder, &auth, err);
    if (r)
        return r;
    r = auth_create(auth, &admin, text, &key, err);
    auth_key_release(key);
    key = NULL;
    if (r == ERR_OK)
        r = auth_create(auth, &bound, other, &key, err);
    if (r == ERR_OK) {
        struct auth_key *found = auth_check(auth, text);
        assert_non_null(found);
        auth_key_release(found);
        r = auth_list(auth, &keys, &count, err);
    }
    for (size_t i = 0; r == ERR_OK && i < count; i++)
        auth_key_release(keys[i]);
    free(keys);
    if (r == ERR_OK)
        r = auth_revoke(auth, key->id, false, err);
    auth_key_release(key);
    auth_close(auth);
    return r;
}

static void new_folder(enum result r)
{
    struct auth *auth = NULL; /* the file is whole, whatever happened */
    OK(auth_open(folder, &auth, err));
    auth_close(auth);
    test_folder_remove(folder);
    folder = test_folder();
}

static void keys(void **state)
{
    folder = test_folder();
    each("keys", use_keys, new_folder);
    test_folder_remove(folder);
}

/* --- HTTP -------------------------------------------------------------------------------------------------------------- */

static void answer(void *user, const struct http_request *request, struct http_reply *reply)
{
    reply->content_type = "text/plain";
    if (buf_append(&reply->body, request->body, request->body_len) || http_reply_header(reply, "X-Path", request->path))
        reply->status = 503;
}

/* One request; the status, or 0 where the connection was closed without one. */
static int ask(unsigned port)
{
    static const char request[] = "POST /a/b?x=1&y=%20z HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-More: yes\r\nConnection: close\r\n\r\nhello";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char head[4096];
    size_t len = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (ssize_t n = 1; n > 0 && len < sizeof head - 1;) {
        if (poll(&p, 1, 10000) != 1)
            fail_msg("neither an answer nor an end within 10 s");
        n = recv(fd, head + len, sizeof head - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
    }
    head[len] = '\0';
    close(fd);
    return len > 12 ? (int)strtol(head + 9, NULL, 10) : 0;
}

/* The server stays up while requests fail: what is counted is what one request allocates. */
static void requests(void **state)
{
    const struct http_options options = {.listen = "127.0.0.1:0", .handler = answer, .workers = 2, .cors_origin = "*"};
    struct http_server *server = NULL;
    OK(http_server_start(&options, &server, err));
    assert_int_equal(ask(http_server_port(server)), 200);
    int refused = 0;
    long n = 1;
    for (bool happened = true; happened; n++) {
        failing_at(n);
        int status = ask(http_server_port(server));
        happened = failing_happened();
        failing_at(0);
        if (status != 200 && status != 500 && status != 503 && status != 0)
            fail_msg("allocation %ld: status %d", n, status);
        refused += status != 200;
        assert_true(happened || status == 200);
        assert_int_equal(ask(http_server_port(server)), 200); /* and the next one is answered */
    }
    assert_true(n > 3 && refused > 0);
    http_server_stop(server, 1000);
}

static enum result start_server(struct err *err)
{
    const struct http_options options = {.listen = "127.0.0.1:0", .handler = answer, .workers = 2, .cors_origin = "https://a.example, https://b.example"};
    struct http_server *server = NULL;
    enum result r = http_server_start(&options, &server, err);
    if (r == ERR_OK)
        http_server_stop(server, 0);
    return r;
}

static void servers(void **state)
{
    each("server", start_server, NULL);
}

static enum result read_forms(struct err *err)
{
    static const char urlencoded[] = "a=1&b=%41+c&d";
    static const char multipart[] = "--X\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\nabc\r\n"
                                    "--X\r\nContent-Disposition: form-data; name=\"tags\"\r\n\r\nx\r\n--X--\r\n";
    static struct http_form form; /* large */
    struct http_target target;
    enum result r = http_form_parse("application/x-www-form-urlencoded", urlencoded, sizeof urlencoded - 1, &form, err);
    if (r == ERR_OK)
        http_form_free(&form);
    if (r == ERR_OK)
        r = http_form_parse("multipart/form-data; boundary=X", multipart, sizeof multipart - 1, &form, err);
    if (r)
        return r;
    http_form_free(&form);
    r = http_target_parse("/v1/a%20b?x=1&y=2", &target, err);
    if (r == ERR_OK)
        http_target_free(&target);
    return r;
}

static void forms(void **state)
{
    each("forms", read_forms, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),
        cmocka_unit_test(keys),
        cmocka_unit_test(forms),
        cmocka_unit_test(servers),
        cmocka_unit_test(requests),
        cmocka_unit_test(store_and_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
