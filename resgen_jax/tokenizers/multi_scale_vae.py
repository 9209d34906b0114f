"""The multi-scale tokenizer of VAR: the VQGAN family's networks around a quantizer by scales."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import errors, keys
from resgen_jax.quantizers import multi_scale
from resgen_jax.tokenizers import rq_vae

PyTree = Any


class MultiScaleVae(NamedTuple):
    """Images to the codes of all scales and back, as pure functions of the parameters.

    Images are float32 "b h w c" in [-1, 1]; codes are int32 "b length", from the smallest scale
    up, each row by row. Parameters are {"networks", "quantizer"}, all learnt by gradients.
    """

    init: Callable[[PRNGKeyArray], PyTree]
    latents: Callable[[PyTree, Any], Any]  # params, images -> "b h w c"
    encode: Callable[[PyTree, Any], Any]  # params, images -> codes
    decode: Callable[[PyTree, Any], Any]  # params, codes (or those of the first scales) -> images
    codebook: Callable[[PyTree], Any]  # params -> "v c"
    axes: PyTree


def make(spec: rq_vae.Spec, scales: multi_scale.Spec, codebook_size: int) -> MultiScaleVae:
    """The functions of the tokenizer; UserError where the scales do not end at the grid's side.

    VAR's own has width 160, multipliers (1, 1, 2, 2, 4), fused attention at 16 x 16, a bridge of
    3 x 3, 32 channels and 4,096 codes (VAR section 3.2).
    """
    if spec.grid != (scales.grid_side,) * 2:
        raise errors.UserError(
            f"the grid is {spec.grid[0]} x {spec.grid[1]} and the scales end at "
            f"{scales.grid_side}; choose scales that end at {spec.grid[0]}"
        )
    network = rq_vae.make(spec)

    def init(key: PRNGKeyArray) -> PyTree:
        use = keys.named_keys(key, "networks", "quantizer")
        quantizer = multi_scale.init(use["quantizer"], scales, codebook_size, spec.code_dim)
        return {"networks": network.init(use["networks"]), "quantizer": quantizer}

    def latents(params: PyTree, images: Float[Array, "b h w c"]) -> Float[Array, "b gh gw c2"]:
        flat = network.apply(params["networks"], images, method="encode")
        return flat.reshape(flat.shape[0], *spec.grid, -1)

    def encode(params: PyTree, images: Float[Array, "b h w c"]) -> Int[Array, "b length"]:
        return multi_scale.encode(params["quantizer"], latents(params, images), scales)

    def decode(params: PyTree, codes: Int[Array, "b length"]) -> Float[Array, "b h w c"]:
        quantized = multi_scale.decode(params["quantizer"], codes, scales)
        flat = quantized.reshape(quantized.shape[0], -1, quantized.shape[-1])
        return network.apply(params["networks"], flat, method="decode")

    quantizer_axes = jax.tree.map(
        lambda leaf: (None,) * leaf.ndim,
        jax.eval_shape(
            lambda: multi_scale.init(jax.random.key(0), scales, codebook_size, spec.code_dim)
        ),
    )
    return MultiScaleVae(
        init=init,
        latents=latents,
        encode=encode,
        decode=decode,
        codebook=lambda params: params["quantizer"]["codebook"],
        axes={"networks": network.axes, "quantizer": quantizer_axes},
    )
