/*
 * The JSON parser under random bytes. With -fsanitize=fuzzer and -DFUZZ_ENGINE the fuzzer brings its own
 * main(); otherwise this is an ordinary test that mutates its own seeds, the same way every time.
 *
 * What has to hold besides not crashing: a text that is accepted is accepted again after json-c has written
 * it, and means the same; json_parse_body() says the same; and parse_base64() never writes beyond parse_base64_room().
 */
#include "json/json.h"

#include "base/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const char *text, size_t len)
{
    struct json_object *first = NULL, *second = NULL, *body = NULL;
    enum result r = json_parse(text, len, &first, NULL);
    if (json_parse_body(text, len, NULL, &body, NULL) != r || !json_object_equal(first, body))
        abort();
    json_object_put(body);
    struct json_numbers apart = {.name = "vector"};
    body = NULL;
    if (json_parse_body(text, len, &apart, &body, NULL) != r || (!apart.values && !json_object_equal(first, body)))
        abort();
    json_object_put(body);
    json_numbers_free(&apart);
    if (r)
        return;
    size_t written_len;
    const char *written = json_object_to_json_string_length(first, JSON_C_TO_STRING_PLAIN, &written_len);
    if (!written || json_parse(written, written_len, &second, NULL) || !json_object_equal(first, second))
        abort();
    json_object_put(first);
    json_object_put(second);
}

static void check_base64(const char *text, size_t len)
{
    size_t out_len = 0;
    uint8_t *out = malloc(parse_base64_room(len));
    if (!out)
        abort();
    if (!parse_base64(text, len, out, &out_len, NULL) && out_len > parse_base64_room(len))
        abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1); /* a sanitizer sees every byte read beyond it */
    if (!exact)
        abort();
    if (size)
        memcpy(exact, data, size);
    check_json(exact, size);
    check_base64(exact, size);
    free(exact);
    return 0;
}

#ifndef FUZZ_ENGINE
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

int main(void)
{
    static const char *const seeds[] = {
        "{\"fileid\":9007199254740993,\"tags\":[\"a\",\"b\"],\"brief\":{\"x\":1.5e-3,\"y\":null}}",
        "[[[{\"a\":[true,false]}]],-0,0.1,18446744073709551615,\"\\ud83d\\ude00\\n\\u00e9\xe4\xb8\xad\"]",
        "{\"image\":\"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\",\"limit\":10,\"group\":false}",
        "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY\r\nWVph_-+/YmNkZWY=",
        ("{\"v\":[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,"
         "1.5,-2e3,-0,0.1e9,7]}"),
    };
    static const char tokens[] = "{}[]\",:\\u0eE+-.19tfnd8 \n\0\x80\xff=/_";
    uint32_t state = 1;
    uint8_t text[256];
    for (int i = 0; i < 60000; i++) {
        const char *seed = seeds[next_random(&state) % (sizeof seeds / sizeof *seeds)];
        size_t len = strlen(seed);
        memcpy(text, seed, len);
        for (uint32_t n = next_random(&state) % 6; n > 0; n--) {
            size_t at = next_random(&state) % len;
            switch (next_random(&state) % 4) {
            case 0:
                text[at] = (uint8_t)tokens[next_random(&state) % (sizeof tokens - 1)];
                break;
            case 1:
                text[at] ^= (uint8_t)(1u << next_random(&state) % 8);
                break;
            case 2: /* cut a piece out */
                memmove(text + at, text + at + 1, len - at - 1);
                len -= len > 1;
                break;
            default: /* repeat a piece */
                if (len + 8 < sizeof text && at + 8 <= len) {
                    memmove(text + at + 8, text + at, len - at);
                    len += 8;
                }
            }
        }
        LLVMFuzzerTestOneInput(text, len);
    }
    puts("1..1\nok 1 - 60000 mutated texts");
    return 0;
}
#endif
