"""Small pictures that take much to unpack, or are not what they claim.

HOSTILE: files for `file_readers.picture`, by name; each makes one in a folder.
"""

import io
import struct
import zlib

import numpy as np
import valid_files
from PIL import Image

LONG = b"x" * 70_000_000  # more than Pillow lets all text of a picture take


def progressive(passes, size=(24, 16)):
    """A JPEG in which the last pass comes again until there are so many."""
    content = valid_files.encoded_picture("JPEG", size, progressive=True)
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    missing = passes - content.count(b"\xff\xda")
    return content[:end] + content[start:end] * missing + content[end:]


def chunk(kind, content):
    """A PNG's chunk."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(width, height, rows, *more, depth=8, color=0, packing=0):
    """A PNG of these bytes of rows, each with its filter in front, packed here."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, packing)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows, 9))]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IEND", b"")])


def with_text(kind, content):
    """A whole PNG with a chunk in front of its pixels."""
    before, after = valid_files.encoded_picture("PNG").split(b"IDAT")
    return before[:-4] + chunk(kind, content) + before[-4:] + b"IDAT" + after


def tiff(tags, data, width=64, height=64):
    """A TIFF of one gray picture, from its tags and the bytes of its strip or tile."""
    base = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1}
    tags = dict(sorted((base | tags).items()))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def tiled(side, packed=False):
    """A TIFF of 64x64 pixels in one tile of this side, which may be packed by zlib."""
    data = zlib.compress(bytes(side * side), 9) if packed else bytes(side * side)
    tags = {322: side, 323: side, 324: 8, 325: len(data)} | ({259: 8} if packed else {})
    return tiff(tags, data)


def tiff_loop():
    """A TIFF whose list of pictures begins anew at its end."""
    whole = tiff({273: 8, 278: 64, 279: 4096}, bytes(4096))
    return whole[:-4] + struct.pack("<I", struct.unpack_from("<I", whole, 4)[0])


def gif_of_frames(number):
    """A GIF of 10,000 x 10,000 pixels and many frames of one."""
    frames = [Image.new("L", (1, 1), value % 255) for value in range(number)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    content = bytearray(buffer.getvalue())
    content[6:10] = struct.pack("<HH", 10_000, 10_000)
    return bytes(content)


def webp_of(width, height):
    """A WebP whose header claims another size."""
    content = bytearray(valid_files.encoded_picture("WEBP", lossless=True))
    place = content.index(b"VP8L") + 9
    content[place : place + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(content)


def bmp_of(width, height):
    """A BMP whose header claims another size."""
    content = bytearray(valid_files.encoded_picture("BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def exif(count, kind=2):
    """A JPEG whose note of the orientation claims so many values."""
    entry = struct.pack("<HHII", 0x0112, kind, count, 8)
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    content = valid_files.encoded_picture("JPEG")
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]


_PACKED = zlib.compress(LONG)
_PICTURES = {
    "JPEG of 500 passes": ("jpg", lambda: progressive(500)),
    "JPEG of 60 passes": ("jpg", lambda: progressive(60)),
    "JPEG of 60 passes, 4,000 x 4,000": ("jpg", lambda: progressive(60, size=(4000, 4000))),
    "JPEG whose EXIF claims 2^32 values": ("jpg", lambda: exif(2**32 - 1)),
    "PNG of 30,000 x 30,000 pixels": ("png", lambda: png(30_000, 30_000, bytes(10**6))),
    "PNG of 2^31 pixels a side": ("png", lambda: png(2**31 - 1, 2**31 - 1, b"0")),
    "PNG of no pixels": ("png", lambda: png(0, 0, b"")),
    "PNG of long text": ("png", lambda: with_text(b"tEXt", b"c\0" + LONG[: 2**22])),
    "PNG of packed text": ("png", lambda: with_text(b"zTXt", b"c\0\0" + _PACKED)),
    "PNG of packed international text": (
        "png",
        lambda: with_text(b"iTXt", b"c\0\1\0\0\0" + _PACKED),
    ),
    "PNG of a packed profile": ("png", lambda: with_text(b"iCCP", b"c\0\0" + _PACKED)),
    "PNG of packed XMP": (
        "png",
        lambda: with_text(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _PACKED),
    ),
    "PNG of a packed EXIF": (
        "png",
        lambda: with_text(b"zTXt", b"Raw profile type exif\0\0" + _PACKED),
    ),
    "PNG whose pixels unpack to 100 MB": ("png", lambda: png(64, 64, bytes(10**8))),
    "interlaced PNG of 8,000 x 8,000": (
        "png",
        lambda: png(8000, 8000, bytes(10**4), packing=1),
    ),
    "TIFF of a tile of 40,000": (
        "tif",
        lambda: tiff({322: 40_000, 323: 40_000, 324: 8, 325: 9}, bytes(16)),
    ),
    "TIFF of a packed tile of 4,096": ("tif", lambda: tiled(4096, packed=True)),
    "TIFF of a packed strip": (
        "tif",
        lambda: tiff({259: 8, 273: 8, 278: 2**31 - 1, 279: len(_PACKED)}, _PACKED),
    ),
    "TIFF whose pictures are a loop": ("tif", tiff_loop),
    "TIFF of 60,000 channels": (
        "tif",
        lambda: tiff({273: 8, 277: 60_000, 278: 64, 279: 4096}, bytes(4096)),
    ),
    "GIF of 300 frames, 10,000 x 10,000": ("gif", lambda: gif_of_frames(300)),
    "WebP of 16,383 x 16,383": ("webp", lambda: webp_of(16_383, 16_383)),
    "WebP of 8,000 x 8,000": ("webp", lambda: webp_of(8000, 8000)),
    "BMP of 2^31 rows": ("bmp", lambda: bmp_of(24, 2**31 - 1)),
    "BMP of 10,000 x 10,000": ("bmp", lambda: bmp_of(10_000, 10_000)),
    "PostScript named .png": ("png", lambda: b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "nothing": ("png", lambda: b""),
}


def _picture(suffix, content):
    def make(folder, rng):
        path = folder / f"picture.{suffix}"
        path.write_bytes(content())
        return path

    return make


def named_badly(folder, rng):
    """No picture, in a file whose name would clear a terminal."""
    path = folder / "a\x1b[2J\nb.png"
    path.write_bytes(np.random.default_rng(0).bytes(40))
    return path


HOSTILE = {name: _picture(*picture) for name, picture in _PICTURES.items()}
HOSTILE["picture whose name clears the terminal"] = named_badly
