/* Bodies of forms. */
#include "raw.h"

#define URLENCODED "application/x-www-form-urlencoded"
#define MULTIPART "multipart/form-data; boundary=B"
#define FORM(type, text, form) http_form_parse(type, text, sizeof(text) - 1, form, &err)

static struct err err;

static void urlencoded(void **state)
{
    struct http_form form;
    assert_int_equal(FORM(URLENCODED "; charset=UTF-8", "a=1+2&b=%26%3d%C3%A9&&c&=x\r\n", &form), ERR_OK);
    assert_int_equal(form.count, 4);
    assert_string_equal(form.parts[0].name, "a");
    assert_string_equal(form.parts[0].data, "1 2");
    assert_int_equal(form.parts[0].len, 3);
    assert_null(form.parts[0].filename);
    assert_string_equal(form.parts[1].data, "&=\xc3\xa9");
    assert_string_equal(form.parts[2].name, "c");
    assert_string_equal(form.parts[2].data, "");
    assert_string_equal(form.parts[3].name, "");
    http_form_free(&form);
    assert_int_equal(FORM(URLENCODED, "", &form), ERR_OK);
    assert_int_equal(form.count, 0);
    http_form_free(&form);
}

static void urlencoded_refusals(void **state)
{
    struct http_form form;
    assert_int_equal(FORM(URLENCODED, "a=%", &form), ERR_INVALID);
    assert_int_equal(FORM(URLENCODED, "a=%4", &form), ERR_INVALID);
    assert_int_equal(FORM(URLENCODED, "%zz=1", &form), ERR_INVALID);
    assert_int_equal(FORM(URLENCODED, "%00=a", &form), ERR_INVALID);
}

/* The length travels with the value, so that its reader can refuse it by the field's name. */
static void urlencoded_nul_in_a_value(void **state)
{
    struct http_form form;
    assert_int_equal(FORM(URLENCODED, "a=x%00y&b=1", &form), ERR_OK);
    assert_int_equal(form.parts[0].len, 3);
    assert_memory_equal(form.parts[0].data, "x\0y", 3);
    assert_string_equal(form.parts[1].data, "1");
    http_form_free(&form);
}

static void other_types(void **state)
{
    struct http_form form;
    assert_int_equal(http_form_parse(NULL, "a=1", 3, &form, &err), ERR_UNSUPPORTED);
    assert_int_equal(FORM("", "a=1", &form), ERR_UNSUPPORTED);
    assert_int_equal(FORM("application/json", "{}", &form), ERR_UNSUPPORTED);
    assert_int_equal(FORM("application/x-www-form-urlencodedx", "a=1", &form), ERR_UNSUPPORTED);
    assert_int_equal(FORM("multipart/mixed; boundary=B", "--B--", &form), ERR_UNSUPPORTED);
}

static void part_limit(void **state)
{
    char text[LIMIT_FORM_PARTS * 80 + 100] = "";
    struct http_form form;
    for (int i = 0; i < LIMIT_FORM_PARTS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "&a=%d", i);
    assert_int_equal(http_form_parse(URLENCODED, text, strlen(text), &form, &err), ERR_OK);
    assert_int_equal(form.count, LIMIT_FORM_PARTS);
    http_form_free(&form);
    snprintf(text + strlen(text), sizeof text - strlen(text), "&a=1");
    assert_int_equal(http_form_parse(URLENCODED, text, strlen(text), &form, &err), ERR_TOO_LARGE);

    text[0] = '\0';
    for (int i = 0; i < LIMIT_FORM_PARTS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
            "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n%d\r\n", i);
    size_t len = strlen(text);
    snprintf(text + len, sizeof text - len, "--B--");
    assert_int_equal(http_form_parse(MULTIPART, text, strlen(text), &form, &err), ERR_OK);
    assert_int_equal(form.count, LIMIT_FORM_PARTS);
    http_form_free(&form);
    snprintf(
        text + len, sizeof text - len, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B--");
    assert_int_equal(http_form_parse(MULTIPART, text, strlen(text), &form, &err), ERR_TOO_LARGE);
}

/* As curl -F, browsers and requests send it; the data is a slice of the body and may be anything. */
static void multipart(void **state)
{
    static const char body[] =
        "preamble\r\n--B\r\n"
        "Content-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n"
        "--B  \r\ncontent-disposition:form-data;name=\"pic\"; filename=\"a \\\"b\\\".jpg\"\r\n"
        "Content-Type: image/jpeg\r\nX-Other: y\r\n\r\n\0\r\n--\r\n--Bx\r\n--B\rdata\r\n"
        "--B\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n"
        "--B--\r\nepilogue";
    struct http_form form;
    assert_int_equal(FORM("Multipart/Form-Data; charset=utf-8; boundary=\"B\"", body, &form), ERR_OK);
    assert_int_equal(form.count, 3);
    assert_string_equal(form.parts[0].name, "text");
    assert_int_equal(form.parts[0].len, 5);
    assert_memory_equal(form.parts[0].data, "hello", 5);
    assert_null(form.parts[0].filename);
    assert_null(form.parts[0].content_type);
    assert_string_equal(form.parts[1].name, "pic");
    assert_string_equal(form.parts[1].filename, "a \"b\".jpg");
    assert_string_equal(form.parts[1].content_type, "image/jpeg");
    static const char data[] = "\0\r\n--\r\n--Bx\r\n--B\rdata";
    assert_int_equal(form.parts[1].len, sizeof data - 1);
    assert_memory_equal(form.parts[1].data, data, sizeof data - 1);
    assert_true(form.parts[1].data > body && form.parts[1].data < body + sizeof body);
    assert_string_equal(form.parts[2].name, "empty");
    assert_int_equal(form.parts[2].len, 0);
    http_form_free(&form);
    http_form_free(&form); /* twice is harmless */
    http_form_free(NULL);
}

static void multipart_clients(void **state)
{
    struct http_form form;
    /* Java (Apache HttpClient): transfer encodings, filename* */
    assert_int_equal(FORM("multipart/form-data; boundary=aB-_1; charset=ISO-8859-1",
                         "--aB-_1\r\nContent-Disposition: form-data; name=\"image\"; filename=\"?.png\"; "
                         "filename*=UTF-8''%E5%9B%BE.png\r\nContent-Type: application/octet-stream\r\n"
                         "Content-Transfer-Encoding: binary\r\n\r\nPNG\r\n--aB-_1--\r\n",
                         &form),
        ERR_OK);
    assert_string_equal(form.parts[0].filename, "\xe5\x9b\xbe.png");
    http_form_free(&form);
    /* The plain name may come after, and stays where the extended one is of another character set. */
    assert_int_equal(FORM(MULTIPART,
                         "--B\r\nContent-Disposition: form-data; filename*=utf-8'en'a%20b; name=x; "
                         "filename=c\r\n\r\n\r\n--B--",
                         &form),
        ERR_OK);
    assert_string_equal(form.parts[0].filename, "a b");
    http_form_free(&form);
    assert_int_equal(FORM(MULTIPART,
                         "--B\r\nContent-Disposition: form-data; name=x; filename=c; "
                         "filename*=iso-8859-1''%e9\r\n\r\n\r\n--B--",
                         &form),
        ERR_OK);
    assert_string_equal(form.parts[0].filename, "c");
    http_form_free(&form);
    /* Old browsers: a Windows path with plain backslashes. */
    assert_int_equal(FORM(MULTIPART,
                         "--B\r\nContent-Disposition: form-data; name=\"x\"; "
                         "filename=\"C:\\dir\\a.jpg\"\r\n\r\n1\r\n--B--",
                         &form),
        ERR_OK);
    assert_string_equal(form.parts[0].filename, "C:\\dir\\a.jpg");
    http_form_free(&form);
    /* No data and no line end for it; no part at all. */
    assert_int_equal(
        FORM(MULTIPART, "--B\r\nContent-Disposition: form-data; name=x\r\n\r\n--B--", &form), ERR_OK);
    assert_int_equal(form.parts[0].len, 0);
    http_form_free(&form);
    assert_int_equal(FORM(MULTIPART, "--B--\r\n", &form), ERR_OK);
    assert_int_equal(form.count, 0);
    http_form_free(&form);
}

static void multipart_refusals(void **state)
{
    static const struct {
        const char *type, *body;
    } bad[] = {
        {MULTIPART, ""},
        {MULTIPART, "hello"},
        {MULTIPART, "--B"},
        {MULTIPART, "--B\r\n"},
        {MULTIPART, "--B\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\ncut o"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\n--B--"},
        {MULTIPART, "--B\nContent-Disposition: form-data; name=a\n\nx\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; filename=a\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=\"a\" junk\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; "
                    "name=b\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\nno colon\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Type: multipart/mixed; "
                    "boundary=C\r\n\r\nx\r\n--B--"},
        {MULTIPART, "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: "
                    "base64\r\n\r\neA==\r\n--B--"},
        {"multipart/form-data", "--B--"},
        {"multipart/form-data; boundary=", "--B--"},
        {"multipart/form-data; boundary=\"B", "--B--"},
        {"multipart/form-data; boundary=\"B \"", "--B --"},
        {"multipart/form-data; "
         "boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
            "--B--"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_form form;
        err.message[0] = '\0';
        if (http_form_parse(bad[i].type, bad[i].body, strlen(bad[i].body), &form, &err) != ERR_INVALID ||
            !err.message[0])
            fail_msg("case %zu was accepted", i);
    }
}

static void multipart_header_limit(void **state)
{
    static char body[10000];
    struct http_form form;
    int n = snprintf(body, sizeof body, "--B\r\nContent-Disposition: form-data; name=a\r\nX: ");
    memset(body + n, 'x', 9000);
    snprintf(body + n + 9000, sizeof body - (size_t)n - 9000, "\r\n\r\nx\r\n--B--");
    assert_int_equal(http_form_parse(MULTIPART, body, strlen(body), &form, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urlencoded),
        cmocka_unit_test(urlencoded_refusals),
        cmocka_unit_test(urlencoded_nul_in_a_value),
        cmocka_unit_test(other_types),
        cmocka_unit_test(part_limit),
        cmocka_unit_test(multipart),
        cmocka_unit_test(multipart_clients),
        cmocka_unit_test(multipart_refusals),
        cmocka_unit_test(multipart_header_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
