"""Floor 2: building blocks of networks, and networks as pure functions (`functional`)."""

from resgen_jax.nn import (
    attention,
    causal,
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
    "causal",
    "conv2d",
    "dropout",
    "flops",
    "functional",
    "linear",
    "modulation",
    "positions",
    "transformer",
]
