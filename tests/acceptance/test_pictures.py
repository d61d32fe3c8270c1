"""Formats and oddities of pictures, through the API: what a record is made from must be what a person sees."""
import io
import struct
import time
import zlib

import numpy
import pytest
from PIL import Image, ImageOps, features

from support import SLOW, drawing, encode, failed, picture

NEAR = 0.03  # squared distance of unit vectors: cosine 0.985; a mirrored picture is at 0.1 or more
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def crowd(api):
    """A collection with 40 other pictures, so that being first means something. Tests use fileids over 1000."""
    api.create("crowd").data
    for n in range(40):
        api.add("crowd", n, picture(n + 500)).data
    yield "crowd"
    api.drop("crowd")


def add_and_find(api, crowd, stored, query, below):
    """Of 41 pictures `query` finds `stored` first, and so near."""
    api.add(crowd, 1000, stored).data
    hit = api.search(crowd, query, limit=1).data[0]
    api.delete(crowd, 1000)
    assert hit["fileid"] == 1000 and 0 <= hit["distance"] < below, hit


def truth(seed=1):
    return drawing(seed, (320, 240))


def variants():
    image = truth()
    rgba = image.convert("RGBA")
    grey = image.convert("L")
    few = image.quantize(256)
    deep = numpy.asarray(image, dtype=numpy.uint16) * 257
    made = {
        "JPEG": encode(image, quality=95),
        "JPEG, progressive": encode(image, quality=95, progressive=True),
        "JPEG, no chroma subsampling": encode(image, quality=95, subsampling=0),
        "JPEG, restart markers": encode(image, quality=95, restart_marker_blocks=4),
        "PNG": encode(image, "PNG"),
        "PNG, opaque alpha": encode(rgba, "PNG"),
        "PNG, 16 bits": png16(deep),
        "WebP": encode(image, "WEBP", quality=95),
        "WebP, lossless": encode(image, "WEBP", lossless=True),
        "WebP, opaque alpha": encode(rgba, "WEBP", lossless=True),
        "WebP, animated": encode(image, "WEBP", lossless=True, save_all=True, append_images=[drawing(77, (320, 240))], duration=100),
    }
    if features.check("avif"):
        made["AVIF"] = encode(image, "AVIF", quality=90)
        made["AVIF, alpha"] = encode(rgba, "AVIF", quality=90)
    made_grey = {
        "JPEG, grey": encode(grey, quality=95), "PNG, grey": encode(grey, "PNG"), "PNG, grey and alpha": encode(grey.convert("LA"), "PNG"),
        "PNG, grey, 16 bits": png16(numpy.asarray(grey, dtype=numpy.uint16)[:, :, None] * 257),
    }
    made_few = {
        "PNG, palette": encode(few, "PNG"), "GIF": encode(few, "GIF"),
        "GIF, animated": encode(few, "GIF", save_all=True, append_images=[drawing(77, (320, 240)).quantize(256)], duration=100),
    }
    return {name: (data, shown.convert("RGB")) for group, shown in ((made, image), (made_grey, grey), (made_few, few))
            for name, data in group.items()}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, depth, color, rows):
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
            + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def png16(samples):
    """A PNG of 16 bits a sample: Pillow cannot write those in colour. `samples` is height × width × 1 or 3."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png_of(width, height, 16, 0 if channels == 1 else 2, zlib.compress(rows))


VARIANTS = variants()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_format_shows_the_same_picture(api, crowd, name):
    data, image = VARIANTS[name]
    add_and_find(api, crowd, encode(image, "PNG"), data, NEAR)
    add_and_find(api, crowd, data, encode(image, "PNG"), NEAR)


def test_a_cmyk_jpeg_has_the_colours_that_browsers_show(api, crowd):
    """Without a profile: light = (1 - ink) x (1 - black), as Pillow does it as well."""
    image = truth()
    data = encode(image.convert("CMYK"), quality=95)
    add_and_find(api, crowd, data, data, 1e-4)
    add_and_find(api, crowd, encode(image, "PNG"), data, NEAR)
    api.add(crowd, 1000, data).data
    response = api.http.get(f"/v1/collections/{crowd}/images/1000/thumbnail")
    api.delete(crowd, 1000)
    shown = Image.open(io.BytesIO(response.content)).convert("RGB")
    difference = numpy.asarray(shown, dtype=float) - numpy.asarray(image.resize(shown.size), dtype=float)
    assert numpy.abs(difference).mean() < 8


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_file_comes_back_first(api, crowd, name):
    data, _ = VARIANTS[name]
    add_and_find(api, crowd, data, data, 1e-4)


def rotated(image, orientation):
    """The file of a camera that was held another way: pixels turned, and the EXIF tag that says so."""
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}
    turned = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return turned, exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(api, crowd, orientation, kind):
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}[kind]
    turned, exif = rotated(truth(), orientation)
    data = encode(turned, kind, exif=exif, **options)
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert seen.size == truth().size
    add_and_find(api, crowd, encode(truth(), "PNG"), data, NEAR)


def test_a_wrong_orientation_tag_is_no_reason_to_refuse(api, crowd):
    exif = Image.Exif()
    exif[ORIENTATION] = 99
    add_and_find(api, crowd, encode(truth(), "PNG"), encode(truth(), quality=95, exif=exif), NEAR)


def test_a_large_photo_equals_itself_made_smaller(api, crowd):
    """Reading at a fraction of the size, as JPEG allows, must not change what is seen."""
    large = truth().resize((3200, 2400), Image.Resampling.BICUBIC)
    add_and_find(api, crowd, encode(truth(), "PNG"), encode(large, quality=92), NEAR)
    add_and_find(api, crowd, encode(truth(), "PNG"), encode(large, "WEBP", quality=92), NEAR)


def with_alpha():
    """A shape on a transparent ground whose hidden colour is loud, so that a reader who drops alpha is caught."""
    image = truth(3).convert("RGBA")
    x, y = numpy.meshgrid(numpy.arange(320), numpy.arange(240))
    inside = ((x - 160) / 120) ** 2 + ((y - 120) / 90) ** 2
    alpha = numpy.clip((1.1 - inside) * 5, 0, 1) * 255
    pixels = numpy.asarray(image).copy()
    pixels[..., 3] = alpha.astype(numpy.uint8)
    pixels[pixels[..., 3] == 0, :3] = (255, 0, 255)
    return Image.fromarray(pixels, "RGBA")


def flattened(image):
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


@pytest.mark.parametrize("kind,options", [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})], ids=["PNG", "WebP"])
def test_alpha_is_put_on_white(api, crowd, kind, options):
    image = with_alpha()
    add_and_find(api, crowd, encode(flattened(image), "PNG"), encode(image, kind, **options), NEAR)
    vector = {}
    for name, data in (("alpha", encode(image, kind, **options)), ("white", encode(flattened(image), "PNG")),
                       ("dropped", encode(image.convert("RGB"), "PNG"))):
        api.add(crowd, 1000, data).data
        vector[name] = numpy.array(api.fetch(crowd, fileid=1000).data[0]["vectors"])
    api.delete(crowd, 1000)
    assert ((vector["alpha"] - vector["white"]) ** 2).sum() < ((vector["alpha"] - vector["dropped"]) ** 2).sum()


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_a_palette_with_a_transparent_colour(api, crowd, kind):
    image = flattened(with_alpha()).quantize(64)
    hidden = image.getpixel((0, 0))
    data = encode(image, kind, transparency=hidden)
    add_and_find(api, crowd, encode(image.convert("RGB"), "PNG"), data, NEAR)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 400), (400, 1), (16, 1600), (259, 261), (260, 260)], ids=str)
def test_unusual_sizes(api, collection, size):
    data = encode(drawing(5, (64, 64)).resize(size), "PNG")
    assert api.add(collection, 1, data).data == 1
    assert api.search(collection, data).data[0]["distance"] < 1e-4


def test_trailing_bytes_are_no_reason_to_refuse(api, crowd):
    """Cameras append films and depth maps to a photograph."""
    data = encode(truth(), quality=95)
    add_and_find(api, crowd, encode(truth(), "PNG"), data + b"\0" * 1000, NEAR)


NO_PICTURES = {
    "HTML": b"<!doctype html><html><head><title>404</title></head><body>Not found</body></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><rect width="99" height="99"/></svg>',
    "PDF": b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF",
    "text": b"P3 is not a picture either\n" * 20, "PPM": b"P6\n16 16\n255\n" + b"\x80" * 768, "BMP": encode(drawing(1), "BMP"),
    "TIFF": encode(drawing(1), "TIFF"), "ICO": encode(drawing(1, (64, 64)), "ICO"), "PSD": b"8BPS\0\1" + b"\0" * 100,
    "ZIP": b"PK\3\4" + b"\0" * 100, "ELF": b"\x7fELF" + b"\0" * 100, "nothing but zeros": b"\0" * 1000, "one byte": b"\xff",
    "JPEG magic only": b"\xff\xd8\xff", "PNG magic only": b"\x89PNG\r\n\x1a\n", "GIF magic only": b"GIF89a", "WebP magic only": b"RIFF\4\0\0\0WEBP",
    "AVIF magic only": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_picture(api, crowd, name):
    before = api.count(crowd).data
    failed(api.add(crowd, 2000, NO_PICTURES[name]), "image")
    failed(api.search(crowd, NO_PICTURES[name]), "image")
    assert api.count(crowd).data == before


@pytest.mark.parametrize("name", [n for n in VARIANTS if "animated" not in n and "restart" not in n])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_file_that_is_cut_off_is_refused(api, crowd, name, part):
    data, _ = VARIANTS[name]
    before = api.count(crowd).data
    failed(api.add(crowd, 2000, data[:int(len(data) * part)]), "image")
    assert api.count(crowd).data == before


def jpeg_header(width, height):
    """A JPEG that says it is of this size and holds next to nothing."""
    data = bytearray(encode(drawing(1, (64, 64)), quality=50))
    frame = data.index(b"\xff\xc0")
    data[frame + 5:frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_header(width, height):
    """Extended format: its canvas is in the header."""
    canvas = struct.pack("<I", 0x10)[:4] + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    inner = encode(drawing(1, (64, 64)).convert("RGBA"), "WEBP", lossless=True)[12:]
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = {
    "PNG of 51 megapixels": png_of(8500, 6000, 8, 2, zlib.compress(b"\0" * 1000)),
    "PNG of 51 megapixels, one bit": png_of(7200, 7200, 1, 0, zlib.compress((b"\0" * 901) * 7200)),
    "PNG of 4 gigapixels": png_of(65535, 65535, 8, 2, zlib.compress(b"\0" * 1000)),
    "PNG as wide as it can be": png_of(2**31 - 1, 1, 8, 0, zlib.compress(b"\0" * 1000)),
    "PNG of 2^62 pixels": png_of(2**31 - 1, 2**31 - 1, 16, 6, zlib.compress(b"\0" * 1000)),
    "PNG of no width": png_of(0, 10, 8, 2, zlib.compress(b"\0" * 1000)),
    "JPEG of 51 megapixels": jpeg_header(8500, 6000),
    "JPEG of 4 gigapixels": jpeg_header(65500, 65500),
    "GIF of 4 gigapixels": b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0\0\0\xff\xff\xff" + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "WebP of 51 megapixels": webp_header(8500, 6000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_header_bombs_are_refused_before_they_are_decoded(api, server, crowd, name):
    before = api.count(crowd).data
    memory = server.memory()
    started = time.monotonic()
    failed(api.add(crowd, 2000, BOMBS[name]), "image")
    failed(api.search(crowd, BOMBS[name]), "image")
    assert time.monotonic() - started < 1 * SLOW
    assert server.memory() - memory < 64 << 20
    assert api.count(crowd).data == before


def test_just_under_50_megapixels_is_read(api, collection):
    image = truth().resize((8000, 6200), Image.Resampling.NEAREST)
    assert api.add(collection, 1, encode(image, quality=60)).data == 1
    assert api.search(collection, encode(truth(), "PNG")).data[0]["distance"] < 4 * NEAR


def test_real_photographs(api, collection, real_pictures):
    """Photographs find themselves: the file, and what an editor makes of it."""
    paths = real_pictures("groceries/train")[::133][:10]
    for n, path in enumerate(paths):
        assert api.add(collection, n, path.read_bytes()).data == n
    for n, path in enumerate(paths):
        hit = api.search(collection, path.read_bytes(), limit=1).data[0]
        assert hit["fileid"] == n and hit["distance"] < 1e-4
        image = Image.open(path).convert("RGB")
        for data in (encode(image, "PNG"), encode(image, "WEBP", quality=95), encode(image, quality=90)):
            hit = api.search(collection, data, limit=1).data[0]
            assert hit["fileid"] == n and hit["distance"] < 0.05
