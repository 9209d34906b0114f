"""The autoencoder of the VQGAN family by its published names: its sizes, and a rule for each."""

import functools
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from resgen_jax.convert import rules, torch_files, wrappers
from resgen_jax.core import errors, trees
from resgen_jax.tokenizers import rq_vae

Arrays = Mapping[str, np.ndarray]

# Averaged weights where there are some.
SECTIONS = ("state_dict_ema", "state_dict", "")
PUBLISHED_GROUPS = 32
# Our paths -> published names; the first that matches is used, then the rest of the path goes on.
NAMES = (
    (r"(encoder|decoder)/middle/blocks/(\d+)", lambda m: f"{m[1]}.mid.block_{int(m[2]) + 1}"),
    (r"(encoder|decoder)/middle/attention", lambda m: f"{m[1]}.mid.attn_1"),
    (r"(encoder|decoder)/norm", lambda m: f"{m[1]}.norm_out"),
    (r"(encoder|decoder)/(conv_in|conv_out)", lambda m: f"{m[1]}.{m[2]}"),
    (r"bridge_in", lambda m: "quant_conv"),
    (r"bridge_out", lambda m: "post_quant_conv"),
)
STAGE = re.compile(r"(encoder|decoder)/stages/(\d+)/(blocks/\d+|attentions/\d+|resize/conv)(/.*)")
LAYERS = {
    "blocks": {
        "norm_in": "norm1",
        "conv_in": "conv1",
        "norm_out": "norm2",
        "conv_out": "conv2",
        "skip": "nin_shortcut",
    },
    "attention": {
        "norm": "norm",
        "query": "q",
        "key": "k",
        "value": "v",
        "project": "qkv",
        "out": "proj_out",
    },
}
LEAVES = {
    "kernel": ("weight", rules.kernel),
    "scale": ("weight", rules.same),
    "bias": ("bias", rules.same),
}


class State(NamedTuple):
    """The arrays of a file by their published names, and what was done to find them."""

    arrays: dict[str, np.ndarray]
    remarks: tuple[str, ...]


def read_state(path: str | os.PathLike, wanted: tuple[str, ...] = SECTIONS) -> State:
    """The arrays of the first of the `wanted` sections that the file has, or of its only one.

    A prefix that a wrapper put before all of the names is taken off.
    """
    found, remarks = torch_files.sections(path), []
    section = next((name for name in wanted if name in found), None)
    if section is None and len(found) == 1:
        section = found[0]
        remarks.append(f"weights are read from the file's only section, {section!r}")
    arrays, prefix = wrappers.unwrapped(torch_files.read(path, section or None))
    if prefix:
        remarks.append(f"all names begin by {prefix!r}, which is taken off")
    return State(arrays, tuple(remarks))


def spec_of(arrays: Arrays, image_size: int, where: str) -> rq_vae.Spec:
    """The sizes of the autoencoder in `arrays`; only that of the images is not among them.

    Raises UserError where the arrays are of another network, or of one that we have no sizes for.
    """

    def size(*places: tuple[str, int]) -> int:
        """The first of these axes that is there: one array that lacks is named with all others."""
        for name, axis in places:
            if name in arrays and arrays[name].ndim > axis:
                return arrays[name].shape[axis]
        raise errors.UserError(
            f"{where} is no autoencoder of the VQGAN family: it has no array {places[0][0]} in its "
            f"shape; it has {', '.join(sorted(arrays)[:3])} and so on"
        )

    def outputs(layer: str) -> int:
        return size((f"{layer}.weight", 0), (f"{layer}.bias", 0))

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in arrays)

    width = outputs("encoder.conv_in")
    num_levels = count(arrays, r"encoder\.down\.(\d+)\..*")
    widths = [outputs(f"encoder.down.{level}.block.0.conv2") for level in range(num_levels)]
    if not widths or any(each % width for each in widths) or widths[0] != width:
        raise errors.UserError(
            f"{where} has levels of {widths} channels behind a first convolution of {width}; "
            "expected whole multiples of it, beginning with itself"
        )
    if width < 4 * PUBLISHED_GROUPS:
        raise errors.UserError(
            f"{where} has levels of {width} channels, normalised in {PUBLISHED_GROUPS} groups; "
            f"here groups have at least 4 channels, so that only {4 * PUBLISHED_GROUPS} and more "
            "channels give the same network"
        )
    sides = [image_size >> level for level in range(num_levels)]
    has_attention = [has(f"encoder.down.{level}.attn.") for level in range(num_levels)]
    return rq_vae.Spec(
        image_size=image_size,
        channels=size(("encoder.conv_in.weight", 1), ("decoder.conv_out.bias", 0)),
        width=width,
        multipliers=tuple(each // width for each in widths),
        num_res_blocks=count(arrays, r"encoder\.down\.0\.block\.(\d+)\..*"),
        num_decoder_res_blocks=count(arrays, r"decoder\.up\.0\.block\.(\d+)\..*"),
        attention_sizes=tuple(side for side, has in zip(sides, has_attention, strict=True) if has),
        attention="fused" if any(".qkv." in name for name in arrays) else "separate",
        has_middle_attention=has("encoder.mid.attn_1."),
        latent_channels=outputs("encoder.conv_out"),
        bridge_size=size(("quant_conv.weight", 2), ("post_quant_conv.weight", 2)),
        code_dim=outputs("quant_conv"),
    )


@functools.cache
def shapes_of(spec: rq_vae.Spec) -> dict:
    """The tree of parameters, without numbers."""
    return jax.eval_shape(rq_vae.make(spec).init, jax.random.key(0))


def rules_of(spec: rq_vae.Spec, prefix: str = "") -> list[rules.Rule]:
    """The rule for each parameter; its path begins by `prefix`."""
    last = len(spec.multipliers) - 1
    table = []
    for path in trees.named_leaves(shapes_of(spec)):
        parent, _, leaf = path.rpartition("/")
        word, transform = LEAVES[leaf]
        table.append(rules.copy(f"{_published(parent, last)}.{word}", prefix + path, transform))
    return table


def _published(path: str, last: int) -> str:
    """The published name of a layer; its decoder counts stages from the full resolution."""
    if match := STAGE.fullmatch(f"{path}/"):
        side, index, part, rest = match.groups()
        is_encoder = side == "encoder"
        level = int(index) if is_encoder else last - int(index)
        kind, number = part.split("/")
        stage = f"{side}.{'down' if is_encoder else 'up'}.{level}"
        if kind == "resize":
            return f"{stage}.{'downsample' if is_encoder else 'upsample'}.conv"
        word = {"blocks": "block", "attentions": "attn"}[kind]
        return f"{stage}.{word}.{number}{_layer(rest.strip('/'), kind)}"
    for pattern, name in NAMES:
        if match := re.match(pattern, path):
            rest = path[match.end() :].strip("/")
            return name(match) + (_layer(rest, match[0].split("/")[2]) if rest else "")
    raise KeyError(path)


def _layer(name: str, kind: str) -> str:
    return "." + LAYERS["blocks" if kind == "blocks" else "attention"][name]


def table_size(arrays: Arrays, name: str, spec: rq_vae.Spec, where: str) -> tuple[int, int]:
    """Rows and columns of a codebook.

    Raises UserError where it is not there, no table, or its vectors are not the latents' own.
    """
    shape = arrays[name].shape if name in arrays else ()
    if len(shape) != 2:
        state = f"is of the shape {shape}" if name in arrays else "is missing"
        raise errors.UserError(f"{where}: {name} {state}; expected a table (codes, channels)")
    if shape[1] != spec.code_dim:
        raise errors.UserError(
            f"{where}: {name} has {shape[1]} channels and quant_conv gives {spec.code_dim}: its "
            "codes are of patches of latents (code_shape is not latent_shape), or on a projection "
            "of them, which cannot be read; take a file whose codebook has the channels of "
            "quant_conv"
        )
    return shape


def count(arrays: Arrays, pattern: str) -> int:
    """One more than the largest number in the names that match."""
    numbers = (re.fullmatch(pattern, name) for name in arrays)
    return max((int(match[1]) + 1 for match in numbers if match), default=0)
