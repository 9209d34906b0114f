"""What the rest of the library knows of a tokenizer."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Tokenizer(NamedTuple):
    """Images to RVQ codes and back, as pure functions of parameters and codebook statistics.

    Images are float32 in [-1, 1], "b h w c"; codes are int32, "b l q", the grid row by row.
    """

    encode: Callable[[Any, Any, Any], Any]  # params, statistics, images -> codes "b l q"
    decode: Callable[[Any, Any, Any], Any]  # params, statistics, codes "b l p" -> images
    codebooks: Callable[[Any], Any]  # statistics -> float32 "q v c"
    grid: tuple[int, int]
    depth: int
    codebook_size: int
    code_dim: int
    image_size: int
    channels: int
