#!/usr/bin/env python3
"""Makes the pictures under fixtures/, which are committed, so a build needs none of this.

    make_fixtures.py DIRECTORY

Needs Pillow with WebP and AVIF, and the program heif-enc (Debian: libheif-examples) for HEIC. Nearly all of them show
the same picture of 64 x 48 pixels: red and green over blue and yellow, so that any turn or exchange of channels shows.
"""
import io
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

from PIL import Image, ImageDraw

RED, GREEN, BLUE, YELLOW = (220, 40, 30), (40, 180, 60), (40, 60, 200), (240, 210, 40)
W, H = 64, 48


def quadrants(width=W, height=H, colours=(RED, GREEN, BLUE, YELLOW), mode="RGB"):
    image = Image.new(mode, (width, height))
    draw = ImageDraw.Draw(image)
    w, h = width // 2, height // 2
    for i, colour in enumerate(colours):
        x, y = (i % 2) * w, (i // 2) * h
        draw.rectangle((x, y, x + w - 1, y + h - 1), fill=colour)
    return image


def encoded(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


# What has to be done to the upright picture so that EXIF orientation n undoes it.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, interlace=0, extra=b""):
    return (b"\x89PNG\r\n\x1a\n"
            + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
            + extra + png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b""))


def png16():
    rows = b""
    image = quadrants()
    for y in range(H):
        rows += b"\0" + b"".join(struct.pack(">HHH", *(v * 257 for v in image.getpixel((x, y)))) for x in range(W))
    return png(W, H, 16, 2, rows)


def png16_alpha():
    """16-bit grey with alpha: 40000 opaque on the left, transparent on the right."""
    row = b"\0" + struct.pack(">HH", 40000, 65535) * (W // 2) + struct.pack(">HH", 40000, 0) * (W // 2)
    return png(W, H, 16, 4, row * H)


def png_interlaced():
    """Adam7, which Pillow does not write."""
    image, rows = quadrants(), b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        for y in range(y0, H, dy):
            rows += b"\0" + b"".join(bytes(image.getpixel((x, y))) for x in range(x0, W, dx))
    return png(W, H, 8, 2, rows, interlace=1)


def png_palette_alpha():
    """Four palette entries; the green one is transparent, the blue one half."""
    image = quadrants()
    colours = [RED, GREEN, BLUE, YELLOW]
    rows = b"".join(b"\0" + bytes(colours.index(image.getpixel((x, y))) for x in range(W)) for y in range(H))
    palette = b"".join(bytes(c) for c in colours)
    return png(W, H, 8, 3, rows, extra=png_chunk(b"PLTE", palette) + png_chunk(b"tRNS", bytes([255, 0, 128, 255])))


def s15(value):
    return struct.pack(">i", round(value * 65536))


def profile(name, red, green, blue):
    """A matrix profile of ICC version 2 with gamma 2.2 and the given colourants (XYZ, adapted to D50)."""
    def xyz(v):
        return b"XYZ \0\0\0\0" + b"".join(s15(x) for x in v)
    text = name.encode() + b"\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78
    desc += b"\0" * (-len(desc) % 4)
    copyright_ = b"text\0\0\0\0none\0\0\0\0"
    tags = [(b"desc", desc), (b"cprt", copyright_), (b"wtpt", xyz((0.9642, 1.0, 0.8249))), (b"rXYZ", xyz(red)),
            (b"gXYZ", xyz(green)), (b"bXYZ", xyz(blue)), (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)]
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for sign, data in tags:
        table += sign + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s12s4s4sI4s4sIIII4s", 128 + len(table) + len(body), b"none", 0x02100000, b"mntr",
                       b"RGB ", b"XYZ ", b"\0" * 12, b"acsp", b"APPL", 0, b"none", b"none", 0, 0, 0, 0, b"none")
    head = head[:68] + b"".join(s15(v) for v in (0.9642, 1.0, 0.8249)) + b"\0" * 48
    return head[:128] + table + body


R50, G50, B50 = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7142)
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))


def photo(width, height):
    """Something with edges, gradients and fine texture, the same on every machine."""
    image = Image.new("RGB", (width, height))
    pixels = image.load()
    for y in range(height):
        for x in range(width):
            u, v = x / width, y / height
            pixels[x, y] = (int(255 * u), int(255 * (1 - v)), int(127 + 90 * ((int(u * 24) + int(v * 16)) % 2) - 60 * u))
    draw = ImageDraw.Draw(image)
    for i in range(12):
        x, y, r = (i * 83 % 97) / 97 * width, (i * 41 % 89) / 89 * height, (0.03 + 0.012 * i) * width
        draw.ellipse((x - r, y - r, x + r, y + r), outline=(20 * i, 255 - 20 * i, 90), width=max(1, width // 100))
    return image


def reference(image, side, how):
    """What a model's input should be, by Pillow alone, of the full picture."""
    w, h = image.size
    if how == "crop":
        s = side / min(w, h)
        image = image.resize((round(w * s), round(h * s)), Image.Resampling.BICUBIC)
        x, y = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((x, y, x + side, y + side))
    if how == "fit":
        s = side / max(w, h)
        small = image.resize((round(w * s), round(h * s)), Image.Resampling.BICUBIC)
        out = Image.new("RGB", (side, side), (255, 255, 255))
        out.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        return out
    return image.resize((side, side), Image.Resampling.BICUBIC)


def heif(images, *options):
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for i, image in enumerate(images):
            names.append(f"{folder}/{i}.png")
            if isinstance(image, bytes):
                pathlib.Path(names[-1]).write_bytes(image)
            else:
                image.save(names[-1])
        subprocess.run(["heif-enc", *options, "-o", f"{folder}/out", *names], check=True, capture_output=True)
        return pathlib.Path(f"{folder}/out").read_bytes()


def second_is_primary(data):
    """Let the `pitm` box name the last item that is a picture and not hidden."""
    at = data.index(b"pitm")
    last, infe = 0, data.find(b"infe")
    while infe >= 0:
        if data[infe + 12:infe + 16] in (b"hvc1", b"grid") and data[infe + 7] == 0:
            last = struct.unpack_from(">H", data, infe + 8)[0]
        infe = data.find(b"infe", infe + 4)
    return data[:at + 8] + struct.pack(">H", last) + data[at + 10:]


def patched(data, at, value):
    return data[:at] + value + data[at + len(value):]


def cmyk(image):
    """Full inks only, so that any conversion gives a colour a test can name."""
    out = Image.new("CMYK", image.size)
    table = {RED: (0, 255, 255, 0), GREEN: (255, 0, 255, 0), BLUE: (255, 255, 0, 0), YELLOW: (0, 0, 0, 0)}
    out.putdata([table[p] for p in image.get_flattened_data()])
    return out


def without_adobe(jpeg):
    """Drop the APP14 segment. The samples stay inverted: browsers take all CMYK in JPEG to be."""
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0]:]


def jpegs(put):
    image = quadrants()
    high = {"format": "JPEG", "quality": 92, "subsampling": 0}
    put("rgb.jpg", encoded(image, **high))
    put("subsampled.jpg", encoded(image, format="JPEG", quality=85, subsampling=2))
    put("grey.jpg", encoded(quadrants(colours=(30, 90, 160, 230), mode="L"), format="JPEG", quality=92))
    put("progressive.jpg", encoded(image, progressive=True, **high))
    put("cmyk-adobe.jpg", encoded(cmyk(image), **high))
    put("cmyk.jpg", without_adobe(encoded(cmyk(image), **high)))
    for n in range(1, 9):
        stored = image.transpose(STORED[n]) if n in STORED else image
        put(f"orientation-{n}.jpg", encoded(stored, exif=exif(n), **high))
    put("icc-swapped.jpg", encoded(image, icc_profile=profile("Green is red", G50, B50, R50), **high))
    put("icc-p3.jpg", encoded(image, icc_profile=profile("Test P3", *P3), **high))
    put("icc-named-srgb.jpg", encoded(image, icc_profile=profile("sRGB test", R50, G50, B50), **high))
    put("icc-broken.jpg", encoded(image, icc_profile=b"this is no profile" * 9, **high))
    rgb = encoded(image, **high)
    at = rgb.index(b"\xff\xdb")
    put("odd-extraneous.jpg", rgb[:at] + b"\x11\x22\x33" + rgb[at:])
    sof = rgb.index(b"\xff\xc0")
    put("bomb.jpg", patched(rgb, sof + 5, struct.pack(">HH", 65000, 65000)))


def pngs(put):
    image = quadrants()
    put("rgb.png", encoded(image, format="PNG"))
    put("16bit.png", png16())
    put("16bit-grey-alpha.png", png16_alpha())
    put("interlaced.png", png_interlaced())
    put("palette.png", encoded(image.quantize(4), format="PNG"))
    put("palette-alpha.png", png_palette_alpha())
    put("grey-1bit.png", png(W, H, 1, 0, (b"\0" + b"\0" * 4 + b"\xff" * 4) * H))
    rgba = image.convert("RGBA")
    rgba.paste((40, 180, 60, 0), (W // 2, 0, W, H // 2))
    rgba.paste((40, 60, 200, 128), (0, H // 2, W // 2, H))
    put("rgba.png", encoded(rgba, format="PNG"))
    put("icc-grey.png", encoded(quadrants(colours=(30, 90, 160, 230), mode="L"), format="PNG",
                                icc_profile=profile("Not for grey", R50, G50, B50)))
    empty = zlib.compress(b"\0" * 1000, 9)
    for name, w, h in (("bomb.png", 30000, 30000), ("bomb-just.png", 10000, 5001), ("bomb-side.png", 32769, 1)):
        put(name, b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 1, 0, 0, 0, 0))
            + png_chunk(b"IDAT", empty) + png_chunk(b"IEND", b""))
    put("limit.png", png(10000, 5000, 1, 0, (b"\0" + b"\0" * 1250) * 5000))
    put("limit-side.png", png(32768, 1, 1, 0, b"\0" + b"\xff" * 4096))
    put("wide.png", png(10000, 1, 8, 0, b"\0" + bytes(i * 255 // 9999 for i in range(10000))))
    put("tall.png", png(1, 10000, 8, 0, b"".join(bytes((0, i * 255 // 9999)) for i in range(10000))))
    put("one.png", png(1, 1, 8, 2, b"\0" + bytes(RED)))


def others(put):
    image = quadrants()
    flipped = image.transpose(Image.Transpose.ROTATE_180)
    rgba = image.convert("RGBA")
    rgba.paste((40, 180, 60, 0), (W // 2, 0, W, H // 2))
    put("lossy.webp", encoded(image, format="WEBP", quality=95))
    put("lossless.webp", encoded(image, format="WEBP", lossless=True))
    put("alpha.webp", encoded(rgba, format="WEBP", lossless=True))
    animated = encoded(image, format="WEBP", lossless=True, save_all=True, append_images=[flipped], duration=100)
    put("animated.webp", animated)
    at = animated.index(b"VP8X") + 12
    put("bomb.webp", patched(animated, at, struct.pack("<I", 11999)[:3] + struct.pack("<I", 11999)[:3]))
    put("static.gif", encoded(image, format="GIF"))
    gif = encoded(image, format="GIF", save_all=True, append_images=[flipped], duration=100, disposal=2)
    put("animated.gif", gif)
    huge = patched(gif, 6, struct.pack("<HH", 60000, 60000))
    at = huge.index(b"\x2c\0\0\0\0") + 5  # the first frame's descriptor
    put("bomb.gif", patched(huge, at, struct.pack("<HH", 60000, 60000)))
    put("odd-screen.gif", huge)  # decoders ignore a screen that is far larger than its frames
    put("rgb.avif", encoded(image, format="AVIF", quality=95, subsampling="4:4:4"))
    stored = image.transpose(STORED[6])
    put("turned.avif", encoded(stored, format="AVIF", quality=95, subsampling="4:4:4", exif=exif(6)))
    put("alpha.avif", encoded(rgba, format="AVIF", quality=95, subsampling="4:4:4"))
    avif = encoded(image, format="AVIF", quality=95, subsampling="4:4:4")
    at = avif.index(b"ispe") + 8
    put("bomb.avif", patched(avif, at, struct.pack(">II", 12000, 12000)))
    put("rgb.heic", heif([image], "-q", "95"))
    put("10bit.heic", heif([png16()], "-q", "95", "-b", "10"))
    put("two.heic", second_is_primary(heif([flipped, image], "-q", "95")))
    put("picture.tiff", encoded(quadrants(8, 8), format="TIFF"))
    put("picture.bmp", encoded(quadrants(8, 8), format="BMP"))


def references(put):
    small = encoded(photo(300, 225), format="JPEG", quality=90)
    large = encoded(photo(1603, 1201), format="JPEG", quality=60)
    put("photo.jpg", small)
    put("photo-large.jpg", large)
    for name, data in (("photo", small), ("photo-large", large)):
        full = Image.open(io.BytesIO(data)).convert("RGB")
        for how in ("crop", "fit", "stretch"):
            put(f"{name}.{how}.png", encoded(reference(full, 64, how), format="PNG", optimize=True))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(exist_ok=True)

    def put(name, data):
        (folder / name).write_bytes(data)

    for make in (jpegs, pngs, others, references):
        make(put)
    print(sum(f.stat().st_size for f in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
