#include "base/parse.h"

#include "base/limits.h"

bool parse_u64(const char *text, size_t len, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (len == 0 || len > 20)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

bool parse_i64(const char *text, size_t len, int64_t *out)
{
    bool negative = len > 0 && text[0] == '-';
    if (len > 0 && (text[0] == '-' || text[0] == '+')) {
        text++;
        len--;
    }
    uint64_t v;
    if (!parse_u64(text, len, (uint64_t)INT64_MAX + negative, &v))
        return false;
    *out = negative ? (int64_t)(~v + 1) : (int64_t)v; /* two's complement: also INT64_MIN */
    return true;
}

bool parse_is_collection_name(const char *name)
{
    size_t n = 0;
    for (const char *p = name; *p; p++, n++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';
        bool digit = *p >= '0' && *p <= '9';
        if (!letter && !(digit && n > 0))
            return false;
        if (n >= LIMIT_COLLECTION_NAME)
            return false;
    }
    return n > 0;
}

size_t parse_mark(const char *text, size_t len)
{
    return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

size_t parse_character(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t more;
    uint32_t c, least;
    if (len == 0)
        return 0;
    if (*p < 0x80)
        return 1;
    if ((*p & 0xe0) == 0xc0) {
        more = 1, c = *p & 0x1f, least = 0x80;
    } else if ((*p & 0xf0) == 0xe0) {
        more = 2, c = *p & 0x0f, least = 0x800;
    } else if ((*p & 0xf8) == 0xf0) {
        more = 3, c = *p & 0x07, least = 0x10000;
    } else {
        return 0;
    }
    if (len <= more)
        return 0;
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : more + 1;
}

bool parse_is_utf8(const char *text, size_t len)
{
    size_t n = 1;
    for (; len && n; text += n, len -= n)
        n = parse_character(text, len);
    return n != 0;
}

/* Values 0…63 for the characters of both alphabets; every class of another character has the highest bit set. */
enum { B64_BAD = 255, B64_BLANK = 254, B64_PAD = 253, B64_NOT_A_DIGIT = 0x80 };

static const uint8_t base64_class[256] = {
    255, 255, 255, 255, 255, 255, 255, 255, 255, 254, 254, 255, 255, 254, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    254, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,  62, 255,  62, 255,  63,
     52,  53,  54,  55,  56,  57,  58,  59,  60,  61, 255, 255, 255, 253, 255, 255,
    255,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,
     15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25, 255, 255, 255, 255,  63,
    255,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
     41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
};

size_t parse_base64_room(size_t len)
{
    return len / 4 * 3 + 3;
}

/*
 * Whole groups of four digits, as many as follow one another; what ends a run (a blank, padding, an error) is left
 * to the caller. Pictures come as megabytes of base64 in a request body, so this loop has to be fast.
 */
static size_t base64_run(const unsigned char *text, size_t len, uint8_t *out)
{
    size_t i = 0;
    for (; len - i >= 8; i += 8, out += 6) {
        uint8_t a = base64_class[text[i]], b = base64_class[text[i + 1]];
        uint8_t c = base64_class[text[i + 2]], d = base64_class[text[i + 3]];
        uint8_t e = base64_class[text[i + 4]], f = base64_class[text[i + 5]];
        uint8_t g = base64_class[text[i + 6]], h = base64_class[text[i + 7]];
        if ((a | b | c | d | e | f | g | h) & B64_NOT_A_DIGIT)
            break;
        uint32_t first = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
        uint32_t second = (uint32_t)e << 18 | (uint32_t)f << 12 | (uint32_t)g << 6 | h;
        out[0] = (uint8_t)(first >> 16);
        out[1] = (uint8_t)(first >> 8);
        out[2] = (uint8_t)first;
        out[3] = (uint8_t)(second >> 16);
        out[4] = (uint8_t)(second >> 8);
        out[5] = (uint8_t)second;
    }
    return i;
}

/* The last, incomplete group: `rest` digits are in `bits`. Returns the number of bytes written to `out`. */
static enum result base64_end(uint32_t bits, size_t rest, size_t pads, uint8_t *out, size_t *written, struct err *err)
{
    if (rest == 1)
        return err_set(err, ERR_INVALID, "the base64 text is cut off: its last group has one character");
    if (pads && pads != (4 - rest) % 4)
        return err_set(err, ERR_INVALID, "the base64 text has %zu padding characters where %zu belong", pads, (4 - rest) % 4);
    unsigned spare = rest == 2 ? 4 : rest == 3 ? 2 : 0; /* bits of the last digit that belong to no byte */
    if (bits & ((1u << spare) - 1))
        return err_set(err, ERR_INVALID, "the base64 text is cut off: its last group has left-over bits");
    size_t n = rest ? rest - 1 : 0;
    bits >>= spare;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(bits >> 8 * (n - 1 - i));
    *written = n;
    return ERR_OK;
}

enum result parse_base64(const char *text, size_t len, uint8_t *out, size_t *out_len, struct err *err)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t bits = 0;
    size_t n = 0, rest = 0, pads = 0, tail = 0; /* rest: digits in `bits` */
    for (size_t i = 0; i < len; i++) {
        if (rest == 0 && pads == 0) {
            size_t run = base64_run(p + i, len - i, out + n);
            i += run;
            n += run / 4 * 3;
            if (i == len)
                break;
        }
        uint8_t v = base64_class[p[i]];
        if (v == B64_BLANK)
            continue;
        if (v == B64_PAD) {
            pads++;
            continue;
        }
        if (v == B64_BAD)
            return err_set(err, ERR_INVALID, "byte %zu of the base64 text (0x%02x) is no base64 character", i + 1, p[i]);
        if (pads)
            return err_set(err, ERR_INVALID, "the base64 text goes on after its padding, at byte %zu", i + 1);
        bits = bits << 6 | v;
        if (++rest == 4) {
            out[n++] = (uint8_t)(bits >> 16);
            out[n++] = (uint8_t)(bits >> 8);
            out[n++] = (uint8_t)bits;
            bits = 0;
            rest = 0;
        }
    }
    enum result r = base64_end(bits, rest, pads, out + n, &tail, err);
    if (r)
        return r;
    *out_len = n + tail;
    return ERR_OK;
}
