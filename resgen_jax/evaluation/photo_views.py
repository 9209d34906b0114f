"""How the judge of photographs sees its training images: windows of them, half of them mirrored."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt8

from resgen_jax.core import keys
from resgen_jax.evaluation.photo_spec import Spec

Window = tuple[tuple[int, int], int]  # its sides, and how far it may reach beyond the image


def window(spec: Spec, sides: tuple[int, int], done: float) -> Window:
    """What is shown when this share of the training is done: crops, at the end whole images.

    Crops cost less and vary more. The last steps see what the judge will see.
    """
    if done >= spec.whole_from:
        return sides, round(spec.max_shift_ratio * max(sides))
    height, width = (math.ceil(spec.crop_ratio * side) for side in sides)
    return (height, width), 0


def draw(
    key: PRNGKeyArray, images: UInt8[Array, "b h w c"], sides: tuple[int, int], border: int
) -> UInt8[Array, "b i j c"]:
    """A window of `sides` of each image, anywhere in it and in `border` mirrored pixels around.

    Every other one, at random, is mirrored.
    """
    margins = ((0, 0), (border, border), (border, border), (0, 0))
    padded = jnp.pad(images, margins, mode="reflect")
    use = keys.named_keys(key, "rows", "columns", "mirror")
    room = [whole - side + 1 for whole, side in zip(padded.shape[1:3], sides, strict=True)]
    count = (images.shape[0],)
    rows = jax.random.randint(use["rows"], count, 0, room[0])
    columns = jax.random.randint(use["columns"], count, 0, room[1])

    def cut(image, row, column):
        return jax.lax.dynamic_slice(image, (row, column, 0), (*sides, images.shape[-1]))

    seen = jax.vmap(cut)(padded, rows, columns)
    is_mirrored = jax.random.bernoulli(use["mirror"], shape=count)
    return jnp.where(is_mirrored[:, None, None, None], seen[:, :, ::-1], seen)
