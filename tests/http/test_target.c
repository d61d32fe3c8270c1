/* Request targets and percent-encoding; the framing of header lists; headers of replies. No sockets. */
#include "raw.h"

#include "http/internal.h"

static void target_is_decoded_once(void **state)
{
    struct http_target t;
    struct err err;
    assert_int_equal(http_target_parse("/a%20b/%2525?x=1+2&y=%C3%A9&flag&&e=", &t, &err), ERR_OK);
    assert_string_equal(t.path, "/a b/%25");
    assert_int_equal(t.query_count, 4);
    assert_string_equal(t.query[0].name, "x");
    assert_string_equal(t.query[0].value, "1 2");
    assert_int_equal(t.query[0].value_len, 3);
    assert_string_equal(t.query[1].value, "\xc3\xa9");
    assert_string_equal(t.query[2].name, "flag");
    assert_string_equal(t.query[2].value, "");
    assert_string_equal(t.query[3].name, "e");
    assert_int_equal(t.query[3].value_len, 0);
    http_target_free(&t);
    assert_int_equal(http_target_parse("/a+b?c;d=1?2", &t, &err), ERR_OK);
    assert_string_equal(t.path, "/a+b"); /* '+' is a blank only in a query */
    assert_string_equal(t.query[0].name, "c;d");
    assert_string_equal(t.query[0].value, "1?2");
    http_target_free(&t);
}

static void target_forms(void **state)
{
    static const struct {
        const char *raw, *path;
    } good[] = {{"/", "/"}, {"*", "*"}, {"http://h:1/p?q", "/p"}, {"HTTPS://h", "/"}, {"http://h?q=1", "/"},
        {"//x", "//x"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct http_target t;
        assert_int_equal(http_target_parse(good[i].raw, &t, NULL), ERR_OK);
        assert_string_equal(t.path, good[i].path);
        http_target_free(&t);
    }
}

static void target_refusals(void **state)
{
    static const char *const bad[] = {"", "a", "/%", "/%4", "/%4g", "/%00", "/?a=%", "/?a=%0", "/?%zz",
        "/?%00=a", "/a b", "/a\tb", "/\x7f", "ftp://h/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_target t;
        struct err err = {0};
        if (http_target_parse(bad[i], &t, &err) != ERR_INVALID || !err.message[0])
            fail_msg("accepted: %s", bad[i]);
    }
}

static void target_parameter_limit(void **state)
{
    char raw[1024] = "/?";
    for (int i = 0; i < LIMIT_PARAMETERS; i++)
        snprintf(raw + strlen(raw), sizeof raw - strlen(raw), "&a=%d", i);
    struct http_target t;
    assert_int_equal(http_target_parse(raw, &t, NULL), ERR_OK);
    assert_int_equal(t.query_count, LIMIT_PARAMETERS);
    http_target_free(&t);
    snprintf(raw + strlen(raw), sizeof raw - strlen(raw), "&one=more");
    assert_int_equal(http_target_parse(raw, &t, NULL), ERR_TOO_LARGE);
}

static unsigned framing(
    const char *version, const struct http_pair *headers, size_t count, struct http_framing *out)
{
    struct http_request head = {.headers = headers, .header_count = count};
    const char *message = NULL;
    unsigned status = http_framing_check(&head, version, out, &message);
    assert_true((status != 0) == (message != NULL));
    return status;
}

#define H(n, v)                                                                                              \
    {                                                                                                        \
        .name = n, .value = v, .value_len = sizeof(v) - 1                                                    \
    }
#define FRAMING(version, ...)                                                                                \
    framing(version, (const struct http_pair[]){__VA_ARGS__},                                                \
        sizeof((const struct http_pair[]){__VA_ARGS__}) / sizeof(struct http_pair), &f)

static void framing_accepts(void **state)
{
    struct http_framing f;
    assert_int_equal(FRAMING("HTTP/1.1", H("Host", "x"), H("Content-Length", "12")), 0);
    assert_true(f.has_length && !f.chunked && f.length == 12 && !f.expect_continue);
    assert_int_equal(FRAMING("HTTP/1.1", H("host", "x"), H("TRANSFER-ENCODING", "Chunked")), 0);
    assert_true(!f.has_length && f.chunked);
    assert_int_equal(FRAMING("HTTP/1.1", H("host", "x"), H("Expect", "100-Continue")), 0);
    assert_true(f.expect_continue);
    assert_int_equal(FRAMING("HTTP/1.0", H("X", "y")), 0);
    assert_int_equal(FRAMING("HTTP/1.1", H("host", ""), H("X", "y"), H("X", "z")), 0);
}

static void framing_refuses(void **state)
{
    struct http_framing f;
    assert_int_equal(FRAMING("HTTP/1.1", H("X", "y")), 400);
    assert_int_equal(FRAMING("HTTP/1.1", H("Host", "x"), H("hOST", "x")), 400);
    assert_int_equal(
        FRAMING("HTTP/1.1", H("Host", "x"), H("Content-Length", "1"), H("content-length", "1")), 400);
    assert_int_equal(FRAMING("HTTP/1.1", H("Host", "x"), H("Transfer-Encoding", "chunked"),
                         H("transfer-encoding", "chunked")),
        400);
    assert_int_equal(
        FRAMING("HTTP/1.1", H("Host", "x"), H("Transfer-Encoding", "chunked"), H("Content-Length", "1")),
        400);
    assert_int_equal(FRAMING("HTTP/1.0", H("Transfer-Encoding", "chunked")), 400);
    static const char *const codings[] = {
        "", "gzip", "gzip, chunked", "chunked, chunked", "chunked ", "xchunked", "identity"};
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
        struct http_pair h[] = {H("Host", "x"),
            {.name = "Transfer-Encoding", .value = codings[i], .value_len = strlen(codings[i])}};
        assert_int_equal(framing("HTTP/1.1", h, 2, &f), 400);
    }
    static const char *const lengths[] = {"", "+1", "-1", "1 ", " 1", "0x1", "1,1", "5, 5", "1.0", "９",
        "9223372036854775808", "18446744073709551615", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct http_pair h[] = {
            H("Host", "x"), {.name = "Content-Length", .value = lengths[i], .value_len = strlen(lengths[i])}};
        if (framing("HTTP/1.1", h, 2, &f) != 400)
            fail_msg("Content-Length '%s' was accepted", lengths[i]);
    }
    static const char *const names[] = {
        "A b", "", "A\t", "Content-Lengthx", "transfer-encodingchunked", "a\x80", "a(b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct http_pair h[] = {H("Host", "x"), {.name = names[i], .value = "", .value_len = 0}};
        assert_int_equal(framing("HTTP/1.1", h, 2, &f), 400);
    }
    assert_int_equal(FRAMING("HTTP/1.1", H("Host", "x"), H("A", "b\rc")), 400);
    assert_int_equal(FRAMING("HTTP/1.1", H("Host", "x"), H("Expect", "a miracle")), 417);
}

static void framing_header_limit(void **state)
{
    struct http_pair h[LIMIT_HEADERS + 1];
    struct http_framing f;
    for (size_t i = 0; i <= LIMIT_HEADERS; i++)
        h[i] = (struct http_pair){.name = i ? "X" : "Host", .value = "", .value_len = 0};
    assert_int_equal(framing("HTTP/1.1", h, LIMIT_HEADERS, &f), 0);
    assert_int_equal(framing("HTTP/1.1", h, LIMIT_HEADERS + 1, &f), 431);
}

static void reply_headers(void **state)
{
    struct http_reply reply;
    char text[600];
    http_reply_init(&reply);
    assert_int_equal(http_reply_header(&reply, "A", "b\r\nEvil: yes"), ERR_INVALID);
    assert_int_equal(http_reply_header(&reply, "A b", "c"), ERR_INVALID);
    memset(text, 'x', sizeof text);
    text[512] = '\0';
    assert_int_equal(http_reply_header(&reply, "A", text), ERR_TOO_LARGE);
    text[511] = '\0';
    assert_int_equal(http_reply_header(&reply, "A", text), ERR_OK);
    for (int i = 1; i < 12; i++)
        assert_int_equal(http_reply_header(&reply, "B", "c"), ERR_OK);
    assert_int_equal(http_reply_header(&reply, "B", "c"), ERR_TOO_LARGE);
    assert_int_equal(reply.body.max, LIMIT_HTTP_REPLY);
    http_reply_release(&reply);
}

static void look_ups(void **state)
{
    const struct http_pair headers[] = {H("Content-Type", "a"), H("X", "b")},
                           query[] = {H("q", "1"), H("Q", "2")};
    struct http_request request = {.headers = headers, .header_count = 2, .query = query, .query_count = 2};
    assert_string_equal(http_header(&request, "content-type"), "a");
    assert_null(http_header(&request, "Content"));
    assert_string_equal(http_query(&request, "Q")->value, "2");
    assert_null(http_query(&request, "x"));
}

static void listen_addresses(void **state)
{
    static const char *const bad[] = {"", "5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
        ":5000", "::1:5000", "[::1]", "256.0.0.1:80", "[]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_options options = {.listen = bad[i]};
        struct http_server *server = NULL;
        struct err err = {0};
        if (http_server_start(&options, &server, &err) != ERR_INVALID || server || !err.message[0])
            fail_msg("'%s' was accepted as an address", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_is_decoded_once),
        cmocka_unit_test(target_forms),
        cmocka_unit_test(target_refusals),
        cmocka_unit_test(target_parameter_limit),
        cmocka_unit_test(framing_accepts),
        cmocka_unit_test(framing_refuses),
        cmocka_unit_test(framing_header_limit),
        cmocka_unit_test(reply_headers),
        cmocka_unit_test(look_ups),
        cmocka_unit_test(listen_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
