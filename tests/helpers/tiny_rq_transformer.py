"""RQ-Transformer at its smallest: random parameters, codebooks, codes and a task for it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.core import spaces
from resgen_jax.generators import rq_transformer
from resgen_jax.training import optimizer, rq_transformer_loss, rq_transformer_task

SPACE = spaces.image_codes(grid=(2, 3), depth=4, codebook_size=7, code_dim=5, num_classes=3)
OPTIMIZER = optimizer.Spec(learning_rate=1e-2, clip_norm=1.0)
SPEC = rq_transformer.Spec(width=12, num_heads=3, num_body_layers=2, num_head_layers=2)


def random_params(network):
    """Parameters with no zeros or ones among them, so that each of them matters."""
    random = np.random.default_rng(1)

    def normal(path, leaf):
        # So that what the network has read makes a difference to the codes that are drawn.
        name = jax.tree_util.keystr(path[-1:], simple=True)
        scale = {"classes": 1.0, "kernel": 0.3, "scale": 1.0}.get(name, 0.1)
        return jnp.asarray(random.normal(0, scale, leaf.shape), leaf.dtype)

    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(normal, shapes)


def codebooks(seed=2):
    """One for each level."""
    shape = SPACE.codes.depth, SPACE.codes.codebook_size, SPACE.codes.code_dim
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def codes(batch_size=2, seed=0):
    """Random ones."""
    shape = batch_size, SPACE.max_length, SPACE.codes.depth
    random = np.random.default_rng(seed)
    return jnp.asarray(random.integers(0, SPACE.codes.codebook_size, shape), jnp.int32)


def batch(batch_size=8, seed=0):
    """Random codes with labels."""
    labels = np.random.default_rng(seed).integers(0, SPACE.num_classes, batch_size)
    return {
        "codes": codes(batch_size, seed),
        "labels": jnp.asarray(labels, jnp.int32),
        "index": jnp.arange(batch_size, dtype=jnp.int32),
    }


def task(model=SPEC, optimizer_spec=OPTIMIZER, num_steps=10, **loss):
    """Training on a 2x3 grid of depth 4; there is a null class where labels are dropped."""
    spec = rq_transformer_loss.LossSpec(**loss)
    model = dataclasses.replace(model, has_null_class=spec.condition_drop_rate > 0)
    return rq_transformer_task.RqTransformerTask(
        model, spec, optimizer_spec, num_steps, SPACE, np.asarray(codebooks())
    )
