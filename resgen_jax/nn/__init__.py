"""Floor 3: building blocks of networks, and networks as pure functions (`functional`)."""

from resgen_jax.nn import (
    attention,
    conv2d,
    dropout,
    flops,
    functional,
    linear,
    modulation,
    positions,
    transformer,
)

__all__ = [
    "attention",
    "conv2d",
    "dropout",
    "flops",
    "functional",
    "linear",
    "modulation",
    "positions",
    "transformer",
]
