/* Spellings of addresses that must not be reached: each is refused, and listeners on this machine see nobody.
 */
#include "support.h"
#include "fake_net.h"

static struct test_server *server;

static int start(void **state)
{
    server = test_server_start();
    return 0;
}

static int stop(void **state)
{
    test_server_stop(server);
    return 0;
}

/* "PORT" stands for the port of the listeners. Either side of a disguise is an address that is refused. */
static const char *const spellings[] = {
    "http://127.0.0.1:PORT/ok",
    "http://127.0.0.2:PORT/ok",
    "http://127.1.2.3:PORT/ok",
    "http://[::1]:PORT/ok",
    "HTTP://127.0.0.1:PORT/ok",
    "http://127.0.0.1.:PORT/ok",
    "http://127.0.0.1..:PORT/ok",
    /* Other ways to write the number. */
    "http://2130706433:PORT/ok",
    "http://0000000000177.0.0.1:PORT/ok",
    "http://017700000001:PORT/ok",
    "http://0x7f000001:PORT/ok",
    "http://0X7F000001:PORT/ok",
    "http://0x7F.0x0.0x0.0x1:PORT/ok",
    "http://0x7f.1:PORT/ok",
    "http://0177.0.0.1:PORT/ok",
    "http://0177.0.0.01:PORT/ok",
    "http://00000177.1:PORT/ok",
    "http://127.1:PORT/ok",
    "http://127.0.1:PORT/ok",
    "http://127.0.258:PORT/ok",
    "http://127.65537:PORT/ok",
    "http://0x7f.0.1:PORT/ok",
    "http://4294967297:PORT/ok",
    "http://6425673729:PORT/ok",
    "http://383.0.0.1:PORT/ok",
    "http://127.0.0.257:PORT/ok",
    "http://127.0.0.1.0:PORT/ok",
    "http://0:PORT/ok",
    "http://0.0.0.0:PORT/ok",
    "http://0x0:PORT/ok",
    "http://00:PORT/ok",
    "http://0.0:PORT/ok",
    "http://127.0.0.1%20:PORT/ok",
    /* IPv6, and IPv4 inside it. */
    "http://[::]:PORT/ok",
    "http://[0:0:0:0:0:0:0:1]:PORT/ok",
    "http://[0000:0000::0001]:PORT/ok",
    "http://[::0.0.0.1]:PORT/ok",
    "http://[::127.0.0.1]:PORT/ok",
    "http://[::ffff:127.0.0.1]:PORT/ok",
    "http://[::FFFF:7F00:1]:PORT/ok",
    "http://[0:0:0:0:0:ffff:7f00:0001]:PORT/ok",
    "http://[::ffff:0:127.0.0.1]:PORT/ok",
    "http://[64:ff9b::127.0.0.1]:PORT/ok",
    "http://[64:FF9B::7F00:1]:PORT/ok",
    "http://[64:ff9b:1::127.0.0.1]:PORT/ok",
    "http://[2002:7f00:1::]:PORT/ok",
    "http://[2001:0:7f00:1::1]:PORT/ok",
    "http://[fe80::1]:PORT/ok",
    "http://[fe80::1%25lo]:PORT/ok",
    "http://[fe80::1%lo]:PORT/ok",
    "http://[::1%25lo]:PORT/ok",
    "http://[::1%25]:PORT/ok",
    "http://[fd00::1]:PORT/ok",
    "http://[ff02::1]:PORT/ok",
    "http://[::1]:PORT@127.0.0.1:PORT/ok",
    "http://::1:PORT/ok",
    /* Names of this machine. */
    "http://localhost:PORT/ok",
    "http://LOCALHOST:PORT/ok",
    "http://localhost.:PORT/ok",
    "http://localhost..:PORT/ok",
    "http://a.localhost:PORT/ok",
    "http://a.b.LocalHost.:PORT/ok",
    "http://loc%61lhost:PORT/ok",
    "http://loop4.test:PORT/ok",
    "http://loop6.test:PORT/ok",
    "http://mapped.test:PORT/ok",
    "http://mixed.test:PORT/ok",
    "http://nat64.test:PORT/ok",
    "http://rebind.test:PORT/ok",
    "http://rebind.test:PORT/ok",
    "http://meta.test/latest/meta-data/",
    /* Percent, user names, backslashes, blanks. */
    "http://%31%32%37.0.0.1:PORT/ok",
    "http://127%2e0%2E0%2e1:PORT/ok",
    "http://%30x7f.1:PORT/ok",
    "http://127.0.0.1%00:PORT/ok",
    "http://127.0.0.1%2f:PORT/ok",
    "http://192.0.2.1@127.0.0.1:PORT/ok",
    "http://192.0.2.1:80@127.0.0.1:PORT/ok",
    "http://a:b@127.0.0.1:PORT/ok",
    "http://@127.0.0.1:PORT/ok",
    "http://:@127.0.0.1:PORT/ok",
    "http://a@b@127.0.0.1:PORT/ok",
    "http://127.0.0.1:PORT@192.0.2.1/ok",
    "http://192.0.2.1%40127.0.0.1:PORT/ok",
    "http://127.0.0.1:PORT\\@192.0.2.1/ok",
    "http://192.0.2.1\\@127.0.0.1:PORT/ok",
    "http:\\\\127.0.0.1:PORT\\ok",
    "http:/\\127.0.0.1:PORT/ok",
    "http://192.0.2.1#@127.0.0.1:PORT/ok",
    "http://192.0.2.1?@127.0.0.1:PORT/ok",
    "http://127.0.0.1:PORT#@192.0.2.1/",
    "http:/127.0.0.1:PORT/ok",
    "http:127.0.0.1:PORT/ok",
    "http:///127.0.0.1:PORT/ok",
    "http:////127.0.0.1:PORT/ok",
    " http://127.0.0.1:PORT/ok",
    "\thttp://127.0.0.1:PORT/ok\n",
    "ht\ttp://127.0.0.1:PORT/ok",
    "http://127.0.\n0.1:PORT/ok",
    "http://127.0.0.1 :PORT/ok",
    "http:// 127.0.0.1:PORT/ok",
    "//127.0.0.1:PORT/ok",
    "127.0.0.1:PORT/ok",
    "localhost:PORT/ok",
    /* What international names turn into ASCII. */
    "http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1:PORT/ok", /* full-width 127 */
    "http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1:PORT/ok", /* circled 1 2 7 */
    "http://127\xe3\x80\x82"
    "0\xe3\x80\x82"
    "0\xe3\x80\x82"
    "1:PORT/ok", /* ideographic full stops */
    "http://127\xef\xbc\x8e"
    "0\xef\xbc\x8e"
    "0\xef\xbc\x8e"
    "1:PORT/ok",                        /* full-width full stops */
    "http://\xef\xbc\x90x7f.1:PORT/ok", /* full-width 0x7f.1 */
    "http://"
    "\xe2\x93\x9b\xe2\x93\x9e\xe2\x93\x92\xe2\x93\x90\xe2\x93\x9b\xe2\x93\x97\xe2\x93\x9e\xe2\x93\xa2\xe2\x93"
    "\xa3:PORT/ok",
    "http://"
    "\xef\xbd\x8c\xef\xbd\x8f\xef\xbd\x83\xef\xbd\x81\xef\xbd\x8c\xef\xbd\x88\xef\xbd\x8f\xef\xbd\x93\xef\xbd"
    "\x94:PORT/ok",
    "http://local\xc2\xadhost:PORT/ok",     /* soft hyphen */
    "http://127.0.0.1\xe2\x80\x8b:PORT/ok", /* zero-width space */
    "http://[\xef\xbc\x9a:1]:PORT/ok",
    "http://\xff\xfe:PORT/ok",
    /* Other ranges. */
    "http://10.0.0.1:PORT/ok",
    "http://192.168.0.1:PORT/ok",
    "http://172.16.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    /* Other protocols. */
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/_x",
    "ftp://127.0.0.1:PORT/ok",
    "dict://127.0.0.1:PORT/d",
    "ldap://127.0.0.1:PORT/",
    "smtp://127.0.0.1:PORT/",
    "tftp://127.0.0.1:PORT/ok",
    "telnet://127.0.0.1:PORT/",
    "imap://127.0.0.1:PORT/",
    "rtsp://127.0.0.1:PORT/",
    "mqtt://127.0.0.1:PORT/x",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "https+http://127.0.0.1:PORT/",
};

static void fill_in(const char *spelling, char *out, size_t room)
{
    struct buf text;
    buf_init(&text, room - 1);
    for (const char *port; (port = strstr(spelling, "PORT")) != NULL; spelling = port + 4) {
        assert_int_equal(buf_append(&text, spelling, (size_t)(port - spelling)), ERR_OK);
        assert_int_equal(buf_appendf(&text, "%u", test_server_port(server)), ERR_OK);
    }
    assert_int_equal(buf_append_str(&text, spelling), ERR_OK);
    memcpy(out, text.data, text.len + 1);
    buf_free(&text);
}

static void check_refused(struct fetch *f, const char *url)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, LIMIT_FETCH_BYTES);
    assert_int_equal(buf_append_str(&out, "before"), ERR_OK);
    enum result r = fetch_get(f, url, CLOCK_NO_DEADLINE, &out, &err);
    if (r != ERR_DENIED && r != ERR_INVALID)
        fail_msg("\"%s\" gives %s: %s", url, err_name(r), err.message);
    assert_int_equal(err.code, r);
    if (!err.message[0] || strcmp(err.field, "url") != 0)
        fail_msg("\"%s\" is refused without a reason", url);
    assert_string_equal(out.data, "before");
    buf_free(&out);
}

static void test_spellings(void **state)
{
    struct fetch *f = fetch_allowing(NULL, 0, 0, 3000);
    unsigned escapes = fake_net_escapes();
    test_server_reset(server);
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        char url[512];
        fill_in(spellings[i], url, sizeof url);
        check_refused(f, url);
    }
    assert_true(sizeof spellings / sizeof *spellings > 60);
    assert_int_equal(test_server_connections(server), 0);
    assert_int_equal(fake_net_escapes(), escapes);
    fetch_free(f);
}

/* The same as the target of a redirect from a server that is allowed. */
static void test_redirects(void **state)
{
    static const char *const allow[] = {"loop4.test"};
    struct fetch *f = fetch_allowing(allow, 1, 0, 3000);
    unsigned escapes = fake_net_escapes();
    unsigned asked = 0;
    test_server_reset(server);
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        char target[512], url[1024];
        fill_in(spellings[i], target, sizeof target);
        /* Relative ones lead back to the server itself; blanks and "#" would end the request line or the
         * query. */
        if (strpbrk(target, " \t\n#") || !strstr(target, "//") || strncmp(target, "//", 2) == 0 ||
            strstr(target, "loop4.test"))
            continue;
        snprintf(url, sizeof url, "http://loop4.test:%u/to?%s", test_server_port(server), target);
        check_refused(f, url);
        asked++;
    }
    assert_true(asked > 60);
    assert_int_equal(test_server_connections(server), asked); /* the first request of each */
    assert_int_equal(fake_net_escapes(), escapes);
    fetch_free(f);
}

/* A sentence for the user: the host, the way to allow it, and never the password. */
static void test_sentence(void **state)
{
    struct fetch *f = fetch_allowing(NULL, 0, 0, 0);
    struct buf out;
    struct err err = {0};
    buf_init(&out, 100);
    assert_int_equal(fetch_get(f, url_at(server, "jo:secret@localhost", "/ok"), 0, &out, &err), ERR_DENIED);
    assert_non_null(strstr(err.message, "localhost"));
    assert_non_null(strstr(err.message, "--fetch-allow localhost"));
    assert_non_null(strstr(err.message, "loopback"));
    assert_null(strstr(err.message, "secret"));
    assert_null(strstr(err.message, "jo"));
    assert_int_equal(fetch_get(f, "http://jo:secret@[::ffff:10.0.0.1]/", 0, &out, &err), ERR_DENIED);
    assert_non_null(strstr(err.message, "--fetch-allow ::ffff:"));
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(fetch_get(f, "http://jo:secret@a:25/", 0, &out, &err), ERR_DENIED);
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(fetch_get(f, "gopher://jo:secret@a/", 0, &out, &err), ERR_INVALID);
    assert_null(strstr(err.message, "secret"));
    assert_null(out.data);
    fetch_free(f);
}

/* Public addresses are let through to connect(), which here goes no further. */
static void test_public_is_tried(void **state)
{
    struct fetch *f = fetch_allowing(NULL, 0, 0, 0);
    struct buf out;
    struct err err = {0};
    buf_init(&out, 100);
    unsigned escapes = fake_net_escapes();
    assert_int_equal(fetch_get(f, "http://public.test/a.jpg", 0, &out, &err), ERR_UNAVAILABLE);
    assert_int_equal(fake_net_escapes(), escapes + 1);
    assert_int_equal(fetch_get(f, "http://[2606:4700::1]/a.jpg", 0, &out, &err), ERR_UNAVAILABLE);
    assert_int_equal(fake_net_escapes(), escapes + 2);
    fetch_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_sentence),
        cmocka_unit_test(test_public_is_tried),
    };
    return cmocka_run_group_tests_name("fetch denied", tests, start, stop);
}
