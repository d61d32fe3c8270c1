/*
 * The kind of a file by its first bytes. One table for what is read, one for what is refused by name: a user
 * who sent a PDF or the HTML page of a dead link is helped by hearing so.
 */
#include "image/sniff.h"

#include "base/parse.h"
#include "image/image.h"

#include <ctype.h>
#include <strings.h>

static const struct {
    const char *mime, *name;
} kinds[] = {
    [IMAGE_NONE] = {NULL, "file"},
    [IMAGE_JPEG] = {"image/jpeg", "JPEG"},
    [IMAGE_PNG] = {"image/png", "PNG"},
    [IMAGE_WEBP] = {"image/webp", "WebP"},
    [IMAGE_GIF] = {"image/gif", "GIF"},
    [IMAGE_HEIC] = {"image/heic", "HEIC"},
    [IMAGE_AVIF] = {"image/avif", "AVIF"},
    [IMAGE_HEIF] = {"image/heif", "HEIF"},
};

struct magic {
    size_t offset;
    const char *bytes;
    size_t len;
    const char *what;
};
#define MAGIC(offset, bytes, what)                                                                           \
    {                                                                                                        \
        offset, bytes, sizeof(bytes) - 1, what                                                               \
    }

static const struct magic refused[] = {
    MAGIC(0, "%PDF", "a PDF document"),
    MAGIC(0, "II*\0", "a TIFF picture"),
    MAGIC(0, "MM\0*", "a TIFF picture"),
    MAGIC(0, "II+\0", "a TIFF picture"),
    MAGIC(0, "MM\0+", "a TIFF picture"),
    MAGIC(0, "BM", "a BMP picture"),
    MAGIC(0, "\0\0\1\0", "an icon (ICO)"),
    MAGIC(0, "\0\0\0\14JXL ", "a JPEG XL picture"),
    MAGIC(0, "\xff\x0a", "a JPEG XL picture"),
    MAGIC(0, "\0\0\0\14jP  ", "a JPEG 2000 picture"),
    MAGIC(0, "\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    MAGIC(0, "8BPS", "a Photoshop document"),
    MAGIC(0, "%!PS", "a PostScript document"),
    MAGIC(8, "AVI ", "an AVI video"),
    MAGIC(8, "WAVE", "a WAV sound"),
    MAGIC(4, "ftyp", "a video (MP4 or QuickTime)"),
    MAGIC(0, "\x1a\x45\xdf\xa3", "a video (Matroska or WebM)"),
    MAGIC(0, "PK\3\4", "a ZIP archive or an office document"),
    MAGIC(0, "\x1f\x8b", "a gzip archive"),
    MAGIC(0, "Rar!", "a RAR archive"),
    MAGIC(0, "7z\xbc\xaf", "a 7z archive"),
    MAGIC(0,
        "\x7f"
        "ELF",
        "a program"),
    MAGIC(0, "MZ", "a program"),
};

static bool has(const uint8_t *data, size_t len, size_t offset, const void *bytes, size_t n)
{
    return len >= offset && len - offset >= n && memcmp(data + offset, bytes, n) == 0;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum image_kind kind_of_brand(const uint8_t *brand)
{
    static const struct {
        char brand[5];
        enum image_kind kind;
    } brands[] = {
        {"avif", IMAGE_AVIF},
        {"avis", IMAGE_AVIF},
        {"heic", IMAGE_HEIC},
        {"heix", IMAGE_HEIC},
        {"heim", IMAGE_HEIC},
        {"heis", IMAGE_HEIC},
        {"hevc", IMAGE_HEIC},
        {"hevx", IMAGE_HEIC},
        {"mif1", IMAGE_HEIF},
        {"msf1", IMAGE_HEIF},
        {"mif2", IMAGE_HEIF},
    };
    for (size_t i = 0; i < sizeof(brands) / sizeof(brands[0]); i++) {
        if (memcmp(brand, brands[i].brand, 4) == 0)
            return brands[i].kind;
    }
    return IMAGE_NONE;
}

/*
 * ISO/IEC 14496-12, file type box: size, "ftyp", major brand, minor version, compatible brands. The major
 * brand decides; where it is the general one the compatible brands say which codec.
 */
static enum image_kind kind_of_boxes(const uint8_t *data, size_t len)
{
    if (!has(data, len, 4, "ftyp", 4) || len < 16)
        return IMAGE_NONE;
    enum image_kind kind = kind_of_brand(data + 8);
    if (kind != IMAGE_HEIF)
        return kind;
    size_t end = be32(data) < len ? be32(data) : len;
    for (size_t at = 16; at + 4 <= end; at += 4) {
        enum image_kind other = kind_of_brand(data + at);
        if (other == IMAGE_AVIF || other == IMAGE_HEIC)
            return other;
    }
    return IMAGE_HEIF;
}

enum image_kind image_kind_of(const uint8_t *data, size_t len)
{
    if (has(data, len, 0, "\xff\xd8\xff", 3))
        return IMAGE_JPEG;
    if (has(data, len, 0, "\x89PNG\r\n\x1a\n", 8))
        return IMAGE_PNG;
    if (has(data, len, 0, "GIF87a", 6) || has(data, len, 0, "GIF89a", 6))
        return IMAGE_GIF;
    if (has(data, len, 0, "RIFF", 4) && has(data, len, 8, "WEBP", 4))
        return IMAGE_WEBP;
    return kind_of_boxes(data, len);
}

const char *image_kind_mime(enum image_kind kind)
{
    return kinds[kind].mime;
}

const char *image_kind_name(enum image_kind kind)
{
    return kinds[kind].name;
}

const char *image_sniff(const void *data, size_t len)
{
    return data ? kinds[image_kind_of(data, len)].mime : NULL;
}

/* Case-insensitive search of a word in a text that is not terminated. */
static bool mentions(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++) {
        if (strncasecmp(text + i, word, n) == 0)
            return true;
    }
    return false;
}

/* NULL where the beginning is no text. */
static const char *describe_text(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    size_t n = len < 512 ? len : 512;
    /* A multi-byte character may be cut at the end of what is looked at. */
    size_t valid = n;
    while (valid > 0 && valid + 4 > n && !parse_is_utf8(text, valid))
        valid--;
    if (!parse_is_utf8(text, valid))
        return NULL;
    for (size_t i = 0; i < valid; i++) {
        if (data[i] < 0x20 && !isspace(data[i]))
            return NULL;
    }
    if (mentions(text, valid, "<svg"))
        return "an SVG drawing";
    if (mentions(text, valid, "<!doctype html") || mentions(text, valid, "<html") ||
        mentions(text, valid, "<head"))
        return "an HTML page";
    if (mentions(text, valid, "<?xml"))
        return "an XML document";
    if (mentions(text, valid, ";base64,"))
        return "a data: URI in text form";
    if (n >= 2 && (text[0] == '{' || text[0] == '[') && memchr(text, '"', valid))
        return "a JSON text";
    return "a text";
}

enum result image_kind_refuse(const uint8_t *data, size_t len, struct err *err)
{
    const char *what = NULL;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && !what; i++) {
        if (has(data, len, refused[i].offset, refused[i].bytes, refused[i].len))
            what = refused[i].what;
    }
    if (!what)
        what = describe_text(data, len);
    if (!what)
        what = "of an unknown kind";
    return err_set(err, ERR_UNSUPPORTED,
        "the file is no picture of a kind that is read here, it seems to be %s; send a JPEG, PNG, WebP, GIF, "
        "AVIF or "
        "HEIC file",
        what);
}

/* Walk the top-level boxes; the last one may say 0, "to the end of the file". */
static bool boxes_are_cut_off(const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 8) {
        uint64_t size = be32(data + at);
        if (size == 0)
            return false;
        if (size == 1) {
            if (len - at < 16)
                return true;
            size = (uint64_t)be32(data + at + 8) << 32 | be32(data + at + 12);
        }
        if (size < 8)
            return false;
        if (size > len - at)
            return true;
        at += size;
    }
    return at != len;
}

/*
 * ITU T.81 annex B: segments with their lengths up to the first scan, then data in which FF D9 can only be
 * the end. Walking there keeps the end of a preview picture inside a segment from being taken for the file's.
 * Where the walk meets bytes that are no marker, as in odd files that still decode, the search starts there.
 */
static bool jpeg_is_cut_off(const uint8_t *data, size_t len)
{
    size_t at = 2;
    if (len >= 4 && data[len - 2] == 0xff && data[len - 1] == 0xd9)
        return false;
    while (len - at >= 4 && data[at] == 0xff && data[at + 1] != 0xda) {
        size_t size = (size_t)data[at + 2] << 8 | data[at + 3];
        if (size + 2 > len - at)
            return true;
        at += size + 2;
    }
    return !memmem(data + at, len - at, "\xff\xd9", 2);
}

bool image_kind_is_cut_off(enum image_kind kind, const uint8_t *data, size_t len)
{
    switch (kind) {
    case IMAGE_JPEG:
        return jpeg_is_cut_off(data, len);
    case IMAGE_PNG:
        return !has(data, len, len - 8, "IEND", 4) && !memmem(data, len, "IEND\xae\x42\x60\x82", 8);
    case IMAGE_GIF:
        return data[len - 1] != 0x3b;
    case IMAGE_WEBP:
        return len < 12 ||
               (uint64_t)(data[4] | data[5] << 8 | data[6] << 16 | (uint32_t)data[7] << 24) + 8 > len;
    case IMAGE_HEIC:
    case IMAGE_AVIF:
    case IMAGE_HEIF:
        return boxes_are_cut_off(data, len);
    case IMAGE_NONE:
        break;
    }
    return false;
}
