"""Names as a network has them, from files where wrappers put a prefix before all of them."""

from collections.abc import Mapping, Sequence

import numpy as np

# DataParallel and averages of weights, latent diffusion, Lightning, torch.compile.
PREFIXES = ("module.", "first_stage_model.", "model.", "_orig_mod.")
MAX_WRAPPERS = 4  # of one network, so that no file keeps us busy by its names
COUNTER = "n_averaged"  # beside the names in torch's AveragedModel


def unwrapped(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """The arrays by their own names, and the prefix that was before all of them, "" for none."""
    taken = ""
    names = [name for name in arrays if name != COUNTER]
    for _ in range(MAX_WRAPPERS):
        taken += _common([name.removeprefix(taken) for name in names])
    if not taken:
        return dict(arrays), ""
    return {name.removeprefix(taken): arrays[name] for name in names}, taken


def _common(names: Sequence[str]) -> str:
    """The first of the prefixes that all names begin by."""
    for prefix in PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    return ""
