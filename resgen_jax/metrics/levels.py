"""Which levels of a quantizer are worth their codes."""

import itertools
import math
from collections.abc import Sequence

LEAST_GAIN = 0.1  # dB of PSNR
TOLERANCE = 0.01  # nats; an estimate of a guess is not exact


def adding_little(psnr_by_depth: Sequence[float], least: float = LEAST_GAIN) -> tuple[int, ...]:
    """The depths, counted from 1, whose last level adds less than `least` dB."""
    pairs = enumerate(itertools.pairwise(psnr_by_depth), start=2)
    return tuple(depth for depth, (without, with_it) in pairs if with_it - without < least)


def worse_than_a_guess(nats_by_level: Sequence[float], codebook_size: int) -> tuple[int, ...]:
    """The levels, 0 = coarse, whose codes cost more nats than drawing one of all codes blindly."""
    guess = math.log(codebook_size) + TOLERANCE
    return tuple(level for level, nats in enumerate(nats_by_level) if nats > guess)
