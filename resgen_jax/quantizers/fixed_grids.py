"""Learners that have nothing to learn: residual LFQ and FSQ, their grids written down as codebooks.

What moves is the encoder: the commitment loss keeps its latents within the grid's range.
"""

import functools
from collections.abc import Callable

from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.quantizers import learner, residual_scalar
from resgen_jax.quantizers.learner import Learner, Spec


def lfq(spec: Spec) -> Learner:
    """Corners of a cube, half as large at each level: the codes of `residual_scalar.lfq_encode`.

    Raises UserError where there is not one bit for each channel.
    """
    if spec.codebook_size != 2**spec.code_dim:
        num_bits = spec.codebook_size.bit_length() - 1
        raise errors.UserError(
            f"quantizer codebook_size is {spec.codebook_size} and code_dim {spec.code_dim}; lfq "
            f"expects a bit for each channel, 2^code_dim codes: such as code_dim {num_bits} with "
            f"codebook_size {2**num_bits}"
        )
    return _fixed(spec, functools.partial(residual_scalar.lfq_codebooks, spec.code_dim, spec.depth))


def fsq(spec: Spec) -> Learner:
    """Even grids from -1 to 1, each finer than the last by the levels of its channels.

    The codes of `residual_scalar.fsq_encode` without its bound, by the `fsq_levels` of the spec.
    """
    levels = fsq_levels(spec.codebook_size, spec.code_dim)
    return _fixed(spec, functools.partial(residual_scalar.fsq_codebooks, levels, spec.depth))


def fsq_levels(codebook_size: int, code_dim: int) -> tuple[int, ...]:
    """Levels of each channel that multiply to `codebook_size`, as even as they can be.

    1000 codes of 4 channels are 8 x 5 x 5 x 5, 240 of 3 are 8 x 6 x 5, as Mentzer et al. (2023)
    choose them. Raises UserError where there are more channels than factors.
    """
    most = _num_primes(codebook_size)
    if code_dim > most:
        raise errors.UserError(
            f"quantizer codebook_size is {codebook_size} and code_dim {code_dim}; fsq expects "
            f"codebook_size to be a product of 2 or more levels for each channel: {codebook_size} "
            f"is one for code_dim 1 to {most}"
        )
    return _split(codebook_size, code_dim)


@functools.cache
def _split(product: int, count: int) -> tuple[int, ...]:
    """The `count` factors of smallest sum, largest first: the most even ones."""
    if count == 1:
        return (product,)
    firsts = [
        first
        for first in range(2, product // 2 + 1)
        if product % first == 0 and _num_primes(product // first) >= count - 1
    ]
    splits = [(first, *_split(product // first, count - 1)) for first in firsts]
    return min((tuple(sorted(split, reverse=True)) for split in splits), key=_spread)


def _spread(levels: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return sum(levels), levels


@functools.cache
def _num_primes(number: int) -> int:
    """Prime factors, each as often as it occurs."""
    smallest = next((part for part in range(2, number + 1) if number % part == 0), None)
    return 0 if smallest is None else 1 + _num_primes(number // smallest)


def _fixed(spec: Spec, codebooks: Callable[[], Float[Array, "q v c"]]) -> Learner:
    """A learner whose state is its codebooks, so that they travel with it, and stays."""

    def init(key):
        del key
        return {"codebooks": codebooks()}

    def start(state, latents, key, is_valid=None):
        del latents, key, is_valid
        return state

    def update(state, latents, quantized, key, is_valid=None):
        del latents, quantized, key, is_valid
        return state

    def codebooks_of(state):
        return state["codebooks"]

    axes = {"codebooks": (None, None, None)}
    return Learner(init, start, learner.quantizer(spec, codebooks_of), update, codebooks_of, axes)
