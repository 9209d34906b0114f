"""A tiny AR-ResGen with each head, random codes and codebooks, and a task of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.core import spaces
from resgen_jax.generators import ar_resgen, flow_head, level_head
from resgen_jax.training import ar_resgen_loss, ar_resgen_task, optimizer

SPACE = spaces.image_codes((2, 2), depth=3, codebook_size=5, code_dim=4, num_classes=3)
OPTIMIZER = optimizer.Spec(learning_rate=2e-2, clip_norm=1.0)


def spec(head, **fields):
    """Two layers of width 8."""
    sizes = {
        "num_components": 4,
        "rank": 2,
        "levels": level_head.Spec(width=6, num_blocks=1),
        "flow": flow_head.Spec(width=6, num_blocks=1, num_steps=2),
    }
    trunk = {"width": 8, "num_heads": 2, "num_layers": 2, "remat": "none"}
    return ar_resgen.Spec(head=head, **(sizes | trunk | fields))


@functools.cache
def codebooks(space=SPACE):
    """Random, each level half as large as the one before."""
    depth, size, channels = space.codes.codebooks_shape
    table = np.random.default_rng(0).normal(size=(depth, size, channels))
    return np.float32(table * 0.5 ** np.arange(depth)[:, None, None])


def codes(num=4, seed=0):
    """Random codes "b l q"."""
    shape = (num, SPACE.max_length, SPACE.codes.depth)
    return jnp.asarray(np.random.default_rng(seed).integers(0, 5, shape), jnp.int32)


def random_params(network, scale=0.4):
    """Parameters of every size, so that nothing is zero by its start."""
    random = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, scale, leaf.shape), jnp.float32),
        jax.eval_shape(network.init, jax.random.key(0)),
    )


def task(head, space=SPACE, num_steps=200, **loss):
    """Without labels dropped."""
    has_code_head = head in ("codes", "mixture")
    fields = {
        "condition_drop_rate": 0.0,
        "code_loss_weight": float(has_code_head),
        "average_decay": 0.0,
        "num_nll_draws": 4,
    }
    return ar_resgen_task.ArResGenTask(
        spec(head, has_code_head=has_code_head),
        ar_resgen_loss.LossSpec(**(fields | loss)),
        OPTIMIZER,
        num_steps,
        space,
        codebooks(space),
    )
