"""Image files to arrays of one size, and arrays back to the range networks see."""

import contextlib
import io
import pathlib
import threading
from collections.abc import Sequence
from typing import Any, cast, overload

import numpy as np
from jaxtyping import Array, Float32, UInt8
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from resgen_jax.core import errors
from resgen_jax.data import png_text, views

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
SUFFIXES = (*JPEG_SUFFIXES, ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# Of all that Pillow can open; its reader of PostScript would start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MODES = {1: "L", 3: "RGB"}
MAX_PIXELS = 2**27  # 134 million; a larger image is refused before it is unpacked
MAX_PIXELS_A_BYTE = 100  # of a large file; photographs hold some 5 of them, blank sheets up to 50
# Passes of a progressive JPEG, each of which goes over all pixels; 10 are usual.
MAX_SCANS, MAX_PIXELS_OF_MANY = 64, 2**22
USUAL_SCANS = 16
MAX_TILE = 2**22  # pixels of a tile that is larger than its image
TILE_SIZE = (322, 323)  # the TIFF tags
LARGE = 2**24  # pixels; a larger image is shrunk by whole numbers before anything else
ONE_LARGE = threading.Lock()  # however many threads read, one large image is unpacked at a time
ORIENTATION = 0x0112  # the EXIF field
# Pillow's own limit lies below 100 megapixels, and its warning would come before our refusal.
Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)
# Of what is left of a PNG's text: notes of editors, which may tell the orientation, are long.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 2**24)
# Above malloc's largest threshold for a mapping of its own: in smaller blocks, every thread kept
# the memory of the largest image that it had unpacked (4 threads 4.1 GB, so 1.6 GB).
Image.core.set_block_size(2**26)

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(errors.UserError):
    """A file that is not an image, only the beginning of one, or of more than MAX_PIXELS."""


def read(
    path: pathlib.Path, image_size: int, channels: int, crop: str = "center"
) -> UInt8[np.ndarray, "h w c"]:
    """The image in `path`, fitted to `image_size` by the crop of this name.

    Raises UnreadableImage, naming the file, whatever the decoder's complaint is.
    """
    try:
        encoded = path.read_bytes()
    except OSError as failure:
        raise unreadable(str(path), failure) from failure
    return read_views(encoded, str(path), [views.PLAIN], image_size, channels, crop)[0]


def read_views(
    encoded: bytes,
    name: str,
    wanted: Sequence[views.View],
    image_size: int,
    channels: int,
    crop: str = "center",
) -> UInt8[np.ndarray, "k h w c"]:
    """Some views of the image in `encoded`, which is decoded once.

    Raises UnreadableImage with `name`. Beside the file's bytes it takes at most about 16 bytes for
    each of MAX_PIXELS, whatever the number of threads; a JPEG that may shrink takes less.
    """
    sides = [views.least_side(view, image_size, crop) for view in wanted]
    least_side = max(sides) if all(sides) else 0
    try:
        with opened(encoded) as image:
            if least_side:  # JPEG decodes cheaply at 1/2, 1/4 or 1/8
                image.draft(None, (least_side, least_side))
            is_large = image.width * image.height > LARGE
            with ONE_LARGE if is_large else contextlib.nullcontext():
                image.load()
                plain = upright(image, channels, least_side)
                return np.stack([views.render(plain, view, image_size, crop) for view in wanted])
    except MemoryError:
        raise
    except Exception as failure:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise unreadable(name, failure) from failure


def opened(encoded: bytes) -> Image.Image:
    """The image in a file's bytes, not yet unpacked; raises what is for `unreadable` to tell."""
    if not encoded:
        raise ValueError("the file is empty")
    image = Image.open(io.BytesIO(png_text.without(encoded)), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    _check_work(image, encoded)
    return image


def _check_work(image: Image.Image, encoded: bytes) -> None:
    """Raises ValueError for a file that takes far more to unpack than its pixels do."""
    pixels = image.width * image.height
    if pixels > max(LARGE, MAX_PIXELS_A_BYTE * len(encoded)):
        raise ValueError(f"it claims {pixels:,} pixels in {len(encoded):,} bytes")
    # Between markers, a JPEG never holds these two bytes together.
    scans = encoded.count(b"\xff\xda") if image.format == "JPEG" else 0
    if scans > (USUAL_SCANS if pixels > MAX_PIXELS_OF_MANY else MAX_SCANS):
        raise ValueError(f"it is unpacked in {scans} passes")
    if image.format == "TIFF":
        width, height = (int(cast(Any, image).tag_v2.get(tag, 0)) for tag in TILE_SIZE)
        if width * height > max(MAX_TILE, 4 * image.width * image.height):
            raise ValueError(f"it claims tiles of {width}x{height} pixels")


def unreadable(name: str, failure: Exception) -> UnreadableImage:
    """What is raised for the image `name`, in one line."""
    if isinstance(failure, UnidentifiedImageError):  # its own text names a Python object
        reason = "no image format known here"
    elif isinstance(failure, Image.DecompressionBombError | Image.DecompressionBombWarning):
        reason = f"it has more than {MAX_PIXELS:,} pixels"
    elif isinstance(failure, OSError) and failure.strerror:
        reason = failure.strerror
    else:
        reason = errors.reason(failure)
    return UnreadableImage(
        f"{name} cannot be read as an image ({reason}); replace or remove the file"
    )


def fit(image: Image.Image, image_size: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """Upright, shorter side resized to `image_size`, centre cropped, gray (1) or RGB (3)."""
    plain = upright(image, channels, 2 * image_size)
    return views.render(plain, views.PLAIN, image_size, "center")


def upright(image: Image.Image, channels: int, least_side: int = 0) -> Image.Image:
    """`image` as its EXIF orientation says, gray or RGB, transparent parts over white.

    A very large one is shrunk, its shorter side to no less than `least_side`.
    """
    orientation = image.getexif().get(ORIENTATION, 1)
    image = _shrink(_to_eight_bits(image), least_side)
    image = _to_mode(image, MODES[channels])
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Levels of 0 to 255: 16-bit gray scaled down, palettes and bitmaps resolved."""
    if image.mode.startswith("I"):  # Pillow's own conversion would clip it
        values = np.asarray(image)
        if values.dtype != np.uint16:
            values = np.clip(values, 0, 65535)
        return Image.fromarray((values // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode in ("P", "PA"):
        is_opaque = image.mode == "P" and "transparency" not in image.info
        return image.convert("RGB" if is_opaque else "RGBA")
    if "transparency" in image.info or image.mode in ("La", "RGBa"):
        return image.convert("RGBA")
    return image.convert("L") if image.mode == "1" else image


def _shrink(image: Image.Image, least_side: int) -> Image.Image:
    if not least_side or image.width * image.height <= LARGE:
        return image
    factor = min(image.size) // least_side
    if factor < 2:
        return image
    # Whole blocks only, so that nothing is stretched; what is left over is cut off all around.
    width, height = (side // factor * factor for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.reduce(factor, box=(left, top, left + width, top + height))


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """`image` as L or RGB, transparent parts over white."""
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
        colours = "L" if image.mode == "LA" else "RGB"
        white = Image.new(colours, image.size, "white")
        white.paste(image.convert(colours), mask=alpha)
        image = white
    return image if image.mode == mode else image.convert(mode)


@overload
def to_unit(images: UInt8[Array, "*b h w c"]) -> Float32[Array, "*b h w c"]: ...
@overload
def to_unit(images: UInt8[np.ndarray, "*b h w c"]) -> Float32[np.ndarray, "*b h w c"]: ...
def to_unit(
    images: UInt8[Array | np.ndarray, "*b h w c"],
) -> Float32[Array | np.ndarray, "*b h w c"]:
    """0..255 to [-1, 1]; on the host or traced."""
    return images.astype(np.float32) / 127.5 - 1.0


@overload
def to_bytes(images: Float32[Array, "*b h w c"]) -> UInt8[Array, "*b h w c"]: ...
@overload
def to_bytes(images: Float32[np.ndarray, "*b h w c"]) -> UInt8[np.ndarray, "*b h w c"]: ...
def to_bytes(
    images: Float32[Array | np.ndarray, "*b h w c"],
) -> UInt8[Array | np.ndarray, "*b h w c"]:
    """[-1, 1] to 0..255, what lies outside cut off; on the host or traced."""
    return ((images + 1.0) * 127.5).round().clip(0, 255).astype(np.uint8)
