"""The discriminator that was trained beside a published VQGAN or RQ-VAE."""

import os
from typing import Any

import jax
import numpy as np

from resgen_jax.convert import rules, torch_files, wrappers
from resgen_jax.core import errors
from resgen_jax.tokenizers import discriminators

PyTree = Any

SECTION = "discriminator"  # of RQ-VAE's checkpoints
PREFIX = "loss.discriminator."  # in those of VQGAN
# Moving averages: a discriminator is only used while it trains, by the statistics of its batch.
IGNORED = (r"main\.\d+\.(running_mean|running_var|num_batches_tracked)",)


def convert(
    path: str | os.PathLike, *, image_size: int = 256
) -> tuple[discriminators.Spec, PyTree]:
    """Spec and parameters of the PatchGAN in a checkpoint; UserError where there is none."""
    where = f"{path}, discriminator"
    arrays = _arrays(path)
    kernels = sorted(
        (int(name.split(".")[1]), name) for name, array in arrays.items() if array.ndim == 4
    )
    if len(kernels) < 3:
        raise errors.UserError(f"{where}: no PatchGAN with batch normalisation in it")
    first, *middle, (last, _) = kernels
    width, channels = arrays[first[1]].shape[:2]
    spec = discriminators.Spec(image_size, channels, "patch_gan", width, len(middle))
    table = [*rules.conv(f"main.{first[0]}", "convs/0"), *rules.conv(f"main.{last}", "conv_out")]
    for index, (number, name) in enumerate(middle):
        table += [
            rules.copy(name, f"convs/{index + 1}/kernel", rules.kernel),
            *rules.norm(f"main.{number + 1}", f"norms/{index}"),
        ]
    shapes = jax.eval_shape(discriminators.make(spec).init, jax.random.key(0))
    return spec, rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)


def _arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    if SECTION in torch_files.sections(path):
        return wrappers.unwrapped(torch_files.read(path, SECTION))[0]
    arrays, _ = wrappers.unwrapped(torch_files.read(path, "state_dict"))
    return {
        name.removeprefix(PREFIX): array
        for name, array in arrays.items()
        if name.startswith(PREFIX)
    }
