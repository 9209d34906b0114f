"""Clipping of gradients by their norm, which tells how often it acts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from resgen_jax.training.state import Metrics, PyTree

WINDOW = 100  # steps that the share of clipped ones is a moving average over


class State(NamedTuple):
    """Annotated loosely, because trees of shardings and of shapes have this structure too."""

    num_steps: PyTree  # Int[Array, ""]
    norm: PyTree  # Float[Array, ""]: of the last gradient, before clipping
    clipped_share: PyTree  # Float[Array, ""]: of the latest steps, by number


def by_norm(max_norm: float) -> optax.GradientTransformation:
    """Gradients scaled down to `max_norm` where theirs is larger, as `optax.clip_by_global_norm`.

    Its state tells how often that was: a clip that nearly always acts takes every gradient for its
    direction alone, and hides a norm that grows.
    """

    def init(params: PyTree) -> State:
        del params
        return State(jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.zeros(()))

    def update(gradients: PyTree, state: State, params: PyTree = None) -> tuple[PyTree, State]:
        del params
        norm = optax.tree.norm(gradients)
        scale = jnp.where(norm > max_norm, max_norm / norm, 1.0)
        clipped = jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), gradients)
        num_steps = state.num_steps + 1
        weight = 1.0 / jnp.minimum(num_steps, WINDOW).astype(jnp.float32)
        is_clipped = (norm > max_norm).astype(jnp.float32)
        share = state.clipped_share + weight * (is_clipped - state.clipped_share)
        return clipped, State(num_steps, norm.astype(jnp.float32), share)

    return optax.GradientTransformation(init, update)


def metrics(opt_state: PyTree) -> Metrics:
    """ "grad_norm" before clipping, and "clipped_share", the share of about the last 100 steps.

    Of an optimizer for each of several sides, these have the side's name behind a slash. Nothing
    where nothing clips.
    """

    def is_ours(node: PyTree) -> bool:
        return isinstance(node, State)

    found = {}
    for path, node in jax.tree_util.tree_leaves_with_path(opt_state, is_leaf=is_ours):
        if is_ours(node):
            names = [str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey)]
            side = "".join(f"/{name}" for name in names)
            found[f"grad_norm{side}"] = node.norm
            found[f"clipped_share{side}"] = node.clipped_share
    return found
