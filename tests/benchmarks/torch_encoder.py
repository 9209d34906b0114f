"""RQ-VAE's encoder on plain PyTorch functions, with our parameters: a peer to be timed beside."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from resgen_jax.tokenizers import rq_vae


class Encoder:
    """Images "b c h w" to latents "b l c"."""

    def __init__(self, spec: rq_vae.Spec, params: Mapping[str, Any], layout: torch.memory_format):
        self.spec = spec
        self.params = {"encoder": _tensors(params["encoder"], layout)}
        if spec.bridge_size:
            self.params["bridge_in"] = _tensors(params["bridge_in"], layout)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        layers, side = self.params["encoder"], self.spec.patch_size
        folded = functional.pixel_unshuffle(images, side) if side > 1 else images
        if side > 1:  # pixel_unshuffle puts the colour first, `fold` puts it last
            batch, _, height, width = folded.shape
            folded = folded.reshape(batch, -1, side * side, height, width).transpose(1, 2)
            folded = folded.reshape(batch, -1, height, width)
        values = _convolve(layers["conv_in"], folded)
        for stage in layers["stages"].values():
            values = _stage(stage, values)
        values = _middle(layers["middle"], values)
        values = _convolve(layers["conv_out"], _activate(layers["norm"], values))
        if "bridge_in" in self.params:
            values = _convolve(self.params["bridge_in"], values)
        return values.flatten(2).transpose(1, 2)


def _tensors(tree: Mapping[str, Any], layout: torch.memory_format) -> dict[str, Any]:
    """Nested tensors; kernels HWIO become OIHW."""
    found = {}
    for name, leaf in tree.items():
        if isinstance(leaf, Mapping):
            found[name] = _tensors(leaf, layout)
        elif name == "kernel":
            kernel = np.array(leaf).transpose(3, 2, 0, 1).copy()  # PyTorch wants to own it
            found[name] = torch.from_numpy(kernel).contiguous(memory_format=layout)
        else:
            found[name] = torch.from_numpy(np.array(leaf))
    return found


def _convolve(layer, values):
    size = layer["kernel"].shape[-1]
    return functional.conv2d(values, layer["kernel"], layer["bias"], padding=size // 2)


def _activate(norm, values):
    channels = values.shape[1]
    groups = next(n for n in range(min(32, max(1, channels // 4)), 0, -1) if channels % n == 0)
    return functional.silu(
        functional.group_norm(values, groups, norm["scale"], norm["bias"], eps=1e-6)
    )


def _block(layer, values):
    hidden = _convolve(layer["conv_in"], _activate(layer["norm_in"], values))
    hidden = _convolve(layer["conv_out"], _activate(layer["norm_out"], hidden))
    return hidden + (_convolve(layer["skip"], values) if "skip" in layer else values)


def _attention(layer, values):
    batch, channels, height, width = values.shape
    groups = next(n for n in range(min(32, max(1, channels // 4)), 0, -1) if channels % n == 0)
    normed = functional.group_norm(
        values, groups, layer["norm"]["scale"], layer["norm"]["bias"], eps=1e-6
    )
    if "project" in layer:
        parts = _convolve(layer["project"], normed).chunk(3, dim=1)
    else:
        parts = [_convolve(layer[name], normed) for name in ("query", "key", "value")]
    query, key, value = (part.flatten(2).transpose(1, 2) for part in parts)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    mixed = mixed.transpose(1, 2).reshape(batch, channels, height, width)
    return values + _convolve(layer["out"], mixed)


def _stage(stage, values):
    attentions = stage.get("attentions", {})
    for name, block in stage.get("blocks", {}).items():
        values = _block(block, values)
        if name in attentions:
            values = _attention(attentions[name], values)
    if "resize" in stage:
        layer = stage["resize"]["conv"]
        padded = functional.pad(values, (0, 1, 0, 1))
        values = functional.conv2d(padded, layer["kernel"], layer["bias"], stride=2)
    return values


def _middle(middle, values):
    for name, block in middle.get("blocks", {}).items():
        values = _block(block, values)
        if name == "0" and "attention" in middle:
            values = _attention(middle["attention"], values)
    return values
