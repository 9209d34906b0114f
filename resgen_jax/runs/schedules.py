"""What another number of steps does to the learning rate of a run that goes on, in words."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.io import paths
from resgen_jax.runs import run_directory
from resgen_jax.training import optimizer
from resgen_jax.training.checkpoints import restoring

NUM_PROBES = 16


def change(config: Any, workdir: str | os.PathLike) -> str | None:
    """The rate before and after, and how to keep it; None where nothing changes."""
    saved = restoring.steps(workdir)
    if not saved or not (paths.of(workdir) / run_directory.FILE).is_file():
        return None
    before = run_directory.read(workdir, config.task)
    (was, old), (now, new) = (_rates(each) for each in (before, config))
    step = saved[-1]
    probes = jnp.linspace(step, max(was, now, step + 1) - 1, NUM_PROBES).astype(jnp.int32)
    if np.allclose(jax.vmap(old)(probes), jax.vmap(new)(probes)):
        return None
    last, following = float(old(jnp.int32(max(step - 1, 0)))), float(new(jnp.int32(step)))
    words = f"the learning rate was {last:.2g} at step {step} and goes on at {following:.2g}"
    spec = config.optimizer
    if spec.rewarm_at or now - was < max(spec.warmup_steps, 1):
        return words
    return (
        f"{words}: it now decays over {now} steps, not {was}. To keep what it was until step {was} "
        f"and warm up and decay anew from there: --config.optimizer.rewarm_at={was}"
    )


def _rates(config: Any) -> tuple[int, optimizer.Schedule]:
    num_steps = config.train.num_steps
    return num_steps, optimizer.schedule(config.optimizer, num_steps)
