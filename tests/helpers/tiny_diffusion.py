"""Diffusion on latents at its smallest, and latents for it."""

import jax.numpy as jnp
import numpy as np

from resgen_jax.core import spaces
from resgen_jax.generators import diffusion_transformer
from resgen_jax.training import diffusion_loss, diffusion_task, optimizer

LENGTH, CHANNELS, CLASSES = 4, 3, 3
SPACE = spaces.Space(
    spaces.Latents(CHANNELS, mean=0.5, deviation=2.0), LENGTH, condition=spaces.Class(CLASSES)
)
SPEC = diffusion_transformer.Spec(num_layers=2, width=8, num_heads=2, mlp_ratio=2, remat="none")
OPTIMIZER = optimizer.Spec(learning_rate=1e-2, clip_norm=1.0)
STEPS = diffusion_loss.LossSpec(noise="squared_cosine", prediction="noise", times="uniform")
NUM_STEPS = 10


def task(model=SPEC, loss=None, optimizer_spec=OPTIMIZER, num_steps=NUM_STEPS):
    """SiT's, unless the loss is another."""
    loss = loss or diffusion_loss.LossSpec()
    return diffusion_task.DiffusionTask(model, loss, optimizer_spec, num_steps, SPACE)


def batch(num_rows=8, seed=0):
    """Latents of the scale of the space, with labels."""
    random = np.random.default_rng(seed)
    latents = 0.5 + 2 * random.normal(size=(num_rows, LENGTH, CHANNELS))
    return {
        "latents": jnp.asarray(latents, jnp.float32),
        "labels": jnp.asarray(random.integers(0, CLASSES, num_rows), jnp.int32),
    }
