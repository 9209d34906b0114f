"""What arrays and numbers of users have to be, looked at before anything is traced.

Of arrays under `jit` or `vmap` only the shape and the dtype are known, so only those are looked at.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from resgen_jax.core import errors

ROUNDING = 1e-3  # by which pixels may lie outside of [-1, 1]


def array(value: Any, name: str) -> Any:
    """An array of JAX as it is, all else as NumPy's; UserError for lists of rows unlike."""
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        raise errors.UserError(
            f"{name} are no array (rows of different lengths?); give one of one shape"
        ) from None


def whole_numbers(value: Any, name: str) -> Any:
    """The values as integers, whatever the dtype of none; UserError for others, such as 1.7."""
    found = array(value, name)
    if not found.size:
        return found.astype(np.int32)
    if jnp.issubdtype(found.dtype, jnp.integer):
        return found
    if jnp.issubdtype(found.dtype, jnp.floating) and not _is_traced(found):
        found = np.asarray(found, np.float64)
        bad = found[~(np.abs(found) < 2**53) | (found != np.floor(found))]
        if not bad.size:
            return found.astype(np.int64)
        raise errors.UserError(f"{name} hold {bad[0]:g}; expected whole numbers")
    raise errors.UserError(f"{name} are {found.dtype}; expected whole numbers")


def labels(value: Any, num_classes: int) -> Int[Array | np.ndarray, "b"]:
    """Classes "b" as int32; UserError for anything but whole numbers of classes there are."""
    found = whole_numbers(value, "labels")
    if found.ndim != 1:
        raise errors.UserError(f"labels have the shape {found.shape}; expected a list of classes")
    _check_range(found, num_classes, "labels")
    return found.astype(np.int32)


def codes(
    value: Any, shape: tuple[int, ...], codebook_size: int, least: int = 1
) -> Int[Array, "..."]:
    """Codes "b *shape" as int32, of which the last axis may be cut down to `least`.

    Raises UserError for another shape, for what are no integers and beyond the codebook.
    """
    found = array(value, "codes")
    *inner, last = shape
    is_shaped = found.ndim == len(shape) + 1 and found.shape[1:-1] == tuple(inner)
    if not is_shaped or not least <= found.shape[-1] <= last:
        bounds = str(last) if least == last else f"{least} to {last}"
        expected = ", ".join(["b", *map(str, inner), bounds])
        raise errors.UserError(f"codes have the shape {found.shape}; expected ({expected})")
    if not jnp.issubdtype(found.dtype, jnp.integer):
        raise errors.UserError(f"codes are {found.dtype}; expected integers")
    _check_range(found, codebook_size, "codes")
    return jnp.asarray(found.astype(np.int32))


def images(value: Any, image_size: int, channels: int) -> Any:
    """Images "b h w c", uint8 or floats in [-1, 1]; UserError for others."""
    found = array(value, "images")
    expected = (image_size, image_size, channels)
    if found.ndim != 4 or found.shape[1:] != expected:
        raise errors.UserError(
            f"images have the shape {found.shape}; expected (b, {', '.join(map(str, expected))})"
        )
    if found.dtype == jnp.uint8:
        return found
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise errors.UserError(
            f"images are {found.dtype}; expected uint8 of 0 to 255, or floats of -1 to 1"
        )
    if found.size and not _is_traced(found):
        low, high = float(found.min()), float(found.max())
        if not np.isfinite([low, high]).all():
            raise errors.UserError("images hold NaN or infinity; expected floats of -1 to 1")
        if max(-low, high) > 1 + ROUNDING:
            raise errors.UserError(
                f"images are {found.dtype} of {low:g} to {high:g}; expected floats of -1 to 1, or "
                "uint8 of 0 to 255"
            )
    return found


def _check_range(found: Any, count: int, name: str) -> None:
    if _is_traced(found) or not found.size:
        return
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= count:
        raise errors.UserError(f"{name} run from {low} to {high}; expected 0 to {count - 1}")


def _is_traced(value: Any) -> bool:
    return isinstance(value, jax.core.Tracer)
