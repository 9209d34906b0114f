"""What the rest of the library knows of a tokenizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

from resgen_jax.nn import functional


class Tokenizer(NamedTuple):
    """Images to RVQ codes and back, as pure functions of parameters and codebook statistics.

    Images are float32 in [-1, 1], "b h w c"; codes are int32, "b l q", the grid row by row. There
    is no optimizer, no loss and no discriminator in it: a task adds them to train one.
    """

    network: functional.Network
    init: Callable[[Any], dict[str, Any]]  # key -> {"params", "statistics"}
    axes: dict[str, Any]  # the same tree, with the logical axes of each array
    encode: Callable[[Any, Any, Any], Any]  # params, statistics, images -> codes "b l q"
    decode: Callable[[Any, Any, Any], Any]  # params, statistics, codes "b l p" -> images
    decode_vectors: Callable[[Any, Any], Any]  # params, sums of vectors "b l c" -> images
    codebooks: Callable[[Any], Any]  # statistics -> float32 "q v c"
    grid: tuple[int, int]
    depth: int
    codebook_size: int
    code_dim: int
    image_size: int
    channels: int
