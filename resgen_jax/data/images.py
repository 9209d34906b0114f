"""Image files to arrays of one size, and arrays back to the range networks see."""

import io
import pathlib

import numpy as np
from jaxtyping import Array, Float32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from resgen_jax.core import errors

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MODES = {1: "L", 3: "RGB"}


class UnreadableImage(errors.UserError):
    """A file that is not an image, or only the beginning of one."""


def read(path: pathlib.Path, image_size: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """The image in `path`, fitted to `image_size`.

    Raises UnreadableImage, naming the file, whatever the decoder's complaint is.
    """
    try:
        encoded = path.read_bytes()
        if not encoded:
            raise ValueError("the file is empty")
        with Image.open(io.BytesIO(encoded)) as image:
            # JPEG decodes cheaply at 1/2, 1/4 or 1/8; twice the size leaves the resize its work.
            image.draft(None, (2 * image_size, 2 * image_size))
            image.load()
            return fit(image, image_size, channels)
    except MemoryError:
        raise
    except Exception as failure:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise UnreadableImage(
            f"{path} cannot be read as an image ({_reason(failure)}); replace or remove the file"
        ) from failure


def _reason(failure: Exception) -> str:
    if isinstance(failure, UnidentifiedImageError):  # its own text names a Python object
        return "no image format known here"
    return str(failure).splitlines()[0] if str(failure) else type(failure).__name__


def fit(image: Image.Image, image_size: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """Upright, shorter side resized to `image_size`, centre cropped, gray (1) or RGB (3)."""
    image = _to_mode(ImageOps.exif_transpose(image), MODES[channels])
    side = min(image.size)
    if image.size != (image_size, image_size):
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize(
            (image_size, image_size),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
    return np.array(image, np.uint8).reshape(image_size, image_size, channels)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """`image` as L or RGB: transparent parts over white, 16 bits down to 8."""
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip it
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def to_unit(
    images: UInt8[Array | np.ndarray, "*b h w c"],
) -> Float32[Array | np.ndarray, "*b h w c"]:
    """0..255 to [-1, 1]; on the host or traced."""
    return images.astype(np.float32) / 127.5 - 1.0


def to_bytes(
    images: Float32[Array | np.ndarray, "*b h w c"],
) -> UInt8[Array | np.ndarray, "*b h w c"]:
    """[-1, 1] to 0..255, what lies outside cut off; on the host or traced."""
    return ((images + 1.0) * 127.5).round().clip(0, 255).astype(np.uint8)
