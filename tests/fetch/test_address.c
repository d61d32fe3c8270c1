/* The address table, the allow list and the URL parser, without any network. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "support.h"
#include "fetch/allow.h"
#include "fetch/url.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void address_of(const char *text, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        memcpy(out, &in, sizeof in);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(out, &in6, sizeof in6);
    else
        fail_msg("%s is no address", text);
}

static bool is_public(const char *text)
{
    struct sockaddr_storage s;
    address_of(text, &s);
    return fetch_address_is_public((const struct sockaddr *)&s);
}

/* First and last of each range, so that a wrong prefix shows. */
static const char *const refused[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.0",
    "192.88.99.255",
    "192.168.0.0",
    "192.168.255.255",
    "192.175.48.1",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::808:808",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:0:0:1::808:808",
    "64:ff9b:1::808:808",
    "64:ff9b:1:ffff::1",
    "100::",
    "100:0:0:1::1",
    "2001::",
    "2001:0:808:808::1",
    "2001:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::",
    "2001:db8:ffff:ffff::1",
    "2002::",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "1fff:ffff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff:ffff::1",
    "fe80::1",
    "febf:ffff::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ffff::1",
};

static const char *const public[] = {
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700::1",
    "2620:4f:7fff::1",
    "2620:4f:8001::1",
    "2a00::1",
    "3fff:1000::1",
    "3ffe::1",
};

static void test_ranges(void **state)
{
    for (size_t i = 0; i < COUNT(refused); i++)
        if (is_public(refused[i]))
            fail_msg("%s counts as public", refused[i]);
    for (size_t i = 0; i < COUNT(public); i++)
        if (!is_public(public[i]))
            fail_msg("%s does not count as public", public[i]);
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_false(fetch_address_is_public(&other));
}

/* Every address of these blocks, against the arithmetic written once more and differently. */
static void test_every_block(void **state)
{
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            char text[32], mapped[32], nat64[32];
            snprintf(text, sizeof text, "%u.%u.200.7", a, b);
            snprintf(mapped, sizeof mapped, "::ffff:%u.%u.200.7", a, b);
            snprintf(nat64, sizeof nat64, "64:ff9b::%u.%u.200.7", a, b);
            bool want = !(a == 0 || a == 10 || a == 127 || a >= 224 || (a == 100 && b >= 64 && b < 128) ||
                          (a == 169 && b == 254) || (a == 172 && b >= 16 && b < 32) ||
                          (a == 192 && b == 168) || (a == 198 && (b == 18 || b == 19)));
            if (is_public(text) != want || is_public(mapped) != want || is_public(nat64) != want)
                fail_msg("%s", text);
        }
}

static bool allows(const char *entry, const char *address)
{
    struct fetch_allow allow;
    struct err err = {0};
    struct sockaddr_storage s;
    if (fetch_allow_init(&allow, &entry, 1, &err))
        fail_msg("%s", err.message);
    address_of(address, &s);
    bool has = fetch_allow_has_address(&allow, (const struct sockaddr *)&s);
    fetch_allow_release(&allow);
    return has;
}

static void test_allow_networks(void **state)
{
    assert_true(allows("10.0.0.0/8", "10.255.0.1"));
    assert_false(allows("10.0.0.0/8", "11.0.0.0"));
    assert_true(allows("10.0.0.0/8", "::ffff:10.1.2.3")); /* the system connects to 10.1.2.3 */
    assert_false(allows("10.0.0.0/8", "64:ff9b::a01:203"));
    assert_true(allows("192.168.1.7", "192.168.1.7"));
    assert_false(allows("192.168.1.7", "192.168.1.6"));
    assert_true(allows("192.168.1.4/30", "192.168.1.7"));
    assert_false(allows("192.168.1.4/30", "192.168.1.8"));
    assert_true(allows("0.0.0.0/0", "127.0.0.1"));
    assert_false(allows("0.0.0.0/0", "::1"));
    assert_true(allows("::1/128", "::1"));
    assert_true(allows("fd00::/9", "fd7f::1"));
    assert_false(allows("fd00::/9", "fd80::1"));
    assert_true(allows("::ffff:10.0.0.0/104", "10.9.9.9"));
    assert_false(allows("::/0", "127.0.0.1"));
    assert_false(allows("localhost", "127.0.0.1"));
}

static bool allows_host(const char *entry, const char *url)
{
    struct fetch_allow allow;
    struct fetch_url parsed;
    struct err err = {0};
    if (fetch_allow_init(&allow, &entry, 1, &err) || fetch_url_parse(url, &parsed, &err))
        fail_msg("%s", err.message);
    bool has = fetch_allow_has_host(&allow, parsed.host);
    fetch_url_release(&parsed);
    fetch_allow_release(&allow);
    return has;
}

static void test_allow_hosts(void **state)
{
    assert_true(allows_host("shop.local", "http://shop.local/a.jpg"));
    assert_true(allows_host("SHOP.local.", "https://shop.LOCAL:8443/a.jpg"));
    assert_true(allows_host("shop.local", "http://u:p@Shop.Local./a.jpg"));
    assert_true(allows_host("bücher.test", "http://xn--bcher-kva.test/"));
    assert_true(allows_host("xn--bcher-kva.test", "http://B\xc3\xbc"
                                                  "cher.test/"));
    assert_false(allows_host("shop.local", "http://www.shop.local/"));
    assert_false(allows_host("shop.local", "http://shop.local.evil.test/"));
    assert_false(allows_host("shop.local", "http://evil.test/shop.local"));
    assert_false(allows_host("shop.local", "http://shop.local@evil.test/"));
    assert_false(allows_host("local", "http://shop.local/"));
}

static void test_allow_wrong(void **state)
{
    static const char *const wrong[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/8x",
        "10.0.0.0/ 8",
        "10.1.0.0/8",
        "10.0.0/8",
        "256.1.1.1",
        "1.2.3.4.5",
        "0x7f.1",
        "127.1",
        "2130706433",
        "::1/129",
        "fd00::1/8",
        "[::1]",
        "::g",
        "fe80::1%eth0",
        "http://shop.local",
        "shop.local:80",
        "shop.local/path",
        "user@shop.local",
        "shop local",
        "a..b",
        ".",
        "..",
        "a?b",
        "a#b",
        "%31",
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct fetch_options options = {.allow = &wrong[i], .allow_count = 1};
        struct fetch *f = NULL;
        struct err err = {0};
        if (fetch_new(&options, &f, &err) != ERR_INVALID)
            fail_msg("\"%s\" was accepted", wrong[i]);
        assert_null(f);
        assert_non_null(strstr(err.message, wrong[i]));
        assert_non_null(strstr(err.message, "--fetch-allow"));
    }
}

static void test_allow_limit(void **state)
{
    const char *entries[LIMIT_FETCH_ALLOW + 1];
    struct fetch_allow allow = {0};
    struct err err = {0};
    for (size_t i = 0; i < COUNT(entries); i++)
        entries[i] = "10.0.0.0/8";
    assert_int_equal(fetch_allow_init(&allow, entries, COUNT(entries), &err), ERR_TOO_LARGE);
    assert_null(allow.networks);
    assert_int_equal(fetch_allow_init(&allow, entries, LIMIT_FETCH_ALLOW, &err), ERR_OK);
    fetch_allow_release(&allow);
}

static void test_url_parts(void **state)
{
    struct fetch_url u;
    struct err err = {0};
    assert_int_equal(
        fetch_url_parse(" HTTPS://us%65r:p%3Ass@Ex-AMPLE.test.:8443/a b/\xe5\x9b\xbe.jpg?q#f\r\n", &u, &err),
        ERR_OK);
    assert_string_equal(u.host, "ex-ample.test");
    assert_string_equal(u.user, "user");
    assert_string_equal(u.password, "p:ss");
    char *text = NULL;
    assert_int_equal(curl_url_get(u.handle, CURLUPART_URL, &text, 0), 0);
    assert_null(strstr(text, "ss@"));
    assert_non_null(strstr(text, "ex-ample.test:8443/a%20b/%"));
    curl_free(text);

    struct fetch_url next;
    assert_int_equal(fetch_url_follow(&u, "../other.png", &next, &err), ERR_OK);
    assert_string_equal(next.host, "ex-ample.test");
    assert_null(next.user);
    fetch_url_release(&next);
    assert_int_equal(fetch_url_follow(&u, "//a:b@elsewhere.test/x", &next, &err), ERR_OK);
    assert_string_equal(next.host, "elsewhere.test");
    assert_null(next.user);
    assert_null(next.password);
    fetch_url_release(&next);
    fetch_url_release(&u);
}

static void test_url_wrong(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "x",
        "shop.test/a.jpg",
        "//shop.test/a",
        "/a.jpg",
        "file:///etc/passwd",
        "ftp://shop.test/a",
        "gopher://shop.test/",
        "dict://shop.test/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http:",
        "http://",
        "http:///",
        "http://:80/",
        "http://a:port/",
        "http://a:70000/",
        "http://a:-1/",
        "http://a..b/",
        "http://.a/",
        "http://a b/",
        "http://a\\b/",
        "http://[::1/",
        "http://[::g]/",
        "http://[127.0.0.1]/",
        "http://1.2.3.4.5/",
        "http://256.256.256.256/",
        "http://4294967296/",
        "http://a.0x7f/",
        "http://a\x01/",
        "http://a/\x01",
        "http://a/\n/b",
        "http://%00/",
        "http://a%0d%0ab/",
        "http://a%20b/",
        "http://us%0der@a/",
        "unix:///tmp/x",
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct fetch_url u = {0};
        struct err err = {0};
        if (fetch_url_parse(wrong[i], &u, &err) != ERR_INVALID)
            fail_msg("\"%s\" was accepted as host \"%s\"", wrong[i], u.host);
        assert_null(u.handle);
        assert_string_not_equal(err.message, "");
    }
}

static void test_url_length(void **state)
{
    static char url[LIMIT_URL_BYTES + 2];
    struct fetch_url u;
    struct err err = {0};
    memset(url, 'a', sizeof url - 1);
    memcpy(url, "http://a/", 9);
    assert_int_equal(fetch_url_parse(url, &u, &err), ERR_TOO_LARGE);
    url[LIMIT_URL_BYTES] = '\0';
    assert_int_equal(fetch_url_parse(url, &u, &err), ERR_OK);
    fetch_url_release(&u);

    char host[400] = "http://";
    memset(host + 7, 'h', 255);
    host[7 + 60] = host[7 + 120] = host[7 + 180] = host[7 + 240] = '.';
    assert_int_equal(fetch_url_parse(host, &u, &err), ERR_INVALID); /* 255 bytes */
    host[7 + 253] = '\0';
    assert_int_equal(fetch_url_parse(host, &u, &err), ERR_OK);
    fetch_url_release(&u);
}

static void test_ports(void **state)
{
    static const char *const refused_urls[] = {"http://a:0/", "http://a:25/", "http://a:22/",
        "https://a:6379/", "http://a:6667/", "http://a:11211/", "http://a:5432/", "http://a:10080/"};
    static const char *const good[] = {"http://a/", "https://a/", "http://a:81/", "http://a:443/",
        "http://a:8080/", "http://a:9000/", "http://a:65535/"};
    for (size_t i = 0; i < COUNT(refused_urls); i++) {
        struct fetch_url u;
        struct err err = {0};
        assert_int_equal(fetch_url_parse(refused_urls[i], &u, &err), ERR_DENIED);
        assert_non_null(strstr(err.message, "port"));
    }
    for (size_t i = 0; i < COUNT(good); i++) {
        struct fetch_url u;
        assert_int_equal(fetch_url_parse(good[i], &u, NULL), ERR_OK);
        fetch_url_release(&u);
    }
    assert_true(fetch_port_is_refused(65536));
}

static int start(void **state)
{
    return fetch_curl_start(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_every_block),
        cmocka_unit_test(test_allow_networks),
        cmocka_unit_test(test_allow_hosts),
        cmocka_unit_test(test_allow_wrong),
        cmocka_unit_test(test_allow_limit),
        cmocka_unit_test(test_url_parts),
        cmocka_unit_test(test_url_wrong),
        cmocka_unit_test(test_url_length),
        cmocka_unit_test(test_ports),
    };
    return cmocka_run_group_tests_name("fetch address", tests, start, NULL);
}
