"""Images laid out on a sheet: tiles in rows and columns, names in the margins, a title above."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from resgen_jax.core import errors

TILE = 80  # small images are enlarged by a whole factor to at most this side
MAX_TILE = 160  # larger ones are shrunk to it
GAP, BORDER = 4, 18
TITLE, SUBTITLE, NAME = 20, 14, 13  # font sizes
MAX_NAME_WIDTH = 180
INK, FAINT, PAPER = "#1b1f24", "#57606a", "#ffffff"
Numbers = Sequence[float | int | np.generic] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything lies on the sheet, in pixels."""

    size: tuple[int, int]  # width, height of the sheet
    tile: tuple[int, int]  # width, height of a tile
    pitch: tuple[int, int]  # from one tile to the next
    origin: tuple[int, int]  # upper left corner of the first tile

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """x and y of the upper left pixel of a tile."""
        return self.origin[0] + column * self.pitch[0], self.origin[1] + row * self.pitch[1]


def image_grid(
    images: UInt8[np.ndarray, "n h w c"],
    columns: int,
    *,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    title: str = "",
    subtitle: str = "",
) -> Image.Image:
    """A sheet of the images, row by row; names may hold line breaks.

    Small images are enlarged without smoothing, so that each pixel stays a square. Raises UserError
    when there is nothing to show or the names do not match the rows and columns.
    """
    rows = _check(images, columns, row_names, column_names)
    row_names = [shorten(name) for name in row_names]
    layout = lay_out(images.shape, columns, row_names, column_names, title, subtitle)
    sheet = Image.new("RGB", layout.size, PAPER)
    for number, image in enumerate(images):
        sheet.paste(_tile(image, layout.tile), layout.corner(*divmod(number, columns)))
    draw = ImageDraw.Draw(sheet)
    draw.text((BORDER, BORDER), title, fill=INK, font=font(TITLE, is_bold=True))
    below = (BORDER, BORDER + text_size(title, TITLE, is_bold=True)[1] + 8)
    draw.multiline_text(below, subtitle, fill=FAINT, font=font(SUBTITLE), spacing=5)
    for row, name in enumerate(row_names[:rows]):
        x, y = layout.corner(row, 0)
        beside = (x - 10, y + layout.tile[1] / 2)
        draw.multiline_text(beside, name, fill=INK, font=font(NAME), anchor="rm", align="right")
    for column, name in enumerate(column_names):
        x, y = layout.corner(0, column)
        above = (x + layout.tile[0] / 2, y - 7)
        draw.multiline_text(above, name, fill=INK, font=font(NAME), anchor="md", align="center")
    return sheet


def lay_out(
    shape: tuple[int, int, int, int],
    columns: int,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    title: str = "",
    subtitle: str = "",
) -> Layout:
    """The layout of `image_grid` for images of `shape` "n h w c"."""
    num_images, height, width, _ = shape
    tile = tile_size(height, width)
    column_widths = [text_size(name, NAME)[0] + 8 for name in column_names]
    pitch = (max([tile[0], *column_widths]) + GAP, tile[1] + GAP)
    name_width = max([text_size(name, NAME)[0] + 10 for name in row_names], default=0)
    heads = [text_size(title, TITLE, is_bold=True), text_size(subtitle, SUBTITLE)]
    head_height = sum(head[1] + 8 for head in heads if head[1])
    column_height = max([text_size(name, NAME)[1] + 12 for name in column_names], default=0)
    left = BORDER + name_width + (pitch[0] - GAP - tile[0]) // 2
    top = BORDER + head_height + column_height + (6 if head_height else 0)
    rows = -(-num_images // columns)
    right = max(left + columns * pitch[0] - GAP, *(BORDER + head[0] for head in heads))
    return Layout(
        size=(right + BORDER, top + rows * pitch[1] - GAP + BORDER),
        tile=tile,
        pitch=pitch,
        origin=(left, top),
    )


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Width and height at which an image is shown."""
    longest = max(height, width)
    if longest > MAX_TILE:
        return round(width * MAX_TILE / longest), round(height * MAX_TILE / longest)
    scale = max(1, TILE // longest)
    return width * scale, height * scale


def pick(count: int, most: int) -> list[int]:
    """At most `most` of `count` numbers, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


@functools.cache
def font(size: int, is_bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which travels with matplotlib, so that no system font is needed."""
    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    return ImageFont.truetype(pathlib.Path(matplotlib.get_data_path(), "fonts/ttf", name), size)


def text_size(text: str, size: int, *, is_bold: bool = False) -> tuple[int, int]:
    """Width and height of a text of one or more lines; nothing takes no room."""
    if not text:
        return 0, 0
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    spacing = 5 if size == SUBTITLE else 4
    _, _, right, bottom = draw.multiline_textbbox(
        (0, 0), text, font=font(size, is_bold), spacing=spacing
    )
    return int(np.ceil(right)), int(np.ceil(bottom))


def shorten(name: str) -> str:
    """Each line of a name, cut with an ellipsis where it would be too wide for the margin."""
    return "\n".join(_shorten_line(line) for line in name.split("\n"))


def _shorten_line(line: str) -> str:
    if text_size(line, NAME)[0] <= MAX_NAME_WIDTH:
        return line
    while text_size(line + "…", NAME)[0] > MAX_NAME_WIDTH:
        line = line[:-1]
    return line.rstrip() + "…"


def _tile(image: UInt8[np.ndarray, "h w c"], size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    is_enlarged = size[0] >= picture.width
    method = Image.Resampling.NEAREST if is_enlarged else Image.Resampling.LANCZOS
    return picture.convert("RGB").resize(size, method)


def _check(images, columns, row_names, column_names) -> int:
    num_images, _, _, channels = images.shape
    if not num_images or columns < 1 or channels not in (1, 3):
        raise errors.UserError(
            f"{num_images} images of {channels} channels in {columns} columns make no picture; "
            "expected at least one image and column, and 1 (gray) or 3 (colour) channels"
        )
    rows = -(-num_images // columns)
    for kind, names, count in (("row", row_names, rows), ("column", column_names, columns)):
        if names and len(names) != count:
            raise errors.UserError(f"{len(names)} {kind} names for {count} {kind}s; give one each")
    return rows
