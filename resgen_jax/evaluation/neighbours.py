"""The real images that look most like given ones: whether a generator copies what it has seen."""

import numpy as np
from jaxtyping import Float32, Int, UInt8

BLOCK = 1000  # real images that are compared at a time


def nearest(
    images: UInt8[np.ndarray, "n h w c"], among: UInt8[np.ndarray, "z h w c"], count: int
) -> tuple[Int[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
    """Rows of the `count` nearest of `among`, nearest first, and the root mean square difference.

    That is of pixels from 0 to 255. Fewer where `among` has fewer.
    """
    rows = _flat(images)
    squares = np.concatenate(
        [_squares(rows, _flat(among[i : i + BLOCK])) for i in range(0, len(among), BLOCK)], axis=1
    )
    order = np.argsort(squares, axis=1, kind="stable")[:, :count]
    return order, np.sqrt(np.take_along_axis(squares, order, axis=1))


def _flat(images: np.ndarray) -> Float32[np.ndarray, "n p"]:
    return images.reshape(len(images), -1).astype(np.float32)


def _squares(
    rows: Float32[np.ndarray, "n p"], others: Float32[np.ndarray, "z p"]
) -> Float32[np.ndarray, "n z"]:
    """Mean square difference of every pair; of equal ones 0, whatever is rounded."""
    products = rows @ others.T
    sums = np.sum(rows**2, axis=1)[:, None] + np.sum(others**2, axis=1)[None]
    return np.maximum(sums - 2 * products, 0) / np.float32(rows.shape[1])
